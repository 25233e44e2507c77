//! Owns who may say what: sources, the senders they speak for, events, levels, areas, and whether two people are needed.
//! Refuses to know keys and sessions: the edge has settled who the caller is. Invariant: every right that is missing is named, not the first.

use super::references::Target;
use crate::{
    alert::{Alert, EventPattern, Level, Point},
    area::AreaCode,
    datum::Datum,
    delivery::ledger::Shelf,
    fault::{Fault, Faults},
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

/// What one key may say: the rights of its source, within the areas of the key.
pub(crate) struct Rights<'a> {
    pub(super) source: &'a Source,
    areas: Vec<AreaCode>,
    /// The key is limited to less than its source.
    is_narrowed: bool,
}

impl<'a> Rights<'a> {
    /// `areas` as the key has them; none leaves all of the source.
    pub(crate) fn of(source: &'a Source, areas: &[AreaCode]) -> Self {
        if areas.is_empty() {
            return Self { source, areas: source.areas.clone(), is_narrowed: false };
        }
        let smaller = |one: AreaCode, other: AreaCode| {
            if one.contains(other) { Some(other) } else { Some(one).filter(|&one| other.contains(one)) }
        };
        let within = source.areas.iter().flat_map(|&own| areas.iter().filter_map(move |&key| smaller(own, key))).collect();
        Self { source, areas: within, is_narrowed: true }
    }

    /// To be read before "may not".
    fn who(&self) -> String {
        if self.is_narrowed { format!("this key of source {}", self.source.name) } else { format!("source {}", self.source.name) }
    }

    /// What may not be said of this alert; empty when all may.
    pub(super) fn judge(&self, alert: &Alert, snapshot: &Snapshot, faults: &mut Faults) {
        self.judge_sender(alert, faults);
        // An all-clear says the event, level and area of what it ends, which is judged itself.
        if alert.is_all_clear() {
            return;
        }
        if !self.may_event(alert) {
            faults.add("event", "event-not-allowed", self.not_allowed(alert));
        }
        if !self.source.levels.contains(&alert.level) {
            faults.add("level", "level-not-allowed", format!("{} may not issue level {}", self.who(), alert.level.name()));
        }
        self.judge_areas(alert, snapshot, faults);
    }

    fn not_allowed(&self, alert: &Alert) -> String {
        if alert.event.is_unspecified() {
            let shown: String = alert.event_name.chars().take(60).collect();
            return format!(
                "{} may not issue events of {}: {shown:?} stands for no event code known here; give the code",
                self.who(),
                alert.event
            );
        }
        format!("{} may not issue events of {}", self.who(), alert.event)
    }

    fn judge_sender(&self, alert: &Alert, faults: &mut Faults) {
        if !self.source.senders.contains(&alert.sender) {
            let message = format!("{} may not speak for {:?}", self.who(), alert.sender);
            faults.add("sender", "sender-not-allowed", message);
        }
    }

    fn may_event(&self, alert: &Alert) -> bool {
        self.source.events.iter().any(|pattern| pattern.matches(&alert.event))
    }

    /// Whether a post of what is known may learn what it was taken in as.
    pub(super) fn judge_repeat(&self, alert: &Alert, known: &Shelf, snapshot: &Snapshot) -> Result<(), Vec<Fault>> {
        let mut faults = Faults::default();
        self.judge_sender(alert, &mut faults);
        let is_own = known.read().accepted.source == self.source.name;
        if !is_own && faults.is_empty() {
            faults.add("identifier", "known-by-other-source", "an alert of this sender, identifier and time was posted by another source");
        }
        if self.is_narrowed {
            self.judge_areas(&known.alert, snapshot, &mut faults);
        }
        faults.into_result(())
    }

    pub(super) fn judge_areas(&self, alert: &Alert, snapshot: &Snapshot, faults: &mut Faults) {
        for (number, area) in alert.areas.iter().enumerate() {
            for (place, &code) in area.codes.iter().enumerate() {
                if !self.areas.iter().any(|allowed| allowed.contains(code)) {
                    let message = format!("{} may not issue for {code}", self.who());
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
                    let message = format!("{} may not issue for {count} areas that the shape touches, such as {named}", self.who());
                    faults.add(format!("areas[{number}].{place}"), "area-not-allowed", message);
                }
            }
        }
    }

    /// What is registered with an area above one's own may stand anywhere below it: it makes no shape too large.
    fn is_outside(&self, code: AreaCode) -> bool {
        !self.areas.iter().any(|allowed| allowed.contains(code) || code.contains(*allowed))
    }

    /// What another source, or another key, has said may be changed or ended only by who could have said all of it.
    pub(super) fn judge_target(&self, said_by: &str, target: &Target, snapshot: &Snapshot, faults: &mut Faults) {
        let is_own = said_by == self.source.name;
        if is_own && !self.is_narrowed {
            return;
        }
        let (alert, path) = (&target.shelf.alert, format!("references[{}]", target.place));
        let mut beyond = Faults::default();
        self.judge_areas(alert, snapshot, &mut beyond);
        if !beyond.is_empty() {
            let message = format!("{} may not change {:?}, which reaches beyond its areas", self.who(), alert.identifier);
            faults.add(path.clone(), "area-not-allowed", message);
        }
        if !is_own && !self.may_event(alert) {
            let message = format!("{} may not change {:?}, whose event it may not issue", self.who(), alert.identifier);
            faults.add(path.clone(), "event-not-allowed", message);
        }
        if !is_own && !self.source.levels.contains(&alert.level) {
            let message = format!("{} may not change {:?}, whose level it may not issue", self.who(), alert.identifier);
            faults.add(path, "level-not-allowed", message);
        }
    }
}

impl Source {
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
