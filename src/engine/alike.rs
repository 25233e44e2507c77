//! Owns what a new alert looks like beside those in force: the same once more, or a change of one that it does not name.
//! Refuses to decide for the sender beyond that: what differs in a word is told. Invariant: nothing that people have not heard is held back.

use std::sync::Arc;

use super::gateway::Gateway;
use crate::{
    alert::{Alert, AlertId, MsgType},
    delivery::{book::State, ledger::Shelf},
    fault::Fault,
};

impl Gateway {
    /// An identifier is its sender's name for one alert (CAP 1.2 section 3.2.1). The same in every word but the time of sending is a sender
    /// that tries again; everybody would be told once more at each try.
    pub(super) fn repeated_with_another_time(&self, alert: &Alert) -> Option<AlertId> {
        let is_again = |earlier: &Alert| earlier.identifier == alert.identifier && says_the_same(earlier, alert);
        self.in_force_beside(alert).find(|shelf| is_again(&shelf.alert)).map(|shelf| shelf.id)
    }

    /// A warning for the poster where both will stand, though one of them was perhaps meant to change the other.
    pub(super) fn likely_update(&self, alert: &Alert) -> Option<Fault> {
        let is_like =
            |earlier: &Alert| earlier.identifier == alert.identifier || (earlier.event == alert.event && share_an_area(earlier, alert));
        let earlier = self.in_force_beside(alert).find(|shelf| is_like(&shelf.alert))?;
        let is_same = says_the_same(&earlier.alert, alert);
        let (rule, what) = if is_same { ("likely-repeat-of", "says the same") } else { ("likely-update-of", "is about the same") };
        let message = format!(
            "{:?} ({}) {what} and is in force: both stand, unless an Update or Cancel names it",
            earlier.alert.identifier, earlier.id
        );
        Some(Fault::new("references", rule, message))
    }

    /// Alerts of the same sender and status that are in force or wait for approval, newest first; nothing for what names others itself.
    fn in_force_beside<'a>(&self, alert: &'a Alert) -> impl Iterator<Item = Arc<Shelf>> + use<'a> {
        let now = self.clock.now();
        let candidates = if alert.msg_type == MsgType::Alert { self.ledger.warnings() } else { Vec::new() };
        candidates.into_iter().filter(move |shelf| {
            let earlier = &shelf.alert;
            let is_other = earlier.part_of.is_empty() || earlier.part_of != alert.part_of;
            let is_of_kind = earlier.sender == alert.sender && earlier.status == alert.status && !earlier.is_all_clear();
            let state = shelf.read().state;
            is_other && is_of_kind && earlier.expires > now && (state.may_send() || state == State::Held)
        })
    }
}

fn says_the_same(earlier: &Alert, alert: &Alert) -> bool {
    let words = |one: &Alert| [one.headline.clone(), one.description.clone(), one.instruction.clone()];
    (&earlier.event, earlier.level, earlier.expires, &earlier.areas) == (&alert.event, alert.level, alert.expires, &alert.areas)
        && words(earlier) == words(alert)
        && earlier.texts == alert.texts
}

fn share_an_area(earlier: &Alert, alert: &Alert) -> bool {
    let codes = |one: &Alert| one.areas.iter().flat_map(|area| area.codes.clone()).collect::<Vec<_>>();
    let own = codes(alert);
    codes(earlier).iter().any(|&code| own.iter().any(|&other| code.contains(other) || other.contains(code)))
}
