//! Owns the normalised form of an alert: what is kept, shown and compared. Refuses to know who reads it.
//! Invariant: every field of an alert is in it; a field that older programs did not write is only there when it says something.

use serde_json::{Value, json};

use crate::alert::{Alert, Area, Circle, Point, Polygon};

pub(in crate::alert) fn areas_value(areas: &[Area]) -> Value {
    areas.iter().map(area_value).collect()
}

/// The normalised form: every field of contract §2.1, and those that it leaves optional where they say something.
pub fn to_value(alert: &Alert) -> Value {
    let mut value = json!({
        "identifier": alert.identifier,
        "sender": alert.sender,
        "senderName": alert.sender_name,
        "sent": alert.sent,
        "status": alert.status,
        "msgType": alert.msg_type,
        "references": alert.references,
        "event": alert.event,
        "eventName": alert.event_name,
        "level": alert.level,
        "urgency": alert.urgency,
        "certainty": alert.certainty,
        "categories": alert.categories,
        "effective": alert.effective,
        "onset": alert.onset,
        "expires": alert.expires,
        "headline": alert.headline,
        "description": alert.description,
        "instruction": alert.instruction,
        "language": alert.language,
        "areas": alert.areas.iter().map(area_value).collect::<Vec<_>>(),
        "texts": alert.texts,
    });
    let mut add = |name: &str, says: bool, optional: Value| {
        if says && let Some(map) = value.as_object_mut() {
            map.insert(name.to_owned(), optional);
        }
    };
    add("responseTypes", !alert.response_types.is_empty(), json!(alert.response_types));
    add("translations", !alert.translations.is_empty(), json!(alert.translations));
    add("note", !alert.note.is_empty(), json!(alert.note));
    add("web", !alert.web.is_empty(), json!(alert.web));
    add("contact", !alert.contact.is_empty(), json!(alert.contact));
    add("groups", !alert.groups.is_empty(), json!(alert.groups));
    add("partOf", !alert.part_of.is_empty(), json!(alert.part_of));
    add("carried", !alert.carried.is_empty(), json!(alert.carried));
    value
}

fn area_value(area: &Area) -> Value {
    let ring = |ring: &Vec<Point>| ring.iter().map(|point| json!([point.lon, point.lat])).collect::<Vec<_>>();
    let rings = |polygon: &Polygon| polygon.rings.iter().map(ring).collect::<Vec<_>>();
    let circle = |circle: &Circle| json!({ "center": [circle.center.lon, circle.center.lat], "radius_km": circle.radius_km });
    let mut value = json!({ "name": area.name, "codes": area.codes });
    let Some(map) = value.as_object_mut() else { return value };
    match area.polygons.as_slice() {
        [] => {}
        [one] => {
            map.insert("geometry".into(), json!({ "type": "Polygon", "coordinates": rings(one) }));
        }
        several => {
            let all: Vec<_> = several.iter().map(rings).collect();
            map.insert("geometry".into(), json!({ "type": "MultiPolygon", "coordinates": all }));
        }
    }
    match area.circles.as_slice() {
        [] => {}
        [one] => {
            map.insert("circle".into(), circle(one));
        }
        several => {
            map.insert("circles".into(), several.iter().map(circle).collect());
        }
    }
    value
}
