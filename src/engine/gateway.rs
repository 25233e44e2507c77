//! Owns the handle to the running engine: what is wired together, and what everybody asks of it.
//! Refuses to know HTTP, configuration files and how it starts and stops. Invariant: one `Inner` per data directory.

use std::{
    collections::HashMap,
    ops::Deref,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, atomic::AtomicU64},
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Unavailable, account::Account, answer_pace::AnswerPace, authority::Source, devices::Devices, filed::Cabinet, fold::LedgerFold,
    planner::Public, rings::Rings, route::Routes, sealed_words::SealedWords, told_before::WordsBefore, unmatched::Unmatched,
};
use crate::{
    alert::{Alert, AlertNo, Limits, Status, Vocabulary},
    area::AreaCode,
    channel::{Channel, Common},
    delivery::{
        early::Name,
        ledger::{Ledger, Shelf},
    },
    message::{Facts, token::AnswerTokens},
    policy::{Policy, RetryUntil, Rule},
    registry::{Change, Registry, RegistryError, Snapshot, SubscriberKey},
    store::{BackupError, BackupReport, Health, Journal, OpenError, Opened, Options, Threads},
    telemetry::alarms::Alarms,
    time::{SharedClock, Timestamp},
};

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
    /// Tests and messages between systems also go to public loudspeakers.
    pub drill_speakers: bool,
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
    /// Divisions that the alert means, found when the first text is made.
    pub(crate) meant: OnceLock<Vec<AreaCode>>,
    /// Whose words those had before who hear of a change or an end; set before the first of them is sent to.
    pub(crate) words: OnceLock<WordsBefore>,
    /// What came before of deliveries in doubt or refused; forgotten by a restart, which is in doubt of its own.
    pub(crate) past: Mutex<HashMap<u32, super::refusals::Past>>,
    /// Held while a plan of this alert is made and appended.
    pub(crate) extending: tokio::sync::Mutex<()>,
}

pub struct Inner {
    pub(super) data_dir: PathBuf,
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
    drill_households: bool,
    drill_speakers: bool,
    pub(crate) seed: u64,
    pub(crate) keep_open: Duration,
    pub(crate) keep_months: u32,
    pub(crate) cabinet: Cabinet,
    pub(crate) devices: Devices,
    pub(crate) alarms: Alarms,
    pub(super) lately: super::audit::Lately,
    pub(crate) rings: Rings,
    /// What people said, as it is kept.
    pub(crate) words: SealedWords,
    /// Early receipts of this run, for their ids.
    pub(super) early_count: AtomicU64,
    pub(super) unmatched: Unmatched,
    pub(super) answer_pace: AnswerPace,
    running: Mutex<HashMap<AlertNo, Arc<Running>>>,
    /// One alert is taken in at a time: its number, its references and its repeat are judged against all before it.
    pub(crate) intake: tokio::sync::Mutex<()>,
    changed: watch::Receiver<u64>,
    /// No new leases.
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
    pub(super) senders: TaskTracker,
    pub(super) ready: watch::Sender<bool>,
}

/// Cheap handle to the engine.
#[derive(Clone)]
pub struct Gateway(pub(super) Arc<Inner>);

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
        let alarms = Alarms::new(Arc::clone(&setup.clock));
        let fold = LedgerFold::new(Arc::clone(&ledger), changed_sender, setup.data_dir.clone());
        let (journal, opened) = Journal::open(&setup.data_dir, setup.journal, Arc::clone(&setup.clock), fold)?;
        let words = SealedWords::of(&setup.data_dir);
        super::alarm_book::take_up(&alarms, &setup.data_dir, &words);
        let accounts = (0_u8..).zip(setup.accounts).map(|(number, (channel, common))| Arc::new(Account::new(number, channel, common)));
        let inner = Inner {
            data_dir: setup.data_dir,
            lately: super::audit::Lately::default(),
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
            drill_speakers: setup.drill_speakers,
            seed: setup.seed,
            keep_open: setup.keep_open,
            keep_months: setup.keep_months,
            cabinet: Cabinet::default(),
            devices: Devices::default(),
            alarms,
            rings: Rings::default(),
            words,
            early_count: AtomicU64::default(),
            unmatched: Unmatched::default(),
            answer_pace: AnswerPace::default(),
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

    pub fn is_ready(&self) -> Result<(), String> {
        if let Health::Failed { why } = self.journal.health() {
            return Err(format!("the store has failed: {why}"));
        }
        self.journal.space().map_err(|lack| lack.to_string())?;
        if !*self.ready.borrow() {
            return Err("the engine is starting or stopping".into());
        }
        if self.is_mute() {
            return Err("no channel is configured that any rule of the policy names: nobody can be told of anything".into());
        }
        Ok(())
    }

    /// Whether the disk has room for new work.
    pub fn room(&self) -> Result<(), Unavailable> {
        self.journal.space().map_err(Unavailable::NoSpace)
    }

    /// Whether so many bytes may be written beside the journal, its reserve left alone.
    pub fn room_for(&self, bytes: u64) -> Result<(), Unavailable> {
        self.journal.room_for(bytes).map_err(Unavailable::NoSpace)
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

    /// What needs a person.
    pub fn alarms(&self) -> &Alarms {
        &self.alarms
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
        let (meant, words, extending) = (OnceLock::new(), OnceLock::new(), tokio::sync::Mutex::new(()));
        Running { rule, facts: Arc::new(facts), stop_at, persist, meant, words, past: Mutex::default(), extending }
    }

    /// An exercise is there to be heard; what tests the machinery is not, unless the county says so.
    pub(crate) fn public_of(&self, alert: &Alert) -> Public {
        let is_test = matches!(alert.status, Status::Test | Status::System);
        Public { households: self.drill_households || !alert.status.is_drill(), speakers: self.drill_speakers || !is_test }
    }

    /// The delivery that an account's own id names, if its send has returned; newest alerts first.
    pub(crate) fn find_ref(&self, name: &Name) -> Option<(Arc<Shelf>, u32)> {
        self.ledger.whole_newest_first().into_iter().find_map(|shelf| {
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
        self.edit_registry_allowing(changes, false).await
    }

    /// The same; `allow` takes in whoever was erased.
    pub async fn edit_registry_allowing(self: &Arc<Self>, changes: Vec<Change>, allow: bool) -> Result<Arc<Snapshot>, RegistryError> {
        let inner = Arc::clone(self);
        let edited = self.apart(move || inner.registry.edit_allowing(&changes, allow)).await;
        edited.expect("an edit of the registry does not panic")
    }
}
