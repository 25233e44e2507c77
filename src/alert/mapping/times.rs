//! Owns the forms in which a source writes times. Refuses to know which field a time is of.
//! Invariant: a time without an offset is read in the offset that the mapping states, never in that of this machine.

use jiff::{civil::DateTime, tz::Offset};

use crate::time::Timestamp;

/// `rfc3339`, `unix` (seconds), `unix_ms`, or a `strptime` pattern without offset (`%Y/%m/%d %H:%M`).
#[derive(Clone, Debug)]
pub(super) struct Times {
    forms: Vec<String>,
    offset: Offset,
}

impl Default for Times {
    /// Beijing, as all of these interfaces mean where they say nothing.
    fn default() -> Self {
        Self { forms: vec!["rfc3339".into()], offset: Offset::constant(8) }
    }
}

impl Times {
    pub(super) fn new(forms: Vec<String>, offset: &str) -> Option<Self> {
        let forms = if forms.is_empty() { Self::default().forms } else { forms };
        Some(Self { forms, offset: parse_offset(offset)? })
    }

    /// Whether a form could ever read a time.
    pub(super) fn is_form(form: &str) -> bool {
        matches!(form, "rfc3339" | "unix" | "unix_ms")
            || DateTime::constant(2026, 7, 23, 10, 15, 0, 0).to_string_form(form).is_some_and(|text| DateTime::strptime(form, text).is_ok())
    }

    pub(super) fn read(&self, text: &str) -> Option<Timestamp> {
        self.forms.iter().find_map(|form| match form.as_str() {
            "rfc3339" => Timestamp::from_document(text).ok(),
            "unix" => text.parse::<i64>().ok()?.checked_mul(1_000).map(Timestamp::from_ms),
            "unix_ms" => text.parse().ok().map(Timestamp::from_ms),
            pattern => self.civil(pattern, text),
        })
    }

    fn civil(&self, pattern: &str, text: &str) -> Option<Timestamp> {
        let instant = self.offset.to_timestamp(DateTime::strptime(pattern, text).ok()?).ok()?;
        Some(Timestamp::from_ms(instant.as_millisecond()))
    }

    pub(super) fn forms(&self) -> String {
        self.forms.join(", ")
    }
}

trait Formed {
    fn to_string_form(&self, form: &str) -> Option<String>;
}

impl Formed for DateTime {
    fn to_string_form(&self, form: &str) -> Option<String> {
        let mut text = String::new();
        jiff::fmt::strtime::BrokenDownTime::from(*self).format(form, &mut text).ok()?;
        Some(text)
    }
}

/// `+08:00`
fn parse_offset(text: &str) -> Option<Offset> {
    let (sign, rest) = match text.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':')?;
    let (hours, minutes) = (hours.parse::<u8>().ok()?, minutes.parse::<u8>().ok()?);
    let seconds = i32::from(hours) * 3_600 + i32::from(minutes) * 60;
    (hours <= 14 && minutes < 60).then(|| Offset::from_seconds(sign * seconds).ok())?
}
