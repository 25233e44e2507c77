//! Owns frames of coordinates: WGS-84, which CAP 1.2 (section 3.2.4) and the registry are in, and the shifted GCJ-02 of Chinese web maps.
//! Refuses to guess which one is meant: an import or a source says so. Invariant: what was shifted and is brought back lies within a
//! centimetre of where it was; outside China nothing moves.

/// The frame of coordinates that an import or a source's areas are written in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Datum {
    #[default]
    Wgs84,
    /// The shifted frame of Chinese web maps.
    Gcj02,
}

impl Datum {
    /// Longitude and latitude in WGS-84.
    pub fn to_wgs84(self, lon: f64, lat: f64) -> (f64, f64) {
        match self {
            Self::Wgs84 => (lon, lat),
            Self::Gcj02 => gcj02_to_wgs84(lon, lat),
        }
    }
}

impl std::str::FromStr for Datum {
    type Err = BadDatum;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.to_ascii_lowercase().as_str() {
            // CGCS2000, of hazard-point registers, agrees with WGS-84 to within a metre.
            "" | "wgs84" | "wgs-84" | "cgcs2000" => Ok(Self::Wgs84),
            "gcj02" | "gcj-02" => Ok(Self::Gcj02),
            _ => Err(BadDatum),
        }
    }
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("datum is one of wgs84, cgcs2000, gcj02")]
pub struct BadDatum;

/// GCJ-02 degrees to WGS-84 degrees, to about a centimetre: the shift is only known forwards, so it is taken back step by step.
fn gcj02_to_wgs84(lon: f64, lat: f64) -> (f64, f64) {
    const ROUNDS: usize = 6;
    let (mut at_lon, mut at_lat) = (lon, lat);
    for _ in 0..ROUNDS {
        let (shifted_lon, shifted_lat) = wgs84_to_gcj02(at_lon, at_lat);
        at_lon += lon - shifted_lon;
        at_lat += lat - shifted_lat;
    }
    (at_lon, at_lat)
}

/// The published approximation of the GCJ-02 shift; points outside China are not shifted.
fn wgs84_to_gcj02(lon: f64, lat: f64) -> (f64, f64) {
    use std::f64::consts::PI;
    // Krasovsky 1940: semi-major axis in metres and first eccentricity squared.
    const AXIS_M: f64 = 6_378_245.0;
    const ECCENTRICITY: f64 = 0.006_693_421_622_965_943;
    if !(72.004..=137.8347).contains(&lon) || !(0.8293..=55.8271).contains(&lat) {
        return (lon, lat);
    }
    let (x, y) = (lon - 105.0, lat - 35.0);
    // Every term comes as pairs of waves; the scale of two thirds is common to all.
    let waves = |a: f64, b: f64| (a + b) * 2.0 / 3.0;
    let common = waves(20.0 * (6.0 * x * PI).sin(), 20.0 * (2.0 * x * PI).sin());
    let north = -100.0
        + 2.0 * x
        + 3.0 * y
        + 0.2 * y * y
        + 0.1 * x * y
        + 0.2 * x.abs().sqrt()
        + common
        + waves(20.0 * (y * PI).sin(), 40.0 * (y / 3.0 * PI).sin())
        + waves(160.0 * (y / 12.0 * PI).sin(), 320.0 * (y / 30.0 * PI).sin());
    let east = 300.0
        + x
        + 2.0 * y
        + 0.1 * x * x
        + 0.1 * x * y
        + 0.1 * x.abs().sqrt()
        + common
        + waves(20.0 * (x * PI).sin(), 40.0 * (x / 3.0 * PI).sin())
        + waves(150.0 * (x / 12.0 * PI).sin(), 300.0 * (x / 30.0 * PI).sin());
    let angle = lat / 180.0 * PI;
    let bulge = 1.0 - ECCENTRICITY * angle.sin().powi(2);
    let north = north * 180.0 / ((AXIS_M * (1.0 - ECCENTRICITY)) / (bulge * bulge.sqrt()) * PI);
    let east = east * 180.0 / (AXIS_M / bulge.sqrt() * angle.cos() * PI);
    (lon + east, lat + north)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_from_gcj02_undoes_the_shift_to_a_centimetre() {
        for (lon, lat) in [(104.4, 31.8), (103.73, 31.58), (116.397, 39.909), (121.47, 31.23)] {
            let (there_lon, there_lat) = wgs84_to_gcj02(lon, lat);
            let shift_m = (there_lon - lon).hypot(there_lat - lat) * 111_000.0;
            assert!((100.0..1_000.0).contains(&shift_m), "the shift at {lon},{lat} is {shift_m} m");
            let (back_lon, back_lat) = gcj02_to_wgs84(there_lon, there_lat);
            assert!((back_lon - lon).abs() < 1e-7 && (back_lat - lat).abs() < 1e-7);
        }
    }

    #[test]
    fn the_shift_agrees_with_published_pairs() {
        for (wgs84, gcj02) in [
            ((121.527_210_6, 31.177_427_6), (121.531_541_86, 31.175_303_98)),
            ((113.912_316, 22.543_847), (113.917_176_48, 22.540_796_13)),
            ((116.377_817, 39.911_954), (116.384_047_22, 39.913_345_46)),
        ] {
            let (lon, lat) = wgs84_to_gcj02(wgs84.0, wgs84.1);
            assert!((lon - gcj02.0).abs() < 1e-6 && (lat - gcj02.1).abs() < 1e-6, "{lon} {lat}");
        }
    }
}
