//! Owns the tests of the edge itself: problems, headers, health, description, the answer page, the registry over HTTP.

use lastmile::access::Role;
use reqwest::{Method, StatusCode, multipart};
use serde_json::Value;

use crate::http_kit::{LEIGU, Site, problem, rainstorm};

#[tokio::test]
async fn whatever_is_wrong_with_a_request_is_a_problem_document() {
    let site = Site::start().await;
    let admin = site.role(Role::Admin);
    let wrong = [
        (Method::GET, "/nothing/here", StatusCode::NOT_FOUND),
        (Method::GET, "/v1/alerts/not-an-id", StatusCode::NOT_FOUND),
        (Method::DELETE, "/v1/alerts", StatusCode::METHOD_NOT_ALLOWED),
        (Method::GET, "/v1/unknown-kind", StatusCode::NOT_FOUND),
        (Method::GET, "/v1/subscribers/%ff", StatusCode::BAD_REQUEST),
        (Method::POST, "/v1/registry/import", StatusCode::BAD_REQUEST),
        (Method::POST, "/a/nobody", StatusCode::NOT_FOUND),
    ];
    for (method, path, status) in wrong {
        let answer = site.call(method.clone(), path, &admin).send().await.expect("an answer");
        assert_eq!(answer.status(), status, "{method} {path}");
        problem(answer).await;
    }
    site.stop().await;
}

#[tokio::test]
async fn the_gateway_says_that_it_lives_is_ready_and_what_it_counts() {
    let site = Site::start().await;
    let bureau = site.bureau();
    for path in ["/healthz", "/readyz"] {
        assert_eq!(site.plain(Method::GET, path).send().await.expect("an answer").status(), StatusCode::OK, "{path}");
    }
    site.accepted(&rainstorm(1, &[LEIGU]), &bureau).await;
    let text = site.plain(Method::GET, "/metrics").send().await.expect("an answer").text().await.expect("a body");
    assert!(text.contains("lastmile_alerts_accepted_total{"), "{text}");
    assert!(text.contains("route=\"/v1/alerts\"") && !text.contains("lm_"), "{text}");
    site.stop().await;
}

#[tokio::test]
async fn every_route_is_described_and_every_described_one_exists() {
    let site = Site::start().await;
    let document: Value = site.plain(Method::GET, "/openapi.json").send().await.expect("an answer").json().await.expect("json");
    let paths = document["paths"].as_object().expect("paths");
    for (path, methods) in paths {
        let filled = path.replace("{kind}", "subscribers").replace(['{', '}'], "");
        for method in methods.as_object().expect("methods").keys() {
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).expect("a method");
            let answer = site.plain(method.clone(), &filled).send().await.expect("an answer");
            assert_ne!(answer.status(), StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
            let text = answer.text().await.expect("a body");
            assert!(!text.contains("there is nothing at this address"), "{method} {path}");
        }
    }
    let router = include_str!("../../src/http/mod.rs");
    let routes: Vec<&str> = router.split(".route(\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(routes.len() > 30, "the router's routes are found: {routes:?}");
    for path in routes {
        assert!(paths.contains_key(path), "{path} is not described");
    }
    site.stop().await;
}

#[tokio::test]
async fn records_are_read_changed_removed_and_imported_all_or_nothing() {
    let site = Site::start().await;
    let (system, viewer) = (site.role(Role::System), site.role(Role::Viewer));
    let page = site.get(&format!("/v1/subscribers?area={LEIGU}&limit=1"), &system).await;
    let id = page["items"][0]["id"].as_str().expect("an id").to_owned();
    let path = format!("/v1/subscribers/{id}");
    let mut record = site.get(&path, &site.role(Role::Duty)).await;
    record.as_object_mut().expect("a record").remove("opted_out");
    record["name"] = "王小明".into();
    assert_eq!(site.call(Method::PUT, &path, &viewer).json(&record).send().await.expect("an answer").status(), StatusCode::FORBIDDEN);
    let put = site.call(Method::PUT, &path, &system).json(&record).send().await.expect("an answer");
    let status = put.status();
    assert_eq!(status, StatusCode::OK, "{}", put.text().await.expect("a body"));
    assert_eq!(site.get(&path, &site.role(Role::Admin)).await["name"], "王小明");
    assert_eq!(site.status(Method::DELETE, &path, &system).await, StatusCode::NO_CONTENT);
    assert_eq!(site.status(Method::GET, &path, &viewer).await, StatusCode::NOT_FOUND);
    let import = async |text: &str, query: &str| {
        let part = multipart::Part::bytes(text.as_bytes().to_vec()).file_name("subscribers.csv");
        let form = multipart::Form::new().part("file", part);
        site.call(Method::POST, &format!("/v1/registry/import{query}"), &system).multipart(form).send().await.expect("an answer")
    };
    let good = "id,area,name,role,phone\nnew-1,510726101,赵一,household,13800000001\n";
    assert_eq!(import(good, "?dry_run=1").await.status(), StatusCode::OK);
    assert_eq!(site.status(Method::GET, "/v1/subscribers/new-1", &viewer).await, StatusCode::NOT_FOUND);
    let bad = format!("{good}new-2,999999999,钱二,household,12\nnew-3,,孙三,household,13800000003\n");
    let refused = import(&bad, "").await;
    assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let faults = problem(refused).await["problems"].clone();
    assert!(faults.as_array().is_some_and(|list| list.len() >= 2), "{faults}");
    assert_eq!(site.status(Method::GET, "/v1/subscribers/new-1", &viewer).await, StatusCode::NOT_FOUND);
    assert_eq!(import(good, "").await.status(), StatusCode::OK);
    assert_eq!(site.status(Method::GET, "/v1/subscribers/new-1", &viewer).await, StatusCode::OK);
    assert_eq!(site.get("/v1/registry/check", &viewer).await, serde_json::json!([]), "nothing is odd in a county that is made up");
    let far = "id,area,name,role,phone,lon,lat\nfar-1,510726101201,周六,household,13800000006,110.0,31.8\n";
    assert_eq!(import(far, "").await.status(), StatusCode::OK);
    let odd = site.get("/v1/registry/check", &viewer).await;
    assert_eq!((&odd[0]["path"], &odd[0]["rule"]), (&"subscribers far-1".into(), &"far-from-area".into()), "{odd}");
    site.stop().await;
}

#[tokio::test]
async fn a_link_that_is_not_ours_is_not_found_and_looking_never_answers() {
    let site = Site::start().await;
    for method in [Method::GET, Method::POST] {
        let answer = site.plain(method.clone(), "/a/AAAAAAAAAAAAAAAAAAAA").form(&[("choice", "received")]).send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{method}");
        problem(answer).await;
    }
    site.stop().await;
}
