//! Owns the alerts that came before what they refer to: kept until that arrives, or until they are of no use any more.
//! Refuses to judge: intake takes them in as if they came then. Invariant: bounded; what is dropped for want of room is said by `push`.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::{alert::Reference, time::Timestamp};

/// An Update overtakes its Alert by seconds; a thousand at once is a flood of mistaken references.
pub const WAITING_MAX: usize = 1_000;

/// One such alert, as it came.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Waiting {
    pub at: Timestamp,
    /// After this it is of no use.
    pub until: Timestamp,
    /// `[[source]]` name, and who posted.
    pub source: String,
    pub by: String,
    pub format: String,
    pub digest: String,
    pub sender: String,
    pub identifier: String,
    pub references: Vec<Reference>,
    /// Normalised form of contract §2.1, areas as the source wrote them.
    pub document: serde_json::Value,
}

#[derive(Debug, Default)]
pub(super) struct WaitingList(VecDeque<Waiting>);

impl WaitingList {
    /// Takes one more; the one that had to go for it.
    pub(super) fn push(&mut self, waiting: Waiting) -> Option<Waiting> {
        self.0.retain(|known| known.until > waiting.at && known.digest != waiting.digest);
        let dropped = (self.0.len() >= WAITING_MAX).then(|| self.0.pop_front()).flatten();
        self.0.push_back(waiting);
        dropped
    }

    pub(super) fn end(&mut self, digest: &str) {
        self.0.retain(|known| known.digest != digest);
    }

    /// In the order in which they came.
    pub(super) fn list(&self) -> Vec<Waiting> {
        self.0.iter().cloned().collect()
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
            format: "json".into(),
            digest: number.to_string(),
            sender: "1".into(),
            identifier: number.to_string(),
            references: Vec::new(),
            document: serde_json::Value::Null,
        }
    }

    #[test]
    fn the_list_is_bounded_and_says_what_it_dropped() {
        let mut list = WaitingList::default();
        assert!((0..WAITING_MAX).all(|number| list.push(waiting(number, 0)).is_none()));
        assert_eq!(list.push(waiting(WAITING_MAX, 0)).map(|dropped| dropped.digest), Some("0".into()));
        assert_eq!(list.list().len(), WAITING_MAX);
    }

    #[test]
    fn one_document_waits_once_and_not_beyond_its_time() {
        let mut list = WaitingList::default();
        list.push(waiting(1, 0));
        list.push(waiting(1, 500));
        list.push(waiting(2, 600));
        assert_eq!(list.list().len(), 2);
        list.end("2");
        assert!(list.push(waiting(3, 1_500)).is_none());
        assert_eq!(list.list().iter().map(|one| one.digest.as_str()).collect::<Vec<_>>(), ["3"]);
    }
}
