//! Owns short messages: what, where, when, what to do, where to go, in seventy characters where that is enough.
//! Refuses to know who carries them. Invariant: never over the parts allowed; signature, drill mark, warning and link are never cut.

use super::{
    measure,
    render::{Said, cut_units, links_apart, one_line, units},
};
use crate::alert::Level;

/// In UTF-16 units, as short-message centres count Chinese text (domain: 70 alone, 67 each of several).
#[derive(Clone, Copy)]
pub(super) struct Limits {
    pub(super) one_part: u16,
    pub(super) part: u16,
    pub(super) parts_max: u8,
    /// What readers write back reaches us.
    pub(super) replies: bool,
}

/// A measure cut shorter than this says nothing.
const MEASURE_MIN: usize = 8;
/// A measure that does not fit into one part is worth a second, however mild the warning; nothing else is.
const PARTS_FOR_A_MEASURE: u8 = 2;

pub(super) fn text(said: &Said<'_>, limits: Limits, signature: &str) -> String {
    let pieces = Pieces::of(said, limits, signature);
    // More parts cost minutes on a busy centre: only for what is grave, or for what must carry a link.
    let is_grave = said.alert.level <= Level::Orange || !pieces.link.is_empty();
    let mut best = String::new();
    for parts in 1..=limits.parts_max.max(1) {
        let room = if parts == 1 { usize::from(limits.one_part) } else { usize::from(limits.part) * usize::from(parts) };
        let fitted = pieces.fit(room);
        best = fitted.text;
        // Two parts are worth it for where to go and what to do; nobody needs four.
        let is_enough = if is_grave {
            parts >= 2 && parts >= pieces.parts_needed(limits)
        } else {
            fitted.says_what_to_do || parts >= PARTS_FOR_A_MEASURE
        };
        if fitted.is_whole || is_enough {
            break;
        }
    }
    best
}

#[derive(Default)]
struct Pieces {
    /// Signature, drill mark, why, what: never cut.
    head: String,
    place: String,
    time: String,
    /// Sentences, the most important first, without the last stop.
    measure: String,
    shelter: String,
    ask: String,
    /// For who is not asked to answer: how to call for help. Only where everything else stands.
    hint: &'static str,
    link: String,
    /// The signature of a drill, whose mark stands in front instead: operators take one at either end. Never cut.
    tail: String,
    /// Between two sentences.
    stop: &'static str,
}

struct Fitted {
    text: String,
    /// Nothing was left out but the hint.
    is_whole: bool,
    says_what_to_do: bool,
}

const STOPS: [char; 9] = ['。', '.', ';', '\u{ff1b}', ',', '\u{ff0c}', '、', ' ', '\u{3000}'];

impl Pieces {
    fn of(said: &Said<'_>, limits: Limits, signature: &str) -> Self {
        let (front, tail) = if said.drill.is_empty() { (signature, "") } else { ("", signature) };
        let front = format!("{front}{}{}", said.drill, said.why);
        let asking = Self { tail: tail.to_owned(), ..Self::asking(said, limits) };
        if let Some(own) = said.own_text {
            // The issuer's own words need no stop between the mark before them and themselves.
            return Self { head: front, measure: bare(&links_apart(&one_line(own))).to_owned(), ..asking };
        }
        let comma = if said.english { ", " } else { "\u{ff0c}" };
        let time = match (said.is_over, said.english) {
            (true, _) => String::new(),
            (false, false) => format!("{comma}至{}", said.until),
            (false, true) => format!("{comma}until {}", said.until),
        };
        let told = if said.instruction.trim().is_empty() { measure::of_description(said.description) } else { said.instruction.to_owned() };
        let measure = if said.is_over { String::new() } else { links_apart(&measure::measures(&told, said.reader.role)) };
        Self {
            head: format!("{front}{}", said.what),
            place: said.place(),
            time,
            measure: bare(&measure).to_owned(),
            shelter: shelter(said),
            ..asking
        }
    }

    /// The pieces that ask for an answer; the rest empty.
    fn asking(said: &Said<'_>, limits: Limits) -> Self {
        let asks = said.reader.answer.is_some();
        let ask = match (asks, said.english) {
            (false, _) => "",
            (true, false) => "收到回1，已转移回2，求助回3",
            (true, true) => "Reply 1 received, 2 moved, 3 help",
        };
        let may_ask = !asks && !said.is_over && limits.replies;
        let hint = match (may_ask, said.english) {
            (false, _) => "",
            (true, false) => "求助回3",
            (true, true) => "Reply 3 for help",
        };
        let link = said.reader.answer.and_then(|answer| answer.url).map_or_else(String::new, |url| format!(" {url}"));
        Self { ask: ask.to_owned(), hint, link, stop: if said.english { ". " } else { "。" }, ..Self::default() }
    }

    /// As much as `room` holds, the most important first.
    fn fit(&self, room: usize) -> Fitted {
        let with_time = self.fit_with(room, true);
        // What to do is worth more than until when.
        if with_time.says_what_to_do || self.time.is_empty() {
            return with_time;
        }
        let without = self.fit_with(room, false);
        if without.says_what_to_do { without } else { with_time }
    }

    fn fit_with(&self, room: usize, with_time: bool) -> Fitted {
        let end = if self.link.is_empty() || self.tail.is_empty() { self.tail.clone() } else { format!(" {}", self.tail) };
        let kept = room.saturating_sub(units(&self.link) + units(&end));
        // A head that alone is over the room can only come from a name of absurd length.
        let mut text = cut_units(&self.head, kept).to_owned();
        let mut left = kept - units(&text);
        let stop = units(self.stop);
        let mut take = |piece: &str, stop: usize| {
            let fits = units(piece) + stop <= left && !piece.is_empty();
            left -= if fits { units(piece) + stop } else { 0 };
            fits
        };
        // By importance: where, the answer that is asked for, where to go, until when; the measure gets what is left.
        let place = take(&self.place, 0);
        let ask = take(&self.ask, stop);
        let shelter = take(&self.shelter, stop);
        let time = with_time && take(&self.time, 0);
        // Own words stand directly behind the mark of who sends them.
        let glued = self.place.is_empty() && self.time.is_empty();
        let before = if glued { 0 } else { stop };
        let measure = cut_sentences(&self.measure, left.saturating_sub(before));
        left = left.saturating_sub(if measure.is_empty() { 0 } else { units(measure) + before });
        let hint = measure.len() == self.measure.len() && !self.hint.is_empty() && units(self.hint) + stop <= left;
        text.push_str(if place { &self.place } else { "" });
        text.push_str(if time { &self.time } else { "" });
        if glued {
            text.push_str(measure);
        }
        let sentences = [(!glued, measure), (shelter, self.shelter.as_str()), (ask, self.ask.as_str()), (hint, self.hint)];
        for (_, sentence) in sentences.iter().filter(|(wanted, sentence)| *wanted && !sentence.is_empty()) {
            // A question or a call keeps its own stop.
            if !text.ends_with(['\u{ff01}', '\u{ff1f}', '!', '?']) {
                text.push_str(self.stop);
            }
            text.push_str(sentence);
        }
        text.push_str(&self.link);
        text.push_str(&end);
        let whole = |taken: bool, piece: &str| taken || piece.is_empty();
        let is_whole = whole(place, &self.place)
            && whole(ask, &self.ask)
            && whole(shelter, &self.shelter)
            && whole(time, &self.time)
            && measure.len() == self.measure.len();
        Fitted { text, is_whole, says_what_to_do: !measure.is_empty() || self.measure.is_empty() }
    }

    /// Parts in which the first sentence of the measures, the shelter and the rest would stand whole.
    fn parts_needed(&self, limits: Limits) -> u8 {
        let first = self.measure.split_inclusive('。').find(|sentence| units(sentence) > 1).map_or(0, units);
        let pieces = [&self.head, &self.place, &self.time, &self.shelter, &self.ask, &self.link, &self.tail];
        let all = pieces.iter().map(|piece| units(piece)).sum::<usize>() + first + 3 * units(self.stop);
        u8::try_from(all.div_ceil(usize::from(limits.part).max(1))).unwrap_or(u8::MAX)
    }
}

/// Without the stop at the end, which the next sentence brings with it.
fn bare(text: &str) -> &str {
    text.trim_end_matches(STOPS)
}

/// Whole sentences that fit; where not even the first does, its whole clauses; never half of one.
fn cut_sentences(text: &str, room: usize) -> &str {
    if units(text) <= room {
        return text;
    }
    let ends = |is_end: fn(char) -> bool| {
        let mut used = 0;
        let fitting = text.char_indices().take_while(|(_, letter)| {
            used += letter.len_utf16();
            used <= room + 1
        });
        // The stop itself need not fit: the next sentence brings its own.
        fitting.filter(|(place, letter)| is_end(*letter) && units(&text[..*place]) <= room).last().map_or(0, |(place, letter)| match letter
        {
            '\u{ff01}' | '\u{ff1f}' | '!' | '?' if units(&text[..place]) < room => place + letter.len_utf8(),
            _ => place,
        })
    };
    let sentence = ends(|letter| matches!(letter, '。' | '\u{ff1b}' | ';' | '\u{ff01}' | '\u{ff1f}' | '!' | '?' | '\n'));
    let clause = if sentence > 0 { sentence } else { ends(|letter| matches!(letter, '\u{ff0c}' | ',')) };
    let cut = bare(&text[..clause]);
    if units(cut) < MEASURE_MIN { "" } else { cut }
}

fn shelter(said: &Said<'_>) -> String {
    let Some(shelter) = said.shelter() else { return String::new() };
    let route = if shelter.route.is_empty() { String::new() } else { format!("({})", cut_units(shelter.route, 24)) };
    if said.english { format!("Go to {}{route}", shelter.place) } else { format!("避险点：{}{route}", shelter.place) }
}
