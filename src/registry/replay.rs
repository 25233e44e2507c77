//! Owns the two ways between snapshots and the change log: what an edit left of the records it touched, and a state brought up by many.
//! Refuses to know frames and files.
//! Invariant: a replayed state has the same records, keys, opt-outs and retired keys as the one that was edited in memory.

use std::{borrow::Cow, collections::BTreeMap};

use super::{
    columns::Kind,
    edit::Change,
    file::Marks,
    log::{Edit, Outcome},
    merge::{Import, Mode, Placed, merge},
    record::{Cells, Record},
    row_faults::RowFaults,
    snapshot::Snapshot,
};
use crate::{datum::Datum, fault::Fault};

/// What `changes` left, to be logged; `None` when they touch areas, which move every row: then a whole generation is written.
pub(super) fn edit_of(before: &Snapshot, changes: &[Change], after: &Snapshot) -> Option<Edit> {
    let mut outcomes = BTreeMap::new();
    for change in changes {
        let (kind, id): (Kind, Box<str>) = match change {
            Change::PutArea(_) | Change::Delete(Kind::Areas, _) => return None,
            Change::PutHazardPoint(record) => (Kind::HazardPoints, record.code.clone()),
            Change::PutSubscriber(record) => (Kind::Subscribers, record.id.clone()),
            Change::PutSpeaker(record) => (Kind::Speakers, record.id.clone()),
            Change::PutEndpoint(record) => (Kind::Endpoints, record.id.clone()),
            Change::Delete(kind, id) => (*kind, id.clone()),
            Change::OptOut(key) | Change::OptIn(key) => match before.subscriber(*key).or_else(|| after.subscriber(*key)) {
                Some(subscriber) => (Kind::Subscribers, subscriber.id().into()),
                // Who is not there cannot opt in; nothing is left of it.
                None => continue,
            },
        };
        if let Some(outcome) = outcome_of(after, kind, &id) {
            outcomes.insert((kind, id), outcome);
        }
    }
    let Marks { generation, next_keys } = Marks::of(after);
    Some(Edit { generation, next_keys, outcomes: outcomes.into_values().collect() })
}

fn outcome_of(after: &Snapshot, kind: Kind, id: &str) -> Option<Outcome> {
    let there = |key: u32, opted_out: bool, cells: Vec<Cow<'_, str>>| {
        let cells = cells.into_iter().map(Cow::into_owned).collect();
        Outcome { kind, id: id.into(), key, opted_out, cells: Some(cells) }
    };
    let found = match kind {
        Kind::Areas => None,
        Kind::HazardPoints => after.hazard_point_by_code(id).map(|point| there(point.key().0, false, point.record().cells())),
        Kind::Subscribers => after.subscriber_by_id(id).map(|person| there(person.key().0, person.opted_out(), person.record().cells())),
        Kind::Speakers => after.speaker_by_id(id).map(|speaker| there(speaker.key().0, false, speaker.record().cells())),
        Kind::Endpoints => after.endpoint_by_id(id).map(|endpoint| there(endpoint.key().0, false, endpoint.record().cells())),
    };
    found.or_else(|| {
        let retired = after.key_book(kind)?.retired.get(id)?;
        Some(Outcome { kind, id: id.into(), key: retired.key, opted_out: retired.opted_out, cells: None })
    })
}

/// The state after `edits`, all in one merge: ten thousand single ones would take minutes.
pub(super) fn replayed(mut base: Snapshot, edits: Vec<Edit>) -> Result<Snapshot, Vec<Fault>> {
    let Some(marks) = edits.last().map(Edit::marks) else { return Ok(base) };
    let mut net: BTreeMap<(Kind, Box<str>), Outcome> = BTreeMap::new();
    for outcome in edits.into_iter().flat_map(|edit| edit.outcomes) {
        net.insert((outcome.kind, outcome.id.clone()), outcome);
    }
    base.skip_to(Marks { generation: base.generation(), ..marks });
    let mut import = Import::default();
    let mut faults = RowFaults::default();
    for outcome in net.values() {
        let is_kept = base.find(outcome.kind, &outcome.id).is_some();
        if !is_kept {
            // A merge gives an id the key that waits for it, so everybody gets the key of before.
            base.retire(outcome.kind, &outcome.id, outcome.key, outcome.opted_out);
        }
        match &outcome.cells {
            Some(cells) => add(&mut import, outcome.kind, cells, &mut faults),
            None if is_kept => import.removed.push((outcome.kind, outcome.id.clone())),
            None => {}
        }
    }
    faults.into_result(())?;
    let mut next = merge(&base, &import, Mode::Upsert)?.snapshot;
    for outcome in net.values() {
        let lands = next.find(outcome.kind, &outcome.id) == outcome.cells.as_ref().map(|_| outcome.key);
        if !lands {
            return Err(vec![Fault::new(
                "",
                "wrong-key",
                format!("{} {:?} has another key than was logged", outcome.kind.name(), outcome.id),
            )]);
        }
        match outcome.cells {
            Some(_) if outcome.kind == Kind::Subscribers => next.set_opt_outs(&[super::key::SubscriberKey(outcome.key)], outcome.opted_out),
            Some(_) => {}
            None => next.retire(outcome.kind, &outcome.id, outcome.key, outcome.opted_out),
        }
    }
    next.set_generation(marks.generation);
    Ok(next)
}

fn add(import: &mut Import, kind: Kind, cells: &[String], faults: &mut RowFaults) {
    match kind {
        Kind::Areas => faults.add("", "wrong-kind", "a change log holds no areas"),
        Kind::HazardPoints => add_to(&mut import.hazard_points, cells, faults),
        Kind::Subscribers => add_to(&mut import.subscribers, cells, faults),
        Kind::Speakers => add_to(&mut import.speakers, cells, faults),
        Kind::Endpoints => add_to(&mut import.endpoints, cells, faults),
    }
}

fn add_to<R: Record>(list: &mut Vec<Placed<R>>, cells: &[String], faults: &mut RowFaults) {
    let values: Vec<&str> = cells.iter().map(String::as_str).collect();
    if values.len() != R::KIND.columns().len() {
        return faults.add("", "wrong-cell-count", format!("a change of {} has {} cells", R::KIND.name(), values.len()));
    }
    let place = |column: &str| column.to_owned();
    let record = R::read(&mut Cells::new(R::KIND, &values, Datum::Wgs84, &place, faults));
    list.extend(record.map(|record| Placed { file: 0, line: 0, record }));
}
