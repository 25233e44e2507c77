//! Owns what keeps the gateway running (contract §7): alive, ready, metrics, accounts, relays, devices, backup.

use std::collections::HashMap;

use axum::{
    Json,
    body::Body,
    extract::{Path, Query, State},
    http::{Extensions, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use tokio_util::io::ReaderStream;

use super::{
    Edge, address,
    auth::{Asker, Who},
    paging,
    problem::Problem,
};
use crate::{
    access::Action,
    area::AreaCode,
    engine::months::{BadMonth, Month},
    telemetry::metrics as meter,
};

pub(super) async fn healthz() -> &'static str {
    "alive\n"
}

pub(super) async fn readyz(State(edge): State<Edge>) -> Response {
    match edge.gateway.is_ready() {
        Ok(()) => Json(json!({ "ready": true })).into_response(),
        Err(why) => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not-ready", "Not ready", why).into_response(),
    }
}

/// Open to collectors by their address (`[server] metrics_from`), else to keys that may: names of accounts stand in it.
pub(super) async fn metrics(State(edge): State<Edge>, extensions: Extensions, who: Result<Who, Problem>) -> Result<Response, Problem> {
    let from = Asker::among(&extensions).place();
    if !from.is_some_and(|from| address::is_among(from, &edge.settings.metrics_from)) {
        who?.may(Action::Metrics)?;
    }
    edge.gateway.measure();
    edge.relays.measure();
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], meter::render()).into_response())
}

type Words = Query<HashMap<String, String>>;

pub(super) async fn accounts(State(edge): State<Edge>, who: Who, Query(words): Words) -> Result<Json<Value>, Problem> {
    who.may(Action::Operate)?;
    paging::page(edge.gateway.accounts(), &words)
}

/// How the platforms above are told of alerts: one item for each `[relay.NAME]`.
pub(super) async fn relays(State(edge): State<Edge>, who: Who, Query(words): Words) -> Result<Json<Value>, Problem> {
    who.may(Action::Operate)?;
    paging::page(edge.relays.views(), &words)
}

pub(super) async fn devices(State(edge): State<Edge>, who: Who, Query(words): Words) -> Result<Json<Value>, Problem> {
    let caller = who.may(Action::Operate)?;
    let area: AreaCode = match words.get("area") {
        Some(text) => text.parse().map_err(|_| Problem::bad_request("area is not a division code"))?,
        None => caller.areas.first().copied().unwrap_or(edge.gateway.county()),
    };
    if !caller.may_see(area) {
        return Err(Problem::forbidden(format!("{area} is outside the areas of this account")));
    }
    paging::page(edge.gateway.speakers(area), &words)
}

/// Gives back the space of one month of the journal; what of it is still needed is refused.
pub(super) async fn give_back(State(edge): State<Edge>, who: Who, Path(month): Path<String>) -> Result<Json<Value>, Problem> {
    let caller = who.may_everywhere(Action::GiveBack)?;
    let month: Month = month.parse().map_err(|error: BadMonth| Problem::bad_request(error.to_string()))?;
    edge.gateway.give_back(month, &caller.name).await?;
    Ok(Json(json!({ "month": month.to_string(), "given_back": true })))
}

/// Everything up to now as one file, which `lastmile store restore` takes. It holds names, numbers and keys: for admins alone.
pub(super) async fn backup(State(edge): State<Edge>, who: Who) -> Result<Response, Problem> {
    who.may_everywhere(Action::Backup)?;
    // Beside the data, where there is room for it; files of this ending are in no backup.
    let draft = tempfile::Builder::new().prefix("backup_").suffix(".draft").tempdir_in(edge.gateway.data_dir());
    let failed = |error: String| {
        tracing::error!(error, "no backup could be made");
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "no-backup", "No backup could be made", "the log says why")
    };
    let draft = draft.map_err(|error| failed(error.to_string()))?;
    let path = draft.path().join("backup.draft");
    let report = edge.gateway.backup(&path).await.map_err(|error| failed(error.to_string()))?;
    let file = tokio::fs::File::open(&path).await.map_err(|error| failed(error.to_string()))?;
    // The open file outlives its name; nothing is left behind, however the reading ends.
    draft.close().map_err(|error| failed(error.to_string()))?;
    tracing::info!(entries = report.end, bytes = report.bytes, "a backup was made");
    let headers = [(header::CONTENT_TYPE, "application/x-tar"), (header::CONTENT_DISPOSITION, "attachment; filename=\"lastmile.backup\"")];
    Ok((headers, Body::from_stream(ReaderStream::new(file))).into_response())
}
