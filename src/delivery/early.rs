//! Owns the reports that came before the provider's id they name was known: kept until the send that gets it has returned.
//! Refuses to know whose they are. Invariant: bounded; one that is brought to its delivery stays until that is durable.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{channel::News, time::Timestamp};

/// A send returns within its time-out; ten thousand reports that overtook theirs are seconds of the busiest gateway, or ids of strangers.
const EARLY_MAX: usize = 10_000;
/// A send returns within seconds, or is made again after the next start. What nobody has known for so long is a stranger's, and may by
/// then be the id of something else.
const KEPT_FOR: Duration = Duration::from_secs(3_600);
/// No provider has ids as long as this; what a report says beside is as short, or none of ours.
const TEXT_BYTES_MAX: usize = 512;

/// A report as it came.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Early {
    /// Rising; unlike any other that is kept: what its end names.
    pub id: u64,
    /// When it came.
    pub at: Timestamp,
    pub name: Name,
    pub news: News,
    /// When it happened, by the far end's clock.
    pub reported: Option<Timestamp>,
}

impl Early {
    /// Whether it is of a size that may be kept in memory, ten thousand times.
    pub fn is_small(&self) -> bool {
        let text = if let News::Reply(text) = &self.news { text.len() } else { 0 };
        self.name.provider_ref.len().max(text) <= TEXT_BYTES_MAX
    }

    fn is_recent(&self, now: Timestamp) -> bool {
        self.at.plus(KEPT_FOR) > now
    }
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
    pub(super) fn push(&mut self, mut early: Early) {
        // What makes room is in the journal, and counted among the strays.
        while let Some((&id, oldest)) = self.kept.first_key_value()
            && (self.kept.len() >= EARLY_MAX || !oldest.early.is_recent(early.at))
        {
            let name = oldest.early.name.clone();
            self.kept.remove(&id);
            self.forget(id, &name);
        }
        // A clock that was set back gives an id again.
        while self.kept.contains_key(&early.id) {
            early.id += 1;
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
    pub(super) fn claim(&mut self, name: &Name, now: Timestamp) -> Vec<Early> {
        let ids = self.by_name.get(name).map_or(&[][..], Vec::as_slice);
        let mut claimed = Vec::new();
        for id in ids {
            if let Some(kept) = self.kept.get_mut(id).filter(|kept| !kept.is_claimed && kept.early.is_recent(now)) {
                kept.is_claimed = true;
                claimed.push(kept.early.clone());
            }
        }
        claimed
    }

    /// It was brought; whether it was still here.
    pub(super) fn end(&mut self, id: u64) -> bool {
        let Some(kept) = self.kept.remove(&id) else { return false };
        self.forget(id, &kept.early.name);
        true
    }

    /// Whether there are any that a send may still be about to name.
    pub(super) fn has_recent(&self, now: Timestamp) -> bool {
        self.kept.last_key_value().is_some_and(|(_, newest)| newest.early.is_recent(now))
    }

    pub(super) fn list(&self) -> impl Iterator<Item = &Early> {
        self.kept.values().map(|kept| &kept.early)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_ms(1_784_000_000_000);

    fn early(id: u64, provider_ref: &str) -> Early {
        Early { id, at: NOW, name: name(provider_ref), news: News::Delivered, reported: None }
    }

    fn name(provider_ref: &str) -> Name {
        Name { account: "sms-1".into(), provider_ref: provider_ref.into() }
    }

    fn claim(list: &mut EarlyList, provider_ref: &str) -> Vec<u64> {
        list.claim(&name(provider_ref), NOW).iter().map(|one| one.id).collect()
    }

    #[test]
    fn a_report_is_brought_by_one_and_stays_until_it_was() {
        let mut list = EarlyList::default();
        for (id, provider_ref) in [(1, "a"), (2, "b"), (3, "a")] {
            list.push(early(id, provider_ref));
        }
        assert_eq!(claim(&mut list, "a"), [1, 3]);
        list.push(early(3, "a"));
        assert_eq!(claim(&mut list, "a"), [4], "an id that is there already is given to nobody, and the others are somebody's");
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
        assert!(claim(&mut list, "1").is_empty() && claim(&mut list, "2").len() == 1);
    }

    #[test]
    fn what_nobody_has_known_for_an_hour_is_nobodys() {
        let mut list = EarlyList::default();
        list.push(early(1, "a"));
        let later = NOW.plus(KEPT_FOR);
        assert!(list.has_recent(NOW) && !list.has_recent(later));
        assert!(list.claim(&name("a"), later).is_empty());
        list.push(Early { at: later, ..early(2, "b") });
        assert_eq!((list.list().count(), list.by_name.len()), (1, 1));
    }

    #[test]
    fn texts_beyond_any_providers_are_not_kept_here() {
        let reply = |bytes: usize| Early { news: News::Reply("1".repeat(bytes)), ..early(1, "a") };
        assert!(reply(TEXT_BYTES_MAX).is_small() && !reply(TEXT_BYTES_MAX + 1).is_small());
        assert!(!early(1, &"9".repeat(TEXT_BYTES_MAX + 1)).is_small());
    }
}
