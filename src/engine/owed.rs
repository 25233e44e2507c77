//! Owns the alert that tells nobody: it is said in the answer, raised as an alarm, never called done, and told as soon as there is a way.
//! Refuses to know texts and far ends. Invariant: an alert in force that somebody can be told of by the present channels and registry is planned
//! for them, once (I2); what was planned before stays as it is.

use std::sync::Arc;

use super::{
    Unavailable,
    gateway::{Gateway, Inner},
    planner::{self, Basis},
    route::Routes,
};
use crate::{
    alert::Alert,
    delivery::{book::Book, event::Event, ledger::Shelf},
    fault::Fault,
    matching::{self, Audience},
    policy::{Policy, Rule},
    registry::Snapshot,
};

const NO_CHANNEL: &str = "no-channel";
const NOBODY: &str = "nobody-can-be-told";

/// Alarm of an alert in force of which nobody is told.
pub(super) const NOBODY_TOLD: &str = "nobody-told";
/// Alarm of a policy that names only kinds without a channel.
const WITHOUT_CHANNEL: &str = "policy-without-channel";

/// Kinds of a rule, first and second choice, that no channel offers.
pub fn missing_kinds<'r>(rule: &'r Rule, offered: &[&str]) -> Vec<&'r str> {
    let named = rule.channels.iter().chain(&rule.then).map(String::as_str);
    let mut missing: Vec<&str> = named.filter(|kind| !offered.contains(kind)).collect();
    missing.sort_unstable();
    missing.dedup();
    missing
}

/// Whether no kind that the rule names is offered: its alerts tell nobody.
pub fn tells_nobody(rule: &Rule, offered: &[&str]) -> bool {
    !rule.channels.iter().chain(&rule.then).any(|kind| offered.contains(&kind.as_str()))
}

/// Rules of the policy, by number, none of whose kinds is offered.
pub fn silent_rules(policy: &Policy, offered: &[&str]) -> Vec<usize> {
    policy.rules().iter().enumerate().filter(|(_, rule)| tells_nobody(rule, offered)).map(|(number, _)| number).collect()
}

impl Routes {
    /// Kinds of channel that there are.
    pub(super) fn kinds(&self) -> Vec<&'static str> {
        let mut kinds: Vec<&'static str> = self.iter().map(|route| route.kind.name()).collect();
        kinds.sort_unstable();
        kinds.dedup();
        kinds
    }
}

impl Gateway {
    /// What the poster must know: the alert is taken, and nobody will hear of it as things stand.
    pub(super) fn reach_warnings(&self, alert: &Alert, audience: Option<&Audience>) -> Vec<Fault> {
        let policy = self.policy.load();
        let (Some(audience), Some(rule)) = (audience, policy.decide(&alert.event, alert.level, &alert.groups)) else { return Vec::new() };
        let missing = missing_kinds(rule, &self.routes.kinds());
        if tells_nobody(rule, &self.routes.kinds()) {
            let message = format!(
                "the policy tells this alert by {}, and there is no channel of these kinds: nobody is told until there is one",
                missing.join(", ")
            );
            return vec![Fault::new("", NO_CHANNEL, message)];
        }
        let (snapshot, routes) = (self.snapshot(), &self.routes);
        let basis = Basis { snapshot: &snapshot, routes, rule, now: self.clock.now(), public: self.public_of(alert) };
        if planner::reaches_somebody(&basis, audience) {
            return Vec::new();
        }
        vec![Fault::new(
            "areas",
            NOBODY,
            "nobody in the area can be told by the channels of the policy: nobody there has an address of theirs",
        )]
    }

    /// Raises or ends the alarm of an alert that is planned.
    pub(super) fn look_whether_somebody_is_told(&self, shelf: &Shelf) {
        if shelf.alert.is_all_clear() || shelf.alert.status.is_drill() || shelf.notice_of().is_some() {
            return;
        }
        let (people, deliveries) = {
            let book = shelf.read();
            (book.recipients.len(), book.slots.len())
        };
        if deliveries > 0 {
            return self.alarms.end(NOBODY_TOLD, &shelf.id.to_string());
        }
        tracing::error!(alert = %shelf.id, people, "nobody is told of an alert: no channel of the policy reaches anybody; add a channel or addresses");
        let text = format!("{}：应通知{people}人，没有一条消息可发（没有通道，或没有联系方式）", shelf.alert.headline);
        self.alarms.raise(NOBODY_TOLD, shelf.id.to_string(), text);
    }

    /// Whether each rule of a policy that is to be taken has a channel; else which have none.
    pub fn is_served(&self, policy: &Policy) -> Result<(), String> {
        let silent = silent_rules(policy, &self.routes.kinds());
        if silent.is_empty() {
            return Ok(());
        }
        Err(silent.iter().map(|number| format!("rule[{number}] names only kinds that no channel offers")).collect::<Vec<_>>().join("; "))
    }

    /// Plans those whom an alert in force owes a message and who had no way when it was planned. Called at a start and when the registry changes.
    pub(super) async fn tell_the_owed(&self) -> Result<(), Unavailable> {
        for shelf in self.ledger.newest_first() {
            if is_owing(self, &shelf) {
                self.tell_the_owed_of(&shelf).await?;
            }
        }
        Ok(())
    }

    async fn tell_the_owed_of(&self, shelf: &Arc<Shelf>) -> Result<(), Unavailable> {
        let running = self.running(shelf);
        // One extension of a book at a time: indices follow those before.
        let _extending = running.extending.lock().await;
        let (gateway, owing, rule) = (self.clone(), Arc::clone(shelf), running.rule.clone());
        let planned = self.apart(move || {
            let snapshot = gateway.snapshot();
            let book = owing.read();
            let audience = unknown_to(&book, matching::audience(&owing.alert.areas, &snapshot), &snapshot);
            let public = gateway.public_of(&owing.alert);
            let basis = Basis { snapshot: &snapshot, routes: &gateway.routes, rule: &rule, now: gateway.clock.now(), public };
            (planner::owed(&basis, &book, &audience), book.slots.len(), book.legs.len())
        });
        let (plan, deliveries_before, legs_before) =
            planned.await.map_err(|error| Unavailable::Failed(format!("planning failed: {error}")))?;
        let more = (plan.deliveries as usize).saturating_sub(deliveries_before);
        if more == 0 || self.closed_for_sending(shelf.no).is_some() {
            return Ok(());
        }
        self.append(plan.parts.into_iter().map(|part| Event::Plan(shelf.no, part)).collect()).await?;
        tracing::info!(alert = %shelf.id, deliveries = more, "people who had no way to be told have one now");
        self.enqueue_legs(shelf, u32::try_from(legs_before).unwrap_or(u32::MAX));
        self.look_whether_somebody_is_told(shelf);
        Ok(())
    }
}

impl Inner {
    /// Why no alert at all would tell anybody, if so.
    pub(super) fn is_mute(&self) -> bool {
        let (policy, kinds) = (self.policy.load(), self.routes.kinds());
        !policy.rules().is_empty() && silent_rules(&policy, &kinds).len() == policy.rules().len()
    }

    /// Says of the present policy which rules tell nobody; the alarm ends when there are none.
    pub(super) fn look_at_policy(&self) {
        let silent = silent_rules(&self.policy.load(), &self.routes.kinds());
        if silent.is_empty() {
            return self.alarms.end(WITHOUT_CHANNEL, "");
        }
        let rules = silent.iter().map(|number| format!("rule[{number}]")).collect::<Vec<_>>().join("、");
        tracing::error!(rules, "no kind of channel that these rules of the policy name is configured: their alerts tell nobody");
        self.alarms.raise(WITHOUT_CHANNEL, "", format!("{rules} 的发送手段都没有通道，所涉预警无人收到"));
    }
}

fn is_owing(inner: &Inner, shelf: &Shelf) -> bool {
    if shelf.alert.is_all_clear() || shelf.notice_of().is_some() || shelf.alert.expires <= inner.clock.now() {
        return false;
    }
    let book = shelf.read();
    book.state.may_send() && book.timeline.planned.is_some() && book.filed.is_none()
}

/// Devices and groups that the book does not know; of people those are told who are in it.
fn unknown_to(book: &Book, mut audience: Audience, snapshot: &Snapshot) -> Audience {
    use crate::delivery::plan::RecipientKind::{Endpoint, Speaker};
    audience.speakers = audience
        .speakers
        .iter()
        .filter(|&position| {
            let speaker = snapshot.speaker_at(position);
            book.recipient_of(Speaker, speaker.key().0, Some(speaker.area())).is_none()
        })
        .collect();
    audience.endpoints = audience
        .endpoints
        .iter()
        .filter(|&position| {
            let endpoint = snapshot.endpoint_at(position);
            book.recipient_of(Endpoint, endpoint.key().0, Some(endpoint.area())).is_none()
        })
        .collect();
    audience
}
