//! Owns the judgement on one month: is every value whole, no number missing, and do journal and trail say the same.
//! Refuses to repair (`mend`) or to decide what an operator is told (`opening`, `verify`).
//! Invariant: a fault is laid at the journal's or at the trail's door, never at both for one cause, so that the good one can mend the other.

use std::path::Path;

use crate::fault::Faults;

use super::{
    Month,
    ledger::{Ledger, LedgerError},
    trail::{Ending, FrameAt, Link, TrailError, TrailRead},
    values::{Found, Unpacker},
};

/// What a month turned out to be.
#[derive(Debug)]
pub(super) struct Inspection {
    pub(super) journal: Faults,
    pub(super) trail: Faults,
    /// The number after the last entry.
    pub(super) next: u64,
    pub(super) entries: u64,
    pub(super) entry_bytes: u64,
    pub(super) holes: u64,
    /// An entry that a crash cut off at the end: harmless, nobody was told that it was kept.
    pub(super) torn: Option<(u64, u16)>,
    /// Frames of a commit that reached the trail and not the journal: a crash between the two.
    pub(super) beyond: Vec<FrameAt>,
}

/// Opens the trail of a month; a file that is not one is a fault and counts as missing.
pub(super) fn open_trail(path: &Path, place: &str, faults: &mut Faults) -> std::io::Result<Option<TrailRead>> {
    match TrailRead::open(path) {
        Ok(read) => Ok(read),
        Err(TrailError::Io(error)) => Err(error),
        Err(error @ TrailError::BadHeader) => {
            faults.add(place, "trail-bad-header", error.to_string());
            Ok(None)
        }
    }
}

/// Reads the whole month. `before`: the link that the month's trail must begin with, where known.
pub(super) fn inspect(
    month: Month,
    start: u64,
    before: Option<Link>,
    ledger: &Ledger,
    trail: Option<&TrailRead>,
) -> Result<Inspection, LedgerError> {
    let (journal_place, trail_place) = (format!("journal/{month}"), format!("trail/{month}.log"));
    let mut trail_faults = Faults::default();
    let mut comparison = Comparison::new(trail, before, ledger.head()?);
    let mut unpacker = Unpacker::new(journal_place.as_str(), Some(start));
    let (mut entries, mut entry_bytes, mut holes) = (0, 0, 0);
    ledger.scan::<LedgerError>(0, |key, value| {
        unpacker.feed(key, value, &mut |found| {
            match found {
                Found::Entry { seq, trail, bytes } => {
                    entries += 1;
                    entry_bytes += bytes.len() as u64;
                    if trail {
                        comparison.entry(seq, bytes);
                    }
                }
                Found::Hole { from, to } => holes += to - from + 1,
            }
            Ok(())
        })
    })?;
    let torn = unpacker.torn();
    let next = unpacker.next().unwrap_or(start);
    let mut journal_faults = unpacker.faults;
    let beyond = comparison.end(next, (&journal_place, &mut journal_faults), (&trail_place, &mut trail_faults));
    Ok(Inspection { journal: journal_faults, trail: trail_faults, next, entries, entry_bytes, holes, torn, beyond })
}

/// Walks the journal's trail entries and the trail's frames side by side.
struct Comparison<'a> {
    trail: Option<&'a TrailRead>,
    before: Option<Link>,
    head: Option<Link>,
    link: Link,
    at: usize,
    head_seen: bool,
    missing_in_journal: Vec<u64>,
    missing_in_trail: Vec<u64>,
    differing: Vec<u64>,
}

impl<'a> Comparison<'a> {
    fn new(trail: Option<&'a TrailRead>, before: Option<Link>, head: Option<Link>) -> Self {
        let link = trail.map(|trail| trail.header.link()).or(before).unwrap_or(Link::NONE);
        let head_seen = head == Some(link);
        let (missing_in_journal, missing_in_trail, differing) = Default::default();
        Self { trail, before, head, link, at: 0, head_seen, missing_in_journal, missing_in_trail, differing }
    }

    fn frames(&self) -> &'a [FrameAt] {
        self.trail.map_or(&[], |trail| &trail.frames)
    }

    fn entry(&mut self, seq: u64, bytes: &[u8]) {
        while let Some(frame) = self.frames().get(self.at).filter(|frame| frame.seq < seq) {
            self.missing_in_journal.push(frame.seq);
            self.take(frame);
        }
        let expected = self.link.extend(seq, bytes);
        match self.frames().get(self.at).filter(|frame| frame.seq == seq) {
            Some(frame) => {
                if frame.hash != expected.hash {
                    self.differing.push(seq);
                }
                self.take(frame);
            }
            None => {
                self.missing_in_trail.push(seq);
                self.link = expected;
            }
        }
        self.head_seen |= self.head == Some(self.link);
    }

    fn take(&mut self, frame: &FrameAt) {
        self.at += 1;
        self.link = Link { frames: self.link.frames + 1, hash: frame.hash };
        self.head_seen |= self.head == Some(self.link);
    }

    /// Tells what was found; gives the frames of an interrupted commit.
    fn end(mut self, next: u64, (journal_place, journal): (&str, &mut Faults), (trail_place, trail): (&str, &mut Faults)) -> Vec<FrameAt> {
        let beyond: Vec<FrameAt> = self.frames()[self.at.min(self.frames().len())..].to_vec();
        let (lost, beyond): (Vec<_>, Vec<_>) = beyond.into_iter().partition(|frame| frame.seq < next);
        self.missing_in_journal.extend(lost.iter().map(|frame| frame.seq));
        for (seqs, rule, what) in [
            (&self.missing_in_journal, "entry-missing", "stands in the trail and not in the journal"),
            (&self.differing, "entry-differs", "is not what the trail says"),
        ] {
            for seq in seqs {
                journal.add(journal_place, rule, format!("entry {seq} {what}"));
            }
        }
        // One commit at most can be in the trail and not in the journal; and it follows the journal's end.
        let interrupted =
            beyond.first().is_none_or(|first| first.commit <= next && beyond.iter().all(|frame| frame.commit == first.commit));
        if !interrupted {
            journal.add(
                journal_place,
                "tail-lost",
                format!("the journal ends before entry {next}, the trail goes on over several commits"),
            );
        }
        self.end_trail(trail_place, trail);
        beyond
    }

    fn end_trail(&self, place: &str, faults: &mut Faults) {
        for seq in &self.missing_in_trail {
            faults.add(place, "frame-missing", format!("entry {seq} stands in the journal and not in the trail"));
        }
        let Some(trail) = self.trail else {
            return faults.add(place, "trail-missing", "there is no trail beside the journal");
        };
        if let Ending::Broken { why } = &trail.ending {
            faults.add(place, "trail-broken", why.as_str());
        }
        if self.before.is_some_and(|before| before.hash != trail.header.before) {
            faults.add(place, "chain-broken", "the trail is not chained to that of the month before");
        }
        if let Some(head) = self.head.filter(|head| !trail.reaches(head)) {
            let (has, had) = (trail.frames.len(), head.frames);
            faults.add(place, "trail-cut", format!("the trail has {has} frames; the journal knows of {had}, or of another hash"));
        }
    }
}
