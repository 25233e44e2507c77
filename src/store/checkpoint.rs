//! Owns checkpoints of the fold: a file each, in pieces under checksums, the two newest kept.
//! Refuses to know what a checkpoint says.
//! Invariant: a checkpoint is read only if its last piece is there and the whole matches its checksum; else the one before counts.
//! They are files and not a family of the ledger: a megabyte in sled gives no space back before its month is dropped, is written by the
//! thread on which receipts wait, and is lost together with the journal it should stand in for.

use std::{
    fs::{self, File},
    io::{self, BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
};

use super::{dir, home};

pub(super) const FOLDER: &str = "checkpoint";
const ENDING: &str = ".checkpoint";
const MAGIC: &[u8; 8] = b"LMCHKPT1";
/// Small enough to check while reading, large enough to cost nothing.
const PIECE_BYTES: usize = 60_000;
const LAST: u32 = u32::MAX;
/// The newest may be the one that a damaged disk spoils.
const GENERATIONS: usize = 2;
/// A county's open deliveries are tens of megabytes; more than this is no checkpoint of ours.
const BYTES_MAX: u64 = 2 << 30;

pub(super) fn path_of(data: &Path, seq: u64) -> PathBuf {
    // Twenty digits sort as numbers do.
    data.join(FOLDER).join(format!("{seq:020}{ENDING}"))
}

/// Writes the state after entry `seq`, then drops all but the newest generations.
pub(super) fn write(data: &Path, seq: u64, state: &[u8]) -> io::Result<()> {
    let (path, folder) = (path_of(data, seq), data.join(FOLDER));
    dir::make(&folder)?;
    let draft = path.with_extension("draft");
    if let Err(error) = write_draft(&draft, seq, state) {
        // What was begun on a full disk must not keep it full. Why the writing failed is what counts.
        if let Err(left) = fs::remove_file(&draft) {
            tracing::warn!(file = %draft.display(), error = %left, "the draft of a failed checkpoint could not be removed");
        }
        return Err(error);
    }
    dir::rename(&draft, &path)?;
    for old in list(data)?.into_iter().skip(GENERATIONS) {
        fs::remove_file(path_of(data, old))?;
    }
    Ok(())
}

fn write_draft(draft: &Path, seq: u64, state: &[u8]) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 20, dir::create(draft)?);
    out.write_all(MAGIC)?;
    out.write_all(&seq.to_le_bytes())?;
    for piece in state.chunks(PIECE_BYTES) {
        out.write_all(&u32::try_from(piece.len()).expect("a piece is small").to_le_bytes())?;
        out.write_all(&crc32fast::hash(piece).to_le_bytes())?;
        out.write_all(piece)?;
    }
    out.write_all(&LAST.to_le_bytes())?;
    out.write_all(&whole_checksum(seq, state).to_le_bytes())?;
    out.write_all(&(state.len() as u64).to_le_bytes())?;
    out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
}

/// Numbers of the checkpoints that are there, newest first; not yet checked.
pub(super) fn list(data: &Path) -> io::Result<Vec<u64>> {
    let listing = match fs::read_dir(data.join(FOLDER)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut seqs: Vec<u64> = Vec::new();
    for item in listing {
        let name = item?.file_name();
        if let Some(seq) = name.to_str().and_then(|name| name.strip_suffix(ENDING)).and_then(|name| name.parse().ok()) {
            seqs.push(seq);
        }
    }
    seqs.sort_unstable_by(|a, b| b.cmp(a));
    Ok(seqs)
}

/// Reads one whole checkpoint.
pub(super) fn read(data: &Path, seq: u64) -> io::Result<Vec<u8>> {
    let bad = |why: &str| io::Error::new(io::ErrorKind::InvalidData, format!("checkpoint {seq}: {why}"));
    let file = File::open(path_of(data, seq))?;
    let size = file.metadata()?.len();
    if size > BYTES_MAX {
        return Err(bad("is larger than any state of ours"));
    }
    let mut input = BufReader::with_capacity(1 << 20, file);
    let magic: [u8; 8] = take(&mut input)?;
    let named: [u8; 8] = take(&mut input)?;
    if home::is_newer(&magic, MAGIC) {
        return Err(home::newer(&path_of(data, seq)));
    }
    if &magic != MAGIC || u64::from_le_bytes(named) != seq {
        return Err(bad("does not begin as a checkpoint does"));
    }
    let mut state = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
    loop {
        let (length, crc) = (u32::from_le_bytes(take(&mut input)?), u32::from_le_bytes(take(&mut input)?));
        if length == LAST {
            let total = u64::from_le_bytes(take(&mut input)?);
            let whole = total == state.len() as u64 && crc == whole_checksum(seq, &state);
            return whole.then_some(state).ok_or_else(|| bad("does not match its checksum"));
        }
        let from = state.len();
        if length as usize > PIECE_BYTES {
            return Err(bad("has a piece that is too large"));
        }
        state.resize(from + length as usize, 0);
        input.read_exact(&mut state[from..])?;
        if crc32fast::hash(&state[from..]) != crc {
            return Err(bad("has a piece that does not match its checksum"));
        }
    }
}

fn whole_checksum(seq: u64, state: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&seq.to_le_bytes());
    crc.update(state);
    crc.finalize()
}

fn take<const N: usize>(input: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    input.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_newest_are_kept_and_read_back() {
        let data = tempfile::tempdir().expect("temporary directory");
        for seq in [3, 20, 100] {
            write(data.path(), seq, &vec![7; usize::try_from(seq).expect("small") * 3_000]).expect("written");
        }
        assert_eq!(list(data.path()).expect("listed"), [100, 20]);
        assert_eq!(read(data.path(), 100).expect("whole").len(), 300_000);
    }

    #[test]
    fn a_spoilt_checkpoint_is_refused() {
        let data = tempfile::tempdir().expect("temporary directory");
        write(data.path(), 5, &[9; 70_000]).expect("written");
        let bytes = fs::read(path_of(data.path(), 5)).expect("read");
        for at in [0, 9, 20, 40_000, 65_000, bytes.len() - 10] {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            fs::write(path_of(data.path(), 5), &flipped).expect("written");
            assert!(read(data.path(), 5).is_err(), "a flip in byte {at} was not noticed");
        }
        fs::write(path_of(data.path(), 5), &bytes[..bytes.len() - 1]).expect("written");
        assert!(read(data.path(), 5).is_err());
    }
}
