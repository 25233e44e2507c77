//! Owns the reports that came before the provider's id they name was known: kept until the send that gets it has returned.
//! Refuses to know whose they are. Invariant: bounded; one that is brought to its delivery stays until that is durable.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use crate::{channel::News, time::Timestamp};

/// A send returns within its time-out; ten thousand reports that overtook theirs are seconds of the busiest gateway, or ids of strangers.
const EARLY_MAX: usize = 10_000;

/// A report as it came.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Early {
    /// Given once, rising: what its end names.
    pub id: u64,
    pub name: Name,
    pub news: News,
    /// When it happened, by the far end's clock.
    pub reported: Option<Timestamp>,
}

/// An account and its own id of a message.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Name {
    pub account: String,
    pub provider_ref: String,
}

#[derive(Debug)]
struct Kept {
    early: Early,
    /// Somebody is bringing it to its delivery. Not kept: after a crash in between it is brought again.
    is_claimed: bool,
}

/// In the order in which they came.
#[derive(Debug, Default)]
pub(super) struct EarlyList {
    kept: BTreeMap<u64, Kept>,
    by_name: HashMap<Name, Vec<u64>>,
}

impl EarlyList {
    pub(super) fn push(&mut self, early: Early) {
        // The oldest make room: they are in the journal, and counted among the strays.
        while self.kept.len() >= EARLY_MAX
            && let Some((id, oldest)) = self.kept.pop_first()
        {
            self.forget(id, &oldest.early.name);
        }
        self.by_name.entry(early.name.clone()).or_default().push(early.id);
        self.kept.insert(early.id, Kept { early, is_claimed: false });
    }

    fn forget(&mut self, id: u64, name: &Name) {
        if let Some(ids) = self.by_name.get_mut(name) {
            ids.retain(|&known| known != id);
            if ids.is_empty() {
                self.by_name.remove(name);
            }
        }
    }

    /// Those of this name that nobody else is bringing to their delivery.
    pub(super) fn claim(&mut self, name: &Name) -> Vec<Early> {
        let ids = self.by_name.get(name).map_or(&[][..], Vec::as_slice);
        let mut claimed = Vec::new();
        for id in ids {
            if let Some(kept) = self.kept.get_mut(id).filter(|kept| !kept.is_claimed) {
                kept.is_claimed = true;
                claimed.push(kept.early.clone());
            }
        }
        claimed
    }

    /// It could not be brought now.
    pub(super) fn unclaim(&mut self, id: u64) {
        if let Some(kept) = self.kept.get_mut(&id) {
            kept.is_claimed = false;
        }
    }

    /// It was brought; whether it was still here.
    pub(super) fn end(&mut self, id: u64) -> bool {
        let Some(kept) = self.kept.remove(&id) else { return false };
        self.forget(id, &kept.early.name);
        true
    }

    pub(super) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    pub(super) fn list(&self) -> impl Iterator<Item = &Early> {
        self.kept.values().map(|kept| &kept.early)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn early(id: u64, provider_ref: &str) -> Early {
        Early { id, name: name(provider_ref), news: News::Delivered, reported: None }
    }

    fn name(provider_ref: &str) -> Name {
        Name { account: "sms-1".into(), provider_ref: provider_ref.into() }
    }

    fn ids(list: &[Early]) -> Vec<u64> {
        list.iter().map(|one| one.id).collect()
    }

    #[test]
    fn a_report_is_brought_by_one_and_stays_until_it_was() {
        let mut list = EarlyList::default();
        for (id, provider_ref) in [(1, "a"), (2, "b"), (3, "a")] {
            list.push(early(id, provider_ref));
        }
        assert_eq!(ids(&list.claim(&name("a"))), [1, 3]);
        list.push(early(4, "a"));
        assert_eq!(ids(&list.claim(&name("a"))), [4], "the others are somebody's");
        list.unclaim(3);
        assert_eq!(ids(&list.claim(&name("a"))), [3]);
        assert_eq!(list.list().count(), 4);
        assert!(list.end(1) && list.end(3) && !list.end(3));
        assert_eq!(list.list().map(|one| one.id).collect::<Vec<_>>(), [2, 4]);
    }

    #[test]
    fn the_list_is_bounded_and_the_oldest_go() {
        let mut list = EarlyList::default();
        for id in 0..EARLY_MAX as u64 + 2 {
            list.push(early(id, &id.to_string()));
        }
        assert_eq!((list.list().count(), list.by_name.len()), (EARLY_MAX, EARLY_MAX));
        assert!(list.claim(&name("1")).is_empty() && list.claim(&name("2")).len() == 1);
    }
}
