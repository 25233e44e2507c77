//! Owns asking for a feed and for what its entries link to: conditional requests, bounds, and which addresses are gone to.
//! Refuses to know feeds and alerts.
//! Invariant: a header of the configuration goes to the feed's own origin only, and an entry leads nowhere that the configuration does not name.

use std::{error::Error as _, time::Duration};

use bytes::Bytes;
use reqwest::{Client, ClientBuilder, RequestBuilder, Response, StatusCode, Url, header, redirect};

use super::{body::body, settings::Settings};
use crate::{
    fault::Fault,
    net::{
        hosts::{self, PublicOnly},
        retry_after::retry_after,
        tls::{self, Trust},
    },
};

/// A feed of a whole country with every alert inside is a few megabytes.
const FEED_BYTES_MAX: usize = 16 << 20;
/// The gateway's own bound on a document is lower in most places; this one keeps memory.
const LINKED_BYTES_MAX: usize = 8 << 20;
/// Moves within one host: to https, to another path.
const REDIRECTS_MAX: usize = 3;
/// A linked warning that takes longer holds up those behind it.
const LINK_TIMEOUT_MAX: Duration = Duration::from_secs(10);

/// What the feed said about the version it gave; sent back as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Version {
    etag: Option<header::HeaderValue>,
    modified: Option<header::HeaderValue>,
}

pub(super) enum Asked {
    Unchanged,
    Body(Bytes, Version),
}

/// Why there is no answer; never with a query, which may hold keys.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) why: String,
    pub(super) retry_after: Option<Duration>,
}

impl Failure {
    pub(super) fn new(why: impl Into<String>) -> Self {
        Self { why: why.into(), retry_after: None }
    }
}

#[derive(Debug)]
pub(super) enum LinkError {
    /// It leads where this feed may not lead.
    Forbidden(Fault),
    /// It may be there later.
    Failed(Failure),
}

pub(super) struct Fetcher {
    settings: Settings,
    /// Goes to the feed's own host, wherever that is.
    own: Client,
    /// Goes to other hosts, in the open net alone.
    open: Client,
}

impl Fetcher {
    pub(super) fn new(settings: Settings, ca: Option<&[u8]>) -> Result<Self, String> {
        let tls = tls::client_config(&ca.map_or(Trust::WebRoots, Trust::Only))?;
        let build = |builder: ClientBuilder| builder.build().map_err(|error| error.without_url().to_string());
        let base = || {
            Client::builder()
                .tls_backend_preconfigured(tls.as_ref().clone())
                .redirect(within_host())
                .no_proxy()
                .connect_timeout(settings.timeout / 2)
                .timeout(settings.timeout)
                .user_agent(concat!("lastmile/", env!("CARGO_PKG_VERSION")))
        };
        let own = build(base())?;
        let open = build(base().dns_resolver(PublicOnly::shared()))?;
        Ok(Self { settings, own, open })
    }

    /// Asks for the feed, unless it still is the version that is known.
    pub(super) async fn feed(&self, known: &Version) -> Result<Asked, Failure> {
        let mut request = self.with_headers(self.own.get(self.settings.url.clone()));
        if let Some(etag) = &known.etag {
            request = request.header(header::IF_NONE_MATCH, etag);
        }
        if let Some(modified) = &known.modified {
            request = request.header(header::IF_MODIFIED_SINCE, modified);
        }
        let response = request.send().await.map_err(broken)?;
        if response.status() == StatusCode::NOT_MODIFIED && *known != Version::default() {
            return Ok(Asked::Unchanged);
        }
        let response = judged(response)?;
        let header = |name| response.headers().get(name).cloned();
        let version = Version { etag: header(header::ETAG), modified: header(header::LAST_MODIFIED) };
        Ok(Asked::Body(body(response, FEED_BYTES_MAX).await?, version))
    }

    /// Fetches what an entry links to; a relative link starts from the feed.
    pub(super) async fn link(&self, link: &str) -> Result<Bytes, LinkError> {
        let forbidden = |why: &str| LinkError::Forbidden(Fault::new("link", "forbidden-link", format!("{link:?} {why}")));
        let url = self.settings.url.join(link).map_err(|_| forbidden("is not an address"))?;
        let request = match self.way_to(&url).await {
            Way::Own if is_same_origin(&url, &self.settings.url) => self.with_headers(self.own.get(url)),
            Way::Own => self.own.get(url),
            Way::Open => self.open.get(url),
            Way::None(why) => return Err(forbidden(why)),
        };
        let request = request.timeout(self.settings.timeout.min(LINK_TIMEOUT_MAX));
        let fetched = async { body(judged(request.send().await.map_err(broken)?)?, LINKED_BYTES_MAX).await };
        fetched.await.map_err(LinkError::Failed)
    }

    async fn way_to(&self, url: &Url) -> Way {
        let feed = &self.settings.url;
        if !matches!(url.scheme(), "http" | "https") || !url.username().is_empty() || url.password().is_some() {
            return Way::None("is not a plain http or https address");
        }
        // Whoever sits between could put a warning of his own into an answer that nothing protects.
        if feed.scheme() == "https" && url.scheme() != "https" {
            return Way::None("leaves https, which the feed itself keeps to");
        }
        if url.host_str() == feed.host_str() && (url.port().is_none() || url.port() == feed.port()) {
            return Way::Own;
        }
        if !self.settings.allow_hosts.iter().any(|host| host.allows(url)) {
            return Way::None("leads to a host that allow_hosts does not name");
        }
        // Then what it links to may be there too.
        if hosts::is_inside(feed.host_str().unwrap_or_default().trim_matches(['[', ']'])).await {
            return Way::Own;
        }
        match hosts::literal(url) {
            Some(address) if !hosts::is_public(address) => Way::None("leads into a local network, and the feed is in the open net"),
            _ => Way::Open,
        }
    }

    fn with_headers(&self, request: RequestBuilder) -> RequestBuilder {
        request.headers(self.settings.headers.clone())
    }
}

enum Way {
    Own,
    Open,
    None(&'static str),
}

fn is_same_origin(one: &Url, other: &Url) -> bool {
    one.scheme() == other.scheme() && one.host_str() == other.host_str() && one.port_or_known_default() == other.port_or_known_default()
}

/// Follows moves within the host that was asked, never down from https; any other answer stays what it is: no document.
fn within_host() -> redirect::Policy {
    redirect::Policy::custom(|attempt| {
        let first = attempt.previous().first();
        let stays = first.is_some_and(|first| {
            let to = attempt.url();
            let is_upgrade = first.scheme() == "http" && to.scheme() == "https" && to.port().is_none();
            is_same_origin(first, to) || (first.host_str() == to.host_str() && is_upgrade)
        });
        if stays && attempt.previous().len() <= REDIRECTS_MAX { attempt.follow() } else { attempt.stop() }
    })
}

fn judged(response: Response) -> Result<Response, Failure> {
    let status = response.status();
    if status == StatusCode::OK {
        return Ok(response);
    }
    let retry_after = retry_after(response.headers());
    let why = if status.is_redirection() {
        format!("answered {status}: moved to another host, which is not followed")
    } else {
        format!("answered {status}")
    };
    Err(Failure { why, retry_after })
}

pub(super) fn broken(error: reqwest::Error) -> Failure {
    let error = error.without_url();
    let mut why = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        why.push_str(": ");
        why.push_str(&inner.to_string());
        cause = inner.source();
    }
    Failure::new(why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fetcher(url: &str) -> Fetcher {
        let text = format!("source = \"met\"\nurl = \"{url}\"\nallow_hosts = [\"cap.example\", \"10.0.0.7\", \"localhost\"]\n");
        let settings = super::super::settings::read("city", &text.parse().expect("toml")).unwrap_or_else(|faults| panic!("{faults:?}"));
        Fetcher::new(settings, None).unwrap_or_else(|error| panic!("{error}"))
    }

    async fn way(feed: &str, link: &str) -> &'static str {
        let fetcher = fetcher(feed);
        let url = fetcher.settings.url.join(link).expect("a url");
        match fetcher.way_to(&url).await {
            Way::Own => "own",
            Way::Open => "open",
            Way::None(_) => "none",
        }
    }

    #[tokio::test]
    async fn an_entry_leads_only_where_the_configuration_says() {
        // 93.184.215.14 stands for a feed in the open net: nobody is asked for its name.
        let feed = "http://93.184.215.14:8080/feed.atom";
        for (link, expected) in [
            ("alert/1.xml", "own"),
            ("http://93.184.215.14/1.xml", "own"),
            ("http://93.184.215.14:22/", "none"),
            ("https://cap.example/1.xml", "open"),
            ("https://cap.example:8443/1.xml", "none"),
            ("https://other.example/1.xml", "none"),
            ("http://10.0.0.7/1.xml", "none"),
            ("http://127.0.0.1/admin", "none"),
            ("file:///etc/passwd", "none"),
            ("http://user:pw@cap.example/1.xml", "none"),
        ] {
            assert_eq!(way(feed, link).await, expected, "{link}");
        }
        assert_eq!(way("https://93.184.215.14/feed", "http://93.184.215.14/1.xml").await, "none", "down from https");
        assert_eq!(way("http://192.168.1.9/feed", "http://10.0.0.7/1.xml").await, "own", "the feed is inside itself");
    }

    #[tokio::test]
    async fn a_named_host_that_resolves_inside_is_not_reached_from_a_feed_in_the_open_net() {
        let outcome = fetcher("http://93.184.215.14/feed").link("http://localhost/1.xml").await;
        let Err(LinkError::Failed(failure)) = outcome else { panic!("{outcome:?}") };
        assert!(failure.why.contains("not in the open net"), "{failure:?}");
    }
}
