//! Owns the tests of what a source proves beside its key, over real HTTP: signed requests, their age, their use a second time.

use hmac::{Hmac, KeyInit as _, Mac as _};
use lastmile::time::{Clock as _, SystemClock};
use reqwest::{Method, Response, StatusCode};
use serde_json::Value;
use sha2::Sha256;

use crate::http_kit::{Holder, LEIGU, Site, problem, rainstorm};

const SHARED: &str = "5f2d1c7e9a3b4f6085d7c2e1b0a99f3e";
const NONCE: &str = "nonce-of-at-least-16";

fn signed(key: &str, seconds: i64, nonce: &str, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("a key");
    mac.update(format!("{seconds}.{nonce}.{body}").as_bytes());
    let digest: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={seconds},n={nonce},v1={digest}")
}

fn seconds() -> i64 {
    SystemClock.now().as_ms() / 1_000
}

async fn site() -> Site {
    let signing = format!("approval = \"{{approval}}\"\nsignature = \"hmac\"\nsignature_key = \"{SHARED}\"");
    Site::configured(&[("approval = \"{approval}\"", &signing)]).await
}

async fn post(site: &Site, who: &Holder, body: &str, signatures: &[&str]) -> Response {
    let mut call = site.call(Method::POST, "/v1/alerts", who).header("content-type", "application/json");
    for signature in signatures {
        call = call.header("x-signature", *signature);
    }
    call.body(body.to_owned()).send().await.expect("an answer")
}

async fn refused(answer: Response, status: StatusCode, kind: &str) {
    assert_eq!(answer.status(), status, "{kind}");
    assert_eq!(problem(answer).await["type"], format!("/problems/{kind}"));
}

#[tokio::test]
async fn a_signed_alert_is_taken_once_and_never_again_also_after_a_restart() {
    let site = site().await;
    let bureau = site.bureau();
    let body = rainstorm(1, &[LEIGU]).to_string();
    let signature = signed(SHARED, seconds(), NONCE, &body);
    let first = post(&site, &bureau, &body, &[&signature]).await;
    assert_eq!(first.status(), StatusCode::ACCEPTED);
    refused(post(&site, &bureau, &body, &[&signature]).await, StatusCode::CONFLICT, "replayed").await;
    let site = site.restarted().await;
    refused(post(&site, &bureau, &body, &[&signature]).await, StatusCode::CONFLICT, "replayed").await;
    let anew = signed(SHARED, seconds(), "another-nonce-of-16", &body);
    let again = post(&site, &bureau, &body, &[&anew]).await;
    assert_eq!(again.status(), StatusCode::OK, "the same alert, signed anew, is a repeat");
    site.stop().await;
}

#[tokio::test]
async fn every_way_of_being_wrong_has_its_own_type() {
    let site = site().await;
    let bureau = site.bureau();
    let body = rainstorm(1, &[LEIGU]).to_string();
    let now = seconds();
    let good = signed(SHARED, now, NONCE, &body);
    let other_key = signed("another key of thirty-two bytes!!", now, NONCE, &body);
    refused(post(&site, &bureau, &body, &[]).await, StatusCode::UNAUTHORIZED, "unsigned").await;
    refused(post(&site, &bureau, &body, &[&other_key]).await, StatusCode::UNAUTHORIZED, "bad-signature").await;
    refused(post(&site, &bureau, &format!("{body} "), &[&good]).await, StatusCode::UNAUTHORIZED, "bad-signature").await;
    refused(post(&site, &bureau, &body, &["t=1"]).await, StatusCode::UNAUTHORIZED, "bad-signature").await;
    refused(post(&site, &bureau, &body, &[&good, &good]).await, StatusCode::UNAUTHORIZED, "bad-signature").await;
    for off in [-400, 400] {
        let late = signed(SHARED, now + off, NONCE, &body);
        refused(post(&site, &bureau, &body, &[&late]).await, StatusCode::UNAUTHORIZED, "expired-signature").await;
    }
    // What cannot be read is told only to whoever has signed it.
    refused(post(&site, &bureau, "{", &[]).await, StatusCode::UNAUTHORIZED, "unsigned").await;
    let broken = post(&site, &bureau, "{", &[&signed(SHARED, now, "nonce-of-a-broken-one", "{")]).await;
    refused(broken, StatusCode::BAD_REQUEST, "not-parseable").await;
    // None of it used up the nonce of the good one.
    assert_eq!(post(&site, &bureau, &body, &[&good]).await.status(), StatusCode::ACCEPTED);
    site.stop().await;
}

#[tokio::test]
async fn a_source_that_does_not_sign_is_heard_without_and_each_type_has_its_page() {
    let site = site().await;
    let land = site.key("land-bureau", lastmile::access::Role::Bureau, Some("land"), &[]);
    let mut alert = rainstorm(1, &[LEIGU]);
    alert["sender"] = "51072641700000".into();
    alert["event"] = "11D01".into();
    let taken = post(&site, &land, &alert.to_string(), &[]).await;
    let status = taken.status();
    assert_eq!(status, StatusCode::ACCEPTED, "{:?}", taken.json::<Value>().await);
    for kind in ["unsigned", "bad-signature", "expired-signature", "replayed"] {
        for language in ["zh", "en"] {
            let page = site.plain(Method::GET, &format!("/problems/{kind}?lang={language}")).send().await.expect("an answer");
            assert_eq!(page.status(), StatusCode::OK, "{kind}");
        }
    }
    site.stop().await;
}
