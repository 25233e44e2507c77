//! Owns the tests that every engine of the journal must pass, whatever it writes to.
//! Refuses to look inside: it appends, kills, spoils files from outside, opens again and compares.
//! Invariant: whatever happens, what was acknowledged is there, or an alarm says that it is not.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
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

    fn checkpoint(&self) -> Vec<u8> {
        serde_json::to_vec(&self.entries()).expect("bytes are JSON")
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
    Entry { bytes, trail }
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
fn frames_of_an_interrupted_commit_are_taken_from_the_trail() {
    let data = tempfile::tempdir().expect("temporary directory");
    let options = Options { checkpoint_after_bytes: u64::MAX, ..Options::default() };
    let before = open_at(data.path(), november(), options.clone()).expect("opened");
    runtime().block_on(before.journal.append(vec![entry(1, 50, true), entry(2, 50, false)])).expect("appended");
    crash(before, data.path());
    // The power fails after the trail's fsync and before the journal's.
    let path = trail_file(data.path());
    let read = trail::TrailRead::open(&path).expect("readable").expect("there");
    let mut writing = trail::Trail::resume(&path, &read).expect("resumed");
    writing.append(3, [(4, &b"accepted"[..])].into_iter()).expect("appended");
    let again = open_at(data.path(), november(), options).expect("opened");
    assert_eq!((again.opened.alarms.len(), again.opened.notes.len(), again.opened.end), (0, 1, Seq(4)));
    assert_eq!(again.kept.entries()[&4], b"accepted");
    crash(again, data.path());
    assert!(verify(data.path()).expect("verified").ok);
}

#[test]
fn a_frame_torn_by_a_crash_is_cut_off_with_a_note() {
    let data = tempfile::tempdir().expect("temporary directory");
    let entries = closed_store(data.path());
    let path = trail_file(data.path());
    let mut bytes = fs::read(&path).expect("read");
    bytes.extend_from_slice(&[17, 0, 0, 0, 9, 9, 9]);
    fs::write(&path, &bytes).expect("written");
    let again = open_store(data.path());
    assert_eq!((again.opened.alarms.len(), again.opened.notes.len()), (0, 1));
    assert_eq!(again.kept.entries(), entries);
    crash(again, data.path());
    assert!(verify(data.path()).expect("verified").ok);
}

#[test]
fn a_cut_tail_of_the_trail_is_noticed_and_written_again_from_the_journal() {
    let data = tempfile::tempdir().expect("temporary directory");
    let entries = closed_store(data.path());
    let path = trail_file(data.path());
    let read = trail::TrailRead::open(&path).expect("readable").expect("there");
    let cut = read.end_of(&read.link_at(17).expect("there are more")).expect("there are more");
    let whole = fs::read(&path).expect("read");
    fs::write(&path, &whole[..usize::try_from(cut).expect("small")]).expect("written");
    assert_eq!(verify(data.path()).expect("verified").faults.iter().filter(|fault| fault.rule == "trail-cut").count(), 1);
    let again = open_store(data.path());
    assert!(again.opened.alarms[0].contains("ends in the hash that the journal holds"), "{:?}", again.opened.alarms);
    assert_eq!(again.kept.entries(), entries);
    crash(again, data.path());
    let report = verify(data.path()).expect("verified");
    assert!(report.ok, "{:?}", report.faults);
    assert_eq!(stats(data.path()).expect("stats").moved_aside.len(), 1);
}

#[test]
fn a_changed_trail_is_noticed_wherever_it_was_changed() {
    let data = tempfile::tempdir().expect("temporary directory");
    let entries = closed_store(data.path());
    let whole = fs::read(trail_file(data.path())).expect("read");
    for at in [3, 30, 70, whole.len() / 2, whole.len() - 5] {
        let mut changed = whole.clone();
        changed[at] ^= 4;
        fs::write(trail_file(data.path()), &changed).expect("written");
        assert!(!verify(data.path()).expect("verified").ok, "a change in byte {at} was not noticed");
        let again = open_store(data.path());
        assert_eq!(again.opened.alarms.len(), 1, "{:?}", again.opened.alarms);
        assert_eq!(again.kept.entries(), entries);
        crash(again, data.path());
        assert!(verify(data.path()).expect("verified").ok);
    }
}

#[test]
fn a_missing_trail_is_written_again() {
    let data = tempfile::tempdir().expect("temporary directory");
    closed_store(data.path());
    let whole = fs::read(trail_file(data.path())).expect("read");
    fs::remove_file(trail_file(data.path())).expect("removed");
    let again = open_store(data.path());
    assert_eq!(again.opened.alarms.len(), 1);
    crash(again, data.path());
    let read = |path: &Path| trail::TrailRead::open(path).expect("readable").expect("there").link();
    let written = read(&trail_file(data.path()));
    fs::write(data.path().join("old"), whole).expect("written");
    assert_eq!(written, read(&data.path().join("old")), "the same entries end in the same hash");
}

#[test]
fn a_missing_journal_is_rebuilt_from_checkpoint_and_trail() {
    let data = tempfile::tempdir().expect("temporary directory");
    let entries = closed_store(data.path());
    fs::remove_dir_all(data.path().join("journal")).expect("removed");
    let again = open_store(data.path());
    assert_eq!(again.opened.alarms.len(), 1);
    assert_eq!(again.kept.entries(), entries, "the checkpoint has all of them");
    assert_eq!(again.opened.end, Seq(60));
    crash(again, data.path());
    fs::remove_dir_all(data.path().join("checkpoint")).expect("removed");
    assert_eq!(kept(data.path()), only_trail(&entries));
    let report = verify(data.path()).expect("verified");
    assert_eq!((report.ok, report.months[0].holes), (true, 40));
}

#[test]
fn a_flipped_bit_in_the_database_is_never_passed_over() {
    for (seed, with_checkpoint) in (0..10_u64).map(|seed| (seed, seed % 2 == 0)) {
        let data = tempfile::tempdir().expect("temporary directory");
        let entries = closed_store(data.path());
        if !with_checkpoint {
            fs::remove_dir_all(data.path().join("checkpoint")).expect("removed");
        }
        let file = fs::OpenOptions::new().read(true).write(true).open(journal_file(data.path())).expect("there");
        // The entries lie in the first part of the file; the rest is preallocated.
        let at = 64 + seed * 1_777;
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).expect("read");
        file.write_all_at(&[byte[0] ^ 8], at).expect("written");
        drop(file);
        let again = open_store(data.path());
        let kept = again.kept.entries();
        assert!(kept.iter().all(|(seq, bytes)| entries[seq] == *bytes), "an entry changed");
        assert!(kept == entries || !again.opened.alarms.is_empty(), "entries were lost without a word after a flip in byte {at}");
        assert!(only_trail(&entries).keys().all(|seq| kept.contains_key(seq)), "an entry of the trail was lost after a flip in byte {at}");
        assert!(!with_checkpoint || kept == entries);
        runtime().block_on(again.journal.append(vec![entry(0, 10, true)])).expect("goes on");
        crash(again, data.path());
        let report = verify(data.path()).expect("verified");
        assert!(report.ok, "after a flip in byte {at}: {:?}", report.faults);
    }
}

#[test]
fn a_truncated_database_is_rebuilt_with_an_alarm() {
    let data = tempfile::tempdir().expect("temporary directory");
    let entries = closed_store(data.path());
    fs::OpenOptions::new().write(true).open(journal_file(data.path())).and_then(|file| file.set_len(5_000)).expect("cut");
    let again = open_store(data.path());
    assert_eq!(again.opened.alarms.len(), 1, "{:?}", again.opened.alarms);
    assert_eq!(again.kept.entries(), entries);
    let aside = fs::read_dir(data.path().join("journal")).expect("listed").filter_map(Result::ok).map(|item| item.file_name());
    assert!(aside.into_iter().any(|name| name.to_string_lossy().starts_with("2026-11.damaged-")));
}

#[test]
fn damage_to_journal_and_trail_at_once_saves_what_either_has() {
    let data = tempfile::tempdir().expect("temporary directory");
    let entries = closed_store(data.path());
    let whole = fs::read(trail_file(data.path())).expect("read");
    fs::write(trail_file(data.path()), &whole[..whole.len() / 2]).expect("cut");
    let file = fs::OpenOptions::new().write(true).open(journal_file(data.path())).expect("there");
    file.write_all_at(&[0xff; 64], 9_000).expect("spoilt");
    let again = open_store(data.path());
    assert!(!again.opened.alarms.is_empty());
    assert_eq!(again.kept.entries(), entries, "the checkpoint has all of them");
    assert_eq!(again.opened.end, Seq(60));
    crash(again, data.path());
    let report = verify(data.path()).expect("verified");
    assert!(report.ok, "{:?}", report.faults);
}

#[test]
fn a_repair_that_a_crash_interrupted_is_ended_or_begun_again() {
    let data = tempfile::tempdir().expect("temporary directory");
    let entries = closed_store(data.path());
    let (journal, draft) = (data.path().join("journal/2026-11"), data.path().join("journal/2026-11.rebuilding"));
    // The draft was not complete: the old one still has its name.
    fs::create_dir(&draft).expect("made");
    fs::write(draft.join("db"), b"half").expect("written");
    assert_eq!(kept(data.path()), entries);
    assert!(!draft.exists());
    // The draft was complete: the old one was moved away, the new one has not got its name yet.
    fs::rename(&journal, &draft).expect("renamed");
    let again = open_store(data.path());
    assert_eq!((again.opened.alarms.len(), again.opened.replayed), (0, 0));
    assert_eq!(again.kept.entries(), entries);
}

#[test]
fn a_spoilt_checkpoint_is_passed_over_for_the_one_before() {
    let data = tempfile::tempdir().expect("temporary directory");
    closed_store(data.path());
    let second = open_store(data.path());
    runtime().block_on(async {
        second.journal.append(vec![entry(61, 10, false)]).await.expect("appended");
        second.journal.close().await.expect("closed");
    });
    let newest = data.path().join("checkpoint").join(format!("{:020}.checkpoint", 61));
    let mut bytes = fs::read(&newest).expect("read");
    bytes[50] ^= 1;
    fs::write(&newest, bytes).expect("written");
    let again = open_store(data.path());
    assert_eq!((again.opened.from_checkpoint, again.opened.replayed, again.opened.alarms.len()), (Some(Seq(60)), 1, 1));
    assert_eq!(again.kept.entries().len(), 61);
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

#[test]
fn a_directory_that_cannot_be_written_is_told_as_such() {
    // A place where not even the superuser can make a directory.
    let error = open_at(Path::new("/proc/lastmile"), november(), Options::default()).map(|_| ()).expect_err("refused");
    assert!(matches!(error, OpenError::Lock(LockError::Io { .. })), "{error}");
    let data = tempfile::tempdir().expect("temporary directory");
    fs::write(data.path().join("journal"), b"in the way").expect("written");
    let error = open_at(data.path(), november(), Options::default()).map(|_| ()).expect_err("refused");
    assert!(matches!(error, OpenError::Io { .. }), "{error}");
}

#[test]
fn a_backup_of_a_running_store_restores_to_what_it_held() {
    let data = tempfile::tempdir().expect("temporary directory");
    let place = tempfile::tempdir().expect("temporary directory");
    let clock = november();
    let open = open_at(data.path(), clock.clone(), Options { checkpoint_after_bytes: 3_000, ..Options::default() }).expect("opened");
    documents::Documents::open(data.path()).expect("opened").replace("users", b"[]").expect("written");
    let file = place.path().join("county.tar");
    let report = runtime().block_on(async {
        for number in 1..=40 {
            open.journal.append(vec![entry(number, 400, number % 3 == 0)]).await.expect("appended");
            if number == 20 {
                clock.advance(Duration::from_secs(20 * 24 * 3600));
            }
        }
        let journal = open.journal.clone();
        let going_on = tokio::spawn(async move {
            for number in 41..=80 {
                journal.append(vec![entry(number, 400, number % 3 == 0)]).await.expect("appended");
            }
        });
        let report = open.journal.backup(&file).await.expect("backed up");
        going_on.await.expect("appends went on");
        report
    });
    assert!((40..=80).contains(&report.end));
    let restored = place.path().join("restored");
    assert_eq!(restore(&file, &restored).expect("restored"), report);
    let again = open_at(&restored, clock, Options::default()).expect("opened");
    assert_eq!(again.opened.alarms, Vec::<String>::new());
    let expected: BTreeMap<_, _> = open.kept.entries().into_iter().filter(|(seq, _)| *seq <= report.end).collect();
    assert_eq!(again.kept.entries(), expected);
    assert_eq!(documents::Documents::open(&restored).expect("opened").read("users").expect("read").as_deref(), Some(&b"[]"[..]));
    assert!(matches!(restore(&file, &restored), Err(BackupError::NotEmpty { .. })));
}

#[test]
fn a_spoilt_or_cut_backup_is_refused_and_leaves_nothing() {
    let data = tempfile::tempdir().expect("temporary directory");
    let place = tempfile::tempdir().expect("temporary directory");
    closed_store(data.path());
    let file = place.path().join("county.tar");
    backup(data.path(), &file).expect("backed up");
    let whole = fs::read(&file).expect("read");
    let restored = place.path().join("restored");
    for at in [0, 600, 1_500, whole.len() / 2] {
        let mut spoilt = whole.clone();
        spoilt[at] ^= 1;
        fs::write(&file, &spoilt).expect("written");
        assert!(restore(&file, &restored).is_err(), "a flip in byte {at} was not noticed");
        fs::write(&file, &whole[..at]).expect("written");
        assert!(restore(&file, &restored).is_err(), "a cut at byte {at} was not noticed");
    }
    assert!(!restored.exists());
    fs::write(&file, &whole).expect("written");
    restore(&file, &restored).expect("restored");
}

#[test]
fn a_stopped_store_can_be_read_and_measured() {
    let data = tempfile::tempdir().expect("temporary directory");
    let entries = closed_store(data.path());
    let mut read = BTreeMap::new();
    read_all(data.path(), |seq, bytes| {
        read.insert(seq.0, bytes.to_vec());
        Ok(())
    })
    .expect("read");
    assert_eq!(read, entries);
    let refused = read_all(data.path(), |_, _| Err("enough".into()));
    assert!(matches!(refused, Err(ReadError::Refused { seq: Seq(1), .. })));
    let stats = stats(data.path()).expect("stats");
    assert_eq!((stats.last, stats.checkpoint, stats.entries_since_checkpoint), (60, Some(60), 0));
    assert_eq!((stats.months[0].entries, stats.months[0].trail_frames), (60, 20));
    assert!(matches!(verify(&data.path().join("nothing")), Err(ReadError::NoStore { .. })));
    assert!(!data.path().join("nothing").exists());
}

const CHILD: &str = "LASTMILE_STORE_CHILD";

/// Not a test of its own: what the killed and the starved child do. It says each number once it is promised.
#[test]
fn child_that_appends_until_it_ends() {
    let Some(data) = std::env::var_os(CHILD) else { return };
    let open = open_store(Path::new(&data));
    let first = open.opened.end.0 + 1;
    let answered = runtime().block_on(async {
        for number in first..first + 100_000 {
            let size = usize::try_from(number * 37 % 20_000).expect("small");
            match open.journal.append(vec![entry(number, size, number % 3 == 0)]).await {
                Ok(seq) => say(&format!("kept {}", seq.into_inner())),
                Err(error) => {
                    let again = open.journal.append(vec![entry(0, 0, false)]).await;
                    return format!("ended {} {}", matches!(error, AppendError::Unavailable { .. }), again == Err(error));
                }
            }
        }
        "ended without an error".to_owned()
    });
    say(&answered);
    say(&format!("health {}", matches!(open.journal.health(), Health::Failed { .. })));
}

#[expect(clippy::print_stdout, reason = "the parent test reads it")]
fn say(line: &str) {
    println!("{line}");
}

fn child(data: &Path, shell: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", shell, "sh"]).arg(std::env::current_exe().expect("known"));
    command.args(["--exact", "store::conformance::child_that_appends_until_it_ends", "--nocapture", "--test-threads=1"]);
    command.env(CHILD, data).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

fn kept_number(line: &str) -> Option<u64> {
    // The harness writes the name of the test into the first line.
    line.split_once("kept ").and_then(|(_, number)| number.trim().parse().ok())
}

#[test]
fn everything_promised_before_a_kill_is_there_after_it() {
    let data = tempfile::tempdir().expect("temporary directory");
    let mut promised = 0;
    for lines in [5, 60, 23, 140] {
        let mut running = child(data.path(), r#"exec "$@""#).spawn().expect("started");
        let mut seen = 0;
        for line in BufReader::new(running.stdout.take().expect("piped")).lines() {
            if let Some(seq) = kept_number(&line.expect("text")) {
                promised = seq;
                seen += 1;
            }
            if seen == lines {
                running.kill().expect("killed");
            }
        }
        running.wait().expect("ended");
        assert!(seen >= lines, "the child was to be killed after {lines} promises, it made {seen}");
        let again = open_store(data.path());
        assert_eq!(again.opened.alarms, Vec::<String>::new());
        let kept = again.kept.entries();
        assert!(again.opened.end.0 >= promised, "{promised} was promised, the journal ends with {}", again.opened.end);
        for seq in 1..=promised {
            assert!(kept[&seq].starts_with(format!("{seq}:").as_bytes()), "entry {seq} is another");
        }
        crash(again, data.path());
    }
    let report = verify(data.path()).expect("verified");
    assert!(report.ok, "{:?}", report.faults);
}

#[test]
fn a_disk_that_takes_no_more_ends_in_unavailable_and_breaks_no_promise() {
    let data = tempfile::tempdir().expect("temporary directory");
    // No file may grow over 4 MB, and the signal for it is ignored, so that writes fail as on a full disk.
    let limited = r#"trap '' XFSZ; ulimit -f 8192; exec "$@""#;
    let output = child(data.path(), limited).output().expect("ran");
    let text = String::from_utf8_lossy(&output.stdout);
    let promised = text.lines().filter_map(kept_number).max().expect("some were kept before the disk was full");
    assert!(text.contains("ended true true"), "{text}");
    assert!(text.contains("health true"), "{text}");
    assert!(promised > 100, "the disk was full before anything could be kept: {promised}");
    let again = open_store(data.path());
    assert_eq!(again.opened.alarms, Vec::<String>::new());
    for seq in 1..=promised {
        assert!(again.kept.entries()[&seq].starts_with(format!("{seq}:").as_bytes()), "entry {seq} is another");
    }
}
