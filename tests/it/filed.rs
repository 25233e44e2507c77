//! Alerts that have long been over: out of memory into files, and still told, counted, ended and answered as before.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use axum::{Json, Router, routing::post};
use lastmile::{
    access::Role,
    app,
    delivery::ledger::Shelf,
    store,
    time::{Clock as _, SystemClock},
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::http_kit::{Holder, LEIGU, QUSHAN, Site, new_home, problem, rainstorm};

/// Between its end and its filing, an alert is looked at as it was in memory.
const SOON: &str = "[store]\nkeep_open = \"6s\"\n";
const LONG: &str = "[store]\nkeep_open = \"9d\"\n";
/// Everything that is made of recipients, deliveries and calls.
const LOOKS: [&str; 5] = ["deliveries?limit=1000", "calls", "coverage?by=village", "timeliness", "report.json"];

/// An alert that ends in a few seconds.
fn brief(number: u32, areas: &[&str]) -> Value {
    let mut alert = rainstorm(number, areas);
    alert["expires"] = SystemClock.now().whole_seconds().plus(Duration::from_secs(5)).to_seconds_string().into();
    alert
}

fn shelf(site: &Site, id: &str) -> Arc<Shelf> {
    site.app.gateway.ledger().find(id.parse().expect("an id")).expect("in the ledger")
}

/// What is shown of an alert, without the moment of the look.
async fn looks(site: &Site, id: &str, who: &Holder) -> Vec<Value> {
    let mut shown = Vec::new();
    for path in LOOKS {
        let mut look = site.get(&format!("/v1/alerts/{id}/{path}"), who).await;
        without(&mut look, &["as_of", "left_s"]);
        shown.push(look);
    }
    shown
}

fn without(value: &mut Value, keys: &[&str]) {
    match value {
        Value::Object(map) => {
            keys.iter().for_each(|key| drop(map.remove(*key)));
            map.values_mut().for_each(|value| without(value, keys));
        }
        Value::Array(list) => list.iter_mut().for_each(|value| without(value, keys)),
        _ => {}
    }
}

/// Posts an alert, has somebody answer it, and waits until it is over and filed; its id, and what was shown of it while it was in memory.
async fn told_and_filed(site: &Site, alert: &Value, met: &Holder, duty: &Holder) -> (String, Vec<Value>) {
    let id = site.accepted(alert, met).await;
    site.wait_until_told(&id, duty).await;
    answer(site, &id, 0, "received").await;
    let shelf = shelf(site, &id);
    let is_over = || !shelf.is_filed() && shelf.read().is_closed();
    site.until("it is over", async || is_over()).await;
    let mut before = Vec::new();
    while is_over() {
        let look = looks(site, &id, duty).await;
        if is_over() {
            before = look;
        }
    }
    assert!(!before.is_empty(), "it was filed before anybody could look at it");
    site.until("it is filed", async || shelf.is_filed()).await;
    (id, before)
}

/// The answer by the link of the first person who was called, or of this recipient.
async fn answer(site: &Site, id: &str, call: usize, choice: &str) -> StatusCode {
    let shelf = shelf(site, id);
    let recipient = shelf.read().calls.get(call).map_or(0, |call| call.recipient);
    let token = site.app.gateway.answer_token(shelf.no, recipient).expect("a token");
    let page = site.plain(Method::GET, &format!("/a/{token}")).send().await.expect("an answer");
    assert_eq!(page.status(), StatusCode::OK);
    let form = [("choice", choice)];
    site.plain(Method::POST, &format!("/a/{token}")).form(&form).send().await.expect("an answer").status()
}

fn files(data: &Path) -> Vec<PathBuf> {
    let months = fs::read_dir(data.join("filed")).into_iter().flatten();
    let months = months.map(|month| month.expect("a month").path());
    months.flat_map(|month| fs::read_dir(month).expect("a folder").map(|file| file.expect("a file").path())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filed_alert_is_out_of_memory_and_shown_as_before_also_after_a_restart_and_from_a_backup() {
    let site = Site::at(new_home(), "none", SOON).await;
    let (met, duty) = (site.bureau(), site.role(Role::Duty));
    let (id, before) = told_and_filed(&site, &brief(1, &[LEIGU, QUSHAN]), &met, &duty).await;
    {
        let shelf = shelf(&site, &id);
        let book = shelf.read();
        assert!(book.slots.is_empty() && book.recipients.is_empty() && book.legs.is_empty() && book.calls.is_empty());
        assert!(book.counters.is_empty() && book.places.is_empty() && book.violations().is_empty());
    }
    assert_eq!(looks(&site, &id, &duty).await, before);
    let view = site.get(&format!("/v1/alerts/{id}"), &duty).await;
    assert_eq!((&view["progress"], &view["people"]), (&before[4]["alert"]["progress"], &before[4]["alert"]["people"]));
    assert!(view["people"]["acknowledged"] == 1 && view["progress"]["deliveries"].as_u64() > Some(10), "{view}");
    let limited = site.key("leigu", Role::Viewer, None, &[LEIGU]);
    assert!(site.get(&format!("/v1/alerts/{id}/deliveries"), &limited).await["items"][0].is_object());

    let site = site.restarted().await;
    assert!(shelf(&site, &id).is_filed());
    assert_eq!(looks(&site, &id, &duty).await, before);
    let place = tempfile::tempdir().expect("a directory");
    let (file, data) = (place.path().join("county.tar"), place.path().join("data"));
    site.app.gateway.backup(&file).await.expect("backed up");
    store::restore(&file, &data, Some(&site.home.path().join("data.seal-key"))).expect("restored");
    let report = store::verify(&data).expect("looked at");
    assert!(report.ok && report.filed.pieces == 1 && report.filed.bytes > report.filed.disk_bytes, "{report:?}");
    let restored = app::open_stopped(&data).expect("opened");
    let kept = restored.ledger().find(id.parse().expect("an id")).expect("kept");
    let details = restored.details(&kept).await.expect("filed");
    let mut report = serde_json::to_value(restored.report(&kept, &details, true)).expect("json");
    without(&mut report, &["as_of", "left_s"]);
    assert_eq!(report["calls"], before[4]["calls"]);
    assert_eq!(report["timeliness"], before[4]["timeliness"]);
    assert_eq!(report["coverage"]["people"], before[4]["coverage"]["people"]);
    assert!(lastmile::engine::filed::violations(&data, &kept).is_empty());
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_to_a_filed_alert_are_kept_as_strays_and_calls_of_it_are_refused() {
    let site = Site::at(new_home(), "none", SOON).await;
    let (met, duty) = (site.bureau(), site.role(Role::Duty));
    let (id, before) = told_and_filed(&site, &brief(1, &[LEIGU]), &met, &duty).await;
    let strays = site.app.gateway.ledger().strays();
    assert_eq!(answer(&site, &id, 0, "help").await, StatusCode::GONE);
    assert_eq!(site.app.gateway.ledger().strays(), strays + 1);
    let person = before[1]["items"][0]["recipient"]["id"].as_str().expect("a person").to_owned();
    let path = format!("/v1/alerts/{id}/calls/{person}");
    let called = site.call(Method::POST, &path, &duty).json(&json!({ "answered": true })).send().await.expect("an answer");
    assert_eq!(called.status(), StatusCode::CONFLICT);
    assert_eq!(problem(called).await["type"], "/problems/alert-filed");
    assert_eq!(looks(&site, &id, &duty).await, before);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_was_told_by_a_filed_alert_hears_how_it_changed_and_that_it_is_over() {
    let site = Site::at(new_home(), "none", SOON).await;
    let (met, duty) = (site.bureau(), site.role(Role::Duty));
    let first = brief(1, &[LEIGU, QUSHAN]);
    let (old, before) = told_and_filed(&site, &first, &met, &duty).await;
    let mut update = rainstorm(2, &[LEIGU]);
    update["msgType"] = "Update".into();
    update["references"] = json!([{ "sender": first["sender"], "identifier": first["identifier"], "sent": first["sent"] }]);
    let new = site.accepted(&update, &met).await;
    site.wait_until_told(&new, &duty).await;
    let told = |deliveries: &Value| {
        let rows = deliveries["items"].as_array().expect("rows").iter();
        let mut ids: Vec<String> = rows.map(|row| row["recipient"]["id"].as_str().expect("an id").to_owned()).collect();
        ids.sort();
        ids.dedup();
        ids
    };
    let hear = told(&site.get(&format!("/v1/alerts/{new}/deliveries?limit=1000"), &duty).await);
    let missing: Vec<String> = told(&before[0]).into_iter().filter(|id| !hear.contains(id)).collect();
    assert_eq!(missing, Vec::<String>::new(), "told by the first and not of its change");
    assert_eq!(site.get(&format!("/v1/alerts/{old}"), &duty).await["state"], "superseded");
    let report = site.get(&format!("/v1/alerts/{old}/report.json"), &duty).await;
    assert_eq!((&report["alert"]["state"], &report["coverage"]["people"]), (&json!("superseded"), &before[4]["coverage"]["people"]));
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_or_missing_file_is_told_and_takes_nothing_else_with_it() {
    let site = Site::at(new_home(), "none", SOON).await;
    let (met, duty) = (site.bureau(), site.role(Role::Duty));
    let alert = brief(1, &[LEIGU]);
    let (id, before) = told_and_filed(&site, &alert, &met, &duty).await;
    // Nothing stays read: the next look goes to the disk.
    let home = site.into_home().await;
    let data = home.path().join("data");
    let file = files(&data).pop().expect("a file");
    let whole = fs::read(&file).expect("read");
    let mut spoilt = whole.clone();
    spoilt[whole.len() / 2] ^= 1;
    fs::write(&file, &spoilt).expect("written");
    let report = store::verify(&data).expect("looked at");
    assert_eq!(report.faults.iter().map(|fault| fault.rule).collect::<Vec<_>>(), ["bad-filed-piece"]);

    let site = Site::at(home, "none", LONG).await;
    let path = format!("/v1/alerts/{id}/deliveries");
    let answer = site.call(Method::GET, &path, &duty).send().await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(problem(answer).await["type"], "/problems/filed-unreadable");
    assert_eq!(site.get(&format!("/v1/alerts/{id}"), &duty).await["people"], before[4]["alert"]["people"]);
    let mut cancel = rainstorm(3, &[LEIGU]);
    cancel["msgType"] = "Cancel".into();
    cancel["references"] = json!([{ "sender": alert["sender"], "identifier": alert["identifier"], "sent": alert["sent"] }]);
    assert_eq!(site.post(&cancel, &met).await.status(), StatusCode::SERVICE_UNAVAILABLE, "nobody could say whom to tell");
    let mut update = cancel.clone();
    (update["msgType"], update["identifier"]) = ("Update".into(), "51072641600000_00000000000004".into());
    let new = site.accepted(&update, &met).await;
    assert!(site.wait_until_told(&new, &duty).await["progress"]["deliveries"].as_u64() > Some(0), "who is in danger now hears it");

    fs::remove_file(&file).expect("removed");
    assert_eq!(site.status(Method::GET, &path, &duty).await, StatusCode::INTERNAL_SERVER_ERROR);
    fs::write(&file, &whole).expect("put back from a backup");
    assert_eq!(site.get(&format!("/v1/alerts/{id}/deliveries?limit=1000"), &duty).await["items"], before[0]["items"]);
    site.stop().await;
}

/// A gateway of short messages whose reports come when the test sends them.
async fn far_end() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let router = Router::new().route("/send", post(|| async { Json(json!({ "code": "OK" })) }));
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}/send")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_before_the_filing_counts_and_one_that_comes_later_is_a_stray() {
    let line = format!(
        r#"
[channel.line]
kind = "sms"
provider = "http"
url = "{}"
body = '{{"id":{{{{ id|tojson }}}},"to":{{{{ to|tojson }}}},"text":{{{{ text|tojson }}}}}}'
callback_token = "a token that nobody guesses"
[channel.line.receipt]
id = "/id"
status = "/status"
delivered = ["DELIVRD"]
"#,
        far_end().await
    );
    let site = Site::at(new_home(), "none", &format!("{SOON}{line}")).await;
    let (met, duty) = (site.bureau(), site.role(Role::Duty));
    let id = site.accepted(&brief(1, &[LEIGU]), &met).await;
    let shelf = shelf(&site, &id);
    site.until("all is sent", async || {
        let book = shelf.read();
        !book.slots.is_empty() && book.slots.iter().all(|slot| slot.accepted.is_set())
    })
    .await;
    let rows = site.get(&format!("/v1/alerts/{id}/deliveries"), &duty).await;
    let report = async |row: usize| {
        let body = json!([{ "id": rows["items"][row]["id"], "status": "DELIVRD" }]);
        let path = "/v1/callbacks/sms/line/status?k=a%20token%20that%20nobody%20guesses";
        let answer = site.plain(Method::POST, path).json(&body).send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::OK);
    };
    report(0).await;
    site.until("it is filed", async || shelf.is_filed()).await;
    let people = site.get(&format!("/v1/alerts/{id}"), &duty).await["people"].clone();
    assert_eq!(people["reached"], 1);
    let strays = site.app.gateway.ledger().strays();
    report(1).await;
    report(1).await;
    assert_eq!(site.app.gateway.ledger().strays(), strays + 2);
    assert_eq!(site.get(&format!("/v1/alerts/{id}"), &duty).await["people"], people);
    site.stop().await;
}
