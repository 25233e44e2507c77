//! Owns the reference loudspeaker: a `Player` on an MQTT connection, with its retained status and its will.
//! Refuses to know how the gateway works; it is what a vendor's speaker has to do.
//! Invariant: an acknowledgement or report that the broker has not confirmed is sent again until it has.

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt as _, stream::FuturesUnordered};
use rand::{SeedableRng as _, rngs::StdRng};
use rumqttc::{
    AsyncClient, Event, EventLoop, Incoming, LastWill, LastWillProperties, PublishOptions, QoS, SubscribeFilterInput, SubscribeReasonCode,
};
use serde::Serialize;
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    broker::divisions,
    line::{Backoff, Far, is_connack},
    player::{Effect, Player, Voice},
    sound::{Ended, Sound},
    spent::Spent,
};
use crate::{
    area::AreaCode,
    time::{SharedClock, Timestamp},
};

/// Unconfirmed messages of one speaker; each warning makes three.
const WINDOW: u16 = 16;
/// Commands between the connection's task and the player.
const COMMANDS_MAX: usize = 32;
/// How often an idle speaker looks at what waits; also the longest it oversleeps after its clock was set.
const LOOK_EVERY: Duration = Duration::from_secs(30);

#[derive(Clone)]
pub struct DeviceConfig {
    pub id: String,
    /// Its own division; it listens to the topics of its village, township and county.
    pub area: AreaCode,
    pub far: Far,
    pub prefix: String,
    pub voice: Voice,
    pub firmware: String,
    /// How long the broker waits before it tells that the speaker is gone: a short gap in the network is no news.
    pub will_delay: Duration,
    /// Time between hearing a command and acknowledging it.
    pub ack_delay: Duration,
    /// Takes commands and says them, but never acknowledges or reports.
    pub mute: bool,
    pub clock: SharedClock,
    pub seed: u64,
    /// Shared by a fleet; each speaker adds to it.
    pub counts: Arc<Counts>,
    /// The shell's command line of the program that says a text; without one nothing is heard.
    pub program: Option<String>,
    /// Where the ids that it has heard are kept over a restart; in memory alone without it.
    pub memory: Option<PathBuf>,
    /// Who wants to see what it does.
    pub notices: Option<Notices>,
}

pub type Notices = Arc<dyn Fn(Notice<'_>) + Send + Sync>;

/// What a loudspeaker does, for whoever watches it.
#[derive(Clone, Copy, Debug)]
pub enum Notice<'a> {
    Connected,
    /// It tries again by itself.
    NoConnection(&'a rumqttc::ConnectionError),
    SubscriptionRefused,
    NotUnderstood,
    Acknowledged {
        msg_id: &'a str,
        state: &'a str,
        reason: Option<&'a str>,
    },
    Says {
        msg_id: &'a str,
        text: &'a str,
    },
    Reported {
        msg_id: &'a str,
        state: &'a str,
        error: Option<&'a str>,
        simulated: bool,
    },
}

/// What speakers have done, for whoever runs them.
#[derive(Debug, Default)]
pub struct Counts {
    pub connected: AtomicU64,
    pub accepted: AtomicU64,
    pub duplicates: AtomicU64,
    pub rejected: AtomicU64,
    pub played: AtomicU64,
    pub failed: AtomicU64,
    pub stopped: AtomicU64,
}

#[derive(Serialize)]
struct Health<'a> {
    online: bool,
    at: Timestamp,
    firmware: &'a str,
    volume: u8,
    battery: Option<u8>,
    playing: Option<&'a str>,
    /// It takes commands, but no sound is made.
    simulated: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    #[error("speaker {id}: the file of what it has heard, {}: {source}", path.display())]
    Memory { id: String, path: PathBuf, source: io::Error },
    #[error("speaker {id}: {source}")]
    Options { id: String, source: Box<rumqttc::ClientBuildError> },
}

/// Runs one loudspeaker until `shutdown`; it reconnects by itself.
pub async fn run(config: DeviceConfig, shutdown: CancellationToken) -> Result<(), DeviceError> {
    let mut options = config.far.lasting(&format!("speaker-{}", config.id), WINDOW);
    let will_properties = LastWillProperties {
        delay_interval: Some(u32::try_from(config.will_delay.as_secs()).unwrap_or(u32::MAX)),
        payload_format_indicator: None,
        message_expiry_interval: None,
        content_type: None,
        response_topic: None,
        correlation_data: None,
        user_properties: Vec::new(),
    };
    let topic = config.topic("status");
    let gone = config.health(false, config.voice.volume, None);
    options.set_last_will(LastWill::new(topic, gone, QoS::AtLeastOnce, true, Some(will_properties)));
    let source = |source| DeviceError::Options { id: config.id.clone(), source: Box::new(source) };
    let (client, events) = AsyncClient::builder(options).capacity(usize::from(WINDOW)).try_build().map_err(source)?;
    let (spent, ids) = match &config.memory {
        None => (None, Vec::new()),
        Some(path) => {
            let unreadable = |source| DeviceError::Memory { id: config.id.clone(), path: path.clone(), source };
            Spent::open(path).map(|(spent, ids)| (Some(spent), ids)).map_err(unreadable)?
        }
    };
    let (heard, commands) = mpsc::channel(COMMANDS_MAX);
    let (ended, endings) = mpsc::channel(COMMANDS_MAX);
    let line = Line { config: config.clone(), client: client.clone(), heard };
    let voice = Voice { by_program: config.program.is_some(), ..config.voice.clone() };
    let player = Player::new(voice, &config.id, config.area, ids);
    let sound = config.program.as_deref().map(|program| Sound::new(program, ended));
    let speaker = Speaker { player, sound, spent, config, client };
    // Both end together: the line when it is told to, the speaker when the line is gone.
    tokio::join!(line.keep(events, &shutdown), speaker.live(commands, endings, &shutdown));
    Ok(())
}

impl DeviceConfig {
    fn topic(&self, what: &str) -> String {
        format!("{}/speaker/{}/{what}", self.prefix, self.id)
    }

    fn health(&self, online: bool, volume: u8, playing: Option<&str>) -> Vec<u8> {
        let health = Health {
            online,
            at: self.clock.now(),
            firmware: &self.firmware,
            volume,
            battery: None,
            playing,
            simulated: self.program.is_none(),
        };
        serde_json::to_vec(&health).unwrap_or_default()
    }

    fn notice(&self, notice: Notice<'_>) {
        if let Some(notices) = &self.notices {
            notices(notice);
        }
    }

    fn filters(&self) -> Vec<SubscribeFilterInput> {
        let mut topics = vec![self.topic("cmd")];
        for division in divisions(self.area) {
            let topic = format!("{}/area/{division}/cmd", self.prefix);
            if !topics.contains(&topic) {
                topics.push(topic);
            }
        }
        topics.into_iter().map(|topic| SubscribeFilterInput::new(topic, QoS::AtLeastOnce)).collect()
    }
}

/// What the connection tells the speaker.
enum Heard {
    Connected,
    Command(bytes::Bytes),
}

struct Line {
    config: DeviceConfig,
    client: AsyncClient,
    heard: mpsc::Sender<Heard>,
}

impl Line {
    async fn keep(self, mut events: EventLoop, shutdown: &CancellationToken) {
        let mut backoff = Backoff::new(StdRng::seed_from_u64(self.config.seed));
        let mut connected = false;
        while let Some(event) = shutdown.run_until_cancelled(events.poll()).await {
            match event {
                Ok(Event::Incoming(packet)) => {
                    if is_connack(&packet) {
                        backoff.reset();
                        connected = true;
                        self.config.counts.connected.fetch_add(1, Ordering::Relaxed);
                        self.config.notice(Notice::Connected);
                    }
                    if self.pass_on(packet).await.is_err() {
                        break;
                    }
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!(speaker = %self.config.id, %error, "no connection to the broker");
                    self.config.notice(Notice::NoConnection(&error));
                    if std::mem::take(&mut connected) {
                        self.config.counts.connected.fetch_sub(1, Ordering::Relaxed);
                    }
                    shutdown.run_until_cancelled(tokio::time::sleep(backoff.pause())).await;
                }
            }
        }
        if connected {
            self.config.counts.connected.fetch_sub(1, Ordering::Relaxed);
        }
    }

    async fn pass_on(&self, packet: Incoming) -> Result<(), mpsc::error::SendError<Heard>> {
        match packet {
            Incoming::ConnAck(_) => {
                if let Err(error) = self.client.try_subscribe_many(self.config.filters()) {
                    tracing::warn!(speaker = %self.config.id, %error, "could not subscribe");
                }
                self.heard.send(Heard::Connected).await
            }
            Incoming::SubAck(ack) if ack.return_codes.iter().any(|code| !matches!(code, SubscribeReasonCode::Success(_))) => {
                tracing::warn!(speaker = %self.config.id, "the broker refuses a subscription: is this the area that the registry has?");
                self.config.notice(Notice::SubscriptionRefused);
                Ok(())
            }
            Incoming::Publish(publish) => self.heard.send(Heard::Command(publish.payload)).await,
            _ => Ok(()),
        }
    }
}

/// A message on its way to the broker, kept until it is confirmed.
struct Letter {
    topic: String,
    payload: Vec<u8>,
    retain: bool,
}

struct Speaker {
    player: Player,
    sound: Option<Sound>,
    spent: Option<Spent>,
    config: DeviceConfig,
    client: AsyncClient,
}

impl Speaker {
    async fn live(mut self, mut commands: mpsc::Receiver<Heard>, mut endings: mpsc::Receiver<Ended>, shutdown: &CancellationToken) {
        let mut letters = FuturesUnordered::new();
        loop {
            let now = self.player.time(self.config.clock.now());
            let wait = self.player.next_at().map_or(LOOK_EVERY, |at| at.since(now).min(LOOK_EVERY));
            tokio::select! {
                () = shutdown.cancelled() => return,
                heard = commands.recv() => {
                    let Some(heard) = heard else { return };
                    for letter in self.hear(heard) {
                        letters.push(post(self.client.clone(), letter, self.config.ack_delay));
                    }
                }
                Some(returned) = letters.next() => {
                    if let Some(letter) = returned {
                        letters.push(post(self.client.clone(), letter, Duration::ZERO));
                    }
                }
                Some(Ended { msg_id, error }) = endings.recv() => {
                    let effects = self.player.ended(&msg_id, error, self.config.clock.now());
                    for letter in self.letters(effects) {
                        letters.push(post(self.client.clone(), letter, Duration::ZERO));
                    }
                }
                () = tokio::time::sleep_until(Instant::now() + wait) => {
                    let effects = self.player.tick(self.config.clock.now());
                    for letter in self.letters(effects) {
                        letters.push(post(self.client.clone(), letter, Duration::ZERO));
                    }
                }
            }
        }
    }

    fn hear(&mut self, heard: Heard) -> Vec<Letter> {
        match heard {
            Heard::Connected => vec![self.health()],
            Heard::Command(payload) => match self.player.command(&payload, self.config.clock.now()) {
                Some(effects) => self.letters(effects),
                None => {
                    tracing::debug!(speaker = %self.config.id, "a command was not understood");
                    self.config.notice(Notice::NotUnderstood);
                    Vec::new()
                }
            },
        }
    }

    fn health(&self) -> Letter {
        let payload = self.config.health(true, self.player.volume(), self.player.playing());
        Letter { topic: self.config.topic("status"), payload, retain: true }
    }

    /// Does what the player decided; what is to be told of it comes back.
    fn letters(&mut self, effects: Vec<Effect>) -> Vec<Letter> {
        let mut letters = Vec::new();
        for effect in effects {
            self.config.counts.add(&effect);
            let (what, payload) = match effect {
                Effect::Spend(id) => {
                    self.keep(&id);
                    continue;
                }
                Effect::Say(speech) => {
                    self.config.notice(Notice::Says { msg_id: &speech.msg_id, text: &speech.text });
                    if let Some(sound) = &mut self.sound {
                        sound.say(speech);
                    }
                    continue;
                }
                Effect::Hush => {
                    if let Some(sound) = &mut self.sound {
                        sound.hush();
                    }
                    continue;
                }
                Effect::Ack(ack) => {
                    self.config.notice(Notice::Acknowledged { msg_id: &ack.msg_id, state: ack.state, reason: ack.reason });
                    ("ack", serde_json::to_vec(&ack))
                }
                Effect::Report(report) => {
                    let (msg_id, state, error) = (&report.msg_id, report.state, report.error);
                    self.config.notice(Notice::Reported { msg_id, state, error, simulated: report.simulated });
                    ("report", serde_json::to_vec(&report))
                }
            };
            letters.push(Letter { topic: self.config.topic(what), payload: payload.unwrap_or_default(), retain: false });
        }
        if self.config.mute { Vec::new() } else { letters }
    }

    /// A warning is said also when its id cannot be kept: twice is better than never.
    fn keep(&mut self, id: &str) {
        if let Some(spent) = &mut self.spent
            && let Err(error) = spent.keep(id)
        {
            tracing::error!(speaker = %self.config.id, %error, "what was heard cannot be kept: after a restart it could be said again");
        }
    }
}

/// Publishes a letter; gives it back when the broker did not confirm it.
async fn post(client: AsyncClient, letter: Letter, delay: Duration) -> Option<Letter> {
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    let options = PublishOptions::at_least_once().retain(letter.retain);
    let Ok(notice) = client.publish_tracked(letter.topic.clone(), letter.payload.clone(), options).await else { return None };
    match notice.wait_async().await {
        Ok(_) => None,
        // The event loop is gone; so is the speaker.
        Err(rumqttc::PublishNoticeError::Recv) => None,
        Err(_) => Some(letter),
    }
}

impl Counts {
    fn add(&self, effect: &Effect) {
        let counter = match effect {
            Effect::Ack(ack) => match ack.state {
                "accepted" => &self.accepted,
                "duplicate" => &self.duplicates,
                _ => &self.rejected,
            },
            Effect::Report(report) => match report.state {
                "played" => &self.played,
                "failed" => &self.failed,
                "stopped" => &self.stopped,
                _ => return,
            },
            Effect::Spend(_) | Effect::Say(_) | Effect::Hush => return,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// The numbers as they stand.
    pub fn snapshot(&self) -> FleetStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        FleetStats {
            connected: read(&self.connected),
            accepted: read(&self.accepted),
            duplicates: read(&self.duplicates),
            rejected: read(&self.rejected),
            played: read(&self.played),
            failed: read(&self.failed),
            stopped: read(&self.stopped),
        }
    }
}

/// `Counts` at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FleetStats {
    pub connected: u64,
    pub accepted: u64,
    pub duplicates: u64,
    pub rejected: u64,
    pub played: u64,
    pub failed: u64,
    pub stopped: u64,
}
