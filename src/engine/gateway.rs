//! Owns the handle to the running engine: what is wired together, started, recovered and stopped.
//! Refuses to know HTTP and configuration files. Invariant: one `Inner` per data directory; every task of it is tracked and ends with it.

use std::{
    collections::HashMap,
    ops::Deref,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, atomic::AtomicU64},
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Unavailable,
    account::Account,
    authority::Source,
    devices::Devices,
    filed::Cabinet,
    fold::LedgerFold,
    janitor, lease,
    queue::{For, Part, Urgency, Work},
    receipts,
    route::Routes,
    send, settle,
    settle::Requeue,
};
use crate::{
    alert::{AlertNo, Limits, Vocabulary},
    area::AreaCode,
    channel::{Channel, Common},
    delivery::{
        book::{Book, State},
        early::Name,
        event::FactKind,
        ledger::{Ledger, Shelf},
        slot::Phase,
    },
    message::{Facts, token::AnswerTokens},
    policy::{Policy, RetryUntil, Rule},
    registry::{Change, Registry, RegistryError, Snapshot, SubscriberKey},
    store::{BackupError, BackupReport, Health, Journal, OpenError, Opened, Options, Threads},
    telemetry::metrics as meter,
    time::{SharedClock, Timestamp},
};

/// Outcomes that may wait to be settled: a quarter of a second of the fastest far end; senders wait beyond it.
const OUTCOMES_WAITING: usize = 16_384;
/// Reports of one connected far end that may wait; beyond it the far end does.
const REPORTS_WAITING: usize = 4_096;
/// This part of the grace is kept for leaving far ends in order and for the last outcomes.
const GOODBYES: u32 = 5;

/// Everything the engine is made of, checked and opened.
pub struct Setup {
    pub clock: SharedClock,
    pub data_dir: PathBuf,
    pub county: AreaCode,
    pub county_name: String,
    pub sources: Vec<Source>,
    pub policy: Policy,
    pub registry: Registry,
    pub accounts: Vec<(Arc<dyn Channel>, Common)>,
    pub limits: Limits,
    pub vocabulary: Vocabulary,
    /// How far in the future an alert may say it was sent.
    pub max_skew: Duration,
    pub public_url: String,
    pub tokens: AnswerTokens,
    /// Drills also go to households.
    pub drill_households: bool,
    pub seed: u64,
    /// An alert that has been over for so long is filed.
    pub keep_open: Duration,
    /// Months of the journal that are kept before the present one; zero keeps all.
    pub keep_months: u32,
    pub journal: Options,
}

/// What sending and judging one alert needs, worked out once.
pub(crate) struct Running {
    pub(crate) rule: Rule,
    pub(crate) facts: Arc<Facts>,
    /// Nothing leaves at or after this.
    pub(crate) stop_at: Timestamp,
    pub(crate) persist: bool,
    /// Held while a plan of this alert is made and appended.
    pub(crate) extending: tokio::sync::Mutex<()>,
}

pub struct Inner {
    data_dir: PathBuf,
    pub(crate) clock: SharedClock,
    pub(crate) county: AreaCode,
    pub(crate) county_name: String,
    pub(crate) sources: Vec<Source>,
    pub(crate) policy: ArcSwap<Policy>,
    pub(crate) registry: Registry,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) journal: Journal,
    pub(crate) threads: Threads,
    pub(crate) routes: Routes,
    pub(crate) limits: Limits,
    pub(crate) vocabulary: Vocabulary,
    pub(crate) max_skew: Duration,
    pub(crate) public_url: String,
    pub(crate) tokens: AnswerTokens,
    pub(crate) drill_households: bool,
    pub(crate) seed: u64,
    pub(crate) keep_open: Duration,
    pub(crate) keep_months: u32,
    pub(crate) cabinet: Cabinet,
    pub(crate) devices: Devices,
    /// Early receipts of this run, for their ids.
    pub(super) early_count: AtomicU64,
    running: Mutex<HashMap<AlertNo, Arc<Running>>>,
    /// One alert is taken in at a time: its number, its references and its repeat are judged against all before it.
    pub(crate) intake: tokio::sync::Mutex<()>,
    changed: watch::Receiver<u64>,
    /// No new leases.
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
    senders: TaskTracker,
    ready: watch::Sender<bool>,
}

/// Cheap handle to the engine.
#[derive(Clone)]
pub struct Gateway(Arc<Inner>);

impl Deref for Gateway {
    type Target = Arc<Inner>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl From<Arc<Inner>> for Gateway {
    fn from(inner: Arc<Inner>) -> Self {
        Self(inner)
    }
}

impl Gateway {
    /// Opens the journal and folds it; nothing is sent before `start`.
    pub fn open(setup: Setup) -> Result<(Self, Opened), OpenError> {
        let ledger = Arc::new(Ledger::default());
        let (changed_sender, changed) = watch::channel(0);
        let threads = setup.journal.threads;
        let fold = LedgerFold::new(Arc::clone(&ledger), changed_sender, setup.data_dir.clone());
        let (journal, opened) = Journal::open(&setup.data_dir, setup.journal, Arc::clone(&setup.clock), fold)?;
        let accounts = (0_u8..).zip(setup.accounts).map(|(number, (channel, common))| Arc::new(Account::new(number, channel, common)));
        let inner = Inner {
            data_dir: setup.data_dir,
            clock: setup.clock,
            county: setup.county,
            county_name: setup.county_name,
            sources: setup.sources,
            policy: ArcSwap::from_pointee(setup.policy),
            registry: setup.registry,
            ledger,
            journal,
            threads,
            routes: Routes::of(accounts.collect()),
            limits: setup.limits,
            vocabulary: setup.vocabulary,
            max_skew: setup.max_skew,
            public_url: setup.public_url,
            tokens: setup.tokens,
            drill_households: setup.drill_households,
            seed: setup.seed,
            keep_open: setup.keep_open,
            keep_months: setup.keep_months,
            cabinet: Cabinet::default(),
            devices: Devices::default(),
            early_count: AtomicU64::default(),
            running: Mutex::default(),
            intake: tokio::sync::Mutex::new(()),
            changed,
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            senders: TaskTracker::new(),
            ready: watch::Sender::new(false),
        };
        Ok((Self(Arc::new(inner)), opened))
    }

    /// Connects the far ends, takes up what an earlier run left, and begins to send.
    pub async fn start(&self) -> Result<(), Unavailable> {
        let (outcomes, settled) = mpsc::channel(OUTCOMES_WAITING);
        self.tasks.spawn(settle::run(Arc::clone(&self.0), settled));
        for account in self.routes.accounts() {
            self.start_account(account, &outcomes).await;
        }
        drop(outcomes);
        let (gateway, (done, taken_up)) = (self.clone(), oneshot::channel());
        self.tasks.spawn(async move {
            let result = gateway.take_up().await;
            if let Err(why) = &result {
                tracing::error!(%why, "what an earlier run left could not be taken up");
            }
            // Nobody waits for it any more when the disk was full at the start.
            drop(done.send(result));
        });
        tokio::select! {
            biased;
            result = taken_up => result.unwrap_or_else(|_| Err(Unavailable::Failed("the start died".into()))),
            // It goes on when there is room; until then people are told so instead of finding nobody.
            () = self.has_no_room() => Ok(()),
        }
    }

    async fn start_account(&self, account: &Arc<Account>, outcomes: &mpsc::Sender<send::Outcome>) {
        let (reports, incoming) = mpsc::channel(REPORTS_WAITING);
        self.tasks.spawn(receipts::run(Arc::clone(&self.0), account.name().to_owned(), incoming));
        if let Err(failure) = account.channel.start(reports).await {
            // The debt stays: the account is parked and asked again, and the page shows why.
            account.went_wrong(failure.class, failure.reason);
            meter::alarm("account-start");
            tracing::error!(account = account.name(), %failure, "channel did not start");
        }
        // One lease waits ready while the one before is sent; more would only be in doubt after a crash.
        let hand = |part| {
            let (leases, taken) = mpsc::channel(1);
            self.senders.spawn(lease::run(Arc::clone(&self.0), Arc::clone(account), part, leases));
            taken
        };
        let leases = send::Leases { express: hand(Part::Express), rest: hand(Part::Rest) };
        self.senders.spawn(send::run(Arc::clone(&self.0), Arc::clone(account), leases, outcomes.clone()));
    }

    /// What was in flight when the last run ended is in doubt; what was pending is queued; what was released is planned.
    async fn take_up(&self) -> Result<(), Unavailable> {
        let dropped = self.ledger.drop_unsealed();
        if dropped > 0 {
            tracing::warn!(plans = dropped, "plans that were not whole in the journal are made anew");
        }
        let now = self.clock.now();
        for shelf in self.ledger.unfinished() {
            let mut batch = settle::Batch::of(&shelf);
            {
                let book = shelf.read();
                let in_flight = (0_u32..).zip(&book.slots).filter(|(_, slot)| slot.phase == Phase::InFlight);
                in_flight.for_each(|(index, _)| batch.add(index, FactKind::Unknown, "restarted-in-flight", now));
            }
            if !batch.is_empty() {
                self.append_held(&[batch.into_event()], "messages in doubt since the last run").await?;
            }
            self.enqueue_legs(&shelf, 0);
            let is_unplanned = {
                let book = shelf.read();
                book.timeline.planned.is_none() && book.state == State::Released
            };
            if is_unplanned {
                match self.plan(&shelf).await {
                    Err(Unavailable::NoSpace(_)) => self.release(&shelf, None, None),
                    other => other?,
                }
            }
        }
        self.take_up_early().await?;
        self.take_waiting();
        self.tasks.spawn(janitor::run(Arc::clone(&self.0)));
        self.ready.send_replace(true);
        Ok(())
    }

    /// No new leases, wait for what is in flight, disconnect, commit: all of it within the grace, or what is left counts as unknown.
    pub async fn stop(&self, grace: Duration) -> Result<(), Unavailable> {
        let end = Instant::now() + grace;
        self.ready.send_replace(false);
        self.stop.cancel();
        self.senders.close();
        self.tasks.close();
        if tokio::time::timeout_at(end - grace / GOODBYES, self.senders.wait()).await.is_err() {
            tracing::warn!(grace_s = grace.as_secs(), "some messages were still in flight at the end of the grace; they count as unknown");
        }
        let goodbyes = self.routes.accounts().iter().map(|account| async move {
            if tokio::time::timeout_at(end, account.channel.stop()).await.is_err() {
                tracing::warn!(account = account.name(), "channel did not close in time");
            }
        });
        futures::future::join_all(goodbyes).await;
        if tokio::time::timeout_at(end, self.tasks.wait()).await.is_err() {
            tracing::warn!("some tasks did not end in time");
        }
        Ok(self.journal.close().await?)
    }

    pub fn is_ready(&self) -> Result<(), String> {
        if let Health::Failed { why } = self.journal.health() {
            return Err(format!("the store has failed: {why}"));
        }
        self.journal.space().map_err(|lack| lack.to_string())?;
        if !*self.ready.borrow() {
            return Err("the engine is starting or stopping".into());
        }
        Ok(())
    }

    /// Whether the disk has room for new work.
    pub fn room(&self) -> Result<(), Unavailable> {
        self.journal.space().map_err(Unavailable::NoSpace)
    }

    /// Why the store takes nothing any more, if so.
    pub fn store_failure(&self) -> Option<String> {
        match self.journal.health() {
            Health::Writable => None,
            Health::Failed { why } => Some(why),
        }
    }

    /// Rises with every durable event.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.clone()
    }

    /// Writes everything up to now into one new file, while work goes on.
    pub async fn backup(&self, file: &Path) -> Result<BackupReport, BackupError> {
        self.journal.backup(file).await
    }

    pub fn clock(&self) -> &SharedClock {
        &self.clock
    }

    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    pub fn county(&self) -> AreaCode {
        self.county
    }

    pub fn county_name(&self) -> &str {
        &self.county_name
    }

    pub fn replace_policy(&self, policy: Policy) {
        self.policy.store(Arc::new(policy));
        // Alerts that are under way keep the rule they were planned by.
    }
}

impl Inner {
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.registry.current()
    }

    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Where the store lies.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Nothing is sent of this alert any more.
    pub(super) fn forget_running(&self, alert: AlertNo) {
        self.running.lock().expect("no code panics while it holds the running alerts").remove(&alert);
    }

    pub(crate) fn running(&self, shelf: &Shelf) -> Arc<Running> {
        let mut running = self.running.lock().expect("no code panics while it holds the running alerts");
        Arc::clone(running.entry(shelf.no).or_insert_with(|| Arc::new(self.make_running(shelf))))
    }

    fn make_running(&self, shelf: &Shelf) -> Running {
        let alert = &shelf.alert;
        let policy = self.policy.load();
        let rule = match shelf.notice_of() {
            Some(_) => Rule::of_approval(policy.approval()),
            None => policy.decide(&alert.event, alert.level, &alert.groups).cloned().unwrap_or_else(Rule::nobody),
        };
        let (stop_at, persist) = match rule.retry_until {
            RetryUntil::Expires => (alert.expires, true),
            RetryUntil::After(limit) => (alert.expires.min(shelf.read().base().plus(limit)), false),
        };
        let facts = super::render::facts(self, shelf, &rule);
        Running { rule, facts: Arc::new(facts), stop_at, persist, extending: tokio::sync::Mutex::new(()) }
    }

    pub(crate) fn with_households(&self, shelf: &Shelf) -> bool {
        self.drill_households || !shelf.alert.status.is_drill()
    }

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
                meter::alarm("route-without-account");
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

    /// The delivery that an account's own id names, if its send has returned; newest alerts first.
    pub(crate) fn find_ref(&self, name: &Name) -> Option<(Arc<Shelf>, u32)> {
        self.ledger.newest_first().into_iter().find_map(|shelf| {
            let index = shelf.read().delivery_of_ref(&name.account, &name.provider_ref)?;
            Some((shelf, index))
        })
    }

    pub(crate) async fn opt_out(self: &Arc<Self>, people: Vec<SubscriberKey>) -> Result<(), Unavailable> {
        let changes: Vec<Change> = people.into_iter().map(Change::OptOut).collect();
        match self.edit_registry(changes).await {
            Ok(_) => Ok(()),
            // Whoever is on duty cannot opt out, and asking again changes nothing.
            Err(refused @ RegistryError::Refused(_)) => {
                tracing::warn!(%refused, "an opt-out is not taken");
                Ok(())
            }
            Err(error @ RegistryError::Write { .. }) => Err(Unavailable::Failed(error.to_string())),
        }
    }

    /// Changes of single records, on a thread where a disk may be waited for.
    pub async fn edit_registry(self: &Arc<Self>, changes: Vec<Change>) -> Result<Arc<Snapshot>, RegistryError> {
        let inner = Arc::clone(self);
        let edited = self.apart(move || inner.registry.edit(&changes)).await;
        edited.expect("an edit of the registry does not panic")
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
