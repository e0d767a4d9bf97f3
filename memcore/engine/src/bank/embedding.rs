//! From texts and callers' bytes to unit vectors.

use memcore_vector::normalized;

use super::vectors::Vector;
use crate::error::{Error, Result};
use crate::model::{Embedder, Embedding};

/// The vector of a text, if the bank's embedder is the built-in one and knows a word of it.
pub(crate) fn embedded(embedder: &Embedder, text: &str) -> Option<Vector> {
    if *embedder != Embedder::Builtin {
        return None;
    }
    let builtin = memcore_embed::builtin();
    let mut vector = vec![0.0; builtin.dimensions()];
    builtin.embed(text, &mut vector).then(|| vector.into())
}

/// A caller's vector, brought to unit length.
///
/// # Errors
/// `NO_EXTERNAL_EMBEDDER` if the bank makes its own vectors or none; `INVALID_EMBEDDING` if it is no vector of the
/// bank's embedder.
pub(crate) fn given(parameter: &str, embedding: &Embedding, embedder: &Embedder) -> Result<Vector> {
    let Embedder::External { id, dimensions } = embedder else {
        let message = format!(
            "{parameter} must be empty unless the bank has an external embedder; set one with SetEmbedder"
        );
        return Err(Error::invalid("NO_EXTERNAL_EMBEDDER", message).with("parameter", parameter));
    };
    let bytes = &*embedding.0;
    let refuse = |what: String| {
        let message = format!("{parameter} {what}");
        Err(Error::invalid("INVALID_EMBEDDING", message).with("parameter", parameter))
    };
    if bytes.len() != *dimensions as usize * size_of::<f32>() {
        let got = bytes.len() as f64 / size_of::<f32>() as f64;
        return refuse(format!("must hold {dimensions} 32-bit floats, as embedder {id:?} makes, got {got}"));
    }
    let floats: Vec<f32> = bytes.as_chunks().0.iter().copied().map(f32::from_le_bytes).collect();
    match normalized(&floats, *dimensions as usize) {
        Ok(vector) => Ok(vector.into()),
        Err(error) => refuse(format!("must be a vector with a direction: {error}")),
    }
}
