//! The inner loops, one table of functions per instruction set, picked once per process.
//!
//! Every slice of floats or codes is a whole number of chunks of [`LANES`], padded with zeros, so no kernel has a
//! tail. Integer kernels agree because integers do. `dot_f32` agrees to the last bit because its order is fixed:
//! element i goes to accumulator i mod 32 by fused multiply-add, and the accumulators are halved (32, 16, 8, 4, 2)
//! by adding the upper half to the lower.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;
#[cfg(test)]
mod tests;

use std::sync::OnceLock;

use crate::quantize::Quantized;
use crate::query::Bound;

/// Length of padded rows is a multiple of this; also the number of documents of a block.
pub(crate) const LANES: usize = 64;

/// Largest value in a table of [`Kernels::signs`]: four of them fit in a byte.
pub(crate) const MAX_LEVEL: u8 = 63;

/// A padded length.
pub(crate) fn padded(len: usize) -> usize {
    len.next_multiple_of(LANES)
}

/// The inner loops for one instruction set.
pub struct Kernels {
    pub name: &'static str,
    /// Product of two rows of equal, padded length.
    pub(crate) dot_f32: fn(&[f32], &[f32]) -> f32,
    /// Product of two rows of codes in -127..=127.
    pub(crate) dot_i8: fn(&[i8], &[i8]) -> i32,
    /// Products of consecutive rows with one query: `rows.len() == out.len() * query.len()`.
    pub(crate) dots_i8: fn(rows: &[i8], query: &[i8], out: &mut [i32]),
    /// Sums over one block of sign codes. Byte `64 * j + d` holds for document d two indexes of four bits, the low
    /// one into row 2j and the high one into row 2j + 1 of `table`, whose rows are 16 levels of at most
    /// [`MAX_LEVEL`].
    pub(crate) signs: fn(block: &[u8], table: &[u8], out: &mut [u16; LANES]),
    /// Which of at most 64 rows have an upper bound of at least `bar`, give or take rounding.
    pub(crate) reach_bound: fn(dots: &[i32], rows: &[Quantized], bound: &Bound, bar: f32) -> u64,
    /// Which of 64 sums are at least `bar`.
    pub(crate) reach_sum: fn(sums: &[u16; LANES], bar: u16) -> u64,
    /// Adds `weight * count / (count + offset)` to each sum, in that order of operations: what BM25 does to a term's
    /// occurrences. All slices have one length.
    pub saturate: fn(sums: &mut [f32], counts: &[u8], offsets: &[f32], weight: f32),
    /// Asks for memory that is read soon.
    pub(crate) prefetch: fn(&[u8]),
}

/// Names a path, so that it can be tried or timed: `scalar`, `avx2`, `avx512`, `neon`.
const FORCE: &str = "MEMCORE_KERNELS";

impl Kernels {
    /// The fastest that this CPU runs, or the one that `MEMCORE_KERNELS` names if it runs here.
    pub fn best() -> &'static Kernels {
        static BEST: OnceLock<&'static Kernels> = OnceLock::new();
        BEST.get_or_init(|| {
            let available = Kernels::available();
            let forced = std::env::var(FORCE).ok();
            let named = available.iter().find(|kernels| Some(kernels.name) == forced.as_deref());
            named.unwrap_or(&available[0])
        })
    }

    /// Those that this CPU runs, fastest first. Never empty.
    pub fn available() -> Vec<&'static Kernels> {
        let mut found = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            found.extend(avx512::detect());
            found.extend(avx2::detect());
        }
        #[cfg(target_arch = "aarch64")]
        found.extend(neon::detect());
        found.push(&scalar::KERNELS);
        found
    }
}

impl std::fmt::Debug for Kernels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Kernels").field(&self.name).finish()
    }
}

/// What the `unsafe` of the SIMD paths rests on; a wrong length is a bug of this crate.
#[inline]
fn check_pair<T>(a: &[T], b: &[T]) {
    assert!(a.len() == b.len() && a.len().is_multiple_of(LANES));
}

#[inline]
fn check_rows(rows: &[i8], query: &[i8], out: &[i32]) {
    assert!(query.len().is_multiple_of(LANES) && rows.len() == out.len() * query.len());
}

#[inline]
fn check_bounds(dots: &[i32], rows: &[Quantized]) {
    assert!(dots.len() == rows.len() && dots.len() <= LANES);
}

#[inline]
fn check_signs(block: &[u8], table: &[u8]) {
    assert!(block.len().is_multiple_of(2 * LANES) && table.len() * 2 == block.len());
}
