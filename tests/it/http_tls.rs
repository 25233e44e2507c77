//! Owns the tests of mutual TLS on loopback: certificates made here, a source that is bound to one, everybody else without.

use std::{fs, net::SocketAddr, path::Path};

use lastmile::access::Role;
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use reqwest::{Client, Identity, Method, StatusCode};
use secrecy::ExposeSecret as _;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::http_kit::{Holder, LEIGU, Site, problem, rainstorm};

type Authority = Issuer<'static, KeyPair>;

/// An authority, its certificate written to a file.
fn authority(file: &Path) -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    fs::write(file, params.self_signed(&key).expect("a certificate").pem()).expect("written");
    Issuer::new(params, key)
}

/// A client's certificate with its key as PEM, and its fingerprint as the configuration has it.
fn client(name: &str, authority: &Authority) -> (String, String) {
    let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate().expect("a key");
    let cert = params.signed_by(&key, authority).expect("a certificate");
    let fingerprint: Vec<String> = Sha256::digest(cert.der()).iter().map(|byte| format!("{byte:02X}")).collect();
    (format!("{}{}", cert.pem(), key.serialize_pem()), format!("sha256:{}", fingerprint.join(":")))
}

/// A client that trusts the listener, and shows what it has.
fn over_tls(server: &Path, identity: Option<&str>, address: SocketAddr) -> Client {
    let root = reqwest::Certificate::from_pem(&fs::read(server).expect("the certificate")).expect("a root");
    let mut builder = Client::builder().tls_certs_only([root]).resolve("localhost", address);
    if let Some(pem) = identity {
        builder = builder.identity(Identity::from_pem(pem.as_bytes()).expect("an identity"));
    }
    builder.build().expect("a client")
}

async fn post(client: &Client, site: &Site, who: &Holder, alert: &Value) -> Result<reqwest::Response, reqwest::Error> {
    let url = format!("https://localhost:{}/v1/alerts", site.app.address.port());
    client.request(Method::POST, url).bearer_auth(who.0.expose_secret()).json(alert).send().await
}

#[tokio::test]
async fn a_source_bound_to_a_certificate_is_heard_over_its_connection_alone_and_the_rest_needs_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| folder.path().join(name);
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    fs::write(file("cert.pem"), pair.cert.pem()).expect("written");
    crate::write_private(&file("key.pem"), &pair.signing_key.serialize_pem());
    let (ours, theirs) = (authority(&file("ca.pem")), authority(&file("other-ca.pem")));
    let ((met, fingerprint), (land, _), (stranger, _)) = (client("met", &ours), client("land", &ours), client("met", &theirs));
    let tls = format!(
        "listen = \"127.0.0.1:0\"\ntls = {{ cert = \"{}\", key = \"{}\", client_ca = \"{}\" }}",
        file("cert.pem").display(),
        file("key.pem").display(),
        file("ca.pem").display()
    );
    let bound = format!("approval = \"{{approval}}\"\nclient_certificates = [\"{fingerprint}\"]");
    let site = Site::changed(&[("listen = \"127.0.0.1:0\"", &tls), ("approval = \"{approval}\"", &bound)]).await;
    let address = site.app.address;
    let with = |identity: Option<&str>| over_tls(&file("cert.pem"), identity, address);
    let (bureau, land_bureau) = (site.bureau(), site.key("land-bureau", Role::Bureau, Some("land"), &[]));
    let alert = rainstorm(1, &[LEIGU]);
    for identity in [None, Some(land.as_str())] {
        let refused = post(&with(identity), &site, &bureau, &alert).await.expect("an answer");
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(problem(refused).await["type"], "/problems/no-client-certificate");
    }
    // Of another authority: the handshake already fails.
    assert!(post(&with(Some(&stranger)), &site, &bureau, &alert).await.is_err());
    let own = with(Some(&met));
    assert_eq!(post(&own, &site, &bureau, &alert).await.expect("an answer").status(), StatusCode::ACCEPTED);
    // The certificate goes with the connection, not with the key: it opens nothing without one.
    let keyless = post(&own, &site, &Holder("lm_nobody".into()), &alert).await.expect("an answer");
    assert_eq!(keyless.status(), StatusCode::UNAUTHORIZED);
    // Whoever needs none is let in without: another source, a browser.
    let mut slope = rainstorm(2, &[LEIGU]);
    (slope["sender"], slope["event"]) = ("51072641700000".into(), "11D01".into());
    assert_eq!(post(&with(None), &site, &land_bureau, &slope).await.expect("an answer").status(), StatusCode::ACCEPTED);
    let page = with(None).get(format!("https://localhost:{}/sign-in", address.port())).send().await.expect("an answer");
    assert_eq!(page.status(), StatusCode::OK);
    site.stop().await;
}

#[tokio::test]
async fn a_certificate_that_ends_soon_is_an_alarm_until_a_newer_one_is_loaded() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| folder.path().join(name);
    let key = KeyPair::generate().expect("a key");
    let certify = |year: i32| {
        let mut params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        fs::write(file("cert.pem"), params.self_signed(&key).expect("a certificate").pem()).expect("written");
    };
    certify(2021);
    crate::write_private(&file("key.pem"), &key.serialize_pem());
    let tls =
        format!("listen = \"127.0.0.1:0\"\ntls = {{ cert = \"{}\", key = \"{}\" }}", file("cert.pem").display(), file("key.pem").display());
    let site = Site::changed(&[("listen = \"127.0.0.1:0\"", &tls)]).await;
    let about = format!("已过期 {}", file("cert.pem").display());
    let open = || site.app.gateway.alarms().open().into_iter().filter(|alarm| alarm.what == "certificate-expires").collect::<Vec<_>>();
    assert_eq!(open().iter().map(|alarm| (alarm.about.clone(), alarm.times)).collect::<Vec<_>>(), [(about, 1)]);
    let line = |ends: &str| format!("lastmile_certificate_not_after_seconds{{file=\"{}\"}} {ends}", file("cert.pem").display());
    let told = || lastmile::telemetry::metrics::render();
    assert!(told().contains(&line("1609459200")), "{}", told());
    // Renewed by halves: what is in use is still the old one.
    fs::write(file("cert.pem"), "not a certificate").expect("written");
    site.app.reload();
    assert_eq!(open().len(), 1);
    certify(2090);
    site.app.reload();
    assert_eq!(open(), []);
    assert!(told().contains(&line("3786912000")), "{}", told());
    site.stop().await;
}
