//! Owns the indexes by text: positions in the order of their text's hash, made whole or from the one before.
//! Refuses to know what the texts are.
//! Invariant: an index that followed from another finds the same as one that was made anew.

use super::table::GONE;

/// Fewer new rows than one in this many are put into the old index, instead of sorting all again.
const FEW: usize = 8;

/// Where the rows of a table went when the next one was built from it.
#[derive(Debug)]
pub(crate) struct Moves {
    /// New position of each old one.
    pub(crate) to: Vec<u32>,
    /// Positions that are not from the old table, in order.
    pub(crate) new: Vec<u32>,
}

impl Moves {
    /// The index after the moves of `old`; rows without the text stand in neither.
    pub(crate) fn index<'a>(&self, old: &[u32], text: impl Fn(u32) -> &'a str) -> Vec<u32> {
        let has_text = |position: &u32| !text(*position).is_empty();
        let kept = old.iter().map(|&position| self.to[position as usize]).filter(|&position| position != GONE);
        if self.new.len() > self.to.len() / FEW {
            return sorted_by_hash(kept.chain(self.new.iter().copied().filter(has_text)), &text);
        }
        let kept: Vec<u32> = kept.collect();
        let mut index = Vec::with_capacity(kept.len() + self.new.len());
        let mut done = 0;
        for position in sorted_by_hash(self.new.iter().copied().filter(has_text), &text) {
            // Rows of one hash stand in their own order, so that owners of one number are always named alike.
            let wanted = (hash(text(position)), position);
            let before = done + kept[done..].partition_point(|&position| (hash(text(position)), position) < wanted);
            index.extend_from_slice(&kept[done..before]);
            index.push(position);
            done = before;
        }
        index.extend_from_slice(&kept[done..]);
        index
    }
}

/// FNV-1a: small, and the same on every machine, as the sorted index is stored.
pub(crate) fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Positions in the order of their text's hash.
pub(crate) fn sorted_by_hash<'a>(positions: impl Iterator<Item = u32>, text: impl Fn(u32) -> &'a str) -> Vec<u32> {
    let mut hashed: Vec<(u64, u32)> = positions.map(|position| (hash(text(position)), position)).collect();
    hashed.sort_unstable();
    hashed.into_iter().map(|(_, position)| position).collect()
}

/// The run of an index made by `sorted_by_hash` that has one hash; the caller compares the texts.
pub(crate) fn same_hash<'t>(index: &[u32], wanted: u64, text: impl Fn(u32) -> &'t str) -> impl Iterator<Item = u32> {
    let start = index.partition_point(|&position| hash(text(position)) < wanted);
    index[start..].iter().copied().take_while(move |&position| hash(text(position)) == wanted)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_index_that_followed_is_one_made_anew(rows in prop::collection::vec(("[a-c]{0,3}", any::<bool>()), 0..200), new in prop::collection::vec("[a-c]{0,3}", 0..40)) {
            let old_texts: Vec<&str> = rows.iter().map(|(text, _)| text.as_str()).collect();
            let with_text = (0_u32..).zip(&old_texts).filter(|(_, text)| !text.is_empty()).map(|(position, _)| position);
            let old = sorted_by_hash(with_text, |position| old_texts[position as usize]);
            // Every second new one comes first, the others last.
            let (mut texts, mut moves): (Vec<&str>, _) = (Vec::new(), Moves { to: vec![GONE; rows.len()], new: Vec::new() });
            for text in new.iter().step_by(2) {
                moves.new.push(u32::try_from(texts.len()).expect("few"));
                texts.push(text);
            }
            for (to, (text, _)) in moves.to.iter_mut().zip(&rows).filter(|(_, (_, stays))| *stays) {
                *to = u32::try_from(texts.len()).expect("few");
                texts.push(text);
            }
            for text in new.iter().skip(1).step_by(2) {
                moves.new.push(u32::try_from(texts.len()).expect("few"));
                texts.push(text);
            }
            let text = |position: u32| texts[position as usize];
            let index = moves.index(&old, text);
            let all = (0_u32..).take(texts.len()).filter(|&position| !text(position).is_empty());
            let expected: Vec<u32> = all.collect();
            for &position in &expected {
                prop_assert!(same_hash(&index, hash(text(position)), text).any(|found| found == position));
            }
            let expected = sorted_by_hash(expected.into_iter(), text);
            prop_assert_eq!(index, expected);
        }
    }
}
