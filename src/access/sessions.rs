//! Owns sessions of people who have signed in. In memory: a restart signs everybody out, and nothing else.
//! Invariant: bounded in number and time; a session's id is never logged.

use std::{
    collections::HashMap,
    net::IpAddr,
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
/// Tries from one address: a proxy or a township's one line may stand for dozens of people at the change of duty.
const TRIES_OF_ADDRESS_MAX: u32 = 200;
pub const TRIES_WINDOW: Duration = Duration::from_secs(15 * 60);

#[derive(Default)]
pub struct Sessions(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    open: HashMap<String, Session>,
    tries: HashMap<Guesser, (u32, Timestamp)>,
}

/// What tries are counted by.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Guesser {
    Name(String),
    /// One computer, or the network that one customer is given.
    Place(IpAddr),
}

impl Guesser {
    fn name(user: &str) -> Self {
        Self::Name(user.chars().take(64).collect())
    }

    fn place(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(address) => Self::Place(IpAddr::from(std::net::Ipv6Addr::from_bits(address.to_bits() >> 64 << 64))),
            address @ IpAddr::V4(_) => Self::Place(address),
        }
    }
}

struct Session {
    user: String,
    mark: Mark,
    begun: Timestamp,
    seen: Timestamp,
}

impl Session {
    fn stands(&self, now: Timestamp) -> bool {
        now.since(self.seen) <= IDLE && now.since(self.begun) <= LONGEST
    }
}

impl Sessions {
    pub fn begin(&self, user: &str, mark: Mark, now: Timestamp) -> String {
        let secret: [u8; 32] = rand::rng().random();
        let id = URL_SAFE_NO_PAD.encode(secret);
        let mut inner = self.locked();
        inner.tries.remove(&Guesser::name(user));
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
        if !session.stands(now) {
            inner.open.remove(id);
            return None;
        }
        session.seen = now;
        Some((session.user.clone(), session.mark))
    }

    /// The same without counting as use: what goes on by itself does not keep anybody signed in.
    pub fn still_user_of(&self, id: &str, now: Timestamp) -> Option<(String, Mark)> {
        let inner = self.locked();
        let session = inner.open.get(id).filter(|session| session.stands(now))?;
        Some((session.user.clone(), session.mark))
    }

    pub fn end(&self, id: &str) {
        self.locked().open.remove(id);
    }

    /// Whether another password may be tried for this name and from this address; counts the try.
    pub fn may_try(&self, user: &str, from: Option<IpAddr>, now: Timestamp) -> bool {
        let mut inner = self.locked();
        // A proxy on this machine stands for everybody.
        let from = from.filter(|address| !address.to_canonical().is_loopback());
        let by_place = from.is_none_or(|address| inner.count(Guesser::place(address), now) <= TRIES_OF_ADDRESS_MAX);
        inner.count(Guesser::name(user), now) <= TRIES_MAX && by_place
    }

    fn locked(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("no code panics while it holds the sessions")
    }
}

impl Inner {
    fn count(&mut self, guesser: Guesser, now: Timestamp) -> u32 {
        // Names that nobody has fill the table too: it is emptied of what is over before it grows.
        if self.tries.len() >= SESSIONS_MAX {
            self.tries.retain(|_, (_, since)| now.since(*since) < TRIES_WINDOW);
            if self.tries.len() >= SESSIONS_MAX
                && let Some(oldest) = self.tries.iter().min_by_key(|(_, (_, since))| *since).map(|(guesser, _)| guesser.clone())
            {
                self.tries.remove(&oldest);
            }
        }
        let (tries, since) = self.tries.entry(guesser).or_insert((0, now));
        if now.since(*since) >= TRIES_WINDOW {
            (*tries, *since) = (0, now);
        }
        *tries += 1;
        *tries
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
        let tries = (0..100).filter(|_| sessions.may_try("zhang", None, NOW)).count();
        assert_eq!(tries, TRIES_MAX as usize);
        assert!(sessions.may_try("zhang", None, NOW.plus(TRIES_WINDOW)));
    }

    #[test]
    fn names_that_nobody_has_do_not_fill_the_memory() {
        let sessions = Sessions::default();
        for number in 0..u64::try_from(3 * SESSIONS_MAX).expect("a number") {
            sessions.may_try(&format!("guess {number}"), None, NOW.plus(Duration::from_millis(number)));
        }
        assert!(sessions.locked().tries.len() <= SESSIONS_MAX);
    }

    #[test]
    fn whoever_goes_through_all_names_from_one_place_has_to_wait_and_a_proxy_beside_us_does_not() {
        let tries = |address: &str| {
            let sessions = Sessions::default();
            let from = Some(address.parse().expect("an address"));
            (0..2 * TRIES_OF_ADDRESS_MAX).filter(|number| sessions.may_try(&format!("name {number}"), from, NOW)).count()
        };
        assert_eq!(tries("203.0.113.7"), TRIES_OF_ADDRESS_MAX as usize);
        assert_eq!(tries("::ffff:203.0.113.7"), TRIES_OF_ADDRESS_MAX as usize);
        assert_eq!(tries("127.0.0.1"), 2 * TRIES_OF_ADDRESS_MAX as usize);
        let sessions = Sessions::default();
        let neighbours = (0..2 * TRIES_OF_ADDRESS_MAX).filter(|number| {
            let from = format!("2001:db8::{number:x}").parse().ok();
            sessions.may_try(&format!("name {number}"), from, NOW)
        });
        assert_eq!(neighbours.count(), TRIES_OF_ADDRESS_MAX as usize);
    }

    #[test]
    fn what_goes_on_by_itself_keeps_nobody_signed_in() {
        let sessions = Sessions::default();
        let id = sessions.begin("zhang", MARK, NOW);
        let nearly = NOW.plus(IDLE);
        assert!(sessions.still_user_of(&id, nearly).is_some());
        assert!(sessions.still_user_of(&id, nearly.plus(Duration::from_secs(1))).is_none());
    }
}
