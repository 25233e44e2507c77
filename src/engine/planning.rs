//! Owns the step from an accepted alert to its plan in the journal and its deliveries in the queues.
//! Refuses to know who is told how: that is the planner's. Invariant: an alert is planned once, whoever asks for it and however often.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::{
    Unavailable,
    filed::Details,
    gateway::Gateway,
    planner::{self, Basis, Plan},
    references::CHAIN_MAX,
    told_before::{ToldBefore, WordsBefore},
};
use crate::{
    alert::{AlertNo, MsgType},
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
    pub(super) fn release(&self, shelf: &Arc<Shelf>, targets: &[Arc<Shelf>], matched: Option<matching::Audience>) {
        // An all-clear that has been given goes on, unless its own end says otherwise.
        for target in targets.iter().filter(|target| !target.read().state.may_send()) {
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
        let told = self.chains_before(shelf).await?;
        let gateway = self.clone();
        let (planned_shelf, rule) = (Arc::clone(shelf), running.rule.clone());
        // A county's plan is tens of milliseconds of work: not on a thread that serves requests.
        let made = self.apart(move || gateway.make_plan(&planned_shelf, &rule, &audience, &told)).await;
        let (plan, words) = made.map_err(|error| Unavailable::Failed(format!("planning failed: {error}")))?;
        // Before anything of it can be leased.
        drop(running.words.set(words));
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

    /// The books of the chains that this alert changes or ends, read from their files where they were filed. Where one cannot be read, an
    /// Update goes out as to people who have heard nothing by it, and an alarm was raised; an all-clear waits, because nobody knows whom it
    /// is for.
    async fn chains_before(&self, shelf: &Shelf) -> Result<Chains, Unavailable> {
        let targets = shelf.read().accepted.targets.clone();
        self.chains_of(targets, shelf.alert.is_all_clear()).await
    }

    pub(super) async fn chains_of(&self, targets: Vec<AlertNo>, must_know: bool) -> Result<Chains, Unavailable> {
        let mut chains = Chains { links: HashMap::new(), targets: targets.clone() };
        let (mut open, mut seen) = (targets, HashSet::new());
        while let Some(no) = open.pop() {
            if !seen.insert(no) || seen.len() > CHAIN_MAX {
                continue;
            }
            // What told nobody took nobody's place: what stood before it is named beside it.
            let Some(link) = self.ledger.get(no).filter(|link| link.read().timeline.released.is_some()) else { continue };
            let details = match self.details(&link).await {
                Ok(details) => Some(details),
                Err(_) if !must_know => None,
                Err(unreadable) => return Err(unreadable.into()),
            };
            let before = link.read().accepted.targets.clone();
            open.extend(&before);
            chains.links.insert(no, Link { details, before });
        }
        Ok(chains)
    }

    fn make_plan(&self, shelf: &Shelf, rule: &crate::policy::Rule, audience: &matching::Audience, chains: &Chains) -> (Plan, WordsBefore) {
        let snapshot = self.snapshot();
        let mut told = chains.told();
        self.leave_to_siblings(shelf, &mut told);
        let basis = Basis { snapshot: &snapshot, routes: &self.routes, rule, now: self.clock.now(), public: self.public_of(&shelf.alert) };
        let plan = if shelf.alert.is_all_clear() { planner::all_clear(&basis, &told) } else { planner::first(&basis, audience, &told) };
        (plan, told.words())
    }

    /// Whoever hears from another part of the same document is not told by this one that it is over.
    fn leave_to_siblings(&self, shelf: &Shelf, told: &mut ToldBefore) {
        let key = AlertKey::of_document(&shelf.alert).filter(|_| shelf.alert.msg_type == MsgType::Update && !shelf.alert.is_all_clear());
        let Some(key) = key.filter(|_| !told.is_empty()) else { return };
        let snapshot = self.snapshot();
        for sibling in self.ledger.find_document(&key) {
            let is_out = sibling.no == shelf.no || sibling.alert.is_all_clear() || sibling.read().state == State::Rejected;
            if is_out {
                continue;
            }
            let (rule, public) = (self.running(&sibling).rule.clone(), self.public_of(&sibling.alert));
            let basis = Basis { snapshot: &snapshot, routes: &self.routes, rule: &rule, now: self.clock.now(), public };
            told.leave(&planner::tells(&basis, &matching::audience(&sibling.alert.areas, &snapshot), told));
        }
    }

    /// Whose words the people of a planned alert had before it; lost with the process, and read again from the books.
    pub(super) async fn take_up_words(&self, shelf: &Arc<Shelf>) -> Result<(), Unavailable> {
        let speaks_of_them = {
            let book = shelf.read();
            book.timeline.planned.is_some() && book.open > 0 && !book.accepted.targets.is_empty()
        };
        if speaks_of_them {
            let targets = shelf.read().accepted.targets.clone();
            let chains = self.chains_of(targets, false).await?;
            let words = self.apart(move || chains.told().words()).await;
            let words = words.map_err(|error| Unavailable::Failed(format!("earlier alerts could not be looked through: {error}")))?;
            drop(self.running(shelf).words.set(words));
        }
        Ok(())
    }
}

/// What the alerts that are changed or ended have told, link by link.
pub(super) struct Chains {
    links: HashMap<AlertNo, Link>,
    targets: Vec<AlertNo>,
}

struct Link {
    /// `None` where the book cannot be read.
    details: Option<Details>,
    before: Vec<AlertNo>,
}

impl Chains {
    pub(super) fn told(&self) -> ToldBefore {
        self.told_by(&self.targets, 0)
    }

    fn told_by(&self, links: &[AlertNo], depth: usize) -> ToldBefore {
        let mut told = ToldBefore::default();
        let known = links.iter().filter_map(|no| self.links.get(no)).filter(|_| depth < CHAIN_MAX);
        for (number, link) in known.enumerate() {
            let mut chain = self.told_by(&link.before, depth + 1);
            if let Some(details) = &link.details {
                chain.then(&details.read());
            }
            if number == 0 {
                told = chain;
            } else {
                told.beside(chain);
            }
        }
        told
    }
}
