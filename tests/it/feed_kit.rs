//! Owns a small real server on loopback for tests of whatever asks for feeds: pages with status, headers and version, and what it was asked.
//! Refuses to know feeds.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode, Uri, header},
    response::{IntoResponse as _, Response},
};

use lastmile::{
    telemetry::metrics,
    time::{Clock as _, SystemClock, Timestamp},
};

use crate::http_kit::Site;

/// What a server answers, and what it was asked.
#[derive(Default)]
struct Shelf {
    pages: HashMap<String, Page>,
    asked: Vec<Asked>,
}

#[derive(Clone, Default)]
pub(crate) struct Page {
    pub(crate) status: Option<StatusCode>,
    pub(crate) headers: Vec<(header::HeaderName, String)>,
    pub(crate) body: Vec<u8>,
}

#[derive(Clone)]
pub(crate) struct Asked {
    path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) answered: StatusCode,
    pub(crate) at: tokio::time::Instant,
}

#[derive(Clone)]
pub(crate) struct Server {
    shelf: Arc<Mutex<Shelf>>,
    pub(crate) address: SocketAddr,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let shelf = Arc::new(Mutex::new(Shelf::default()));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let router = Router::new().fallback(answer).with_state(Arc::clone(&shelf));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { shelf, address }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn put(&self, path: &str, page: Page) {
        self.shelf.lock().expect("no panic").pages.insert(path.to_owned(), page);
    }

    pub(crate) fn text(&self, path: &str, body: impl Into<Vec<u8>>) {
        self.put(path, Page { body: body.into(), ..Page::default() });
    }

    pub(crate) fn tagged(&self, path: &str, etag: &str, body: impl Into<Vec<u8>>) {
        self.put(path, Page { body: body.into(), headers: vec![(header::ETAG, etag.to_owned())], status: None });
    }

    pub(crate) fn asked(&self, path: &str) -> Vec<Asked> {
        self.shelf.lock().expect("no panic").asked.iter().filter(|asked| asked.path == path).cloned().collect()
    }

    /// Waits until the feed has been asked this many times more: whatever the answers before led to has begun, and most has ended.
    pub(crate) async fn rounds(&self, site: &Site, path: &str, more: usize) {
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

pub(crate) fn table(name: &str, url: &str, more: &str) -> String {
    format!("[inlet.{name}]\nkind = \"feed\"\nsource = \"met\"\nurl = \"{url}\"\nevery = \"100ms\"\ntimeout = \"2s\"\n{more}\n")
}

/// The fixture's red rainstorm as CAP 1.2, sent now, over in `lasts_s`.
pub(crate) fn cap(number: u32, lasts_s: i64) -> String {
    let now = SystemClock.now().whole_seconds();
    let until = Timestamp::from_ms(now.as_ms() + lasts_s * 1_000);
    let sent = Timestamp::from_ms(now.as_ms() - 86_400_000);
    let sent = if lasts_s > 0 { now } else { sent };
    include_str!("../../fixtures/alerts/rainstorm-red.cap.xml")
        .replace("51072641600000_20260723101500", &format!("51072641600000_{number:014}"))
        .replace("2026-07-23T10:15:00+08:00", &sent.to_seconds_string())
        .replace("2026-07-23T10:16:00+08:00", &sent.to_seconds_string())
        .replace("2026-07-23T16:15:00+08:00", &until.to_seconds_string())
}

pub(crate) fn counted(inlet: &str, outcome: &str) -> u64 {
    let line = format!("lastmile_inlet_documents_total{{inlet=\"{inlet}\",outcome=\"{outcome}\"}} ");
    metrics::render().lines().find_map(|text| text.strip_prefix(&line)?.parse().ok()).unwrap_or(0)
}

pub(crate) fn atom(entries: &[String]) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<feed xmlns=\"http://www.w3.org/2005/Atom\"><id>urn:feed</id><title>预警</title>\
         <updated>2026-07-23T10:15:00+08:00</updated>{}</feed>",
        entries.concat()
    )
}

pub(crate) fn entry(id: &str, updated: &str, content: &str) -> String {
    format!("<entry><id>{id}</id><title>{id}</title><updated>{updated}</updated>{content}</entry>")
}

pub(crate) fn link(href: &str) -> String {
    format!("<link rel=\"alternate\" type=\"application/cap+xml\" href=\"{href}\"/>")
}

pub(crate) fn inside(cap: &str) -> String {
    let start = cap.find("<alert").expect("an alert");
    format!("<content type=\"application/cap+xml\">{}</content>", &cap[start..])
}
