//! Months whose space was given back: refused while anything needs them, whole or rightly gone after any crash, and never made again.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc, time::Duration};

use super::{super::*, *};
use crate::time::Clock as _;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn november_of(data: &Path) -> Month {
    assert!(data.join("trail/2026-11.log").is_file());
    "2026-11".parse().expect("a month")
}

/// Three months of entries, closed twice, so that both checkpoints reach beyond the first two; what was kept, and the clock.
fn three_months(data: &Path) -> (BTreeMap<u64, Vec<u8>>, Arc<ManualClock>) {
    let clock = november();
    let mut number = 0;
    for days in [0, 20, 31, 0] {
        clock.advance(DAY * days);
        let open = open_at(data, clock.clone(), Options::default()).expect("opened");
        runtime().block_on(async {
            for _ in 0..20 {
                number += 1;
                open.journal.append(vec![entry(number, 300, number % 3 == 0)]).await.expect("appended");
            }
            open.journal.close().await.expect("closed");
        });
        crash(open, data);
    }
    let open = open_at(data, clock.clone(), Options::default()).expect("opened");
    let entries = open.kept.entries();
    crash(open, data);
    assert_eq!(entries.len(), 80);
    (entries, clock)
}

fn dropped(data: &Path, clock: &Arc<ManualClock>, month: Month) -> Result<(), DropError> {
    let open = open_at(data, clock.clone(), Options::default()).expect("opened");
    let result = runtime().block_on(open.journal.drop_month(month, clock.now()));
    crash(open, data);
    result
}

/// Everything is as it was, but that the month's journal is gone.
fn is_rightly_gone(data: &Path, clock: &Arc<ManualClock>, entries: &BTreeMap<u64, Vec<u8>>) {
    let again = open_at(data, clock.clone(), Options::default()).expect("opened");
    assert_eq!((&again.opened.alarms, &again.opened.notes), (&Vec::new(), &Vec::new()));
    assert_eq!(&again.kept.entries(), entries);
    crash(again, data);
    let left: Vec<String> = fs::read_dir(data.join("journal"))
        .expect("listed")
        .map(|item| item.expect("an item").file_name().to_string_lossy().into_owned())
        .collect();
    assert!(
        left.contains(&"2026-11.dropped".to_owned()) && left.iter().all(|name| !name.contains("2026-11") || name.ends_with("ed")),
        "{left:?}"
    );
    let report = verify(data).expect("verified");
    assert!(report.ok, "{:?}", report.faults);
    assert_eq!(report.months.iter().map(|month| month.given_back).collect::<Vec<_>>(), [true, false, false]);
    assert_eq!((report.months[0].first, report.months[0].last, report.months[1].first), (1, 20, 21));
    let stats = stats(data).expect("stats");
    assert_eq!((stats.months[0].given_back, stats.months[0].disk_bytes, stats.last), (true, 0, 80));
    assert!(stats.months[0].trail_frames == 6 && stats.months[1].disk_bytes > 0 && stats.months[0].covers > 0);
}

#[test]
fn a_month_that_is_given_back_leaves_its_trail_and_everything_that_checkpoints_hold() {
    let data = tempfile::tempdir().expect("temporary directory");
    let (entries, clock) = three_months(data.path());
    let month = november_of(data.path());
    dropped(data.path(), &clock, month).expect("dropped");
    is_rightly_gone(data.path(), &clock, &entries);
    assert_eq!(dropped(data.path(), &clock, month), Err(DropError::AlreadyDropped { month }));
    // The chain goes on over it, and a fold that begins with the checkpoint reads on behind it.
    let mut read = BTreeMap::new();
    let mut begun = BTreeMap::new();
    let begin = |beginning| {
        let Beginning::Checkpoint(_, state) = beginning else { return Err("no checkpoint".into()) };
        let mut fold = Everything::default();
        fold.restore(&state).map_err(|error| error.to_string())?;
        begun = fold.entries();
        Ok(())
    };
    read_all(data.path(), begin, |seq, bytes| {
        read.insert(seq.0, bytes.to_vec());
        Ok(())
    })
    .expect("read");
    assert!(!read.is_empty() && !begun.contains_key(read.keys().next().expect("an entry")));
    begun.append(&mut read);
    assert_eq!(begun, entries);
}

#[test]
fn a_crash_between_any_two_steps_leaves_a_month_that_is_whole_or_rightly_gone() {
    for step in 0..6 {
        let data = tempfile::tempdir().expect("temporary directory");
        let data = data.path();
        let (entries, clock) = three_months(data);
        let month = november_of(data);
        let going = data.join("journal/2026-11.going");
        let judged = dropping::judge(data, month, clock.now()).expect("it may be dropped");
        match step {
            0 => fs::write(data.join("journal/2026-11.dropped.draft"), b"half a ma").expect("written"),
            1 => dropping::mark(data, &judged).expect("marked"),
            2..=4 => {
                dropping::mark(data, &judged).expect("marked");
                dir::rename(&data.join("journal/2026-11"), &going).expect("renamed");
                if step > 2 {
                    fs::remove_file(going.join("db")).expect("removed");
                }
                if step > 3 {
                    fs::remove_dir_all(&going).expect("removed");
                }
            }
            _ => {
                dropping::mark(data, &judged).expect("marked");
                dropping::remove(data, month).expect("removed");
            }
        }
        if step == 0 {
            let again = open_at(data, clock.clone(), Options::default()).expect("opened");
            assert_eq!((again.opened.alarms.len(), again.kept.entries()), (0, entries.clone()));
            crash(again, data);
            assert!(verify(data).expect("verified").months.iter().all(|month| !month.given_back));
            dropped(data, &clock, month).expect("dropped");
        }
        is_rightly_gone(data, &clock, &entries);
    }
}

#[test]
fn a_month_is_refused_while_it_is_written_to_or_an_older_one_or_a_checkpoint_needs_it() {
    let data = tempfile::tempdir().expect("temporary directory");
    let data = data.path();
    let (entries, clock) = three_months(data);
    let [november, december, january, never] =
        ["2026-11", "2026-12", "2027-01", "2026-10"].map(|text| text.parse::<Month>().expect("a month"));
    assert_eq!(dropped(data, &clock, never), Err(DropError::NoSuchMonth { month: never }));
    assert_eq!(dropped(data, &clock, january), Err(DropError::Newest { month: january }));
    assert_eq!(dropped(data, &clock, december), Err(DropError::OlderFirst { month: december, older: november }));
    let newest = checkpoint::list(data).expect("listed")[0];
    for older in checkpoint::list(data).expect("listed").into_iter().skip(1) {
        fs::remove_file(checkpoint::path_of(data, older)).expect("removed");
    }
    assert_eq!(newest, 80);
    assert_eq!(dropped(data, &clock, november), Err(DropError::NotCovered { month: november, covers: 1 }));
    // With one more entry there is a second checkpoint to be made.
    let open = open_at(data, clock.clone(), Options::default()).expect("opened");
    runtime().block_on(async {
        open.journal.append(vec![entry(81, 10, true)]).await.expect("appended");
        open.journal.drop_month(november, clock.now()).await.expect("dropped");
        open.journal.drop_month(december, clock.now()).await.expect("dropped after the older one");
    });
    assert!(open.kept.entries().len() == entries.len() + 1 && !data.join("journal/2026-12").exists());
    crash(open, data);
    assert!(verify(data).expect("verified").ok);
}

#[test]
fn a_backup_of_a_store_with_a_month_given_back_restores_it_sound() {
    let data = tempfile::tempdir().expect("temporary directory");
    let place = tempfile::tempdir().expect("temporary directory");
    let (entries, clock) = three_months(data.path());
    dropped(data.path(), &clock, november_of(data.path())).expect("dropped");
    let (stopped, running) = (place.path().join("stopped.tar"), place.path().join("running.tar"));
    backup(data.path(), &stopped).expect("backed up");
    let open = open_at(data.path(), clock.clone(), Options::default()).expect("opened");
    runtime().block_on(open.journal.backup(&running)).expect("backed up");
    crash(open, data.path());
    for file in [&stopped, &running] {
        let restored = file.with_extension("restored");
        assert_eq!(restore(file, &restored, None).expect("restored").report.end, 80);
        is_rightly_gone(&restored, &clock, &entries);
    }
    // Without a checkpoint that holds what was given back, it would be no backup.
    fs::remove_dir_all(data.path().join("checkpoint")).expect("removed");
    let error = backup(data.path(), &stopped).expect_err("not whole");
    assert!(error.to_string().contains("no whole checkpoint"), "{error}");
}

#[test]
fn damage_around_a_month_that_was_given_back_is_told_and_its_trail_is_no_source_of_its_journal() {
    let data = tempfile::tempdir().expect("temporary directory");
    let data = data.path();
    let (entries, clock) = three_months(data);
    dropped(data, &clock, november_of(data)).expect("dropped");
    let opened = |alarms: usize| {
        let again = open_at(data, clock.clone(), Options::default()).expect("opened");
        assert_eq!((again.opened.alarms.len(), &again.kept.entries()), (alarms, &entries), "{:?}", again.opened.alarms);
        crash(again, data);
        assert!(!data.join("journal/2026-11").exists(), "it was made again");
    };
    let rules = || verify(data).expect("verified").faults.into_iter().map(|fault| fault.rule).collect::<Vec<_>>();
    let flip = |path: &Path, at: usize| {
        let mut bytes = fs::read(path).expect("read");
        bytes[at] ^= 1;
        fs::write(path, bytes).expect("written");
    };
    let mark = data.join("journal/2026-11.dropped");
    flip(&mark, 20);
    assert!(rules().contains(&"bad-mark"));
    opened(1);
    opened(0);
    assert_eq!(rules(), Vec::<&str>::new());
    flip(&trail_file(data), 120);
    assert!(rules().iter().any(|rule| rule.starts_with("trail-")));
    opened(1);
    flip(&trail_file(data), 120);
    opened(0);
    let trail = fs::read(trail_file(data)).expect("read");
    fs::remove_file(trail_file(data)).expect("removed");
    assert!(rules().contains(&"trail-missing"));
    opened(1);
    fs::write(trail_file(data), trail).expect("put back");
    assert_eq!(rules(), Vec::<&str>::new());
}

#[test]
fn without_any_checkpoint_the_fold_is_asked_what_stands_elsewhere_or_the_store_stays_closed() {
    let data = tempfile::tempdir().expect("temporary directory");
    let (_, clock) = three_months(data.path());
    dropped(data.path(), &clock, november_of(data.path())).expect("dropped");
    fs::remove_dir_all(data.path().join("checkpoint")).expect("removed");
    assert!(verify(data.path()).expect("verified").faults.iter().any(|fault| fault.rule == "not-covered"));
    let error = open_at(data.path(), clock, Options::default()).map(|_| ()).expect_err("half a state is no state");
    assert!(matches!(&error, OpenError::Unrepairable { why, .. } if why.contains("entries up to 20 were given back")), "{error}");
}
