//! Holds matching against a slow reading of its rules: every record is asked on its own, in floating point, without boxes or ranges.

use proptest::prelude::*;

use super::*;
use crate::{
    alert::{Circle, Point, Polygon},
    registry::{Import, Mode, Place, Placed, fixture, merge},
};

/// A small county in which some villages, households and speakers have no coordinates.
fn county(seed: u64) -> Snapshot {
    let mut import = fixture::beichuan(700, seed);
    let blur = |nth: usize| seed.wrapping_mul(31).wrapping_add(nth as u64).is_multiple_of(9);
    // The first nodes are the areas above the villages.
    for (_, area) in import.areas.iter_mut().enumerate().filter(|(nth, _)| *nth > 22 && blur(*nth)) {
        area.record.place = None;
    }
    for (_, speaker) in import.speakers.iter_mut().enumerate().filter(|(nth, _)| blur(*nth)) {
        speaker.record.place = None;
    }
    unsettle(&mut import, blur);
    snap_to_grid(&mut import);
    merge(&Snapshot::default(), &import, Mode::Upsert).expect("the county is sound").snapshot
}

/// What real registers have and made-up ones have not: households and speakers registered with a township or the county, officers without
/// coordinates, groups of single villages, slopes that nobody watches or that somebody far away does.
fn unsettle(import: &mut Import, blur: impl Fn(usize) -> bool) {
    let above = |code: AreaCode, nth: usize| {
        if nth.is_multiple_of(2) { code.at_level(AreaLevel::Township) } else { code.at_level(AreaLevel::County) }
    };
    for (nth, Placed { record, .. }) in import.subscribers.iter_mut().enumerate().filter(|(nth, _)| blur(*nth)) {
        record.area = above(record.area, nth / 9);
        record.place = record.place.filter(|_| nth.is_multiple_of(3));
    }
    for (nth, Placed { record, .. }) in import.speakers.iter_mut().enumerate().filter(|(nth, _)| blur(nth + 4)) {
        record.area = above(record.area, nth);
    }
    let villages: Vec<AreaCode> =
        import.areas.iter().map(|area| area.record.code).filter(|code| code.level() == AreaLevel::Village).collect();
    for (nth, Placed { record, .. }) in import.endpoints.iter_mut().enumerate().filter(|(nth, _)| blur(nth + 2)) {
        record.area = villages[nth * 7 % villages.len()];
    }
    let monitors: Vec<_> = import.hazard_points.iter().map(|point| point.record.monitor.clone()).collect();
    for (nth, Placed { record, .. }) in import.hazard_points.iter_mut().enumerate().filter(|(nth, _)| blur(*nth)) {
        record.monitor = if nth.is_multiple_of(2) { None } else { monitors[(nth + 31) % monitors.len()].clone() };
        record.place = record.place.filter(|_| !nth.is_multiple_of(4));
    }
}

/// Puts everybody on a coarse grid, on which the corners of test polygons lie too: so edges and corners are hit often.
fn snap_to_grid(import: &mut Import) {
    let snap = |place: Option<Place>| place.map(|p| Place { lon_e7: p.lon_e7 / GRID * GRID, lat_e7: p.lat_e7 / GRID * GRID });
    let Import { areas, hazard_points, subscribers, speakers, .. } = import;
    areas.iter_mut().for_each(|Placed { record, .. }| record.place = snap(record.place));
    hazard_points.iter_mut().for_each(|Placed { record, .. }| record.place = snap(record.place));
    subscribers.iter_mut().for_each(|Placed { record, .. }| record.place = snap(record.place));
    speakers.iter_mut().for_each(|Placed { record, .. }| record.place = snap(record.place));
}

/// A fiftieth of a degree, in steps.
const GRID: i32 = 200_000;

fn holds(area: &Area, place: Place) -> bool {
    area.polygons.iter().any(|polygon| in_polygon(polygon, place)) || area.circles.iter().any(|circle| in_circle(circle, place))
}

fn in_polygon(polygon: &Polygon, place: Place) -> bool {
    let steps = |point: &Point| ((point.lon * 1e7).round(), (point.lat * 1e7).round());
    let spot = (f64::from(place.lon_e7), f64::from(place.lat_e7));
    let on_edge = |ring: &[Point]| {
        ring.windows(2).any(|pair| {
            let (a, b) = (steps(&pair[0]), steps(&pair[1]));
            let cross = (b.0 - a.0) * (spot.1 - a.1) - (b.1 - a.1) * (spot.0 - a.0);
            let dot = (spot.0 - a.0) * (spot.0 - b.0) + (spot.1 - a.1) * (spot.1 - b.1);
            cross == 0.0 && dot <= 0.0
        })
    };
    // Winding number by angles.
    let winds = |ring: &[Point]| {
        let turn: f64 = ring
            .windows(2)
            .map(|pair| {
                let (a, b) = (steps(&pair[0]), steps(&pair[1]));
                let (a, b) = ((a.0 - spot.0, a.1 - spot.1), (b.0 - spot.0, b.1 - spot.1));
                (a.0 * b.1 - a.1 * b.0).atan2(a.0 * b.0 + a.1 * b.1)
            })
            .sum();
        turn.abs() > 1.0
    };
    if polygon.rings.iter().any(|ring| on_edge(ring)) {
        let outer = &polygon.rings[0];
        return on_edge(outer) || winds(outer);
    }
    winds(&polygon.rings[0]) && !polygon.rings[1..].iter().any(|hole| winds(hole))
}

fn in_circle(circle: &Circle, place: Place) -> bool {
    let vector = |lon: f64, lat: f64| {
        let (lon, lat) = (lon.to_radians(), lat.to_radians());
        [lat.cos() * lon.cos(), lat.cos() * lon.sin(), lat.sin()]
    };
    let (a, b) = (vector(circle.center.lon, circle.center.lat), vector(place.lon(), place.lat()));
    let cross = [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
    let length = cross.iter().map(|part| part * part).sum::<f64>().sqrt();
    let dot: f64 = a.iter().zip(b).map(|(a, b)| a * b).sum();
    length.atan2(dot) * 6_371.008_8 <= circle.radius_km
}

fn slow_audience(areas: &[Area], county: &Snapshot) -> Audience {
    let known = |code: AreaCode| county.areas().descends(code).next().is_some();
    let in_codes = |at: AreaCode| areas.iter().flat_map(|area| &area.codes).any(|&code| known(code) && code.contains(at));
    let above_codes = |at: AreaCode| areas.iter().flat_map(|area| &area.codes).any(|&code| known(code) && at.contains(code));
    let stands = |own: Option<Place>, at: AreaCode| own.or(county.areas().get(at).and_then(|area| area.place));
    let in_shapes = |own, at| stands(own, at).is_some_and(|place| areas.iter().any(|area| holds(area, place)));

    let mut found = Audience::default();
    let mut held: Vec<AreaCode> = Vec::new();
    for subscriber in (0..county.subscriber_count()).map(|at| county.subscriber_at(at)).filter(|subscriber| subscriber.is_public()) {
        let by_shape = in_shapes(subscriber.point(), subscriber.area());
        held.extend(by_shape.then(|| subscriber.area()));
        if by_shape || in_codes(subscriber.area()) {
            found.subscribers.insert(subscriber.position());
        } else if stands(subscriber.point(), subscriber.area()).is_none() {
            found.unlocated += 1;
        }
    }
    for speaker in (0..county.speaker_count()).map(|at| county.speaker_at(at)) {
        let by_shape = in_shapes(speaker.point(), speaker.area());
        held.extend(by_shape.then(|| speaker.area()));
        if by_shape || in_codes(speaker.area()) {
            found.speakers.insert(speaker.position());
        }
    }
    for point in (0..county.hazard_point_count()).map(|at| county.hazard_point_at(at)) {
        let by_shape = in_shapes(point.point(), point.area());
        held.extend(by_shape.then(|| point.area()));
        if by_shape || in_codes(point.area()) {
            found.hazard_points.insert(point.position());
            found.subscribers.extend(point.monitor().map(|monitor| monitor.position()));
        }
    }
    let villages: Vec<_> = county.areas().iter().filter(|area| area.code.level() == AreaLevel::Village).collect();
    held.extend(
        villages.iter().filter(|area| area.place.is_some_and(|place| areas.iter().any(|area| holds(area, place)))).map(|area| area.code),
    );
    let answers = |at: AreaCode| in_codes(at) || above_codes(at) || held.iter().any(|&place| at.contains(place));
    for officer in (0..county.subscriber_count()).map(|at| county.subscriber_at(at)).filter(|subscriber| !subscriber.is_public()) {
        if answers(officer.area()) {
            found.subscribers.insert(officer.position());
        }
    }
    for endpoint in (0..county.endpoint_count()).map(|at| county.endpoint_at(at)) {
        if answers(endpoint.area()) {
            found.endpoints.insert(endpoint.position());
        }
    }
    found.villages = villages.iter().map(|area| area.code).filter(|&code| in_codes(code) || held.contains(&code)).collect();
    if areas.iter().all(|area| area.polygons.is_empty() && area.circles.is_empty()) {
        found.unlocated = 0;
    }
    found
}

fn a_point() -> impl Strategy<Value = Point> {
    let fine = (103.73..104.73, 31.58..32.24);
    let on_grid = (5_187..5_236, 1_579..1_612);
    prop_oneof![
        fine.prop_map(|(lon, lat)| Point { lon, lat }),
        on_grid.prop_map(|(lon, lat)| Point { lon: f64::from(lon) / 50.0, lat: f64::from(lat) / 50.0 }),
    ]
}

/// A star around a point: closed, never crossing itself. On the grid its corners and edges meet the people of the test county.
fn a_ring(center: Point, radii: &[f64], on_grid: bool) -> Vec<Point> {
    let turn = std::f64::consts::TAU / radii.len() as f64;
    let snap = |degrees: f64| if on_grid { (degrees * 50.0).round() / 50.0 } else { degrees };
    let corner = |(nth, radius): (usize, &f64)| {
        let angle = turn * nth as f64;
        Point { lon: snap(center.lon + radius * angle.cos()), lat: snap(center.lat + radius * angle.sin()) }
    };
    let mut ring: Vec<Point> = radii.iter().enumerate().map(corner).collect();
    ring.push(ring[0]);
    ring
}

fn a_polygon() -> impl Strategy<Value = Polygon> {
    let star = (a_point(), prop::collection::vec(0.05..0.4, 3..24)).prop_map(|(center, radii)| {
        let mut rings = vec![a_ring(center, &radii, false)];
        if radii.len() > 6 {
            let within: Vec<f64> = radii.iter().map(|radius| radius * 0.3).collect();
            rings.push(a_ring(center, &within, false));
        }
        Polygon { rings }
    });
    // Squares on edge and on corner, with a hole of the same kind: simple also after snapping to the grid.
    let snapped = (a_point(), 0.1..0.4, prop::bool::ANY).prop_map(|(center, radius, with_hole)| {
        let mut rings = vec![a_ring(center, &[radius; 4], true)];
        if with_hole {
            rings.push(a_ring(center, &[radius / 2.0; 4], true));
        }
        Polygon { rings }
    });
    prop_oneof![star, snapped]
}

fn a_circle() -> impl Strategy<Value = Circle> {
    (a_point(), 0.1..60.0).prop_map(|(center, radius_km)| Circle { center, radius_km })
}

fn a_code() -> impl Strategy<Value = AreaCode> {
    let codes: Vec<AreaCode> = fixture::beichuan_areas().iter().map(|area| area.code).collect();
    let strange = ["510727", "510726999", "510726100999", "11"].map(|text| text.parse::<AreaCode>().expect("a code"));
    prop_oneof![8 => prop::sample::select(codes), 1 => prop::sample::select(strange.to_vec())]
}

fn an_area() -> impl Strategy<Value = Area> {
    let few = 0..3_usize;
    let parts =
        (prop::collection::vec(a_code(), few.clone()), prop::collection::vec(a_polygon(), few), prop::collection::vec(a_circle(), 0..2));
    parts.prop_map(|(codes, polygons, circles)| Area { name: String::new(), codes, polygons, circles })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn matching_finds_exactly_whom_the_rules_name(areas in prop::collection::vec(an_area(), 1..3), seed in 0..9_u64) {
        let county = county(seed);
        let found = audience(&areas, &county);
        let expected = Audience { unresolved: found.unresolved.clone(), ..slow_audience(&areas, &county) };
        prop_assert_eq!(&found, &expected);
        for code in areas.iter().flat_map(|area| &area.codes) {
            let is_known = county.areas().descends(*code).next().is_some();
            let is_named = found.unresolved.iter().any(|fault| fault.message.starts_with(&format!("{code} ")));
            prop_assert_eq!(is_known, !is_named);
        }
    }
}

fn code_area(code: &str) -> Area {
    Area { name: String::new(), codes: vec![code.parse().expect("a code")], polygons: vec![], circles: vec![] }
}

#[test]
fn a_village_alert_reaches_its_people_and_the_officers_above_but_no_other_village() {
    let county = county(1);
    let found = audience(&[code_area("510726100201")], &county);
    let told: Vec<(String, &str)> =
        found.subscribers.iter().map(|at| county.subscriber_at(at)).map(|told| (told.area().to_string(), told.role())).collect();
    for (area, role) in
        [("510726100201", "village_leader"), ("510726100201", "household"), ("510726100", "town_duty"), ("510726", "county_leader")]
    {
        assert!(told.iter().any(|told| *told == (area.to_owned(), role)), "no {role} of {area} was told");
    }
    assert!(told.iter().all(|(area, _)| ["510726100201", "510726100", "510726"].contains(&&**area)), "somebody elsewhere was told");
    assert_eq!(found.endpoints.len(), 2);
}

#[test]
fn province_city_and_county_are_the_whole_county_and_a_neighbour_is_named_as_unresolved() {
    let county = county(2);
    let whole = audience(&[code_area("510726")], &county);
    assert_eq!(whole.subscribers.len(), u64::from(county.subscriber_count()));
    for above in ["51", "5107"] {
        assert_eq!(audience(&[code_area(above)], &county), whole);
    }
    let neighbour = audience(&[code_area("510727")], &county);
    assert!(neighbour.is_empty());
    assert_eq!((neighbour.unresolved[0].rule, &*neighbour.unresolved[0].path), ("area-outside-county", "areas[0].codes[0]"));
    assert_eq!(audience(&[code_area("510726999")], &county).unresolved[0].rule, "unknown-area");
}

#[test]
fn a_shape_over_nobody_is_named_and_not_widened() {
    let far = Area { circles: vec![Circle { center: Point { lon: 90.0, lat: 40.0 }, radius_km: 5.0 }], ..code_area("510727") };
    let found = audience(&[far], &county(3));
    assert!(found.is_empty() && found.villages.is_empty());
    assert_eq!(found.unresolved.iter().map(|fault| fault.rule).collect::<Vec<_>>(), ["area-outside-county", "area-reaches-nobody"]);
}

fn shape(polygons: Vec<Polygon>, circles: Vec<Circle>) -> Area {
    Area { name: String::new(), codes: vec![], polygons, circles }
}

fn holds_exactly(areas: &[Area], seed: u64) -> Audience {
    let county = county(seed);
    let found = audience(areas, &county);
    assert_eq!(found, Audience { unresolved: found.unresolved.clone(), ..slow_audience(areas, &county) });
    found
}

/// Mixtures that are easily counted twice, or told too far; each against the slow reading.
#[test]
fn mixtures_that_are_easily_wrong_stay_right() {
    let square = |radius: f64| a_ring(Point { lon: 104.2, lat: 31.9 }, &[radius; 4], true);
    let solid = |radius: f64| Polygon { rings: vec![square(radius)] };
    let ring = Polygon { rings: vec![square(0.3), square(0.1)] };
    let circle = |radius_km| Circle { center: Point { lon: 104.2, lat: 31.9 }, radius_km };
    let codes = |list: &[&str]| Area { codes: list.iter().map(|code| code.parse().expect("a code")).collect(), ..shape(vec![], vec![]) };
    let cases: Vec<Vec<Area>> = vec![
        // The same twice, one within the other, a hole that another part fills.
        vec![shape(vec![solid(0.2), solid(0.2)], vec![circle(20.0)])],
        vec![shape(vec![ring.clone()], vec![]), shape(vec![solid(0.1)], vec![])],
        vec![shape(vec![ring.clone()], vec![circle(1.0)])],
        // A village by its code within its township's, and under a shape.
        vec![codes(&["510726100", "510726100201", "510726100201"]), shape(vec![solid(0.3)], vec![])],
        vec![codes(&["510726", "51", "510727"]), shape(vec![ring], vec![circle(0.0)])],
        // Nothing of ours, beside something.
        vec![codes(&["510727"]), shape(vec![Polygon { rings: vec![a_ring(Point { lon: 90.0, lat: 40.0 }, &[0.1; 4], true)] }], vec![])],
        vec![shape(vec![], vec![circle(1_000.0)])],
        vec![codes(&["510726999"]), shape(vec![], vec![])],
    ];
    for seed in 0..9 {
        for areas in &cases {
            holds_exactly(areas, seed);
        }
    }
}

#[test]
fn the_county_reaches_every_officer_and_a_village_those_above_it_once() {
    let whole = holds_exactly(&[code_area("510726")], 5);
    let county = county(5);
    assert_eq!(whole.subscribers.len(), u64::from(county.subscriber_count()));
    let twice = holds_exactly(&[code_area("510726100201"), code_area("510726100201")], 5);
    assert_eq!(twice, holds_exactly(&[code_area("510726100201")], 5));
    let roles: Vec<&str> = twice.subscribers.iter().map(|at| county.subscriber_at(at).role()).collect();
    for role in ["village_leader", "town_duty", "county_duty", "county_leader"] {
        assert!(roles.contains(&role), "no {role} was told");
    }
}

/// A loudspeaker is heard as far as it is heard, but it is switched on by where it stands: told is the area that is meant (I13).
#[test]
fn a_loudspeaker_beside_the_area_is_silent_however_far_it_is_heard() {
    let mut import = fixture::beichuan(20, 1);
    let speaker = &mut import.speakers[0].record;
    (speaker.place, speaker.radius_m) = (Place::new(104.201, 31.9), 5_000);
    let id = speaker.id.clone();
    let county = merge(&Snapshot::default(), &import, Mode::Upsert).expect("the county is sound").snapshot;
    let position = county.speaker_by_id(&id).expect("kept").position();
    let within = |lon: f64| {
        let corners = [(104.1, 31.8), (lon, 31.8), (lon, 32.0), (104.1, 32.0), (104.1, 31.8)];
        let ring = corners.map(|(lon, lat)| Point { lon, lat }).to_vec();
        audience(&[shape(vec![Polygon { rings: vec![ring] }], vec![])], &county).speakers.contains(position)
    };
    assert!(!within(104.200_999_9) && within(104.201));
}
