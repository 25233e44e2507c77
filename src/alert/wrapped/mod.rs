//! Owns documents that hold alerts or point to them: EDXL-DE distributions, Atom and RSS 2.0 feeds.
//! Refuses to know how a link is fetched and what an alert says. Invariant: bounded like an alert document; an inline alert is given
//! with every namespace that the wrapper declared for it, so that it reads alone as it reads inside.

mod feeds;
mod inline;

use quick_xml::{Reader, events::Event};
use roxmltree::{Document, Node};

use super::{
    reading::{Format, Limits, Reading, Vocabulary},
    scan,
};
use crate::{fault::Fault, time::Timestamp};

/// Entries of one wrapper; the largest national feeds list under 2,000 alerts at a time.
pub const ENTRIES_MAX: usize = 5_000;
/// Declarations copied to each inline alert may make the sum larger than the wrapper; beyond this factor it is an attack.
const GROWTH_MAX: usize = 2;

/// One alert of a wrapper, inline or elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What the wrapper calls it (Atom `id`, RSS `guid`, EDXL `distributionID` and place), else its link; stable from one look to the next.
    pub id: String,
    pub updated: Option<Timestamp>,
    /// On one line; may be empty.
    pub title: String,
    /// Where the document is, as written: relative to the address of the wrapper.
    pub link: Option<String>,
    /// The inline alert as a document of its own, in UTF-8.
    pub alert: Option<Vec<u8>>,
}

/// Which form of wrapper a document is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    EdxlDe,
    Atom,
    Rss,
}

impl Kind {
    pub const fn name(self) -> &'static str {
        match self {
            Self::EdxlDe => "EDXL-DE distribution",
            Self::Atom => "Atom feed",
            Self::Rss => "RSS feed",
        }
    }

    fn of(name: &str, namespace: &str) -> Option<Self> {
        match name {
            "EDXLDistribution" if namespace.starts_with("urn:oasis:names:tc:emergency:EDXL:DE:") => Some(Self::EdxlDe),
            "feed" | "entry" if namespace == "http://www.w3.org/2005/Atom" => Some(Self::Atom),
            "rss" if namespace.is_empty() => Some(Self::Rss),
            _ => None,
        }
    }
}

/// Whether a document looks like a wrapper, by the name of its root alone; `entries` decides.
pub fn is_wrapper(bytes: &[u8]) -> bool {
    let Some(head) = scan::head(bytes) else { return false };
    let mut reader = Reader::from_str(&head);
    loop {
        match reader.read_event() {
            Ok(Event::Start(start) | Event::Empty(start)) => {
                return matches!(start.local_name().as_ref(), "EDXLDistribution" | "feed" | "entry" | "rss");
            }
            Ok(Event::Eof) | Err(_) => return false,
            Ok(_) => {}
        }
    }
}

/// Every alert that a wrapper holds or points to, in its order. Entries with neither are left out.
pub fn entries(bytes: &[u8], limits: &Limits) -> Result<Vec<Entry>, Vec<Fault>> {
    if bytes.len() > limits.bytes_max {
        let message = format!("{} bytes; at most {} are read", bytes.len(), limits.bytes_max);
        return Err(vec![Fault::new("", "too-large", message)]);
    }
    let text = scan::scan(bytes, limits).map_err(|fault| vec![fault])?;
    let document =
        Document::parse(&text).map_err(|error| vec![Fault::new(format!("line {}", error.pos().row), "not-xml", error.to_string())])?;
    let Some(kind) = kind(&document.root_element()) else {
        return Err(vec![Fault::new("", "not-a-wrapper", "the root is neither an EDXL-DE distribution nor an Atom or RSS feed")]);
    };
    of_document(kind, &document, limits).map_err(|fault| vec![fault])
}

pub(super) fn kind(root: &Node<'_, '_>) -> Option<Kind> {
    Kind::of(root.tag_name().name(), root.tag_name().namespace().unwrap_or_default())
}

fn of_document(kind: Kind, document: &Document<'_>, limits: &Limits) -> Result<Vec<Entry>, Fault> {
    let root = document.root_element();
    let mut list = List { entries: Vec::new(), left: limits.bytes_max.saturating_mul(GROWTH_MAX) };
    match kind {
        Kind::EdxlDe => feeds::edxl(&root, &mut list)?,
        Kind::Atom => feeds::atom(&root, &mut list)?,
        Kind::Rss => feeds::rss(&root, &mut list)?,
    }
    Ok(list.entries)
}

/// The entries so far, and the bytes that may still be copied.
struct List {
    entries: Vec<Entry>,
    left: usize,
}

impl List {
    fn push(&mut self, entry: Entry) -> Result<(), Fault> {
        if self.entries.len() == ENTRIES_MAX {
            return Err(Fault::new("", "too-many-entries", format!("more than {ENTRIES_MAX} entries")));
        }
        let bytes = entry.alert.as_ref().map_or(0, Vec::len);
        let too_large = || Fault::new("", "too-large", "the alerts inside, each with its namespaces, are too large together");
        self.left = self.left.checked_sub(bytes).ok_or_else(too_large)?;
        self.entries.push(entry);
        Ok(())
    }
}

/// A wrapper posted as if it were an alert: read when exactly one alert stands in it.
pub(super) fn read(kind: Kind, document: &Document<'_>, limits: &Limits, vocabulary: &Vocabulary) -> Reading {
    let refused = |fault: Fault| Reading::of_one(None, Err(vec![fault]), Vec::new());
    let entries = match of_document(kind, document, limits) {
        Ok(entries) => entries,
        Err(fault) => return refused(fault),
    };
    let name = kind.name();
    let links = entries.iter().filter(|entry| entry.alert.is_none()).count();
    let mut inline: Vec<Vec<u8>> = entries.into_iter().filter_map(|entry| entry.alert).collect();
    match (inline.pop(), inline.len()) {
        (None, _) => {
            let message = format!("0 alerts stand in this {name} ({links} entries point elsewhere); post each alert document alone");
            refused(Fault::new("", "no-alert", message))
        }
        (Some(alert), 0) => {
            let mut reading = super::reading::read_xml(&alert, limits, vocabulary, super::reading::Inside::Wrapper);
            let message = format!("the alert stood in an {name}; what the wrapper itself says was not judged");
            reading.warnings.insert(0, Fault::new("", "wrapped", message));
            reading
        }
        (Some(_), others) => {
            let message = format!("{} alerts stand in this {name}; post each alone", others + 1);
            refused(Fault::new("", "several-alerts", message))
        }
    }
}

/// Whether an element is an alert of a form that this program reads.
fn alert_format(node: &Node<'_, '_>) -> Option<Format> {
    super::cap::format_of(node)
}

#[cfg(test)]
mod tests;
