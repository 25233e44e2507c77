//! Owns reading the documents out of a ZIP archive as 12379 senders drop it: one XML under the archive's own base name, with attachments.
//! Refuses to write anything: nothing is ever unpacked to disk, so no name in an archive can lead anywhere.
//! Invariant: what an archive unpacks to is bounded before and while it is read, whatever its directory claims.

use std::io::{Cursor, Read};

use zip::{ZipArchive, read::ZipFile};

use crate::fault::{Fault, Faults};

/// How an archive begins.
const SIGNATURE: &[u8] = b"PK\x03\x04";
/// An archive of one warning holds an XML and at most 200 attachments (`_P_00` to `_O_99`).
const ENTRIES_MAX: usize = 256;
/// Documents of one archive; senders put one, bulletins of a city a few dozen.
const DOCUMENTS_MAX: usize = 64;
/// One document unpacked; the largest real warnings are under 200 kB.
const DOCUMENT_BYTES_MAX: u64 = 8 << 20;
/// All documents of an archive unpacked.
const TOTAL_BYTES_MAX: u64 = 32 << 20;
/// Text packs ten to one, XML of coordinates perhaps thirty; what packs a hundred to one is made to do harm.
const RATIO_MAX: u64 = 200;
/// Ratios of tiny entries mean nothing.
const RATIO_FROM_BYTES: u64 = 64 << 10;

/// A document of an archive.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Packed {
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
}

/// Why an archive gives no documents.
#[derive(Debug)]
pub(super) enum ArchiveError {
    /// No end record, or a directory that cannot be read: it may still be on its way.
    Unfinished(Fault),
    /// It breaks bounds or holds what an archive of warnings cannot hold.
    Refused(Vec<Fault>),
}

pub(super) fn is_archive(bytes: &[u8]) -> bool {
    bytes.starts_with(SIGNATURE)
}

/// Whether the name is that of an attachment: `BASE_P_00.ext` (scan of the approval) or `BASE_O_00.ext` (12379-C).
pub(super) fn is_attachment(name: &str) -> bool {
    let file = name.rsplit('/').next().unwrap_or(name);
    let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
    let bytes = stem.as_bytes();
    let Some(tail) = bytes.len().checked_sub(5).map(|from| &bytes[from..]) else { return false };
    tail[0] == b'_' && matches!(tail[1], b'P' | b'O') && tail[2] == b'_' && tail[3..].iter().all(u8::is_ascii_digit)
}

/// Every document of the archive in the order of its directory; attachments stay inside, unread.
pub(super) fn documents(bytes: &[u8]) -> Result<Vec<Packed>, ArchiveError> {
    let unfinished = |message: String| ArchiveError::Unfinished(Fault::new("", "not-zip", message));
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(|error| unfinished(format!("not a whole ZIP archive: {error}")))?;
    if archive.len() > ENTRIES_MAX {
        return Err(refused("", "too-many-entries", format!("{} entries; an archive holds at most {ENTRIES_MAX}", archive.len())));
    }
    let (mut packed, mut faults, mut total) = (Vec::new(), Faults::default(), 0);
    for place in 0..archive.len() {
        let entry = match archive.by_index(place) {
            Ok(entry) => entry,
            Err(error) => {
                faults.add(format!("entry[{place}]"), "unreadable-entry", error.to_string());
                continue;
            }
        };
        // Old senders write names in GBK; they serve as labels only.
        let name = String::from_utf8_lossy(entry.name_raw()).into_owned();
        if entry.is_dir() || (is_attachment(&name) && name_fault(&name).is_none()) {
            continue;
        }
        if packed.len() == DOCUMENTS_MAX {
            faults.add("", "too-many-documents", format!("an archive holds at most {DOCUMENTS_MAX} documents"));
            break;
        }
        match read_entry(entry, &name, TOTAL_BYTES_MAX - total) {
            Ok(bytes) => {
                total += bytes.len() as u64;
                packed.push(Packed { name, bytes });
            }
            Err((rule, message)) => faults.add(name, rule, message),
        }
    }
    if packed.is_empty() && faults.is_empty() {
        faults.add("", "no-document", "the archive holds no document");
    }
    faults.into_result(packed).map_err(ArchiveError::Refused)
}

fn refused(path: &str, rule: &'static str, message: String) -> ArchiveError {
    ArchiveError::Refused(vec![Fault::new(path, rule, message)])
}

type Broken = (&'static str, String);

fn read_entry<R: Read>(entry: ZipFile<'_, R>, name: &str, room: u64) -> Result<Vec<u8>, Broken> {
    if let Some(broken) = name_fault(name) {
        return Err(broken);
    }
    if entry.encrypted() {
        return Err(("encrypted", "the entry is encrypted".into()));
    }
    if entry.is_symlink() {
        return Err(("bad-entry", "the entry is a link".into()));
    }
    let most = room.min(DOCUMENT_BYTES_MAX);
    let packed = entry.compressed_size().max(1);
    let claimed = entry.size();
    let is_bomb = |size: u64| size > RATIO_FROM_BYTES && size / packed > RATIO_MAX;
    if claimed > most {
        return Err(("too-large", format!("unpacks to {claimed} bytes; at most {most} are read")));
    }
    if is_bomb(claimed) {
        return Err(("packed-too-tightly", format!("{packed} bytes unpack to {claimed}")));
    }
    // What the directory claims is not what comes: it is counted while it is read.
    let mut bytes = Vec::new();
    entry.take(most + 1).read_to_end(&mut bytes).map_err(|error| ("unreadable-entry", error.to_string()))?;
    let size = bytes.len() as u64;
    if size > most {
        return Err(("too-large", format!("unpacks to more than {most} bytes")));
    }
    if is_bomb(size) {
        return Err(("packed-too-tightly", format!("{packed} bytes unpack to {size}")));
    }
    if is_archive(&bytes) {
        return Err(("nested-archive", "an archive within an archive is not read".into()));
    }
    Ok(bytes)
}

/// Nothing is written under these names, yet an archive that tries to lead out of its folder is not one to believe.
fn name_fault(name: &str) -> Option<Broken> {
    let leads_out = name.starts_with('/') || name.contains(['\\', '\0', ':']) || name.split('/').any(|part| part == "..");
    leads_out.then(|| ("bad-name", "the name leads out of the archive".to_owned()))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

    use super::*;

    fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, bytes) in entries {
            writer.start_file(*name, options).expect("started");
            writer.write_all(bytes).expect("written");
        }
        writer.finish().expect("finished").into_inner()
    }

    fn rules(bytes: &[u8]) -> Vec<&'static str> {
        match documents(bytes) {
            Err(ArchiveError::Refused(faults)) => faults.iter().map(|fault| fault.rule).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_document_is_read_and_attachments_are_left_inside() {
        let base = "51072641600000_20260723101500_11B03_RED_ALERT";
        let bytes = archive(&[(&format!("{base}_P_00.jpg"), b"scan"), (&format!("{base}.XML"), b"<alert/>"), ("map_O_01.xml", b"<x/>")]);
        let packed = documents(&bytes).expect("documents");
        assert_eq!(packed, [Packed { name: format!("{base}.XML"), bytes: b"<alert/>".to_vec() }]);
    }

    #[test]
    fn attachments_are_told_by_the_tail_of_their_name_alone() {
        for (name, is) in [
            ("51072641600000_20260723101500_11B03_RED_ALERT_P_00.pdf", true),
            ("x_O_99", true),
            ("x_O_9.xml", false),
            ("x_Q_00.xml", false),
            ("51072641600000_20260723101500_11B03_RED_ALERT.XML", false),
            ("预警_P_00.jpg", true),
            ("警", false),
        ] {
            assert_eq!(is_attachment(name), is, "{name}");
        }
    }

    #[test]
    fn a_bomb_is_refused_by_its_ratio_and_by_its_size() {
        assert_eq!(rules(&archive(&[("a.xml", &vec![b' '; 4 << 20])])), ["packed-too-tightly"]);
        assert_eq!(rules(&archive(&[("a.xml", &vec![b' '; (8 << 20) + 1])])), ["too-large"]);
    }

    #[test]
    fn a_size_that_the_directory_understates_is_noticed_while_reading() {
        let mut bytes = archive(&[("a.xml", &vec![b' '; 4 << 20])]);
        let sized = u32::try_from(4 << 20).expect("fits").to_le_bytes();
        let places: Vec<usize> = (0..bytes.len() - 4).filter(|&at| bytes[at..at + 4] == sized).collect();
        assert!(!places.is_empty());
        for at in places {
            bytes[at..at + 4].copy_from_slice(&7_u32.to_le_bytes());
        }
        let rules = rules(&bytes);
        assert!(rules == ["packed-too-tightly"] || rules == ["unreadable-entry"], "{rules:?}");
    }

    #[test]
    fn names_that_lead_out_nested_archives_and_crowds_are_refused_each_by_name() {
        for name in ["../../etc/cron.d/x.xml", "/etc/passwd", "..\\x.xml", "c:x.xml"] {
            assert_eq!(rules(&archive(&[(name, b"<alert/>")])), ["bad-name"], "{name}");
        }
        let inner = archive(&[("a.xml", b"<alert/>")]);
        assert_eq!(rules(&archive(&[("b.zip", &inner), ("c.zip", &inner)])), ["nested-archive", "nested-archive"]);
        let names: Vec<String> = (0..=ENTRIES_MAX).map(|number| format!("{number}.xml")).collect();
        let crowd: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &b"<alert/>"[..])).collect();
        assert_eq!(rules(&archive(&crowd)), ["too-many-entries"]);
        assert_eq!(rules(&archive(&crowd[..=DOCUMENTS_MAX])), ["too-many-documents"]);
        assert_eq!(rules(&archive(&[("a_P_00.jpg", b"scan")])), ["no-document"]);
    }

    #[test]
    fn an_archive_without_its_end_is_one_that_is_still_coming() {
        let whole = archive(&[("a.xml", &b"<alert/>".repeat(100))]);
        for length in [4, 30, whole.len() / 2, whole.len() - 1] {
            assert!(matches!(documents(&whole[..length]), Err(ArchiveError::Unfinished(_))), "{length}");
        }
        assert!(documents(&whole).is_ok());
    }
}
