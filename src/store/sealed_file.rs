//! Owns a file that is sealed piece by piece while it is written, and opened so while it is read.
//! Refuses to know what stands in it. Invariant: pieces open only in their order, and the last one says that it is the last, so that a
//! file that was cut, mended together or written without the key is refused.

use std::io::{self, Read, Write};

use rand::RngExt as _;

use crate::seal::{OVERHEAD_BYTES, Seal};

/// The first bytes of such a file; the last is the version.
const MAGIC: &[u8; 8] = b"LMSEALB1";
const NAME_BYTES: usize = 16;
/// Large enough to cost nothing, small enough to hold.
const PIECE_BYTES: usize = 1 << 20;

/// What is written goes into `out`, sealed.
pub(super) struct Sealing<'a, W> {
    out: W,
    seal: &'a Seal,
    name: [u8; NAME_BYTES],
    piece: u64,
    waiting: Vec<u8>,
}

impl<'a, W: Write> Sealing<'a, W> {
    pub(super) fn begin(mut out: W, seal: &'a Seal) -> io::Result<Self> {
        let name: [u8; NAME_BYTES] = rand::rng().random();
        out.write_all(MAGIC)?;
        out.write_all(&name)?;
        Ok(Self { out, seal, name, piece: 0, waiting: Vec::with_capacity(PIECE_BYTES) })
    }

    /// Writes the last piece, however small.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.put(true)?;
        Ok(self.out)
    }

    fn put(&mut self, is_last: bool) -> io::Result<()> {
        let sealed = self.seal.seal(&about(&self.name, self.piece, is_last), &self.waiting);
        let length = u32::try_from(sealed.len()).map_err(io::Error::other)?;
        self.out.write_all(&length.to_le_bytes())?;
        self.out.write_all(&[u8::from(is_last)])?;
        self.out.write_all(&sealed)?;
        self.piece += 1;
        self.waiting.clear();
        Ok(())
    }
}

impl<W: Write> Write for Sealing<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(PIECE_BYTES - self.waiting.len());
        self.waiting.extend_from_slice(&bytes[..taken]);
        if self.waiting.len() == PIECE_BYTES {
            self.put(false)?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Whether a file begins as a sealed one does.
pub(super) fn is_sealed(head: &[u8]) -> bool {
    head.starts_with(MAGIC)
}

/// Reads what was sealed.
pub(super) struct Opening<'a, R> {
    input: R,
    seal: &'a Seal,
    name: [u8; NAME_BYTES],
    piece: u64,
    opened: Vec<u8>,
    at: usize,
    is_last: bool,
}

impl<'a, R: Read> Opening<'a, R> {
    pub(super) fn begin(mut input: R, seal: &'a Seal) -> io::Result<Self> {
        let (mut magic, mut name) = ([0; 8], [0; NAME_BYTES]);
        input.read_exact(&mut magic)?;
        input.read_exact(&mut name)?;
        Ok(Self { input, seal, name, piece: 0, opened: Vec::new(), at: 0, is_last: false })
    }

    fn next(&mut self) -> io::Result<()> {
        let bad = |why: String| io::Error::new(io::ErrorKind::InvalidData, why);
        let (mut length, mut last) = ([0; 4], [0; 1]);
        self.input.read_exact(&mut length).map_err(|_| bad("it is cut off".into()))?;
        self.input.read_exact(&mut last)?;
        let length = u32::from_le_bytes(length) as usize;
        if length > PIECE_BYTES + OVERHEAD_BYTES {
            return Err(bad("a piece is larger than any of ours".into()));
        }
        let mut sealed = vec![0; length];
        self.input.read_exact(&mut sealed).map_err(|_| bad("it is cut off".into()))?;
        self.is_last = last[0] == 1;
        let opened = self.seal.open(&about(&self.name, self.piece, self.is_last), &sealed);
        self.opened = opened.map_err(|error| bad(error.to_string()))?;
        (self.at, self.piece) = (0, self.piece + 1);
        Ok(())
    }
}

impl<R: Read> Read for Opening<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.at == self.opened.len() {
            if self.is_last {
                return Ok(0);
            }
            self.next()?;
        }
        let taken = out.len().min(self.opened.len() - self.at);
        out[..taken].copy_from_slice(&self.opened[self.at..self.at + taken]);
        self.at += taken;
        Ok(taken)
    }
}

fn about(name: &[u8; NAME_BYTES], piece: u64, is_last: bool) -> Vec<u8> {
    [b"backup".as_slice(), name, &piece.to_le_bytes(), &[u8::from(is_last)]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::add_key;

    #[test]
    fn what_was_written_comes_back_and_what_was_cut_or_turned_round_does_not() {
        let folder = tempfile::tempdir().expect("a directory");
        add_key(&folder.path().join("key")).expect("made");
        let seal = Seal::read(&folder.path().join("key")).expect("read");
        for length in [0, 5, PIECE_BYTES, 2 * PIECE_BYTES + 7] {
            let bytes: Vec<u8> = (0..length).map(|at| at.to_le_bytes()[0]).collect();
            let mut file = Sealing::begin(Vec::new(), &seal).expect("begun");
            file.write_all(&bytes).expect("written");
            let file = file.finish().expect("finished");
            assert!(is_sealed(&file));
            let read = |file: &[u8]| {
                let mut out = Vec::new();
                Opening::begin(file, &seal)?.read_to_end(&mut out).map(|_| out)
            };
            assert!(read(&file).expect("opened") == bytes);
            for cut in [24, 26, file.len() - 1, file.len() / 2 + 20] {
                assert!(read(&file[..cut.min(file.len() - 1)]).is_err(), "{length} bytes cut at {cut}");
            }
            let mut flipped = file.clone();
            let at = file.len() - 3;
            flipped[at] ^= 1;
            assert!(read(&flipped).is_err());
        }
    }
}
