//! Owns the audit at the edge: which requests are written down, who asked and from where; and the page that auditors read.
//! Refuses to know what an act does. Invariant: whole numbers, a report or a backup leave only after it is on disk who took them; on a full disk a look stands in the log.

use std::collections::HashMap;

use axum::{
    Json,
    extract::{MatchedPath, Query, Request, State},
    http::{Method, StatusCode},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use serde_json::Value;
use tokio::sync::Semaphore;

use super::{
    Edge,
    auth::{Asker, Who},
    problem::Problem,
};
use crate::{
    access::{Action, Caller},
    delivery::event::Audited,
    engine::{Unavailable, audit::AuditQuery},
    time::Timestamp,
};

const LIMIT_MAX: usize = 1_000;
const LIMIT_DEFAULT: usize = 100;
/// Reads of the trail at one time: each is a month's file.
static READS: Semaphore = Semaphore::const_new(2);

/// How a request is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// Before it is answered, and only for those who see people whole.
    Look,
    /// Before it is begun; and again if it came to nothing.
    First,
    /// With its result.
    After,
}

/// What is written down: by method and pattern of the path.
fn act_of(method: &Method, route: &str) -> Option<(&'static str, Turn)> {
    let change = !matches!(*method, Method::GET | Method::HEAD);
    Some(match (change, route) {
        (false, "/v1/backup") => ("backup", Turn::First),
        (false, "/v1/{kind}" | "/v1/{kind}/{id}") => ("registry-read", Turn::Look),
        (
            false,
            "/v1/alerts/{id}/deliveries" | "/v1/alerts/{id}/calls" | "/v1/alerts/{id}/events" | "/alerts/{id}" | "/alerts/{id}/live",
        ) => ("people-read", Turn::Look),
        (false, "/v1/alerts/{id}/{report}") => ("report-export", Turn::Look),
        (false, "/v1/help" | "/v1/roster" | "/v1/roster/now") => ("people-read", Turn::Look),
        (true, "/v1/registry/import") => ("registry-import", Turn::After),
        (true, "/v1/{kind}/{id}") if *method == Method::DELETE => ("registry-delete", Turn::After),
        (true, "/v1/{kind}/{id}") => ("registry-put", Turn::After),
        (true, "/v1/alerts/{id}/approve") => ("alert-approve", Turn::After),
        (true, "/v1/alerts/{id}/reject") => ("alert-reject", Turn::After),
        (true, "/v1/alerts/{id}/cancel") => ("alert-cancel", Turn::After),
        (true, "/v1/alerts/{id}/resend" | "/v1/alerts/{id}/correct" | "/v1/alerts/{id}/extend") => ("alert-change", Turn::After),
        (true, "/v1/alerts/{id}/calls/{subscriber}") => ("call-record", Turn::After),
        (true, "/v1/journal/{month}/drop") => ("month-drop", Turn::First),
        (true, "/v1/sessions/{user}") => ("session-end", Turn::After),
        (true, "/v1/alarms/{id}/acknowledge") => ("alarm-acknowledge", Turn::After),
        (true, "/v1/help/{id}" | "/v1/roster" | "/v1/webhooks") => ("duty-change", Turn::After),
        _ => return None,
    })
}

/// Stands around the routes; whoever is not known passes and is refused further in.
pub(super) async fn around(State(edge): State<Edge>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned()).unwrap_or_default();
    let Some((act, turn)) = act_of(request.method(), &route) else { return next.run(request).await };
    let asker = Asker::of(&request);
    let Ok(caller) = &asker.caller else { return next.run(request).await };
    if turn == Turn::Look && !caller.may(Action::SeePhones) {
        return next.run(request).await;
    }
    // The path names records by their ids; what is searched for may be a number, and stays out.
    let (from, path) = (asker.recorded_address(), request.uri().path().to_owned());
    let line = |result: String| audited(&edge, caller, from, act, &path, result);
    let first = match turn {
        Turn::Look => edge.gateway.audit_look(line("shown".into())).await,
        Turn::First => edge.gateway.audit(line("begun".into())).await,
        Turn::After => Ok(()),
    };
    // On a full disk duty must still see whom to call: that look stands in the log, which is elsewhere.
    if let (Err(Unavailable::NoSpace(lack)), Turn::Look) = (&first, turn) {
        tracing::error!(%lack, act, %caller, path, "people were looked at, and the audit has no room for the line");
    } else if let Err(error) = first {
        tracing::error!(%error, act, "an act was refused because it could not be written into the audit");
        return Problem::from(error).into_response();
    }
    let later = line(String::new());
    let response = next.run(request).await;
    let (status, came) = (response.status(), response.status().is_success() || response.status() == StatusCode::NOT_MODIFIED);
    if turn == Turn::After || (turn == Turn::First && !came) {
        let result = if came { "done".to_owned() } else { format!("refused {}", status.as_u16()) };
        if let Err(error) = edge.gateway.audit(Audited { result, ..later }).await {
            tracing::error!(%error, act, %caller, "what was done could not be written into the audit");
        }
    }
    response
}

pub(super) fn audited(edge: &Edge, caller: &Caller, from: Option<std::net::IpAddr>, act: &str, object: &str, result: String) -> Audited {
    let from = from.map(|from| from.to_string()).unwrap_or_default();
    Audited::new(edge.gateway.clock().now(), caller.to_string(), act, object, result).from(from)
}

/// `GET /v1/audit`: the newest first.
pub(super) async fn list(State(edge): State<Edge>, who: Who, Query(words): Query<HashMap<String, String>>) -> Result<Json<Value>, Problem> {
    let caller = who.may(Action::Audit)?;
    if !caller.areas.is_empty() {
        return Err(Problem::forbidden("the audit needs an account without limits of area"));
    }
    let word = |name: &str| words.get(name).filter(|text| !text.is_empty());
    let number = |name: &str| word(name).map(|text| text.parse::<u64>()).transpose();
    let out_of_range = || Problem::bad_request(format!("limit must be a number from 1 to {LIMIT_MAX}"));
    let limit = match number("limit").map_err(|_| out_of_range())? {
        None => LIMIT_DEFAULT,
        Some(limit) => usize::try_from(limit).ok().filter(|limit| (1..=LIMIT_MAX).contains(limit)).ok_or_else(out_of_range)?,
    };
    let query = AuditQuery {
        since: word("since")
            .map(|text| text.parse::<Timestamp>())
            .transpose()
            .map_err(|_| Problem::bad_request("since is not a time of RFC 3339"))?,
        by: word("by").cloned(),
        what: word("what").cloned(),
        before: number("cursor").map_err(|_| Problem::bad_request("not a cursor of this list"))?,
        limit,
    };
    let _turn = READS.try_acquire().map_err(|_| Problem::busy("others are reading the audit"))?;
    let gateway = edge.gateway.clone();
    let read = tokio::task::spawn_blocking(move || Ok::<_, std::io::Error>((gateway.audit_page(&query)?, gateway.audit_head()?))).await;
    let (page, head) = read.map_err(|_| Problem::failed())?.map_err(|error| {
        tracing::error!(%error, "the audit trail cannot be read");
        Problem::failed()
    })?;
    let mut answer = serde_json::json!(page);
    answer["head"] = serde_json::json!(head);
    Ok(Json(answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A new route that changes something is either written down or named here with its reason.
    const OTHERWISE: [(&str, &str); 9] = [
        ("/v1/people/{id}", "the engine writes down who and why, before"),
        ("/v1/alerts", "the alert itself says who posted it"),
        ("/v1/alerts/preview", "changes nothing"),
        ("/a/{token}", "an answer is an event of its own"),
        ("/v1/callbacks/{kind}/{channel}", "far ends; their reports are events of their own"),
        ("/v1/callbacks/{kind}/{channel}/{what}", "far ends; their reports are events of their own"),
        ("/sign-in", "written down with the name, where it is known"),
        ("/sign-out", "ends what the same person began"),
        ("/v1/message/preview", "changes nothing"),
    ];

    #[test]
    fn every_route_that_changes_something_is_written_down_or_excused() {
        let router = include_str!("mod.rs");
        let mut looked = 0;
        for rest in router.split(".route(\"").skip(1) {
            let (route, rest) = rest.split_once('"').expect("a route ends");
            let handlers = rest.split(".route(\"").next().expect("a first part").lines().next().expect("a line");
            if [("post("), ("put("), ("delete(")].iter().any(|word| handlers.contains(word)) {
                looked += 1;
                let is_told = act_of(&Method::POST, route).is_some();
                assert!(is_told || OTHERWISE.iter().any(|(known, _)| *known == route), "{route} changes something unrecorded");
            }
        }
        assert!(looked > 8, "the router's routes are found: {looked}");
    }
}
