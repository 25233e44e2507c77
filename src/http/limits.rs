//! Owns what holds for every request: time, panics, headers, the access log.
//! Invariant: no token, key or query of a callback reaches a log.

use std::time::Duration;

use axum::{
    Router, body,
    extract::{MatchedPath, Request},
    http::{HeaderName, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
};
use tower_http::{catch_panic::CatchPanicLayer, set_header::SetResponseHeaderLayer, timeout::TimeoutLayer};

use super::{Edge, problem::Problem};
use crate::telemetry::metrics as meter;

/// An import of a million rows is the longest; streams have no limit.
const REQUEST_TIME: Duration = Duration::from_secs(120);

const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

pub(super) fn timed(router: Router<Edge>) -> Router<Edge> {
    router.layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, REQUEST_TIME))
}

pub(super) fn outer(router: Router<Edge>) -> Router<Edge> {
    let header = |name: HeaderName, value: &'static str| SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value));
    router
        .layer(middleware::from_fn(measured))
        .layer(CatchPanicLayer::new())
        .layer(middleware::map_response(problems))
        .layer(header(header::CONTENT_SECURITY_POLICY, CSP))
        .layer(header(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        // Not "no-referrer": browsers then send "Origin: null" with our own forms, and signing in is refused.
        .layer(header(header::REFERRER_POLICY, "same-origin"))
        .layer(header(header::X_FRAME_OPTIONS, "DENY"))
        .layer(header(header::CACHE_CONTROL, "no-store"))
}

/// Counts and logs by the pattern of the path, which holds no token.
async fn measured(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or_else(|| "other".to_owned(), |path| path.as_str().to_owned());
    let method = request.method().clone();
    let begun = tokio::time::Instant::now();
    let response = next.run(request).await;
    let took = begun.elapsed();
    meter::request(&route, response.status().as_u16(), took.as_secs_f64());
    tracing::debug!(%method, route, status = response.status().as_u16(), took_ms = took.as_millis(), "request");
    response
}

/// An answer in a far end's own form, which is passed on as it is whatever its status.
#[derive(Clone, Copy)]
pub(super) struct OwnForm;

/// What the framework says of a bad request is a line at most.
const SAID_BYTES_MAX: usize = 1_024;

/// Refusals of the framework (method, media type, path, panic, time) become problem documents too.
async fn problems(response: Response) -> Response {
    let status = response.status();
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_ours = kind.starts_with("application/problem+json") || kind.starts_with("text/html");
    if !(status.is_client_error() || status.is_server_error()) || is_ours || response.extensions().get::<OwnForm>().is_some() {
        return response;
    }
    let (head, said) = response.into_parts();
    let said = body::to_bytes(said, SAID_BYTES_MAX).await.unwrap_or_default();
    let mut problem = Problem::of_status(status, &String::from_utf8_lossy(&said)).into_response();
    if let Some(allowed) = head.headers.get(header::ALLOW) {
        problem.headers_mut().insert(header::ALLOW, allowed.clone());
    }
    problem
}
