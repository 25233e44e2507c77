//! Owns the step from one snapshot to the next: kept records and new ones, checked against each other, become a new state.
//! Refuses to know files and disks: pure.
//! Invariant: all or nothing. A new snapshot has no dangling reference and no two records of one id; every fault is named.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
};

use serde::Serialize;

use super::{
    area_record::AreaRecord,
    columns::Kind,
    endpoint::{EndpointFacts, EndpointRecord},
    far,
    hazard_point::{self, HazardFacts, HazardPointRecord},
    headings::Understood,
    place::Place,
    role,
    roll::{Context, Roll, replaces},
    row_faults::RowFaults,
    snapshot::{Parts, Snapshot, Words},
    speaker::{SpeakerFacts, SpeakerRecord},
    subscriber::{self, SubscriberFacts, SubscriberRecord},
    table::TooMuchText,
    tree::{AREAS_MAX, AreaNode, AreaTree},
};
use crate::{area::AreaCode, fault::Fault};

/// What happens to kept records that an import does not name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// They stay.
    #[default]
    Upsert,
    /// Those of the kinds that the import has go.
    Replace,
}

/// A record with where it was read.
#[derive(Clone, Debug)]
pub struct Placed<R> {
    /// Index into `Import::files`.
    pub file: u16,
    /// Line of the file; 0 when there is no file (an edit, a generated record).
    pub line: u32,
    pub record: R,
}

/// Records on their way into the registry, each already sound in itself.
#[derive(Clone, Debug, Default)]
pub struct Import {
    pub files: Vec<String>,
    /// How each of them was read.
    pub understood: Vec<Understood>,
    /// Kinds that the import speaks of, also when a file has no rows.
    pub kinds: Vec<Kind>,
    pub areas: Vec<Placed<AreaRecord>>,
    pub hazard_points: Vec<Placed<HazardPointRecord>>,
    pub subscribers: Vec<Placed<SubscriberRecord>>,
    pub speakers: Vec<Placed<SpeakerRecord>>,
    pub endpoints: Vec<Placed<EndpointRecord>>,
    /// Ids that are to go.
    pub removed: Vec<(Kind, Box<str>)>,
    /// Ids of rows that could not be read: naming them is not a second fault.
    pub unread: HashSet<(Kind, Box<str>)>,
}

impl Import {
    pub(crate) fn is_unread(&self, kind: Kind, id: &str) -> bool {
        !self.unread.is_empty() && self.unread.contains(&(kind, id.into()))
    }

    /// Where a record was read, as a fault of another names it.
    pub(crate) fn row<R>(&self, placed: &Placed<R>) -> String {
        match self.files.get(usize::from(placed.file)) {
            Some(file) if placed.line > 0 => format!("{file} line {}", placed.line),
            _ => "the same change".to_owned(),
        }
    }

    pub(crate) fn place<R>(&self, placed: &Placed<R>, column: &str) -> String {
        match self.files.get(usize::from(placed.file)) {
            Some(file) if placed.line > 0 => format!("{file} line {}, {column}", placed.line),
            _ => column.to_owned(),
        }
    }
}

/// What an import does to one kind of record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    pub added: u32,
    pub changed: u32,
    pub removed: u32,
    pub unchanged: u32,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} added, {} changed, {} removed, {} unchanged", self.added, self.changed, self.removed, self.unchanged)
    }
}

/// A new state that is not yet kept anywhere.
#[derive(Debug)]
pub struct Merged {
    pub snapshot: Snapshot,
    pub counts: BTreeMap<Kind, Counts>,
    pub warnings: Vec<Fault>,
}

/// The state after `import`; or everything that is wrong with it.
pub fn merge(old: &Snapshot, import: &Import, mode: Mode) -> Result<Merged, Vec<Fault>> {
    merge_read(old, import, mode, RowFaults::default())
}

/// The same of records that were read with these faults: all are told in one list, with one bound.
pub(super) fn merge_read(old: &Snapshot, import: &Import, mode: Mode, mut faults: RowFaults) -> Result<Merged, Vec<Fault>> {
    let (areas, area_counts) = merge_areas(old, import, mode, &mut faults);
    let context = Context { old, import, mode, areas: &areas };
    let hazards = Roll::new(&context, old.hazard_table(), &import.hazard_points, &mut faults);
    let subscribers = Roll::new(&context, old.subscriber_table(), &import.subscribers, &mut faults);
    let speakers = Roll::new(&context, old.speaker_table(), &import.speakers, &mut faults);
    let endpoints = Roll::new(&context, old.endpoint_table(), &import.endpoints, &mut faults);
    let mut words = old.words().clone();
    let hazard_facts = link_hazard_points(&context, &hazards, &subscribers, &mut faults);
    let subscriber_facts = link_subscribers(&context, &subscribers, &hazards, &mut words, &mut faults);
    check_kept_links(old, &hazards, &subscribers, &mut faults);
    let read_warnings = faults.take_warnings();
    faults.into_result(())?;

    let mut warnings = RowFaults::default();
    let speaker_facts: Vec<_> = import.speakers.iter().map(|placed| SpeakerFacts { radius_m: placed.record.radius_m }).collect();
    let endpoint_facts = vec![EndpointFacts; import.endpoints.len()];
    let nodes = areas.len();
    let too_much = |error: TooMuchText| vec![Fault::new("", "too-much-text", error.to_string())];
    let (hazard_points, hazard_counts, _) = hazards.build(nodes, &hazard_facts).map_err(too_much)?;
    let (subscribers, subscriber_counts, moves) = subscribers.build(nodes, &subscriber_facts).map_err(too_much)?;
    let (speakers, speaker_counts, _) = speakers.build(nodes, &speaker_facts).map_err(too_much)?;
    let (endpoints, endpoint_counts, _) = endpoints.build(nodes, &endpoint_facts).map_err(too_much)?;
    let parts = Parts { generation: old.generation() + 1, areas, subscribers, speakers, hazard_points, endpoints, words };
    let snapshot = Snapshot::following(old, parts, &moves);
    warn_of_cycles(&snapshot, &mut warnings);
    let counts = BTreeMap::from([
        (Kind::Areas, area_counts),
        (Kind::HazardPoints, hazard_counts),
        (Kind::Subscribers, subscriber_counts),
        (Kind::Speakers, speaker_counts),
        (Kind::Endpoints, endpoint_counts),
    ]);
    warn_of_far(&snapshot, import, &mut warnings);
    let mut list = read_warnings;
    list.extend(warnings.take_warnings());
    Ok(Merged { snapshot, counts, warnings: list })
}

fn merge_areas(old: &Snapshot, import: &Import, mode: Mode, faults: &mut RowFaults) -> (AreaTree, Counts) {
    let mut counts = Counts::default();
    let mut nodes: BTreeMap<AreaCode, AreaNode> = BTreeMap::new();
    let mut named: HashMap<AreaCode, &Placed<AreaRecord>> = HashMap::new();
    for placed in &import.areas {
        let AreaRecord { code, ref name, place, .. } = placed.record;
        if let Some(first) = named.insert(code, placed) {
            faults.add(import.place(placed, "code"), "duplicate-id", format!("{code} stands already in {}", import.row(first)));
        }
        let node = AreaNode { code, name: name.clone(), parent: None, place };
        match old.areas().get(code) {
            None => counts.added += 1,
            Some(kept) if kept.name == node.name && kept.place == node.place => counts.unchanged += 1,
            Some(_) => counts.changed += 1,
        }
        nodes.insert(code, node);
    }
    let all_replaced = replaces(import, mode, Kind::Areas);
    for kept in old.areas().iter().filter(|kept| !named.contains_key(&kept.code)) {
        let names_it = |(kind, id): &(Kind, Box<str>)| *kind == Kind::Areas && id.parse().is_ok_and(|code: AreaCode| code == kept.code);
        let is_removed = import.removed.iter().any(names_it);
        if all_replaced || is_removed {
            counts.removed += 1;
        } else {
            nodes.insert(kept.code, kept.clone());
        }
    }
    if nodes.len() > AREAS_MAX {
        faults.add("", "too-many-rows", format!("more than {AREAS_MAX} areas"));
        return (AreaTree::default(), counts);
    }
    let tree = AreaTree::new(nodes.into_values().collect());
    check_parents(&tree, import, faults);
    (tree, counts)
}

/// A parent that a file names must be the nearest area above; and only one area may have nobody above it.
fn check_parents(tree: &AreaTree, import: &Import, faults: &mut RowFaults) {
    for placed in &import.areas {
        let Some(named) = placed.record.parent else { continue };
        let nearest = tree.get(placed.record.code).and_then(|node| node.parent);
        let place = || import.place(placed, "parent");
        if import.is_unread(Kind::Areas, &named.to_string()) {
            continue;
        }
        if tree.get(named).is_none() {
            faults.add(place(), "unknown-area", format!("{named} is not in the area tree"));
        } else if let Some(nearest) = nearest.filter(|&nearest| nearest != named) {
            faults.add(place(), "wrong-parent", format!("{} lies in {nearest}, which lies in {named}", placed.record.code));
        }
    }
    if import.unread.iter().any(|(kind, _)| *kind == Kind::Areas) {
        return;
    }
    let mut tops = tree.iter().filter(|node| node.parent.is_none());
    if let (Some(first), Some(second)) = (tops.next(), tops.next()) {
        let placed = import.areas.iter().find(|placed| placed.record.code == second.code);
        let place = placed.map_or_else(String::new, |placed| import.place(placed, "code"));
        faults.add(place, "two-roots", format!("neither {} nor {} lies in the other: a registry has one tree", first.code, second.code));
    }
}

fn link_hazard_points(
    context: &Context<'_>,
    hazards: &Roll<'_, HazardPointRecord>,
    subscribers: &Roll<'_, SubscriberRecord>,
    faults: &mut RowFaults,
) -> Vec<HazardFacts> {
    let link = |placed: &Placed<HazardPointRecord>| {
        let monitor = placed.record.monitor.as_deref();
        let key = monitor.map(|id| (id, subscribers.key_of(id)));
        if let Some((id, None)) = key
            && !context.import.is_unread(Kind::Subscribers, id)
        {
            let place = context.import.place(placed, hazard_point::MONITOR);
            faults.add(place, "unknown-subscriber", format!("there is no subscriber {id:?}"));
        }
        HazardFacts { people: placed.record.people, monitor: key.and_then(|(_, key)| key).unwrap_or(u32::MAX) }
    };
    hazards.drafts().iter().map(link).collect()
}

fn link_subscribers(
    context: &Context<'_>,
    subscribers: &Roll<'_, SubscriberRecord>,
    hazards: &Roll<'_, HazardPointRecord>,
    words: &mut Words,
    faults: &mut RowFaults,
) -> Vec<SubscriberFacts> {
    let link = |(at, placed): (usize, &Placed<SubscriberRecord>)| {
        let record = &placed.record;
        let place = |column| context.import.place(placed, column);
        let backup = record.backup().map(|id| (id, subscribers.key_of(id)));
        if let Some((id, None)) = backup
            && !context.import.is_unread(Kind::Subscribers, id)
        {
            faults.add(place(subscriber::BACKUP), "unknown-subscriber", format!("there is no subscriber {id:?}"));
        }
        let hazard = record.hazard_point().map(|code| (code, hazards.key_of(code)));
        if let Some((code, None)) = hazard
            && !context.import.is_unread(Kind::HazardPoints, code)
        {
            faults.add(place(subscriber::HAZARD_POINT), "unknown-hazard-point", format!("there is no hazard point {code:?}"));
        }
        let role_number = number_of(&mut words.roles, &record.role).unwrap_or_else(|| {
            faults.add(place("role"), "too-many-words", "the registry has no room for another role");
            0
        });
        let language = number_of(&mut words.languages, &record.language).unwrap_or_else(|| {
            faults.add(place("language"), "too-many-words", "the registry has no room for another language");
            0
        });
        let had_opted_out = match subscribers.before(at) {
            Some(position) => context.old.subscriber_at(position).opted_out(),
            None => subscribers.retired(&record.id).is_some_and(|retired| retired.opted_out),
        };
        SubscriberFacts {
            role: role_number,
            language,
            opted_out: had_opted_out && role::may_opt_out(&record.role),
            people: record.people,
            hazard_point: hazard.and_then(|(_, key)| key).unwrap_or(u32::MAX),
            backup: backup.and_then(|(_, key)| key).unwrap_or(u32::MAX),
        }
    };
    subscribers.drafts().iter().enumerate().map(link).collect()
}

/// The number of a shared word, a new one if there is room for it in `N`.
fn number_of<N: TryFrom<usize>>(words: &mut Vec<Box<str>>, word: &str) -> Option<N> {
    let known = words.iter().position(|kept| &**kept == word);
    let number = N::try_from(known.unwrap_or(words.len())).ok()?;
    if known.is_none() {
        words.push(word.into());
    }
    Some(number)
}

/// Kept records must not name removed ones.
fn check_kept_links(
    old: &Snapshot,
    hazards: &Roll<'_, HazardPointRecord>,
    subscribers: &Roll<'_, SubscriberRecord>,
    faults: &mut RowFaults,
) {
    let any_gone = hazards.any_gone() || subscribers.any_gone();
    if !any_gone {
        return;
    }
    for subscriber in subscribers.kept().map(|position| old.subscriber_at(position)) {
        if let Some(point) = subscriber.hazard_point().filter(|point| hazards.is_gone(point.key().0)) {
            let message = format!("subscriber {:?} still names hazard point {:?}, which is to go", subscriber.id(), point.code());
            faults.add("", "still-named", message);
        }
        if let Some(key) = subscriber.backup().filter(|key| subscribers.is_gone(key.0)) {
            let backup = old.subscriber(key).map_or("", |backup| backup.id());
            let message = format!("subscriber {:?} still names backup {backup:?}, who is to go", subscriber.id());
            faults.add("", "still-named", message);
        }
    }
    for point in hazards.kept().map(|position| old.hazard_point_at(position)) {
        if let Some(key) = point.monitor_key().filter(|key| subscribers.is_gone(key.0)) {
            let monitor = old.subscriber(key).map_or("", |monitor| monitor.id());
            let message = format!("hazard point {:?} still names monitor {monitor:?}, who is to go", point.code());
            faults.add("", "still-named", message);
        }
    }
}

/// Coordinates that were swapped or shifted put a hazard point where no warning of its village finds it.
fn warn_of_far(snapshot: &Snapshot, import: &Import, warnings: &mut RowFaults) {
    let mut look = |row: String, area: AreaCode, place: Option<Place>| {
        if let Some(message) = far::from_area(snapshot.areas(), area, place) {
            warnings.warn(row, "far-from-area", message);
        }
    };
    for placed in &import.hazard_points {
        look(import.place(placed, "lon"), placed.record.area, placed.record.place);
    }
    for placed in &import.speakers {
        look(import.place(placed, "lon"), placed.record.area, placed.record.place);
    }
    for placed in import.subscribers.iter().filter(|placed| placed.record.place.is_some()) {
        look(import.place(placed, "lon"), placed.record.area, placed.record.place);
    }
}

/// A chain of backups that comes back to its start never reaches anybody new.
fn warn_of_cycles(snapshot: &Snapshot, warnings: &mut RowFaults) {
    /// A chain longer than this is as good as endless to the person who waits.
    const STEPS_MAX: usize = 16;
    for start in (0..snapshot.subscriber_count()).map(|position| snapshot.subscriber_at(position)) {
        let mut next = start.backup();
        for _ in 0..STEPS_MAX {
            let Some(key) = next else { break };
            if key == start.key() {
                warnings.warn("", "backup-cycle", format!("the backups of subscriber {:?} lead back to the same person", start.id()));
                break;
            }
            next = snapshot.subscriber(key).and_then(|backup| backup.backup());
        }
    }
}
