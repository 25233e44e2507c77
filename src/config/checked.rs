//! Owns the checked configuration and the reading of each section.
//! Refuses to know providers and the engine's types. Invariant: a `Checked` exists only when no key of any section is at fault.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use secrecy::SecretString;
use toml::{Table, Value};

use super::{
    certificates::Certificates,
    exposed,
    layers::{ConfigFault, Layers, is_private, located, read_bounded},
    source::{self, SourceSettings},
};
use crate::{
    alert::Vocabulary,
    area::AreaCode,
    fault::{Fault, Faults},
    keys::Keys,
    matching::meant::CodeBook,
    network::Network,
    policy::Policy,
};

/// The policy that comes with the program.
const DEFAULT_POLICY: &str = include_str!("../../config/policy.toml");
/// Longer than any provider's receipts come.
const KEEP_OPEN: Duration = Duration::from_secs(7 * 24 * 3_600);
const POLICY_BYTES_MAX: u64 = 1 << 20;
/// Codes that were given up, of the city that the program's fixture county belongs to.
const DEFAULT_HISTORY: &str = include_str!("../../config/code-history.csv");

/// Judges the tables that belong to other rooms, and says what each is made into.
pub trait Judges {
    type Channel;
    type Inlet;
    type Relay;

    fn channel(&self, name: &str, table: &Table) -> Result<Self::Channel, Vec<Fault>>;
    fn inlet(&self, name: &str, table: &Table) -> Result<Self::Inlet, Vec<Fault>>;
    fn relay(&self, name: &str, table: &Table) -> Result<Self::Relay, Vec<Fault>>;
}

/// Everything the program runs on; `J` has made the tables of other rooms into what those run on.
pub struct Checked<J: Judges> {
    pub server: Server,
    pub store: Store,
    pub seal: SealSettings,
    pub county: AreaCode,
    pub county_name: String,
    pub sources: Vec<SourceSettings>,
    pub channels: Vec<J::Channel>,
    pub inlets: Vec<J::Inlet>,
    pub relays: Vec<J::Relay>,
    pub builtin_broker: Option<BrokerSettings>,
    pub policy: Policy,
    pub policy_file: Option<PathBuf>,
    pub vocabulary: Vocabulary,
    pub drill_households: bool,
    pub drill_speakers: bool,
    pub log: Log,
    pub base_dir: PathBuf,
    pub certificates: Certificates,
}

#[derive(Debug)]
pub struct Server {
    pub listen: SocketAddr,
    pub public_url: String,
    pub data_dir: PathBuf,
    pub shutdown_grace: Duration,
    pub utc_offset_s: i32,
    pub tls: Option<HttpTls>,
    pub body_max: usize,
    pub max_skew: Duration,
    pub feed_public: bool,
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Network>,
    /// From where `/metrics` is read without a key.
    pub metrics_from: Vec<Network>,
    /// Further addresses, beside the public one, under which people open the page.
    pub page_urls: Vec<String>,
    /// Bytes of the data directory's disk that new work leaves free.
    pub disk_reserve: u64,
}

#[derive(Debug)]
pub struct Store {
    /// An alert that has been over for so long is filed.
    pub keep_open: Duration,
    /// Months of the journal that are kept before the present one; zero keeps all.
    pub keep_months: u32,
}

#[derive(Debug)]
pub struct SealSettings {
    /// Where the key lies; beside the data directory when left out.
    pub key_path: Option<PathBuf>,
    pub dangerous_unsealed: bool,
}

#[derive(Debug)]
pub struct HttpTls {
    pub cert: PathBuf,
    pub key: PathBuf,
    pub client_ca: Option<PathBuf>,
}

#[derive(Clone, Debug)]
pub struct BrokerSettings {
    pub listen: SocketAddr,
    pub sessions_max: usize,
    /// Where the topics of loudspeakers begin.
    pub prefix: String,
    /// Whether devices without a credential of their own come in, all by one login or by none.
    pub shared_login: bool,
    pub dangerous_plain_mqtt: bool,
    pub login: Option<(String, SecretString)>,
}

#[derive(Debug)]
pub struct Log {
    /// `text` or `json`.
    pub format: &'static str,
    pub filter: String,
}

impl<J: Judges> Checked<J> {
    /// Checks every section; `kinds` are the kinds of channel that a policy may name.
    pub fn of(layers: &Layers, kinds: &[&str], judges: &J) -> Result<Self, Vec<ConfigFault>> {
        let mut faults = Faults::default();
        let mut top = Keys::read("", &layers.table);
        let server = section(&mut top, "server", |keys| server(keys, layers), &mut faults);
        let store = section(&mut top, "store", store, &mut faults);
        let seal = section(&mut top, "seal", |keys| Some(seal(keys, layers)), &mut faults);
        let county = section(&mut top, "county", |keys| county(keys, layers), &mut faults);
        let (county, history) = county.map_or((None, None), |(code, name, history)| (Some((code, name)), Some(history)));
        let history = history.unwrap_or_default();
        let tables = top.tables("source");
        faults.extend(source::double_names(&tables));
        let root = county.as_ref().map(|(code, _)| *code);
        let source_tables = tables.len();
        let read = tables.into_iter().enumerate().map(|(place, table)| source::read(place, table, root, &history, &layers.base_dir));
        let sources: Vec<_> = read.filter_map(|read| kept(read, &mut faults)).collect();
        let asks = server.as_ref().is_none_or(|server| server.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some()));
        faults.extend(source::unasked(&sources, source_tables, asks));
        let channels = named_tables(&mut top, "channel", |name, table| judges.channel(name, table), &mut faults);
        faults.extend(unknown_sources(&layers.table, &sources));
        let inlets = named_tables(&mut top, "inlet", |name, table| judges.inlet(name, table), &mut faults);
        let relays = named_tables(&mut top, "relay", |name, table| judges.relay(name, table), &mut faults);
        let builtin_broker = top.table("builtin_broker").and_then(|table| kept(broker(table), &mut faults));
        let mut elsewhere = Vec::new();
        faults.extend(builtin_broker.iter().flat_map(|broker| exposed::by_builtin_broker(&layers.table, broker)));
        let policy = section(&mut top, "policy", |keys| policy(keys, layers, kinds, &mut elsewhere), &mut faults);
        let vocabulary = section(&mut top, "cap", |keys| Some(vocabulary(keys)), &mut faults);
        let drill = section(&mut top, "drill", |keys| Some((keys.flag("households", false), keys.flag("speakers", false))), &mut faults);
        let log = section(&mut top, "log", log, &mut faults);
        let rest = top.finish(());
        faults.extend(rest.err().into_iter().flatten());
        let list = faults.into_list();
        let whole = (server, store, seal, county, policy, vocabulary, drill, log);
        match whole {
            (
                Some(server),
                Some(store),
                Some(seal),
                Some((county, county_name)),
                Some((policy, policy_file)),
                Some(vocabulary),
                Some((drill_households, drill_speakers)),
                Some(log),
            ) if list.is_empty() && !layers.has_secret_faults() => Ok(Self {
                certificates: Certificates::named(layers, &server),
                server,
                store,
                seal,
                county,
                county_name,
                sources,
                channels,
                inlets,
                relays,
                builtin_broker,
                policy,
                policy_file,
                vocabulary,
                drill_households,
                drill_speakers,
                log,
                base_dir: layers.base_dir.clone(),
            }),
            _ => Err([layers.all_placed(list), elsewhere].concat()),
        }
    }
}

fn kept<T>(read: Result<T, Vec<Fault>>, faults: &mut Faults) -> Option<T> {
    read.map_err(|list| faults.extend(list)).ok()
}

/// Reads one section; it is there in the defaults, so a missing one means that somebody made it something else.
fn section<T>(top: &mut Keys<'_>, name: &'static str, read: impl FnOnce(&mut Keys<'_>) -> Option<T>, faults: &mut Faults) -> Option<T> {
    let table = top.table(name)?;
    let mut keys = Keys::read(name, table);
    let value = read(&mut keys);
    kept(keys.finish(value), faults).flatten()
}

fn server(keys: &mut Keys<'_>, layers: &Layers) -> Option<Server> {
    let listen = address(keys, "listen");
    let public_url = keys.required("public_url");
    if !(public_url.starts_with("http://") || public_url.starts_with("https://")) {
        keys.fault("public_url", "bad-url", "must begin with http:// or https://");
    }
    let data_dir = PathBuf::from(keys.required("data_dir"));
    let shutdown_grace = keys.duration("shutdown_grace", Duration::from_secs(20));
    let utc_offset = keys.required("utc_offset");
    let utc_offset_s = offset_s(&utc_offset).unwrap_or_else(|| {
        keys.fault("utc_offset", "bad-offset", format!("{utc_offset:?} is not an offset such as +08:00"));
        0
    });
    let tls = keys.table("tls").map(|table| {
        let mut tls = Keys::read("server.tls", table);
        let file = |keys: &mut Keys<'_>, key| layers.base_dir.join(keys.required(key));
        let (cert, key) = (file(&mut tls, "cert"), file(&mut tls, "key"));
        let client_ca = tls.text("client_ca").map(|path| layers.base_dir.join(path));
        tls.finish(HttpTls { cert, key, client_ca })
    });
    let any_mode = keys.flag("dangerous_readable_secrets", false);
    if let Some(Ok(tls)) = &tls
        && !any_mode
        && let Err(fault) = is_private(&tls.key, &tls.key.display().to_string())
    {
        keys.fault("tls.key", fault.rule, fault.message);
    }
    let may_be_plain = keys.flag("dangerous_plain_http", false);
    if let Some(listen) = listen.filter(|listen| tls.is_none() && !may_be_plain && !listen.ip().is_loopback()) {
        let message = format!(
            "{listen} is reached from outside, and without tls passwords, keys and people's numbers go in clear: give tls, listen on 127.0.0.1 behind a proxy, or set dangerous_plain_http = true"
        );
        keys.fault("listen", "plain-http", message);
    }
    let tls = match tls.transpose() {
        Ok(tls) => tls,
        Err(faults) => {
            keys.add_faults(faults);
            None
        }
    };
    let body_max = usize::try_from(keys.number("body_max", 1_024..=64 << 20, 2 << 20)).unwrap_or(2 << 20);
    let max_skew = keys.duration("max_skew", Duration::from_secs(300));
    let feed_public = keys.flag("feed_public", false);
    let trusted_proxies = keys.parsed("trusted_proxies");
    let metrics_from = keys.parsed("metrics_from");
    let page_urls = keys.texts("page_urls");
    for (place, url) in page_urls.iter().enumerate() {
        if !is_origin(url) {
            keys.fault(&format!("page_urls[{place}]"), "bad-url", "must be http:// or https:// with a host, and no path");
        }
    }
    // Below, half of it could not hold what one commit costs; above, it is a mistake in the unit.
    let disk_reserve = keys.number("disk_reserve", 16 << 20..=1 << 40, 64 << 20);
    Some(Server {
        listen: listen?,
        public_url,
        data_dir,
        shutdown_grace,
        utc_offset_s,
        tls,
        body_max,
        max_skew,
        feed_public,
        trusted_proxies,
        metrics_from,
        page_urls,
        disk_reserve,
    })
}

/// What a browser calls the origin of a page: scheme, host and port, nothing behind.
fn is_origin(url: &str) -> bool {
    let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    host.is_some_and(|host| !host.is_empty() && !host.contains(['/', '?', '#', '@', ' ']))
}

fn seal(keys: &mut Keys<'_>, layers: &Layers) -> SealSettings {
    let key_path = keys.text("key_path").filter(|path| !path.is_empty()).map(|path| layers.base_dir.join(path));
    SealSettings { key_path, dangerous_unsealed: keys.flag("dangerous_unsealed", false) }
}

fn store(keys: &mut Keys<'_>) -> Option<Store> {
    let keep_open = keys.duration("keep_open", KEEP_OPEN);
    // A year and the month that is compared with it; more than a hundred years is a mistake.
    let keep_months = u32::try_from(keys.number("keep_months", 0..=1_200, 13)).unwrap_or(13);
    Some(Store { keep_open, keep_months })
}

fn address(keys: &mut Keys<'_>, key: &'static str) -> Option<SocketAddr> {
    let text = keys.required(key);
    let parsed = text.parse().ok();
    if parsed.is_none() && !text.is_empty() {
        keys.fault(key, "bad-address", format!("{text:?} is not an address such as 127.0.0.1:8080"));
    }
    parsed
}

/// `+08:00` as seconds east.
fn offset_s(text: &str) -> Option<i32> {
    let (sign, rest) = text.strip_prefix('+').map(|rest| (1, rest)).or_else(|| text.strip_prefix('-').map(|rest| (-1, rest)))?;
    let (hours, minutes) = rest.split_once(':')?;
    let (hours, minutes): (i32, i32) = (hours.parse().ok()?, minutes.parse().ok()?);
    (hours <= 14 && minutes < 60).then_some(sign * (hours * 3_600 + minutes * 60))
}

/// Code, name, and the list of codes that were given up.
fn county(keys: &mut Keys<'_>, layers: &Layers) -> Option<(AreaCode, String, String)> {
    let text = keys.required("code");
    let name = keys.required("name");
    let history = match keys.text("code_history").filter(|file| !file.is_empty()) {
        Some(file) => source::read_file(keys, "code_history", &file, &layers.base_dir).unwrap_or_default(),
        None => DEFAULT_HISTORY.to_owned(),
    };
    if let Err(faults) = CodeBook::read(&history, None) {
        faults.iter().for_each(|fault| keys.fault("code_history", fault.rule, fault.to_string()));
    }
    match text.parse() {
        Ok(code) => Some((code, name, history)),
        Err(error) => {
            keys.fault("code", "bad-code", format!("{error}"));
            None
        }
    }
}

/// An inlet speaks for a source, as a bureau's key does.
fn unknown_sources(root: &Table, sources: &[SourceSettings]) -> Vec<Fault> {
    let inlets = root.get("inlet").and_then(Value::as_table).into_iter().flatten();
    let named = inlets.filter_map(|(name, table)| Some((name, table.get("source")?.as_str()?)));
    let fault = |name: &str, rule, message: String| Some(Fault::new(format!("inlet.{name}.source"), rule, message));
    named
        .filter_map(|(name, wanted)| match sources.iter().find(|known| known.name == wanted) {
            None => fault(name, "unknown-source", format!("no [[source]] is named {wanted:?}")),
            // A door beside the one that asks for a proof would be no door worth locking.
            Some(source) if source.proves_by_request() => {
                let message = format!(
                    "{wanted} proves itself by its requests, which a document that comes in here has not; make a source of its own"
                );
                fault(name, "cannot-prove", message)
            }
            Some(_) => None,
        })
        .collect()
}

/// The tables `[section.NAME]`, each made by `check` into what runs.
fn named_tables<T>(
    top: &mut Keys<'_>,
    section: &'static str,
    check: impl Fn(&str, &Table) -> Result<T, Vec<Fault>>,
    faults: &mut Faults,
) -> Vec<T> {
    let Some(tables) = top.table(section) else { return Vec::new() };
    let mut made = Vec::new();
    for (name, value) in tables {
        let Value::Table(table) = value else {
            faults.add(format!("{section}.{name}"), "wrong-type", format!("must be a table, [{section}.NAME]"));
            continue;
        };
        let is_word = (1..=64).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte));
        if !is_word {
            faults.add(format!("{section}.{name}"), "bad-name", format!("the name of a {section} is made of a-z, 0-9, - and _"));
        }
        made.extend(kept(check(name, table), faults));
    }
    made
}

fn broker(table: &Table) -> Result<BrokerSettings, Vec<Fault>> {
    let mut keys = Keys::read("builtin_broker", table);
    let listen = address(&mut keys, "listen");
    let sessions_max = usize::try_from(keys.number("sessions_max", 1..=100_000, 10_000)).unwrap_or(10_000);
    let (username, password) = (keys.text("username"), keys.secret("password"));
    if username.is_some() != password.is_some() {
        keys.fault("username", "half-given", "username and password are given together or not at all");
    }
    let shared_login = keys.flag("shared_login", false);
    let dangerous_plain_mqtt = keys.flag("dangerous_plain_mqtt", false);
    if username.is_some() && password.is_some() && !shared_login {
        let advice = "with one login for all, each loudspeaker can speak for every other; give each its own by `lastmile speaker credential`, \
                      or say shared_login = true to go on as before";
        keys.fault("username", "shared-login", advice);
    }
    let prefix = keys.text("prefix").unwrap_or_else(|| "lastmile/v1".to_owned());
    if prefix.is_empty() || prefix.starts_with(['/', '$']) || prefix.ends_with('/') || prefix.contains(['+', '#', '\0']) {
        keys.fault("prefix", "bad-topic", "must be a topic without wildcards and without a slash at either end");
    }
    let listen = listen.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0)));
    keys.finish(BrokerSettings { listen, sessions_max, prefix, shared_login, dangerous_plain_mqtt, login: username.zip(password) })
}

/// Faults inside the policy file are told with its own name and lines.
fn policy(keys: &mut Keys<'_>, layers: &Layers, kinds: &[&str], elsewhere: &mut Vec<ConfigFault>) -> Option<(Policy, Option<PathBuf>)> {
    let file = keys.text("file").filter(|file| !file.is_empty()).map(|file| layers.base_dir.join(file));
    let text = match &file {
        None => DEFAULT_POLICY.to_owned(),
        Some(path) => match read_bounded(path, POLICY_BYTES_MAX) {
            Ok(text) => text,
            Err(error) => {
                keys.fault("file", "unreadable", format!("{}: {error}", path.display()));
                return None;
            }
        },
    };
    match Policy::read(&text, kinds) {
        Ok(policy) => Some((policy, file)),
        Err(faults) => {
            let name = file.map_or_else(|| "built-in policy".to_owned(), |file| file.display().to_string());
            elsewhere.extend(located(&name, faults));
            None
        }
    }
}

fn vocabulary(keys: &mut Keys<'_>) -> Vocabulary {
    Vocabulary::with(keys.texts("event_value_names"), keys.texts("area_value_names"))
}

fn log(keys: &mut Keys<'_>) -> Option<Log> {
    let format = keys.word("format", &["text", "json"], "text");
    let filter = keys.text("filter").unwrap_or_else(|| "info".into());
    Some(Log { format, filter })
}
