//! Owns reading a TOML table: each key once, typed, with every fault under its key path.
//! Refuses to know which keys there are; whoever owns the section asks for them, and what nobody asked for is a fault.
//! Invariant: a value that was at fault is replaced by a default that is never used, because `finish` then fails.

pub(crate) mod lines;

use std::{collections::BTreeSet, ops::RangeInclusive, time::Duration};

use secrecy::SecretString;
use toml::{Table, Value};

use crate::fault::{Fault, Faults};

pub(crate) struct Keys<'a> {
    /// Path of the table, such as `channel.mas-1`.
    path: String,
    table: &'a Table,
    asked: BTreeSet<&'static str>,
    faults: Faults,
}

impl<'a> Keys<'a> {
    pub(crate) fn read(path: impl Into<String>, table: &'a Table) -> Self {
        Self { path: path.into(), table, asked: BTreeSet::new(), faults: Faults::default() }
    }

    /// Keys that somebody else reads.
    pub(crate) fn leave(mut self, keys: &[&'static str]) -> Self {
        self.asked.extend(keys);
        self
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    pub(crate) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    pub(crate) fn add_faults(&mut self, faults: impl IntoIterator<Item = Fault>) {
        self.faults.extend(faults);
    }

    /// A share of a whole, from 0 to 1.
    pub(crate) fn share(&mut self, key: &'static str, default: f64) -> f64 {
        let Some(value) = self.value(key) else { return default };
        let share = match value {
            Value::Float(share) => Some(*share),
            Value::Integer(0) => Some(0.0),
            Value::Integer(1) => Some(1.0),
            _ => None,
        };
        share.filter(|share| (0.0..=1.0).contains(share)).unwrap_or_else(|| {
            self.fault(key, "out-of-range", "must be a share from 0.0 to 1.0");
            default
        })
    }

    /// A list of texts; empty when the key is not there.
    pub(crate) fn texts(&mut self, key: &'static str) -> Vec<String> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let list = value.as_array().map(|list| list.iter().map(|item| item.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>());
        list.flatten().unwrap_or_else(|| {
            self.fault(key, "wrong-type", "must be a list of texts");
            Vec::new()
        })
    }

    /// One plain value or a list of them, each as text: `0`, `"OK"`, `["OK", 0, true]`; empty when the key is not there.
    pub(crate) fn plain(&mut self, key: &'static str) -> Vec<String> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let items = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        let text = |item: &Value| match item {
            Value::String(text) => Some(text.clone()),
            Value::Integer(number) => Some(number.to_string()),
            Value::Boolean(flag) => Some(flag.to_string()),
            Value::Float(_) | Value::Datetime(_) | Value::Array(_) | Value::Table(_) => None,
        };
        items.iter().map(text).collect::<Option<Vec<_>>>().unwrap_or_else(|| {
            self.fault(key, "wrong-type", "must be a text, a whole number, true or false, or a list of these");
            Vec::new()
        })
    }

    pub(crate) fn is_table(&self, key: &str) -> bool {
        self.table.get(key).is_some_and(Value::is_table)
    }

    /// A list in which each text is read as `T`; each that cannot be is a fault with its place.
    pub(crate) fn parsed<T>(&mut self, key: &'static str) -> Vec<T>
    where
        T: std::str::FromStr,
        T::Err: std::fmt::Display,
    {
        let texts = self.texts(key);
        let mut list = Vec::with_capacity(texts.len());
        for (place, text) in texts.iter().enumerate() {
            match text.parse() {
                Ok(value) => list.push(value),
                Err(error) => self.fault(&format!("{key}[{place}]"), "bad-value", format!("{error}")),
            }
        }
        list
    }

    pub(crate) fn table(&mut self, key: &'static str) -> Option<&'a Table> {
        match self.value(key)? {
            Value::Table(table) => Some(table),
            _ => {
                self.fault(key, "wrong-type", "must be a table");
                None
            }
        }
    }

    /// The tables of `[[key]]`.
    pub(crate) fn tables(&mut self, key: &'static str) -> Vec<&'a Table> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let list = value.as_array().map(|list| list.iter().map(Value::as_table).collect::<Option<Vec<_>>>());
        list.flatten().unwrap_or_else(|| {
            self.fault(key, "wrong-type", format!("must be a list of tables, [[{key}]]"));
            Vec::new()
        })
    }

    pub(crate) fn text(&mut self, key: &'static str) -> Option<String> {
        match self.value(key)? {
            Value::String(text) => Some(text.clone()),
            other => {
                let found = other.type_str();
                self.fault(key, "wrong-type", format!("must be a text, not {found}"));
                None
            }
        }
    }

    /// A text that must be there and not be empty.
    pub(crate) fn required(&mut self, key: &'static str) -> String {
        let present = self.table.contains_key(key);
        let text = self.text(key).unwrap_or_default();
        if text.is_empty() && (!present || self.table.get(key).is_some_and(Value::is_str)) {
            self.fault(key, "missing", "must be given");
        }
        text
    }

    pub(crate) fn secret(&mut self, key: &'static str) -> Option<SecretString> {
        self.text(key).map(SecretString::from)
    }

    pub(crate) fn flag(&mut self, key: &'static str, default: bool) -> bool {
        match self.value(key) {
            None => default,
            Some(Value::Boolean(flag)) => *flag,
            Some(_) => {
                self.fault(key, "wrong-type", "must be true or false");
                default
            }
        }
    }

    pub(crate) fn number(&mut self, key: &'static str, range: RangeInclusive<u64>, default: u64) -> u64 {
        let Some(value) = self.value(key) else { return default };
        let number = value.as_integer().and_then(|number| u64::try_from(number).ok()).filter(|number| range.contains(number));
        number.unwrap_or_else(|| {
            self.fault(key, "out-of-range", format!("must be a whole number from {} to {}", range.start(), range.end()));
            default
        })
    }

    /// One word of a closed list.
    pub(crate) fn word(&mut self, key: &'static str, words: &[&'static str], default: &'static str) -> &'static str {
        let Some(value) = self.value(key) else { return default };
        let known = value.as_str().and_then(|text| words.iter().find(|word| **word == text));
        known.copied().unwrap_or_else(|| {
            self.fault(key, "unknown-word", format!("must be one of {}", words.join(", ")));
            default
        })
    }

    pub(crate) fn duration(&mut self, key: &'static str, default: Duration) -> Duration {
        let Some(value) = self.value(key) else { return default };
        value.as_str().and_then(parse_duration).unwrap_or_else(|| {
            self.fault(key, "bad-duration", "must be a duration such as \"250ms\", \"90s\", \"5m\" or \"24h\"");
            default
        })
    }

    pub(crate) fn durations(&mut self, key: &'static str, default: &[Duration]) -> Vec<Duration> {
        let Some(value) = self.value(key) else { return default.to_vec() };
        let list = value.as_array().map(|list| list.iter().map(|item| item.as_str().and_then(parse_duration)).collect::<Option<Vec<_>>>());
        list.flatten().unwrap_or_else(|| {
            self.fault(key, "bad-duration", "must be a list of durations such as [\"5s\", \"30s\", \"2m\"]");
            default.to_vec()
        })
    }

    pub(crate) fn fault(&mut self, key: &str, rule: &'static str, message: impl Into<String>) {
        self.faults.add(self.path_of(key), rule, message);
    }

    /// `value`, unless any key was at fault or unknown.
    pub(crate) fn finish<T>(mut self, value: T) -> Result<T, Vec<Fault>> {
        let unknown: Vec<&String> = self.table.keys().filter(|key| !self.asked.contains(key.as_str())).collect();
        for key in unknown {
            let path = self.path_of(key);
            let message = match self.nearest(key) {
                Some(known) => format!("is not a key here; did you mean {known}?"),
                None => "is not a key here".to_owned(),
            };
            self.faults.add(path, "unknown-key", message);
        }
        self.faults.into_result(value)
    }

    /// A key that was asked for and is at most two letters away.
    fn nearest(&self, key: &str) -> Option<&'static str> {
        nearest_word(key, self.asked.iter().copied())
    }

    fn value(&mut self, key: &'static str) -> Option<&'a Value> {
        self.asked.insert(key);
        self.table.get(key)
    }
}

/// The known word that is at most two letters away.
pub(crate) fn nearest_word<'k>(word: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    known.map(|known| (distance(known, word), known)).min().filter(|&(far, _)| far <= 2).map(|(_, known)| known)
}

/// Letters to change, add or leave out to get from one word to the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, letter) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &against) in other.iter().enumerate() {
            let changed = diagonal + usize::from(letter != against);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[other.len()]
}

/// `90s`, `5m`, `24h`, `250ms`; more than zero.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit())?;
    let number: u64 = text[..digits].parse().ok()?;
    let ms = match &text[digits..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(ms).filter(|&ms| ms > 0).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_of_a_table_is_named_by_its_key() {
        let table: Table = "port = \"x\"\nretry = [\"5s\", \"soon\"]\ntimout = \"5s\"".parse().expect("toml");
        let mut keys = Keys::read("channel.post", &table);
        keys.duration("timeout", Duration::from_secs(1));
        keys.durations("retry", &[]);
        keys.required("host");
        keys.number("port", 1..=65_535, 25);
        let faults = keys.finish(()).expect_err("faults");
        let paths: BTreeSet<&str> = faults.iter().map(|fault| fault.path.as_str()).collect();
        assert_eq!(paths, BTreeSet::from(["channel.post.retry", "channel.post.host", "channel.post.port", "channel.post.timout"]));
        let unknown = faults.iter().find(|fault| fault.rule == "unknown-key").expect("unknown key");
        assert_eq!(unknown.message, "is not a key here; did you mean timeout?");
    }

    #[test]
    fn durations_carry_their_unit() {
        assert_eq!(parse_duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(parse_duration("2m"), Some(Duration::from_secs(120)));
        for text in ["", "5", "5 s", "-5s", "0s", "5w", "s", "99999999999999999999h"] {
            assert_eq!(parse_duration(text), None, "{text:?}");
        }
    }
}
