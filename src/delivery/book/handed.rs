//! Owns which accounts ever had a delivery: what makes their reports about it count. The account that has it stands in its slot; only those
//! that it was passed on from, and parts that were refused, are written down, in the index that names of accounts are looked up in.
//! Refuses to know what reports say. Invariant: an account that was never leased a delivery never had it.

use super::Book;
use crate::delivery::{
    event::FactKind,
    slot::{Phase, Slot},
};

/// First letter of names that are none of an account's: no message of a far end is called so.
const OURS: char = '\0';

/// Whether a far end's own id is one that we could mistake for a note of ours.
pub fn is_foreign_ref(provider_ref: &str) -> bool {
    !provider_ref.contains(OURS)
}

fn had(index: u32) -> String {
    format!("{OURS}had {index}")
}

fn is_next(index: u32, attempts: u8) -> String {
    format!("{OURS}next {index} after {attempts}")
}

/// Name of the note that a part of this attempt was refused.
pub fn part_failed(index: u32, attempt: u8) -> String {
    format!("{OURS}part {index} of {attempt}")
}

impl Book {
    /// Whether this account was ever handed this delivery.
    pub fn had(&self, index: u32, account: &str) -> bool {
        let Some(slot) = self.slots.get(index as usize) else { return false };
        let is_noted = |note: &str| self.delivery_of_ref(account, note).is_some();
        if self.word(slot.account) != account {
            return is_noted(&had(index));
        }
        match slot.phase {
            Phase::InFlight | Phase::AwaitingProof => true,
            // Chosen as the next, and not leased yet: each lease ends in an attempt, or nothing was taken.
            _ => Self::left_us(slot) && (!is_noted(&is_next(index, slot.attempts())) || is_noted(&had(index))),
        }
    }

    /// Whether a part of this attempt (the latest, where none is named) was refused by the account's far end.
    pub fn lost_a_part(&self, index: u32, account: &str, attempt: Option<u8>) -> bool {
        let Some(slot) = self.slots.get(index as usize) else { return false };
        self.delivery_of_ref(account, &part_failed(index, attempt.unwrap_or_else(|| Self::attempt_of(slot)))).is_some()
    }

    /// Number of the attempt that is under way, or was the last.
    pub fn attempt_of(slot: &Slot) -> u8 {
        slot.attempts() + u8::from(slot.phase == Phase::InFlight)
    }

    /// Another account is about to be leased what is owed: what the one before had stays known.
    pub(super) fn take_over(&mut self, index: u32, account: u8) {
        let slot = &self.slots[index as usize];
        let before = slot.account;
        let changes = slot.phase == Phase::Pending && before != 0 && before != account && Self::left_us(slot);
        if changes && self.had(index, self.word(before)) {
            self.refs.insert(before, &had(index), index);
        }
    }

    pub(super) fn pass_on(&mut self, index: u32, kind: FactKind, next: u8, at_ms: u32) {
        let before = self.slots[index as usize];
        self.apply_to(index, kind, next, at_ms);
        let after = self.slots[index as usize];
        if before.phase.is_open() && before.account != next {
            self.refs.insert(before.account, &had(index), index);
            self.refs.insert(next, &is_next(index, after.attempts()), index);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::delivery::{
        event::{
            Fact,
            FactKind::{Accepted, Delivered, Expired, NextAccount, Retry, Throttled, Unknown, UnknownNext},
            Facts, Leased,
        },
        kit::{NO, T0, blank},
        plan::{Lane, Leg, Occasion, PlanPart, Purpose, RecipientKind, Run},
    };

    fn one_delivery() -> Book {
        let mut book = blank();
        let area = "510726102201".parse().expect("code");
        let run = Run { area, kind: RecipientKind::Person, role: "household".into(), keys: vec![7], unreachable: Vec::new() };
        let leg = Leg { route: "text/phone".into(), lane: Lane::Public, occasion: Occasion::Warning, recipients: vec![(0, 1)] };
        for part in [
            PlanPart::Open { number: 0, at: T0, purpose: Purpose::First },
            PlanPart::Run(run),
            PlanPart::Leg(leg),
            PlanPart::Seal { number: 0, recipients: 1, deliveries: 1 },
        ] {
            book.apply_plan(part).expect("a whole plan");
        }
        book
    }

    fn lease(book: &mut Book, account: &str) {
        book.apply_lease(&Leased { alert: NO, at: T0, account: account.into(), ranges: vec![(0, 1)] });
    }

    fn facts(book: &mut Book, list: &[(FactKind, &str)]) {
        for &(kind, word) in list {
            let fact = Fact { index: 0, kind, code: 0, at_ms: 9 };
            book.apply_facts(&Facts { alert: NO, base: T0, words: vec![word.to_owned()], list: vec![fact] });
        }
    }

    #[test]
    fn only_who_was_leased_it_ever_had_it() {
        let mut book = one_delivery();
        assert!(!book.had(0, "a") && !book.had(0, "b") && !book.had(1, "a") && !book.had(0, ""));
        lease(&mut book, "a");
        assert!(book.had(0, "a") && !book.had(0, "b"));
        facts(&mut book, &[(Throttled, "slow")]);
        assert!(!book.had(0, "a"), "it was not taken, and nothing has left");
        lease(&mut book, "a");
        facts(&mut book, &[(Retry, "busy")]);
        assert!(book.had(0, "a"), "a report may come of what was said to have failed");
        lease(&mut book, "a");
        facts(&mut book, &[(UnknownNext, "b")]);
        assert!(book.had(0, "a") && !book.had(0, "b"), "the next has not got it yet");
        let mut over = book.clone();
        facts(&mut over, &[(Expired, "")]);
        assert!(over.had(0, "a") && !over.had(0, "b"));
        lease(&mut book, "b");
        assert!(book.had(0, "a") && book.had(0, "b") && !book.had(0, "c"));
        facts(&mut book, &[(Unknown, "timeout")]);
        assert!(book.had(0, "b"));
        facts(&mut book, &[(NextAccount, "a")]);
        assert!(book.had(0, "a") && book.had(0, "b"));
    }

    proptest! {
        /// Whatever three accounts and their far ends do, each has had what it was leased and its far end may have taken, and nothing else.
        #[test]
        fn no_account_ever_had_what_another_was_leased(steps in proptest::collection::vec((0_usize..3, 0_usize..7, 0_usize..3), 1..40)) {
            const ACCOUNTS: [&str; 3] = ["a", "b", "c"];
            let (mut book, mut leased, mut tried) = (one_delivery(), [false; 3], [false; 3]);
            for (by, step, other) in steps {
                let slot = book.slots[0];
                // Only who has it reports outcomes, and an account is chosen only of what another had.
                let holder = ACCOUNTS.iter().position(|name| *name == book.word(slot.account));
                match (step, holder) {
                    (0, _) if slot.phase == Phase::Pending => {
                        lease(&mut book, ACCOUNTS[by]);
                        leased[by] = true;
                    }
                    (1, Some(_)) if slot.phase == Phase::InFlight => facts(&mut book, &[(Throttled, "slow")]),
                    (2..=5, Some(holder)) if slot.phase == Phase::InFlight => {
                        tried[holder] = true;
                        let next = ACCOUNTS[other];
                        let fact = [(Unknown, "timeout"), (Retry, "busy"), (UnknownNext, next), (NextAccount, next)][step - 2];
                        facts(&mut book, &[fact]);
                    }
                    (6, _) if slot.phase == Phase::Pending => facts(&mut book, &[(Expired, "")]),
                    _ => {}
                }
                for (account, name) in ACCOUNTS.iter().enumerate() {
                    prop_assert!(leased[account] || !book.had(0, name), "{} never had it", name);
                    prop_assert!(!tried[account] || book.had(0, name), "{} may have it", name);
                }
            }
        }
    }

    #[test]
    fn who_had_it_is_known_after_the_book_was_kept() {
        let mut book = one_delivery();
        lease(&mut book, "a");
        facts(&mut book, &[(UnknownNext, "b")]);
        let kept: Book = postcard::from_bytes(&postcard::to_allocvec(&book).expect("kept")).expect("read");
        assert!(kept.had(0, "a") && !kept.had(0, "b"));
    }

    #[test]
    fn what_came_back_reaches_nobody() {
        let mut book = one_delivery();
        lease(&mut book, "a");
        facts(&mut book, &[(Accepted, "a"), (Delivered, "")]);
        assert!(book.recipients[0].reached.is_set());
        facts(&mut book, &[(FactKind::CameBack, "no-such-mailbox")]);
        assert!(!book.recipients[0].reached.is_set());
        assert_eq!((book.slots[0].phase, book.violations()), (Phase::Failed, Vec::<String>::new()));
    }
}
