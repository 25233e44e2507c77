//! What is left of edits after a restart, a crash at any byte, and damage.

use std::{fs, path::Path};

use proptest::prelude::*;
use tempfile::TempDir;

use super::{
    Change, Import, ImportFile, ImportOptions, Kind, Mode, Record, Registry, Snapshot, SpeakerRecord, SubscriberKey, SubscriberRecord,
    export, fixture,
    log::LogRead,
    shelf::{generation_path, log_path},
};

const VILLAGES: [&str; 3] = ["510726100201", "510726100006", "510726100"];

fn filled() -> (TempDir, Registry) {
    let dir = tempfile::tempdir().expect("temporary directory");
    let registry = Registry::open(dir.path()).expect("an empty registry").registry;
    let mut import: Import = fixture::beichuan(40, 4);
    import.kinds = Kind::ALL.to_vec();
    registry.import_records(&import, Mode::Upsert).expect("the fixture is sound");
    (dir, registry)
}

fn person(id: u32, village: u32, role: &str, backup: Option<u32>) -> Change {
    let value = serde_json::json!({"id": format!("p{id}"), "area": VILLAGES[village as usize % 3], "role": role, "name": "王，\"李\"",
        "phone": format!("1380013800{}", id % 10), "lon": 104.123_456_7, "lat": 31.9, "people": id, "language": if id.is_multiple_of(2) { "ii" } else { "" },
        "backup": backup.map(|id| format!("p{id}"))});
    Change::PutSubscriber(SubscriberRecord::from_json(&value).expect("sound"))
}

fn speaker(id: u32, village: u32) -> Change {
    let value = serde_json::json!({"id": format!("s{id}"), "area": VILLAGES[village as usize % 3], "name": "大喇叭", "radius_m": 300 + id});
    Change::PutSpeaker(SpeakerRecord::from_json(&value).expect("sound"))
}

/// Everything that a snapshot holds, but for the order in which shared words were first heard.
fn whole(snapshot: &Snapshot) -> String {
    let mut text = format!("generation {}\n", snapshot.generation());
    for kind in Kind::ALL {
        text += &String::from_utf8_lossy(&export(snapshot, kind));
        if let Some(book) = snapshot.key_book(kind) {
            text += &format!("{} next {} gone {:?}\n", kind.name(), book.next, book.retired);
        }
    }
    for position in 0..snapshot.subscriber_count() {
        let at = snapshot.subscriber_at(position);
        let by_phone: Vec<SubscriberKey> =
            at.phone().iter().flat_map(|phone| snapshot.subscribers_by_phone(phone)).map(|at| at.key()).collect();
        let found = snapshot.subscriber_by_id(at.id()).map(|found| found.position());
        text += &format!("{} {} {} {found:?} {by_phone:?}\n", at.key(), at.opted_out(), at.position());
        assert!(found == Some(position) && (at.phone().is_none() || by_phone.contains(&at.key())));
    }
    for position in 0..snapshot.speaker_count() {
        text += &format!("{} {}\n", snapshot.speaker_at(position).key(), snapshot.speaker_at(position).id());
    }
    text
}

fn reopened(dir: &Path) -> (Registry, String, usize) {
    let opened = Registry::open(dir).expect("opens");
    let text = whole(&opened.snapshot);
    (opened.registry, text, opened.damaged.len())
}

/// One step of the property: what it does depends on what is there.
fn step(registry: &Registry, (what, id, village): (u32, u32, u32)) {
    let now = registry.current();
    let key = now.subscriber_by_id(&format!("p{id}")).map(|found| found.key());
    let gone = |kind, id: String| Change::Delete(kind, id.into());
    let changes = match (what, key) {
        (0 | 1, _) => vec![person(id, village, "household", None)],
        (2, _) => vec![person(id, village, "grid_worker", None), person(id + 10, village, "village_leader", Some(id))],
        (3, Some(_)) => vec![gone(Kind::Subscribers, format!("p{id}"))],
        (4, Some(key)) => vec![Change::OptOut(key)],
        (5, Some(key)) => vec![Change::OptIn(key), speaker(id, village)],
        (6, _) => vec![speaker(id, village), person(id, village, "household", None)],
        (7, _) => vec![gone(Kind::Speakers, format!("s{id}"))],
        (8, _) => vec![Change::OptIn(SubscriberKey(9_999_999))],
        _ => vec![],
    };
    // Some are refused, such as the removal of somebody's backup: then nothing may be left of them.
    let refused = registry.edit(&changes).is_err();
    assert!(!refused || whole(&registry.current()) == whole(&now));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn an_edited_registry_opens_as_it_was_in_memory(steps in prop::collection::vec((0..10_u32, 0..6_u32, 0..3_u32), 1..30), again in 0..30_usize) {
        let (dir, mut registry) = filled();
        for (at, &one) in steps.iter().enumerate() {
            step(&registry, one);
            if at == again {
                drop(registry);
                registry = reopened(dir.path()).0;
            }
        }
        let left = whole(&registry.current());
        drop(registry);
        let (registry, found, damaged) = reopened(dir.path());
        prop_assert_eq!((&found, damaged), (&left, 0));
        // A whole generation of it says the same as the log did.
        registry.import(&[ImportFile::in_memory("s.csv", b"id,area,role\n")], ImportOptions::default()).expect("sound");
        let kept = whole(&registry.current());
        drop(registry);
        prop_assert_eq!(reopened(dir.path()).1, kept);
    }
}

#[test]
fn a_log_cut_at_any_byte_opens_to_a_state_that_was_and_goes_on_from_there() {
    let (dir, registry) = filled();
    let mut states = vec![whole(&registry.current())];
    for id in 0..3 {
        registry.edit(&[person(id, id, "household", None)]).expect("sound");
        states.push(whole(&registry.current()));
    }
    drop(registry);
    let log = log_path(dir.path(), 1);
    let bytes = fs::read(&log).expect("readable");
    for cut in (0..=bytes.len()).rev().step_by(7) {
        fs::write(&log, &bytes[..cut]).expect("writable");
        let (registry, found, damaged) = reopened(dir.path());
        let at = states.iter().position(|state| *state == found).expect("a state that was");
        assert!(damaged == 0 && (at == 3) == (cut == bytes.len()));
        registry.edit(&[speaker(1, 0)]).expect("sound");
        let left = whole(&registry.current());
        drop(registry);
        assert_eq!(reopened(dir.path()).1, left);
    }
}

#[test]
fn a_bad_frame_in_the_middle_keeps_what_is_before_it_and_gives_no_lost_key_again() {
    let (dir, registry) = filled();
    let before = (0..3).map(|id| registry.edit(&[person(id, id, "household", None)]).expect("sound")).collect::<Vec<_>>();
    let lost = before[2].subscriber_by_id("p2").expect("put").key();
    drop(registry);
    let log = log_path(dir.path(), 1);
    let mut bytes = fs::read(&log).expect("readable");
    let middle = bytes.windows(4).position(|word| word == b"\"p1\"").expect("the second edit");
    bytes[middle + 1] ^= 0x10;
    fs::write(&log, &bytes).expect("writable");
    let opened = Registry::open(dir.path()).expect("opens");
    assert_eq!(opened.damaged.len(), 1);
    assert!(
        opened.damaged[0].error.to_string().contains("change 2") && opened.damaged[0].file.ends_with("registry-000000000001.log.damaged")
    );
    assert!(opened.snapshot.subscriber_by_id("p0").is_some() && opened.snapshot.subscriber_by_id("p1").is_none());
    drop(opened);
    // Also after another restart, in which nothing is damaged any more.
    let (registry, _, damaged) = reopened(dir.path());
    let next = registry.edit(&[person(7, 0, "household", None)]).expect("sound");
    assert!(damaged == 0 && next.subscriber_by_id("p7").expect("put").key() > lost && next.generation() > before[2].generation());
}

#[test]
fn a_crash_between_write_and_rename_leaves_the_generation_and_its_log() {
    let (dir, registry) = filled();
    registry.edit(&[person(1, 0, "household", None)]).expect("sound");
    let left = whole(&registry.current());
    drop(registry);
    let whole_file = fs::read(generation_path(dir.path(), 1)).expect("readable");
    let unfinished = generation_path(dir.path(), 2).with_extension("unfinished");
    for bytes in [&whole_file[..], &whole_file[..100], &[]] {
        fs::write(&unfinished, bytes).expect("writable");
        let (_registry, found, damaged) = reopened(dir.path());
        assert_eq!((&found, damaged), (&left, 0));
    }
}

#[test]
fn a_full_log_becomes_a_generation_and_is_what_remains_if_that_is_lost() {
    let (dir, registry) = filled();
    for round in 0..11 {
        let changes: Vec<Change> = (0..1_000).map(|id| person(round * 1_000 + id, id, "household", None)).collect();
        registry.edit(&changes).expect("sound");
    }
    let taken_up = generation_path(dir.path(), 12);
    assert!(taken_up.exists(), "eleven thousand changes are more than a log holds");
    registry.edit(&[speaker(1, 0)]).expect("sound");
    registry.edit(&[speaker(2, 1)]).expect("sound");
    assert_eq!(LogRead::open(&log_path(dir.path(), 12), 12).expect("readable").expect("made").edits.len(), 2);
    let left = whole(&registry.current());
    drop(registry);
    let mut bytes = fs::read(&taken_up).expect("readable");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&taken_up, bytes).expect("writable");
    let (_registry, found, damaged) = reopened(dir.path());
    assert_eq!((found, damaged), (left, 1));
}

#[test]
fn a_log_of_a_lost_generation_that_nothing_leads_to_is_told_and_its_keys_are_not_given_again() {
    let (dir, registry) = filled();
    registry.import(&[ImportFile::in_memory("s.csv", b"id,area,role\n")], ImportOptions::default()).expect("sound");
    let lost = registry.edit(&[person(1, 0, "household", None)]).expect("sound");
    let key = lost.subscriber_by_id("p1").expect("put").key();
    drop(registry);
    fs::write(generation_path(dir.path(), 2), b"nothing of it").expect("writable");
    let (registry, _, damaged) = reopened(dir.path());
    assert_eq!(damaged, 2, "the generation and its log");
    let next = registry.edit(&[person(2, 0, "household", None)]).expect("sound");
    assert!(next.subscriber_by_id("p2").expect("put").key() > key && next.generation() > lost.generation());
}
