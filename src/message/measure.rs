//! Owns the order of measures: what the reader can do stands before what offices do.
//! Refuses to know channels and limits. Invariant: nothing is left out, and nothing but numbering is dropped.

use std::borrow::Cow;

use super::render::one_line;
use crate::registry::role;

/// Letters at the beginning of a clause in which its doer is named.
const DOER_LETTERS: usize = 14;

/// The measures on one line; for the public, clauses about offices come last: official guides begin with them.
pub(super) fn measures<'a>(text: &'a str, role: &str) -> Cow<'a, str> {
    let clauses: Vec<&str> =
        text.split_inclusive(['。', '\u{ff1b}', ';', '\n']).map(unnumbered).filter(|clause| !clause.is_empty()).collect();
    let is_public = role.is_empty() || role::is_public(role);
    let (offices, people): (Vec<&str>, Vec<&str>) = clauses.into_iter().partition(|clause| is_public && is_about_offices(clause));
    let mut line = String::with_capacity(text.len());
    for clause in people.into_iter().chain(offices) {
        // A clause that was the last of its sentence may now stand before another.
        if !line.is_empty() && !line.ends_with(['。', '\u{ff1b}', ';', '.']) {
            line.push('\u{ff1b}');
        }
        line.push_str(&one_line(clause));
    }
    Cow::Owned(line)
}

/// What a description says to do, then the rest of it: warnings without measures of their own end with them, and limits cut ends.
/// What the title says already is not said again.
pub(super) fn of_description(description: &str) -> String {
    let sentences =
        description.split_inclusive(['。', '\u{ff1b}', ';', '\u{ff01}', '\n']).map(unrepeated).filter(|sentence| !sentence.is_empty());
    let (acts, rest): (Vec<&str>, Vec<&str>) = sentences.partition(|sentence| ACTS.iter().any(|word| sentence.contains(word)));
    let mut told = String::with_capacity(description.len());
    for sentence in acts.into_iter().chain(rest) {
        if !told.is_empty() && !told.ends_with(['。', '\u{ff1b}', ';', '\u{ff01}', '.']) {
            told.push('。');
        }
        told.push_str(sentence);
    }
    told
}

/// Words by which a sentence says what to do.
const ACTS: &[&str] = &[
    "请", "立即", "注意", "做好", "防范", "停止", "远离", "撤离", "转移", "切勿", "不要", "避免", "禁止", "严禁", "务必", "不得", "应当",
    "勿",
];

/// Without `某台7月23日发布暴雨橙色预警信号：` in front.
fn unrepeated(sentence: &str) -> &str {
    let sentence = sentence.trim();
    let Some(verb) = sentence.find("发布").or_else(|| sentence.find("升级")) else { return sentence };
    let Some(warning) = sentence[verb..].find("预警").map(|at| verb + at + "预警".len()) else { return sentence };
    let behind = &sentence[warning..];
    let bare = behind.strip_prefix("信号").unwrap_or(behind);
    let bare = bare
        .find(['】', ']', '］', '\u{ff09}', ')'])
        .filter(|_| bare.starts_with(['【', '[', '［', '\u{ff08}', '(']))
        .map_or(bare, |end| bare[end..].char_indices().nth(1).map_or("", |(next, _)| &bare[end + next..]));
    match bare.chars().next() {
        Some('\u{ff1a}' | ':' | '\u{ff0c}' | ',') => bare[bare.chars().next().map_or(0, char::len_utf8)..].trim(),
        Some('。') | None => "",
        _ => sentence,
    }
}

/// The first of them, without its stop.
pub(super) fn first(measures: &str) -> &str {
    measures.split(['。', '\u{ff1b}', ';']).find(|clause| !clause.trim().is_empty()).unwrap_or_default()
}

fn is_about_offices(clause: &str) -> bool {
    let end = clause.char_indices().nth(DOER_LETTERS).map_or(clause.len(), |(place, _)| place);
    ["政府", "部门"].iter().any(|doer| clause[..end].contains(doer))
}

/// Without `1.`, `2、` or `（3）` in front.
fn unnumbered(clause: &str) -> &str {
    let clause = clause.trim();
    let inside = clause.trim_start_matches(['(', '\u{ff08}']);
    let behind = inside.trim_start_matches(|letter: char| letter.is_ascii_digit());
    let has_number = behind.len() < inside.len() && inside.len() - behind.len() <= 2;
    let marks: &[char] = &['.', '、', '\u{ff0e}', ')', '\u{ff09}'];
    match behind.strip_prefix(marks) {
        // `1.5米` is a number, not the first of a list.
        Some(rest) if has_number && !rest.starts_with(|next: char| next.is_ascii_digit()) => rest.trim_start(),
        _ => clause,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUIDE: &str =
        "1.政府及相关部门按照职责做好防暴雨应急工作；2.停止集会、停课、停业(除特殊行业外)；3.做好山洪、滑坡、泥石流等灾害的防御。";

    #[test]
    fn people_read_first_what_they_can_do_and_officers_read_what_was_written() {
        assert_eq!(
            measures(GUIDE, "household"),
            "停止集会、停课、停业(除特殊行业外)；做好山洪、滑坡、泥石流等灾害的防御。政府及相关部门按照职责做好防暴雨应急工作；"
        );
        assert!(measures(GUIDE, "town_duty").starts_with("政府及相关部门"));
        assert_eq!(first(&measures(GUIDE, "")), "停止集会、停课、停业(除特殊行业外)");
    }

    #[test]
    fn numbering_goes_and_numbers_stay() {
        assert_eq!(measures("（1）撤离\n（2）积水超过1.5米时上楼", "household"), "撤离；积水超过1.5米时上楼");
        assert_eq!(measures("1.5米以上积水勿入。", "household"), "1.5米以上积水勿入。");
        assert_eq!(measures("", "household"), "");
    }
}
