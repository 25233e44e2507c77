//! Owns API keys: 32 random bytes, shown once, kept as SHA-256 (a key is not a password: it cannot be guessed, so a fast hash is enough).

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::RngExt as _;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::{Access, AccessError, Caller, CallerKind, Role};
use crate::{area::AreaCode, time::Timestamp};

const PREFIX: &str = "lm_";

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Key {
    pub(super) name: String,
    hash: String,
    role: Role,
    source: Option<String>,
    areas: Vec<AreaCode>,
    created: Timestamp,
    revoked: Option<Timestamp>,
    /// From then on it is nobody's; keys of before this could be said never end.
    #[serde(default)]
    expires: Option<Timestamp>,
    /// Whose key it is; an approval by the same person is none.
    #[serde(default)]
    owner: Option<String>,
}

impl Key {
    pub(super) fn end(&mut self, now: Timestamp) {
        self.revoked = self.revoked.or(Some(now));
    }

    fn is_valid(&self, now: Timestamp) -> bool {
        self.revoked.is_none() && self.expires.is_none_or(|end| now < end)
    }
}

/// A key as it may be shown.
#[derive(Clone, Debug, Serialize)]
pub struct KeyView {
    pub name: String,
    pub role: Role,
    pub source: Option<String>,
    pub areas: Vec<AreaCode>,
    pub created: Timestamp,
    pub revoked: Option<Timestamp>,
    pub expires: Option<Timestamp>,
    pub owner: Option<String>,
}

pub struct NewKey {
    pub name: String,
    pub role: Role,
    pub source: Option<String>,
    pub areas: Vec<AreaCode>,
    /// How long it is good; without an end when left out.
    pub good_for: Option<Duration>,
    /// The person whose key it is.
    pub owner: Option<String>,
}

impl Access {
    /// Makes a key and gives it away, this once.
    pub fn new_key(&self, new: NewKey) -> Result<SecretString, AccessError> {
        let secret: [u8; 32] = rand::rng().random();
        let text = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(secret));
        let now = self.clock.now();
        let key = Key {
            hash: hash(&text),
            name: new.name,
            role: new.role,
            source: new.source,
            areas: new.areas,
            created: now,
            revoked: None,
            expires: new.good_for.map(|time| now.plus(time)),
            owner: new.owner,
        };
        self.change(|book| {
            if book.keys.iter().any(|known| known.name == key.name && known.is_valid(now)) {
                return Err(AccessError::Known(key.name.clone()));
            }
            book.keys.push(key);
            Ok(())
        })?;
        Ok(SecretString::from(text))
    }

    pub fn list_keys(&self) -> Vec<KeyView> {
        let view = |key: &Key| KeyView {
            name: key.name.clone(),
            role: key.role,
            source: key.source.clone(),
            areas: key.areas.clone(),
            created: key.created,
            revoked: key.revoked,
            expires: key.expires,
            owner: key.owner.clone(),
        };
        self.book().keys.iter().map(view).collect()
    }

    pub fn revoke_key(&self, name: &str) -> Result<(), AccessError> {
        let now = self.clock.now();
        self.change(|book| {
            let key = book.keys.iter_mut().find(|key| key.name == name && key.is_valid(now));
            key.ok_or_else(|| AccessError::Unknown(name.to_owned()))?.revoked = Some(now);
            Ok(())
        })
    }

    /// Whom a presented key stands for.
    pub fn verify_key(&self, presented: &str) -> Option<Caller> {
        if !presented.starts_with(PREFIX) {
            return None;
        }
        let wanted = hash(presented);
        let (book, now) = (self.fresh(), self.clock.now());
        let key = book.keys.iter().filter(|key| key.is_valid(now)).find(|key| bool::from(key.hash.as_bytes().ct_eq(wanted.as_bytes())))?;
        Some(Caller {
            kind: CallerKind::Key,
            name: key.name.clone(),
            role: key.role,
            source: key.source.clone(),
            areas: key.areas.clone(),
            owner: key.owner.clone(),
        })
    }
}

fn hash(key: &str) -> String {
    Sha256::digest(key.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}
