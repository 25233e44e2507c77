//! Owns the registry on disk: one file per generation, the newest sound one is the registry.
//! Refuses to know HTTP, keys and who may change what.
//! Invariant: a change is on disk, whole and fsynced, before anybody sees its snapshot; a power cut leaves the one before or the one after.

use std::{
    fs::{self, File, TryLockError},
    io::{self, BufReader, BufWriter, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;
use serde::Serialize;

use super::{
    columns::Kind,
    edit::{Change, edited},
    file::{self, FileError, Marks},
    import::{ImportFile, ImportOptions, read_files},
    merge::{Counts, Import, Merged, Mode, merge},
    snapshot::Snapshot,
};
use crate::fault::Fault;

/// Generations kept: the newest, and two to fall back on.
const GENERATIONS_KEPT: usize = 3;
/// Two processes that both write would lose each other's changes.
const LOCK_NAME: &str = "registry.lock";

/// The registry of one gateway. Writers wait for each other; readers never wait.
#[derive(Debug)]
pub struct Registry {
    dir: PathBuf,
    current: ArcSwap<Snapshot>,
    /// Holds the lock on the directory as long as the registry is open.
    writing: Mutex<File>,
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
    /// Opens the newest sound generation under `dir`, which is made if need be.
    pub fn open(dir: &Path) -> Result<Opened, OpenError> {
        let at_dir = |source| OpenError::Directory { dir: dir.to_owned(), source };
        make_dir(dir).map_err(at_dir)?;
        let lock = File::create(dir.join(LOCK_NAME)).map_err(at_dir)?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => OpenError::InUse { dir: dir.to_owned() },
            TryLockError::Error(source) => at_dir(source),
        })?;
        let files = generations(dir).map_err(at_dir)?;
        let mut damaged: Vec<Damaged> = Vec::new();
        let mut lost = Marks::default();
        let mut found: Option<Snapshot> = None;
        for path in files.iter().rev() {
            match read_file(path) {
                Ok(snapshot) => {
                    found = Some(snapshot);
                    break;
                }
                Err(error) => {
                    lost = read_file_marks(path).map_or(lost, |marks| newer(lost, marks));
                    damaged.push(Damaged { file: path.clone(), error });
                }
            }
        }
        if found.is_none() && !damaged.is_empty() {
            return Err(OpenError::AllDamaged { dir: dir.to_owned(), count: damaged.len(), newest: damaged.swap_remove(0).error });
        }
        for Damaged { file, .. } in &mut damaged {
            let aside = file.with_extension("damaged");
            fs::rename(&*file, &aside).map_err(at_dir)?;
            *file = aside;
        }
        let mut snapshot = found.unwrap_or_default();
        // Keys given away in a lost generation may stand in plans: they are not given again.
        snapshot.skip_to(lost);
        let snapshot = Arc::new(snapshot);
        let registry = Self { dir: dir.to_owned(), current: ArcSwap::new(Arc::clone(&snapshot)), writing: Mutex::new(lock) };
        Ok(Opened { registry, snapshot, damaged })
    }

    pub fn current(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Takes in files, all or nothing. Blocking; a million rows take seconds.
    pub fn import(&self, files: &[ImportFile<'_>], options: ImportOptions) -> Result<ImportReport, RegistryError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let (import, merged) = self.read(files, options)?;
        let snapshot = self.keep(merged.snapshot)?;
        Ok(report(&import, merged.counts, merged.warnings, snapshot, false))
    }

    /// What `import` would do, without doing it.
    pub fn dry_run(&self, files: &[ImportFile<'_>], options: ImportOptions) -> Result<ImportReport, RegistryError> {
        let (import, merged) = self.read(files, options)?;
        Ok(report(&import, merged.counts, merged.warnings, Arc::new(merged.snapshot), true))
    }

    /// Takes in records that are there already: a generated county.
    pub fn import_records(&self, import: &Import, mode: Mode) -> Result<ImportReport, RegistryError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let merged = merge(&self.current(), import, mode).map_err(RegistryError::Refused)?;
        let snapshot = self.keep(merged.snapshot)?;
        Ok(report(import, merged.counts, merged.warnings, snapshot, false))
    }

    /// Makes single changes, all or nothing. Blocking: the whole registry is written.
    pub fn edit(&self, changes: &[Change]) -> Result<Arc<Snapshot>, RegistryError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let next = edited(&self.current(), changes).map_err(RegistryError::Refused)?;
        self.keep(next)
    }

    fn read(&self, files: &[ImportFile<'_>], options: ImportOptions) -> Result<(Import, Merged), RegistryError> {
        let current = self.current();
        let (import, faults) = read_files(files, options, &current);
        let merged = merge(&current, &import, options.mode);
        let mut list = faults.into_list();
        match merged {
            Ok(merged) if list.is_empty() => Ok((import, merged)),
            Ok(_) => Err(RegistryError::Refused(list)),
            Err(more) => {
                list.extend(more);
                Err(RegistryError::Refused(list))
            }
        }
    }

    /// Writes a state and only then lets it be seen.
    fn keep(&self, next: Snapshot) -> Result<Arc<Snapshot>, RegistryError> {
        let path = self.dir.join(format!("registry-{:012}.bin", next.generation()));
        write_file(&self.dir, &path, &next).map_err(|source| RegistryError::Write { file: path.clone(), source })?;
        let next = Arc::new(next);
        self.current.store(Arc::clone(&next));
        if let Err(error) = drop_old(&self.dir) {
            tracing::warn!(dir = %self.dir.display(), %error, "old registry generations could not be removed");
        }
        Ok(next)
    }
}

fn report(
    import: &Import,
    counts: impl IntoIterator<Item = (Kind, Counts)>,
    warnings: Vec<Fault>,
    snapshot: Arc<Snapshot>,
    dry_run: bool,
) -> ImportReport {
    let named = counts.into_iter().filter(|(kind, _)| import.kinds.contains(kind));
    let counts = named.map(|(kind, counts)| KindCounts { kind: kind.name(), counts }).collect();
    ImportReport { dry_run, generation: snapshot.generation(), counts, warnings, snapshot }
}

fn newer(a: Marks, b: Marks) -> Marks {
    let mut next_keys = a.next_keys;
    next_keys.iter_mut().zip(b.next_keys).for_each(|(key, other)| *key = other.max(*key));
    Marks { generation: a.generation.max(b.generation), next_keys }
}

/// Makes a directory and those above it, and has each name on disk: one that is not takes everything below it along in a power cut.
fn make_dir(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    make_dir(parent)?;
    fs::create_dir_all(dir)?;
    sync_dir(parent)
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// The registry files of a directory, oldest first.
fn generations(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("");
        if name.starts_with("registry-") && name.ends_with(".bin") {
            files.push(path);
        }
    }
    // Numbers are padded, so names sort as generations do.
    files.sort();
    Ok(files)
}

fn read_file(path: &Path) -> Result<Snapshot, FileError> {
    let input = File::open(path)?;
    let bytes_total = input.metadata()?.len();
    file::read(&mut BufReader::new(input), bytes_total)
}

fn read_file_marks(path: &Path) -> Result<Marks, FileError> {
    let input = File::open(path)?;
    let bytes_total = input.metadata()?.len();
    file::read_marks(&mut BufReader::new(input), bytes_total)
}

/// Under another name first, so that a file of the right name is always whole.
fn write_file(dir: &Path, path: &Path, snapshot: &Snapshot) -> io::Result<()> {
    let unfinished = path.with_extension("unfinished");
    let mut out = BufWriter::new(File::create(&unfinished)?);
    file::write(snapshot, &mut out)?;
    out.flush()?;
    out.get_ref().sync_all()?;
    fs::rename(&unfinished, path)?;
    sync_dir(dir)
}

fn drop_old(dir: &Path) -> io::Result<()> {
    let files = generations(dir)?;
    let spare = files.len().saturating_sub(GENERATIONS_KEPT);
    files[..spare].iter().try_for_each(fs::remove_file)
}
