//! Damage from outside: flipped bits, cut and missing files are noticed, told, and mended as far as anything is left.

use std::{fs, os::unix::fs::FileExt, path::Path};

use super::{super::*, *};

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
    let mut alarms = 0;
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
        alarms += again.opened.alarms.len();
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
    assert!(alarms > 0, "no flip hit anything; the test must aim better");
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
    crash(again, data.path());
    assert_eq!(stats(data.path()).expect("stats").moved_aside.len(), 1);
    let report = verify(data.path()).expect("verified");
    assert!(report.ok, "once told it is out of the way: {:?}", report.faults);
    assert!(open_store(data.path()).opened.alarms.is_empty(), "told once");
}

#[test]
fn a_spoilt_snapshot_or_setting_of_the_database_costs_no_entry() {
    let data = tempfile::tempdir().expect("temporary directory");
    let entries = closed_store(data.path());
    let folder = data.path().join("journal");
    for beginning in ["snap.", "conf"] {
        let month = fs::read_dir(&folder).expect("listed").map(|item| item.expect("an item").path());
        let month =
            month.filter(|path| path.join("db").is_file()).find(|path| !path.to_string_lossy().contains("damaged")).expect("a month");
        let files = fs::read_dir(&month).expect("listed").map(|item| item.expect("an item"));
        let mut files = files.filter(|item| item.file_name().to_string_lossy().starts_with(beginning));
        let file = files.next().expect("a file").path();
        fs::write(&file, b"this was something else").expect("written");
        fs::remove_dir_all(data.path().join("checkpoint")).expect("the state must come from the journal alone");
        let again = open_store(data.path());
        assert_eq!(again.opened.alarms.len(), 1, "{:?}", again.opened.alarms);
        assert!(again.opened.alarms[0].contains("from its log alone"), "{:?}", again.opened.alarms);
        assert_eq!(again.kept.entries(), entries, "{beginning}");
        runtime().block_on(again.journal.close()).expect("closed");
        drop(again);
        assert!(verify(data.path()).expect("verified").ok);
    }
}
