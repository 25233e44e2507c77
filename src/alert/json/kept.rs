//! Owns reading an alert back from the normalised form that this program, or one before or after it, has kept.
//! Refuses to know rules: they judged the alert when it came in, and a rule made later must not make a journal unreadable.
//! Invariant: only the shape is needed; a field that an older program did not write takes its default, one that a newer wrote is passed over.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::{
    alert::{
        Alert, Area, Carried, Circle, EventCode, Level, MsgType, Point, Polygon, Reference, Status, Translation, category, event_name,
    },
    area::AreaCode,
    time::Timestamp,
};

/// The kept value has not even the shape of an alert.
#[derive(Debug, thiserror::Error)]
#[error("the kept alert has not the shape of an alert: {0}")]
pub struct NotKept(#[from] serde_json::Error);

/// Reads back what `to_value` wrote, by whichever version of the program.
pub fn from_kept(value: &Value) -> Result<Alert, NotKept> {
    Ok(Kept::deserialize(value)?.into_alert())
}

/// The fields without a default are those that the first version wrote and that nothing can stand for.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kept {
    identifier: String,
    sender: String,
    #[serde(default)]
    sender_name: String,
    sent: Timestamp,
    status: Status,
    msg_type: MsgType,
    #[serde(default)]
    references: Vec<Reference>,
    event: EventCode,
    event_name: Option<String>,
    level: Level,
    #[serde(default = "unknown")]
    urgency: String,
    #[serde(default = "unknown")]
    certainty: String,
    #[serde(default)]
    categories: Vec<String>,
    #[serde(default)]
    response_types: Vec<String>,
    effective: Option<Timestamp>,
    onset: Option<Timestamp>,
    expires: Timestamp,
    #[serde(default)]
    headline: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    instruction: String,
    language: Option<String>,
    #[serde(default)]
    translations: Vec<Translation>,
    #[serde(default)]
    note: String,
    #[serde(default)]
    web: String,
    #[serde(default)]
    contact: String,
    #[serde(default)]
    areas: Vec<KeptArea>,
    #[serde(default)]
    texts: BTreeMap<String, String>,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    part_of: String,
    #[serde(default)]
    carried: Carried,
}

#[derive(Deserialize)]
struct KeptArea {
    #[serde(default)]
    name: String,
    #[serde(default)]
    codes: Vec<AreaCode>,
    geometry: Option<Geometry>,
    circle: Option<KeptCircle>,
    #[serde(default)]
    circles: Vec<KeptCircle>,
}

/// GeoJSON, longitude first.
#[derive(Deserialize)]
#[serde(tag = "type", content = "coordinates")]
enum Geometry {
    Polygon(Vec<Vec<(f64, f64)>>),
    MultiPolygon(Vec<Vec<Vec<(f64, f64)>>>),
}

#[derive(Deserialize)]
struct KeptCircle {
    center: (f64, f64),
    radius_km: f64,
}

fn unknown() -> String {
    "Unknown".to_owned()
}

impl Kept {
    fn into_alert(self) -> Alert {
        Alert {
            event_name: self.event_name.unwrap_or_else(|| event_name(&self.event).to_owned()),
            // The form promises at least one.
            categories: if self.categories.is_empty() { vec![category(&self.event).to_owned()] } else { self.categories },
            event: self.event,
            identifier: self.identifier,
            sender: self.sender,
            sender_name: self.sender_name,
            sent: self.sent,
            status: self.status,
            msg_type: self.msg_type,
            references: self.references,
            level: self.level,
            urgency: self.urgency,
            certainty: self.certainty,
            response_types: self.response_types,
            effective: self.effective.unwrap_or(self.sent),
            onset: self.onset,
            expires: self.expires,
            headline: self.headline,
            description: self.description,
            instruction: self.instruction,
            language: self.language.unwrap_or_else(|| "zh-CN".to_owned()),
            translations: self.translations,
            note: self.note,
            web: self.web,
            contact: self.contact,
            areas: self.areas.into_iter().map(KeptArea::into_area).collect(),
            texts: self.texts,
            groups: self.groups,
            part_of: self.part_of,
            carried: self.carried,
        }
    }
}

impl KeptArea {
    fn into_area(self) -> Area {
        let polygon = |rings: Vec<Vec<(f64, f64)>>| Polygon {
            rings: rings.into_iter().map(|ring| ring.into_iter().map(|(lon, lat)| Point { lon, lat }).collect()).collect(),
        };
        let polygons = match self.geometry {
            None => Vec::new(),
            Some(Geometry::Polygon(one)) => vec![polygon(one)],
            Some(Geometry::MultiPolygon(several)) => several.into_iter().map(polygon).collect(),
        };
        let circle = |kept: KeptCircle| Circle { center: Point { lon: kept.center.0, lat: kept.center.1 }, radius_km: kept.radius_km };
        let circles = self.circle.into_iter().chain(self.circles).map(circle).collect();
        Area { name: self.name, codes: self.codes, polygons, circles }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::alert::json::{from_value, to_value};

    /// A document as another version may have kept it, against rules of this one.
    fn kept_against_todays_rules() -> Value {
        json!({
            "identifier": "a b", "sender": "x", "sent": "2026-07-23T10:15:00+08:00", "status": "Actual", "msgType": "Update",
            "event": "X", "level": "red", "urgency": "Soon", "categories": ["Volcano"],
            "effective": "2026-07-23T10:16:00+08:00", "expires": "2026-07-23T09:00:00+08:00",
            "headline": "长".repeat(600), "description": "", "language": "zh-CN", "fieldOfALaterProgram": 1,
            "areas": [{ "geometry": { "type": "Polygon", "coordinates": [[[0.0, 0.0], [1.0, 1.0], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]] } }],
            "texts": { "pigeon": "coo" },
        })
    }

    #[test]
    fn what_breaks_todays_rules_is_read_back_as_it_was_kept() {
        let kept = kept_against_todays_rules();
        let rules: Vec<&str> = from_value(&kept).expect_err("refused from outside").iter().map(|fault| fault.rule).collect();
        assert!(rules.contains(&"polygon-crosses-itself") && rules.contains(&"too-long") && rules.contains(&"bad-value"), "{rules:?}");
        let alert = from_kept(&kept).expect("kept");
        assert_eq!((alert.urgency.as_str(), alert.headline.chars().count(), alert.certainty.as_str()), ("Soon", 600, "Unknown"));
        assert_eq!((alert.areas[0].polygons[0].rings[0].len(), alert.event_name.as_str()), (5, "突发事件"));
        assert_eq!(from_kept(&to_value(&alert)).expect("again"), alert);
    }

    #[test]
    fn a_value_without_the_shape_is_refused_with_the_reason() {
        let mut kept = kept_against_todays_rules();
        kept["sent"] = "yesterday".into();
        assert!(from_kept(&kept).expect_err("no time").to_string().contains("RFC 3339"));
        assert!(from_kept(&Value::Null).is_err());
    }
}
