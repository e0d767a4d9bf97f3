//! What words and tokens are: one definition of each for everything that is stored, searched or limited.
//!
//! Invariant: a document and a query go through the same [`Analyzer`], so a word typed as it was stored always
//! matches. Token counts are o200k counts of a text taken alone.

mod analyzer;
mod fold;
mod stopwords;
mod terms;
#[cfg(test)]
mod tests;
pub mod tokens;

pub use analyzer::{Analyzer, LANGUAGES};
pub use terms::Terms;
