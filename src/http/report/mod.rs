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
    engine::{
        filed::Details,
        look::{DeliveryRow, Filter, Report},
    },
};

const XLSX: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";

pub(super) async fn report(State(edge): State<Edge>, who: Who, Path((id, report)): Path<(String, String)>) -> Result<Response, Problem> {
    let caller = who.may(Action::Look)?;
    let shelf = find(&edge, &caller, &id)?;
    let details = edge.gateway.details(&shelf).await?;
    let about = About { shelf, details, caller };
    match report.as_str() {
        "report.json" => Ok(Json(about.report(&edge)).into_response()),
        "report.html" => Ok(Html(page::report(&about.report(&edge))).into_response()),
        "report.csv" => Ok(([(header::CONTENT_TYPE, "text/csv; charset=utf-8")], csv::csv(about.rows(&edge))).into_response()),
        "report.xlsx" => workbook(edge, about).await,
        other => {
            Err(Problem::not_found(format!("{other} is not a report; there are report.json, report.html, report.csv and report.xlsx")))
        }
    }
}

/// Whose alert is reported, and to whom.
struct About {
    shelf: Arc<Shelf>,
    details: Details,
    caller: Caller,
}

/// A county's deliveries are a million rows: made where a thread may work for seconds.
async fn workbook(edge: Edge, about: About) -> Result<Response, Problem> {
    let made = tokio::task::spawn_blocking(move || sheet::workbook(&about.report(&edge), about.rows(&edge)));
    let bytes = made.await.map_err(|_| Problem::failed())?.map_err(|error| {
        tracing::error!(%error, "a report could not be made");
        Problem::failed()
    })?;
    let headers = [(header::CONTENT_TYPE, XLSX), (header::CONTENT_DISPOSITION, "attachment; filename=\"report.xlsx\"")];
    Ok((headers, bytes).into_response())
}

impl About {
    /// The report, of the caller's own area where there is one.
    fn report(&self, edge: &Edge) -> Report {
        let whole_phones = self.caller.may(Action::SeePhones);
        let mut report = edge.gateway.report(&self.shelf, &self.details, whole_phones);
        if let Some(&area) = self.caller.areas.first() {
            report.coverage = edge.gateway.coverage(&self.details, Some(area), None);
            report.calls = edge.gateway.calls(&self.details, Some(area), whole_phones);
        }
        report
    }

    /// Every delivery that the caller may see, a page at a time.
    fn rows<'a>(&'a self, edge: &'a Edge) -> impl Iterator<Item = DeliveryRow> + 'a {
        let (area, whole_phones) = (self.caller.areas.first().copied(), self.caller.may(Action::SeePhones));
        let mut from = Some(0);
        std::iter::from_fn(move || {
            let filter = Filter { area, from: from?, limit: LIMIT_MAX, whole_phones, ..Filter::default() };
            let (rows, next) = edge.gateway.deliveries(&self.details, &filter);
            from = next;
            Some(rows)
        })
        .flatten()
    }
}
