//! Owns the second factor: codes of an app on the telephone, which change every half minute (RFC 6238 over HMAC-SHA-1, as every app has it).
//! Refuses to know passwords. Invariant: a code is taken once.

use std::collections::HashMap;

use rand::RngExt as _;
use ring::hmac;
use secrecy::SecretString;
use subtle::ConstantTimeEq as _;

use crate::time::Timestamp;

const STEP_MS: i64 = 30_000;
/// A telephone's clock may be one step off.
const STEPS_OFF: i64 = 1;
const DIGITS: usize = 6;
/// As long as the hash (RFC 4226, section 4).
const SECRET_BYTES: usize = 20;
const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// A new secret in base 32 (RFC 4648), as apps take it.
pub(super) fn new_secret() -> String {
    let secret: [u8; SECRET_BYTES] = rand::rng().random();
    // Twenty bytes are 32 letters of five bits, without a rest.
    let bit = |at: usize| usize::from(secret[at / 8] >> (7 - at % 8) & 1);
    (0..SECRET_BYTES * 8 / 5).map(|letter| char::from(ALPHABET[(0..5).fold(0, |value, at| value << 1 | bit(letter * 5 + at))])).collect()
}

/// What an app reads, typed in or as a picture.
pub(super) fn address(secret: &str, name: &str) -> SecretString {
    let account: String = form_urlencoded::byte_serialize(name.as_bytes()).collect();
    format!("otpauth://totp/lastmile:{}?secret={secret}&issuer=lastmile", account.replace('+', "%20")).into()
}

/// The step whose code this is, if it is one of now.
pub(super) fn step_of(secret: &str, code: &str, now: Timestamp) -> Option<i64> {
    let (key, present) = (key(secret)?, now.as_ms() / STEP_MS);
    let steps = present - STEPS_OFF..=present + STEPS_OFF;
    steps.fold(None, |found, step| if bool::from(code_at(&key, step).as_bytes().ct_eq(code.as_bytes())) { Some(step) } else { found })
}

/// The newest step that each name has used.
#[derive(Default)]
pub(super) struct Used(HashMap<String, i64>);

impl Used {
    /// Whether this step is newer than all that were used; from now on it is used.
    pub(super) fn take(&mut self, name: &str, step: i64) -> bool {
        let newest = self.0.entry(name.to_owned()).or_insert(i64::MIN);
        let is_new = step > *newest;
        *newest = step.max(*newest);
        is_new
    }
}

fn key(secret: &str) -> Option<hmac::Key> {
    let mut bits = 0_u32;
    let (mut held, mut bytes) = (0_u32, Vec::with_capacity(SECRET_BYTES));
    for letter in secret.bytes() {
        let value = ALPHABET.iter().position(|known| *known == letter)?;
        held = held << 5 | u32::try_from(value).ok()?;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(held >> bits & 0xff).ok()?);
        }
    }
    Some(hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &bytes))
}

fn code_at(key: &hmac::Key, step: i64) -> String {
    let tag = hmac::sign(key, &step.to_be_bytes());
    let bytes = tag.as_ref();
    // RFC 4226, section 5.3: the last four bits say where the number begins.
    let from = usize::from(bytes.last().copied().unwrap_or_default() & 0x0f);
    let number = bytes.iter().skip(from).take(4).fold(0_u32, |number, byte| number << 8 | u32::from(*byte)) & 0x7fff_ffff;
    format!("{:0DIGITS$}", number % 10_u32.pow(6))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of RFC 6238, appendix B: the secret "12345678901234567890" and the last six digits of its codes.
    const SECRET: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

    #[test]
    fn codes_are_those_of_the_standard() {
        for (seconds, code) in [(59, "287082"), (1_111_111_109, "081804"), (1_234_567_890, "005924"), (20_000_000_000, "353130")] {
            assert!(step_of(SECRET, code, Timestamp::from_ms(seconds * 1_000)).is_some(), "{seconds}");
            assert!(step_of(SECRET, code, Timestamp::from_ms(seconds * 1_000 + 90_000)).is_none(), "{seconds}");
        }
        for wrong in ["", "28708", "287083", "2870820", "２８７０８２"] {
            assert!(step_of(SECRET, wrong, Timestamp::from_ms(59_000)).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_new_secret_is_read_back_and_a_code_is_taken_once() {
        let secret = new_secret();
        assert_eq!(secret.len(), 32);
        let now = Timestamp::from_ms(1_784_000_000_000);
        let code = code_at(&key(&secret).expect("a key"), now.as_ms() / STEP_MS);
        let step = step_of(&secret, &code, now).expect("a code of now");
        let mut used = Used::default();
        assert!(used.take("li", step) && !used.take("li", step) && !used.take("li", step - 1) && used.take("zhang", step));
    }
}
