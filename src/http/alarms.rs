//! Owns the list of alarms over HTTP (contract §2.4): what needs a person, and who took it.
//! Refuses to raise or end any. Invariant: only who may act reads and takes them, as they name villages and accounts.

use std::collections::HashMap;

use axum::{
    Json,
    extract::{Path, Query, State},
    http::StatusCode,
};
use serde_json::{Value, json};

use super::{Edge, auth::Who, paging, problem::Problem, query};
use crate::{
    access::Action,
    telemetry::{
        alarm_kinds,
        alarms::{AcknowledgeError, Alarm},
    },
};

/// Why somebody took it, in words.
const NOTE_CHARS_MAX: usize = 600;

pub(super) async fn list(State(edge): State<Edge>, who: Who, Query(words): Query<HashMap<String, String>>) -> Result<Json<Value>, Problem> {
    who.may(Action::Act)?;
    let only_open = query::is_set(words.get("open"));
    let alarms = if only_open { edge.gateway.alarms().open() } else { edge.gateway.alarms().all() };
    paging::page(alarms.iter().map(view).collect(), &words)
}

pub(super) async fn acknowledge(
    State(edge): State<Edge>,
    who: Who,
    Path(id): Path<String>,
    body: Option<Json<Value>>,
) -> Result<Json<Value>, Problem> {
    let caller = who.may(Action::Act)?;
    let id: u64 = id.parse().map_err(|_| Problem::not_found("no alarm has this id"))?;
    let note = match body.as_ref().map(|Json(body)| &body["note"]) {
        None | Some(Value::Null) => "",
        Some(Value::String(note)) if note.chars().count() <= NOTE_CHARS_MAX => note,
        Some(_) => return Err(Problem::bad_request(format!("note is a text of at most {NOTE_CHARS_MAX} characters"))),
    };
    match edge.gateway.alarms().acknowledge(id, &caller.name, note) {
        Ok(alarm) => {
            tracing::info!(alarm = alarm.what, about = alarm.about, by = caller.name, "an alarm was taken");
            Ok(Json(view(&alarm)))
        }
        Err(error @ AcknowledgeError::Unknown) => Err(Problem::not_found(error.to_string())),
        Err(error @ AcknowledgeError::Already) => {
            Err(Problem::new(StatusCode::CONFLICT, "already-acknowledged", "Acknowledged before", error.to_string()))
        }
    }
}

fn view(alarm: &Alarm) -> Value {
    let kind = alarm_kinds::find(&alarm.what);
    let state = match (alarm.ended, &alarm.acknowledged) {
        (Some(_), _) => "ended",
        (None, Some(_)) => "acknowledged",
        (None, None) => "open",
    };
    json!({
        "id": alarm.id.to_string(),
        "what": alarm.what,
        "title": kind.map(|kind| kind.title),
        "advice": kind.map(|kind| kind.advice),
        "about": alarm.about,
        "text": alarm.text,
        "since": alarm.since,
        "last": alarm.last,
        "times": alarm.times,
        "state": state,
        "ended": alarm.ended,
        "acknowledged": alarm.acknowledged,
    })
}
