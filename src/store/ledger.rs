//! Owns one month of the journal in one sled database, and all that must be known of sled to trust it.
//! Refuses to know what the values hold (`values`) and when to write (`committer`).
//! Invariant: after `sync` has returned, everything written before it survives a power cut.

use std::{
    fs::File,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    dir,
    trail::Link,
    values::{self, Key},
};

/// Pages kept in memory; the journal is written once and read at a start.
const CACHE_BYTES: u64 = 64 << 20;
/// sled's own thread only tidies; durability is `sync`.
const TIDY_EVERY_MS: u64 = 200;
/// A sled batch costs a multiple of its size in memory.
pub(super) const BATCH_BYTES_MAX: usize = 4 << 20;
/// sled's threads may hold its file for a moment after it was closed; other processes are kept out by our own lock.
const LOCK_TRIES: u32 = 200;
const LOCK_WAIT: Duration = Duration::from_millis(25);

const START: &[u8] = b"m-start";
const HEAD: &[u8] = b"m-trail";
const VERSION: u8 = 1;

#[derive(Debug, thiserror::Error)]
pub(super) enum LedgerError {
    /// The machine refuses: no space, no permission, a failing disk. The database itself may be well.
    #[error("{0}")]
    Io(io::Error),
    /// The database cannot be trusted.
    #[error("{0}")]
    Damaged(String),
}

impl From<sled::Error> for LedgerError {
    fn from(error: sled::Error) -> Self {
        match error {
            // sled answers an overrun of its own file with an error it made itself; what the system said has a number.
            sled::Error::Io(error) if error.raw_os_error().is_some() && error.kind() != io::ErrorKind::InvalidInput => Self::Io(error),
            other => Self::Damaged(other.to_string()),
        }
    }
}

impl From<io::Error> for LedgerError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

#[derive(Debug, Clone)]
pub(super) struct Ledger {
    db: sled::Db,
    path: PathBuf,
}

/// The second handle on the database's file: sled's own flush is `sync_file_range`, which loses data when power fails.
#[derive(Debug)]
pub(super) struct Disk(File);

impl Ledger {
    pub(super) fn open(path: &Path) -> Result<Self, LedgerError> {
        dir::make(path)?;
        for _ in 1..LOCK_TRIES {
            match Self::try_open(path) {
                Err(LedgerError::Damaged(why)) if why.contains("could not acquire lock") => std::thread::park_timeout(LOCK_WAIT),
                other => return other,
            }
        }
        Self::try_open(path)
    }

    fn try_open(path: &Path) -> Result<Self, LedgerError> {
        let config = sled::Config::new().path(path).cache_capacity(CACHE_BYTES).flush_every_ms(Some(TIDY_EVERY_MS));
        // sled panics on some damage instead of answering.
        let db =
            catch_unwind(AssertUnwindSafe(|| config.open())).map_err(|_| LedgerError::Damaged("sled panicked while opening".into()))??;
        // sled never syncs its `conf`, and one that a power cut has torn it takes for corruption.
        for item in std::fs::read_dir(path)? {
            let item = item?;
            if item.file_type()?.is_file() {
                File::open(item.path())?.sync_all()?;
            }
        }
        dir::sync(path)?;
        Ok(Self { db, path: path.to_owned() })
    }

    pub(super) fn disk(&self) -> io::Result<Disk> {
        File::open(self.path.join("db")).map(Disk)
    }

    /// Writes values in batches of bounded size; `head` goes with the last one.
    pub(super) fn write(&self, values: Vec<(Key, Vec<u8>)>, head: Option<&Link>) -> Result<(), LedgerError> {
        let (mut batch, mut bytes) = (sled::Batch::default(), 0);
        for (key, value) in values {
            if bytes + value.len() > BATCH_BYTES_MAX {
                self.db.apply_batch(std::mem::take(&mut batch))?;
                bytes = 0;
            }
            bytes += key.len() + value.len();
            batch.insert(&key, value);
        }
        if let Some(head) = head {
            batch.insert(HEAD, seal(&head.to_bytes()));
        }
        Ok(self.db.apply_batch(batch)?)
    }

    pub(super) fn sync(&self, disk: &Disk) -> Result<(), LedgerError> {
        self.db.flush()?;
        Ok(disk.0.sync_data()?)
    }

    /// Takes back the parts of an entry that a crash cut off.
    pub(super) fn remove_parts(&self, seq: u64, parts: u16) -> Result<(), LedgerError> {
        let mut batch = sled::Batch::default();
        for part in 0..parts {
            batch.remove(&values::key(seq, part));
        }
        Ok(self.db.apply_batch(batch)?)
    }

    /// Says with which number the month begins and to what its trail is chained.
    pub(super) fn begin(&self, start: u64, head: &Link) -> Result<(), LedgerError> {
        let mut batch = sled::Batch::default();
        batch.insert(START, seal(&start.to_le_bytes()));
        batch.insert(HEAD, seal(&head.to_bytes()));
        Ok(self.db.apply_batch(batch)?)
    }

    pub(super) fn start(&self) -> Result<Option<u64>, LedgerError> {
        self.read(START, |body| body.try_into().ok().map(u64::from_le_bytes))
    }

    /// Nothing was ever written, not even where it begins.
    pub(super) fn is_blank(&self) -> bool {
        matches!(guarded(|| self.db.iter().next().transpose()), Ok(None))
    }

    pub(super) fn head(&self) -> Result<Option<Link>, LedgerError> {
        self.read(HEAD, Link::from_bytes)
    }

    fn read<T>(&self, key: &[u8], decode: impl FnOnce(&[u8]) -> Option<T>) -> Result<Option<T>, LedgerError> {
        let Some(value) = guarded(|| self.db.get(key))? else { return Ok(None) };
        let decoded = unseal(&value).and_then(decode);
        decoded.map(Some).ok_or_else(|| LedgerError::Damaged(format!("{} does not match its checksum", String::from_utf8_lossy(key))))
    }

    /// Hands over all values from the one that holds entry `from`, in order.
    pub(super) fn scan<E: From<LedgerError>>(&self, from: u64, mut sink: impl FnMut(&[u8], &[u8]) -> Result<(), E>) -> Result<(), E> {
        let all = values::key(0, 0)..=values::key(u64::MAX, u16::MAX);
        let holder = guarded(|| self.db.range(values::key(0, 0)..=values::key(from, 0)).next_back().transpose())?;
        let begin = holder.map_or(*all.start(), |(key, _)| values::read_key(&key).map_or(*all.start(), |(seq, _)| values::key(seq, 0)));
        let mut range = self.db.range(begin..=*all.end());
        while let Some((key, value)) = guarded(|| range.next().transpose())? {
            sink(&key, &value)?;
        }
        Ok(())
    }
}

/// sled panics on some damage instead of answering.
fn guarded<T>(call: impl FnOnce() -> sled::Result<T>) -> Result<T, LedgerError> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|_| LedgerError::Damaged("sled panicked while reading".into()))?.map_err(LedgerError::from)
}

fn seal(body: &[u8]) -> Vec<u8> {
    let mut value = vec![VERSION];
    value.extend_from_slice(&crc32fast::hash(body).to_le_bytes());
    value.extend_from_slice(body);
    value
}

fn unseal(value: &[u8]) -> Option<&[u8]> {
    let (head, body) = value.split_first_chunk::<5>()?;
    let [version, crc @ ..] = *head;
    (version == VERSION && u32::from_le_bytes(crc) == crc32fast::hash(body)).then_some(body)
}
