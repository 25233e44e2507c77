//! Owns the built-in MQTT broker (5 and 3.1.1; quality 2 is taken in, everything is handed on at quality 0 or 1): for small sites, drills and the demo.
//! Refuses to know alerts, to store anything on disk, and to speak TLS: it listens where only the county's own devices reach it.
//! Invariant: it says "nobody listens" (0x10) when nobody does, holds a bounded number of connections and bytes, and ends every task when it is stopped.

mod decode;
mod door;
mod encode;
mod guests;
mod hub;
mod packet;
mod session;
mod talk;

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::door::{Devices, Entry, Guard, Guest, SharedLogin, divisions};
use self::{
    guests::{Bounds, Guests},
    hub::{Hub, Limits},
};
/// A county's loudspeakers; the gateway's own sessions are not counted.
pub const SESSIONS_USUAL: usize = 10_000;
/// Descriptors of a broker that has a process for itself.
const DESCRIPTORS_OF_OWN: usize = 65_536;

/// Told when somebody finds no room: why in a word, and who.
pub type WhenFull = Arc<dyn Fn(&'static str, &str) + Send + Sync>;

/// `[builtin_broker]`.
#[derive(Clone, Debug)]
pub struct BrokerConfig {
    pub listen: SocketAddr,
    /// Sessions of devices, connected or kept.
    pub sessions_max: usize,
    pub entry: Entry,
}

impl BrokerConfig {
    /// One that lets everybody in.
    pub const fn on(listen: SocketAddr) -> Self {
        Self { listen, sessions_max: SESSIONS_USUAL, entry: Entry::Open }
    }
}

/// What a running broker has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokerStats {
    pub connected: u64,
    pub sessions: u64,
    pub published: u64,
    /// Messages that found a full queue, or a client of quality 0 that was away.
    pub dropped: u64,
}

/// A port that is taken; who comes waits until the broker starts.
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
}

impl Bound {
    /// Port 0 takes a free one.
    pub async fn on(listen: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn start(self, sessions_max: usize, entry: Entry, when_full: Option<WhenFull>) -> Broker {
        let bounds = match entry {
            Entry::Open => Bounds::below(DESCRIPTORS_OF_OWN),
            Entry::Guarded(_) => Bounds::of_this_process(),
        };
        tracing::info!(address = %self.address, connections = bounds.places, sessions = sessions_max, "the built-in broker listens");
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let shared = Arc::new(Shared {
            hub: Hub::new(Limits { sessions: sessions_max }),
            entry,
            guests: Guests::new(bounds),
            refusals: Refusals { counts: Mutex::default(), when_full },
            stop: stop.clone(),
            tasks: tasks.clone(),
        });
        tasks.spawn(stop.clone().run_until_cancelled_owned(accept(self.listener, Arc::clone(&shared))));
        Broker { address: self.address, shared, stop, tasks }
    }
}

pub struct Broker {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

struct Shared {
    hub: Hub,
    entry: Entry,
    guests: Arc<Guests>,
    refusals: Refusals,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Broker {
    /// Binds and serves; port 0 takes a free one.
    pub async fn start(config: BrokerConfig) -> io::Result<Self> {
        Ok(Bound::on(config.listen).await?.start(config.sessions_max, config.entry, None))
    }

    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn stats(&self) -> BrokerStats {
        let [connected, sessions, published, dropped] = self.shared.hub.counts();
        BrokerStats { connected, sessions, published, dropped }
    }

    /// Says goodbye to every client and waits until the last connection has closed.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// How many packets of MQTT these bytes are, before and after a CONNECT of either version; for whoever tries the reading on bytes of any kind.
pub fn packets_read(bytes: &[u8]) -> u64 {
    let mut count = 0;
    for version in [None, Some(packet::Version::V311), Some(packet::Version::V5)] {
        let mut input = bytes::BytesMut::from(bytes);
        while let Ok(Some(read)) = decode::decode(&mut input, version, talk::PACKET_BYTES_MAX) {
            count += 1;
            if let packet::Packet::Subscribe(_, filters) = read {
                count +=
                    filters.iter().filter(|filter| packet::is_filter(&filter.text) && packet::matches(&filter.text, "a/b")).count() as u64;
            }
        }
    }
    count
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        match listener.accept().await {
            Ok((stream, from)) => match shared.guests.come(from.ip()) {
                Some(place) => {
                    shared.tasks.spawn(talk::serve(stream, from, place, Arc::clone(&shared)));
                }
                None => shared.refusals.count("no-place", || format!("{from}: no place for another connection")),
            },
            Err(error) => {
                // Out of descriptors: the pause lets some close instead of spinning.
                tracing::warn!(%error, "the built-in broker could not accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// What was refused, by reason; told at the first, second, fourth, … time, because a stranger can make it happen as often as he likes.
struct Refusals {
    counts: Mutex<BTreeMap<&'static str, u64>>,
    when_full: Option<WhenFull>,
}

impl Refusals {
    fn count(&self, reason: &'static str, detail: impl FnOnce() -> String) {
        let so_far = {
            let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
            let count = counts.entry(reason).or_insert(0);
            *count += 1;
            *count
        };
        if !so_far.is_power_of_two() {
            return;
        }
        let detail = detail();
        if matches!(reason, "sessions-full" | "no-place") {
            if let Some(when_full) = &self.when_full {
                when_full(reason, &detail);
            }
            tracing::error!(
                reason,
                detail,
                so_far,
                "the built-in broker has no room: raise [builtin_broker] sessions_max or the limit of open files"
            );
        } else {
            tracing::warn!(reason, detail, so_far, "the built-in broker refused a client");
        }
    }
}

#[cfg(test)]
mod tests;
