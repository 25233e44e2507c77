//! Owns the warning: as it came in (`Draft` of each format), and as a value that cannot be invalid (`Alert`).
//! Refuses to know keys, registries, storage and clocks: what depends on those is judged by the engine.
//! Invariant: an `Alert` exists only through `check`, which names every fault it found in the draft.

pub mod cap;
mod carried;
mod check;
mod cn12379;
mod code;
#[cfg(test)]
mod corpus_tests;
mod crossing;
mod events;
#[cfg(test)]
mod form_tests;
mod geometry;
pub mod json;
pub mod mapping;
mod reading;
#[cfg(test)]
mod round_trip_tests;
mod scan;
#[cfg(test)]
mod tests;
pub mod validate;
mod words;
pub mod wrapped;

pub use carried::{Carried, Named, Resource};
pub use code::{BadEventCode, BadEventPattern, EventPattern, category, event_name};
pub use reading::{Format, Limits, Reading, Vocabulary, content_digest, document_digest, read};

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{area::AreaCode, time::Timestamp};

/// The gateway's own name of an alert (UUIDv7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AlertId(pub Uuid);

impl fmt::Display for AlertId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for AlertId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// The gateway's running number of an alert: what packed events and delivery ids carry instead of 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AlertNo(pub u32);

/// Warning colour; `Red` is the most urgent and sorts first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    Red,
    Orange,
    Yellow,
    Blue,
}

impl Level {
    pub const ALL: [Self; 4] = [Self::Red, Self::Orange, Self::Yellow, Self::Blue];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Red => "red",
            Self::Orange => "orange",
            Self::Yellow => "yellow",
            Self::Blue => "blue",
        }
    }

    /// The CAP `severity` that the colour stands for.
    pub const fn severity(self) -> &'static str {
        match self {
            Self::Red => "Extreme",
            Self::Orange => "Severe",
            Self::Yellow => "Moderate",
            Self::Blue => "Minor",
        }
    }

    pub const fn chinese(self) -> &'static str {
        match self {
            Self::Red => "红色",
            Self::Orange => "橙色",
            Self::Yellow => "黄色",
            Self::Blue => "蓝色",
        }
    }
}

/// CAP `status`; a document of status Draft is never an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Status {
    Actual,
    Exercise,
    System,
    Test,
}

impl Status {
    /// Drills never count with real alerts, and every text says that it is one.
    pub const fn is_drill(self) -> bool {
        !matches!(self, Self::Actual)
    }
}

/// CAP `msgType`, as far as it starts work; Ack and Error are refused as alerts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum MsgType {
    Alert,
    Update,
    Cancel,
}

/// A five-character event code of the 12379 table (`11B03`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventCode(String);

/// The triple by which CAP names an earlier message.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    pub sender: String,
    pub identifier: String,
    pub sent: Timestamp,
}

/// A point in WGS-84 degrees.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    pub lon: f64,
    pub lat: f64,
}

/// Outer ring first, then holes; every ring closed, of at least four points, in either direction, not crossing itself; holes inside.
#[derive(Clone, Debug, PartialEq)]
pub struct Polygon {
    pub rings: Vec<Vec<Point>>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Circle {
    pub center: Point,
    pub radius_km: f64,
}

/// One named area: the union of its codes, polygons and circles.
#[derive(Clone, Debug, PartialEq)]
pub struct Area {
    pub name: String,
    pub codes: Vec<AreaCode>,
    pub polygons: Vec<Polygon>,
    pub circles: Vec<Circle>,
}

/// The text of an alert in one further language.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Translation {
    pub language: String,
    pub event: String,
    pub headline: String,
    pub description: String,
    pub instruction: String,
}

/// A checked warning.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    pub identifier: String,
    pub sender: String,
    /// The issuing office in words; empty when the document does not name it.
    pub sender_name: String,
    pub sent: Timestamp,
    pub status: Status,
    pub msg_type: MsgType,
    pub references: Vec<Reference>,
    pub event: EventCode,
    /// The event in words, as the document has it.
    pub event_name: String,
    pub level: Level,
    /// CAP `urgency` and `certainty`, values of the CAP enumerations.
    pub urgency: String,
    pub certainty: String,
    /// CAP `category` values, at least one.
    pub categories: Vec<String>,
    pub response_types: Vec<String>,
    /// When the warning was signed: clock zero of timeliness. `sent` when the document has none.
    pub effective: Timestamp,
    pub onset: Option<Timestamp>,
    pub expires: Timestamp,
    pub headline: String,
    pub description: String,
    /// The measures that keep people safe; empty only with a warning.
    pub instruction: String,
    pub language: String,
    pub translations: Vec<Translation>,
    pub note: String,
    pub web: String,
    pub contact: String,
    pub areas: Vec<Area>,
    /// Channel kind to the text that it is to say instead of ours.
    pub texts: BTreeMap<String, String>,
    /// Groups of recipients that the sender named (12379 `audienceGrp`, JSON `groups`), as written; who they are is the county's to say.
    pub groups: Vec<String>,
    /// The identifier of the document that said several things, of which this is one; empty when it said nothing else.
    pub part_of: String,
    /// What the document said beside the warning, for whoever reads it as CAP after us.
    pub carried: Carried,
}

/// CAP `responseType` values that ask for nothing, as they may stand beside an all-clear.
const RESTING: &[&str] = &["AllClear", "None", "Monitor", "Assess"];

impl Alert {
    /// Whether it says that what it refers to is over: a Cancel, or an Update that gives the all-clear (some countries end every warning so).
    pub fn is_all_clear(&self) -> bool {
        let says = |word: &str| self.response_types.iter().any(|known| known == word);
        let asks = self.response_types.iter().any(|known| !RESTING.contains(&known.as_str()));
        match self.msg_type {
            MsgType::Alert => false,
            MsgType::Update => (says("AllClear") || self.urgency == "Past") && !asks,
            MsgType::Cancel => true,
        }
    }
}
