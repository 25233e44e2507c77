//! Owns how an alert comes in: read, judged against time, authority, references, area and policy, made durable, then planned.
//! Refuses to know HTTP. Invariant: "accepted" is said only of what is durable; every fault is named; an alert is taken once (I1, I14).

use std::sync::Arc;

use serde::Serialize;

use super::{
    Unavailable, all_clear,
    authority::{Rights, Source},
    gateway::Gateway,
    parts::{Document, ELSEWHERE, Part},
    references::{Named, UNKNOWN_REFERENCE},
};
use crate::{
    alert::{self, Alert, AlertId, AlertNo, Level},
    area::AreaCode,
    delivery::{
        book::State,
        event::{Accepted, Decided, Event, Told},
        ledger::{AlertKey, Shelf},
    },
    fault::{Fault, Faults},
    matching,
    telemetry::metrics as meter,
    time::Timestamp,
};
use rand::{RngExt as _, SeedableRng, rngs::StdRng};

/// Who posts or decides, as the edge has settled it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// Key or user name.
    pub name: String,
    /// `[[source]]` that the key speaks for; people of the county's duty have none.
    pub source: Option<String>,
    /// The person whose key it is, where that is said: two keys of one person are one person.
    pub owner: Option<String>,
    /// What the key is limited to, within the areas of its source; empty is all of them.
    pub areas: Vec<AreaCode>,
}

impl Actor {
    pub fn of_source(name: &str, source: &str) -> Self {
        Self { name: name.to_owned(), source: Some(source.to_owned()), owner: None, areas: Vec::new() }
    }
}

/// How an alert came here.
pub(super) struct Origin<'a> {
    pub(super) received: Timestamp,
    pub(super) source: &'a str,
    pub(super) by: &'a str,
    pub(super) owner: Option<&'a str>,
    pub(super) format: &'a str,
    pub(super) digest: String,
}

/// What an alert without fault changes or ends, and whom it means.
type Sound = (Named, Option<matching::Audience>);

#[derive(Clone, Debug)]
pub struct Submitted {
    pub id: AlertId,
    pub no: AlertNo,
    pub identifier: String,
    pub sender: String,
    pub state: State,
    /// The same alert was here before: nothing new was done.
    pub repeat: bool,
    pub warnings: Vec<Fault>,
    /// All that the document said, this one first; each is an alert of its own.
    pub all: Vec<Taken>,
}

/// One alert of a document.
#[derive(Clone, Debug, Serialize)]
pub struct Taken {
    pub id: AlertId,
    pub identifier: String,
    pub event: String,
    pub event_name: String,
    pub level: Level,
    pub state: &'static str,
}

impl Submitted {
    fn of(taken: &[Arc<Shelf>], repeat: bool, warnings: Vec<Fault>) -> Result<Self, SubmitError> {
        let none = || Unavailable::Failed("nothing of the document is in the ledger".into());
        let first = taken.first().ok_or_else(none)?;
        let (id, no, state) = (first.id, first.no, first.read().state);
        let (identifier, sender) = (first.alert.identifier.clone(), first.alert.sender.clone());
        Ok(Self { id, no, identifier, sender, state, repeat, warnings, all: taken.iter().map(|shelf| Taken::of(shelf)).collect() })
    }
}

impl Taken {
    pub(super) fn of(shelf: &Shelf) -> Self {
        Self {
            id: shelf.id,
            identifier: shelf.alert.identifier.clone(),
            event: shelf.alert.event.to_string(),
            event_name: shelf.alert.event_name.clone(),
            level: shelf.alert.level,
            state: shelf.read().state.name(),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    #[error("not an alert document that can be read")]
    NotParseable(Vec<Fault>),
    #[error("the alert breaks {} rules", .0.len())]
    Invalid(Vec<Fault>),
    /// All that is wrong with it is that what it refers to has not come: kept until it does.
    #[error("what the alert refers to has not come yet")]
    Early(Vec<Fault>),
    #[error("another alert with this sender, identifier and time of sending is known as {0}")]
    Conflict(AlertId),
    #[error("{0} says the same in every word under the same identifier and is in force; only the time of sending differs")]
    LikelyRepeat(AlertId),
    #[error("no source of this name may post alerts: {0:?}")]
    NoSource(String),
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl Gateway {
    /// Takes an alert in; answers once it is on disk.
    pub async fn submit(&self, body: &[u8], content_type: Option<&str>, by: &Actor) -> Result<Submitted, SubmitError> {
        let reading = alert::read(body, content_type, &self.limits, &self.vocabulary);
        let alert = match reading.outcome {
            Ok(alert) => alert,
            Err(faults) if !reading.parseable => return Err(SubmitError::NotParseable(faults)),
            Err(faults) => return Err(SubmitError::Invalid(faults)),
        };
        let format = reading.format.map_or("", alert::Format::name);
        let alerts = std::iter::once(alert).chain(reading.further).collect();
        self.take_in(Document { alerts, places: reading.places }, format, reading.warnings, by).await
    }

    pub(super) async fn take_in(
        &self,
        document: Document,
        format: &str,
        mut warnings: Vec<Fault>,
        by: &Actor,
    ) -> Result<Submitted, SubmitError> {
        let received = self.clock.now();
        let digest = hex(&alert::document_digest(&document.alerts));
        let Some(head) = document.alerts.first().cloned() else { return Err(SubmitError::Invalid(Vec::new())) };
        let turn = self.intake.lock().await;
        let source_name = by.source.clone().unwrap_or_default();
        let source = self.sources.iter().find(|source| source.name == source_name).ok_or(SubmitError::NoSource(source_name))?;
        let rights = Rights::of(source, &by.areas);
        if let Some(known) = self.ledger.find_key(&AlertKey::of(&head)) {
            rights.judge_repeat(&head, &known, &self.snapshot()).map_err(SubmitError::Invalid)?;
            return repeat(&self.ledger.document_of(&known), &known, &digest, warnings);
        }
        if let Some(known) = document.alerts.iter().find_map(|alert| self.repeated_with_another_time(alert)) {
            return Err(SubmitError::LikelyRepeat(known));
        }
        let as_written = as_written(&document.alerts);
        let parts = match self.judge_parts(&rights, document, received, &mut warnings) {
            Ok(parts) => parts,
            // Nothing else is wrong with it: the post may have overtaken the alert that it refers to.
            Err(mut faults) if faults.iter().all(|fault| fault.rule == UNKNOWN_REFERENCE) => {
                let origin = Origin { received, source: &source.name, by: &by.name, owner: by.owner.as_deref(), format, digest };
                self.keep_waiting(&head, origin, &by.areas, as_written, &mut faults).await?;
                return Err(SubmitError::Early(faults));
            }
            Err(faults) => return Err(SubmitError::Invalid(faults)),
        };
        let (mut events, mut numbers) = (Vec::new(), Vec::new());
        for part in &parts {
            let targets = part.shelves();
            self.look_whom_to_clear(&part.alert, &targets).await.map_err(Unavailable::from)?;
            let origin =
                Origin { received, source: &source.name, by: &by.name, owner: by.owner.as_deref(), format, digest: digest.clone() };
            let mut accepted = self.accepted_part(part, source, origin, &mut warnings);
            accepted.alert = AlertNo(accepted.alert.0 + u32::try_from(numbers.len()).unwrap_or(u32::MAX));
            let (no, is_held) = (accepted.alert, accepted.needs_approval);
            numbers.push((no, is_held));
            events.push(told(Told::Accepted(accepted)));
            // What is not out yet needs nobody's leave to stay so.
            let is_ended_now = |target: &&Arc<Shelf>| !is_held || (part.alert.is_all_clear() && target.read().state == State::Held);
            let ended = targets.iter().filter(is_ended_now);
            events.extend(ended.flat_map(|target| self.end_of_target(target, &part.alert, no, &by.name, received)));
            events.extend(part.later.iter().map(|later| end_by(&later.alert, later.no, no, &by.name, received)));
        }
        // One commit: all that the document says, or nothing of it.
        self.append(events).await?;
        drop(turn);
        let mut taken = Vec::with_capacity(parts.len());
        for (part, (no, is_held)) in parts.into_iter().zip(numbers) {
            taken.push(self.taken(no)?);
            self.begin(part, no, is_held)?;
        }
        self.take_waiting();
        Submitted::of(&taken, false, warnings)
    }

    /// The event that takes a part in, with what is odd about it.
    fn accepted_part(&self, part: &Part, source: &Source, origin: Origin<'_>, warnings: &mut Vec<Fault>) -> Accepted {
        // Codes of neighbouring counties are normal in a city's alert: ours is told, the rest is named.
        warnings.extend(part.matched.iter().flat_map(|audience| audience.unresolved.iter().cloned()));
        if part.later.is_none() {
            warnings.extend(self.likely_update(&part.alert));
        }
        warnings.extend(self.reach_warnings(&part.alert, part.matched.as_ref()));
        let mut accepted = self.accepted(&part.alert, origin, part.targets.iter().map(|target| target.shelf.no).collect());
        // An all-clear goes to those who were told, whatever its areas are called.
        let doubts = if part.alert.is_all_clear() { &[][..] } else { part.doubts.as_slice() };
        accepted.doubts = doubts.iter().map(|doubt| doubt.words.clone()).collect();
        let is_said = part.later.is_none() && !all_clear::only_withdraws(&part.alert, &part.shelves());
        accepted.needs_approval = is_said && (source.needs_approval(&part.alert) || !doubts.is_empty());
        warnings.extend(doubts.iter().map(|doubt| doubt.fault.clone()));
        accepted
    }

    fn taken(&self, no: AlertNo) -> Result<Arc<Shelf>, Unavailable> {
        self.ledger.get(no).ok_or(Unavailable::Failed("the alert is not in the ledger after its commit".into()))
    }

    /// Counts what was taken in, and sends it on its way unless somebody must approve it.
    fn begin(&self, part: Part, no: AlertNo, is_held: bool) -> Result<(), Unavailable> {
        let shelf = self.taken(no)?;
        let (targets, alert) = (part.shelves(), part.alert);
        meter::accepted(alert.level.name(), alert.status.is_drill());
        let (id, level) = (shelf.id, alert.level.name());
        tracing::info!(alert = %id, identifier = alert.identifier, event = %alert.event, level, needs_approval = is_held, "alert accepted");
        if !is_held && part.later.is_none() {
            self.release(&shelf, &targets, part.matched);
        }
        Ok(())
    }

    pub(super) fn accepted(&self, alert: &Alert, origin: Origin<'_>, targets: Vec<AlertNo>) -> Accepted {
        Accepted {
            alert: self.ledger.next_no(),
            id: new_id(origin.received),
            received: origin.received,
            accepted: self.clock.now(),
            source: origin.source.to_owned(),
            by: origin.by.to_owned(),
            owner: origin.owner.map(str::to_owned),
            decided: Decided::default(),
            needs_approval: false,
            format: origin.format.to_owned(),
            digest: origin.digest,
            document: alert::json::to_value(alert),
            targets,
            doubts: Vec::new(),
            notice_of: None,
        }
    }

    /// Holds an alert against its source's rights, the time, what it refers to, the registry and the policy: the alerts that it changes or
    /// ends and whom it means, or every fault. One right that is missing over one of several alerts refuses the whole: nothing is ended in
    /// part that was asked for as one.
    pub(super) fn judged(&self, rights: &Rights<'_>, alert: &Alert, now: Timestamp) -> Result<Sound, Vec<Fault>> {
        let mut faults = Faults::default();
        rights.judge(alert, &self.snapshot(), &mut faults);
        judge_time(alert, now, self.max_skew, &mut faults);
        let named = self.judge_references(alert, &mut faults);
        for target in &named.targets {
            let said_by = target.shelf.read().accepted.source.clone();
            rights.judge_target(&said_by, target, &self.snapshot(), &mut faults);
        }
        all_clear::judge_status(alert, &named.targets, &mut faults);
        let matched = self.judge_area(alert, &mut faults);
        if !alert.is_all_clear() && self.policy.load().decide(&alert.event, alert.level, &alert.groups).is_none() {
            faults.add("event", "no-policy-rule", format!("no rule of the policy fits {} at level {}", alert.event, alert.level.name()));
        }
        faults.into_result((named, matched))
    }

    /// Whom the area means; an area that means nobody here is a fault. An all-clear goes to those who were told, wherever they are.
    fn judge_area(&self, alert: &Alert, faults: &mut Faults) -> Option<matching::Audience> {
        if alert.is_all_clear() {
            return None;
        }
        let snapshot = self.snapshot();
        let audience = matching::audience(&alert.areas, &snapshot);
        if audience.is_empty() {
            let message = format!("the area of the alert holds nobody of {} {}", self.county, self.county_name);
            faults.add("areas", ELSEWHERE, message);
            faults.extend(audience.unresolved.iter().cloned());
        }
        Some(audience)
    }
}

/// The known alerts of the document, when it says the same as then.
fn repeat(all: &[Arc<Shelf>], known: &Arc<Shelf>, digest: &str, warnings: Vec<Fault>) -> Result<Submitted, SubmitError> {
    let is_same = |shelf: &&Arc<Shelf>| shelf.read().accepted.digest == digest;
    if !is_same(&known) {
        return Err(SubmitError::Conflict(known.id));
    }
    Submitted::of(&all.iter().filter(is_same).cloned().collect::<Vec<_>>(), true, warnings)
}

/// What is kept of a document that must wait: the list of what it says, where that is more than one thing.
fn as_written(alerts: &[Alert]) -> serde_json::Value {
    match alerts {
        [one] => alert::json::to_value(one),
        several => several.iter().map(alert::json::to_value).collect(),
    }
}

pub(crate) fn judge_time(alert: &Alert, now: Timestamp, max_skew: std::time::Duration, faults: &mut Faults) {
    // An all-clear is no less true when the time that it gives itself is over.
    if alert.expires <= now && !alert.is_all_clear() {
        faults.add("expires", "expired", format!("the alert expired at {}; it is {now} here", alert.expires));
    }
    if alert.sent > now.plus(max_skew) {
        let message = format!("sent at {}, which is more than {} s ahead of {now} here", alert.sent, max_skew.as_secs());
        faults.add("sent", "sent-in-the-future", message);
    }
}

/// What becomes of an alert that another changes or ends.
pub(super) fn end_by(by_alert: &Alert, by_no: AlertNo, alert: AlertNo, by: &str, at: Timestamp) -> Event {
    told(if by_alert.is_all_clear() {
        Told::Cancelled { alert, at, by: by.to_owned(), reason: by_alert.note.clone(), cancel: Some(by_no) }
    } else {
        Told::Superseded { alert, at, update: by_no }
    })
}

pub(super) fn told(told: Told) -> Event {
    Event::Told(Box::new(told))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// UUIDv7 of our clock, with fresh random bits.
fn new_id(now: Timestamp) -> AlertId {
    let bits: [u8; 10] = StdRng::from_rng(&mut rand::rng()).random();
    AlertId(uuid::Builder::from_unix_timestamp_millis(now.as_ms().unsigned_abs(), &bits).into_uuid())
}
