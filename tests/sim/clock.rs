//! Owns simulated time: what timers go by (paused tokio time, counted over all lives of a run), and the gateway's clock, which also jumps.
//! Invariant: nothing here reads the machine's clock, and a run that stands still is noticed.

use std::{
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use lastmile::time::{Clock, Timestamp};
use tokio::time::Instant;

/// Looks at the clock within one millisecond: far above what any moment of a county of eighty people needs.
const LOOKS_MAX: u64 = 2_000_000;

pub(crate) struct SimClock(Mutex<Hands>);

struct Hands {
    start: Timestamp,
    /// When the present life began by tokio's time; none between two lives.
    life: Option<Instant>,
    before: Duration,
    jumped_ms: i64,
    looks: (u64, u64),
}

impl SimClock {
    pub(crate) fn at(start: Timestamp) -> Self {
        Self(Mutex::new(Hands { start, life: None, before: Duration::ZERO, jumped_ms: 0, looks: (0, 0) }))
    }

    /// Within the runtime of the life that begins, after so much time without a gateway.
    pub(crate) fn begin_life(&self, after: Duration) {
        let mut hands = self.hands();
        hands.before += after;
        hands.life = Some(Instant::now());
    }

    /// Still within the runtime, whose time ends with it.
    pub(crate) fn end_life(&self) {
        let mut hands = self.hands();
        let lived = hands.life.take().map_or(Duration::ZERO, |began| began.elapsed());
        hands.before += lived;
    }

    /// Simulated milliseconds since the run began; jumps of the gateway's clock do not count.
    pub(crate) fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.hands().elapsed().as_millis()).expect("a run is minutes long")
    }

    pub(crate) fn jump(&self, ms: i64) {
        self.hands().jumped_ms += ms;
    }

    pub(crate) fn has_jumped(&self) -> bool {
        self.hands().jumped_ms != 0
    }

    fn hands(&self) -> MutexGuard<'_, Hands> {
        self.0.lock().expect("no code panics while it holds the clock")
    }
}

impl Hands {
    fn elapsed(&self) -> Duration {
        self.before + self.life.map_or(Duration::ZERO, |began| began.elapsed())
    }
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        let mut hands = self.hands();
        let elapsed = hands.elapsed();
        let ms = u64::try_from(elapsed.as_millis()).expect("a run is minutes long");
        hands.looks = if hands.looks.0 == ms { (ms, hands.looks.1 + 1) } else { (ms, 0) };
        assert!(hands.looks.1 < LOOKS_MAX, "time stands still {ms} ms after the start: something goes round without waiting");
        Timestamp::from_ms(hands.start.plus(elapsed).as_ms() + hands.jumped_ms)
    }
}
