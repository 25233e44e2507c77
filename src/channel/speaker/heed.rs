//! Owns which commands a loudspeaker heeds: signed by whom, meant for whom, sent when, heard before.
//! Refuses to know what a command does. Pure.
//! Invariant: a signed command is heeded by those whom it names, within minutes of its sending, and once, also after a restart.

use std::{
    collections::{HashSet, VecDeque},
    time::Duration,
};

use ed25519_dalek::VerifyingKey;

use super::{broker::divisions, command::Command, jws};
use crate::{area::AreaCode, time::Timestamp};

/// Ids that a speaker remembers; a county has a few alerts a day, so this is a year and survives no flood longer than it must.
pub(super) const SPENT_MAX: usize = 1_000;
/// A clock that is behind by more than this is corrected by what the gateway has signed.
const BEHIND_MAX: Duration = Duration::from_secs(60);

/// What became of a payload.
#[derive(Debug, PartialEq)]
pub(super) enum Heeded {
    Taken(Box<Command>),
    Refused { msg_id: String, state: &'static str, reason: &'static str },
}

pub(super) struct Heed {
    id: String,
    divisions: [AreaCode; 3],
    keys: Vec<VerifyingKey>,
    age_max: Option<Duration>,
    spent: HashSet<String>,
    /// The same ids by age.
    by_age: VecDeque<String>,
    /// How far the clock is known to be behind. A signed time proves that it is at least so late; it never proves that it is earlier.
    behind: Duration,
}

impl Heed {
    pub(super) fn new(id: &str, area: AreaCode, keys: Vec<VerifyingKey>, age_max: Option<Duration>, spent: Vec<String>) -> Self {
        let (id, divisions) = (id.to_owned(), divisions(area));
        let mut heed = Self { id, divisions, keys, age_max, spent: HashSet::new(), by_age: VecDeque::new(), behind: Duration::ZERO };
        for id in spent {
            heed.spend(id);
        }
        heed
    }

    pub(super) fn time(&self, clock: Timestamp) -> Timestamp {
        clock.plus(self.behind)
    }

    /// Whether a command is to be carried out; `None` when this is none.
    pub(super) fn judge(&mut self, payload: &[u8], clock: Timestamp) -> Option<Heeded> {
        let (command, genuine) = match jws::open(payload, &self.keys) {
            Some((inner, verified)) => (serde_json::from_slice::<Command>(&inner).ok()?, verified || self.keys.is_empty()),
            None => (serde_json::from_slice::<Command>(payload).ok()?, self.keys.is_empty()),
        };
        if genuine && !self.keys.is_empty() {
            self.learn_time(&command, clock);
        }
        let rejected = |reason| Some(("rejected", reason));
        let refusal = if !genuine {
            rejected("bad-signature")
        } else if !self.names_us(&command) {
            rejected("not-for-this-speaker")
        } else if command.expires <= self.time(clock) {
            rejected("expired")
        } else if self.spent.contains(&command.msg_id) {
            Some(("duplicate", "heard-before"))
        } else if self.is_stale(&command, clock) {
            rejected("too-old")
        } else {
            None
        };
        Some(match refusal {
            Some((state, reason)) => Heeded::Refused { msg_id: command.msg_id, state, reason },
            None => Heeded::Taken(Box::new(command)),
        })
    }

    /// Marks an id as heard; false when it was before.
    pub(super) fn spend(&mut self, id: String) -> bool {
        let is_new = self.spent.insert(id.clone());
        if is_new {
            self.by_age.push_back(id);
        }
        if self.by_age.len() > SPENT_MAX
            && let Some(oldest) = self.by_age.pop_front()
        {
            self.spent.remove(&oldest);
        }
        is_new
    }

    /// With a key, a command says for whom it is; without one, somebody may speak by hand.
    fn names_us(&self, command: &Command) -> bool {
        match (&command.speaker, command.areas.as_slice()) {
            (None, []) => self.keys.is_empty(),
            (speaker, areas) => {
                speaker.as_ref().is_some_and(|speaker| *speaker == self.id) || areas.iter().any(|area| self.divisions.contains(area))
            }
        }
    }

    fn is_stale(&self, command: &Command, clock: Timestamp) -> bool {
        let Some(age_max) = self.age_max else { return false };
        match command.sent {
            None => !self.keys.is_empty(),
            Some(sent) => self.time(clock).since(sent) > age_max,
        }
    }

    fn learn_time(&mut self, command: &Command, clock: Timestamp) {
        let Some(sent) = command.sent else { return };
        // Its own clock agrees with the gateway's: whatever was learnt before came from a gateway that was ahead, or the clock has been set.
        if sent.since(clock) <= BEHIND_MAX && clock.since(sent) <= BEHIND_MAX {
            self.behind = Duration::ZERO;
        }
        let missing = sent.since(self.time(clock));
        if missing > BEHIND_MAX {
            self.behind += missing;
        }
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;
    use serde_json::{Value, json};

    use super::*;

    const VILLAGE: &str = "510726102201";

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_ms(1_784_772_900_000 + seconds * 1_000)
    }

    fn ours() -> SigningKey {
        SigningKey::from_bytes(&[1; 32])
    }

    fn heed(keys: &[&SigningKey], spent: &[&str]) -> Heed {
        let keys = keys.iter().map(|key| key.verifying_key()).collect();
        let spent = spent.iter().map(|id| (*id).to_owned()).collect();
        Heed::new("S1", VILLAGE.parse().expect("a code"), keys, Some(Duration::from_secs(300)), spent)
    }

    fn command(change: impl FnOnce(&mut Value)) -> Vec<u8> {
        let mut command = json!({
            "msg_id": "a", "action": "play", "alert": "a", "status": "Actual", "level": "red", "event": "11B03", "headline": "", "text": "走",
            "repeat": 1, "interval_s": 5, "expires": at(3_600), "preempt": true, "sent": at(0), "areas": [VILLAGE],
        });
        change(&mut command);
        serde_json::to_vec(&command).expect("json")
    }

    fn said(heed: &mut Heed, payload: &[u8], clock: Timestamp) -> &'static str {
        match heed.judge(payload, clock) {
            None => "no command",
            Some(Heeded::Refused { reason, .. }) => reason,
            Some(Heeded::Taken(taken)) => {
                heed.spend(taken.msg_id);
                "taken"
            }
        }
    }

    #[test]
    fn a_signed_command_is_heeded_by_those_whom_it_names() {
        for (target, expected) in [
            (json!({ "areas": [VILLAGE] }), "taken"),
            (json!({ "areas": ["510726102"] }), "taken"),
            (json!({ "areas": ["510726"] }), "taken"),
            (json!({ "areas": ["510726102202", "510726"] }), "taken"),
            (json!({ "areas": [], "speaker": "S1" }), "taken"),
            (json!({ "areas": ["510726102202"] }), "not-for-this-speaker"),
            (json!({ "areas": ["5107"] }), "not-for-this-speaker"),
            (json!({ "areas": [], "speaker": "S2" }), "not-for-this-speaker"),
            (json!({ "areas": [] }), "not-for-this-speaker"),
        ] {
            let payload =
                command(|command| target.as_object().expect("an object").iter().for_each(|(key, value)| command[key] = value.clone()));
            assert_eq!(said(&mut heed(&[&ours()], &[]), &jws::sign(&payload, &ours()), at(1)), expected, "{target}");
        }
    }

    #[test]
    fn what_is_altered_unsigned_old_over_or_spent_is_not_heeded() {
        let (ours, theirs) = (ours(), SigningKey::from_bytes(&[2; 32]));
        let payload = command(|_| ());
        let signed = jws::sign(&payload, &ours);
        let altered = String::from_utf8(signed.clone()).expect("text").replace("\"signature\":\"", "\"signature\":\"A");
        for (bytes, clock, spent, expected) in [
            (signed.clone(), at(1), vec![], "taken"),
            (payload.clone(), at(1), vec![], "bad-signature"),
            (jws::sign(&payload, &theirs), at(1), vec![], "bad-signature"),
            (altered.into_bytes(), at(1), vec![], "bad-signature"),
            (signed.clone(), at(301), vec![], "too-old"),
            (signed.clone(), at(3_600), vec![], "expired"),
            (signed.clone(), at(1), vec!["a"], "heard-before"),
            (signed, at(301), vec!["a"], "heard-before"),
            (jws::sign(&command(|command| command["sent"] = Value::Null), &ours), at(1), vec![], "too-old"),
            (b"not a command".to_vec(), at(1), vec![], "no command"),
        ] {
            assert_eq!(said(&mut heed(&[&ours], &spent), &bytes, clock), expected, "{}", String::from_utf8_lossy(&bytes));
        }
        assert_eq!(said(&mut heed(&[], &[]), &payload, at(1)), "taken", "without a key");
        assert_eq!(said(&mut heed(&[&theirs, &ours], &[]), &jws::sign(&payload, &ours), at(1)), "taken", "while keys change");
    }

    #[test]
    fn a_clock_that_is_behind_follows_what_was_signed_and_never_goes_back() {
        let key = ours();
        let mut slow = heed(&[&key], &[]);
        // The device woke up in another year.
        let clock = at(-86_400 * 365);
        let later = |id: &str, sent: i64| {
            jws::sign(
                &command(|command| {
                    (command["msg_id"], command["sent"], command["expires"]) = (id.into(), json!(at(sent)), json!(at(sent + 600)))
                }),
                &key,
            )
        };
        assert_eq!(said(&mut slow, &later("a", 0), clock), "taken");
        assert_eq!(slow.time(clock), at(0));
        assert_eq!(said(&mut slow, &later("b", -500), clock), "too-old");
        assert_eq!(said(&mut slow, &later("c", 400), clock.plus(Duration::from_secs(400))), "taken");
        // The gateway was a day ahead for a moment; the speaker, whose clock is right, heeds what comes afterwards.
        let mut right = heed(&[&key], &[]);
        assert_eq!(said(&mut right, &later("a", 86_400), at(0)), "taken");
        assert_eq!(said(&mut right, &later("b", 10), at(10)), "taken");
        // A clock that runs ahead finds everything old, unless it is not to be trusted at all.
        assert_eq!(said(&mut heed(&[&key], &[]), &later("a", 0), at(400)), "too-old");
        let mut trusting = heed(&[&key], &[]);
        trusting.age_max = None;
        assert_eq!(said(&mut trusting, &later("a", 0), at(400)), "taken");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut heed = heed(&[], &[]);
        (0..SPENT_MAX + 50).for_each(|number| assert!(heed.spend(number.to_string())));
        assert!(heed.spent.len() == SPENT_MAX && heed.by_age.len() == SPENT_MAX);
        assert!(heed.spend("0".to_owned()) && !heed.spend("1049".to_owned()));
    }
}
