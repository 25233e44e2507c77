//! Owns how people answer: by the link's token, and by calls and visits that duty records by hand.
//! Refuses to know pages and forms. Invariant: an answer is told "recorded" only when it is durable, and it names one recipient of one alert.

use std::sync::Arc;

use super::{
    Unavailable,
    filed::{Details, Unreadable},
    gateway::Gateway,
};
use crate::{
    alert::{AlertId, AlertNo},
    channel::{Callback, Failure, Reception},
    delivery::{
        event::{Choice, Event, Told},
        ledger::Shelf,
        plan::RecipientKind,
    },
    registry::SubscriberKey,
    telemetry::metrics as meter,
};

/// A note made by hand is a sentence or two.
pub const NOTE_CHARS_MAX: usize = 500;

#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    #[error("this link is not (or no longer) one of ours")]
    BadToken,
    #[error("no such alert")]
    NoSuchAlert,
    #[error("{0:?} is not among those who were told by this alert")]
    NotTold(String),
    /// The answer was kept among the strays.
    #[error("the alert has long been over")]
    Over,
    /// Nothing was kept.
    #[error("the alert has been filed: nothing is added to it any more")]
    Filed,
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// Whom a token names.
pub struct Answerer {
    pub shelf: Arc<Shelf>,
    pub details: Details,
    /// Over for so long that answers are not taken any more.
    pub is_filed: bool,
    pub recipient: u32,
    pub key: SubscriberKey,
    pub answered: Option<crate::time::Timestamp>,
}

/// A call or visit made by hand.
pub struct ByHand<'a> {
    pub subscriber: &'a str,
    pub answered: bool,
    /// `call`, `visit`, or what the duty officer writes.
    pub method: &'a str,
    pub note: &'a str,
    pub by: &'a str,
}

#[derive(Debug, thiserror::Error)]
pub enum CallbackError {
    #[error("no channel of this name and kind")]
    NoChannel,
    #[error(transparent)]
    Refused(#[from] Failure),
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl Gateway {
    /// The token of a recipient's link, as it stands in messages.
    pub fn answer_token(&self, alert: AlertNo, recipient: u32) -> Option<String> {
        self.tokens.issue(alert, recipient)
    }

    /// Whether a link is ours, of whatever alert: told without a look at any book, before a body is read.
    pub fn is_answer_link(&self, token: &str) -> bool {
        self.tokens.read(token).is_some()
    }

    pub async fn answerer(&self, token: &str) -> Result<Answerer, AnswerError> {
        let (no, recipient) = self.tokens.read(token).ok_or(AnswerError::BadToken)?;
        let shelf = self.ledger.get(no).ok_or(AnswerError::BadToken)?;
        let details = self.details(&shelf).await?;
        let (key, answered) = {
            let book = details.read();
            let found = book.recipients.get(recipient as usize).ok_or(AnswerError::BadToken)?;
            (SubscriberKey(found.key), book.time_of(book.answered_at(recipient)))
        };
        let is_filed = details.is_filed();
        Ok(Answerer { shelf, details, is_filed, recipient, key, answered })
    }

    /// The answer of whoever holds the link. Of a filed alert it is kept as a stray, since it changes no figure any more; a call for help
    /// raises its alarm all the same.
    pub async fn answer(&self, token: &str, choice: Choice) -> Result<Answerer, AnswerError> {
        let Answerer { shelf, recipient, is_filed, .. } = self.answerer(token).await?;
        let (alert, at) = (shelf.no, self.clock.now());
        let told = if is_filed {
            let text = format!("{choice:?} of recipient {recipient} to alert {}, which is filed", shelf.id);
            Told::Stray { at, account: "link".into(), text }
        } else {
            Told::Answered { alert, recipient, at, choice, via: "link".into(), by: String::new(), note: String::new() }
        };
        self.append(vec![Event::Told(Box::new(told))]).await?;
        meter::answer("link");
        if choice == Choice::Help {
            meter::alarm("help-wanted");
            tracing::error!(alert = %shelf.id, recipient, "somebody asks for help");
        }
        if is_filed { Err(AnswerError::Over) } else { self.answerer(token).await }
    }

    pub async fn record_call(&self, id: AlertId, call: &ByHand<'_>) -> Result<(), AnswerError> {
        let shelf = self.ledger.find(id).ok_or(AnswerError::NoSuchAlert)?;
        if shelf.is_filed() {
            return Err(AnswerError::Filed);
        }
        let snapshot = self.snapshot();
        let not_told = || AnswerError::NotTold(call.subscriber.to_owned());
        let person = snapshot.subscriber_by_id(call.subscriber).ok_or_else(not_told)?;
        let recipient = shelf.read().recipient_of(RecipientKind::Person, person.key().0, Some(person.area())).ok_or_else(not_told)?;
        let (alert, at) = (shelf.no, self.clock.now());
        let (via, by) = (call.method.to_owned(), call.by.to_owned());
        let note = call.note.chars().take(NOTE_CHARS_MAX).collect();
        let told = if call.answered {
            Told::Answered { alert, recipient, at, choice: Choice::Received, via, by, note }
        } else {
            Told::CalledInVain { alert, recipient, at, via, by, note }
        };
        self.append(vec![Event::Told(Box::new(told))]).await?;
        meter::answer("by-hand");
        Ok(())
    }

    /// A far end's call on us: read by its driver, made durable, then answered in the far end's own form.
    pub async fn callback(&self, kind: &str, channel: &str, callback: &Callback) -> Result<Reception, CallbackError> {
        let account = self.routes.account(channel).filter(|account| account.channel.kind().name() == kind);
        let account = account.ok_or(CallbackError::NoChannel)?;
        let mut reception = account.channel.receive(callback)?;
        super::receipts::take(self, account.name(), std::mem::take(&mut reception.reports)).await?;
        Ok(reception)
    }
}
