//! Eight bits per component: x is about x̂ = scale * code, and how far is known.

use crate::unit::sum_of_squares;

/// Largest code. -128 is not used, so that codes are symmetric.
const MAX_CODE: f32 = 127.0;

/// Adding and taking off 1.5 * 2^23 rounds a small `f32` to a whole number.
const ROUNDER: f32 = 12_582_912.0;

#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[repr(C)]
pub(crate) struct Quantized {
    /// What one step of the codes is worth.
    pub(crate) scale: f32,
    /// The norm of x - x̂.
    pub(crate) residual: f32,
}

/// Writes the codes of a unit vector.
pub(crate) fn quantize(row: &[f32], codes: &mut [i8]) -> Quantized {
    let largest = row.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
    let (scale, inverse) = (largest / MAX_CODE, MAX_CODE / largest);
    for (code, x) in codes.iter_mut().zip(row) {
        *code = ((x * inverse + ROUNDER) - ROUNDER) as i8;
    }
    let rest = |(x, code): (&f32, &i8)| f64::from(*x) - f64::from(scale) * f64::from(*code);
    let residual = sum_of_squares(row.iter().zip(codes.iter()).map(rest)).sqrt() as f32;
    Quantized { scale, residual }
}

#[cfg(test)]
mod tests {
    use super::quantize;

    #[test]
    fn the_largest_component_gets_the_largest_code() {
        let mut codes = [0i8; 3];
        let quantized = quantize(&[0.6, -0.8, 0.003], &mut codes);
        // A step is 0.8 / 127 = 0.0062992; 0.6 is 95.25 steps and 0.003 is 0.476.
        assert_eq!(codes, [95, -127, 0]);
        assert!((quantized.scale - 0.006_299_2).abs() < 1e-7);
        // 0.6 - 95 * 0.0062992 = 0.0015748; with 0.003: sqrt(0.0015748² + 0.003²) = 0.0033882
        assert!((quantized.residual - 0.003_388_2).abs() < 1e-6);
    }

    #[test]
    fn one_large_component_hides_denormals_but_not_their_residual() {
        let mut codes = [0i8; 2];
        let quantized = quantize(&[1.0, 1e-40], &mut codes);
        assert_eq!(codes, [127, 0]);
        assert!(quantized.residual >= 0.0 && quantized.residual < 1e-7);
    }
}
