//! Owns one gateway under test: its configuration, its keys, its process, and what it says of itself.
//! Refuses to wait for readiness: these tests want to see a gateway that is not ready.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};

use crate::{
    far_end::FarEnd,
    program::{
        self, new_key,
        process::{Process, free_port, until},
        run, site,
    },
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_lastmile");
/// A debug build on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);
/// Messages that are at the far end at one time.
pub(crate) const AT_ONCE: usize = 8;

pub(crate) struct Running {
    pub(crate) process: Process,
    pub(crate) http: Client,
    pub(crate) duty: String,
    bureau: String,
    url: String,
    config: PathBuf,
}

/// What a test may want otherwise than the rest.
pub(crate) struct Setting<'a> {
    pub(crate) households: usize,
    /// Further lines of `[server]`.
    pub(crate) server: &'a str,
    /// The `[channel.NAME]` tables.
    pub(crate) channels: String,
    /// Kinds of channels that everyone is told by, as the policy has them.
    pub(crate) kinds: &'a str,
    /// In which `"$@"` is the program.
    pub(crate) shell: &'a str,
}

/// An account that waits for a far end as long as any test does. `AT_ONCE` messages go to it at one time.
pub(crate) const PATIENT: &str = "concurrency = 8\ntimeout = \"60s\"\nretry = [\"1s\", \"2s\", \"5s\", \"10s\", \"20s\"]\n";
pub(crate) const SMS: &str = "\"sms\"";
pub(crate) const PLAIN: &str = "exec \"$@\"";

impl Running {
    /// A county of so many households whose data lie in `data`, and a gateway of it started by `shell`, in which `"$@"` is the program.
    pub(crate) fn start(home: &Path, data: &Path, households: usize, far: &FarEnd, shell: &str) -> Self {
        let channels = gateway_table("mas", &far.url, PATIENT);
        Self::start_as(home, data, &Setting { households, server: "", channels, kinds: SMS, shell })
    }

    pub(crate) fn start_as(home: &Path, data: &Path, setting: &Setting<'_>) -> Self {
        let port = free_port();
        let policy = site::everyone_by(setting.kinds);
        let config = site::configure(home, data, port, setting.server, &policy, &setting.channels);
        let data = data.to_str().unwrap();
        run(&["registry", "generate", "--households", &setting.households.to_string(), "--seed", "7", "--data", data], 0);
        let (bureau, duty) = (new_key(&config, "met", "bureau", Some("met")), new_key(&config, "duty", "duty", None));
        let process = serve(&config, setting.shell);
        Self { process, http: program::http(), duty, bureau, url: format!("http://127.0.0.1:{port}"), config }
    }

    pub(crate) fn address(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    /// The same store in a new process.
    pub(crate) fn start_again(&mut self) {
        self.process = serve(&self.config, PLAIN);
    }

    /// A key that may change the registry.
    pub(crate) fn admin_key(&self) -> String {
        new_key(&self.config, "admin", "admin", None)
    }

    /// Posts a file to be imported.
    pub(crate) async fn import(&self, key: &str, name: &str, file: &str) -> Response {
        let part = reqwest::multipart::Part::text(file.to_owned()).file_name(name.to_owned());
        let form = reqwest::multipart::Form::new().part("file", part);
        self.http.post(format!("{}/v1/registry/import", self.url)).bearer_auth(key).multipart(form).send().await.unwrap()
    }

    pub(crate) async fn try_get(&self, path: &str) -> Option<Response> {
        self.http.get(format!("{}{path}", self.url)).bearer_auth(&self.duty).send().await.ok()
    }

    pub(crate) async fn text(&self, path: &str) -> (StatusCode, String) {
        let answer = self.try_get(path).await.unwrap_or_else(|| panic!("no answer to {path}\n{}", self.process.tail()));
        (answer.status(), answer.text().await.unwrap())
    }

    pub(crate) async fn json(&self, path: &str) -> Value {
        let (status, text) = self.text(path).await;
        assert_eq!(status, StatusCode::OK, "GET {path}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    pub(crate) async fn until_ready_says(&mut self, wanted: StatusCode) {
        let (http, url) = (self.http.clone(), format!("{}/readyz", self.url));
        let process = std::cell::RefCell::new(&mut self.process);
        until(&format!("readyz says {wanted}"), DEADLINE, async || {
            let ended = process.borrow_mut().exited();
            assert!(ended.is_none(), "the gateway ended with {ended:?}\n{}", process.borrow().tail());
            http.get(&url).send().await.is_ok_and(|answer| answer.status() == wanted)
        })
        .await;
    }

    pub(crate) async fn post(&self, number: u32) -> Response {
        self.try_post(number).await.unwrap()
    }

    pub(crate) async fn try_post(&self, number: u32) -> reqwest::Result<Response> {
        self.try_post_to(number, site::COUNTY).await
    }

    async fn try_post_to(&self, number: u32, area: &str) -> reqwest::Result<Response> {
        let request = self.http.post(format!("{}/v1/alerts", self.url)).bearer_auth(&self.bureau);
        request.header("content-type", "application/json").body(site::alert(number as usize, area).to_string()).send().await
    }

    /// Posts an alert that must be taken; its path.
    pub(crate) async fn accepted(&self, number: u32) -> String {
        self.accepted_for(number, site::COUNTY).await
    }

    /// As `accepted`, for an area of the county.
    pub(crate) async fn accepted_for(&self, number: u32, area: &str) -> String {
        let answer = self.try_post_to(number, area).await.unwrap();
        let (status, said) = (answer.status(), answer.json::<Value>().await.unwrap());
        assert_eq!(status, StatusCode::ACCEPTED, "{said:#}");
        format!("/v1/alerts/{}", said["id"].as_str().unwrap())
    }

    /// Records by hand that somebody answered, as any answer or receipt is kept.
    pub(crate) async fn answered(&self, alert: &str, person: &str) -> StatusCode {
        let request = self.http.post(format!("{}{alert}/calls/{person}", self.url)).bearer_auth(&self.duty);
        request.body(json!({ "answered": true }).to_string()).send().await.unwrap().status()
    }

    /// Deliveries of an alert that have come to this state.
    pub(crate) async fn progress(&self, alert: &str, state: &str) -> u64 {
        self.json(&format!("{alert}/coverage")).await["progress"][state].as_u64().unwrap()
    }

    pub(crate) async fn until_told(&self, alert: &str) {
        until("everyone is told", DEADLINE, async || {
            let progress = self.json(&format!("{alert}/coverage")).await["progress"].clone();
            progress["deliveries"].as_u64() > Some(0) && progress["accepted"] == progress["deliveries"]
        })
        .await;
    }

    /// Every message has left us and was answered.
    pub(crate) async fn until_nothing_is_owed(&self, alert: &str) {
        until("nothing is owed any more", DEADLINE, async || {
            let progress = self.json(&format!("{alert}/coverage")).await["progress"].clone();
            progress["deliveries"].as_u64() > Some(0) && progress["queued"] == 0 && progress["in_flight"] == 0
        })
        .await;
    }

    /// Every delivery of an alert, as duty sees it.
    pub(crate) async fn deliveries(&self, alert: &str) -> Vec<Value> {
        let (mut rows, mut cursor) = (Vec::new(), String::new());
        loop {
            let mut page = self.json(&format!("{alert}/deliveries?limit=1000{cursor}")).await;
            rows.append(page["items"].as_array_mut().unwrap());
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return rows,
            }
        }
    }

    /// How often an alarm was raised.
    pub(crate) async fn alarms(&self, word: &str) -> u64 {
        let (_, text) = self.text("/metrics").await;
        let counter = format!("lastmile_alarms_total{{what=\"{word}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&counter)).map_or(0, |number| number.parse().unwrap())
    }

    pub(crate) async fn until_alarm(&self, word: &str) {
        let counter = format!("lastmile_alarms_total{{what=\"{word}\"}}");
        until(&format!("the alarm {word}"), DEADLINE, async || self.text("/metrics").await.1.contains(&counter)).await;
    }

    /// Ends it as an init system does, and reads everything that it has kept.
    pub(crate) async fn stop_and_verify(mut self, data: &Path) {
        self.process.signal("-TERM");
        assert_eq!(self.process.wait(DEADLINE).await, Some(0), "SIGTERM drains and exits 0\n{}", self.process.tail());
        program::verify(data);
    }
}

fn serve(config: &Path, shell: &str) -> Process {
    let mut command = Command::new("bash");
    command.args(["-c", shell, "bash", PROGRAM, "serve", "--config"]).arg(config).env("NO_COLOR", "1");
    Process::start("lastmile serve", &mut command)
}

/// An account at an SMS gateway, with further keys.
pub(crate) fn gateway_table(name: &str, url: &str, more: &str) -> String {
    format!(
        r#"
[channel.{name}]
kind = "sms"
provider = "http"
url = "{url}"
body = '{{"id": {{{{ id|tojson }}}}, "to": {{{{ to|tojson }}}}, "text": {{{{ text|tojson }}}}}}'
ok = {{ path = "/code", equals = ["OK"] }}
{more}"#
    )
}
