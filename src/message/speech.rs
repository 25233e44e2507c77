//! Owns what loudspeakers say: plain sentences, no brackets or symbols, units and numerals as a listener understands them.
//! Refuses to know speakers. Invariant: within the limit, and the all-clear is said as plainly as the warning.

use super::render::{Said, cut_units, one_line, units};
use crate::alert::Level;

/// A short stop between two parts of a sentence.
const PAUSE: &str = "\u{ff0c}";

/// Written signs and what is said for them; longer ones first.
const SPOKEN: &[(&str, &str)] = &[
    ("mm/h", "毫米每小时"),
    ("km/h", "公里每小时"),
    ("m³/s", "立方米每秒"),
    ("m/s", "米每秒"),
    ("mm", "毫米"),
    ("km", "公里"),
    ("℃", "摄氏度"),
    ("Ⅰ级", "一级"),
    ("Ⅱ级", "二级"),
    ("Ⅲ级", "三级"),
    ("Ⅳ级", "四级"),
    ("Ⅰ", "一级"),
    ("Ⅱ", "二级"),
    ("Ⅲ", "三级"),
    ("Ⅳ", "四级"),
    ("≥", "不小于"),
    ("≤", "不大于"),
    ("～", "到"),
    ("~", "到"),
    ("【", ""),
    ("】", PAUSE),
    ("[", ""),
    ("]", PAUSE),
    ("(", PAUSE),
    (")", PAUSE),
    ("\u{ff08}", PAUSE),
    ("\u{ff09}", PAUSE),
    ("《", ""),
    ("》", ""),
    ("“", ""),
    ("”", ""),
    ("\"", ""),
    ("*", ""),
    ("#", ""),
    ("/", "或"),
];

pub(super) fn text(said: &Said<'_>, units_max: usize) -> String {
    let drill = if said.drill.is_empty() { "" } else { "演练，演练，这是一次演练。" };
    if let Some(own) = said.own_text {
        return fit(&format!("{drill}{}", spoken(own)), units_max);
    }
    let area = if said.areas().is_empty() { said.reader.area_name.to_owned() } else { said.areas() };
    let head = format!("{drill}{}{}发布{}。", why(said), spoken(said.issuer()), spoken(&said.what));
    if said.is_over {
        return fit(&format!("{drill}{}现在{}。{}。", why(said), spoken(&said.what), spoken(&one_line(said.description))), units_max);
    }
    // "Act at once" is kept for what is grave, or nobody acts when it is.
    let urgent = if said.alert.level <= Level::Orange { "请立即行动，相互转告。" } else { "请注意防范，相互转告。" };
    // The measures before the background: who stops listening has heard what to do.
    let body = format!("{}范围：{}。{}。{}。", head, spoken(&area), sentence(said.instruction), sentence(said.description));
    let room = units_max.saturating_sub(units(urgent));
    format!("{}{urgent}", fit(&body, room))
}

fn why(said: &Said<'_>) -> String {
    spoken(said.why.trim_end_matches([':', '\u{ff1a}'])) + if said.why.is_empty() { "" } else { "。" }
}

fn sentence(text: &str) -> String {
    spoken(&one_line(text)).trim_end_matches('。').to_owned()
}

fn spoken(text: &str) -> String {
    let mut said = text.to_owned();
    for (written, words) in SPOKEN {
        if said.contains(written) {
            said = said.replace(written, words);
        }
    }
    said
}

fn fit(text: &str, units_max: usize) -> String {
    // Pauses that stand side by side are one, and an empty sentence is none.
    let mut tidy = String::with_capacity(text.len());
    for letter in text.chars() {
        let pause = is_pause(letter);
        let after_pause = tidy.chars().last().is_none_or(is_pause);
        if pause && after_pause {
            if letter == '。' && !tidy.is_empty() {
                tidy.pop();
                tidy.push('。');
            }
            continue;
        }
        tidy.push(letter);
    }
    cut_units(&tidy, units_max).to_owned()
}

const fn is_pause(letter: char) -> bool {
    matches!(letter, '。' | ',' | ';' | '\u{ff0c}' | '\u{ff1b}')
}
