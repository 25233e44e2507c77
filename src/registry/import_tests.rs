//! Imports, exports and the registry on disk, by what their users see.

use std::{collections::HashMap, fs, path::Path, sync::Arc};

use proptest::prelude::*;

use super::{workbook::tests::workbook, *};
use crate::{datum::Datum, fault::Fault};

const AREAS: &str = "code,name,level,parent,lon,lat\n510726,北川,county,,104.2,31.9\n510726100,曲山镇,township,510726,,\n\
                     510726100201,沙坝村,village,510726100,104.28,31.69\n510726100202,石椅村,village,510726100,,\n";
const SUBSCRIBERS: &str = "编号,行政区划代码,姓名,角色,手机,邮箱,经度,纬度,人口,隐患点,替补\n\
                           h1,510726100201,王芳,农户,138 0013 8000,,104.281,31.691,4,510726010001,\n\
                           h2,510726100202,李强,household,,,,,3,,\n\
                           g1,510726100201,张伟,网格员,+8613900139000,w@a.example,,,1,,t1\n\
                           t1,510726100,陈静,town_duty,0816-4821234,,,,1,,\n";
const HAZARDS: &str = "code,name,kind,scale,area,lon,lat,people,monitor,sign,alarm,route,shelter\n\
                       510726010001,沙坝滑坡,滑坡,小型,510726100201,104.28,31.69,40,g1,裂缝,敲锣,\"向东, 上坡\",小学\n";

fn file<'a>(name: &'a str, text: &'a str) -> ImportFile<'a> {
    ImportFile::in_memory(name, text.as_bytes())
}

fn fresh() -> (tempfile::TempDir, Registry) {
    let dir = tempfile::tempdir().expect("a directory");
    let registry = Registry::open(&dir.path().join("registry")).expect("an empty registry").registry;
    (dir, registry)
}

fn filled() -> (tempfile::TempDir, Registry) {
    let (dir, registry) = fresh();
    let files = [file("areas.csv", AREAS), file("people.csv", SUBSCRIBERS), file("hazard_points.csv", HAZARDS)];
    registry.import(&files, ImportOptions::default()).expect("a sound import");
    (dir, registry)
}

fn refusal(result: Result<ImportReport, RegistryError>) -> Vec<Fault> {
    match result {
        Err(RegistryError::Refused(faults)) => faults,
        other => panic!("not refused: {other:?}"),
    }
}

fn named(faults: &[Fault]) -> Vec<(&str, &str)> {
    faults.iter().map(|fault| (fault.path.as_str(), fault.rule)).collect()
}

fn counts(report: &ImportReport, kind: Kind) -> Counts {
    report.counts.iter().find(|counts| counts.kind == kind.name()).map(|counts| counts.counts).unwrap_or_default()
}

#[test]
fn an_import_with_chinese_headings_is_read_and_its_references_stand() {
    let (_dir, registry) = filled();
    let now = registry.current();
    let h1 = now.subscriber_by_id("h1").expect("imported");
    assert_eq!((h1.role(), h1.people(), h1.name(), h1.language()), ("household", 4, "王芳", "zh-CN"));
    assert_eq!(h1.address(AddressKind::Phone), Some("13800138000"));
    assert_eq!(h1.hazard_point().map(|point| point.route()), Some("向东, 上坡"));
    assert_eq!(h1.hazard_point().and_then(|point| point.monitor()).map(|monitor| monitor.id()), Some("g1"));
    let g1 = now.subscriber_by_id("g1").expect("imported");
    assert_eq!(g1.backup().and_then(|key| now.subscriber(key)).map(|backup| backup.id()), Some("t1"));
    assert!(!now.subscriber_by_id("h2").expect("imported").has_address());
}

#[test]
fn every_bad_row_is_named_with_line_and_column_and_nothing_is_taken_in() {
    let (_dir, registry) = filled();
    let bad = "id,area,name,role,phone,email,lon,lat,people,backup\n\
               n1,510726100201,a,household,12345,,,,1,\n\
               n2,510726100999,b,Household,,not-mail,104.1,,x,\n\
               n3,510726100201,c,household,,,,,1,nobody\n\
               n4,510726100201,d,household,,,,,1,n1\n\
               n3,510726100201,e,household,,,200,31,1,\n\
               n/6,51072,,,,,,,1,\n";
    let faults = refusal(registry.import(&[file("subscribers.csv", bad)], ImportOptions::default()));
    assert_eq!(
        named(&faults),
        [
            ("subscribers.csv line 2, phone", "bad-phone"),
            ("subscribers.csv line 3, role", "bad-role"),
            ("subscribers.csv line 3, email", "bad-mail-address"),
            ("subscribers.csv line 3, lat", "half-coordinates"),
            ("subscribers.csv line 3, people", "bad-number"),
            ("subscribers.csv line 6, lon", "bad-coordinates"),
            ("subscribers.csv line 7, id", "bad-id"),
            ("subscribers.csv line 7, area", "bad-area-code"),
            ("subscribers.csv line 7, role", "missing"),
            ("subscribers.csv line 4, backup", "unknown-subscriber"),
        ]
    );
    assert_eq!(registry.current().generation(), 1);
    assert!(registry.current().subscriber_by_id("n4").is_none());
}

#[test]
fn a_file_of_unknown_headings_or_none_is_refused_by_name() {
    let (_dir, registry) = filled();
    for (name, text, rule) in [
        ("subscribers.csv", "id,area,role,phon\nh1,510726100201,household,1\n", "unknown-column"),
        ("subscribers.csv", "id,area,id,role\n", "double-column"),
        ("speakers.csv", "area,name\n", "missing-column"),
        ("list.csv", "a,b\n1,2\n", "unknown-kind"),
        ("speakers.csv", "\n\n", "empty-file"),
        ("speakers.csv", "id,area,name\ns1,510726100201\n", "wrong-cell-count"),
    ] {
        let faults = refusal(registry.import(&[file(name, text)], ImportOptions::default()));
        assert_eq!(faults.iter().map(|fault| fault.rule).collect::<Vec<_>>(), [rule], "{text:?}");
    }
}

#[test]
fn gb18030_a_byte_order_mark_and_gcj02_coordinates_are_understood() {
    let (_dir, registry) = filled();
    let text = "id,area,name,role,lon,lat\nh9,510726100201,吴洋,农户,104.4,31.8\n";
    let (gb18030, _, _) = encoding_rs::GB18030.encode(text);
    let marked = [b"\xef\xbb\xbf", text.as_bytes()].concat();
    let options = ImportOptions { datum: Datum::Gcj02, ..ImportOptions::default() };
    for bytes in [&*gb18030, &marked] {
        let report = registry.import(&[ImportFile::in_memory("subscribers.csv", bytes)], options).expect("a sound import");
        let h9 = report.snapshot.subscriber_by_id("h9").expect("imported");
        let point = h9.point().expect("placed");
        let (lon, lat) = Datum::Gcj02.to_wgs84(104.4, 31.8);
        assert_eq!((h9.name(), point), ("吴洋", Place::new(lon, lat).expect("on the globe")));
    }
}

#[test]
fn a_workbook_is_read_like_a_file_and_its_faults_name_the_sheet() {
    let (_dir, registry) = filled();
    let headings: &[&str] = &["编号", "行政区划代码", "姓名", "角色", "手机", "人口"];
    let sound =
        workbook("人员", &[headings, &["x1", "510726100201", "赵宁", "农户", "13800138000", "4"], &["x2", "510726100202", "周安", "农户"]]);
    let file = |bytes| [ImportFile::in_memory("名册.xlsx", bytes)];
    let report = registry.import(&file(&sound), ImportOptions::default()).expect("a sound workbook");
    let x1 = report.snapshot.subscriber_by_id("x1").expect("imported");
    assert_eq!((x1.address(AddressKind::Phone), x1.people(), x1.name()), (Some("13800138000"), 4, "赵宁"));

    let bad = workbook("人员", &[headings, &["x3", "510726100201", "a", "农户", "138"]]);
    let faults = refusal(registry.import(&file(&bad), ImportOptions::default()));
    assert_eq!(named(&faults), [("名册.xlsx [人员] line 2, phone", "bad-phone")]);
    let torn = refusal(registry.import(&file(&sound[..200]), ImportOptions::default()));
    assert_eq!(named(&torn), [("名册.xlsx", "bad-workbook")]);
}

#[test]
fn a_second_import_changes_only_what_it_says_and_keys_stay() {
    let (_dir, registry) = filled();
    let before = registry.current();
    let key = |snapshot: &Snapshot, id: &str| snapshot.subscriber_by_id(id).map(|subscriber| subscriber.key());
    let update = "id,area,role,people\nh1,510726100201,household,9\nh3,510726100201,household,1\nh2,510726100202,household,3\n";
    let report = registry.import(&[file("subscribers.csv", update)], ImportOptions::default()).expect("a sound import");
    assert_eq!(counts(&report, Kind::Subscribers), Counts { added: 1, changed: 1, removed: 0, unchanged: 3 });
    let after = &report.snapshot;
    let h1 = after.subscriber_by_id("h1").expect("kept");
    assert_eq!((h1.people(), h1.phone().map(|phone| phone.expose().to_owned())), (9, Some("13800138000".to_owned())));
    for id in ["h1", "h2", "g1", "t1"] {
        assert_eq!(key(&before, id), key(after, id));
    }
}

#[test]
fn replace_drops_what_the_file_lacks_and_a_key_is_never_given_to_another() {
    let (_dir, registry) = filled();
    let before = registry.current();
    let h2 = before.subscriber_by_id("h2").expect("kept").key();
    let replace = ImportOptions { mode: Mode::Replace, ..ImportOptions::default() };
    let without_h2 = SUBSCRIBERS.replace("h2,510726100202,李强,household,,,,,3,,\n", "");
    let dry = registry.dry_run(&[file("subscribers.csv", &without_h2)], replace).expect("a sound import");
    assert_eq!(counts(&dry, Kind::Subscribers), Counts { added: 0, changed: 0, removed: 1, unchanged: 3 });
    assert_eq!(registry.current().generation(), before.generation());

    registry.import(&[file("subscribers.csv", &without_h2)], replace).expect("a sound import");
    assert!(registry.current().subscriber(h2).is_none());
    let newcomer = "id,area,role\nh7,510726100202,household\nh2,510726100202,household\n";
    let report = registry.import(&[file("subscribers.csv", newcomer)], ImportOptions::default()).expect("a sound import");
    assert_eq!(report.snapshot.subscriber_by_id("h2").map(|back| back.key()), Some(h2));
    assert!(report.snapshot.subscriber_by_id("h7").is_some_and(|new| new.key() != h2));
}

#[test]
fn what_is_still_named_cannot_be_replaced_away() {
    let (_dir, registry) = filled();
    let replace = ImportOptions { mode: Mode::Replace, ..ImportOptions::default() };
    let faults = refusal(registry.import(&[file("hazard_points.csv", HAZARDS.lines().next().expect("headings"))], replace));
    assert_eq!(named(&faults), [("", "still-named")]);
    let county_alone: String = AREAS.lines().take(2).map(|line| format!("{line}\n")).collect();
    let faults = refusal(registry.import(&[file("areas.csv", &county_alone)], replace));
    assert!(faults.iter().any(|fault| fault.rule == "area-in-use"));
}

#[test]
fn a_tree_with_a_wrong_parent_or_two_tops_is_refused() {
    let (_dir, registry) = fresh();
    let wrong = "code,name,level,parent\n510726,北川,county,\n510726100,曲山镇,township,510726\n510726100201,村,village,510726\n\
                 510727,平武,county,\n510727100,镇,village,510726\n";
    let faults = refusal(registry.import(&[file("areas.csv", wrong)], ImportOptions::default()));
    assert_eq!(
        named(&faults),
        [
            ("areas.csv line 6, level", "wrong-level"),
            ("areas.csv line 6, parent", "wrong-parent"),
            ("areas.csv line 4, parent", "wrong-parent"),
        ]
    );
    let two = "code,name\n510726,北川\n510727,平武\n";
    assert_eq!(
        named(&refusal(registry.import(&[file("areas.csv", two)], ImportOptions::default()))),
        [("areas.csv line 3, code", "two-roots")]
    );
}

#[test]
fn backups_that_lead_back_are_a_warning() {
    let (_dir, registry) = filled();
    let cycle = "id,area,role,backup\nt1,510726100,town_duty,g1\n";
    let report = registry.import(&[file("subscribers.csv", cycle)], ImportOptions::default()).expect("a sound import");
    assert_eq!(report.warnings.iter().map(|warning| warning.rule).collect::<Vec<_>>(), ["backup-cycle", "backup-cycle"]);
}

#[test]
fn an_export_comes_back_as_the_same_bytes() {
    let (_dir, registry) = fresh();
    registry.import_records(&fixture::beichuan(400, 9), Mode::Upsert).expect("the fixture is sound");
    let first: Vec<(Kind, Vec<u8>)> = Kind::ALL.into_iter().map(|kind| (kind, export(&registry.current(), kind))).collect();

    let (_other_dir, other) = fresh();
    let files: Vec<ImportFile<'_>> = first.iter().rev().map(|(kind, bytes)| ImportFile::in_memory(kind.file_name(), bytes)).collect();
    other.import(&files, ImportOptions::default()).expect("an export is sound");
    for (kind, bytes) in &first {
        assert_eq!(*bytes, export(&other.current(), *kind), "{} differ", kind.name());
    }
    let again = other.import(&files, ImportOptions { mode: Mode::Replace, ..ImportOptions::default() }).expect("sound");
    assert!(again.counts.iter().all(|KindCounts { counts, .. }| counts.added + counts.changed + counts.removed == 0), "{:?}", again.counts);
}

fn same(a: &Snapshot, b: &Snapshot) -> bool {
    a.generation() == b.generation() && Kind::ALL.into_iter().all(|kind| export(a, kind) == export(b, kind))
}

fn registry_files(dir: &Path) -> Vec<String> {
    let is_generation = |name: &String| name.starts_with("registry-");
    let mut names: Vec<String> =
        fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.retain(is_generation);
    names.sort();
    names
}

#[test]
fn a_reopened_registry_is_the_one_that_was_left_with_the_same_keys() {
    let (dir, registry) = fresh();
    registry.import_records(&fixture::beichuan(300, 4), Mode::Upsert).expect("the fixture is sound");
    let household = registry.current().subscriber_by_id("h0000007").expect("generated").key();
    registry.edit(&[Change::OptOut(household)]).expect("a household may opt out");
    for _ in 0..3 {
        registry.edit(&[Change::Delete(Kind::Speakers, registry.current().speaker_at(0).id().into())]).expect("nothing names a speaker");
    }
    let left = registry.current();
    drop(registry);
    let reopened = Registry::open(&dir.path().join("registry")).expect("sound");
    assert!(reopened.damaged.is_empty() && same(&left, &reopened.snapshot));
    for position in 0..left.subscriber_count() {
        let (a, b) = (left.subscriber_at(position), reopened.snapshot.subscriber_at(position));
        assert_eq!((a.key(), a.id(), a.opted_out()), (b.key(), b.id(), b.opted_out()));
        assert!(a.phone().is_none_or(|phone| reopened.snapshot.subscribers_by_phone(&phone).any(|owner| owner.key() == a.key())));
    }
    let dir = dir.path().join("registry");
    assert_eq!(registry_files(&dir), ["registry-000000000001.bin", "registry-000000000001.log"], "changes go into the log");
    for _ in 0..3 {
        reopened.registry.import(&[file("s.csv", "id,area,role\n")], ImportOptions::default()).expect("sound");
    }
    let kept = [6, 7, 8].map(|generation| format!("registry-{generation:012}.bin"));
    assert_eq!(registry_files(&dir), kept, "three generations are kept, and no log of an older one");
}

#[test]
fn a_damaged_newest_file_is_told_and_the_one_before_is_used_without_giving_its_keys_again() {
    let (dir, registry) = filled();
    let good = registry.current();
    registry.import(&[file("s.csv", "id,area,role\nlost,510726100201,household\n")], ImportOptions::default()).expect("sound");
    let lost = registry.current().subscriber_by_id("lost").expect("imported").key();
    drop(registry);
    let dir = dir.path().join("registry");
    let newest = dir.join("registry-000000000002.bin");
    let bytes = fs::read(&newest).expect("readable");
    for at in (60..bytes.len()).step_by(97) {
        let mut torn = bytes.clone();
        torn[at] ^= 0x10;
        fs::write(&newest, &torn).expect("writable");
        let opened = Registry::open(&dir).expect("the one before is sound");
        assert_eq!(opened.damaged.len(), 1, "byte {at} was not missed");
        let kept: Vec<&str> = (0..opened.snapshot.subscriber_count()).map(|at| opened.snapshot.subscriber_at(at).id()).collect();
        assert_eq!(kept.len(), usize::try_from(good.subscriber_count()).expect("few"));
        let next = opened
            .registry
            .import(&[file("s.csv", "id,area,role\nnew,510726100201,household\n")], ImportOptions::default())
            .expect("sound");
        assert!(next.snapshot.subscriber_by_id("new").is_some_and(|new| new.key() > lost) && next.generation > 2);
        fs::remove_file(dir.join(format!("registry-{:012}.bin", next.generation))).expect("removable");
        fs::remove_file(newest.with_extension("damaged")).expect("moved aside");
    }
}

#[test]
fn a_registry_of_which_nothing_can_be_read_does_not_start_empty() {
    let (dir, registry) = filled();
    drop(registry);
    let dir = dir.path().join("registry");
    fs::write(dir.join("registry-000000000001.bin"), b"lm-reg").expect("writable");
    assert!(matches!(Registry::open(&dir), Err(OpenError::AllDamaged { count: 1, .. })));
}

#[test]
fn a_registry_that_is_open_cannot_be_opened_again() {
    let (dir, registry) = filled();
    let dir = dir.path().join("registry");
    assert!(matches!(Registry::open(&dir), Err(OpenError::InUse { .. })));
    drop(registry);
    assert!(Registry::open(&dir).is_ok());
}

#[test]
fn edits_are_checked_like_imports_and_nobody_with_a_duty_opts_out() {
    let (_dir, registry) = filled();
    let now = registry.current();
    let key = |id: &str| now.subscriber_by_id(id).expect("kept").key();
    let refused = |change: Change| match registry.edit(&[change]) {
        Err(RegistryError::Refused(faults)) => faults[0].rule,
        other => panic!("not refused: {other:?}"),
    };
    assert_eq!(refused(Change::OptOut(key("g1"))), "duty-cannot-opt-out");
    assert_eq!(refused(Change::Delete(Kind::Subscribers, "t1".into())), "still-named");
    assert_eq!(refused(Change::Delete(Kind::Speakers, "none".into())), "unknown-id");
    assert_eq!(refused(Change::Delete(Kind::Areas, "510726100".into())), "area-in-use");

    let out = registry.edit(&[Change::OptOut(key("h1")), Change::Delete(Kind::Subscribers, "h2".into())]).expect("sound");
    assert!(out.subscriber(key("h1")).is_some_and(|h1| h1.opted_out()) && out.subscriber(key("h2")).is_none());
    let import = registry.import(&[file("s.csv", SUBSCRIBERS)], ImportOptions::default()).expect("sound");
    assert!(import.snapshot.subscriber(key("h1")).is_some_and(|h1| h1.opted_out()), "an import cleared an opt-out");
    let promoted =
        registry.import(&[file("s.csv", "id,area,role\nh1,510726100201,grid_worker\n")], ImportOptions::default()).expect("sound");
    assert!(promoted.snapshot.subscriber(key("h1")).is_some_and(|h1| !h1.opted_out()));
    assert!(Arc::ptr_eq(&promoted.snapshot, &registry.current()));
}

#[test]
fn a_record_put_as_json_is_checked_whole_and_reads_back_with_the_phone_masked() {
    let bad =
        serde_json::json!({"id": "x y", "area": "51072", "role": "household", "phone": 12, "lat": 31.0, "colour": "red", "needs": ["a"]});
    let faults = SubscriberRecord::from_json(&bad).expect_err("nothing about it is right");
    let mut rules: Vec<(&str, &str)> = named(&faults);
    rules.sort_unstable();
    assert_eq!(
        rules,
        [
            ("area", "bad-area-code"),
            ("colour", "unknown-field"),
            ("id", "bad-id"),
            ("lon", "half-coordinates"),
            ("needs", "wrong-type"),
            ("phone", "bad-phone")
        ]
    );
    let good = serde_json::json!({"id": "x1", "area": "510726100201", "role": "网格员", "phone": "+86 13800138000", "lon": 104.2, "lat": 31.9, "people": 2});
    let record = SubscriberRecord::from_json(&good).expect("sound");
    let shown = record.to_json(Shown::Masked);
    assert_eq!(
        (&shown["phone"], &shown["role"], &shown["people"], &shown["lon"]),
        (&"138******00".into(), &"grid_worker".into(), &2.into(), &104.2.into())
    );
    assert_eq!(SubscriberRecord::from_json(&record.to_json(Shown::Whole)).expect("sound"), record);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn no_damage_to_a_file_breaks_the_reader(at in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), cut in any::<prop::sample::Index>()) {
        let (_dir, registry) = filled();
        for (name, text) in [("areas.csv", AREAS), ("subscribers.csv", SUBSCRIBERS), ("hazard_points.csv", HAZARDS)] {
            let mut bytes = text.as_bytes().to_vec();
            at.iter().for_each(|(index, byte)| *index.get_mut(&mut bytes) = *byte);
            bytes.truncate(cut.index(text.len()) + 1);
            match registry.dry_run(&[ImportFile::in_memory(name, &bytes)], ImportOptions::default()) {
                Ok(_) => {}
                Err(RegistryError::Refused(faults)) => prop_assert!(!faults.is_empty()),
                Err(error) => prop_assert!(false, "{error}"),
            }
        }
    }

    #[test]
    fn keys_stay_with_their_ids_whatever_comes_and_goes(steps in prop::collection::vec((0..8_u32, 0..3_u32, any::<bool>()), 1..25)) {
        let (_dir, registry) = filled();
        let mut given: HashMap<String, SubscriberKey> = HashMap::new();
        for (id, village, replaces) in steps {
            let area = ["510726100201", "510726100202", "510726100"][village as usize];
            let text = format!("id,area,role\np{id},{area},household\ng1,510726100201,monitor\n");
            let mode = if replaces { Mode::Replace } else { Mode::Upsert };
            let options = ImportOptions { mode, ..ImportOptions::default() };
            let now = registry.import(&[file("subscribers.csv", &text)], options).expect("sound").snapshot;
            for position in 0..now.subscriber_count() {
                let subscriber = now.subscriber_at(position);
                let key = *given.entry(subscriber.id().to_owned()).or_insert(subscriber.key());
                prop_assert_eq!(key, subscriber.key());
                prop_assert_eq!(now.subscriber_position(key), Some(position));
            }
            let mut keys: Vec<SubscriberKey> = given.values().copied().collect();
            keys.sort_unstable();
            keys.dedup();
            prop_assert_eq!(keys.len(), given.len());
        }
    }
}

#[test]
fn of_more_faults_than_anybody_reads_the_first_are_named_and_the_rest_counted_once() {
    let (_dir, registry) = filled();
    // Half of the rows are wrong in themselves, half name a village that is not there: both are found, in one list.
    let row = |nth: usize| if nth.is_multiple_of(2) { format!("q{nth},,household\n") } else { format!("q{nth},510726100999,household\n") };
    let text: String = std::iter::once("id,area,role\n".to_owned()).chain((0..2 * ROW_FAULTS_MAX).map(row)).collect();
    let faults = refusal(registry.import(&[file("subscribers.csv", &text)], ImportOptions::default()));
    assert_eq!(faults.len(), ROW_FAULTS_MAX + 1);
    assert_eq!(faults[0].path, "subscribers.csv line 2, area");
    let last = &faults[ROW_FAULTS_MAX];
    assert_eq!(
        (last.rule, &*last.message),
        ("too-many-faults", &*format!("{ROW_FAULTS_MAX} more faults are not listed: {ROW_FAULTS_MAX} are"))
    );
    assert_eq!(faults.iter().filter(|fault| fault.rule == "too-many-faults").count(), 1);
}

#[test]
fn an_id_that_stands_twice_is_named_with_both_files() {
    let (_dir, registry) = filled();
    let text = "id,area,role\ntwin,510726100201,household\n";
    let faults = refusal(registry.import(&[file("subscribers-1.csv", text), file("subscribers-2.csv", text)], ImportOptions::default()));
    assert_eq!(named(&faults), [("subscribers-2.csv line 2, id", "duplicate-id")]);
    assert_eq!(faults[0].message, "\"twin\" stands already in subscribers-1.csv line 2");
}
