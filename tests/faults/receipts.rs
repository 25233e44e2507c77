//! Receipts that name a message by the far end's own id and come before that id is told, twice, in reverse and contradicting each other:
//! each is brought to its delivery, also by the next process, and nobody who has it is told again.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    extract::State,
    routing::{MethodRouter, post},
};
use reqwest::{Client, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{sync::watch, task::JoinHandle};

use crate::{
    program::{self, process::until},
    running::{AT_ONCE, DEADLINE, PATIENT, PLAIN, Running, SMS, Setting, gateway_table},
};

const HOUSEHOLDS: usize = 100;
/// What is reported of a message before its send is answered, and after it.
const HABITS: [(&[&str], &[&str]); 6] = [
    (&["DELIVRD"], &[]),
    (&["DELIVRD", "DELIVRD"], &["DELIVRD"]),
    (&["DELIVRD", "ENROUTE"], &["ENROUTE"]),
    // The word of a failure that is worth another try overtaken by, or after, the word that it is there.
    (&["DELIVRD", "UNDELIV"], &[]),
    (&["DELIVRD"], &["UNDELIV", "DELIVRD"]),
    (&[], &["DELIVRD", "UNDELIV"]),
];

#[derive(Deserialize)]
struct Message {
    id: String,
    notify: String,
}

#[derive(Clone)]
struct Prompt {
    came: Arc<Mutex<HashMap<String, u32>>>,
    http: Client,
}

impl Prompt {
    /// A report is brought until it is answered 200.
    async fn report(&self, notify: &str, reference: &str, status: &str) {
        let body = json!({ "ref": reference, "status": status });
        until("a report is taken", DEADLINE, async || {
            let answer = self.http.post(notify).json(&body).send().await;
            answer.is_ok_and(|answer| answer.status() == StatusCode::OK)
        })
        .await;
    }
}

async fn take(State(far): State<Prompt>, Json(message): Json<Message>) -> Json<Value> {
    let number = {
        let mut came = far.came.lock().unwrap();
        let number = came.len();
        *came.entry(message.id.clone()).or_default() += 1;
        number
    };
    let (before, after) = HABITS[number % HABITS.len()];
    let reference = format!("ref-{}", message.id);
    for status in before {
        far.report(&message.notify, &reference, status).await;
    }
    let answer = Json(json!({ "code": "OK", "msg": reference }));
    tokio::spawn(async move {
        for status in after {
            far.report(&message.notify, &reference, status).await;
        }
    });
    answer
}

/// Reports what it has taken, and answers only when it is opened. It knows our id: what comes again has the same name.
#[derive(Clone)]
struct Slow {
    prompt: Prompt,
    open: watch::Receiver<bool>,
}

async fn take_slowly(State(far): State<Slow>, Json(message): Json<Message>) -> Json<Value> {
    let reference = format!("ref-{}", message.id);
    if !*far.open.borrow() {
        far.prompt.report(&message.notify, &reference, "DELIVRD").await;
        *far.prompt.came.lock().unwrap().entry(message.id).or_default() += 1;
        far.open.clone().wait_for(|is_open| *is_open).await.unwrap();
    }
    Json(json!({ "code": "OK", "msg": reference }))
}

/// A gateway of an account that reports by its own ids, and the server of its far end.
async fn start<S: Clone + Send + Sync + 'static>(home: &TempDir, routes: MethodRouter<S>, far: S) -> (Running, JoinHandle<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/send", listener.local_addr().unwrap());
    let routes = Router::new().route("/send", routes).with_state(far);
    let server = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    let more = format!(
        "{PATIENT}message_id = \"/msg\"\ncallback_token = \"token-of-the-receipts\"\n\
         receipt = {{ provider_ref = \"/ref\", status = \"/status\", delivered = [\"DELIVRD\"], failed = {{ UNDELIV = \"retry\" }} }}\n"
    );
    let channels = gateway_table("mas", &url, &more).replace(r#""text": "#, r#""notify": {{ callback_url|tojson }}, "text": "#);
    let setting = Setting { households: HOUSEHOLDS, server: "", channels, kinds: SMS, shell: PLAIN };
    let mut gateway = Running::start_as(home.path(), &home.path().join("data"), &setting);
    gateway.until_ready_says(StatusCode::OK).await;
    (gateway, server)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receipt_that_overtook_its_send_is_evidence_after_a_kill() {
    let home = TempDir::new().unwrap();
    let (open, is_open) = watch::channel(false);
    let far = Slow { prompt: Prompt { came: Arc::default(), http: program::http() }, open: is_open };
    let (mut gateway, server) = start(&home, post(take_slowly), far.clone()).await;
    let alert = gateway.accepted(1).await;
    until("messages are reported before their sends return", DEADLINE, async || far.prompt.came.lock().unwrap().len() >= AT_ONCE).await;
    gateway.process.signal("-KILL");
    assert_eq!(gateway.process.wait(DEADLINE).await, None, "killed by a signal");
    open.send_replace(true);
    gateway.start_again();
    gateway.until_ready_says(StatusCode::OK).await;
    // Nobody reports any more: what is proven was proven before the kill.
    until("everything that was reported is delivered", DEADLINE, async || gateway.progress(&alert, "delivered").await >= AT_ONCE as u64)
        .await;
    gateway.until_nothing_is_owed(&alert).await;
    let came = far.prompt.came.lock().unwrap().clone();
    for row in gateway.deliveries(&alert).await {
        let was_reported = came.contains_key(row["id"].as_str().unwrap());
        assert_eq!(row["delivered_at"].is_string(), was_reported, "{row:#}");
    }
    server.abort();
    gateway.stop_and_verify(&home.path().join("data")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn receipts_in_any_order_are_evidence_and_nobody_is_told_twice() {
    let home = TempDir::new().unwrap();
    let far = Prompt { came: Arc::default(), http: program::http() };
    let (gateway, server) = start(&home, post(take), far.clone()).await;
    let alert = gateway.accepted(1).await;
    until("every delivery is delivered", DEADLINE, async || {
        let progress = gateway.json(&format!("{alert}/coverage")).await["progress"].clone();
        progress["deliveries"].as_u64() > Some(0) && progress["delivered"] == progress["deliveries"]
    })
    .await;
    let rows = gateway.deliveries(&alert).await;
    assert!(rows.iter().all(|row| row["open"] == false && row["delivered_at"].is_string()), "{rows:#?}");
    // What is still queued for another try would come after this.
    let second = gateway.accepted(2).await;
    until("the second alert is delivered", DEADLINE, async || {
        let progress = gateway.json(&format!("{second}/coverage")).await["progress"].clone();
        progress["deliveries"].as_u64() > Some(0) && progress["delivered"] == progress["deliveries"]
    })
    .await;
    let came = far.came.lock().unwrap().clone();
    let twice = rows.iter().filter(|row| came[row["id"].as_str().unwrap()] > 1).count();
    eprintln!("{} delivered, {twice} told twice", rows.len());
    assert_eq!(twice, 0, "somebody who had it was told again");
    server.abort();
    gateway.stop_and_verify(&home.path().join("data")).await;
}
