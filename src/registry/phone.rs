//! Owns telephone numbers: mainland mobiles, landlines with their area code, and numbers abroad.
//! Refuses to know operators and number portability.
//! Invariant: one number has one form, and only `expose` shows it whole.

use std::{fmt, str::FromStr};

/// E.164 allows 15 digits; one more byte holds the plus sign.
const BYTES_MAX: usize = 16;

/// A telephone number in its one normal form: `13800138000`, `08164821234` or `+85291234567`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PhoneNumber {
    bytes: [u8; BYTES_MAX],
    len: u8,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a telephone number: expected a mainland mobile, a landline with its area code, or +country and number")]
pub struct BadPhoneNumber;

impl PhoneNumber {
    /// The whole number, for handing to a far end; never for a log.
    pub fn expose(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.len)]).expect("digits and a plus sign are ASCII")
    }

    /// Whether it is a mainland mobile, the only numbers that domestic short-message accounts serve.
    pub fn is_mobile(&self) -> bool {
        self.bytes[0] == b'1'
    }

    /// With country code, as providers abroad and at the wire want it: `+8613800138000`.
    pub fn e164(&self) -> String {
        let text = self.expose();
        match text.as_bytes()[0] {
            b'+' => text.to_owned(),
            b'0' => format!("+86{}", &text[1..]),
            _ => format!("+86{text}"),
        }
    }

    /// From a text that is known to be in normal form: what a snapshot holds.
    pub(crate) fn normal(text: &str) -> Option<Self> {
        let len = u8::try_from(text.len()).ok()?;
        let mut bytes = [0; BYTES_MAX];
        bytes.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        Some(Self { bytes, len })
    }
}

impl FromStr for PhoneNumber {
    type Err = BadPhoneNumber;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = strip(text).ok_or(BadPhoneNumber)?;
        domestic(&plain).or_else(|| abroad(&plain)).ok_or(BadPhoneNumber)
    }
}

/// Digits with at most one leading plus; separators and full-width forms are taken off.
fn strip(text: &str) -> Option<String> {
    // A cell that holds two numbers is longer than any number with its separators.
    const TEXT_BYTES_MAX: usize = 64;
    if text.len() > TEXT_BYTES_MAX {
        return None;
    }
    let mut plain = String::with_capacity(BYTES_MAX);
    for letter in text.trim().chars() {
        match letter {
            '0'..='9' => plain.push(letter),
            '０'..='９' => plain.push(char::from_digit(u32::from(letter) - u32::from('０'), 10)?),
            '+' | '＋' if plain.is_empty() => plain.push('+'),
            ' ' | '-' | '(' | ')' | '\u{a0}' | '\u{3000}' | '（' | '）' | '－' | '–' => {}
            _ => return None,
        }
    }
    Some(plain)
}

fn domestic(plain: &str) -> Option<PhoneNumber> {
    for prefix in ["+86", "0086", "86"] {
        if let Some(rest) = plain.strip_prefix(prefix) {
            if is_mobile(rest) {
                return PhoneNumber::normal(rest);
            }
            // Behind the country code the area code stands without its zero. The bare "86" is too short to tell this apart.
            let landline = format!("0{}", rest.trim_start_matches('0'));
            if prefix != "86" && is_landline(&landline) {
                return PhoneNumber::normal(&landline);
            }
        }
    }
    (is_mobile(plain) || is_landline(plain)).then(|| PhoneNumber::normal(plain)).flatten()
}

fn abroad(plain: &str) -> Option<PhoneNumber> {
    let digits = plain.strip_prefix('+').or_else(|| plain.strip_prefix("00"))?;
    // Country code 86 has been judged by the stricter rules for domestic numbers.
    let fits = (7..=15).contains(&digits.len()) && !digits.starts_with('0') && !digits.starts_with("86") && is_digits(digits);
    fits.then(|| PhoneNumber::normal(&format!("+{digits}"))).flatten()
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_mobile(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() == 11 && bytes[0] == b'1' && (b'3'..=b'9').contains(&bytes[1]) && is_digits(text)
}

fn is_landline(text: &str) -> bool {
    let bytes = text.as_bytes();
    let length_fits = match bytes {
        [b'0', b'1' | b'2', ..] => bytes.len() == 11,
        [b'0', b'3'..=b'9', ..] => matches!(bytes.len(), 11 | 12),
        _ => false,
    };
    length_fits && is_digits(text)
}

/// Masked: first three and last two digits.
impl fmt::Display for PhoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.expose();
        let tail = text.len() - 2;
        write!(f, "{}{:*<width$}{}", &text[..3], "", &text[tail..], width = tail - 3)
    }
}

impl fmt::Debug for PhoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_write_a_number_gives_one_form() {
        for (text, form) in [
            ("13800138000", "13800138000"),
            ("+86 138 0013 8000", "13800138000"),
            ("0086-138-0013-8000", "13800138000"),
            ("8613800138000", "13800138000"),
            ("１３８００１３８０００", "13800138000"),
            ("0816-4821234", "08164821234"),
            ("(0816) 4821234", "08164821234"),
            ("+86 816 4821234", "08164821234"),
            ("010-12345678", "01012345678"),
            ("+852 9123 4567", "+85291234567"),
            ("00852-91234567", "+85291234567"),
        ] {
            assert_eq!(text.parse::<PhoneNumber>().expect(text).expose(), form, "{text}");
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in [
            "",
            "1380013800",
            "138001380000",
            "12800138000",
            "4821234",
            "+86 128 0013 8000",
            "138a0138000",
            "13800138000/13900139000",
            "+0852123456",
            "+",
        ] {
            assert!(text.parse::<PhoneNumber>().is_err(), "{text:?} was taken for a number");
        }
    }

    #[test]
    fn a_printed_number_is_masked() {
        let number: PhoneNumber = "13800138000".parse().expect("valid");
        assert_eq!(format!("{number} {number:?}"), "138******00 138******00");
        assert_eq!("0816-4821234".parse::<PhoneNumber>().expect("valid").e164(), "+868164821234");
    }
}
