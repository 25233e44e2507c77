//! Owns all writes: one thread (or task) that takes what waits, makes it durable in one go, folds it, and only then wakes those who wait.
//! Refuses to know what entries mean and how a store is repaired.
//! Invariant: no promise before `sync`; after the first failure every answer is `Unavailable`, because sled after an I/O error, and
//! a file after a failed fsync, cannot be trusted until they have been opened and checked again.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering, mpsc as sync_mpsc},
    thread,
    time::Duration,
};

use tokio::sync::mpsc;

use crate::time::SharedClock;

use super::{
    AppendError, Claim, Durable, Entry, Fold, Month, Opened, Options, Packing, Seq, Threads, checkpoint, doubt,
    journal::{Answer, Request, State},
    ledger::{Disk, Ledger, LedgerError},
    lock::DirLock,
    opening::Recovered,
    sound::begin_ledger,
    space::{Space, has_room_for},
    trail::{Header, Link, Trail},
    values::Packer,
};

/// One commit: as much as sled takes in one batch, so that a commit is one fsync and a short stall.
const COMMIT_BYTES_MAX: usize = 4 << 20;
/// And so many waiters that waking them does not hold up the next commit for long.
const COMMIT_APPENDS_MAX: usize = 16_384;

/// Looks at who has come while the committer lingers.
const LOOKS: u32 = 10;

/// A state of the store that a backup can read while writing goes on.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) month: Month,
    pub(super) ledger: Ledger,
    pub(super) link: Link,
    pub(super) end: u64,
}

#[derive(Debug, thiserror::Error)]
enum CommitError {
    #[error("{0}")]
    Ledger(#[from] LedgerError),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("entry {seq} cannot be folded: {why}")]
    Fold { seq: u64, why: String },
}

pub(super) struct Committer<F> {
    data: PathBuf,
    options: Options,
    clock: SharedClock,
    fold: F,
    _lock: DirLock,
    month: Month,
    ledger: Ledger,
    disk: Disk,
    trail: Trail,
    next: u64,
    /// Last number in the newest checkpoint that is on disk.
    checkpointed: u64,
    bytes_since_checkpoint: u64,
    /// The checkpoint that another thread is writing.
    writing: Option<(u64, sync_mpsc::Receiver<io::Result<Written>>)>,
    /// What the last state took; the next is made only when there is room for about as much.
    checkpoint_bytes: u64,
    state: Arc<State>,
    /// Appends of the last commit.
    crowd: usize,
}

/// What became of a checkpoint.
struct Written {
    bytes: u64,
    /// Whether there was room for it.
    is_there: bool,
}

struct Waiter {
    entries: Vec<Entry>,
    answer: Answer,
}

impl<F: Fold> Committer<F> {
    pub(super) fn new(
        data: PathBuf,
        options: Options,
        clock: SharedClock,
        fold: F,
        recovered: Recovered,
        opened: &Opened,
        state: Arc<State>,
    ) -> Self {
        let Recovered { lock, month, ledger, disk, trail, next, bytes_since_checkpoint } = recovered;
        let checkpointed = opened.from_checkpoint.unwrap_or_default().0;
        Self {
            data,
            options,
            clock,
            fold,
            _lock: lock,
            month,
            ledger,
            disk,
            trail,
            next,
            checkpointed,
            bytes_since_checkpoint,
            writing: None,
            checkpoint_bytes: 0,
            state,
            crowd: 0,
        }
    }

    pub(super) fn spawn(self, waiting: mpsc::Receiver<Request>) -> io::Result<()> {
        let threads = self.options.threads;
        let committing = async move {
            let guard = Guard(Arc::clone(&self.state));
            self.run(waiting).await;
            // Reached only without a panic.
            std::mem::forget(guard);
        };
        match threads {
            Threads::Own => {
                thread::Builder::new().name("committer".into()).spawn(move || futures::executor::block_on(committing))?;
            }
            Threads::Callers => {
                tokio::spawn(committing);
            }
        }
        Ok(())
    }

    async fn run(mut self, mut waiting: mpsc::Receiver<Request>) {
        while let Some(request) = waiting.recv().await {
            let (other, result) = match request {
                Request::Append { entries, bytes, answer, room } => {
                    linger(self.options.linger, self.options.threads).await;
                    await_company(&waiting, self.crowd, self.options.company, self.options.threads).await;
                    let (mut rooms, mut waiters) = (vec![room], vec![Waiter { entries, answer }]);
                    let other = Self::gather(&mut waiting, bytes, &mut waiters, &mut rooms);
                    self.crowd = waiters.len();
                    (other, self.commit(waiters))
                }
                request => (Some(request), Ok(())),
            };
            if let Err(error) = result {
                return fail_for_ever(&self.state, &error.to_string(), other, waiting).await;
            }
            match other {
                Some(Request::Close { answer }) => return self.close(answer, waiting).await,
                Some(Request::Snapshot { answer }) => self.snapshot(answer),
                Some(Request::Checkpoint { answer }) => self.checkpoint_on_request(answer),
                Some(Request::Append { .. }) | None => {}
            }
        }
    }

    /// Takes what waits already, up to one commit; a request that is no append ends the gathering.
    fn gather(
        waiting: &mut mpsc::Receiver<Request>,
        mut bytes: usize,
        waiters: &mut Vec<Waiter>,
        rooms: &mut Vec<tokio::sync::OwnedSemaphorePermit>,
    ) -> Option<Request> {
        while bytes < COMMIT_BYTES_MAX && waiters.len() < COMMIT_APPENDS_MAX {
            match waiting.try_recv() {
                Ok(Request::Append { entries, bytes: more, answer, room }) => {
                    bytes += more;
                    rooms.push(room);
                    waiters.push(Waiter { entries, answer });
                }
                Ok(other) => return Some(other),
                Err(_) => break,
            }
        }
        None
    }

    fn commit(&mut self, waiters: Vec<Waiter>) -> Result<(), CommitError> {
        let waiters = self.admit(waiters);
        if waiters.is_empty() {
            return Ok(());
        }
        let result = self.make_durable(&waiters);
        let first = match result {
            Ok(first) => first,
            Err(error) => {
                self.refuse(waiters, &error);
                return Err(error);
            }
        };
        let mut seq = first;
        let mut waiters = waiters.into_iter();
        while let Some(Waiter { entries, answer }) = waiters.next() {
            let promised = Seq(seq);
            for entry in &entries {
                if let Err(error) = self.fold.apply(Seq(seq), &entry.bytes) {
                    let error = CommitError::Fold { seq, why: error.to_string() };
                    self.refuse(std::iter::once(Waiter { entries, answer }).chain(waiters), &error);
                    return Err(error);
                }
                seq += 1;
            }
            self.state.end.store(seq - 1, Ordering::Release);
            // Whoever does not wait any more has lost nothing: the entry is kept.
            drop(answer.send(Ok(Durable(promised))));
        }
        self.checkpoint_if_due();
        Ok(())
    }

    /// Those for whom there is room; the others are told so before anything is written.
    fn admit(&self, waiters: Vec<Waiter>) -> Vec<Waiter> {
        let Some(mut free) = self.state.space.free() else { return waiters };
        let mut admitted = Vec::with_capacity(waiters.len());
        for waiter in waiters {
            let claim = waiter.entries.iter().map(|entry| entry.claim).min().unwrap_or(Claim::New);
            let cost = Space::cost(waiter.entries.iter().map(|entry| entry.bytes.len()).sum());
            match self.state.space.admit(claim, cost, free) {
                Ok(()) => {
                    free = free.saturating_sub(cost);
                    admitted.push(waiter);
                }
                // Whoever does not wait any more asked for nothing.
                Err(lack) => drop(waiter.answer.send(Err(lack.into()))),
            }
        }
        admitted
    }

    fn refuse(&self, waiters: impl IntoIterator<Item = Waiter>, error: &CommitError) {
        let why = error.to_string();
        doubt::mark(&self.data);
        mark_failed(&self.state, &why);
        for waiter in waiters {
            // Whoever does not wait any more asked for nothing.
            drop(waiter.answer.send(Err(AppendError::Unavailable { why: why.clone() })));
        }
    }

    /// Trail first: what the journal knows of the trail must be on disk before the journal says so.
    fn make_durable(&mut self, waiters: &[Waiter]) -> Result<u64, CommitError> {
        self.turn_month()?;
        let first = self.next;
        let mut packer = Packer::new(first);
        let mut on_trail = Vec::new();
        for entry in waiters.iter().flat_map(|waiter| &waiter.entries) {
            if entry.trail {
                on_trail.push((packer.next(), entry.bytes.as_slice()));
            }
            self.bytes_since_checkpoint += entry.bytes.len() as u64;
            packer.add(&entry.bytes, entry.trail);
        }
        let head = if on_trail.is_empty() {
            None
        } else {
            self.trail.append(first, on_trail.into_iter())?;
            Some(self.trail.link())
        };
        self.ledger.write(packer.take(), head.as_ref())?;
        self.ledger.sync(&self.disk)?;
        self.next = packer.next();
        Ok(first)
    }

    /// Begins a new month when the clock says so; never goes back when the clock does.
    fn turn_month(&mut self) -> Result<(), CommitError> {
        let month = Month::of(self.clock.now());
        if month <= self.month {
            return Ok(());
        }
        let header = Header { month, start: self.next, before: self.trail.link().hash };
        let trail = Trail::create(&month.trail_path(&self.data), header)?;
        let ledger = begin_ledger(&month.journal_path(&self.data), self.next, &trail.link())?;
        self.disk = ledger.disk()?;
        (self.trail, self.ledger, self.month) = (trail, ledger, month);
        tracing::info!(%month, first = self.next, "began a new month of the journal");
        Ok(())
    }

    fn checkpoint_if_due(&mut self) {
        if let Some((seq, done)) = &self.writing {
            match done.try_recv() {
                Err(sync_mpsc::TryRecvError::Empty) => return,
                Ok(Ok(Written { bytes, is_there })) => {
                    self.checkpoint_bytes = bytes;
                    if is_there {
                        self.checkpointed = *seq;
                    }
                }
                // The journal holds everything; without a checkpoint the next start only takes longer.
                Ok(Err(error)) => tracing::error!(%error, "a checkpoint could not be written"),
                Err(sync_mpsc::TryRecvError::Disconnected) => tracing::error!("the thread that wrote a checkpoint died"),
            }
            self.writing = None;
        }
        if self.bytes_since_checkpoint < self.options.checkpoint_after_bytes {
            return;
        }
        self.begin_checkpoint();
    }

    /// For whoever needs one that reaches as far as the journal does; where one does, there is nothing to do.
    fn checkpoint_on_request(&mut self, answer: tokio::sync::oneshot::Sender<Result<bool, AppendError>>) {
        self.checkpoint_if_due();
        if self.writing.is_none() && self.next - 1 > self.checkpointed {
            self.begin_checkpoint();
        }
        // Whoever does not wait any more asked for nothing.
        drop(answer.send(Ok(self.writing.is_some())));
    }

    fn begin_checkpoint(&mut self) {
        self.bytes_since_checkpoint = 0;
        if !has_room_for(&self.state.space, self.checkpoint_bytes) {
            tracing::warn!("there is no room for a checkpoint; the next start will take longer");
            return;
        }
        let (seq, packing, data, shared) = (self.next - 1, self.fold.checkpoint(), self.data.clone(), Arc::clone(&self.state));
        let (done, wait) = sync_mpsc::sync_channel(1);
        // The committer may have ended meanwhile, and needs no answer then.
        let write = move || drop(done.send(write_checkpoint(&data, seq, packing, &shared.space)));
        let begun = match self.options.threads {
            Threads::Own => thread::Builder::new().name("checkpoint".into()).spawn(write).map(drop),
            Threads::Callers => {
                write();
                Ok(())
            }
        };
        match begun {
            Ok(()) => self.writing = Some((seq, wait)),
            Err(error) => tracing::error!(%error, "no thread could be made to write a checkpoint"),
        }
    }

    fn snapshot(&self, answer: tokio::sync::oneshot::Sender<Result<Snapshot, AppendError>>) {
        let snapshot = Snapshot { month: self.month, ledger: self.ledger.clone(), link: self.trail.link(), end: self.next - 1 };
        drop(answer.send(Ok(snapshot)));
    }

    async fn close(mut self, answer: tokio::sync::oneshot::Sender<Result<(), AppendError>>, mut waiting: mpsc::Receiver<Request>) {
        waiting.close();
        let result = self.last_writes(&mut waiting).await.inspect_err(|_| doubt::mark(&self.data));
        let state = Arc::clone(&self.state);
        // Files and the lock are given back before the answer, so that the caller may open the store again.
        drop(self);
        match result {
            Ok(()) => drop(answer.send(Ok(()))),
            Err(error) => {
                let why = error.to_string();
                drop(answer.send(Err(AppendError::Unavailable { why: why.clone() })));
                fail_for_ever(&state, &why, None, waiting).await;
            }
        }
    }

    async fn last_writes(&mut self, waiting: &mut mpsc::Receiver<Request>) -> Result<(), CommitError> {
        while let Some(request) = waiting.recv().await {
            if let Request::Append { entries, bytes, answer, room } = request {
                let (mut rooms, mut waiters) = (vec![room], vec![Waiter { entries, answer }]);
                // Another close or a backup at this moment is answered by the end of the channel.
                Self::gather(waiting, bytes, &mut waiters, &mut rooms);
                self.commit(waiters)?;
            }
        }
        if let Some((seq, done)) = self.writing.take()
            && let Ok(written) = done.recv()
        {
            match written {
                Ok(Written { is_there: true, .. }) => self.checkpointed = seq,
                Ok(_) => {}
                Err(error) => tracing::error!(%error, "a checkpoint could not be written"),
            }
        }
        let end = self.next - 1;
        if end > self.checkpointed {
            write_checkpoint(&self.data, end, self.fold.checkpoint(), &self.state.space)?;
        }
        Ok(self.ledger.sync(&self.disk)?)
    }
}

/// Packs a state and writes it, where there is room.
fn write_checkpoint(data: &Path, seq: u64, packing: Packing, space: &Space) -> io::Result<Written> {
    let state = packing();
    let bytes = state.len() as u64;
    let is_there = has_room_for(space, bytes);
    if is_there {
        checkpoint::write(data, seq, &state)?;
    } else {
        tracing::warn!(bytes, "there is no room for a checkpoint; the next start will take longer");
    }
    Ok(Written { bytes, is_there })
}

/// Lets time pass, whoever comes.
async fn linger(linger: Duration, threads: Threads) {
    match threads {
        _ if linger.is_zero() => {}
        Threads::Own => thread::park_timeout(linger),
        Threads::Callers => tokio::time::sleep(linger).await,
    }
}

/// Lets as many come as came last time, for a moment at most: a commit of few costs the disk, and sled's threads, as much as one of many.
/// Whoever came alone last time waits for nobody.
async fn await_company(waiting: &mpsc::Receiver<Request>, crowd: usize, most: Duration, threads: Threads) {
    for _ in 0..LOOKS {
        // The one for whom it waits has been taken out already.
        if waiting.len() + 1 >= crowd {
            return;
        }
        linger(most / LOOKS, threads).await;
    }
}

/// Marks the store as failed when the committer dies of a panic.
struct Guard(Arc<State>);

impl Drop for Guard {
    fn drop(&mut self) {
        mark_failed(&self.0, "the committer died");
    }
}

fn mark_failed(state: &State, why: &str) {
    if state.failed.set(why.to_owned()).is_ok() {
        tracing::error!(why, "the store cannot write any more");
    }
}

/// Answers everyone, now and from now on, until the last handle is gone.
async fn fail_for_ever(state: &State, why: &str, other: Option<Request>, mut waiting: mpsc::Receiver<Request>) {
    mark_failed(state, why);
    waiting.close();
    let mut next = other;
    while let Some(request) = if next.is_some() { next } else { waiting.recv().await } {
        let unavailable = AppendError::Unavailable { why: why.to_owned() };
        match request {
            Request::Append { answer, .. } => drop(answer.send(Err(unavailable))),
            Request::Snapshot { answer } => drop(answer.send(Err(unavailable))),
            Request::Checkpoint { answer } => drop(answer.send(Err(unavailable))),
            Request::Close { answer } => drop(answer.send(Err(unavailable))),
        }
        next = None;
    }
}
