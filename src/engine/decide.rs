//! Owns what people decide about an alert: approve or reject one that is held, end one that is out.
//! Refuses to know roles: the edge has settled who may. Invariant: whoever posted an alert is never its second person (I14).

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Unavailable,
    all_clear::{self, TRIED_FOR, headline},
    approvals,
    authority::Rights,
    filed::Unreadable,
    gateway::Gateway,
    intake::{Origin, Submitted, Taken, end_by, hex, told},
};
use crate::{
    alert::{self, Alert, AlertId, AlertNo, MsgType, Reference},
    delivery::{
        book::State,
        event::{Event, Told},
        ledger::Shelf,
    },
    fault::Faults,
    telemetry::metrics as meter,
    time::Timestamp,
};

/// Who decides: the name they are known by here, and the person behind it where a key says whose it is.
#[derive(Clone, Copy, Debug)]
pub struct Decider<'a> {
    pub name: &'a str,
    pub owner: Option<&'a str>,
}

impl<'a> From<&'a str> for Decider<'a> {
    fn from(name: &'a str) -> Self {
        Self { name, owner: None }
    }
}

impl Decider<'_> {
    /// A person by any of their keys, or signed in.
    fn is_same_person(self, other: Decider<'_>) -> bool {
        let names = |one: Decider<'_>| [Some(one.name.to_owned()), one.owner.map(str::to_owned)];
        names(self).iter().flatten().any(|name| names(other).iter().flatten().any(|other| other == name))
    }
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
    Unreadable(#[from] Unreadable),
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl Gateway {
    pub async fn approve(&self, id: AlertId, by: impl Into<Decider<'_>>) -> Result<State, DecideError> {
        let decider = by.into();
        let by = decider.name;
        let turn = self.intake.lock().await;
        let shelf = self.held(id, decider)?;
        let now = self.clock.now();
        if shelf.alert.expires <= now {
            return Err(DecideError::Expired);
        }
        let targets = self.targets_now(&shelf);
        self.look_whom_to_clear(&shelf.alert, &targets).await?;
        let numbers = targets.iter().map(|target| target.no).collect();
        let mut events = vec![told(Told::Approved { alert: shelf.no, at: now, by: by.to_owned(), targets: numbers })];
        events.extend(targets.iter().flat_map(|target| self.end_of_target(target, &shelf.alert, shelf.no, by, now)));
        events.extend(approvals::ends_of_notices(self, shelf.no, by, now));
        self.append(events).await?;
        drop(turn);
        self.release(&shelf, &targets, None);
        let state = shelf.read().state;
        Ok(state)
    }

    pub async fn reject(&self, id: AlertId, by: impl Into<Decider<'_>>, reason: &str) -> Result<State, DecideError> {
        let decider = by.into();
        let by = decider.name;
        let _turn = self.intake.lock().await;
        let shelf = self.held(id, decider)?;
        let rejected = Told::Rejected { alert: shelf.no, at: self.clock.now(), by: by.to_owned(), reason: reason.to_owned() };
        let mut events = vec![told(rejected)];
        events.extend(approvals::ends_of_notices(self, shelf.no, by, self.clock.now()));
        self.append(events).await?;
        let state = shelf.read().state;
        Ok(state)
    }

    fn held(&self, id: AlertId, by: Decider<'_>) -> Result<Arc<Shelf>, DecideError> {
        let shelf = self.ledger.find(id).ok_or(DecideError::NoSuchAlert)?;
        {
            let book = shelf.read();
            if book.state != State::Held {
                return Err(DecideError::NotHeld(book.state.name()));
            }
            let posted_by = Decider { name: &book.accepted.by, owner: book.accepted.owner.as_deref() };
            if by.is_same_person(posted_by) {
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
        let is_over =
            matches!(state, State::Cancelled | State::Superseded | State::Rejected | State::Expired) || target.alert.is_all_clear();
        if is_over {
            return Err(DecideError::NothingToCancel(state.name()));
        }
        let alert = cancel_of(&target.alert, now, reason);
        let targets = [Arc::clone(&target)];
        self.look_whom_to_clear(&alert, &targets).await?;
        let digest = hex(&alert::content_digest(&alert));
        let source = target.read().accepted.source.clone();
        let accepted =
            self.accepted(&alert, Origin { received: now, source: &source, by, owner: None, format: "json", digest }, vec![target.no]);
        let (no, cancel_id) = (accepted.alert, accepted.id);
        let cancelled = Told::Cancelled { alert: target.no, at: now, by: by.to_owned(), reason: reason.to_owned(), cancel: Some(no) };
        let mut events = vec![told(Told::Accepted(accepted)), told(cancelled)];
        events.extend(approvals::ends_of_notices(self, target.no, by, now));
        self.append(events).await?;
        drop(turn);
        meter::accepted(alert.level.name(), alert.status.is_drill());
        let shelf = self.ledger.get(no).ok_or(Unavailable::Failed("the cancel is not in the ledger after its commit".into()))?;
        self.release(&shelf, &targets, None);
        let made = Submitted {
            id: cancel_id,
            no,
            identifier: alert.identifier,
            sender: alert.sender,
            state: State::Released,
            repeat: false,
            warnings: Vec::new(),
            all: vec![Taken::of(&shelf)],
        };
        let state = target.read().state;
        Ok((made, state))
    }

    /// An all-clear is taken only when those who were told can be read: afterwards nobody could say whom to tell that it is over (I10). An
    /// Update is taken all the same, because who is in danger now must hear it.
    pub(super) async fn look_whom_to_clear(&self, alert: &Alert, targets: &[Arc<Shelf>]) -> Result<(), Unreadable> {
        for target in targets.iter().filter(|target| alert.is_all_clear() && target.is_filed()) {
            self.details(target).await?;
        }
        Ok(())
    }

    /// What an alert that has waited refers to by now: others may have changed or ended it meanwhile, or have come at last.
    fn targets_now(&self, shelf: &Shelf) -> Vec<Arc<Shelf>> {
        let named = self.judge_references(&shelf.alert, &mut Faults::default());
        let source = { shelf.read().accepted.source.clone() };
        // The limits of the key that posted it were judged then.
        let rights = self.sources.iter().find(|known| known.name == source).map(|source| Rights::of(source, &[]));
        let mut targets: Vec<Arc<Shelf>> = Vec::new();
        for target in &named.targets {
            let mut faults = Faults::default();
            all_clear::judge_status(&shelf.alert, std::slice::from_ref(target), &mut faults);
            let said_by = { target.shelf.read().accepted.source.clone() };
            rights.iter().for_each(|rights| rights.judge_target(&said_by, target, &self.snapshot(), &mut faults));
            // The one that came in between may be beyond what was judged: what was agreed to is not stretched to it.
            let was_judged = shelf.read().accepted.targets.contains(&target.shelf.no);
            if was_judged || faults.is_empty() {
                targets.push(Arc::clone(&target.shelf));
            }
        }
        targets
    }

    /// What becomes of an alert that this one changes or ends; nothing of one that is over already.
    pub(super) fn end_of_target(&self, target: &Shelf, alert: &Alert, no: AlertNo, by: &str, at: Timestamp) -> Vec<Event> {
        let (state, was_released) = {
            let book = target.read();
            (book.state, book.timeline.released.is_some())
        };
        let is_past = match state {
            State::Cancelled | State::Superseded | State::Rejected => true,
            State::Completed | State::Expired => !was_released || target.alert.is_all_clear(),
            State::Held | State::Released | State::Dispatching => false,
        };
        if is_past {
            return Vec::new();
        }
        // The next all-clear goes to whoever has not had this one.
        let end = if target.alert.is_all_clear() {
            told(Told::Superseded { alert: target.no, at, update: no })
        } else {
            end_by(alert, no, target.no, by, at)
        };
        [vec![end], approvals::ends_of_notices(self, target.no, by, at)].concat()
    }
}

/// The Cancel that ends `target`, in the name of its sender.
fn cancel_of(target: &Alert, now: Timestamp, reason: &str) -> Alert {
    Alert {
        identifier: format!("{}-cancel-{}", target.identifier, now.as_ms()),
        sent: now,
        msg_type: MsgType::Cancel,
        references: vec![Reference { sender: target.sender.clone(), identifier: target.identifier.clone(), sent: target.sent }],
        effective: now,
        onset: None,
        headline: headline(target),
        description: reason.to_owned(),
        instruction: String::new(),
        response_types: vec!["AllClear".into()],
        translations: Vec::new(),
        note: reason.to_owned(),
        texts: BTreeMap::new(),
        // Also when the alert itself was about to expire.
        expires: target.expires.max(now.plus(TRIED_FOR)),
        ..target.clone()
    }
}
