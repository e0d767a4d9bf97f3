//! What may be stored or asked: finite vectors of the bank's dimension, scaled to norm 1.

use crate::VectorError;

/// No bank's dimension may be above this.
pub const MAX_DIMENSION: usize = 4096;

/// How far a stored vector's norm may be from 1: what rounding to 16 bits does to it.
const TOLERANCE: f64 = 1e-3;

/// Norms of stored vectors and queries are at most this.
pub(crate) const NORM_LIMIT: f32 = 1.001;

/// Checks a bank's dimension against a limit of at most [`MAX_DIMENSION`].
pub fn check_dimension(dim: usize, limit: usize) -> Result<(), VectorError> {
    let limit = limit.min(MAX_DIMENSION);
    if dim == 0 || dim > limit {
        return Err(VectorError::DimensionLimit { limit, got: dim });
    }
    Ok(())
}

/// `vector` scaled to norm 1. Refuses another dimension than `dim`, NaN, infinity and zero.
pub fn normalized(vector: &[f32], dim: usize) -> Result<Vec<f32>, VectorError> {
    let norm = norm(vector, dim)?;
    Ok(vector.iter().map(|x| (f64::from(*x) / norm) as f32).collect())
}

/// Checks what [`normalized`] made, perhaps long ago.
pub(crate) fn check_unit(vector: &[f32], dim: usize) -> Result<(), VectorError> {
    let norm = norm(vector, dim)?;
    if (norm - 1.0).abs() > TOLERANCE {
        return Err(VectorError::NotUnit { norm });
    }
    Ok(())
}

/// In `f64` no square of an `f32` is lost or infinite.
fn norm(vector: &[f32], dim: usize) -> Result<f64, VectorError> {
    if vector.len() != dim {
        return Err(VectorError::WrongDimension { expected: dim, got: vector.len() });
    }
    let norm = sum_of_squares(vector.iter().map(|x| f64::from(*x))).sqrt();
    if norm.is_finite() && norm > 0.0 {
        return Ok(norm);
    }
    match vector.iter().position(|x| !x.is_finite()) {
        Some(at) => Err(VectorError::NotFinite { at, value: vector[at] }),
        None => Err(VectorError::Zero),
    }
}

/// Eight sums side by side, which a compiler can keep in registers.
pub(crate) fn sum_of_squares(values: impl Iterator<Item = f64>) -> f64 {
    let mut sums = [0.0; 8];
    for (nth, value) in values.enumerate() {
        sums[nth % 8] += value * value;
    }
    sums.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::{MAX_DIMENSION, check_dimension, check_unit, normalized};
    use crate::VectorError;

    #[test]
    fn a_vector_is_scaled_to_norm_one_whatever_its_size() {
        // 3² + 4² = 5²
        for size in [1.0, 1e-42, 1e-20, 1e20, 5e37] {
            let unit = normalized(&[3.0 * size, -4.0 * size], 2).unwrap();
            // 3e-42 is a denormal with some 11 bits.
            assert!((unit[0] - 0.6).abs() < 1e-3 && (unit[1] + 0.8).abs() < 1e-3, "{unit:?}");
            check_unit(&unit, 2).unwrap();
        }
    }

    #[test]
    fn what_is_not_a_direction_is_refused_with_the_reason() {
        let message = |vector: &[f32]| normalized(vector, 2).unwrap_err().to_string();
        assert_eq!(message(&[1.0]), "vector has dimension 1, this bank's is 2");
        assert_eq!(message(&[1.0, f32::NAN]), "vector must be finite, but component 1 is NaN");
        assert_eq!(message(&[f32::NEG_INFINITY, 1.0]), "vector must be finite, but component 0 is -inf");
        assert_eq!(message(&[0.0, -0.0]), "vector must not be zero: it points nowhere");
        assert!(matches!(check_unit(&[1.0, 0.1], 2), Err(VectorError::NotUnit { .. })));
    }

    #[test]
    fn a_dimension_is_at_least_one_and_at_most_the_limit() {
        assert_eq!(check_dimension(1, 384), Ok(()));
        assert_eq!(check_dimension(384, 384), Ok(()));
        assert_eq!(check_dimension(0, 384), Err(VectorError::DimensionLimit { limit: 384, got: 0 }));
        assert_eq!(check_dimension(385, 384), Err(VectorError::DimensionLimit { limit: 384, got: 385 }));
        let beyond = VectorError::DimensionLimit { limit: MAX_DIMENSION, got: 4097 };
        assert_eq!(check_dimension(4097, 10_000), Err(beyond));
    }
}
