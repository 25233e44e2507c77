//! Owns a loudspeaker: as it is written, and as it is read from a snapshot.

use std::borrow::Cow;

use super::{
    columns::Kind,
    key::SpeakerKey,
    place::Place,
    record::{Cells, Record, SHORT_LETTERS_MAX, place_cells},
    snapshot::Snapshot,
    table::Facts,
};
use crate::area::AreaCode;

/// A loudspeaker as files and JSON write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpeakerRecord {
    pub id: Box<str>,
    pub area: AreaCode,
    pub name: Box<str>,
    pub kind: Box<str>,
    pub place: Option<Place>,
    /// How far it is heard, in metres; 0 when nobody has said.
    pub radius_m: u32,
}

impl Record for SpeakerRecord {
    const KIND: Kind = Kind::Speakers;

    fn read(cells: &mut Cells<'_>) -> Option<Self> {
        let id = cells.id(0);
        let area = cells.area(1);
        let name = cells.text(2, SHORT_LETTERS_MAX);
        let kind = cells.text(3, SHORT_LETTERS_MAX);
        let place = cells.place(4, 5);
        let radius_m = cells.people(6, 0);
        cells.finish(Self { id, area: area?, name, kind, place, radius_m })
    }

    fn cells(&self) -> Vec<Cow<'_, str>> {
        let [lon, lat] = place_cells(self.place);
        vec![
            Cow::Borrowed(&self.id),
            self.area.to_string().into(),
            Cow::Borrowed(&self.name),
            Cow::Borrowed(&self.kind),
            lon,
            lat,
            self.radius_m.to_string().into(),
        ]
    }

    fn id(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.id)
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct SpeakerFacts {
    pub(crate) radius_m: u32,
}

impl Facts for SpeakerFacts {
    const WIDTH: usize = 4;
    const TEXTS: usize = 3;

    fn put(&self, out: &mut Vec<u8>) {
        out.extend(self.radius_m.to_le_bytes());
    }

    fn take(bytes: &[u8]) -> Self {
        Self { radius_m: u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) }
    }
}

impl SpeakerRecord {
    pub(crate) fn texts(&self) -> [&str; SpeakerFacts::TEXTS] {
        [&self.id, &self.name, &self.kind]
    }
}

/// A loudspeaker of a snapshot.
#[derive(Clone, Copy)]
pub struct Speaker<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) position: u32,
}

impl<'a> Speaker<'a> {
    fn text(&self, field: usize) -> &'a str {
        self.snapshot.speaker_table().field(self.position, field)
    }

    pub fn position(&self) -> u32 {
        self.position
    }

    pub fn key(&self) -> SpeakerKey {
        SpeakerKey(self.snapshot.speaker_table().row(self.position).key)
    }

    pub fn id(&self) -> &'a str {
        self.text(0)
    }

    pub fn name(&self) -> &'a str {
        self.text(1)
    }

    pub fn kind(&self) -> &'a str {
        self.text(2)
    }

    pub fn area(&self) -> AreaCode {
        self.snapshot.areas().node(self.snapshot.speaker_table().row(self.position).node).code
    }

    pub fn point(&self) -> Option<Place> {
        self.snapshot.speaker_table().place(self.position)
    }

    pub fn radius_m(&self) -> u32 {
        self.snapshot.speaker_table().row(self.position).facts.radius_m
    }

    pub fn record(&self) -> SpeakerRecord {
        SpeakerRecord {
            id: self.id().into(),
            area: self.area(),
            name: self.name().into(),
            kind: self.kind().into(),
            place: self.point(),
            radius_m: self.radius_m(),
        }
    }
}
