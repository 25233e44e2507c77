//! Owns the tests of `[relay.NAME]`: a real platform above that takes, fails, refuses, breaks off and keeps silent, also through restarts.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use lastmile::access::Role;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    http_kit::{LEIGU, QUSHAN, Site, new_home, rainstorm},
    relay_kit::{Got, Mood, Platform},
};

async fn relay(site: &Site, name: &str) -> Value {
    static KEYS: AtomicU32 = AtomicU32::new(0);
    let looker = site.key(&format!("looker-{}", KEYS.fetch_add(1, Ordering::Relaxed)), Role::Viewer, None, &[]);
    let list = site.get("/v1/relays", &looker).await;
    let found = list["items"].as_array().expect("a list").iter().find(|item| item["name"] == name).cloned();
    found.unwrap_or(Value::Null)
}

/// A body never changes under its key, so that a platform may answer a repeat from memory.
fn one_body_a_key(got: &[Got]) {
    let mut bodies: BTreeMap<&str, &str> = BTreeMap::new();
    for got in got.iter().filter(|got| got.document == "alert") {
        assert_eq!(*bodies.entry(&got.key).or_insert(&got.body), got.body);
    }
}

#[tokio::test]
async fn an_alert_goes_up_as_it_is_then_how_far_it_reached_and_what_became_of_it() {
    let platform = Platform::start(Mood::Takes).await;
    let secret = STANDARD.encode([7; 32]);
    let more = format!("format = \"json\"\nkey = \"city-key\"\nhmac_key = \"whsec_{secret}\"");
    let site = Site::at(new_home(), "none", &platform.table("whole", &more)).await;
    let bureau = site.bureau();
    let alert = rainstorm(1, &[LEIGU]);
    let mut drill = rainstorm(2, &[LEIGU]);
    drill["status"] = "Exercise".into();
    site.accepted(&drill, &bureau).await;
    let id = site.accepted(&alert, &bureau).await;
    site.until("coverage has come", async || platform.has("coverage", |body| body["coverage"]["people"]["reached"].as_u64() > Some(0)))
        .await;
    let cancel = site.role(Role::Duty);
    let answer = site.call(Method::POST, &format!("/v1/alerts/{id}/cancel"), &cancel).json(&json!({ "reason": "雨停" })).send().await;
    assert!(answer.expect("an answer").status().is_success());
    site.until("the end has come", async || {
        platform.has("state", |body| body["alert"] == *id && body["state"] == "cancelled" && body["reason"] == "雨停")
            && platform.has("coverage", |body| body["alert"] == *id && body["final"] == true)
    })
    .await;
    let got = platform.got();
    assert_eq!(platform.taken_alerts().len(), 2, "the alert and its cancel, not the drill");
    let first = &got[0];
    let body: Value = serde_json::from_str(&first.body).expect("json");
    assert_eq!((first.key.as_str(), &body["identifier"], &body["headline"]), (id.as_str(), &alert["identifier"], &alert["headline"]));
    assert_eq!(first.headers["authorization"], "Bearer city-key");
    let signed = format!("{id}.{}.{}", first.headers["webhook-timestamp"].to_str().expect("text"), first.body);
    let mac = Hmac::<sha2::Sha256>::new_from_slice(&[7; 32]).expect("a key").chain_update(signed).finalize().into_bytes();
    assert_eq!(first.headers["webhook-signature"], format!("v1,{}", STANDARD.encode(mac)));
    let view = relay(&site, "whole").await;
    assert_eq!((&view["waiting"], &view["relayed"], &view["refused"], &view["trouble"]), (&json!(0), &json!(2), &json!(0), &Value::Null));
    site.stop().await;
}

#[tokio::test]
async fn whatever_the_platform_does_alerts_arrive_in_order_and_again_only_under_their_key() {
    let platform = Platform::start(Mood::Says(500)).await;
    let site = Site::at(new_home(), "none", &platform.table("moody", "")).await;
    let bureau = site.bureau();
    let mut ids = Vec::new();
    // Few at a time: each further failure is waited out longer.
    for moods in [[Mood::Says(500), Mood::Half, Mood::Never], [Mood::Throttles, Mood::Says(409), Mood::Says(503)]] {
        let (had, before) = (ids.len(), platform.got().len());
        platform.set(moods[0]);
        for _ in 0..3 {
            ids.push(site.accepted(&rainstorm(u32::try_from(ids.len()).expect("few"), &[LEIGU]), &bureau).await);
        }
        for mood in moods {
            platform.set(mood);
            let before = platform.got().len();
            site.until("it has been tried", async || platform.got().len() > before).await;
            assert_eq!(relay(&site, "moody").await["waiting"], 3, "{mood:?}");
        }
        let tried = &platform.got()[before..];
        assert!(tried.iter().filter(|got| got.document == "alert").all(|got| got.key == ids[had]), "nothing overtakes the first");
        platform.set(Mood::Takes);
        site.until("all have come", async || platform.taken_alerts().len() == ids.len()).await;
    }
    assert_eq!(platform.taken_alerts(), ids);
    one_body_a_key(&platform.got());
    let got = platform.got();
    let throttled = got.iter().position(|got| got.mood == Mood::Throttles).expect("was throttled");
    assert!(got[throttled + 1].at - got[throttled].at >= Duration::from_secs(1), "a wish to wait is granted");
    let first = &platform.got()[0];
    assert!(
        first.body.starts_with("<?xml") && first.headers["content-type"].to_str().is_ok_and(|kind| kind.starts_with("application/cap+xml"))
    );
    site.until("nothing waits", async || relay(&site, "moody").await["waiting"] == 0).await;
    site.stop().await;
}

#[tokio::test]
async fn a_restart_loses_nothing_and_repeats_nothing_that_was_taken() {
    let platform = Platform::start(Mood::Takes).await;
    let tables = platform.table("again", "");
    let site = Site::at(new_home(), "none", &tables).await;
    let bureau = site.bureau();
    let mut ids = vec![site.accepted(&rainstorm(1, &[LEIGU]), &bureau).await];
    site.until("the first has come", async || platform.taken_alerts().len() == 1).await;
    platform.set(Mood::Never);
    for number in 2..=4 {
        ids.push(site.accepted(&rainstorm(number, &[QUSHAN]), &bureau).await);
    }
    site.until("the second is on its way", async || platform.got().iter().any(|got| got.key == ids[1])).await;
    let home = site.into_home().await;
    let site = Site::at(home, "none", &tables).await;
    site.until("three wait", async || relay(&site, "again").await["waiting"] == 3).await;
    platform.set(Mood::Takes);
    site.until("all have come", async || platform.taken_alerts().len() >= 4).await;
    let home = site.into_home().await;
    let site = Site::at(home, "none", &tables).await;
    ids.push(site.accepted(&rainstorm(5, &[LEIGU]), &site.key("met-2", Role::Bureau, Some("met"), &[])).await);
    site.until("the last has come", async || platform.taken_alerts().contains(&ids[4])).await;
    assert_eq!(platform.taken_alerts(), ids);
    one_body_a_key(&platform.got());
    assert_eq!(relay(&site, "again").await["relayed"], 5);
    site.stop().await;
}

#[tokio::test]
async fn a_held_alert_goes_up_when_it_is_released_and_a_rejected_one_never() {
    let platform = Platform::start(Mood::Takes).await;
    let site = Site::at(new_home(), "always", &platform.table("held", "")).await;
    let (bureau, approver) = (site.bureau(), site.role(Role::Approver));
    let rejected = site.accepted(&rainstorm(1, &[LEIGU]), &bureau).await;
    let first = site.accepted(&rainstorm(2, &[LEIGU]), &bureau).await;
    let second = site.accepted(&rainstorm(3, &[LEIGU]), &bureau).await;
    for (id, what) in [(&second, "approve"), (&rejected, "reject"), (&first, "approve")] {
        let decided =
            site.call(Method::POST, &format!("/v1/alerts/{id}/{what}"), &approver).json(&json!({ "reason": "误报" })).send().await;
        let decided = decided.expect("an answer");
        assert!(decided.status().is_success(), "{}", decided.text().await.unwrap_or_default());
    }
    site.until("both have come", async || platform.taken_alerts().len() == 2).await;
    assert_eq!(platform.taken_alerts(), [second, first], "in the order of their release");
    assert!(platform.got().iter().all(|got| !got.key.starts_with(&rejected)));
    site.stop().await;
}

#[tokio::test]
async fn what_is_refused_is_listed_and_the_next_goes_on_while_a_stuck_platform_holds_up_nobody() {
    let (choosy, stuck) = (Platform::start(Mood::Takes).await, Platform::start(Mood::Never).await);
    let tables = choosy.table("choosy", "levels = [\"red\"]")
        + &stuck.table("stuck", "")
        + &Platform::start(Mood::Says(401)).await.table("wrong-key", "");
    let site = Site::at(new_home(), "none", &tables).await;
    let bureau = site.bureau();
    let unwanted = rainstorm(1, &[LEIGU]);
    *choosy.unwanted.lock().expect("whole") = unwanted["identifier"].as_str().expect("text").to_owned();
    let refused = site.accepted(&unwanted, &bureau).await;
    let mut mild = rainstorm(2, &[LEIGU]);
    mild["level"] = "blue".into();
    site.accepted(&mild, &bureau).await;
    let wanted = site.accepted(&rainstorm(3, &[LEIGU]), &bureau).await;
    site.wait_until_told(&wanted, &site.role(Role::Viewer)).await;
    site.until("the next has come", async || choosy.taken_alerts().len() == 1).await;
    let mut milder = rainstorm(4, &[LEIGU]);
    let earlier = rainstorm(3, &[LEIGU]);
    milder["msgType"] = "Update".into();
    milder["level"] = "blue".into();
    milder["references"] = json!([{ "sender": earlier["sender"], "identifier": earlier["identifier"], "sent": earlier["sent"] }]);
    let milder = site.accepted(&milder, &bureau).await;
    site.until("its update has come too, whatever its level", async || choosy.taken_alerts().len() == 2).await;
    assert_eq!(choosy.taken_alerts(), [wanted, milder]);
    let view = relay(&site, "choosy").await;
    assert_eq!((&view["refused"], &view["waiting"]), (&json!(1), &json!(0)));
    let listed = &view["refusals"][0];
    assert_eq!((&listed["alert"], &listed["document"], &listed["status"]), (&json!(refused), &json!("alert"), &json!(422)));
    site.until("the stuck one shows it", async || relay(&site, "stuck").await["trouble"] == "timeout").await;
    let view = relay(&site, "wrong-key").await;
    assert_eq!((&view["trouble"], &view["waiting"], &view["refused"]), (&json!("http-401"), &json!(4), &json!(0)));
    let page = site.plain(Method::GET, "/metrics").send().await.expect("an answer").text().await.expect("a body");
    assert!(page.contains("lastmile_relay_waiting{relay=\"stuck\"} 4"), "{page}");
    let started = tokio::time::Instant::now();
    site.stop().await;
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_cursor_of_another_store_hides_no_alert() {
    let platform = Platform::start(Mood::Takes).await;
    let tables = platform.table("moved", "");
    let site = Site::at(new_home(), "none", &tables).await;
    for number in 1..=2 {
        site.accepted(&rainstorm(number, &[LEIGU]), &site.key(&format!("met-{number}"), Role::Bureau, Some("met"), &[])).await;
    }
    site.until("both have come", async || platform.taken_alerts().len() == 2).await;
    let old = site.into_home().await;
    let new = new_home();
    let cursor = "data/documents/relay-moved";
    std::fs::create_dir_all(new.path().join("data/documents")).expect("made");
    std::fs::copy(old.path().join(cursor), new.path().join(cursor)).expect("copied");
    let site = Site::at(new, "none", &tables).await;
    let id = site.accepted(&rainstorm(3, &[LEIGU]), &site.bureau()).await;
    site.until("the first of the new store has come", async || platform.taken_alerts().contains(&id)).await;
    site.stop().await;
}
