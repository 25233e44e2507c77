//! The built program killed again and again at moments chosen by a seed, against a far end with moods, on one store:
//! after every round what was promised is there, nothing is counted wrongly, and nothing comes twice without a reason.

mod judge;

use std::{
    cell::RefCell,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use lastmile::time::{Clock as _, SystemClock};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::Instant;

use crate::{
    DEADLINE, STOP,
    corrupted::MENDED,
    fickle::{Fickle, TIMEOUT},
    forgetful::Forgetful,
    number,
    program::{
        self, Gateway, new_key,
        process::{free_port, until},
        run, site,
    },
    seed,
};
use judge::{Doubled, Told};

/// As many as two busy cores do in half a minute.
const ROUNDS: usize = 8;
const HOUSEHOLDS: usize = 400;
const TOKEN: &str = "callback-of-the-rounds";

/// Where in its work the program is killed.
#[derive(Clone, Copy, Debug)]
enum Point {
    RightAfterTheAnswer,
    /// So many milliseconds after the answer.
    Planning(u64),
    /// When so many messages more were taken.
    Sending(usize),
    /// When so many reports more were answered 200.
    Reports(u64),
    /// So many milliseconds after a start, mostly before it is ready.
    Starting(u64),
}

/// What goes away with the process.
pub(crate) enum Loss {
    /// Nothing else: what it has written is there.
    Nothing,
    /// The power: what was not synced is gone, or with `torn` half of it.
    Power {
        disk: Forgetful,
        torn: bool,
        /// Bytes that were not safe when it was cut.
        took: usize,
    },
}

/// A county whose gateway is killed again and again.
pub(crate) struct Run {
    rng: StdRng,
    far: Fickle,
    gateway: Gateway,
    bureau: String,
    duty: String,
    config: PathBuf,
    data: PathBuf,
    loss: Loss,
    households: usize,
    told: Vec<Told>,
    kills: Vec<i64>,
    slowest_start: Duration,
    number: usize,
    doubled: Doubled,
    _home: TempDir,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_kills_lose_nothing_that_was_promised() {
    let (seed, rounds) = (seed(), rounds("LASTMILE_CRASH_ROUNDS", ROUNDS));
    eprintln!("seed {seed}: set LASTMILE_CRASH_SEED to it to run the same again");
    let mut run = Run::start(seed, HOUSEHOLDS, Loss::Nothing).await;
    for round in 0..rounds {
        run.round_and_judge().await;
        if round % 20 == 19 {
            run.tell();
        }
    }
    run.end().await;
}

pub(crate) fn rounds(name: &str, otherwise: usize) -> usize {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// What was seen last of an alert, shown when it is not what is waited for.
#[derive(Default)]
struct LastView(RefCell<Option<Value>>);

impl Drop for LastView {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the last view: {:#?}", self.0.borrow());
        }
    }
}

impl Loss {
    fn strike(&mut self, rng: &mut StdRng) {
        if let Self::Power { disk, torn, took } = self {
            *took += disk.counts().0;
            disk.cut(torn.then(|| rng.random()));
        }
    }
}

impl Run {
    pub(crate) async fn start(seed: u64, households: usize, mut loss: Loss) -> Self {
        let (home, port, far) = (TempDir::new().unwrap(), free_port(), Fickle::start(seed).await);
        let data = match &loss {
            Loss::Nothing => home.path().join("data"),
            Loss::Power { disk, .. } => disk.data(),
        };
        let config = configure(home.path(), &data, port, &far.url(0));
        let text = data.to_str().unwrap();
        run(&["registry", "generate", "--households", &households.to_string(), "--seed", "7", "--data", text], 0);
        let (bureau, duty) = (new_key(&config, "met", "bureau", Some("met")), new_key(&config, "duty", "duty", None));
        let mut rng = StdRng::seed_from_u64(seed);
        // What these commands have ended with is promised too.
        loss.strike(&mut rng);
        let gateway = Gateway::start(&config, port).await;
        let (told, kills, slowest_start, doubled) = (Vec::new(), Vec::new(), Duration::ZERO, Doubled::default());
        Self {
            rng,
            far,
            gateway,
            bureau,
            duty,
            config,
            data,
            loss,
            households,
            told,
            kills,
            slowest_start,
            number: 0,
            doubled,
            _home: home,
        }
    }

    pub(crate) async fn round_and_judge(&mut self) {
        let from = self.told.len();
        self.round().await;
        self.settle(from).await;
        self.doubled += self.judge(from).await;
    }

    pub(crate) fn tell(&self) {
        let (kills, messages, reports) = (self.kills.len(), self.far.messages(), self.far.reports());
        let Doubled { all, by_kill } = self.doubled;
        eprintln!(
            "{kills} kills, {} alerts, {messages} messages, {reports} reports: 0 lost, {all} doubled ({by_kill} by kills), slowest start {:?}",
            self.told.len(),
            self.slowest_start,
        );
        if let Loss::Power { took, .. } = &self.loss {
            eprintln!("the cuts found {took} bytes that were not safe");
        }
    }

    /// What later kills may have done to earlier alerts, and whether all that was kept is sound.
    pub(crate) async fn end(mut self) {
        self.judge(0).await;
        self.tell();
        self.stop_and_verify().await;
    }

    async fn stop_and_verify(&mut self) {
        assert_eq!(self.gateway.stop(STOP).await, Some(0), "SIGTERM drains and exits 0");
        program::verify(&self.data);
    }

    /// As `end`, and on with the same store.
    pub(crate) async fn verify_and_go_on(&mut self) {
        self.stop_and_verify().await;
        self.life_ended();
        self.gateway.start_again().await;
    }

    async fn round(&mut self) {
        let (messages, reports) = (self.far.messages(), self.far.reports());
        self.post(None).await;
        if self.rng.random_bool(0.3) {
            self.post(None).await;
        }
        for _ in 0..self.rng.random_range(1..=2) {
            let point = self.point(messages, reports);
            self.come_to(point).await;
            self.kill_and_start(point).await;
        }
        match self.rng.random_range(0..6) {
            0 => self.post(Some("Cancel")).await,
            1 => self.post(Some("Update")).await,
            _ => return,
        }
        if self.rng.random_bool(0.7) {
            let point = self.point(self.far.messages(), self.far.reports());
            self.come_to(point).await;
            self.kill_and_start(point).await;
        }
    }

    fn point(&mut self, messages: usize, reports: u64) -> Point {
        match self.rng.random_range(0..8) {
            0 => Point::RightAfterTheAnswer,
            1 => Point::Planning(self.rng.random_range(1..40)),
            2..5 => Point::Sending(messages + self.rng.random_range(1..self.households)),
            5..7 => Point::Reports(reports + self.rng.random_range(1..self.households as u64 / 2)),
            _ => Point::Starting(self.rng.random_range(1..900)),
        }
    }

    /// Waits for the moment; one that does not come because all is done is as good as any other.
    async fn come_to(&self, point: Point) {
        let patience = Duration::from_secs(3);
        let coming = async {
            match point {
                Point::RightAfterTheAnswer | Point::Starting(_) => {}
                Point::Planning(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
                Point::Sending(messages) => {
                    while self.far.messages() < messages {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                }
                Point::Reports(reports) => {
                    while self.far.reports() < reports {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                }
            }
        };
        // Either the moment or the end of patience.
        drop(tokio::time::timeout(patience, coming).await);
    }

    async fn kill_and_start(&mut self, point: Point) {
        self.kill().await;
        if let Point::Starting(ms) = point {
            self.gateway.begin_again();
            tokio::time::sleep(Duration::from_millis(ms)).await;
            self.kill().await;
        }
        let begun = Instant::now();
        self.gateway.start_again().await;
        self.slowest_start = self.slowest_start.max(begun.elapsed());
        let mended: Vec<_> = self.gateway.lines().into_iter().filter(|line| line.contains(MENDED)).collect();
        assert!(mended.is_empty(), "a kill is no damage, but the store was mended: {mended:#?}");
    }

    async fn kill(&mut self) {
        self.gateway.kill().await;
        self.loss.strike(&mut self.rng);
        self.life_ended();
    }

    fn life_ended(&mut self) {
        let (before, after) = (self.far.url(self.kills.len()), self.far.url(self.kills.len() + 1));
        self.kills.push(SystemClock.now().as_ms());
        let text = fs::read_to_string(&self.config).unwrap();
        fs::write(&self.config, text.replace(&format!("{before}\""), &format!("{after}\""))).unwrap();
    }

    /// Posts an alert, or what ends or changes the last one.
    async fn post(&mut self, change: Option<&str>) {
        self.number += 1;
        let mut alert = site::alert(self.number, site::COUNTY);
        if let Some(kind) = change {
            let last = &self.told.last().unwrap().document;
            alert["references"] = json!([{ "sender": last["sender"], "identifier": last["identifier"], "sent": last["sent"] }]);
            alert["msgType"] = kind.into();
        }
        let (status, said) = self.gateway.post(&self.bureau, "/v1/alerts", "application/json", alert.to_string()).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{said:#}");
        if change.is_some() {
            self.told.last_mut().unwrap().ended_ms = Some(SystemClock.now().as_ms());
        }
        let id = said["id"].as_str().unwrap().to_owned();
        self.told.push(Told { id, document: alert, ended_ms: None });
    }

    /// Until nothing is owed any more, and the far end has no report left to bring.
    async fn settle(&self, from: usize) {
        for told in &self.told[from..] {
            let (path, last) = (format!("/v1/alerts/{}", told.id), LastView::default());
            until("all deliveries are settled", DEADLINE, async || {
                let view = self.gateway.try_get(&self.duty, &path).await;
                last.0.replace(view.clone());
                let Some(view) = view else { return false };
                let progress = &view["progress"];
                // An alert that ended first is never planned; a Cancel's plan may owe nobody anything.
                let is_planned = view["timeline"]["planned"].is_string() || told.ended_ms.is_some();
                is_planned && number(progress, "queued") == 0 && number(progress, "in_flight") == 0
            })
            .await;
        }
        until("all reports are brought", DEADLINE, async || self.far.is_done()).await;
    }
}

pub(crate) fn configure(dir: &Path, data: &Path, port: u16, far: &str) -> PathBuf {
    let more = format!(
        r#"timeout = "{timeout}ms"
callback_token = "{TOKEN}"
receipt = {{ id = "/id", status = "/status", delivered = ["DELIVRD"], failed = {{ UNDELIV = "reject" }} }}
"#,
        timeout = TIMEOUT.as_millis(),
    );
    let file = crate::configure(dir, data, port, far, &more);
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace(r#""text": "#, r#""notify": {{ callback_url|tojson }}, "text": "#)).unwrap();
    file
}
