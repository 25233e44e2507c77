//! Owns how written text is said: numbers with units, dates, times, ranges, telephone numbers, numerals; no sign that is only for the eye.
//! Refuses to know alerts. Invariant: what comes out holds letters, numbers in Chinese characters and the stops of sentences;
//! no number, minus or "to" that is written is lost, and no two numbers become one.

mod amount;
mod numeral;
mod phone;
#[cfg(test)]
mod tests;
mod words;
mod written;

use amount::{Amount, is_dash, is_wave};

pub(super) use written::is_invisible;

/// A short stop between two parts of a sentence.
pub(super) const PAUSE: char = '\u{ff0c}';

pub(super) fn spoken(text: &str) -> String {
    let letters = written::letters(text);
    let mut speaker = Speaker {
        letters: &letters,
        at: 0,
        said: String::with_capacity(text.len()),
        number_to: None,
        dialled_to: None,
        below: false,
        hashed_at: None,
    };
    while speaker.at < letters.len() {
        speaker.next();
    }
    tidy(&speaker.said)
}

struct Speaker<'a> {
    letters: &'a [char],
    at: usize,
    said: String,
    /// Where the last number ended, with what it counts.
    number_to: Option<usize>,
    dialled_to: Option<usize>,
    /// The last number was below zero: the other end of its range says on which side it lies.
    below: bool,
    /// The number that begins here was named by a `#` before it.
    hashed_at: Option<usize>,
}

impl Speaker<'_> {
    fn next(&mut self) {
        let letter = self.letters[self.at];
        let took = self.address()
            || self.telephone(letter)
            || (letter.is_ascii_digit() || letter == '.') && self.number()
            || self.roman(letter)
            || self.hash(letter)
            || self.dash(letter)
            || self.wave(letter)
            || self.between(letter)
            || self.money(letter)
            || self.sign();
        if !took {
            put(letter, &mut self.said);
            self.at += 1;
        }
    }

    fn rest(&self) -> &[char] {
        &self.letters[self.at..]
    }

    /// Whether a number and what it counts ends just here, blanks aside.
    fn behind_number(&self) -> bool {
        self.number_to.is_some_and(|end| self.letters[end.min(self.at)..self.at].iter().all(|letter| *letter == ' '))
    }

    fn digit_at(&self, at: usize) -> bool {
        self.letters.get(at).is_some_and(char::is_ascii_digit)
    }

    /// An address of the web cannot be said; it is passed over.
    fn address(&mut self) -> bool {
        if !["http://", "https://", "HTTP://", "HTTPS://", "www."].iter().any(|head| words::starts(self.rest(), head)) {
            return false;
        }
        self.at += self.rest().iter().take_while(|letter| letter.is_ascii_graphic()).count();
        true
    }

    fn telephone(&mut self, letter: char) -> bool {
        let may_begin = letter.is_ascii_digit() || matches!(letter, '+' | '(' | '\u{ff08}');
        let Some(number) = may_begin.then(|| phone::at(self.letters, self.at, self.dialled_to)).flatten() else { return false };
        let groups: Vec<String> = number.groups.iter().map(|group| numeral::dialled(group)).collect();
        self.put_number(&groups.join("\u{ff0c}"));
        self.at = number.end;
        self.dialled_to = Some(number.end);
        true
    }

    /// A number, never grown together with one before it.
    fn put_number(&mut self, said: &str) {
        let source = self.at.checked_sub(1).and_then(|last| self.letters.get(last));
        let goes_on = source.is_some_and(|letter| matches!(letter, '百' | '千' | '万' | '亿')) && self.number_to != Some(self.at);
        let goes_on = goes_on || source.is_some_and(|letter| matches!(letter, '万' | '亿'));
        if !goes_on && self.said.chars().next_back().is_some_and(numeral::is_numeral) {
            self.said.push(PAUSE);
        }
        self.said.push_str(said);
    }

    fn number(&mut self) -> bool {
        if let Some((end, said)) = amount::date(self.letters, self.at).or_else(|| amount::time(self.letters, self.at)) {
            self.put_number(&said);
            self.at = end;
            // 2026-07-23T10:15 and its like.
            let is_stamp = self.letters.get(end) == Some(&'T') && self.digit_at(end + 1);
            self.at += usize::from(is_stamp);
            self.number_to = Some(self.at);
            return true;
        }
        let Some(amount) = Amount::at(self.letters, self.at) else { return false };
        let before = self.at.checked_sub(1).map(|last| self.letters[last]);
        if amount.whole.is_empty() && before.is_some_and(|last| last.is_ascii_alphanumeric() || last == '.') {
            return false;
        }
        let behind = &self.letters[amount.end..];
        if before.is_some_and(|last| last.is_ascii_alphabetic()) && amount.decimals.is_empty() {
            // Names such as G4201 are said letter by letter.
            self.put_number(&numeral::one_by_one(&amount.whole));
            self.at = amount.end;
            self.number_to = Some(self.at);
            return true;
        }
        if self.part(&amount) || self.times(&amount, before) {
            return true;
        }
        self.counted(&amount, behind);
        true
    }

    /// `3/4` and `5/6号楼`.
    fn part(&mut self, amount: &Amount) -> bool {
        if !matches!(self.letters.get(amount.end), Some('/' | '⁄')) || !amount.decimals.is_empty() {
            return false;
        }
        let Some(below) = Amount::at(self.letters, amount.end + 1) else { return false };
        let values = (amount.whole.parse::<u64>(), below.whole.parse::<u64>());
        let is_third = matches!(self.letters.get(below.end), Some('/'));
        let behind = self.letters.get(below.end..).unwrap_or_default();
        let names = ["号", "日", "级", "栋", "楼", "单元", "组", "幢", "#", "时", "月"].iter().any(|word| words::starts(behind, word));
        let is_part =
            matches!(values, (Ok(above), Ok(below)) if above > 0 && above < below) && !is_third && !names && below.decimals.is_empty();
        if !is_part {
            return false;
        }
        self.put_number(&format!("{}分之{}", below.said(), amount.said()));
        self.at = below.end;
        self.number_to = Some(self.at);
        true
    }

    /// `10³`, `1:500`.
    fn times(&mut self, amount: &Amount, before: Option<char>) -> bool {
        let (mark, next) = (self.letters.get(amount.end).copied(), amount.end + 1);
        match mark {
            Some(power @ ('²' | '³')) => {
                self.put_number(&format!("{}的{}次方", amount.said(), if power == '²' { '二' } else { '三' }));
                self.at = next;
            }
            Some(':' | '\u{ff1a}') if self.digit_at(next) && before != Some(':') => {
                self.put_number(&format!("{}比", amount.said()));
                self.at = next;
                if let Some(other) = Amount::at(self.letters, next) {
                    self.said.push_str(&other.said());
                    self.at = other.end;
                }
            }
            _ => return false,
        }
        self.number_to = Some(self.at);
        true
    }

    /// A number with what it counts.
    fn counted(&mut self, amount: &Amount, behind: &[char]) {
        let first = behind.first().copied();
        let of_range = amount::behind_range(self.letters, self.at);
        let share = [('%', "百分之"), ('‰', "千分之")].into_iter().find(|(mark, _)| of_range.first() == Some(mark));
        let is_clock = ["时", "日", "月", "分", "点", "秒", "号"].iter().any(|word| words::starts(behind, word));
        let said = if amount::is_year(amount, of_range) {
            numeral::one_by_one(&amount.whole)
        } else if is_clock {
            numeral::number(&amount.whole, &amount.decimals)
        } else {
            amount.said()
        };
        let hashed = self.hashed_at == Some(self.at);
        match share {
            Some((mark, words)) => {
                self.put_number(&format!("{words}{said}"));
                self.at = amount.end + usize::from(first == Some(mark));
            }
            None => {
                self.put_number(&said);
                self.at = amount.end;
                self.counts(hashed);
            }
        }
        self.number_to = Some(self.at);
    }

    /// What stands behind a number that has just been said.
    fn counts(&mut self, hashed: bool) {
        let rest = self.rest();
        let one = ['一', '二', '三', '四', '五', '六', '七', '八', '九', '〇', '零'];
        match rest {
            ['#', ..] if !hashed => {
                self.said.push('号');
                self.at += 1;
                if self.digit_at(self.at) {
                    self.said.push('、');
                }
                return;
            }
            // A stroke that was typed for a dash: 50一100.
            ['一', next, ..] if next.is_ascii_digit() => {
                self.said.push('到');
                self.at += 1;
                return;
            }
            [next, ..] if one.contains(next) => {
                self.said.push(PAUSE);
                return;
            }
            _ => {}
        }
        if hashed && !words::starts(rest, "号") {
            self.said.push('号');
        }
        let counter = words::counter(self.rest());
        self.said.extend(&self.letters[self.at..self.at + counter]);
        self.at += counter;
        if let Some((length, said)) = words::unit(self.rest()) {
            self.said.push_str(said);
            self.at += length;
        }
        self.each();
        self.side();
    }

    /// `/小时` behind what is counted.
    fn each(&mut self) {
        const EACH: &[&str] = &["小时", "分钟", "秒", "天", "日", "人", "户", "平方米", "亩", "月", "年", "次", "立方米"];
        let ['/', behind @ ..] = self.rest() else { return };
        let is_hours = matches!(behind, [hours, 'h' | 'H', ..] if hours.is_ascii_digit());
        if is_hours || EACH.iter().any(|word| words::starts(behind, word)) {
            self.said.push('每');
            self.at += 1;
        }
    }

    /// `31.8°N` and the minutes and seconds of an angle.
    fn side(&mut self) {
        if self.rest().first() != Some(&'°') {
            return;
        }
        let side = match self.rest().get(1) {
            Some('N') => "北纬",
            Some('S') => "南纬",
            Some('E') => "东经",
            Some('W') => "西经",
            _ => return,
        };
        let number = self.said.char_indices().rev().take_while(|(_, letter)| numeral::is_numeral(*letter)).last();
        self.said.insert_str(number.map_or(self.said.len(), |(place, _)| place), side);
        self.said.push('度');
        self.at += 2;
    }

    /// `Ⅱ级`, and `II级` in letters.
    fn roman(&mut self, letter: char) -> bool {
        let (value, length) = match written::roman(letter) {
            Some(value) => (value, 1),
            None => {
                let before = self.at.checked_sub(1).map(|last| self.letters[last]);
                let run: String = self.rest().iter().take_while(|letter| letter.is_ascii_alphanumeric()).collect();
                let values = ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X"];
                let Some(value) = values.iter().position(|roman| *roman == run) else { return false };
                let behind = self.letters.get(self.at + run.len()).copied();
                let is_numeral =
                    matches!(behind, Some('级' | '度' | '号' | '类' | '期')) && !before.is_some_and(|last| last.is_ascii_alphanumeric());
                if !is_numeral {
                    return false;
                }
                (u32::try_from(value + 1).unwrap_or(1), run.len())
            }
        };
        self.put_number(&numeral::number(&value.to_string(), ""));
        self.at += length;
        let counter = words::counter(self.rest());
        self.said.extend(&self.letters[self.at..self.at + counter]);
        self.at += counter;
        self.number_to = Some(self.at);
        true
    }

    /// `#1` is said as `1#`: 一号.
    fn hash(&mut self, letter: char) -> bool {
        if letter != '#' || !self.digit_at(self.at + 1) {
            return false;
        }
        if self.said.ends_with('号') {
            self.said.push('、');
        }
        self.at += 1;
        self.hashed_at = Some(self.at);
        true
    }

    /// A dash is "to" behind a number, a minus before one, else a stop.
    fn dash(&mut self, letter: char) -> bool {
        if !is_dash(letter) {
            return false;
        }
        if self.behind_number() || self.is_between_words() {
            return self.to();
        }
        let next = self.at + 1;
        let number = self.digit_at(next) || self.letters.get(next) == Some(&'.') && self.digit_at(next + 1);
        let before = self.at.checked_sub(1).map(|last| self.letters[last]);
        let is_heat = number && amount::is_temperature(self.letters, next);
        if number && before.is_some_and(|last| last.is_ascii_alphanumeric()) && !is_heat {
            self.said.push('杠');
        } else if number && (is_heat || !matches!(letter, '—' | '―' | '─')) {
            self.said.push_str(if is_heat { "零下" } else { "负" });
            self.below = is_heat;
        } else {
            self.said.push(PAUSE);
        }
        self.at += 1;
        true
    }

    fn wave(&mut self, letter: char) -> bool {
        if !is_wave(letter) {
            return false;
        }
        if self.behind_number() {
            return self.to();
        }
        let next = self.letters.get(self.at + 1).copied();
        let is_about = next.is_some_and(|next| next.is_ascii_digit()) && !self.is_between_words();
        let word = if is_about { "约" } else { "到" };
        if !self.said.ends_with(word) {
            self.said.push_str(word);
        }
        self.at += 1;
        true
    }

    /// "To" with the sign of what follows; a dash that leads to nothing is a stop.
    fn to(&mut self) -> bool {
        let below = std::mem::take(&mut self.below);
        if let Some(start) = amount::other_end(self.letters, self.at) {
            self.said.push('到');
            self.at = start;
            self.number_to = None;
            let is_minus = self.letters.get(start).copied().is_some_and(is_dash);
            if !is_minus && below && Amount::at(self.letters, start).is_some_and(|amount| !amount.is_zero()) {
                self.said.push_str("零上");
            }
            return true;
        }
        let marks = self.rest().iter().take_while(|letter| is_dash(**letter) || is_wave(**letter)).count();
        let behind = self.letters.get(self.at + marks).copied();
        let leads = behind.is_some_and(|next| {
            is_time_word(next) || numeral::is_numeral(next) || next.is_ascii_alphabetic() || written::roman(next).is_some()
        });
        self.said.push(if leads { '到' } else { PAUSE });
        self.at += marks;
        true
    }

    /// `周一-周五`, `七—八级`, `5日上午-6日上午`: times and numbers in words.
    fn is_between_words(&self) -> bool {
        let Some(before) = self.at.checked_sub(1).map(|last| self.letters[last]) else { return false };
        let marks = self.rest().iter().take_while(|letter| is_dash(**letter) || is_wave(**letter)).count();
        let Some(behind) = self.letters.get(self.at + marks).copied() else { return false };
        let ends = numeral::is_numeral(before)
            || matches!(before, '午' | '晚' | '晨' | '夜' | '间' | '天' | '日' | '时' | '旬' | '后' | '月' | '年' | '级');
        ends && (behind.is_ascii_digit() || numeral::is_numeral(behind) || is_time_word(behind))
    }

    /// `5*8米`, `3=4`: signs that mean something between two numbers only.
    fn between(&mut self, letter: char) -> bool {
        let word = match letter {
            '*' | 'x' | 'X' | '✕' => '乘',
            '=' => '等',
            '+' => '加',
            _ => return false,
        };
        let next = self.letters.get(self.at + 1).copied().unwrap_or(' ');
        if self.behind_number() && next.is_ascii_digit() {
            self.said.push(word);
            if word == '等' {
                self.said.push('于');
            }
            self.number_to = None;
        } else if letter == '+'
            && next.is_ascii_digit()
            && !self.at.checked_sub(1).is_some_and(|last| self.letters[last].is_ascii_alphanumeric())
        {
            self.said.push_str(if amount::is_temperature(self.letters, self.at + 1) { "零上" } else { "正" });
        } else {
            return false;
        }
        self.at += 1;
        true
    }

    fn money(&mut self, letter: char) -> bool {
        let words = match letter {
            '¥' => "元",
            '$' => "美元",
            '€' => "欧元",
            '£' => "英镑",
            _ => return false,
        };
        self.at += 1;
        let Some(amount) = Amount::at(self.letters, self.at) else {
            if self.number_to == Some(self.at - 1) {
                self.said.push_str(words);
            }
            return true;
        };
        self.put_number(&amount.said());
        self.at = amount.end;
        let counter = self.rest().iter().take_while(|letter| matches!(letter, '万' | '亿' | '千' | '百' | '余' | '多')).count();
        self.said.extend(&self.letters[self.at..self.at + counter]);
        self.at += counter;
        self.said.push_str(words);
        self.number_to = Some(self.at);
        true
    }

    fn sign(&mut self) -> bool {
        let Some((length, said)) = words::sign(self.rest()) else { return false };
        let is_letter = self.rest()[0].is_ascii_alphabetic();
        let inside = self.at.checked_sub(1).is_some_and(|last| self.letters[last].is_ascii_alphanumeric());
        if is_letter && (inside || self.letters.get(self.at + length).is_some_and(char::is_ascii_alphanumeric)) {
            return false;
        }
        self.said.push_str(said);
        self.at += length;
        true
    }
}

/// Words of time that may be the other end of a range.
fn is_time_word(letter: char) -> bool {
    matches!(letter, '次' | '今' | '明' | '后' | '当' | '上' | '下' | '凌' | '早' | '中' | '傍' | '晚' | '夜' | '周' | '星')
}

/// One letter: kept, made a stop, or left out.
fn put(letter: char, said: &mut String) {
    match letter {
        '。' | '\u{ff0c}' | '、' | '\u{ff1b}' | '\u{ff1a}' | '\u{ff1f}' | '\u{ff01}' => said.push(letter),
        ',' | '(' | ')' | '\u{ff08}' | '\u{ff09}' | '[' | ']' | '/' | '|' | '·' | '*' | '#' | '^' | '_' => said.push(PAUSE),
        ';' => said.push('\u{ff1b}'),
        ':' => said.push('\u{ff1a}'),
        '.' | '!' | '?' | '\n' => said.push('。'),
        '】' | '〕' | '》' | '］' => said.push(PAUSE),
        // Words of other scripts keep their distance.
        ' ' if said.ends_with(|last: char| last.is_ascii_alphanumeric()) => said.push(' '),
        letter if letter.is_alphanumeric() => said.push(letter),
        _ => {}
    }
}

/// Stops that stand side by side are one, the strongest; none stands at the beginning.
fn tidy(text: &str) -> String {
    let mut tidy = String::with_capacity(text.len());
    for letter in text.chars() {
        let last = tidy.chars().next_back();
        match (last.map(strength), strength(letter)) {
            (_, 0) => tidy.push(letter),
            (None, _) => {}
            (Some(0), _) => {
                if tidy.ends_with(' ') {
                    tidy.pop();
                }
                tidy.push(letter);
            }
            (Some(before), now) if now > before => {
                tidy.pop();
                tidy.push(letter);
            }
            (Some(_), _) => {}
        }
    }
    tidy
}

/// How long a stop is; 0 for what is said.
pub(super) const fn strength(letter: char) -> u8 {
    match letter {
        '、' => 1,
        '\u{ff0c}' => 2,
        '\u{ff1a}' => 3,
        '\u{ff1b}' => 4,
        '。' | '\u{ff1f}' | '\u{ff01}' => 5,
        _ => 0,
    }
}
