//! Owns one running relay: takes what is owed next, hands it on, writes down what was taken, and waits with patience when the far end is away.
//! Refuses to decide what is owed.
//! Invariant: one document is on its way at a time, so that order holds; a relay that stands still holds up nothing else.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rand::{SeedableRng as _, rngs::StdRng};
use tokio_util::sync::CancellationToken;

use super::{
    board::Board,
    cursor::{Cursor, ReadError},
    document::Item,
    health::Health,
    owed::{self, Next, Paces},
    post::{Poster, Verdict},
    settings::Settings,
};
use crate::{delivery::ledger::Shelf, engine::Gateway, net::backoff::Backoff, store::documents::Documents, telemetry::metrics as meter};

/// Events come by the thousand while an alert is sent; looking this often is soon enough.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// What is on its way when we are stopped may end within this; else it goes again, under the same key.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Tries of a document whose key the far end says it knows, about two minutes: a crash of its own is over by then.
const BUSY_MAX: u32 = 10;
/// Pause where our own account is wrong: somebody must mend it first.
const OURS_PAUSE: Duration = Duration::from_secs(30);
/// A number of tries to read the cursor at the start; a disk that fails this long fails the gateway too.
const READS_MAX: u32 = 5;

pub(super) struct Relay {
    pub(super) name: String,
    pub(super) settings: Settings,
    pub(super) gateway: Gateway,
    documents: Arc<Documents>,
    poster: Poster,
    cursor: Mutex<Cursor>,
    health: Mutex<Health>,
}

/// What one worker knows beside the cursor.
struct Course {
    paces: Paces,
    backoff: Backoff,
    /// Tries of the document that the far end is busy with.
    busy: u32,
    /// Something was taken that is not written down yet.
    is_unwritten: bool,
}

impl Relay {
    pub(super) fn new(name: String, settings: Settings, gateway: Gateway, documents: Arc<Documents>, poster: Poster) -> Self {
        Self { name, settings, gateway, documents, poster, cursor: Mutex::default(), health: Mutex::default() }
    }

    pub(super) async fn run(self: Arc<Self>, board: Board, stop: CancellationToken) {
        if !self.take_up(&stop).await {
            return;
        }
        board.put(Arc::clone(&self));
        let backoff = Backoff::new(StdRng::from_rng(&mut rand::rng()));
        let mut course = Course { paces: Paces::default(), backoff, busy: 0, is_unwritten: true };
        let mut changes = self.gateway.changes();
        let mut looked = None;
        while !stop.is_cancelled() {
            if course.is_unwritten {
                course.is_unwritten = !self.write().await;
            }
            // The first news after a quiet time is looked at at once.
            if let Some(last) = looked {
                pause_until(last + LOOK_EVERY, &stop).await;
            }
            changes.borrow_and_update();
            let now = self.gateway.clock().now();
            let next = owed::next(&mut self.cursor(), &course.paces, self.gateway.ledger(), &self.settings, now);
            match next {
                Next::Now(item) => {
                    looked = None;
                    self.hand_on(item, &mut course, &stop).await;
                }
                Next::NotBefore(due) => {
                    looked = Some(tokio::time::Instant::now());
                    let idle = due.map_or(self.settings.coverage_every, |due| due.since(now)).min(self.settings.coverage_every);
                    let news = async {
                        // When the gateway ends, nothing changes any more: the time limit decides.
                        if changes.changed().await.is_err() {
                            std::future::pending::<()>().await;
                        }
                    };
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = tokio::time::sleep(idle) => {}
                        () = news => {}
                    }
                }
            }
        }
        if course.is_unwritten {
            self.write().await;
        }
    }

    /// Reads how far an earlier run has come. A relay without a past begins with what has not expired: years of warnings are no news.
    async fn take_up(&self, stop: &CancellationToken) -> bool {
        let mut tries = 0;
        let known = loop {
            match Cursor::read(&self.documents, &self.name) {
                Ok(known) => break known,
                Err(error @ ReadError::Document(_)) if tries < READS_MAX => {
                    tracing::error!(relay = self.name, %error, "how far this relay has come cannot be read; trying again");
                    tries += 1;
                    pause(Duration::from_secs(1), stop).await;
                }
                Err(error) => {
                    self.gateway.alarms().raise("relay-cursor", &self.name, error.to_string());
                    tracing::error!(relay = self.name, %error, "how far this relay has come is lost; what has not expired is handed on again");
                    break None;
                }
            }
            if stop.is_cancelled() {
                return false;
            }
        };
        let ledger = self.gateway.ledger();
        let is_ours = |cursor: &Cursor| cursor.is_about(|no| Some(ledger.get(no)?.id));
        if known.as_ref().is_some_and(|cursor| !is_ours(cursor)) {
            self.gateway.alarms().raise("relay-cursor", &self.name, "转报进度属于另一个数据目录，未过期的预警会重新转报");
            tracing::error!(relay = self.name, "the store is not the one that this relay knew; what has not expired is handed on again");
        }
        let mut cursor = known.filter(is_ours).unwrap_or_else(|| self.without_a_past());
        owed::waiting(&mut cursor, self.gateway.ledger(), &self.settings);
        *self.cursor() = cursor;
        true
    }

    fn without_a_past(&self) -> Cursor {
        let (mut cursor, now) = (Cursor::default(), self.gateway.clock().now());
        for shelf in self.gateway.ledger().newest_first() {
            if shelf.alert.expires <= now {
                cursor.finish(shelf.no, shelf.id);
            }
        }
        cursor
    }

    async fn hand_on(&self, item: Item, course: &mut Course, stop: &CancellationToken) {
        let now = self.gateway.clock().now();
        let version = item.shelf().read().version;
        let document = match item.document(self.settings.format, &self.gateway).await {
            Ok(document) => document,
            Err(unreadable) => {
                // Owed until somebody puts the file back; the others go before it.
                tracing::error!(relay = self.name, %unreadable, "a report cannot be handed on");
                course.paces.put_off(item.shelf().no, now.plus(OURS_PAUSE));
                return;
            }
        };
        let url = if matches!(item, Item::Alert(_)) { &self.settings.url } else { &self.settings.reports_url };
        let posting = self.poster.post(url, item.word(), document, now);
        let verdict = tokio::select! {
            verdict = posting => verdict,
            () = async { stop.cancelled().await; tokio::time::sleep(LAST_WORDS).await } => return,
        };
        match verdict {
            Verdict::Taken => {
                self.well(course);
                meter::relay_post(&self.name, item.word(), "taken");
                self.taken(&item, version, course);
                course.is_unwritten |= !matches!(item, Item::Coverage { is_final: false, .. });
            }
            Verdict::Busy if course.busy < BUSY_MAX => {
                course.busy += 1;
                self.later(&item, "http-409", None, false, course, stop).await;
            }
            Verdict::Busy => self.refused(&item, 409, course),
            Verdict::Refused(status) => self.refused(&item, status, course),
            Verdict::Later { why, after, ours } => self.later(&item, &why, after, ours, course, stop).await,
        }
    }

    fn taken(&self, item: &Item, version: u64, course: &mut Course) {
        let (shelf, now) = (item.shelf(), self.gateway.clock().now());
        match item {
            Item::Alert(_) => {
                self.cursor().took(shelf.no, shelf.id, now);
                // Planning takes a moment; the first coverage says whom it means.
                course.paces.hurry(shelf.no);
                tracing::info!(relay = self.name, alert = %shelf.id, "alert handed on");
            }
            Item::State(_, state) => {
                self.cursor().told_state(shelf.no, *state);
                course.paces.hurry(shelf.no);
            }
            Item::Coverage { is_final: false, .. } => course.paces.shown(shelf.no, version, now.plus(self.settings.coverage_every)),
            Item::Coverage { is_final: true, .. } => self.finish(shelf, course),
        }
    }

    fn finish(&self, shelf: &Shelf, course: &mut Course) {
        self.cursor().finish(shelf.no, shelf.id);
        course.paces.forget(shelf.no);
    }

    /// The far end does not want this one: said aloud, listed, and the next goes on.
    fn refused(&self, item: &Item, status: u16, course: &mut Course) {
        self.well(course);
        let (shelf, now, word) = (item.shelf(), self.gateway.clock().now(), item.word());
        meter::relay_post(&self.name, word, "refused");
        self.gateway.alarms().raise(
            "relay-refused",
            format!("{} {}", self.name, shelf.id),
            format!("{}：上级平台拒收（HTTP {status}，{word}）", shelf.alert.headline),
        );
        tracing::error!(relay = self.name, alert = %shelf.id, document = word, status, "the far end has refused it");
        self.cursor().refuse(shelf.id, &shelf.alert.identifier, word, status, now);
        match item {
            // It knows nothing of this alert: reports of it would mean nothing there.
            Item::Alert(_) | Item::Coverage { is_final: true, .. } => self.finish(shelf, course),
            Item::State(_, state) => self.cursor().told_state(shelf.no, *state),
            Item::Coverage { is_final: false, .. } => {
                let version = shelf.read().version;
                course.paces.shown(shelf.no, version, now.plus(self.settings.coverage_every));
            }
        }
        course.is_unwritten = true;
    }

    /// Waits; longer each time, as long as the far end asks for, and for ever if need be.
    async fn later(&self, item: &Item, why: &str, after: Option<Duration>, ours: bool, course: &mut Course, stop: &CancellationToken) {
        meter::relay_post(&self.name, item.word(), "later");
        let backed = course.backoff.pause();
        let wait = after.unwrap_or(if ours { OURS_PAUSE } else { Duration::ZERO }).max(backed);
        let now = self.gateway.clock().now();
        if self.health().ail(&self.name, why, now, now.plus(wait), ours, self.settings.alarm_after) {
            self.gateway.alarms().raise("relay-stuck", &self.name, why);
        }
        if !matches!(item, Item::Alert(_)) {
            // Other alerts' reports go before it next time: one that is at fault must not hold the others.
            course.paces.put_off(item.shelf().no, now.plus(wait));
        }
        pause(wait, stop).await;
    }

    fn well(&self, course: &mut Course) {
        course.backoff.reset();
        course.busy = 0;
        if self.health().mend(&self.name) {
            self.gateway.alarms().end("relay-stuck", &self.name);
        }
    }

    /// Puts the cursor on disk; `false` when it must be tried again. What is not there goes again after a crash, under the same key.
    async fn write(&self) -> bool {
        let (cursor, documents, name) = (self.cursor().clone(), Arc::clone(&self.documents), self.name.clone());
        let written = tokio::task::spawn_blocking(move || cursor.write(&documents, &name).map_err(|error| error.to_string())).await;
        match written.unwrap_or_else(|error| Err(error.to_string())) {
            Ok(()) => true,
            Err(error) => {
                self.gateway.alarms().raise("relay-cursor", &self.name, &error);
                tracing::error!(relay = self.name, error, "how far this relay has come is not on disk");
                tokio::time::sleep(LOOK_EVERY).await;
                false
            }
        }
    }

    pub(super) fn cursor(&self) -> MutexGuard<'_, Cursor> {
        self.cursor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn pause(wait: Duration, stop: &CancellationToken) {
    pause_until(tokio::time::Instant::now() + wait, stop).await;
}

async fn pause_until(at: tokio::time::Instant, stop: &CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = tokio::time::sleep_until(at) => {}
    }
}
