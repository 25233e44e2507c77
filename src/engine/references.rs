//! Owns what an Update or Cancel refers to: the newest links of the chains of all alerts that it names, and the earlier post that it overtook.
//! Refuses to decide what becomes of them. Invariant: a reference leads to alerts of the same sender, or nowhere; one that leads nowhere
//! beside one that is known takes nothing from the other.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use super::{all_clear::may_touch, gateway::Gateway};
use crate::{
    alert::{Alert, AlertNo, MsgType, Reference},
    delivery::{
        book::State,
        ledger::{AlertKey, Shelf},
    },
    fault::{Fault, Faults},
};

/// Links of Update chains that are followed; a warning is seldom updated more than a dozen times.
pub(super) const CHAIN_MAX: usize = 1_000;

/// A post that overtook what it refers to did so by no more than this: identifiers are used again by some senders.
const OVERTAKEN_WITHIN: Duration = Duration::from_secs(24 * 3_600);

pub(super) const UNKNOWN_REFERENCE: &str = "unknown-reference";

/// An alert that a new one changes or ends, and which of its references led there.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) shelf: Arc<Shelf>,
    pub(super) place: usize,
}

/// What the references of a new alert lead to, each alert once.
#[derive(Debug, Default)]
pub(super) struct Named {
    pub(super) targets: Vec<Target>,
    /// References that lead nowhere, or to what is over already.
    pub(super) warnings: Vec<Fault>,
}

/// Released alerts by those that they have changed or ended.
type Successors = HashMap<AlertNo, Vec<Arc<Shelf>>>;

impl Gateway {
    /// All that an Update or Cancel refers to. Where nothing of it is known, an all-clear has nobody to be told to, which is a fault; an
    /// Update is a warning by itself.
    pub(super) fn judge_references(&self, alert: &Alert, faults: &mut Faults) -> Named {
        let mut named = Named::default();
        if alert.msg_type == MsgType::Alert {
            return named;
        }
        let successors = self.successors();
        let mut unknown = Vec::new();
        for (place, reference) in alert.references.iter().enumerate() {
            let path = format!("references[{place}]");
            let Some(found) = self.find_reference(&alert.sender, reference) else {
                let message = format!("no alert {:?} of sender {:?} is known here", reference.identifier, reference.sender);
                unknown.push(Fault::new(path, UNKNOWN_REFERENCE, message));
                continue;
            };
            // What the same document says beside it is no earlier alert.
            if !alert.part_of.is_empty() && found.alert.part_of == alert.part_of {
                continue;
            }
            let links = self.newest_links(self.all_named(found), &successors);
            if links.iter().all(|link| is_past(link)) {
                let ends: Vec<String> = links.iter().map(|link| format!("{:?}", link.alert.identifier)).collect();
                let message = format!("{:?} is over already, by {}", reference.identifier, ends.join(", "));
                named.warnings.push(Fault::new(path, "already-ended", message));
            }
            for shelf in links {
                if !named.targets.iter().any(|known| known.shelf.no == shelf.no) {
                    named.targets.push(Target { shelf, place });
                }
            }
        }
        if named.targets.is_empty() && alert.is_all_clear() {
            faults.extend(unknown);
        } else {
            named.warnings.extend(unknown);
        }
        named
    }

    /// By the whole triple; else by sender and identifier, as real updates name a wrong time of sending.
    pub(super) fn find_reference(&self, sender: &str, reference: &Reference) -> Option<Arc<Shelf>> {
        if reference.sender != sender {
            return None;
        }
        let key = AlertKey { sender: reference.sender.clone(), identifier: reference.identifier.clone(), sent: reference.sent };
        self.ledger.find_key(&key).or_else(|| {
            let same = |shelf: &Arc<Shelf>| shelf.alert.sender == reference.sender && shelf.alert.identifier == reference.identifier;
            self.ledger.newest_first().into_iter().find(same)
        })
    }

    /// Released Updates and Cancels that name this alert and came before it did.
    pub(super) fn overtaken_by(&self, alert: &Alert) -> Option<Arc<Shelf>> {
        let names = |shelf: &Arc<Shelf>| {
            let later = &shelf.alert;
            let is_named = later.references.iter().any(|reference| {
                let is_named = reference.identifier == alert.identifier || reference.identifier == alert.part_of;
                let is_same = reference.sender == alert.sender && is_named;
                is_same && (reference.sent == alert.sent || self.find_reference(&later.sender, reference).is_none())
            });
            is_named && later.msg_type != MsgType::Alert && later.sent >= alert.sent && may_touch(later, alert, !alert.status.is_drill())
        };
        let now = self.clock.now();
        let is_recent = |shelf: &Arc<Shelf>| {
            let book = shelf.read();
            book.timeline.released.is_some() && book.accepted.received.plus(OVERTAKEN_WITHIN) > now
        };
        self.ledger.newest_first().into_iter().find(|shelf| names(shelf) && is_recent(shelf))
    }

    fn successors(&self) -> Successors {
        let mut successors = Successors::new();
        for shelf in self.ledger.newest_first() {
            let targets = {
                let book = shelf.read();
                // One that was never released has taken nobody's place, however it ended.
                if book.timeline.released.is_none() || book.accepted.targets.is_empty() {
                    continue;
                }
                book.accepted.targets.clone()
            };
            for target in targets {
                successors.entry(target).or_default().push(Arc::clone(&shelf));
            }
        }
        successors
    }

    /// The name of a document that said several things names all of them.
    fn all_named(&self, found: Arc<Shelf>) -> Vec<Arc<Shelf>> {
        if found.alert.part_of == found.alert.identifier { self.ledger.document_of(&found) } else { vec![found] }
    }

    /// Where the chains of these alerts stand now. What was never released stands for what it was to change, and beside it while it is held.
    fn newest_links(&self, mut open: Vec<Arc<Shelf>>, successors: &Successors) -> Vec<Arc<Shelf>> {
        let (mut seen, mut newest) = (HashSet::new(), Vec::new());
        while let Some(shelf) = open.pop() {
            if !seen.insert(shelf.no) || seen.len() > CHAIN_MAX {
                continue;
            }
            let (is_held, stood_before) = {
                let book = shelf.read();
                let was_released = book.timeline.released.is_some();
                (book.state == State::Held, if was_released { Vec::new() } else { book.accepted.targets.clone() })
            };
            let later = successors.get(&shelf.no).map_or(&[][..], Vec::as_slice);
            let stands = later.is_empty() && (is_held || stood_before.is_empty());
            open.extend(later.iter().cloned());
            open.extend(stood_before.into_iter().filter_map(|no| self.ledger.get(no)));
            if stands {
                newest.push(shelf);
            }
        }
        newest
    }
}

/// An all-clear, or what was called off before it went out: nothing of it is in force that could be ended.
fn is_past(link: &Shelf) -> bool {
    let book = link.read();
    link.alert.is_all_clear() || (book.timeline.released.is_none() && book.state.is_over())
}
