//! Owns the question whether something stands much farther from its area than the area reaches.
//! Refuses to know what stands there. Invariant: where nothing of the area has coordinates nothing is said.

use super::{place::Place, tree::AreaTree};
use crate::area::{AreaCode, AreaLevel};

/// Farther from the nearest point of their area than anything in it can be, in kilometres: swapped or shifted coordinates.
const VILLAGE_KM: f64 = 30.0;
const TOWN_KM: f64 = 40.0;
const COUNTY_KM: f64 = 80.0;
/// Points of an area that are looked at; more lie as close together.
const POINTS_MAX: usize = 2_000;

/// What is wrong with a place for something of `area`.
pub(super) fn from_area(tree: &AreaTree, area: AreaCode, place: Option<Place>) -> Option<String> {
    let place = place?;
    let most = match area.level() {
        AreaLevel::Village => VILLAGE_KM,
        AreaLevel::Township => TOWN_KM,
        _ => COUNTY_KM,
    };
    let own = tree.get(area).and_then(|node| node.place).filter(|_| area.level() == AreaLevel::Village);
    let nearest = match own {
        Some(own) => kilometres(own, place),
        // A village without a point lies in its town, whose other villages have some.
        None => {
            let around = if area.level() == AreaLevel::Village { area.parent().unwrap_or(area) } else { area };
            tree.descends(around)
                .filter_map(|node| node.place)
                .take(POINTS_MAX)
                .map(|point| kilometres(point, place))
                .min_by(f64::total_cmp)?
        }
    };
    let name = tree.name(area).unwrap_or_default();
    (nearest > most).then(|| format!("stands {nearest:.0} km from {name} ({area}), more than {most} km: swapped or shifted coordinates?"))
}

/// Flat reckoning near by, the great circle where that would be off.
fn kilometres(a: Place, b: Place) -> f64 {
    const EARTH_KM: f64 = 6_371.0;
    let (north, south) = (a.lat().to_radians(), b.lat().to_radians());
    let (up, east) = ((north - south) / 2.0, (a.lon() - b.lon()).to_radians() / 2.0);
    let half = up.sin().powi(2) + north.cos() * south.cos() * east.sin().powi(2);
    2.0 * EARTH_KM * half.sqrt().min(1.0).asin()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::AreaNode;

    #[test]
    fn what_stands_in_another_part_of_the_world_is_told_and_a_neighbour_is_not() {
        let code = |text: &str| text.parse::<AreaCode>().expect("a code");
        let node = |(at, place): (&str, Option<Place>)| AreaNode { code: code(at), name: "名".into(), parent: None, place };
        let tree = AreaTree::new(
            [
                ("510726", None),
                ("510726100", None),
                ("510726100201", Place::new(104.25, 31.67)),
                ("510726100202", None),
                ("510726101", None),
            ]
            .map(node)
            .into(),
        );
        let far = |area: &str, lon: f64, lat: f64| from_area(&tree, code(area), Place::new(lon, lat)).is_some();
        assert!(!far("510726100201", 104.3, 31.7) && !far("510726100", 104.3, 31.7) && !far("510726", 104.8, 31.7));
        assert!(far("510726100", 124.25, 31.67) && far("510726100", 31.67, 31.67) && far("510726100202", 105.25, 31.67));
        assert!(!far("510726101", 124.0, 31.0), "nothing of that town has coordinates");
    }
}
