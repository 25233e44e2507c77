//! Owns bringing events to the journal: what each may claim of a disk that is nearly full, and holding what must not be lost until there is room.
//! Refuses to know what the events say. Invariant: what has happened is kept or still held; what was refused has left no trace.

use std::{sync::Arc, time::Duration};

use super::{Unavailable, gateway::Inner, sealed_words::SealedWords};
use crate::{
    delivery::event::Event,
    store::{AppendError, Claim, Entry, Threads},
};

/// Space comes back when a person or a clean-up makes it; a look costs one system call.
const LOOK_FOR_ROOM_EVERY: Duration = Duration::from_millis(500);

impl From<AppendError> for Unavailable {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::NoSpace(lack) => Self::NoSpace(lack),
            other => Self::Failed(other.to_string()),
        }
    }
}

fn entry_of(event: &Event, words: &SealedWords) -> Entry {
    let event = words.sealed(event);
    let claim = if event.is_owed() { Claim::Owed } else { Claim::New };
    Entry { trail: event.is_trail(), bytes: event.encode(), claim }
}

impl Inner {
    /// Makes events durable and folded, or says at once why not.
    pub(crate) async fn append(&self, events: Vec<Event>) -> Result<(), Unavailable> {
        self.try_append(&events).await
    }

    /// Makes events durable and folded, however long the disk is full. Whoever calls takes nothing new meanwhile, so what is held stays
    /// as little as it is; it is given up only when the engine stops, and a start takes up what it was about from the journal.
    pub(crate) async fn append_held(&self, events: &[Event], what: &'static str) -> Result<(), Unavailable> {
        let mut is_told = false;
        loop {
            let lack = match self.try_append(events).await {
                Err(Unavailable::NoSpace(lack)) => lack,
                other => return other,
            };
            if self.stop.is_cancelled() {
                tracing::error!(what, %lack, "given up at the end: the next start takes it up");
                return Err(Unavailable::NoSpace(lack));
            }
            // New work is refused long before; when even this finds no room, messages are out whose outcome is only in memory.
            if !is_told && events.iter().all(Event::is_owed) {
                self.alarms.raise("outcomes-held", "", format!("{what}: {lack}"));
                tracing::error!(what, %lack, "held in memory until the disk has room");
            }
            is_told = true;
            self.wait_for_room().await;
        }
    }

    /// Waits a moment; returns at once when the engine stops.
    pub(crate) async fn wait_for_room(&self) {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => {}
            () = tokio::time::sleep(LOOK_FOR_ROOM_EVERY) => {}
        }
    }

    async fn try_append(&self, events: &[Event]) -> Result<(), Unavailable> {
        if events.is_empty() {
            return Ok(());
        }
        let entries = events.iter().map(|event| entry_of(event, &self.words)).collect();
        self.journal.append(entries).await?;
        Ok(())
    }

    /// Does long work where it keeps nobody waiting, or in its turn where the store works so.
    pub(crate) async fn apart<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, tokio::task::JoinError> {
        match self.threads {
            Threads::Own => tokio::task::spawn_blocking(work).await,
            Threads::Callers => Ok(work()),
        }
    }

    /// Resolves when there is too little room for new work, or the engine stops.
    pub(super) async fn has_no_room(self: &Arc<Self>) {
        while self.journal.space().is_ok() && !self.stop.is_cancelled() {
            self.wait_for_room().await;
        }
    }
}
