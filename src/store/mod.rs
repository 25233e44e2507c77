//! Owns durability: an ordered journal of opaque entries, the audit trail, checkpoints of the fold, small documents, backup and check.
//! Refuses to know alerts, deliveries or their encoding; `delivery` gives the bytes and the fold.
//! Invariant: whoever holds a `Durable<T>` can pull the plug; `T` is on disk, and in the fold (I1, I7). A store that cannot write says so for ever (I15);
//! one that has too little room refuses before it writes, and only as long as that lasts.

use std::{fmt, time::Duration};

pub mod backup;
mod checkpoint;
mod committer;
#[cfg(test)]
mod conformance;
pub mod dir;
pub mod documents;
mod doubt;
mod dropping;
pub mod filed;
pub mod home;
mod inspect;
mod journal;
mod ledger;
mod lock;
mod mend;
mod month;
mod opening;
pub mod pending;
mod restore;
mod sealed_file;
mod sound;
mod space;
mod trail;
mod trail_pages;
mod values;
pub mod verify;

pub use backup::{BackupError, BackupReport, backup};
pub use dropping::{DropError, kept_months};
pub use journal::{AppendError, Journal};
pub use lock::{LockError, is_in_use};
pub use month::{BadMonth, Month};
pub use opening::{OpenError, Opened};
pub use restore::{Restored, restore};
pub use space::{FreeSpace, NoSpace, RESERVE_BYTES};
pub use trail_pages::{TrailHead, trail_back, trail_head};
pub use verify::{Beginning, FiledReport, MonthStats, ReadError, Stats, VerifyReport, read_all, stats, verify};

/// Place of an entry in the journal; the first is 1, and no number is given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Seq(pub u64);

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub bytes: Vec<u8>,
    /// Also written to the append-only, hash-chained log: the audit trail, and what a rebuild reads.
    pub trail: bool,
    pub claim: Claim,
}

impl Entry {
    pub fn plain(bytes: Vec<u8>) -> Self {
        Self { bytes, trail: false, claim: Claim::New }
    }

    pub fn on_trail(bytes: Vec<u8>) -> Self {
        Self { bytes, trail: true, claim: Claim::New }
    }
}

/// What an entry may take of a disk that is nearly full. An append has the weakest claim of its entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Claim {
    /// The beginning of something, which whoever asks may ask for again: refused first.
    New,
    /// What has already happened, and would be done twice or lost if it were not kept: may use half of the reserve.
    Owed,
}

/// The state that the journal folds into. Called by the committer alone (and at open), in order, after durability.
pub trait Fold: Send + 'static {
    /// Must tolerate a replay of what it already knows, and numbers that are left out (a rebuilt journal has holes).
    fn apply(&mut self, seq: Seq, bytes: &[u8]) -> Result<(), FoldError>;

    /// The whole state: copied at once, since nothing is committed meanwhile, and packed into bytes whenever it is called for, by another
    /// thread. Tens of megabytes are fine.
    fn checkpoint(&self) -> Packing;

    /// Called before a replay that cannot begin at its beginning: entries up to `given_back` are in the journal no more, and no checkpoint
    /// that holds them can be read. Takes what stands elsewhere, and says what that was for the alarm.
    fn begin_late(&mut self, given_back: Seq) -> Result<String, FoldError> {
        Err(FoldError(format!("entries up to {given_back} were given back, and no checkpoint that holds them can be read")))
    }

    /// Takes the state of a checkpoint; on an error the state must be as it was before, because an older one is tried next.
    fn restore(&mut self, checkpoint: &[u8]) -> Result<(), FoldError>;
}

/// Makes the bytes of a state that was copied.
pub type Packing = Box<dyn FnOnce() -> Vec<u8> + Send>;

/// What a fold says when it cannot read an entry or a checkpoint.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct FoldError(pub String);

/// A promise kept: `T` is on disk and folded. Only the committer makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Durable<T>(T);

impl<T> Durable<T> {
    pub fn get(&self) -> &T {
        &self.0
    }

    pub fn into_inner(self) -> T {
        self.0
    }

    /// Says in the caller's words what became durable; the promise itself stays the committer's.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Durable<U> {
        Durable(f(self.0))
    }
}

/// Whether the store still takes entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    Writable,
    /// For ever, until a new process has opened and checked the store.
    Failed {
        why: String,
    },
}

/// How a journal is run; the defaults are what production uses.
#[derive(Clone, Debug)]
pub struct Options {
    /// A checkpoint is written when this much has been journaled since the last: a start replays at most about as much, well under a second.
    pub checkpoint_after_bytes: u64,
    /// How long the committer always waits before it writes.
    pub linger: Duration,
    /// How long it waits at most for as many appends as it had last time.
    pub company: Duration,
    /// Bytes of the disk that new work leaves free.
    pub reserve_bytes: u64,
    /// How free space is found out.
    pub free_space: FreeSpace,
    pub threads: Threads,
}

/// Where commits, plans and other long work are done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Threads {
    /// Apart, so that nobody waits for a disk or for a county's plan.
    #[default]
    Own,
    /// On the caller's runtime, in the order in which it was asked for: such a run can be repeated step by step.
    Callers,
}

/// Less than a disk's fsync: what it adds to an answer under load is won back by fewer commits.
const COMPANY: Duration = Duration::from_millis(1);

impl Default for Options {
    fn default() -> Self {
        Self {
            checkpoint_after_bytes: 32 << 20,
            linger: Duration::ZERO,
            company: COMPANY,
            reserve_bytes: RESERVE_BYTES,
            free_space: FreeSpace::default(),
            threads: Threads::default(),
        }
    }
}

/// An entry is held whole in memory by whoever writes, reads or folds it; a plan of a million deliveries takes under 16 MB.
pub const ENTRY_BYTES_MAX: usize = 64 << 20;
