//! Holds that no address ignores what it is asked: words that are not known, and names that are not, are refused with those that are.
//! The addresses and their words are read out of the description, so a new one is asked too.

use lastmile::access::Role;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::http_kit::{LEIGU, Site, problem, rainstorm};

#[tokio::test]
async fn what_an_address_does_not_know_is_refused_with_what_it_knows() {
    let site = Site::start().await;
    let (bureau, admin, viewer) = (site.bureau(), site.role(Role::Admin), site.role(Role::Viewer));
    let id = site.accepted(&rainstorm(1, &[LEIGU]), &bureau).await;
    site.wait_until_told(&id, &viewer).await;
    let description: Value = site.plain(Method::GET, "/openapi.json").send().await.expect("an answer").json().await.expect("json");
    let ask = async |path: &str, query: &str| site.call(Method::GET, &format!("{path}?{query}"), &admin).send().await.expect("an answer");
    let refused = async |path: &str, query: &str, field: &str, rule: &str, known: &str| {
        let answer = ask(path, query).await;
        assert_eq!(answer.status(), StatusCode::UNPROCESSABLE_ENTITY, "{path}?{query}");
        let told = problem(answer).await;
        assert_eq!(told["type"], "/problems/invalid-query", "{path}?{query}");
        let fault = told["problems"].as_array().expect("faults").iter().find(|fault| fault["path"] == field).cloned().expect("the field");
        assert_eq!(fault["rule"], rule, "{path}?{query}");
        assert!(fault["message"].as_str().is_some_and(|message| message.contains(known)), "{path}?{query}: {fault}");
    };
    let (mut asked, mut words_asked) = (0, 0);
    for (pattern, item) in description["paths"].as_object().expect("paths") {
        let reads = item.get("get").filter(|_| pattern.starts_with("/v1/") && !pattern.contains("/callbacks/"));
        let Some(operation) = reads.filter(|_| !pattern.ends_with("/events") && pattern != "/v1/backup") else { continue };
        let path = match pattern.as_str() {
            "/v1/{kind}/{id}" => format!("/v1/areas/{LEIGU}"),
            other => other.replace("{kind}", "subscribers").replace("{report}", "report.json").replace("{id}", &id),
        };
        let parameters: Vec<&Value> =
            operation["parameters"].as_array().into_iter().flatten().filter(|parameter| parameter["in"] == "query").collect();
        let first = parameters.first().and_then(|first| first["name"].as_str()).unwrap_or("nothing");
        refused(&path, "no_such_name=1", "no_such_name", "unknown-parameter", first).await;
        asked += 1;
        for parameter in parameters {
            let name = parameter["name"].as_str().expect("a name");
            let Some(words) = parameter["schema"]["enum"].as_array() else { continue };
            let last = words.last().and_then(Value::as_str).expect("words");
            refused(&path, &format!("{name}=rot"), name, "unknown-word", last).await;
            for word in words {
                let query = format!("{name}={}", word.as_str().expect("a word"));
                assert_eq!(ask(&path, &query).await.status(), StatusCode::OK, "{path}?{query}");
                words_asked += 1;
            }
        }
    }
    assert!(asked > 15 && words_asked > 25, "{asked} addresses, {words_asked} words");
    // What the contract names, each with a value that fits or does not.
    for (path, query, rows) in [
        ("/v1/alerts".to_owned(), "level=red&event=11B03&state=&limit=5", true),
        ("/v1/alerts".to_owned(), "level=blue", false),
        (format!("/v1/alerts/{id}/deliveries"), "channel=sms&role=household&limit=1000", true),
        (format!("/v1/alerts/{id}/deliveries"), "channel=speaker", false),
        (format!("/v1/alerts/{id}/calls"), "state=waiting", true),
        (format!("/v1/alerts/{id}/calls"), "state=exhausted", false),
    ] {
        let page = site.get(&format!("{path}?{query}"), &admin).await;
        assert_eq!(page["items"].as_array().is_some_and(|items| !items.is_empty()), rows, "{path}?{query}: {page}");
    }
    // Every list is had page by page, with nothing left out.
    let calls = format!("/v1/alerts/{id}/calls");
    let whole = site.get(&calls, &admin).await["items"].as_array().expect("a list").len();
    let first = site.get(&format!("{calls}?limit=1"), &admin).await;
    assert_eq!((first["items"].as_array().map(Vec::len), &first["next"]), (Some(1), &Value::from("1")), "{first}");
    let rest = site.get(&format!("{calls}?limit=1000&cursor=1"), &admin).await;
    assert_eq!((rest["items"].as_array().map(Vec::len), &rest["next"]), (Some(whole - 1), &Value::Null), "{rest}");
    for path in ["/v1/devices", "/v1/accounts", "/v1/relays", "/v1/help", "/v1/alarms", "/v1/sessions", "/v1/alerts/waiting"] {
        assert_eq!(ask(path, "limit=1&lang=en").await.status(), StatusCode::OK, "{path}");
        assert_eq!(ask(path, "limit=1001").await.status(), StatusCode::BAD_REQUEST, "{path}");
    }
    // Reports are in the language that is asked for.
    assert_eq!(ask(&format!("/v1/alerts/{id}/report.html"), "lang=en").await.status(), StatusCode::OK);
    assert_eq!(ask("/v1/audit", "limit=5000").await.status(), StatusCode::BAD_REQUEST);
    // Far ends add what they like.
    let open = site.plain(Method::GET, "/v1/callbacks/sms/line/status?no_such_name=1").send().await.expect("an answer");
    assert_ne!(open.status(), StatusCode::UNPROCESSABLE_ENTITY);
    site.stop().await;
}
