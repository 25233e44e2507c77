//! Owns the looks into a stopped store: is it whole, how large is it, what stands in it.
//! Refuses to repair; opening the journal does that.
//! Invariant: `ok` means that every value decodes, no number is missing, the trail's chain holds and agrees with the journal (I12).

use std::{fs, io, path::Path};

use serde::Serialize;

use crate::fault::{Fault, Faults};

use super::{
    Month, Seq, checkpoint, filed,
    inspect::{inspect, open_trail},
    ledger::{Ledger, LedgerError},
    lock::{DirLock, LockError},
    trail::{Ending, Link, TrailRead},
    values::{Found, Unpacker},
};

/// Why a stopped store could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error("there is no store in {dir}")]
    NoStore { dir: String },
    #[error("{place}: {error}")]
    Io { place: String, error: io::Error },
    #[error("{place} is damaged: {why}")]
    Damaged { place: String, why: String },
    /// The caller's own error, from what it was handed.
    #[error("entry {seq}: {why}")]
    Refused { seq: Seq, why: String },
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct MonthReport {
    pub month: String,
    pub first: u64,
    pub last: u64,
    pub entries: u64,
    pub entry_bytes: u64,
    pub trail_frames: u64,
    /// Numbers without an entry: lost in damage that was repaired, or never acknowledged.
    pub holes: u64,
}

/// What is filed.
#[derive(Clone, Debug, Default, Serialize)]
pub struct FiledReport {
    pub pieces: u64,
    /// What they hold, before it was packed.
    pub bytes: u64,
    pub disk_bytes: u64,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct VerifyReport {
    pub ok: bool,
    pub last: u64,
    pub months: Vec<MonthReport>,
    /// Numbers of the checkpoints that are whole, newest first.
    pub checkpoints: Vec<u64>,
    pub filed: FiledReport,
    pub faults: Vec<Fault>,
    /// Harmless traces of a crash; the next opening takes them away.
    pub notes: Vec<String>,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct MonthStats {
    pub month: String,
    pub entries: u64,
    pub entry_bytes: u64,
    pub disk_bytes: u64,
    pub trail_frames: u64,
    pub trail_bytes: u64,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct Stats {
    pub last: u64,
    pub months: Vec<MonthStats>,
    pub checkpoint: Option<u64>,
    pub checkpoint_bytes: u64,
    /// Entries that a start would replay.
    pub entries_since_checkpoint: u64,
    pub disk_bytes: u64,
    /// Damaged parts that were moved aside and are kept.
    pub moved_aside: Vec<String>,
}

/// Takes the lock of a store that is there; a look must not make one.
pub(super) fn lock_existing(data: &Path) -> Result<DirLock, ReadError> {
    let kept = [super::month::JOURNAL, super::month::TRAIL, checkpoint::FOLDER].iter().any(|folder| data.join(folder).is_dir());
    if !kept {
        return Err(ReadError::NoStore { dir: data.display().to_string() });
    }
    Ok(DirLock::take(data)?)
}

/// Checks everything in a stopped store.
pub fn verify(data: &Path) -> Result<VerifyReport, ReadError> {
    let _lock = lock_existing(data)?;
    verify_unlocked(data)
}

pub(super) fn verify_unlocked(data: &Path) -> Result<VerifyReport, ReadError> {
    let mut report = VerifyReport::default();
    let mut faults = Faults::default();
    let mut previous: Option<(Option<Link>, u64)> = None;
    for month in months(data)? {
        let place = format!("trail/{month}.log");
        let trail = open_trail(&month.trail_path(data), &place, &mut faults).map_err(|error| ReadError::Io { place, error })?;
        let next = verify_month(data, month, previous, trail.as_ref(), &mut report, &mut faults)?;
        previous = Some((trail.as_ref().map(TrailRead::link), next));
    }
    report.last = previous.map_or(0, |(_, next)| next - 1);
    for seq in checkpoint::list(data).map_err(|error| ReadError::Io { place: checkpoint::FOLDER.into(), error })? {
        let place = format!("{}/{seq}", checkpoint::FOLDER);
        match checkpoint::read(data, seq) {
            Ok(_) if seq > report.last => faults.add(place, "tail-lost", format!("the journal ends with entry {}", report.last)),
            Ok(_) => report.checkpoints.push(seq),
            Err(error) => faults.add(place, "bad-checkpoint", error.to_string()),
        }
    }
    let filed_error = |error| ReadError::Io { place: filed::FOLDER.into(), error };
    report.filed = filed::verify(data, &mut faults).map_err(filed_error)?;
    report.ok = faults.is_empty();
    report.faults = faults.into_list();
    Ok(report)
}

/// Checks a month into the report; the number after its last entry.
fn verify_month(
    data: &Path,
    month: Month,
    previous: Option<(Option<Link>, u64)>,
    trail: Option<&TrailRead>,
    report: &mut VerifyReport,
    faults: &mut Faults,
) -> Result<u64, ReadError> {
    let place = format!("journal/{month}");
    let fallback = trail.map(|trail| trail.header.start).or(previous.map(|(_, next)| next)).unwrap_or(1);
    let looked = open_existing(&month.journal_path(data)).and_then(|ledger| {
        let start = ledger.start()?;
        let before = previous.and_then(|(link, _)| link);
        let found = inspect(month, start.unwrap_or(fallback), before, &ledger, trail)?;
        Ok((start, found))
    });
    let (start, found) = match looked {
        Ok(looked) => looked,
        Err(LedgerError::Io(error)) => return Err(ReadError::Io { place, error }),
        Err(LedgerError::Damaged(why)) => {
            faults.add(place, "unreadable", why);
            return Ok(fallback);
        }
    };
    if start.is_none() {
        faults.add(place.as_str(), "no-beginning", "the database does not say where it begins");
    }
    let first = start.unwrap_or(fallback);
    if let Some((_, next)) = previous.filter(|(_, next)| *next != first) {
        faults.add(
            place.as_str(),
            "sequence-gap",
            format!("the month begins with entry {first}, the one before ends so that it should be {next}"),
        );
    }
    faults.extend(found.journal.into_list());
    faults.extend(found.trail.into_list());
    if let Some((seq, _)) = found.torn {
        report.notes.push(format!("{place}: entry {seq} was cut off by a crash before it was acknowledged"));
    }
    if !found.beyond.is_empty() {
        report.notes.push(format!("{place}: {} entries of an interrupted commit are in the trail alone", found.beyond.len()));
    }
    if let Some(Ending::Torn { bytes }) = trail.map(|trail| &trail.ending) {
        report.notes.push(format!("trail/{month}.log: {bytes} bytes at its end are no whole frame"));
    }
    let trail_frames = trail.map_or(0, |trail| trail.frames.len() as u64);
    let (entries, entry_bytes, holes) = (found.entries, found.entry_bytes, found.holes);
    report.months.push(MonthReport { month: month.to_string(), first, last: found.next - 1, entries, entry_bytes, trail_frames, holes });
    Ok(found.next)
}

/// How large a stopped store is, and in which parts.
pub fn stats(data: &Path) -> Result<Stats, ReadError> {
    let _lock = lock_existing(data)?;
    let mut stats = Stats::default();
    for month in months(data)? {
        let place = format!("journal/{month}");
        let mut entry = MonthStats { month: month.to_string(), ..MonthStats::default() };
        scan_month(data, month, |seq, bytes| {
            entry.entries += 1;
            entry.entry_bytes += bytes.len() as u64;
            stats.last = seq.0;
            Ok(())
        })?;
        let io = |error| ReadError::Io { place: place.clone(), error };
        entry.disk_bytes = size_of(&month.journal_path(data)).map_err(io)?;
        entry.trail_bytes = fs::metadata(month.trail_path(data)).map_or(0, |metadata| metadata.len());
        entry.trail_frames =
            open_trail(&month.trail_path(data), &place, &mut Faults::default()).map_err(io)?.map_or(0, |trail| trail.frames.len() as u64);
        stats.months.push(entry);
    }
    let io = |error| ReadError::Io { place: data.display().to_string(), error };
    stats.checkpoint = checkpoint::list(data).map_err(io)?.first().copied();
    stats.checkpoint_bytes = size_of(&data.join(checkpoint::FOLDER)).map_err(io)?;
    stats.entries_since_checkpoint = stats.last.saturating_sub(stats.checkpoint.unwrap_or(0));
    stats.disk_bytes = size_of(data).map_err(io)?;
    stats.moved_aside = moved_aside(data).map_err(io)?;
    Ok(stats)
}

/// Hands over every entry of a stopped store, in order; ends at the first damage or refusal.
pub fn read_all(data: &Path, mut sink: impl FnMut(Seq, &[u8]) -> Result<(), String>) -> Result<(), ReadError> {
    let _lock = lock_existing(data)?;
    for month in months(data)? {
        scan_month(data, month, &mut sink)?;
    }
    Ok(())
}

fn scan_month(data: &Path, month: Month, mut sink: impl FnMut(Seq, &[u8]) -> Result<(), String>) -> Result<(), ReadError> {
    let place = format!("journal/{month}");
    let ledger = open_existing(&month.journal_path(data)).map_err(|error| scan_error(&place, ScanError::Ledger(error)))?;
    let start = ledger.start().map_err(|error| scan_error(&place, ScanError::Ledger(error)))?;
    let mut unpacker = Unpacker::new(place.as_str(), start);
    let scanned = ledger.scan::<ScanError>(0, |key, value| {
        let fed = unpacker.feed(key, value, &mut |found| match found {
            Found::Entry { seq, bytes, .. } => sink(Seq(seq), bytes).map_err(|why| ScanError::Refused(Seq(seq), why)),
            Found::Hole { .. } => Ok(()),
        });
        fed.and_then(|()| if unpacker.faults.is_empty() { Ok(()) } else { Err(ScanError::Fault) })
    });
    match scanned {
        Ok(()) => Ok(()),
        Err(ScanError::Fault) => {
            Err(ReadError::Damaged { why: unpacker.faults.into_list().first().map(ToString::to_string).unwrap_or_default(), place })
        }
        Err(error) => Err(scan_error(&place, error)),
    }
}

enum ScanError {
    Ledger(LedgerError),
    Refused(Seq, String),
    Fault,
}

impl From<LedgerError> for ScanError {
    fn from(error: LedgerError) -> Self {
        Self::Ledger(error)
    }
}

fn scan_error(place: &str, error: ScanError) -> ReadError {
    let place = place.to_owned();
    match error {
        ScanError::Ledger(LedgerError::Io(error)) => ReadError::Io { place, error },
        ScanError::Ledger(LedgerError::Damaged(why)) => ReadError::Damaged { place, why },
        ScanError::Refused(seq, why) => ReadError::Refused { seq, why },
        ScanError::Fault => ReadError::Damaged { place, why: "a value is damaged".into() },
    }
}

/// A look must not make the database that it looks for.
fn open_existing(path: &Path) -> Result<Ledger, LedgerError> {
    if path.join("db").is_file() { Ledger::open(path) } else { Err(LedgerError::Damaged("the database is missing".into())) }
}

fn months(data: &Path) -> Result<Vec<Month>, ReadError> {
    Month::all(data).map_err(|error| ReadError::Io { place: data.display().to_string(), error })
}

fn moved_aside(data: &Path) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    for folder in [super::month::JOURNAL, super::month::TRAIL, checkpoint::FOLDER] {
        for item in fs::read_dir(data.join(folder)).into_iter().flatten() {
            let name = item?.file_name().to_string_lossy().into_owned();
            if name.contains(".damaged-") {
                found.push(format!("{folder}/{name}"));
            }
        }
    }
    found.sort();
    Ok(found)
}

fn size_of(path: &Path) -> io::Result<u64> {
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        other => other?,
    };
    if !metadata.is_dir() {
        return Ok(metadata.len());
    }
    let mut total = 0;
    for item in fs::read_dir(path)? {
        total += size_of(&item?.path())?;
    }
    Ok(total)
}
