//! Owns what an approver reads of an alert that waits: its texts as recipients get them, and how many would get them.
//! Refuses to plan: it is the preview of the interface, made once for all who look within half a minute.
//! Invariant: one is made at a time, whoever goes away meanwhile; a page never waits for it longer than a look takes.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tokio::sync::Mutex;

use super::language::Language;
use crate::{
    alert::AlertNo,
    delivery::ledger::Shelf,
    engine::{
        gateway::Gateway,
        intake::SubmitError,
        preview::{AreaCount, MessageView, Preview},
    },
    time::Timestamp,
};

/// Alerts that wait at one time are few; each preview is some kilobytes.
const KEPT_MAX: usize = 8;
/// The registry is edited and channels come back while somebody hesitates.
const GOOD_FOR: Duration = Duration::from_secs(30);
/// The page is wanted at once: a preview that takes longer is there when the page asks again.
const WAITED_FOR: Duration = Duration::from_secs(2);
/// More townships than a county has.
const TOWNS_SHOWN: usize = 60;

#[derive(Clone, Default)]
pub(in crate::http) struct Previews(Arc<Mutex<VecDeque<Made>>>);

struct Made {
    alert: AlertNo,
    /// Of the registry that it was made from.
    generation: u64,
    at: Timestamp,
    preview: Result<Arc<Preview>, String>,
}

/// What the page shows of it.
pub(super) enum Plan {
    Ready(Box<Told>),
    Making,
    Failed(String),
}

pub(super) struct Told {
    pub(super) preview: Arc<Preview>,
    /// One for each text that differs.
    pub(super) messages: Vec<MessageView>,
    pub(super) towns: Vec<AreaCount>,
    pub(super) more_towns: usize,
}

impl Told {
    fn of(preview: Arc<Preview>, language: Language) -> Self {
        let mut messages: Vec<MessageView> = Vec::new();
        for message in &preview.messages {
            if !messages.iter().any(|known| (&known.channel, &known.text) == (&message.channel, &message.text)) {
                messages.push(message.clone());
            }
        }
        for message in &mut messages {
            message.channel = language.way(&message.channel).into_owned();
        }
        let towns = preview.by_area.iter().take(TOWNS_SHOWN).cloned().collect();
        Self { messages, towns, more_towns: preview.by_area.len().saturating_sub(TOWNS_SHOWN), preview }
    }
}

impl Previews {
    pub(super) async fn of(&self, gateway: &Gateway, shelf: &Arc<Shelf>, language: Language) -> Plan {
        // Carried to its end though the page that asked is closed, so that the next that asks finds it.
        let (previews, gateway, shelf) = (self.clone(), gateway.clone(), Arc::clone(shelf));
        let making = tokio::spawn(async move { previews.made(&gateway, &shelf).await });
        match tokio::time::timeout(WAITED_FOR, making).await {
            Err(_) => Plan::Making,
            Ok(Ok(Ok(preview))) => Plan::Ready(Box::new(Told::of(preview, language))),
            Ok(Ok(Err(why))) => Plan::Failed(why),
            Ok(Err(ended)) => {
                tracing::error!(%ended, "the preview of an alert that waits could not be made");
                Plan::Failed(String::new())
            }
        }
    }

    async fn made(&self, gateway: &Gateway, shelf: &Arc<Shelf>) -> Result<Arc<Preview>, String> {
        let mut kept = self.0.lock().await;
        let (generation, now) = (gateway.snapshot().generation(), gateway.clock().now());
        // A clock that was set back must not keep one for ever.
        let is_good = |made: &Made| made.generation == generation && made.at <= now && now.since(made.at) < GOOD_FOR;
        kept.retain(is_good);
        if let Some(made) = kept.iter().find(|made| made.alert == shelf.no) {
            return made.preview.clone();
        }
        let preview = gateway.preview_held(shelf).await.map(Arc::new).map_err(|error| match error {
            SubmitError::Invalid(faults) => faults.into_iter().map(|fault| fault.message).collect::<Vec<_>>().join("; "),
            error => error.to_string(),
        });
        if kept.len() == KEPT_MAX {
            kept.pop_front();
        }
        kept.push_back(Made { alert: shelf.no, generation, at: now, preview: preview.clone() });
        preview
    }
}
