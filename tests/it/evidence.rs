//! Whose reports count, and what people's words come to: two accounts of short messages, one of mail, and telephones that people share.

use std::sync::{Arc, Mutex};

use axum::{Json, Router, extract::State, routing::post};
use lastmile::access::Role;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::http_kit::{Holder, LEIGU, Site, new_home, rainstorm};

const SHARED: &str = "13800001111";
const ALONE: &str = "13800002222";

/// Takes every message, and knows them.
#[derive(Clone, Default)]
struct Gateway(Arc<Mutex<Vec<Value>>>);

async fn take(State(gateway): State<Gateway>, Json(message): Json<Value>) -> Json<Value> {
    gateway.0.lock().expect("no panic").push(message);
    Json(json!({ "code": "OK" }))
}

async fn gateway() -> (Gateway, String) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let gateway = Gateway::default();
    let router = Router::new().route("/send", post(take)).with_state(gateway.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (gateway, format!("http://{address}/send"))
}

fn channel(name: &str, priority: u8, url: &str) -> String {
    format!(
        r#"
[channel.{name}]
kind = "sms"
provider = "http"
priority = {priority}
url = "{url}"
body = '{{"id":{{{{ id|tojson }}}},"to":{{{{ to|tojson }}}},"report":{{{{ message_callback_url|tojson }}}}}}'
callback_token = "the token of {name}"
[channel.{name}.receipt]
id = "/id"
status = "/status"
delivered = ["DELIVRD"]
[channel.{name}.answer]
form = "query"
from = "/from"
text = "/text"
"#
    )
}

async fn site() -> (Gateway, Site) {
    let (gateway, url) = gateway().await;
    let mail = "[channel.post]\nkind = \"email\"\nprovider = \"smtp\"\nhost = \"127.0.0.1\"\nport = 9\ntls = \"none\"\nfrom = \"a@county.example\"\ndsn = true\n";
    let site = Site::at(new_home(), "none", &format!("{}{}{mail}", channel("line", 1, &url), channel("other", 2, &url))).await;
    (gateway, site)
}

async fn puts(site: &Site, admin: &Holder, id: &str, role: &str, phone: &str) {
    let person = json!({ "id": id, "area": LEIGU, "name": format!("王{id}"), "role": role, "phone": phone });
    let answer = site.call(Method::PUT, &format!("/v1/subscribers/{id}"), admin).json(&person).send().await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::OK, "{}", answer.text().await.unwrap_or_default());
}

async fn replies(site: &Site, from: &str, text: &str) {
    let query = [("k", "the token of line"), ("from", from), ("text", text)];
    let answer = site.plain(Method::GET, "/v1/callbacks/sms/line/reply").query(&query).send().await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::OK);
}

async fn reports(site: &Site, channel: &str, ids: &[String]) -> StatusCode {
    let body: Vec<Value> = ids.iter().map(|id| json!({ "id": id, "status": "DELIVRD" })).collect();
    let request =
        site.plain(Method::POST, &format!("/v1/callbacks/sms/{channel}/status")).query(&[("k", format!("the token of {channel}"))]);
    request.json(&body).send().await.expect("an answer").status()
}

/// An alert for one township, once the gateway has every message of it.
async fn told(site: &Site, gateway: &Gateway) -> (String, Vec<String>) {
    let id = site.accepted(&rainstorm(1, &[LEIGU]), &site.bureau()).await;
    let shelf = site.app.gateway.ledger().find(id.parse().expect("an id")).expect("the alert");
    site.until("all is sent", async || {
        let book = shelf.read();
        !book.slots.is_empty() && book.slots.iter().all(|slot| slot.accepted.is_set())
    })
    .await;
    let sent = gateway.0.lock().expect("no panic").iter().filter_map(|message| message["id"].as_str().map(str::to_owned)).collect();
    (id, sent)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_of_one_account_changes_nothing_of_another() {
    let (gateway, site) = site().await;
    let duty = site.role(Role::Duty);
    let (id, sent) = told(&site, &gateway).await;
    let before = site.get(&format!("/v1/alerts/{id}"), &duty).await;
    assert_eq!(reports(&site, "other", &sent).await, StatusCode::OK, "whoever brings them need not come again");
    let forged = |name: &str| {
        format!(
            "Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\n\
             Original-Envelope-Id: {name}\r\n\r\nFinal-Recipient: rfc822; a@b.example\r\nAction: delivered\r\nStatus: 2.0.0\r\n\r\n--b--\r\n"
        )
    };
    for name in &sent {
        let answer = site.plain(Method::POST, "/v1/callbacks/email/post").body(forged(name)).send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    }
    let after = site.get(&format!("/v1/alerts/{id}"), &duty).await;
    assert_eq!((&after["people"], &after["progress"]), (&before["people"], &before["progress"]));
    let alarms = site.get("/v1/alarms?open=true", &duty).await;
    assert!(alarms["items"].as_array().expect("a list").iter().any(|alarm| alarm["what"] == "unmatched-receipts"), "{alarms}");
    // Far more than is kept.
    let strays = site.app.gateway.ledger().strays();
    let unknown: Vec<String> = (0..2_000).map(|number| format!("0000009{number:06}")).collect();
    reports(&site, "line", &unknown).await;
    assert!(site.app.gateway.ledger().strays() - strays <= 100, "a flood fills no disk");
    // Its own count, and those that come to the address of the one message.
    assert_eq!(reports(&site, "line", &sent[..1]).await, StatusCode::OK);
    let address = gateway.0.lock().expect("no panic")[1]["report"].as_str().expect("an address").to_owned();
    let path = address.split_once("/v1/").map(|(_, path)| format!("/v1/{path}")).expect("a path");
    let answer = site.plain(Method::POST, &path).json(&json!({ "status": "DELIVRD" })).send().await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(site.get(&format!("/v1/alerts/{id}"), &duty).await["progress"]["delivered"], 2);
    site.stop().await;
}

fn row<'v>(calls: &'v Value, id: &str) -> &'v Value {
    calls["items"].as_array().expect("a list").iter().find(|call| call["recipient"]["id"] == id).unwrap_or_else(|| panic!("{id}: {calls}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_answers_for_everybody_of_its_telephone_and_the_last_word_is_heard() {
    let (gateway, site) = site().await;
    let (admin, duty) = (site.role(Role::Admin), site.role(Role::Duty));
    for (id, role, phone) in [("a-house", "household", SHARED), ("b-lead", "village_leader", SHARED), ("c-lead", "village_leader", SHARED)]
    {
        puts(&site, &admin, id, role, phone).await;
    }
    puts(&site, &admin, "d-house", "household", ALONE).await;
    let (id, _) = told(&site, &gateway).await;
    let calls = async || site.get(&format!("/v1/alerts/{id}/calls"), &duty).await;
    replies(&site, SHARED, "【收到】").await;
    let seen = calls().await;
    for leader in ["b-lead", "c-lead"] {
        assert_eq!((&row(&seen, leader)["state"], &row(&seen, leader)["choice"]), (&json!("answered"), &json!("received")), "{seen}");
    }
    let rows = site.get(&format!("/v1/alerts/{id}/deliveries?state=answered"), &duty).await;
    assert_eq!(rows["items"].as_array().map(Vec::len), Some(3), "the household answered too: {rows}");
    assert!(site.get("/v1/help", &duty).await["items"].as_array().is_some_and(Vec::is_empty));

    replies(&site, SHARED, "收到，但是路断了，求助").await;
    replies(&site, ALONE, "20分钟后到").await;
    replies(&site, "13900003333", "救命，河水进屋了，老人走不动").await;
    let seen = calls().await;
    let first = &seen["items"][0];
    assert_eq!(
        (&first["wants_help"], &first["choice"], &first["last_choice"]),
        (&json!(true), &json!("received"), &json!("help")),
        "{seen}"
    );
    let alarms = site.get("/v1/alarms?open=true", &duty).await;
    let cries = alarms["items"].as_array().expect("a list").iter().filter(|alarm| alarm["what"] == "help-wanted");
    assert_eq!(cries.clone().count(), 2, "{alarms}");
    assert!(cries.clone().all(|alarm| !alarm.to_string().contains(SHARED)), "numbers are masked where all who act see them");

    let help = site.get("/v1/help?open=true", &duty).await;
    let brief: Vec<(&Value, &Value, &Value, &Value)> = help["items"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| (&one["what"], &one["person"]["id"], &one["phone"], &one["words"]))
        .collect();
    assert_eq!(brief.len(), 3, "{help}");
    let stranger = brief.iter().find(|one| one.1.is_null()).expect("who is not registered");
    assert_eq!((stranger.0, stranger.2, stranger.3), (&json!("help"), &json!("13900003333"), &json!("救命，河水进屋了，老人走不动")));
    assert_eq!(brief[2], (&json!("not-understood"), &json!("d-house"), &json!("13800002222"), &json!("20分钟后到")));

    let own = help["items"].as_array().expect("a list").iter().find(|one| one["person"]["name"].is_string()).expect("a leader");
    let path = format!("/v1/help/{}", own["id"].as_str().expect("an id"));
    let step = async |state: &str| {
        let request = site.call(Method::POST, &path, &duty).json(&json!({ "state": state, "note": "派李四去" }));
        let answer = request.send().await.expect("an answer");
        (answer.status(), answer.json::<Value>().await.expect("json"))
    };
    let (status, view) = step("taken").await;
    assert_eq!(
        (status, &view["state"], &view["taken_by"], &view["note"]),
        (StatusCode::OK, &json!("taken"), &json!("duty"), &json!("派李四去"))
    );
    // What was said and taken is there after a restart, and who may not act sees nothing of it.
    let viewer = site.role(Role::Viewer);
    assert_eq!(site.status(Method::GET, "/v1/help", &viewer).await, StatusCode::FORBIDDEN);
    let before = site.get("/v1/help", &duty).await;
    let site = site.restarted().await;
    assert_eq!(site.get("/v1/help", &duty).await, before);
    assert_eq!(site.get(&format!("/v1/alerts/{id}/calls"), &duty).await["items"][0]["last_choice"], "help");
    let done = site.call(Method::POST, &path, &duty).json(&json!({ "state": "done" })).send().await.expect("an answer");
    assert_eq!(done.status(), StatusCode::OK);
    let again = site.call(Method::POST, &path, &duty).json(&json!({ "state": "taken" })).send().await.expect("an answer");
    assert_eq!(again.status(), StatusCode::CONFLICT);
    assert_eq!(site.get("/v1/help?open=true", &duty).await["items"].as_array().map(Vec::len), Some(2));
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_link_writes_little_however_often_it_is_pressed_and_a_wrong_one_is_a_page() {
    let (gateway, site) = site().await;
    let (admin, duty) = (site.role(Role::Admin), site.role(Role::Duty));
    puts(&site, &admin, "b-lead", "village_leader", SHARED).await;
    let (id, _) = told(&site, &gateway).await;
    let shelf = site.app.gateway.ledger().find(id.parse().expect("an id")).expect("the alert");
    let recipient = shelf.read().calls.iter().map(|call| call.recipient).max().expect("a call");
    let token = site.app.gateway.answer_token(shelf.no, recipient).expect("a token");
    let version = || shelf.read().version;
    let presses = async |choice: &str| {
        let request = site.plain(Method::POST, &format!("/a/{token}")).form(&[("choice", choice)]);
        let answer = request.send().await.expect("an answer");
        (answer.status(), answer.text().await.expect("a page"))
    };
    let before = version();
    for _ in 0..20 {
        let (status, page) = presses("received").await;
        assert!(status == StatusCode::OK && page.contains("· 收到"), "{page}");
    }
    assert_eq!(version(), before + 1, "what says the same changes nothing");
    let mut held_back = 0;
    for choice in ["help", "moved"].iter().cycle().take(30) {
        held_back += usize::from(presses(choice).await.0 == StatusCode::TOO_MANY_REQUESTS);
    }
    assert!(held_back > 5, "who is not taken is told so: {held_back}");
    assert!(version() <= before + 8, "{} events", version() - before);
    let (_, page) = presses("help").await;
    assert!(page.contains("· 需要帮助"), "the last word stands there: {page}");
    let help = site.get("/v1/help?open=true", &duty).await;
    assert_eq!(help["items"].as_array().map(Vec::len), Some(1), "{help}");
    let alarms = site.get("/v1/alarms?open=true", &duty).await;
    assert_eq!(alarms["items"].as_array().expect("a list").iter().filter(|alarm| alarm["what"] == "help-wanted").count(), 1);
    for request in [site.plain(Method::GET, "/a/nobody"), site.plain(Method::POST, "/a/nobody").form(&[("choice", "help")])] {
        let answer = request.header("accept", "text/html,*/*;q=0.8").send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::NOT_FOUND);
        let page = answer.text().await.expect("a page");
        assert!(page.contains("链接可能不完整或已失效"), "{page}");
    }
    site.stop().await;
}
