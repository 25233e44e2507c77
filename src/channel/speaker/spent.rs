//! Owns the file in which a loudspeaker keeps the ids that it has heard, so that a restart makes none of them new.
//! Refuses to know what they mean. Invariant: an id is on disk before anything is said about it, and the file stays small.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use super::heed::SPENT_MAX;

/// A line is an id of 36 letters; more than this is no file of ours.
const FILE_BYTES_MAX: u64 = 1 << 20;
const ID_BYTES_MAX: usize = 200;

pub(super) struct Spent {
    path: PathBuf,
    file: File,
    lines: usize,
}

impl Spent {
    /// Opens, or makes, the file; with the ids in it, the oldest first.
    pub(super) fn open(path: &Path) -> io::Result<(Self, Vec<String>)> {
        let size = fs::metadata(path).map_or(0, |found| found.len());
        if size > FILE_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is larger than any list of heard ids"));
        }
        let bytes = if size == 0 { Vec::new() } else { fs::read(path)? };
        let text = String::from_utf8_lossy(&bytes);
        let mut ids: Vec<String> = text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect();
        let begin = ids.len().saturating_sub(SPENT_MAX);
        let ids = ids.split_off(begin);
        let mut spent = Self { path: path.to_owned(), file: append_to(path)?, lines: ids.len() };
        // Also ends a line that a power cut left unended.
        spent.write_whole(&ids)?;
        Ok((spent, ids))
    }

    /// Has an id on disk; `all` are those that are remembered.
    pub(super) fn keep(&mut self, id: &str) -> io::Result<()> {
        if id.len() > ID_BYTES_MAX || id.contains(['\n', '\r']) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "an id that cannot be a line"));
        }
        if self.lines >= 2 * SPENT_MAX {
            let text = fs::read_to_string(&self.path)?;
            let ids: Vec<String> = text.lines().map(str::to_owned).collect();
            self.write_whole(&ids[ids.len().saturating_sub(SPENT_MAX)..])?;
        }
        self.file.write_all(format!("{id}\n").as_bytes())?;
        self.file.sync_data()?;
        self.lines += 1;
        Ok(())
    }

    fn write_whole(&mut self, ids: &[String]) -> io::Result<()> {
        let draft = self.path.with_added_extension("draft");
        let mut file = File::create(&draft)?;
        for id in ids {
            file.write_all(format!("{id}\n").as_bytes())?;
        }
        file.sync_all()?;
        fs::rename(&draft, &self.path)?;
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()?;
        (self.file, self.lines) = (append_to(&self.path)?, ids.len());
        Ok(())
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_heard_is_known_after_a_restart_and_the_file_stays_small() {
        let folder = tempfile::tempdir().expect("temporary directory");
        let path = folder.path().join("heard");
        let (mut spent, ids) = Spent::open(&path).expect("opened");
        assert!(ids.is_empty());
        for number in 0..2 * SPENT_MAX + 10 {
            spent.keep(&format!("id-{number}")).expect("kept");
        }
        assert!(spent.keep("two\nlines").is_err());
        let (_, ids) = Spent::open(&path).expect("opened");
        assert_eq!((ids.len(), ids.last().map(String::as_str)), (SPENT_MAX, Some("id-2009")));
        assert!(fs::read_to_string(&path).expect("readable").lines().count() <= SPENT_MAX);
    }

    #[test]
    fn a_line_that_a_power_cut_left_unended_swallows_no_other() {
        let folder = tempfile::tempdir().expect("temporary directory");
        let path = folder.path().join("heard");
        fs::write(&path, "one\ntw").expect("written");
        let (mut spent, _) = Spent::open(&path).expect("opened");
        spent.keep("three").expect("kept");
        assert_eq!(Spent::open(&path).expect("opened").1, ["one", "tw", "three"]);
    }
}
