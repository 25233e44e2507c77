//! Owns what a terminal shows of a loudspeaker: one line for each thing that it does, and every fault in words.
//! Refuses to know MQTT. Invariant: a fault that repeats is shown at the first, second, fourth, … time.

use std::{
    collections::HashMap,
    io::Write as _,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    channel::speaker::device::{Notice, Notices},
    time::{Clock as _, SystemClock},
};

/// Faults of different words that are counted apart; others are counted together.
const KINDS_MAX: usize = 64;

/// Of one loudspeaker, everything.
pub(super) fn each() -> Notices {
    let faults = Faults::default();
    Arc::new(move |notice| {
        let line = match notice {
            Notice::Connected => "connected to the broker".to_owned(),
            Notice::Acknowledged { msg_id, state, reason: None } => format!("{msg_id} {state}"),
            Notice::Acknowledged { msg_id, state, reason: Some(reason) } => format!("{msg_id} {state}: {reason}"),
            Notice::Says { msg_id, text } => format!("{msg_id} says: {text}"),
            Notice::Reported { msg_id, state, error: Some(error), .. } => format!("{msg_id} {state}: {error}"),
            Notice::Reported { msg_id, state, error: None, simulated: true } => format!("{msg_id} {state} (simulated: no sound is made)"),
            Notice::Reported { msg_id, state, error: None, simulated: false } => format!("{msg_id} {state}"),
            Notice::NoConnection(_) | Notice::SubscriptionRefused | Notice::NotUnderstood => return faults.tell(notice),
        };
        show(&line);
    })
}

/// Of a fleet, only what goes wrong with connections.
pub(super) fn faults() -> Notices {
    let faults = Faults::default();
    Arc::new(move |notice| faults.tell(notice))
}

#[derive(Default)]
struct Faults(Mutex<HashMap<String, u64>>);

impl Faults {
    fn tell(&self, notice: Notice<'_>) {
        let fault = match notice {
            Notice::NoConnection(error) => format!("NO CONNECTION to the broker: {error}; it is tried again"),
            Notice::SubscriptionRefused => {
                "THE BROKER REFUSES a subscription: the area is not the one that the registry has for this loudspeaker".to_owned()
            }
            Notice::NotUnderstood => "a message that is no command came on a topic of commands".to_owned(),
            _ => return,
        };
        let so_far = {
            let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let key = if counts.len() < KINDS_MAX || counts.contains_key(&fault) { fault.clone() } else { String::new() };
            let count = counts.entry(key).or_insert(0);
            *count += 1;
            *count
        };
        if so_far.is_power_of_two() {
            show(&if so_far == 1 { fault } else { format!("{fault} ({so_far} times)") });
        }
    }
}

fn show(line: &str) {
    // Whoever watched has gone; the loudspeaker goes on.
    if writeln!(std::io::stderr(), "{} {line}", SystemClock.now()).is_err() {
        tracing::debug!("nobody reads what the loudspeaker says of itself");
    }
}
