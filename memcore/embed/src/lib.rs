//! The built-in static embedder: WordPiece tokens, one weighted row each, summed and brought to unit length.
//!
//! A text's vector depends on the text and the embedder's id alone. All arithmetic is IEEE single and double
//! precision in a fixed order, without fused multiply-add: the same text has the same bits on every machine. Text
//! without a known token has no vector; a zero vector would be near to everything or to nothing.

mod classes;
mod table;
#[cfg(test)]
mod tests;
mod wordpiece;

use std::borrow::Cow;
use std::sync::LazyLock;

use table::Table;

pub use table::TableError;

/// Of the code that turns text into a vector: a change that moves any vector must raise it.
const VERSION: u32 = 1;

static BUILTIN: LazyLock<StaticEmbedder> = LazyLock::new(|| {
    let table: &'static [u8] = include_bytes!("../assets/minilm-static-256.bin");
    StaticEmbedder::open(table).expect("the built-in table is whole; a test opens it")
});

/// The embedder whose table is part of the program. The first call checks the table.
pub fn builtin() -> &'static StaticEmbedder {
    &BUILTIN
}

/// A table of token rows and the tokenizer that finds them. Cheap to share, and pure.
pub struct StaticEmbedder {
    table: Table,
    id: String,
}

impl StaticEmbedder {
    /// Takes a table written by `distill/distill.py`. Refused unless it is whole.
    pub fn open(bytes: impl Into<Cow<'static, [u8]>>) -> Result<Self, TableError> {
        let table = Table::open(bytes.into())?;
        let id = format!("{}-v{VERSION}-{}", table.name(), table.digest());
        Ok(Self { table, id })
    }

    /// Names the table, the code's version and the table's hash: two vectors compare only under the same id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Components of each vector.
    pub fn dimensions(&self) -> usize {
        self.table.dimensions()
    }

    /// Writes the text's unit vector to `out`, of [`Self::dimensions`] components.
    ///
    /// False if no token of the text is known, or their rows cancel out; `out` then holds nothing of use.
    pub fn embed(&self, text: &str, out: &mut [f32]) -> bool {
        assert_eq!(out.len(), self.dimensions(), "out holds one vector");
        out.fill(0.0);
        wordpiece::tokens(text, &self.table, |row| add(out, self.table.scale(row), self.table.row(row)));
        to_unit_length(out)
    }
}

/// Adds `scale * row`, whose bytes are `i8`.
fn add(sum: &mut [f32], scale: f32, row: &[u8]) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2.
        return unsafe { add_avx2(sum, scale, row) };
    }
    add_each(sum, scale, row);
}

/// The same operations in the same order, eight components at a time.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn add_avx2(sum: &mut [f32], scale: f32, row: &[u8]) {
    add_each(sum, scale, row);
}

#[inline(always)]
fn add_each(sum: &mut [f32], scale: f32, row: &[u8]) {
    for (sum, &component) in sum.iter_mut().zip(row) {
        *sum += scale * f32::from(component as i8);
    }
}

/// False, and nothing done, if the vector is zero. Doubles, so that no small sum vanishes when squared.
fn to_unit_length(vector: &mut [f32]) -> bool {
    let squares: f64 = vector.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
    if squares == 0.0 {
        return false;
    }
    let shrink = 1.0 / squares.sqrt();
    for x in vector {
        *x = (f64::from(*x) * shrink) as f32;
    }
    true
}
