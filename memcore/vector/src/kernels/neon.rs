//! NEON, which every aarch64 CPU has: 16 codes per instruction.

use std::arch::aarch64::*;

use super::{Kernels, LANES, check_pair, check_rows, check_signs};

static KERNELS: Kernels = Kernels {
    name: "neon",
    // SAFETY: `detect` hands this table out only where the CPU has NEON; the same for each line below.
    dot_f32: |a, b| unsafe { dot_f32(a, b) },
    // SAFETY: as above.
    dot_i8: |a, b| unsafe { dot_i8(a, b) },
    // SAFETY: as above.
    dots_i8: |rows, query, out| unsafe { dots_i8(rows, query, out) },
    // SAFETY: as above.
    signs: |block, table, out| unsafe { signs(block, table, out) },
    reach_bound: super::scalar::reach_bound,
    reach_sum: super::scalar::reach_sum,
    saturate: super::scalar::saturate,
    prefetch: |_bytes| (),
};

pub(super) fn detect() -> Option<&'static Kernels> {
    std::arch::is_aarch64_feature_detected!("neon").then_some(&KERNELS)
}

#[target_feature(enable = "neon")]
fn dot_f32(a: &[f32], b: &[f32]) -> f32 {
    check_pair(a, b);
    let mut sums = [vdupq_n_f32(0.0); 8];
    for at in (0..a.len()).step_by(32) {
        for (nth, sum) in sums.iter_mut().enumerate() {
            // SAFETY: both lengths are equal multiples of 64, so 32 floats lie at `at`.
            let (a, b) = unsafe {
                let at = at + 4 * nth;
                (vld1q_f32(a.as_ptr().add(at)), vld1q_f32(b.as_ptr().add(at)))
            };
            *sum = vfmaq_f32(*sum, a, b);
        }
    }
    for half in [4, 2, 1] {
        for nth in 0..half {
            sums[nth] = vaddq_f32(sums[nth], sums[nth + half]);
        }
    }
    let two = vadd_f32(vget_low_f32(sums[0]), vget_high_f32(sums[0]));
    vget_lane_f32::<0>(two) + vget_lane_f32::<1>(two)
}

#[target_feature(enable = "neon")]
fn dot_i8(a: &[i8], b: &[i8]) -> i32 {
    check_pair(a, b);
    let mut sums = vdupq_n_s32(0);
    for at in (0..a.len()).step_by(16) {
        // SAFETY: both lengths are equal multiples of 64, so 16 codes lie at `at`.
        let (a, b) = unsafe { (vld1q_s8(a.as_ptr().add(at)), vld1q_s8(b.as_ptr().add(at))) };
        sums = vpadalq_s16(sums, vmull_s8(vget_low_s8(a), vget_low_s8(b)));
        sums = vpadalq_s16(sums, vmull_high_s8(a, b));
    }
    vaddvq_s32(sums)
}

#[target_feature(enable = "neon")]
fn dots_i8(rows: &[i8], query: &[i8], out: &mut [i32]) {
    check_rows(rows, query, out);
    for (row, out) in rows.chunks_exact(query.len()).zip(out) {
        *out = dot_i8(row, query);
    }
}

#[target_feature(enable = "neon")]
fn signs(block: &[u8], table: &[u8], out: &mut [u16; LANES]) {
    check_signs(block, table);
    for lane in (0..LANES).step_by(16) {
        let (mut low_sums, mut high_sums) = (vdupq_n_u16(0), vdupq_n_u16(0));
        for row in 0..block.len() / LANES {
            // SAFETY: the block has 64 bytes for each 32 of the table.
            let (codes, low, high) = unsafe {
                let levels = table.as_ptr().add(row * 32);
                (vld1q_u8(block.as_ptr().add(row * LANES + lane)), vld1q_u8(levels), vld1q_u8(levels.add(16)))
            };
            let lows = vqtbl1q_u8(low, vandq_u8(codes, vdupq_n_u8(15)));
            let levels = vaddq_u8(lows, vqtbl1q_u8(high, vshrq_n_u8::<4>(codes)));
            low_sums = vaddw_u8(low_sums, vget_low_u8(levels));
            high_sums = vaddw_high_u8(high_sums, levels);
        }
        // SAFETY: `lane + 16` is at most the 64 of `out`.
        unsafe {
            vst1q_u16(out.as_mut_ptr().add(lane), low_sums);
            vst1q_u16(out.as_mut_ptr().add(lane + 8), high_sums);
        }
    }
}
