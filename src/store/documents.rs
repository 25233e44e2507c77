//! Owns small documents (users, keys, settings) as files of one folder, each replaced whole.
//! Refuses to know their content, and to hold anything large or fast: that is the journal's.
//! Invariant: after a crash a document is what it was before or what was written, never half of either.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use super::dir;

/// Users and keys of a county are kilobytes; a file above this is not a document of ours.
pub const DOCUMENT_BYTES_MAX: u64 = 16 << 20;

#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    #[error("{name:?} cannot be the name of a document")]
    BadName { name: String },
    #[error("document {name} is larger than {DOCUMENT_BYTES_MAX} bytes")]
    TooLarge { name: String },
    #[error("document {name}: {error}")]
    Io { name: String, error: io::Error },
}

/// A folder of documents.
#[derive(Clone, Debug)]
pub struct Documents {
    folder: PathBuf,
}

impl Documents {
    /// Opens, and where needed makes, `documents/` in the data directory.
    pub fn open(data: &Path) -> io::Result<Self> {
        let folder = data.join("documents");
        dir::make(&folder)?;
        Ok(Self { folder })
    }

    /// The document as it stands; `None` when there is none.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>, DocumentError> {
        let failed = |error| DocumentError::Io { name: name.to_owned(), error };
        let file = match File::open(self.path(name)?) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(failed)?,
        };
        let mut bytes = Vec::new();
        file.take(DOCUMENT_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > DOCUMENT_BYTES_MAX {
            return Err(DocumentError::TooLarge { name: name.to_owned() });
        }
        Ok(Some(bytes))
    }

    /// Replaces the document; when this returns, the new one survives a power cut.
    pub fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), DocumentError> {
        if bytes.len() as u64 > DOCUMENT_BYTES_MAX {
            return Err(DocumentError::TooLarge { name: name.to_owned() });
        }
        let path = self.path(name)?;
        write_whole(&path, bytes).map_err(|error| DocumentError::Io { name: name.to_owned(), error })
    }

    pub fn remove(&self, name: &str) -> Result<(), DocumentError> {
        let path = self.path(name)?;
        let removed = match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.and_then(|()| dir::sync_parent(&path)),
        };
        removed.map_err(|error| DocumentError::Io { name: name.to_owned(), error })
    }

    fn path(&self, name: &str) -> Result<PathBuf, DocumentError> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
        let fits = (1..=64).contains(&name.len()) && name.bytes().all(plain) && !name.starts_with('.') && !name.ends_with(DRAFT);
        if fits { Ok(self.folder.join(name)) } else { Err(DocumentError::BadName { name: name.to_owned() }) }
    }
}

const DRAFT: &str = ".draft";

fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(DRAFT);
    // Keys are secrets: nobody but the gateway's own user reads them.
    let mut file = dir::create(Path::new(&draft))?;
    file.write_all(bytes)?;
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
        for name in ["../lock", "", ".hidden", "a/b", "users.json.draft", "名"] {
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
    fn a_file_too_large_for_a_document_is_not_read_into_memory() {
        let data = tempfile::tempdir().expect("temporary directory");
        let documents = Documents::open(data.path()).expect("opened");
        File::create(data.path().join("documents/big")).and_then(|file| file.set_len(DOCUMENT_BYTES_MAX + 1)).expect("sparse file");
        assert!(matches!(documents.read("big"), Err(DocumentError::TooLarge { .. })));
    }
}
