//! Owns what is done with the entries that a feed lists: fetched where they only link, handed in, remembered once they are answered for.
//! Refuses to ask for the feed itself.
//! Invariant: an entry leaves the list only when it is remembered; what may still become a warning is tried again, ever more seldom.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::Duration,
};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    entries::{Body, Item},
    fetch::{Fetcher, LinkError},
    seen::{Print, Seen},
};
use crate::{
    fault::Fault,
    inlet::hand_in::{Hand, Refusal, Verdict},
    telemetry::metrics as meter,
};

/// Time that one round gives to its entries before the feed itself is asked again: a new red warning must not wait for old links.
const ROUND_MAX: Duration = Duration::from_secs(60);
/// How far tries of one entry move apart.
const AGAIN_MAX: Duration = Duration::from_secs(600);
/// Tries of a link after which people are told: a warning is listed that cannot be read.
const LINK_TRIES_TOLD: u32 = 4;
/// Tries of what the gateway refused for a reason that time may mend: about three hours.
const TRIES_MAX: u32 = 20;
/// Entries that are waited for though the feed no longer lists them, and what they may hold.
const UNLISTED_MAX: usize = 2_000;
const UNLISTED_BYTES_MAX: usize = 64 << 20;
/// An entry that is not answered for.
struct Waiting {
    item: Item,
    tries: u32,
    next: Option<Instant>,
}

/// Entries that are not answered for, oldest first.
#[derive(Default)]
pub(super) struct Work {
    waiting: VecDeque<Waiting>,
}

/// How a round ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Round {
    Through,
    /// The store cannot take anything now.
    PutOff,
}

impl Work {
    /// Takes a new listing. What is waited for and no longer listed stays: lists are short, and a store that was down must not cost a warning.
    pub(super) fn replace(&mut self, items: Vec<Item>, seen: &mut Seen, inlet: &str) {
        let mut before: HashMap<Print, Waiting> = HashMap::new();
        let mut unlisted: VecDeque<Waiting> = VecDeque::new();
        let listed: HashSet<Print> = items.iter().map(|item| item.id).collect();
        for waiting in std::mem::take(&mut self.waiting) {
            if listed.contains(&waiting.item.id) {
                before.insert(waiting.item.id, waiting);
            } else if waiting.tries < TRIES_MAX {
                unlisted.push_back(waiting);
            } else {
                tracing::error!(inlet, entry = ?waiting.item.label, "an entry that is no longer listed was never taken; it is given up");
            }
        }
        drop_over(&mut unlisted, inlet);
        self.waiting = unlisted;
        for item in items {
            if seen.knows(item.id, item.digest) {
                continue;
            }
            let known = before.get(&item.id).filter(|waiting| waiting.item.digest == item.digest);
            let (tries, next) = known.map_or((0, None), |waiting| (waiting.tries, waiting.next));
            self.waiting.push_back(Waiting { item, tries, next });
        }
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Works through what is due.
    pub(super) async fn round(
        &mut self,
        fetcher: &Fetcher,
        hand: &Hand,
        seen: &mut Seen,
        every: Duration,
        stop: &CancellationToken,
    ) -> Round {
        let until = Instant::now() + ROUND_MAX;
        let mut left = VecDeque::with_capacity(self.waiting.len());
        let mut round = Round::Through;
        while let Some(mut waiting) = self.waiting.pop_front() {
            let now = Instant::now();
            let is_over = round == Round::PutOff || now >= until || stop.is_cancelled();
            if is_over || waiting.next.is_some_and(|next| next > now) {
                left.push_back(waiting);
                continue;
            }
            match answer(&waiting, fetcher, hand).await {
                Answer::Final => seen.remember(waiting.item.id, waiting.item.digest),
                Answer::Refused => seen.remember_until_restart(waiting.item.id, waiting.item.digest),
                Answer::Later => {
                    waiting.tries += 1;
                    let delay = every.saturating_mul(1 << waiting.tries.min(16)).min(AGAIN_MAX.max(every));
                    waiting.next = Some(now + delay);
                    left.push_back(waiting);
                }
                Answer::PutOff => {
                    round = Round::PutOff;
                    left.push_back(waiting);
                }
            }
        }
        self.waiting = left;
        round
    }
}

/// What a feed no longer lists is kept within bounds; the oldest goes first, and people are told.
fn drop_over(unlisted: &mut VecDeque<Waiting>, inlet: &str) {
    let size = |waiting: &Waiting| if let Body::Here(bytes) = &waiting.item.body { bytes.len() } else { 0 };
    let mut bytes: usize = unlisted.iter().map(size).sum();
    while unlisted.len() > UNLISTED_MAX || bytes > UNLISTED_BYTES_MAX {
        let Some(dropped) = unlisted.pop_front() else { return };
        bytes -= size(&dropped);
        meter::alarm("inlet-full");
        tracing::error!(inlet, entry = ?dropped.item.label, "too many entries wait; the oldest that is no longer listed is given up");
    }
}

enum Answer {
    /// Taken, or over: never again.
    Final,
    /// Not as things stand; another configuration may take it.
    Refused,
    Later,
    PutOff,
}

async fn answer(waiting: &Waiting, fetcher: &Fetcher, hand: &Hand) -> Answer {
    let item = &waiting.item;
    let fetched;
    let (bytes, is_linked) = match &item.body {
        Body::Here(bytes) => (bytes.as_slice(), false),
        Body::Faulty(faults) => return refuse(hand, item, "invalid-alert", faults.clone()).await,
        Body::Link(link) => match fetcher.link(link).await {
            Ok(bytes) => {
                fetched = bytes;
                (&fetched[..], true)
            }
            Err(LinkError::Forbidden(fault)) => {
                hand.gateway.alarms().raise("inlet-forbidden-link", format!("{} {}", hand.inlet, item.label), fault.to_string());
                return refuse(hand, item, "invalid-entry", vec![fault]).await;
            }
            Err(LinkError::Failed(failure)) => {
                let (inlet, tries) = (hand.inlet.as_str(), waiting.tries + 1);
                if tries == LINK_TRIES_TOLD {
                    hand.gateway.alarms().raise("inlet-link", format!("{inlet} {}", item.label), &failure.why);
                }
                tracing::warn!(inlet, entry = ?item.label, tries, why = failure.why, "the warning of an entry cannot be fetched; it is tried again");
                return Answer::Later;
            }
        },
    };
    let verdict = hand.ask(bytes, None).await;
    match &verdict {
        Verdict::PutOff(_) => {
            hand.tell(&verdict, &item.label, bytes).await;
            return Answer::PutOff;
        }
        Verdict::Refused(refusal) if refusal.is_over() => {
            meter::inlet_document(&hand.inlet, "expired");
            tracing::debug!(inlet = hand.inlet, entry = ?item.label, "the warning of an entry is over");
            return Answer::Final;
        }
        // A page in the place of the warning is a far end's trouble: it may be there at the next try.
        Verdict::Refused(refusal) if waiting.tries < TRIES_MAX && (refusal.may_mend() || (is_linked && refusal.is_formless())) => {
            let (inlet, tries, why) = (hand.inlet.as_str(), waiting.tries + 1, refusal.detail.as_str());
            tracing::warn!(inlet, entry = ?item.label, tries, why, "the warning of an entry is not taken yet; it is tried again");
            return Answer::Later;
        }
        Verdict::Taken { .. } | Verdict::Kept | Verdict::Refused(_) => {}
    }
    hand.tell(&verdict, &item.label, bytes).await;
    if matches!(verdict, Verdict::Taken { .. } | Verdict::Kept) { Answer::Final } else { Answer::Refused }
}

async fn refuse(hand: &Hand, item: &Item, kind: &'static str, faults: Vec<Fault>) -> Answer {
    hand.tell(&Verdict::Refused(Refusal::new(kind, "the entry leads to no warning", faults)), &item.label, &[]).await;
    Answer::Refused
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::documents::Documents;

    fn item(id: &str, says: &str) -> Item {
        Item { id: Print::of(&[id.as_bytes()]), digest: Print::of(&[says.as_bytes()]), label: id.into(), body: Body::Link(id.into()) }
    }

    fn labels(work: &Work) -> Vec<(&str, u32)> {
        work.waiting.iter().map(|waiting| (waiting.item.label.as_str(), waiting.tries)).collect()
    }

    #[test]
    fn a_new_listing_keeps_what_waits_and_forgets_what_was_said_anew() {
        let data = tempfile::tempdir().expect("a directory");
        let mut seen = Seen::open(std::sync::Arc::new(Documents::open(data.path()).expect("documents")), "city");
        let mut work = Work::default();
        work.replace(vec![item("a", "1"), item("b", "1"), item("c", "1")], &mut seen, "city");
        for waiting in &mut work.waiting {
            waiting.tries = 3;
        }
        seen.remember(Print::of(&[b"d"]), Print::of(&[b"1"]));
        work.replace(vec![item("b", "1"), item("c", "2"), item("d", "1")], &mut seen, "city");
        assert_eq!(labels(&work), [("a", 3), ("b", 3), ("c", 0)]);
        work.waiting[0].tries = TRIES_MAX;
        work.replace(Vec::new(), &mut seen, "city");
        assert_eq!(labels(&work), [("b", 3), ("c", 0)], "what is not listed is tried a bounded time");
    }

    #[test]
    fn what_waits_without_being_listed_has_a_bound() {
        let large = |id: usize| Item { body: Body::Here(vec![0; UNLISTED_BYTES_MAX / 4]), ..item(&id.to_string(), "1") };
        let waiting = |item| Waiting { item, tries: 0, next: None };
        let mut unlisted: VecDeque<Waiting> = (0..6).map(|id| waiting(large(id))).collect();
        drop_over(&mut unlisted, "city");
        assert_eq!(unlisted.iter().map(|waiting| waiting.item.label.as_str()).collect::<Vec<_>>(), ["2", "3", "4", "5"]);
        let mut many: VecDeque<Waiting> = (0..=UNLISTED_MAX).map(|id| waiting(item(&id.to_string(), "1"))).collect();
        drop_over(&mut many, "city");
        assert_eq!(many.len(), UNLISTED_MAX);
    }
}
