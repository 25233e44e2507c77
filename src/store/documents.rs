//! Owns small documents (users, keys, settings) as files of one folder, each replaced whole, under a checksum, and kept twice.
//! Refuses to know their content, and to hold anything large or fast: that is the journal's.
//! Invariant: after a crash a document is what it was before or what was written, never half of either; one that is not what was written
//! is never read as if it were, and is healed from its twin with an alarm.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use super::dir;

/// Users and keys of a county are kilobytes; a file above this is not a document of ours.
pub const DOCUMENT_BYTES_MAX: u64 = 16 << 20;
/// Begins the last line of a document's file; its checksum follows.
const STAMP: &[u8] = b"\nLMDOC1 ";
/// The stamp, eight digits, the end of the line.
const STAMP_BYTES: usize = STAMP.len() + 8 + 1;

#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    #[error("{name:?} cannot be the name of a document")]
    BadName { name: String },
    #[error("document {name} is larger than {DOCUMENT_BYTES_MAX} bytes")]
    TooLarge { name: String },
    #[error("{} and its twin are not what was written; bring back the file, or the whole directory, from a backup", path.display())]
    Damaged { path: PathBuf },
    #[error("document {name}: {error}")]
    Io { name: String, error: io::Error },
}

/// A folder of documents.
#[derive(Clone, Debug)]
pub struct Documents {
    folder: PathBuf,
}

/// A file of a document as it was found.
enum Found {
    None,
    Whole(Vec<u8>),
    /// Without a stamp: written by a program of before there were any, or spoilt just there.
    Unstamped(Vec<u8>),
    Spoilt,
}

impl Documents {
    /// Opens, and where needed makes, `documents/` in the data directory.
    pub fn open(data: &Path) -> io::Result<Self> {
        let folder = data.join(FOLDER);
        dir::make(&folder)?;
        Ok(Self { folder })
    }

    /// The document as it stands; `None` when there is none. One that is spoilt is written again from its twin.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>, DocumentError> {
        let path = self.path(name)?;
        let twin = twin_of(&path);
        match (find(name, &path)?, find(name, &twin)?) {
            (Found::Whole(body), Found::Whole(second)) if body == second => return Ok(Some(body)),
            (Found::None, Found::None) => return Ok(None),
            _ => {}
        }
        // Somebody may be replacing it just now: with the lock what is found is what stands.
        let failed = |error| DocumentError::Io { name: name.to_owned(), error };
        let _lock = self.lock().map_err(failed)?;
        let body = match (find(name, &path)?, find(name, &twin)?) {
            // A crash may have come between the two; the first is the newer.
            (Found::Whole(body), Found::Whole(second)) if body == second => return Ok(Some(body)),
            (Found::Whole(body), Found::Whole(_) | Found::None) => body,
            // Kept once, by a program of before.
            (Found::Unstamped(body), Found::None) => body,
            (Found::None, Found::None) => return Ok(None),
            (first, Found::Whole(body)) => {
                let spoilt = if matches!(first, Found::None) { "is missing" } else { "is not what was written" };
                told(&path, spoilt);
                body
            }
            (Found::Whole(body), Found::Spoilt | Found::Unstamped(_)) => {
                told(&twin, "is not what was written");
                body
            }
            _ => return Err(DocumentError::Damaged { path }),
        };
        write_both(&path, &body).map_err(failed)?;
        Ok(Some(body))
    }

    /// Replaces the document; when this returns, the new one survives a power cut.
    pub fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), DocumentError> {
        if bytes.len() as u64 > DOCUMENT_BYTES_MAX {
            return Err(DocumentError::TooLarge { name: name.to_owned() });
        }
        let path = self.path(name)?;
        let written = self.lock().and_then(|_lock| write_both(&path, bytes));
        written.map_err(|error| DocumentError::Io { name: name.to_owned(), error })
    }

    pub fn remove(&self, name: &str) -> Result<(), DocumentError> {
        let path = self.path(name)?;
        let _lock = self.lock().map_err(|error| DocumentError::Io { name: name.to_owned(), error })?;
        // The twin first: left alone it would bring the document back.
        let removed = [twin_of(&path), path.clone()].iter().try_for_each(|path| match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        });
        removed.and_then(|()| dir::sync_parent(&path)).map_err(|error| DocumentError::Io { name: name.to_owned(), error })
    }

    /// Of the folder, by the kernel: commands beside a running gateway replace the same documents.
    fn lock(&self) -> io::Result<File> {
        let folder = File::open(&self.folder)?;
        folder.lock()?;
        Ok(folder)
    }

    fn path(&self, name: &str) -> Result<PathBuf, DocumentError> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
        let ours = name.ends_with(DRAFT) || name.ends_with(TWIN);
        let fits = (1..=64).contains(&name.len()) && name.bytes().all(plain) && !name.starts_with('.') && !ours;
        if fits { Ok(self.folder.join(name)) } else { Err(DocumentError::BadName { name: name.to_owned() }) }
    }
}

/// What a look at the documents of a data directory finds, changing nothing: one line for each file that a start would have to heal, or
/// could not.
pub fn judge(data: &Path) -> io::Result<Vec<(String, String)>> {
    let folder = data.join(FOLDER);
    let listing = match fs::read_dir(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut names = Vec::new();
    for item in listing {
        let name = item?.file_name().to_string_lossy().into_owned();
        let name = name.strip_suffix(TWIN).map_or(name.clone(), str::to_owned);
        if !name.ends_with(DRAFT) {
            names.push(name);
        }
    }
    names.sort();
    names.dedup();
    let mut faults = Vec::new();
    for name in names {
        let path = folder.join(&name);
        let found = |path: &Path| find(&name, path).map_err(|error| io::Error::other(error.to_string()));
        let (first, second) = (found(&path)?, found(&twin_of(&path))?);
        let mut fault = |file: &str, why: &str| faults.push((format!("{FOLDER}/{file}"), why.to_owned()));
        match (first, second) {
            (Found::Whole(_), Found::Whole(_) | Found::None) | (Found::Unstamped(_), Found::None) => {}
            (Found::Whole(_), _) => fault(&format!("{name}{TWIN}"), "is not what was written; the next start writes it again"),
            (_, Found::Whole(_)) => fault(&name, "is not what was written; the next start heals it from its twin"),
            _ => fault(&name, "is not what was written, and its twin cannot stand in for it"),
        }
    }
    Ok(faults)
}

fn told(path: &Path, what: &str) {
    crate::telemetry::metrics::alarm("document-damaged");
    tracing::error!(file = %path.display(), what, "a document was healed from its twin; the disk may be failing: look at it, and make a backup");
}

fn find(name: &str, path: &Path) -> Result<Found, DocumentError> {
    let failed = |error| DocumentError::Io { name: name.to_owned(), error };
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::None),
        other => other.map_err(failed)?,
    };
    let mut bytes = Vec::new();
    file.take(DOCUMENT_BYTES_MAX + STAMP_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    let Some(end) = bytes.len().checked_sub(STAMP_BYTES).filter(|end| bytes[*end..].starts_with(STAMP)) else {
        if bytes.len() as u64 > DOCUMENT_BYTES_MAX {
            return Err(DocumentError::TooLarge { name: name.to_owned() });
        }
        return Ok(Found::Unstamped(bytes));
    };
    let whole = bytes[end..] == stamp(&bytes[..end]);
    bytes.truncate(end);
    Ok(if whole { Found::Whole(bytes) } else { Found::Spoilt })
}

fn stamp(body: &[u8]) -> Vec<u8> {
    [STAMP, format!("{:08x}\n", crc32fast::hash(body)).as_bytes()].concat()
}

const FOLDER: &str = "documents";
const DRAFT: &str = ".draft";
/// Ending of the second copy.
const TWIN: &str = ".twin";

fn twin_of(path: &Path) -> PathBuf {
    super::mend::with_ending(path, TWIN)
}

fn write_both(path: &Path, body: &[u8]) -> io::Result<()> {
    write_whole(path, body)?;
    write_whole(&twin_of(path), body)
}

fn write_whole(path: &Path, body: &[u8]) -> io::Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(DRAFT);
    // Keys are secrets: nobody but the gateway's own user reads them.
    let mut file = dir::create(Path::new(&draft))?;
    file.write_all(body)?;
    file.write_all(&stamp(body))?;
    file.sync_all()?;
    dir::rename(Path::new(&draft), path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_replaced_whole_and_read_back() {
        let data = tempfile::tempdir().expect("temporary directory");
        let documents = Documents::open(data.path()).expect("opened");
        assert_eq!(documents.read("users.json").expect("readable"), None);
        documents.replace("users.json", b"one").expect("written");
        documents.replace("users.json", b"two").expect("written");
        assert_eq!(documents.read("users.json").expect("readable").as_deref(), Some(&b"two"[..]));
        documents.remove("users.json").expect("removed");
        assert_eq!(documents.read("users.json").expect("readable"), None);
    }

    #[test]
    fn a_name_cannot_lead_out_of_the_folder() {
        let data = tempfile::tempdir().expect("temporary directory");
        let documents = Documents::open(data.path()).expect("opened");
        for name in ["../lock", "", ".hidden", "a/b", "users.json.draft", "users.json.twin", "名"] {
            assert!(documents.read(name).is_err(), "{name:?} was taken");
        }
    }

    #[test]
    fn a_draft_left_by_a_crash_changes_nothing() {
        let data = tempfile::tempdir().expect("temporary directory");
        let documents = Documents::open(data.path()).expect("opened");
        documents.replace("keys", b"whole").expect("written");
        fs::write(data.path().join("documents/keys.draft"), b"ha").expect("written");
        assert_eq!(documents.read("keys").expect("readable").as_deref(), Some(&b"whole"[..]));
        documents.replace("keys", b"new").expect("written over the draft");
    }

    #[test]
    fn every_flipped_bit_of_either_copy_is_healed_from_the_other_and_of_both_is_named() {
        let data = tempfile::tempdir().expect("temporary directory");
        let documents = Documents::open(data.path()).expect("opened");
        documents.replace("keys", b"{\"keys\": []}").expect("written");
        let (first, twin) = (data.path().join("documents/keys"), data.path().join("documents/keys.twin"));
        let whole = fs::read(&first).expect("read");
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x04;
            for path in [&first, &twin] {
                fs::write(path, &flipped).expect("written");
                assert_eq!(judge(data.path()).expect("looked at").len(), 1, "byte {at}");
                assert_eq!(documents.read("keys").expect("healed").as_deref(), Some(&b"{\"keys\": []}"[..]), "byte {at}");
                assert_eq!((fs::read(&first).expect("read"), fs::read(&twin).expect("read")), (whole.clone(), whole.clone()), "byte {at}");
            }
            fs::write(&first, &flipped).and_then(|()| fs::write(&twin, &flipped)).expect("written");
            let error = documents.read("keys").expect_err("both are spoilt");
            assert!(error.to_string().contains("documents/keys"), "{error}");
            assert_eq!(judge(data.path()).expect("looked at").len(), 1, "byte {at}");
            fs::write(&first, &whole).and_then(|()| fs::write(&twin, &whole)).expect("written");
        }
        fs::remove_file(&first).expect("removed");
        assert!(documents.read("keys").expect("healed").is_some());
        assert_eq!(judge(data.path()).expect("looked at"), []);
    }

    #[test]
    fn a_crash_between_the_two_copies_leaves_the_newer_one() {
        let data = tempfile::tempdir().expect("temporary directory");
        let documents = Documents::open(data.path()).expect("opened");
        documents.replace("keys", b"old").expect("written");
        write_whole(&data.path().join("documents/keys"), b"new").expect("written");
        assert_eq!(documents.read("keys").expect("readable").as_deref(), Some(&b"new"[..]));
        fs::write(data.path().join("documents/keys"), b"spoilt").expect("written");
        assert_eq!(documents.read("keys").expect("healed").as_deref(), Some(&b"new"[..]), "the twin followed");
    }

    #[test]
    fn a_document_of_before_checksums_is_taken_as_it_is_and_kept_twice_from_then_on() {
        let data = tempfile::tempdir().expect("temporary directory");
        let documents = Documents::open(data.path()).expect("opened");
        fs::write(data.path().join("documents/keys"), b"{}").expect("written");
        assert_eq!(judge(data.path()).expect("looked at"), []);
        assert_eq!(documents.read("keys").expect("readable").as_deref(), Some(&b"{}"[..]));
        assert!(data.path().join("documents/keys.twin").exists());
    }

    #[test]
    fn a_file_too_large_for_a_document_is_not_read_into_memory() {
        let data = tempfile::tempdir().expect("temporary directory");
        let documents = Documents::open(data.path()).expect("opened");
        File::create(data.path().join("documents/big")).and_then(|file| file.set_len(DOCUMENT_BYTES_MAX + 100)).expect("sparse file");
        assert!(matches!(documents.read("big"), Err(DocumentError::TooLarge { .. })));
    }
}
