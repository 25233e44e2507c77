//! A warning of the fixtures through a real mosquitto into the built program, as WIS2 announces it: within the message, by a link, and after a kill.

use std::{fs, path::PathBuf, time::Duration};

use axum::{Router, routing::get};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use lastmile::time::{Clock as _, SystemClock};
use serde_json::{Value, json};
use sha2::Digest as _;
use tempfile::TempDir;

use crate::{
    county::{County, FIXTURES, with},
    mosquitto::Mosquitto,
    program::{
        Gateway, new_key,
        process::{free_port, until},
        run, site,
    },
};

const DEADLINE: Duration = Duration::from_secs(60);
const TOPIC: &str = "cache/a/wis2/cn-cma/data/core/weather/advisories-warnings/rainstorm";

/// The fixture's alert, sent now under a number of its own.
fn warning(number: u32) -> String {
    let now = SystemClock.now().whole_seconds();
    let (sent, expires) = (now.to_seconds_string(), now.plus(Duration::from_secs(3_600)).to_seconds_string());
    let identifier = format!("{}_{number:014}", site::SENDER);
    let text = fs::read_to_string(format!("{FIXTURES}/alerts/rainstorm-red.cap.xml")).unwrap();
    let values = [("identifier", identifier.as_str()), ("sent", &sent), ("effective", &sent), ("onset", &sent), ("expires", &expires)];
    values.into_iter().fold(text, |text, (element, value)| with(&text, element, value))
}

fn announced(data_id: &str, document: &str, href: &str, within: bool) -> String {
    let mut message = json!({
        "id": "31e9d66a-cd83-4174-9429-b932f1abe1be", "conformsTo": ["http://wis.wmo.int/spec/wnm/1/conf/core"],
        "type": "Feature", "geometry": null,
        "properties": {
            "pubtime": "2026-07-23T02:16:00Z", "datetime": "2026-07-23T02:15:00Z", "data_id": data_id,
            "integrity": { "method": "sha512", "value": STANDARD.encode(sha2::Sha512::digest(document)) },
        },
        "links": [{ "rel": "canonical", "href": href, "type": "application/cap+xml", "length": document.len() }],
    });
    if within {
        message["properties"]["content"] = json!({ "encoding": "utf-8", "value": document, "size": document.len() });
    }
    message.to_string()
}

fn configure(dir: &TempDir, port: u16, broker: u16, host: &str) -> PathBuf {
    let data = dir.path().join("data");
    let inlet = format!(
        r#"
[channel.line]
kind = "sms"
provider = "file"
path = "out.jsonl"

[inlet.wmo]
kind = "wis2"
source = "met"
broker = "mqtt://127.0.0.1:{broker}"
client_id = "beichuan"
topics = ["cache/a/wis2/+/data/core/weather/advisories-warnings/#"]
allow_hosts = ["{host}"]
"#
    );
    let file = site::configure(dir.path(), &data, port, "", &site::everyone_by("\"sms\""), &inlet);
    let files = County::new().write(dir.path());
    let words = ["registry", "import"].into_iter().chain(files.iter().map(String::as_str));
    run(&words.chain(["--data", data.to_str().unwrap()]).collect::<Vec<_>>(), 0);
    file
}

async fn known(gateway: &Gateway, key: &str) -> Vec<String> {
    let list = gateway.get(key, "/v1/alerts").await;
    list["items"].as_array().into_iter().flatten().filter_map(|item| item["identifier"].as_str().map(str::to_owned)).collect()
}

#[tokio::test]
async fn a_warning_of_wis2_comes_in_within_its_message_by_its_link_and_after_a_kill() {
    let (one, two, three) = (warning(1), warning(2), warning(3));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let given = two.clone();
    let cache = Router::new().route("/two.xml", get(async move || given.clone()));
    tokio::spawn(async move { axum::serve(listener, cache).await });

    let (dir, port, mosquitto) = (TempDir::new().unwrap(), free_port(), Mosquitto::start().await);
    let config = configure(&dir, port, mosquitto.port, &host);
    let viewer = new_key(&config, "viewer", "viewer", None);
    let mut gateway = Gateway::start(&config, port).await;
    let subscribed = "lastmile_inlet_up{inlet=\"wmo\"} 1";
    until("the inlet is subscribed", DEADLINE, async || gateway.text("", "/metrics").await.1.contains(subscribed)).await;

    mosquitto.publish(TOPIC, &announced("one", &one, "https://elsewhere.example/one.xml", true), false).await;
    mosquitto.publish(TOPIC, &announced("two", &two, &format!("http://{host}/two.xml"), false), false).await;
    until("both are known", DEADLINE, async || known(&gateway, &viewer).await.len() == 2).await;

    gateway.kill().await;
    mosquitto.publish(TOPIC, &announced("three", &three, "https://elsewhere.example/three.xml", true), false).await;
    gateway.start_again().await;
    until("the third is known", DEADLINE, async || known(&gateway, &viewer).await.len() == 3).await;
    let list: Value = gateway.get(&viewer, "/v1/alerts").await;
    let posted = list["items"].as_array().unwrap().iter().all(|item| item["posted_by"] == "inlet:wmo" && item["source"] == "met");
    assert!(posted, "{list}");
    assert_eq!(gateway.stop(DEADLINE).await, Some(0));
}
