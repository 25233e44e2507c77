//! Owns alerts that overtook the one they refer to: kept when they come, taken in when that one has come.
//! Refuses to promise: whoever posted is told that it was not accepted, and until when it is kept.
//! Invariant: a kept alert is judged again as if it were posted then; it leaves the list taken, or with the reason why not.

use std::time::Duration;

use super::{
    Unavailable,
    gateway::Gateway,
    intake::{Actor, Origin, SubmitError},
    parts::Document,
};
use crate::{
    alert::{self, Alert},
    area::AreaCode,
    delivery::{
        event::{Event, Told},
        waiting::Waiting,
    },
    fault::Fault,
};

/// A path that is down for longer than a day is repaired by hand, and the alerts with it.
const KEPT_FOR: Duration = Duration::from_secs(24 * 3_600);

impl Gateway {
    /// Makes it durable and says so in each fault, once however often it is posted.
    pub(super) async fn keep_waiting(
        &self,
        alert: &Alert,
        origin: Origin<'_>,
        areas: &[AreaCode],
        document: serde_json::Value,
        faults: &mut [Fault],
    ) -> Result<(), Unavailable> {
        let known = self.ledger.waiting().into_iter().find(|known| known.digest == origin.digest);
        let until = match known {
            Some(known) => known.until,
            None => {
                let until = origin.received.plus(KEPT_FOR);
                // An all-clear is as true after the end that it gives itself.
                let until = if alert.is_all_clear() { until } else { alert.expires.min(until) };
                let waiting = Waiting {
                    at: origin.received,
                    until,
                    source: origin.source.to_owned(),
                    by: origin.by.to_owned(),
                    owner: origin.owner.map(str::to_owned),
                    areas: areas.to_vec(),
                    format: origin.format.to_owned(),
                    digest: origin.digest,
                    sender: alert.sender.clone(),
                    identifier: alert.identifier.clone(),
                    references: alert.references.clone(),
                    document,
                    refused: Vec::new(),
                };
                self.append(vec![Event::Told(Box::new(Told::Waiting(Box::new(waiting))))]).await?;
                self.alarms.raise(
                    "alert-before-its-reference",
                    &alert.identifier,
                    format!("{}：所指预警尚未到达，保留至 {until}", alert.headline),
                );
                tracing::warn!(identifier = alert.identifier, %until, "kept: what it refers to has not come yet");
                until
            }
        };
        for fault in faults {
            fault.message.push_str(&format!("; kept until {until}, and taken in when that alert arrives"));
        }
        Ok(())
    }

    /// Takes in what waited for alerts that are there now. Called after each alert that was accepted, and at a start.
    pub(super) fn take_waiting(&self) {
        let now = self.clock.now();
        // Updates waited too, before they were told as warnings whose beginning is not known.
        let is_update = |one: &Waiting| one.document["msgType"] == "Update";
        let has_come =
            |one: &Waiting| is_update(one) || one.references.iter().any(|reference| self.find_reference(&one.sender, reference).is_some());
        let ready: Vec<Waiting> =
            self.ledger.waiting().into_iter().filter(|one| !one.is_refused() && one.until > now && has_come(one)).collect();
        if ready.is_empty() {
            return;
        }
        let gateway = self.clone();
        self.tasks.spawn(async move {
            for one in ready {
                if let Err(why) = gateway.take_one(one).await {
                    tracing::error!(%why, "an alert that waited could not be taken in; the next alert, start or end of a lack of space tries again");
                    return;
                }
            }
        });
    }

    async fn take_one(&self, one: Waiting) -> Result<(), Unavailable> {
        let actor = Actor { owner: one.owner.clone(), areas: one.areas.clone(), ..Actor::of_source(&one.by, &one.source) };
        let said = match &one.document {
            serde_json::Value::Array(several) => several.iter().map(alert::json::from_kept).collect::<Result<Vec<_>, _>>(),
            single => alert::json::from_kept(single).map(|alert| vec![alert]),
        };
        let why = match said {
            Ok(alerts) => match Box::pin(self.take_in(Document { alerts, places: Vec::new() }, &one.format, Vec::new(), &actor)).await {
                Ok(taken) => format!("taken in as {}", taken.id),
                Err(SubmitError::Unavailable(unavailable)) => return Err(unavailable),
                Err(SubmitError::Invalid(faults) | SubmitError::Early(faults)) => {
                    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
                }
                Err(error) => error.to_string(),
            },
            Err(error) => error.to_string(),
        };
        tracing::info!(identifier = one.identifier, why, "an alert waits no longer");
        self.append(vec![Event::Told(Box::new(Told::WaitingEnded { at: self.clock.now(), digest: one.digest, why }))]).await
    }
}
