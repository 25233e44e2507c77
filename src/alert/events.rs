//! Owns what an event is called: the words of a document or a title to the code of the national table.
//! Refuses to know documents and who may issue what. Invariant: the longest word counts, so that 雷暴大风 is never 大风; where words of several
//! events stand side by side, the first is taken and the others are named; what is not known stays unknown.

use std::sync::LazyLock;

use super::code;

const WORDS: &str = include_str!("event_words.tsv");
/// A title's own word for its event; longer ones are sentences.
const EVENT_CHARS_MAX: usize = 20;
/// What stands before the event in titles of warnings.
const VERBS: &[&str] =
    &["发布", "升级为", "降级为", "变更为", "调整为", "更新为", "更新", "变更", "确认", "解除", "取消", "撤销", "继续", "维持"];
/// What stands behind it.
const ENDS: &[&str] = &[
    "红色", "橙色", "黄色", "蓝色", "白色", "预警", "预报", "警报", "Ⅰ级", "Ⅱ级", "Ⅲ级", "Ⅳ级", "I级", "II级", "III级", "IV级", "一级",
    "二级", "三级", "四级", "[", "【", "(", "（", "信号",
];

/// What words mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Understood {
    pub(super) code: String,
    /// Words of other events that stand beside it.
    pub(super) beside: Vec<String>,
}

/// Every word with its code, the longest first.
static TABLE: LazyLock<Vec<(String, &'static str)>> = LazyLock::new(|| {
    let names = code::names().map(|(code, name)| (name, code));
    let words = WORDS.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('\t'));
    let mut table: Vec<(String, &'static str)> = names.chain(words).map(|(word, code)| (folded(word), code)).collect();
    table.sort_by_key(|(word, _)| std::cmp::Reverse(word.chars().count()));
    table
});

/// The event that words name; `None` when no word in them is known.
pub(super) fn understand(words: &str) -> Option<Understood> {
    let folded = folded(words);
    let tail = after_verb(&folded);
    // Behind a verb stands the event, or nothing of it; a place before the verb may bear the name of another.
    in_text(tail).or_else(|| if tail.len() == folded.len() || word_of_title(words).is_some() { None } else { in_text(&folded) })
}

/// The word that a title has for its event, known or not: 电线积冰 in "某县气象台发布电线积冰黄色预警信号".
pub(super) fn word_of_title(title: &str) -> Option<String> {
    let tail = after_verb(title);
    let end = ENDS.iter().filter_map(|end| tail.find(end)).min()?;
    let word = tail.get(..end)?.trim();
    let is_word = !word.is_empty() && tail.len() < title.len() && word.chars().count() <= EVENT_CHARS_MAX;
    is_word.then(|| word.to_owned())
}

/// Behind the last verb of a title; all of it where it has none.
fn after_verb(title: &str) -> &str {
    let starts = VERBS.iter().filter_map(|verb| title.rfind(verb).map(|at| at + verb.len()));
    starts.max().and_then(|at| title.get(at..)).unwrap_or(title)
}

fn in_text(text: &str) -> Option<Understood> {
    // Each finding covers its letters, so that no shorter word is found inside it.
    let mut found: Vec<(usize, usize, &'static str)> = Vec::new();
    for (word, code) in TABLE.iter() {
        for (start, _) in text.match_indices(word.as_str()) {
            let end = start + word.len();
            let is_covered = found.iter().any(|&(from, to, _)| start < to && from < end);
            if !is_covered && stands_alone(text, start, end) {
                found.push((start, end, code));
            }
        }
    }
    found.sort_unstable();
    let &(_, _, first) = found.first()?;
    let mut beside: Vec<String> = Vec::new();
    for &(from, to, code) in &found {
        let word = text.get(from..to).unwrap_or_default().to_owned();
        if code != first && !beside.contains(&word) {
            beside.push(word);
        }
    }
    Some(Understood { code: first.to_owned(), beside })
}

/// Words of Latin letters stand between others; Chinese has no signs between words.
fn stands_alone(text: &str, start: usize, end: usize) -> bool {
    let is_latin = |letter: Option<char>| letter.is_some_and(|letter| letter.is_ascii_alphanumeric());
    let starts_latin = text[start..].chars().next().is_some_and(|letter| letter.is_ascii_alphanumeric());
    !starts_latin || !(is_latin(text[..start].chars().next_back()) || is_latin(text[end..].chars().next()))
}

/// As words are compared: small letters, half-width brackets, one blank between words.
fn folded(words: &str) -> String {
    let letters = words.chars().map(|letter| match letter {
        '（' => '(',
        '）' => ')',
        '_' | '-' | '–' | '/' => ' ',
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(letter) - 0xfee0).unwrap_or(letter),
        letter => letter,
    });
    letters.collect::<String>().to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(words: &str) -> String {
        understand(words).map_or_else(String::new, |understood| understood.code)
    }

    #[test]
    fn every_word_of_the_table_has_a_code_of_the_right_shape_and_is_there_once() {
        let mut words: Vec<&str> = TABLE.iter().map(|(word, _)| word.as_str()).collect();
        assert!(words.len() > 300 && TABLE.iter().all(|(word, code)| code::is_code(code) && !word.is_empty()));
        words.sort_unstable();
        let twice: Vec<&[&str]> = words.windows(2).filter(|pair| pair[0] == pair[1]).collect();
        assert_eq!(twice, Vec::<&[&str]>::new());
        assert!(TABLE.iter().all(|(word, code)| understand(word).is_some_and(|understood| understood.code == *code)));
    }

    #[test]
    fn the_longest_word_counts() {
        for (words, wanted) in [
            ("雷暴大风", "11B58"),
            ("雷雨大风", "11B20"),
            ("海上大风", "11B23"),
            ("地质灾害气象风险", "11B37"),
            ("地质灾害", "11D00"),
            ("山洪灾害", "11A51"),
            ("山洪灾害气象风险", "11A51"),
            ("森林火险", "11B25"),
            ("森林火险气象风险", "11B77"),
            ("森林（草原）火险", "11B41"),
            ("暴雨内涝", "11A02"),
            ("城市内涝", "11A02"),
            ("龙卷", "11B02"),
            ("强对流天气", "11B31"),
            ("低温雨雪冰冻", "11B30"),
            ("风暴潮", "11E02"),
            ("重污染天气", "11B67"),
            ("山体滑坡", "11D01"),
            ("地震", "11C00"),
            ("台风暴雨", "11B49"),
        ] {
            assert_eq!(code(words), wanted, "{words}");
        }
    }

    #[test]
    fn english_words_are_whole_words_in_any_case() {
        for (words, wanted) in [
            ("Gale", "11B06"),
            ("STRONG WIND", "11B06"),
            ("Thunderstorm Gust", "11B58"),
            ("Severe Thunderstorm Warning", "11B31"),
            ("Flash Flood Warning", "11A51"),
            ("Debris-Flow", "11D02"),
            ("landslide", "11D01"),
            ("Heavy Fog", "11B17"),
            ("Windsor", ""),
            ("train", ""),
        ] {
            assert_eq!(code(words), wanted, "{words}");
        }
    }

    #[test]
    fn a_title_is_read_behind_its_verb_and_keeps_its_own_word() {
        for (title, wanted, word) in [
            ("四川省大雾县气象台发布暴雨橙色预警信号", "11B03", Some("暴雨")),
            ("北川县气象台将暴雨橙色预警升级为暴雨红色预警", "11B03", Some("暴雨")),
            ("洪水镇气象站发布电线积冰黄色预警信号", "", Some("电线积冰")),
            ("某县气象台发布电线积冰黄色预警信号", "", Some("电线积冰")),
            ("某县自然资源局和气象局联合发布地质灾害气象风险Ⅲ级预警", "11B37", Some("地质灾害气象风险")),
            ("某县气象台解除雷暴大风黄色预警", "11B58", Some("雷暴大风")),
            ("某县气象台发布大风、沙尘暴蓝色预警", "11B06", Some("大风、沙尘暴")),
            ("某县气象台将暴雨橙色预警升级为红色预警", "11B03", None),
            ("暴雨", "11B03", None),
        ] {
            assert_eq!((code(title).as_str(), word_of_title(title).as_deref()), (wanted, word), "{title}");
        }
        assert_eq!(understand("大风和沙尘暴").map(|one| one.beside), Some(vec!["沙尘暴".to_owned()]));
    }
}
