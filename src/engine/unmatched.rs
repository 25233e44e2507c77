//! Owns how much is kept of reports that name nothing their account was given, and how loudly that is told.
//! Refuses to know what they say. Invariant: whoever has the secret of an account, and whatever they send, fills no disk (I18).

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::telemetry::alarms::Alarms;

/// Kept of each account at once: enough to see what is wrong with it.
const KEPT_AT_ONCE: u32 = 100;
/// And then one in so long: some megabytes a day.
const KEPT_EVERY: Duration = Duration::from_secs(10);
/// A provider that is shared with another system brings them all day; somebody hears of it so often.
const TOLD_EVERY: Duration = Duration::from_secs(600);

#[derive(Default)]
pub(crate) struct Unmatched(Mutex<HashMap<String, Tally>>);

struct Tally {
    left: u32,
    refilled: Instant,
    told: Option<Instant>,
    since_told: u64,
    dropped: u64,
}

impl Unmatched {
    /// Takes one more into account; whether it is to be kept beside being counted.
    pub(crate) fn may_keep(&self, alarms: &Alarms, account: &str) -> bool {
        let now = Instant::now();
        // A tally that somebody panicked over still counts.
        let mut tallies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = || Tally { left: KEPT_AT_ONCE, refilled: now, told: None, since_told: 0, dropped: 0 };
        // Accounts come from the configuration: there are few.
        let tally = tallies.entry(account.to_owned()).or_insert_with(fresh);
        let is_kept = tally.take(now);
        if tally.told.is_none_or(|told| now.duration_since(told) >= TOLD_EVERY) {
            let text = format!("{account}：回执所指的消息不是该通道发出的，{}条", tally.since_told);
            alarms.raise("unmatched-receipts", account, text);
            tracing::error!(
                account,
                reports = tally.since_told,
                not_kept = tally.dropped,
                "a far end reports on messages that this account was not given; if it is not shared with another system, give it a new callback_token"
            );
            (tally.told, tally.since_told, tally.dropped) = (Some(now), 0, 0);
        }
        is_kept
    }
}

impl Tally {
    fn take(&mut self, now: Instant) -> bool {
        self.since_told += 1;
        let earned = now.duration_since(self.refilled).as_secs() / KEPT_EVERY.as_secs();
        if earned > 0 {
            self.refilled = now;
            self.left = self.left.saturating_add(u32::try_from(earned).unwrap_or(u32::MAX)).min(KEPT_AT_ONCE);
        }
        let is_kept = self.left > 0;
        self.left = self.left.saturating_sub(1);
        self.dropped += u64::from(!is_kept);
        is_kept
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::time::SystemClock;

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_counted_and_little_of_it_kept() {
        let (unmatched, alarms) = (Unmatched::default(), Alarms::new(Arc::new(SystemClock)));
        let kept = |count: u32| (0..count).filter(|_| unmatched.may_keep(&alarms, "mas")).count();
        assert_eq!(kept(5_000), KEPT_AT_ONCE as usize);
        assert!(unmatched.may_keep(&alarms, "other"), "another account has its own");
        tokio::time::advance(KEPT_EVERY * 3).await;
        assert_eq!(kept(5_000), 3);
        assert_eq!(alarms.all().iter().map(|alarm| alarm.times).collect::<Vec<_>>(), [1, 1], "once of each for now");
    }
}
