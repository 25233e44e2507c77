//! Tests of answers in other forms: rows, single objects, scripts, circles by strength and distance, words of titles.

use serde_json::{Value, json};

use super::*;
use crate::alert::{Alert, Level, MsgType};

fn alerts(mapping: &Mapping, body: &str) -> Vec<Alert> {
    let readings = mapping.read(body.as_bytes(), &Limits::default()).unwrap_or_else(|faults| panic!("{faults:?}"));
    readings.into_iter().map(|reading| reading.outcome.unwrap_or_else(|faults| panic!("{faults:?}"))).collect()
}

fn built_in(name: &str) -> Mapping {
    let (_, text) = BUILT_IN.iter().find(|(known, _)| *known == name).expect("a built-in mapping");
    Mapping::parse(text).unwrap_or_else(|faults| panic!("{name}: {faults:?}"))
}

#[test]
fn rows_single_objects_and_scripts_are_read() {
    let row = r#"{"status":"success","result":{"data":[["某县","51072641600000_20260723101500","31.9","104.2","某县气象台发布雷雨大风橙色预警信号"]]}}"#;
    let read = alerts(&built_in("nmc_rows"), row);
    assert_eq!(
        (read[0].event.as_str(), read[0].level, read[0].sent.to_string().as_str()),
        ("11B20", Level::Orange, "2026-07-23T10:15:00+08:00")
    );
    assert_eq!((read[0].areas[0].codes[0].to_string().as_str(), read[0].areas[0].name.as_str()), ("510726", "某县"));
    let one = r#"{"identifier":"51072641600000_20260723101500","head":"某县气象台发布冰雹橙色预警","SIGNALTYPE":"冰雹","SIGNALLEVEL":"橙色",
        "ISSUETIME":"2026-07-23 10:15:00","RELIEVETIME":"2026-07-23 24:00:00","ISSUECONTENT":"预计有冰雹。"}"#;
    for body in [
        one.replace("24:00", "23:00"),
        format!("var w={};", one.replace("24:00", "23:00")),
        format!("cb({})", one.replace("24:00", "23:00")),
    ] {
        let read = alerts(&built_in("weathercn"), &body);
        assert_eq!((read[0].event.as_str(), read[0].level, read[0].description.as_str()), ("11B15", Level::Orange, "预计有冰雹。"));
    }
}

#[test]
fn of_earthquakes_the_strong_one_near_by_is_taken_and_the_others_are_passed_over() {
    let quake = |id: &str, magnitude: f64, kind: &str, lon: f64, lat: f64| {
        json!({ "type": "Feature", "id": id, "properties": { "mag": magnitude, "place": "某地", "time": 1_784_772_900_000_i64, "type": kind },
                "geometry": { "type": "Point", "coordinates": [lon, lat, 12.5] } })
    };
    let list = json!({ "type": "FeatureCollection", "features": [
        quake("near", 6.1, "earthquake", 104.3, 31.9), quake("far", 7.9, "earthquake", -170.0, -20.0), quake("weak", 1.4, "earthquake", 104.3, 31.9),
        quake("blast", 4.8, "quarry blast", 104.3, 31.9), quake("middling", 5.3, "earthquake", 105.2, 31.9),
    ] });
    let mapping = built_in("usgs");
    assert!(mapping.needs_place());
    let nowhere = mapping.read(list.to_string().as_bytes(), &Limits::default()).expect("an answer");
    assert!(nowhere[0].outcome.as_ref().is_err_and(|faults| faults.iter().any(|fault| fault.path.ends_with("strength.here"))));
    let mapping = mapping.for_place(Point { lon: 104.2, lat: 31.8 });
    let read = alerts(&mapping, &list.to_string());
    let told: Vec<(&str, Level, &str)> = read.iter().map(|alert| (alert.identifier.as_str(), alert.level, alert.event.as_str())).collect();
    assert_eq!(told, [("near", Level::Red, "11C02"), ("middling", Level::Yellow, "11C02")]);
    assert_eq!((read[0].headline.as_str(), read[0].areas[0].circles[0].radius_km), ("某地发生6.1级地震", 150.0));
    let chinese = json!({ "shuju": [{ "CATA_ID": "x", "O_TIME": "2026-07-23 10:15:00", "EPI_LAT": "31.9", "EPI_LON": "104.3", "EPI_DEPTH": 12,
        "M": "5.6", "LOCATION_C": "某县" }, { "CATA_ID": "y", "O_TIME": "2026-07-23 10:16:00", "EPI_LAT": "-20", "EPI_LON": "-170", "EPI_DEPTH": 9,
        "M": "7.0", "LOCATION_C": "南太平洋" }] });
    let read = alerts(&built_in("cenc").for_place(Point { lon: 104.2, lat: 31.8 }), &chinese.to_string());
    assert_eq!((read.len(), read[0].level, read[0].headline.as_str()), (1, Level::Orange, "某县发生5.6级地震"));
}

#[test]
fn both_published_forms_of_the_weather_service_are_read() {
    let answer = json!({ "alerts": [{ "id": "202607231015000000000001", "senderName": "某县气象台", "issuedTime": "2026-07-23T02:15Z",
        "msgType": "Alert", "relatedAlertIds": [], "event": "大风", "eventCodes": [{ "name": "X", "value": "1006" }], "urgency": null,
        "severity": "Severe", "color": { "code": "Orange" }, "certainty": null, "effectiveTime": "2026-07-23T02:15Z",
        "expireTime": "2026-07-23T12:00Z", "headline": "某县气象台发布大风橙色预警", "description": "x", "instruction": "y" }] });
    let mapping = built_in("qweather_v7").for_areas(vec!["510726".parse().expect("code")]);
    let read = alerts(&mapping, &answer.to_string());
    assert_eq!((read[0].event.as_str(), read[0].level, read[0].msg_type), ("11B06", Level::Orange, MsgType::Alert));
}

#[test]
fn titles_are_understood_and_what_is_not_is_told_in_their_words() {
    let title = |title: &str| {
        let entry = json!({ "alertid": "51072641600000_20260723101500", "issuetime": "2026/07/23 10:15", "title": title });
        alerts(&built_in("nmc"), &json!({ "code": 0, "data": { "page": { "list": [entry] } } }).to_string()).remove(0)
    };
    for (word, code) in [
        ("强对流", "11B31"),
        ("雷暴大风", "11B58"),
        ("渍涝", "11A02"),
        ("山洪灾害气象风险", "11A51"),
        ("森林火险", "11B25"),
        ("冻雨", "11B27"),
    ] {
        let alert = title(&format!("四川省绵阳市某县气象台发布{word}黄色预警信号"));
        assert_eq!((alert.event.as_str(), alert.event_name.as_str()), (code, word));
    }
    let alert = title("四川省绵阳市某县气象台发布电线积冰黄色预警信号");
    assert_eq!((alert.event.as_str(), alert.event_name.as_str()), ("10000", "电线积冰"));
}

#[test]
fn faults_of_the_new_keys_are_named() {
    let text = r#"
        alerts = ["a"]
        only = { kind = { path = "x" }, other = 1 }
        [fields]
        identifier = { path = "i" }
        sender = { value = "s" }
        sent = { path = "t" }
        status = { value = "Actual" }
        msgType = { value = "Alert" }
        [areas]
        lat = { path = "y" }
        [strength]
        here = [1]
        rows = [{ least = "x", within_km = 1, level = "grey", radius_km = 1 }]
    "#;
    let mut found: Vec<String> = Mapping::parse(text).expect_err("faults").into_iter().map(|fault| fault.path).collect();
    found.sort_unstable();
    let wanted = [
        "areas.radius_km",
        "only.kind.words",
        "only.other",
        "strength.here",
        "strength.magnitude",
        "strength.rows[0].least",
        "strength.rows[0].level",
    ];
    assert_eq!(found, wanted);
    let deep: Value = serde_json::from_str("[[[]]]").expect("json");
    assert!(built_in("nmc_rows").read(deep.to_string().as_bytes(), &Limits::default()).is_ok());
}
