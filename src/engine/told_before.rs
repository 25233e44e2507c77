//! Owns who was told what by the alerts that a new one changes or ends: the whole chain, newest first.
//! Refuses to know texts, far ends and storage. Invariant: whoever got a warning of any link, and was not told since that it was over
//! for them, is in it (I10): an Update or Cancel that was itself overtaken may have reached nobody.

use std::collections::{HashMap, HashSet};

use crate::{
    area::AreaCode,
    delivery::{
        book::Book,
        plan::{Occasion, RecipientKind},
    },
};

/// A route is a bit of a mask; those beyond share the last, so that nobody is left out.
const ROUTE_BITS: usize = 32;

type Key = (RecipientKind, u32);

/// Someone who must hear what becomes of it, and where they were told.
pub(crate) struct Person {
    pub(crate) kind: RecipientKind,
    pub(crate) key: u32,
    pub(crate) area: AreaCode,
    pub(crate) role: String,
}

#[derive(Default)]
pub(crate) struct ToldBefore {
    /// Bits of `routes`.
    masks: HashMap<Key, u32>,
    /// In the order of the books.
    pub(crate) people: Vec<Person>,
    pub(crate) routes: Vec<String>,
    over: HashSet<Key>,
}

impl ToldBefore {
    /// The next older link of the chain.
    pub(crate) fn add(&mut self, book: &Book) {
        let bits: Vec<u32> = book.routes.iter().map(|route| 1 << self.number_of(&route.word)).collect();
        let mut masks = vec![0_u32; book.recipients.len()];
        let mut over = Vec::new();
        for leg in &book.legs {
            for slot in &book.slots[leg.first as usize..(leg.first + leg.count) as usize] {
                if matches!(leg.occasion, Occasion::Gone | Occasion::AllClear) {
                    // What was only tried may have been lost with its own alert's end: better twice than never.
                    if slot.accepted.is_set() || slot.is_reached() {
                        over.push(key_of(book, slot.recipient));
                    }
                } else if Book::left_us(slot) {
                    masks[slot.recipient as usize] |= bits[usize::from(leg.route)];
                }
            }
        }
        for (recipient, &bits) in (0_u32..).zip(&masks).filter(|&(_, &bits)| bits != 0) {
            self.note(book, recipient, bits);
        }
        // It is over by this link for what older ones said, not for what this one did.
        self.over.extend(over);
    }

    /// Those of these are told by another alert of the same document: for them it is not over.
    pub(crate) fn leave(&mut self, others: &HashSet<Key>) {
        self.people.retain(|person| !others.contains(&(person.kind, person.key)));
    }

    fn note(&mut self, book: &Book, recipient: u32, bits: u32) {
        let (kind, key) = key_of(book, recipient);
        if self.over.contains(&(kind, key)) {
            return;
        }
        let known = self.masks.entry((kind, key)).or_default();
        if *known == 0 {
            let (area, role) = (book.area_of(recipient), book.role_of(recipient).to_owned());
            self.people.push(Person { kind, key, area, role });
        }
        *known |= bits;
    }

    fn number_of(&mut self, word: &str) -> usize {
        let known = self.routes.iter().position(|known| known == word).unwrap_or_else(|| {
            self.routes.push(word.to_owned());
            self.routes.len() - 1
        });
        known.min(ROUTE_BITS - 1)
    }

    /// The routes by which this one was told, as bits; none for whoever was not.
    pub(crate) fn ways(&self, kind: RecipientKind, key: u32) -> u32 {
        self.masks.get(&(kind, key)).copied().unwrap_or_default()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.people.is_empty()
    }
}

fn key_of(book: &Book, recipient: u32) -> Key {
    (book.place_of(recipient).kind, book.recipients[recipient as usize].key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        alert::AlertNo,
        delivery::{
            event::{Fact, FactKind, Facts, Leased},
            kit::{T0, blank},
            plan::{Lane, Leg, PlanPart, Purpose, Run},
        },
    };

    /// Persons 10, 11 and 12 of a village are owed this by one route; what became of each.
    fn book(occasion: Occasion, became: [Option<FactKind>; 3]) -> Book {
        let mut book = blank();
        let area = "510726102201".parse().expect("a code");
        let run = Run { area, kind: RecipientKind::Person, role: "monitor".into(), keys: vec![10, 11, 12], unreachable: Vec::new() };
        let parts = [
            PlanPart::Open { number: 0, at: T0, purpose: Purpose::First },
            PlanPart::Run(run),
            PlanPart::Leg(Leg { route: "text/phone".into(), lane: Lane::Act, occasion, recipients: vec![(0, 3)] }),
            PlanPart::Seal { number: 0, recipients: 3, deliveries: 3 },
        ];
        for part in parts {
            book.apply_plan(part).expect("a sound plan");
        }
        let facts = (0_u32..).zip(became).filter_map(|(index, kind)| Some(Fact { index, kind: kind?, code: 0, at_ms: 9 }));
        let list: Vec<Fact> = facts.collect();
        let ranges = list.iter().map(|fact| (fact.index, 1)).collect();
        book.apply_lease(&Leased { alert: AlertNo(0), at: T0, account: "text".into(), ranges });
        book.apply_facts(&Facts { alert: AlertNo(0), base: T0, words: vec!["why".into()], list });
        book.cancel(T0, "duty".into(), "over".into());
        book
    }

    fn keys(told: &ToldBefore) -> Vec<u32> {
        told.people.iter().map(|person| person.key).collect()
    }

    #[test]
    fn an_all_clear_that_was_overtaken_reached_only_those_who_took_it() {
        let taken = Some(FactKind::Accepted);
        let mut told = ToldBefore::default();
        // The first all-clear came to 10, was tried for 11, and was called off before 12.
        told.add(&book(Occasion::AllClear, [taken, Some(FactKind::Retry), None]));
        told.add(&book(Occasion::Warning, [taken, taken, taken]));
        assert_eq!(keys(&told), [11, 12]);
        assert_ne!(told.ways(RecipientKind::Person, 12), 0);
        assert_eq!(told.ways(RecipientKind::Person, 10), 0);
    }

    #[test]
    fn who_was_warned_again_after_it_was_over_is_told_of_the_end() {
        let taken = Some(FactKind::Accepted);
        let mut told = ToldBefore::default();
        told.add(&book(Occasion::Warning, [taken, None, None]));
        told.add(&book(Occasion::Gone, [taken, taken, None]));
        told.add(&book(Occasion::Warning, [taken, taken, taken]));
        assert_eq!(keys(&told), [10, 12]);
    }

    #[test]
    fn what_failed_in_a_far_ends_hands_may_have_come() {
        let mut told = ToldBefore::default();
        told.add(&book(Occasion::Warning, [Some(FactKind::Failed), None, Some(FactKind::Unknown)]));
        assert_eq!(keys(&told), [10, 12]);
    }
}
