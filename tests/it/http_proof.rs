//! Owns the tests of what a source proves beside its key, over real HTTP: signed requests, their age, their use a second time;
//! signed documents.

use std::{fs, path::Path, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use lastmile::time::{Clock as _, SystemClock};
use rcgen::{CertifiedKey, KeyPair, SigningKey as _};
use reqwest::{Method, Response, StatusCode};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use xml_sec::c14n::{C14nAlgorithm, C14nMode, canonicalize_xml};

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
    Site::changed(&[("approval = \"{approval}\"", &signing)]).await
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

/// The example alert as if it were sent now.
fn cap(number: u32) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/alerts/rainstorm-red.cap.xml");
    let now = SystemClock.now().whole_seconds();
    fs::read_to_string(file)
        .expect("fixture")
        .replace("2026-07-23T16:15:00+08:00", &now.plus(Duration::from_secs(3_600)).to_seconds_string())
        .replace("2026-07-23T10:15:00+08:00", &now.to_seconds_string())
        .replace("2026-07-23T10:16:00+08:00", &now.to_seconds_string())
        .replace("51072641600000_20260723101500", &format!("51072641600000_{number:014}"))
}

/// The document with an enveloped ECDSA signature.
fn enveloped(document: &str, key: &KeyPair) -> String {
    let exclusive = C14nAlgorithm::new(C14nMode::Exclusive1_0, false);
    let canonical = |text: &str| canonicalize_xml(text.as_bytes(), &exclusive).expect("a canonical form");
    let digest = STANDARD.encode(Sha256::digest(canonical(document)));
    let (form, dsig) = (exclusive.uri(), "http://www.w3.org/2000/09/xmldsig#");
    let info = format!(
        r#"<s:SignedInfo xmlns:s="{dsig}"><s:CanonicalizationMethod Algorithm="{form}"/><s:SignatureMethod Algorithm="http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256"/><s:Reference URI=""><s:Transforms><s:Transform Algorithm="{dsig}enveloped-signature"/><s:Transform Algorithm="{form}"/></s:Transforms><s:DigestMethod Algorithm="http://www.w3.org/2001/04/xmlenc#sha256"/><s:DigestValue>{digest}</s:DigestValue></s:Reference></s:SignedInfo>"#
    );
    let value = STANDARD.encode(two_numbers(&key.sign(&canonical(&info)).expect("a signature")));
    let signature = format!(r#"<s:Signature xmlns:s="{dsig}">{info}<s:SignatureValue>{value}</s:SignatureValue></s:Signature>"#);
    document.replace("</alert>", &format!("{signature}</alert>"))
}

/// An ASN.1 signature of P-256 as XML writes it: two numbers of 32 bytes.
fn two_numbers(der: &[u8]) -> Vec<u8> {
    let length = usize::from(der[3]);
    let number = |digits: &[u8]| [&[0; 32], digits].concat()[digits.len()..].to_vec();
    [number(&der[4..4 + length]), number(&der[6 + length..])].concat()
}

#[tokio::test]
async fn a_signed_document_is_taken_again_as_the_same_and_any_other_signer_is_refused() {
    let pinned = |name: &str| rcgen::generate_simple_self_signed([name.to_owned()]).expect("a certificate");
    let (CertifiedKey { cert, signing_key }, stranger) = (pinned("met"), pinned("stranger"));
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("met.pem");
    fs::write(&file, cert.pem()).expect("the certificate");
    let signing = format!("approval = \"{{approval}}\"\nsignature = \"xml\"\ncertificates = [\"{}\"]", file.display());
    let site = Site::changed(&[("approval = \"{approval}\"", &signing)]).await;
    let bureau = site.bureau();
    let post = async |body: &str| {
        let call = site.call(Method::POST, "/v1/alerts", &bureau).header("content-type", "application/cap+xml");
        call.body(body.to_owned()).send().await.expect("an answer")
    };
    let document = enveloped(&cap(1), &signing_key);
    let taken = post(&document).await;
    let status = taken.status();
    let view: Value = taken.json().await.expect("json");
    assert_eq!(status, StatusCode::ACCEPTED, "{view}");
    assert!(!view["warnings"].to_string().contains("not-verified"), "{view}");
    assert_eq!(post(&document).await.status(), StatusCode::OK);
    refused(post(&cap(2)).await, StatusCode::UNAUTHORIZED, "unsigned").await;
    refused(post(&rainstorm(2, &[LEIGU]).to_string()).await, StatusCode::UNAUTHORIZED, "unsigned").await;
    let bent = enveloped(&cap(2), &signing_key).replace("暴雨", "小雨");
    refused(post(&bent).await, StatusCode::UNAUTHORIZED, "bad-signature").await;
    let strange = enveloped(&cap(2), &stranger.signing_key);
    refused(post(&strange).await, StatusCode::UNAUTHORIZED, "bad-signature").await;
    // The bureau has a new certificate: the file is read again; the old one is no longer pinned, and a broken file changes nothing.
    fs::write(&file, stranger.cert.pem()).expect("the new certificate");
    site.app.reload();
    assert_eq!(post(&strange).await.status(), StatusCode::ACCEPTED);
    refused(post(&document).await, StatusCode::UNAUTHORIZED, "bad-signature").await;
    fs::write(&file, "no certificate").expect("a broken file");
    site.app.reload();
    assert_eq!(post(&strange).await.status(), StatusCode::OK);
    site.stop().await;
}

#[tokio::test]
async fn what_is_dropped_into_a_folder_is_believed_by_its_signature_alone() {
    let CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(["met".to_owned()]).expect("a certificate");
    let home = crate::http_kit::new_home();
    let folder = home.path().join("drop");
    fs::create_dir(&folder).expect("made");
    let table = "[inlet.proof]\nkind = \"folder\"\nsource = \"met\"\npath = \"drop\"\nevery = \"20ms\"\n";
    let signing = "signature = \"xml\"\ncertificates = [\"met.pem\"]";
    let site = Site::configured(home, "none", signing, table, &[("met.pem", &cert.pem())]).await;
    fs::write(folder.join("bare.xml"), cap(1)).expect("dropped");
    fs::write(folder.join("signed.xml"), enveloped(&cap(2), &signing_key)).expect("dropped");
    site.until("both are put away", async || folder.join("done/signed.xml").exists() && folder.join("refused/bare.xml").exists()).await;
    let problems = fs::read_to_string(folder.join("refused/bare.xml.problems.json")).expect("problems");
    assert!(problems.contains("/problems/bad-signature"), "{problems}");
    site.stop().await;
}
