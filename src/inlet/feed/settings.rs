//! Owns reading an `[inlet.NAME]` of kind feed. Refuses to know how a feed is asked.
//! Invariant: a header's value is never part of a fault.

use std::time::Duration;

use reqwest::{
    Url,
    header::{HeaderMap, HeaderName, HeaderValue},
};
use toml::Table;

use crate::{
    area::AreaCode,
    fault::Fault,
    keys::Keys,
    net::{hosts::AllowedHost, web_url},
};

/// Headers that a feed is asked with: a key or two.
const HEADERS_MAX: usize = 32;
/// The document of what was seen is named after the inlet, and names of documents have 64 bytes.
const NAME_BYTES_MAX: usize = 48;

/// How the JSON of a public interface becomes warnings.
#[derive(Clone, Debug)]
pub(super) struct MappingSettings {
    /// A mapping that comes with the program, or the path of one.
    pub(super) name: String,
    /// What an entry is about when it does not say so itself.
    pub(super) areas: Vec<AreaCode>,
    /// The sender of every entry, where the interface passes on the warnings of others.
    pub(super) sender: Option<String>,
}

#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) source: String,
    pub(super) url: Url,
    pub(super) every: Duration,
    pub(super) timeout: Duration,
    pub(super) mapping: Option<MappingSettings>,
    pub(super) headers: HeaderMap,
    pub(super) ca: Option<String>,
    pub(super) allow_hosts: Vec<AllowedHost>,
    /// Intervals without an answer after which people are told.
    pub(super) misses: u32,
}

pub(super) fn read(name: &str, table: &Table) -> Result<Settings, Vec<Fault>> {
    let path = format!("inlet.{name}");
    let mut keys = Keys::read(&*path, table).leave(&["kind"]);
    if name.len() > NAME_BYTES_MAX {
        keys.add_faults([Fault::new(path, "name-too-long", format!("the name of a feed has at most {NAME_BYTES_MAX} letters"))]);
    }
    let source = keys.required("source");
    let url = web_url::required(&mut keys, "url");
    let every = in_range(&mut keys, "every", 30, "100ms", Duration::from_millis(100)..=Duration::from_secs(3_600), "1h");
    let timeout = in_range(&mut keys, "timeout", 20, "100ms", Duration::from_millis(100)..=Duration::from_secs(120), "2m");
    let mapping = mapping(&mut keys);
    let headers = headers(&mut keys);
    let ca = keys.text("ca");
    let allow_hosts = keys.parsed("allow_hosts");
    let misses = u32::try_from(keys.number("misses", 1..=1_000, 5)).unwrap_or(5);
    keys.finish(Settings { source, url, every, timeout, mapping, headers, ca, allow_hosts, misses })
}

/// XML is told by its root, and JSON by its first sign: the word is for the reader of the configuration, and says what must be given with it.
fn mapping(keys: &mut Keys<'_>) -> Option<MappingSettings> {
    let form = keys.word("format", &["auto", "atom", "rss", "cap", "json"], "auto");
    let (name, areas, sender) = (keys.text("mapping"), keys.parsed("areas"), keys.text("sender"));
    let Some(name) = name else {
        if form == "json" {
            keys.fault("mapping", "missing", "must say how JSON is read: a built-in name such as \"qweather\", or a file");
        }
        for key in ["areas", "sender"].into_iter().filter(|key| keys.has(key)).collect::<Vec<_>>() {
            keys.fault(key, "without-mapping", "says what a mapping leaves open, and there is none");
        }
        return None;
    };
    if !matches!(form, "auto" | "json") {
        keys.fault("mapping", "not-json", format!("a mapping is for JSON, not for {form}"));
    }
    Some(MappingSettings { name, areas, sender })
}

fn in_range(
    keys: &mut Keys<'_>,
    key: &'static str,
    default_s: u64,
    from: &str,
    range: std::ops::RangeInclusive<Duration>,
    to: &str,
) -> Duration {
    let value = keys.duration(key, Duration::from_secs(default_s));
    if !range.contains(&value) {
        keys.fault(key, "out-of-range", format!("must be from {from} to {to}"));
    }
    value
}

/// A table of names and values, or (from `headers_file`) lines `Name: value`.
fn headers(keys: &mut Keys<'_>) -> HeaderMap {
    let pairs: Vec<(String, Option<String>)> = if keys.is_table("headers") {
        let table = keys.table("headers").into_iter().flatten();
        table.map(|(name, value)| (name.clone(), value.as_str().map(str::to_owned))).collect()
    } else {
        let text = keys.text("headers").unwrap_or_default();
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        let pair = |line: &str| line.split_once(':').map(|(name, value)| (name.trim().to_owned(), Some(value.trim().to_owned())));
        lines.enumerate().map(|(place, line)| pair(line).unwrap_or_else(|| (format!("line {}", place + 1), None))).collect()
    };
    if pairs.len() > HEADERS_MAX {
        keys.fault("headers", "too-many", format!("at most {HEADERS_MAX} headers are sent"));
    }
    let mut headers = HeaderMap::new();
    for (name, value) in pairs.into_iter().take(HEADERS_MAX) {
        let parsed = HeaderName::try_from(&*name).ok().zip(value.and_then(|value| HeaderValue::try_from(value).ok()));
        match parsed {
            Some((name, mut value)) => {
                value.set_sensitive(true);
                headers.insert(name, value);
            }
            // The value is a secret; its name is enough to find it.
            None => keys.fault("headers", "bad-header", format!("{name:?} is not a header with a value that can be sent")),
        }
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<String> {
        let table: Table = text.parse().expect("toml");
        let list = read("city", &table).expect_err("faults");
        let mut told: Vec<String> = list.iter().map(ToString::to_string).collect();
        told.sort();
        told
    }

    #[test]
    fn every_fault_is_named_and_no_secret_is_told() {
        let told = faults(
            "every = \"1ms\"\nurl = \"ftp://x\"\nformat = \"json\"\nallow_hosts = [\"https://a\"]\n[headers]\n\"bad name\" = \"s3cret\"\nX = 3\n",
        );
        let paths: Vec<&str> = told.iter().filter_map(|line| line.split(": ").next()).collect();
        let expected = [
            "inlet.city.allow_hosts[0]",
            "inlet.city.every",
            "inlet.city.headers",
            "inlet.city.headers",
            "inlet.city.mapping",
            "inlet.city.source",
            "inlet.city.url",
        ];
        assert_eq!(paths, expected, "{told:?}");
        assert!(!told.join(" ").contains("s3cret"), "{told:?}");
        assert!(faults("headers = \"s3cret\"\nsource = \"met\"\nurl = \"http://x/\"\n").join(" ").find("s3cret").is_none());
    }

    #[test]
    fn a_mapping_stands_with_json_and_what_it_leaves_open_with_a_mapping() {
        let rules = |more: &str| {
            let table: Table = format!("source = \"met\"\nurl = \"http://x/\"\n{more}\n").parse().expect("toml");
            read("city", &table).map_or_else(|faults| faults.iter().map(|fault| fault.rule).collect(), |_| Vec::new())
        };
        assert_eq!(rules("format = \"json\""), ["missing"]);
        assert_eq!(rules("format = \"rss\"\nmapping = \"qweather\""), ["not-json"]);
        assert_eq!(rules("areas = [\"510726\"]\nsender = \"x\""), ["without-mapping", "without-mapping"]);
        assert!(rules("mapping = \"qweather\"\nareas = [\"510726\"]").is_empty());
    }

    #[test]
    fn headers_come_as_a_table_or_as_lines_of_a_file() {
        for text in ["headers = { X-Key = \"k\", Accept = \"a: b\" }", "headers = \"X-Key: k\\n\\nAccept: a: b\""] {
            let table: Table = format!("source = \"met\"\nurl = \"http://x/\"\n{text}\n").parse().expect("toml");
            let headers = read("city", &table).unwrap_or_else(|faults| panic!("{faults:?}")).headers;
            assert_eq!((headers["x-key"].as_bytes(), headers["accept"].as_bytes()), (&b"k"[..], &b"a: b"[..]));
            assert!(headers.values().all(HeaderValue::is_sensitive));
        }
    }
}
