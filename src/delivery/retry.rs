//! Owns the decision after a failure: again, by the next account, or closed.
//! Refuses to know clocks, queues and far ends: class, schedule, time and chance come in, one `Next` goes out.
//! Invariant: nothing is put off to a time at or after the end of sending, and a far end's hint may stretch the schedule but never hijack it.

use std::time::Duration;

use rand::{Rng, RngExt as _};

use super::event::FactKind;
use crate::{
    channel::{Class, Concerns, Failure},
    time::Timestamp,
};

/// A throttle without a hint: the shortest pause that lets a per-second limit pass.
const THROTTLE_DEFAULT: Duration = Duration::from_secs(1);
/// A hint below this would spin, one above it would let a far end silence a warning.
const HINT_MIN: Duration = Duration::from_millis(200);
const HINT_MAX: Duration = Duration::from_secs(60);
/// A parked account is looked at again after this; its debts wait as long.
pub const PARKED: Duration = Duration::from_secs(30);
/// Spread of delays, so that a thousand failures do not come back as one wave.
const JITTER: f64 = 0.2;

/// What the delivery's rule and route allow.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    pub schedule: &'a [Duration],
    /// Nothing is sent at or after this.
    pub stop_at: Timestamp,
    /// Another account of the same route could take it.
    pub has_next_account: bool,
    /// Go on with the schedule's last delay until `stop_at`.
    pub persist: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Put off; the kind says whether it counts as an attempt.
    Again {
        kind: FactKind,
        at: Timestamp,
    },
    NextAccount {
        at: Timestamp,
    },
    Close {
        kind: FactKind,
    },
}

/// `attempts` are those before the one that failed now.
pub fn next(terms: Terms<'_>, failure: &Failure, attempts: u8, now: Timestamp, rng: &mut impl Rng) -> Next {
    let fallback = if terms.has_next_account { Next::NextAccount { at: now } } else { Next::Close { kind: FactKind::Failed } };
    let wanted = match failure.class {
        Class::Reject if failure.concerns != Concerns::Recipient && terms.has_next_account => return fallback,
        Class::Reject => return Next::Close { kind: FactKind::Failed },
        Class::OptedOut => return Next::Close { kind: FactKind::Suppressed },
        Class::Misconfigured if terms.has_next_account => return fallback,
        Class::Misconfigured => (FactKind::Throttled, PARKED),
        Class::Throttled => (FactKind::Throttled, failure.retry_after.unwrap_or(THROTTLE_DEFAULT).clamp(HINT_MIN, HINT_MAX)),
        Class::Retry | Class::Unknown => {
            let kind = if failure.class == Class::Unknown { FactKind::Unknown } else { FactKind::Retry };
            let scheduled = terms.schedule.get(usize::from(attempts)).copied();
            let delay = match scheduled {
                Some(delay) => delay,
                None if terms.has_next_account => return fallback,
                None => match terms.schedule.last() {
                    Some(&last) if terms.persist => last,
                    _ => return fallback,
                },
            };
            (kind, failure.retry_after.map_or(delay, |hint| hint.clamp(delay, delay.saturating_mul(2).min(HINT_MAX).max(delay))))
        }
    };
    let (kind, delay) = wanted;
    let at = now.plus(jittered(delay, rng));
    if at >= terms.stop_at { Next::Close { kind: FactKind::Failed } } else { Next::Again { kind, at } }
}

fn jittered(delay: Duration, rng: &mut impl Rng) -> Duration {
    delay.mul_f64(rng.random_range(1.0 - JITTER..1.0 + JITTER))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    const NOW: Timestamp = Timestamp::from_ms(1_000_000);
    const SCHEDULE: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(30)];

    fn terms() -> Terms<'static> {
        Terms { schedule: &SCHEDULE, stop_at: NOW.plus(Duration::from_secs(3_600)), has_next_account: false, persist: false }
    }

    fn failure(class: Class, hint_s: Option<u64>) -> Failure {
        Failure { retry_after: hint_s.map(Duration::from_secs), ..Failure::new(class, Concerns::Recipient, "test", "") }
    }

    #[test]
    fn each_class_leads_where_the_engine_rules_say() {
        let cases = [
            (Class::Reject, 0, false, "close failed"),
            (Class::OptedOut, 0, false, "close suppressed"),
            (Class::Retry, 0, false, "again retry"),
            (Class::Retry, 2, false, "close failed"),
            (Class::Retry, 2, true, "next account"),
            (Class::Unknown, 1, false, "again unknown"),
            (Class::Throttled, 9, false, "again throttled"),
            (Class::Misconfigured, 0, true, "next account"),
            (Class::Misconfigured, 0, false, "again throttled"),
        ];
        for (class, attempts, has_next_account, expect) in cases {
            let terms = Terms { has_next_account, ..terms() };
            let next = next(terms, &failure(class, None), attempts, NOW, &mut StdRng::seed_from_u64(1));
            let got = match next {
                Next::Again { kind, .. } => format!("again {kind:?}").to_lowercase(),
                Next::NextAccount { .. } => "next account".into(),
                Next::Close { kind } => format!("close {kind:?}").to_lowercase(),
            };
            assert_eq!(got, expect, "{class:?} after {attempts} attempts");
        }
    }

    #[test]
    fn a_red_alert_goes_on_trying_until_it_ends() {
        let terms = Terms { persist: true, ..terms() };
        let got = next(terms, &failure(Class::Retry, None), 40, NOW, &mut StdRng::seed_from_u64(1));
        assert!(matches!(got, Next::Again { kind: FactKind::Retry, .. }), "{got:?}");
    }

    proptest! {
        #[test]
        fn nothing_is_put_off_past_the_end_and_no_hint_hijacks_the_schedule(hint_s in 0_u64..100_000, seed in any::<u64>(), left_s in 0_u64..200) {
            let terms = Terms { stop_at: NOW.plus(Duration::from_secs(left_s)), ..terms() };
            for class in [Class::Retry, Class::Throttled, Class::Unknown, Class::Misconfigured] {
                let got = next(terms, &failure(class, Some(hint_s)), 0, NOW, &mut StdRng::seed_from_u64(seed));
                if let Next::Again { at, .. } = got {
                    prop_assert!(at < terms.stop_at);
                    prop_assert!(at.since(NOW) <= HINT_MAX.mul_f64(1.0 + JITTER));
                }
            }
        }
    }
}
