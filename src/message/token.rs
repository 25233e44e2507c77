//! Owns answer tokens: short words that name one recipient of one alert and cannot be guessed.
//! Refuses to know links, pages and storage. Invariant: a token that this key did not make is never read; comparing takes the same time for every wrong one.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use crate::alert::AlertNo;

/// Digits of 6 bits each: as long as the contract allows.
const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const HALF_DIGITS: usize = 11;
const TOKEN_DIGITS: usize = 2 * HALF_DIGITS;
const HALF_BITS: u32 = 66;
const HALF: u128 = (1 << HALF_BITS) - 1;
/// Four make it a permutation that nobody tells from a random one (Luby and Rackoff); more cost a microsecond each.
const ROUNDS: u8 = 8;

/// 16 million alerts of one installation.
const ALERT_BYTES: usize = 3;
const ALERTS_MAX: u32 = 1 << (8 * ALERT_BYTES);
/// Alert and recipient.
const NAME_BITS: u32 = 8 * 3 + 32;

/// Tokens of before: 7 bytes of alert and recipient, 8 of a MAC. Links that were sent with them are still good.
const OLD_BODY_BYTES: usize = ALERT_BYTES + 4;
const OLD_MAC_BYTES: usize = 8;

/// Makes and reads tokens with the installation's own key.
#[derive(Clone)]
pub struct AnswerTokens {
    key: [u8; 32],
}

impl AnswerTokens {
    pub const fn new(key: [u8; 32]) -> Self {
        Self { key }
    }

    /// `None` once alert numbers have outgrown the token's form.
    ///
    /// A name of 56 bits among 132, all of it stirred by the key: who guesses at one person's link guesses at 132 bits, and a name that is
    /// written beside its MAC would leave 76 of the same 22 digits for that.
    pub fn issue(&self, alert: AlertNo, recipient: u32) -> Option<String> {
        if alert.0 >= ALERTS_MAX {
            return None;
        }
        let (mut left, mut right) = (0_u128, u128::from(alert.0) << 32 | u128::from(recipient));
        for round in 0..ROUNDS {
            (left, right) = (right, left ^ self.stirred(round, right));
        }
        let digit = |half: u128, place: usize| char::from(DIGITS[usize::try_from(half >> (6 * place) & 63).unwrap_or(0)]);
        Some([left, right].into_iter().flat_map(|half| (0..HALF_DIGITS).rev().map(move |place| digit(half, place))).collect())
    }

    pub fn read(&self, token: &str) -> Option<(AlertNo, u32)> {
        if token.len() != TOKEN_DIGITS {
            return self.read_old(token);
        }
        let digits: Option<Vec<u128>> =
            token.bytes().map(|byte| DIGITS.iter().position(|&digit| digit == byte).and_then(|digit| u128::try_from(digit).ok())).collect();
        let digits = digits?;
        let half = |digits: &[u128]| digits.iter().fold(0, |half, digit| half << 6 | digit);
        let (mut left, mut right) = (half(&digits[..HALF_DIGITS]), half(&digits[HALF_DIGITS..]));
        for round in (0..ROUNDS).rev() {
            (left, right) = (right ^ self.stirred(round, left), left);
        }
        // One comparison of all that must be nothing.
        if left | right >> NAME_BITS != 0 {
            return None;
        }
        Some((AlertNo(u32::try_from(right >> 32).ok()?), u32::try_from(right & u128::from(u32::MAX)).ok()?))
    }

    fn stirred(&self, round: u8, half: u128) -> u128 {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes a key of any length");
        mac.update(b"answer-link\0");
        mac.update(&[round]);
        mac.update(&half.to_be_bytes());
        let whole = mac.finalize().into_bytes();
        whole[..16].iter().fold(0_u128, |word, &byte| word << 8 | u128::from(byte)) & HALF
    }

    fn read_old(&self, token: &str) -> Option<(AlertNo, u32)> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok().filter(|bytes| bytes.len() == OLD_BODY_BYTES + OLD_MAC_BYTES)?;
        let (body, mac) = bytes.split_at(OLD_BODY_BYTES);
        if !bool::from(self.old_mac(body).ct_eq(mac)) {
            return None;
        }
        let alert = u32::from_be_bytes([0, body[0], body[1], body[2]]);
        let recipient = u32::from_be_bytes([body[3], body[4], body[5], body[6]]);
        Some((AlertNo(alert), recipient))
    }

    fn old_mac(&self, body: &[u8]) -> [u8; OLD_MAC_BYTES] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes a key of any length");
        mac.update(b"answer-token\0");
        mac.update(body);
        let whole = mac.finalize().into_bytes();
        std::array::from_fn(|place| whole[place])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_token_names_one_recipient_and_a_changed_one_names_nobody(alert in 0_u32..ALERTS_MAX, recipient in any::<u32>(), place in 0_usize..TOKEN_DIGITS) {
            let tokens = AnswerTokens::new([7; 32]);
            let token = tokens.issue(AlertNo(alert), recipient).expect("in range");
            prop_assert_eq!(token.len(), 22);
            prop_assert_eq!(tokens.read(&token), Some((AlertNo(alert), recipient)));
            let mut letters = token.clone().into_bytes();
            letters[place] = if letters[place] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(letters).expect("ascii");
            prop_assert_eq!(tokens.read(&changed), None);
            prop_assert_eq!(AnswerTokens::new([8; 32]).read(&token), None);
        }
    }

    #[test]
    fn links_of_before_are_still_good_and_those_of_now_are_what_phones_have() {
        let tokens = AnswerTokens::new([7; 32]);
        let mut bytes = vec![0, 0, 5, 0, 0, 0, 9];
        bytes.extend(tokens.old_mac(&[0, 0, 5, 0, 0, 0, 9]));
        let old = URL_SAFE_NO_PAD.encode(&bytes);
        assert_eq!((old.len(), tokens.read(&old)), (20, Some((AlertNo(5), 9))));
        bytes[6] = 8;
        assert_eq!(tokens.read(&URL_SAFE_NO_PAD.encode(&bytes)), None);
        // As Python's hmac makes it. Links that were sent must be read by every later version.
        assert_eq!(tokens.issue(AlertNo(5), 9).as_deref(), Some("psf2O0qokcrYYYnXCCxVCI"));
    }

    #[test]
    fn what_is_no_token_names_nobody() {
        let tokens = AnswerTokens::new([7; 32]);
        for text in ["", "收到", "AAAAAAAAAAAAAAAAAAAA", "../../etc/passwd", "AAAAAAAAAAAAAAAAAAAAAA"] {
            assert_eq!(tokens.read(text), None, "{text:?}");
        }
        assert_eq!(tokens.issue(AlertNo(ALERTS_MAX), 0), None);
    }
}
