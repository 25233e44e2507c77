//! The built program killed while it hands alerts on: the platform above gets every one, in order, and again only under its key.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, extract::State, http::HeaderMap, routing::post};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use reqwest::StatusCode;
use tempfile::TempDir;

use crate::{
    DEADLINE, STOP,
    program::{
        Gateway, new_key,
        process::{free_port, until},
        run, site,
    },
    seed,
};

const ROUNDS: usize = 4;
const ALERTS_A_ROUND: usize = 8;

struct Platform {
    rng: StdRng,
    /// Key and body of each alert that was answered 2xx, each time.
    taken: Vec<(String, String)>,
}

type Shared = Arc<Mutex<Platform>>;

/// Takes most of what comes, after a moment; the rest it fails at.
async fn take(State(platform): State<Shared>, headers: HeaderMap, body: String) -> StatusCode {
    let (pause, fails) = {
        let mut platform = platform.lock().unwrap();
        (platform.rng.random_range(0..20), platform.rng.random_bool(0.15))
    };
    tokio::time::sleep(Duration::from_millis(pause)).await;
    if fails {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    if headers["lastmile-document"] == "alert" {
        let key = headers["idempotency-key"].to_str().unwrap().to_owned();
        platform.lock().unwrap().taken.push((key, body));
    }
    StatusCode::ACCEPTED
}

fn distinct(platform: &Shared) -> usize {
    platform.lock().unwrap().taken.iter().map(|(key, _)| key.clone()).collect::<HashSet<_>>().len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_killed_while_it_hands_on_owes_the_platform_nothing() {
    let seed = seed();
    eprintln!("seed {seed}: set LASTMILE_CRASH_SEED to it to run the same again");
    let mut rng = StdRng::seed_from_u64(seed);
    let platform: Shared = Arc::new(Mutex::new(Platform { rng: StdRng::seed_from_u64(seed ^ 1), taken: Vec::new() }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/alerts", listener.local_addr().unwrap());
    let router = Router::new().route("/alerts", post(take)).with_state(Arc::clone(&platform));
    tokio::spawn(async move { axum::serve(listener, router).await });

    let (dir, port) = (TempDir::new().unwrap(), free_port());
    let data = dir.path().join("data");
    let line = "[channel.line]\nkind = \"sms\"\nprovider = \"file\"\npath = \"out.jsonl\"\n";
    let relay = format!("{line}[relay.city]\nurl = \"{url}\"\nformat = \"json\"\ncoverage_every = \"1s\"\n");
    let config = site::configure(dir.path(), &data, port, "", &site::everyone_by("\"sms\""), &relay);
    run(&["registry", "generate", "--households", "50", "--data", data.to_str().unwrap()], 0);
    let bureau = new_key(&config, "met", "bureau", Some("met"));
    let mut gateway = Gateway::start(&config, port).await;
    let mut ids = Vec::new();
    for round in 0..ROUNDS {
        let had = distinct(&platform);
        for _ in 0..ALERTS_A_ROUND {
            let (status, said) =
                gateway.post(&bureau, "/v1/alerts", "application/json", site::alert(ids.len(), site::COUNTY).to_string()).await;
            assert_eq!(status, StatusCode::ACCEPTED, "{said:#}");
            ids.push(said["id"].as_str().unwrap().to_owned());
        }
        let at = rng.random_range(had..=ids.len());
        until("the alerts come to the kill", DEADLINE, async || distinct(&platform) >= at).await;
        gateway.kill().await;
        eprintln!("round {round}: killed when {} of {} had come", distinct(&platform), ids.len());
        gateway.start_again().await;
    }
    until("every alert has come", DEADLINE, async || distinct(&platform) == ids.len()).await;
    assert_eq!(gateway.stop(STOP).await, Some(0));

    let taken = platform.lock().unwrap().taken.clone();
    let mut bodies: HashMap<&str, &str> = HashMap::new();
    let mut order = Vec::new();
    for (key, body) in &taken {
        match bodies.insert(key, body) {
            None => order.push(key.clone()),
            Some(before) => assert_eq!(before, body, "{key} has two bodies"),
        }
    }
    assert_eq!(order, ids, "in the order of their release");
    let repeats = taken.len() - ids.len();
    assert!(repeats <= ROUNDS, "{repeats} repeats for {ROUNDS} kills");
}
