//! One red rainstorm through all its life by every way in: issued for two townships, lowered and narrowed to one, ended.
//! What each person got, to the word, is the same whichever way it came.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, extract::State, routing::get};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use lastmile::{
    access::Role,
    alert::{cap, json as alert_json},
    channel::speaker::broker::{Broker, BrokerConfig},
    time::{Clock as _, SystemClock, Timestamp},
};
use reqwest::{Method, StatusCode};
use rumqttc::{AsyncClient, MqttOptions, PublishOptions};
use serde_json::{Value, json};

use crate::http_kit::{Holder, LEIGU, QUSHAN, Site, new_home, rainstorm};

/// Nobody has to answer, so that an alert is complete once everybody was told.
const POLICY: &str = "[[rule]]\nevents = [\"*\"]\nroles = [\"household\", \"village_leader\"]\nchannels = [\"sms\"]\n";
const BOX: &str = "[channel.box]\nkind = \"sms\"\nprovider = \"file\"\npath = \"messages.jsonl\"\n";
const TOPIC: &str = "cache/a/wis2/cn-cma/data/core/weather/advisories-warnings/rain";

/// Alert, Update and Cancel of one event, each with an identifier of its time as the 12379 platform gives them.
fn life() -> [Value; 3] {
    let now = SystemClock.now().whole_seconds();
    let at = |seconds_ago: u64| now.minus(Duration::from_secs(seconds_ago));
    let named = |at: Timestamp| format!("51072641600000_{}", at.format("%Y%m%d%H%M%S"));
    let step = |seconds_ago: u64, codes: &[&str], name: &str| {
        let mut alert = rainstorm(0, codes);
        let time: Value = at(seconds_ago).to_seconds_string().into();
        alert["identifier"] = named(at(seconds_ago)).into();
        (alert["sent"], alert["effective"], alert["areas"][0]["name"]) = (time.clone(), time, name.into());
        alert
    };
    let issued = step(30, &[LEIGU, QUSHAN], "擂鼓镇、曲山镇");
    let reference = json!([{ "sender": issued["sender"], "identifier": issued["identifier"], "sent": issued["sent"] }]);
    let mut lowered = step(20, &[LEIGU], "擂鼓镇");
    (lowered["msgType"], lowered["references"], lowered["level"]) = ("Update".into(), reference.clone(), "orange".into());
    lowered["headline"] = "北川羌族自治县气象台变更发布暴雨橙色预警".into();
    let mut ended = step(10, &[LEIGU], "擂鼓镇");
    (ended["msgType"], ended["references"], ended["level"]) = ("Cancel".into(), reference, "orange".into());
    ended["headline"] = "北川羌族自治县气象台解除暴雨橙色预警".into();
    [issued, lowered, ended]
}

fn as_cap(alert: &Value) -> String {
    cap::write(&alert_json::from_value(alert).expect("an alert"))
}

/// As the national platform writes it: its own dates, colours, bare reference and long codes.
fn as_12379(alert: &Value) -> String {
    let text = |name: &str| alert[name].as_str().unwrap_or_default().to_owned();
    let time = |name: &str| text(name).replacen('T', " ", 1);
    let colour = if text("level") == "red" { "Red" } else { "Orange" };
    let codes: Vec<String> =
        alert["areas"][0]["codes"].as_array().expect("codes").iter().map(|code| format!("{}000", code.as_str().expect("a code"))).collect();
    let reference = alert["references"][0]["identifier"].as_str().unwrap_or_default();
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<alert xmlns="http://com.icss.amp">
<identifier>{}</identifier><sender>{}</sender><senderCode>{}</senderCode><sendTime>{}</sendTime><status>Actual</status>
<msgType>{}</msgType><scope>Public</scope><code><method><methodName>SMS</methodName><message></message></method></code>
<references>{reference}</references>
<info><language>zh-CN</language><eventType>11B03</eventType><urgency>Immediate</urgency><severity>{colour}</severity>
<certainty>Likely</certainty><effective>{}</effective><expires>{}</expires><senderName>张三</senderName><headline>{}</headline>
<description>{}</description><instruction>{}</instruction>
<area><areaDesc>{}</areaDesc><geocode>{}</geocode></area></info></alert>"#,
        text("identifier"),
        text("senderName"),
        text("sender"),
        time("sent"),
        text("msgType"),
        time("effective"),
        time("expires"),
        text("headline"),
        text("description"),
        text("instruction"),
        alert["areas"][0]["name"].as_str().unwrap_or_default(),
        codes.join(",")
    )
}

/// One way in, and what it takes to bring a document by it.
enum Way {
    Http { kind: &'static str, write: fn(&Value) -> String },
    Folder { folder: PathBuf },
    Feed { page: Arc<Mutex<Vec<String>>> },
    Announced { broker: Broker },
}

impl Way {
    async fn bring(&self, alert: &Value, site: &Site, met: &Holder) {
        match self {
            Self::Http { kind, write } => {
                let posted = site.call(Method::POST, "/v1/alerts", met).header("content-type", *kind).body(write(alert));
                let answer = posted.send().await.expect("an answer");
                assert_eq!(answer.status(), StatusCode::ACCEPTED, "{}", answer.text().await.unwrap_or_default());
            }
            Self::Folder { folder } => {
                let name = format!("{}_11B03_RED_ALERT.XML", alert["identifier"].as_str().expect("a name"));
                fs::write(folder.join(name), as_12379(alert)).expect("dropped");
            }
            Self::Feed { page } => page.lock().expect("no panic").push(as_cap(alert)),
            Self::Announced { broker } => announce(broker.address(), &as_cap(alert)).await,
        }
    }
}

async fn announce(broker: SocketAddr, document: &str) {
    let payload = json!({ "data": STANDARD.encode(document), "filename": "Actual.xml" });
    let options = MqttOptions::new("publisher", (broker.ip().to_string(), broker.port()));
    let (client, mut events) = AsyncClient::builder(options).capacity(4).try_build().expect("a client");
    let driving = tokio::spawn(async move { while events.poll().await.is_ok() {} });
    let sent = client.publish_tracked(TOPIC.to_owned(), payload.to_string(), PublishOptions::at_least_once()).await.expect("queued");
    sent.wait_async().await.expect("acknowledged");
    driving.abort();
}

/// An Atom feed of whatever has been put on the page.
async fn feed(page: Arc<Mutex<Vec<String>>>) -> SocketAddr {
    let atom = |State(page): State<Arc<Mutex<Vec<String>>>>| async move {
        let documents = page.lock().expect("no panic").clone();
        let entry = |(number, document): (usize, &String)| {
            let bare = document.split_once("?>").map_or(document.as_str(), |(_, rest)| rest);
            format!(
                "<entry><id>urn:{number}</id><title>t</title><updated>2026-07-23T02:15:00Z</updated><content type=\"text/xml\">{bare}</content></entry>"
            )
        };
        let entries: String = documents.iter().enumerate().map(entry).collect();
        format!(
            "<feed xmlns=\"http://www.w3.org/2005/Atom\"><id>urn:feed</id><title>t</title><updated>2026-07-23T02:15:00Z</updated>{entries}</feed>"
        )
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let router = Router::new().route("/feed.atom", get(atom)).with_state(page);
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// What each number got, in order.
type Got = BTreeMap<String, Vec<String>>;

fn got(home: &Path) -> Got {
    let text = fs::read_to_string(home.join("messages.jsonl")).unwrap_or_default();
    let mut got = Got::new();
    for line in text.lines() {
        let message: Value = serde_json::from_str(line).expect("a line of JSON");
        let word = |name: &str| message[name].as_str().expect("a text").to_owned();
        got.entry(word("to")).or_default().push(word("text"));
    }
    got
}

/// Brings the whole life by one way; what people got after each step.
async fn live(way: &Way, home: tempfile::TempDir, tables: &str) -> [Got; 3] {
    let folder = home.path().to_owned();
    let site = Site::configured(home, "none", "", &format!("{BOX}{tables}"), &[("policy.toml", POLICY)]).await;
    let (met, duty) = (site.bureau(), site.role(Role::Duty));
    let mut after = Vec::new();
    for alert in life() {
        way.bring(&alert, &site, &met).await;
        let name = alert["identifier"].clone();
        let is_done = async || {
            let list = site.get("/v1/alerts", &duty).await;
            let item = list["items"].as_array().expect("items").iter().find(|item| item["identifier"] == name).cloned();
            item.is_some_and(|item| item["state"] == "completed")
        };
        site.until(&format!("{name} is dealt with"), is_done).await;
        after.push(got(&folder));
    }
    site.stop().await;
    after.try_into().expect("three steps")
}

/// What holds whichever way it came.
fn judge([issued, lowered, ended]: &[Got; 3], way: &str) {
    assert!(issued.len() > 10, "{way}: {} people", issued.len());
    assert!(issued.values().all(|texts| texts.len() == 1 && texts[0].contains("红色") && texts[0].contains("转移")), "{way}: {issued:?}");
    let still: BTreeSet<&String> =
        lowered.iter().filter(|(_, texts)| texts[1].contains("橙色") && !texts[1].contains("解除")).map(|(to, _)| to).collect();
    assert_eq!(lowered.len(), issued.len(), "{way}: nobody new is inside");
    assert!(!still.is_empty() && still.len() < issued.len(), "{way}: {} of {}", still.len(), issued.len());
    for (to, texts) in lowered {
        assert_eq!(texts.len(), 2, "{way}: {to} {texts:?}");
        assert!(still.contains(to) || texts[1].contains("解除"), "{way}: who is no longer inside hears so: {texts:?}");
    }
    for (to, texts) in ended {
        let expected = if still.contains(to) { 3 } else { 2 };
        assert_eq!(texts.len(), expected, "{way}: {to} {texts:?}");
        assert!(texts[texts.len() - 1].contains("解除"), "{way}: {texts:?}");
    }
}

/// Times differ from run to run; words and people do not.
fn without_digits(got: &Got) -> Got {
    let bare = |text: &String| text.chars().map(|letter| if letter.is_ascii_digit() { '0' } else { letter }).collect();
    got.iter().map(|(to, texts)| (to.clone(), texts.iter().map(bare).collect())).collect()
}

async fn by(way: &str) -> [Got; 3] {
    let home = new_home();
    let (tables, way) = match way {
        "json" => (String::new(), Way::Http { kind: "application/json", write: Value::to_string }),
        "cap" => (String::new(), Way::Http { kind: "application/cap+xml", write: as_cap }),
        "12379" => (String::new(), Way::Http { kind: "text/xml", write: as_12379 }),
        "folder" => {
            let folder = home.path().join("drop");
            fs::create_dir(&folder).expect("made");
            let table = "[inlet.life-drop]\nkind = \"folder\"\nsource = \"met\"\npath = \"drop\"\nevery = \"20ms\"\n";
            (table.to_owned(), Way::Folder { folder })
        }
        "feed" => {
            let page = Arc::new(Mutex::new(Vec::new()));
            let address = feed(Arc::clone(&page)).await;
            let table =
                format!("[inlet.life-feed]\nkind = \"feed\"\nsource = \"met\"\nurl = \"http://{address}/feed.atom\"\nevery = \"100ms\"\n");
            (table, Way::Feed { page })
        }
        "wis2" => {
            let broker = Broker::start(BrokerConfig::on(SocketAddr::from(([127, 0, 0, 1], 0)))).await.expect("a broker");
            let table = format!(
                "[inlet.life-wis2]\nkind = \"wis2\"\nsource = \"met\"\nbroker = \"mqtt://{}\"\nclient_id = \"life\"\ntopics = [\"{TOPIC}\"]\n",
                broker.address()
            );
            (table, Way::Announced { broker })
        }
        other => panic!("{other} is no way"),
    };
    let after = live(&way, home, &tables).await;
    if let Way::Announced { broker } = way {
        broker.stop().await;
    }
    after
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warning_lives_and_ends_the_same_by_every_way_in() {
    crate::tls_provider();
    let ways = ["json", "cap", "12379", "folder", "feed", "wis2"];
    let all = futures::future::join_all(ways.map(by)).await;
    for (way, after) in ways.iter().zip(&all) {
        judge(after, way);
        for (mine, firsts) in after.iter().zip(&all[0]) {
            assert_eq!(without_digits(mine), without_digits(firsts), "{way}");
        }
    }
}
