//! Owns keeping the two connections of an account: the one that commands leave by, and the one that speakers' words come by.
//! Refuses to know what is published and what a report settles.
//! Invariant: why a connection does not stand is told once, in words that say what to do.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rumqttc::{AsyncClient, Event, EventLoop, Incoming, QoS, SubscribeReasonCode};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use super::{
    super::{
        line::{Backoff, Far, Standing, is_connack},
        reports,
    },
    News, ReportSink, SharedClock,
};
use crate::net::probe::{self, Stranger};

/// A connection that was let in and ends within this was pushed out by somebody.
const SHORT_LIVED: Duration = Duration::from_secs(10);
/// So many of them one after the other are no accident.
const PUSHED_OUT: u32 = 3;

/// What one connection needs beside its event loop.
pub(super) struct Upkeep {
    name: String,
    client_id: String,
    far: Far,
    pub(super) standing: watch::Sender<Standing>,
    backoff: Backoff,
    /// Since when it stands.
    since: Option<Instant>,
    short_lived: u32,
    /// What the broker is was asked already.
    was_asked: bool,
    /// What was said last of why it does not stand, so that a fight for a client id is no flood of lines.
    told: &'static str,
}

impl Upkeep {
    pub(super) fn of(name: &str, client_id: &str, far: &Far, standing: watch::Sender<Standing>, backoff: Backoff) -> Self {
        let (name, client_id, far) = (name.to_owned(), client_id.to_owned(), far.clone());
        Self { name, client_id, far, standing, backoff, since: None, short_lived: 0, was_asked: false, told: "" }
    }

    fn up(&mut self) {
        // Two that push each other out must not do so ten times a second.
        if self.short_lived == 0 {
            self.backoff.reset();
        }
        self.since = Some(Instant::now());
    }

    async fn pause(&mut self) {
        tokio::time::sleep(self.backoff.pause()).await;
    }

    /// Finds out why, and says it.
    async fn fell(&mut self, error: &rumqttc::ConnectionError) {
        let was_up = self.since.take();
        self.short_lived = if was_up.is_some_and(|since| since.elapsed() < SHORT_LIVED) { self.short_lived + 1 } else { 0 };
        let mut now = Standing::after(error);
        if self.short_lived >= PUSHED_OUT && !matches!(now, Standing::Down { ours: true, .. }) {
            now = Standing::TAKEN_OVER;
        }
        // Never let in, and no word why: it may not know our version of the protocol.
        let is_mute = matches!(now, Standing::Down { reason: "lost" | "timeout" | "connect", .. });
        if was_up.is_none() && is_mute && !self.was_asked && self.far.is_open().await {
            self.was_asked = true;
            if probe::ask(&self.far).await == Stranger::TooOld {
                now = Standing::TOO_OLD;
            }
        }
        if *self.standing.borrow() == Standing::TOO_OLD && is_mute {
            now = Standing::TOO_OLD;
        }
        if self.short_lived == 0 && was_up.is_some() {
            self.told = "";
        }
        self.tell(now, error);
    }

    fn tell(&mut self, now: Standing, error: &rumqttc::ConnectionError) {
        self.standing.send_replace(now.clone());
        let Standing::Down { reason, .. } = now else { return };
        let is_new = self.told != reason;
        self.told = reason;
        let (channel, client_id) = (&self.name, &self.client_id);
        match now {
            _ if !is_new => {}
            Standing::Down { reason: "client-id-taken", .. } => tracing::error!(
                %channel, client_id, %error,
                "somebody else uses our client id at the broker and pushes us out: is a second gateway, or a restored copy, running? \
                 Each needs a client_id of its own in its [channel] table"
            ),
            Standing::Down { reason: "protocol-version", .. } => tracing::error!(
                %channel, %error, "the broker does not know MQTT 5, which the gateway speaks: use mosquitto 1.6 or later, EMQX, or another broker of MQTT 5"
            ),
            standing => tracing::warn!(%channel, ?standing, %error, "no connection to the broker"),
        }
    }

    /// Drives the connection that commands leave by.
    pub(super) async fn keep(mut self, mut events: EventLoop) {
        loop {
            match events.poll().await {
                Ok(Event::Incoming(packet)) if is_connack(&packet) => {
                    self.up();
                    tracing::info!(channel = %self.name, "connected to the broker for commands");
                    self.standing.send_replace(Standing::Up);
                }
                Ok(_) => {}
                Err(error) => {
                    self.fell(&error).await;
                    // What was unacknowledged is told to its senders now, instead of being sent once more later by itself.
                    events.reset_session_state();
                    self.pause().await;
                }
            }
        }
    }
}

/// Up when both are up, else what ails the first that is down.
pub(super) async fn join(
    mut one: watch::Receiver<Standing>,
    mut other: watch::Receiver<Standing>,
    both: watch::Sender<Standing>,
    line: Arc<Notify>,
) {
    loop {
        let standing = match (&*one.borrow_and_update(), &*other.borrow_and_update()) {
            (Standing::Up, second) => second.clone(),
            (first, _) => first.clone(),
        };
        let is_up = standing == Standing::Up;
        if both.send_replace(standing) != Standing::Up && is_up {
            line.notify_one();
        }
        tokio::select! {
            changed = one.changed() => if changed.is_err() { return },
            changed = other.changed() => if changed.is_err() { return },
        }
    }
}

/// The connection that speakers' words come by.
pub(super) struct Listener {
    pub(super) name: String,
    pub(super) prefix: String,
    pub(super) client: AsyncClient,
    pub(super) upkeep: Upkeep,
    pub(super) sink: ReportSink,
    pub(super) clock: SharedClock,
    pub(super) strange: AtomicU64,
}

impl Listener {
    pub(super) async fn keep(mut self, mut events: EventLoop) {
        loop {
            match events.poll().await {
                Ok(Event::Incoming(packet)) => {
                    if is_connack(&packet) {
                        self.upkeep.up();
                    }
                    if self.hear(packet).await.is_err() {
                        // Whoever takes reports has ended; so do we.
                        return;
                    }
                }
                Ok(_) => {}
                Err(error) => {
                    self.upkeep.fell(&error).await;
                    self.upkeep.pause().await;
                }
            }
        }
    }

    async fn hear(&self, packet: Incoming) -> Result<(), SinkClosed> {
        match packet {
            // Also when the session was resumed: an earlier run may have died before it subscribed.
            Incoming::ConnAck(_) => self.subscribe(),
            Incoming::SubAck(ack) => {
                let refused = ack.return_codes.iter().any(|code| !matches!(code, SubscribeReasonCode::Success(_)));
                let standing = if refused { Standing::Down { reason: "not-authorized", ours: true } } else { Standing::Up };
                tracing::info!(channel = %self.name, ?standing, "subscribed to speakers' reports");
                self.upkeep.standing.send_replace(standing);
            }
            Incoming::Publish(publish) => match reports::read(&self.prefix, &publish.topic, &publish.payload, self.clock.now()) {
                // A full queue holds this connection, and so the broker keeps what is behind it.
                Ok(mut report) => {
                    if let News::Online { said_now, .. } = &mut report.news {
                        // What is retained was said some time before we came.
                        *said_now = !publish.retain;
                    }
                    self.sink.send(report).await.map_err(|_| SinkClosed)?;
                }
                Err(what) => {
                    let so_far = self.strange.fetch_add(1, Ordering::Relaxed) + 1;
                    // Powers of two: a broken device says the same thing every minute for years.
                    if so_far.is_power_of_two() {
                        tracing::warn!(channel = %self.name, what, so_far, "a speaker's message was not understood");
                    }
                }
            },
            _ => {}
        }
        Ok(())
    }

    fn subscribe(&self) {
        let filters = ["ack", "report", "status"]
            .map(|what| rumqttc::SubscribeFilterInput::new(format!("{}/speaker/+/{what}", self.prefix), QoS::AtLeastOnce));
        if let Err(error) = self.client.try_subscribe_many(filters) {
            tracing::error!(channel = %self.name, %error, "could not subscribe to speakers' reports");
        }
    }
}

struct SinkClosed;
