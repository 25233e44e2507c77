//! Owns what is looked up in a book: where a recipient stands, what a delivery is, when something happened.
//! Refuses to change anything. Invariant: an index from outside that is not the book's own is looked for, never trusted.

use super::{Book, BookLeg, LastWord, Place, Route};
use crate::{
    area::AreaCode,
    delivery::{
        call::{Call, End},
        plan::RecipientKind,
        slot::{Moment, Phase, Slot},
    },
    time::Timestamp,
};

impl Book {
    pub fn time_of(&self, moment: Moment) -> Option<Timestamp> {
        moment.ms().map(|ms| Timestamp::from_ms(self.base().as_ms() + i64::from(ms)))
    }

    /// Milliseconds after the base; before it is 0, after 49 days the last moment.
    pub fn offset_of(&self, at: Timestamp) -> u32 {
        let ms = at.as_ms().saturating_sub(self.base().as_ms()).max(0);
        u32::try_from(ms).unwrap_or(u32::MAX - 1)
    }

    /// When this delivery was played or answered.
    pub fn crowned_at(&self, index: u32) -> Moment {
        self.crowned.get(&index).copied().unwrap_or_default()
    }

    /// When this delivery was confirmed, by the far end or the person.
    pub fn reached_at(&self, index: u32) -> Moment {
        let (delivered, crowned) = (self.slots[index as usize].delivered(), self.crowned_at(index));
        [delivered, crowned].into_iter().filter(|moment| moment.is_set()).min().unwrap_or_default()
    }

    /// When this person answered, by whatever way.
    pub fn answered_at(&self, recipient: u32) -> Moment {
        self.answered.get(&recipient).copied().unwrap_or_default()
    }

    /// What this person said last, if that is known.
    pub fn last_word(&self, recipient: u32) -> Option<LastWord> {
        let first = || match &self.call_of(recipient)?.end {
            End::Answered(answer) => Some(LastWord { at: Moment::after_ms(self.offset_of(answer.at)), choice: answer.choice }),
            End::Open | End::Escalated { .. } | End::Exhausted { .. } | End::Expired { .. } => None,
        };
        self.last_words.get(&recipient).copied().or_else(first)
    }

    pub fn place_of(&self, recipient: u32) -> Place {
        let after = self.places.partition_point(|place| place.first <= recipient);
        self.places[after.saturating_sub(1)]
    }

    pub fn area_of(&self, recipient: u32) -> AreaCode {
        self.areas[usize::from(self.place_of(recipient).area)]
    }

    pub fn role_of(&self, recipient: u32) -> &str {
        self.roles.get(usize::from(self.place_of(recipient).role)).map_or("", String::as_str)
    }

    pub fn leg_of(&self, index: u32) -> &BookLeg {
        let after = self.legs.partition_point(|leg| leg.first <= index);
        &self.legs[after.saturating_sub(1)]
    }

    pub fn route_of(&self, index: u32) -> &Route {
        &self.routes[usize::from(self.leg_of(index).route)]
    }

    pub fn word(&self, number: u8) -> &str {
        self.words.get(usize::from(number)).map_or("", String::as_str)
    }

    pub fn word_number(&self, word: &str) -> Option<u8> {
        self.words.iter().position(|known| known == word).and_then(|place| u8::try_from(place).ok())
    }

    /// Delivery that an account's own id names.
    pub fn delivery_of_ref(&self, account: &str, provider_ref: &str) -> Option<u32> {
        if self.refs.is_empty() {
            return None;
        }
        let account = self.word_number(account)?;
        self.refs.get(account, provider_ref)
    }

    pub fn call_of(&self, recipient: u32) -> Option<&Call> {
        self.call_numbers.get(&recipient).map(|&number| &self.calls[number as usize])
    }

    /// The recipient that stands for this registry key, looked for in its area first.
    pub fn recipient_of(&self, kind: RecipientKind, key: u32, area: Option<AreaCode>) -> Option<u32> {
        let likely = area.and_then(|code| self.area_numbers.get(&code.padded()).copied());
        let search = |wanted: &dyn Fn(&Place) -> bool| {
            self.places.iter().enumerate().filter(|(_, place)| place.kind == kind && wanted(place)).find_map(|(number, place)| {
                let end = self.places.get(number + 1).map_or(self.recipients.len(), |next| next.first as usize);
                let found = self.recipients[place.first as usize..end].iter().position(|recipient| recipient.key == key)?;
                Some(place.first + u32::try_from(found).ok()?)
            })
        };
        likely.and_then(|likely| search(&|place| place.area == likely)).or_else(|| search(&|_| true))
    }

    /// Deliveries owed to one recipient, in the order they were planned.
    pub fn deliveries_of(&self, recipient: u32) -> impl Iterator<Item = u32> + '_ {
        self.legs.iter().filter_map(move |leg| {
            let slots = &self.slots[leg.first as usize..(leg.first + leg.count) as usize];
            let found = slots.binary_search_by_key(&recipient, |slot| slot.recipient).ok()?;
            Some(leg.first + u32::try_from(found).ok()?)
        })
    }

    /// Whether anything was ever handed to a far end for this recipient.
    pub fn was_told(&self, recipient: u32) -> bool {
        self.deliveries_of(recipient).any(|index| Self::left_us(&self.slots[index as usize]))
    }

    /// A far end has said that it took or brought it.
    pub fn is_out(slot: &Slot) -> bool {
        slot.accepted.is_set() || slot.is_reached()
    }

    pub fn left_us(slot: &Slot) -> bool {
        slot.attempts() > 0 || slot.phase == Phase::InFlight || slot.accepted.is_set() || slot.is_reached()
    }
}
