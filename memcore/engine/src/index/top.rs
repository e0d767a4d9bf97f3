//! The best `k` of many scores, by score and then by key, so that equal scores never change places.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::Slot;

/// A document and its score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scored {
    pub key: u64,
    pub slot: Slot,
    pub score: f64,
}

/// Greatest is worst: a heap shows first what a better candidate would push out.
#[derive(Clone)]
struct Candidate(Scored);

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_score = other.0.score.total_cmp(&self.0.score);
        by_score.then(self.0.key.cmp(&other.0.key))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Candidate {}

#[derive(Clone)]
pub(super) struct Top {
    k: usize,
    heap: BinaryHeap<Candidate>,
    bar: f64,
}

impl Top {
    pub(super) fn new(k: usize) -> Self {
        let bar = if k == 0 { f64::INFINITY } else { f64::NEG_INFINITY };
        Self { k, heap: BinaryHeap::new(), bar }
    }

    /// Scores below this cannot enter.
    #[inline]
    pub(super) fn bar(&self) -> f64 {
        self.bar
    }

    pub(super) fn offer(&mut self, scored: Scored) {
        let candidate = Candidate(scored);
        if self.heap.len() < self.k {
            self.heap.push(candidate);
        } else if let Some(mut worst) = self.heap.peek_mut()
            && candidate < *worst
        {
            *worst = candidate;
        }
        if self.heap.len() == self.k {
            self.bar = self.heap.peek().map_or(self.bar, |worst| worst.0.score);
        }
    }

    /// Best first.
    pub(super) fn into_sorted(self) -> Vec<Scored> {
        let sorted = self.heap.into_sorted_vec();
        sorted.into_iter().map(|candidate| candidate.0).collect()
    }
}
