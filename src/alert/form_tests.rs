//! Tests of what is brought to its form and what is refused: languages, addresses, codes, times, signs, and what goes out again.

use serde_json::{Value, json};

use super::{
    Alert, Limits, Reading, Vocabulary, cap, read,
    tests::{fixture, outcome},
    words,
};

fn reading(body: &[u8]) -> Reading {
    read(body, None, &Limits::default(), &Vocabulary::default())
}

fn from_json(changes: &[(&str, Value)]) -> Reading {
    let mut alert: Value = serde_json::from_slice(&fixture("rainstorm-red.json")).expect("json");
    for (name, value) in changes {
        alert[*name] = value.clone();
    }
    reading(alert.to_string().as_bytes())
}

fn from_cap(old: &str, new: &str) -> Reading {
    let text = String::from_utf8(fixture("rainstorm-red.cap.xml")).expect("utf-8");
    assert!(text.contains(old), "the fixture has no {old}");
    reading(text.replacen(old, new, 1).as_bytes())
}

fn taken(reading: Reading, rule: &str) -> Alert {
    let rules: Vec<&str> = reading.warnings.iter().map(|fault| fault.rule).collect();
    assert!(rules.contains(&rule), "{rule} is not among {rules:?}");
    reading.outcome.unwrap_or_else(|faults| panic!("{faults:?}"))
}

fn refused(reading: Reading) -> Vec<&'static str> {
    reading.outcome.expect_err("refused").iter().map(|fault| fault.rule).collect()
}

#[test]
fn languages_are_tags_or_become_tags() {
    for (said, tag) in
        [("zh_CN", "zh-CN"), ("中文", "zh-CN"), (" zh-CN ", "zh-CN"), ("zh_CN.UTF-8", "zh-CN"), ("English", "en"), ("藏文", "bo")]
    {
        assert_eq!(taken(from_json(&[("language", json!(said))]), "language-corrected").language, tag, "{said}");
    }
    assert_eq!(taken(from_cap("<language>zh-CN", "<language>zh_CN"), "language-corrected").language, "zh-CN");
    for said in ["the language of the valley", "12", "zh--CN", "-"] {
        assert_eq!(refused(from_json(&[("language", json!(said))])), ["bad-value"], "{said}");
    }
    assert_eq!(refused(from_cap("<language>zh-CN", "<language> ")), ["bad-value"]);
}

#[test]
fn an_address_that_is_none_is_left_out_and_said() {
    for said in ["http://county.example/a b.html", "see the notice board", "https://x.example/%zz", "<script>"] {
        assert_eq!(taken(from_json(&[("web", json!(said))]), "web-not-used").web, "", "{said}");
    }
    for said in ["https://county.example/w?id=1&x=%20#top", "http://县.example/通知"] {
        let read = from_json(&[("web", json!(said))]);
        assert!(read.warnings.iter().all(|fault| fault.rule != "web-not-used"));
        assert_eq!(read.outcome.expect("read").web, said);
    }
}

#[test]
fn what_the_schema_has_no_place_for_is_refused() {
    assert_eq!(refused(from_cap("<headline>", "<headline><b/>")), ["element-in-text"]);
    assert_eq!(refused(from_cap("<info>", "<info id=\"1\">")), ["unknown-attribute"]);
    for time in ["2026-07-23T08:59:60+08:00", "2026-07-23T09:00:00+24:00", "0000-07-23T09:00:00+08:00"] {
        let text = String::from_utf8(fixture("rainstorm-red.cap.xml")).expect("utf-8");
        let (before, rest) = text.split_once("<sent>").expect("sent");
        let after = rest.split_once("</sent>").expect("sent").1;
        let document = format!("{before}<sent>{time}</sent>{after}");
        assert!(refused(reading(document.as_bytes())).contains(&"bad-time"), "{time}");
    }
    for scope in ["<scope>Restricted</scope><restriction>officials</restriction>", "<scope>Private</scope><addresses>a b</addresses>"] {
        assert_eq!(refused(from_cap("<scope>Public</scope>", scope)), ["not-public"]);
    }
    let many: Vec<Value> = (0..10_001).map(|step| json!([104.0 + f64::from(step) * 1e-5, 31.0 + f64::from(step % 2) * 1e-6])).collect();
    let ring: Vec<Value> = many.iter().cloned().chain([json!([104.05, 32.0]), many[0].clone()]).collect();
    let area = json!([{ "name": "x", "geometry": { "type": "Polygon", "coordinates": [ring] } }]);
    assert_eq!(refused(from_json(&[("areas", area)])), ["too-many-points"]);
}

#[test]
fn several_codes_in_one_place_are_each_read() {
    let text = String::from_utf8(fixture("rainstorm-red.cap.xml")).expect("utf-8");
    let one = outcome(text.as_bytes()).expect("the fixture").areas[0].codes[0].padded().to_string();
    let (other, value) = ("510726108000", format!("<value>{one}</value>"));
    assert!(text.contains(&value), "the fixture has {value}");
    for between in [",", "，", " ", "；", "、", ";\n"] {
        let alert = taken(from_cap(&value, &format!("<value>{one}{between}{other}</value>")), "several-codes");
        assert!(alert.areas[0].codes.iter().any(|code| code.padded().to_string() == other), "{between}");
    }
    let listed = from_json(&[("areas", json!([{ "name": "x", "codes": ["510726101，510726108"] }]))]);
    assert_eq!(listed.outcome.expect("read").areas[0].codes.len(), 2);
}

#[test]
fn a_line_beside_codes_is_not_used_and_a_point_is_refused_in_plain_words() {
    let text = String::from_utf8(fixture("rainstorm-red.amp.xml")).expect("utf-8");
    let line = text.replace("<polygon></polygon>", "<polygon>31.80,104.40 31.85,104.45</polygon>");
    assert!(taken(reading(line.as_bytes()), "line-not-used").areas[0].polygons.is_empty());
    let point = json!([{ "name": "x", "geometry": { "type": "Point", "coordinates": [104.4, 31.8] } }]);
    let faults = from_json(&[("areas", point)]).outcome.expect_err("refused");
    assert!(faults.iter().all(|fault| !fault.message.contains("Some(")) && faults[0].message.contains("circle"), "{faults:?}");
}

#[test]
fn signs_that_nobody_sees_are_taken_out_and_joiners_of_other_scripts_stay() {
    let alert = taken(from_json(&[("headline", json!("暴雨\u{202e}红色\u{200b}预警\u{2066}\u{feff}"))]), "invisible-characters");
    assert_eq!(alert.headline, "暴雨红色预警");
    let alert = taken(from_cap("<headline>", "<headline>\u{2067}"), "invisible-characters");
    assert!(!alert.headline.contains('\u{2067}'));
    let persian = "می\u{200c}خواهم";
    let read = from_json(&[("description", json!(persian))]);
    assert_eq!(read.outcome.expect("read").description, persian);
    assert!(refused(from_json(&[("identifier", json!("a\u{200b}b"))])).contains(&"bad-character"));
}

#[test]
fn an_event_in_words_is_understood_and_a_word_that_is_not_known_is_told_as_it_stands() {
    let alert = taken(from_json(&[("event", json!("山洪灾害"))]), "event-code-assumed");
    assert_eq!((alert.event.as_str(), alert.event_name.as_str()), ("11A51", "山洪灾害"));
    let unknown = [("event", json!("电线积冰")), ("eventName", json!("")), ("headline", json!("某县发布电线积冰黄色预警"))];
    let alert = taken(from_json(&unknown), "unknown-event-word");
    assert_eq!((alert.event.as_str(), alert.event_name.as_str()), ("10000", "电线积冰"));
    for hidden in ["大风\u{7}", "大风\r\u{1b}"] {
        assert_eq!(refused(from_json(&[("event", json!(hidden)), ("eventName", json!(""))])), ["control-character"], "{hidden:?}");
    }
    let mistyped = ["11b03", "1103", ""].map(|code| refused(from_json(&[("event", json!(code))])));
    assert_eq!(mistyped, [["bad-event"], ["bad-event"], ["bad-event"]]);
    assert_eq!(refused(from_json(&[("event", json!("\u{feff}"))])), ["bad-event"], "what nobody sees is no word");
    let text = String::from_utf8(fixture("rainstorm-red.cap.xml")).expect("utf-8");
    let (before, rest) = text.split_once("<eventCode>").expect("a code");
    let after = rest.split_once("</eventCode>").expect("a code").1;
    let english = format!("{before}{after}").replace("<event>暴雨</event>", "<event>Debris flow</event>");
    assert_eq!(taken(reading(english.as_bytes()), "event-code-assumed").event.as_str(), "11D02");
}

#[test]
fn what_stands_beside_the_warning_goes_out_as_it_came_and_the_rest_is_named() {
    let more = "<parameter><valueName>stage</valueName><value>2</value></parameter>\
                <resource><resourceDesc>图</resourceDesc><mimeType>image/png</mimeType><size>84</size><uri>https://county.example/a.png</uri>\
                <derefUri>aGk=</derefUri></resource><area>";
    let text = String::from_utf8(fixture("rainstorm-red.cap.xml")).expect("utf-8");
    let text =
        text.replacen("<area>", more, 1).replacen("<scope>Public</scope>", "<source>省台</source><scope>Public</scope><code>one</code>", 1);
    let read = reading(text.as_bytes());
    let named = read.warnings.iter().find(|fault| fault.rule == "not-carried").map(|fault| fault.message.clone());
    assert!(named.is_some_and(|message| message.ends_with("info[0].resource.derefUri")), "{:?}", read.warnings);
    let alert = read.outcome.expect("read");
    let again = cap::write(&alert);
    for piece in ["<source>省台</source>", "<code>one</code>", "<valueName>stage</valueName>", "<uri>https://county.example/a.png</uri>"]
    {
        assert!(again.contains(piece), "{piece} is not in {again}");
    }
    assert_eq!(outcome(again.as_bytes()).expect("read again"), alert);
}

#[test]
fn the_end_of_a_day_is_read_in_every_form() {
    let next_day = "2026-07-24T00:00:00+08:00";
    let alert = from_json(&[("expires", json!("2026-07-23T24:00:00+08:00"))]).outcome.expect("json");
    assert_eq!(alert.expires.to_string(), next_day);
    let text = String::from_utf8(fixture("rainstorm-red.amp.xml")).expect("utf-8");
    let (before, rest) = text.split_once("<expires>").expect("an end");
    let after = rest.split_once("</expires>").expect("an end").1;
    let amp = format!("{before}<expires>2026-07-23 24:00:00+08:00</expires>{after}");
    assert_eq!(outcome(amp.as_bytes()).expect("12379").expires.to_string(), next_day);
    assert_eq!(words::split_codes(" ， ").count(), 0);
}
