//! Exact and approximate nearest neighbours of unit vectors. All SIMD and `unsafe` of memcore is here.
//!
//! Documents are numbered from 0 within a part of a bank, and a document may have no vector yet. [`Vectors`] grows
//! in RAM; [`SealedVectors`] never changes and is read where its bytes lie. Both are searched as a [`Part`], with
//! one [`Query`] for all parts of a bank. The score of a document is the product of two `f32` rows in one fixed
//! order, so it has the same bits in whichever part it lies, whichever way it was found, on whichever CPU.
//!
//! An exact search equals brute force over the rows, and one that may have missed a neighbour says so.

#[cfg(target_endian = "big")]
compile_error!("sealed vectors are little-endian and read where they lie");

mod aligned;
mod bits;
mod bytes;
mod candidates;
#[cfg(test)]
#[path = "../tests/data/mod.rs"]
mod data;
mod error;
mod graph;
mod kernels;
mod part;
mod prefilter;
mod quantize;
mod query;
mod rotation;
mod scan;
mod sealed;
mod signs;
mod unit;
mod vectors;

pub use bits::BitSet;
pub use error::VectorError;
pub use kernels::Kernels;
pub use part::{Found, Hit, Mode, Part};
pub use query::Query;
pub use sealed::{SealOptions, SealedVectors};
pub use unit::{MAX_DIMENSION, check_dimension, normalized};
pub use vectors::Vectors;
