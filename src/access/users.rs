//! Owns the people who sign in: names, roles, passwords as argon2id hashes.

use std::{fmt, sync::OnceLock};

use argon2::{
    Argon2,
    password_hash::{PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash},
};
use rand::RngExt as _;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Access, AccessError, Caller, CallerKind, HELD, Role, passwords, totp};
use crate::area::AreaCode;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct User {
    name: String,
    role: Role,
    areas: Vec<AreaCode>,
    hash: String,
    disabled: bool,
    /// Secret of the second factor in base 32; users of before have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    totp: Option<SecondFactor>,
}

/// Kept as it is, since every code is reckoned from it; never shown.
#[derive(Clone, Serialize, Deserialize)]
struct SecondFactor(String);

impl fmt::Debug for SecondFactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct UserView {
    pub name: String,
    pub role: Role,
    pub areas: Vec<AreaCode>,
    pub disabled: bool,
    pub second_factor: bool,
}

impl Access {
    pub fn add_user(&self, name: &str, role: Role, areas: Vec<AreaCode>, password: &SecretString) -> Result<(), AccessError> {
        let user = User { name: name.to_owned(), role, areas, hash: hash(password, name)?, disabled: false, totp: None };
        self.change(|book| {
            if book.users.iter().any(|known| known.name == name) {
                return Err(AccessError::Known(name.to_owned()));
            }
            book.users.push(user);
            Ok(())
        })
    }

    pub fn list_users(&self) -> Vec<UserView> {
        let view = |user: &User| UserView {
            name: user.name.clone(),
            role: user.role,
            areas: user.areas.clone(),
            disabled: user.disabled,
            second_factor: user.totp.is_some(),
        };
        self.book().users.iter().map(view).collect()
    }

    pub fn set_password(&self, name: &str, password: &SecretString) -> Result<(), AccessError> {
        let hash = hash(password, name)?;
        self.change_user(name, |user| user.hash = hash)
    }

    pub fn disable_user(&self, name: &str) -> Result<(), AccessError> {
        self.change_user(name, |user| user.disabled = true)
    }

    /// Nobody signs in under the name any more, and it is free again.
    pub fn remove_user(&self, name: &str) -> Result<(), AccessError> {
        self.change(|book| {
            let before = book.users.len();
            book.users.retain(|user| user.name != name);
            if book.users.len() < before { Ok(()) } else { Err(AccessError::Unknown(name.to_owned())) }
        })
    }

    /// Makes a second factor and gives it away, this once: what an app on the telephone reads.
    pub fn new_second_factor(&self, name: &str) -> Result<SecretString, AccessError> {
        let secret = totp::new_secret();
        let kept = SecondFactor(secret.clone());
        self.change_user(name, |user| user.totp = Some(kept))?;
        Ok(totp::address(&secret, name))
    }

    pub fn drop_second_factor(&self, name: &str) -> Result<(), AccessError> {
        self.change_user(name, |user| user.totp = None)
    }

    fn change_user(&self, name: &str, act: impl FnOnce(&mut User)) -> Result<(), AccessError> {
        self.change(|book| {
            let user = book.users.iter_mut().find(|user| user.name == name);
            act(user.ok_or_else(|| AccessError::Unknown(name.to_owned()))?);
            Ok(())
        })
    }

    /// Slow on purpose, and as slow for a name that nobody has; call it where a thread may wait.
    /// `code` is asked of whoever has a second factor.
    pub fn verify_user(&self, name: &str, password: &SecretString, code: &str) -> Option<(Caller, Mark)> {
        let book = self.fresh();
        let user = book.users.iter().find(|user| user.name == name && !user.disabled);
        let stored = match user {
            Some(user) => user.hash.as_str(),
            None => nobody(),
        };
        let hash = PasswordHash::new(stored).ok()?;
        Argon2::default().verify_password(password.expose_secret().as_bytes(), &hash).ok()?;
        let user = user?;
        if let Some(SecondFactor(secret)) = &user.totp {
            let step = totp::step_of(secret, code.trim(), self.clock.now())?;
            let is_new = self.used_codes.lock().expect(HELD).take(name, step);
            is_new.then_some(())?;
        }
        Some((user.caller(), user.mark()))
    }

    /// Whom a session stands for now: nobody, once the user was removed or disabled, or the password or second factor changed.
    pub fn caller_of_session(&self, name: &str, mark: Mark) -> Option<Caller> {
        let book = self.fresh();
        let user = book.users.iter().find(|user| user.name == name && !user.disabled)?;
        (user.mark() == mark).then(|| user.caller())
    }
}

/// Which password and second factor a session was opened with; tells nothing of them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Mark([u8; 32]);

#[cfg(test)]
impl Mark {
    pub(super) const TEST: Self = Self([7; 32]);
}

impl User {
    pub(super) const fn disable(&mut self) {
        self.disabled = true;
    }

    fn mark(&self) -> Mark {
        let mut whole = Sha256::new_with_prefix(self.hash.as_bytes());
        // Whoever is given a second factor may have lost the password: what was opened without it ends.
        if let Some(SecondFactor(secret)) = &self.totp {
            whole.update(secret.as_bytes());
        }
        Mark(whole.finalize().into())
    }

    fn caller(&self) -> Caller {
        Caller { kind: CallerKind::User, name: self.name.clone(), role: self.role, source: None, areas: self.areas.clone(), owner: None }
    }
}

/// A hash of nobody's password, so that a wrong name takes the time of a wrong password.
fn nobody() -> &'static str {
    static NOBODY: OnceLock<String> = OnceLock::new();
    NOBODY.get_or_init(|| {
        let secret: [u8; 32] = rand::rng().random();
        Argon2::default().hash_password(&secret).map(|hash| hash.to_string()).unwrap_or_default()
    })
}

fn hash(password: &SecretString, name: &str) -> Result<String, AccessError> {
    if let Some(why) = passwords::weakness(password.expose_secret(), name) {
        return Err(AccessError::WeakPassword(why));
    }
    let hashed = Argon2::default().hash_password(password.expose_secret().as_bytes());
    hashed.map(|hash| hash.to_string()).map_err(|error| AccessError::Hash(error.to_string()))
}
