//! Owns the tests of who may say what, over real HTTP: each refusal with its own type, codes and shapes beyond a source's areas.

use lastmile::access::Role;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::http_kit::{COUNTY, Holder, LEIGU, QUSHAN, Site, problem, rainstorm};

/// A bureau of one township, which speaks in the county's name.
const TOWNSHIP: &str = "areas = [\"510726101\"]\napproval = \"{approval}\"";
const WHOLE: &str = "areas = [\"510726\"]\napproval = \"{approval}\"";

fn with(number: u32, area: &str, changes: &[(&str, Value)]) -> Value {
    let mut alert = rainstorm(number, &[area]);
    for (field, value) in changes {
        alert[*field] = value.clone();
    }
    alert
}

async fn refusal(site: &Site, who: &Holder, alert: &Value) -> (u16, String, Vec<String>) {
    let answer = site.post(alert, who).await;
    let status = answer.status().as_u16();
    let told = problem(answer).await;
    let rules = told["problems"].as_array().expect("a list").iter().filter_map(|fault| fault["rule"].as_str().map(str::to_owned));
    (status, told["type"].as_str().expect("a type").trim_start_matches("/problems/").to_owned(), rules.collect())
}

#[tokio::test]
async fn each_thing_that_a_source_may_not_say_has_its_own_type() {
    let site = Site::changed(&[(WHOLE, TOWNSHIP)]).await;
    let (met, land) = (site.bureau(), site.key("land-bureau", Role::Bureau, Some("land"), &[]));
    let lost = site.key("lost", Role::Bureau, Some("nobody"), &[]);
    let landslide = |changes: &[(&str, Value)]| {
        let base = [("sender", json!("51072641700000")), ("event", json!("11D01"))];
        with(1, LEIGU, &[&base[..], changes].concat())
    };
    let cases = [
        (&met, with(1, LEIGU, &[("sender", json!("51072641700000"))]), "sender-not-allowed"),
        (&met, with(1, LEIGU, &[("event", json!("11D01"))]), "event-not-allowed"),
        (&land, landslide(&[("level", json!("yellow"))]), "level-not-allowed"),
        (&met, with(1, QUSHAN, &[]), "area-not-allowed"),
        (&met, with(1, COUNTY, &[]), "area-not-allowed"),
    ];
    for (who, alert, kind) in cases {
        let (status, told, rules) = refusal(&site, who, &alert).await;
        assert_eq!((status, told.as_str(), rules), (403, kind, vec![kind.to_owned()]));
    }
    assert_eq!(refusal(&site, &lost, &with(1, LEIGU, &[])).await, (403, "no-source".into(), Vec::new()));
    // Several rights are missing: all are listed, the first names the type.
    let several = with(1, QUSHAN, &[("sender", json!("51072641700000")), ("event", json!("11D01"))]);
    let (status, kind, rules) = refusal(&site, &met, &several).await;
    assert_eq!((status, kind.as_str()), (403, "sender-not-allowed"));
    assert_eq!(rules, ["sender-not-allowed", "event-not-allowed", "area-not-allowed"]);
    // It is also wrong in itself: then that is what it is refused for, and nothing is left out.
    let (status, kind, rules) = refusal(&site, &met, &with(1, QUSHAN, &[("sent", json!("2199-01-01T00:00:00+08:00"))])).await;
    assert_eq!((status, kind.as_str()), (422, "invalid-alert"), "{rules:?}");
    let expired = with(
        1,
        QUSHAN,
        &[
            ("sent", json!("2026-01-01T00:00:00+08:00")),
            ("effective", json!("2026-01-01T00:00:00+08:00")),
            ("expires", json!("2026-01-01T06:00:00+08:00")),
        ],
    );
    let (status, kind, rules) = refusal(&site, &met, &expired).await;
    assert_eq!((status, kind.as_str()), (422, "invalid-alert"));
    assert_eq!(rules, ["area-not-allowed", "expired"]);
    site.stop().await;
}

#[tokio::test]
async fn a_key_that_nobody_has_is_told_apart_from_none() {
    let site = Site::start().await;
    let bureau = site.bureau();
    let alert = rainstorm(1, &[LEIGU]);
    let none = site.plain(Method::POST, "/v1/alerts").json(&alert).send().await.expect("an answer");
    assert_eq!(none.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(problem(none).await["type"], "/problems/unauthorized");
    assert_eq!(refusal(&site, &Holder("lm_wrong".into()), &alert).await, (401, "wrong-key".into(), Vec::new()));
    site.app.access.revoke_key("met-bureau").expect("revoked");
    assert_eq!(refusal(&site, &bureau, &alert).await.1, "wrong-key");
    let described: Value = site.plain(Method::GET, "/openapi.json").send().await.expect("an answer").json().await.expect("json");
    let types = described["components"]["schemas"]["problem"]["properties"]["type"]["enum"].as_array().expect("types").clone();
    for kind in types.iter().filter_map(Value::as_str) {
        let page = site.plain(Method::GET, &format!("{kind}?lang=zh")).send().await.expect("an answer");
        assert_eq!(page.status(), StatusCode::OK, "{kind}");
    }
    assert!(types.contains(&json!("/problems/wrong-key")) && types.contains(&json!("/problems/replayed")), "{types:?}");
    site.stop().await;
}

#[tokio::test]
async fn whoever_posted_an_alert_cannot_approve_it() {
    let site = Site::with_approval("always").await;
    let met = site.owned_key("met-bureau", Role::Bureau, Some("met"), "zhao");
    let id = site.accepted(&rainstorm(1, &[LEIGU]), &met).await;
    let path = format!("/v1/alerts/{id}/approve");
    let own = site.owned_key("zhao-approves", Role::Approver, None, "zhao");
    let namesake = site.key("zhao", Role::Approver, None, &[]);
    for same in [&own, &namesake] {
        let refused = site.call(Method::POST, &path, same).send().await.expect("an answer");
        assert_eq!(refused.status(), StatusCode::FORBIDDEN, "another key of the person who posted");
        assert_eq!(problem(refused).await["type"], "/problems/same-person");
    }
    let other = site.owned_key("qian-approves", Role::Approver, None, "qian");
    assert_eq!(site.status(Method::POST, &path, &other).await, StatusCode::OK);
    // A later decision does not hide the earlier one.
    let duty = site.role(Role::Duty);
    let cancel = site.call(Method::POST, &format!("/v1/alerts/{id}/cancel"), &duty).json(&json!({ "reason": "雨停了" }));
    assert_eq!(cancel.send().await.expect("an answer").status(), StatusCode::OK);
    let site = site.restarted().await;
    let seen = site.get(&format!("/v1/alerts/{id}"), &duty).await;
    assert_eq!((&seen["approved_by"], &seen["cancelled_by"]), (&json!("qian-approves"), &json!("duty")), "{seen}");
    let admin = site.key("chief", Role::Admin, Some("met"), &[]);
    assert_eq!(site.post(&rainstorm(2, &[LEIGU]), &admin).await.status(), StatusCode::FORBIDDEN, "who makes keys posts nothing");
    site.stop().await;
}

/// A shape around the villages of these townships.
async fn around(site: &Site, who: &Holder, townships: &[&str]) -> Value {
    let mut places: Vec<[f64; 2]> = Vec::new();
    for township in townships {
        let page = site.get(&format!("/v1/areas?area={township}&limit=1000"), who).await;
        for village in
            page["items"].as_array().expect("a list").iter().filter(|area| area["code"].as_str().is_some_and(|code| code.len() == 12))
        {
            places.extend(village["lon"].as_f64().zip(village["lat"].as_f64()).map(|(lon, lat)| [lon, lat]));
        }
    }
    assert!(!places.is_empty(), "villages with coordinates");
    let bound = |axis: usize, better: fn(f64, f64) -> f64| places.iter().map(|place| place[axis]).reduce(better).expect("places");
    let (west, east, south, north) = (bound(0, f64::min), bound(0, f64::max), bound(1, f64::min), bound(1, f64::max));
    let margin = 0.001;
    let (west, east, south, north) = (west - margin, east + margin, south - margin, north + margin);
    json!([{ "name": "x", "geometry": { "type": "Polygon", "coordinates": [[[west, south], [east, south], [east, north], [west, north], [west, south]]] } }])
}

#[tokio::test]
async fn a_shape_that_touches_areas_of_others_is_refused_and_whoever_has_the_county_may_draw_beyond_it() {
    let site = Site::changed(&[(WHOLE, TOWNSHIP)]).await;
    let (met, viewer) = (site.bureau(), site.role(Role::Viewer));
    let land = site.key("land-bureau", Role::Bureau, Some("land"), &[]);
    let wide = around(&site, &viewer, &[LEIGU, QUSHAN]).await;
    let (status, kind, rules) = refusal(&site, &met, &with(1, LEIGU, &[("areas", wide)])).await;
    assert_eq!((status, kind.as_str(), rules.len()), (403, "area-not-allowed", 1));
    let page = site.get(&format!("/v1/areas?area={LEIGU}&limit=1000"), &viewer).await;
    let village = page["items"].as_array().expect("a list").iter().find(|area| area["code"].as_str().is_some_and(|code| code.len() == 12));
    let centre = village.map(|village| json!([village["lon"], village["lat"]])).expect("a village");
    let circle = |km: f64| json!([{ "name": "x", "circle": { "center": centre, "radius_km": km } }]);
    assert_eq!(refusal(&site, &met, &with(2, LEIGU, &[("areas", circle(60.0))])).await.1, "area-not-allowed");
    site.accepted(&with(3, LEIGU, &[("areas", circle(0.05))]), &met).await;
    // The land bureau speaks for the whole county: a shape far beyond it is its own, as a city's is.
    let beyond = [("areas", circle(400.0)), ("sender", json!("51072641700000")), ("event", json!("11D01"))];
    site.accepted(&with(4, LEIGU, &beyond), &land).await;
    site.stop().await;
}

#[tokio::test]
async fn a_source_cannot_end_what_another_said_for_more_than_its_areas() {
    let shared = ("senders = [\"51072641700000\"]\nevents = [\"11D*\"]", "senders = [\"51072641600000\"]\nevents = [\"11*\"]");
    let site = Site::changed(&[(WHOLE, TOWNSHIP), shared]).await;
    let (met, land) = (site.bureau(), site.key("land-bureau", Role::Bureau, Some("land"), &[]));
    let cancel = |number: u32, of: &Value| {
        let reference = json!([{ "sender": of["sender"], "identifier": of["identifier"], "sent": of["sent"] }]);
        with(number, LEIGU, &[("msgType", json!("Cancel")), ("references", reference)])
    };
    let whole = rainstorm(1, &[COUNTY]);
    site.accepted(&whole, &land).await;
    let (status, kind, _) = refusal(&site, &met, &cancel(2, &whole)).await;
    assert_eq!((status, kind.as_str()), (403, "area-not-allowed"));
    let own = rainstorm(3, &[LEIGU]);
    site.accepted(&own, &land).await;
    site.accepted(&cancel(4, &own), &met).await;
    site.stop().await;
}
