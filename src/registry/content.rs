//! Owns the bytes of a file that is imported, in memory or on disk, and the text that they stand for.
//! Refuses to know rows. Invariant: however large a file on disk is, only a piece of it is in memory.

use std::{
    fs::File,
    io::{self, BufReader, Cursor, Read, Seek, SeekFrom},
    ops::Range,
};

use encoding_rs::{Decoder, DecoderResult, Encoding, GB18030, UTF_8};

/// A file as it was handed in.
#[derive(Clone, Copy, Debug)]
pub struct ImportFile<'a> {
    pub name: &'a str,
    content: Content<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Content<'a> {
    Memory(&'a [u8]),
    Disk(&'a File),
}

impl<'a> ImportFile<'a> {
    pub const fn in_memory(name: &'a str, bytes: &'a [u8]) -> Self {
        Self { name, content: Content::Memory(bytes) }
    }

    /// Nobody else may use the file's cursor meanwhile.
    pub const fn on_disk(name: &'a str, file: &'a File) -> Self {
        Self { name, content: Content::Disk(file) }
    }

    pub(super) fn bytes_total(&self) -> io::Result<u64> {
        match self.content {
            Content::Memory(bytes) => Ok(bytes.len() as u64),
            Content::Disk(file) => Ok(file.metadata()?.len()),
        }
    }

    /// From its first byte.
    pub(super) fn open(&self) -> io::Result<Source<'a>> {
        Ok(match self.content {
            Content::Memory(bytes) => Source::Memory(Cursor::new(bytes)),
            Content::Disk(file) => {
                let mut file = BufReader::with_capacity(PIECE_BYTES, file);
                file.rewind()?;
                Source::Disk(file)
            }
        })
    }

    pub(super) fn begins_with(&self, signature: &[u8]) -> io::Result<bool> {
        let mut head = Vec::with_capacity(signature.len());
        self.open()?.take(signature.len() as u64).read_to_end(&mut head)?;
        Ok(head == signature)
    }

    /// UTF-8 with or without its mark; else GB18030, the spreadsheet's habit here; `None` if it is neither.
    pub(super) fn text(&self) -> io::Result<Option<Text<Source<'a>>>> {
        for encoding in [UTF_8, GB18030] {
            if self.is_whole_in(encoding)? {
                return self.decoded(encoding).map(Some);
            }
        }
        Ok(None)
    }

    fn is_whole_in(&self, encoding: &'static Encoding) -> io::Result<bool> {
        match io::copy(&mut self.decoded(encoding)?, &mut io::sink()) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn decoded(&self, encoding: &'static Encoding) -> io::Result<Text<Source<'a>>> {
        let mut source = self.open()?;
        if self.begins_with(UTF_8_MARK)? {
            source.seek(SeekFrom::Start(UTF_8_MARK.len() as u64))?;
        } else {
            source.rewind()?;
        }
        Ok(Text::new(source, encoding))
    }
}

const UTF_8_MARK: &[u8] = b"\xef\xbb\xbf";
/// Read from disk, and decoded, at a time.
const PIECE_BYTES: usize = 64 << 10;

/// A file that is being read.
pub(super) enum Source<'a> {
    Memory(Cursor<&'a [u8]>),
    Disk(BufReader<&'a File>),
}

impl Read for Source<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Memory(bytes) => bytes.read(out),
            Self::Disk(file) => file.read(out),
        }
    }
}

impl Seek for Source<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match self {
            Self::Memory(bytes) => bytes.seek(to),
            Self::Disk(file) => file.seek(to),
        }
    }
}

/// The text of a source, in UTF-8; what is no text of its encoding is `InvalidData`.
pub(super) struct Text<R> {
    source: R,
    decoder: Decoder,
    raw: Box<[u8]>,
    raw_left: Range<usize>,
    text: Box<[u8]>,
    text_left: Range<usize>,
    read_bytes: u64,
    is_last: bool,
    is_done: bool,
}

impl<R: Read> Text<R> {
    fn new(source: R, encoding: &'static Encoding) -> Self {
        Self {
            source,
            decoder: encoding.new_decoder_without_bom_handling(),
            raw: vec![0; PIECE_BYTES].into(),
            raw_left: 0..0,
            text: vec![0; PIECE_BYTES].into(),
            text_left: 0..0,
            read_bytes: 0,
            is_last: false,
            is_done: false,
        }
    }

    /// Bytes of the source that have been read so far.
    pub(super) fn read_bytes(&self) -> u64 {
        self.read_bytes
    }

    fn refill(&mut self) -> io::Result<()> {
        while self.text_left.is_empty() && !self.is_done {
            if self.raw_left.is_empty() && !self.is_last {
                let read = self.source.read(&mut self.raw)?;
                self.raw_left = 0..read;
                self.read_bytes += read as u64;
                self.is_last = read == 0;
            }
            let raw = &self.raw[self.raw_left.clone()];
            let (result, read, written) = self.decoder.decode_to_utf8_without_replacement(raw, &mut self.text, self.is_last);
            self.raw_left.start += read;
            self.text_left = 0..written;
            match result {
                DecoderResult::InputEmpty => self.is_done = self.is_last,
                DecoderResult::OutputFull => {}
                DecoderResult::Malformed(..) => return Err(io::ErrorKind::InvalidData.into()),
            }
        }
        Ok(())
    }
}

impl<R: Read> Read for Text<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.refill()?;
        let count = out.len().min(self.text_left.len());
        let from = self.text_left.start;
        out[..count].copy_from_slice(&self.text[from..from + count]);
        self.text_left.start += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;

    use super::*;

    fn text_of(bytes: &[u8]) -> Option<String> {
        let file = ImportFile::in_memory("x.csv", bytes);
        let (mut text, mut source) = (String::new(), file.text().expect("memory can be read")?);
        source.read_to_string(&mut text).expect("what is text in whole can be read as text");
        Some(text)
    }

    #[test]
    fn letters_are_whole_wherever_a_piece_ends() {
        let long: String = "暴雨红色预警𠀀,a\n".repeat(9_000);
        for shift in 0..4 {
            let text = format!("{}{long}", "x".repeat(shift));
            assert_eq!(text_of(text.as_bytes()).as_deref(), Some(&*text));
            let (gb18030, _, had_errors) = GB18030.encode(&text);
            assert!(!had_errors);
            assert_eq!(text_of(&gb18030).as_deref(), Some(&*text));
        }
    }

    #[test]
    fn a_letter_cut_off_at_the_end_is_no_text() {
        let cut = &"预".as_bytes()[..2];
        assert_eq!(text_of(&[b"a,", cut, b"\xff"].concat()), None);
        assert_eq!(text_of(b""), Some(String::new()));
        assert_eq!(text_of(UTF_8_MARK), Some(String::new()));
    }

    proptest! {
        #[test]
        fn text_is_what_the_whole_would_be_decoded_to(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let whole = match std::str::from_utf8(&bytes) {
                Ok(text) => Some(text.trim_start_matches('\u{feff}').to_owned()).filter(|rest| text.len() - rest.len() <= 3),
                Err(_) => None,
            };
            let gb18030 = GB18030.decode_without_bom_handling_and_without_replacement(&bytes).map(std::borrow::Cow::into_owned);
            prop_assume!(!bytes.starts_with(UTF_8_MARK));
            prop_assert_eq!(text_of(&bytes), whole.or(gb18030));
        }

        #[test]
        fn a_file_on_disk_reads_as_the_same_in_memory(text in "[a-c,\n预警]{0,60}") {
            let mut file = tempfile::tempfile().expect("a temporary file");
            file.write_all(text.as_bytes()).expect("written");
            let mut read = String::new();
            let handed = ImportFile::on_disk("x.csv", &file);
            handed.text().expect("readable").expect("UTF-8").read_to_string(&mut read).expect("text");
            prop_assert_eq!((read, handed.bytes_total().expect("known")), (text.clone(), text.len() as u64));
        }
    }
}
