//! Owns what a feed's entries came to: each one's id with a digest of what it said, in a document that outlives the process.
//! What was refused is remembered until the next start alone, as another configuration may take it.
//! Refuses to know what entries are. Invariant: it only forgets what has not been listed for longest, and forgetting costs a repeat, never a warning.

use std::{collections::HashMap, sync::Arc};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{
    store::documents::{DocumentError, Documents},
    telemetry::metrics as meter,
};

/// Entries that are remembered; the largest feeds of a country list a thousand.
pub(super) const ENTRIES_MAX: usize = 10_000;

/// First half of a SHA-256: ids of strangers are not kept, and have no bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Print(u128);

impl Print {
    pub(super) fn of(parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            // With its length, so that no two lists of parts are the same bytes.
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        let digest = hash.finalize();
        Self(digest.iter().take(16).fold(0, |number, &byte| (number << 8) | u128::from(byte)))
    }

    /// The print of the same thing said for the `number`th time.
    pub(super) fn with(self, number: u32) -> Self {
        Self::of(&[&self.0.to_le_bytes(), &number.to_le_bytes()])
    }
}

#[derive(Serialize, Deserialize)]
struct Kept {
    version: u32,
    /// Id and digest as hexadecimal numbers, longest not listed first.
    entries: Vec<(String, String)>,
}

const VERSION: u32 = 1;

struct Known {
    digest: Print,
    /// Running number of the last time that it was listed.
    turn: u64,
    /// Whether it is written down.
    is_kept: bool,
}

pub(super) struct Seen {
    documents: Arc<Documents>,
    document: String,
    entries: HashMap<Print, Known>,
    turn: u64,
    is_dirty: bool,
}

impl Seen {
    /// What was remembered; a document that cannot be read is told, and costs repeats.
    pub(super) fn open(documents: Arc<Documents>, inlet: &str) -> Self {
        let document = format!("inlet.{inlet}.json");
        let mut seen = Self { documents, document, entries: HashMap::new(), turn: 0, is_dirty: false };
        match seen
            .documents
            .read(&seen.document)
            .map_err(|error| error.to_string())
            .and_then(|bytes| bytes.map_or(Ok(Vec::new()), |bytes| parse(&bytes)))
        {
            Ok(entries) => entries.into_iter().for_each(|(id, digest)| seen.put(id, digest, true)),
            Err(error) => {
                meter::alarm("inlet-memory");
                tracing::error!(inlet, error, "what this feed has shown is forgotten; its entries are read again");
            }
        }
        seen
    }

    /// Whether the entry was answered for as it stands now.
    pub(super) fn knows(&mut self, id: Print, digest: Print) -> bool {
        self.turn += 1;
        match self.entries.get_mut(&id) {
            Some(known) => {
                known.turn = self.turn;
                known.digest == digest
            }
            None => false,
        }
    }

    pub(super) fn remember(&mut self, id: Print, digest: Print) {
        self.put(id, digest, true);
        self.is_dirty = true;
    }

    pub(super) fn remember_until_restart(&mut self, id: Print, digest: Print) {
        self.put(id, digest, false);
    }

    fn put(&mut self, id: Print, digest: Print, is_kept: bool) {
        self.turn += 1;
        self.entries.insert(id, Known { digest, turn: self.turn, is_kept });
        // A tenth at once: finding the oldest looks at all of them.
        if self.entries.len() > ENTRIES_MAX + ENTRIES_MAX / 10 {
            let mut turns: Vec<u64> = self.entries.values().map(|known| known.turn).collect();
            turns.sort_unstable();
            let from = turns[turns.len() - ENTRIES_MAX];
            self.entries.retain(|_, known| known.turn >= from);
        }
    }

    /// Writes what is new, durably; what cannot be written is tried again with the next.
    pub(super) async fn save(&mut self) -> Result<(), String> {
        if !self.is_dirty {
            return Ok(());
        }
        let kept = self.entries.iter().filter(|(_, known)| known.is_kept);
        let mut listed: Vec<(Print, Print, u64)> = kept.map(|(&id, known)| (id, known.digest, known.turn)).collect();
        listed.sort_unstable_by_key(|&(_, _, turn)| turn);
        let entries = listed.into_iter().map(|(id, digest, _)| (hex(id), hex(digest))).collect();
        let bytes = serde_json::to_vec(&Kept { version: VERSION, entries }).map_err(|error| error.to_string())?;
        let (documents, name) = (Arc::clone(&self.documents), self.document.clone());
        let written = tokio::task::spawn_blocking(move || documents.replace(&name, &bytes)).await;
        written.map_err(|error| error.to_string())?.map_err(|error: DocumentError| error.to_string())?;
        self.is_dirty = false;
        Ok(())
    }
}

fn hex(print: Print) -> String {
    format!("{:032x}", print.0)
}

fn parse(bytes: &[u8]) -> Result<Vec<(Print, Print)>, String> {
    let kept: Kept = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if kept.version != VERSION {
        return Err(format!("version {} is not known", kept.version));
    }
    let print = |text: &str| u128::from_str_radix(text, 16).map(Print).map_err(|error| error.to_string());
    kept.entries.iter().map(|(id, digest)| Ok((print(id)?, print(digest)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(text: &str) -> Print {
        Print::of(&[text.as_bytes()])
    }

    fn opened(data: &std::path::Path) -> Seen {
        Seen::open(Arc::new(Documents::open(data).expect("documents")), "city")
    }

    #[tokio::test]
    async fn an_entry_is_known_as_it_stood_also_after_a_restart() {
        let data = tempfile::tempdir().expect("a directory");
        let mut seen = opened(data.path());
        assert!(!seen.knows(print("a"), print("one")));
        seen.remember(print("a"), print("one"));
        seen.remember_until_restart(print("refused"), print("one"));
        assert!(seen.knows(print("refused"), print("one")));
        seen.save().await.expect("saved");
        let mut again = opened(data.path());
        assert!(
            again.knows(print("a"), print("one")) && !again.knows(print("a"), print("changed")) && !again.knows(print("b"), print("one"))
        );
    }

    #[test]
    fn what_is_listed_stays_and_what_is_not_goes_first() {
        let data = tempfile::tempdir().expect("a directory");
        let mut seen = opened(data.path());
        for number in 0..ENTRIES_MAX {
            seen.remember(print(&number.to_string()), print("x"));
        }
        assert!(seen.knows(print("0"), print("x")), "still listed");
        for number in 0..=ENTRIES_MAX / 10 {
            seen.remember(print(&format!("new {number}")), print("x"));
        }
        assert_eq!(seen.entries.len(), ENTRIES_MAX);
        assert!(seen.knows(print("0"), print("x")) && !seen.knows(print("1"), print("x")));
    }

    #[test]
    fn a_damaged_memory_costs_repeats_and_nothing_else() {
        let data = tempfile::tempdir().expect("a directory");
        for bytes in [&b"{\"version\":1,\"entr"[..], b"{\"version\":9,\"entries\":[]}", b"{\"version\":1,\"entries\":[[\"x\",\"y\"]]}"] {
            Documents::open(data.path()).expect("documents").replace("inlet.city.json", bytes).expect("written");
            assert!(opened(data.path()).entries.is_empty());
        }
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_ne!(Print::of(&[b"ab", b"c"]), Print::of(&[b"a", b"bc"]));
    }
}
