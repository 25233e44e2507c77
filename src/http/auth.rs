//! Owns telling who asks: a bearer key of a system, or the session cookie of a person.
//! Refuses to grant: that is `access`. Invariant: a request that changes something by cookie must come from our own page.

use std::{
    convert::Infallible,
    net::{IpAddr, SocketAddr},
};

use axum::{
    extract::{ConnectInfo, FromRequestParts},
    http::{HeaderMap, HeaderName, Method, header, request::Parts},
};

use secrecy::{ExposeSecret as _, SecretString};

use super::{Edge, problem::Problem};
use crate::access::{Action, Caller};

pub(super) const COOKIE: &str = "lastmile_session";

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

impl FromRequestParts<Edge> for Who {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, edge: &Edge) -> Result<Self, Problem> {
        if let Some(key) = bearer(&parts.headers) {
            let caller = edge.access.verify_key(key).ok_or_else(Problem::wrong_key)?;
            return paced(edge, caller);
        }
        let caller = person(edge, &parts.headers).ok_or_else(Problem::unauthorized)?;
        let changes = !matches!(parts.method, Method::GET | Method::HEAD);
        if changes && !is_same_origin(edge, &parts.headers) {
            return Err(Problem::forbidden("the request does not come from this page"));
        }
        paced(edge, caller)
    }
}

fn paced(edge: &Edge, caller: Caller) -> Result<Who, Problem> {
    edge.access.may_ask(&caller).map_err(Problem::too_often)?;
    Ok(Who(caller))
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

    async fn from_request_parts(parts: &mut Parts, _: &Edge) -> Result<Self, Problem> {
        let key = bearer(&parts.headers).map(|key| Self::Key(key.into()));
        key.or_else(|| session_id(&parts.headers).map(|id| Self::Session(id.to_owned()))).ok_or_else(Problem::unauthorized)
    }
}

/// Where a request comes from, when the listener knows.
pub(super) struct Peer(pub(super) Option<IpAddr>);

impl FromRequestParts<Edge> for Peer {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &Edge) -> Result<Self, Infallible> {
        Ok(Self(parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(address)| address.ip())))
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ").map(str::trim)
}

pub(super) fn session_id(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get(header::COOKIE)?.to_str().ok()?;
    cookies.split(';').filter_map(|pair| pair.trim().split_once('=')).find(|(name, _)| *name == COOKIE).map(|(_, value)| value)
}

/// The signed-in person behind a request, if any.
pub(super) fn person(edge: &Edge, headers: &HeaderMap) -> Option<Caller> {
    let (user, mark) = edge.sessions.user_of(session_id(headers)?, edge.gateway.clock().now())?;
    edge.access.caller_of_session(&user, mark)
}

/// By what a page cannot forge: `Sec-Fetch-Site` where the browser sends it, and `Origin`, which every browser sends with a request
/// that changes something.
pub(super) fn is_same_origin(edge: &Edge, headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if text(HeaderName::from_static("sec-fetch-site")).is_some_and(|site| site != "same-origin") {
        return false;
    }
    let Some(origin) = text(header::ORIGIN) else { return false };
    let host = origin.split("://").nth(1).unwrap_or_default();
    text(header::HOST) == Some(host) || edge.settings.public_url.trim_end_matches('/') == origin
}
