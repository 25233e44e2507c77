//! Owns who is signed in, over HTTP: for the admin of the whole county, to see and to end.
//! Invariant: no session's id is ever shown.

use std::collections::HashMap;

use axum::{
    Json,
    extract::{Path, Query, State},
};
use serde_json::{Value, json};

use super::{Edge, auth::Who, paging, problem::Problem};
use crate::access::Action;

pub(super) async fn list(State(edge): State<Edge>, who: Who, Query(words): Query<HashMap<String, String>>) -> Result<Json<Value>, Problem> {
    who.may_everywhere(Action::ManageAccess)?;
    // Who was removed or disabled, or has a new password, is out already, though nobody has asked with that session since.
    let stands = |user: &str, mark| edge.access.caller_of_session(user, mark).is_some();
    paging::page(edge.sessions.list(edge.gateway.clock().now(), stands), &words)
}

/// Ends every session of one user; the password stays good.
pub(super) async fn end(State(edge): State<Edge>, who: Who, Path(user): Path<String>) -> Result<Json<Value>, Problem> {
    let caller = who.may_everywhere(Action::ManageAccess)?;
    let ended = edge.sessions.end_all_of(&user);
    tracing::info!(%caller, user, ended, "sessions were ended");
    Ok(Json(json!({ "user": user, "ended": ended })))
}
