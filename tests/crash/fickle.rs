//! Owns a far end with moods, as providers have them: it refuses, fails, says nonsense, hangs up or answers too late by a seed,
//! and reports deliveries by callback early, late, twice and contradicting itself.
//! Refuses to know what the gateway should make of it.
//! Invariant: what was truly taken, and every report that was answered 200, is written down before anybody is told.

use std::{
    collections::{HashMap, HashSet},
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Json, Router,
    body::Body,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse as _, Response},
    routing::post,
};
use lastmile::time::{Clock as _, SystemClock};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use reqwest::Client;
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use crate::program::http;

/// How long the accounts of the tests wait for an answer: so long that on a busy machine a plain answer is not late.
pub(crate) const TIMEOUT: Duration = Duration::from_millis(2_000);
const LATE: Duration = TIMEOUT.saturating_add(Duration::from_millis(300));
/// A provider comes again with a report that was not answered; it gives up after a gateway's longest start.
const REPORT_TRIES: usize = 40;
const REPORT_AGAIN: Duration = Duration::from_millis(250);

#[derive(Deserialize)]
struct Message {
    id: String,
    notify: String,
}

/// One message that was truly taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Take {
    /// In milliseconds of the clock.
    pub(crate) at_ms: i64,
    /// In which life of the gateway it came.
    pub(crate) life: u32,
    /// Whether its answer says plainly, and in time, that it was taken.
    pub(crate) is_plain: bool,
}

#[derive(Default)]
struct Memory {
    took: HashMap<String, Vec<Take>>,
    /// Deliveries of which it was ever reported that they arrived; a report may be kept whose answer was lost in a kill.
    reported: HashSet<String>,
    /// Deliveries whose receipt was answered 200.
    promised: HashSet<String>,
    reports: u64,
    /// Messages whose reports are still to be brought.
    reporting: usize,
}

pub(crate) struct Fickle {
    /// What follows it in an address is the life of the gateway that has it.
    url: String,
    state: Far,
    server: tokio::task::JoinHandle<()>,
}

#[derive(Clone)]
struct Far {
    memory: Arc<Mutex<Memory>>,
    rng: Arc<Mutex<StdRng>>,
    http: Client,
}

#[derive(Clone, Copy)]
enum Mood {
    Takes,
    TooMany,
    Fails,
    /// Takes it and answers what no table explains.
    Garbage,
    /// Takes it, and the connection breaks in the answer.
    HangsUp,
    /// Takes it, and answers when nobody waits any more.
    Late,
}

#[derive(Clone, Copy)]
enum Habit {
    Silent,
    BeforeTheAnswer,
    After,
    Twice,
    /// Delivered first, then that it is on its way, then that it has failed.
    Backwards,
    /// Failed first, then delivered after all.
    FailedFirst,
}

impl Fickle {
    pub(crate) async fn start(seed: u64) -> Self {
        let rng = Arc::new(Mutex::new(StdRng::seed_from_u64(seed)));
        let state = Far { memory: Arc::default(), rng, http: http() };
        let routes = Router::new().route("/send/{life}", post(take)).with_state(state.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/send/", listener.local_addr().unwrap());
        let server = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { url, state, server }
    }

    pub(crate) fn took(&self) -> HashMap<String, Vec<Take>> {
        self.state.memory.lock().unwrap().took.clone()
    }

    /// Messages truly taken, each time counted.
    pub(crate) fn messages(&self) -> usize {
        self.state.memory.lock().unwrap().took.values().map(Vec::len).sum()
    }

    pub(crate) fn promised(&self) -> HashSet<String> {
        self.state.memory.lock().unwrap().promised.clone()
    }

    /// Every report is brought, or given up.
    pub(crate) fn is_done(&self) -> bool {
        self.state.memory.lock().unwrap().reporting == 0
    }

    /// Where a gateway posts in this life of it: what one that is dead by now had still sent comes late, and is told by its address.
    pub(crate) fn url(&self, life: usize) -> String {
        format!("{}{life}", self.url)
    }

    pub(crate) fn reported(&self) -> HashSet<String> {
        self.state.memory.lock().unwrap().reported.clone()
    }

    pub(crate) fn reports(&self) -> u64 {
        self.state.memory.lock().unwrap().reports
    }
}

impl Drop for Fickle {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Far {
    fn chance(&self) -> (Mood, Habit, Duration, Duration) {
        let mut rng = self.rng.lock().unwrap();
        let mood = match rng.random_range(0..100) {
            0..3 => Mood::TooMany,
            3..6 => Mood::Fails,
            6..8 => Mood::Garbage,
            8..10 => Mood::HangsUp,
            10..11 => Mood::Late,
            _ => Mood::Takes,
        };
        let habit = match rng.random_range(0..10) {
            0 => Habit::BeforeTheAnswer,
            1 => Habit::Twice,
            2 => Habit::Backwards,
            3 => Habit::FailedFirst,
            4..7 => Habit::After,
            _ => Habit::Silent,
        };
        let (work, report) = (rng.random_range(500..5_000), rng.random_range(0..400));
        (mood, habit, Duration::from_micros(work), Duration::from_millis(report))
    }

    /// Whether it was answered 200.
    async fn report_once(&self, message: &Message, status: &str) -> bool {
        let has_arrived = status == "DELIVRD";
        if has_arrived {
            self.memory.lock().unwrap().reported.insert(message.id.clone());
        }
        let body = json!({ "id": message.id, "status": status });
        let answer = self.http.post(&message.notify).json(&body).send().await;
        let is_kept = answer.is_ok_and(|answer| answer.status() == StatusCode::OK);
        if is_kept {
            let mut memory = self.memory.lock().unwrap();
            memory.reports += 1;
            if has_arrived {
                memory.promised.insert(message.id.clone());
            }
        }
        is_kept
    }

    async fn report(&self, message: &Message, status: &str) {
        for _ in 0..REPORT_TRIES {
            if self.report_once(message, status).await {
                return;
            }
            tokio::time::sleep(REPORT_AGAIN).await;
        }
    }

    async fn report_by_habit(&self, message: &Message, habit: Habit) {
        let words: &[&str] = match habit {
            Habit::Silent => &[],
            Habit::BeforeTheAnswer | Habit::After => &["DELIVRD"],
            Habit::Twice => &["DELIVRD", "DELIVRD"],
            Habit::Backwards => &["DELIVRD", "ENROUTE", "UNDELIV"],
            Habit::FailedFirst => &["UNDELIV", "DELIVRD"],
        };
        for word in words {
            self.report(message, word).await;
        }
    }
}

async fn take(State(far): State<Far>, Path(life): Path<u32>, Json(message): Json<Message>) -> Response {
    let (mood, habit, work, pause) = far.chance();
    let begun = Instant::now();
    {
        let mut memory = far.memory.lock().unwrap();
        if !matches!(mood, Mood::TooMany | Mood::Fails) {
            let take = Take { at_ms: SystemClock.now().as_ms(), life, is_plain: matches!(mood, Mood::Takes) };
            memory.took.entry(message.id.clone()).or_default().push(take);
        }
    }
    match mood {
        Mood::TooMany => return (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "0")]).into_response(),
        Mood::Fails => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Mood::Takes | Mood::Garbage | Mood::HangsUp | Mood::Late => {}
    }
    tokio::time::sleep(work).await;
    if matches!(habit, Habit::BeforeTheAnswer) {
        // One try only: a gateway that is being killed must not hold up the answer to it.
        far.report_once(&message, "DELIVRD").await;
        if begun.elapsed() > TIMEOUT / 2 {
            // On a busy machine the report may take so long that the answer comes too late to be plain.
            let mut memory = far.memory.lock().unwrap();
            let takes = memory.took.get_mut(&message.id).unwrap();
            takes.iter_mut().filter(|take| take.life == life).for_each(|take| take.is_plain = false);
        }
    } else {
        let far = far.clone();
        far.memory.lock().unwrap().reporting += 1;
        // A provider reports whether or not its answer was heard.
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            far.report_by_habit(&message, habit).await;
            far.memory.lock().unwrap().reporting -= 1;
        });
    }
    match mood {
        Mood::Garbage => "<html>one moment please".into_response(),
        Mood::HangsUp => {
            let broken = futures::stream::iter([Ok("{\"co"), Err(io::Error::other("hung up"))]);
            Body::from_stream(broken).into_response()
        }
        Mood::Late => {
            tokio::time::sleep(LATE).await;
            Json(json!({ "code": "OK" })).into_response()
        }
        _ => Json(json!({ "code": "OK" })).into_response(),
    }
}
