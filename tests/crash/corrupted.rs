//! The files of a stopped or killed gateway damaged by a seed, and the gateway started on them: what is damaged is set aside, rebuilt and
//! told, and nothing that was promised is lost unless the alarm says that entries are.

mod damage;

use std::{fs, path::Path};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use reqwest::StatusCode;
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    DEADLINE, STOP,
    fickle::Fickle,
    number,
    program::{
        Gateway, new_key,
        process::{free_port, until},
        rows, run, site,
    },
    rounds::{configure, rounds},
    seed,
};
use damage::{Damage, Place};

const ROUNDS: usize = 6;
const HOUSEHOLDS: usize = 50;
/// One township: a plan, receipts and outcomes, but not a long round.
const TOWNSHIP: &str = "510726100";
pub(crate) const MENDED: &str = "the store was mended at start";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_files_are_set_aside_rebuilt_and_told() {
    let (seed, rounds) = (seed(), rounds("LASTMILE_CORRUPT_ROUNDS", ROUNDS));
    eprintln!("seed {seed}: set LASTMILE_CRASH_SEED to it to run the same again");
    let mut rng = StdRng::seed_from_u64(seed);
    let (mut told, mut losses) = (0, 0);
    for round in 0..rounds {
        let place = [Place::Journal, Place::Checkpoint, Place::Trail][round % 3];
        let after = one(place, rng.random()).await;
        eprintln!("round {}: {after:?}", round + 1);
        told += usize::from(after.alarms > 0);
        losses += usize::from(after.lost > 0);
    }
    eprintln!("{rounds} rounds: {told} told of damage, {losses} told of entries lost, 0 alerts lost");
}

#[derive(Debug)]
#[allow(dead_code, reason = "shown in the line of the round")]
struct After {
    damage: Damage,
    alarms: usize,
    lost: u64,
    receipts_gone: usize,
}

struct Site {
    dir: TempDir,
    far: Fickle,
    gateway: Gateway,
    duty: String,
    /// Path and identifier of each alert that was answered 202.
    told: Vec<(String, Value)>,
}

async fn one(place: Place, seed: u64) -> After {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut site = site(seed).await;
    // A checkpoint is made by a stop; a kill leaves the one before.
    assert_eq!(site.gateway.stop(STOP).await, Some(0));
    site.gateway.start_again().await;
    if rng.random_bool(0.5) {
        site.settle().await;
    }
    let is_killed = rng.random_bool(0.5);
    if is_killed {
        site.gateway.kill().await;
    } else {
        assert_eq!(site.gateway.stop(STOP).await, Some(0));
    }
    let data = site.dir.path().join("data");
    let damage = damage::inflict(&data, place, &mut rng);
    // Held against a copy: a look opens the database, and that must not help the start that follows.
    let copy = site.dir.path().join("copy");
    copy_all(&data, &copy);
    // The key that opens what is sealed lies beside the data, as `data` and what follows.
    for entry in fs::read_dir(site.dir.path()).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        if let Some(ending) = name.strip_prefix("data.") {
            fs::copy(entry.path(), site.dir.path().join(format!("copy.{ending}"))).unwrap();
        }
    }
    let is_seen = json_of_verify(&copy)["sound"] == false;
    site.gateway.start_again().await;
    let alarms: Vec<_> = site.gateway.lines().into_iter().filter(|line| line.contains(MENDED)).collect();
    assert!(!is_seen || !alarms.is_empty(), "{damage:?}: `store verify` sees it, the start does not tell of it");
    let lost = alarms.iter().map(|line| lost_of(line)).sum();
    let may_lose = matches!(place, Place::Journal) && damage.file.ends_with("db");
    assert!(lost == 0 || may_lose, "{damage:?} lost entries: {alarms:#?}");
    let (_, metrics) = site.gateway.text(&site.duty, "/metrics").await;
    assert_eq!(metrics.contains("store-mended"), !alarms.is_empty(), "the metric tells it too: {damage:?}");
    site.settle().await;
    // After a kill, damage to the end of the database cannot be told from a write that the kill cut short.
    let receipts_gone = site.judge(&damage, lost > 0 || (is_killed && may_lose)).await;
    assert_eq!(site.gateway.stop(STOP).await, Some(0));
    let verdict = json_of_verify(&data);
    assert_eq!(verdict["sound"], true, "{damage:?}: {verdict:#}");
    After { damage, alarms: alarms.len(), lost, receipts_gone }
}

async fn site(seed: u64) -> Site {
    let (dir, port, far) = (TempDir::new().unwrap(), free_port(), Fickle::start(seed).await);
    let data = dir.path().join("data");
    let config = configure(dir.path(), &data, port, &far.url(0));
    run(&["registry", "generate", "--households", &HOUSEHOLDS.to_string(), "--seed", "7", "--data", data.to_str().unwrap()], 0);
    let (bureau, duty) = (new_key(&config, "met", "bureau", Some("met")), new_key(&config, "duty", "duty", None));
    let gateway = Gateway::start(&config, port).await;
    let mut told = Vec::new();
    for number in 1..=2 {
        let alert = site::alert(number, TOWNSHIP);
        let (status, said) = gateway.post(&bureau, "/v1/alerts", "application/json", alert.to_string()).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{said:#}");
        told.push((format!("/v1/alerts/{}", said["id"].as_str().unwrap()), alert["identifier"].clone()));
    }
    Site { dir, far, gateway, duty, told }
}

impl Site {
    async fn settle(&self) {
        for (path, _) in &self.told {
            until("all deliveries are settled", DEADLINE, async || {
                let Some(view) = self.gateway.try_get(&self.duty, path).await else { return false };
                assert!(view["progress"].is_object(), "an alert that was answered 202 is gone: {view:#}");
                let progress = &view["progress"];
                number(progress, "deliveries") > 0 && number(progress, "queued") == 0 && number(progress, "in_flight") == 0
            })
            .await;
        }
        until("all reports are brought", DEADLINE, async || self.far.is_done()).await;
    }

    /// Receipts that were answered 200 and are gone: none, unless entries may be.
    async fn judge(&self, damage: &Damage, may_lose: bool) -> usize {
        let mut gone = self.far.promised();
        for (path, identifier) in &self.told {
            let view = self.gateway.get(&self.duty, path).await;
            assert_eq!(&view["identifier"], identifier, "{damage:?}");
            for row in rows(&self.gateway, &self.duty, path).await {
                if row["delivered_at"].is_string() {
                    gone.remove(row["id"].as_str().unwrap());
                }
            }
        }
        assert!(gone.is_empty() || may_lose, "{damage:?}: receipts that were answered 200 are gone, and nobody says so: {gone:?}");
        gone.len()
    }
}

/// How many numbers an alarm says to be without an entry.
fn lost_of(line: &str) -> u64 {
    let Some((before, _)) = line.split_once(" numbers are without an entry") else { return 0 };
    before.rsplit(' ').next().unwrap().parse().unwrap()
}

fn json_of_verify(data: &Path) -> Value {
    let done = std::process::Command::new(env!("CARGO_BIN_EXE_lastmile"))
        .args(["store", "verify", "--json", "--data"])
        .arg(data)
        .output()
        .unwrap();
    // What cannot even be looked through is told on the other stream: no document, and not sound.
    serde_json::from_slice(&done.stdout).unwrap_or_else(|_| serde_json::json!({ "sound": false }))
}

fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for item in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(item.file_name());
        if item.path().is_dir() {
            copy_all(&item.path(), &target);
        } else {
            fs::copy(item.path(), target).unwrap();
        }
    }
}
