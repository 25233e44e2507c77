//! Owns what words from outside may carry into a text: no sign that turns or hides letters, no signature, no markup.
//! Refuses to know forms and limits. Invariant: 【】 in a text is the account's signature or our own drill mark, whatever was written.

use std::borrow::Cow;

use super::spoken::is_invisible;
use crate::alert::Alert;

/// The one mark of ours that wears the brackets of a signature.
pub(super) const DRILL: &str = "【演练】";

fn is_unwanted(letter: char) -> bool {
    is_invisible(letter) || letter.is_control() && letter != '\n'
}

/// Without letters that nobody sees: they would turn the line about, or hide a word from a reader's eye.
pub(super) fn seen(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unwanted) {
        return Cow::Borrowed(text);
    }
    let kept = |letter: char| match letter {
        '\r' | '\t' => Some(' '),
        letter if is_unwanted(letter) => None,
        letter => Some(letter),
    };
    Cow::Owned(text.replace("\r\n", "\n").chars().filter_map(kept).collect())
}

/// The alert with seen letters only; borrowed where it has no other, which is nearly always.
pub(super) fn alert(alert: &Alert) -> Cow<'_, Alert> {
    let texts = [&alert.headline, &alert.description, &alert.instruction, &alert.event_name, &alert.sender_name, &alert.web];
    let names = alert.areas.iter().map(|area| &area.name);
    let others = alert.translations.iter().flat_map(|other| [&other.headline, &other.description, &other.instruction, &other.event]);
    if !texts.into_iter().chain(names).chain(others).any(|text| text.contains(is_unwanted)) {
        return Cow::Borrowed(alert);
    }
    let mut clean = alert.clone();
    let own = [
        &mut clean.headline,
        &mut clean.description,
        &mut clean.instruction,
        &mut clean.event_name,
        &mut clean.sender_name,
        &mut clean.web,
    ];
    let names = clean.areas.iter_mut().map(|area| &mut area.name);
    let others = clean
        .translations
        .iter_mut()
        .flat_map(|other| [&mut other.headline, &mut other.description, &mut other.instruction, &mut other.event]);
    for text in own.into_iter().chain(names).chain(others) {
        *text = seen(text).into_owned();
    }
    Cow::Owned(clean)
}

/// A finished text, whose parts came from many places: nothing unseen, and brackets of a signature at our own marks only.
/// `signature` stands at its beginning, or in a drill at its end.
pub(super) fn sealed(text: &str, signature: &str, is_drill: bool) -> String {
    let (front, rest) =
        if signature.is_empty() || is_drill || !text.starts_with(signature) { ("", text) } else { text.split_at(signature.len()) };
    let (rest, end) = match rest.strip_suffix(signature) {
        Some(rest) if is_drill && !signature.is_empty() => (rest, signature),
        _ => (rest, ""),
    };
    let mut middle = String::with_capacity(rest.len());
    for (at, part) in rest.split(DRILL).enumerate() {
        if at > 0 {
            middle.push_str(if is_drill { DRILL } else { "［演练］" });
        }
        middle.extend(seen(part).chars().map(|letter| match letter {
            '【' => '［',
            '】' => '］',
            letter => letter,
        }));
    }
    format!("{front}{middle}{end}")
}

/// What the issuer wants this channel to say, without the marks that we set ourselves.
pub(super) fn own_words<'a>(text: &'a str, signature: &str, is_drill: bool) -> &'a str {
    let mut text = text.trim();
    if !signature.is_empty() {
        text = text.strip_prefix(signature).unwrap_or(text).trim_start();
        text = text.strip_suffix(signature).unwrap_or(text).trim_end();
    }
    if is_drill { text.strip_prefix(DRILL).unwrap_or(text) } else { text }
}

/// Signs that a group would show as markup, mentions or links of its own, written so that they are none.
pub(super) fn plain(text: &str, markdown: bool) -> Cow<'_, str> {
    if !markdown {
        return Cow::Borrowed(text);
    }
    let mut at_beginning = true;
    let wide = |letter: char| {
        let is_first = at_beginning;
        at_beginning = letter == '\n' || is_first && letter == ' ';
        match letter {
            '*' | '`' | '<' | '>' | '[' | ']' | '#' | '_' | '~' | '|' | '\\' | '&' => widened(letter),
            // Rules, lists and headings begin a line; elsewhere these are what they look like.
            '-' | '+' | '=' if is_first => widened(letter),
            letter => letter,
        }
    };
    Cow::Owned(text.chars().map(wide).collect())
}

fn widened(letter: char) -> char {
    char::from_u32(u32::from(letter) + 0xfee0).unwrap_or(letter)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_would_be_markup_is_written_so_that_it_is_not() {
        assert_eq!(plain("雨量>50毫米，气温<0℃，#1#2闸门，5*8米[附件]", true), "雨量＞50毫米，气温＜0℃，＃1＃2闸门，5＊8米［附件］");
        assert_eq!(plain("雨量>50毫米\n- 撤离-5℃\n---", true), "雨量＞50毫米\n－ 撤离-5℃\n－--");
        assert_eq!(plain("雨量>50毫米", false), "雨量>50毫米");
    }

    #[test]
    fn brackets_of_a_signature_are_ours_alone() {
        assert_eq!(sealed("【北川预警】大风【工商银行】", "【北川预警】", false), "【北川预警】大风［工商银行］");
        assert_eq!(sealed("【演练】大风【工商银行】【北川预警】", "【北川预警】", true), "【演练】大风［工商银行］【北川预警】");
        assert_eq!(sealed("【北川预警】【演练】大风", "【北川预警】", false), "【北川预警】［演练］大风", "a real warning is no drill");
        assert_eq!(own_words("【北川预警】请远离。", "【北川预警】", false), "请远离。");
    }

    proptest! {
        #[test]
        fn a_sealed_text_holds_nothing_unseen(text in "[\\PC\u{202e}\u{200b}\u{2066}\u{feff}【】]{0,80}") {
            let sealed = sealed(&format!("【甲】{text}"), "【甲】", false);
            prop_assert!(!sealed.contains(is_unwanted));
            prop_assert_eq!(sealed.matches('【').count(), 1);
        }
    }
}
