//! Owns who may do what: API keys, users, roles, areas, sessions.
//! Refuses to know HTTP and alerts. Invariant: secrets are kept only as hashes; a right is granted in `Role::may` alone.

mod keys;
mod role;
mod sessions;
mod users;

use std::{
    path::Path,
    sync::{Arc, RwLock},
};

use serde::{Deserialize, Serialize};

use crate::{
    area::AreaCode,
    store::documents::{DocumentError, Documents},
    time::SharedClock,
};

pub use keys::{KeyView, NewKey};
pub use role::{Action, Role};
pub use sessions::Sessions;
pub use users::UserView;

/// Name of the one document.
const DOCUMENT: &str = "access.json";

/// Whoever asks, once it is settled who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    pub name: String,
    pub role: Role,
    /// `[[source]]` that a bureau's key speaks for.
    pub source: Option<String>,
    /// Subtrees that the caller is limited to; empty is everywhere.
    pub areas: Vec<AreaCode>,
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
    clock: SharedClock,
    book: RwLock<Loaded>,
}

#[derive(Default)]
struct Loaded {
    bytes: Vec<u8>,
    book: Arc<Book>,
}

#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    #[error(transparent)]
    Document(#[from] DocumentError),
    #[error("the data directory: {0}")]
    Directory(#[from] std::io::Error),
    #[error("keys and users cannot be read: {0}")]
    Damaged(#[from] serde_json::Error),
    #[error("{0:?} is known already")]
    Known(String),
    #[error("{0:?} is not known")]
    Unknown(String),
    #[error("a password has at least 8 characters")]
    ShortPassword,
    #[error("the password cannot be hashed: {0}")]
    Hash(String),
}

impl Access {
    pub fn open(data: &Path, clock: SharedClock) -> Result<Self, AccessError> {
        let access = Self { documents: Documents::open(data)?, clock, book: RwLock::default() };
        access.reload()?;
        Ok(access)
    }

    /// Reads the document again when it has changed: `lastmile key new` works beside a running gateway.
    pub fn reload(&self) -> Result<(), AccessError> {
        let bytes = self.documents.read(DOCUMENT)?.unwrap_or_default();
        let mut loaded = self.book.write().expect("no code panics while it holds the keys");
        if loaded.bytes != bytes {
            let book = if bytes.is_empty() { Book::default() } else { serde_json::from_slice(&bytes)? };
            *loaded = Loaded { bytes, book: Arc::new(book) };
        }
        Ok(())
    }

    fn book(&self) -> Arc<Book> {
        Arc::clone(&self.book.read().expect("no code panics while it holds the keys").book)
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
