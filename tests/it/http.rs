//! The HTTP interface of contract §2–§4, asked as bureaus, duty officers and villagers ask it.

use lastmile::{access::Role, delivery::plan::RecipientKind};
use serde_json::{Value, json};

use crate::kit::{Running, rainstorm};

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_is_accepted_once_and_its_repeat_is_the_same_alert() {
    let running = Running::start("none").await;
    let met = running.key("met", Role::Bureau, Some("met"));
    let alert = rainstorm("a-1").to_string();
    let first = running.post("/v1/alerts", &met, alert.clone()).await;
    assert_eq!(first.status, 202, "{}", first.text);
    let again = running.post("/v1/alerts", &met, alert).await;
    assert_eq!((again.status, &again.json()["id"]), (200, &first.json()["id"]));
    let mut other = rainstorm("a-1");
    other["sent"] =
        running.get(&format!("/v1/alerts/{}", first.json()["id"].as_str().unwrap_or_default()), &met).await.json()["sent"].clone();
    other["headline"] = "something else".into();
    assert_eq!(running.post("/v1/alerts", &met, other.to_string()).await.status, 409);
    running.app.stop().await.expect("stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_source_may_not_say_is_refused_with_every_reason() {
    let running = Running::start("none").await;
    let met = running.key("met", Role::Bureau, Some("met"));
    let mut alert = rainstorm("b-1");
    alert["sender"] = "51072633200000".into();
    alert["event"] = "11D01".into();
    alert["level"] = "blue".into();
    alert["areas"][0]["codes"] = json!(["510727"]);
    alert["expires"] = "2020-01-01T00:00:00+08:00".into();
    alert["effective"] = "2019-12-31T00:00:00+08:00".into();
    let refused = running.post("/v1/alerts", &met, alert.to_string()).await;
    assert_eq!(refused.status, 422, "{}", refused.text);
    let rules = refused.rules();
    for rule in ["sender-not-allowed", "event-not-allowed", "level-not-allowed", "area-not-allowed", "expired", "area-resolves-to-nothing"]
    {
        assert!(rules.iter().any(|known| known == rule), "{rule} is missing in {rules:?}");
    }
    let unread = running.post("/v1/alerts", &met, "<alert").await;
    assert_eq!((unread.status, unread.rules()), (400, vec!["not-xml".to_owned()]));
    assert_eq!(running.app.gateway.ledger().newest_first().len(), 0, "something was kept of what was refused");
    running.app.stop().await.expect("stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_say_who_they_are_or_may_not_is_turned_away() {
    let running = Running::start("none").await;
    let viewer = running.key("look", Role::Viewer, None);
    assert_eq!(running.post("/v1/alerts", "", "{}").await.status, 401);
    assert_eq!(running.post("/v1/alerts", "lm_wrong", "{}").await.status, 401);
    assert_eq!(running.post("/v1/alerts", &viewer, rainstorm("c-1").to_string()).await.status, 403);
    assert_eq!(running.get("/v1/alerts", &viewer).await.status, 200);
    assert_eq!(running.get("/v1/alerts/nothing", &viewer).await.status, 404);
    assert_eq!(running.get("/nothing", &viewer).await.kind, "application/problem+json");
    assert_eq!(running.get("/healthz", "").await.status, 200);
    assert_eq!(running.get("/readyz", "").await.status, 200);
    assert!(running.get("/metrics", "").await.text.contains("lastmile_"));
    running.app.stop().await.expect("stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_two_people_waits_for_another_than_the_poster() {
    let running = Running::start("red").await;
    let met = running.key("met", Role::Bureau, Some("met"));
    let chief = running.key("chief", Role::Approver, None);
    let posted = running.post("/v1/alerts", &met, rainstorm("d-1").to_string()).await.json();
    assert_eq!(posted["state"], "held");
    let path = format!("/v1/alerts/{}/approve", posted["id"].as_str().unwrap_or_default());
    assert_eq!(running.post(&path, &met, "{}").await.status, 403);
    let admin = running.key("met2", Role::Admin, Some("met"));
    assert_eq!(
        running.post("/v1/alerts", &admin, rainstorm("d-2").to_string()).await.status,
        403,
        "who keeps the house issues no warnings"
    );
    assert_eq!(running.post(&path, &chief, "{}").await.status, 200);
    assert_eq!(running.post(&path, &chief, "{}").await.status, 409);
    running.app.stop().await.expect("stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_villager_answers_by_the_link_and_looking_at_it_answers_nothing() {
    let running = Running::start("none").await;
    let met = running.key("met", Role::Bureau, Some("met"));
    let duty = running.key("duty", Role::Duty, None);
    let posted = running.post("/v1/alerts", &met, rainstorm("e-1").to_string()).await.json();
    let id = posted["id"].as_str().unwrap_or_default().to_owned();
    let shelf = running.app.gateway.ledger().find(id.parse().expect("id")).expect("alert");
    running.until("the deliveries", |_| shelf.read().timeline.planned.is_some() && shelf.read().open == 0).await;
    let recipient = shelf.read().calls.first().expect("a leader is called").recipient;
    assert_eq!(shelf.read().place_of(recipient).kind, RecipientKind::Person);
    let token = running.app.gateway.answer_token(shelf.no, recipient).expect("token");
    assert!(token.len() <= 22);
    let page = running.get(&format!("/a/{token}"), "").await;
    assert!(page.status == 200 && page.text.contains("收到") && page.text.contains("立即"), "{}", page.text);
    assert!(shelf.read().calls[0].is_open(), "a GET has answered");
    assert_eq!(running.form(&format!("/a/{token}"), "choice=moved").await.status, 200);
    let calls = running.get(&format!("/v1/alerts/{id}/calls"), &duty).await.json();
    let answered: Vec<&Value> = calls["items"].as_array().expect("items").iter().filter(|call| call["state"] == "answered").collect();
    assert_eq!((answered.len(), &answered[0]["choice"], &answered[0]["via"]), (1, &json!("moved"), &json!("link")));
    assert_eq!(running.form("/a/AAAAAAAAAAAAAAAAAAAA", "choice=moved").await.status, 404);
    let coverage = running.get(&format!("/v1/alerts/{id}/coverage"), &duty).await.json();
    assert_eq!(coverage["people"]["acknowledged"], 1);
    let people = &coverage["people"];
    let parts: u64 = ["reached", "pending", "failed", "unreachable"].iter().map(|part| people[*part].as_u64().unwrap_or(0)).sum();
    assert_eq!(Some(parts), people["targeted"].as_u64());
    running.app.stop().await.expect("stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_an_alert_reaches_everyone_who_was_told_and_cap_comes_out_as_it_went_in() {
    let running = Running::start("none").await;
    let met = running.key("met", Role::Bureau, Some("met"));
    let duty = running.key("duty", Role::Duty, None);
    let posted = running.post("/v1/alerts", &met, rainstorm("f-1").to_string()).await.json();
    let id = posted["id"].as_str().unwrap_or_default().to_owned();
    let shelf = running.app.gateway.ledger().find(id.parse().expect("id")).expect("alert");
    running.until("the deliveries", |_| shelf.read().timeline.planned.is_some() && shelf.read().open == 0).await;
    let cap = running.get(&format!("/v1/alerts/{id}/cap"), &duty).await;
    assert!(cap.kind.starts_with("application/cap+xml"));
    let again = running.post("/v1/alerts", &met, cap.text).await;
    assert_eq!((again.status, &again.json()["id"]), (200, &posted["id"]), "{}", again.text);
    let ended = running.post(&format!("/v1/alerts/{id}/cancel"), &duty, json!({ "reason": "雨停" }).to_string()).await;
    assert_eq!((ended.status, ended.json()["state"].clone()), (200, json!("cancelled")), "{}", ended.text);
    let cancel =
        running.app.gateway.ledger().find(ended.json()["cancel"]["id"].as_str().unwrap_or_default().parse().expect("id")).expect("cancel");
    running.until("the all-clear", |_| cancel.read().timeline.planned.is_some() && cancel.read().open == 0).await;
    let told = shelf.read().slots.iter().filter(|slot| slot.attempts() > 0).count();
    assert_eq!(cancel.read().slots.len(), told);
    assert_eq!(running.post(&format!("/v1/alerts/{id}/cancel"), &duty, json!({ "reason": "again" }).to_string()).await.status, 409);
    running.app.stop().await.expect("stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_of_the_description_has_its_route() {
    let running = Running::start("none").await;
    let admin = running.key("admin", Role::Admin, None);
    let described = running.get("/openapi.json", "").await.json();
    for (path, item) in described["paths"].as_object().expect("paths") {
        for method in item.as_object().expect("methods").keys() {
            let concrete = path.replace("{kind}", "speakers").replace(['{', '}'], "");
            // A wrong method is 405 and an unknown path our own 404 by the fallback; a route answers anything else.
            let answer = match method.as_str() {
                "get" if !path.ends_with("/events") => running.get(&concrete, &admin).await,
                "post" => running.post(&concrete, &admin, "").await,
                _ => continue,
            };
            assert_ne!(answer.status, 405, "{method} {path}");
            assert!(!answer.text.contains("there is nothing at this address"), "{method} {path}");
        }
    }
    running.app.stop().await.expect("stops");
}
