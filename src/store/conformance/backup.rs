//! Backups and looks into a stopped store.

use std::{collections::BTreeMap, fs, time::Duration};

use super::{super::*, *};

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
    assert_eq!(restore(&file, &restored, None).expect("restored").report, report);
    let again = open_at(&restored, clock, Options::default()).expect("opened");
    assert_eq!(again.opened.alarms, Vec::<String>::new());
    let expected: BTreeMap<_, _> = open.kept.entries().into_iter().filter(|(seq, _)| *seq <= report.end).collect();
    assert_eq!(again.kept.entries(), expected);
    assert_eq!(documents::Documents::open(&restored).expect("opened").read("users").expect("read").as_deref(), Some(&b"[]"[..]));
    assert!(matches!(restore(&file, &restored, None), Err(BackupError::NotEmpty { .. })));
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
        assert!(restore(&file, &restored, None).is_err(), "a flip in byte {at} was not noticed");
        fs::write(&file, &whole[..at]).expect("written");
        assert!(restore(&file, &restored, None).is_err(), "a cut at byte {at} was not noticed");
    }
    assert!(!restored.exists());
    fs::write(&file, &whole).expect("written");
    restore(&file, &restored, None).expect("restored");
}

#[test]
fn a_stopped_store_can_be_read_and_measured() {
    let data = tempfile::tempdir().expect("temporary directory");
    let entries = closed_store(data.path());
    let mut read = BTreeMap::new();
    read_all(
        data.path(),
        |_| Ok(()),
        |seq, bytes| {
            read.insert(seq.0, bytes.to_vec());
            Ok(())
        },
    )
    .expect("read");
    assert_eq!(read, entries);
    let refused = read_all(data.path(), |_| Ok(()), |_, _| Err("enough".into()));
    assert!(matches!(refused, Err(ReadError::Refused { seq: Seq(1), .. })));
    let stats = stats(data.path()).expect("stats");
    assert_eq!((stats.last, stats.checkpoint, stats.entries_since_checkpoint), (60, Some(60), 0));
    assert_eq!((stats.months[0].entries, stats.months[0].trail_frames), (60, 20));
    assert!(matches!(verify(&data.path().join("nothing")), Err(ReadError::NoStore { .. })));
    assert!(!data.path().join("nothing").exists());
}
