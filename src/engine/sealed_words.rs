//! Owns how words of people are sealed on their way into the journal, and opened for whoever may read them.
//! Refuses to know who may. Invariant: from the journal on (trail, books, checkpoints, what is filed) only the sealed form stands anywhere;
//! words of before, or where nothing is sealed, are read as they are.

use std::{borrow::Cow, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};

use crate::{
    delivery::event::{Event, Told},
    seal::{self, Seal},
};

/// Begins what is sealed; a person's own words hold no control characters.
const MARK: &str = "\u{1}sealed:";
const ABOUT: &[u8] = b"words of people";
/// Shown of what no key at hand opens.
const UNREADABLE: &str = "（密钥不在，无法读出）";

#[derive(Debug, Default)]
pub(crate) struct SealedWords(Option<Seal>);

impl SealedWords {
    /// By the keys of a data directory. What is wrong with them is told where the registry is opened.
    pub(crate) fn of(data: &Path) -> Self {
        Self(seal::of(data).ok().flatten())
    }

    pub(crate) fn seals(&self) -> bool {
        self.0.as_ref().is_some_and(Seal::is_on)
    }

    pub(crate) fn seal(&self, words: &str) -> String {
        match &self.0 {
            Some(seal) if self.seals() && !words.is_empty() => {
                format!("{MARK}{}", STANDARD_NO_PAD.encode(seal.seal(ABOUT, words.as_bytes())))
            }
            _ => words.to_owned(),
        }
    }

    pub(crate) fn open(&self, kept: &str) -> String {
        let Some(sealed) = kept.strip_prefix(MARK) else { return kept.to_owned() };
        let opened = STANDARD_NO_PAD.decode(sealed).ok().and_then(|bytes| self.0.as_ref()?.open(ABOUT, &bytes).ok());
        opened.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_else(|| UNREADABLE.to_owned())
    }

    /// The event as it goes into the journal.
    pub(super) fn sealed<'a>(&self, event: &'a Event) -> Cow<'a, Event> {
        let Event::Told(told) = event else { return Cow::Borrowed(event) };
        // An alert's document may be megabytes: what holds no words of people is not copied.
        if !self.seals() || !has_words(told) {
            return Cow::Borrowed(event);
        }
        let mut told = told.clone();
        each(&mut told, |words| *words = self.seal(words));
        Cow::Owned(Event::Told(told))
    }

    /// For whoever may read it.
    pub(super) fn opened(&self, told: &mut Told) {
        each(told, |words| *words = self.open(words));
    }
}

fn has_words(told: &Told) -> bool {
    matches!(told, Told::Answered { .. } | Told::CalledInVain { .. } | Told::HelpAsked(_) | Told::HelpTaken(_) | Told::Stray { .. })
}

/// What people said, by which telephone, and what was noted of them.
fn each(told: &mut Told, mut work: impl FnMut(&mut String)) {
    match told {
        Told::Answered { note, .. } | Told::CalledInVain { note, .. } => work(note),
        Told::HelpAsked(asked) => {
            work(&mut asked.words);
            work(&mut asked.phone);
        }
        Told::HelpTaken(taken) => work(&mut taken.note),
        Told::Stray { text, .. } => work(text),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_open_with_the_key_they_were_sealed_with_and_words_of_before_are_read_as_they_are() {
        let folder = tempfile::tempdir().expect("a directory");
        let (data, other) = (folder.path().join("data"), folder.path().join("other"));
        for dir in [&data, &other] {
            std::fs::create_dir_all(dir).expect("made");
            seal::settle(dir, None, None).expect("a key");
        }
        let words = SealedWords::of(&data);
        let sealed = words.seal("我被困在二楼 13800138000");
        assert!(sealed.starts_with(MARK) && !sealed.contains("138"), "{sealed}");
        assert_eq!(words.open(&sealed), "我被困在二楼 13800138000");
        assert_eq!((words.open("old words"), words.seal("")), ("old words".into(), String::new()));
        for stranger in [SealedWords::of(&other), SealedWords::default()] {
            assert_eq!(stranger.open(&sealed), UNREADABLE);
            assert_eq!(stranger.open("old words"), "old words");
        }
        // After a change of keys both open.
        seal::add_key(&seal::beside(&data)).expect("changed");
        let changed = SealedWords::of(&data);
        assert_eq!(changed.open(&sealed), changed.open(&changed.seal("我被困在二楼 13800138000")));
    }
}
