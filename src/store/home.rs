//! Owns the data directory as a whole: the number of its format, and that nobody but the gateway's own user reads what lies in it.
//! Refuses to know what its files hold; each is read by its own room.
//! Invariant: a directory of a newer program is refused before anything in it is touched.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use super::{checkpoint, dir, filed, lock, month};

/// Raised when an older program could no longer read what this one writes.
pub const FORMAT: u32 = 1;
/// Read before anything else.
const FILE: &str = "format";
const WORDS: &str = "lastmile data ";
/// One line; more is not ours.
const FILE_BYTES_MAX: u64 = 64;
/// What we make in a data directory. Whatever else lies there is somebody else's, and left as it is.
const OURS: [&str; 11] = [
    FILE,
    lock::FILE,
    month::JOURNAL,
    month::TRAIL,
    checkpoint::FOLDER,
    filed::FOLDER,
    "documents",
    "registry",
    "nonces.log",
    "seal.json",
    "audit",
];
/// Read, write, search of group and others.
const OTHERS: u32 = 0o077;

#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// Never taken for damage: what mends would rewrite what only the newer program understands.
    #[error(
        "{} was written by a newer lastmile (format {found}; this one reads up to {FORMAT}); nothing was touched: start the newer program, or restore a backup of this one into another directory",
        dir.display()
    )]
    Newer { dir: PathBuf, found: u32 },
    #[error("{}: its file `{FILE}` does not say the format; a whole one holds the line `{WORDS}{FORMAT}`", dir.display())]
    Unclear { dir: PathBuf },
    #[error("{}: {error}", path.display())]
    Io { path: PathBuf, error: io::Error },
}

/// What was found to be readable by others, and what came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entered {
    pub tightened: usize,
    /// Why something stayed as open as it was.
    pub still_open: Option<String>,
}

/// Reads the format alone. A directory that is not there, or is older than formats, is fine.
pub fn look(data: &Path) -> Result<(), HomeError> {
    found(data).map(|_| ())
}

/// Whether a file begins as ours do, with a later version as its last letter: what a newer program wrote is told as that and is not mended.
pub(super) fn is_newer(found: &[u8; 8], ours: &[u8; 8]) -> bool {
    found[..7] == ours[..7] && (ours[7] + 1..=b'9').contains(&found[7])
}

pub(super) fn newer(path: &Path) -> io::Error {
    let why = format!("{} was written by a newer lastmile; nothing was touched: start the newer program", path.display());
    io::Error::new(io::ErrorKind::Unsupported, why)
}

/// Before anything else is opened: refuses what a newer program wrote, says the format of what is there from now on, and takes from group
/// and others whatever an older program, or a careless umask, left them.
pub fn enter(data: &Path) -> Result<Entered, HomeError> {
    let found = found(data)?;
    let io = |error| HomeError::Io { path: data.to_owned(), error };
    dir::make(data).map_err(io)?;
    if found != Some(FORMAT) {
        write(data).map_err(io)?;
    }
    let mut entered = Entered::default();
    tighten(data, false, &mut entered);
    for name in OURS {
        tighten(&data.join(name), true, &mut entered);
    }
    Ok(entered)
}

/// What the file says; `None` when there is none.
fn found(data: &Path) -> Result<Option<u32>, HomeError> {
    let path = data.join(FILE);
    let io = |error| HomeError::Io { path: path.clone(), error };
    let unclear = || HomeError::Unclear { dir: data.to_owned() };
    match fs::metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io(error)),
        Ok(about) if about.len() > FILE_BYTES_MAX => return Err(unclear()),
        Ok(_) => {}
    }
    let bytes = fs::read(&path).map_err(io)?;
    let number = std::str::from_utf8(&bytes).ok().and_then(|text| text.trim_end().strip_prefix(WORDS)?.parse().ok()).ok_or_else(unclear)?;
    if number > FORMAT { Err(HomeError::Newer { dir: data.to_owned(), found: number }) } else { Ok(Some(number)) }
}

fn write(data: &Path) -> io::Result<()> {
    use io::Write as _;
    let (path, draft) = (data.join(FILE), data.join("format.draft"));
    let mut file = dir::create(&draft)?;
    file.write_all(format!("{WORDS}{FORMAT}\n").as_bytes())?;
    file.sync_all()?;
    dir::rename(&draft, &path)
}

/// Links are left alone: what they lead to is not in the directory.
fn tighten(path: &Path, below: bool, entered: &mut Entered) {
    let about = match fs::symlink_metadata(path) {
        Ok(about) if about.is_dir() || about.is_file() => about,
        Ok(_) => return,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        Err(error) => return entered.still_open = Some(format!("{}: {error}", path.display())),
    };
    let mode = about.permissions().mode();
    if mode & OTHERS != 0 {
        match fs::set_permissions(path, fs::Permissions::from_mode(mode & !OTHERS & 0o7777)) {
            Ok(()) => entered.tightened += 1,
            Err(error) => entered.still_open = Some(format!("{}: {error}", path.display())),
        }
    }
    if below && about.is_dir() {
        match fs::read_dir(path) {
            Ok(listing) => listing.flatten().for_each(|item| tighten(&item.path(), true, entered)),
            Err(error) => entered.still_open = Some(format!("{}: {error}", path.display())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("there").permissions().mode() & 0o777
    }

    #[test]
    fn an_open_directory_is_tightened_once_and_strangers_files_are_left_alone() {
        let root = tempfile::tempdir().expect("temporary directory");
        let data = root.path().join("data");
        fs::create_dir_all(data.join("registry")).expect("made");
        for (name, bits) in [("registry/registry-1.bin", 0o644), ("nonces.log", 0o664), ("somebody-elses", 0o644)] {
            fs::write(data.join(name), "x").expect("written");
            fs::set_permissions(data.join(name), fs::Permissions::from_mode(bits)).expect("set");
        }
        for folder in [&data, &data.join("registry")] {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).expect("set");
        }
        assert_eq!(enter(&data).expect("entered"), Entered { tightened: 4, still_open: None });
        assert_eq!((mode(&data), mode(&data.join("registry"))), (0o700, 0o700));
        assert_eq!((mode(&data.join("registry/registry-1.bin")), mode(&data.join("nonces.log"))), (0o600, 0o600));
        assert_eq!((mode(&data.join("format")), mode(&data.join("somebody-elses"))), (0o600, 0o644));
        assert_eq!(enter(&data).expect("entered").tightened, 0);
    }

    #[test]
    fn what_a_newer_program_wrote_is_refused_untouched_and_what_is_older_than_formats_is_taken() {
        let root = tempfile::tempdir().expect("temporary directory");
        assert_eq!(look(&root.path().join("none")).ok(), Some(()));
        enter(root.path()).expect("entered");
        look(root.path()).expect("of this format");
        fs::write(root.path().join(FILE), format!("{WORDS}{}\n", FORMAT + 1)).expect("written");
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).expect("set");
        let refused = enter(root.path()).expect_err("newer");
        assert!(matches!(refused, HomeError::Newer { found, .. } if found == FORMAT + 1), "{refused}");
        assert_eq!(mode(root.path()), 0o755, "nothing is touched");
        for text in ["", "lastmile data", "lastmile data x\n", "1"] {
            fs::write(root.path().join(FILE), text).expect("written");
            assert!(matches!(enter(root.path()), Err(HomeError::Unclear { .. })), "{text:?}");
        }
    }
}
