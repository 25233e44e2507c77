//! Owns `lastmile demo` (contract §8): the whole main job on embedded parts, through the same program, files and addresses that a county uses.
//! Refuses to fake anything inside: only the far ends are rehearsed (sandbox accounts, simulated speakers).
//! Invariant: it exits 0 only if every invariant held and both success and failure were seen.

use std::{fs, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{
    output::{self, Failure},
    report,
};
use crate::{
    access::{self, NewKey, Role},
    alert::AlertId,
    app::{self, App},
    area::AreaCode,
    channel::speaker::{
        Voice,
        device::FleetStats,
        fleet::{self, FleetConfig},
        line::Far,
    },
    config::Layers,
    delivery::{book::State, coverage::Coverage, ledger::Shelf, plan::RecipientKind},
    registry::{Mode, Registry, fixture},
    telemetry,
    time::{Clock as _, SystemClock},
};

const RAINSTORM: &str = include_str!("../../fixtures/alerts/rainstorm-red.json");
const LANDSLIDE: &str = include_str!("../../fixtures/alerts/landslide-orange.json");
/// A demo that takes longer than this has hung.
const PATIENCE: Duration = Duration::from_secs(90);
const LOOK_EVERY: Duration = Duration::from_millis(100);

#[derive(Args)]
pub(super) struct Demo {
    /// End when the job is done, instead of leaving the web page up.
    #[arg(long)]
    exit: bool,
    /// Print the final coverage document alone.
    #[arg(long)]
    json: bool,
    #[arg(long, default_value_t = 60_000)]
    households: u32,
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Another seed makes another county, other faults and other answers.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl Demo {
    pub(super) fn run(self) -> Result<(), Failure> {
        telemetry::start_logging("text", if self.json { "error" } else { "warn" });
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(self.play())
    }

    async fn play(self) -> Result<(), Failure> {
        let home = tempfile::tempdir()?;
        self.tell(&format!("a county of {} made-up households in {}", self.households, home.path().display()))?;
        let speakers = self.make_county(home.path())?;
        let app = App::start(self.configuration(home.path())?, self.seed).await?;
        let stop_fleet = CancellationToken::new();
        let fleet = self.start_fleet(&app, home.path(), speakers, stop_fleet.clone())?;
        let stage = Stage::new(&app, self.json)?;
        let played = self.acts(&stage).await;
        let done = match played {
            Ok(rainstorm) => self.curtain(&stage, &rainstorm, home.path()).await,
            Err(failure) => Err(failure),
        };
        stop_fleet.cancel();
        app.stop().await?;
        fleet.await?;
        done
    }

    fn tell(&self, line: &str) -> Result<(), Failure> {
        if self.json { Ok(()) } else { output::line(line) }
    }

    fn make_county(&self, home: &Path) -> Result<Vec<(String, AreaCode)>, Failure> {
        let store = Registry::open(&home.join("data/registry"))?.registry;
        let report = store.import_records(&fixture::beichuan(self.households, self.seed), Mode::Upsert)?;
        let snapshot = report.snapshot;
        let all = (0..snapshot.speaker_count()).map(|position| snapshot.speaker_at(position));
        Ok(all.map(|speaker| (speaker.id().to_owned(), speaker.area())).collect())
    }

    /// Written and read as files, so that the demo walks the way of every configuration.
    fn configuration(&self, home: &Path) -> Result<app::Configuration, Failure> {
        let data = home.join("data");
        let text = CONFIGURATION
            .replace("{listen}", &self.listen.to_string())
            .replace("{data}", &data.display().to_string())
            .replace("{seed}", &self.seed.to_string());
        fs::write(home.join("lastmile.toml"), text)?;
        fs::write(home.join("policy.toml"), POLICY)?;
        let layers = Layers::read(Some(&home.join("lastmile.toml")), std::iter::empty());
        let config = layers.and_then(|layers| app::check(&layers));
        config.map_err(|faults| Failure::usage(app::fault_lines(&faults)))
    }

    fn start_fleet(
        &self,
        app: &App,
        home: &Path,
        speakers: Vec<(String, AreaCode)>,
        stop: CancellationToken,
    ) -> Result<tokio::task::JoinHandle<FleetStats>, Failure> {
        let broker = app.broker.ok_or_else(|| anyhow::anyhow!("the built-in broker does not run"))?;
        let devices = access::Devices::open(&home.join("data"), Arc::new(SystemClock))?;
        let credentials = devices.make(speakers.iter().map(|(id, _)| id.as_str()), access::For::New)?;
        let config = FleetConfig {
            credentials: Arc::new(credentials.into_iter().collect()),
            // A demo in seconds: the text is said a hundred times faster than by a village's loudspeaker.
            voice: Voice { ms_per_char: 2, ..Voice::default() },
            offline: 0.05,
            mute: 0.03,
            broken: 0.02,
            ack_delay_ms: 5..=300,
            seed: self.seed,
            ..FleetConfig::at(Far::at(broker), Arc::new(SystemClock))
        };
        Ok(tokio::spawn(async move { fleet::run(config, speakers, stop).await }))
    }

    async fn acts(&self, stage: &Stage<'_>) -> Result<Arc<Shelf>, Failure> {
        stage.wait_for("loudspeakers to connect", |stage| stage.speakers_online() * 10 >= stage.speakers() * 9).await?;
        let rainstorm = stage.post(RAINSTORM, "met").await?;
        self.tell(&format!("red rainstorm warning posted: {}", rainstorm.id))?;
        stage.watch(&rainstorm, "red rainstorm").await?;
        let landslide = stage.post(LANDSLIDE, "land").await?;
        self.tell(&format!("orange landslide warning posted: {}", landslide.id))?;
        stage.watch(&landslide, "orange landslide").await?;
        let cancel = stage.cancel(&rainstorm).await?;
        self.tell("the rain is over: everyone who was told hears the all-clear")?;
        stage.watch(&cancel, "all-clear").await?;
        Ok(rainstorm)
    }

    async fn curtain(&self, stage: &Stage<'_>, rainstorm: &Arc<Shelf>, home: &Path) -> Result<(), Failure> {
        let gateway = &stage.app.gateway;
        let whole = serde_json::to_value(gateway.report(rainstorm, &gateway.details(rainstorm).await?, false))?;
        let broken = stage.violations(rainstorm, &gateway.coverage(&gateway.details(rainstorm).await?, None, None));
        if self.json {
            output::json(&whole["coverage"])?;
        } else {
            output::raw(&report::as_text(&whole))?;
        }
        for violation in &broken {
            tracing::error!(violation, "an invariant was broken");
        }
        if !broken.is_empty() {
            return Err(Failure::No);
        }
        if !self.exit {
            let password = "heavy rain tonight";
            stage.app.access.add_user("demo", Role::Duty, Vec::new(), &SecretString::from(password.to_owned()))?;
            self.tell(&format!(
                "the web page is at http://{} (name demo, password {password}); data in {}; Ctrl-C ends",
                stage.app.address,
                home.display()
            ))?;
            tokio::signal::ctrl_c().await?;
        }
        Ok(())
    }
}

/// The running gateway, as a bureau and a duty officer reach it.
struct Stage<'a> {
    app: &'a App,
    client: reqwest::Client,
    quiet: bool,
    met: SecretString,
    land: SecretString,
    duty: SecretString,
}

impl<'a> Stage<'a> {
    fn new(app: &'a App, quiet: bool) -> Result<Self, Failure> {
        let key = |name: &str, role, source: Option<&str>| {
            app.access.new_key(NewKey {
                name: name.to_owned(),
                role,
                source: source.map(str::to_owned),
                areas: Vec::new(),
                good_for: None,
                owner: None,
            })
        };
        Ok(Self {
            app,
            client: reqwest::Client::builder().timeout(PATIENCE).build()?,
            quiet,
            met: key("met", Role::Bureau, Some("met"))?,
            land: key("land", Role::Bureau, Some("land"))?,
            duty: key("duty", Role::Duty, None)?,
        })
    }

    fn speakers(&self) -> usize {
        self.app.gateway.speakers(self.app.gateway.county()).len()
    }

    fn speakers_online(&self) -> usize {
        self.app.gateway.speakers(self.app.gateway.county()).iter().filter(|speaker| speaker.online == Some(true)).count()
    }

    async fn call(&self, path: &str, key: &SecretString, body: String) -> Result<Value, Failure> {
        let url = format!("http://{}{path}", self.app.address);
        let request = self.client.post(url).bearer_auth(key.expose_secret()).header("content-type", "application/json").body(body);
        let answer = request.send().await?;
        let (status, text) = (answer.status(), answer.text().await?);
        if !status.is_success() {
            return Err(anyhow::anyhow!("{path} answered {status}: {text}").into());
        }
        Ok(serde_json::from_str(&text)?)
    }

    fn shelf(&self, id: &Value) -> Result<Arc<Shelf>, Failure> {
        let id: AlertId = id.as_str().unwrap_or_default().parse()?;
        Ok(self.app.gateway.ledger().find(id).ok_or_else(|| anyhow::anyhow!("alert {id} is not in the ledger"))?)
    }

    /// Posts a fixture with its times moved to now.
    async fn post(&self, fixture: &str, source: &str) -> Result<Arc<Shelf>, Failure> {
        let mut alert: Value = serde_json::from_str(fixture)?;
        let now = SystemClock.now().whole_seconds();
        alert["sent"] = json!(now);
        alert["effective"] = json!(now);
        alert["expires"] = json!(now.plus(Duration::from_secs(6 * 3_600)));
        alert["identifier"] = json!(format!("{}_{}", alert["sender"].as_str().unwrap_or_default(), now.format("%Y%m%d%H%M%S")));
        let key = if source == "met" { &self.met } else { &self.land };
        let accepted = self.call("/v1/alerts", key, alert.to_string()).await?;
        self.shelf(&accepted["id"])
    }

    async fn cancel(&self, shelf: &Shelf) -> Result<Arc<Shelf>, Failure> {
        let body = json!({ "reason": "降雨已明显减弱" }).to_string();
        let cancelled = self.call(&format!("/v1/alerts/{}/cancel", shelf.id), &self.duty, body).await?;
        self.shelf(&cancelled["cancel"]["id"])
    }

    async fn wait_for(&self, what: &str, is_so: impl Fn(&Self) -> bool) -> Result<(), Failure> {
        let waiting = async {
            while !is_so(self) {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        Ok(tokio::time::timeout(PATIENCE, waiting).await.map_err(|_| anyhow::anyhow!("gave up waiting for {what}"))?)
    }

    /// Shows the progress of an alert until it is dealt with.
    async fn watch(&self, shelf: &Arc<Shelf>, name: &'static str) -> Result<(), Failure> {
        let target = if self.quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let style = ProgressStyle::with_template("{prefix:18} {bar:40} {pos}/{len} {msg}")?;
        let bar = ProgressBar::with_draw_target(Some(1), target).with_style(style).with_prefix(name);
        let shown = Arc::clone(shelf);
        let painted = bar.clone();
        let done = self
            .wait_for(name, move |stage| {
                let view = stage.app.gateway.view(&shown, false);
                painted.set_length(u64::from(view.people.targeted));
                painted.set_position(u64::from(view.people.reached));
                painted.set_message(format!("answered {}, failed {}", view.people.acknowledged, view.people.failed));
                view.state == State::Completed.name()
            })
            .await;
        bar.finish();
        done
    }

    /// Everything that should not be, over all alerts of the demo.
    fn violations(&self, rainstorm: &Shelf, coverage: &Coverage) -> Vec<String> {
        let mut found = Vec::new();
        let shelves = self.app.gateway.ledger().newest_first();
        for shelf in &shelves {
            let book = shelf.read();
            found.extend(book.violations().into_iter().map(|what| format!("{}: {what}", shelf.alert.headline)));
            // Expiry is hours away: whatever is still open by now was forgotten.
            if book.open > 0 {
                found.push(format!("{}: {} deliveries are still open", shelf.alert.headline, book.open));
            }
            if book.calls.iter().any(|call| call.is_open()) && book.state == State::Completed {
                found.push(format!("{}: a call is open though all is done", shelf.alert.headline));
            }
            if book.repeated > 0 {
                found.push(format!("{}: {} deliveries were repeated without a crash", shelf.alert.headline, book.repeated));
            }
        }
        found.extend(self.untold_of_the_end(rainstorm, &shelves));
        let seen = [
            (coverage.children.len() == 19, "the county has 19 townships"),
            (
                coverage.people.reached > 0 && coverage.people.failed > 0 && coverage.people.unreachable > 0,
                "some were reached, some failed, some have no address",
            ),
            (coverage.people.acknowledged > 0 && coverage.calls.answered > 0, "some answered"),
            (coverage.calls.escalated > 0, "some did not answer and others were asked"),
            (coverage.speakers.received > 0 && coverage.speakers.received < coverage.speakers.targeted, "some loudspeakers received it"),
        ];
        found.extend(seen.into_iter().filter(|(is_so, _)| !is_so).map(|(_, what)| format!("not seen: {what}")));
        found
    }

    /// I10: everyone who was told of the rainstorm is in the plan of its all-clear.
    fn untold_of_the_end(&self, rainstorm: &Shelf, shelves: &[Arc<Shelf>]) -> Vec<String> {
        let Some(end) = shelves.iter().find(|shelf| shelf.read().accepted.targets.contains(&rainstorm.no)) else {
            return vec!["the rainstorm has no all-clear".to_owned()];
        };
        let (book, end) = (rainstorm.read(), end.read());
        let heard: std::collections::HashSet<(RecipientKind, u32)> =
            (0_u32..).zip(&end.recipients).map(|(number, recipient)| (end.place_of(number).kind, recipient.key)).collect();
        let mut told: Vec<bool> = vec![false; book.recipients.len()];
        book.slots.iter().filter(|slot| crate::delivery::book::Book::left_us(slot)).for_each(|slot| told[slot.recipient as usize] = true);
        let missing = (0_u32..)
            .zip(&told)
            .filter(|(number, told)| **told && !heard.contains(&(book.place_of(*number).kind, book.recipients[*number as usize].key)));
        let missing = missing.count();
        if missing == 0 { Vec::new() } else { vec![format!("{missing} who were told do not hear the all-clear")] }
    }
}

const CONFIGURATION: &str = r#"
[server]
listen = "{listen}"
public_url = "http://127.0.0.1:8080"
data_dir = "{data}"

[[source]]
name = "met"
senders = ["51072641600000"]
events = ["11B*", "11A*"]
areas = ["510726"]

[[source]]
name = "land"
senders = ["51072633200000"]
events = ["11D*", "11B37"]
areas = ["510726"]

[policy]
file = "policy.toml"

[builtin_broker]
listen = "127.0.0.1:0"

[channel.speakers]
kind = "speaker"
provider = "mqtt"
broker = "builtin"
ack_within = "2s"
retry = ["1s", "2s"]

[channel.telephones]
kind = "sms"
provider = "sandbox"
concurrency = 64
seed = {seed}
deliver = 0.95
fail = 0.03
latency = "5ms"
receipt_after = "400ms"
answer = 0.75
answer_after = "1500ms"
report_within = "4s"
retry = ["300ms", "600ms", "1s"]

[channel.letters]
kind = "email"
provider = "sandbox"
concurrency = 16
seed = {seed}
receipt_after = "600ms"
report_within = "4s"
retry = ["300ms", "600ms", "1s"]

[channel.groups]
kind = "wechat"
provider = "sandbox"
seed = {seed}
retry = ["300ms", "600ms", "1s"]
"#;

/// The county's rules with a clock that a watcher can wait for.
const POLICY: &str = r#"
[[rule]]
events = ["*"]
levels = ["red", "orange"]
roles = ["*"]
channels = ["speaker", "sms", "wechat", "email"]
answer = { roles = ["town_duty", "village_leader", "monitor"], within = "4s", then = ["backup", "town_duty", "county_duty"] }
retry_until = "30s"
repeat_speaker = 2

[[rule]]
events = ["*"]
channels = ["sms", "wechat"]
retry_until = "30s"
"#;
