//! Owns how far a relay has come: which alerts the far end has, what it was told of them, and what it refused. Kept as one document.
//! Refuses to know HTTP and the ledger.
//! Invariant: what is written here the far end has answered for; what is not may have reached it, and goes again under the same key.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use crate::{
    alert::{AlertId, AlertNo},
    delivery::book::State,
    store::documents::{DocumentError, Documents},
    time::Timestamp,
};

/// Refusals that are listed; all are counted.
const REFUSALS_MAX: usize = 100;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Cursor {
    /// Every alert below this number is done with.
    floor: u32,
    /// Further ones that are.
    done: BTreeSet<u32>,
    /// The far end has these, and is told how they go on.
    open: BTreeMap<u32, Told>,
    /// Alerts that the far end has taken.
    pub(super) relayed: u64,
    /// Alerts and reports that it has refused.
    pub(super) refused: u64,
    pub(super) last_taken: Option<Timestamp>,
    refusals: VecDeque<Refusal>,
    /// The newest alert that stands in here, to tell this ledger from another.
    newest: Option<(AlertNo, AlertId)>,
}

/// What the far end knows of an alert that it has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Told {
    /// The newest state that it was told.
    pub(super) state: Option<State>,
}

/// Something that the far end does not want.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    pub alert: AlertId,
    pub identifier: String,
    /// `alert`, `state` or `coverage`.
    pub document: String,
    /// HTTP status.
    pub status: u16,
    /// First and newest time, and how often.
    pub first: Timestamp,
    pub last: Timestamp,
    pub times: u32,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error(transparent)]
    Document(#[from] DocumentError),
    #[error("is damaged: {0}")]
    Damaged(#[from] serde_json::Error),
}

impl Cursor {
    /// What an earlier run has written; `None` when there was none.
    pub(super) fn read(documents: &Documents, name: &str) -> Result<Option<Self>, ReadError> {
        match documents.read(&document_name(name))? {
            Some(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            None => Ok(None),
        }
    }

    /// When this returns, it survives a power cut.
    pub(super) fn write(&self, documents: &Documents, name: &str) -> Result<(), ReadError> {
        Ok(documents.replace(&document_name(name), &serde_json::to_vec(self)?)?)
    }

    /// Numbers below this one need not be looked at.
    pub(super) const fn floor(&self) -> u32 {
        self.floor
    }

    /// Nothing more is owed of it, or nothing ever was.
    pub(super) fn is_done(&self, no: AlertNo) -> bool {
        no.0 < self.floor || self.done.contains(&no.0)
    }

    pub(super) fn told(&self, no: AlertNo) -> Option<Told> {
        self.open.get(&no.0).copied()
    }

    /// Alerts that the far end has and that are not over, oldest first.
    pub(super) fn open(&self) -> impl Iterator<Item = (AlertNo, Told)> + '_ {
        self.open.iter().map(|(&no, &told)| (AlertNo(no), told))
    }

    /// Whether it was written about this ledger. A journal that was lost or replaced counts its alerts anew.
    pub(super) fn is_about(&self, id_of: impl Fn(AlertNo) -> Option<AlertId>) -> bool {
        self.newest.is_none_or(|(no, id)| id_of(no) == Some(id))
    }

    fn mark(&mut self, no: AlertNo, id: AlertId) {
        if self.newest.is_none_or(|(newest, _)| newest <= no) {
            self.newest = Some((no, id));
        }
    }

    /// The far end has it; its reports follow.
    pub(super) fn took(&mut self, no: AlertNo, id: AlertId, at: Timestamp) {
        self.mark(no, id);
        self.open.insert(no.0, Told::default());
        self.relayed += 1;
        self.last_taken = Some(at);
    }

    pub(super) fn told_state(&mut self, no: AlertNo, state: State) {
        if let Some(told) = self.open.get_mut(&no.0) {
            told.state = Some(state);
        }
    }

    pub(super) fn finish(&mut self, no: AlertNo, id: AlertId) {
        self.mark(no, id);
        self.open.remove(&no.0);
        if no.0 >= self.floor {
            self.done.insert(no.0);
        }
        while self.done.remove(&self.floor) {
            self.floor += 1;
        }
    }

    pub(super) fn refuse(&mut self, alert: AlertId, identifier: &str, document: &str, status: u16, at: Timestamp) {
        self.refused += 1;
        let same = |known: &&mut Refusal| known.alert == alert && known.document == document && known.status == status;
        if let Some(known) = self.refusals.iter_mut().find(same) {
            (known.last, known.times) = (at, known.times.saturating_add(1));
            return;
        }
        let (identifier, document) = (identifier.to_owned(), document.to_owned());
        self.refusals.push_back(Refusal { alert, identifier, document, status, first: at, last: at, times: 1 });
        // Refused alerts stay in the list longer than refused reports: they are what somebody must hand on by other means.
        if self.refusals.len() > REFUSALS_MAX {
            let place = self.refusals.iter().position(|known| known.document != "alert").unwrap_or(0);
            self.refusals.remove(place);
        }
    }

    /// Newest first.
    pub(super) fn refusals(&self) -> Vec<Refusal> {
        self.refusals.iter().rev().cloned().collect()
    }
}

/// `settings` holds names short enough for it.
fn document_name(name: &str) -> String {
    format!("relay-{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_ms(1_790_000_000_000);

    fn id(number: u128) -> AlertId {
        AlertId(uuid::Uuid::from_u128(number))
    }

    #[test]
    fn the_floor_rises_over_what_is_done_and_stops_below_what_is_open() {
        let mut cursor = Cursor::default();
        cursor.finish(AlertNo(0), id(0));
        cursor.took(AlertNo(1), id(1), NOW);
        cursor.finish(AlertNo(2), id(2));
        cursor.finish(AlertNo(3), id(3));
        assert_eq!((cursor.floor(), cursor.is_done(AlertNo(1)), cursor.is_done(AlertNo(3))), (1, false, true));
        cursor.told_state(AlertNo(1), State::Completed);
        assert_eq!(cursor.told(AlertNo(1)), Some(Told { state: Some(State::Completed) }));
        cursor.finish(AlertNo(1), id(1));
        assert_eq!((cursor.floor(), cursor.open().count(), cursor.relayed), (4, 0, 1));
        assert!(cursor.done.is_empty());
        assert!(cursor.is_about(|no| Some(id(u128::from(no.0)))));
        assert!(!cursor.is_about(|_| None) && !cursor.is_about(|_| Some(id(9))));
    }

    #[test]
    fn what_was_written_is_read_back_and_damage_is_said() {
        let data = tempfile::tempdir().expect("temporary directory");
        let documents = Documents::open(data.path()).expect("opened");
        assert!(Cursor::read(&documents, "city").expect("readable").is_none());
        let mut cursor = Cursor::default();
        cursor.took(AlertNo(7), id(7), NOW);
        cursor.refuse(id(0), "a", "alert", 422, NOW);
        cursor.write(&documents, "city").expect("written");
        assert_eq!(Cursor::read(&documents, "city").expect("readable"), Some(cursor));
        documents.replace("relay-city", b"{").expect("written");
        assert!(matches!(Cursor::read(&documents, "city"), Err(ReadError::Damaged(_))));
    }

    #[test]
    fn refusals_are_counted_all_and_listed_up_to_a_bound_alerts_longest() {
        let mut cursor = Cursor::default();
        cursor.refuse(id(0), "first", "alert", 422, NOW);
        for number in 0..200 {
            cursor.refuse(id(number), "again", "coverage", 404, NOW);
            cursor.refuse(id(number), "again", "coverage", 404, NOW);
        }
        let listed = cursor.refusals();
        assert_eq!((cursor.refused, listed.len()), (401, REFUSALS_MAX));
        assert_eq!(listed[0].times, 2);
        assert!(listed.iter().any(|refusal| refusal.document == "alert"));
    }
}
