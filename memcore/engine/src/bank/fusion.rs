//! One score out of two.
//!
//! Convex fusion scales each ranking's scores so that 1 is the best candidate's and 0 the least that BM25 can be, or
//! the least cosine of a candidate, and adds them by weight (Bruch et al. 2023, "An Analysis of Fusion Functions for
//! Hybrid Retrieval"). Reciprocal rank fusion adds 1 / (k + rank) (Cormack et al. 2009).

use crate::index::Slot;
use crate::model::Fusion;

/// A memory that at least one ranking found.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    pub key: u64,
    pub slot: Slot,
    pub words: Option<f64>,
    pub words_rank: Option<u32>,
    pub cosine: Option<f64>,
    pub vector_rank: Option<u32>,
    /// The sum of all parts.
    pub score: f64,
    pub words_part: f64,
    pub vector_part: f64,
    pub context_part: f64,
    pub date_part: f64,
}

impl Candidate {
    pub fn of(key: u64, slot: Slot) -> Self {
        Self {
            key,
            slot,
            words: None,
            words_rank: None,
            cosine: None,
            vector_rank: None,
            score: 0.0,
            words_part: 0.0,
            vector_part: 0.0,
            context_part: 0.0,
            date_part: 0.0,
        }
    }

    /// BM25 alone is the score.
    pub fn take_words(&mut self) {
        self.words_part = self.words.unwrap_or_default();
        self.score = self.words_part;
    }

    /// The cosine alone is the score.
    pub fn take_cosine(&mut self) {
        self.vector_part = self.cosine.unwrap_or_default();
        self.score = self.vector_part;
    }
}

/// Sets the candidates' scores and their parts. Only the first `ranked` were found by a ranking and set the scale;
/// the others are their neighbours.
pub(super) fn fuse(candidates: &mut [Candidate], ranked: usize, fusion: Fusion) {
    match fusion {
        Fusion::Convex { vector_weight } => convex(candidates, ranked, vector_weight),
        Fusion::ReciprocalRank { k } => reciprocal_rank(candidates, k),
    }
    for candidate in candidates {
        candidate.score = candidate.words_part + candidate.vector_part;
    }
}

fn convex(candidates: &mut [Candidate], ranked: usize, vector_weight: f64) {
    let found = &candidates[..ranked];
    // BM25 cannot be less than 0; what a candidate without a word of the query has.
    let words = Scale { low: 0.0, high: highest(found.iter().filter_map(|candidate| candidate.words)) };
    let cosines = || found.iter().filter_map(|candidate| candidate.cosine);
    let vectors = Scale { low: -highest(cosines().map(|cosine| -cosine)), high: highest(cosines()) };
    for candidate in candidates {
        candidate.words_part = (1.0 - vector_weight) * words.of(candidate.words);
        candidate.vector_part = vector_weight * vectors.of(candidate.cosine);
    }
}

struct Scale {
    low: f64,
    high: f64,
}

impl Scale {
    /// 0 for what has no score or less than the least, and where all scores are the same.
    fn of(&self, score: Option<f64>) -> f64 {
        match score {
            Some(score) if self.high > self.low => ((score - self.low) / (self.high - self.low)).max(0.0),
            _ => 0.0,
        }
    }
}

fn highest(scores: impl Iterator<Item = f64>) -> f64 {
    scores.fold(f64::NEG_INFINITY, f64::max)
}

fn reciprocal_rank(candidates: &mut [Candidate], k: u32) {
    let part = |rank: Option<u32>| rank.map_or(0.0, |rank| 1.0 / (f64::from(k) + f64::from(rank)));
    for candidate in candidates {
        candidate.words_part = part(candidate.words_rank);
        candidate.vector_part = part(candidate.vector_rank);
    }
}
