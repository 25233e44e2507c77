//! Owns the rule that one process at a time has a data directory open.
//! Refuses to know what is in the directory.
//! Invariant: the lock is the kernel's (flock), so it ends with the process, however that dies; the number in the file is only for people.

use std::{
    fs::{File, TryLockError},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use super::dir;

pub(super) const FILE: &str = "lock";

#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error("{} is in use by another process{}", dir.display(), pid.map(|pid| format!(", number {pid}")).unwrap_or_default())]
    Held { dir: PathBuf, pid: Option<u32> },
    #[error("cannot lock {}: {error}", dir.display())]
    Io { dir: PathBuf, error: io::Error },
}

/// Held as long as this lives.
#[derive(Debug)]
pub(super) struct DirLock {
    _file: File,
}

/// Whether a process has the directory open now; looking takes nothing from anybody.
pub fn is_in_use(path: &Path) -> bool {
    File::open(path.join(FILE)).is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

impl DirLock {
    /// Makes the directory if needed, and takes it.
    pub(super) fn take(path: &Path) -> Result<Self, LockError> {
        let failed = |error| LockError::Io { dir: path.to_owned(), error };
        dir::make(path).map_err(failed)?;
        let mut file = dir::private().create(true).truncate(false).read(true).write(true).open(path.join(FILE)).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(LockError::Held { dir: path.to_owned(), pid: holder(file) }),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(failed)?;
        Ok(Self { _file: file })
    }
}

fn holder(file: File) -> Option<u32> {
    // A pid has at most ten digits; more is not ours.
    let mut text = String::new();
    file.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_taker_is_told_who_has_the_directory() {
        let root = tempfile::tempdir().expect("temporary directory");
        let first = DirLock::take(root.path()).expect("free");
        let error = DirLock::take(root.path()).expect_err("taken");
        assert!(error.to_string().contains(&format!("number {}", std::process::id())), "{error}");
        drop(first);
        DirLock::take(root.path()).expect("free again");
    }
}
