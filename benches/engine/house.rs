//! Owns what every scene needs: a county on disk, a gateway over it, alerts for it, and readings of memory and disk.

use std::{fs, path::Path, process::Command, sync::Arc, time::Duration};

use lastmile::{
    access::{NewKey, Role},
    alert::AlertId,
    app::{self, App},
    config::Layers,
    delivery::ledger::Shelf,
    engine::intake::Actor,
    registry::{Mode, Registry, fixture},
    time::{Clock as _, SystemClock},
};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::Instant;

const FIXTURE: &str = include_str!("../../fixtures/alerts/rainstorm-red.json");
const PATIENCE: Duration = Duration::from_secs(300);
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// A gateway over a made-up county, in a folder that goes with it.
pub(crate) struct House {
    home: TempDir,
    config: String,
    policy: String,
}

impl House {
    /// The county is made by another process, so that this one's memory is the gateway's alone.
    pub(crate) fn new(households: u32, speakers: u32, channels: &str, policy: &str) -> anyhow::Result<Self> {
        let home = tempfile::tempdir()?;
        let [households, speakers] = [households.to_string(), speakers.to_string()];
        let made = Command::new(std::env::current_exe()?)
            .arg("--write-county")
            .arg(home.path())
            .args(["--households", &households, "--speakers", &speakers])
            .status()?;
        anyhow::ensure!(made.success(), "the county could not be made");
        let config = format!(
            r#"
[server]
listen = "127.0.0.1:0"
data_dir = "{}"
shutdown_grace = "5s"
[[source]]
name = "met"
senders = ["51072641600000"]
areas = ["510726"]
[policy]
file = "policy.toml"
{channels}"#,
            home.path().join("data").display()
        );
        fs::write(home.path().join("bench.token"), TOKEN)?;
        Ok(Self { home, config, policy: format!("[[rule]]\nevents = [\"*\"]\n{policy}\n") })
    }

    pub(crate) async fn open(&self) -> anyhow::Result<App> {
        let file = self.home.path().join("lastmile.toml");
        fs::write(&file, &self.config)?;
        fs::write(self.home.path().join("policy.toml"), &self.policy)?;
        let layers = Layers::read(Some(&file), std::iter::empty());
        let config = layers.and_then(|layers| app::check(&layers)).map_err(|faults| anyhow::anyhow!(app::fault_lines(&faults)))?;
        App::start(config, 1).await
    }

    /// What the journal takes on disk.
    pub(crate) fn journal_bytes(&self) -> anyhow::Result<u64> {
        bytes_below(&self.home.path().join("data/journal"))
    }

    pub(crate) fn data(&self) -> std::path::PathBuf {
        self.home.path().join("data")
    }
}

/// What far ends of the benches say who they are with.
pub(crate) const TOKEN: &str = "0123456789abcdef0123456789abcdef";

fn bytes_below(dir: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        bytes += if meta.is_dir() { bytes_below(&entry.path())? } else { meta.len() };
    }
    Ok(bytes)
}

pub(crate) fn write_county(home: &Path, households: u32, speakers: u32) -> anyhow::Result<()> {
    let registry = Registry::open(&home.join("data/registry"))?.registry;
    let mut import = fixture::beichuan(households, 1);
    let given = import.speakers.len();
    let more = (speakers as usize).saturating_sub(given);
    for nth in 0..more {
        let mut another = import.speakers[nth % given].clone();
        another.record.id = format!("{}-more{nth}", another.record.id).into();
        import.speakers.push(another);
    }
    registry.import_records(&import, Mode::Upsert)?;
    Ok(())
}

/// An alert for the county, as JSON.
pub(crate) fn alert(number: u32, level: &str, area: &str) -> anyhow::Result<Value> {
    let mut alert: Value = serde_json::from_str(FIXTURE)?;
    let now = SystemClock.now().whole_seconds();
    alert["identifier"] = json!(format!("51072641600000_bench_{number}"));
    alert["level"] = json!(level);
    alert["sent"] = json!(now);
    alert["effective"] = json!(now);
    alert["expires"] = json!(now.plus(Duration::from_secs(3_600)));
    if !area.is_empty() {
        alert["areas"] = json!([{ "name": "", "codes": [area] }]);
    }
    Ok(alert)
}

pub(crate) async fn submit(app: &App, alert: &Value) -> anyhow::Result<AlertId> {
    let by = Actor::of_source("met", "met");
    Ok(app.gateway.submit(alert.to_string().as_bytes(), None, &by).await?.id)
}

pub(crate) fn shelf(app: &App, id: AlertId) -> anyhow::Result<Arc<Shelf>> {
    app.gateway.ledger().find(id).ok_or_else(|| anyhow::anyhow!("no alert {id}"))
}

pub(crate) async fn planned(shelf: &Shelf) -> anyhow::Result<()> {
    until("the plan", || shelf.read().timeline.planned.is_some()).await
}

pub(crate) fn bureau_key(app: &App) -> anyhow::Result<String> {
    new_key(app, "met", Role::Bureau, Some("met"))
}

pub(crate) fn viewer_key(app: &App) -> anyhow::Result<String> {
    new_key(app, "office", Role::Viewer, None)
}

fn new_key(app: &App, name: &str, role: Role, source: Option<&str>) -> anyhow::Result<String> {
    let new = NewKey { name: name.into(), role, source: source.map(str::to_owned), areas: Vec::new(), good_for: None, owner: None };
    Ok(app.access.new_key(new)?.expose_secret().to_owned())
}

pub(crate) async fn until(what: &str, is_so: impl Fn() -> bool) -> anyhow::Result<()> {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.map_err(|_| anyhow::anyhow!("gave up waiting for {what}"))
}

pub(crate) fn ms(took: Duration) -> f64 {
    took.as_secs_f64() * 1_000.0
}

/// The middle, the hundredth from the top, and the top.
pub(crate) fn percentiles(mut times: Vec<Duration>) -> anyhow::Result<(Duration, Duration, Duration)> {
    times.sort_unstable();
    let at = |part: usize| times.get(times.len() * part / 100).or(times.last()).copied();
    at(50)
        .zip(at(99))
        .zip(times.last().copied())
        .map(|((p50, p99), most)| (p50, p99, most))
        .ok_or_else(|| anyhow::anyhow!("nothing was timed"))
}

/// Processor time of this process so far, all threads: unlike the clock it hardly tells what else the machine is doing.
pub(crate) fn processor_time() -> anyhow::Result<Duration> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The name in brackets may hold anything; user and system time are the 12th and 13th field behind it (proc(5)).
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |place: usize| fields.get(place).and_then(|text| text.parse::<u64>().ok());
    let spent = ticks(11).zip(ticks(12)).map(|(user, system)| user + system);
    // Linux counts them in hundredths of a second for programs, whatever the kernel's own tick.
    spent.map(|ticks| Duration::from_millis(ticks * 10)).ok_or_else(|| anyhow::anyhow!("the system does not tell the processor time"))
}

/// Microseconds of processor for one of `count` things.
pub(crate) fn us_each(spent: Duration, count: usize) -> f64 {
    spent.as_secs_f64() * 1e6 / count.max(1) as f64
}

/// Resident now, once the allocator has had a moment to give back what is free.
pub(crate) async fn resident_bytes() -> anyhow::Result<u64> {
    let begun = Instant::now();
    let mut least = status_bytes("VmRSS:")?;
    while begun.elapsed() < Duration::from_millis(500) {
        tokio::time::sleep(Duration::from_millis(20)).await;
        least = least.min(status_bytes("VmRSS:")?);
    }
    Ok(least)
}

pub(crate) fn peak_bytes() -> anyhow::Result<u64> {
    status_bytes("VmHWM:")
}

fn status_bytes(key: &str) -> anyhow::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with(key));
    let kb: Option<u64> = line.and_then(|line| line.split_whitespace().nth(1)).and_then(|text| text.parse().ok());
    kb.map(|kb| kb * 1_024).ok_or_else(|| anyhow::anyhow!("the system does not tell {key}"))
}
