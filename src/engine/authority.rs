//! Owns who may say what: sources, the senders they speak for, events, levels, areas, and whether two people are needed.
//! Refuses to know keys and sessions: the edge has settled who the caller is. Invariant: every right that is missing is named, not the first.

use crate::{
    alert::{Alert, EventPattern, Level, MsgType, Point},
    area::AreaCode,
    datum::Datum,
    fault::Faults,
    matching::meant::{CodeBook, Meant, meant},
    registry::Snapshot,
};

/// A `[[source]]` of the configuration.
#[derive(Clone, Debug)]
pub struct Source {
    pub name: String,
    pub senders: Vec<String>,
    pub events: Vec<EventPattern>,
    pub levels: Vec<Level>,
    pub areas: Vec<AreaCode>,
    pub approval: Approval,
    /// The map that it draws its areas on.
    pub datum: Datum,
    pub codes: CodeBook,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Approval {
    None,
    Red,
    Always,
}

impl Source {
    /// What this source may not say about this alert; empty when it may.
    pub(crate) fn judge(&self, alert: &Alert, faults: &mut Faults) {
        if !self.senders.contains(&alert.sender) {
            let message = format!("source {} may not speak for {:?}", self.name, alert.sender);
            faults.add("sender", "sender-not-allowed", message);
        }
        // An all-clear takes nothing that the alert itself did not need.
        if !self.events.iter().any(|pattern| pattern.matches(&alert.event)) {
            faults.add("event", "event-not-allowed", format!("source {} may not issue events of {}", self.name, alert.event));
        }
        if alert.msg_type != MsgType::Cancel && !self.levels.contains(&alert.level) {
            faults.add("level", "level-not-allowed", format!("source {} may not issue level {}", self.name, alert.level.name()));
        }
        for (number, area) in alert.areas.iter().enumerate() {
            for (place, &code) in area.codes.iter().enumerate() {
                if !self.areas.iter().any(|allowed| allowed.contains(code)) {
                    let message = format!("source {} may not issue for {code}", self.name);
                    faults.add(format!("areas[{number}].codes[{place}]"), "area-not-allowed", message);
                }
            }
        }
    }

    /// Brings areas and shapes to what the registry means by them.
    pub(crate) fn understand(&self, alert: &mut Alert, snapshot: &Snapshot) -> Meant {
        if self.datum != Datum::Wgs84 {
            let shapes = alert.areas.iter_mut().flat_map(|area| {
                let corners = area.polygons.iter_mut().flat_map(|polygon| polygon.rings.iter_mut().flatten());
                corners.chain(area.circles.iter_mut().map(|circle| &mut circle.center))
            });
            for point in shapes {
                let (lon, lat) = self.datum.to_wgs84(point.lon, point.lat);
                *point = Point { lon, lat };
            }
        }
        meant(&mut alert.areas, &self.codes, snapshot)
    }

    pub(crate) fn needs_approval(&self, alert: &Alert) -> bool {
        match self.approval {
            Approval::None => false,
            Approval::Red => alert.level == Level::Red && alert.msg_type != MsgType::Cancel,
            Approval::Always => true,
        }
    }
}
