//! Owns what people asked for, and what they said that nobody understood: who, to which alert, in which words, and who took it.
//! Refuses to know names, telephones of registered people, and whom to send. Invariant: bounded; a cry for help is let go only when it is done
//! or thousands of others are open.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{alert::AlertNo, time::Timestamp};

/// A county in the worst of nights has hundreds; what is over makes room first.
pub const HELP_MAX: usize = 10_000;
/// The first words, and the latest.
const WORDS_MAX: usize = 6;

/// Something that a person said, as it came.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Asked {
    /// Of the entry: the same again when somebody speaks up again before it is done.
    pub id: u64,
    pub at: Timestamp,
    #[serde(default)]
    pub alert: Option<AlertNo>,
    /// Of that alert.
    #[serde(default)]
    pub recipient: Option<u32>,
    /// Registry key of the person.
    #[serde(default)]
    pub person: Option<u32>,
    /// Only where nobody is registered by it: who knows the person finds it in the registry.
    #[serde(default)]
    pub phone: String,
    pub words: String,
    pub via: String,
    /// It is a cry for help; else nobody understood it.
    pub help: bool,
}

/// What somebody made of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Taken {
    pub id: u64,
    pub at: Timestamp,
    pub by: String,
    pub note: String,
    pub done: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spoken {
    pub at: Timestamp,
    pub words: String,
    pub via: String,
}

/// One person's need, or what they said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    pub id: u64,
    pub alert: Option<AlertNo>,
    pub recipient: Option<u32>,
    pub person: Option<u32>,
    pub phone: String,
    pub help: bool,
    /// The first, and the latest.
    pub spoken: Vec<Spoken>,
    pub times: u32,
    pub taken: Option<Taken>,
}

impl Entry {
    pub fn is_done(&self) -> bool {
        self.taken.as_ref().is_some_and(|taken| taken.done)
    }

    pub fn state(&self) -> &'static str {
        match &self.taken {
            None => "open",
            Some(taken) if taken.done => "done",
            Some(_) => "taken",
        }
    }

    pub fn since(&self) -> Option<Timestamp> {
        self.spoken.first().map(|first| first.at)
    }

    /// Least worth keeping first.
    fn worth(&self) -> (bool, bool, u64) {
        (!self.is_done(), self.help, self.id)
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct HelpList(BTreeMap<u64, Entry>);

impl HelpList {
    pub(super) fn ask(&mut self, asked: Asked) {
        let spoken = Spoken { at: asked.at, words: asked.words, via: asked.via };
        if let Some(known) = self.0.get_mut(&asked.id) {
            known.help |= asked.help;
            known.times = known.times.saturating_add(1);
            if known.spoken.len() >= WORDS_MAX {
                known.spoken.remove(1);
            }
            known.spoken.push(spoken);
            return;
        }
        if self.0.len() >= HELP_MAX
            && let Some(id) = self.0.values().min_by_key(|entry| entry.worth()).map(|entry| entry.id)
        {
            self.0.remove(&id);
        }
        let Asked { id, alert, recipient, person, phone, help, .. } = asked;
        self.0.insert(id, Entry { id, alert, recipient, person, phone, help, spoken: vec![spoken], times: 1, taken: None });
    }

    pub(super) fn take(&mut self, taken: Taken) {
        if let Some(entry) = self.0.get_mut(&taken.id) {
            entry.taken = Some(taken);
        }
    }

    /// Leaves out what was said, by which telephone, and what was noted; that there was somebody stays.
    pub(super) fn redact(&mut self, ids: &[u64]) {
        for id in ids {
            let Some(entry) = self.0.get_mut(id) else { continue };
            entry.phone.clear();
            entry.spoken.iter_mut().for_each(|spoken| spoken.words.clear());
            entry.taken.iter_mut().for_each(|taken| taken.note.clear());
        }
    }

    pub(super) fn put(&mut self, entry: Entry) {
        self.0.insert(entry.id, entry);
    }

    pub fn get(&self, id: u64) -> Option<&Entry> {
        self.0.get(&id)
    }

    /// Newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = &Entry> {
        self.0.values().rev()
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(id: u64, words: &str, help: bool) -> Asked {
        let at = Timestamp::from_ms(1_784_000_000_000);
        Asked { id, at, alert: None, recipient: None, person: Some(1), phone: String::new(), words: words.into(), via: "sms".into(), help }
    }

    #[test]
    fn who_speaks_up_again_is_the_same_entry_with_the_first_words_and_the_latest() {
        let mut list = HelpList::default();
        for count in 0..20 {
            list.ask(asked(7, &count.to_string(), count == 9));
        }
        let entry = list.get(7).expect("kept");
        let words: Vec<&str> = entry.spoken.iter().map(|spoken| spoken.words.as_str()).collect();
        assert_eq!((entry.help, entry.times, words), (true, 20, vec!["0", "15", "16", "17", "18", "19"]));
        list.take(Taken { id: 7, at: entry.spoken[0].at, by: "li".into(), note: String::new(), done: false });
        assert_eq!(list.get(7).map(Entry::state), Some("taken"));
    }

    #[test]
    fn what_is_done_makes_room_before_what_nobody_understood_and_cries_for_help_last() {
        let mut list = HelpList::default();
        for id in 0..HELP_MAX as u64 {
            list.ask(asked(id, "x", id != 5));
        }
        list.take(Taken { id: 9, at: Timestamp::from_ms(0), by: "li".into(), note: String::new(), done: true });
        for (new, gone) in [(HELP_MAX as u64, 9), (HELP_MAX as u64 + 1, 5), (HELP_MAX as u64 + 2, 0)] {
            list.ask(asked(new, "y", true));
            assert!(list.get(gone).is_none() && list.get(new).is_some(), "{gone}");
        }
        assert_eq!(list.len(), HELP_MAX);
    }
}
