//! Owns the byte forms that packed events are built of: variable-length numbers, strings, delta-coded key lists.
//! Refuses to know what they mean. Invariant: damaged bytes give `Damaged` with the place, never a panic or a wrong number.

/// What the bytes did not hold, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("damaged event: {what} at byte {at}")]
pub struct Damaged {
    pub what: &'static str,
    pub at: usize,
}

/// LEB128, at most ten bytes.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push((value & 0x7f) as u8);
}

pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_varint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// Signed difference as an unsigned number with small values small.
const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

const fn unzigzag(value: u64) -> i64 {
    ((value >> 1) as i64) ^ -((value & 1) as i64)
}

/// Keys in any order, each as the difference to the one before: one byte each where they rise by one.
pub(crate) fn put_keys(out: &mut Vec<u8>, keys: &[u32]) {
    put_varint(out, keys.len() as u64);
    let mut before = 0_i64;
    for &key in keys {
        put_varint(out, zigzag(i64::from(key) - before));
        before = i64::from(key);
    }
}

/// Reads what the `put_*` functions wrote.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(crate) const fn damaged(&self, what: &'static str) -> Damaged {
        Damaged { what, at: self.at }
    }

    pub(crate) fn take(&mut self, count: usize, what: &'static str) -> Result<&'a [u8], Damaged> {
        let end = self.at.checked_add(count).filter(|&end| end <= self.bytes.len()).ok_or(self.damaged(what))?;
        let piece = &self.bytes[self.at..end];
        self.at = end;
        Ok(piece)
    }

    pub(crate) fn byte(&mut self, what: &'static str) -> Result<u8, Damaged> {
        Ok(self.take(1, what)?[0])
    }

    pub(crate) fn varint(&mut self, what: &'static str) -> Result<u64, Damaged> {
        let mut value = 0_u64;
        for shift in (0..70).step_by(7) {
            let byte = self.byte(what)?;
            let low = u64::from(byte & 0x7f);
            if shift == 63 && low > 1 {
                return Err(self.damaged(what));
            }
            value |= low << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.damaged(what))
    }

    pub(crate) fn varint_u32(&mut self, what: &'static str) -> Result<u32, Damaged> {
        let value = self.varint(what)?;
        u32::try_from(value).map_err(|_| self.damaged(what))
    }

    /// A count of things of at least `each` bytes: never more than the bytes that are left, so no allocation is asked for that cannot be filled.
    pub(crate) fn count(&mut self, each: usize, what: &'static str) -> Result<usize, Damaged> {
        let value = usize::try_from(self.varint(what)?).map_err(|_| self.damaged(what))?;
        if value.saturating_mul(each.max(1)) > self.bytes.len() - self.at {
            return Err(self.damaged(what));
        }
        Ok(value)
    }

    pub(crate) fn text(&mut self, what: &'static str) -> Result<&'a str, Damaged> {
        let length = self.count(1, what)?;
        let bytes = self.take(length, what)?;
        std::str::from_utf8(bytes).map_err(|_| self.damaged(what))
    }

    pub(crate) fn keys(&mut self, what: &'static str) -> Result<Vec<u32>, Damaged> {
        let count = self.count(1, what)?;
        let mut keys = Vec::with_capacity(count);
        let mut before = 0_i64;
        for _ in 0..count {
            before = before.saturating_add(unzigzag(self.varint(what)?));
            keys.push(u32::try_from(before).map_err(|_| self.damaged(what))?);
        }
        Ok(keys)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn keys_and_numbers_read_back(keys in proptest::collection::vec(any::<u32>(), 0..200), number in any::<u64>(), text in ".{0,40}") {
            let mut bytes = Vec::new();
            put_keys(&mut bytes, &keys);
            put_varint(&mut bytes, number);
            put_text(&mut bytes, &text);
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(reader.keys("keys"), Ok(keys));
            prop_assert_eq!(reader.varint("number"), Ok(number));
            prop_assert_eq!(reader.text("text"), Ok(text.as_str()));
            prop_assert!(reader.take(1, "end").is_err());
        }

        #[test]
        fn any_bytes_are_read_or_refused_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut reader = Reader::new(&bytes);
            let keys = reader.keys("keys");
            let text = reader.text("text").map(str::len);
            prop_assert!(keys.is_ok() || keys.is_err() && text.is_ok() || text.is_err());
        }
    }
}
