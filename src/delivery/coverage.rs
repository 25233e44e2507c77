//! Owns the coverage document of contract §2.3: counters of a book, rolled up to an area and its children.
//! Refuses to know the registry and devices' health: names and the offline list come in.
//! Invariant: reading coverage is reading counters; children and `own` add up to the area's people.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    book::Book,
    counters::{ByFurthest, Devices, People},
    plan::RecipientKind,
    slot::Furthest,
};
use crate::{
    alert::AlertId,
    area::{AreaCode, AreaLevel},
    time::Timestamp,
};

/// The role whose subscribers are households.
pub const HOUSEHOLD: &str = "household";

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Coverage {
    pub alert: AlertId,
    pub as_of: Timestamp,
    pub state: &'static str,
    pub drill: bool,
    pub area: AreaName,
    pub people: PeopleView,
    pub households: Reached,
    pub villages: Villages,
    pub hazard_points: HazardPoints,
    pub speakers: Speakers,
    pub rates: Rates,
    pub by_channel: BTreeMap<String, Progress>,
    pub by_role: BTreeMap<String, PeopleView>,
    pub progress: Progress,
    pub calls: Calls,
    /// Sent again after a crash or a lost answer: people who may have got it twice.
    pub repeated: u32,
    pub children: Vec<Child>,
    /// People who belong to the area itself, not to one of its children.
    pub own: PeopleView,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AreaName {
    pub code: AreaCode,
    pub name: String,
    pub level: AreaLevel,
}

/// `people` of the contract: reached + pending + failed + unreachable = targeted, acknowledged among the reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeopleView {
    pub targeted: u32,
    pub reached: u32,
    pub acknowledged: u32,
    pub pending: u32,
    pub failed: u32,
    pub unreachable: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Reached {
    pub targeted: u32,
    pub reached: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Villages {
    pub targeted: u32,
    pub reached: u32,
    /// Villages that nothing has reached yet: where somebody must go.
    pub blind: Vec<AreaCode>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HazardPoints {
    pub targeted: u32,
    pub monitor_acknowledged: u32,
    /// The monitor has answered and every attached household is reached.
    pub closed: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Speakers {
    pub targeted: u32,
    pub received: u32,
    pub played: u32,
    pub offline: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Rates {
    pub reached: f64,
    pub acknowledged: f64,
    pub within_10m: f64,
}

/// Deliveries, each counted once under the furthest it has come (contract §2 `progress`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    pub deliveries: u32,
    pub queued: u32,
    pub in_flight: u32,
    pub accepted: u32,
    pub delivered: u32,
    pub answered: u32,
    pub failed: u32,
    pub expired: u32,
    pub cancelled: u32,
    pub suppressed: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Calls {
    pub due: u32,
    pub answered: u32,
    pub waiting: u32,
    pub escalated: u32,
    pub exhausted: u32,
    pub expired: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Child {
    pub code: AreaCode,
    pub name: String,
    pub people: PeopleView,
    pub speakers: Speakers,
    pub rates: Rates,
}

/// What to show, and what the book cannot know itself.
pub struct View<'a> {
    pub as_of: Timestamp,
    pub area: AreaCode,
    /// Level of the children; the one below `area` when `None`.
    pub by: Option<AreaLevel>,
    pub name: &'a dyn Fn(AreaCode) -> String,
    /// Whether the speaker with this key is off; whether it has received this alert decides where nothing else is known.
    pub offline: &'a dyn Fn(u32, bool) -> bool,
}

pub fn coverage(book: &Book, view: &View<'_>) -> Coverage {
    let child_level = view.by.or(below(view.area.level()));
    let mut sums = Sums::default();
    let mut children: BTreeMap<AreaCode, Sums> = BTreeMap::new();
    let mut own = People::default();
    for (number, &area) in book.areas.iter().enumerate() {
        if !view.area.contains(area) {
            continue;
        }
        sums.add_area(book, number, area);
        match child_level.filter(|&level| area.level() >= level) {
            Some(level) => children.entry(area.at_level(level)).or_default().add_area(book, number, area),
            None => own.add(&book.counters[number].all_people()),
        }
    }
    count_offline(book, view, child_level, &mut sums, &mut children);
    let people = sums.all_people();
    Coverage {
        alert: book.accepted.id,
        as_of: view.as_of,
        state: book.state.name(),
        drill: book.accepted.document.get("status").and_then(|status| status.as_str()) != Some("Actual"),
        area: AreaName { code: view.area, name: (view.name)(view.area), level: view.area.level() },
        people: view_of(&people),
        households: sums.households(book),
        villages: sums.villages,
        hazard_points: hazard_points(book, view.area),
        speakers: sums.speakers,
        rates: rates_of(&people),
        by_channel: sums.deliveries.iter().map(|(&kind, counts)| (book.kinds[usize::from(kind)].clone(), progress_of(counts))).collect(),
        by_role: sums.people.iter().map(|(&role, people)| (book.roles[usize::from(role)].clone(), view_of(people))).collect(),
        progress: sums.deliveries.values().fold(Progress::default(), |sum, counts| add_progress(sum, progress_of(counts))),
        calls: calls(book, view.area),
        repeated: book.repeated,
        children: children
            .into_iter()
            .map(|(code, sums)| {
                let people = sums.all_people();
                Child { code, name: (view.name)(code), people: view_of(&people), speakers: sums.speakers, rates: rates_of(&people) }
            })
            .collect(),
        own: view_of(&own),
    }
}

/// Progress of the whole alert.
pub fn progress(book: &Book) -> Progress {
    if let Some(filed) = &book.filed {
        return filed.progress;
    }
    let mut sum = Progress::default();
    for counts in book.counters.iter().flat_map(|area| &area.deliveries) {
        sum = add_progress(sum, progress_of(counts));
    }
    sum
}

/// People of the whole alert.
pub fn people(book: &Book) -> PeopleView {
    if let Some(filed) = &book.filed {
        return filed.people;
    }
    let mut sum = People::default();
    for area in &book.counters {
        sum.add(&area.all_people());
    }
    view_of(&sum)
}

#[derive(Default)]
struct Sums {
    people: BTreeMap<u8, People>,
    deliveries: BTreeMap<u8, ByFurthest>,
    villages: Villages,
    speakers: Speakers,
}

impl Sums {
    fn add_area(&mut self, book: &Book, number: usize, area: AreaCode) {
        let counters = &book.counters[number];
        for (role, people) in (0_u8..).zip(&counters.people) {
            if people.targeted > 0 {
                self.people.entry(role).or_default().add(people);
            }
        }
        for (kind, counts) in (0_u8..).zip(&counters.deliveries) {
            let sum = self.deliveries.entry(kind).or_default();
            for (total, count) in sum.iter_mut().zip(counts) {
                *total += count;
            }
        }
        let Devices { targeted, received, played } = counters.devices;
        self.speakers.targeted += targeted;
        self.speakers.received += received;
        self.speakers.played += played;
        if area.level() == AreaLevel::Village && counters.is_targeted() {
            self.villages.targeted += 1;
            if counters.is_reached() {
                self.villages.reached += 1;
            } else {
                self.villages.blind.push(area);
            }
        }
    }

    fn all_people(&self) -> People {
        let mut sum = People::default();
        self.people.values().for_each(|people| sum.add(people));
        sum
    }

    fn households(&self, book: &Book) -> Reached {
        let role = (0_u8..).zip(&book.roles).find(|(_, role)| *role == HOUSEHOLD).and_then(|(role, _)| self.people.get(&role));
        role.map_or_else(Reached::default, |people| Reached { targeted: people.targeted, reached: people.reached })
    }
}

const fn below(level: AreaLevel) -> Option<AreaLevel> {
    match level {
        AreaLevel::Province => Some(AreaLevel::City),
        AreaLevel::City => Some(AreaLevel::County),
        AreaLevel::County => Some(AreaLevel::Township),
        AreaLevel::Township => Some(AreaLevel::Village),
        AreaLevel::Village => None,
    }
}

fn count_offline(book: &Book, view: &View<'_>, child_level: Option<AreaLevel>, sums: &mut Sums, children: &mut BTreeMap<AreaCode, Sums>) {
    for (number, place) in book.places.iter().enumerate() {
        let area = book.areas[usize::from(place.area)];
        if place.kind != RecipientKind::Speaker || !view.area.contains(area) {
            continue;
        }
        let end = book.places.get(number + 1).map_or(book.recipients.len(), |next| next.first as usize);
        let off = book.recipients[place.first as usize..end]
            .iter()
            .filter(|speaker| (view.offline)(speaker.key, speaker.reached.is_set()))
            .count();
        let off = u32::try_from(off).unwrap_or(u32::MAX);
        sums.speakers.offline += off;
        if let Some(child) = child_level.and_then(|level| children.get_mut(&area.at_level(level))) {
            child.speakers.offline += off;
        }
    }
}

fn hazard_points(book: &Book, area: AreaCode) -> HazardPoints {
    let mut points = HazardPoints::default();
    for hazard in book.hazards.iter().filter(|hazard| area.contains(hazard.area)) {
        let answered = hazard.monitor.is_some_and(|monitor| book.recipients[monitor as usize].answered);
        let reached = hazard.households.iter().all(|&household| book.recipients[household as usize].reached.is_set());
        points.targeted += 1;
        points.monitor_acknowledged += u32::from(answered);
        points.closed += u32::from(answered && reached);
    }
    points
}

fn calls(book: &Book, area: AreaCode) -> Calls {
    let mut sum = Calls::default();
    for call in book.calls.iter().filter(|call| area.contains(book.area_of(call.recipient))) {
        sum.due += 1;
        match call.state() {
            "answered" => sum.answered += 1,
            "waiting" => sum.waiting += 1,
            "escalated" => sum.escalated += 1,
            "exhausted" => sum.exhausted += 1,
            _ => sum.expired += 1,
        }
    }
    sum
}

const fn view_of(people: &People) -> PeopleView {
    PeopleView {
        targeted: people.targeted,
        reached: people.reached,
        acknowledged: people.acknowledged,
        pending: people.pending,
        failed: people.failed,
        unreachable: people.unreachable,
    }
}

fn rates_of(people: &People) -> Rates {
    let share = |part: u32| {
        let exact = if people.targeted == 0 { 0.0 } else { f64::from(part) / f64::from(people.targeted) };
        (exact * 10_000.0).round() / 10_000.0
    };
    Rates { reached: share(people.reached), acknowledged: share(people.acknowledged), within_10m: share(people.within_10m) }
}

fn progress_of(counts: &ByFurthest) -> Progress {
    let of = |furthest: Furthest| counts[furthest as usize];
    Progress {
        deliveries: counts.iter().sum(),
        queued: of(Furthest::Queued),
        in_flight: of(Furthest::InFlight),
        accepted: of(Furthest::Accepted),
        delivered: of(Furthest::Delivered),
        answered: of(Furthest::Answered),
        failed: of(Furthest::Failed),
        expired: of(Furthest::Expired),
        cancelled: of(Furthest::Cancelled),
        suppressed: of(Furthest::Suppressed),
    }
}

const fn add_progress(one: Progress, other: Progress) -> Progress {
    Progress {
        deliveries: one.deliveries + other.deliveries,
        queued: one.queued + other.queued,
        in_flight: one.in_flight + other.in_flight,
        accepted: one.accepted + other.accepted,
        delivered: one.delivered + other.delivered,
        answered: one.answered + other.answered,
        failed: one.failed + other.failed,
        expired: one.expired + other.expired,
        cancelled: one.cancelled + other.cancelled,
        suppressed: one.suppressed + other.suppressed,
    }
}
