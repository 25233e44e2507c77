//! Owns the counters of a book: every change of a delivery or recipient passes here, so they cannot drift.
//! Refuses to know why something changes. Invariant: the counters equal a recount (I6).

use super::{Book, Recipient, WORDS_MAX};
use crate::{
    area::AreaCode,
    delivery::{
        call::End,
        counters::{AreaCounters, Share, Standing},
        plan::RecipientKind,
        slot::{Phase, Slot},
        wire::Damaged,
    },
};

/// Reaching people within ten minutes of issue is the published target of the national platform.
const PROMPT_MS: i64 = 10 * 60 * 1_000;

impl Book {
    pub(super) fn change(&mut self, index: u32, act: impl FnOnce(&mut Slot)) {
        let kind = self.route_of(index).kind;
        let before = self.slots[index as usize];
        act(&mut self.slots[index as usize]);
        let after = self.slots[index as usize];
        if before == after {
            return;
        }
        let place = self.place_of(after.recipient);
        let is_device = place.kind == RecipientKind::Speaker;
        let counters = &mut self.counters[usize::from(place.area)];
        counters.move_delivery(kind, before.furthest(is_device), after.furthest(is_device));
        if is_device {
            counters.devices.received += u32::from(after.is_reached() && !before.is_reached());
            counters.devices.received -= u32::from(before.is_reached() && !after.is_reached());
            counters.devices.played += u32::from(after.is_crowned() && !before.is_crowned());
        }
        let closed = before.phase.is_open() && !after.phase.is_open();
        self.open -= u32::from(closed);
        self.with_recipient(after.recipient, |recipient| {
            recipient.open -= u8::from(closed && recipient.open > 0);
            if let Some(ms) = after.delivered().ms() {
                recipient.reached.note(ms);
            }
        });
    }

    pub(super) fn with_recipient(&mut self, recipient: u32, act: impl FnOnce(&mut Recipient)) {
        let prompt_ms = self.prompt_ms();
        let place = self.place_of(recipient);
        let found = &mut self.recipients[recipient as usize];
        let before = share_of(found, prompt_ms);
        act(found);
        let after = share_of(found, prompt_ms);
        if place.kind == RecipientKind::Person {
            self.counters[usize::from(place.area)].move_person(place.role, before, after);
        }
    }

    /// End of the first ten minutes, in packed time; 0 when they were over before the alert came in.
    pub(super) fn prompt_ms(&self) -> u32 {
        let end = self.zero.as_ms() + PROMPT_MS - self.base().as_ms();
        u32::try_from(end.max(0)).unwrap_or(u32::MAX)
    }

    pub(super) fn area_number(&mut self, area: AreaCode) -> Result<u16, Damaged> {
        if let Some(&known) = self.area_numbers.get(&area.padded()) {
            return Ok(known);
        }
        let number = u16::try_from(self.areas.len()).map_err(|_| Damaged { what: "areas", at: 0 })?;
        self.area_numbers.insert(area.padded(), number);
        self.areas.push(area);
        self.counters.push(AreaCounters::default());
        Ok(number)
    }

    pub(super) fn account_number(&mut self, account: &str) -> u8 {
        intern(&mut self.words, account, WORDS_MAX)
    }

    /// What contradicts the invariants, in words; empty when the book is sound (I2, I5, I6, I11).
    pub fn violations(&self) -> Vec<String> {
        let mut found = Vec::new();
        let tidy = |counters: &[AreaCounters]| counters.iter().map(AreaCounters::trimmed).collect::<Vec<_>>();
        if tidy(&self.counters) != tidy(&self.recount()) {
            found.push("the counters differ from a recount".to_owned());
        }
        let open = self.slots.iter().filter(|slot| slot.phase.is_open()).count();
        if open != self.open as usize {
            found.push(format!("{open} deliveries are open, {} are counted", self.open));
        }
        if self.state.is_over() && self.slots.iter().any(|slot| slot.phase == Phase::Pending) {
            found.push(format!("deliveries are owed though the alert is {}", self.state.name()));
        }
        for call in &self.calls {
            // Not the other way round: who answered unasked may be asked later, in another's place.
            if matches!(call.end, End::Answered(_)) && !self.recipients[call.recipient as usize].answered {
                found.push(format!("call of recipient {} and its answer contradict each other", call.recipient));
            }
        }
        found
    }

    /// The counters made again from nothing but recipients and deliveries (I6).
    pub fn recount(&self) -> Vec<AreaCounters> {
        let mut counters = vec![AreaCounters::default(); self.areas.len()];
        for (number, recipient) in self.recipients.iter().enumerate() {
            let place = self.place_of(u32::try_from(number).unwrap_or(u32::MAX));
            let area = &mut counters[usize::from(place.area)];
            match place.kind {
                RecipientKind::Person => area.target_person(place.role, share_of(recipient, self.prompt_ms())),
                RecipientKind::Speaker => area.devices.targeted += 1,
                RecipientKind::Endpoint => {}
            }
        }
        for (number, slot) in self.slots.iter().enumerate() {
            let place = self.place_of(slot.recipient);
            let is_device = place.kind == RecipientKind::Speaker;
            let kind = self.route_of(u32::try_from(number).unwrap_or(u32::MAX)).kind;
            let area = &mut counters[usize::from(place.area)];
            area.deliveries_of(kind)[slot.furthest(is_device) as usize] += 1;
            if is_device {
                area.devices.received += u32::from(slot.is_reached());
                area.devices.played += u32::from(slot.is_crowned());
            }
        }
        counters
    }
}

pub(super) fn share_of(recipient: &Recipient, prompt_ms: u32) -> Share {
    let standing = if recipient.reached.is_set() {
        Standing::Reached
    } else if recipient.unreachable {
        Standing::Unreachable
    } else if recipient.open > 0 {
        Standing::Pending
    } else {
        Standing::Failed
    };
    Share { standing, acknowledged: recipient.answered, within_10m: recipient.reached.ms().is_some_and(|ms| ms <= prompt_ms) }
}

/// The word's number; words beyond the bound share the last.
pub(super) fn intern(words: &mut Vec<String>, word: &str, most: usize) -> u8 {
    let place = words.iter().position(|known| known == word).unwrap_or_else(|| {
        if words.len() < most {
            words.push(word.to_owned());
        }
        words.len() - 1
    });
    u8::try_from(place).unwrap_or(u8::MAX)
}
