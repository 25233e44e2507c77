//! Owns how an alert comes in: read, judged against time, authority, references, area and policy, made durable, then planned.
//! Refuses to know HTTP. Invariant: "accepted" is said only of what is durable; every fault is named; an alert is taken once (I1, I14).

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Unavailable, approvals,
    gateway::Gateway,
    planner::{self, Basis, Plan, Told as ToldBefore},
};
use crate::{
    alert::{self, Alert, AlertId, AlertNo, MsgType, Reference},
    delivery::{
        book::State,
        event::{Accepted, Event, Told},
        ledger::{AlertKey, Shelf},
    },
    fault::{Fault, Faults},
    matching,
    telemetry::metrics as meter,
    time::Timestamp,
};
use rand::{RngExt as _, SeedableRng, rngs::StdRng};

/// Links of an Update chain that are followed; a warning is seldom updated more than a dozen times.
const CHAIN_MAX: usize = 1_000;

const UNKNOWN_REFERENCE: &str = "unknown-reference";

/// Who posts or decides, as the edge has settled it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// Key or user name.
    pub name: String,
    /// `[[source]]` that the key speaks for; people of the county's duty have none.
    pub source: Option<String>,
}

/// How an alert came here.
pub(super) struct Origin<'a> {
    pub(super) received: Timestamp,
    pub(super) source: &'a str,
    pub(super) by: &'a str,
    pub(super) format: &'a str,
    pub(super) digest: String,
}

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
    #[error("no source of this name may post alerts: {0:?}")]
    NoSource(String),
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

#[derive(Debug, thiserror::Error)]
pub enum DecideError {
    #[error("no such alert")]
    NoSuchAlert,
    #[error("the alert is {0}, not held")]
    NotHeld(&'static str),
    #[error("whoever posted an alert cannot approve it")]
    SamePerson,
    #[error("the alert has expired")]
    Expired,
    #[error("the alert is {0}: there is nothing to cancel")]
    NothingToCancel(&'static str),
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
        self.take_in(alert, format, reading.warnings, by).await
    }

    pub(super) async fn take_in(
        &self,
        mut alert: Alert,
        format: &str,
        mut warnings: Vec<Fault>,
        by: &Actor,
    ) -> Result<Submitted, SubmitError> {
        let received = self.clock.now();
        let digest = hex(&alert::content_digest(&alert));
        let turn = self.intake.lock().await;
        if let Some(known) = self.ledger.find_key(&AlertKey::of(&alert)) {
            return repeat(&known, &digest, &alert, warnings);
        }
        let source_name = by.source.clone().unwrap_or_default();
        let source = self.sources.iter().find(|source| source.name == source_name).ok_or(SubmitError::NoSource(source_name))?;
        let as_written = alert::json::to_value(&alert);
        let meant = source.understand(&mut alert, &self.snapshot());
        warnings.extend(meant.warnings);
        let mut faults = Faults::default();
        source.judge(&alert, &self.snapshot(), &mut faults);
        judge_time(&alert, received, self.max_skew, &mut faults);
        let target = self.judge_references(&alert, &mut faults);
        if let Some(target) = &target {
            let said_by = target.read().accepted.source.clone();
            source.judge_target(&said_by, &target.alert, &self.snapshot(), &mut faults);
        }
        let matched = self.judge_area(&alert, &mut faults);
        if self.policy.load().decide(&alert.event, alert.level, &alert.groups).is_none() {
            faults.add("event", "no-policy-rule", format!("no rule of the policy fits {} at level {}", alert.event, alert.level.name()));
        }
        if !faults.is_empty() {
            let mut faults = faults.into_list();
            // Nothing else is wrong with it: the post may have overtaken the alert that it refers to.
            if faults.iter().all(|fault| fault.rule == UNKNOWN_REFERENCE) {
                let origin = Origin { received, source: &source.name, by: &by.name, format, digest };
                self.keep_waiting(&alert, origin, as_written, &mut faults).await?;
                return Err(SubmitError::Early(faults));
            }
            return Err(SubmitError::Invalid(faults));
        }
        // Codes of neighbouring counties are normal in a city's alert: ours is told, the rest is named.
        warnings.extend(matched.iter().flat_map(|audience| audience.unresolved.iter().cloned()));
        let origin = Origin { received, source: &source.name, by: &by.name, format, digest };
        let mut accepted = self.accepted(&alert, origin, target.as_ref().map(|shelf| shelf.no));
        // A Cancel goes to those who were told, whatever its areas are called.
        let doubts = if alert.msg_type == MsgType::Cancel { Vec::new() } else { meant.doubts };
        accepted.doubts = doubts.iter().map(|doubt| format!("{}: {}", doubt.path, doubt.message)).collect();
        accepted.needs_approval = source.needs_approval(&alert) || !doubts.is_empty();
        warnings.extend(doubts);
        let needs_approval = accepted.needs_approval;
        let (no, id) = (accepted.alert, accepted.id);
        let mut events = vec![told(Told::Accepted(accepted))];
        if !needs_approval {
            events.extend(target.iter().flat_map(|target| self.end_of_target(target, &alert, no, &by.name, received)));
        }
        self.append(events).await?;
        drop(turn);
        meter::accepted(alert.level.name(), alert.status.is_drill());
        let shelf = self.ledger.get(no).ok_or(Unavailable("the alert is not in the ledger after its commit".into()))?;
        tracing::info!(alert = %id, identifier = alert.identifier, event = %alert.event, level = alert.level.name(), needs_approval, "alert accepted");
        if !needs_approval {
            self.release(&shelf, target.as_deref(), matched);
        }
        self.take_waiting();
        let state = shelf.read().state;
        Ok(Submitted { id, no, identifier: alert.identifier, sender: alert.sender, state, repeat: false, warnings })
    }

    /// Stops what it replaces and plans it, without keeping the poster waiting.
    pub(super) fn release(&self, shelf: &Arc<Shelf>, target: Option<&Shelf>, matched: Option<matching::Audience>) {
        if let Some(target) = target {
            self.drop_from_queues(target.no);
        }
        let (gateway, shelf) = (self.clone(), Arc::clone(shelf));
        self.tasks.spawn(async move {
            let planned = match matched {
                Some(audience) => gateway.plan_for(&shelf, audience).await,
                None => gateway.plan(&shelf).await,
            };
            if let Err(Unavailable(why)) = planned {
                tracing::error!(alert = %shelf.id, why, "an accepted alert could not be planned; the next start plans it");
            }
        });
    }

    pub async fn approve(&self, id: AlertId, by: &str) -> Result<State, DecideError> {
        let turn = self.intake.lock().await;
        let shelf = self.held(id, by)?;
        let now = self.clock.now();
        if shelf.alert.expires <= now {
            return Err(DecideError::Expired);
        }
        let target = { shelf.read().accepted.target }.and_then(|no| self.ledger.get(no));
        let mut events = vec![told(Told::Approved { alert: shelf.no, at: now, by: by.to_owned() })];
        events.extend(target.iter().flat_map(|target| self.end_of_target(target, &shelf.alert, shelf.no, by, now)));
        events.extend(approvals::ends_of_notices(self, shelf.no, by, now));
        self.append(events).await?;
        drop(turn);
        self.release(&shelf, target.as_deref(), None);
        let state = shelf.read().state;
        Ok(state)
    }

    pub async fn reject(&self, id: AlertId, by: &str, reason: &str) -> Result<State, DecideError> {
        let _turn = self.intake.lock().await;
        let shelf = self.held(id, by)?;
        let rejected = Told::Rejected { alert: shelf.no, at: self.clock.now(), by: by.to_owned(), reason: reason.to_owned() };
        let mut events = vec![told(rejected)];
        events.extend(approvals::ends_of_notices(self, shelf.no, by, self.clock.now()));
        self.append(events).await?;
        let state = shelf.read().state;
        Ok(state)
    }

    fn held(&self, id: AlertId, by: &str) -> Result<Arc<Shelf>, DecideError> {
        let shelf = self.ledger.find(id).ok_or(DecideError::NoSuchAlert)?;
        {
            let book = shelf.read();
            if book.state != State::Held {
                return Err(DecideError::NotHeld(book.state.name()));
            }
            if book.accepted.by == by {
                return Err(DecideError::SamePerson);
            }
        }
        Ok(shelf)
    }

    /// The duty officer ends an alert: a Cancel of it is made and goes to everyone who was told.
    pub async fn cancel(&self, id: AlertId, by: &str, reason: &str) -> Result<(Submitted, State), DecideError> {
        let turn = self.intake.lock().await;
        let target = self.ledger.find(id).ok_or(DecideError::NoSuchAlert)?;
        let now = self.clock.now();
        let state = target.read().state;
        let is_over = matches!(state, State::Cancelled | State::Superseded | State::Rejected | State::Expired)
            || target.alert.msg_type == MsgType::Cancel;
        if is_over {
            return Err(DecideError::NothingToCancel(state.name()));
        }
        let alert = cancel_of(&target.alert, now, reason);
        let digest = hex(&alert::content_digest(&alert));
        let source = target.read().accepted.source.clone();
        let accepted = self.accepted(&alert, Origin { received: now, source: &source, by, format: "json", digest }, Some(target.no));
        let (no, cancel_id) = (accepted.alert, accepted.id);
        let cancelled = Told::Cancelled { alert: target.no, at: now, by: by.to_owned(), reason: reason.to_owned(), cancel: Some(no) };
        let mut events = vec![told(Told::Accepted(accepted)), told(cancelled)];
        events.extend(approvals::ends_of_notices(self, target.no, by, now));
        self.append(events).await?;
        drop(turn);
        meter::accepted(alert.level.name(), alert.status.is_drill());
        let shelf = self.ledger.get(no).ok_or(Unavailable("the cancel is not in the ledger after its commit".into()))?;
        self.release(&shelf, Some(&target), None);
        let made = Submitted {
            id: cancel_id,
            no,
            identifier: alert.identifier,
            sender: alert.sender,
            state: State::Released,
            repeat: false,
            warnings: Vec::new(),
        };
        let state = target.read().state;
        Ok((made, state))
    }

    pub(super) fn accepted(&self, alert: &Alert, origin: Origin<'_>, target: Option<AlertNo>) -> Accepted {
        Accepted {
            alert: self.ledger.next_no(),
            id: new_id(origin.received),
            received: origin.received,
            accepted: self.clock.now(),
            source: origin.source.to_owned(),
            by: origin.by.to_owned(),
            needs_approval: false,
            format: origin.format.to_owned(),
            digest: origin.digest,
            document: alert::json::to_value(alert),
            target,
            doubts: Vec::new(),
            notice_of: None,
        }
    }

    /// What becomes of the alert that this one changes or ends.
    fn end_of_target(&self, target: &Shelf, alert: &Alert, no: AlertNo, by: &str, at: Timestamp) -> Vec<Event> {
        let end = told(match alert.msg_type {
            MsgType::Cancel => Told::Cancelled { alert: target.no, at, by: by.to_owned(), reason: alert.note.clone(), cancel: Some(no) },
            MsgType::Update | MsgType::Alert => Told::Superseded { alert: target.no, at, update: no },
        });
        [vec![end], approvals::ends_of_notices(self, target.no, by, at)].concat()
    }

    /// The newest link of the chain that an Update or Cancel refers to; unknown references are faults.
    fn judge_references(&self, alert: &Alert, faults: &mut Faults) -> Option<Arc<Shelf>> {
        if alert.msg_type == MsgType::Alert {
            return None;
        }
        let mut newest: Option<Arc<Shelf>> = None;
        for (number, reference) in alert.references.iter().enumerate() {
            match self.find_reference(&alert.sender, reference) {
                Some(found) => newest = newest.into_iter().chain([self.newest_of_chain(found)]).max_by_key(|shelf| shelf.no),
                None => {
                    let message = format!("no alert {:?} of sender {:?} is known here", reference.identifier, reference.sender);
                    faults.add(format!("references[{number}]"), UNKNOWN_REFERENCE, message);
                }
            }
        }
        newest
    }

    /// By the whole triple; else by sender and identifier, as real updates name a wrong time of sending.
    pub(super) fn find_reference(&self, sender: &str, reference: &Reference) -> Option<Arc<Shelf>> {
        if reference.sender != sender {
            return None;
        }
        let key = AlertKey { sender: reference.sender.clone(), identifier: reference.identifier.clone(), sent: reference.sent };
        self.ledger.find_key(&key).or_else(|| {
            let same = |shelf: &Arc<Shelf>| shelf.alert.sender == reference.sender && shelf.alert.identifier == reference.identifier;
            self.ledger.newest_first().into_iter().find(same)
        })
    }

    fn newest_of_chain(&self, mut shelf: Arc<Shelf>) -> Arc<Shelf> {
        for _ in 0..CHAIN_MAX {
            let next = self.ledger.newest_first().into_iter().find(|later| {
                let book = later.read();
                book.accepted.target == Some(shelf.no) && !matches!(book.state, State::Held | State::Rejected)
            });
            match next {
                Some(next) => shelf = next,
                None => break,
            }
        }
        shelf
    }

    /// Whom the area means; an area that means nobody here is a fault. A Cancel goes to those who were told, wherever they are.
    fn judge_area(&self, alert: &Alert, faults: &mut Faults) -> Option<matching::Audience> {
        if alert.msg_type == MsgType::Cancel {
            return None;
        }
        let snapshot = self.snapshot();
        let audience = matching::audience(&alert.areas, &snapshot);
        if audience.is_empty() {
            let message = format!("the area of the alert holds nobody of {} {}", self.county, self.county_name);
            faults.add("areas", "area-resolves-to-nothing", message);
            faults.extend(audience.unresolved.iter().cloned());
        }
        Some(audience)
    }

    pub(crate) async fn plan(&self, shelf: &Arc<Shelf>) -> Result<(), Unavailable> {
        let snapshot = self.snapshot();
        let audience = matching::audience(&shelf.alert.areas, &snapshot);
        self.plan_for(shelf, audience).await
    }

    async fn plan_for(&self, shelf: &Arc<Shelf>, audience: matching::Audience) -> Result<(), Unavailable> {
        let running = self.running(shelf);
        let _extending = running.extending.lock().await;
        if shelf.read().timeline.planned.is_some() {
            return Ok(());
        }
        let gateway = self.clone();
        let (planned_shelf, rule) = (Arc::clone(shelf), running.rule.clone());
        // A county's plan is tens of milliseconds of work: not on a thread that serves requests.
        let plan = tokio::task::spawn_blocking(move || gateway.make_plan(&planned_shelf, &rule, &audience)).await;
        let plan = plan.map_err(|error| Unavailable(format!("planning failed: {error}")))?;
        let (recipients, deliveries, unreachable) = (plan.recipients, plan.deliveries, plan.unreachable);
        let events = plan.parts.into_iter().map(|part| Event::Plan(shelf.no, part)).collect();
        self.append(events).await?;
        tracing::info!(alert = %shelf.id, recipients, deliveries, unreachable, "alert planned");
        self.enqueue_legs(shelf, 0);
        Ok(())
    }

    fn make_plan(&self, shelf: &Shelf, rule: &crate::policy::Rule, audience: &matching::Audience) -> Plan {
        let snapshot = self.snapshot();
        let target = { shelf.read().accepted.target }.and_then(|no| self.ledger.get(no));
        let told = target.map_or_else(ToldBefore::default, |target| ToldBefore::of(&target.read()));
        let basis =
            Basis { snapshot: &snapshot, routes: &self.routes, rule, now: self.clock.now(), with_households: self.with_households(shelf) };
        match shelf.alert.msg_type {
            MsgType::Cancel => planner::all_clear(&basis, &told),
            MsgType::Alert | MsgType::Update => planner::first(&basis, audience, &told),
        }
    }
}

fn repeat(known: &Shelf, digest: &str, alert: &Alert, warnings: Vec<Fault>) -> Result<Submitted, SubmitError> {
    let book = known.read();
    if book.accepted.digest != digest {
        return Err(SubmitError::Conflict(known.id));
    }
    Ok(Submitted {
        id: known.id,
        no: known.no,
        identifier: alert.identifier.clone(),
        sender: alert.sender.clone(),
        state: book.state,
        repeat: true,
        warnings,
    })
}

pub(crate) fn judge_time(alert: &Alert, now: Timestamp, max_skew: std::time::Duration, faults: &mut Faults) {
    if alert.expires <= now {
        faults.add("expires", "expired", format!("the alert expired at {}; it is {now} here", alert.expires));
    }
    if alert.sent > now.plus(max_skew) {
        let message = format!("sent at {}, which is more than {} s ahead of {now} here", alert.sent, max_skew.as_secs());
        faults.add("sent", "sent-in-the-future", message);
    }
}

/// The Cancel that ends `target`, in the name of its sender.
fn cancel_of(target: &Alert, now: Timestamp, reason: &str) -> Alert {
    let issuer = if target.sender_name.is_empty() { &target.sender } else { &target.sender_name };
    let event = if target.event_name.is_empty() { alert::event_name(&target.event) } else { &target.event_name };
    Alert {
        identifier: format!("{}-cancel-{}", target.identifier, now.as_ms()),
        sent: now,
        msg_type: MsgType::Cancel,
        references: vec![Reference { sender: target.sender.clone(), identifier: target.identifier.clone(), sent: target.sent }],
        effective: now,
        onset: None,
        headline: format!("{issuer}解除{event}{}预警", target.level.chinese()),
        description: reason.to_owned(),
        instruction: String::new(),
        response_types: vec!["AllClear".into()],
        translations: Vec::new(),
        note: reason.to_owned(),
        texts: BTreeMap::new(),
        // People must be reached for some time after the end, also when the alert itself was about to expire.
        expires: target.expires.max(now.plus(std::time::Duration::from_secs(3_600))),
        ..target.clone()
    }
}

fn told(told: Told) -> Event {
    Event::Told(Box::new(told))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// UUIDv7 of our clock, with fresh random bits.
fn new_id(now: Timestamp) -> AlertId {
    let bits: [u8; 10] = StdRng::from_rng(&mut rand::rng()).random();
    AlertId(uuid::Builder::from_unix_timestamp_millis(now.as_ms().unsigned_abs(), &bits).into_uuid())
}
