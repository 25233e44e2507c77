//! Owns how a far end's call on us is known to be one that we asked for: a MAC in the address, or a token in the query.
//! Refuses to know providers. Invariant: comparisons take the same time whatever was sent.

use encoding_rs::{Encoding, GB18030, GBK, UTF_8};
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::{Callback, Class, Failure, Reception, Report, http_client::percent_encode};
use crate::{keys::Keys, message::DeliveryId};

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

/// What names a delivery where an address has no room for fields, and proves itself: `ID.MAC`.
pub(crate) fn proven_name(key: &[u8; 32], account: &str, id: DeliveryId) -> String {
    format!("{id}.{}", mac(key, account, id))
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
pub(crate) struct Fields(Vec<Field>);

struct Field {
    name: String,
    text: String,
    /// The octets of the value where `text` does not have them: not all far ends write UTF-8.
    octets: Option<Vec<u8>>,
}

impl Fields {
    pub(crate) fn parse(text: &str) -> Self {
        Self::written_in(text.as_bytes(), None)
    }

    /// Fields whose octets are of this charset; of none that is known, UTF-8 where they are that, and else what older gateways of this
    /// country write.
    fn written_in(form: &[u8], charset: Option<&'static Encoding>) -> Self {
        let pairs = form.split(|&byte| byte == b'&').filter(|pair| !pair.is_empty()).take(FIELDS_MAX);
        Self(pairs.map(|pair| Field::of(pair, charset)).collect())
    }

    /// The query's fields, and those of the body when it is a form. `charset` is what the account's table says of both; a body may say it
    /// of itself.
    pub(crate) fn of(callback: &Callback, charset: Option<&'static Encoding>) -> Self {
        let mut fields = Self::written_in(callback.query.as_bytes(), charset);
        let kind = callback.content_type.as_deref().unwrap_or_default();
        if kind.starts_with("application/x-www-form-urlencoded") {
            fields.0.extend(Self::written_in(&callback.body, charset_of(kind).or(charset)).0);
        }
        fields
    }

    pub(crate) fn into_pairs(self) -> impl Iterator<Item = (String, String)> {
        self.0.into_iter().map(|field| (field.name, field.text))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.find(name).map(|field| field.text.as_str())
    }

    /// The value as it came.
    pub(crate) fn octets(&self, name: &str) -> Option<&[u8]> {
        self.find(name).map(|field| field.octets.as_deref().unwrap_or(field.text.as_bytes()))
    }

    fn find(&self, name: &str) -> Option<&Field> {
        self.0.iter().find(|field| field.name == name)
    }
}

impl Field {
    fn of(pair: &[u8], charset: Option<&'static Encoding>) -> Self {
        let at = pair.iter().position(|&byte| byte == b'=').unwrap_or(pair.len());
        let (name, octets) = (unescaped(&pair[..at]), unescaped(pair.get(at + 1..).unwrap_or_default()));
        let (text, octets) = match charset {
            Some(charset) if charset != UTF_8 => (charset.decode_without_bom_handling(&octets).0.into_owned(), Some(octets)),
            _ => match String::from_utf8(octets) {
                Ok(text) => (text, None),
                Err(other) => {
                    let octets = other.into_bytes();
                    (text_of(&octets, charset), Some(octets))
                }
            },
        };
        Self { name: String::from_utf8_lossy(&name).into_owned(), text, octets }
    }
}

/// Octets that are not UTF-8.
fn text_of(octets: &[u8], charset: Option<&'static Encoding>) -> String {
    let as_gb = GB18030.decode_without_bom_handling_and_without_replacement(octets).filter(|_| charset.is_none());
    as_gb.map_or_else(|| String::from_utf8_lossy(octets).into_owned(), std::borrow::Cow::into_owned)
}

/// `%XX` and `+` of a form, back to octets; what is no escape stays as it is.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (mut octets, mut place) = (Vec::with_capacity(text.len()), 0);
    while let Some(&byte) = text.get(place) {
        let escaped = match text.get(place + 1..place + 3) {
            Some(&[high, low]) if byte == b'%' => digit(high).zip(digit(low)).map(|(high, low)| high << 4 | low),
            _ => None,
        };
        octets.push(escaped.unwrap_or(if byte == b'+' { b' ' } else { byte }));
        place += if escaped.is_some() { 3 } else { 1 };
    }
    octets
}

/// The charset that a content type names, if it is one that is known.
pub(crate) fn charset_of(content_type: &str) -> Option<&'static Encoding> {
    let parameters = content_type.split(';').skip(1);
    let named = parameters.filter_map(|parameter| parameter.split_once('=')).find(|(name, _)| name.trim().eq_ignore_ascii_case("charset"));
    Encoding::for_label(named?.1.trim().trim_matches('"').as_bytes())
}

/// The key `charset` of an account's table.
pub(crate) fn charset_key(keys: &mut Keys<'_>) -> Option<&'static Encoding> {
    let label = keys.text("charset")?;
    let known = Encoding::for_label(label.as_bytes()).filter(|charset| [UTF_8, GBK, GB18030].contains(charset));
    if known.is_none() {
        keys.fault("charset", "bad-charset", "must be utf-8, gbk or gb18030");
    }
    known
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
    fn the_octets_of_a_field_are_read_by_their_charset() {
        let call = |query: &str, kind: &str, body: &str| Callback {
            what: String::new(),
            method: "POST".to_owned(),
            query: query.to_owned(),
            content_type: Some(kind.to_owned()),
            body: body.to_owned().into(),
        };
        let form = "application/x-www-form-urlencoded";
        for (query, kind, body, charset) in [
            ("", "application/x-www-form-urlencoded; charset=GBK", "t=%C7%F3%D6%FA", None),
            ("", "application/x-www-form-urlencoded; charset=\"gb2312\"", "t=%C7%F3%D6%FA", Some(UTF_8)),
            ("", form, "t=%C7%F3%D6%FA", Some(GBK)),
            ("t=%C7%F3%D6%FA", form, "", Some(GB18030)),
            // Neither says so, and it is no UTF-8.
            ("t=%C7%F3%D6%FA", form, "", None),
            ("t=%E6%B1%82%E5%8A%A9", form, "", None),
            ("", form, "t=%E6%B1%82%E5%8A%A9", Some(UTF_8)),
        ] {
            assert_eq!(Fields::of(&call(query, kind, body), charset).get("t"), Some("求助"), "{query} {kind} {body}");
        }
        let fields = Fields::parse("a=%C7%F3&b=e6R0+%zz&c&=d&e=%4");
        assert_eq!((fields.octets("a"), fields.get("b")), (Some(&[0xc7, 0xf3][..]), Some("e6R0 %zz")));
        assert_eq!((fields.get("c"), fields.get(""), fields.get("e"), fields.get("f")), (Some(""), Some("d"), Some("%4"), None));
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
