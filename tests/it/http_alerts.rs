//! Owns the tests of contract §2 over real HTTP: posting, looking, deciding, the live stream.

use futures::StreamExt as _;
use lastmile::access::Role;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::http_kit::{COUNTY, LEIGU, QUSHAN, Site, problem, rainstorm};

#[tokio::test]
async fn an_alert_is_accepted_once_told_again_as_the_same_and_refused_with_other_content() {
    let site = Site::start().await;
    let (bureau, viewer) = (site.bureau(), site.role(Role::Viewer));
    let alert = rainstorm(1, &[LEIGU]);
    let first = site.post(&alert, &bureau).await;
    assert_eq!(first.status(), StatusCode::ACCEPTED);
    let first: Value = first.json().await.expect("json");
    assert!(first["links"]["coverage"].as_str().is_some_and(|link| link.ends_with("/coverage")), "{first}");
    let again = site.post(&alert, &bureau).await;
    assert_eq!(again.status(), StatusCode::OK);
    assert_eq!(again.json::<Value>().await.expect("json")["id"], first["id"]);
    let mut other = alert.clone();
    other["headline"] = "另一个标题".into();
    let refused = site.post(&other, &bureau).await;
    assert_eq!(refused.status(), StatusCode::CONFLICT);
    problem(refused).await;
    let id = first["id"].as_str().expect("an id");
    let done = site.wait_until_told(id, &viewer).await;
    let people = &done["people"];
    let part = |name: &str| people[name].as_u64().unwrap_or_default();
    assert!(part("targeted") > 0);
    assert_eq!(part("targeted"), part("reached") + part("pending") + part("failed") + part("unreachable"), "{people}");
    site.stop().await;
}

#[tokio::test]
async fn every_fault_of_an_alert_is_listed_and_a_broken_document_is_another_matter() {
    let site = Site::start().await;
    let bureau = site.bureau();
    let mut wrong = rainstorm(1, &["110101"]);
    wrong["sender"] = "99999941600000".into();
    wrong["event"] = "11A51".into();
    let refused = site.post(&wrong, &bureau).await;
    assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let problem_document = problem(refused).await;
    let rules: Vec<&str> =
        problem_document["problems"].as_array().expect("a list").iter().filter_map(|fault| fault["rule"].as_str()).collect();
    for rule in ["sender-not-allowed", "event-not-allowed", "area-not-allowed"] {
        assert!(rules.contains(&rule), "{rule} is not among {rules:?}");
    }
    let broken = site
        .call(Method::POST, "/v1/alerts", &bureau)
        .header("content-type", "application/json")
        .body("{")
        .send()
        .await
        .expect("an answer");
    assert_eq!(broken.status(), StatusCode::BAD_REQUEST);
    problem(broken).await;
    site.stop().await;
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_wherever_it_is_sent() {
    let site = Site::start().await;
    let (bureau, admin) = (site.bureau(), site.role(Role::Admin));
    let large = " ".repeat(3 << 20);
    for path in ["/v1/alerts", "/v1/alerts/preview"] {
        let refused = site.call(Method::POST, path, &bureau).header("content-type", "application/json").body(large.clone()).send().await;
        let refused = refused.expect("an answer");
        assert_eq!(refused.status(), StatusCode::PAYLOAD_TOO_LARGE, "{path}");
        problem(refused).await;
    }
    let record = site.call(Method::PUT, "/v1/subscribers/x", &admin).body(large.clone()).send().await.expect("an answer");
    assert_eq!(record.status(), StatusCode::PAYLOAD_TOO_LARGE);
    problem(record).await;
    // Whoever has no key at all must not make the gateway keep megabytes.
    let cases = [
        ("/a/nobody", StatusCode::NOT_FOUND),
        ("/sign-in", StatusCode::PAYLOAD_TOO_LARGE),
        ("/v1/callbacks/sms/line/status", StatusCode::PAYLOAD_TOO_LARGE),
    ];
    for (path, status) in cases {
        let refused =
            site.plain(Method::POST, path).header("content-type", "application/x-www-form-urlencoded").header("origin", site.url(""));
        let refused = refused.body(large.clone()).send().await.expect("an answer");
        assert_eq!(refused.status(), status, "{path}");
        problem(refused).await;
    }
    site.stop().await;
}

#[tokio::test]
async fn a_bureau_sees_its_own_alerts_alone() {
    let site = Site::start().await;
    let (met, land) = (site.bureau(), site.key("land-bureau", Role::Bureau, Some("land"), &[]));
    let id = site.accepted(&rainstorm(1, &[LEIGU]), &met).await;
    assert_eq!(site.get("/v1/alerts", &met).await["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(site.get("/v1/alerts", &land).await["items"].as_array().map(Vec::len), Some(0));
    for what in ["", "/cap", "/coverage", "/timeliness", "/deliveries", "/calls", "/events", "/report.json"] {
        let path = format!("/v1/alerts/{id}{what}");
        assert_eq!(site.status(Method::GET, &path, &land).await, StatusCode::NOT_FOUND, "{path}");
    }
    site.stop().await;
}

#[tokio::test]
async fn the_list_is_filtered_and_paged() {
    let site = Site::start().await;
    let (bureau, viewer) = (site.bureau(), site.role(Role::Viewer));
    let mut ids = Vec::new();
    for number in 1..=5 {
        ids.push(site.accepted(&rainstorm(number, &[LEIGU]), &bureau).await);
    }
    ids.reverse();
    let (mut seen, mut path) = (Vec::new(), "/v1/alerts?limit=2".to_owned());
    loop {
        let page = site.get(&path, &viewer).await;
        seen.extend(page["items"].as_array().expect("a list").iter().map(|item| item["id"].as_str().expect("an id").to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/v1/alerts?limit=2&cursor={next}");
    }
    assert_eq!(seen, ids);
    let count = async |query: &str| site.get(&format!("/v1/alerts?{query}"), &viewer).await["items"].as_array().map(Vec::len);
    assert_eq!(count("level=red&event=11B03").await, Some(5));
    assert_eq!(count("level=blue").await, Some(0));
    assert_eq!(count("since=2099-01-01T00:00:00%2B08:00").await, Some(0));
    for wrong in ["limit=0", "limit=1001", "cursor=x", "since=yesterday"] {
        let refused = site.call(Method::GET, &format!("/v1/alerts?{wrong}"), &viewer).send().await.expect("an answer");
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST, "{wrong}");
        problem(refused).await;
    }
    site.stop().await;
}

#[tokio::test]
async fn a_held_alert_needs_another_person_and_cannot_be_decided_twice() {
    let site = Site::with_approval("red").await;
    let (bureau, approver, viewer) = (site.bureau(), site.role(Role::Approver), site.role(Role::Viewer));
    let id = site.accepted(&rainstorm(1, &[LEIGU]), &bureau).await;
    site.wait_for_state(&id, "held", &viewer).await;
    assert_eq!(site.status(Method::POST, &format!("/v1/alerts/{id}/approve"), &viewer).await, StatusCode::FORBIDDEN);
    assert_eq!(site.status(Method::POST, &format!("/v1/alerts/{id}/approve"), &approver).await, StatusCode::OK);
    site.wait_until_told(&id, &viewer).await;
    let late = site.call(Method::POST, &format!("/v1/alerts/{id}/reject"), &approver).json(&json!({ "reason": "too late" })).send().await;
    let late = late.expect("an answer");
    assert_eq!(late.status(), StatusCode::CONFLICT);
    problem(late).await;
    site.stop().await;
}

#[tokio::test]
async fn a_cancel_needs_a_reason_and_tells_everybody_who_was_told() {
    let site = Site::start().await;
    let (bureau, duty) = (site.bureau(), site.role(Role::Duty));
    let id = site.accepted(&rainstorm(1, &[LEIGU]), &bureau).await;
    let told = site.wait_until_told(&id, &duty).await["people"]["reached"].clone();
    let path = format!("/v1/alerts/{id}/cancel");
    assert_eq!(
        site.call(Method::POST, &path, &duty).json(&json!({ "reason": " " })).send().await.expect("an answer").status(),
        StatusCode::BAD_REQUEST
    );
    let cancelled: Value = site
        .call(Method::POST, &path, &duty)
        .json(&json!({ "reason": "雨停了" }))
        .send()
        .await
        .expect("an answer")
        .json()
        .await
        .expect("json");
    assert_eq!(cancelled["state"], "cancelled");
    let all_clear = cancelled["cancel"]["id"].as_str().expect("the id of the all-clear");
    assert_eq!(site.wait_until_told(all_clear, &duty).await["people"]["reached"], told);
    site.stop().await;
}

#[tokio::test]
async fn the_live_stream_tells_state_progress_coverage_and_calls_and_ends_with_the_gateway() {
    let site = Site::start().await;
    let (bureau, viewer) = (site.bureau(), site.role(Role::Viewer));
    let id = site.accepted(&rainstorm(1, &[LEIGU]), &bureau).await;
    let stream = site.call(Method::GET, &format!("/v1/alerts/{id}/events"), &viewer).send().await.expect("an answer");
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    let mut chunks = stream.bytes_stream();
    let mut text = String::new();
    let names = ["event: state", "event: progress", "event: coverage", "event: call"];
    while !names.iter().all(|name| text.contains(name)) {
        let chunk = chunks.next().await.expect("the stream goes on until all was told").expect("bytes");
        text.push_str(&String::from_utf8_lossy(&chunk));
    }
    site.stop().await;
    while let Some(Ok(_)) = chunks.next().await {}
}

#[tokio::test]
async fn an_account_limited_to_a_township_sees_only_the_people_of_it() {
    let site = Site::start().await;
    let bureau = site.bureau();
    let leigu = site.key("leigu-duty", Role::Duty, None, &[LEIGU]);
    let county = site.role(Role::Duty);
    let id = site.accepted(&rainstorm(1, &[COUNTY]), &bureau).await;
    site.wait_until_told(&id, &county).await;
    let rows = site.get(&format!("/v1/alerts/{id}/deliveries?limit=1000"), &county).await;
    let outside: Vec<String> = rows["items"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|row| !row["recipient"]["area"].as_str().is_some_and(|area| area.starts_with(LEIGU)))
        .filter_map(|row| row["recipient"]["phone"].as_str().map(str::to_owned))
        .collect();
    assert!(outside.len() > 10, "the county has people outside {LEIGU}");
    for what in ["deliveries?limit=1000", "calls", "report.json", "report.csv", "coverage"] {
        let answer = site.call(Method::GET, &format!("/v1/alerts/{id}/{what}"), &leigu).send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::OK, "{what}");
        let text = answer.text().await.expect("a body");
        let leaked = outside.iter().filter(|phone| text.contains(phone.as_str())).count();
        assert_eq!(leaked, 0, "{what} tells {leaked} telephone numbers of other townships");
    }
    let other = format!("/v1/alerts/{id}/deliveries?area={QUSHAN}");
    assert_eq!(site.status(Method::GET, &other, &leigu).await, StatusCode::FORBIDDEN);
    // What is the whole county's is not one township's to end, and a call is recorded for one's own people only.
    let cancel = site.call(Method::POST, &format!("/v1/alerts/{id}/cancel"), &leigu).json(&json!({ "reason": "雨停了" })).send().await;
    assert_eq!(cancel.expect("an answer").status(), StatusCode::FORBIDDEN);
    let calls = site.get(&format!("/v1/alerts/{id}/calls"), &county).await;
    let is_outside = |call: &&Value| !call["recipient"]["area"].as_str().is_some_and(|area| area.starts_with(LEIGU));
    let person = calls["items"].as_array().expect("a list").iter().find(is_outside).expect("a call outside")["recipient"]["id"].clone();
    let path = format!("/v1/alerts/{id}/calls/{}", person.as_str().expect("an id"));
    let made = json!({ "answered": true, "method": "call", "note": "" });
    assert_eq!(site.call(Method::POST, &path, &leigu).json(&made).send().await.expect("an answer").status(), StatusCode::FORBIDDEN);
    assert_eq!(site.call(Method::POST, &path, &county).json(&made).send().await.expect("an answer").status(), StatusCode::NO_CONTENT);
    site.stop().await;
}

#[tokio::test]
async fn telephone_numbers_are_masked_for_whoever_is_not_on_duty() {
    let site = Site::start().await;
    let (bureau, viewer, duty) = (site.bureau(), site.role(Role::Viewer), site.role(Role::Duty));
    let id = site.accepted(&rainstorm(1, &[LEIGU]), &bureau).await;
    site.wait_until_told(&id, &duty).await;
    let rows = site.get(&format!("/v1/alerts/{id}/deliveries"), &duty).await;
    let whole: Vec<&str> = rows["items"].as_array().expect("a list").iter().filter_map(|row| row["recipient"]["phone"].as_str()).collect();
    assert!(!whole.is_empty() && whole.iter().all(|phone| !phone.contains('*')), "{whole:?}");
    for what in ["deliveries", "calls", "report.json", "report.csv"] {
        let text = site
            .call(Method::GET, &format!("/v1/alerts/{id}/{what}"), &viewer)
            .send()
            .await
            .expect("an answer")
            .text()
            .await
            .expect("a body");
        assert!(whole.iter().all(|phone| !text.contains(phone)), "{what} tells whole numbers to a viewer");
    }
    site.stop().await;
}
