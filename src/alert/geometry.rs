//! Owns what makes a polygon or circle wrong. Refuses to know registries and matching.
//! Invariant: judging 50,000 points takes bounded time; edges are compared only with those they could touch.

use super::{Circle, Point, Polygon};
use crate::fault::Faults;

/// Points of one document; the largest real warnings have a few thousand.
pub(super) const POINTS_MAX: usize = 50_000;
/// A circle wider than this is a mistake in units.
const RADIUS_KM_MAX: f64 = 1_000.0;
/// Edge pairs that are looked at; a ring that needs more is folded over itself.
const PAIRS_MAX: usize = 20_000_000;

pub(super) fn judge_polygon(polygon: &Polygon, path: &str, faults: &mut Faults) {
    let points: usize = polygon.rings.iter().map(Vec::len).sum();
    if points > POINTS_MAX {
        faults.add(path, "too-many-points", format!("{points} points; at most {POINTS_MAX} are read"));
        return;
    }
    if polygon.rings.is_empty() {
        faults.add(path, "polygon-too-few-points", "has no ring");
    }
    for (number, ring) in polygon.rings.iter().enumerate() {
        let path = if number == 0 { path.to_owned() } else { format!("{path}.hole[{}]", number - 1) };
        judge_ring(ring, &path, faults);
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
    if let Some((one, other)) = crossing(ring) {
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

/// Two edges that cross properly. Edges are swept by longitude, so only those that overlap there are compared.
fn crossing(ring: &[Point]) -> Option<(usize, usize)> {
    let edges = ring.len() - 1;
    let span = |edge: usize| (ring[edge].lon.min(ring[edge + 1].lon), ring[edge].lon.max(ring[edge + 1].lon));
    let mut order: Vec<usize> = (0..edges).collect();
    order.sort_by(|&one, &other| span(one).0.total_cmp(&span(other).0));
    let mut active: Vec<usize> = Vec::new();
    let mut pairs = 0;
    for edge in order {
        let (from, _) = span(edge);
        active.retain(|&other| span(other).1 >= from);
        for &other in &active {
            pairs += 1;
            if pairs > PAIRS_MAX || cross(ring[edge], ring[edge + 1], ring[other], ring[other + 1]) {
                return Some((edge.min(other), edge.max(other)));
            }
        }
        active.push(edge);
    }
    None
}

/// Whether the inner parts of two edges cross; touching ends and shared corners do not count.
fn cross(a: Point, b: Point, c: Point, d: Point) -> bool {
    let side = |p: Point, q: Point, r: Point| (q.lon - p.lon) * (r.lat - p.lat) - (q.lat - p.lat) * (r.lon - p.lon);
    let (first, second) = (side(a, b, c), side(a, b, d));
    let (third, fourth) = (side(c, d, a), side(c, d, b));
    first * second < 0.0 && third * fourth < 0.0
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
