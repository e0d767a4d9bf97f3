//! A fixed rotation that spreads every component over all others.
//!
//! Two rounds of: random signs, a Hadamard transform of each 64 components, and a transposition that hands the
//! components of a block to all blocks. After it no component of an embedding matters more than another, so one bit
//! for each loses the least (Gao and Long, RaBitQ, 2024; Ailon and Chazelle, 2006, for the fast transform).

use crate::kernels::LANES;

const ROUNDS: u64 = 2;

/// Writes the rotated row, of equal norm. Both are padded rows.
pub(crate) fn rotate(row: &[f32], rotated: &mut [f32]) {
    rotated.copy_from_slice(row);
    let mut mixed = [0.0f32; crate::MAX_DIMENSION];
    let mixed = &mut mixed[..row.len()];
    let blocks = row.len() / LANES;
    for round in 0..ROUNDS {
        for (nth, block) in rotated.chunks_exact_mut(LANES).enumerate() {
            let signs = signs(round << 32 | nth as u64);
            for (lane, x) in block.iter_mut().enumerate() {
                let sign = ((signs >> lane) as u32) << 31;
                *x = f32::from_bits(x.to_bits() ^ sign);
            }
            hadamard(block);
            for (lane, x) in block.iter().enumerate() {
                mixed[lane * blocks + nth] = x * 0.125;
            }
        }
        rotated.copy_from_slice(mixed);
    }
}

/// 64 bits that look random (Steele et al., SplitMix64).
fn signs(seed: u64) -> u64 {
    let mut bits = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ bits >> 31
}

/// The transform of 64 numbers, 8 times too large.
fn hadamard(block: &mut [f32]) {
    let mut half = 1;
    while half < LANES {
        for pair in block.chunks_exact_mut(2 * half) {
            let (lower, upper) = pair.split_at_mut(half);
            for (a, b) in lower.iter_mut().zip(upper) {
                (*a, *b) = (*a + *b, *a - *b);
            }
        }
        half *= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::rotate;

    fn rotated(row: &[f32]) -> Vec<f32> {
        let mut rotated = vec![0.0; row.len()];
        rotate(row, &mut rotated);
        rotated
    }

    fn axis(at: usize, len: usize) -> Vec<f32> {
        (0..len).map(|nth| f32::from(u8::from(nth == at))).collect()
    }

    fn dot(a: &[f32], b: &[f32]) -> f32 {
        a.iter().zip(b).map(|(a, b)| a * b).sum()
    }

    #[test]
    fn angles_and_lengths_stay() {
        for len in [64, 128, 384] {
            let axes: Vec<_> = [0, 1, len / 2, len - 1].map(|at| rotated(&axis(at, len))).to_vec();
            for (i, a) in axes.iter().enumerate() {
                for (j, b) in axes.iter().enumerate() {
                    assert!((dot(a, b) - f32::from(u8::from(i == j))).abs() < 1e-5, "{len}: {i} {j}");
                }
            }
        }
    }

    #[test]
    fn one_component_is_spread_over_all() {
        for len in [128, 384, 4096] {
            let spread = rotated(&axis(5, len));
            let largest = spread.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
            // All alike would be 1 / sqrt(len).
            assert!(largest < 6.0 / (len as f32).sqrt(), "{len}: {largest}");
        }
    }
}
