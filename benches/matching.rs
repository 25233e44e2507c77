//! Matching a million households: codes and shapes of many forms, each beside a scan of everybody in the same run.
//! `cargo bench --bench matching` prints, for each, whom it tells, what it takes, what the scan takes, and the ratio of the two.
//! Nothing is asserted but that the scan finds the same households; the scan knows neither boxes nor ranges, and is written for this alone.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a bench prints, and stops at the first surprise")]

use std::{
    f64::consts::TAU,
    hint::black_box,
    time::{Duration, Instant},
};

use lastmile::{
    alert::{Area, Circle, Point, Polygon},
    area::AreaCode,
    matching::audience,
    registry::{Place, Snapshot, Subscriber, fixture, to_steps},
};

const HOUSEHOLDS: u32 = 1_000_000;
const CENTER: Point = Point { lon: 104.23, lat: 31.91 };
/// Rounds of matching; the middle one is told.
const ROUNDS: usize = 41;

fn main() {
    let households = std::env::args()
        .skip_while(|word| word != "--households")
        .nth(1)
        .map_or(HOUSEHOLDS, |text| text.parse().expect("--households takes a number"));
    let county = fixture::beichuan_snapshot(households, 1);
    println!("{households} households in {} areas", county.areas().len());
    for (name, area) in shapes() {
        tell(name, &area, &county);
    }
}

fn code(text: &str) -> Area {
    Area { name: String::new(), codes: vec![text.parse().unwrap()], polygons: vec![], circles: vec![] }
}

fn polygon(rings: Vec<Vec<Point>>) -> Area {
    Area { name: String::new(), codes: vec![], polygons: vec![Polygon { rings }], circles: vec![] }
}

fn shapes() -> Vec<(&'static str, Area)> {
    let circle = Circle { center: CENTER, radius_km: 14.0 };
    vec![
        ("county code", code("510726")),
        ("township code", code("510726101")),
        ("village code", code("510726101201")),
        ("polygon, 20 corners, in and out", polygon(vec![star(20, 0.17, 0.10)])),
        ("polygon, 4 corners, a township's size", polygon(vec![star(4, 0.05, 0.05)])),
        ("polygon, long and thin like a river, 80 corners", polygon(vec![river()])),
        ("polygon, 1000 corners", polygon(vec![star(1_000, 0.17, 0.16)])),
        ("polygon, 10000 corners", polygon(vec![star(10_000, 0.17, 0.16)])),
        ("polygon, 20 corners, with a hole", polygon(vec![star(20, 0.17, 0.10), star(12, 0.07, 0.05)])),
        ("polygon around the whole county", polygon(vec![star(24, 2.0, 2.0)])),
        ("circle of 14 km", Area { name: String::new(), codes: vec![], polygons: vec![], circles: vec![circle] }),
        ("township code and polygon", Area { codes: code("510726101").codes, ..polygon(vec![star(20, 0.17, 0.10)]) }),
    ]
}

/// Closed, around the middle of the county, its corners in turn far from it and near.
fn star(corners: u32, far: f64, near: f64) -> Vec<Point> {
    let corner = |nth: u32| {
        let radius = if nth.is_multiple_of(2) { far } else { near };
        let angle = TAU * f64::from(nth % corners) / f64::from(corners);
        Point { lon: CENTER.lon + radius * angle.cos(), lat: CENTER.lat + radius * angle.sin() }
    };
    (0..=corners).map(corner).collect()
}

/// Forty kilometres through the county, one wide.
fn river() -> Vec<Point> {
    let bank = |nth: u32, side: f64| {
        let along = f64::from(nth) / 39.0;
        Point { lon: CENTER.lon - 0.22 + 0.44 * along, lat: CENTER.lat + 0.08 * (along * TAU).sin() + side * 0.005 }
    };
    let mut ring: Vec<Point> = (0..40).map(|nth| bank(nth, -1.0)).chain((0..40).rev().map(|nth| bank(nth, 1.0))).collect();
    ring.push(ring[0]);
    ring
}

#[expect(clippy::disallowed_methods, reason = "a bench measures the machine's own time")]
fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let done = work();
    (done, start.elapsed())
}

fn tell(name: &str, area: &Area, county: &Snapshot) {
    let areas = std::slice::from_ref(area);
    let mut times: Vec<Duration> = (0..ROUNDS).map(|_| timed(|| black_box(audience(black_box(areas), county))).1).collect();
    times.sort_unstable();
    let (middle, longest) = (times[ROUNDS / 2], times[ROUNDS - 1]);
    let told = audience(areas, county).subscribers;
    let households = told.iter().filter(|&position| county.subscriber_at(position).is_public()).count();
    let (scanned, scan_took) = timed(|| scan(county, area));
    assert_eq!(households, scanned, "{name}: the scan finds other households");
    println!(
        "{name:<48} {households:>8} households  {:>10.4} ms (most {:.4})  scan {:>8.1} ms  {:>8.0} times less",
        ms(middle),
        ms(longest),
        ms(scan_took),
        scan_took.as_secs_f64() / middle.as_secs_f64()
    );
}

fn ms(took: Duration) -> f64 {
    took.as_secs_f64() * 1e3
}

/// The reference: every public subscriber against every code, edge and circle.
fn scan(county: &Snapshot, area: &Area) -> usize {
    let everybody = (0..county.subscriber_count()).map(|position| county.subscriber_at(position)).filter(|one| one.is_public());
    let steps = |ring: &Vec<Point>| ring.iter().map(|point| (to_steps(point.lon).into(), to_steps(point.lat).into())).collect();
    let polygons: Vec<Vec<Vec<(i64, i64)>>> = area.polygons.iter().map(|polygon| polygon.rings.iter().map(steps).collect()).collect();
    let in_shapes = |at: Place| {
        polygons.iter().any(|rings| in_polygon(rings, (at.lon_e7.into(), at.lat_e7.into())))
            || area.circles.iter().any(|circle| in_circle(circle, at.lon(), at.lat()))
    };
    let is_meant = |home: AreaCode, at: Option<Place>| area.codes.iter().any(|code| code.contains(home)) || at.is_some_and(in_shapes);
    let stands = |one: &Subscriber<'_>| one.point().or(county.areas().get(one.area()).and_then(|area| area.place));
    everybody.filter(|one| is_meant(one.area(), stands(one))).count()
}

/// In whole steps, as the registry and matching count: in floating point one household in a million on an edge comes out differently.
fn in_polygon(rings: &[Vec<(i64, i64)>], (x, y): (i64, i64)) -> bool {
    let (mut is_in, mut is_on) = (false, false);
    for edge in rings.iter().flat_map(|ring| ring.windows(2)) {
        let (a, b) = (edge[0], edge[1]);
        if y < a.1.min(b.1) || y > a.1.max(b.1) {
            continue;
        }
        let side = i128::from(b.0 - a.0) * i128::from(y - a.1) - i128::from(b.1 - a.1) * i128::from(x - a.0);
        is_on |= side == 0 && (a.0.min(b.0)..=a.0.max(b.0)).contains(&x);
        is_in ^= (a.1 > y) != (b.1 > y) && (side > 0) == (b.1 > a.1);
    }
    is_in || is_on
}

fn in_circle(circle: &Circle, lon: f64, lat: f64) -> bool {
    let (one, other) = (circle.center.lat.to_radians(), lat.to_radians());
    let apart = (lon - circle.center.lon).to_radians();
    let cos = one.sin() * other.sin() + one.cos() * other.cos() * apart.cos();
    cos.clamp(-1.0, 1.0).acos() * 6_371.008_8 <= circle.radius_km
}
