//! Owns the repair of a month: a damaged journal from what of it is whole and from the trail; a damaged trail from the journal.
//! Refuses to judge (`inspect`), and to destroy: what is replaced is moved aside and kept.
//! Invariant: the new one is complete and durable before the old one gives up its name, so a crash in between costs nothing.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use crate::time::Timestamp;

use super::{
    dir,
    dropping::GOING,
    ledger::{BATCH_BYTES_MAX, Ledger, LedgerError},
    month::JOURNAL,
    trail::{Header, Trail, TrailRead},
    values::{Found, Packer, Unpacker},
};

/// A journal that is being rebuilt.
const DRAFT: &str = ".rebuilding";
/// The database of a new month that is being made.
pub(super) const BEGINNING: &str = ".beginning";

#[derive(Debug, thiserror::Error)]
pub(super) enum MendError {
    #[error("{0}")]
    Ledger(#[from] LedgerError),
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// What a rebuild could save.
#[derive(Debug, Default)]
pub(super) struct Saved {
    pub(super) from_journal: u64,
    pub(super) from_trail: u64,
    pub(super) lost: u64,
}

/// What a journal is rebuilt from, and how far it must reach.
pub(super) struct Journal<'a> {
    pub(super) path: &'a Path,
    pub(super) header: Header,
    /// The damaged database, where it opens at all.
    pub(super) damaged: Option<Ledger>,
    pub(super) trail: Option<&'a TrailRead>,
    /// The last number known to have been given out: by a checkpoint, or by the month after.
    pub(super) at_least: u64,
    pub(super) now: Timestamp,
}

/// Ends or undoes a repair, or the beginning of a month, that a crash interrupted.
pub(super) fn finish_interrupted(data: &Path) -> io::Result<()> {
    let listing = match fs::read_dir(data.join(JOURNAL)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for item in listing {
        let draft = item?.path();
        let name = draft.as_os_str().to_string_lossy();
        // A month that was given back is given back as soon as it is marked; it was marked before it got this name.
        if name.ends_with(BEGINNING) || name.ends_with(GOING) {
            fs::remove_dir_all(&draft)?;
            continue;
        }
        let Some(name) = draft.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(DRAFT)) else { continue };
        let target = draft.with_file_name(name);
        // The old one is moved away only when the draft is complete.
        if target.exists() { fs::remove_dir_all(&draft)? } else { dir::rename(&draft, &target)? }
    }
    Ok(())
}

/// Writes the journal of a month anew, moves the damaged one aside, and says what was saved.
pub(super) fn journal(plan: Journal<'_>) -> Result<Saved, MendError> {
    let draft = with_ending(plan.path, DRAFT);
    if draft.exists() {
        fs::remove_dir_all(&draft)?;
    }
    let ledger = Ledger::open(&draft)?;
    ledger.begin(plan.header.start, &plan.header.link())?;
    let mut writer =
        Writer { ledger: &ledger, packer: Packer::new(plan.header.start), packed: 0, saved: Saved::default(), trail: plan.trail, at: 0 };
    if let Some(damaged) = &plan.damaged {
        let mut unpacker = Unpacker::new("", None);
        let end = damaged.scan::<MendError>(0, |key, value| {
            unpacker.feed(key, value, &mut |found| match found {
                Found::Entry { seq, trail, bytes } => writer.salvaged(seq, trail, bytes),
                Found::Hole { to, .. } => writer.known_hole(to),
            })
        });
        match end {
            // What sled cannot read any further is taken from the trail.
            Err(MendError::Ledger(LedgerError::Damaged(_))) | Ok(()) => {}
            Err(error) => return Err(error),
        }
    }
    let saved = writer.end(plan.at_least)?;
    let disk = ledger.disk()?;
    if let Some(trail) = plan.trail {
        ledger.write(Vec::new(), Some(&trail.link()))?;
    }
    ledger.sync(&disk)?;
    drop((disk, ledger, plan.damaged));
    if plan.path.exists() {
        move_aside(plan.path, plan.now)?;
    }
    dir::rename(&draft, plan.path)?;
    Ok(saved)
}

struct Writer<'a> {
    ledger: &'a Ledger,
    packer: Packer,
    packed: usize,
    saved: Saved,
    trail: Option<&'a TrailRead>,
    at: usize,
}

impl Writer<'_> {
    fn salvaged(&mut self, seq: u64, trail: bool, bytes: &[u8]) -> Result<(), MendError> {
        self.frames_before(seq)?;
        // Where both have an entry, the chained one is believed.
        if seq < self.packer.next() {
            return Ok(());
        }
        let framed = self.trail.and_then(|read| read.frames.get(self.at)).is_some_and(|frame| frame.seq == seq);
        if framed {
            return self.frames_before(seq + 1);
        }
        self.saved.from_journal += 1;
        self.add(seq, trail, bytes)
    }

    fn frames_before(&mut self, seq: u64) -> Result<(), MendError> {
        while let Some((read, frame)) = self.trail.and_then(|read| Some((read, *read.frames.get(self.at).filter(|frame| frame.seq < seq)?)))
        {
            self.at += 1;
            if frame.seq >= self.packer.next() {
                self.saved.from_trail += 1;
                self.add(frame.seq, true, &read.bytes(&frame)?)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, seq: u64, trail: bool, bytes: &[u8]) -> Result<(), MendError> {
        self.hole_before(seq);
        self.packer.add(bytes, trail);
        self.packed += bytes.len();
        if self.packed > BATCH_BYTES_MAX {
            self.packed = 0;
            self.ledger.write(self.packer.take(), None)?;
        }
        Ok(())
    }

    fn hole_before(&mut self, seq: u64) {
        if seq > self.packer.next() {
            self.saved.lost += seq - self.packer.next();
            self.packer.hole_up_to(seq - 1);
        }
    }

    /// Numbers of which an earlier repair told already.
    fn known_hole(&mut self, to: u64) -> Result<(), MendError> {
        self.frames_before(to.saturating_add(1))?;
        if to >= self.packer.next() {
            self.packer.hole_up_to(to);
        }
        Ok(())
    }

    fn end(mut self, at_least: u64) -> Result<Saved, MendError> {
        self.frames_before(u64::MAX)?;
        self.hole_before(at_least.saturating_add(1));
        self.ledger.write(self.packer.take(), None)?;
        Ok(self.saved)
    }
}

/// Writes the trail of a month anew from its journal, and moves the damaged one aside.
pub(super) fn trail(path: &Path, header: Header, ledger: &Ledger, now: Timestamp) -> Result<Trail, MendError> {
    let draft = with_ending(path, DRAFT);
    if draft.exists() {
        fs::remove_file(&draft)?;
    }
    let mut trail = Trail::create(&draft, header)?;
    let mut unpacker = Unpacker::new("", Some(header.start));
    ledger.scan::<MendError>(0, |key, value| {
        unpacker.feed(key, value, &mut |found| match found {
            // Each is its own commit: which of them were written together is not known any more.
            Found::Entry { seq, trail: true, bytes } => Ok(trail.append(seq, std::iter::once((seq, bytes)))?),
            _ => Ok(()),
        })
    })?;
    if path.exists() {
        move_aside(path, now)?;
    }
    dir::rename(&draft, path)?;
    Ok(trail)
}

/// Moves everything of a database but its log into a folder beside it, whose name is told; `None` where there is no log.
/// sled makes its snapshots and settings again from the log, and one changed byte in them would cost all that stands in it.
pub(super) fn without_shortcuts(path: &Path, now: Timestamp) -> io::Result<Option<PathBuf>> {
    if !path.join("db").is_file() {
        return Ok(None);
    }
    let aside = aside_name(path, now);
    dir::make(&aside)?;
    for item in fs::read_dir(path)? {
        let item = item?;
        let name = item.file_name();
        if item.file_type()?.is_file() && name != "db" {
            dir::rename(&item.path(), &aside.join(name))?;
        }
    }
    Ok(Some(aside))
}

/// Moves a checkpoint aside that nothing can be restored from; the one before it, or the whole journal, stands in for it.
pub(super) fn checkpoint(data: &Path, seq: u64, now: Timestamp) -> io::Result<()> {
    move_aside(&super::checkpoint::path_of(data, seq), now)
}

fn move_aside(path: &Path, now: Timestamp) -> io::Result<()> {
    dir::rename(path, &aside_name(path, now))
}

/// A name that says when it was moved, in milliseconds since 1970.
pub(super) fn aside_name(path: &Path, now: Timestamp) -> PathBuf {
    let mut ms = now.as_ms();
    loop {
        let name = with_ending(path, &format!(".damaged-{ms}"));
        if !name.exists() {
            return name;
        }
        ms += 1;
    }
}

pub(super) fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}
