//! Owns a small HTTP far end that takes everything: the group robot's, and where a peer's own callbacks are looked at.

use std::sync::{Arc, Mutex};

use axum::{Json, Router, body::Bytes, extract::State, http::Uri};
use serde_json::{Value, json};

type Taken = Arc<Mutex<Vec<(String, Value)>>>;

pub(crate) struct Robot {
    port: u16,
    taken: Taken,
    server: tokio::task::JoinHandle<()>,
}

impl Robot {
    pub(crate) async fn start() -> Self {
        let taken = Taken::default();
        let routes = Router::new().fallback(take).with_state(Arc::clone(&taken));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { port, taken, server }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Path and query of each call.
    pub(crate) fn paths(&self) -> Vec<String> {
        self.taken.lock().unwrap().iter().map(|(path, _)| path.clone()).collect()
    }

    pub(crate) fn posts(&self) -> Vec<(String, Value)> {
        self.taken.lock().unwrap().clone()
    }
}

impl Drop for Robot {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// WeCom's answer to a post that it has taken.
async fn take(State(taken): State<Taken>, uri: Uri, body: Bytes) -> Json<Value> {
    let said = serde_json::from_slice(&body).unwrap_or(Value::Null);
    taken.lock().unwrap().push((uri.to_string(), said));
    Json(json!({ "errcode": 0, "errmsg": "ok" }))
}
