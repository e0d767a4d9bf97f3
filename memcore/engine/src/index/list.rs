//! One term's postings in one part, of one kind: documents in ascending order with the term's occurrences, wherever
//! they lie.
//!
//! Two forms: plain, as two columns, and dense, as one byte per document of the part. A dense list answers "how
//! often in this document?" with one load, which is what pruning asks of frequent terms.

use std::borrow::Cow;
use std::cell::OnceCell;

use super::scorer::Scorer;
use super::sealed::Packed;

/// A list of at least this many postings has a [`Ceiling`].
pub(super) const LONG: usize = if cfg!(test) { 4 } else { 128 };

/// A part of at least this many documents has dense lists, of terms in at least one of [`SPARSE`] documents.
const LARGE: usize = if cfg!(test) { 16 } else { 256 };
const SPARSE: usize = 16;

/// Whether a list is worth a byte per document.
pub(super) fn is_dense(postings: usize, documents: usize) -> bool {
    documents >= LARGE && postings >= LONG && postings * SPARSE >= documents
}

/// Documents and frequencies, of equal length.
#[derive(Default)]
pub(super) struct Columns<'a> {
    pub(super) documents: Cow<'a, [u32]>,
    pub(super) frequencies: Cow<'a, [u32]>,
}

impl Columns<'_> {
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, u32)> {
        self.documents.iter().copied().zip(self.frequencies.iter().copied())
    }

    pub(super) fn frequency(&self, document: u32) -> u32 {
        self.documents.binary_search(&document).map_or(0, |place| self.frequencies[place])
    }
}

/// A term's postings.
pub(super) struct List<'a> {
    /// Postings, those of the dead among them.
    pub(super) postings: usize,
    pub(super) ceiling: Option<&'a Ceiling>,
    pub(super) dense: Option<&'a [u8]>,
    columns: OnceCell<Columns<'a>>,
    packed: Option<Packed<'a>>,
}

impl<'a> List<'a> {
    pub(super) fn plain(
        documents: &'a [u32],
        frequencies: &'a [u32],
        ceiling: Option<&'a Ceiling>,
        dense: Option<&'a [u8]>,
    ) -> Self {
        let columns = Columns { documents: documents.into(), frequencies: frequencies.into() };
        Self { postings: documents.len(), ceiling, dense, columns: columns.into(), packed: None }
    }

    /// For who reads all lists once.
    pub(super) fn packed(packed: Packed<'a>) -> Self {
        let postings = packed.postings();
        Self { postings, ceiling: None, dense: None, columns: OnceCell::new(), packed: Some(packed) }
    }

    pub(super) fn columns(&self) -> &Columns<'a> {
        self.columns
            .get_or_init(|| self.packed.as_ref().map_or_else(Columns::default, |packed| packed.unpack()))
    }

    /// Occurrences of the term in a document.
    pub(super) fn frequency(&self, document: u32) -> u32 {
        match self.dense {
            Some(dense) => dense.get(document as usize).copied().map_or(0, u32::from),
            None => self.columns().frequency(document),
        }
    }

    /// Postings of documents before `document`.
    pub(super) fn before(&self, document: usize) -> usize {
        self.columns().documents.partition_point(|other| (*other as usize) < document)
    }

    /// No document of the list gains more than this from the term; short lists are worth no closer look.
    pub(super) fn bound(&self, scorer: &Scorer, weight: f64) -> f64 {
        self.ceiling.map_or(weight, |ceiling| ceiling.bound(scorer, weight))
    }
}

/// Highest frequency of each class but the last.
const CLASSES: [u32; 7] = [1, 2, 3, 4, 6, 9, 16];

/// What bounds the scores of a list, whatever the average length of a document is by then: the shortest document of
/// each class of frequencies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ceiling {
    shortest: [u32; CLASSES.len() + 1],
    highest: u32,
}

impl Ceiling {
    pub(super) const NUMBERS: usize = CLASSES.len() + 2;

    pub(super) fn of(postings: impl Iterator<Item = (u32, u32)>, lengths: &[u32]) -> Self {
        let mut ceiling = Self { shortest: [u32::MAX; CLASSES.len() + 1], highest: 0 };
        for (document, frequency) in postings {
            ceiling.raise(frequency, lengths[document as usize]);
        }
        ceiling
    }

    pub(super) fn raise(&mut self, frequency: u32, length: u32) {
        let class = CLASSES.partition_point(|highest| *highest < frequency);
        self.shortest[class] = self.shortest[class].min(length);
        self.highest = self.highest.max(frequency);
    }

    fn bound(&self, scorer: &Scorer, weight: f64) -> f64 {
        let highest = CLASSES.iter().map(|class| self.highest.min(*class)).chain([self.highest]);
        let classes = self.shortest.iter().zip(highest).filter(|(shortest, _)| **shortest != u32::MAX);
        classes.fold(0.0, |most, (shortest, highest)| scorer.gain(weight, highest, *shortest).max(most))
    }

    pub(super) fn numbers(&self) -> [u32; Self::NUMBERS] {
        let mut numbers = [self.highest; Self::NUMBERS];
        numbers[..self.shortest.len()].copy_from_slice(&self.shortest);
        numbers
    }

    pub(super) fn from_numbers(numbers: [u32; Self::NUMBERS]) -> Self {
        let mut shortest = [0; CLASSES.len() + 1];
        shortest.copy_from_slice(&numbers[..CLASSES.len() + 1]);
        Self { shortest, highest: numbers[CLASSES.len() + 1] }
    }
}

/// A list as a byte per document; `None` if a frequency does not fit.
pub(super) fn densified(columns: &Columns, documents: usize) -> Option<Vec<u8>> {
    let mut dense = vec![0; documents];
    for (document, frequency) in columns.iter() {
        dense[document as usize] = u8::try_from(frequency).ok()?;
    }
    Some(dense)
}
