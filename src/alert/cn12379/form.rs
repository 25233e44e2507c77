//! Owns what the form of 12379 asks of a document beyond what makes it a warning (domain reference 2.1).
//! Refuses to know geometry. Invariant: only what would tell the wrong people is a fault here; the rest is a warning.

use roxmltree::Node;

use super::compact_time;
use crate::{
    alert::{
        cap::node::{child_text, children},
        check::Draft,
    },
    fault::{Fault, Faults},
};

/// Elements of the root and of `info`. `phone` and `senderName` are persons' data: they are known, and not kept.
const ELEMENTS: &[&str] = &[
    "identifier",
    "sender",
    "senderCode",
    "phone",
    "sendTime",
    "status",
    "msgType",
    "scope",
    "code",
    "secClassification",
    "note",
    "references",
    "info",
    "language",
    "eventType",
    "urgency",
    "severity",
    "certainty",
    "effective",
    "onset",
    "expires",
    "senderName",
    "headline",
    "description",
    "instruction",
    "web",
    "resource",
    "area",
];

/// What is for offices alone must not reach the public by this gateway.
pub(super) fn openness(root: &Node<'_, '_>, faults: &mut Faults) {
    for (name, open, closed) in [("secClassification", "None", &["Inner"][..]), ("scope", "Public", &["Restricted", "Private"])] {
        match child_text(root, name).as_deref() {
            None | Some("") => {}
            Some(word) if word == open => {}
            Some(word) if closed.contains(&word) => faults.add(name, "not-public", format!("{word}: only public warnings are passed on")),
            Some(word) => faults.add(name, "bad-value", format!("{word:?} is not one of {open}, {}", closed.join(", "))),
        }
    }
}

/// What breaks the description of the form without making the warning another one.
pub(super) fn oddities(root: &Node<'_, '_>, draft: &Draft, warnings: &mut Vec<Fault>) {
    let mut warn = |path: &str, rule: &'static str, message: &str| warnings.push(Fault::new(path, rule, message));
    if draft.sender.as_deref().is_some_and(|code| code.len() != 14 || !code.bytes().all(|byte| byte.is_ascii_alphanumeric())) {
        warn("senderCode", "odd-sender-code", "is not a code of 14 characters");
    }
    let named = draft.identifier.as_deref().zip(draft.sender.as_deref());
    if named.is_some_and(|(identifier, sender)| !has_its_form(identifier, sender)) {
        warn("identifier", "odd-identifier", "is not the sender's code, an underscore and the time of entry");
    }
    if draft.sender_name.is_empty() {
        warn("sender", "sender-not-named", "the issuing office is not named");
    }
    for node in root.children().chain(children(root, "info").flat_map(|info| info.children())).filter(Node::is_element) {
        let name = node.tag_name().name();
        if !ELEMENTS.contains(&name) {
            warn(name, "unknown-element", "is not an element of this form");
        }
    }
    // Scans of the signed paper, for offices: nothing here depends on them, so their sizes ("84k") and digests are not judged.
    let files = children(root, "info").flat_map(|info| children(&info, "resource")).count();
    if files > 0 {
        warn("info.resource", "attachments-not-used", &format!("{files} attached files are not passed on"));
    }
}

/// `51072641600000_20260723101500`, and a digit after another underscore.
fn has_its_form(identifier: &str, sender: &str) -> bool {
    let mut parts = identifier.split('_');
    parts.next() == Some(sender)
        && parts.next().and_then(compact_time).is_some()
        && parts.next().is_none_or(|tail| tail.len() == 1 && tail.bytes().all(|byte| byte.is_ascii_digit()))
        && parts.next().is_none()
}
