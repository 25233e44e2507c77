//! Owns the mark that the disk has failed under the store, and the writing again of what may since stand in memory alone.
//! Refuses to know what the files hold.
//! Invariant: Linux keeps a page whose way to the disk has failed as if it were there, and never tries again; so after a failure nothing
//! that is read is built upon before it was written and synced anew. The mark itself needs no sync: it goes with the memory it speaks of.

use std::{
    fs::{self, OpenOptions},
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use super::{Month, dir};

const MARK: &str = "disk-failed";
/// The one that is written, and the one before, in case the failure came at the turn.
const MONTHS: usize = 2;
const PIECE: usize = 1 << 20;

/// Says to the next opening that this one saw the disk fail.
pub(super) fn mark(data: &Path) {
    if let Err(error) = dir::create(&data.join(MARK)) {
        tracing::error!(%error, "the failure of the disk could not be marked: start the machine anew before the gateway");
    }
}

/// If an opening before saw the disk fail: how many bytes were written again. Fails as long as the disk does.
pub(super) fn settle(data: &Path) -> io::Result<Option<u64>> {
    let mark = data.join(MARK);
    if !mark.try_exists()? {
        return Ok(None);
    }
    let mut bytes = 0;
    for month in Month::all(data)?.into_iter().rev().take(MONTHS) {
        let journal = month.journal_path(data);
        for file in files_in(&journal)? {
            bytes += write_again(&file)?;
        }
        let trail = month.trail_path(data);
        if trail.try_exists()? {
            bytes += write_again(&trail)?;
        }
    }
    fs::remove_file(&mark)?;
    dir::sync_parent(&mark)?;
    Ok(Some(bytes))
}

fn files_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let listing = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(files),
        other => other?,
    };
    for item in listing {
        let item = item?;
        if item.file_type()?.is_file() {
            files.push(item.path());
        }
    }
    Ok(files)
}

/// In its place, so that a full disk is no hindrance: the bytes are the same, and nothing new was promised on them yet.
fn write_again(path: &Path) -> io::Result<u64> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let (mut piece, mut at) = (vec![0; PIECE], 0);
    loop {
        let count = file.read_at(&mut piece, at)?;
        if count == 0 {
            break;
        }
        file.write_all_at(&piece[..count], at)?;
        at += count as u64;
    }
    file.sync_all()?;
    Ok(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_marked_is_written_again_once_and_is_the_same() {
        let folder = tempfile::tempdir().expect("temporary directory");
        let month: Month = "2026-11".parse().expect("valid");
        let (db, trail) = (month.journal_path(folder.path()).join("db"), month.trail_path(folder.path()));
        for path in [&db, &trail] {
            fs::create_dir_all(path.parent().expect("inside")).expect("made");
            fs::write(path, vec![7; PIECE + 5]).expect("written");
        }
        assert_eq!(settle(folder.path()).expect("settled"), None);
        mark(folder.path());
        assert_eq!(settle(folder.path()).expect("settled"), Some(2 * (PIECE as u64 + 5)));
        assert_eq!(settle(folder.path()).expect("settled"), None);
        assert!([db, trail].iter().all(|path| fs::read(path).expect("read") == vec![7; PIECE + 5]));
    }
}
