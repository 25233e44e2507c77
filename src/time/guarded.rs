//! Owns the clock that a gateway goes by: the machine's, as long as it moves as time does; after a jump that no correction explains it goes on by
//! itself for a while, so that nobody's warning ends because a clock was wrong for two seconds.
//! Refuses to set anything right, and to know what goes by it. Invariant: what it says moves by no more than `STEP_MAX` against steady time,
//! until a jump has stood for `HOLD`.

use std::{
    sync::{Mutex, MutexGuard, OnceLock},
    time::{Duration, Instant},
};

use super::{Clock, SharedClock, Timestamp, duration_ms};

/// Corrections of a clock that is kept by the network stay far below; beyond, either clock may be the wrong one.
const STEP_MAX: Duration = Duration::from_secs(60);
/// How long the old time is kept: for a person who is told to look, and longer than a broken time server's answer is believed.
const HOLD: Duration = Duration::from_secs(10 * 60);

/// Milliseconds of a clock that nobody sets.
type Steady = fn() -> i64;

pub struct GuardedClock {
    wall: SharedClock,
    steady: Steady,
    hands: Mutex<Hands>,
}

struct Hands {
    /// The last time that was said, and the steady time then.
    said_ms: i64,
    at_ms: i64,
    /// Steady time since which the wall is elsewhere.
    held_since_ms: Option<i64>,
    jump_ms: i64,
}

impl GuardedClock {
    pub fn new(wall: SharedClock) -> Self {
        Self::with_steady(wall, since_start_ms)
    }

    fn with_steady(wall: SharedClock, steady: Steady) -> Self {
        let hands = Hands { said_ms: wall.now().as_ms(), at_ms: steady(), held_since_ms: None, jump_ms: 0 };
        Self { wall, steady, hands: Mutex::new(hands) }
    }

    fn look(&self) -> (i64, Option<i64>) {
        let (wall_ms, steady_ms) = (self.wall.now().as_ms(), (self.steady)());
        let mut hands = self.hands();
        let expected_ms = hands.said_ms.saturating_add((steady_ms - hands.at_ms).max(0));
        let jump_ms = wall_ms.saturating_sub(expected_ms);
        let has_jumped = jump_ms.unsigned_abs() > duration_ms(STEP_MAX).unsigned_abs();
        let since_ms = hands.held_since_ms.unwrap_or(steady_ms);
        let is_held = has_jumped && steady_ms - since_ms < duration_ms(HOLD);
        let said_ms = if is_held { expected_ms } else { wall_ms };
        (hands.said_ms, hands.at_ms) = (said_ms, steady_ms);
        (hands.held_since_ms, hands.jump_ms) = if is_held { (Some(since_ms), jump_ms) } else { (None, 0) };
        (said_ms, is_held.then_some(jump_ms))
    }

    fn hands(&self) -> MutexGuard<'_, Hands> {
        self.hands.lock().expect("no code panics while it holds a clock's hands")
    }
}

impl Clock for GuardedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_ms(self.look().0)
    }

    fn held_jump_ms(&self) -> Option<i64> {
        self.look().1
    }
}

/// Does not count the time that a machine was asleep: it then goes on by the old time for `HOLD`, as after any jump.
#[expect(clippy::disallowed_methods, reason = "the one clock that nobody sets, beside the one that is")]
fn since_start_ms() -> i64 {
    static START: OnceLock<Instant> = OnceLock::new();
    duration_ms(START.get_or_init(Instant::now).elapsed())
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, sync::Arc};

    use super::*;
    use crate::time::ManualClock;

    thread_local! {
        static STEADY_MS: Cell<i64> = const { Cell::new(0) };
    }

    const NOON: i64 = 1_790_000_000_000;
    const DAY: i64 = 86_400_000;

    struct Rig {
        wall: Arc<ManualClock>,
        clock: GuardedClock,
    }

    impl Rig {
        fn new() -> Self {
            STEADY_MS.set(0);
            let wall = Arc::new(ManualClock::at(Timestamp::from_ms(NOON)));
            let clock = GuardedClock::with_steady(Arc::clone(&wall) as SharedClock, || STEADY_MS.get());
            Self { wall, clock }
        }

        /// Both clocks go on.
        fn pass(&self, ms: i64) {
            STEADY_MS.set(STEADY_MS.get() + ms);
            self.wall.advance_ms(ms);
        }

        fn now(&self) -> i64 {
            self.clock.now().as_ms() - NOON
        }
    }

    #[test]
    fn small_steps_are_followed_at_once_either_way() {
        let rig = Rig::new();
        rig.pass(1_000);
        rig.wall.advance_ms(50_000);
        assert_eq!((rig.now(), rig.clock.held_jump_ms()), (51_000, None));
        rig.wall.advance_ms(-50_000);
        assert_eq!(rig.now(), 1_000);
    }

    #[test]
    fn a_clock_that_is_a_day_ahead_for_two_seconds_changes_nothing() {
        let rig = Rig::new();
        for jump in [DAY, -DAY, 3_600_000, -3_600_000] {
            let before = rig.now();
            rig.wall.advance_ms(jump);
            rig.pass(2_000);
            assert_eq!((rig.now() - before, rig.clock.held_jump_ms()), (2_000, Some(jump)));
            rig.wall.advance_ms(-jump);
            rig.pass(1_000);
            assert_eq!((rig.now() - before, rig.clock.held_jump_ms()), (3_000, None));
        }
    }

    #[test]
    fn a_jump_that_stands_is_taken_after_a_while() {
        let rig = Rig::new();
        rig.wall.advance_ms(DAY);
        for minute in 1..10 {
            rig.now();
            rig.pass(60_000);
            assert_eq!(rig.now(), minute * 60_000, "held");
        }
        rig.pass(60_000);
        assert_eq!((rig.now(), rig.clock.held_jump_ms()), (DAY + 600_000, None));
    }
}
