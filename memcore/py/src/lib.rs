//! memcore for Python: conversions and nothing else.
//!
//! Every call into the engine runs detached from the interpreter; every class is frozen; `error` is the only
//! place where errors cross the border.

use pyo3::prelude::*;

mod bank;
mod error;
mod event;
mod operation;
mod result;
mod search;
mod server;
mod store;
mod vector;

/// Counts the o200k tokens of `text`.
#[pyfunction]
fn count_tokens(py: Python<'_>, text: &str) -> usize {
    py.detach(|| memcore_engine::count_tokens(text))
}

/// Splits `text` into pieces of at most `max_tokens` o200k tokens; joined, they are the text.
#[pyfunction]
fn split_tokens<'a>(py: Python<'_>, text: &'a str, max_tokens: i64) -> PyResult<Vec<&'a str>> {
    let max_tokens = error::count("max_tokens", max_tokens, 1..=u32::MAX as usize)?;
    Ok(py.detach(|| memcore_engine::split_tokens(text, max_tokens)))
}

#[pymodule]
mod _memcore {
    use pyo3::prelude::*;

    #[pymodule_export]
    use super::bank::Bank;
    #[pymodule_export]
    use super::error::{
        AlreadyExistsError, BusyError, ConflictError, CorruptionError, InternalError, InvalidInputError,
        MemcoreError, NotFoundError, OutOfRangeError, UnsupportedError,
    };
    #[pymodule_export]
    use super::event::Event;
    #[pymodule_export]
    use super::operation::{Delete, Insert, Rejected, Update};
    #[pymodule_export]
    use super::result::{
        AppendResult, Applied, Chunk, ChunkFailures, Memory, NewChunk, OperationError, OperationResult,
        Provenance, WriterView,
    };
    #[pymodule_export]
    use super::search::{Explanation, Hit, Hits, TermScore};
    #[pymodule_export]
    use super::server::{Server, serve};
    #[pymodule_export]
    use super::store::Store;
    #[pymodule_export]
    use super::{count_tokens, split_tokens};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        super::error::set_class_defaults(module.py())
    }
}
