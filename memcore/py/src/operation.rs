//! Operations as Python values, and the engine's names for types and reasons.

use std::hash::{Hash, Hasher};

use memcore_engine::model::{self, Embedding, MemoryType, Metadata, OperationErrorReason};
use pyo3::prelude::*;

use crate::error::refuse;
use crate::vector::vector;

/// Adds a semantic or episodic memory.
#[pyclass(frozen, eq, hash, module = "memcore")]
#[derive(PartialEq, Eq, Hash)]
pub struct Insert {
    #[pyo3(get)]
    r#type: &'static str,
    #[pyo3(get)]
    content: String,
    #[pyo3(get)]
    event_time: String,
    #[pyo3(get)]
    metadata: Metadata,
    embedding: Vector,
}

/// A vector on its way in; it is not shown again.
#[derive(Clone, Default, PartialEq, Eq)]
struct Vector(Option<Embedding>);

impl Hash for Vector {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.as_ref().map(|embedding| &embedding.0).hash(state);
    }
}

impl Vector {
    fn new(array: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        array.map(|array| vector("embedding", array)).transpose().map(Self)
    }
}

#[pymethods]
impl Insert {
    #[new]
    #[pyo3(signature = (r#type, content, event_time="", metadata=None, *, embedding=None))]
    fn new(
        r#type: &str,
        content: String,
        event_time: &str,
        metadata: Option<Metadata>,
        embedding: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        Ok(Self {
            embedding: Vector::new(embedding)?,
            r#type: type_name(memory_type(r#type)?),
            content,
            event_time: event_time.to_owned(),
            metadata: metadata.unwrap_or_default(),
        })
    }

    fn __repr__(&self) -> String {
        format!("Insert({:?}, {:?}, {:?})", self.r#type, self.content, self.event_time)
    }
}

/// Replaces a memory's content; `event_time=None` keeps what is there.
#[pyclass(frozen, eq, hash, module = "memcore")]
#[derive(PartialEq, Eq, Hash)]
pub struct Update {
    #[pyo3(get)]
    r#type: &'static str,
    #[pyo3(get)]
    memory_id: u64,
    #[pyo3(get)]
    content: String,
    #[pyo3(get)]
    event_time: Option<String>,
    embedding: Vector,
}

#[pymethods]
impl Update {
    #[new]
    #[pyo3(signature = (r#type, memory_id, content, event_time=None, *, embedding=None))]
    fn new(
        r#type: &str,
        memory_id: u64,
        content: String,
        event_time: Option<String>,
        embedding: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let r#type = type_name(memory_type(r#type)?);
        Ok(Self { r#type, memory_id, content, event_time, embedding: Vector::new(embedding)? })
    }

    fn __repr__(&self) -> String {
        format!("Update({:?}, {}, {:?})", self.r#type, self.memory_id, self.content)
    }
}

/// Removes a memory. Core memory becomes empty.
#[pyclass(frozen, eq, hash, get_all, module = "memcore")]
#[derive(PartialEq, Eq, Hash)]
pub struct Delete {
    r#type: &'static str,
    memory_id: u64,
}

#[pymethods]
impl Delete {
    #[new]
    fn new(r#type: &str, memory_id: u64) -> PyResult<Self> {
        Ok(Self { r#type: type_name(memory_type(r#type)?), memory_id })
    }

    fn __repr__(&self) -> String {
        format!("Delete({:?}, {})", self.r#type, self.memory_id)
    }
}

/// A tool call that came to nothing before it reached the bank; kept in the history.
#[pyclass(frozen, eq, hash, get_all, module = "memcore")]
#[derive(PartialEq, Eq, Hash)]
pub struct Rejected {
    text: String,
    reason: &'static str,
    message: String,
}

#[pymethods]
impl Rejected {
    #[new]
    fn new(text: String, reason: &str, message: String) -> PyResult<Self> {
        Ok(Self { text, reason: reason_name(parse_reason(reason)?), message })
    }

    fn __repr__(&self) -> String {
        format!("Rejected({:?}, {:?}, {:?})", self.text, self.reason, self.message)
    }
}

/// Any of the four, as an argument.
#[derive(FromPyObject)]
pub enum Operation<'py> {
    Insert(Bound<'py, Insert>),
    Update(Bound<'py, Update>),
    Delete(Bound<'py, Delete>),
    Rejected(Bound<'py, Rejected>),
}

impl Operation<'_> {
    pub fn to_engine(&self) -> PyResult<model::Operation> {
        Ok(match self {
            Self::Insert(insert) => {
                let insert = insert.get();
                model::Operation::Insert {
                    kind: memory_type(insert.r#type)?,
                    content: insert.content.clone(),
                    event_time: insert.event_time.clone(),
                    metadata: insert.metadata.clone(),
                    embedding: insert.embedding.0.clone(),
                }
            }
            Self::Update(update) => {
                let update = update.get();
                model::Operation::Update {
                    kind: memory_type(update.r#type)?,
                    memory_id: update.memory_id,
                    content: update.content.clone(),
                    event_time: update.event_time.clone(),
                    embedding: update.embedding.0.clone(),
                }
            }
            Self::Delete(delete) => model::Operation::Delete {
                kind: memory_type(delete.get().r#type)?,
                memory_id: delete.get().memory_id,
            },
            Self::Rejected(rejected) => model::Operation::Rejected {
                text: rejected.get().text.clone(),
                error: model::OperationError {
                    reason: parse_reason(rejected.get().reason)?,
                    message: rejected.get().message.clone(),
                },
            },
        })
    }
}

/// An operation out of the history.
pub fn to_python(py: Python<'_>, operation: model::Operation) -> PyResult<Py<PyAny>> {
    Ok(match operation {
        model::Operation::Insert { kind, content, event_time, metadata, embedding } => {
            let (r#type, embedding) = (type_name(kind), Vector(embedding));
            Py::new(py, Insert { r#type, content, event_time, metadata, embedding })?.into_any()
        }
        model::Operation::Update { kind, memory_id, content, event_time, embedding } => {
            let (r#type, embedding) = (type_name(kind), Vector(embedding));
            Py::new(py, Update { r#type, memory_id, content, event_time, embedding })?.into_any()
        }
        model::Operation::Delete { kind, memory_id } => {
            let r#type = type_name(kind);
            Py::new(py, Delete { r#type, memory_id })?.into_any()
        }
        model::Operation::Rejected { text, error } => {
            Py::new(py, Rejected { text, reason: reason_name(error.reason), message: error.message })?
                .into_any()
        }
    })
}

pub fn memory_type(name: &str) -> PyResult<MemoryType> {
    match name {
        "core" => Ok(MemoryType::Core),
        "semantic" => Ok(MemoryType::Semantic),
        "episodic" => Ok(MemoryType::Episodic),
        _ => Err(refuse(
            "INVALID_MEMORY_TYPE",
            format!("type must be core, semantic or episodic, got {name:?}"),
        )),
    }
}

pub fn memory_types(names: &[String]) -> PyResult<Vec<MemoryType>> {
    names.iter().map(|name| memory_type(name)).collect()
}

pub fn type_name(kind: MemoryType) -> &'static str {
    match kind {
        MemoryType::Core => "core",
        MemoryType::Semantic => "semantic",
        MemoryType::Episodic => "episodic",
    }
}

const REASONS: [OperationErrorReason; 9] = [
    OperationErrorReason::MemoryNotFound,
    OperationErrorReason::NotInView,
    OperationErrorReason::DuplicateContent,
    OperationErrorReason::CoreNotInsertable,
    OperationErrorReason::InvalidContent,
    OperationErrorReason::ContentTooLong,
    OperationErrorReason::TypeDisabled,
    OperationErrorReason::MalformedCall,
    OperationErrorReason::BatchAborted,
];

fn parse_reason(name: &str) -> PyResult<OperationErrorReason> {
    let found = REASONS.into_iter().find(|reason| reason_name(*reason) == name);
    found.ok_or_else(|| {
        let message = format!("reason must be a known reason such as MALFORMED_CALL, got {name:?}");
        refuse("INVALID_OPERATION", message)
    })
}

pub fn reason_name(reason: OperationErrorReason) -> &'static str {
    match reason {
        OperationErrorReason::MemoryNotFound => "MEMORY_NOT_FOUND",
        OperationErrorReason::NotInView => "NOT_IN_VIEW",
        OperationErrorReason::DuplicateContent => "DUPLICATE_CONTENT",
        OperationErrorReason::CoreNotInsertable => "CORE_NOT_INSERTABLE",
        OperationErrorReason::InvalidContent => "INVALID_CONTENT",
        OperationErrorReason::ContentTooLong => "CONTENT_TOO_LONG",
        OperationErrorReason::TypeDisabled => "TYPE_DISABLED",
        OperationErrorReason::MalformedCall => "MALFORMED_CALL",
        OperationErrorReason::BatchAborted => "BATCH_ABORTED",
    }
}
