//! Owns single changes to the registry: what the API's puts, deletes and opt-outs make of a snapshot.
//! Refuses to know disks and HTTP: pure.
//! Invariant: checked like an import, all or nothing; nobody with a duty opts out.

use super::{
    area_record::AreaRecord,
    columns::Kind,
    endpoint::EndpointRecord,
    hazard_point::HazardPointRecord,
    key::SubscriberKey,
    merge::{Import, Mode, Placed, merge},
    role,
    row_faults::RowFaults,
    snapshot::Snapshot,
    speaker::SpeakerRecord,
    subscriber::SubscriberRecord,
};
use crate::fault::Fault;

/// Changes in one edit; more is an import.
pub const CHANGES_MAX: usize = 1_000;

/// One change through the API.
#[derive(Clone, Debug)]
pub enum Change {
    PutArea(AreaRecord),
    PutHazardPoint(HazardPointRecord),
    PutSubscriber(SubscriberRecord),
    PutSpeaker(SpeakerRecord),
    PutEndpoint(EndpointRecord),
    /// By kind and id; of an area, its code.
    Delete(Kind, Box<str>),
    /// A household wants no more messages; nobody with a duty can.
    OptOut(SubscriberKey),
    OptIn(SubscriberKey),
}

/// The state after some changes. Puts and deletes are one merge, so that they may depend on each other.
pub(super) fn edited(current: &Snapshot, changes: &[Change]) -> Result<Snapshot, Vec<Fault>> {
    let mut faults = RowFaults::default();
    if changes.len() > CHANGES_MAX {
        faults.add("", "too-many-changes", format!("more than {CHANGES_MAX} changes at once: import a file"));
        return Err(faults.into_list());
    }
    let mut import = Import::default();
    let (mut out, mut back_in) = (Vec::new(), Vec::new());
    for change in changes {
        match change.clone() {
            Change::PutArea(record) => import.areas.push(placed(record)),
            Change::PutHazardPoint(record) => import.hazard_points.push(placed(record)),
            Change::PutSubscriber(record) => import.subscribers.push(placed(record)),
            Change::PutSpeaker(record) => import.speakers.push(placed(record)),
            Change::PutEndpoint(record) => import.endpoints.push(placed(record)),
            Change::Delete(kind, id) if is_kept(current, kind, &id) => import.removed.push((kind, id)),
            Change::Delete(kind, id) => faults.add("id", "unknown-id", format!("there is no {id:?} among the {}", kind.name())),
            Change::OptOut(key) => match current.subscriber(key) {
                None => faults.add("", "unknown-subscriber", format!("there is no subscriber with key {key}")),
                Some(subscriber) if !role::may_opt_out(subscriber.role()) => {
                    let message = format!("subscriber {:?} has the role {} and cannot opt out", subscriber.id(), subscriber.role());
                    faults.add("role", "duty-cannot-opt-out", message);
                }
                Some(_) => out.push(key),
            },
            Change::OptIn(key) => back_in.push(key),
        }
    }
    faults.into_result(())?;
    let merges = changes.len() > out.len() + back_in.len();
    let mut next = if merges { merge(current, &import, Mode::Upsert)?.snapshot } else { current.next_generation() };
    next.set_opt_outs(&out, true);
    next.set_opt_outs(&back_in, false);
    Ok(next)
}

fn is_kept(current: &Snapshot, kind: Kind, id: &str) -> bool {
    match kind {
        Kind::Areas => id.parse().is_ok_and(|code| current.areas().get(code).is_some()),
        Kind::HazardPoints => current.hazard_point_by_code(id).is_some(),
        Kind::Subscribers => current.subscriber_by_id(id).is_some(),
        Kind::Speakers => current.speaker_by_id(id).is_some(),
        Kind::Endpoints => current.endpoint_by_id(id).is_some(),
    }
}

fn placed<R>(record: R) -> Placed<R> {
    Placed { file: 0, line: 0, record }
}
