//! Owns what spreadsheets and hands do to a cell before it is read: signs nobody sees, wide digits, formats that ate digits, errors of formulas.
//! Refuses to know records. Invariant: a cell is brought to what was meant, or is at fault; no error of a formula becomes a name.

use std::borrow::Cow;

use super::{columns::is_unseen, phone::PhoneNumber};

/// What a cell came to.
pub(super) enum Tidy<'a> {
    Text(Cow<'a, str>),
    /// Read otherwise than written: worth a warning.
    Changed(String, &'static str, String),
    Fault(&'static str, String),
}

/// Values that spreadsheets write where a formula failed.
const ERRORS: &[&str] =
    &["#N/A", "#REF!", "#VALUE!", "#NAME?", "#DIV/0!", "#NULL!", "#NUM!", "#SPILL!", "#CALC!", "#GETTING_DATA", "#BLOCKED!", "#FIELD!"];
/// Ways to say that there is none.
const NONE: &[&str] = &["无", "没有", "暂无", "无电话", "无手机", "-", "--", "—", "/", "\\", "\u{ff0f}", "N/A", "n/a", "空", "0"];
/// Between two numbers in one cell.
const BETWEEN: &[char] = &['、', '\u{ff0c}', ',', '\u{ff1b}', ';', '/', '\u{ff0f}', '|', '\n', '\r', ' ', '\u{3000}', '或', '和'];

/// Whether its values are codes and numbers: written without blanks, in narrow digits.
fn is_code(column: &str) -> bool {
    matches!(
        column,
        "code" | "area" | "parent" | "id" | "hazard_point" | "backup" | "monitor" | "lon" | "lat" | "people" | "radius_m" | "phone"
    )
}

pub(super) fn tidy<'a>(column: &str, written: &'a str) -> Tidy<'a> {
    let mut text = Cow::Borrowed(written.trim());
    if text.is_empty() {
        return Tidy::Text(text);
    }
    if text.contains(is_unseen) {
        text = Cow::Owned(text.chars().filter(|letter| !is_unseen(*letter)).collect::<String>().trim().to_owned());
    }
    let upper = text.to_ascii_uppercase();
    if ERRORS.contains(&&*upper) {
        return Tidy::Fault("error-cell", format!("holds {upper}, the error of a formula: correct the formula, or write the value"));
    }
    if text.starts_with('=') && upper.contains("DISPIMG(") {
        return Tidy::Fault("error-cell", "holds a picture (DISPIMG), which has no text: write the value".to_owned());
    }
    if !is_code(column) {
        return Tidy::Text(text);
    }
    if text.contains(|letter| matches!(letter, '\u{ff01}'..='\u{ff5e}')) {
        let narrow = |letter: char| match letter {
            '\u{ff0c}' | '\u{ff1b}' => letter,
            '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(letter) - 0xfee0).unwrap_or(letter),
            letter => letter,
        };
        text = Cow::Owned(text.chars().map(narrow).collect());
    }
    // Excel's mark for "this is text", typed or copied along.
    if text.starts_with(['\'', '’', '‘', '`']) {
        text = Cow::Owned(text.trim_start_matches(['\'', '’', '‘', '`']).trim().to_owned());
    }
    if is_exponent(&text) {
        let message =
            format!("{text} is a number in Excel's number format: its digits are lost; format the column as text and type it again");
        return Tidy::Fault("number-format", message);
    }
    if let Some(whole) = text.strip_suffix(".0").filter(|whole| whole.len() > 4 && whole.bytes().all(|byte| byte.is_ascii_digit())) {
        text = Cow::Owned(whole.to_owned());
    }
    if column == "phone" { phone(text) } else { Tidy::Text(text) }
}

fn phone(text: Cow<'_, str>) -> Tidy<'_> {
    if NONE.contains(&&*text) {
        return Tidy::Changed(String::new(), "no-phone", format!("{text:?} is read as no telephone number"));
    }
    if text.parse::<PhoneNumber>().is_ok() {
        return Tidy::Text(text);
    }
    let numbers: Vec<PhoneNumber> = text.split(BETWEEN).filter_map(|part| part.parse().ok()).collect();
    match numbers.iter().find(|number| number.is_mobile()).or(numbers.first()) {
        // The number itself stands in no warning.
        Some(number) => Tidy::Changed(
            number.expose().to_owned(),
            "several-numbers",
            format!("holds several numbers; {number} is taken: the first mobile, else the first"),
        ),
        None => Tidy::Text(text),
    }
}

/// `1.38E+10`.
fn is_exponent(text: &str) -> bool {
    let Some((number, exponent)) = text.split_once(['E', 'e']) else { return false };
    let exponent = exponent.strip_prefix('+').unwrap_or(exponent);
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
    // 12E3 is the name of somebody's house; 1.2E+10 is nobody's.
    is_digits(exponent) && is_digits(whole) && is_digits(decimals) && (number.contains('.') || text.contains('+'))
}

/// Whether a row is the sum or the signature below a list.
pub(super) fn is_foot(first: &str) -> bool {
    const WORDS: &[&str] = &[
        "合计",
        "总计",
        "小计",
        "共计",
        "制表人",
        "制表",
        "填表人",
        "填报人",
        "审核人",
        "审核",
        "负责人签字",
        "备注：",
        "备注:",
        "注：",
        "注:",
        "说明：",
        "填报单位",
        "联系人：",
    ];
    let bare: String = first.chars().filter(|letter| !letter.is_whitespace() && !is_unseen(*letter)).collect();
    WORDS.iter().any(|word| bare.starts_with(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(column: &str, written: &str) -> String {
        match tidy(column, written) {
            Tidy::Text(text) => text.into_owned(),
            Tidy::Changed(text, rule, _) => format!("{text} [{rule}]"),
            Tidy::Fault(rule, _) => format!("[{rule}]"),
        }
    }

    #[test]
    fn a_cell_is_brought_to_what_was_meant_or_is_at_fault() {
        for (column, written, meant) in [
            ("phone", "\u{202d}13800138000\u{202c}", "13800138000"),
            ("phone", "'13800138000", "13800138000"),
            ("phone", "\u{200e}138\u{a0}0013\u{200b}8000", "138\u{a0}00138000"),
            ("phone", "13912345678、0816-4822123", "13912345678 [several-numbers]"),
            ("phone", "0816-4822123 / 13912345678", "13912345678 [several-numbers]"),
            ("phone", "无", " [no-phone]"),
            ("phone", "1.38123E+10", "[number-format]"),
            ("phone", "13812345678.0", "13812345678"),
            ("area", "５１０７２６１０１", "510726101"),
            ("area", "5.19921E+11", "[number-format]"),
            ("name", "#N/A", "[error-cell]"),
            ("route", "#REF!", "[error-cell]"),
            ("name", "=DISPIMG(\"ID_1\",1)", "[error-cell]"),
            ("id", "12E3", "12E3"),
            ("name", "张\u{202c}三", "张三"),
        ] {
            assert_eq!(text(column, written), meant, "{column} {written:?}");
        }
    }

    #[test]
    fn a_warning_shows_no_whole_number() {
        let Tidy::Changed(_, _, message) = tidy("phone", "13912345678、0816-4822123") else { panic!("two numbers") };
        assert!(!message.contains("12345"), "{message}");
    }
}
