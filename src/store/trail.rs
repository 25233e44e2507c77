//! Owns the audit trail: an append-only file a month, each frame under a checksum and chained to all before it by SHA-256.
//! Refuses to know what frames mean, and the ledger; holding one against the other is `opening` and `verify`.
//! Invariant: the hash of a frame depends on sequence numbers and bytes alone, so a trail rewritten from a true journal ends in the same hash.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufReader, Read, Write},
    os::unix::fs::FileExt,
    path::Path,
};

use sha2::{Digest, Sha256};

use super::{ENTRY_BYTES_MAX, Month, dir, home};

pub(super) type Hash = [u8; 32];
const NO_HASH: Hash = [0; 32];

const MAGIC: &[u8; 8] = b"LMTRAIL1";
/// Magic, month as text, first number of the month, last hash of the month before, checksum.
const HEADER_BYTES: usize = 8 + 7 + 8 + 32 + 4;
/// Length, checksum, sequence number, first number of the commit.
const FRAME_HEAD_BYTES: usize = 4 + 4 + 8 + 8;
const FRAME_TAIL_BYTES: usize = 32;

/// How far a trail goes: this many frames, the last with this hash. The journal keeps it too, so that a cut tail is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) frames: u64,
    pub(super) hash: Hash,
}

impl Link {
    pub(super) const NONE: Self = Self { frames: 0, hash: NO_HASH };

    pub(super) fn to_bytes(self) -> [u8; 40] {
        let mut bytes = [0; 40];
        bytes[..8].copy_from_slice(&self.frames.to_le_bytes());
        bytes[8..].copy_from_slice(&self.hash);
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (frames, hash) = bytes.split_first_chunk::<8>()?;
        Some(Self { frames: u64::from_le_bytes(*frames), hash: hash.try_into().ok()? })
    }

    /// The link after one more frame.
    pub(super) fn extend(self, seq: u64, bytes: &[u8]) -> Self {
        let hash = Sha256::new().chain_update(self.hash).chain_update(seq.to_le_bytes()).chain_update(bytes).finalize();
        Self { frames: self.frames + 1, hash: hash.into() }
    }
}

/// What a month's file begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) month: Month,
    pub(super) start: u64,
    /// Last hash of the month before: a dropped or cut month breaks the chain of the next.
    pub(super) before: Hash,
}

impl Header {
    pub(super) fn link(&self) -> Link {
        Link { frames: 0, hash: self.before }
    }

    fn to_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(self.month.to_string().as_bytes());
        bytes.extend_from_slice(&self.start.to_le_bytes());
        bytes.extend_from_slice(&self.before);
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        bytes
    }

    /// Whole, but of a later version.
    fn is_newer(bytes: &[u8; HEADER_BYTES]) -> bool {
        let (Some((body, crc)), Some(magic)) = (bytes.split_last_chunk::<4>(), bytes.first_chunk::<8>()) else { return false };
        home::is_newer(magic, MAGIC) && u32::from_le_bytes(*crc) == crc32fast::hash(body)
    }

    fn from_bytes(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        let (body, crc) = bytes.split_last_chunk::<4>()?;
        let (magic, rest) = body.split_first_chunk::<8>()?;
        let (month, rest) = rest.split_first_chunk::<7>()?;
        let (start, before) = rest.split_first_chunk::<8>()?;
        let month = std::str::from_utf8(month).ok()?.parse().ok()?;
        let whole = magic == MAGIC && u32::from_le_bytes(*crc) == crc32fast::hash(body);
        whole.then_some(Self { month, start: u64::from_le_bytes(*start), before: before.try_into().ok()? })
    }
}

/// A trail that is being written.
#[derive(Debug)]
pub(super) struct Trail {
    file: File,
    link: Link,
}

impl Trail {
    /// Makes the file of a month, replacing nothing.
    pub(super) fn create(path: &Path, header: Header) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            dir::make(folder)?;
        }
        let mut file = dir::private().create_new(true).append(true).open(path)?;
        file.write_all(&header.to_bytes())?;
        file.sync_all()?;
        dir::sync_parent(path)?;
        Ok(Self { file, link: header.link() })
    }

    /// Goes on behind the last whole frame that `read` saw; what a crash left behind it is cut off.
    pub(super) fn resume(path: &Path, read: &TrailRead) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).open(path)?;
        file.set_len(read.end)?;
        file.sync_all()?;
        Ok(Self { file, link: read.link() })
    }

    pub(super) fn link(&self) -> Link {
        self.link
    }

    /// Appends the frames of one commit and makes them durable.
    pub(super) fn append<'a>(&mut self, commit: u64, entries: impl Iterator<Item = (u64, &'a [u8])>) -> io::Result<()> {
        let (mut buffer, mut link) = (Vec::new(), self.link);
        for (seq, bytes) in entries {
            link = link.extend(seq, bytes);
            push_frame(&mut buffer, commit, seq, bytes, &link.hash);
        }
        self.file.write_all(&buffer)?;
        self.file.sync_data()?;
        self.link = link;
        Ok(())
    }
}

fn push_frame(buffer: &mut Vec<u8>, commit: u64, seq: u64, bytes: &[u8], hash: &Hash) {
    let mut body = Vec::with_capacity(16 + bytes.len() + FRAME_TAIL_BYTES);
    body.extend_from_slice(&seq.to_le_bytes());
    body.extend_from_slice(&commit.to_le_bytes());
    body.extend_from_slice(bytes);
    body.extend_from_slice(hash);
    let length = u32::try_from(bytes.len()).expect("ENTRY_BYTES_MAX is under 4 GiB");
    buffer.extend_from_slice(&length.to_le_bytes());
    buffer.extend_from_slice(&crc32fast::hash(&body).to_le_bytes());
    buffer.append(&mut body);
}

/// Where a whole frame lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct FrameAt {
    pub(super) seq: u64,
    pub(super) commit: u64,
    pub(super) hash: Hash,
    offset: u64,
    length: usize,
}

/// How a trail file ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Whole,
    /// Bytes that an interrupted append leaves; or a cut one, which only the journal's link can tell.
    Torn {
        bytes: u64,
    },
    /// A frame before the last is not what was written.
    Broken {
        why: String,
    },
}

/// A trail file as it was found: its good frames, and what comes after them.
#[derive(Debug)]
pub(super) struct TrailRead {
    file: File,
    pub(super) header: Header,
    pub(super) frames: Vec<FrameAt>,
    pub(super) end: u64,
    pub(super) ending: Ending,
}

impl TrailRead {
    /// Reads and checks a whole file; `None` when there is none, or one whose making was interrupted.
    pub(super) fn open(path: &Path) -> Result<Option<Self>, TrailError> {
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let size = file.metadata()?.len();
        let mut reader = BufReader::with_capacity(1 << 20, &file);
        let mut header = [0; HEADER_BYTES];
        if size < HEADER_BYTES as u64 {
            return Ok(None);
        }
        reader.read_exact(&mut header)?;
        let header = match Header::from_bytes(&header) {
            Some(header) => header,
            None if Header::is_newer(&header) => return Err(home::newer(path).into()),
            None => return Err(TrailError::BadHeader),
        };
        let (mut frames, mut link, mut end) = (Vec::new(), header.link(), HEADER_BYTES as u64);
        let ending = loop {
            match read_frame(&mut reader, end, size, link)? {
                Step::Frame(frame) => {
                    link = Link { frames: link.frames + 1, hash: frame.hash };
                    end = frame.offset + (frame.length + FRAME_TAIL_BYTES) as u64;
                    frames.push(frame);
                }
                Step::End(ending) => break ending,
            }
        };
        drop(reader);
        Ok(Some(Self { file, header, frames, end, ending }))
    }

    pub(super) fn link(&self) -> Link {
        self.link_at(self.frames.len()).unwrap_or(self.header.link())
    }

    /// The link after the first `count` frames, if there are so many.
    pub(super) fn link_at(&self, count: usize) -> Option<Link> {
        match count.checked_sub(1) {
            None => Some(self.header.link()),
            Some(last) => self.frames.get(last).map(|frame| Link { frames: count as u64, hash: frame.hash }),
        }
    }

    /// Whether the frames that the journal knows of are all there and the same.
    pub(super) fn reaches(&self, head: &Link) -> bool {
        usize::try_from(head.frames).ok().and_then(|count| self.link_at(count)) == Some(*head)
    }

    /// Where in the file the frames of a link end, if it goes so far.
    pub(super) fn end_of(&self, link: &Link) -> Option<u64> {
        let count = usize::try_from(link.frames).ok().filter(|_| self.reaches(link))?;
        let end_of = |frame: &FrameAt| frame.offset + (frame.length + FRAME_TAIL_BYTES) as u64;
        Some(count.checked_sub(1).map_or(HEADER_BYTES as u64, |last| end_of(&self.frames[last])))
    }

    pub(super) fn bytes(&self, frame: &FrameAt) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; frame.length];
        self.file.read_exact_at(&mut bytes, frame.offset)?;
        Ok(bytes)
    }
}

#[derive(Debug, thiserror::Error)]
pub(super) enum TrailError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("the file does not begin as a trail does")]
    BadHeader,
}

enum Step {
    Frame(FrameAt),
    End(Ending),
}

fn read_frame(reader: &mut impl Read, at: u64, size: u64, link: Link) -> io::Result<Step> {
    let left = size - at;
    let torn = Step::End(Ending::Torn { bytes: left });
    if left == 0 {
        return Ok(Step::End(Ending::Whole));
    }
    if left < (FRAME_HEAD_BYTES + FRAME_TAIL_BYTES) as u64 {
        return Ok(torn);
    }
    let mut head = [0; 8];
    reader.read_exact(&mut head)?;
    let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
    let crc = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
    let whole = (FRAME_HEAD_BYTES + length + FRAME_TAIL_BYTES) as u64;
    if length > ENTRY_BYTES_MAX || whole > left {
        // A power cut may leave a length of garbage or zeros; the journal's link tells whether a frame was lost by it.
        return Ok(torn);
    }
    let mut body = vec![0; 16 + length + FRAME_TAIL_BYTES];
    reader.read_exact(&mut body)?;
    if crc32fast::hash(&body) != crc {
        let why = format!("frame {} does not match its checksum", link.frames + 1);
        return Ok(if whole == left || length == 0 { torn } else { Step::End(Ending::Broken { why }) });
    }
    let number = |from: usize| u64::from_le_bytes(std::array::from_fn(|byte| body[from + byte]));
    let (seq, commit) = (number(0), number(8));
    let hash = link.extend(seq, &body[16..16 + length]).hash;
    if hash != body[16 + length..] {
        let why = format!("frame {} (entry {seq}) is not chained to the one before", link.frames + 1);
        return Ok(Step::End(Ending::Broken { why }));
    }
    Ok(Step::Frame(FrameAt { seq, commit, hash, offset: at + FRAME_HEAD_BYTES as u64, length }))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn written(folder: &Path) -> std::path::PathBuf {
        let path = folder.join("2026-11.log");
        let header = Header { month: "2026-11".parse().expect("valid"), start: 1, before: NO_HASH };
        let mut trail = Trail::create(&path, header).expect("created");
        trail.append(1, [(1, &b"one"[..]), (2, b"two")].into_iter()).expect("appended");
        trail.append(5, [(5, &b"five"[..])].into_iter()).expect("appended");
        path
    }

    fn read(path: &Path) -> TrailRead {
        TrailRead::open(path).expect("readable").expect("there")
    }

    #[test]
    fn frames_come_back_and_the_chain_goes_on_after_a_restart() {
        let folder = tempfile::tempdir().expect("temporary directory");
        let path = written(folder.path());
        let found = read(&path);
        assert_eq!(found.ending, Ending::Whole);
        assert_eq!(found.frames.iter().map(|frame| (frame.seq, frame.commit)).collect::<Vec<_>>(), [(1, 1), (2, 1), (5, 5)]);
        assert_eq!(found.bytes(&found.frames[2]).expect("read"), b"five");
        let mut trail = Trail::resume(&path, &found).expect("resumed");
        trail.append(6, [(6, &b"six"[..])].into_iter()).expect("appended");
        assert_eq!(read(&path).link(), trail.link());
        assert!(read(&path).reaches(&found.link()));
    }

    #[test]
    fn a_file_cut_anywhere_is_torn_and_shows_only_whole_frames() {
        let folder = tempfile::tempdir().expect("temporary directory");
        let path = written(folder.path());
        let (bytes, whole) = (fs::read(&path).expect("read"), read(&path));
        for cut in HEADER_BYTES..bytes.len() {
            fs::write(&path, &bytes[..cut]).expect("written");
            let found = read(&path);
            assert!(found.frames.len() < 3 && !matches!(found.ending, Ending::Broken { .. }));
            assert!(!found.reaches(&whole.link()), "cut at {cut} was not noticed");
        }
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let folder = tempfile::tempdir().expect("temporary directory");
        let path = written(folder.path());
        let (bytes, whole) = (fs::read(&path).expect("read"), read(&path));
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x10;
            fs::write(&path, &flipped).expect("written");
            let noticed = TrailRead::open(&path).map_or(true, |found| !found.expect("there").reaches(&whole.link()));
            assert!(noticed, "a flip in byte {at} was not noticed");
        }
    }
}
