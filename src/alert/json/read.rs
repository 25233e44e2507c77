//! Owns the strict reading of a JSON alert (contract §2.1) into a draft. Refuses to know what makes a draft wrong.
//! Invariant: every field that cannot be read is named with its path; none is passed over.

use std::collections::BTreeMap;

use serde::Deserialize as _;
use serde_json::{Map, Value};

use super::object::Object;
use crate::{
    alert::{
        Alert, Carried, Circle, Level, Point, Polygon, Reference, Translation,
        check::{CATEGORIES, Draft, DraftArea, RESPONSE_TYPES, TEXT_KINDS, check},
        words,
    },
    area::AreaCode,
    fault::{Fault, Faults},
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
    "groups",
    "scope",
    "partOf",
    "carried",
];
const AREA: &[&str] = &["name", "codes", "geometry", "circle", "circles"];

pub(in crate::alert) fn read(value: &Value, warnings: &mut Vec<Fault>) -> Result<Alert, Vec<Fault>> {
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
        groups: object.texts("groups"),
        part_of: object.text("partOf").unwrap_or_default(),
        carried: carried(object),
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

fn carried(object: &mut Object<'_>) -> Carried {
    let Some(value) = object.present("carried") else { return Carried::default() };
    match Carried::deserialize(value) {
        Ok(carried) => carried,
        Err(error) => {
            object.fault("carried", "wrong-type", error.to_string());
            Carried::default()
        }
    }
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
        for code in words::split_codes(&text) {
            match code.parse::<AreaCode>() {
                Ok(code) => codes.push(code),
                Err(error) => object.fault(&format!("codes[{place}]"), "bad-code", error.to_string()),
            }
        }
        if words::split_codes(&text).next().is_none() {
            object.fault(&format!("codes[{place}]"), "bad-code", "must be a division code of 2, 4, 6, 9 or 12 digits");
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
            let said = other.unwrap_or("nothing").chars().take(60).collect::<String>();
            let message = format!(
                "{said} is neither Polygon nor MultiPolygon; for a place and its surroundings give a circle, with center and radius_km"
            );
            object.fault("type", "bad-geometry", message);
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

/// Areas alone, as a document of another form may carry them.
pub(in crate::alert) fn read_areas(value: &Value) -> Option<Vec<DraftArea>> {
    let mut faults = Faults::default();
    let map: Map<String, Value> = [("areas".to_owned(), value.clone())].into_iter().collect();
    let areas = Object { map: &map, path: String::new(), faults: &mut faults }.each("areas", read_area);
    faults.is_empty().then_some(areas)
}
