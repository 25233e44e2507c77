//! Owns signed requests: the `X-Signature` header, what is signed, and for how long a signature is good.
//! Refuses to know who has which key, and which nonces were seen.
//! Invariant: it is the bytes of the body that are judged, before anybody reads them; keys are compared in constant time.

use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;

use crate::time::Timestamp;

/// How far the time of signing may lie from our clock, either way.
pub(super) const WINDOW: Duration = Duration::from_secs(300);
/// Shorter ones meet by chance; longer ones are no nonces.
const NONCE_CHARS: std::ops::RangeInclusive<usize> = 16..=64;
/// Seconds since the epoch have ten digits for two centuries more; so many always fit into 64 bits.
const TIME_DIGITS_MAX: usize = 12;
const DIGEST_BYTES: usize = 32;

/// `t=<unix seconds>,n=<nonce>,v1=<hex>`: each once, in any order. Signed are the bytes `t`, `.`, `n`, `.` and the body as it was sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Signature<'a> {
    time: &'a str,
    seconds: i64,
    pub(super) nonce: &'a str,
    digest: [u8; DIGEST_BYTES],
}

impl<'a> Signature<'a> {
    /// Reads the header; what is wrong is told to whoever sent it.
    pub(super) fn read(header: &'a str) -> Result<Self, &'static str> {
        let (mut time, mut nonce, mut digest) = (None, None, None);
        for part in header.split(',') {
            let (key, value) = part.trim().split_once('=').ok_or("X-Signature is made of t=, n= and v1=, with commas between")?;
            let place = match key {
                "t" => &mut time,
                "n" => &mut nonce,
                "v1" => &mut digest,
                _ => return Err("X-Signature holds nothing but t=, n= and v1="),
            };
            if place.replace(value).is_some() {
                return Err("X-Signature holds a part twice");
            }
        }
        let (Some(time), Some(nonce), Some(digest)) = (time, nonce, digest) else {
            return Err("X-Signature needs all of t=, n= and v1=");
        };
        let is_time = (1..=TIME_DIGITS_MAX).contains(&time.len()) && time.bytes().all(|byte| byte.is_ascii_digit());
        let seconds = time.parse().ok().filter(|_| is_time).ok_or("t= must be the whole seconds since 1970 in UTC")?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        if !NONCE_CHARS.contains(&nonce.len()) || !nonce.bytes().all(plain) {
            return Err("n= must be 16 to 64 of A-Z, a-z, 0-9, - and _");
        }
        let digest = read_hex(digest).ok_or("v1= must be 64 hexadecimal digits")?;
        Ok(Self { time, seconds, nonce, digest })
    }

    /// Whether the key made this signature over this body.
    pub(super) fn is_of(&self, key: &SecretString, body: &[u8]) -> bool {
        let mut mac = Hmac::<Sha256>::new_from_slice(key.expose_secret().as_bytes()).expect("HMAC takes keys of any length");
        for part in [self.time.as_bytes(), b".", self.nonce.as_bytes(), b".", body] {
            mac.update(part);
        }
        mac.verify_slice(&self.digest).is_ok()
    }

    pub(super) fn signed_at(&self) -> Timestamp {
        Timestamp::from_ms(self.seconds.saturating_mul(1_000))
    }

    /// Neither too old nor from a clock that is far ahead.
    pub(super) fn is_in_time(&self, now: Timestamp) -> bool {
        let signed = self.signed_at();
        now.since(signed) <= WINDOW && signed.since(now) <= WINDOW
    }
}

/// Hexadecimal digits of either case as 32 bytes.
pub(super) fn read_hex(text: &str) -> Option<[u8; DIGEST_BYTES]> {
    if text.len() != 2 * DIGEST_BYTES || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; DIGEST_BYTES];
    for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "0123456789abcdef0123456789abcdef";
    const NONCE: &str = "a-nonce_of-25-characters0";
    /// printf '%s' "1784000000.$NONCE.{}" | openssl dgst -sha256 -hmac "$KEY"
    const DIGEST: &str = "af733f053c084c1777db90549f759538fe2f1a5e0293240892096c93e06d8034";

    fn header(time: &str, nonce: &str, digest: &str) -> String {
        format!("t={time},n={nonce},v1={digest}")
    }

    #[test]
    fn what_openssl_signs_is_taken_and_one_changed_byte_is_not() {
        let header = header("1784000000", NONCE, DIGEST);
        let signature = Signature::read(&header).expect("a signature");
        assert!(signature.is_of(&KEY.into(), b"{}"));
        assert!(!signature.is_of(&KEY.into(), b"{} "));
        assert!(!signature.is_of(&"0123456789abcdef0123456789abcdeF".into(), b"{}"));
        for changed in [header.replace("t=1784000000", "t=1784000001"), header.replace("n=a", "n=b")] {
            assert!(!Signature::read(&changed).expect("a signature").is_of(&KEY.into(), b"{}"), "{changed}");
        }
        // The parts cannot be shifted into each other.
        let shifted = header.replace(NONCE, &format!("{NONCE}-"));
        assert!(!Signature::read(&shifted).expect("a signature").is_of(&KEY.into(), b"{}"));
    }

    #[test]
    fn a_signature_is_good_for_five_minutes_either_way() {
        let header = header("1784000000", NONCE, DIGEST);
        let signature = Signature::read(&header).expect("a signature");
        let at = |seconds: i64| Timestamp::from_ms(1_784_000_000_000 + seconds * 1_000);
        for (seconds, fits) in [(0, true), (300, true), (301, false), (-300, true), (-301, false)] {
            assert_eq!(signature.is_in_time(at(seconds)), fits, "{seconds}");
        }
    }

    #[test]
    fn a_header_of_another_form_says_what_is_wrong() {
        let whole = header("1784000000", NONCE, DIGEST);
        assert!(Signature::read(&whole.replace(',', " , ").to_lowercase()).is_ok());
        let wrong = [
            (String::new(), "commas"),
            (whole.replace("v1=", "v2="), "nothing but"),
            (format!("{whole},t=1"), "twice"),
            (whole.replace(",n=", "n="), "all of"),
            (header("-1784000000", NONCE, DIGEST), "whole seconds"),
            (header("+1784000000", NONCE, DIGEST), "whole seconds"),
            (header("9999999999999", NONCE, DIGEST), "whole seconds"),
            (header("1784000000", "short", DIGEST), "16 to 64"),
            (header("1784000000", "sixteen.or.more.chars", DIGEST), "16 to 64"),
            (header("1784000000", &"n".repeat(65), DIGEST), "16 to 64"),
            (header("1784000000", NONCE, &DIGEST[1..]), "64 hexadecimal"),
            (header("1784000000", NONCE, &"é".repeat(32)), "64 hexadecimal"),
        ];
        for (header, word) in wrong {
            let told = Signature::read(&header).expect_err("not a signature");
            assert!(told.contains(word), "{header}: {told}");
        }
    }
}
