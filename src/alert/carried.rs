//! Owns what a document says beside the warning, kept only so that CAP goes out as it came in: source, codes, parameters, resources.
//! Refuses to know what any of it means: nobody is told by it. Invariant: bounded, and writable as CAP 1.2; what cannot be kept is named.

use serde::{Deserialize, Serialize};

use super::words;
use crate::fault::{Fault, Faults};

/// All of it together; documents carry a few hundred bytes. What is more is not kept, and said.
const BYTES_MAX: usize = 64 << 10;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Carried {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub source: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub incidents: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub audience: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub codes: Vec<String>,
    /// Codes of the event in other lists than the national one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub event_codes: Vec<Named>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<Named>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<Resource>,
}

/// `valueName` and `value` of CAP.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Named {
    pub name: String,
    pub value: String,
}

/// A file that the document points to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Resource {
    pub description: String,
    pub mime_type: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub size: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uri: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub digest: String,
}

impl Carried {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn texts(&self) -> impl Iterator<Item = &String> {
        let named = self.event_codes.iter().chain(&self.parameters).flat_map(|one| [&one.name, &one.value]);
        let files = self.resources.iter().flat_map(|one| [&one.description, &one.mime_type, &one.size, &one.uri, &one.digest]);
        [&self.source, &self.incidents, &self.audience].into_iter().chain(&self.codes).chain(named).chain(files)
    }

    /// What can be written as CAP and is not too much; the rest is a warning, signs that no document can hold are a fault.
    pub(super) fn checked(mut self, faults: &mut Faults, warnings: &mut Vec<Fault>) -> Self {
        self.texts().for_each(|text| words::control_characters(text, "carried", true, faults));
        for (place, file) in self.resources.iter_mut().enumerate() {
            let is_number = file.size.parse::<u64>().is_ok();
            for (name, text, is_good) in [("uri", &mut file.uri, words::is_uri as fn(&str) -> bool), ("size", &mut file.size, |_| true)] {
                if !text.is_empty() && !(is_good(text) && (name != "size" || is_number)) {
                    warnings.push(Fault::new(
                        format!("resource[{place}].{name}"),
                        "not-carried",
                        "has not its form, and does not go out again",
                    ));
                    text.clear();
                }
            }
        }
        let bytes: usize = self.texts().map(String::len).sum();
        if bytes > BYTES_MAX {
            let message =
                format!("source, codes, parameters and resources have {bytes} bytes; beyond {BYTES_MAX} they do not go out again");
            warnings.push(Fault::new("", "not-carried", message));
            return Self::default();
        }
        self
    }
}
