//! Owns a platform above for tests of relays: a real server that takes, fails, refuses, breaks off and keeps silent, and remembers.
//! Refuses to judge what came.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
    routing::post,
};
use serde_json::Value;

/// How the platform above behaves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mood {
    Takes,
    Says(u16),
    /// Too many requests, with a wish to wait.
    Throttles,
    /// Promises an answer and breaks off in the middle of it.
    Half,
    Never,
}

#[derive(Clone, Debug)]
pub(crate) struct Got {
    pub(crate) document: String,
    pub(crate) key: String,
    pub(crate) body: String,
    pub(crate) headers: HeaderMap,
    taken: bool,
    pub(crate) mood: Mood,
    pub(crate) at: tokio::time::Instant,
}

#[derive(Clone)]
pub(crate) struct Platform {
    address: String,
    mood: Arc<Mutex<Mood>>,
    /// Refused with 422, whatever the mood.
    pub(crate) unwanted: Arc<Mutex<String>>,
    got: Arc<Mutex<Vec<Got>>>,
}

impl Platform {
    pub(crate) async fn start(mood: Mood) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let platform = Self { address, mood: Arc::new(Mutex::new(mood)), unwanted: Arc::default(), got: Arc::default() };
        let router = Router::new().route("/alerts", post(take)).with_state(platform.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        platform
    }

    pub(crate) fn set(&self, mood: Mood) {
        *self.mood.lock().expect("whole") = mood;
    }

    pub(crate) fn table(&self, name: &str, more: &str) -> String {
        format!("[relay.{name}]\nurl = \"http://{}/alerts\"\ntimeout = \"500ms\"\ncoverage_every = \"1s\"\n{more}\n", self.address)
    }

    pub(crate) fn got(&self) -> Vec<Got> {
        self.got.lock().expect("whole").clone()
    }

    /// Keys of the alerts that were taken, each time.
    pub(crate) fn taken_alerts(&self) -> Vec<String> {
        self.got().into_iter().filter(|got| got.taken && got.document == "alert").map(|got| got.key).collect()
    }

    pub(crate) fn has(&self, document: &str, found: impl Fn(&Value) -> bool) -> bool {
        let documents = self.got().into_iter().filter(|got| got.taken && got.document == document);
        documents.into_iter().any(|got| found(&serde_json::from_str(&got.body).expect("json")))
    }
}

async fn take(State(platform): State<Platform>, headers: HeaderMap, body: Bytes) -> Response {
    let mood = *platform.mood.lock().expect("whole");
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let body = String::from_utf8(body.to_vec()).expect("text");
    let unwanted = platform.unwanted.lock().expect("whole").clone();
    let is_unwanted = !unwanted.is_empty() && body.contains(&unwanted);
    let taken = mood == Mood::Takes && !is_unwanted;
    let got = Got {
        document: text("lastmile-document"),
        key: text("idempotency-key"),
        body,
        headers,
        taken,
        mood,
        at: tokio::time::Instant::now(),
    };
    platform.got.lock().expect("whole").push(got);
    match mood {
        _ if is_unwanted => StatusCode::UNPROCESSABLE_ENTITY.into_response(),
        Mood::Takes => StatusCode::ACCEPTED.into_response(),
        Mood::Says(status) => StatusCode::from_u16(status).expect("a status").into_response(),
        Mood::Throttles => (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "1")]).into_response(),
        Mood::Half => {
            let pieces = [Ok(Bytes::from_static(b"tak")), Err(std::io::Error::other("gone"))];
            (StatusCode::OK, [("content-length", "100")], Body::from_stream(futures::stream::iter(pieces))).into_response()
        }
        Mood::Never => std::future::pending().await,
    }
}
