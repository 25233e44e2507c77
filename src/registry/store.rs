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
    file::FileError,
    headings::Understood,
    import::{ImportOptions, Progress, read_files},
    log::ChangeLog,
    merge::{Counts, Import, Merged, Mode, merge, merge_read},
    opening::{self, Found},
    replay,
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
        let (kinds, understood, merged) = self.read(files, options, watch)?;
        watch(Progress::Writing);
        let removes = merged.counts.iter().any(|(kind, counts)| matches!(kind, Kind::Subscribers | Kind::Endpoints) && counts.removed > 0);
        let keep = if removes { Self::keep_alone } else { Self::keep };
        let snapshot = keep(self, &mut writing.log, merged.snapshot)?;
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
        let (kinds, understood, merged) = self.read(files, options, watch)?;
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
        let mut writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let current = self.current();
        let next = edited(&current, changes).map_err(RegistryError::Refused)?;
        // Whoever is deleted is deleted: neither a log nor an older generation keeps what was known of them.
        if changes.iter().any(|change| matches!(change, Change::Delete(Kind::Subscribers | Kind::Endpoints, _))) {
            return self.keep_alone(&mut writing.log, next);
        }
        let Some(edit) = replay::edit_of(&current, changes, &next) else { return self.keep(&mut writing.log, next) };
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
    fn read(
        &self,
        files: &[ImportFile<'_>],
        options: ImportOptions,
        watch: &dyn Fn(Progress),
    ) -> Result<(Vec<Kind>, Vec<Understood>, Merged), RegistryError> {
        let current = self.current();
        let (import, faults) = read_files(files, options, &current, watch);
        watch(Progress::Merging);
        let merged = merge_read(&current, &import, options.mode, faults).map_err(RegistryError::Refused)?;
        Ok((import.kinds, import.understood, merged))
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
