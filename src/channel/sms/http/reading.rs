//! Owns what stands where in a gateway's answer: pointers into JSON, the words of success, the classes of its codes.
//! Refuses to know which gateway it is. Pure.
//! Invariant: a code that the table does not list never condemns a telephone number.

use std::collections::BTreeMap;

use serde_json::Value;
use toml::Table;

use crate::{
    channel::{Class, Concerns, Meaning, answers::happens},
    keys::Keys,
};

/// Ends a beginning: `isv.*` stands for every code of that beginning that is not listed itself, `*` for all.
const ANY: char = '*';

/// Ids of providers are a few dozen characters; a page of HTML is none.
const MESSAGE_ID_CHARS_MAX: usize = 128;

/// Where the gateway's own id of a message stands.
pub(super) enum MessageId {
    At(String),
    /// The whole answer is the id.
    Body,
}

/// When an answer means that the message was taken.
pub(super) struct Success {
    /// Empty: any 2xx.
    pub(super) status: Vec<u64>,
    pub(super) path: Option<String>,
    pub(super) equals: Vec<String>,
}

/// What the gateway's own codes mean.
#[derive(Default)]
pub(super) struct Classes(BTreeMap<String, Meaning>);

/// What words within an answer mean, by the county's own table `errors`; longer ones go before shorter ones.
#[derive(Default)]
pub(super) struct Spoken(Vec<(String, Meaning)>);

pub(super) struct Errors {
    pub(super) path: Option<String>,
    pub(super) classes: Classes,
}

/// A table inside of the account's; absent is as good as empty.
pub(super) fn inner<'a>(keys: &mut Keys<'a>, key: &'static str) -> Option<Keys<'a>> {
    let path = keys.path_of(key);
    keys.table(key).map(|table| Keys::read(path, table))
}

/// Ends an inner table; its faults are the account's.
pub(super) fn close<T>(keys: &mut Keys<'_>, inner: Keys<'_>, value: T) -> Option<T> {
    inner.finish(value).map_err(|faults| keys.add_faults(faults)).ok()
}

/// An RFC 6901 pointer such as `/data/0/id`.
pub(super) fn pointer(keys: &mut Keys<'_>, key: &'static str) -> Option<String> {
    let text = keys.text(key)?;
    if !text.starts_with('/') {
        keys.fault(key, "bad-pointer", "must be a JSON pointer such as \"/data/0/id\"");
    }
    Some(text)
}

/// What stands there, as text; lists and objects are no code and no id.
pub(super) fn text_at(value: &Value, pointer: &str) -> Option<String> {
    match value.pointer(pointer)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

impl MessageId {
    /// `"body"` or a pointer.
    pub(super) fn read(keys: &mut Keys<'_>, key: &'static str) -> Option<Self> {
        if keys.plain(key).first().is_some_and(|text| text == "body") { Some(Self::Body) } else { pointer(keys, key).map(Self::At) }
    }

    pub(super) fn of(&self, said: Option<&Value>, text: impl FnOnce() -> String) -> Option<String> {
        let id = match self {
            Self::At(pointer) => text_at(said?, pointer)?,
            Self::Body => text(),
        };
        (1..=MESSAGE_ID_CHARS_MAX).contains(&id.chars().count()).then_some(id)
    }
}

impl Success {
    /// `ok = 200`, `ok = [200, 202]`, or a table.
    pub(super) fn read(keys: &mut Keys<'_>) -> Self {
        let mut success = Self { status: Vec::new(), path: None, equals: Vec::new() };
        if !keys.is_table("ok") {
            success.status = statuses(keys, "ok");
            return success;
        }
        let Some(mut inside) = inner(keys, "ok") else { return success };
        success.status = statuses(&mut inside, "status");
        success.path = pointer(&mut inside, "path");
        success.equals = inside.plain("equals");
        if success.path.is_some() == success.equals.is_empty() {
            inside.fault("equals", "missing", "path and equals are given together or not at all");
        }
        close(keys, inside, ());
        success
    }

    pub(super) fn is_status(&self, status: u16) -> bool {
        if self.status.is_empty() { (200..300).contains(&status) } else { self.status.contains(&u64::from(status)) }
    }
}

fn statuses(keys: &mut Keys<'_>, key: &'static str) -> Vec<u64> {
    let statuses = keys.plain(key).iter().map(|text| text.parse().ok().filter(|status| (100..=599).contains(status))).collect();
    let statuses: Option<Vec<u64>> = statuses;
    statuses.unwrap_or_else(|| {
        keys.fault(key, "bad-status", "must be HTTP statuses from 100 to 599");
        Vec::new()
    })
}

impl Errors {
    /// The codes stand where success would, unless the table says otherwise; `error = "/code"` only names the place.
    pub(super) fn read(keys: &mut Keys<'_>, success: &Success) -> Self {
        let mut errors = Self { path: success.path.clone(), classes: Classes::default() };
        if keys.has("error") && !keys.is_table("error") {
            errors.path = pointer(keys, "error").or(errors.path);
            return errors;
        }
        let Some(mut inside) = inner(keys, "error") else { return errors };
        errors.path = pointer(&mut inside, "path").or(errors.path);
        errors.classes = Classes::read(&mut inside, "classes");
        if errors.path.is_none() {
            inside.fault("path", "missing", "must be given, as ok has no path either");
        }
        close(keys, inside, ());
        errors
    }
}

impl Classes {
    pub(super) fn read(keys: &mut Keys<'_>, key: &'static str) -> Self {
        let listed = keys.table(key).map(|table| Self::of(keys, key, table));
        Self(listed.unwrap_or_default())
    }

    fn of(keys: &mut Keys<'_>, key: &str, table: &Table) -> BTreeMap<String, Meaning> {
        let mut classes = BTreeMap::new();
        for (code, word) in table {
            match word.as_str().and_then(meaning) {
                Some(meaning) => {
                    classes.insert(code.clone(), meaning);
                }
                None => {
                    let known = MEANINGS.map(|(word, _)| word).join(", ");
                    keys.fault(&format!("{key}.{code}"), "unknown-word", format!("must be one of {known}"));
                }
            }
        }
        classes
    }

    pub(super) fn of_code(&self, code: &str) -> Option<&Meaning> {
        let beginning = |known: &str| known.strip_suffix(ANY).filter(|start| code.starts_with(start)).map(str::len);
        let by_beginning = || self.0.iter().filter_map(|(known, meaning)| Some((beginning(known)?, meaning))).max_by_key(|&(len, _)| len);
        self.0.get(code).or_else(|| by_beginning().map(|(_, meaning)| meaning))
    }
}

impl Spoken {
    pub(super) fn read(keys: &mut Keys<'_>, key: &'static str) -> Self {
        let mut words: Vec<(String, Meaning)> =
            Classes::read(keys, key).0.into_iter().map(|(words, meaning)| (words.to_lowercase(), meaning)).collect();
        words.sort_by_key(|(words, _)| std::cmp::Reverse(words.len()));
        Self(words)
    }

    /// `text` is in lower case.
    pub(super) fn of_text(&self, text: &str) -> Option<&Meaning> {
        self.0.iter().find(|(words, _)| text.contains(words)).map(|(_, meaning)| meaning)
    }
}

/// What stands in an answer for people to read, in lower case: every text of it, without the names of its places, or all of what is no JSON.
pub(super) fn said_in(answer: Option<&Value>, whole: impl FnOnce() -> String) -> String {
    fn gather(value: &Value, into: &mut String) {
        match value {
            Value::String(text) => {
                into.push_str(text);
                into.push(' ');
            }
            Value::Array(list) => list.iter().for_each(|value| gather(value, into)),
            Value::Object(object) => object.values().for_each(|value| gather(value, into)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    let mut text = String::new();
    match answer {
        Some(value) => gather(value, &mut text),
        None => text = whole(),
    }
    text.to_lowercase()
}

const fn listed(class: Class, concerns: Concerns, reason: &'static str) -> Meaning {
    happens("what the county's table lists", class, concerns, reason)
}

/// The words of a table and what they stand for; the last part is the metric word of a gateway's own code.
const MEANINGS: [(&str, Meaning); 9] = [
    ("retry", listed(Class::Retry, Concerns::Provider, "gateway-busy")),
    ("throttle", listed(Class::Throttled, Concerns::Provider, "gateway-throttled")),
    ("reject", listed(Class::Reject, Concerns::Recipient, "gateway-refused")),
    ("misconfigured", listed(Class::Misconfigured, Concerns::Account, "gateway-account")),
    ("opted_out", listed(Class::OptedOut, Concerns::Recipient, "opted-out")),
    ("unknown", listed(Class::Unknown, Concerns::Provider, "gateway-unknown")),
    ("words", listed(Class::Reject, Concerns::Message, "words-refused")),
    ("request", listed(Class::Reject, Concerns::Request, "gateway-request")),
    ("elsewhere", listed(Class::Reject, Concerns::Provider, "gateway-no-line")),
];

fn meaning(word: &str) -> Option<Meaning> {
    MEANINGS.into_iter().find(|(known, _)| *known == word).map(|(_, meaning)| meaning)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_found_by_itself_before_its_beginning_and_by_the_longest_of_those() {
        let table: Table =
            "c = { \"isv.LIMIT\" = \"throttle\", \"isv.*\" = \"reject\", \"isv.AMOUNT*\" = \"misconfigured\" }".parse().expect("toml");
        let classes = Classes::read(&mut Keys::read("", &table), "c");
        let of_code = |code| classes.of_code(code).map(|meaning| (meaning.class, meaning.concerns));
        assert_eq!(of_code("isv.LIMIT"), Some((Class::Throttled, Concerns::Provider)));
        assert_eq!(of_code("isv.NUMBER"), Some((Class::Reject, Concerns::Recipient)));
        assert_eq!(of_code("isv.AMOUNT_NOT_ENOUGH"), Some((Class::Misconfigured, Concerns::Account)));
        assert_eq!(of_code("isp.BUSY"), None);
    }
}
