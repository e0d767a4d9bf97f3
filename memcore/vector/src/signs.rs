//! One bit per component, after a rotation: on which side of the mean it is.
//!
//! A rotated x is about m ± w, where m is the mean of each component over the part and w the mean distance from it. A query
//! keeps its precision: ⟨q, x⟩ is, but for what all documents share, the sum of ±q w, and four components at a time
//! that is one of 16 levels, looked up for 64 documents at once.

use std::f64::consts::FRAC_PI_2;

use crate::MAX_DIMENSION;
use crate::aligned::Aligned;
use crate::bits::ones;
use crate::kernels::{LANES, MAX_LEVEL};
use crate::part::Part;
use crate::rotation::rotate;
use crate::unit::sum_of_squares;

/// Components of one lookup.
const GROUP: usize = 4;

/// Sign codes of the documents of a part, in the order of [`crate::kernels::Kernels::signs`].
#[derive(Clone, Copy)]
pub(crate) struct Signs<'a> {
    pub(crate) weights: &'a [f32],
    pub(crate) blocks: &'a [u8],
}

/// Sign codes that can be added to. Mean and weights stay those of the vectors that it was made from.
#[derive(Debug, Clone)]
pub(crate) struct SignCodes {
    means: Vec<f32>,
    weights: Vec<f32>,
    /// Vectors that they were made from.
    count: usize,
    blocks: Aligned<u8>,
}

impl SignCodes {
    /// The codes of a part's vectors.
    pub(crate) fn of(part: &Part) -> Self {
        let (means, count) = (mean(part, |x, _| x), part.count());
        let mut codes = Self { means, weights: Vec::new(), count, blocks: Aligned::default() };
        codes.weights = mean(part, |x, at| (x - codes.means[at]).abs());
        for doc in docs(part) {
            codes.set(doc, part.row(doc));
        }
        codes
    }

    /// Vectors from which they had better be made anew: half as many again, which may be about something else.
    pub(crate) fn stale_from(&self) -> usize {
        self.count + self.count / 2
    }

    pub(crate) fn view(&self) -> Signs<'_> {
        Signs { weights: &self.weights, blocks: &self.blocks }
    }

    pub(crate) fn set(&mut self, doc: u32, row: &[f32]) {
        self.clear(doc);
        let mut rotated = vec![0.0; row.len()];
        rotate(row, &mut rotated);
        let eights = rotated.chunks_exact(2 * GROUP).zip(self.means.chunks_exact(2 * GROUP));
        for (at, (row, means)) in self.bytes_of(doc).zip(eights) {
            let bits = row.iter().zip(means).enumerate();
            self.blocks[at] = bits.fold(0, |byte, (bit, (x, mean))| byte | u8::from(x > mean) << bit);
        }
    }

    pub(crate) fn clear(&mut self, doc: u32) {
        let size = block_size(self.means.len());
        let blocks = doc as usize / LANES + 1;
        if self.blocks.len() < blocks * size {
            self.blocks.resize(blocks * size);
        }
        for at in self.bytes_of(doc) {
            self.blocks[at] = 0;
        }
    }

    fn bytes_of(&self, doc: u32) -> impl Iterator<Item = usize> + use<> {
        let size = block_size(self.means.len());
        let first = doc as usize / LANES * size + doc as usize % LANES;
        (first..first + size).step_by(LANES)
    }
}

/// Bytes of 64 documents' codes.
pub(crate) fn block_size(stride: usize) -> usize {
    stride / (2 * GROUP) * LANES
}

impl Signs<'_> {
    /// Levels for each group of four components and each pattern of signs, at most [`MAX_LEVEL`], for a higher score
    /// the higher; returns the spread of the error, in levels. The query is rotated.
    ///
    /// A component is off by |x - m| - w. If components are normal, that has a variance of (π/2 - 1) w².
    pub(crate) fn table(&self, query: &[f32], table: &mut Vec<u8>) -> f32 {
        let mut steps = [0.0; MAX_DIMENSION];
        let steps = &mut steps[..query.len()];
        for ((step, x), weight) in steps.iter_mut().zip(query).zip(self.weights) {
            *step = x * weight;
        }
        let (groups, _) = steps.as_chunks();
        let widest = groups.iter().map(reach).fold(f32::MIN_POSITIVE, f32::max);
        let unit = f32::from(MAX_LEVEL) / (2.0 * widest);
        table.clear();
        for group in groups {
            let lowest = reach(group);
            table.extend(sums(group).map(|sum| level((sum + lowest) * unit)));
        }
        let squares = sum_of_squares(steps.iter().map(|step| f64::from(step * unit)));
        (squares * (FRAC_PI_2 - 1.0)).sqrt() as f32
    }
}

/// The sums of a group with a minus where the pattern has no bit, in order of patterns.
fn sums(group: &[f32; GROUP]) -> [f32; 1 << GROUP] {
    let mut sums = [-group.iter().sum::<f32>(); 1 << GROUP];
    for (bit, step) in group.iter().enumerate() {
        for (pattern, sum) in sums.iter_mut().enumerate() {
            *sum += if pattern >> bit & 1 == 1 { 2.0 * step } else { 0.0 };
        }
    }
    sums
}

/// The largest of these.
fn reach(group: &[f32; GROUP]) -> f32 {
    group.iter().map(|step| step.abs()).sum()
}

/// The nearest whole number. Beside 2^23 a float's last bits are that number, which vector units find faster than a
/// conversion.
fn level(level: f32) -> u8 {
    (level.clamp(0.0, f32::from(MAX_LEVEL)) + 8_388_608.0).to_bits() as u8
}

fn docs(part: &Part) -> impl Iterator<Item = u32> {
    let blocks = part.present.iter().enumerate();
    blocks.flat_map(|(block, word)| ones(*word).map(move |lane| (block * LANES + lane) as u32))
}

/// The mean of `of` over all vectors, per component.
fn mean(part: &Part, of: impl Fn(f32, usize) -> f32) -> Vec<f32> {
    let (mut sums, mut rotated) = (vec![0.0f64; part.stride], vec![0.0; part.stride]);
    for doc in docs(part) {
        rotate(part.row(doc), &mut rotated);
        for (at, (sum, x)) in sums.iter_mut().zip(&rotated).enumerate() {
            *sum += f64::from(of(*x, at));
        }
    }
    let count = part.count().max(1) as f64;
    sums.iter().map(|sum| (sum / count) as f32).collect()
}
