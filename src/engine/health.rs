//! Owns one account's health as its far end's words tell it: failures in a row, refusals in a row, what it is parked for and how long.
//! Refuses to know queues and alerts' meaning. Pure but for the time that is handed in.
//! Invariant: one recipient's failure parks nobody; only what was taken proves an account, and by the way that it was refused.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    alert::AlertNo,
    channel::{Class, Failure},
    delivery::{
        plan::RecipientKind,
        retry::{PARKED, Trust},
    },
};

/// Failures in a row after which an account is taken for down.
const BREAKER_FAILURES: u32 = 5;
/// First pause of the breaker; it doubles up to the longest.
pub(crate) const BREAKER_FIRST: Duration = Duration::from_secs(2);
const BREAKER_LONGEST: Duration = Duration::from_secs(60);
/// Different recipients refused in a row, none taken, after which it is the account that is doubted and not they. Of a neglected registry
/// three in ten are dead: ten in a row by chance is one in two hundred thousand. Fewer would doubt a good account for a dead village.
const SUSPECT_AFTER: usize = 10;

/// How a far end said it: when it was handed over, or by a report later. What it took at once says nothing of what it reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    AtOnce,
    ByReport,
}

/// A registered recipient.
pub(crate) type Who = (RecipientKind, u32);

/// A refusal that is not believed yet: closed once the account takes something, asked of the next account otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) alert: AlertNo,
    pub(crate) index: u32,
    pub(crate) reason: &'static str,
}

/// Why nothing is handed to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Parking {
    /// It does not answer, or answers with its own trouble.
    Down,
    /// Our account is wrong.
    Misconfigured,
    Throttled,
    /// It refuses everyone.
    Suspect,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Health {
    failures_in_a_row: u32,
    throttles_in_a_row: u32,
    pauses: u32,
    /// Until when nothing is handed to it, by a clock that does not jump.
    parked: Option<(Instant, Parking)>,
    looked_in: Option<Instant>,
    /// Why, for the page and the metrics.
    pub(crate) trouble: Option<String>,
    /// Different ones refused since something was taken; as many as it takes to be doubted.
    refused: Vec<Who>,
    held: Vec<Held>,
    pub(crate) has_taken: bool,
}

/// What an account had behind it when it took something.
pub(crate) struct Recovery {
    pub(crate) was_in_trouble: bool,
    pub(crate) held: Vec<Held>,
}

impl Health {
    pub(crate) fn parked_for(&self, now: Instant) -> Option<Duration> {
        self.parked.filter(|&(until, _)| until > now).map(|(until, _)| until - now)
    }

    pub(crate) fn went_well(&mut self) -> Recovery {
        let before = std::mem::replace(self, Self { has_taken: true, ..Self::default() });
        Recovery { was_in_trouble: before.trouble.is_some(), held: before.held }
    }

    /// Takes note of a failure; the kind of alarm when the account has just been parked.
    pub(crate) fn went_wrong(&mut self, failure: &Failure, now: Instant) -> Option<&'static str> {
        if !failure.concerns_account() {
            return None;
        }
        let already = self.parked_for(now).is_some();
        match failure.class {
            Class::Misconfigured => {
                self.parked = Some((now + PARKED, Parking::Misconfigured));
                self.trouble = Some(format!("misconfigured: {failure}"));
                (!already).then_some("account-parked")
            }
            Class::Retry | Class::Unknown => {
                self.failures_in_a_row += 1;
                if self.failures_in_a_row < BREAKER_FAILURES || already {
                    return None;
                }
                // After the pause one failure is enough to open it again.
                self.failures_in_a_row = BREAKER_FAILURES - 1;
                self.pause(now, Parking::Down, Duration::ZERO);
                self.trouble = Some(format!("down: {failure}"));
                Some("account-parked")
            }
            Class::Throttled => {
                self.throttles_in_a_row += 1;
                if self.throttles_in_a_row < BREAKER_FAILURES || already {
                    return None;
                }
                self.throttles_in_a_row = BREAKER_FAILURES - 1;
                self.pause(now, Parking::Throttled, failure.retry_after.unwrap_or_default().min(BREAKER_LONGEST));
                self.trouble = Some(format!("throttled: {failure}"));
                Some("account-throttled")
            }
            Class::Reject | Class::OptedOut => None,
        }
    }

    fn pause(&mut self, now: Instant, why: Parking, least: Duration) {
        let pause = BREAKER_FIRST.saturating_mul(1 << self.pauses.min(5)).min(BREAKER_LONGEST).max(least);
        self.pauses += 1;
        self.parked = Some((now + pause, why));
    }

    /// Takes note of a refusal. `held` is what is to be closed if the account turns out to be right. Answers how far it is believed, and
    /// whether it has just come to be doubted.
    pub(crate) fn refuses(&mut self, who: Who, held: Option<Held>, failure: &Failure, may_park: bool, now: Instant) -> (Trust, bool) {
        let is_again = self.refused.contains(&who);
        let was_suspect = self.is_suspect();
        if !is_again && !was_suspect {
            self.refused.push(who);
        }
        if !self.is_suspect() {
            if is_again {
                return (Trust::Believed, false);
            }
            self.held.extend(held);
            return (Trust::Held, false);
        }
        self.held.clear();
        if may_park && self.parked_for(now).is_none() {
            self.pause(now, Parking::Suspect, Duration::ZERO);
        }
        if may_park {
            self.trouble = Some(format!("refuses everyone: {failure}"));
        }
        (Trust::Suspect, !was_suspect)
    }

    fn is_suspect(&self) -> bool {
        self.refused.len() >= SUSPECT_AFTER
    }

    /// Another account refused them as well: it was not this one's fault. Answers whether it was doubted until now.
    pub(crate) fn acquit(&mut self, who: Who) -> bool {
        let was_suspect = self.is_suspect();
        self.refused.retain(|refused| *refused != who);
        let is_acquitted = was_suspect && !self.is_suspect();
        if is_acquitted {
            (self.trouble, self.pauses) = (None, 0);
            self.parked = self.parked.filter(|&(_, why)| why != Parking::Suspect);
        }
        is_acquitted
    }

    /// Whether one message may look whether the far end is well again, though the pause is not over.
    pub(crate) fn may_look_in(&self, now: Instant) -> bool {
        let is_down = self.parked.is_some_and(|(_, why)| matches!(why, Parking::Down | Parking::Suspect));
        is_down && self.looked_in.is_none_or(|last| now >= last + BREAKER_FIRST)
    }

    pub(crate) fn looks_in(&mut self, now: Instant) {
        self.looked_in = Some(now);
    }

    /// The far end has opened its door by itself: the next message may try it.
    pub(crate) fn came_back(&mut self) {
        self.parked = self.parked.filter(|&(_, why)| why != Parking::Down);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::Concerns;

    fn failure(class: Class, concerns: Concerns) -> Failure {
        Failure::new(class, concerns, "test", "")
    }

    fn refuse(health: &mut Health, whom: std::ops::Range<u32>, now: Instant) -> Vec<(Trust, bool)> {
        let refusal = failure(Class::Reject, Concerns::Recipient);
        let held = |index| Some(Held { alert: AlertNo(1), index, reason: "test" });
        whom.map(|key| health.refuses((RecipientKind::Person, key), held(key), &refusal, true, now)).collect()
    }

    #[tokio::test]
    async fn ten_refused_in_a_row_put_the_account_in_doubt_and_one_taken_takes_it_out_again() {
        let (mut health, now) = (Health::default(), Instant::now());
        assert!(refuse(&mut health, 0..9, now).iter().all(|said| *said == (Trust::Held, false)));
        let recovery = health.went_well();
        assert_eq!((recovery.was_in_trouble, recovery.held.len()), (false, 9), "those are believed now");
        let said = refuse(&mut health, 0..12, now);
        assert_eq!(said[8], (Trust::Held, false));
        assert_eq!(said[9..], [(Trust::Suspect, true), (Trust::Suspect, false), (Trust::Suspect, false)]);
        assert_eq!(health.parked_for(now), Some(BREAKER_FIRST));
        let recovery = health.went_well();
        assert!(recovery.was_in_trouble && recovery.held.is_empty() && health.parked_for(now).is_none());
    }

    #[tokio::test]
    async fn the_same_number_again_is_no_other_and_what_all_accounts_refuse_acquits() {
        let (mut health, now) = (Health::default(), Instant::now());
        refuse(&mut health, 0..1, now);
        assert_eq!(refuse(&mut health, 0..1, now), [(Trust::Believed, false)]);
        refuse(&mut health, 1..10, now);
        assert!(health.parked_for(now).is_some());
        assert!(health.acquit((RecipientKind::Person, 3)) && health.parked_for(now).is_none() && health.trouble.is_none());
        assert!(!health.acquit((RecipientKind::Person, 4)));
    }

    #[tokio::test]
    async fn a_far_end_that_is_down_may_be_looked_in_upon_and_one_that_is_wrong_not() {
        let (mut health, now) = (Health::default(), Instant::now());
        for _ in 0..BREAKER_FAILURES {
            health.went_wrong(&failure(Class::Retry, Concerns::Provider), now);
        }
        assert!(health.may_look_in(now));
        health.looks_in(now);
        assert!(!health.may_look_in(now) && health.may_look_in(now + BREAKER_FIRST));
        health.came_back();
        assert!(health.parked_for(now).is_none());
        assert_eq!(
            health.went_wrong(&failure(Class::Retry, Concerns::Provider), now),
            Some("account-parked"),
            "one failure is enough then"
        );
        health.went_wrong(&failure(Class::Misconfigured, Concerns::Account), now);
        health.came_back();
        assert!(health.parked_for(now) == Some(PARKED) && !health.may_look_in(now));
    }

    #[tokio::test]
    async fn who_only_throttles_is_left_alone_for_as_long_as_it_says() {
        let (mut health, now) = (Health::default(), Instant::now());
        let throttled = Failure { retry_after: Some(Duration::from_secs(20)), ..failure(Class::Throttled, Concerns::Provider) };
        let said: Vec<_> = (0..BREAKER_FAILURES).map(|_| health.went_wrong(&throttled, now)).collect();
        assert_eq!(said.last(), Some(&Some("account-throttled")));
        assert_eq!(health.parked_for(now), Some(Duration::from_secs(20)));
        let of_one = failure(Class::Throttled, Concerns::Recipient);
        let mut other = Health::default();
        assert!((0..99).all(|_| other.went_wrong(&of_one, now).is_none()), "one robot's pace is its own");
    }
}
