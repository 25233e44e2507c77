//! Owns what one document that says several things becomes: an alert for each of them that means somebody here, and which of them changes
//! or ends which earlier alert. Refuses to know storage. Invariant: all of a document is taken in or nothing; each earlier alert is changed
//! or ended by one part.

use std::sync::Arc;

use super::{
    all_clear,
    authority::Rights,
    gateway::Gateway,
    references::{Target, UNKNOWN_REFERENCE},
};
use crate::{
    alert::Alert,
    delivery::ledger::Shelf,
    fault::{FAULTS_MAX, Fault},
    matching::{self, meant::Doubt},
    time::Timestamp,
};

/// Rule of the fault that an area means nobody here.
pub(super) const ELSEWHERE: &str = "area-resolves-to-nothing";
/// Faults of the document's head, which all its parts share.
const OF_ALL: &[&str] = &["sender", "sent", "identifier", "references", "status", "msgType"];

/// What one document says.
pub(super) struct Document {
    /// Most severe first, under one identifier.
    pub(super) alerts: Vec<Alert>,
    /// Where each stands; empty when there is one.
    pub(super) places: Vec<String>,
}

/// One thing that a document says, found without fault.
pub(super) struct Part {
    pub(super) alert: Alert,
    /// What only a person can settle.
    pub(super) doubts: Vec<Doubt>,
    pub(super) targets: Vec<Target>,
    pub(super) matched: Option<matching::Audience>,
    /// What has changed or ended it before it came.
    pub(super) later: Option<Arc<Shelf>>,
}

impl Part {
    pub(super) fn shelves(&self) -> Vec<Arc<Shelf>> {
        self.targets.iter().map(|target| Arc::clone(&target.shelf)).collect()
    }
}

impl Gateway {
    /// Judges everything that a document says, and leaves out what means nobody here; every fault of it, or its parts.
    pub(super) fn judge_parts(
        &self,
        rights: &Rights<'_>,
        document: Document,
        now: Timestamp,
        warnings: &mut Vec<Fault>,
    ) -> Result<Vec<Part>, Vec<Fault>> {
        let Document { alerts, places } = document;
        let (snapshot, is_one) = (self.snapshot(), alerts.len() == 1);
        let (mut parts, mut bad, mut elsewhere, mut unfounded) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (number, mut alert) in alerts.into_iter().enumerate() {
            let place = places.get(number).map_or("", String::as_str);
            let meant = rights.source.understand(&mut alert, &snapshot);
            warnings.extend(placed(meant.warnings, place));
            match self.judged(rights, &alert, now) {
                Ok((named, matched)) => {
                    let fresh = named.warnings.into_iter().filter(|fault| !warnings.contains(fault)).collect::<Vec<_>>();
                    warnings.extend(fresh);
                    let place_doubt = |doubt: Doubt| Doubt { fault: placed_one(doubt.fault, place), ..doubt };
                    let doubts = meant.doubts.into_iter().map(place_doubt).collect();
                    parts.push(Part { alert, doubts, targets: named.targets, matched, later: None });
                }
                // The all-clear of one thing waits for nothing when another thing is to be told now.
                Err(faults) if faults.iter().all(|fault| fault.rule == UNKNOWN_REFERENCE) => unfounded.extend(placed(faults, place)),
                Err(faults) if !is_one && faults.iter().any(|fault| fault.rule == ELSEWHERE) => elsewhere.extend(placed(faults, place)),
                Err(faults) => bad.extend(placed(faults, place)),
            }
        }
        if !bad.is_empty() || parts.is_empty() {
            return Err(once([bad, elsewhere, unfounded].into_iter().find(|faults| !faults.is_empty()).unwrap_or_default()));
        }
        warnings.extend(elsewhere.into_iter().filter(|fault| fault.rule == ELSEWHERE).map(|fault| {
            let message = format!("{}: this part of the document is not taken in", fault.message);
            Fault { rule: "part-elsewhere", message, ..fault }
        }));
        warnings.extend(once(unfounded));
        let mut parts = named(assigned(parts, warnings));
        for part in &mut parts {
            self.settle(part, now, warnings);
        }
        Ok(parts)
    }

    /// What a part has from those that it ends, and whether it came too late.
    fn settle(&self, part: &mut Part, now: Timestamp, warnings: &mut Vec<Fault>) {
        all_clear::take_over(&mut part.alert, &part.targets, now, warnings);
        part.later = self.overtaken_by(&part.alert);
        if let Some(later) = &part.later {
            // What came after the one that is already here is no part of what this one changed.
            part.targets.retain(|target| target.shelf.no < later.no);
            let message = format!("{:?} has changed or ended it before it came: nobody is told of it", later.alert.identifier);
            warnings.push(Fault::new("identifier", "overtaken", message));
        }
    }
}

/// Each earlier alert goes to the part that is about the same: by its event, then by its level, else to the most severe.
fn assigned(mut parts: Vec<Part>, warnings: &mut Vec<Fault>) -> Vec<Part> {
    if parts.len() < 2 {
        return parts;
    }
    let mut targets: Vec<Target> = Vec::new();
    for target in parts.iter_mut().flat_map(|part| std::mem::take(&mut part.targets)) {
        if !targets.iter().any(|known| known.shelf.no == target.shelf.no) {
            targets.push(target);
        }
    }
    for target in targets {
        let earlier = &target.shelf.alert;
        let likeness = |part: &Part| {
            let (event, level) = (part.alert.event == earlier.event, part.alert.level == earlier.level);
            // Where one part goes on with it and another ends it, those whom the first does not mean hear the end from it.
            (!event, part.alert.is_all_clear(), !level, part.alert.level)
        };
        let best = parts.iter().enumerate().min_by_key(|(_, part)| likeness(part)).map(|(number, _)| number);
        if let Some(part) = best.and_then(|number| parts.get_mut(number)) {
            part.targets.push(target);
        }
    }
    // An all-clear of nothing would tell nobody.
    let (taken, idle): (Vec<Part>, Vec<Part>) = parts.into_iter().partition(|part| !part.alert.is_all_clear() || !part.targets.is_empty());
    for part in &idle {
        let message = format!("nothing that the all-clear refers to is about {} at level {}", part.alert.event, part.alert.level.name());
        warnings.push(Fault::new("info", "nothing-to-end", message));
    }
    taken
}

/// Gives each part a name of its own; the first keeps that of the document.
fn named(mut parts: Vec<Part>) -> Vec<Part> {
    if parts.len() < 2 {
        return parts;
    }
    for (number, part) in parts.iter_mut().enumerate() {
        part.alert.part_of = part.alert.identifier.clone();
        if number > 0 {
            part.alert.identifier = format!("{}.part{}", part.alert.identifier, number + 1);
        }
    }
    parts
}

fn placed(faults: Vec<Fault>, place: &str) -> Vec<Fault> {
    faults.into_iter().map(|fault| placed_one(fault, place)).collect()
}

fn placed_one(fault: Fault, place: &str) -> Fault {
    let is_of = |name: &&str| fault.path.strip_prefix(*name).is_some_and(|rest| rest.is_empty() || rest.starts_with('['));
    if place.is_empty() || OF_ALL.iter().any(is_of) { fault } else { Fault { path: format!("{place}.{}", fault.path), ..fault } }
}

fn once(faults: Vec<Fault>) -> Vec<Fault> {
    let mut list: Vec<Fault> = Vec::with_capacity(faults.len());
    for fault in faults {
        if !list.contains(&fault) && list.len() < FAULTS_MAX {
            list.push(fault);
        }
    }
    list
}
