//! Owns the tests of documents that say several things: each becomes an alert of its own, all or nothing, under one document's name.

use std::time::Duration;

use lastmile::{
    access::Role,
    time::{Clock as _, SystemClock},
};
use reqwest::{Method, Response, StatusCode};
use serde_json::Value;

use crate::http_kit::{Holder, LEIGU, QUSHAN, Site, problem};

/// One info block: event, code, severity, words, area.
type Info<'a> = (&'a str, &'a str, &'a str, &'a str, &'a str);

fn cap(identifier: &str, head: &str, infos: &[Info<'_>]) -> String {
    let now = SystemClock.now().whole_seconds();
    let ends = now.plus(Duration::from_secs(3_600)).to_seconds_string();
    let info = |(event, code, severity, headline, area): &Info<'_>| {
        format!(
            "<info><language>zh-CN</language><category>Met</category><event>{event}</event><urgency>Immediate</urgency>\
             <severity>{severity}</severity><certainty>Likely</certainty>\
             <eventCode><valueName>12379</valueName><value>{code}</value></eventCode><expires>{ends}</expires>\
             <headline>{headline}</headline><description>说明</description><instruction>请转移。</instruction>\
             <area><areaDesc>镇</areaDesc><geocode><valueName>CN-ADMIN-12</valueName><value>{area}</value></geocode></area></info>"
        )
    };
    let infos: String = infos.iter().map(info).collect();
    format!(
        "<alert xmlns=\"urn:oasis:names:tc:emergency:cap:1.2\"><identifier>{identifier}</identifier><sender>51072641600000</sender>\
         <sent>{}</sent><status>Actual</status>{head}{infos}</alert>",
        now.to_seconds_string()
    )
}

const FIRST: &str = "<msgType>Alert</msgType><scope>Public</scope>";

async fn post(site: &Site, document: &str, who: &Holder) -> Response {
    let request = site.call(Method::POST, "/v1/alerts", who).header("content-type", "application/cap+xml");
    request.body(document.to_owned()).send().await.expect("an answer")
}

async fn people_of(site: &Site, id: &str, viewer: &Holder) -> u64 {
    site.wait_until_told(id, viewer).await["people"]["targeted"].as_u64().unwrap_or_default()
}

#[tokio::test]
async fn each_thing_that_a_document_says_is_an_alert_with_its_own_area_event_and_level() {
    let site = Site::start().await;
    let (bureau, viewer) = (site.bureau(), site.role(Role::Viewer));
    let wind = ("大风", "11B06", "Minor", "擂鼓镇大风蓝色预警", LEIGU);
    let rain = ("暴雨", "11B03", "Extreme", "曲山镇暴雨红色预警", QUSHAN);
    let document = cap("two", FIRST, &[wind, rain]);
    let answer = post(&site, &document, &bureau).await;
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    let taken: Value = answer.json().await.expect("json");
    let told: Vec<[&str; 3]> = taken["alerts"]
        .as_array()
        .expect("the alerts")
        .iter()
        .map(|one| ["identifier", "event", "level"].map(|name| one[name].as_str().unwrap_or_default()))
        .collect();
    assert_eq!(told, [["two", "11B03", "red"], ["two.part2", "11B06", "blue"]]);
    assert_eq!(taken["id"], taken["alerts"][0]["id"], "the most severe stands first");
    for (place, code) in [(0, QUSHAN), (1, LEIGU)] {
        let id = taken["alerts"][place]["id"].as_str().expect("an id");
        let seen = site.get(&format!("/v1/alerts/{id}"), &viewer).await;
        assert_eq!(seen["alert"]["areas"][0]["codes"][0].as_str(), Some(code), "{seen}");
        assert!(people_of(&site, id, &viewer).await > 0);
    }
    let again = post(&site, &document, &bureau).await;
    assert_eq!(again.status(), StatusCode::OK);
    let again: Value = again.json().await.expect("json");
    let ids = |answer: &Value| answer["alerts"].as_array().expect("alerts").iter().map(|one| one["id"].clone()).collect::<Vec<_>>();
    assert_eq!(ids(&again), ids(&taken));
    let other = document.replace("擂鼓镇大风蓝色预警", "擂鼓镇大风预警");
    assert_eq!(post(&site, &other, &bureau).await.status(), StatusCode::CONFLICT, "also where a part that is not the first differs");
    site.stop().await;
}

#[tokio::test]
async fn a_fault_of_one_part_refuses_all_and_a_part_of_another_county_is_left_out() {
    let site = Site::start().await;
    let bureau = site.bureau();
    let rain = ("暴雨", "11B03", "Extreme", "曲山镇暴雨红色预警", QUSHAN);
    let slide = ("滑坡", "11D01", "Severe", "擂鼓镇滑坡橙色预警", LEIGU);
    let refused = post(&site, &cap("forbidden", FIRST, &[rain, slide]), &bureau).await;
    let told = problem(refused).await;
    let faults = told["problems"].as_array().expect("problems");
    assert_eq!((faults[0]["path"].as_str(), faults[0]["rule"].as_str()), (Some("info[1].event"), Some("event-not-allowed")), "{told}");
    assert_eq!(site.get("/v1/alerts", &site.role(Role::Viewer)).await["items"].as_array().map(Vec::len), Some(0), "nothing was taken");
    let far = ("大风", "11B06", "Minor", "江油大风蓝色预警", "510781");
    let answer = post(&site, &cap("partly", FIRST, &[far, rain]), &bureau).await;
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    let taken: Value = answer.json().await.expect("json");
    assert!(taken.get("alerts").is_none() && taken["identifier"] == "partly", "{taken}");
    let rules: Vec<&str> = taken["warnings"].as_array().expect("warnings").iter().filter_map(|one| one["rule"].as_str()).collect();
    assert!(rules.contains(&"part-elsewhere"), "{rules:?}");
    site.stop().await;
}
