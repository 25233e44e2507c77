//! Owns the step from an accepted alert to its plan in the journal and its deliveries in the queues.
//! Refuses to know who is told how: that is the planner's. Invariant: an alert is planned once, whoever asks for it and however often.

use std::sync::Arc;

use super::{
    Unavailable,
    filed::Details,
    gateway::Gateway,
    planner::{self, Basis, Plan},
    references::CHAIN_MAX,
    told_before::ToldBefore,
};
use crate::{
    alert::MsgType,
    delivery::{
        book::State,
        event::Event,
        ledger::{AlertKey, Shelf},
    },
    matching,
    store::NoSpace,
};

impl Gateway {
    /// Stops what it replaces and plans it, without keeping the poster waiting.
    pub(super) fn release(&self, shelf: &Arc<Shelf>, target: Option<&Shelf>, matched: Option<matching::Audience>) {
        if let Some(target) = target {
            self.drop_from_queues(target.no);
        }
        let (gateway, shelf) = (self.clone(), Arc::clone(shelf));
        self.tasks.spawn(async move {
            let planned = match matched {
                Some(audience) => gateway.plan_for(&shelf, audience).await,
                None => gateway.plan(&shelf).await,
            };
            let planned = match planned {
                Err(Unavailable::NoSpace(lack)) => gateway.plan_when_there_is_room(&shelf, lack).await,
                other => other,
            };
            if let Err(why) = planned {
                tracing::error!(alert = %shelf.id, %why, "an accepted alert could not be planned; the next start plans it");
            }
        });
    }

    /// Makes the plan anew at each try: who lives where, and whether it still holds, may have changed meanwhile.
    async fn plan_when_there_is_room(&self, shelf: &Arc<Shelf>, lack: NoSpace) -> Result<(), Unavailable> {
        self.alarms.raise("plan-held", shelf.id.to_string(), format!("{}：{lack}", shelf.alert.headline));
        tracing::error!(alert = %shelf.id, %lack, "an accepted alert cannot be planned until the disk has room");
        loop {
            self.wait_for_room().await;
            if self.stop.is_cancelled() {
                return Err(Unavailable::NoSpace(lack));
            }
            if self.closed_for_sending(shelf.no).is_some() {
                return Ok(());
            }
            match self.plan(shelf).await {
                Err(Unavailable::NoSpace(_)) => {}
                other => return other,
            }
        }
    }

    pub(crate) async fn plan(&self, shelf: &Arc<Shelf>) -> Result<(), Unavailable> {
        let snapshot = self.snapshot();
        let audience = matching::audience(&shelf.alert.areas, &snapshot);
        self.plan_for(shelf, audience).await
    }

    async fn plan_for(&self, shelf: &Arc<Shelf>, audience: matching::Audience) -> Result<(), Unavailable> {
        let running = self.running(shelf);
        let _extending = running.extending.lock().await;
        if shelf.read().timeline.planned.is_some() {
            return Ok(());
        }
        let told = self.told_before(shelf).await?;
        let gateway = self.clone();
        let (planned_shelf, rule) = (Arc::clone(shelf), running.rule.clone());
        // A county's plan is tens of milliseconds of work: not on a thread that serves requests.
        let plan = self.apart(move || gateway.make_plan(&planned_shelf, &rule, &audience, &told)).await;
        let plan = plan.map_err(|error| Unavailable::Failed(format!("planning failed: {error}")))?;
        if self.closed_for_sending(shelf.no).is_some() {
            tracing::info!(alert = %shelf.id, "alert has ended before it was planned");
            return Ok(());
        }
        let (recipients, deliveries, unreachable) = (plan.recipients, plan.deliveries, plan.unreachable);
        let events = plan.parts.into_iter().map(|part| Event::Plan(shelf.no, part)).collect();
        self.append(events).await?;
        tracing::info!(alert = %shelf.id, recipients, deliveries, unreachable, "alert planned");
        self.look_whether_somebody_is_told(shelf);
        self.enqueue_legs(shelf, 0);
        Ok(())
    }

    /// The books of the chain that this alert changes or ends, newest first, read from their files where they were filed. Where one cannot be
    /// read, an Update goes out as to people who have heard nothing by it, and an alarm was raised; an all-clear waits, because nobody knows
    /// whom it is for.
    async fn told_before(&self, shelf: &Shelf) -> Result<Vec<Details>, Unavailable> {
        let mut told = Vec::new();
        let mut next = shelf.read().accepted.target;
        for _ in 0..CHAIN_MAX {
            let Some(link) = next.and_then(|no| self.ledger.get(no)) else { break };
            if link.read().timeline.released.is_none() {
                // It told nobody and took nobody's place: what stood before it stands.
                break;
            }
            match self.details(&link).await {
                Ok(details) => told.push(details),
                Err(_) if shelf.alert.msg_type != MsgType::Cancel => {}
                Err(unreadable) => return Err(unreadable.into()),
            }
            next = link.read().accepted.target;
        }
        Ok(told)
    }

    fn make_plan(&self, shelf: &Shelf, rule: &crate::policy::Rule, audience: &matching::Audience, links: &[Details]) -> Plan {
        let snapshot = self.snapshot();
        let mut told = ToldBefore::default();
        for link in links {
            told.add(&link.read());
        }
        let basis =
            Basis { snapshot: &snapshot, routes: &self.routes, rule, now: self.clock.now(), with_households: self.with_households(shelf) };
        self.leave_to_siblings(shelf, &mut told);
        match shelf.alert.msg_type {
            MsgType::Cancel => planner::all_clear(&basis, &told),
            MsgType::Alert | MsgType::Update => planner::first(&basis, audience, &told),
        }
    }

    /// Whoever hears from another part of the same document is not told by this one that it is over.
    fn leave_to_siblings(&self, shelf: &Shelf, told: &mut ToldBefore) {
        let Some(key) = AlertKey::of_document(&shelf.alert).filter(|_| shelf.alert.msg_type == MsgType::Update && !told.is_empty()) else {
            return;
        };
        let snapshot = self.snapshot();
        for sibling in self.ledger.find_document(&key) {
            let is_out = sibling.no == shelf.no || sibling.read().state == State::Rejected;
            if is_out {
                continue;
            }
            let (rule, with_households) = (self.running(&sibling).rule.clone(), self.with_households(&sibling));
            let basis = Basis { snapshot: &snapshot, routes: &self.routes, rule: &rule, now: self.clock.now(), with_households };
            told.leave(&planner::tells(&basis, &matching::audience(&sibling.alert.areas, &snapshot), told));
        }
    }
}
