//! Owns what a source has to prove beside its key before it is heard: that it made this very request, and over which connection.
//! Refuses to know HTTP and what an alert says. Invariant: a source that must prove something is heard only when it has; a nonce
//! is kept before the answer is yes.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError, RwLock},
};

use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use secrecy::SecretString;

use super::{
    nonces::{Nonces, Untaken},
    signature::Signature,
    xml_signature::{self, Doubt},
};
use crate::time::{SharedClock, Timestamp};

/// What one source proves with every alert.
#[derive(Clone, Debug, Default)]
pub struct Proof {
    pub signature: Signing,
    /// SHA-256 of client certificates of which one must come with the connection; empty asks for none.
    pub client_certificates: Vec<[u8; 32]>,
}

#[derive(Clone, Debug, Default)]
pub enum Signing {
    #[default]
    None,
    /// `X-Signature` with this key.
    Hmac(SecretString),
    /// An enveloped XML signature by the key of a certificate in one of these files.
    Xml(Vec<PathBuf>),
}

/// A request as it came, before anybody read it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shown<'a> {
    /// SHA-256 of the certificate of whoever holds the connection.
    pub certificate: Option<[u8; 32]>,
    /// The header `X-Signature`.
    pub signature: Option<&'a str>,
    pub body: &'a [u8],
}

/// Why a request is not believed; said to whoever sent it.
#[derive(Debug, thiserror::Error)]
pub enum Disbelief {
    #[error("alerts of this source come over TLS with the client certificate that the configuration names; {0}")]
    NoCertificate(&'static str),
    #[error("this source signs its alerts: {0}")]
    Unsigned(&'static str),
    #[error("{0}")]
    BadSignature(&'static str),
    #[error("signed at {signed}; it is {now} here")]
    Expired { signed: Timestamp, now: Timestamp },
    #[error("signed at {signed}, before the gateway can tell what was used; sign anew")]
    Unknowable { signed: Timestamp },
    #[error("this nonce was used before; every request has its own")]
    Replayed,
    #[error("this source has signed too many requests within a few minutes")]
    TooMany,
    #[error("the nonce cannot be kept: {0}")]
    NotKept(io::Error),
}

/// Certificates by the source that signs with them.
type Pinned = BTreeMap<String, Vec<CertificateDer<'static>>>;

/// What every source proves, and what was seen.
pub struct Proofs {
    by_source: BTreeMap<String, Proof>,
    pinned: RwLock<Pinned>,
    nonces: Mutex<Nonces>,
    clock: SharedClock,
}

impl Proofs {
    /// Where several processes share a data directory, only the one that holds the store's lock may do this.
    pub fn open(data: &Path, by_source: BTreeMap<String, Proof>, clock: SharedClock) -> io::Result<Self> {
        let nonces = Mutex::new(Nonces::open(data, clock.now()));
        let pinned = RwLock::new(read_pinned(&by_source)?);
        Ok(Self { by_source, pinned, nonces, clock })
    }

    /// Reads the certificates of signers again; a file at fault changes nothing.
    pub fn reload(&self) -> io::Result<()> {
        let read = read_pinned(&self.by_source)?;
        *self.pinned.write().unwrap_or_else(PoisonError::into_inner) = read;
        Ok(())
    }

    /// Whether a source is believed. Waits for the disk: call it where a thread may wait.
    pub fn check(&self, source: &str, shown: Shown<'_>) -> Result<(), Disbelief> {
        // A source that the configuration does not have proves nothing; the engine refuses it by name.
        let Some(proof) = self.by_source.get(source) else { return Ok(()) };
        check_certificate(&proof.client_certificates, shown.certificate)?;
        match &proof.signature {
            Signing::None => Ok(()),
            Signing::Hmac(key) => self.check_hmac(source, key, shown),
            Signing::Xml(_) => self.check_xml(source, shown.body),
        }
    }

    /// Whether every alert of this source bears an XML signature that `check` has verified.
    pub fn is_signed_within(&self, source: &str) -> bool {
        self.by_source.get(source).is_some_and(|proof| matches!(proof.signature, Signing::Xml(_)))
    }

    fn check_xml(&self, source: &str, body: &[u8]) -> Result<(), Disbelief> {
        let pinned = self.pinned.read().unwrap_or_else(PoisonError::into_inner);
        let certificates = pinned.get(source).map_or(&[][..], Vec::as_slice);
        // The same document again is the same alert: it needs no nonce.
        xml_signature::verify(body, certificates).map_err(|doubt| match doubt {
            Doubt::Unsigned(why) => Disbelief::Unsigned(why),
            Doubt::Bad(why) => Disbelief::BadSignature(why),
        })
    }

    fn check_hmac(&self, source: &str, key: &SecretString, shown: Shown<'_>) -> Result<(), Disbelief> {
        let header = shown.signature.ok_or(Disbelief::Unsigned("X-Signature: t=<unix seconds>,n=<nonce>,v1=<hex> is missing"))?;
        let signature = Signature::read(header).map_err(Disbelief::BadSignature)?;
        // Time is judged after the key: only whoever has the key is told of clocks.
        if !signature.is_of(key, shown.body) {
            return Err(Disbelief::BadSignature("v1= is not the HMAC-SHA256 of t, n and this body by this source's key"));
        }
        let (now, signed) = (self.clock.now(), signature.signed_at());
        if !signature.is_in_time(now) {
            return Err(Disbelief::Expired { signed, now });
        }
        // What a panic left behind is whole: a nonce is added last.
        let mut nonces = self.nonces.lock().unwrap_or_else(PoisonError::into_inner);
        nonces.take(source, signature.nonce, signed, now).map_err(|why| match why {
            Untaken::Seen => Disbelief::Replayed,
            Untaken::Unknowable => Disbelief::Unknowable { signed },
            Untaken::Full => Disbelief::TooMany,
            Untaken::Disk(error) => Disbelief::NotKept(error),
        })
    }
}

fn check_certificate(known: &[[u8; 32]], shown: Option<[u8; 32]>) -> Result<(), Disbelief> {
    match shown {
        _ if known.is_empty() => Ok(()),
        Some(shown) if known.contains(&shown) => Ok(()),
        Some(_) => Err(Disbelief::NoCertificate("this connection shows another one")),
        None => Err(Disbelief::NoCertificate("this connection shows none")),
    }
}

fn read_pinned(by_source: &BTreeMap<String, Proof>) -> io::Result<Pinned> {
    let mut pinned = Pinned::new();
    for (source, proof) in by_source {
        let Signing::Xml(files) = &proof.signature else { continue };
        for file in files {
            let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
            let fault = |why: String| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {why}", file.display()));
            let certificates = read.map_err(|error| fault(error.to_string()))?;
            if let Some(odd) = certificates.iter().find_map(|certificate| xml_signature::fault_of(certificate)) {
                return Err(fault(odd));
            }
            // A file without a certificate in it is read without an error.
            if certificates.is_empty() {
                return Err(fault("holds no certificate".into()));
            }
            pinned.entry(source.clone()).or_default().extend(certificates);
        }
    }
    Ok(pinned)
}
