//! Owns the description of the interface (`/openapi.json`), kept as a table beside the routes it describes.
//! Invariant: every route of the router stands in it; a test holds that.

mod bodies;

use axum::Json;
use serde_json::{Map, Value, json};

/// Method, path, who, summary, answers.
type Operation = (&'static str, &'static str, &'static str, &'static str, &'static [(u16, &'static str)]);

pub(super) const OPERATIONS: &[Operation] = &[
    (
        "post",
        "/v1/alerts",
        "bureau",
        "Post an alert: CAP 1.2, 12379 XML or JSON; X-Signature where the source signs",
        &[
            (200, "the same alert again"),
            (202, "accepted, on disk"),
            (400, "not parseable"),
            (401, "unauthorized, wrong-key, no-client-certificate, unsigned, bad-signature, expired-signature"),
            (403, "no-source; sender-, event-, level- or area-not-allowed, where nothing else is wrong"),
            (409, "conflict: known with other content; replayed: the signature was used before"),
            (413, "too large"),
            (422, "breaks rules, all listed"),
            (429, "too many requests, or too many signed ones"),
            (503, "cannot be stored now"),
        ],
    ),
    ("get", "/v1/alerts", "viewer", "Alerts, newest first; state, level, event, since, limit, cursor", &[(200, "{items, next}")]),
    (
        "post",
        "/v1/alerts/preview",
        "bureau, duty",
        "Who would be told, in which words; stores nothing",
        &[(200, "preview"), (422, "breaks rules")],
    ),
    (
        "get",
        "/v1/backup",
        "admin",
        "Everything up to now as one file, for store restore",
        &[(200, "application/x-tar"), (503, "no room or no store")],
    ),
    (
        "post",
        "/v1/journal/{month}/drop",
        "admin",
        "Gives back the space of a month (2026-11) of the journal, all of whose alerts are filed; its audit trail stays",
        &[(200, "month, given_back"), (404, "no journal of this month"), (409, "it is still needed; the detail says by what")],
    ),
    ("get", "/v1/alerts/waiting", "viewer", "Updates and Cancels that came before what they refer to", &[(200, "{items, next}")]),
    ("get", "/v1/alerts/{id}", "viewer", "One alert with state, timeline and progress", &[(200, "alert")]),
    ("get", "/v1/alerts/{id}/cap", "viewer", "The alert as CAP 1.2", &[(200, "application/cap+xml")]),
    (
        "post",
        "/v1/alerts/{id}/approve",
        "approver",
        "Release a held alert; another person than the poster",
        &[(200, "state"), (403, "same person"), (409, "not held")],
    ),
    ("post", "/v1/alerts/{id}/reject", "approver", "Refuse a held alert: {reason}", &[(200, "state"), (409, "not held")]),
    (
        "post",
        "/v1/alerts/{id}/cancel",
        "duty",
        "End an alert: {reason}; everyone who was told hears it",
        &[(200, "state"), (409, "nothing to cancel")],
    ),
    ("get", "/v1/alerts/{id}/coverage", "viewer", "Coverage by area; area, by", &[(200, "coverage")]),
    ("get", "/v1/alerts/{id}/timeliness", "viewer", "Curves and percentiles", &[(200, "timeliness")]),
    (
        "get",
        "/v1/alerts/{id}/deliveries",
        "viewer",
        "Deliveries row by row; area, channel, state, role, limit, cursor",
        &[(200, "{items, next}")],
    ),
    ("get", "/v1/alerts/{id}/calls", "viewer", "Who must answer, by when, who has, whom it went on to", &[(200, "{items, next}")]),
    ("post", "/v1/alerts/{id}/calls/{subscriber}", "duty", "A call or visit made by hand: {answered, method, note}", &[(204, "recorded")]),
    ("get", "/v1/alerts/{id}/events", "viewer", "Server-sent events: state, progress, coverage, call", &[(200, "text/event-stream")]),
    (
        "get",
        "/v1/alerts/{id}/{report}",
        "viewer",
        "After-action report: report.json, report.html, report.csv, report.xlsx",
        &[(200, "report")],
    ),
    ("get", "/feed/alerts.atom", "public or key", "Feed of what was sent", &[(200, "application/atom+xml"), (304, "unchanged")]),
    ("get", "/feed/cap/{file}", "public or key", "One alert of the feed", &[(200, "application/cap+xml")]),
    (
        "post",
        "/v1/registry/import",
        "admin, system",
        "Import CSV or XLSX files, all or nothing; dry_run, replace, datum",
        &[(200, "counts"), (422, "every bad row")],
    ),
    ("get", "/v1/registry/gaps", "viewer", "People, villages and hazard points that no channel reaches", &[(200, "gaps")]),
    ("get", "/v1/registry/check", "viewer", "What in the registry contradicts itself", &[(200, "what is odd")]),
    (
        "get",
        "/v1/{kind}",
        "viewer",
        "areas, subscribers, speakers, hazard-points, endpoints; area, q, limit, cursor",
        &[(200, "{items, next}")],
    ),
    ("get", "/v1/{kind}/{id}", "viewer", "One record", &[(200, "record")]),
    ("put", "/v1/{kind}/{id}", "admin, system", "Make or change a record", &[(200, "record"), (422, "every fault")]),
    ("delete", "/v1/{kind}/{id}", "admin, system", "Remove a record", &[(204, "removed")]),
    ("get", "/a/{token}", "whoever holds the link", "The alert and what to do; never acknowledges", &[(200, "text/html")]),
    ("post", "/a/{token}", "whoever holds the link", "The answer: choice=received|moved|help", &[(200, "text/html")]),
    ("get", "/v1/callbacks/{kind}/{channel}", "far end", "A far end's call, in its own form", &[(200, "its own form")]),
    ("post", "/v1/callbacks/{kind}/{channel}", "far end", "A far end's call, in its own form", &[(200, "its own form")]),
    ("get", "/v1/callbacks/{kind}/{channel}/{what}", "far end", "status or reply, in its own form", &[(200, "its own form")]),
    ("post", "/v1/callbacks/{kind}/{channel}/{what}", "far end", "status or reply, in its own form", &[(200, "its own form")]),
    ("get", "/v1/people/{id}", "admin", "All that is kept about one person, by id or telephone", &[(200, "registry, alerts, help")]),
    (
        "delete",
        "/v1/people/{id}",
        "admin",
        "Erase one person; reason",
        &[(200, "what was erased, what is kept elsewhere"), (400, "no reason"), (409, "several people, or somebody who asks for help")],
    ),
    ("get", "/v1/people/{id}/export", "admin", "The same as a file; reason", &[(200, "registry, alerts, help"), (400, "no reason")]),
    ("get", "/v1/help", "duty", "Who asks for help, and replies that nobody understood; open, alert", &[(200, "{items, next}")]),
    (
        "post",
        "/v1/help/{id}",
        "duty",
        "Take it, or say that it is done: {state: taken or done, note}",
        &[(200, "the entry"), (404, "no such entry"), (409, "done before")],
    ),
    ("get", "/v1/alarms", "duty", "What needs a person, newest first; open", &[(200, "{items, next}")]),
    (
        "post",
        "/v1/alarms/{id}/acknowledge",
        "duty",
        "Take an alarm: {note}",
        &[(200, "the alarm"), (404, "no such alarm"), (409, "acknowledged before")],
    ),
    ("get", "/v1/sessions", "admin", "Who is signed in, since when and last seen", &[(200, "{items, next}")]),
    ("delete", "/v1/sessions/{user}", "admin", "End every session of one user", &[(200, "user, ended")]),
    ("get", "/v1/accounts", "viewer", "Accounts with their health and queues", &[(200, "{items, next}")]),
    (
        "get",
        "/v1/audit",
        "auditor, admin",
        "Who did what, the newest first, and the head of the chain; since, by, what, limit, cursor",
        &[(200, "{items, next, unread, head}")],
    ),
    (
        "get",
        "/v1/relays",
        "viewer",
        "Platforms above: what they have, what waits and since when, what they refused",
        &[(200, "{items, next}")],
    ),
    ("get", "/v1/devices", "viewer", "What loudspeakers last said of themselves; area", &[(200, "{items, next}")]),
    ("get", "/healthz", "anyone", "Alive", &[(200, "alive")]),
    ("get", "/readyz", "anyone", "Store open, planner caught up", &[(200, "ready"), (503, "why not")]),
    ("get", "/metrics", "by address or key", "Prometheus; without a key from [server] metrics_from", &[(200, "text/plain")]),
    ("get", "/openapi.json", "anyone", "This document", &[(200, "application/json")]),
    ("get", "/", "whoever is signed in", "The web page: alerts, newest first", &[(200, "text/html"), (303, "sign in first")]),
    ("get", "/alerts", "whoever is signed in", "What changes of the first page, alone", &[(200, "text/html"), (401, "sign in first")]),
    ("get", "/alerts/{id}", "whoever is signed in", "One alert, live", &[(200, "text/html"), (303, "sign in first")]),
    (
        "get",
        "/alerts/{id}/live",
        "whoever is signed in",
        "What changes of one alert's page, alone; area",
        &[(200, "text/html"), (401, "sign in first")],
    ),
    ("get", "/sign-in", "anyone", "The form", &[(200, "text/html")]),
    (
        "post",
        "/sign-in",
        "anyone",
        "Opens a session: name, password",
        &[(303, "signed in"), (403, "wrong name or password"), (429, "too many tries")],
    ),
    ("post", "/sign-out", "whoever is signed in", "Ends the session", &[(303, "signed out")]),
    ("get", "/problems/{kind}", "anyone", "What a kind of problem means", &[(200, "text/html"), (404, "no such kind")]),
    ("get", "/page.js", "anyone", "The page's script", &[(200, "text/javascript")]),
    ("get", "/page.css", "anyone", "The page's looks", &[(200, "text/css")]),
];

pub(super) async fn document() -> Json<Value> {
    Json(described())
}

fn described() -> Value {
    let types: Vec<String> = super::page::kinds().map(|kind| format!("/problems/{kind}")).collect();
    let mut paths: Map<String, Value> = Map::new();
    for (method, path, who, summary, answers) in OPERATIONS {
        let responses: Map<String, Value> =
            answers.iter().map(|(status, what)| (status.to_string(), response(method, path, *status, what))).collect();
        let asked = super::query::of(method, path).iter().map(super::query::Parameter::described);
        let parameters: Vec<Value> = path
            .split(['{', '}'])
            .skip(1)
            .step_by(2)
            .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": path_schema(path, name) }))
            .chain(asked)
            .collect();
        let mut operation =
            json!({ "summary": summary, "description": format!("For: {who}."), "parameters": parameters, "responses": responses });
        operation["operationId"] = operation_id(method, path).into();
        if let Some(body) = bodies::body_of(method, path) {
            operation["requestBody"] = body;
        }
        if let Some(security) = security(who) {
            operation["security"] = security;
        }
        operation["responses"]["default"] = json!({ "$ref": "#/components/responses/problem" });
        let item = paths.entry((*path).to_owned()).or_insert_with(|| json!({}));
        item[*method] = operation;
    }
    let mut document = json!({
        "openapi": "3.1.0",
        "info": { "title": "lastmile", "version": env!("CARGO_PKG_VERSION"), "license": { "name": "Apache-2.0" } },
        "security": [{ "key": [] }, { "session": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "key": { "type": "http", "scheme": "bearer" },
                "session": { "type": "apiKey", "in": "cookie", "name": super::auth::COOKIE },
            },
            "responses": {
                "problem": { "description": "RFC 9457", "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/problem" } } } }
            },
            "schemas": {
                "problem": {
                    "type": "object",
                    "properties": {
                        "type": { "type": "string", "enum": types }, "title": { "type": "string" }, "status": { "type": "integer" }, "detail": { "type": "string" },
                        "problems": { "type": "array", "items": { "type": "object", "properties": {
                            "path": { "type": "string" }, "rule": { "type": "string" }, "message": { "type": "string" } } } }
                    }
                }
            }
        }
    });
    if let (Some(schemas), Value::Object(more)) = (document["components"]["schemas"].as_object_mut(), bodies::schemas()) {
        schemas.extend(more);
    }
    document
}

/// `post_v1_alerts_id_cancel`: generated clients name their functions so.
fn operation_id(method: &str, path: &str) -> String {
    let words: Vec<&str> = path.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    if words.is_empty() { format!("{method}_index") } else { format!("{method}_{}", words.join("_")) }
}

fn response(method: &str, path: &str, status: u16, what: &str) -> Value {
    let mut response = json!({ "description": what });
    if let Some(content) = bodies::answer_of(method, path, status, what) {
        response["content"] = content;
    }
    if status >= 400 {
        response["content"] = json!({ "application/problem+json": { "schema": { "$ref": "#/components/schemas/problem" } } });
    }
    response
}

fn path_schema(path: &str, name: &str) -> Value {
    match bodies::words_of(path, name) {
        Some(words) => json!({ "type": "string", "enum": words }),
        None => json!({ "type": "string" }),
    }
}

/// Who need not show a key or a session, or need not have a key; the rest is as the document says for all.
fn security(who: &str) -> Option<Value> {
    match who {
        "anyone" | "whoever holds the link" | "far end" => Some(json!([])),
        "public or key" | "by address or key" => Some(json!([{}, { "key": [] }, { "session": [] }])),
        "whoever is signed in" => Some(json!([{ "session": [] }])),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_open_to_all_says_so_and_nothing_else_does() {
        let document = described();
        let open: Vec<&str> = OPERATIONS
            .iter()
            .filter(|(method, path, ..)| document["paths"][*path][*method]["security"] == json!([]))
            .map(|(_, path, ..)| *path)
            .collect();
        let others = ["/healthz", "/readyz", "/openapi.json", "/sign-in", "/page.js", "/page.css"];
        let is_open =
            |path: &str| others.contains(&path) || ["/a/", "/v1/callbacks/", "/problems/"].iter().any(|start| path.starts_with(start));
        assert!(open.iter().all(|path| is_open(path)), "{open:?}");
        assert!(OPERATIONS.iter().all(|(_, path, ..)| is_open(path) == open.contains(path)), "{open:?}");
    }

    #[test]
    fn operations_have_names_of_their_own_and_what_succeeds_says_in_which_form() {
        let document = described();
        let mut names = std::collections::BTreeSet::new();
        for (method, path, _, _, answers) in OPERATIONS {
            let operation = &document["paths"][*path][*method];
            assert!(names.insert(operation["operationId"].to_string()), "{method} {path}");
            for (status, _) in answers.iter().filter(|(status, _)| matches!(status, 200 | 202)) {
                assert!(operation["responses"][status.to_string()]["content"].is_object(), "{method} {path} {status}");
            }
        }
        assert_eq!(operation_id("get", "/"), "get_index");
    }
}
