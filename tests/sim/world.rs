//! Owns what truly happened in a run: what far ends were handed and took, what they said and was acknowledged, what posters were promised.
//! It outlives every gateway of the run, and refuses to know what is right: that is `oracle` and `judge`.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use lastmile::{
    alert::{AlertId, AlertNo},
    engine::Gateway,
    message::DeliveryId,
    time::Timestamp,
};
use tokio::sync::Notify;

use crate::{clock::SimClock, letters::Letter, posts::Post};

/// Room enough for anything.
pub(crate) const ROOMY: u64 = 1 << 40;

pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) clock: Arc<SimClock>,
    /// Bytes that the disk has left.
    pub(crate) free: AtomicU64,
    /// Rung when a letter is written, and when a message is handed over.
    pub(crate) letters_bell: Notify,
    pub(crate) handed_bell: Notify,
    memory: Mutex<Memory>,
}

#[derive(Default)]
pub(crate) struct Memory {
    /// Number of the gateway that runs, or ran last.
    pub(crate) life: u32,
    pub(crate) gateway: Option<Gateway>,
    /// All that can be seen from outside, line by line: two runs of one seed have the same.
    pub(crate) log: Vec<String>,
    /// What must not be.
    pub(crate) faults: Vec<String>,
    pub(crate) handed: Vec<Handed>,
    pub(crate) takes: Vec<Take>,
    pub(crate) letters: Vec<Letter>,
    pub(crate) posts: Vec<Post>,
    /// Deliveries in flight when the life of this number crashed.
    pub(crate) in_doubt: HashSet<(u32, DeliveryId)>,
    /// Lives that ended in a crash.
    pub(crate) crashes: HashSet<u32>,
}

/// One message of one `send`, as it came to the far end's door.
#[derive(Clone, Debug)]
pub(crate) struct Handed {
    pub(crate) at_ms: u64,
    pub(crate) life: u32,
    pub(crate) account: usize,
    pub(crate) id: DeliveryId,
    /// The first of its group, which is all that counts where one message serves a whole area.
    pub(crate) leads: bool,
}

/// A message that a far end truly took.
#[derive(Clone, Debug)]
pub(crate) struct Take {
    pub(crate) at_ms: u64,
    /// By the gateway's clock.
    pub(crate) told: Timestamp,
    pub(crate) life: u32,
    pub(crate) account: usize,
    pub(crate) id: DeliveryId,
    /// The far end's own name for it.
    pub(crate) own_id: String,
    /// The gateway was told so, plainly and in time.
    pub(crate) plain: bool,
}

/// What an alert's poster was promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Promise {
    pub(crate) id: AlertId,
    pub(crate) no: AlertNo,
}

impl World {
    pub(crate) fn new(seed: u64, clock: Arc<SimClock>) -> Self {
        Self { seed, clock, free: AtomicU64::new(ROOMY), letters_bell: Notify::new(), handed_bell: Notify::new(), memory: Mutex::default() }
    }

    pub(crate) fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().expect("no code panics while it holds the memory of a run")
    }

    pub(crate) fn gateway(&self) -> Gateway {
        self.memory().gateway.clone().expect("far ends are asked by a gateway only")
    }

    pub(crate) fn log(&self, line: &str) {
        let at_ms = self.clock.elapsed_ms();
        self.memory().log.push(format!("{at_ms:>8} {line}"));
    }

    /// Takes note of what must not be.
    pub(crate) fn fault(&self, what: String) {
        let at_ms = self.clock.elapsed_ms();
        let mut memory = self.memory();
        memory.log.push(format!("{at_ms:>8} FAULT {what}"));
        memory.faults.push(what);
    }

    pub(crate) fn has_room(&self) -> bool {
        self.free.load(Ordering::Relaxed) == ROOMY
    }
}
