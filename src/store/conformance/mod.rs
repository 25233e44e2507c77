//! Owns the tests that every engine of the journal must pass, whatever it writes to.
//! Refuses to look inside: it appends, kills, spoils files from outside, opens again and compares.
//! Invariant: whatever happens, what was acknowledged is there, or an alarm says that it is not.

mod backup;
mod crash;
mod damage;
mod months;
mod space;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use proptest::prelude::*;

use crate::time::{ManualClock, SharedClock};

use super::*;

/// A fold that keeps every entry; shared with the test that looks at it.
#[derive(Clone, Default)]
struct Everything(Arc<Mutex<BTreeMap<u64, Vec<u8>>>>);

impl Everything {
    fn entries(&self) -> BTreeMap<u64, Vec<u8>> {
        self.0.lock().expect("no test panics holding it").clone()
    }
}

impl Fold for Everything {
    fn apply(&mut self, seq: Seq, bytes: &[u8]) -> Result<(), FoldError> {
        if bytes == b"cannot be folded" {
            return Err(FoldError("no".into()));
        }
        self.0.lock().expect("no test panics holding it").insert(seq.0, bytes.to_vec());
        Ok(())
    }

    fn checkpoint(&self) -> Packing {
        let entries = self.entries();
        Box::new(move || serde_json::to_vec(&entries).expect("bytes are JSON"))
    }

    fn restore(&mut self, checkpoint: &[u8]) -> Result<(), FoldError> {
        let entries = serde_json::from_slice(checkpoint).map_err(|error| FoldError(error.to_string()))?;
        *self.0.lock().expect("no test panics holding it") = entries;
        Ok(())
    }
}

struct Open {
    journal: Journal,
    opened: Opened,
    kept: Everything,
}

fn november() -> Arc<ManualClock> {
    Arc::new(ManualClock::at("2026-11-23T10:00:00+08:00".parse().expect("valid")))
}

fn open_at(data: &Path, clock: SharedClock, options: Options) -> Result<Open, OpenError> {
    let kept = Everything::default();
    let (journal, opened) = Journal::open(data, options, clock, kept.clone())?;
    Ok(Open { journal, opened, kept })
}

fn open_store(data: &Path) -> Open {
    open_at(data, november(), Options::default()).expect("opened")
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Runtime::new().expect("runtime")
}

/// Entries that tell where they belong.
fn entry(number: u64, size: usize, trail: bool) -> Entry {
    let mut bytes = format!("{number}:").into_bytes();
    bytes.resize(bytes.len().max(size), b'.');
    Entry { bytes, trail, claim: Claim::New }
}

/// The entries that a fresh opening folds.
fn kept(data: &Path) -> BTreeMap<u64, Vec<u8>> {
    let open = open_store(data);
    let entries = open.kept.entries();
    crash(open, data);
    entries
}

/// Ends a journal as a crash does: nothing is written after the last commit.
fn crash(open: Open, data: &Path) {
    drop(open);
    let deadline = 1_000;
    for _ in 0..deadline {
        match lock::DirLock::take(data) {
            Err(LockError::Held { .. }) => std::thread::park_timeout(Duration::from_millis(5)),
            other => return drop(other.expect("the lock can be taken")),
        }
    }
    panic!("the committer did not end after its last handle was dropped");
}

/// A closed store of one month: sixty entries, every third on the trail.
fn closed_store(data: &Path) -> BTreeMap<u64, Vec<u8>> {
    let open = open_store(data);
    runtime().block_on(async {
        for number in 1..=60 {
            open.journal.append(vec![entry(number, 300, number % 3 == 0)]).await.expect("appended");
        }
        open.journal.close().await.expect("closed");
    });
    open.kept.entries()
}

fn journal_file(data: &Path) -> PathBuf {
    data.join("journal/2026-11/db")
}

fn trail_file(data: &Path) -> PathBuf {
    data.join("trail/2026-11.log")
}

fn only_trail(entries: &BTreeMap<u64, Vec<u8>>) -> BTreeMap<u64, Vec<u8>> {
    entries.iter().filter(|(seq, _)| *seq % 3 == 0).map(|(seq, bytes)| (*seq, bytes.clone())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn what_was_appended_is_replayed_equal_and_in_order(
        appends in proptest::collection::vec(proptest::collection::vec((prop_oneof![0..50_usize, 6_900..7_100_usize, 0..300_000_usize], any::<bool>()), 1..6), 1..8),
        checkpoint_after in prop_oneof![Just(1_u64), Just(u64::MAX)],
        close in any::<bool>(),
    ) {
        let data = tempfile::tempdir().expect("temporary directory");
        let open = open_at(data.path(), november(), Options { checkpoint_after_bytes: checkpoint_after, ..Options::default() }).expect("opened");
        let (mut expected, mut next) = (BTreeMap::new(), 1);
        runtime().block_on(async {
            for append in appends {
                let entries: Vec<Entry> = append.into_iter().map(|(size, trail)| entry(next, size, trail)).collect();
                assert_eq!(open.journal.append(entries.clone()).await.expect("appended").into_inner(), Seq(next));
                for entry in entries {
                    expected.insert(next, entry.bytes);
                    next += 1;
                }
            }
            if close {
                open.journal.close().await.expect("closed");
            }
        });
        prop_assert!(open.kept.entries() == expected);
        crash(open, data.path());
        let again = open_at(data.path(), november(), Options::default()).expect("opened again");
        prop_assert_eq!(&again.opened.alarms, &Vec::<String>::new());
        prop_assert_eq!(again.opened.end, Seq(next - 1));
        prop_assert!(again.kept.entries() == expected);
        prop_assert!(!close || again.opened.replayed == 0);
    }
}

#[test]
fn concurrent_appenders_each_get_their_own_numbers_and_share_commits() {
    let data = tempfile::tempdir().expect("temporary directory");
    let open = open_store(data.path());
    let seqs = runtime().block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for task in 0..32_u64 {
            let journal = open.journal.clone();
            tasks.spawn(async move {
                let mut seqs = Vec::new();
                for number in 0..20 {
                    let bytes = format!("{task}/{number}").into_bytes();
                    let seq = journal
                        .append(vec![Entry::plain(bytes.clone()), Entry::plain(bytes.clone())])
                        .await
                        .expect("appended")
                        .into_inner();
                    seqs.push((seq.0, bytes));
                }
                seqs
            });
        }
        tasks.join_all().await.concat()
    });
    let entries = open.kept.entries();
    assert_eq!(entries.len(), 32 * 20 * 2);
    for (seq, bytes) in seqs {
        assert_eq!((&entries[&seq], &entries[&(seq + 1)]), (&bytes, &bytes), "an append's entries stand together");
    }
    crash(open, data.path());
    assert_eq!(kept(data.path()), entries);
}

#[test]
fn an_empty_and_an_oversized_append_are_refused_and_change_nothing() {
    let data = tempfile::tempdir().expect("temporary directory");
    let open = open_store(data.path());
    runtime().block_on(async {
        assert_eq!(open.journal.append(Vec::new()).await, Err(AppendError::Empty));
        let large = open.journal.append(vec![Entry::plain(vec![0; ENTRY_BYTES_MAX + 1])]).await;
        assert!(matches!(large, Err(AppendError::TooLarge { .. })));
        assert_eq!(open.journal.append(vec![Entry::plain(vec![1; 20 << 20])]).await.expect("appended").into_inner(), Seq(1));
    });
    assert_eq!(open.journal.health(), Health::Writable);
    crash(open, data.path());
    assert_eq!(kept(data.path())[&1].len(), 20 << 20);
}

#[test]
fn a_closed_journal_says_closed_and_opens_again_from_its_checkpoint() {
    let data = tempfile::tempdir().expect("temporary directory");
    let open = open_store(data.path());
    runtime().block_on(async {
        open.journal.append(vec![entry(1, 10, true)]).await.expect("appended");
        open.journal.close().await.expect("closed");
        open.journal.close().await.expect("closing again is fine");
        assert_eq!(open.journal.append(vec![entry(2, 10, true)]).await, Err(AppendError::Closed));
    });
    let again = open_store(data.path());
    assert_eq!((again.opened.from_checkpoint, again.opened.replayed), (Some(Seq(1)), 0));
}

#[test]
fn numbers_go_on_over_months_and_a_clock_set_back_changes_nothing() {
    let data = tempfile::tempdir().expect("temporary directory");
    let clock = november();
    let options = Options { checkpoint_after_bytes: u64::MAX, ..Options::default() };
    let open = open_at(data.path(), clock.clone(), options.clone()).expect("opened");
    let day = Duration::from_secs(24 * 3600);
    runtime().block_on(async {
        for number in 1..=4_u64 {
            assert_eq!(
                open.journal.append(vec![entry(number, 100, true), entry(0, 5, false)]).await.expect("appended").into_inner(),
                Seq(2 * number - 1)
            );
            clock.advance(day * 20);
        }
    });
    let entries = open.kept.entries();
    crash(open, data.path());
    let months: Vec<String> = verify(data.path()).expect("verified").months.into_iter().map(|month| month.month).collect();
    assert_eq!(months, ["2026-11", "2026-12", "2027-01"]);
    // A clock in the past: writing goes on in the newest month.
    let again = open_at(data.path(), november(), options).expect("opened");
    assert_eq!(again.opened.alarms, Vec::<String>::new());
    assert_eq!(again.kept.entries(), entries);
    runtime().block_on(again.journal.append(vec![entry(9, 9, true)])).expect("appended");
    crash(again, data.path());
    assert!(verify(data.path()).expect("verified").ok);
}

#[test]
fn a_month_that_the_checkpoint_covers_may_be_dropped() {
    let data = tempfile::tempdir().expect("temporary directory");
    let clock = november();
    let open = open_at(data.path(), clock.clone(), Options::default()).expect("opened");
    runtime().block_on(async {
        open.journal.append(vec![entry(1, 100, true)]).await.expect("appended");
        clock.advance(Duration::from_secs(20 * 24 * 3600));
        open.journal.append(vec![entry(2, 100, true)]).await.expect("appended");
        open.journal.close().await.expect("closed");
    });
    fs::remove_dir_all(data.path().join("journal/2026-11")).expect("dropped");
    fs::remove_file(trail_file(data.path())).expect("dropped");
    let again = open_at(data.path(), clock, Options::default()).expect("opened");
    assert_eq!((again.opened.alarms.len(), again.kept.entries().len()), (0, 2));
}

#[test]
fn a_second_opening_is_refused_while_the_first_lives() {
    let data = tempfile::tempdir().expect("temporary directory");
    let first = open_store(data.path());
    let second = open_at(data.path(), november(), Options::default()).map(|_| ()).expect_err("in use");
    assert!(second.to_string().contains("in use by another process"), "{second}");
    assert!(matches!(verify(data.path()), Err(ReadError::Lock(_))));
    crash(first, data.path());
}

#[test]
fn an_entry_that_cannot_be_folded_stops_the_store_and_names_itself() {
    let data = tempfile::tempdir().expect("temporary directory");
    let open = open_store(data.path());
    let poison = Entry::plain(b"cannot be folded".to_vec());
    let error = runtime().block_on(open.journal.append(vec![entry(1, 3, false), poison])).expect_err("refused");
    assert!(matches!(error, AppendError::Unavailable { .. }));
    assert!(matches!(open.journal.health(), Health::Failed { why } if why.contains("entry 2")));
    crash(open, data.path());
    assert!(matches!(open_at(data.path(), november(), Options::default()), Err(OpenError::Fold { seq: Seq(2), .. })));
}

#[test]
fn no_value_ever_goes_to_a_blob_file() {
    let data = tempfile::tempdir().expect("temporary directory");
    let open = open_store(data.path());
    runtime().block_on(async {
        for number in 0..80 {
            open.journal.append((0..8).map(|_| entry(number, 6_980, number % 8 == 0)).collect()).await.expect("appended");
        }
        open.journal.append(vec![entry(0, 8 << 20, false)]).await.expect("appended");
    });
    let blobs = fs::read_dir(data.path().join("journal/2026-11/blobs")).expect("listed").count();
    assert_eq!(blobs, 0, "sled never syncs blob files");
}
