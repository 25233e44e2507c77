//! Owns how often one robot may post: at most so many within any minute.
//! Refuses to know what is posted. A sliding log and not a leaky bucket: the bucket that lets a whole burst through lets nearly
//! twice as many into one minute, and the far end then refuses.
//! Invariant: no window of a minute holds more than `posts` entries of one robot.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher as _, RandomState},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use crate::time::Timestamp;

const WINDOW: Duration = Duration::from_secs(60);
/// A county has a few hundred groups; beyond this, robots that have been quiet for a minute are forgotten.
const ROBOTS_MAX: usize = 4_096;

pub(super) struct Pace {
    posts: usize,
    /// By a hash of the key, so that no key lies about in memory.
    robots: Mutex<HashMap<u64, VecDeque<Timestamp>>>,
    hash: RandomState,
}

impl Pace {
    pub(super) fn new(posts: usize) -> Self {
        Self { posts, robots: Mutex::default(), hash: RandomState::new() }
    }

    /// Counts a post, or says how long the robot has to wait for its next.
    pub(super) fn take(&self, key: &str, now: Timestamp) -> Result<(), Duration> {
        let mut robots = self.robots.lock().unwrap_or_else(PoisonError::into_inner);
        if robots.len() >= ROBOTS_MAX {
            robots.retain(|_, posts| posts.back().is_some_and(|&last| now.since(last) < WINDOW));
        }
        let posts = robots.entry(self.hash.hash_one(key)).or_default();
        while posts.front().is_some_and(|&first| now.since(first) >= WINDOW) {
            posts.pop_front();
        }
        match posts.front() {
            Some(&first) if posts.len() >= self.posts => Err(WINDOW.saturating_sub(now.since(first))),
            _ => {
                posts.push_back(now);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_minute_holds_more_posts_than_allowed() {
        let pace = Pace::new(20);
        let at = |ms| Timestamp::from_ms(1_784_772_960_000 + ms);
        let taken: Vec<i64> = (0..1_800).map(|step| step * 100).filter(|&ms| pace.take("a", at(ms)).is_ok()).collect();
        assert_eq!(taken.len(), 60);
        for &start in &taken {
            assert!(taken.iter().filter(|&&ms| (start..start + 60_000).contains(&ms)).count() <= 20);
        }
        assert_eq!(pace.take("b", at(0)), Ok(()), "robots are counted each on their own");
    }

    #[test]
    fn the_wait_ends_when_the_oldest_post_leaves_the_minute() {
        let pace = Pace::new(1);
        let start = Timestamp::from_ms(1_784_772_960_000);
        assert_eq!(pace.take("a", start), Ok(()));
        assert_eq!(pace.take("a", start.plus(Duration::from_secs(20))), Err(Duration::from_secs(40)));
        assert_eq!(pace.take("a", start.plus(WINDOW)), Ok(()));
    }

    #[test]
    fn quiet_robots_are_forgotten_when_there_are_too_many() {
        let pace = Pace::new(1);
        let start = Timestamp::from_ms(1_784_772_960_000);
        for robot in 0..ROBOTS_MAX {
            assert_eq!(pace.take(&robot.to_string(), start), Ok(()));
        }
        assert_eq!(pace.take("new", start.plus(WINDOW)), Ok(()));
        assert_eq!(pace.robots.lock().expect("robots").len(), 1);
    }
}
