//! Tests of reading alerts: the fixtures, broken documents each with its rule and place, encodings, languages.

use std::{fs, path::Path};

use serde_json::Value;

use super::{Alert, Limits, Vocabulary, cap, read};
use crate::fault::Fault;

pub(super) fn fixture(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/alerts").join(name)).expect("fixture")
}

pub(super) fn outcome(body: &[u8]) -> Result<Alert, Vec<Fault>> {
    read(body, None, &Limits::default(), &Vocabulary::default()).outcome
}

#[test]
fn the_three_example_alerts_are_valid_and_say_what_to_do() {
    for name in ["rainstorm-red.json", "rainstorm-red.cap.xml", "landslide-orange.json"] {
        let alert = outcome(&fixture(name)).unwrap_or_else(|faults| panic!("{name}: {faults:?}"));
        assert!(!alert.instruction.is_empty() && !alert.areas[0].codes.is_empty(), "{name}");
    }
    let (json, cap) = (outcome(&fixture("rainstorm-red.json")).expect("json"), outcome(&fixture("rainstorm-red.cap.xml")).expect("cap"));
    assert_eq!((json.level, json.event_name, json.sent), (cap.level, cap.event_name, cap.sent));
}

/// One changed place of a good document, and the rule and path that must name it.
fn broken_json() -> Vec<(&'static str, Value, &'static str, &'static str)> {
    let set = |pointer: &str, value: Value| {
        let mut alert: Value = serde_json::from_slice(&fixture("rainstorm-red.json")).expect("json");
        let (parent, name) = pointer.rsplit_once('/').expect("pointer");
        let parent = alert.pointer_mut(parent).expect("parent");
        match parent {
            Value::Object(map) => drop(map.insert(name.to_owned(), value)),
            Value::Array(list) => list[name.parse::<usize>().expect("place")] = value,
            _ => panic!("{pointer} has no parent"),
        }
        alert
    };
    let polygon = |points: Value| serde_json::json!({ "name": "x", "geometry": { "type": "Polygon", "coordinates": [points] } });
    vec![
        ("unknown field", set("/headlin", "x".into()), "unknown-field", "headlin"),
        ("no sender", set("/sender", Value::Null), "missing", "sender"),
        ("sender with blank", set("/sender", "a b".into()), "bad-character", "sender"),
        ("long identifier", set("/identifier", "x".repeat(10_000).into()), "too-long", "identifier"),
        ("time without offset", set("/sent", "2026-07-23T10:15:00".into()), "bad-time", "sent"),
        ("number for a text", set("/headline", 7.into()), "wrong-type", "headline"),
        ("line end in headline", set("/headline", "a\r\nBcc: x".into()), "control-character", "headline"),
        ("draft", set("/status", "Draft".into()), "draft", "status"),
        ("an answer between systems", set("/msgType", "Ack".into()), "not-a-warning", "msgType"),
        ("update without reference", set("/msgType", "Update".into()), "missing", "references"),
        ("event of wrong shape", set("/event", "11b03".into()), "bad-event", "event"),
        ("unknown level", set("/level", "purple".into()), "bad-level", "level"),
        ("unknown urgency", set("/urgency", "Now".into()), "bad-value", "urgency"),
        ("ends before it begins", set("/expires", "2026-07-23T10:00:00+08:00".into()), "ends-before-it-begins", "expires"),
        ("no area", set("/areas", serde_json::json!([])), "missing", "areas"),
        ("area without place", set("/areas/0", serde_json::json!({"name": "x"})), "area-without-place", "areas[0]"),
        ("code of wrong length", set("/areas/0/codes/0", "51072".into()), "bad-code", "areas[0].codes[0]"),
        (
            "open polygon",
            set("/areas/0", polygon(serde_json::json!([[104.4, 31.8], [104.5, 31.8], [104.5, 31.9], [104.4, 31.9]]))),
            "polygon-open",
            "areas[0].geometry.coordinates",
        ),
        (
            "polygon off the globe",
            set("/areas/0", polygon(serde_json::json!([[204.4, 31.8], [104.5, 31.8], [104.5, 31.9], [204.4, 31.8]]))),
            "off-the-globe",
            "areas[0].geometry.coordinates",
        ),
        (
            "polygon crossing itself",
            set("/areas/0", polygon(serde_json::json!([[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]))),
            "polygon-crosses-itself",
            "areas[0].geometry.coordinates",
        ),
        (
            "geometry of another kind",
            set("/areas/0", serde_json::json!({"geometry": {"type": "Point", "coordinates": [1, 2]}})),
            "bad-geometry",
            "areas[0].geometry.type",
        ),
        ("text for an unknown channel", set("/texts", serde_json::json!({"pigeon": "coo"})), "unknown-field", "texts.pigeon"),
    ]
}

#[test]
fn each_broken_alert_is_refused_by_its_rule_at_its_place() {
    for (what, alert, rule, path) in broken_json() {
        let faults = outcome(alert.to_string().as_bytes()).expect_err(what);
        assert!(faults.iter().any(|fault| fault.rule == rule && fault.path == path), "{what}: wanted {rule} at {path}, got {faults:?}");
    }
}

#[test]
fn each_broken_fixture_is_refused_by_its_rule_at_its_place() {
    let expected = String::from_utf8(fixture("broken/expected.tsv")).expect("utf-8");
    let rows: Vec<Vec<&str>> = expected.lines().skip(1).map(|line| line.split('\t').collect()).collect();
    for row in &rows {
        let [file, rule, path] = row[..] else { panic!("{row:?} has not three columns") };
        let faults = outcome(&fixture(&format!("broken/{file}"))).expect_err(file);
        // The place of a broken grammar is the parser's to say.
        let is_it = |fault: &Fault| fault.rule == rule && (path == "*" || fault.path == path);
        assert!(faults.iter().any(is_it), "{file}: wanted {rule} at {path}, got {faults:?}");
    }
    let files = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/alerts/broken")).expect("fixtures").count();
    assert_eq!(files, rows.len() + 1, "each file has a row");
}

#[test]
fn the_words_in_chinese_come_first_in_every_form_and_a_language_stands_once() {
    let mut alert: Value = serde_json::from_slice(&fixture("rainstorm-red.json")).expect("json");
    let chinese = alert["headline"].clone();
    alert["language"] = "en-US".into();
    alert["headline"] = "red warning\t of  rain".into();
    alert["translations"] = serde_json::json!([{ "language": "zh-CN", "event": "暴雨", "headline": chinese, "description": "一\r\n二" }]);
    let read = outcome(alert.to_string().as_bytes()).expect("two languages");
    assert_eq!((read.language.as_str(), Value::from(read.headline.clone()), read.description.as_str()), ("zh-CN", chinese, "一\n二"));
    assert_eq!((read.translations[0].language.as_str(), read.translations[0].headline.as_str()), ("en-US", "red warning of rain"));
    assert_eq!(outcome(cap::write(&read).as_bytes()).as_ref(), Ok(&read));
    alert["translations"][0]["language"] = "en-US".into();
    let faults = outcome(alert.to_string().as_bytes()).expect_err("twice");
    assert_eq!((faults[0].rule, faults[0].path.as_str()), ("given-twice", "translations[0].language"));
}

#[test]
fn all_faults_of_one_document_are_named_at_once() {
    let mut alert: Value = serde_json::from_slice(&fixture("rainstorm-red.json")).expect("json");
    alert["level"] = "purple".into();
    alert["sent"] = "yesterday".into();
    alert["areas"][0]["codes"][0] = "1".into();
    alert["extra"] = 1.into();
    let faults = outcome(alert.to_string().as_bytes()).expect_err("four faults");
    let mut paths: Vec<&str> = faults.iter().map(|fault| fault.path.as_str()).collect();
    paths.sort_unstable();
    assert_eq!(paths, ["areas[0].codes[0]", "extra", "level", "sent"]);
}

#[test]
fn hostile_xml_is_refused_before_a_tree_is_built() {
    let good = String::from_utf8(fixture("rainstorm-red.cap.xml")).expect("utf-8");
    let cases = [
        ("doctype", good.replace("<alert ", "<!DOCTYPE a [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><alert ")),
        ("doctype", good.replace("?>", "?>\u{feff}\n<!DOCTYPE alert>")),
        ("entity", good.replace("擂鼓镇</areaDesc>", "&x;</areaDesc>")),
        ("too-deep", good.replace("<areaDesc>", &"<a>".repeat(100))),
        (
            "too-many-attributes",
            good.replace("<areaDesc>", &format!("<areaDesc {}>", (0..1_000).map(|n| format!("a{n}=\"\" ")).collect::<String>())),
        ),
        ("control-character", good.replace("擂鼓镇", "擂\u{1}鼓镇")),
        ("not-xml", good.replace("</alert>", "<")),
    ];
    for (rule, body) in cases {
        let reading = read(body.as_bytes(), None, &Limits::default(), &Vocabulary::default());
        let faults = reading.outcome.expect_err(rule);
        assert_eq!((faults[0].rule, reading.parseable), (rule, false));
    }
    assert_eq!(outcome(&vec![b' '; 3 << 20]).expect_err("too large")[0].rule, "too-large");
}

#[test]
fn documents_are_read_in_the_encoding_that_they_have_and_refused_when_they_lie_about_it() {
    let good = String::from_utf8(fixture("rainstorm-red.cap.xml")).expect("utf-8");
    let alert = outcome(good.as_bytes()).expect("the fixture");
    let declaring = |name: &str| good.replacen("UTF-8", name, 1);
    let utf16 = |text: &str, bytes: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(bytes).collect::<Vec<u8>>();
    let marked = |mark: &[u8], body: Vec<u8>| [mark, body.as_slice()].concat();
    let gb18030 = |text: &str| encoding_rs::GB18030.encode(text).0.to_vec();
    let read_well = [
        ("UTF-16 LE with mark", marked(b"\xff\xfe", utf16(&declaring("UTF-16"), u16::to_le_bytes))),
        ("UTF-16 BE with mark", marked(b"\xfe\xff", utf16(&declaring("UTF-16"), u16::to_be_bytes))),
        ("UTF-16 LE declared", utf16(&declaring("UTF-16LE"), u16::to_le_bytes)),
        ("UTF-16 BE declared", utf16(&declaring("UTF-16BE"), u16::to_be_bytes)),
        ("UTF-8 with mark", marked(b"\xef\xbb\xbf", good.clone().into_bytes())),
        ("mark against declaration", marked(b"\xef\xbb\xbf", declaring("GBK").into_bytes())),
        ("GB18030", gb18030(&declaring("GB18030"))),
        ("GBK declared, GB18030 written", gb18030(&declaring("gbk"))),
        ("GB2312 in single quotes", gb18030(&declaring("gb2312").replacen("\"gb2312\"", "'gb2312'", 1))),
    ];
    for (what, body) in read_well {
        assert_eq!(outcome(&body).as_ref(), Ok(&alert), "{what}");
    }
    let refused = [
        ("bad-encoding", gb18030(&good)),
        ("bad-encoding", gb18030(&declaring("UTF-8"))),
        ("unknown-encoding", declaring("x-wubi").into_bytes()),
        ("bad-encoding", declaring("UTF-16").into_bytes()),
        ("not-xml", marked(b"\xff\xfe", good.clone().into_bytes())),
    ];
    for (rule, body) in refused {
        let reading = read(&body, None, &Limits::default(), &Vocabulary::default());
        assert_eq!((reading.outcome.expect_err(rule)[0].rule, reading.parseable), (rule, false));
    }
}

#[test]
fn breaches_of_the_schema_are_named_with_their_place() {
    let good = String::from_utf8(fixture("rainstorm-red.cap.xml")).expect("utf-8");
    let cases = [
        (
            "wrong-order",
            "sent",
            good.replace(" <sent>2026-07-23T10:15:00+08:00</sent>\n", "")
                .replace(" <status>", " <status>Actual</status>\n <sent>2026-07-23T10:15:00+08:00</sent><status>"),
        ),
        ("missing", "scope", good.replace(" <scope>Public</scope>\n", "")),
        ("bad-time", "sent", good.replace("<sent>2026-07-23T10:15:00+08:00", "<sent>2026-07-23T02:15:00Z")),
        ("bad-value", "info[0].certainty", good.replace("<certainty>Likely", "<certainty>Very Likely")),
        ("unknown-element", "info[0].sound", good.replace("<headline>", "<sound/><headline>")),
        ("missing", "info[0].area[0].areaDesc", good.replace("<areaDesc>擂鼓镇</areaDesc>", "")),
        ("bad-code", "info[0].area[0].geocode[0]", good.replace("510726101000", "LEIGU")),
        (
            "polygon-open",
            "info[0].area[0].polygon[0]",
            good.replace("   <geocode>", "<polygon>31.8,104.4 31.9,104.4 31.9,104.5 31.8,104.5</polygon><geocode>"),
        ),
    ];
    for (rule, path, body) in cases {
        let faults = outcome(body.as_bytes()).expect_err(rule);
        assert!(faults.iter().any(|fault| fault.rule == rule && fault.path == path), "wanted {rule} at {path}, got {faults:?}");
    }
}
