//! Owns the list of what needs a person: each alarm with its kind, what it is about, why, since when, how often, and who took it.
//! Refuses to decide whom to tell, and to know disks: whoever holds the list writes it down.
//! Invariant: bounded; the same trouble is one line however often it strikes, and what found no room is counted in a line that stays.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard},
};

use serde::{Deserialize, Serialize};

use super::{alarm_kinds, metrics};
use crate::time::{SharedClock, Timestamp};

/// A county with a thousand separate troubles has one: the list is read by a person.
pub const ALARMS_MAX: usize = 1_000;
/// Of the reason; it stands on a page and in short messages.
const TEXT_CHARS_MAX: usize = 600;
const ABOUT_CHARS_MAX: usize = 200;

/// Stands in for alarms that found no room.
const MORE: &str = "alarms-overflow";

/// One alarm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alarm {
    pub id: u64,
    /// Closed word, see `alarm_kinds`.
    pub what: String,
    /// Which account, alert, file, village …
    pub about: String,
    /// Why, as it was said last.
    pub text: String,
    pub since: Timestamp,
    pub last: Timestamp,
    pub times: u64,
    #[serde(default)]
    pub ended: Option<Timestamp>,
    #[serde(default)]
    pub acknowledged: Option<Acknowledged>,
}

/// Who took it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Acknowledged {
    pub at: Timestamp,
    pub by: String,
    pub note: String,
}

impl Alarm {
    /// Nobody has taken it, and it has not ended by itself.
    pub fn is_open(&self) -> bool {
        self.ended.is_none() && self.acknowledged.is_none()
    }

    /// Whether the same trouble striking again belongs to this line: an end, and a person who took an event, begin a new one.
    fn goes_on(&self) -> bool {
        self.ended.is_none() && (self.acknowledged.is_none() || alarm_kinds::find(&self.what).is_some_and(|kind| kind.lasts))
    }
}

/// Why an alarm cannot be acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AcknowledgeError {
    #[error("no alarm has this id")]
    Unknown,
    #[error("the alarm was acknowledged before")]
    Already,
}

/// Cheap handle to the list of one gateway.
#[derive(Clone)]
pub struct Alarms(Arc<Shared>);

struct Shared {
    clock: SharedClock,
    list: Mutex<List>,
}

#[derive(Default)]
struct List {
    /// Oldest first.
    alarms: VecDeque<Alarm>,
    next_id: u64,
    is_changed: bool,
}

impl Alarms {
    pub fn new(clock: SharedClock) -> Self {
        Self(Arc::new(Shared { clock, list: Mutex::new(List { next_id: 1, ..List::default() }) }))
    }

    /// Takes up what an earlier run wrote down; a form that cannot be read is an error, and the list stays as it is.
    pub fn restore(&self, bytes: &[u8]) -> Result<(), serde_json::Error> {
        let kept: Vec<Alarm> = serde_json::from_slice(bytes)?;
        let mut list = self.locked();
        list.next_id = kept.iter().map(|alarm| alarm.id + 1).max().unwrap_or(1).max(list.next_id);
        let newer = std::mem::take(&mut list.alarms);
        list.alarms = kept.into();
        for alarm in newer {
            let id = list.next_id;
            list.next_id += 1;
            list.alarms.push_back(Alarm { id, ..alarm });
        }
        list.keep_to_bound();
        Ok(())
    }

    /// The list as it is to be written down, when it has changed since it was last asked for.
    pub fn changed(&self) -> Option<Vec<u8>> {
        let mut list = self.locked();
        if !std::mem::replace(&mut list.is_changed, false) {
            return None;
        }
        // Derived forms of plain data; nothing of it can fail.
        serde_json::to_vec(&list.alarms).map_err(|error| tracing::error!(%error, "the list of alarms has no form")).ok()
    }

    /// What was to be written down was not.
    pub fn still_changed(&self) {
        self.locked().is_changed = true;
    }

    /// Something needs a person. The caller logs it with its own fields; `text` is what a person reads.
    pub fn raise(&self, what: &'static str, about: impl AsRef<str>, text: impl AsRef<str>) {
        metrics::alarm(what);
        let now = self.0.clock.now();
        let (about, text) = (cut(about.as_ref(), ABOUT_CHARS_MAX), cut(text.as_ref(), TEXT_CHARS_MAX));
        self.locked().raise(what, about, text, now);
    }

    /// A trouble that lasts is over by itself.
    pub fn end(&self, what: &'static str, about: &str) {
        let now = self.0.clock.now();
        let mut list = self.locked();
        let about = cut(about, ABOUT_CHARS_MAX);
        let mut any = false;
        for alarm in list.alarms.iter_mut().filter(|alarm| alarm.what == what && alarm.about == about && alarm.ended.is_none()) {
            alarm.ended = Some(now);
            any = true;
        }
        list.is_changed |= any;
    }

    /// Newest first.
    pub fn all(&self) -> Vec<Alarm> {
        self.locked().alarms.iter().rev().cloned().collect()
    }

    pub fn open(&self) -> Vec<Alarm> {
        self.locked().alarms.iter().rev().filter(|alarm| alarm.is_open()).cloned().collect()
    }

    pub fn acknowledge(&self, id: u64, by: &str, note: &str) -> Result<Alarm, AcknowledgeError> {
        let now = self.0.clock.now();
        let mut list = self.locked();
        let alarm = list.alarms.iter_mut().find(|alarm| alarm.id == id).ok_or(AcknowledgeError::Unknown)?;
        if alarm.acknowledged.is_some() {
            return Err(AcknowledgeError::Already);
        }
        alarm.acknowledged = Some(Acknowledged { at: now, by: by.to_owned(), note: cut(note, TEXT_CHARS_MAX) });
        let taken = alarm.clone();
        list.is_changed = true;
        Ok(taken)
    }

    fn locked(&self) -> MutexGuard<'_, List> {
        self.0.list.lock().expect("no code panics while it holds the list of alarms")
    }
}

impl List {
    fn raise(&mut self, what: &str, about: String, text: String, now: Timestamp) {
        self.is_changed = true;
        if let Some(known) = self.alarms.iter_mut().rev().find(|alarm| alarm.what == what && alarm.about == about && alarm.goes_on()) {
            known.last = now;
            known.times += 1;
            known.text = text;
            return;
        }
        // The line that counts the rest stands beyond the bound, once.
        if what != MORE && self.alarms.len() >= ALARMS_MAX && !self.forget_one_that_is_over() {
            let text = format!("告警过多（{ALARMS_MAX}条未处理），最近一条：{what} {about}");
            return self.raise(MORE, String::new(), text, now);
        }
        let id = self.next_id;
        self.next_id += 1;
        self.alarms.push_back(Alarm {
            id,
            what: what.to_owned(),
            about,
            text,
            since: now,
            last: now,
            times: 1,
            ended: None,
            acknowledged: None,
        });
    }

    fn forget_one_that_is_over(&mut self) -> bool {
        let over = self.alarms.iter().position(|alarm| !alarm.is_open());
        over.is_some_and(|place| self.alarms.remove(place).is_some())
    }

    fn keep_to_bound(&mut self) {
        while self.alarms.len() > ALARMS_MAX {
            if !self.forget_one_that_is_over() {
                self.alarms.pop_front();
            }
        }
    }
}

fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::ManualClock;

    fn board() -> (Alarms, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::at(Timestamp::from_ms(1_000)));
        (Alarms::new(Arc::clone(&clock) as SharedClock), clock)
    }

    #[test]
    fn the_same_trouble_is_one_line_with_its_count_and_its_last_words() {
        let (alarms, _) = board();
        alarms.raise("account-parked", "gw", "401");
        alarms.raise("account-parked", "gw", "403");
        alarms.raise("account-parked", "other", "403");
        let all = alarms.all();
        assert_eq!(all.iter().map(|alarm| (alarm.about.as_str(), alarm.times)).collect::<Vec<_>>(), [("other", 1), ("gw", 2)]);
        assert_eq!(all[1].text, "403");
    }

    #[test]
    fn a_trouble_that_is_over_and_comes_again_is_a_new_line() {
        let (alarms, _) = board();
        alarms.raise("account-parked", "gw", "401");
        alarms.end("account-parked", "gw");
        assert!(alarms.open().is_empty());
        alarms.raise("account-parked", "gw", "401");
        assert_eq!((alarms.open().len(), alarms.all().len()), (1, 2));
    }

    #[test]
    fn what_lasts_stays_taken_and_what_happens_anew_is_open_again() {
        let (alarms, _) = board();
        alarms.raise("account-parked", "gw", "401");
        alarms.raise("inlet-refused", "city", "no rule");
        for alarm in alarms.open() {
            alarms.acknowledge(alarm.id, "li", "已联系").expect("open");
        }
        alarms.raise("account-parked", "gw", "401");
        alarms.raise("inlet-refused", "city", "no rule");
        let open: Vec<_> = alarms.open().into_iter().map(|alarm| alarm.what).collect();
        assert_eq!(open, ["inlet-refused"]);
        assert_eq!(alarms.acknowledge(1, "li", ""), Err(AcknowledgeError::Already));
        assert_eq!(alarms.acknowledge(99, "li", ""), Err(AcknowledgeError::Unknown));
    }

    #[test]
    fn the_list_outlives_the_process_and_is_written_only_when_it_changed() {
        let (alarms, _) = board();
        alarms.raise("inlet-refused", "city", "no rule");
        let bytes = alarms.changed().expect("changed");
        assert_eq!(alarms.changed(), None);
        let (next, _) = board();
        next.raise("clock-jumped", "", "1 h");
        next.restore(&bytes).expect("readable");
        assert_eq!(next.all().iter().map(|alarm| alarm.what.clone()).collect::<Vec<_>>(), ["clock-jumped", "inlet-refused"]);
        assert!(next.restore(b"{").is_err());
    }

    #[test]
    fn a_full_list_forgets_what_is_over_and_then_counts_what_has_no_room() {
        let (alarms, _) = board();
        for number in 0..ALARMS_MAX {
            alarms.raise("inlet-refused", number.to_string(), "no rule");
        }
        alarms.acknowledge(1, "li", "").expect("open");
        alarms.raise("inlet-refused", "late", "no rule");
        assert_eq!(alarms.all()[0].about, "late", "the one that was taken made room");
        alarms.raise("inlet-refused", "too late", "no rule");
        let all = alarms.all();
        assert!(
            all.len() <= ALARMS_MAX + 1 && all.iter().any(|alarm| alarm.what == MORE && alarm.text.contains("too late")),
            "{:?}",
            all[0]
        );
    }
}
