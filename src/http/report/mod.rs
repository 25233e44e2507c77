//! Owns the after-action report (contract §2) as JSON, page, CSV and XLSX: one content, four forms.
//! Refuses to work anything out: that is the engine's. Invariant: a caller of one area gets that area alone, whatever the form.

mod csv;
mod sheet;

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
    http::header,
    response::{Html, IntoResponse, Response},
};

use super::{
    Edge,
    alerts::{LIMIT_MAX, find},
    auth::Who,
    page,
    problem::Problem,
};
use crate::{
    access::{Action, Caller},
    delivery::ledger::Shelf,
    engine::look::{DeliveryRow, Filter, Report},
};

const XLSX: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";

pub(super) async fn report(State(edge): State<Edge>, who: Who, Path((id, report)): Path<(String, String)>) -> Result<Response, Problem> {
    let caller = who.may(Action::Look)?;
    let shelf = find(&edge, &caller, &id)?;
    match report.as_str() {
        "report.json" => Ok(Json(report_of(&edge, &shelf, &caller)).into_response()),
        "report.html" => Ok(Html(page::report(&report_of(&edge, &shelf, &caller))).into_response()),
        "report.csv" => Ok(([(header::CONTENT_TYPE, "text/csv; charset=utf-8")], csv::csv(&edge, &shelf, &caller)).into_response()),
        "report.xlsx" => workbook(edge, shelf, caller).await,
        other => {
            Err(Problem::not_found(format!("{other} is not a report; there are report.json, report.html, report.csv and report.xlsx")))
        }
    }
}

/// A county's deliveries are a million rows: made where a thread may work for seconds.
async fn workbook(edge: Edge, shelf: Arc<Shelf>, caller: Caller) -> Result<Response, Problem> {
    let made = tokio::task::spawn_blocking(move || {
        let report = report_of(&edge, &shelf, &caller);
        sheet::workbook(&report, rows(&edge, &shelf, &caller))
    });
    let bytes = made.await.map_err(|_| Problem::failed())?.map_err(|error| {
        tracing::error!(%error, "a report could not be made");
        Problem::failed()
    })?;
    let headers = [(header::CONTENT_TYPE, XLSX), (header::CONTENT_DISPOSITION, "attachment; filename=\"report.xlsx\"")];
    Ok((headers, bytes).into_response())
}

/// The report, of the caller's own area where there is one.
fn report_of(edge: &Edge, shelf: &Arc<Shelf>, caller: &Caller) -> Report {
    let whole_phones = caller.may(Action::SeePhones);
    let mut report = edge.gateway.report(shelf, whole_phones);
    if let Some(&area) = caller.areas.first() {
        report.coverage = edge.gateway.coverage(shelf, Some(area), None);
        report.calls = edge.gateway.calls(shelf, Some(area), whole_phones);
    }
    report
}

/// Every delivery that the caller may see, a page at a time.
fn rows<'a>(edge: &'a Edge, shelf: &'a Shelf, caller: &'a Caller) -> impl Iterator<Item = DeliveryRow> + 'a {
    let (area, whole_phones) = (caller.areas.first().copied(), caller.may(Action::SeePhones));
    let mut from = Some(0);
    std::iter::from_fn(move || {
        let filter = Filter { area, from: from?, limit: LIMIT_MAX, whole_phones, ..Filter::default() };
        let (rows, next) = edge.gateway.deliveries(shelf, &filter);
        from = next;
        Some(rows)
    })
    .flatten()
}
