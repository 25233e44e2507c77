//! Owns how debts come into the queues and leave them, and whether anything of an alert may still go.
//! Refuses to order them: that is the queue's. Invariant: what is queued is pending in the book; whoever waits for work is woken.

use tokio::time::Instant;

use super::{
    gateway::Inner,
    queue::{For, Urgency, Work},
    settle::Requeue,
};
use crate::{
    alert::AlertNo,
    delivery::{
        book::{Book, State},
        event::FactKind,
        ledger::Shelf,
        slot::Phase,
    },
    time::Timestamp,
};

impl Inner {
    /// The fact that closes a delivery of this alert instead of sending it, if nothing of it may leave any more.
    pub(crate) fn closed_for_sending(&self, alert: AlertNo) -> Option<FactKind> {
        let shelf = self.ledger.get(alert)?;
        let state = shelf.read().state;
        match state {
            State::Cancelled | State::Rejected => Some(FactKind::Cancelled),
            State::Superseded => Some(FactKind::Suppressed),
            State::Expired => Some(FactKind::Expired),
            State::Held | State::Released | State::Dispatching | State::Completed => {
                (shelf.alert.expires <= self.clock.now()).then_some(FactKind::Expired)
            }
        }
    }

    pub(crate) fn urgency_of(&self, shelf: &Shelf, index: u32) -> Urgency {
        let lane = shelf.read().leg_of(index).lane;
        Urgency { drill: shelf.alert.status.is_drill(), level: shelf.alert.level, lane }
    }

    /// Queues what is pending in the legs from `first_leg` on.
    pub(crate) fn enqueue_legs(&self, shelf: &Shelf, first_leg: u32) {
        let now = self.clock.now();
        let book = shelf.read();
        for leg in book.legs.iter().skip(first_leg as usize) {
            let word = &book.routes[usize::from(leg.route)].word;
            let Some(route) = self.routes.get(word) else {
                self.alarms.raise("route-without-account", word, format!("{}：没有通道可走，消息等待", shelf.alert.headline));
                tracing::error!(alert = %shelf.id, route = word, "no account serves this route any more; its deliveries wait");
                continue;
            };
            let urgency = Urgency { drill: shelf.alert.status.is_drill(), level: shelf.alert.level, lane: leg.lane };
            let mut queue = route.queue();
            for (work, due) in pending_runs(&book, leg.first, leg.count, shelf.no) {
                match due.filter(|&due| due > now) {
                    Some(due) => queue.push_later(Instant::now() + due.since(now), urgency, work, For::ANY),
                    None => queue.push(urgency, work, For::ANY),
                }
            }
            drop(queue);
            route.bell.notify_waiters();
        }
    }

    pub(crate) fn requeue(&self, requeue: &Requeue) {
        if let Some(route) = self.routes.get(&requeue.route) {
            route.queue().push_later(requeue.due, requeue.urgency, requeue.work, requeue.to);
            route.bell.notify_waiters();
        }
    }

    pub(crate) fn drop_from_queues(&self, alert: AlertNo) {
        for route in self.routes.iter() {
            route.queue().drop_alert(alert);
            // What was held up by it may go on.
            route.bell.notify_waiters();
        }
    }
}

/// Pending deliveries of a range: those without a time in runs, those with one alone.
fn pending_runs(book: &Book, first: u32, count: u32, alert: AlertNo) -> Vec<(Work, Option<Timestamp>)> {
    let mut runs: Vec<(Work, Option<Timestamp>)> = Vec::new();
    for index in first..first + count {
        let slot = &book.slots[index as usize];
        if slot.phase != Phase::Pending {
            continue;
        }
        let due = book.time_of(slot.due());
        match runs.last_mut() {
            Some((work, None)) if due.is_none() && work.first + work.count == index => work.count += 1,
            _ => runs.push((Work { alert, first: index, count: 1 }, due)),
        }
    }
    runs
}
