//! Alerts that wait for a second person: duty is told, told again, and hears no more once somebody has decided.

use lastmile::access::Role;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::http_kit::{Holder, LEIGU, Site, rainstorm};

const IMPATIENT: &str = r#"
[approval]
roles = ["county_duty"]
channels = ["sms"]
within = "1s"
{limit}

[[rule]]
events = ["*"]
roles = ["village_leader"]
channels = ["sms"]
"#;

async fn notices(site: &Site, who: &Holder) -> Vec<Value> {
    let list = site.get("/v1/alerts?notices=1", who).await;
    let all = list["items"].as_array().cloned().unwrap_or_default();
    all.into_iter().filter(|item| item["identifier"].as_str().is_some_and(|name| name.starts_with("approval-"))).collect()
}

async fn impatient(limit: &str) -> Site {
    Site::of_source("always", "", &[("policy.toml", &IMPATIENT.replace("{limit}", limit))]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn duty_is_told_until_somebody_decides_and_notices_are_no_warnings() {
    let site = impatient("").await;
    let (met, duty, chief) = (site.bureau(), site.role(Role::Duty), site.role(Role::Approver));
    let id = site.accepted(&rainstorm(1, &["510726"]), &met).await;
    site.until("duty is reminded", async || notices(&site, &duty).await.len() >= 2).await;
    let all = notices(&site, &duty).await;
    let first = site.wait_until_told(all[all.len() - 1]["id"].as_str().expect("an id"), &duty).await;
    assert!(first["people"]["reached"].as_u64() > Some(0), "{first}");
    let path = format!("/v1/alerts/{}/deliveries", first["id"].as_str().expect("an id"));
    let rows = site.get(&path, &duty).await;
    assert!(rows["items"].as_array().is_some_and(|rows| rows.iter().all(|row| row["recipient"]["role"] == "county_duty")), "{rows}");
    let listed = site.get("/v1/alerts", &duty).await;
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(1), "{listed}");
    assert_eq!(listed["items"][0]["state"], "held");
    let approved = site.call(Method::POST, &format!("/v1/alerts/{id}/approve"), &chief).send().await.expect("an answer");
    assert_eq!(approved.status(), StatusCode::OK);
    let told = site.wait_until_told(&id, &duty).await;
    assert!(told["approval_wait_s"].as_u64() >= Some(1), "{told}");
    let count = notices(&site, &duty).await.len();
    let over = |notice: &Value| notice["state"] == "cancelled" || notice["state"] == "completed";
    site.until("the notices end", async || notices(&site, &duty).await.iter().all(over)).await;
    assert_eq!(notices(&site, &duty).await.len(), count);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_decided_within_the_limit_and_the_poster_sees_it() {
    let site = impatient("limit = \"2s\"").await;
    let (met, duty) = (site.bureau(), site.role(Role::Duty));
    let id = site.accepted(&rainstorm(1, &["510726"]), &met).await;
    let view = site.wait_for_state(&id, "rejected", &met).await;
    assert!(view["reason"].as_str().is_some_and(|reason| reason.contains("limit")), "{view}");
    assert_eq!(view["timeline"]["planned"], json!(null));
    assert!(!notices(&site, &duty).await.is_empty());
    site.stop().await;
}

#[tokio::test]
async fn a_feed_reader_that_asks_for_news_hears_of_an_alert_released_late() {
    let site = Site::with_approval("red").await;
    let (met, chief, viewer) = (site.bureau(), site.role(Role::Approver), site.role(Role::Viewer));
    let held = site.accepted(&rainstorm(1, &[LEIGU]), &met).await;
    let mut blue = rainstorm(2, &[LEIGU]);
    blue["level"] = "blue".into();
    blue["headline"] = "暴雨蓝色预警".into();
    let blue = site.accepted(&blue, &met).await;
    let ask = async |known: &str| {
        site.call(Method::GET, "/feed/alerts.atom", &viewer).header("if-none-match", known).send().await.expect("an answer")
    };
    let first = ask("\"none\"").await;
    let tag = first.headers()["etag"].to_str().expect("a tag").to_owned();
    let text = first.text().await.expect("a feed");
    assert!(text.contains(&blue) && !text.contains(&held) && text.contains("rel=\"self\""), "{text}");
    assert_eq!(ask(&format!("\"other\", W/{tag}")).await.status(), StatusCode::NOT_MODIFIED);
    let approved = site.call(Method::POST, &format!("/v1/alerts/{held}/approve"), &chief).send().await.expect("an answer");
    assert_eq!(approved.status(), StatusCode::OK);
    let news = ask(&tag).await;
    assert_eq!(news.status(), StatusCode::OK);
    let text = news.text().await.expect("a feed");
    assert!(text.find(&held) < text.find(&blue) && text.contains(&held), "what was released last stands first: {text}");
    site.stop().await;
}
