//! Owns the exchange form of the national platform (12379): like CAP, with its own dates, colours, lists and units.
//! Refuses to know transport. Invariant: what it cannot say exactly (order of coordinates, an open line) is a warning or a fault, never a silent guess.

use std::collections::HashSet;

use roxmltree::Node;

mod form;
mod place;
#[cfg(test)]
mod tests;

use super::{
    Alert, Level, Reference,
    cap::node::{child, child_text, children},
    check::{Draft, check},
};
use crate::{
    fault::{Fault, Faults},
    time::Timestamp,
};

/// As many as anybody reads of a fault that is the same each time.
const INFOS_NAMED_MAX: usize = 10;
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
        sender_name: one_line(word("sender")),
        sent: time(root, "sendTime", "", &mut faults),
        status: word("status"),
        msg_type: word("msgType"),
        note: word("note").unwrap_or_default(),
        language: child(root, "info")
            .and_then(|info| child_text(&info, "language"))
            .filter(|text| !text.is_empty())
            .unwrap_or("zh-CN".into()),
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
    form::openness(root, &mut faults);
    form::oddities(root, &draft, warnings);
    references(root, &mut draft, warnings);
    methods(root, &mut draft, warnings);
    match child(root, "info") {
        Some(info) => read_info(&info, &mut draft, &mut faults, warnings),
        None => faults.add("info", "missing", "must be given"),
    }
    // The form has one; of several only one could be told, and which of them matters most only its author knows.
    for number in 1..children(root, "info").count().min(INFOS_NAMED_MAX) {
        let message = "this form has one info: send each as a document of its own, or all of them as CAP";
        faults.add(format!("info[{number}]"), "several-infos", message);
    }
    check(draft, faults, warnings)
}

/// Identifiers of alerts of the event, bare; their sender and time are parts of that identifier.
fn references(root: &Node<'_, '_>, draft: &mut Draft, warnings: &mut Vec<Fault>) {
    let Some(identifiers) = child_text(root, "references") else { return };
    let mut known = HashSet::new();
    let each = identifiers.split([' ', '\t', '\n', '\r', ',', '\u{ff0c}', ';']).filter(|text| !text.is_empty());
    for identifier in each.filter(|text| known.insert(*text)) {
        let entered = identifier.split('_').nth(1).and_then(compact_time);
        if entered.is_none() {
            warnings.push(Fault::new("references", "reference-without-time", "the identifier names no time; it is matched by itself"));
        }
        let (sender, identifier) = (draft.sender.clone().unwrap_or_default(), identifier.to_owned());
        draft.references.push(Reference { sender, identifier, sent: entered.unwrap_or_default() });
    }
}

/// Texts for each means; those that this gateway has no channel for are named.
fn methods(root: &Node<'_, '_>, draft: &mut Draft, warnings: &mut Vec<Fault>) {
    let methods = children(root, "code").flat_map(|code| children(&code, "method").collect::<Vec<_>>());
    for (number, method) in methods.enumerate() {
        let name = child_text(&method, "methodName").unwrap_or_default();
        let message = child_text(&method, "message").unwrap_or_default();
        for group in child_text(&method, "audienceGrp").unwrap_or_default().split([',', '\u{ff0c}']).map(str::trim) {
            if !group.is_empty() && !draft.groups.iter().any(|known| known == group) {
                draft.groups.push(group.to_owned());
            }
        }
        if child_text(&method, "audiencePrt").is_some_and(|text| !text.is_empty()) {
            let message = "single receivers are not told by their numbers; the registry says who is told";
            warnings.push(Fault::new(format!("code.method[{number}].audiencePrt"), "receivers-not-used", message));
        }
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
            match draft.texts.entry(kind.to_owned()) {
                std::collections::btree_map::Entry::Vacant(free) => drop(free.insert(message)),
                std::collections::btree_map::Entry::Occupied(first) if *first.get() == message => {}
                std::collections::btree_map::Entry::Occupied(_) => warnings.push(Fault::new(
                    format!("code.method[{number}].message"),
                    "several-texts",
                    format!("another text for {name}; the first is used"),
                )),
            }
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
            let headline = word("headline").unwrap_or_default();
            let named = Level::ALL.into_iter().filter(|level| headline.contains(level.chinese())).collect::<Vec<_>>();
            match (other, named.as_slice()) {
                (Some("Unknown" | "UNKNOWN"), [one]) => {
                    warnings.push(Fault::new("info.severity", "level-assumed", "the level is taken from the colour in the headline"));
                    Some(*one)
                }
                _ => {
                    let given: String = other.unwrap_or_default().chars().take(60).collect();
                    faults.add("info.severity", "bad-level", format!("{given:?} is not Red, Orange, Yellow or Blue"));
                    None
                }
            }
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
    draft.headline = one_line(word("headline"));
    draft.description = word("description").unwrap_or_default();
    draft.instruction = word("instruction").unwrap_or_default();
    draft.web = one_line(word("web"));
    draft.areas = children(info, "area")
        .enumerate()
        .map(|(place, node)| place::area(&node, format!("info.area[{place}]"), faults, warnings))
        .collect();
}

/// `2012-10-25 09:10:26+08:00`; without an offset Beijing time is meant.
fn time(node: &Node<'_, '_>, name: &'static str, path: &str, faults: &mut Faults) -> Option<Timestamp> {
    let text = child_text(node, name).filter(|text| !text.is_empty())?;
    let with_t = text.replacen(' ', "T", 1);
    let parsed = Timestamp::from_document(&with_t).or_else(|_| Timestamp::from_document(&format!("{with_t}+08:00"))).ok();
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
    Timestamp::from_document(&text).ok()
}

/// White space of a document's layout is one blank.
fn one_line(text: Option<String>) -> String {
    text.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
}
