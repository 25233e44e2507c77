//! Owns the registry over HTTP (contract §3). Refuses to judge records: the registry does.
//! Invariant: an import is all or nothing; a caller limited to an area sees and changes only that.

use std::collections::HashMap;

use axum::{
    Json,
    body::Bytes,
    extract::{Multipart, Path, Query, State, multipart::MultipartError},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::Value;
use tokio::sync::Semaphore;

use super::{Edge, auth::Who, body::Sent, problem::Problem};
use crate::{
    access::{Action, Caller},
    area::AreaCode,
    datum::Datum,
    registry::{self, Change, ImportFile, ImportOptions, Kind, ListQuery, Mode, Shown},
};

/// A million subscribers are about 120 MB of CSV.
pub(super) const IMPORT_BYTES_MAX: usize = 512 << 20;
const RECORD_BYTES_MAX: usize = 64 << 10;
const LIMIT_MAX: usize = 1_000;
const LIMIT_DEFAULT: usize = 100;

/// An import is held in memory whole, so there is one at a time.
static IMPORTS: Semaphore = Semaphore::const_new(1);

type Answer<T> = Result<T, Problem>;

/// `hazard-points` of the address is `hazard_points` of the files.
fn kind_of(word: &str) -> Answer<Kind> {
    Kind::ALL
        .into_iter()
        .find(|kind| kind.name().replace('_', "-") == word)
        .ok_or_else(|| Problem::not_found(format!("there are no {word:?} here")))
}

fn shown(caller: &Caller) -> Shown {
    if caller.may(Action::SeePhones) { Shown::Whole } else { Shown::Masked }
}

fn area(words: &HashMap<String, String>, caller: &Caller) -> Answer<Option<AreaCode>> {
    let wanted = match words.get("area").filter(|text| !text.is_empty()) {
        Some(text) => Some(text.parse::<AreaCode>().map_err(|error| Problem::bad_request(error.to_string()))?),
        None => caller.areas.first().copied(),
    };
    match wanted {
        Some(area) if !caller.may_see(area) => Err(Problem::forbidden(format!("{area} is outside the areas of this account"))),
        wanted => Ok(wanted),
    }
}

pub(super) async fn list(
    State(edge): State<Edge>,
    who: Who,
    Path(kind): Path<String>,
    Query(words): Query<HashMap<String, String>>,
) -> Answer<Response> {
    let caller = who.may(Action::ReadRegistry)?;
    let kind = kind_of(&kind)?;
    let limit = match words.get("limit") {
        None => LIMIT_DEFAULT,
        Some(text) => text
            .parse()
            .ok()
            .filter(|limit| (1..=LIMIT_MAX).contains(limit))
            .ok_or_else(|| Problem::bad_request(format!("limit must be a number from 1 to {LIMIT_MAX}")))?,
    };
    let query = ListQuery {
        area: area(&words, &caller)?,
        q: words.get("q").map(String::as_str).filter(|q| !q.is_empty()),
        cursor: words.get("cursor").map(String::as_str),
        limit,
        shown: shown(&caller),
    };
    let page = registry::list(&edge.gateway.snapshot(), kind, &query)
        .map_err(|fault| Problem::bad_request("the list cannot be made").with(vec![fault]))?;
    Ok(Json(page).into_response())
}

pub(super) async fn one(State(edge): State<Edge>, who: Who, Path((kind, id)): Path<(String, String)>) -> Answer<Json<Value>> {
    let caller = who.may(Action::ReadRegistry)?;
    let view = registry::view(&edge.gateway.snapshot(), kind_of(&kind)?, &id, shown(&caller));
    view.filter(|view| in_area(view, &caller)).map(Json).ok_or_else(|| Problem::not_found(format!("there is no {id:?} among the {kind}")))
}

fn in_area(view: &Value, caller: &Caller) -> bool {
    let code = view.get("area").or_else(|| view.get("code")).and_then(Value::as_str).and_then(|text| text.parse().ok());
    caller.areas.is_empty() || code.is_some_and(|code| caller.may_see(code))
}

pub(super) async fn put(
    State(edge): State<Edge>,
    who: Who,
    Path((kind, id)): Path<(String, String)>,
    Sent(body): Sent<RECORD_BYTES_MAX>,
) -> Answer<Json<Value>> {
    let caller = who.may(Action::ChangeRegistry)?;
    let kind = kind_of(&kind)?;
    let value: Value = serde_json::from_slice(&body).map_err(|error| Problem::bad_request(error.to_string()))?;
    // Neither is a record taken over from another area nor put into one.
    let known = registry::view(&edge.gateway.snapshot(), kind, &id, Shown::Masked);
    if !in_area(&value, &caller) || known.is_some_and(|known| !in_area(&known, &caller)) {
        return Err(Problem::forbidden("the record's area is outside the areas of this account"));
    }
    let refuse = |faults| {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-record", "The record is wrong", "nothing was changed").with(faults)
    };
    let change = registry::change_from_json(kind, &id, &value).map_err(refuse)?;
    let snapshot = edge.gateway.edit_registry(vec![change]).await?;
    let view = registry::view(&snapshot, kind, &id, shown(&caller));
    view.map(Json).ok_or_else(|| Problem::not_found(format!("{id:?} is not there after the change")))
}

pub(super) async fn delete(State(edge): State<Edge>, who: Who, Path((kind, id)): Path<(String, String)>) -> Answer<StatusCode> {
    let caller = who.may(Action::ChangeRegistry)?;
    let kind = kind_of(&kind)?;
    let known = registry::view(&edge.gateway.snapshot(), kind, &id, Shown::Masked).filter(|view| in_area(view, &caller));
    if known.is_none() {
        return Err(Problem::not_found(format!("there is no {id:?} here")));
    }
    edge.gateway.edit_registry(vec![Change::Delete(kind, id.into())]).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn gaps(State(edge): State<Edge>, who: Who, Query(words): Query<HashMap<String, String>>) -> Answer<Response> {
    let caller = who.may(Action::ReadRegistry)?;
    Ok(Json(registry::gaps(&edge.gateway.snapshot(), area(&words, &caller)?)).into_response())
}

/// Too large is told as such, the rest as a bad request.
fn part_problem(error: &MultipartError) -> Problem {
    Problem::of_status(error.status(), &error.body_text())
}

/// Multipart, one part a file; `?dry_run=1` changes nothing, `?replace=1` replaces the kinds that are in the files.
pub(super) async fn import(
    State(edge): State<Edge>,
    who: Who,
    Query(words): Query<HashMap<String, String>>,
    mut parts: Multipart,
) -> Answer<Response> {
    let caller = who.may(Action::ChangeRegistry)?;
    if !caller.areas.is_empty() {
        return Err(Problem::forbidden("an import needs an account without limits of area"));
    }
    let is_set = |name: &str| words.get(name).is_some_and(|value| matches!(value.as_str(), "1" | "true" | "yes"));
    let datum = match words.get("datum").map(String::as_str) {
        None | Some("wgs84") => Datum::Wgs84,
        Some("gcj02") => Datum::Gcj02,
        Some(other) => return Err(Problem::bad_request(format!("datum={other} is neither wgs84 nor gcj02"))),
    };
    let options = ImportOptions { mode: if is_set("replace") { Mode::Replace } else { Mode::Upsert }, datum };
    let _turn = IMPORTS.try_acquire().map_err(|_| Problem::busy("another import is under way"))?;
    let mut files: Vec<(String, Bytes)> = Vec::new();
    while let Some(part) = parts.next_field().await.map_err(|error| part_problem(&error))? {
        let name = part.file_name().or(part.name()).unwrap_or("file").to_owned();
        files.push((name, part.bytes().await.map_err(|error| part_problem(&error))?));
    }
    if files.is_empty() {
        return Err(Problem::bad_request("no file came with the request"));
    }
    let (gateway, dry_run) = (edge.gateway.clone(), is_set("dry_run"));
    let imported = tokio::task::spawn_blocking(move || {
        let files: Vec<ImportFile<'_>> = files.iter().map(|(name, bytes)| ImportFile { name, bytes }).collect();
        if dry_run { gateway.registry().dry_run(&files, options) } else { gateway.registry().import(&files, options) }
    });
    let report = imported.await.map_err(|_| Problem::bad_request("the import could not be carried out"))??;
    Ok(Json(report).into_response())
}
