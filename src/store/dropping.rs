//! Owns giving back the space of a month: the mark that says so, the checks before it, and the removal of the month's journal.
//! Refuses to know which alerts stand in a month; whoever asks has settled that nothing of it is needed any more.
//! Invariant: the mark is durable before anything is removed, so a crash leaves a month that is whole or one that is rightly gone. The trail
//! of the month stays: it is the audit, and the mark holds the hash that it ends in.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use crate::{fault::Faults, time::Timestamp};

use super::{
    Month, checkpoint, dir,
    inspect::open_trail,
    mend::{aside_name, with_ending},
    trail::{Ending, Link, TrailRead},
};

/// The mark of a month that was given back, beside where its database was.
pub(super) const MARK: &str = ".dropped";
/// A database whose month is marked and which is being removed.
pub(super) const GOING: &str = ".going";
const DRAFT: &str = ".draft";
const MAGIC: &[u8; 8] = b"LMDROP01";
/// Magic, month, first number, number after the last, link of the trail, when, checksum.
const MARK_BYTES: usize = 8 + 7 + 8 + 8 + 40 + 8 + 4;
/// A month goes only when a spoilt checkpoint does not cost it.
pub(super) const COVERS: usize = 2;

/// A month that was given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dropped {
    pub(super) month: Month,
    pub(super) start: u64,
    pub(super) next: u64,
    /// What its trail ends with.
    pub(super) link: Link,
    pub(super) at: Timestamp,
}

/// Why a month is not given back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DropError {
    #[error("there is no journal of {month}")]
    NoSuchMonth { month: Month },
    #[error("{month} was given back already")]
    AlreadyDropped { month: Month },
    #[error("{month} is the newest month: it is written to")]
    Newest { month: Month },
    #[error("{older} is older than {month} and has not been given back")]
    OlderFirst { month: Month, older: Month },
    #[error("trail/{month}.log does not lead on to the month after: {why}")]
    BadTrail { month: Month, why: String },
    #[error("{covers} of {COVERS} checkpoints reach beyond {month}; it can be given back after the next")]
    NotCovered { month: Month, covers: usize },
    #[error("the store was closed")]
    Closed,
    #[error("{month}: {why}")]
    Io { month: Month, why: String },
}

/// A mark as it was found.
pub(super) enum Mark {
    None,
    Whole(Dropped),
    Damaged,
}

pub(super) fn mark_path(data: &Path, month: Month) -> PathBuf {
    with_ending(&month.journal_path(data), MARK)
}

pub(super) fn read_mark(data: &Path, month: Month) -> io::Result<Mark> {
    match fs::read(mark_path(data, month)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Mark::None),
        Err(error) => Err(error),
        Ok(bytes) => Ok(Dropped::from_bytes(&bytes).filter(|dropped| dropped.month == month).map_or(Mark::Damaged, Mark::Whole)),
    }
}

/// Whether a month is marked, whatever the mark looks like: one that is damaged does not make the month come back.
pub(super) fn is_marked(data: &Path, month: Month) -> bool {
    mark_path(data, month).exists()
}

/// Months whose journal is there, oldest first; the newest is the one that is written to.
pub fn kept_months(data: &Path) -> io::Result<Vec<Month>> {
    Ok(Month::all(data)?.into_iter().filter(|month| month.journal_path(data).is_dir() && !is_marked(data, *month)).collect())
}

/// What is to be written into the mark of a month, or why it may not be given back. Reads the trail of the month.
pub(super) fn judge(data: &Path, month: Month, at: Timestamp) -> Result<Dropped, DropError> {
    let io = |error: io::Error| DropError::Io { month, why: error.to_string() };
    let months = Month::all(data).map_err(io)?;
    let place = months.iter().position(|known| *known == month).ok_or(DropError::NoSuchMonth { month })?;
    if is_marked(data, month) {
        return Err(DropError::AlreadyDropped { month });
    }
    if !month.journal_path(data).is_dir() {
        return Err(DropError::NoSuchMonth { month });
    }
    let after = *months.get(place + 1).ok_or(DropError::Newest { month })?;
    // A replay from the middle needs every entry after its beginning.
    if let Some(&older) = months[..place].iter().find(|older| older.journal_path(data).is_dir() && !is_marked(data, **older)) {
        return Err(DropError::OlderFirst { month, older });
    }
    let trail = read_trail(data, month)?;
    let bad = |why: &str| DropError::BadTrail { month, why: why.to_owned() };
    let header = read_trail(data, after)?.header;
    if trail.ending != Ending::Whole {
        return Err(bad("its end is not whole"));
    }
    if trail.link().hash != header.before {
        return Err(bad("its last hash is not what the next begins with"));
    }
    Ok(Dropped { month, start: trail.header.start, next: header.start, link: trail.link(), at })
}

fn read_trail(data: &Path, month: Month) -> Result<TrailRead, DropError> {
    let mut faults = Faults::default();
    let read = open_trail(&month.trail_path(data), "", &mut faults).map_err(|error| DropError::Io { month, why: error.to_string() })?;
    read.ok_or_else(|| DropError::BadTrail { month, why: "it is missing or no trail".into() })
}

/// How many kept checkpoints are whole and reach to the end of the month or beyond, and the newest number among them.
pub(super) fn covers(data: &Path, dropped: &Dropped) -> Result<usize, DropError> {
    let listed = checkpoint::list(data).map_err(|error| DropError::Io { month: dropped.month, why: error.to_string() })?;
    Ok(listed.into_iter().filter(|&seq| seq + 1 >= dropped.next && checkpoint::read(data, seq).is_ok()).count())
}

/// Says durably that the month is given back; from here on it is.
pub(super) fn mark(data: &Path, dropped: &Dropped) -> io::Result<()> {
    let path = mark_path(data, dropped.month);
    let draft = with_ending(&path, DRAFT);
    let mut file = dir::create(&draft)?;
    file.write_all(&dropped.to_bytes())?;
    file.sync_all()?;
    dir::rename(&draft, &path)
}

/// Removes the database of a marked month, also what an interrupted removal left.
pub(super) fn remove(data: &Path, month: Month) -> io::Result<()> {
    let path = month.journal_path(data);
    let going = with_ending(&path, GOING);
    // Under a name of its own first: half a database must never stand under that of a month.
    if path.is_dir() {
        if going.exists() {
            fs::remove_dir_all(&going)?;
        }
        dir::rename(&path, &going)?;
    }
    if going.exists() {
        fs::remove_dir_all(&going)?;
        dir::sync_parent(&going)?;
    }
    Ok(())
}

/// A mark that is damaged is made again from what stands around it, and kept aside.
pub(super) fn mark_again(data: &Path, dropped: &Dropped, now: Timestamp) -> io::Result<()> {
    let path = mark_path(data, dropped.month);
    // A copy, not the file: without a mark the month would count as lost and be made again from its trail.
    fs::copy(&path, aside_name(&path, now))?;
    mark(data, dropped)
}

impl Dropped {
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(MARK_BYTES);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(self.month.to_string().as_bytes());
        bytes.extend_from_slice(&self.start.to_le_bytes());
        bytes.extend_from_slice(&self.next.to_le_bytes());
        bytes.extend_from_slice(&self.link.to_bytes());
        bytes.extend_from_slice(&self.at.as_ms().to_le_bytes());
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; MARK_BYTES] = bytes.try_into().ok()?;
        let (body, crc) = bytes.split_last_chunk::<4>()?;
        if u32::from_le_bytes(*crc) != crc32fast::hash(body) {
            return None;
        }
        let rest = body.strip_prefix(MAGIC)?;
        let (month, rest) = rest.split_first_chunk::<7>()?;
        let (start, rest) = rest.split_first_chunk::<8>()?;
        let (next, rest) = rest.split_first_chunk::<8>()?;
        let (link, at) = rest.split_first_chunk::<40>()?;
        Some(Self {
            month: std::str::from_utf8(month).ok()?.parse().ok()?,
            start: u64::from_le_bytes(*start),
            next: u64::from_le_bytes(*next),
            link: Link::from_bytes(link)?,
            at: Timestamp::from_ms(i64::from_le_bytes(at.try_into().ok()?)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_reads_back_and_every_flipped_bit_is_noticed() {
        let data = tempfile::tempdir().expect("temporary directory");
        let month: Month = "2026-11".parse().expect("a month");
        let link = Link::NONE.extend(3, b"accepted");
        let dropped = Dropped { month, start: 1, next: 900, link, at: Timestamp::from_ms(1_784_000_000_000) };
        dir::make(&data.path().join("journal")).expect("a folder");
        assert!(matches!(read_mark(data.path(), month), Ok(Mark::None)));
        mark(data.path(), &dropped).expect("marked");
        assert!(matches!(read_mark(data.path(), month), Ok(Mark::Whole(found)) if found == dropped));
        let bytes = dropped.to_bytes();
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            assert_eq!(Dropped::from_bytes(&flipped), None, "a flip in byte {at} was not noticed");
        }
        assert_eq!(Dropped::from_bytes(&bytes[1..]), None);
    }
}
