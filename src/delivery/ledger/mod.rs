//! Owns all books, and how events find theirs. One writer folds; readers take a book's lock for as long as they copy from it.
//! Refuses to know how events are kept. Invariant: a ledger is nothing but the fold of its events; applying bytes it cannot read is an error.

mod image;

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use super::{
    book::{Book, State},
    call::{Answer, End, Try},
    early::{Early, EarlyList, Name},
    event::{Accepted, Event, Told},
    filed::{Filed, NotFiled},
    help::{Entry, HelpList},
    waiting::{Waiting, WaitingList},
    wire::Damaged,
};
use crate::{
    alert::{Alert, AlertId, AlertNo, json},
    time::Timestamp,
};

/// A book and the checked alert it is about, shared with readers.
#[derive(Debug)]
pub struct Shelf {
    pub no: AlertNo,
    pub id: AlertId,
    pub alert: Arc<Alert>,
    book: RwLock<Book>,
}

impl Shelf {
    /// The alert whose wait for approval it tells of; `None` for warnings.
    pub fn notice_of(&self) -> Option<AlertNo> {
        self.read().accepted.notice_of
    }

    /// Whether its book lies in a file.
    pub fn is_filed(&self) -> bool {
        self.read().filed.is_some()
    }

    pub fn read(&self) -> RwLockReadGuard<'_, Book> {
        self.book.read().expect("a fold that panicked ends the process")
    }

    fn write(&self) -> RwLockWriteGuard<'_, Book> {
        self.book.write().expect("a fold that panicked ends the process")
    }
}

/// What makes two posts the same alert.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AlertKey {
    pub sender: String,
    pub identifier: String,
    pub sent: Timestamp,
}

impl AlertKey {
    pub fn of(alert: &Alert) -> Self {
        Self { sender: alert.sender.clone(), identifier: alert.identifier.clone(), sent: alert.sent }
    }

    /// Of the document of which this alert is a part; `None` when it said nothing else.
    pub fn of_document(alert: &Alert) -> Option<Self> {
        (!alert.part_of.is_empty()).then(|| Self { identifier: alert.part_of.clone(), ..Self::of(alert) })
    }
}

/// Every alert the gateway knows.
#[derive(Debug, Default)]
pub struct Ledger {
    shelves: RwLock<Shelves>,
    /// Behind a lock of its own: the one of the shelves is written by the fold alone, or whoever reads a book and another shelf after it
    /// could wait for a writer that waits for him.
    early: Mutex<EarlyList>,
    /// As the early ones: whoever looks at it looks at books too.
    help: Mutex<HelpList>,
}

#[derive(Debug, Default)]
struct Shelves {
    by_no: Vec<Option<Arc<Shelf>>>,
    /// Those whose books are in memory and not filed: what news of far ends may be about, of ten thousands over the years.
    whole: BTreeSet<AlertNo>,
    by_id: HashMap<AlertId, AlertNo>,
    by_key: HashMap<AlertKey, AlertNo>,
    /// The alerts of documents that said several things, by the key of the document.
    by_document: HashMap<AlertKey, Vec<AlertNo>>,
    strays: u64,
    waiting: WaitingList,
}

#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    #[error(transparent)]
    Damaged(#[from] Damaged),
    #[error("event of alert {0:?} that is not in the journal")]
    NoSuchAlert(AlertNo),
    #[error("alert {no:?}: {error}")]
    BadAlert { no: AlertNo, error: json::NotKept },
    #[error("checkpoint cannot be read: {0}")]
    Image(#[from] postcard::Error),
    #[error("checkpoint of another version of the program")]
    OtherForm,
    #[error(transparent)]
    NotFiled(#[from] NotFiled),
    #[error("an alert or report that waits cannot be read: {0}")]
    Waiting(#[from] serde_json::Error),
}

impl Ledger {
    pub fn get(&self, no: AlertNo) -> Option<Arc<Shelf>> {
        self.read().by_no.get(no.0 as usize).cloned().flatten()
    }

    pub fn find(&self, id: AlertId) -> Option<Arc<Shelf>> {
        let shelves = self.read();
        let no = shelves.by_id.get(&id)?;
        shelves.by_no.get(no.0 as usize).cloned().flatten()
    }

    pub fn find_key(&self, key: &AlertKey) -> Option<Arc<Shelf>> {
        let shelves = self.read();
        let no = shelves.by_key.get(key)?;
        shelves.by_no.get(no.0 as usize).cloned().flatten()
    }

    /// All that the document of this key said, in the order in which it was taken in.
    pub fn find_document(&self, key: &AlertKey) -> Vec<Arc<Shelf>> {
        let shelves = self.read();
        let several = shelves.by_document.get(key).map_or(&[][..], Vec::as_slice);
        let one = shelves.by_key.get(key).filter(|no| !several.contains(no));
        several.iter().chain(one).filter_map(|no| shelves.by_no.get(no.0 as usize).cloned().flatten()).collect()
    }

    /// All that the document of this alert said, itself included.
    pub fn document_of(&self, shelf: &Arc<Shelf>) -> Vec<Arc<Shelf>> {
        match AlertKey::of_document(&shelf.alert) {
            Some(key) => self.find_document(&key),
            None => vec![Arc::clone(shelf)],
        }
    }

    /// Every warning, newest first: what people look at and other systems are told.
    pub fn warnings(&self) -> Vec<Arc<Shelf>> {
        self.newest_first().into_iter().filter(|shelf| shelf.notice_of().is_none()).collect()
    }

    /// Every alert, notices included, newest first.
    pub fn newest_first(&self) -> Vec<Arc<Shelf>> {
        self.read().by_no.iter().rev().flatten().cloned().collect()
    }

    /// Those whose books are not filed, newest first.
    pub fn whole_newest_first(&self) -> Vec<Arc<Shelf>> {
        let shelves = self.read();
        shelves.whole.iter().rev().filter_map(|no| shelves.by_no.get(no.0 as usize).cloned().flatten()).collect()
    }

    /// Taken out before any book is looked into: nobody waits for a book with the shelves in his hand.
    fn oldest_first(&self) -> Vec<Arc<Shelf>> {
        self.read().by_no.iter().flatten().cloned().collect()
    }

    pub fn next_no(&self) -> AlertNo {
        AlertNo(u32::try_from(self.read().by_no.len()).unwrap_or(u32::MAX))
    }

    /// Alerts that came before what they refer to, in the order in which they came.
    pub fn waiting(&self) -> Vec<Waiting> {
        self.read().waiting.list()
    }

    pub fn strays(&self) -> u64 {
        self.read().strays
    }

    /// Whether a report waits for a send that may be about to return.
    pub fn has_early(&self, now: Timestamp) -> bool {
        self.early().has_recent(now)
    }

    /// What early reports name, in the order in which they came.
    pub fn early_names(&self) -> Vec<Name> {
        self.early().list().map(|early| early.name.clone()).collect()
    }

    /// Early reports of these names, for whoever brings them to their deliveries; each to one.
    pub fn claim_early(&self, names: &[Name], now: Timestamp) -> Vec<Early> {
        let mut early = self.early();
        names.iter().flat_map(|name| early.claim(name, now)).collect()
    }

    /// Who asks for help, and what nobody understood.
    pub fn help(&self) -> MutexGuard<'_, HelpList> {
        self.help.lock().expect("no code panics while it holds the list of help")
    }

    /// What somebody said to one alert and nobody has done with yet, newest first.
    pub fn help_of(&self, alert: AlertNo) -> Vec<Entry> {
        self.help().newest_first().filter(|entry| entry.alert == Some(alert) && !entry.is_done()).cloned().collect()
    }

    fn early(&self) -> MutexGuard<'_, EarlyList> {
        self.early.lock().expect("no code panics while it holds the early reports")
    }

    fn read(&self) -> RwLockReadGuard<'_, Shelves> {
        self.shelves.read().expect("a fold that panicked ends the process")
    }

    fn write(&self) -> RwLockWriteGuard<'_, Shelves> {
        self.shelves.write().expect("a fold that panicked ends the process")
    }

    /// Folds one event in. Called by one writer, in the journal's order.
    pub fn apply(&self, bytes: &[u8]) -> Result<(), ApplyError> {
        match Event::decode(bytes)? {
            Event::Told(told) => self.apply_told(*told)?,
            Event::Plan(no, part) => self.shelf(no)?.write().apply_plan(part)?,
            Event::Leased(leased) => self.shelf(leased.alert)?.write().apply_lease(&leased),
            Event::Facts(facts) => {
                let shelf = self.shelf(facts.alert)?;
                let late = shelf.read().late_ones(&facts);
                shelf.write().apply_facts(&facts);
                if late > 0 {
                    self.write().strays += late;
                }
            }
            Event::Refs(refs) => self.shelf(refs.alert)?.write().apply_refs(&refs),
        }
        Ok(())
    }

    fn apply_told(&self, told: Told) -> Result<(), ApplyError> {
        match told {
            Told::Accepted(accepted) => {
                let alert = read_alert(&accepted)?;
                let book = Book::new(accepted, alert.effective);
                self.put(book, alert);
            }
            Told::Approved { alert, at, by, targets } => self.shelf(alert)?.write().release(at, by, targets),
            Told::Rejected { alert, at, by, reason } => self.shelf(alert)?.write().reject(at, by, reason),
            Told::Cancelled { alert, at, by, reason, cancel } => {
                self.shelf(alert)?.write().cancel(at, by, reason);
                if let Some(cancel) = cancel {
                    self.shelf(cancel)?.write().note_target(alert);
                }
            }
            Told::Superseded { alert, at, update } => {
                self.shelf(alert)?.write().supersede(at);
                self.shelf(update)?.write().note_target(alert);
            }
            Told::Expired { alert, at } => self.shelf(alert)?.write().expire(at),
            Told::Completed { alert, at } => self.shelf(alert)?.write().complete(at),
            Told::Answered { alert, recipient, at, choice, via, by, note } => {
                let shelf = self.shelf(alert)?;
                let mut book = shelf.write();
                // Given in the moment of the filing: kept on the trail, and counted as what names nothing any more.
                let is_late = book.filed.as_ref().is_some_and(|filed| filed.at <= at);
                book.apply_answer(recipient, Answer { at, choice, via, by, note });
                drop(book);
                if is_late {
                    self.write().strays += 1;
                }
            }
            Told::CalledInVain { alert, recipient, at, via, by, note } => {
                self.shelf(alert)?.write().apply_vain_call(recipient, Try { at, via, by, note });
            }
            Told::Escalated { alert, recipient, at, to } => self.shelf(alert)?.write().end_call(recipient, End::Escalated { at, to }),
            Told::Exhausted { alert, recipient, at } => self.shelf(alert)?.write().end_call(recipient, End::Exhausted { at }),
            Told::Filed { alert, filed } => {
                let shelf = self.shelf(alert)?;
                shelf.write().file(*filed);
                // One that has changed since is not.
                if shelf.is_filed() {
                    self.write().whole.remove(&alert);
                }
            }
            Told::Waiting(waiting) => {
                for dropped in self.write().waiting.push(*waiting) {
                    tracing::error!(identifier = dropped.identifier, "too many alerts wait for what they refer to; the oldest was dropped");
                }
            }
            Told::WaitingEnded { digest, .. } => self.write().waiting.end(&digest),
            Told::Early(early) => {
                // Nobody's until its send has returned.
                self.write().strays += 1;
                self.early().push(early);
            }
            Told::EarlyEnded { ids, .. } => {
                let mut early = self.early();
                let ended = ids.into_iter().filter(|&id| early.end(id)).count() as u64;
                drop(early);
                let mut shelves = self.write();
                shelves.strays = shelves.strays.saturating_sub(ended);
            }
            Told::HelpAsked(asked) => self.help().ask(asked),
            Told::HelpTaken(taken) => self.help().take(taken),
            Told::Redacted { people, help, .. } => {
                self.newest_first().iter().for_each(|shelf| shelf.write().redact(&people));
                self.help().redact(&help);
            }
            Told::Stray { .. } => self.write().strays += 1,
            Told::GivenBack { .. } | Told::Audited(_) => {}
        }
        Ok(())
    }

    /// Takes the head of a filed book where nothing else is known of its alert.
    pub fn put_filed(&self, bytes: &[u8], month: String, name: String, sha256: String) -> Result<(), ApplyError> {
        let mut book = Book::of_filed_bytes(bytes)?;
        if self.get(book.accepted.alert).is_some() {
            return Ok(());
        }
        let alert = read_alert(&book.accepted)?;
        // When it was filed is not known any more; nothing of it came after its end.
        let filed = Filed::of(&book, alert.expires, month, name, sha256);
        book.file(filed);
        self.put(book, alert);
        Ok(())
    }

    fn shelf(&self, no: AlertNo) -> Result<Arc<Shelf>, ApplyError> {
        self.get(no).ok_or(ApplyError::NoSuchAlert(no))
    }

    fn put(&self, book: Book, alert: Alert) {
        let (no, id) = (book.accepted.alert, book.accepted.id);
        let (key, is_whole) = (AlertKey::of(&alert), book.filed.is_none());
        let document = AlertKey::of_document(&alert);
        let shelf = Arc::new(Shelf { no, id, alert: Arc::new(alert), book: RwLock::new(book) });
        let mut shelves = self.write();
        let place = no.0 as usize;
        if shelves.by_no.len() <= place {
            shelves.by_no.resize(place + 1, None);
        }
        shelves.by_no[place] = Some(shelf);
        if is_whole {
            shelves.whole.insert(no);
        }
        shelves.by_id.insert(id, no);
        shelves.by_key.insert(key, no);
        if let Some(document) = document {
            let parts = shelves.by_document.entry(document).or_default();
            if !parts.contains(&no) {
                parts.push(no);
            }
        }
    }

    /// Drops the pieces of plans that were never sealed; called once, before anything new is planned.
    pub fn drop_unsealed(&self) -> usize {
        self.oldest_first().into_iter().filter(|shelf| shelf.write().drop_unsealed()).count()
    }

    /// Alerts that are over, of which nothing has stirred since `before`, and that are still whole in memory; the oldest come first.
    pub fn to_file(&self, before: Timestamp, most: usize) -> Vec<Arc<Shelf>> {
        let is_ripe = |shelf: &&Arc<Shelf>| {
            let book = shelf.read();
            book.filed.is_none() && shelf.alert.expires <= before && book.last_stir() <= before && book.is_closed()
        };
        self.oldest_first().iter().filter(is_ripe).take(most).cloned().collect()
    }

    /// Alerts that still owe something: what a start takes up again.
    pub fn unfinished(&self) -> Vec<Arc<Shelf>> {
        let open = |shelf: &Arc<Shelf>| {
            let book = shelf.read();
            matches!(book.state, State::Held | State::Released | State::Dispatching)
                || book.open > 0
                || book.calls.iter().any(|call| call.is_open())
        };
        self.oldest_first().into_iter().filter(open).collect()
    }
}

/// By its shape alone: the rules judged it when it came in, and one made since must not close the journal.
fn read_alert(accepted: &Accepted) -> Result<Alert, ApplyError> {
    json::from_kept(&accepted.document).map_err(|error| ApplyError::BadAlert { no: accepted.alert, error })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::{
        channel::News,
        delivery::{
            event::{Fact, FactKind, Facts},
            kit,
        },
    };

    /// Kept by a version with other rules: a ring that crosses itself, a headline and an urgency that would be refused today.
    fn kept() -> Value {
        serde_json::json!({
            "identifier": "1", "sender": "51072641600000", "sent": "2026-07-23T10:15:00+08:00", "status": "Actual", "msgType": "Alert",
            "event": "11B03", "level": "red", "urgency": "Soon", "effective": "2026-07-23T10:15:00+08:00",
            "expires": "2026-07-23T16:15:00+08:00", "headline": "长".repeat(600),
            "areas": [{ "geometry": { "type": "Polygon", "coordinates": [[[0.0, 0.0], [1.0, 1.0], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]] } }],
        })
    }

    fn accepted(document: Value) -> Vec<u8> {
        Event::Told(Box::new(Told::Accepted(kit::accepted(document)))).encode()
    }

    #[test]
    fn an_alert_kept_under_other_rules_is_replayed_and_restored() {
        let ledger = Ledger::default();
        assert!(json::from_value(&kept()).is_err(), "the rules of today refuse it");
        ledger.apply(&accepted(kept())).expect("replay");
        let restored = Ledger::default();
        restored.restore(&ledger.copy().image().expect("image")).expect("restore");
        let (before, after) = (ledger.get(AlertNo(0)).expect("kept"), restored.get(AlertNo(0)).expect("restored"));
        assert_eq!(before.alert, after.alert);
        assert_eq!(after.alert.areas[0].polygons[0].rings[0].len(), 5);
    }

    #[test]
    fn a_filed_alert_is_in_the_image_with_its_head_alone_and_what_comes_late_is_a_stray() {
        let ledger = Ledger::default();
        ledger.apply(&accepted(kept())).expect("replay");
        let (no, at) = (AlertNo(0), Timestamp::from_ms(1_785_000_000_000));
        let told = |told: Told| Event::Told(Box::new(told)).encode();
        ledger.apply(&told(Told::Expired { alert: no, at })).expect("over");
        let shelf = ledger.get(no).expect("kept");
        assert!(ledger.to_file(at.minus(std::time::Duration::from_secs(1_000_000)), 9).is_empty(), "it ended later");
        assert_eq!((ledger.to_file(at, 9).len(), ledger.whole_newest_first().len()), (1, 1));
        let filed = Filed::of(&shelf.read(), at, "2026-07".into(), "0000000000-a".into(), "hash".into());
        ledger.apply(&told(Told::Filed { alert: no, filed: Box::new(filed) })).expect("filed");
        assert!(ledger.whole_newest_first().is_empty() && ledger.newest_first().len() == 1);
        assert!(shelf.is_filed() && ledger.to_file(at, 9).is_empty() && ledger.unfinished().is_empty());
        let late =
            Facts { alert: no, base: at, words: Vec::new(), list: vec![Fact { index: 0, kind: FactKind::Delivered, code: 0, at_ms: 5 }] };
        ledger.apply(&Event::Facts(late).encode()).expect("counted");
        assert_eq!(ledger.strays(), 1);
        let restored = Ledger::default();
        restored.restore(&ledger.copy().image().expect("image")).expect("restore");
        assert_eq!(*restored.get(no).expect("restored").read(), *shelf.read());
        assert!(restored.whole_newest_first().is_empty(), "a head is no book");
        assert!(restored.find_key(&AlertKey::of(&shelf.alert)).is_some(), "a repeat is still known");
    }

    #[test]
    fn an_early_report_is_in_the_image_and_a_stray_until_it_is_brought() {
        let ledger = Ledger::default();
        let at = Timestamp::from_ms(1_784_000_000_000);
        let told = |told: Told| Event::Told(Box::new(told)).encode();
        let name = |provider_ref: &str| Name { account: "sms-1".into(), provider_ref: provider_ref.into() };
        for (id, provider_ref) in [(1, "a"), (2, "b")] {
            let early = Early { id, at, name: name(provider_ref), news: News::Delivered, reported: Some(at) };
            ledger.apply(&told(Told::Early(early))).expect("kept");
        }
        // An image in the middle of bringing it: after a crash it is brought again.
        assert_eq!(ledger.claim_early(&[name("a")], at).len(), 1);
        let restored = Ledger::default();
        restored.restore(&ledger.copy().image().expect("image")).expect("restore");
        assert_eq!((restored.strays(), restored.early_names()), (2, vec![name("a"), name("b")]));
        assert_eq!(restored.claim_early(&[name("a")], at).len(), 1);
        restored.apply(&told(Told::EarlyEnded { at, ids: vec![1, 9] })).expect("brought");
        assert_eq!((restored.strays(), restored.early_names()), (1, vec![name("b")]));
    }

    #[test]
    fn what_has_not_the_shape_of_an_alert_stops_the_replay_with_its_number() {
        let mut broken = kept();
        broken["expires"] = Value::Null;
        let error = Ledger::default().apply(&accepted(broken)).expect_err("no end");
        assert!(matches!(error, ApplyError::BadAlert { no: AlertNo(0), .. }), "{error}");
    }
}
