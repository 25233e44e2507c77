//! Owns what each event but a plan does to its book.
//! Refuses to count: every change goes through `counted`. Invariant: an event of what is closed, filed or not there changes nothing.

use super::{Book, LastWord, State, WORDS_MAX, counted::intern};
use crate::{
    alert::AlertNo,
    delivery::{
        call::{Answer, End, Try},
        event::{Choice, Fact, FactKind, Facts, Leased, Refs},
        plan::RecipientKind,
        slot::{Moment, Phase},
    },
    time::Timestamp,
};

impl Book {
    pub fn apply_lease(&mut self, leased: &Leased) {
        self.version += 1;
        if self.filed.is_some() {
            return;
        }
        let account = self.account_number(&leased.account);
        for &(first, count) in &leased.ranges {
            for index in first..first.saturating_add(count).min(u32::try_from(self.slots.len()).unwrap_or(u32::MAX)) {
                self.take_over(index, account);
                self.change(index, |slot| slot.lease(account));
            }
        }
        if self.state == State::Released {
            self.state = State::Dispatching;
        }
        self.timeline.first_sent.get_or_insert(leased.at);
        self.timeline.last_sent = self.timeline.last_sent.max(Some(leased.at));
    }

    pub fn apply_facts(&mut self, facts: &Facts) {
        self.version += 1;
        if self.filed.is_some() {
            return;
        }
        let words: Vec<u8> = facts.words.iter().map(|word| intern(&mut self.words, word, WORDS_MAX)).collect();
        let shift = facts.base.as_ms() - self.base().as_ms();
        for fact in &facts.list {
            if (fact.index as usize) < self.slots.len() {
                self.apply_fact(fact, words.get(usize::from(fact.code)).copied().unwrap_or(0), shift);
            }
        }
    }

    fn apply_fact(&mut self, fact: &Fact, word: u8, shift: i64) {
        let at_ms = u32::try_from((i64::from(fact.at_ms) + shift).max(0)).unwrap_or(u32::MAX - 1);
        if matches!(fact.kind, FactKind::Unknown | FactKind::UnknownNext) {
            self.repeated += 1;
        }
        if matches!(fact.kind, FactKind::NextAccount | FactKind::UnknownNext) {
            self.pass_on(fact.index, fact.kind, word, at_ms);
        } else {
            self.apply_to(fact.index, fact.kind, word, at_ms);
        }
        // Tried when its alert ended, and to be tried again: it is not.
        if self.slots[fact.index as usize].phase == Phase::Pending
            && let Some(kind) = self.ended_as()
        {
            self.apply_to(fact.index, kind, 0, at_ms);
        }
    }

    /// What becomes of deliveries that are still owed.
    pub(super) const fn ended_as(&self) -> Option<FactKind> {
        match self.state {
            State::Cancelled | State::Rejected => Some(FactKind::Cancelled),
            State::Superseded => Some(FactKind::Suppressed),
            State::Expired => Some(FactKind::Expired),
            State::Held | State::Released | State::Dispatching | State::Completed => None,
        }
    }

    pub(super) fn apply_to(&mut self, index: u32, kind: FactKind, word: u8, at_ms: u32) {
        self.change(index, |slot| slot.apply(kind, word, at_ms));
        if matches!(kind, FactKind::Played | FactKind::Answered) {
            self.crowned.entry(index).or_default().note(at_ms);
            let recipient = self.slots[index as usize].recipient;
            self.with_recipient(recipient, |found| found.reached.note(at_ms));
        }
        if kind == FactKind::CameBack {
            self.reach_anew(self.slots[index as usize].recipient);
        }
    }

    /// When somebody was reached, by what still counts.
    fn reach_anew(&mut self, recipient: u32) {
        let by_delivery = self.deliveries_of(recipient).map(|index| self.reached_at(index)).collect::<Vec<_>>();
        let reached = by_delivery.into_iter().chain([self.answered_at(recipient)]).filter(|moment| moment.is_set()).min();
        self.with_recipient(recipient, |found| found.reached = reached.unwrap_or_default());
    }

    pub fn apply_refs(&mut self, refs: &Refs) {
        self.version += 1;
        if self.filed.is_some() {
            return;
        }
        let account = self.account_number(&refs.account);
        for (index, provider_ref) in &refs.list {
            self.refs.insert(account, provider_ref, *index);
        }
    }

    pub fn apply_answer(&mut self, recipient: u32, answer: Answer) {
        self.version += 1;
        if recipient as usize >= self.recipients.len() {
            return;
        }
        let at_ms = self.offset_of(answer.at);
        // An answer through a message proves that message; one by hand proves only the person.
        let through = self.deliveries_of(recipient).filter(|&index| Self::left_us(&self.slots[index as usize])).collect::<Vec<_>>();
        // Rather one that a far end has taken: one that is only tried would count as proven and not be tried again.
        let mut of_kind = through.iter().copied().filter(|&index| self.kinds[usize::from(self.route_of(index).kind)] == answer.via);
        let by_kind = of_kind.clone().find(|&index| Self::is_out(&self.slots[index as usize])).or_else(|| of_kind.next());
        let by_link = if answer.via == "link" { through.first().copied() } else { None };
        if let Some(index) = by_kind.or(by_link) {
            self.apply_to(index, FactKind::Answered, 0, at_ms);
        }
        self.hear(recipient, answer.choice, at_ms);
        self.answered.entry(recipient).or_default().note(at_ms);
        self.with_recipient(recipient, |found| {
            found.answered = true;
            found.reached.note(at_ms);
        });
        if let Some(&number) = self.call_numbers.get(&recipient) {
            self.calls[number as usize].answer(answer);
        }
    }

    /// Leaves out what was noted of these people; that and how they answered stays, for the figures.
    pub fn redact(&mut self, people: &[u32]) {
        self.version += 1;
        let of_them: Vec<u32> = people.iter().filter_map(|&key| self.recipient_of(RecipientKind::Person, key, None)).collect();
        for call in self.calls.iter_mut().filter(|call| of_them.contains(&call.recipient)) {
            call.redact();
        }
    }

    /// The first answer stands in the call, where there is one; what came after it, or to nobody's call, here.
    fn hear(&mut self, recipient: u32, choice: Choice, at_ms: u32) {
        let at = Moment::after_ms(at_ms);
        let has_answered = self.recipients[recipient as usize].answered;
        let is_later = self.last_words.get(&recipient).is_none_or(|last| last.at <= at) && self.answered_at(recipient) <= at;
        if (has_answered || !self.call_numbers.contains_key(&recipient)) && is_later {
            self.last_words.insert(recipient, LastWord { at, choice });
        }
    }

    pub fn apply_vain_call(&mut self, recipient: u32, tried: Try) {
        self.version += 1;
        if let Some(&number) = self.call_numbers.get(&recipient) {
            self.calls[number as usize].try_by_hand(tried);
        }
    }

    pub fn end_call(&mut self, recipient: u32, end: End) {
        self.version += 1;
        if let Some(&number) = self.call_numbers.get(&recipient) {
            self.calls[number as usize].end_unanswered(end);
        }
    }

    /// Closes what is owed and not yet handed out; what far ends hold keeps waiting for its proof unless `and_awaiting`.
    pub(super) fn close_open(&mut self, kind: FactKind, at: Timestamp, and_awaiting: bool) {
        let at_ms = self.offset_of(at);
        for index in 0..u32::try_from(self.slots.len()).unwrap_or(u32::MAX) {
            match self.slots[index as usize].phase {
                Phase::Pending => self.apply_to(index, kind, 0, at_ms),
                Phase::AwaitingProof if and_awaiting => self.apply_to(index, FactKind::Unproven, 0, at_ms),
                _ => {}
            }
        }
    }

    /// A durable Cancel: nothing more leaves.
    pub fn cancel(&mut self, at: Timestamp, by: String, reason: String) {
        self.version += 1;
        self.state = State::Cancelled;
        self.accepted.decided.cancelled_by = Some(by.clone());
        (self.decided_by, self.reason) = (by, reason);
        self.close_open(FactKind::Cancelled, at, false);
        self.close_calls(at);
    }

    pub fn supersede(&mut self, at: Timestamp) {
        self.version += 1;
        self.state = State::Superseded;
        self.close_open(FactKind::Suppressed, at, false);
        self.close_calls(at);
    }

    /// Past its time: nothing more leaves, and proof is no longer waited for.
    pub fn expire(&mut self, at: Timestamp) {
        self.version += 1;
        if !matches!(self.state, State::Cancelled | State::Superseded | State::Rejected | State::Completed) {
            self.state = State::Expired;
        }
        self.close_open(FactKind::Expired, at, true);
        self.close_calls(at);
    }

    pub(super) fn close_calls(&mut self, at: Timestamp) {
        for call in &mut self.calls {
            call.end_unanswered(End::Expired { at });
        }
    }

    pub fn release(&mut self, at: Timestamp, by: String, targets: Vec<AlertNo>) {
        self.version += 1;
        if self.state == State::Held {
            self.state = State::Released;
            if !targets.is_empty() {
                self.accepted.targets = targets;
            }
            self.accepted.decided.approved_by = Some(by.clone());
            self.decided_by = by;
            self.timeline.released = Some(at);
        }
    }

    /// This alert has ended that one, which came after it though it was sent before.
    pub fn note_target(&mut self, target: AlertNo) {
        if !self.accepted.targets.contains(&target) {
            self.version += 1;
            self.accepted.targets.push(target);
        }
    }

    pub fn reject(&mut self, at: Timestamp, by: String, reason: String) {
        self.version += 1;
        if self.state == State::Held {
            self.state = State::Rejected;
            (self.decided_by, self.reason) = (by, reason);
            self.timeline.completed = Some(at);
        }
    }

    pub fn complete(&mut self, at: Timestamp) {
        self.version += 1;
        if matches!(self.state, State::Released | State::Dispatching) {
            self.state = State::Completed;
        }
        self.timeline.completed.get_or_insert(at);
    }
}
