//! Owns the tests of what each role is shown of a person and a group, column by column, in every way that shows it.

use lastmile::access::Role;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::http_kit::{Holder, LEIGU, Site, problem, rainstorm};

const PERSON: &str = "/v1/subscribers/mask-1";
const GROUP: &str = "/v1/endpoints/mask-group";
const ROBOT: &str = "https://robots.example/send?key=5f0c27aa91BBBB";

fn person() -> Value {
    json!({
        "id": "mask-1", "area": "510726101201", "name": "欧阳砚秋", "role": "village_leader", "phone": "13955501201",
        "email": "yanqiu@v.example", "wecom": "ouyang-yq", "openid": "oABCD1234", "lon": 104.456_789, "lat": 31.834_567,
        "people": 3, "needs": "透析", "language": "zh-CN"
    })
}

async fn put(site: &Site, path: &str, holder: &Holder, record: &Value) -> reqwest::Response {
    site.call(Method::PUT, path, holder).json(record).send().await.expect("an answer")
}

async fn text(site: &Site, path: &str, holder: &Holder) -> String {
    site.call(Method::GET, path, holder).send().await.expect("an answer").text().await.expect("a body")
}

async fn planted() -> (Site, Holder) {
    let site = Site::start().await;
    let admin = site.role(Role::Admin);
    assert_eq!(put(&site, PERSON, &admin, &person()).await.status(), StatusCode::OK);
    let group = json!({ "id": "mask-group", "area": "510726101", "kind": "wecom_robot", "name": "擂鼓镇群", "address": ROBOT });
    assert_eq!(put(&site, GROUP, &admin, &group).await.status(), StatusCode::OK);
    (site, admin)
}

#[tokio::test]
async fn each_role_sees_each_class_of_column_as_it_may() {
    let (site, admin) = planted().await;
    let masked = json!({
        "name": "欧阳某", "phone": "139******01", "email": "y***@v.example", "wecom": "…g-yq", "openid": "…1234", "lon": 104.46, "lat": 31.83,
        "needs": null
    });
    for (role, is_whole) in [(Role::Admin, true), (Role::Duty, true), (Role::Approver, false), (Role::Viewer, false), (Role::System, false)]
    {
        let holder = if role == Role::Admin { &admin } else { &site.role(role) };
        let listed = site.get("/v1/subscribers?q=mask-1", holder).await["items"][0].clone();
        for seen in [site.get(PERSON, holder).await, listed] {
            for (column, form) in masked.as_object().expect("columns") {
                let wanted = if is_whole { &person()[column] } else { form };
                assert_eq!(&seen[column], wanted, "{column} for {role}");
            }
            assert_eq!((&seen["id"], &seen["people"]), (&json!("mask-1"), &json!(3)), "{role}");
        }
        assert_eq!(site.get(GROUP, holder).await["address"], "…BBBB", "the key of a group is shown to nobody, so not to {role}");
        let by_number = site.get("/v1/subscribers?q=13955501201", holder).await;
        assert_eq!(by_number["items"].as_array().map(Vec::len), Some(usize::from(is_whole)), "by number for {role}");
    }
    let bureau = site.call(Method::GET, PERSON, &site.bureau()).send().await.expect("an answer");
    assert_eq!(bureau.status(), StatusCode::FORBIDDEN);
    site.stop().await;
}

#[tokio::test]
async fn what_was_read_masked_never_overwrites_what_it_stands_for() {
    let (site, admin) = planted().await;
    let system = site.role(Role::System);
    // A system sends whole records and gets masked ones back.
    let mut record = person();
    record["people"] = json!(5);
    let answer = put(&site, PERSON, &system, &record).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.json::<Value>().await.expect("json")["name"], "欧阳某");
    let refused = put(&site, PERSON, &system, &site.get(PERSON, &system).await).await;
    assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let text = problem(refused).await.to_string();
    for column in ["name", "phone", "email", "wecom", "openid"] {
        assert!(text.contains(&format!("\"path\":\"{column}\"")), "{column} is not named: {text}");
    }
    assert_eq!(site.get(PERSON, &admin).await["email"], "yanqiu@v.example");
    // Nobody reads a group's address, so that it is sent back masked says that it stays.
    let mut group = site.get(GROUP, &admin).await;
    group["name"] = json!("擂鼓镇干部群");
    assert_eq!(put(&site, GROUP, &admin, &group).await.status(), StatusCode::OK);
    let kept = site.app.gateway.snapshot();
    let kept = kept.endpoint_by_id("mask-group").expect("kept");
    assert_eq!((kept.name(), kept.address()), ("擂鼓镇干部群", ROBOT));
    site.stop().await;
}

#[tokio::test]
async fn names_of_people_told_are_masked_and_a_bureaus_preview_names_nobody() {
    let (site, admin) = planted().await;
    let silent = json!({ "id": "mask-2", "area": "510726101201", "name": "司徒望舒", "role": "village_leader" });
    assert_eq!(put(&site, "/v1/subscribers/mask-2", &admin, &silent).await.status(), StatusCode::OK);
    let (bureau, duty) = (site.bureau(), site.role(Role::Duty));
    let id = site.accepted(&rainstorm(1, &[LEIGU]), &bureau).await;
    site.wait_until_told(&id, &duty).await;
    let others = [site.role(Role::Viewer), site.role(Role::Approver), site.role(Role::System)];
    for what in ["deliveries?limit=1000", "calls", "report.json", "report.csv"] {
        let path = format!("/v1/alerts/{id}/{what}");
        assert!(text(&site, &path, &duty).await.contains("欧阳砚秋"), "{what} for duty");
        for holder in &others {
            let text = text(&site, &path, holder).await;
            assert!(!text.contains("欧阳砚秋") && text.contains("欧阳某"), "{what}");
        }
        assert!(!text(&site, &path, &bureau).await.contains("欧阳砚秋"), "{what} for a bureau");
    }
    let body = rainstorm(2, &[LEIGU]).to_string();
    for (holder, names) in [(&bureau, None), (&duty, Some("司徒望舒")), (&others[1], Some("司徒某"))] {
        let request = site.call(Method::POST, "/v1/alerts/preview", holder).header("content-type", "application/json").body(body.clone());
        let seen: Value = request.send().await.expect("an answer").json().await.expect("json");
        let listed = seen["without_channel"].as_array().expect("a list");
        assert!(seen["unreachable"].as_u64() >= Some(1));
        let name = listed.iter().find(|person| person["id"] == "mask-2").and_then(|person| person["name"].as_str());
        assert_eq!(name, names);
        assert!(names.is_some() || listed.is_empty(), "{seen}");
    }
    site.stop().await;
}
