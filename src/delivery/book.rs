//! Owns one alert's book: its recipients, deliveries, calls and counters, as the fold of its events.
//! Refuses to know the journal, clocks, names and phones. Invariant: whatever order receipts come in, the counters equal a recount.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{
    call::{Answer, Call, End, TRIES_MAX, Try},
    counters::{AreaCounters, Share, Standing},
    event::{Accepted, Choice, Fact, FactKind, Facts, Leased, Refs},
    filed::Filed,
    plan::{CallsDue, Hazard, LEG_DELIVERIES_MAX, Lane, Leg, Occasion, PlanPart, Purpose, RecipientKind, Run},
    slot::{Moment, Phase, Slot},
    wire::Damaged,
};
use crate::{area::AreaCode, time::Timestamp};

/// Reaching people within ten minutes of issue is the published target of the national platform.
const PROMPT_MS: i64 = 10 * 60 * 1_000;
/// Words (reasons, account names) of one book; what comes over that is filed under the last.
const WORDS_MAX: usize = 250;

/// States of contract §2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Held,
    Released,
    Dispatching,
    Completed,
    Rejected,
    Cancelled,
    Superseded,
    Expired,
}

impl State {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Released => "released",
            Self::Dispatching => "dispatching",
            Self::Completed => "completed",
            Self::Rejected => "rejected",
            Self::Cancelled => "cancelled",
            Self::Superseded => "superseded",
            Self::Expired => "expired",
        }
    }

    /// Nothing more is owed.
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Cancelled | Self::Superseded | Self::Expired | Self::Rejected | Self::Completed)
    }

    /// Whether messages of it may still leave.
    pub const fn may_send(self) -> bool {
        matches!(self, Self::Released | Self::Dispatching | Self::Completed)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Timeline {
    pub issued: Option<Timestamp>,
    pub received: Option<Timestamp>,
    pub accepted: Option<Timestamp>,
    pub released: Option<Timestamp>,
    pub planned: Option<Timestamp>,
    pub first_sent: Option<Timestamp>,
    pub last_sent: Option<Timestamp>,
    pub completed: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recipient {
    pub key: u32,
    pub reached: Moment,
    /// Deliveries still open.
    pub open: u8,
    pub unreachable: bool,
    /// When is in `Book::answered_at`.
    pub answered: bool,
}

/// Where a recipient stands in the registry's terms; shared by a run of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub first: u32,
    pub area: u16,
    pub kind: RecipientKind,
    pub role: u8,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BookLeg {
    pub first: u32,
    pub count: u32,
    pub route: u8,
    pub lane: Lane,
    pub occasion: Occasion,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// `sms/phone`: what accounts are looked up by.
    pub word: String,
    /// Number of its kind (`sms`) in `Book::kinds`.
    pub kind: u8,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Book {
    #[serde(with = "as_json_text")]
    pub accepted: Accepted,
    pub state: State,
    pub timeline: Timeline,
    /// Clock zero of timeliness: when the warning was signed.
    pub zero: Timestamp,
    pub reason: String,
    pub decided_by: String,
    pub roles: Vec<String>,
    pub kinds: Vec<String>,
    pub routes: Vec<Route>,
    pub words: Vec<String>,
    pub areas: Vec<AreaCode>,
    area_numbers: HashMap<u64, u16>,
    pub places: Vec<Place>,
    pub recipients: Vec<Recipient>,
    pub legs: Vec<BookLeg>,
    pub slots: Vec<Slot>,
    /// When a delivery was played or answered, and a recipient answered: few of a million are, so they stand apart.
    crowned: HashMap<u32, Moment>,
    answered: HashMap<u32, Moment>,
    pub hazards: Vec<Hazard>,
    pub calls: Vec<Call>,
    call_numbers: HashMap<u32, u32>,
    pub counters: Vec<AreaCounters>,
    refs: HashMap<RefKey, u32>,
    staging: Vec<StagedPlan>,
    pub plans: u16,
    /// The second choice of channels has been planned.
    pub fallback_planned: bool,
    /// Open deliveries.
    pub open: u32,
    /// Deliveries that may have reached a person twice: sent again after a crash or a lost answer.
    pub repeated: u32,
    /// Rises with every event, so that watchers see a change.
    pub version: u64,
    /// The book lies in a file; what is here is its head alone, without recipients, deliveries and calls.
    pub filed: Option<Box<Filed>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct StagedPlan {
    number: u16,
    at: Timestamp,
    purpose: Purpose,
    #[serde(skip)]
    parts: Vec<PlanPart>,
}

impl Book {
    pub fn new(accepted: Accepted, zero: Timestamp) -> Self {
        let timeline = Timeline {
            issued: Some(zero),
            received: Some(accepted.received),
            accepted: Some(accepted.accepted),
            released: (!accepted.needs_approval).then_some(accepted.accepted),
            ..Timeline::default()
        };
        let state = if accepted.needs_approval { State::Held } else { State::Released };
        Self {
            accepted,
            state,
            timeline,
            zero,
            reason: String::new(),
            decided_by: String::new(),
            roles: Vec::new(),
            kinds: Vec::new(),
            routes: Vec::new(),
            words: vec![String::new()],
            areas: Vec::new(),
            area_numbers: HashMap::new(),
            places: Vec::new(),
            recipients: Vec::new(),
            legs: Vec::new(),
            slots: Vec::new(),
            crowned: HashMap::new(),
            answered: HashMap::new(),
            hazards: Vec::new(),
            calls: Vec::new(),
            call_numbers: HashMap::new(),
            counters: Vec::new(),
            refs: HashMap::new(),
            staging: Vec::new(),
            plans: 0,
            fallback_planned: false,
            open: 0,
            repeated: 0,
            version: 0,
            filed: None,
        }
    }

    /// What packed times count from.
    pub const fn base(&self) -> Timestamp {
        self.accepted.received
    }

    /// How long it waited for a second person; until now while it still does, `None` where it needed none.
    pub fn approval_wait(&self, now: Timestamp) -> Option<std::time::Duration> {
        let waited = self.accepted.needs_approval || self.state == State::Held;
        let until = if self.state == State::Held { Some(now) } else { self.timeline.released.or(self.timeline.completed) };
        until.filter(|_| waited).map(|until| until.since(self.accepted.accepted))
    }

    pub fn time_of(&self, moment: Moment) -> Option<Timestamp> {
        moment.ms().map(|ms| Timestamp::from_ms(self.base().as_ms() + i64::from(ms)))
    }

    /// Milliseconds after the base; before it is 0, after 49 days the last moment.
    pub fn offset_of(&self, at: Timestamp) -> u32 {
        let ms = at.as_ms().saturating_sub(self.base().as_ms()).max(0);
        u32::try_from(ms).unwrap_or(u32::MAX - 1)
    }

    /// When this delivery was played or answered.
    pub fn crowned_at(&self, index: u32) -> Moment {
        self.crowned.get(&index).copied().unwrap_or_default()
    }

    /// When this delivery was confirmed, by the far end or the person.
    pub fn reached_at(&self, index: u32) -> Moment {
        let (delivered, crowned) = (self.slots[index as usize].delivered(), self.crowned_at(index));
        [delivered, crowned].into_iter().filter(|moment| moment.is_set()).min().unwrap_or_default()
    }

    /// When this person answered, by whatever way.
    pub fn answered_at(&self, recipient: u32) -> Moment {
        self.answered.get(&recipient).copied().unwrap_or_default()
    }

    pub fn place_of(&self, recipient: u32) -> Place {
        let after = self.places.partition_point(|place| place.first <= recipient);
        self.places[after.saturating_sub(1)]
    }

    pub fn area_of(&self, recipient: u32) -> AreaCode {
        self.areas[usize::from(self.place_of(recipient).area)]
    }

    pub fn role_of(&self, recipient: u32) -> &str {
        self.roles.get(usize::from(self.place_of(recipient).role)).map_or("", String::as_str)
    }

    pub fn leg_of(&self, index: u32) -> &BookLeg {
        let after = self.legs.partition_point(|leg| leg.first <= index);
        &self.legs[after.saturating_sub(1)]
    }

    pub fn route_of(&self, index: u32) -> &Route {
        &self.routes[usize::from(self.leg_of(index).route)]
    }

    pub fn word(&self, number: u8) -> &str {
        self.words.get(usize::from(number)).map_or("", String::as_str)
    }

    pub fn word_number(&self, word: &str) -> Option<u8> {
        self.words.iter().position(|known| known == word).and_then(|place| u8::try_from(place).ok())
    }

    /// Delivery that an account's own id names.
    pub fn delivery_of_ref(&self, account: &str, provider_ref: &str) -> Option<u32> {
        let account = self.word_number(account)?;
        self.refs.get(&ref_key(account, provider_ref)).copied()
    }

    pub fn call_of(&self, recipient: u32) -> Option<&Call> {
        self.call_numbers.get(&recipient).map(|&number| &self.calls[number as usize])
    }

    /// The recipient that stands for this registry key, looked for in its area first.
    pub fn recipient_of(&self, kind: RecipientKind, key: u32, area: Option<AreaCode>) -> Option<u32> {
        let likely = area.and_then(|code| self.area_numbers.get(&code.padded()).copied());
        let search = |wanted: &dyn Fn(&Place) -> bool| {
            self.places.iter().enumerate().filter(|(_, place)| place.kind == kind && wanted(place)).find_map(|(number, place)| {
                let end = self.places.get(number + 1).map_or(self.recipients.len(), |next| next.first as usize);
                let found = self.recipients[place.first as usize..end].iter().position(|recipient| recipient.key == key)?;
                Some(place.first + u32::try_from(found).ok()?)
            })
        };
        likely.and_then(|likely| search(&|place| place.area == likely)).or_else(|| search(&|_| true))
    }

    /// Deliveries owed to one recipient, in the order they were planned.
    pub fn deliveries_of(&self, recipient: u32) -> impl Iterator<Item = u32> + '_ {
        self.legs.iter().filter_map(move |leg| {
            let slots = &self.slots[leg.first as usize..(leg.first + leg.count) as usize];
            let found = slots.binary_search_by_key(&recipient, |slot| slot.recipient).ok()?;
            Some(leg.first + u32::try_from(found).ok()?)
        })
    }

    /// Whether anything was ever handed to a far end for this recipient.
    pub fn was_told(&self, recipient: u32) -> bool {
        self.deliveries_of(recipient).any(|index| Self::left_us(&self.slots[index as usize]))
    }

    /// A far end has said that it took or brought it.
    pub fn is_out(slot: &Slot) -> bool {
        slot.accepted.is_set() || slot.is_reached()
    }

    pub fn left_us(slot: &Slot) -> bool {
        slot.attempts() > 0 || slot.phase == Phase::InFlight || slot.accepted.is_set() || slot.is_reached()
    }

    /// Plans of which only a part is in the journal: dropped, so that they are made anew.
    pub fn drop_unsealed(&mut self) -> bool {
        let had = !self.staging.is_empty();
        self.staging.clear();
        had
    }
}

// Events.
impl Book {
    pub fn apply_plan(&mut self, part: PlanPart) -> Result<(), Damaged> {
        self.version += 1;
        if self.filed.is_some() {
            // From before the filing, in a replay that began with the head.
            return Ok(());
        }
        match part {
            PlanPart::Open { number, at, purpose } => self.staging = vec![StagedPlan { number, at, purpose, parts: Vec::new() }],
            PlanPart::Seal { number, recipients, deliveries } => {
                let staged = self.staging.pop().filter(|staged| staged.number == number);
                let staged = staged.ok_or(Damaged { what: "plan without a beginning", at: 0 })?;
                let at = staged.at;
                self.take_plan(staged)?;
                self.close_what_came_late(at);
                if (self.recipients.len(), self.slots.len()) != (recipients as usize, deliveries as usize) {
                    return Err(Damaged { what: "plan with a piece missing", at: 0 });
                }
            }
            part => match self.staging.last_mut() {
                Some(staged) => staged.parts.push(part),
                None => return Err(Damaged { what: "piece of a plan without a beginning", at: 0 }),
            },
        }
        Ok(())
    }

    fn take_plan(&mut self, staged: StagedPlan) -> Result<(), Damaged> {
        self.make_room(&staged.parts);
        for part in staged.parts {
            match part {
                PlanPart::Run(run) => self.add_run(&run)?,
                PlanPart::Leg(leg) => self.add_leg(&leg)?,
                PlanPart::Hazard(hazard) => self.hazards.push(hazard),
                PlanPart::Calls(calls) => self.add_calls(&calls, staged.at),
                PlanPart::Open { .. } | PlanPart::Seal { .. } => return Err(Damaged { what: "plan within a plan", at: 0 }),
            }
        }
        self.plans = staged.number.saturating_add(1);
        self.fallback_planned |= staged.purpose == Purpose::Fallback;
        self.timeline.planned.get_or_insert(staged.at);
        // The end of its alert was durable first: who would have been told is known, and nobody is.
        if let Some(kind) = self.ended_as() {
            self.close_open(kind, staged.at, false);
            self.close_calls(staged.at);
        }
        Ok(())
    }

    /// As much as the plan needs: doubling would leave up to as much again unused, of a million deliveries and for as long as they are kept.
    fn make_room(&mut self, parts: &[PlanPart]) {
        let (mut recipients, mut deliveries) = (0, 0);
        for part in parts {
            match part {
                PlanPart::Run(run) => recipients += run.keys.len(),
                PlanPart::Leg(leg) => deliveries += leg.recipients.iter().map(|&(_, count)| count as usize).sum::<usize>(),
                _ => {}
            }
        }
        // Small plans follow (fallback, escalations): a little is left for them, so that not each one moves the whole.
        let room = |held: usize, more: usize| if more > 0 { more + (held + more) / 64 } else { 0 };
        self.recipients.reserve_exact(room(self.recipients.len(), recipients));
        // A count that the plan lies about is refused at its seal; the room asked for is bounded by what the recipients allow.
        let most = LEG_DELIVERIES_MAX.saturating_mul(parts.len());
        self.slots.reserve_exact(room(self.slots.len(), deliveries.min(most)));
    }

    fn add_run(&mut self, run: &Run) -> Result<(), Damaged> {
        let area = self.area_number(run.area)?;
        let role = intern(&mut self.roles, &run.role, WORDS_MAX);
        let first = u32::try_from(self.recipients.len()).map_err(|_| Damaged { what: "recipients", at: 0 })?;
        self.places.push(Place { first, area, kind: run.kind, role });
        let unreachable = |place: usize| run.unreachable.iter().any(|&gap| gap as usize == place);
        for (place, &key) in run.keys.iter().enumerate() {
            let recipient = Recipient {
                key,
                reached: Moment::NEVER,
                open: 0,
                unreachable: !run.unreachable.is_empty() && unreachable(place),
                answered: false,
            };
            self.recipients.push(recipient);
            let share = share_of(&recipient, self.prompt_ms());
            let counters = &mut self.counters[usize::from(area)];
            match run.kind {
                RecipientKind::Person => counters.target_person(role, share),
                RecipientKind::Speaker => counters.devices.targeted += 1,
                RecipientKind::Endpoint => {}
            }
        }
        Ok(())
    }

    fn add_leg(&mut self, leg: &Leg) -> Result<(), Damaged> {
        let kind_word = leg.route.split('/').next().unwrap_or_default();
        let kind = intern(&mut self.kinds, kind_word, WORDS_MAX);
        let route = match self.routes.iter().position(|known| known.word == leg.route) {
            Some(known) => known,
            None => {
                self.routes.push(Route { word: leg.route.clone(), kind });
                self.routes.len() - 1
            }
        };
        let route = u8::try_from(route).map_err(|_| Damaged { what: "routes", at: 0 })?;
        let first = u32::try_from(self.slots.len()).map_err(|_| Damaged { what: "deliveries", at: 0 })?;
        let mut count = 0_u32;
        for &(start, length) in &leg.recipients {
            for recipient in start..start.saturating_add(length) {
                if recipient as usize >= self.recipients.len() {
                    return Err(Damaged { what: "delivery to nobody", at: 0 });
                }
                self.slots.push(Slot::owed_to(recipient));
                self.with_recipient(recipient, |found| found.open = found.open.saturating_add(1));
                let area = self.place_of(recipient).area;
                self.counters[usize::from(area)].deliveries_of(kind)[super::slot::Furthest::Queued as usize] += 1;
                count += 1;
            }
        }
        self.open += count;
        self.legs.push(BookLeg { first, count, route, lane: leg.lane, occasion: leg.occasion });
        Ok(())
    }

    fn add_calls(&mut self, calls: &CallsDue, asked: Timestamp) {
        for &recipient in &calls.recipients {
            // Each person is asked once per alert, whoever they stand in for.
            if self.call_numbers.contains_key(&recipient) || recipient as usize >= self.recipients.len() {
                continue;
            }
            let number = u32::try_from(self.calls.len()).unwrap_or(u32::MAX);
            self.call_numbers.insert(recipient, number);
            self.calls.push(Call {
                recipient,
                asked,
                due: calls.due,
                step: calls.step,
                on_behalf: calls.on_behalf,
                end: End::Open,
                tries: Vec::new(),
            });
        }
    }

    pub fn apply_lease(&mut self, leased: &Leased) {
        self.version += 1;
        if self.filed.is_some() {
            return;
        }
        let account = self.account_number(&leased.account);
        for &(first, count) in &leased.ranges {
            for index in first..first.saturating_add(count).min(u32::try_from(self.slots.len()).unwrap_or(u32::MAX)) {
                self.change(index, |slot| slot.lease(account));
            }
        }
        if self.state == State::Released {
            self.state = State::Dispatching;
        }
        self.timeline.first_sent.get_or_insert(leased.at);
        self.timeline.last_sent = self.timeline.last_sent.max(Some(leased.at));
    }

    pub fn apply_facts(&mut self, facts: &Facts) {
        self.version += 1;
        if self.filed.is_some() {
            return;
        }
        let words: Vec<u8> = facts.words.iter().map(|word| intern(&mut self.words, word, WORDS_MAX)).collect();
        let shift = facts.base.as_ms() - self.base().as_ms();
        for fact in &facts.list {
            if (fact.index as usize) < self.slots.len() {
                self.apply_fact(fact, words.get(usize::from(fact.code)).copied().unwrap_or(0), shift);
            }
        }
    }

    fn apply_fact(&mut self, fact: &Fact, word: u8, shift: i64) {
        let at_ms = u32::try_from((i64::from(fact.at_ms) + shift).max(0)).unwrap_or(u32::MAX - 1);
        if matches!(fact.kind, FactKind::Unknown | FactKind::UnknownNext) {
            self.repeated += 1;
        }
        self.apply_to(fact.index, fact.kind, word, at_ms);
        // Tried when its alert ended, and to be tried again: it is not.
        if self.slots[fact.index as usize].phase == Phase::Pending
            && let Some(kind) = self.ended_as()
        {
            self.apply_to(fact.index, kind, 0, at_ms);
        }
    }

    /// What becomes of deliveries that are still owed.
    const fn ended_as(&self) -> Option<FactKind> {
        match self.state {
            State::Cancelled | State::Rejected => Some(FactKind::Cancelled),
            State::Superseded => Some(FactKind::Suppressed),
            State::Expired => Some(FactKind::Expired),
            State::Held | State::Released | State::Dispatching | State::Completed => None,
        }
    }

    fn apply_to(&mut self, index: u32, kind: FactKind, word: u8, at_ms: u32) {
        self.change(index, |slot| slot.apply(kind, word, at_ms));
        if matches!(kind, FactKind::Played | FactKind::Answered) {
            self.crowned.entry(index).or_default().note(at_ms);
            let recipient = self.slots[index as usize].recipient;
            self.with_recipient(recipient, |found| found.reached.note(at_ms));
        }
    }

    pub fn apply_refs(&mut self, refs: &Refs) {
        self.version += 1;
        if self.filed.is_some() {
            return;
        }
        let account = self.account_number(&refs.account);
        for (index, provider_ref) in &refs.list {
            self.refs.insert(ref_key(account, provider_ref), *index);
        }
    }

    pub fn apply_answer(&mut self, recipient: u32, answer: Answer) {
        self.version += 1;
        if recipient as usize >= self.recipients.len() {
            return;
        }
        let at_ms = self.offset_of(answer.at);
        // An answer through a message proves that message; one by hand proves only the person.
        let through = self.deliveries_of(recipient).filter(|&index| Self::left_us(&self.slots[index as usize])).collect::<Vec<_>>();
        // Rather one that a far end has taken: one that is only tried would count as proven and not be tried again.
        let mut of_kind = through.iter().copied().filter(|&index| self.kinds[usize::from(self.route_of(index).kind)] == answer.via);
        let by_kind = of_kind.clone().find(|&index| Self::is_out(&self.slots[index as usize])).or_else(|| of_kind.next());
        let by_link = if answer.via == "link" { through.first().copied() } else { None };
        if let Some(index) = by_kind.or(by_link) {
            self.apply_to(index, FactKind::Answered, 0, at_ms);
        }
        self.answered.entry(recipient).or_default().note(at_ms);
        self.with_recipient(recipient, |found| {
            found.answered = true;
            found.reached.note(at_ms);
        });
        if let Some(&number) = self.call_numbers.get(&recipient) {
            self.calls[number as usize].answer(answer);
        }
    }

    pub fn apply_vain_call(&mut self, recipient: u32, tried: Try) {
        self.version += 1;
        if let Some(&number) = self.call_numbers.get(&recipient) {
            let tries = &mut self.calls[number as usize].tries;
            if tries.len() < TRIES_MAX {
                tries.push(tried);
            }
        }
    }

    pub fn end_call(&mut self, recipient: u32, end: End) {
        self.version += 1;
        if let Some(&number) = self.call_numbers.get(&recipient) {
            self.calls[number as usize].end_unanswered(end);
        }
    }

    /// Closes what is owed and not yet handed out; what far ends hold keeps waiting for its proof unless `and_awaiting`.
    fn close_open(&mut self, kind: FactKind, at: Timestamp, and_awaiting: bool) {
        let at_ms = self.offset_of(at);
        for index in 0..u32::try_from(self.slots.len()).unwrap_or(u32::MAX) {
            match self.slots[index as usize].phase {
                Phase::Pending => self.apply_to(index, kind, 0, at_ms),
                Phase::AwaitingProof if and_awaiting => self.apply_to(index, FactKind::Unproven, 0, at_ms),
                _ => {}
            }
        }
    }

    /// A plan that reached the journal behind the end of its alert owes nothing to anybody.
    fn close_what_came_late(&mut self, at: Timestamp) {
        let kind = match self.state {
            State::Cancelled | State::Rejected => FactKind::Cancelled,
            State::Superseded => FactKind::Suppressed,
            State::Expired => FactKind::Expired,
            State::Held | State::Released | State::Dispatching | State::Completed => return,
        };
        self.close_open(kind, at, false);
        self.close_calls(at);
    }

    /// A durable Cancel: nothing more leaves.
    pub fn cancel(&mut self, at: Timestamp, by: String, reason: String) {
        self.version += 1;
        self.state = State::Cancelled;
        (self.decided_by, self.reason) = (by, reason);
        self.close_open(FactKind::Cancelled, at, false);
        self.close_calls(at);
    }

    pub fn supersede(&mut self, at: Timestamp) {
        self.version += 1;
        self.state = State::Superseded;
        self.close_open(FactKind::Suppressed, at, false);
        self.close_calls(at);
    }

    /// Past its time: nothing more leaves, and proof is no longer waited for.
    pub fn expire(&mut self, at: Timestamp) {
        self.version += 1;
        if !matches!(self.state, State::Cancelled | State::Superseded | State::Rejected | State::Completed) {
            self.state = State::Expired;
        }
        self.close_open(FactKind::Expired, at, true);
        self.close_calls(at);
    }

    fn close_calls(&mut self, at: Timestamp) {
        for call in &mut self.calls {
            call.end_unanswered(End::Expired { at });
        }
    }

    pub fn release(&mut self, at: Timestamp, by: String) {
        self.version += 1;
        if self.state == State::Held {
            self.state = State::Released;
            self.decided_by = by;
            self.timeline.released = Some(at);
        }
    }

    pub fn reject(&mut self, at: Timestamp, by: String, reason: String) {
        self.version += 1;
        if self.state == State::Held {
            self.state = State::Rejected;
            (self.decided_by, self.reason) = (by, reason);
            self.timeline.completed = Some(at);
        }
    }

    pub fn complete(&mut self, at: Timestamp) {
        self.version += 1;
        if matches!(self.state, State::Released | State::Dispatching) {
            self.state = State::Completed;
        }
        self.timeline.completed.get_or_insert(at);
    }
}

// Bookkeeping: every change of a slot or recipient passes here, so the counters cannot drift.
impl Book {
    fn change(&mut self, index: u32, act: impl FnOnce(&mut Slot)) {
        let kind = self.route_of(index).kind;
        let before = self.slots[index as usize];
        act(&mut self.slots[index as usize]);
        let after = self.slots[index as usize];
        if before == after {
            return;
        }
        let place = self.place_of(after.recipient);
        let is_device = place.kind == RecipientKind::Speaker;
        let counters = &mut self.counters[usize::from(place.area)];
        counters.move_delivery(kind, before.furthest(is_device), after.furthest(is_device));
        if is_device {
            counters.devices.received += u32::from(after.is_reached() && !before.is_reached());
            counters.devices.played += u32::from(after.is_crowned() && !before.is_crowned());
        }
        let closed = before.phase.is_open() && !after.phase.is_open();
        self.open -= u32::from(closed);
        self.with_recipient(after.recipient, |recipient| {
            recipient.open -= u8::from(closed && recipient.open > 0);
            if let Some(ms) = after.delivered().ms() {
                recipient.reached.note(ms);
            }
        });
    }

    fn with_recipient(&mut self, recipient: u32, act: impl FnOnce(&mut Recipient)) {
        let prompt_ms = self.prompt_ms();
        let place = self.place_of(recipient);
        let found = &mut self.recipients[recipient as usize];
        let before = share_of(found, prompt_ms);
        act(found);
        let after = share_of(found, prompt_ms);
        if place.kind == RecipientKind::Person {
            self.counters[usize::from(place.area)].move_person(place.role, before, after);
        }
    }

    /// End of the first ten minutes, in packed time; 0 when they were over before the alert came in.
    fn prompt_ms(&self) -> u32 {
        let end = self.zero.as_ms() + PROMPT_MS - self.base().as_ms();
        u32::try_from(end.max(0)).unwrap_or(u32::MAX)
    }

    fn area_number(&mut self, area: AreaCode) -> Result<u16, Damaged> {
        if let Some(&known) = self.area_numbers.get(&area.padded()) {
            return Ok(known);
        }
        let number = u16::try_from(self.areas.len()).map_err(|_| Damaged { what: "areas", at: 0 })?;
        self.area_numbers.insert(area.padded(), number);
        self.areas.push(area);
        self.counters.push(AreaCounters::default());
        Ok(number)
    }

    fn account_number(&mut self, account: &str) -> u8 {
        intern(&mut self.words, account, WORDS_MAX)
    }

    /// What contradicts the invariants, in words; empty when the book is sound (I2, I5, I6, I11).
    pub fn violations(&self) -> Vec<String> {
        let mut found = Vec::new();
        let tidy = |counters: &[AreaCounters]| counters.iter().map(AreaCounters::trimmed).collect::<Vec<_>>();
        if tidy(&self.counters) != tidy(&self.recount()) {
            found.push("the counters differ from a recount".to_owned());
        }
        let open = self.slots.iter().filter(|slot| slot.phase.is_open()).count();
        if open != self.open as usize {
            found.push(format!("{open} deliveries are open, {} are counted", self.open));
        }
        if self.state.is_over() && self.slots.iter().any(|slot| slot.phase == Phase::Pending) {
            found.push(format!("deliveries are owed though the alert is {}", self.state.name()));
        }
        for call in &self.calls {
            // Not the other way round: who answered unasked may be asked later, in another's place.
            if matches!(call.end, End::Answered(_)) && !self.recipients[call.recipient as usize].answered {
                found.push(format!("call of recipient {} and its answer contradict each other", call.recipient));
            }
        }
        found
    }

    /// The counters made again from nothing but recipients and deliveries (I6).
    pub fn recount(&self) -> Vec<AreaCounters> {
        let mut counters = vec![AreaCounters::default(); self.areas.len()];
        for (number, recipient) in self.recipients.iter().enumerate() {
            let place = self.place_of(u32::try_from(number).unwrap_or(u32::MAX));
            let area = &mut counters[usize::from(place.area)];
            match place.kind {
                RecipientKind::Person => area.target_person(place.role, share_of(recipient, self.prompt_ms())),
                RecipientKind::Speaker => area.devices.targeted += 1,
                RecipientKind::Endpoint => {}
            }
        }
        for (number, slot) in self.slots.iter().enumerate() {
            let place = self.place_of(slot.recipient);
            let is_device = place.kind == RecipientKind::Speaker;
            let kind = self.route_of(u32::try_from(number).unwrap_or(u32::MAX)).kind;
            let area = &mut counters[usize::from(place.area)];
            area.deliveries_of(kind)[slot.furthest(is_device) as usize] += 1;
            if is_device {
                area.devices.received += u32::from(slot.is_reached());
                area.devices.played += u32::from(slot.is_crowned());
            }
        }
        counters
    }
}

fn share_of(recipient: &Recipient, prompt_ms: u32) -> Share {
    let standing = if recipient.reached.is_set() {
        Standing::Reached
    } else if recipient.unreachable {
        Standing::Unreachable
    } else if recipient.open > 0 {
        Standing::Pending
    } else {
        Standing::Failed
    };
    Share { standing, acknowledged: recipient.answered, within_10m: recipient.reached.ms().is_some_and(|ms| ms <= prompt_ms) }
}

/// The word's number; words beyond the bound share the last.
fn intern(words: &mut Vec<String>, word: &str, most: usize) -> u8 {
    let place = words.iter().position(|known| known == word).unwrap_or_else(|| {
        if words.len() < most {
            words.push(word.to_owned());
        }
        words.len() - 1
    });
    u8::try_from(place).unwrap_or(u8::MAX)
}

/// An account and its own id of a message, as 96 bits of their SHA-256: a fifth of the bytes of the text, and no two of a
/// million alike (the chance is about 1 in 10^17).
type RefKey = [u32; 3];

fn ref_key(account: u8, provider_ref: &str) -> RefKey {
    let hash = Sha256::new().chain_update([account]).chain_update(provider_ref).finalize();
    std::array::from_fn(|word| u32::from_le_bytes(std::array::from_fn(|byte| hash[word * 4 + byte])))
}

/// The accepted document holds free JSON, which compact writers cannot read back; it is kept as text.
mod as_json_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error as _, ser::Error as _};

    use super::Accepted;

    pub(super) fn serialize<S: Serializer>(accepted: &Accepted, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&serde_json::to_string(accepted).map_err(S::Error::custom)?)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Accepted, D::Error> {
        let text = String::deserialize(deserializer)?;
        serde_json::from_str(&text).map_err(D::Error::custom)
    }
}

impl Answer {
    pub fn by_hand(at: Timestamp, choice: Choice, via: &str, by: &str, note: &str) -> Self {
        Self { at, choice, via: via.to_owned(), by: by.to_owned(), note: note.to_owned() }
    }
}
