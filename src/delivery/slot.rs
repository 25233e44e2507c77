//! Owns one delivery's state, in 16 bytes: phase (what we owe) and evidence (what is proven), never mixed.
//! Refuses to know other deliveries, clocks and far ends; pure transitions on times handed in.
//! Invariant: evidence is set once, the earliest wins, and is never inferred; a closed delivery is never opened again. Only what was counted
//! as delivered because a far end took it can come back, and then it never was.
//! When one was played or answered is the book's to keep: few ever are, and a field here would cost each of a million.

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
    pub accepted: Moment,
    /// When it is to be sent, while it is owed; since when its proof is awaited, while it is; once closed, when it was confirmed.
    /// It is never in two of these at once, so one field is enough.
    due_or_delivered: Moment,
    pub phase: Phase,
    /// Times it was handed out, up to `ATTEMPTS_MAX`; the highest bit says that it was played (devices) or answered (people).
    attempts_and_crown: u8,
    /// Name (word of the book) of the account that has it, or is to have it next; 0 while none is chosen.
    pub account: u8,
    /// Index into the book's words: why it was put off or closed.
    pub word: u8,
}

const CROWN: u8 = 0x80;
/// Counted no further; schedules of retries are far shorter.
pub const ATTEMPTS_MAX: u8 = 0x7f;

impl Slot {
    pub fn owed_to(recipient: u32) -> Self {
        Self { recipient, ..Self::default() }
    }

    /// When it is to be sent; `NEVER` means at once, or not any more.
    pub fn due(&self) -> Moment {
        if self.phase == Phase::Pending { self.due_or_delivered } else { Moment::NEVER }
    }

    /// Since when the proof of the latest attempt is awaited: `accepted` keeps the first time that a far end took it.
    pub fn awaited_since(&self) -> Moment {
        match self.phase {
            // A book of before this was kept has only the first.
            Phase::AwaitingProof if self.due_or_delivered.is_set() => self.due_or_delivered,
            Phase::AwaitingProof => self.accepted,
            _ => Moment::NEVER,
        }
    }

    /// When the far end confirmed it.
    pub fn delivered(&self) -> Moment {
        if self.phase.is_open() { Moment::NEVER } else { self.due_or_delivered }
    }

    /// Played (devices) or answered (people): a delivery has only one of the two.
    pub const fn is_crowned(&self) -> bool {
        self.attempts_and_crown & CROWN != 0
    }

    pub const fn attempts(&self) -> u8 {
        self.attempts_and_crown & ATTEMPTS_MAX
    }

    /// Confirmed by the far end or the person.
    pub fn is_reached(&self) -> bool {
        self.is_crowned() || self.delivered().is_set()
    }

    pub fn furthest(&self, is_device: bool) -> Furthest {
        if self.is_crowned() && !is_device {
            return Furthest::Answered;
        }
        if self.is_reached() {
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
                // Another's, when that has it by now: what was late to say that it took it does not get it back.
                let is_its = self.account == 0 || self.account == word;
                if is_its && matches!(self.phase, Phase::Pending | Phase::InFlight) {
                    self.account = word;
                    self.one_more_attempt();
                    self.phase = Phase::AwaitingProof;
                    self.due_or_delivered = Moment::after_ms(at_ms);
                }
            }
            FactKind::Delivered => {
                self.settle();
                self.due_or_delivered.note(at_ms);
            }
            FactKind::Played | FactKind::Answered => {
                self.settle();
                self.attempts_and_crown |= CROWN;
            }
            FactKind::Retry | FactKind::Unknown => {
                if self.phase.is_open() {
                    self.count_attempt();
                    self.put_off(at_ms, word);
                }
            }
            FactKind::NextAccount | FactKind::UnknownNext => {
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
                if self.phase.is_open() {
                    self.account = word;
                    self.one_more_attempt();
                    self.close_as(Phase::Settled);
                }
            }
            FactKind::Failed => {
                // It was handed out, and perhaps taken when nobody knows: whoever may have it must hear the end.
                if self.phase == Phase::InFlight {
                    self.one_more_attempt();
                }
                self.close(Phase::Failed, word);
            }
            FactKind::CameBack => self.come_back(word),
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
            self.close_as(Phase::Settled);
        }
    }

    /// A person's answer is stronger than whatever a far end says.
    fn come_back(&mut self, word: u8) {
        if self.is_crowned() || !(self.phase.is_open() || self.phase == Phase::Settled) {
            return;
        }
        if self.phase == Phase::InFlight {
            self.one_more_attempt();
        }
        self.close_as(Phase::Failed);
        self.word = word;
    }

    /// One that a far end has taken was counted then.
    fn count_attempt(&mut self) {
        if self.phase != Phase::AwaitingProof {
            self.one_more_attempt();
        }
    }

    fn one_more_attempt(&mut self) {
        if self.attempts() < ATTEMPTS_MAX {
            self.attempts_and_crown += 1;
        }
    }

    fn put_off(&mut self, at_ms: u32, word: u8) {
        self.phase = Phase::Pending;
        self.due_or_delivered = Moment::after_ms(at_ms);
        self.word = word;
    }

    fn close(&mut self, phase: Phase, word: u8) {
        if self.phase.is_open() {
            self.close_as(phase);
            self.word = word;
        }
    }

    /// From here on the shared field is evidence.
    fn close_as(&mut self, phase: Phase) {
        self.phase = phase;
        self.due_or_delivered = Moment::NEVER;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::delivery::kit;

    fn any_fact() -> impl Strategy<Value = (FactKind, u32)> {
        // What came back is no evidence that was lost: it never was any.
        (kit::any_kind().prop_filter("evidence", |kind| *kind != FactKind::CameBack), 0_u32..100_000)
    }

    proptest! {
        #[test]
        fn evidence_is_never_lost_or_moved_later_and_what_is_closed_stays_closed(facts in proptest::collection::vec(any_fact(), 1..30)) {
            let mut slot = Slot::default();
            for (kind, at_ms) in facts {
                let before = slot;
                slot.apply(kind, 0, at_ms);
                for (old, new) in [(before.accepted, slot.accepted), (before.delivered(), slot.delivered())] {
                    prop_assert!(!old.is_set() || new.is_set() && new <= old);
                }
                prop_assert!(before.phase.is_open() || slot.phase == before.phase);
                prop_assert!(slot.is_crowned() || !before.is_crowned());
                prop_assert!(slot.attempts() >= before.attempts());
                prop_assert!(!slot.due().is_set() || slot.phase == Phase::Pending);
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
            prop_assert_eq!((forth.accepted, forth.delivered(), forth.is_crowned()), (mixed.accepted, mixed.delivered(), mixed.is_crowned()));
        }
    }

    #[test]
    fn a_receipt_before_the_send_returns_settles_and_the_return_changes_nothing() {
        let mut slot = Slot::default();
        slot.lease(0);
        slot.apply(FactKind::Delivered, 0, 40);
        slot.apply(FactKind::Accepted, 0, 50);
        assert_eq!((slot.phase, slot.attempts(), slot.furthest(false)), (Phase::Settled, 1, Furthest::Delivered));
    }

    #[test]
    fn attempts_are_counted_up_to_their_bound_and_leave_the_crown_alone() {
        let mut slot = Slot::default();
        for _ in 0..300 {
            slot.apply(FactKind::Retry, 0, 5);
        }
        assert_eq!((slot.attempts(), slot.is_crowned()), (ATTEMPTS_MAX, false));
        slot.apply(FactKind::Answered, 0, 9);
        assert_eq!((slot.attempts(), slot.is_crowned(), slot.delivered()), (ATTEMPTS_MAX, true, Moment::NEVER));
    }

    #[test]
    fn each_attempt_has_its_own_wait_for_a_proof_and_evidence_keeps_the_first() {
        let mut slot = Slot::default();
        slot.lease(0);
        slot.apply(FactKind::Accepted, 0, 40);
        slot.apply(FactKind::Retry, 0, 9_000);
        assert_eq!((slot.due(), slot.awaited_since()), (Moment::after_ms(9_000), Moment::NEVER));
        slot.lease(0);
        assert_eq!(slot.due(), Moment::NEVER);
        slot.apply(FactKind::Accepted, 0, 50_000);
        assert_eq!((slot.accepted, slot.awaited_since()), (Moment::after_ms(40), Moment::after_ms(50_000)));
        slot.apply(FactKind::Unproven, 0, 60_000);
        assert_eq!((slot.delivered(), slot.is_reached()), (Moment::NEVER, false));
    }

    #[test]
    fn what_fails_while_a_far_end_has_it_was_handed_out_once() {
        let mut slot = Slot::default();
        slot.lease(0);
        slot.apply(FactKind::Failed, 0, 9);
        slot.apply(FactKind::Failed, 0, 10);
        assert_eq!((slot.phase, slot.attempts()), (Phase::Failed, 1));
    }

    #[test]
    fn what_came_back_never_was_delivered_unless_its_reader_has_answered() {
        let taken = |facts: &[FactKind]| {
            let mut slot = Slot::default();
            slot.lease(1);
            facts.iter().for_each(|&kind| slot.apply(kind, 1, 40));
            (slot.phase, slot.is_reached(), slot.attempts())
        };
        use FactKind::{Accepted, Answered, CameBack, Delivered};
        assert_eq!(taken(&[Accepted, Delivered, CameBack, CameBack]), (Phase::Failed, false, 1));
        assert_eq!(taken(&[CameBack]), (Phase::Failed, false, 1));
        assert_eq!(taken(&[Accepted, Delivered, Answered, CameBack]), (Phase::Settled, true, 1));
    }

    #[test]
    fn an_account_that_is_late_to_take_it_does_not_get_it_back_from_the_next() {
        let mut slot = Slot::default();
        slot.lease(1);
        slot.apply(FactKind::UnknownNext, 2, 10);
        slot.apply(FactKind::Accepted, 1, 20);
        assert_eq!((slot.phase, slot.account, slot.attempts()), (Phase::Pending, 2, 1));
        slot.lease(2);
        slot.apply(FactKind::Accepted, 1, 30);
        assert_eq!((slot.phase, slot.account, slot.accepted), (Phase::InFlight, 2, Moment::after_ms(20)));
        slot.apply(FactKind::Accepted, 2, 40);
        assert_eq!((slot.phase, slot.attempts()), (Phase::AwaitingProof, 2));
    }

    #[test]
    fn sixteen_bytes_hold_a_delivery() {
        assert_eq!(size_of::<Slot>(), 16);
    }
}
