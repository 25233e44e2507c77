//! Owns what a relay owes next: the ledger held against its cursor. Alerts in the order of their release, then news of those handed on.
//! Refuses to send. Invariant: no alert overtakes another, and no report its alert; what will never be owed is done with at once.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::{cursor::Cursor, document::Item, settings::Settings};
use crate::{
    alert::AlertNo,
    delivery::{
        book::{Book, State},
        ledger::{Ledger, Shelf},
    },
    time::Timestamp,
};

/// Links of a chain of Updates that are followed; a warning is seldom updated more than a dozen times.
const CHAIN_MAX: usize = 100;

/// When the next report of an alert is due, and what the last one showed. Lost with the process: then a report goes once more.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    /// Nothing before this, because the far end did not take the last.
    not_before: Timestamp,
    coverage_due: Timestamp,
    shown_version: Option<u64>,
}

#[derive(Debug, Default)]
pub(super) struct Paces(HashMap<u32, Pace>);

impl Paces {
    pub(super) fn shown(&mut self, no: AlertNo, version: u64, next: Timestamp) {
        let pace = self.0.entry(no.0).or_default();
        (pace.coverage_due, pace.shown_version, pace.not_before) = (next, Some(version), Timestamp::default());
    }

    /// A change of state is news: coverage follows it at once.
    pub(super) fn hurry(&mut self, no: AlertNo) {
        let pace = self.0.entry(no.0).or_default();
        (pace.coverage_due, pace.not_before) = (Timestamp::default(), Timestamp::default());
    }

    pub(super) fn put_off(&mut self, no: AlertNo, until: Timestamp) {
        self.0.entry(no.0).or_default().not_before = until;
    }

    pub(super) fn forget(&mut self, no: AlertNo) {
        self.0.remove(&no.0);
    }

    fn of(&self, no: AlertNo) -> Pace {
        self.0.get(&no.0).copied().unwrap_or_default()
    }
}

/// What is owed now, or when to look again if nothing else happens before.
#[derive(Debug)]
pub(super) enum Next {
    Now(Item),
    NotBefore(Option<Timestamp>),
}

/// Whether the far end wants it. Who was told of a warning is also told of its update and its end.
pub(super) fn is_wanted(shelf: &Shelf, ledger: &Ledger, settings: &Settings) -> bool {
    let is_unwanted_drill = shelf.alert.status.is_drill() && !settings.drills;
    if is_unwanted_drill || shelf.notice_of().is_some() {
        return false;
    }
    let is_level = |shelf: &Shelf| settings.levels.contains(&shelf.alert.level);
    if is_level(shelf) {
        return true;
    }
    let mut open = shelf.read().accepted.targets.clone();
    let mut seen = HashSet::new();
    while let Some(no) = open.pop() {
        if !seen.insert(no) || seen.len() > CHAIN_MAX {
            continue;
        }
        let Some(earlier) = ledger.get(no) else { continue };
        if is_level(&earlier) {
            return true;
        }
        open.extend(&earlier.read().accepted.targets);
    }
    false
}

/// Released alerts that the far end does not have, in the order of their release. What is never to be handed on is done with.
pub(super) fn waiting(cursor: &mut Cursor, ledger: &Ledger, settings: &Settings) -> Vec<(Timestamp, AlertNo)> {
    let mut waiting = Vec::new();
    for number in cursor.floor()..ledger.next_no().0 {
        let no = AlertNo(number);
        if cursor.is_done(no) || cursor.told(no).is_some() {
            continue;
        }
        let Some(shelf) = ledger.get(no) else { continue };
        let (released, state) = {
            let book = shelf.read();
            (book.timeline.released, book.state)
        };
        match released {
            Some(released) if is_wanted(&shelf, ledger, settings) => waiting.push((released, no)),
            Some(_) => cursor.finish(no, shelf.id),
            // Rejected, or its time ran out while it waited for a second person: it was never said.
            None if state.is_over() => cursor.finish(no, shelf.id),
            None => {}
        }
    }
    waiting.sort_unstable();
    waiting
}

pub(super) fn next(cursor: &mut Cursor, paces: &Paces, ledger: &Ledger, settings: &Settings, now: Timestamp) -> Next {
    if let Some(shelf) = waiting(cursor, ledger, settings).first().and_then(|&(_, no)| ledger.get(no)) {
        return Next::Now(Item::Alert(shelf));
    }
    let mut first: Option<(Timestamp, u32, Item)> = None;
    for (no, told) in cursor.open() {
        let Some(shelf) = ledger.get(no) else { continue };
        let Some((due, item)) = report(&shelf, told.state, paces.of(no), now) else { continue };
        if first.as_ref().is_none_or(|(best, number, _)| (due, no.0) < (*best, *number)) {
            first = Some((due, no.0, item));
        }
    }
    match first {
        Some((due, _, item)) if due <= now => Next::Now(item),
        Some((due, ..)) => Next::NotBefore(Some(due)),
        None => Next::NotBefore(None),
    }
}

/// What the far end is to hear of an alert that it has, and when.
fn report(shelf: &Arc<Shelf>, told: Option<State>, pace: Pace, now: Timestamp) -> Option<(Timestamp, Item)> {
    let book = shelf.read();
    let is_news = told != Some(book.state) && book.state.is_over();
    if is_news {
        return Some((pace.not_before, Item::State(Arc::clone(shelf), book.state)));
    }
    let is_final = is_ended(&book, shelf.alert.expires, now);
    if is_final {
        return Some((pace.not_before, Item::Coverage { shelf: Arc::clone(shelf), is_final }));
    }
    // An alert that is complete may still change by late answers; then, and only then, its coverage is told again.
    let is_changed = pace.shown_version != Some(book.version);
    let ends = end_of(&book, shelf.alert.expires);
    match (is_changed && book.timeline.planned.is_some(), ends) {
        (true, _) => {
            let due = pace.coverage_due.max(pace.not_before);
            Some((due, Item::Coverage { shelf: Arc::clone(shelf), is_final: false }))
        }
        (false, Some(end)) => Some((end.max(pace.not_before), Item::Coverage { shelf: Arc::clone(shelf), is_final: true })),
        (false, None) => None,
    }
}

/// Nothing of it will change any more, or nothing that matters.
fn is_ended(book: &Book, expires: Timestamp, now: Timestamp) -> bool {
    match book.state {
        State::Expired | State::Rejected => true,
        State::Cancelled | State::Superseded => book.open == 0 || expires <= now,
        State::Completed => expires <= now,
        State::Held | State::Released | State::Dispatching => false,
    }
}

/// When an alert ends by the clock alone; the others end by an event.
fn end_of(book: &Book, expires: Timestamp) -> Option<Timestamp> {
    matches!(book.state, State::Completed | State::Cancelled | State::Superseded).then_some(expires)
}
