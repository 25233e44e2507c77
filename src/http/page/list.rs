//! Owns the first page: the alerts that the caller may see, newest first, and what is wrong with the far ends.

use askama::Template;
use axum::{
    extract::{Query, State},
    http::HeaderMap,
    response::{Html, IntoResponse as _, Redirect, Response},
};

use super::{Words, bar::Bar, language::Language, rendered};
use crate::{
    access::{Action, Caller},
    engine::look::AlertView,
    http::{Edge, alerts, auth, problem::Problem},
};

/// Alerts on the first page; the rest is in the list of the interface.
const ALERTS_SHOWN: usize = 50;

#[derive(Template)]
#[template(path = "list.html", config = "src/http/page/askama.toml")]
struct List<'a> {
    language: Language,
    county: &'a str,
    caller: &'a Caller,
    rows: String,
}

#[derive(Template)]
#[template(path = "list_rows.html", config = "src/http/page/askama.toml")]
struct Rows {
    language: Language,
    alerts: Vec<AlertView>,
    troubles: Vec<String>,
}

impl Rows {
    fn bar(alert: &AlertView) -> Bar {
        Bar::of(alert.people)
    }
}

fn rows(edge: &Edge, caller: &Caller, language: Language) -> String {
    let newest = edge.gateway.ledger().warnings();
    let seen = newest.into_iter().filter(|shelf| alerts::find(edge, caller, &shelf.id.to_string()).is_ok()).take(ALERTS_SHOWN);
    let alerts = seen.map(|shelf| edge.gateway.view(&shelf, false)).collect();
    let troubled = edge.gateway.accounts().into_iter().filter_map(|account| Some(format!("{}: {}", account.name, account.trouble?)));
    rendered(&Rows { language, alerts, troubles: troubled.collect() })
}

pub(in crate::http) async fn index(State(edge): State<Edge>, headers: HeaderMap, Query(words): Words) -> Result<Response, Problem> {
    let language = Language::of(&words, &headers);
    let Some(caller) = auth::person(&edge, &headers) else { return Ok(Redirect::to("/sign-in").into_response()) };
    may_look(&caller)?;
    let county = edge.gateway.county_name();
    let page = List { language, county, caller: &caller, rows: rows(&edge, &caller, language) };
    Ok(Html(rendered(&page)).into_response())
}

/// The rows alone, for the page that is open.
pub(in crate::http) async fn index_live(State(edge): State<Edge>, headers: HeaderMap, Query(words): Words) -> Result<Response, Problem> {
    let caller = auth::person(&edge, &headers).ok_or_else(Problem::unauthorized)?;
    may_look(&caller)?;
    Ok(Html(rows(&edge, &caller, Language::of(&words, &headers))).into_response())
}

pub(super) fn may_look(caller: &Caller) -> Result<(), Problem> {
    if caller.may(Action::Look) { Ok(()) } else { Err(Problem::forbidden("this role does not look at alerts")) }
}
