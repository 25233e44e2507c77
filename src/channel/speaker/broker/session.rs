//! Owns one client's session: what waits for it, what it has not acknowledged, what it subscribes to.
//! Refuses to know other sessions.
//! Invariant: what it holds is bounded in messages and in bytes.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use super::packet::{Publish, Wish};

/// What one message takes beside its own bytes.
const MESSAGE_OVERHEAD: usize = 128;
/// Unacknowledged messages towards one client.
const WINDOW_MAX: u16 = 1_000;
/// Messages of quality 2 that a client has begun to hand over; told to it as its Receive Maximum.
pub(super) const UNRELEASED_MAX: u16 = 64;

/// How much may wait for one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Room {
    pub(super) messages: usize,
    pub(super) bytes: usize,
}

impl Room {
    /// A loudspeaker that was away for a day: its commands.
    pub(super) const SMALL: Self = Self { messages: 200, bytes: 1 << 20 };
    /// A gateway that was away for minutes: the reports of thousands of speakers.
    pub(super) const LARGE: Self = Self { messages: 10_000, bytes: 32 << 20 };
}

/// A message on its way, shared by all who get it.
pub(super) struct Message {
    pub(super) publish: Publish,
    pub(super) dies_at: Option<Instant>,
    /// Session of whoever published it.
    pub(super) from: Arc<str>,
    weight: usize,
    held: Arc<AtomicUsize>,
}

impl Message {
    pub(super) fn new(publish: Publish, from: &Arc<str>, held: &Arc<AtomicUsize>) -> Self {
        let dies_at = publish.expiry_s.map(|seconds| Instant::now() + Duration::from_secs(u64::from(seconds)));
        let weight = publish.topic.len() + publish.payload.len() + publish.properties.len() + MESSAGE_OVERHEAD;
        held.fetch_add(weight, Ordering::Relaxed);
        Self { publish, dies_at, from: Arc::clone(from), weight, held: Arc::clone(held) }
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        self.held.fetch_sub(self.weight, Ordering::Relaxed);
    }
}

pub(super) struct Waiting {
    pub(super) message: Arc<Message>,
    pub(super) quality: u8,
    pub(super) retain: bool,
    pub(super) again: bool,
}

pub(super) struct Session {
    /// Grows with each connection of this client; an older connection finds that it has been replaced.
    pub(super) turn: u64,
    pub(super) connected: bool,
    pub(super) wake: Arc<Notify>,
    pub(super) filters: HashMap<String, Wish>,
    pub(super) will: Option<(Publish, u32)>,
    pub(super) kept_for_s: u32,
    pub(super) gone_since: Option<Instant>,
    /// Counts against the number of sessions that there may be.
    pub(super) is_counted: bool,
    window: usize,
    room: Room,
    bytes: usize,
    queue: VecDeque<Waiting>,
    in_flight: VecDeque<(u16, Waiting)>,
    next_id: u16,
    unreleased: HashSet<u16>,
}

impl Session {
    pub(super) fn empty(room: Room, is_counted: bool) -> Self {
        Self {
            turn: 0,
            connected: false,
            wake: Arc::new(Notify::new()),
            filters: HashMap::new(),
            will: None,
            kept_for_s: 0,
            gone_since: None,
            is_counted,
            window: 1,
            room,
            bytes: 0,
            queue: VecDeque::new(),
            in_flight: VecDeque::new(),
            next_id: 0,
            unreleased: HashSet::new(),
        }
    }

    pub(super) fn is_over(&self, now: Instant) -> bool {
        let kept = Duration::from_secs(u64::from(self.kept_for_s));
        self.kept_for_s != u32::MAX && self.gone_since.is_some_and(|since| now.duration_since(since) >= kept)
    }

    /// A new connection: what was not acknowledged on the old one is sent again.
    pub(super) fn resume(&mut self, receive_max: u16) {
        self.window = usize::from(receive_max.min(WINDOW_MAX));
        while let Some((_, mut waiting)) = self.in_flight.pop_back() {
            waiting.again = true;
            self.queue.push_front(waiting);
        }
    }

    /// False when there is no room for it.
    pub(super) fn enqueue(&mut self, waiting: Waiting) -> bool {
        let fits = self.queue.len() < self.room.messages && self.bytes + waiting.message.weight <= self.room.bytes;
        let room = fits && (self.connected || waiting.quality > 0);
        if room {
            self.bytes += waiting.message.weight;
            self.queue.push_back(waiting);
            self.wake.notify_one();
        }
        room
    }

    pub(super) fn acknowledged(&mut self, packet_id: u16) {
        if let Some(place) = self.in_flight.iter().position(|(id, _)| *id == packet_id) {
            if let Some((_, waiting)) = self.in_flight.remove(place) {
                self.bytes -= waiting.message.weight;
            }
            if !self.queue.is_empty() {
                self.wake.notify_one();
            }
        }
    }

    /// At most `count` of the next messages, each with whether it was sent before.
    pub(super) fn next(&mut self, count: usize) -> Vec<(Publish, bool)> {
        let (now, mut out) = (Instant::now(), Vec::new());
        while out.len() < count && self.in_flight.len() < self.window {
            let Some(waiting) = self.queue.pop_front() else { return out };
            if waiting.message.dies_at.is_some_and(|at| at <= now) {
                self.bytes -= waiting.message.weight;
                continue;
            }
            let mut publish = waiting.message.publish.clone();
            // Rounded down: better a second early than a warning after its end.
            publish.expiry_s = waiting.message.dies_at.map(|at| u32::try_from(at.duration_since(now).as_secs()).unwrap_or(u32::MAX));
            publish.retain = waiting.retain;
            publish.once = false;
            publish.packet_id = (waiting.quality > 0).then(|| self.take_id());
            let again = waiting.again;
            match publish.packet_id {
                Some(id) => self.in_flight.push_back((id, waiting)),
                None => self.bytes -= waiting.message.weight,
            }
            out.push((publish, again));
        }
        if !self.queue.is_empty() && self.in_flight.len() < self.window {
            self.wake.notify_one();
        }
        out
    }

    /// Begins a message of quality 2; `None` when too many are begun, else whether it is the first time.
    pub(super) fn begin_once(&mut self, packet_id: u16) -> Option<bool> {
        if self.unreleased.len() >= usize::from(UNRELEASED_MAX) && !self.unreleased.contains(&packet_id) {
            return None;
        }
        Some(self.unreleased.insert(packet_id))
    }

    pub(super) fn release(&mut self, packet_id: u16) -> bool {
        self.unreleased.remove(&packet_id)
    }

    /// An identifier that is not in flight; the window is far smaller than their number.
    fn take_id(&mut self) -> u16 {
        loop {
            self.next_id = self.next_id.checked_add(1).unwrap_or(1);
            if self.in_flight.iter().all(|(id, _)| *id != self.next_id) {
                return self.next_id;
            }
        }
    }
}
