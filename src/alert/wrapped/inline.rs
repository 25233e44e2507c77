//! Owns cutting an alert out of its wrapper. Refuses to know wrappers' own elements.
//! Invariant: the bytes between the tags are those of the wrapper; only declarations of namespaces are added to the first tag.

use quick_xml::{Reader, escape::escape, events::Event};
use roxmltree::Node;

/// The alerts below a node, outermost only, each as a document of its own.
pub(super) fn alerts(node: &Node<'_, '_>) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let mut open: Vec<Node<'_, '_>> = node.children().filter(Node::is_element).collect();
    open.reverse();
    while let Some(next) = open.pop() {
        if super::alert_format(&next).is_some() {
            found.push(alone(&next));
        } else {
            let mut below: Vec<Node<'_, '_>> = next.children().filter(Node::is_element).collect();
            below.reverse();
            open.append(&mut below);
        }
    }
    found
}

/// An alert that stands in an element as text (escaped or CDATA).
pub(super) fn as_text(node: &Node<'_, '_>) -> Option<Vec<u8>> {
    let text: String = node.children().filter(Node::is_text).filter_map(|piece| piece.text()).collect();
    let text = text.trim();
    let is_xml = text.starts_with("<?xml") || (text.starts_with('<') && text.chars().take(200).collect::<String>().contains("alert"));
    is_xml.then(|| text.as_bytes().to_vec())
}

fn alone(node: &Node<'_, '_>) -> Vec<u8> {
    let source = &node.document().input_text()[node.range()];
    let own = declared_by(source);
    let mut declarations = String::new();
    for namespace in node.namespaces() {
        let name = namespace.name().map_or_else(|| "xmlns".to_owned(), |name| format!("xmlns:{name}"));
        if namespace.name() != Some("xml") && !own.contains(&name) {
            declarations.push_str(&format!(" {name}=\"{}\"", escape(namespace.uri())));
        }
    }
    let after_name = source.find([' ', '\t', '\r', '\n', '/', '>']).unwrap_or(source.len());
    [&source[..after_name], &declarations, &source[after_name..]].concat().into_bytes()
}

/// Names of the declarations in the first tag itself.
fn declared_by(source: &str) -> Vec<String> {
    let mut reader = Reader::from_str(source);
    match reader.read_event() {
        Ok(Event::Start(start) | Event::Empty(start)) => start
            .attributes()
            .with_checks(false)
            .flatten()
            .map(|attribute| attribute.key.as_ref().to_owned())
            .filter(|name| name == "xmlns" || name.starts_with("xmlns:"))
            .collect(),
        _ => Vec::new(),
    }
}
