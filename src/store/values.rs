//! Owns how entries lie in the values of the ledger: many small ones in one value, a large one over several.
//! Refuses to know sled, files and what entries mean.
//! Invariant: what was packed is unpacked whole and in order, or a fault names the place; a part of an entry is never shown.

use crate::fault::Faults;

/// sled writes a leaf of up to 18 values as one message and puts messages over 131,052 bytes (a quarter of its 512 KiB segment) into
/// blob files that it never syncs. So 18 values and their keys must fit: the leaf is the unit, not the value.
pub(super) const VALUE_BYTES_MAX: usize = 7_000;

/// Family byte, sequence number and part, all big-endian so that keys sort as entries do.
pub(super) const KEY_BYTES: usize = 11;
const FAMILY: u8 = b'j';
const VERSION: u8 = 1;
const PACK: u8 = b'p';
const PART: u8 = b'e';
const HOLE: u8 = b'h';
/// Version, kind, checksum.
const HEAD_BYTES: usize = 6;
/// Number of parts, trail flag, length and checksum of the whole entry.
const PART_HEAD_BYTES: usize = 2 + 1 + 4 + 4;
const CHUNK_BYTES: usize = VALUE_BYTES_MAX - HEAD_BYTES - PART_HEAD_BYTES;
/// Count of a pack, and the longest length prefix of an entry in it.
const PACK_HEAD_BYTES: usize = 2;
const PREFIX_BYTES_MAX: usize = 3;

pub(super) type Key = [u8; KEY_BYTES];

pub(super) fn key(seq: u64, part: u16) -> Key {
    let mut key = [FAMILY; KEY_BYTES];
    key[1..9].copy_from_slice(&seq.to_be_bytes());
    key[9..].copy_from_slice(&part.to_be_bytes());
    key
}

/// Sequence number and part of a key of this family.
pub(super) fn read_key(key: &[u8]) -> Option<(u64, u16)> {
    let key: &Key = key.try_into().ok()?;
    let (seq, part) = (key[1..9].try_into().ok()?, key[9..].try_into().ok()?);
    (key[0] == FAMILY).then_some((u64::from_be_bytes(seq), u16::from_be_bytes(part)))
}

/// Packs entries into values; numbers them from `next`.
pub(super) struct Packer {
    values: Vec<(Key, Vec<u8>)>,
    pack: Vec<u8>,
    count: u16,
    first: u64,
    next: u64,
}

impl Packer {
    pub(super) fn new(next: u64) -> Self {
        Self { values: Vec::new(), pack: Vec::new(), count: 0, first: next, next }
    }

    pub(super) fn next(&self) -> u64 {
        self.next
    }

    pub(super) fn add(&mut self, bytes: &[u8], trail: bool) {
        if HEAD_BYTES + PACK_HEAD_BYTES + PREFIX_BYTES_MAX + bytes.len() > VALUE_BYTES_MAX {
            self.add_in_parts(bytes, trail);
        } else {
            self.add_to_pack(bytes, trail);
        }
        self.next += 1;
    }

    fn add_to_pack(&mut self, bytes: &[u8], trail: bool) {
        let full = HEAD_BYTES + PACK_HEAD_BYTES + self.pack.len() + PREFIX_BYTES_MAX + bytes.len() > VALUE_BYTES_MAX;
        if full || self.count == u16::MAX {
            self.close_pack();
        }
        if self.count == 0 {
            self.first = self.next;
        }
        let mut prefix = (bytes.len() << 1) | usize::from(trail);
        while prefix >= 0x80 {
            self.pack.push(low_byte(prefix) | 0x80);
            prefix >>= 7;
        }
        self.pack.push(low_byte(prefix));
        self.pack.extend_from_slice(bytes);
        self.count += 1;
    }

    fn add_in_parts(&mut self, bytes: &[u8], trail: bool) {
        self.close_pack();
        let of = u16::try_from(bytes.len().div_ceil(CHUNK_BYTES)).expect("ENTRY_BYTES_MAX is under 65,535 chunks");
        let length = u32::try_from(bytes.len()).expect("ENTRY_BYTES_MAX is under 4 GiB");
        let whole = crc32fast::hash(bytes);
        for (part, chunk) in (0..of).zip(bytes.chunks(CHUNK_BYTES)) {
            let mut body = Vec::with_capacity(PART_HEAD_BYTES + chunk.len());
            body.extend_from_slice(&of.to_le_bytes());
            body.push(u8::from(trail));
            body.extend_from_slice(&length.to_le_bytes());
            body.extend_from_slice(&whole.to_le_bytes());
            body.extend_from_slice(chunk);
            self.values.push(seal(key(self.next, part), PART, &body));
        }
    }

    /// Says that the numbers up to `last` are not used: lost in damage, or never acknowledged.
    pub(super) fn hole_up_to(&mut self, last: u64) {
        self.close_pack();
        self.values.push(seal(key(self.next, 0), HOLE, &last.to_le_bytes()));
        self.next = last + 1;
    }

    fn close_pack(&mut self) {
        if self.count > 0 {
            let mut body = Vec::with_capacity(PACK_HEAD_BYTES + self.pack.len());
            body.extend_from_slice(&self.count.to_le_bytes());
            body.append(&mut self.pack);
            self.values.push(seal(key(self.first, 0), PACK, &body));
            self.count = 0;
        }
    }

    /// What is ready so far, the open pack included.
    pub(super) fn take(&mut self) -> Vec<(Key, Vec<u8>)> {
        self.close_pack();
        std::mem::take(&mut self.values)
    }
}

fn low_byte(number: usize) -> u8 {
    number.to_le_bytes()[0] & 0x7f
}

fn seal(key: Key, kind: u8, body: &[u8]) -> (Key, Vec<u8>) {
    let mut value = Vec::with_capacity(HEAD_BYTES + body.len());
    value.extend_from_slice(&[VERSION, kind]);
    value.extend_from_slice(&checksum(&key, kind, body).to_le_bytes());
    value.extend_from_slice(body);
    (key, value)
}

/// The key is under the checksum too, so that a value under another's key is found.
fn checksum(key: &[u8], kind: u8, body: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(key);
    crc.update(&[VERSION, kind]);
    crc.update(body);
    crc.finalize()
}

/// What stands in the journal.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found<'a> {
    Entry { seq: u64, trail: bool, bytes: &'a [u8] },
    Hole { from: u64, to: u64 },
}

/// An entry of which not all parts have been seen.
struct Partial {
    seq: u64,
    of: u16,
    seen: u16,
    trail: bool,
    length: usize,
    whole: u32,
    bytes: Vec<u8>,
}

/// Reads values in key order. Faults are collected and reading goes on behind them, so that a rebuild saves all that is whole.
pub(super) struct Unpacker {
    place: String,
    next: Option<u64>,
    partial: Option<Partial>,
    pub(super) faults: Faults,
}

impl Unpacker {
    /// `next`: the number that must come first, if that is known. `place` goes before the faults.
    pub(super) fn new(place: impl Into<String>, next: Option<u64>) -> Self {
        Self { place: place.into(), next, partial: None, faults: Faults::default() }
    }

    /// The number after the last that was read whole.
    pub(super) fn next(&self) -> Option<u64> {
        self.next
    }

    /// An entry whose last parts are missing at the end of what was fed, and how many parts it has: the trace of a crash.
    pub(super) fn torn(&self) -> Option<(u64, u16)> {
        self.partial.as_ref().map(|partial| (partial.seq, partial.seen))
    }

    pub(super) fn feed<E>(&mut self, key: &[u8], value: &[u8], sink: &mut impl FnMut(Found<'_>) -> Result<(), E>) -> Result<(), E> {
        let Some((seq, part)) = read_key(key) else {
            self.fault("bad-key", format!("key {key:02x?} is none of the journal's"));
            return Ok(());
        };
        let Some((kind, body)) = open(key, value) else {
            self.fault("bad-value", format!("value of entry {seq}, part {part}, does not match its checksum"));
            return Ok(());
        };
        if part == 0 && !self.arrive_at(seq) {
            return Ok(());
        }
        match kind {
            PACK => self.unpack(seq, body, sink),
            PART => self.join(seq, part, body, sink),
            _ => self.skip_hole(seq, body, sink),
        }
    }

    /// Checks that `seq` is what must come; false if it has been read already.
    fn arrive_at(&mut self, seq: u64) -> bool {
        if let Some(partial) = self.partial.take() {
            self.fault("entry-torn", format!("entry {} has {} parts of {}", partial.seq, partial.seen, partial.of));
        }
        match self.next {
            Some(next) if seq < next => {
                self.fault("sequence-back", format!("entry {seq} stands after entry {}", next - 1));
                return false;
            }
            Some(next) if seq > next => self.fault("sequence-gap", format!("entries {next} to {} are missing", seq - 1)),
            _ => {}
        }
        self.next = Some(seq);
        true
    }

    fn unpack<E>(&mut self, first: u64, body: &[u8], sink: &mut impl FnMut(Found<'_>) -> Result<(), E>) -> Result<(), E> {
        let Some((count, mut rest)) = body.split_first_chunk().map(|(count, rest)| (u16::from_le_bytes(*count), rest)) else {
            self.fault("bad-value", format!("pack {first} has no count"));
            return Ok(());
        };
        for seq in first..first + u64::from(count) {
            let Some((trail, bytes, behind)) = split_entry(rest) else {
                self.fault("bad-value", format!("pack {first} ends inside entry {seq}"));
                return Ok(());
            };
            sink(Found::Entry { seq, trail, bytes })?;
            self.next = Some(seq + 1);
            rest = behind;
        }
        Ok(())
    }

    fn join<E>(&mut self, seq: u64, part: u16, body: &[u8], sink: &mut impl FnMut(Found<'_>) -> Result<(), E>) -> Result<(), E> {
        let Some((head, chunk)) = body.split_first_chunk::<PART_HEAD_BYTES>() else {
            self.fault("bad-value", format!("part {part} of entry {seq} has no head"));
            return Ok(());
        };
        if part == 0 {
            let length = u32::from_le_bytes([head[3], head[4], head[5], head[6]]) as usize;
            self.partial = Some(Partial {
                seq,
                of: u16::from_le_bytes([head[0], head[1]]),
                seen: 0,
                trail: head[2] == 1,
                length,
                whole: u32::from_le_bytes([head[7], head[8], head[9], head[10]]),
                bytes: Vec::with_capacity(length.min(super::ENTRY_BYTES_MAX)),
            });
        }
        let Some(mut partial) = self.partial.take_if(|partial| partial.seq == seq && partial.seen == part) else {
            self.fault("entry-torn", format!("part {part} of entry {seq} stands without the parts before it"));
            return Ok(());
        };
        partial.bytes.extend_from_slice(chunk);
        partial.seen += 1;
        if partial.seen < partial.of {
            self.partial = Some(partial);
            return Ok(());
        }
        if partial.bytes.len() != partial.length || crc32fast::hash(&partial.bytes) != partial.whole {
            self.fault("bad-value", format!("the parts of entry {seq} do not match its checksum"));
            return Ok(());
        }
        sink(Found::Entry { seq, trail: partial.trail, bytes: &partial.bytes })?;
        self.next = Some(seq + 1);
        Ok(())
    }

    fn skip_hole<E>(&mut self, from: u64, body: &[u8], sink: &mut impl FnMut(Found<'_>) -> Result<(), E>) -> Result<(), E> {
        match body.try_into().map(u64::from_le_bytes) {
            Ok(to) if to >= from && to < u64::MAX => {
                sink(Found::Hole { from, to })?;
                self.next = Some(to + 1);
            }
            _ => self.fault("bad-value", format!("hole {from} has no end")),
        }
        Ok(())
    }

    fn fault(&mut self, rule: &'static str, message: String) {
        self.faults.add(self.place.as_str(), rule, message);
    }
}

/// Kind and body of a value that is whole.
fn open<'a>(key: &[u8], value: &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (head, body) = value.split_first_chunk::<HEAD_BYTES>()?;
    let [version, kind, crc @ ..] = *head;
    let known = version == VERSION && [PACK, PART, HOLE].contains(&kind);
    (known && u32::from_le_bytes(crc) == checksum(key, kind, body)).then_some((kind, body))
}

fn split_entry(bytes: &[u8]) -> Option<(bool, &[u8], &[u8])> {
    let (mut prefix, mut at) = (0_usize, 0);
    loop {
        let byte = *bytes.get(at)?;
        prefix |= usize::from(byte & 0x7f) << (7 * at);
        at += 1;
        if byte < 0x80 {
            break;
        }
        if at == PREFIX_BYTES_MAX {
            return None;
        }
    }
    let (entry, rest) = bytes.get(at..)?.split_at_checked(prefix >> 1)?;
    Some((prefix & 1 == 1, entry, rest))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    type Entries = Vec<(u64, bool, Vec<u8>)>;

    fn read(values: &[(Key, Vec<u8>)], next: Option<u64>) -> (Entries, Unpacker) {
        let (mut entries, mut unpacker) = (Vec::new(), Unpacker::new("test", next));
        for (key, value) in values {
            let sink = &mut |found: Found<'_>| {
                if let Found::Entry { seq, trail, bytes } = found {
                    entries.push((seq, trail, bytes.to_vec()));
                }
                Ok::<(), Infallible>(())
            };
            unpacker.feed(key, value, sink).expect("infallible");
        }
        (entries, unpacker)
    }

    fn packed(sizes: &[usize]) -> (Entries, Vec<(Key, Vec<u8>)>) {
        let mut packer = Packer::new(7);
        let mut entries = Vec::new();
        for (index, size) in (0_u8..).zip(sizes) {
            entries.push((packer.next(), index % 3 == 0, vec![index; *size]));
            packer.add(&vec![index; *size], index % 3 == 0);
        }
        (entries, packer.take())
    }

    proptest! {
        #[test]
        fn entries_of_any_size_come_back_whole_and_in_order(sizes in proptest::collection::vec(prop_oneof![0..40_usize, 6_900..7_100_usize, 0..300_000_usize], 0..40)) {
            let (entries, values) = packed(&sizes);
            prop_assert!(values.iter().all(|(_, value)| value.len() <= VALUE_BYTES_MAX));
            prop_assert!(values.is_sorted());
            let (found, unpacker) = read(&values, Some(7));
            prop_assert!(found == entries);
            prop_assert!(unpacker.faults.is_empty() && unpacker.torn().is_none());
        }

        #[test]
        fn a_flipped_bit_is_a_fault_and_never_another_entry(at in any::<prop::sample::Index>(), bit in 0..8_u32) {
            let (entries, mut values) = packed(&[10, 20_000, 30, 0]);
            let value = at.index(values.len());
            let byte = at.index(values[value].1.len());
            values[value].1[byte] ^= 1 << bit;
            let (found, unpacker) = read(&values, Some(7));
            prop_assert!(!unpacker.faults.is_empty() || unpacker.torn().is_some());
            prop_assert!(found.iter().all(|entry| entries.contains(entry)));
        }

        #[test]
        fn reading_garbage_never_panics(key in proptest::collection::vec(any::<u8>(), 0..14), value in proptest::collection::vec(any::<u8>(), 0..60)) {
            read(&[(super::key(1, 0), value.clone())], None);
            let mut unpacker = Unpacker::new("test", None);
            unpacker.feed(&key, &value, &mut |_| Ok::<(), Infallible>(())).expect("infallible");
        }
    }

    #[test]
    fn a_leaf_of_eighteen_values_stays_below_the_size_that_goes_to_blob_files() {
        const { assert!(18 * (VALUE_BYTES_MAX + KEY_BYTES + 8) < 131_052 - 32) }
    }

    #[test]
    fn an_entry_without_its_last_parts_is_torn_and_not_shown() {
        let (_, mut values) = packed(&[5, 50_000]);
        values.pop();
        let (found, unpacker) = read(&values, Some(7));
        assert_eq!(found.len(), 1);
        assert_eq!(unpacker.torn().map(|(seq, _)| seq), Some(8));
        assert_eq!(unpacker.next(), Some(8));
    }

    #[test]
    fn a_missing_value_is_a_gap_and_a_hole_is_none() {
        let mut packer = Packer::new(1);
        packer.add(b"one", false);
        packer.hole_up_to(9);
        packer.add(b"ten", true);
        let mut values = packer.take();
        let (found, unpacker) = read(&values, Some(1));
        assert!(unpacker.faults.is_empty());
        assert_eq!(found.last().map(|entry| entry.0), Some(10));
        values.remove(1);
        assert_eq!(read(&values, Some(1)).1.faults.into_list()[0].rule, "sequence-gap");
    }
}
