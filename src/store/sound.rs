//! Owns the repair decisions for one month at opening: begin it, take it as it is, tidy what a crash left, or rebuild what is damaged.
//! Refuses to judge (`inspect`) and to write the new files (`mend`); it decides between them and says what was done.
//! Invariant: a month leaves here only when journal and trail agree; whatever was not there or not whole is in a note or an alarm.

use std::path::Path;

use crate::fault::Faults;

use super::{
    Month, OpenError, dir,
    inspect::inspect,
    ledger::{Ledger, LedgerError},
    mend::{self, MendError},
    opening::Opening,
    trail::{FrameAt, Header, Link, Trail, TrailRead},
    values::Packer,
};

/// A month that can be trusted.
pub(super) struct Sound {
    pub(super) ledger: Ledger,
    pub(super) trail: Trail,
    pub(super) next: u64,
}

/// What the month before ended with.
#[derive(Clone, Copy)]
pub(super) struct Previous {
    pub(super) link: Link,
    pub(super) next: u64,
}

/// A month that has something wrong, with all that is known of it.
struct Patient {
    header: Header,
    ledger: Option<Ledger>,
    trail: Option<TrailRead>,
    at_least: u64,
    damage: Option<String>,
    trail_faults: Faults,
    beyond: Vec<FrameAt>,
    next: u64,
}

/// Why a month's database cannot even be looked through.
#[derive(Debug, thiserror::Error)]
enum LedgerDamage {
    #[error("the database is missing")]
    Missing,
    #[error("the database is empty")]
    Blank,
    #[error("{0}")]
    Other(String),
}

impl Opening<'_> {
    /// Opens a month, holds journal against trail, and repairs what differs.
    pub(super) fn make_sound(&mut self, month: Month, previous: Option<Previous>, at_least: u64) -> Result<Sound, OpenError> {
        let path = month.journal_path(self.data);
        let mut trail_faults = Faults::default();
        let trail = self.read_trail(month, &mut trail_faults)?;
        let mut found = open_ledger(&path)?;
        if found.ledger.is_none() && matches!(found.damage, Some(LedgerDamage::Other(_))) {
            self.leave_shortcuts(month, &mut found)?;
        }
        let FoundLedger { ledger, start: begun, damage } = found;
        let framed = trail.as_ref().map(|trail| trail.header);
        let start = begun.or(framed.map(|header| header.start)).or(previous.map(|previous| previous.next)).unwrap_or(1);
        let before = framed.map(|header| header.before).or(previous.map(|previous| previous.link.hash)).unwrap_or(Link::NONE.hash);
        let header = Header { month, start, before };
        let nothing_kept = trail.as_ref().is_none_or(|trail| trail.frames.is_empty()) && trail_faults.is_empty() && at_least < start;
        if nothing_kept && matches!(damage, Some(LedgerDamage::Missing | LedgerDamage::Blank)) {
            drop(ledger);
            return self.begin(header, trail.as_ref());
        }
        self.tell_of_a_broken_chain(&header, previous);
        let mut patient = Patient {
            header,
            ledger,
            trail,
            at_least,
            damage: damage.map(|damage| damage.to_string()),
            trail_faults,
            beyond: Vec::new(),
            next: start,
        };
        let Some(ledger) = patient.ledger.as_ref().filter(|_| patient.damage.is_none()) else { return self.mend(patient) };
        let mut found = match inspect(month, start, None, ledger, patient.trail.as_ref()) {
            Ok(found) => found,
            Err(LedgerError::Io(error)) => return Err(OpenError::Io { path, error }),
            Err(LedgerError::Damaged(why)) => return self.mend(Patient { damage: Some(why), ..patient }),
        };
        if at_least >= found.next {
            let why = format!("it ends before entry {}, entries up to {at_least} had been given out", found.next);
            found.journal.add(format!("journal/{month}"), "tail-lost", why);
        }
        patient.trail_faults.extend(found.trail.into_list());
        patient.damage = (!found.journal.is_empty()).then(|| words(found.journal));
        (patient.beyond, patient.next) = (found.beyond, found.next);
        match (&patient.ledger, &patient.trail) {
            (Some(ledger), Some(trail)) if patient.damage.is_none() && patient.trail_faults.is_empty() => {
                self.clean_tail(month, ledger, trail, found.torn, &patient.beyond, found.next).map_err(|error| ledger_error(&path, error))
            }
            _ => self.mend(patient),
        }
    }

    /// A database that does not open may have a whole log: what stands beside it can be made again from it, so it is tried without.
    fn leave_shortcuts(&mut self, month: Month, found: &mut FoundLedger) -> Result<(), OpenError> {
        let path = month.journal_path(self.data);
        let Some(log) = mend::without_shortcuts(&path, self.now).map_err(|error| OpenError::Io { path: path.clone(), error })? else {
            return Ok(());
        };
        let again = open_ledger(&path)?;
        if again.ledger.is_some() {
            let why = found.damage.as_ref().map(ToString::to_string).unwrap_or_default();
            let aside = log.file_name().unwrap_or_default().to_string_lossy().into_owned();
            self.opened
                .alarms
                .push(format!("journal/{month} did not open ({why}); it was opened from its log alone, the rest is in {aside}"));
            *found = again;
        }
        Ok(())
    }

    /// Rewriting cannot make a broken chain whole, so it is only told.
    fn tell_of_a_broken_chain(&mut self, header: &Header, previous: Option<Previous>) {
        let Some(previous) = previous else { return };
        if previous.link.hash != header.before {
            self.opened
                .alarms
                .push(format!("trail/{}.log is not chained to the end of the month before: one of them was changed", header.month));
        }
        if previous.next != header.start {
            let (start, next) = (header.start, previous.next);
            self.opened
                .alarms
                .push(format!("journal/{} begins with entry {start}, the month before ended so that it should be {next}", header.month));
        }
    }

    /// The first opening of a month, or one that a crash interrupted.
    fn begin(&self, header: Header, trail: Option<&TrailRead>) -> Result<Sound, OpenError> {
        let (path, trail_path) = (header.month.journal_path(self.data), header.month.trail_path(self.data));
        let io = |error| OpenError::Io { path: path.clone(), error };
        let trail = match trail {
            Some(read) => Trail::resume(&trail_path, read).map_err(io)?,
            None => {
                // Shorter than its header: nothing was ever in it.
                if trail_path.exists() {
                    std::fs::remove_file(&trail_path).map_err(io)?;
                }
                Trail::create(&trail_path, header).map_err(io)?
            }
        };
        let ledger = begin_ledger(&path, header.start, &trail.link()).map_err(|error| ledger_error(&path, error))?;
        Ok(Sound { ledger, trail, next: header.start })
    }

    /// Takes away what a crash left half written, and takes into the journal what only the trail has.
    fn clean_tail(
        &mut self,
        month: Month,
        ledger: &Ledger,
        read: &TrailRead,
        torn: Option<(u64, u16)>,
        beyond: &[FrameAt],
        next: u64,
    ) -> Result<Sound, LedgerError> {
        if let Some((seq, parts)) = torn {
            ledger.remove_parts(seq, parts)?;
            self.opened.notes.push(format!("entry {seq} was cut off by a crash before it was acknowledged; it was dropped"));
        }
        let cut = std::fs::metadata(month.trail_path(self.data))?.len() - read.end;
        if cut > 0 {
            self.opened.notes.push(format!("{cut} bytes of a frame that a crash cut off were dropped from trail/{month}.log"));
        }
        if !beyond.is_empty() {
            self.opened.notes.push(format!("{} entries of an interrupted commit were taken from trail/{month}.log", beyond.len()));
        }
        let trail = Trail::resume(&month.trail_path(self.data), read)?;
        let next = adopt(ledger, read, beyond, next)?;
        Ok(Sound { ledger: ledger.clone(), trail, next })
    }

    /// Rebuilds what is damaged, says so, and looks again.
    fn mend(&mut self, patient: Patient) -> Result<Sound, OpenError> {
        let Patient { header, mut ledger, trail, at_least, damage, mut trail_faults, mut beyond, mut next } = patient;
        let month = header.month;
        let path = month.journal_path(self.data);
        let broken = |error| ledger_error(&path, error);
        let head = ledger.as_ref().and_then(|ledger| ledger.head().ok().flatten());
        if let Some(why) = damage {
            let plan = mend::Journal { path: &path, header, damaged: ledger.take(), trail: trail.as_ref(), at_least, now: self.now };
            self.mend_journal(plan, &why)?;
        }
        let ledger = match ledger {
            Some(ledger) => ledger,
            None => {
                // Rebuilt; only now can the trail be held against all that was saved.
                let ledger = Ledger::open(&path).map_err(broken)?;
                let found = inspect(month, header.start, None, &ledger, trail.as_ref()).map_err(broken)?;
                trail_faults.extend(found.trail.into_list());
                (beyond, next) = (found.beyond, found.next);
                ledger
            }
        };
        if let Some(read) = &trail {
            adopt(&ledger, read, &beyond, next).map_err(broken)?;
        }
        if trail.is_none() || !trail_faults.is_empty() {
            drop(trail);
            self.mend_trail(header, &ledger, head, &words(trail_faults))?;
        }
        let mut faults = Faults::default();
        let trail = self.read_trail(month, &mut faults)?;
        let found = inspect(month, header.start, None, &ledger, trail.as_ref()).map_err(broken)?;
        faults.extend(found.journal.into_list());
        faults.extend(found.trail.into_list());
        match trail {
            Some(trail) if faults.is_empty() => {
                self.clean_tail(month, &ledger, &trail, found.torn, &found.beyond, found.next).map_err(broken)
            }
            _ => Err(OpenError::Unrepairable { path, why: words(faults) }),
        }
    }

    fn mend_journal(&mut self, plan: mend::Journal<'_>, why: &str) -> Result<(), OpenError> {
        let (path, month) = (plan.path, plan.header.month);
        let mend::Saved { from_journal, from_trail, lost } = mend::journal(plan).map_err(|error| mend_error(path, error))?;
        self.opened.alarms.push(format!(
            "journal/{month} was damaged ({why}); what was there was moved aside and the journal rebuilt: {from_journal} entries from what of it \
             was whole, {from_trail} from the trail, {lost} numbers are without an entry"
        ));
        Ok(())
    }

    fn mend_trail(&mut self, header: Header, ledger: &Ledger, head: Option<Link>, why: &str) -> Result<(), OpenError> {
        let path = header.month.trail_path(self.data);
        let trail = mend::trail(&path, header, ledger, self.now).map_err(|error| mend_error(&path, error))?;
        let proof = if head == Some(trail.link()) {
            "its chain ends in the hash that the journal holds"
        } else {
            "the journal holds no hash that proves it"
        };
        self.opened.alarms.push(format!(
            "trail/{}.log was damaged, cut or changed ({why}); what was there was moved aside and the trail rewritten from the journal: {proof}",
            header.month
        ));
        let written = ledger.write(Vec::new(), Some(&trail.link())).and_then(|()| ledger.sync(&ledger.disk()?));
        written.map_err(|error| ledger_error(&path, error))
    }
}

/// The database of a month as it was found.
struct FoundLedger {
    ledger: Option<Ledger>,
    start: Option<u64>,
    damage: Option<LedgerDamage>,
}

fn open_ledger(path: &Path) -> Result<FoundLedger, OpenError> {
    let damaged = |ledger, damage| Ok(FoundLedger { ledger, start: None, damage: Some(damage) });
    if !path.is_dir() {
        return damaged(None, LedgerDamage::Missing);
    }
    let ledger = match Ledger::open(path) {
        Ok(ledger) => ledger,
        Err(LedgerError::Damaged(why)) => return damaged(None, LedgerDamage::Other(why)),
        Err(LedgerError::Io(error)) => return Err(OpenError::Io { path: path.to_owned(), error }),
    };
    match ledger.start() {
        Ok(Some(start)) => Ok(FoundLedger { ledger: Some(ledger), start: Some(start), damage: None }),
        Ok(None) if ledger.is_blank() => damaged(Some(ledger), LedgerDamage::Blank),
        Ok(None) => damaged(Some(ledger), LedgerDamage::Other("the database does not say where it begins".into())),
        Err(error) => damaged(Some(ledger), LedgerDamage::Other(error.to_string())),
    }
}

/// Puts the frames of an interrupted commit into the journal; the number after them.
fn adopt(ledger: &Ledger, read: &TrailRead, beyond: &[FrameAt], next: u64) -> Result<u64, LedgerError> {
    if beyond.is_empty() {
        return Ok(next);
    }
    let mut packer = Packer::new(next);
    for frame in beyond {
        if frame.seq > packer.next() {
            packer.hole_up_to(frame.seq - 1);
        }
        packer.add(&read.bytes(frame)?, true);
    }
    ledger.write(packer.take(), Some(&read.link()))?;
    ledger.sync(&ledger.disk()?)?;
    Ok(packer.next())
}

/// Makes the database of a month, durably begun; it gets its name when it is whole, so that a crash leaves no half of one.
pub(super) fn begin_ledger(path: &Path, start: u64, link: &Link) -> Result<Ledger, LedgerError> {
    let draft = mend::with_ending(path, mend::BEGINNING);
    if draft.exists() {
        std::fs::remove_dir_all(&draft)?;
    }
    let ledger = Ledger::open(&draft)?;
    ledger.begin(start, link)?;
    ledger.sync(&ledger.disk()?)?;
    drop(ledger);
    if path.is_dir() {
        // Only ever an empty one: databases are not begun twice.
        std::fs::remove_dir_all(path)?;
    }
    dir::rename(&draft, path)?;
    Ledger::open(path)
}

pub(super) fn ledger_error(path: &Path, error: LedgerError) -> OpenError {
    let path = path.to_owned();
    match error {
        LedgerError::Io(error) => OpenError::Io { path, error },
        LedgerError::Damaged(why) => OpenError::Unrepairable { path, why },
    }
}

fn mend_error(path: &Path, error: MendError) -> OpenError {
    match error {
        MendError::Io(error) => ledger_error(path, LedgerError::Io(error)),
        MendError::Ledger(error) => ledger_error(path, error),
    }
}

/// The first few faults, for one line of an alarm.
pub(super) fn words(faults: Faults) -> String {
    let (count, list) = (faults.len(), faults.into_list());
    let shown: Vec<String> = list.iter().take(3).map(ToString::to_string).collect();
    if count > shown.len() { format!("{}; and {} more", shown.join("; "), count - shown.len()) } else { shown.join("; ") }
}
