//! Owns the filing of closed alerts, and the reading back of what is filed: every look at recipients, deliveries or calls passes here.
//! Refuses to know the forms of files and books. Invariant: a book leaves memory only after its file is on disk and the journal tells of it,
//! and never under the eyes of somebody who reads it (I5, I16).

use std::{
    collections::VecDeque,
    ops::Deref,
    path::Path,
    sync::{Arc, Mutex, RwLockReadGuard},
    time::Duration,
};

use tokio::sync::{OwnedRwLockReadGuard, RwLock, Semaphore};

use super::{Unavailable, gateway::Inner};
use crate::{
    alert::AlertNo,
    delivery::{
        book::Book,
        coverage,
        event::{Event, Told},
        filed::Filed,
        ledger::{Ledger, Shelf},
    },
    store::{
        Month,
        filed::{self, FiledError, Place},
    },
    time::Timestamp,
};

/// Alerts filed in one round of a second: a busy day closes dozens, and a county's takes half a second of one thread.
const FILED_A_ROUND: usize = 4;
/// Filed books that are kept for who turns pages: the one that is looked at, and the one it is compared with.
const KEPT_BOOKS_MAX: usize = 4;
/// Deliveries in them, about 30 bytes each: 60 MB. The newest is kept whatever its size.
const KEPT_DELIVERIES_MAX: usize = 2_000_000;
/// Whoever has not turned a page for so long has gone.
const KEPT_FOR: Duration = Duration::from_secs(10 * 60);
/// A disk that would not take a file is somebody's work; until then the alert costs memory alone.
const AFTER_A_FAILURE: Duration = Duration::from_secs(10 * 60);
/// Books that are read from disk at one time; each takes what it takes in memory.
const READS_AT_ONCE: usize = 2;

/// What is filed cannot be read: an alarm was raised.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the details of alert {alert} are filed and cannot be read: {why}")]
pub struct Unreadable {
    pub alert: crate::alert::AlertId,
    pub why: String,
}

impl From<Unreadable> for Unavailable {
    fn from(error: Unreadable) -> Self {
        Self::Failed(error.to_string())
    }
}

/// What reads of filed books share.
pub(crate) struct Cabinet {
    /// Read by whoever looks at a book in memory, written while one leaves it.
    gate: Arc<RwLock<()>>,
    reads: Semaphore,
    kept: Mutex<VecDeque<Kept>>,
    /// After a disk that would not take a file.
    not_before: Mutex<Option<Timestamp>>,
}

struct Kept {
    alert: AlertNo,
    /// Of the head it was read for: a later end of the alert changes what is shown.
    version: u64,
    used: Timestamp,
    book: Arc<Book>,
}

impl Default for Cabinet {
    fn default() -> Self {
        Self { gate: Arc::default(), reads: Semaphore::new(READS_AT_ONCE), kept: Mutex::default(), not_before: Mutex::default() }
    }
}

/// A whole book: in memory while the alert is under way, read from its file afterwards.
pub struct Details(Whole);

enum Whole {
    Open { shelf: Arc<Shelf>, _gate: OwnedRwLockReadGuard<()> },
    Filed(Arc<Book>),
}

/// A book for as long as somebody copies from it.
pub enum BookRef<'a> {
    Open(RwLockReadGuard<'a, Book>),
    Filed(&'a Book),
}

impl Deref for BookRef<'_> {
    type Target = Book;

    fn deref(&self) -> &Book {
        match self {
            Self::Open(book) => book,
            Self::Filed(book) => book,
        }
    }
}

impl Details {
    pub const fn is_filed(&self) -> bool {
        matches!(self.0, Whole::Filed(_))
    }

    pub fn read(&self) -> BookRef<'_> {
        match &self.0 {
            Whole::Open { shelf, .. } => BookRef::Open(shelf.read()),
            Whole::Filed(book) => BookRef::Filed(book),
        }
    }
}

impl Inner {
    /// The whole book of an alert. Held for as long as one answer takes: nothing is filed meanwhile.
    pub async fn details(self: &Arc<Self>, shelf: &Arc<Shelf>) -> Result<Details, Unreadable> {
        let gate = Arc::clone(&self.cabinet.gate).read_owned().await;
        let Some((version, filed)) = filed_of(shelf) else {
            return Ok(Details(Whole::Open { shelf: Arc::clone(shelf), _gate: gate }));
        };
        drop(gate);
        if let Some(book) = self.cabinet.take(shelf.no, version, self.clock.now()) {
            return Ok(Details(Whole::Filed(book)));
        }
        let _turn = self.cabinet.reads.acquire().await.expect("the semaphore is never closed");
        // Whoever waited with us may have read it meanwhile.
        if let Some(book) = self.cabinet.take(shelf.no, version, self.clock.now()) {
            return Ok(Details(Whole::Filed(book)));
        }
        let (inner, read_shelf) = (Arc::clone(self), Arc::clone(shelf));
        let read = self.apart(move || inner.read_filed(&read_shelf, &filed)).await;
        let read = read.unwrap_or_else(|error| Err(error.to_string()));
        match read {
            Ok(book) => {
                let book = Arc::new(book);
                self.cabinet.keep(Kept { alert: shelf.no, version, used: self.clock.now(), book: Arc::clone(&book) });
                Ok(Details(Whole::Filed(book)))
            }
            Err(why) => {
                self.alarms.raise("filed-unreadable", shelf.id.to_string(), &why);
                tracing::error!(alert = %shelf.id, why, "what is filed cannot be read");
                Err(Unreadable { alert: shelf.id, why })
            }
        }
    }

    fn read_filed(&self, shelf: &Shelf, filed: &Filed) -> Result<Book, String> {
        read_filed(self.data_dir(), shelf, filed)
    }

    /// Files what has been over for long enough; a full disk is left alone.
    pub(super) async fn file_closed(self: &Arc<Self>) -> Result<(), Unavailable> {
        let now = self.clock.now();
        self.cabinet.forget(now);
        if self.cabinet.not_before().is_some_and(|time| now < time) {
            return Ok(());
        }
        let before = now.minus(self.keep_open);
        for shelf in self.ledger.to_file(before, FILED_A_ROUND) {
            if let Err(why) = self.file(&shelf).await {
                match why {
                    FilingError::Store(why) => return Err(why),
                    FilingError::NotYet(why) => tracing::debug!(alert = %shelf.id, why, "a closed alert is not filed yet"),
                    FilingError::Disk(why) => {
                        self.alarms.raise("not-filed", "", format!("{}：{why}", shelf.alert.headline));
                        tracing::error!(alert = %shelf.id, why, "a closed alert cannot be filed and stays in memory");
                        *self.cabinet.not_before() = Some(now.plus(AFTER_A_FAILURE));
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    async fn file(self: &Arc<Self>, shelf: &Arc<Shelf>) -> Result<(), FilingError> {
        if self.cabinet.gate.try_write().is_err() {
            return Err(FilingError::NotYet("it is being read"));
        }
        let (inner, written_shelf) = (Arc::clone(self), Arc::clone(shelf));
        let written = self.apart(move || inner.write_filed(&written_shelf)).await;
        let filed = written.map_err(|error| FilingError::Disk(error.to_string()))??;
        // Whoever reads at the moment is not waited for, and nobody waits for us: the next round tries again.
        let Ok(_gate) = self.cabinet.gate.try_write() else { return Err(FilingError::NotYet("it is being read")) };
        if shelf.read().version != filed.version {
            return Err(FilingError::NotYet("something has happened to it"));
        }
        let (name, deliveries) = (filed.name.clone(), filed.progress.deliveries);
        let told = Told::Filed { alert: shelf.no, filed: Box::new(filed) };
        self.append(vec![Event::Told(Box::new(told))]).await.map_err(FilingError::Store)?;
        self.forget_running(shelf.no);
        tracing::info!(alert = %shelf.id, name, deliveries, "alert is filed");
        Ok(())
    }

    fn write_filed(&self, shelf: &Shelf) -> Result<Filed, FilingError> {
        let disk = |why: String| FilingError::Disk(why);
        let (bytes, mut filed) = {
            let book = shelf.read();
            let month = Month::of(book.accepted.accepted).to_string();
            let name = format!("{:010}-{}", shelf.no.0, shelf.id);
            let bytes = book.to_filed_bytes().map_err(|error| disk(error.to_string()))?;
            (bytes, Filed::of(&book, self.clock.now(), month, name, String::new()))
        };
        let place = place_of(&filed).map_err(disk)?;
        if !self.journal.has_room_for(bytes.len() as u64) {
            return Err(FilingError::NotYet("the disk is full"));
        }
        filed.sha256 = filed::write(self.data_dir(), &place, &bytes).map_err(|error| disk(format!("{}: {error}", place.shown())))?.sha256;
        Ok(filed)
    }
}

/// What is wrong with what is filed of an alert, in words; nothing where it is in memory. For looks into a stopped store.
pub fn violations(data: &Path, shelf: &Shelf) -> Vec<String> {
    let Some((_, filed)) = filed_of(shelf) else { return Vec::new() };
    let book = match read_filed(data, shelf, &filed) {
        Ok(book) => book,
        Err(why) => return vec![why],
    };
    let mut found = book.violations();
    if (coverage::progress(&book), coverage::people(&book)) != (filed.progress, filed.people) {
        found.push("the filed book and the figures that were told of it differ".to_owned());
    }
    found
}

/// What was taken from the files alone.
#[derive(Debug, Default)]
pub struct Taken {
    pub heads: usize,
    pub unreadable: Vec<String>,
}

/// Puts the heads of everything that is filed into a ledger that begins without them: the journal of their months was given back, and
/// no checkpoint can be read. What a kept month tells of them afterwards stands above it.
pub fn take_heads(data: &Path, ledger: &Ledger) -> Taken {
    let mut taken = Taken::default();
    let places = match filed::list(data) {
        Ok(places) => places,
        Err(error) => return Taken { heads: 0, unreadable: vec![error.to_string()] },
    };
    for place in places {
        let found = filed::read(data, &place).map_err(|error| error.to_string());
        let put = found.and_then(|found| {
            ledger.put_filed(&found.bytes, place.month.to_string(), place.name.clone(), found.sha256).map_err(|error| error.to_string())
        });
        match put {
            Ok(()) => taken.heads += 1,
            Err(why) => {
                tracing::error!(place = place.shown(), why, "an alert is lost with its file");
                taken.unreadable.push(why);
            }
        }
    }
    taken
}

fn read_filed(data: &Path, shelf: &Shelf, filed: &Filed) -> Result<Book, String> {
    let place = place_of(filed)?;
    let found = filed::read(data, &place).map_err(|error: FiledError| error.to_string())?;
    if found.sha256 != filed.sha256 {
        return Err(format!("{} is not the file that the journal tells of", place.shown()));
    }
    Book::from_filed_bytes(&found.bytes, &shelf.read()).map_err(|error| format!("{}: {error}", place.shown()))
}

enum FilingError {
    NotYet(&'static str),
    Disk(String),
    Store(Unavailable),
}

fn filed_of(shelf: &Shelf) -> Option<(u64, Filed)> {
    let book = shelf.read();
    book.filed.as_ref().map(|filed| (book.version, Filed::clone(filed)))
}

fn place_of(filed: &Filed) -> Result<Place, String> {
    let month = filed.month.parse().map_err(|error| format!("{error}"))?;
    Ok(Place { month, name: filed.name.clone() })
}

impl Cabinet {
    fn take(&self, alert: AlertNo, version: u64, now: Timestamp) -> Option<Arc<Book>> {
        let mut kept = self.kept();
        let place = kept.iter().position(|one| one.alert == alert && one.version == version)?;
        let mut one = kept.remove(place)?;
        one.used = now;
        let book = Arc::clone(&one.book);
        kept.push_back(one);
        Some(book)
    }

    fn keep(&self, one: Kept) {
        let mut kept = self.kept();
        kept.retain(|other| other.alert != one.alert);
        kept.push_back(one);
        while kept.len() > KEPT_BOOKS_MAX || (kept.len() > 1 && deliveries(&kept) > KEPT_DELIVERIES_MAX) {
            kept.pop_front();
        }
    }

    fn forget(&self, now: Timestamp) {
        self.kept().retain(|one| one.used.plus(KEPT_FOR) > now);
    }

    fn not_before(&self) -> std::sync::MutexGuard<'_, Option<Timestamp>> {
        self.not_before.lock().expect("no code panics while it holds a time")
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, VecDeque<Kept>> {
        self.kept.lock().expect("no code panics while it holds the filed books")
    }
}

fn deliveries(kept: &VecDeque<Kept>) -> usize {
    kept.iter().map(|one| one.book.slots.len()).sum()
}
