//! Owns the registry over HTTP (contract §3). Refuses to judge records: the registry does.
//! Invariant: an import is all or nothing; a caller limited to an area sees and changes only that.

use std::{collections::HashMap, fs::File};

use axum::{
    Json,
    extract::{
        Multipart, Path, Query, State,
        multipart::{Field, MultipartError},
    },
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::Value;
use tokio::{io::AsyncWriteExt as _, sync::Semaphore};

use super::{
    Edge,
    auth::Who,
    body::{Sent, cut_off},
    problem::Problem,
    query,
};
use crate::{
    access::{Action, Caller},
    area::AreaCode,
    datum::Datum,
    registry::{self, Change, FILES_MAX, ImportFile, ImportOptions, Kind, ListQuery, Mode, Shown},
};

/// A million subscribers are about 90 MB of CSV; five million in many sheets with every cell filled come to no more.
pub(super) const IMPORT_BYTES_MAX: usize = 1 << 30;
/// Put by between two looks at the free space: a fraction of the store's reserve.
const LOOK_FOR_ROOM_BYTES: usize = 8 << 20;
const RECORD_BYTES_MAX: usize = 64 << 10;
const LIMIT_MAX: usize = 1_000;
const LIMIT_DEFAULT: usize = 100;

/// The old state, what was read and the new state are in memory together, so there is one at a time.
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
    Query(words): Query<HashMap<String, String>>,
    Sent(body): Sent<RECORD_BYTES_MAX>,
) -> Answer<Json<Value>> {
    let caller = who.may(Action::ChangeRegistry)?;
    let kind = kind_of(&kind)?;
    let mut value: Value = serde_json::from_slice(&body).map_err(|error| Problem::bad_request(error.to_string()))?;
    // Neither is a record taken over from another area nor put into one.
    let known = registry::view(&edge.gateway.snapshot(), kind, &id, Shown::Masked);
    if !in_area(&value, &caller) || known.is_some_and(|known| !in_area(&known, &caller)) {
        return Err(Problem::forbidden("the record's area is outside the areas of this account"));
    }
    let refuse = |faults| {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-record", "The record is wrong", "nothing was changed").with(faults)
    };
    registry::unmasked(&edge.gateway.snapshot(), kind, &id, &mut value).map_err(refuse)?;
    let change = registry::change_from_json(kind, &id, &value).map_err(refuse)?;
    let allow = query::is_set(words.get("allow_erased"));
    let snapshot = edge.gateway.edit_registry_allowing(vec![change], allow).await?;
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
    let (snapshot, area) = (edge.gateway.snapshot(), area(&words, &caller)?);
    let found = tokio::task::spawn_blocking(move || registry::gaps(&snapshot, area)).await;
    Ok(Json(found.map_err(|_| Problem::failed())?).into_response())
}

pub(super) async fn check(State(edge): State<Edge>, who: Who) -> Answer<Response> {
    let caller = who.may(Action::ReadRegistry)?;
    if !caller.areas.is_empty() {
        return Err(Problem::forbidden("a check of the whole registry needs an account without limits of area"));
    }
    let snapshot = edge.gateway.snapshot();
    let checked = tokio::task::spawn_blocking(move || registry::check(&snapshot)).await;
    Ok(Json(checked.map_err(|_| Problem::failed())?).into_response())
}

/// Too large is told as such, the rest as a bad request.
fn part_problem(error: &MultipartError) -> Problem {
    cut_off(error).unwrap_or_else(|| Problem::of_status(error.status(), &error.body_text()))
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
    let is_set = |name: &str| query::is_set(words.get(name));
    let datum = match words.get("datum").map(String::as_str) {
        None | Some("" | "wgs84") => Datum::Wgs84,
        Some("gcj02") => Datum::Gcj02,
        Some(other) => return Err(Problem::bad_request(format!("datum={other} is neither wgs84 nor gcj02"))),
    };
    let options =
        ImportOptions { mode: if is_set("replace") { Mode::Replace } else { Mode::Upsert }, datum, allow_erased: is_set("allow_erased") };
    let turn = IMPORTS.try_acquire().map_err(|_| Problem::busy("another import is under way"))?;
    edge.gateway.room()?;
    let mut files = Vec::new();
    while let Some(part) = parts.next_field().await.map_err(|error| part_problem(&error))? {
        if files.len() >= FILES_MAX {
            return Err(Problem::bad_request(format!("more than {FILES_MAX} files in one import")));
        }
        files.push(put_by(part, &edge).await?);
    }
    if files.is_empty() {
        return Err(Problem::bad_request("no file came with the request"));
    }
    let (gateway, dry_run) = (edge.gateway.clone(), is_set("dry_run"));
    if !dry_run {
        edge.gateway.room_for(bytes_to_write(&edge, &files))?;
    }
    let imported = tokio::task::spawn_blocking(move || {
        // It goes on when the request is given up; the next import waits for it all the same.
        let _turn = turn;
        let files: Vec<ImportFile<'_>> = files.iter().map(|(name, file)| ImportFile::on_disk(name, file)).collect();
        if dry_run { gateway.registry().dry_run(&files, options) } else { gateway.registry().import(&files, options) }
    });
    let report = imported.await.map_err(|_| Problem::bad_request("the import could not be carried out"))??;
    Ok(Json(report).into_response())
}

/// The new generation is about the old one and what came in, of which a workbook is packed.
fn bytes_to_write(edge: &Edge, files: &[(String, File)]) -> u64 {
    /// Sheets of names and numbers pack to about an eighth.
    const UNPACKED: u64 = 8;
    let unpacked = |(name, file): &(String, File)| {
        let bytes = file.metadata().map_or(0, |about| about.len());
        if name.to_ascii_lowercase().ends_with(".xlsx") { bytes.saturating_mul(UNPACKED) } else { bytes }
    };
    edge.gateway.registry().bytes_on_disk().saturating_add(files.iter().map(unpacked).sum())
}

/// Puts a part by in a file without a name, which goes with the request: a county's registry is not held in memory beside the old and
/// the new state. What the store needs of the disk is left alone.
async fn put_by(mut part: Field<'_>, edge: &Edge) -> Answer<(String, File)> {
    let name = part.file_name().or(part.name()).unwrap_or("file").to_owned();
    let failed = |error: std::io::Error| {
        if error.kind() == std::io::ErrorKind::StorageFull {
            return Problem::storage_full("the file could not be put by: nothing was changed; send it again");
        }
        tracing::error!(%error, "a file for an import could not be put by");
        Problem::failed()
    };
    let mut kept = tokio::fs::File::from_std(tempfile::tempfile_in(edge.gateway.data_dir()).map_err(failed)?);
    // The first look comes with the first byte: small files have only that one.
    let mut unlooked = LOOK_FOR_ROOM_BYTES;
    while let Some(piece) = part.chunk().await.map_err(|error| part_problem(&error))? {
        unlooked += piece.len();
        if unlooked >= LOOK_FOR_ROOM_BYTES {
            unlooked = 0;
            edge.gateway.room()?;
        }
        kept.write_all(&piece).await.map_err(failed)?;
    }
    kept.flush().await.map_err(failed)?;
    Ok((name, kept.into_std().await))
}
