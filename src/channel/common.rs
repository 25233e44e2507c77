//! Owns the keys that every `[channel.NAME]` table may have, and their defaults.
//! Refuses to know providers. Invariant: an account without a stated pace, patience or schedule gets one that a county can live with.

use std::time::Duration;

use toml::Table;

use super::Common;
use crate::keys::Keys;

/// Delays between tries when the table names none: a warning that is a quarter of an hour late is no warning.
const RETRY: [Duration; 3] = [Duration::from_secs(5), Duration::from_secs(30), Duration::from_secs(120)];
/// Enough to keep a far end busy over a slow line without holding hundreds of connections.
const CONCURRENCY: u64 = 8;
const TIMEOUT: Duration = Duration::from_secs(15);
/// Whoever gets warnings from a far end whose answers are lost gets five copies in a warning of six hours, and two in the first minutes.
const UNKNOWN_RETRY: Duration = Duration::from_secs(180);
/// Five times as long at each doubt, it is an hour at the seventh.
const UNKNOWN_RETRY_MIN: Duration = Duration::from_secs(1);

/// The account's table, with the keys that chose its driver already read.
pub(super) fn keys<'a>(account: &str, table: &'a Table) -> Keys<'a> {
    Keys::read(format!("channel.{account}"), table).leave(&["kind", "provider"])
}

pub(super) fn common(keys: &mut Keys<'_>) -> Common {
    let optional = |keys: &mut Keys<'_>, key| keys.has(key).then(|| keys.number(key, 1..=1_000_000, 1)).and_then(|n| u32::try_from(n).ok());
    Common {
        priority: u8::try_from(keys.number("priority", 1..=255, 1)).unwrap_or(1),
        per_second: optional(keys, "per_second"),
        per_minute: optional(keys, "per_minute"),
        burst: optional(keys, "burst"),
        concurrency: usize::try_from(keys.number("concurrency", 1..=1_024, CONCURRENCY)).unwrap_or(1),
        timeout: keys.duration("timeout", TIMEOUT),
        retry: keys.durations("retry", &RETRY),
        unknown_retry: unknown_retry(keys),
    }
}

fn unknown_retry(keys: &mut Keys<'_>) -> Duration {
    let pause = keys.duration("unknown_retry", UNKNOWN_RETRY);
    if pause < UNKNOWN_RETRY_MIN {
        keys.fault("unknown_retry", "out-of-range", "must be at least 1s: shorter pauses make copies while the first answer is on its way");
    }
    pause
}
