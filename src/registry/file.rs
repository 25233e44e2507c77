//! Owns the registry's file: one snapshot in sections, each with its length and checksum.
//! Refuses to know directories and generations' names; see `store`.
//! Invariant: what does not pass its checksums, or does not hang together, is never read as a snapshot.

use std::io::{self, Read, Write};

use rand::RngExt as _;

use super::{
    place::Place,
    snapshot::{Parts, Snapshot, Words},
    table::{Facts, KeyBook, Retired, Row, Table},
    tree::{AREAS_MAX, AreaNode, AreaTree},
};
use crate::{
    area::AreaCode,
    seal::{SEALED_VERSION, Seal, SealError},
};

/// Eight bytes at the start; the last is the version of the format.
const MAGIC: &[u8; 8] = b"lm-reg\x00\x01";
/// Later versions that are told as such; anything beyond is garbage.
pub(super) const VERSIONS_TOLD: u8 = 9;
/// Of a file whose sections are sealed; a name of its own follows the magic, so that no section passes for another file's.
const NAME_BYTES: usize = 16;

#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("not a registry file of this version")]
    Foreign,
    #[error("written by a newer lastmile; nothing was touched: start the newer program")]
    Newer,
    /// The file may be whole; what opens it is not at hand.
    #[error(transparent)]
    Sealed(SealError),
    #[error("section {section} is cut off")]
    CutOff { section: u32 },
    #[error("section {section} does not match its checksum")]
    Checksum { section: u32 },
    #[error("section {section} does not hang together")]
    Inconsistent { section: u32 },
    #[error("change {frame} of the log is not what was written")]
    Frame { frame: usize },
    #[error("the changes of the log do not fit the generation they were made to: {0}")]
    Unfit(String),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What stands first in a file: enough to go on numbering when the rest is lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks {
    pub(crate) generation: u64,
    /// The next free key per kind: subscribers, speakers, hazard points, endpoints.
    pub(crate) next_keys: [u32; 4],
}

impl Marks {
    pub(crate) fn of(snapshot: &Snapshot) -> Self {
        let next_keys = [
            snapshot.subscriber_table().keys().next,
            snapshot.speaker_table().keys().next,
            snapshot.hazard_table().keys().next,
            snapshot.endpoint_table().keys().next,
        ];
        Self { generation: snapshot.generation(), next_keys }
    }

    /// The farther of both, each number for itself.
    pub(crate) fn newer(self, other: Self) -> Self {
        let mut next_keys = self.next_keys;
        next_keys.iter_mut().zip(other.next_keys).for_each(|(key, other)| *key = other.max(*key));
        Self { generation: self.generation.max(other.generation), next_keys }
    }
}

pub(crate) fn write(snapshot: &Snapshot, seal: Option<&Seal>, out: &mut impl Write) -> io::Result<()> {
    let mut out = Out::begin(out, seal)?;
    let marks = Marks::of(snapshot);
    let mut bytes = marks.generation.to_le_bytes().to_vec();
    marks.next_keys.iter().for_each(|key| bytes.extend(key.to_le_bytes()));
    out.section(&bytes)?;
    out.section(&area_bytes(snapshot.areas()))?;
    let words = serde_json::to_vec(&(&snapshot.words().roles, &snapshot.words().languages))?;
    out.section(&words)?;
    write_table(&mut out, snapshot.subscriber_table())?;
    write_table(&mut out, snapshot.speaker_table())?;
    write_table(&mut out, snapshot.hazard_table())?;
    write_table(&mut out, snapshot.endpoint_table())?;
    out.section(&words_to_bytes(snapshot.by_phone()))
}

/// A file that is being written.
struct Out<'a, W> {
    out: &'a mut W,
    seal: Option<&'a Seal>,
    name: [u8; NAME_BYTES],
    section: u32,
}

impl<'a, W: Write> Out<'a, W> {
    fn begin(out: &'a mut W, seal: Option<&'a Seal>) -> io::Result<Self> {
        let mut magic = *MAGIC;
        let name: [u8; NAME_BYTES] = rand::rng().random();
        if seal.is_some() {
            magic[7] = SEALED_VERSION;
        }
        out.write_all(&magic)?;
        if seal.is_some() {
            out.write_all(&name)?;
        }
        Ok(Self { out, seal, name, section: 0 })
    }

    fn section(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.section += 1;
        let sealed = self.seal.map(|seal| seal.seal(&about(&self.name, self.section), bytes));
        let bytes = sealed.as_deref().unwrap_or(bytes);
        self.out.write_all(&(bytes.len() as u64).to_le_bytes())?;
        self.out.write_all(&crc32fast::hash(bytes).to_le_bytes())?;
        self.out.write_all(bytes)
    }
}

/// What a section is sealed as.
fn about(name: &[u8; NAME_BYTES], section: u32) -> Vec<u8> {
    [b"registry".as_slice(), name, &section.to_le_bytes()].concat()
}

/// Reads a file of `bytes_total` bytes.
pub(crate) fn read<'a>(input: &'a mut impl Read, bytes_total: u64, seal: &Keys<'a>) -> Result<Snapshot, FileError> {
    let mut sections = Sections::open(input, bytes_total, seal)?;
    let marks = sections.marks()?;
    let areas = sections.areas()?;
    let words = sections.words()?;
    let nodes = areas.len();
    let [subscriber_key, speaker_key, hazard_key, endpoint_key] = marks.next_keys;
    let subscribers = sections.table(subscriber_key, nodes)?;
    let speakers = sections.table(speaker_key, nodes)?;
    let hazard_points = sections.table(hazard_key, nodes)?;
    let endpoints = sections.table(endpoint_key, nodes)?;
    let by_phone = sections.numbers()?;
    let parts = Parts { generation: marks.generation, areas, subscribers, speakers, hazard_points, endpoints, words };
    let in_words = |facts: &super::subscriber::SubscriberFacts| {
        usize::from(facts.role) < parts.words.roles.len() && usize::from(facts.language) < parts.words.languages.len()
    };
    let sound = by_phone.iter().all(|&position| position < parts.subscribers.len())
        && parts.subscribers.rows().iter().all(|row| in_words(&row.facts));
    if !sound {
        return Err(sections.inconsistent());
    }
    Ok(Snapshot::with_index(parts, by_phone))
}

/// Only the marks, of a file that may be damaged behind them.
pub(crate) fn read_marks<'a>(input: &'a mut impl Read, bytes_total: u64, seal: &Keys<'a>) -> Result<Marks, FileError> {
    Sections::open(input, bytes_total, seal)?.marks()
}

fn write_table<F: Facts, W: Write>(out: &mut Out<'_, W>, table: &Table<F>) -> io::Result<()> {
    let mut rows = Vec::with_capacity(table.rows().len() * (ROW_HEAD_BYTES + F::WIDTH));
    for row in table.rows() {
        for word in [row.key, row.node, row.text_at] {
            rows.extend(word.to_le_bytes());
        }
        row.facts.put(&mut rows);
    }
    out.section(&rows)?;
    let mut places = Vec::with_capacity(table.places().len() * 8);
    for place in table.places() {
        places.extend(place.lon_e7.to_le_bytes());
        places.extend(place.lat_e7.to_le_bytes());
    }
    out.section(&places)?;
    out.section(table.text().as_bytes())?;
    out.section(&words_to_bytes(table.by_id()))?;
    let retired: Vec<(&str, u32, bool)> = table.keys().retired.iter().map(|(id, gone)| (&**id, gone.key, gone.opted_out)).collect();
    out.section(&serde_json::to_vec(&retired)?)
}

/// Key, node and start of the texts.
const ROW_HEAD_BYTES: usize = 12;

fn words_to_bytes(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn bytes_to_words(bytes: &[u8]) -> impl Iterator<Item = u32> {
    bytes.chunks_exact(4).map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]))
}

fn area_bytes(areas: &AreaTree) -> Vec<u8> {
    let mut bytes = Vec::new();
    for area in areas.iter() {
        let place = area.place.unwrap_or(Place::NOWHERE);
        bytes.extend(area.code.padded().to_le_bytes());
        bytes.extend(place.lon_e7.to_le_bytes());
        bytes.extend(place.lat_e7.to_le_bytes());
        bytes.extend(u32::try_from(area.name.len()).expect("names are checked to be short").to_le_bytes());
        bytes.extend(area.name.as_bytes());
    }
    bytes
}

/// The keys that may open a file, or why there are none.
pub(crate) type Keys<'a> = dyn Fn() -> Result<&'a Seal, SealError> + 'a;

struct Sections<'a, R> {
    input: &'a mut R,
    left: u64,
    section: u32,
    sealed: Option<(&'a Seal, [u8; NAME_BYTES])>,
}

impl<'a, R: Read> Sections<'a, R> {
    fn open(input: &'a mut R, bytes_total: u64, seal: &Keys<'a>) -> Result<Self, FileError> {
        let mut magic = [0; MAGIC.len()];
        if bytes_total < MAGIC.len() as u64 {
            return Err(FileError::CutOff { section: 0 });
        }
        input.read_exact(&mut magic)?;
        if magic[..7] == MAGIC[..7] && (SEALED_VERSION + 1..SEALED_VERSION + VERSIONS_TOLD).contains(&magic[7]) {
            return Err(FileError::Newer);
        }
        let mut left = bytes_total - MAGIC.len() as u64;
        if &magic == MAGIC {
            return Ok(Self { input, left, section: 0, sealed: None });
        }
        if magic[..7] != MAGIC[..7] || magic[7] != SEALED_VERSION {
            return Err(FileError::Foreign);
        }
        let mut name = [0; NAME_BYTES];
        left = left.checked_sub(NAME_BYTES as u64).ok_or(FileError::CutOff { section: 0 })?;
        input.read_exact(&mut name)?;
        let seal = seal().map_err(FileError::Sealed)?;
        Ok(Self { input, left, section: 0, sealed: Some((seal, name)) })
    }

    fn inconsistent(&self) -> FileError {
        FileError::Inconsistent { section: self.section }
    }

    fn next(&mut self) -> Result<Vec<u8>, FileError> {
        const HEAD_BYTES: u64 = 12;
        self.section += 1;
        let cut_off = FileError::CutOff { section: self.section };
        if self.left < HEAD_BYTES {
            return Err(cut_off);
        }
        let (mut len, mut crc) = ([0; 8], [0; 4]);
        self.input.read_exact(&mut len)?;
        self.input.read_exact(&mut crc)?;
        let len = u64::from_le_bytes(len);
        self.left -= HEAD_BYTES;
        // A damaged length must not ask for more memory than the file has bytes.
        if len > self.left {
            return Err(cut_off);
        }
        self.left -= len;
        let mut bytes = vec![0; usize::try_from(len).map_err(|_| FileError::CutOff { section: self.section })?];
        self.input.read_exact(&mut bytes)?;
        if crc32fast::hash(&bytes) != u32::from_le_bytes(crc) {
            return Err(FileError::Checksum { section: self.section });
        }
        match &self.sealed {
            None => Ok(bytes),
            Some((seal, name)) => match seal.open(&about(name, self.section), &bytes) {
                Err(SealError::Spoilt) => Err(FileError::Checksum { section: self.section }),
                opened => opened.map_err(FileError::Sealed),
            },
        }
    }

    fn marks(&mut self) -> Result<Marks, FileError> {
        let bytes = self.next()?;
        let (generation, keys) = bytes.split_first_chunk::<8>().ok_or_else(|| self.inconsistent())?;
        let keys: Vec<u32> = bytes_to_words(keys).collect();
        let next_keys = keys.try_into().map_err(|_| self.inconsistent())?;
        Ok(Marks { generation: u64::from_le_bytes(*generation), next_keys })
    }

    fn areas(&mut self) -> Result<AreaTree, FileError> {
        let bytes = self.next()?;
        let mut nodes = Vec::new();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (node, behind) = read_area(rest).ok_or_else(|| self.inconsistent())?;
            nodes.push(node);
            rest = behind;
        }
        let sorted = nodes.is_sorted_by(|a: &AreaNode, b| a.code < b.code);
        if !sorted || nodes.len() > AREAS_MAX {
            return Err(self.inconsistent());
        }
        Ok(AreaTree::new(nodes))
    }

    fn words(&mut self) -> Result<Words, FileError> {
        let bytes = self.next()?;
        let (roles, languages) = serde_json::from_slice(&bytes).map_err(|_| self.inconsistent())?;
        Ok(Words { roles, languages })
    }

    fn numbers(&mut self) -> Result<Vec<u32>, FileError> {
        let bytes = self.next()?;
        if bytes.len() % 4 != 0 {
            return Err(self.inconsistent());
        }
        Ok(bytes_to_words(&bytes).collect())
    }

    fn table<F: Facts>(&mut self, next_key: u32, nodes: usize) -> Result<Table<F>, FileError> {
        let width = ROW_HEAD_BYTES + F::WIDTH;
        let bytes = self.next()?;
        if bytes.len() % width != 0 {
            return Err(self.inconsistent());
        }
        let row = |bytes: &[u8]| {
            let mut head = bytes_to_words(&bytes[..ROW_HEAD_BYTES]);
            let mut word = || head.next().expect("the head has three words");
            Row { key: word(), node: word(), text_at: word(), facts: F::take(&bytes[ROW_HEAD_BYTES..]) }
        };
        let rows: Vec<Row<F>> = bytes.chunks_exact(width).map(row).collect();
        let coordinates = self.numbers()?;
        let place = |pair: &[u32]| Place { lon_e7: pair[0].cast_signed(), lat_e7: pair[1].cast_signed() };
        let places = coordinates.chunks_exact(2).map(place).collect();
        let text = String::from_utf8(self.next()?).map_err(|_| self.inconsistent())?;
        let by_id = self.numbers()?;
        let bytes = self.next()?;
        let retired: Vec<(Box<str>, u32, bool)> = serde_json::from_slice(&bytes).map_err(|_| self.inconsistent())?;
        let retired = retired.into_iter().map(|(id, key, opted_out)| (id, Retired { key, opted_out })).collect();
        let keys = KeyBook { next: next_key, retired };
        Table::from_parts(rows, places, text, by_id, keys, nodes).ok_or_else(|| self.inconsistent())
    }
}

fn read_area(bytes: &[u8]) -> Option<(AreaNode, &[u8])> {
    let (code, rest) = bytes.split_first_chunk::<8>()?;
    let (lon, rest) = rest.split_first_chunk::<4>()?;
    let (lat, rest) = rest.split_first_chunk::<4>()?;
    let (len, rest) = rest.split_first_chunk::<4>()?;
    let (name, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
    let place = Place { lon_e7: i32::from_le_bytes(*lon), lat_e7: i32::from_le_bytes(*lat) };
    let code = AreaCode::from_padded(u64::from_le_bytes(*code))?;
    let name = std::str::from_utf8(name).ok()?.into();
    Some((AreaNode { code, name, parent: None, place: place.known() }, rest))
}
