//! Owns the far end of these tests: an SMS gateway that counts what comes for each delivery, and answers only while its gate is open.
//! Invariant: a message is counted before its answer can leave.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use axum::{Json, Router, extract::State, routing::post};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;

#[derive(Deserialize)]
struct Message {
    id: String,
}

#[derive(Clone)]
struct Shared {
    came: Arc<Mutex<HashMap<String, u32>>>,
    open: watch::Receiver<bool>,
}

pub(crate) struct FarEnd {
    pub(crate) url: String,
    gate: watch::Sender<bool>,
    came: Arc<Mutex<HashMap<String, u32>>>,
    server: tokio::task::JoinHandle<()>,
}

impl FarEnd {
    pub(crate) async fn start() -> Self {
        let (gate, open) = watch::channel(true);
        let came: Arc<Mutex<HashMap<String, u32>>> = Arc::default();
        let routes = Router::new().route("/send", post(take)).with_state(Shared { came: Arc::clone(&came), open });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/send", listener.local_addr().unwrap());
        let server = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { url, gate, came, server }
    }

    /// Nobody is answered until `open`.
    pub(crate) fn close(&self) {
        self.gate.send_replace(false);
    }

    pub(crate) fn open(&self) {
        self.gate.send_replace(true);
    }

    /// How often each delivery came.
    pub(crate) fn came(&self) -> HashMap<String, u32> {
        self.came.lock().unwrap().clone()
    }

    pub(crate) fn distinct(&self) -> usize {
        self.came.lock().unwrap().len()
    }
}

impl Drop for FarEnd {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn take(State(mut shared): State<Shared>, Json(message): Json<Message>) -> Json<Value> {
    *shared.came.lock().unwrap().entry(message.id).or_default() += 1;
    // The sender lives as long as the far end.
    drop(shared.open.wait_for(|open| *open).await);
    Json(json!({ "code": "OK" }))
}
