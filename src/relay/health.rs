//! Owns how the far end of a relay is: what ails it, since when, and whether a person was told.
//! Refuses to wait and to send. Invariant: one outage is one alarm, however often it is tried.

use std::time::Duration;

use crate::time::Timestamp;

#[derive(Clone, Debug, Default)]
pub(super) struct Health {
    pub(super) trouble: Option<String>,
    pub(super) since: Timestamp,
    pub(super) next_try: Timestamp,
    is_told: bool,
}

impl Health {
    /// It takes documents; whether that ends an outage of which a person was told.
    pub(super) fn mend(&mut self, relay: &str) -> bool {
        let was = std::mem::take(self);
        if let Some(trouble) = was.trouble {
            tracing::info!(relay, trouble, since = %was.since, "the far end takes documents again");
        }
        was.is_told
    }

    /// It does not; `ours` when our account there is wrong, which waiting does not mend. Answers whether a person is to be told now.
    pub(super) fn ail(&mut self, relay: &str, why: &str, now: Timestamp, next_try: Timestamp, ours: bool, alarm_after: Duration) -> bool {
        if self.trouble.is_none() {
            self.since = now;
        }
        if self.trouble.as_deref() != Some(why) {
            tracing::warn!(relay, why, "the far end takes nothing now");
        }
        (self.trouble, self.next_try) = (Some(why.to_owned()), next_try);
        let is_now = !self.is_told && (ours || now.since(self.since) >= alarm_after);
        if is_now {
            self.is_told = true;
            tracing::error!(relay, why, since = %self.since, "the platform above is not told of warnings");
        }
        is_now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_told_once_when_it_lasts_or_is_our_own_fault_and_ends_whole() {
        let start = Timestamp::from_ms(1_790_000_000_000);
        let minute = Duration::from_secs(60);
        let mut health = Health::default();
        health.ail("city", "connect", start, start, false, minute);
        assert!(!health.is_told && health.since == start);
        health.ail("city", "http-503", start.plus(minute), start, false, minute);
        assert!(health.is_told && health.since == start, "another reason is the same outage");
        health.mend("city");
        assert!(health.trouble.is_none() && !health.is_told);
        health.ail("city", "http-401", start, start, true, minute);
        assert!(health.is_told);
    }
}
