//! Owns the list of those who ask for help over HTTP (contract §2.4), with what nobody understood, and who takes them.
//! Refuses to know words. Invariant: only who may act sees it, whole telephone numbers and all, and only of their own areas.

use std::collections::HashMap;

use axum::{
    Json,
    extract::{Path, Query, State},
    http::StatusCode,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Edge, auth::Who, body::Sent, paging, problem::Problem, query};
use crate::{
    access::{Action, Caller},
    area::AreaCode,
    engine::help::HelpError,
};

/// Why, or what was done, in words.
const NOTE_CHARS_MAX: usize = 600;
const WORDS_MAX: usize = 8 * 1024;
/// More than anybody reads.
const SHOWN_MAX: usize = 1_000;

/// Who wrote from a telephone that nobody registered has no area: those see it who see all.
pub(super) fn may_see(caller: &Caller, area: Option<AreaCode>) -> bool {
    area.map_or(caller.areas.is_empty(), |area| caller.may_see(area))
}

pub(super) async fn list(State(edge): State<Edge>, who: Who, Query(words): Query<HashMap<String, String>>) -> Result<Json<Value>, Problem> {
    let caller = who.may(Action::Act)?;
    let only_open = query::is_set(words.get("open"));
    let alert = match words.get("alert").filter(|text| !text.is_empty()) {
        Some(id) => Some(super::alerts::find(&edge, &caller, id)?.no),
        None => None,
    };
    let mut items = edge.gateway.help(only_open, alert, |area| may_see(&caller, area));
    items.truncate(SHOWN_MAX);
    paging::page(items, &words)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Taking {
    state: Step,
    #[serde(default)]
    note: String,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Step {
    Taken,
    Done,
}

pub(super) async fn take(
    State(edge): State<Edge>,
    who: Who,
    Path(id): Path<String>,
    Sent(body): Sent<WORDS_MAX>,
) -> Result<Json<Value>, Problem> {
    let caller = who.may(Action::Act)?;
    let unknown = || Problem::not_found("nobody asked for help under this id");
    let id: u64 = id.parse().map_err(|_| unknown())?;
    let taking: Taking = serde_json::from_slice(&body)
        .map_err(|error| Problem::bad_request(format!("{{\"state\": \"taken\" or \"done\", \"note\"}} is wanted: {error}")))?;
    if taking.note.chars().count() > NOTE_CHARS_MAX {
        return Err(Problem::bad_request(format!("note is a text of at most {NOTE_CHARS_MAX} characters")));
    }
    edge.gateway.help_one(id).filter(|view| may_see(&caller, view.area)).ok_or_else(unknown)?;
    match edge.gateway.take_help(id, taking.state == Step::Done, &taking.note, &caller.name).await {
        Ok(view) => Ok(Json(json!(view))),
        Err(HelpError::Unknown) => Err(unknown()),
        Err(error @ HelpError::Done) => Err(Problem::new(StatusCode::CONFLICT, "already-done", "Done before", error.to_string())),
        Err(HelpError::Unavailable(error)) => Err(error.into()),
    }
}
