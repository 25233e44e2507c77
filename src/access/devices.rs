//! Owns the credentials of devices: 32 random bytes for each, given away once, kept as SHA-256 beside keys and users.
//! Refuses to know what a device may say. Invariant: a device has one credential; a new one ends the old one at once.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, RwLock},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::RngExt as _;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::{AccessError, HELD, Stamp};
use crate::{
    store::documents::Documents,
    time::{SharedClock, Timestamp},
};

const DOCUMENT: &str = "devices.json";
/// A credential that somebody chose for a device is not shorter than this; ours have 43 letters.
pub const CREDENTIAL_LETTERS_MIN: usize = 16;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Credential {
    /// SHA-256 in hexadecimal: it is random, so a fast hash is enough.
    hash: String,
    made: Timestamp,
    /// For a rehearsal on this machine: no device in a village has it.
    #[serde(default)]
    rehearsal: bool,
}

type Book = BTreeMap<String, Credential>;

#[derive(Default)]
struct Loaded {
    stamp: Option<Stamp>,
    book: Arc<Book>,
}

/// The devices' credentials of one installation.
pub struct Devices {
    documents: Documents,
    file: PathBuf,
    clock: SharedClock,
    book: RwLock<Loaded>,
}

/// For whom credentials are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum For {
    /// Those that have none.
    New,
    /// All that are named; those that they had stop working.
    Renewed,
    /// A rehearsal: only those that have none of a device's own.
    Rehearsal,
}

impl Devices {
    pub fn open(data: &Path, clock: SharedClock) -> Result<Self, AccessError> {
        let documents = Documents::open(data)?;
        let file = data.join("documents").join(DOCUMENT);
        let devices = Self { documents, file, clock, book: RwLock::default() };
        devices.reload()?;
        Ok(devices)
    }

    /// Makes a credential for each of these, and gives them away, this once.
    pub fn make<'a>(&self, ids: impl Iterator<Item = &'a str>, whose: For) -> Result<Vec<(String, SecretString)>, AccessError> {
        let now = self.clock.now();
        let rehearsal = whose == For::Rehearsal;
        self.change(|book| {
            let mut made = Vec::new();
            for id in ids {
                let is_had = book.get(id).is_some_and(|known| !known.rehearsal);
                if is_had && whose != For::Renewed {
                    continue;
                }
                let secret: [u8; 32] = rand::rng().random();
                let text = URL_SAFE_NO_PAD.encode(secret);
                book.insert(id.to_owned(), Credential { hash: hash(text.as_bytes()), made: now, rehearsal });
                made.push((id.to_owned(), SecretString::from(text)));
            }
            made
        })
    }

    /// Takes over credentials that devices have already.
    pub fn take_over(&self, given: &[(String, SecretString)]) -> Result<(), AccessError> {
        let now = self.clock.now();
        self.change(|book| {
            for (id, secret) in given {
                let hash = hash(secret.expose_secret().as_bytes());
                book.insert(id.clone(), Credential { hash, made: now, rehearsal: false });
            }
        })
    }

    /// The devices stop being let in; those that had a credential.
    pub fn revoke(&self, ids: &[String]) -> Result<Vec<String>, AccessError> {
        self.change(|book| ids.iter().filter(|id| book.remove(*id).is_some()).cloned().collect())
    }

    /// When each device got its credential.
    pub fn list(&self) -> Vec<(String, Timestamp)> {
        self.fresh().iter().map(|(id, credential)| (id.clone(), credential.made)).collect()
    }

    /// The mark of the device's credential, when this is it.
    pub fn verify(&self, id: &str, presented: &[u8]) -> Option<u64> {
        let book = self.fresh();
        let known = book.get(id)?;
        bool::from(known.hash.as_bytes().ct_eq(hash(presented).as_bytes())).then(|| mark(&known.hash))
    }

    /// The mark of the credential that a device has now.
    pub fn mark_of(&self, id: &str) -> Option<u64> {
        self.fresh().get(id).map(|known| mark(&known.hash))
    }

    fn reload(&self) -> Result<(), AccessError> {
        // The stamp is taken first: a file that is replaced while it is read is read again the next time.
        let stamp = match fs::metadata(&self.file) {
            Ok(found) => Some(Stamp { inode: found.ino(), bytes: found.len(), seconds: found.mtime(), nanoseconds: found.mtime_nsec() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error.into()),
        };
        if self.book.read().expect(HELD).stamp == stamp {
            return Ok(());
        }
        let bytes = self.documents.read(DOCUMENT)?.unwrap_or_default();
        let book = if bytes.is_empty() { Book::default() } else { serde_json::from_slice(&bytes)? };
        *self.book.write().expect(HELD) = Loaded { stamp, book: Arc::new(book) };
        Ok(())
    }

    /// As they stand on disk now; what cannot be read leaves those known before, so that no village falls silent by it.
    fn fresh(&self) -> Arc<Book> {
        if let Err(error) = self.reload() {
            tracing::error!(%error, file = %self.file.display(), "the credentials of devices cannot be read again; those read before still hold");
        }
        Arc::clone(&self.book.read().expect(HELD).book)
    }

    fn change<T>(&self, act: impl FnOnce(&mut Book) -> T) -> Result<T, AccessError> {
        self.reload()?;
        let mut book = Book::clone(&self.book.read().expect(HELD).book);
        let done = act(&mut book);
        self.documents.replace(DOCUMENT, &serde_json::to_vec(&book)?)?;
        self.reload()?;
        Ok(done)
    }
}

fn hash(secret: &[u8]) -> String {
    Sha256::digest(secret).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Tells one credential from another without being it.
fn mark(hash: &str) -> u64 {
    u64::from_str_radix(hash.get(..16).unwrap_or("0"), 16).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::SystemClock;

    fn open(data: &Path) -> Devices {
        Devices::open(data, Arc::new(SystemClock)).expect("opened")
    }

    #[test]
    fn a_device_has_one_credential_and_a_new_one_ends_the_old_one_also_in_a_running_gateway() {
        let data = tempfile::tempdir().expect("temporary directory");
        let (running, command) = (open(data.path()), open(data.path()));
        let first = command.make(["S1", "S2"].into_iter(), For::New).expect("made");
        let secret = first[0].1.expose_secret().to_owned();
        let mark = running.verify("S1", secret.as_bytes());
        assert!(mark.is_some() && mark == running.mark_of("S1"));
        assert!(running.verify("S2", secret.as_bytes()).is_none(), "another's credential");
        assert!(running.verify("S3", secret.as_bytes()).is_none() && running.verify("S1", b"").is_none());
        assert!(command.make(["S1"].into_iter(), For::New).expect("made").is_empty(), "it has one");
        command.make(["S1"].into_iter(), For::Renewed).expect("made");
        assert!(running.verify("S1", secret.as_bytes()).is_none() && running.mark_of("S1") != mark);
        assert_eq!(command.revoke(&["S1".to_owned(), "S9".to_owned()]).expect("revoked"), ["S1"]);
        assert_eq!(running.mark_of("S1"), None);
        let kept = fs::read_to_string(data.path().join("documents/devices.json")).expect("readable");
        assert!(!kept.contains(first[1].1.expose_secret()), "a credential stands in clear");
    }

    #[test]
    fn a_rehearsal_takes_nothing_from_a_device_and_gives_way_to_it() {
        let data = tempfile::tempdir().expect("temporary directory");
        let devices = open(data.path());
        devices.make(["S1"].into_iter(), For::New).expect("made");
        let rehearsed = devices.make(["S1", "S2"].into_iter(), For::Rehearsal).expect("made");
        assert_eq!(rehearsed.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["S2"]);
        assert_eq!(devices.make(["S1", "S2"].into_iter(), For::New).expect("made").len(), 1);
    }

    #[test]
    fn credentials_that_devices_have_already_are_taken_over() {
        let data = tempfile::tempdir().expect("temporary directory");
        let devices = open(data.path());
        devices.take_over(&[("S1".to_owned(), SecretString::from("0123456789abcdef"))]).expect("taken over");
        assert!(devices.verify("S1", b"0123456789abcdef").is_some());
    }
}
