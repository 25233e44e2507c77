//! Owns telling which files of a folder are whole: a file counts once two looks found it with the same size, time and place on disk.
//! Refuses to know what stands in them. Invariant: only plain files are opened, and only what was looked at is read.

use std::{
    collections::{BTreeSet, HashMap},
    ffi::{OsStr, OsString},
    fs::{self, File, Metadata},
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use super::shelf::PROBLEMS;

/// Names of one folder that one look reads: a county's folder holds a handful, and what is over comes when these are put away.
pub(super) const NAMES_MAX: usize = 10_000;
/// The largest file that is read: an archive with scans of approvals.
pub(super) const FILE_BYTES_MAX: u64 = 32 << 20;
/// Endings under which senders of files write what is not yet whole.
const UNFINISHED_ENDINGS: &[&str] = &["tmp", "part", "filepart", "partial", "crdownload", "writing"];

/// What tells one state of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    pub(super) size: u64,
    modified: (i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino(), size: metadata.len(), modified: (metadata.mtime(), metadata.mtime_nsec()) }
    }

    /// The state of what bears this name now.
    pub(super) fn at(path: &Path) -> io::Result<Self> {
        fs::symlink_metadata(path).map(|metadata| Self::of(&metadata))
    }
}

/// One look at a folder.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// Plain files that could be documents, oldest first: an update must not come before what it updates.
    pub(super) files: Vec<(OsString, Stamp)>,
    /// Links by their names; none is followed, also not by one of our own directories.
    pub(super) links: BTreeSet<OsString>,
    /// There are more names than one look reads.
    pub(super) is_over: bool,
}

pub(super) fn list(folder: &Path) -> io::Result<Listing> {
    let mut listing = Listing::default();
    for (number, entry) in fs::read_dir(folder)?.enumerate() {
        if number == NAMES_MAX {
            listing.is_over = true;
            break;
        }
        let name = entry?.file_name();
        if is_unfinished_name(&name) {
            continue;
        }
        // A name that is gone again, or cannot be looked at, is no file of this look.
        let Ok(metadata) = fs::symlink_metadata(folder.join(&name)) else { continue };
        if metadata.is_symlink() {
            listing.links.insert(name);
        } else if metadata.is_file() {
            listing.files.push((name, Stamp::of(&metadata)));
        }
    }
    listing.files.sort_by(|(one, at), (other, then)| (at.modified, one).cmp(&(then.modified, other)));
    Ok(listing)
}

/// Hidden, in the making by its name, or a reason that somebody carried back with its refused file.
fn is_unfinished_name(name: &OsStr) -> bool {
    let text = name.to_string_lossy();
    let ending = text.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
    text.starts_with('.')
        || text.ends_with('~')
        || text.ends_with(PROBLEMS)
        || ending.is_some_and(|ending| UNFINISHED_ENDINGS.contains(&ending.as_str()))
}

/// What reading a file came to.
#[derive(Debug)]
pub(super) enum Content {
    Whole(Vec<u8>),
    TooLarge,
    /// Another file bears the name now, or it changed while it was read: a matter of the next look.
    Changed,
}

/// Reads the file that was looked at, and no other: a link or a pipe put in its place meanwhile has another number on disk.
pub(super) fn read(path: &Path, stamp: Stamp) -> io::Result<Content> {
    if Stamp::at(path)? != stamp {
        return Ok(Content::Changed);
    }
    if stamp.size > FILE_BYTES_MAX {
        return Ok(Content::TooLarge);
    }
    let file = File::open(path)?;
    if Stamp::of(&file.metadata()?) != stamp {
        return Ok(Content::Changed);
    }
    let mut bytes = Vec::new();
    (&file).take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    let is_same = Stamp::of(&file.metadata()?) == stamp && bytes.len() as u64 == stamp.size;
    Ok(if is_same { Content::Whole(bytes) } else { Content::Changed })
}

/// What the looks so far have shown of each file; `T` is what its inlet wants to remember about this state of it.
#[derive(Debug)]
pub(super) struct Seen<T>(HashMap<OsString, (Stamp, T)>);

impl<T> Default for Seen<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T: Default> Seen<T> {
    /// Takes a look in; the files that are as they were at the look before, in its order.
    pub(super) fn settle(&mut self, listing: &Listing) -> Vec<(OsString, Stamp)> {
        let mut before = std::mem::take(&mut self.0);
        let mut whole = Vec::new();
        for (name, stamp) in &listing.files {
            match before.remove(name) {
                Some((known, memory)) if known == *stamp => {
                    whole.push((name.clone(), *stamp));
                    self.0.insert(name.clone(), (*stamp, memory));
                }
                _ => drop(self.0.insert(name.clone(), (*stamp, T::default()))),
            }
        }
        whole
    }

    pub(super) fn memory(&mut self, name: &OsStr) -> Option<&mut T> {
        self.0.get_mut(name).map(|(_, memory)| memory)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn names(files: &[(OsString, Stamp)]) -> Vec<String> {
        files.iter().map(|(name, _)| name.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn a_file_counts_once_it_stands_still_and_again_when_it_has_changed() {
        let folder = tempfile::tempdir().expect("a directory");
        let file = folder.path().join("a.xml");
        let mut seen = Seen::<()>::default();
        let mut look = || names(&seen.settle(&list(folder.path()).expect("listed")));
        fs::write(&file, "<al").expect("written");
        assert!(look().is_empty(), "a first look proves nothing");
        fs::write(&file, "<alert>").expect("written on");
        assert!(look().is_empty(), "it grew");
        assert_eq!(look(), ["a.xml"]);
        fs::remove_file(&file).expect("removed");
        fs::write(&file, "<ALERT>").expect("another one");
        assert!(look().is_empty(), "another file of that name");
    }

    #[test]
    fn only_plain_files_with_finished_names_are_looked_at() {
        let folder = tempfile::tempdir().expect("a directory");
        let at = |name: &str| folder.path().join(name);
        for name in ["a.XML", "b.xml.part", "c.filepart", "d.TMP", ".e.xml", "f.json", "g.xml.problems.json", "h.xml~"] {
            fs::write(at(name), "x").expect("written");
        }
        fs::create_dir(at("done")).expect("made");
        symlink(at("a.XML"), at("link.xml")).expect("linked");
        let made = std::process::Command::new("mkfifo").arg(at("pipe.xml")).status().expect("mkfifo runs");
        assert!(made.success());
        let listing = list(folder.path()).expect("listed");
        let mut found = names(&listing.files);
        found.sort();
        assert_eq!(found, ["a.XML", "f.json"]);
        assert_eq!(listing.links.iter().collect::<Vec<_>>(), ["link.xml"]);
    }

    #[test]
    fn files_come_oldest_first() {
        let folder = tempfile::tempdir().expect("a directory");
        for (name, seconds) in [("a", 300), ("b", 100), ("c", 200)] {
            let file = File::create(folder.path().join(name)).expect("created");
            file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds)).expect("dated");
        }
        assert_eq!(names(&list(folder.path()).expect("listed").files), ["b", "c", "a"]);
    }

    #[test]
    fn what_was_put_in_the_place_of_a_file_is_not_read() {
        let folder = tempfile::tempdir().expect("a directory");
        let (file, secret) = (folder.path().join("a.xml"), folder.path().join("secret"));
        fs::write(&file, "x").expect("written");
        fs::write(&secret, "s").expect("written");
        let stamp = Stamp::at(&file).expect("there");
        assert!(matches!(read(&file, stamp), Ok(Content::Whole(bytes)) if bytes == b"x"));
        fs::remove_file(&file).expect("removed");
        symlink(&secret, &file).expect("linked");
        assert!(matches!(read(&file, stamp), Ok(Content::Changed)));
    }

    #[test]
    fn a_file_too_large_to_be_a_warning_is_not_read_into_memory() {
        let folder = tempfile::tempdir().expect("a directory");
        let file = folder.path().join("a.xml");
        File::create(&file).and_then(|file| file.set_len(FILE_BYTES_MAX + 1)).expect("sparse");
        assert!(matches!(read(&file, Stamp::at(&file).expect("there")), Ok(Content::TooLarge)));
    }
}
