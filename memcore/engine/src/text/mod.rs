//! What words and tokens are: one definition of each for everything that is stored, searched or limited.
//!
//! Invariant: a document and a query go through the same [`Analyzer`], so a word typed as it was stored always
//! matches. Token counts are o200k counts of a text taken alone.

mod analyzer;
mod fold;
mod memo;
mod stopwords;
mod terms;
#[cfg(test)]
mod tests;
pub mod tokens;

pub use analyzer::{Analyzer, LANGUAGES};
pub use terms::Terms;

/// Goes up whenever any text gets other terms than before, so that what was indexed with the old ones is not used.
const ANALYZER_VERSION: u32 = 1;

/// Names an analyzer, so that what was indexed by another one is told apart.
pub fn analyzer_id(language: &str) -> String {
    format!("{language}-{ANALYZER_VERSION}")
}
