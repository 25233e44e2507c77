//! Owns what holds for every request: its number, who asks, panics, headers, the access log.
//! Invariant: no token, key or query of a callback reaches a log.

use std::{panic::AssertUnwindSafe, sync::Arc};

use axum::{
    Router, body,
    extract::{MatchedPath, Request, State},
    http::{HeaderName, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
};
use futures::FutureExt as _;
use rand::RngExt as _;
use tracing::Instrument as _;

use super::{Edge, auth::Asker, body::paced, page, problem::Problem, tls::ClientCertificate};
use crate::{access::Caller, telemetry::metrics as meter};

/// The number by which a line of the log is found.
const NUMBER: HeaderName = HeaderName::from_static("x-request-id");

const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// What stands around every request is one layer: each of its own would copy, for each request, all that lie within it.
pub(super) fn outer(router: Router<Edge>, edge: &Edge) -> Router<Edge> {
    router.layer(middleware::from_fn_with_state(edge.clone(), around))
}

const GUARDS: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, CSP),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    // Not "no-referrer": browsers then send "Origin: null" with our own forms, and signing in is refused.
    (header::REFERRER_POLICY, "same-origin"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::CACHE_CONTROL, "no-store"),
    // A link that somebody has published leads no search engine to people's names.
    (HeaderName::from_static("x-robots-tag"), "noindex"),
];

/// Whoever came by TLS once comes by nothing else for a year.
const TLS_ALONE: HeaderValue = HeaderValue::from_static("max-age=31536000");

async fn around(State(edge): State<Edge>, mut request: Request, next: Next) -> Response {
    // A name for which the page is meant to be served by TLS; a certificate for trying out binds nobody.
    let by_tls = edge.settings.secure_cookies && request.extensions().get::<ClientCertificate>().is_some();
    let asker = Asker::settle(&edge, &request);
    request.extensions_mut().insert(Arc::clone(&asker));
    let mut response = measured(request.map(paced), next, &asker).await;
    let headers = response.headers_mut();
    if by_tls {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, TLS_ALONE);
    }
    for (name, value) in GUARDS {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// Counts and logs by the pattern of the path, which holds no token.
async fn measured(request: Request, next: Next, asker: &Asker) -> Response {
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let route = matched.as_ref().map_or("other", MatchedPath::as_str);
    let method = request.method().clone();
    let number = HeaderValue::from_str(&format!("{:016x}", rand::rng().random::<u64>())).unwrap_or_else(|_| HeaderValue::from_static("-"));
    let begun = tokio::time::Instant::now();
    // Reports of far ends come by the thousand; what people and bureaus change is worth a line each.
    let is_plain = method.is_safe() || route.starts_with("/v1/callbacks/");
    let text = number.to_str().unwrap_or_default();
    let span = if is_plain { tracing::debug_span!("request", number = text) } else { tracing::info_span!("request", number = text) };
    let mut response = without_panic(request, next).instrument(span.clone()).await;
    let (took, status) = (begun.elapsed(), response.status());
    meter::request(route, status.as_u16(), took.as_secs_f64());
    span.in_scope(|| {
        let (took_ms, status_code) = (took.as_millis(), status.as_u16());
        let (caller, from) = (asker.caller.as_ref().ok().map(Caller::to_string), asker.address.map(|address| address.to_string()));
        if status.is_server_error() {
            tracing::warn!(%method, route, status = status_code, took_ms, caller, from, "request failed");
        } else if is_plain {
            tracing::debug!(%method, route, status = status_code, took_ms, caller, from, "request");
        } else {
            tracing::info!(%method, route, status = status_code, took_ms, caller, from, "request");
        }
    });
    response.headers_mut().insert(NUMBER, number);
    response
}

/// An answer in a far end's own form, which is passed on as it is whatever its status.
#[derive(Clone, Copy)]
pub(super) struct OwnForm;

/// What the framework says of a bad request is a line at most.
const SAID_BYTES_MAX: usize = 1_024;

/// Refusals of the framework (method, media type, path, panic, time) become problem documents too, and a browser gets a page.
async fn without_panic(request: Request, next: Next) -> Response {
    let reader = page::reader(request.headers());
    let response = AssertUnwindSafe(next.run(request)).catch_unwind().await.unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        tracing::error!(said, "a request panicked");
        StatusCode::INTERNAL_SERVER_ERROR.into_response()
    });
    let response = if is_foreign(&response) { translated(response).await } else { response };
    match (reader, response.extensions().get::<Problem>()) {
        (Some(language), Some(problem)) => page::of_problem(language, problem, response.headers()),
        _ => response,
    }
}

fn is_foreign(response: &Response) -> bool {
    let status = response.status();
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_ours = kind.starts_with("application/problem+json") || kind.starts_with("text/html");
    (status.is_client_error() || status.is_server_error()) && !is_ours && response.extensions().get::<OwnForm>().is_none()
}

async fn translated(response: Response) -> Response {
    let status = response.status();
    let (head, said) = response.into_parts();
    let said = body::to_bytes(said, SAID_BYTES_MAX).await.unwrap_or_default();
    let mut problem = Problem::of_status(status, &String::from_utf8_lossy(&said)).into_response();
    if let Some(allowed) = head.headers.get(header::ALLOW) {
        problem.headers_mut().insert(header::ALLOW, allowed.clone());
    }
    problem
}
