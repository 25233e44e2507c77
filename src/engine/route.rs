//! Owns the routes: a kind of channel with one sort of address, its accounts in the order they are asked, and its queue.
//! Refuses to know texts and storage. Invariant: every account of a route can serve any delivery of it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use tokio::sync::Notify;

use super::{
    account::{Account, route_word},
    queue::Queue,
};
use crate::channel::Reach;

pub(crate) struct Route {
    pub(crate) word: String,
    pub(crate) reach: Reach,
    pub(crate) kind: crate::channel::Kind,
    /// By priority, then by name.
    pub(crate) accounts: Vec<Arc<Account>>,
    queue: Mutex<Queue>,
    /// Rung when work comes or ripens.
    pub(crate) bell: Notify,
}

impl Route {
    pub(crate) fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().expect("no code panics while it holds a queue")
    }

    /// The account to be asked after `tried`; one that is parked now is passed over.
    pub(crate) fn next_account(&self, tried: &str) -> Option<&Arc<Account>> {
        let place = self.accounts.iter().position(|account| account.name() == tried)?;
        self.accounts[place + 1..].iter().find(|account| account.parked_for().is_none())
    }

    /// Whether this account may take unassigned work: those before it in priority are all parked.
    pub(crate) fn is_its_turn(&self, account: &Account) -> bool {
        let better = self.accounts.iter().filter(|other| other.common.priority < account.common.priority);
        better.into_iter().all(|other| other.parked_for().is_some())
    }
}

#[derive(Clone, Default)]
pub(crate) struct Routes {
    by_word: Arc<BTreeMap<String, Arc<Route>>>,
    accounts: Arc<Vec<Arc<Account>>>,
}

impl Routes {
    pub(crate) fn of(accounts: Vec<Arc<Account>>) -> Self {
        let mut by_word: BTreeMap<String, Route> = BTreeMap::new();
        for account in &accounts {
            for &reach in account.channel.reaches() {
                let kind = account.channel.kind();
                let word = route_word(kind, reach);
                let route = by_word.entry(word.clone()).or_insert_with(|| Route {
                    word,
                    reach,
                    kind,
                    accounts: Vec::new(),
                    queue: Mutex::default(),
                    bell: Notify::new(),
                });
                route.accounts.push(Arc::clone(account));
            }
        }
        let sorted = by_word.into_iter().map(|(word, mut route)| {
            route.accounts.sort_by(|one, other| (one.common.priority, one.name()).cmp(&(other.common.priority, other.name())));
            (word, Arc::new(route))
        });
        Self { by_word: Arc::new(sorted.collect()), accounts: Arc::new(accounts) }
    }

    pub(crate) fn get(&self, word: &str) -> Option<&Arc<Route>> {
        self.by_word.get(word)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.by_word.values()
    }

    /// Routes of one kind of channel, by the kind's word.
    pub(crate) fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Arc<Route>> {
        self.by_word.values().filter(move |route| route.kind.name() == kind)
    }

    pub(crate) fn accounts(&self) -> &[Arc<Account>] {
        &self.accounts
    }

    pub(crate) fn account(&self, name: &str) -> Option<&Arc<Account>> {
        self.accounts.iter().find(|account| account.name() == name)
    }

    /// Routes that an account serves.
    pub(crate) fn of_account(&self, account: &Account) -> Vec<Arc<Route>> {
        self.by_word.values().filter(|route| route.accounts.iter().any(|other| other.number == account.number)).cloned().collect()
    }
}
