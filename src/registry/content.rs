//! Owns the bytes of a file that is imported, in memory or on disk, and the text that they stand for.
//! Refuses to know rows. Invariant: however large a file on disk is, only a piece of it is in memory.

use std::{
    fs::File,
    io::{self, BufReader, Cursor, Read, Seek, SeekFrom},
    ops::Range,
};

use encoding_rs::{Decoder, DecoderResult, Encoding, GB18030, UTF_8, UTF_16BE, UTF_16LE};

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

    /// UTF-8 with or without its mark, UTF-16 with its mark (Excel's "Unicode text"), else GB18030, the spreadsheet's habit here; where it
    /// is none of them, the line at which it ends to be one.
    pub(super) fn text(&self) -> io::Result<Result<Text<Source<'a>>, Broken>> {
        let mut farthest = 0;
        for encoding in self.candidates()? {
            match self.lines_in(encoding)? {
                (_, true) => return self.decoded(encoding).map(Ok),
                (lines, false) => farthest = farthest.max(lines),
            }
        }
        Ok(Err(Broken { line: farthest + 1 }))
    }

    fn candidates(&self) -> io::Result<Vec<&'static Encoding>> {
        for (mark, encoding) in [(UTF_8_MARK, UTF_8), (b"\xff\xfe", UTF_16LE), (b"\xfe\xff", UTF_16BE)] {
            if self.begins_with(mark)? {
                return Ok(vec![encoding]);
            }
        }
        Ok(vec![UTF_8, GB18030])
    }

    /// Line ends until the text ends, or ends to be one of the encoding.
    fn lines_in(&self, encoding: &'static Encoding) -> io::Result<(u32, bool)> {
        let mut lines = Lines(0);
        match io::copy(&mut self.decoded(encoding)?, &mut lines) {
            Ok(_) => Ok((lines.0, true)),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok((lines.0, false)),
            Err(error) => Err(error),
        }
    }

    fn decoded(&self, encoding: &'static Encoding) -> io::Result<Text<Source<'a>>> {
        let mut source = self.open()?;
        let mark: &[u8] = if encoding == UTF_8 { UTF_8_MARK } else { b"\xff\xfe" };
        let is_marked = if encoding == UTF_8 { self.begins_with(mark)? } else { encoding == UTF_16LE || encoding == UTF_16BE };
        if is_marked {
            source.seek(SeekFrom::Start(mark.len() as u64))?;
        } else {
            source.rewind()?;
        }
        Ok(Text::new(source, encoding))
    }
}

/// The line on which a file ends to be text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) line: u32,
}

/// Counts line ends.
struct Lines(u32);

impl io::Write for Lines {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let ends = text.iter().filter(|byte| **byte == b'\n').count();
        self.0 = self.0.saturating_add(u32::try_from(ends).unwrap_or(u32::MAX));
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One kind of line end, and a blank on lines that have nothing: so that a reader of rows, which passes over empty ones and counts the two
/// letters of Windows its own way, names the lines as the file has them.
pub(super) struct EvenLines<R> {
    text: Text<R>,
    piece: Box<[u8]>,
    left: Range<usize>,
    /// What stands before the next letter of the text.
    before: u8,
    /// Put in before anything else.
    owed: Option<u8>,
}

impl<R: Read> EvenLines<R> {
    pub(super) fn new(text: Text<R>) -> Self {
        Self { text, piece: vec![0; PIECE_BYTES].into(), left: 0..0, before: b'\n', owed: None }
    }

    pub(super) fn read_bytes(&self) -> u64 {
        self.text.read_bytes()
    }

    fn next(&mut self) -> io::Result<Option<u8>> {
        if let Some(owed) = self.owed.take() {
            return Ok(Some(owed));
        }
        loop {
            if self.left.is_empty() {
                let read = self.text.read(&mut self.piece)?;
                self.left = 0..read;
                if read == 0 {
                    return Ok(None);
                }
            }
            let byte = self.piece[self.left.start];
            self.left.start += 1;
            let before = std::mem::replace(&mut self.before, byte);
            match byte {
                b'\n' if before == b'\r' => {}
                b'\n' | b'\r' if matches!(before, b'\n' | b'\r') => {
                    self.owed = Some(b'\n');
                    return Ok(Some(b' '));
                }
                b'\r' => return Ok(Some(b'\n')),
                byte => return Ok(Some(byte)),
            }
        }
    }
}

impl<R: Read> Read for EvenLines<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let mut count = 0;
        while count < out.len() {
            let Some(byte) = self.next()? else { break };
            out[count] = byte;
            count += 1;
        }
        Ok(count)
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
    /// What is no text stands behind what was decoded last: told once that has been read, so that its line can be counted.
    is_broken: bool,
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
            is_broken: false,
        }
    }

    /// Bytes of the source that have been read so far.
    pub(super) fn read_bytes(&self) -> u64 {
        self.read_bytes
    }

    fn refill(&mut self) -> io::Result<()> {
        while self.text_left.is_empty() && !self.is_done {
            if self.is_broken {
                return Err(io::ErrorKind::InvalidData.into());
            }
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
                DecoderResult::Malformed(..) => self.is_broken = true,
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
        let (mut text, mut source) = (String::new(), file.text().expect("memory can be read").ok()?);
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

    #[test]
    fn unicode_text_of_a_spreadsheet_is_read_and_a_broken_byte_is_named_by_its_line() {
        let wide: Vec<u8> = [0xff, 0xfe].into_iter().chain("编号\t村\r\n".encode_utf16().flat_map(u16::to_le_bytes)).collect();
        assert_eq!(text_of(&wide).as_deref(), Some("编号\t村\r\n"));
        let (gbk, _, _) = GB18030.encode("编号,姓名\n1,张三\n2,李四\n");
        let mut broken = gbk.into_owned();
        let at = broken.len() - 2;
        broken[at] = 0xff;
        let found = ImportFile::in_memory("x.csv", &broken).text().expect("memory can be read");
        assert_eq!(found.err(), Some(Broken { line: 3 }));
    }

    #[test]
    fn lines_are_counted_as_the_file_has_them() {
        let even = |text: &str| {
            let file = ImportFile::in_memory("x.csv", text.as_bytes());
            let mut out = String::new();
            EvenLines::new(file.text().expect("memory can be read").expect("UTF-8")).read_to_string(&mut out).expect("text");
            out
        };
        assert_eq!(even("a\r\n\r\nb\r\n"), "a\n \nb\n");
        assert_eq!(even("\n\na\rb\n"), " \n \na\nb\n");
        assert_eq!(even("a\n\n\n"), "a\n \n \n");
    }

    proptest! {
        #[test]
        fn text_is_what_the_whole_would_be_decoded_to(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let whole = match std::str::from_utf8(&bytes) {
                Ok(text) => Some(text.trim_start_matches('\u{feff}').to_owned()).filter(|rest| text.len() - rest.len() <= 3),
                Err(_) => None,
            };
            let gb18030 = GB18030.decode_without_bom_handling_and_without_replacement(&bytes).map(std::borrow::Cow::into_owned);
            prop_assume!(![UTF_8_MARK, b"\xff\xfe", b"\xfe\xff"].iter().any(|mark| bytes.starts_with(mark)));
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
