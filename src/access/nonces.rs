//! Owns which nonces of signed requests were seen, so that no request is taken twice, whatever restarts between.
//! Refuses to know keys and signatures. Invariant: a nonce is on disk before anybody is told that it was good; memory that
//! was lost (no file, a damaged one) refuses everything that was signed before the loss.
//!
//! One line of text for each nonce: `<ms when signed> <nonce> <checksum> <source>`, appended and fsynced; the first line says since when
//! everything is known, and lines without a checksum are those of a program of before. The file is written anew, whole, when most of it is out of date.

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use super::signature::WINDOW;
use crate::{store::dir, time::Timestamp};

/// Of one source. A bureau posts a few alerts an hour; this is more than ten a second for as long as nonces are kept.
const OF_SOURCE_MAX: usize = 10_000;
/// Nonces outlive their signatures, so that a clock that is set back a little opens no door.
const KEPT_WINDOWS: u32 = 3;
/// Lines in the file before it is looked at whether most are out of date.
const LINES_BEFORE_REWRITE: usize = 1_000;
/// A line has a time, the name of a source and at most 64 characters of nonce. What is larger than all sources could fill is not ours.
const FILE_BYTES_MAX: u64 = 64 << 20;
const FILE: &str = "nonces.log";
const SINCE: &str = "since ";
/// Begins a file whose lines carry checksums.
const CHECKED: &str = "since-1 ";

#[derive(Debug, thiserror::Error)]
pub(super) enum Untaken {
    #[error("this nonce was used before")]
    Seen,
    /// Signed before the memory began.
    #[error("signed before the gateway can tell what was used")]
    Unknowable,
    #[error("too many signed requests at one time")]
    Full,
    #[error("nonces cannot be kept: {0}")]
    Disk(#[from] io::Error),
}

pub(super) struct Nonces {
    path: PathBuf,
    since: Timestamp,
    /// By source, then by nonce: when it was signed.
    seen: BTreeMap<String, HashMap<String, Timestamp>>,
    /// `None` until the file stands as it should.
    file: Option<File>,
    lines: usize,
}

impl Nonces {
    /// Reads what is kept in the data directory; one process at a time, the one that holds the store's lock.
    /// A file at fault keeps no gateway from starting: others have alerts that need no nonce.
    pub(super) fn open(data: &Path, now: Timestamp) -> Self {
        let path = data.join(FILE);
        // Times of signing are whole seconds.
        let mut nonces = Self { path, since: now.whole_seconds(), seen: BTreeMap::new(), file: None, lines: 0 };
        let read = read_bounded(&nonces.path).and_then(|bytes| {
            let damaged = || io::Error::new(io::ErrorKind::InvalidData, "damaged");
            bytes.map(|bytes| parse(&bytes).ok_or_else(damaged)).transpose()
        });
        match read {
            Ok(None) => {}
            Ok(Some((since, seen))) => (nonces.since, nonces.seen) = (since, seen),
            Err(error) => {
                crate::telemetry::metrics::alarm("nonces-damaged");
                tracing::error!(file = %nonces.path.display(), %error, "used nonces cannot be read; what was signed before now is refused: bureaus sign and send again");
            }
        }
        if let Err(error) = nonces.rewrite(now) {
            tracing::error!(file = %nonces.path.display(), %error, "cannot be written; signed requests are refused until it can");
        }
        nonces
    }

    /// Takes a nonce, once; on disk when this returns.
    pub(super) fn take(&mut self, source: &str, nonce: &str, signed: Timestamp, now: Timestamp) -> Result<(), Untaken> {
        // A clock that was set back must not silence a bureau until the time that it showed before.
        self.since = self.since.min(now.whole_seconds());
        if signed < self.since {
            return Err(Untaken::Unknowable);
        }
        if self.seen.get(source).is_some_and(|seen| seen.contains_key(nonce)) {
            return Err(Untaken::Seen);
        }
        if self.of(source) >= OF_SOURCE_MAX {
            self.forget(now);
        }
        if self.of(source) >= OF_SOURCE_MAX {
            return Err(Untaken::Full);
        }
        if self.file.is_none() || self.lines >= LINES_BEFORE_REWRITE.max(2 * self.seen.values().map(HashMap::len).sum::<usize>()) {
            self.rewrite(now)?;
        }
        let line = line(signed, source, nonce);
        let written = self.file.as_mut().map(|file| file.write_all(line.as_bytes()).and_then(|()| file.sync_data()));
        if let Some(Err(error)) = written {
            // Nobody knows what of it is on disk: the next one begins with a whole file.
            self.file = None;
            return Err(error.into());
        }
        self.lines += 1;
        self.seen.entry(source.to_owned()).or_default().insert(nonce.to_owned(), signed);
        Ok(())
    }

    fn of(&self, source: &str) -> usize {
        self.seen.get(source).map_or(0, HashMap::len)
    }

    /// Drops what no signature could bring again.
    fn forget(&mut self, now: Timestamp) {
        for seen in self.seen.values_mut() {
            seen.retain(|_, signed| now.since(*signed) <= WINDOW * KEPT_WINDOWS);
        }
        self.seen.retain(|_, seen| !seen.is_empty());
    }

    /// Puts a file of what still counts in the place of the old one.
    fn rewrite(&mut self, now: Timestamp) -> io::Result<()> {
        self.file = None;
        self.forget(now);
        let mut text = first_line(self.since);
        for (source, seen) in &self.seen {
            text.extend(seen.iter().map(|(nonce, &signed)| line(signed, source, nonce)));
        }
        let draft = self.path.with_extension("draft");
        let mut file = dir::create(&draft)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        dir::rename(&draft, &self.path)?;
        self.lines = text.lines().count();
        self.file = Some(file);
        Ok(())
    }
}

fn line(signed: Timestamp, source: &str, nonce: &str) -> String {
    // Names of sources may hold anything but an end of line; the nonce holds no space.
    format!("{} {nonce} {:08x} {source}\n", signed.as_ms(), checksum(signed, nonce, source))
}

fn checksum(signed: Timestamp, nonce: &str, source: &str) -> u32 {
    crc32fast::hash(format!("{} {nonce} {source}", signed.as_ms()).as_bytes())
}

fn first_line(since: Timestamp) -> String {
    let ms = since.as_ms().to_string();
    format!("{CHECKED}{ms} {:08x}\n", crc32fast::hash(ms.as_bytes()))
}

/// Whether the next start can read what is kept; changes nothing.
pub fn judge(data: &Path) -> Result<(), String> {
    match read_bounded(&data.join(FILE)) {
        Ok(None) => Ok(()),
        Ok(Some(bytes)) if parse(&bytes).is_some() => Ok(()),
        Ok(Some(_)) => Err("a line is not what was written; the next start refuses what was signed before it".into()),
        Err(error) => Err(error.to_string()),
    }
}

fn read_bounded(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

type Seen = BTreeMap<String, HashMap<String, Timestamp>>;

/// A last line without its end was never answered for: the kill came first. Anything else that cannot be read is damage.
fn parse(bytes: &[u8]) -> Option<(Timestamp, Seen)> {
    let whole = &bytes[..bytes.iter().rposition(|&byte| byte == b'\n')?];
    let mut lines = std::str::from_utf8(whole).ok()?.split('\n');
    let ms = |text: &str| text.parse().ok().map(Timestamp::from_ms);
    let first = lines.next()?;
    let is_checked = first.starts_with(CHECKED);
    let since = if is_checked {
        let since = ms(first.strip_prefix(CHECKED)?.split_once(' ')?.0)?;
        Some(since).filter(|since| first_line(*since).trim_end() == first)?
    } else {
        ms(first.strip_prefix(SINCE)?)?
    };
    let mut seen = Seen::new();
    for line in lines {
        let mut parts = line.splitn(if is_checked { 4 } else { 3 }, ' ');
        let (signed, nonce) = (ms(parts.next()?)?, parts.next()?);
        let sum = if is_checked { Some(u32::from_str_radix(parts.next()?, 16).ok()?) } else { None };
        let source = parts.next()?;
        if sum.is_some_and(|sum| sum != checksum(signed, nonce, source)) {
            return None;
        }
        seen.entry(source.to_owned()).or_default().insert(nonce.to_owned(), signed);
    }
    Some((since, seen))
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Duration};

    use super::*;

    const NOW: Timestamp = Timestamp::from_ms(1_784_000_000_400);
    const SIGNED: Timestamp = Timestamp::from_ms(1_784_000_000_000);

    fn nonces(dir: &tempfile::TempDir) -> Nonces {
        Nonces::open(dir.path(), NOW)
    }

    #[test]
    fn a_nonce_is_taken_once_by_each_source_also_after_a_restart() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut first = nonces(&dir);
        first.take("met", "one", SIGNED, NOW).expect("new");
        assert!(matches!(first.take("met", "one", SIGNED, NOW), Err(Untaken::Seen)));
        first.take("the land", "one", SIGNED, NOW).expect("another source's");
        drop(first);
        for _ in 0..2 {
            let mut again = nonces(&dir);
            assert!(matches!(again.take("met", "one", SIGNED, NOW), Err(Untaken::Seen)));
            assert!(matches!(again.take("the land", "one", SIGNED, NOW), Err(Untaken::Seen)));
        }
        nonces(&dir).take("met", "two", SIGNED, NOW).expect("new");
    }

    #[test]
    fn a_half_line_of_a_kill_is_nothing_and_damage_refuses_what_was_signed_before() {
        let dir = tempfile::tempdir().expect("a directory");
        nonces(&dir).take("met", "one", SIGNED, NOW).expect("new");
        let path = dir.path().join(FILE);
        let whole = fs::read(&path).expect("the file");
        fs::write(&path, [&whole[..], b"17840000"].concat()).expect("half a line");
        let mut torn = nonces(&dir);
        assert!(matches!(torn.take("met", "one", SIGNED, NOW), Err(Untaken::Seen)));
        torn.take("met", "two", SIGNED, NOW).expect("new");
        drop(torn);
        fs::write(&path, [b"since ?\n", &whole[..]].concat()).expect("damage");
        let later = NOW.plus(Duration::from_secs(10));
        let mut lost = Nonces::open(dir.path(), later);
        assert!(matches!(lost.take("met", "one", SIGNED, later), Err(Untaken::Unknowable)));
        lost.take("met", "one", later.whole_seconds(), later).expect("signed after the loss");
    }

    #[test]
    fn every_flipped_bit_refuses_what_was_signed_before_and_a_file_of_before_checksums_is_taken() {
        let dir = tempfile::tempdir().expect("a directory");
        nonces(&dir).take("met", "one", SIGNED, NOW).expect("new");
        let path = dir.path().join(FILE);
        let whole = fs::read(&path).expect("the file");
        for at in 0..whole.len() - 1 {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x01;
            fs::write(&path, &flipped).expect("flipped");
            let again =
                Nonces::open(dir.path(), NOW.plus(Duration::from_secs(10))).take("met", "one", SIGNED, NOW.plus(Duration::from_secs(10)));
            assert!(matches!(again, Err(Untaken::Unknowable | Untaken::Seen)), "byte {at}: {again:?}");
        }
        fs::write(&path, format!("{SINCE}{}\n{} one met\n", NOW.whole_seconds().as_ms(), SIGNED.as_ms())).expect("of before");
        assert!(matches!(nonces(&dir).take("met", "one", SIGNED, NOW), Err(Untaken::Seen)));
    }

    #[test]
    fn a_source_that_signs_without_end_is_stopped_until_time_has_passed() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut nonces = nonces(&dir);
        let many = (0..OF_SOURCE_MAX).map(|number| (number.to_string(), SIGNED)).collect();
        nonces.seen.insert("met".into(), many);
        assert!(matches!(nonces.take("met", "more", SIGNED, NOW), Err(Untaken::Full)));
        nonces.take("land", "more", SIGNED, NOW).expect("another source has its own bound");
        let later = NOW.plus(WINDOW * (KEPT_WINDOWS + 1));
        nonces.take("met", "more", later, later).expect("the old ones no longer count");
        assert_eq!(nonces.of("met"), 1);
    }

    #[test]
    fn the_file_stays_small_however_long_it_runs() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut nonces = nonces(&dir);
        let mut now = NOW;
        nonces.lines = LINES_BEFORE_REWRITE - 2;
        for number in 0..8 {
            nonces.take("met", &number.to_string(), now, now).expect("new");
            now = now.plus(WINDOW * KEPT_WINDOWS);
        }
        assert!(nonces.lines < 10, "{}", nonces.lines);
        let text = fs::read_to_string(dir.path().join(FILE)).expect("the file");
        assert_eq!(text.lines().count(), nonces.lines, "{text}");
    }

    #[test]
    fn a_disk_that_refuses_takes_no_nonce_and_is_tried_again() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut nonces = nonces(&dir);
        // A handle that cannot be written to, as a full disk's.
        nonces.file = Some(File::open(dir.path().join(FILE)).expect("the file"));
        assert!(matches!(nonces.take("met", "one", SIGNED, NOW), Err(Untaken::Disk(_))));
        nonces.take("met", "one", SIGNED, NOW).expect("the file was made anew");
    }

    #[test]
    fn a_clock_that_is_set_back_silences_nobody_and_opens_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        let ahead = NOW.plus(Duration::from_secs(86_400));
        let mut nonces = Nonces::open(dir.path(), ahead);
        nonces.take("met", "one", SIGNED.plus(WINDOW), ahead).expect_err("signed before the memory began");
        nonces.take("met", "two", ahead, ahead).expect("new");
        nonces.take("met", "one", SIGNED, NOW).expect("the clock is right again");
        assert!(matches!(nonces.take("met", "two", SIGNED, NOW), Err(Untaken::Seen)));
    }

    #[test]
    fn a_file_that_cannot_be_made_refuses_the_signed_alone() {
        let dir = tempfile::tempdir().expect("a directory");
        let gone = dir.path().join("gone");
        let mut nonces = Nonces::open(&gone, NOW);
        assert!(matches!(nonces.take("met", "one", SIGNED, NOW), Err(Untaken::Disk(_))));
        fs::create_dir(&gone).expect("there again");
        nonces.take("met", "one", SIGNED, NOW).expect("new");
    }
}
