//! Owns the rules of texts: lengths, characters, white space, languages, names of groups.
//! Refuses to know where texts stand in a document. Invariant: what passes is the same after it was written as XML and read again.

use super::{MsgType, Translation, check::Draft};
use crate::{
    area::AreaCode,
    fault::{Fault, Faults},
};

const HEADLINE_CHARS_MAX: usize = 500;
/// Longest text of one kind; a township's instructions are under 2,000.
pub(super) const TEXT_CHARS_MAX: usize = 20_000;
/// A province has some hundreds of recipient groups.
const GROUPS_MAX: usize = 500;
const GROUP_CHARS_MAX: usize = 64;
/// Longer ones are no language tags (RFC 5646 asks for 35).
const LANGUAGE_CHARS_MAX: usize = 40;
/// Real documents have up to six.
const TRANSLATIONS_MAX: usize = 50;

/// Whether a text is an address as `xs:anyURI` and RFC 3986 have it.
pub(super) fn is_uri(text: &str) -> bool {
    let scheme = text.split_once(':').map_or("", |(scheme, _)| scheme);
    let is_scheme = scheme.starts_with(|letter: char| letter.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
    let is_good = |letter: char| {
        !letter.is_whitespace()
            && !letter.is_control()
            && !is_invisible(letter)
            && !matches!(letter, '<' | '>' | '"' | '{' | '}' | '|' | '\\' | '^' | '`')
    };
    let escapes = text.split('%').skip(1).all(|rest| rest.len() >= 2 && rest.bytes().take(2).all(|byte| byte.is_ascii_hexdigit()));
    is_scheme && text.chars().all(is_good) && escapes && text.matches('#').count() <= 1
}

/// The address of a page about the warning; what is none is left out, and said.
pub(super) fn web(text: &str, path: &str, warnings: &mut Vec<Fault>) -> String {
    let web = line(text);
    if web.is_empty() || is_uri(&web) {
        return web;
    }
    let shown: String = web.chars().take(60).collect();
    warnings.push(Fault::new(
        path,
        "web-not-used",
        format!("{shown:?} is no address such as https://example.org/warning, and is left out"),
    ));
    String::new()
}

/// Signs that people put between the codes of one list.
const BETWEEN_CODES: &[char] = &[',', '\u{ff0c}', ';', '\u{ff1b}', '、', '|', '/'];

/// The codes of one text, which should hold one.
pub(super) fn split_codes(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| letter.is_whitespace() || BETWEEN_CODES.contains(&letter)).filter(|code| !code.is_empty())
}

/// Reads a text that should be one code; several are read too, and said.
pub(super) fn add_codes(text: &str, path: &str, codes: &mut Vec<AreaCode>, faults: &mut Faults, warnings: &mut Vec<Fault>) {
    let found: Vec<&str> = split_codes(text).collect();
    if found.is_empty() {
        faults.add(path, "bad-code", "must be a division code of 2, 4, 6, 9 or 12 digits");
    }
    if found.len() > 1 {
        warnings.push(Fault::new(path, "several-codes", format!("{} codes stand in one place; each is read", found.len())));
    }
    for code in found {
        match code.parse() {
            Ok(code) => codes.push(code),
            Err(error) => faults.add(path, "bad-code", error.to_string()),
        }
    }
}

/// What turns text round or hides in it: marks and overrides of direction, letters of no width.
pub(super) fn is_invisible(letter: char) -> bool {
    matches!(
        letter,
        '\u{00ad}' | '\u{034f}' | '\u{061c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{2066}'..='\u{206f}' | '\u{feff}'
    )
}

/// Without what turns it round or hides in it; `None` when there is nothing of that. Joiners stay between letters of the scripts that need them.
fn visible(text: &str) -> Option<String> {
    if !text.contains(is_invisible) {
        return None;
    }
    let letters: Vec<char> = text.chars().collect();
    let joins = |letter: Option<&char>| {
        letter.is_some_and(|letter| letter.is_alphabetic() && !letter.is_ascii() && !('\u{2e80}'..='\u{9fff}').contains(letter))
    };
    let stays = |place: usize, letter: char| {
        let is_joiner = matches!(letter, '\u{200c}' | '\u{200d}');
        !is_invisible(letter)
            || (is_joiner && joins(place.checked_sub(1).and_then(|before| letters.get(before))) && joins(letters.get(place + 1)))
    };
    let left: String = letters.iter().enumerate().filter(|&(place, &letter)| stays(place, letter)).map(|(_, letter)| *letter).collect();
    (left != text).then_some(left)
}

/// Takes what nobody sees out of every text that people read, and says where it stood.
pub(super) fn strip_invisible(draft: &mut Draft, warnings: &mut Vec<Fault>) {
    let info = draft.info_path.clone();
    let own: [(&str, &mut String); 8] = [
        ("senderName", &mut draft.sender_name),
        ("event", &mut draft.event_name),
        ("headline", &mut draft.headline),
        ("description", &mut draft.description),
        ("instruction", &mut draft.instruction),
        ("note", &mut draft.note),
        ("web", &mut draft.web),
        ("contact", &mut draft.contact),
    ];
    let mut texts: Vec<(String, &mut String)> = own.into_iter().map(|(name, text)| (format!("{info}{name}"), text)).collect();
    for (place, one) in draft.translations.iter_mut().enumerate() {
        let own = [
            ("event", &mut one.event),
            ("headline", &mut one.headline),
            ("description", &mut one.description),
            ("instruction", &mut one.instruction),
        ];
        texts.extend(own.into_iter().map(|(name, text)| (format!("translations[{place}].{name}"), text)));
    }
    texts.extend(draft.event.iter_mut().map(|code| (format!("{info}event"), code)));
    texts.extend(draft.areas.iter_mut().map(|area| (format!("{}.name", area.path), &mut area.name)));
    texts.extend(draft.texts.iter_mut().map(|(kind, text)| (format!("texts.{kind}"), text)));
    for (path, text) in texts {
        let Some(left) = visible(text) else { continue };
        let first = text.chars().find(|letter| is_invisible(*letter)).map_or(0, u32::from);
        let message = format!("signs that nobody sees were taken out, such as U+{first:04X}: they turn text round or hide in it");
        warnings.push(Fault::new(path, "invisible-characters", message));
        *text = left;
    }
}

/// On one line: layout is no part of what is said.
pub(super) fn line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// With the line ends that XML keeps.
pub(super) fn lines(text: &str) -> String {
    text.trim().replace("\r\n", "\n").replace('\r', "\n")
}

pub(super) fn tidy(translation: &Translation) -> Translation {
    Translation {
        language: translation.language.clone(),
        event: line(&translation.event),
        headline: line(&translation.headline),
        description: lines(&translation.description),
        instruction: lines(&translation.instruction),
    }
}

/// The words of an alert are those in Chinese wherever a document has them, as in CAP with several blocks; the others are its translations.
pub(super) fn chinese_first(draft: &mut Draft) {
    if draft.language.is_empty() || draft.language.starts_with("zh") {
        return;
    }
    if let Some(chinese) = draft.translations.iter_mut().find(|one| one.language.starts_with("zh")) {
        std::mem::swap(&mut draft.language, &mut chinese.language);
        std::mem::swap(&mut draft.event_name, &mut chinese.event);
        std::mem::swap(&mut draft.headline, &mut chinese.headline);
        std::mem::swap(&mut draft.description, &mut chinese.description);
        std::mem::swap(&mut draft.instruction, &mut chinese.instruction);
    }
}

/// One block for each language, as CAP has it.
pub(super) fn translations(draft: &Draft, faults: &mut Faults) {
    if draft.translations.len() > TRANSLATIONS_MAX {
        faults.add("translations", "too-many", format!("{} translations; at most {TRANSLATIONS_MAX} are read", draft.translations.len()));
        return;
    }
    for (place, one) in draft.translations.iter().enumerate() {
        let path = |field: &str| format!("translations[{place}].{field}");
        let own = if draft.language.is_empty() { "zh-CN" } else { &draft.language };
        if one.language == own || draft.translations[..place].iter().any(|other| other.language == one.language) {
            faults.add(path("language"), "given-twice", format!("the words in {:?} are given already", one.language));
        } else if one.language.is_empty() {
            faults.add(path("language"), "missing", "must be given");
        }
        for (field, text) in
            [("event", &one.event), ("headline", &one.headline), ("description", &one.description), ("instruction", &one.instruction)]
        {
            if text.chars().count() > TEXT_CHARS_MAX {
                faults.add(path(field), "too-long", format!("more than {TEXT_CHARS_MAX} characters"));
            }
            control_characters(text, &path(field), true, faults);
        }
    }
}

/// Words that people write where a tag is meant.
const LANGUAGE_WORDS: &[(&str, &str)] = &[
    ("中文", "zh-CN"),
    ("汉语", "zh-CN"),
    ("汉文", "zh-CN"),
    ("普通话", "zh-CN"),
    ("简体中文", "zh-CN"),
    ("chinese", "zh-CN"),
    ("cn", "zh-CN"),
    ("繁体中文", "zh-Hant"),
    ("藏语", "bo"),
    ("藏文", "bo"),
    ("羌语", "qxs"),
    ("彝语", "ii"),
    ("彝文", "ii"),
    ("维吾尔语", "ug"),
    ("维吾尔文", "ug"),
    ("蒙古语", "mn"),
    ("蒙古文", "mn"),
    ("哈萨克语", "kk"),
    ("朝鲜语", "ko"),
    ("壮语", "za"),
    ("英语", "en"),
    ("英文", "en"),
    ("english", "en"),
];

/// The tag (RFC 5646, as `xs:language` has it) that is meant: `zh_CN.UTF-8` and 中文 are `zh-CN`. `None` when no tag can be made of it.
pub(super) fn language_tag(said: &str) -> Option<String> {
    let said = said.trim();
    let lower = said.to_lowercase();
    if let Some((_, tag)) = LANGUAGE_WORDS.iter().find(|(word, _)| *word == lower) {
        return Some((*tag).to_owned());
    }
    // A locale of an operating system ends in its encoding.
    let tag = said.split(['.', '@']).next().unwrap_or_default().replace('_', "-");
    let is_part = |(place, part): (usize, &str)| {
        let letters = |byte: u8| byte.is_ascii_alphabetic() || (place > 0 && byte.is_ascii_digit());
        (1..=8).contains(&part.len()) && part.bytes().all(letters)
    };
    (tag.len() <= LANGUAGE_CHARS_MAX && tag.split('-').enumerate().all(is_part)).then_some(tag)
}

/// Brings the tags of a draft to their form; what is none is a fault.
pub(super) fn languages(draft: &mut Draft, faults: &mut Faults, warnings: &mut Vec<Fault>) {
    let own = format!("{}language", draft.info_path);
    let further =
        draft.translations.iter_mut().enumerate().map(|(place, one)| (format!("translations[{place}].language"), &mut one.language));
    for (path, language) in std::iter::once((own, &mut draft.language)).chain(further) {
        if language.is_empty() {
            continue;
        }
        match language_tag(language) {
            Some(tag) if tag == *language => {}
            Some(tag) => {
                let shown: String = language.chars().take(LANGUAGE_CHARS_MAX).collect();
                warnings.push(Fault::new(path, "language-corrected", format!("{shown:?} is no language tag; {tag} is taken for it")));
                *language = tag;
            }
            None => faults.add(path, "bad-value", "is not a language tag such as zh-CN"),
        }
    }
}

pub(super) fn texts(draft: &Draft, info: &impl Fn(&str) -> String, msg_type: MsgType, faults: &mut Faults, warnings: &mut Vec<Fault>) {
    let long = [("description", &draft.description), ("instruction", &draft.instruction), ("note", &draft.note)];
    for (field, text) in long {
        if text.chars().count() > TEXT_CHARS_MAX {
            faults.add(info(field), "too-long", format!("more than {TEXT_CHARS_MAX} characters"));
        }
        control_characters(text, &info(field), true, faults);
    }
    let short = [("headline", &draft.headline), ("senderName", &draft.sender_name), ("contact", &draft.contact), ("web", &draft.web)];
    for (field, text) in short {
        if text.chars().count() > HEADLINE_CHARS_MAX {
            faults.add(info(field), "too-long", format!("more than {HEADLINE_CHARS_MAX} characters"));
        }
        control_characters(text.trim(), &info(field), false, faults);
    }
    let event_name = line(&draft.event_name);
    if event_name.chars().count() > HEADLINE_CHARS_MAX {
        faults.add(info("event"), "too-long", format!("more than {HEADLINE_CHARS_MAX} characters"));
    }
    control_characters(&event_name, &info("event"), false, faults);
    for (kind, text) in &draft.texts {
        let path = format!("texts.{kind}");
        if text.chars().count() > TEXT_CHARS_MAX {
            faults.add(path.clone(), "too-long", format!("more than {TEXT_CHARS_MAX} characters"));
        }
        control_characters(text, &path, true, faults);
    }
    if draft.headline.trim().is_empty() && draft.description.trim().is_empty() {
        warnings.push(Fault::new(info("headline"), "nothing-said", "neither headline nor description say anything"));
    }
    if draft.instruction.trim().is_empty() && msg_type != MsgType::Cancel {
        warnings.push(Fault::new(info("instruction"), "no-measures", "the measures that keep people safe are missing"));
    }
}

/// Identifiers such as `G01002`: words that lists of them can be made of.
pub(super) fn groups(groups: &[String], faults: &mut Faults) {
    if groups.len() > GROUPS_MAX {
        faults.add("groups", "too-many", format!("{} groups; at most {GROUPS_MAX} are read", groups.len()));
    }
    for (place, group) in groups.iter().enumerate() {
        let path = format!("groups[{place}]");
        if group.is_empty() || group.chars().count() > GROUP_CHARS_MAX {
            faults.add(path, "too-long", format!("must have 1 to {GROUP_CHARS_MAX} characters"));
        } else if group.chars().any(|letter| letter.is_whitespace() || letter.is_control() || letter == ',') {
            faults.add(path, "bad-character", "must hold no blank and no comma");
        }
    }
}

/// Line ends would forge headers and lines of their own; other control characters are never text.
pub(super) fn control_characters(text: &str, path: &str, lines: bool, faults: &mut Faults) {
    // The two noncharacters are forbidden in XML, so that no CAP document could say them.
    let is_bad = |letter: char| {
        matches!(letter, '\u{fffe}' | '\u{ffff}') || (letter.is_control() && !(letter == '\t' || (lines && matches!(letter, '\n' | '\r'))))
    };
    if let Some((place, letter)) = text.chars().enumerate().find(|(_, letter)| is_bad(*letter)) {
        faults.add(path, "control-character", format!("character {} is U+{:04X}", place + 1, u32::from(letter)));
    }
}
