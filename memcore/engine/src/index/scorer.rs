//! BM25 as numbers: Robertson and Zaragoza, "The Probabilistic Relevance Framework" (2009), equation 3.15, with the
//! idf that stays positive for terms in more than half of the documents.
//!
//! Sums run in the order of the query's terms, so a score is the same to the last bit wherever it is computed.

/// Kinds of documents that one index tells apart.
pub const KINDS: usize = 4;

/// How fast repetitions of a term stop counting.
const K1: f64 = 1.2;

/// How much a document's length counts.
const B: f64 = 0.75;

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

/// The parts of the formula that one query shares.
pub(super) struct Bm25 {
    documents: f64,
    /// `k1 (1 - b)` and `k1 b / average length`: a document's norm is linear in its length.
    constant: f64,
    slope: f64,
}

impl Bm25 {
    /// `None` if the searched kinds hold no terms.
    pub(super) fn new(stats: &Stats, kinds: u8) -> Option<Self> {
        let (documents, tokens) = stats.sum(kinds);
        (tokens > 0.0).then(|| Self {
            documents,
            constant: K1 * (1.0 - B),
            slope: K1 * B * documents / tokens,
        })
    }

    /// Weight of a term that `holders` visible documents hold.
    pub(super) fn weight(&self, holders: usize) -> f64 {
        let holders = holders as f64;
        debug_assert!(holders <= self.documents, "stats are not those of the searched revision");
        (1.0 + (self.documents - holders + 0.5) / (holders + 0.5)).ln() * (K1 + 1.0)
    }

    /// What `frequency` occurrences of a term of that weight add to the score of a document of `length` terms.
    #[inline]
    pub(super) fn score(&self, weight: f64, frequency: u32, length: u32) -> f64 {
        let frequency = f64::from(frequency);
        weight * frequency / (frequency + self.constant + self.slope * f64::from(length))
    }
}
