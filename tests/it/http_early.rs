//! Updates and Cancels that overtake the alert they refer to: not accepted, not lost.

use lastmile::access::Role;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::http_kit::{Holder, Site, problem, rainstorm};

/// Of the alert of this number: an Update with its own identifier.
fn update_of(alert: &Value, identifier: &str) -> Value {
    let mut update = alert.clone();
    update["references"] = json!([{ "sender": alert["sender"], "identifier": alert["identifier"], "sent": alert["sent"] }]);
    update["identifier"] = identifier.into();
    update["msgType"] = "Update".into();
    update["level"] = "orange".into();
    update["headline"] = "北川羌族自治县气象台变更发布暴雨橙色预警".into();
    update
}

async fn find(site: &Site, identifier: &str, who: &Holder) -> Option<Value> {
    let list = site.get("/v1/alerts", who).await;
    list["items"].as_array()?.iter().find(|item| item["identifier"] == identifier).cloned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_that_came_first_is_kept_through_a_restart_and_taken_in_after_its_alert() {
    let site = Site::start().await;
    let (met, duty) = (site.bureau(), site.role(Role::Duty));
    let alert = rainstorm(1, &["510726"]);
    let update = update_of(&alert, "51072641600000_early");
    for _ in 0..2 {
        let refused = problem(site.post(&update, &met).await).await;
        assert_eq!((&refused["status"], &refused["problems"][0]["rule"]), (&json!(422), &json!("unknown-reference")), "{refused}");
        assert!(refused["problems"][0]["message"].as_str().is_some_and(|message| message.contains("kept until")), "{refused}");
    }
    let waiting = site.get("/v1/alerts/waiting", &duty).await;
    assert_eq!(waiting["items"].as_array().map(Vec::len), Some(1), "{waiting}");
    assert_eq!(waiting["items"][0]["identifier"], "51072641600000_early");
    let site = site.restarted().await;
    let first = site.accepted(&alert, &met).await;
    site.until("the update is taken in", async || find(&site, "51072641600000_early", &duty).await.is_some()).await;
    site.wait_for_state(&first, "superseded", &duty).await;
    let taken = find(&site, "51072641600000_early", &duty).await.expect("taken in");
    let told = site.wait_until_told(taken["id"].as_str().expect("an id"), &duty).await;
    assert_eq!((&told["target"], &told["level"]), (&json!(first), &json!("orange")), "{told}");
    site.until("nothing waits", async || site.get("/v1/alerts/waiting", &duty).await["items"] == json!([])).await;
    assert_eq!(site.post(&update, &met).await.status(), StatusCode::OK, "the same update again");
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_beside_its_reference_is_not_kept() {
    let site = Site::start().await;
    let (met, duty) = (site.bureau(), site.role(Role::Duty));
    let mut update = update_of(&rainstorm(1, &["510726"]), "51072641600000_wrong");
    update["event"] = "11D01".into();
    let refused = problem(site.post(&update, &met).await).await;
    assert!(!refused.to_string().contains("kept until"), "{refused}");
    assert_eq!(site.get("/v1/alerts/waiting", &duty).await["items"], json!([]));
    site.stop().await;
}
