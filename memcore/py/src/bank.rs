//! A bank's handle: the store, the id and the uid. It holds no state, so it never shows an old one.

use memcore_engine::model::{self, Batch, EventFilter, Page, Query, View, Writer};
use memcore_engine::{Result, Store, limits};
use pyo3::prelude::*;

use crate::error::{count, raise, refuse};
use crate::event::Event;
use crate::operation::{Operation, memory_type, memory_types};
use crate::result::{self, AppendResult, Applied, Hit, Memory, NewChunk, WriterView};

const PAGE: usize = 1000;
const RECENT: usize = 5;
const RELEVANT: usize = 10;

/// One bank of a store. Writes fail with NotFoundError once it is deleted, even if its id is used again.
#[pyclass(frozen, module = "memcore")]
pub struct Bank {
    store: Store,
    bank_id: String,
    bank_uid: String,
}

impl Bank {
    pub fn new(store: Store, bank: model::Bank) -> Self {
        Self { store, bank_id: bank.bank_id, bank_uid: bank.bank_uid }
    }

    fn read(&self, py: Python<'_>) -> PyResult<model::Bank> {
        py.detach(|| self.store.bank(&self.bank_id, Some(&self.bank_uid))).map_err(raise)
    }
}

#[pymethods]
impl Bank {
    #[getter]
    fn bank_id(&self) -> &str {
        &self.bank_id
    }

    #[getter]
    fn bank_uid(&self) -> &str {
        &self.bank_uid
    }

    #[getter]
    fn revision(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(self.read(py)?.revision)
    }

    #[getter]
    fn memory_revision(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(self.read(py)?.memory_revision)
    }

    #[getter]
    fn cursor(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(self.read(py)?.cursor)
    }

    #[getter]
    fn cursor_token(&self, py: Python<'_>) -> PyResult<String> {
        Ok(self.read(py)?.cursor_token)
    }

    /// Appends chunks in order, all or none; returns once they are as durable as the bank.
    fn append_chunks(&self, py: Python<'_>, chunks: Vec<Bound<'_, NewChunk>>) -> PyResult<Vec<AppendResult>> {
        let chunks = chunks.iter().map(|chunk| chunk.get().0.clone()).collect();
        let appended = py
            .detach(|| self.store.append_chunks(&self.bank_id, Some(&self.bank_uid), chunks))
            .map_err(raise)?;
        let results = appended
            .results
            .into_iter()
            .map(|result| AppendResult { position: result.position, already_stored: result.already_stored });
        Ok(results.collect())
    }

    /// Applies operations in order and reports on each.
    #[pyo3(signature = (
        operations, *, cursor_token=None, memory_revision=None, advance_to=None, atomic=false,
        writer_id="person", request_id="",
    ))]
    #[expect(clippy::too_many_arguments, reason = "keywords in Python")]
    fn apply(
        &self,
        py: Python<'_>,
        operations: Vec<Operation<'_>>,
        cursor_token: Option<String>,
        memory_revision: Option<u64>,
        advance_to: Option<u64>,
        atomic: bool,
        writer_id: &str,
        request_id: &str,
    ) -> PyResult<Applied> {
        let operations: PyResult<_> = operations.iter().map(Operation::to_engine).collect();
        let batch = Batch {
            operations: operations?,
            cursor_token,
            memory_revision,
            advance_to,
            atomic,
            writer: Writer { policy_id: writer_id.to_owned(), ..Writer::default() },
            raw_output: String::new(),
            request_id: request_id.to_owned(),
        };
        let applied = py.detach(|| self.store.apply(&self.bank_id, Some(&self.bank_uid), batch));
        Applied::new(py, applied.map_err(raise)?)
    }

    /// Ranks memories against each query: one list of hits per query, best first. `types=None` means semantic
    /// and episodic memories, ranked together.
    #[pyo3(signature = (queries, *, types=None, limit=20))]
    fn search(
        &self,
        py: Python<'_>,
        queries: Vec<String>,
        types: Option<Vec<String>>,
        limit: i64,
    ) -> PyResult<Vec<Vec<Hit>>> {
        let limit = count("limit", limit, 1..=limits::HITS)?;
        let types = memory_types(&types.unwrap_or_default())?;
        let queries: Vec<_> = queries
            .into_iter()
            .map(|text| Query { text, types: types.clone(), limit, include_pending: false })
            .collect();
        let reply = py.detach(|| self.store.search(&self.bank_id, &queries)).map_err(raise)?;
        let hits = |hits: model::Hits| hits.memories.into_iter().map(|hit| Hit::new(py, hit)).collect();
        reply.results.into_iter().map(hits).collect()
    }

    /// All memories in order of their ids, core memory first; of one type if given.
    #[pyo3(signature = (r#type=None))]
    fn memories(&self, py: Python<'_>, r#type: Option<&str>) -> PyResult<Vec<Py<Memory>>> {
        let kind = r#type.map(memory_type).transpose()?;
        let all = py.detach(|| {
            let mut created_by = None;
            pages(|after| {
                let (page, revision) = self.store.memories(&self.bank_id, kind, after, created_by, PAGE)?;
                created_by.get_or_insert(revision);
                Ok(page)
            })
        });
        result::memories(py, all.map_err(raise)?)
    }

    /// Reads, at one revision, what a policy needs for the next chunk: memories that match it (`relevant`,
    /// 10 per type) or the newest ones (`recent`, 5 per type).
    #[pyo3(signature = (mode="relevant", *, semantic=None, episodic=None))]
    fn view(
        &self,
        py: Python<'_>,
        mode: &str,
        semantic: Option<i64>,
        episodic: Option<i64>,
    ) -> PyResult<WriterView> {
        let semantic = semantic.map(|size| count("semantic", size, 0..=limits::HITS)).transpose()?;
        let episodic = episodic.map(|size| count("episodic", size, 0..=limits::HITS)).transpose()?;
        let view = match mode {
            "relevant" => View::Relevant {
                semantic: semantic.unwrap_or(RELEVANT),
                episodic: episodic.unwrap_or(RELEVANT),
            },
            "recent" => {
                View::Recent { semantic: semantic.unwrap_or(RECENT), episodic: episodic.unwrap_or(RECENT) }
            }
            _ => {
                let message = format!("mode must be relevant or recent, got {mode:?}");
                return Err(refuse("INVALID_VIEW", message));
            }
        };
        let view = py.detach(|| self.store.writer_view(&self.bank_id, view));
        WriterView::new(py, view.map_err(raise)?)
    }

    /// The whole history, oldest first.
    fn events(&self, py: Python<'_>) -> PyResult<Vec<Event>> {
        let filter = EventFilter::default();
        let all = py
            .detach(|| pages(|after| self.store.events(&self.bank_id, &filter, after, PAGE)))
            .map_err(raise)?;
        all.into_iter().map(|event| Event::new(py, event)).collect()
    }

    fn __repr__(&self) -> String {
        format!("Bank(bank_id={:?}, bank_uid={:?})", self.bank_id, self.bank_uid)
    }
}

/// Reads a listing to its end.
pub fn pages<T, P>(mut page: impl FnMut(Option<P>) -> Result<Page<T, P>>) -> Result<Vec<T>> {
    let first = page(None)?;
    let (mut items, mut next) = (first.items, first.next);
    while let Some(start) = next {
        let more = page(Some(start))?;
        items.extend(more.items);
        next = more.next;
    }
    Ok(items)
}
