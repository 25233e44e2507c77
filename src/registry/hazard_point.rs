//! Owns a registered geological hazard point: as it is written, and as it is read from a snapshot.
//! Invariant: its monitor is a subscriber of the same registry.

use std::borrow::Cow;

use super::{
    columns::Kind,
    key::{HazardKey, SubscriberKey},
    place::Place,
    record::{Cells, LONG_LETTERS_MAX, Record, SHORT_LETTERS_MAX, cell, place_cells},
    snapshot::Snapshot,
    subscriber::Subscriber,
    table::Facts,
};
use crate::area::AreaCode;

/// A hazard point as files and JSON write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HazardPointRecord {
    pub code: Box<str>,
    pub name: Box<str>,
    /// 类型: 滑坡, 崩塌, 泥石流, … or the code of the register's list.
    pub kind: Box<str>,
    pub scale: Box<str>,
    pub area: AreaCode,
    pub place: Option<Place>,
    /// People that it threatens.
    pub people: u32,
    /// Id of the subscriber who watches it.
    pub monitor: Option<Box<str>>,
    pub sign: Box<str>,
    pub alarm: Box<str>,
    pub route: Box<str>,
    pub shelter: Box<str>,
}

const AREA: usize = 4;
pub(crate) const MONITOR: &str = "monitor";

impl Record for HazardPointRecord {
    const KIND: Kind = Kind::HazardPoints;

    fn read(cells: &mut Cells<'_>) -> Option<Self> {
        let code = cells.id(0);
        let name = cells.needed_text(1, SHORT_LETTERS_MAX);
        let kind = cells.text(2, SHORT_LETTERS_MAX);
        let scale = cells.text(3, SHORT_LETTERS_MAX);
        let area = cells.area(AREA);
        let place = cells.place(5, 6);
        let people = cells.people(7, 0);
        let monitor = cells.reference(8);
        let [sign, alarm, route, shelter] = [9, 10, 11, 12].map(|column| cells.text(column, LONG_LETTERS_MAX));
        cells.finish(Self { code, name, kind, scale, area: area?, place, people, monitor, sign, alarm, route, shelter })
    }

    fn cells(&self) -> Vec<Cow<'_, str>> {
        let [lon, lat] = place_cells(self.place);
        vec![
            Cow::Borrowed(&self.code),
            Cow::Borrowed(&self.name),
            Cow::Borrowed(&self.kind),
            Cow::Borrowed(&self.scale),
            self.area.to_string().into(),
            lon,
            lat,
            self.people.to_string().into(),
            cell(self.monitor.as_deref()),
            Cow::Borrowed(&self.sign),
            Cow::Borrowed(&self.alarm),
            Cow::Borrowed(&self.route),
            Cow::Borrowed(&self.shelter),
        ]
    }

    fn id(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.code)
    }
}

/// Numbers of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct HazardFacts {
    pub(crate) people: u32,
    /// `u32::MAX` for none.
    pub(crate) monitor: u32,
}

impl Facts for HazardFacts {
    const WIDTH: usize = 8;
    const TEXTS: usize = 8;

    fn put(&self, out: &mut Vec<u8>) {
        out.extend(self.people.to_le_bytes());
        out.extend(self.monitor.to_le_bytes());
    }

    fn take(bytes: &[u8]) -> Self {
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        Self { people: word(0), monitor: word(4) }
    }
}

impl HazardPointRecord {
    pub(crate) fn texts(&self) -> [&str; HazardFacts::TEXTS] {
        [&self.code, &self.name, &self.kind, &self.scale, &self.sign, &self.alarm, &self.route, &self.shelter]
    }
}

/// A hazard point of a snapshot.
#[derive(Clone, Copy)]
pub struct HazardPoint<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) position: u32,
}

impl<'a> HazardPoint<'a> {
    fn text(&self, field: usize) -> &'a str {
        self.snapshot.hazard_table().field(self.position, field)
    }

    fn facts(&self) -> HazardFacts {
        self.snapshot.hazard_table().row(self.position).facts
    }

    pub fn position(&self) -> u32 {
        self.position
    }

    pub fn key(&self) -> HazardKey {
        HazardKey(self.snapshot.hazard_table().row(self.position).key)
    }

    pub fn code(&self) -> &'a str {
        self.text(0)
    }

    pub fn name(&self) -> &'a str {
        self.text(1)
    }

    pub fn kind(&self) -> &'a str {
        self.text(2)
    }

    pub fn scale(&self) -> &'a str {
        self.text(3)
    }

    pub fn sign(&self) -> &'a str {
        self.text(4)
    }

    pub fn alarm(&self) -> &'a str {
        self.text(5)
    }

    pub fn route(&self) -> &'a str {
        self.text(6)
    }

    pub fn shelter(&self) -> &'a str {
        self.text(7)
    }

    pub fn area(&self) -> AreaCode {
        self.snapshot.areas().node(self.snapshot.hazard_table().row(self.position).node).code
    }

    pub fn point(&self) -> Option<Place> {
        self.snapshot.hazard_table().place(self.position)
    }

    pub fn people(&self) -> u32 {
        self.facts().people
    }

    pub fn monitor_key(&self) -> Option<SubscriberKey> {
        Some(self.facts().monitor).filter(|&key| key != u32::MAX).map(SubscriberKey)
    }

    pub fn monitor(&self) -> Option<Subscriber<'a>> {
        self.snapshot.subscriber(self.monitor_key()?)
    }

    pub fn record(&self) -> HazardPointRecord {
        HazardPointRecord {
            code: self.code().into(),
            name: self.name().into(),
            kind: self.kind().into(),
            scale: self.scale().into(),
            area: self.area(),
            place: self.point(),
            people: self.people(),
            monitor: self.monitor().map(|monitor| monitor.id().into()),
            sign: self.sign().into(),
            alarm: self.alarm().into(),
            route: self.route().into(),
            shelter: self.shelter().into(),
        }
    }
}
