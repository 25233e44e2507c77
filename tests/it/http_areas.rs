//! What a source's codes, names and maps mean: told where they agree, translated where the county says how, held where only a person knows.

use lastmile::access::Role;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::http_kit::{Site, rainstorm};

fn named(number: u32, name: &str, code: &str) -> Value {
    let mut alert = rainstorm(number, &[code]);
    alert["areas"][0]["name"] = name.into();
    alert
}

#[tokio::test(flavor = "multi_thread")]
async fn a_town_whose_name_is_not_that_of_its_code_waits_for_a_person() {
    let site = Site::start().await;
    let (met, chief) = (site.bureau(), site.role(Role::Approver));
    // In the table of civil affairs 510726104 is Yong'an; in the statistics table it is Tongquan.
    let answer = site.post(&named(1, "永安镇", "510726104"), &met).await;
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    let body: Value = answer.json().await.expect("json");
    assert_eq!((&body["state"], &body["warnings"][0]["rule"]), (&json!("held"), &json!("area-name-mismatch")), "{body}");
    let id = body["id"].as_str().expect("an id");
    let view = site.get(&format!("/v1/alerts/{id}"), &chief).await;
    assert!(view["doubts"][0].as_str().is_some_and(|doubt| doubt.contains("通泉镇") && doubt.contains("永安镇")), "{view}");
    let approved = site.call(Method::POST, &format!("/v1/alerts/{id}/approve"), &chief).send().await.expect("an answer");
    assert_eq!(approved.status(), StatusCode::OK);
    let told = site.wait_until_told(id, &chief).await;
    assert!(told["people"]["targeted"].as_u64() > Some(0), "{told}");
    let right = site.accepted(&named(2, "通泉镇", "510726104"), &met).await;
    site.wait_until_told(&right, &chief).await;
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn codes_of_another_table_and_codes_given_up_mean_the_place_of_today() {
    let table = "code,name\n510726104,永安镇\n510726105,永昌镇\n";
    let site = Site::of_source("none", "code_table = \"civil.csv\"", &[("civil.csv", table)]).await;
    let (met, duty) = (site.bureau(), site.role(Role::Duty));
    let id = site.accepted(&named(1, "永安镇", "510726104000"), &met).await;
    let view = site.get(&format!("/v1/alerts/{id}"), &duty).await;
    assert_eq!(view["alert"]["areas"][0]["codes"], json!(["510726105"]), "{view}");
    // Beichuan's code of 1982 to 1985.
    let answer = site.post(&named(2, "北川县", "512831"), &met).await;
    let body: Value = answer.json().await.expect("json");
    assert!(body["warnings"].as_array().is_some_and(|list| list.iter().any(|warning| warning["rule"] == "obsolete-code")), "{body}");
    let view = site.get(&format!("/v1/alerts/{}", body["id"].as_str().expect("an id")), &duty).await;
    assert_eq!(view["alert"]["areas"][0]["codes"], json!(["510726"]), "{view}");
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_drawn_on_a_web_map_is_brought_to_where_it_was_meant() {
    let site = Site::of_source("none", "datum = \"gcj02\"", &[]).await;
    let (met, duty) = (site.bureau(), site.role(Role::Duty));
    let mut alert = rainstorm(1, &[]);
    let ring = json!([[[103.9, 31.5], [104.9, 31.5], [104.9, 32.3], [103.9, 32.3], [103.9, 31.5]]]);
    alert["areas"] = json!([{ "name": "北川", "geometry": { "type": "Polygon", "coordinates": ring } }]);
    let id = site.accepted(&alert, &met).await;
    let view = site.get(&format!("/v1/alerts/{id}"), &duty).await;
    let kept = view["alert"]["areas"][0]["geometry"]["coordinates"][0][0].clone();
    let (lon, lat) = (kept[0].as_f64().expect("lon"), kept[1].as_f64().expect("lat"));
    // The shift in Sichuan is some 250 m east and 260 m south to north.
    let metres = ((lon - 103.9) * 94_500.0).hypot((lat - 31.5) * 110_900.0);
    assert!((200.0..800.0).contains(&metres), "{metres} m");
    // Posted again it is the same alert, not moved twice.
    assert_eq!(site.post(&alert, &met).await.status(), StatusCode::OK);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_that_names_its_codes_otherwise_is_understood_once_the_county_says_so() {
    let cap = |number: u32| {
        let alert = lastmile::alert::json::from_value(&rainstorm(number, &["510726104"])).expect("an alert");
        lastmile::alert::cap::write(&alert).replace("CN-ADMIN-12", "Sichuan Division Code")
    };
    for (tables, expected) in
        [("", StatusCode::UNPROCESSABLE_ENTITY), ("[cap]\narea_value_names = [\"Sichuan Division Code\"]\n", StatusCode::ACCEPTED)]
    {
        let site = Site::at(crate::http_kit::new_home(), "none", tables).await;
        let post = site.call(Method::POST, "/v1/alerts", &site.bureau()).header("content-type", "application/cap+xml").body(cap(1));
        let answer = post.send().await.expect("an answer");
        let status = answer.status();
        assert_eq!(status, expected, "{}", answer.text().await.unwrap_or_default());
        site.stop().await;
    }
}
