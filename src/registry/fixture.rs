//! Owns the fixture county: the towns and villages of a real one, with everything else made up.
//! Invariant: the same number of households and seed give the same county.

use super::{
    area_record::AreaRecord,
    columns::Kind,
    generate::generate,
    merge::{Import, Mode, Placed, merge},
    record::{Cells, Record},
    row_faults::RowFaults,
    snapshot::Snapshot,
};
use crate::datum::Datum;

const BEICHUAN: &str = include_str!("../../fixtures/beichuan/areas.csv");

/// The areas of Beichuan, with province and city above the county.
pub fn beichuan_areas() -> Vec<AreaRecord> {
    let read = |line: &str| {
        let values: Vec<&str> = line.split(',').collect();
        let mut faults = RowFaults::default();
        let place = |column: &str| column.to_owned();
        let record = AreaRecord::read(&mut Cells::new(Kind::Areas, &values, Datum::Wgs84, &place, &mut faults));
        record.expect("the built-in county is sound: a test reads it")
    };
    BEICHUAN.lines().skip(1).map(read).collect()
}

/// The whole county with this many households.
pub fn beichuan(households: u32, seed: u64) -> Import {
    let areas = beichuan_areas();
    let mut import = generate(&areas, households, seed);
    import.areas = areas.into_iter().map(|record| Placed { file: 0, line: 0, record }).collect();
    import.kinds = Kind::ALL.to_vec();
    import
}

/// The same as a snapshot, for tests, benches and the demonstration.
pub fn beichuan_snapshot(households: u32, seed: u64) -> Snapshot {
    let merged = merge(&Snapshot::default(), &beichuan(households, seed), Mode::Upsert);
    merged.expect("the built-in county is sound: a test reads it").snapshot
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{area::AreaCode, registry::role};

    fn code(text: &str) -> AreaCode {
        text.parse().expect("a code")
    }

    #[test]
    fn the_fixture_county_has_its_nineteen_townships_and_everybody_asked_for() {
        let county = beichuan_snapshot(3_000, 7);
        let root = county.areas().root().expect("a county");
        assert_eq!((root.code, &*root.name), (code("510726"), "北川羌族自治县"));
        assert_eq!(county.areas().children(root.code).count(), 19);
        let everybody = (0..county.subscriber_count()).map(|at| county.subscriber_at(at));
        assert_eq!(everybody.filter(|subscriber| subscriber.role() == role::HOUSEHOLD).count(), 3_000);
        assert!(county.speaker_count() > 235 && county.hazard_point_count() > 100 && county.endpoint_count() >= 19);
        for point in (0..county.hazard_point_count()).map(|at| county.hazard_point_at(at)) {
            assert_eq!(point.monitor().map(|monitor| (monitor.role(), monitor.area())), Some(("monitor", point.area())));
            assert!(point.code().len() == 12 && point.code().starts_with("510726") && !point.route().is_empty());
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_county_and_another_seed_another() {
        let names = |seed| -> Vec<String> {
            let import = beichuan(50, seed);
            import.subscribers.iter().map(|placed| format!("{:?}", placed.record)).collect()
        };
        assert_eq!(names(1), names(1));
        assert_ne!(names(1), names(2));
    }

    #[test]
    fn every_area_is_one_range_of_positions_and_every_lookup_finds_its_record() {
        let county = beichuan_snapshot(2_000, 3);
        let all = county.subscribers_in(code("51"));
        assert_eq!(all, 0..county.subscriber_count());
        for area in county.areas().iter() {
            let range = county.subscribers_in(area.code);
            for position in all.clone() {
                let subscriber = county.subscriber_at(position);
                assert_eq!(range.contains(&position), area.code.contains(subscriber.area()));
            }
        }
        for subscriber in all.map(|position| county.subscriber_at(position)) {
            let found = county.subscriber_by_id(subscriber.id()).expect("found by id");
            assert_eq!(
                (found.position(), county.subscriber_position(subscriber.key())),
                (subscriber.position(), Some(subscriber.position()))
            );
            if let Some(phone) = subscriber.phone() {
                assert!(county.subscribers_by_phone(&phone).any(|owner| owner.key() == subscriber.key()));
            }
        }
        assert!(county.subscriber_by_id("nobody").is_none());
    }

    #[test]
    fn a_subscriber_takes_no_more_than_a_hundred_and_fifty_bytes() {
        let (small, large) = (beichuan_snapshot(1_000, 5), beichuan_snapshot(11_000, 5));
        let bytes = (large.heap_bytes() - small.heap_bytes()) / 10_000;
        assert!(bytes <= 150, "{bytes} bytes a subscriber");
    }
}
