//! Pure: an alert's areas and a registry snapshot give the audience. Knows no policy, channel, storage or clock.
//! Invariant: the area told is exactly the area meant. Whoever stands nowhere is counted, never guessed; a code or shape that
//! reaches nobody is named, never widened.
//!
//! Households, institutions, speakers and hazard points are matched downward: they lie in the area. Persons with a duty and
//! endpoints are matched both ways: those below, and those whose area contains a place that is meant.

pub mod meant;
mod raster;
mod shape;

#[cfg(test)]
mod exact;
#[cfg(test)]
mod oracle;

use roaring::RoaringBitmap;

use self::{
    raster::Raster,
    shape::{Lie, Shape},
};
use crate::{
    alert::Area,
    area::{AreaCode, AreaLevel},
    fault::Fault,
    registry::{PlaceBox, Snapshot},
};

/// Who an alert reaches, as positions in the snapshot it was matched against.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Audience {
    pub subscribers: RoaringBitmap,
    pub speakers: RoaringBitmap,
    pub endpoints: RoaringBitmap,
    pub hazard_points: RoaringBitmap,
    /// Villages that lie in a code or hold anything in a shape, by code.
    pub villages: Vec<AreaCode>,
    /// Public subscribers of whom a shape cannot tell whether it holds them: neither they nor their village have coordinates.
    pub unlocated: u64,
    /// Codes and shapes that reach nobody, by their place in the alert.
    pub unresolved: Vec<Fault>,
}

impl Audience {
    pub fn is_empty(&self) -> bool {
        self.subscribers.is_empty() && self.speakers.is_empty() && self.endpoints.is_empty()
    }
}

/// Everybody and everything in the union of `areas`, once.
pub fn audience(areas: &[Area], snapshot: &Snapshot) -> Audience {
    let mut search = Search { snapshot, found: Audience::default(), nodes: RoaringBitmap::new(), bits: Vec::new() };
    for (at, area) in areas.iter().enumerate() {
        for (nth, &code) in area.codes.iter().enumerate() {
            search.add_code(code, || format!("areas[{at}].codes[{nth}]"));
        }
        for (nth, polygon) in area.polygons.iter().enumerate() {
            search.add_shape(&Shape::polygon(polygon), || format!("areas[{at}].polygons[{nth}]"));
        }
        for (nth, circle) in area.circles.iter().enumerate() {
            search.add_shape(&Shape::circle(circle), || format!("areas[{at}].circles[{nth}]"));
        }
    }
    let has_shapes = areas.iter().any(|area| !area.polygons.is_empty() || !area.circles.is_empty());
    search.finish(has_shapes)
}

/// Of each shape of an area, by its place there: the registry's areas, of any level, in which it holds anything.
pub fn held_by_shapes(area: &Area, snapshot: &Snapshot) -> Vec<(String, Vec<AreaCode>)> {
    let held = |shape: &Shape| {
        let mut search = Search { snapshot, found: Audience::default(), nodes: RoaringBitmap::new(), bits: Vec::new() };
        search.add_shape(shape, String::new);
        search.nodes.iter().map(|node| snapshot.areas().node(node).code).collect()
    };
    let polygons = area.polygons.iter().enumerate().map(|(nth, polygon)| (format!("polygons[{nth}]"), held(&Shape::polygon(polygon))));
    let circles = area.circles.iter().enumerate().map(|(nth, circle)| (format!("circles[{nth}]"), held(&Shape::circle(circle))));
    polygons.chain(circles).collect()
}

struct Search<'a> {
    snapshot: &'a Snapshot,
    found: Audience,
    /// Indices of the areas that lie in a code or hold anything in a shape.
    nodes: RoaringBitmap,
    /// Lent from village to village.
    bits: Vec<u8>,
}

impl Search<'_> {
    fn add_code(&mut self, code: AreaCode, path: impl Fn() -> String) {
        let snapshot = self.snapshot;
        let nodes = snapshot.areas().run(code);
        if nodes.is_empty() {
            self.found.unresolved.push(unknown_code(code, snapshot, path()));
            return;
        }
        self.found.subscribers.insert_range(snapshot.subscribers_in(code));
        self.found.speakers.insert_range(snapshot.speakers_in(code));
        self.found.hazard_points.insert_range(snapshot.hazard_points_in(code));
        self.found.endpoints.insert_range(snapshot.endpoints_in(code));
        self.nodes.insert_range(nodes);
        self.add_answerable_above(code);
    }

    fn add_shape(&mut self, shape: &Shape, path: impl Fn() -> String) {
        let mut held = RoaringBitmap::new();
        self.add_public(shape, &mut held);
        let in_shape = |&(_, _, place): &(u32, u32, Option<_>)| place.is_some_and(|place| shape.contains(place));
        for (position, node, _) in self.snapshot.speaker_stands().filter(in_shape) {
            self.found.speakers.insert(position);
            held.insert(node);
        }
        for (position, node, _) in self.snapshot.hazard_point_stands().filter(in_shape) {
            self.found.hazard_points.insert(position);
            held.insert(node);
        }
        for (node, area) in (0..).zip(self.snapshot.areas().iter()) {
            let is_village = area.code.level() == AreaLevel::Village;
            if is_village && area.place.is_some_and(|place| shape.contains(place)) {
                held.insert(node);
            }
        }
        if held.is_empty() {
            let message = "no village, household, speaker or hazard point of this registry lies in it";
            self.found.unresolved.push(Fault::new(path(), "area-reaches-nobody", message));
        }
        for node in &held {
            self.add_answerable(node);
        }
        self.nodes |= held;
    }

    /// Households and institutions by where they stand: village by village, whole ones as a range.
    fn add_public(&mut self, shape: &Shape, held: &mut RoaringBitmap) {
        let mut crossed: Vec<u32> = Vec::new();
        let mut region: Option<PlaceBox> = None;
        let nodes = 0..u32::try_from(self.snapshot.areas().len()).unwrap_or(u32::MAX);
        for node in nodes {
            let stand = self.snapshot.ground().stand(node);
            let Some(bounds) = stand.bounds else { continue };
            match shape.against(&bounds) {
                Lie::Outside => {}
                Lie::Inside if !stand.has_unlocated => {
                    self.found.subscribers.insert_range(self.snapshot.subscribers_of(node));
                    held.insert(node);
                }
                Lie::Inside | Lie::Crossing => {
                    crossed.push(node);
                    region = Some(region.map_or(bounds, |region| region.around(&bounds)));
                }
            }
        }
        let Some(region) = region else { return };
        let raster = Raster::new(shape, &region);
        for node in crossed {
            if self.sift(node, shape, &raster) {
                held.insert(node);
            }
        }
    }

    /// Adds those of one area's public subscribers that stand in the shape; whether there were any.
    fn sift(&mut self, node: u32, shape: &Shape, raster: &Raster<'_>) -> bool {
        let positions = self.snapshot.subscribers_of(node);
        // A bitmap can be made of bits that start at a whole byte.
        let offset = positions.start & !7;
        let without_own = self.snapshot.areas().node(node).place.is_some_and(|place| shape.contains(place));
        self.bits.clear();
        self.bits.resize((positions.end - offset).div_ceil(8) as usize, 0);
        for (place, bit) in self.snapshot.subscriber_places(&positions).iter().zip((positions.start - offset) as usize..) {
            let is_in = place.known().map_or(without_own, |place| raster.contains(place));
            self.bits[bit >> 3] |= u8::from(is_in) << (bit & 7);
        }
        for position in self.snapshot.ground().responsible_in(&positions) {
            let bit = (position - offset) as usize;
            self.bits[bit >> 3] &= !(1 << (bit & 7));
        }
        let any = self.bits.iter().any(|&byte| byte != 0);
        if any {
            self.found.subscribers |= RoaringBitmap::from_lsb0_bytes(offset, &self.bits);
        }
        any
    }

    /// Those who answer for an area that holds something: its own, and those of the areas above.
    fn add_answerable(&mut self, node: u32) {
        let code = self.snapshot.areas().node(node).code;
        self.add_answerable_at(code);
        self.add_answerable_above(code);
    }

    fn add_answerable_above(&mut self, code: AreaCode) {
        let snapshot = self.snapshot;
        for area in snapshot.areas().ancestors(code) {
            self.add_answerable_at(area.code);
        }
    }

    fn add_answerable_at(&mut self, code: AreaCode) {
        let positions = self.snapshot.subscribers_at(code);
        self.found.subscribers.extend(self.snapshot.ground().responsible_in(&positions));
        self.found.endpoints.insert_range(self.snapshot.endpoints_at(code));
    }

    fn finish(mut self, has_shapes: bool) -> Audience {
        // Whoever watches a slope that is meant is told, wherever they are registered.
        for position in &self.found.hazard_points {
            let monitor = self.snapshot.hazard_point_at(position).monitor_key();
            self.found.subscribers.extend(monitor.and_then(|key| self.snapshot.subscriber_position(key)));
        }
        let areas = self.nodes.iter().map(|node| self.snapshot.areas().node(node).code);
        self.found.villages = areas.filter(|code| code.level() == AreaLevel::Village).collect();
        if has_shapes {
            self.found.unlocated = self.snapshot.ground().unlocated().difference_len(&self.found.subscribers);
        }
        self.found
    }
}

fn unknown_code(code: AreaCode, snapshot: &Snapshot, path: String) -> Fault {
    match snapshot.areas().root() {
        Some(root) if root.code.contains(code) => Fault::new(path, "unknown-area", format!("{code} is not in the area tree")),
        Some(root) => Fault::new(path, "area-outside-county", format!("{code} does not lie in {} {}", root.code, root.name)),
        None => Fault::new(path, "area-outside-county", "the registry has no areas yet"),
    }
}
