//! Owns the way from a data directory, in whatever state, to a journal that can be written: lock, checkpoint, check, repair, replay.
//! Refuses to write entries; that is the committer's.
//! Invariant: the fold sees every entry that was acknowledged, or an alarm says which numbers are lost; never silently.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::{
    fault::Faults,
    time::{SharedClock, Timestamp},
};

use super::{
    Fold, FoldError, Month, Seq, checkpoint, doubt,
    dropping::{self, Dropped, Mark},
    inspect::open_trail,
    ledger::{Disk, Ledger, LedgerError},
    lock::{DirLock, LockError},
    mend,
    sound::{Previous, Sound, ledger_error, words},
    space::Space,
    trail::{Ending, Header, Link, Trail, TrailRead},
    values::{Found, Unpacker},
};

/// What opening found and did.
#[derive(Clone, Debug, Default)]
pub struct Opened {
    /// Entries folded after the checkpoint.
    pub replayed: u64,
    pub from_checkpoint: Option<Seq>,
    /// The last number given out; zero in an empty store.
    pub end: Seq,
    /// Harmless traces of a crash.
    pub notes: Vec<String>,
    /// Damage, and what was done about it: someone must be told.
    pub alarms: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error("cannot use the store in {}: {error}", path.display())]
    Io { path: PathBuf, error: io::Error },
    #[error("entry {seq} cannot be folded: {error}")]
    Fold { seq: Seq, error: FoldError },
    #[error("{} is damaged and could not be rebuilt: {why}", path.display())]
    Unrepairable { path: PathBuf, why: String },
}

/// Everything that the committer goes on with.
pub(super) struct Recovered {
    pub(super) lock: DirLock,
    pub(super) month: Month,
    pub(super) ledger: Ledger,
    pub(super) disk: Disk,
    pub(super) trail: Trail,
    pub(super) next: u64,
    pub(super) bytes_since_checkpoint: u64,
}

/// sled writes a segment and a snapshot when it is opened, and what it cannot write then may look like damage. Mending a month that is
/// damaged takes more, as much as the month has.
const OPENING_BYTES: u64 = 8 << 20;

/// Before anything is touched: on a full disk nothing is opened, so that nothing is taken for damaged.
pub(super) fn look_for_room(data: &Path, space: &Space) -> Result<(), OpenError> {
    match space.free() {
        Some(free) if free < OPENING_BYTES => {
            let why = format!("the disk is full: {} MB are free and {} MB must be to open it", free >> 20, OPENING_BYTES >> 20);
            Err(OpenError::Io { path: data.to_owned(), error: io::Error::new(io::ErrorKind::StorageFull, why) })
        }
        _ => Ok(()),
    }
}

pub(super) fn open<F: Fold>(data: &Path, clock: &SharedClock, fold: &mut F) -> Result<(Recovered, Opened), OpenError> {
    let lock = DirLock::take(data)?;
    let io = |error| OpenError::Io { path: data.to_owned(), error };
    probe(data).map_err(io)?;
    let written_again = doubt::settle(data).map_err(io)?;
    mend::finish_interrupted(data).map_err(io)?;
    let mut opening = Opening { data, now: clock.now(), opened: Opened::default(), bytes: 0 };
    if let Some(bytes) = written_again {
        opening.opened.notes.push(format!("the disk had failed: {bytes} bytes that may have stood in memory alone were written again"));
    }
    let known = opening.restore_checkpoint(fold).map_err(io)?;
    let months = Month::all(data).map_err(io)?;
    if months.is_empty() && known > 0 {
        opening.opened.alarms.push(format!("the journal is missing; the state goes on from the checkpoint at entry {known}"));
    }
    opening.begin_late(&months, known, fold)?;
    let (mut previous, mut last) = (None, None);
    for (index, month) in months.iter().copied().enumerate() {
        let after = months.get(index + 1).map(|after| opening.header_of(*after)).transpose()?.flatten();
        if let Some(dropped) = opening.pass_dropped(month, previous, after)? {
            previous = Some(dropped);
            continue;
        }
        if let Some(skipped) = opening.skip(month, previous, after, known)? {
            previous = Some(skipped);
            continue;
        }
        let at_least = after.map_or(0, |after| after.start - 1).max(if index + 1 == months.len() { known } else { 0 });
        let sound = opening.make_sound(month, previous, at_least)?;
        opening.replay(&sound.ledger, month, known, fold)?;
        previous = Some(Previous { link: sound.trail.link(), next: sound.next });
        last = Some((month, sound));
    }
    let (month, sound) = match last {
        Some(last) => last,
        None => {
            let begin = previous.unwrap_or(Previous { link: Link::NONE, next: known + 1 });
            // Never in one that was given back, whatever the clock says.
            let month = Month::of(opening.now).max(months.last().map_or(Month::of(opening.now), |last| last.next()));
            (month, opening.make_sound(month, Some(Previous { next: begin.next.max(known + 1), ..begin }), 0)?)
        }
    };
    let disk = sound.ledger.disk().map_err(io)?;
    opening.opened.end = Seq(sound.next - 1);
    let Sound { ledger, trail, next } = sound;
    Ok((Recovered { lock, month, ledger, disk, trail, next, bytes_since_checkpoint: opening.bytes }, opening.opened))
}

/// A directory that cannot be written is told as such, and never taken for a damaged store.
fn probe(data: &Path) -> io::Result<()> {
    use std::io::Write;
    let mut file = tempfile::tempfile_in(data)?;
    file.write_all(&[0; 4096])?;
    file.sync_all()
}

/// The work of one opening.
pub(super) struct Opening<'a> {
    pub(super) data: &'a Path,
    pub(super) now: Timestamp,
    pub(super) opened: Opened,
    bytes: u64,
}

impl Opening<'_> {
    /// Restores the newest checkpoint that is whole and that the fold takes; the number of its last entry.
    fn restore_checkpoint<F: Fold>(&mut self, fold: &mut F) -> io::Result<u64> {
        for seq in checkpoint::list(self.data)? {
            let restored = match checkpoint::read(self.data, seq) {
                Err(error) if error.kind() == io::ErrorKind::Unsupported => return Err(error),
                read => read.map_err(|error| error.to_string()),
            };
            let Err(why) = restored.and_then(|state| fold.restore(&state).map_err(|error| error.to_string())) else {
                self.opened.from_checkpoint = Some(Seq(seq));
                return Ok(seq);
            };
            // Left in its place it would be an alarm at every start, and no check would find the store sound again.
            let place = match mend::checkpoint(self.data, seq, self.now) {
                Ok(()) => "moved aside".to_owned(),
                Err(error) => format!("could not be moved aside ({error})"),
            };
            self.opened.alarms.push(format!("checkpoint at entry {seq} was passed over and {place}: {why}"));
        }
        Ok(0)
    }

    fn header_of(&self, month: Month) -> Result<Option<Header>, OpenError> {
        Ok(self.read_trail(month, &mut Faults::default())?.map(|trail| trail.header))
    }

    pub(super) fn read_trail(&self, month: Month, faults: &mut Faults) -> Result<Option<TrailRead>, OpenError> {
        let path = month.trail_path(self.data);
        open_trail(&path, &format!("trail/{month}.log"), faults).map_err(|error| OpenError::Io { path, error })
    }

    /// Where months were given back and no checkpoint can be read that holds them, the fold begins with what stands elsewhere.
    fn begin_late<F: Fold>(&mut self, months: &[Month], known: u64, fold: &mut F) -> Result<(), OpenError> {
        let io = |error| OpenError::Io { path: self.data.to_owned(), error };
        let mut given_back = 0;
        for (place, &month) in months.iter().enumerate() {
            given_back = match dropping::read_mark(self.data, month).map_err(io)? {
                Mark::None => continue,
                Mark::Whole(dropped) => dropped.next - 1,
                Mark::Damaged => {
                    months.get(place + 1).map(|after| self.header_of(*after)).transpose()?.flatten().map_or(0, |after| after.start - 1)
                }
            };
        }
        if given_back <= known {
            return Ok(());
        }
        let begun = fold.begin_late(Seq(given_back));
        let why = begun.map_err(|error| OpenError::Unrepairable { path: self.data.to_owned(), why: error.to_string() })?;
        self.opened.alarms.push(format!("no checkpoint holds the entries up to {given_back}, whose months were given back: {why}"));
        Ok(())
    }

    /// A month that was given back: its journal is rightly gone, its trail is held against its mark. It is never made again from the trail,
    /// which has not all of it.
    fn pass_dropped(&mut self, month: Month, previous: Option<Previous>, after: Option<Header>) -> Result<Option<Previous>, OpenError> {
        let path = dropping::mark_path(self.data, month);
        let io = |error| OpenError::Io { path: path.clone(), error };
        let mark = dropping::read_mark(self.data, month).map_err(io)?;
        if matches!(mark, Mark::None) {
            return Ok(None);
        }
        dropping::remove(self.data, month).map_err(io)?;
        let trail = self.read_trail(month, &mut Faults::default())?;
        let dropped = match (mark, &trail, after) {
            (Mark::Whole(dropped), ..) => dropped,
            (_, Some(trail), Some(after)) => {
                let dropped = Dropped { month, start: trail.header.start, next: after.start, link: trail.link(), at: self.now };
                dropping::mark_again(self.data, &dropped, self.now).map_err(io)?;
                self.opened
                    .alarms
                    .push(format!("the mark of {month}, which was given back, was damaged; it was made again from the trail"));
                dropped
            }
            _ => {
                return Err(OpenError::Unrepairable {
                    path,
                    why: "the mark of a month that was given back and its trail are damaged".into(),
                });
            }
        };
        let is_whole = trail.is_some_and(|trail| trail.ending == Ending::Whole && trail.link() == dropped.link);
        if !is_whole {
            self.opened
                .alarms
                .push(format!("trail/{month}.log is damaged, cut or changed; its month was given back, so only a backup has it again"));
        }
        if previous.is_some_and(|previous| previous.next != dropped.start) {
            self.opened.alarms.push(format!("journal/{month}, which was given back, does not follow the month before"));
        }
        Ok(Some(Previous { link: dropped.link, next: dropped.next }))
    }

    /// A closed month whose entries are all in the checkpoint is not opened, if its trail is in order.
    fn skip(&self, month: Month, previous: Option<Previous>, after: Option<Header>, known: u64) -> Result<Option<Previous>, OpenError> {
        let Some(after) = after.filter(|after| after.start <= known + 1) else { return Ok(None) };
        let Some(trail) = self.read_trail(month, &mut Faults::default())? else { return Ok(None) };
        let chained = previous.is_none_or(|previous| previous.link.hash == trail.header.before && previous.next == trail.header.start);
        let whole = trail.ending == Ending::Whole && trail.link().hash == after.before;
        let kept = month.journal_path(self.data).is_dir();
        Ok((chained && whole && kept).then_some(Previous { link: trail.link(), next: after.start }))
    }

    fn replay<F: Fold>(&mut self, ledger: &Ledger, month: Month, known: u64, fold: &mut F) -> Result<(), OpenError> {
        let path = month.journal_path(self.data);
        let mut unpacker = Unpacker::new(format!("journal/{month}"), None);
        let (mut replayed, mut bytes_read) = (0, 0);
        let scanned = ledger.scan::<ReplayError>(known + 1, |key, value| {
            unpacker.feed(key, value, &mut |found| match found {
                Found::Entry { seq, bytes, .. } if seq > known => {
                    replayed += 1;
                    bytes_read += bytes.len() as u64;
                    fold.apply(Seq(seq), bytes).map_err(|error| ReplayError::Fold { seq: Seq(seq), error })
                }
                _ => Ok(()),
            })
        });
        self.opened.replayed += replayed;
        self.bytes += bytes_read;
        match scanned {
            Ok(()) if unpacker.faults.is_empty() => Ok(()),
            Ok(()) => Err(OpenError::Unrepairable { path, why: words(unpacker.faults) }),
            Err(ReplayError::Ledger(error)) => Err(ledger_error(&path, error)),
            Err(ReplayError::Fold { seq, error }) => Err(OpenError::Fold { seq, error }),
        }
    }
}

enum ReplayError {
    Ledger(LedgerError),
    Fold { seq: Seq, error: FoldError },
}

impl From<LedgerError> for ReplayError {
    fn from(error: LedgerError) -> Self {
        Self::Ledger(error)
    }
}
