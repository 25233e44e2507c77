//! Owns the command to a loudspeaker: its fields, and how an `Outgoing` becomes one.
//! Refuses to know topics, signatures and brokers. Pure.
//! Invariant: `msg_id` is the alert's id, so the same alert by area topic, by speaker topic and by a retry is one thing to a speaker.

use serde::{Deserialize, Serialize};

use crate::{
    alert::{EventCode, Level, MsgType, Status},
    area::AreaCode,
    message::Outgoing,
    time::Timestamp,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Action {
    Play,
    /// Ends what plays of `alert` and forgets what waits of it; then says `text` once, when there is one.
    Stop,
    Config,
    Ping,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Audio {
    pub(super) url: String,
    pub(super) sha256: String,
    pub(super) mime: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Command {
    pub(super) msg_id: String,
    pub(super) action: Action,
    /// The alert that this is about: for `stop` the one that is ended, else the same as `msg_id`.
    pub(super) alert: String,
    /// Further ones that a `stop` ends.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) also: Vec<String>,
    pub(super) status: Status,
    pub(super) level: Level,
    pub(super) event: EventCode,
    pub(super) headline: String,
    pub(super) text: String,
    #[serde(default)]
    pub(super) audio: Option<Audio>,
    pub(super) repeat: u8,
    pub(super) interval_s: u32,
    /// Percent; the speaker's own setting when absent.
    #[serde(default)]
    pub(super) volume: Option<u8>,
    #[serde(default)]
    pub(super) not_before: Option<Timestamp>,
    pub(super) expires: Timestamp,
    /// Whether it may cut off what plays at the same level; what is more urgent always may.
    pub(super) preempt: bool,
    /// When this copy left the gateway: one that comes much later was kept by somebody.
    #[serde(default)]
    pub(super) sent: Option<Timestamp>,
    /// For whom it is, under the signature: one of the two is there. Speakers of before these fields do not look at them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) areas: Vec<AreaCode>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) speaker: Option<String>,
}

/// How this account's speakers are to say things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Manner {
    pub(super) interval_s: u32,
    pub(super) volume: Option<u8>,
}

pub(super) fn command(message: &Outgoing, manner: Manner, now: Timestamp) -> Command {
    let facts = &message.facts;
    let is_end = facts.msg_type == MsgType::Cancel;
    let mut ended = facts.replaces.iter().filter(|_| is_end).map(ToString::to_string);
    let alert = ended.next().unwrap_or_else(|| facts.alert.to_string());
    Command {
        msg_id: facts.alert.to_string(),
        action: if is_end { Action::Stop } else { Action::Play },
        alert,
        also: ended.collect(),
        status: facts.status,
        level: facts.level,
        event: facts.event.clone(),
        headline: facts.headline.clone(),
        text: message.text.clone(),
        audio: None,
        // The all-clear is said once.
        repeat: if is_end { 1 } else { facts.repeat.max(1) },
        interval_s: manner.interval_s,
        volume: manner.volume,
        not_before: Some(facts.effective).filter(|&effective| effective > now),
        expires: facts.expires,
        preempt: is_end || facts.msg_type == MsgType::Update || matches!(facts.level, Level::Red | Level::Orange),
        sent: Some(now),
        areas: message.whole_area.into_iter().collect(),
        speaker: message.whole_area.is_none().then(|| message.to.clone()),
    }
}
