//! Owns answer tokens: short words that name one recipient of one alert and cannot be guessed.
//! Refuses to know links, pages and storage. Invariant: a token that this key did not make is never read; comparing takes the same time for every wrong one.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use crate::alert::AlertNo;

/// 3 bytes of alert, 4 of recipient, 8 of MAC: 20 characters, two below what the contract allows.
const ALERT_BYTES: usize = 3;
const BODY_BYTES: usize = ALERT_BYTES + 4;
const MAC_BYTES: usize = 8;
/// 16 million alerts of one installation.
const ALERTS_MAX: u32 = 1 << (8 * ALERT_BYTES);

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
    pub fn issue(&self, alert: AlertNo, recipient: u32) -> Option<String> {
        if alert.0 >= ALERTS_MAX {
            return None;
        }
        let mut bytes = Vec::with_capacity(BODY_BYTES + MAC_BYTES);
        bytes.extend_from_slice(&alert.0.to_be_bytes()[1..]);
        bytes.extend_from_slice(&recipient.to_be_bytes());
        let mac = self.mac(&bytes);
        bytes.extend_from_slice(&mac);
        Some(URL_SAFE_NO_PAD.encode(bytes))
    }

    pub fn read(&self, token: &str) -> Option<(AlertNo, u32)> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok().filter(|bytes| bytes.len() == BODY_BYTES + MAC_BYTES)?;
        let (body, mac) = bytes.split_at(BODY_BYTES);
        if !bool::from(self.mac(body).ct_eq(mac)) {
            return None;
        }
        let alert = u32::from_be_bytes([0, body[0], body[1], body[2]]);
        let recipient = u32::from_be_bytes([body[3], body[4], body[5], body[6]]);
        Some((AlertNo(alert), recipient))
    }

    fn mac(&self, body: &[u8]) -> [u8; MAC_BYTES] {
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
        fn a_token_names_one_recipient_and_a_changed_one_names_nobody(alert in 0_u32..ALERTS_MAX, recipient in any::<u32>(), place in 0_usize..20) {
            let tokens = AnswerTokens::new([7; 32]);
            let token = tokens.issue(AlertNo(alert), recipient).expect("in range");
            prop_assert!(token.len() <= 22);
            prop_assert_eq!(tokens.read(&token), Some((AlertNo(alert), recipient)));
            let mut letters = token.clone().into_bytes();
            letters[place] = if letters[place] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(letters).expect("ascii");
            prop_assert_eq!(tokens.read(&changed), None);
            prop_assert_eq!(AnswerTokens::new([8; 32]).read(&token), None);
        }
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
