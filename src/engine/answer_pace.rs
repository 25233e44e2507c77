//! Owns how often one person may change what they said to one alert. Refuses to know what they say.
//! Invariant: bounded; what was not kept does not count.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::alert::AlertNo;

/// A person who slipped presses again, and perhaps once more.
const CHANGES: u32 = 6;
pub(crate) const WITHIN: Duration = Duration::from_secs(60);
/// Whoever answers in one minute: everybody of a county's duty, many times over.
const PEOPLE_MAX: usize = 50_000;

#[derive(Default)]
pub(crate) struct AnswerPace(Mutex<HashMap<(AlertNo, u32), (Instant, u32)>>);

impl AnswerPace {
    /// Whether one more change is taken now.
    pub(crate) fn may_change(&self, alert: AlertNo, recipient: u32) -> bool {
        let people = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        people.get(&(alert, recipient)).is_none_or(|(since, changes)| since.elapsed() >= WITHIN || *changes < CHANGES)
    }

    /// A change is durable: what could not be kept is tried again, and does not count.
    pub(crate) fn changed(&self, alert: AlertNo, recipient: u32) {
        let now = Instant::now();
        let mut people = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if people.len() >= PEOPLE_MAX {
            people.retain(|_, (since, _)| now.duration_since(*since) < WITHIN);
        }
        let (since, changes) = people.entry((alert, recipient)).or_insert((now, 0));
        if now.duration_since(*since) >= WITHIN {
            (*since, *changes) = (now, 0);
        }
        *changes = changes.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_few_changes_a_minute_and_a_new_call_for_help_always() {
        let pace = AnswerPace::default();
        let taken = |times: u32| {
            (0..times)
                .filter(|_| {
                    pace.may_change(AlertNo(1), 2) && {
                        pace.changed(AlertNo(1), 2);
                        true
                    }
                })
                .count()
        };
        assert_eq!(taken(100), CHANGES as usize);
        assert!(!pace.may_change(AlertNo(1), 2) && pace.may_change(AlertNo(1), 3));
        tokio::time::advance(WITHIN).await;
        assert_eq!(taken(100), CHANGES as usize);
    }
}
