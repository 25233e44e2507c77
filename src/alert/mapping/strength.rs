//! Owns what numbers decide: how strong something was and how far from here, to a level and a circle around it.
//! Refuses to know where here is beyond what it is told. Invariant: what no row fits is passed over; a number that cannot be read is a fault.

use serde_json::Value;
use toml::Table;

use super::field::{Field, Tables};
use crate::{
    alert::{Level, Point},
    fault::{Fault, Faults},
};

/// Mean radius of the earth.
const EARTH_KM: f64 = 6_371.008_8;
/// Rows of one table; nobody tells more than a dozen degrees of strength apart.
const ROWS_MAX: usize = 100;

/// `[strength]`: `magnitude`, and `rows` of which the first that fits counts.
#[derive(Clone, Debug)]
pub(super) struct Strength {
    magnitude: Field,
    rows: Vec<Row>,
    /// The county, from which distances are taken.
    pub(super) here: Option<Point>,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    least: f64,
    within_km: f64,
    level: Level,
    radius_km: f64,
}

/// What a row makes of one entry.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Felt {
    pub(super) level: Level,
    pub(super) radius_km: f64,
}

impl Strength {
    pub(super) fn parse(table: &Table, tables: &Tables) -> Result<Self, Vec<Fault>> {
        let mut faults = Faults::default();
        for key in table.keys().filter(|key| !["magnitude", "rows", "here"].contains(&key.as_str())) {
            faults.add(format!("strength.{key}"), "unknown-key", "is none of magnitude, rows, here");
        }
        let magnitude = match table.get("magnitude").and_then(toml::Value::as_table) {
            Some(field) => Field::parse("strength.magnitude".into(), field, tables).unwrap_or_else(|list| {
                faults.extend(list);
                Field::default()
            }),
            None => {
                faults.add("strength.magnitude", "missing", "must say where the strength stands");
                Field::default()
            }
        };
        let rows = table.get("rows").and_then(toml::Value::as_array).map_or(&[][..], Vec::as_slice);
        if rows.is_empty() || rows.len() > ROWS_MAX {
            faults.add("strength.rows", "bad-value", format!("must be a list of 1 to {ROWS_MAX} rows"));
        }
        let rows = rows.iter().take(ROWS_MAX).enumerate().filter_map(|(place, row)| read_row(row, place, &mut faults)).collect();
        let here = table.get("here").map(|here| read_here(here, &mut faults));
        faults.into_result(Self { magnitude, rows, here: here.flatten() })
    }

    /// What it is here; `None` when it is of no concern.
    pub(super) fn felt(&self, entry: &Value, center: Point, tables: &Tables) -> Result<Option<Felt>, Fault> {
        let here = self.here.ok_or_else(|| {
            Fault::new("strength.here", "missing", "distances need a place: give the county coordinates, or `here` in the mapping")
        })?;
        let said = self.magnitude.read(entry, tables)?;
        let magnitude = said.as_deref().and_then(|text| text.parse::<f64>().ok()).filter(|number| number.is_finite());
        let magnitude = magnitude.ok_or_else(|| Fault::new("strength.magnitude", "bad-number", "the entry names no strength"))?;
        let distance = distance_km(here, center);
        let row = self.rows.iter().find(|row| magnitude >= row.least && distance <= row.within_km);
        Ok(row.map(|row| Felt { level: row.level, radius_km: row.radius_km }))
    }
}

fn read_row(row: &toml::Value, place: usize, faults: &mut Faults) -> Option<Row> {
    let path = format!("strength.rows[{place}]");
    let mut number = |key: &str| {
        let number = row.get(key).and_then(as_number).filter(|number| number.is_finite());
        if number.is_none() {
            faults.add(format!("{path}.{key}"), "bad-number", "must be a number");
        }
        number
    };
    let (least, within_km, radius_km) = (number("least"), number("within_km"), number("radius_km"));
    let word = row.get("level").and_then(toml::Value::as_str).unwrap_or_default();
    let level = Level::ALL.into_iter().find(|level| level.name() == word);
    if level.is_none() {
        faults.add(format!("{path}.level"), "bad-level", "must be red, orange, yellow or blue");
    }
    Some(Row { least: least?, within_km: within_km?, level: level?, radius_km: radius_km? })
}

/// `[lon, lat]`
fn read_here(here: &toml::Value, faults: &mut Faults) -> Option<Point> {
    let pair = here.as_array().filter(|pair| pair.len() == 2);
    let point = pair.and_then(|pair| Some(Point { lon: as_number(&pair[0])?, lat: as_number(&pair[1])? }));
    if point.is_none() {
        faults.add("strength.here", "bad-value", "must be [longitude, latitude]");
    }
    point
}

#[expect(clippy::cast_precision_loss, reason = "kilometres and magnitudes are small")]
pub(super) fn as_number(value: &toml::Value) -> Option<f64> {
    value.as_float().or_else(|| value.as_integer().map(|number| number as f64))
}

/// Along the great circle.
fn distance_km(one: Point, other: Point) -> f64 {
    let (lat, other_lat) = (one.lat.to_radians(), other.lat.to_radians());
    let (north, east) = ((other_lat - lat) / 2.0, (other.lon - one.lon).to_radians() / 2.0);
    let half = north.sin().powi(2) + lat.cos() * other_lat.cos() * east.sin().powi(2);
    2.0 * EARTH_KM * half.sqrt().min(1.0).asin()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_those_of_the_globe() {
        let (north, south) = (Point { lon: 104.0, lat: 31.0 }, Point { lon: 104.0, lat: 30.0 });
        assert!((distance_km(north, south) - 111.19).abs() < 0.05);
        assert!(distance_km(Point { lon: 179.9, lat: 0.0 }, Point { lon: -179.9, lat: 0.0 }) < 23.0);
        assert!(distance_km(north, north) < 1e-9);
    }
}
