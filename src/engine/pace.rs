//! Owns how fast one account may send: its rates, kept by the generic cell rate algorithm (ITU-T I.371), all of them together.
//! Refuses to know accounts and queues; pure, the time comes in. Invariant: in any span of time no more messages get leave than the span's
//! share of the rate and one burst; leave is given by all rates or by none, so that a slower one wastes nothing of a faster one.

use std::time::Duration;

use tokio::time::Instant;

use crate::channel::Common;

/// Without a stated burst this part of a second's worth may go at once: a far end that counts by the second or by the minute sees a tenth,
/// or a six-hundredth, more than its rate, and a commit that takes long costs nothing of it.
const BURST_PARTS: u32 = 10;
/// A timer wakes by the millisecond at best: of a faster pace, what falls due within two goes together whatever burst is stated.
const WAKES_A_SECOND: u32 = 500;

const SECOND_NS: u128 = 1_000_000_000;

#[derive(Debug)]
pub(crate) struct Pace {
    start: Instant,
    limits: Vec<Limit>,
}

/// One rate. Its time is counted in units of which `per_ns` pass in a nanosecond, so that a message costs a whole number of them.
#[derive(Debug)]
struct Limit {
    per_ns: u128,
    cost: u128,
    burst: u128,
    /// When, by the rate, the next message after those that got leave would be due.
    due: u128,
}

impl Pace {
    pub(crate) fn new(common: &Common, now: Instant) -> Self {
        let second = common.per_second.map(|rate| Limit::new(rate, SECOND_NS, common.burst, rate));
        let minute = common.per_minute.map(|rate| Limit::new(rate, 60 * SECOND_NS, common.burst, rate / 60));
        Self { start: now, limits: second.into_iter().chain(minute).collect() }
    }

    /// Leave for up to `most` messages, and for one at least; or how long to wait for it.
    pub(crate) fn take(&mut self, most: u32, now: Instant) -> Result<u32, Duration> {
        let now_ns = now.duration_since(self.start).as_nanos();
        let ready = self.limits.iter().map(|limit| limit.ready(now_ns)).fold(u128::from(most.max(1)), u128::min);
        if ready == 0 {
            let wait_ns = self.limits.iter().map(|limit| limit.wait_ns(now_ns)).max().unwrap_or(0);
            return Err(Duration::from_nanos(u64::try_from(wait_ns).unwrap_or(u64::MAX)));
        }
        self.limits.iter_mut().for_each(|limit| limit.due = limit.due.max(now_ns * limit.per_ns) + ready * limit.cost);
        Ok(u32::try_from(ready).unwrap_or(most))
    }

    /// What was taken last and not used: as if it had not been taken.
    pub(crate) fn give_back(&mut self, messages: u32) {
        self.limits.iter_mut().for_each(|limit| limit.due = limit.due.saturating_sub(u128::from(messages) * limit.cost));
    }
}

impl Limit {
    fn new(rate: u32, period_ns: u128, burst: Option<u32>, a_second: u32) -> Self {
        let burst = burst.unwrap_or(a_second / BURST_PARTS).max(a_second / WAKES_A_SECOND).max(1);
        Self { per_ns: rate.max(1).into(), cost: period_ns, burst: burst.into(), due: 0 }
    }

    fn ready(&self, now_ns: u128) -> u128 {
        let now = now_ns * self.per_ns;
        (now + self.burst * self.cost).saturating_sub(self.due.max(now)) / self.cost
    }

    /// Until one message conforms.
    fn wait_ns(&self, now_ns: u128) -> u128 {
        let at = (self.due + self.cost).saturating_sub(self.burst * self.cost);
        at.saturating_sub(now_ns * self.per_ns).div_ceil(self.per_ns)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn common(per_second: Option<u32>, per_minute: Option<u32>, burst: Option<u32>) -> Common {
        let second = Duration::from_secs(1);
        Common { priority: 1, per_second, per_minute, burst, concurrency: 1, timeout: second, retry: vec![second] }
    }

    /// Leaves by the nanosecond from a sender that always wants more and takes `pause_ms` between two takes.
    fn run(common: &Common, most: u32, pauses_ms: &[u64], span: Duration) -> Vec<(Duration, u32)> {
        let start = Instant::now();
        let (mut pace, mut at, mut given, mut pauses) = (Pace::new(common, start), Duration::ZERO, Vec::new(), pauses_ms.iter().cycle());
        while at < span {
            match pace.take(most, start + at) {
                Ok(count) => {
                    given.push((at, count));
                    at += Duration::from_millis(*pauses.next().expect("pauses go round"));
                }
                // Timers of the runtime wake at the next whole millisecond.
                Err(wait) => at = Duration::from_millis(u64::try_from((at + wait).as_nanos().div_ceil(1_000_000)).expect("short")),
            }
        }
        given
    }

    /// The most that got leave in any span of this length.
    fn most_within(given: &[(Duration, u32)], span: Duration) -> u32 {
        let (mut last, mut within, mut most) = (0, 0, 0);
        for (nth, (from, _)) in given.iter().enumerate() {
            while let Some((_, count)) = given.get(last).filter(|(at, _)| *at <= *from + span) {
                within += count;
                last += 1;
            }
            most = most.max(within);
            within -= given[nth].1;
        }
        most
    }

    fn total(given: &[(Duration, u32)]) -> u32 {
        given.iter().map(|(_, count)| count).sum()
    }

    fn rates() -> impl Strategy<Value = (Option<u32>, Option<u32>, Option<u32>)> {
        let second = prop::option::of(prop_oneof![1..20_u32, 20..5_000_u32]);
        let minute = prop::option::of(prop_oneof![1..100_u32, 100..200_000_u32]);
        (second, minute, prop::option::of(1..300_u32)).prop_filter("a rate", |(second, minute, _)| second.is_some() || minute.is_some())
    }

    proptest! {
        #[test]
        fn no_span_of_time_sees_more_than_its_share_and_a_burst(
            (per_second, per_minute, burst) in rates(),
            most in 1..2_048_u32,
            pauses in prop::collection::vec(prop_oneof![8 => 0..9_u64, 1 => 0..400_u64], 1..20),
            span_ms in 0..8_000_u64,
        ) {
            let given = run(&common(per_second, per_minute, burst), most, &pauses, Duration::from_secs(9));
            let sent = u64::from(most_within(&given, Duration::from_millis(span_ms)));
            for (rate, period_ms, a_second) in [(per_second, 1_000, per_second), (per_minute, 60_000, per_minute.map(|rate| rate / 60))] {
                let (Some(rate), Some(a_second)) = (rate, a_second) else { continue };
                let burst = burst.unwrap_or(a_second / BURST_PARTS).max(a_second / WAKES_A_SECOND).max(1);
                let allowed = u64::from(burst) + u64::from(rate) * span_ms / period_ms;
                prop_assert!(sent <= allowed, "{sent} within {span_ms} ms where {allowed} may go");
            }
        }

        /// With a sender that is never later than half a burst, the slowest rate is kept to one in a hundred.
        #[test]
        fn the_slowest_rate_is_used_up(second in 20..2_000_u32, minute in 600..200_000_u32, most in 1..300_u32) {
            let given = run(&common(Some(second), Some(minute), None), most, &[0, 1, 4], Duration::from_secs(60));
            let per_minute = u64::from(minute.min(60 * second));
            let tenth = u64::from(second.max(minute / 60)).div_ceil(10) + 1;
            let sent = u64::from(total(&given));
            let fast_enough = u64::from(most) * 1_000 / 5 * 60 > per_minute;
            prop_assume!(fast_enough && per_minute / 60 / u64::from(BURST_PARTS) > 1);
            prop_assert!(sent * 100 >= per_minute * 99 && sent <= per_minute + tenth, "{sent} of {per_minute} in a minute");
        }
    }

    #[test]
    fn what_was_not_used_is_as_if_it_had_not_been_taken() {
        let start = Instant::now();
        let mut pace = Pace::new(&common(Some(10), None, Some(5)), start);
        assert_eq!(pace.take(3, start), Ok(3));
        pace.give_back(2);
        assert_eq!(pace.take(9, start), Ok(4));
        assert_eq!(pace.take(9, start), Err(Duration::from_millis(100)));
        assert_eq!(pace.take(9, start + Duration::from_millis(250)), Ok(2));
    }

    #[test]
    fn without_a_rate_everything_has_leave() {
        let start = Instant::now();
        assert_eq!(Pace::new(&common(None, None, None), start).take(2_048, start), Ok(2_048));
    }
}
