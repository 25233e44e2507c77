//! Owns the JSON form of an alert (contract §2.1): strict reading with every fault at its path, and the normalised form that is kept and shown.
//! Refuses to know CAP. Invariant: what `to_value` writes, `from_value` reads back to the same alert, every field of it.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{
    Alert, Circle, Level, Point, Polygon, Reference, Translation,
    check::{CATEGORIES, Draft, DraftArea, RESPONSE_TYPES, TEXT_KINDS, check},
};
use crate::{
    area::AreaCode,
    fault::{Fault, Faults},
    time::Timestamp,
};

const TOP: &[&str] = &[
    "identifier",
    "sender",
    "senderName",
    "sent",
    "status",
    "msgType",
    "references",
    "event",
    "eventName",
    "level",
    "urgency",
    "certainty",
    "categories",
    "responseTypes",
    "effective",
    "onset",
    "expires",
    "headline",
    "description",
    "instruction",
    "language",
    "translations",
    "note",
    "web",
    "contact",
    "areas",
    "texts",
    "scope",
];
const AREA: &[&str] = &["name", "codes", "geometry", "circle", "circles"];

/// Reads an alert back from its normalised form.
pub fn from_value(value: &Value) -> Result<Alert, Vec<Fault>> {
    read(value, &mut Vec::new())
}

pub(super) fn read(value: &Value, warnings: &mut Vec<Fault>) -> Result<Alert, Vec<Fault>> {
    let mut faults = Faults::default();
    let Some(map) = value.as_object() else {
        faults.add("", "wrong-type", "an alert is a JSON object");
        return Err(faults.into_list());
    };
    let mut object = Object { map, path: String::new(), faults: &mut faults };
    object.only(TOP);
    let draft = draft(&mut object);
    check(draft, faults, warnings)
}

fn draft(object: &mut Object<'_>) -> Draft {
    if object.text("scope").is_some_and(|scope| scope != "Public") {
        object.fault("scope", "bad-value", "only Public warnings are passed on");
    }
    Draft {
        info_path: String::new(),
        identifier: object.text("identifier"),
        sender: object.text("sender"),
        sender_name: object.text("senderName").unwrap_or_default(),
        sent: object.time("sent"),
        status: object.text("status"),
        msg_type: object.text("msgType"),
        references: object.each("references", read_reference).into_iter().flatten().collect(),
        event: object.text("event"),
        event_name: object.text("eventName").unwrap_or_default(),
        level: level(object),
        urgency: object.text("urgency"),
        certainty: object.text("certainty"),
        categories: object.words("categories", CATEGORIES),
        response_types: object.words("responseTypes", RESPONSE_TYPES),
        effective: object.time("effective"),
        onset: object.time("onset"),
        expires: object.time("expires"),
        headline: object.text("headline").unwrap_or_default(),
        description: object.text("description").unwrap_or_default(),
        instruction: object.text("instruction").unwrap_or_default(),
        language: object.text("language").unwrap_or_default(),
        translations: object.each("translations", read_translation),
        note: object.text("note").unwrap_or_default(),
        web: object.text("web").unwrap_or_default(),
        contact: object.text("contact").unwrap_or_default(),
        areas: object.each("areas", read_area),
        texts: texts(object),
    }
}

fn level(object: &mut Object<'_>) -> Option<Level> {
    let word = object.text("level")?;
    let level = Level::ALL.into_iter().find(|level| level.name() == word);
    if level.is_none() {
        object.fault("level", "bad-level", format!("{word:?} is not red, orange, yellow or blue"));
    }
    level
}

fn texts(object: &mut Object<'_>) -> BTreeMap<String, String> {
    let mut texts = BTreeMap::new();
    if let Some(mut below) = object.object("texts") {
        below.only(TEXT_KINDS);
        for kind in TEXT_KINDS {
            texts.extend(below.text(kind).map(|text| ((*kind).to_owned(), text)));
        }
    }
    texts
}

fn read_reference(object: &mut Object<'_>) -> Option<Reference> {
    object.only(&["sender", "identifier", "sent"]);
    let (sender, identifier, sent) = (object.required("sender"), object.required("identifier"), object.time("sent"));
    if sent.is_none() && !object.map.contains_key("sent") {
        object.fault("sent", "missing", "must be given");
    }
    Some(Reference { sender: sender?, identifier: identifier?, sent: sent? })
}

fn read_translation(object: &mut Object<'_>) -> Translation {
    object.only(&["language", "event", "headline", "description", "instruction"]);
    Translation {
        language: object.required("language").unwrap_or_default(),
        event: object.text("event").unwrap_or_default(),
        headline: object.text("headline").unwrap_or_default(),
        description: object.text("description").unwrap_or_default(),
        instruction: object.text("instruction").unwrap_or_default(),
    }
}

fn read_area(object: &mut Object<'_>) -> DraftArea {
    object.only(AREA);
    let mut codes = Vec::new();
    for (place, text) in object.texts("codes").into_iter().enumerate() {
        match text.parse::<AreaCode>() {
            Ok(code) => codes.push(code),
            Err(error) => object.fault(&format!("codes[{place}]"), "bad-code", error.to_string()),
        }
    }
    let polygons = object.object("geometry").map(|mut geometry| read_geometry(&mut geometry)).unwrap_or_default();
    let mut circles: Vec<(String, Circle)> =
        object.object("circle").and_then(|mut circle| placed_circle(&mut circle)).into_iter().collect();
    circles.extend(object.each("circles", placed_circle).into_iter().flatten());
    if codes.is_empty()
        && polygons.is_empty()
        && circles.is_empty()
        && !object.map.contains_key("codes")
        && !object.map.contains_key("geometry")
    {
        object.fault("", "area-without-place", "an area needs codes, a geometry or a circle");
    }
    DraftArea { path: object.path.clone(), name: object.text("name").unwrap_or_default(), codes, polygons, circles }
}

/// GeoJSON Polygon or MultiPolygon, longitude first.
fn read_geometry(object: &mut Object<'_>) -> Vec<(String, Polygon)> {
    object.only(&["type", "coordinates"]);
    let path = object.path_of("coordinates");
    let coordinates = object.map.get("coordinates").cloned().unwrap_or(Value::Null);
    let read = match object.text("type").as_deref() {
        Some("Polygon") => rings(&coordinates).map(|polygon| vec![(path, polygon)]),
        Some("MultiPolygon") => coordinates.as_array().and_then(|list| {
            let each = list.iter().enumerate().map(|(place, rings_of)| Some((format!("{path}[{place}]"), rings(rings_of)?)));
            each.collect::<Option<Vec<_>>>()
        }),
        other => {
            object.fault("type", "bad-geometry", format!("{other:?} is neither Polygon nor MultiPolygon"));
            return Vec::new();
        }
    };
    read.unwrap_or_else(|| {
        object.fault("coordinates", "bad-geometry", "must be rings of [longitude, latitude] pairs");
        Vec::new()
    })
}

fn rings(value: &Value) -> Option<Polygon> {
    let ring = |value: &Value| value.as_array()?.iter().map(point).collect::<Option<Vec<Point>>>();
    Some(Polygon { rings: value.as_array()?.iter().map(ring).collect::<Option<Vec<_>>>()? })
}

fn point(value: &Value) -> Option<Point> {
    let pair = value.as_array().filter(|pair| pair.len() == 2 || pair.len() == 3)?;
    Some(Point { lon: pair[0].as_f64()?, lat: pair[1].as_f64()? })
}

fn placed_circle(object: &mut Object<'_>) -> Option<(String, Circle)> {
    Some((object.path.clone(), read_circle(object)?))
}

fn read_circle(object: &mut Object<'_>) -> Option<Circle> {
    object.only(&["center", "radius_km"]);
    let center = object.map.get("center").and_then(point);
    if center.is_none() {
        object.fault("center", "bad-geometry", "must be [longitude, latitude]");
    }
    let radius_km = object.map.get("radius_km").and_then(Value::as_f64);
    if radius_km.is_none() {
        object.fault("radius_km", "wrong-type", "must be a number of kilometres");
    }
    Some(Circle { center: center?, radius_km: radius_km? })
}

/// One JSON object, and where it stands.
struct Object<'a> {
    map: &'a Map<String, Value>,
    path: String,
    faults: &'a mut Faults,
}

impl<'a> Object<'a> {
    fn path_of(&self, name: &str) -> String {
        match (self.path.is_empty(), name.is_empty()) {
            (true, _) => name.to_owned(),
            (false, true) => self.path.clone(),
            (false, false) => format!("{}.{name}", self.path),
        }
    }

    fn fault(&mut self, name: &str, rule: &'static str, message: impl Into<String>) {
        let path = self.path_of(name);
        self.faults.add(path, rule, message);
    }

    fn only(&mut self, names: &[&str]) {
        let unknown: Vec<String> = self.map.keys().filter(|name| !names.contains(&name.as_str())).cloned().collect();
        for name in unknown {
            let shown: String = name.chars().take(60).collect();
            self.fault(&shown, "unknown-field", "is not a field of an alert");
        }
    }

    fn present(&self, name: &str) -> Option<&'a Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }

    fn text(&mut self, name: &str) -> Option<String> {
        match self.present(name)? {
            Value::String(text) => Some(text.clone()),
            other => {
                let message = format!("must be a text, not {}", type_name(other));
                self.fault(name, "wrong-type", message);
                None
            }
        }
    }

    fn required(&mut self, name: &str) -> Option<String> {
        let text = self.text(name);
        if text.is_none() && self.present(name).is_none() {
            self.fault(name, "missing", "must be given");
        }
        text
    }

    fn time(&mut self, name: &str) -> Option<Timestamp> {
        let text = self.text(name)?;
        match text.parse() {
            Ok(time) => Some(time),
            Err(error) => {
                let message = format!("{error}");
                self.fault(name, "bad-time", message);
                None
            }
        }
    }

    fn list(&mut self, name: &str) -> &'a [Value] {
        match self.present(name) {
            None => &[],
            Some(Value::Array(list)) => list,
            Some(other) => {
                let message = format!("must be a list, not {}", type_name(other));
                self.fault(name, "wrong-type", message);
                &[]
            }
        }
    }

    fn texts(&mut self, name: &str) -> Vec<String> {
        let mut texts = Vec::new();
        for (place, value) in self.list(name).iter().enumerate() {
            match value {
                Value::String(text) => texts.push(text.clone()),
                other => self.fault(&format!("{name}[{place}]"), "wrong-type", format!("must be a text, not {}", type_name(other))),
            }
        }
        texts
    }

    fn words(&mut self, name: &str, known: &[&str]) -> Vec<String> {
        let words = self.texts(name);
        for (place, word) in words.iter().enumerate() {
            if !known.contains(&word.as_str()) {
                self.fault(&format!("{name}[{place}]"), "bad-value", format!("{word:?} is not one of {}", known.join(", ")));
            }
        }
        words
    }

    fn object(&mut self, name: &str) -> Option<Object<'_>> {
        match self.present(name)? {
            Value::Object(map) => Some(Object { map, path: self.path_of(name), faults: self.faults }),
            other => {
                let message = format!("must be an object, not {}", type_name(other));
                self.fault(name, "wrong-type", message);
                None
            }
        }
    }

    /// The objects of a list, each read by `read`.
    fn each<T>(&mut self, name: &str, mut read: impl FnMut(&mut Object<'_>) -> T) -> Vec<T> {
        let mut list = Vec::new();
        for (place, value) in self.list(name).iter().enumerate() {
            let path = format!("{}[{place}]", self.path_of(name));
            match value {
                Value::Object(map) => list.push(read(&mut Object { map, path, faults: self.faults })),
                other => self.faults.add(path, "wrong-type", format!("must be an object, not {}", type_name(other))),
            }
        }
        list
    }
}

const fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Areas alone, as a document of another form may carry them.
pub(super) fn read_areas(value: &Value) -> Option<Vec<DraftArea>> {
    let mut faults = Faults::default();
    let map: Map<String, Value> = [("areas".to_owned(), value.clone())].into_iter().collect();
    let areas = Object { map: &map, path: String::new(), faults: &mut faults }.each("areas", read_area);
    faults.is_empty().then_some(areas)
}

pub(super) fn areas_value(areas: &[super::Area]) -> Value {
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
    value
}

fn area_value(area: &super::Area) -> Value {
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
