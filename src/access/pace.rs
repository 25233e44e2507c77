//! Owns how often one caller may ask. Refuses to know what is asked for.
//! Invariant: the table holds callers who are known, so it is as small as the list of keys and users.

use std::{num::NonZeroU32, time::Duration};

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter, clock::Clock as _};

use super::{Access, Caller};

/// A provider's flood or a program's endless loop is stopped; a duty room's screens and a bureau's alerts never come near it.
const PER_SECOND: NonZeroU32 = NonZeroU32::new(200).expect("not zero");
/// Paging through the deliveries of a whole county at once is not a flood.
pub const BURST: NonZeroU32 = NonZeroU32::new(2_000).expect("not zero");

pub(super) struct Pace(DefaultKeyedRateLimiter<String>);

impl Default for Pace {
    fn default() -> Self {
        Self(RateLimiter::keyed(Quota::per_second(PER_SECOND).allow_burst(BURST)))
    }
}

impl Access {
    /// Counts one request of a caller; refused, it says how long to wait.
    pub fn may_ask(&self, caller: &Caller) -> Result<(), Duration> {
        let name = format!("{}/{}", caller.kind.name(), caller.name);
        self.pace.0.check_key(&name).map_err(|refused| refused.wait_time_from(self.pace.0.clock().now()))
    }
}
