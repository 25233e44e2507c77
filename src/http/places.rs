//! Owns how many may be at one thing at one time, in all and of one holder: requests, bodies under way, live streams, connections.
//! Refuses to know what they do. Invariant: a place is given back when it is dropped; the table holds those who have one, so it is bounded.

use std::{
    collections::HashMap,
    hash::Hash,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard},
};

use crate::{
    access::{Caller, CallerKind},
    network,
};

/// Whose share a place counts against.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Holder {
    Caller(CallerKind, String),
    Customer(IpAddr),
}

impl Holder {
    pub(super) fn caller(caller: &Caller) -> Self {
        Self::Caller(caller.kind, caller.name.clone())
    }

    pub(super) fn at(address: IpAddr) -> Self {
        Self::Customer(network::customer(address))
    }
}

/// Places for one kind of thing.
#[derive(Debug)]
pub(super) struct Places {
    all: usize,
    each: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    of: HashMap<Holder, usize>,
}

impl Places {
    pub(super) fn new(all: usize, each: usize) -> Arc<Self> {
        Arc::new(Self { all, each, taken: Mutex::default() })
    }

    /// A place within the usual share; nobody in particular counts against the whole alone.
    pub(super) fn take(self: &Arc<Self>, holder: Option<Holder>) -> Option<Place> {
        self.take_within(holder, self.each, 0)
    }

    /// A place within this share, if it leaves so many of all to others.
    pub(super) fn take_within(self: &Arc<Self>, holder: Option<Holder>, share: usize, reserve: usize) -> Option<Place> {
        let mut taken = self.locked();
        if taken.all >= self.all.saturating_sub(reserve) {
            return None;
        }
        if let Some(holder) = &holder {
            match taken.of.get_mut(holder) {
                Some(have) if *have >= share => return None,
                Some(have) => *have += 1,
                None => drop(taken.of.insert(holder.clone(), 1)),
            }
        }
        taken.all += 1;
        drop(taken);
        Some(Place { of: Arc::clone(self), holder })
    }

    fn locked(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().expect("no code panics while it holds the places")
    }
}

/// One place, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    of: Arc<Places>,
    holder: Option<Holder>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.of.locked();
        taken.all -= 1;
        let Some(holder) = &self.holder else { return };
        if let Some(have) = taken.of.get_mut(holder) {
            *have -= 1;
            if *have == 0 {
                taken.of.remove(holder);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(address: &str) -> Option<Holder> {
        Some(Holder::at(address.parse().expect("an address")))
    }

    #[test]
    fn one_holder_takes_no_more_than_its_share_and_gives_it_back() {
        let places = Places::new(4, 2);
        let held: Vec<Place> = (0..9).filter_map(|_| places.take(at("192.0.2.1"))).collect();
        assert_eq!(held.len(), 2);
        let others: Vec<Place> = ["192.0.2.2", "2001:db8::1", "2001:db8::2"].iter().filter_map(|one| places.take(at(one))).collect();
        assert_eq!(others.len(), 2, "all places are taken");
        drop(held);
        assert!(places.take(at("192.0.2.1")).is_some());
        drop(others);
        assert!(places.locked().of.is_empty() && places.locked().all == 0, "nothing is remembered of those who left");
    }

    #[test]
    fn what_is_reserved_is_there_for_those_who_may_have_it() {
        let places = Places::new(4, 4);
        let strangers: Vec<Place> = (0..9).filter_map(|number| places.take_within(at(&format!("192.0.2.{number}")), 4, 1)).collect();
        assert_eq!(strangers.len(), 3);
        assert!(places.take_within(at("198.51.100.1"), 4, 0).is_some());
    }
}
