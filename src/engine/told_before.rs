//! Owns who was told what by the alerts that a new one changes or ends: each chain from its oldest link on, several chains side by side.
//! Refuses to know texts, far ends and storage. Invariant: whoever got a warning of any link of any chain, and was not told since by that
//! chain that it was over for them, is in it once (I10): an Update or Cancel that was itself overtaken may have reached nobody.

use std::collections::{HashMap, HashSet};

use crate::{
    alert::AlertNo,
    area::AreaCode,
    delivery::{
        book::Book,
        plan::{Occasion, RecipientKind},
    },
};

/// A route is a bit of a mask; those beyond share the last, so that nobody is left out.
const ROUTE_BITS: usize = 32;
/// Ways in which people may have heard of several alerts at once; beyond it the first stands for all, which are all that is ended.
const SETS_MAX: usize = 4_096;

pub(crate) type Key = (RecipientKind, u32);

/// Someone who must hear what becomes of it, and where they were told.
pub(crate) struct Person<'a> {
    pub(crate) kind: RecipientKind,
    pub(crate) key: u32,
    pub(crate) area: AreaCode,
    pub(crate) role: &'a str,
}

#[derive(Clone, Copy)]
struct Heard {
    /// Bits of `routes`.
    ways: u32,
    area: AreaCode,
    role: u16,
    /// Place in `sets`: the alerts whose words this one had last.
    of: u16,
}

#[derive(Default)]
pub(crate) struct ToldBefore {
    heard: HashMap<Key, Heard>,
    pub(crate) routes: Vec<String>,
    roles: Vec<String>,
    sets: Vec<Vec<AlertNo>>,
}

impl ToldBefore {
    /// The next newer link of the chain.
    pub(crate) fn then(&mut self, book: &Book) {
        let bits: Vec<u32> = book.routes.iter().map(|route| 1 << self.number_of(&route.word)).collect();
        let mut masks = vec![0_u32; book.recipients.len()];
        for leg in &book.legs {
            for slot in &book.slots[leg.first as usize..(leg.first + leg.count) as usize] {
                if matches!(leg.occasion, Occasion::Gone | Occasion::AllClear) {
                    // What was only tried may have been lost with its own alert's end: better twice than never.
                    if slot.accepted.is_set() || slot.is_reached() {
                        // For what older links said, not for what this one says to the same person below.
                        self.heard.remove(&key_of(book, slot.recipient));
                    }
                } else if Book::left_us(slot) {
                    masks[slot.recipient as usize] |= bits[usize::from(leg.route)];
                }
            }
        }
        let own = self.set_of(vec![book.accepted.alert]);
        for (recipient, &ways) in (0_u32..).zip(&masks).filter(|&(_, &ways)| ways != 0) {
            let (area, role) = (book.area_of(recipient), self.role_of(book.role_of(recipient)));
            let now = Heard { ways, area, role, of: own };
            let known = self.heard.entry(key_of(book, recipient)).or_insert(now);
            *known = Heard { ways: known.ways | ways, ..now };
        }
    }

    /// What another chain has told, beside this one.
    pub(crate) fn beside(&mut self, other: Self) {
        let bits: Vec<u32> = other.routes.iter().map(|route| 1 << self.number_of(route)).collect();
        let roles: Vec<u16> = other.roles.iter().map(|role| self.role_of(role)).collect();
        // A county's people fall into few pairs of sets.
        let mut joined_sets: HashMap<(u16, Option<u16>), u16> = HashMap::new();
        for (key, theirs) in other.heard {
            let ways = (0_u32..).zip(&bits).filter(|(bit, _)| theirs.ways >> bit & 1 == 1).fold(0, |ways, (_, bit)| ways | bit);
            let (area, role) = (theirs.area, roles[usize::from(theirs.role)]);
            let known = self.heard.get(&key).copied();
            let pair = (theirs.of, known.map(|known| known.of));
            let of = *joined_sets.entry(pair).or_insert_with(|| {
                let mut both = other.sets[usize::from(pair.0)].clone();
                both.extend(pair.1.iter().flat_map(|&own| &self.sets[usize::from(own)]));
                both.sort_unstable();
                both.dedup();
                self.set_of(both)
            });
            let joined = known.map_or(Heard { ways, area, role, of }, |known| Heard { ways: known.ways | ways, of, ..known });
            self.heard.insert(key, joined);
        }
    }

    /// Those of these are told by another alert of the same document: for them it is not over.
    pub(crate) fn leave(&mut self, others: &HashSet<Key>) {
        self.heard.retain(|key, _| !others.contains(key));
    }

    fn number_of(&mut self, word: &str) -> usize {
        place_in(&mut self.routes, word).min(ROUTE_BITS - 1)
    }

    fn role_of(&mut self, role: &str) -> u16 {
        u16::try_from(place_in(&mut self.roles, role)).unwrap_or(u16::MAX)
    }

    fn set_of(&mut self, alerts: Vec<AlertNo>) -> u16 {
        let known = self.sets.iter().position(|known| *known == alerts);
        let place = known.unwrap_or_else(|| {
            if self.sets.len() >= SETS_MAX {
                return 0;
            }
            self.sets.push(alerts);
            self.sets.len() - 1
        });
        u16::try_from(place).unwrap_or(0)
    }

    /// The routes by which this one was told, as bits; none for whoever was not.
    pub(crate) fn ways(&self, kind: RecipientKind, key: u32) -> u32 {
        self.heard.get(&(kind, key)).map_or(0, |heard| heard.ways)
    }

    /// In the order of kinds, areas, roles and keys, so that the same people always make the same plan.
    pub(crate) fn people(&self) -> Vec<Person<'_>> {
        let mut people: Vec<Person<'_>> = self
            .heard
            .iter()
            .map(|(&(kind, key), heard)| Person { kind, key, area: heard.area, role: &self.roles[usize::from(heard.role)] })
            .collect();
        people.sort_unstable_by_key(|person| (person.kind, person.area, person.role, person.key));
        people
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.heard.is_empty()
    }

    /// Whose words each of them had last, in little room: most had the same.
    pub(crate) fn words(self) -> WordsBefore {
        let mut counts = vec![0_usize; self.sets.len()];
        self.heard.values().for_each(|heard| counts[usize::from(heard.of)] += 1);
        let usual = (0_u16..).zip(&counts).max_by_key(|&(_, count)| count).map_or(0, |(place, _)| place);
        let others = self.heard.iter().filter(|(_, heard)| heard.of != usual).map(|(&key, heard)| (key, heard.of)).collect();
        WordsBefore { sets: self.sets, usual, others }
    }
}

/// Whose words people had before.
#[derive(Debug, Default)]
pub(crate) struct WordsBefore {
    sets: Vec<Vec<AlertNo>>,
    usual: u16,
    others: HashMap<Key, u16>,
}

impl WordsBefore {
    /// The alerts whose words this one had last; empty where nothing is known.
    pub(crate) fn of(&self, kind: RecipientKind, key: u32) -> &[AlertNo] {
        let place = self.others.get(&(kind, key)).copied().unwrap_or(self.usual);
        self.sets.get(usize::from(place)).map_or(&[], Vec::as_slice)
    }
}

fn place_in(words: &mut Vec<String>, word: &str) -> usize {
    words.iter().position(|known| known == word).unwrap_or_else(|| {
        words.push(word.to_owned());
        words.len() - 1
    })
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
        told.people().iter().map(|person| person.key).collect()
    }

    #[test]
    fn an_all_clear_that_was_overtaken_reached_only_those_who_took_it() {
        let taken = Some(FactKind::Accepted);
        let mut told = ToldBefore::default();
        told.then(&book(Occasion::Warning, [taken, taken, taken]));
        // The first all-clear came to 10, was tried for 11, and was called off before 12.
        told.then(&book(Occasion::AllClear, [taken, Some(FactKind::Retry), None]));
        assert_eq!(keys(&told), [11, 12]);
        assert_ne!(told.ways(RecipientKind::Person, 12), 0);
        assert_eq!(told.ways(RecipientKind::Person, 10), 0);
    }

    #[test]
    fn who_was_warned_again_after_it_was_over_is_told_of_the_end() {
        let taken = Some(FactKind::Accepted);
        let mut told = ToldBefore::default();
        told.then(&book(Occasion::Warning, [taken, taken, taken]));
        told.then(&book(Occasion::Gone, [taken, taken, None]));
        told.then(&book(Occasion::Warning, [taken, None, None]));
        assert_eq!(keys(&told), [10, 12]);
    }

    #[test]
    fn what_failed_in_a_far_ends_hands_may_have_come() {
        let mut told = ToldBefore::default();
        told.then(&book(Occasion::Warning, [Some(FactKind::Failed), None, Some(FactKind::Unknown)]));
        assert_eq!(keys(&told), [10, 12]);
    }

    /// What an alert of this number told.
    fn numbered(number: u32, became: [Option<FactKind>; 3]) -> Book {
        let mut book = book(Occasion::Warning, became);
        book.accepted.alert = AlertNo(number);
        book
    }

    #[test]
    fn who_was_told_by_two_chains_is_told_once_with_the_words_of_both() {
        let taken = Some(FactKind::Accepted);
        let chain = |number, became| {
            let mut told = ToldBefore::default();
            told.then(&numbered(number, became));
            told
        };
        let mut told = chain(4, [taken, taken, None]);
        told.beside(chain(7, [None, taken, taken]));
        assert_eq!(keys(&told), [10, 11, 12]);
        let words = told.words();
        let of = |key| words.of(RecipientKind::Person, key).iter().map(|no| no.0).collect::<Vec<_>>();
        assert_eq!([of(10), of(11), of(12)], [vec![4], vec![4, 7], vec![7]]);
    }

    #[test]
    fn what_is_over_by_one_chain_is_not_over_by_the_other() {
        let taken = Some(FactKind::Accepted);
        let mut told = ToldBefore::default();
        told.then(&numbered(1, [taken, taken, None]));
        told.then(&book(Occasion::AllClear, [taken, taken, None]));
        assert!(told.is_empty());
        let mut other = ToldBefore::default();
        other.then(&numbered(2, [None, taken, taken]));
        told.beside(other);
        assert_eq!(keys(&told), [11, 12]);
    }

    #[test]
    fn who_had_the_newer_link_had_its_words_and_who_missed_it_those_before() {
        let taken = Some(FactKind::Accepted);
        let mut told = ToldBefore::default();
        told.then(&numbered(1, [taken, taken, taken]));
        told.then(&numbered(2, [taken, None, None]));
        let words = told.words();
        assert_eq!(words.of(RecipientKind::Person, 10), [AlertNo(2)]);
        assert_eq!(words.of(RecipientKind::Person, 12), [AlertNo(1)]);
    }
}
