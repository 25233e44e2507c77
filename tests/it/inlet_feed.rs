//! A feed as a way in: a real small server on loopback that a running gateway asks.

use std::{fs, path::Path, time::Duration};

use axum::http::{StatusCode, header};
use lastmile::{
    access::Role,
    telemetry::metrics,
    time::{Clock as _, SystemClock, Timestamp},
};
use serde_json::{Value, json};

use crate::{
    feed_kit::{Page, Server, atom, cap, counted, entry, inside, link, table},
    http_kit::{Holder, Site, new_home},
};

async fn alerts(site: &Site, duty: &Holder) -> Vec<String> {
    let list = site.get("/v1/alerts", duty).await;
    let name = |alert: &Value| alert["identifier"].as_str().expect("an identifier").to_owned();
    let mut names: Vec<String> = list["items"].as_array().expect("items").iter().map(name).collect();
    names.sort();
    names
}

async fn known(site: &Site, duty: &Holder, number: usize) {
    site.until(&format!("{number} alerts"), async || alerts(site, duty).await.len() >= number).await;
}

#[tokio::test]
async fn what_has_not_changed_is_not_sent_again_and_what_has_is_read_again() {
    let server = Server::start().await;
    server.tagged("/alert.xml", "\"one\"", cap(1, 3_600));
    let secrets = "format = \"cap\"\nheaders = { X-Api-Key = \"k3y\" }";
    let site = Site::at(new_home(), "none", &table("cond", &server.url("/alert.xml"), secrets)).await;
    let duty = site.role(Role::Duty);
    known(&site, &duty, 1).await;
    server.rounds(&site, "/alert.xml", 2).await;
    let asked = server.asked("/alert.xml");
    assert_eq!(asked[0].answered, StatusCode::OK);
    assert!(asked[1..].iter().all(|asked| asked.answered == StatusCode::NOT_MODIFIED), "asked again without If-None-Match");
    assert!(asked.iter().all(|asked| asked.headers["x-api-key"] == "k3y"));
    server.tagged("/alert.xml", "\"two\"", cap(2, 3_600));
    known(&site, &duty, 2).await;
    assert_eq!(counted("cond", "accepted"), 2);
    let home = site.into_home().await;
    let site = Site::at(home, "none", &table("cond", &server.url("/alert.xml"), secrets)).await;
    server.rounds(&site, "/alert.xml", 2).await;
    assert_eq!((counted("cond", "accepted"), counted("cond", "repeat")), (2, 0), "a restart remembers");
    site.stop().await;
}

#[tokio::test]
async fn a_feed_that_fails_is_left_alone_as_long_as_it_asks_and_people_are_told() {
    let server = Server::start().await;
    let failing = Page {
        status: Some(StatusCode::SERVICE_UNAVAILABLE),
        headers: vec![(header::RETRY_AFTER, "1".to_owned())],
        body: b"<html>".to_vec(),
    };
    server.put("/feed", failing);
    let site = Site::at(new_home(), "none", &table("failing", &server.url("/feed"), "misses = 5")).await;
    let duty = site.role(Role::Duty);
    server.rounds(&site, "/feed", 2).await;
    let at: Vec<_> = server.asked("/feed").iter().map(|asked| asked.at).collect();
    assert!(at[1] - at[0] >= Duration::from_millis(950), "came again after {:?}", at[1] - at[0]);
    site.until("the loss is told", async || metrics::render().contains("lastmile_inlet_up{inlet=\"failing\"} 0")).await;
    server.text("/feed", cap(1, 3_600));
    known(&site, &duty, 1).await;
    site.until("it is back", async || metrics::render().contains("lastmile_inlet_up{inlet=\"failing\"} 1")).await;
    site.stop().await;
}

#[tokio::test]
async fn a_feed_that_moved_to_another_host_is_not_followed_and_one_within_its_host_is() {
    let (server, other) = (Server::start().await, Server::start().await);
    let moved = |to: String| Page { status: Some(StatusCode::FOUND), headers: vec![(header::LOCATION, to)], body: Vec::new() };
    server.put("/away", moved(other.url("/alert.xml")));
    server.put("/near", moved("/alert.xml".to_owned()));
    for server in [&server, &other] {
        server.text("/alert.xml", cap(1, 3_600));
    }
    let tables = table("away", &server.url("/away"), "") + &table("near", &server.url("/near"), "");
    let site = Site::at(new_home(), "none", &tables).await;
    let duty = site.role(Role::Duty);
    known(&site, &duty, 1).await;
    server.rounds(&site, "/away", 1).await;
    assert!(other.asked("/alert.xml").is_empty(), "the other host was asked");
    assert_eq!((counted("near", "accepted"), counted("away", "accepted")), (1, 0));
    site.stop().await;
}

#[tokio::test]
async fn a_body_without_end_is_given_up_and_an_answer_that_is_no_feed_is_told() {
    let server = Server::start().await;
    server.text("/huge", vec![b' '; (16 << 20) + 1]);
    server.text("/page", "<html><body>Please log in</body></html>");
    let tables = table("huge", &server.url("/huge"), "misses = 1") + &table("page", &server.url("/page"), "format = \"atom\"\nmisses = 1");
    let site = Site::at(new_home(), "none", &tables).await;
    for name in ["huge", "page"] {
        let line = format!("lastmile_inlet_up{{inlet=\"{name}\"}} 0");
        server.rounds(&site, &format!("/{name}"), 2).await;
        site.until("the loss is told", async || metrics::render().contains(&line)).await;
    }
    site.stop().await;
}

const THEN: &str = "2026-07-23T10:15:00+08:00";
const LATER: &str = "2026-07-23T10:16:00+08:00";

#[tokio::test]
async fn each_entry_is_read_once_and_again_when_it_has_changed() {
    let server = Server::start().await;
    server.text("/1.xml", cap(1, 3_600));
    server.text("/old.xml", cap(9, -600));
    let old = entry("urn:old", THEN, &link("/old.xml"));
    let bad = entry("urn:bad", THEN, &inside(&cap(8, 3_600).replace("<severity>Extreme", "<severity>Pink")));
    let one = |updated: &str| entry("urn:1", updated, &link("1.xml"));
    let two = entry("urn:2", THEN, &inside(&cap(2, 3_600)));
    server.text("/feed", atom(&[two.clone(), one(THEN), bad.clone(), old.clone()]));
    let site = Site::at(new_home(), "none", &table("once", &server.url("/feed"), "")).await;
    let duty = site.role(Role::Duty);
    known(&site, &duty, 2).await;
    server.rounds(&site, "/feed", 3).await;
    let counts = || ["accepted", "repeat", "refused", "expired"].map(|outcome| counted("once", outcome));
    assert_eq!(counts(), [2, 0, 1, 1]);
    assert_eq!(server.asked("/1.xml").len(), 1, "fetched once");
    server.text("/1.xml", cap(3, 3_600));
    server.text("/feed", atom(&[one(LATER), two, bad, old]));
    known(&site, &duty, 3).await;
    server.rounds(&site, "/feed", 2).await;
    assert_eq!((counts(), server.asked("/1.xml").len()), ([3, 0, 1, 1], 2));
    site.stop().await;
}

#[tokio::test]
async fn a_link_to_a_host_that_is_not_named_is_refused_and_a_link_that_fails_is_tried_again() {
    let (server, other, named) = (Server::start().await, Server::start().await, Server::start().await);
    for (server, number) in [(&other, 1), (&named, 2)] {
        server.text("/a.xml", cap(number, 3_600));
    }
    server.put("/late.xml", Page { status: Some(StatusCode::BAD_GATEWAY), ..Page::default() });
    let entries = [
        entry("urn:forbidden", THEN, &link(&other.url("/a.xml"))),
        entry("urn:named", THEN, &link(&named.url("/a.xml"))),
        entry("urn:late", THEN, &link("/late.xml")),
    ];
    server.tagged("/feed", "\"same\"", atom(&entries));
    let more = format!("allow_hosts = [\"{}\"]\nheaders = {{ X-Api-Key = \"k3y\" }}", named.address);
    let site = Site::at(new_home(), "none", &table("links", &server.url("/feed"), &more)).await;
    let duty = site.role(Role::Duty);
    known(&site, &duty, 1).await;
    assert!(named.asked("/a.xml")[0].headers.get("x-api-key").is_none(), "a key went to another host");
    server.rounds(&site, "/feed", 2).await;
    server.text("/late.xml", cap(3, 3_600));
    known(&site, &duty, 2).await;
    assert_eq!(alerts(&site, &duty).await, ["51072641600000_00000000000002", "51072641600000_00000000000003"]);
    assert!(other.asked("/a.xml").is_empty(), "a host that is not named was asked");
    assert_eq!(counted("links", "refused"), 1);
    assert!(server.asked("/late.xml").iter().all(|asked| asked.headers["x-api-key"] == "k3y"));
    site.stop().await;
}

#[tokio::test]
async fn entries_wait_while_the_store_takes_nothing() {
    let server = Server::start().await;
    server.text("/feed", atom(&[]));
    let tables = table("store", &server.url("/feed"), "");
    let site = Site::at(new_home(), "none", &tables).await;
    server.rounds(&site, "/feed", 1).await;
    site.app.gateway.stop(Duration::from_secs(5)).await.expect("the store is closed under the inlet");
    server.tagged("/feed", "\"one\"", atom(&[entry("urn:1", THEN, &inside(&cap(1, 3_600)))]));
    site.until("it was tried twice", async || counted("store", "put-off") >= 2).await;
    assert_eq!(counted("store", "accepted"), 0);
}

/// The answer of a public interface, as it is given for one place.
fn qweather(level: &str) -> String {
    let now = SystemClock.now().whole_seconds();
    let minute = |at: Timestamp| at.format("%Y-%m-%dT%H:%M%:z");
    let warning = |id: u32, level: &str| {
        json!({
            "id": format!("{id:032}"), "sender": "北川羌族自治县气象台", "pubTime": minute(now), "title": "北川县气象台发布暴雨红色预警",
            "startTime": minute(now), "endTime": minute(now.plus(Duration::from_secs(7_200))), "status": "active", "level": "",
            "severity": "Extreme", "severityColor": level, "type": "1003", "typeName": "暴雨", "urgency": "", "certainty": "",
            "text": "预计未来3小时累积雨量将达100毫米以上。", "related": ""
        })
    };
    json!({ "code": "200", "warning": [warning(1, level), warning(2, "Mauve")] }).to_string()
}

#[tokio::test]
async fn the_json_of_a_public_interface_is_read_by_its_mapping() {
    let server = Server::start().await;
    server.text("/now", qweather("Red"));
    let more = "format = \"json\"\nmapping = \"qweather\"\nareas = [\"510726\"]\nsender = \"51072641600000\"";
    let own = table("own", &server.url("/now"), "mapping = \"own.toml\"\nareas = [\"510726\"]\nsender = \"51072641600000\"");
    let site = Site::at(new_home(), "none", &(table("json", &server.url("/now"), more) + &own)).await;
    let duty = site.role(Role::Duty);
    known(&site, &duty, 1).await;
    server.rounds(&site, "/now", 2).await;
    assert_eq!(["accepted", "repeat", "refused"].map(|outcome| counted("json", outcome)), [1, 0, 1], "one level is none of ours");
    assert!(metrics::render().contains("lastmile_inlet_up{inlet=\"own\"} 0"), "its mapping is not there");
    let text = include_str!("../../config/mappings/qweather.toml");
    fs::write(site.home.path().join("own.toml"), text).expect("a mapping");
    site.until("the mapping is found while the gateway runs", async || counted("own", "repeat") == 1).await;
    server.text("/now", json!({ "code": "401" }).to_string());
    server.rounds(&site, "/now", 2).await;
    server.text("/now", qweather("Orange").replace("00000000001\"", "00000000003\""));
    known(&site, &duty, 2).await;
    site.stop().await;
}

#[tokio::test]
async fn what_could_not_be_written_down_is_a_repeat_after_a_restart_and_what_was_refused_is_tried_again() {
    let server = Server::start().await;
    let other = Server::start().await;
    other.text("/2.xml", cap(2, 3_600));
    server.text("/feed", atom(&[entry("urn:1", THEN, &inside(&cap(1, 3_600))), entry("urn:2", THEN, &link(&other.url("/2.xml")))]));
    let home = new_home();
    let in_the_way = home.path().join("data/documents/inlet.memory.json.draft");
    fs::create_dir_all(&in_the_way).expect("made");
    let site = Site::at(home, "none", &table("memory", &server.url("/feed"), "")).await;
    let duty = site.role(Role::Duty);
    known(&site, &duty, 1).await;
    server.rounds(&site, "/feed", 3).await;
    assert_eq!(["accepted", "repeat", "refused"].map(|outcome| counted("memory", outcome)), [1, 0, 1]);
    let home = site.into_home().await;
    fs::remove_dir(in_the_way).expect("removed");
    // The configuration now names the host that the refused entry leads to.
    let more = format!("allow_hosts = [\"{}\"]", other.address);
    let site = Site::at(home, "none", &table("memory", &server.url("/feed"), &more)).await;
    known(&site, &duty, 2).await;
    assert_eq!(["accepted", "repeat", "refused"].map(|outcome| counted("memory", outcome)), [2, 1, 1]);
    site.stop().await;
}

/// Feeds of other countries: every entry is answered for (none is meant for a county of ours), and none is asked for twice.
#[tokio::test]
async fn feeds_of_the_corpus_are_read_to_their_end() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus/cap/real");
    let mut feeds: Vec<_> = fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    feeds.retain(|path| path.extension().is_some_and(|ending| ending == "atom"));
    if feeds.is_empty() {
        eprintln!("NOT RUN: the corpus of real alerts is not at {}", folder.display());
        return;
    }
    for path in feeds {
        let server = Server::start().await;
        let name = path.file_stem().expect("a name").to_string_lossy().replace('.', "-");
        server.text("/feed", fs::read(&path).expect("readable"));
        let site = Site::at(new_home(), "none", &table(&name, &server.url("/feed"), "misses = 1000")).await;
        server.rounds(&site, "/feed", 3).await;
        let up = format!("lastmile_inlet_up{{inlet=\"{name}\"}} 1");
        assert!(metrics::render().contains(&up), "{name} was not read");
        let (refused, expired) = (counted(&name, "refused"), counted(&name, "expired"));
        eprintln!("{name}: refused {refused}, expired {expired}");
        server.rounds(&site, "/feed", 2).await;
        assert_eq!((counted(&name, "refused"), counted(&name, "expired"), counted(&name, "accepted")), (refused, expired, 0), "{name}");
        site.stop().await;
    }
}
