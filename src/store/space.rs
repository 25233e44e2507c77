//! Owns the room on the disk: how much is free, who may still have some of it, and when that is worth an alarm.
//! Refuses to free anything and to write. Invariant: what is refused here has reached neither trail nor journal, so the store is well
//! and takes it as soon as there is room again. A write that fails is another matter: after it neither sled nor the file can be trusted.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use super::Claim;

/// Kept free unless the configuration says otherwise: sled writes ahead by segments of up to 8 MB, a new month or a snapshot of sled's
/// takes as much again, and the outcomes of everything that is in flight, answers and receipts must find room after new work did not.
pub const RESERVE_BYTES: u64 = 64 << 20;
/// An entry lies in the journal and on the trail, and sled writes a page anew when something is added to it. Measured on ext4
/// with entries of 200 bytes to 60 MB: 1.7 to 3.5 bytes for each; what a single small one may cost in new segments the reserve pays for.
const COST_FACTOR: u64 = 4;

/// Bytes that the file system of a directory has left for us.
type AskFree = dyn Fn(&Path) -> io::Result<u64> + Send + Sync;

/// How free space is found out: an argument, because a full disk is hard to come by.
#[derive(Clone)]
pub struct FreeSpace(Arc<AskFree>);

impl FreeSpace {
    pub fn new(ask: impl Fn(&Path) -> io::Result<u64> + Send + Sync + 'static) -> Self {
        Self(Arc::new(ask))
    }

    pub(super) fn of(&self, path: &Path) -> io::Result<u64> {
        (self.0)(path)
    }
}

impl Default for FreeSpace {
    fn default() -> Self {
        Self::new(system_free)
    }
}

impl fmt::Debug for FreeSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FreeSpace")
    }
}

/// What `statvfs` (POSIX.1-2008) says may be written without privileges.
fn system_free(path: &Path) -> io::Result<u64> {
    let told = rustix::fs::statvfs(path)?;
    if told.f_blocks == 0 {
        // Some network file systems count nothing; then only the write itself can tell.
        return Err(io::Error::new(io::ErrorKind::Unsupported, "the file system does not say how large it is"));
    }
    // A new month, a checkpoint and sled's own snapshots are files; without a name left for them there is no room either.
    // A file system that makes names as it goes says that it has none at all.
    let is_out_of_names = told.f_files > 0 && told.f_favail == 0;
    Ok(if is_out_of_names { 0 } else { told.f_bavail.saturating_mul(told.f_frsize) })
}

/// Too little is free: nothing was written, and nothing is wrong with the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the disk of the store is full: {} MB are free and {} MB must be", free >> 20, needed.div_ceil(1 << 20))]
pub struct NoSpace {
    /// Bytes; none, too, where no inode is free.
    pub free: u64,
    /// Bytes that have to be free before it can be taken.
    pub needed: u64,
}

/// The room of one data directory; shared by the committer and whoever asks how it is.
#[derive(Debug)]
pub(super) struct Space {
    data: PathBuf,
    ask: FreeSpace,
    reserve: u64,
    /// What must be free for the outage to end; zero while there is none.
    wanted: AtomicU64,
    /// The file system does not say; told once.
    is_mute: AtomicBool,
}

impl Space {
    pub(super) fn new(data: &Path, ask: FreeSpace, reserve: u64) -> Self {
        Self { data: data.to_owned(), ask, reserve, wanted: AtomicU64::new(0), is_mute: AtomicBool::new(false) }
    }

    /// `None` when the file system does not say. One system call, a microsecond beside the fsync of a commit: so it is asked each time,
    /// and never answered from memory, because others write to the same disk.
    pub(super) fn free(&self) -> Option<u64> {
        match self.ask.of(&self.data) {
            Ok(free) => Some(free),
            Err(error) => {
                if !self.is_mute.swap(true, Ordering::Relaxed) {
                    tracing::warn!(%error, "free space of the data directory is not known; a full disk will only be seen when a write fails");
                }
                None
            }
        }
    }

    /// What writing so many bytes may take.
    pub(super) fn cost(bytes: usize) -> u64 {
        (bytes as u64).saturating_mul(COST_FACTOR)
    }

    /// Whether `cost` bytes may be taken out of `free`. A refusal begins an outage.
    pub(super) fn admit(&self, claim: Claim, cost: u64, free: u64) -> Result<(), NoSpace> {
        let floor = match claim {
            Claim::New => self.reserve,
            Claim::Owed => self.reserve / 2,
        };
        let needed = floor.saturating_add(cost);
        if free >= needed {
            return Ok(());
        }
        let refused = NoSpace { free, needed };
        self.note_lack(refused);
        Err(refused)
    }

    /// Looks now; begins or ends an outage by what it finds.
    pub(super) fn look(&self) -> Result<(), NoSpace> {
        self.free().map_or(Ok(()), |free| self.judge(free))
    }

    /// Asks for an eighth more than the reserve, so that whoever watches `readyz` hears of it before the first alert is refused,
    /// and for two eighths before it is over, so that one outage is one alarm.
    fn judge(&self, free: u64) -> Result<(), NoSpace> {
        let wanted = self.wanted.load(Ordering::Relaxed);
        let needed = wanted.max(self.reserve + self.reserve / 8);
        if free < needed {
            let lack = NoSpace { free, needed };
            self.note_lack(lack);
            return Err(lack);
        }
        if wanted > 0 && self.wanted.swap(0, Ordering::Relaxed) > 0 {
            tracing::info!(free, "the disk of the store has room again");
        }
        Ok(())
    }

    fn note_lack(&self, lack: NoSpace) {
        let wanted = lack.needed.max(self.reserve + self.reserve / 4);
        if self.wanted.fetch_max(wanted, Ordering::Relaxed) == 0 {
            tracing::error!(
                free = lack.free,
                needed = wanted,
                "the disk of the store is nearly full: new alerts are refused until there is room"
            );
        }
    }
}

/// The same, with what is missing; no alarm, since nothing that an alert needs is refused.
pub(super) fn room_for(space: &Space, bytes: u64) -> Result<(), NoSpace> {
    let needed = space.reserve.saturating_add(bytes);
    match space.free() {
        Some(free) if free < needed => Err(NoSpace { free, needed }),
        _ => Ok(()),
    }
}

/// Whether a file of about `bytes` beside the data leaves the reserve alone.
pub(super) fn has_room_for(space: &Space, bytes: u64) -> bool {
    space.free().is_none_or(|free| free >= space.reserve.saturating_add(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = 1 << 20;

    /// A disk whose free space the test sets.
    fn disk(free: u64) -> (Arc<AtomicU64>, Space) {
        let left = Arc::new(AtomicU64::new(free));
        let asked = Arc::clone(&left);
        let ask = FreeSpace::new(move |_| Ok(asked.load(Ordering::Relaxed)));
        (left, Space::new(Path::new("/data"), ask, 64 * MB))
    }

    #[test]
    fn new_work_leaves_the_reserve_alone_and_what_is_owed_takes_half_of_it() {
        let (_, space) = disk(0);
        assert!(space.admit(Claim::New, MB, 65 * MB).is_ok());
        assert_eq!(space.admit(Claim::New, MB, 65 * MB - 1), Err(NoSpace { free: 65 * MB - 1, needed: 65 * MB }));
        assert!(space.admit(Claim::Owed, MB, 33 * MB).is_ok());
        assert_eq!(space.admit(Claim::Owed, MB, 33 * MB - 1), Err(NoSpace { free: 33 * MB - 1, needed: 33 * MB }));
        assert!(space.admit(Claim::New, u64::MAX, u64::MAX - 1).is_err(), "a sum that runs over is never admitted");
    }

    #[test]
    fn an_outage_begins_before_anything_is_refused_and_ends_with_some_room_to_spare() {
        let (left, space) = disk(72 * MB);
        assert!(space.look().is_ok());
        left.store(72 * MB - 1, Ordering::Relaxed);
        assert_eq!(space.look(), Err(NoSpace { free: 72 * MB - 1, needed: 72 * MB }));
        left.store(79 * MB, Ordering::Relaxed);
        assert_eq!(space.look(), Err(NoSpace { free: 79 * MB, needed: 80 * MB }), "it is not over by a hair");
        left.store(80 * MB, Ordering::Relaxed);
        assert!(space.look().is_ok() && space.look().is_ok());
        left.store(72 * MB, Ordering::Relaxed);
        assert!(space.look().is_ok(), "the next outage has not begun");
    }

    #[test]
    fn whoever_was_refused_something_large_is_waited_for() {
        let (left, space) = disk(100 * MB);
        assert!(space.look().is_ok());
        assert!(space.admit(Claim::New, 50 * MB, 100 * MB).is_err());
        assert_eq!(space.look(), Err(NoSpace { free: 100 * MB, needed: 114 * MB }));
        left.store(114 * MB, Ordering::Relaxed);
        assert!(space.look().is_ok());
    }

    #[test]
    fn a_file_system_that_does_not_say_refuses_nothing() {
        let space = Space::new(Path::new("/data"), FreeSpace::new(|_| Err(io::ErrorKind::Unsupported.into())), 64 * MB);
        assert_eq!(space.free(), None);
        assert!(space.look().is_ok() && has_room_for(&space, u64::MAX));
    }

    #[test]
    fn this_machine_says_how_much_is_free() {
        let dir = tempfile::tempdir().expect("temporary directory");
        assert!(system_free(dir.path()).expect("known") > 0);
        assert!(system_free(Path::new("/proc")).is_err(), "a file system without size has an answer");
    }
}
