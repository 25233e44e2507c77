//! Owns what a broker remembers: sessions, subscriptions, what is retained, what waits for whom.
//! Refuses to know sockets and bytes. Every call is short and holds one lock.
//! Invariant: a quality 1 message for a living session is queued, in flight, expired or counted as dropped; never just gone.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use super::codec::{Filter, Publish, is_filter, matches};

/// Messages that wait for one client: a gateway that was away for minutes gets the reports of thousands of speakers.
const QUEUE_MAX: usize = 10_000;
/// Unacknowledged messages towards one client.
const WINDOW_MAX: u16 = 1_000;
/// Retained topics: one status for each speaker of a large county, with room.
const RETAINED_MAX: usize = 20_000;
/// A speaker has four filters and a gateway three.
const FILTERS_MAX: usize = 100;
/// Messages given to a connection at a time, so that one client cannot hold the lock for long.
const BATCH_MAX: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) sessions: usize,
}

/// A message on its way, shared by all who get it.
struct Message {
    publish: Publish,
    dies_at: Option<Instant>,
}

struct Waiting {
    message: Arc<Message>,
    quality: u8,
    retain: bool,
    again: bool,
}

struct Session {
    /// Grows with each connection of this client; an older connection finds that it has been replaced.
    turn: u64,
    connected: bool,
    wake: Arc<Notify>,
    window: usize,
    queue: VecDeque<Waiting>,
    in_flight: VecDeque<(u16, Waiting)>,
    next_id: u16,
    filters: HashMap<String, u8>,
    will: Option<(Publish, u32)>,
    kept_for_s: u32,
    gone_since: Option<Instant>,
}

#[derive(Default)]
struct State {
    sessions: HashMap<Arc<str>, Session>,
    /// Filters without wildcards, by topic.
    exact: HashMap<String, HashMap<Arc<str>, u8>>,
    wild: HashMap<String, HashMap<Arc<str>, u8>>,
    retained: HashMap<String, Arc<Message>>,
    dropped: u64,
    published: u64,
}

pub(super) struct Hub {
    state: Mutex<State>,
    limits: Limits,
}

pub(super) struct Attached {
    pub(super) turn: u64,
    pub(super) wake: Arc<Notify>,
    pub(super) resumed: bool,
}

/// What became of a publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Routed {
    Taken,
    NobodyListens,
    QueuesFull,
}

impl Hub {
    pub(super) fn new(limits: Limits) -> Self {
        Self { state: Mutex::default(), limits }
    }

    /// Connections, sessions kept, messages published, messages dropped.
    pub(super) fn counts(&self) -> [u64; 4] {
        let state = self.lock();
        let connected = state.sessions.values().filter(|session| session.connected).count();
        [connected as u64, state.sessions.len() as u64, state.published, state.dropped]
    }

    /// Opens or resumes the session of `client`; `None` when there is no room for another.
    pub(super) fn attach(
        &self,
        client: &str,
        clean: bool,
        kept_for_s: u32,
        receive_max: u16,
        will: Option<(Publish, u32)>,
    ) -> Option<Attached> {
        let mut state = self.lock();
        state.forget_expired();
        let known = state.sessions.get(client).map(|session| (session.turn, Arc::clone(&session.wake)));
        if let Some((_, wake)) = &known {
            // Whoever holds the old connection must look and find that it has been replaced.
            wake.notify_one();
        } else if state.sessions.len() >= self.limits.sessions {
            return None;
        }
        if clean {
            state.forget(client);
        }
        let turn = known.map_or(1, |(turn, _)| turn + 1);
        let wake = Arc::new(Notify::new());
        let resumed = state.sessions.contains_key(client);
        let session = state.sessions.entry(Arc::from(client)).or_insert_with(Session::empty);
        session.turn = turn;
        session.connected = true;
        session.wake = Arc::clone(&wake);
        session.window = usize::from(receive_max.min(WINDOW_MAX));
        session.will = will;
        session.kept_for_s = kept_for_s;
        session.gone_since = None;
        while let Some((_, mut waiting)) = session.in_flight.pop_back() {
            waiting.again = true;
            session.queue.push_front(waiting);
        }
        wake.notify_one();
        Some(Attached { turn, wake, resumed })
    }

    /// Ends a connection; gives back the will that is now due, and after how long.
    pub(super) fn detach(&self, client: &str, turn: u64, polite: bool) -> Option<(Publish, Duration)> {
        let mut state = self.lock();
        let session = state.sessions.get_mut(client).filter(|session| session.turn == turn)?;
        session.connected = false;
        session.gone_since = Some(Instant::now());
        let will = session.will.take().filter(|_| !polite);
        let kept_for_s = session.kept_for_s;
        if kept_for_s == 0 {
            state.forget(client);
        }
        will.map(|(will, delay_s)| (will, Duration::from_secs(u64::from(delay_s.min(kept_for_s)))))
    }

    pub(super) fn is_away(&self, client: &str) -> bool {
        self.lock().sessions.get(client).is_none_or(|session| !session.connected)
    }

    pub(super) fn is_current(&self, client: &str, turn: u64) -> bool {
        self.lock().sessions.get(client).is_some_and(|session| session.turn == turn)
    }

    pub(super) fn publish(&self, publish: Publish) -> Routed {
        let mut state = self.lock();
        state.published += 1;
        let dies_at = publish.expiry_s.map(|seconds| Instant::now() + Duration::from_secs(u64::from(seconds)));
        let quality = u8::from(publish.packet_id.is_some());
        let message = Arc::new(Message { publish, dies_at });
        state.retain(&message);
        let topic = &message.publish.topic;
        let mut readers: HashMap<Arc<str>, u8> = state.exact.get(topic).cloned().unwrap_or_default();
        for (_, clients) in state.wild.iter().filter(|(filter, _)| matches(filter, topic)) {
            for (client, &granted) in clients {
                let best = readers.entry(Arc::clone(client)).or_insert(granted);
                *best = granted.max(*best);
            }
        }
        if readers.is_empty() {
            return Routed::NobodyListens;
        }
        let mut taken = false;
        for (client, granted) in readers {
            let waiting = Waiting { message: Arc::clone(&message), quality: quality.min(granted), retain: false, again: false };
            taken |= state.enqueue(&client, waiting);
        }
        if taken { Routed::Taken } else { Routed::QueuesFull }
    }

    /// Adds subscriptions; one code for each, and what is retained is queued.
    pub(super) fn subscribe(&self, client: &str, filters: &[Filter]) -> Vec<Result<u8, ()>> {
        let mut state = self.lock();
        let Some((client, _)) = state.sessions.get_key_value(client) else { return vec![Err(()); filters.len()] };
        let client = Arc::clone(client);
        filters.iter().map(|filter| state.subscribe(&client, filter)).collect()
    }

    pub(super) fn unsubscribe(&self, client: &str, filters: &[String]) -> Vec<bool> {
        let mut state = self.lock();
        filters.iter().map(|filter| state.unsubscribe(client, filter)).collect()
    }

    pub(super) fn acknowledged(&self, client: &str, packet_id: u16) {
        let mut state = self.lock();
        let Some(session) = state.sessions.get_mut(client) else { return };
        if let Some(place) = session.in_flight.iter().position(|(id, _)| *id == packet_id) {
            session.in_flight.remove(place);
            if !session.queue.is_empty() {
                session.wake.notify_one();
            }
        }
    }

    /// The next messages for this connection, each with whether it was sent before.
    pub(super) fn next(&self, client: &str, turn: u64) -> Vec<(Publish, bool)> {
        let mut state = self.lock();
        let now = Instant::now();
        let Some(session) = state.sessions.get_mut(client).filter(|session| session.turn == turn) else { return Vec::new() };
        let mut out = Vec::new();
        while out.len() < BATCH_MAX && session.in_flight.len() < session.window {
            let Some(waiting) = session.queue.pop_front() else { return out };
            if waiting.message.dies_at.is_some_and(|at| at <= now) {
                continue;
            }
            let mut publish = waiting.message.publish.clone();
            // Rounded down: better a second early than a warning after its end.
            publish.expiry_s = waiting.message.dies_at.map(|at| u32::try_from(at.duration_since(now).as_secs()).unwrap_or(u32::MAX));
            publish.retain = waiting.retain;
            publish.packet_id = (waiting.quality > 0).then(|| session.take_id());
            let again = waiting.again;
            if let Some(id) = publish.packet_id {
                session.in_flight.push_back((id, waiting));
            }
            out.push((publish, again));
        }
        if !session.queue.is_empty() && session.in_flight.len() < session.window {
            session.wake.notify_one();
        }
        out
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    fn empty() -> Self {
        Self {
            turn: 0,
            connected: false,
            wake: Arc::new(Notify::new()),
            window: 1,
            queue: VecDeque::new(),
            in_flight: VecDeque::new(),
            next_id: 0,
            filters: HashMap::new(),
            will: None,
            kept_for_s: 0,
            gone_since: None,
        }
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

impl State {
    fn enqueue(&mut self, client: &str, waiting: Waiting) -> bool {
        let Some(session) = self.sessions.get_mut(client) else { return false };
        let room = session.queue.len() < QUEUE_MAX && (session.connected || waiting.quality > 0);
        if room {
            session.queue.push_back(waiting);
            session.wake.notify_one();
        } else {
            self.dropped += 1;
        }
        room
    }

    fn retain(&mut self, message: &Arc<Message>) {
        if !message.publish.retain {
            return;
        }
        let topic = &message.publish.topic;
        if message.publish.payload.is_empty() {
            self.retained.remove(topic);
        } else if self.retained.len() < RETAINED_MAX || self.retained.contains_key(topic) {
            self.retained.insert(topic.clone(), Arc::clone(message));
        } else {
            self.dropped += 1;
        }
    }

    fn subscribe(&mut self, client: &Arc<str>, filter: &Filter) -> Result<u8, ()> {
        let session = self.sessions.get_mut(client).ok_or(())?;
        if !is_filter(&filter.text) || session.filters.len() >= FILTERS_MAX {
            return Err(());
        }
        let is_new = session.filters.insert(filter.text.clone(), filter.quality).is_none();
        let wildcards = filter.text.contains(['+', '#']);
        let map = if wildcards { &mut self.wild } else { &mut self.exact };
        map.entry(filter.text.clone()).or_default().insert(Arc::clone(client), filter.quality);
        if filter.retain_handling == 0 || (filter.retain_handling == 1 && is_new) {
            let now = Instant::now();
            let fits = |message: &&Arc<Message>| matches(&filter.text, &message.publish.topic) && message.dies_at.is_none_or(|at| at > now);
            let found: Vec<Arc<Message>> = self.retained.values().filter(fits).cloned().collect();
            for message in found {
                let quality = u8::from(message.publish.packet_id.is_some()).min(filter.quality);
                self.enqueue(client, Waiting { message, quality, retain: true, again: false });
            }
        }
        Ok(filter.quality)
    }

    fn unsubscribe(&mut self, client: &str, filter: &str) -> bool {
        let removed = self.sessions.get_mut(client).is_some_and(|session| session.filters.remove(filter).is_some());
        self.unroute(client, filter);
        removed
    }

    fn unroute(&mut self, client: &str, filter: &str) {
        for map in [&mut self.exact, &mut self.wild] {
            if let Some(clients) = map.get_mut(filter) {
                clients.remove(client);
                if clients.is_empty() {
                    map.remove(filter);
                }
            }
        }
    }

    fn forget(&mut self, client: &str) {
        if let Some(session) = self.sessions.remove(client) {
            for filter in session.filters.keys() {
                self.unroute(client, filter);
            }
        }
    }

    fn forget_expired(&mut self) {
        let now = Instant::now();
        let over = |session: &Session| {
            let kept = Duration::from_secs(u64::from(session.kept_for_s));
            session.kept_for_s != u32::MAX && session.gone_since.is_some_and(|since| now.duration_since(since) >= kept)
        };
        let gone: Vec<Arc<str>> = self.sessions.iter().filter(|(_, session)| over(session)).map(|(client, _)| Arc::clone(client)).collect();
        for client in gone {
            self.forget(&client);
        }
    }
}
