//! Owns the change log beside a generation's file: one frame an edit, each under its own checksums, on disk before the edit is seen.
//! Refuses to know what an edit does to a snapshot; see `replay`.
//! Invariant: whole frames come back in the order of their generations, or it is said that one in the middle is lost.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::Path,
};

use serde::{Deserialize, Serialize};

use super::{
    columns::Kind,
    file::{FileError, Marks, VERSIONS_TOLD},
    shelf::{Keys, create_file, sync_dir},
};
use crate::seal::{SEALED_VERSION, Seal};

/// Eight bytes at the start; the last is the version of the format.
const MAGIC: &[u8; 8] = b"lm-rlog\x01";
/// Magic, generation that the changes are made to, checksum.
const HEADER_BYTES: usize = 8 + 8 + 4;
/// Length of the body, its checksum, checksum of these two.
const HEAD_BYTES: usize = 4 + 4 + 4;
/// A thousand changes of the longest records come to less.
const BODY_BYTES_MAX: usize = 64 << 20;
/// More are taken into a whole generation, so that opening stays a matter of seconds.
const LOG_BYTES_MAX: u64 = 16 << 20;
const LOG_CHANGES_MAX: usize = 10_000;
/// When no whole generation can be written, the log may grow to this many times its bound before edits are refused.
const OVERGROWN: u64 = 4;

/// What one edit left of each record it touched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Edit {
    /// The state after it.
    pub(super) generation: u64,
    pub(super) next_keys: [u32; 4],
    pub(super) outcomes: Vec<Outcome>,
}

/// One record after an edit: there with these cells, or gone with its key kept for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Outcome {
    #[serde(with = "kind_name")]
    pub(super) kind: Kind,
    pub(super) id: Box<str>,
    pub(super) key: u32,
    pub(super) opted_out: bool,
    /// The canonical cells, as an export writes them.
    pub(super) cells: Option<Vec<String>>,
}

impl Edit {
    pub(super) fn marks(&self) -> Marks {
        Marks { generation: self.generation, next_keys: self.next_keys }
    }
}

mod kind_name {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use super::Kind;

    pub(super) fn serialize<S: Serializer>(kind: &Kind, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(kind.name())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<Kind, D::Error> {
        let name = String::deserialize(input)?;
        Kind::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| D::Error::custom("unknown kind"))
    }
}

/// A log that is being written.
#[derive(Debug)]
pub(super) struct ChangeLog {
    file: File,
    end: u64,
    changes: usize,
    /// The keys, and what frames are sealed as.
    sealed: Option<(Keys, Vec<u8>)>,
}

impl ChangeLog {
    /// Makes the log of a generation; what an interrupted making left of it is written over.
    pub(super) fn create(path: &Path, base: u64) -> io::Result<Self> {
        let keys = Keys::of(path);
        let mut header = MAGIC.to_vec();
        if keys.to_write()?.is_some() {
            header[7] = SEALED_VERSION;
        }
        header.extend(base.to_le_bytes());
        header.extend(crc32fast::hash(&header).to_le_bytes());
        let mut file = create_file(path)?;
        file.write_all(&header)?;
        file.sync_all()?;
        path.parent().map_or(Ok(()), sync_dir)?;
        let is_sealed = header[7] == SEALED_VERSION;
        Self::at_end(path, header.len() as u64, 0, base, is_sealed)
    }

    /// Goes on behind the last whole frame; what a crash left behind it is cut off.
    pub(super) fn resume(path: &Path, read: &LogRead, changes: usize) -> io::Result<Self> {
        let log = Self::at_end(path, read.end, changes, read.base, read.is_sealed)?;
        log.cut()?;
        Ok(log)
    }

    fn at_end(path: &Path, end: u64, changes: usize, base: u64, is_sealed: bool) -> io::Result<Self> {
        let sealed = is_sealed.then(|| (Keys::of(path), about(base)));
        // Appending writes to the end wherever a cut has put it.
        Ok(Self { file: OpenOptions::new().append(true).open(path)?, end, changes, sealed })
    }

    fn cut(&self) -> io::Result<()> {
        self.file.set_len(self.end)?;
        self.file.sync_all()
    }

    /// Has an edit on disk. After an error the log must not be written again: what is on disk is not known.
    pub(super) fn append(&mut self, edit: &Edit) -> io::Result<()> {
        let sealed = match &self.sealed {
            Some((keys, about)) => Some((keys.get().map_err(|error| io::Error::other(error.to_string()))?, about.as_slice())),
            None => None,
        };
        let frame = frame(edit, sealed)?;
        if let Err(error) = self.file.write_all(&frame).and_then(|()| self.file.sync_data()) {
            // Nobody was told of the edit, so as far as possible it is not there after a restart either.
            if let Err(left) = self.cut() {
                tracing::warn!(error = %left, "a change that was refused may still stand in the registry's change log");
            }
            return Err(error);
        }
        self.end += frame.len() as u64;
        self.changes += edit.outcomes.len();
        Ok(())
    }

    /// Whether it is time for a whole generation.
    pub(super) fn is_full(&self) -> bool {
        self.end > LOG_BYTES_MAX || self.changes > LOG_CHANGES_MAX
    }

    pub(super) fn is_overgrown(&self) -> bool {
        self.end > OVERGROWN * LOG_BYTES_MAX
    }
}

/// What frames are sealed as: those of one log pass for no other's.
fn about(base: u64) -> Vec<u8> {
    [b"registry-log".as_slice(), &base.to_le_bytes()].concat()
}

fn frame(edit: &Edit, sealed: Option<(&Seal, &[u8])>) -> io::Result<Vec<u8>> {
    let body = serde_json::to_vec(edit)?;
    let body = sealed.map_or_else(|| body.clone(), |(seal, about)| seal.seal(about, &body));
    let too_long = || io::Error::new(io::ErrorKind::InvalidInput, "an edit is longer than a frame of the change log");
    let len = u32::try_from(body.len()).ok().filter(|_| body.len() <= BODY_BYTES_MAX).ok_or_else(too_long)?;
    let mut frame = Vec::with_capacity(HEAD_BYTES + body.len());
    frame.extend(len.to_le_bytes());
    frame.extend(crc32fast::hash(&body).to_le_bytes());
    frame.extend(crc32fast::hash(&frame).to_le_bytes());
    frame.extend(body);
    Ok(frame)
}

/// How a log ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Whole,
    /// What an interrupted append leaves: nobody was told of that edit.
    Torn {
        bytes: u64,
    },
    /// A frame is not what was written, and later ones stand behind it; `lost` are the newest marks of those.
    Broken {
        frame: usize,
        lost: Marks,
    },
}

/// A log as it was found: its good frames, and what comes after them.
#[derive(Debug)]
pub(super) struct LogRead {
    pub(super) edits: Vec<Edit>,
    pub(super) ending: Ending,
    pub(super) is_sealed: bool,
    base: u64,
    end: u64,
}

/// Opens the bodies of frames, where they are sealed.
struct Opener<'a>(Option<(&'a Seal, Vec<u8>)>);

impl Opener<'_> {
    fn edit(&self, body: &[u8]) -> Option<Edit> {
        match &self.0 {
            None => serde_json::from_slice(body).ok(),
            Some((seal, about)) => serde_json::from_slice(&seal.open(about, body).ok()?).ok(),
        }
    }
}

impl LogRead {
    /// `None` when there is no log of that generation, or one whose making was interrupted.
    pub(super) fn open(path: &Path, base: u64) -> io::Result<Option<Self>> {
        let bytes = match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        if bytes.len() < HEADER_BYTES {
            return Ok(None);
        }
        let (header, _) = bytes.split_at(HEADER_BYTES);
        if header[..7] == MAGIC[..7] && (SEALED_VERSION + 1..SEALED_VERSION + VERSIONS_TOLD).contains(&header[7]) {
            let why = format!("{} was {}", path.display(), FileError::Newer);
            return Err(io::Error::new(io::ErrorKind::Unsupported, why));
        }
        let is_sealed = header[..7] == MAGIC[..7] && header[7] == SEALED_VERSION;
        let keys = Keys::of(path);
        // Without the key nothing of it can be told from damage, so it is not looked at.
        let sealed = match is_sealed {
            true => Some((keys.get().map_err(|error| io::Error::new(io::ErrorKind::Unsupported, error.to_string()))?, about(base))),
            false => None,
        };
        let opener = Opener(sealed);
        let sound = (&header[..8] == MAGIC || is_sealed)
            && header[8..16] == base.to_le_bytes()
            && header[16..] == crc32fast::hash(&header[..16]).to_le_bytes();
        if !sound {
            let lost = last_marks(&bytes, 0, &opener).unwrap_or_default();
            return Ok(Some(Self { edits: Vec::new(), ending: Ending::Broken { frame: 0, lost }, end: 0, base, is_sealed }));
        }
        let (mut edits, mut at): (Vec<Edit>, usize) = (Vec::new(), HEADER_BYTES);
        while let Some((edit, behind)) =
            read_frame(&bytes, at, &opener).filter(|(edit, _)| edit.generation == base + 1 + edits.len() as u64)
        {
            edits.push(edit);
            at = behind;
        }
        let ending = match bytes.len() - at {
            0 => Ending::Whole,
            left => match last_marks(&bytes, at, &opener) {
                None => Ending::Torn { bytes: left as u64 },
                Some(lost) => Ending::Broken { frame: edits.len() + 1, lost },
            },
        };
        Ok(Some(Self { edits, ending, end: at as u64, base, is_sealed }))
    }

    /// Whether what stands behind the whole frames is more than a write that was cut short: that one has a whole head and too little behind.
    pub(super) fn is_spoilt_at_end(&self, path: &Path) -> io::Result<bool> {
        let bytes = fs::read(path)?;
        let left = usize::try_from(self.end).ok().and_then(|end| bytes.get(end..)).unwrap_or_default();
        let Some(head) = left.get(..HEAD_BYTES) else { return Ok(false) };
        let word = |from: usize| u32::from_le_bytes([head[from], head[from + 1], head[from + 2], head[from + 3]]);
        Ok(word(8) != crc32fast::hash(&head[..8]) || left.len() >= HEAD_BYTES + word(0) as usize)
    }

    /// The newest marks that stand anywhere in it.
    pub(super) fn marks(&self) -> Marks {
        let last = self.edits.last().map(Edit::marks).unwrap_or_default();
        match self.ending {
            Ending::Broken { lost, .. } => last.newer(lost),
            Ending::Whole | Ending::Torn { .. } => last,
        }
    }
}

/// The whole frame that starts at `at`, and where the next one starts.
fn read_frame(bytes: &[u8], at: usize, opener: &Opener<'_>) -> Option<(Edit, usize)> {
    let head = bytes.get(at..at + HEAD_BYTES)?;
    let word = |from: usize| u32::from_le_bytes([head[from], head[from + 1], head[from + 2], head[from + 3]]);
    if word(8) != crc32fast::hash(&head[..8]) {
        return None;
    }
    let end = at + HEAD_BYTES + word(0) as usize;
    let body = bytes.get(at + HEAD_BYTES..end)?;
    if crc32fast::hash(body) != word(4) {
        return None;
    }
    Some((opener.edit(body)?, end))
}

/// The marks of the last whole frame at or behind `from`, wherever it starts: a log is small enough to look everywhere.
fn last_marks(bytes: &[u8], from: usize, opener: &Opener<'_>) -> Option<Marks> {
    let (mut found, mut at) = (None::<Marks>, from);
    while at < bytes.len() {
        match read_frame(bytes, at, opener) {
            Some((edit, behind)) => {
                found = Some(found.map_or(edit.marks(), |marks| marks.newer(edit.marks())));
                at = behind;
            }
            None => at += 1,
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(generation: u64) -> Edit {
        let cells = Some(vec!["h1".to_owned(), "擂鼓村".to_owned()]);
        let outcome = Outcome { kind: Kind::Subscribers, id: "h1".into(), key: 3, opted_out: true, cells };
        Edit { generation, next_keys: [u32::try_from(generation).expect("small"), 0, 0, 0], outcomes: vec![outcome] }
    }

    fn written(path: &Path) -> Vec<Edit> {
        let mut log = ChangeLog::create(path, 6).expect("made");
        let edits = vec![edit(7), edit(8), edit(9)];
        edits.iter().for_each(|edit| log.append(edit).expect("appended"));
        edits
    }

    fn read(path: &Path) -> Option<LogRead> {
        LogRead::open(path, 6).expect("readable")
    }

    #[test]
    fn edits_come_back_and_go_on_after_a_restart() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("a.log");
        let mut edits = written(&path);
        let found = read(&path).expect("there");
        assert_eq!((&found.edits, found.ending), (&edits, Ending::Whole));
        ChangeLog::resume(&path, &found, 0).expect("resumed").append(&edit(10)).expect("appended");
        edits.push(edit(10));
        assert_eq!(read(&path).expect("there").edits, edits);
        assert!(matches!(LogRead::open(&path, 5).expect("readable").expect("there").ending, Ending::Broken { frame: 0, .. }));
    }

    #[test]
    fn a_log_cut_anywhere_is_torn_and_goes_on_behind_its_whole_frames() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("a.log");
        let edits = written(&path);
        let bytes = fs::read(&path).expect("read");
        for cut in 0..bytes.len() {
            fs::write(&path, &bytes[..cut]).expect("written");
            let Some(found) = read(&path) else {
                assert!(cut < HEADER_BYTES);
                continue;
            };
            assert!(found.edits.len() < 3 && edits.starts_with(&found.edits) && !matches!(found.ending, Ending::Broken { .. }));
            let next = edit(7 + found.edits.len() as u64);
            ChangeLog::resume(&path, &found, 0).expect("resumed").append(&next).expect("appended");
            let again = read(&path).expect("there");
            assert_eq!((again.edits.last(), again.ending), (Some(&next), Ending::Whole));
        }
    }

    #[test]
    fn every_flipped_bit_before_the_last_frame_is_told_with_the_newest_marks() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("a.log");
        let edits = written(&path);
        let bytes = fs::read(&path).expect("read");
        let last_at = bytes.len() - frame(&edits[2], None).expect("short").len();
        for at in 0..last_at {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x10;
            fs::write(&path, &flipped).expect("written");
            let found = read(&path).expect("there");
            assert!(matches!(found.ending, Ending::Broken { .. }) && edits.starts_with(&found.edits), "byte {at}");
            assert_eq!(found.marks(), edits[2].marks());
        }
    }
}
