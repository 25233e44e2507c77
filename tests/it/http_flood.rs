//! Owns the tests of strangers in numbers: whoever holds requests open with half a body keeps no bureau, no duty room and no other
//! customer of the net out.

use std::os::unix::fs::PermissionsExt as _;
use std::{fs, net::SocketAddr, sync::Arc, time::Duration};

use axum::http::Request;
use bytes::Bytes;
use futures::FutureExt as _;
use h2::SendStream;
use lastmile::access::Role;
use reqwest::{Client, ClientBuilder, RequestBuilder, StatusCode};
use rustls::{ClientConfig, RootCertStore, pki_types::CertificateDer};
use secrecy::ExposeSecret as _;
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpSocket, TcpStream},
};
use tokio_rustls::TlsConnector;

use crate::http_kit::{Holder, LEIGU, PASSWORD, Site, problem, rainstorm};

/// More than there are places for forms, and for reports.
const HALVES: usize = 600;
/// Connections of HTTP/2, and what one of them may carry at a time.
const CONNECTIONS: usize = 10;
const STREAMS_MAX: usize = 20;
/// An alert that is not taken by then stands in a queue behind strangers.
const AT_ONCE: Duration = Duration::from_secs(8);
const NO_PROXIES: (&str, &str) = ("listen = \"127.0.0.1:0\"", "listen = \"127.0.0.1:0\"\ntrusted_proxies = []");

fn client(builder: ClientBuilder) -> Client {
    builder.redirect(reqwest::redirect::Policy::none()).timeout(AT_ONCE).build().expect("a client")
}

/// A connection from this address that has sent a head and the beginning of a body.
async fn half(site: &Site, from: &str, path: &str, headers: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::new(from.parse().expect("an address"), 0)).expect("bound");
    let mut stream = socket.connect(site.app.address).await.expect("a connection");
    let kind = "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 60\r\n";
    stream.write_all(format!("POST {path} HTTP/1.1\r\nHost: x\r\n{headers}{kind}\r\nname=").as_bytes()).await.expect("sent");
    stream
}

async fn halves(site: &Site, from: &str, path: &str, headers: &str) -> Vec<TcpStream> {
    let mut held = Vec::new();
    for _ in 0..HALVES {
        held.push(half(site, from, path, headers).await);
    }
    held
}

fn sign_in(site: &Site, client: &Client) -> RequestBuilder {
    let form = [("name", "li"), ("password", PASSWORD)];
    client.post(site.url("/sign-in")).header("origin", site.url("")).form(&form)
}

async fn status(request: RequestBuilder) -> StatusCode {
    request.send().await.expect("an answer").status()
}

/// The flood stands: a request of the same kind and place finds no room, and hears so.
async fn until_busy(site: &Site, what: &str, request: impl Fn() -> RequestBuilder) {
    site.until(what, async || request().send().await.is_ok_and(|answer| answer.status() == StatusCode::SERVICE_UNAVAILABLE)).await;
    let refused = request().send().await.expect("an answer");
    assert!(refused.headers().contains_key("retry-after"));
    assert_eq!(problem(refused).await["type"], "/problems/busy");
}

async fn a_bureau_and_duty_are_served(site: &Site, bureau: &Holder, number: u32, client: &Client, base: &str) {
    let post = client.post(format!("{base}/v1/alerts")).bearer_auth(bureau.0.expose_secret()).json(&rainstorm(number, &[LEIGU]));
    assert_eq!(status(post).await, StatusCode::ACCEPTED);
    let duty = site.key(&format!("duty-{number}"), Role::Duty, None, &[]);
    assert_eq!(status(client.get(format!("{base}/v1/alerts")).bearer_auth(duty.0.expose_secret())).await, StatusCode::OK);
    assert_eq!(status(client.get(format!("{base}/sign-in"))).await, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_bodies_of_forms_and_reports_keep_no_bureau_out() {
    let site = Site::start().await;
    let (bureau, plain) = (site.bureau(), client(Client::builder()));
    let base = site.url("");
    // From a proxy that does not say for whom it asks: no share of one customer helps here.
    let forms = halves(&site, "127.0.0.1", "/sign-in", "").await;
    until_busy(&site, "no form finds a place", || sign_in(&site, &plain)).await;
    a_bureau_and_duty_are_served(&site, &bureau, 1, &plain, &base).await;
    let reports = halves(&site, "127.0.0.1", "/v1/callbacks/sms/line/status", "").await;
    until_busy(&site, "no report finds a place", || plain.post(site.url("/v1/callbacks/sms/line/status")).body("news")).await;
    a_bureau_and_duty_are_served(&site, &bureau, 2, &plain, &base).await;
    drop((forms, reports));
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_customer_with_half_forms_keeps_no_other_from_signing_in() {
    let site = Site::changed(&[NO_PROXIES]).await;
    site.app.access.add_user("li", Role::Duty, Vec::new(), &PASSWORD.into()).expect("a user");
    let held = halves(&site, "127.0.0.1", "/sign-in", "").await;
    let (same, other) = (client(Client::builder()), client(Client::builder().local_address("127.0.0.2".parse().ok())));
    until_busy(&site, "no form of this address finds a place", || sign_in(&site, &same)).await;
    assert_eq!(status(sign_in(&site, &other)).await, StatusCode::SEE_OTHER);
    drop(held);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_trusted_proxy_customers_are_told_apart_by_what_it_says() {
    let site = Site::start().await;
    site.app.access.add_user("li", Role::Duty, Vec::new(), &PASSWORD.into()).expect("a user");
    let held = halves(&site, "127.0.0.1", "/sign-in", "X-Forwarded-For: 198.51.100.9, 203.0.113.7\r\n").await;
    let plain = client(Client::builder());
    let of = |address: &'static str| sign_in(&site, &plain).header("x-forwarded-for", address);
    until_busy(&site, "no form of this address finds a place", || of("203.0.113.7")).await;
    assert_eq!(status(of("198.51.100.9")).await, StatusCode::SEE_OTHER);
    drop(held);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_requests_over_few_connections_of_http_2_keep_no_bureau_out_either() {
    let folder = tempfile::tempdir().expect("a folder");
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    fs::write(&cert, pair.cert.pem()).expect("written");
    fs::write(&key, pair.signing_key.serialize_pem()).expect("written");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("the key is the gateway's alone");
    let tls = format!("listen = \"127.0.0.1:0\"\ntls = {{ cert = {cert:?}, key = {key:?} }}");
    let site = Site::changed(&[("listen = \"127.0.0.1:0\"", &tls)]).await;
    let mut held = Vec::new();
    for _ in 0..CONNECTIONS {
        held.push(half_forms_over_http_2(site.app.address, pair.cert.der().clone()).await);
    }
    let root = reqwest::Certificate::from_pem(pair.cert.pem().as_bytes()).expect("a root");
    let own = client(Client::builder().tls_certs_only([root]).resolve("localhost", site.app.address));
    let base = format!("https://localhost:{}", site.app.address.port());
    a_bureau_and_duty_are_served(&site, &site.bureau(), 1, &own, &base).await;
    drop(held);
    site.stop().await;
}

/// A connection on which as many requests as it takes have sent the beginning of a form.
async fn half_forms_over_http_2(address: SocketAddr, cert: CertificateDer<'static>) -> Vec<SendStream<Bytes>> {
    let mut roots = RootCertStore::empty();
    roots.add(cert).expect("a root");
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TcpStream::connect(address).await.expect("a connection");
    let name = "localhost".try_into().expect("a name");
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("TLS");
    let (client, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
    // It ends with the streams that are held.
    let mut connection = Box::pin(connection);
    // What the listener allows comes with its first frame.
    let settled = async {
        while connection.max_concurrent_send_streams() > HALVES {
            futures::future::poll_fn(|context| {
                drop(connection.as_mut().poll_unpin(context));
                std::task::Poll::Ready(())
            })
            .await;
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(AT_ONCE, settled).await.expect("settings of the listener");
    let allowed = connection.max_concurrent_send_streams();
    assert!(allowed <= STREAMS_MAX, "{allowed} requests at a time on one connection");
    tokio::spawn(connection);
    let mut halves = Vec::new();
    for _ in 0..allowed {
        let request = Request::post("https://localhost/sign-in").header("content-type", "application/x-www-form-urlencoded").body(());
        let mut ready = client.clone().ready().await.expect("room for a request");
        let (_answer, mut body) = ready.send_request(request.expect("a request"), false).expect("sent");
        body.send_data(Bytes::from_static(b"name="), false).expect("sent");
        halves.push(body);
    }
    halves
}
