//! Owns what an Update or Cancel refers to: the newest link of the chain of the alert that it names.
//! Refuses to decide what becomes of it. Invariant: a reference leads to an alert of the same sender, or nowhere.

use std::sync::Arc;

use super::gateway::Gateway;
use crate::{
    alert::{Alert, MsgType, Reference},
    delivery::ledger::{AlertKey, Shelf},
    fault::Faults,
};

/// Links of an Update chain that are followed; a warning is seldom updated more than a dozen times.
pub(super) const CHAIN_MAX: usize = 1_000;

pub(super) const UNKNOWN_REFERENCE: &str = "unknown-reference";

impl Gateway {
    /// The newest link of the chain that an Update or Cancel refers to; unknown references are faults.
    pub(super) fn judge_references(&self, alert: &Alert, faults: &mut Faults) -> Option<Arc<Shelf>> {
        if alert.msg_type == MsgType::Alert {
            return None;
        }
        let mut newest: Option<Arc<Shelf>> = None;
        for (number, reference) in alert.references.iter().enumerate() {
            match self.find_reference(&alert.sender, reference) {
                // What the same document says beside it is no earlier alert.
                Some(found) if !alert.part_of.is_empty() && found.alert.part_of == alert.part_of => {}
                Some(found) => newest = newest.into_iter().chain([self.newest_of_chain(found)]).max_by_key(|shelf| shelf.no),
                None => {
                    let message = format!("no alert {:?} of sender {:?} is known here", reference.identifier, reference.sender);
                    faults.add(format!("references[{number}]"), UNKNOWN_REFERENCE, message);
                }
            }
        }
        newest
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

    fn newest_of_chain(&self, mut shelf: Arc<Shelf>) -> Arc<Shelf> {
        for _ in 0..CHAIN_MAX {
            let next = self.ledger.newest_first().into_iter().find(|later| {
                let book = later.read();
                // One that was never released has taken nobody's place, however it ended.
                book.accepted.target == Some(shelf.no) && book.timeline.released.is_some()
            });
            match next {
                Some(next) => shelf = next,
                None => break,
            }
        }
        shelf
    }
}
