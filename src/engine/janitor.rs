//! Owns what happens by the clock alone, in one round over all alerts: proofs that did not come, overdue calls, second-choice channels, expiry,
//! completion, filing.
//! Refuses to know far ends. Invariant: every open delivery of an alert is closed at the latest when the alert ends (I2).

use std::{sync::Arc, time::Duration};

use rand::{SeedableRng, rngs::StdRng};
use tokio::time::Instant;

use super::{
    Unavailable, alarm_book, approvals,
    clock_watch::ClockWatch,
    escalator,
    gateway::{Gateway, Inner},
    health::Heard,
    months::Turn,
    planner::{self, Basis},
    queue::Work,
    settle::{Batch, Case, Requeue, after_failure, steady},
};
use crate::{
    channel::{Batching, Class, Concerns, Failure, Proof},
    delivery::{
        book::{Book, State},
        event::{Event, FactKind, Told},
        ledger::Shelf,
        slot::Phase,
    },
    policy::Policy,
    registry::Snapshot,
    telemetry::metrics as meter,
    time::Timestamp,
};

/// Proof times and the limits of calls are tens of seconds and more; a look costs a pass over 24 bytes a delivery.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Facts of one look; the rest is seen by the next.
const FACTS_MAX: usize = 50_000;

pub(crate) async fn run(inner: Arc<Inner>) {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut had_room = true;
    let mut clocks = ClockWatch::begin(inner.clock.now(), Instant::now());
    let mut old_months = Turn::default();
    let mut clock_is_held = false;
    let mut circumstances = Circumstances::of(&inner);
    loop {
        tokio::select! {
            biased;
            () = inner.stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        meter::tidy();
        alarm_book::write_down(&inner).await;
        clock_is_held = tell_of_the_clock(&inner, clock_is_held);
        if let Some(jumped_ms) = clocks.look(inner.clock.now(), Instant::now()) {
            inner.alarms.raise("clock-jumped", "", format!("时钟跳变 {} 秒", jumped_ms / 1_000));
            tracing::error!(jumped_ms, "the machine's clock was set: alerts end, and answers are overdue, by the new time");
        }
        // Also the look that raises the alarm of a full disk when nobody posts anything, and takes note of its end.
        let space = inner.journal.space();
        match &space {
            Err(lack) if had_room => inner.alarms.raise("storage-full", "", lack.to_string()),
            Ok(()) if !had_room => inner.alarms.end("storage-full", ""),
            _ => {}
        }
        let has_room = space.is_ok();
        if has_room && !had_room {
            Gateway::from(Arc::clone(&inner)).take_waiting();
        }
        had_room = has_room;
        if has_room && circumstances.have_changed(&inner) {
            inner.look_at_policy();
            let gateway = Gateway::from(Arc::clone(&inner));
            inner.tasks.spawn(async move {
                if let Err(why) = gateway.retry_refused().await {
                    tracing::error!(%why, "documents that were refused could not be tried again; the next change or start tries again");
                }
                if let Err(why) = gateway.tell_the_owed().await {
                    tracing::error!(%why, "people who can be told now could not be planned; the next change of the registry or start tries again");
                }
            });
        }
        for shelf in inner.ledger.unfinished() {
            match look(&inner, &shelf).await {
                Ok(()) => {}
                // The others may ask for less, and the next round looks again.
                Err(Unavailable::NoSpace(lack)) => tracing::debug!(alert = %shelf.id, %lack, "an alert waits for room on the disk"),
                Err(why) => {
                    tracing::error!(alert = %shelf.id, %why, "an alert could not be looked after");
                    return;
                }
            }
        }
        // Also on a full disk: it gives room.
        if old_months.is_now(inner.clock.now()) {
            // Beside this loop: a large month takes its time, and overdue calls must not wait for it.
            let gateway = Gateway::from(Arc::clone(&inner));
            inner.tasks.spawn(async move {
                gateway.tell_head().await;
                gateway.give_back_old(gateway.keep_months).await;
            });
        }
        if has_room {
            match inner.file_closed().await {
                Ok(()) | Err(Unavailable::NoSpace(_)) => {}
                Err(why) => {
                    tracing::error!(%why, "closed alerts cannot be filed");
                    return;
                }
            }
        }
    }
}

/// As long as the machine's clock is elsewhere than time can be, a person is asked to look at it; whether it is so now.
fn tell_of_the_clock(inner: &Inner, was_held: bool) -> bool {
    let held = inner.clock.held_jump_ms();
    match held {
        Some(jump_ms) if !was_held => {
            tracing::error!(
                jump_ms,
                "the machine's clock is elsewhere than time can be: the old time is kept for ten minutes; check the clock"
            );
            let text = format!("系统时钟跳变 {} 秒；预警时效暂按原时钟计，十分钟后仍如此则采用新时钟", jump_ms / 1_000);
            inner.alarms.raise(CLOCK_HELD, "", text);
        }
        None if was_held => inner.alarms.end(CLOCK_HELD, ""),
        _ => {}
    }
    held.is_some()
}

const CLOCK_HELD: &str = "clock-held";

/// What alerts are judged and planned by, beside themselves.
struct Circumstances {
    registry: Arc<Snapshot>,
    policy: Arc<Policy>,
}

impl Circumstances {
    fn of(inner: &Inner) -> Self {
        Self { registry: inner.snapshot(), policy: inner.policy.load_full() }
    }

    fn have_changed(&mut self, inner: &Inner) -> bool {
        let now = Self::of(inner);
        let same = Arc::ptr_eq(&self.registry, &now.registry) && Arc::ptr_eq(&self.policy, &now.policy);
        *self = now;
        !same
    }
}

async fn look(inner: &Arc<Inner>, shelf: &Shelf) -> Result<(), Unavailable> {
    let now = inner.clock.now();
    if shelf.alert.expires <= now {
        return expire(inner, shelf, now).await;
    }
    if shelf.read().state == State::Held {
        return approvals::look(inner, shelf, now).await;
    }
    unproven(inner, shelf, now).await?;
    escalator::look(inner, shelf).await?;
    fallback(inner, shelf, now).await?;
    complete(inner, shelf, now).await
}

async fn expire(inner: &Inner, shelf: &Shelf, now: Timestamp) -> Result<(), Unavailable> {
    inner.drop_from_queues(shelf.no);
    let in_flight = shelf.read().slots.iter().any(|slot| slot.phase == Phase::InFlight);
    // What is at a far end this moment gets its verdict first; a driver that hangs ends by its time-out.
    if in_flight {
        return Ok(());
    }
    inner.append(vec![Event::Told(Box::new(Told::Expired { alert: shelf.no, at: now }))]).await?;
    tracing::info!(alert = %shelf.id, "alert has expired");
    Ok(())
}

/// Deliveries whose report did not come in time: devices are asked again one by one, people's are closed as unproven.
async fn unproven(inner: &Inner, shelf: &Shelf, now: Timestamp) -> Result<(), Unavailable> {
    let late = late_ones(inner, &shelf.read(), now);
    if late.is_empty() {
        return Ok(());
    }
    let mut batch = Batch::of(shelf);
    let mut rng = StdRng::seed_from_u64(inner.seed ^ now.as_ms().unsigned_abs());
    let mut again = Vec::new();
    for Late { index, account, route, is_device } in late {
        if !is_device {
            batch.add(index, FactKind::Unproven, "no-report", now);
            continue;
        }
        let silent = Failure::new(Class::Retry, Concerns::Recipient, "no-report", "");
        let next = after_failure(
            inner,
            shelf,
            &mut batch,
            index,
            &account,
            &route,
            &silent,
            Case { heard: Heard::ByReport, is_proven: true },
            now,
            &mut rng,
        );
        if let Some((due, to)) = next {
            let work = Work { alert: shelf.no, first: index, count: 1 };
            again.push(Requeue { route: route.into(), urgency: inner.urgency_of(shelf, index), work, due: steady(due, now), to });
        }
    }
    inner.append(vec![batch.into_event()]).await?;
    for requeue in again {
        inner.requeue(&requeue);
    }
    Ok(())
}

struct Late {
    index: u32,
    account: String,
    route: String,
    is_device: bool,
}

fn late_ones(inner: &Inner, book: &Book, now: Timestamp) -> Vec<Late> {
    let now_ms = book.offset_of(now);
    let mut late = Vec::new();
    for leg in &book.legs {
        let route = &book.routes[usize::from(leg.route)].word;
        for index in leg.first..leg.first + leg.count {
            let slot = &book.slots[index as usize];
            let Some(since_ms) = slot.awaited_since().ms() else { continue };
            let account = book.word(slot.account);
            let (within, is_device) = patience(inner, account);
            if now_ms.saturating_sub(since_ms) >= u32::try_from(within.as_millis()).unwrap_or(u32::MAX) && late.len() < FACTS_MAX {
                late.push(Late { index, account: account.to_owned(), route: route.clone(), is_device });
            }
        }
    }
    late
}

/// How long this account's reports may take; an account that is no longer configured has no more.
fn patience(inner: &Inner, account: &str) -> (Duration, bool) {
    let Some(account) = inner.routes.account(account) else { return (Duration::ZERO, false) };
    let is_device = matches!(account.channel.batching(), Batching::WholeArea { .. });
    match account.channel.proof() {
        Proof::Report { within } => (within, is_device),
        Proof::AcceptedOnly | Proof::AcceptedIsDelivered => (Duration::ZERO, is_device),
    }
}

/// Those whom the first choice of channels has not reached are told by the second.
async fn fallback(inner: &Arc<Inner>, shelf: &Shelf, now: Timestamp) -> Result<(), Unavailable> {
    let running = inner.running(shelf);
    if running.rule.then.is_empty() {
        return Ok(());
    }
    let _extending = running.extending.lock().await;
    let snapshot = inner.snapshot();
    let basis = Basis { snapshot: &snapshot, routes: &inner.routes, rule: &running.rule, now, public: inner.public_of(&shelf.alert) };
    let (events, legs_before) = {
        let book = shelf.read();
        let planned = book.timeline.planned.filter(|_| book.state.may_send() && !book.fallback_planned);
        let is_time = planned.is_some_and(|planned| planned.plus(running.rule.then_after) <= now || book.open == 0);
        if !is_time {
            return Ok(());
        }
        let plan = planner::fallback(&basis, &book);
        let events: Vec<Event> = plan.parts.into_iter().map(|part| Event::Plan(shelf.no, part)).collect();
        (events, u32::try_from(book.legs.len()).unwrap_or(u32::MAX))
    };
    inner.append(events).await?;
    inner.enqueue_legs(shelf, legs_before);
    Ok(())
}

/// Nothing open, nobody to be asked, no second choice left.
async fn complete(inner: &Inner, shelf: &Shelf, now: Timestamp) -> Result<(), Unavailable> {
    let rule = inner.running(shelf);
    let is_done = {
        let book = shelf.read();
        // A warning of which nobody was told is not dealt with: it stays until there is a way, or until it is over.
        let told_nobody = book.slots.is_empty() && !book.recipients.is_empty() && !shelf.alert.is_all_clear();
        let dealt_with = book.timeline.planned.is_some() && book.open == 0 && !told_nobody && !book.calls.iter().any(|call| call.is_open());
        let no_more_channels = rule.rule.then.is_empty() || book.fallback_planned;
        dealt_with && no_more_channels && matches!(book.state, State::Released | State::Dispatching)
    };
    if is_done {
        inner.append(vec![Event::Told(Box::new(Told::Completed { alert: shelf.no, at: now }))]).await?;
        tracing::info!(alert = %shelf.id, "alert is dealt with");
    }
    Ok(())
}
