//! Vectors in RAM, growing.

use crate::aligned::Aligned;
use crate::bits::BitSet;
use crate::kernels::padded;
use crate::part::Part;
use crate::quantize::{Quantized, quantize};
use crate::signs::SignCodes;
use crate::unit::{MAX_DIMENSION, check_dimension, check_unit};
use crate::{Found, Mode, Query, VectorError};

/// Vectors from which sign codes are kept. Later than in a sealed part, since here they rest on the mean of the vectors
/// that were there when they were made.
const SIGNS_FROM: usize = 8_192;

/// The vectors of a part that grows. A clone is a deep copy.
#[derive(Debug, Clone)]
pub struct Vectors {
    dim: usize,
    stride: usize,
    present: BitSet,
    count: usize,
    /// Rows, codes and quantization up to the last document that ever had a vector; zeros where there is none.
    rows: Aligned<f32>,
    codes: Aligned<i8>,
    quantized: Vec<Quantized>,
    signs: Option<SignCodes>,
}

impl Vectors {
    /// No documents yet.
    pub fn new(dim: usize) -> Result<Self, VectorError> {
        check_dimension(dim, MAX_DIMENSION)?;
        Ok(Self {
            dim,
            stride: padded(dim),
            present: BitSet::default(),
            count: 0,
            rows: Aligned::default(),
            codes: Aligned::default(),
            quantized: Vec::new(),
            signs: None,
        })
    }

    /// The next document, perhaps with its vector, which must be [`crate::normalized`]. Nothing changes on error.
    pub fn push(&mut self, vector: Option<&[f32]>) -> Result<u32, VectorError> {
        if let Some(vector) = vector {
            check_unit(vector, self.dim)?;
        }
        let doc = self.present.len() as u32;
        self.present.push(false);
        if let Some(vector) = vector {
            self.write(doc, vector);
        }
        Ok(doc)
    }

    /// Gives a document its vector, in place of the one that it had.
    ///
    /// # Panics
    /// If there is no such document.
    pub fn set(&mut self, doc: u32, vector: &[f32]) -> Result<(), VectorError> {
        check_unit(vector, self.dim)?;
        self.write(doc, vector);
        Ok(())
    }

    /// Takes a document's vector away; no trace of it stays.
    ///
    /// # Panics
    /// If there is no such document.
    pub fn clear(&mut self, doc: u32) {
        if !self.has(doc) {
            assert!((doc as usize) < self.len(), "document {doc} of {}", self.len());
            return;
        }
        let from = doc as usize * self.stride;
        self.rows[from..][..self.stride].fill(0.0);
        self.codes[from..][..self.stride].fill(0);
        self.quantized[doc as usize] = Quantized::default();
        if let Some(signs) = &mut self.signs {
            signs.clear(doc);
        }
        self.present.set(doc, false);
        self.count -= 1;
    }

    fn write(&mut self, doc: u32, vector: &[f32]) {
        if !self.has(doc) {
            self.present.set(doc, true);
            self.count += 1;
        }
        let stored = self.quantized.len().max(doc as usize + 1);
        self.rows.resize(stored * self.stride);
        self.codes.resize(stored * self.stride);
        self.quantized.resize(stored, Quantized::default());
        let from = doc as usize * self.stride;
        let row = &mut self.rows[from..][..self.stride];
        row[..self.dim].copy_from_slice(vector);
        self.quantized[doc as usize] = quantize(row, &mut self.codes[from..][..self.stride]);
        match &mut self.signs {
            Some(signs) if self.count < signs.stale_from() => signs.set(doc, row),
            None if self.count < SIGNS_FROM => (),
            _ => self.signs = Some(SignCodes::of(&self.part())),
        }
    }

    pub fn dim(&self) -> usize {
        self.dim
    }

    /// How many documents there are, with a vector or without.
    pub fn len(&self) -> usize {
        self.present.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many documents have a vector.
    pub fn count(&self) -> usize {
        self.count
    }

    pub fn has(&self, doc: u32) -> bool {
        self.present.contains(doc)
    }

    pub fn get(&self, doc: u32) -> Option<&[f32]> {
        self.part().get(doc)
    }

    /// See [`Part::score`].
    pub fn score(&self, doc: u32, query: &Query) -> Option<f32> {
        self.part().score(doc, query)
    }

    /// See [`Part::search`].
    pub fn search(
        &self,
        query: &Query,
        k: usize,
        allowed: Option<&BitSet>,
        mode: Mode,
        key: impl Fn(u32) -> u64,
    ) -> Found {
        self.part().search(query, k, allowed, mode, key)
    }

    pub fn part(&self) -> Part<'_> {
        Part {
            dim: self.dim,
            stride: self.stride,
            len: self.len(),
            present: self.present.words(),
            rows: &self.rows,
            codes: &self.codes,
            quantized: &self.quantized,
            signs: self.signs.as_ref().map(SignCodes::view),
            graph: None,
        }
    }
}
