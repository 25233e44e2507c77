//! Owns telling what a document is and having it read: format by content, then scan, draft, check.
//! Refuses to know HTTP. Invariant: `parseable` is false only when the document has no form at all; whatever has one gets its faults listed.

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::{Alert, cap, json, scan, wrapped};
use crate::fault::Fault;

/// Bounds of one document.
#[derive(Clone, Debug)]
pub struct Limits {
    pub bytes_max: usize,
    pub depth_max: usize,
    pub attributes_max: usize,
    pub elements_max: usize,
}

impl Default for Limits {
    /// The largest real CAP files are under 200 kB with a few thousand elements.
    fn default() -> Self {
        Self { bytes_max: 2 << 20, depth_max: 64, attributes_max: 64, elements_max: 50_000 }
    }
}

/// Names under which documents carry Chinese event and division codes.
#[derive(Clone, Debug)]
pub struct Vocabulary {
    pub event_value_names: Vec<String>,
    pub area_value_names: Vec<String>,
}

impl Default for Vocabulary {
    fn default() -> Self {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Self {
            event_value_names: list(&["12379", "GB/T 35561", "QX/T 342", "CMA", "eventType"]),
            area_value_names: list(&["CPEAS Geographic Code", "CN-ADMIN-12", "GB/T 2260", "12379", "adcode"]),
        }
    }
}

impl Vocabulary {
    /// The usual names, and those that a county's senders use beside them.
    pub fn with(event_value_names: Vec<String>, area_value_names: Vec<String>) -> Self {
        let mut words = Self::default();
        words.event_value_names.extend(event_value_names);
        words.area_value_names.extend(area_value_names);
        words
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Format {
    #[serde(rename = "cap12")]
    Cap12,
    #[serde(rename = "cap11")]
    Cap11,
    #[serde(rename = "cap10")]
    Cap10,
    #[serde(rename = "cn12379")]
    Cn12379,
    #[serde(rename = "json")]
    Json,
}

impl Format {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cap12 => "cap12",
            Self::Cap11 => "cap11",
            Self::Cap10 => "cap10",
            Self::Cn12379 => "cn12379",
            Self::Json => "json",
        }
    }
}

/// What reading a document came to.
#[derive(Clone, Debug)]
pub struct Reading {
    pub format: Option<Format>,
    /// What it says; of several things the most severe.
    pub outcome: Result<Alert, Vec<Fault>>,
    /// The other things that it says under the same identifier, most severe first: each of areas, event, level, words and times of its own.
    pub further: Vec<Alert>,
    /// Where in the document each of them stands (`info[1]`), the first one included; empty when it says one thing.
    pub places: Vec<String>,
    /// Whether it has the form of a document at all.
    pub parseable: bool,
    pub warnings: Vec<Fault>,
}

impl Reading {
    pub(super) fn of_one(format: Option<Format>, outcome: Result<Alert, Vec<Fault>>, warnings: Vec<Fault>) -> Self {
        Self { format, outcome, further: Vec::new(), places: Vec::new(), parseable: true, warnings }
    }

    /// Of alerts with their places.
    pub(super) fn of_several(format: Format, outcome: Result<Vec<(String, Alert)>, Vec<Fault>>, warnings: Vec<Fault>) -> Self {
        let mut said = match outcome {
            Ok(said) => said,
            Err(faults) => return Self::of_one(Some(format), Err(faults), warnings),
        };
        said.sort_by_key(|(_, alert)| alert.level);
        let (mut places, further): (Vec<String>, Vec<Alert>) = said.into_iter().unzip();
        let mut further = further.into_iter();
        let first = further.next().ok_or_else(|| vec![Fault::new("info", "missing", "the document says nothing")]);
        let further: Vec<Alert> = further.collect();
        if further.is_empty() {
            places.clear();
        }
        Self { format: Some(format), outcome: first, further, places, parseable: true, warnings }
    }

    fn unreadable(format: Option<Format>, fault: Fault) -> Self {
        Self { parseable: false, ..Self::of_one(format, Err(vec![fault]), Vec::new()) }
    }
}

/// Reads one alert document, told by its content; the content type only decides where the content leaves it open.
pub fn read(body: &[u8], content_type: Option<&str>, limits: &Limits, vocabulary: &Vocabulary) -> Reading {
    if body.len() > limits.bytes_max {
        let message = format!("{} bytes; at most {} are read", body.len(), limits.bytes_max);
        return Reading::unreadable(None, Fault::new("", "too-large", message));
    }
    let first = body.iter().copied().find(|byte| !byte.is_ascii_whitespace() && !matches!(byte, 0xef | 0xbb | 0xbf | 0xff | 0xfe | 0));
    let is_json = match first {
        Some(b'{' | b'[') => true,
        Some(b'<') => false,
        _ => content_type.is_some_and(|kind| kind.contains("json")),
    };
    let charset = content_type.and_then(charset);
    if is_json { read_json(body, charset, limits) } else { read_xml(body, limits, vocabulary, Inside::Nothing) }
}

/// The parameter of a content type. XML says its encoding itself.
fn charset(content_type: &str) -> Option<&str> {
    let (_, value) = content_type
        .split(';')
        .skip(1)
        .filter_map(|part| part.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("charset"))?;
    Some(value.trim().trim_matches('"'))
}

fn read_json(body: &[u8], charset: Option<&str>, limits: &Limits) -> Reading {
    let value = match json::parse(body, charset, limits) {
        Ok(value) => value,
        Err(faults) => {
            // A key given twice is a fault of a document that has its form.
            let parseable = faults.iter().all(|fault| fault.rule == "given-twice");
            return Reading { parseable, ..Reading::of_one(Some(Format::Json), Err(faults), Vec::new()) };
        }
    };
    let mut warnings = Vec::new();
    let outcome = json::read(&value, &mut warnings);
    Reading::of_one(Some(Format::Json), outcome, warnings)
}

/// Where a document stands: a wrapper in a wrapper is not followed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Inside {
    Nothing,
    Wrapper,
}

pub(super) fn read_xml(body: &[u8], limits: &Limits, vocabulary: &Vocabulary, inside: Inside) -> Reading {
    let text = match scan::scan(body, limits) {
        Ok(text) => text,
        Err(fault) => return Reading::unreadable(None, fault),
    };
    // The scan has refused what is quadratic or dangerous; what is left is a small tree.
    match roxmltree::Document::parse(&text) {
        Ok(document) => match wrapped::kind(&document.root_element()) {
            Some(kind) if inside == Inside::Nothing => wrapped::read(kind, &document, limits, vocabulary),
            _ => cap::read(&document, vocabulary),
        },
        Err(error) => Reading::unreadable(None, Fault::new(format!("line {}", error.pos().row), "not-xml", error.to_string())),
    }
}

/// Equal for documents that say the same, whatever their format and white space.
pub fn content_digest(alert: &Alert) -> [u8; 32] {
    document_digest([alert])
}

/// The same of all that one document says.
pub fn document_digest<'a>(said: impl IntoIterator<Item = &'a Alert>) -> [u8; 32] {
    let mut digest = Sha256::new();
    for alert in said {
        digest.update(json::to_value(alert).to_string().as_bytes());
    }
    digest.finalize().into()
}
