//! Loudspeakers at the built-in broker of a whole gateway: each with its own credential, and told at once when it comes back.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use lastmile::{
    access::{Devices, For, Role},
    area::AreaCode,
    channel::speaker::{
        Voice,
        device::Counts,
        fleet::{self, FleetConfig},
        line::Far,
    },
    time::SystemClock,
};
use tokio_util::sync::CancellationToken;

use crate::http_kit::{Site, new_home, rainstorm};

const TABLES: &str = r#"
[builtin_broker]
listen = "127.0.0.1:0"

[channel.loud]
kind = "speaker"
provider = "mqtt"
broker = "builtin"
ack_within = "10m"
retry = ["10m"]
"#;

const POLICY: &str = r#"
[[rule]]
events = ["*"]
levels = ["blue", "yellow", "orange", "red"]
roles = ["*"]
channels = ["speaker"]
"#;

/// Two loudspeakers of one village.
fn neighbours(site: &Site) -> [(String, AreaCode); 2] {
    let snapshot = site.app.gateway.registry().current();
    let all: Vec<(String, AreaCode)> =
        (0..snapshot.speaker_count()).map(|at| snapshot.speaker_at(at)).map(|speaker| (speaker.id().to_owned(), speaker.area())).collect();
    let pair = all.windows(2).find(|pair| pair[0].1 == pair[1].1).expect("a village with two loudspeakers");
    [pair[0].clone(), pair[1].clone()]
}

fn on(site: &Site, speaker: &(String, AreaCode), credentials: &Devices, off: &CancellationToken) -> Arc<Counts> {
    let made = credentials.make([speaker.0.as_str()].into_iter(), For::New).expect("a credential");
    let config = FleetConfig {
        credentials: Arc::new(made.into_iter().collect()),
        voice: Voice { ms_per_char: 1, ..Voice::default() },
        ..FleetConfig::at(Far::at(site.app.broker.expect("a broker")), Arc::new(SystemClock))
    };
    let counts = Arc::clone(&config.counts);
    tokio::spawn(fleet::run(config, vec![speaker.clone()], off.clone()));
    counts
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_after_its_village_was_told_hears_the_warning_at_once_and_says_it_once() {
    let site = Site::configured(new_home(), "none", "", TABLES, &[("policy.toml", POLICY)]).await;
    let credentials = Devices::open(&site.home.path().join("data"), Arc::new(SystemClock)).expect("credentials");
    let (off, [first, second]) = (CancellationToken::new(), neighbours(&site));
    let there = on(&site, &first, &credentials, &off);
    site.until("the first is there", async || there.connected.load(Ordering::Relaxed) == 1).await;
    let (bureau, duty) = (site.bureau(), site.role(Role::Duty));
    let id = site.accepted(&rainstorm(1, &[&first.1.to_string()]), &bureau).await;
    site.until("the first has said it", async || there.played.load(Ordering::Relaxed) == 1).await;
    // The village's command has gone out, and is taken for all of it; the next look at silent loudspeakers is minutes away.
    let late = on(&site, &second, &credentials, &off);
    site.until("the second has said it", async || late.played.load(Ordering::Relaxed) == 1).await;
    site.until("both are counted", async || {
        let coverage = site.get(&format!("/v1/alerts/{id}/coverage"), &duty).await;
        coverage["speakers"]["played"] == 2
    })
    .await;
    let again = there.duplicates.load(Ordering::Relaxed) + late.duplicates.load(Ordering::Relaxed);
    assert_eq!((there.accepted.load(Ordering::Relaxed), late.accepted.load(Ordering::Relaxed), again), (1, 1, 0));
    off.cancel();
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loudspeaker_without_its_credential_does_not_come_in() {
    let site = Site::configured(new_home(), "none", "", TABLES, &[("policy.toml", POLICY)]).await;
    let credentials = Devices::open(&site.home.path().join("data"), Arc::new(SystemClock)).expect("credentials");
    let (off, [first, second]) = (CancellationToken::new(), neighbours(&site));
    let right = on(&site, &first, &credentials, &off);
    let stranger = FleetConfig::at(Far::at(site.app.broker.expect("a broker")), Arc::new(SystemClock));
    let outside = Arc::clone(&stranger.counts);
    let trying = tokio::spawn(fleet::run(stranger, vec![second], off.clone()));
    site.until("the right one is in", async || right.connected.load(Ordering::Relaxed) == 1).await;
    assert_eq!(outside.connected.load(Ordering::Relaxed), 0);
    // Taken back, it is out with its next sign of life or its next try.
    credentials.revoke(std::slice::from_ref(&first.0)).expect("taken back");
    assert_eq!(credentials.mark_of(&first.0), None);
    off.cancel();
    tokio::time::timeout(Duration::from_secs(20), trying).await.expect("it ends").expect("no panic");
    site.stop().await;
}
