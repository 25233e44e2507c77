//! Tests of files as offices have them: titles, synonyms, notes, sums, other signs between cells, names for codes, copied invisible signs.

use super::{ImportFile, ImportOptions, ImportReport, Kind, Mode, Registry, RegistryError, workbook::tests::book};
use crate::fault::Fault;

const AREAS: &str = "code,name,lon,lat\n510726,北川县,,\n510726100,曲山镇,104.25,31.67\n510726101,擂鼓镇,104.2,31.7\n\
                     510726100201,向阳村村民委员会,104.25,31.67\n510726101201,向阳村村民委员会,104.2,31.7\n510726101202,擂鼓村村民委员会,104.21,31.71\n";

fn county() -> (tempfile::TempDir, Registry) {
    let dir = tempfile::tempdir().expect("temporary directory");
    let registry = Registry::open(&dir.path().join("registry")).expect("empty").registry;
    registry.import(&[ImportFile::in_memory("areas.csv", AREAS.as_bytes())], ImportOptions::default()).expect("sound areas");
    (dir, registry)
}

fn take(registry: &Registry, name: &str, bytes: &[u8]) -> Result<ImportReport, Vec<Fault>> {
    registry.import(&[ImportFile::in_memory(name, bytes)], ImportOptions::default()).map_err(|error| match error {
        RegistryError::Refused(faults) => faults,
        error => panic!("{error}"),
    })
}

fn rules(faults: &[Fault]) -> Vec<(&str, &str)> {
    faults.iter().map(|fault| (fault.path.as_str(), fault.rule)).collect()
}

#[test]
fn a_list_as_a_county_office_keeps_it_is_read() {
    let (_dir, registry) = county();
    let list = "北川县防灾责任人名单,,,,,,,\n填报单位：应急局,,,,,,,\n序号,人员编号,姓 名,所属乡镇,所属村,职务,联系电话*,备注\n\
                1,c1,王 明,,北川县,副县长,\u{202d}13800138000\u{202c},\n2,t1,李强,擂鼓镇,擂鼓镇,值班室,0816-4821234,\n\
                3,v1,赵娜,擂鼓镇,向阳村,支部书记,13800138001、0816-4822123,新\n4,m1,孙伟,,擂鼓村,监测员,无,\n合计,,4人,,,,,\n制表人：张三,,,,,,,\n";
    let report = take(&registry, "责任人名单.csv", list.as_bytes()).expect("read");
    let now = &report.snapshot;
    let person = |id: &str| {
        let person = now.subscriber_by_id(id).expect("taken in");
        (person.area().to_string(), person.role().to_owned(), person.phone().map(|phone| phone.expose().to_owned()))
    };
    assert_eq!(person("c1"), ("510726".into(), "county_leader".into(), Some("13800138000".into())));
    assert_eq!(person("t1"), ("510726101".into(), "town_duty".into(), Some("08164821234".into())));
    assert_eq!(person("v1"), ("510726101201".into(), "village_leader".into(), Some("13800138001".into())));
    assert_eq!(person("m1"), ("510726101202".into(), "monitor".into(), None));
    let warned: Vec<&str> = report.warnings.iter().map(|warning| warning.rule).collect();
    for rule in ["rows-above", "ignored-column", "several-numbers", "no-phone", "not-a-record"] {
        assert!(warned.contains(&rule), "{rule} in {warned:?}");
    }
    let [understood] = report.understood.as_slice() else { panic!("one file") };
    assert_eq!((understood.kind, understood.line, understood.rows), ("subscribers", 3, 6));
    let fields: Vec<_> = understood.columns.iter().filter_map(|column| Some((column.heading.as_str(), column.field?))).collect();
    assert_eq!(fields, [("人员编号", "id"), ("姓 名", "name"), ("所属村", "area"), ("职务", "role"), ("联系电话*", "phone")]);
}

#[test]
fn a_name_of_several_villages_is_never_settled_by_chance() {
    let (_dir, registry) = county();
    let rows = "编号,所属村,角色\nh1,向阳村,农户\nh2,擂鼓镇向阳村,农户\nh3,四川省北川县曲山镇向阳村民委员会,农户\nh4,无此村,农户\n";
    let faults = take(&registry, "农户.csv", rows.as_bytes()).expect_err("two are not to be told");
    assert_eq!(rules(&faults), [("农户.csv line 2, area", "unknown-area"), ("农户.csv line 5, area", "unknown-area")]);
    assert!(
        faults[0].message.contains("510726100201 曲山镇向阳村") && faults[0].message.contains("510726101201 擂鼓镇向阳村"),
        "{}",
        faults[0]
    );
}

#[test]
fn lines_are_those_of_the_file_however_its_lines_end() {
    let (_dir, registry) = county();
    let text = "\u{feff}id,area,role,name\n\n\nh1,510726100201,household,\"a\nb\"\n\nh2,510726100201,nonsense!,\n";
    for text in [text.to_owned(), text.replace('\n', "\r\n")] {
        let faults = take(&registry, "subscribers.csv", text.as_bytes()).expect_err("two faults");
        assert_eq!(
            rules(&faults),
            [("subscribers.csv line 4, name", "control-character"), ("subscribers.csv line 7, role", "bad-role")],
            "{text:?}"
        );
    }
}

#[test]
fn other_signs_between_cells_and_other_encodings_are_read() {
    let (_dir, registry) = county();
    let rows = "id,area,role,name\nh1,510726100201,household,张三\n";
    let wide: Vec<u8> = [0xff, 0xfe].into_iter().chain(rows.replace(',', "\t").encode_utf16().flat_map(u16::to_le_bytes)).collect();
    for bytes in [rows.replace(',', ";").into_bytes(), rows.replace(',', "\t").into_bytes(), wide] {
        let report = take(&registry, "subscribers.csv", &bytes).expect("read");
        assert_eq!(report.snapshot.subscriber_by_id("h1").map(|person| person.name().to_owned()), Some("张三".to_owned()));
    }
    let (mut gbk, _, _) = encoding_rs::GB18030.encode(rows);
    let at = gbk.len() - 2;
    gbk.to_mut()[at] = 0xff;
    assert_eq!(rules(&take(&registry, "subscribers.csv", &gbk).expect_err("broken")), [("subscribers.csv line 2", "bad-encoding")]);
    let old = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1 and more";
    assert_eq!(rules(&take(&registry, "名单.xls", old).expect_err("old")), [("名单.xls", "old-workbook")]);
}

#[test]
fn headings_that_are_not_understood_are_named_with_what_is_expected() {
    let (_dir, registry) = county();
    let faults = take(&registry, "x.csv", "甲,乙\n1,2\n".as_bytes()).expect_err("no table");
    assert!(faults[0].message.contains("甲, 乙") && faults[0].message.contains("role (角色)"), "{}", faults[0]);
    let faults = take(&registry, "责任人.csv", "编号,姓名,联系电话\n1,2,3\n".as_bytes()).expect_err("no area and role");
    assert!(rules(&faults).iter().all(|(_, rule)| *rule == "missing-column") && faults.len() == 2, "{faults:?}");
    let faults = take(&registry, "责任人.csv", "编号,所属村,角色,手机号吗\n".as_bytes()).expect_err("misspelt");
    assert!(faults[0].rule == "unknown-column" && faults[0].message.contains("phone (手机)"), "{}", faults[0]);
    let faults = take(&registry, "责任人.csv", "编号,所属村,角色\nx,擂鼓村,妇女主任\n".as_bytes()).expect_err("a role nobody knows");
    assert!(faults[0].message.contains("village_leader (村负责人"), "{}", faults[0]);
}

#[test]
fn of_a_workbook_the_table_is_read_the_notes_are_passed_over_and_errors_are_faults_of_their_row() {
    let (_dir, registry) = county();
    let text = |at: &str, text: &str| format!("<c r=\"{at}\" t=\"inlineStr\"><is><t>{text}</t></is></c>");
    let heads = ["编号", "行政区划代码", "角色", "姓名", "手机号码"];
    let head: String = ('A'..).zip(heads).map(|(column, heading)| text(&format!("{column}2"), heading)).collect();
    let good =
        format!("<row r=\"3\">{}{}{}<c r=\"XFD3\" s=\"1\"/></row>", text("A3", "h1"), text("B3", "510726100201"), text("C3", "农户"));
    let bad = format!(
        "<row r=\"4\">{}{}{}<c r=\"D4\" t=\"e\"><v>#REF!</v></c><c r=\"E4\"><f>A1</f></c></row>",
        text("A4", "h2"),
        text("B4", "510726100201"),
        text("C4", "农户")
    );
    let title = format!("<row r=\"1\">{}</row><row r=\"2\">{head}</row>", text("A1", "农户名单"));
    let notes = format!("<row r=\"1\">{}</row>", text("A1", "请勿修改表头"));
    let sheets =
        |rows: &str| book(&[("Sheet1", "visible", &format!("{title}{rows}")), ("说明", "visible", &notes), ("旧", "hidden", &title)]);
    let report = take(&registry, "农户.xlsx", &sheets(&good)).expect("read");
    assert!(report.snapshot.subscriber_by_id("h1").is_some());
    let warned = rules(&report.warnings);
    assert!(warned.contains(&("农户.xlsx [说明]", "not-a-table")) && warned.contains(&("农户.xlsx [旧]", "hidden-sheet")), "{warned:?}");
    let faults = take(&registry, "农户.xlsx", &sheets(&bad)).expect_err("errors of formulas");
    assert_eq!(rules(&faults), [("农户.xlsx [Sheet1] line 4, name", "error-cell"), ("农户.xlsx [Sheet1] line 4, phone", "error-cell")]);
    let hidden_only = book(&[("旧", "hidden", &title)]);
    assert_eq!(rules(&take(&registry, "农户.xlsx", &hidden_only).expect_err("nothing to see")), [("农户.xlsx", "empty-file")]);
}

#[test]
fn a_city_without_counties_is_taken_in_with_its_stand_in_and_a_county_can_be_made_up_for_it() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let registry = Registry::open(&dir.path().join("registry")).expect("empty").registry;
    let areas = "code,name,level,parent\n440000000000,甲省,province,\n449900000000,乙市,city,440000000000\n449900000000,乙市,county,449900000000\n\
                 449900101000,丙镇,township,449900000000\n449900101001,丁社区居委会,village,449900101000\n";
    let report = take(&registry, "areas.csv", areas.as_bytes()).expect("taken in");
    assert_eq!(rules(&report.warnings), [("areas.csv line 4, code", "stand-in")]);
    let made = super::county(Some(&ImportFile::in_memory("areas.csv", areas.as_bytes())), &report.snapshot, 20, 1).expect("a county");
    let again = registry.import_records(&made, Mode::Replace).expect("sound");
    assert!(again.snapshot.subscriber_by_id("4499-duty1").is_some_and(|duty| duty.role() == "county_duty"));
}

#[test]
fn what_stands_in_another_part_of_the_world_is_named_by_import_and_check() {
    let (_dir, registry) = county();
    let points = "code,name,area,lon,lat\n510726010001,近,510726100201,104.26,31.68\n510726010002,远,510726100,124.25,31.67\n510726010003,反,510726,31.67,31.67\n";
    let report = take(&registry, "hazard_points.csv", points.as_bytes()).expect("taken in");
    assert_eq!(
        rules(&report.warnings),
        [("hazard_points.csv line 3, lon", "far-from-area"), ("hazard_points.csv line 4, lon", "far-from-area")]
    );
    let odd = super::check(&report.snapshot);
    assert_eq!(odd.iter().filter(|fault| fault.rule == "far-from-area").count(), 2, "{odd:?}");
    assert_eq!(report.understood[0].kind, Kind::HazardPoints.name());
}
