//! Owns the tests of who is let in: keys made and revoked beside the running gateway, signing in, sessions, guessing.

use std::sync::Arc;

use lastmile::{
    access::{Access, BURST, NewKey, Role},
    time::SystemClock,
};
use reqwest::{Method, Response, StatusCode};
use secrecy::ExposeSecret as _;

use crate::http_kit::{Holder, PASSWORD, Site, problem};

/// Keys and users as the command line changes them: another handle on the same directory.
fn beside(site: &Site) -> Access {
    Access::open(&site.home.path().join("data"), Arc::new(SystemClock)).expect("keys and users")
}

async fn sign_in(site: &Site, name: &str, password: &str) -> Response {
    let form = [("name", name), ("password", password)];
    site.plain(Method::POST, "/sign-in").header("origin", site.url("")).form(&form).send().await.expect("an answer")
}

fn cookie(answer: &Response) -> String {
    let set = answer.headers()["set-cookie"].to_str().expect("text");
    assert!(set.contains("HttpOnly") && set.contains("SameSite=Strict"), "{set}");
    set.split(';').next().expect("a cookie").to_owned()
}

async fn status_with(site: &Site, cookie: &str) -> StatusCode {
    site.plain(Method::GET, "/v1/alerts").header("cookie", cookie).send().await.expect("an answer").status()
}

#[tokio::test]
async fn without_a_key_there_is_nothing_to_see() {
    let site = Site::start().await;
    for path in ["/v1/alerts", "/v1/subscribers", "/v1/registry/gaps", "/v1/registry/check", "/v1/devices", "/feed/alerts.atom"] {
        let refused = site.plain(Method::GET, path).send().await.expect("an answer");
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED, "{path}");
        assert!(refused.headers().contains_key("www-authenticate"), "{path}");
        problem(refused).await;
    }
    let guessed = Holder("lm_guess".into());
    assert_eq!(site.status(Method::GET, "/v1/alerts", &guessed).await, StatusCode::UNAUTHORIZED);
    site.stop().await;
}

#[tokio::test]
async fn a_key_works_as_soon_as_it_is_made_beside_the_gateway_and_ends_as_soon_as_it_is_revoked() {
    let site = Site::start().await;
    let outside = beside(&site);
    let new = NewKey { name: "screen".into(), role: Role::Viewer, source: None, areas: Vec::new(), good_for: None, owner: None };
    let key = Holder(outside.new_key(new).expect("a key"));
    site.until("the new key is known", async || site.status(Method::GET, "/v1/alerts", &key).await == StatusCode::OK).await;
    outside.revoke_key("screen").expect("revoked");
    site.until("the revoked key is refused", async || site.status(Method::GET, "/v1/alerts", &key).await == StatusCode::UNAUTHORIZED).await;
    site.stop().await;
}

#[tokio::test]
async fn a_person_signs_in_looks_and_is_out_once_disabled_beside_the_gateway() {
    let site = Site::start().await;
    let outside = beside(&site);
    outside.add_user("zhang", Role::Viewer, Vec::new(), &PASSWORD.into()).expect("a user");
    site.until("the new user is known", async || sign_in(&site, "zhang", PASSWORD).await.status() == StatusCode::SEE_OTHER).await;
    assert_eq!(sign_in(&site, "zhang", "not the password").await.status(), StatusCode::FORBIDDEN);
    let cookie = cookie(&sign_in(&site, "zhang", PASSWORD).await);
    assert_eq!(status_with(&site, &cookie).await, StatusCode::OK);
    outside.disable_user("zhang").expect("disabled");
    site.until("the disabled user is out", async || status_with(&site, &cookie).await == StatusCode::UNAUTHORIZED).await;
    site.stop().await;
}

#[tokio::test]
async fn a_new_password_ends_the_sessions_of_the_old_one() {
    let site = Site::start().await;
    site.app.access.add_user("zhang", Role::Viewer, Vec::new(), &PASSWORD.into()).expect("a user");
    let cookie = cookie(&sign_in(&site, "zhang", PASSWORD).await);
    assert_eq!(status_with(&site, &cookie).await, StatusCode::OK);
    beside(&site).set_password("zhang", &"quite another one".into()).expect("changed");
    site.until("the old session is over", async || status_with(&site, &cookie).await == StatusCode::UNAUTHORIZED).await;
    site.stop().await;
}

#[tokio::test]
async fn what_another_page_sends_with_our_cookie_changes_nothing() {
    let site = Site::start().await;
    site.app.access.add_user("li", Role::Admin, Vec::new(), &PASSWORD.into()).expect("a user");
    let cookie = cookie(&sign_in(&site, "li", PASSWORD).await);
    for origin in [None, Some("http://evil.example"), Some("null")] {
        let request = site.plain(Method::DELETE, "/v1/subscribers/nobody").header("cookie", &cookie);
        let request = if let Some(origin) = origin { request.header("origin", origin) } else { request };
        assert_eq!(request.send().await.expect("an answer").status(), StatusCode::FORBIDDEN, "{origin:?}");
    }
    let own = site.plain(Method::DELETE, "/v1/subscribers/nobody").header("cookie", &cookie).header("origin", site.url(""));
    assert_eq!(own.send().await.expect("an answer").status(), StatusCode::NOT_FOUND);
    let out =
        site.plain(Method::POST, "/sign-out").header("cookie", &cookie).header("origin", site.url("")).send().await.expect("an answer");
    assert_eq!(out.status(), StatusCode::SEE_OTHER);
    assert_eq!(status_with(&site, &cookie).await, StatusCode::UNAUTHORIZED);
    site.stop().await;
}

#[tokio::test]
async fn a_key_that_asks_without_end_is_told_to_wait_and_others_are_not() {
    let site = Site::start().await;
    let (greedy, patient) = (site.role(Role::Viewer), site.role(Role::Duty));
    let caller = site.app.access.verify_key(greedy.0.expose_secret()).expect("a caller");
    // As if so many requests had come over the wire, in less time than they are forgiven in.
    let spent = (0..BURST.get() * 10).any(|_| site.app.access.may_ask(&caller).is_err());
    assert!(spent);
    let asked = (0..100).map(|_| site.call(Method::GET, "/v1/alerts", &greedy).send());
    let answers = futures::future::join_all(asked).await;
    assert_eq!(site.status(Method::GET, "/v1/alerts", &patient).await, StatusCode::OK);
    let refused = answers.into_iter().flatten().find(|answer| answer.status() == StatusCode::TOO_MANY_REQUESTS).expect("one refused");
    assert!(refused.headers().contains_key("retry-after"));
    problem(refused).await;
    site.stop().await;
}

#[tokio::test]
async fn whoever_is_guessed_at_signs_in_from_elsewhere_and_from_a_browser_that_is_known() {
    let site = Site::start().await;
    site.app.access.add_user("li", Role::Duty, Vec::new(), &PASSWORD.into()).expect("a user");
    let first = sign_in(&site, "li", PASSWORD).await;
    let set = first.headers().get_all("set-cookie").iter().filter_map(|set| set.to_str().ok());
    let mark = set.filter_map(|set| set.split(';').next()).find(|set| set.starts_with("lastmile_browser_")).expect("a mark").to_owned();
    let from = async |address: &str, password: &str, cookie: &str| {
        let form = [("name", "li"), ("password", password)];
        let request = site.plain(Method::POST, "/sign-in").header("origin", site.url("")).header("cookie", cookie).form(&form);
        request.header("x-forwarded-for", address).send().await.expect("an answer")
    };
    let mut refused = Vec::new();
    for _ in 0..8 {
        refused.push(from("203.0.113.7", "a guess of somebody", "").await.status());
    }
    assert!(refused.contains(&StatusCode::FORBIDDEN) && refused.contains(&StatusCode::TOO_MANY_REQUESTS), "{refused:?}");
    let slowed = from("203.0.113.7", PASSWORD, "").await;
    assert_eq!(slowed.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(slowed.headers().contains_key("retry-after"));
    problem(slowed).await;
    assert_eq!(from("198.51.100.1", PASSWORD, "").await.status(), StatusCode::SEE_OTHER);
    assert_eq!(from("203.0.113.7", PASSWORD, &mark).await.status(), StatusCode::SEE_OTHER);
    assert_eq!(from("203.0.113.7", PASSWORD, "lastmile_browser_000000000000=x").await.status(), StatusCode::TOO_MANY_REQUESTS);
    site.stop().await;
}
