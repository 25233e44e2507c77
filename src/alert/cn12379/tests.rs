//! Tests of 12379 documents: what is kept of them, what is left out, and where they lie.

use crate::alert::{
    Limits, Point, Vocabulary, json, read,
    tests::{fixture, outcome},
};

#[test]
fn the_same_warning_reads_the_same_from_12379_and_its_means_and_groups_are_kept() {
    let reading = read(&fixture("rainstorm-red.amp.xml"), None, &Limits::default(), &Vocabulary::default());
    let (amp, cap) = (reading.outcome.expect("12379"), outcome(&fixture("rainstorm-red.cap.xml")).expect("cap"));
    assert_eq!((amp.sent, amp.effective, amp.expires, amp.level), (cap.sent, cap.effective, cap.expires, cap.level));
    assert_eq!((&amp.sender_name, &amp.headline, &amp.instruction), (&cap.sender_name, &cap.headline, &cap.instruction));
    assert_eq!(amp.areas[0].codes, cap.areas[0].codes);
    assert_eq!(amp.groups, ["G01002", "G02003"]);
    assert!(amp.texts["sms"].starts_with("北川县") && !amp.texts.contains_key("speaker"));
    let rules: Vec<&str> = reading.warnings.iter().map(|fault| fault.rule).collect();
    assert_eq!(rules, ["attachments-not-used", "method-without-channel"]);
    assert!(!json::to_value(&amp).to_string().contains("值班员"), "the person who signs is not passed on");
}

#[test]
fn coordinates_of_12379_are_read_in_either_order_and_metres_are_metres() {
    let with = |polygon: &str, circle: &str| {
        let text = String::from_utf8(fixture("rainstorm-red.amp.xml")).expect("utf-8");
        let text = text.replace("<polygon></polygon>", &format!("<polygon>{polygon}</polygon>"));
        let text = text.replace("<circle></circle>", &format!("<circle>{circle}</circle>"));
        let reading = read(text.as_bytes(), None, &Limits::default(), &Vocabulary::default());
        let assumed = reading.warnings.iter().filter(|fault| fault.rule == "order-of-coordinates").count();
        (reading.outcome.expect("read").areas.remove(0), assumed)
    };
    let (one, assumed) = with("31.8,104.4 31.9,104.4 31.9,104.5 31.8,104.4", "31.8,104.4 2500");
    let (other, also_assumed) = with("104.4,31.8 104.4,31.9 104.5,31.9 104.4,31.8", "104.4，31.8 2500");
    assert_eq!((&one, assumed, also_assumed), (&other, 0, 0));
    assert_eq!((one.polygons[0].rings[0][0], one.circles[0].radius_km), (Point { lon: 104.4, lat: 31.8 }, 2.5));
    // Elsewhere in the world the numbers do not tell the order.
    let (abroad, assumed) = with("10,20 11,20 11,21 10,20", "");
    assert_eq!((abroad.polygons[0].rings[0][0], assumed), (Point { lon: 20.0, lat: 10.0 }, 1));
}

#[test]
fn a_second_info_is_refused_by_name_and_every_reference_is_read() {
    let text = String::from_utf8(fixture("rainstorm-red.amp.xml")).expect("utf-8");
    let (start, end) = (text.find("<info>").expect("an info"), text.find("</info>").expect("its end") + "</info>".len());
    let second = text[start..end].replace("RED", "BLUE").replace("Red", "Blue");
    let twice = format!("{}{second}{}", &text[..end], &text[end..]);
    let faults = read(twice.as_bytes(), None, &Limits::default(), &Vocabulary::default()).outcome.expect_err("two meanings");
    assert_eq!(faults.iter().map(|fault| (fault.path.as_str(), fault.rule)).collect::<Vec<_>>(), [("info[1]", "several-infos")]);

    let [first, other] = ["51072641600000_20260630080000", "51072641600000_20260630090000"];
    let reference = |said: &str| {
        let (before, after) = text.split_once("</identifier>").expect("an identifier");
        let without = after.replace("<references></references>", "").replace("<references/>", "");
        let update =
            format!("{before}</identifier><references>{said}</references>{without}").replace(">Alert</msgType>", ">Update</msgType>");
        let alert = read(update.as_bytes(), None, &Limits::default(), &Vocabulary::default()).outcome.expect("an update");
        alert.references.into_iter().map(|reference| reference.identifier).collect::<Vec<_>>()
    };
    assert_eq!(reference(first), [first]);
    assert_eq!(reference(&format!("{first} {other}\n{first}")), [first, other]);
}
