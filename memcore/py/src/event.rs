//! A bank's history as Python values: one flat class, whose `kind` says which fields are set.

use memcore_engine::model::{self, EventKind};
use pyo3::prelude::*;

use crate::operation::to_python;
use crate::result::{Chunk, ChunkFailures, Memory, OperationResult, Provenance};

/// One entry of a bank's history.
#[pyclass(frozen, get_all, module = "memcore")]
#[derive(Default)]
pub struct Event {
    revision: u64,
    index: u32,
    time: i64,
    kind: &'static str,
    chunk: Option<Py<Chunk>>,
    chunk_id: Option<String>,
    operation: Option<Py<PyAny>>,
    result: Option<Py<OperationResult>>,
    before: Option<Py<Memory>>,
    provenance: Option<Py<Provenance>>,
    from_position: Option<u64>,
    to_position: Option<u64>,
    skipped: bool,
    failures: Option<Py<ChunkFailures>>,
    raw_output: Option<String>,
}

#[pymethods]
impl Event {
    fn __repr__(&self) -> String {
        format!("Event(revision={}, index={}, kind={:?})", self.revision, self.index, self.kind)
    }
}

impl Event {
    pub fn new(py: Python<'_>, event: model::Event) -> PyResult<Self> {
        Ok(Self {
            revision: event.revision,
            index: event.index,
            time: event.time,
            ..Self::of(py, event.what)?
        })
    }

    fn of(py: Python<'_>, what: EventKind) -> PyResult<Self> {
        Ok(match what {
            EventKind::BankCreated { .. } => Self { kind: "bank_created", ..Self::default() },
            EventKind::ChunkAppended { chunk } => Self {
                kind: "chunk_appended",
                chunk_id: Some(chunk.chunk_id.clone()),
                chunk: Some(Py::new(py, Chunk(chunk))?),
                ..Self::default()
            },
            EventKind::OperationApplied { operation, result, before, provenance } => Self {
                kind: "operation_applied",
                chunk_id: provenance.chunk.as_ref().map(|(id, _)| id.clone()),
                operation: Some(to_python(py, operation)?),
                result: Some(Py::new(py, OperationResult(result))?),
                before: before.map(|memory| Py::new(py, Memory(memory))).transpose()?,
                provenance: Some(Py::new(py, Provenance(provenance))?),
                ..Self::default()
            },
            EventKind::CursorMoved { from, to, chunk_id, skipped, raw_output, .. } => Self {
                kind: "cursor_moved",
                chunk_id: Some(chunk_id),
                from_position: Some(from),
                to_position: Some(to),
                skipped,
                raw_output: raw_output.map(|raw| raw.text),
                ..Self::default()
            },
            EventKind::ChunkFailed { position, chunk_id, failures, raw_output } => Self {
                kind: "chunk_failed",
                chunk_id: Some(chunk_id),
                from_position: Some(position),
                failures: Some(Py::new(py, failures_of(failures))?),
                raw_output: raw_output.map(|raw| raw.text),
                ..Self::default()
            },
            EventKind::ChunkRetried { position, chunk_id } => Self {
                kind: "chunk_retried",
                chunk_id: Some(chunk_id),
                from_position: Some(position),
                ..Self::default()
            },
            EventKind::EmbedderSet { .. } => Self { kind: "embedder_set", ..Self::default() },
        })
    }
}

fn failures_of(failures: model::ChunkFailures) -> ChunkFailures {
    ChunkFailures { count: failures.count, message: failures.message, parked: failures.parked }
}
