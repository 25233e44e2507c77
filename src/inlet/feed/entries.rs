//! Owns making a feed's body into entries, oldest first: which id, what it says, where its warning is.
//! Refuses to know warnings. Invariant: two entries have one digest only if they say the same.

use std::{collections::HashMap, sync::Arc};

use super::seen::Print;
use crate::{
    alert::{
        self, Alert, Limits, Reading, Vocabulary,
        mapping::Mapping,
        wrapped::{self, Entry},
    },
    fault::Fault,
};

/// A feed holds many warnings; each of them is held to the gateway's own bounds later.
const ELEMENTS_MAX: usize = 1_000_000;
/// Labels are for people and logs.
const LABEL_CHARS_MAX: usize = 120;

/// One entry that a feed lists.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) id: Print,
    pub(super) digest: Print,
    /// What people know it by.
    pub(super) label: String,
    pub(super) body: Body,
}

/// Where the warning of an entry is.
#[derive(Debug)]
pub(super) enum Body {
    Here(Vec<u8>),
    Link(String),
    /// It could not be made into a warning.
    Faulty(Vec<Fault>),
}

/// How a feed's body is read.
#[derive(Clone, Default)]
pub(super) struct Reader {
    /// For JSON; without one, JSON is an alert of our own form.
    pub(super) mapping: Option<Arc<Mapping>>,
}

impl Reader {
    /// The entries of a feed's body, oldest first: an update must not come before what it updates.
    pub(super) fn read(&self, body: &[u8]) -> Result<Vec<Item>, Vec<Fault>> {
        // The bytes were bounded while they came.
        let limits = Limits { bytes_max: body.len(), elements_max: ELEMENTS_MAX, ..Limits::default() };
        let mut items = match &self.mapping {
            Some(mapping) if !is_xml(body) => mapped(mapping.read(body, &limits)?),
            _ if wrapped::is_wrapper(body) => listed(wrapped::entries(body, &limits)?),
            _ => vec![alone(body, &limits)?],
        };
        tell_apart(&mut items);
        Ok(items)
    }
}

fn is_xml(body: &[u8]) -> bool {
    body.iter().find(|byte| !byte.is_ascii_whitespace() && !matches!(byte, 0xef | 0xbb | 0xbf | 0xff | 0xfe | 0)) == Some(&b'<')
}

fn listed(mut entries: Vec<Entry>) -> Vec<Item> {
    // Feeds list the newest first; where all say when they were changed, that decides.
    entries.reverse();
    if entries.iter().all(|entry| entry.updated.is_some()) {
        entries.sort_by_key(|entry| entry.updated);
    }
    entries.into_iter().filter_map(item).collect()
}

/// Warnings that a mapping has read out of JSON, each as a document of our own form; what is at fault comes first and is soon refused.
fn mapped(mut readings: Vec<Reading>) -> Vec<Item> {
    readings.sort_by_key(|reading| reading.outcome.as_ref().ok().map(|alert| alert.sent));
    readings.into_iter().map(|reading| reading.outcome.map_or_else(faulty, |alert| of_alert(&alert))).collect()
}

fn of_alert(alert: &Alert) -> Item {
    let bytes = alert::json::to_value(alert).to_string().into_bytes();
    let id = Print::of(&[alert.sender.as_bytes(), alert.identifier.as_bytes()]);
    Item { id, digest: Print::of(&[&bytes]), label: alert.identifier.chars().take(LABEL_CHARS_MAX).collect(), body: Body::Here(bytes) }
}

/// Known by what is wrong with it: its place in the list changes with every warning before it.
fn faulty(faults: Vec<Fault>) -> Item {
    let said: Vec<&[u8]> = faults.iter().flat_map(|fault| [fault.rule.as_bytes(), fault.message.as_bytes()]).collect();
    let (id, label) = (Print::of(&said), faults.first().map(|fault| fault.path.chars().take(LABEL_CHARS_MAX).collect()));
    Item { id, digest: id, label: label.unwrap_or_default(), body: Body::Faulty(faults) }
}

/// Entries that a careless feed gives one id: each must keep its own place in what is remembered.
fn tell_apart(items: &mut [Item]) {
    let mut times: HashMap<Print, u32> = HashMap::new();
    for item in items {
        let number = times.entry(item.id).or_default();
        if *number > 0 {
            item.id = item.id.with(*number);
        }
        *number += 1;
    }
}

/// One warning stands at the address; a page for people in its place is no warning that the gateway should refuse, but a feed that fails.
fn alone(body: &[u8], limits: &Limits) -> Result<Item, Vec<Fault>> {
    let reading = alert::read(body, None, limits, &Vocabulary::default());
    match (reading.format, reading.outcome) {
        (None, Err(faults)) => Err(faults),
        _ => Ok(Item {
            id: Print::of(&[b"alone"]),
            digest: Print::of(&[body]),
            label: "its only warning".into(),
            body: Body::Here(body.to_vec()),
        }),
    }
}

fn item(entry: Entry) -> Option<Item> {
    let updated = entry.updated.map_or_else(String::new, |at| at.as_ms().to_string());
    let link = entry.link.unwrap_or_default();
    let digest = Print::of(&[updated.as_bytes(), link.as_bytes(), entry.alert.as_deref().unwrap_or_default()]);
    let name = if entry.title.is_empty() { &entry.id } else { &entry.title };
    let label = name.chars().take(LABEL_CHARS_MAX).collect();
    let body = match entry.alert {
        Some(alert) => Body::Here(alert),
        None if link.is_empty() => return None,
        None => Body::Link(link),
    };
    Some(Item { id: Print::of(&[entry.id.as_bytes()]), digest, label, body })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(feed: &str) -> Vec<String> {
        Reader::default().read(feed.as_bytes()).unwrap_or_else(|faults| panic!("{faults:?}")).into_iter().map(|item| item.label).collect()
    }

    #[test]
    fn the_oldest_comes_first_by_time_or_else_from_the_end() {
        let entry = |id: &str, at: &str| format!("<entry><id>{id}</id><link href='{id}'/>{at}</entry>");
        let at = |hour: u32| format!("<updated>2026-07-23T{hour}:00:00+08:00</updated>");
        let feed = |entries: [String; 3]| format!("<feed xmlns='http://www.w3.org/2005/Atom'>{}</feed>", entries.concat());
        assert_eq!(labels(&feed([entry("b", &at(12)), entry("c", &at(14)), entry("a", &at(10))])), ["a", "b", "c"]);
        assert_eq!(labels(&feed([entry("c", &at(10)), entry("b", ""), entry("a", &at(12))])), ["a", "b", "c"]);
    }

    #[test]
    fn two_entries_of_one_id_are_two() {
        let feed = "<feed xmlns='http://www.w3.org/2005/Atom'><entry><id>a</id><link href='x'/></entry><entry><id>a</id><link href='y'/></entry></feed>";
        let ids = || {
            Reader::default()
                .read(feed.as_bytes())
                .unwrap_or_else(|faults| panic!("{faults:?}"))
                .into_iter()
                .map(|item| item.id)
                .collect::<Vec<_>>()
        };
        assert!(ids()[0] != ids()[1] && ids() == ids());
    }

    #[test]
    fn an_entry_that_says_something_else_has_another_digest_and_the_same_id() {
        let read = |text: &str| Reader::default().read(text.as_bytes()).unwrap_or_else(|faults| panic!("{faults:?}")).remove(0);
        let one = read(
            "<feed xmlns='http://www.w3.org/2005/Atom'><entry><id>a</id><link href='x'/><updated>2026-07-23T10:00:00+08:00</updated></entry></feed>",
        );
        let same = read(
            "<feed xmlns='http://www.w3.org/2005/Atom'><title>t</title><entry><id>a</id><updated>2026-07-23T02:00:00Z</updated><link href='x'/></entry></feed>",
        );
        let later = read(
            "<feed xmlns='http://www.w3.org/2005/Atom'><entry><id>a</id><link href='x'/><updated>2026-07-23T10:00:01+08:00</updated></entry></feed>",
        );
        assert_eq!((one.id, one.digest), (same.id, same.digest));
        assert!(later.id == one.id && later.digest != one.digest);
    }
}
