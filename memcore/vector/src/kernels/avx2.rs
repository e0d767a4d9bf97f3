//! AVX2 with FMA: 32 codes per instruction.

use std::arch::x86_64::*;

use super::{Kernels, LANES, check_bounds, check_pair, check_rows, check_signs};
use crate::quantize::Quantized;
use crate::query::Bound;

static KERNELS: Kernels = Kernels {
    name: "avx2",
    // SAFETY: `detect` hands this table out only where the CPU has the features; the same for each line below.
    dot_f32: |a, b| unsafe { dot_f32(a, b) },
    // SAFETY: as above.
    dot_i8: |a, b| unsafe { dot_i8(a, b) },
    // SAFETY: as above.
    dots_i8: |rows, query, out| unsafe { dots_i8(rows, query, out) },
    // SAFETY: as above.
    signs: |block, table, out| unsafe { signs(block, table, out) },
    // SAFETY: as above.
    reach_bound: |dots, rows, bound, bar| unsafe { reach_bound(dots, rows, bound, bar) },
    // SAFETY: as above.
    reach_sum: |sums, bar| unsafe { reach_sum(sums, bar) },
    // SAFETY: as above.
    saturate: |sums, counts, offsets, weight| unsafe { saturate(sums, counts, offsets, weight) },
    prefetch,
};

pub(super) fn detect() -> Option<&'static Kernels> {
    (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some(&KERNELS)
}

pub(super) fn prefetch(bytes: &[u8]) {
    for at in (0..bytes.len()).step_by(64) {
        // SAFETY: a prefetch touches no memory, and the address is inside `bytes`.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(bytes.as_ptr().add(at).cast()) };
    }
}

#[target_feature(enable = "avx2,fma")]
fn dot_f32(a: &[f32], b: &[f32]) -> f32 {
    check_pair(a, b);
    let mut sums = [_mm256_setzero_ps(); 4];
    for at in (0..a.len()).step_by(32) {
        for (nth, sum) in sums.iter_mut().enumerate() {
            // SAFETY: both lengths are equal multiples of 64, so 32 floats lie at `at`.
            let (a, b) = unsafe {
                let at = at + 8 * nth;
                (_mm256_loadu_ps(a.as_ptr().add(at)), _mm256_loadu_ps(b.as_ptr().add(at)))
            };
            *sum = _mm256_fmadd_ps(a, b, *sum);
        }
    }
    let [first, second, third, fourth] = sums;
    sum_f32(_mm256_add_ps(_mm256_add_ps(first, third), _mm256_add_ps(second, fourth)))
}

/// The last halvings of `dot_f32`: 8, 4, 2.
#[target_feature(enable = "avx2")]
pub(super) fn sum_f32(eight: __m256) -> f32 {
    let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
}

#[target_feature(enable = "avx2")]
fn load(codes: &[i8], at: usize) -> __m256i {
    debug_assert!(at + 32 <= codes.len());
    // SAFETY: the callers' `at` is a multiple of 32 below a length that is one of 64.
    unsafe { _mm256_loadu_si256(codes.as_ptr().add(at).cast()) }
}

/// `vpmaddubsw` wants one side unsigned: the query gives its sign to the row. Two products of at most 127² fit in
/// 16 bits.
#[target_feature(enable = "avx2")]
fn signed_dot(sum: __m256i, row: __m256i, query: __m256i) -> __m256i {
    let pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(query), _mm256_sign_epi8(row, query));
    _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
}

#[target_feature(enable = "avx2")]
fn sum_i32(eight: __m256i) -> i32 {
    let four = _mm_add_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256::<1>(eight));
    let two = _mm_add_epi32(four, _mm_shuffle_epi32::<0b01_00_11_10>(four));
    _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32::<0b10_11_00_01>(two)))
}

#[target_feature(enable = "avx2")]
fn dot_i8(a: &[i8], b: &[i8]) -> i32 {
    check_pair(a, b);
    let mut sums = _mm256_setzero_si256();
    for at in (0..a.len()).step_by(32) {
        sums = signed_dot(sums, load(a, at), load(b, at));
    }
    sum_i32(sums)
}

#[target_feature(enable = "avx2")]
fn dots_i8(rows: &[i8], query: &[i8], out: &mut [i32]) {
    check_rows(rows, query, out);
    let stride = query.len();
    let mut fours = out.chunks_exact_mut(4);
    let mut row = 0;
    for out in &mut fours {
        let four = &rows[row * stride..][..4 * stride];
        let mut sums = [_mm256_setzero_si256(); 4];
        for at in (0..stride).step_by(32) {
            let query = load(query, at);
            for (nth, sum) in sums.iter_mut().enumerate() {
                *sum = signed_dot(*sum, load(four, nth * stride + at), query);
            }
        }
        for (out, sum) in out.iter_mut().zip(sums) {
            *out = sum_i32(sum);
        }
        row += 4;
    }
    for out in fours.into_remainder() {
        *out = dot_i8(&rows[row * stride..][..stride], query);
        row += 1;
    }
}

/// As in the AVX-512 path, one half of the block after the other.
#[target_feature(enable = "avx2")]
fn signs(block: &[u8], table: &[u8], out: &mut [u16; LANES]) {
    check_signs(block, table);
    let nibble = _mm256_set1_epi8(15);
    for lane in [0, 32] {
        let (mut both, mut odd) = (_mm256_setzero_si256(), _mm256_setzero_si256());
        for pair in 0..block.len() / (2 * LANES) {
            let mut levels = _mm256_setzero_si256();
            for half in [0, 1] {
                // SAFETY: the block is pairs of 64 bytes, and the table has 32 bytes for each 64 of the block.
                let (codes, low, high) = unsafe {
                    let codes = block.as_ptr().add((2 * pair + half) * LANES + lane);
                    let rows = table.as_ptr().add((2 * pair + half) * 32);
                    (
                        _mm256_loadu_si256(codes.cast()),
                        _mm256_broadcastsi128_si256(_mm_loadu_si128(rows.cast())),
                        _mm256_broadcastsi128_si256(_mm_loadu_si128(rows.add(16).cast())),
                    )
                };
                let lows = _mm256_and_si256(codes, nibble);
                let highs = _mm256_and_si256(_mm256_srli_epi16::<4>(codes), nibble);
                levels = _mm256_add_epi8(levels, _mm256_shuffle_epi8(low, lows));
                levels = _mm256_add_epi8(levels, _mm256_shuffle_epi8(high, highs));
            }
            both = _mm256_add_epi16(both, levels);
            odd = _mm256_add_epi16(odd, _mm256_srli_epi16::<8>(levels));
        }
        let even = _mm256_sub_epi16(both, _mm256_slli_epi16::<8>(odd));
        let (first, second) = (_mm256_unpacklo_epi16(even, odd), _mm256_unpackhi_epi16(even, odd));
        // SAFETY: `lane + 32` is at most the 64 of `out`.
        unsafe {
            let out = out.as_mut_ptr().add(lane);
            _mm256_storeu_si256(out.cast(), _mm256_permute2x128_si256::<0x20>(first, second));
            _mm256_storeu_si256(out.add(16).cast(), _mm256_permute2x128_si256::<0x31>(first, second));
        }
    }
}

#[target_feature(enable = "avx2,fma")]
fn reach_bound(dots: &[i32], rows: &[Quantized], bound: &Bound, bar: f32) -> u64 {
    check_bounds(dots, rows);
    let (scale, per_residual) = (_mm256_set1_ps(bound.scale), _mm256_set1_ps(bound.per_residual));
    let constant = _mm256_set1_ps(bound.constant);
    // Shuffles work on each half, so rows come in the order 0, 1, 4, 5, 2, 3, 6, 7; this puts the dots in it too.
    let order = _mm256_setr_epi32(0, 1, 4, 5, 2, 3, 6, 7);
    let whole = dots.len() / 8 * 8;
    let mut reach = 0;
    for at in (0..whole).step_by(8) {
        // SAFETY: 8 dots and as many pairs of a scale and a residual lie at `at`.
        let (dots, first, second) = unsafe {
            let pairs: *const f32 = rows.as_ptr().add(at).cast();
            let dots = _mm256_loadu_si256(dots.as_ptr().add(at).cast());
            (_mm256_cvtepi32_ps(dots), _mm256_loadu_ps(pairs), _mm256_loadu_ps(pairs.add(8)))
        };
        let scales = _mm256_mul_ps(_mm256_shuffle_ps::<0b10_00_10_00>(first, second), scale);
        let residuals = _mm256_shuffle_ps::<0b11_01_11_01>(first, second);
        let error = _mm256_fmadd_ps(residuals, per_residual, constant);
        let upper = _mm256_fmadd_ps(_mm256_permutevar8x32_ps(dots, order), scales, error);
        let reaches = _mm256_cmp_ps::<_CMP_GE_OQ>(upper, _mm256_set1_ps(bar));
        let ordered = _mm256_permutevar8x32_ps(reaches, order);
        reach |= (_mm256_movemask_ps(ordered) as u64) << at;
    }
    if whole < dots.len() {
        reach |= super::scalar::reach_bound(&dots[whole..], &rows[whole..], bound, bar) << whole;
    }
    reach
}

#[target_feature(enable = "avx2")]
fn reach_sum(sums: &[u16; LANES], bar: u16) -> u64 {
    let bar = _mm256_set1_epi16(bar as i16);
    let mut reach = 0;
    for at in (0..LANES).step_by(32) {
        // SAFETY: 32 sums lie at `at`.
        let halves = unsafe {
            let sums = sums.as_ptr().add(at);
            [_mm256_loadu_si256(sums.cast()), _mm256_loadu_si256(sums.add(16).cast())]
        };
        let [lower, upper] = halves.map(|sums| _mm256_cmpeq_epi16(_mm256_max_epu16(sums, bar), sums));
        // Packing works on each half; the quarters are put back in order.
        let packed = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi16(lower, upper));
        reach |= u64::from(_mm256_movemask_epi8(packed) as u32) << at;
    }
    reach
}

#[target_feature(enable = "avx2")]
fn saturate(sums: &mut [f32], counts: &[u8], offsets: &[f32], weight: f32) {
    super::scalar::saturate(sums, counts, offsets, weight);
}
