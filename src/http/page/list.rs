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
    telemetry::{alarm_kinds, alarms::Alarm},
    time::Timestamp,
};

/// Alerts on the first page; the rest is in the list of the interface.
const ALERTS_SHOWN: usize = 50;
/// Open alarms above them, newest first; the rest is in the list of the interface.
const ALARMS_SHOWN: usize = 10;

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
    alarms: Vec<AlarmCard>,
    now: Timestamp,
}

/// One open alarm as duty reads it.
struct AlarmCard {
    id: u64,
    title: String,
    about: String,
    text: String,
    advice: &'static str,
    since: Timestamp,
    times: u64,
}

impl AlarmCard {
    fn of(alarm: Alarm) -> Self {
        let kind = alarm_kinds::find(&alarm.what);
        let title = kind.map_or_else(|| alarm.what.clone(), |kind| kind.title.to_owned());
        let (about, text, advice) = (alarm.about, alarm.text, kind.map_or("", |kind| kind.advice));
        Self { id: alarm.id, title, about, text, advice, since: alarm.since, times: alarm.times }
    }
}

impl Rows {
    fn bar(alert: &AlertView) -> Bar {
        Bar::of(alert.people)
    }

    fn look(&self, alert: &AlertView) -> Look {
        Look::of(alert, self.language, self.now)
    }
}

/// How an alert's card looks: its level's colour is for what is still to be feared, and for nothing else.
pub(super) struct Look {
    pub(super) class: &'static str,
    pub(super) badge: &'static str,
    /// Beside the badge of a drill: the level that is played.
    pub(super) played: &'static str,
    /// Its time is over, whatever became of its messages.
    pub(super) is_past: bool,
}

impl Look {
    pub(super) fn of(alert: &AlertView, language: Language, now: Timestamp) -> Self {
        let has_ended = matches!(alert.state, "rejected" | "cancelled" | "superseded" | "expired");
        let is_past = !has_ended && !alert.all_clear && alert.expires <= now;
        let level = language.level(&alert.level);
        let over = language.say("解除", "all-clear");
        let (class, badge, played) = match () {
            () if alert.drill => ("drill", language.say("演练", "DRILL"), if alert.all_clear { over } else { level }),
            () if alert.all_clear => ("over", over, ""),
            () if has_ended || is_past => ("ended", level, ""),
            () => (alert.level.name(), level, ""),
        };
        Self { class, badge, played, is_past }
    }
}

fn rows(edge: &Edge, caller: &Caller, language: Language) -> String {
    let newest = edge.gateway.ledger().warnings();
    let seen = newest.into_iter().filter(|shelf| alerts::find(edge, caller, &shelf.id.to_string()).is_ok()).take(ALERTS_SHOWN);
    let alerts = seen.map(|shelf| edge.gateway.view(&shelf, false)).collect();
    let troubled = edge.gateway.accounts().into_iter().filter_map(|account| Some(format!("{}: {}", account.name, account.trouble?)));
    let open = if caller.may(Action::Act) { edge.gateway.alarms().open() } else { Vec::new() };
    let alarms = open.into_iter().take(ALARMS_SHOWN).map(AlarmCard::of).collect();
    rendered(&Rows { language, alerts, troubles: troubled.collect(), alarms, now: edge.gateway.clock().now() })
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
