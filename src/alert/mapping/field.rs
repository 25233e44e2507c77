//! Owns how one field is taken out of a payload: paths, cutting, a table of words, a fixed value.
//! Refuses to know what the field means. Invariant: a word that the table has not is a fault, never a guess.

use std::collections::BTreeMap;

use serde_json::Value;
use toml::Table;

use crate::{
    alert::events,
    fault::Fault,
    keys::{Keys, nearest_word},
};

/// Words of an answer that are shown in a fault.
const SHOWN_CHARS: usize = 60;
/// The name of the table that is built in: words of events, also inside a title, to their codes.
pub(super) const EVENT_NAMES: &str = "@event-names";

/// `level = { path = "color.code", table = "levels" }`.
#[derive(Clone, Debug, Default)]
pub(super) struct Field {
    paths: Vec<String>,
    value: Option<String>,
    table: Option<String>,
    find: bool,
    before: Option<String>,
    skip: usize,
    take: usize,
    otherwise: Option<String>,
    /// Words with paths in braces.
    form: Option<String>,
}

/// Words of the source to words of an alert; `*` stands for one letter or digit, and is carried over.
pub(super) type Tables = BTreeMap<String, BTreeMap<String, String>>;

impl Field {
    pub(super) fn fixed(value: &str) -> Self {
        Self { value: Some(value.to_owned()), ..Self::default() }
    }

    pub(super) fn parse(path: String, table: &Table, tables: &Tables) -> Result<Self, Vec<Fault>> {
        let mut keys = Keys::read(path, table);
        let field = Self {
            paths: if table.get("path").is_some_and(toml::Value::is_str) {
                keys.text("path").into_iter().collect()
            } else {
                keys.texts("path")
            },
            value: keys.text("value"),
            table: keys.text("table"),
            find: keys.flag("find", false),
            before: keys.text("before").filter(|mark| !mark.is_empty()),
            skip: number(&mut keys, "skip"),
            take: number(&mut keys, "take"),
            otherwise: keys.text("otherwise"),
            form: keys.text("form"),
        };
        if field.paths.is_empty() && field.value.is_none() && field.form.is_none() && !keys.has("path") {
            keys.fault("path", "missing", "a field needs a path, a form or a value");
        }
        if let Some(name) = field.table.as_deref().filter(|name| *name != EVENT_NAMES && !tables.contains_key(*name)) {
            let near =
                nearest_word(name, tables.keys().map(String::as_str)).map_or_else(String::new, |near| format!("; did you mean {near}?"));
            keys.fault("table", "unknown-table", format!("there is no [tables.{name}]{near}"));
        }
        if (field.find || field.otherwise.is_some()) && field.table.is_none() {
            keys.fault("table", "missing", "find and otherwise are about a table");
        }
        keys.finish(field)
    }

    /// The words of this field in one entry; `None` when it says nothing, the path with each fault.
    pub(super) fn read(&self, entry: &Value, tables: &Tables) -> Result<Option<String>, Fault> {
        for path in &self.paths {
            let Some(text) = words(entry, path)? else { continue };
            let text = self.cut(&text);
            if text.is_empty() {
                continue;
            }
            return match &self.table {
                None => Ok(Some(text)),
                Some(table) => self.looked_up(&text, path, table, tables),
            };
        }
        match &self.form {
            Some(form) => Ok(filled(form, entry)?.or_else(|| self.value.clone())),
            None => Ok(self.value.clone()),
        }
    }

    /// Every text of a list, or the one text that stands in its place.
    pub(super) fn read_list(&self, entry: &Value, tables: &Tables) -> Result<Vec<String>, Fault> {
        for path in &self.paths {
            if let Some(Value::Array(list)) = at(entry, path) {
                let each = list.iter().map(|value| words(value, "").map(|text| text.map(|text| self.cut(&text))));
                return Ok(each.collect::<Result<Vec<_>, Fault>>()?.into_iter().flatten().filter(|text| !text.is_empty()).collect());
            }
        }
        Ok(self.read(entry, tables)?.into_iter().collect())
    }

    pub(super) fn cut(&self, text: &str) -> String {
        let text = text.trim();
        let text = self.before.as_ref().and_then(|mark| text.split_once(mark.as_str())).map_or(text, |(before, _)| before);
        text.chars().skip(self.skip).take(if self.take == 0 { usize::MAX } else { self.take }).collect()
    }

    fn looked_up(&self, text: &str, path: &str, name: &str, tables: &Tables) -> Result<Option<String>, Fault> {
        let found = match tables.get(name) {
            _ if name == EVENT_NAMES => events::understand(text).map_or(Found::None, |understood| Found::One(understood.code)),
            Some(table) if self.find => find(table, text),
            Some(table) => exact(table, text).map_or(Found::None, Found::One),
            None => return Ok(None),
        };
        let shown: String = text.chars().take(SHOWN_CHARS).collect();
        match (found, &self.otherwise) {
            (Found::One(word), _) => Ok(Some(word).filter(|word| !word.is_empty())),
            (_, Some(word)) => Ok(Some(word.clone()).filter(|word| !word.is_empty())),
            (Found::None, None) => Err(Fault::new(path, "not-in-table", format!("{shown:?} stands for nothing in the table {name}"))),
            (Found::Several, None) => Err(Fault::new(path, "ambiguous", format!("{shown:?} stands for several words of the table {name}"))),
        }
    }
}

/// The words of a form with what stands at the paths in its braces; `None` when one of them says nothing.
fn filled(form: &str, entry: &Value) -> Result<Option<String>, Fault> {
    let mut text = String::new();
    let mut rest = form;
    while let Some((before, after)) = rest.split_once('{') {
        let Some((path, behind)) = after.split_once('}') else { break };
        let Some(said) = words(entry, path)? else { return Ok(None) };
        text.push_str(before);
        text.push_str(&said);
        rest = behind;
    }
    text.push_str(rest);
    Ok(Some(text))
}

enum Found {
    None,
    One(String),
    Several,
}

fn exact(table: &BTreeMap<String, String>, text: &str) -> Option<String> {
    table.get(text).cloned().or_else(|| table.iter().find_map(|(pattern, word)| starred(pattern, word, text)))
}

/// `10**` to `11B**`: the letters under the stars are carried over in their order.
fn starred(pattern: &str, word: &str, text: &str) -> Option<String> {
    if !pattern.contains('*') || pattern.chars().count() != text.chars().count() {
        return None;
    }
    let mut carried = Vec::new();
    for (form, letter) in pattern.chars().zip(text.chars()) {
        match form {
            '*' if letter.is_ascii_alphanumeric() => carried.push(letter),
            form if form == letter => {}
            _ => return None,
        }
    }
    let mut carried = carried.into_iter();
    Some(word.chars().map(|letter| if letter == '*' { carried.next().unwrap_or('*') } else { letter }).collect())
}

/// The words of the table that stand in a text; the longest counts, so that 雷雨大风 is not also 大风.
fn find(table: &BTreeMap<String, String>, text: &str) -> Found {
    let inside: Vec<(&String, &String)> = table.iter().filter(|(word, _)| text.contains(word.as_str())).collect();
    let outer =
        inside.iter().filter(|(word, _)| !inside.iter().any(|(other, _)| other.len() > word.len() && other.contains(word.as_str())));
    let mut meant: Vec<&String> = outer.map(|(_, meaning)| *meaning).collect();
    meant.sort_unstable();
    meant.dedup();
    match meant.as_slice() {
        [] => Found::None,
        [one] => Found::One((*one).clone()),
        _ => Found::Several,
    }
}

/// The value at a path of keys and places joined by dots; an empty path is the value itself.
pub(super) fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').filter(|part| !part.is_empty()).try_fold(value, |value, part| match value {
        Value::Object(map) => map.get(part),
        Value::Array(list) => list.get(part.parse::<usize>().ok()?),
        _ => None,
    })
}

fn words(entry: &Value, path: &str) -> Result<Option<String>, Fault> {
    match at(entry, path) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty())),
        Some(Value::Number(number)) => Ok(Some(number.to_string())),
        Some(Value::Bool(flag)) => Ok(Some(flag.to_string())),
        Some(Value::Array(_) | Value::Object(_)) => Err(Fault::new(path, "wrong-type", "must be a text or a number")),
    }
}

/// Characters to leave out or take; no field of these interfaces is longer.
fn number(keys: &mut Keys<'_>, key: &'static str) -> usize {
    usize::try_from(keys.number(key, 0..=10_000, 0)).unwrap_or(0)
}
