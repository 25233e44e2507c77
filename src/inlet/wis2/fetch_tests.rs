//! A real server that gives, delays, redirects and lies; what the fetcher makes of it.

use axum::{
    Router,
    http::{HeaderMap, header},
    response::Redirect,
    routing::get,
};
use sha2::Digest as _;
use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use super::{super::content::Integrity, *};
use crate::inlet::wis2::content::Method;

const DOCUMENT: &str = "<alert>预警</alert>";

async fn server() -> (String, Arc<AtomicU32>) {
    let asked = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&asked);
    let late = move || async move {
        if counted.fetch_add(1, Ordering::SeqCst) == 0 { (StatusCode::NOT_FOUND, "") } else { (StatusCode::OK, DOCUMENT) }
    };
    let router = Router::new()
        .route("/one.xml", get(|| async { DOCUMENT }))
        .route("/late.xml", get(late))
        .route("/never.xml", get(|| async { StatusCode::INTERNAL_SERVER_ERROR }))
        .route("/large.xml", get(|| async { vec![b'a'; 5_000] }))
        .route("/inner", get(|| async { Redirect::temporary("/one.xml") }))
        .route(
            "/by-name",
            get(|headers: HeaderMap| async move {
                let port = headers["host"].to_str().ok().and_then(|host| host.rsplit(':').next()).unwrap_or_default().to_owned();
                Redirect::temporary(&format!("http://localhost:{port}/late.xml"))
            }),
        )
        .route("/off", get(|| async { (StatusCode::FOUND, [(header::LOCATION, "http://169.254.169.254/latest")]) }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, router).await });
    (format!("127.0.0.1:{}", address.port()), asked)
}

fn fetcher(host: &str, patience: Duration) -> Fetcher {
    reaching("223.5.5.5", &[host], &[], patience)
}

fn reaching(broker: &str, hosts: &[&str], private_hosts: &[&str], patience: Duration) -> Fetcher {
    let parsed = |hosts: &[&str]| hosts.iter().map(|host| host.parse().expect("a host")).collect();
    let reach = Reach { broker: broker.to_owned(), hosts: parsed(hosts), private_hosts: parsed(private_hosts) };
    Fetcher::new(reach, &Trust::WebRoots, Duration::from_secs(5), patience, 1_000).expect("a fetcher")
}

fn link(url: &str) -> Link {
    let integrity = Integrity { method: Method::Sha256, value: sha2::Sha256::digest(DOCUMENT).to_vec() };
    Link { url: url.parse().expect("a url"), length: None, integrity: Some(integrity) }
}

async fn fetch(path: &str, patience: Duration) -> Result<Vec<u8>, NoDocument> {
    let (host, _) = server().await;
    fetcher(&host, patience).fetch(&link(&format!("http://{host}{path}")), &CancellationToken::new()).await
}

fn rule(result: Result<Vec<u8>, NoDocument>) -> &'static str {
    match result {
        Err(NoDocument::Refused(refused)) => refused.rule,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_document_is_fetched_also_when_it_comes_later_or_lies_elsewhere_on_the_list() {
    for path in ["/one.xml", "/inner", "/late.xml"] {
        assert_eq!(fetch(path, Duration::from_secs(20)).await.expect(path), DOCUMENT.as_bytes());
    }
}

#[tokio::test]
async fn what_never_comes_is_out_of_reach_and_what_is_wrong_is_refused() {
    let gone = fetch("/never.xml", Duration::from_millis(1)).await;
    assert_eq!(gone, Err(NoDocument::OutOfReach("500 Internal Server Error".to_owned())));
    assert_eq!(rule(fetch("/large.xml", Duration::from_millis(1)).await), "too-large");
    assert_eq!(rule(fetch("/off", Duration::from_millis(1)).await), "redirect-not-allowed");
}

#[tokio::test]
async fn a_changed_document_is_never_handed_on() {
    let (host, _) = server().await;
    let mut changed = link(&format!("http://{host}/one.xml"));
    changed.integrity = Some(Integrity { method: Method::Sha256, value: vec![0; 32] });
    let fetched = fetcher(&host, Duration::from_millis(1)).fetch(&changed, &CancellationToken::new()).await;
    assert!(matches!(fetched, Err(NoDocument::OutOfReach(why)) if why.contains("digest")));
}

#[tokio::test]
async fn a_link_to_another_host_is_not_followed_nor_is_one_that_anybody_could_change() {
    let (host, asked) = server().await;
    let fetcher = fetcher("cache.example", Duration::from_secs(1));
    let stop = CancellationToken::new();
    assert_eq!(rule(fetcher.fetch(&link(&format!("http://{host}/late.xml")), &stop).await), "host-not-allowed");
    let bare = Link { integrity: None, ..link("http://cache.example/one.xml") };
    assert_eq!(rule(fetcher.fetch(&bare, &stop).await), "no-integrity");
    let large = Link { length: Some(1_001), ..link("http://cache.example/one.xml") };
    assert_eq!(rule(fetcher.fetch(&large, &stop).await), "too-large");
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_name_leads_inside_only_where_the_configuration_or_the_broker_does_also_by_a_redirect() {
    let (host, asked) = server().await;
    let port = host.rsplit(':').next().expect("a port");
    let (by_name, stop) = (format!("localhost:{port}"), CancellationToken::new());
    let second = Duration::from_secs(2);
    // What resolves inside is refused at once: the server is never asked, by the link itself or by where it leads.
    let open = reaching("223.5.5.5", &[&by_name, &host], &[], second);
    for link in [link(&format!("http://{by_name}/late.xml")), link(&format!("http://{host}/by-name"))] {
        assert_eq!(rule(open.fetch(&link, &stop).await), "private-address");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 0);
    // An address that nobody named is no way in, however it is written, nor is what only looks like a domain.
    for (allowed, url) in [
        ("*.0.0.1", format!("http://127.0.0.1:{port}/late.xml")),
        ("cache.example", format!("http://[::ffff:7f00:1]:{port}/late.xml")),
        ("cache.example", "http://10.0.0.1/a.xml".to_owned()),
    ] {
        assert_eq!(rule(reaching("223.5.5.5", &[allowed], &[], second).fetch(&link(&url), &stop).await), "host-not-allowed");
    }
    let whole = Duration::from_secs(20);
    for named in [reaching("223.5.5.5", &[&by_name, &host], &["localhost"], whole), reaching("127.0.0.1", &[&by_name, &host], &[], whole)] {
        assert_eq!(named.fetch(&link(&format!("http://{host}/by-name")), &stop).await.expect("named"), DOCUMENT.as_bytes());
    }
    assert!(asked.load(Ordering::SeqCst) > 0);
}
