//! Owns one alert's book: its recipients, deliveries, calls and counters, as the fold of its events.
//! Refuses to know the journal, clocks, names and phones. Invariant: whatever order receipts come in, the counters equal a recount.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

mod counted;
mod fold;
pub mod handed;
mod planned;
mod reading;
#[cfg(test)]
mod tests;

use super::{
    call::{Answer, Call},
    counters::AreaCounters,
    event::{Accepted, Choice},
    filed::Filed,
    plan::{Hazard, Lane, Occasion, PlanPart, Purpose, RecipientKind},
    refs::RefIndex,
    slot::{Moment, Slot},
};
use crate::{area::AreaCode, time::Timestamp};

/// Words (reasons, account names) of one book; what comes over that is filed under the last.
const WORDS_MAX: usize = 250;

/// States of contract §2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Held,
    Released,
    Dispatching,
    Completed,
    Rejected,
    Cancelled,
    Superseded,
    Expired,
}

impl State {
    pub const ALL: [Self; 8] =
        [Self::Held, Self::Released, Self::Dispatching, Self::Completed, Self::Rejected, Self::Cancelled, Self::Superseded, Self::Expired];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Released => "released",
            Self::Dispatching => "dispatching",
            Self::Completed => "completed",
            Self::Rejected => "rejected",
            Self::Cancelled => "cancelled",
            Self::Superseded => "superseded",
            Self::Expired => "expired",
        }
    }

    /// Nothing more is owed.
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Cancelled | Self::Superseded | Self::Expired | Self::Rejected | Self::Completed)
    }

    /// Whether messages of it may still leave.
    pub const fn may_send(self) -> bool {
        matches!(self, Self::Released | Self::Dispatching | Self::Completed)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Timeline {
    pub issued: Option<Timestamp>,
    pub received: Option<Timestamp>,
    pub accepted: Option<Timestamp>,
    pub released: Option<Timestamp>,
    pub planned: Option<Timestamp>,
    pub first_sent: Option<Timestamp>,
    pub last_sent: Option<Timestamp>,
    pub completed: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recipient {
    pub key: u32,
    pub reached: Moment,
    /// Deliveries still open.
    pub open: u8,
    pub unreachable: bool,
    /// When is in `Book::answered_at`.
    pub answered: bool,
}

/// Where a recipient stands in the registry's terms; shared by a run of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub first: u32,
    pub area: u16,
    pub kind: RecipientKind,
    pub role: u8,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BookLeg {
    pub first: u32,
    pub count: u32,
    pub route: u8,
    pub lane: Lane,
    pub occasion: Occasion,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// `sms/phone`: what accounts are looked up by.
    pub word: String,
    /// Number of its kind (`sms`) in `Book::kinds`.
    pub kind: u8,
}

/// By recipient.
pub(super) type LastWords = HashMap<u32, LastWord>;

/// What somebody said last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastWord {
    pub at: Moment,
    pub choice: Choice,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Book {
    #[serde(with = "as_json_text")]
    pub accepted: Accepted,
    pub state: State,
    pub timeline: Timeline,
    /// Clock zero of timeliness: when the warning was signed.
    pub zero: Timestamp,
    pub reason: String,
    pub decided_by: String,
    pub roles: Vec<String>,
    pub kinds: Vec<String>,
    pub routes: Vec<Route>,
    pub words: Vec<String>,
    pub areas: Vec<AreaCode>,
    area_numbers: HashMap<u64, u16>,
    pub places: Vec<Place>,
    pub recipients: Vec<Recipient>,
    pub legs: Vec<BookLeg>,
    pub slots: Vec<Slot>,
    /// When a delivery was played or answered, and a recipient answered: few of a million are, so they stand apart.
    crowned: HashMap<u32, Moment>,
    answered: HashMap<u32, Moment>,
    /// What people said last where that is not what their call keeps, which is the first. Kept behind the book, whose form is older.
    #[serde(skip)]
    pub(super) last_words: LastWords,
    pub hazards: Vec<Hazard>,
    pub calls: Vec<Call>,
    call_numbers: HashMap<u32, u32>,
    pub counters: Vec<AreaCounters>,
    refs: RefIndex,
    staging: Vec<StagedPlan>,
    pub plans: u16,
    /// The second choice of channels has been planned.
    pub fallback_planned: bool,
    /// Open deliveries.
    pub open: u32,
    /// Deliveries that may have reached a person twice: sent again after a crash or a lost answer.
    pub repeated: u32,
    /// Rises with every event, so that watchers see a change.
    pub version: u64,
    /// The book lies in a file; what is here is its head alone, without recipients, deliveries and calls.
    pub filed: Option<Box<Filed>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct StagedPlan {
    number: u16,
    at: Timestamp,
    purpose: Purpose,
    #[serde(skip)]
    parts: Vec<PlanPart>,
}

impl Book {
    pub fn new(accepted: Accepted, zero: Timestamp) -> Self {
        let timeline = Timeline {
            issued: Some(zero),
            received: Some(accepted.received),
            accepted: Some(accepted.accepted),
            released: (!accepted.needs_approval).then_some(accepted.accepted),
            ..Timeline::default()
        };
        let state = if accepted.needs_approval { State::Held } else { State::Released };
        Self {
            accepted,
            state,
            timeline,
            zero,
            reason: String::new(),
            decided_by: String::new(),
            roles: Vec::new(),
            kinds: Vec::new(),
            routes: Vec::new(),
            words: vec![String::new()],
            areas: Vec::new(),
            area_numbers: HashMap::new(),
            places: Vec::new(),
            recipients: Vec::new(),
            legs: Vec::new(),
            slots: Vec::new(),
            crowned: HashMap::new(),
            answered: HashMap::new(),
            last_words: LastWords::new(),
            hazards: Vec::new(),
            calls: Vec::new(),
            call_numbers: HashMap::new(),
            counters: Vec::new(),
            refs: RefIndex::default(),
            staging: Vec::new(),
            plans: 0,
            fallback_planned: false,
            open: 0,
            repeated: 0,
            version: 0,
            filed: None,
        }
    }

    /// What packed times count from.
    pub const fn base(&self) -> Timestamp {
        self.accepted.received
    }

    /// How long it waited for a second person; until now while it still does, `None` where it needed none.
    pub fn approval_wait(&self, now: Timestamp) -> Option<std::time::Duration> {
        let waited = self.accepted.needs_approval || self.state == State::Held;
        let until = if self.state == State::Held { Some(now) } else { self.timeline.released.or(self.timeline.completed) };
        until.filter(|_| waited).map(|until| until.since(self.accepted.accepted))
    }

    /// Plans of which only a part is in the journal: dropped, so that they are made anew.
    pub fn drop_unsealed(&mut self) -> bool {
        let had = !self.staging.is_empty();
        self.staging.clear();
        had
    }
}

/// The accepted document holds free JSON, which compact writers cannot read back; it is kept as text.
mod as_json_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error as _, ser::Error as _};

    use super::Accepted;

    pub(super) fn serialize<S: Serializer>(accepted: &Accepted, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&serde_json::to_string(accepted).map_err(S::Error::custom)?)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Accepted, D::Error> {
        let text = String::deserialize(deserializer)?;
        serde_json::from_str(&text).map_err(D::Error::custom)
    }
}

impl Answer {
    pub fn by_hand(at: Timestamp, choice: Choice, via: &str, by: &str, note: &str) -> Self {
        Self { at, choice, via: via.to_owned(), by: by.to_owned(), note: note.to_owned() }
    }
}
