//! Owns the choice of words: what a reader is told on an occasion, handed to the form that fits it into its limits.
//! Refuses to know channels, clocks and storage; pure. Invariant: within the form's limits for any input; a drill says so first.

use std::borrow::Cow;

pub use super::event::in_chinese as event_in_chinese;
use super::{Form, letter, outside, post, short, speech};
use crate::{
    alert::{Alert, Level, event_name},
    time::Timestamp,
};

/// Who reads it, as far as the text depends on it.
pub struct Reader<'a> {
    pub name: &'a str,
    pub role: &'a str,
    pub area_name: &'a str,
    /// BCP 47; English where the alert has it, else Chinese.
    pub language: &'a str,
    pub shelter: Option<Shelter<'a>>,
    pub answer: Option<Ask<'a>>,
}

/// The hazard point that the reader lives at: where to go, and by what signal.
#[derive(Clone, Copy)]
pub struct Shelter<'a> {
    pub hazard_point: &'a str,
    pub alarm_signal: &'a str,
    pub route: &'a str,
    pub place: &'a str,
}

/// An answer that is asked of the reader.
#[derive(Clone, Copy)]
pub struct Ask<'a> {
    pub url: Option<&'a str>,
    pub due: Timestamp,
}

pub enum Occasion {
    Warning,
    /// The reader had the earlier alert and is still inside.
    Change {
        before: Option<Level>,
    },
    /// The reader had the earlier alert and is no longer inside.
    Gone {
        ended: Vec<Ended>,
    },
    AllClear {
        ended: Vec<Ended>,
    },
    /// Asked because another did not answer.
    OnBehalf {
        silent_person: String,
        their_area: String,
    },
}

/// What this reader was warned of, and is over; where none is known the alert's own event and level are said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    pub event: String,
    /// Empty where the warning had none.
    pub event_in_english: String,
    pub level: Level,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rendered {
    /// Empty where the form has none.
    pub subject: String,
    pub text: String,
}

/// `own_text` is what the alert itself wants this kind of channel to say; it stays marked, signed and limited.
pub fn render(alert: &Alert, reader: &Reader<'_>, occasion: &Occasion, form: &Form, own_text: Option<&str>) -> Rendered {
    let is_drill = alert.status.is_drill();
    let signature = if let Form::Short { signature, .. } = form { signature.as_str() } else { "" };
    let (alert, own_text) = (outside::alert(alert), own_text.map(outside::seen));
    let own_text = own_text.as_deref().map(|text| outside::own_words(text, signature, is_drill));
    let said = Said::of(&alert, reader, occasion, own_text);
    let rendered = in_form(&said, form);
    // The last door: whatever a form was made of, nothing unseen and no signature of another leaves.
    let sealed = |text: &str, signature: &str| outside::sealed(text, signature, is_drill);
    Rendered { subject: sealed(&rendered.subject, ""), text: sealed(&rendered.text, signature) }
}

fn in_form(said: &Said<'_>, form: &Form) -> Rendered {
    match form {
        Form::Short { one_part, part, parts_max, signature, replies } => {
            let limits = short::Limits { one_part: *one_part, part: *part, parts_max: *parts_max, replies: *replies };
            Rendered { subject: String::new(), text: short::text(said, limits, signature) }
        }
        Form::Speech { units_max } => Rendered { subject: String::new(), text: speech::text(said, usize::from(*units_max)) },
        Form::Letter => letter::rendered(said),
        Form::Post { bytes_max, markdown } => {
            Rendered { subject: String::new(), text: post::text(said, usize::try_from(*bytes_max).unwrap_or(usize::MAX), *markdown) }
        }
    }
}

/// What is to be said, in the reader's language, before any form has cut it.
pub(super) struct Said<'a> {
    pub(super) alert: &'a Alert,
    pub(super) reader: &'a Reader<'a>,
    pub(super) english: bool,
    /// `【演练】` or nothing.
    pub(super) drill: &'static str,
    /// `暴雨红色预警`, `解除暴雨红色预警`.
    pub(super) what: String,
    /// Set before everything else: why this reader is told now.
    pub(super) why: String,
    pub(super) headline: &'a str,
    pub(super) description: &'a str,
    pub(super) instruction: &'a str,
    pub(super) until: String,
    pub(super) is_over: bool,
    pub(super) own_text: Option<&'a str>,
}

impl<'a> Said<'a> {
    fn of(alert: &'a Alert, reader: &'a Reader<'a>, occasion: &Occasion, own_text: Option<&'a str>) -> Self {
        let translation = alert.translations.iter().find(|other| other.language.starts_with("en") && reader.language.starts_with("en"));
        let english = translation.is_some() || (reader.language.starts_with("en") && alert.language.starts_with("en"));
        let ended = match occasion {
            Occasion::Gone { ended } | Occasion::AllClear { ended } => Some(ended.as_slice()),
            Occasion::Warning | Occasion::Change { .. } | Occasion::OnBehalf { .. } => None,
        };
        let is_over = ended.is_some() || alert.is_all_clear();
        let event = match translation {
            Some(translation) if !translation.event.is_empty() => Cow::Borrowed(translation.event.as_str()),
            _ if !english => event_in_chinese(alert),
            _ if alert.event_name.is_empty() => Cow::Borrowed(event_name(&alert.event)),
            _ => Cow::Borrowed(alert.event_name.as_str()),
        };
        Self {
            alert,
            reader,
            english,
            drill: match (alert.status.is_drill(), english) {
                (false, _) => "",
                (true, false) => "【演练】",
                (true, true) => "[DRILL] ",
            },
            what: match ended {
                Some(ended) if !ended.is_empty() => what_ended(ended, english),
                _ => what(&event, alert.level, is_over, english),
            },
            why: why(occasion, alert.level, english),
            headline: translation.map_or(&alert.headline, |other| &other.headline),
            description: translation.map_or(&alert.description, |other| &other.description),
            instruction: translation.map_or(&alert.instruction, |other| &other.instruction),
            until: if english {
                alert.expires.format("%d %b %H:%M")
            } else {
                alert.expires.format("%-d日%-H时%-M分").replace("时0分", "时")
            },
            is_over,
            own_text: own_text.filter(|text| !text.trim().is_empty()),
        }
    }

    /// Shelter to go to; nobody is sent anywhere when it is over.
    pub(super) fn shelter(&self) -> Option<&Shelter<'a>> {
        self.reader.shelter.as_ref().filter(|shelter| !(self.is_over || shelter.place.is_empty() && shelter.route.is_empty()))
    }

    pub(super) fn issuer(&self) -> &'a str {
        if self.alert.sender_name.is_empty() { &self.alert.sender } else { &self.alert.sender_name }
    }

    /// Where, behind what: `：擂鼓镇擂鼓村`, or nothing.
    pub(super) fn place(&self) -> String {
        match (self.reader.area_name, self.english) {
            ("", _) => String::new(),
            (place, true) => format!(": {place}"),
            (place, false) => format!("\u{ff1a}{place}"),
        }
    }

    /// Names of the areas, as the issuer has them.
    pub(super) fn areas(&self) -> String {
        let names: Vec<&str> = self.alert.areas.iter().map(|area| area.name.as_str()).filter(|name| !name.is_empty()).collect();
        names.join(if self.english { ", " } else { "、" })
    }
}

/// `暴雨` and red make `暴雨红色预警`; an event that names its colour already is not coloured twice.
fn what(event: &str, level: Level, is_over: bool, english: bool) -> String {
    if english {
        let end = if is_over { "All clear: " } else { "" };
        return format!("{end}{} {event} warning", level.name().to_uppercase());
    }
    let bare = event.trim_end_matches("预警").trim_end_matches("事件");
    let colour = if bare.contains(level.chinese()) { "" } else { level.chinese() };
    format!("{}{bare}{colour}预警", if is_over { "解除" } else { "" })
}

/// Several that end together are named one after the other, the worst first.
fn what_ended(ended: &[Ended], english: bool) -> String {
    let named = ended.iter().map(|one| {
        let event = if english && !one.event_in_english.is_empty() { &one.event_in_english } else { &one.event };
        what(event, one.level, false, english)
    });
    let named: Vec<String> = named.collect();
    if english { format!("All clear: {}", named.join(", ")) } else { format!("解除{}", named.join("、")) }
}

fn why(occasion: &Occasion, now: Level, english: bool) -> String {
    match (occasion, english) {
        (Occasion::Warning | Occasion::AllClear { .. }, _) => String::new(),
        (Occasion::Change { before: Some(before) }, false) if *before != now => format!("{}变更为{}：", before.chinese(), now.chinese()),
        (Occasion::Change { .. }, false) => "更新：".to_owned(),
        (Occasion::Change { before: Some(before) }, true) if *before != now => {
            format!("Changed from {} to {}: ", before.name(), now.name())
        }
        (Occasion::Change { .. }, true) => "Update: ".to_owned(),
        (Occasion::Gone { .. }, false) => "您处已不在预警范围：".to_owned(),
        (Occasion::Gone { .. }, true) => "You are no longer in the area: ".to_owned(),
        (Occasion::OnBehalf { silent_person, their_area }, false) => format!("{their_area}{silent_person}未应答，请您落实："),
        (Occasion::OnBehalf { silent_person, their_area }, true) => format!("{silent_person} of {their_area} did not answer, please act: "),
    }
}

/// Cuts at the last end of a clause that fits, else at a character; never inside one.
pub(super) fn cut_units(text: &str, units: usize) -> &str {
    cut(text, units, char::len_utf16)
}

pub(super) fn cut_bytes(text: &str, bytes: usize) -> &str {
    cut(text, bytes, char::len_utf8)
}

fn cut(text: &str, most: usize, size: fn(char) -> usize) -> &str {
    let (mut used, mut clause, mut hard) = (0, 0, 0);
    for (place, letter) in text.char_indices() {
        used += size(letter);
        if used > most {
            // A clause that is less than a third of the room says too little to be preferred.
            let good = clause * 3 >= hard;
            return text[..if good && clause > 0 { clause } else { hard }].trim_end_matches([',', '\u{ff0c}', '、', ';', '\u{ff1b}', ' ']);
        }
        hard = place + letter.len_utf8();
        if matches!(letter, '。' | ';' | '\u{ff1b}' | ',' | '\u{ff0c}' | '!' | '\u{ff01}' | '.' | '?' | '\u{ff1f}' | '\n') {
            clause = hard;
        }
    }
    text
}

pub(super) fn units(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum()
}

/// Addresses of the web with a blank at either end: telephones take the Chinese behind one into the link.
pub(super) fn links_apart(text: &str) -> String {
    let mut apart = String::with_capacity(text.len() + 2);
    let mut rest = text;
    while let Some(start) = ["http://", "https://"].iter().filter_map(|head| rest.find(head)).min() {
        let (before, link) = rest.split_at(start);
        let end = link.find(|letter: char| !letter.is_ascii_graphic()).unwrap_or(link.len());
        apart.push_str(before);
        if before.chars().next_back().is_some_and(|last| !last.is_whitespace()) {
            apart.push(' ');
        }
        apart.push_str(&link[..end]);
        rest = &link[end..];
        if rest.chars().next().is_some_and(|next| !next.is_whitespace()) {
            apart.push(' ');
        }
    }
    apart.push_str(rest);
    apart
}

/// The text on one line: line ends and runs of blanks are one blank, or none between Chinese characters.
pub(super) fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        let joins = line.chars().last().is_some_and(|last| last.is_ascii()) && word.starts_with(|first: char| first.is_ascii());
        if joins {
            line.push(' ');
        }
        line.push_str(word);
    }
    line
}
