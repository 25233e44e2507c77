//! Owns what has been answered for: the newest names of data, kept in a document.
//! Refuses to know messages. Invariant: a name that was lost from here costs a repeat at the gateway, never an alert.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
};

use sha2::Digest as _;

use crate::store::documents::{DocumentError, Documents};

/// Several caches announce the same data within minutes; the world's warnings of a day are fewer than this.
const KEPT_MAX: usize = 4_096;
/// Half a SHA-256: names are as long as their publishers like.
const NAME_BYTES: usize = 16;

type Name = [u8; NAME_BYTES];

pub(super) struct Seen {
    document: String,
    documents: Arc<Documents>,
    names: HashSet<Name>,
    order: VecDeque<Name>,
}

impl Seen {
    /// What an earlier run has left; a document that cannot be read is begun anew.
    pub(super) fn open(inlet: &str, documents: Arc<Documents>) -> Self {
        let document = format!("seen-{inlet}");
        let mut seen = Self { document, documents, names: HashSet::new(), order: VecDeque::new() };
        match seen.documents.read(&seen.document) {
            Ok(bytes) => bytes.unwrap_or_default().as_chunks().0.iter().for_each(|&name| seen.put(name)),
            Err(error) => tracing::warn!(inlet, %error, "what was seen before cannot be read; repeats go to the gateway"),
        }
        seen
    }

    pub(super) fn has(&self, text: &str) -> bool {
        self.names.contains(&name(text))
    }

    /// Remembers; when this returns without an error, also beyond a power cut.
    pub(super) fn add(&mut self, text: &str) -> Result<(), DocumentError> {
        self.put(name(text));
        let bytes: Vec<u8> = self.order.iter().flatten().copied().collect();
        self.documents.replace(&self.document, &bytes)
    }

    fn put(&mut self, name: Name) {
        if self.names.insert(name) {
            self.order.push_back(name);
        }
        while self.order.len() > KEPT_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.names.remove(&oldest);
            }
        }
    }
}

fn name(text: &str) -> Name {
    let digest = sha2::Sha256::digest(text);
    let mut name = [0; NAME_BYTES];
    name.copy_from_slice(&digest[..NAME_BYTES]);
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_is_known_to_the_next_run_and_the_oldest_makes_room() {
        let data = tempfile::tempdir().expect("temporary directory");
        let documents = Arc::new(Documents::open(data.path()).expect("opened"));
        let mut seen = Seen::open("wmo", Arc::clone(&documents));
        assert!(!seen.has("one"));
        seen.add("one").expect("written");
        let mut next = Seen::open("wmo", Arc::clone(&documents));
        assert!(next.has("one") && !next.has("two"));
        (0..KEPT_MAX).for_each(|number| next.put(name(&number.to_string())));
        assert!(!next.has("one") && next.has("0"));
        assert_eq!(next.order.len(), KEPT_MAX);
    }

    #[test]
    fn a_document_that_was_cut_still_gives_what_is_whole() {
        let data = tempfile::tempdir().expect("temporary directory");
        let documents = Arc::new(Documents::open(data.path()).expect("opened"));
        Seen::open("wmo", Arc::clone(&documents)).add("one").expect("written");
        let mut bytes = documents.read("seen-wmo").expect("readable").expect("there");
        bytes.extend([1, 2, 3]);
        documents.replace("seen-wmo", &bytes).expect("written");
        assert!(Seen::open("wmo", documents).has("one"));
    }
}
