//! Owns the connection to the broker: subscribed, kept, begun anew with pauses; each message is acknowledged once it is done with.
//! Refuses to know what a message says.
//! Invariant: an acknowledgement leaves by the connection that its message came by, so it can never be taken for another's.

use std::{sync::Arc, time::Duration};

use rand::{SeedableRng as _, rngs::StdRng};
use rumqttc::{AsyncClient, Event, EventLoop, Incoming, Publish, QoS, SubscribeFilterInput, SubscribeReasonCode};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::answer::{Answerer, Turn};
use crate::{
    net::broker::{Backoff, Far, Standing},
    telemetry::{alarms::Alarms, metrics as meter},
    time::{SharedClock, Timestamp},
};

/// Messages that the broker may have given us without an acknowledgement; more wait there.
const AT_ONCE: u16 = 64;
/// WNM 1 allows 8,192 bytes; cap-composer puts whole documents into its own messages.
pub(super) const MESSAGE_BYTES_MAX: u32 = 256 * 1024;
/// Acknowledgements and one subscription.
const REQUESTS_MAX: usize = 256;
/// A broker answers a subscription within its connection's first seconds.
const SUBSCRIBED_WITHIN: Duration = Duration::from_secs(30);
/// A connection that held for less does not prove that the next try may be at once: two clients of one name throw each other out.
const PROVEN_AFTER: Duration = Duration::from_secs(60);

pub(super) struct Subscription {
    pub(super) name: String,
    pub(super) far: Far,
    pub(super) client_id: String,
    pub(super) topics: Vec<String>,
    pub(super) alarm_after: Duration,
    pub(super) answerer: Arc<Answerer>,
    pub(super) clock: SharedClock,
    pub(super) alarms: Alarms,
    pub(super) stop: CancellationToken,
}

/// A message, and whether it will be done with.
type Begun = (Publish, JoinHandle<bool>);

impl Subscription {
    /// Runs until it is stopped.
    pub(super) async fn keep(self) {
        let mut backoff = Backoff::new(StdRng::from_rng(&mut rand::rng()));
        let mut outage = Outage { since: self.clock.now(), is_told: false, was: None };
        meter::inlet_up(&self.name, false);
        while !self.stop.is_cancelled() {
            let began = self.clock.now();
            let Some(standing) = self.once(&mut outage).await else { break };
            if self.clock.now().since(began) >= PROVEN_AFTER {
                backoff.reset();
            }
            self.tell(&standing, &mut outage);
            if self.stop.run_until_cancelled(tokio::time::sleep(backoff.pause())).await.is_none() {
                break;
            }
        }
        meter::inlet_up(&self.name, false);
    }

    /// One connection, from its beginning to its end; `None` when it was we who ended it.
    async fn once(&self, outage: &mut Outage) -> Option<Standing> {
        // A client of its own for each connection: what an old one still had to acknowledge bears numbers that are used anew.
        let options = self.far.receiving(&self.client_id, AT_ONCE, MESSAGE_BYTES_MAX);
        let (client, events) = match AsyncClient::builder(options).capacity(REQUESTS_MAX).try_build() {
            Ok(built) => built,
            Err(error) => {
                tracing::error!(inlet = self.name, %error, "no client can be made of these settings");
                return Some(Standing::Down { reason: "bad-options", ours: true });
            }
        };
        let (begun, queue) = mpsc::channel(usize::from(AT_ONCE) * 2);
        let ended = self.stop.child_token();
        let answering = tokio::spawn(acknowledge(queue, client.clone(), ended.clone(), self.alarms.clone()));
        let standing = ended.run_until_cancelled(Box::pin(self.listen(&client, events, &begun, &ended, outage))).await;
        let standing = standing.or_else(|| (!self.stop.is_cancelled()).then_some(Standing::Down { reason: "interrupted", ours: false }));
        ended.cancel();
        drop(begun);
        // What is with the gateway this moment gets its answer; cut short, an alert could be taken and not sent.
        if let Err(error) = answering.await {
            tracing::error!(inlet = self.name, %error, "answering a message failed");
        }
        standing
    }

    async fn listen(
        &self,
        client: &AsyncClient,
        mut events: EventLoop,
        begun: &mpsc::Sender<Begun>,
        ended: &CancellationToken,
        outage: &mut Outage,
    ) -> Standing {
        let (mut is_subscribed, mut turn) = (false, Turn::first());
        let by = tokio::time::Instant::now() + SUBSCRIBED_WITHIN;
        loop {
            let polled = if is_subscribed { Ok(events.poll().await) } else { tokio::time::timeout_at(by, events.poll()).await };
            let packet = match polled {
                Err(_) => return Standing::Down { reason: "no-answer", ours: false },
                Ok(Err(error)) => return Standing::after(&error),
                Ok(Ok(Event::Incoming(packet))) => packet,
                Ok(Ok(_)) => continue,
            };
            match packet {
                // Also when the session was resumed: the topics of the configuration may be new.
                Incoming::ConnAck(_) if client.try_subscribe_many(self.filters()).is_err() => {
                    return Standing::Down { reason: "busy", ours: false };
                }
                Incoming::SubAck(ack) => {
                    if ack.return_codes.iter().any(|code| !matches!(code, SubscribeReasonCode::Success(_))) {
                        return Standing::Down { reason: "not-authorized", ours: true };
                    }
                    is_subscribed = true;
                    self.up(outage);
                }
                Incoming::Publish(publish) => {
                    let answer = self.answerer.begin(publish.payload.clone(), turn.clone(), ended.clone());
                    turn = turn.next();
                    // Twice what the broker may send at once fits in: one that sends more is begun with anew.
                    if begun.try_send((publish, answer)).is_err() {
                        return Standing::Down { reason: "too-many-at-once", ours: false };
                    }
                }
                Incoming::Disconnect(_) => return Standing::Down { reason: "sent-away", ours: false },
                _ => {}
            }
        }
    }

    fn filters(&self) -> Vec<SubscribeFilterInput> {
        self.topics.iter().map(|topic| SubscribeFilterInput::new(topic.clone(), QoS::AtLeastOnce)).collect()
    }

    fn up(&self, outage: &mut Outage) {
        tracing::info!(inlet = self.name, topics = ?self.topics, "subscribed at the broker");
        meter::inlet_up(&self.name, true);
        if outage.is_told {
            self.alarms.end("inlet-unreachable", &self.name);
        }
        (outage.was, outage.is_told) = (None, false);
    }

    /// The connection is down; beyond a while, or when waiting will not mend it, a person must look.
    fn tell(&self, standing: &Standing, outage: &mut Outage) {
        let now = self.clock.now();
        meter::inlet_up(&self.name, false);
        if outage.was.is_none() {
            outage.since = now;
        }
        if outage.was.as_ref() != Some(standing) {
            tracing::warn!(inlet = self.name, ?standing, "no connection to the broker");
            outage.was = Some(standing.clone());
        }
        let is_ours = matches!(standing, Standing::Down { ours: true, .. });
        if !outage.is_told && (is_ours || now.since(outage.since) >= self.alarm_after) {
            outage.is_told = true;
            self.alarms.raise("inlet-unreachable", &self.name, format!("{standing:?}"));
            tracing::error!(inlet = self.name, ?standing, since = %outage.since, "the broker stays away: warnings do not come in by it");
        }
    }
}

struct Outage {
    since: Timestamp,
    is_told: bool,
    was: Option<Standing>,
}

/// Acknowledges what is done with, in the order of arrival, which is the order that acknowledgements must have (MQTT 5 §4.6).
async fn acknowledge(mut queue: mpsc::Receiver<Begun>, client: AsyncClient, ended: CancellationToken, alarms: Alarms) {
    while let Some((publish, answer)) = queue.recv().await {
        let is_done = answer.await.unwrap_or_else(|error| {
            // Acknowledged all the same: it would fell every further connection too.
            alarms.raise("inlet-message-failed", "", error.to_string());
            tracing::error!(%error, "a message could not be dealt with at all");
            true
        });
        // Without an acknowledgement it comes again with the next connection; those behind it end first what they have begun.
        if !is_done || ended.is_cancelled() || client.ack(&publish).await.is_err() {
            ended.cancel();
        }
    }
}
