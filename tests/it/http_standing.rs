//! Owns the tests of what holds between questions: live streams and the right to look, whose an alert is to end, problems as people see them.

use std::sync::Arc;

use futures::StreamExt as _;
use lastmile::{
    access::{Access, Role},
    time::SystemClock,
};
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::http_kit::{LEIGU, QUSHAN, Site, problem, rainstorm};

#[tokio::test]
async fn a_live_stream_ends_when_its_key_is_revoked() {
    let site = Site::start().await;
    let (bureau, viewer) = (site.bureau(), site.role(Role::Viewer));
    let id = site.accepted(&rainstorm(1, &[LEIGU]), &bureau).await;
    site.wait_until_told(&id, &viewer).await;
    let stream = site.call(Method::GET, &format!("/v1/alerts/{id}/events"), &viewer).send().await.expect("an answer");
    let mut chunks = stream.bytes_stream();
    chunks.next().await.expect("the first events").expect("bytes");
    let beside = Access::open(&site.home.path().join("data"), Arc::new(SystemClock)).expect("keys and users");
    beside.revoke_key(Role::Viewer.name()).expect("revoked");
    // Something to tell, which the holder of the revoked key must not hear.
    let duty = site.role(Role::Duty);
    let cancel = site.call(Method::POST, &format!("/v1/alerts/{id}/cancel"), &duty).json(&json!({ "reason": "雨停了" }));
    assert_eq!(cancel.send().await.expect("an answer").status(), StatusCode::OK);
    let mut told = String::new();
    while let Some(chunk) = chunks.next().await {
        told.push_str(&String::from_utf8_lossy(&chunk.expect("bytes")));
    }
    assert!(!told.contains("\"state\":\"cancelled\""), "{told}");
    site.stop().await;
}

#[tokio::test]
async fn a_township_ends_its_own_alert_and_not_its_neighbours() {
    let site = Site::start().await;
    let (bureau, county) = (site.bureau(), site.role(Role::Viewer));
    let leigu = site.key("leigu-duty", Role::Duty, None, &[LEIGU]);
    for (number, areas, status) in [(1, [LEIGU].as_slice(), StatusCode::OK), (2, &[LEIGU, QUSHAN], StatusCode::FORBIDDEN)] {
        let id = site.accepted(&rainstorm(number, areas), &bureau).await;
        site.wait_until_told(&id, &county).await;
        let cancel = site.call(Method::POST, &format!("/v1/alerts/{id}/cancel"), &leigu).json(&json!({ "reason": "雨停了" }));
        assert_eq!(cancel.send().await.expect("an answer").status(), status, "{areas:?}");
    }
    site.stop().await;
}

#[tokio::test]
async fn a_villager_with_a_broken_link_reads_a_page_and_a_program_a_document() {
    let site = Site::start().await;
    let browser = site.plain(Method::GET, "/a/nobody").header("accept", "text/html,*/*;q=0.8").send().await.expect("an answer");
    assert_eq!(browser.status(), StatusCode::NOT_FOUND);
    let text = browser.text().await.expect("a page");
    assert!(text.contains("没有这个页面") && text.contains("<html"), "{text}");
    let english = site.plain(Method::GET, "/a/nobody").header("accept", "text/html").header("accept-language", "en");
    assert!(english.send().await.expect("an answer").text().await.expect("a page").contains("Not found"));
    let document = problem(site.plain(Method::GET, "/a/nobody").send().await.expect("an answer")).await;
    let kind = document["type"].as_str().expect("a type").to_owned();
    let meaning = site.plain(Method::GET, &kind).send().await.expect("an answer");
    assert_eq!(meaning.status(), StatusCode::OK, "{kind}");
    assert_eq!(site.plain(Method::GET, "/problems/none").send().await.expect("an answer").status(), StatusCode::NOT_FOUND);
    site.stop().await;
}

#[tokio::test]
async fn every_answer_has_its_own_number() {
    let site = Site::start().await;
    let mut numbers = Vec::new();
    for path in ["/healthz", "/healthz", "/v1/alerts", "/nothing"] {
        let answer = site.plain(Method::GET, path).send().await.expect("an answer");
        numbers.push(answer.headers()["x-request-id"].to_str().expect("text").to_owned());
    }
    numbers.sort();
    numbers.dedup();
    assert_eq!(numbers.len(), 4, "{numbers:?}");
    site.stop().await;
}
