//! Owns the addresses from which a valid key or session has been shown: when strangers come in numbers, room is kept for them.
//! Refuses to grant anything: an address is no proof. Invariant: bounded; only those who are known write into it.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::time::Instant;

use crate::network;

/// Every bureau, system and screen of a county; beyond it the one that was quiet longest goes.
const ADDRESSES_MAX: usize = 4_096;
/// A bureau without warnings is quiet for weeks.
const KEPT: Duration = Duration::from_secs(30 * 24 * 3_600);

#[derive(Clone, Debug, Default)]
pub(super) struct KnownAddresses(Arc<Mutex<HashMap<IpAddr, Instant>>>);

impl KnownAddresses {
    /// Somebody known has asked from here.
    pub(super) fn saw(&self, address: IpAddr) {
        let (customer, now) = (network::customer(address), Instant::now());
        let mut seen = self.locked();
        if seen.len() >= ADDRESSES_MAX
            && !seen.contains_key(&customer)
            && let Some(quietest) = seen.iter().min_by_key(|(_, at)| **at).map(|(address, _)| *address)
        {
            seen.remove(&quietest);
        }
        seen.insert(customer, now);
    }

    pub(super) fn knows(&self, address: IpAddr) -> bool {
        self.locked().get(&network::customer(address)).is_some_and(|at| at.elapsed() < KEPT)
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<IpAddr, Instant>> {
        self.0.lock().expect("no code panics while it holds the addresses")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_quietest_goes_when_there_are_too_many_and_all_go_in_time() {
        let known = KnownAddresses::default();
        let address = |number: u32| IpAddr::from(std::net::Ipv4Addr::from_bits(0x0a00_0000 + number));
        for number in 0..=u32::try_from(ADDRESSES_MAX).expect("a number") {
            known.saw(address(number));
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        assert!(!known.knows(address(0)) && known.knows(address(1)) && known.locked().len() == ADDRESSES_MAX);
        tokio::time::advance(KEPT).await;
        assert!(!known.knows(address(1)));
    }
}
