//! Owns the look at the wall clock beside a steady one: a jump is told, because expiry and overdue answers go by the wall.
//! Refuses to set anything right. Invariant: pauses, parking and rates go by the steady clock, so a jump only ever moves what people set by the wall.

use std::time::Duration;

use tokio::time::Instant;

use crate::time::Timestamp;

/// Clocks that are kept by the network are stepped by more than this only when they were wrong.
const WORTH_TELLING: Duration = Duration::from_secs(2);

pub(super) struct ClockWatch {
    wall: Timestamp,
    steady: Instant,
}

impl ClockWatch {
    pub(super) fn begin(wall: Timestamp, steady: Instant) -> Self {
        Self { wall, steady }
    }

    /// By how many milliseconds the wall clock has jumped since the last look, if it is worth telling; forward is positive.
    pub(super) fn look(&mut self, wall: Timestamp, steady: Instant) -> Option<i64> {
        let expected = self.wall.plus(steady.saturating_duration_since(self.steady));
        (self.wall, self.steady) = (wall, steady);
        let jumped_ms = wall.as_ms().saturating_sub(expected.as_ms());
        (Duration::from_millis(jumped_ms.unsigned_abs()) > WORTH_TELLING).then_some(jumped_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_either_way_is_told_once_and_time_that_passes_is_none() {
        let (wall, steady) = (Timestamp::from_ms(1_000_000_000), Instant::now());
        let mut watch = ClockWatch::begin(wall, steady);
        let (hour, second) = (Duration::from_secs(3_600), Duration::from_secs(1));
        assert_eq!(watch.look(wall.plus(hour), steady + hour), None, "a look may come late");
        assert_eq!(watch.look(wall, steady + hour + second), Some(-3_601_000));
        assert_eq!(watch.look(wall.plus(second), steady + hour + 2 * second), None);
        assert_eq!(watch.look(wall.plus(hour), steady + hour + 3 * second), Some(3_598_000));
        assert_eq!(watch.look(wall.plus(hour), steady + hour + 4 * second), None, "a network's clock slews by less");
    }
}
