//! Owns the far end of the crash tests: an SMS gateway over HTTP that outlives the program and remembers every message.
//! Invariant: what it has answered for is counted before the answer leaves; so a kill may lose an answer, never a count.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Json, Router, extract::State, routing::post};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde::Deserialize;
use serde_json::{Value, json};

/// One number in so many does not exist.
const BAD_NUMBER_IN: u64 = 200;

#[derive(Deserialize)]
struct Message {
    id: String,
    to: String,
}

/// What has come for one delivery.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) to: String,
    pub(crate) taken: u32,
    pub(crate) refused: u32,
}

struct Memory {
    rng: StdRng,
    seen: HashMap<String, Seen>,
    /// A delivery that came with two numbers.
    crossed: Vec<String>,
}

pub(crate) struct SmsGateway {
    pub(crate) url: String,
    memory: Arc<Mutex<Memory>>,
    server: tokio::task::JoinHandle<()>,
}

impl SmsGateway {
    pub(crate) async fn start(seed: u64) -> Self {
        let memory = Memory { rng: StdRng::seed_from_u64(seed), seen: HashMap::new(), crossed: Vec::new() };
        let memory = Arc::new(Mutex::new(memory));
        let routes = Router::new().route("/send", post(take)).with_state(Arc::clone(&memory));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/send", listener.local_addr().unwrap());
        let server = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { url, memory, server }
    }

    /// Deliveries that have come at least once.
    pub(crate) fn distinct(&self) -> usize {
        self.memory.lock().unwrap().seen.len()
    }

    pub(crate) fn seen(&self) -> HashMap<String, Seen> {
        let memory = self.memory.lock().unwrap();
        assert!(memory.crossed.is_empty(), "deliveries with two numbers: {:?}", memory.crossed);
        memory.seen.clone()
    }
}

impl Drop for SmsGateway {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn take(State(memory): State<Arc<Mutex<Memory>>>, Json(message): Json<Message>) -> Json<Value> {
    let (is_bad, latency) = {
        let mut memory = memory.lock().unwrap();
        let latency = Duration::from_micros(memory.rng.random_range(1_000..5_000));
        let Message { id, to } = message;
        let is_bad = is_bad_number(&to);
        let known = memory.seen.entry(id.clone()).or_insert_with(|| Seen { to: to.clone(), ..Seen::default() });
        if is_bad {
            known.refused += 1;
        } else {
            known.taken += 1;
        }
        if known.to != to {
            memory.crossed.push(id);
        }
        (is_bad, latency)
    };
    tokio::time::sleep(latency).await;
    Json(json!({ "code": if is_bad { "NO_SUCH_NUMBER" } else { "OK" } }))
}

/// By the number alone, so that a message sent twice is answered twice the same.
fn is_bad_number(to: &str) -> bool {
    let digits = to.bytes().filter(u8::is_ascii_digit).fold(0_u64, |number, digit| number.wrapping_mul(31).wrapping_add(u64::from(digit)));
    digits.is_multiple_of(BAD_NUMBER_IN)
}
