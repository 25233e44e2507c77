//! Owns what a source has to prove beside its key before it is heard: that it made this very request, and over which connection.
//! Refuses to know HTTP and what an alert says. Invariant: a source that must prove something is heard only when it has; a nonce
//! is kept before the answer is yes.

use std::{
    collections::BTreeMap,
    io,
    path::Path,
    sync::{Mutex, PoisonError},
};

use secrecy::SecretString;

use super::{
    nonces::{Nonces, Untaken},
    signature::Signature,
};
use crate::time::{SharedClock, Timestamp};

/// What one source proves with every alert.
#[derive(Clone, Debug, Default)]
pub struct Proof {
    pub signature: Signing,
}

#[derive(Clone, Debug, Default)]
pub enum Signing {
    #[default]
    None,
    /// `X-Signature` with this key.
    Hmac(SecretString),
}

/// A request as it came, before anybody read it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shown<'a> {
    /// The header `X-Signature`.
    pub signature: Option<&'a str>,
    pub body: &'a [u8],
}

/// Why a request is not believed; said to whoever sent it.
#[derive(Debug, thiserror::Error)]
pub enum Disbelief {
    #[error("this source signs its requests: {0}")]
    Unsigned(&'static str),
    #[error("{0}")]
    BadSignature(&'static str),
    #[error("signed at {signed}; it is {now} here")]
    Expired { signed: Timestamp, now: Timestamp },
    #[error("this nonce was used before; every request has its own")]
    Replayed,
    #[error("this source has signed too many requests within a few minutes")]
    TooMany,
    #[error("the nonce cannot be kept: {0}")]
    NotKept(io::Error),
}

/// What every source proves, and what was seen.
pub struct Proofs {
    by_source: BTreeMap<String, Proof>,
    nonces: Mutex<Nonces>,
    clock: SharedClock,
}

impl Proofs {
    /// Where several processes share a data directory, only the one that holds the store's lock may do this.
    pub fn open(data: &Path, by_source: BTreeMap<String, Proof>, clock: SharedClock) -> io::Result<Self> {
        let nonces = Mutex::new(Nonces::open(data, clock.now())?);
        Ok(Self { by_source, nonces, clock })
    }

    /// Whether a source is believed. Waits for the disk: call it where a thread may wait.
    pub fn check(&self, source: &str, shown: Shown<'_>) -> Result<(), Disbelief> {
        // A source that the configuration does not have proves nothing; the engine refuses it by name.
        let Some(proof) = self.by_source.get(source) else { return Ok(()) };
        match &proof.signature {
            Signing::None => Ok(()),
            Signing::Hmac(key) => self.check_hmac(source, key, shown),
        }
    }

    fn check_hmac(&self, source: &str, key: &SecretString, shown: Shown<'_>) -> Result<(), Disbelief> {
        let header = shown.signature.ok_or(Disbelief::Unsigned("X-Signature: t=<unix seconds>,n=<nonce>,v1=<hex> is missing"))?;
        let signature = Signature::read(header).map_err(Disbelief::BadSignature)?;
        // Time is judged after the key: only whoever has the key is told of clocks.
        if !signature.is_of(key, shown.body) {
            return Err(Disbelief::BadSignature("v1= is not the HMAC-SHA256 of t, n and this body by this source's key"));
        }
        let (now, signed) = (self.clock.now(), signature.signed_at());
        let expired = Disbelief::Expired { signed, now };
        if !signature.is_in_time(now) {
            return Err(expired);
        }
        // What a panic left behind is whole: a nonce is added last.
        let mut nonces = self.nonces.lock().unwrap_or_else(PoisonError::into_inner);
        nonces.take(source, signature.nonce, signed, now).map_err(|why| match why {
            Untaken::Seen => Disbelief::Replayed,
            Untaken::Unknowable => expired,
            Untaken::Full => Disbelief::TooMany,
            Untaken::Disk(error) => Disbelief::NotKept(error),
        })
    }
}
