//! Owns the exchange form of the national platform (12379): like CAP, with its own dates, colours, lists and units.
//! Refuses to know transport. Invariant: what it cannot say exactly (order of coordinates, an open line) is a warning or a fault, never a silent guess.

use roxmltree::Node;

use super::{
    Alert, Circle, Level, Point, Polygon, Reference,
    cap::node::{child, child_text, children},
    check::{Draft, DraftArea, check},
};
use crate::{
    area::AreaCode,
    fault::{Fault, Faults},
    time::Timestamp,
};

/// Seen in generated files.
const NAMESPACES: &[&str] = &["http://com.icss.amp", "com.icss.amp"];

pub(super) fn is_its_namespace(namespace: &str) -> bool {
    NAMESPACES.contains(&namespace.trim_end_matches('/'))
}

/// Without a namespace, by two elements that only this form has.
pub(super) fn looks_like(root: &Node<'_, '_>) -> bool {
    child(root, "senderCode").is_some() && child(root, "sendTime").is_some()
}

pub(super) fn read(root: &Node<'_, '_>, warnings: &mut Vec<Fault>) -> Result<Alert, Vec<Fault>> {
    let mut faults = Faults::default();
    let word = |name: &'static str| child_text(root, name).filter(|text| !text.is_empty());
    let mut draft = Draft {
        info_path: "info.".into(),
        identifier: word("identifier"),
        sender: word("senderCode"),
        sender_name: word("sender").unwrap_or_default(),
        sent: time(root, "sendTime", "", &mut faults),
        status: word("status"),
        msg_type: word("msgType"),
        note: word("note").unwrap_or_default(),
        language: "zh-CN".into(),
        ..Draft::default()
    };
    if draft.sent.is_none() && !faults.has("sendTime") {
        faults.add("sendTime", "missing", "must be given");
        // Said once, under the name that this form has for it.
        draft.sent = Some(Timestamp::default());
    }
    if draft.sender.is_none() {
        faults.add("senderCode", "missing", "must be given");
        draft.sender = Some("-".into());
    }
    references(root, &mut draft, warnings);
    methods(root, &mut draft, warnings);
    match child(root, "info") {
        Some(info) => read_info(&info, &mut draft, &mut faults, warnings),
        None => faults.add("info", "missing", "must be given"),
    }
    check(draft, faults, warnings)
}

/// The identifier of the event's first alert, bare; its sender and time are parts of that identifier.
fn references(root: &Node<'_, '_>, draft: &mut Draft, warnings: &mut Vec<Fault>) {
    let Some(identifier) = child_text(root, "references").filter(|text| !text.is_empty()) else { return };
    let entered = identifier.split('_').nth(1).and_then(compact_time);
    if entered.is_none() {
        warnings.push(Fault::new("references", "reference-without-time", "the identifier names no time; it is matched by itself"));
    }
    let sender = draft.sender.clone().unwrap_or_default();
    draft.references.push(Reference { sender, identifier, sent: entered.unwrap_or_default() });
}

/// Texts for each means; those that this gateway has no channel for are named.
fn methods(root: &Node<'_, '_>, draft: &mut Draft, warnings: &mut Vec<Fault>) {
    let methods = children(root, "code").flat_map(|code| children(&code, "method").collect::<Vec<_>>());
    for (number, method) in methods.enumerate() {
        let name = child_text(&method, "methodName").unwrap_or_default();
        let message = child_text(&method, "message").unwrap_or_default();
        let kind = match name.to_uppercase().as_str() {
            "SMS" => "sms",
            "SPEAKER" => "speaker",
            _ => {
                warnings.push(Fault::new(
                    format!("code.method[{number}]"),
                    "method-without-channel",
                    format!("{name:?} has no channel here"),
                ));
                continue;
            }
        };
        // An empty text means the description.
        if !message.is_empty() {
            draft.texts.insert(kind.to_owned(), message);
        }
    }
}

fn read_info(info: &Node<'_, '_>, draft: &mut Draft, faults: &mut Faults, warnings: &mut Vec<Fault>) {
    let word = |name: &'static str| child_text(info, name).filter(|text| !text.is_empty());
    draft.event = word("eventType");
    if draft.event.is_none() {
        faults.add("info.eventType", "missing", "must be given");
        draft.event = Some("10000".into());
    }
    draft.level = match word("severity").as_deref() {
        Some("Red" | "RED") => Some(Level::Red),
        Some("Orange" | "ORANGE") => Some(Level::Orange),
        Some("Yellow" | "YELLOW") => Some(Level::Yellow),
        Some("Blue" | "BLUE") => Some(Level::Blue),
        other => {
            faults.add("info.severity", "bad-level", format!("{other:?} is not Red, Orange, Yellow or Blue"));
            None
        }
    };
    draft.urgency = word("urgency");
    draft.certainty = word("certainty").map(|word| if word == "VeryLikely" { "Likely".to_owned() } else { word });
    draft.effective = time(info, "effective", "info.", faults);
    draft.onset = time(info, "onset", "info.", faults);
    draft.expires = time(info, "expires", "info.", faults);
    if draft.expires.is_some() && draft.expires == draft.effective {
        // Generators fill in the same time twice when the form names no end.
        warnings.push(Fault::new("info.expires", "no-end", "expires equals effective, which names no end"));
        draft.expires = None;
    }
    draft.headline = word("headline").unwrap_or_default();
    draft.description = word("description").unwrap_or_default();
    draft.instruction = word("instruction").unwrap_or_default();
    draft.web = word("web").unwrap_or_default();
    draft.areas =
        children(info, "area").enumerate().map(|(place, node)| area(&node, format!("info.area[{place}]"), faults, warnings)).collect();
}

fn area(node: &Node<'_, '_>, path: String, faults: &mut Faults, warnings: &mut Vec<Fault>) -> DraftArea {
    let mut draft = DraftArea { name: child_text(node, "areaDesc").unwrap_or_default(), ..DraftArea::default() };
    let codes = child_text(node, "geocode").unwrap_or_default();
    for (place, code) in codes.split([',', '\u{ff0c}']).map(str::trim).filter(|code| !code.is_empty()).enumerate() {
        match code.parse::<AreaCode>() {
            Ok(code) => draft.codes.push(code),
            Err(error) => faults.add(format!("{path}.geocode[{place}]"), "bad-code", error.to_string()),
        }
    }
    if let Some(text) = child_text(node, "polygon").filter(|text| !text.is_empty()) {
        let path = format!("{path}.polygon");
        match points(&text) {
            Some(ring) => {
                warnings.push(Fault::new(
                    path.clone(),
                    "order-of-coordinates",
                    "the order is not stated; the larger number was taken for the longitude",
                ));
                draft.polygons.push((path, Polygon { rings: vec![ring] }));
            }
            None => faults.add(path, "bad-geometry", "must be pairs of coordinates"),
        }
    }
    if let Some(text) = child_text(node, "circle").filter(|text| !text.is_empty()) {
        let path = format!("{path}.circle");
        let (pair, radius) = text.rsplit_once(char::is_whitespace).unwrap_or((&text, ""));
        match (points(pair).filter(|points| points.len() == 1), radius.parse::<f64>()) {
            // This form counts in metres, and a radius of 0 is a point.
            (Some(points), Ok(metres)) => draft.circles.push((path, Circle { center: points[0], radius_km: metres / 1_000.0 })),
            _ => faults.add(path, "bad-geometry", "must be a pair of coordinates and a radius in metres"),
        }
    }
    draft.path = path;
    draft
}

fn points(text: &str) -> Option<Vec<Point>> {
    let pair = |text: &str| {
        let (one, other) = text.split_once([',', '\u{ff0c}'])?;
        let (one, other) = (one.trim().parse::<f64>().ok()?, other.trim().parse::<f64>().ok()?);
        // In China latitudes are 3 to 54 and longitudes 73 to 136.
        let (lat, lon) = if one > other { (other, one) } else { (one, other) };
        Some(Point { lon, lat })
    };
    text.split_whitespace().map(pair).collect()
}

/// `2012-10-25 09:10:26+08:00`; without an offset Beijing time is meant.
fn time(node: &Node<'_, '_>, name: &'static str, path: &str, faults: &mut Faults) -> Option<Timestamp> {
    let text = child_text(node, name).filter(|text| !text.is_empty())?;
    let with_t = text.replacen(' ', "T", 1);
    let parsed = with_t.parse().or_else(|_| format!("{with_t}+08:00").parse()).ok();
    if parsed.is_none() {
        faults.add(format!("{path}{name}"), "bad-time", format!("{text:?} is not of the form 2026-07-23 10:15:00+08:00"));
    }
    parsed
}

/// `20121025091026`, Beijing time, inside identifiers.
pub(super) fn compact_time(digits: &str) -> Option<Timestamp> {
    if digits.len() != 14 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part = |from: usize, to: usize| &digits[from..to];
    let text = format!("{}-{}-{}T{}:{}:{}+08:00", part(0, 4), part(4, 6), part(6, 8), part(8, 10), part(10, 12), part(12, 14));
    text.parse().ok()
}
