//! Owns overdue calls (叫应): who is asked next, and what is told when nobody is left.
//! Refuses to know texts and far ends. Invariant: a silent call ends escalated or exhausted, once; each person is asked once per alert; the chain is finite (I11).

use std::{collections::HashSet, sync::Arc};

use super::{
    Unavailable,
    gateway::Inner,
    planner::{self, Asked, Basis},
};
use crate::{
    area::{AreaCode, AreaLevel},
    delivery::{
        book::Book,
        call::{Call, End},
        event::{Event, Told},
        ledger::Shelf,
    },
    policy::{
        Answer,
        escalation::{self, Next, Overdue, Roll},
    },
    registry::{Snapshot, SubscriberKey},
    telemetry::metrics as meter,
};

/// Calls taken on at once: one extension of the plan with everyone's substitutes.
const CALLS_MAX: usize = 1_000;

/// Names in one alarm: what a person reads at once; the rest stands in the list of calls.
const SILENT_NAMED_MAX: usize = 30;

/// Takes on what is overdue of one alert.
pub(crate) async fn look(inner: &Arc<Inner>, shelf: &Shelf) -> Result<(), Unavailable> {
    let now = inner.clock.now();
    let running = inner.running(shelf);
    let Some(answer) = running.rule.answer.as_ref() else { return Ok(()) };
    // Only one extension of a book is made at a time: indices follow those before.
    let _extending = running.extending.lock().await;
    let snapshot = inner.snapshot();
    let basis = Basis { snapshot: &snapshot, routes: &inner.routes, rule: &running.rule, now, public: inner.public_of(&shelf.alert) };
    let (events, requeue_from) = {
        let book = shelf.read();
        if !book.state.may_send() {
            return Ok(());
        }
        let overdue: Vec<&Call> = book.calls.iter().filter(|call| call.is_open() && call.due <= now).take(CALLS_MAX).collect();
        if overdue.is_empty() {
            return Ok(());
        }
        (escalate(&basis, shelf, &book, answer, &overdue), u32::try_from(book.legs.len()).unwrap_or(u32::MAX))
    };
    let told: Vec<Told> =
        events.iter().filter_map(|event| if let Event::Told(told) = event { Some(Told::clone(told)) } else { None }).collect();
    inner.append(events).await?;
    // Not before: on a full disk the same would be told every second.
    told.iter().for_each(|told| announce(shelf, told));
    tell_of_the_silent(inner, shelf, &snapshot, &told);
    inner.enqueue_legs(shelf, requeue_from);
    Ok(())
}

fn escalate(basis: &Basis<'_>, shelf: &Shelf, book: &Book, answer: &Answer, overdue: &[&Call]) -> Vec<Event> {
    let mut roll = Registered::of(basis.snapshot, book);
    let mut asked: Vec<Asked> = Vec::new();
    let mut joined = Vec::new();
    let mut in_hand = Vec::new();
    let mut exhausted = Vec::new();
    for call in overdue {
        if let Some(to) = taken_on_beside(book, call) {
            in_hand.push((call.recipient, to));
        } else if let Some(first) = asked.iter().position(|ask| book.call_of(ask.silent).is_some_and(|other| stand_together(other, call))) {
            joined.push((call.recipient, first));
        } else {
            match escalation::next(&answer.then, &overdue_call(book, call), &roll) {
                Next::Ask { whom, step } => {
                    roll.asked.extend(&whom);
                    asked.push(Asked { silent: call.recipient, step, due: basis.now.plus(answer.within), whom });
                }
                Next::Exhausted => exhausted.push(call.recipient),
            }
        }
    }
    let mut events = Vec::new();
    let escalated = |recipient, to| told(Told::Escalated { alert: shelf.no, recipient, at: basis.now, to });
    if !asked.is_empty() {
        let (plan, became) = planner::escalation(basis, book, &asked);
        events.extend(plan.parts.into_iter().map(|part| Event::Plan(shelf.no, part)));
        events.extend(joined.into_iter().filter_map(|(recipient, first)| Some(escalated(recipient, became.get(first)?.clone()))));
        for (ask, to) in asked.iter().zip(became) {
            events.push(escalated(ask.silent, to));
        }
    }
    events.extend(in_hand.into_iter().map(|(recipient, to)| escalated(recipient, to)));
    events.extend(exhausted.into_iter().map(|recipient| told(Told::Exhausted { alert: shelf.no, recipient, at: basis.now })));
    events
}

/// Whether both were asked at the same step in the same person's place: an answer of either is enough.
fn stand_together(one: &Call, other: &Call) -> bool {
    one.on_behalf.is_some() && one.on_behalf == other.on_behalf && one.step == other.step
}

/// Whoever was asked beside this one and answered, or else those who were asked after somebody beside this one.
fn taken_on_beside(book: &Book, call: &Call) -> Option<Vec<u32>> {
    let beside = || book.calls.iter().filter(|other| other.recipient != call.recipient && stand_together(other, call));
    let answered: Vec<u32> = beside().filter(|other| matches!(other.end, End::Answered(_))).map(|other| other.recipient).collect();
    if !answered.is_empty() {
        return Some(answered);
    }
    beside().find_map(|other| if let End::Escalated { to, .. } = &other.end { Some(to.clone()) } else { None })
}

/// The chain goes on in the place of the person whom the policy called first, from where that person is registered.
fn overdue_call(book: &Book, call: &Call) -> Overdue<SubscriberKey> {
    let mut first = call;
    // Each step back is one of the chain, so the way ends.
    for _ in 0..call.step {
        match first.on_behalf.and_then(|silent| book.call_of(silent)) {
            Some(earlier) => first = earlier,
            None => break,
        }
    }
    let silent = SubscriberKey(book.recipients[first.recipient as usize].key);
    Overdue { silent, area: book.area_of(first.recipient), step: call.step }
}

/// The registry as the policy's escalation asks about it, with those who have been asked about this alert.
struct Registered<'a> {
    snapshot: &'a Snapshot,
    asked: HashSet<SubscriberKey>,
}

impl<'a> Registered<'a> {
    fn of(snapshot: &'a Snapshot, book: &Book) -> Self {
        let asked = book.calls.iter().map(|call| SubscriberKey(book.recipients[call.recipient as usize].key)).collect();
        Self { snapshot, asked }
    }

    fn holders(&self, positions: std::ops::Range<u32>, role: &str) -> Vec<SubscriberKey> {
        let people = positions.map(|position| self.snapshot.subscriber_at(position));
        people.filter(|person| person.role() == role).map(|person| person.key()).collect()
    }
}

impl Roll for Registered<'_> {
    type Person = SubscriberKey;

    fn backup(&self, who: SubscriberKey) -> Option<SubscriberKey> {
        self.snapshot.subscriber(who).and_then(|person| person.backup())
    }

    fn at(&self, role: &str, area: AreaCode) -> Vec<SubscriberKey> {
        self.holders(self.snapshot.subscribers_at(area), role)
    }

    fn within(&self, role: &str, area: AreaCode) -> Vec<SubscriberKey> {
        self.holders(self.snapshot.subscribers_in(area), role)
    }

    fn was_asked(&self, who: SubscriberKey) -> bool {
        self.asked.contains(&who)
    }
}

fn told(told: Told) -> Event {
    Event::Told(Box::new(told))
}

/// One alarm of an alert, with the place and name of everybody who is silent and whom nobody is left to ask for.
fn tell_of_the_silent(inner: &Inner, shelf: &Shelf, snapshot: &Snapshot, told: &[Told]) {
    if !told.iter().any(|told| matches!(told, Told::Exhausted { .. })) {
        return;
    }
    let silent: Vec<String> = {
        let book = shelf.read();
        let of = |call: &Call| {
            let person = snapshot.subscriber(SubscriberKey(book.recipients[call.recipient as usize].key));
            let place = place_name(snapshot, book.area_of(call.recipient));
            person.map_or(place.clone(), |person| format!("{place}{}", person.name()))
        };
        book.calls.iter().filter(|call| matches!(call.end, End::Exhausted { .. })).map(of).collect()
    };
    let named = silent.iter().take(SILENT_NAMED_MAX).cloned().collect::<Vec<_>>().join("、");
    let rest = silent.len().saturating_sub(SILENT_NAMED_MAX);
    let more = if rest > 0 { format!("等，另有{rest}人") } else { String::new() };
    let text = format!("{}：{}人未应答且已无人可叫：{named}{more}", shelf.alert.headline, silent.len());
    inner.alarms.raise("call-exhausted", shelf.id.to_string(), text);
}

/// A village with its township, as a county has several of one name.
fn place_name(snapshot: &Snapshot, area: AreaCode) -> String {
    let name = |area| snapshot.areas().name(area).unwrap_or_default();
    let above = area.parent().filter(|_| area.level() == AreaLevel::Village);
    format!("{}{}", above.map(name).unwrap_or_default(), name(area))
}

fn announce(shelf: &Shelf, told: &Told) {
    match told {
        Told::Escalated { recipient, to, .. } => {
            meter::call("escalated");
            tracing::warn!(alert = %shelf.id, recipient, asked = to.len(), "no answer in time, others are asked");
        }
        Told::Exhausted { recipient, .. } => {
            meter::call("exhausted");
            tracing::error!(alert = %shelf.id, recipient, "no answer and nobody left to ask: somebody must go");
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::delivery::{
        call::Answer as Reply,
        event::Choice,
        kit::{T0, blank},
        plan::{CallsDue, PlanPart, Purpose, RecipientKind, Run},
    };

    /// Recipient 0 is a village's monitor, 1 the backup, 2 and 3 the township's officers: the monitor and the backup were silent,
    /// both officers have been asked.
    fn book() -> Book {
        let mut book = blank();
        let run = |area: &str, role: &str, keys: std::ops::Range<u32>| {
            let area = area.parse().expect("a code");
            PlanPart::Run(Run { area, kind: RecipientKind::Person, role: role.into(), keys: keys.collect(), unreachable: Vec::new() })
        };
        let calls = |step, recipients: Vec<u32>, on_behalf| {
            PlanPart::Calls(CallsDue { due: T0.plus(Duration::from_secs(300)), step, recipients, on_behalf })
        };
        let parts = [
            PlanPart::Open { number: 0, at: T0, purpose: Purpose::First },
            run("510726102201", "monitor", 10..12),
            run("510726102", "town_duty", 12..14),
            calls(0, vec![0], None),
            calls(1, vec![1], Some(0)),
            calls(2, vec![2, 3], Some(1)),
            PlanPart::Seal { number: 0, recipients: 4, deliveries: 0 },
        ];
        for part in parts {
            book.apply_plan(part).expect("a sound plan");
        }
        book
    }

    fn call(book: &Book, recipient: u32) -> &Call {
        book.call_of(recipient).expect("a call")
    }

    #[test]
    fn the_chain_goes_on_for_the_one_who_was_called_first_from_where_that_person_is() {
        let book = book();
        let village = "510726102201".parse().expect("a code");
        assert_eq!(overdue_call(&book, call(&book, 3)), Overdue { silent: SubscriberKey(10), area: village, step: 2 });
        assert_eq!(overdue_call(&book, call(&book, 0)), Overdue { silent: SubscriberKey(10), area: village, step: 0 });
    }

    #[test]
    fn one_answer_of_those_asked_together_is_enough() {
        let mut book = book();
        assert_eq!(taken_on_beside(&book, call(&book, 3)), None);
        book.apply_answer(2, Reply::by_hand(T0, Choice::Received, "call", "duty", ""));
        assert_eq!(taken_on_beside(&book, call(&book, 3)), Some(vec![2]));
        assert_eq!(taken_on_beside(&book, call(&book, 1)), None);
    }

    #[test]
    fn who_was_asked_together_goes_on_together() {
        let mut book = book();
        book.end_call(2, End::Escalated { at: T0, to: vec![9] });
        assert_eq!(taken_on_beside(&book, call(&book, 3)), Some(vec![9]));
        assert!(stand_together(call(&book, 2), call(&book, 3)) && !stand_together(call(&book, 1), call(&book, 3)));
        assert!(!stand_together(call(&book, 0), call(&book, 0)), "those called first each answer for themselves");
    }
}
