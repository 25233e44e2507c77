//! Owns the after-action report (contract §2) as JSON, page, CSV and XLSX: one content, four forms.
//! Refuses to work anything out: that is the engine's. Invariant: a caller of one area gets that area alone, whatever the form; what lists every
//! delivery is made beside the threads that serve, two at a time, and given up when nobody waits for it any more.

mod csv;
mod pieces;
mod sheet;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

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
    places::{Holder, Place},
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
        "report.html" => Ok(page_of(&about.report(&edge))),
        "report.csv" => {
            let turn = turn(&edge, &about.caller)?;
            Ok(table(edge, about, turn))
        }
        "report.xlsx" => {
            let turn = turn(&edge, &about.caller)?;
            workbook(edge, about, turn).await
        }
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

/// A report with every delivery costs seconds of a processor.
fn turn(edge: &Edge, caller: &Caller) -> Result<Place, Problem> {
    let place = edge.limits.reports.take(Some(Holder::caller(caller)));
    place.ok_or_else(|| Problem::busy("two reports with every delivery are being made, or one for this account"))
}

/// With its looks in it, so that it is the same when it is saved or sent on.
fn page_of(report: &Report) -> Response {
    let policy =
        format!("default-src 'none'; style-src '{}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'", page::style_hash());
    ([(header::CONTENT_SECURITY_POLICY, policy)], Html(page::report(report))).into_response()
}

/// Written piece by piece while it is read: a county's deliveries are a million rows, which are in no memory at once.
fn table(edge: Edge, about: About, turn: Place) -> Response {
    let body = pieces::written(move |pieces| {
        let _turn = turn;
        pieces.write(csv::HEAD)?;
        about.rows(&edge).try_for_each(|row| pieces.write(&csv::line(row)))
    });
    ([(header::CONTENT_TYPE, "text/csv; charset=utf-8")], body).into_response()
}

/// Says that nobody waits any more.
struct Waiting(Arc<AtomicBool>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A workbook is whole or nothing: it is put by on disk row by row, and given up when the caller has gone.
async fn workbook(edge: Edge, about: About, turn: Place) -> Result<Response, Problem> {
    let left = Arc::new(AtomicBool::new(false));
    let _waiting = Waiting(Arc::clone(&left));
    let made = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        let rows = about.rows(&edge).take_while(|_| !left.load(Ordering::Relaxed));
        sheet::workbook(&about.report(&edge), rows)
    });
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
