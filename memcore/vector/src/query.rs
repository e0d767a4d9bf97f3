//! A query, prepared once for all parts of a bank.

use std::sync::OnceLock;

use crate::VectorError;
use crate::aligned::Aligned;
use crate::kernels::{Kernels, padded};
use crate::quantize::{Quantized, quantize};
use crate::rotation::rotate;
use crate::unit::{NORM_LIMIT, normalized};

/// A query of norm 1 with its codes.
#[derive(Debug, Clone)]
pub struct Query {
    dim: usize,
    row: Aligned<f32>,
    codes: Aligned<i8>,
    quantized: Quantized,
    /// Made when sign codes are first searched.
    rotated: OnceLock<Vec<f32>>,
    kernels: &'static Kernels,
}

impl Query {
    /// Refuses what [`normalized`] refuses.
    pub fn new(vector: &[f32], dim: usize) -> Result<Self, VectorError> {
        Self::with_kernels(vector, dim, Kernels::best())
    }

    /// A query that is answered on the given path. All paths give the same bits.
    pub fn with_kernels(vector: &[f32], dim: usize, kernels: &'static Kernels) -> Result<Self, VectorError> {
        let unit = normalized(vector, dim)?;
        let (mut row, mut codes) = (Aligned::zeros(padded(dim)), Aligned::zeros(padded(dim)));
        row[..dim].copy_from_slice(&unit);
        let quantized = quantize(&row, &mut codes);
        Ok(Self { dim, row, codes, quantized, rotated: OnceLock::new(), kernels })
    }

    /// The query, scaled to norm 1.
    pub fn vector(&self) -> &[f32] {
        &self.row[..self.dim]
    }

    pub(crate) fn dim(&self) -> usize {
        self.dim
    }

    pub(crate) fn row(&self) -> &[f32] {
        &self.row
    }

    /// The row as sign codes see it.
    pub(crate) fn rotated(&self) -> &[f32] {
        self.rotated.get_or_init(|| {
            let mut rotated = vec![0.0; self.row.len()];
            rotate(&self.row, &mut rotated);
            rotated
        })
    }

    pub(crate) fn codes(&self) -> &[i8] {
        &self.codes
    }

    pub(crate) fn scale(&self) -> f32 {
        self.quantized.scale
    }

    pub(crate) fn kernels(&self) -> &'static Kernels {
        self.kernels
    }

    pub(crate) fn bound(&self) -> Bound {
        Bound::new(self.quantized, self.dim)
    }
}

/// How far the score can be from what the codes say.
///
/// With q = q̂ + e and x = x̂ + r, ⟨q, x⟩ - ⟨q̂, x̂⟩ = ⟨q, r⟩ + ⟨e, x̂⟩, which is at most |q||r| + |e|(|x| + |r|)
/// (Cauchy-Schwarz): linear in |r|.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bound {
    pub(crate) scale: f32,
    pub(crate) per_residual: f32,
    pub(crate) constant: f32,
}

impl Bound {
    fn new(query: Quantized, dim: usize) -> Self {
        // Rounding: a sum over dim / 32 products and 6 halvings, and a few operations on the bounds themselves,
        // each of which is off by at most 2^-24 of something near 1.
        let rounding = (dim as f32 / 32.0 + 16.0) * 2.0 * f32::EPSILON;
        Self {
            scale: query.scale,
            per_residual: NORM_LIMIT + query.residual,
            constant: NORM_LIMIT * query.residual + rounding,
        }
    }

    /// The least and the greatest score that a row with these codes can have.
    #[inline]
    pub(crate) fn around(&self, dot: i32, row: Quantized) -> (f32, f32) {
        let middle = dot as f32 * (self.scale * row.scale);
        let error = row.residual * self.per_residual + self.constant;
        (middle - error, middle + error)
    }
}
