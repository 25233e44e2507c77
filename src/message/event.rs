//! Owns what an alert's event is called in Chinese: by its words, its code, or what its headline says.
//! Refuses to know levels. Invariant: Chinese where the code or any words of the alert are; never an English word before a Chinese colour.

use std::borrow::Cow;

use crate::alert::{Alert, event_name};

/// A headline is longer than any name of an event; what is longer than this is a sentence.
const NAME_CHARS_MAX: usize = 16;

/// `大风` for the word `gale` with the code 11B06; the words of the headline where neither says more than "emergency".
pub fn in_chinese(alert: &Alert) -> Cow<'_, str> {
    let by_code = event_name(&alert.event);
    let words = alert.event_name.trim();
    if !words.is_empty() && has_han(words) && !is_general(words) {
        return Cow::Borrowed(words);
    }
    if !is_general(by_code) {
        return Cow::Borrowed(by_code);
    }
    match of_headline(&alert.headline) {
        Some(words) => Cow::Borrowed(words),
        None if words.is_empty() => Cow::Borrowed(by_code),
        None => Cow::Borrowed(words),
    }
}

fn has_han(text: &str) -> bool {
    text.contains(|letter| matches!(letter, '\u{3400}'..='\u{9fff}'))
}

/// Words that stand for any event at all.
fn is_general(words: &str) -> bool {
    matches!(words, "突发事件" | "突发" | "其他" | "其它" | "预警" | "预警信息" | "测试")
}

/// 森林火险 of 某县气象台发布森林火险橙色预警信号.
fn of_headline(headline: &str) -> Option<&str> {
    let colour = ["红色预警", "橙色预警", "黄色预警", "蓝色预警"].iter().filter_map(|colour| headline.rfind(colour)).max();
    let end = colour.or_else(|| headline.rfind("预警"))?;
    let before = &headline[..end];
    let verbs = ["发布", "升级为", "变更为", "降级为", "调整为", "更新", "解除", "取消", "继续"];
    let start = verbs.iter().filter_map(|verb| before.rfind(verb).map(|at| at + verb.len())).max().unwrap_or(0);
    let name = before[start..].trim_matches(|letter: char| !letter.is_alphanumeric());
    let is_name = has_han(name) && name.chars().count() <= NAME_CHARS_MAX && !is_general(name);
    is_name.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_event_is_found_in_a_headline() {
        for (headline, event) in [
            ("北川县气象台发布大雾黄色预警[III级/较重]", Some("大雾")),
            ("北川县气象台将大风蓝色预警升级为雷暴大风橙色预警信号", Some("雷暴大风")),
            ("森林火险红色预警", Some("森林火险")),
            ("北川县气象台继续发布高温预警", Some("高温")),
            ("解除道路结冰黄色预警", Some("道路结冰")),
            ("北川县发布突发事件橙色预警", None),
            ("请注意安全", None),
            ("", None),
        ] {
            assert_eq!(of_headline(headline), event, "{headline}");
        }
    }
}
