//! Owns how people answer: by the link's token, and by calls and visits that duty records by hand.
//! Refuses to know pages and forms. Invariant: an answer is told "recorded" only when it is durable, and it names one recipient of one alert.

use std::sync::Arc;

use super::{
    Unavailable,
    answer_pace::WITHIN,
    filed::{Details, Unreadable},
    gateway::Gateway,
    receipts::{Gathering, Patience},
    replies::{Said, Speaker},
    reply_words::{Meaning, meaning_of},
};
use crate::{
    alert::{AlertId, AlertNo},
    channel::{Callback, Failure, Reception},
    delivery::{
        event::{Choice, Told},
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
    #[error("the answer was changed too often in a minute; the last one stands")]
    TooOften(std::time::Duration),
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
    /// What was answered.
    pub choice: Choice,
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
    /// is heard all the same.
    pub async fn answer(&self, token: &str, choice: Choice) -> Result<Answerer, AnswerError> {
        let Answerer { shelf, recipient, is_filed, key, .. } = self.answerer(token).await?;
        let at = self.clock.now();
        let mut gathering = Gathering::default();
        if is_filed {
            meter::answer("link");
            if self.answer_pace.may_change(shelf.no, recipient) {
                gathering.changed.push((shelf.no, recipient));
                let text = format!("{choice:?} of recipient {recipient} to alert {}, which is filed", shelf.id);
                gathering.told.push(Told::Stray { at, account: "link".into(), text });
                if choice == Choice::Help {
                    let speaker = Speaker { alert: Some(&*shelf), recipient: Some(recipient), person: Some(key), phone: None };
                    gathering.note_words(self, speaker, "", "link", true, at);
                }
            }
        } else {
            let said = Said { choice, via: "link", by: "", words: "", at };
            if !gathering.answer(self, &shelf, recipient, &said, true) {
                return Err(AnswerError::TooOften(WITHIN));
            }
        }
        gathering.commit(self, Patience::None).await?;
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
        let note: String = call.note.chars().take(NOTE_CHARS_MAX).collect();
        // What duty writes of somebody in need is a call for help, whatever was chosen beside it.
        let asks = call.choice == Choice::Help || call.answered && meaning_of(&note, &[]) == Meaning::Answer(Choice::Help) && note != "3";
        let mut gathering = Gathering::default();
        if call.answered {
            let choice = if asks { Choice::Help } else { call.choice };
            let said = Said { choice, via: call.method, by: call.by, words: &note, at };
            // What is written down by hand is always taken.
            gathering.answer(self, &shelf, recipient, &said, true);
        } else {
            if asks {
                let speaker = Speaker { alert: Some(&*shelf), recipient: Some(recipient), person: Some(person.key()), phone: None };
                gathering.note_words(self, speaker, &note, call.method, true, at);
            }
            gathering.told.push(Told::CalledInVain { alert, recipient, at, via: call.method.to_owned(), by: call.by.to_owned(), note });
        }
        gathering.commit(self, Patience::None).await?;
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
