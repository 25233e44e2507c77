//! Owns the people who sign in: names, roles, passwords as argon2id hashes.

use std::sync::OnceLock;

use argon2::{
    Argon2,
    password_hash::{PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash},
};
use rand::RngExt as _;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Access, AccessError, Caller, CallerKind, Role};
use crate::area::AreaCode;

/// Shorter ones are guessed; longer rules make people write them down.
const PASSWORD_CHARS_MIN: usize = 8;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct User {
    name: String,
    role: Role,
    areas: Vec<AreaCode>,
    hash: String,
    disabled: bool,
}

#[derive(Clone, Debug, Serialize)]
pub struct UserView {
    pub name: String,
    pub role: Role,
    pub areas: Vec<AreaCode>,
    pub disabled: bool,
}

impl Access {
    pub fn add_user(&self, name: &str, role: Role, areas: Vec<AreaCode>, password: &SecretString) -> Result<(), AccessError> {
        let user = User { name: name.to_owned(), role, areas, hash: hash(password)?, disabled: false };
        self.change(|book| {
            if book.users.iter().any(|known| known.name == name) {
                return Err(AccessError::Known(name.to_owned()));
            }
            book.users.push(user);
            Ok(())
        })
    }

    pub fn list_users(&self) -> Vec<UserView> {
        let view = |user: &User| UserView { name: user.name.clone(), role: user.role, areas: user.areas.clone(), disabled: user.disabled };
        self.book().users.iter().map(view).collect()
    }

    pub fn set_password(&self, name: &str, password: &SecretString) -> Result<(), AccessError> {
        let hash = hash(password)?;
        self.change_user(name, |user| user.hash = hash)
    }

    pub fn disable_user(&self, name: &str) -> Result<(), AccessError> {
        self.change_user(name, |user| user.disabled = true)
    }

    fn change_user(&self, name: &str, act: impl FnOnce(&mut User)) -> Result<(), AccessError> {
        self.change(|book| {
            let user = book.users.iter_mut().find(|user| user.name == name);
            act(user.ok_or_else(|| AccessError::Unknown(name.to_owned()))?);
            Ok(())
        })
    }

    /// Slow on purpose, and as slow for a name that nobody has; call it where a thread may wait.
    pub fn verify_user(&self, name: &str, password: &SecretString) -> Option<(Caller, Mark)> {
        let book = self.fresh();
        let user = book.users.iter().find(|user| user.name == name && !user.disabled);
        let stored = match user {
            Some(user) => user.hash.as_str(),
            None => nobody(),
        };
        let hash = PasswordHash::new(stored).ok()?;
        Argon2::default().verify_password(password.expose_secret().as_bytes(), &hash).ok()?;
        user.map(|user| (user.caller(), user.mark()))
    }

    /// Whom a session stands for now: nobody, once the user was disabled or the password changed.
    pub fn caller_of_session(&self, name: &str, mark: Mark) -> Option<Caller> {
        let book = self.fresh();
        let user = book.users.iter().find(|user| user.name == name && !user.disabled)?;
        (user.mark() == mark).then(|| user.caller())
    }
}

/// Which password a session was opened with; tells nothing of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Mark([u8; 32]);

#[cfg(test)]
impl Mark {
    pub(super) const TEST: Self = Self([7; 32]);
}

impl User {
    fn mark(&self) -> Mark {
        Mark(Sha256::digest(self.hash.as_bytes()).into())
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

fn hash(password: &SecretString) -> Result<String, AccessError> {
    if password.expose_secret().chars().count() < PASSWORD_CHARS_MIN {
        return Err(AccessError::ShortPassword);
    }
    let hashed = Argon2::default().hash_password(password.expose_secret().as_bytes());
    hashed.map(|hash| hash.to_string()).map_err(|error| AccessError::Hash(error.to_string()))
}
