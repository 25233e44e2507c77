//! Owns the handle through which the house appends: bounds what waits, and hands each caller its promise.
//! Refuses to write; the committer thread alone does.
//! Invariant: an append is answered with a promise only by the committer, and with `Unavailable` for ever after the first failure;
//! `NoSpace` says that nothing was written and the next append is looked at anew.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::time::{SharedClock, Timestamp};

use super::{
    BackupError, BackupReport, DropError, Durable, ENTRY_BYTES_MAX, Entry, Fold, Health, Month, NoSpace, OpenError, Opened, Options, Seq,
    backup,
    committer::{Committer, Snapshot},
    doubt,
    dropping::{self, COVERS, Dropped},
    opening,
    space::{Space, has_room_for},
};

/// Appends that wait; each is a request or task that already waits elsewhere.
const QUEUE_APPENDS_MAX: usize = 32_768;
/// Bytes that wait: two of the largest plans, or a second of receipts many times over.
const QUEUE_BYTES_MAX: usize = 32 << 20;
/// What an entry costs in the queue besides its bytes.
const ENTRY_OVERHEAD_BYTES: usize = 32;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The store failed and stays so until the process is started again.
    #[error("the store cannot write: {why}")]
    Unavailable { why: String },
    /// Nothing was written; it can be appended again when there is room.
    #[error(transparent)]
    NoSpace(#[from] NoSpace),
    #[error("an append of {bytes} bytes is over the {max} that one may have")]
    TooLarge { bytes: usize, max: usize },
    #[error("nothing was given to append")]
    Empty,
    #[error("the store is closed")]
    Closed,
}

/// A checkpoint of a county's open deliveries takes a second or two; one that takes longer is waited for the next time.
const CHECKPOINT_LOOKS: u32 = 50;
const CHECKPOINT_WAIT: Duration = Duration::from_millis(100);

/// Handle on the journal; clones are the same journal.
#[derive(Clone, Debug)]
pub struct Journal {
    shared: Arc<Shared>,
    requests: mpsc::Sender<Request>,
}

#[derive(Debug)]
struct Shared {
    data: PathBuf,
    room: Arc<Semaphore>,
    state: Arc<State>,
    one_backup: Semaphore,
}

/// What the committer lets everyone see.
#[derive(Debug)]
pub(super) struct State {
    pub(super) failed: OnceLock<String>,
    pub(super) end: AtomicU64,
    pub(super) space: Space,
}

pub(super) enum Request {
    Append {
        entries: Vec<Entry>,
        bytes: usize,
        answer: Answer,
        room: OwnedSemaphorePermit,
    },
    Snapshot {
        answer: oneshot::Sender<Result<Snapshot, AppendError>>,
    },
    /// Begins a checkpoint now, unless one is being written; whether one is.
    Checkpoint {
        answer: oneshot::Sender<Result<bool, AppendError>>,
    },
    Close {
        answer: oneshot::Sender<Result<(), AppendError>>,
    },
}

pub(super) type Answer = oneshot::Sender<Result<Durable<Seq>, AppendError>>;

async fn on_disk<T: Send + 'static>(month: Month, work: impl FnOnce() -> Result<T, DropError> + Send + 'static) -> Result<T, DropError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(DropError::Io { month, why: error.to_string() }))
}

impl Journal {
    /// Opens, checks, where needed rebuilds, and replays a store; call it off the async threads when the store may be large.
    pub fn open<F: Fold>(dir: &Path, options: Options, clock: SharedClock, mut fold: F) -> Result<(Self, Opened), OpenError> {
        let space = Space::new(dir, options.free_space.clone(), options.reserve_bytes);
        opening::look_for_room(dir, &space)?;
        let (recovered, opened) = opening::open(dir, &clock, &mut fold).inspect_err(|error| {
            if matches!(error, OpenError::Io { error, .. } if error.kind() != std::io::ErrorKind::Unsupported) {
                doubt::mark(dir);
            }
        })?;
        let state = Arc::new(State { failed: OnceLock::new(), end: AtomicU64::new(opened.end.0), space });
        let (requests, waiting) = mpsc::channel(QUEUE_APPENDS_MAX);
        let committer = Committer::new(dir.to_owned(), options, clock, fold, recovered, &opened, Arc::clone(&state));
        committer.spawn(waiting).map_err(|error| OpenError::Io { path: dir.to_owned(), error })?;
        let room = Arc::new(Semaphore::new(QUEUE_BYTES_MAX));
        let shared = Shared { data: dir.to_owned(), room, state, one_backup: Semaphore::new(1) };
        Ok((Self { shared: Arc::new(shared), requests }, opened))
    }

    /// Resolves when the entries are durable and folded; gives the number of the first. An append of up to 4 MB is there whole or
    /// not at all after a crash; of a larger one a prefix of entries may be (each of them whole). Not waiting for the answer takes nothing back.
    pub async fn append(&self, entries: Vec<Entry>) -> Result<Durable<Seq>, AppendError> {
        let bytes = entries.iter().map(|entry| entry.bytes.len() + ENTRY_OVERHEAD_BYTES).sum();
        if entries.is_empty() {
            return Err(AppendError::Empty);
        }
        if bytes > ENTRY_BYTES_MAX {
            return Err(AppendError::TooLarge { bytes, max: ENTRY_BYTES_MAX });
        }
        self.check()?;
        // An append larger than the room takes all of it and goes alone.
        let wanted = u32::try_from(bytes.min(QUEUE_BYTES_MAX)).expect("the room is under 4 GiB");
        let room = Arc::clone(&self.shared.room).acquire_many_owned(wanted).await.map_err(|_| AppendError::Closed)?;
        let (answer, answered) = oneshot::channel();
        self.send(Request::Append { entries, bytes, answer, room }).await?;
        // A closing committer answers everyone first; only a dying one drops an answer.
        answered.await.unwrap_or_else(|_| Err(AppendError::Unavailable { why: "the committer died".into() }))
    }

    pub fn health(&self) -> Health {
        match self.shared.state.failed.get() {
            Some(why) => Health::Failed { why: why.clone() },
            None => Health::Writable,
        }
    }

    /// Whether the disk has room for new work, as of now; asks the system, so an outage is seen to begin and to end without any append.
    pub fn space(&self) -> Result<(), NoSpace> {
        self.shared.state.space.look()
    }

    /// Whether a file of so many bytes may be written beside the journal.
    pub fn has_room_for(&self, bytes: u64) -> bool {
        has_room_for(&self.shared.state.space, bytes)
    }

    /// The same, with what is missing.
    pub fn room_for(&self, bytes: u64) -> Result<(), NoSpace> {
        super::space::room_for(&self.shared.state.space, bytes)
    }

    /// Bytes that are free for the store; `None` where the file system does not say.
    pub fn free_bytes(&self) -> Option<u64> {
        self.shared.state.space.free()
    }

    /// Number of the last entry that is durable and folded.
    pub fn end(&self) -> Seq {
        Seq(self.shared.state.end.load(Ordering::Acquire))
    }

    /// Writes what waits, a checkpoint, and closes the files. Later appends are answered `Closed`; closing again is fine.
    pub async fn close(&self) -> Result<(), AppendError> {
        let (answer, answered) = oneshot::channel();
        match self.send(Request::Close { answer }).await {
            Err(AppendError::Closed) => return Ok(()),
            other => other?,
        }
        match answered.await {
            Ok(closed) => closed,
            // Someone else's close came first.
            Err(_) => self.check(),
        }
    }

    /// Writes everything up to the present end into one new file, while appends go on.
    pub async fn backup(&self, file: &Path) -> Result<BackupReport, BackupError> {
        let _alone = self.shared.one_backup.acquire().await.map_err(|_| BackupError::Store(AppendError::Closed))?;
        let (answer, answered) = oneshot::channel();
        self.send(Request::Snapshot { answer }).await.map_err(BackupError::Store)?;
        let snapshot = answered.await.unwrap_or_else(|_| Err(self.gone())).map_err(BackupError::Store)?;
        let (data, file, state) = (self.shared.data.clone(), file.to_owned(), Arc::clone(&self.shared.state));
        tokio::task::spawn_blocking(move || backup::write(&data, &file, Some((&snapshot, &state.space))))
            .await
            .map_err(|_| BackupError::Interrupted)?
    }

    /// Whether the store itself lets go of a month, as far as that is seen before a checkpoint is made for it.
    pub async fn may_drop(&self, month: Month, at: Timestamp) -> Result<(), DropError> {
        let data = self.shared.data.clone();
        on_disk(month, move || dropping::judge(&data, month, at)).await.map(|_| ())
    }

    /// Gives back the space of a month: its journal is removed, its trail stays. Whoever calls has settled that the fold needs nothing of it
    /// but what checkpoints hold. What is refused has changed nothing; what fails after the mark is ended by the next start.
    pub async fn drop_month(&self, month: Month, at: Timestamp) -> Result<(), DropError> {
        // A backup reads the months one after the other.
        let _alone = self.shared.one_backup.acquire().await.map_err(|_| DropError::Closed)?;
        let data = self.shared.data.clone();
        let dropped = on_disk(month, move || dropping::judge(&data, month, at)).await?;
        self.cover(month, dropped).await?;
        let data = self.shared.data.clone();
        let io = move |error: std::io::Error| DropError::Io { month, why: error.to_string() };
        on_disk(month, move || dropping::mark(&data, &dropped).and_then(|()| dropping::remove(&data, month)).map_err(io)).await
    }

    /// Sees to it that both kept checkpoints reach beyond the month. Each reaches another entry, so at most one can be made here.
    async fn cover(&self, month: Month, dropped: Dropped) -> Result<(), DropError> {
        let mut is_writing = true;
        for _ in 0..CHECKPOINT_LOOKS {
            let data = self.shared.data.clone();
            let covers = on_disk(month, move || dropping::covers(&data, &dropped)).await?;
            if covers >= COVERS {
                return Ok(());
            }
            if !is_writing {
                return Err(DropError::NotCovered { month, covers });
            }
            let (answer, answered) = oneshot::channel();
            self.send(Request::Checkpoint { answer }).await.map_err(|_| DropError::Closed)?;
            is_writing = answered.await.ok().and_then(Result::ok).ok_or(DropError::Closed)?;
            if is_writing {
                tokio::time::sleep(CHECKPOINT_WAIT).await;
            }
        }
        Err(DropError::NotCovered { month, covers: 0 })
    }

    async fn send(&self, request: Request) -> Result<(), AppendError> {
        self.check()?;
        self.requests.send(request).await.map_err(|_| self.gone())
    }

    fn check(&self) -> Result<(), AppendError> {
        match self.shared.state.failed.get() {
            Some(why) => Err(AppendError::Unavailable { why: why.clone() }),
            None => Ok(()),
        }
    }

    /// Why nobody answers any more.
    fn gone(&self) -> AppendError {
        self.check().err().unwrap_or(AppendError::Closed)
    }
}
