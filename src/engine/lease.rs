//! Owns what happens between the queue and a sender: tokens, the most urgent work, the lease in the journal. An account has two hands for it,
//! one for what is express and one for the rest, so that a red warning waits for no lease of a blue one.
//! Refuses to know texts and far ends' answers. Invariant: a delivery is leased durably before a byte of it leaves (I3, I4).

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::{sync::mpsc, time::Instant};

use super::{
    account::Account,
    gateway::Inner,
    queue::{Part, Urgency, Work},
    route::Route,
};
use crate::{
    alert::AlertNo,
    channel::Batching,
    delivery::{
        event::{Event, Leased},
        slot::Phase,
    },
};

/// A lease is never larger: it is what a crash leaves in doubt, and what a red alert has to wait for.
const LEASE_MAX: u32 = 2_048;
/// A lease should be worked off in about this time; larger ones delay what is more urgent.
const LEASE_TARGET: Duration = Duration::from_millis(12);
/// Nobody waits for a bell longer: parked accounts, clock jumps and late refills are seen within it.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Work that is this account's now.
pub(crate) struct Lease {
    pub(crate) route: Arc<Route>,
    pub(crate) urgency: Urgency,
    pub(crate) alert: AlertNo,
    /// Never empty; all of the one alert.
    pub(crate) works: Vec<Work>,
    /// Of the hand that made it: learns from how long it takes.
    pub(crate) appetite: Arc<Appetite>,
}

impl Lease {
    pub(crate) fn deliveries(&self) -> u32 {
        self.works.iter().map(|work| work.count).sum()
    }
}

/// How much is leased at once, learnt from how long the last leases took.
pub(crate) struct Appetite(AtomicU32);

impl Appetite {
    pub(crate) fn starting_at(messages: usize) -> Self {
        Self(AtomicU32::new(u32::try_from(messages).unwrap_or(LEASE_MAX).clamp(1, LEASE_MAX)))
    }

    fn now(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    /// A full lease that was gone quickly may grow, one that took long shrinks.
    pub(crate) fn learn(&self, leased: u32, took: Duration) {
        let current = self.now();
        if took > LEASE_TARGET.saturating_mul(2) {
            self.0.store((current / 2).max(1), Ordering::Relaxed);
        } else if leased >= current && took < LEASE_TARGET {
            self.0.store((current * 2).min(LEASE_MAX), Ordering::Relaxed);
        }
    }
}

/// Leases this part of the work for one account until the engine stops; a lease waits ready while the one before is sent.
pub(crate) async fn run(inner: Arc<Inner>, account: Arc<Account>, part: Part, out: mpsc::Sender<Lease>) {
    let appetite = Arc::new(Appetite::starting_at(account.common.concurrency));
    let routes = inner.routes.of_account(&account);
    let whole = matches!(account.channel.batching(), Batching::WholeArea { .. });
    while !inner.stop.is_cancelled() {
        let Ok(place) = out.reserve().await else { return };
        let Some(tokens) = leave(&inner, &account, &routes, part, appetite.now()).await else { return };
        // Chosen only now: what came while we waited for the token may be more urgent, and the account may have been parked.
        let is_look = account.parked_for().is_some();
        let most = if is_look { 1 } else { tokens };
        let taken = most_urgent(&account, &routes, part).and_then(|best| {
            let (urgency, works) = best.queue().take(account.number, best.is_its_turn(&account), part, most, whole)?;
            Some((best, urgency, works))
        });
        let Some((best, urgency, works)) = taken else {
            account.give_back(tokens);
            continue;
        };
        if is_look {
            account.looks_in();
        }
        if part == Part::Express && most_urgent(&account, &routes, part).is_none() {
            // The other hand keeps still while there is any of it.
            routes.iter().for_each(|route| route.bell.notify_waiters());
        }
        let Some((alert, works)) = still_pending(&inner, works) else {
            account.give_back(tokens);
            continue;
        };
        let lease = Lease { route: best, urgency, alert, works, appetite: Arc::clone(&appetite) };
        account.give_back(tokens.saturating_sub(lease.deliveries()));
        let ranges = lease.works.iter().map(|work| (work.first, work.count)).collect();
        let leased = Leased { alert, at: inner.clock.now(), account: account.name().to_owned(), ranges };
        // On a full disk this lease is held, and none is made behind it.
        match inner.append_held(&[Event::Leased(leased)], "a lease").await {
            Ok(()) => place.send(lease),
            // The store has failed or the engine stops: the next start takes the queue up from the journal.
            Err(_) => return,
        }
    }
}

/// What of the work is owed by the journal, each once: the queue may hold a delivery twice (a report of a failure came on top of its
/// retry), or one that was settled since. When it is due the queue has seen to, by a clock that does not jump. `None` when nothing is owed.
fn still_pending(inner: &Inner, works: Vec<Work>) -> Option<(AlertNo, Vec<Work>)> {
    let alert = works.first()?.alert;
    let shelf = inner.ledger.get(alert)?;
    let book = shelf.read();
    // Of an alert that was filed nothing is in memory, and nothing is owed.
    let pending = among(works, |index| book.slots.get(index as usize).is_some_and(|slot| slot.phase == Phase::Pending));
    (!pending.is_empty()).then_some((alert, pending))
}

/// The deliveries of these runs that are owed, each once. Runs are never joined: one of devices is an area's, and goes as one.
fn among(mut works: Vec<Work>, is_owed: impl Fn(u32) -> bool) -> Vec<Work> {
    works.sort_unstable_by_key(|work| work.first);
    let (mut owed, mut from): (Vec<Work>, u32) = (Vec::new(), 0);
    for work in works {
        let begun = owed.len();
        for index in (work.first.max(from)..work.first + work.count).filter(|&index| is_owed(index)) {
            match owed[begun..].last_mut() {
                Some(last) if last.first + last.count == index => last.count += 1,
                _ => owed.push(Work { first: index, count: 1, ..work }),
            }
        }
        from = from.max(work.first + work.count);
    }
    owed
}

/// Waits for work of this part and for leave to send up to `most` of it; `None` when the engine stops.
async fn leave(inner: &Inner, account: &Account, routes: &[Arc<Route>], part: Part, most: u32) -> Option<u32> {
    loop {
        let bells: Vec<_> = routes.iter().map(|route| route.bell.notified()).collect();
        // Interest is registered before looking, so that work that comes meanwhile is not missed.
        let mut bells: Vec<_> = bells.into_iter().map(Box::pin).collect();
        for bell in &mut bells {
            bell.as_mut().enable();
        }
        let has_work = most_urgent(account, routes, part).is_some();
        let again = next_look(account, routes);
        tokio::select! {
            biased;
            () = inner.stop.cancelled() => return None,
            tokens = account.tokens(most), if has_work => return Some(tokens),
            // At a slow pace the next token may be a minute away: it is not for this hand if express work has come meanwhile.
            _ = futures::future::select_all(bells) => {}
            () = tokio::time::sleep_until(Instant::now() + again), if !has_work => {}
        }
    }
}

/// The route with the most urgent work of this part that this account may take now: of the rest none while there is express work.
fn most_urgent(account: &Account, routes: &[Arc<Route>], part: Part) -> Option<Arc<Route>> {
    if account.parked_for().is_some() && !(part == Part::Express && looks_in(account, routes)) {
        return None;
    }
    let now = Instant::now();
    let best = |route: &Arc<Route>, part| {
        let mut queue = route.queue();
        queue.ripen(now);
        queue.best(account.number, route.is_its_turn(account), part)
    };
    if part == Part::Rest && routes.iter().any(|route| best(route, Part::Express).is_some()) {
        return None;
    }
    let found = routes.iter().filter_map(|route| Some((best(route, part)?, route)));
    found.min_by_key(|(urgency, _)| *urgency).map(|(_, route)| Arc::clone(route))
}

/// Whether one express message may try a far end that was down a moment ago: where nobody else could take it, it does not wait for a pause
/// to be over that nobody needs any more.
fn looks_in(account: &Account, routes: &[Arc<Route>]) -> bool {
    let is_alone = routes.iter().all(|route| route.accounts.iter().all(|other| other.parked_for().is_some()));
    is_alone && account.may_look_in()
}

fn next_look(account: &Account, routes: &[Arc<Route>]) -> Duration {
    let now = Instant::now();
    let due = || routes.iter().filter_map(|route| route.queue().ripen(now)).min().map(|due| due.saturating_duration_since(now));
    account.parked_for().or_else(due).unwrap_or(LOOK_AGAIN).clamp(Duration::from_millis(1), LOOK_AGAIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn work(first: u32, count: u32) -> Work {
        Work { alert: AlertNo(1), first, count }
    }

    #[test]
    fn what_is_owed_is_taken_once_and_two_areas_stay_two_runs() {
        assert_eq!(among(vec![work(3, 2), work(0, 3)], |_| true), [work(0, 3), work(3, 2)], "adjoining runs are not joined");
        assert_eq!(among(vec![work(0, 6), work(2, 6)], |_| true), [work(0, 6), work(6, 2)], "what stands twice goes once");
        assert_eq!(among(vec![work(0, 6)], |index| index != 2), [work(0, 2), work(3, 3)], "what is settled does not go");
        assert_eq!(among(vec![work(0, 6)], |_| false), []);
    }
}
