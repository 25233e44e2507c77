//! Owns the count of connections: those not yet known apart from those let in, and each address its share.
//! Refuses to know who they are.
//! Invariant: connections never take the descriptors that the store, sending and the page need; a place is given back when its holder is dropped.

use std::{
    collections::HashMap,
    fs,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Soft limit of a Linux process that nobody has changed.
const DESCRIPTORS_USUAL: usize = 1_024;
/// The page takes at most a half; an eighth is left for the store and for what goes out.
const EIGHTHS_OF_DESCRIPTORS: usize = 3;
/// A county of ten thousand loudspeakers, and those that are just coming.
const PLACES_MAX: usize = 16_384;
const PLACES_MIN: usize = 16;
/// A fleet that comes back all at once behind one address of a mobile network must not be turned away, nor may it take all.
const UNKNOWN_SHARE: usize = 4;
const UNKNOWN_OF_ADDRESS_SHARE: usize = 8;
/// Clients without a credential of their own, from one address.
const SHARED_OF_ADDRESS_SHARE: usize = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) places: usize,
    pub(super) unknown: usize,
    pub(super) unknown_of_address: usize,
    pub(super) shared_of_address: usize,
}

impl Bounds {
    pub(super) fn of_this_process() -> Self {
        let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
        Self::below(descriptors(&limits).unwrap_or(DESCRIPTORS_USUAL))
    }

    pub(super) fn below(descriptors: usize) -> Self {
        let places = (descriptors / 8 * EIGHTHS_OF_DESCRIPTORS).clamp(PLACES_MIN, PLACES_MAX);
        Self {
            places,
            unknown: places / UNKNOWN_SHARE,
            unknown_of_address: (places / UNKNOWN_OF_ADDRESS_SHARE).max(2),
            shared_of_address: places / SHARED_OF_ADDRESS_SHARE,
        }
    }
}

/// The soft limit of open files, as the kernel tells it.
fn descriptors(limits: &str) -> Option<usize> {
    let rest = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Standing {
    Unknown,
    /// Let in with a credential of its own, or ours.
    Known,
    Shared,
}

#[derive(Default)]
struct Counts {
    all: usize,
    unknown: usize,
    of_address: HashMap<(IpAddr, Standing), usize>,
}

pub(super) struct Guests {
    bounds: Bounds,
    counts: Mutex<Counts>,
}

/// A connection's place.
pub(super) struct Place {
    guests: Arc<Guests>,
    address: IpAddr,
    standing: Standing,
}

impl Guests {
    pub(super) fn new(bounds: Bounds) -> Arc<Self> {
        Arc::new(Self { bounds, counts: Mutex::default() })
    }

    /// A place for a connection of which nothing is known yet.
    pub(super) fn come(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let address = counted_as(address);
        let mut counts = self.lock();
        // Whoever sits on this machine, as the gateway itself does, has places of its own beside those of the world.
        let outside = if address.is_loopback() { 0 } else { counts.unknown };
        let of_address = counts.of(address, Standing::Unknown);
        if counts.all >= self.bounds.places || outside >= self.bounds.unknown || of_address >= self.bounds.unknown_of_address {
            return None;
        }
        counts.all += 1;
        counts.add(address, Standing::Unknown);
        drop(counts);
        Some(Place { guests: Arc::clone(self), address, standing: Standing::Unknown })
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn of(&self, address: IpAddr, standing: Standing) -> usize {
        self.of_address.get(&(address, standing)).copied().unwrap_or(0)
    }

    fn add(&mut self, address: IpAddr, standing: Standing) {
        *self.of_address.entry((address, standing)).or_insert(0) += 1;
        if standing == Standing::Unknown && !address.is_loopback() {
            self.unknown += 1;
        }
    }

    fn take(&mut self, address: IpAddr, standing: Standing) {
        if let Some(count) = self.of_address.get_mut(&(address, standing)) {
            *count -= 1;
            if *count == 0 {
                self.of_address.remove(&(address, standing));
            }
        }
        if standing == Standing::Unknown && !address.is_loopback() {
            self.unknown -= 1;
        }
    }
}

impl Place {
    /// It has said who it is. False when its address has had its share.
    pub(super) fn is_known(&mut self, by_own_credential: bool) -> bool {
        let standing = if by_own_credential { Standing::Known } else { Standing::Shared };
        let mut counts = self.guests.lock();
        if standing == Standing::Shared && counts.of(self.address, standing) >= self.guests.bounds.shared_of_address {
            return false;
        }
        counts.take(self.address, self.standing);
        counts.add(self.address, standing);
        drop(counts);
        self.standing = standing;
        true
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.guests.lock();
        counts.all -= 1;
        counts.take(self.address, self.standing);
    }
}

/// A subscriber of IPv6 has a whole /64 for himself.
fn counted_as(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(wide) if !wide.is_loopback() => IpAddr::V6(Ipv6Addr::from_bits(wide.to_bits() & !u128::from(u64::MAX))),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn a_silent_address_takes_its_share_and_leaves_the_rest() {
        let guests = Guests::new(Bounds::below(1_024));
        let held: Vec<Place> = (0..1_100).filter_map(|_| guests.come(address(1))).collect();
        assert_eq!(held.len(), 48);
        assert!(guests.come(address(2)).is_some(), "another address finds a place");
        let crowd: Vec<Place> = (2..200).filter_map(|last| guests.come(address(last))).collect();
        assert_eq!(held.len() + crowd.len(), 96);
        let mut ours = guests.come(IpAddr::from([127, 0, 0, 1])).expect("the gateway itself finds a place");
        assert!(ours.is_known(true));
        drop(held);
        assert!(guests.come(address(1)).is_some(), "places come back");
    }

    #[test]
    fn those_who_are_known_are_counted_below_the_descriptors_and_apart_from_the_unknown() {
        let guests = Guests::new(Bounds::below(1_024));
        let mut known = Vec::new();
        while let Some(mut place) = guests.come(address(1)) {
            assert!(place.is_known(true));
            known.push(place);
        }
        assert_eq!(known.len(), 384);
        known.clear();
        let mut shared = Vec::new();
        while let Some(mut place) = guests.come(address(1)).filter(|_| shared.len() < 300) {
            if !place.is_known(false) {
                break;
            }
            shared.push(place);
        }
        assert_eq!(shared.len(), 192);
        drop(shared);
        let counts = guests.lock();
        assert_eq!((counts.all, counts.unknown, counts.of_address.len()), (0, 0, 0));
    }

    #[test]
    fn one_subscriber_of_ipv6_is_one_address() {
        let one: IpAddr = "2001:db8:1:2:3::4".parse().expect("an address");
        let other: IpAddr = "2001:db8:1:2:ffff::1".parse().expect("an address");
        assert_eq!(counted_as(one), counted_as(other));
        assert_eq!(counted_as("::ffff:192.0.2.7".parse().expect("an address")), address(7));
    }
}
