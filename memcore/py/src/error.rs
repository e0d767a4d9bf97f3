//! How errors cross the border: one exception per kind, with the reason and the message's variables.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use memcore_engine::{Error, ErrorKind};
use pyo3::create_exception;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::types::PyDict;

create_exception!(memcore, MemcoreError, PyException, "Something memcore refused or could not do.");
create_exception!(memcore, NotFoundError, MemcoreError, "The named bank does not exist.");
create_exception!(memcore, AlreadyExistsError, MemcoreError, "A bank of that id exists.");
create_exception!(memcore, InvalidInputError, MemcoreError, "The request breaks a rule.");
create_exception!(memcore, ConflictError, MemcoreError, "The bank is not in the state the caller read.");
create_exception!(memcore, OutOfRangeError, MemcoreError, "A position is outside what the bank holds.");
create_exception!(
    memcore,
    UnsupportedError,
    MemcoreError,
    "The store cannot serve this in its present state."
);
create_exception!(memcore, BusyError, MemcoreError, "Try again later.");
create_exception!(memcore, CorruptionError, MemcoreError, "Stored bytes are not what was written.");
create_exception!(memcore, InternalError, MemcoreError, "A bug, or a failing disk.");

/// The exception of an engine's error.
pub fn raise(error: Error) -> PyErr {
    let (name, make): (&str, fn(String) -> PyErr) = match error.kind {
        ErrorKind::NotFound => ("not_found", NotFoundError::new_err),
        ErrorKind::AlreadyExists => ("already_exists", AlreadyExistsError::new_err),
        ErrorKind::InvalidInput => ("invalid_input", InvalidInputError::new_err),
        ErrorKind::Conflict => ("conflict", ConflictError::new_err),
        ErrorKind::OutOfRange => ("out_of_range", OutOfRangeError::new_err),
        ErrorKind::Unsupported => ("unsupported", UnsupportedError::new_err),
        ErrorKind::Busy => ("busy", BusyError::new_err),
        ErrorKind::Corruption => ("corruption", CorruptionError::new_err),
        ErrorKind::Internal => ("internal", InternalError::new_err),
    };
    let metadata: BTreeMap<_, _> = error.metadata.into_iter().collect();
    let raised = make(error.message);
    let described = Python::attach(|py| {
        let value = raised.value(py);
        value.setattr("kind", name)?;
        value.setattr("reason", error.reason)?;
        value.setattr("metadata", metadata)
    });
    described.err().unwrap_or(raised)
}

/// The exception of input that never reaches the engine.
pub fn refuse(reason: &'static str, message: impl Into<String>) -> PyErr {
    raise(Error::invalid(reason, message))
}

/// A count from Python, where any integer may stand.
pub fn count<T: TryFrom<i64>>(parameter: &str, value: i64, bounds: RangeInclusive<usize>) -> PyResult<T> {
    let inside = usize::try_from(value).is_ok_and(|value| bounds.contains(&value));
    let converted = T::try_from(value).ok().filter(|_| inside);
    converted.ok_or_else(|| {
        let (least, most) = bounds.into_inner();
        refuse("OUT_OF_BOUNDS", format!("{parameter} must be between {least} and {most}, got {value}"))
    })
}

/// Gives the attributes a place in the class, so that tools and readers find them.
pub fn set_class_defaults(py: Python<'_>) -> PyResult<()> {
    let class = py.get_type::<MemcoreError>();
    class.setattr("kind", "")?;
    class.setattr("reason", "")?;
    class.setattr("metadata", PyDict::new(py))
}
