//! Owns which delivery an account's own id of a message names, a million of them in few bytes each.
//! Refuses to know what a report says. Invariant: taking one more never moves many: whoever folds it holds up every reader of the book.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

use serde::{Deserialize, Serialize, Serializer, ser::SerializeMap as _};
use sha2::{Digest as _, Sha256};

/// An account and its own id of a message, as 96 bits of their SHA-256: a fifth of the bytes of the text, and no two of a
/// million alike (the chance is about 1 in 10^17).
type RefKey = [u32; 3];

/// One map of a million moves all of them for tens of milliseconds when it grows; a part of this many moves a few thousand.
const PARTS: usize = 256;

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(from = "Vec<(RefKey, u32)>")]
pub(super) struct RefIndex {
    /// None, or `PARTS` of them, by the last byte of their keys.
    parts: Vec<Part>,
}

type Part = HashMap<RefKey, u32, BuildHasherDefault<AsItIs>>;

impl RefIndex {
    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    pub(super) fn get(&self, account: u8, provider_ref: &str) -> Option<u32> {
        let key = ref_key(account, provider_ref);
        self.parts.get(part_of(key))?.get(&key).copied()
    }

    pub(super) fn insert(&mut self, account: u8, provider_ref: &str, index: u32) {
        self.put(ref_key(account, provider_ref), index);
    }

    fn put(&mut self, key: RefKey, index: u32) {
        if self.parts.is_empty() {
            self.parts.resize_with(PARTS, Part::default);
        }
        self.parts[part_of(key)].insert(key, index);
    }
}

const fn part_of(key: RefKey) -> usize {
    key[2] as usize % PARTS
}

fn ref_key(account: u8, provider_ref: &str) -> RefKey {
    let hash = Sha256::new().chain_update([account]).chain_update(provider_ref).finalize();
    std::array::from_fn(|word| u32::from_le_bytes(std::array::from_fn(|byte| hash[word * 4 + byte])))
}

/// Kept as one map is, without a copy of a million in between.
impl Serialize for RefIndex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.parts.iter().map(Part::len).sum()))?;
        for (key, index) in self.parts.iter().flatten() {
            map.serialize_entry(key, index)?;
        }
        map.end()
    }
}

impl From<Vec<(RefKey, u32)>> for RefIndex {
    fn from(pairs: Vec<(RefKey, u32)>) -> Self {
        let mut index = Self::default();
        pairs.into_iter().for_each(|(key, delivery)| index.put(key, delivery));
        index
    }
}

/// Keys are bits of a SHA-256 already: their first words are as good a hash as any.
#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn write_u32(&mut self, word: u32) {
        self.0 = self.0.rotate_left(32) ^ u64::from(word);
    }

    /// How many words there are is always the same.
    fn write_usize(&mut self, _: usize) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_finds_its_delivery_before_and_after_it_was_kept() {
        let mut index = RefIndex::default();
        assert!(index.is_empty() && index.get(1, "1").is_none());
        for number in 0..5_000_u32 {
            index.insert(u8::try_from(number % 3).expect("small"), &number.to_string(), number);
        }
        let kept = postcard::to_allocvec(&index).expect("kept");
        let map: HashMap<RefKey, u32> = postcard::from_bytes(&kept).expect("as one map is kept");
        assert_eq!(map.len(), 5_000);
        let read: RefIndex = postcard::from_bytes(&kept).expect("read");
        assert_eq!(read, index);
        for number in 0..5_000_u32 {
            assert_eq!(read.get(u8::try_from(number % 3).expect("small"), &number.to_string()), Some(number));
        }
        assert_eq!(read.get(1, "0"), None, "another account's");
    }
}
