//! The built program killed right after it took an alert, and three times in the middle of its deliveries, and started again:
//! nobody is forgotten, nothing is lost, and whoever is told twice is counted.

#![allow(clippy::unwrap_used, reason = "a fault in a test is told by its panic")]

mod corrupted;
mod fickle;
#[path = "../forgetful/mod.rs"]
#[allow(dead_code, reason = "only the tests of faults make a disk fail")]
mod forgetful;
mod gateway;
mod power;
#[path = "../program/mod.rs"]
#[allow(dead_code, reason = "each program of tests needs another part of it")]
mod program;
mod relay;
mod rounds;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    time::Duration,
};

use lastmile::time::{Clock as _, SystemClock};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use reqwest::StatusCode;
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    gateway::{Seen, SmsGateway},
    program::{
        Gateway, new_key,
        process::{free_port, until},
        run, site,
    },
};

const HOUSEHOLDS: usize = 50_000;
const KILLS: usize = 3;
/// A debug build on two busy cores needs most of a minute for all of it.
const DEADLINE: Duration = Duration::from_secs(150);
const STOP: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_killed_in_the_middle_of_its_work_forgets_nobody() {
    let seed = seed();
    eprintln!("seed {seed}: set LASTMILE_CRASH_SEED to it to run the same again");
    let mut rng = StdRng::seed_from_u64(seed);
    let (dir, port, far) = (TempDir::new().unwrap(), free_port(), SmsGateway::start(seed).await);
    let data = dir.path().join("data");
    let config = configure(dir.path(), &data, port, &far.url, "");
    let [households, registry_seed] = [HOUSEHOLDS.to_string(), (seed % 1_000).to_string()];
    run(&["registry", "generate", "--households", &households, "--seed", &registry_seed, "--data", data.to_str().unwrap()], 0);
    let (bureau, duty) = (new_key(&config, "met", "bureau", Some("met")), new_key(&config, "duty", "duty", None));

    let mut gateway = Gateway::start(&config, port).await;
    let (status, said) = gateway.post(&bureau, "/v1/alerts", "application/json", site::alert(1, site::COUNTY).to_string()).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{said:#}");
    let path = format!("/v1/alerts/{}", said["id"].as_str().unwrap());
    // 202 was answered: from here on a kill may lose nothing, also before anything is planned.
    gateway.kill().await;
    gateway.start_again().await;
    for kill in 0..KILLS {
        // Somewhere in the middle of this kill's share of the work.
        let share = HOUSEHOLDS / (KILLS + 1);
        let at = share * kill + rng.random_range(share / 10..share);
        until("the deliveries come to the kill", DEADLINE, async || far.distinct() >= at).await;
        gateway.kill().await;
        eprintln!("killed when {} deliveries had come (planned: at {at})", far.distinct());
        gateway.start_again().await;
    }
    until("all deliveries are settled", DEADLINE, async || {
        let Some(view) = gateway.try_get(&duty, &path).await else { return false };
        let progress = &view["progress"];
        number(progress, "deliveries") >= HOUSEHOLDS / 2 && number(progress, "queued") == 0 && number(progress, "in_flight") == 0
    })
    .await;

    let coverage = gateway.get(&duty, &format!("{path}/coverage")).await;
    let rows = program::rows(&gateway, &duty, &path).await;
    check(&coverage, &rows, &far.seen());
    assert_eq!(gateway.stop(STOP).await, Some(0), "SIGTERM drains and exits 0");
    program::verify(&data);
}

/// What the program says it did against what the far end saw.
fn check(coverage: &Value, rows: &[Value], seen: &HashMap<String, Seen>) {
    let progress = &coverage["progress"];
    let parts = ["queued", "in_flight", "accepted", "delivered", "answered", "failed", "expired", "cancelled", "suppressed"];
    let sum: usize = parts.iter().map(|part| number(progress, part)).sum();
    assert_eq!(sum, number(progress, "deliveries"), "the parts add up: {progress:#}");
    assert_eq!(rows.len(), sum, "every delivery has its row");
    let people = &coverage["people"];
    let parts = ["reached", "pending", "failed", "unreachable"];
    let sum: usize = parts.iter().map(|part| number(people, part)).sum();
    assert_eq!(sum, number(people, "targeted"), "the people add up: {people:#}");

    let (mut taken, mut closed) = (0, 0);
    for row in rows {
        let (id, state) = (row["id"].as_str().unwrap(), row["state"].as_str().unwrap());
        match state {
            "accepted" => {
                assert!(seen.get(id).is_some_and(|seen| seen.taken > 0), "said to be accepted, never taken: {row:#}");
                taken += 1;
            }
            "failed" | "expired" | "cancelled" | "suppressed" => {
                assert!(row["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "closed without a reason: {row:#}");
                assert!(seen.get(id).is_none_or(|seen| seen.taken == 0), "taken, but said to have failed: {row:#}");
                closed += 1;
            }
            other => panic!("{other} is no end: {row:#}"),
        }
    }
    assert_eq!(taken + closed, rows.len(), "each is taken or closed with a reason");
    assert!(closed > 0 && taken > HOUSEHOLDS / 2, "{taken} taken, {closed} closed");
    assert_eq!(number(progress, "accepted"), taken, "{progress:#}");
    let known: std::collections::HashSet<&str> = rows.iter().filter_map(|row| row["id"].as_str()).collect();
    assert!(seen.keys().all(|id| known.contains(id.as_str())), "the far end knows a delivery that the program does not");

    let came: u64 = seen.values().map(|seen| u64::from(seen.taken + seen.refused)).sum();
    let (twice, repeated) = (came - seen.len() as u64, coverage["repeated"].as_u64().unwrap());
    eprintln!("{taken} taken, {closed} closed with a reason, {twice} came twice, {repeated} said to be repeated");
    assert!(twice <= repeated, "{twice} came twice, but only {repeated} are counted as repeated");
}

fn number(value: &Value, name: &str) -> usize {
    let number = value[name].as_u64().unwrap_or_else(|| panic!("no number {name}: {value:#}"));
    usize::try_from(number).unwrap()
}

fn seed() -> u64 {
    match std::env::var("LASTMILE_CRASH_SEED") {
        Ok(text) => text.parse().expect("LASTMILE_CRASH_SEED is a number"),
        Err(_) => SystemClock.now().as_ms().unsigned_abs(),
    }
}

/// A gateway of short messages that does not know some numbers.
fn configure(dir: &Path, data: &Path, port: u16, far: &str, more: &str) -> PathBuf {
    let channels = format!(
        r#"
[channel.mas]
kind = "sms"
provider = "http"
url = "{far}"
body = '{{"id": {{{{ id|tojson }}}}, "to": {{{{ to|tojson }}}}, "text": {{{{ text|tojson }}}}}}'
ok = {{ path = "/code", equals = ["OK"] }}
error = {{ classes = {{ NO_SUCH_NUMBER = "reject" }} }}
concurrency = 32
retry = ["200ms", "500ms", "1s"]
unknown_retry = "1s"
{more}"#
    );
    site::configure(dir, data, port, "", &site::everyone_by("\"sms\""), &channels)
}
