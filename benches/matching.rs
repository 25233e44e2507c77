//! Matching a million households: a polygon of twenty corners, the county, a township; beside a scan through everybody in the same run.

use std::{f64::consts::TAU, hint::black_box};

use criterion::{Criterion, criterion_group, criterion_main};
use lastmile::{
    alert::{Area, Circle, Point, Polygon},
    matching::audience,
    registry::{Snapshot, fixture},
};

const HOUSEHOLDS: u32 = 1_000_000;
const CENTER: Point = Point { lon: 104.23, lat: 31.91 };

fn area(code: &str) -> Area {
    Area { name: String::new(), codes: vec![code.parse().expect("a code")], polygons: vec![], circles: vec![] }
}

/// Twenty corners, in and out, around the middle of the county; about a tenth of everybody lies in it.
fn star() -> Polygon {
    let corner = |nth: u32| {
        let radius = if nth.is_multiple_of(2) { 0.17 } else { 0.10 };
        let angle = TAU * f64::from(nth % 20) / 20.0;
        Point { lon: CENTER.lon + radius * angle.cos(), lat: CENTER.lat + radius * angle.sin() }
    };
    Polygon { rings: vec![(0..=20).map(corner).collect()] }
}

/// The reference: every subscriber against every edge.
fn scan(county: &Snapshot, polygon: &Polygon) -> usize {
    let inside = |lon: f64, lat: f64| {
        let crossings = polygon.rings[0].windows(2).filter(|edge| {
            let (a, b) = (edge[0], edge[1]);
            (a.lat > lat) != (b.lat > lat) && lon < (b.lon - a.lon) * (lat - a.lat) / (b.lat - a.lat) + a.lon
        });
        crossings.count() % 2 == 1
    };
    let points = (0..county.subscriber_count()).filter_map(|position| county.subscriber_at(position).point());
    points.filter(|point| inside(point.lon(), point.lat())).count()
}

fn matching(bench: &mut Criterion) {
    let county = fixture::beichuan_snapshot(HOUSEHOLDS, 1);
    let polygon = Area { polygons: vec![star()], codes: vec![], ..area("510726") };
    let circle = Area { circles: vec![Circle { center: CENTER, radius_km: 14.0 }], codes: vec![], ..area("510726") };
    let mut group = bench.benchmark_group("match a million households");
    for (name, area) in [("polygon", &polygon), ("circle", &circle), ("county", &area("510726")), ("township", &area("510726101"))] {
        let told = audience(std::slice::from_ref(area), &county).subscribers.len();
        group.bench_function(format!("{name}, {told} told"), |bench| {
            bench.iter(|| audience(black_box(std::slice::from_ref(area)), &county));
        });
    }
    group.sample_size(10);
    group.bench_function("polygon by scanning everybody", |bench| bench.iter(|| scan(&county, black_box(&polygon.polygons[0]))));
    group.finish();
}

criterion_group!(benches, matching);
criterion_main!(benches);
