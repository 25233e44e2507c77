//! Owns turning one entry of an answer into a draft and having it judged. Refuses to know the answer around it.
//! Invariant: what an entry says of itself goes before what the mapping says of all.

use serde_json::Value;

use super::{Mapping, field::Field, strength::Felt};
use crate::{
    alert::{
        Alert, Circle, Level, Point, Reference,
        check::{Draft, DraftArea, check},
        cn12379::compact_time,
        code::UNSPECIFIED,
        events, words,
    },
    area::AreaCode,
    fault::{Fault, Faults},
    time::Timestamp,
};

/// `None` for what is of no concern here: too weak, or too far away.
pub(super) fn read(mapping: &Mapping, entry: &Value, warnings: &mut Vec<Fault>) -> Result<Option<Alert>, Vec<Fault>> {
    let mut faults = Faults::default();
    if !(entry.is_object() || entry.is_array()) {
        faults.add("", "wrong-type", "a warning is a JSON object, or a row of values");
        return Err(faults.into_list());
    }
    let mut entry = Entry { mapping, entry, felt: None, circle: None, faults: &mut faults, warnings };
    entry.circle = entry.place();
    if let (Some(strength), Some(circle)) = (&mapping.strength, &entry.circle) {
        match strength.felt(entry.entry, circle.center, &mapping.tables) {
            Ok(None) => return Ok(None),
            Ok(felt) => entry.felt = felt,
            Err(fault) => entry.faults.push(fault),
        }
    }
    let draft = entry.draft();
    check(draft, faults, warnings).map(Some)
}

struct Entry<'a> {
    mapping: &'a Mapping,
    entry: &'a Value,
    felt: Option<Felt>,
    circle: Option<Circle>,
    faults: &'a mut Faults,
    warnings: &'a mut Vec<Fault>,
}

impl Entry<'_> {
    fn draft(&mut self) -> Draft {
        let msg_type = self.text("msgType");
        let mut draft = Draft {
            info_path: String::new(),
            identifier: self.text("identifier"),
            sender: self.text("sender"),
            sender_name: self.line("senderName"),
            sent: self.time("sent"),
            status: self.text("status"),
            references: self.references(),
            event: self.text("event"),
            event_name: self.line("eventName"),
            level: self.level(),
            urgency: self.text("urgency"),
            certainty: self.text("certainty"),
            effective: self.time("effective"),
            onset: self.time("onset"),
            expires: self.time("expires"),
            headline: self.line("headline"),
            description: self.text("description").unwrap_or_default(),
            instruction: self.text("instruction").unwrap_or_default(),
            language: self.text("language").unwrap_or_default(),
            note: self.text("note").unwrap_or_default(),
            web: self.line("web"),
            contact: self.line("contact"),
            areas: self.areas(),
            msg_type,
            ..Draft::default()
        };
        // An interface may have no field for the event: its title names it.
        if draft.event.as_deref().is_none_or(|code| code == UNSPECIFIED) && draft.event_name.is_empty() {
            draft.event_name = events::word_of_title(&draft.headline).unwrap_or_else(|| draft.headline.clone());
            draft.event = None;
        } else if draft.event_name.is_empty() {
            draft.event_name = events::word_of_title(&draft.headline).unwrap_or_default();
        }
        // A first warning comes without any; the word of the source stands in the text.
        if draft.msg_type.as_deref() == Some("Update") && draft.references.is_empty() && self.mapping.update_without_reference {
            self.warn(
                "references",
                "update-without-reference",
                "the update does not name what it changes; it is taken as a warning of its own",
            );
            draft.msg_type = Some("Alert".into());
        }
        if draft.msg_type.as_deref() == Some("Alert") {
            draft.references.clear();
        }
        // A sender is named for its references, so it is not complained of again there.
        let sender = draft.sender.clone().unwrap_or_default();
        draft.references.iter_mut().for_each(|reference| reference.sender.clone_from(&sender));
        draft
    }

    fn warn(&mut self, path: &str, rule: &'static str, message: &str) {
        self.warnings.push(Fault::new(path, rule, message));
    }

    fn text(&mut self, name: &'static str) -> Option<String> {
        let field = self.mapping.fields.get(name)?;
        match field.read(self.entry, &self.mapping.tables) {
            Ok(text) => text,
            Err(fault) => {
                // Under the name of the alert's field, so that it is not also missing; the place is in the words.
                let rule = match (name, fault.rule) {
                    ("level", "not-in-table") => "bad-level",
                    ("event", "not-in-table") => "bad-event",
                    (_, rule) => rule,
                };
                self.faults.add(name, rule, format!("{}: {}", fault.path, fault.message));
                None
            }
        }
    }

    fn line(&mut self, name: &'static str) -> String {
        self.text(name).unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
    }

    fn time(&mut self, name: &'static str) -> Option<Timestamp> {
        let text = self.text(name)?;
        let time = self.mapping.times.read(&text);
        if time.is_none() {
            let shown: String = text.chars().take(60).collect();
            self.faults.add(name, "bad-time", format!("{shown:?} is not of the form {}", self.mapping.times.forms()));
        }
        time
    }

    /// The middle of the circle that it is about, with the radius that the mapping gives to all.
    fn place(&mut self) -> Option<Circle> {
        let round = self.mapping.circle.as_ref()?;
        let mut number = |field: &Field, most: f64| {
            let read = field.read(self.entry, &self.mapping.tables);
            let number = read.ok().flatten().and_then(|text| text.parse::<f64>().ok()).filter(|number| number.abs() <= most);
            if number.is_none() {
                self.faults.add("areas", "bad-geometry", "the entry has no longitude and latitude in degrees");
            }
            number
        };
        let (lat, lon) = (number(&round.lat, 90.0), number(&round.lon, 180.0));
        Some(Circle { center: Point { lon: lon?, lat: lat? }, radius_km: round.radius_km })
    }

    fn level(&mut self) -> Option<Level> {
        if let Some(felt) = self.felt {
            return Some(felt.level);
        }
        let word = self.text("level")?;
        let level = Level::ALL.into_iter().find(|level| level.name() == word);
        if level.is_none() {
            let shown: String = word.chars().take(60).collect();
            self.faults.add("level", "bad-level", format!("{shown:?} is not red, orange, yellow or blue"));
        }
        level
    }

    fn references(&mut self) -> Vec<Reference> {
        let Some(field) = &self.mapping.references else { return Vec::new() };
        let identifiers = match field.read_list(self.entry, &self.mapping.tables) {
            Ok(list) => list,
            Err(fault) => {
                self.faults.push(Fault { path: "references".into(), ..fault });
                return Vec::new();
            }
        };
        let mut references = Vec::with_capacity(identifiers.len());
        for (place, identifier) in identifiers.into_iter().enumerate() {
            let sent = self.mapping.reference_time.as_ref().and_then(|field| compact_time(&field.cut(&identifier)));
            if sent.is_none() {
                self.warn(
                    &format!("references[{place}]"),
                    "reference-without-time",
                    "the identifier names no time; it is matched by itself",
                );
            }
            references.push(Reference { sender: String::new(), identifier, sent: sent.unwrap_or_default() });
        }
        references
    }

    /// Codes that the entry names, else those of the mapping.
    fn areas(&mut self) -> Vec<DraftArea> {
        if let Some(mut circle) = self.circle.take() {
            circle.radius_km = self.felt.map_or(circle.radius_km, |felt| felt.radius_km);
            let circles = vec![("areas[0].circle".to_owned(), circle)];
            return vec![DraftArea { path: "areas[0]".into(), name: self.area_name(), circles, ..DraftArea::default() }];
        }
        if self.mapping.circle.is_some() {
            return Vec::new();
        }
        let said = self.mapping.area_code.as_ref().map(|field| field.read_list(self.entry, &self.mapping.tables));
        let said = said.unwrap_or(Ok(Vec::new())).unwrap_or_else(|fault| {
            self.faults.push(Fault { path: "areas".into(), ..fault });
            Vec::new()
        });
        let mut codes = Vec::with_capacity(said.len());
        for (place, text) in said.iter().flat_map(|text| words::split_codes(text)).enumerate() {
            match text.parse::<AreaCode>() {
                Ok(code) => codes.push(code),
                Err(error) => self.faults.add(format!("areas[{place}]"), "bad-code", error.to_string()),
            }
        }
        if codes.is_empty() {
            codes.clone_from(&self.mapping.area_codes);
        }
        if codes.is_empty() {
            return Vec::new();
        }
        vec![DraftArea { path: "areas[0]".into(), name: self.area_name(), codes, ..DraftArea::default() }]
    }

    fn area_name(&self) -> String {
        let field = self.mapping.area_name.as_ref();
        field.and_then(|field| field.read(self.entry, &self.mapping.tables).ok().flatten()).unwrap_or_default()
    }
}
