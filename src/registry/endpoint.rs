//! Owns an endpoint: a group robot, a mailing list, a duty room; as it is written, and as it is read from a snapshot.
//! Refuses to know what its address means: that is the driver's business, told by `kind`.

use std::borrow::Cow;

use super::{
    columns::Kind,
    key::EndpointKey,
    record::{Cells, LONG_LETTERS_MAX, Record, SHORT_LETTERS_MAX},
    snapshot::Snapshot,
    table::Facts,
};
use crate::area::AreaCode;

/// An endpoint as files and JSON write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointRecord {
    pub id: Box<str>,
    pub area: AreaCode,
    /// Names the driver that understands the address.
    pub kind: Box<str>,
    pub name: Box<str>,
    pub address: Box<str>,
}

const KIND: usize = 2;
/// Letters in a driver's name.
const KIND_LETTERS_MAX: usize = 32;

impl Record for EndpointRecord {
    const KIND: Kind = Kind::Endpoints;

    fn read(cells: &mut Cells<'_>) -> Option<Self> {
        let id = cells.id(0);
        let area = cells.area(1);
        let kind = cells.needed_text(KIND, KIND_LETTERS_MAX);
        if !kind.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_') {
            cells.fault(KIND, "bad-kind", format!("expected the name of a driver in a-z, 0-9 and _, not {kind:?}"));
        }
        let name = cells.text(3, SHORT_LETTERS_MAX);
        let address = cells.needed_text(4, LONG_LETTERS_MAX);
        cells.finish(Self { id, area: area?, kind, name, address })
    }

    fn cells(&self) -> Vec<Cow<'_, str>> {
        vec![
            Cow::Borrowed(&self.id),
            self.area.to_string().into(),
            Cow::Borrowed(&self.kind),
            Cow::Borrowed(&self.name),
            Cow::Borrowed(&self.address),
        ]
    }

    fn id(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.id)
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct EndpointFacts;

impl Facts for EndpointFacts {
    const WIDTH: usize = 0;
    const TEXTS: usize = 4;

    fn put(&self, _: &mut Vec<u8>) {}

    fn take(_: &[u8]) -> Self {
        Self
    }
}

impl EndpointRecord {
    pub(crate) fn texts(&self) -> [&str; EndpointFacts::TEXTS] {
        [&self.id, &self.kind, &self.name, &self.address]
    }
}

/// An endpoint of a snapshot.
#[derive(Clone, Copy)]
pub struct Endpoint<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) position: u32,
}

impl<'a> Endpoint<'a> {
    fn text(&self, field: usize) -> &'a str {
        self.snapshot.endpoint_table().field(self.position, field)
    }

    pub fn position(&self) -> u32 {
        self.position
    }

    pub fn key(&self) -> EndpointKey {
        EndpointKey(self.snapshot.endpoint_table().row(self.position).key)
    }

    pub fn id(&self) -> &'a str {
        self.text(0)
    }

    pub fn kind(&self) -> &'a str {
        self.text(1)
    }

    pub fn name(&self) -> &'a str {
        self.text(2)
    }

    pub fn address(&self) -> &'a str {
        self.text(3)
    }

    pub fn area(&self) -> AreaCode {
        self.snapshot.areas().node(self.snapshot.endpoint_table().row(self.position).node).code
    }

    pub fn record(&self) -> EndpointRecord {
        EndpointRecord {
            id: self.id().into(),
            area: self.area(),
            kind: self.kind().into(),
            name: self.name().into(),
            address: self.address().into(),
        }
    }
}
