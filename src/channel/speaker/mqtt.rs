//! Owns `speaker/mqtt`: the account's keys, commands out over one connection, reports in over another.
//! Refuses to know which speakers exist, retries and what a report settles.
//! Invariant: `Accepted` means that the broker acknowledged this very publish and somebody subscribes to its topic; nothing is published without a verdict.

mod lines;

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError, atomic::AtomicU64},
    time::Duration,
};

use ed25519_dalek::SigningKey;
use futures::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use rand::{SeedableRng as _, rngs::StdRng};
use rumqttc::{AsyncClient, PubAckReason, PublishNoticeError, PublishOptions, PublishProperties, PublishResult};
use secrecy::ExposeSecret as _;
use tokio::sync::{Notify, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::lines::{Listener, Upkeep};
use super::{
    command::{Manner, command},
    jws,
    line::{Backoff, BrokerAddress, Far, KEEP_ALIVE, Standing},
    reports,
};
use crate::{
    area::AreaCode,
    channel::{
        Batching, BuildError, Callback, Channel, Class, Context, Driver, Failure, Kind, News, Prepared, Proof, Reach, Reception,
        ReportSink, Verdict, common,
    },
    fault::Fault,
    keys::Keys,
    message::{Form, Outgoing},
    time::SharedClock,
};

pub const DRIVER: Driver = Driver { kind: Kind::Speaker, provider: "mqtt", check, answers: super::answers::ALL };

/// Devices acknowledge within seconds; longer covers a mobile network that is losing its masts.
const ACK_WITHIN: Duration = Duration::from_secs(90);
/// Devices of one village or town; a bigger area is several batches and the topic is published once for each.
const BATCH_MAX: usize = 4_096;
/// Publishes that wait for the connection's task; further ones wait at the caller, inside its time limit.
const REQUESTS_MAX: usize = 256;
/// Speech of more units than this takes over five minutes.
const SPEECH_UNITS_MAX: u16 = 600;
/// What MQTT brokers accept as a matter of course.
const PAYLOAD_BYTES_MAX: usize = 60 * 1024;

const UNSIGNED: &str = "without it whoever gets at the broker speaks through every loudspeaker: make one (README, Loudspeakers), \
                        or set dangerous_unsigned = true";

/// Where the account finds its broker.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Builtin,
    At(BrokerAddress),
}

struct Settings {
    place: Place,
    login: Option<(String, secrecy::SecretString)>,
    prefix: String,
    signing_key: Option<SigningKey>,
    client_id: String,
    keep_alive: Duration,
    ca: Option<String>,
    ack_within: Duration,
    manner: Manner,
    timeout: Duration,
}

struct Mqtt {
    name: String,
    far: Far,
    client_id: String,
    prefix: String,
    signing_key: Option<SigningKey>,
    manner: Manner,
    ack_within: Duration,
    timeout: Duration,
    clock: SharedClock,
    seed: u64,
    stop: CancellationToken,
    tasks: TaskTracker,
    /// Set once by `start`.
    commands: Mutex<Option<Commands>>,
    /// Rung when both connections have come to stand.
    line: Arc<Notify>,
}

/// The way out, as long as the account runs.
#[derive(Clone)]
struct Commands {
    client: AsyncClient,
    standing: watch::Receiver<Standing>,
}

fn check(name: &str, table: &toml::Table) -> Result<Prepared, Vec<Fault>> {
    let mut keys = common::keys(name, table);
    let common = common::common(&mut keys);
    let settings = settings(&mut keys, name, common.timeout);
    let name = name.to_owned();
    keys.finish(settings).map(|settings| Prepared {
        name: name.clone(),
        kind: Kind::Speaker,
        provider: "mqtt",
        common,
        build: Box::new(move |context| build(name, settings, context)),
    })
}

fn settings(keys: &mut Keys<'_>, name: &str, timeout: Duration) -> Settings {
    let broker = keys.required("broker");
    let place = if broker == "builtin" { Some(Place::Builtin) } else { broker.parse().ok().map(Place::At) };
    if place.is_none() && !broker.is_empty() {
        keys.fault("broker", "bad-address", "must be \"mqtt://host:1883\", \"mqtts://host:8883\" or \"builtin\"");
    }
    let login = match (keys.text("username"), keys.secret("password")) {
        (Some(user), password) => Some((user, password.unwrap_or_default())),
        (None, None) => None,
        (None, Some(_)) => {
            keys.fault("username", "missing", "a password needs a username");
            None
        }
    };
    let prefix = keys.text("prefix").unwrap_or_else(|| "lastmile/v1".to_owned());
    if prefix.is_empty() || prefix.starts_with(['/', '$']) || prefix.ends_with('/') || prefix.contains(['+', '#', '\0']) {
        keys.fault("prefix", "bad-topic", "must be a topic without wildcards and without a slash at either end");
    }
    let secret = keys.secret("signing_key");
    let is_given = secret.is_some();
    let signing_key = secret.and_then(|text| {
        let key = jws::signing_key(text.expose_secret());
        if key.is_none() {
            keys.fault("signing_key", "bad-key", "must be an Ed25519 private key: PKCS#8 PEM, or its 32-byte seed in base64");
        }
        key
    });
    let may_be_unsigned = keys.flag("dangerous_unsigned", false);
    if let Some(Place::At(address)) = place.as_ref().filter(|_| !is_given && !may_be_unsigned)
        && !address.is_loopback()
    {
        // For `builtin` the configuration asks the same where it knows on what address that one listens.
        keys.fault("signing_key", "unsigned", UNSIGNED);
    }
    let client_id = keys.text("client_id").unwrap_or_else(|| format!("lastmile-{name}"));
    if client_id.is_empty() || client_id.len() > 200 {
        keys.fault("client_id", "bad-name", "must have 1 to 200 bytes");
    }
    let volume = keys.number("volume", 0..=100, 101);
    let interval = keys.duration("interval", Duration::from_secs(5));
    Settings {
        place: place.unwrap_or(Place::Builtin),
        login,
        prefix,
        signing_key,
        client_id,
        keep_alive: keys.duration("keep_alive", KEEP_ALIVE),
        ca: keys.text("ca"),
        ack_within: keys.duration("ack_within", ACK_WITHIN),
        manner: Manner {
            interval_s: u32::try_from(interval.as_secs()).unwrap_or(u32::MAX),
            volume: u8::try_from(volume).ok().filter(|&volume| volume <= 100),
        },
        timeout,
    }
}

fn build(name: String, settings: Settings, context: Context) -> Result<Arc<dyn Channel>, BuildError> {
    let failed = |message: String| BuildError { name: name.clone(), message };
    let (address, login) = match settings.place {
        Place::At(address) => (address, settings.login),
        Place::Builtin => {
            let ours = context.builtin_broker.ok_or_else(|| failed("broker = \"builtin\" needs a [builtin_broker] table".to_owned()))?;
            if ours.prefix != settings.prefix {
                return Err(failed(format!("its prefix {:?} is not that of [builtin_broker], {:?}", settings.prefix, ours.prefix)));
            }
            let ip = match ours.address.ip() {
                // It listens everywhere, and so here too.
                ip if ip.is_unspecified() => {
                    if ip.is_ipv6() {
                        Ipv6Addr::LOCALHOST.into()
                    } else {
                        Ipv4Addr::LOCALHOST.into()
                    }
                }
                ip => ip,
            };
            (BrokerAddress { host: ip.to_string(), port: ours.address.port(), encrypted: false }, Some(ours.login))
        }
    };
    let pem = match &settings.ca {
        Some(path) => Some(std::fs::read(context.base_dir.join(path)).map_err(|error| failed(format!("ca {path}: {error}")))?),
        None => None,
    };
    let far = Far::new(&address, pem.as_deref(), login).map_err(|error| failed(format!("ca: {error}")))?;
    Ok(Arc::new(Mqtt {
        far: Far { keep_alive: settings.keep_alive, ..far },
        client_id: settings.client_id,
        prefix: settings.prefix,
        signing_key: settings.signing_key,
        manner: settings.manner,
        ack_within: settings.ack_within,
        timeout: settings.timeout,
        clock: context.clock,
        seed: context.seed,
        stop: CancellationToken::new(),
        tasks: TaskTracker::new(),
        commands: Mutex::default(),
        line: Arc::default(),
        name,
    }))
}

impl Mqtt {
    /// Publishes what one topic is to hear. `message` stands for all that share the topic.
    async fn publish(&self, topic: String, message: &Outgoing) -> Result<(), Failure> {
        let commands = self.commands.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let commands = commands.ok_or_else(|| failure(Class::Retry, "not-started", "the account has not been started"))?;
        if let Standing::Down { reason, ours } = &*commands.standing.borrow() {
            let class = if *ours { Class::Misconfigured } else { Class::Retry };
            return Err(failure(class, reason, "no connection to the broker"));
        }
        let now = self.clock.now();
        let left_s = message.facts.expires.since(now).as_secs();
        if left_s == 0 {
            return Err(failure(Class::Retry, "expired", "the alert has ended"));
        }
        let payload = self.payload(message, now)?;
        let properties = PublishProperties {
            payload_format_indicator: Some(1),
            message_expiry_interval: Some(u32::try_from(left_s).unwrap_or(u32::MAX)),
            content_type: Some("application/json".to_owned()),
            ..PublishProperties::default()
        };
        let options = PublishOptions::at_least_once().properties(properties);
        let deadline = tokio::time::Instant::now() + self.timeout;
        let queued = tokio::time::timeout_at(deadline, commands.client.publish_tracked(topic, payload, options)).await;
        let notice = match queued {
            // Nothing of it has left this process.
            Err(_) => return Err(failure(Class::Retry, "busy", "the connection did not take the publish in time")),
            Ok(Err(_)) => return Err(failure(Class::Retry, "not-connected", "the connection has ended")),
            Ok(Ok(notice)) => notice,
        };
        match tokio::time::timeout_at(deadline, notice.wait_async()).await {
            Err(_) => Err(failure(Class::Unknown, "timeout", "the broker did not acknowledge in time")),
            Ok(result) => acknowledged(result),
        }
    }

    fn payload(&self, message: &Outgoing, now: crate::time::Timestamp) -> Result<Vec<u8>, Failure> {
        let command = serde_json::to_vec(&command(message, self.manner, now))
            .map_err(|error| failure(Class::Reject, "bad-command", &error.to_string()))?;
        let payload = self.signing_key.as_ref().map_or_else(|| command.clone(), |key| jws::sign(&command, key));
        if payload.len() > PAYLOAD_BYTES_MAX { Err(failure(Class::Reject, "too-big", "the command is too long")) } else { Ok(payload) }
    }

    fn topic(&self, message: &Outgoing) -> Result<String, Failure> {
        match message.whole_area {
            Some(area) => Ok(format!("{}/area/{area}/cmd", self.prefix)),
            None if reports::is_id(&message.to) => Ok(format!("{}/speaker/{}/cmd", self.prefix, message.to)),
            None => Err(failure(Class::Reject, "bad-device-id", "the device id cannot stand in a topic")),
        }
    }

    /// One publish for each topic of the batch; one verdict for each message.
    async fn send_all(&self, batch: &[Outgoing]) -> Vec<Verdict> {
        let mut verdicts: Vec<Option<Verdict>> = vec![None; batch.len()];
        let mut topics: Vec<(String, Option<AreaCode>, Vec<usize>)> = Vec::new();
        for (place, message) in batch.iter().enumerate() {
            match self.topic(message) {
                Err(failure) => verdicts[place] = Some(Verdict::Failed(failure)),
                Ok(topic) => {
                    let same = |(_, area, places): &&mut (String, Option<AreaCode>, Vec<usize>)| {
                        area.is_some() && *area == message.whole_area && batch[places[0]].facts.alert == message.facts.alert
                    };
                    match topics.iter_mut().find(same) {
                        Some((_, _, places)) => places.push(place),
                        None => topics.push((topic, message.whole_area, vec![place])),
                    }
                }
            }
        }
        let publishes = topics.into_iter().map(|(topic, _, places)| async move {
            let result = self.publish(topic, &batch[places[0]]).await;
            (places, result)
        });
        let mut publishes: FuturesUnordered<_> = publishes.collect();
        while let Some((places, result)) = publishes.next().await {
            for place in places {
                verdicts[place] = Some(match &result {
                    Ok(()) => Verdict::Accepted { provider_ref: None },
                    Err(failure) => Verdict::Failed(failure.clone()),
                });
            }
        }
        let missing = || Verdict::Failed(failure(Class::Unknown, "no-verdict", "the publish ended without a verdict"));
        verdicts.into_iter().map(|verdict| verdict.unwrap_or_else(missing)).collect()
    }

    fn rng(&self, salt: u64) -> StdRng {
        StdRng::seed_from_u64(self.seed ^ salt)
    }

    fn open(&self, reports: ReportSink) -> Result<(), Failure> {
        let (commands_up, standing) = watch::channel(Standing::NOT_YET);
        let bad = |error: rumqttc::ClientBuildError| failure(Class::Misconfigured, "bad-options", &error.to_string());
        let (client, events) =
            AsyncClient::builder(self.far.passing(&format!("{}-out", self.client_id))).capacity(REQUESTS_MAX).try_build().map_err(bad)?;
        let (reader, incoming) =
            AsyncClient::builder(self.far.lasting(&self.client_id, 1)).capacity(REQUESTS_MAX).try_build().map_err(bad)?;
        let (reports_up, hearing) = watch::channel(Standing::NOT_YET);
        let listener = Listener {
            name: self.name.clone(),
            prefix: self.prefix.clone(),
            client: reader,
            upkeep: Upkeep::of(&self.name, &self.client_id, &self.far, reports_up, Backoff::new(self.rng(2))),
            sink: reports,
            clock: Arc::clone(&self.clock),
            strange: AtomicU64::new(0),
        };
        // A command whose acknowledgements nobody hears is wasted: we only count as connected when both lines stand.
        let (both_up, both) = watch::channel(Standing::NOT_YET);
        let commands = Upkeep::of(&self.name, &format!("{}-out", self.client_id), &self.far, commands_up, Backoff::new(self.rng(1)));
        self.spawn(commands.keep(events));
        self.spawn(listener.keep(incoming));
        self.spawn(lines::join(standing, hearing, both_up, Arc::clone(&self.line)));
        *self.commands.lock().unwrap_or_else(PoisonError::into_inner) = Some(Commands { client, standing: both });
        self.tasks.close();
        Ok(())
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(self.stop.clone().run_until_cancelled_owned(task));
    }
}

/// What the broker's answer to a publish means.
fn acknowledged(result: Result<PublishResult, PublishNoticeError>) -> Result<(), Failure> {
    match result {
        Ok(PublishResult::Qos1(ack)) => match ack.reason {
            PubAckReason::Success => Ok(()),
            PubAckReason::NoMatchingSubscribers => Err(failure(Class::Retry, "nobody-listens", "no speaker subscribes to the topic")),
            PubAckReason::NotAuthorized => Err(failure(Class::Misconfigured, "not-authorized", "the broker forbids us this topic")),
            PubAckReason::QuotaExceeded => Err(failure(Class::Throttled, "quota", "the broker's quota is used up")),
            PubAckReason::TopicNameInvalid | PubAckReason::PayloadFormatInvalid => {
                Err(failure(Class::Reject, "refused", "the broker takes neither this topic nor this payload"))
            }
            _ => Err(failure(Class::Retry, "broker-error", "the broker could not take the publish")),
        },
        Ok(_) => Err(failure(Class::Unknown, "protocol", "the broker answered at another quality")),
        // It was on its way when the connection broke: the speakers may have it.
        Err(_) => Err(failure(Class::Unknown, "lost", "the connection broke before the broker acknowledged")),
    }
}

fn failure(class: Class, reason: &'static str, detail: &str) -> Failure {
    Failure::new(class, super::answers::concerns(reason), reason, detail)
}

impl Channel for Mqtt {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> Kind {
        Kind::Speaker
    }

    fn reaches(&self) -> &[Reach] {
        &[Reach::Speakers]
    }

    fn form(&self) -> Form {
        Form::Speech { units_max: SPEECH_UNITS_MAX }
    }

    fn proof(&self) -> Proof {
        Proof::Report { within: self.ack_within }
    }

    fn batching(&self) -> Batching {
        Batching::WholeArea { max: BATCH_MAX }
    }

    fn send<'a>(&'a self, batch: &'a [Outgoing]) -> BoxFuture<'a, Vec<Verdict>> {
        Box::pin(self.send_all(batch))
    }

    fn receive(&self, _callback: &Callback) -> Result<Reception, Failure> {
        Err(failure(Class::Reject, "no-callbacks", "speakers report over their broker"))
    }

    fn start(&self, reports: ReportSink) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(std::future::ready(self.open(reports)))
    }

    fn line(&self) -> Option<Arc<Notify>> {
        Some(Arc::clone(&self.line))
    }

    fn stop(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            // Commands have their verdicts by now, and the broker keeps the session of the reports.
            self.commands.lock().unwrap_or_else(PoisonError::into_inner).take();
            self.stop.cancel();
            self.tasks.wait().await;
        })
    }
}
