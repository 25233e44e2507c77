//! Owns what makes a polygon or circle wrong. Refuses to know registries and matching.
//! Invariant: judging 50,000 points takes bounded time whatever their shape. The direction of a ring says nothing: clockwise ones are as good.

use super::{
    Circle, Point, Polygon,
    crossing::{crossing, side},
};
use crate::fault::Faults;

/// Points of one document; the largest real warnings have a few thousand.
pub(super) const POINTS_MAX: usize = 50_000;
/// A circle wider than this is a mistake in units.
const RADIUS_KM_MAX: f64 = 1_000.0;
/// Each hole is compared with the whole outer ring; real areas have a few lakes and exclaves.
const HOLES_MAX: usize = 1_000;
/// Points of a hole that may touch the outer ring before the hole counts as inside it.
const TOUCHING_MAX: usize = 8;

pub(super) fn judge_polygon(polygon: &Polygon, path: &str, faults: &mut Faults) {
    let points: usize = polygon.rings.iter().map(Vec::len).sum();
    if points > POINTS_MAX {
        faults.add(path, "too-many-points", format!("{points} points; at most {POINTS_MAX} are read"));
        return;
    }
    if polygon.rings.is_empty() {
        faults.add(path, "polygon-too-few-points", "has no ring");
    }
    let before = faults.len();
    for (number, ring) in polygon.rings.iter().enumerate() {
        let path = if number == 0 { path.to_owned() } else { format!("{path}.hole[{}]", number - 1) };
        judge_ring(ring, &path, faults);
    }
    if faults.len() == before && polygon.rings.len() > 1 {
        judge_holes(&polygon.rings, path, faults);
    }
}

fn judge_ring(ring: &[Point], path: &str, faults: &mut Faults) {
    if let Some(place) = ring.iter().position(|point| !on_globe(*point)) {
        let point = ring[place];
        faults.add(path, "off-the-globe", format!("point {} is lat {}, lon {}", place + 1, point.lat, point.lon));
        return;
    }
    if ring.len() < 4 {
        faults.add(path, "polygon-too-few-points", format!("{} points; a ring has at least 4, the last equal to the first", ring.len()));
        return;
    }
    let (first, last) = (ring[0], ring[ring.len() - 1]);
    if first != last {
        let message = format!("ring is not closed (first {},{} last {},{})", first.lat, first.lon, last.lat, last.lon);
        faults.add(path, "polygon-open", message);
        return;
    }
    if ring.windows(2).any(|edge| (edge[0].lon - edge[1].lon).abs() > 180.0) {
        faults.add(path, "crosses-antimeridian", "an edge spans more than 180 degrees of longitude; cut the polygon at 180");
        return;
    }
    if let Some(((_, one), (_, other))) = crossing([ring]) {
        faults.add(path, "polygon-crosses-itself", format!("edge {} crosses edge {}", one + 1, other + 1));
    }
}

pub(super) fn judge_circle(circle: &Circle, path: &str, faults: &mut Faults) {
    if !on_globe(circle.center) {
        faults.add(path, "off-the-globe", format!("center is lat {}, lon {}", circle.center.lat, circle.center.lon));
    }
    if !(circle.radius_km >= 0.0 && circle.radius_km <= RADIUS_KM_MAX) {
        faults.add(path, "bad-radius", format!("radius {} km is not between 0 and {RADIUS_KM_MAX}", circle.radius_km));
    }
}

fn on_globe(point: Point) -> bool {
    (-90.0..=90.0).contains(&point.lat) && (-180.0..=180.0).contains(&point.lon)
}

/// Holes lie inside the outer ring and cross neither it nor each other; a hole elsewhere would take nothing away, so something else was meant.
fn judge_holes(rings: &[Vec<Point>], path: &str, faults: &mut Faults) {
    if rings.len() - 1 > HOLES_MAX {
        faults.add(path, "too-many-holes", format!("{} holes; at most {HOLES_MAX} are read", rings.len() - 1));
        return;
    }
    if let Some(((one, _), (other, _))) = crossing(rings.iter().map(Vec::as_slice)) {
        let place = one.max(other) - 1;
        let with = if one == 0 { "the outer ring".to_owned() } else { format!("hole {}", one - 1) };
        faults.add(format!("{path}.hole[{place}]"), "hole-crosses-ring", format!("an edge crosses {with}"));
        return;
    }
    for (place, hole) in rings[1..].iter().enumerate() {
        // Nothing crosses, so one point that does not touch the outer ring stands for all; a hole that only touches is as good as inside.
        let lies = hole.iter().take(TOUCHING_MAX).map(|&point| position(point, &rings[0])).find(|lies| *lies != Position::On);
        if lies == Some(Position::Outside) {
            faults.add(format!("{path}.hole[{place}]"), "hole-outside", "the hole lies outside of the outer ring");
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Position {
    Inside,
    On,
    Outside,
}

/// By counting the edges to the east of a point.
fn position(point: Point, ring: &[Point]) -> Position {
    let mut is_inside = false;
    for edge in ring.windows(2) {
        let (low, high) = if edge[0].lat <= edge[1].lat { (edge[0], edge[1]) } else { (edge[1], edge[0]) };
        let across = side(low, high, point);
        let within = |a: f64, b: f64, x: f64| x >= a.min(b) && x <= a.max(b);
        if across == 0.0 && within(low.lon, high.lon, point.lon) && within(low.lat, high.lat, point.lat) {
            return Position::On;
        }
        if low.lat <= point.lat && point.lat < high.lat && across > 0.0 {
            is_inside = !is_inside;
        }
    }
    if is_inside { Position::Inside } else { Position::Outside }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(points: &[(f64, f64)]) -> Polygon {
        Polygon { rings: vec![points.iter().map(|&(lat, lon)| Point { lon, lat }).collect()] }
    }

    fn rules(polygon: &Polygon) -> Vec<&'static str> {
        let mut faults = Faults::default();
        judge_polygon(polygon, "polygon", &mut faults);
        faults.into_list().iter().map(|fault| fault.rule).collect()
    }

    #[test]
    fn each_fault_of_a_ring_has_its_own_rule() {
        let good = [(31.8, 104.4), (31.9, 104.4), (31.9, 104.5), (31.8, 104.4)];
        assert!(rules(&ring(&good)).is_empty());
        assert_eq!(rules(&ring(&good[..3])), ["polygon-too-few-points"]);
        assert_eq!(rules(&ring(&[(31.8, 104.4), (31.9, 104.4), (31.9, 104.5), (31.8, 104.5)])), ["polygon-open"]);
        assert_eq!(rules(&ring(&[(131.8, 104.4), (31.9, 104.4), (31.9, 104.5), (131.8, 104.4)])), ["off-the-globe"]);
        let bow_tie = [(0.0, 0.0), (1.0, 1.0), (1.0, 0.0), (0.0, 1.0), (0.0, 0.0)];
        assert_eq!(rules(&ring(&bow_tie)), ["polygon-crosses-itself"]);
        assert_eq!(rules(&ring(&[(0.0, 179.0), (1.0, -179.0), (1.0, 179.0), (0.0, 179.0)])), ["crosses-antimeridian"]);
    }

    #[test]
    fn either_direction_touching_corners_and_spikes_are_no_fault() {
        let square = [(0.0, 0.0), (0.0, 4.0), (4.0, 4.0), (4.0, 0.0), (0.0, 0.0)];
        let mut clockwise = square;
        clockwise.reverse();
        // Out along an edge and back on it, a corner on another edge, the same point twice, two halves that meet in one corner.
        let spike = [(0.0, 0.0), (0.0, 4.0), (0.0, 6.0), (0.0, 4.0), (4.0, 4.0), (4.0, 0.0), (0.0, 0.0)];
        let touching = [(0.0, 0.0), (0.0, 4.0), (4.0, 4.0), (0.0, 2.0), (4.0, 0.0), (4.0, 0.0), (0.0, 0.0)];
        let meeting = [(0.0, 0.0), (2.0, 2.0), (0.0, 4.0), (4.0, 4.0), (2.0, 2.0), (4.0, 0.0), (0.0, 0.0)];
        for good in [square.as_slice(), &clockwise, &spike, &touching, &meeting] {
            assert!(rules(&ring(good)).is_empty(), "{good:?}: {:?}", rules(&ring(good)));
        }
    }

    #[test]
    fn holes_lie_inside_and_cross_nothing() {
        let square = |from: f64, to: f64| ring(&[(from, from), (from, to), (to, to), (to, from), (from, from)]).rings.remove(0);
        let holed = |holes: &[(f64, f64)]| {
            let rings = [(0.0, 10.0)].iter().chain(holes).map(|&(from, to)| square(from, to)).collect();
            rules(&Polygon { rings })
        };
        assert!(holed(&[(1.0, 2.0), (3.0, 4.0)]).is_empty());
        assert!(holed(&[(0.0, 2.0)]).is_empty(), "it touches the outer ring from inside");
        assert_eq!(holed(&[(11.0, 12.0)]), ["hole-outside"]);
        assert_eq!(holed(&[(-5.0, 15.0)]), ["hole-outside"]);
        assert_eq!(holed(&[(8.0, 12.0)]), ["hole-crosses-ring"]);
        assert_eq!(holed(&[(1.0, 3.0), (2.0, 4.0)]), ["hole-crosses-ring"]);
        assert_eq!(rules(&Polygon { rings: vec![square(0.0, 10.0); HOLES_MAX + 2] }), ["too-many-holes"]);
    }

    #[test]
    fn fifty_thousand_points_are_judged() {
        let round: Vec<(f64, f64)> = (0..49_999)
            .map(|step| {
                let angle = f64::from(step) / 49_999.0 * std::f64::consts::TAU;
                (31.8 + angle.sin() * 0.2, 104.4 + angle.cos() * 0.2)
            })
            .collect();
        let closed: Vec<(f64, f64)> = round.iter().copied().chain([round[0]]).collect();
        assert!(rules(&ring(&closed)).is_empty());
    }
}
