//! Owns who may do what: API keys, users, roles, areas, sessions; and what a source proves beside its key.
//! Refuses to know HTTP and alerts. Invariant: secrets are kept on disk only as hashes; a right is granted in `Role::may` alone.

mod browsers;
mod devices;
mod guesses;
mod keys;
mod nonces;
mod pace;
mod passwords;
mod proof;
mod role;
mod sessions;
mod signature;
mod totp;
mod users;
mod xml_signature;

use std::{
    fmt, fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, RwLock},
};

use serde::{Deserialize, Serialize};

use crate::{
    area::AreaCode,
    store::documents::{DocumentError, Documents},
    time::SharedClock,
};

pub use browsers::{Browser, MARKED_FOR, mark_name};
pub use devices::{CREDENTIAL_LETTERS_MIN, Devices, For};
pub use guesses::Guesser;
pub use keys::{KeyView, NewKey};
pub use nonces::judge as judge_nonces;
pub use pace::BURST;
pub use passwords::CHARS_ADVISED;
pub use proof::{Disbelief, Proof, Proofs, Shown, Signing};
pub use role::{Action, Role};
pub use sessions::{SessionView, Sessions};
pub use users::{Mark, UserView};

/// Name of the one document.
const DOCUMENT: &str = "access.json";
const HELD: &str = "no code panics while it holds the keys";

/// What somebody has shown; a key and a user may bear one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallerKind {
    Key,
    User,
}

impl CallerKind {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::User => "user",
        }
    }
}

/// Whoever asks, once it is settled who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    pub kind: CallerKind,
    pub name: String,
    pub role: Role,
    /// `[[source]]` that a bureau's key speaks for.
    pub source: Option<String>,
    /// Subtrees that the caller is limited to; empty is everywhere.
    pub areas: Vec<AreaCode>,
    /// The person whose key it is, where that was said.
    pub owner: Option<String>,
}

/// As logs and records name whoever asked: `key met-bureau`, `user zhang`.
impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.name(), self.name)
    }
}

impl Caller {
    pub fn may(&self, action: Action) -> bool {
        self.role.may(action)
    }

    pub fn may_see(&self, area: AreaCode) -> bool {
        self.areas.is_empty() || self.areas.iter().any(|allowed| allowed.contains(area))
    }
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Book {
    keys: Vec<keys::Key>,
    users: Vec<users::User>,
}

/// Keys and users of one installation.
pub struct Access {
    documents: Documents,
    /// Where the document lies, to see that it was replaced without reading it.
    file: PathBuf,
    clock: SharedClock,
    book: RwLock<Loaded>,
    pace: pace::Pace,
    /// Codes of second factors that were used; after a restart those of the last minute are good once more.
    used_codes: Mutex<totp::Used>,
}

#[derive(Default)]
struct Loaded {
    stamp: Option<Stamp>,
    book: Arc<Book>,
}

/// Tells one state of the document from another: it is always replaced by a new file, never written in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    bytes: u64,
    seconds: i64,
    nanoseconds: i64,
}

#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    #[error(transparent)]
    Document(#[from] DocumentError),
    #[error("the data directory: {0}")]
    Directory(#[from] io::Error),
    #[error("{}: keys and users cannot be read: {error}; bring back the file from a backup", file.display())]
    Damaged { file: PathBuf, error: serde_json::Error },
    #[error("keys and users cannot be written: {0}")]
    Unwritable(#[from] serde_json::Error),
    #[error("{0:?} is known already")]
    Known(String),
    #[error("{0:?} is not known")]
    Unknown(String),
    #[error("{0}")]
    WeakPassword(&'static str),
    #[error("the password cannot be hashed: {0}")]
    Hash(String),
}

impl Access {
    pub fn open(data: &Path, clock: SharedClock) -> Result<Self, AccessError> {
        let documents = Documents::open(data)?;
        let file = data.join("documents").join(DOCUMENT);
        let access = Self { documents, file, clock, book: RwLock::default(), pace: pace::Pace::default(), used_codes: Mutex::default() };
        access.reload()?;
        Ok(access)
    }

    /// Reads the document again when it was replaced: `lastmile key new` and `key revoke` work beside a running gateway.
    pub fn reload(&self) -> Result<(), AccessError> {
        // The stamp is taken first: a file that is replaced while it is read is read again the next time.
        let stamp = self.stamp()?;
        if self.book.read().expect(HELD).stamp == stamp {
            return Ok(());
        }
        let bytes = self.documents.read(DOCUMENT)?.unwrap_or_default();
        let book = if bytes.is_empty() {
            Book::default()
        } else {
            serde_json::from_slice(&bytes).map_err(|error| AccessError::Damaged { file: self.file.clone(), error })?
        };
        *self.book.write().expect(HELD) = Loaded { stamp, book: Arc::new(book) };
        Ok(())
    }

    /// Ends every key and disables every user: whoever wrote them down may be a stranger.
    pub fn distrust(&self) -> Result<(), AccessError> {
        let now = self.clock.now();
        self.change(|book| {
            book.keys.iter_mut().for_each(|key| key.end(now));
            book.users.iter_mut().for_each(users::User::disable);
            Ok(())
        })
    }

    fn stamp(&self) -> io::Result<Option<Stamp>> {
        match fs::metadata(&self.file) {
            Ok(found) => {
                Ok(Some(Stamp { inode: found.ino(), bytes: found.len(), seconds: found.mtime(), nanoseconds: found.mtime_nsec() }))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Keys and users as they stand on disk now. What cannot be read leaves those known before: nobody on duty is locked out by it.
    fn fresh(&self) -> Arc<Book> {
        if let Err(error) = self.reload() {
            tracing::error!(%error, "keys and users cannot be read again; those read before still hold");
        }
        self.book()
    }

    fn book(&self) -> Arc<Book> {
        Arc::clone(&self.book.read().expect(HELD).book)
    }

    fn change<T>(&self, act: impl FnOnce(&mut Book) -> Result<T, AccessError>) -> Result<T, AccessError> {
        self.reload()?;
        let mut book = Book::clone(&self.book());
        let done = act(&mut book)?;
        self.documents.replace(DOCUMENT, &serde_json::to_vec_pretty(&book)?)?;
        self.reload()?;
        Ok(done)
    }
}

#[cfg(test)]
mod tests;
