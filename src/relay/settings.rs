//! Owns the keys of `[relay.NAME]`.
//! Refuses to connect. Invariant: a secret that is at fault is told by its key, never by its content.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::Url;
use secrecy::{ExposeSecret as _, SecretSlice, SecretString};
use toml::Table;

use crate::{alert::Level, fault::Fault, keys::Keys, net::web_url};

const TIMEOUT: Duration = Duration::from_secs(15);
const COVERAGE_EVERY: Duration = Duration::from_secs(60);
/// Platforms restart within a minute or two.
const ALARM_AFTER: Duration = Duration::from_secs(300);
/// Counting a county costs milliseconds; nobody reads faster.
const COVERAGE_EVERY_LEAST: Duration = Duration::from_secs(1);
/// Standard Webhooks: secrets have 24 to 64 bytes.
const HMAC_KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// The cursor's document is named after the relay, and those names end at 64.
const NAME_BYTES_MAX: usize = 56;

/// In which form alerts are handed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// CAP 1.2, XML.
    Cap,
    /// JSON alert of contract §2.1.
    Json,
}

impl Format {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Cap => "cap",
            Self::Json => "json",
        }
    }
}

pub(super) struct Settings {
    pub(super) url: Url,
    /// Where changes of state and coverage go.
    pub(super) reports_url: Url,
    pub(super) format: Format,
    pub(super) key: Option<SecretString>,
    pub(super) hmac_key: Option<SecretSlice<u8>>,
    pub(super) ca: Option<String>,
    pub(super) coverage_every: Duration,
    pub(super) timeout: Duration,
    pub(super) alarm_after: Duration,
    pub(super) drills: bool,
    pub(super) levels: Vec<Level>,
}

pub(super) fn read(name: &str, table: &Table) -> Result<Settings, Vec<Fault>> {
    let mut keys = Keys::read(format!("relay.{name}"), table);
    if name.len() > NAME_BYTES_MAX {
        keys.add_faults([Fault::new(format!("relay.{name}"), "bad-name", format!("the name may have {NAME_BYTES_MAX} letters"))]);
    }
    let url = web_url::required(&mut keys, "url");
    let reports_url = if keys.has("reports_url") { web_url::required(&mut keys, "reports_url") } else { url.clone() };
    let format = if keys.word("format", &["cap", "json"], "cap") == "json" { Format::Json } else { Format::Cap };
    let coverage_every = keys.duration("coverage_every", COVERAGE_EVERY);
    if coverage_every < COVERAGE_EVERY_LEAST {
        keys.fault("coverage_every", "out-of-range", "must be at least 1s");
    }
    let settings = Settings {
        url,
        reports_url,
        format,
        key: key(&mut keys),
        hmac_key: hmac_key(&mut keys),
        ca: keys.text("ca"),
        coverage_every,
        timeout: keys.duration("timeout", TIMEOUT),
        alarm_after: keys.duration("alarm_after", ALARM_AFTER),
        drills: keys.flag("drills", false),
        levels: levels(&mut keys),
    };
    keys.finish(settings)
}

fn key(keys: &mut Keys<'_>) -> Option<SecretString> {
    let key = keys.secret("key")?;
    let is_plain = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_plain(key.expose_secret()) {
        keys.fault("key", "bad-key", "must be a token of visible ASCII letters, as an Authorization header takes it");
    }
    Some(key)
}

fn hmac_key(keys: &mut Keys<'_>) -> Option<SecretSlice<u8>> {
    let text = keys.secret("hmac_key")?;
    let text = text.expose_secret();
    let bytes = STANDARD.decode(text.strip_prefix("whsec_").unwrap_or(text)).ok().filter(|bytes| HMAC_KEY_BYTES.contains(&bytes.len()));
    if bytes.is_none() {
        keys.fault("hmac_key", "bad-key", "must be 24 to 64 bytes in base64, with or without \"whsec_\" before them");
    }
    bytes.map(SecretSlice::from)
}

fn levels(keys: &mut Keys<'_>) -> Vec<Level> {
    if !keys.has("levels") {
        return Level::ALL.to_vec();
    }
    let words = keys.texts("levels");
    if words.is_empty() {
        keys.fault("levels", "missing", "must not be empty; leave it out to mean all");
    }
    let mut levels = Vec::new();
    for (place, word) in words.iter().enumerate() {
        match Level::ALL.into_iter().find(|level| level.name() == word) {
            Some(level) => levels.push(level),
            None => keys.fault(&format!("levels[{place}]"), "unknown-level", format!("{word:?} is not red, orange, yellow or blue")),
        }
    }
    levels
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<String> {
        let faults = read("city", &text.parse().expect("toml")).err().unwrap_or_default();
        faults.iter().map(|fault| format!("{} {}", fault.path, fault.rule)).collect()
    }

    #[test]
    fn a_table_needs_an_address_alone_and_each_fault_has_its_place() {
        let settings =
            read("city", &"url = \"https://city.example/alerts\"".parse().expect("toml")).unwrap_or_else(|faults| panic!("{faults:?}"));
        assert_eq!((settings.format, settings.drills, settings.levels.len()), (Format::Cap, false, 4));
        assert_eq!(settings.reports_url, settings.url);
        assert_eq!(faults(""), ["relay.city.url missing"]);
        let long = read(&"a".repeat(57), &"url = \"https://city.example\"".parse().expect("toml"));
        assert!(long.is_err_and(|faults| faults[0].rule == "bad-name"));
        let wrong = "url = \"ftp://city\"\nformat = \"xml\"\nlevels = [\"pink\"]\ncoverage_every = \"5ms\"\nhmac_key = \"short\"\nkey = \"a b\"\nurls = 1";
        let expected = ["url bad-url", "format unknown-word", "coverage_every out-of-range", "key bad-key", "hmac_key bad-key"];
        let mut expected: Vec<String> = expected.iter().map(|fault| format!("relay.city.{fault}")).collect();
        expected.extend(["relay.city.levels[0] unknown-level".to_owned(), "relay.city.urls unknown-key".to_owned()]);
        assert_eq!(faults(wrong), expected);
    }
}
