//! Owns what is filed: closed pieces of state that need not be in memory any more, one file each, in a folder for each month.
//! Refuses to know what they say. Invariant: a file has its name only when it is whole and on disk, and is read back equal or as damaged;
//! one that is damaged is told, never mended: only a backup has it again.

use std::{
    fs,
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use flate2::{Compression, read::DeflateDecoder, write::DeflateEncoder};
use sha2::{Digest, Sha256};

use crate::fault::Faults;

use super::{Month, backup::hex, dir, verify::FiledReport};

pub(super) const FOLDER: &str = "filed";
const ENDING: &str = ".book";
const DRAFT: &str = ".draft";
const MAGIC: &[u8; 8] = b"LMFILED1";
/// A month's name and the piece's, as they stand in the file: one that was given another name is noticed.
const NAME_BYTES_MAX: usize = 200;
/// As the largest state of a checkpoint: more is nothing of ours, whatever a damaged length says.
const BYTES_MAX: u64 = 2 << 30;

/// Where a piece is filed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    pub month: Month,
    /// Letters, digits and `-`.
    pub name: String,
}

/// What was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub bytes: Vec<u8>,
    /// SHA-256 of them, proven.
    pub sha256: String,
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FiledBytes {
    /// SHA-256 of what was filed, before it was packed.
    pub sha256: String,
    /// Bytes of the file.
    pub disk_bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FiledError {
    #[error("{place} is missing; a backup may have it")]
    Missing { place: String },
    #[error("{place} is damaged: {why}; a backup may have it whole")]
    Damaged { place: String, why: String },
    #[error("{place} cannot be read: {why}")]
    Io { place: String, why: String },
}

impl Place {
    fn path(&self, data: &Path) -> PathBuf {
        data.join(FOLDER).join(self.month.to_string()).join(format!("{}{ENDING}", self.name))
    }

    /// As it is told to people.
    pub fn shown(&self) -> String {
        format!("{FOLDER}/{}/{}{ENDING}", self.month, self.name)
    }

    fn stamp(&self) -> String {
        format!("{}/{}", self.month, self.name)
    }
}

/// Writes a piece durably; one that lies there already is replaced whole. Takes as long as a disk does.
pub fn write(data: &Path, place: &Place, bytes: &[u8]) -> io::Result<FiledBytes> {
    let path = place.path(data);
    if let Some(folder) = path.parent() {
        dir::make(folder)?;
    }
    let digest: [u8; 32] = Sha256::digest(bytes).into();
    let packed = packed(place, bytes, &digest)?;
    let draft = super::mend::with_ending(&path, DRAFT);
    let written = dir::create(&draft).and_then(|mut file| {
        file.write_all(&packed)?;
        file.sync_all()
    });
    if let Err(error) = written {
        // What was begun on a full disk must not keep it full. Why the writing failed is what counts.
        if let Err(left) = fs::remove_file(&draft) {
            tracing::warn!(file = %draft.display(), error = %left, "the draft of a failed filing could not be removed");
        }
        return Err(error);
    }
    dir::rename(&draft, &path)?;
    Ok(FiledBytes { sha256: hex(&digest), disk_bytes: packed.len() as u64 })
}

/// Magic, name, length and SHA-256 of what is within; that, deflated; a checksum over all of it.
fn packed(place: &Place, bytes: &[u8], digest: &[u8; 32]) -> io::Result<Vec<u8>> {
    let stamp = place.stamp();
    let length = u16::try_from(stamp.len()).ok().filter(|length| usize::from(*length) <= NAME_BYTES_MAX);
    let length = length.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the name of a piece is too long"))?;
    let mut out = Vec::with_capacity(bytes.len() / 3 + 128);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(stamp.as_bytes());
    out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    out.extend_from_slice(digest);
    // The lightest level: most of what a harder one would find is not there, and a million deliveries take half a second.
    let mut encoder = DeflateEncoder::new(out, Compression::fast());
    encoder.write_all(bytes)?;
    let mut out = encoder.finish()?;
    let crc = crc32fast::hash(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    Ok(out)
}

/// Reads a piece back, or says what is wrong with it. Takes as long as a disk does.
pub fn read(data: &Path, place: &Place) -> Result<Found, FiledError> {
    let (path, shown) = (place.path(data), place.shown());
    let io = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => FiledError::Missing { place: shown.clone() },
        _ => FiledError::Io { place: shown.clone(), why: error.to_string() },
    };
    let size = fs::metadata(&path).map_err(io)?.len();
    let damaged = |why: &str| FiledError::Damaged { place: shown.clone(), why: why.to_owned() };
    if size > BYTES_MAX {
        return Err(damaged("it is larger than anything that was filed"));
    }
    let file = fs::read(&path).map_err(io)?;
    unpacked(place, &file).map_err(damaged)
}

fn unpacked(place: &Place, file: &[u8]) -> Result<Found, &'static str> {
    const SHORT: &str = "it is cut";
    let (body, crc) = file.split_last_chunk::<4>().ok_or(SHORT)?;
    if u32::from_le_bytes(*crc) != crc32fast::hash(body) {
        return Err("it does not match its checksum");
    }
    let rest = body.strip_prefix(MAGIC).ok_or("it does not begin as a filed piece does")?;
    let (length, rest) = rest.split_first_chunk::<2>().ok_or(SHORT)?;
    let (stamp, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length))).ok_or(SHORT)?;
    if stamp != place.stamp().as_bytes() {
        return Err("it is another piece under this name");
    }
    let (length, rest) = rest.split_first_chunk::<8>().ok_or(SHORT)?;
    let (digest, rest) = rest.split_first_chunk::<32>().ok_or(SHORT)?;
    let length = u64::from_le_bytes(*length);
    if length > BYTES_MAX {
        return Err("it is larger than anything that is filed");
    }
    let mut bytes = Vec::with_capacity(usize::try_from(length).map_err(|_| "it is larger than the memory")?);
    // One byte more than it should be is enough to see that it is too long.
    DeflateDecoder::new(rest).take(length + 1).read_to_end(&mut bytes).map_err(|_| "it cannot be unpacked")?;
    let whole = bytes.len() as u64 == length && <[u8; 32]>::from(Sha256::digest(&bytes)) == *digest;
    if whole { Ok(Found { bytes, sha256: hex(digest) }) } else { Err("what it holds is not what was filed") }
}

/// Every piece that is filed, oldest month first; what lies there beside them is left alone.
pub fn list(data: &Path) -> io::Result<Vec<Place>> {
    let mut places = Vec::new();
    for folder in names(&data.join(FOLDER))? {
        let Ok(month) = folder.parse::<Month>() else { continue };
        for file in names(&data.join(FOLDER).join(&folder))? {
            if let Some(name) = file.strip_suffix(ENDING) {
                places.push(Place { month, name: name.to_owned() });
            }
        }
    }
    places.sort_by(|one, other| (one.month, &one.name).cmp(&(other.month, &other.name)));
    Ok(places)
}

fn names(folder: &Path) -> io::Result<Vec<String>> {
    match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        listing => listing?.map(|item| Ok(item?.file_name().to_string_lossy().into_owned())).collect(),
    }
}

/// Reads all that is filed; what cannot be read is a fault.
pub(super) fn verify(data: &Path, faults: &mut Faults) -> io::Result<FiledReport> {
    let mut report = FiledReport::default();
    for place in list(data)? {
        report.pieces += 1;
        report.disk_bytes += fs::metadata(place.path(data)).map_or(0, |metadata| metadata.len());
        match read(data, &place) {
            Ok(found) => report.bytes += found.bytes.len() as u64,
            Err(error) => faults.add(place.shown(), "bad-filed-piece", error.to_string()),
        }
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(name: &str) -> Place {
        Place { month: "2026-11".parse().expect("a month"), name: name.to_owned() }
    }

    #[test]
    fn what_was_filed_is_read_back_and_replaced_whole() {
        let data = tempfile::tempdir().expect("temporary directory");
        let bytes = [b"deliveries ".repeat(9_000), vec![7; 3]].concat();
        let filed = write(data.path(), &place("0000000007-a"), &bytes).expect("written");
        let found = read(data.path(), &place("0000000007-a")).expect("whole");
        assert_eq!((&found.bytes, &found.sha256), (&bytes, &filed.sha256));
        assert!(filed.disk_bytes < bytes.len() as u64 / 10, "what repeats is packed");
        write(data.path(), &place("0000000007-a"), b"another").expect("replaced");
        write(data.path(), &place("0000000003-b"), b"").expect("written");
        assert_eq!(read(data.path(), &place("0000000007-a")).expect("whole").bytes, b"another");
        assert_eq!(list(data.path()).expect("listed"), [place("0000000003-b"), place("0000000007-a")]);
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let data = tempfile::tempdir().expect("temporary directory");
        write(data.path(), &place("0-a"), b"four people, two of them reached").expect("written");
        let path = place("0-a").path(data.path());
        let whole = fs::read(&path).expect("read");
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 4;
            fs::write(&path, &flipped).expect("written");
            assert!(matches!(read(data.path(), &place("0-a")), Err(FiledError::Damaged { .. })), "a flip in byte {at} was not noticed");
            fs::write(&path, &whole[..at]).expect("written");
            assert!(matches!(read(data.path(), &place("0-a")), Err(FiledError::Damaged { .. })), "a cut at {at} was not noticed");
        }
    }

    #[test]
    fn a_missing_piece_and_one_under_the_name_of_another_are_told_apart() {
        let data = tempfile::tempdir().expect("temporary directory");
        assert!(matches!(read(data.path(), &place("0-a")), Err(FiledError::Missing { .. })));
        write(data.path(), &place("0-a"), b"one").expect("written");
        fs::rename(place("0-a").path(data.path()), place("1-b").path(data.path())).expect("renamed");
        let error = read(data.path(), &place("1-b")).expect_err("another");
        assert!(error.to_string().contains("another piece"), "{error}");
        let mut faults = Faults::default();
        assert_eq!(verify(data.path(), &mut faults).expect("looked").pieces, 1);
        assert_eq!(faults.into_list()[0].rule, "bad-filed-piece");
    }
}
