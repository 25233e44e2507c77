//! Owns backup to one file (a tar), of a stopped store and of a running one; `restore` is the way back.
//! Refuses to copy sled's own files: values are read and written anew, so a backup is consistent, compact, and checked on the way.
//! Invariant: the file has its name only when it is whole, and a backup without its last member is no backup.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::seal::Seal;

use super::{
    AppendError, Month, ReadError, Seq, checkpoint,
    committer::Snapshot,
    dir,
    dropping::{self, Dropped, MARK, Mark},
    ledger::{Ledger, LedgerError},
    lock, mend,
    month::{JOURNAL, TRAIL},
    sealed_file::Sealing,
    space::{Space, has_room_for},
    trail::{Link, TrailRead},
    values::{self, KEY_BYTES},
    verify,
};

/// Values of the journal that go into one member, and the most that a restore takes into memory.
pub(super) const MEMBER_BYTES: usize = 4 << 20;
pub(super) const SEAL: &str = "complete.json";
pub(super) const FORMAT: u32 = 1;

#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error(transparent)]
    Store(AppendError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("{}: {error}", path.display())]
    Io { path: PathBuf, error: io::Error },
    #[error("{} is not empty; a backup is restored into an empty directory", dir.display())]
    NotEmpty { dir: PathBuf },
    #[error("the file is no whole backup: {why}")]
    BadBackup { why: String },
    #[error("the backup was interrupted")]
    Interrupted,
}

/// What a backup holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupReport {
    pub format: u32,
    /// Number of the last entry in it.
    pub end: u64,
    pub months: Vec<String>,
    pub bytes: u64,
    /// SHA-256 over all members before the last.
    pub sha256: String,
}

/// Backs up a stopped store.
pub fn backup(data: &Path, file: &Path) -> Result<BackupReport, BackupError> {
    let _lock = verify::lock_existing(data)?;
    write(data, file, None)
}

/// Writes the file beside its place and gives it its name when it is whole. `running`: what the committer has made durable, and the
/// room that it needs itself.
pub(super) fn write(data: &Path, file: &Path, running: Option<(&Snapshot, &Space)>) -> Result<BackupReport, BackupError> {
    let draft = mend::with_ending(file, ".draft");
    let (snapshot, space) = running.unzip();
    // On another disk a backup may take what there is.
    let space = space.filter(|_| is_one_file_system(data, file));
    let seal =
        crate::seal::of(data).map_err(|error| BackupError::Io { path: data.to_owned(), error: io::Error::other(error.to_string()) })?;
    let seal = seal.as_ref().filter(|seal| seal.is_on());
    let written = Writer::create(&draft, space, seal).and_then(|writer| writer.store(data, snapshot));
    match written {
        Ok(report) => dir::rename(&draft, file).map(|()| report).map_err(|error| BackupError::Io { path: file.to_owned(), error }),
        Err(error) => {
            if let Err(left) = fs::remove_file(&draft) {
                tracing::warn!(file = %draft.display(), error = %left, "the draft of a failed backup could not be removed");
            }
            Err(error)
        }
    }
}

fn is_one_file_system(data: &Path, file: &Path) -> bool {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match (fs::metadata(data), fs::metadata(folder)) {
        (Ok(data), Ok(folder)) => data.dev() == folder.dev(),
        _ => true,
    }
}

/// Where the members go.
enum Out<'a> {
    Plain(File),
    Sealed(Sealing<'a, File>),
}

impl Out<'_> {
    fn finish(self) -> io::Result<File> {
        match self {
            Self::Plain(file) => Ok(file),
            Self::Sealed(sealing) => sealing.finish(),
        }
    }
}

impl Write for Out<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.write(bytes),
            Self::Sealed(sealing) => sealing.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(file) => file.flush(),
            Self::Sealed(sealing) => sealing.flush(),
        }
    }
}

struct Writer<'a> {
    path: PathBuf,
    space: Option<&'a Space>,
    tar: tar::Builder<Out<'a>>,
    digest: Sha256,
    bytes: u64,
}

impl<'a> Writer<'a> {
    fn create(path: &Path, space: Option<&'a Space>, seal: Option<&'a Seal>) -> Result<Self, BackupError> {
        // It holds numbers, names and keys.
        let file = dir::create(path);
        let out = file.and_then(|file| match seal {
            Some(seal) => Ok(Out::Sealed(Sealing::begin(file, seal)?)),
            None => Ok(Out::Plain(file)),
        });
        let out = out.map_err(|error| BackupError::Io { path: path.to_owned(), error })?;
        Ok(Self { path: path.to_owned(), space, tar: tar::Builder::new(out), digest: Sha256::new(), bytes: 0 })
    }

    fn store(mut self, data: &Path, running: Option<&Snapshot>) -> Result<BackupReport, BackupError> {
        let io = |error| BackupError::Io { path: data.to_owned(), error };
        let last = running.map(|snapshot| snapshot.month);
        let months: Vec<Month> = Month::all(data).map_err(io)?.into_iter().filter(|month| last.is_none_or(|last| *month <= last)).collect();
        // Of a running store first: while months are read, the checkpoints that its end reaches may be replaced.
        let first = running.map(|snapshot| self.checkpoint(data, snapshot.end)).transpose()?;
        let (mut end, mut given_back) = (0, 0);
        for month in &months {
            if let Some(dropped) = self.dropped(data, *month)? {
                (end, given_back) = (dropped.next - 1, dropped.next - 1);
                continue;
            }
            let current = running.filter(|snapshot| snapshot.month == *month);
            end = self.month(data, *month, current)?.unwrap_or(end);
        }
        let checkpoint = match first {
            Some(checkpoint) => checkpoint,
            None => self.checkpoint(data, end)?,
        };
        if checkpoint < given_back {
            let why = format!("no whole checkpoint holds the entries up to {given_back}, whose months were given back");
            return Err(ReadError::Damaged { place: checkpoint::FOLDER.into(), why }.into());
        }
        self.other_files(data, Path::new(""))?;
        let Self { path, mut tar, digest, bytes, .. } = self;
        let months = months.iter().map(ToString::to_string).collect();
        let report = BackupReport { format: FORMAT, end, months, bytes, sha256: hex(&digest.finalize()) };
        let seal = serde_json::to_vec(&report).map_err(|error| io(error.into()))?;
        let io = |error| BackupError::Io { path: path.clone(), error };
        append(&mut tar, SEAL, seal.len() as u64, &mut seal.as_slice()).map_err(io)?;
        tar.into_inner().and_then(Out::finish).and_then(|file| file.sync_all()).map_err(io)?;
        Ok(report)
    }

    /// Trail and mark of a month that was given back.
    fn dropped(&mut self, data: &Path, month: Month) -> Result<Option<Dropped>, BackupError> {
        let place = format!("{JOURNAL}/{month}");
        let damaged = |why: &str| ReadError::Damaged { place: place.clone(), why: why.to_owned() };
        let trail_path = month.trail_path(data);
        let io = |error| BackupError::Io { path: trail_path.clone(), error };
        let dropped = match dropping::read_mark(data, month).map_err(io)? {
            Mark::None => return Ok(None),
            Mark::Whole(dropped) => dropped,
            Mark::Damaged => return Err(damaged("the mark of a month that was given back is damaged").into()),
        };
        let mut file = File::open(&trail_path).map_err(io)?;
        let length = file.metadata().map_err(io)?.len();
        self.member(&format!("{TRAIL}/{month}.log"), length, &mut file)?;
        self.bytes_member(&format!("{place}{MARK}"), &dropped.to_bytes())?;
        Ok(Some(dropped))
    }

    /// Trail and journal of a month; the number of its last entry.
    fn month(&mut self, data: &Path, month: Month, current: Option<&Snapshot>) -> Result<Option<u64>, BackupError> {
        let place = format!("{JOURNAL}/{month}");
        let damaged = |why: String| ReadError::Damaged { place: place.clone(), why };
        let trail_path = month.trail_path(data);
        let trail =
            TrailRead::open(&trail_path).map_err(|error| damaged(error.to_string()))?.ok_or_else(|| damaged("it has no trail".into()))?;
        let link = current.map_or(trail.link(), |snapshot| snapshot.link);
        let length = trail.end_of(&link).ok_or_else(|| damaged("the trail does not reach as far as the journal".into()))?;
        let mut file = File::open(&trail_path).map_err(|error| BackupError::Io { path: trail_path.clone(), error })?;
        self.member(&format!("{TRAIL}/{month}.log"), length, &mut file)?;
        let ledger_error = |error: LedgerError| BackupError::Read(damaged(error.to_string()));
        let opened;
        let ledger = match current {
            Some(snapshot) => &snapshot.ledger,
            None => {
                opened = Ledger::open(&month.journal_path(data)).map_err(ledger_error)?;
                &opened
            }
        };
        let begin = Begin { start: trail.header.start, link };
        self.bytes_member(&format!("{place}/begin"), &begin.to_bytes())?;
        self.values(ledger, &place, begin.start, current.map_or(u64::MAX - 1, |snapshot| snapshot.end))
    }

    fn values(&mut self, ledger: &Ledger, place: &str, start: u64, end: u64) -> Result<Option<u64>, BackupError> {
        let (mut members, mut buffer) = (0_u32, Vec::with_capacity(MEMBER_BYTES));
        // Read on the way, so that no damage is carried into a backup.
        let mut unpacker = values::Unpacker::new(place, Some(start));
        ledger.scan::<BackupError>(0, |key, value| {
            if values::read_key(key).is_some_and(|(seq, _)| seq > end) {
                return Ok(());
            }
            unpacker.feed(key, value, &mut |_| Ok::<(), BackupError>(()))?;
            if buffer.len() + value.len() + KEY_BYTES + 4 > MEMBER_BYTES {
                members += 1;
                self.bytes_member(&format!("{place}/{members:08}"), &buffer)?;
                buffer.clear();
            }
            buffer.extend_from_slice(key);
            buffer.extend_from_slice(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_le_bytes());
            buffer.extend_from_slice(value);
            Ok(())
        })?;
        if !buffer.is_empty() {
            self.bytes_member(&format!("{place}/{:08}", members + 1), &buffer)?;
        }
        let next = unpacker.next();
        match unpacker.faults.into_list().first() {
            Some(fault) => Err(ReadError::Damaged { place: place.to_owned(), why: fault.to_string() }.into()),
            None => Ok(next.map(|next| next - 1)),
        }
    }

    /// The newest whole checkpoint that the journal of this backup reaches; its number, or zero.
    fn checkpoint(&mut self, data: &Path, end: u64) -> Result<u64, BackupError> {
        let io = |error| BackupError::Io { path: data.join(checkpoint::FOLDER), error };
        for seq in checkpoint::list(data).map_err(io)?.into_iter().filter(|seq| *seq <= end) {
            // One that is spoilt, or replaced at this moment, is passed over: the journal has everything.
            if let Ok(state) = checkpoint::read(data, seq) {
                return self.bytes_member(&format!("{}/{seq}", checkpoint::FOLDER), &state).map(|()| seq);
            }
        }
        Ok(0)
    }

    /// Documents and whatever else lies in the data directory; not what was moved aside.
    fn other_files(&mut self, data: &Path, below: &Path) -> Result<(), BackupError> {
        let folder = data.join(below);
        let io = |error| BackupError::Io { path: folder.clone(), error };
        for item in fs::read_dir(&folder).map_err(io)? {
            let item = item.map_err(io)?;
            let place = below.join(item.file_name());
            let ours = [JOURNAL, TRAIL, checkpoint::FOLDER, lock::FILE].iter().any(|name| place == Path::new(name));
            let kind = item.file_type().map_err(io)?;
            if kind.is_dir() && !ours {
                self.other_files(data, &place)?;
            } else if kind.is_file() && !ours && !place.as_os_str().to_string_lossy().ends_with(".draft") && item.path() != self.path {
                let mut file = match File::open(item.path()) {
                    // Replaced or dropped by its owner since it was listed.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    other => other.map_err(io)?,
                };
                let length = file.metadata().map_err(io)?.len();
                self.member(&format!("files/{}", place.display()), length, &mut file)?;
            }
        }
        Ok(())
    }

    fn bytes_member(&mut self, name: &str, mut bytes: &[u8]) -> Result<(), BackupError> {
        self.member(name, bytes.len() as u64, &mut bytes)
    }

    fn member(&mut self, name: &str, length: u64, source: &mut dyn Read) -> Result<(), BackupError> {
        // Asked for each member, of 4 MB or one file: a backup must never be what fills the disk of the journal.
        if self.space.is_some_and(|space| !has_room_for(space, length)) {
            let error = io::Error::new(io::ErrorKind::StorageFull, "a backup beside the data would take the room that the store needs");
            return Err(BackupError::Io { path: self.path.clone(), error });
        }
        self.digest.update(name.as_bytes());
        self.digest.update(length.to_le_bytes());
        self.bytes += length;
        let mut source = Digesting { source: source.take(length), digest: &mut self.digest };
        append(&mut self.tar, name, length, &mut source).map_err(|error| BackupError::Io { path: self.path.clone(), error })
    }
}

pub(super) struct Digesting<'a, R> {
    pub(super) source: R,
    pub(super) digest: &'a mut Sha256,
}

impl<R: Read> Read for Digesting<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        self.digest.update(&buffer[..read]);
        Ok(read)
    }
}

fn append(tar: &mut tar::Builder<Out<'_>>, name: &str, length: u64, source: &mut dyn Read) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(length);
    header.set_mode(0o600);
    tar.append_data(&mut header, name, source)
}

/// What a month's database begins with.
pub(super) struct Begin {
    pub(super) start: u64,
    pub(super) link: Link,
}

impl Begin {
    fn to_bytes(&self) -> Vec<u8> {
        [self.start.to_le_bytes().as_slice(), &self.link.to_bytes()].concat()
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (start, link) = bytes.split_first_chunk::<8>()?;
        Some(Self { start: u64::from_le_bytes(*start), link: Link::from_bytes(link)? })
    }
}

impl From<LedgerError> for BackupError {
    fn from(error: LedgerError) -> Self {
        let place = JOURNAL.to_owned();
        Self::Read(match error {
            LedgerError::Io(error) => ReadError::Io { place, error },
            LedgerError::Damaged(why) => ReadError::Damaged { place, why },
        })
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl BackupReport {
    /// Number of the last entry in the backup.
    pub fn end(&self) -> Seq {
        Seq(self.end)
    }
}
