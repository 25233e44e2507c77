//! The broker that is shipped as an example (config/mosquitto), with the rights that `lastmile speaker acl` writes: one village's loudspeaker
//! tries every topic of another's.

use std::{fs, path::Path, process::Command, time::Duration};

use tempfile::TempDir;

use crate::{
    machine::{is_open, require},
    program::{
        process::{Process, free_port, until},
        run,
    },
};

const START: Duration = Duration::from_secs(10);

/// The example with its files and ports, without TLS: certificates are not what is tried here.
fn example(dir: &Path, speakers: u16, gateway: u16) -> String {
    let text = include_str!("../../config/mosquitto/mosquitto.conf");
    let text = text.replace("listener 8883", &format!("listener {speakers} 127.0.0.1"));
    let text = text.replace("listener 1883 127.0.0.1", &format!("listener {gateway} 127.0.0.1"));
    let text =
        text.replace("/etc/mosquitto/", &format!("{}/", dir.display())).replace("/var/lib/mosquitto/", &format!("{}/", dir.display()));
    let kept = text.lines().filter(|line| !["cafile", "certfile", "keyfile"].iter().any(|key| line.starts_with(key)));
    kept.collect::<Vec<_>>().join("\n") + "\nuser root\nlog_dest stderr\n"
}

#[tokio::test]
async fn a_loudspeaker_says_and_hears_nothing_of_another_village() {
    require("/usr/sbin/mosquitto", "mosquitto");
    require("/usr/bin/mosquitto_pub", "mosquitto-clients");
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let data = data.to_str().unwrap();
    run(&["registry", "generate", "--households", "10", "--seed", "7", "--data", data], 0);
    let credentials = dir.path().join("credentials.csv");
    run(&["speaker", "credential", "--all", "--data", data, "--out", credentials.to_str().unwrap()], 0);
    let rights = run(&["speaker", "acl", "--data", data], 0);
    fs::write(dir.path().join("acl"), &rights).unwrap();
    let rows: Vec<(String, String)> = fs::read_to_string(&credentials)
        .unwrap()
        .lines()
        .skip(1)
        .map(|row| {
            let (id, secret) = row.split_once(',').unwrap();
            (id.to_owned(), secret.to_owned())
        })
        .collect();
    let passwords: String = rows.iter().map(|(id, secret)| format!("{id}:{secret}\n")).collect();
    let file = dir.path().join("passwords");
    fs::write(&file, format!("{passwords}gateway:ours\n")).unwrap();
    assert!(Command::new("/usr/bin/mosquitto_passwd").arg("-U").arg(&file).status().unwrap().success());
    let (speakers, gateway) = (free_port(), free_port());
    fs::write(dir.path().join("mosquitto.conf"), example(dir.path(), speakers, gateway)).unwrap();
    let broker = Process::start("mosquitto", Command::new("/usr/sbin/mosquitto").arg("-c").arg(dir.path().join("mosquitto.conf")));
    until("mosquitto listens", START, async || is_open(speakers) && is_open(gateway)).await;

    let (a, b) = two_villages(&rights);
    let secret = |id: &str| rows.iter().find(|(known, _)| known == id).map(|(_, secret)| secret.clone()).unwrap();
    let as_a = Client { port: speakers, name: a.id.clone(), password: secret(&a.id) };
    let ours = Client { port: gateway, name: "gateway".to_owned(), password: "ours".to_owned() };
    for what in ["ack", "report", "status"] {
        assert!(as_a.publishes(&format!("speaker/{}/{what}", a.id)), "its own {what}");
        assert!(!as_a.publishes(&format!("speaker/{}/{what}", b.id)), "another's {what}");
        assert!(!ours.publishes(&format!("speaker/{}/{what}", a.id)), "the gateway says {what}");
    }
    for topic in [
        format!("speaker/{}/cmd", a.id),
        format!("speaker/{}/cmd", b.id),
        format!("area/{}/cmd", a.village),
        format!("area/{}/cmd", b.village),
    ] {
        assert!(!as_a.publishes(&topic), "a command on {topic}");
        assert!(ours.publishes(&topic), "the gateway's command on {topic}");
    }
    // What arrives is what counts: a broker may grant a subscription of which it then hands on nothing.
    for (topic, hears) in [
        (format!("speaker/{}/cmd", a.id), true),
        (format!("area/{}/cmd", a.village), true),
        (format!("speaker/{}/cmd", b.id), false),
        (format!("area/{}/cmd", b.village), false),
    ] {
        assert_eq!(as_a.hears(&ours, &topic).await, hears, "{topic}");
    }
    let stranger = Client { name: b.id.clone(), password: secret(&a.id), ..as_a };
    assert!(!stranger.publishes(&format!("speaker/{}/ack", b.id)), "another's name with its own password");
    drop(broker);
}

struct Village {
    id: String,
    village: String,
}

/// The first loudspeakers of two villages of two townships.
fn two_villages(rights: &str) -> (Village, Village) {
    let mut found: Vec<Village> = Vec::new();
    let mut user = "";
    for line in rights.lines() {
        if let Some(name) = line.strip_prefix("user ") {
            user = name;
        }
        let area = line.strip_prefix("topic read lastmile/v1/area/").and_then(|rest| rest.strip_suffix("/cmd"));
        if let Some(village) = area.filter(|area| area.len() == 12)
            && found.iter().all(|other| other.village[..9] != village[..9])
        {
            found.push(Village { id: user.to_owned(), village: village.to_owned() });
        }
    }
    let mut found = found.into_iter();
    (found.next().unwrap(), found.next().unwrap())
}

struct Client {
    port: u16,
    name: String,
    password: String,
}

impl Client {
    fn arguments(&self, topic: &str) -> Vec<String> {
        let port = self.port.to_string();
        let topic = format!("lastmile/v1/{topic}");
        ["-V", "5", "-q", "1", "-h", "127.0.0.1", "-p", &port, "-u", &self.name, "-P", &self.password, "-t", &topic]
            .map(str::to_owned)
            .to_vec()
    }

    /// Whether the broker took it: mosquitto_pub says "Not authorized" and goes on when it did not.
    fn publishes(&self, topic: &str) -> bool {
        let done = Command::new("/usr/bin/mosquitto_pub").args(self.arguments(topic)).args(["-m", "{}", "-d"]).output().unwrap();
        let said = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
        done.status.success() && !said.contains("RC:135") && !said.to_lowercase().contains("not authori")
    }

    async fn hears(&self, from: &Self, topic: &str) -> bool {
        let mut command = Command::new("/usr/bin/stdbuf");
        command.args(["-oL", "/usr/bin/mosquitto_sub", "-v", "-d"]).args(self.arguments(topic));
        let own = format!("speaker/{}/cmd", self.name);
        command.args(["-t", &format!("lastmile/v1/{own}")]);
        let ear = Process::start("mosquitto_sub", &mut command);
        until("mosquitto_sub is subscribed", START, async || ear.lines().iter().any(|line| line.contains("Subscribed"))).await;
        from.say(topic, "first");
        // Its own topic last: once this has come, what came before it would have.
        from.say(&own, "last");
        until("its own command", START, async || ear.lines().iter().any(|line| line.ends_with(" last"))).await;
        ear.lines().iter().any(|line| line.ends_with(" first"))
    }

    fn say(&self, topic: &str, text: &str) {
        let done = Command::new("/usr/bin/mosquitto_pub").args(self.arguments(topic)).args(["-m", text]).status().unwrap();
        assert!(done.success(), "the gateway says {text} on {topic}");
    }
}
