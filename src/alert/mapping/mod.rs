//! Owns reading warnings out of the JSON answers of public interfaces, by a mapping that is written in TOML and not in code.
//! Refuses to know how answers are fetched, and where a source's areas lie beyond what it or the mapping says.
//! Invariant: what the mapping has no word for is a fault of that entry, and never keeps the others from being read.

mod entry;
mod field;
mod strength;
mod times;

use std::collections::BTreeMap;

use serde_json::Value;
use toml::Table;

use self::{
    field::{Field, Tables, at},
    strength::Strength,
    times::Times,
};
use super::{
    Point, json,
    reading::{Format, Limits, Reading},
};
use crate::{
    area::AreaCode,
    fault::{Fault, Faults},
    keys::Keys,
};

/// Mappings that come with the program: name and text. A county may write its own after them.
pub const BUILT_IN: &[(&str, &str)] = &[
    ("qweather", include_str!("../../../config/mappings/qweather.toml")),
    ("qweather_v7", include_str!("../../../config/mappings/qweather_v7.toml")),
    ("nmc", include_str!("../../../config/mappings/nmc.toml")),
    ("cma", include_str!("../../../config/mappings/cma.toml")),
    ("nmc_rows", include_str!("../../../config/mappings/nmc_rows.toml")),
    ("weathercn", include_str!("../../../config/mappings/weathercn.toml")),
    ("usgs", include_str!("../../../config/mappings/usgs.toml")),
    ("cenc", include_str!("../../../config/mappings/cenc.toml")),
];

/// Entries of one answer; an interface lists the warnings of one place or one page.
const ENTRIES_MAX: usize = 2_000;
/// Fields of an alert (contract §2.1) that a mapping may fill.
const FIELDS: &[&str] = &[
    "identifier",
    "sender",
    "senderName",
    "sent",
    "status",
    "msgType",
    "event",
    "eventName",
    "level",
    "urgency",
    "certainty",
    "effective",
    "onset",
    "expires",
    "headline",
    "description",
    "instruction",
    "language",
    "note",
    "web",
    "contact",
];

/// Where in an answer the warnings stand, and what each of their fields is.
#[derive(Clone, Debug)]
pub struct Mapping {
    alerts: Vec<String>,
    success: Option<(String, Vec<String>)>,
    times: Times,
    fields: BTreeMap<&'static str, Field>,
    references: Option<Field>,
    reference_time: Option<Field>,
    update_without_reference: bool,
    area_codes: Vec<AreaCode>,
    area_code: Option<Field>,
    area_name: Option<Field>,
    /// Middle and radius in kilometres of the circle that an entry is about.
    circle: Option<Round>,
    strength: Option<Strength>,
    /// Where an entry says whether it is meant, and the words for that; others are passed over in silence.
    only: Vec<(Field, Vec<String>)>,
    /// One object may stand in the place of the list.
    single: bool,
    /// The answer is a script around the value.
    script: bool,
    tables: Tables,
}

#[derive(Clone, Debug)]
struct Round {
    lat: Field,
    lon: Field,
    radius_km: f64,
}

impl Mapping {
    /// Reads a mapping; every fault is named with its key path.
    pub fn parse(text: &str) -> Result<Self, Vec<Fault>> {
        let table: Table = text.parse().map_err(|error: toml::de::Error| vec![Fault::new("", "not-toml", error.message().to_owned())])?;
        let mut keys = Keys::read("", &table);
        let mut faults = Faults::default();
        let tables = tables(&mut keys, &mut faults);
        let offset = keys.text("offset").unwrap_or_else(|| "+08:00".into());
        let forms = keys.texts("times");
        for (place, form) in forms.iter().enumerate().filter(|(_, form)| !Times::is_form(form)) {
            keys.fault(
                &format!("times[{place}]"),
                "bad-time-form",
                format!("{form:?} is neither rfc3339, unix, unix_ms nor a pattern of date and time"),
            );
        }
        let times = Times::new(forms, &offset).unwrap_or_else(|| {
            keys.fault("offset", "bad-value", format!("{offset:?} is not an offset such as +08:00"));
            Times::default()
        });
        let alerts = keys.texts("alerts");
        if alerts.is_empty() {
            keys.fault("alerts", "missing", "must name where the list of warnings stands; \"\" is the answer itself");
        }
        let mut mapping = Self {
            alerts,
            success: success(&mut keys, &mut faults),
            times,
            fields: BTreeMap::new(),
            references: None,
            reference_time: None,
            update_without_reference: false,
            area_codes: Vec::new(),
            area_code: None,
            area_name: None,
            circle: None,
            strength: None,
            only: Vec::new(),
            single: keys.flag("single", false),
            script: keys.flag("script", false),
            tables,
        };
        mapping.strength = keys.table("strength").and_then(|table| kept(Strength::parse(table, &mapping.tables), &mut faults));
        mapping.read_only(&mut keys, &mut faults);
        mapping.read_fields(&mut keys, &mut faults);
        mapping.read_references(&mut keys, &mut faults);
        mapping.read_areas(&mut keys, &mut faults);
        keys.add_faults(faults.into_list());
        keys.finish(mapping)
    }

    /// The mapping of this name that comes with the program.
    pub fn built_in(name: &str) -> Option<Self> {
        let (_, text) = BUILT_IN.iter().find(|(known, _)| *known == name)?;
        Self::parse(text).ok()
    }

    /// The same for an interface that is asked about known areas: what an entry is about when it does not say so itself.
    #[must_use]
    pub fn for_areas(mut self, codes: Vec<AreaCode>) -> Self {
        self.area_codes = codes;
        self
    }

    /// The same with one sender for every entry, for an interface that passes on the warnings of others.
    #[must_use]
    pub fn for_sender(mut self, sender: &str) -> Self {
        self.fields.insert("sender", Field::fixed(sender));
        self
    }

    /// The same for a county that lies there: distances of `[strength]` are taken from it, unless the mapping says from where.
    #[must_use]
    pub fn for_place(mut self, here: Point) -> Self {
        if let Some(strength) = &mut self.strength {
            strength.here = strength.here.or(Some(here));
        }
        self
    }

    /// Whether it must be told where the county lies.
    pub fn needs_place(&self) -> bool {
        self.strength.as_ref().is_some_and(|strength| strength.here.is_none())
    }

    fn read_only(&mut self, keys: &mut Keys<'_>, faults: &mut Faults) {
        for (name, value) in keys.table("only").into_iter().flatten() {
            let path = format!("only.{name}");
            let Some(table) = value.as_table() else {
                faults.add(path, "wrong-type", "must be a table with path and words");
                continue;
            };
            let mut below = Keys::read(path.clone(), table);
            let words = below.texts("words");
            if words.is_empty() {
                below.fault("words", "missing", "must name the words of what is meant");
            }
            kept(below.leave(&["path"]).finish(()), faults);
            let place: Table = table.iter().filter(|(key, _)| *key == "path").map(|(key, value)| (key.clone(), value.clone())).collect();
            self.only.extend(kept(Field::parse(path, &place, &self.tables), faults).map(|field| (field, words)));
        }
    }

    fn read_fields(&mut self, keys: &mut Keys<'_>, faults: &mut Faults) {
        let Some(table) = keys.table("fields") else {
            keys.fault("fields", "missing", "must name where the fields of a warning stand");
            return;
        };
        let mut below = Keys::read("fields", table);
        for name in FIELDS {
            let Some(table) = below.table(name) else { continue };
            let field = Field::parse(format!("fields.{name}"), table, &self.tables);
            self.fields.extend(kept(field, faults).map(|field| (*name, field)));
        }
        for name in ["identifier", "sender", "sent", "status", "msgType", "level"] {
            let is_elsewhere = name == "level" && keys.has("strength");
            if !below.has(name) && !is_elsewhere {
                below.fault(name, "missing", "must be given: no warning is whole without it");
            }
        }
        kept(below.finish(()), faults);
    }

    fn read_references(&mut self, keys: &mut Keys<'_>, faults: &mut Faults) {
        let Some(table) = keys.table("references") else { return };
        let mut below = Keys::read("references", table);
        self.update_without_reference = below.flag("update_without", false);
        let field = |below: &mut Keys<'_>, name: &'static str, tables: &Tables, faults: &mut Faults| {
            below.table(name).and_then(|table| kept(Field::parse(format!("references.{name}"), table, tables), faults))
        };
        self.references = field(&mut below, "identifier", &self.tables, faults);
        self.reference_time = field(&mut below, "sent", &self.tables, faults);
        kept(below.finish(()), faults);
    }

    fn read_areas(&mut self, keys: &mut Keys<'_>, faults: &mut Faults) {
        let Some(table) = keys.table("areas") else { return };
        let mut below = Keys::read("areas", table);
        self.area_codes = below.parsed("codes");
        for name in ["code", "name"] {
            let field = below.table(name).and_then(|table| kept(Field::parse(format!("areas.{name}"), table, &self.tables), faults));
            if name == "code" { self.area_code = field } else { self.area_name = field }
        }
        let mut field = |name: &'static str| {
            below.table(name).and_then(|table| kept(Field::parse(format!("areas.{name}"), table, &self.tables), faults))
        };
        let (lat, lon) = (field("lat"), field("lon"));
        let radius = table.get("radius_km").map(|radius| strength::as_number(radius).unwrap_or(f64::NAN));
        match (lat, lon, radius) {
            (Some(lat), Some(lon), _) if self.strength.is_some() => self.circle = Some(Round { lat, lon, radius_km: 0.0 }),
            (Some(lat), Some(lon), Some(radius_km)) if radius_km.is_finite() => self.circle = Some(Round { lat, lon, radius_km }),
            (None, None, None) => {}
            _ => below.fault("radius_km", "missing", "a circle needs lat and lon, and a radius in kilometres unless [strength] gives it"),
        }
        let below = below.leave(&["radius_km"]);
        kept(below.finish(()), faults);
    }

    /// Every warning of one answer, each judged like an alert that came in by itself; the outer faults are those of the answer.
    pub fn read(&self, bytes: &[u8], limits: &Limits) -> Result<Vec<Reading>, Vec<Fault>> {
        if bytes.len() > limits.bytes_max {
            let message = format!("{} bytes; at most {} are read", bytes.len(), limits.bytes_max);
            return Err(vec![Fault::new("", "too-large", message)]);
        }
        let bytes = if self.script { bare(bytes) } else { bytes };
        let value = json::parse(bytes, None, limits)?;
        if let Some((path, words)) = &self.success {
            // Some answers are the bare list.
            let said = at(&value, path).map(|value| value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned));
            if let Some(said) = said.filter(|said| !words.contains(said)) {
                let shown: String = said.chars().take(60).collect();
                return Err(vec![Fault::new(path, "not-an-answer", format!("the interface says {shown:?}, not {}", words.join(" or ")))]);
            }
        }
        let found = self.alerts.iter().find_map(|path| match at(&value, path)? {
            Value::Array(list) => Some((path, list.as_slice())),
            one @ Value::Object(_) if self.single => Some((path, std::slice::from_ref(one))),
            _ => None,
        });
        let Some((path, list)) = found else {
            return Err(vec![Fault::new("", "no-list", format!("there is no list of warnings at {:?}", self.alerts.join(", ")))]);
        };
        if list.len() > ENTRIES_MAX {
            let message = format!("{} entries; at most {ENTRIES_MAX} are read", list.len());
            return Err(vec![Fault::new(path, "too-many-entries", message)]);
        }
        Ok(list.iter().enumerate().filter_map(|(place, entry)| self.read_entry(entry, &format!("{path}[{place}]"))).collect())
    }

    /// `None` for what the mapping passes over.
    fn read_entry(&self, entry: &Value, path: &str) -> Option<Reading> {
        let is_meant = |(field, words): &(Field, Vec<String>)| {
            field.read(entry, &self.tables).ok().flatten().is_some_and(|said| words.contains(&said))
        };
        if !self.only.iter().all(is_meant) {
            return None;
        }
        let mut warnings = Vec::new();
        let outcome = entry::read(self, entry, &mut warnings).transpose()?;
        let placed = |faults: Vec<Fault>| faults.into_iter().map(|fault| place(fault, path)).collect::<Vec<_>>();
        Some(Reading::of_one(Some(Format::Json), outcome.map_err(placed), placed(warnings)))
    }
}

/// What stands between the first opening bracket of a script and its last closing one.
fn bare(bytes: &[u8]) -> &[u8] {
    let from = bytes.iter().position(|byte| matches!(byte, b'{' | b'['));
    let to = bytes.iter().rposition(|byte| matches!(byte, b'}' | b']'));
    from.zip(to).and_then(|(from, to)| bytes.get(from..=to)).unwrap_or(bytes)
}

fn place(mut fault: Fault, path: &str) -> Fault {
    fault.path = if fault.path.is_empty() { path.to_owned() } else { format!("{path}.{}", fault.path) };
    fault
}

fn kept<T>(outcome: Result<T, Vec<Fault>>, faults: &mut Faults) -> Option<T> {
    outcome.map_err(|list| faults.extend(list)).ok()
}

fn tables(keys: &mut Keys<'_>, faults: &mut Faults) -> Tables {
    let mut tables = Tables::new();
    for (name, value) in keys.table("tables").into_iter().flatten() {
        let Some(table) = value.as_table() else {
            faults.add(format!("tables.{name}"), "wrong-type", "must be a table of words");
            continue;
        };
        let mut words = BTreeMap::new();
        for (word, meaning) in table {
            match meaning.as_str() {
                Some(meaning) => drop(words.insert(word.clone(), meaning.to_owned())),
                None => faults.add(format!("tables.{name}.{word}"), "wrong-type", "must be a text"),
            }
        }
        tables.insert(name.clone(), words);
    }
    tables
}

fn success(keys: &mut Keys<'_>, faults: &mut Faults) -> Option<(String, Vec<String>)> {
    let mut below = Keys::read("success", keys.table("success")?);
    let success = (below.required("path"), below.texts("words"));
    if success.1.is_empty() {
        below.fault("words", "missing", "must name the words of a good answer");
    }
    kept(below.finish(success), faults)
}

#[cfg(test)]
mod form_tests;
#[cfg(test)]
mod tests;
