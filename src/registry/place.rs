//! Owns a point on the map as the registry keeps it.
//! Refuses to know shapes: whether a point lies in an area is matching's question.
//! Invariant: WGS-84, whole ten-millionths of a degree (about a centimetre), always on the globe.

use serde::{Serialize, Serializer, ser::SerializeStruct};

/// Steps in one degree.
pub const STEPS: f64 = 1e7;

/// A point in WGS-84, kept in ten-millionths of a degree so that it compares exactly and takes eight bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    pub lon_e7: i32,
    pub lat_e7: i32,
}

impl Place {
    /// What tables hold for "no coordinates": a latitude that no place has.
    pub(crate) const NOWHERE: Self = Self { lon_e7: i32::MIN, lat_e7: i32::MIN };

    /// From degrees; `None` off the globe.
    pub fn new(lon: f64, lat: f64) -> Option<Self> {
        let on_globe = (-180.0..=180.0).contains(&lon) && (-90.0..=90.0).contains(&lat);
        on_globe.then(|| Self { lon_e7: to_steps(lon), lat_e7: to_steps(lat) })
    }

    pub fn lon(self) -> f64 {
        f64::from(self.lon_e7) / STEPS
    }

    pub fn lat(self) -> f64 {
        f64::from(self.lat_e7) / STEPS
    }

    pub(crate) fn known(self) -> Option<Self> {
        (self != Self::NOWHERE).then_some(self)
    }
}

/// Degrees to the nearest step.
#[expect(clippy::cast_possible_truncation, reason = "callers have checked that the degrees are on the globe: at most 1.8e9 steps")]
pub fn to_steps(degrees: f64) -> i32 {
    (degrees * STEPS).round() as i32
}

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut place = serializer.serialize_struct("Place", 2)?;
        place.serialize_field("lon", &self.lon())?;
        place.serialize_field("lat", &self.lat())?;
        place.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_off_the_globe_are_not_places() {
        assert!(Place::new(181.0, 0.0).is_none() && Place::new(0.0, -90.1).is_none() && Place::new(f64::NAN, 0.0).is_none());
        assert_eq!(Place::new(104.4, 31.8).map(|p| (p.lon(), p.lat())), Some((104.4, 31.8)));
    }
}
