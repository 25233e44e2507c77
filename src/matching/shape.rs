//! Owns polygons and circles as matching asks them: does a place lie in it, how does a box lie to it.
//! Invariant: polygons are exact, in whole ten-millionths of a degree; edges and corners, those of holes too, belong to the polygon.
//! A place on the meridian of 180 degrees is the same whichever sign it is written with.

use crate::{
    alert::{self, Point},
    registry::{Place, PlaceBox, to_steps},
};

/// Mean radius of the earth (IUGG), in kilometres.
const EARTH_KM: f64 = 6_371.008_8;
/// A quarter of the globe, in steps of longitude.
const NEAR: i64 = 900_000_000;
/// Added around a circle's box, in degrees, so that rounding never cuts its rim: about a metre.
const RIM_DEG: f64 = 1e-5;

/// How a box lies to a shape; `Crossing` is also the answer when nobody can tell cheaply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lie {
    Inside,
    Outside,
    Crossing,
}

#[derive(Debug)]
pub(super) enum Shape {
    Polygon(Rings),
    Circle(Cap),
}

impl Shape {
    pub(super) fn polygon(polygon: &alert::Polygon) -> Self {
        Self::Polygon(Rings::new(polygon))
    }

    pub(super) fn circle(circle: &alert::Circle) -> Self {
        Self::Circle(Cap::new(circle))
    }

    /// Nothing outside this box lies in the shape; `None` for a shape that holds nothing.
    pub(super) fn bounds(&self) -> Option<PlaceBox> {
        match self {
            Self::Polygon(rings) => rings.bounds,
            Self::Circle(cap) => Some(cap.bounds),
        }
    }

    pub(super) fn contains(&self, place: Place) -> bool {
        self.holds(place) || twin(place).is_some_and(|twin| self.holds(twin))
    }

    fn holds(&self, place: Place) -> bool {
        self.bounds().is_some_and(|bounds| bounds.contains(place))
            && match self {
                Self::Polygon(rings) => rings.contains(Corner::of(place)),
                Self::Circle(cap) => cap.contains(place),
            }
    }

    pub(super) fn against(&self, area: &PlaceBox) -> Lie {
        let Some(bounds) = self.bounds() else { return Lie::Outside };
        let meets_across = (bounds.east == SEAM && area.west == -SEAM) || (bounds.west == -SEAM && area.east == SEAM);
        if meets_across {
            return Lie::Crossing;
        }
        if !bounds.meets(area) {
            return Lie::Outside;
        }
        match self {
            Self::Polygon(rings) => rings.against(area),
            Self::Circle(cap) => cap.against(area),
        }
    }
}

/// The meridian of 180 degrees, in steps.
const SEAM: i32 = 1_800_000_000;

/// A place on the meridian of 180 degrees, as it is written from the other side.
pub(super) fn twin(place: Place) -> Option<Place> {
    (place.lon_e7.abs() == SEAM).then_some(Place { lon_e7: -place.lon_e7, ..place })
}

/// A corner in steps; wide enough for differences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Corner {
    pub(super) x: i64,
    pub(super) y: i64,
}

impl Corner {
    pub(super) fn of(place: Place) -> Self {
        Self { x: place.lon_e7.into(), y: place.lat_e7.into() }
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Edge {
    /// 0 is the outer ring.
    pub(super) ring: u32,
    pub(super) from: Corner,
    pub(super) to: Corner,
}

/// Whether a polygon of these edges contains a spot, by the ones `near` it alone: all that are not wholly north or south of it, ring by ring.
pub(super) fn contains_by(edges: &[Edge], near: &[u32], spot: Corner) -> bool {
    let edge = |at: &u32| edges[*at as usize];
    let mut is_in_outer = false;
    for ring in near.chunk_by(|one, other| edge(one).ring == edge(other).ring) {
        let lies = spot_in(ring.iter().map(edge).map(|edge| (edge.from, edge.to)), spot);
        match edge(&ring[0]).ring {
            0 if lies == Spot::Outside => return false,
            0 => is_in_outer = true,
            _ if lies == Spot::Inside => return false,
            _ => {}
        }
    }
    is_in_outer
}

#[derive(Debug)]
pub(super) struct Rings {
    outer: Vec<Corner>,
    holes: Vec<Vec<Corner>>,
    bounds: Option<PlaceBox>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Spot {
    Inside,
    Edge,
    Outside,
}

impl Rings {
    fn new(polygon: &alert::Polygon) -> Self {
        let place = |point: &Point| Place { lon_e7: to_steps(point.lon), lat_e7: to_steps(point.lat) };
        let corners = |ring: &Vec<Point>| ring.iter().map(|point| Corner::of(place(point))).collect();
        let outer = polygon.rings.first();
        let grow = |bounds: Option<PlaceBox>, point| Some(bounds.map_or(PlaceBox::of(place(point)), |bounds| bounds.with(place(point))));
        Self {
            outer: outer.map(corners).unwrap_or_default(),
            holes: polygon.rings.iter().skip(1).map(corners).collect(),
            bounds: outer.and_then(|ring| ring.iter().fold(None, grow)),
        }
    }

    /// Ring by ring, the outer one first.
    pub(super) fn edges(&self) -> impl Iterator<Item = Edge> {
        let rings = std::iter::once(&self.outer).chain(&self.holes);
        (0_u32..).zip(rings).flat_map(|(ring, corners)| corners.windows(2).map(move |pair| Edge { ring, from: pair[0], to: pair[1] }))
    }

    fn contains(&self, spot: Corner) -> bool {
        spot_in(ends(&self.outer), spot) != Spot::Outside && self.holes.iter().all(|hole| spot_in(ends(hole), spot) != Spot::Inside)
    }

    fn against(&self, area: &PlaceBox) -> Lie {
        if self.edges().any(|edge| edge_meets(edge.from, edge.to, area)) {
            return Lie::Crossing;
        }
        // No edge touches the box, so one corner speaks for all of it.
        if self.contains(Corner { x: area.west.into(), y: area.south.into() }) { Lie::Inside } else { Lie::Outside }
    }
}

/// Which side of the line a→b a corner lies on: positive is left. Differences take 33 bits, their products 66.
fn side(a: Corner, b: Corner, c: Corner) -> i128 {
    i128::from(b.x - a.x) * i128::from(c.y - a.y) - i128::from(b.y - a.y) * i128::from(c.x - a.x)
}

fn ends(ring: &[Corner]) -> impl Iterator<Item = (Corner, Corner)> {
    ring.windows(2).map(|pair| (pair[0], pair[1]))
}

fn spot_in(edges: impl Iterator<Item = (Corner, Corner)>, spot: Corner) -> Spot {
    let mut is_in = false;
    for (a, b) in edges {
        if spot.y < a.y.min(b.y) || spot.y > a.y.max(b.y) || spot.x > a.x.max(b.x) {
            continue;
        }
        let side = side(a, b, spot);
        if side == 0 && spot.x >= a.x.min(b.x) {
            return Spot::Edge;
        }
        // A ray to the east meets the edge when its ends lie on both sides, the lower one counted in.
        let crosses = (a.y > spot.y) != (b.y > spot.y);
        if crosses && (side > 0) == (b.y > a.y) {
            is_in = !is_in;
        }
    }
    if is_in { Spot::Inside } else { Spot::Outside }
}

/// Whether an edge has any point in the closed box: the two are apart only along the box's sides or along the edge's normal.
fn edge_meets(a: Corner, b: Corner, area: &PlaceBox) -> bool {
    let (west, east) = (i64::from(area.west), i64::from(area.east));
    let (south, north) = (i64::from(area.south), i64::from(area.north));
    if a.x.max(b.x) < west || a.x.min(b.x) > east || a.y.max(b.y) < south || a.y.min(b.y) > north {
        return false;
    }
    let sides = [(west, south), (east, south), (east, north), (west, north)].map(|(x, y)| side(a, b, Corner { x, y }));
    !(sides.iter().all(|&side| side > 0) || sides.iter().all(|&side| side < 0))
}

/// All within a great-circle distance of a point.
#[derive(Debug)]
pub(super) struct Cap {
    lon: f64,
    lat: f64,
    cos_lat: f64,
    radius: f64,
    bounds: PlaceBox,
}

impl Cap {
    fn new(circle: &alert::Circle) -> Self {
        let (lon, lat) = (circle.center.lon.to_radians(), circle.center.lat.to_radians());
        let radius = circle.radius_km / EARTH_KM;
        Self { lon, lat, cos_lat: lat.cos(), radius, bounds: cap_bounds(circle.center, radius) }
    }

    fn contains(&self, place: Place) -> bool {
        let (lon, lat) = (place.lon().to_radians(), place.lat().to_radians());
        let (half_lat, half_lon) = (((lat - self.lat) / 2.0).sin(), ((lon - self.lon) / 2.0).sin());
        // Haversine: sound for the short distances that matter.
        let h = half_lat * half_lat + self.cos_lat * lat.cos() * half_lon * half_lon;
        2.0 * h.sqrt().min(1.0).asin() <= self.radius
    }

    /// Whether no pole and no far side of the globe is in reach, where a circle is not what its corners say.
    pub(super) fn is_plain(&self) -> bool {
        i64::from(self.bounds.east) - i64::from(self.bounds.west) < NEAR
    }

    fn against(&self, area: &PlaceBox) -> Lie {
        // Along the sides of a small box the distance is greatest at a corner; on the far side of the globe that would not hold.
        let is_small = self.is_plain() && i64::from(area.east) - i64::from(area.west) < NEAR;
        let corners = [(area.west, area.south), (area.east, area.south), (area.east, area.north), (area.west, area.north)];
        let all_in = corners.iter().all(|&(lon_e7, lat_e7)| self.contains(Place { lon_e7, lat_e7 }));
        if is_small && all_in && self.radius < std::f64::consts::FRAC_PI_4 { Lie::Inside } else { Lie::Crossing }
    }
}

fn cap_bounds(center: Point, radius: f64) -> PlaceBox {
    let reach = radius.to_degrees() + RIM_DEG;
    let (south, north) = (center.lat - reach, center.lat + reach);
    let widest = (radius.sin() / center.lat.to_radians().cos()).asin();
    // A circle over a pole, or across the date line, is bounded by latitude alone.
    let side = widest.to_degrees() + RIM_DEG;
    let (west, east) = (center.lon - side, center.lon + side);
    let wraps = south < -90.0 || north > 90.0 || widest.is_nan() || west < -180.0 || east > 180.0 || radius >= std::f64::consts::FRAC_PI_2;
    let (west, east) = if wraps { (-180.0, 180.0) } else { (west, east) };
    PlaceBox { west: to_steps(west), south: to_steps(south.max(-90.0)), east: to_steps(east), north: to_steps(north.min(90.0)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn square_with_hole() -> Shape {
        let ring = |low: f64, high: f64| {
            [(low, low), (high, low), (high, high), (low, high), (low, low)].map(|(lon, lat)| Point { lon, lat }).to_vec()
        };
        Shape::polygon(&alert::Polygon { rings: vec![ring(10.0, 20.0), ring(13.0, 17.0)] })
    }

    fn at(lon: f64, lat: f64) -> Place {
        Place::new(lon, lat).expect("on the globe")
    }

    #[test]
    fn edges_and_corners_belong_to_the_polygon_and_so_do_those_of_holes() {
        let shape = square_with_hole();
        for (lon, lat) in [(10.0, 10.0), (20.0, 15.0), (15.0, 20.0), (13.0, 15.0), (17.0, 17.0), (11.0, 12.0), (10.0, 19.999_999_9)] {
            assert!(shape.contains(at(lon, lat)), "{lon},{lat} was left out");
        }
        for (lon, lat) in [(9.999_999_9, 15.0), (15.0, 15.0), (13.000_000_1, 16.0), (20.000_000_1, 20.0), (15.0, 9.0)] {
            assert!(!shape.contains(at(lon, lat)), "{lon},{lat} was taken in");
        }
    }

    #[test]
    fn a_box_around_a_hole_is_crossed_and_one_within_it_is_outside() {
        let shape = square_with_hole();
        let area = |west, south, east, north| PlaceBox::of(at(west, south)).with(at(east, north));
        assert_eq!(shape.against(&area(12.0, 12.0, 18.0, 18.0)), Lie::Crossing);
        assert_eq!(shape.against(&area(14.0, 14.0, 16.0, 16.0)), Lie::Outside);
        assert_eq!(shape.against(&area(10.5, 10.5, 12.5, 12.5)), Lie::Inside);
        assert_eq!(shape.against(&area(0.0, 0.0, 9.0, 9.0)), Lie::Outside);
        assert_eq!(shape.against(&area(9.0, 9.0, 21.0, 21.0)), Lie::Crossing);
    }

    #[test]
    fn a_circle_is_measured_along_the_earth() {
        let shape = Shape::circle(&alert::Circle { center: Point { lon: 104.4, lat: 31.8 }, radius_km: 10.0 });
        // One degree of latitude is 111.195 km; of longitude, at 31.8 north, 94.5 km.
        assert!(shape.contains(at(104.4, 31.8 + 9.99 / 111.195)) && !shape.contains(at(104.4, 31.8 + 10.01 / 111.195)));
        assert!(shape.contains(at(104.4 + 9.99 / 94.504, 31.8)) && !shape.contains(at(104.4 + 10.03 / 94.504, 31.8)));
    }

    #[test]
    fn a_polygon_without_corners_holds_nothing() {
        let nothing = Shape::polygon(&alert::Polygon { rings: Vec::new() });
        assert!(!nothing.contains(at(0.0, 0.0)));
    }
}
