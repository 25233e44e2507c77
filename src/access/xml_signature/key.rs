//! Owns the check of one signature value by the key of a certificate, in the ways in which XML writes it.
//! Refuses to know XML. Invariant: RSA keys have 2048 bits at least, curves are P-256 and P-384, SHA-1 is no method.

use rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm};
use webpki::{EndEntityCert, ring};

/// How XML writes the signature: RSA's as it is, ECDSA's as two numbers of the curve's length (RFC 4051, section 2.3.6).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Rsa,
    Ecdsa,
}

/// What a `SignatureMethod` names: the algorithms of the curves and lengths that it may mean.
pub(super) struct Method(Kind, Vec<&'static dyn SignatureVerificationAlgorithm>);

impl Method {
    pub(super) fn of(uri: &str) -> Option<Self> {
        let (kind, algorithms) = match uri.strip_prefix("http://www.w3.org/2001/04/xmldsig-more#")? {
            "rsa-sha256" => (Kind::Rsa, vec![ring::RSA_PKCS1_2048_8192_SHA256]),
            "rsa-sha384" => (Kind::Rsa, vec![ring::RSA_PKCS1_2048_8192_SHA384]),
            "rsa-sha512" => (Kind::Rsa, vec![ring::RSA_PKCS1_2048_8192_SHA512]),
            "ecdsa-sha256" => (Kind::Ecdsa, vec![ring::ECDSA_P256_SHA256, ring::ECDSA_P384_SHA256]),
            "ecdsa-sha384" => (Kind::Ecdsa, vec![ring::ECDSA_P256_SHA384, ring::ECDSA_P384_SHA384]),
            _ => return None,
        };
        Some(Self(kind, algorithms))
    }

    /// Whether the key of the certificate made this signature over these bytes. Its dates are not judged: it is good while it is pinned.
    pub(super) fn is_by(&self, certificate: &CertificateDer<'_>, said: &[u8], value: &[u8]) -> bool {
        let Ok(certificate) = EndEntityCert::try_from(certificate) else { return false };
        let written = if self.0 == Kind::Ecdsa { der_of(value) } else { Some(value.to_vec()) };
        let fits = |value: &[u8]| self.1.iter().any(|algorithm| certificate.verify_signature(*algorithm, said, value).is_ok());
        written.is_some_and(|value| fits(&value))
    }
}

/// Why no signature could ever be verified by this certificate.
pub(in crate::access) fn fault_of(certificate: &CertificateDer<'_>) -> Option<String> {
    EndEntityCert::try_from(certificate).err().map(|error| format!("a certificate cannot be used: {error}"))
}

/// Two numbers of equal length as the ASN.1 sequence that TLS libraries want.
fn der_of(value: &[u8]) -> Option<Vec<u8>> {
    // P-256 and P-384: every length below fits into one byte.
    if !matches!(value.len(), 64 | 96) {
        return None;
    }
    let (r, s) = value.split_at(value.len() / 2);
    let numbers = [integer(r), integer(s)].concat();
    let mut der = vec![0x30, u8::try_from(numbers.len()).ok()?];
    der.extend(numbers);
    Some(der)
}

fn integer(number: &[u8]) -> Vec<u8> {
    let zeros = number.iter().take_while(|&&byte| byte == 0).count().min(number.len() - 1);
    let mut digits = number[zeros..].to_vec();
    if digits[0] & 0x80 != 0 {
        digits.insert(0, 0);
    }
    let mut der = vec![0x02, u8::try_from(digits.len()).unwrap_or(u8::MAX)];
    der.extend(digits);
    der
}
