//! Owns asking again at once whom a command has missed: a loudspeaker that says it is there, and has not acknowledged what it owes.
//! Refuses to know topics and brokers. Invariant: each is asked again at most once in a while, by the pace of its account, and by the same
//! message, which it says once however often it comes.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use super::{
    gateway::Inner,
    queue::{For, Work},
    settle::{Batch, Requeue},
};
use crate::{
    delivery::{event::FactKind, ledger::Shelf, plan::RecipientKind, slot::Phase},
    registry::{Snapshot, SpeakerKey},
    time::Timestamp,
};

/// Whoever hears the command after all, from its session at the broker, acknowledges it within this.
const RING_AFTER: Duration = Duration::from_secs(1);
/// One that comes and goes is not rung each time.
const RING_AGAIN: Duration = Duration::from_secs(30);
/// Those who come within this are rung together, in one commit.
const TOGETHER: Duration = Duration::from_millis(200);
/// Rung together at most; the rest a moment later.
const RINGS_MAX: usize = 4_096;

struct Comer {
    account: Arc<str>,
    /// When it said that it is there; what was sent before may have missed it.
    said: Timestamp,
    due: Option<Instant>,
    last: Option<Instant>,
}

/// Loudspeakers that came back, by their keys: never more than the registry has.
#[derive(Default)]
pub(crate) struct Rings {
    comers: Mutex<HashMap<u32, Comer>>,
    bell: Notify,
}

struct Ripe {
    speaker: SpeakerKey,
    account: Arc<str>,
    said: Timestamp,
}

impl Rings {
    pub(crate) fn came(&self, speaker: SpeakerKey, account: &str, said: Timestamp) {
        let now = Instant::now();
        let mut comers = self.locked();
        let comer = comers.entry(speaker.0).or_insert_with(|| Comer { account: account.into(), said, due: None, last: None });
        comer.account = account.into();
        comer.said = said;
        let earliest = comer.last.map_or(now, |last| (last + RING_AGAIN).max(now));
        comer.due.get_or_insert(earliest + RING_AFTER);
        drop(comers);
        self.bell.notify_one();
    }

    /// Those whose time has come, and whether others wait.
    fn ripe(&self, now: Instant) -> (Vec<Ripe>, bool) {
        let (mut ripe, mut others) = (Vec::new(), false);
        for (&key, comer) in self.locked().iter_mut() {
            match comer.due {
                None => {}
                Some(due) if due <= now && ripe.len() < RINGS_MAX => {
                    comer.due = None;
                    comer.last = Some(now);
                    ripe.push(Ripe { speaker: SpeakerKey(key), account: Arc::clone(&comer.account), said: comer.said });
                }
                Some(_) => others = true,
            }
        }
        (ripe, others)
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<u32, Comer>> {
        self.comers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) async fn run(inner: Arc<Inner>) {
    let mut others = false;
    loop {
        tokio::select! {
            () = inner.stop.cancelled() => return,
            () = inner.rings.bell.notified(), if !others => {}
            () = tokio::time::sleep(TOGETHER), if others => {}
        }
        let (ripe, left) = inner.rings.ripe(Instant::now());
        others = left;
        if !ripe.is_empty() && ring(&inner, &ripe).await.is_err() {
            // The store is gone or the engine stops; the next start takes the queue up from the journal.
            return;
        }
    }
}

async fn ring(inner: &Arc<Inner>, ripe: &[Ripe]) -> Result<(), super::Unavailable> {
    let (snapshot, now) = (inner.snapshot(), inner.clock.now());
    for shelf in inner.ledger.unfinished() {
        let owing = owing(&shelf, &snapshot, ripe);
        if owing.is_empty() {
            continue;
        }
        let mut batch = Batch::of(&shelf);
        owing.iter().filter(|owed| owed.was_taken).for_each(|owed| batch.add(owed.index, FactKind::Retry, "came-back", now));
        if !batch.is_empty() {
            inner.append_held(&[batch.into_event()], "asking loudspeakers again").await?;
        }
        tracing::info!(alert = %shelf.id, speakers = owing.len(), "loudspeakers that came back are told at once");
        for Owed { index, route, .. } in owing {
            let (urgency, work) = (inner.urgency_of(&shelf, index), Work { alert: shelf.no, first: index, count: 1 });
            inner.requeue(&Requeue { route, urgency, work, due: Instant::now(), to: For::ANY });
        }
    }
    Ok(())
}

struct Owed {
    index: u32,
    route: Arc<str>,
    /// A broker has it, and no device has acknowledged it.
    was_taken: bool,
}

/// What of this alert those who came back have not acknowledged.
fn owing(shelf: &Shelf, snapshot: &Snapshot, ripe: &[Ripe]) -> Vec<Owed> {
    let book = shelf.read();
    if !book.state.may_send() {
        return Vec::new();
    }
    let owed = |came: &Ripe| {
        let speaker = snapshot.speaker(came.speaker)?;
        let recipient = book.recipient_of(RecipientKind::Speaker, came.speaker.0, Some(speaker.area()))?;
        let index = book.deliveries_of(recipient).last()?;
        let slot = book.slots.get(index as usize)?;
        let was_taken = match slot.phase {
            Phase::Pending => false,
            // One that was sent after it came is on its way.
            Phase::AwaitingProof => {
                let missed = slot.awaited_since().ms().is_some_and(|since| since <= book.offset_of(came.said));
                if !missed || book.word(slot.account) != &*came.account {
                    return None;
                }
                true
            }
            _ => return None,
        };
        Some(Owed { index, route: book.route_of(index).word.as_str().into(), was_taken })
    };
    ripe.iter().filter_map(owed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: SpeakerKey = SpeakerKey(7);

    #[tokio::test(start_paused = true)]
    async fn one_that_comes_and_goes_is_rung_once_in_a_while() {
        let (rings, at) = (Rings::default(), Timestamp::from_ms(0));
        let rung = |after_ms: u64| {
            let (ripe, others) = rings.ripe(Instant::now() + Duration::from_millis(after_ms));
            (ripe.len(), others)
        };
        rings.came(KEY, "loud", at);
        assert_eq!(rung(0), (0, true), "it may acknowledge by itself");
        rings.came(KEY, "loud", at);
        assert_eq!(rung(1_000), (1, false));
        rings.came(KEY, "loud", at);
        assert_eq!((rung(1_500), rung(32_100)), ((0, true), (1, false)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_whole_county_that_comes_back_is_rung_in_parts() {
        let rings = Rings::default();
        (0..10_000).for_each(|key| rings.came(SpeakerKey(key), "loud", Timestamp::from_ms(0)));
        let later = Instant::now() + RING_AFTER;
        let parts: Vec<usize> = std::iter::from_fn(|| Some(rings.ripe(later).0.len()).filter(|&count| count > 0)).collect();
        assert_eq!(parts, [RINGS_MAX, RINGS_MAX, 10_000 - 2 * RINGS_MAX]);
    }
}
