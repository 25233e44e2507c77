//! Owns what an entry is in each form of wrapper. Refuses to know bounds, which `List` holds.
//! Invariant: an entry without an alert and without a link to follow is left out, never invented.
//! Sources: EDXL-DE 1.0 section 3.2 (and the 2.0 names), RFC 4287 section 4, RSS 2.0.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use roxmltree::Node;

use super::{Entry, List, inline};
use crate::{alert::cap::node::text, fault::Fault, time::Timestamp};

/// The type that CAP has among media types.
const CAP_TYPE: &str = "application/cap+xml";
/// A title is for people and logs.
const TITLE_CHARS_MAX: usize = 300;

/// One entry for each content object that is CAP.
pub(super) fn edxl(root: &Node<'_, '_>, list: &mut List) -> Result<(), Fault> {
    let id = child_text(root, "distributionID").unwrap_or_default();
    let updated = child_text(root, "dateTimeSent").and_then(|text| text.parse().ok());
    let objects = root.descendants().filter(|node| node.is_element() && node.tag_name().name() == "contentObject");
    let mut number = 0_usize;
    for object in objects {
        let title = one_line(child_text(&object, "contentDescription"));
        let linked = descendant(&object, "uri").map(|node| text(&node).trim().to_owned()).filter(|_| is_cap_content(&object));
        let mut alerts = inline::alerts(&object);
        alerts.extend(descendant(&object, "contentData").filter(|_| is_cap_content(&object)).and_then(|node| decoded(&node)));
        let link = if alerts.is_empty() { linked.filter(|link| !link.is_empty()) } else { None };
        let found = alerts.into_iter().map(Some).chain(link.is_some().then_some(None));
        for alert in found {
            list.push(Entry { id: format!("{id}#{number}"), updated, title: title.clone(), link: link.clone(), alert })?;
            number += 1;
        }
    }
    Ok(())
}

/// Content that is not embedded says by its media type whether it is an alert.
fn is_cap_content(object: &Node<'_, '_>) -> bool {
    descendant(object, "mimeType").is_some_and(|node| text(&node).trim().eq_ignore_ascii_case(CAP_TYPE))
}

fn decoded(node: &Node<'_, '_>) -> Option<Vec<u8>> {
    let packed: String = text(node).split_whitespace().collect();
    STANDARD.decode(packed).ok()
}

pub(super) fn atom(root: &Node<'_, '_>, list: &mut List) -> Result<(), Fault> {
    let is_entry =
        |node: &Node<'_, '_>| node.is_element() && node.tag_name() == (root.tag_name().namespace().unwrap_or_default(), "entry").into();
    if is_entry(root) {
        return atom_entry(root, list);
    }
    root.children().filter(is_entry).try_for_each(|entry| atom_entry(&entry, list))
}

fn atom_entry(entry: &Node<'_, '_>, list: &mut List) -> Result<(), Fault> {
    let content = child(entry, "content");
    let mut alerts = inline::alerts(entry);
    alerts.extend(content.as_ref().and_then(inline::as_text));
    let source = content.and_then(|node| node.attribute("src").map(ToOwned::to_owned));
    let found = Found {
        id: child_text(entry, "id"),
        updated: child_text(entry, "updated").and_then(|text| text.parse().ok()),
        title: one_line(child_text(entry, "title")),
        link: atom_link(entry).or(source),
        alerts,
    };
    found.push_to(list)
}

/// The link that says it is CAP; else one that says it is XML; else the plain one. Pages for people come last.
fn atom_link(entry: &Node<'_, '_>) -> Option<String> {
    let rank = |link: &Node<'_, '_>| {
        let kind = link.attribute("type").unwrap_or_default();
        let rel = link.attribute("rel").unwrap_or("alternate");
        match (kind, rel) {
            (kind, _) if kind.starts_with(CAP_TYPE) => Some(0),
            (kind, "alternate" | "enclosure" | "related" | "via") if kind.contains("xml") && !kind.contains("html") => Some(1),
            ("", "alternate") => Some(2),
            ("", "enclosure" | "via") => Some(3),
            (_, "alternate") => Some(4),
            _ => None,
        }
    };
    let links = entry.children().filter(|node| node.is_element() && node.tag_name().name() == "link");
    let ranked = links.filter_map(|link| Some((rank(&link)?, link.attribute("href")?.trim().to_owned())));
    ranked.filter(|(_, href)| !href.is_empty()).min_by_key(|(rank, _)| *rank).map(|(_, href)| href)
}

pub(super) fn rss(root: &Node<'_, '_>, list: &mut List) -> Result<(), Fault> {
    let channels = root.children().filter(|node| node.has_tag_name("channel"));
    let items = channels.flat_map(|channel| channel.children().filter(|node| node.has_tag_name("item")).collect::<Vec<_>>());
    items.into_iter().try_for_each(|item| rss_item(&item, list))
}

fn rss_item(item: &Node<'_, '_>, list: &mut List) -> Result<(), Fault> {
    let enclosure = item.children().filter(|node| node.has_tag_name("enclosure"));
    let cap = enclosure.filter(|node| node.attribute("type").is_some_and(|kind| kind.starts_with(CAP_TYPE)));
    let enclosed = cap.filter_map(|node| node.attribute("url").map(ToOwned::to_owned)).next();
    let mut alerts = inline::alerts(item);
    // `description` and `content:encoded` carry it as text.
    let texts = item.children().filter(|node| matches!(node.tag_name().name(), "description" | "encoded"));
    alerts.extend(texts.filter_map(|node| inline::as_text(&node)).take(1));
    let found = Found {
        id: child_text(item, "guid"),
        updated: child_text(item, "pubDate").and_then(|text| mail_time(&text)),
        title: one_line(child_text(item, "title")),
        link: enclosed.or_else(|| child_text(item, "link").filter(|link| !link.is_empty())),
        alerts,
    };
    found.push_to(list)
}

/// An entry of a feed before it is known how many alerts it holds.
struct Found {
    id: Option<String>,
    updated: Option<Timestamp>,
    title: String,
    link: Option<String>,
    alerts: Vec<Vec<u8>>,
}

impl Found {
    fn push_to(self, list: &mut List) -> Result<(), Fault> {
        let place = list.entries.len();
        let Self { id, updated, title, link, mut alerts } = self;
        let id = id.filter(|id| !id.is_empty()).or_else(|| link.clone()).unwrap_or_else(|| format!("entry[{place}]"));
        if alerts.len() <= 1 {
            let alert = alerts.pop();
            if alert.is_none() && link.is_none() {
                return Ok(());
            }
            return list.push(Entry { id, updated, title, link, alert });
        }
        let numbered = alerts.into_iter().enumerate();
        numbered.into_iter().try_for_each(|(number, alert)| {
            list.push(Entry { id: format!("{id}#{number}"), updated, title: title.clone(), link: link.clone(), alert: Some(alert) })
        })
    }
}

/// RFC 2822, as RSS has it.
fn mail_time(text: &str) -> Option<Timestamp> {
    let zoned = jiff::fmt::rfc2822::parse(text).ok()?;
    Some(Timestamp::from_ms(zoned.timestamp().as_millisecond()))
}

fn child<'a, 'd>(node: &Node<'a, 'd>, name: &str) -> Option<Node<'a, 'd>> {
    let namespace = node.tag_name().namespace();
    node.children().find(|child| child.is_element() && child.tag_name().name() == name && child.tag_name().namespace() == namespace)
}

fn descendant<'a, 'd>(node: &Node<'a, 'd>, name: &str) -> Option<Node<'a, 'd>> {
    node.descendants().find(|below| below.is_element() && below.tag_name().name() == name)
}

fn child_text(node: &Node<'_, '_>, name: &str) -> Option<String> {
    child(node, name).map(|child| text(&child).trim().to_owned())
}

fn one_line(text: Option<String>) -> String {
    text.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ").chars().take(TITLE_CHARS_MAX).collect()
}
