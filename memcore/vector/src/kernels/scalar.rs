//! The reference: what the other paths must equal, and what runs where none of them does.

use super::{Kernels, LANES, check_bounds, check_pair, check_rows, check_signs};
use crate::quantize::Quantized;
use crate::query::Bound;

pub(super) static KERNELS: Kernels = Kernels {
    name: "scalar",
    dot_f32,
    dot_i8,
    dots_i8,
    signs,
    reach_bound,
    reach_sum,
    saturate,
    prefetch: |_bytes| (),
};

/// Accumulators of `dot_f32`.
const WIDTH: usize = 32;

fn dot_f32(a: &[f32], b: &[f32]) -> f32 {
    check_pair(a, b);
    let mut sums = [0.0f32; WIDTH];
    for (a, b) in a.chunks_exact(WIDTH).zip(b.chunks_exact(WIDTH)) {
        for lane in 0..WIDTH {
            sums[lane] = a[lane].mul_add(b[lane], sums[lane]);
        }
    }
    halved(&mut sums)
}

fn halved(sums: &mut [f32; WIDTH]) -> f32 {
    let mut half = WIDTH / 2;
    while half > 0 {
        for lane in 0..half {
            sums[lane] += sums[lane + half];
        }
        half /= 2;
    }
    sums[0]
}

fn dot_i8(a: &[i8], b: &[i8]) -> i32 {
    check_pair(a, b);
    a.iter().zip(b).map(|(a, b)| i32::from(*a) * i32::from(*b)).sum()
}

fn dots_i8(rows: &[i8], query: &[i8], out: &mut [i32]) {
    check_rows(rows, query, out);
    for (row, out) in rows.chunks_exact(query.len()).zip(out) {
        *out = dot_i8(row, query);
    }
}

fn signs(block: &[u8], table: &[u8], out: &mut [u16; LANES]) {
    check_signs(block, table);
    out.fill(0);
    for (codes, levels) in block.chunks_exact(LANES).zip(table.chunks_exact(32)) {
        for (out, code) in out.iter_mut().zip(codes) {
            let (low, high) = (usize::from(code & 15), usize::from(code >> 4));
            *out += u16::from(levels[low]) + u16::from(levels[16 + high]);
        }
    }
}

pub(super) fn reach_bound(dots: &[i32], rows: &[Quantized], bound: &Bound, bar: f32) -> u64 {
    check_bounds(dots, rows);
    let reaches = |(dot, row): (&i32, &Quantized)| bound.around(*dot, *row).1 >= bar;
    mask(dots.iter().zip(rows).map(reaches))
}

pub(super) fn reach_sum(sums: &[u16; LANES], bar: u16) -> u64 {
    mask(sums.iter().map(|sum| *sum >= bar))
}

/// Simple enough for the compiler to find the vectors.
#[inline(always)]
pub(super) fn saturate(sums: &mut [f32], counts: &[u8], offsets: &[f32], weight: f32) {
    assert!(sums.len() == counts.len() && sums.len() == offsets.len());
    for ((sum, count), offset) in sums.iter_mut().zip(counts).zip(offsets) {
        let count = f32::from(*count);
        *sum += weight * count / (count + offset);
    }
}

fn mask(bits: impl Iterator<Item = bool>) -> u64 {
    bits.enumerate().fold(0, |mask, (lane, bit)| mask | u64::from(bit) << lane)
}
