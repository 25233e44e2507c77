//! Owns the looks into a stopped store: is it whole, how large is it, what stands in it.
//! Refuses to repair; opening the journal does that.
//! Invariant: `ok` means that every value decodes, no number is missing, the trail's chain holds and agrees with the journal (I12).

use std::{fs, io, path::Path};

use serde::Serialize;

use crate::fault::{Fault, Faults};

use super::{
    Month, Seq, checkpoint,
    dropping::{self, Mark},
    filed,
    home::{self, HomeError},
    inspect::{inspect, open_trail},
    ledger::{Ledger, LedgerError},
    lock::{DirLock, LockError},
    trail::{Ending, Link, TrailRead},
    trail_pages::{TrailHead, trail_head},
    values::{Found, Unpacker},
};

/// Why a stopped store could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Home(#[from] HomeError),
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
    /// Its space was given back: only the trail is left of it.
    pub given_back: bool,
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
    /// Where the chain of the audit ends: to be held against what was kept elsewhere.
    pub head: Option<TrailHead>,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct MonthStats {
    pub month: String,
    pub entries: u64,
    pub entry_bytes: u64,
    pub disk_bytes: u64,
    pub trail_frames: u64,
    pub trail_bytes: u64,
    /// Its space was given back: only the trail is left of it.
    pub given_back: bool,
    /// Whole checkpoints that reach to its end; two must, before it can be given back.
    pub covers: usize,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct Stats {
    pub last: u64,
    pub months: Vec<MonthStats>,
    pub checkpoint: Option<u64>,
    pub checkpoint_bytes: u64,
    pub filed_bytes: u64,
    /// Entries that a start would replay.
    pub entries_since_checkpoint: u64,
    pub disk_bytes: u64,
    /// Damaged parts that were moved aside and are kept.
    pub moved_aside: Vec<String>,
}

/// Takes the lock of a store that is there; a look must not make one.
pub(super) fn lock_existing(data: &Path) -> Result<DirLock, ReadError> {
    home::look(data)?;
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
    let mut given_back = 0;
    for month in months(data)? {
        let place = format!("trail/{month}.log");
        let trail = open_trail(&month.trail_path(data), &place, &mut faults).map_err(|error| ReadError::Io { place, error })?;
        let mark = read_mark(data, month)?;
        if !matches!(mark, Mark::None) {
            let (link, next) = verify_dropped(month, &mark, previous, trail.as_ref(), &mut report, &mut faults);
            given_back = next - 1;
            previous = Some((link, next));
            continue;
        }
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
    if given_back > 0 && !report.checkpoints.iter().any(|seq| *seq >= given_back) {
        faults.add(
            checkpoint::FOLDER,
            "not-covered",
            format!("no whole checkpoint holds the entries up to {given_back}, which were given back"),
        );
    }
    let filed_error = |error| ReadError::Io { place: filed::FOLDER.into(), error };
    report.filed = filed::verify(data, &mut faults).map_err(filed_error)?;
    report.head = trail_head(data).ok().flatten();
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
    let last = found.next - 1;
    report.months.push(MonthReport { month: month.to_string(), first, last, entries, entry_bytes, trail_frames, holes, given_back: false });
    Ok(found.next)
}

/// Checks a month that was given back: its trail must still be what its mark says. The link and the number that the next begins with.
fn verify_dropped(
    month: Month,
    mark: &Mark,
    previous: Option<(Option<Link>, u64)>,
    trail: Option<&TrailRead>,
    report: &mut VerifyReport,
    faults: &mut Faults,
) -> (Option<Link>, u64) {
    let (place, trail_place) = (format!("journal/{month}"), format!("trail/{month}.log"));
    let Mark::Whole(dropped) = mark else {
        faults.add(place, "bad-mark", "the mark of a month that was given back is damaged");
        let link = trail.map(TrailRead::link);
        return (link, trail.and_then(|trail| trail.frames.last()).map_or(1, |frame| frame.seq + 1));
    };
    match trail {
        Some(trail) if trail.ending == Ending::Whole && trail.link() == dropped.link => {}
        Some(_) => faults.add(trail_place.as_str(), "trail-changed", "the trail is not the one that its month was given back with"),
        None => faults.add(trail_place.as_str(), "trail-missing", "the trail of a month that was given back is not there"),
    }
    let before = trail.map(|trail| trail.header.before);
    if let Some((Some(link), next)) = previous {
        if before.is_some_and(|before| before != link.hash) {
            faults.add(trail_place.as_str(), "chain-broken", "the trail is not chained to that of the month before");
        }
        if next != dropped.start {
            faults.add(
                place.as_str(),
                "sequence-gap",
                format!("the month began with entry {}, the one before ends before {next}", dropped.start),
            );
        }
    }
    let trail_frames = trail.map_or(0, |trail| trail.frames.len() as u64);
    let (first, last) = (dropped.start, dropped.next - 1);
    let (entries, entry_bytes, holes) = (0, 0, 0);
    report.months.push(MonthReport { month: month.to_string(), first, last, entries, entry_bytes, trail_frames, holes, given_back: true });
    (Some(dropped.link), dropped.next)
}

fn read_mark(data: &Path, month: Month) -> Result<Mark, ReadError> {
    dropping::read_mark(data, month).map_err(|error| ReadError::Io { place: format!("journal/{month}{}", dropping::MARK), error })
}

/// How large a stopped store is, and in which parts.
pub fn stats(data: &Path) -> Result<Stats, ReadError> {
    let _lock = lock_existing(data)?;
    let mut stats = Stats::default();
    let checkpoints = checkpoint::list(data).map_err(|error| ReadError::Io { place: checkpoint::FOLDER.into(), error })?;
    for month in months(data)? {
        let place = format!("journal/{month}");
        let mut entry = MonthStats { month: month.to_string(), ..MonthStats::default() };
        match read_mark(data, month)? {
            Mark::None => scan_month(data, month, |seq, bytes| {
                entry.entries += 1;
                entry.entry_bytes += bytes.len() as u64;
                stats.last = seq.0;
                Ok(())
            })?,
            Mark::Whole(dropped) => (entry.given_back, stats.last) = (true, dropped.next - 1),
            Mark::Damaged => entry.given_back = true,
        }
        entry.covers = checkpoints.iter().filter(|seq| **seq >= stats.last).count();
        let io = |error| ReadError::Io { place: place.clone(), error };
        entry.disk_bytes = size_of(&month.journal_path(data)).map_err(io)?;
        entry.trail_bytes = fs::metadata(month.trail_path(data)).map_or(0, |metadata| metadata.len());
        entry.trail_frames =
            open_trail(&month.trail_path(data), &place, &mut Faults::default()).map_err(io)?.map_or(0, |trail| trail.frames.len() as u64);
        stats.months.push(entry);
    }
    let io = |error| ReadError::Io { place: data.display().to_string(), error };
    stats.checkpoint = checkpoints.first().copied();
    stats.filed_bytes = size_of(&data.join(filed::FOLDER)).map_err(io)?;
    stats.checkpoint_bytes = size_of(&data.join(checkpoint::FOLDER)).map_err(io)?;
    stats.entries_since_checkpoint = stats.last.saturating_sub(stats.checkpoint.unwrap_or(0));
    stats.disk_bytes = size_of(data).map_err(io)?;
    stats.moved_aside = moved_aside(data).map_err(io)?;
    Ok(stats)
}

/// Where reading a whole store begins.
pub enum Beginning {
    /// With the first entry.
    First,
    /// With a checkpoint, because months before its number were given back.
    Checkpoint(Seq, Vec<u8>),
    /// In the middle: months up to this number were given back, and no whole checkpoint holds them.
    Late(Seq),
}

/// Hands over a whole stopped store: where it begins, then every entry after that, in order; ends at the first damage or refusal.
pub fn read_all(
    data: &Path,
    begin: impl FnOnce(Beginning) -> Result<(), String>,
    mut sink: impl FnMut(Seq, &[u8]) -> Result<(), String>,
) -> Result<(), ReadError> {
    let _lock = lock_existing(data)?;
    let (mut kept, mut given_back) = (Vec::new(), 0);
    for month in months(data)? {
        match read_mark(data, month)? {
            Mark::None => kept.push(month),
            Mark::Whole(dropped) => given_back = dropped.next - 1,
            Mark::Damaged => return Err(ReadError::Damaged { place: format!("journal/{month}"), why: "its mark is damaged".into() }),
        }
    }
    let beginning = beginning(data, Seq(given_back))?;
    let after = match &beginning {
        Beginning::First => 0,
        Beginning::Checkpoint(seq, _) | Beginning::Late(seq) => seq.0,
    };
    begin(beginning).map_err(|why| ReadError::Refused { seq: Seq(after), why })?;
    for month in kept {
        scan_month(data, month, |seq, bytes| if seq.0 > after { sink(seq, bytes) } else { Ok(()) })?;
    }
    Ok(())
}

/// The oldest checkpoint that holds what was given back: the more entries are read after it, the more is looked at.
fn beginning(data: &Path, given_back: Seq) -> Result<Beginning, ReadError> {
    if given_back == Seq(0) {
        return Ok(Beginning::First);
    }
    let listed = checkpoint::list(data).map_err(|error| ReadError::Io { place: checkpoint::FOLDER.into(), error })?;
    let whole = listed.into_iter().rev().filter(|seq| *seq >= given_back.0).find_map(|seq| Some((seq, checkpoint::read(data, seq).ok()?)));
    Ok(whole.map_or(Beginning::Late(given_back), |(seq, state)| Beginning::Checkpoint(Seq(seq), state)))
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
