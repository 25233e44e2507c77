//! Owns what people decide about an alert: approve or reject one that is held, end one that is out.
//! Refuses to know roles: the edge has settled who may. Invariant: whoever posted an alert is never its second person (I14).

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Unavailable, approvals,
    filed::Unreadable,
    gateway::Gateway,
    intake::{Origin, Submitted, Taken, hex, told},
};
use crate::{
    alert::{self, Alert, AlertId, AlertNo, MsgType, Reference},
    delivery::{
        book::State,
        event::{Event, Told},
        ledger::Shelf,
    },
    telemetry::metrics as meter,
    time::Timestamp,
};

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
    pub async fn approve(&self, id: AlertId, by: &str) -> Result<State, DecideError> {
        let turn = self.intake.lock().await;
        let shelf = self.held(id, by)?;
        let now = self.clock.now();
        if shelf.alert.expires <= now {
            return Err(DecideError::Expired);
        }
        let target = { shelf.read().accepted.target }.and_then(|no| self.ledger.get(no));
        self.look_whom_to_clear(&shelf.alert, target.as_ref()).await?;
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
        self.look_whom_to_clear(&alert, Some(&target)).await?;
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
        let shelf = self.ledger.get(no).ok_or(Unavailable::Failed("the cancel is not in the ledger after its commit".into()))?;
        self.release(&shelf, Some(&target), None);
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

    /// A Cancel is taken only when those who were told can be read: afterwards nobody could say whom to tell that it is over (I10). An
    /// Update is taken all the same, because who is in danger now must hear it.
    pub(super) async fn look_whom_to_clear(&self, alert: &Alert, target: Option<&Arc<Shelf>>) -> Result<(), Unreadable> {
        if let Some(target) = target.filter(|target| alert.msg_type == MsgType::Cancel && target.is_filed()) {
            self.details(target).await?;
        }
        Ok(())
    }

    /// What becomes of the alert that this one changes or ends.
    pub(super) fn end_of_target(&self, target: &Shelf, alert: &Alert, no: AlertNo, by: &str, at: Timestamp) -> Vec<Event> {
        let end = told(match alert.msg_type {
            MsgType::Cancel => Told::Cancelled { alert: target.no, at, by: by.to_owned(), reason: alert.note.clone(), cancel: Some(no) },
            MsgType::Update | MsgType::Alert => Told::Superseded { alert: target.no, at, update: no },
        });
        [vec![end], approvals::ends_of_notices(self, target.no, by, at)].concat()
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
