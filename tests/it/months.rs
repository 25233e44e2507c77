//! Months of the journal over half a year of a clock that the test moves: filed, refused, given back by hand and by age, and shown as before.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use lastmile::{
    access::Role,
    alert::{AlertId, Limits, Vocabulary},
    app, channel,
    config::Layers,
    datum::Datum,
    delivery::ledger::Shelf,
    engine::{
        Approval, Gateway, Setup, Source,
        intake::Actor,
        months::{GiveBackError, unfiled},
    },
    matching::meant::CodeBook,
    message::token::AnswerTokens,
    registry::Registry,
    store::{DropError, Month, Opened, Options},
    time::{Clock as _, ManualClock, SharedClock, SystemClock, Timestamp},
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::http_kit::{LEIGU, QUSHAN, Site, new_home, problem, rainstorm};

const PATIENCE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 3_600);
const KEEP_OPEN: Duration = Duration::from_secs(20 * 24 * 3_600);
const GRACE: Duration = Duration::from_secs(10);
const CONFIGURATION: &str = r#"
[channel.line]
kind = "sms"
provider = "sandbox"
deliver = 0.9
fail = 0.1
throttle = 0.0
break = 0.0
latency = "1ms"
receipt_after = "5ms"
retry = ["50ms", "50ms"]

[policy]
file = "policy.toml"
"#;
const POLICY: &str = "[[rule]]\nevents = [\"*\"]\nroles = [\"*\"]\nchannels = [\"sms\"]\nanswer = { roles = [\"village_leader\"], within = \"5m\", then = [] }\n";

/// A county's data directory and the clock of its gateway.
struct House {
    home: tempfile::TempDir,
    clock: Arc<ManualClock>,
}

impl House {
    fn build(begin: &str) -> Self {
        crate::tls_provider();
        let home = new_home();
        fs::write(home.path().join("lastmile.toml"), CONFIGURATION).expect("configuration");
        fs::write(home.path().join("policy.toml"), POLICY).expect("policy");
        Self { home, clock: Arc::new(ManualClock::at(begin.parse().expect("a time"))) }
    }

    fn data(&self) -> PathBuf {
        self.home.path().join("data")
    }

    /// A gateway at work, and what its opening found.
    async fn open(&self, keep_months: u32) -> (Gateway, Opened) {
        let layers = Layers::read(Some(&self.home.path().join("lastmile.toml")), std::iter::empty());
        let config = layers.and_then(|layers| app::check(&layers)).unwrap_or_else(|faults| panic!("{}", app::fault_lines(&faults)));
        let clock: SharedClock = self.clock.clone();
        let context = channel::Context {
            clock: Arc::clone(&clock),
            public_url: String::new(),
            callback_key: Arc::new([0; 32]),
            base_dir: self.home.path().to_owned(),
            seed: 1,
            builtin_broker: None,
        };
        let accounts = config.channels.into_iter().map(|channel| {
            let common = channel.common.clone();
            ((channel.build)(context.clone()).expect("an account"), common)
        });
        let source = Source {
            name: "met".into(),
            senders: vec!["51072641600000".into()],
            events: vec!["11B*".parse().expect("a pattern")],
            levels: vec![lastmile::alert::Level::Red],
            areas: vec!["510726".parse().expect("a code")],
            approval: Approval::None,
            datum: Datum::Wgs84,
            codes: CodeBook::default(),
        };
        let setup = Setup {
            clock,
            data_dir: self.data(),
            county: "510726".parse().expect("a code"),
            county_name: "北川羌族自治县".into(),
            sources: vec![source],
            policy: config.policy,
            registry: Registry::open(&self.data().join("registry")).expect("a registry").registry,
            accounts: accounts.collect(),
            limits: Limits::default(),
            vocabulary: Vocabulary::default(),
            max_skew: Duration::from_secs(300),
            public_url: "http://127.0.0.1".into(),
            tokens: AnswerTokens::new([7; 32]),
            drill_households: false,
            drill_speakers: false,
            seed: 1,
            keep_open: KEEP_OPEN,
            keep_months,
            journal: Options::default(),
        };
        let (gateway, opened) = Gateway::open(setup).expect("opened");
        gateway.start().await.expect("started");
        (gateway, opened)
    }

    /// An alert of the present moment, an hour long, told to everybody it means; then it is over.
    async fn told(&self, gateway: &Gateway, number: u32, area: &str) -> Arc<Shelf> {
        let mut alert = rainstorm(number, &[area]);
        let now = self.clock.now();
        for (key, at) in [("sent", now), ("effective", now), ("expires", now.plus(Duration::from_secs(3_600)))] {
            alert[key] = at.to_seconds_string().into();
        }
        let actor = Actor::of_source("met", "met");
        let taken = gateway.submit(alert.to_string().as_bytes(), Some("application/json"), &actor).await;
        let id = taken.unwrap_or_else(|error| panic!("{error}: {error:?}")).id;
        let shelf = gateway.ledger().find(id).expect("kept");
        until("it is told", || shelf.read().timeline.planned.is_some() && shelf.read().open == 0).await;
        self.clock.advance(Duration::from_secs(2 * 3_600));
        until("it is over", || shelf.read().is_closed()).await;
        assert!(!shelf.is_filed());
        shelf
    }
}

async fn until(what: &str, met: impl Fn() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !met() {
        assert!(tokio::time::Instant::now() < deadline, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Everything that is shown of an alert, without the moment of the look.
async fn shown(gateway: &Gateway, id: AlertId) -> Value {
    let shelf = gateway.ledger().find(id).expect("known");
    let details = gateway.details(&shelf).await.expect("readable");
    let mut report = serde_json::to_value(gateway.report(&shelf, &details, true)).expect("json");
    report.as_object_mut().expect("an object").remove("as_of");
    report["coverage"].as_object_mut().expect("an object").remove("as_of");
    report["calls"].as_array_mut().expect("calls").iter_mut().for_each(|call| call["left_s"] = Value::Null);
    let filter = lastmile::engine::look::Filter { limit: 10_000, ..Default::default() };
    json!({ "report": report, "deliveries": gateway.deliveries(&details, &filter).0 })
}

fn month(text: &str) -> Month {
    text.parse().expect("a month")
}

fn program(arguments: &[&str], data: &Path, code: i32) -> String {
    let done = Command::new(env!("CARGO_BIN_EXE_lastmile")).args(arguments).arg("--data").arg(data).output().expect("it ran");
    let (out, err) = (String::from_utf8_lossy(&done.stdout).into_owned(), String::from_utf8_lossy(&done.stderr).into_owned());
    assert_eq!(done.status.code(), Some(code), "{arguments:?}\n{out}\n{err}");
    out
}

fn is_sound(data: &Path) {
    let verdict: Value = serde_json::from_str(&program(&["store", "verify", "--json"], data, 0)).expect("json");
    assert_eq!(verdict["sound"], true, "{verdict}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_month_goes_when_all_of_it_is_filed_and_its_alerts_are_shown_as_before() {
    let house = House::build("2026-11-20T10:00:00+08:00");
    let (gateway, _) = house.open(0).await;
    let first = house.told(&gateway, 1, LEIGU).await.id;
    let before = shown(&gateway, first).await;
    assert!(before["deliveries"].as_array().expect("rows").len() > 3, "{before}");
    house.clock.advance(12 * DAY);
    let second = house.told(&gateway, 2, QUSHAN).await.id;
    // December has begun; the first has been over for twelve days of the twenty.
    let refused = gateway.give_back(month("2026-11"), "duty").await.expect_err("not filed");
    assert!(matches!(&refused, GiveBackError::Unfiled { unfiled: 1, first: id, .. } if *id == first), "{refused}");
    house.clock.advance(15 * DAY);
    until("the first is filed", || unfiled(gateway.ledger(), month("2026-11")).is_empty()).await;
    assert_eq!(unfiled(gateway.ledger(), month("2026-12")), [second]);
    gateway.give_back(month("2026-11"), "duty").await.expect("given back");
    let again = gateway.give_back(month("2026-11"), "duty").await;
    assert!(matches!(again, Err(GiveBackError::Refused(DropError::AlreadyDropped { .. }))));
    let data = house.data();
    assert!(!data.join("journal/2026-11").exists() && data.join("trail/2026-11.log").is_file());
    assert_eq!(shown(&gateway, first).await, before);
    gateway.stop(GRACE).await.expect("stopped");
    drop(gateway);

    is_sound(&data);
    let stats: Value = serde_json::from_str(&program(&["store", "stats"], &data, 0)).expect("json");
    assert_eq!((&stats["months"][0]["given_back"], &stats["months"][0]["alerts_filed"]), (&json!(true), &json!(1)), "{stats}");
    assert_eq!((&stats["months"][1]["droppable"], &stats["months"][1]["kept_because"]), (&json!(false), &json!("it is written to")));
    let kept = program(&["store", "drop", "2026-12"], &data, 1);
    assert!(kept.contains("2026-12 is kept: 1 alerts of 2026-12 or before are not filed"), "{kept}");

    let (gateway, opened) = house.open(0).await;
    assert_eq!(opened.alarms, Vec::<String>::new());
    assert_eq!(shown(&gateway, first).await, before);
    gateway.stop(GRACE).await.expect("stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn old_months_go_by_themselves_and_their_alerts_are_known_even_without_any_checkpoint() {
    let house = House::build("2026-11-20T10:00:00+08:00");
    let (gateway, _) = house.open(1).await;
    let first = house.told(&gateway, 1, LEIGU).await.id;
    let before = shown(&gateway, first).await;
    house.clock.advance(25 * DAY);
    let second = house.told(&gateway, 2, QUSHAN).await.id;
    let data = house.data();
    assert!(data.join("journal/2026-12").is_dir());
    // The present month is February: November and December are older than the one that is kept beside it.
    house.clock.advance(60 * DAY);
    let third = house.told(&gateway, 3, LEIGU).await.id;
    house.clock.advance(2 * DAY);
    until("november is given back", || !data.join("journal/2026-11").exists()).await;
    house.clock.advance(2 * DAY);
    until("december is given back", || !data.join("journal/2026-12").exists()).await;
    let all = [shown(&gateway, first).await, shown(&gateway, second).await, shown(&gateway, third).await];
    assert_eq!(all[0], before);
    gateway.stop(GRACE).await.expect("stopped");
    drop(gateway);
    is_sound(&data);

    fs::remove_dir_all(data.join("checkpoint")).expect("removed");
    let (gateway, opened) = house.open(1).await;
    assert!(
        opened.alarms.len() == 1 && opened.alarms[0].contains("2 alerts were taken from what is filed, 0 could not be"),
        "{:?}",
        opened.alarms
    );
    for (id, before) in [first, second, third].into_iter().zip(&all) {
        assert_eq!(&shown(&gateway, id).await, before);
    }
    gateway.stop(GRACE).await.expect("stopped");
    drop(gateway);
    is_sound(&data);
    let told: Timestamp = house.clock.now();
    assert_eq!(Month::of(told), month("2027-02"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_gateway_gives_back_for_admins_and_says_why_it_keeps_a_month() {
    let site = Site::start().await;
    let (met, duty, admin) = (site.bureau(), site.role(Role::Duty), site.role(Role::Admin));
    let id = site.accepted(&rainstorm(1, &[LEIGU]), &met).await;
    let present = Month::of(SystemClock.now());
    let path = format!("/v1/journal/{present}/drop");
    assert_eq!(site.status(Method::POST, &path, &duty).await, StatusCode::FORBIDDEN);
    assert_eq!(site.status(Method::POST, "/v1/journal/2020-13/drop", &admin).await, StatusCode::BAD_REQUEST);
    assert_eq!(site.status(Method::POST, "/v1/journal/2020-01/drop", &admin).await, StatusCode::NOT_FOUND);
    let kept = problem(site.call(Method::POST, &path, &admin).send().await.expect("an answer")).await;
    assert_eq!(kept["type"], "/problems/month-kept");
    assert!(kept["detail"].as_str().is_some_and(|detail| detail.contains(&id)), "{kept}");
    site.stop().await;
}
