//! Owns the pauses between tries at a far end that is away.
//! Refuses to know what is tried. Invariant: many who lost the same far end at once do not come back at once.

use std::time::Duration;

use rand::{RngExt as _, rngs::StdRng};

/// First and longest pause between tries to connect; a county's speakers coming back at once must not fell the broker again.
const PAUSE_FIRST: Duration = Duration::from_millis(200);
const PAUSE_LONGEST: Duration = Duration::from_secs(15);

/// Pauses that double up to a bound, each between half of itself and whole.
#[derive(Debug)]
pub(crate) struct Backoff {
    rng: StdRng,
    next: Duration,
}

impl Backoff {
    pub(crate) const fn new(rng: StdRng) -> Self {
        Self { rng, next: PAUSE_FIRST }
    }

    pub(crate) fn reset(&mut self) {
        self.next = PAUSE_FIRST;
    }

    pub(crate) fn pause(&mut self) -> Duration {
        let whole = self.next;
        self.next = (whole * 2).min(PAUSE_LONGEST);
        let least = u64::try_from(whole.as_millis() / 2).unwrap_or(0);
        Duration::from_millis(self.rng.random_range(least..=least * 2))
    }
}
