//! Property tests: any alert reads back the same from every form that it is written in, and any bytes are judged.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{
    Alert, Area, Carried, Circle, Level, MsgType, Named, Point, Polygon, Reference, Resource, Status, Translation, cap, category,
    content_digest, event_name, json,
    tests::{fixture, outcome},
    validate,
};
use crate::time::Timestamp;

fn any_time() -> impl Strategy<Value = Timestamp> {
    (1_700_000_000_i64..1_900_000_000).prop_map(|seconds| Timestamp::from_ms(seconds * 1_000))
}

fn any_text() -> impl Strategy<Value = String> {
    "\\PC{0,40}".prop_map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "))
}

fn any_area() -> impl Strategy<Value = Area> {
    let point = (100_000_i32..110_000, 25_000_i32..35_000)
        .prop_map(|(lon, lat)| Point { lon: f64::from(lon) / 1_000.0, lat: f64::from(lat) / 1_000.0 });
    let box_of = |corner: Point, hole: bool| {
        let ring = |inset: f64| {
            let (low, high) = (inset, 1.0 - inset);
            [(low, low), (high, low), (high, high), (low, high), (low, low)]
                .map(|(x, y)| Point { lon: corner.lon + x, lat: corner.lat + y })
                .to_vec()
        };
        Polygon { rings: if hole { vec![ring(0.0), ring(0.25)] } else { vec![ring(0.0)] } }
    };
    let polygons = proptest::collection::vec((point.clone(), any::<bool>()).prop_map(move |(corner, hole)| box_of(corner, hole)), 0..3);
    let circles = proptest::collection::vec(
        (point, 0_u32..100).prop_map(|(center, radius)| Circle { center, radius_km: f64::from(radius) / 4.0 }),
        0..3,
    );
    let codes = proptest::collection::vec(proptest::sample::select(vec!["51", "5107", "510726", "510726102", "510726102201"]), 1..4);
    (any_text(), codes, polygons, circles).prop_map(|(name, codes, polygons, circles)| Area {
        name,
        codes: codes.into_iter().map(|code| code.parse().expect("code")).collect(),
        polygons,
        circles,
    })
}

fn carried() -> Carried {
    let named = |name: &str| vec![Named { name: name.into(), value: "a < b".into() }];
    let file = Resource {
        description: "图".into(),
        mime_type: "image/png".into(),
        size: "84".into(),
        uri: "https://example.org/a.png?x=1&y".into(),
        digest: String::new(),
    };
    Carried {
        source: "省台".into(),
        incidents: "i1 i2".into(),
        audience: "山区群众".into(),
        codes: vec!["one".into(), "two".into()],
        event_codes: named("SAME"),
        parameters: named("stage"),
        resources: vec![file],
    }
}

fn any_alert() -> impl Strategy<Value = Alert> {
    let head =
        ("[a-zA-Z0-9_.-]{1,40}", "[a-zA-Z0-9_.@-]{1,30}", any_time(), any_time(), 0_usize..4, 0_usize..3, 0_usize..4, 1_i64..100_000);
    let words = (any_text(), any_text(), any_text(), any_text(), any_text(), any_text());
    let rest = (proptest::collection::vec(any_area(), 1..3), any::<bool>(), any::<bool>(), any_text());
    (head, words, rest).prop_map(|(head, words, rest)| {
        let (identifier, sender, sent, effective, status, msg_type, level, lasts) = head;
        let (headline, description, instruction, sender_name, note, contact) = words;
        let (areas, translated, own_text, text) = rest;
        let msg_type = [MsgType::Alert, MsgType::Update, MsgType::Cancel][msg_type];
        let event = "11B03".parse().expect("event");
        let references = vec![Reference { sender: sender.clone(), identifier: "earlier".into(), sent }];
        let translation = Translation {
            language: "en-US".into(),
            event: "rain".into(),
            headline: "rain".into(),
            description: String::new(),
            instruction: "go".into(),
        };
        Alert {
            identifier,
            sender,
            sender_name,
            sent,
            status: [Status::Actual, Status::Exercise, Status::System, Status::Test][status],
            msg_type,
            references: if msg_type == MsgType::Alert { Vec::new() } else { references },
            event_name: event_name(&event).to_owned(),
            categories: vec![category(&event).to_owned()],
            event,
            level: Level::ALL[level],
            urgency: "Immediate".into(),
            certainty: "Likely".into(),
            response_types: vec!["Evacuate".into()],
            effective,
            onset: Some(effective),
            expires: Timestamp::from_ms(effective.as_ms() + lasts * 1_000),
            headline,
            description,
            instruction,
            language: "zh-CN".into(),
            translations: if translated { vec![translation] } else { Vec::new() },
            note,
            web: "https://example.org/a?b=1&c=2".into(),
            contact,
            areas,
            part_of: if own_text { "a.document".to_owned() } else { String::new() },
            carried: if translated { carried() } else { Carried::default() },
            groups: if own_text { vec!["G01002".to_owned(), "G02003".to_owned()] } else { Vec::new() },
            texts: if own_text { BTreeMap::from([("sms".to_owned(), text)]) } else { BTreeMap::new() },
        }
    })
}

proptest! {
    #[test]
    fn an_alert_reads_back_from_json_and_from_cap(alert in any_alert()) {
        let back = json::from_value(&json::to_value(&alert));
        prop_assert_eq!(back.as_ref(), Ok(&alert));
        prop_assert_eq!(&json::from_kept(&json::to_value(&alert)).expect("kept"), &alert);
        let xml = cap::write(&alert);
        let read_back = outcome(xml.as_bytes());
        prop_assert_eq!(read_back.as_ref(), Ok(&alert), "{}", xml);
        prop_assert_eq!(content_digest(&alert), content_digest(&read_back.expect("compared above")));
    }

    #[test]
    fn any_bytes_are_judged_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), cut in 0_usize..2_000) {
        validate::report("any", &bytes);
        let mut xml = fixture("rainstorm-red.cap.xml");
        let place = cut.min(xml.len());
        xml.splice(place..(place + bytes.len() / 10).min(xml.len()), bytes.iter().copied().take(10));
        validate::report("mixed", &xml);
    }
}
