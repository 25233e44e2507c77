//! Owns the alerts that came before what they refer to: kept until that arrives, or until they are of no use any more.
//! Refuses to judge: intake takes them in as if they came then. Invariant: bounded; what is dropped for want of room is said by `push`.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::{alert::Reference, area::AreaCode, time::Timestamp};

/// An Update overtakes its Alert by seconds; a thousand at once is a flood of mistaken references.
pub const WAITING_MAX: usize = 1_000;

/// Documents of all that wait: thousands of the usual few kilobytes, dozens of the largest that are taken.
const BYTES_MAX: usize = 64 << 20;

/// One such alert, as it came.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Waiting {
    pub at: Timestamp,
    /// After this it is of no use.
    pub until: Timestamp,
    /// `[[source]]` name, and who posted.
    pub source: String,
    pub by: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// What the key was limited to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub areas: Vec<AreaCode>,
    pub format: String,
    pub digest: String,
    pub sender: String,
    pub identifier: String,
    pub references: Vec<Reference>,
    /// Normalised form of contract §2.1, areas as the source wrote them.
    pub document: serde_json::Value,
    /// Why it was refused, when it is not a reference that it waits for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<String>,
}

impl Waiting {
    /// Whether it waits for a change of policy, registry or rights.
    pub const fn is_refused(&self) -> bool {
        !self.refused.is_empty()
    }
}

#[derive(Debug, Default)]
pub(super) struct WaitingList {
    list: VecDeque<(usize, Waiting)>,
    bytes: usize,
}

impl WaitingList {
    /// Takes one more; those that had to go for it.
    pub(super) fn push(&mut self, waiting: Waiting) -> Vec<Waiting> {
        self.keep(|known| known.until > waiting.at && known.digest != waiting.digest);
        let bytes = waiting.document.to_string().len();
        let mut dropped = Vec::new();
        while self.list.len() >= WAITING_MAX || self.bytes + bytes > BYTES_MAX {
            let Some((freed, oldest)) = self.list.pop_front() else { break };
            self.bytes -= freed;
            dropped.push(oldest);
        }
        self.bytes += bytes;
        self.list.push_back((bytes, waiting));
        dropped
    }

    pub(super) fn end(&mut self, digest: &str) {
        self.keep(|known| known.digest != digest);
    }

    fn keep(&mut self, stays: impl Fn(&Waiting) -> bool) {
        self.list.retain(|(_, known)| stays(known));
        self.bytes = self.list.iter().map(|(bytes, _)| bytes).sum();
    }

    /// In the order in which they came.
    pub(super) fn list(&self) -> Vec<Waiting> {
        self.list.iter().map(|(_, waiting)| waiting.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(number: usize, at: i64) -> Waiting {
        Waiting {
            at: Timestamp::from_ms(at),
            until: Timestamp::from_ms(at + 1_000),
            source: "met".into(),
            by: "met".into(),
            owner: None,
            areas: Vec::new(),
            format: "json".into(),
            digest: number.to_string(),
            sender: "1".into(),
            identifier: number.to_string(),
            references: Vec::new(),
            document: serde_json::Value::Null,
            refused: Vec::new(),
        }
    }

    #[test]
    fn the_list_is_bounded_and_says_what_it_dropped() {
        let mut list = WaitingList::default();
        assert!((0..WAITING_MAX).all(|number| list.push(waiting(number, 0)).is_empty()));
        let dropped: Vec<String> = list.push(waiting(WAITING_MAX, 0)).into_iter().map(|dropped| dropped.digest).collect();
        assert_eq!(dropped, ["0"]);
        assert_eq!(list.list().len(), WAITING_MAX);
    }

    #[test]
    fn large_documents_are_bounded_together() {
        let mut list = WaitingList::default();
        let large = |number| Waiting { document: "x".repeat(BYTES_MAX / 2 - 100).into(), ..waiting(number, 0) };
        assert!(list.push(large(1)).is_empty() && list.push(large(2)).is_empty());
        assert_eq!(list.push(large(3)).len(), 1);
        list.end("2");
        assert!(list.push(large(4)).is_empty());
    }

    #[test]
    fn one_document_waits_once_and_not_beyond_its_time() {
        let mut list = WaitingList::default();
        list.push(waiting(1, 0));
        list.push(waiting(1, 500));
        list.push(waiting(2, 600));
        assert_eq!(list.list().len(), 2);
        list.end("2");
        assert!(list.push(waiting(3, 1_500)).is_empty());
        assert_eq!(list.list().iter().map(|one| one.digest.as_str()).collect::<Vec<_>>(), ["3"]);
    }
}
