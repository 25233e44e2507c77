//! A gateway without its edges, on a made-up county, with one far end that takes as much as it is given leave for, and a clock that jumps.

use std::{
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use futures::future::BoxFuture;
use lastmile::{
    alert::{AlertId, AlertNo, Level, Limits, Vocabulary},
    channel::{Batching, Callback, Channel, Class, Common, Concerns, Failure, Kind, Proof, Reach, Reception, ReportSink, Verdict},
    datum::Datum,
    delivery::ledger::Shelf,
    engine::{Approval, Gateway, Setup, Source, intake::Actor},
    matching::meant::CodeBook,
    message::{Form, Outgoing, token::AnswerTokens},
    policy::Policy,
    registry::{Mode, Registry, fixture},
    store::Options,
    time::{Clock, SharedClock, SystemClock, Timestamp},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::Semaphore;

const PATIENCE: Duration = Duration::from_secs(60);
pub(crate) const CONCURRENCY: usize = 4;
/// More than any test sends.
const ALL: usize = 1_000_000;

/// The machine's clock, and how far it was set forward or back.
#[derive(Default)]
pub(crate) struct JumpyClock(AtomicI64);

impl JumpyClock {
    pub(crate) fn jump(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for JumpyClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_ms(SystemClock.now().as_ms() + self.0.load(Ordering::SeqCst))
    }
}

/// One message that the far end took: alert, and who it was for.
pub(crate) type Taken = (AlertNo, String);

/// Takes a message for each leave it is given; while it is down it refuses all.
pub(crate) struct FarEnd {
    leave: Semaphore,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    is_down: bool,
    refused: u32,
    taken: Vec<Taken>,
}

impl FarEnd {
    fn new() -> Self {
        Self { leave: Semaphore::new(0), state: Mutex::default() }
    }

    pub(crate) fn give_leave(&self, messages: usize) {
        self.leave.add_permits(messages);
    }

    pub(crate) fn give_leave_for_all(&self) {
        self.give_leave(ALL);
    }

    pub(crate) fn set_down(&self, is_down: bool) {
        self.state().is_down = is_down;
    }

    pub(crate) fn refused(&self) -> u32 {
        self.state().refused
    }

    pub(crate) fn taken(&self) -> Vec<Taken> {
        self.state().taken.clone()
    }

    /// Whom it took messages of one alert for, sorted.
    pub(crate) fn told(&self, alert: AlertNo) -> Vec<String> {
        let mut told: Vec<String> = self.taken().into_iter().filter(|(no, _)| *no == alert).map(|(_, to)| to).collect();
        told.sort();
        told
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while it holds the far end's state")
    }

    async fn take(&self, message: &Outgoing) -> Verdict {
        if self.state().is_down {
            self.state().refused += 1;
            let failure = Failure::new(Class::Retry, Concerns::Provider, "connect", "");
            return Verdict::Failed(failure);
        }
        self.leave.acquire().await.expect("never closed").forget();
        self.state().taken.push((message.id.alert, message.to.clone()));
        Verdict::Accepted { provider_ref: None }
    }
}

impl Channel for FarEnd {
    fn name(&self) -> &str {
        "far-end"
    }

    fn kind(&self) -> Kind {
        Kind::Sms
    }

    fn reaches(&self) -> &[Reach] {
        &[Reach::People("phone")]
    }

    fn form(&self) -> Form {
        Form::Short { one_part: 70, part: 67, parts_max: 8, signature: String::new(), replies: false }
    }

    fn proof(&self) -> Proof {
        Proof::AcceptedOnly
    }

    fn batching(&self) -> Batching {
        Batching::One
    }

    fn send<'a>(&'a self, batch: &'a [Outgoing]) -> BoxFuture<'a, Vec<Verdict>> {
        Box::pin(async move {
            let mut verdicts = Vec::with_capacity(batch.len());
            for message in batch {
                verdicts.push(self.take(message).await);
            }
            verdicts
        })
    }

    fn receive(&self, _: &Callback) -> Result<Reception, Failure> {
        Err(Failure::new(Class::Reject, Concerns::Request, "no-callbacks", ""))
    }

    fn start(&self, _: ReportSink) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(async { Ok(()) })
    }

    fn stop(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}

pub(crate) struct Rig {
    pub(crate) gateway: Gateway,
    pub(crate) far_end: Arc<FarEnd>,
    pub(crate) clock: Arc<JumpyClock>,
    posted: AtomicI64,
    _home: TempDir,
}

impl Rig {
    pub(crate) async fn start(households: u32) -> Self {
        let home = tempfile::tempdir().expect("a temporary directory");
        let (far_end, clock) = (Arc::new(FarEnd::new()), Arc::new(JumpyClock::default()));
        let gateway = open(home.path(), households, &far_end, &clock);
        gateway.start().await.expect("it starts");
        Self { gateway, far_end, clock, posted: AtomicI64::new(0), _home: home }
    }

    /// An alert for an area, sent now and good for an hour.
    pub(crate) async fn post(&self, level: &str, area: &str) -> Arc<Shelf> {
        let mut alert: Value = serde_json::from_str(include_str!("../../fixtures/alerts/rainstorm-red.json")).expect("fixture");
        let now = self.clock.now().whole_seconds();
        alert["identifier"] = json!(format!("51072641600000_{}", self.posted.fetch_add(1, Ordering::SeqCst)));
        alert["level"] = json!(level);
        alert["sent"] = json!(now);
        alert["effective"] = json!(now);
        alert["expires"] = json!(now.plus(Duration::from_secs(3_600)));
        alert["areas"] = json!([{ "name": "", "codes": [area] }]);
        let by = Actor::of_source("met", "met");
        let accepted = self.gateway.submit(alert.to_string().as_bytes(), None, &by).await;
        self.shelf(accepted.unwrap_or_else(|error| panic!("{error}")).id)
    }

    pub(crate) async fn planned(&self, level: &str, area: &str) -> Arc<Shelf> {
        let shelf = self.post(level, area).await;
        self.until("the plan", || shelf.read().timeline.planned.is_some()).await;
        shelf
    }

    /// Ends an alert; the Cancel that was made.
    pub(crate) async fn cancel(&self, shelf: &Shelf) -> Arc<Shelf> {
        let (made, _) = self.gateway.cancel(shelf.id, "duty", "雨停了").await.expect("it can be ended");
        self.shelf(made.id)
    }

    fn shelf(&self, id: AlertId) -> Arc<Shelf> {
        self.gateway.ledger().find(id).expect("it is in the ledger")
    }

    pub(crate) async fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        let mut changes = self.gateway.changes();
        let waiting = async {
            while !is_so() {
                // What the far end does is not yet in the journal: a look now and then sees it.
                drop(tokio::time::timeout(Duration::from_millis(20), changes.changed()).await);
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("gave up waiting for {what}"));
    }

    pub(crate) async fn stop(self) {
        self.far_end.give_leave_for_all();
        self.gateway.stop(Duration::from_secs(20)).await.expect("it stops");
    }
}

fn open(home: &Path, households: u32, far_end: &Arc<FarEnd>, clock: &Arc<JumpyClock>) -> Gateway {
    let registry = Registry::open(&home.join("registry")).expect("a registry").registry;
    registry.import_records(&fixture::beichuan(households, 7), Mode::Upsert).expect("a county");
    let area = |code: &str| code.parse().expect("a code");
    let source = Source {
        name: "met".into(),
        senders: vec!["51072641600000".into()],
        events: vec!["*".parse().expect("a pattern")],
        levels: Level::ALL.to_vec(),
        areas: vec![area("510726")],
        approval: Approval::None,
        datum: Datum::Wgs84,
        codes: CodeBook::default(),
    };
    let common = Common {
        priority: 1,
        per_second: None,
        per_minute: None,
        burst: None,
        concurrency: CONCURRENCY,
        timeout: PATIENCE,
        retry: vec![Duration::from_millis(50)],
        unknown_retry: Duration::from_secs(180),
    };
    let setup = Setup {
        clock: Arc::<JumpyClock>::clone(clock) as SharedClock,
        data_dir: home.join("data"),
        county: area("510726"),
        county_name: "北川羌族自治县".into(),
        sources: vec![source],
        policy: Policy::parse("[[rule]]\nevents = [\"*\"]\nchannels = [\"sms\"]\n", &["sms"]).expect("a policy"),
        registry,
        accounts: vec![(Arc::<FarEnd>::clone(far_end) as Arc<dyn Channel>, common)],
        limits: Limits::default(),
        vocabulary: Vocabulary::default(),
        max_skew: Duration::from_secs(600),
        public_url: "https://warn.example".into(),
        tokens: AnswerTokens::new([7; 32]),
        drill_households: false,
        drill_speakers: false,
        seed: 7,
        keep_open: Duration::from_secs(7 * 24 * 3_600),
        keep_months: 0,
        journal: Options::default(),
    };
    std::fs::create_dir_all(home.join("data")).expect("a folder");
    Gateway::open(setup).expect("the store opens").0
}
