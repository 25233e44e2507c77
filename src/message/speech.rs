//! Owns what loudspeakers say: plain sentences; who is meant, what, until when, what to do, and the most important thing once more.
//! Refuses to know speakers. Invariant: within the limit, the drill said first, and the all-clear said as plainly as the warning.

use super::{
    measure,
    render::{Said, cut_units, one_line, units},
    spoken::{spoken, strength},
};
use crate::{alert::Level, time::Timestamp};

pub(super) fn text(said: &Said<'_>, units_max: usize) -> String {
    let drill = if said.drill.is_empty() { "" } else { "演练，演练，这是一次演练。" };
    let why = said.why.trim_end_matches([':', '\u{ff1a}', ' ']);
    if let Some(own) = said.own_text {
        return fit(&sentences(&[drill, why, &one_line(own)]), units_max);
    }
    let place = said.reader.area_name;
    let call = if place.is_empty() { String::new() } else { format!("{place}请注意") };
    if said.is_over {
        let over = format!("{}现在{}", said.issuer(), said.what);
        return fit(&sentences(&[drill, &call, why, &over, &one_line(said.description)]), units_max);
    }
    let what = format!("{}{}发布{}\u{ff0c}有效到{}", said.issuer(), when(said.alert.effective), said.what, when(said.alert.expires));
    let areas = said.areas();
    let range = if areas.is_empty() || areas == place { String::new() } else { format!("范围\u{ff1a}{areas}") };
    let measures = measure::measures(said.instruction, said.reader.role);
    let once_more = measure::first(&measures);
    let once_more = if once_more.is_empty() { String::new() } else { format!("再说一遍\u{ff1a}{once_more}") };
    // The measures before the background: who stops listening has heard what to do.
    let body = sentences(&[drill, &call, why, &what, &range, &measures, &one_line(said.description)]);
    // "Act at once" is kept for what is grave, or nobody acts when it is.
    let urgent = if said.alert.level <= Level::Orange { "请立即行动，相互转告。" } else { "请注意防范，相互转告。" };
    let end = format!("{}{urgent}", sentences(&[&once_more]));
    // The end may not crowd out the warning itself.
    let end = if units(&end) * 3 <= units_max { end } else { String::new() };
    let body = fit(&body, units_max - units(&end));
    format!("{body}{end}")
}

/// `7月23日10时15分`; a full hour without its minutes. The year is known to everybody who hears it.
fn when(at: Timestamp) -> String {
    at.format("%-m月%-d日%-H时%-M分").replace("时0分", "时")
}

/// Each part as one sentence that ends with a stop; empty parts are none.
fn sentences(parts: &[&str]) -> String {
    let mut text = String::new();
    for part in parts {
        let part = spoken(part);
        let part = part.trim_end_matches(|letter: char| strength(letter) > 0 && !matches!(letter, '\u{ff1f}' | '\u{ff01}'));
        if !part.is_empty() {
            text.push_str(part);
            if !part.ends_with(['\u{ff1f}', '\u{ff01}']) {
                text.push('。');
            }
        }
    }
    text
}

/// What fits, ended with a stop.
fn fit(text: &str, units_max: usize) -> String {
    if units(text) <= units_max {
        return text.to_owned();
    }
    let cut = cut_units(text, units_max.saturating_sub(1)).trim_end_matches(|letter: char| strength(letter) > 0);
    if cut.is_empty() { String::new() } else { format!("{cut}。") }
}
