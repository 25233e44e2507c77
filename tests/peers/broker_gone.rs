//! A real broker that goes away while a county's loudspeakers are being told, and comes back with or without what it knew: every speaker
//! hears its command, or its delivery is closed with a reason.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use lastmile::{
    channel::speaker::{
        device::{Counts, FleetStats},
        fleet::{self, FleetConfig},
        line::{BrokerAddress, Far},
    },
    registry::Registry,
    time::SystemClock,
};
use reqwest::StatusCode;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::{
    mosquitto::Mosquitto,
    program::{
        self, Gateway, new_key,
        process::{free_port, until},
        run, site,
    },
};

const DEADLINE: Duration = Duration::from_secs(90);
const STOP: Duration = Duration::from_secs(30);
/// Publishes a second: so slow that the broker goes in the middle of them.
const PACE: usize = 60;
/// Tries that fail while the broker is gone.
const TRIES_IN_VAIN: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_comes_back_with_what_it_knew_leaves_no_speaker_out() {
    a_broker_is_gone_for_a_while(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_comes_back_with_nothing_leaves_no_speaker_out() {
    a_broker_is_gone_for_a_while(false).await;
}

async fn a_broker_is_gone_for_a_while(remembers: bool) {
    let (dir, port, mut broker) = (TempDir::new().unwrap(), free_port(), Mosquitto::start_as(remembers).await);
    let config = configure(dir.path(), port, broker.port);
    let data = dir.path().join("data");
    run(&["registry", "generate", "--households", "10", "--seed", "7", "--data", data.to_str().unwrap()], 0);
    let (bureau, duty) = (new_key(&config, "met", "bureau", Some("met")), new_key(&config, "duty", "duty", None));
    let (counts, off) = (Arc::new(Counts::default()), CancellationToken::new());
    let (speakers, running) = speakers(&data, broker.port, &counts, &off);
    let connected = || counts.connected.load(std::sync::atomic::Ordering::Relaxed);
    until("the speakers are online", DEADLINE, async || connected() >= speakers).await;

    let mut gateway = Gateway::start(&config, port).await;
    let (status, said) = gateway.post(&bureau, "/v1/alerts", "application/json", site::alert(1, site::COUNTY).to_string()).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{said:#}");
    let path = format!("/v1/alerts/{}", said["id"].as_str().unwrap());
    let accepted = || counts.accepted.load(std::sync::atomic::Ordering::Relaxed);
    until("some have heard it", DEADLINE, async || accepted() >= speakers / 4).await;
    broker.stop(remembers).await;
    let before = accepted();
    assert!(before < speakers, "all were told before the broker went");
    until("it is tried in vain", DEADLINE, async || {
        gateway.lines().iter().filter(|line| line.contains("account is parked")).count() >= TRIES_IN_VAIN
    })
    .await;
    broker.start_again().await;

    let coverage = format!("{path}/coverage");
    until("every delivery is settled", DEADLINE, async || {
        let progress = gateway.get(&duty, &coverage).await["progress"].clone();
        let is_open = ["queued", "in_flight", "accepted"].iter().any(|part| progress[part] != 0);
        progress["deliveries"].as_u64() == Some(speakers) && !is_open
    })
    .await;
    let last = gateway.get(&duty, &coverage).await;
    let (heard, twice) = (accepted(), counts.duplicates.load(std::sync::atomic::Ordering::Relaxed));
    let (delivered, failed) = (last["progress"]["delivered"].as_u64().unwrap(), last["progress"]["failed"].as_u64().unwrap());
    eprintln!(
        "{speakers} speakers, {before} before the broker went: {heard} heard it, {twice} heard it again and kept still, {delivered} deliveries delivered, {failed} failed, {} repeated",
        last["repeated"]
    );
    assert_eq!((heard, delivered, failed), (speakers, speakers, 0), "somebody was left out: {last:#}");
    off.cancel();
    assert_eq!(running.await.unwrap().accepted, speakers);
    assert_eq!(gateway.stop(STOP).await, Some(0), "SIGTERM drains and exits 0");
    program::verify(&data);
}

/// All loudspeakers of a registry; how many, and what they have done once they are off.
fn speakers(data: &Path, port: u16, counts: &Arc<Counts>, off: &CancellationToken) -> (u64, tokio::task::JoinHandle<FleetStats>) {
    let snapshot = Registry::open(&data.join("registry")).unwrap().registry.current();
    let all: Vec<_> = (0..snapshot.speaker_count())
        .map(|position| snapshot.speaker_at(position))
        .map(|speaker| (speaker.id().to_owned(), speaker.area()))
        .collect();
    let address: BrokerAddress = format!("mqtt://127.0.0.1:{port}").parse().unwrap();
    let far = Far::new(&address, None, None).unwrap();
    let config = FleetConfig { counts: Arc::clone(counts), ..FleetConfig::at(far, Arc::new(SystemClock)) };
    (all.len() as u64, tokio::spawn(fleet::run(config, all, off.clone())))
}

fn configure(dir: &Path, port: u16, mqtt: u16) -> PathBuf {
    let policy = site::everyone_by("\"speaker\"") + "retry_until = \"expires\"\n";
    let horns = format!(
        r#"
[channel.horns]
kind = "speaker"
provider = "mqtt"
broker = "mqtt://127.0.0.1:{mqtt}"
ack_within = "3s"
per_second = {PACE}
timeout = "2s"
retry = ["300ms", "500ms", "1s"]
"#
    );
    site::configure(dir, &dir.join("data"), port, "", &policy, &horns)
}
