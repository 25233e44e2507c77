//! Owns the registry on disk: the newest sound generation and the changes logged since are the registry.
//! Refuses to know HTTP, keys and who may change what.
//! Invariant: a change is on disk, whole and fsynced, before anybody sees its snapshot; a power cut leaves the one before or the one after.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;
use serde::Serialize;

use super::{
    columns::Kind,
    content::ImportFile,
    edit::{Change, edited},
    erased::Erased,
    file::FileError,
    headings::Understood,
    import::{ImportOptions, Progress, read_files},
    log::ChangeLog,
    merge::{Counts, Import, Merged, Mode, Placed, merge, merge_read},
    opening::{self, Found},
    replay,
    row_faults::RowFaults,
    shelf::{drop_old, drop_others, generation_path, log_path, write_file},
    snapshot::Snapshot,
};
use crate::{fault::Fault, seal::SealError};

/// The registry of one gateway. Writers wait for each other; readers never wait.
#[derive(Debug)]
pub struct Registry {
    dir: PathBuf,
    current: ArcSwap<Snapshot>,
    writing: Mutex<Writing>,
}

#[derive(Debug)]
struct Writing {
    /// Held as long as the registry is open.
    _lock: File,
    log: Log,
}

/// Files that were read and held against the current state; nothing is written yet.
struct Read {
    kinds: Vec<Kind>,
    understood: Vec<Understood>,
    merged: Merged,
    /// The list of the erased, where it lets go of somebody.
    erased: Option<Erased>,
}

/// Where the next edit goes.
#[derive(Debug)]
pub(super) enum Log {
    /// Into a log that is still to be made, beside the generation that is current.
    Unmade,
    Open(ChangeLog),
    /// What is on disk is not known, or is not the current state: into a whole generation.
    Unusable,
}

/// A registry that has been opened, and what was found damaged on the way: worth an alarm.
#[derive(Debug)]
pub struct Opened {
    pub registry: Registry,
    pub snapshot: Arc<Snapshot>,
    pub damaged: Vec<Damaged>,
}

/// A generation that could not be read and was moved aside.
#[derive(Debug)]
pub struct Damaged {
    pub file: PathBuf,
    pub error: FileError,
}

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("registry directory {}: {source}", dir.display())]
    Directory { dir: PathBuf, source: io::Error },
    #[error("registry directory {} is in use by another process", dir.display())]
    InUse { dir: PathBuf },
    #[error("{}: {}", file.display(), FileError::Newer)]
    Newer { file: PathBuf },
    #[error("{}: {why}", file.display())]
    Sealed { file: PathBuf, why: SealError },
    /// Starting with an empty registry would tell nobody.
    #[error("none of the {count} registry files in {} can be read; the newest: {newest}", dir.display())]
    AllDamaged { dir: PathBuf, count: usize, newest: FileError },
}

#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// Nothing was changed; every fault is named.
    #[error("the registry refuses the change: {} faults, the first: {}", .0.len(), .0.first().map_or_else(String::new, ToString::to_string))]
    Refused(Vec<Fault>),
    #[error("registry file {}: {source}", file.display())]
    Write { file: PathBuf, source: io::Error },
}

/// What an import did, or would do.
#[derive(Debug, Serialize)]
pub struct ImportReport {
    pub dry_run: bool,
    pub generation: u64,
    /// By kind, those that the import speaks of.
    pub counts: Vec<KindCounts>,
    pub warnings: Vec<Fault>,
    /// How each file and sheet was read, column by column.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub understood: Vec<Understood>,
    /// The state after the import; of a dry run, the one that would be.
    #[serde(skip)]
    pub snapshot: Arc<Snapshot>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct KindCounts {
    pub kind: &'static str,
    #[serde(flatten)]
    pub counts: Counts,
}

impl Registry {
    /// Opens the newest sound generation under `dir`, which is made if need be, with the changes logged since.
    pub fn open(dir: &Path) -> Result<Opened, OpenError> {
        let Found { lock, snapshot, log, damaged } = opening::open(dir)?;
        let snapshot = Arc::new(snapshot);
        let writing = Mutex::new(Writing { _lock: lock, log });
        let registry = Self { dir: dir.to_owned(), current: ArcSwap::new(Arc::clone(&snapshot)), writing };
        Ok(Opened { registry, snapshot, damaged })
    }

    /// Bytes of the newest generation's file; none before the first.
    pub fn bytes_on_disk(&self) -> u64 {
        std::fs::metadata(generation_path(&self.dir, self.current().generation())).map_or(0, |about| about.len())
    }

    pub fn current(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Takes in files, all or nothing. Blocking; a million rows take seconds.
    pub fn import(&self, files: &[ImportFile<'_>], options: ImportOptions) -> Result<ImportReport, RegistryError> {
        self.import_watched(files, options, &|_| {})
    }

    /// The same, telling how far it is.
    pub fn import_watched(
        &self,
        files: &[ImportFile<'_>],
        options: ImportOptions,
        watch: &dyn Fn(Progress),
    ) -> Result<ImportReport, RegistryError> {
        let mut writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let Read { kinds, understood, merged, erased } = self.read(files, options, watch)?;
        watch(Progress::Writing);
        let removes = merged.counts.iter().any(|(kind, counts)| matches!(kind, Kind::Subscribers | Kind::Endpoints) && counts.removed > 0);
        let keep = if removes { Self::keep_alone } else { Self::keep };
        let snapshot = keep(self, &mut writing.log, merged.snapshot)?;
        self.let_go(erased)?;
        Ok(ImportReport { understood, ..report(&kinds, merged.counts, merged.warnings, snapshot, false) })
    }

    /// What `import` would do, without doing it.
    pub fn dry_run(&self, files: &[ImportFile<'_>], options: ImportOptions) -> Result<ImportReport, RegistryError> {
        self.dry_run_watched(files, options, &|_| {})
    }

    pub fn dry_run_watched(
        &self,
        files: &[ImportFile<'_>],
        options: ImportOptions,
        watch: &dyn Fn(Progress),
    ) -> Result<ImportReport, RegistryError> {
        let Read { kinds, understood, merged, .. } = self.read(files, options, watch)?;
        Ok(ImportReport { understood, ..report(&kinds, merged.counts, merged.warnings, Arc::new(merged.snapshot), true) })
    }

    /// Takes in records that are there already: a generated county.
    pub fn import_records(&self, import: &Import, mode: Mode) -> Result<ImportReport, RegistryError> {
        let mut writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let merged = merge(&self.current(), import, mode).map_err(RegistryError::Refused)?;
        let snapshot = self.keep(&mut writing.log, merged.snapshot)?;
        Ok(report(&import.kinds, merged.counts, merged.warnings, snapshot, false))
    }

    /// Makes single changes, all or nothing. Blocking: they are on disk when it returns, and no reader waits meanwhile.
    pub fn edit(&self, changes: &[Change]) -> Result<Arc<Snapshot>, RegistryError> {
        self.edit_allowing(changes, false)
    }

    /// The same; `allow` takes in whoever was erased.
    pub fn edit_allowing(&self, changes: &[Change], allow: bool) -> Result<Arc<Snapshot>, RegistryError> {
        let mut writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let current = self.current();
        let erased = self.judge_erased(&current, changes, allow)?;
        let done = self.edit_locked(&mut writing, &current, changes)?;
        self.let_go(erased)?;
        Ok(done)
    }

    /// Whoever was erased is put in again by nobody who does not say so.
    fn judge_erased(&self, current: &Snapshot, changes: &[Change], allow: bool) -> Result<Option<Erased>, RegistryError> {
        let put = |change: &Change| match change {
            Change::PutSubscriber(record) => Some(Placed { file: 0, line: 0, record: record.clone() }),
            _ => None,
        };
        let mut import = Import { subscribers: changes.iter().filter_map(put).collect(), ..Import::default() };
        if import.subscribers.is_empty() {
            return Ok(None);
        }
        let (mut erased, mut faults) = (self.erased()?, RowFaults::default());
        let has_let_go = erased.leave_out(&mut import, &mut faults, current, allow);
        match faults.take_warnings() {
            refused if refused.is_empty() => Ok(has_let_go.then_some(erased)),
            refused => Err(RegistryError::Refused(refused)),
        }
    }

    fn edit_locked(&self, writing: &mut Writing, current: &Snapshot, changes: &[Change]) -> Result<Arc<Snapshot>, RegistryError> {
        let next = edited(current, changes).map_err(RegistryError::Refused)?;
        // Whoever is deleted is deleted: neither a log nor an older generation keeps what was known of them.
        if changes.iter().any(|change| matches!(change, Change::Delete(Kind::Subscribers | Kind::Endpoints, _))) {
            return self.keep_alone(&mut writing.log, next);
        }
        let Some(edit) = replay::edit_of(current, changes, &next) else { return self.keep(&mut writing.log, next) };
        if matches!(writing.log, Log::Unmade) {
            let path = log_path(&self.dir, current.generation());
            writing.log = Log::Open(ChangeLog::create(&path, current.generation()).map_err(|source| write_error(&path, source))?);
        }
        let Log::Open(log) = &mut writing.log else { return self.keep(&mut writing.log, next) };
        if log.is_overgrown() {
            return self.keep(&mut writing.log, next);
        }
        if let Err(source) = log.append(&edit) {
            writing.log = Log::Unusable;
            return Err(RegistryError::Write { file: self.dir.clone(), source });
        }
        let next = Arc::new(next);
        self.current.store(Arc::clone(&next));
        if log.is_full() {
            self.take_up(&mut writing.log, &next);
        }
        Ok(next)
    }

    /// Writes the state that a full log has come to as a whole generation; the log stays, should that file be lost.
    fn take_up(&self, log: &mut Log, state: &Snapshot) {
        match self.write(state) {
            Ok(()) => *log = Log::Unmade,
            // The changes are on disk, in the log; the next edit tries again.
            Err(error) => tracing::warn!(%error, "the registry's change log is full, and no whole generation can be written"),
        }
    }

    /// The kinds that the files speak of, and the state with what they say; what was read goes here, before anything is written.
    fn read(&self, files: &[ImportFile<'_>], options: ImportOptions, watch: &dyn Fn(Progress)) -> Result<Read, RegistryError> {
        let current = self.current();
        let (mut import, mut faults) = read_files(files, options, &current, watch);
        watch(Progress::Merging);
        let mut erased = self.erased()?;
        let has_let_go = erased.leave_out(&mut import, &mut faults, &current, options.allow_erased);
        let merged = merge_read(&current, &import, options.mode, faults).map_err(RegistryError::Refused)?;
        Ok(Read { kinds: import.kinds, understood: import.understood, merged, erased: has_let_go.then_some(erased) })
    }

    fn erased(&self) -> Result<Erased, RegistryError> {
        Erased::of(&self.data()).map_err(|source| write_error(&self.dir, source))
    }

    /// The data directory that this one lies in.
    fn data(&self) -> PathBuf {
        let whole = std::fs::canonicalize(&self.dir).unwrap_or_else(|_| self.dir.clone());
        whole.parent().unwrap_or(&whole).to_owned()
    }

    fn let_go(&self, erased: Option<Erased>) -> Result<(), RegistryError> {
        erased.map_or(Ok(()), |mut erased| erased.keep(&self.data()).map_err(|source| write_error(&self.dir, source)))
    }

    /// Removes these people for good: an import of them later is left out. What of them was asked for and is not there is a fault.
    pub fn erase(&self, ids: &[Box<str>]) -> Result<Arc<Snapshot>, RegistryError> {
        let mut writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let current = self.current();
        let changes: Vec<Change> = ids.iter().map(|id| Change::Delete(Kind::Subscribers, id.clone())).collect();
        // Refused before the list is written, where somebody still depends on them.
        let next = edited(&current, &changes).map_err(RegistryError::Refused)?;
        let people: Vec<_> = ids.iter().filter_map(|id| current.subscriber_by_id(id)).collect();
        let mut erased = self.erased()?;
        erased.add(&self.data(), &people).map_err(|source| write_error(&self.dir, source))?;
        self.keep_alone(&mut writing.log, next)
    }

    /// How many addresses are on the list of the erased.
    pub fn erased_count(&self) -> Result<usize, RegistryError> {
        Ok(self.erased()?.len())
    }

    /// Takes over the list of another data directory of this installation, and erases whoever of it has come back with a backup. Their ids.
    pub fn take_erased_from(&self, data: &Path) -> Result<Vec<Box<str>>, RegistryError> {
        let failed = |source| write_error(&self.dir, source);
        let mut own = self.erased()?;
        own.join(&self.data(), Erased::of(data).map_err(failed)?).map_err(failed)?;
        let ids = own.brought_back(&self.current());
        for some in ids.chunks(super::edit::CHANGES_MAX) {
            self.erase(some)?;
        }
        Ok(ids)
    }

    /// Writes a state and only then lets it be seen.
    fn keep(&self, log: &mut Log, next: Snapshot) -> Result<Arc<Snapshot>, RegistryError> {
        self.write(&next)?;
        *log = Log::Unmade;
        let next = Arc::new(next);
        self.current.store(Arc::clone(&next));
        Ok(next)
    }

    /// Writes a state twice, each whole and under its own number, and removes everything that was there before.
    fn keep_alone(&self, log: &mut Log, next: Snapshot) -> Result<Arc<Snapshot>, RegistryError> {
        let first = self.keep(log, next)?;
        let dropped = drop_others(&self.dir, first.generation());
        dropped.map_err(|source| write_error(&self.dir, source))?;
        self.keep(log, first.next_generation())
    }

    fn write(&self, state: &Snapshot) -> Result<(), RegistryError> {
        let path = generation_path(&self.dir, state.generation());
        write_file(&self.dir, &path, state).map_err(|source| write_error(&path, source))?;
        if let Err(error) = drop_old(&self.dir) {
            tracing::warn!(dir = %self.dir.display(), %error, "old registry generations could not be removed");
        }
        Ok(())
    }
}

fn write_error(file: &Path, source: io::Error) -> RegistryError {
    RegistryError::Write { file: file.to_owned(), source }
}

fn report(
    kinds: &[Kind],
    counts: impl IntoIterator<Item = (Kind, Counts)>,
    warnings: Vec<Fault>,
    snapshot: Arc<Snapshot>,
    dry_run: bool,
) -> ImportReport {
    let named = counts.into_iter().filter(|(kind, _)| kinds.contains(kind));
    let counts = named.map(|(kind, counts)| KindCounts { kind: kind.name(), counts }).collect();
    ImportReport { dry_run, generation: snapshot.generation(), counts, warnings, understood: Vec::new(), snapshot }
}
