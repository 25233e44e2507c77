//! Owns CAP: which dialect a document is, reading it (1.2 by its schema, 1.1 and 1.0 leniently), and writing CAP 1.2.
//! Refuses to know JSON. Invariant: what `write` gives is valid by the schema and reads back to the same alert.

mod carry;
mod meanings;
pub(in crate::alert) mod node;
mod read;
mod schema;
mod write;

use roxmltree::{Document, Node};

use super::{
    cn12379,
    reading::{Format, Reading, Vocabulary},
};
use crate::fault::Fault;

pub use write::write;

pub(super) const CAP12: &str = "urn:oasis:names:tc:emergency:cap:1.2";
const CAP11: &str = "urn:oasis:names:tc:emergency:cap:1.1";
const CAP10: &[&str] = &["http://www.incident.com/cap/1.0", "urn:oasis:names:tc:emergency:cap:1.0"];

/// Reads an XML document by its root's namespace.
pub(super) fn read(document: &Document<'_>, vocabulary: &Vocabulary) -> Reading {
    let root = document.root_element();
    let namespace = root.tag_name().namespace().unwrap_or_default();
    let mut warnings = Vec::new();
    match format_of(&root) {
        Some(format) => {
            let outcome = match format {
                Format::Cn12379 => cn12379::read(&root, &mut warnings).map(|alert| vec![(String::new(), alert)]),
                _ => read::read(&root, format, vocabulary, &mut warnings),
            };
            Reading::of_several(format, outcome, warnings)
        }
        None => {
            let message = format!("the root is {} of namespace {namespace:?}, which is no alert document", root.tag_name().name());
            Reading::of_one(None, Err(vec![Fault::new("", "not-an-alert", message)]), warnings)
        }
    }
}

/// Which form of alert an element is, by its name and namespace; `None` when it is none.
pub(super) fn format_of(node: &Node<'_, '_>) -> Option<Format> {
    if node.tag_name().name() != "alert" {
        return None;
    }
    match node.tag_name().namespace().unwrap_or_default() {
        CAP12 => Some(Format::Cap12),
        CAP11 => Some(Format::Cap11),
        other if CAP10.contains(&other) => Some(Format::Cap10),
        other if cn12379::is_its_namespace(other) => Some(Format::Cn12379),
        "" if cn12379::looks_like(node) => Some(Format::Cn12379),
        _ => None,
    }
}
