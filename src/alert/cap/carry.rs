//! Owns what is read out of a CAP document only to be written again, and naming what is not.
//! Refuses to know what any of it means. Invariant: every element of the schema is either used, carried, or named as left out.

use std::collections::BTreeSet;

use roxmltree::Node;

use super::{
    meanings,
    node::{child, child_text, children, text},
};
use crate::{
    alert::{Carried, Named, Resource, reading::Vocabulary},
    fault::Fault,
};

/// Parameters of this program's own, which fields of the alert stand for.
const OWN: &str = "lastmile:";

pub(super) fn of_alert(root: &Node<'_, '_>, carried: &mut Carried) {
    carried.source = one_line(child_text(root, "source"));
    carried.incidents = one_line(child_text(root, "incidents"));
    carried.codes = children(root, "code").map(|code| text(&code).trim().to_owned()).filter(|code| !code.is_empty()).collect();
}

pub(super) fn of_info(info: &Node<'_, '_>, vocabulary: &Vocabulary, event: Option<&str>, carried: &mut Carried) {
    carried.audience = one_line(child_text(info, "audience"));
    let is_ours = |one: &Named| vocabulary.event_value_names.contains(&one.name) && Some(one.value.as_str()) == event;
    carried.event_codes = named(info, "eventCode").filter(|one| !is_ours(one)).collect();
    carried.parameters = named(info, "parameter").filter(|one| !one.name.starts_with(OWN)).collect();
    carried.resources = children(info, "resource").map(|node| resource(&node)).collect();
}

fn named<'a, 'd: 'a>(info: &Node<'a, 'd>, name: &'static str) -> impl Iterator<Item = Named> + use<'a, 'd> {
    let read = |node: Node<'_, '_>| Some(Named { name: child_text(&node, "valueName")?, value: child_text(&node, "value")? });
    children(info, name).filter_map(read)
}

fn resource(node: &Node<'_, '_>) -> Resource {
    let word = |name: &'static str| one_line(child_text(node, name));
    Resource {
        description: word("resourceDesc"),
        mime_type: word("mimeType"),
        size: word("size"),
        uri: word("uri"),
        digest: word("digest"),
    }
}

/// One warning that names the elements which do not go out again.
pub(super) fn left_out(root: &Node<'_, '_>) -> Option<Fault> {
    let mut names: BTreeSet<String> = BTreeSet::new();
    for name in ["restriction", "addresses"] {
        names.extend(child(root, name).map(|_| name.to_owned()));
    }
    let infos: Vec<Node<'_, '_>> = children(root, "info").collect();
    let firsts: Vec<usize> = meanings::meanings(&infos).iter().map(|meaning| meaning.first).collect();
    for (number, info) in infos.iter().enumerate() {
        let of_first = firsts.contains(&number);
        // Of other languages the words are kept; what stands beside them is that of the first.
        for name in ["senderName", "web", "contact", "parameter", "resource"].into_iter().filter(|_| !of_first) {
            let differs = |node: &Node<'_, '_>| {
                firsts
                    .first()
                    .and_then(|first| infos.get(*first))
                    .is_none_or(|first| !children(first, name).any(|other| one_line(Some(text(&other))) == one_line(Some(text(node)))))
            };
            if children(info, name).any(|node| differs(&node)) {
                names.insert(format!("info[{number}].{name}"));
            }
        }
        let has_content = children(info, "resource").any(|file| child(&file, "derefUri").is_some());
        names.extend(has_content.then(|| format!("info[{number}].resource.derefUri")));
        for name in ["altitude", "ceiling"] {
            let stands = children(info, "area").any(|area| child(&area, name).is_some());
            names.extend(stands.then(|| format!("info[{number}].area.{name}")));
        }
    }
    let list = names.into_iter().collect::<Vec<_>>().join(", ");
    (!list.is_empty()).then(|| Fault::new("", "not-carried", format!("do not go out again when this is written as CAP: {list}")))
}

fn one_line(said: Option<String>) -> String {
    said.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
}
