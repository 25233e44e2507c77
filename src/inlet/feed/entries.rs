//! Owns making a feed's body into entries, oldest first: which id, what it says, where its warning is.
//! Refuses to know warnings. Invariant: two entries have one digest only if they say the same.

use super::seen::Print;
use crate::{
    alert::{
        self, Limits, Vocabulary,
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
}

/// The entries of a feed's body, oldest first: an update must not come before what it updates.
pub(super) fn read(body: &[u8]) -> Result<Vec<Item>, Vec<Fault>> {
    // The bytes were bounded while they came.
    let limits = Limits { bytes_max: body.len(), elements_max: ELEMENTS_MAX, ..Limits::default() };
    if !wrapped::is_wrapper(body) {
        return Ok(vec![alone(body, &limits)?]);
    }
    let mut entries = wrapped::entries(body, &limits)?;
    // Feeds list the newest first; where all say when they were changed, that decides.
    entries.reverse();
    if entries.iter().all(|entry| entry.updated.is_some()) {
        entries.sort_by_key(|entry| entry.updated);
    }
    Ok(entries.into_iter().filter_map(item).collect())
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
        read(feed.as_bytes()).unwrap_or_else(|faults| panic!("{faults:?}")).into_iter().map(|item| item.label).collect()
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
    fn an_entry_that_says_something_else_has_another_digest_and_the_same_id() {
        let read = |text: &str| read(text.as_bytes()).unwrap_or_else(|faults| panic!("{faults:?}")).remove(0);
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
