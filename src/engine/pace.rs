//! Owns how fast one account may send: its rates, kept by the generic cell rate algorithm (ITU-T I.371), all of them together.
//! Refuses to know accounts and queues; pure, the time comes in. Invariant: in any span of time no more messages get leave than the span's
//! share of the rate and one burst, and in none of the rate's own length more than the rate, unless a burst on top of it was asked for;
//! leave is given by all rates or by none, so that a slower one wastes nothing of a faster one.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

use crate::channel::Common;

/// Without a stated burst this part of a second's worth may go at once, so that a commit that takes long costs nothing of the rate. A far end
/// that counts by the second or by the minute sees its rate all the same: what went within that time is counted as well.
const BURST_PARTS: u32 = 10;
/// What goes within this part of the time that is counted is kept as one: it bounds the memory, and costs as little of the rate.
const WINDOW_PARTS: u128 = 256;
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
    /// Absent where a burst on top of the rate was asked for.
    window: Option<Window>,
}

/// What got leave within the time that the rate counts.
#[derive(Debug)]
struct Window {
    span_ns: u128,
    most: u128,
    taken: VecDeque<Bunch>,
    within: u128,
}

#[derive(Debug)]
struct Bunch {
    first_ns: u128,
    last_ns: u128,
    count: u128,
}

impl Window {
    fn room(&mut self, now_ns: u128) -> u128 {
        while let Some(gone) = self.taken.pop_front_if(|bunch| bunch.last_ns + self.span_ns <= now_ns) {
            self.within -= gone.count;
        }
        self.most.saturating_sub(self.within)
    }

    fn take(&mut self, count: u128, now_ns: u128) {
        self.within += count;
        match self.taken.back_mut().filter(|bunch| now_ns < bunch.first_ns + self.span_ns / WINDOW_PARTS) {
            Some(bunch) => (bunch.last_ns, bunch.count) = (now_ns, bunch.count + count),
            None => self.taken.push_back(Bunch { first_ns: now_ns, last_ns: now_ns, count }),
        }
    }

    fn give_back(&mut self, count: u128) {
        let mut left = count;
        while let Some(bunch) = self.taken.back_mut().filter(|_| left > 0) {
            let back = bunch.count.min(left);
            (bunch.count, self.within, left) = (bunch.count - back, self.within - back, left - back);
            if bunch.count == 0 {
                self.taken.pop_back();
            }
        }
    }

    /// Until there is room for one.
    fn wait_ns(&self, now_ns: u128) -> u128 {
        let oldest = self.taken.front().filter(|_| self.within >= self.most);
        oldest.map_or(0, |bunch| (bunch.last_ns + self.span_ns).saturating_sub(now_ns))
    }
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
        let ready = self.limits.iter_mut().map(|limit| limit.ready(now_ns)).fold(u128::from(most.max(1)), u128::min);
        if ready == 0 {
            let wait_ns = self.limits.iter().map(|limit| limit.wait_ns(now_ns)).max().unwrap_or(0);
            return Err(Duration::from_nanos(u64::try_from(wait_ns).unwrap_or(u64::MAX)));
        }
        self.limits.iter_mut().for_each(|limit| limit.take(ready, now_ns));
        Ok(u32::try_from(ready).unwrap_or(most))
    }

    /// What was taken last and not used: as if it had not been taken.
    pub(crate) fn give_back(&mut self, messages: u32) {
        self.limits.iter_mut().for_each(|limit| limit.give_back(messages.into()));
    }
}

impl Limit {
    fn new(rate: u32, period_ns: u128, burst: Option<u32>, a_second: u32) -> Self {
        let window = Window { span_ns: period_ns, most: rate.max(1).into(), taken: VecDeque::new(), within: 0 };
        let window = burst.is_none().then_some(window);
        let burst = burst.unwrap_or(a_second / BURST_PARTS).max(a_second / WAKES_A_SECOND).max(1);
        Self { per_ns: rate.max(1).into(), cost: period_ns, burst: burst.into(), due: 0, window }
    }

    fn ready(&mut self, now_ns: u128) -> u128 {
        let now = now_ns * self.per_ns;
        let ready = (now + self.burst * self.cost).saturating_sub(self.due.max(now)) / self.cost;
        self.window.as_mut().map_or(ready, |window| window.room(now_ns).min(ready))
    }

    fn take(&mut self, count: u128, now_ns: u128) {
        self.due = self.due.max(now_ns * self.per_ns) + count * self.cost;
        if let Some(window) = &mut self.window {
            window.take(count, now_ns);
        }
    }

    fn give_back(&mut self, count: u128) {
        self.due = self.due.saturating_sub(count * self.cost);
        if let Some(window) = &mut self.window {
            window.give_back(count);
        }
    }

    /// Until one message conforms.
    fn wait_ns(&self, now_ns: u128) -> u128 {
        let at = (self.due + self.cost).saturating_sub(self.burst * self.cost);
        let by_rate = at.saturating_sub(now_ns * self.per_ns).div_ceil(self.per_ns);
        self.window.as_ref().map_or(by_rate, |window| window.wait_ns(now_ns).max(by_rate))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn common(per_second: Option<u32>, per_minute: Option<u32>, burst: Option<u32>) -> Common {
        let second = Duration::from_secs(1);
        Common { priority: 1, per_second, per_minute, burst, concurrency: 1, timeout: second, retry: vec![second], unknown_retry: second }
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

        #[test]
        fn without_a_burst_no_second_and_no_minute_sees_more_than_its_rate(
            per_second in prop_oneof![1..20_u32, 20..5_000_u32],
            per_minute in prop::option::of(100..200_000_u32),
            most in 1..2_048_u32,
            pauses in prop::collection::vec(prop_oneof![8 => 0..9_u64, 1 => 0..400_u64], 1..20),
        ) {
            let given = run(&common(Some(per_second), per_minute, None), most, &pauses, Duration::from_secs(70));
            let less_than = |seconds| Duration::from_secs(seconds) - Duration::from_nanos(1);
            let (second, minute) = (most_within(&given, less_than(1)), most_within(&given, less_than(60)));
            prop_assert!(second <= per_second, "{second} in the fullest second, {per_second} may go");
            prop_assert!(per_minute.is_none_or(|rate| minute <= rate), "{minute} in the fullest minute, {per_minute:?} may go");
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
