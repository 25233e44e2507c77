//! Owns the schema of CAP 1.2 as tables (domain: OASIS CAP-v1.2.xsd), and holding a document against it.
//! Refuses to know values' meaning. Invariant: order, number and names of all elements are as the schema has them, or each breach is named.

use roxmltree::Node;

use crate::fault::Faults;

/// One element of a sequence: name, least and most (0 = any number).
type Part = (&'static str, u32, u32);

const ALERT: &[Part] = &[
    ("identifier", 1, 1),
    ("sender", 1, 1),
    ("sent", 1, 1),
    ("status", 1, 1),
    ("msgType", 1, 1),
    ("source", 0, 1),
    ("scope", 1, 1),
    ("restriction", 0, 1),
    ("addresses", 0, 1),
    ("code", 0, 0),
    ("note", 0, 1),
    ("references", 0, 1),
    ("incidents", 0, 1),
    ("info", 0, 0),
];
const INFO: &[Part] = &[
    ("language", 0, 1),
    ("category", 1, 0),
    ("event", 1, 1),
    ("responseType", 0, 0),
    ("urgency", 1, 1),
    ("severity", 1, 1),
    ("certainty", 1, 1),
    ("audience", 0, 1),
    ("eventCode", 0, 0),
    ("effective", 0, 1),
    ("onset", 0, 1),
    ("expires", 0, 1),
    ("senderName", 0, 1),
    ("headline", 0, 1),
    ("description", 0, 1),
    ("instruction", 0, 1),
    ("web", 0, 1),
    ("contact", 0, 1),
    ("parameter", 0, 0),
    ("resource", 0, 0),
    ("area", 0, 0),
];
const RESOURCE: &[Part] =
    &[("resourceDesc", 1, 1), ("mimeType", 1, 1), ("size", 0, 1), ("uri", 0, 1), ("derefUri", 0, 1), ("digest", 0, 1)];
const AREA: &[Part] = &[("areaDesc", 1, 1), ("polygon", 0, 0), ("circle", 0, 0), ("geocode", 0, 0), ("altitude", 0, 1), ("ceiling", 0, 1)];
const VALUE: &[Part] = &[("valueName", 1, 1), ("value", 1, 1)];

pub(super) const XMLDSIG: &str = "http://www.w3.org/2000/09/xmldsig#";

pub(super) fn judge(alert: &Node<'_, '_>, faults: &mut Faults) {
    sequence(alert, "", ALERT, true, faults);
    simple_parts(alert, faults);
    for (number, info) in named(alert, "info").enumerate() {
        let path = format!("info[{number}]");
        sequence(&info, &path, INFO, false, faults);
        for below in ["eventCode", "parameter"] {
            for (place, value) in named(&info, below).enumerate() {
                sequence(&value, &format!("{path}.{below}[{place}]"), VALUE, false, faults);
            }
        }
        for (place, resource) in named(&info, "resource").enumerate() {
            let path = format!("{path}.resource[{place}]");
            sequence(&resource, &path, RESOURCE, false, faults);
            let size = super::node::child_text(&resource, "size");
            if size.is_some_and(|size| size.parse::<i128>().is_err()) {
                faults.add(format!("{path}.size"), "bad-number", "must be a whole number of bytes");
            }
        }
        for (place, area) in named(&info, "area").enumerate() {
            let path = format!("{path}.area[{place}]");
            sequence(&area, &path, AREA, false, faults);
            for (nth, geocode) in named(&area, "geocode").enumerate() {
                sequence(&geocode, &format!("{path}.geocode[{nth}]"), VALUE, false, faults);
            }
            for height in ["altitude", "ceiling"] {
                let text = named(&area, height).next().map(|node| super::node::text(&node).trim().to_owned());
                if text.is_some_and(|text| text.parse::<f64>().is_err() || text.contains(['e', 'E', 'n', 'N'])) {
                    faults.add(format!("{path}.{height}"), "bad-number", "must be a decimal number of feet");
                }
            }
        }
    }
}

/// Elements that hold others; all the rest hold text alone.
const HOLDERS: &[&str] = &["alert", "info", "resource", "area", "eventCode", "parameter", "geocode"];
/// Where a document may say which schema it follows.
const XSI: &str = "http://www.w3.org/2001/XMLSchema-instance";

/// No element has attributes, and those of text hold no elements.
fn simple_parts(alert: &Node<'_, '_>, faults: &mut Faults) {
    let own = alert.tag_name().namespace();
    for node in alert.descendants().filter(|node| node.is_element() && node.tag_name().namespace() == own) {
        let name = node.tag_name().name();
        for attribute in node.attributes().filter(|attribute| attribute.namespace() != Some(XSI)) {
            faults.add(
                place_of(&node),
                "unknown-attribute",
                format!("{:?} is no attribute of CAP 1.2; elements have none", attribute.name()),
            );
        }
        if !HOLDERS.contains(&name) && node.children().any(|child| child.is_element()) {
            faults.add(place_of(&node), "element-in-text", "holds an element where only text may stand");
        }
        if name == "language" && super::node::text(&node).trim().is_empty() {
            faults.add(place_of(&node), "bad-value", "is blank; leave it out, or give a language tag such as zh-CN");
        }
    }
}

/// `info[1].headline`, as far as it lies in an info.
fn place_of(node: &Node<'_, '_>) -> String {
    let name = node.tag_name().name();
    let info = node.ancestors().skip(1).find(|above| above.tag_name().name() == "info");
    let number = info.map(|info| info.prev_siblings().skip(1).filter(|before| before.tag_name().name() == "info").count());
    number.map_or_else(|| name.to_owned(), |number| format!("info[{number}].{name}"))
}

fn named<'a, 'd: 'a>(node: &Node<'a, 'd>, name: &'static str) -> impl Iterator<Item = Node<'a, 'd>> + use<'a, 'd> {
    super::node::children(node, name)
}

/// Order first: an element that comes after a later one of the table stands wrong.
fn sequence(node: &Node<'_, '_>, path: &str, parts: &[Part], signature_allowed: bool, faults: &mut Faults) {
    let at = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    let namespace = node.tag_name().namespace();
    let mut counts = vec![0_u32; parts.len()];
    let mut reached = 0;
    for child in node.children().filter(Node::is_element) {
        let name = child.tag_name().name();
        if child.tag_name().namespace() != namespace {
            let is_signature = signature_allowed && child.tag_name().namespace() == Some(XMLDSIG);
            if !is_signature {
                faults.add(at(name), "foreign-element", "is an element of another namespace");
            }
            continue;
        }
        let Some(place) = parts.iter().position(|(known, ..)| *known == name) else {
            faults.add(at(name), "unknown-element", "is not an element of CAP 1.2 here");
            continue;
        };
        if place < reached {
            faults.add(at(name), "wrong-order", format!("must stand before {}", parts[reached].0));
        }
        reached = reached.max(place);
        counts[place] += 1;
    }
    for (&(name, least, most), count) in parts.iter().zip(counts) {
        if count < least {
            faults.add(at(name), "missing", "must be given");
        } else if most > 0 && count > most {
            faults.add(at(name), "given-twice", format!("stands {count} times; at most {most}"));
        }
    }
    let stray: String = node.children().filter(Node::is_text).filter_map(|piece| piece.text()).collect();
    if !stray.trim().is_empty() {
        faults.add(path, "stray-text", "text stands between the elements");
    }
}
