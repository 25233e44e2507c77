//! Owns the tests of `kind = "wis2"`: a real broker (the built-in one), messages as weather services publish them, and a running gateway.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::{Router, extract::State, http::StatusCode, routing::get};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use lastmile::{
    access::Role,
    alert::{cap, json as alert_json},
    channel::speaker::broker::{Broker, BrokerConfig},
    telemetry,
};
use rumqttc::{AsyncClient, MqttOptions, PublishOptions};
use serde_json::{Value, json};
use sha2::Digest as _;

use crate::http_kit::{Holder, LEIGU, Site, new_home, rainstorm};

const TOPIC: &str = "cache/a/wis2/cn-cma/data/core/weather/advisories-warnings/rain";

async fn broker(at: SocketAddr) -> Broker {
    Broker::start(BrokerConfig::on(at)).await.expect("a broker")
}

fn anywhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn table(inlet: &str, broker: SocketAddr, host: &str) -> String {
    format!(
        "[inlet.{inlet}]\nkind = \"wis2\"\nsource = \"met\"\nbroker = \"mqtt://{broker}\"\nclient_id = \"{inlet}\"\n\
         topics = [\"cache/a/wis2/+/data/core/weather/advisories-warnings/#\", \"wis2box/cap/publication\"]\nallow_hosts = [\"{host}\"]\n"
    )
}

/// Publishes until the broker has acknowledged it and somebody was there to take it.
async fn publish(broker: SocketAddr, topic: &str, payload: &Value) {
    let mut options = MqttOptions::new("publisher", (broker.ip().to_string(), broker.port()));
    options.set_max_packet_size(Some(1 << 20));
    let (client, mut events) = AsyncClient::builder(options).capacity(4).try_build().expect("a client");
    let driving = tokio::spawn(async move { while events.poll().await.is_ok() {} });
    let sent = client.publish_tracked(topic.to_owned(), payload.to_string(), PublishOptions::at_least_once()).await.expect("queued");
    sent.wait_async().await.expect("acknowledged");
    driving.abort();
}

fn document(alert: &Value) -> String {
    cap::write(&alert_json::from_value(alert).expect("an alert"))
}

/// A notification message with the document inside or by a link, as WNM 1 has it.
fn message(data_id: &str, document: &str, inline: bool, href: &str) -> Value {
    let mut message = json!({
        "id": "31e9d66a-cd83-4174-9429-b932f1abe1be", "conformsTo": ["http://wis.wmo.int/spec/wnm/1/conf/core"], "type": "Feature",
        "geometry": null,
        "properties": {
            "pubtime": "2026-07-23T02:16:00Z", "datetime": "2026-07-23T02:15:00Z", "data_id": data_id,
            "integrity": { "method": "sha512", "value": STANDARD.encode(sha2::Sha512::digest(document)) },
        },
        "links": [{ "rel": "canonical", "href": href, "type": "application/cap+xml", "length": document.len() }],
    });
    if inline {
        message["properties"]["content"] = json!({ "encoding": "base64", "value": STANDARD.encode(document), "size": document.len() });
    }
    message
}

async fn alerts(site: &Site, who: &Holder) -> Vec<String> {
    let list = site.get("/v1/alerts", who).await;
    list["items"].as_array().expect("a list").iter().filter_map(|item| item["identifier"].as_str().map(str::to_owned)).collect()
}

async fn until_taken(site: &Site, who: &Holder, count: usize) -> Vec<String> {
    site.until("the alerts are taken", async || alerts(site, who).await.len() == count).await;
    alerts(site, who).await
}

/// Whether the page of metrics has this line; the recorder is shared, so names of inlets differ from test to test.
fn counted(inlet: &str, outcome: &str, times: u32) -> bool {
    let line = format!("lastmile_inlet_documents_total{{inlet=\"{inlet}\",outcome=\"{outcome}\"}} {times}");
    telemetry::metrics::render().lines().any(|found| found == line)
}

async fn until_subscribed(site: &Site, inlet: &str) {
    let line = format!("lastmile_inlet_up{{inlet=\"{inlet}\"}} 1");
    site.until("the inlet is subscribed", async || telemetry::metrics::render().lines().any(|found| found == line)).await;
}

/// A cache that gives a document, as soon as it may.
async fn cache(document: String) -> (String, Arc<AtomicBool>, Arc<AtomicU32>) {
    let (open, asked) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU32::new(0)));
    let state = (document, Arc::clone(&open), Arc::clone(&asked));
    let give = |State((document, open, asked)): State<(String, Arc<AtomicBool>, Arc<AtomicU32>)>| async move {
        asked.fetch_add(1, Ordering::SeqCst);
        if open.load(Ordering::SeqCst) { (StatusCode::OK, document) } else { (StatusCode::SERVICE_UNAVAILABLE, String::new()) }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let host = listener.local_addr().expect("an address").to_string();
    let router = Router::new().route("/one.xml", get(give)).with_state(state);
    tokio::spawn(async move { axum::serve(listener, router).await });
    (host, open, asked)
}

#[tokio::test]
async fn a_warning_comes_in_by_content_by_link_and_from_a_composer_each_once() {
    let broker = broker(anywhere()).await;
    let (one, two, three) = (document(&rainstorm(1, &[LEIGU])), document(&rainstorm(2, &[LEIGU])), document(&rainstorm(3, &[LEIGU])));
    let (host, _, asked) = cache(two.clone()).await;
    let site = Site::at(new_home(), "none", &table("wis-a", broker.address(), &host)).await;
    let viewer = site.role(Role::Viewer);
    until_subscribed(&site, "wis-a").await;
    let linked = message("two", &two, false, &format!("http://{host}/one.xml"));
    publish(broker.address(), TOPIC, &message("one", &one, true, "https://elsewhere.example/one.xml")).await;
    publish(broker.address(), TOPIC, &linked).await;
    let composed = json!({ "data": STANDARD.encode(&three), "filename": "Actual_20260723T101500_rain.xml" });
    publish(broker.address(), "wis2box/cap/publication", &composed).await;
    until_taken(&site, &viewer, 3).await;
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    publish(broker.address(), TOPIC, &linked).await;
    publish(broker.address(), TOPIC, &message("three", &three, true, "https://elsewhere.example/three.xml")).await;
    site.until("the second time is told from the first", async || counted("wis-a", "seen", 1) && counted("wis-a", "repeat", 1)).await;
    assert_eq!((alerts(&site, &viewer).await.len(), asked.load(Ordering::SeqCst)), (3, 1));
    site.stop().await;
    broker.stop().await;
}

#[tokio::test]
async fn what_is_no_alert_of_ours_is_counted_and_holds_nothing_up() {
    let broker = broker(anywhere()).await;
    let site = Site::at(new_home(), "none", &table("wis-b", broker.address(), "cache.example")).await;
    let viewer = site.role(Role::Viewer);
    until_subscribed(&site, "wis-b").await;
    let good = document(&rainstorm(1, &[LEIGU]));
    let mut deletion = message("gone", &good, false, "none");
    deletion["links"][0]["rel"] = "deletion".into();
    let mut changed = message("changed", &good, true, "https://cache.example/one.xml");
    changed["properties"]["content"]["value"] = STANDARD.encode("<alert/>").into();
    let foreign = document(&{
        let mut alert = rainstorm(2, &[LEIGU]);
        alert["sender"] = "99999941600000".into();
        alert
    });
    for bad in [json!({ "no": "message" }), deletion, changed, message("elsewhere", &good, false, "http://127.0.0.1:1/one.xml")] {
        publish(broker.address(), TOPIC, &bad).await;
    }
    publish(broker.address(), TOPIC, &message("foreign", &foreign, true, "https://cache.example/f.xml")).await;
    publish(broker.address(), TOPIC, &message("good", &good, true, "https://cache.example/one.xml")).await;
    until_taken(&site, &viewer, 1).await;
    assert!(counted("wis-b", "refused", 4) && counted("wis-b", "deletion", 1) && counted("wis-b", "accepted", 1));
    site.stop().await;
    broker.stop().await;
}

#[tokio::test]
async fn what_was_not_answered_for_comes_again_after_a_restart_and_what_was_published_meanwhile_too() {
    let broker = broker(anywhere()).await;
    let slow = document(&rainstorm(1, &[LEIGU]));
    let (host, open, asked) = cache(slow.clone()).await;
    open.store(false, Ordering::SeqCst);
    let tables = table("wis-c", broker.address(), &host);
    let site = Site::at(new_home(), "none", &tables).await;
    until_subscribed(&site, "wis-c").await;
    publish(broker.address(), TOPIC, &message("slow", &slow, false, &format!("http://{host}/one.xml"))).await;
    site.until("the document is asked for", async || asked.load(Ordering::SeqCst) > 0).await;
    let home = site.into_home().await;
    let meanwhile = document(&rainstorm(2, &[LEIGU]));
    publish(broker.address(), TOPIC, &message("meanwhile", &meanwhile, true, "https://elsewhere.example/m.xml")).await;
    open.store(true, Ordering::SeqCst);
    let site = Site::at(home, "none", &tables).await;
    let mut taken = until_taken(&site, &site.role(Role::Viewer), 2).await;
    taken.sort();
    assert!(taken[0].ends_with("01") && taken[1].ends_with("02"), "{taken:?}");
    site.stop().await;
    broker.stop().await;
}

#[tokio::test]
async fn a_broker_that_went_away_is_found_again() {
    let broker = broker(anywhere()).await;
    let address = broker.address();
    let site = Site::at(new_home(), "none", &table("wis-d", address, "cache.example")).await;
    until_subscribed(&site, "wis-d").await;
    broker.stop().await;
    let down = "lastmile_inlet_up{inlet=\"wis-d\"} 0";
    site.until("the loss is seen", async || telemetry::metrics::render().lines().any(|line| line == down)).await;
    let broker = self::broker(address).await;
    until_subscribed(&site, "wis-d").await;
    let document = document(&rainstorm(1, &[LEIGU]));
    let started = tokio::time::Instant::now();
    publish(address, TOPIC, &message("back", &document, true, "https://elsewhere.example/one.xml")).await;
    until_taken(&site, &site.role(Role::Viewer), 1).await;
    assert!(started.elapsed() < Duration::from_secs(20));
    site.stop().await;
    broker.stop().await;
}

#[tokio::test]
async fn what_the_store_cannot_take_stays_with_the_broker() {
    let broker = broker(anywhere()).await;
    let tables = table("wis-e", broker.address(), "cache.example");
    let site = Site::at(new_home(), "none", &tables).await;
    until_subscribed(&site, "wis-e").await;
    site.app.gateway.stop(Duration::from_secs(5)).await.expect("the store closes");
    let document = document(&rainstorm(1, &[LEIGU]));
    publish(broker.address(), TOPIC, &message("one", &document, true, "https://elsewhere.example/one.xml")).await;
    site.until("it is put off", async || counted("wis-e", "put-off", 1)).await;
    let site = Site::at(site.into_home().await, "none", &tables).await;
    until_taken(&site, &site.role(Role::Viewer), 1).await;
    site.stop().await;
    broker.stop().await;
}

#[tokio::test]
async fn a_change_waits_for_its_alert_and_a_dead_link_holds_nobody_up_for_long() {
    let broker = broker(anywhere()).await;
    let alert = rainstorm(1, &[LEIGU]);
    let (host, open, asked) = cache(document(&alert)).await;
    open.store(false, Ordering::SeqCst);
    let slow = rainstorm(3, &[LEIGU]);
    let (slow_host, slow_open, _) = cache(document(&slow)).await;
    slow_open.store(false, Ordering::SeqCst);
    let hosts = format!("{host}\", \"{slow_host}");
    let site = Site::at(new_home(), "none", &table("wis-f", broker.address(), &hosts)).await;
    let viewer = site.role(Role::Viewer);
    until_subscribed(&site, "wis-f").await;
    let update = update_of(&alert, 2);
    publish(broker.address(), TOPIC, &message("alert", &document(&alert), false, &format!("http://{host}/one.xml"))).await;
    publish(broker.address(), TOPIC, &message("update", &document(&update), true, "https://elsewhere.example/u.xml")).await;
    site.until("the cache is asked", async || asked.load(Ordering::SeqCst) > 0).await;
    open.store(true, Ordering::SeqCst);
    until_taken(&site, &viewer, 2).await;
    assert!(counted("wis-f", "accepted", 2));

    publish(broker.address(), TOPIC, &message("slow", &document(&slow), false, &format!("http://{slow_host}/one.xml"))).await;
    let published = tokio::time::Instant::now();
    let good = document(&rainstorm(4, &[LEIGU]));
    publish(broker.address(), TOPIC, &message("good", &good, true, "https://elsewhere.example/g.xml")).await;
    until_taken(&site, &viewer, 3).await;
    assert!(published.elapsed() < Duration::from_secs(15), "a dead link is asked for a minute");
    let late = document(&cancel_of(&slow, 5));
    publish(broker.address(), TOPIC, &message("late", &late, true, "https://elsewhere.example/l.xml")).await;
    slow_open.store(true, Ordering::SeqCst);
    until_taken(&site, &viewer, 5).await;
    assert!(counted("wis-f", "accepted", 4) && counted("wis-f", "kept", 1), "an all-clear that overtook its alert is kept for it");
    site.stop().await;
    broker.stop().await;
}

fn cancel_of(alert: &Value, number: u32) -> Value {
    let mut cancel = update_of(alert, number);
    cancel["msgType"] = "Cancel".into();
    cancel
}

fn update_of(alert: &Value, number: u32) -> Value {
    let mut update = rainstorm(number, &[LEIGU]);
    update["msgType"] = "Update".into();
    update["references"] = json!([{ "sender": alert["sender"], "identifier": alert["identifier"], "sent": alert["sent"] }]);
    update
}
