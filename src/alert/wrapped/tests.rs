//! Tests of wrappers: made ones of each form, and the real ones of the corpus.

use std::{fs, path::Path};

use super::*;
use crate::alert::read as read_alert;

fn fixture() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/alerts/rainstorm-red.cap.xml");
    let text = fs::read_to_string(path).expect("fixture");
    text.split_once("?>").map_or(text.clone(), |(_, rest)| rest.trim().to_owned())
}

/// The same alert with a prefix that only the wrapper declares.
fn prefixed() -> String {
    let plain = fixture().replace(" xmlns=\"urn:oasis:names:tc:emergency:cap:1.2\"", "");
    plain.replace("</", "\u{1}").replace('<', "<cap:").replace('\u{1}', "</cap:")
}

fn entries_of(text: &str) -> Vec<Entry> {
    entries(text.as_bytes(), &Limits::default()).unwrap_or_else(|faults| panic!("{faults:?}"))
}

fn reading(text: &str) -> Reading {
    read_alert(text.as_bytes(), None, &Limits::default(), &Vocabulary::default())
}

fn atom(inside: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><feed xmlns=\"http://www.w3.org/2005/Atom\" xmlns:cap=\"urn:oasis:names:tc:emergency:cap:1.2\">\
         <id>f</id>{inside}</feed>"
    )
}

#[test]
fn an_alert_inside_reads_alone_as_it_would_read_outside_whatever_declares_its_namespace() {
    let outside = reading(&fixture()).outcome.expect("the fixture");
    let edxl = |version: &str, content: &str, alert: &str| {
        format!(
            "<d:EDXLDistribution xmlns:d=\"urn:oasis:names:tc:emergency:EDXL:DE:{version}\" xmlns:cap=\"urn:oasis:names:tc:emergency:cap:1.2\">\
             <d:distributionID>x</d:distributionID><d:dateTimeSent>2026-07-23T10:15:00+08:00</d:dateTimeSent><d:contentObject>\
             <d:{content}><d:embeddedXMLContent>{alert}</d:embeddedXMLContent></d:{content}></d:contentObject></d:EDXLDistribution>"
        )
    };
    let content = |alert: &str| atom(&format!("<entry><id>e</id><content type=\"application/cap+xml\">{alert}</content></entry>"));
    let escaped = atom(&format!("<entry><id>e</id><content type=\"text/xml\"><![CDATA[{}]]></content></entry>", fixture()));
    let rss = format!(
        "<rss version=\"2.0\" xmlns:cap=\"urn:oasis:names:tc:emergency:cap:1.2\"><channel><item><guid>e</guid>{}</item></channel></rss>",
        prefixed()
    );
    let wrappers = [
        edxl("1.0", "xmlContent", &prefixed()),
        edxl("2.0", "contentXML", &fixture()),
        content(&prefixed()),
        content(&fixture()),
        escaped,
        rss,
    ];
    for wrapper in wrappers {
        assert!(is_wrapper(wrapper.as_bytes()));
        assert_eq!(entries_of(&wrapper).len(), 1, "{wrapper}");
        let reading = reading(&wrapper);
        assert_eq!(reading.outcome.as_ref(), Ok(&outside), "{wrapper}");
        assert_eq!(reading.warnings[0].rule, "wrapped");
    }
}

#[test]
fn none_or_several_alerts_are_refused_with_their_number() {
    let entry = format!("<entry><id>e</id><content>{}</content></entry>", fixture());
    let outcome = |text: String| reading(&text).outcome.expect_err("refused").remove(0);
    let several = outcome(atom(&entry.repeat(3)));
    assert_eq!(several.rule, "several-alerts");
    assert!(several.message.starts_with("3 alerts"), "{several}");
    let none = outcome(atom("<entry><id>e</id><link href=\"a.xml\"/></entry>"));
    assert!(none.rule == "no-alert" && none.message.contains("1 entries point elsewhere"), "{none}");
}

#[test]
fn the_link_to_cap_goes_before_pages_for_people() {
    let links = "<link href=\"page.html\" type=\"text/html\"/><link href=\"plain\"/><link href=\"a.cap\" type=\"application/cap+xml\"/>";
    let feed = atom(&format!("<entry><id>e</id><title> a\n b </title><updated>2026-07-23T02:15:00Z</updated>{links}</entry>"));
    let entry = &entries_of(&feed)[0];
    assert_eq!((entry.link.as_deref(), entry.title.as_str()), (Some("a.cap"), "a b"));
    assert_eq!(entry.updated.map(|time| time.to_string()).as_deref(), Some("2026-07-23T10:15:00+08:00"));
    let rss = "<rss><channel><item><title>t</title><link>p</link><pubDate>Thu, 23 Jul 2026 10:15:00 +0800</pubDate>\
               <enclosure url=\"a.cap\" type=\"application/cap+xml\"/></item></channel></rss>";
    let item = &entries_of(rss)[0];
    assert_eq!((item.id.as_str(), item.link.as_deref()), ("a.cap", Some("a.cap")));
    assert_eq!(item.updated.map(Timestamp::as_ms), Some(1_784_772_900_000));
}

#[test]
fn a_wrapper_is_bounded_and_hostile_ones_are_refused() {
    let rule = |text: &str| entries(text.as_bytes(), &Limits::default()).expect_err("refused").remove(0).rule;
    assert_eq!(rule(&atom(&"<entry><id>e</id><link href=\"a\"/></entry>".repeat(ENTRIES_MAX + 1))), "too-many-entries");
    assert_eq!(rule("<!DOCTYPE a><feed xmlns=\"http://www.w3.org/2005/Atom\"/>"), "doctype");
    assert_eq!(rule("<feed/>"), "not-a-wrapper");
    // Long declarations on the wrapper, copied to each of many small alerts.
    let long: String = (0..30).map(|n| format!(" xmlns:n{n}=\"{}\"", "u".repeat(2_000))).collect();
    let small = "<entry><alert xmlns=\"urn:oasis:names:tc:emergency:cap:1.2\"/></entry>".repeat(1_000);
    assert_eq!(rule(&format!("<feed xmlns=\"http://www.w3.org/2005/Atom\"{long}>{small}</feed>")), "too-large");
    assert!(!is_wrapper(b"") && !is_wrapper(b"{}") && !is_wrapper(fixture().as_bytes()));
}

#[test]
fn a_wrapper_in_a_wrapper_is_not_followed() {
    let inner = atom("<entry/>").replace("<id>f</id>", "<id>alert</id>");
    let outer = atom(&format!("<entry><id>e</id><content><![CDATA[{inner}]]></content></entry>"));
    assert_eq!(reading(&outer).outcome.expect_err("refused")[0].rule, "not-an-alert");
}

#[test]
fn real_wrappers_give_their_entries() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus/cap/real");
    // Name, entries, entries with an alert inside.
    let known = [
        ("meteoalarm-poland-short.atom", 2, 0),
        ("us-nws-empty-index.atom", 0, 0),
        ("us-nws-weather-index.atom", 2, 0),
        ("us-nws-weather.atom", 1, 1),
        ("us-nws-weather-2.atom", 2, 0),
        ("au-edxlde-bushfire-invalid.edxlde", 7, 7),
        ("au-nsw-rfs.xml", 1, 1),
    ];
    for (name, wanted, inside) in known {
        let Ok(bytes) = fs::read(corpus.join(name)) else {
            eprintln!("NOT RUN: {name} of the corpus is not at {}", corpus.display());
            continue;
        };
        assert!(is_wrapper(&bytes), "{name}");
        let found = entries(&bytes, &Limits::default()).unwrap_or_else(|faults| panic!("{name}: {faults:?}"));
        assert_eq!((found.len(), found.iter().filter(|entry| entry.alert.is_some()).count()), (wanted, inside), "{name}");
        for entry in found.iter().filter(|entry| entry.alert.is_none()) {
            assert!(entry.updated.is_some() && entry.link.as_ref().is_some_and(|link| link.starts_with("http")), "{name}: {entry:?}");
        }
    }
}
