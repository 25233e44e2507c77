//! Owns what a broker remembers: sessions, subscriptions, what is retained, what waits for whom.
//! Refuses to know sockets, bytes and who may do what. Every call is short and holds one lock.
//! Invariant: a quality 1 message for a living session is queued, in flight, expired or counted as dropped; never just gone.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use super::{
    packet::{Filter, Publish, Wish, is_filter, matches},
    session::{Message, Room, Session, Waiting},
};

/// Retained topics: one status for each speaker of a large county, with room.
const RETAINED_MAX: usize = 20_000;
/// All messages that wait or are retained: a gateway that is away, and the status of a county.
const HELD_BYTES_MAX: usize = 128 << 20;
/// A speaker has four filters and a gateway three.
const FILTERS_MAX: usize = 100;
/// Messages given to a connection at a time, so that one client cannot hold the lock for long.
const BATCH_MAX: usize = 64;
/// How often sessions are looked through for those that are over.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) sessions: usize,
}

type Readers = HashMap<Arc<str>, Wish>;

#[derive(Default)]
struct State {
    sessions: HashMap<Arc<str>, Session>,
    counted: usize,
    /// Filters without wildcards, by topic.
    exact: HashMap<String, Readers>,
    wild: HashMap<String, Readers>,
    retained: HashMap<String, Arc<Message>>,
    dropped: u64,
    published: u64,
    swept: Option<Instant>,
}

pub(super) struct Hub {
    state: Mutex<State>,
    held: Arc<AtomicUsize>,
    limits: Limits,
}

pub(super) struct Attached {
    pub(super) turn: u64,
    pub(super) wake: Arc<Notify>,
    pub(super) resumed: bool,
}

/// How a session is to be opened.
pub(super) struct Opening {
    pub(super) session: Arc<str>,
    pub(super) clean: bool,
    pub(super) kept_for_s: u32,
    pub(super) receive_max: u16,
    pub(super) will: Option<(Publish, u32)>,
    pub(super) room: Room,
    pub(super) is_counted: bool,
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
        Self { state: Mutex::default(), held: Arc::default(), limits }
    }

    /// Connections, sessions kept, messages published, messages dropped.
    pub(super) fn counts(&self) -> [u64; 4] {
        let state = self.lock();
        let connected = state.sessions.values().filter(|session| session.connected).count();
        [connected as u64, state.sessions.len() as u64, state.published, state.dropped]
    }

    /// Opens or resumes a session; `None` when there is no room for another. Of what it subscribed to before, only what `allows` says stays.
    pub(super) fn attach(&self, opening: Opening, allows: impl Fn(&str) -> bool) -> Option<Attached> {
        let mut state = self.lock();
        state.sweep();
        let key = opening.session;
        let known = state.sessions.get(&key).map(|session| (session.turn, Arc::clone(&session.wake)));
        if let Some((_, wake)) = &known {
            // Whoever holds the old connection must look and find that it has been replaced.
            wake.notify_one();
        } else if opening.is_counted && state.counted >= self.limits.sessions {
            return None;
        }
        if opening.clean || state.sessions.get(&key).is_some_and(|session| session.is_over(Instant::now())) {
            state.forget(&key);
        }
        let turn = known.map_or(1, |(turn, _)| turn + 1);
        let wake = Arc::new(Notify::new());
        let resumed = state.sessions.contains_key(&key);
        if !resumed {
            state.counted += usize::from(opening.is_counted);
            state.sessions.insert(Arc::clone(&key), Session::empty(opening.room, opening.is_counted));
        }
        let gone: Vec<String> = state.sessions[&key].filters.keys().filter(|filter| !allows(filter)).cloned().collect();
        for filter in gone {
            state.unsubscribe(&key, &filter);
        }
        let session = state.sessions.get_mut(&key)?;
        session.turn = turn;
        session.connected = true;
        session.wake = Arc::clone(&wake);
        session.will = opening.will;
        session.kept_for_s = opening.kept_for_s;
        session.gone_since = None;
        session.resume(opening.receive_max);
        wake.notify_one();
        Some(Attached { turn, wake, resumed })
    }

    /// Ends a connection; gives back the will that is now due, and after how long.
    pub(super) fn detach(&self, key: &str, turn: u64, polite: bool) -> Option<(Publish, Duration)> {
        let mut state = self.lock();
        let session = state.sessions.get_mut(key).filter(|session| session.turn == turn)?;
        session.connected = false;
        session.gone_since = Some(Instant::now());
        let will = session.will.take().filter(|_| !polite);
        let kept_for_s = session.kept_for_s;
        if kept_for_s == 0 {
            state.forget(key);
        }
        will.map(|(will, delay_s)| (will, Duration::from_secs(u64::from(delay_s.min(kept_for_s)))))
    }

    pub(super) fn is_away(&self, key: &str) -> bool {
        self.lock().sessions.get(key).is_none_or(|session| !session.connected)
    }

    pub(super) fn is_current(&self, key: &str, turn: u64) -> bool {
        self.lock().sessions.get(key).is_some_and(|session| session.turn == turn)
    }

    pub(super) fn is_connected(&self, key: &str) -> bool {
        self.lock().sessions.get(key).is_some_and(|session| session.connected)
    }

    pub(super) fn publish(&self, publish: Publish, from: &Arc<str>) -> Routed {
        let mut state = self.lock();
        state.published += 1;
        if self.held.load(Ordering::Relaxed) > HELD_BYTES_MAX {
            state.dropped += 1;
            return Routed::QueuesFull;
        }
        let quality = u8::from(publish.packet_id.is_some());
        let message = Arc::new(Message::new(publish, from, &self.held));
        state.retain(&message);
        let readers = state.readers(&message, Instant::now());
        if readers.is_empty() {
            return Routed::NobodyListens;
        }
        let mut taken = false;
        for (client, wish) in readers {
            let retain = wish.as_published && message.publish.retain;
            let waiting = Waiting { message: Arc::clone(&message), quality: quality.min(wish.quality), retain, again: false };
            taken |= state.enqueue(&client, waiting);
        }
        if taken { Routed::Taken } else { Routed::QueuesFull }
    }

    /// Adds subscriptions; the quality granted to each, and what is retained is queued.
    pub(super) fn subscribe(&self, key: &str, filters: &[&Filter]) -> Vec<Option<u8>> {
        let mut state = self.lock();
        let Some((key, _)) = state.sessions.get_key_value(key) else { return vec![None; filters.len()] };
        let key = Arc::clone(key);
        filters.iter().map(|filter| state.subscribe(&key, filter)).collect()
    }

    pub(super) fn unsubscribe(&self, key: &str, filters: &[String]) -> Vec<bool> {
        let mut state = self.lock();
        filters.iter().map(|filter| state.unsubscribe(key, filter)).collect()
    }

    pub(super) fn acknowledged(&self, key: &str, turn: u64, packet_id: u16) {
        self.with(key, turn, |session| session.acknowledged(packet_id));
    }

    /// The next messages for this connection, each with whether it was sent before.
    pub(super) fn next(&self, key: &str, turn: u64) -> Vec<(Publish, bool)> {
        self.with(key, turn, |session| session.next(BATCH_MAX)).unwrap_or_default()
    }

    /// Begins a message of quality 2; `None` when too many are begun, else whether it is the first time.
    pub(super) fn begin_once(&self, key: &str, turn: u64, packet_id: u16) -> Option<bool> {
        self.with(key, turn, |session| session.begin_once(packet_id)).flatten()
    }

    pub(super) fn release(&self, key: &str, turn: u64, packet_id: u16) -> bool {
        self.with(key, turn, |session| session.release(packet_id)).unwrap_or(false)
    }

    fn with<T>(&self, key: &str, turn: u64, act: impl FnOnce(&mut Session) -> T) -> Option<T> {
        self.lock().sessions.get_mut(key).filter(|session| session.turn == turn).map(act)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Who hears a message: a session that is over hears nothing, and is no listener.
    fn readers(&self, message: &Message, now: Instant) -> Readers {
        let topic = &message.publish.topic;
        let mut readers: Readers = HashMap::new();
        let wild = self.wild.iter().filter(|(filter, _)| matches(filter, topic)).map(|(_, clients)| clients);
        for (client, wish) in self.exact.get(topic).into_iter().chain(wild).flatten() {
            if wish.no_local && *client == message.from || self.sessions.get(client).is_none_or(|session| session.is_over(now)) {
                continue;
            }
            let best = readers.entry(Arc::clone(client)).or_insert(*wish);
            best.quality = best.quality.max(wish.quality);
            best.as_published |= wish.as_published;
        }
        readers
    }

    fn enqueue(&mut self, key: &str, waiting: Waiting) -> bool {
        let queued = self.sessions.get_mut(key).is_some_and(|session| session.enqueue(waiting));
        self.dropped += u64::from(!queued);
        queued
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

    fn subscribe(&mut self, key: &Arc<str>, filter: &Filter) -> Option<u8> {
        let session = self.sessions.get_mut(key)?;
        if !is_filter(&filter.text) || (session.filters.len() >= FILTERS_MAX && !session.filters.contains_key(&filter.text)) {
            return None;
        }
        let is_new = session.filters.insert(filter.text.clone(), filter.wish).is_none();
        let wildcards = filter.text.contains(['+', '#']);
        let map = if wildcards { &mut self.wild } else { &mut self.exact };
        map.entry(filter.text.clone()).or_default().insert(Arc::clone(key), filter.wish);
        if filter.retain_handling == 0 || (filter.retain_handling == 1 && is_new) {
            let now = Instant::now();
            let fits = |message: &&Arc<Message>| matches(&filter.text, &message.publish.topic) && message.dies_at.is_none_or(|at| at > now);
            let found: Vec<Arc<Message>> = match wildcards {
                true => self.retained.values().filter(fits).cloned().collect(),
                false => self.retained.get(&filter.text).filter(fits).cloned().into_iter().collect(),
            };
            for message in found {
                let quality = u8::from(message.publish.packet_id.is_some()).min(filter.wish.quality);
                self.enqueue(key, Waiting { message, quality, retain: true, again: false });
            }
        }
        Some(filter.wish.quality)
    }

    fn unsubscribe(&mut self, key: &str, filter: &str) -> bool {
        let removed = self.sessions.get_mut(key).is_some_and(|session| session.filters.remove(filter).is_some());
        self.unroute(key, filter);
        removed
    }

    fn unroute(&mut self, key: &str, filter: &str) {
        for map in [&mut self.exact, &mut self.wild] {
            if let Some(clients) = map.get_mut(filter) {
                clients.remove(key);
                if clients.is_empty() {
                    map.remove(filter);
                }
            }
        }
    }

    fn forget(&mut self, key: &str) {
        if let Some(session) = self.sessions.remove(key) {
            self.counted -= usize::from(session.is_counted);
            for filter in session.filters.keys() {
                self.unroute(key, filter);
            }
        }
    }

    fn sweep(&mut self) {
        let now = Instant::now();
        if self.swept.is_some_and(|last| now.duration_since(last) < SWEEP_EVERY) {
            return;
        }
        self.swept = Some(now);
        let over = self.sessions.iter().filter(|(_, session)| session.is_over(now));
        let gone: Vec<Arc<str>> = over.map(|(key, _)| Arc::clone(key)).collect();
        for key in gone {
            self.forget(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn opening(key: &str, kept_for_s: u32) -> Opening {
        let (session, room) = (Arc::from(key), Room::SMALL);
        Opening { session, clean: false, kept_for_s, receive_max: 10, will: None, room, is_counted: true }
    }

    fn filter(text: &str, wish: Wish) -> Filter {
        Filter { text: text.to_owned(), wish, retain_handling: 0 }
    }

    fn say(hub: &Hub, from: &str, topic: &str, bytes: usize, retain: bool) -> Routed {
        let publish = Publish {
            topic: topic.to_owned(),
            packet_id: Some(1),
            once: false,
            retain,
            payload: Bytes::from(vec![b'x'; bytes]),
            expiry_s: None,
            properties: Bytes::new(),
        };
        hub.publish(publish, &Arc::from(from))
    }

    const ONE: Wish = Wish { quality: 1, no_local: false, as_published: false };

    fn hub() -> Hub {
        Hub::new(Limits { sessions: 2 })
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_whose_time_is_over_is_no_listener() {
        let hub = hub();
        let there = hub.attach(opening("a", 2), |_| true).expect("room");
        hub.subscribe("a", &[&filter("t", ONE)]);
        assert_eq!(say(&hub, "b", "t", 1, false), Routed::Taken);
        hub.detach("a", there.turn, false);
        assert_eq!(say(&hub, "b", "t", 1, false), Routed::Taken);
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(say(&hub, "b", "t", 1, false), Routed::NobodyListens);
        assert!(!hub.attach(opening("a", 2), |_| true).expect("room").resumed);
    }

    #[test]
    fn what_waits_for_one_is_bounded_in_bytes_and_what_is_let_go_is_no_longer_held() {
        let hub = hub();
        let there = hub.attach(opening("a", 100), |_| true).expect("room");
        hub.subscribe("a", &[&filter("t", ONE)]);
        hub.detach("a", there.turn, false);
        let taken = (0..200).take_while(|_| say(&hub, "b", "t", 16 * 1_024, false) == Routed::Taken).count();
        assert_eq!(taken, 63);
        assert!(hub.held.load(Ordering::Relaxed) <= Room::SMALL.bytes);
        let again = hub.attach(opening("a", 100), |_| true).expect("room");
        let sent = hub.next("a", again.turn);
        assert_eq!(sent.len(), 10);
        for (publish, _) in sent {
            hub.acknowledged("a", again.turn, publish.packet_id.expect("quality 1"));
        }
        assert_eq!(say(&hub, "b", "t", 16 * 1_024, false), Routed::Taken);
        hub.attach(Opening { clean: true, ..opening("a", 100) }, |_| true).expect("room");
        assert_eq!(hub.held.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn no_local_and_retain_as_published_are_kept_to() {
        let hub = hub();
        let there = hub.attach(opening("a", 0), |_| true).expect("room");
        hub.subscribe("a", &[&filter("mine", Wish { no_local: true, ..ONE }), &filter("kept", Wish { as_published: true, ..ONE })]);
        assert_eq!(say(&hub, "a", "mine", 1, false), Routed::NobodyListens);
        say(&hub, "b", "mine", 1, true);
        say(&hub, "b", "kept", 1, true);
        let marks: Vec<bool> = hub.next("a", there.turn).into_iter().map(|(publish, _)| publish.retain).collect();
        assert_eq!(marks, [false, true]);
    }

    #[test]
    fn the_gateway_has_room_beside_all_devices_and_who_may_no_longer_hear_does_not() {
        let hub = hub();
        for device in ["a", "b"] {
            assert!(hub.attach(opening(device, 100), |_| true).is_some());
        }
        assert!(hub.attach(opening("c", 100), |_| true).is_none());
        assert!(hub.attach(Opening { is_counted: false, ..opening("gateway", 100) }, |_| true).is_some());
        hub.subscribe("a", &[&filter("old", ONE), &filter("new", ONE)]);
        hub.attach(opening("a", 100), |filter| filter == "new").expect("its own place");
        assert_eq!((say(&hub, "b", "old", 1, false), say(&hub, "b", "new", 1, false)), (Routed::NobodyListens, Routed::Taken));
    }
}
