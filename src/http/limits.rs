//! Owns what holds for every request: its number, time, panics, headers, the access log.
//! Invariant: no token, key or query of a callback reaches a log.

use std::time::Duration;

use axum::{
    Router, body,
    extract::{MatchedPath, Request},
    http::{HeaderName, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
};
use rand::RngExt as _;
use tokio::sync::Semaphore;
use tower_http::{catch_panic::CatchPanicLayer, set_header::SetResponseHeaderLayer, timeout::TimeoutLayer};
use tracing::Instrument as _;

use super::{Edge, page, problem::Problem};
use crate::telemetry::metrics as meter;

/// An import of a million rows is the longest; streams have no limit.
const REQUEST_TIME: Duration = Duration::from_secs(120);

/// The number by which a line of the log is found.
const NUMBER: HeaderName = HeaderName::from_static("x-request-id");

const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

pub(super) fn timed(router: Router<Edge>) -> Router<Edge> {
    router.layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, REQUEST_TIME)).layer(middleware::from_fn(to_the_end))
}

/// What changes something is carried to its end though whoever asked hangs up: an alert that is on disk must also be planned.
async fn to_the_end(request: Request, next: Next) -> Response {
    if request.method().is_safe() {
        return next.run(request).await;
    }
    match tokio::spawn(next.run(request).in_current_span()).await {
        Ok(response) => response,
        // The layer that catches panics stands further out, as for every other request.
        Err(ended) => match ended.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        },
    }
}

pub(super) fn outer(router: Router<Edge>) -> Router<Edge> {
    let header = |name: HeaderName, value: &'static str| SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value));
    router
        .layer(CatchPanicLayer::new())
        .layer(middleware::from_fn(problems))
        .layer(middleware::from_fn(measured))
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
    let number = HeaderValue::from_str(&format!("{:016x}", rand::rng().random::<u64>())).unwrap_or_else(|_| HeaderValue::from_static("-"));
    let begun = tokio::time::Instant::now();
    let span = tracing::info_span!("request", number = number.to_str().unwrap_or_default());
    let mut response = next.run(request).instrument(span.clone()).await;
    let (took, status) = (begun.elapsed(), response.status());
    meter::request(&route, status.as_u16(), took.as_secs_f64());
    span.in_scope(|| {
        let took_ms = took.as_millis();
        // Reports of far ends come by the thousand; what people and bureaus change is worth a line each.
        if status.is_server_error() {
            tracing::warn!(%method, route, status = status.as_u16(), took_ms, "request failed");
        } else if method.is_safe() || route.starts_with("/v1/callbacks/") {
            tracing::debug!(%method, route, status = status.as_u16(), took_ms, "request");
        } else {
            tracing::info!(%method, route, status = status.as_u16(), took_ms, "request");
        }
    });
    response.headers_mut().insert(NUMBER, number);
    response
}

/// Requests under way of people and systems who have signed in or are about to; more would only wait for each other.
static OURS: Semaphore = Semaphore::const_new(512);
/// Those of whoever holds a link and of far ends: however many come, the duty room is not kept waiting by them.
static PUBLIC: Semaphore = Semaphore::const_new(512);

pub(super) fn ours(router: Router<Edge>) -> Router<Edge> {
    router.layer(middleware::from_fn(|request: Request, next: Next| within(&OURS, request, next)))
}

pub(super) fn public(router: Router<Edge>) -> Router<Edge> {
    router.layer(middleware::from_fn(|request: Request, next: Next| within(&PUBLIC, request, next)))
}

async fn within(places: &'static Semaphore, request: Request, next: Next) -> Response {
    match places.try_acquire() {
        Ok(_place) => next.run(request).await,
        Err(_) => Problem::busy("too many requests are under way").into_response(),
    }
}

/// An answer in a far end's own form, which is passed on as it is whatever its status.
#[derive(Clone, Copy)]
pub(super) struct OwnForm;

/// What the framework says of a bad request is a line at most.
const SAID_BYTES_MAX: usize = 1_024;

/// Refusals of the framework (method, media type, path, panic, time) become problem documents too, and a browser gets a page.
async fn problems(request: Request, next: Next) -> Response {
    let reader = page::reader(request.headers());
    let response = next.run(request).await;
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
