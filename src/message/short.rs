//! Owns short messages: what, where, when, what to do, where to go, in seventy characters where that is enough.
//! Refuses to know who carries them. Invariant: never over the parts allowed; signature, drill mark, warning and link are never cut.

use super::{
    measure,
    render::{Said, cut_units, one_line, units},
};
use crate::alert::Level;

/// In UTF-16 units, as short-message centres count Chinese text (domain: 70 alone, 67 each of several).
#[derive(Clone, Copy)]
pub(super) struct Limits {
    pub(super) one_part: u16,
    pub(super) part: u16,
    pub(super) parts_max: u8,
}

/// A measure cut shorter than this says nothing.
const MEASURE_MIN: usize = 8;

pub(super) fn text(said: &Said<'_>, limits: Limits, signature: &str) -> String {
    let pieces = Pieces::of(said, signature);
    // More parts cost minutes on a busy centre: only for what is grave, or for what must carry a link.
    let grave = said.alert.level <= Level::Orange || !pieces.link.is_empty();
    let parts_max = if grave { limits.parts_max.max(1) } else { 1 };
    let mut best = String::new();
    for parts in 1..=parts_max {
        let room = if parts == 1 { usize::from(limits.one_part) } else { usize::from(limits.part) * usize::from(parts) };
        let (text, is_whole) = pieces.fit(room);
        best = text;
        // Two parts are worth it for where to go and what to do; nobody needs four.
        if is_whole || parts >= 2 && parts >= pieces.parts_needed(limits) {
            break;
        }
    }
    best
}

struct Pieces {
    /// Signature, drill mark, why, what: never cut.
    head: String,
    place: String,
    time: String,
    measure: String,
    shelter: String,
    ask: String,
    link: String,
    /// The signature of a drill, whose mark stands in front instead: operators take one at either end. Never cut.
    tail: String,
}

impl Pieces {
    fn of(said: &Said<'_>, signature: &str) -> Self {
        let (front, tail) = if said.drill.is_empty() { (signature, "") } else { ("", signature) };
        let front = format!("{front}{}{}", said.drill, said.why);
        let asking = Self { tail: tail.to_owned(), ..Self::asking(said) };
        if let Some(own) = said.own_text {
            return Self {
                head: front,
                place: String::new(),
                time: String::new(),
                measure: one_line(own),
                shelter: String::new(),
                ..asking
            };
        }
        let (colon, comma) = if said.english { (": ", ", ") } else { ("\u{ff1a}", "\u{ff0c}") };
        let instruction = if said.instruction.is_empty() { said.description } else { said.instruction };
        let time = match (said.is_over, said.english) {
            (true, _) => String::new(),
            (false, false) => format!("{comma}至{}", said.until),
            (false, true) => format!("{comma}until {}", said.until),
        };
        let instruction = measure::measures(instruction, said.reader.role);
        let measure = if said.is_over {
            String::new()
        } else {
            format!("{}{}", if said.english { ". " } else { "。" }, instruction.trim_end_matches(['。', '.', ';', '\u{ff1b}']))
        };
        Self {
            head: format!("{front}{}", said.what),
            place: if said.reader.area_name.is_empty() { String::new() } else { format!("{colon}{}", said.reader.area_name) },
            time,
            measure,
            shelter: shelter(said),
            ..asking
        }
    }

    /// The pieces that ask for an answer; the rest empty.
    fn asking(said: &Said<'_>) -> Self {
        let asks = said.reader.answer.is_some();
        let ask = match (asks, said.english) {
            (false, _) => "",
            (true, false) => "。收到回1，已转移回2，求助回3",
            (true, true) => ". Reply 1 received, 2 moved, 3 help",
        };
        let link = said.reader.answer.and_then(|answer| answer.url).map_or_else(String::new, |url| format!(" {url}"));
        Self {
            head: String::new(),
            place: String::new(),
            time: String::new(),
            measure: String::new(),
            shelter: String::new(),
            ask: ask.to_owned(),
            link,
            tail: String::new(),
        }
    }

    /// As much as `room` holds, the most important first; `true` when nothing was left out.
    fn fit(&self, room: usize) -> (String, bool) {
        let mut left = room.saturating_sub(units(&self.head) + units(&self.link) + units(&self.tail));
        let mut take = |piece: &str| {
            let fits = units(piece) <= left;
            if fits {
                left -= units(piece);
            }
            fits
        };
        // By importance: where, the answer that is asked for, where to go, until when; the measure gets what is left.
        let place = take(&self.place);
        let ask = take(&self.ask);
        let shelter = take(&self.shelter);
        let time = take(&self.time);
        let measure = if units(&self.measure) <= left { self.measure.as_str() } else { cut_units(&self.measure, left) };
        let measure = if units(measure) < MEASURE_MIN.min(units(&self.measure)) { "" } else { measure };
        let keep = |wanted: bool, piece: &str| if wanted { piece.to_owned() } else { String::new() };
        let text = [
            // A head that alone is over the room can only come from a name of absurd length.
            cut_units(&self.head, room.saturating_sub(units(&self.link) + units(&self.tail))).to_owned(),
            keep(place, &self.place),
            keep(time, &self.time),
            measure.to_owned(),
            keep(shelter, &self.shelter),
            keep(ask, &self.ask),
            self.link.clone(),
            self.tail.clone(),
        ]
        .concat();
        let is_whole = place && ask && shelter && time && measure.len() == self.measure.len();
        (text, is_whole)
    }

    /// Parts in which the first sentence of the measures, the shelter and the rest would stand whole.
    fn parts_needed(&self, limits: Limits) -> u8 {
        let first = self.measure.split_inclusive('。').find(|sentence| units(sentence) > 1).map_or(0, units);
        let all = units(&self.head)
            + units(&self.place)
            + units(&self.time)
            + first
            + units(&self.shelter)
            + units(&self.ask)
            + units(&self.link)
            + units(&self.tail);
        u8::try_from(all.div_ceil(usize::from(limits.part).max(1))).unwrap_or(u8::MAX)
    }
}

fn shelter(said: &Said<'_>) -> String {
    let Some(shelter) = said.shelter() else { return String::new() };
    let route = if shelter.route.is_empty() { String::new() } else { format!("({})", cut_units(shelter.route, 24)) };
    if said.english { format!(". Go to {}{route}", shelter.place) } else { format!("。避险点：{}{route}", shelter.place) }
}
