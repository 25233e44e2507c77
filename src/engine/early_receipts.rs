//! Owns how reports that overtook the return of their send come to their deliveries, now or after a crash.
//! Refuses to know what a report means. Invariant: each is brought once, and ends only in the commit that brought it (I7).

use std::{
    collections::HashSet,
    sync::{Arc, atomic::Ordering},
};

use super::{
    Unavailable,
    gateway::Inner,
    receipts::{Gathering, Patience},
};
use crate::{
    channel::{About, News, Report},
    delivery::{
        early::Name,
        event::{Event, Refs, Told},
    },
    time::Timestamp,
};

/// Reports of one millisecond that an id can tell apart.
const OF_A_MS: u64 = 1 << 20;

impl Inner {
    /// By the time, so that no start gives one again.
    pub(super) fn early_id(&self, now: Timestamp) -> u64 {
        let count = self.early_count.fetch_add(1, Ordering::Relaxed) % OF_A_MS;
        u64::try_from(now.as_ms()).unwrap_or(0) * OF_A_MS + count
    }

    /// Those of which the sends have returned.
    pub(super) fn returned(&self, mut names: Vec<Name>) -> Vec<Name> {
        names.retain(|name| self.find_ref(name).is_some());
        names
    }

    /// What the last run could not bring any more.
    pub(super) async fn take_up_early(self: &Arc<Self>) -> Result<(), Unavailable> {
        bring(self, self.returned(self.ledger.early_names())).await
    }

    /// Brings what overtook a send that returned while the reports were being kept: whoever settled it had nothing to bring yet. They are
    /// kept already, so nobody waits for it.
    pub(super) fn bring_returned(self: &Arc<Self>, early: Vec<Name>) {
        let returned = self.returned(early);
        if !returned.is_empty() {
            let inner = Arc::clone(self);
            self.tasks.spawn(async move {
                if let Err(why) = bring(&inner, returned).await {
                    tracing::warn!(%why, "early reports are brought to their deliveries by the next start");
                }
            });
        }
    }
}

/// Brings the reports that came before the sends of these events had returned.
pub(super) async fn bring_settled(inner: &Arc<Inner>, events: &[Event]) -> Result<(), Unavailable> {
    if !inner.ledger.has_early(inner.clock.now()) {
        return Ok(());
    }
    let refs = events.iter().filter_map(|event| if let Event::Refs(refs) = event { Some(refs) } else { None });
    let named = |refs: &Refs, provider_ref: &str| Name { account: refs.account.clone(), provider_ref: provider_ref.to_owned() };
    bring(inner, refs.flat_map(|refs| refs.list.iter().map(|(_, provider_ref)| named(refs, provider_ref))).collect()).await
}

/// Brings early reports of these names, whose deliveries are known now; while the disk is full they are held.
async fn bring(inner: &Arc<Inner>, names: Vec<Name>) -> Result<(), Unavailable> {
    if names.is_empty() {
        return Ok(());
    }
    let now = inner.clock.now();
    let claimed = inner.ledger.claim_early(&names, now);
    if claimed.is_empty() {
        return Ok(());
    }
    let (mut gathering, mut failed) = (Gathering::default(), HashSet::new());
    for early in &claimed {
        let Some((shelf, index)) = inner.find_ref(&early.name) else { continue };
        // The same failure twice is one: both would be judged by what the book says before either.
        if matches!(early.news, News::Failed(_)) && !failed.insert((shelf.no, index)) {
            continue;
        }
        let Name { account, provider_ref } = &early.name;
        let about = About::ProviderRef { provider_ref: provider_ref.clone(), to: None };
        let report = Report { about, news: early.news.clone(), at: early.reported.or(Some(early.at)) };
        gathering.fact(inner, account, &shelf, index, &report, now);
    }
    gathering.told.push(Told::EarlyEnded { at: now, ids: claimed.iter().map(|early| early.id).collect() });
    gathering.commit(inner, Patience::Held).await
}
