//! Holds shapes, boxes and rasters against slow exact answers at the smallest scale: corners and places a few steps apart, so that edges,
//! corners and degenerate rings are met all the time; also on the meridian of 180 degrees and at the poles.

use proptest::prelude::*;

use super::{
    raster::Raster,
    shape::{Lie, Shape},
};
use crate::{
    alert::{Circle, Point, Polygon},
    registry::{Place, PlaceBox},
};

/// Whole steps around a base.
type Step = (i32, i32);
/// How far places and corners lie from their base.
const FAR: i32 = 12;
const SEAM: i32 = 1_800_000_000;
const POLE: i32 = 900_000_000;
/// The middle of the county, both sides of the seam, both poles, a corner of the map, null island.
const BASES: [Step; 7] = [
    (1_042_300_000, 319_100_000),
    (SEAM - 6, 650_000_000),
    (-SEAM + 6, -170_000_000),
    (0, POLE - 6),
    (700_000_000, 6 - POLE),
    (SEAM, POLE),
    (0, 0),
];

fn on_globe((lon_e7, lat_e7): Step) -> Place {
    Place { lon_e7: lon_e7.clamp(-SEAM, SEAM), lat_e7: lat_e7.clamp(-POLE, POLE) }
}

fn at(base: Step, (east, north): Step) -> Place {
    on_globe((base.0 + east, base.1 + north))
}

fn polygon(base: Step, rings: &[Vec<Step>]) -> Polygon {
    let point = |&step: &Step| {
        let place = at(base, step);
        Point { lon: place.lon(), lat: place.lat() }
    };
    let closed = |ring: &Vec<Step>| ring.iter().chain(ring.first()).map(point).collect();
    Polygon { rings: rings.iter().map(closed).collect() }
}

/// By the sum of signed quarter turns, which is the winding number without any division: even-odd is its parity.
fn lies_in(base: Step, ring: &[Step], place: Place) -> (bool, bool) {
    let corner = |step: Step| {
        let corner = at(base, step);
        (i128::from(corner.lon_e7) - i128::from(place.lon_e7), i128::from(corner.lat_e7) - i128::from(place.lat_e7))
    };
    let quadrant = |(x, y): (i128, i128)| -> i32 {
        match (x >= 0, y >= 0) {
            (true, true) => 0,
            (false, true) => 1,
            (false, false) => 2,
            (true, false) => 3,
        }
    };
    let mut quarters = 0_i32;
    for (nth, &step) in ring.iter().enumerate() {
        let (a, b) = (corner(step), corner(ring[(nth + 1) % ring.len()]));
        let cross = a.0 * b.1 - a.1 * b.0;
        let dot = a.0 * b.0 + a.1 * b.1;
        if cross == 0 && dot <= 0 {
            return (false, true);
        }
        quarters += match (quadrant(b) - quadrant(a)).rem_euclid(4) {
            0 => 0,
            1 => 1,
            3 => -1,
            _ => 2 * if cross > 0 { 1 } else { -1 },
        };
    }
    ((quarters / 4) % 2 != 0, false)
}

/// In the outer ring or on it, and not within a hole.
fn truly_in(base: Step, rings: &[Vec<Step>], place: Place) -> bool {
    let in_plane = |place: Place| {
        let (is_in, is_on) = lies_in(base, &rings[0], place);
        (is_in || is_on) && !rings[1..].iter().any(|hole| lies_in(base, hole, place).0)
    };
    in_plane(place) || (place.lon_e7.abs() == SEAM && in_plane(Place { lon_e7: -place.lon_e7, ..place }))
}

fn all_places(base: Step) -> impl Iterator<Item = Place> {
    let reach = -FAR - 2..=FAR + 2;
    reach.clone().flat_map(move |north| reach.clone().map(move |east| at(base, (east, north))))
}

/// Everything that asks a polygon, held against the exact answer at every place around.
fn judge(base: Step, rings: &[Vec<Step>], asked: (Step, Step)) -> Result<(), TestCaseError> {
    let shape = Shape::polygon(&polygon(base, rings));
    let area = PlaceBox::of(at(base, asked.0)).with(at(base, asked.1));
    let raster = Raster::new(&shape, &area);
    let (mut any_in, mut any_out) = (false, false);
    for place in all_places(base) {
        let expected = truly_in(base, rings, place);
        prop_assert_eq!(shape.contains(place), expected, "{:?} in {:?} at {:?}", place, rings, base);
        if area.contains(place) {
            prop_assert_eq!(raster.contains(place), expected, "raster of {:?}: {:?} in {:?} at {:?}", area, place, rings, base);
            any_in |= expected;
            any_out |= !expected;
        }
    }
    match shape.against(&area) {
        Lie::Inside => prop_assert!(!any_out, "{area:?} is called inside of {rings:?} at {base:?}"),
        Lie::Outside => prop_assert!(!any_in, "{area:?} is called outside of {rings:?} at {base:?}"),
        Lie::Crossing => {}
    }
    Ok(())
}

fn a_step() -> impl Strategy<Value = Step> {
    (-FAR..=FAR, -FAR..=FAR)
}

fn a_ring() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(a_step(), 3..9)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// Any ring at all, also crossing ones, which the check of alerts refuses: even-odd throughout.
    #[test]
    fn a_polygon_contains_exactly_what_an_exact_count_says(
        base in prop::sample::select(&BASES[..]),
        rings in prop::collection::vec(a_ring(), 1..4),
        asked in (a_step(), a_step()),
    ) {
        judge(base, &rings, asked)?;
    }

    /// Large polygons with corners of whole steps: no slack of a cell may swallow a place next to an edge.
    #[test]
    fn places_next_to_long_edges_are_told_exactly(
        ring in prop::collection::vec((-9_000_000..9_000_000_i32, -5_000_000..5_000_000_i32), 3..40),
        along in prop::collection::vec((any::<prop::sample::Index>(), 0..=64_i64, -2..=2_i32, -2..=2_i32), 40),
    ) {
        let base = BASES[0];
        let rings = [ring];
        let shape = Shape::polygon(&polygon(base, &rings));
        let bounds = rings[0].iter().fold(PlaceBox::of(at(base, rings[0][0])), |bounds, &step| bounds.with(at(base, step)));
        let raster = Raster::new(&shape, &bounds);
        for (edge, part, east, north) in along {
            let from = edge.index(rings[0].len());
            let (a, b) = (rings[0][from], rings[0][(from + 1) % rings[0].len()]);
            let between = |a: i32, b: i32| a + i32::try_from(i64::from(b - a) * part / 64).expect("between two steps");
            let place = at(base, (between(a.0, b.0) + east, between(a.1, b.1) + north));
            let expected = truly_in(base, &rings, place);
            prop_assert_eq!(shape.contains(place), expected, "{:?} in {:?}", place, rings);
            if bounds.contains(place) {
                prop_assert_eq!(raster.contains(place), expected, "raster: {:?} in {:?}", place, rings);
            }
        }
    }

    /// Circles of any size anywhere, across the seam and over the poles; places at its rim, a hundred-thousandth of the radius off.
    #[test]
    fn a_circle_holds_what_is_nearer_than_its_radius(
        center in (-180.0..=180.0_f64, prop_oneof![3 => -90.0..=90.0_f64, 1 => 85.0..=90.0_f64, 1 => -90.0..=-85.0_f64]),
        radius_km in prop_oneof![0.1..60.0_f64, 60.0..1_000.0_f64],
        turns in prop::collection::vec((0.0..std::f64::consts::TAU, prop_oneof![0.0..1.5_f64, Just(0.999_99), Just(1.000_01)]), 30),
        asked in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
    ) {
        let circle = Circle { center: Point { lon: center.0, lat: center.1 }, radius_km };
        let shape = Shape::circle(&circle);
        let places: Vec<(Place, f64)> = turns.iter().map(|&(turn, part)| onward(&circle, turn, part)).collect();
        let area = PlaceBox::of(places[asked.0.index(places.len())].0).with(places[asked.1.index(places.len())].0);
        let raster = Raster::new(&shape, &area);
        let lies = shape.against(&area);
        for (place, part) in places.into_iter().filter(|(_, part)| (part - 1.0).abs() > 1e-6) {
            let expected = part < 1.0;
            prop_assert_eq!(shape.contains(place), expected, "{:?} at {} radii of {:?}", place, part, circle);
            if area.contains(place) {
                prop_assert_eq!(raster.contains(place), expected, "raster of {:?}: {:?} at {} radii of {:?}", area, place, part, circle);
                prop_assert!(lies != if expected { Lie::Outside } else { Lie::Inside }, "{:?} of {:?}: {:?}", area, circle, lies);
            }
        }
    }
}

type Vector = [f64; 3];

fn vector(lon: f64, lat: f64) -> Vector {
    let (lon, lat) = (lon.to_radians(), lat.to_radians());
    [lat.cos() * lon.cos(), lat.cos() * lon.sin(), lat.sin()]
}

/// The place that lies so many radii from the middle, in steps; and how many it truly lies, by the chord between two points of a ball.
fn onward(circle: &Circle, turn: f64, part: f64) -> (Place, f64) {
    const EARTH_KM: f64 = 6_371.008_8;
    let (lon, lat) = (circle.center.lon.to_radians(), circle.center.lat.to_radians());
    let far = (circle.radius_km * part / EARTH_KM).min(std::f64::consts::PI);
    let [up, east, north] = [
        [lat.cos() * lon.cos(), lat.cos() * lon.sin(), lat.sin()],
        [-lon.sin(), lon.cos(), 0.0],
        [-lat.sin() * lon.cos(), -lat.sin() * lon.sin(), lat.cos()],
    ];
    let there: Vector = std::array::from_fn(|axis| up[axis] * far.cos() + (east[axis] * turn.sin() + north[axis] * turn.cos()) * far.sin());
    let degrees = (there[1].atan2(there[0]).to_degrees(), there[2].clamp(-1.0, 1.0).asin().to_degrees());
    let place = Place::new(degrees.0, degrees.1).expect("a point of the ball is on the globe");
    let (middle, there) = (vector(circle.center.lon, circle.center.lat), vector(place.lon(), place.lat()));
    let chord = middle.iter().zip(there).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt();
    (place, 2.0 * (chord / 2.0).min(1.0).asin() * EARTH_KM / circle.radius_km)
}

/// Once wrong, or easily so; each with the box that a raster is asked over.
#[test]
fn shapes_that_are_easily_wrong_stay_right() {
    let whole = ((-FAR, -FAR), (FAR, FAR));
    let square = vec![(-4, -4), (4, -4), (4, 4), (-4, 4)];
    let cases: [(&str, Vec<Vec<Step>>); 8] = [
        ("a square", vec![square.clone()]),
        ("a hole that touches the outer ring", vec![square.clone(), vec![(-4, 0), (0, -2), (0, 2)]]),
        ("a hole as large as the ring", vec![square.clone(), square.clone()]),
        ("a spike out and back", vec![vec![(-4, -4), (4, -4), (9, -4), (4, -4), (4, 4), (-4, 4)]]),
        ("a corner on the level of the ray", vec![vec![(-4, 0), (0, 4), (4, 0), (8, 4), (12, 0), (4, -6)]]),
        ("the same point twice", vec![vec![(-4, -4), (4, -4), (4, -4), (4, 4), (-4, 4)]]),
        ("no area at all", vec![vec![(-4, -4), (4, 4), (0, 0)]]),
        ("two halves that meet in one corner", vec![vec![(-4, -4), (0, 0), (-4, 4), (4, 4), (0, 0), (4, -4)]]),
    ];
    for base in BASES {
        for (what, rings) in &cases {
            for asked in [whole, ((0, 0), (0, 0)), ((-4, -4), (4, 4)), ((5, 5), (FAR, FAR))] {
                judge(base, rings, asked).unwrap_or_else(|error| panic!("{what}: {error}"));
            }
        }
    }
}

#[test]
fn the_seam_is_one_meridian_and_an_area_over_it_is_two_polygons() {
    let half = |west: f64, east: f64| {
        let corners = [(west, -20.0), (east, -20.0), (east, -10.0), (west, -10.0), (west, -20.0)];
        Shape::polygon(&Polygon { rings: vec![corners.map(|(lon, lat)| Point { lon, lat }).to_vec()] })
    };
    let halves = [half(178.0, 180.0), half(-180.0, -178.0)];
    let place = |lon, lat| Place::new(lon, lat).expect("on the globe");
    for on_seam in [place(180.0, -15.0), place(-180.0, -15.0), place(180.0, -10.0), place(-180.0, -20.0)] {
        assert!(halves.iter().all(|half| half.contains(on_seam)), "{on_seam:?}");
        assert!(halves.iter().all(|half| half.against(&PlaceBox::of(on_seam)) != Lie::Outside), "{on_seam:?}");
        assert!(halves.iter().all(|half| Raster::new(half, &PlaceBox::of(on_seam)).contains(on_seam)), "{on_seam:?}");
    }
    assert!(halves[0].contains(place(179.0, -15.0)) && !halves[1].contains(place(179.0, -15.0)));
    assert!(halves.iter().all(|half| !half.contains(place(180.0, -9.9)) && !half.contains(place(-180.0, -20.1))));
}

#[test]
fn a_circle_over_a_pole_holds_all_meridians() {
    let circle = Shape::circle(&Circle { center: Point { lon: 10.0, lat: 89.0 }, radius_km: 200.0 });
    // 200 km are 1.8 degrees: 0.8 beyond the pole on the other side.
    for (lon, lat, is_in) in [(10.0, 87.3, true), (-170.0, 89.3, true), (-170.0, 89.1, false), (100.0, 90.0, true), (-80.0, 89.0, true)] {
        assert_eq!(circle.contains(Place::new(lon, lat).expect("on the globe")), is_in, "{lon},{lat}");
    }
}
