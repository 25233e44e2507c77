//! Owns what each address may be asked in its query: names, and the words of those that have a closed list. The description is made from it.
//! Refuses to read values: handlers do. Invariant: what is not known here is refused with the words that are, never ignored;
//! a mistyped filter would show a list that is not the one asked for, and a mistyped `dry_run` would import.
//! Far ends' addresses (`/v1/callbacks`) stay open: providers add names of their own.

use axum::{
    extract::{MatchedPath, Request},
    http::Method,
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use serde_json::{Value, json};

use super::problem::Problem;
use crate::{
    alert::Level,
    channel::Kind,
    delivery::{book::State, call::Call, slot::Furthest},
    fault::{Fault, Faults},
};

/// Longer names are no help in a message.
const NAME_CHARS_MAX: usize = 60;
const YES_OR_NO: [&str; 6] = ["1", "true", "yes", "0", "false", "no"];

/// What a value may be.
pub(super) enum Form {
    /// A closed list; nothing at all is as if it had not been asked.
    Word(fn() -> Vec<&'static str>),
    /// Yes or no; the bare name is yes.
    Flag,
    /// Yes or no, which has to be said: what it decides changes something.
    Switch,
    Limit,
    Time,
    Text,
}

pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) form: Form,
}

const fn parameter(name: &'static str, form: Form, about: &'static str) -> Parameter {
    Parameter { name, about, form }
}

const AREA: Parameter = parameter("area", Form::Text, "A division code; the rows of it and below it");
const LIMIT: Parameter = parameter("limit", Form::Limit, "How many rows at most");
const CURSOR: Parameter = parameter("cursor", Form::Text, "`next` of the page before");
const OPEN: Parameter = parameter("open", Form::Flag, "Those alone that nobody has dealt with");
/// Of texts for people, whatever the address (contract, Language).
const LANG: Parameter = parameter("lang", Form::Text, "zh or en; Chinese unless the caller's Accept-Language says otherwise");
const REASON: Parameter = parameter("reason", Form::Text, "Why; it stands in the audit, so without names");
const ALLOW_ERASED: Parameter = parameter("allow_erased", Form::Switch, "Takes in whoever was erased");
const SINCE: Parameter = parameter("since", Form::Time, "Not older than this");

/// By method and pattern of the path; a reading address of `/v1` that is not here takes no query.
const QUERIES: &[(&str, &str, &[Parameter])] = &[
    (
        "get",
        "/v1/alerts",
        &[
            parameter("state", Form::Word(|| State::ALL.map(State::name).to_vec()), "In this state"),
            parameter("level", Form::Word(|| Level::ALL.map(Level::name).to_vec()), "Of this level"),
            parameter("event", Form::Text, "Of this event code"),
            SINCE,
            parameter("notices", Form::Flag, "Also notices to duty about alerts that wait"),
            LIMIT,
            CURSOR,
        ],
    ),
    (
        "get",
        "/v1/alerts/{id}/coverage",
        &[AREA, parameter("by", Form::Word(|| vec!["county", "township", "town", "village"]), "Level of the children")],
    ),
    (
        "get",
        "/v1/alerts/{id}/deliveries",
        &[
            AREA,
            parameter("channel", Form::Word(|| Kind::ALL.map(Kind::name).to_vec()), "By this kind of channel"),
            parameter("state", Form::Word(|| Furthest::NAMES.to_vec()), "That have come this far"),
            parameter("role", Form::Text, "To people of this role"),
            LIMIT,
            CURSOR,
        ],
    ),
    ("get", "/v1/alerts/waiting", &[LIMIT, CURSOR]),
    ("get", "/v1/alerts/{id}/calls", &[AREA, parameter("state", Form::Word(|| Call::STATES.to_vec()), "In this state"), LIMIT, CURSOR]),
    ("get", "/v1/registry/gaps", &[AREA]),
    (
        "post",
        "/v1/registry/import",
        &[
            parameter("dry_run", Form::Switch, "Judges the files and changes nothing"),
            parameter("replace", Form::Switch, "The kinds in the files are replaced whole"),
            parameter("datum", Form::Word(|| vec!["wgs84", "gcj02"]), "What the coordinates of the files are on"),
            ALLOW_ERASED,
        ],
    ),
    ("get", "/v1/{kind}", &[AREA, parameter("q", Form::Text, "In name, id or number"), LIMIT, CURSOR]),
    ("put", "/v1/{kind}/{id}", &[ALLOW_ERASED]),
    ("get", "/v1/people/{id}/export", &[REASON]),
    ("delete", "/v1/people/{id}", &[REASON]),
    ("get", "/v1/help", &[OPEN, parameter("alert", Form::Text, "Of this alert"), LIMIT, CURSOR]),
    ("get", "/v1/alarms", &[OPEN, LIMIT, CURSOR]),
    ("get", "/v1/accounts", &[LIMIT, CURSOR]),
    ("get", "/v1/relays", &[LIMIT, CURSOR]),
    ("get", "/v1/sessions", &[LIMIT, CURSOR]),
    (
        "get",
        "/v1/audit",
        &[SINCE, parameter("by", Form::Text, "Who did it"), parameter("what", Form::Text, "What was done"), LIMIT, CURSOR],
    ),
    ("get", "/v1/devices", &[AREA, LIMIT, CURSOR]),
];

/// What an address may be asked.
pub(super) fn of(method: &str, route: &str) -> &'static [Parameter] {
    QUERIES.iter().find(|(of, path, _)| *of == method && *path == route).map_or(&[], |(.., parameters)| parameters)
}

/// Refuses a query that would be ignored in part.
pub(super) async fn known(request: Request, next: Next) -> Response {
    let faults = faults_of(&request);
    if faults.is_empty() { next.run(request).await } else { Problem::wrong_query(faults).into_response() }
}

fn faults_of(request: &Request) -> Vec<Fault> {
    let Some(query) = request.uri().query() else { return Vec::new() };
    let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let method = match *request.method() {
        Method::GET | Method::HEAD => "get",
        // Others are judged where they take anything at all: what is sent there stands in the body.
        Method::POST if !of("post", route).is_empty() => "post",
        Method::PUT if !of("put", route).is_empty() => "put",
        Method::DELETE if !of("delete", route).is_empty() => "delete",
        _ => return Vec::new(),
    };
    if !route.starts_with("/v1/") || route.starts_with("/v1/callbacks/") {
        return Vec::new();
    }
    judge(of(method, route), query)
}

fn judge(known: &[Parameter], query: &str) -> Vec<Fault> {
    let mut faults = Faults::default();
    let mut seen = Vec::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let shown: String = name.chars().take(NAME_CHARS_MAX).collect();
        let Some(parameter) = known.iter().chain([&LANG]).find(|parameter| parameter.name == name) else {
            let names: Vec<&str> = known.iter().map(|parameter| parameter.name).collect();
            let takes =
                if names.is_empty() { "nothing is asked here in a query".to_owned() } else { format!("known here: {}", names.join(", ")) };
            faults.add(shown, "unknown-parameter", takes);
            continue;
        };
        if seen.contains(&parameter.name) {
            faults.add(shown, "given-twice", "is given more than once");
            continue;
        }
        seen.push(parameter.name);
        let words = parameter.words();
        let is_left_open = value.is_empty() && !matches!(parameter.form, Form::Switch);
        if !words.is_empty() && !is_left_open && !words.contains(&value.as_ref()) {
            faults.add(shown, "unknown-word", format!("known here: {}", words.join(", ")));
        }
    }
    faults.into_list()
}

/// Whether a flag or switch is set, of what `known` has let in.
pub(super) fn is_set(value: Option<&String>) -> bool {
    value.is_some_and(|value| matches!(value.as_str(), "" | "1" | "true" | "yes"))
}

impl Parameter {
    /// The closed list, where there is one.
    fn words(&self) -> Vec<&'static str> {
        match self.form {
            Form::Word(words) => words(),
            Form::Flag | Form::Switch => YES_OR_NO.to_vec(),
            Form::Limit | Form::Time | Form::Text => Vec::new(),
        }
    }

    /// As the description has it.
    pub(super) fn described(&self) -> Value {
        let schema = match self.form {
            Form::Word(words) => json!({ "type": "string", "enum": words() }),
            Form::Flag | Form::Switch => json!({ "type": "string", "enum": YES_OR_NO }),
            Form::Limit => json!({ "type": "integer", "minimum": 1, "maximum": super::alerts::LIMIT_MAX }),
            Form::Time => json!({ "type": "string", "format": "date-time" }),
            Form::Text => json!({ "type": "string" }),
        };
        json!({ "name": self.name, "in": "query", "required": false, "description": self.about, "schema": schema })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_of_a_query_is_told_with_the_words_that_are_known() {
        let faults = judge(of("get", "/v1/alerts"), "level=rot&level=red&nivel=red&state=&limit=7&event=11B03&notices");
        let told: Vec<(&str, &str)> = faults.iter().map(|fault| (fault.path.as_str(), fault.rule)).collect();
        assert_eq!(told, [("level", "unknown-word"), ("level", "given-twice"), ("nivel", "unknown-parameter")]);
        assert!(faults[0].message.contains("red, orange, yellow, blue"), "{faults:?}");
        assert!(faults[2].message.contains("state, level, event"), "{faults:?}");
        assert_eq!(judge(&[], "limit=1")[0].rule, "unknown-parameter");
    }

    #[test]
    fn what_changes_something_has_to_be_said() {
        let import = of("post", "/v1/registry/import");
        for wrong in ["dry_run=", "dry_run", "dry_run=on", "dryrun=1", "replace="] {
            assert_eq!(judge(import, wrong).len(), 1, "{wrong}");
        }
        assert!(judge(import, "dry_run=1&replace=no&datum=gcj02").is_empty());
    }
}
