//! Owns the step from a `Draft` to an `Alert`: required parts, enumerations, lengths, times, references, geometry.
//! Refuses to know documents' syntax, clocks, keys and registries. Invariant: every fault of the draft is named with its place; nothing is guessed silently.

use std::{collections::BTreeMap, time::Duration};

use super::{
    Alert, Area, Carried, Circle, EventCode, Level, MsgType, Polygon, Reference, Status, Translation,
    code::{UNSPECIFIED, category, event_name},
    events, geometry,
    words::{self, TEXT_CHARS_MAX, line, lines},
};
use crate::{
    area::AreaCode,
    fault::{Fault, Faults},
    time::Timestamp,
};

/// Longer ones are no names; CAP sets no limit, databases and provider ids do.
const NAME_BYTES_MAX: usize = 256;
const AREAS_MAX: usize = 1_000;
/// Corners of all areas of one alert: the most detailed real warnings have a few thousand, and each is held against every household.
const CORNERS_MAX: usize = 10_000;
const REFERENCES_MAX: usize = 100;
/// County practice when a warning names no end (12379 generators do the same).
const EXPIRES_AFTER: Duration = Duration::from_secs(24 * 3_600);

/// A document as read, before any of it is believed.
#[derive(Clone, Debug, Default)]
pub(super) struct Draft {
    /// Put before the names of what CAP keeps in `info`; empty for JSON.
    pub(super) info_path: String,
    pub(super) identifier: Option<String>,
    pub(super) sender: Option<String>,
    pub(super) sender_name: String,
    pub(super) sent: Option<Timestamp>,
    pub(super) status: Option<String>,
    pub(super) msg_type: Option<String>,
    pub(super) references: Vec<Reference>,
    pub(super) event: Option<String>,
    pub(super) event_name: String,
    pub(super) level: Option<Level>,
    pub(super) urgency: Option<String>,
    pub(super) certainty: Option<String>,
    pub(super) categories: Vec<String>,
    pub(super) response_types: Vec<String>,
    pub(super) effective: Option<Timestamp>,
    pub(super) onset: Option<Timestamp>,
    pub(super) expires: Option<Timestamp>,
    pub(super) headline: String,
    pub(super) description: String,
    pub(super) instruction: String,
    pub(super) language: String,
    pub(super) translations: Vec<Translation>,
    pub(super) note: String,
    pub(super) web: String,
    pub(super) contact: String,
    pub(super) areas: Vec<DraftArea>,
    pub(super) texts: BTreeMap<String, String>,
    pub(super) groups: Vec<String>,
    pub(super) part_of: String,
    pub(super) carried: Carried,
}

#[derive(Clone, Debug, Default)]
pub(super) struct DraftArea {
    pub(super) path: String,
    pub(super) name: String,
    pub(super) codes: Vec<AreaCode>,
    /// With the path of each.
    pub(super) polygons: Vec<(String, Polygon)>,
    pub(super) circles: Vec<(String, Circle)>,
}

pub(super) const URGENCIES: &[&str] = &["Immediate", "Expected", "Future", "Past", "Unknown"];
pub(super) const CERTAINTIES: &[&str] = &["Observed", "Likely", "Possible", "Unlikely", "Unknown"];
pub(super) const CATEGORIES: &[&str] =
    &["Geo", "Met", "Safety", "Security", "Rescue", "Fire", "Health", "Env", "Transport", "Infra", "CBRNE", "Other"];
pub(super) const RESPONSE_TYPES: &[&str] = &["Shelter", "Evacuate", "Prepare", "Execute", "Avoid", "Monitor", "Assess", "AllClear", "None"];

/// Kinds of channel that a document may bring its own words for.
pub(super) const TEXT_KINDS: &[&str] = &["sms", "email", "speaker", "wechat"];

pub(super) fn check(mut draft: Draft, mut faults: Faults, warnings: &mut Vec<Fault>) -> Result<Alert, Vec<Fault>> {
    words::strip_invisible(&mut draft, warnings);
    words_for_code(&mut draft);
    words::languages(&mut draft, &mut faults, warnings);
    words::chinese_first(&mut draft);
    let info = |name: &str| format!("{}{name}", draft.info_path);
    let identifier = name(&draft.identifier, "identifier", &mut faults);
    let sender = name(&draft.sender, "sender", &mut faults);
    let sent = draft.sent.unwrap_or_default().whole_seconds();
    if draft.sent.is_none() && !faults.has("sent") {
        faults.add("sent", "missing", "must be given");
    }
    if !draft.part_of.is_empty() {
        judge_name(&draft.part_of, "partOf", &mut faults);
    }
    let status = status(&draft, &mut faults);
    let msg_type = msg_type(&draft, &mut faults);
    references(&draft, msg_type, &mut faults);
    let (event, event_words) = event(&draft, &info, &mut faults, warnings);
    if draft.level.is_none() && !faults.has(&info("level")) && !faults.has(&info("severity")) {
        faults.add(info("level"), "missing", "the level of the warning must be given");
    }
    let word = |given: &Option<String>, field: &str, known: &[&str], faults: &mut Faults| match given {
        None => "Unknown".to_owned(),
        Some(word) if known.contains(&word.as_str()) => word.clone(),
        Some(word) => {
            faults.add(info(field), "bad-value", format!("{word:?} is not one of {}", known.join(", ")));
            String::new()
        }
    };
    let urgency = word(&draft.urgency, "urgency", URGENCIES, &mut faults);
    let certainty = word(&draft.certainty, "certainty", CERTAINTIES, &mut faults);
    let effective = draft.effective.unwrap_or(sent).whole_seconds();
    let expires = draft.expires.unwrap_or_else(|| {
        warnings.push(Fault::new(info("expires"), "expires-assumed", "no end is given; 24 hours after the effective time are assumed"));
        effective.plus(EXPIRES_AFTER)
    });
    let expires = expires.whole_seconds();
    // An all-clear is judged by no end of its own: what makes one is `Alert::is_all_clear`.
    let says_over = draft.response_types.iter().any(|word| word == "AllClear") || urgency == "Past";
    let is_all_clear = msg_type == MsgType::Cancel || (msg_type == MsgType::Update && says_over);
    if draft.sent.is_some() && expires <= effective && !is_all_clear {
        faults.add(info("expires"), "ends-before-it-begins", format!("expires {expires} is not after effective {effective}"));
    }
    words::texts(&draft, &info, msg_type, &mut faults, warnings);
    words::translations(&draft, &mut faults);
    words::groups(&draft.groups, &mut faults);
    let carried = draft.carried.checked(&mut faults, warnings);
    let web = words::web(&draft.web, &info("web"), warnings);
    let areas = areas(draft.areas, msg_type, &draft.info_path, &mut faults);
    let categories = if draft.categories.is_empty() { vec![category(&event).to_owned()] } else { draft.categories };
    let level = draft.level.unwrap_or(Level::Blue);
    faults.into_result(Alert {
        identifier,
        sender,
        sender_name: line(&draft.sender_name),
        sent,
        status,
        msg_type,
        references: draft.references.into_iter().map(|one| Reference { sent: one.sent.whole_seconds(), ..one }).collect(),
        event_name: event_words,
        event,
        level,
        urgency,
        certainty,
        categories,
        response_types: draft.response_types,
        effective,
        onset: draft.onset.map(Timestamp::whole_seconds),
        expires,
        headline: line(&draft.headline),
        description: lines(&draft.description),
        instruction: lines(&draft.instruction),
        language: if draft.language.is_empty() { "zh-CN".into() } else { draft.language },
        translations: draft.translations.iter().map(words::tidy).collect(),
        note: lines(&draft.note),
        web,
        contact: line(&draft.contact),
        areas,
        texts: draft.texts.into_iter().map(|(kind, text)| (kind, lines(&text))).collect(),
        groups: draft.groups,
        part_of: draft.part_of,
        carried,
    })
}

/// Identifier and sender: one word without the signs that CAP references and XML are built of.
fn name(given: &Option<String>, field: &str, faults: &mut Faults) -> String {
    let Some(text) = given else {
        if !faults.has(field) {
            faults.add(field, "missing", "must be given");
        }
        return String::new();
    };
    judge_name(text, field, faults);
    text.clone()
}

fn judge_name(text: &str, field: &str, faults: &mut Faults) {
    if text.is_empty() {
        faults.add(field, "missing", "must not be empty");
    } else if text.len() > NAME_BYTES_MAX {
        faults.add(field, "too-long", format!("{} bytes; at most {NAME_BYTES_MAX} are allowed", text.len()));
    } else if text.chars().any(|letter| {
        letter.is_whitespace()
            || letter.is_control()
            || words::is_invisible(letter)
            || matches!(letter, ',' | '<' | '&' | '\u{fffe}' | '\u{ffff}')
    }) {
        faults.add(field, "bad-character", "must hold no blank, comma, < or & (CAP 1.2 section 3.2.1)");
    }
}

fn status(draft: &Draft, faults: &mut Faults) -> Status {
    match draft.status.as_deref() {
        Some("Actual") => return Status::Actual,
        Some("Exercise") => return Status::Exercise,
        Some("System") => return Status::System,
        Some("Test") => return Status::Test,
        Some("Draft") => faults.add("status", "draft", "a draft is not sent; post it as Actual, Exercise or Test"),
        Some(other) => faults.add("status", "bad-value", format!("{other:?} is not one of Actual, Exercise, System, Test")),
        None if faults.has("status") => {}
        None => faults.add("status", "missing", "must be given"),
    }
    Status::Test
}

fn msg_type(draft: &Draft, faults: &mut Faults) -> MsgType {
    match draft.msg_type.as_deref() {
        Some("Alert") => return MsgType::Alert,
        Some("Update") => return MsgType::Update,
        Some("Cancel") => return MsgType::Cancel,
        Some(word @ ("Ack" | "Error")) => {
            faults.add("msgType", "not-a-warning", format!("{word} is an answer between systems, not a warning"))
        }
        Some(other) => faults.add("msgType", "bad-value", format!("{other:?} is not one of Alert, Update, Cancel")),
        None if faults.has("msgType") => {}
        None => faults.add("msgType", "missing", "must be given"),
    }
    MsgType::Alert
}

fn references(draft: &Draft, msg_type: MsgType, faults: &mut Faults) {
    if draft.references.len() > REFERENCES_MAX {
        faults.add("references", "too-many", format!("{} references; at most {REFERENCES_MAX} are read", draft.references.len()));
    }
    for (place, reference) in draft.references.iter().take(REFERENCES_MAX).enumerate() {
        judge_name(&reference.identifier, &format!("references[{place}].identifier"), faults);
        // The alert's own sender is judged where it stands.
        if draft.sender.as_ref() != Some(&reference.sender) && !(draft.sender.is_none() && reference.sender.is_empty()) {
            judge_name(&reference.sender, &format!("references[{place}].sender"), faults);
        }
    }
    let needs = matches!(msg_type, MsgType::Update | MsgType::Cancel);
    if needs && draft.references.is_empty() && !faults.has("references") {
        faults.add("references", "missing", "an Update or Cancel must name the alert that it changes or ends");
    }
}

/// Words that stand where the code should are the words of the event, and held to the rules of words.
fn words_for_code(draft: &mut Draft) {
    let is_words = |text: &str| !text.trim().is_empty() && !text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let is_latin_word = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphabetic()) && !text.is_empty();
    if draft.event_name.trim().is_empty() && draft.event.as_deref().is_some_and(|text| is_words(text) || is_latin_word(text)) {
        draft.event_name = draft.event.take().unwrap_or_default();
    }
}

/// The code, and the words of the event as people read them.
fn event(draft: &Draft, info: &impl Fn(&str) -> String, faults: &mut Faults, warnings: &mut Vec<Fault>) -> (EventCode, String) {
    let unspecified = || EventCode(UNSPECIFIED.to_owned());
    let own = line(&draft.event_name);
    let by_words = |words: &str, warnings: &mut Vec<Fault>| {
        let shown: String = words.chars().take(60).collect();
        // A title may be plainer than the word of the event.
        let Some(understood) = events::understand(words).or_else(|| events::understand(&events::word_of_title(&draft.headline)?)) else {
            let message = format!("{shown:?} stands for no event code known here; {UNSPECIFIED} is used, and its words are told");
            warnings.push(Fault::new(info("event"), "unknown-event-word", message));
            return unspecified();
        };
        let code = understood.code;
        warnings.push(Fault::new(
            info("event"),
            "event-code-assumed",
            format!("no event code is given for {shown:?}; {code} is taken for it"),
        ));
        if !understood.beside.is_empty() {
            let message = format!("{shown:?} names {} too; {code} decides who is told", understood.beside.join(", "));
            warnings.push(Fault::new(info("event"), "several-events", message));
        }
        EventCode(code)
    };
    let is_mistyped = |text: &str| {
        text.trim().is_empty() || text.bytes().all(|byte| byte.is_ascii_alphanumeric()) && text.bytes().any(|byte| byte.is_ascii_digit())
    };
    match draft.event.as_deref() {
        Some(text) => match text.parse::<EventCode>() {
            Ok(event) if own.is_empty() && event.is_unspecified() => {
                let own = events::word_of_title(&draft.headline).unwrap_or_else(|| event_name(&event).to_owned());
                (event, own)
            }
            Ok(event) if own.is_empty() => (event.clone(), event_name(&event).to_owned()),
            Ok(event) => (event, own),
            Err(error) if is_mistyped(text) => {
                faults.add(info("event"), "bad-event", format!("{error}"));
                (unspecified(), own)
            }
            Err(_) => (by_words(text, warnings), own),
        },
        None if !own.is_empty() => (by_words(&own, warnings), own),
        None => {
            if !faults.has(&info("event")) {
                faults.add(info("event"), "missing", "must be given");
            }
            (unspecified(), own)
        }
    }
}

fn areas(drafts: Vec<DraftArea>, msg_type: MsgType, info_path: &str, faults: &mut Faults) -> Vec<Area> {
    if drafts.is_empty() && msg_type != MsgType::Cancel && !faults.has(&format!("{info_path}areas")) {
        faults.add(format!("{info_path}areas"), "missing", "at least one area must be given");
    }
    if drafts.len() > AREAS_MAX {
        faults.add(format!("{info_path}areas"), "too-many", format!("{} areas; at most {AREAS_MAX} are read", drafts.len()));
        return Vec::new();
    }
    let corners = drafts.iter().flat_map(|draft| &draft.polygons).flat_map(|(_, polygon)| &polygon.rings).map(Vec::len).sum::<usize>();
    if corners > CORNERS_MAX {
        faults.add(
            format!("{info_path}areas"),
            "too-many-points",
            format!("{corners} points in all areas; at most {CORNERS_MAX} are read"),
        );
        return Vec::new();
    }
    let mut areas = Vec::with_capacity(drafts.len());
    for draft in drafts {
        if draft.name.chars().count() > TEXT_CHARS_MAX {
            faults.add(format!("{}.name", draft.path), "too-long", format!("more than {TEXT_CHARS_MAX} characters"));
        }
        words::control_characters(&line(&draft.name), &format!("{}.name", draft.path), false, faults);
        for (path, polygon) in &draft.polygons {
            geometry::judge_polygon(polygon, path, faults);
        }
        for (path, circle) in &draft.circles {
            geometry::judge_circle(circle, path, faults);
        }
        areas.push(Area {
            name: line(&draft.name),
            codes: draft.codes,
            polygons: draft.polygons.into_iter().map(|(_, polygon)| polygon).collect(),
            circles: draft.circles.into_iter().map(|(_, circle)| circle).collect(),
        });
    }
    areas
}
