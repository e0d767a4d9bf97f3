//! What the engine answers, as frozen Python values. Times are microseconds since the Unix epoch.

use std::sync::Arc;

use memcore_engine::model::{self, Metadata};
use pyo3::prelude::*;

use crate::operation::{reason_name, type_name};

/// Characters of a text that a repr shows.
const SHOWN_CHARS: usize = 60;

pub fn shown(text: &str) -> String {
    let head: String = text.chars().take(SHOWN_CHARS).collect();
    let dots = if head.len() < text.len() { "..." } else { "" };
    format!("{head:?}{dots}")
}

/// A chunk to append.
#[pyclass(frozen, eq, module = "memcore")]
#[derive(PartialEq)]
pub struct NewChunk(pub model::NewChunk);

#[pymethods]
impl NewChunk {
    #[new]
    #[pyo3(signature = (chunk_id, text, event_time="", source="", metadata=None))]
    fn new(
        chunk_id: String,
        text: String,
        event_time: &str,
        source: &str,
        metadata: Option<Metadata>,
    ) -> Self {
        Self(model::NewChunk {
            chunk_id,
            text,
            event_time: event_time.to_owned(),
            source: source.to_owned(),
            metadata: metadata.unwrap_or_default(),
        })
    }

    #[getter]
    fn chunk_id(&self) -> &str {
        &self.0.chunk_id
    }

    #[getter]
    fn text(&self) -> &str {
        &self.0.text
    }

    #[getter]
    fn event_time(&self) -> &str {
        &self.0.event_time
    }

    #[getter]
    fn source(&self) -> &str {
        &self.0.source
    }

    #[getter]
    fn metadata(&self) -> &Metadata {
        &self.0.metadata
    }

    fn __repr__(&self) -> String {
        format!("NewChunk({:?}, {})", self.0.chunk_id, shown(&self.0.text))
    }
}

/// A chunk as the bank holds it.
#[pyclass(frozen, eq, module = "memcore")]
#[derive(PartialEq)]
pub struct Chunk(pub model::Chunk);

#[pymethods]
impl Chunk {
    #[getter]
    fn chunk_id(&self) -> &str {
        &self.0.chunk_id
    }

    #[getter]
    fn position(&self) -> u64 {
        self.0.position
    }

    #[getter]
    fn text(&self) -> &str {
        &self.0.text
    }

    #[getter]
    fn token_count(&self) -> u32 {
        self.0.token_count
    }

    #[getter]
    fn event_time(&self) -> &str {
        &self.0.event_time
    }

    #[getter]
    fn source(&self) -> &str {
        &self.0.source
    }

    #[getter]
    fn metadata(&self) -> &Metadata {
        &self.0.metadata
    }

    #[getter]
    fn create_time(&self) -> i64 {
        self.0.create_time
    }

    fn __repr__(&self) -> String {
        format!(
            "Chunk(chunk_id={:?}, position={}, text={})",
            self.0.chunk_id,
            self.0.position,
            shown(&self.0.text)
        )
    }
}

/// Where a memory's present content comes from.
#[pyclass(frozen, eq, module = "memcore")]
#[derive(PartialEq)]
pub struct Provenance(pub model::Provenance);

#[pymethods]
impl Provenance {
    #[getter]
    fn revision(&self) -> u64 {
        self.0.revision
    }

    #[getter]
    fn operation_index(&self) -> u32 {
        self.0.operation_index
    }

    #[getter]
    fn chunk_id(&self) -> Option<&str> {
        self.0.chunk.as_ref().map(|(id, _)| id.as_str())
    }

    #[getter]
    fn chunk_position(&self) -> Option<u64> {
        self.0.chunk.as_ref().map(|(_, position)| *position)
    }

    #[getter]
    fn policy_id(&self) -> &str {
        &self.0.writer.policy_id
    }

    #[getter]
    fn policy_version(&self) -> i64 {
        self.0.writer.policy_version
    }

    #[getter]
    fn prompt_digest(&self) -> &str {
        &self.0.writer.prompt_digest
    }

    fn __repr__(&self) -> String {
        let chunk = self.chunk_id().map_or("None".into(), |id| format!("{id:?}"));
        format!(
            "Provenance(revision={}, operation_index={}, chunk_id={chunk}, policy_id={:?})",
            self.0.revision, self.0.operation_index, self.0.writer.policy_id
        )
    }
}

/// One item that a bank remembers.
#[pyclass(frozen, eq, module = "memcore")]
#[derive(PartialEq)]
pub struct Memory(pub Arc<model::Memory>);

#[pymethods]
impl Memory {
    #[getter]
    fn id(&self) -> u64 {
        self.0.id
    }

    #[getter]
    fn r#type(&self) -> &'static str {
        type_name(self.0.kind)
    }

    #[getter]
    fn content(&self) -> &str {
        &self.0.content
    }

    #[getter]
    fn token_count(&self) -> u32 {
        self.0.token_count
    }

    #[getter]
    fn event_time(&self) -> &str {
        &self.0.event_time
    }

    #[getter]
    fn metadata(&self) -> &Metadata {
        &self.0.metadata
    }

    #[getter]
    fn create_revision(&self) -> u64 {
        self.0.create_revision
    }

    #[getter]
    fn update_revision(&self) -> u64 {
        self.0.update_revision
    }

    #[getter]
    fn create_time(&self) -> i64 {
        self.0.create_time
    }

    #[getter]
    fn update_time(&self) -> i64 {
        self.0.update_time
    }

    #[getter]
    fn provenance(&self) -> Provenance {
        Provenance(self.0.provenance.clone())
    }

    pub fn __repr__(&self) -> String {
        format!("Memory(id={}, type={:?}, content={})", self.0.id, self.r#type(), shown(&self.0.content))
    }
}

/// Python objects of many memories.
pub fn memories(py: Python<'_>, memories: Vec<Arc<model::Memory>>) -> PyResult<Vec<Py<Memory>>> {
    memories.into_iter().map(|memory| Py::new(py, Memory(memory))).collect()
}

/// What became of one appended chunk.
#[pyclass(frozen, eq, get_all, module = "memcore")]
#[derive(PartialEq)]
pub struct AppendResult {
    pub position: u64,
    pub already_stored: bool,
}

#[pymethods]
impl AppendResult {
    fn __repr__(&self) -> String {
        let stored = if self.already_stored { "True" } else { "False" };
        format!("AppendResult(position={}, already_stored={stored})", self.position)
    }
}

/// Failures of the chunk at the cursor.
#[pyclass(frozen, eq, get_all, module = "memcore")]
#[derive(PartialEq)]
pub struct ChunkFailures {
    pub count: u32,
    pub message: String,
    pub parked: bool,
}

#[pymethods]
impl ChunkFailures {
    fn __repr__(&self) -> String {
        let parked = if self.parked { "True" } else { "False" };
        format!("ChunkFailures(count={}, message={}, parked={parked})", self.count, shown(&self.message))
    }
}

/// Why one operation of a batch was not applied.
#[pyclass(frozen, eq, get_all, module = "memcore")]
#[derive(PartialEq)]
pub struct OperationError {
    reason: &'static str,
    message: String,
}

#[pymethods]
impl OperationError {
    fn __repr__(&self) -> String {
        format!("OperationError({:?}, {:?})", self.reason, self.message)
    }
}

/// Outcome of one operation: a memory, or an error.
#[pyclass(frozen, eq, module = "memcore")]
#[derive(PartialEq)]
pub struct OperationResult(pub model::OperationResult);

#[pymethods]
impl OperationResult {
    #[getter]
    fn memory(&self) -> Option<Memory> {
        self.0.outcome.as_ref().ok().map(|memory| Memory(Arc::clone(memory)))
    }

    #[getter]
    fn error(&self) -> Option<OperationError> {
        let error = self.0.outcome.as_ref().err()?;
        Some(OperationError { reason: reason_name(error.reason), message: error.message.clone() })
    }

    #[getter]
    fn truncated(&self) -> bool {
        self.0.truncated
    }

    fn __repr__(&self) -> String {
        let memory = self.memory().map(|memory| memory.__repr__());
        let error = self.error().map(|error| error.__repr__());
        format!("OperationResult({})", memory.or(error).unwrap_or_default())
    }
}

/// What a batch of operations did.
#[pyclass(frozen, module = "memcore")]
pub struct Applied(pub model::Applied);

#[pymethods]
impl Applied {
    /// One for each operation, in order.
    #[getter]
    fn results(&self) -> Vec<OperationResult> {
        self.0.results.iter().cloned().map(OperationResult).collect()
    }

    #[getter]
    fn revision(&self) -> u64 {
        self.0.revision
    }

    #[getter]
    fn memory_revision(&self) -> u64 {
        self.0.memory_revision
    }

    #[getter]
    fn cursor(&self) -> u64 {
        self.0.cursor
    }

    #[getter]
    fn cursor_token(&self) -> &str {
        &self.0.cursor_token
    }

    fn __repr__(&self) -> String {
        format!("Applied(revision={}, results={})", self.0.revision, self.0.results.len())
    }
}

/// What a policy needs for the next chunk, all read at `revision`.
#[pyclass(frozen, get_all, module = "memcore")]
pub struct WriterView {
    revision: u64,
    memory_revision: u64,
    cursor: u64,
    cursor_token: String,
    core: Py<Memory>,
    semantic: Vec<Py<Memory>>,
    episodic: Vec<Py<Memory>>,
    next_chunk: Option<Py<Chunk>>,
}

impl WriterView {
    pub fn new(py: Python<'_>, view: model::WriterView) -> PyResult<Self> {
        let next_chunk = view.next_chunk.map(|chunk| Py::new(py, Chunk(chunk)));
        Ok(Self {
            revision: view.bank.revision,
            memory_revision: view.bank.memory_revision,
            cursor: view.bank.cursor,
            cursor_token: view.bank.cursor_token,
            core: Py::new(py, Memory(view.core))?,
            semantic: memories(py, view.semantic)?,
            episodic: memories(py, view.episodic)?,
            next_chunk: next_chunk.transpose()?,
        })
    }
}

#[pymethods]
impl WriterView {
    fn __repr__(&self) -> String {
        format!(
            "WriterView(revision={}, cursor={}, semantic={}, episodic={})",
            self.revision,
            self.cursor,
            self.semantic.len(),
            self.episodic.len()
        )
    }
}
