//! Owns slowing whoever guesses passwords. Refuses to lock anybody out: a guesser waits longer and longer, at the place where he guesses; whoever
//! has signed in from this browser before is counted alone. Invariant: what is counted is never forgotten for want of room; a full table refuses
//! new guessers instead.

use std::{
    collections::HashMap,
    hash::Hash,
    net::IpAddr,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use super::browsers::Browser;
use crate::{network, time::Timestamp};

/// Wrong passwords before the first pause: people mistype, and try the old one.
const FREE: u32 = 5;
/// Of one place under whatever names: a proxy or a township's one line stands for dozens of people at the change of duty.
const FREE_OF_PLACE: u32 = 100;
/// Each wrong password more doubles the pause, up to this.
const PAUSE_MAX: Duration = Duration::from_secs(15 * 60);
/// A guesser who stops for so long begins anew.
const FORGOTTEN: Duration = Duration::from_secs(60 * 60);
/// Names at places, places, browsers; a county has some hundred users.
const PAIRS_MAX: usize = 20_000;
const PLACES_MAX: usize = 10_000;
const BROWSERS_MAX: usize = 5_000;
/// No longer name is anybody's.
const NAME_CHARS_MAX: usize = 64;

/// Who tries a password, and where.
pub struct Guesser<'a> {
    pub name: &'a str,
    /// `None` where a trusted proxy does not say for whom it asks.
    pub place: Option<IpAddr>,
    /// The browser from which this name has signed in before.
    pub browser: Option<Browser>,
}

#[derive(Default)]
pub(super) struct Guesses(Mutex<Tables>);

struct Tables {
    pairs: Table<(String, Option<IpAddr>)>,
    places: Table<IpAddr>,
    browsers: Table<Browser>,
}

impl Default for Tables {
    fn default() -> Self {
        Self { pairs: Table::new(PAIRS_MAX, FREE), places: Table::new(PLACES_MAX, FREE_OF_PLACE), browsers: Table::new(BROWSERS_MAX, FREE) }
    }
}

impl Guesses {
    /// Counts a try that is about to be made as wrong, or says how long to wait: to be asked just before the password is checked.
    pub(super) fn try_now(&self, who: &Guesser<'_>, now: Timestamp) -> Result<(), Duration> {
        let mut tables = self.locked();
        if let Some(browser) = who.browser {
            return tables.browsers.try_now(browser, now);
        }
        let (pair, place) = (pair(who), who.place.map(network::customer));
        // Both are asked before either is counted: whoever has to wait for one of them fills neither.
        tables.pairs.may_try(&pair, now)?;
        if let Some(place) = place {
            tables.places.try_now(place, now)?;
        }
        tables.pairs.try_now(pair, now)
    }

    /// The password was right: what this one has mistyped counts no more. What others did at the same place still does.
    pub(super) fn right(&self, who: &Guesser<'_>) {
        let mut tables = self.locked();
        // A known browser was counted alone, so it clears nobody else: a guesser may sit behind the same line.
        if let Some(browser) = who.browser {
            tables.browsers.tries.remove(&browser);
            return;
        }
        tables.pairs.tries.remove(&pair(who));
        if let Some(tries) = who.place.map(network::customer).and_then(|place| tables.places.tries.get_mut(&place)) {
            tries.wrong = tries.wrong.saturating_sub(1);
        }
    }

    fn locked(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().expect("no code panics while it holds the guesses")
    }
}

fn pair(who: &Guesser<'_>) -> (String, Option<IpAddr>) {
    (who.name.chars().take(NAME_CHARS_MAX).collect(), who.place.map(network::customer))
}

/// Tries of one kind of guesser.
struct Table<K> {
    tries: HashMap<K, Tries>,
    most: usize,
    free: u32,
}

#[derive(Clone, Copy)]
struct Tries {
    wrong: u32,
    last: Timestamp,
}

impl Tries {
    fn pause(self, free: u32) -> Duration {
        let over = self.wrong.saturating_sub(free);
        if over == 0 { Duration::ZERO } else { Duration::from_secs(1 << over.min(10)).min(PAUSE_MAX) }
    }

    fn is_old(self, now: Timestamp) -> bool {
        now.since(self.last) >= FORGOTTEN
    }
}

impl<K: Eq + Hash> Table<K> {
    fn new(most: usize, free: u32) -> Self {
        Self { tries: HashMap::new(), most, free }
    }

    fn may_try(&mut self, who: &K, now: Timestamp) -> Result<(), Duration> {
        if let Some(tries) = self.tries.get(who).filter(|tries| !tries.is_old(now)) {
            let left = tries.pause(self.free).saturating_sub(now.since(tries.last));
            return if left.is_zero() { Ok(()) } else { Err(left) };
        }
        if self.tries.len() >= self.most {
            self.tries.retain(|_, tries| !tries.is_old(now));
            if self.tries.len() >= self.most && !self.tries.contains_key(who) {
                return Err(PAUSE_MAX);
            }
        }
        Ok(())
    }

    fn try_now(&mut self, who: K, now: Timestamp) -> Result<(), Duration> {
        self.may_try(&who, now)?;
        let tries = self.tries.entry(who).or_insert(Tries { wrong: 0, last: now });
        if tries.is_old(now) {
            tries.wrong = 0;
        }
        (tries.wrong, tries.last) = (tries.wrong.saturating_add(1), now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_ms(1_784_000_000_000);
    const DAY: u64 = 24 * 3_600;

    fn at<'a>(name: &'a str, place: &str) -> Guesser<'a> {
        Guesser { name, place: place.parse().ok(), browser: None }
    }

    /// Passwords that somebody gets checked who tries again every second.
    fn checked_within(seconds: u64, guesses: &Guesses, who: &Guesser<'_>) -> usize {
        (0..seconds).filter(|second| guesses.try_now(who, NOW.plus(Duration::from_secs(*second))).is_ok()).count()
    }

    #[test]
    fn a_guesser_waits_longer_and_longer_and_is_never_shut_out() {
        let guesses = Guesses::default();
        let checked = checked_within(DAY, &guesses, &at("li", "203.0.113.7"));
        assert!((50..200).contains(&checked), "{checked} passwords a day");
    }

    #[test]
    fn whoever_is_guessed_at_signs_in_from_elsewhere_and_from_a_known_browser_of_the_same_place() {
        let guesses = Guesses::default();
        checked_within(600, &guesses, &at("li", "203.0.113.7"));
        let later = NOW.plus(Duration::from_secs(600));
        assert!(guesses.try_now(&at("li", "203.0.113.7"), later).is_err());
        assert!(guesses.try_now(&at("li", "198.51.100.1"), later).is_ok());
        let known = Guesser { browser: Some(Browser::TEST), ..at("li", "203.0.113.7") };
        assert!(guesses.try_now(&known, later).is_ok());
    }

    #[test]
    fn other_names_wash_no_counter_out() {
        let guesses = Guesses::default();
        let victim = at("li", "203.0.113.7");
        assert_eq!(checked_within(8, &guesses, &victim), 7);
        // From one place a name is counted only while the place itself need not wait.
        let names: Vec<String> = (0..50_000).map(|number| format!("guess {number}")).collect();
        let sprayed = names.iter().filter(|name| guesses.try_now(&at(name, "203.0.113.7"), NOW).is_ok()).count();
        assert!(sprayed <= FREE_OF_PLACE as usize, "{sprayed}");
        let mut taken = 0;
        // From many places the table fills, and then takes nobody new instead of forgetting.
        for (number, name) in names.iter().enumerate() {
            let place = format!("10.{}.{}.{}", number >> 16 & 255, number >> 8 & 255, number & 255);
            if guesses.try_now(&at(name, &place), NOW).is_ok() {
                taken += 1;
            }
        }
        assert!(taken > 1_000 && taken <= PLACES_MAX, "{taken}");
        let tables = guesses.locked();
        assert!(tables.pairs.tries.len() <= PAIRS_MAX && tables.places.tries.len() <= PLACES_MAX);
        assert!(tables.pairs.tries.contains_key(&pair(&victim)));
    }

    #[test]
    fn mistyping_counts_no_more_once_the_password_was_right_and_the_crowd_of_one_line_signs_in() {
        let guesses = Guesses::default();
        let who = at("li", "203.0.113.7");
        for _ in 0..1_000 {
            guesses.try_now(&who, NOW).expect("not slowed");
            guesses.right(&who);
        }
        for number in 0..FREE_OF_PLACE {
            guesses.try_now(&at(&format!("user {number}"), "203.0.113.7"), NOW).expect("a shift comes on duty");
        }
    }
}
