//! Owns telling who asks: a bearer key of a system, or the session cookie of a person.
//! Refuses to grant: that is `access`. Invariant: a request that changes something by cookie must come from our own page.

use std::{
    convert::Infallible,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::{
    extract::{ConnectInfo, FromRequestParts, Request},
    http::{Extensions, HeaderMap, HeaderName, Method, header, request::Parts},
};
use secrecy::{ExposeSecret as _, SecretString};

use super::{Edge, address, places::Holder, problem::Problem};
use crate::access::{Action, Caller, CallerKind};

pub(super) const COOKIE: &str = "lastmile_session";
/// Over TLS: browsers take such a cookie from this very host alone, and over TLS alone.
const HOST_COOKIE: &str = "__Host-lastmile_session";

/// Extracts the caller, or answers 401.
pub(super) struct Who(pub(super) Caller);

impl Who {
    /// The caller, if their role allows the action.
    pub(super) fn may(self, action: Action) -> Result<Caller, Problem> {
        if self.0.may(action) {
            Ok(self.0)
        } else {
            Err(Problem::forbidden(format!("the role {} has no right to {}", self.0.role, action.words())))
        }
    }
}

/// Who asks and from where, settled once for each request, before it takes a place.
#[derive(Debug)]
pub(super) struct Asker {
    /// Where the request comes from, past proxies that are trusted; `None` where such a proxy does not say.
    pub(super) address: Option<IpAddr>,
    /// The other end of the connection.
    peer: Option<IpAddr>,
    pub(super) caller: Result<Caller, Unknown>,
}

/// Why nobody known asks.
#[derive(Clone, Copy, Debug)]
pub(super) enum Unknown {
    Nothing,
    WrongKey,
}

impl Asker {
    pub(super) fn settle(edge: &Edge, request: &Request) -> Arc<Self> {
        let headers = request.headers();
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip());
        let address = peer.and_then(|peer| address::client(peer, headers, &edge.settings.trusted_proxies));
        let caller = match bearer(headers) {
            Some(key) => edge.access.verify_key(key).ok_or(Unknown::WrongKey),
            None => person(edge, headers).ok_or(Unknown::Nothing),
        };
        if let (Ok(_), Some(peer)) = (&caller, peer) {
            edge.known_addresses.saw(peer);
        }
        Arc::new(Self { address, peer, caller })
    }

    /// The one who was settled for this request.
    pub(super) fn of(request: &Request) -> Arc<Self> {
        Self::among(request.extensions())
    }

    /// For records: the client, or the other end of the connection where a proxy does not say whom it stands for.
    pub(super) fn recorded_address(&self) -> Option<IpAddr> {
        self.address.or(self.peer)
    }

    pub(super) fn among(extensions: &Extensions) -> Arc<Self> {
        extensions
            .get::<Arc<Self>>()
            .map_or_else(|| Arc::new(Self { address: None, peer: None, caller: Err(Unknown::Nothing) }), Arc::clone)
    }

    /// Where whoever asks is, or the proxy that does not say.
    pub(super) fn place(&self) -> Option<IpAddr> {
        self.address.or(self.peer)
    }

    /// Whose share the request counts against, while nobody known stands behind it.
    pub(super) fn holder(&self) -> Option<Holder> {
        self.address.map(Holder::at)
    }
}

impl Who {
    /// The caller, if their role allows the action and no area limits them: what holds the whole county is no township's.
    pub(super) fn may_everywhere(self, action: Action) -> Result<Caller, Problem> {
        let caller = self.may(action)?;
        if caller.areas.is_empty() {
            return Ok(caller);
        }
        Err(Problem::forbidden(format!("this account is limited to an area and has no right to {}", action.words())))
    }
}

impl FromRequestParts<Edge> for Who {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, edge: &Edge) -> Result<Self, Problem> {
        let caller = match &Asker::among(&parts.extensions).caller {
            Ok(caller) => caller.clone(),
            Err(Unknown::WrongKey) => return Err(Problem::wrong_key()),
            Err(Unknown::Nothing) => return Err(Problem::unauthorized()),
        };
        let changes = !matches!(parts.method, Method::GET | Method::HEAD);
        if caller.kind == CallerKind::User && changes {
            is_same_origin(edge, &parts.headers)?;
        }
        edge.access.may_ask(&caller).map_err(Problem::too_often)?;
        Ok(Self(caller))
    }
}

/// What a caller has shown, to ask again later whether it still stands: a live stream outlives the question.
pub(super) enum Standing {
    Key(SecretString),
    Session(String),
}

impl Standing {
    pub(super) fn still(&self, edge: &Edge) -> Option<Caller> {
        match self {
            Self::Key(key) => edge.access.verify_key(key.expose_secret()),
            Self::Session(id) => {
                let (user, mark) = edge.sessions.still_user_of(id, edge.gateway.clock().now())?;
                edge.access.caller_of_session(&user, mark)
            }
        }
    }
}

impl FromRequestParts<Edge> for Standing {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, edge: &Edge) -> Result<Self, Problem> {
        let key = bearer(&parts.headers).map(|key| Self::Key(key.into()));
        key.or_else(|| session_id(edge, &parts.headers).map(|id| Self::Session(id.to_owned()))).ok_or_else(Problem::unauthorized)
    }
}

/// Where a request comes from, where that is known.
pub(super) struct Peer(pub(super) Option<IpAddr>);

impl FromRequestParts<Edge> for Peer {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &Edge) -> Result<Self, Infallible> {
        Ok(Self(Asker::among(&parts.extensions).address))
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ").map(str::trim)
}

pub(super) fn session_cookie(edge: &Edge) -> &'static str {
    if edge.settings.secure_cookies { HOST_COOKIE } else { COOKIE }
}

pub(super) fn session_id<'a>(edge: &Edge, headers: &'a HeaderMap) -> Option<&'a str> {
    cookie(headers, session_cookie(edge))
}

pub(super) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    // HTTP/2 may bring them in several lines (RFC 9113, section 8.2.3).
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(known, _)| *known == name).map(|(_, value)| value)
}

/// The signed-in person behind a request, if any.
pub(super) fn person(edge: &Edge, headers: &HeaderMap) -> Option<Caller> {
    let (user, mark) = edge.sessions.user_of(session_id(edge, headers)?, edge.gateway.clock().now())?;
    edge.access.caller_of_session(&user, mark)
}

/// By what a page cannot forge: `Sec-Fetch-Site` where the browser sends it, and `Origin`, which every browser sends with a request
/// that changes something. The page's own addresses are those of the configuration: a name that somebody else points at this machine is
/// none of them. On the machine itself, or through a tunnel to it, whoever asks may call it by its own names.
pub(super) fn is_same_origin(edge: &Edge, headers: &HeaderMap) -> Result<(), Problem> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let is_foreign = text(HeaderName::from_static("sec-fetch-site")).is_some_and(|site| site != "same-origin");
    let settings = &edge.settings;
    let is_ours = |origin: &str| {
        let known = [&settings.public_url].into_iter().chain(&settings.page_urls).any(|url| origin_of(url) == origin);
        known || is_this_machine(origin) && text(header::HOST) == origin.split_once("://").map(|(_, host)| host)
    };
    if !is_foreign && text(header::ORIGIN).is_some_and(is_ours) {
        Ok(())
    } else {
        Err(Problem::foreign_page(origin_of(&settings.public_url)))
    }
}

/// Scheme, host and port of an address.
fn origin_of(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + "://".len());
    url[host..].find('/').map_or(url, |end| &url[..host + end])
}

fn is_this_machine(origin: &str) -> bool {
    let Some((_, host)) = origin.split_once("://") else { return false };
    let name = if host.starts_with('[') { host.split_inclusive(']').next() } else { host.split(':').next() };
    name.is_some_and(|name| matches!(name, "localhost" | "127.0.0.1" | "[::1]"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_ends_where_the_path_begins_and_a_look_alike_is_not_this_machine() {
        assert_eq!(origin_of("https://warn.example:8443/a/b"), "https://warn.example:8443");
        assert_eq!(origin_of("http://10.0.0.1"), "http://10.0.0.1");
        for own in ["http://localhost:8080", "http://127.0.0.1", "https://[::1]:8443"] {
            assert!(is_this_machine(own), "{own}");
        }
        for foreign in ["http://localhost.evil.example", "http://127.0.0.1.evil.example:8080", "null", "http://evil.example"] {
            assert!(!is_this_machine(foreign), "{foreign}");
        }
    }
}
