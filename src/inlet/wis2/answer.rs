//! Owns what is done with each message: read, fetched where it must be, handed to the gateway in the order of arrival, remembered.
//! Refuses to know connections. Invariant: a message is done with only when the gateway has answered, or when it can never be an alert for us.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{
    fetch::{Fetcher, NoDocument},
    notice::{self, Link, Notice, What},
    seen::Seen,
};
use crate::{
    fault::Fault,
    inlet::hand_in::{Hand, Refusal, Verdict},
    telemetry::metrics as meter,
};

/// How long a message waits for those before it, so that an alert comes before its update; a dead link holds nobody up for longer.
const TURN_WITHIN: Duration = Duration::from_secs(5);
/// How long a warning is asked about again whose clock is ahead, or whose alert is still being fetched.
const MEND_WITHIN: Duration = Duration::from_secs(90);
/// Pauses before the gateway is asked again; the last is repeated.
const PAUSES: [Duration; 4] = [Duration::from_millis(500), Duration::from_secs(2), Duration::from_secs(5), Duration::from_secs(15)];

pub(super) struct Answerer {
    hand: Hand,
    fetcher: Fetcher,
    seen: Mutex<Seen>,
    document_max: usize,
}

/// The place of a message in the order of arrival.
#[derive(Clone, Default)]
pub(super) struct Turn {
    before: CancellationToken,
    own: CancellationToken,
}

impl Turn {
    /// The first: nobody is before it.
    pub(super) fn first() -> Self {
        let turn = Self::default();
        turn.before.cancel();
        turn
    }

    pub(super) fn next(&self) -> Self {
        Self { before: self.own.clone(), own: CancellationToken::new() }
    }
}

/// A message whose document is here, or of which it is known that none will be.
enum Prepared {
    Document {
        label: String,
        seen_as: String,
        document: Vec<u8>,
    },
    /// Counted and logged; nothing is to be handed in.
    Nothing,
    /// We are ending: the broker keeps the message.
    Interrupted,
}

impl Answerer {
    pub(super) fn new(hand: Hand, fetcher: Fetcher, seen: Seen, document_max: usize) -> Arc<Self> {
        Arc::new(Self { hand, fetcher, seen: Mutex::new(seen), document_max })
    }

    /// Deals with a message: `false` when it must come again. Documents are fetched side by side, and handed in in the order of arrival.
    pub(super) fn begin(self: &Arc<Self>, payload: bytes::Bytes, turn: Turn, stop: CancellationToken) -> JoinHandle<bool> {
        let own = Arc::clone(self);
        tokio::spawn(async move {
            let _ended = turn.own.drop_guard();
            let by = tokio::time::Instant::now() + TURN_WITHIN;
            let prepared = own.prepare(&payload, &stop).await;
            tokio::select! {
                () = turn.before.cancelled() => {}
                () = tokio::time::sleep_until(by) => {}
                () = stop.cancelled() => {}
            }
            own.end(prepared, &stop).await
        })
    }

    async fn prepare(&self, payload: &[u8], stop: &CancellationToken) -> Prepared {
        let Notice { seen_as, label, what } = match notice::read(payload, self.document_max) {
            Ok(notice) => notice,
            Err(faults) => return self.refuse("not-parseable", "not a message of WIS2 or cap-composer", faults, "unnamed message").await,
        };
        if self.has_seen(&seen_as) {
            return self.pass_over("seen", &label);
        }
        match what {
            What::Document(document) => Prepared::Document { label, seen_as, document },
            What::Link(link) => self.fetched(&link, label, seen_as, stop).await,
            What::Deletion => self.pass_over("deletion", &label),
            What::NoAlert(media_type) => {
                tracing::debug!(inlet = self.hand.inlet, label, media_type, "no alert");
                self.pass_over("no-alert", &label)
            }
        }
    }

    async fn fetched(&self, link: &Link, label: String, seen_as: String, stop: &CancellationToken) -> Prepared {
        match self.fetcher.fetch(link, stop).await {
            Ok(document) => Prepared::Document { label, seen_as, document },
            Err(NoDocument::Interrupted) => Prepared::Interrupted,
            Err(NoDocument::Refused(refused)) => {
                self.refuse("invalid-link", "the document will not be fetched", vec![refused.at("links")], &label).await
            }
            Err(NoDocument::OutOfReach(why)) => {
                // Not remembered as seen: another cache may announce the same data with a link that works.
                self.hand.gateway.alarms().raise("inlet-document-out-of-reach", format!("{} {label}", self.hand.inlet), &why);
                self.refuse("out-of-reach", "the document could not be fetched", vec![Fault::new("links", "out-of-reach", why)], &label)
                    .await
            }
        }
    }

    /// Hands in what was prepared; `false` when the message must come again.
    async fn end(self: &Arc<Self>, prepared: Prepared, stop: &CancellationToken) -> bool {
        let (label, seen_as, document) = match prepared {
            Prepared::Document { label, seen_as, document } => (label, seen_as, document),
            Prepared::Nothing => return true,
            Prepared::Interrupted => return false,
        };
        // Two caches may have announced it within the same second.
        if self.has_seen(&seen_as) {
            self.pass_over("seen", &label);
            return true;
        }
        let Some(verdict) = self.asked(&document, &label, stop).await else { return false };
        self.hand.tell(&verdict, &label, &document).await;
        // What was refused may be taken when it is announced again: policy, registry or rights may be others by then.
        if !matches!(&verdict, Verdict::Refused(refusal) if !refusal.is_over()) {
            self.remember(seen_as).await;
        }
        true
    }

    /// The gateway's last word; `None` when we are ending before it was said.
    async fn asked(&self, document: &[u8], label: &str, stop: &CancellationToken) -> Option<Verdict> {
        let mend_by = tokio::time::Instant::now() + MEND_WITHIN;
        let mut pauses = PAUSES.into_iter().chain(std::iter::repeat(PAUSES[PAUSES.len() - 1]));
        loop {
            let verdict = self.hand.ask(document, None).await;
            match &verdict {
                Verdict::PutOff(_) => self.hand.tell(&verdict, label, document).await,
                Verdict::Refused(refusal) if refusal.may_mend() && tokio::time::Instant::now() < mend_by => {}
                Verdict::Taken { .. } | Verdict::Kept | Verdict::Refused(_) => return Some(verdict),
            }
            stop.run_until_cancelled(tokio::time::sleep(pauses.next().unwrap_or_default())).await?;
        }
    }

    async fn remember(self: &Arc<Self>, seen_as: String) {
        let own = Arc::clone(self);
        let written = tokio::task::spawn_blocking(move || own.seen().add(&seen_as)).await;
        match written {
            Ok(Ok(())) => {}
            // The gateway knows the alert itself; a repeat is answered there.
            Ok(Err(error)) => tracing::warn!(inlet = self.hand.inlet, %error, "what was seen is not on disk"),
            Err(error) => tracing::error!(inlet = self.hand.inlet, %error, "what was seen could not be written"),
        }
    }

    fn has_seen(&self, seen_as: &str) -> bool {
        self.seen().has(seen_as)
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pass_over(&self, word: &'static str, label: &str) -> Prepared {
        meter::inlet_document(&self.hand.inlet, word);
        tracing::debug!(inlet = self.hand.inlet, ?label, "message passed over: {word}");
        Prepared::Nothing
    }

    async fn refuse(&self, kind: &'static str, detail: &str, faults: Vec<Fault>, label: &str) -> Prepared {
        self.hand.tell(&Verdict::Refused(Refusal::new(kind, detail, faults)), label, &[]).await;
        Prepared::Nothing
    }
}
