//! Owns the wiring: a checked configuration becomes running tasks, in phases, and ends in the reverse order.
//! Refuses to decide anything of the trade. Invariant: nothing is sent before the store is open, and the store is closed last.

use std::{
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context as _;
use rand::RngExt as _;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

mod broker;
mod certificates;

use certificates::{CertificateWatch, LOOK_EVERY};

use crate::{
    access::{Access, Proof, Proofs, Sessions, Signing},
    alert::{Limits, Vocabulary},
    area::AreaCode,
    channel::{self, Channel, Common, Kind, Prepared, drivers, speaker},
    config::{Checked, Completeness, ConfigFault, Judges, Layers, SignatureSettings, SourceSettings},
    delivery::event::Audited,
    engine::{Approval, Gateway, Setup, Source},
    fault::Fault,
    http::{self, Settings, Tls, TlsFiles},
    inlet,
    message::token::AnswerTokens,
    policy::Policy,
    registry::{Damaged, Registry, Snapshot},
    relay, seal,
    store::{self, Options, documents::Documents, home},
    telemetry,
    time::{GuardedClock, SharedClock, SystemClock, set_output_offset},
};

/// Where `serve` looks for its configuration.
pub const DEFAULT_CONFIG: &str = "config/lastmile.toml";
/// Keys of this installation: of answer links and of callback addresses.
const INSTALLATION: &str = "installation.bin";

/// Hands each table to the room that it belongs to.
pub struct Rooms;

impl Judges for Rooms {
    type Channel = Prepared;
    type Inlet = inlet::Prepared;
    type Relay = relay::Prepared;

    fn channel(&self, name: &str, table: &toml::Table) -> Result<Prepared, Vec<Fault>> {
        check_channel(name, table)
    }

    fn inlet(&self, name: &str, table: &toml::Table) -> Result<inlet::Prepared, Vec<Fault>> {
        inlet::check(name, table)
    }

    fn relay(&self, name: &str, table: &toml::Table) -> Result<relay::Prepared, Vec<Fault>> {
        relay::check(name, table)
    }
}

pub type Configuration = Checked<Rooms>;

/// A file that is not there is no fault where it is the default one.
pub fn read_layers(path: &Path) -> Result<Layers, Vec<ConfigFault>> {
    let is_default = path == Path::new(DEFAULT_CONFIG) && !path.exists();
    Layers::read(if is_default { None } else { Some(path) }, std::env::vars())
}

pub fn read_config(path: &Path) -> Result<Configuration, Vec<ConfigFault>> {
    check(&read_layers(path)?)
}

pub fn check(layers: &Layers) -> Result<Configuration, Vec<ConfigFault>> {
    Checked::of(layers, &kind_names(), &Rooms)
}

pub fn kind_names() -> [&'static str; 4] {
    Kind::ALL.map(Kind::name)
}

/// Finds the driver of a channel's table and lets it judge the rest.
fn check_channel(name: &str, table: &toml::Table) -> Result<Prepared, Vec<Fault>> {
    let word = |key: &str| table.get(key).and_then(toml::Value::as_str).unwrap_or_default();
    let fault = |key: &str, rule, message: String| Err(vec![Fault::new(format!("channel.{name}.{key}"), rule, message)]);
    let Some(kind) = Kind::from_name(word("kind")) else {
        return fault("kind", "unknown-kind", format!("must be one of {}", kind_names().join(", ")));
    };
    let Some(driver) = drivers::find(kind, word("provider")) else {
        let known: Vec<&str> = drivers::drivers().iter().filter(|driver| driver.kind == kind).map(|driver| driver.provider).collect();
        return fault("provider", "unknown-provider", format!("must be one of {}", known.join(", ")));
    };
    (driver.check)(name, table)
}

/// What is missing though no key is at fault: sources, channels, and a county that the data are of.
pub fn completeness(config: &Configuration) -> Completeness {
    let mut found = config.completeness(&offered_kinds(config));
    match county_of_data(&config.server.data_dir) {
        Ok(Some(areas)) => found.missing.extend(county_fault(config.county, &areas)),
        Ok(None) => {}
        Err(why) => found.odd.push(Fault::new(
            "server.data_dir",
            "not-compared",
            format!("whether the data are of this county was not looked at: {why}"),
        )),
    }
    found
}

fn offered_kinds(config: &Configuration) -> Vec<&'static str> {
    let mut kinds: Vec<&'static str> = config.channels.iter().map(|channel| channel.kind.name()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

/// The divisions of a data directory that no gateway has open; `None` where there is none.
fn county_of_data(data: &Path) -> Result<Option<Arc<Snapshot>>, String> {
    let registry = data.join("registry");
    if !registry.is_dir() {
        return Ok(None);
    }
    if store::is_in_use(data) {
        return Err("a gateway runs on it".into());
    }
    Ok(Some(Registry::open(&registry).map_err(|error| error.to_string())?.registry.current()))
}

fn county_fault(county: AreaCode, data: &Snapshot) -> Option<Fault> {
    let root = data.areas().root()?;
    if data.areas().get(county).is_some() {
        return None;
    }
    let message = format!("{county} is not in the registry, which is of {} {}: alerts for this county reach nobody", root.code, root.name);
    Some(Fault::new("county.code", "county-unlike-data", message))
}

/// What duty reads of it.
fn words_of_missing(fault: &Fault) -> &'static str {
    match fault.rule {
        "no-source" => "没有配置任何预警来源（[[source]]），各部门的预警都会被拒收",
        "no-channel" => "没有配置任何发送通道，任何预警都无人收到",
        "county-unlike-data" => "配置的县代码与名录数据不符，预警无人收到",
        _ => "政策有规则的发送手段都没有通道，所涉预警无人收到",
    }
}

pub fn fault_lines(faults: &[ConfigFault]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// A gateway that runs, with its interface.
pub struct App {
    pub gateway: Gateway,
    pub access: Arc<Access>,
    pub address: SocketAddr,
    pub broker: Option<SocketAddr>,
    broker_task: Option<speaker::broker::Broker>,
    ways: Ways,
    stop_http: CancellationToken,
    http: tokio::task::JoinHandle<std::io::Result<()>>,
    grace: std::time::Duration,
    policy_file: Option<PathBuf>,
    tls: Option<Tls>,
    certificates: Arc<CertificateWatch>,
    proofs: Arc<Proofs>,
}

impl App {
    /// Opens, connects and listens; when this returns, alerts can be posted.
    pub async fn start(config: Configuration, seed: u64) -> anyhow::Result<Self> {
        let clock: SharedClock = Arc::new(GuardedClock::new(Arc::new(SystemClock)));
        set_output_offset(config.server.utc_offset_s);
        telemetry::metrics::install();
        let listener = TcpListener::bind(config.server.listen).with_context(|| format!("cannot listen on {}", config.server.listen))?;
        let address = listener.local_addr()?;
        let files = config.server.tls.as_ref().map(|tls| TlsFiles {
            cert: tls.cert.clone(),
            key: tls.key.clone(),
            client_ca: tls.client_ca.clone(),
        });
        let certificates = Arc::new(CertificateWatch::begin(config.certificates.clone()));
        let tls = files.map(Tls::load).transpose().context("the certificate of [server] tls")?;
        enter_sealed(&config.server.data_dir, config.seal.key_path.as_deref(), Some(config.seal.dangerous_unsealed))?;
        broker::raise_descriptors();
        let waiting_broker = broker::Waiting::of(&config).await?;
        let builtin_broker = waiting_broker.as_ref().map(broker::Waiting::for_channels);
        let broker = builtin_broker.as_ref().map(|broker| broker.address);
        let (tokens_key, callback_key) = installation_keys(&config.server.data_dir)?;
        let context = channel::Context {
            clock: Arc::clone(&clock),
            public_url: config.server.public_url.clone(),
            callback_key: Arc::new(callback_key),
            base_dir: config.base_dir.clone(),
            seed,
            builtin_broker,
        };
        let mut missing = config.completeness(&offered_kinds(&config)).missing;
        // Links and browsers are told apart by keys that say nothing of each other.
        let browser_key = Sha256::digest([b"marks of browsers".as_slice(), &tokens_key].concat()).into();
        let accounts = build_channels(config.channels, &context)?;
        let (registry, damaged) = open_registry(&config.server.data_dir)?;
        missing.extend(county_fault(config.county, &registry.current()));
        let by_source = config.sources.iter().map(|source| (source.name.clone(), proof(source))).collect();
        let setup = Setup {
            clock: Arc::clone(&clock),
            data_dir: config.server.data_dir.clone(),
            county: config.county,
            county_name: config.county_name,
            sources: config.sources.into_iter().map(source).collect(),
            policy: config.policy,
            registry,
            accounts,
            limits: Limits { bytes_max: config.server.body_max, ..Limits::default() },
            vocabulary: config.vocabulary,
            max_skew: config.server.max_skew,
            public_url: config.server.public_url.clone(),
            tokens: AnswerTokens::new(tokens_key),
            drill_households: config.drill_households,
            drill_speakers: config.drill_speakers,
            seed,
            keep_open: config.store.keep_open,
            keep_months: config.store.keep_months,
            journal: Options { reserve_bytes: config.server.disk_reserve, ..Options::default() },
        };
        let (gateway, opened) = Gateway::open(setup).context("the store cannot be opened")?;
        for damaged in &damaged {
            gateway.alarms().raise("registry-damaged", damaged.file.display().to_string(), damaged.error.to_string());
        }
        for alarm in &opened.alarms {
            gateway.alarms().raise("store-mended", "", alarm);
            tracing::error!(alarm, "the store was mended at start");
        }
        let access = Arc::new(Access::open(&config.server.data_dir, Arc::clone(&clock)).context("keys and users")?);
        // After the store, whose lock says that no other gateway writes down nonces here.
        let proofs = Arc::new(Proofs::open(&config.server.data_dir, by_source, Arc::clone(&clock)).context("what sources prove")?);
        for fault in &missing {
            tracing::error!(%fault, "the configuration is not complete");
            gateway.alarms().raise("configuration-incomplete", &fault.path, words_of_missing(fault));
        }
        let start = |waiting: broker::Waiting| waiting.start(&gateway, &config.server.data_dir, Arc::clone(&clock));
        let broker_task = waiting_broker.map(start).transpose()?;
        gateway.start().await?;
        let stop_http = CancellationToken::new();
        watch_certificates(&certificates, &gateway, stop_http.clone());
        let ways = Ways::start(config.inlets, config.relays, &gateway, &proofs, &config.server.data_dir, &config.base_dir)?;
        let parts = http::Parts {
            gateway: gateway.clone(),
            access: Arc::clone(&access),
            proofs: Arc::clone(&proofs),
            sessions: Arc::new(Sessions::new(browser_key)),
            relays: ways.board.clone(),
            settings: Arc::new(Settings {
                secure_cookies: config.server.public_url.starts_with("https://"),
                public_url: config.server.public_url,
                body_max: config.server.body_max,
                feed_public: config.server.feed_public,
                trusted_proxies: config.server.trusted_proxies,
                metrics_from: config.server.metrics_from,
                page_urls: config.server.page_urls,
            }),
            shutdown: stop_http.clone(),
        };
        let http = tokio::spawn(http::serve(listener, parts, tls.clone(), config.server.shutdown_grace));
        tracing::info!(%address, replayed = opened.replayed, "the gateway is ready");
        let grace = config.server.shutdown_grace;
        Ok(Self {
            gateway,
            access,
            address,
            broker,
            broker_task,
            ways,
            stop_http,
            http,
            grace,
            policy_file: config.policy_file,
            tls,
            certificates,
            proofs,
        })
    }

    /// Reads certificates and the policy again; alerts under way keep their rule. A file at fault changes nothing.
    pub fn reload(&self) {
        let fresh = self.certificates.read_again();
        match self.tls.as_ref().map(Tls::reload) {
            None => {}
            Some(Ok(())) => {
                tracing::info!("the certificate was read again");
                self.certificates.taken(fresh);
                self.certificates.look(self.gateway.alarms(), self.gateway.clock().now());
            }
            Some(Err(error)) => tracing::error!(%error, "the certificate is at fault and was not taken"),
        }
        if let Err(error) = self.proofs.reload() {
            tracing::error!(%error, "the certificates of those who sign are at fault and were not taken");
        }
        let Some(file) = &self.policy_file else { return };
        let read = std::fs::read_to_string(file).map_err(|error| error.to_string());
        let parsed = read.and_then(|text| {
            Policy::parse(&text, &kind_names()).map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
        });
        match parsed {
            Ok(policy) if self.gateway.is_served(&policy).is_err() => {
                let error = self.gateway.is_served(&policy).err().unwrap_or_default();
                tracing::error!(file = %file.display(), error, "the policy would tell nobody and was not taken");
                self.gateway.alarms().raise("policy-at-fault", "", format!("新政策未采用：{error}"));
            }
            Ok(policy) => {
                self.gateway.replace_policy(policy);
                self.gateway.alarms().end("policy-at-fault", "");
                self.note("policy-reload", file, "done");
                tracing::info!(file = %file.display(), "the policy was read again");
            }
            Err(error) => {
                self.note("policy-reload", file, "refused");
                tracing::error!(file = %file.display(), error, "the policy is at fault and was not taken");
                self.gateway.alarms().raise("policy-at-fault", "", format!("新政策未采用：{error}"));
            }
        }
    }

    /// What a signal made it do; the signal does not say whose it was.
    fn note(&self, act: &'static str, file: &Path, result: &'static str) {
        let line = Audited::new(self.gateway.clock().now(), "signal SIGHUP", act, file.display().to_string(), result);
        let gateway = self.gateway.clone();
        tokio::spawn(async move {
            if let Err(error) = gateway.audit(line).await {
                tracing::error!(%error, act, "what a signal did could not be written into the audit");
            }
        });
    }

    /// Whether the store or the listener has failed: the process must end, and its supervisor start it anew.
    pub fn has_failed(&self) -> Option<String> {
        if self.http.is_finished() {
            return Some("the listener has ended".into());
        }
        let why = self.gateway.store_failure()?;
        let data = self.gateway.data_dir().display();
        Some(format!("the store in {data} cannot be written: {why}; a new start checks and mends it when the disk is well"))
    }

    /// Intake closed, no new leases, what is in flight ends, the store is closed last: all within one grace.
    pub async fn stop(self) -> anyhow::Result<()> {
        let end = Instant::now() + self.grace;
        self.stop_http.cancel();
        // What comes in is posted in a moment; the rest of the grace is for what goes out.
        self.ways.stop(self.grace / 2).await;
        self.gateway.stop(end.saturating_duration_since(Instant::now())).await?;
        self.http.await??;
        if let Some(broker) = self.broker_task {
            broker.stop().await;
        }
        Ok(())
    }
}

/// Looks now and every hour, until the listener ends.
fn watch_certificates(certificates: &Arc<CertificateWatch>, gateway: &Gateway, stop: CancellationToken) {
    let (certificates, gateway) = (Arc::clone(certificates), gateway.clone());
    certificates.look(gateway.alarms(), gateway.clock().now());
    tokio::spawn(async move {
        while stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
            certificates.look(gateway.alarms(), gateway.clock().now());
        }
    });
}

/// Inlets and relays: what runs beside the gateway, on its handle alone.
struct Ways {
    board: relay::Board,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Ways {
    fn start(
        inlets: Vec<inlet::Prepared>,
        relays: Vec<relay::Prepared>,
        gateway: &Gateway,
        proofs: &Arc<Proofs>,
        data_dir: &Path,
        base_dir: &Path,
    ) -> anyhow::Result<Self> {
        let (board, stop, tasks) = (relay::Board::default(), CancellationToken::new(), TaskTracker::new());
        let documents = Arc::new(Documents::open(data_dir)?);
        for inlet in inlets {
            let (gateway, documents, base_dir) = (gateway.clone(), Arc::clone(&documents), base_dir.to_owned());
            tasks.spawn(inlet.start(inlet::Context { gateway, proofs: Arc::clone(proofs), documents, base_dir, stop: stop.clone() }));
        }
        for relay in relays {
            let (gateway, documents, base_dir) = (gateway.clone(), Arc::clone(&documents), base_dir.to_owned());
            tasks.spawn(relay.start(relay::Context { gateway, documents, base_dir, board: board.clone(), stop: stop.clone() }));
        }
        Ok(Self { board, stop, tasks })
    }

    async fn stop(self, grace: std::time::Duration) {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(grace, self.tasks.wait()).await.is_err() {
            tracing::warn!("some inlets or relays did not end in time");
        }
    }
}

fn build_channels(prepared: Vec<Prepared>, context: &channel::Context) -> anyhow::Result<Vec<(Arc<dyn Channel>, Common)>> {
    prepared
        .into_iter()
        .map(|channel| {
            let common = channel.common.clone();
            Ok(((channel.build)(context.clone())?, common))
        })
        .collect()
}

/// Before anything in a data directory is opened: refuses a newer program's, and closes to others what stood open.
pub fn enter_data(data: &Path) -> anyhow::Result<()> {
    enter_sealed(data, None, None)
}

/// The same where the configuration says how the directory is sealed.
fn enter_sealed(data: &Path, key_file: Option<&Path>, unsealed: Option<bool>) -> anyhow::Result<()> {
    let entered = home::enter(data)?;
    if let Some(made) = seal::settle(data, key_file, unsealed)? {
        tracing::warn!(file = %made.display(), "a key was made that seals the registry and backups: keep a copy of it apart from both, without it they cannot be read");
    }
    if entered.tightened > 0 {
        tracing::warn!(data = %data.display(), files = entered.tightened, "files of the data directory could be read by others; now its own user alone can");
    }
    if let Some(why) = entered.still_open {
        telemetry::metrics::alarm("data-directory-open");
        tracing::error!(data = %data.display(), why, "the data directory holds files that others can read, and they cannot be closed: chown them to the gateway's user");
    }
    Ok(())
}

fn open_registry(data: &Path) -> anyhow::Result<(Registry, Vec<Damaged>)> {
    let opened = Registry::open(&data.join("registry")).context("the registry cannot be opened")?;
    for damaged in &opened.damaged {
        tracing::error!(file = %damaged.file.display(), error = %damaged.error, "a registry file was damaged; the one before is used");
    }
    Ok((opened.registry, opened.damaged))
}

fn source(settings: SourceSettings) -> Source {
    let approval = match settings.approval {
        "red" => Approval::Red,
        "always" => Approval::Always,
        _ => Approval::None,
    };
    let SourceSettings { name, senders, events, levels, areas, datum, codes, .. } = settings;
    Source { name, senders, events, levels, areas, approval, datum, codes }
}

fn proof(settings: &SourceSettings) -> Proof {
    let signature = match &settings.signature {
        SignatureSettings::None => Signing::None,
        SignatureSettings::Hmac(key) => Signing::Hmac(key.clone()),
        SignatureSettings::Xml(files) => Signing::Xml(files.clone()),
    };
    Proof { signature, client_certificates: settings.client_certificates.clone() }
}

/// The two keys of the installation, made at its first start.
fn installation_keys(data: &Path) -> anyhow::Result<([u8; 32], [u8; 32])> {
    let documents = Documents::open(data)?;
    let bytes = match documents.read(INSTALLATION)? {
        Some(bytes) => bytes,
        None => {
            let fresh: [u8; 64] = rand::rng().random();
            documents.replace(INSTALLATION, &fresh)?;
            fresh.to_vec()
        }
    };
    let keys: [u8; 64] = bytes.try_into().map_err(|_| {
        anyhow::anyhow!(
            "{}/documents/{INSTALLATION} is damaged; restore it from a backup, or links that were sent stop working",
            data.display()
        )
    })?;
    let half = |from: usize| std::array::from_fn(|place| keys[from + place]);
    Ok((half(0), half(32)))
}

/// The store of a stopped gateway, to look at; nothing of it is started.
pub fn open_stopped(data: &Path) -> anyhow::Result<Gateway> {
    anyhow::ensure!(data.is_dir(), "{} is not a data directory", data.display());
    enter_data(data)?;
    let (registry, _) = open_registry(data)?;
    let root = registry.current().areas().root().map(|root| (root.code, root.name.to_string()));
    let county: AreaCode = "510726".parse()?;
    let (county, county_name) = root.unwrap_or((county, String::new()));
    let setup = Setup {
        clock: Arc::new(SystemClock),
        data_dir: data.to_owned(),
        county,
        county_name,
        sources: Vec::new(),
        policy: Policy::default(),
        registry,
        accounts: Vec::new(),
        limits: Limits::default(),
        vocabulary: Vocabulary::default(),
        max_skew: std::time::Duration::ZERO,
        public_url: String::new(),
        tokens: AnswerTokens::new([0; 32]),
        drill_households: false,
        drill_speakers: false,
        seed: 0,
        keep_open: std::time::Duration::MAX,
        keep_months: 0,
        journal: Options::default(),
    };
    Ok(Gateway::open(setup)?.0)
}
