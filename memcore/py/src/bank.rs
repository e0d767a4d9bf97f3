//! A bank's handle: the store, the id and the uid. It holds no state, so it never shows an old one.

use memcore_engine::model::{
    self, Batch, EventFilter, MemoryVector, Metadata, Page, VectorResult, View, Writer,
};
use memcore_engine::{Result, Store, limits};
use pyo3::prelude::*;

use crate::error::{count, raise, refuse};
use crate::event::Event;
use crate::operation::{Operation, memory_type};
use crate::result::{self, AppendResult, Applied, Memory, NewChunk, WriterView};
use crate::search::{Hits, Keywords};
use crate::store::{embedder_name, parse_embedder};
use crate::vector::{rows, vector};

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
        applied.map(Applied).map_err(raise)
    }

    /// Ranks memories against each query: one sequence of hits per query, best first.
    ///
    /// `types=None` means semantic and episodic memories, ranked together; `method=None` means words and vectors
    /// together if the bank has an embedder, else words. `embeddings` holds one row per query, by the bank's external
    /// embedder. Filters never change a score.
    #[pyo3(signature = (
        queries, *, types=None, limit=20, method=None, embeddings=None, fusion="convex", vector_weight=None,
        rrf_k=None, scoring="bm25", k1=None, b=None, context_weight=None, date_weight=None, create_time_from=None, create_time_before=None,
        event_time_from="", event_time_before="", metadata=None, source="", min_score=None, exact=false,
        explain=false,
    ))]
    #[expect(clippy::too_many_arguments, reason = "keywords in Python")]
    fn search<'py>(
        &self,
        py: Python<'py>,
        queries: Vec<String>,
        types: Option<Vec<String>>,
        limit: i64,
        method: Option<&'py str>,
        embeddings: Option<Bound<'py, PyAny>>,
        fusion: &'py str,
        vector_weight: Option<f64>,
        rrf_k: Option<i64>,
        scoring: &'py str,
        k1: Option<f64>,
        b: Option<f64>,
        context_weight: Option<f64>,
        date_weight: Option<f64>,
        create_time_from: Option<i64>,
        create_time_before: Option<i64>,
        event_time_from: &'py str,
        event_time_before: &'py str,
        metadata: Option<Metadata>,
        source: &'py str,
        min_score: Option<f64>,
        exact: bool,
        explain: bool,
    ) -> PyResult<Vec<Hits>> {
        let keywords = Keywords {
            types,
            limit,
            method,
            embeddings,
            fusion,
            vector_weight,
            rrf_k,
            scoring,
            k1,
            b,
            context_weight,
            date_weight,
            create_time_from,
            create_time_before,
            event_time_from,
            event_time_before,
            metadata,
            source,
            min_score,
            exact,
            explain,
        };
        let queries = keywords.queries(queries)?;
        let reply = py.detach(|| self.store.search(&self.bank_id, &queries)).map_err(raise)?;
        Ok(reply.results.into_iter().map(Hits::from).collect())
    }

    /// Takes vectors of the bank's external embedder, one row per memory; returns which were stored: not those of
    /// memories that are gone or, with `update_revisions`, have changed since.
    #[pyo3(signature = (memory_ids, vectors, *, update_revisions=None, embedder_id=None))]
    fn put_vectors(
        &self,
        py: Python<'_>,
        memory_ids: Vec<u64>,
        vectors: &Bound<'_, PyAny>,
        update_revisions: Option<Vec<u64>>,
        embedder_id: Option<String>,
    ) -> PyResult<Vec<bool>> {
        let embeddings = rows("vectors", vectors, memory_ids.len())?;
        let revisions = update_revisions.unwrap_or_else(|| vec![0; memory_ids.len()]);
        if revisions.len() != memory_ids.len() {
            let message = format!(
                "update_revisions must hold one for each of {} memories, got {}",
                memory_ids.len(),
                revisions.len()
            );
            return Err(refuse("INVALID_COUNT", message));
        }
        let vectors: Vec<MemoryVector> = memory_ids
            .into_iter()
            .zip(revisions)
            .zip(embeddings)
            .map(|((memory_id, update_revision), embedding)| MemoryVector {
                memory_id,
                update_revision,
                embedding,
            })
            .collect();
        let embedder_id = match embedder_id {
            Some(id) => id,
            None => self.read(py)?.settings.embedder.id().to_owned(),
        };
        let put =
            py.detach(|| self.store.put_vectors(&self.bank_id, Some(&self.bank_uid), &embedder_id, &vectors));
        let (results, _) = put.map_err(raise)?;
        Ok(results.into_iter().map(|result| result == VectorResult::Stored).collect())
    }

    /// Changes what makes the bank's vectors: `builtin`, `none`, or `external` with a model's id and dimensions.
    #[pyo3(signature = (embedder, *, embedder_id="", dimensions=0))]
    fn set_embedder(
        &self,
        py: Python<'_>,
        embedder: &str,
        embedder_id: &str,
        dimensions: i64,
    ) -> PyResult<()> {
        let embedder = parse_embedder(embedder, embedder_id, dimensions)?;
        let set = py.detach(|| self.store.set_embedder(&self.bank_id, Some(&self.bank_uid), embedder));
        set.map(|_| ()).map_err(raise)
    }

    /// Kind and id of what makes the bank's vectors, and a vector's dimensions.
    #[getter]
    fn embedder(&self, py: Python<'_>) -> PyResult<(&'static str, String, usize)> {
        let embedder = self.read(py)?.settings.embedder;
        Ok((embedder_name(&embedder), embedder.id().to_owned(), embedder.dimensions()))
    }

    /// Memories with a vector, and those that still lack one.
    #[getter]
    fn coverage(&self, py: Python<'_>) -> PyResult<(u64, u64)> {
        let stats = self.read(py)?.stats;
        Ok((stats.embedded_count, stats.unembedded_count))
    }

    /// All memories in order of their ids, core memory first; of one type if given, or only those that lack a
    /// vector.
    #[pyo3(signature = (r#type=None, *, unembedded_only=false))]
    fn memories(
        &self,
        py: Python<'_>,
        r#type: Option<&str>,
        unembedded_only: bool,
    ) -> PyResult<Vec<Py<Memory>>> {
        let kind = r#type.map(memory_type).transpose()?;
        let all = py.detach(|| {
            let mut created_by = None;
            pages(|after| {
                let (page, revision) =
                    self.store.memories(&self.bank_id, kind, after, created_by, unembedded_only, PAGE)?;
                created_by.get_or_insert(revision);
                Ok(page)
            })
        });
        result::memories(py, all.map_err(raise)?)
    }

    /// Reads, at one revision, what a policy needs for the next chunk: memories that match it (`relevant`,
    /// 10 per type) or the newest ones (`recent`, 5 per type). `embedding` is the chunk's vector by the bank's
    /// external embedder.
    #[pyo3(signature = (mode="relevant", *, semantic=None, episodic=None, embedding=None))]
    fn view(
        &self,
        py: Python<'_>,
        mode: &str,
        semantic: Option<i64>,
        episodic: Option<i64>,
        embedding: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<WriterView> {
        let embedding = embedding.map(|array| vector("embedding", array)).transpose()?;
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
        let view = py.detach(|| self.store.writer_view(&self.bank_id, view, embedding));
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
