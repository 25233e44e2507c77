//! Owns the filing of one alert's book: what stays of it in memory, and the bytes in which the whole of it is filed.
//! Refuses to know files and when to file. Invariant: what stays is made from the event that tells of the filing alone, so that a replay over
//! a journal that has lost some of the rest ends with the same figures; the filed book reads back equal.

use serde::{Deserialize, Serialize};

use super::{
    book::{Book, State, Timeline},
    coverage::{self, PeopleView, Progress},
    event::{Fact, Facts},
};
use crate::{area::AreaCode, time::Timestamp};

/// First bytes of a filed book, with the number of its form. Filed books are kept for years: a program that writes another form must still read this one.
const FORM: &[u8; 8] = b"LMFBOOK1";

/// What stays in memory of a filed book; all of it stands in the event, and so on the audit trail.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Filed {
    pub at: Timestamp,
    /// Month and name of the file.
    pub month: String,
    pub name: String,
    /// Of the book's bytes: the file can be held against the audit trail.
    pub sha256: String,
    /// Of the book that was filed: one that has changed since is not taken out of memory.
    pub version: u64,
    pub state: State,
    pub timeline: Timeline,
    pub zero: Timestamp,
    pub reason: String,
    pub decided_by: String,
    pub plans: u16,
    pub repeated: u32,
    /// Areas in which somebody was told.
    pub areas: Vec<AreaCode>,
    pub progress: Progress,
    pub people: PeopleView,
}

/// Why bytes are no filed book.
#[derive(Debug, thiserror::Error)]
pub enum NotFiled {
    #[error("it is no book, or one of a newer program")]
    OtherForm,
    #[error("the book cannot be read: {0}")]
    Damaged(#[from] postcard::Error),
}

impl Filed {
    /// What is told of this book when it is filed under `name`.
    pub fn of(book: &Book, at: Timestamp, month: String, name: String, sha256: String) -> Self {
        Self {
            at,
            month,
            name,
            sha256,
            version: book.version,
            state: book.state,
            timeline: book.timeline.clone(),
            zero: book.zero,
            reason: book.reason.clone(),
            decided_by: book.decided_by.clone(),
            plans: book.plans,
            repeated: book.repeated,
            areas: book.areas.clone(),
            progress: coverage::progress(book),
            people: coverage::people(book),
        }
    }
}

impl Book {
    /// The whole book as it is filed; a filed one has nothing to file.
    pub fn to_filed_bytes(&self) -> Result<Vec<u8>, postcard::Error> {
        let book = postcard::to_extend(self, FORM.to_vec())?;
        // What came later stands behind the book: those that were filed before end with it.
        if self.last_words.is_empty() { Ok(book) } else { postcard::to_extend(&self.last_words, book) }
    }

    /// The book that was filed. What has happened since to the alert as a whole (an Update that took its place, a Cancel) is what `now` says.
    pub fn from_filed_bytes(bytes: &[u8], now: &Self) -> Result<Self, NotFiled> {
        let mut book = Self::of_filed_bytes(bytes)?;
        (book.state, book.version) = (now.state, now.version);
        (book.reason, book.decided_by) = (now.reason.clone(), now.decided_by.clone());
        book.accepted.clone_from(&now.accepted);
        Ok(book)
    }

    /// The book as it was when it was filed.
    pub fn of_filed_bytes(bytes: &[u8]) -> Result<Self, NotFiled> {
        let rest = bytes.strip_prefix(FORM).ok_or(NotFiled::OtherForm)?;
        let (mut book, rest) = postcard::take_from_bytes::<Self>(rest)?;
        if !rest.is_empty() {
            book.last_words = postcard::from_bytes(rest)?;
        }
        Ok(book)
    }

    /// Lets go of everything that stands in the file, unless something has happened since the file was written.
    pub fn file(&mut self, filed: Filed) {
        if self.filed.is_some() || self.version > filed.version {
            return;
        }
        let mut slim = Self::new(self.accepted.clone(), filed.zero);
        (slim.state, slim.timeline) = (filed.state, filed.timeline.clone());
        (slim.reason, slim.decided_by) = (filed.reason.clone(), filed.decided_by.clone());
        (slim.plans, slim.repeated) = (filed.plans, filed.repeated);
        // Above both, so that watchers look again.
        slim.version = filed.version.max(self.version) + 1;
        slim.filed = Some(Box::new(filed));
        *self = slim;
    }

    /// How many of these came after the book was filed, in the moment between the look for their delivery and their commit.
    pub fn late_ones(&self, facts: &Facts) -> u64 {
        let Some(filed) = &self.filed else { return 0 };
        let is_late = |fact: &&Fact| facts.base.as_ms().saturating_add(i64::from(fact.at_ms)) >= filed.at.as_ms();
        facts.list.iter().filter(is_late).count() as u64
    }

    /// Areas in which somebody was told, also when the book is filed.
    pub fn told_areas(&self) -> &[AreaCode] {
        self.filed.as_ref().map_or(&self.areas, |filed| &filed.areas)
    }

    /// Whether everything about it is over: nothing is owed, nobody is waited for.
    pub fn is_closed(&self) -> bool {
        self.state.is_over() && self.open == 0 && !self.calls.iter().any(|call| call.is_open())
    }

    /// The last time that it had anything to do with a far end or a person's decision.
    pub fn last_stir(&self) -> Timestamp {
        let times = [self.timeline.last_sent, self.timeline.completed, self.timeline.released];
        times.into_iter().flatten().max().unwrap_or(self.accepted.accepted)
    }
}
