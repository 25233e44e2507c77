//! Owns one delivery's state, in 24 bytes: phase (what we owe) and evidence (what is proven), never mixed.
//! Refuses to know other deliveries, clocks and far ends; pure transitions on times handed in.
//! Invariant: evidence is set once, the earliest wins, and is never inferred; a closed delivery is never opened again.

use serde::{Deserialize, Serialize};

use super::event::FactKind;

/// Milliseconds after the alert's base time, plus one; 0 is "never". Good for 49 days.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Moment(u32);

impl Moment {
    pub const NEVER: Self = Self(0);

    pub fn after_ms(ms: u32) -> Self {
        Self(ms.saturating_add(1))
    }

    pub const fn ms(self) -> Option<u32> {
        self.0.checked_sub(1)
    }

    pub const fn is_set(self) -> bool {
        self.0 != 0
    }

    /// Sets it, or moves it earlier; never later, never back to "never".
    pub fn note(&mut self, ms: u32) {
        let moment = Self::after_ms(ms);
        if !self.is_set() || moment < *self {
            *self = moment;
        }
    }
}

/// What we owe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u8)]
pub enum Phase {
    /// To be sent at `due`.
    #[default]
    Pending,
    /// Leased to a sender.
    InFlight,
    /// Taken by a far end; a report is due.
    AwaitingProof,
    /// Closed: the goal of its route is met.
    Settled,
    Failed,
    Unproven,
    Expired,
    Cancelled,
    Suppressed,
}

impl Phase {
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Pending | Self::InFlight | Self::AwaitingProof)
    }
}

/// The furthest a delivery has come: the parts of `progress` in contract §2, each delivery in exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Furthest {
    Queued,
    InFlight,
    Accepted,
    Delivered,
    Answered,
    Failed,
    Expired,
    Cancelled,
    Suppressed,
}

impl Furthest {
    pub const COUNT: usize = 9;
    pub const NAMES: [&'static str; Self::COUNT] =
        ["queued", "in_flight", "accepted", "delivered", "answered", "failed", "expired", "cancelled", "suppressed"];

    pub const fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    pub recipient: u32,
    /// When it is to be sent, while pending.
    pub due: Moment,
    pub accepted: Moment,
    pub delivered: Moment,
    /// Played (devices) or answered (people): a delivery has only one of the two.
    pub crowned: Moment,
    pub phase: Phase,
    pub attempts: u8,
    /// Name (word of the book) of the account that has it, or is to have it next; 0 while none is chosen.
    pub account: u8,
    /// Index into the book's words: why it was put off or closed.
    pub word: u8,
}

impl Slot {
    pub fn furthest(&self, is_device: bool) -> Furthest {
        if self.crowned.is_set() && !is_device {
            return Furthest::Answered;
        }
        if self.delivered.is_set() || self.crowned.is_set() {
            return Furthest::Delivered;
        }
        match self.phase {
            Phase::Failed => Furthest::Failed,
            Phase::Expired => Furthest::Expired,
            Phase::Cancelled => Furthest::Cancelled,
            Phase::Suppressed => Furthest::Suppressed,
            Phase::Pending if self.accepted.is_set() => Furthest::Accepted,
            Phase::Pending => Furthest::Queued,
            Phase::InFlight if self.accepted.is_set() => Furthest::Accepted,
            Phase::InFlight => Furthest::InFlight,
            Phase::AwaitingProof | Phase::Settled | Phase::Unproven => Furthest::Accepted,
        }
    }

    /// Confirmed by the far end or the person.
    pub fn reached(&self) -> Moment {
        match (self.delivered.is_set(), self.crowned.is_set()) {
            (true, true) => self.delivered.min(self.crowned),
            (true, false) => self.delivered,
            (false, _) => self.crowned,
        }
    }

    pub fn lease(&mut self, account: u8) {
        if self.phase == Phase::Pending {
            self.phase = Phase::InFlight;
            self.account = account;
        }
    }

    /// Applies one fact. Late, doubled and out-of-order facts are normal and change only what they may.
    /// `word` is an account's name or a reason, as `kind` says.
    pub fn apply(&mut self, kind: FactKind, word: u8, at_ms: u32) {
        match kind {
            FactKind::Accepted => {
                self.accepted.note(at_ms);
                self.account = word;
                if matches!(self.phase, Phase::Pending | Phase::InFlight) {
                    self.attempts = self.attempts.saturating_add(1);
                    self.phase = Phase::AwaitingProof;
                    self.due = Moment::NEVER;
                }
            }
            FactKind::Delivered => {
                self.delivered.note(at_ms);
                self.settle();
            }
            FactKind::Played | FactKind::Answered => {
                self.crowned.note(at_ms);
                self.settle();
            }
            FactKind::Retry | FactKind::Unknown => {
                if self.phase.is_open() {
                    self.count_attempt();
                    self.put_off(at_ms, word);
                }
            }
            FactKind::NextAccount => {
                if self.phase.is_open() {
                    self.count_attempt();
                    self.put_off(at_ms, self.word);
                    self.account = word;
                }
            }
            FactKind::Throttled => {
                if matches!(self.phase, Phase::Pending | Phase::InFlight) {
                    self.put_off(at_ms, word);
                }
            }
            FactKind::Settled => {
                self.accepted.note(at_ms);
                self.account = word;
                if self.phase.is_open() {
                    self.attempts = self.attempts.saturating_add(1);
                    self.phase = Phase::Settled;
                }
            }
            FactKind::Failed => self.close(Phase::Failed, word),
            FactKind::Unproven => self.close(Phase::Unproven, word),
            FactKind::Expired => self.close(Phase::Expired, word),
            FactKind::Cancelled => self.close(Phase::Cancelled, word),
            FactKind::Suppressed => self.close(Phase::Suppressed, word),
        }
    }

    fn settle(&mut self) {
        if self.phase.is_open() {
            // The first report may overtake the return of the send: it was one attempt all the same.
            self.count_attempt();
            self.phase = Phase::Settled;
            self.due = Moment::NEVER;
        }
    }

    /// One that a far end has taken was counted then.
    fn count_attempt(&mut self) {
        if self.phase != Phase::AwaitingProof {
            self.attempts = self.attempts.saturating_add(1);
        }
    }

    fn put_off(&mut self, at_ms: u32, word: u8) {
        self.phase = Phase::Pending;
        self.due = Moment::after_ms(at_ms);
        self.word = word;
    }

    fn close(&mut self, phase: Phase, word: u8) {
        if self.phase.is_open() {
            self.phase = phase;
            self.word = word;
            self.due = Moment::NEVER;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_fact() -> impl Strategy<Value = (FactKind, u32)> {
        let kinds = [
            FactKind::Accepted,
            FactKind::Delivered,
            FactKind::Answered,
            FactKind::Retry,
            FactKind::Throttled,
            FactKind::Unknown,
            FactKind::NextAccount,
            FactKind::Failed,
            FactKind::Unproven,
            FactKind::Expired,
            FactKind::Cancelled,
            FactKind::Suppressed,
            FactKind::Settled,
        ];
        (proptest::sample::select(kinds.to_vec()), 0_u32..100_000)
    }

    proptest! {
        #[test]
        fn evidence_is_never_lost_or_moved_later_and_what_is_closed_stays_closed(facts in proptest::collection::vec(any_fact(), 1..30)) {
            let mut slot = Slot::default();
            for (kind, at_ms) in facts {
                let before = slot;
                slot.apply(kind, 0, at_ms);
                for (old, new) in [(before.accepted, slot.accepted), (before.delivered, slot.delivered), (before.crowned, slot.crowned)] {
                    prop_assert!(!old.is_set() || new.is_set() && new <= old);
                }
                prop_assert!(before.phase.is_open() || slot.phase == before.phase);
            }
        }

        #[test]
        fn evidence_is_the_same_in_whatever_order_it_comes(facts in proptest::collection::vec(any_fact(), 1..12), turn in 0_usize..12) {
            let mut forth = Slot::default();
            let mut mixed = Slot::default();
            let mut other = facts.clone();
            other.rotate_left(turn % facts.len());
            for (kind, at_ms) in facts { forth.apply(kind, 0, at_ms); }
            for (kind, at_ms) in other { mixed.apply(kind, 0, at_ms); }
            prop_assert_eq!((forth.accepted, forth.delivered, forth.crowned), (mixed.accepted, mixed.delivered, mixed.crowned));
        }
    }

    #[test]
    fn a_receipt_before_the_send_returns_settles_and_the_return_changes_nothing() {
        let mut slot = Slot::default();
        slot.lease(0);
        slot.apply(FactKind::Delivered, 0, 40);
        slot.apply(FactKind::Accepted, 0, 50);
        assert_eq!((slot.phase, slot.attempts, slot.furthest(false)), (Phase::Settled, 1, Furthest::Delivered));
    }

    #[test]
    fn twenty_four_bytes_hold_a_delivery() {
        assert_eq!(size_of::<Slot>(), 24);
    }
}
