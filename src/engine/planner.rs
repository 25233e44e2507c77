//! Owns how an audience becomes a plan: recipients by area and role, deliveries by route, answers that are due.
//! Refuses to know storage, texts and clocks; pure on a snapshot, a rule and the routes.
//! Invariant: who is told is exactly the audience under the rule, plus those who were told before and must hear how it ended (I10, I13).

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{
    route::{Route, Routes},
    told_before::{Person, ToldBefore},
};
use crate::{
    area::AreaCode,
    channel::Reach,
    delivery::{
        book::Book,
        coverage::HOUSEHOLD,
        plan::{CallsDue, Hazard, LEG_DELIVERIES_MAX, Lane, Leg, Occasion, PlanPart, Purpose, RUN_RECIPIENTS_MAX, RecipientKind, Run},
    },
    matching::Audience,
    policy::Rule,
    registry::{AddressKind, Snapshot, Subscriber},
    time::Timestamp,
};

/// A plan ready for the journal.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) parts: Vec<PlanPart>,
    pub(crate) recipients: u32,
    pub(crate) deliveries: u32,
    pub(crate) unreachable: u32,
}

/// What of the public an alert goes to: drills leave households alone unless the county has said otherwise, tests public loudspeakers too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Public {
    pub(crate) households: bool,
    pub(crate) speakers: bool,
}

/// What every plan of an alert starts from.
pub(crate) struct Basis<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) routes: &'a Routes,
    pub(crate) rule: &'a Rule,
    pub(crate) now: Timestamp,
    pub(crate) public: Public,
}

/// A new alert, or an Update: the audience is told, and those of `told` who are not in it hear that it is over for them.
pub(crate) fn first(basis: &Basis<'_>, audience: &Audience, told: &ToldBefore) -> Plan {
    let mut draft = Draft::new(basis, 0, 0);
    draft.people(audience, told);
    draft.devices(audience, told);
    draft.endpoints(audience, told);
    draft.not_in_audience(told, Occasion::Gone);
    draft.hazards(audience);
    draft.calls_of_rule();
    draft.finish(0, Purpose::First)
}

/// Whom an alert tells by its own audience and rule; of those who were told before only.
pub(crate) fn tells(basis: &Basis<'_>, audience: &Audience, told: &ToldBefore) -> HashSet<(RecipientKind, u32)> {
    let mut draft = Draft::new(basis, 0, 0);
    draft.people(audience, told);
    draft.devices(audience, told);
    draft.endpoints(audience, told);
    draft.seen.into_keys().collect()
}

/// A Cancel: everyone who was told, by the ways they were told, whatever the registry says now.
pub(crate) fn all_clear(basis: &Basis<'_>, told: &ToldBefore) -> Plan {
    let mut draft = Draft::new(basis, 0, 0);
    draft.not_in_audience(told, Occasion::AllClear);
    draft.finish(0, Purpose::First)
}

/// The second choice of channels, for those whom the first has not reached.
pub(crate) fn fallback(basis: &Basis<'_>, book: &Book) -> Plan {
    let mut draft = Draft::resume(basis, book);
    for (number, recipient) in (0_u32..).zip(&book.recipients) {
        let place = book.place_of(number);
        if recipient.reached.is_set() || place.kind != RecipientKind::Person {
            continue;
        }
        let Some(person) = basis.snapshot.subscriber(crate::registry::SubscriberKey(recipient.key)) else { continue };
        let owed: Vec<&str> = book.deliveries_of(number).map(|index| book.route_of(index).word.as_str()).collect();
        let ways: Vec<u16> =
            ways_among(&person, &draft.then).filter(|&route| !owed.contains(&draft.words[usize::from(route)].as_str())).collect();
        // The same news as by the first choice: for whom it is over it is over by the second, too.
        let occasion = book.deliveries_of(number).next().map_or(Occasion::Warning, |index| book.leg_of(index).occasion);
        for route in ways {
            draft.owe(route, lane_of(person.role()), occasion, number);
        }
    }
    draft.finish(book.plans, Purpose::Fallback)
}

/// Those of a plan who had no way to be told and have one now; of `audience` the devices and groups that the book does not know yet.
pub(crate) fn owed(basis: &Basis<'_>, book: &Book, audience: &Audience) -> Plan {
    let mut draft = Draft::resume(basis, book);
    let mut is_owed = vec![false; book.recipients.len()];
    book.slots.iter().for_each(|slot| is_owed[slot.recipient as usize] = true);
    for ((number, recipient), is_owed) in (0_u32..).zip(&book.recipients).zip(is_owed) {
        if is_owed || recipient.reached.is_set() || book.place_of(number).kind != RecipientKind::Person {
            continue;
        }
        let Some(person) = basis.snapshot.subscriber(crate::registry::SubscriberKey(recipient.key)) else { continue };
        if person.opted_out() {
            continue;
        }
        let mut ways: Vec<u16> = ways_among(&person, &draft.channels).collect();
        if ways.is_empty() {
            ways = ways_among(&person, &draft.then).collect();
        }
        for route in ways {
            draft.owe(route, lane_of(person.role()), Occasion::Warning, number);
        }
    }
    let nobody = ToldBefore::default();
    draft.devices(audience, &nobody);
    draft.endpoints(audience, &nobody);
    draft.finish(book.plans, Purpose::NewWays)
}

/// Whether a plan for this audience would hold any delivery.
pub(crate) fn reaches_somebody(basis: &Basis<'_>, audience: &Audience) -> bool {
    let mut draft = Draft::new(basis, 0, 0);
    let is_told = |position: u32| {
        let person = basis.snapshot.subscriber_at(position);
        let is_meant = basis.rule.roles.includes(person.role()) && (person.role() != HOUSEHOLD || basis.public.households);
        is_meant && !person.opted_out() && ways_among(&person, &draft.channels).chain(ways_among(&person, &draft.then)).next().is_some()
    };
    if audience.subscribers.iter().any(is_told) {
        return true;
    }
    let nobody = ToldBefore::default();
    draft.devices(audience, &nobody);
    draft.endpoints(audience, &nobody);
    draft.recipients > 0
}

/// Those who are asked in another's place: new recipients where the book does not know them yet.
pub(crate) struct Asked {
    pub(crate) silent: u32,
    pub(crate) step: u8,
    pub(crate) due: Timestamp,
    pub(crate) whom: Vec<crate::registry::SubscriberKey>,
}

/// The plan, and for each of `asked` the recipients that its people became.
pub(crate) fn escalation(basis: &Basis<'_>, book: &Book, asked: &[Asked]) -> (Plan, Vec<Vec<u32>>) {
    let mut draft = Draft::resume(basis, book);
    let mut became = Vec::with_capacity(asked.len());
    let mut calls = Vec::new();
    for ask in asked {
        let mut recipients = Vec::new();
        for &key in &ask.whom {
            let Some(person) = basis.snapshot.subscriber(key) else { continue };
            let recipient = draft.known_or_new(&person, book);
            let ways: Vec<u16> = ways_among(&person, &draft.channels).collect();
            for route in ways {
                draft.owe(route, Lane::Act, Occasion::OnBehalf, recipient);
            }
            recipients.push(recipient);
        }
        calls.push(CallsDue { due: ask.due, step: ask.step, recipients: recipients.clone(), on_behalf: Some(ask.silent) });
        became.push(recipients);
    }
    draft.calls = calls;
    (draft.finish(book.plans, Purpose::Escalation), became)
}

/// People who must act before the public.
fn lane_of(role: &str) -> Lane {
    if role == HOUSEHOLD { Lane::Public } else { Lane::Act }
}

pub(crate) fn address_kind(word: &str) -> Option<AddressKind> {
    Some(match word {
        "phone" => AddressKind::Phone,
        "mail" => AddressKind::Mail,
        "wecom" => AddressKind::Wecom,
        "openid" => AddressKind::Openid,
        _ => return None,
    })
}

/// Lane, route (place in `Draft::words`) and occasion: what one leg has in common.
type LegKey = (Lane, u16, Occasion);

/// A route to people, and the address of theirs that it needs.
#[derive(Clone, Copy)]
struct Way {
    route: u16,
    address: AddressKind,
}

#[derive(Default)]
struct OpenLeg {
    recipients: Vec<(u32, u32)>,
    deliveries: usize,
}

struct Draft<'a> {
    basis: &'a Basis<'a>,
    parts: Vec<PlanPart>,
    recipients: u32,
    deliveries: u32,
    unreachable: u32,
    /// Route words, by the number that the draft uses for them.
    words: Vec<String>,
    /// Ways to people by the rule's first and second choice of channels.
    channels: Vec<Way>,
    then: Vec<Way>,
    legs: BTreeMap<LegKey, OpenLeg>,
    full_legs: Vec<Leg>,
    /// Of people who may be called or who monitor a hazard point.
    officers: HashMap<u32, u32>,
    hazard_households: HashMap<u32, Vec<u32>>,
    called: Vec<u32>,
    calls: Vec<CallsDue>,
    seen: HashMap<(RecipientKind, u32), ()>,
    keep_seen: bool,
}

impl<'a> Draft<'a> {
    fn new(basis: &'a Basis<'a>, recipients: u32, deliveries: u32) -> Self {
        let words: Vec<String> = basis.routes.iter().map(|route| route.word.clone()).collect();
        let ways = |kinds: &[String]| ways_of_kinds(basis.routes, kinds);
        Self {
            basis,
            parts: Vec::new(),
            recipients,
            deliveries,
            unreachable: 0,
            words,
            channels: ways(&basis.rule.channels),
            then: ways(&basis.rule.then),
            legs: BTreeMap::new(),
            full_legs: Vec::new(),
            officers: HashMap::new(),
            hazard_households: HashMap::new(),
            called: Vec::new(),
            calls: Vec::new(),
            seen: HashMap::new(),
            keep_seen: false,
        }
    }

    fn resume(basis: &'a Basis<'a>, book: &Book) -> Self {
        let count = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        Self::new(basis, count(book.recipients.len()), count(book.slots.len()))
    }

    fn people(&mut self, audience: &Audience, told: &ToldBefore) {
        self.keep_seen = !told.is_empty();
        let snapshot = self.basis.snapshot;
        let mut group: BTreeMap<&str, Vec<Subscriber<'_>>> = BTreeMap::new();
        let mut current = None;
        for position in &audience.subscribers {
            let person = snapshot.subscriber_at(position);
            let role = person.role();
            let wanted = self.basis.rule.roles.includes(role) && !person.opted_out();
            if !wanted || (role == HOUSEHOLD && !self.basis.public.households) {
                continue;
            }
            if current != Some(person.area()) {
                self.flush(current, &mut group, told);
                current = Some(person.area());
            }
            group.entry(role).or_default().push(person);
        }
        self.flush(current, &mut group, told);
    }

    /// People of one area, by role.
    fn flush(&mut self, area: Option<AreaCode>, group: &mut BTreeMap<&str, Vec<Subscriber<'_>>>, told: &ToldBefore) {
        let Some(area) = area else { return };
        for (role, people) in std::mem::take(group) {
            for people in people.chunks(RUN_RECIPIENTS_MAX) {
                self.run_of_people(area, role, people, told);
            }
        }
    }

    fn run_of_people(&mut self, area: AreaCode, role: &str, people: &[Subscriber<'_>], told: &ToldBefore) {
        let lane = lane_of(role);
        let is_called = self.basis.rule.answer.as_ref().is_some_and(|answer| answer.roles.includes(role));
        let mut keys = Vec::with_capacity(people.len());
        let mut unreachable = Vec::new();
        let mut owed: Vec<(u16, Occasion, u32)> = Vec::with_capacity(people.len());
        for (place, person) in (0_u32..).zip(people) {
            let recipient = self.recipients + place;
            let key = person.key().0;
            keys.push(key);
            let occasion = if told.ways(RecipientKind::Person, key) != 0 { Occasion::Change } else { Occasion::Warning };
            let before = owed.len();
            owed.extend(ways_among(person, &self.channels).map(|route| (route, occasion, recipient)));
            if owed.len() == before {
                // Who has only an address of the second choice is told by it at once.
                owed.extend(ways_among(person, &self.then).map(|route| (route, occasion, recipient)));
            }
            if owed.len() == before {
                unreachable.push(place);
            }
            if lane == Lane::Act {
                self.officers.insert(key, recipient);
            }
            if is_called {
                self.called.push(recipient);
            }
            if let Some(hazard) = person.hazard_point().filter(|_| role == HOUSEHOLD) {
                self.hazard_households.entry(hazard.key().0).or_default().push(recipient);
            }
            if self.keep_seen {
                self.seen.insert((RecipientKind::Person, key), ());
            }
        }
        self.unreachable += u32::try_from(unreachable.len()).unwrap_or(u32::MAX);
        self.add_run(Run { area, kind: RecipientKind::Person, role: role.to_owned(), keys, unreachable });
        for (route, occasion, recipient) in owed {
            self.owe(route, lane, occasion, recipient);
        }
    }

    fn devices(&mut self, audience: &Audience, told: &ToldBefore) {
        if !self.basis.public.speakers {
            return;
        }
        let snapshot = self.basis.snapshot;
        let routes = self.routes_where(&self.basis.rule.channels, |reach| reach == Reach::Speakers);
        let mut by_area: BTreeMap<AreaCode, Vec<u32>> = BTreeMap::new();
        for position in &audience.speakers {
            let speaker = snapshot.speaker_at(position);
            by_area.entry(speaker.area()).or_default().push(speaker.key().0);
        }
        if routes.is_empty() {
            // No loudspeaker channel is asked for: they are not part of the denominator either.
            return;
        }
        for (area, keys) in by_area {
            let first = self.recipients;
            let occasions: Vec<Occasion> = keys.iter().map(|&key| self.occasion_of(RecipientKind::Speaker, key, told)).collect();
            self.add_run(Run { area, kind: RecipientKind::Speaker, role: String::new(), keys, unreachable: Vec::new() });
            for &route in &routes {
                for (recipient, &occasion) in (first..).zip(&occasions) {
                    self.owe(route, Lane::Act, occasion, recipient);
                }
                // One leg an area, so that its devices are leased together and one publish can serve them all.
                self.cut_leg(route);
            }
        }
    }

    fn endpoints(&mut self, audience: &Audience, told: &ToldBefore) {
        let snapshot = self.basis.snapshot;
        for position in &audience.endpoints {
            let endpoint = snapshot.endpoint_at(position);
            let routes =
                self.routes_where(&self.basis.rule.channels, |reach| matches!(reach, Reach::Endpoints(kind) if kind == endpoint.kind()));
            if routes.is_empty() {
                continue;
            }
            let recipient = self.recipients;
            let key = endpoint.key().0;
            let occasion = self.occasion_of(RecipientKind::Endpoint, key, told);
            self.add_run(Run {
                area: endpoint.area(),
                kind: RecipientKind::Endpoint,
                role: String::new(),
                keys: vec![key],
                unreachable: Vec::new(),
            });
            for route in routes {
                self.owe(route, Lane::Act, occasion, recipient);
            }
        }
    }

    fn occasion_of(&mut self, kind: RecipientKind, key: u32, told: &ToldBefore) -> Occasion {
        if self.keep_seen {
            self.seen.insert((kind, key), ());
        }
        if told.ways(kind, key) != 0 { Occasion::Change } else { Occasion::Warning }
    }

    /// Those who were told and are not in this plan yet, by the ways they were told.
    fn not_in_audience(&mut self, told: &ToldBefore, occasion: Occasion) {
        let mut missing = told.people();
        missing.retain(|person| !self.seen.contains_key(&(person.kind, person.key)));
        let mut rest = missing.as_slice();
        while let Some(Person { kind, area, role, .. }) = rest.first() {
            let same = rest.iter().take_while(|other| (&other.kind, &other.area, &other.role) == (kind, area, role)).count();
            let (group, after) = rest.split_at(same.min(RUN_RECIPIENTS_MAX));
            rest = after;
            let first = self.recipients;
            let keys = group.iter().map(|person| person.key).collect();
            self.add_run(Run { area: *area, kind: *kind, role: (*role).to_owned(), keys, unreachable: Vec::new() });
            let lane = if *kind == RecipientKind::Person { lane_of(role) } else { Lane::Act };
            for (route_number, word) in (0_u32..).zip(&told.routes) {
                let route = self.number_of(word);
                for (recipient, person) in (first..).zip(group) {
                    if told.ways(person.kind, person.key) >> route_number & 1 == 1 {
                        self.owe(route, lane, occasion, recipient);
                    }
                }
                if *kind == RecipientKind::Speaker {
                    self.cut_leg(route);
                }
            }
        }
    }

    fn hazards(&mut self, audience: &Audience) {
        let snapshot = self.basis.snapshot;
        for position in &audience.hazard_points {
            let point = snapshot.hazard_point_at(position);
            let monitor = point.monitor_key().and_then(|key| self.officers.get(&key.0).copied());
            let households = self.hazard_households.remove(&point.key().0).unwrap_or_default();
            self.parts.push(PlanPart::Hazard(Hazard { key: point.key().0, area: point.area(), monitor, households }));
        }
    }

    fn calls_of_rule(&mut self) {
        let Some(answer) = &self.basis.rule.answer else { return };
        let due = self.basis.now.plus(answer.within);
        let called = std::mem::take(&mut self.called);
        self.calls = called
            .chunks(RUN_RECIPIENTS_MAX)
            .map(|recipients| CallsDue { due, step: 0, recipients: recipients.to_vec(), on_behalf: None })
            .collect();
    }

    fn known_or_new(&mut self, person: &Subscriber<'_>, book: &Book) -> u32 {
        let key = person.key().0;
        let known = book.recipient_of(RecipientKind::Person, key, Some(person.area())).or_else(|| self.officers.get(&key).copied());
        known.unwrap_or_else(|| {
            let recipient = self.recipients;
            let unreachable = if ways_among(person, &self.channels).next().is_none() { vec![0] } else { Vec::new() };
            self.add_run(Run {
                area: person.area(),
                kind: RecipientKind::Person,
                role: person.role().to_owned(),
                keys: vec![key],
                unreachable,
            });
            self.officers.insert(key, recipient);
            recipient
        })
    }

    /// Routes of the rule's channels that reach what is wanted.
    fn routes_where(&self, kinds: &[String], wanted: impl Fn(Reach) -> bool) -> Vec<u16> {
        let fits = |route: &Route| kinds.iter().any(|kind| kind == route.kind.name()) && wanted(route.reach);
        (0_u16..).zip(self.basis.routes.iter()).filter(|(_, route)| fits(route)).map(|(number, _)| number).collect()
    }

    /// A route of an earlier plan may have no account today; the debt is planned all the same, and an alarm tells of it.
    fn number_of(&mut self, word: &str) -> u16 {
        let place = self.words.iter().position(|known| known == word).unwrap_or_else(|| {
            self.words.push(word.to_owned());
            self.words.len() - 1
        });
        u16::try_from(place).expect("routes are numbered by a byte in every book")
    }

    fn add_run(&mut self, run: Run) {
        self.recipients += u32::try_from(run.keys.len()).unwrap_or(u32::MAX);
        self.parts.push(PlanPart::Run(run));
    }

    fn owe(&mut self, route: u16, lane: Lane, occasion: Occasion, recipient: u32) {
        let key = (lane, route, occasion);
        let leg = self.legs.entry(key).or_default();
        match leg.recipients.last_mut() {
            Some((first, count)) if *first + *count == recipient => *count += 1,
            _ => leg.recipients.push((recipient, 1)),
        }
        leg.deliveries += 1;
        if leg.deliveries >= LEG_DELIVERIES_MAX {
            self.close_leg(key);
        }
    }

    fn close_leg(&mut self, key: LegKey) {
        if let Some(OpenLeg { recipients, .. }) = self.legs.remove(&key) {
            let (lane, route, occasion) = key;
            self.full_legs.push(Leg { route: self.words[usize::from(route)].clone(), lane, occasion, recipients: rising(recipients) });
        }
    }

    /// Ends the open legs of a route.
    fn cut_leg(&mut self, route: u16) {
        let open: Vec<LegKey> = self.legs.keys().filter(|(_, number, _)| *number == route).copied().collect();
        open.into_iter().for_each(|key| self.close_leg(key));
    }

    fn finish(mut self, number: u16, purpose: Purpose) -> Plan {
        let open: Vec<LegKey> = self.legs.keys().copied().collect();
        open.into_iter().for_each(|key| self.close_leg(key));
        let owed: u32 = self.full_legs.iter().flat_map(|leg| &leg.recipients).map(|&(_, count)| count).sum();
        let deliveries = self.deliveries + owed;
        let mut parts = vec![PlanPart::Open { number, at: self.basis.now, purpose }];
        parts.append(&mut self.parts);
        // People who must act stand first, so that even a reader of the journal sees the order of urgency.
        self.full_legs.sort_by_key(|leg| leg.lane);
        parts.extend(self.full_legs.into_iter().map(PlanPart::Leg));
        parts.extend(self.calls.into_iter().filter(|calls| !calls.recipients.is_empty()).map(PlanPart::Calls));
        parts.push(PlanPart::Seal { number, recipients: self.recipients, deliveries });
        Plan { parts, recipients: self.recipients, deliveries, unreachable: self.unreachable }
    }
}

/// Ranges in the order of their numbers, as legs hold them and find by: those who are asked in another's place come in any order.
fn rising(mut ranges: Vec<(u32, u32)>) -> Vec<(u32, u32)> {
    ranges.sort_unstable();
    ranges.dedup_by(|next, before| {
        let is_joined = next.0 <= before.0 + before.1;
        if is_joined {
            before.1 = before.1.max(next.0 + next.1 - before.0);
        }
        is_joined
    });
    ranges
}

fn ways_of_kinds(routes: &Routes, kinds: &[String]) -> Vec<Way> {
    let way = |(number, route): (u16, &std::sync::Arc<Route>)| match route.reach {
        Reach::People(word) if kinds.iter().any(|kind| kind == route.kind.name()) => {
            Some(Way { route: number, address: address_kind(word)? })
        }
        _ => None,
    };
    (0_u16..).zip(routes.iter()).filter_map(way).collect()
}

fn ways_among<'r>(person: &'r Subscriber<'_>, ways: &'r [Way]) -> impl Iterator<Item = u16> + 'r {
    ways.iter().filter(|way| person.address(way.address).is_some()).map(|way| way.route)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_a_leg_rise_in_whatever_order_people_are_asked() {
        assert_eq!(rising(vec![(20, 1), (0, 2), (21, 3), (2, 1)]), [(0, 3), (20, 4)]);
        assert_eq!(rising(vec![(5, 1), (5, 1), (4, 3)]), [(4, 3)], "nobody is owed twice by one leg");
    }
}
