//! Owns the plan: who is owed what, by which route, in which lane, and its byte form in pieces.
//! Refuses to know phones, names and texts: recipients are stable keys, delta-coded, and nothing else.
//! Invariant: a plan counts only once its `Seal` is in the journal; pieces without one are dropped at the next start and planned anew.

use serde::{Deserialize, Serialize};

use super::{
    event::read_time,
    wire::{Damaged, Reader, put_keys, put_text, put_varint},
};
use crate::{area::AreaCode, time::Timestamp};

/// Deliveries of one leg; a lease, a retry heap entry and a piece of the journal all stay small with it.
pub const LEG_DELIVERIES_MAX: usize = 4_096;
/// Recipients of one piece of the journal: about 8 kB when keys rise by one, 20 kB at worst.
pub const RUN_RECIPIENTS_MAX: usize = 4_096;

/// What a recipient is; its key is unique within its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum RecipientKind {
    Person = 0,
    Speaker = 1,
    Endpoint = 2,
}

impl RecipientKind {
    const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Person),
            1 => Some(Self::Speaker),
            2 => Some(Self::Endpoint),
            _ => None,
        }
    }
}

/// Who is told first when the far end is slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum Lane {
    /// People who must act, and devices that reach a whole village at once.
    Act = 0,
    Public = 1,
}

impl Lane {
    const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Act),
            1 => Some(Self::Public),
            _ => None,
        }
    }
}

/// What a message of a leg is about; how it is said is the message room's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum Occasion {
    Warning = 0,
    /// The reader had the earlier alert and is still inside: what has changed.
    Change = 1,
    /// The reader had the earlier alert and is no longer inside.
    Gone = 2,
    AllClear = 3,
    /// Asked because another did not answer.
    OnBehalf = 4,
}

impl Occasion {
    const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Warning),
            1 => Some(Self::Change),
            2 => Some(Self::Gone),
            3 => Some(Self::AllClear),
            4 => Some(Self::OnBehalf),
            _ => None,
        }
    }
}

/// Why a plan was made; an alert has one `First`, at most one `Fallback`, and as many `Escalation`s as calls stay silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum Purpose {
    First = 0,
    Fallback = 1,
    Escalation = 2,
    /// Those who had no way to be told when it was planned, and have one since.
    NewWays = 3,
}

impl Purpose {
    const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::First),
            1 => Some(Self::Fallback),
            2 => Some(Self::Escalation),
            3 => Some(Self::NewWays),
            _ => None,
        }
    }
}

/// Recipients of one area, kind and role; their indices follow those planned before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    pub area: AreaCode,
    pub kind: RecipientKind,
    /// Role word of people; empty for devices and endpoints.
    pub role: String,
    pub keys: Vec<u32>,
    /// Places in `keys` of those who have no address at all.
    pub unreachable: Vec<u32>,
}

/// Deliveries by one route; their indices follow those planned before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leg {
    /// Route word, such as `sms/phone`: a kind of channel and the address it uses.
    pub route: String,
    pub lane: Lane,
    pub occasion: Occasion,
    /// Ranges `(first, count)` of recipient indices, rising.
    pub recipients: Vec<(u32, u32)>,
}

/// A hazard point in the audience, with whom its closing depends on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hazard {
    pub key: u32,
    pub area: AreaCode,
    pub monitor: Option<u32>,
    pub households: Vec<u32>,
}

/// Answers that are due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallsDue {
    pub due: Timestamp,
    /// 0 for those whom the policy calls first; 1 and more for those who are asked in another's place.
    pub step: u8,
    pub recipients: Vec<u32>,
    pub on_behalf: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlanPart {
    Open {
        number: u16,
        at: Timestamp,
        purpose: Purpose,
    },
    Run(Run),
    Leg(Leg),
    Hazard(Hazard),
    Calls(CallsDue),
    /// Totals of the book after this plan: a piece that is missing is noticed.
    Seal {
        number: u16,
        recipients: u32,
        deliveries: u32,
    },
}

impl PlanPart {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Open { number, at, purpose } => {
                out.push(1);
                out.push(*purpose as u8);
                put_varint(out, (*number).into());
                put_varint(out, at.as_ms().max(0) as u64);
            }
            Self::Run(run) => {
                out.push(2);
                put_varint(out, run.area.padded());
                out.push(run.kind as u8);
                put_text(out, &run.role);
                put_keys(out, &run.keys);
                put_keys(out, &run.unreachable);
            }
            Self::Leg(leg) => {
                out.push(3);
                put_text(out, &leg.route);
                out.push(leg.lane as u8);
                out.push(leg.occasion as u8);
                put_ranges(out, &leg.recipients);
            }
            Self::Hazard(hazard) => {
                out.push(4);
                put_varint(out, hazard.key.into());
                put_varint(out, hazard.area.padded());
                put_varint(out, hazard.monitor.map_or(0, |monitor| u64::from(monitor) + 1));
                put_keys(out, &hazard.households);
            }
            Self::Calls(calls) => {
                out.push(5);
                put_varint(out, calls.due.as_ms().max(0) as u64);
                out.push(calls.step);
                put_varint(out, calls.on_behalf.map_or(0, |silent| u64::from(silent) + 1));
                put_keys(out, &calls.recipients);
            }
            Self::Seal { number, recipients, deliveries } => {
                out.push(6);
                put_varint(out, (*number).into());
                put_varint(out, (*recipients).into());
                put_varint(out, (*deliveries).into());
            }
        }
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        Ok(match reader.byte("plan part")? {
            1 => Self::Open {
                purpose: Purpose::from_byte(reader.byte("purpose")?).ok_or(reader.damaged("purpose"))?,
                number: read_number(reader)?,
                at: read_time(reader)?,
            },
            2 => Self::Run(Run {
                area: read_area(reader)?,
                kind: RecipientKind::from_byte(reader.byte("recipient kind")?).ok_or(reader.damaged("recipient kind"))?,
                role: reader.text("role")?.to_owned(),
                keys: reader.keys("recipients")?,
                unreachable: reader.keys("unreachable")?,
            }),
            3 => Self::Leg(Leg {
                route: reader.text("route")?.to_owned(),
                lane: Lane::from_byte(reader.byte("lane")?).ok_or(reader.damaged("lane"))?,
                occasion: Occasion::from_byte(reader.byte("occasion")?).ok_or(reader.damaged("occasion"))?,
                recipients: read_ranges(reader)?,
            }),
            4 => Self::Hazard(Hazard {
                key: reader.varint_u32("hazard point")?,
                area: read_area(reader)?,
                monitor: read_optional(reader)?,
                households: reader.keys("households")?,
            }),
            5 => Self::Calls(CallsDue {
                due: read_time(reader)?,
                step: reader.byte("step")?,
                on_behalf: read_optional(reader)?,
                recipients: reader.keys("called")?,
            }),
            6 => Self::Seal {
                number: read_number(reader)?,
                recipients: reader.varint_u32("recipients")?,
                deliveries: reader.varint_u32("deliveries")?,
            },
            _ => return Err(reader.damaged("plan part")),
        })
    }
}

fn put_ranges(out: &mut Vec<u8>, ranges: &[(u32, u32)]) {
    put_varint(out, ranges.len() as u64);
    let mut end = 0;
    for &(first, count) in ranges {
        // Ranges rise, so the gap to the one before is small and never negative.
        debug_assert!(first >= end, "ranges of a leg must rise: {ranges:?}");
        put_varint(out, first.saturating_sub(end).into());
        put_varint(out, count.into());
        end = first.saturating_add(count);
    }
}

fn read_ranges(reader: &mut Reader<'_>) -> Result<Vec<(u32, u32)>, Damaged> {
    let count = reader.count(2, "ranges")?;
    let mut ranges = Vec::with_capacity(count);
    let mut end = 0_u32;
    for _ in 0..count {
        let first = end.checked_add(reader.varint_u32("range gap")?).ok_or(reader.damaged("range gap"))?;
        let length = reader.varint_u32("range length")?;
        end = first.checked_add(length).ok_or(reader.damaged("range length"))?;
        ranges.push((first, length));
    }
    Ok(ranges)
}

fn read_number(reader: &mut Reader<'_>) -> Result<u16, Damaged> {
    let number = reader.varint("plan number")?;
    u16::try_from(number).map_err(|_| reader.damaged("plan number"))
}

fn read_area(reader: &mut Reader<'_>) -> Result<AreaCode, Damaged> {
    let code = reader.varint("area")?;
    AreaCode::from_padded(code).ok_or(reader.damaged("area"))
}

fn read_optional(reader: &mut Reader<'_>) -> Result<Option<u32>, Damaged> {
    Ok(reader.varint_u32("optional index")?.checked_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{alert::AlertNo, delivery::event::Event};

    #[test]
    fn every_part_of_a_plan_reads_back() {
        let area: AreaCode = "510726102201".parse().expect("code");
        let parts = [
            PlanPart::Open { number: 3, at: Timestamp::from_ms(1_784_000_000_000), purpose: Purpose::Escalation },
            PlanPart::Run(Run {
                area,
                kind: RecipientKind::Person,
                role: "household".into(),
                keys: vec![5, 6, 7, 3],
                unreachable: vec![2],
            }),
            PlanPart::Leg(Leg {
                route: "post/box".into(),
                lane: Lane::Public,
                occasion: Occasion::OnBehalf,
                recipients: vec![(0, 3), (4, 1), (100, 4_000)],
            }),
            PlanPart::Hazard(Hazard { key: 9, area, monitor: Some(0), households: vec![1, 2] }),
            PlanPart::Calls(CallsDue { due: Timestamp::from_ms(1), step: 1, recipients: vec![8], on_behalf: Some(7) }),
            PlanPart::Seal { number: 3, recipients: 12, deliveries: 30 },
        ];
        for part in parts {
            let event = Event::Plan(AlertNo(1), part);
            assert_eq!(Event::decode(&event.encode()), Ok(event));
        }
    }

    #[test]
    fn a_run_of_rising_keys_costs_about_a_byte_each() {
        let area: AreaCode = "510726102201".parse().expect("code");
        let keys: Vec<u32> = (70_000..74_000).collect();
        let run = Run { area, kind: RecipientKind::Person, role: "household".into(), keys, unreachable: vec![] };
        let bytes = Event::Plan(AlertNo(1), PlanPart::Run(run)).encode();
        assert!(bytes.len() < 4_040, "{} bytes for 4,000 recipients", bytes.len());
    }
}
