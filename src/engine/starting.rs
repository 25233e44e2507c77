//! Owns how an engine begins and ends: far ends connected, what an earlier run left taken up, what is in flight waited for.
//! Refuses to know what the tasks do. Invariant: every task is tracked and ends with the engine; what was in flight at a crash is in doubt.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::{
    Unavailable, account::Account, alarm_book, gateway::Gateway, health::Heard, janitor, lease, queue::Part, receipts, rings, send, settle,
};
use crate::delivery::{book::State, event::FactKind, slot::Phase};

/// Outcomes that may wait to be settled: a quarter of a second of the fastest far end; senders wait beyond it.
const OUTCOMES_WAITING: usize = 16_384;
/// Reports of one connected far end that may wait; beyond it the far end does.
const REPORTS_WAITING: usize = 4_096;
/// This part of the grace is kept for leaving far ends in order and for the last outcomes.
const GOODBYES: u32 = 5;

impl Gateway {
    /// Connects the far ends, takes up what an earlier run left, and begins to send.
    pub async fn start(&self) -> Result<(), Unavailable> {
        let (outcomes, settled) = mpsc::channel(OUTCOMES_WAITING);
        self.tasks.spawn(settle::run(Arc::clone(&self.0), settled));
        for account in self.routes.accounts() {
            self.start_account(account, &outcomes).await;
        }
        drop(outcomes);
        let (gateway, (done, taken_up)) = (self.clone(), oneshot::channel());
        self.tasks.spawn(async move {
            let result = gateway.take_up().await;
            if let Err(why) = &result {
                tracing::error!(%why, "what an earlier run left could not be taken up");
            }
            // Nobody waits for it any more when the disk was full at the start.
            drop(done.send(result));
        });
        tokio::select! {
            biased;
            result = taken_up => result.unwrap_or_else(|_| Err(Unavailable::Failed("the start died".into()))),
            // It goes on when there is room; until then people are told so instead of finding nobody.
            () = self.has_no_room() => Ok(()),
        }
    }

    async fn start_account(&self, account: &Arc<Account>, outcomes: &mpsc::Sender<send::Outcome>) {
        let (reports, incoming) = mpsc::channel(REPORTS_WAITING);
        self.tasks.spawn(receipts::run(Arc::clone(&self.0), account.name().to_owned(), incoming));
        if let Err(failure) = account.channel.start(reports).await {
            // The debt stays: the account is parked and asked again, and the page shows why.
            account.went_wrong(Heard::AtOnce, &failure);
            self.alarms.raise("account-start", account.name(), failure.to_string());
            tracing::error!(account = account.name(), %failure, "channel did not start");
        }
        if let Some(line) = account.channel.line() {
            let (account, routes) = (Arc::clone(account), self.routes.of_account(account));
            // If this task dies, an account that was down waits for its pause to be over, as others do.
            self.tasks.spawn(self.0.stop.clone().run_until_cancelled_owned(async move {
                loop {
                    line.notified().await;
                    account.came_back();
                    routes.iter().for_each(|route| route.bell.notify_waiters());
                }
            }));
        }
        // One lease waits ready while the one before is sent; more would only be in doubt after a crash.
        let hand = |part| {
            let (leases, taken) = mpsc::channel(1);
            self.senders.spawn(lease::run(Arc::clone(&self.0), Arc::clone(account), part, leases));
            taken
        };
        let leases = send::Leases { express: hand(Part::Express), rest: hand(Part::Rest) };
        self.senders.spawn(send::run(Arc::clone(&self.0), Arc::clone(account), leases, outcomes.clone()));
    }

    /// What was in flight when the last run ended is in doubt; what was pending is queued; what was released is planned.
    async fn take_up(&self) -> Result<(), Unavailable> {
        let dropped = self.ledger.drop_unsealed();
        if dropped > 0 {
            tracing::warn!(plans = dropped, "plans that were not whole in the journal are made anew");
        }
        let now = self.clock.now();
        for shelf in self.ledger.unfinished() {
            let mut batch = settle::Batch::of(&shelf);
            {
                let book = shelf.read();
                let in_flight = (0_u32..).zip(&book.slots).filter(|(_, slot)| slot.phase == Phase::InFlight);
                in_flight.for_each(|(index, _)| batch.add(index, FactKind::Unknown, "restarted-in-flight", now));
            }
            if !batch.is_empty() {
                self.append_held(&[batch.into_event()], "messages in doubt since the last run").await?;
            }
            self.take_up_words(&shelf).await?;
            self.enqueue_legs(&shelf, 0);
            let is_unplanned = {
                let book = shelf.read();
                book.timeline.planned.is_none() && book.state == State::Released
            };
            if is_unplanned {
                match self.plan(&shelf).await {
                    Err(Unavailable::NoSpace(_)) => self.release(&shelf, &[], None),
                    other => other?,
                }
            }
        }
        self.take_up_early().await?;
        self.look_at_policy();
        match self.tell_the_owed().await {
            // The janitor asks again when the registry changes; until then people are told of the full disk.
            Ok(()) | Err(Unavailable::NoSpace(_)) => {}
            Err(why) => return Err(why),
        }
        self.take_waiting();
        match self.retry_refused().await {
            Ok(()) | Err(Unavailable::NoSpace(_)) => {}
            Err(why) => return Err(why),
        }
        self.tasks.spawn(janitor::run(Arc::clone(&self.0)));
        self.tasks.spawn(super::audit::take_pending(Arc::clone(&self.0)));
        self.tasks.spawn(rings::run(Arc::clone(&self.0)));
        self.ready.send_replace(true);
        Ok(())
    }

    /// No new leases, wait for what is in flight, disconnect, commit: all of it within the grace, or what is left counts as unknown.
    pub async fn stop(&self, grace: Duration) -> Result<(), Unavailable> {
        let end = Instant::now() + grace;
        self.ready.send_replace(false);
        self.stop.cancel();
        self.senders.close();
        self.tasks.close();
        if tokio::time::timeout_at(end - grace / GOODBYES, self.senders.wait()).await.is_err() {
            tracing::warn!(grace_s = grace.as_secs(), "some messages were still in flight at the end of the grace; they count as unknown");
        }
        let goodbyes = self.routes.accounts().iter().map(|account| async move {
            if tokio::time::timeout_at(end, account.channel.stop()).await.is_err() {
                tracing::warn!(account = account.name(), "channel did not close in time");
            }
        });
        futures::future::join_all(goodbyes).await;
        if tokio::time::timeout_at(end, self.tasks.wait()).await.is_err() {
            tracing::warn!("some tasks did not end in time");
        }
        alarm_book::write_down(&self.0).await;
        Ok(self.journal.close().await?)
    }
}
