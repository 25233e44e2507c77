//! Owns the opening of a registry: the newest sound generation, the changes logged since, and what was found damaged.
//! Refuses to know edits and imports.
//! Invariant: what was acknowledged is there, or told as damaged; a key that may have been given away is not given again.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use super::{
    file::{FileError, Marks},
    log::{ChangeLog, Ending, LogRead},
    replay,
    shelf::{
        Keys, create_file, drop_others, generation_path, generations, is_as_wanted, log_path, logs, make_dir, read_file, read_file_marks,
        write_file,
    },
    snapshot::Snapshot,
    store::{Damaged, Log, OpenError},
};

/// Two processes that both write would lose each other's changes.
const LOCK_NAME: &str = "registry.lock";

pub(super) struct Found {
    pub(super) lock: File,
    pub(super) snapshot: Snapshot,
    pub(super) log: Log,
    pub(super) damaged: Vec<Damaged>,
}

pub(super) fn open(dir: &Path) -> Result<Found, OpenError> {
    let at_dir = |source| OpenError::Directory { dir: dir.to_owned(), source };
    make_dir(dir).map_err(at_dir)?;
    let lock = create_file(&dir.join(LOCK_NAME)).map_err(at_dir)?;
    lock.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => OpenError::InUse { dir: dir.to_owned() },
        TryLockError::Error(source) => at_dir(source),
    })?;
    let mut damage = Damage::default();
    let snapshot = newest(dir, &mut damage)?;
    let start = snapshot.generation();
    let (mut snapshot, log) = catch_up(dir, snapshot, &mut damage).map_err(at_dir)?;
    unreached_logs(dir, start, snapshot.generation(), &mut damage).map_err(at_dir)?;
    for Damaged { file, .. } in &mut damage.list {
        let aside = aside(file);
        fs::rename(&*file, &aside).map_err(at_dir)?;
        *file = aside;
    }
    if damage.list.is_empty() {
        let log = resealed(dir, &mut snapshot, log).map_err(at_dir)?;
        return Ok(Found { lock, snapshot, log, damaged: damage.list });
    }
    // Keys given away in what is lost may stand in plans: they are not given again, nor is its number.
    snapshot.skip_to(damage.lost);
    let log = match write_file(dir, &generation_path(dir, snapshot.generation()), &snapshot) {
        Ok(()) => Log::Unmade,
        Err(error) => {
            tracing::error!(%error, "the registry as it was found cannot be written: the next change tries again");
            Log::Unusable
        }
    };
    Ok(Found { lock, snapshot, log, damaged: damage.list })
}

/// What stands there unsealed and should not, or sealed with a key of before, is written again whole, and then nothing else of it is left.
fn resealed(dir: &Path, snapshot: &mut Snapshot, log: Log) -> io::Result<Log> {
    let keys = Keys::of_dir(dir);
    let files = generations(dir)?;
    let are_files = files.iter().try_fold(true, |all, (_, path)| Ok::<_, io::Error>(all && is_as_wanted(path, &keys)?))?;
    let is_sealing = keys.to_write()?.is_some();
    let mut are_logs = true;
    for (base, path) in logs(dir)? {
        are_logs &= LogRead::open(&path, base)?.is_none_or(|read| read.is_sealed == is_sealing);
    }
    if are_files && are_logs {
        return Ok(log);
    }
    *snapshot = snapshot.next_generation();
    write_file(dir, &generation_path(dir, snapshot.generation()), snapshot)?;
    drop_others(dir, snapshot.generation())?;
    tracing::info!(dir = %dir.display(), sealed = is_sealing, "the registry was written again as the configuration wants it kept");
    Ok(Log::Unmade)
}

/// Every file of a registry that the next start would not read as it was written, and why; nothing is changed. Blocking.
pub fn judge(dir: &Path) -> io::Result<Vec<(PathBuf, String)>> {
    let mut faults = Vec::new();
    if !dir.is_dir() {
        return Ok(faults);
    }
    for (_, path) in generations(dir)? {
        if let Err(error) = read_file(&path) {
            faults.push((path, error.to_string()));
        }
    }
    for (base, path) in logs(dir)? {
        match LogRead::open(&path, base) {
            Ok(Some(read)) => match read.ending {
                Ending::Broken { frame, .. } => faults.push((path, FileError::Frame { frame }.to_string())),
                Ending::Torn { .. } if read.is_spoilt_at_end(&path)? => {
                    faults.push((path, "its last change is not what was written; the next start goes on without it".into()));
                }
                Ending::Whole | Ending::Torn { .. } => {}
            },
            // What an interrupted making left: nobody was told of a change in it.
            Ok(None) => {}
            Err(error) => faults.push((path, error.to_string())),
        }
    }
    Ok(faults)
}

/// Files that are not what was written, and how far they went.
#[derive(Default)]
struct Damage {
    list: Vec<Damaged>,
    lost: Marks,
}

impl Damage {
    fn add(&mut self, file: &Path, error: FileError, lost: Marks) {
        self.lost = self.lost.newer(lost);
        self.list.push(Damaged { file: file.to_owned(), error });
    }
}

/// `registry-7.bin` and `registry-7.log` both have their own name aside.
fn aside(file: &Path) -> PathBuf {
    match file.extension() {
        Some(ending) if ending == "log" => file.with_extension("log.damaged"),
        _ => file.with_extension("damaged"),
    }
}

/// The newest generation that can be read.
fn newest(dir: &Path, damage: &mut Damage) -> Result<Snapshot, OpenError> {
    let files = generations(dir).map_err(|source| OpenError::Directory { dir: dir.to_owned(), source })?;
    for (_, path) in files.iter().rev() {
        match read_file(path) {
            Ok(snapshot) => return Ok(snapshot),
            Err(FileError::Sealed(why)) => return Err(OpenError::Sealed { file: path.clone(), why }),
            Err(FileError::Newer) => return Err(OpenError::Newer { file: path.clone() }),
            Err(error) => damage.add(path, error, read_file_marks(path).unwrap_or_default()),
        }
    }
    if damage.list.is_empty() {
        return Ok(Snapshot::default());
    }
    Err(OpenError::AllDamaged { dir: dir.to_owned(), count: damage.list.len(), newest: damage.list.swap_remove(0).error })
}

/// Makes the logged changes, also those of a later generation whose file is lost, as far as logs join on.
fn catch_up(dir: &Path, mut snapshot: Snapshot, damage: &mut Damage) -> io::Result<(Snapshot, Log)> {
    let mut open = Log::Unmade;
    loop {
        let path = log_path(dir, snapshot.generation());
        let Some(mut read) = LogRead::open(&path, snapshot.generation())? else { return Ok((snapshot, open)) };
        let edits = std::mem::take(&mut read.edits);
        let (is_empty, changes) = (edits.is_empty(), edits.iter().map(|edit| edit.outcomes.len()).sum());
        let marks = edits.last().map_or(Marks::default(), |edit| edit.marks());
        // A log that does not fit is found out only by trying, so the state before is kept until then.
        match replay::replayed(snapshot.clone(), edits) {
            Ok(next) => snapshot = next,
            Err(faults) => {
                let why = faults.first().map_or_else(String::new, ToString::to_string);
                damage.add(&path, FileError::Unfit(why), marks.newer(read.marks()));
                return Ok((snapshot, Log::Unusable));
            }
        }
        match read.ending {
            Ending::Broken { frame, lost } => {
                damage.add(&path, FileError::Frame { frame }, lost);
                return Ok((snapshot, Log::Unusable));
            }
            Ending::Torn { bytes } => {
                tracing::warn!(log = %path.display(), bytes, "the end of the registry's change log was never finished and is cut off");
            }
            Ending::Whole => {}
        }
        open = Log::Open(ChangeLog::resume(&path, &read, changes)?);
        if is_empty {
            return Ok((snapshot, open));
        }
    }
}

/// Logs of generations that are lost and that no chain of logs comes to.
fn unreached_logs(dir: &Path, start: u64, reached: u64, damage: &mut Damage) -> io::Result<()> {
    for (base, path) in logs(dir)?.into_iter().filter(|(base, _)| *base > start) {
        let is_named = damage.list.iter().any(|damaged| damaged.file == path);
        if base > reached && !is_named {
            let marks = LogRead::open(&path, base)?.map_or(Marks::default(), |read| read.marks());
            damage.add(&path, FileError::Unfit(format!("generation {base} is lost")), marks);
        }
    }
    Ok(())
}
