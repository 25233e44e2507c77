//! Owns what is sent to each address and what comes back, as JSON Schemas for the description.
//! Refuses to judge anything by them: readers do. Invariant: each address that is sent to says which body it takes, or that it takes none;
//! a test holds it, and that the fields of an alert are those that are read.

use serde_json::{Value, json};

use crate::{alert::Level, delivery::book::State, registry};

/// What is sent to an address.
pub(super) enum Body {
    /// Media types, schema, whether it has to be there.
    Of(&'static [&'static str], fn() -> Value, bool),
    /// The address or the cookie says everything.
    None,
}

const JSON: &[&str] = &["application/json"];
const FORM: &[&str] = &["application/x-www-form-urlencoded"];
/// Of one form each; documents are told apart by what they begin with, whatever the type says.
const XML: &[&str] = &["application/cap+xml", "application/xml", "text/xml"];

pub(super) const BODIES: &[(&str, &str, Body)] = &[
    ("post", "/v1/alerts", Body::Of(JSON, || reference("alert"), true)),
    ("post", "/v1/alerts/preview", Body::Of(JSON, || reference("alert"), true)),
    ("post", "/v1/alerts/{id}/approve", Body::None),
    ("post", "/v1/alerts/{id}/reject", Body::Of(JSON, || reference("reason"), true)),
    ("post", "/v1/alerts/{id}/cancel", Body::Of(JSON, || reference("reason"), true)),
    (
        "post",
        "/v1/alerts/{id}/calls/{subscriber}",
        Body::Of(
            JSON,
            || {
                closed(
                    &["answered"],
                    json!({
                        "answered": { "type": "boolean" },
                        "choice": choice(),
                        "method": { "type": "string", "minLength": 1, "maxLength": 32, "default": "call" },
                        "note": text(),
                    }),
                )
            },
            true,
        ),
    ),
    (
        "post",
        "/v1/registry/import",
        Body::Of(
            &["multipart/form-data"],
            || {
                json!({
                    "type": "object",
                    "description": "Each part is one CSV or XLSX file, told by its file name",
                    "properties": { "file": { "type": "array", "items": { "type": "string", "format": "binary" } } },
                })
            },
            true,
        ),
    ),
    ("put", "/v1/{kind}/{id}", Body::Of(JSON, || reference("record"), true)),
    ("post", "/a/{token}", Body::Of(FORM, || open(&["choice"], json!({ "choice": choice() })), true)),
    ("post", "/v1/callbacks/{kind}/{channel}", Body::Of(&["*/*"], far_end, false)),
    ("post", "/v1/callbacks/{kind}/{channel}/{what}", Body::Of(&["*/*"], far_end, false)),
    (
        "post",
        "/v1/help/{id}",
        Body::Of(JSON, || closed(&["state"], json!({ "state": { "type": "string", "enum": ["taken", "done"] }, "note": note() })), true),
    ),
    ("post", "/v1/alarms/{id}/acknowledge", Body::Of(JSON, || open(&[], json!({ "note": note() })), false)),
    ("post", "/v1/journal/{month}/drop", Body::None),
    (
        "post",
        "/sign-in",
        Body::Of(FORM, || open(&["name", "password"], json!({ "name": text(), "password": text(), "code": text() })), true),
    ),
    ("post", "/sign-out", Body::None),
];

/// As the description has it.
pub(super) fn body_of(method: &str, path: &str) -> Option<Value> {
    let (.., body) = BODIES.iter().find(|(of, route, _)| *of == method && *route == path)?;
    let Body::Of(types, schema, is_required) = body else { return None };
    let mut content: serde_json::Map<String, Value> =
        types.iter().map(|kind| ((*kind).to_owned(), json!({ "schema": schema() }))).collect();
    if matches!(path, "/v1/alerts" | "/v1/alerts/preview") {
        let document = json!({ "type": "string", "description": "CAP 1.2 (1.1 and 1.0 leniently) or a 12379 document" });
        content.extend(XML.iter().map(|kind| ((*kind).to_owned(), json!({ "schema": document }))));
    }
    Some(json!({ "required": is_required, "content": content }))
}

/// What comes back, where the table of answers gives its words in place of a media type.
pub(super) fn answer_of(method: &str, path: &str, status: u16, what: &str) -> Option<Value> {
    if status == 204 || status >= 300 {
        return None;
    }
    let is_media = what.contains('/') && !what.contains(' ');
    let schema = match (method, path) {
        _ if is_media && what != "application/json" => return Some(json!({ what: { "schema": { "type": "string" } } })),
        (_, "/healthz") => return Some(json!({ "text/plain": { "schema": { "type": "string" } } })),
        (_, "/v1/alerts/{id}/{report}" | "/v1/callbacks/{kind}/{channel}" | "/v1/callbacks/{kind}/{channel}/{what}") => {
            return Some(json!({ "*/*": { "schema": {} } }));
        }
        ("post", "/v1/alerts") => reference("submitted"),
        ("get", "/v1/alerts/{id}") => reference("alert_state"),
        ("get", "/v1/alerts") => list_of(&reference("alert_state")),
        ("get" | "put", "/v1/{kind}/{id}") => reference("record"),
        ("get", "/v1/{kind}") => list_of(&reference("record")),
        ("post", "/v1/alerts/{id}/approve" | "/v1/alerts/{id}/reject" | "/v1/alerts/{id}/cancel") => reference("decided"),
        _ if what.starts_with("{items, next") => list_of(&json!({ "type": "object" })),
        _ => json!({ "type": "object" }),
    };
    Some(json!({ "application/json": { "schema": schema } }))
}

/// The words that a part of a path may be, where they are a closed list.
pub(super) fn words_of(path: &str, name: &str) -> Option<Vec<String>> {
    match (path, name) {
        ("/v1/{kind}" | "/v1/{kind}/{id}", "kind") => Some(registry::Kind::ALL.map(|kind| kind.name().replace('_', "-")).to_vec()),
        (_, "report") => Some(["report.json", "report.html", "report.csv", "report.xlsx"].map(str::to_owned).to_vec()),
        _ => None,
    }
}

/// The schemas that others point to.
pub(super) fn schemas() -> Value {
    let state = json!({ "type": "string", "enum": State::ALL.map(State::name) });
    json!({
        "alert": alert(),
        "reason": closed(&["reason"], json!({ "reason": { "type": "string", "minLength": 1, "maxLength": 500 } })),
        "record": open(&[], json!({})),
        "fault": open(&["path", "rule", "message"], json!({ "path": text(), "rule": text(), "message": text() })),
        "submitted": open(
            &["id", "identifier", "sender", "state", "warnings", "links"],
            json!({
                "id": text(),
                "identifier": text(),
                "sender": text(),
                "state": state,
                "warnings": { "type": "array", "items": reference("fault") },
                "links": { "type": "object", "additionalProperties": text() },
            }),
        ),
        "decided": open(&["id", "state"], json!({ "id": text(), "state": state })),
        "alert_state": open(
            &["id", "identifier", "sender", "sent", "event", "level", "headline", "effective", "expires", "state"],
            json!({
                "id": text(),
                "identifier": text(),
                "sender": text(),
                "sent": time(),
                "event": text(),
                "level": level(),
                "headline": text(),
                "effective": time(),
                "expires": time(),
                "state": state,
                "timeline": { "type": "object" },
                "progress": { "type": "object" },
                "people": { "type": "object" },
            }),
        ),
    })
}

fn alert() -> Value {
    let named = || closed(&["sender", "identifier", "sent"], json!({ "sender": text(), "identifier": text(), "sent": time() }));
    let point = || json!({ "type": "array", "items": { "type": "number" }, "minItems": 2, "maxItems": 3 });
    let circle = || closed(&["center", "radius_km"], json!({ "center": point(), "radius_km": { "type": "number" } }));
    let geometry = closed(
        &["type", "coordinates"],
        json!({ "type": { "type": "string", "enum": ["Polygon", "MultiPolygon"] }, "coordinates": { "type": "array", "items": {} } }),
    );
    let area =
        closed(&[], json!({ "name": text(), "codes": texts(), "geometry": geometry, "circle": circle(), "circles": array(&circle()) }));
    let translation = closed(
        &["language"],
        json!({ "language": text(), "event": text(), "headline": text(), "description": text(), "instruction": text() }),
    );
    closed(
        &["identifier", "sender", "sent", "status", "msgType", "level"],
        json!({
            "identifier": text(),
            "sender": text(),
            "senderName": text(),
            "sent": time(),
            "status": { "type": "string", "enum": ["Actual", "Exercise", "System", "Test"] },
            "msgType": { "type": "string", "enum": ["Alert", "Update", "Cancel"] },
            "references": array(&named()),
            "event": text(),
            "eventName": text(),
            "level": level(),
            "urgency": text(),
            "certainty": text(),
            "categories": texts(),
            "responseTypes": texts(),
            "effective": time(),
            "onset": { "type": ["string", "null"], "format": "date-time" },
            "expires": time(),
            "headline": text(),
            "description": text(),
            "instruction": text(),
            "language": text(),
            "translations": array(&translation),
            "note": text(),
            "web": text(),
            "contact": text(),
            "areas": array(&area),
            "texts": { "type": "object", "additionalProperties": text() },
            "groups": texts(),
            "scope": { "type": "string", "enum": ["Public"] },
            "partOf": text(),
            "carried": { "type": "object" },
        }),
    )
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn list_of(item: &Value) -> Value {
    open(&["items", "next"], json!({ "items": array(item), "next": { "type": ["string", "null"] } }))
}

#[expect(clippy::needless_pass_by_value, reason = "a table of schemas reads better without a sign before each")]
fn open(required: &[&str], properties: Value) -> Value {
    json!({ "type": "object", "required": required, "properties": properties })
}

/// What has other fields is refused.
#[expect(clippy::needless_pass_by_value, reason = "a table of schemas reads better without a sign before each")]
fn closed(required: &[&str], properties: Value) -> Value {
    json!({ "type": "object", "required": required, "properties": properties, "additionalProperties": false })
}

fn array(item: &Value) -> Value {
    json!({ "type": "array", "items": item })
}

fn text() -> Value {
    json!({ "type": "string" })
}

fn texts() -> Value {
    array(&text())
}

fn note() -> Value {
    json!({ "type": "string", "maxLength": 600 })
}

fn time() -> Value {
    json!({ "type": "string", "format": "date-time" })
}

fn level() -> Value {
    json!({ "type": "string", "enum": Level::ALL.map(Level::name) })
}

fn choice() -> Value {
    json!({ "type": "string", "enum": ["received", "moved", "help"] })
}

fn far_end() -> Value {
    json!({ "description": "In the far end's own form" })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_address_that_is_sent_to_says_what_it_takes() {
        let sent_to: BTreeSet<_> =
            super::super::OPERATIONS.iter().filter(|row| matches!(row.0, "post" | "put" | "patch")).map(|row| (row.0, row.1)).collect();
        let told: BTreeSet<_> = BODIES.iter().map(|(method, path, _)| (*method, *path)).collect();
        assert_eq!(sent_to, told, "say in http/openapi/bodies.rs what is sent there");
    }

    #[test]
    fn the_fields_of_an_alert_are_those_that_are_read() {
        let source = include_str!("../../alert/json/read.rs");
        let list = source.split("const TOP: &[&str] = &[").nth(1).and_then(|rest| rest.split("];").next()).expect("the list");
        let read: BTreeSet<&str> = list.split('"').skip(1).step_by(2).collect();
        let schema = alert();
        let told: BTreeSet<&str> = schema["properties"].as_object().expect("fields").keys().map(String::as_str).collect();
        assert_eq!(told, read);
        let required = schema["required"].as_array().expect("a list");
        assert!(required.iter().filter_map(Value::as_str).all(|field| read.contains(field)));
    }
}
