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
