//! Owns how a far end's call on us is known to be one that we asked for: a MAC in the address, or a token in the query.
//! Refuses to know providers. Invariant: comparisons take the same time whatever was sent.

use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::{Callback, Class, Failure, Reception, Report, http_client::percent_encode};
use crate::message::DeliveryId;

/// Half of the digest: 128 bits cannot be guessed, and addresses stay short.
const MAC_BYTES: usize = 16;
/// Enough to tell apart the numbers of one request, and too little to search for the number with.
const NUMBER_MAC_BYTES: usize = 8;
/// About as long as a delivery's own id.
const GROUP_ID_BYTES: usize = 8;
/// A callback's query is a few hundred bytes; more fields than this are not read.
const FIELDS_MAX: usize = 64;

/// The word that makes the callback address of one delivery of one account unguessable.
pub(crate) fn mac(key: &[u8; 32], account: &str, id: DeliveryId) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(account.as_bytes());
    mac.update(b"\n");
    mac.update(id.to_string().as_bytes());
    hex(&mac.finalize().into_bytes()[..MAC_BYTES])
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for digit in bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]) {
        text.push(char::from(DIGITS[usize::from(digit)]));
    }
    text
}

/// Words for the telephone numbers of one account, in references that the journal keeps.
pub(crate) struct NumberWords(Hmac<Sha256>);

impl NumberWords {
    /// What is the same for all of its numbers is digested here: a request may have thousands.
    pub(crate) fn of_account(key: &[u8; 32], account: &str) -> Self {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
        mac.update(account.as_bytes());
        mac.update(b"\nnumber\n");
        Self(mac)
    }

    pub(crate) fn word(&self, number: &str) -> String {
        let mut mac = self.0.clone();
        mac.update(number.as_bytes());
        hex(&mac.finalize().into_bytes()[..NUMBER_MAC_BYTES])
    }
}

/// The id of a request for several deliveries: that of the only one, else a word that fits exactly these. A gateway that
/// takes one id once would otherwise drop whoever is sent with another's id after a first try of unknown end.
pub(crate) fn group_id(ids: impl ExactSizeIterator<Item = DeliveryId> + Clone) -> String {
    if let (1, Some(only)) = (ids.len(), ids.clone().next()) {
        return only.to_string();
    }
    let mut digest = Sha256::new();
    ids.for_each(|id| digest.update(id.to_string()));
    hex(&digest.finalize()[..GROUP_ID_BYTES])
}

pub(crate) fn mac_fits(key: &[u8; 32], account: &str, id: DeliveryId, given: &str) -> bool {
    mac(key, account, id).as_bytes().ct_eq(given.as_bytes()).into()
}

/// Whether `k` of the query is the token; an account without a token takes no such callback.
pub(crate) fn token_fits(token: Option<&SecretString>, fields: &Fields) -> bool {
    match (token, fields.get("k")) {
        (Some(token), Some(given)) => token.expose_secret().as_bytes().ct_eq(given.as_bytes()).into(),
        _ => false,
    }
}

/// The fields of a query or of a form.
pub(crate) struct Fields(Vec<(String, String)>);

impl Fields {
    pub(crate) fn parse(text: &str) -> Self {
        let pairs = form_urlencoded::parse(text.as_bytes()).take(FIELDS_MAX);
        Self(pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
    }

    /// The query's fields, and those of the body when it is a form.
    pub(crate) fn of(callback: &Callback) -> Self {
        let mut fields = Self::parse(&callback.query);
        if callback.content_type.as_deref().is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded")) {
            fields.0.extend(Self::parse(&String::from_utf8_lossy(&callback.body)).0);
        }
        fields
    }

    pub(crate) fn into_pairs(self) -> impl Iterator<Item = (String, String)> {
        self.0.into_iter()
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Address that a provider calls about one delivery, without its own placeholders.
pub(crate) fn status_url(public_url: &str, kind: &str, account: &str, id: DeliveryId, mac: &str) -> String {
    let mut name = String::new();
    percent_encode(account, &mut name);
    format!("{}/v1/callbacks/{kind}/{name}/status?id={id}&k={mac}", public_url.trim_end_matches('/'))
}

/// Taken, with an empty answer, which every gateway understands.
pub(crate) fn taken(reports: Vec<Report>) -> Reception {
    Reception { reports, status: 200, content_type: "text/plain; charset=utf-8", body: String::new() }
}

/// Somebody who does not know the key: told 403, and nothing of theirs is believed.
pub(crate) fn forbidden() -> Reception {
    Reception { reports: Vec::new(), status: 403, content_type: "text/plain; charset=utf-8", body: String::new() }
}

pub(crate) fn malformed(detail: &str) -> Failure {
    Failure::new(Class::Reject, super::Concerns::Request, "bad-callback", detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::AlertNo;

    #[test]
    fn a_callback_address_fits_one_delivery_of_one_account() {
        let (key, id) = ([7; 32], DeliveryId { alert: AlertNo(1), index: 2 });
        let word = mac(&key, "mas-1", id);
        assert_eq!(word.len(), 32);
        assert!(mac_fits(&key, "mas-1", id, &word));
        assert!(!mac_fits(&key, "mas-2", id, &word));
        assert!(!mac_fits(&key, "mas-1", DeliveryId { index: 3, ..id }, &word));
        assert!(!mac_fits(&[8; 32], "mas-1", id, &word));
        assert!(!mac_fits(&key, "mas-1", id, ""));
    }

    #[test]
    fn a_request_for_several_has_an_id_that_fits_only_these() {
        let ids: Vec<DeliveryId> = (0..3).map(|index| DeliveryId { alert: AlertNo(1), index }).collect();
        let id = |ids: &[DeliveryId]| group_id(ids.iter().copied());
        assert_eq!(id(&ids[..1]), ids[0].to_string());
        assert_eq!(id(&ids), id(&ids));
        assert_ne!(id(&ids[..2]), id(&[ids[0], ids[2]]));
    }

    #[test]
    fn the_word_of_a_number_is_what_journals_hold() {
        let words = NumberWords::of_account(&[7; 32], "a");
        assert_eq!(words.word("+86138"), "01282d7677620047", "the first 64 bits of HMAC-SHA-256, as Python's hmac says");
        assert_ne!(words.word("+86138"), words.word("+86139"));
        assert_ne!(words.word("+86138"), NumberWords::of_account(&[7; 32], "b").word("+86138"));
    }

    #[test]
    fn fields_are_decoded_and_a_missing_token_fits_nothing() {
        let fields = Fields::parse("k=a%20b&text=%E6%94%B6%E5%88%B0+1&k=other");
        assert_eq!(fields.get("text"), Some("收到 1"));
        assert!(token_fits(Some(&SecretString::from("a b")), &fields));
        assert!(!token_fits(Some(&SecretString::from("other")), &fields));
        assert!(!token_fits(None, &fields));
    }
}
