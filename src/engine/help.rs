//! Owns what duty sees of those who ask for help and of words that nobody understood, and who takes them.
//! Refuses to know pages and roles. Invariant: it is taken by a person, durably, before anybody is told so.

use serde::Serialize;

use super::{Unavailable, gateway::Gateway};
use crate::{
    alert::{AlertId, AlertNo},
    area::AreaCode,
    delivery::{
        event::{Event, Told},
        help::{Entry, Taken},
    },
    registry::{Snapshot, Subscriber, SubscriberKey},
    time::Timestamp,
};

#[derive(Clone, Debug, Serialize)]
pub struct HelpView {
    /// As text: more digits than numbers of JSON hold.
    pub id: String,
    /// `help`, or `not-understood`.
    pub what: &'static str,
    pub state: &'static str,
    pub since: Option<Timestamp>,
    pub times: u32,
    pub alert: Option<HelpAlert>,
    pub person: Option<HelpPerson>,
    pub area: Option<AreaCode>,
    pub area_name: String,
    pub phone: Option<String>,
    /// What was said last.
    pub words: String,
    pub via: String,
    pub spoken: Vec<HelpWords>,
    pub taken_by: Option<String>,
    pub taken_at: Option<Timestamp>,
    pub note: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct HelpAlert {
    pub id: AlertId,
    pub headline: String,
    pub drill: bool,
}

#[derive(Clone, Debug, Serialize)]
pub struct HelpPerson {
    pub id: String,
    pub name: String,
    pub role: String,
}

#[derive(Clone, Debug, Serialize)]
pub struct HelpWords {
    pub at: Timestamp,
    pub words: String,
    pub via: String,
}

#[derive(Debug, thiserror::Error)]
pub enum HelpError {
    #[error("nobody asked for help under this id")]
    Unknown,
    #[error("it is done already")]
    Done,
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl Gateway {
    /// Cries for help first, the newest first of each; `alert` names the only one that is looked at.
    pub fn help(&self, only_open: bool, alert: Option<AlertNo>, may_see: impl Fn(Option<AreaCode>) -> bool) -> Vec<HelpView> {
        let snapshot = self.snapshot();
        let wanted = |entry: &&Entry| !(only_open && entry.is_done()) && alert.is_none_or(|alert| entry.alert == Some(alert));
        let mut entries: Vec<Entry> = self.ledger.help().newest_first().filter(wanted).cloned().collect();
        entries.sort_by_key(|entry| (entry.is_done(), !entry.help));
        entries.iter().map(|entry| self.help_view(&snapshot, entry)).filter(|view| may_see(view.area)).collect()
    }

    pub fn help_one(&self, id: u64) -> Option<HelpView> {
        let entry = self.ledger.help().get(id).cloned()?;
        Some(self.help_view(&self.snapshot(), &entry))
    }

    /// Somebody takes it, or says that it is done.
    pub async fn take_help(&self, id: u64, done: bool, note: &str, by: &str) -> Result<HelpView, HelpError> {
        let before = self.ledger.help().get(id).cloned().ok_or(HelpError::Unknown)?;
        if before.is_done() {
            return Err(HelpError::Done);
        }
        let taken = Taken { id, at: self.clock.now(), by: by.to_owned(), note: note.to_owned(), done };
        self.append(vec![Event::Told(Box::new(Told::HelpTaken(taken)))]).await?;
        tracing::info!(help = id, by, done, "a call for help was taken");
        self.help_one(id).ok_or(HelpError::Unknown)
    }

    pub(super) fn help_view(&self, snapshot: &Snapshot, entry: &Entry) -> HelpView {
        let person = entry.person.and_then(|key| snapshot.subscriber(SubscriberKey(key)));
        let shelf = entry.alert.and_then(|no| self.ledger.get(no));
        let area = person.as_ref().map(Subscriber::area);
        let last = entry.spoken.last();
        let phone = person.as_ref().and_then(Subscriber::phone).map(|phone| phone.expose().to_owned());
        HelpView {
            id: entry.id.to_string(),
            what: if entry.help { "help" } else { "not-understood" },
            state: entry.state(),
            since: entry.since(),
            times: entry.times,
            alert: shelf.map(|shelf| HelpAlert {
                id: shelf.id,
                headline: shelf.alert.headline.clone(),
                drill: shelf.alert.status.is_drill(),
            }),
            area,
            area_name: area.map(|area| snapshot.areas().name(area).map_or_else(|| area.to_string(), str::to_owned)).unwrap_or_default(),
            phone: phone.or_else(|| (!entry.phone.is_empty()).then(|| self.words.open(&entry.phone))),
            person: person.map(|person| HelpPerson {
                id: person.id().to_owned(),
                name: person.name().to_owned(),
                role: person.role().to_owned(),
            }),
            words: last.map(|last| self.words.open(&last.words)).unwrap_or_default(),
            via: last.map(|last| last.via.clone()).unwrap_or_default(),
            spoken: entry
                .spoken
                .iter()
                .map(|spoken| HelpWords { at: spoken.at, words: self.words.open(&spoken.words), via: spoken.via.clone() })
                .collect(),
            taken_by: entry.taken.as_ref().map(|taken| taken.by.clone()),
            taken_at: entry.taken.as_ref().map(|taken| taken.at),
            note: entry.taken.as_ref().map(|taken| self.words.open(&taken.note)).filter(|note| !note.is_empty()),
        }
    }
}
