//! Owns all that is kept about one person: bringing it together, and erasing them.
//! Refuses to know HTTP and who may ask.
//! Invariant: who asked and why is on disk before anything is shown or erased; an open cry for help keeps its telephone.

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::{
    Unavailable,
    filed::Unreadable,
    gateway::Gateway,
    help::HelpView,
    look::{self, CallRow, DeliveryRow},
    sealed_words::SealedWords,
};
use crate::{
    alert::AlertId,
    delivery::{
        event::{Audited, Choice, Event, Told},
        help::Entry,
        ledger::Shelf,
        plan::RecipientKind,
    },
    registry::{self, PhoneNumber, RegistryError, Shown, SubscriberKey},
    time::Timestamp,
};

/// Every filed book of every alert is read for one answer, so there is one at a time.
static LOOKS: Semaphore = Semaphore::const_new(1);

/// What nobody can take out of what is chained and filed, in words for whoever answers to the person.
const BEYOND: [&str; 4] = [
    "the journal of each month holds what was answered and noted until the month is given back; the audit trail holds it for good",
    "details of alerts that were filed before hold what was noted of calls",
    "an alarm about a cry for help holds the name and a masked telephone until newer alarms take its place",
    "backups hold everything that they held when they were made: the list of the erased goes into later ones",
];

#[derive(Debug, Serialize)]
pub struct PersonView {
    pub as_of: Timestamp,
    /// Rows of the registry; of an id that is no longer there only its key.
    pub registry: Vec<Value>,
    pub alerts: Vec<PersonAlert>,
    pub help: Vec<HelpView>,
    /// Alerts whose details are filed and cannot be read.
    pub unreadable: Vec<String>,
}

/// What one alert had to do with this person.
#[derive(Debug, Serialize)]
pub struct PersonAlert {
    pub id: AlertId,
    pub headline: String,
    pub received: Timestamp,
    pub filed: bool,
    pub deliveries: Vec<DeliveryRow>,
    pub answered_at: Option<Timestamp>,
    pub last_choice: Option<Choice>,
    pub call: Option<CallRow>,
}

#[derive(Debug, Serialize)]
pub struct Erasure {
    pub erased: Vec<String>,
    /// Entries of the list of help that were emptied.
    pub help_redacted: usize,
    /// Alerts under way, or not yet filed, in which notes about the person were emptied.
    pub alerts_redacted: usize,
    pub kept_elsewhere: [&'static str; 4],
}

#[derive(Debug, thiserror::Error)]
pub enum PersonError {
    #[error("nobody here has this id or telephone")]
    Unknown,
    #[error("the telephone is that of {}: name one of them by id", .0.join(", "))]
    Several(Vec<String>),
    #[error("{0} asks for help and nobody is done with it: the telephone is needed until then")]
    AsksForHelp(String),
    #[error("another look at a person is under way")]
    Busy,
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// Somebody, as far as they are known.
struct Found {
    people: Vec<(String, SubscriberKey)>,
    /// By which they may have written before they were registered; none that somebody else has, too.
    phones: Vec<String>,
}

impl Found {
    fn is_of(&self, entry: &Entry, words: &SealedWords) -> bool {
        entry.person.is_some_and(|key| self.people.iter().any(|(_, known)| known.0 == key))
            || self.phones.contains(&words.open(&entry.phone))
    }

    fn object(&self) -> String {
        let ids: Vec<&str> = self.people.iter().map(|(id, _)| id.as_str()).collect();
        if ids.is_empty() { "a telephone that nobody is registered by".into() } else { ids.join(", ") }
    }
}

impl Gateway {
    /// `act` is the line that is written before it is shown; what it is about is filled in here, by ids.
    pub async fn person(&self, whom: &str, act: Audited) -> Result<PersonView, PersonError> {
        let _alone = LOOKS.try_acquire().map_err(|_| PersonError::Busy)?;
        let found = self.find(whom)?;
        self.audit(Audited { object: found.object(), ..act }).await?;
        let snapshot = self.snapshot();
        let row = |(id, key): &(String, SubscriberKey)| match snapshot.subscriber(*key) {
            Some(person) => {
                let mut row = registry::subscriber_json(&person, Shown::Whole);
                row["key"] = key.0.into();
                row
            }
            None => json!({ "id": id, "key": key.0, "gone": true }),
        };
        let mut view = PersonView {
            as_of: self.clock.now(),
            registry: found.people.iter().map(row).collect(),
            alerts: Vec::new(),
            help: self
                .ledger
                .help()
                .newest_first()
                .filter(|entry| found.is_of(entry, &self.words))
                .cloned()
                .collect::<Vec<_>>()
                .iter()
                .map(|entry| self.help_view(&snapshot, entry))
                .collect(),
            unreadable: Vec::new(),
        };
        for shelf in self.ledger.newest_first() {
            match self.person_of(&shelf, &found).await {
                Ok(alerts) => view.alerts.extend(alerts),
                Err(error) => view.unreadable.push(error.to_string()),
            }
        }
        Ok(view)
    }

    /// Removes the record, has later imports leave it out, and empties what was said and noted where that can be.
    pub async fn erase_person(&self, whom: &str, act: Audited) -> Result<Erasure, PersonError> {
        let _alone = LOOKS.try_acquire().map_err(|_| PersonError::Busy)?;
        let found = self.find(whom)?;
        if found.people.len() > 1 {
            return Err(PersonError::Several(found.people.into_iter().map(|(id, _)| id).collect()));
        }
        let object = found.object();
        if self.ledger.help().newest_first().any(|entry| entry.help && !entry.is_done() && found.is_of(entry, &self.words)) {
            return Err(PersonError::AsksForHelp(object));
        }
        self.audit(Audited { object: object.clone(), ..act }).await?;
        let snapshot = self.snapshot();
        let there: Vec<Box<str>> =
            found.people.iter().filter(|(_, key)| snapshot.subscriber(*key).is_some()).map(|(id, _)| id.as_str().into()).collect();
        if !there.is_empty() {
            let inner = Arc::clone(self);
            self.apart(move || inner.registry.erase(&there)).await.map_err(|error| Unavailable::Failed(error.to_string()))??;
        }
        let people: Vec<u32> = found.people.iter().map(|(_, key)| key.0).collect();
        // Whoever has cried for help in this moment keeps what is needed.
        let is_over = |entry: &&Entry| found.is_of(entry, &self.words) && (entry.is_done() || !entry.help);
        let help: Vec<u64> = self.ledger.help().newest_first().filter(is_over).map(|entry| entry.id).collect();
        let is_in = |shelf: &&Arc<Shelf>| {
            let book = shelf.read();
            book.filed.is_none() && people.iter().any(|&key| book.recipient_of(RecipientKind::Person, key, None).is_some())
        };
        let alerts_redacted = self.ledger.newest_first().iter().filter(is_in).count();
        let help_redacted = help.len();
        if help_redacted + alerts_redacted > 0 {
            self.append(vec![Event::Told(Box::new(Told::Redacted { at: self.clock.now(), people, help }))]).await?;
        }
        Ok(Erasure { erased: found.people.into_iter().map(|(id, _)| id).collect(), help_redacted, alerts_redacted, kept_elsewhere: BEYOND })
    }

    fn find(&self, whom: &str) -> Result<Found, PersonError> {
        let snapshot = self.snapshot();
        let phone = whom.parse::<PhoneNumber>().ok();
        let people: Vec<(String, SubscriberKey)> = match (snapshot.subscriber_by_id(whom), snapshot.retired_subscriber(whom), &phone) {
            (Some(person), ..) => vec![(person.id().to_owned(), person.key())],
            (None, Some(key), _) => vec![(whom.to_owned(), key)],
            (None, None, Some(phone)) => {
                snapshot.subscribers_by_phone(phone).map(|person| (person.id().to_owned(), person.key())).collect()
            }
            (None, None, None) => Vec::new(),
        };
        let is_theirs =
            |phone: &PhoneNumber| snapshot.subscribers_by_phone(phone).all(|person| people.iter().any(|(_, key)| *key == person.key()));
        let own = people.iter().filter_map(|(_, key)| snapshot.subscriber(*key)?.phone());
        let asked = phone.filter(|_| snapshot.subscriber_by_id(whom).is_none());
        let phones: Vec<String> = own.chain(asked).filter(is_theirs).map(|phone| phone.expose().to_owned()).collect();
        let found = Found { people, phones };
        let is_known = !found.people.is_empty() || self.ledger.help().newest_first().any(|entry| found.is_of(entry, &self.words));
        if is_known { Ok(found) } else { Err(PersonError::Unknown) }
    }

    async fn person_of(&self, shelf: &Arc<Shelf>, found: &Found) -> Result<Vec<PersonAlert>, Unreadable> {
        let details = self.details(shelf).await?;
        let (snapshot, book, now) = (self.snapshot(), details.read(), self.clock.now());
        let recipients = found.people.iter().filter_map(|(_, key)| {
            let area = snapshot.subscriber(*key).map(|person| person.area());
            book.recipient_of(RecipientKind::Person, key.0, area)
        });
        let alert = |recipient: u32| PersonAlert {
            id: shelf.id,
            headline: shelf.alert.headline.clone(),
            received: book.accepted.received,
            filed: details.is_filed(),
            deliveries: book.deliveries_of(recipient).map(|index| look::row(&book, &snapshot, index, true)).collect(),
            answered_at: book.time_of(book.answered_at(recipient)),
            last_choice: book.last_word(recipient).map(|last| last.choice),
            call: book.call_of(recipient).map(|call| look::call_row(&book, &snapshot, call, now, true, &self.words)),
        };
        Ok(recipients.map(alert).collect())
    }
}
