//! Owns reading an account's table: each key once, typed, with every fault under its key path.
//! Refuses to know which keys a provider has; the provider asks for them, and what nobody asked for is a fault.
//! Invariant: a value that was at fault is replaced by a default that is never used, because `finish` then fails.

use std::{collections::BTreeSet, ops::RangeInclusive, time::Duration};

use secrecy::SecretString;
use toml::{Table, Value};

use super::Common;
use crate::fault::{Fault, Faults};

/// Delays between tries when the table names none: a warning that is a quarter of an hour late is no warning.
const RETRY: [Duration; 3] = [Duration::from_secs(5), Duration::from_secs(30), Duration::from_secs(120)];
/// Enough to keep a far end busy over a slow line without holding hundreds of connections.
const CONCURRENCY: u64 = 8;
const TIMEOUT: Duration = Duration::from_secs(15);

pub(crate) struct Keys<'a> {
    account: &'a str,
    table: &'a Table,
    asked: BTreeSet<&'static str>,
    faults: Faults,
}

impl<'a> Keys<'a> {
    pub(crate) fn read(account: &'a str, table: &'a Table) -> Self {
        // These two chose the driver before it was asked.
        Self { account, table, asked: BTreeSet::from(["kind", "provider"]), faults: Faults::default() }
    }

    /// The keys that every account may have.
    pub(crate) fn common(&mut self) -> Common {
        let optional = |keys: &mut Self, key| {
            keys.value(key).is_some().then(|| keys.number(key, 1..=1_000_000, 1)).and_then(|n| u32::try_from(n).ok())
        };
        Common {
            priority: u8::try_from(self.number("priority", 1..=255, 1)).unwrap_or(1),
            per_second: optional(self, "per_second"),
            per_minute: optional(self, "per_minute"),
            burst: optional(self, "burst"),
            concurrency: usize::try_from(self.number("concurrency", 1..=1_024, CONCURRENCY)).unwrap_or(1),
            timeout: self.duration("timeout", TIMEOUT),
            retry: self.durations("retry", &RETRY),
        }
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

    fn durations(&mut self, key: &'static str, default: &[Duration]) -> Vec<Duration> {
        let Some(value) = self.value(key) else { return default.to_vec() };
        let list = value.as_array().map(|list| list.iter().map(|item| item.as_str().and_then(parse_duration)).collect::<Option<Vec<_>>>());
        list.flatten().unwrap_or_else(|| {
            self.fault(key, "bad-duration", "must be a list of durations such as [\"5s\", \"30s\", \"2m\"]");
            default.to_vec()
        })
    }

    pub(crate) fn fault(&mut self, key: &str, rule: &'static str, message: impl Into<String>) {
        self.faults.add(format!("channel.{}.{key}", self.account), rule, message);
    }

    /// `value`, unless any key was at fault or unknown.
    pub(crate) fn finish<T>(mut self, value: T) -> Result<T, Vec<Fault>> {
        let unknown: Vec<&String> = self.table.keys().filter(|key| !self.asked.contains(key.as_str())).collect();
        for key in unknown {
            self.faults.add(format!("channel.{}.{key}", self.account), "unknown-key", "is not a key of this kind of account");
        }
        self.faults.into_result(value)
    }

    fn value(&mut self, key: &'static str) -> Option<&'a Value> {
        self.asked.insert(key);
        self.table.get(key)
    }
}

/// `90s`, `5m`, `24h`, `250ms`; more than zero.
fn parse_duration(text: &str) -> Option<Duration> {
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
        let table: Table = "kind = \"email\"\nport = \"x\"\nretry = [\"5s\", \"soon\"]\ntimout = \"5s\"".parse().expect("toml");
        let mut keys = Keys::read("post", &table);
        let common = keys.common();
        keys.required("host");
        keys.number("port", 1..=65_535, 25);
        let faults = keys.finish(common).expect_err("faults");
        let paths: BTreeSet<&str> = faults.iter().map(|fault| fault.path.as_str()).collect();
        assert_eq!(paths, BTreeSet::from(["channel.post.retry", "channel.post.host", "channel.post.port", "channel.post.timout"]));
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
