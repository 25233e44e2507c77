//! Owns the way from a backup file into an empty directory.
//! Refuses whatever is not a whole backup of ours; the file may come from anywhere.
//! Invariant: the directory is there only when everything in it is durable and verifies; a refused restore leaves nothing behind.

use std::{
    fs::{self, File},
    io::{self, BufReader, Read},
    path::{Component, Path, PathBuf},
};

use sha2::{Digest, Sha256};

use crate::seal::{self, Seal};

use super::{
    BackupError, BackupReport, ReadError,
    backup::{Begin, Digesting, FORMAT, MEMBER_BYTES, SEAL, hex},
    checkpoint, dir,
    dropping::{self, Dropped, MARK},
    ledger::{Ledger, LedgerError},
    mend,
    month::{JOURNAL, TRAIL},
    sealed_file::{self, Opening},
    sound::begin_ledger,
    values::{KEY_BYTES, Key, VALUE_BYTES_MAX},
    verify,
};

/// Read at a time.
const PIECE_BYTES: usize = 1 << 20;
/// A checkpoint is taken into memory; the store writes none larger.
const CHECKPOINT_BYTES_MAX: u64 = 2 << 30;
const MARK_BYTES_MAX: u64 = 4_096;
/// A trail of a month; a larger member is not ours.
const FILE_BYTES_MAX: u64 = 8 << 30;

/// Restores a backup into a directory that is empty or not there yet; it is there only when the whole of it verifies.
pub fn restore(file: &Path, data: &Path, key_file: Option<&Path>) -> Result<Restored, BackupError> {
    let io = |error| BackupError::Io { path: data.to_owned(), error };
    match fs::read_dir(data).map(|mut listing| listing.next().is_none()) {
        Ok(false) => return Err(BackupError::NotEmpty { dir: data.to_owned() }),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io(error)),
        Ok(true) | Err(_) => {}
    }
    let draft = mend::with_ending(data, ".restoring");
    if draft.exists() {
        fs::remove_dir_all(&draft).map_err(io)?;
    }
    dir::make(&draft).map_err(io)?;
    let restored =
        read_file(file, data, &draft, key_file).and_then(|restored| Ok(Restored { report: check(&draft, restored.report)?, ..restored }));
    let report = match restored {
        Ok(report) => report,
        Err(error) => {
            fs::remove_dir_all(&draft).map_err(io)?;
            return Err(error);
        }
    };
    if data.exists() {
        fs::remove_dir(data).map_err(io)?;
    }
    dir::rename(&draft, data).map_err(io)?;
    Ok(report)
}

fn check(draft: &Path, report: BackupReport) -> Result<BackupReport, BackupError> {
    super::home::look(draft).map_err(ReadError::from)?;
    let bad = |why: String| BackupError::BadBackup { why };
    if report.end == 0 && report.months.is_empty() {
        return Ok(report);
    }
    let found = verify::verify_unlocked(draft)?;
    match found.faults.first() {
        Some(fault) => Err(bad(fault.to_string())),
        None if found.last != report.end => Err(bad(format!("it should end with entry {} and ends with {}", report.end, found.last))),
        None => Ok(report),
    }
}

/// What came of it, and whether the key says that it is our own.
#[derive(Clone, Debug)]
pub struct Restored {
    pub report: BackupReport,
    /// It was sealed with a key at hand, so nobody without that key has written it.
    pub is_sealed: bool,
}

/// A sealed one is opened with the key that is named, else the one beside the directory.
fn read_file(file: &Path, data: &Path, draft: &Path, key_file: Option<&Path>) -> Result<Restored, BackupError> {
    let io = |error| BackupError::Io { path: file.to_owned(), error };
    let mut head = Vec::new();
    File::open(file).map_err(io)?.take(8).read_to_end(&mut head).map_err(io)?;
    let input = BufReader::with_capacity(PIECE_BYTES, File::open(file).map_err(io)?);
    if !sealed_file::is_sealed(&head) {
        return Ok(Restored { report: read_members(file, input, draft)?, is_sealed: false });
    }
    let beside = seal::beside(data);
    let key_file = key_file.unwrap_or(&beside);
    let seal = Seal::read(key_file).map_err(|error| BackupError::BadBackup { why: error.to_string() })?;
    let opening = Opening::begin(input, &seal).map_err(io)?;
    let report = read_members(file, opening, draft)?;
    // The registry in it is sealed with the same key; the next start looks for it where it lies now.
    seal::settle(draft, Some(key_file), Some(false)).map_err(|error| BackupError::BadBackup { why: error.to_string() })?;
    Ok(Restored { report, is_sealed: true })
}

fn read_members(file: &Path, input: impl Read, draft: &Path) -> Result<BackupReport, BackupError> {
    let io = |error| BackupError::Io { path: file.to_owned(), error };
    let bad = |why: String| BackupError::BadBackup { why };
    let mut archive = tar::Archive::new(input);
    let mut digest = Sha256::new();
    let mut filling: Option<(PathBuf, Ledger)> = None;
    for member in archive.entries().map_err(|error| bad(error.to_string()))? {
        let mut member = member.map_err(|error| bad(error.to_string()))?;
        let name = member.path().map_err(|error| bad(error.to_string()))?.into_owned();
        let plain = name.components().all(|part| matches!(part, Component::Normal(_)));
        let length = member.size();
        if !plain || length > FILE_BYTES_MAX || !member.header().entry_type().is_file() {
            return Err(bad(format!("it has a member {} that is not ours", name.display())));
        }
        if name == Path::new(SEAL) {
            let mut seal = Vec::new();
            member.take(MEMBER_BYTES as u64).read_to_end(&mut seal).map_err(io)?;
            let report: BackupReport = serde_json::from_slice(&seal).map_err(|error| bad(error.to_string()))?;
            let whole = report.format == FORMAT && report.sha256 == hex(&digest.finalize());
            finish(filling).map_err(|error| bad(error.to_string()))?;
            return whole.then_some(report).ok_or_else(|| bad("its digest does not match".into()));
        }
        digest.update(name.as_os_str().as_encoded_bytes());
        digest.update(length.to_le_bytes());
        let mut source = Digesting { source: &mut member, digest: &mut digest };
        take_member(&name, length, &mut source, draft, &mut filling)?;
    }
    Err(bad("its last member is missing".into()))
}

/// Puts one member in its place.
fn take_member(
    name: &Path,
    length: u64,
    source: &mut dyn Read,
    draft: &Path,
    filling: &mut Option<(PathBuf, Ledger)>,
) -> Result<(), BackupError> {
    let bad = |why: String| BackupError::BadBackup { why: format!("{}: {why}", name.display()) };
    let path = draft.join(name);
    if let Ok(place) = name.strip_prefix("files") {
        return copy(source, &draft.join(place)).map_err(|error| BackupError::Io { path, error });
    }
    if name.starts_with(TRAIL) {
        return copy(source, &path).map_err(|error| BackupError::Io { path, error });
    }
    if let Ok(seq) = name.strip_prefix(checkpoint::FOLDER) {
        let seq = seq.to_string_lossy().parse().map_err(|_| bad("is no number".into()))?;
        if length > CHECKPOINT_BYTES_MAX {
            return Err(bad("is larger than any checkpoint of ours".into()));
        }
        let mut state = Vec::new();
        source.read_to_end(&mut state).map_err(|error| bad(error.to_string()))?;
        return checkpoint::write(draft, seq, &state).map_err(|error| BackupError::Io { path, error });
    }
    if let Some(month) = name.strip_prefix(JOURNAL).ok().and_then(Path::to_str).and_then(|name| name.strip_suffix(MARK)) {
        let mut bytes = Vec::new();
        // A mark is some dozens of bytes; what is longer is read no further and is none.
        source.take(MARK_BYTES_MAX).read_to_end(&mut bytes).map_err(|error| bad(error.to_string()))?;
        let dropped = Dropped::from_bytes(&bytes).filter(|dropped| dropped.month.to_string() == month);
        let dropped = dropped.ok_or_else(|| bad("is no mark of a month that was given back".into()))?;
        let marked = dir::make(&draft.join(JOURNAL)).and_then(|()| dropping::mark(draft, &dropped));
        return marked.map_err(|error| BackupError::Io { path, error });
    }
    let Some(folder) = path.parent().filter(|_| name.starts_with(JOURNAL) && length <= 2 * MEMBER_BYTES as u64) else {
        return Err(bad("is not ours".into()));
    };
    let mut bytes = Vec::new();
    source.read_to_end(&mut bytes).map_err(|error| bad(error.to_string()))?;
    if name.ends_with("begin") {
        finish(filling.take()).map_err(|error| bad(error.to_string()))?;
        let begin = Begin::from_bytes(&bytes).ok_or_else(|| bad("says no beginning".into()))?;
        let ledger = begin_ledger(folder, begin.start, &begin.link).map_err(|error| bad(error.to_string()))?;
        *filling = Some((folder.to_owned(), ledger));
        return Ok(());
    }
    let Some((_, ledger)) = filling.as_ref().filter(|(filled, _)| filled == folder) else {
        return Err(bad("stands before its beginning".into()));
    };
    let values = split_values(&bytes).ok_or_else(|| bad("is cut".into()))?;
    ledger.write(values, None).map_err(|error| bad(error.to_string()))
}

fn split_values(mut bytes: &[u8]) -> Option<Vec<(Key, Vec<u8>)>> {
    let mut values = Vec::new();
    while !bytes.is_empty() {
        let (key, rest) = bytes.split_first_chunk::<KEY_BYTES>()?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let length = u32::from_le_bytes(*length) as usize;
        let (value, rest) = rest.split_at_checked(length).filter(|_| length <= VALUE_BYTES_MAX)?;
        values.push((*key, value.to_vec()));
        bytes = rest;
    }
    Some(values)
}

fn finish(filling: Option<(PathBuf, Ledger)>) -> Result<(), LedgerError> {
    match filling {
        Some((_, ledger)) => ledger.sync(&ledger.disk()?),
        None => Ok(()),
    }
}

fn copy(source: &mut dyn Read, path: &Path) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        dir::make(folder)?;
    }
    let mut file = dir::private().create_new(true).write(true).open(path)?;
    io::copy(source, &mut file)?;
    file.sync_all()?;
    dir::sync_parent(path)
}
