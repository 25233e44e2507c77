//! Updates and Cancels that overtake the alert they refer to: an Update is a warning by itself, an all-clear waits and is not lost.

use lastmile::access::Role;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::http_kit::{Holder, Site, problem, rainstorm};

/// Of the alert of this number: an Update or Cancel with its own identifier.
fn change_of(alert: &Value, kind: &str, identifier: &str) -> Value {
    let mut change = alert.clone();
    change["references"] = json!([{ "sender": alert["sender"], "identifier": alert["identifier"], "sent": alert["sent"] }]);
    change["identifier"] = identifier.into();
    change["msgType"] = kind.into();
    change["level"] = "orange".into();
    change["headline"] = "北川羌族自治县气象台变更发布暴雨橙色预警".into();
    change
}

async fn find(site: &Site, identifier: &str, who: &Holder) -> Option<Value> {
    let list = site.get("/v1/alerts", who).await;
    list["items"].as_array()?.iter().find(|item| item["identifier"] == identifier).cloned()
}

fn rules(answer: &Value) -> Vec<&str> {
    answer["warnings"].as_array().expect("warnings").iter().filter_map(|warning| warning["rule"].as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_that_came_first_is_told_at_once_and_its_alert_is_not_told_after_it() {
    let site = Site::start().await;
    let (met, duty) = (site.bureau(), site.role(Role::Duty));
    let alert = rainstorm(1, &["510726"]);
    let answer = site.post(&change_of(&alert, "Update", "51072641600000_early"), &met).await;
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    let update: Value = answer.json().await.expect("json");
    assert_eq!(rules(&update), ["unknown-reference"], "{update}");
    let update = update["id"].as_str().expect("an id").to_owned();
    let told = site.wait_until_told(&update, &duty).await;
    assert!(told["people"]["targeted"].as_u64().is_some_and(|people| people > 0), "{told}");
    let site = site.restarted().await;
    let answer = site.post(&alert, &met).await;
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    let late: Value = answer.json().await.expect("json");
    assert_eq!((&late["state"], rules(&late)), (&json!("superseded"), vec!["overtaken"]), "{late}");
    let site = site.restarted().await;
    let late = site.get(&format!("/v1/alerts/{}", late["id"].as_str().expect("an id")), &duty).await;
    assert_eq!((&late["state"], &late["progress"]["deliveries"]), (&json!("superseded"), &json!(0)), "{late}");
    // The end of the one that came late is the end of the one that took its place.
    let end = site.accepted(&change_of(&alert, "Cancel", "51072641600000_end"), &met).await;
    let end = site.wait_until_told(&end, &duty).await;
    assert_eq!((&end["targets"], &end["people"]["targeted"]), (&json!([update]), &told["people"]["reached"]), "{end}");
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_that_came_first_is_kept_through_a_restart_and_taken_in_after_its_alert() {
    let site = Site::start().await;
    let (met, duty) = (site.bureau(), site.role(Role::Duty));
    let alert = rainstorm(1, &["510726"]);
    let cancel = change_of(&alert, "Cancel", "51072641600000_early");
    for _ in 0..2 {
        let refused = problem(site.post(&cancel, &met).await).await;
        assert_eq!((&refused["status"], &refused["problems"][0]["rule"]), (&json!(422), &json!("unknown-reference")), "{refused}");
        assert!(refused["problems"][0]["message"].as_str().is_some_and(|message| message.contains("kept until")), "{refused}");
    }
    let waiting = site.get("/v1/alerts/waiting", &duty).await;
    assert_eq!(waiting["items"].as_array().map(Vec::len), Some(1), "{waiting}");
    assert_eq!(waiting["items"][0]["identifier"], "51072641600000_early");
    let site = site.restarted().await;
    let first = site.accepted(&alert, &met).await;
    site.until("the cancel is taken in", async || find(&site, "51072641600000_early", &duty).await.is_some()).await;
    site.wait_for_state(&first, "cancelled", &duty).await;
    let taken = find(&site, "51072641600000_early", &duty).await.expect("taken in");
    let told = site.wait_until_told(taken["id"].as_str().expect("an id"), &duty).await;
    assert_eq!((&told["target"], &told["level"]), (&json!(first), &json!("red")), "the level is that of what it ends: {told}");
    site.until("nothing waits", async || site.get("/v1/alerts/waiting", &duty).await["items"] == json!([])).await;
    assert_eq!(site.post(&cancel, &met).await.status(), StatusCode::OK, "the same again");
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_beside_its_reference_is_not_kept() {
    let site = Site::start().await;
    let (met, duty) = (site.bureau(), site.role(Role::Duty));
    let mut cancel = change_of(&rainstorm(1, &["510726"]), "Cancel", "51072641600000_wrong");
    cancel["sent"] = "2199-01-01T00:00:00+08:00".into();
    let refused = problem(site.post(&cancel, &met).await).await;
    assert!(!refused.to_string().contains("kept until"), "{refused}");
    assert_eq!(site.get("/v1/alerts/waiting", &duty).await["items"], json!([]));
    site.stop().await;
}
