//! Holds who may do what, of which area: every route of the router, asked by nobody, by keys that are good no more, and by every role with and
//! without a limit of area. Invariant: a route without a rule here fails the test, so nobody adds a door without saying for whom.

use std::collections::BTreeSet;

use lastmile::access::{NewKey, Role};
use reqwest::{Method, RequestBuilder, multipart};
use serde_json::{Value, json};

use crate::http_kit::{COUNTY, Holder, LEIGU, PASSWORD, QUSHAN, Site, rainstorm};

/// Who may: what each is answered. `whole/limited` where an area's account is answered otherwise than one without limits.
enum Rule {
    /// In the order of `ROLES`.
    Keys([&'static str; 7]),
    /// The same for everybody, also for who shows nothing.
    Everyone(u16),
    /// For whoever is signed in; a key is none.
    Session { without: u16 },
    /// Proved otherwise than by a key, and held by the test that is named.
    Elsewhere(&'static str),
}

use Rule::{Elsewhere, Everyone, Keys, Session};

/// Two bureaus: of the source `met`, whose alerts these are, and of another.
const ROLES: [&str; 7] = ["admin", "duty", "approver", "viewer", "system", "met", "land"];

/// A is the township of those who are limited, B is another, C the whole county.
struct Objects {
    a: String,
    b: String,
    c: String,
    person_a: String,
    person_b: String,
}

/// Method, route, what fills it and what the object is, body, rule. An alert that is dealt with answers 409 to whoever might have decided it.
type Row = (&'static str, &'static str, fn(&Objects) -> String, Option<&'static str>, Rule);

const LOOK: [&str; 7] = ["200", "200", "200", "200", "200", "200", "404"];
const OF_B: [&str; 7] = ["200/404", "200/404", "200/404", "200/404", "200/404", "200/404", "404"];
const AREA_B: [&str; 7] = ["200/403", "200/403", "200/403", "200/403", "200/403", "200/403", "404"];
const REGISTRY: [&str; 7] = ["200", "200", "200", "200", "200", "403", "403"];
const REGISTRY_B: [&str; 7] = ["200/403", "200/403", "200/403", "200/403", "200/403", "403", "403"];
const RECORD_B: [&str; 7] = ["200/404", "200/404", "200/404", "200/404", "200/404", "403", "403"];
const ANYBODY: [&str; 7] = ["200"; 7];
const OPERATE: [&str; 7] = ["200", "200", "200", "200", "200", "403", "403"];
const REASON: Option<&str> = Some("{\"reason\":\"演练结束\"}");
const SEEN: Option<&str> = Some("{\"answered\":false}");

#[rustfmt::skip]
const ROWS: &[Row] = &[
    ("GET", "/v1/alerts", |_| "/v1/alerts".into(), None, Keys(ANYBODY)),
    ("GET", "/v1/alerts/waiting", |_| "/v1/alerts/waiting".into(), None, Keys(ANYBODY)),
    // No alert at all: whoever may post is told so; what may be posted is held below.
    ("POST", "/v1/alerts", |_| "/v1/alerts".into(), Some("{}"), Keys(["403", "403", "403", "403", "403", "422", "422"])),
    ("POST", "/v1/alerts/preview", |_| "/v1/alerts/preview".into(), Some("{}"), Keys(["422", "422", "422", "403", "403", "422", "422"])),
    ("GET", "/v1/alerts/{id}", |o| format!("/v1/alerts/{}", o.a), None, Keys(LOOK)),
    ("GET", "/v1/alerts/{id}", |o| format!("/v1/alerts/{}", o.b), None, Keys(OF_B)),
    ("GET", "/v1/alerts/{id}", |o| format!("/v1/alerts/{}", o.c), None, Keys(LOOK)),
    ("GET", "/v1/alerts/{id}/cap", |o| format!("/v1/alerts/{}/cap", o.a), None, Keys(LOOK)),
    ("GET", "/v1/alerts/{id}/cap", |o| format!("/v1/alerts/{}/cap", o.b), None, Keys(OF_B)),
    ("GET", "/v1/alerts/{id}/coverage", |o| format!("/v1/alerts/{}/coverage", o.c), None, Keys(LOOK)),
    ("GET", "/v1/alerts/{id}/coverage", |o| format!("/v1/alerts/{}/coverage", o.b), None, Keys(OF_B)),
    ("GET", "/v1/alerts/{id}/coverage", |o| format!("/v1/alerts/{}/coverage?area={LEIGU}", o.c), None, Keys(AREA_B)),
    ("GET", "/v1/alerts/{id}/coverage", |o| format!("/v1/alerts/{}/coverage?area={COUNTY}", o.c), None, Keys(AREA_B)),
    ("GET", "/v1/alerts/{id}/timeliness", |o| format!("/v1/alerts/{}/timeliness", o.b), None, Keys(OF_B)),
    ("GET", "/v1/alerts/{id}/deliveries", |o| format!("/v1/alerts/{}/deliveries", o.c), None, Keys(LOOK)),
    ("GET", "/v1/alerts/{id}/deliveries", |o| format!("/v1/alerts/{}/deliveries", o.b), None, Keys(OF_B)),
    ("GET", "/v1/alerts/{id}/deliveries", |o| format!("/v1/alerts/{}/deliveries?area={LEIGU}", o.c), None, Keys(AREA_B)),
    ("GET", "/v1/alerts/{id}/calls", |o| format!("/v1/alerts/{}/calls", o.c), None, Keys(LOOK)),
    ("GET", "/v1/alerts/{id}/calls", |o| format!("/v1/alerts/{}/calls", o.b), None, Keys(OF_B)),
    ("GET", "/v1/alerts/{id}/calls", |o| format!("/v1/alerts/{}/calls?area={LEIGU}", o.c), None, Keys(AREA_B)),
    ("GET", "/v1/alerts/{id}/events", |o| format!("/v1/alerts/{}/events", o.c), None, Keys(LOOK)),
    ("GET", "/v1/alerts/{id}/events", |o| format!("/v1/alerts/{}/events", o.b), None, Keys(OF_B)),
    ("GET", "/v1/alerts/{id}/{report}", |o| format!("/v1/alerts/{}/report.json", o.c), None, Keys(LOOK)),
    ("GET", "/v1/alerts/{id}/{report}", |o| format!("/v1/alerts/{}/report.csv", o.b), None, Keys(OF_B)),
    ("GET", "/v1/alerts/{id}/{report}", |o| format!("/v1/alerts/{}/report.xlsx", o.b), None, Keys(OF_B)),
    ("GET", "/v1/alerts/{id}/{report}", |o| format!("/v1/alerts/{}/report.html", o.b), None, Keys(OF_B)),
    ("POST", "/v1/alerts/{id}/approve", |o| format!("/v1/alerts/{}/approve", o.a), None, Keys(["409", "403", "409", "403", "403", "403", "403"])),
    ("POST", "/v1/alerts/{id}/approve", |o| format!("/v1/alerts/{}/approve", o.b), None, Keys(["409/404", "403", "409/404", "403", "403", "403", "403"])),
    ("POST", "/v1/alerts/{id}/approve", |o| format!("/v1/alerts/{}/approve", o.c), None, Keys(["409/403", "403", "409/403", "403", "403", "403", "403"])),
    ("POST", "/v1/alerts/{id}/reject", |o| format!("/v1/alerts/{}/reject", o.a), REASON, Keys(["409", "403", "409", "403", "403", "403", "403"])),
    ("POST", "/v1/alerts/{id}/reject", |o| format!("/v1/alerts/{}/reject", o.b), REASON, Keys(["409/404", "403", "409/404", "403", "403", "403", "403"])),
    ("POST", "/v1/alerts/{id}/reject", |o| format!("/v1/alerts/{}/reject", o.c), REASON, Keys(["409/403", "403", "409/403", "403", "403", "403", "403"])),
    ("POST", "/v1/alerts/{id}/cancel", |o| format!("/v1/alerts/{}/cancel", o.a), Some("{}"), Keys(["400", "400", "403", "403", "403", "403", "403"])),
    ("POST", "/v1/alerts/{id}/cancel", |o| format!("/v1/alerts/{}/cancel", o.b), Some("{}"), Keys(["400/404", "400/404", "403", "403", "403", "403", "403"])),
    ("POST", "/v1/alerts/{id}/cancel", |o| format!("/v1/alerts/{}/cancel", o.c), Some("{}"), Keys(["400/403", "400/403", "403", "403", "403", "403", "403"])),
    ("POST", "/v1/alerts/{id}/calls/{subscriber}", |o| format!("/v1/alerts/{}/calls/{}", o.c, o.person_a), SEEN, Keys(["204", "204", "403", "403", "403", "403", "403"])),
    ("POST", "/v1/alerts/{id}/calls/{subscriber}", |o| format!("/v1/alerts/{}/calls/{}", o.c, o.person_b), SEEN, Keys(["204/403", "204/403", "403", "403", "403", "403", "403"])),
    ("GET", "/feed/alerts.atom", |_| "/feed/alerts.atom".into(), None, Keys(ANYBODY)),
    ("GET", "/feed/cap/{file}", |o| format!("/feed/cap/{}.xml", o.a), None, Keys(LOOK)),
    ("GET", "/feed/cap/{file}", |o| format!("/feed/cap/{}.xml", o.b), None, Keys(OF_B)),
    ("POST", "/v1/registry/import", |_| "/v1/registry/import?dry_run=1".into(), Some(FILE), Keys(["200/403", "403", "403", "403", "200/403", "403", "403"])),
    ("GET", "/v1/registry/gaps", |_| "/v1/registry/gaps".into(), None, Keys(REGISTRY)),
    ("GET", "/v1/registry/gaps", |_| format!("/v1/registry/gaps?area={LEIGU}"), None, Keys(REGISTRY_B)),
    ("GET", "/v1/registry/check", |_| "/v1/registry/check".into(), None, Keys(REGISTRY_B)),
    ("GET", "/v1/{kind}", |_| "/v1/subscribers?limit=1".into(), None, Keys(REGISTRY)),
    ("GET", "/v1/{kind}", |_| format!("/v1/subscribers?limit=1&area={LEIGU}"), None, Keys(REGISTRY_B)),
    ("GET", "/v1/{kind}", |_| format!("/v1/endpoints?area={LEIGU}"), None, Keys(REGISTRY_B)),
    ("GET", "/v1/{kind}/{id}", |o| format!("/v1/subscribers/{}", o.person_a), None, Keys(REGISTRY)),
    ("GET", "/v1/{kind}/{id}", |o| format!("/v1/subscribers/{}", o.person_b), None, Keys(RECORD_B)),
    ("GET", "/v1/{kind}/{id}", |_| format!("/v1/areas/{LEIGU}"), None, Keys(RECORD_B)),
    ("PUT", "/v1/{kind}/{id}", |_| "/v1/subscribers/new".into(), Some("{\"area\":\"510726101\"}"), Keys(["422/403", "403", "403", "403", "422/403", "403", "403"])),
    ("PUT", "/v1/{kind}/{id}", |_| "/v1/subscribers/new".into(), Some("{\"area\":\"510726100\"}"), Keys(["422", "403", "403", "403", "422", "403", "403"])),
    // Neither is somebody of another area taken over.
    ("PUT", "/v1/{kind}/{id}", |o| format!("/v1/subscribers/{}", o.person_b), Some("{\"area\":\"510726100\"}"), Keys(["422/403", "403", "403", "403", "422/403", "403", "403"])),
    ("DELETE", "/v1/{kind}/{id}", |_| "/v1/subscribers/nobody".into(), None, Keys(["404", "403", "403", "403", "404", "403", "403"])),
    ("GET", "/v1/sessions", |_| "/v1/sessions".into(), None, Keys(["200/403", "403", "403", "403", "403", "403", "403"])),
    ("DELETE", "/v1/sessions/{user}", |_| "/v1/sessions/nobody".into(), None, Keys(["200/403", "403", "403", "403", "403", "403", "403"])),
    ("GET", "/v1/accounts", |_| "/v1/accounts".into(), None, Keys(OPERATE)),
    ("GET", "/v1/relays", |_| "/v1/relays".into(), None, Keys(OPERATE)),
    ("GET", "/v1/devices", |_| "/v1/devices".into(), None, Keys(OPERATE)),
    ("GET", "/v1/devices", |_| format!("/v1/devices?area={LEIGU}"), None, Keys(REGISTRY_B)),
    ("GET", "/v1/alarms", |_| "/v1/alarms".into(), None, Keys(["200", "200", "403", "403", "403", "403", "403"])),
    ("POST", "/v1/alarms/{id}/acknowledge", |_| "/v1/alarms/0/acknowledge".into(), None, Keys(["404", "404", "403", "403", "403", "403", "403"])),
    ("GET", "/v1/help", |_| "/v1/help".into(), None, Keys(["200", "200", "403", "403", "403", "403", "403"])),
    ("POST", "/v1/help/{id}", |_| "/v1/help/0".into(), Some("{\"state\":\"taken\"}"), Keys(["404", "404", "403", "403", "403", "403", "403"])),
    ("GET", "/v1/audit", |_| "/v1/audit".into(), None, Keys(["200/403", "403", "403", "403", "403", "403", "403"])),
    ("GET", "/v1/people/{id}", |o| format!("/v1/people/{}", o.person_a), None, Keys(["200/403", "403", "403", "403", "403", "403", "403"])),
    ("DELETE", "/v1/people/{id}", |_| "/v1/people/nobody?reason=x".into(), None, Keys(["404/403", "403", "403", "403", "403", "403", "403"])),
    // Whoever takes somebody out says why.
    ("GET", "/v1/people/{id}/export", |o| format!("/v1/people/{}/export", o.person_b), None, Keys(["400/403", "403", "403", "403", "403", "403", "403"])),
    ("GET", "/metrics", |_| "/metrics".into(), None, Keys(["200", "200", "403", "403", "200", "403", "403"])),
    ("GET", "/v1/backup", |_| "/v1/backup".into(), None, Keys(["200/403", "403", "403", "403", "403", "403", "403"])),
    ("POST", "/v1/journal/{month}/drop", |_| "/v1/journal/2001-01/drop".into(), None, Keys(["404/403", "403", "403", "403", "403", "403", "403"])),
    ("GET", "/a/{token}", |_| "/a/nobody".into(), None, Everyone(404)),
    ("POST", "/a/{token}", |_| "/a/nobody".into(), None, Everyone(404)),
    ("GET", "/v1/callbacks/{kind}/{channel}", |_| String::new(), None, Elsewhere("each far end shows its own secret; its driver's tests")),
    ("POST", "/v1/callbacks/{kind}/{channel}", |_| String::new(), None, Elsewhere("as above")),
    ("GET", "/v1/callbacks/{kind}/{channel}/{what}", |_| String::new(), None, Elsewhere("as above")),
    ("POST", "/v1/callbacks/{kind}/{channel}/{what}", |_| String::new(), None, Elsewhere("as above")),
    ("GET", "/healthz", |_| "/healthz".into(), None, Everyone(200)),
    ("GET", "/readyz", |_| "/readyz".into(), None, Everyone(200)),
    ("GET", "/openapi.json", |_| "/openapi.json".into(), None, Everyone(200)),
    ("GET", "/", |_| "/".into(), None, Session { without: 303 }),
    ("GET", "/alerts", |_| "/alerts".into(), None, Session { without: 401 }),
    ("GET", "/alerts/{id}", |o| format!("/alerts/{}", o.a), None, Session { without: 303 }),
    ("GET", "/alerts/{id}/live", |o| format!("/alerts/{}/live", o.a), None, Session { without: 401 }),
    ("GET", "/sign-in", |_| "/sign-in".into(), None, Everyone(200)),
    ("POST", "/sign-in", |_| String::new(), None, Elsewhere("http_access: a name, a password and our own page")),
    ("POST", "/sign-out", |_| "/sign-out".into(), None, Everyone(403)),
    ("GET", "/problems/{kind}", |_| "/problems/busy".into(), None, Everyone(200)),
    ("GET", "/page.js", |_| "/page.js".into(), None, Everyone(200)),
    ("GET", "/page.css", |_| "/page.css".into(), None, Everyone(200)),
];

/// Stands for a file of an import.
const FILE: &str = "id,area,name,role,phone\nmatrix-1,510726101,赵一,household,13800000001\n";

/// The routes of the router as it is written, with their methods.
fn routes() -> BTreeSet<(String, String)> {
    let router = include_str!("../../src/http/mod.rs");
    let mut routes = BTreeSet::new();
    for rest in router.split(".route(\"").skip(1) {
        let (path, handlers) = rest.split_once('"').expect("a path");
        let end = handlers.find(".route(").or_else(|| handlers.find(';')).unwrap_or(handlers.len());
        let handlers = &handlers[..handlers.find(';').map_or(end, |stop| stop.min(end))];
        for method in ["get", "post", "put", "delete", "patch", "any"] {
            let called = |sign: &str| handlers.contains(&format!("{sign}{method}("));
            if called(", ") || called(".") || called(" ") {
                routes.insert((method.to_uppercase(), path.to_owned()));
            }
        }
    }
    routes
}

#[test]
fn every_route_has_a_rule_and_every_rule_a_route() {
    let routes = routes();
    assert!(routes.len() > 50 && routes.contains(&("DELETE".into(), "/v1/{kind}/{id}".into())), "the routes are found: {routes:?}");
    let ruled: BTreeSet<_> = ROWS.iter().map(|row| (row.0.to_owned(), row.1.to_owned())).collect();
    let without: Vec<_> = routes.difference(&ruled).collect();
    assert!(without.is_empty(), "who may ask for {without:?}? Say it in tests/it/http_matrix.rs");
    assert!(ROWS.iter().all(|row| !matches!(row.4, Elsewhere(""))), "whoever is let in otherwise than by a key is let in by something");
    let idle: Vec<_> = ruled.difference(&routes).collect();
    assert!(idle.is_empty(), "there are no such routes: {idle:?}");
}

struct Callers {
    /// By role: without limits, and limited to A.
    known: Vec<(&'static str, Holder, Holder)>,
    unknown: Vec<(&'static str, Option<Holder>)>,
}

fn callers(site: &Site) -> Callers {
    let key = |name: &str, role: &str, areas: &[&str]| {
        let (role, source) = match role {
            "met" | "land" => (Role::Bureau, Some(role)),
            word => (word.parse().expect("a role"), None),
        };
        site.key(name, role, source, areas)
    };
    let known = ROLES.iter().map(|&role| (role, key(role, role, &[]), key(&format!("{role}-A"), role, &[QUSHAN]))).collect();
    let new =
        |name: &str, good_for| NewKey { name: name.into(), role: Role::Admin, source: None, areas: Vec::new(), good_for, owner: None };
    let expired = site.app.access.new_key(new("expired", Some(std::time::Duration::ZERO))).expect("a key");
    let revoked = site.app.access.new_key(new("revoked", None)).expect("a key");
    site.app.access.revoke_key("revoked").expect("revoked");
    let unknown = vec![
        ("nobody", None),
        ("a guess", Some(Holder("lm_guess".into()))),
        ("an expired key", Some(Holder(expired))),
        ("a revoked key", Some(Holder(revoked))),
    ];
    Callers { known, unknown }
}

async fn objects(site: &Site) -> Objects {
    let (bureau, duty) = (site.key("poster", Role::Bureau, Some("met"), &[]), site.key("watcher", Role::Duty, None, &[]));
    let mut ids = Vec::new();
    for (number, area) in (1..).zip([QUSHAN, LEIGU, COUNTY]) {
        let id = site.accepted(&rainstorm(number, &[area]), &bureau).await;
        site.wait_until_told(&id, &duty).await;
        ids.push(id);
    }
    let calls = site.get(&format!("/v1/alerts/{}/calls", ids[2]), &duty).await;
    let person = |area: &str| {
        let mut called = calls["items"].as_array().expect("calls").iter().map(|call| &call["recipient"]);
        let found = called.find(|who| who["area"].as_str().is_some_and(|code| code.starts_with(area)));
        found.unwrap_or_else(|| panic!("nobody of {area} is called: {calls}"))["id"].as_str().expect("an id").to_owned()
    };
    let (person_a, person_b) = (person(QUSHAN), person(LEIGU));
    let [a, b, c] = ids.try_into().expect("three alerts");
    Objects { a, b, c, person_a, person_b }
}

fn request(site: &Site, row: &Row, path: &str, who: Option<&Holder>) -> RequestBuilder {
    let method = Method::from_bytes(row.0.as_bytes()).expect("a method");
    let request = match who {
        Some(who) => site.call(method, path, who),
        None => site.plain(method, path),
    };
    match row.3 {
        None => request,
        Some(FILE) => {
            let part = multipart::Part::bytes(FILE.as_bytes().to_vec()).file_name("subscribers.csv");
            request.multipart(multipart::Form::new().part("file", part))
        }
        Some(body) => request.header("content-type", "application/json").body(body),
    }
}

async fn status(request: RequestBuilder) -> u16 {
    request.send().await.expect("an answer").status().as_u16()
}

/// The status once the answer is more than "busy": a report before may still be on its way to somebody who has stopped reading.
async fn settled(site: &Site, row: &Row, path: &str, who: &Holder) -> u16 {
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(30);
    loop {
        let status = status(request(site, row, path, Some(who))).await;
        if status != 503 || tokio::time::Instant::now() >= deadline {
            return status;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_is_answered_what_role_and_area_allow() {
    // No collector is let in by its address here.
    let site = Site::changed(&[("listen = \"127.0.0.1:0\"", "listen = \"127.0.0.1:0\"\nmetrics_from = []")]).await;
    let (callers, objects) = (callers(&site), objects(&site).await);
    let mut wrong = Vec::new();
    for row in ROWS {
        let path = row.2(&objects);
        let mut hold = |who: &str, wanted: u16, got: u16| {
            if wanted != got {
                wrong.push(format!("{} {path} by {who}: {got} instead of {wanted}", row.0));
            }
        };
        let (unknown, known) = match &row.4 {
            Elsewhere(_) => continue,
            Keys(by_role) => (401, Some(by_role)),
            Everyone(status) => (*status, None),
            Session { without } => (*without, None),
        };
        for (name, who) in &callers.unknown {
            hold(name, unknown, status(request(&site, row, &path, who.as_ref())).await);
        }
        for (place, (role, whole, limited)) in callers.known.iter().enumerate() {
            let (of_whole, of_limited) = match known {
                Some(by_role) => {
                    let word = by_role[place];
                    let (whole, limited) = word.split_once('/').unwrap_or((word, word));
                    (whole.parse().expect("a status"), limited.parse().expect("a status"))
                }
                None => (unknown, unknown),
            };
            hold(role, of_whole, settled(&site, row, &path, whole).await);
            hold(&format!("{role} of A"), of_limited, settled(&site, row, &path, limited).await);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_and_feeds_hold_what_role_and_area_allow() {
    let site = Site::start().await;
    let (callers, objects) = (callers(&site), objects(&site).await);
    for (role, whole, limited) in &callers.known {
        let (all, own) =
            if *role == "land" { (vec![], vec![]) } else { (vec![&objects.a, &objects.b, &objects.c], vec![&objects.a, &objects.c]) };
        for (who, wanted) in [(whole, all), (limited, own)] {
            let feed = site.call(Method::GET, "/feed/alerts.atom", who).send().await.expect("an answer").text().await.expect("a feed");
            let list = site.get("/v1/alerts", who).await.to_string();
            for id in [&objects.a, &objects.b, &objects.c] {
                assert_eq!((feed.contains(id), list.contains(id)), (wanted.contains(&id), wanted.contains(&id)), "{role}: {id}");
            }
        }
    }
    site.stop().await;
}

#[tokio::test]
async fn a_page_shows_what_the_area_of_whoever_is_signed_in_allows() {
    let site = Site::start().await;
    let objects = objects(&site).await;
    site.app.access.add_user("zhang", Role::Duty, vec![QUSHAN.parse().expect("a code")], &PASSWORD.into()).expect("a user");
    let form = [("name", "zhang"), ("password", PASSWORD)];
    let signed_in = site.plain(Method::POST, "/sign-in").header("origin", site.url("")).form(&form).send().await.expect("an answer");
    let cookies = signed_in.headers().get_all("set-cookie").iter().filter_map(|set| set.to_str().ok()?.split(';').next());
    let cookie = cookies.collect::<Vec<_>>().join("; ");
    let cases = [
        ("/".to_owned(), 200),
        ("/alerts".to_owned(), 200),
        (format!("/alerts/{}", objects.a), 200),
        (format!("/alerts/{}", objects.b), 404),
        (format!("/alerts/{}", objects.c), 200),
        (format!("/alerts/{}/live", objects.b), 404),
        (format!("/alerts/{}/live", objects.c), 200),
        (format!("/alerts/{}?area={LEIGU}", objects.c), 403),
        (format!("/alerts/{}/live?area={COUNTY}", objects.c), 403),
    ];
    for (path, wanted) in cases {
        assert_eq!(status(site.plain(Method::GET, &path).header("cookie", &cookie)).await, wanted, "{path}");
    }
    site.stop().await;
}

#[tokio::test]
async fn every_answer_of_every_route_says_that_it_is_private() {
    let site = Site::start().await;
    let nobody = json!("nobody");
    for (method, route) in routes() {
        let path = route.replace("{kind}", "subscribers").replace(['{', '}'], "");
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let answer = site.plain(method.clone(), &path).body(Value::to_string(&nobody)).send().await.expect("an answer");
        let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        assert_eq!(header("x-robots-tag"), "noindex", "{method} {path}");
        // The looks of the page are nobody's secret, and phones pay for every byte.
        let kept = if path == "/page.css" { "max-age=3600" } else { "no-store" };
        assert_eq!(header("cache-control"), kept, "{method} {path}");
        assert_eq!((header("x-content-type-options"), header("x-frame-options")), ("nosniff".into(), "DENY".into()), "{method} {path}");
        assert!(header("content-security-policy").contains("default-src 'none'"), "{method} {path}");
    }
    site.stop().await;
}
