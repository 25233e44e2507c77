//! A feed as a way in: a real small server on loopback that a running gateway asks.

use std::{
    collections::HashMap,
    fs,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode, Uri, header},
    response::{IntoResponse as _, Response},
};
use lastmile::{
    access::Role,
    telemetry::metrics,
    time::{Clock as _, SystemClock},
};
use serde_json::Value;

use crate::http_kit::{Holder, Site, new_home};

/// What a server answers, and what it was asked.
#[derive(Default)]
struct Shelf {
    pages: HashMap<String, Page>,
    asked: Vec<Asked>,
}

#[derive(Clone, Default)]
struct Page {
    status: Option<StatusCode>,
    headers: Vec<(header::HeaderName, String)>,
    body: Vec<u8>,
}

#[derive(Clone)]
struct Asked {
    path: String,
    headers: HeaderMap,
    answered: StatusCode,
    at: tokio::time::Instant,
}

#[derive(Clone)]
struct Server {
    shelf: Arc<Mutex<Shelf>>,
    address: SocketAddr,
}

impl Server {
    async fn start() -> Self {
        let shelf = Arc::new(Mutex::new(Shelf::default()));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let router = Router::new().fallback(answer).with_state(Arc::clone(&shelf));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { shelf, address }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn put(&self, path: &str, page: Page) {
        self.shelf.lock().expect("no panic").pages.insert(path.to_owned(), page);
    }

    fn text(&self, path: &str, body: impl Into<Vec<u8>>) {
        self.put(path, Page { body: body.into(), ..Page::default() });
    }

    fn tagged(&self, path: &str, etag: &str, body: impl Into<Vec<u8>>) {
        self.put(path, Page { body: body.into(), headers: vec![(header::ETAG, etag.to_owned())], status: None });
    }

    fn asked(&self, path: &str) -> Vec<Asked> {
        self.shelf.lock().expect("no panic").asked.iter().filter(|asked| asked.path == path).cloned().collect()
    }

    /// Waits until the feed has been asked this many times more: whatever the answers before led to has begun, and most has ended.
    async fn rounds(&self, site: &Site, path: &str, more: usize) {
        let before = self.asked(path).len();
        site.until(&format!("{more} more requests for {path}"), async || self.asked(path).len() >= before + more).await;
    }
}

async fn answer(State(shelf): State<Arc<Mutex<Shelf>>>, uri: Uri, headers: HeaderMap) -> Response {
    let mut shelf = shelf.lock().expect("no panic");
    let none = Page { status: Some(StatusCode::NOT_FOUND), ..Page::default() };
    let page = shelf.pages.get(uri.path()).cloned().unwrap_or(none);
    let etag = page.headers.iter().find(|(name, _)| name == header::ETAG).map(|(_, value)| value.as_bytes());
    let is_known = etag.is_some() && headers.get(header::IF_NONE_MATCH).map(|value| value.as_bytes()) == etag;
    let answered = if is_known { StatusCode::NOT_MODIFIED } else { page.status.unwrap_or(StatusCode::OK) };
    shelf.asked.push(Asked { path: uri.path().to_owned(), headers, answered, at: tokio::time::Instant::now() });
    let body = if is_known { Vec::new() } else { page.body };
    let mut response = (answered, body).into_response();
    for (name, value) in page.headers {
        response.headers_mut().insert(name, value.parse().expect("a value"));
    }
    response
}

fn table(name: &str, url: &str, more: &str) -> String {
    format!("[inlet.{name}]\nkind = \"feed\"\nsource = \"met\"\nurl = \"{url}\"\nevery = \"100ms\"\ntimeout = \"2s\"\n{more}\n")
}

/// The fixture's red rainstorm as CAP 1.2, sent now, over in `lasts_s`.
fn cap(number: u32, lasts_s: i64) -> String {
    let now = SystemClock.now().whole_seconds();
    let until = lastmile::time::Timestamp::from_ms(now.as_ms() + lasts_s * 1_000);
    let sent = lastmile::time::Timestamp::from_ms(now.as_ms() - 86_400_000);
    let sent = if lasts_s > 0 { now } else { sent };
    include_str!("../../fixtures/alerts/rainstorm-red.cap.xml")
        .replace("51072641600000_20260723101500", &format!("51072641600000_{number:014}"))
        .replace("2026-07-23T10:15:00+08:00", &sent.to_seconds_string())
        .replace("2026-07-23T10:16:00+08:00", &sent.to_seconds_string())
        .replace("2026-07-23T16:15:00+08:00", &until.to_seconds_string())
}

async fn alerts(site: &Site, duty: &Holder) -> Vec<String> {
    let list = site.get("/v1/alerts", duty).await;
    let name = |alert: &Value| alert["identifier"].as_str().expect("an identifier").to_owned();
    let mut names: Vec<String> = list["items"].as_array().expect("items").iter().map(name).collect();
    names.sort();
    names
}

async fn known(site: &Site, duty: &Holder, number: usize) {
    site.until(&format!("{number} alerts"), async || alerts(site, duty).await.len() >= number).await;
}

fn counted(inlet: &str, outcome: &str) -> u64 {
    let line = format!("lastmile_inlet_documents_total{{inlet=\"{inlet}\",outcome=\"{outcome}\"}} ");
    metrics::render().lines().find_map(|text| text.strip_prefix(&line)?.parse().ok()).unwrap_or(0)
}

#[tokio::test]
async fn what_has_not_changed_is_not_sent_again_and_what_has_is_read_again() {
    let server = Server::start().await;
    server.tagged("/alert.xml", "\"one\"", cap(1, 3_600));
    let secrets = "format = \"cap\"\nheaders = { X-Api-Key = \"k3y\" }";
    let site = Site::at(new_home(), "none", &table("cond", &server.url("/alert.xml"), secrets)).await;
    let duty = site.role(Role::Duty);
    known(&site, &duty, 1).await;
    server.rounds(&site, "/alert.xml", 2).await;
    let asked = server.asked("/alert.xml");
    assert_eq!(asked[0].answered, StatusCode::OK);
    assert!(asked[1..].iter().all(|asked| asked.answered == StatusCode::NOT_MODIFIED), "asked again without If-None-Match");
    assert!(asked.iter().all(|asked| asked.headers["x-api-key"] == "k3y"));
    server.tagged("/alert.xml", "\"two\"", cap(2, 3_600));
    known(&site, &duty, 2).await;
    assert_eq!(counted("cond", "accepted"), 2);
    let home = site.into_home().await;
    let site = Site::at(home, "none", &table("cond", &server.url("/alert.xml"), secrets)).await;
    server.rounds(&site, "/alert.xml", 2).await;
    assert_eq!((counted("cond", "accepted"), counted("cond", "repeat")), (2, 0), "a restart remembers");
    site.stop().await;
}

#[tokio::test]
async fn a_feed_that_fails_is_left_alone_as_long_as_it_asks_and_people_are_told() {
    let server = Server::start().await;
    let failing = Page {
        status: Some(StatusCode::SERVICE_UNAVAILABLE),
        headers: vec![(header::RETRY_AFTER, "1".to_owned())],
        body: b"<html>".to_vec(),
    };
    server.put("/feed", failing);
    let site = Site::at(new_home(), "none", &table("failing", &server.url("/feed"), "misses = 5")).await;
    let duty = site.role(Role::Duty);
    server.rounds(&site, "/feed", 2).await;
    let at: Vec<_> = server.asked("/feed").iter().map(|asked| asked.at).collect();
    assert!(at[1] - at[0] >= Duration::from_millis(950), "came again after {:?}", at[1] - at[0]);
    site.until("the loss is told", async || metrics::render().contains("lastmile_inlet_up{inlet=\"failing\"} 0")).await;
    server.text("/feed", cap(1, 3_600));
    known(&site, &duty, 1).await;
    site.until("it is back", async || metrics::render().contains("lastmile_inlet_up{inlet=\"failing\"} 1")).await;
    site.stop().await;
}

#[tokio::test]
async fn a_feed_that_moved_to_another_host_is_not_followed_and_one_within_its_host_is() {
    let (server, other) = (Server::start().await, Server::start().await);
    let moved = |to: String| Page { status: Some(StatusCode::FOUND), headers: vec![(header::LOCATION, to)], body: Vec::new() };
    server.put("/away", moved(other.url("/alert.xml")));
    server.put("/near", moved("/alert.xml".to_owned()));
    for server in [&server, &other] {
        server.text("/alert.xml", cap(1, 3_600));
    }
    let tables = table("away", &server.url("/away"), "") + &table("near", &server.url("/near"), "");
    let site = Site::at(new_home(), "none", &tables).await;
    let duty = site.role(Role::Duty);
    known(&site, &duty, 1).await;
    server.rounds(&site, "/away", 1).await;
    assert!(other.asked("/alert.xml").is_empty(), "the other host was asked");
    assert_eq!((counted("near", "accepted"), counted("away", "accepted")), (1, 0));
    site.stop().await;
}

#[tokio::test]
async fn a_body_without_end_is_given_up_and_an_answer_that_is_no_feed_is_told() {
    let server = Server::start().await;
    server.text("/huge", vec![b' '; (16 << 20) + 1]);
    server.text("/page", "<html><body>Please log in</body></html>");
    let tables = table("huge", &server.url("/huge"), "misses = 1") + &table("page", &server.url("/page"), "format = \"atom\"\nmisses = 1");
    let site = Site::at(new_home(), "none", &tables).await;
    for name in ["huge", "page"] {
        let line = format!("lastmile_inlet_up{{inlet=\"{name}\"}} 0");
        server.rounds(&site, &format!("/{name}"), 2).await;
        site.until("the loss is told", async || metrics::render().contains(&line)).await;
    }
    site.stop().await;
}

fn atom(entries: &[String]) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<feed xmlns=\"http://www.w3.org/2005/Atom\"><id>urn:feed</id><title>预警</title>\
         <updated>2026-07-23T10:15:00+08:00</updated>{}</feed>",
        entries.concat()
    )
}

fn entry(id: &str, updated: &str, content: &str) -> String {
    format!("<entry><id>{id}</id><title>{id}</title><updated>{updated}</updated>{content}</entry>")
}

fn link(href: &str) -> String {
    format!("<link rel=\"alternate\" type=\"application/cap+xml\" href=\"{href}\"/>")
}

fn inside(cap: &str) -> String {
    let start = cap.find("<alert").expect("an alert");
    format!("<content type=\"application/cap+xml\">{}</content>", &cap[start..])
}

const THEN: &str = "2026-07-23T10:15:00+08:00";
const LATER: &str = "2026-07-23T10:16:00+08:00";

#[tokio::test]
async fn each_entry_is_read_once_and_again_when_it_has_changed() {
    let server = Server::start().await;
    server.text("/1.xml", cap(1, 3_600));
    server.text("/old.xml", cap(9, -600));
    let old = entry("urn:old", THEN, &link("/old.xml"));
    let bad = entry("urn:bad", THEN, &inside(&cap(8, 3_600).replace("<severity>Extreme", "<severity>Pink")));
    let one = |updated: &str| entry("urn:1", updated, &link("1.xml"));
    let two = entry("urn:2", THEN, &inside(&cap(2, 3_600)));
    server.text("/feed", atom(&[two.clone(), one(THEN), bad.clone(), old.clone()]));
    let site = Site::at(new_home(), "none", &table("once", &server.url("/feed"), "")).await;
    let duty = site.role(Role::Duty);
    known(&site, &duty, 2).await;
    server.rounds(&site, "/feed", 3).await;
    let counts = || ["accepted", "repeat", "refused", "expired"].map(|outcome| counted("once", outcome));
    assert_eq!(counts(), [2, 0, 1, 1]);
    assert_eq!(server.asked("/1.xml").len(), 1, "fetched once");
    server.text("/1.xml", cap(3, 3_600));
    server.text("/feed", atom(&[one(LATER), two, bad, old]));
    known(&site, &duty, 3).await;
    server.rounds(&site, "/feed", 2).await;
    assert_eq!((counts(), server.asked("/1.xml").len()), ([3, 0, 1, 1], 2));
    site.stop().await;
}

#[tokio::test]
async fn a_link_to_a_host_that_is_not_named_is_refused_and_a_link_that_fails_is_tried_again() {
    let (server, other, named) = (Server::start().await, Server::start().await, Server::start().await);
    for (server, number) in [(&other, 1), (&named, 2)] {
        server.text("/a.xml", cap(number, 3_600));
    }
    server.put("/late.xml", Page { status: Some(StatusCode::BAD_GATEWAY), ..Page::default() });
    let entries = [
        entry("urn:forbidden", THEN, &link(&other.url("/a.xml"))),
        entry("urn:named", THEN, &link(&named.url("/a.xml"))),
        entry("urn:late", THEN, &link("/late.xml")),
    ];
    server.tagged("/feed", "\"same\"", atom(&entries));
    let more = format!("allow_hosts = [\"{}\"]\nheaders = {{ X-Api-Key = \"k3y\" }}", named.address);
    let site = Site::at(new_home(), "none", &table("links", &server.url("/feed"), &more)).await;
    let duty = site.role(Role::Duty);
    known(&site, &duty, 1).await;
    assert!(named.asked("/a.xml")[0].headers.get("x-api-key").is_none(), "a key went to another host");
    server.rounds(&site, "/feed", 2).await;
    server.text("/late.xml", cap(3, 3_600));
    known(&site, &duty, 2).await;
    assert_eq!(alerts(&site, &duty).await, ["51072641600000_00000000000002", "51072641600000_00000000000003"]);
    assert!(other.asked("/a.xml").is_empty(), "a host that is not named was asked");
    assert_eq!(counted("links", "refused"), 1);
    assert!(server.asked("/late.xml").iter().all(|asked| asked.headers["x-api-key"] == "k3y"));
    site.stop().await;
}

#[tokio::test]
async fn entries_wait_while_the_store_takes_nothing() {
    let server = Server::start().await;
    server.text("/feed", atom(&[]));
    let tables = table("store", &server.url("/feed"), "");
    let site = Site::at(new_home(), "none", &tables).await;
    server.rounds(&site, "/feed", 1).await;
    site.app.gateway.stop(Duration::from_secs(5)).await.expect("the store is closed under the inlet");
    server.tagged("/feed", "\"one\"", atom(&[entry("urn:1", THEN, &inside(&cap(1, 3_600)))]));
    site.until("it was tried twice", async || counted("store", "put-off") >= 2).await;
    assert_eq!(counted("store", "accepted"), 0);
}

#[tokio::test]
async fn what_could_not_be_written_down_is_a_repeat_after_a_restart_and_what_was_refused_is_tried_again() {
    let server = Server::start().await;
    let other = Server::start().await;
    other.text("/2.xml", cap(2, 3_600));
    server.text("/feed", atom(&[entry("urn:1", THEN, &inside(&cap(1, 3_600))), entry("urn:2", THEN, &link(&other.url("/2.xml")))]));
    let home = new_home();
    let in_the_way = home.path().join("data/documents/inlet.memory.json.draft");
    fs::create_dir_all(&in_the_way).expect("made");
    let site = Site::at(home, "none", &table("memory", &server.url("/feed"), "")).await;
    let duty = site.role(Role::Duty);
    known(&site, &duty, 1).await;
    server.rounds(&site, "/feed", 3).await;
    assert_eq!(["accepted", "repeat", "refused"].map(|outcome| counted("memory", outcome)), [1, 0, 1]);
    let home = site.into_home().await;
    fs::remove_dir(in_the_way).expect("removed");
    // The configuration now names the host that the refused entry leads to.
    let more = format!("allow_hosts = [\"{}\"]", other.address);
    let site = Site::at(home, "none", &table("memory", &server.url("/feed"), &more)).await;
    known(&site, &duty, 2).await;
    assert_eq!(["accepted", "repeat", "refused"].map(|outcome| counted("memory", outcome)), [2, 1, 1]);
    site.stop().await;
}

/// Feeds of other countries: every entry is answered for (none is meant for a county of ours), and none is asked for twice.
#[tokio::test]
async fn feeds_of_the_corpus_are_read_to_their_end() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus/cap/real");
    let mut feeds: Vec<_> = fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    feeds.retain(|path| path.extension().is_some_and(|ending| ending == "atom"));
    if feeds.is_empty() {
        eprintln!("NOT RUN: the corpus of real alerts is not at {}", folder.display());
        return;
    }
    for path in feeds {
        let server = Server::start().await;
        let name = path.file_stem().expect("a name").to_string_lossy().replace('.', "-");
        server.text("/feed", fs::read(&path).expect("readable"));
        let site = Site::at(new_home(), "none", &table(&name, &server.url("/feed"), "misses = 1000")).await;
        server.rounds(&site, "/feed", 3).await;
        let up = format!("lastmile_inlet_up{{inlet=\"{name}\"}} 1");
        assert!(metrics::render().contains(&up), "{name} was not read");
        let (refused, expired) = (counted(&name, "refused"), counted(&name, "expired"));
        eprintln!("{name}: refused {refused}, expired {expired}");
        server.rounds(&site, "/feed", 2).await;
        assert_eq!((counted(&name, "refused"), counted(&name, "expired"), counted(&name, "accepted")), (refused, expired, 0), "{name}");
        site.stop().await;
    }
}
