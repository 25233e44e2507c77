//! Owns one account's pace and health: rate limit, breaker, parking. Refuses to know queues and alerts.
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

use super::pace::Pace;
use crate::channel::{Batching, Channel, Class, Common, Kind, Reach};

/// Failures in a row after which an account is taken for down.
const BREAKER_FAILURES: u32 = 5;
/// First pause of the breaker; it doubles up to the longest.
const BREAKER_FIRST: Duration = Duration::from_secs(2);
const BREAKER_LONGEST: Duration = Duration::from_secs(60);

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
    health: Mutex<Health>,
    in_flight: AtomicU32,
    /// How many reports of unknown messages may still be taken for ones that overtook their send: what is sent buys them.
    early_left: AtomicU32,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Health {
    failures_in_a_row: u32,
    pauses: u32,
    /// Until when nothing is handed to it, by a clock that does not jump.
    parked: Option<Instant>,
    /// Why, for the page and the metrics.
    pub(crate) trouble: Option<String>,
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

    pub(crate) fn health(&self) -> Health {
        self.locked().clone()
    }

    /// How long nothing may be handed to it yet.
    pub(crate) fn parked_for(&self) -> Option<Duration> {
        let now = Instant::now();
        self.locked().parked.filter(|&until| until > now).map(|until| until - now)
    }

    /// Answers whether it was in trouble until now.
    pub(crate) fn went_well(&self) -> bool {
        let mut health = self.locked();
        if health.failures_in_a_row == 0 && health.trouble.is_none() {
            return false;
        }
        std::mem::take(&mut *health).trouble.is_some()
    }

    /// Takes note of a failure; `true` when the account has just been parked, which is worth an alarm.
    pub(crate) fn went_wrong(&self, class: Class, reason: &str) -> bool {
        let now = Instant::now();
        let mut health = self.locked();
        let already = health.parked.is_some_and(|until| until > now);
        match class {
            Class::Misconfigured => {
                health.parked = Some(now + crate::delivery::retry::PARKED);
                health.trouble = Some(format!("misconfigured: {reason}"));
                !already
            }
            Class::Retry | Class::Unknown => {
                health.failures_in_a_row += 1;
                if health.failures_in_a_row < BREAKER_FAILURES || already {
                    return false;
                }
                let pause = BREAKER_FIRST.saturating_mul(1 << health.pauses.min(5)).min(BREAKER_LONGEST);
                health.pauses += 1;
                // After the pause one failure is enough to open it again.
                health.failures_in_a_row = BREAKER_FAILURES - 1;
                health.parked = Some(now + pause);
                health.trouble = Some(format!("down: {reason}"));
                true
            }
            Class::Throttled | Class::Reject | Class::OptedOut => false,
        }
    }

    fn locked(&self) -> MutexGuard<'_, Health> {
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
