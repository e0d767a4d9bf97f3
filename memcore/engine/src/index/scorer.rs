//! BM25 as numbers: Robertson and Zaragoza, "The Probabilistic Relevance Framework" (2009), equation 3.15, with the
//! idf that stays positive for terms in more than half of the documents; and the older formula with its floor, as in
//! rank_bm25's `BM25Okapi`.
//!
//! Sums run in the order of the query's terms, so a score is the same to the last bit wherever it is computed.

/// Kinds of documents that one index tells apart.
pub const KINDS: usize = 4;

/// Sizes of what is visible at one revision, per kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Documents.
    pub docs: [u32; KINDS],
    /// Terms in them.
    pub tokens: [u64; KINDS],
}

impl Stats {
    /// Counts a document of `length` terms in.
    pub fn add(&mut self, kind: u8, length: u32) {
        self.docs[usize::from(kind)] += 1;
        self.tokens[usize::from(kind)] += u64::from(length);
    }

    /// Counts a document that was added before out.
    pub fn remove(&mut self, kind: u8, length: u32) {
        self.docs[usize::from(kind)] -= 1;
        self.tokens[usize::from(kind)] -= u64::from(length);
    }

    fn sum(&self, kinds: u8) -> (f64, f64) {
        let chosen = (0..KINDS).filter(|kind| kinds & (1 << kind) != 0);
        chosen.fold((0.0, 0.0), |(docs, tokens), kind| {
            (docs + f64::from(self.docs[kind]), tokens + self.tokens[kind] as f64)
        })
    }
}

/// Which formula, with its constants: `k1 >= 0` is how slowly repetitions of a term stop counting, `0 <= b <= 1`
/// how much a document's length counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scoring {
    /// A term counts once, however often the query repeats it.
    Bm25 { k1: f64, b: f64 },
    /// A term counts as often as the query repeats it; an idf below zero is replaced by `epsilon` times the average
    /// idf of all terms.
    Okapi { k1: f64, b: f64, epsilon: f64 },
}

impl Scoring {
    /// rank_bm25's constants.
    pub const OKAPI: Self = Self::Okapi { k1: 1.5, b: 0.75, epsilon: 0.25 };
}

impl Default for Scoring {
    fn default() -> Self {
        Self::Bm25 { k1: 1.2, b: 0.75 }
    }
}

/// The parts of the formula that one query shares.
pub(super) struct Scorer {
    documents: f64,
    k1: f64,
    /// `k1 (1 - b)` and `k1 b / average length`: a document's norm is linear in its length.
    constant: f64,
    slope: f64,
}

impl Scorer {
    /// `None` if the searched kinds hold no terms.
    pub(super) fn new(scoring: Scoring, stats: &Stats, kinds: u8) -> Option<Self> {
        let (Scoring::Bm25 { k1, b } | Scoring::Okapi { k1, b, .. }) = scoring;
        let (documents, tokens) = stats.sum(kinds);
        (tokens > 0.0).then(|| Self {
            documents,
            k1,
            constant: k1 * (1.0 - b),
            slope: k1 * b * documents / tokens,
        })
    }

    /// Weight of a term that `holders` visible documents hold; always above zero.
    pub(super) fn weight(&self, holders: usize) -> f64 {
        let holders = holders as f64;
        debug_assert!(holders <= self.documents, "stats are not those of the searched revision");
        (1.0 + (self.documents - holders + 0.5) / (holders + 0.5)).ln() * (self.k1 + 1.0)
    }

    /// The idf that falls below zero for a term in more than half of the documents.
    pub(super) fn signed_idf(&self, holders: usize) -> f64 {
        let holders = holders as f64;
        (self.documents - holders + 0.5).ln() - (holders + 0.5).ln()
    }

    /// Weight by an idf, of a term that the query holds `count` times.
    pub(super) fn repeated(&self, idf: f64, count: u32) -> f64 {
        idf * (self.k1 + 1.0) * f64::from(count)
    }

    /// How much a document of `length` terms weakens every term's score.
    #[inline]
    pub(super) fn norm(&self, length: u32) -> f64 {
        self.constant + self.slope * f64::from(length)
    }

    /// [`Self::norm`] of many lengths in single precision: above zero, so that no document without a term divides
    /// zero by zero, and else with a relative error of at most three roundings.
    pub(super) fn norms(&self, lengths: &[u32]) -> impl Iterator<Item = f32> {
        let (constant, slope) = (self.constant as f32, self.slope as f32);
        lengths.iter().map(move |length| (constant + slope * *length as f32).max(f32::MIN_POSITIVE))
    }

    /// Whether every norm is above zero.
    pub(super) fn norms_are_positive(&self) -> bool {
        self.constant > 0.0
    }

    /// What `frequency` occurrences of a term of that weight add to the score of a document of `length` terms: the one
    /// place where a posting becomes a number.
    #[inline]
    pub(super) fn gain(&self, weight: f64, frequency: u32, length: u32) -> f64 {
        let frequency = f64::from(frequency);
        weight * frequency / (frequency + self.norm(length))
    }
}
