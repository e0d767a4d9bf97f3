//! Documents that may be among the best `k`, known by bounds of their scores.
//!
//! A document is out once `k` others have lower bounds above its upper bound. Those that are left hold the best
//! `k`, ties at the cut included.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate {
    pub(crate) doc: u32,
    pub(crate) upper: f32,
}

#[derive(Debug, Default)]
pub(crate) struct Candidates {
    items: Vec<Candidate>,
    best: Best,
}

impl Candidates {
    /// Starts anew, for the best `k` (at least 1) of those whose scores reach `floor`.
    pub(crate) fn reset(&mut self, k: usize, floor: f32) {
        self.items.clear();
        self.best.reset(k, floor);
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    /// What a document's upper bound must reach.
    #[inline]
    pub(crate) fn bar(&self) -> f32 {
        self.best.bar()
    }

    #[inline]
    pub(crate) fn offer(&mut self, doc: u32, (lower, upper): (f32, f32)) {
        if upper >= self.bar() {
            self.items.push(Candidate { doc, upper });
            self.best.offer(lower);
        }
    }

    /// Those that are left, the highest upper bound first, and somewhere to count their scores.
    pub(crate) fn finish(&mut self, k: usize, floor: f32) -> (&[Candidate], &mut Best) {
        let bar = self.bar();
        self.items.retain(|candidate| candidate.upper >= bar);
        self.items.sort_unstable_by(|a, b| b.upper.total_cmp(&a.upper));
        self.best.reset(k, floor);
        (&self.items, &mut self.best)
    }
}

/// The best `k` of many numbers.
#[derive(Debug, Default)]
pub(crate) struct Best {
    heap: BinaryHeap<Reverse<i32>>,
    k: usize,
    floor: f32,
    bar: f32,
}

impl Best {
    pub(crate) fn reset(&mut self, k: usize, floor: f32) {
        self.heap.clear();
        (self.k, self.floor, self.bar) = (k, floor, floor);
    }

    /// The k-th best so far, but at least the floor.
    #[inline]
    pub(crate) fn bar(&self) -> f32 {
        self.bar
    }

    #[inline]
    pub(crate) fn offer(&mut self, number: f32) {
        if self.heap.len() < self.k {
            self.heap.push(Reverse(ordered(number)));
        } else if number > self.bar {
            if let Some(mut worst) = self.heap.peek_mut() {
                *worst = Reverse(ordered(number));
            }
        } else {
            return;
        }
        if self.heap.len() == self.k {
            self.bar = self.heap.peek().map_or(self.floor, |worst| self.floor.max(unordered(worst.0)));
        }
    }
}

/// An integer for each number, in the same order. Its own inverse is [`unordered`].
fn ordered(number: f32) -> i32 {
    let bits = number.to_bits() as i32;
    bits ^ ((bits >> 31) as u32 >> 1) as i32
}

fn unordered(bits: i32) -> f32 {
    f32::from_bits((bits ^ ((bits >> 31) as u32 >> 1) as i32) as u32)
}

#[cfg(test)]
mod tests {
    use super::{Best, Candidates, ordered, unordered};

    fn kept(k: usize, bounds: impl IntoIterator<Item = (f32, f32)>) -> Vec<u32> {
        let mut candidates = Candidates::default();
        candidates.reset(k, f32::NEG_INFINITY);
        for (doc, bounds) in (0u32..).zip(bounds) {
            candidates.offer(doc, bounds);
        }
        let mut docs: Vec<u32> =
            candidates.finish(k, f32::NEG_INFINITY).0.iter().map(|candidate| candidate.doc).collect();
        docs.sort_unstable();
        docs
    }

    #[test]
    fn what_reaches_the_kth_lower_bound_is_kept() {
        // The second best lower bound is 0.5: the third reaches it, the fourth does not.
        assert_eq!(kept(2, [(0.6, 0.8), (0.5, 0.7), (0.3, 0.5), (0.2, 0.4)]), [0, 1, 2]);
    }

    #[test]
    fn all_of_many_equals_are_kept() {
        assert_eq!(kept(3, [(0.1, 0.2); 5000]).len(), 5000);
    }

    #[test]
    fn fewer_than_k_are_all_kept() {
        assert_eq!(kept(9, [(0.9, 0.9), (-1.0, -1.0)]), [0, 1]);
    }

    #[test]
    fn the_best_of_many_are_left() {
        // Bounds at ±2: the tenth best lower bound of 0..10_000 is 9_990 - 2, reached from 9_986 on.
        let bounds = |n: u32| ((n * 7 % 10_000) as f32 - 2.0, (n * 7 % 10_000) as f32 + 2.0);
        assert_eq!(kept(10, (0..10_000).map(bounds)).len(), 14);
    }

    #[test]
    fn the_bar_is_the_kth_best() {
        let mut best = Best::default();
        best.reset(2, f32::NEG_INFINITY);
        let bars = [0.5, -1.0, -2.0, -0.5, 0.75].map(|number| {
            best.offer(number);
            best.bar()
        });
        assert_eq!(bars, [f32::NEG_INFINITY, -1.0, -1.0, -0.5, 0.5]);
    }

    #[test]
    fn the_bar_is_never_below_the_floor() {
        let mut best = Best::default();
        best.reset(2, 0.25);
        let bars = [0.5, 0.0, 0.3, 0.75].map(|number| {
            best.offer(number);
            best.bar()
        });
        assert_eq!(bars, [0.25, 0.25, 0.3, 0.5]);
    }

    #[test]
    fn order_survives_as_integers() {
        let numbers = [-2.5, -1e-40, -0.0, 0.0, 1e-40, 3.0];
        assert!(numbers.map(ordered).is_sorted());
        assert_eq!(numbers.map(ordered).map(unordered).map(f32::to_bits), numbers.map(f32::to_bits));
    }
}
