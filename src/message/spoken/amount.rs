//! Owns one number in a text: its digits, its date or time, its sign, what it counts, and the range that it belongs to.
//! Refuses to know telephones. Invariant: pure reading of letters; nothing is said here.

use super::{
    numeral,
    words::{ends, starts, unit},
};

/// Marks that stand for "to" between two numbers; the first of a number, most of them are a minus.
pub(super) fn is_dash(letter: char) -> bool {
    matches!(letter, '-' | '–' | '—' | '−' | '‐' | '‑' | '―' | '─')
}

pub(super) fn is_wave(letter: char) -> bool {
    matches!(letter, '~' | '〜' | '∼' | '〰')
}

/// A decimal number as written.
pub(super) struct Amount {
    pub(super) whole: String,
    pub(super) decimals: String,
    pub(super) end: usize,
}

impl Amount {
    pub(super) fn at(letters: &[char], at: usize) -> Option<Self> {
        let mut whole = digits(letters, at);
        let mut end = at + whole.len();
        if whole.is_empty() && letters.get(at) != Some(&'.') {
            return None;
        }
        // Thousands: groups of exactly three; a wide comma joins nothing but zeros, since 50，100 is two numbers.
        while (1..=3).contains(&whole.len()) || end > at + whole.len() {
            let wide = letters.get(end) == Some(&'\u{ff0c}');
            let group = digits(letters, end + 1);
            if !(wide && group == "000" || letters.get(end) == Some(&',') && group.len() == 3 && !whole.starts_with('0')) {
                break;
            }
            whole.push_str(&group);
            end += 1 + group.len();
        }
        let decimals = if letters.get(end) == Some(&'.') { digits(letters, end + 1) } else { String::new() };
        if !decimals.is_empty() {
            end += 1 + decimals.len();
        }
        (!whole.is_empty() || !decimals.is_empty()).then_some(Self { whole, decimals, end })
    }

    pub(super) fn is_zero(&self) -> bool {
        self.whole.chars().chain(self.decimals.chars()).all(|digit| digit == '0')
    }

    pub(super) fn said(&self) -> String {
        // 007 is a name, 08 before 时 a number.
        if self.whole.len() > 1 && self.whole.starts_with('0') && self.decimals.is_empty() {
            return numeral::one_by_one(&self.whole);
        }
        numeral::number(&self.whole, &self.decimals)
    }
}

pub(super) fn digits(letters: &[char], at: usize) -> String {
    letters.get(at..).unwrap_or_default().iter().take_while(|letter| letter.is_ascii_digit()).collect()
}

/// Where the number begins that `at` leads to by a mark of a range; `None` when none does.
pub(super) fn other_end(letters: &[char], at: usize) -> Option<usize> {
    let mut start = blanks(letters, at);
    let marks = letters[start..].iter().take(2).take_while(|letter| is_dash(**letter) || is_wave(**letter)).count();
    if marks == 0 {
        return None;
    }
    // The second of two marks may be the minus of what follows: 5~-3.
    let is_minus = marks == 2 && (letters[start + 1] == '-' || letters[start] != letters[start + 1]);
    start = blanks(letters, start + if is_minus { 1 } else { marks });
    let number = if is_minus || letters.get(start).copied().is_some_and(is_dash) { start + 1 } else { start };
    letters.get(number).is_some_and(|letter| letter.is_ascii_digit() || *letter == '.').then_some(start)
}

fn blanks(letters: &[char], at: usize) -> usize {
    at + letters.get(at..).unwrap_or_default().iter().take_while(|letter| **letter == ' ').count()
}

/// The letters behind the last number of the range that begins at `at`: `80-90%` gives those of the percent sign.
pub(super) fn behind_range(letters: &[char], at: usize) -> &[char] {
    let mut end = at;
    for _ in 0..RANGE_MAX {
        let start = letters.get(end).copied().filter(|letter| is_dash(*letter)).map_or(end, |_| end + 1);
        let Some(amount) = Amount::at(letters, start) else { break };
        end = amount.end;
        match other_end(letters, end) {
            Some(next) => end = next,
            None => break,
        }
    }
    letters.get(end..).unwrap_or_default()
}

/// Nobody writes a range of more ends.
const RANGE_MAX: usize = 4;

/// Whether a number counts degrees of heat, by its unit or by the words before it.
pub(super) fn is_temperature(letters: &[char], number: usize) -> bool {
    let behind = behind_range(letters, number);
    let by_unit = unit(behind).is_some_and(|(_, said)| matches!(said, "摄氏度" | "华氏度")) || starts(behind, "摄氏度");
    let before = &letters[..number];
    let clause = before.iter().rev().take(WORDS_BEFORE).take_while(|letter| !matches!(letter, '。' | '\u{ff1b}' | '\n'));
    let by_words = clause.into_iter().any(|letter| *letter == '温');
    by_unit || starts(behind, "度") || by_words && unit(behind).is_none()
}

/// How far before a number its subject stands: 最低气温将降至.
const WORDS_BEFORE: usize = 10;

/// `2026-7-23`, `2026/07/23`, `2026.7.23`, `2026-07`: how it is said and where it ends.
pub(super) fn date(letters: &[char], at: usize) -> Option<(usize, String)> {
    let year = digits(letters, at);
    let mark = letters.get(at + year.len()).copied().filter(|mark| matches!(mark, '-' | '/' | '.'))?;
    let is_year = year.len() == 4 && (year.starts_with("19") || year.starts_with("20") || year.starts_with("21"));
    let month = digits(letters, at + year.len() + 1);
    let (months, mut end) = (month.parse::<u32>().ok()?, at + year.len() + 1 + month.len());
    if !is_year || month.len() > 2 || !(1..=12).contains(&months) {
        return None;
    }
    let year = numeral::one_by_one(&year);
    let months = numeral::number(&month, "");
    let day = letters.get(end).filter(|next| **next == mark).map(|_| digits(letters, end + 1)).filter(|day| (1..=2).contains(&day.len()));
    let Some(day) = day.filter(|day| day.parse::<u32>().is_ok_and(|day| (1..=31).contains(&day))) else {
        // 2026-07 without a day: the zero tells it from a range.
        let is_month = mark == '-' && month.starts_with('0') && !letters.get(end).is_some_and(|next| *next == '年' || is_dash(*next));
        return is_month.then(|| (end, format!("{year}年{months}月")));
    };
    end += 1 + day.len();
    if letters.get(end).is_some_and(char::is_ascii_digit) {
        return None;
    }
    Some((end, format!("{year}年{months}月{}日", numeral::number(&day, ""))))
}

/// `10:15`, `10:15:00` and the zone behind it.
pub(super) fn time(letters: &[char], at: usize) -> Option<(usize, String)> {
    let hour = digits(letters, at);
    let mut end = at + hour.len();
    letters.get(end).filter(|mark| matches!(mark, ':' | '\u{ff1a}'))?;
    let minute = digits(letters, end + 1);
    let (hours, minutes): (u32, u32) = (hour.parse().ok()?, minute.parse().ok()?);
    if hour.len() > 2 || minute.len() != 2 || hours > 24 || minutes > 59 {
        return None;
    }
    end += 1 + minute.len();
    let mut said = format!("{}时", numeral::number(&hour, ""));
    let second = letters
        .get(end)
        .filter(|mark| matches!(mark, ':' | '\u{ff1a}'))
        .map(|_| digits(letters, end + 1))
        .filter(|second| second.len() == 2);
    let has_second = second.as_ref().is_some_and(|second| second != "00");
    if minutes > 0 || has_second {
        said.push_str(&if minute.starts_with('0') { numeral::one_by_one(&minute) } else { numeral::number(&minute, "") });
        said.push('分');
    }
    if let Some(second) = second {
        end += 3;
        if has_second {
            said.push_str(&numeral::number(&second, ""));
            said.push('秒');
        }
    }
    if ends(&letters[..at], &["T"]) && starts(&letters[end..], "+08:00") {
        end += "+08:00".len();
    }
    Some((end, said))
}

/// Whether four digits are a year: said one by one.
pub(super) fn is_year(amount: &Amount, behind: &[char]) -> bool {
    amount.decimals.is_empty() && amount.whole.len() == 4 && starts(behind, "年") && !starts(behind, "年一遇")
}
