//! Owns what people and far ends call: the answer page of contract §4 and provider callbacks.
//! Refuses to know providers' forms. Invariant: a GET never acknowledges; a callback is answered only when its reports are durable.

use axum::{
    Extension,
    body::Bytes,
    extract::{Path, RawQuery, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{Html, IntoResponse, Response},
};
use serde::Deserialize;

use super::{
    Edge,
    around::OwnForm,
    body::{Sent, SentForm},
    page,
    problem::Problem,
};
use crate::{alert, channel::Callback, delivery::event::Choice, engine::answer::Answerer};

/// Receipts come in batches of a few hundred; a raw mail report is the largest.
pub(super) const CALLBACK_BYTES_MAX: usize = 1 << 20;

pub(super) async fn page(State(edge): State<Edge>, Path(token): Path<String>) -> Result<Response, Problem> {
    let who = edge.gateway.answerer(&token).await?;
    Ok(private(Html(shown(&edge, &who, &token))))
}

#[derive(Deserialize)]
pub(super) struct Given {
    choice: Choice,
}

pub(super) async fn answer(
    State(edge): State<Edge>,
    Path(token): Path<String>,
    SentForm(given): SentForm<Given>,
) -> Result<Response, Problem> {
    let who = edge.gateway.answer(&token, given.choice).await?;
    Ok(private(Html(shown(&edge, &who, &token))))
}

/// Not kept by the phone, not found by a search, not told to the next page.
fn private(page: impl IntoResponse) -> Response {
    let mut response = page.into_response();
    response.headers_mut().insert("x-robots-tag", HeaderValue::from_static("noindex"));
    response.headers_mut().insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

fn shown(edge: &Edge, who: &Answerer, token: &str) -> String {
    let snapshot = edge.gateway.snapshot();
    let person = snapshot.subscriber(who.key);
    let point = person.as_ref().and_then(|person| person.hazard_point()).or_else(|| {
        // Who watches a hazard point leads its people out of it.
        let person = person.as_ref()?;
        let points = snapshot.hazard_points_in(person.area()).map(|position| snapshot.hazard_point_at(position));
        points.into_iter().find(|point| point.monitor_key() == Some(person.key()))
    });
    let alert = &who.shelf.alert;
    let (choice, state) = {
        let book = who.details.read();
        let choice = book.last_word(who.recipient).map(|last| last.choice);
        (choice, book.state)
    };
    let is_over = who.is_filed || alert.is_all_clear() || state.is_over() && state != crate::delivery::book::State::Completed;
    page::answer(&page::AnswerPage {
        token,
        drill: alert.status.is_drill(),
        level: alert.level.name(),
        title: &format!(
            "{}{}预警",
            if alert.event_name.is_empty() { alert::event_name(&alert.event) } else { &alert.event_name },
            alert.level.chinese()
        ),
        headline: &alert.headline,
        instruction: &alert.instruction,
        description: &alert.description,
        until: &alert.expires.format("%-m月%-d日 %H:%M"),
        issuer: if alert.sender_name.is_empty() { &alert.sender } else { &alert.sender_name },
        is_over,
        hazard: point.as_ref().map(|point| page::HazardView {
            name: point.name(),
            alarm: point.alarm(),
            route: point.route(),
            shelter: point.shelter(),
        }),
        answered: who.answered.map(|at| at.format("%H:%M")),
        choice,
    })
}

pub(super) async fn callback(
    State(edge): State<Edge>,
    method: Method,
    Path((kind, channel)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    Sent(body): Sent<CALLBACK_BYTES_MAX>,
) -> Result<Response, Problem> {
    take(&edge, &method, (&kind, &channel, ""), query, &headers, body).await
}

pub(super) async fn callback_about(
    State(edge): State<Edge>,
    method: Method,
    Path((kind, channel, what)): Path<(String, String, String)>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    Sent(body): Sent<CALLBACK_BYTES_MAX>,
) -> Result<Response, Problem> {
    take(&edge, &method, (&kind, &channel, &what), query, &headers, body).await
}

async fn take(
    edge: &Edge,
    method: &Method,
    (kind, channel, what): (&str, &str, &str),
    query: Option<String>,
    headers: &HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let callback = Callback { what: what.to_owned(), method: method.to_string(), query: query.unwrap_or_default(), content_type, body };
    let reception = edge.gateway.callback(kind, channel, &callback).await?;
    let status = StatusCode::from_u16(reception.status).unwrap_or(StatusCode::OK);
    Ok((status, Extension(OwnForm), [(header::CONTENT_TYPE, reception.content_type)], reception.body).into_response())
}
