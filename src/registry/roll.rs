//! Owns the roll of one kind during a merge: who stays, who comes, who goes, and by which key.
//! Refuses to know references between kinds: the merge links them with the keys given here.
//! Invariant: an id keeps its key, also after it was away.

use roaring::RoaringBitmap;

use super::{
    columns::Kind,
    endpoint::{EndpointFacts, EndpointRecord},
    hashed::{Moves, hash, same_hash, sorted_by_hash},
    hazard_point::{HazardFacts, HazardPointRecord},
    merge::{Counts, Import, Mode, Placed},
    place::Place,
    record::Record,
    row_faults::RowFaults,
    snapshot::Snapshot,
    speaker::{SpeakerFacts, SpeakerRecord},
    subscriber::{SubscriberFacts, SubscriberRecord},
    table::{Entry, Facts, KeyBook, ROWS_MAX, Retired, Source, Table, TooMuchText, count, put_text},
    tree::AreaTree,
};
use crate::area::AreaCode;

/// A record that a table is built from.
pub(crate) trait Stored: Record {
    type Facts: Facts;
    fn id_text(&self) -> &str;
    fn area(&self) -> AreaCode;
    fn place(&self) -> Option<Place>;
    fn put(&self, out: &mut String);
    /// Whether the row has opted out; only subscribers can.
    fn opted_out(facts: Self::Facts) -> bool;
}

macro_rules! stored {
    ($record:ty, $facts:ty, $id:ident, $place:expr, $opted_out:expr) => {
        impl Stored for $record {
            type Facts = $facts;

            fn id_text(&self) -> &str {
                &self.$id
            }

            fn area(&self) -> AreaCode {
                self.area
            }

            fn place(&self) -> Option<Place> {
                let place: fn(&$record) -> Option<Place> = $place;
                place(self)
            }

            fn put(&self, out: &mut String) {
                for text in self.texts() {
                    put_text(out, text);
                }
            }

            fn opted_out(facts: $facts) -> bool {
                let opted_out: fn($facts) -> bool = $opted_out;
                opted_out(facts)
            }
        }
    };
}

stored!(SubscriberRecord, SubscriberFacts, id, |record| record.place, |facts| facts.opted_out);
stored!(SpeakerRecord, SpeakerFacts, id, |record| record.place, |_| false);
stored!(HazardPointRecord, HazardFacts, code, |record| record.place, |_| false);
stored!(EndpointRecord, EndpointFacts, id, |_| None, |_| false);

pub(crate) struct Context<'a> {
    pub(crate) old: &'a Snapshot,
    pub(crate) import: &'a Import,
    pub(crate) mode: Mode,
    pub(crate) areas: &'a AreaTree,
}

impl Context<'_> {
    fn replaces(&self, kind: Kind) -> bool {
        replaces(self.import, self.mode, kind)
    }
}

pub(crate) fn replaces(import: &Import, mode: Mode, kind: Kind) -> bool {
    mode == Mode::Replace && import.kinds.contains(&kind)
}

/// One kind's records in the state to come.
pub(crate) struct Roll<'a, R: Stored> {
    old: &'a Table<R::Facts>,
    drafts: &'a [Placed<R>],
    entries: Vec<Entry>,
    /// Drafts by the hash of their id: a map of a million takes as much again as their texts.
    named: Vec<u32>,
    /// Per draft: the key, and the old position of the same id.
    keys: Vec<u32>,
    before: Vec<Option<u32>>,
    /// Keys whose records go.
    gone: RoaringBitmap,
    book: KeyBook,
    /// Per draft: whether its area is another than before.
    moved: Vec<bool>,
}

impl<'a, R: Stored> Roll<'a, R> {
    pub(crate) fn new(context: &Context<'a>, old: &'a Table<R::Facts>, drafts: &'a [Placed<R>], faults: &mut RowFaults) -> Self {
        let mut roll = Self {
            old,
            drafts,
            entries: Vec::with_capacity(old.len() as usize + drafts.len()),
            named: sorted_by_hash((0..).take(drafts.len()), |at| drafts[at as usize].record.id_text()),
            keys: Vec::with_capacity(drafts.len()),
            before: Vec::with_capacity(drafts.len()),
            gone: RoaringBitmap::new(),
            book: old.keys().clone(),
            moved: Vec::with_capacity(drafts.len()),
        };
        roll.name_doubles(context, faults);
        for (at, placed) in (0..).zip(drafts) {
            roll.take_draft(context, at, placed, faults);
        }
        roll.keep_others(context, faults);
        if roll.entries.len() > ROWS_MAX {
            faults.add("", "too-many-rows", format!("more than {ROWS_MAX} {}", R::KIND.name()));
        }
        roll
    }

    /// Every draft whose id an earlier one has, in the order of the file.
    fn name_doubles(&self, context: &Context<'a>, faults: &mut RowFaults) {
        let id = |at: u32| self.drafts[at as usize].record.id_text();
        let id_column = R::KIND.columns()[0].name;
        let mut doubles = Vec::new();
        for (nth, &at) in self.named.iter().enumerate() {
            let wanted = hash(id(at));
            let mut before = self.named[..nth].iter().rev().copied().take_while(|&first| hash(id(first)) == wanted);
            doubles.extend(before.find(|&first| id(first) == id(at)).map(|first| (at, first)));
        }
        doubles.sort_unstable();
        for (at, first) in doubles {
            let before = context.import.row(&self.drafts[first as usize]);
            let place = context.import.place(&self.drafts[at as usize], id_column);
            faults.add(place, "duplicate-id", format!("{:?} stands already in {before}", id(at)));
        }
    }

    fn take_draft(&mut self, context: &Context<'a>, at: u32, placed: &Placed<R>, faults: &mut RowFaults) {
        let (id, area) = (placed.record.id_text(), placed.record.area());
        let before = self.old.find(id);
        let key = match before {
            Some(position) => self.old.row(position).key,
            None => self.old.keys().retired.get(id).map_or_else(
                || {
                    self.book.next += 1;
                    self.book.next - 1
                },
                |retired| retired.key,
            ),
        };
        self.book.retired.remove(id);
        self.keys.push(key);
        self.before.push(before);
        self.moved.push(before.is_some_and(|position| area_of(context.old, self.old, position) != area));
        match context.areas.index_of(area) {
            Some(node) => self.entries.push(Entry { node, key, source: Source::Draft(at) }),
            None if context.import.is_unread(Kind::Areas, &area.to_string()) => {}
            None => faults.add(context.import.place(placed, "area"), "unknown-area", format!("{area} is not in the area tree")),
        }
    }

    fn keep_others(&mut self, context: &Context<'a>, faults: &mut RowFaults) {
        let all_go = context.replaces(R::KIND);
        let of_kind = context.import.removed.iter().filter(|(kind, _)| *kind == R::KIND);
        let removed: RoaringBitmap = of_kind.filter_map(|(_, id)| self.old.find(id)).collect();
        let redrafted: RoaringBitmap = self.before.iter().flatten().collect();
        let mut redrafted = redrafted.iter().peekable();
        // Rows come sorted by area, so each area is looked up once.
        let mut last: Option<(u32, Option<u32>)> = None;
        for position in 0..self.old.len() {
            if redrafted.next_if_eq(&position).is_some() {
                continue;
            }
            let row = self.old.row(position);
            if all_go || (!removed.is_empty() && removed.contains(position)) {
                let retired = Retired { key: row.key, opted_out: R::opted_out(row.facts) };
                self.book.retired.insert(self.old.id(position).into(), retired);
                self.gone.insert(row.key);
                continue;
            }
            let node = match last {
                Some((old_node, node)) if old_node == row.node => node,
                _ => {
                    let area = context.old.areas().node(row.node).code;
                    let node = context.areas.index_of(area);
                    if node.is_none() {
                        let message = format!("area {area} is to go, but {} are registered there", R::KIND.name());
                        faults.add("", "area-in-use", message);
                    }
                    node
                }
            };
            last = Some((row.node, node));
            if let Some(node) = node {
                self.entries.push(Entry { node, key: row.key, source: Source::Kept(position) });
            }
        }
    }

    pub(crate) fn drafts(&self) -> &'a [Placed<R>] {
        self.drafts
    }

    /// The key of an id in the state to come.
    pub(crate) fn key_of(&self, id: &str) -> Option<u32> {
        let draft_id = |at: u32| self.drafts[at as usize].record.id_text();
        let mut same = same_hash(&self.named, hash(id), draft_id).filter(|&at| draft_id(at) == id);
        let drafted = same.next().map(|at| self.keys[at as usize]);
        drafted.or_else(|| self.old.find(id).map(|position| self.old.row(position).key).filter(|&key| !self.is_gone(key)))
    }

    pub(crate) fn is_gone(&self, key: u32) -> bool {
        self.gone.contains(key)
    }

    pub(crate) fn any_gone(&self) -> bool {
        !self.gone.is_empty()
    }

    /// Old positions of the records that stay as they are.
    pub(crate) fn kept(&self) -> impl Iterator<Item = u32> {
        self.entries.iter().filter_map(|entry| match entry.source {
            Source::Kept(position) => Some(position),
            Source::Draft(_) => None,
        })
    }

    /// Where a draft's id stood before.
    pub(crate) fn before(&self, draft: usize) -> Option<u32> {
        self.before[draft]
    }

    pub(crate) fn retired(&self, id: &str) -> Option<Retired> {
        self.old.keys().retired.get(id).copied()
    }

    /// The table to come, and what has become different; `facts` are the drafts' numbers.
    pub(crate) fn build(self, nodes: usize, facts: &[R::Facts]) -> Result<(Table<R::Facts>, Counts, Moves), TooMuchText> {
        let mut counts = Counts { removed: count(usize::try_from(self.gone.len()).unwrap_or(usize::MAX)), ..Counts::default() };
        let mut scratch = String::new();
        for (at, placed) in self.drafts.iter().enumerate() {
            let Some(position) = self.before[at] else {
                counts.added += 1;
                continue;
            };
            scratch.clear();
            placed.record.put(&mut scratch);
            let same = !self.moved[at]
                && self.old.blob(position) == scratch
                && self.old.place(position) == placed.record.place()
                && self.old.row(position).facts == facts[at];
            if same { counts.unchanged += 1 } else { counts.changed += 1 }
        }
        counts.unchanged += count(self.kept().count());
        let drafts = self.drafts;
        let (table, moves) = Table::build(self.old, self.entries, nodes, self.book, |at, text| {
            let record = &drafts[at as usize].record;
            record.put(text);
            (record.place().unwrap_or(Place::NOWHERE), facts[at as usize])
        })?;
        Ok((table, counts, moves))
    }
}

fn area_of<F: Facts>(old: &Snapshot, table: &Table<F>, position: u32) -> AreaCode {
    old.areas().node(table.row(position).node).code
}
