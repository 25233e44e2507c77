//! Owns one account's pace and health: rate limit, breaker, parking. Refuses to know queues and alerts.
//! Invariant: a token is taken before work is leased, so nobody sleeps holding work; a misconfigured account burns no delivery.

use std::{
    num::NonZeroU32,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use governor::{
    Quota, RateLimiter,
    clock::Clock,
    middleware::NoOpMiddleware,
    state::{InMemoryState, NotKeyed},
};
use tokio::time::Instant;

use crate::{
    channel::{Batching, Channel, Class, Common, Kind, Reach},
    time::Timestamp,
};

/// Failures in a row after which an account is taken for down.
const BREAKER_FAILURES: u32 = 5;
/// First pause of the breaker; it doubles up to the longest.
const BREAKER_FIRST: Duration = Duration::from_secs(2);
const BREAKER_LONGEST: Duration = Duration::from_secs(60);

/// A timer wakes by the millisecond at best: of a faster pace, what falls due within two goes together.
const WAKES_A_SECOND: u32 = 500;

/// The time that timers go by.
#[derive(Clone, Copy, Debug)]
struct TimerClock(Instant);

impl Clock for TimerClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

type Limiter = RateLimiter<NotKeyed, InMemoryState, TimerClock, NoOpMiddleware<Duration>>;

pub(crate) struct Account {
    /// Place in the engine's list; what `queue::For` means.
    pub(crate) number: u8,
    pub(crate) channel: Arc<dyn Channel>,
    pub(crate) common: Common,
    limits: Vec<Limiter>,
    /// The same limits at the far end's door: leases wait for commits and for slow answers, and must not arrive in a bunch.
    doors: Vec<Limiter>,
    health: Mutex<Health>,
    in_flight: AtomicU32,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Health {
    failures_in_a_row: u32,
    pauses: u32,
    /// Until when nothing is handed to it.
    pub(crate) parked_until: Option<Timestamp>,
    /// Why, for the page and the metrics.
    pub(crate) trouble: Option<String>,
}

impl Account {
    pub(crate) fn new(number: u8, channel: Arc<dyn Channel>, common: Common) -> Self {
        let finest = common.per_second.unwrap_or(0) / WAKES_A_SECOND;
        let burst = common.burst.map(|burst| burst.max(finest)).and_then(NonZeroU32::new);
        // Without a stated burst a second's worth may go at once, or one message where the far end counts by the minute.
        let per_second = common.per_second.and_then(NonZeroU32::new).map(|rate| Quota::per_second(rate).allow_burst(burst.unwrap_or(rate)));
        let per_minute = common.per_minute.and_then(NonZeroU32::new).map(|rate| Quota::per_minute(rate).allow_burst(burst.unwrap_or(rate)));
        let clock = TimerClock(Instant::now());
        let quotas: Vec<Quota> = per_second.into_iter().chain(per_minute).collect();
        let limiters = || quotas.iter().map(|&quota| RateLimiter::direct_with_clock(quota, clock)).collect();
        Self { number, channel, common, limits: limiters(), doors: limiters(), health: Mutex::default(), in_flight: AtomicU32::new(0) }
    }

    pub(crate) fn name(&self) -> &str {
        self.channel.name()
    }

    /// Waits for one token of every limit, then takes as many more as there are, up to `most`.
    pub(crate) async fn tokens(&self, most: u32) -> u32 {
        if self.limits.is_empty() {
            return most;
        }
        for limit in &self.limits {
            one_token(limit).await;
        }
        let mut taken = 1;
        while taken < most && self.limits.iter().all(|limit| limit.check().is_ok()) {
            taken += 1;
        }
        taken
    }

    /// Waits until a group may be handed over now. Its messages were allowed when they were leased, so the wait is short and bounded.
    pub(crate) async fn pass(&self, messages: usize) {
        let counted = if matches!(self.channel.batching(), Batching::WholeArea { .. }) { 1 } else { messages };
        for door in &self.doors {
            for _ in 0..counted {
                one_token(door).await;
            }
        }
    }

    pub(crate) fn begin(&self, messages: u32) {
        self.in_flight.fetch_add(messages, Ordering::Relaxed);
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

    /// Whether work may be handed to it now; otherwise when to look again.
    pub(crate) fn parked_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.locked().parked_until.filter(|&until| until > now)
    }

    pub(crate) fn went_well(&self) {
        let mut health = self.locked();
        if health.failures_in_a_row > 0 || health.trouble.is_some() {
            *health = Health::default();
        }
    }

    /// Takes note of a failure; `true` when the account has just been parked, which is worth an alarm.
    pub(crate) fn went_wrong(&self, class: Class, reason: &str, now: Timestamp) -> bool {
        let mut health = self.locked();
        let already = health.parked_until.is_some_and(|until| until > now);
        match class {
            Class::Misconfigured => {
                health.parked_until = Some(now.plus(crate::delivery::retry::PARKED));
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
                health.parked_until = Some(now.plus(pause));
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

async fn one_token(limit: &Limiter) {
    while let Err(early) = limit.check() {
        tokio::time::sleep(early.wait_time_from(limit.clock().now())).await;
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
