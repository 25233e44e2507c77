//! Owns sessions of people who have signed in. In memory: a restart signs everybody out, and nothing else.
//! Invariant: bounded in number and time; a session's id is never logged.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::RngExt as _;

use super::Mark;
use crate::time::Timestamp;

/// A county's duty room and its townships; beyond it the oldest go.
const SESSIONS_MAX: usize = 1_000;
const IDLE: Duration = Duration::from_secs(30 * 60);
/// A duty lasts twelve hours.
const LONGEST: Duration = Duration::from_secs(12 * 3_600);
/// Wrong passwords of one name within the window before it has to wait.
const TRIES_MAX: u32 = 10;
pub const TRIES_WINDOW: Duration = Duration::from_secs(15 * 60);

#[derive(Default)]
pub struct Sessions(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    open: HashMap<String, Session>,
    tries: HashMap<String, (u32, Timestamp)>,
}

struct Session {
    user: String,
    mark: Mark,
    begun: Timestamp,
    seen: Timestamp,
}

impl Sessions {
    pub fn begin(&self, user: &str, mark: Mark, now: Timestamp) -> String {
        let secret: [u8; 32] = rand::rng().random();
        let id = URL_SAFE_NO_PAD.encode(secret);
        let mut inner = self.locked();
        inner.tries.remove(user);
        if inner.open.len() >= SESSIONS_MAX
            && let Some(oldest) = inner.open.iter().min_by_key(|(_, session)| session.seen).map(|(id, _)| id.clone())
        {
            inner.open.remove(&oldest);
        }
        inner.open.insert(id.clone(), Session { user: user.to_owned(), mark, begun: now, seen: now });
        id
    }

    /// The user of a session that still stands, and which password opened it.
    pub fn user_of(&self, id: &str, now: Timestamp) -> Option<(String, Mark)> {
        let mut inner = self.locked();
        let session = inner.open.get_mut(id)?;
        if now.since(session.seen) > IDLE || now.since(session.begun) > LONGEST {
            inner.open.remove(id);
            return None;
        }
        session.seen = now;
        Some((session.user.clone(), session.mark))
    }

    pub fn end(&self, id: &str) {
        self.locked().open.remove(id);
    }

    /// Whether another password may be tried for this name; counts the try.
    pub fn may_try(&self, user: &str, now: Timestamp) -> bool {
        let mut inner = self.locked();
        // Names that nobody has fill the table too: it is emptied of what is over before it grows.
        if inner.tries.len() >= SESSIONS_MAX {
            inner.tries.retain(|_, (_, since)| now.since(*since) < TRIES_WINDOW);
            if inner.tries.len() >= SESSIONS_MAX
                && let Some(oldest) = inner.tries.iter().min_by_key(|(_, (_, since))| *since).map(|(name, _)| name.clone())
            {
                inner.tries.remove(&oldest);
            }
        }
        let (tries, since) = inner.tries.entry(user.chars().take(64).collect()).or_insert((0, now));
        if now.since(*since) >= TRIES_WINDOW {
            (*tries, *since) = (0, now);
        }
        *tries += 1;
        *tries <= TRIES_MAX
    }

    fn locked(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("no code panics while it holds the sessions")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_ms(1_784_000_000_000);
    const MARK: Mark = Mark::TEST;

    #[test]
    fn a_session_ends_when_nobody_uses_it_or_the_duty_is_over() {
        let sessions = Sessions::default();
        let id = sessions.begin("zhang", MARK, NOW);
        assert_eq!(sessions.user_of(&id, NOW.plus(IDLE)).map(|(user, _)| user).as_deref(), Some("zhang"));
        assert!(sessions.user_of(&id, NOW.plus(IDLE * 3)).is_none());
        let id = sessions.begin("zhang", MARK, NOW);
        let mut now = NOW;
        while now.since(NOW) <= LONGEST {
            assert!(sessions.user_of(&id, now).is_some());
            now = now.plus(IDLE);
        }
        assert!(sessions.user_of(&id, now).is_none());
        assert!(sessions.user_of("guess", NOW).is_none());
    }

    #[test]
    fn passwords_cannot_be_guessed_without_end() {
        let sessions = Sessions::default();
        let tries = (0..100).filter(|_| sessions.may_try("zhang", NOW)).count();
        assert_eq!(tries, TRIES_MAX as usize);
        assert!(sessions.may_try("zhang", NOW.plus(TRIES_WINDOW)));
    }

    #[test]
    fn names_that_nobody_has_do_not_fill_the_memory() {
        let sessions = Sessions::default();
        for number in 0..u64::try_from(3 * SESSIONS_MAX).expect("a number") {
            sessions.may_try(&format!("guess {number}"), NOW.plus(Duration::from_millis(number)));
        }
        assert!(sessions.locked().tries.len() <= SESSIONS_MAX);
    }
}
