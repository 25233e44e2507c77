//! Owns one person over HTTP: all that is kept about them, and their erasure.
//! Refuses to know what is kept where. Invariant: for admins without limits of area alone; who takes out or erases says why.

use std::{collections::HashMap, sync::Arc};

use axum::{
    Extension, Json,
    extract::{Path, Query, State},
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};
use serde_json::{Value, json};

use super::{
    Edge,
    audit::audited,
    auth::{Asker, Who},
    problem::Problem,
};
use crate::{access::Action, delivery::event::Audited, engine::person::PersonError};

/// Of a reason; it is kept for good.
const REASON_CHARS_MAX: usize = 200;

type Words = Query<HashMap<String, String>>;

/// `GET /v1/people/{id or telephone}`.
pub(super) async fn show(
    State(edge): State<Edge>,
    who: Who,
    Extension(asker): Extension<Arc<Asker>>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let act = line(&edge, who, &asker, "person-read", "shown")?;
    Ok(Json(json!(edge.gateway.person(&id, act).await?)))
}

/// The same as a file, for the person: who takes it out says why.
pub(super) async fn export(
    State(edge): State<Edge>,
    who: Who,
    Extension(asker): Extension<Arc<Asker>>,
    Path(id): Path<String>,
    Query(words): Words,
) -> Result<Response, Problem> {
    let act = line(&edge, who, &asker, "person-export", "begun")?.because(&reason(&words)?);
    let view = edge.gateway.person(&id, act).await?;
    Ok(([(header::CONTENT_DISPOSITION, "attachment; filename=\"person.json\"")], Json(view)).into_response())
}

pub(super) async fn erase(
    State(edge): State<Edge>,
    who: Who,
    Extension(asker): Extension<Arc<Asker>>,
    Path(id): Path<String>,
    Query(words): Words,
) -> Result<Json<Value>, Problem> {
    let act = line(&edge, who, &asker, "person-erase", "begun")?.because(&reason(&words)?);
    Ok(Json(json!(edge.gateway.erase_person(&id, act).await?)))
}

fn line(edge: &Edge, who: Who, asker: &Asker, act: &str, result: &str) -> Result<Audited, Problem> {
    let caller = who.may_everywhere(Action::Persons)?;
    Ok(audited(edge, &caller, asker.recorded_address(), act, "", result.into()))
}

fn reason(words: &HashMap<String, String>) -> Result<String, Problem> {
    let reason = words.get("reason").map(|text| text.trim()).filter(|text| !text.is_empty());
    let reason = reason.ok_or_else(|| Problem::bad_request("?reason= says why: it is written into the audit, without names"))?;
    if reason.chars().count() > REASON_CHARS_MAX {
        return Err(Problem::bad_request(format!("reason is a text of at most {REASON_CHARS_MAX} characters")));
    }
    Ok(reason.to_owned())
}

impl From<PersonError> for Problem {
    fn from(error: PersonError) -> Self {
        let detail = error.to_string();
        match error {
            PersonError::Unknown => Self::not_found(detail),
            PersonError::Several(_) => Self::new(StatusCode::CONFLICT, "several-people", "It is that of several people", detail),
            PersonError::AsksForHelp(_) => Self::new(StatusCode::CONFLICT, "asks-for-help", "The person asks for help", detail),
            PersonError::Busy => Self::busy("another look at a person is under way"),
            PersonError::Registry(error) => error.into(),
            PersonError::Unavailable(error) => error.into(),
        }
    }
}
