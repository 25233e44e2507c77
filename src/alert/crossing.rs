//! Owns finding whether edges cross: one sweep over all of them, in exact arithmetic.
//! Refuses to know rings' rules. Invariant: n edges take n·log n comparisons and two tests each, whatever their shape; no crossing is missed or made up.
//!
//! Two edges cross when their inner parts meet in one point. Ends that touch, corners on an edge, edges that lie on each other and spikes are no crossing:
//! what lies inside by counting edges (even or odd) is the same with and without them, and rings clipped at coasts and borders have them.

use robust::{Coord, orient2d};

use super::Point;

/// From the lesser end to the greater, by longitude, then latitude.
#[derive(Clone, Copy)]
struct Edge {
    from: Point,
    to: Point,
    /// Which ring, and which edge of it.
    name: (usize, usize),
}

/// Two edges that cross, as (ring, edge); rings are closed lists of finite points.
pub(super) fn crossing<'a>(rings: impl IntoIterator<Item = &'a [Point]>) -> Option<((usize, usize), (usize, usize))> {
    let mut sweep = Sweep { edges: edges(rings), status: Vec::new() };
    let mut events: Vec<(Point, bool, usize)> = Vec::with_capacity(sweep.edges.len() * 2);
    for (number, edge) in sweep.edges.iter().enumerate() {
        events.push((edge.from, true, number));
        events.push((edge.to, false, number));
    }
    // At one point ends go before beginnings, so that what only touches is never open together.
    events.sort_by(|one, other| before(one.0, other.0).then(one.1.cmp(&other.1)));
    events.into_iter().find_map(|(_, begins, edge)| if begins { sweep.begin(edge) } else { sweep.end(edge) })
}

fn edges<'a>(rings: impl IntoIterator<Item = &'a [Point]>) -> Vec<Edge> {
    let mut edges = Vec::new();
    for (ring, points) in rings.into_iter().enumerate() {
        for (place, pair) in points.windows(2).enumerate() {
            let name = (ring, place);
            match before(pair[0], pair[1]) {
                std::cmp::Ordering::Less => edges.push(Edge { from: pair[0], to: pair[1], name }),
                std::cmp::Ordering::Greater => edges.push(Edge { from: pair[1], to: pair[0], name }),
                // A point given twice in a row is no edge.
                std::cmp::Ordering::Equal => {}
            }
        }
    }
    edges
}

struct Sweep {
    edges: Vec<Edge>,
    /// Open edges from the lowest to the highest where the sweep stands. A plain list: moving 50,000 numbers is quicker than a tree's walks.
    status: Vec<usize>,
}

impl Sweep {
    fn begin(&mut self, new: usize) -> Option<((usize, usize), (usize, usize))> {
        let place = self.status.partition_point(|&open| self.is_above(new, open));
        self.status.insert(place, new);
        let below = place.checked_sub(1).and_then(|place| self.status.get(place)).copied();
        let above = self.status.get(place + 1).copied();
        below.and_then(|other| self.judged(new, other)).or_else(|| above.and_then(|other| self.judged(new, other)))
    }

    fn end(&mut self, old: usize) -> Option<((usize, usize), (usize, usize))> {
        let place = self.place_of(old)?;
        self.status.remove(place);
        let (below, above) = (place.checked_sub(1)?, self.status.get(place).copied()?);
        self.judged(self.status[below], above)
    }

    /// Whether a new edge lies above an open one, where the new one begins; where it begins on it, by where they go on to.
    fn is_above(&self, new: usize, open: usize) -> bool {
        let (new, open) = (self.edges[new], self.edges[open]);
        let start = side(open.from, open.to, new.from);
        if start == 0.0 { side(open.from, open.to, new.to) >= 0.0 } else { start > 0.0 }
    }

    /// Edges that end in one point, or lie on each other, stand side by side.
    fn place_of(&self, old: usize) -> Option<usize> {
        let end = self.edges[old].to;
        let first = self.status.partition_point(|&open| side(self.edges[open].from, self.edges[open].to, end) > 0.0);
        let near = self.status.get(first..)?.iter().position(|&open| open == old).map(|place| first + place);
        near.or_else(|| self.status.iter().position(|&open| open == old))
    }

    fn judged(&self, one: usize, other: usize) -> Option<((usize, usize), (usize, usize))> {
        let (one, other) = (self.edges[one], self.edges[other]);
        cross(one, other).then(|| (one.name.min(other.name), one.name.max(other.name)))
    }
}

/// Whether the inner parts of two edges meet in one point.
fn cross(one: Edge, other: Edge) -> bool {
    let apart = |edge: Edge, from: Point, to: Point| {
        let (first, second) = (side(edge.from, edge.to, from), side(edge.from, edge.to, to));
        (first > 0.0 && second < 0.0) || (first < 0.0 && second > 0.0)
    };
    apart(one, other.from, other.to) && apart(other, one.from, one.to)
}

/// Above zero where a point lies to the left of a line; the sign is exact.
pub(super) fn side(from: Point, to: Point, point: Point) -> f64 {
    let coord = |point: Point| Coord { x: point.lon, y: point.lat };
    orient2d(coord(from), coord(to), coord(point))
}

fn before(one: Point, other: Point) -> std::cmp::Ordering {
    // Adding zero makes -0 the same as 0.
    (one.lon + 0.0).total_cmp(&(other.lon + 0.0)).then((one.lat + 0.0).total_cmp(&(other.lat + 0.0)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn points(list: &[(f64, f64)]) -> Vec<Point> {
        list.iter().map(|&(lon, lat)| Point { lon, lat }).collect()
    }

    /// Every pair of edges, for comparison.
    fn any_pair_crosses(ring: &[Point]) -> bool {
        let edges = edges([ring]);
        edges.iter().enumerate().any(|(place, &one)| edges[..place].iter().any(|&other| cross(one, other)))
    }

    proptest! {
        /// On a small grid corners touch, edges lie on each other and stand upright all the time.
        #[test]
        fn the_sweep_says_what_all_pairs_say(list in proptest::collection::vec((0_i32..7, 0_i32..7), 3..12)) {
            let mut ring = points(&list.iter().map(|&(x, y)| (f64::from(x), f64::from(y))).collect::<Vec<_>>());
            ring.push(ring[0]);
            prop_assert_eq!(crossing([ring.as_slice()]).is_some(), any_pair_crosses(&ring), "{:?}", ring);
        }

        #[test]
        fn the_sweep_says_what_all_pairs_say_of_any_numbers(list in proptest::collection::vec((-180.0..180.0, -90.0..90.0), 3..9)) {
            let mut ring = points(&list);
            ring.push(ring[0]);
            prop_assert_eq!(crossing([ring.as_slice()]).is_some(), any_pair_crosses(&ring), "{:?}", ring);
        }
    }

    proptest! {
        /// Points on a few lines but for rounding: rounded signs would say now one thing, now the other.
        #[test]
        fn the_sweep_says_what_all_pairs_say_where_only_rounding_tells(list in proptest::collection::vec((0_i32..12, 0_i32..3), 3..10)) {
            let on_line = |&(step, line): &(i32, i32)| (100.0 + f64::from(step) * 1e-3 / 3.0, 30.0 + f64::from(step * (line + 1)) * 7e-3 / 3.0);
            let mut ring = points(&list.iter().map(on_line).collect::<Vec<_>>());
            ring.push(ring[0]);
            prop_assert_eq!(crossing([ring.as_slice()]).is_some(), any_pair_crosses(&ring), "{:?}", ring);
        }
    }

    /// Long edges beside each other, at 45 degrees: every pair of boxes around them overlaps.
    fn zig_zag(teeth: u32) -> Vec<Point> {
        let mut ring = Vec::new();
        for tooth in 0..teeth {
            let at = f64::from(tooth) * 1e-4;
            let (low, high) = ((100.0 + at, 30.0 - at), (105.0 + at, 35.0 - at));
            ring.extend(points(&if tooth % 2 == 0 { [low, high] } else { [high, low] }));
        }
        ring
    }

    #[test]
    fn fifty_thousand_points_on_one_line_need_exact_signs_and_are_judged_too() {
        let out: Vec<Point> =
            (0..24_999).map(|step| f64::from(step) * 1e-3 / 3.0).map(|at| Point { lon: 100.0 + at, lat: 30.0 + at }).collect();
        let ring: Vec<Point> = out.iter().chain(out.iter().rev()).copied().collect();
        // Out and back beside itself by nothing but rounding.
        let sparse: Vec<Point> = ring.iter().step_by(50).copied().chain([ring[0]]).collect();
        assert_eq!(crossing([sparse.as_slice()]).is_some(), any_pair_crosses(&sparse));
        let backwards: Vec<Point> = ring.iter().rev().copied().collect();
        assert_eq!(crossing([ring.as_slice()]).is_some(), crossing([backwards.as_slice()]).is_some());
    }

    #[test]
    fn a_zig_zag_of_fifty_thousand_points_is_judged_exactly() {
        let mut ring = zig_zag(24_998);
        let last = ring[ring.len() - 1];
        // Round the far side and back to the start.
        ring.extend(points(&[(last.lon, 20.0), (90.0, 20.0)]));
        ring.push(ring[0]);
        assert_eq!(crossing([ring.as_slice()]), None);
        // The last tooth pulled across the one before it.
        let place = ring.len() - 5;
        ring[place].lon -= 3e-4;
        assert!(crossing([ring.as_slice()]).is_some());
    }
}
