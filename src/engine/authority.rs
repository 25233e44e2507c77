//! Owns who may say what: sources, the senders they speak for, events, levels, areas, and whether two people are needed.
//! Refuses to know keys and sessions: the edge has settled who the caller is. Invariant: every right that is missing is named, not the first.

use super::references::Target;
use crate::{
    alert::{Alert, EventPattern, Level, Point},
    area::AreaCode,
    datum::Datum,
    fault::Faults,
    matching::{
        self,
        meant::{CodeBook, Meant, meant},
    },
    registry::Snapshot,
};

/// Areas that are named of those a shape should not have touched.
const NAMED_MAX: usize = 3;

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
    pub(crate) fn judge(&self, alert: &Alert, snapshot: &Snapshot, faults: &mut Faults) {
        if !self.senders.contains(&alert.sender) {
            let message = format!("source {} may not speak for {:?}", self.name, alert.sender);
            faults.add("sender", "sender-not-allowed", message);
        }
        // An all-clear says the event, level and area of what it ends, which is judged itself.
        if alert.is_all_clear() {
            return;
        }
        if !self.events.iter().any(|pattern| pattern.matches(&alert.event)) {
            faults.add("event", "event-not-allowed", self.not_allowed(alert));
        }
        if !self.levels.contains(&alert.level) {
            faults.add("level", "level-not-allowed", format!("source {} may not issue level {}", self.name, alert.level.name()));
        }
        self.judge_areas(alert, snapshot, faults);
    }

    fn not_allowed(&self, alert: &Alert) -> String {
        if alert.event.is_unspecified() {
            let shown: String = alert.event_name.chars().take(60).collect();
            return format!(
                "source {} may not issue events of {}: {shown:?} stands for no event code known here; give the code",
                self.name, alert.event
            );
        }
        format!("source {} may not issue events of {}", self.name, alert.event)
    }

    fn judge_areas(&self, alert: &Alert, snapshot: &Snapshot, faults: &mut Faults) {
        for (number, area) in alert.areas.iter().enumerate() {
            for (place, &code) in area.codes.iter().enumerate() {
                if !self.areas.iter().any(|allowed| allowed.contains(code)) {
                    let message = format!("source {} may not issue for {code}", self.name);
                    faults.add(format!("areas[{number}].codes[{place}]"), "area-not-allowed", message);
                }
            }
        }
        // Whoever speaks for the whole county may draw beyond it: nobody there is ours, so nobody there is told.
        let is_whole = snapshot.areas().root().is_some_and(|root| self.areas.iter().any(|allowed| allowed.contains(root.code)));
        if is_whole {
            return;
        }
        for (number, area) in alert.areas.iter().enumerate() {
            for (place, held) in matching::held_by_shapes(area, snapshot) {
                let outside: Vec<AreaCode> = held.into_iter().filter(|&code| self.is_outside(code)).collect();
                if !outside.is_empty() {
                    let named: Vec<String> = outside.iter().take(NAMED_MAX).map(ToString::to_string).collect();
                    let (count, named) = (outside.len(), named.join(", "));
                    let message = format!("source {} may not issue for {count} areas that the shape touches, such as {named}", self.name);
                    faults.add(format!("areas[{number}].{place}"), "area-not-allowed", message);
                }
            }
        }
    }

    /// What is registered with an area above one's own may stand anywhere below it: it makes no shape too large.
    fn is_outside(&self, code: AreaCode) -> bool {
        !self.areas.iter().any(|allowed| allowed.contains(code) || code.contains(*allowed))
    }

    /// Whether this source may change or end what another one has said: only where it could have said all of it itself.
    pub(super) fn judge_target(&self, said_by: &str, target: &Target, snapshot: &Snapshot, faults: &mut Faults) {
        if said_by == self.name {
            return;
        }
        let (alert, path) = (&target.shelf.alert, format!("references[{}]", target.place));
        let mut beyond = Faults::default();
        self.judge_areas(alert, snapshot, &mut beyond);
        if !beyond.is_empty() {
            let message = format!("source {} may not change {:?}, which reaches beyond its areas", self.name, alert.identifier);
            faults.add(path.clone(), "area-not-allowed", message);
        }
        if !self.events.iter().any(|pattern| pattern.matches(&alert.event)) {
            let message = format!("source {} may not change {:?}, whose event it may not issue", self.name, alert.identifier);
            faults.add(path.clone(), "event-not-allowed", message);
        }
        if !self.levels.contains(&alert.level) {
            let message = format!("source {} may not change {:?}, whose level it may not issue", self.name, alert.identifier);
            faults.add(path, "level-not-allowed", message);
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
            Approval::Red => alert.level == Level::Red && !alert.is_all_clear(),
            Approval::Always => true,
        }
    }
}
