//! Owns one account as the engine has it: its pace, its door, its health. Refuses to know queues and alerts.
//! Invariant: a token is taken before work is leased, so nobody sleeps holding work; a misconfigured account burns no delivery.

use std::{
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use super::{
    health::{Health, Heard, Held, Recovery, Who},
    pace::Pace,
};
use crate::{
    channel::{Batching, Channel, Common, Failure, Kind, Reach},
    delivery::retry::Trust,
};

/// Reports that may come before anything was sent: the last run's, after a crash.
const EARLY_AT_START: u32 = 10_000;
/// Reports that one message may have before its send has returned (taken, buffered, delivered), and those of a far end that says each twice.
const EARLY_OF_EACH: u32 = 6;
/// As many as wait in all, ten times over.
const EARLY_MAX: u32 = 100_000;

pub(crate) struct Account {
    /// Place in the engine's list; what `queue::For` means.
    pub(crate) number: u8,
    pub(crate) channel: Arc<dyn Channel>,
    pub(crate) common: Common,
    pace: Mutex<Pace>,
    /// Rung when tokens were given back: the other hand may be waiting for the next.
    returned: Notify,
    /// The same at the far end's door: leases wait for commits and for slow answers, and must not arrive in a bunch.
    door: Mutex<Pace>,
    /// As it answers at once, and as it reports later (`Heard`).
    health: Mutex<[Health; 2]>,
    in_flight: AtomicU32,
    /// How many reports of unknown messages may still be taken for ones that overtook their send: what is sent buys them.
    early_left: AtomicU32,
}

impl Account {
    pub(crate) fn new(number: u8, channel: Arc<dyn Channel>, common: Common) -> Self {
        let now = Instant::now();
        let [pace, door] = [(), ()].map(|()| Mutex::new(Pace::new(&common, now)));
        let (health, in_flight, early_left) = (Mutex::default(), AtomicU32::new(0), AtomicU32::new(EARLY_AT_START));
        Self { number, channel, common, pace, returned: Notify::new(), door, health, in_flight, early_left }
    }

    pub(crate) fn name(&self) -> &str {
        self.channel.name()
    }

    /// Waits until one message may go; answers how many may at once, up to `most`.
    pub(crate) async fn tokens(&self, most: u32) -> u32 {
        loop {
            let mut returned = pin!(self.returned.notified());
            // Before looking, so that what is given back meanwhile is not missed.
            returned.as_mut().enable();
            let taken = self.paced().take(most, Instant::now());
            match taken {
                Ok(tokens) => return tokens,
                // Looked at anew either way.
                Err(wait) => tokio::select! {
                    biased;
                    () = returned => {}
                    () = tokio::time::sleep(wait) => {}
                },
            }
        }
    }

    /// Tokens that found no work: the far end would otherwise get less than it may, or later more.
    pub(crate) fn give_back(&self, tokens: u32) {
        if tokens > 0 {
            self.paced().give_back(tokens);
            self.returned.notify_waiters();
        }
    }

    fn paced(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().expect("no code panics while it holds an account's pace")
    }

    /// Waits until a group may be handed over now. Its messages were allowed when they were leased, so the wait is short and bounded.
    pub(crate) async fn pass(&self, messages: usize) {
        let counted = if matches!(self.channel.batching(), Batching::WholeArea { .. }) { 1 } else { messages };
        let mut left = u32::try_from(counted).unwrap_or(u32::MAX);
        while left > 0 {
            let passed = self.door.lock().expect("no code panics while it holds an account's door").take(left, Instant::now());
            match passed {
                Ok(passed) => left = left.saturating_sub(passed),
                Err(wait) => tokio::time::sleep(wait).await,
            }
        }
    }

    pub(crate) fn begin(&self, messages: u32) {
        self.in_flight.fetch_add(messages, Ordering::Relaxed);
        let more = messages.saturating_mul(EARLY_OF_EACH);
        self.early_left.update(Ordering::Relaxed, Ordering::Relaxed, |left| left.saturating_add(more).min(EARLY_MAX));
    }

    /// Whether one more report of a message that nobody knows may be of one whose send has not returned.
    pub(crate) fn may_be_early(&self) -> bool {
        self.early_left.try_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }

    pub(crate) fn end(&self, messages: u32) {
        self.in_flight.fetch_sub(messages, Ordering::Relaxed);
    }

    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Why it is in trouble, if it is.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.locked().iter().find_map(|health| health.trouble.clone())
    }

    /// How long nothing may be handed to it yet.
    pub(crate) fn parked_for(&self) -> Option<Duration> {
        let now = Instant::now();
        self.locked().iter().filter_map(|health| health.parked_for(now)).max()
    }

    pub(crate) fn went_well(&self, heard: Heard) -> Recovery {
        self.locked()[heard as usize].went_well()
    }

    /// Whether it has taken anything since the start.
    pub(crate) fn has_taken(&self, heard: Heard) -> bool {
        self.locked()[heard as usize].has_taken
    }

    /// Takes note of a failure; the kind of alarm when the account has just been parked.
    pub(crate) fn went_wrong(&self, heard: Heard, failure: &Failure) -> Option<&'static str> {
        self.locked()[heard as usize].went_wrong(failure, Instant::now())
    }

    /// As `Health::refuses`.
    pub(crate) fn refuses(&self, heard: Heard, who: Who, held: Option<Held>, failure: &Failure, may_park: bool) -> (Trust, bool) {
        self.locked()[heard as usize].refuses(who, held, failure, may_park, Instant::now())
    }

    /// As `Health::acquit`.
    pub(crate) fn acquit(&self, heard: Heard, who: Who) -> bool {
        self.locked()[heard as usize].acquit(who)
    }

    /// Whether one message may look whether the far end is well again, though its pause is not over.
    pub(crate) fn may_look_in(&self) -> bool {
        let now = Instant::now();
        self.locked().iter().filter(|health| health.parked_for(now).is_some()).all(|health| health.may_look_in(now))
    }

    pub(crate) fn looks_in(&self) {
        let now = Instant::now();
        self.locked().iter_mut().for_each(|health| health.looks_in(now));
    }

    pub(crate) fn came_back(&self) {
        self.locked().iter_mut().for_each(Health::came_back);
    }

    fn locked(&self) -> MutexGuard<'_, [Health; 2]> {
        self.health.lock().expect("no code panics while it holds an account's health")
    }
}

/// Word of the route that serves this kind of channel by this reach; kept in plans, so its form never changes.
pub(crate) fn route_word(kind: Kind, reach: Reach) -> String {
    match reach {
        Reach::People(address) => format!("{}/{address}", kind.name()),
        Reach::Speakers => format!("{}/device", kind.name()),
        Reach::Endpoints(endpoint) => format!("{}/endpoint:{endpoint}", kind.name()),
    }
}
