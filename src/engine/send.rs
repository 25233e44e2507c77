//! Owns the way from a lease to verdicts: batches are rendered, checked against expiry and Cancel, and handed to the far end.
//! Refuses to know retry and storage. Invariant: every leased delivery ends in exactly one outcome, also when the engine stops or a driver hangs.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Semaphore, mpsc},
    time::Instant,
};

use super::{
    account::Account,
    gateway::Inner,
    lease::Lease,
    queue::{Urgency, Work},
    render,
};
use crate::{
    alert::AlertNo,
    channel::{Batching, Class, Concerns, Failure, Verdict},
    delivery::{event::FactKind, slot::Phase},
    message::Outgoing,
};

/// A driver that answers later than its own time-out by this much is taken for stuck; what it holds is in doubt.
const STUCK_AFTER: Duration = Duration::from_secs(5);
/// Messages made at a time, where each is a request: made in less than it takes to send what is in flight.
const PIECE: usize = 64;

/// What became of one delivery of a lease.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) alert: AlertNo,
    pub(crate) index: u32,
    pub(crate) urgency: Urgency,
    pub(crate) route: Arc<str>,
    pub(crate) account: u8,
    pub(crate) end: Ended,
}

#[derive(Debug)]
pub(crate) enum Ended {
    /// Of the attempt of this number.
    Verdict(Verdict, u16),
    /// Not handed over at all.
    Closed(FactKind, &'static str),
    /// Not handed over, and owed as before: the engine stops.
    PutBack,
    /// Not handed over, because the journal says that nothing is to go from here: a report came meanwhile.
    NotOwed,
}

/// Leases of an account as they come.
pub(crate) struct Leases {
    /// Passes what else is being worked off.
    pub(crate) express: mpsc::Receiver<Lease>,
    pub(crate) rest: mpsc::Receiver<Lease>,
}

impl Leases {
    /// `None` once both hands are gone.
    async fn next(&mut self) -> Option<Lease> {
        tokio::select! {
            biased;
            Some(lease) = self.express.recv() => Some(lease),
            Some(lease) = self.rest.recv() => Some(lease),
            else => None,
        }
    }
}

/// Sends one account's leases until the leasing side is gone and everything has its outcome.
pub(crate) async fn run(inner: Arc<Inner>, account: Arc<Account>, mut leases: Leases, outcomes: mpsc::Sender<Outcome>) {
    let concurrency = account.common.concurrency.max(1);
    let sender = Sender { inner, account, permits: Arc::new(Semaphore::new(concurrency)), outcomes };
    while let Some(lease) = leases.next().await {
        let is_express = lease.urgency.is_express();
        sender.work_off(&lease, if is_express { None } else { Some(&mut leases.express) }).await;
    }
    // All permits back means that every batch has its verdicts.
    if sender.permits.acquire_many(u32::try_from(concurrency).unwrap_or(u32::MAX)).await.is_err() {
        tracing::error!(account = sender.account.name(), "the sender's permits were closed under it");
    }
}

/// One account at work.
struct Sender {
    inner: Arc<Inner>,
    account: Arc<Account>,
    /// Batches that may be at the far end at one time.
    permits: Arc<Semaphore>,
    outcomes: mpsc::Sender<Outcome>,
}

impl Sender {
    /// Hands a lease over group by group; whatever is express and comes meanwhile goes between two of them.
    async fn work_off(&self, lease: &Lease, mut express: Option<&mut mpsc::Receiver<Lease>>) {
        let (begun, mut elsewhere) = (Instant::now(), Duration::ZERO);
        for piece in pieces(&lease.works, self.account.channel.batching()) {
            for group in compose(&self.inner, &self.account, lease, piece, &self.outcomes).await {
                while let Some(urgent) = express.as_mut().and_then(|express| express.try_recv().ok()) {
                    let begun = Instant::now();
                    Box::pin(self.work_off(&urgent, None)).await;
                    elsewhere += begun.elapsed();
                }
                self.let_go(lease, group).await;
            }
        }
        lease.appetite.learn(lease.deliveries(), begun.elapsed().saturating_sub(elsewhere));
    }

    /// Hands a group over as soon as the far end may have it, without waiting for its answer.
    async fn let_go(&self, lease: &Lease, group: Vec<Outgoing>) {
        // Who stops does not wait for a far end that answers nobody; what is not handed over any more is put back.
        let permit = tokio::select! {
            biased;
            permit = Arc::clone(&self.permits).acquire_owned() => permit.ok(),
            () = self.inner.stop.cancelled() => None,
        };
        let Some(permit) = permit else {
            return report(&self.outcomes, &LeaseFacts::of(lease), &self.account, indices(&group), &Ended::PutBack).await;
        };
        tokio::select! {
            biased;
            () = self.inner.stop.cancelled() => {}
            () = self.account.pass(group.len()) => {}
        }
        let (inner, account) = (Arc::clone(&self.inner), Arc::clone(&self.account));
        let (outcomes, facts) = (self.outcomes.clone(), LeaseFacts::of(lease));
        self.inner.tasks.spawn(async move {
            let group = owed(&inner, &account, group, &facts, &outcomes).await;
            if !group.is_empty() {
                hand_over(&account, &group, &facts, &outcomes).await;
            }
            drop(permit);
        });
    }
}

struct LeaseFacts {
    alert: AlertNo,
    urgency: Urgency,
    route: Arc<str>,
}

impl LeaseFacts {
    fn of(lease: &Lease) -> Self {
        Self { alert: lease.alert, urgency: lease.urgency, route: Arc::from(lease.route.word.as_str()) }
    }
}

/// A lease in pieces, so that the far end is kept busy with one while the next is made.
fn pieces(works: &[Work], batching: Batching) -> Vec<Vec<u32>> {
    let all = |work: &Work| work.first..work.first + work.count;
    let most = match batching {
        Batching::One => PIECE,
        // A group is not made across pieces: a few of the largest fit into one.
        Batching::SameText { max } => PIECE.max(max.saturating_mul(4)),
        // Devices of one area share a publish only where all of them are seen, and nobody else.
        Batching::WholeArea { .. } => return works.iter().map(|work| all(work).collect()).collect(),
    };
    let indices: Vec<u32> = works.iter().flat_map(all).collect();
    indices.chunks(most).map(<[u32]>::to_vec).collect()
}

/// Messages of a piece in the groups that one `send` takes; what cannot be rendered has its outcome at once.
async fn compose(
    inner: &Arc<Inner>,
    account: &Account,
    lease: &Lease,
    piece: Vec<u32>,
    outcomes: &mpsc::Sender<Outcome>,
) -> Vec<Vec<Outgoing>> {
    let mut messages = Vec::with_capacity(piece.len());
    if inner.stop.is_cancelled() {
        report(outcomes, &LeaseFacts::of(lease), account, piece, &Ended::PutBack).await;
        return Vec::new();
    }
    let composed = render::messages(inner, account, &lease.route, lease.alert, &piece);
    for (index, made) in composed {
        match made {
            Ok(message) => messages.push(message),
            Err(end) => report(outcomes, &LeaseFacts::of(lease), account, vec![index], &end).await,
        }
    }
    group(messages, account.channel.batching())
}

fn group(messages: Vec<Outgoing>, batching: Batching) -> Vec<Vec<Outgoing>> {
    let (most, together): (usize, fn(&Outgoing, &Outgoing) -> bool) = match batching {
        Batching::One => (1, |_, _| false),
        Batching::SameText { max } => (max.max(1), |one, other| one.text == other.text && one.subject == other.subject),
        Batching::WholeArea { max } => (max.max(1), |one, other| one.whole_area.is_some() && one.whole_area == other.whole_area),
    };
    let mut groups: Vec<Vec<Outgoing>> = Vec::new();
    for message in messages {
        match groups.last_mut() {
            Some(last) if last.len() < most && together(&last[0], &message) => last.push(message),
            _ => groups.push(vec![message]),
        }
    }
    groups
}

/// Why nothing of this alert may leave now, if so.
fn not_any_more(inner: &Inner, alert: AlertNo) -> Option<Ended> {
    if inner.stop.is_cancelled() {
        return Some(Ended::PutBack);
    }
    inner.closed_for_sending(alert).map(|kind| Ended::Closed(kind, "closed-before-sending"))
}

/// What of a group may still go, looked at in the moment before it does: an end of the alert and reports may have come since the lease.
async fn owed(
    inner: &Inner,
    account: &Account,
    group: Vec<Outgoing>,
    lease: &LeaseFacts,
    outcomes: &mpsc::Sender<Outcome>,
) -> Vec<Outgoing> {
    let Some(shelf) = inner.ledger.get(lease.alert) else { return Vec::new() };
    let (group, settled): (Vec<Outgoing>, Vec<Outgoing>) = {
        let book = shelf.read();
        group.into_iter().partition(|message| {
            let slot = book.slots.get(message.id.index as usize);
            slot.is_some_and(|slot| slot.phase == Phase::InFlight && book.word(slot.account) == account.name())
        })
    };
    report(outcomes, lease, account, indices(&settled), &Ended::NotOwed).await;
    let Some(end) = not_any_more(inner, lease.alert) else { return group };
    report(outcomes, lease, account, indices(&group), &end).await;
    Vec::new()
}

fn indices(group: &[Outgoing]) -> Vec<u32> {
    group.iter().map(|message| message.id.index).collect()
}

async fn hand_over(account: &Account, group: &[Outgoing], lease: &LeaseFacts, outcomes: &mpsc::Sender<Outcome>) {
    let messages = u32::try_from(group.len()).unwrap_or(u32::MAX);
    account.begin(messages);
    let patience = account.common.timeout + STUCK_AFTER;
    let verdicts = tokio::time::timeout(patience, account.channel.send(group)).await;
    account.end(messages);
    let mut verdicts = verdicts.unwrap_or_default().into_iter();
    for message in group {
        // A driver that hangs or answers too few verdicts leaves the rest in doubt.
        let verdict = verdicts.next().unwrap_or_else(|| {
            let detail = format!("no verdict within {} s", patience.as_secs());
            Verdict::Failed(Failure::new(Class::Unknown, Concerns::Provider, "stuck", detail))
        });
        let outcome = Outcome {
            alert: lease.alert,
            index: message.id.index,
            urgency: lease.urgency,
            route: Arc::clone(&lease.route),
            account: account.number,
            end: Ended::Verdict(verdict, message.attempt),
        };
        if outcomes.send(outcome).await.is_err() {
            // The settling side ends only with the process; a restart finds the lease and takes it as unknown.
            return;
        }
    }
}

async fn report(outcomes: &mpsc::Sender<Outcome>, lease: &LeaseFacts, account: &Account, indices: Vec<u32>, end: &Ended) {
    for index in indices {
        let outcome = Outcome {
            alert: lease.alert,
            index,
            urgency: lease.urgency,
            route: Arc::clone(&lease.route),
            account: account.number,
            end: end.again(),
        };
        if outcomes.send(outcome).await.is_err() {
            return;
        }
    }
}

impl Ended {
    /// The same end for another delivery of the group.
    fn again(&self) -> Self {
        match self {
            Self::Verdict(verdict, attempt) => Self::Verdict(verdict.clone(), *attempt),
            Self::Closed(kind, word) => Self::Closed(*kind, word),
            Self::PutBack => Self::PutBack,
            Self::NotOwed => Self::NotOwed,
        }
    }
}
