//! A set of documents, one bit each.

/// Documents below `len`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BitSet {
    words: Vec<u64>,
    len: usize,
}

impl BitSet {
    /// The empty set of documents below `len`.
    pub fn new(len: usize) -> Self {
        Self { words: vec![0; len.div_ceil(64)], len }
    }

    /// Those of the documents below `len` that `holds` says.
    pub fn from_fn(len: usize, mut holds: impl FnMut(u32) -> bool) -> Self {
        let mut set = Self::new(len);
        for doc in 0..len {
            set.words[doc / 64] |= u64::from(holds(doc as u32)) << (doc % 64);
        }
        set
    }

    /// One more document.
    pub fn push(&mut self, holds: bool) {
        if self.len.is_multiple_of(64) {
            self.words.push(0);
        }
        self.words[self.len / 64] |= u64::from(holds) << (self.len % 64);
        self.len += 1;
    }

    /// # Panics
    /// If `doc` is not below `len`.
    pub fn set(&mut self, doc: u32, holds: bool) {
        let at = doc as usize;
        assert!(at < self.len, "document {doc} of {}", self.len);
        let bit = 1 << (at % 64);
        self.words[at / 64] = if holds { self.words[at / 64] | bit } else { self.words[at / 64] & !bit };
    }

    /// Adds the documents of another set, and grows to hold them.
    pub fn add_all(&mut self, other: &Self) {
        self.words.resize(self.words.len().max(other.words.len()), 0);
        self.len = self.len.max(other.len);
        self.words.iter_mut().zip(&other.words).for_each(|(word, other)| *word |= other);
    }

    /// Takes out the documents that `keeps` refuses.
    pub fn retain(&mut self, mut keeps: impl FnMut(u32) -> bool) {
        for (block, word) in self.words.iter_mut().enumerate() {
            for bit in ones(*word) {
                let keep = keeps((64 * block + bit) as u32);
                *word &= !(u64::from(!keep) << bit);
            }
        }
    }

    pub fn contains(&self, doc: u32) -> bool {
        holds(&self.words, doc)
    }

    /// How many documents there are, in the set or not.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many documents are in the set.
    pub fn count(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// 64 documents a word, the lowest bit first; bits from `len` on are 0.
    pub fn words(&self) -> &[u64] {
        &self.words
    }
}

pub(crate) fn holds(words: &[u64], doc: u32) -> bool {
    let word = words.get(doc as usize / 64).copied().unwrap_or(0);
    word >> (doc % 64) & 1 == 1
}

/// Positions of the ones of a word, lowest first.
pub(crate) fn ones(mut word: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let bit = (word != 0).then(|| word.trailing_zeros() as usize);
        word &= word.wrapping_sub(1);
        bit
    })
}

#[cfg(test)]
mod tests {
    use super::{BitSet, ones};

    #[test]
    fn a_set_holds_what_was_set_and_not_taken_out() {
        let mut set = BitSet::new(70);
        for doc in [0, 63, 64, 69] {
            set.set(doc, true);
        }
        set.set(63, false);
        assert_eq!((0..100).filter(|doc| set.contains(*doc)).collect::<Vec<_>>(), [0, 64, 69]);
        assert_eq!((set.count(), set.len()), (3, 70));
        assert_eq!(set, BitSet::from_fn(70, |doc| [0, 64, 69].contains(&doc)));
    }

    #[test]
    fn sets_are_added_and_thinned_out() {
        let mut set = BitSet::from_fn(3, |doc| doc == 1);
        set.add_all(&BitSet::from_fn(70, |doc| doc % 23 == 0));
        // 1 of the first; 0, 23, 46 and 69 of the second.
        set.retain(|doc| doc != 23);
        assert_eq!((0..100).filter(|doc| set.contains(*doc)).collect::<Vec<_>>(), [0, 1, 46, 69]);
        assert_eq!(set.len(), 70);
    }

    #[test]
    fn a_set_grows_document_by_document() {
        let mut set = BitSet::default();
        (0..130).for_each(|doc| set.push(doc % 3 == 0));
        assert_eq!(set, BitSet::from_fn(130, |doc| doc % 3 == 0));
    }

    #[test]
    fn ones_come_lowest_first() {
        assert_eq!(ones(0).collect::<Vec<_>>(), [0usize; 0]);
        assert_eq!(ones(1 << 63 | 0b101).collect::<Vec<_>>(), [0, 2, 63]);
        assert_eq!(ones(!0).count(), 64);
    }
}
