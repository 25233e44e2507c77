//! Owns overdue calls (叫应): who is asked next, and what is told when nobody is left.
//! Refuses to know texts and far ends. Invariant: a silent call ends escalated or exhausted, once; each person is asked once per alert; the chain is finite (I11).

use std::{collections::HashSet, sync::Arc};

use super::{
    Unavailable,
    gateway::Inner,
    planner::{self, Asked, Basis},
};
use crate::{
    area::AreaCode,
    delivery::{
        book::Book,
        call::Call,
        event::{Event, Told},
        ledger::Shelf,
    },
    policy::{Answer, Step},
    registry::{Snapshot, SubscriberKey},
    telemetry::metrics as meter,
};

/// Calls taken on at once: one extension of the plan with everyone's substitutes.
const CALLS_MAX: usize = 1_000;

/// Takes on what is overdue of one alert.
pub(crate) async fn look(inner: &Arc<Inner>, shelf: &Shelf) -> Result<(), Unavailable> {
    let now = inner.clock.now();
    let running = inner.running(shelf);
    let Some(answer) = running.rule.answer.as_ref() else { return Ok(()) };
    // Only one extension of a book is made at a time: indices follow those before.
    let _extending = running.extending.lock().await;
    let snapshot = inner.snapshot();
    let basis =
        Basis { snapshot: &snapshot, routes: &inner.routes, rule: &running.rule, now, with_households: inner.with_households(shelf) };
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
    for event in &events {
        if let Event::Told(told) = event {
            announce(shelf, told);
        }
    }
    inner.append(events).await?;
    inner.enqueue_legs(shelf, requeue_from);
    Ok(())
}

fn escalate(basis: &Basis<'_>, shelf: &Shelf, book: &Book, answer: &Answer, overdue: &[&Call]) -> Vec<Event> {
    let mut taken: HashSet<SubscriberKey> =
        book.calls.iter().map(|call| SubscriberKey(book.recipients[call.recipient as usize].key)).collect();
    let mut asked = Vec::new();
    let mut exhausted = Vec::new();
    for call in overdue {
        match next(basis.snapshot, book, answer, call, &mut taken) {
            Some((step, whom)) => asked.push(Asked { silent: call.recipient, step, due: basis.now.plus(answer.within), whom }),
            None => exhausted.push(call.recipient),
        }
    }
    let mut events = Vec::new();
    if !asked.is_empty() {
        let (plan, became) = planner::escalation(basis, book, &asked);
        events.extend(plan.parts.into_iter().map(|part| Event::Plan(shelf.no, part)));
        for (ask, to) in asked.iter().zip(became) {
            events.push(told(Told::Escalated { alert: shelf.no, recipient: ask.silent, at: basis.now, to }));
        }
    }
    events.extend(exhausted.into_iter().map(|recipient| told(Told::Exhausted { alert: shelf.no, recipient, at: basis.now })));
    events
}

fn told(told: Told) -> Event {
    Event::Told(Box::new(told))
}

/// The first step of the chain after the call's own that names somebody who was not asked yet.
fn next(
    snapshot: &Snapshot,
    book: &Book,
    answer: &Answer,
    call: &Call,
    taken: &mut HashSet<SubscriberKey>,
) -> Option<(u8, Vec<SubscriberKey>)> {
    let silent = SubscriberKey(book.recipients[call.recipient as usize].key);
    let area = book.area_of(call.recipient);
    for (place, step) in (0_u8..).zip(&answer.then).skip(usize::from(call.step)) {
        let candidates = match step {
            Step::Backup => snapshot.subscriber(silent).and_then(|person| person.backup()).into_iter().collect(),
            Step::Role(role) => holders_of(snapshot, area, role),
        };
        let whom: Vec<SubscriberKey> = candidates.into_iter().filter(|&key| taken.insert(key)).collect();
        if !whom.is_empty() {
            return Some((place.saturating_add(1), whom));
        }
    }
    None
}

/// People of this role at the nearest area upwards that has any.
fn holders_of(snapshot: &Snapshot, from: AreaCode, role: &str) -> Vec<SubscriberKey> {
    let mut area = Some(from);
    while let Some(here) = area {
        let found: Vec<SubscriberKey> = snapshot
            .subscribers_at(here)
            .map(|position| snapshot.subscriber_at(position))
            .filter(|person| person.role() == role)
            .map(|person| person.key())
            .collect();
        if !found.is_empty() {
            return found;
        }
        area = here.parent();
    }
    Vec::new()
}

fn announce(shelf: &Shelf, told: &Told) {
    match told {
        Told::Escalated { recipient, to, .. } => {
            meter::call("escalated");
            tracing::warn!(alert = %shelf.id, recipient, asked = to.len(), "no answer in time, others are asked");
        }
        Told::Exhausted { recipient, .. } => {
            meter::call("exhausted");
            meter::alarm("call-exhausted");
            tracing::error!(alert = %shelf.id, recipient, "no answer and nobody left to ask: somebody must go");
        }
        _ => {}
    }
}
