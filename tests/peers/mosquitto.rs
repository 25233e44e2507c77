//! Owns a mosquitto broker and its two clients, as loudspeakers of another maker would talk to us.

use std::{fs, process::Command, time::Duration};

use tempfile::TempDir;

use crate::{
    machine::{has_said, is_open, require},
    program::process::{Process, free_port, until},
};

const START: Duration = Duration::from_secs(10);
const CONFIG: &str = "mosquitto.conf";

pub(crate) struct Mosquitto {
    pub(crate) port: u16,
    broker: Process,
    dir: TempDir,
}

impl Mosquitto {
    pub(crate) async fn start() -> Self {
        Self::start_as(false).await
    }

    /// One that finds its sessions and messages again after a restart, if it remembers.
    pub(crate) async fn start_as(remembers: bool) -> Self {
        require("/usr/sbin/mosquitto", "mosquitto");
        require("/usr/bin/mosquitto_pub", "mosquitto-clients");
        let (dir, port) = (TempDir::new().unwrap(), free_port());
        let text = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\npersistence {remembers}\npersistence_location {}/\nuser root\nlog_dest stderr\n",
            dir.path().display()
        );
        fs::write(dir.path().join(CONFIG), text).unwrap();
        let broker = broker(&dir, port).await;
        Self { port, broker, dir }
    }

    /// Ends it in order, or as a machine that loses its power does.
    pub(crate) async fn stop(&mut self, in_order: bool) {
        self.broker.signal(if in_order { "-TERM" } else { "-KILL" });
        self.broker.wait(START).await;
    }

    pub(crate) async fn start_again(&mut self) {
        self.broker = broker(&self.dir, self.port).await;
    }

    /// Hears everything below `topic`; each line is `topic payload`.
    pub(crate) async fn listen(&self, topic: &str) -> Process {
        let port = self.port.to_string();
        let arguments = ["-V", "5", "-q", "1", "-v", "-d", "-h", "127.0.0.1", "-p", &port, "-t", topic];
        // Through a pipe it would keep its lines to itself for kilobytes.
        let ear = Process::start("mosquitto_sub", Command::new("/usr/bin/stdbuf").args(["-oL", "/usr/bin/mosquitto_sub"]).args(arguments));
        until("mosquitto_sub is subscribed", START, async || has_said(&ear, "Subscribed")).await;
        ear
    }

    pub(crate) async fn publish(&self, topic: &str, payload: &str, retained: bool) {
        let port = self.port.to_string();
        let mut command = Command::new("/usr/bin/mosquitto_pub");
        command.args(["-V", "5", "-q", "1", "-h", "127.0.0.1", "-p", &port, "-t", topic, "-m", payload]);
        if retained {
            command.arg("-r");
        }
        let code = Process::start("mosquitto_pub", &mut command).wait(START).await;
        assert_eq!(code, Some(0), "mosquitto_pub to {topic}");
    }
}

async fn broker(dir: &TempDir, port: u16) -> Process {
    let broker = Process::start("mosquitto", Command::new("/usr/sbin/mosquitto").arg("-c").arg(dir.path().join(CONFIG)));
    until("mosquitto listens", START, async || is_open(port)).await;
    broker
}

#[tokio::test]
async fn a_message_goes_through_the_broker() {
    let broker = Mosquitto::start().await;
    let ear = broker.listen("peers/#").await;
    broker.publish("peers/one", "{\"heard\":true}", false).await;
    until("the message is heard", START, async || ear.lines().iter().any(|line| line == "peers/one {\"heard\":true}")).await;
}
