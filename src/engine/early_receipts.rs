//! Owns how reports that overtook the return of their send come to their deliveries, now or after a crash.
//! Refuses to know what a report means. Invariant: each is brought once, and ends only in the commit that brought it (I7).

use std::sync::{Arc, atomic::Ordering};

use super::{
    Unavailable,
    gateway::Inner,
    receipts::{Gathering, Patience},
};
use crate::{
    channel::{About, Report},
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
        bring(self, self.returned(self.ledger.early_names()), Patience::Held).await
    }
}

/// Brings the reports that came before the sends of these events had returned.
pub(super) async fn bring_returned(inner: &Arc<Inner>, events: &[Event]) -> Result<(), Unavailable> {
    if !inner.ledger.has_early() {
        return Ok(());
    }
    let refs = events.iter().filter_map(|event| if let Event::Refs(refs) = event { Some(refs) } else { None });
    let named = |refs: &Refs, provider_ref: &str| Name { account: refs.account.clone(), provider_ref: provider_ref.to_owned() };
    let names: Vec<Name> = refs.flat_map(|refs| refs.list.iter().map(|(_, provider_ref)| named(refs, provider_ref))).collect();
    bring(inner, names, Patience::Held).await
}

/// Brings early reports of these names, whose deliveries are known now.
pub(super) async fn bring(inner: &Arc<Inner>, names: Vec<Name>, patience: Patience) -> Result<(), Unavailable> {
    let claimed = inner.ledger.claim_early(&names);
    if claimed.is_empty() {
        return Ok(());
    }
    let (now, mut gathering) = (inner.clock.now(), Gathering::default());
    for early in &claimed {
        let Some((shelf, index)) = inner.find_ref(&early.name) else { continue };
        let Name { account, provider_ref } = &early.name;
        let about = About::ProviderRef { provider_ref: provider_ref.clone(), to: None };
        let report = Report { about, news: early.news.clone(), at: early.reported };
        gathering.fact(inner, account, &shelf, index, &report, now);
    }
    let ids: Vec<u64> = claimed.iter().map(|early| early.id).collect();
    gathering.told.push(Told::EarlyEnded { at: now, ids: ids.clone() });
    let brought = gathering.commit(inner, patience).await;
    if brought.is_err() {
        inner.ledger.unclaim_early(&ids);
    }
    brought
}
