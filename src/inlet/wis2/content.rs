//! Owns turning what stands in a message into the bytes of a document: decoded, inflated within bounds, held against its digest.
//! Refuses to know messages and alerts. Invariant: no more than the stated bytes are ever held, whatever a text pretends to be.

use std::io::Read as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use flate2::read::MultiGzDecoder;
use sha2::Digest as _;

use crate::fault::Fault;

/// How a text in a message stands for bytes (WNM `properties.content.encoding`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Utf8,
    Base64,
    /// Gzip (RFC 1952), itself in base64.
    Gzip,
}

impl Encoding {
    pub(super) fn from_name(name: &str) -> Option<Self> {
        match name {
            "utf-8" => Some(Self::Utf8),
            "base64" => Some(Self::Base64),
            "gzip" => Some(Self::Gzip),
            _ => None,
        }
    }
}

/// Digest methods of WNM `properties.integrity.method`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Sha256,
    Sha384,
    Sha512,
    Sha3_256,
    Sha3_384,
    Sha3_512,
}

impl Method {
    const ALL: [(&'static str, Self); 6] = [
        ("sha256", Self::Sha256),
        ("sha384", Self::Sha384),
        ("sha512", Self::Sha512),
        ("sha3-256", Self::Sha3_256),
        ("sha3-384", Self::Sha3_384),
        ("sha3-512", Self::Sha3_512),
    ];

    pub(super) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(known, _)| *known == name).map(|(_, method)| method)
    }

    pub(super) fn names() -> String {
        Self::ALL.map(|(name, _)| name).join(", ")
    }

    fn digest(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => sha2::Sha256::digest(bytes).to_vec(),
            Self::Sha384 => sha2::Sha384::digest(bytes).to_vec(),
            Self::Sha512 => sha2::Sha512::digest(bytes).to_vec(),
            Self::Sha3_256 => sha3::Sha3_256::digest(bytes).to_vec(),
            Self::Sha3_384 => sha3::Sha3_384::digest(bytes).to_vec(),
            Self::Sha3_512 => sha3::Sha3_512::digest(bytes).to_vec(),
        }
    }
}

/// What the publisher says its data's digest is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Integrity {
    pub(super) method: Method,
    pub(super) value: Vec<u8>,
}

impl Integrity {
    pub(super) fn fits(&self, bytes: &[u8]) -> bool {
        self.method.digest(bytes) == self.value
    }
}

/// Why bytes were not taken; the caller knows the place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) rule: &'static str,
    pub(super) message: String,
}

impl Refused {
    pub(super) fn new(rule: &'static str, message: impl Into<String>) -> Self {
        Self { rule, message: message.into() }
    }

    pub(super) fn at(self, path: &str) -> Fault {
        Fault::new(path, self.rule, self.message)
    }
}

/// The document that a text stands for, of at most `max` bytes before and after it is inflated.
pub(super) fn decode(encoding: Encoding, text: &str, max: usize) -> Result<Vec<u8>, Refused> {
    match encoding {
        Encoding::Utf8 => bounded(text.as_bytes().to_vec(), max),
        Encoding::Base64 => unbase(text, max),
        Encoding::Gzip => inflate(&unbase(text, max)?, max),
    }
}

/// As `decode`, and held against the size and the digest that the message states.
///
/// Publishers differ on whether these two are of the packed or of the unpacked bytes: either proves that nothing was lost.
pub(super) fn unpack(
    encoding: Encoding,
    text: &str,
    size: Option<u64>,
    integrity: Option<&Integrity>,
    max: usize,
) -> Result<Vec<u8>, Refused> {
    let document = decode(encoding, text, max)?;
    let packed = if encoding == Encoding::Gzip { Some(unbase(text, max)?) } else { None };
    let holds = |test: &dyn Fn(&[u8]) -> bool| test(&document) || packed.as_deref().is_some_and(test);
    if let Some(size) = size
        && !holds(&|bytes| bytes.len() as u64 == size)
    {
        return Err(Refused::new("wrong-size", format!("has {} bytes, where {size} are announced", document.len())));
    }
    if integrity.is_some_and(|integrity| !holds(&|bytes| integrity.fits(bytes))) {
        return Err(Refused::new("bad-integrity", "the digest of the data is not the one that is announced"));
    }
    Ok(document)
}

/// A digest to know content again by.
pub(super) fn digest_text(bytes: &[u8]) -> String {
    sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unbase(text: &str, max: usize) -> Result<Vec<u8>, Refused> {
    // Four letters for three bytes; checked first, so that nothing large is made of a large text.
    if text.len() / 4 > max / 3 + 2 {
        return Err(too_large(max));
    }
    let compact: String = text.split_ascii_whitespace().collect();
    let bytes = STANDARD.decode(compact).map_err(|_| Refused::new("bad-base64", "is not base64"))?;
    bounded(bytes, max)
}

fn inflate(packed: &[u8], max: usize) -> Result<Vec<u8>, Refused> {
    let mut document = Vec::new();
    let mut reader = MultiGzDecoder::new(packed).take(max as u64 + 1);
    reader.read_to_end(&mut document).map_err(|_| Refused::new("bad-gzip", "is not gzip, or is cut off"))?;
    bounded(document, max)
}

fn bounded(bytes: Vec<u8>, max: usize) -> Result<Vec<u8>, Refused> {
    if bytes.len() > max { Err(too_large(max)) } else { Ok(bytes) }
}

fn too_large(max: usize) -> Refused {
    Refused::new("too-large", format!("has more than {max} bytes"))
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write as _;

    use super::*;

    pub(crate) fn gzipped(bytes: &[u8]) -> Vec<u8> {
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        writer.write_all(bytes).and_then(|()| writer.finish()).expect("memory takes every write")
    }

    fn rule(result: Result<Vec<u8>, Refused>) -> &'static str {
        result.map(|document| panic!("{} bytes were taken", document.len())).unwrap_or_else(|refused| refused.rule)
    }

    #[test]
    fn each_encoding_gives_the_document_back() {
        let document = "<alert>预警</alert>";
        let packed = STANDARD.encode(gzipped(document.as_bytes()));
        for (name, text) in [("utf-8", document.to_owned()), ("base64", STANDARD.encode(document)), ("gzip", packed)] {
            let encoding = Encoding::from_name(name).expect("known");
            assert_eq!(decode(encoding, &text, 100).expect(name), document.as_bytes());
        }
        assert_eq!(Encoding::from_name("latin-1"), None);
    }

    #[test]
    fn a_small_text_that_inflates_beyond_the_bound_is_refused() {
        let bomb = STANDARD.encode(gzipped(&vec![b'a'; 1 << 20]));
        assert!(bomb.len() < 4_096);
        assert_eq!(rule(decode(Encoding::Gzip, &bomb, 100_000)), "too-large");
        assert_eq!(rule(decode(Encoding::Base64, &"A".repeat(1_000), 100)), "too-large");
        assert_eq!(rule(decode(Encoding::Utf8, "abcd", 3)), "too-large");
    }

    #[test]
    fn what_was_cut_or_changed_is_refused() {
        let whole = gzipped(b"document");
        assert_eq!(rule(decode(Encoding::Gzip, &STANDARD.encode(&whole[..whole.len() - 5]), 100)), "bad-gzip");
        assert_eq!(rule(decode(Encoding::Base64, "no base64!", 100)), "bad-base64");
        for method in Method::ALL.map(|(_, method)| method) {
            let integrity = Integrity { method, value: method.digest(b"document") };
            let text = STANDARD.encode(b"document");
            assert!(unpack(Encoding::Base64, &text, Some(8), Some(&integrity), 100).is_ok());
            let other = STANDARD.encode(b"d0cument");
            assert_eq!(rule(unpack(Encoding::Base64, &other, Some(8), Some(&integrity), 100)), "bad-integrity");
            assert_eq!(rule(unpack(Encoding::Base64, &text, Some(9), Some(&integrity), 100)), "wrong-size");
        }
    }

    #[test]
    fn size_and_digest_may_be_those_of_the_packed_bytes() {
        let packed = gzipped(b"document");
        let text = STANDARD.encode(&packed);
        for bytes in [packed.as_slice(), b"document"] {
            let integrity = Integrity { method: Method::Sha512, value: Method::Sha512.digest(bytes) };
            let size = Some(bytes.len() as u64);
            assert_eq!(unpack(Encoding::Gzip, &text, size, Some(&integrity), 100).expect("verified"), b"document");
        }
    }
}
