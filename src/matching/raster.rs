//! Owns a coarse picture of a shape over a region, so that most places are told by one look instead of a walk around the shape.
//! Invariant: a cell is called inside or outside only if all of it is; everything else asks the shape itself.

use super::shape::{Corner, Edge, Rings, Shape, contains_by, twin};
use crate::registry::{Place, PlaceBox};

/// Cells along a side: fine enough that few places fall on a rim, coarse enough to draw in tens of microseconds.
const SIDE: usize = 64;
const LAST: i64 = SIDE as i64 - 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cell {
    Outside,
    Inside,
    /// An edge runs through, or it has not been looked at.
    Rim,
}

pub(super) struct Raster<'a> {
    shape: &'a Shape,
    region: Option<PlaceBox>,
    /// Cells are `1 << shift` steps wide, so that finding one is exact.
    shift: u32,
    cells: Vec<Cell>,
    /// Of a polygon.
    edges: Vec<Edge>,
    /// By row, which edges touch it: a place on a rim is held against these alone.
    rows: Vec<Vec<u32>>,
}

impl<'a> Raster<'a> {
    /// `region` is where places will be asked for.
    pub(super) fn new(shape: &'a Shape, region: &PlaceBox) -> Self {
        let region = shape.bounds().and_then(|bounds| bounds.overlap(region));
        let mut raster = Self { shape, region, shift: 0, cells: vec![Cell::Rim; SIDE * SIDE], edges: Vec::new(), rows: Vec::new() };
        let Some(region) = region else { return raster };
        let longest = (i64::from(region.east) - i64::from(region.west)).max(i64::from(region.north) - i64::from(region.south));
        while longest >> raster.shift > LAST {
            raster.shift += 1;
        }
        match shape {
            Shape::Polygon(rings) => raster.draw_rings(rings, &region),
            Shape::Circle(cap) if cap.is_plain() => raster.draw_cap(&region),
            Shape::Circle(_) => {}
        }
        raster
    }

    pub(super) fn contains(&self, place: Place) -> bool {
        let Some(region) = self.region.filter(|region| region.contains(place)) else {
            // The region is where the shape and the places that are asked for overlap; only across the seam there is more.
            return (self.region.is_none() || twin(place).is_some()) && self.shape.contains(place);
        };
        let column = (i64::from(place.lon_e7) - i64::from(region.west)) >> self.shift;
        let row = (i64::from(place.lat_e7) - i64::from(region.south)) >> self.shift;
        match self.cells[index(row, column)] {
            Cell::Inside => true,
            // What lies on the seam may be held from its other side.
            Cell::Outside => twin(place).is_some() && self.shape.contains(place),
            Cell::Rim => match usize::try_from(row).ok().and_then(|row| self.rows.get(row)) {
                Some(near) if twin(place).is_none() => contains_by(&self.edges, near, Corner::of(place)),
                _ => self.shape.contains(place),
            },
        }
    }

    fn corner(&self, region: &PlaceBox, row: i64, column: i64) -> (i64, i64) {
        (i64::from(region.west) + (column << self.shift), i64::from(region.south) + (row << self.shift))
    }

    /// Cells that an edge runs through stay rims; between them, one cell of each run speaks for the run.
    fn draw_rings(&mut self, rings: &Rings, region: &PlaceBox) {
        let mut is_rim = vec![false; SIDE * SIDE];
        self.edges = rings.edges().collect();
        self.rows = vec![Vec::new(); SIDE];
        for at in 0..self.edges.len() {
            self.mark_edge(at, region, &mut is_rim);
        }
        for row in 0..=LAST {
            let mut run: Option<Cell> = None;
            for column in 0..=LAST {
                let at = index(row, column);
                if is_rim[at] {
                    run = None;
                    continue;
                }
                let cell = run.unwrap_or_else(|| self.ask_at(region, row, column));
                self.cells[at] = cell;
                run = Some(cell);
            }
        }
    }

    fn ask_at(&self, region: &PlaceBox, row: i64, column: i64) -> Cell {
        let (x, y) = self.corner(region, row, column);
        // A cell behind the end of the region may lie off the globe; nobody asks for it.
        let place = i32::try_from(x).ok().zip(i32::try_from(y).ok()).map(|(lon_e7, lat_e7)| Place { lon_e7, lat_e7 });
        match place {
            Some(place) if self.shape.contains(place) => Cell::Inside,
            Some(_) => Cell::Outside,
            None => Cell::Rim,
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "steps take 33 bits, a double holds 53")]
    #[expect(clippy::cast_possible_truncation, reason = "the x of a point on an edge lies between those of its ends; edges are far fewer")]
    fn mark_edge(&mut self, at: usize, region: &PlaceBox, is_rim: &mut [bool]) {
        let Edge { from: a, to: b, .. } = self.edges[at];
        let (low, high) = if a.y <= b.y { (a, b) } else { (b, a) };
        let shift = self.shift;
        let to_row = |y: i64| (y - i64::from(region.south)) >> shift;
        let to_column = |x: i64| (x - i64::from(region.west)) >> shift;
        let x_at = |y: i64| {
            let y = y.clamp(low.y, high.y);
            if low.y == high.y { low.x } else { low.x + ((high.x - low.x) as f64 * ((y - low.y) as f64 / (high.y - low.y) as f64)) as i64 }
        };
        // One step of slack on every side takes in rounding, and edges that pass between two cells.
        for row in to_row(low.y - 1).max(0)..=to_row(high.y + 1).min(LAST) {
            self.rows[index(row, 0) / SIDE].push(at as u32);
            let (_, bottom) = self.corner(region, row, 0);
            let top = bottom + (1 << self.shift);
            let (from, to) = if low.y == high.y { (low.x, high.x) } else { (x_at(bottom - 1), x_at(top + 1)) };
            for column in to_column(from.min(to) - 2).max(0)..=to_column(from.max(to) + 2).min(LAST) {
                is_rim[index(row, column)] = true;
            }
        }
    }

    /// A cell whose four corners lie in a circle lies in it; all others are asked place by place.
    fn draw_cap(&mut self, region: &PlaceBox) {
        let corners: Vec<bool> = (0..=LAST + 1)
            .flat_map(|row| (0..=LAST + 1).map(move |column| (row, column)))
            .map(|(row, column)| self.ask_at(region, row, column) == Cell::Inside)
            .collect();
        let is_in = |row: usize, column: usize| corners[row * (SIDE + 1) + column];
        for row in 0..SIDE {
            for column in 0..SIDE {
                if is_in(row, column) && is_in(row, column + 1) && is_in(row + 1, column) && is_in(row + 1, column + 1) {
                    self.cells[row * SIDE + column] = Cell::Inside;
                }
            }
        }
    }
}

fn index(row: i64, column: i64) -> usize {
    usize::try_from(row * (LAST + 1) + column).expect("rows and columns are not negative")
}
