//! Owns sessions of people who have signed in, and what is counted of those who try to. In memory: a restart signs everybody out, and
//! nothing else. Invariant: bounded in number and time, in all and of one user; a session's id is never logged.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::RngExt as _;
use serde::Serialize;

use super::{
    Mark,
    browsers::{Browser, Browsers},
    guesses::{Guesser, Guesses},
};
use crate::time::Timestamp;

/// A county's duty room and its townships; beyond it the oldest go.
const SESSIONS_MAX: usize = 1_000;
/// The screens of one person; beyond it the person's own oldest goes, and nobody else's.
const SESSIONS_OF_USER: usize = 10;
const IDLE: Duration = Duration::from_secs(30 * 60);
/// A duty lasts twelve hours.
const LONGEST: Duration = Duration::from_secs(12 * 3_600);

pub struct Sessions {
    open: Mutex<HashMap<String, Session>>,
    guesses: Guesses,
    browsers: Browsers,
}

struct Session {
    user: String,
    mark: Mark,
    begun: Timestamp,
    seen: Timestamp,
}

/// A session as it may be shown.
#[derive(Clone, Debug, Serialize)]
pub struct SessionView {
    pub user: String,
    pub begun: Timestamp,
    pub seen: Timestamp,
}

impl Session {
    fn stands(&self, now: Timestamp) -> bool {
        now.since(self.seen) <= IDLE && now.since(self.begun) <= LONGEST
    }
}

impl Sessions {
    /// `browser_key` makes the marks of browsers; with another one all of them are strange.
    pub fn new(browser_key: [u8; 32]) -> Self {
        Self { open: Mutex::default(), guesses: Guesses::default(), browsers: Browsers::new(browser_key) }
    }

    pub fn begin(&self, user: &str, mark: Mark, now: Timestamp) -> String {
        let secret: [u8; 32] = rand::rng().random();
        let id = URL_SAFE_NO_PAD.encode(secret);
        let mut open = self.locked();
        open.retain(|_, session| session.stands(now));
        if open.values().filter(|session| session.user == user).count() >= SESSIONS_OF_USER {
            end_oldest(&mut open, |session| session.user == user);
        }
        if open.len() >= SESSIONS_MAX {
            end_oldest(&mut open, |_| true);
        }
        open.insert(id.clone(), Session { user: user.to_owned(), mark, begun: now, seen: now });
        id
    }

    /// Those that stand, newest first; `is_good` says whether its user still is one, with the password and factor it was opened with.
    pub fn list(&self, now: Timestamp, is_good: impl Fn(&str, Mark) -> bool) -> Vec<SessionView> {
        let view = |session: &Session| (SessionView { user: session.user.clone(), begun: session.begun, seen: session.seen }, session.mark);
        let standing: Vec<_> = self.locked().values().filter(|session| session.stands(now)).map(view).collect();
        let mut list: Vec<_> = standing.into_iter().filter(|(view, mark)| is_good(&view.user, *mark)).map(|(view, _)| view).collect();
        list.sort_by_key(|session| std::cmp::Reverse(session.begun));
        list
    }

    /// Ends all of one user; how many there were.
    pub fn end_all_of(&self, user: &str) -> usize {
        let mut open = self.locked();
        let before = open.len();
        open.retain(|_, session| session.user != user);
        before - open.len()
    }

    /// Counts a try just before its password is checked, or says how long to wait.
    pub fn try_now(&self, who: &Guesser<'_>, now: Timestamp) -> Result<(), Duration> {
        self.guesses.try_now(who, now)
    }

    /// The password was right.
    pub fn right(&self, who: &Guesser<'_>) {
        self.guesses.right(who);
    }

    /// The mark of a browser from which this name has signed in.
    pub fn mark_browser(&self, name: &str, now: Timestamp) -> String {
        self.browsers.mark(name, now)
    }

    pub fn browser(&self, mark: &str, name: &str, now: Timestamp) -> Option<Browser> {
        self.browsers.read(mark, name, now)
    }

    /// The user of a session that still stands, and which password opened it.
    pub fn user_of(&self, id: &str, now: Timestamp) -> Option<(String, Mark)> {
        let mut open = self.locked();
        let session = open.get_mut(id)?;
        if !session.stands(now) {
            open.remove(id);
            return None;
        }
        session.seen = now;
        Some((session.user.clone(), session.mark))
    }

    /// The same without counting as use: what goes on by itself does not keep anybody signed in.
    pub fn still_user_of(&self, id: &str, now: Timestamp) -> Option<(String, Mark)> {
        let open = self.locked();
        let session = open.get(id).filter(|session| session.stands(now))?;
        Some((session.user.clone(), session.mark))
    }

    pub fn end(&self, id: &str) {
        self.locked().remove(id);
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<String, Session>> {
        self.open.lock().expect("no code panics while it holds the sessions")
    }
}

fn end_oldest(open: &mut HashMap<String, Session>, among: impl Fn(&Session) -> bool) {
    let oldest = open.iter().filter(|(_, session)| among(session)).min_by_key(|(_, session)| session.seen).map(|(id, _)| id.clone());
    if let Some(id) = oldest {
        open.remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_ms(1_784_000_000_000);
    const MARK: Mark = Mark::TEST;

    fn sessions() -> Sessions {
        Sessions::new([1; 32])
    }

    #[test]
    fn a_session_ends_when_nobody_uses_it_or_the_duty_is_over() {
        let sessions = sessions();
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
    fn whoever_signs_in_again_and_again_puts_nobody_else_out() {
        let sessions = sessions();
        let other = sessions.begin("zhang", MARK, NOW);
        let ids: Vec<String> = (0..2_000).map(|second| sessions.begin("li", MARK, NOW.plus(Duration::from_millis(second)))).collect();
        let later = NOW.plus(Duration::from_secs(3));
        assert!(sessions.user_of(&other, later).is_some());
        let standing = ids.iter().filter(|id| sessions.still_user_of(id, later).is_some()).count();
        assert_eq!((standing, sessions.list(later, |_, _| true).len()), (SESSIONS_OF_USER, SESSIONS_OF_USER + 1));
        assert_eq!((sessions.end_all_of("li"), sessions.list(later, |_, _| true).len()), (SESSIONS_OF_USER, 1));
    }

    #[test]
    fn what_goes_on_by_itself_keeps_nobody_signed_in() {
        let sessions = sessions();
        let id = sessions.begin("zhang", MARK, NOW);
        let nearly = NOW.plus(IDLE);
        assert!(sessions.still_user_of(&id, nearly).is_some());
        assert!(sessions.still_user_of(&id, nearly.plus(Duration::from_secs(1))).is_none());
    }
}
