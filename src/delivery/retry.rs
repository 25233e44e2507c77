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

/// A refusal that may be the account's own fault is asked of the next account after this, unless the account takes something meanwhile:
/// one in use does within a second.
const HELD: Duration = Duration::from_secs(2);
/// Each further doubt waits this many times longer than the one before it.
const DOUBTED_TIMES: u32 = 5;
/// Beyond it the pause outlasts any warning.
const DOUBTS_MAX: u8 = 6;

/// How far a refusal is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The account takes others, or another account has refused the same recipient.
    Believed,
    /// It has taken nothing since.
    Held,
    /// It refuses everyone.
    Suspect,
}

/// What the delivery's rule and route allow, and what came before.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    pub schedule: &'a [Duration],
    /// Pause after a second doubt where nobody else could take it.
    pub unknown_retry: Duration,
    /// Nothing is sent at or after this.
    pub stop_at: Timestamp,
    /// Another account of the same route could take it.
    pub has_next_account: bool,
    /// Go on with the schedule's last delay until `stop_at`.
    pub persist: bool,
    /// Times that it may have been taken and nobody said so, before this one.
    pub doubts: u8,
    /// Said by a report: the far end had taken it, and this is its last word.
    pub by_report: bool,
    pub trust: Trust,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Put off; the kind says whether it counts as an attempt.
    Again {
        kind: FactKind,
        at: Timestamp,
    },
    /// Put off, and for the next account unless this one turns out to be right.
    Held {
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
    let next_account = || Next::NextAccount { at: now };
    let closed = Next::Close { kind: FactKind::Failed };
    let wanted = match failure.class {
        Class::OptedOut => return Next::Close { kind: FactKind::Suppressed },
        Class::Reject if terms.has_next_account && (failure.concerns != Concerns::Recipient || terms.trust == Trust::Suspect) => {
            return next_account();
        }
        Class::Reject if terms.has_next_account && terms.trust == Trust::Held => {
            let at = now.plus(HELD);
            return if at >= terms.stop_at { closed } else { Next::Held { at } };
        }
        Class::Reject => match refused_by_the_last(terms, failure.concerns, attempts) {
            Some(delay) => (FactKind::Retry, delay),
            None => return closed,
        },
        Class::Retry if terms.trust == Trust::Suspect && terms.has_next_account => return next_account(),
        Class::Misconfigured if terms.has_next_account => return next_account(),
        Class::Misconfigured => (FactKind::Throttled, PARKED),
        Class::Throttled => (FactKind::Throttled, failure.retry_after.unwrap_or(THROTTLE_DEFAULT).clamp(HINT_MIN, HINT_MAX)),
        // The operator's last word: no proof, and nothing that another copy by the same way would prove.
        Class::Unknown if terms.by_report && !terms.has_next_account => return Next::Close { kind: FactKind::Unproven },
        Class::Unknown if terms.has_next_account && (terms.by_report || terms.doubts > 0) => return next_account(),
        Class::Unknown if terms.doubts > 0 => (
            FactKind::Unknown,
            terms.unknown_retry.saturating_mul(DOUBTED_TIMES.saturating_pow(u32::from(terms.doubts.min(DOUBTS_MAX)) - 1)),
        ),
        Class::Retry | Class::Unknown => {
            let kind = if failure.class == Class::Unknown { FactKind::Unknown } else { FactKind::Retry };
            let Some(delay) = scheduled(terms, attempts, terms.persist && !terms.has_next_account) else {
                return if terms.has_next_account { next_account() } else { closed };
            };
            (kind, failure.retry_after.map_or(delay, |hint| hint.clamp(delay, delay.saturating_mul(2).min(HINT_MAX).max(delay))))
        }
    };
    let (kind, delay) = wanted;
    let at = now.plus(jittered(delay, rng));
    if at >= terms.stop_at { closed } else { Next::Again { kind, at } }
}

/// When the last account of the route that there is should be asked again, after it has refused.
fn refused_by_the_last(terms: Terms<'_>, concerns: Concerns, attempts: u8) -> Option<Duration> {
    match (terms.trust, concerns) {
        // Words and forms do not change by waiting, and a dead number stays dead.
        (Trust::Believed, Concerns::Recipient | Concerns::Message | Concerns::Request) => None,
        (Trust::Held | Trust::Believed, _) => scheduled(terms, attempts, false),
        (Trust::Suspect, _) => scheduled(terms, attempts, terms.persist),
    }
}

fn scheduled(terms: Terms<'_>, attempts: u8, goes_on: bool) -> Option<Duration> {
    let last = || terms.schedule.last().filter(|_| goes_on);
    terms.schedule.get(usize::from(attempts)).or_else(last).copied()
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
        let stop_at = NOW.plus(Duration::from_secs(6 * 3_600));
        let trust = Trust::Believed;
        let unknown_retry = Duration::from_secs(180);
        Terms { schedule: &SCHEDULE, unknown_retry, stop_at, has_next_account: false, persist: false, doubts: 0, by_report: false, trust }
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
            assert_eq!(word(next), expect, "{class:?} after {attempts} attempts");
        }
    }

    fn word(next: Next) -> String {
        match next {
            Next::Again { kind, .. } => format!("again {kind:?}").to_lowercase(),
            Next::Held { .. } => "held".into(),
            Next::NextAccount { .. } => "next account".into(),
            Next::Close { kind } => format!("close {kind:?}").to_lowercase(),
        }
    }

    #[test]
    fn a_refusal_is_closed_only_where_it_is_the_readers_and_the_account_is_believed() {
        use Concerns::{Message, Provider, Recipient, Request};
        use Trust::{Believed, Held, Suspect};
        for (concerns, trust, has_next_account, expect) in [
            (Recipient, Believed, true, "close failed"),
            (Recipient, Held, true, "held"),
            (Recipient, Suspect, true, "next account"),
            (Recipient, Believed, false, "close failed"),
            (Recipient, Held, false, "again retry"),
            (Recipient, Suspect, false, "again retry"),
            (Provider, Believed, true, "next account"),
            (Message, Believed, true, "next account"),
            (Request, Held, true, "next account"),
            (Provider, Believed, false, "again retry"),
            (Message, Believed, false, "close failed"),
            (Request, Held, false, "again retry"),
        ] {
            let terms = Terms { has_next_account, trust, ..terms() };
            let failure = Failure { concerns, ..failure(Class::Reject, None) };
            assert_eq!(
                word(next(terms, &failure, 0, NOW, &mut StdRng::seed_from_u64(1))),
                expect,
                "{concerns:?} {trust:?} {has_next_account}"
            );
        }
        let everyone = Terms { trust: Suspect, persist: true, ..terms() };
        assert_eq!(word(next(everyone, &failure(Class::Reject, None), 9, NOW, &mut StdRng::seed_from_u64(1))), "again retry");
        assert_eq!(word(next(terms(), &failure(Class::Reject, None), 9, NOW, &mut StdRng::seed_from_u64(1))), "close failed");
    }

    #[test]
    fn a_message_in_doubt_goes_to_the_next_account_at_the_second_or_waits_ever_longer() {
        let unclear = failure(Class::Unknown, None);
        let ask = |terms: Terms<'_>| next(terms, &unclear, 7, NOW, &mut StdRng::seed_from_u64(1));
        assert_eq!(word(ask(Terms { doubts: 1, has_next_account: true, ..terms() })), "next account");
        let (mut now, mut copies) = (NOW, 2);
        for doubts in 1.. {
            match next(Terms { doubts, persist: true, ..terms() }, &unclear, 7, now, &mut StdRng::seed_from_u64(u64::from(doubts))) {
                Next::Again { kind: FactKind::Unknown, at } => (now, copies) = (at, copies + 1),
                Next::Close { .. } => break,
                other => panic!("{other:?}"),
            }
        }
        assert!(copies <= 5, "{copies} copies in six hours");
    }

    #[test]
    fn an_operator_that_does_not_know_is_asked_nothing_again() {
        let unknown = failure(Class::Unknown, None);
        let terms = Terms { by_report: true, persist: true, ..terms() };
        assert_eq!(word(next(terms, &unknown, 0, NOW, &mut StdRng::seed_from_u64(1))), "close unproven");
        let terms = Terms { has_next_account: true, ..terms };
        assert_eq!(word(next(terms, &unknown, 0, NOW, &mut StdRng::seed_from_u64(1))), "next account");
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
