//! AVX-512 with BW and VNNI: 64 codes per instruction.

use std::arch::x86_64::*;

use super::{Kernels, LANES, check_bounds, check_pair, check_rows, check_signs};
use crate::quantize::Quantized;
use crate::query::Bound;

static KERNELS: Kernels = Kernels {
    name: "avx512",
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
    prefetch: super::avx2::prefetch,
};

pub(super) fn detect() -> Option<&'static Kernels> {
    let has = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vnni")
        && is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma");
    has.then_some(&KERNELS)
}

#[target_feature(enable = "avx512f,avx2,fma")]
fn dot_f32(a: &[f32], b: &[f32]) -> f32 {
    check_pair(a, b);
    let (mut low, mut high) = (_mm512_setzero_ps(), _mm512_setzero_ps());
    for at in (0..a.len()).step_by(32) {
        // SAFETY: both lengths are equal multiples of 64, so 32 floats lie at `at`.
        unsafe {
            let (a, b) = (a.as_ptr().add(at), b.as_ptr().add(at));
            low = _mm512_fmadd_ps(_mm512_loadu_ps(a), _mm512_loadu_ps(b), low);
            high = _mm512_fmadd_ps(_mm512_loadu_ps(a.add(16)), _mm512_loadu_ps(b.add(16)), high);
        }
    }
    let sums = _mm512_add_ps(low, high);
    let upper = _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(_mm512_castps_pd(sums)));
    super::avx2::sum_f32(_mm256_add_ps(_mm512_castps512_ps256(sums), upper))
}

/// 64 codes. `vpdpbusd` wants one side unsigned: the rows' side gets a bias of 128, taken off again by `bias_of`.
#[target_feature(enable = "avx512f")]
fn load(codes: &[i8], at: usize) -> __m512i {
    debug_assert!(at + LANES <= codes.len());
    // SAFETY: the callers' `at` is a multiple of 64 below a length that is one too.
    unsafe { _mm512_loadu_si512(codes.as_ptr().add(at).cast()) }
}

#[target_feature(enable = "avx512f,avx512vnni")]
fn biased_dot(sum: __m512i, row: __m512i, query: __m512i) -> __m512i {
    _mm512_dpbusd_epi32(sum, _mm512_xor_si512(row, _mm512_set1_epi8(-128)), query)
}

/// What the bias adds to a product: 128 times the sum of the query's codes.
#[target_feature(enable = "avx512f,avx512vnni")]
fn bias_of(query: &[i8]) -> i32 {
    let mut sums = _mm512_setzero_si512();
    for at in (0..query.len()).step_by(LANES) {
        sums = biased_dot(sums, _mm512_setzero_si512(), load(query, at));
    }
    _mm512_reduce_add_epi32(sums)
}

#[target_feature(enable = "avx512f,avx512vnni")]
fn dot_i8(a: &[i8], b: &[i8]) -> i32 {
    check_pair(a, b);
    let (mut sums, mut bias) = (_mm512_setzero_si512(), _mm512_setzero_si512());
    for at in (0..a.len()).step_by(LANES) {
        let query = load(b, at);
        sums = biased_dot(sums, load(a, at), query);
        bias = biased_dot(bias, _mm512_setzero_si512(), query);
    }
    _mm512_reduce_add_epi32(_mm512_sub_epi32(sums, bias))
}

#[target_feature(enable = "avx512f,avx512vnni")]
fn dots_i8(rows: &[i8], query: &[i8], out: &mut [i32]) {
    check_rows(rows, query, out);
    let (stride, bias) = (query.len(), bias_of(query));
    let mut fours = out.chunks_exact_mut(4);
    let mut row = 0;
    for out in &mut fours {
        let four = &rows[row * stride..][..4 * stride];
        let mut sums = [_mm512_setzero_si512(); 4];
        for at in (0..stride).step_by(LANES) {
            let query = load(query, at);
            for (nth, sum) in sums.iter_mut().enumerate() {
                *sum = biased_dot(*sum, load(four, nth * stride + at), query);
            }
        }
        let sums = _mm_sub_epi32(sum_four(sums), _mm_set1_epi32(bias));
        // SAFETY: `out` is four i32.
        unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), sums) };
        row += 4;
    }
    for out in fours.into_remainder() {
        *out = dot_i8(&rows[row * stride..][..stride], query);
        row += 1;
    }
}

/// The four totals, in order.
#[target_feature(enable = "avx512f")]
fn sum_four([a, b, c, d]: [__m512i; 4]) -> __m128i {
    let ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    let cd = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
    let quarters = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
    let upper = _mm512_extracti64x4_epi64::<1>(quarters);
    let half = _mm256_add_epi32(_mm512_castsi512_si256(quarters), upper);
    _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256::<1>(half))
}

/// Four table rows at a time, for their levels add up to at most 252. Sums of bytes are kept in pairs: `both` adds
/// whole 16-bit lanes and `odd` their upper bytes, so the lower bytes are what is left.
#[target_feature(enable = "avx512f,avx512bw")]
fn signs(block: &[u8], table: &[u8], out: &mut [u16; LANES]) {
    check_signs(block, table);
    let (mut both, mut odd) = (_mm512_setzero_si512(), _mm512_setzero_si512());
    let nibble = _mm512_set1_epi8(15);
    for pair in 0..block.len() / (2 * LANES) {
        let mut levels = _mm512_setzero_si512();
        for half in [0, 1] {
            // SAFETY: the block is pairs of 64 bytes, and the table has 32 bytes for each 64 of the block.
            let (codes, low, high) = unsafe {
                let codes = block.as_ptr().add((2 * pair + half) * LANES);
                let rows = table.as_ptr().add((2 * pair + half) * 32);
                (
                    _mm512_loadu_si512(codes.cast()),
                    _mm512_broadcast_i32x4(_mm_loadu_si128(rows.cast())),
                    _mm512_broadcast_i32x4(_mm_loadu_si128(rows.add(16).cast())),
                )
            };
            let lows = _mm512_and_si512(codes, nibble);
            let highs = _mm512_and_si512(_mm512_srli_epi16::<4>(codes), nibble);
            levels = _mm512_add_epi8(levels, _mm512_shuffle_epi8(low, lows));
            levels = _mm512_add_epi8(levels, _mm512_shuffle_epi8(high, highs));
        }
        both = _mm512_add_epi16(both, levels);
        odd = _mm512_add_epi16(odd, _mm512_srli_epi16::<8>(levels));
    }
    let even = _mm512_sub_epi16(both, _mm512_slli_epi16::<8>(odd));
    // Even and odd documents back in order, within each quarter and then across them.
    let (first, second) = (_mm512_unpacklo_epi16(even, odd), _mm512_unpackhi_epi16(even, odd));
    let lower = _mm512_permutex2var_epi64(first, _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11), second);
    let upper = _mm512_permutex2var_epi64(first, _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15), second);
    // SAFETY: `out` is 64 u16, two registers.
    unsafe {
        _mm512_storeu_si512(out.as_mut_ptr().cast(), lower);
        _mm512_storeu_si512(out.as_mut_ptr().add(32).cast(), upper);
    }
}

#[target_feature(enable = "avx512f,fma")]
fn reach_bound(dots: &[i32], rows: &[Quantized], bound: &Bound, bar: f32) -> u64 {
    check_bounds(dots, rows);
    let evens = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    let odds = _mm512_add_epi32(evens, _mm512_set1_epi32(1));
    let (scale, per_residual) = (_mm512_set1_ps(bound.scale), _mm512_set1_ps(bound.per_residual));
    let (constant, bar) = (_mm512_set1_ps(bound.constant), _mm512_set1_ps(bar));
    let whole = dots.len() / 16 * 16;
    let mut reach = 0;
    for at in (0..whole).step_by(16) {
        // SAFETY: 16 dots and as many pairs of a scale and a residual lie at `at`.
        let (dots, first, second) = unsafe {
            let pairs: *const f32 = rows.as_ptr().add(at).cast();
            let dots = _mm512_loadu_si512(dots.as_ptr().add(at).cast());
            (_mm512_cvtepi32_ps(dots), _mm512_loadu_ps(pairs), _mm512_loadu_ps(pairs.add(16)))
        };
        let scales = _mm512_mul_ps(_mm512_permutex2var_ps(first, evens, second), scale);
        let residuals = _mm512_permutex2var_ps(first, odds, second);
        let error = _mm512_fmadd_ps(residuals, per_residual, constant);
        let upper = _mm512_fmadd_ps(dots, scales, error);
        reach |= u64::from(_mm512_cmp_ps_mask::<_CMP_GE_OQ>(upper, bar)) << at;
    }
    if whole < dots.len() {
        reach |=
            super::scalar::reach_bound(&dots[whole..], &rows[whole..], bound, _mm512_cvtss_f32(bar)) << whole;
    }
    reach
}

#[target_feature(enable = "avx512f,avx512bw")]
fn reach_sum(sums: &[u16; LANES], bar: u16) -> u64 {
    let bar = _mm512_set1_epi16(bar as i16);
    // SAFETY: `sums` is 64 u16, two registers.
    let (lower, upper) = unsafe {
        let sums = sums.as_ptr();
        (_mm512_loadu_si512(sums.cast()), _mm512_loadu_si512(sums.add(32).cast()))
    };
    let [lower, upper] = [lower, upper].map(|sums| u64::from(_mm512_cmpge_epu16_mask(sums, bar)));
    lower | upper << 32
}

#[target_feature(enable = "avx512f,avx512bw")]
fn saturate(sums: &mut [f32], counts: &[u8], offsets: &[f32], weight: f32) {
    super::scalar::saturate(sums, counts, offsets, weight);
}
