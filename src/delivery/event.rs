//! Owns the events of the journal and their byte forms: version, kind, payload.
//! Refuses to know sled, files and far ends. Invariant: an event reads back equal to what was written; unknown kinds are an error, never skipped.

use serde::{Deserialize, Deserializer, Serialize};

use super::{
    early::Early,
    filed::Filed,
    help::{Asked, Taken},
    plan::PlanPart,
    waiting::Waiting,
    wire::{Damaged, Reader, put_text, put_varint},
};
use crate::{
    alert::{AlertId, AlertNo},
    time::Timestamp,
};

/// First byte of every event; raised when a form changes.
const VERSION: u8 = 1;

/// Everything that can happen.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Rare, and read by auditors: kept as JSON.
    Told(Box<Told>),
    Plan(AlertNo, PlanPart),
    /// These deliveries are about to be handed to an account; written before the first byte leaves.
    Leased(Leased),
    /// Packed delivery events.
    Facts(Facts),
    /// Far ends' own ids of deliveries, where receipts will name those.
    Refs(Refs),
}

/// Rare events, whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Told {
    Accepted(Accepted),
    Approved {
        alert: AlertNo,
        at: Timestamp,
        by: String,
        /// What it changes or ends by now, where that is something: another may have come between.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        targets: Vec<AlertNo>,
    },
    Rejected {
        alert: AlertNo,
        at: Timestamp,
        by: String,
        reason: String,
    },
    Cancelled {
        alert: AlertNo,
        at: Timestamp,
        by: String,
        reason: String,
        cancel: Option<AlertNo>,
    },
    Superseded {
        alert: AlertNo,
        at: Timestamp,
        update: AlertNo,
    },
    Expired {
        alert: AlertNo,
        at: Timestamp,
    },
    Completed {
        alert: AlertNo,
        at: Timestamp,
    },
    Answered {
        alert: AlertNo,
        recipient: u32,
        at: Timestamp,
        choice: Choice,
        via: String,
        by: String,
        note: String,
    },
    /// A call or visit by hand that found nobody.
    CalledInVain {
        alert: AlertNo,
        recipient: u32,
        at: Timestamp,
        via: String,
        by: String,
        note: String,
    },
    /// An unanswered call went on to others (recipients of an extension of the plan).
    Escalated {
        alert: AlertNo,
        recipient: u32,
        at: Timestamp,
        to: Vec<u32>,
    },
    /// The chain of a call ended without an answer; duty was told.
    Exhausted {
        alert: AlertNo,
        recipient: u32,
        at: Timestamp,
    },
    /// Everything about it is over: its book lies in a file from now on, and this stays in memory.
    Filed {
        alert: AlertNo,
        filed: Box<Filed>,
    },
    /// The space of a month of the journal is given back after this; its trail stays.
    GivenBack {
        at: Timestamp,
        month: String,
        by: String,
    },
    /// What somebody did, saw or tried beside alerts.
    Audited(Box<Audited>),
    /// An Update or Cancel that came before what it refers to.
    Waiting(Box<Waiting>),
    /// It was taken in, or can never be; which one `why` says.
    WaitingEnded {
        at: Timestamp,
        digest: String,
        why: String,
    },
    /// A receipt by a provider's own id that nobody knows yet.
    Early(Early),
    /// The sends of these have returned, and they were brought to their deliveries.
    EarlyEnded {
        at: Timestamp,
        ids: Vec<u64>,
    },
    /// Somebody asks for help, or says what nobody understood.
    HelpAsked(Asked),
    /// Somebody took it, or says that it is done.
    HelpTaken(Taken),
    /// What these people said, and what was noted of them, is left out from here on: they were erased.
    Redacted {
        at: Timestamp,
        /// Registry keys.
        people: Vec<u32>,
        /// Entries of the list of help.
        help: Vec<u64>,
    },
    /// A receipt that names nothing of ours; counted and kept.
    Stray {
        at: Timestamp,
        account: String,
        text: String,
    },
}

/// An act for the audit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audited {
    /// Of one act, so that a line that was taken twice is known.
    pub id: String,
    pub at: Timestamp,
    /// Kind and name: `key met`, `user li`, `command root`.
    pub who: String,
    /// Address, or empty where it was on the machine itself.
    pub from: String,
    /// Closed word.
    pub act: String,
    /// To what, without anything personal.
    pub object: String,
    pub result: String,
    /// Why, where whoever did it must say so.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

impl Audited {
    pub fn new(
        at: Timestamp,
        who: impl Into<String>,
        act: impl Into<String>,
        object: impl Into<String>,
        result: impl Into<String>,
    ) -> Self {
        let id = uuid::Uuid::now_v7().to_string();
        Self {
            id,
            at,
            who: who.into(),
            from: String::new(),
            act: act.into(),
            object: object.into(),
            result: result.into(),
            reason: String::new(),
        }
    }

    #[must_use]
    pub fn because(mut self, reason: &str) -> Self {
        reason.clone_into(&mut self.reason);
        self
    }

    #[must_use]
    pub fn from(mut self, address: impl Into<String>) -> Self {
        self.from = address.into();
        self
    }
}

/// An alert taken in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Accepted {
    pub alert: AlertNo,
    pub id: AlertId,
    pub received: Timestamp,
    /// When it had been checked; the 202 follows its durability.
    pub accepted: Timestamp,
    /// `[[source]]` name, and who posted (key or user name): the second person must be another.
    pub source: String,
    pub by: String,
    /// The person whose key that was, where it was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    pub needs_approval: bool,
    pub format: String,
    pub digest: String,
    /// Normalised form of contract §2.1.
    pub document: serde_json::Value,
    /// For Update and Cancel: the alerts of ours that it changes or ends. Journals of before this could be several hold one `target`.
    #[serde(default, alias = "target", deserialize_with = "one_or_several")]
    pub targets: Vec<AlertNo>,
    /// What only a person can settle, in words; for these too it needs approval.
    #[serde(default)]
    pub doubts: Vec<String>,
    /// It only tells duty that this alert waits for approval; no warning, and no part of any figure of warnings.
    #[serde(default)]
    pub notice_of: Option<AlertNo>,
    /// Nobody has decided anything when it is taken in; filled by the fold.
    #[serde(default, skip_serializing_if = "Decided::is_nothing")]
    pub decided: Decided,
}

/// Who has decided about an alert since it was taken in; one decision does not hide the other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Decided {
    pub approved_by: Option<String>,
    pub cancelled_by: Option<String>,
}

impl Decided {
    fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

fn one_or_several<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<AlertNo>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Several(Vec<AlertNo>),
        One(Option<AlertNo>),
    }
    Ok(match Written::deserialize(deserializer)? {
        Written::Several(targets) => targets,
        Written::One(target) => target.into_iter().collect(),
    })
}

/// What a person answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    Received,
    Moved,
    Help,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leased {
    pub alert: AlertNo,
    pub at: Timestamp,
    pub account: String,
    /// Ranges `(first, count)` of delivery indices.
    pub ranges: Vec<(u32, u32)>,
}

/// One packed delivery event: 11 bytes in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fact {
    pub index: u32,
    pub kind: FactKind,
    /// Index into `Facts::words`: the account's name or the reason, as `kind` says.
    pub code: u16,
    /// Milliseconds after `Facts::base`.
    pub at_ms: u32,
}

// Kept in journals: numbers never change their meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FactKind {
    /// Taken by a far end (`code` = account's name); a report is awaited where the route has one.
    Accepted = 1,
    /// Confirmed by the far end as being at the handset, mailbox or device.
    Delivered = 2,
    /// A loudspeaker has said it.
    Played = 3,
    /// A person answered through this delivery.
    Answered = 4,
    /// Not taken; try again at `at` (`code` = word). Counts as an attempt.
    Retry = 5,
    /// Not taken because of a rate; again at `at`. No attempt.
    Throttled = 6,
    /// May have been taken; again under the same id at `at`.
    Unknown = 7,
    /// Goes to the next account (`code` = its name) at `at`.
    NextAccount = 8,
    /// Closed: will not get there (`code` = word).
    Failed = 9,
    /// Closed: taken, and no report within its time.
    Unproven = 10,
    /// Closed by the alert's expiry.
    Expired = 11,
    /// Closed by a Cancel.
    Cancelled = 12,
    /// Closed: the person asked not to be told so, or is told by a newer message (`code` = word).
    Suppressed = 13,
    /// Closed: taken by a far end that has no reports.
    Settled = 14,
    /// May have been taken; goes to the next account (`code` = its name) at `at`.
    UnknownNext = 15,
    /// Closed: the far end's taking it was counted as its being there, and it came back (`code` = word).
    CameBack = 20,
}

impl FactKind {
    const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Accepted,
            2 => Self::Delivered,
            3 => Self::Played,
            4 => Self::Answered,
            5 => Self::Retry,
            6 => Self::Throttled,
            7 => Self::Unknown,
            8 => Self::NextAccount,
            9 => Self::Failed,
            10 => Self::Unproven,
            11 => Self::Expired,
            12 => Self::Cancelled,
            13 => Self::Suppressed,
            14 => Self::Settled,
            15 => Self::UnknownNext,
            20 => Self::CameBack,
            _ => return None,
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    pub alert: AlertNo,
    pub base: Timestamp,
    /// Reasons and account names that `code` points into.
    pub words: Vec<String>,
    pub list: Vec<Fact>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refs {
    pub alert: AlertNo,
    pub account: String,
    pub list: Vec<(u32, String)>,
}

impl Event {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        out.push(VERSION);
        match self {
            Self::Told(told) => {
                out.push(1);
                let json = serde_json::to_vec(told).expect("events hold only strings, numbers and JSON values");
                out.extend_from_slice(&json);
            }
            Self::Plan(alert, part) => {
                out.push(2);
                put_varint(&mut out, alert.0.into());
                part.encode(&mut out);
            }
            Self::Leased(leased) => {
                out.push(3);
                leased.encode(&mut out);
            }
            Self::Facts(facts) => {
                out.push(4);
                facts.encode(&mut out);
            }
            Self::Refs(refs) => {
                out.push(5);
                refs.encode(&mut out);
            }
        }
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, Damaged> {
        let mut reader = Reader::new(bytes);
        if reader.byte("version")? != VERSION {
            return Err(Damaged { what: "version of a newer or foreign program", at: 0 });
        }
        Ok(match reader.byte("kind")? {
            1 => Self::Told(serde_json::from_slice(&bytes[2..]).map_err(|error| Damaged { what: "told event", at: error.column() })?),
            2 => {
                let alert = AlertNo(reader.varint_u32("alert")?);
                Self::Plan(alert, PlanPart::decode(&mut reader)?)
            }
            3 => Self::Leased(Leased::decode(&mut reader)?),
            4 => Self::Facts(Facts::decode(&mut reader)?),
            5 => Self::Refs(Refs::decode(&mut reader)?),
            _ => return Err(Damaged { what: "unknown kind", at: 1 }),
        })
    }

    /// Whether the event belongs to the audit trail as well: what people did or promised. The end of early reports shares the fate of the
    /// facts they became, which are in the journal alone: a trail that knew the one without the other would lose them.
    pub fn is_trail(&self) -> bool {
        matches!(self, Self::Told(told) if !matches!(**told, Told::EarlyEnded { .. }))
    }

    /// Whether it tells what has already happened, and would be done twice or lost if it were not kept. The rest begins something:
    /// whoever wants it can ask again.
    pub fn is_owed(&self) -> bool {
        match self {
            Self::Plan(..) | Self::Leased(_) => false,
            Self::Told(told) => !matches!(**told, Told::Accepted(_) | Told::Approved { .. } | Told::Filed { .. } | Told::Waiting(_)),
            Self::Facts(_) | Self::Refs(_) => true,
        }
    }
}

impl Leased {
    fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.alert.0.into());
        put_varint(out, self.at.as_ms().max(0) as u64);
        put_text(out, &self.account);
        put_varint(out, self.ranges.len() as u64);
        for &(first, count) in &self.ranges {
            put_varint(out, first.into());
            put_varint(out, count.into());
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        let alert = AlertNo(reader.varint_u32("alert")?);
        let at = read_time(reader)?;
        let account = reader.text("account")?.to_owned();
        let count = reader.count(2, "ranges")?;
        let ranges = (0..count)
            .map(|_| Ok((reader.varint_u32("range start")?, reader.varint_u32("range length")?)))
            .collect::<Result<_, Damaged>>()?;
        Ok(Self { alert, at, account, ranges })
    }
}

impl Facts {
    /// Bytes of one fact.
    pub const FACT_BYTES: usize = 11;

    fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.alert.0.into());
        put_varint(out, self.base.as_ms().max(0) as u64);
        put_varint(out, self.words.len() as u64);
        for word in &self.words {
            put_text(out, word);
        }
        put_varint(out, self.list.len() as u64);
        out.reserve(self.list.len() * Self::FACT_BYTES);
        for fact in &self.list {
            out.extend_from_slice(&fact.index.to_le_bytes());
            out.push(fact.kind as u8);
            out.extend_from_slice(&fact.code.to_le_bytes());
            out.extend_from_slice(&fact.at_ms.to_le_bytes());
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        let alert = AlertNo(reader.varint_u32("alert")?);
        let base = read_time(reader)?;
        let words = (0..reader.count(1, "words")?).map(|_| reader.text("word").map(str::to_owned)).collect::<Result<_, _>>()?;
        let count = reader.count(Self::FACT_BYTES, "facts")?;
        let mut list = Vec::with_capacity(count);
        for _ in 0..count {
            let bytes = reader.take(Self::FACT_BYTES, "fact")?;
            let kind = FactKind::from_byte(bytes[4]).ok_or(reader.damaged("fact kind"))?;
            list.push(Fact {
                index: u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]),
                kind,
                code: u16::from_le_bytes([bytes[5], bytes[6]]),
                at_ms: u32::from_le_bytes([bytes[7], bytes[8], bytes[9], bytes[10]]),
            });
        }
        Ok(Self { alert, base, words, list })
    }
}

impl Refs {
    fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.alert.0.into());
        put_text(out, &self.account);
        put_varint(out, self.list.len() as u64);
        for (index, text) in &self.list {
            put_varint(out, (*index).into());
            put_text(out, text);
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        let alert = AlertNo(reader.varint_u32("alert")?);
        let account = reader.text("account")?.to_owned();
        let count = reader.count(2, "refs")?;
        let list = (0..count)
            .map(|_| Ok((reader.varint_u32("delivery")?, reader.text("reference")?.to_owned())))
            .collect::<Result<_, Damaged>>()?;
        Ok(Self { alert, account, list })
    }
}

pub(super) fn read_time(reader: &mut Reader<'_>) -> Result<Timestamp, Damaged> {
    let ms = reader.varint("time")?;
    i64::try_from(ms).map(Timestamp::from_ms).map_err(|_| reader.damaged("time"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_kind_of_event_reads_back() {
        let alert = AlertNo(7);
        let at = Timestamp::from_ms(1_784_000_000_123);
        let events = [
            Event::Told(Box::new(Told::Approved { alert, at, by: "王主任".into(), targets: vec![AlertNo(3)] })),
            Event::Leased(Leased { alert, at, account: "sms-1".into(), ranges: vec![(0, 4_096), (9_000, 1)] }),
            Event::Facts(Facts {
                alert,
                base: at,
                words: vec!["empty-number".into()],
                list: vec![
                    Fact { index: 3, kind: FactKind::Failed, code: 0, at_ms: 12 },
                    Fact { index: u32::MAX, kind: FactKind::Delivered, code: 9, at_ms: u32::MAX },
                ],
            }),
            Event::Refs(Refs { alert, account: "sms-1".into(), list: vec![(5, "1532#9".into())] }),
        ];
        for event in events {
            assert_eq!(Event::decode(&event.encode()), Ok(event));
        }
    }

    #[test]
    fn an_alert_kept_when_one_could_change_only_one_other_reads_with_it() {
        let mut kept = serde_json::to_value(super::super::kit::accepted(serde_json::json!({}))).expect("json");
        let fields = kept.as_object_mut().expect("an object");
        fields.remove("targets");
        let read = |kept: &serde_json::Value| serde_json::from_value::<Accepted>(kept.clone()).expect("it reads").targets;
        assert_eq!(read(&kept), []);
        for (target, expected) in [(serde_json::json!(null), vec![]), (serde_json::json!(7), vec![AlertNo(7)])] {
            kept["target"] = target;
            assert_eq!(read(&kept), expected);
        }
        kept.as_object_mut().expect("an object").remove("target");
        kept["targets"] = serde_json::json!([7, 9]);
        assert_eq!(read(&kept), [AlertNo(7), AlertNo(9)]);
    }

    #[test]
    fn the_end_of_early_reports_is_in_the_journal_alone_as_the_facts_they_became_are() {
        let (alert, at) = (AlertNo(7), Timestamp::from_ms(1));
        let told = |told| Event::Told(Box::new(told));
        let early = Early {
            id: 1,
            at,
            name: crate::delivery::early::Name { account: "sms-1".into(), provider_ref: "9".into() },
            news: crate::channel::News::Delivered,
            reported: None,
        };
        assert!(told(Told::Early(early)).is_trail() && told(Told::Expired { alert, at }).is_trail());
        assert!(!told(Told::EarlyEnded { at, ids: vec![1] }).is_trail());
        assert!(!Event::Facts(Facts { alert, base: at, words: Vec::new(), list: Vec::new() }).is_trail());
    }

    proptest! {
        #[test]
        fn a_damaged_event_is_refused_or_read_but_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), kind in 0_u8..7) {
            let mut whole = vec![VERSION, kind];
            whole.extend(bytes);
            if let Ok(event) = Event::decode(&whole) {
                prop_assert!(Event::decode(&event.encode()).is_ok());
            }
        }
    }
}
