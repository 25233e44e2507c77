//! Owns the tests of a disk that is nearly full: refused is not failed, what is owed goes on for longer, and space that returns is enough.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

const MB: u64 = 1 << 20;
const RESERVE: u64 = 64 * MB;
/// Bytes after which a checkpoint is written, where a test is about something else.
const SELDOM: u64 = 32 * MB;

/// How much the disk of a test has free.
#[derive(Clone)]
struct Left(Arc<AtomicU64>);

impl Left {
    fn set(&self, bytes: u64) {
        self.0.store(bytes, Ordering::Relaxed);
    }
}

fn open_with(data: &Path, free: u64, checkpoint_after_bytes: u64) -> (Open, Left) {
    let left = Left(Arc::new(AtomicU64::new(free)));
    let asked = left.clone();
    let free_space = FreeSpace::new(move |_| Ok(asked.0.load(Ordering::Relaxed)));
    let options = Options { reserve_bytes: RESERVE, free_space, checkpoint_after_bytes, ..Options::default() };
    (open_at(data, november(), options).expect("opened"), left)
}

fn owed(number: u64, size: usize) -> Entry {
    Entry { claim: Claim::Owed, ..entry(number, size, false) }
}

#[test]
fn a_full_disk_refuses_what_is_new_then_what_is_owed_and_forgets_it_when_there_is_room() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let (open, left) = open_with(dir.path(), 200 * MB, SELDOM);
    let journal = &open.journal;
    runtime().block_on(async {
        journal.append(vec![entry(1, 1_000, true)]).await.expect("there is room");
        left.set(RESERVE);
        let refused = journal.append(vec![entry(99, 1_000, true)]).await;
        assert_eq!(refused, Err(AppendError::NoSpace(NoSpace { free: RESERVE, needed: RESERVE + 4_000 })));
        journal.append(vec![owed(2, 1_000)]).await.expect("what is owed takes of the reserve");
        let refused = journal.append(vec![owed(98, 1_000), entry(97, 1_000, true)]).await;
        assert!(matches!(refused, Err(AppendError::NoSpace(_))), "a new entry rode in on an owed one: {refused:?}");
        left.set(RESERVE / 2);
        assert!(matches!(journal.append(vec![owed(96, 1_000)]).await, Err(AppendError::NoSpace(_))));
        assert_eq!(journal.health(), Health::Writable);
        assert!(journal.space().is_err());
        left.set(RESERVE + RESERVE / 4);
        assert_eq!(journal.space(), Ok(()), "space has returned, and nobody has appended yet");
        let taken = journal.append(vec![entry(3, 1_000, true), owed(4, 1_000)]).await.expect("there is room again");
        assert_eq!(*taken.get(), Seq(3), "a refusal has used up a number");
        journal.close().await.expect("closed");
    });
    assert_eq!(open.kept.entries().len(), 4);
    drop(open);
    let told: Vec<u8> = kept(dir.path()).values().map(|bytes| bytes[0]).collect();
    assert_eq!(told, b"1234");
    assert!(verify(dir.path()).expect("read").ok);
}

#[test]
fn an_append_that_does_not_fit_leaves_the_room_to_those_that_do() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let (open, _left) = open_with(dir.path(), RESERVE + 60_000, SELDOM);
    runtime().block_on(async {
        let large = open.journal.append(vec![entry(1, 10_000, true), entry(2, 10_000, true)]).await;
        assert!(matches!(large, Err(AppendError::NoSpace(NoSpace { needed, .. })) if needed == RESERVE + 80_000), "{large:?}");
        open.journal.append(vec![entry(3, 10_000, true)]).await.expect("it fits");
        let readiness = open.journal.space();
        assert!(readiness.is_err(), "ready, although the large one would be refused again");
    });
}

#[test]
fn a_checkpoint_waits_for_room_and_the_journal_has_everything() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let (open, left) = open_with(dir.path(), RESERVE, 1);
    runtime().block_on(async {
        for number in 1..=5 {
            open.journal.append(vec![owed(number, 100)]).await.expect("appended");
        }
        open.journal.close().await.expect("a full disk does not fail the end");
    });
    drop(open);
    assert!(checkpoint::list(dir.path()).expect("listed").is_empty());
    left.set(1_000 * MB);
    let (open, _left) = open_with(dir.path(), 1_000 * MB, 1);
    assert_eq!((open.opened.replayed, open.opened.from_checkpoint), (5, None));
    runtime().block_on(open.journal.close()).expect("closed");
    assert_eq!(checkpoint::list(dir.path()).expect("listed"), [5]);
}

#[test]
fn a_backup_beside_the_data_leaves_the_reserve_alone() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let (data, file) = (dir.path().join("data"), dir.path().join("backup.tar"));
    let (open, left) = open_with(&data, 1_000 * MB, SELDOM);
    runtime().block_on(async {
        open.journal.append(vec![entry(1, 10_000, true)]).await.expect("appended");
        left.set(RESERVE + 1_000);
        let refused = open.journal.backup(&file).await;
        let is_full = matches!(&refused, Err(BackupError::Io { error, .. }) if error.kind() == std::io::ErrorKind::StorageFull);
        assert!(is_full, "{refused:?}");
        assert_eq!(fs::read_dir(dir.path()).expect("listed").count(), 1, "something of the backup is left behind");
        left.set(RESERVE + MB);
        open.journal.backup(&file).await.expect("there is room");
    });
}
