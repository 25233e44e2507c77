//! Owns the page of one alert: how far it has come, who has not answered, where nobody was reached, what duty can do about it.
//! Invariant: the page as sent is complete without a script; what the script renews is made by the same template.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Path, Query, State},
    http::HeaderMap,
    response::{Html, IntoResponse as _, Redirect, Response},
};

use super::{
    Words,
    bar::Bar,
    held::Plan,
    language::Language,
    list::{Look, may_look},
    rendered,
};
use crate::{
    access::{Action, Caller},
    area::AreaCode,
    delivery::{
        coverage::{Child, Coverage},
        ledger::Shelf,
    },
    engine::{
        help::HelpView,
        look::{AlertView, CallRow},
        place,
    },
    http::{Edge, alerts, auth, help as http_help, problem::Problem},
    time::Timestamp,
};

/// Nobody telephones more people than this from one list; who has not answered stands first.
const CALLS_SHOWN: usize = 300;
/// Nor sends somebody to more than these at a time; the interface lists all.
const HELP_SHOWN: usize = 200;
/// The newest notes of one call that stand in its row; the interface lists all.
const RECORDS_SHOWN: usize = 3;
/// Areas of an alert that are named; of more nobody reads all.
const AREAS_SHOWN: usize = 100;
/// More blind villages than this mean that sending has failed as a whole.
const BLIND_SHOWN: usize = 200;

#[derive(Template)]
#[template(path = "alert.html", config = "src/http/page/askama.toml")]
struct OneAlert<'a> {
    language: Language,
    caller: &'a Caller,
    id: String,
    headline: &'a str,
    area: AreaCode,
    /// The areas of an account that has several, to choose from.
    areas: Vec<(AreaCode, String)>,
    live: String,
}

#[derive(Template)]
#[template(path = "alert_live.html", config = "src/http/page/askama.toml")]
struct Live {
    language: Language,
    decides: bool,
    cancels: bool,
    records: bool,
    sees_phones: bool,
    /// Seconds after which the page asks again: what is filed changes no more, and is read from disk.
    every: u8,
    first_sent: Option<String>,
    look: Look,
    /// What it says, for everybody who looks.
    description: String,
    measures: String,
    areas: Vec<String>,
    more_areas: usize,
    shapes: usize,
    /// Whom approving would tell and how, for those who decide or may.
    plan: Option<Plan>,
    bar: Bar,
    blind: Vec<String>,
    calls: Vec<CallLine>,
    help: Vec<HelpView>,
    more_calls: usize,
    children: Vec<(Child, Bar)>,
    alert: AlertView,
    coverage: Coverage,
}

struct CallLine {
    id: String,
    state: &'static str,
    due_ms: i64,
    due: String,
    name: String,
    role: String,
    area: String,
    phone: Option<String>,
    answer: String,
    wants_help: bool,
    went_on_to: String,
    /// What was written down: when, how, by whom, in which words.
    records: Vec<String>,
    more_records: usize,
}

impl CallLine {
    fn of(call: CallRow, language: Language, area: String) -> Self {
        let names = call.went_on_to.iter().map(|person| person.name.as_str()).collect::<Vec<_>>();
        let mut records = Vec::new();
        let mut said = String::new();
        if let (Some(choice), Some(at)) = (call.choice, call.answered_at) {
            let via = call.via.as_deref().unwrap_or_default();
            let word = language.choice(choice);
            said = call.last_choice.map_or_else(|| word.to_owned(), |last| format!("{word} → {}", language.choice(last)));
            let (by, note) = (call.by.as_deref().unwrap_or_default(), call.note.as_deref().unwrap_or_default());
            records.push((at, record(language, at, via, word, by, note)));
        }
        for tried in &call.tries {
            // After an answer one that does not say what it came to may have been in vain or not.
            let is_before = call.answered_at.is_none_or(|answered| tried.at < answered);
            let vain = if is_before { language.say("未接通", "not reached") } else { "" };
            let word = tried.choice.map_or(vain, |choice| language.choice(choice));
            records.push((tried.at, record(language, tried.at, &tried.method, word, &tried.by, &tried.note)));
        }
        records.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
        let more_records = records.len().saturating_sub(RECORDS_SHOWN);
        Self {
            id: call.recipient.id,
            state: call.state,
            due_ms: call.due_at.as_ms(),
            due: language.at(&call.due_at),
            name: call.recipient.name,
            role: language.role(&call.recipient.role),
            area,
            phone: call.recipient.phone,
            answer: said,
            wants_help: call.wants_help,
            went_on_to: names.join(language.say("、", ", ")),
            records: records.into_iter().take(RECORDS_SHOWN).map(|(_, line)| line).collect(),
            more_records,
        }
    }
}

fn record(language: Language, at: Timestamp, via: &str, word: &str, by: &str, note: &str) -> String {
    let head =
        [&*language.at(&at), &*language.way(via), word, by].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
    if note.is_empty() { head } else { format!("{head}{}{note}", language.say("：", ": ")) }
}

/// The part of the county that is shown: what is asked for where it is allowed, else the caller's first.
fn area_shown(edge: &Edge, caller: &Caller, words: &std::collections::HashMap<String, String>) -> Result<AreaCode, Problem> {
    let own = caller.areas.first().copied().unwrap_or(edge.gateway.county());
    let Some(asked) = words.get("area").filter(|text| !text.is_empty()) else { return Ok(own) };
    let asked: AreaCode = asked.parse().map_err(|_| Problem::bad_request("area is not a division code"))?;
    if caller.may_see(asked) { Ok(asked) } else { Err(Problem::forbidden(format!("{asked} is outside the areas of this account"))) }
}

async fn live(edge: &Edge, caller: &Caller, shelf: &Arc<Shelf>, area: AreaCode, language: Language) -> Result<String, Problem> {
    let details = edge.gateway.details(shelf).await?;
    let snapshot = edge.gateway.snapshot();
    let name = |code: AreaCode| place::full(code, snapshot.areas());
    let coverage = edge.gateway.coverage(&details, Some(area), None);
    let alert = edge.gateway.view(shelf, false);
    let sees_phones = caller.may(Action::SeePhones);
    let calls = edge.gateway.calls(&details, Some(area), sees_phones);
    let more_calls = calls.len().saturating_sub(CALLS_SHOWN);
    let is_under_way = matches!(alert.state, "held" | "released" | "dispatching" | "completed");
    let may_decide = alerts::is_all_of(caller, shelf);
    let blind = coverage.villages.blind.iter().take(BLIND_SHOWN);
    let mut help =
        if caller.may(Action::Act) { edge.gateway.help(true, Some(shelf.no), |area| http_help::may_see(caller, area)) } else { Vec::new() };
    help.truncate(HELP_SHOWN);
    let is_shown_plan = alert.state == "held" && may_decide && (caller.may(Action::Approve) || caller.may(Action::Act));
    let plan = if is_shown_plan { Some(edge.previews.of(&edge.gateway, shelf, language).await) } else { None };
    let meant = &shelf.alert.areas;
    let areas: Vec<String> = meant.iter().flat_map(|area| &area.codes).take(AREAS_SHOWN).map(|&code| name(code)).collect();
    let live = Live {
        help,
        language,
        decides: may_decide && caller.may(Action::Approve) && alert.state == "held",
        cancels: may_decide && caller.may(Action::Act) && is_under_way && !alert.all_clear,
        records: caller.may(Action::Act),
        sees_phones,
        every: if details.is_filed() { 60 } else { 2 },
        first_sent: alert.timeline.first_sent.map(|at| language.at(&at)),
        description: shelf.alert.description.clone(),
        measures: shelf.alert.instruction.clone(),
        more_areas: meant.iter().map(|area| area.codes.len()).sum::<usize>() - areas.len(),
        areas,
        shapes: meant.iter().map(|area| area.polygons.len() + area.circles.len()).sum(),
        plan,
        look: Look::of(&alert, language, edge.gateway.clock().now()),
        bar: Bar::of(coverage.people),
        blind: blind.map(|&village| name(village)).collect(),
        calls: calls
            .into_iter()
            .take(CALLS_SHOWN)
            .map(|call| {
                let area = name(call.recipient.area);
                CallLine::of(call, language, area)
            })
            .collect(),
        more_calls,
        children: coverage.children.iter().map(|child| (child.clone(), Bar::of(child.people))).collect(),
        alert,
        coverage,
    };
    Ok(rendered(&live))
}

pub(in crate::http) async fn alert(
    State(edge): State<Edge>,
    headers: HeaderMap,
    Path(id): Path<String>,
    Query(words): Words,
) -> Result<Response, Problem> {
    let language = Language::of(&words, &headers);
    let Some(caller) = auth::person(&edge, &headers) else { return Ok(Redirect::to("/sign-in").into_response()) };
    may_look(&caller)?;
    let shelf = alerts::find(&edge, &caller, &id)?;
    let area = area_shown(&edge, &caller, &words)?;
    let snapshot = edge.gateway.snapshot();
    let named = |&code: &AreaCode| (code, snapshot.areas().name(code).map_or_else(|| code.to_string(), str::to_owned));
    let page = OneAlert {
        language,
        caller: &caller,
        id: shelf.id.to_string(),
        headline: &shelf.alert.headline,
        area,
        areas: caller.areas.iter().map(named).collect(),
        live: live(&edge, &caller, &shelf, area, language).await?,
    };
    Ok(Html(rendered(&page)).into_response())
}

/// What changes, alone, for the page that is open.
pub(in crate::http) async fn alert_live(
    State(edge): State<Edge>,
    headers: HeaderMap,
    Path(id): Path<String>,
    Query(words): Words,
) -> Result<Response, Problem> {
    let caller = auth::person(&edge, &headers).ok_or_else(Problem::unauthorized)?;
    may_look(&caller)?;
    let shelf = alerts::find(&edge, &caller, &id)?;
    let area = area_shown(&edge, &caller, &words)?;
    Ok(Html(live(&edge, &caller, &shelf, area, Language::of(&words, &headers)).await?).into_response())
}
