//! Owns small readings of XML nodes. Refuses to know what elements mean.

use roxmltree::Node;

/// All text below a node, CDATA included; comments are not text.
pub(in crate::alert) fn text(node: &Node<'_, '_>) -> String {
    node.descendants().filter(Node::is_text).filter_map(|piece| piece.text()).collect()
}

/// Child elements of this name, in the parent's own namespace.
pub(in crate::alert) fn children<'a, 'd: 'a>(node: &Node<'a, 'd>, name: &'static str) -> impl Iterator<Item = Node<'a, 'd>> + use<'a, 'd> {
    let namespace = node.tag_name().namespace();
    node.children().filter(move |child| child.is_element() && child.tag_name().name() == name && child.tag_name().namespace() == namespace)
}

pub(in crate::alert) fn child<'a, 'd: 'a>(node: &Node<'a, 'd>, name: &'static str) -> Option<Node<'a, 'd>> {
    children(node, name).next()
}

/// Trimmed text of the first child of this name; `None` when there is none.
pub(in crate::alert) fn child_text(node: &Node<'_, '_>, name: &'static str) -> Option<String> {
    child(node, name).map(|child| text(&child).trim().to_owned())
}
