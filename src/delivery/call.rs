//! Owns the calls of one alert (叫应): who must answer, by when, and how each call ended.
//! Refuses to know who is asked next: that is policy's escalation. Invariant: a call ends answered, escalated, exhausted or expired, once.

use serde::{Deserialize, Serialize};

use super::event::Choice;
use crate::time::Timestamp;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    pub recipient: u32,
    pub asked: Timestamp,
    pub due: Timestamp,
    /// 0 when the policy calls this person; 1 and more when asked in another's place.
    pub step: u8,
    pub on_behalf: Option<u32>,
    pub end: End,
    /// Calls and visits by hand that found nobody, and those that were made after the first answer.
    pub tries: Vec<Try>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    Open,
    Answered(Answer),
    /// Not in time; others are asked now. A late answer still turns it into `Answered`.
    Escalated {
        at: Timestamp,
        to: Vec<u32>,
    },
    /// Not in time, and nobody is left to ask: the duty officer must go and knock.
    Exhausted {
        at: Timestamp,
    },
    Expired {
        at: Timestamp,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    pub at: Timestamp,
    pub choice: Choice,
    /// Way of the answer: a kind of channel, `link`, `call`, `visit`.
    pub via: String,
    /// Who recorded it, when it was made by hand.
    pub by: String,
    pub note: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Try {
    pub at: Timestamp,
    pub via: String,
    pub by: String,
    pub note: String,
}

/// A manual log of a person's tries is for reading, not for storage of any length.
const TRIES_MAX: usize = 50;

impl Call {
    pub const fn is_open(&self) -> bool {
        matches!(self.end, End::Open)
    }

    /// An earlier answer stands; a later one by the same person is kept out of the call's clock.
    pub fn answer(&mut self, answer: Answer) {
        match &mut self.end {
            // What duty wrote down of it is kept among the tries, so that no note is lost.
            End::Answered(first) if first.at <= answer.at => {
                if !answer.by.is_empty() {
                    self.try_by_hand(Try { at: answer.at, via: answer.via, by: answer.by, note: answer.note });
                }
            }
            end => *end = End::Answered(answer),
        }
    }

    /// Leaves out what was noted.
    pub(super) fn redact(&mut self) {
        if let End::Answered(answer) = &mut self.end {
            answer.note.clear();
        }
        self.tries.iter_mut().for_each(|tried| tried.note.clear());
    }

    pub fn try_by_hand(&mut self, tried: Try) {
        if self.tries.len() < TRIES_MAX {
            self.tries.push(tried);
        }
    }

    pub fn end_unanswered(&mut self, end: End) {
        if self.is_open() {
            self.end = end;
        }
    }

    /// Words of contract §2 for the list of calls.
    pub const STATES: [&'static str; 5] = ["waiting", "answered", "escalated", "exhausted", "expired"];

    pub const fn state(&self) -> &'static str {
        Self::STATES[match self.end {
            End::Open => 0,
            End::Answered(_) => 1,
            End::Escalated { .. } => 2,
            End::Exhausted { .. } => 3,
            End::Expired { .. } => 4,
        }]
    }
}
