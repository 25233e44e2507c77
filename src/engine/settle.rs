//! Owns what follows from outcomes and reports: facts for the journal, then retries into the queues and the accounts' health.
//! Refuses to know how messages are sent. Invariant: a consequence (retry, next account, parking) follows only from a fact that is durable.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use rand::{SeedableRng, rngs::StdRng};
use tokio::{sync::mpsc, time::Instant};

use super::{
    early_receipts,
    gateway::{Inner, Running},
    health::Heard,
    queue::{For, Urgency, Work},
    refusals::{self, Past, went_well, went_wrong},
    send::{Ended, Outcome},
};
use crate::{
    alert::AlertNo,
    channel::{Class, Failure, Proof, Verdict},
    delivery::{
        book::Book,
        event::{Event, Fact, FactKind, Facts, Refs},
        ledger::Shelf,
        retry::{self, Next, Terms},
        slot::Phase,
    },
    telemetry::metrics as meter,
    time::Timestamp,
};

/// Outcomes of one record of the journal: 8,192 facts are 90 kB, a fraction of a commit.
const OUTCOMES_MAX: usize = 8_192;

/// Outcomes that come while others are settled go together, so often at most: each commit wakes a dozen threads, whatever it holds. Whoever
/// comes alone is settled at once, and a crash leaves in doubt what this long brings.
const SETTLE_EVERY: Duration = Duration::from_millis(4);

/// Facts of one alert as they are gathered.
pub(crate) struct Batch {
    alert: AlertNo,
    base: Timestamp,
    words: Vec<String>,
    list: Vec<Fact>,
}

impl Batch {
    pub(crate) fn of(shelf: &Shelf) -> Self {
        Self { alert: shelf.no, base: shelf.read().base(), words: vec![String::new()], list: Vec::new() }
    }

    pub(crate) fn add(&mut self, index: u32, kind: FactKind, word: &str, at: Timestamp) {
        let known = self.words.iter().position(|known| known == word);
        let code = known.unwrap_or_else(|| {
            self.words.push(word.to_owned());
            self.words.len() - 1
        });
        let at_ms = u32::try_from((at.as_ms() - self.base.as_ms()).max(0)).unwrap_or(u32::MAX - 1);
        self.list.push(Fact { index, kind, code: u16::try_from(code).unwrap_or(0), at_ms });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(crate) fn into_event(self) -> Event {
        Event::Facts(Facts { alert: self.alert, base: self.base, words: self.words, list: self.list })
    }
}

/// How a failure became known, and whether its account took something after it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) heard: Heard,
    pub(crate) is_proven: bool,
}

/// A delivery to be put back into its queue once its fact is durable.
pub(crate) struct Requeue {
    pub(crate) route: Arc<str>,
    pub(crate) urgency: Urgency,
    pub(crate) work: Work,
    pub(crate) due: Instant,
    pub(crate) to: For,
}

/// A pause that was decided now, by the clock that does not jump.
pub(crate) fn steady(due: Timestamp, now: Timestamp) -> Instant {
    Instant::now() + due.since(now)
}

/// Gathers outcomes as they come and settles them in bulk; ends when every sender has.
pub(crate) async fn run(inner: Arc<Inner>, mut outcomes: mpsc::Receiver<Outcome>) {
    let mut rng = StdRng::seed_from_u64(inner.seed);
    let mut gathered = Vec::with_capacity(OUTCOMES_MAX);
    let mut next = Instant::now();
    while outcomes.recv_many(&mut gathered, OUTCOMES_MAX).await > 0 {
        tokio::time::sleep_until(next).await;
        while gathered.len() < OUTCOMES_MAX
            && let Ok(outcome) = outcomes.try_recv()
        {
            gathered.push(outcome);
        }
        next = Instant::now() + SETTLE_EVERY;
        // While the disk is full the outcomes wait here, those behind them in the channel, and senders behind that.
        if settle(&inner, std::mem::take(&mut gathered), &mut rng).await.is_err() {
            // The store is gone or the engine stops; what was in flight is taken up as unknown.
            return;
        }
    }
}

async fn settle(inner: &Arc<Inner>, outcomes: Vec<Outcome>, rng: &mut StdRng) -> Result<(), super::Unavailable> {
    let now = inner.clock.now();
    let mut batches: BTreeMap<AlertNo, Batch> = BTreeMap::new();
    let mut refs: BTreeMap<(AlertNo, u8), Vec<(u32, String)>> = BTreeMap::new();
    let mut again = Vec::new();
    let proven = last_taken(&outcomes);
    // Before what came with it: what is refused after the last one that was taken is not proven by it.
    for &account in proven.keys() {
        went_well(inner, &mut batches, &inner.routes.accounts()[usize::from(account)], Heard::AtOnce, now);
    }
    for (place, outcome) in outcomes.into_iter().enumerate() {
        let Some(shelf) = inner.ledger.get(outcome.alert) else { continue };
        let batch = batches.entry(outcome.alert).or_insert_with(|| Batch::of(&shelf));
        let case = Case { heard: Heard::AtOnce, is_proven: proven.get(&outcome.account).is_some_and(|&last| last > place) };
        again.extend(settle_one(inner, &shelf, batch, &outcome, case, now, rng));
        if let Ended::Verdict(Verdict::Accepted { provider_ref: Some(reference) }, _) = outcome.end {
            refs.entry((outcome.alert, outcome.account)).or_default().push((outcome.index, reference));
        }
    }
    let mut events: Vec<Event> = batches.into_values().filter(|batch| !batch.is_empty()).map(Batch::into_event).collect();
    for ((alert, account), list) in refs {
        let account = inner.routes.accounts()[usize::from(account)].name().to_owned();
        events.push(Event::Refs(Refs { alert, account, list }));
    }
    inner.append_held(&events, "outcomes of messages that were sent").await?;
    for requeue in again {
        inner.requeue(&requeue);
    }
    early_receipts::bring_settled(inner, &events).await
}

/// The place of the last message that each account took: a refusal before it is the recipient's, as the account goes on working.
fn last_taken(outcomes: &[Outcome]) -> BTreeMap<u8, usize> {
    let taken = outcomes.iter().enumerate().filter(|(_, outcome)| matches!(outcome.end, Ended::Verdict(Verdict::Accepted { .. }, _)));
    taken.map(|(place, outcome)| (outcome.account, place)).collect()
}

fn settle_one(
    inner: &Inner,
    shelf: &Shelf,
    batch: &mut Batch,
    outcome: &Outcome,
    case: Case,
    now: Timestamp,
    rng: &mut StdRng,
) -> Option<Requeue> {
    let account = &inner.routes.accounts()[usize::from(outcome.account)];
    let work = Work { alert: outcome.alert, first: outcome.index, count: 1 };
    let requeue = |due, to| Requeue { route: Arc::clone(&outcome.route), urgency: outcome.urgency, work, due: steady(due, now), to };
    match &outcome.end {
        Ended::Closed(kind, word) => {
            batch.add(outcome.index, *kind, word, now);
            None
        }
        Ended::NotOwed => None,
        Ended::PutBack => {
            batch.add(outcome.index, FactKind::Throttled, "put-back", now);
            None
        }
        Ended::Verdict(Verdict::Accepted { .. }, _) => {
            meter::delivery(account.channel.kind().name(), "accepted");
            match account.channel.proof() {
                Proof::AcceptedOnly => batch.add(outcome.index, FactKind::Settled, account.name(), now),
                Proof::Report { .. } => batch.add(outcome.index, FactKind::Accepted, account.name(), now),
                Proof::AcceptedIsDelivered => {
                    batch.add(outcome.index, FactKind::Accepted, account.name(), now);
                    // It may have come back before the answer to the send did.
                    let has_failed = shelf.read().slots.get(outcome.index as usize).is_some_and(|slot| slot.phase == Phase::Failed);
                    if !has_failed {
                        batch.add(outcome.index, FactKind::Delivered, "", now);
                    }
                }
            }
            None
        }
        Ended::Verdict(Verdict::Failed(failure), attempt) => {
            meter::delivery(account.channel.kind().name(), failure.reason);
            if !case.is_proven {
                went_wrong(inner, account, case.heard, failure);
            }
            if !is_current(&shelf.read(), outcome.index, account.name(), *attempt) {
                return None;
            }
            after_failure(inner, shelf, batch, outcome.index, account.name(), &outcome.route, failure, case, now, rng)
                .map(|(due, to)| requeue(due, to))
        }
    }
}

/// Whether this attempt is the last word on the delivery. A report that came first has settled it or put it off, and another attempt may be
/// on its way: what the old one comes to must not make a third.
fn is_current(book: &Book, index: u32, account: &str, attempt: u16) -> bool {
    let slot = &book.slots[index as usize];
    slot.phase == Phase::InFlight && book.word(slot.account) == account && u16::from(slot.attempts()) + 1 == attempt
}

/// Puts the failure's consequence into the batch; answers when the delivery is to be queued again, and for whom.
#[expect(clippy::too_many_arguments, reason = "the facts of one failure; a struct for the single call would only rename them")]
pub(crate) fn after_failure(
    inner: &Inner,
    shelf: &Shelf,
    batch: &mut Batch,
    index: u32,
    account: &str,
    route: &str,
    failure: &Failure,
    case: Case,
    now: Timestamp,
    rng: &mut StdRng,
) -> Option<(Timestamp, For)> {
    let route = inner.routes.get(route)?;
    let running = inner.running(shelf);
    let (attempts, taken, is_open) = {
        let book = shelf.read();
        // Of a filed alert there is nothing to send again.
        let slot = book.slots.get(index as usize)?;
        // What a far end had taken is already counted as the attempt that failed now.
        let taken = u8::from(slot.phase == Phase::AwaitingProof);
        (slot.attempts().saturating_sub(taken), taken, slot.phase.is_open())
    };
    if !is_open {
        return None;
    }
    let next_account = route.next_account(account);
    let common = inner.routes.account(account).map(|account| &account.common);
    let schedule = common.map_or(&[][..], |common| &common.retry);
    // An account that is no longer configured is asked nothing; what is left of it waits as for one that is parked.
    let unknown_retry = common.map_or(retry::PARKED, |common| common.unknown_retry);
    let by_report = case.heard == Heard::ByReport && taken > 0;
    let doubts = if failure.class == Class::Unknown { running.past(index, Past::doubt) } else { 0 };
    let has_next_account = next_account.is_some();
    let trust = refusals::trust(inner, shelf, index, account, failure, case, has_next_account);
    let Running { stop_at, persist, .. } = *running;
    let terms = Terms { schedule, unknown_retry, stop_at, has_next_account, persist, doubts, by_report, trust };
    match retry::next(terms, failure, attempts, now, rng) {
        Next::Again { kind, at } => {
            // What a far end had taken was an attempt, whatever it says of it now.
            let kind = if taken > 0 && kind == FactKind::Throttled { FactKind::Retry } else { kind };
            batch.add(index, kind, failure.reason, at);
            Some((at, For::ANY))
        }
        // By its own name and not the next one's: if it is believed after all, it is this account that refused.
        Next::Held { at } => {
            batch.add(index, FactKind::Retry, failure.reason, at);
            Some((at, For(next_account.map(|next| next.number))))
        }
        Next::NextAccount { at } => {
            let next = next_account?;
            // The next account may be the second to bring it: that is counted.
            let kind = if failure.class == Class::Unknown { FactKind::UnknownNext } else { FactKind::NextAccount };
            batch.add(index, kind, next.name(), at);
            Some((at, For(Some(next.number))))
        }
        Next::Close { kind } => {
            batch.add(index, kind, failure.reason, now);
            None
        }
    }
}
