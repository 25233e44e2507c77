//! Owns the tests of alerts that tell nobody: no channel, no address; said in the answer, an alarm, never done, told as soon as there is a way.

use lastmile::access::Role;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::http_kit::{QUSHAN, Site, new_home, rainstorm};

/// The rule names short messages alone; the only channel speaks to groups.
const GROUPS_ALONE: &str = r#"
[channel.groups]
kind = "wechat"
provider = "sandbox"
deliver = 1.0
fail = 0.0
throttle = 0.0
break = 0.0
latency = "1ms"
receipt_after = "5ms"
"#;

async fn open_alarms(site: &Site, what: &str) -> Vec<Value> {
    let list = site.get("/v1/alarms?open=true", &site.role_of("alarms", Role::Duty)).await;
    list["items"].as_array().expect("a list").iter().filter(|alarm| alarm["what"] == what).cloned().collect()
}

async fn rules_of(answer: reqwest::Response) -> Vec<String> {
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    let body: Value = answer.json().await.expect("json");
    let warnings = body["warnings"].as_array().expect("a list");
    warnings.iter().map(|warning| warning["rule"].as_str().expect("a rule").to_owned()).collect()
}

#[tokio::test]
async fn an_alert_without_a_channel_is_no_success_and_is_told_when_there_is_one() {
    let site = Site::at(new_home(), "none", GROUPS_ALONE).await;
    let (bureau, viewer) = (site.bureau(), site.role(Role::Viewer));
    assert_eq!(site.plain(Method::GET, "/readyz").send().await.expect("an answer").status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(open_alarms(&site, "policy-without-channel").await.len(), 1);
    let answer = site.post(&rainstorm(1, &[QUSHAN]), &bureau).await;
    assert!(rules_of(answer).await.contains(&"no-channel".to_owned()));
    let id = site.get("/v1/alerts", &viewer).await["items"][0]["id"].as_str().expect("an id").to_owned();
    site.until("the alarm of an alert that nobody hears", async || open_alarms(&site, "nobody-told").await.len() == 1).await;
    let alarm = open_alarms(&site, "nobody-told").await.remove(0);
    assert!(alarm["about"] == id.as_str() && alarm["text"].as_str().expect("a text").contains("没有一条消息可发"), "{alarm}");
    // Two rounds of the clock: it must not be called done.
    let view = site.get(&format!("/v1/alerts/{id}"), &viewer).await;
    assert_eq!((&view["state"], &view["people"]["reached"]), (&json!("released"), &json!(0)), "{view}");
    let targeted = view["people"]["targeted"].clone();

    let home = site.into_home().await;
    let site = Site::at(home, "none", "").await;
    let viewer = site.role_of("again", Role::Viewer);
    let view = site.wait_until_told(&id, &viewer).await;
    assert_eq!(view["people"]["targeted"], targeted, "the denominator stays: {view}");
    assert!(view["people"]["reached"].as_u64() > Some(0), "{view}");
    assert!(open_alarms(&site, "nobody-told").await.is_empty() && open_alarms(&site, "policy-without-channel").await.is_empty());
    assert_eq!(site.plain(Method::GET, "/readyz").send().await.expect("an answer").status(), StatusCode::OK);
    site.stop().await;
}

#[tokio::test]
async fn whoever_gets_a_number_while_an_alert_is_in_force_is_told_by_it() {
    let site = Site::start().await;
    let (bureau, admin) = (site.bureau(), site.role(Role::Admin));
    let area = "510726100005";
    let put = async |phone: &str| {
        let person = json!({ "id": "late-1", "area": area, "name": "王小明", "role": "household", "phone": phone });
        let answer = site.call(Method::PUT, "/v1/subscribers/late-1", &admin).json(&person).send().await.expect("an answer");
        let status = answer.status();
        assert_eq!(status, StatusCode::OK, "{}", answer.text().await.expect("a body"));
    };
    put("").await;
    let id = site.accepted(&rainstorm(2, &[QUSHAN]), &bureau).await;
    let before = site.wait_until_told(&id, &admin).await;
    put("13900000001").await;
    let unreachable = before["people"]["unreachable"].as_u64().expect("a number");
    site.until("one person fewer without an address", async || {
        let view = site.get(&format!("/v1/alerts/{id}"), &admin).await;
        view["people"]["unreachable"].as_u64() == Some(unreachable - 1)
    })
    .await;
    let after = site.wait_until_told(&id, &admin).await;
    assert_eq!(after["people"]["reached"].as_u64(), before["people"]["reached"].as_u64().map(|reached| reached + 1), "{after}");
    site.stop().await;
}

#[tokio::test]
async fn an_alarm_is_taken_once_by_somebody_with_a_note() {
    let site = Site::at(new_home(), "none", GROUPS_ALONE).await;
    let duty = site.role_of("li", Role::Duty);
    let alarm = open_alarms(&site, "policy-without-channel").await.remove(0);
    let path = format!("/v1/alarms/{}/acknowledge", alarm["id"].as_str().expect("an id"));
    let take = async || site.call(Method::POST, &path, &duty).json(&json!({ "note": "已联系信息中心" })).send().await.expect("an answer");
    let taken: Value = take().await.json().await.expect("json");
    assert_eq!(
        (&taken["state"], &taken["acknowledged"]["by"], &taken["acknowledged"]["note"]),
        (&json!("acknowledged"), &json!("li"), &json!("已联系信息中心"))
    );
    assert_eq!(take().await.status(), StatusCode::CONFLICT);
    assert_eq!(site.status(Method::POST, "/v1/alarms/999999/acknowledge", &duty).await, StatusCode::NOT_FOUND);
    assert_eq!(site.status(Method::GET, "/v1/alarms", &site.role(Role::Viewer)).await, StatusCode::FORBIDDEN);
    site.stop().await;
}
