//! Owns `/v1/alerts` (contract §2). Refuses to judge alerts: the engine does.
//! Invariant: 202 is answered only for what the engine says is durable; a bureau sees its own alerts alone.

use std::{collections::HashMap, sync::Arc};

use axum::{
    Json,
    body::Bytes,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Edge,
    auth::Who,
    body::{Sent, SentAlert, WORDS_MAX},
    paging,
    problem::Problem,
    proof::{Connection, prove},
    query,
};
use crate::{
    access::{Action, Caller, Role},
    alert::{self, AlertId},
    area::{AreaCode, AreaLevel},
    delivery::{event::Choice, ledger::Shelf, waiting::Waiting},
    engine::{
        answer::ByHand,
        decide::Decider,
        filed::Details,
        intake::{Actor, Submitted},
        look::Filter,
        preview::Asking,
        preview::Preview,
    },
    registry,
    time::Timestamp,
};

/// Contract §0: a page holds at most this many.
pub(super) const LIMIT_MAX: usize = 1_000;
const LIMIT_DEFAULT: usize = 100;

type Answer<T> = Result<T, Problem>;
type Words = Query<HashMap<String, String>>;

pub(super) async fn submit(
    State(edge): State<Edge>,
    who: Who,
    connection: Connection,
    headers: HeaderMap,
    SentAlert(body): SentAlert,
) -> Answer<Response> {
    let caller = who.may(Action::Post)?;
    prove(&edge, &caller, &connection, &headers, &body).await?;
    let is_verified = caller.source.as_deref().is_some_and(|source| edge.proofs.is_signed_within(source));
    let actor = Actor { name: caller.name, source: caller.source, owner: caller.owner, areas: caller.areas };
    let mut submitted = edge.gateway.submit(&body, content_type(&headers), &actor).await?;
    // The reader of documents looks at no signature; here it was looked at.
    submitted.warnings.retain(|warning| !is_verified || warning.rule != "signature-not-verified");
    let status = if submitted.repeat { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((status, Json(submitted_view(&submitted))).into_response())
}

fn content_type(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok())
}

fn submitted_view(submitted: &Submitted) -> Value {
    let base = format!("/v1/alerts/{}", submitted.id);
    let mut view = json!({
        "id": submitted.id,
        "identifier": submitted.identifier,
        "sender": submitted.sender,
        "state": submitted.state.name(),
        "warnings": submitted.warnings,
        "links": {
            "self": base,
            "cap": format!("{base}/cap"),
            "coverage": format!("{base}/coverage"),
            "deliveries": format!("{base}/deliveries"),
            "calls": format!("{base}/calls"),
            "events": format!("{base}/events"),
        },
    });
    // A document that says several things becomes an alert of each.
    if submitted.all.len() > 1 {
        view["alerts"] = json!(submitted.all);
    }
    view
}

pub(super) async fn preview(State(edge): State<Edge>, who: Who, headers: HeaderMap, SentAlert(body): SentAlert) -> Answer<Response> {
    let caller = who.may(Action::Preview)?;
    let asking = Asking { source: caller.source.clone(), areas: caller.areas.clone() };
    let mut made = edge.gateway.preview(&body, content_type(&headers), &asking).await?;
    mask_people(&mut made, &caller);
    Ok(Json(made).into_response())
}

/// Leaves those whom the caller may know of, in every part of a preview.
fn mask_people(made: &mut Preview, caller: &Caller) {
    made.without_channel.retain(|person| caller.role != Role::Bureau && caller.may_see(person.area));
    if !caller.may(Action::SeePhones) {
        let people = made.without_channel.iter_mut().filter(|person| !registry::role::is_institution(&person.role));
        people.for_each(|person| person.name = registry::mask::name(&person.name));
    }
    made.further.iter_mut().for_each(|further| mask_people(further, caller));
}

/// The alert, if this caller may see it.
pub(super) fn find(edge: &Edge, caller: &Caller, id: &str) -> Answer<Arc<Shelf>> {
    let none = || Problem::not_found("no such alert");
    let shelf = id.parse::<AlertId>().ok().and_then(|id| edge.gateway.ledger().find(id)).ok_or_else(none)?;
    if sees(caller, &shelf) { Ok(shelf) } else { Err(none()) }
}

/// The whole book of the alert, if this caller may see it.
async fn details(edge: &Edge, caller: &Caller, id: &str) -> Answer<Details> {
    Ok(edge.gateway.details(&find(edge, caller, id)?).await?)
}

pub(super) fn sees(caller: &Caller, shelf: &Shelf) -> bool {
    let book = shelf.read();
    let own = caller.role != Role::Bureau || caller.source.as_deref() == Some(book.accepted.source.as_str());
    let meant = || {
        shelf
            .alert
            .areas
            .iter()
            .flat_map(|area| &area.codes)
            .any(|&code| caller.may_see(code) || caller.areas.iter().any(|own| code.contains(*own)))
    };
    own && (caller.areas.is_empty() || meant() || book.told_areas().iter().any(|&area| caller.may_see(area)))
}

/// The alert, if this caller may decide over all of it: what is the whole county's is not one township's to end.
fn find_to_decide(edge: &Edge, caller: &Caller, id: &str) -> Answer<Arc<Shelf>> {
    let shelf = find(edge, caller, id)?;
    if is_all_of(caller, &shelf) { Ok(shelf) } else { Err(Problem::forbidden("the alert reaches beyond the areas of this account")) }
}

/// Whether nothing of the alert lies outside the caller's areas.
pub(super) fn is_all_of(caller: &Caller, shelf: &Shelf) -> bool {
    if caller.areas.is_empty() {
        return true;
    }
    // The plan also holds the county's own officers, so it counts only where a shape says what is meant.
    let is_by_code = shelf.alert.areas.iter().all(|area| !area.codes.is_empty() && area.polygons.is_empty() && area.circles.is_empty());
    let mut codes: Vec<AreaCode> = shelf.alert.areas.iter().flat_map(|area| &area.codes).copied().collect();
    if !is_by_code {
        codes.extend(shelf.read().told_areas());
    }
    !codes.is_empty() && codes.iter().all(|&code| caller.may_see(code))
}

pub(super) async fn list(State(edge): State<Edge>, who: Who, Query(words): Words) -> Answer<Json<Value>> {
    let caller = who.may(Action::Look)?;
    let limit = limit(&words)?;
    let since = match words.get("since") {
        Some(text) => Some(text.parse::<Timestamp>().map_err(|error| Problem::bad_request(error.to_string()))?),
        None => None,
    };
    let before = match words.get("cursor") {
        Some(text) => Some(text.parse::<u32>().map_err(|_| Problem::bad_request("the cursor is not one of ours"))?),
        None => None,
    };
    let fits = |name: &str, value: &str| words.get(name).is_none_or(|wanted| wanted.is_empty() || wanted == value);
    let mut items = Vec::new();
    let mut next = None;
    let ledger = edge.gateway.ledger();
    // Notices to duty about alerts that wait are no warnings, but can be followed like them.
    let shelves = if query::is_set(words.get("notices")) { ledger.newest_first() } else { ledger.warnings() };
    for shelf in shelves {
        if before.is_some_and(|before| shelf.no.0 >= before) || !sees(&caller, &shelf) {
            continue;
        }
        let state = shelf.read().state.name();
        let alert = &shelf.alert;
        let is_late = since.is_none_or(|since| alert.sent >= since);
        if !(fits("state", state) && fits("level", alert.level.name()) && fits("event", alert.event.as_str()) && is_late) {
            continue;
        }
        if items.len() == limit {
            next = Some((shelf.no.0 + 1).to_string());
            break;
        }
        items.push(edge.gateway.view(&shelf, false));
    }
    Ok(Json(json!({ "items": items, "next": next })))
}

/// Updates and Cancels that came before what they refer to.
pub(super) async fn waiting(State(edge): State<Edge>, who: Who, Query(words): Words) -> Answer<Json<Value>> {
    let caller = who.may(Action::Look)?;
    let own = |one: &Waiting| caller.role != Role::Bureau || caller.source.as_deref() == Some(one.source.as_str());
    let meant = |one: &Waiting| {
        let areas = one.document["areas"].as_array().into_iter().flatten();
        let mut codes = areas.flat_map(|area| area["codes"].as_array().into_iter().flatten()).filter_map(Value::as_str);
        // A document that was refused is kept as it came, so nobody knows which areas it means: for callers without limits alone.
        caller.areas.is_empty() || codes.any(|code| code.parse().is_ok_and(|code| caller.may_see(code)))
    };
    let waiting = edge.gateway.ledger().waiting();
    let view = |one: &Waiting| {
        json!({
            "identifier": one.identifier, "sender": one.sender, "source": one.source, "posted_by": one.by,
            "received": one.at, "kept_until": one.until, "references": one.references, "refused": one.refused,
        })
    };
    let items: Vec<Value> = waiting.iter().filter(|one| own(one) && meant(one)).map(view).collect();
    paging::page(items, &words)
}

fn limit(words: &HashMap<String, String>) -> Answer<usize> {
    words.get("limit").map_or(Ok(LIMIT_DEFAULT), |text| limit_of(text))
}

/// How many rows a page is to have.
pub(super) fn limit_of(text: &str) -> Answer<usize> {
    let limit = text.parse::<usize>().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
    limit.ok_or_else(|| Problem::bad_request(format!("limit must be a number from 1 to {LIMIT_MAX}")))
}

pub(super) async fn one(State(edge): State<Edge>, who: Who, Path(id): Path<String>) -> Answer<Response> {
    let shelf = find(&edge, &who.may(Action::Look)?, &id)?;
    Ok(Json(edge.gateway.view(&shelf, true)).into_response())
}

pub(super) async fn cap(State(edge): State<Edge>, who: Who, Path(id): Path<String>) -> Answer<Response> {
    let shelf = find(&edge, &who.may(Action::Look)?, &id)?;
    Ok(([(header::CONTENT_TYPE, "application/cap+xml; charset=utf-8")], alert::cap::write(&shelf.alert)).into_response())
}

pub(super) async fn approve(State(edge): State<Edge>, who: Who, Path(id): Path<String>) -> Answer<Json<Value>> {
    let caller = who.may(Action::Approve)?;
    let shelf = find_to_decide(&edge, &caller, &id)?;
    let state = edge.gateway.approve(shelf.id, decider(&caller)).await?;
    Ok(Json(json!({ "id": shelf.id, "state": state.name() })))
}

fn decider(caller: &Caller) -> Decider<'_> {
    Decider { name: &caller.name, owner: caller.owner.as_deref() }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct Reason {
    #[serde(default)]
    reason: String,
}

fn reason(body: &Bytes) -> Answer<String> {
    let given: Reason =
        serde_json::from_slice(body).map_err(|error| Problem::bad_request(format!("{{\"reason\": \"…\"}} is wanted: {error}")))?;
    let reason = given.reason.trim();
    if reason.is_empty() || reason.chars().count() > 500 {
        return Err(Problem::bad_request("a reason of 1 to 500 characters must be given"));
    }
    Ok(reason.to_owned())
}

pub(super) async fn reject(State(edge): State<Edge>, who: Who, Path(id): Path<String>, Sent(body): Sent<WORDS_MAX>) -> Answer<Json<Value>> {
    let caller = who.may(Action::Approve)?;
    let shelf = find_to_decide(&edge, &caller, &id)?;
    let state = edge.gateway.reject(shelf.id, decider(&caller), &reason(&body)?).await?;
    Ok(Json(json!({ "id": shelf.id, "state": state.name() })))
}

pub(super) async fn cancel(State(edge): State<Edge>, who: Who, Path(id): Path<String>, Sent(body): Sent<WORDS_MAX>) -> Answer<Json<Value>> {
    let caller = who.may(Action::Act)?;
    let shelf = find_to_decide(&edge, &caller, &id)?;
    let (cancel, state) = edge.gateway.cancel(shelf.id, &caller.name, &reason(&body)?).await?;
    Ok(Json(json!({ "id": shelf.id, "state": state.name(), "cancel": submitted_view(&cancel) })))
}

fn area(words: &HashMap<String, String>, caller: &Caller) -> Answer<Option<AreaCode>> {
    let wanted = match words.get("area") {
        Some(text) => Some(text.parse::<AreaCode>().map_err(|error| Problem::bad_request(error.to_string()))?),
        None => caller.areas.first().copied(),
    };
    match wanted {
        Some(area) if !caller.may_see(area) => Err(Problem::forbidden(format!("{area} is outside the areas of this account"))),
        wanted => Ok(wanted),
    }
}

pub(super) async fn coverage(State(edge): State<Edge>, who: Who, Path(id): Path<String>, Query(words): Words) -> Answer<Response> {
    let caller = who.may(Action::Look)?;
    let details = details(&edge, &caller, &id).await?;
    let by = match words.get("by").map(String::as_str) {
        None | Some("") => None,
        Some("township" | "town") => Some(AreaLevel::Township),
        Some("village") => Some(AreaLevel::Village),
        Some("county") => Some(AreaLevel::County),
        Some(other) => return Err(Problem::bad_request(format!("by={other} is not county, township or village"))),
    };
    Ok(Json(edge.gateway.coverage(&details, area(&words, &caller)?, by)).into_response())
}

pub(super) async fn timeliness(State(edge): State<Edge>, who: Who, Path(id): Path<String>) -> Answer<Response> {
    let details = details(&edge, &who.may(Action::Look)?, &id).await?;
    Ok(Json(edge.gateway.timeliness(&details)).into_response())
}

pub(super) async fn deliveries(State(edge): State<Edge>, who: Who, Path(id): Path<String>, Query(words): Words) -> Answer<Json<Value>> {
    let caller = who.may(Action::Look)?;
    let details = details(&edge, &caller, &id).await?;
    let from = match words.get("cursor") {
        Some(text) => text.parse().map_err(|_| Problem::bad_request("the cursor is not one of ours"))?,
        None => 0,
    };
    let word = |name: &str| words.get(name).filter(|word| !word.is_empty()).cloned();
    let filter = Filter {
        area: area(&words, &caller)?,
        channel: word("channel"),
        state: word("state"),
        role: word("role"),
        from,
        limit: limit(&words)?,
        whole_phones: caller.may(Action::SeePhones),
    };
    let (items, next) = edge.gateway.deliveries(&details, &filter);
    Ok(Json(json!({ "items": items, "next": next.map(|next| next.to_string()) })))
}

pub(super) async fn calls(State(edge): State<Edge>, who: Who, Path(id): Path<String>, Query(words): Words) -> Answer<Json<Value>> {
    let caller = who.may(Action::Look)?;
    let details = details(&edge, &caller, &id).await?;
    let mut items = edge.gateway.calls(&details, area(&words, &caller)?, caller.may(Action::SeePhones));
    if let Some(state) = words.get("state").filter(|state| !state.is_empty()) {
        items.retain(|call| call.state == state);
    }
    paging::page(items, &words)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HandMade {
    answered: bool,
    #[serde(default = "received")]
    choice: Choice,
    #[serde(default = "by_telephone")]
    method: String,
    #[serde(default)]
    note: String,
}

const fn received() -> Choice {
    Choice::Received
}

fn by_telephone() -> String {
    "call".into()
}

pub(super) async fn record_call(
    State(edge): State<Edge>,
    who: Who,
    Path((id, subscriber)): Path<(String, String)>,
    Sent(body): Sent<WORDS_MAX>,
) -> Answer<StatusCode> {
    let caller = who.may(Action::Act)?;
    let shelf = find(&edge, &caller, &id)?;
    let made: HandMade = serde_json::from_slice(&body)
        .map_err(|error| Problem::bad_request(format!("{{answered, choice, method, note}} is wanted: {error}")))?;
    if made.method.is_empty() || made.method.chars().count() > 32 {
        return Err(Problem::bad_request("method is a word of 1 to 32 characters, such as call or visit"));
    }
    let person = edge.gateway.snapshot().subscriber_by_id(&subscriber).map(|person| person.area());
    if person.is_some_and(|area| !caller.may_see(area)) {
        return Err(Problem::forbidden(format!("{subscriber} is outside the areas of this account")));
    }
    let HandMade { answered, choice, method, note } = &made;
    let call = ByHand { subscriber: &subscriber, answered: *answered, choice: *choice, method, note, by: &caller.name };
    edge.gateway.record_call(shelf.id, &call).await?;
    Ok(StatusCode::NO_CONTENT)
}
