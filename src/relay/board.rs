//! Owns what people see of the relays: what was handed on, what waits, what was refused, what ails the far end.
//! Refuses to send. Invariant: looking changes nothing, and what is shown was counted this moment.

use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use super::{cursor::Refusal, owed, worker::Relay};
use crate::{alert::AlertId, telemetry::metrics as meter, time::Timestamp};

/// The running relays, for whoever shows them.
#[derive(Clone, Default)]
pub struct Board(Arc<Mutex<Vec<Arc<Relay>>>>);

/// One item of `GET /v1/relays`.
#[derive(Clone, Debug, Serialize)]
pub struct RelayView {
    pub name: String,
    /// Scheme and host alone: a path may be a secret.
    pub url: String,
    pub format: &'static str,
    /// Alerts that were released and that the far end does not have.
    pub waiting: usize,
    pub oldest_waiting: Option<Waiting>,
    /// Seconds since the oldest of them was released; 0 when none waits.
    pub lag_s: u64,
    /// Alerts that the far end has and still hears of.
    pub open: usize,
    /// Alerts that it has taken, ever.
    pub relayed: u64,
    /// Alerts and reports that it has refused, ever.
    pub refused: u64,
    pub last_taken_at: Option<Timestamp>,
    /// Why the far end takes nothing, since when, and when it is tried again.
    pub trouble: Option<String>,
    pub trouble_since: Option<Timestamp>,
    pub next_try_at: Option<Timestamp>,
    /// Newest first, at most 100.
    pub refusals: Vec<Refusal>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Waiting {
    pub alert: AlertId,
    pub identifier: String,
    pub released_at: Timestamp,
}

impl Board {
    pub(super) fn put(&self, relay: Arc<Relay>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(relay);
    }

    /// By name.
    pub fn views(&self) -> Vec<RelayView> {
        let relays = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut views: Vec<RelayView> = relays.iter().map(|relay| relay.view()).collect();
        views.sort_by(|one, other| one.name.cmp(&other.name));
        views
    }

    /// Brings the gauges up to date; called when somebody reads them.
    pub fn measure(&self) {
        for view in self.views() {
            meter::relay(&view.name, view.waiting, view.lag_s, view.trouble.is_none());
        }
    }
}

impl Relay {
    fn view(&self) -> RelayView {
        let (now, health) = (self.gateway.clock().now(), self.health().clone());
        let mut cursor = self.cursor();
        let waiting = owed::waiting(&mut cursor, self.gateway.ledger(), &self.settings);
        let oldest = waiting.first().and_then(|&(released_at, no)| {
            let shelf = self.gateway.ledger().get(no)?;
            Some(Waiting { alert: shelf.id, identifier: shelf.alert.identifier.clone(), released_at })
        });
        let has_trouble = health.trouble.is_some();
        RelayView {
            name: self.name.clone(),
            url: self.settings.url.origin().ascii_serialization(),
            format: self.settings.format.name(),
            waiting: waiting.len(),
            lag_s: oldest.as_ref().map_or(0, |oldest| now.since(oldest.released_at).as_secs()),
            oldest_waiting: oldest,
            open: cursor.open().count(),
            relayed: cursor.relayed,
            refused: cursor.refused,
            last_taken_at: cursor.last_taken,
            trouble: health.trouble,
            trouble_since: has_trouble.then_some(health.since),
            next_try_at: has_trouble.then_some(health.next_try),
            refusals: cursor.refusals(),
        }
    }
}
