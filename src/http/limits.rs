//! Owns how many requests may be under way, of whom, and for how long.
//! Refuses to know what they ask for. Invariant: nobody unknown takes a place that somebody known needs, and nobody holds a place of work
//! while a body is still on its way from a stranger.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Request, State},
    http::{Method, StatusCode},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
};
use tracing::Instrument as _;

use super::{
    Edge, answers,
    auth::Asker,
    body::{self, WORDS_MAX},
    places::{Holder, Place, Places},
    problem::Problem,
};

/// An import of a million rows is the longest; streams have no limit.
const REQUEST_TIME: Duration = Duration::from_secs(120);
/// A form is one packet; the phone of a villager on the edge of a cell needs some seconds.
const FORM_TIME: Duration = Duration::from_secs(10);
/// A batch of receipts over a provider's slow line.
const CALLBACK_TIME: Duration = Duration::from_secs(30);

/// Places for each kind of request. More of one kind would only wait for each other; shares keep one holder from having all.
pub(super) struct Limits {
    /// Alerts that are posted: nobody else's requests take these, so a warning gets in whatever goes on beside it.
    alerts: Arc<Places>,
    /// People who are signed in, and keys.
    known: Arc<Places>,
    /// Whoever has shown nothing: gets a page, a refusal, a file of the page, each in a moment.
    strangers: Arc<Places>,
    /// Sign-in forms on their way.
    forms: Arc<Places>,
    /// Answers of people on their way: a mobile network stands behind few addresses.
    answers: Arc<Places>,
    /// Reports of far ends on their way: a provider reports from few addresses, many at a time.
    callbacks: Arc<Places>,
    /// Answers and reports that are here whole.
    public: Arc<Places>,
    /// Passwords that wait to be checked: of browsers that are known, and of others.
    pub(super) known_sign_ins: Arc<Places>,
    pub(super) sign_ins: Arc<Places>,
    /// Reports with every delivery.
    pub(super) reports: Arc<Places>,
    /// Live streams: every screen of a county and its townships, a few alerts each.
    pub(super) streams: Arc<Places>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            alerts: Places::new(256, 64),
            known: Places::new(512, 128),
            strangers: Places::new(128, 16),
            forms: Places::new(256, 8),
            answers: Places::new(512, 64),
            callbacks: Places::new(512, 128),
            public: Places::new(512, 512),
            known_sign_ins: Places::new(64, 64),
            sign_ins: Places::new(32, 4),
            reports: Places::new(2, 1),
            streams: Places::new(1_000, 20),
        }
    }
}

pub(super) fn ours(router: Router<Edge>, edge: &Edge) -> Router<Edge> {
    router.layer(middleware::from_fn_with_state(edge.clone(), of_ours))
}

pub(super) fn sign_in(router: Router<Edge>, edge: &Edge) -> Router<Edge> {
    router.layer(middleware::from_fn_with_state(edge.clone(), of_form))
}

pub(super) fn links(router: Router<Edge>, edge: &Edge) -> Router<Edge> {
    router.layer(middleware::from_fn_with_state(edge.clone(), of_link))
}

pub(super) fn callbacks(router: Router<Edge>, edge: &Edge) -> Router<Edge> {
    router.layer(middleware::from_fn_with_state(edge.clone(), of_callback))
}

pub(super) fn timed(router: Router<Edge>) -> Router<Edge> {
    router.layer(middleware::from_fn(in_time))
}

fn busy() -> Response {
    Problem::busy("too many requests are under way").into_response()
}

async fn of_ours(State(edge): State<Edge>, request: Request, next: Next) -> Response {
    let asker = Asker::of(&request);
    let is_alert = request.method() == Method::POST && matches!(request.uri().path(), "/v1/alerts" | "/v1/alerts/preview");
    let place = match &asker.caller {
        Ok(caller) if is_alert => edge.limits.alerts.take(Some(Holder::caller(caller))),
        Ok(caller) => edge.limits.known.take(Some(Holder::caller(caller))),
        Err(_) => edge.limits.strangers.take(asker.holder()),
    };
    match place {
        Some(_place) => in_time(request, next).await,
        None => busy(),
    }
}

/// The form is read before anything waits for it; whoever sends half of one holds a place of those who are sending.
async fn of_form(State(edge): State<Edge>, request: Request, next: Next) -> Response {
    let place = edge.limits.forms.take(Asker::of(&request).holder());
    match arrived(place, request, WORDS_MAX, FORM_TIME).await {
        Ok(request) => in_time(request, next).await,
        Err(refused) => refused,
    }
}

async fn of_link(State(edge): State<Edge>, request: Request, next: Next) -> Response {
    // Whoever has no link of ours need not send a body at all.
    let token = request.uri().path().strip_prefix("/a/").unwrap_or_default();
    if request.method() == Method::POST && !edge.gateway.is_answer_link(token) {
        return Problem::not_found("this link is none of ours").into_response();
    }
    let place = edge.limits.answers.take(Asker::of(&request).holder());
    public(&edge, arrived(place, request, WORDS_MAX, FORM_TIME).await, next).await
}

async fn of_callback(State(edge): State<Edge>, request: Request, next: Next) -> Response {
    let place = edge.limits.callbacks.take(Asker::of(&request).holder());
    public(&edge, arrived(place, request, answers::CALLBACK_BYTES_MAX, CALLBACK_TIME).await, next).await
}

async fn public(edge: &Edge, arrived: Result<Request, Response>, next: Next) -> Response {
    let request = match arrived {
        Ok(request) => request,
        Err(refused) => return refused,
    };
    match edge.limits.public.take(None) {
        Some(_place) => in_time(request, next).await,
        None => busy(),
    }
}

/// The request with its body whole; the place is for as long as that takes.
async fn arrived(place: Option<Place>, request: Request, most: usize, within: Duration) -> Result<Request, Response> {
    let Some(_place) = place else { return Err(busy()) };
    body::whole(request, most, within).await.map_err(Problem::into_response)
}

/// What changes something is carried to its end though whoever asked hangs up: an alert that is on disk must also be planned.
async fn in_time(request: Request, next: Next) -> Response {
    // What far ends report is carried to its end where it is kept.
    let is_safe = request.method().is_safe() || request.uri().path().starts_with("/v1/callbacks/");
    let answered = tokio::time::timeout(REQUEST_TIME, next.run(request));
    let answer = if is_safe {
        answered.await
    } else {
        match tokio::spawn(answered.in_current_span()).await {
            Ok(answer) => answer,
            // Panics are caught further out, as those of every other request.
            Err(ended) => match ended.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => return StatusCode::SERVICE_UNAVAILABLE.into_response(),
            },
        }
    };
    answer.unwrap_or_else(|_| StatusCode::SERVICE_UNAVAILABLE.into_response())
}
