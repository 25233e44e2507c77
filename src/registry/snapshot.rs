//! Owns the registry as everybody reads it: one state, complete, never changed, swapped whole.
//! Refuses to know files, imports and who asks.
//! Invariant: records of each kind are sorted by (area, key), so an area is one range of positions; keys outlive snapshots, positions do not.

use std::ops::Range;

use super::{
    columns::Kind,
    endpoint::{Endpoint, EndpointFacts},
    file::Marks,
    ground::Ground,
    hashed::{Moves, hash, same_hash},
    hazard_point::{HazardFacts, HazardPoint},
    key::{EndpointKey, HazardKey, SpeakerKey, SubscriberKey},
    phone::PhoneNumber,
    place::Place,
    speaker::{Speaker, SpeakerFacts},
    subscriber::{ADDRESS_TEXTS, Subscriber, SubscriberFacts},
    table::{Facts, KeyBook, Retired, Table, slice},
    tree::AreaTree,
};
use crate::area::AreaCode;

/// One state of the registry. `Snapshot::default()` is the empty registry of a fresh gateway.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    generation: u64,
    areas: AreaTree,
    subscribers: Table<SubscriberFacts>,
    speakers: Table<SpeakerFacts>,
    hazard_points: Table<HazardFacts>,
    endpoints: Table<EndpointFacts>,
    words: Words,
    by_phone: Vec<u32>,
    ground: Ground,
}

/// The few words that many rows share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Words {
    pub(crate) roles: Vec<Box<str>>,
    pub(crate) languages: Vec<Box<str>>,
}

/// What a snapshot is put together from.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    pub(crate) generation: u64,
    pub(crate) areas: AreaTree,
    pub(crate) subscribers: Table<SubscriberFacts>,
    pub(crate) speakers: Table<SpeakerFacts>,
    pub(crate) hazard_points: Table<HazardFacts>,
    pub(crate) endpoints: Table<EndpointFacts>,
    pub(crate) words: Words,
}

const PHONE_TEXT: usize = ADDRESS_TEXTS[0];

impl Snapshot {
    /// Made from the state before, whose subscribers have moved; `with_index` takes a stored telephone index.
    pub(crate) fn following(old: &Self, parts: Parts, moves: &Moves) -> Self {
        let by_phone = moves.index(&old.by_phone, |position| parts.subscribers.field(position, PHONE_TEXT));
        Self::with_index(parts, by_phone)
    }

    pub(crate) fn with_index(parts: Parts, by_phone: Vec<u32>) -> Self {
        let ground = Ground::new(&parts.areas, &parts.subscribers, &parts.words.roles);
        let Parts { generation, areas, subscribers, speakers, hazard_points, endpoints, words } = parts;
        Self { generation, areas, subscribers, speakers, hazard_points, endpoints, words, by_phone, ground }
    }

    /// Counts the states of the registry; 0 is the empty one.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    pub fn areas(&self) -> &AreaTree {
        &self.areas
    }

    pub fn subscriber_count(&self) -> u32 {
        self.subscribers.len()
    }

    /// Positions of the subscribers at or below an area.
    pub fn subscribers_in(&self, area: AreaCode) -> Range<u32> {
        self.subscribers.range(&self.areas.run(area))
    }

    /// Positions of the subscribers registered at exactly this area.
    pub fn subscribers_at(&self, area: AreaCode) -> Range<u32> {
        self.at(area, |nodes| self.subscribers.range(nodes))
    }

    /// `position` comes from a range or bitmap of this same snapshot.
    pub fn subscriber_at(&self, position: u32) -> Subscriber<'_> {
        debug_assert!(position < self.subscribers.len());
        Subscriber { snapshot: self, position }
    }

    pub fn subscriber(&self, key: SubscriberKey) -> Option<Subscriber<'_>> {
        self.subscriber_position(key).map(|position| self.subscriber_at(position))
    }

    pub fn subscriber_position(&self, key: SubscriberKey) -> Option<u32> {
        self.subscribers.position(key.0)
    }

    pub fn subscriber_by_id(&self, id: &str) -> Option<Subscriber<'_>> {
        self.subscribers.find(id).map(|position| self.subscriber_at(position))
    }

    /// Everybody who gave this number; a family may share one.
    pub fn subscribers_by_phone(&self, phone: &PhoneNumber) -> impl Iterator<Item = Subscriber<'_>> {
        let phone = *phone;
        same_hash(&self.by_phone, hash(phone.expose()), |position| self.subscribers.field(position, PHONE_TEXT))
            .map(|position| self.subscriber_at(position))
            .filter(move |subscriber| subscriber.phone() == Some(phone))
    }

    /// The key of an id that was there once: what was planned for it names that.
    pub fn retired_subscriber(&self, id: &str) -> Option<SubscriberKey> {
        self.subscribers.keys().retired.get(id).map(|gone| SubscriberKey(gone.key))
    }

    pub fn speaker_count(&self) -> u32 {
        self.speakers.len()
    }

    pub fn speakers_in(&self, area: AreaCode) -> Range<u32> {
        self.speakers.range(&self.areas.run(area))
    }

    pub fn speaker_at(&self, position: u32) -> Speaker<'_> {
        debug_assert!(position < self.speakers.len());
        Speaker { snapshot: self, position }
    }

    pub fn speaker(&self, key: SpeakerKey) -> Option<Speaker<'_>> {
        self.speaker_position(key).map(|position| self.speaker_at(position))
    }

    pub fn speaker_position(&self, key: SpeakerKey) -> Option<u32> {
        self.speakers.position(key.0)
    }

    pub fn speaker_by_id(&self, id: &str) -> Option<Speaker<'_>> {
        self.speakers.find(id).map(|position| self.speaker_at(position))
    }

    pub fn endpoint_count(&self) -> u32 {
        self.endpoints.len()
    }

    pub fn endpoints_in(&self, area: AreaCode) -> Range<u32> {
        self.endpoints.range(&self.areas.run(area))
    }

    pub fn endpoints_at(&self, area: AreaCode) -> Range<u32> {
        self.at(area, |nodes| self.endpoints.range(nodes))
    }

    pub fn endpoint_at(&self, position: u32) -> Endpoint<'_> {
        debug_assert!(position < self.endpoints.len());
        Endpoint { snapshot: self, position }
    }

    pub fn endpoint(&self, key: EndpointKey) -> Option<Endpoint<'_>> {
        self.endpoint_position(key).map(|position| self.endpoint_at(position))
    }

    pub fn endpoint_position(&self, key: EndpointKey) -> Option<u32> {
        self.endpoints.position(key.0)
    }

    pub fn endpoint_by_id(&self, id: &str) -> Option<Endpoint<'_>> {
        self.endpoints.find(id).map(|position| self.endpoint_at(position))
    }

    pub fn hazard_point_count(&self) -> u32 {
        self.hazard_points.len()
    }

    pub fn hazard_points_in(&self, area: AreaCode) -> Range<u32> {
        self.hazard_points.range(&self.areas.run(area))
    }

    pub fn hazard_point_at(&self, position: u32) -> HazardPoint<'_> {
        debug_assert!(position < self.hazard_points.len());
        HazardPoint { snapshot: self, position }
    }

    pub fn hazard_point(&self, key: HazardKey) -> Option<HazardPoint<'_>> {
        self.hazard_point_position(key).map(|position| self.hazard_point_at(position))
    }

    pub fn hazard_point_position(&self, key: HazardKey) -> Option<u32> {
        self.hazard_points.position(key.0)
    }

    pub fn hazard_point_by_code(&self, code: &str) -> Option<HazardPoint<'_>> {
        self.hazard_points.find(code).map(|position| self.hazard_point_at(position))
    }

    /// What matching asks first.
    pub fn ground(&self) -> &Ground {
        &self.ground
    }

    /// Own coordinates of a range of subscribers, unknown ones hidden; see [`Place::known`].
    pub(crate) fn subscriber_places(&self, positions: &Range<u32>) -> &[Place] {
        slice(self.subscribers.places(), positions)
    }

    /// Positions of the subscribers registered at exactly the area of this index.
    pub(crate) fn subscribers_of(&self, node: u32) -> Range<u32> {
        self.subscribers.range(&(node..node + 1))
    }

    /// Position, area index and place (its own, else its area's) of every speaker.
    pub(crate) fn speaker_stands(&self) -> impl Iterator<Item = (u32, u32, Option<Place>)> {
        self.stands(&self.speakers)
    }

    /// The same of every hazard point.
    pub(crate) fn hazard_point_stands(&self) -> impl Iterator<Item = (u32, u32, Option<Place>)> {
        self.stands(&self.hazard_points)
    }

    fn stands<F: Facts>(&self, table: &Table<F>) -> impl Iterator<Item = (u32, u32, Option<Place>)> {
        let rows = table.rows().iter().zip(table.places());
        (0..).zip(rows).map(|(position, (row, place))| (position, row.node, place.known().or(self.areas.node(row.node).place)))
    }

    /// Bytes that the snapshot holds on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.subscribers.heap_bytes()
            + self.speakers.heap_bytes()
            + self.hazard_points.heap_bytes()
            + self.endpoints.heap_bytes()
            + 4 * self.by_phone.capacity()
            + self.ground.heap_bytes()
    }

    fn at(&self, area: AreaCode, range: impl Fn(&Range<u32>) -> Range<u32>) -> Range<u32> {
        self.areas.index_of(area).map_or(0..0, |node| range(&(node..node + 1)))
    }

    pub(crate) fn role_word(&self, role: u16) -> &str {
        &self.words.roles[usize::from(role)]
    }

    pub(crate) fn language_tag(&self, language: u8) -> &str {
        &self.words.languages[usize::from(language)]
    }

    pub(crate) fn words(&self) -> &Words {
        &self.words
    }

    pub(crate) fn subscriber_table(&self) -> &Table<SubscriberFacts> {
        &self.subscribers
    }

    pub(crate) fn speaker_table(&self) -> &Table<SpeakerFacts> {
        &self.speakers
    }

    pub(crate) fn hazard_table(&self) -> &Table<HazardFacts> {
        &self.hazard_points
    }

    pub(crate) fn endpoint_table(&self) -> &Table<EndpointFacts> {
        &self.endpoints
    }

    pub(crate) fn by_phone(&self) -> &[u32] {
        &self.by_phone
    }

    /// The same registry as the next state, for changes that touch no record's text.
    pub(crate) fn next_generation(&self) -> Self {
        Self { generation: self.generation + 1, ..self.clone() }
    }

    pub(crate) fn set_opt_outs(&mut self, keys: &[SubscriberKey], opted_out: bool) {
        for key in keys {
            let Some(position) = self.subscribers.position(key.0) else { continue };
            let facts = self.subscribers.row(position).facts;
            self.subscribers.set_facts(position, SubscriberFacts { opted_out, ..facts });
        }
    }

    /// Key of an id of one kind; areas have none.
    pub(crate) fn find(&self, kind: Kind, id: &str) -> Option<u32> {
        fn key<F: Facts>(table: &Table<F>, id: &str) -> Option<u32> {
            table.find(id).map(|position| table.row(position).key)
        }
        match kind {
            Kind::Areas => None,
            Kind::HazardPoints => key(&self.hazard_points, id),
            Kind::Subscribers => key(&self.subscribers, id),
            Kind::Speakers => key(&self.speakers, id),
            Kind::Endpoints => key(&self.endpoints, id),
        }
    }

    pub(crate) fn key_book(&self, kind: Kind) -> Option<&KeyBook> {
        match kind {
            Kind::Areas => None,
            Kind::HazardPoints => Some(self.hazard_points.keys()),
            Kind::Subscribers => Some(self.subscribers.keys()),
            Kind::Speakers => Some(self.speakers.keys()),
            Kind::Endpoints => Some(self.endpoints.keys()),
        }
    }

    /// Keeps the key of an id that is not there for its coming back.
    pub(crate) fn retire(&mut self, kind: Kind, id: &str, key: u32, opted_out: bool) {
        let retired = Retired { key, opted_out };
        match kind {
            Kind::Areas => {}
            Kind::HazardPoints => self.hazard_points.retire(id, retired),
            Kind::Subscribers => self.subscribers.retire(id, retired),
            Kind::Speakers => self.speakers.retire(id, retired),
            Kind::Endpoints => self.endpoints.retire(id, retired),
        }
    }

    pub(crate) fn set_generation(&mut self, generation: u64) {
        self.generation = generation;
    }

    /// Goes on behind the marks of a state that was lost: its generation and its keys are not used again.
    pub(crate) fn skip_to(&mut self, lost: Marks) {
        self.generation = self.generation.max(lost.generation);
        let [subscriber, speaker, hazard_point, endpoint] = lost.next_keys;
        self.subscribers.skip_keys(subscriber);
        self.speakers.skip_keys(speaker);
        self.hazard_points.skip_keys(hazard_point);
        self.endpoints.skip_keys(endpoint);
    }
}
