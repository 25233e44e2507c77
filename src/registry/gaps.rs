//! Owns the question whom nothing would reach: people without an address, villages without a speaker or anybody to answer,
//! hazard points that nobody watches.
//! Refuses to know which channels are set up: an address counts, whether or not a channel serves it today.

use serde::Serialize;

use super::{hazard_point::HazardPoint, place::Place, snapshot::Snapshot, subscriber::Subscriber, tree::AreaNode};
use crate::area::{AreaCode, AreaLevel};

/// Names listed of each kind of gap; counts are always whole.
pub const GAP_NAMES_MAX: usize = 1_000;

/// What is missing at or below one area.
#[derive(Debug, Default, Serialize)]
pub struct Gaps {
    pub people: PeopleGaps,
    pub villages: VillageGaps,
    pub hazard_points: HazardGaps,
    /// Persons with a duty whom nothing reaches, or who have no backup.
    pub duties: DutyGaps,
    /// The areas directly below, by code, with their counts.
    pub children: Vec<AreaGaps>,
}

#[derive(Debug, Default, Serialize)]
pub struct PeopleGaps {
    pub subscribers: u32,
    pub people: u64,
    /// Subscribers without any address, and the people they stand for.
    pub unreachable: Names,
    pub unreachable_people: u64,
    pub opted_out: u32,
    /// Public subscribers whom no polygon or circle can find.
    pub unlocated: Names,
}

#[derive(Debug, Default, Serialize)]
pub struct VillageGaps {
    pub total: u32,
    pub without_speaker: Names,
    pub without_responsible: Names,
    pub without_coordinates: Names,
    /// Neither a speaker nor any subscriber with an address.
    pub blind: Names,
}

#[derive(Debug, Default, Serialize)]
pub struct HazardGaps {
    pub total: u32,
    pub without_monitor: Names,
    pub monitor_unreachable: Names,
    pub without_coordinates: Names,
    pub without_route_or_shelter: Names,
}

#[derive(Debug, Default, Serialize)]
pub struct DutyGaps {
    pub total: u32,
    pub unreachable: Names,
    pub without_backup: Names,
}

/// How many there are, and the first of them by id or code.
#[derive(Debug, Default, Serialize)]
pub struct Names {
    pub count: u32,
    pub first: Vec<String>,
}

#[derive(Debug, Serialize)]
pub struct AreaGaps {
    pub code: AreaCode,
    pub name: String,
    pub subscribers: u32,
    pub unreachable: u32,
    pub villages_without_speaker: u32,
    pub villages_without_responsible: u32,
    pub hazard_points_without_monitor: u32,
}

impl Names {
    fn add(&mut self, name: impl Into<String>) {
        self.count += 1;
        if self.first.len() < GAP_NAMES_MAX {
            self.first.push(name.into());
        }
    }
}

/// The gaps at or below `area`; of the whole registry if it is `None`.
pub fn gaps(snapshot: &Snapshot, area: Option<AreaCode>) -> Gaps {
    let Some(area) = area.or_else(|| snapshot.areas().iter().next().map(|top| top.code)) else {
        return Gaps::default();
    };
    let mut gaps = find(snapshot, area);
    // Above the county there is one child each; what people ask for are the county's.
    let parent = snapshot.areas().root().map(|root| root.code).filter(|root| area.contains(*root)).unwrap_or(area);
    gaps.children = snapshot.areas().children(parent).map(|child| brief(snapshot, child)).collect();
    gaps
}

fn find(snapshot: &Snapshot, area: AreaCode) -> Gaps {
    let mut gaps = Gaps::default();
    for subscriber in snapshot.subscribers_in(area).map(|position| snapshot.subscriber_at(position)) {
        gaps.people.add(&subscriber, snapshot.ground().unlocated().contains(subscriber.position()));
        if !subscriber.is_public() {
            gaps.duties.add(&subscriber);
        }
    }
    for village in snapshot.areas().descends(area).filter(|area| area.code.level() == AreaLevel::Village) {
        gaps.villages.add(snapshot, village);
    }
    for point in snapshot.hazard_points_in(area).map(|position| snapshot.hazard_point_at(position)) {
        gaps.hazard_points.add(&point);
    }
    gaps
}

impl PeopleGaps {
    fn add(&mut self, subscriber: &Subscriber<'_>, is_unlocated: bool) {
        self.subscribers += 1;
        self.people += u64::from(subscriber.people());
        self.opted_out += u32::from(subscriber.opted_out());
        if !subscriber.has_address() {
            self.unreachable.add(subscriber.id());
            self.unreachable_people += u64::from(subscriber.people());
        }
        if is_unlocated {
            self.unlocated.add(subscriber.id());
        }
    }
}

impl DutyGaps {
    fn add(&mut self, subscriber: &Subscriber<'_>) {
        self.total += 1;
        if !subscriber.has_address() {
            self.unreachable.add(subscriber.id());
        }
        if subscriber.backup().is_none() {
            self.without_backup.add(subscriber.id());
        }
    }
}

impl VillageGaps {
    fn add(&mut self, snapshot: &Snapshot, village: &AreaNode) {
        self.total += 1;
        let has_speaker = !snapshot.speakers_in(village.code).is_empty();
        let people = snapshot.subscribers_in(village.code);
        if !has_speaker {
            self.without_speaker.add(village.code.to_string());
        }
        if snapshot.ground().responsible_in(&people).is_empty() {
            self.without_responsible.add(village.code.to_string());
        }
        if village.place.is_none() {
            self.without_coordinates.add(village.code.to_string());
        }
        if !has_speaker && !people.into_iter().any(|position| snapshot.subscriber_at(position).has_address()) {
            self.blind.add(village.code.to_string());
        }
    }
}

impl HazardGaps {
    fn add(&mut self, point: &HazardPoint<'_>) {
        self.total += 1;
        match point.monitor() {
            None => self.without_monitor.add(point.code()),
            Some(monitor) if !monitor.has_address() => self.monitor_unreachable.add(point.code()),
            Some(_) => {}
        }
        let place: Option<Place> = point.point();
        if place.is_none() {
            self.without_coordinates.add(point.code());
        }
        if point.route().is_empty() || point.shelter().is_empty() {
            self.without_route_or_shelter.add(point.code());
        }
    }
}

fn brief(snapshot: &Snapshot, area: &AreaNode) -> AreaGaps {
    let gaps = find(snapshot, area.code);
    AreaGaps {
        code: area.code,
        name: area.name.to_string(),
        subscribers: gaps.people.subscribers,
        unreachable: gaps.people.unreachable.count,
        villages_without_speaker: gaps.villages.without_speaker.count,
        villages_without_responsible: gaps.villages.without_responsible.count,
        hazard_points_without_monitor: gaps.hazard_points.without_monitor.count,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::{Import, Kind, Mode, fixture, merge};

    fn code(text: &str) -> AreaCode {
        text.parse().expect("a code")
    }

    /// A county in which one village has lost its speakers and everybody with a duty, and one hazard point its monitor.
    fn county() -> (Snapshot, String) {
        let mut import: Import = fixture::beichuan(500, 6);
        let bare = code("510726100201");
        import.speakers.retain(|placed| placed.record.area != bare);
        import.hazard_points.retain(|placed| placed.record.area != bare);
        import.subscribers.retain(|placed| placed.record.area != bare);
        let point = &mut import.hazard_points[0].record;
        point.monitor = None;
        let code = point.code.to_string();
        import.kinds = Kind::ALL.to_vec();
        (merge(&Snapshot::default(), &import, Mode::Upsert).expect("sound").snapshot, code)
    }

    #[test]
    fn gaps_name_the_village_without_anything_and_the_hazard_point_without_a_monitor() {
        let (county, point) = county();
        let gaps = gaps(&county, Some(code("510726")));
        for names in [&gaps.villages.blind, &gaps.villages.without_speaker, &gaps.villages.without_responsible] {
            assert_eq!((names.count, &names.first), (1, &vec!["510726100201".to_owned()]));
        }
        assert_eq!(gaps.hazard_points.without_monitor.first, [point]);
        assert_eq!(gaps.children.len(), 19);
        assert_eq!(gaps.children.iter().map(|child| child.villages_without_speaker).sum::<u32>(), 1);
    }

    #[test]
    fn people_without_an_address_are_counted_once_in_their_township() {
        let (county, _) = county();
        let whole = gaps(&county, None);
        assert!(whole.people.unreachable.count > 0 && whole.people.unreachable_people >= u64::from(whole.people.unreachable.count));
        assert_eq!(whole.children.iter().map(|child| child.unreachable).sum::<u32>(), whole.people.unreachable.count);
        let silent = &whole.people.unreachable.first[0];
        assert!(county.subscriber_by_id(silent).is_some_and(|subscriber| !subscriber.has_address()));
    }

    #[test]
    fn an_empty_registry_has_nothing_to_say() {
        assert_eq!(gaps(&Snapshot::default(), None).people.subscribers, 0);
    }
}
