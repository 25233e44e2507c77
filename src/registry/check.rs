//! Owns the question what in a kept registry looks wrong, although every rule of an import was met.
//! Refuses to repair anything: a person decides.

use std::collections::HashMap;

use super::{far, snapshot::Snapshot};
use crate::{
    area::AreaLevel,
    fault::{Fault, Faults},
};

/// A family shares a telephone; more owners are a number typed to fill a column.
const OWNERS_MAX: u32 = 8;
/// Letters of a hazard point's 统一编号: county, type, number.
const HAZARD_CODE_DIGITS: usize = 12;

/// Everything odd, each named by kind and id; telephone numbers masked.
pub fn check(snapshot: &Snapshot) -> Vec<Fault> {
    let mut odd = Faults::default();
    check_areas(snapshot, &mut odd);
    check_hazard_points(snapshot, &mut odd);
    check_subscribers(snapshot, &mut odd);
    for speaker in (0..snapshot.speaker_count()).map(|position| snapshot.speaker_at(position)) {
        if let Some(message) = far::from_area(snapshot.areas(), speaker.area(), speaker.point()) {
            odd.add(format!("speakers {}", speaker.id()), "far-from-area", message);
        }
    }
    odd.into_list()
}

fn check_areas(snapshot: &Snapshot, odd: &mut Faults) {
    if snapshot.areas().is_empty() {
        odd.add("areas", "no-areas", "the registry has no areas: nobody can be registered or told");
    }
    for area in snapshot.areas().iter().filter(|area| area.code.level() == AreaLevel::Village && area.place.is_none()) {
        odd.add(format!("areas {}", area.code), "no-coordinates", "polygons and circles find this village only by its people");
    }
}

fn check_hazard_points(snapshot: &Snapshot, odd: &mut Faults) {
    for point in (0..snapshot.hazard_point_count()).map(|position| snapshot.hazard_point_at(position)) {
        let path = || format!("hazard_points {}", point.code());
        if point.code().len() != HAZARD_CODE_DIGITS || !point.code().bytes().all(|byte| byte.is_ascii_digit()) {
            odd.add(path(), "odd-hazard-code", "the unified number has twelve digits: county, type, number");
        }
        match point.monitor() {
            None => odd.add(path(), "no-monitor", "nobody watches it"),
            Some(monitor) if monitor.is_public() => {
                odd.add(path(), "monitor-without-duty", format!("its monitor {:?} has the role {}", monitor.id(), monitor.role()));
            }
            Some(_) => {}
        }
        if let Some(message) = far::from_area(snapshot.areas(), point.area(), point.point()) {
            odd.add(path(), "far-from-area", message);
        }
    }
}

fn check_subscribers(snapshot: &Snapshot, odd: &mut Faults) {
    let mut owners: HashMap<&str, u32> = HashMap::new();
    for subscriber in (0..snapshot.subscriber_count()).map(|position| snapshot.subscriber_at(position)) {
        let path = || format!("subscribers {}", subscriber.id());
        if let Some(phone) = subscriber.address(super::AddressKind::Phone) {
            let count = owners.entry(phone).or_default();
            *count += 1;
            if *count == OWNERS_MAX + 1 {
                let masked = subscriber.phone().map_or_else(String::new, |phone| phone.to_string());
                odd.add(path(), "crowded-phone", format!("more than {OWNERS_MAX} subscribers gave {masked}"));
            }
        }
        if !subscriber.is_public() && !subscriber.has_address() {
            odd.add(path(), "duty-without-address", format!("the {} of {} cannot be reached", subscriber.role(), subscriber.area()));
        }
        let backup = subscriber.backup().and_then(|key| snapshot.subscriber(key));
        if let Some(backup) = backup.filter(|backup| !backup.has_address()) {
            odd.add(path(), "backup-without-address", format!("backup {:?} cannot be reached", backup.id()));
        }
        if let Some(message) = far::from_area(snapshot.areas(), subscriber.area(), subscriber.point()) {
            odd.add(path(), "far-from-area", message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::{Mode, Place, fixture, merge};

    #[test]
    fn a_sound_county_has_nothing_odd_and_each_oddity_is_named() {
        let mut import = fixture::beichuan(200, 8);
        let clean = merge(&Snapshot::default(), &import, Mode::Upsert).expect("sound").snapshot;
        assert_eq!(check(&clean), []);

        let phone = import.subscribers[0].record.phone;
        let placed = import.subscribers.iter().position(|placed| placed.record.place.is_some() && placed.record.id.starts_with('h'));
        import.subscribers[placed.expect("a placed household")].record.place = Place::new(100.0, 31.8);
        let households = import.subscribers.iter_mut().filter(|placed| placed.record.id.starts_with('h'));
        households.take(9).for_each(|placed| placed.record.phone = phone);
        import.hazard_points[0].record.monitor = None;
        let odd = check(&merge(&Snapshot::default(), &import, Mode::Upsert).expect("sound").snapshot);
        let mut rules: Vec<&str> = odd.iter().map(|fault| fault.rule).collect();
        rules.sort_unstable();
        assert_eq!(rules, ["crowded-phone", "far-from-area", "no-monitor"]);
        assert!(odd.iter().all(|fault| !fault.message.contains("1549")), "a whole number is shown: {odd:?}");
    }
}
