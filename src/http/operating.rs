//! Owns what keeps the gateway running (contract §7): alive, ready, metrics, accounts, relays, devices.

use std::collections::HashMap;

use axum::{
    Json,
    extract::{Query, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::{Edge, auth::Who, problem::Problem};
use crate::{access::Action, area::AreaCode, telemetry::metrics as meter};

pub(super) async fn healthz() -> &'static str {
    "alive\n"
}

pub(super) async fn readyz(State(edge): State<Edge>) -> Response {
    match edge.gateway.is_ready() {
        Ok(()) => Json(json!({ "ready": true })).into_response(),
        Err(why) => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not-ready", "Not ready", why).into_response(),
    }
}

/// Open to the machine's own collector by address of listening; numbers and names of accounts only.
pub(super) async fn metrics(State(edge): State<Edge>) -> Response {
    edge.gateway.measure();
    edge.relays.measure();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], meter::render()).into_response()
}

pub(super) async fn accounts(State(edge): State<Edge>, who: Who) -> Result<Json<Value>, Problem> {
    who.may(Action::Look)?;
    Ok(Json(json!({ "items": edge.gateway.accounts(), "next": null })))
}

/// How the platforms above are told of alerts: one item for each `[relay.NAME]`.
pub(super) async fn relays(State(edge): State<Edge>, who: Who) -> Result<Json<Value>, Problem> {
    who.may(Action::Look)?;
    Ok(Json(json!({ "items": edge.relays.views(), "next": null })))
}

pub(super) async fn devices(
    State(edge): State<Edge>,
    who: Who,
    Query(words): Query<HashMap<String, String>>,
) -> Result<Json<Value>, Problem> {
    let caller = who.may(Action::Look)?;
    let area: AreaCode = match words.get("area") {
        Some(text) => text.parse().map_err(|_| Problem::bad_request("area is not a division code"))?,
        None => caller.areas.first().copied().unwrap_or(edge.gateway.county()),
    };
    if !caller.may_see(area) {
        return Err(Problem::forbidden(format!("{area} is outside the areas of this account")));
    }
    Ok(Json(json!({ "items": edge.gateway.speakers(area), "next": null })))
}
