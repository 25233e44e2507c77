//! Owns what is said: alert x reader x form -> text, and the sealed message that a channel takes.
//! Refuses to know channels by name, addresses' meaning, storage and clocks; rendering is pure.
//! Invariant: a text says what, when, where to go within the limit of its form, and a drill says that it is one.

mod event;
mod letter;
mod measure;
mod outside;
mod post;
pub mod render;
#[cfg(test)]
mod render_tests;
mod short;
mod speech;
mod spoken;
pub mod token;

use std::{fmt, str::FromStr, sync::Arc};

use crate::{
    alert::{AlertId, AlertNo, EventCode, Level, MsgType, Status},
    area::AreaCode,
    time::Timestamp,
};

/// One delivery's public name: alert number and index in its plan, as 13 characters of base 32.
/// It is the out-id that providers echo in their receipts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryId {
    pub alert: AlertNo,
    pub index: u32,
}

#[derive(Debug, thiserror::Error)]
#[error("not a delivery id")]
pub struct BadDeliveryId;

/// Crockford's alphabet: no letter that is read as a digit over the telephone.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const ID_CHARS: usize = 13;

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let packed = (u64::from(self.alert.0) << 32) | u64::from(self.index);
        for place in (0..ID_CHARS).rev() {
            let digit = usize::try_from((packed >> (5 * place)) & 31).unwrap_or(0);
            fmt::Write::write_char(f, char::from(ALPHABET[digit]))?;
        }
        Ok(())
    }
}

impl FromStr for DeliveryId {
    type Err = BadDeliveryId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() != ID_CHARS {
            return Err(BadDeliveryId);
        }
        let mut packed = 0_u64;
        for (place, byte) in text.bytes().enumerate() {
            let digit = ALPHABET.iter().position(|&letter| letter == byte).ok_or(BadDeliveryId)?;
            // Thirteen digits hold 65 bits: the first may only carry four.
            if place == 0 && digit > 15 {
                return Err(BadDeliveryId);
            }
            packed = (packed << 5) | digit as u64;
        }
        let index = u32::try_from(packed & u64::from(u32::MAX)).map_err(|_| BadDeliveryId)?;
        let alert = u32::try_from(packed >> 32).map_err(|_| BadDeliveryId)?;
        Ok(Self { alert: AlertNo(alert), index })
    }
}

/// What every message of one alert shares; made once per alert.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// Also the idempotency key of devices (`msg_id`): an Update or Cancel is an alert with an id of its own.
    pub alert: AlertId,
    pub status: Status,
    /// Cancel for every all-clear, whatever its document calls itself.
    pub msg_type: MsgType,
    /// For Update and Cancel, the ids of the alerts that it changes or ends, as far as the gateway knows them.
    pub replaces: Vec<AlertId>,
    pub event: EventCode,
    pub event_name: String,
    pub level: Level,
    pub headline: String,
    pub issuer: String,
    pub effective: Timestamp,
    pub expires: Timestamp,
    /// How often a loudspeaker says it, at least 1.
    pub repeat: u8,
}

/// A message ready to be handed to a far end.
#[derive(Clone, Debug)]
pub struct Outgoing {
    pub id: DeliveryId,
    /// Phone number, mailbox, device id or robot key, as the channel's `Reach` says. Never logged.
    pub to: String,
    /// The recipient's own division code.
    pub area: AreaCode,
    /// Set when this delivery is one of a group that covers every device of that area: one area-wide send serves all.
    pub whole_area: Option<AreaCode>,
    pub subject: String,
    pub text: String,
    /// Where the reader answers, when an answer is asked of them; already part of `text` where the form has room.
    pub answer_url: Option<String>,
    pub facts: Arc<Facts>,
    /// 1 for the first try.
    pub attempt: u16,
}

/// The shape and the limits that a channel sets for its texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// Short message, counted in UTF-16 units: `one_part` in a single part, `part` in each of several, `signature` included.
    /// `replies`: what readers write back reaches us, so that all may be told to ask for help.
    Short { one_part: u16, part: u16, parts_max: u8, signature: String, replies: bool },
    /// To be spoken: no brackets, digits and units in words a listener understands.
    Speech { units_max: u16 },
    /// Subject and a body without a narrow limit.
    Letter,
    /// A chat post, counted in bytes of UTF-8.
    Post { bytes_max: u32, markdown: bool },
}

impl Form {
    /// Whether a text, signature and all, travels as several messages that may fare differently.
    pub fn is_in_parts(&self, text: &str) -> bool {
        matches!(self, Self::Short { one_part, .. } if text.encode_utf16().count() > usize::from(*one_part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_id_reads_back_and_nothing_else_is_one() {
        for (alert, index) in [(0, 0), (1, 2), (u32::MAX, u32::MAX), (77, 4_095)] {
            let id = DeliveryId { alert: AlertNo(alert), index };
            assert_eq!(id.to_string().len(), 13);
            assert_eq!(id.to_string().parse::<DeliveryId>().ok(), Some(id));
        }
        for text in ["", "0", "zzzzzzzzzzzzz", "00000000000u0", "00000000000000"] {
            assert!(text.parse::<DeliveryId>().is_err(), "{text:?} was read as a delivery id");
        }
    }
}
