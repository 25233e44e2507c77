//! Owns numbers in Chinese characters: engines read digits their own way, and some say 150 for 105.
//! Refuses to know units. Invariant: what is read back from the characters is the number that was written.

const DIGITS: [char; 10] = ['零', '一', '二', '三', '四', '五', '六', '七', '八', '九'];
const PLACES: [&str; 4] = ["", "十", "百", "千"];
/// Longer numbers are nobody's amount; they are said digit by digit.
const DIGITS_MAX: usize = 16;

pub(super) fn is_numeral(letter: char) -> bool {
    DIGITS.contains(&letter) || matches!(letter, '〇' | '十' | '百' | '千' | '万' | '亿' | '点' | '两' | '幺')
}

/// A whole number, `1002` as 一千零二; digits behind the point one by one.
pub(super) fn number(whole: &str, decimals: &str) -> String {
    let bare = whole.trim_start_matches('0');
    let mut said = if bare.len() > DIGITS_MAX { one_by_one(bare) } else { value(bare) };
    if !decimals.is_empty() {
        said.push('点');
        said.push_str(&one_by_one(decimals));
    }
    said
}

/// `2026` as 二零二六.
pub(super) fn one_by_one(digits: &str) -> String {
    digits.chars().map(digit).collect()
}

/// As over the telephone: 幺 for a one, since 一 is mistaken for 七.
pub(super) fn dialled(digits: &str) -> String {
    digits.chars().map(|letter| if letter == '1' { '幺' } else { digit(letter) }).collect()
}

fn digit(letter: char) -> char {
    letter.to_digit(10).and_then(|digit| DIGITS.get(digit as usize)).copied().unwrap_or(letter)
}

/// Digits without zeros in front, at most `DIGITS_MAX`.
fn value(digits: &str) -> String {
    if digits.is_empty() { "零".to_owned() } else { grouped(digits, true) }
}

/// `leads`: nothing is said before it, so that fifteen is 十五 and not 一十五.
fn grouped(digits: &str, leads: bool) -> String {
    let (group, word) = match digits.len() {
        0..=4 => return four(digits, leads),
        5..=8 => (4, '万'),
        _ => (8, '亿'),
    };
    let (high, low) = digits.split_at(digits.len() - group);
    let rest = low.trim_start_matches('0');
    let gap = if rest.len() < low.len() && !rest.is_empty() { "零" } else { "" };
    let rest = if rest.is_empty() { String::new() } else { grouped(rest, false) };
    format!("{}{word}{gap}{rest}", grouped(high, leads))
}

fn four(digits: &str, leads: bool) -> String {
    let mut said = String::new();
    let mut skipped = false;
    for (at, letter) in digits.chars().enumerate() {
        if letter == '0' {
            skipped = true;
            continue;
        }
        if skipped {
            said.push('零');
        }
        skipped = false;
        let place = digits.len() - at - 1;
        if !(leads && letter == '1' && place == 1 && said.is_empty()) {
            said.push(digit(letter));
        }
        said.push_str(PLACES[place]);
    }
    said
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The number that a listener understands, by rules of its own: `None` when it is none.
    pub(in crate::message::spoken) fn heard(said: &str) -> Option<(u128, String)> {
        let (whole, decimals) = said.split_once('点').unwrap_or((said, ""));
        let of = |letter: char| DIGITS.iter().position(|known| *known == letter).map(|at| at as u128);
        let decimals: String = decimals.chars().map(|letter| of(letter).map(|digit| digit.to_string())).collect::<Option<_>>()?;
        let is_row = whole.chars().count() > 1 && whole.chars().all(|letter| of(letter).is_some());
        if is_row {
            let digits: String = whole.chars().filter_map(of).map(|digit| digit.to_string()).collect();
            return Some((digits.parse().ok()?, decimals));
        }
        let (mut total, mut section, mut last) = (0, 0, None);
        for letter in whole.chars() {
            match letter {
                '十' => section += last.take().unwrap_or(1) * 10,
                '百' => section += last.take()? * 100,
                '千' => section += last.take()? * 1_000,
                '万' => (total, section, last) = (total + (section + last.unwrap_or(0)) * 10_000, 0, None),
                '亿' => (total, section, last) = ((total + section + last.unwrap_or(0)) * 100_000_000, 0, None),
                letter => last = Some(of(letter)?),
            }
        }
        Some((total + section + last.unwrap_or(0), decimals))
    }

    #[test]
    fn numbers_are_said_as_people_say_them() {
        for (written, said) in [
            ("0", "零"),
            ("10", "十"),
            ("15", "十五"),
            ("105", "一百零五"),
            ("110", "一百一十"),
            ("205", "二百零五"),
            ("1002", "一千零二"),
            ("2020", "二千零二十"),
            ("10000", "一万"),
            ("10005", "一万零五"),
            ("100000", "十万"),
            ("1200000", "一百二十万"),
            ("100010001", "一亿零一万零一"),
            ("20000000000", "二百亿"),
        ] {
            assert_eq!(number(written, ""), said, "{written}");
        }
        assert_eq!(number("12", "05"), "十二点零五");
        assert_eq!(dialled("12110"), "幺二幺幺零");
    }

    proptest! {
        #[test]
        fn a_number_is_heard_as_it_was_written(whole in 0_u64..9_999_999_999_999_999, decimals in "[0-9]{0,3}") {
            prop_assert_eq!(heard(&number(&whole.to_string(), &decimals)), Some((u128::from(whole), decimals)));
        }
    }
}
