//! Owns the compact table that every kind of record is kept in: fixed-width rows sorted by (area, key), one text arena, indexes.
//! Refuses to know what the fields mean: each kind says how many it has and what its numbers are.
//! Invariant: a row's position is its place in (area, key) order; ids are unique; a key is never given to a second id.

use std::{collections::BTreeMap, ops::Range};

use super::{
    hashed::{Moves, hash, same_hash},
    place::Place,
    tree::as_usize,
};

/// Rows of one kind: five million households with everybody on duty beside them, and far from the ends of `u32`.
pub(crate) const ROWS_MAX: usize = 6_000_000;

/// Position of what is gone.
pub(crate) const GONE: u32 = u32::MAX;

/// The numbers of one kind's rows, of fixed width on disk.
pub(crate) trait Facts: Copy + PartialEq {
    const WIDTH: usize;
    /// How many texts a row has; the first is the id.
    const TEXTS: usize;
    fn put(&self, out: &mut Vec<u8>);
    fn take(bytes: &[u8]) -> Self;
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Row<F> {
    pub(crate) key: u32,
    /// Index of the area in the tree of the same snapshot.
    pub(crate) node: u32,
    pub(crate) text_at: u32,
    pub(crate) facts: F,
}

/// Which keys are given away: the next free one, and those of removed ids with their opt-out.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeyBook {
    pub(crate) next: u32,
    pub(crate) retired: BTreeMap<Box<str>, Retired>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Retired {
    pub(crate) key: u32,
    pub(crate) opted_out: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Table<F> {
    rows: Vec<Row<F>>,
    /// Own coordinates, `Place::NOWHERE` for none; apart from the rows because matching runs through them all.
    places: Vec<Place>,
    text: String,
    /// Positions by hash of the id.
    by_id: Vec<u32>,
    /// Position of each key ever given.
    by_key: Vec<u32>,
    /// Per tree node the first position at or behind it, and the row count at the end.
    starts: Vec<u32>,
    keys: KeyBook,
}

impl<F> Default for Table<F> {
    fn default() -> Self {
        Self {
            rows: Vec::new(),
            places: Vec::new(),
            text: String::new(),
            by_id: Vec::new(),
            by_key: Vec::new(),
            starts: vec![0],
            keys: KeyBook::default(),
        }
    }
}

/// Where a row of a new table comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source {
    /// Copied from this position of the old table, moved to the entry's node.
    Kept(u32),
    /// The draft with this index.
    Draft(u32),
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) node: u32,
    pub(crate) key: u32,
    pub(crate) source: Source,
}

#[derive(Debug, thiserror::Error)]
#[error("the texts of one kind of record come to more than four gigabytes")]
pub(crate) struct TooMuchText;

impl<F: Facts> Table<F> {
    /// A new table of `entries`; `draft` writes a draft's texts and gives its coordinates and numbers.
    pub(crate) fn build(
        old: &Self,
        mut entries: Vec<Entry>,
        nodes: usize,
        keys: KeyBook,
        mut draft: impl FnMut(u32, &mut String) -> (Place, F),
    ) -> Result<(Self, Moves), TooMuchText> {
        // Kept rows come in order and few others with them: the stable sort finds that out.
        entries.sort_by_key(|entry| (entry.node, entry.key));
        let mut moves = Moves { to: vec![GONE; old.rows.len()], new: Vec::new() };
        let mut rows = Vec::with_capacity(entries.len());
        let mut places = Vec::with_capacity(entries.len());
        let mut text = String::with_capacity(old.text.len());
        for Entry { node, key, source } in entries {
            let text_at = u32::try_from(text.len()).map_err(|_| TooMuchText)?;
            let (place, facts) = match source {
                Source::Kept(position) => {
                    moves.to[position as usize] = count(rows.len());
                    text.push_str(old.blob(position));
                    (old.places[position as usize], old.rows[position as usize].facts)
                }
                Source::Draft(at) => {
                    moves.new.push(count(rows.len()));
                    draft(at, &mut text)
                }
            };
            rows.push(Row { key, node, text_at, facts });
            places.push(place);
        }
        text.shrink_to_fit();
        let mut table = Self { rows, places, text, by_id: Vec::new(), by_key: Vec::new(), starts: Vec::new(), keys };
        table.by_id = moves.index(&old.by_id, |position| table.id(position));
        table.index(nodes);
        Ok((table, moves))
    }

    /// From what a file held; `None` when it does not hang together.
    pub(crate) fn from_parts(
        rows: Vec<Row<F>>,
        places: Vec<Place>,
        text: String,
        by_id: Vec<u32>,
        keys: KeyBook,
        nodes: usize,
    ) -> Option<Self> {
        let sorted = rows.is_sorted_by_key(|row| (row.node, row.key));
        // The texts of a row end where those of the next begin.
        let mut text_at = Some(0);
        let mut in_bounds = |row: &Row<F>| {
            let follows = text_at == Some(row.text_at as usize);
            text_at = whole_blob(&text, row.text_at as usize, F::TEXTS);
            follows && row.key < keys.next && (row.node as usize) < nodes && text_at.is_some()
        };
        let indexed = by_id.len() == rows.len() && by_id.iter().all(|&position| (position as usize) < rows.len());
        let sound = sorted && indexed && places.len() == rows.len() && rows.len() <= ROWS_MAX && rows.iter().all(&mut in_bounds);
        if !sound || keys.retired.values().any(|retired| retired.key >= keys.next) {
            return None;
        }
        let mut table = Self { rows, places, text, by_id, by_key: Vec::new(), starts: Vec::new(), keys };
        table.index(nodes);
        Some(table)
    }

    fn index(&mut self, nodes: usize) {
        self.by_key = vec![GONE; self.keys.next as usize];
        self.starts = Vec::with_capacity(nodes + 1);
        for (position, row) in self.rows.iter().enumerate() {
            self.by_key[row.key as usize] = count(position);
            while self.starts.len() <= row.node as usize {
                self.starts.push(count(position));
            }
        }
        self.starts.resize(nodes + 1, count(self.rows.len()));
    }

    pub(crate) fn len(&self) -> u32 {
        count(self.rows.len())
    }

    pub(crate) fn row(&self, position: u32) -> &Row<F> {
        &self.rows[position as usize]
    }

    pub(crate) fn rows(&self) -> &[Row<F>] {
        &self.rows
    }

    pub(crate) fn places(&self) -> &[Place] {
        &self.places
    }

    pub(crate) fn place(&self, position: u32) -> Option<Place> {
        self.places[position as usize].known()
    }

    /// Positions of the rows in a run of tree nodes.
    pub(crate) fn range(&self, nodes: &Range<u32>) -> Range<u32> {
        self.starts[nodes.start as usize]..self.starts[nodes.end as usize]
    }

    pub(crate) fn position(&self, key: u32) -> Option<u32> {
        self.by_key.get(key as usize).copied().filter(|&position| position != GONE)
    }

    pub(crate) fn find(&self, id: &str) -> Option<u32> {
        same_hash(&self.by_id, hash(id), |position| self.id(position)).find(|&position| self.id(position) == id)
    }

    pub(crate) fn id(&self, position: u32) -> &str {
        self.field(position, 0)
    }

    pub(crate) fn field(&self, position: u32, field: usize) -> &str {
        debug_assert!(field < F::TEXTS);
        let mut at = self.rows[position as usize].text_at as usize;
        for _ in 0..field {
            at = field_range(&self.text, at).end;
        }
        &self.text[field_range(&self.text, at)]
    }

    /// All texts of a row, as they stand in the arena.
    pub(crate) fn blob(&self, position: u32) -> &str {
        let start = self.rows[position as usize].text_at as usize;
        let end = self.rows.get(position as usize + 1).map_or(self.text.len(), |next| next.text_at as usize);
        &self.text[start..end]
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn by_id(&self) -> &[u32] {
        &self.by_id
    }

    pub(crate) fn keys(&self) -> &KeyBook {
        &self.keys
    }

    pub(crate) fn set_facts(&mut self, position: u32, facts: F) {
        self.rows[position as usize].facts = facts;
    }

    pub(crate) fn retire(&mut self, id: &str, retired: Retired) {
        self.keys.retired.insert(id.into(), retired);
    }

    /// Leaves out keys that were given away in a state that is lost.
    pub(crate) fn skip_keys(&mut self, next: u32) {
        self.keys.next = self.keys.next.max(next);
        self.by_key.resize(self.keys.next as usize, GONE);
    }

    /// Bytes held on the heap, for the memory figure.
    pub(crate) fn heap_bytes(&self) -> usize {
        size_of::<Row<F>>() * self.rows.capacity()
            + size_of::<Place>() * self.places.capacity()
            + self.text.capacity()
            + 4 * (self.by_id.capacity() + self.by_key.capacity() + self.starts.capacity())
    }
}

/// Lengths are written in seven-bit characters, so that the arena stays one valid `str`.
const LONG: u8 = 0x7f;
/// Two seven-bit characters behind the mark of a long text.
pub(crate) const TEXT_BYTES_MAX: usize = (1 << 14) - 1;

/// Appends one text with its length.
pub(crate) fn put_text(out: &mut String, text: &str) {
    let len = u32::try_from(text.len()).expect("texts are checked to be short");
    debug_assert!(text.len() <= TEXT_BYTES_MAX);
    if len < u32::from(LONG) {
        out.push(seven_bits(len));
    } else {
        out.push(char::from(LONG));
        out.push(seven_bits(len >> 7));
        out.push(seven_bits(len));
    }
    out.push_str(text);
}

fn seven_bits(number: u32) -> char {
    char::from_u32(number & 0x7f).expect("seven bits are ASCII")
}

/// Where the text that starts at `at` stands, behind its length.
fn field_range(text: &str, at: usize) -> Range<usize> {
    let bytes = text.as_bytes();
    let (start, len) = match bytes[at] {
        LONG => (at + 3, usize::from(bytes[at + 1]) << 7 | usize::from(bytes[at + 2])),
        short => (at + 1, usize::from(short)),
    };
    start..start + len
}

/// Where `texts` whole texts that stand at `at` end: the check that lets reading trust a file that has passed its checksum.
fn whole_blob(text: &str, mut at: usize, texts: usize) -> Option<usize> {
    for _ in 0..texts {
        let header_bytes = if text.as_bytes().get(at) == Some(&LONG) { 3 } else { 1 };
        if at + header_bytes > text.len() {
            return None;
        }
        let range = field_range(text, at);
        text.get(range.clone())?;
        at = range.end;
    }
    Some(at)
}

pub(crate) fn count(rows: usize) -> u32 {
    u32::try_from(rows).expect("a table has at most ROWS_MAX rows")
}

pub(crate) fn slice<'a, T>(all: &'a [T], range: &Range<u32>) -> &'a [T] {
    &all[as_usize(range)]
}
