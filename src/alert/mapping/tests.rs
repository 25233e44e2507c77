//! Tests of mappings: their own faults, hand-made answers, and the real answers of the corpus.

use std::{fs, path::Path};

use serde_json::json;

use super::*;
use crate::alert::{Alert, Level, MsgType, code};

fn mapping(name: &str) -> Mapping {
    let (_, text) = BUILT_IN.iter().find(|(known, _)| *known == name).expect("a built-in mapping");
    Mapping::parse(text).unwrap_or_else(|faults| panic!("{name}: {faults:?}"))
}

fn county() -> Vec<AreaCode> {
    vec!["510726".parse().expect("code")]
}

fn corpus(name: &str) -> Option<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus/cn-alerts").join(name);
    let bytes = fs::read(&path);
    if bytes.is_err() {
        eprintln!("NOT RUN: {name} of the corpus is not at {}", path.display());
    }
    bytes.ok()
}

fn alerts(mapping: &Mapping, bytes: &[u8]) -> Vec<Alert> {
    let readings = mapping.read(bytes, &Limits::default()).unwrap_or_else(|faults| panic!("{faults:?}"));
    readings.into_iter().map(|reading| reading.outcome.unwrap_or_else(|faults| panic!("{faults:?}"))).collect()
}

/// What is checked of a real answer: identifier, sender, event, level, sent, expires, code.
fn facts(alert: &Alert) -> (&str, &str, &str, Level, String, String, String) {
    let code = alert.areas[0].codes[0].to_string();
    (&alert.identifier, &alert.sender, alert.event.as_str(), alert.level, alert.sent.to_string(), alert.expires.to_string(), code)
}

#[test]
fn real_answers_of_qweather_become_alerts() {
    let old = mapping("qweather").for_areas(county());
    if let Some(bytes) = corpus("qweather-warning-now-2021-beijing.json") {
        let (sent, ends) = ("2021-10-09T15:46:00+08:00".to_owned(), "2021-10-10T15:40:00+08:00".to_owned());
        let read = alerts(&old, &bytes);
        assert_eq!(facts(&read[0]), ("10101010020211009154607668935939", "qweather", "11B06", Level::Blue, sent, ends, "510726".into()));
    }
    if let Some(bytes) = corpus("qweather-warning-now-2023-shanghai.json") {
        let (sent, ends) = ("2023-04-03T10:30:00+08:00".to_owned(), "2023-04-04T10:30:00+08:00".to_owned());
        let read = alerts(&old, &bytes);
        assert_eq!(facts(&read[0]), ("10102010020230403103000500681616", "qweather", "11B06", Level::Blue, sent, ends, "510726".into()));
        assert_eq!((read[0].sender_name.as_str(), read[0].event_name.as_str()), ("上海中心气象台", "大风"));
    }
    if let Some(bytes) = corpus("qweather-weatheralert-2025-lingui-update.json") {
        let read = alerts(&mapping("qweather_v7").for_areas(county()), &bytes);
        assert_eq!((read[0].msg_type, read[0].event.as_str(), read[0].level), (MsgType::Update, "11B06", Level::Blue));
        let reference = &read[0].references[0];
        assert_eq!((reference.sender.as_str(), reference.identifier.as_str()), ("qweather", "202510181140100706230391"));
        assert_eq!(reference.sent.to_string(), "2025-10-18T11:40:10+08:00");
        assert!(read[0].instruction.starts_with("1. 政府"), "{}", read[0].instruction);
    }
    if let Some(bytes) = corpus("qweather-warning-list-2020.json") {
        assert_eq!(old.read(&bytes, &Limits::default()).expect_err("a list of places")[0].rule, "no-list");
    }
}

#[test]
fn real_answers_of_weather_offices_become_alerts() {
    let (nmc, cma) = (mapping("nmc"), mapping("cma"));
    if let Some(bytes) = corpus("nmc-findalarm-2023-qixian.json") {
        let (sent, ends) = ("2023-06-05T16:06:00+08:00".to_owned(), "2023-06-06T16:06:00+08:00".to_owned());
        let read = alerts(&nmc, &bytes);
        assert_eq!(facts(&read[0]), ("41062241600000_20230605160643", "41062241600000", "11B06", Level::Blue, sent, ends, "410622".into()));
    }
    if let Some(bytes) = corpus("cma-now-2025-beijing.json") {
        let read = alerts(&cma, &bytes);
        let told: Vec<_> = read.iter().map(|alert| (alert.event.as_str(), alert.level, alert.areas[0].codes[0].to_string())).collect();
        assert_eq!(told, [("11B03", Level::Blue, "11".to_owned()), ("11B14", Level::Blue, "11".to_owned())]);
    }
    if let Some(bytes) = corpus("cma-now-2025-dalian-alarm.json") {
        let read = alerts(&cma, &bytes);
        let (sent, ends) = ("2025-07-14T15:32:00+08:00".to_owned(), "2025-07-15T15:32:00+08:00".to_owned());
        assert_eq!(facts(&read[0]), ("21020041600000_20250714153200", "21020041600000", "11B06", Level::Blue, sent, ends, "2102".into()));
    }
}

#[test]
fn every_type_of_the_services_own_list_has_a_code_or_says_that_it_has_none() {
    let Some(bytes) = corpus("event-codes-11b.csv") else { return };
    let (mapping, text) = (mapping("qweather"), String::from_utf8(bytes).expect("utf-8"));
    let field = &mapping.fields["event"];
    for row in text.lines().skip(1) {
        let cells: Vec<&str> = row.split(',').collect();
        let read = field.read(&json!({ "type": cells[0] }), &mapping.tables).expect("no fault");
        if !cells[1].is_empty() {
            assert_eq!(read.as_deref(), Some(cells[1]), "{row}");
            assert_eq!(field.read(&json!({ "type": cells[1] }), &mapping.tables), Ok(read), "{row}");
        } else if let Some(code) = read {
            assert!(code::is_code(&code), "{row}: {code}");
        }
    }
}

fn old_warning(name: &str, value: Value) -> Vec<u8> {
    let mut warning = json!({
        "id": "1", "sender": "台", "pubTime": "2026-07-23T10:15+08:00", "title": "t", "status": "active", "level": "红色",
        "type": "1003", "typeName": "暴雨", "text": "x",
    });
    warning[name] = value;
    json!({ "code": "200", "warning": [warning] }).to_string().into_bytes()
}

#[test]
fn a_word_without_meaning_is_a_fault_at_its_place_and_the_other_warnings_are_read() {
    let mapping = mapping("qweather").for_areas(county());
    let cases = [
        ("level", json!("白色"), "bad-level", "warning[0].level"),
        ("level", json!(null), "missing", "warning[0].level"),
        ("level", json!(["红色"]), "wrong-type", "warning[0].level"),
        ("status", json!("paused"), "not-in-table", "warning[0].msgType"),
        ("status", json!("cancel"), "missing", "warning[0].references"),
        ("pubTime", json!("gestern"), "bad-time", "warning[0].sent"),
        ("pubTime", json!(""), "missing", "warning[0].sent"),
        ("id", json!("a b"), "bad-character", "warning[0].identifier"),
    ];
    for (name, value, rule, path) in cases {
        let readings = mapping.read(&old_warning(name, value.clone()), &Limits::default()).expect("an answer");
        let faults = readings[0].outcome.as_ref().expect_err(rule);
        assert!(faults.iter().any(|fault| fault.rule == rule && fault.path == path), "{name} {value}: {faults:?}");
        assert_eq!(faults.len(), 1, "{name} {value}: {faults:?}");
    }
    let mut two: Value = serde_json::from_slice(&old_warning("level", json!("白色"))).expect("json");
    let good: Value = serde_json::from_slice(&old_warning("level", json!("红色"))).expect("json");
    two["warning"].as_array_mut().expect("list").push(good["warning"][0].clone());
    let readings = mapping.read(two.to_string().as_bytes(), &Limits::default()).expect("an answer");
    assert!(readings[0].outcome.is_err() && readings[1].outcome.is_ok(), "{readings:?}");
    let nowhere = Mapping::built_in("qweather").expect("built in");
    let without_area = nowhere.read(&old_warning("level", json!("红色")), &Limits::default()).expect("an answer");
    assert_eq!(without_area[0].outcome.as_ref().expect_err("no area")[0].path, "warning[0].areas");
}

#[test]
fn an_update_that_names_nothing_is_a_warning_and_an_unknown_type_keeps_its_name() {
    let mapping = mapping("qweather").for_areas(county());
    let reading = |name: &str, value: Value| mapping.read(&old_warning(name, value), &Limits::default()).expect("an answer").remove(0);
    let update = reading("status", json!("update"));
    assert_eq!(update.outcome.expect("taken").msg_type, MsgType::Alert);
    assert!(update.warnings.iter().any(|fault| fault.rule == "update-without-reference"), "{:?}", update.warnings);
    let strange = reading("type", json!("2053")).outcome.expect("taken");
    assert_eq!((strange.event.as_str(), strange.event_name.as_str()), ("11B03", "暴雨"), "by its words");
    assert_eq!(reading("type", json!("1248")).outcome.expect("taken").event.as_str(), "11B37");
}

#[test]
fn an_all_clear_in_a_title_never_becomes_a_warning_and_two_colours_are_no_level() {
    let answer = |title: &str| {
        let entry = json!({ "alertid": "51072641600000_20260723101500", "issuetime": "2026/07/23 10:15", "title": title });
        json!({ "code": 0, "data": { "page": { "list": [entry] } } }).to_string().into_bytes()
    };
    let outcome = |title: &str| mapping("nmc").read(&answer(title), &Limits::default()).expect("an answer").remove(0).outcome;
    assert_eq!(outcome("北川县气象台解除暴雨红色预警信号").expect_err("all-clear")[0].path, "data.page.list[0].references");
    let two = outcome("北川县气象台将暴雨橙色预警升级为红色预警").expect_err("two colours");
    assert_eq!((two[0].rule, two[0].path.as_str()), ("ambiguous", "data.page.list[0].level"));
    assert_eq!(outcome("北川县气象台发布雷雨大风黄色预警信号").expect("read").event.as_str(), "11B20");
}

#[test]
fn an_answer_that_is_none_is_refused_as_a_whole() {
    let rule = |body: &str| mapping("qweather").read(body.as_bytes(), &Limits::default()).expect_err("refused")[0].rule;
    assert_eq!(rule(r#"{"code":"402","warning":[]}"#), "not-an-answer");
    assert_eq!(rule(r#"{"code":"200"}"#), "no-list");
    assert_eq!(rule("<html>"), "not-json");
    assert_eq!(rule(r#"{"code":"200","code":"200"}"#), "given-twice");
    assert_eq!(rule(&format!(r#"{{"code":"200","warning":[{}0]}}"#, "0,".repeat(3_000))), "too-many-entries");
    assert!(mapping("qweather").read(br#"{"code":"200","warning":[]}"#, &Limits::default()).expect("none").is_empty());
}

#[test]
fn every_fault_of_a_mapping_is_named_with_its_key() {
    let text = r#"
        times = ["%Q", "unix"]
        offset = "Beijing"
        colour = 1
        [fields]
        identifier = { path = 7 }
        sender = { }
        sent = { path = "a", table = "levles" }
        status = { value = "Actual", otherwise = "x" }
        msgType = { vaule = "Alert" }
        pigeon = { value = "coo" }
        [areas]
        codes = ["1"]
        [tables.levels]
        red = 1
    "#;
    let faults = Mapping::parse(text).expect_err("faults");
    let mut found: Vec<(&str, &str)> = faults.iter().map(|fault| (fault.path.as_str(), fault.rule)).collect();
    found.sort_unstable();
    let wanted = [
        ("alerts", "missing"),
        ("areas.codes[0]", "bad-value"),
        ("colour", "unknown-key"),
        ("fields.identifier.path", "wrong-type"),
        ("fields.level", "missing"),
        ("fields.msgType.path", "missing"),
        ("fields.msgType.vaule", "unknown-key"),
        ("fields.pigeon", "unknown-key"),
        ("fields.sender.path", "missing"),
        ("fields.sent.table", "unknown-table"),
        ("fields.status.table", "missing"),
        ("offset", "bad-value"),
        ("tables.levels.red", "wrong-type"),
        ("times[0]", "bad-time-form"),
    ];
    assert_eq!(found, wanted);
    for text in ["= 1".to_owned(), format!("a = {}", "[".repeat(100_000))] {
        assert_eq!(Mapping::parse(&text).expect_err("no toml")[0].rule, "not-toml");
    }
    assert!(BUILT_IN.iter().all(|(name, _)| Mapping::built_in(name).is_some()));
}
