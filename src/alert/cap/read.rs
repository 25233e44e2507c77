//! Owns reading a CAP document into a draft: section 3 rules, codes, levels, areas, languages.
//! Refuses to know transport. Invariant: 1.2 is held to the schema; of 1.1 and 1.0 a breach is a warning, as long as the alert is whole.

use roxmltree::Node;

use super::{
    carry,
    meanings::{self, Meaning},
    node::{child, child_text, children, text},
    schema,
};
use crate::{
    alert::{
        Alert, Circle, Level, Point, Polygon, Reference, Translation,
        check::{CATEGORIES, CERTAINTIES, Draft, DraftArea, RESPONSE_TYPES, URGENCIES, check},
        code, json,
        reading::{Format, Vocabulary},
        words,
    },
    fault::{FAULTS_MAX, Fault, Faults},
    time::Timestamp,
};

/// Parameters that carry what CAP has no element for.
pub(super) const TEXT_PARAMETER: &str = "lastmile:text:";
pub(super) const GROUP_PARAMETER: &str = "lastmile:group";
pub(super) const PART_PARAMETER: &str = "lastmile:part-of";
pub(super) const AREAS_PARAMETER: &str = "lastmile:areas";
/// Things that one document may say; each becomes an alert, all in one commit. Real ones say under ten.
const MEANINGS_MAX: usize = 50;
const SCOPES: &[&str] = &["Public", "Restricted", "Private"];
const SEVERITIES: &[&str] = &["Extreme", "Severe", "Moderate", "Minor", "Unknown"];

/// What a document says, each with the info where it stands.
type Said = Vec<(String, Alert)>;

pub(super) fn read(root: &Node<'_, '_>, format: Format, vocabulary: &Vocabulary, warnings: &mut Vec<Fault>) -> Result<Said, Vec<Fault>> {
    let mut faults = Faults::default();
    let mut schema_faults = Faults::default();
    schema::judge(root, &mut schema_faults);
    if format == Format::Cap12 {
        faults.extend(schema_faults.into_list());
    } else {
        warnings.push(Fault::new("", "older-cap", format!("{} is read leniently", format.name())));
        warnings.extend(schema_faults.into_list());
    }
    if root.descendants().any(|node| node.tag_name().namespace() == Some(schema::XMLDSIG)) {
        warnings.push(Fault::new("Signature", "signature-not-verified", "the XML signature was not verified"));
    }
    let mut reader = Reading { strict: format == Format::Cap12, vocabulary, faults, warnings };
    let drafts = reader.drafts(root);
    let Reading { faults, .. } = reader;
    checked(drafts, &faults.into_list(), warnings)
}

/// Judges each thing that a document says; a fault of one is a fault of the document, and what all share is said once.
fn checked(drafts: Vec<Draft>, known: &[Fault], warnings: &mut Vec<Fault>) -> Result<Said, Vec<Fault>> {
    let (mut said, mut found) = (Vec::with_capacity(drafts.len()), known.to_vec());
    for draft in drafts {
        let place = draft.info_path.trim_end_matches('.').to_owned();
        let (mut faults, mut more) = (Faults::default(), Vec::new());
        faults.extend(known.iter().cloned());
        match check(draft, faults, &mut more) {
            Ok(alert) => said.push((place, alert)),
            Err(faults) => add_new(&mut found, faults),
        }
        add_new(warnings, more);
    }
    if found.is_empty() { Ok(said) } else { Err(found) }
}

fn add_new(list: &mut Vec<Fault>, more: Vec<Fault>) {
    for fault in more {
        if !list.contains(&fault) && list.len() < FAULTS_MAX {
            list.push(fault);
        }
    }
}

struct Reading<'a> {
    strict: bool,
    vocabulary: &'a Vocabulary,
    faults: Faults,
    warnings: &'a mut Vec<Fault>,
}

impl Reading<'_> {
    /// One draft for each thing that the document says.
    fn drafts(&mut self, root: &Node<'_, '_>) -> Vec<Draft> {
        self.scope(root);
        let infos: Vec<Node<'_, '_>> = children(root, "info").collect();
        let mut base = Draft {
            identifier: child_text(root, "identifier"),
            sender: child_text(root, "sender"),
            sent: self.time(root, "", "sent"),
            status: child_text(root, "status"),
            msg_type: child_text(root, "msgType"),
            references: self.references(root),
            note: child_text(root, "note").unwrap_or_default(),
            ..Draft::default()
        };
        carry::of_alert(root, &mut base.carried);
        self.warnings.extend(carry::left_out(root));
        for (number, info) in infos.iter().enumerate() {
            self.enumerations(info, number);
        }
        let meanings = meanings::meanings(&infos);
        if meanings.is_empty() {
            return vec![self.without_info(base)];
        }
        if meanings.len() > MEANINGS_MAX {
            let message = format!("the document says {} different things; at most {MEANINGS_MAX} are read", meanings.len());
            self.faults.add("info", "too-many-meanings", message);
        }
        let is_one = meanings.len() == 1;
        meanings.iter().take(MEANINGS_MAX).map(|meaning| self.meaning(&infos, meaning, is_one, base.clone())).collect()
    }

    fn meaning(&mut self, infos: &[Node<'_, '_>], meaning: &Meaning, is_one: bool, mut draft: Draft) -> Draft {
        let first = meaning.first;
        draft.info_path = format!("info[{first}].");
        draft.language = meanings::language(&infos[first]);
        self.info(&infos[first], first, &mut draft);
        for &number in &meaning.same {
            draft.areas.extend(self.areas(&infos[number], number));
        }
        // Areas of other languages are judged too, though those of the first count.
        for number in meaning.others.iter().chain(&meaning.again).filter(|number| !meaning.same.contains(number)) {
            drop(self.areas(&infos[*number], *number));
        }
        for &number in &meaning.others {
            let word = |name| child_text(&infos[number], name).unwrap_or_default();
            draft.translations.push(Translation {
                language: meanings::language(&infos[number]),
                event: word("event"),
                headline: word("headline"),
                description: word("description"),
                instruction: word("instruction"),
            });
        }
        for number in &meaning.again {
            let message = format!("says the same as info[{first}] in other words; those of the first are used");
            self.warnings.push(Fault::new(format!("info[{number}]"), "several-infos", message));
        }
        if !is_one {
            let message = "the document says several things; this one becomes an alert of its own, with its own areas, level and words";
            self.warnings.push(Fault::new(format!("info[{first}]"), "several-infos", message));
        }
        draft
    }

    /// An all-clear may come without an info block; a warning that says nothing is none.
    fn without_info(&mut self, mut draft: Draft) -> Draft {
        draft.info_path = "info.".into();
        let is_cancel = draft.msg_type.as_deref() == Some("Cancel");
        if is_cancel {
            draft.event_name = "预警".into();
            draft.event = Some(code::UNSPECIFIED.to_owned());
            draft.level = Some(Level::Blue);
            draft.expires = draft.sent.map(|sent| sent.plus(std::time::Duration::from_secs(24 * 3_600)));
            self.warnings.push(Fault::new(
                "info",
                "no-info",
                "the cancel has no info; level and event are those of the alert that it ends",
            ));
        } else if !matches!(draft.msg_type.as_deref(), Some("Ack" | "Error")) {
            self.faults.add("info", "missing", "a warning needs at least one info");
        }
        draft
    }

    fn scope(&mut self, root: &Node<'_, '_>) {
        match child_text(root, "scope").as_deref() {
            Some("Public") | None => {}
            Some(scope) if SCOPES.contains(&scope) => {
                let needs = if scope == "Private" { "addresses" } else { "restriction" };
                if child_text(root, needs).is_none_or(|text| text.is_empty()) {
                    self.faults.add(needs, "missing", format!("must be given when the scope is {scope} (CAP 1.2 section 3.2.1)"));
                }
                self.faults.add("scope", "not-public", format!("{scope}: only public warnings are passed on"));
            }
            Some(other) => self.faults.add("scope", "bad-value", format!("{other:?} is not one of {}", SCOPES.join(", "))),
        }
    }

    fn enumerations(&mut self, info: &Node<'_, '_>, number: usize) {
        let mut judge = |name: &'static str, known: &[&str]| {
            for node in children(info, name) {
                let word = text(&node);
                let word = word.trim();
                if !known.contains(&word) {
                    let fault =
                        Fault::new(format!("info[{number}].{name}"), "bad-value", format!("{word:?} is not one of {}", known.join(", ")));
                    // CAP 1.1 and 1.0 knew other words ("Very Likely").
                    if self.strict { self.faults.push(fault) } else { self.warnings.push(fault) }
                }
            }
        };
        judge("category", CATEGORIES);
        judge("responseType", RESPONSE_TYPES);
        judge("severity", SEVERITIES);
        judge("urgency", URGENCIES);
        judge("certainty", CERTAINTIES);
        for name in ["effective", "onset", "expires"] {
            self.time(info, &format!("info[{number}]."), name);
        }
    }

    fn info(&mut self, info: &Node<'_, '_>, number: usize, draft: &mut Draft) {
        let path = format!("info[{number}].");
        let known = |name: &'static str, words: &[&str]| child_text(info, name).filter(|word| words.contains(&word.as_str()));
        draft.event_name = child_text(info, "event").unwrap_or_default();
        draft.event = self.event_code(info);
        draft.level = self.level(info, &path);
        draft.urgency = known("urgency", URGENCIES);
        draft.certainty = known("certainty", CERTAINTIES);
        let words = |name: &'static str, words: &[&str]| {
            let found = children(info, name).map(|node| text(&node).trim().to_owned());
            found.filter(|word| words.contains(&word.as_str())).collect::<Vec<String>>()
        };
        draft.categories = words("category", CATEGORIES);
        draft.response_types = words("responseType", RESPONSE_TYPES);
        draft.effective = self.parsed_time(info, "effective");
        draft.onset = self.parsed_time(info, "onset");
        draft.expires = self.parsed_time(info, "expires");
        draft.sender_name = one_line(child_text(info, "senderName"));
        draft.headline = one_line(child_text(info, "headline"));
        draft.description = child_text(info, "description").unwrap_or_default();
        draft.instruction = child_text(info, "instruction").unwrap_or_default();
        draft.web = one_line(child_text(info, "web"));
        draft.contact = one_line(child_text(info, "contact"));
        for parameter in children(info, "parameter") {
            let (Some(name), Some(value)) = (child_text(&parameter, "valueName"), child(&parameter, "value")) else { continue };
            if let Some(kind) = name.strip_prefix(TEXT_PARAMETER) {
                draft.texts.insert(kind.to_owned(), text(&value));
            } else if name == PART_PARAMETER {
                draft.part_of = text(&value).trim().to_owned();
            } else if name == GROUP_PARAMETER {
                draft.groups.push(text(&value).trim().to_owned());
            }
        }
        carry::of_info(info, self.vocabulary, draft.event.as_deref(), &mut draft.carried);
        draft.areas = self.areas(info, number);
    }

    fn event_code(&mut self, info: &Node<'_, '_>) -> Option<String> {
        let codes: Vec<(String, String)> =
            children(info, "eventCode").filter_map(|node| Some((child_text(&node, "valueName")?, child_text(&node, "value")?))).collect();
        let named = codes.iter().find(|(name, value)| self.vocabulary.event_value_names.contains(name) && code::is_code(value));
        let shaped = codes.iter().find(|(_, value)| code::is_code(value));
        named.or(shaped).map(|(_, value)| value.clone())
    }

    /// By severity; where that is unknown, by MeteoAlarm's awareness level or the colour in the headline.
    fn level(&mut self, info: &Node<'_, '_>, path: &str) -> Option<Level> {
        let severity = child_text(info, "severity").unwrap_or_default();
        if let Some(level) = Level::ALL.into_iter().find(|level| level.severity() == severity) {
            return Some(level);
        }
        let awareness = children(info, "parameter")
            .filter(|node| child_text(node, "valueName").as_deref() == Some("awareness_level"))
            .find_map(|node| child_text(&node, "value"))
            .unwrap_or_default();
        let headline = one_line(child_text(info, "headline"));
        let by_colour = Level::ALL.into_iter().find(|level| awareness.contains(level.name()) || headline.contains(level.chinese()));
        let (level, how) = by_colour.map_or((Level::Blue, "nothing names a colour: blue is assumed"), |level| {
            (level, "the level is taken from the colour that is named")
        });
        if severity == "Unknown" {
            self.warnings.push(Fault::new(format!("{path}severity"), "level-assumed", how));
            return Some(level);
        }
        by_colour
    }

    fn areas(&mut self, info: &Node<'_, '_>, number: usize) -> Vec<DraftArea> {
        if let Some(areas) = own_areas(info) {
            return areas;
        }
        children(info, "area").enumerate().map(|(place, area)| self.area(&area, format!("info[{number}].area[{place}]"))).collect()
    }

    fn area(&mut self, area: &Node<'_, '_>, path: String) -> DraftArea {
        let mut draft = DraftArea { name: child_text(area, "areaDesc").unwrap_or_default(), ..DraftArea::default() };
        for (place, polygon) in children(area, "polygon").enumerate() {
            let path = format!("{path}.polygon[{place}]");
            let points = text(&polygon);
            if points.trim().is_empty() {
                // Seen in real feeds; the schema allows it and the other parts of the area stand.
                self.warnings.push(Fault::new(path, "polygon-empty", "the polygon has no points"));
                continue;
            }
            match pairs(&points) {
                Some(ring) => draft.polygons.push((path, Polygon { rings: vec![ring] })),
                None => self.faults.add(path, "bad-geometry", "must be pairs of latitude,longitude with blanks between them"),
            }
        }
        for (place, node) in children(area, "circle").enumerate() {
            let path = format!("{path}.circle[{place}]");
            match circle(&text(&node)) {
                Some(circle) => draft.circles.push((path, circle)),
                None => self.faults.add(path, "bad-geometry", "must be latitude,longitude, a blank and a radius in kilometres"),
            }
        }
        for (place, geocode) in children(area, "geocode").enumerate() {
            let (Some(name), Some(value)) = (child_text(&geocode, "valueName"), child_text(&geocode, "value")) else { continue };
            let path = format!("{path}.geocode[{place}]");
            if !self.vocabulary.area_value_names.contains(&name) {
                self.warnings.push(Fault::new(path, "unknown-geocode", format!("codes named {name:?} are not division codes here")));
                continue;
            }
            words::add_codes(&value, &path, &mut draft.codes, &mut self.faults, self.warnings);
        }
        if child(area, "ceiling").is_some() && child(area, "altitude").is_none() {
            self.faults.add(format!("{path}.ceiling"), "ceiling-without-altitude", "a ceiling needs an altitude (CAP 1.2 section 3.2.4)");
        }
        draft.path = path;
        draft
    }

    fn references(&mut self, root: &Node<'_, '_>) -> Vec<Reference> {
        let Some(text) = child_text(root, "references") else { return Vec::new() };
        let mut references = Vec::new();
        for (place, triple) in text.split_whitespace().enumerate() {
            let parts: Vec<&str> = triple.split(',').collect();
            let read = match parts.as_slice() {
                [sender, identifier, sent] if !sender.is_empty() && !identifier.is_empty() => self
                    .lenient_time(sent)
                    .map(|sent| Reference { sender: (*sender).to_owned(), identifier: (*identifier).to_owned(), sent }),
                _ => None,
            };
            match read {
                Some(reference) => references.push(reference),
                None => {
                    let fault = Fault::new(format!("references[{place}]"), "bad-reference", "must be sender,identifier,sent");
                    if self.strict { self.faults.push(fault) } else { self.warnings.push(fault) }
                }
            }
        }
        references
    }

    /// A time that is checked where it stands.
    fn time(&mut self, node: &Node<'_, '_>, path: &str, name: &'static str) -> Option<Timestamp> {
        let text = child_text(node, name)?;
        if self.strict && !has_cap_form(&text) {
            self.faults.add(
                format!("{path}{name}"),
                "bad-time",
                format!("{text:?} is not of the form 2026-07-23T10:15:00+08:00 (CAP 1.2 section 3.3.2)"),
            );
            return None;
        }
        let time = self.lenient_time(&text);
        if time.is_none() {
            self.faults.add(format!("{path}{name}"), "bad-time", format!("{text:?} is not a time"));
        }
        time
    }

    fn parsed_time(&self, node: &Node<'_, '_>, name: &'static str) -> Option<Timestamp> {
        child_text(node, name).and_then(|text| self.lenient_time(&text))
    }

    fn lenient_time(&self, text: &str) -> Option<Timestamp> {
        Timestamp::from_document(text).ok()
    }
}

/// White space of a document's layout is one blank: what is one line stays one line.
fn one_line(text: Option<String>) -> String {
    text.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The areas as this gateway wrote them, when CAP alone could not say them (polygons with holes).
fn own_areas(info: &Node<'_, '_>) -> Option<Vec<DraftArea>> {
    let kept = children(info, "parameter").find(|node| child_text(node, "valueName").as_deref() == Some(AREAS_PARAMETER))?;
    let value = serde_json::from_str(&child_text(&kept, "value")?).ok()?;
    json::read_areas(&value)
}

/// `YYYY-MM-DDThh:mm:ss±hh:mm`, 25 characters, no fraction and no Z.
fn has_cap_form(text: &str) -> bool {
    let shape = b"dddd-dd-ddTdd:dd:dd+dd:dd";
    let fits = |(byte, form): (u8, u8)| match form {
        b'd' => byte.is_ascii_digit(),
        b'+' => matches!(byte, b'+' | b'-'),
        other => byte == other,
    };
    text.len() == shape.len() && text.bytes().zip(shape.iter().copied()).all(fits)
}

/// `lat,lon lat,lon …`
pub(in crate::alert) fn pairs(text: &str) -> Option<Vec<Point>> {
    text.split_whitespace().map(pair).collect()
}

fn pair(text: &str) -> Option<Point> {
    let (lat, lon) = text.split_once(',')?;
    let number = |text: &str| text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
    Some(Point { lat: number(lat)?, lon: number(lon)? })
}

fn circle(text: &str) -> Option<Circle> {
    let mut parts = text.split_whitespace();
    let (center, radius) = (pair(parts.next()?)?, parts.next()?.parse::<f64>().ok()?);
    (parts.next().is_none() && radius.is_finite()).then_some(Circle { center, radius_km: radius })
}
