//! Vectors from Python: anything with a buffer of 32-bit floats, such as a NumPy array.

use memcore_engine::model::Embedding;
use pyo3::buffer::PyBuffer;
use pyo3::prelude::*;

use crate::error::refuse;

/// One vector: a contiguous buffer of one dimension.
pub fn vector(parameter: &str, array: &Bound<'_, PyAny>) -> PyResult<Embedding> {
    floats(parameter, array, 1).map(|(_, numbers)| packed(&numbers))
}

/// One vector a row: a contiguous buffer of two dimensions with `rows` rows.
pub fn rows(parameter: &str, array: &Bound<'_, PyAny>, rows: usize) -> PyResult<Vec<Embedding>> {
    let (buffer, numbers) = floats(parameter, array, 2)?;
    let (found, width) = (buffer.shape()[0], buffer.shape()[1]);
    if found != rows {
        let message = format!("{parameter} must have {rows} rows, one for each, got {found}");
        return Err(refuse("INVALID_EMBEDDING", message));
    }
    if width == 0 {
        return Ok(vec![packed(&[]); rows]);
    }
    Ok(numbers.chunks(width).map(packed).collect())
}

fn floats(
    parameter: &str,
    array: &Bound<'_, PyAny>,
    dimensions: usize,
) -> PyResult<(PyBuffer<f32>, Vec<f32>)> {
    let rule = format!("a C-contiguous buffer of 32-bit floats with {dimensions} dimension(s)");
    let wrong = |got: String| refuse("INVALID_EMBEDDING", format!("{parameter} must be {rule}, got {got}"));
    let buffer = PyBuffer::<f32>::get(array).map_err(|error| wrong(error.to_string()))?;
    if buffer.dimensions() != dimensions || !buffer.is_c_contiguous() {
        let contiguous = if buffer.is_c_contiguous() { "contiguous" } else { "not contiguous" };
        return Err(wrong(format!("{} dimension(s), {contiguous}", buffer.dimensions())));
    }
    let numbers = buffer.to_vec(array.py())?;
    Ok((buffer, numbers))
}

fn packed(numbers: &[f32]) -> Embedding {
    let mut bytes = vec![0; size_of_val(numbers)];
    for (bytes, number) in bytes.as_chunks_mut().0.iter_mut().zip(numbers) {
        *bytes = number.to_le_bytes();
    }
    Embedding(bytes.into())
}
