//! Owns one alert on its way through a running gateway and its peers: each step is something that somebody sees.

mod steps;

use std::{path::Path, process::Command, time::Duration};

use reqwest::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    county::{self, County, Peers, TOWNSHIP},
    kannel::Kannel,
    mosquitto::Mosquitto,
    program::{
        self, Gateway, http, new_key,
        process::{LOOK_EVERY, Process, free_port, until},
        run,
    },
    robot::Robot,
    smtp::Smtp,
};

/// Everything is told within seconds; this is for a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);
/// The default `shutdown_grace` and some.
const STOP: Duration = Duration::from_secs(30);
const TOKEN: &str = "reply-token-of-the-test";
pub(crate) const SCHEMA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/corpus/cap/xsd/CAP-v1.2.xsd");

pub(crate) struct Drive {
    county: County,
    gateway: Gateway,
    kannel: Kannel,
    mosquitto: Mosquitto,
    ear: Process,
    smtp: Smtp,
    robot: Robot,
    bureau: String,
    duty: String,
    alert: String,
    /// Identifier of the posted document.
    identifier: String,
    dir: TempDir,
}

impl Drive {
    pub(crate) async fn ready() -> Self {
        let (dir, port) = (TempDir::new().unwrap(), free_port());
        let (mosquitto, smtp, robot) = (Mosquitto::start().await, Smtp::start().await, Robot::start().await);
        let kannel = Kannel::start(&format!("http://127.0.0.1:{port}/v1/callbacks/sms/mas/reply?k={TOKEN}")).await;
        let ear = mosquitto.listen("lastmile/v1/#").await;
        let county = County::new();
        let robots = robot.url();
        let peers = Peers { sendsms: &kannel.sendsms, smtp: smtp.port, mqtt: mosquitto.port, robots: &robots };
        let config = county::configure(dir.path(), port, TOKEN, &peers);
        run(&["config", "check", "--config", config.to_str().unwrap()], 0);
        let files = county.write(dir.path());
        let data = dir.path().join("data");
        let words = ["registry", "import"].into_iter().chain(files.iter().map(String::as_str));
        run(&words.chain(["--data", data.to_str().unwrap()]).collect::<Vec<_>>(), 0);
        let bureau = new_key(&config, "met", "bureau", Some("met"));
        let duty = new_key(&config, "duty", "duty", None);
        let gateway = Gateway::start(&config, port).await;
        let [alert, identifier] = [(); 2].map(|()| String::new());
        Self { county, gateway, kannel, mosquitto, ear, smtp, robot, bureau, duty, alert, identifier, dir }
    }

    async fn coverage(&self) -> Value {
        self.gateway.get(&self.duty, &format!("/v1/alerts/{}/coverage", self.alert)).await
    }

    /// Waits until the number at `pointer` of the coverage is at least `least`.
    async fn covers(&self, pointer: &str, least: usize) {
        let mut seen = Value::Null;
        let waiting = async {
            loop {
                seen = self.coverage().await;
                if seen.pointer(pointer).and_then(Value::as_u64).is_some_and(|number| number >= least as u64) {
                    return;
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        let done = tokio::time::timeout(DEADLINE, waiting).await.is_ok();
        assert!(done, "coverage{pointer} did not come to {least}: {seen:#}");
    }

    fn told_phones(&self, word: &str) -> Vec<String> {
        self.kannel.taken().into_iter().filter(|(_, text)| text.contains(word)).map(|(to, _)| to).collect()
    }

    /// Commands that went to an area: (topic, command).
    fn commands(&self, action: &str) -> Vec<(String, Value)> {
        let lines = self.ear.lines();
        let commands = lines.iter().filter_map(|line| {
            let (topic, payload) = line.split_once(' ')?;
            let is_ours = topic.starts_with("lastmile/v1/area/") && topic.ends_with("/cmd");
            Some((topic.to_owned(), serde_json::from_str::<Value>(payload).ok().filter(|_| is_ours)?))
        });
        commands.filter(|(_, command)| command["action"] == action).collect()
    }
}
