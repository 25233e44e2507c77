//! Owns the names of the registry's files in its directory, and how one of them comes there whole.
//! Refuses to know what they hold.
//! Invariant: a generation's file of the right name is whole; the log beside it goes no sooner than it does.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufReader, BufWriter, Write},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use super::{
    file::{self, FileError, Marks},
    snapshot::Snapshot,
};
use crate::seal::{self, SEALED_VERSION, Seal, SealError};

/// Generations kept: the newest, and two to fall back on.
const GENERATIONS_KEPT: usize = 3;

pub(super) fn generation_path(dir: &Path, generation: u64) -> PathBuf {
    dir.join(format!("registry-{generation:012}.bin"))
}

/// The log of the changes made to a generation.
pub(super) fn log_path(dir: &Path, generation: u64) -> PathBuf {
    dir.join(format!("registry-{generation:012}.log"))
}

/// Makes a directory and those above it, and has each name on disk: one that is not takes everything below it along in a power cut.
pub(super) fn make_dir(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    make_dir(parent)?;
    // Names and numbers of a county are nobody's but the gateway's own user's.
    match fs::DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => {}
        other => other?,
    }
    sync_dir(parent)
}

/// A file of its own user's, new or emptied, whatever the umask says.
pub(super) fn create_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(path)
}

pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// The whole generations of a directory, oldest first.
pub(super) fn generations(dir: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    numbered(dir, ".bin")
}

/// The change logs, by the generation they belong to.
pub(super) fn logs(dir: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    numbered(dir, ".log")
}

fn numbered(dir: &Path, ending: &str) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("");
        let number = name.strip_prefix("registry-").and_then(|name| name.strip_suffix(ending));
        if let Some(number) = number.and_then(|number| number.parse().ok()) {
            files.push((number, path));
        }
    }
    files.sort();
    Ok(files)
}

pub(super) fn read_file(path: &Path) -> Result<Snapshot, FileError> {
    let input = File::open(path)?;
    let bytes_total = input.metadata()?.len();
    let keys = Keys::of(path);
    file::read(&mut BufReader::new(input), bytes_total, &|| keys.get())
}

pub(super) fn read_file_marks(path: &Path) -> Result<Marks, FileError> {
    let input = File::open(path)?;
    let bytes_total = input.metadata()?.len();
    let keys = Keys::of(path);
    file::read_marks(&mut BufReader::new(input), bytes_total, &|| keys.get())
}

/// The keys of the data directory that a file of the registry lies in.
#[derive(Debug)]
pub(super) struct Keys {
    data: PathBuf,
    found: Result<Option<Seal>, Option<SealError>>,
}

impl Keys {
    pub(super) fn of(path: &Path) -> Self {
        let folder = path.parent().unwrap_or(Path::new("."));
        Self::of_dir(folder)
    }

    pub(super) fn of_dir(dir: &Path) -> Self {
        // The registry lies in the data directory, beside which the key does.
        let whole = fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
        let data = whole.parent().unwrap_or(&whole).to_owned();
        let found = seal::of(&data).map_err(Some);
        Self { data, found }
    }

    /// What opens a sealed file.
    pub(super) fn get(&self) -> Result<&Seal, SealError> {
        match &self.found {
            Ok(Some(seal)) => Ok(seal),
            Ok(None) => Err(SealError::NoKey(seal::beside(&self.data))),
            // Said again each time, in the words that `of` has for it.
            Err(_) => match seal::of(&self.data) {
                Err(error) => Err(error),
                Ok(_) => Err(SealError::Spoilt),
            },
        }
    }

    /// What seals what is written now; nothing does where no key was ever made, or the county wants none.
    pub(super) fn to_write(&self) -> io::Result<Option<&Seal>> {
        match &self.found {
            Ok(found) => Ok(found.as_ref().filter(|seal| seal.is_on())),
            Err(_) => self.get().map(Some).map_err(|error| io::Error::other(error.to_string())),
        }
    }
}

/// Whether a file is sealed, and with the key that seals now; what is to be sealed and is not is written again.
pub(super) fn is_as_wanted(path: &Path, keys: &Keys) -> io::Result<bool> {
    use io::Read as _;
    let mut head = Vec::new();
    // Magic, name of the file, length and checksum of the first section, id of its key.
    File::open(path)?.take(8 + 16 + 12 + 8).read_to_end(&mut head)?;
    let is_sealed = head.get(7) == Some(&SEALED_VERSION);
    Ok(match keys.to_write()? {
        Some(seal) => is_sealed && head.get(36..).is_some_and(|id| seal.is_current(id)),
        None => !is_sealed,
    })
}

/// Removes every generation and log but one: what was deleted, or stood there unsealed, is on disk no more.
pub(super) fn drop_others(dir: &Path, generation: u64) -> io::Result<()> {
    let (files, logs) = (generations(dir)?, logs(dir)?);
    files.iter().chain(&logs).filter(|(number, _)| *number != generation).try_for_each(|(_, file)| fs::remove_file(file))?;
    for item in fs::read_dir(dir)?.flatten() {
        let name = item.file_name().to_string_lossy().into_owned();
        if name.ends_with(".damaged") || name.ends_with(".unfinished") {
            fs::remove_file(item.path())?;
        }
    }
    sync_dir(dir)
}

/// Under another name first, so that a file of the right name is always whole.
pub(super) fn write_file(dir: &Path, path: &Path, snapshot: &Snapshot) -> io::Result<()> {
    let unfinished = path.with_extension("unfinished");
    let mut out = BufWriter::new(create_file(&unfinished)?);
    let keys = Keys::of_dir(dir);
    file::write(snapshot, keys.to_write()?, &mut out)?;
    out.flush()?;
    out.get_ref().sync_all()?;
    fs::rename(&unfinished, path)?;
    sync_dir(dir)
}

/// Removes generations beyond those kept, and the logs that belong to no kept one.
pub(super) fn drop_old(dir: &Path) -> io::Result<()> {
    let files = generations(dir)?;
    let spare = files.len().saturating_sub(GENERATIONS_KEPT);
    files[..spare].iter().try_for_each(|(_, file)| fs::remove_file(file))?;
    let oldest = if spare > 0 { files[spare].0 } else { 0 };
    logs(dir)?.iter().filter(|(generation, _)| *generation < oldest).try_for_each(|(_, log)| fs::remove_file(log))
}
