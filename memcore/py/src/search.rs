//! Queries out of Python's keywords, and hits.

use std::sync::Arc;

use memcore_engine::limits;
use memcore_engine::model::{self, Fusion, Metadata, Method, Query, SearchFilter, WordScoring};
use pyo3::exceptions::PyIndexError;
use pyo3::prelude::*;
use pyo3::types::{PyIterator, PySlice, PyTuple};

use crate::error::{count, refuse};
use crate::operation::memory_types;
use crate::result::Memory;
use crate::vector::rows;

const RECIPROCAL_RANK_K: i64 = 60;

/// Hits of one query, best first. A sequence of `Hit`, each made when it is asked for.
#[pyclass(frozen, sequence, module = "memcore")]
pub struct Hits {
    hits: Vec<model::Hit>,
    method: Method,
    approximate: bool,
}

impl From<model::Hits> for Hits {
    fn from(hits: model::Hits) -> Self {
        Self { hits: hits.memories, method: hits.method, approximate: hits.approximate }
    }
}

/// What a sequence is subscripted with.
#[derive(FromPyObject)]
pub enum Subscript<'py> {
    Place(isize),
    Slice(Bound<'py, PySlice>),
}

impl Hits {
    fn tuple<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let hits: PyResult<Vec<_>> = self.hits.iter().map(|hit| Py::new(py, Hit(hit.clone()))).collect();
        PyTuple::new(py, hits?)
    }
}

#[pymethods]
impl Hits {
    /// How memories were ranked.
    #[getter]
    fn method(&self) -> &'static str {
        match self.method {
            Method::Words => "words",
            Method::Vector => "vector",
            Method::Hybrid => "hybrid",
        }
    }

    /// Whether an approximate index chose the candidates.
    #[getter]
    fn approximate(&self) -> bool {
        self.approximate
    }

    fn __len__(&self) -> usize {
        self.hits.len()
    }

    fn __getitem__<'py>(&self, py: Python<'py>, index: Subscript<'py>) -> PyResult<Bound<'py, PyAny>> {
        let place = match index {
            Subscript::Place(place) => place,
            Subscript::Slice(slice) => return self.tuple(py)?.as_any().get_item(slice),
        };
        let length = self.hits.len();
        let place = if place < 0 { length.checked_add_signed(place) } else { Some(place as usize) };
        let hit = place.and_then(|place| self.hits.get(place));
        let hit = hit.ok_or_else(|| PyIndexError::new_err(format!("there are {length} hits")))?;
        Ok(Bound::new(py, Hit(hit.clone()))?.into_any())
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        self.tuple(py)?.try_iter()
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let hits = self.tuple(py)?.repr()?;
        Ok(format!("Hits(method={:?}, approximate={}, {hits})", self.method(), self.approximate))
    }
}

/// A memory that a query finds. Scores are comparable within one query only.
#[pyclass(frozen, module = "memcore")]
pub struct Hit(model::Hit);

#[pymethods]
impl Hit {
    #[getter]
    fn memory(&self) -> Memory {
        Memory(Arc::clone(&self.0.memory))
    }

    #[getter]
    fn score(&self) -> f64 {
        self.0.score
    }

    /// Rank among the candidates, from 1.
    #[getter]
    fn words_rank(&self) -> Option<u32> {
        self.0.words_rank
    }

    /// Rank among the candidates, from 1.
    #[getter]
    fn vector_rank(&self) -> Option<u32> {
        self.0.vector_rank
    }

    #[getter]
    fn has_vector(&self) -> bool {
        self.0.has_vector
    }

    #[getter]
    fn explanation(&self, py: Python<'_>) -> PyResult<Option<Py<Explanation>>> {
        self.0.explanation.as_ref().map(|of| Explanation::new(py, of)).transpose()
    }

    fn __repr__(&self) -> String {
        format!("Hit(score={:.4}, memory={})", self.0.score, self.memory().__repr__())
    }
}

/// How a score came about: it is the sum of the parts.
#[pyclass(frozen, get_all, module = "memcore")]
pub struct Explanation {
    /// BM25, the sum of `terms`.
    words_score: Option<f64>,
    /// Cosine.
    vector_score: Option<f64>,
    words_part: f64,
    vector_part: f64,
    context_part: f64,
    date_part: f64,
    terms: Vec<Py<TermScore>>,
}

impl Explanation {
    fn new(py: Python<'_>, of: &model::Explanation) -> PyResult<Py<Self>> {
        let terms: PyResult<_> = of.terms.iter().map(|term| Py::new(py, TermScore::from(term))).collect();
        let explanation = Self {
            words_score: of.words_score,
            vector_score: of.vector_score,
            words_part: of.words_part,
            vector_part: of.vector_part,
            context_part: of.context_part,
            date_part: of.date_part,
            terms: terms?,
        };
        Py::new(py, explanation)
    }
}

#[pymethods]
impl Explanation {
    fn __repr__(&self) -> String {
        let Self { words_part, vector_part, context_part, date_part, .. } = self;
        format!(
            "Explanation(words={words_part:.4}, vector={vector_part:.4}, context={context_part:.4}, \
             date={date_part:.4})"
        )
    }
}

/// What one term of a query adds to a memory's BM25.
#[pyclass(frozen, get_all, module = "memcore")]
pub struct TermScore {
    term: String,
    document_frequency: u64,
    term_frequency: u32,
    weight: f64,
    score: f64,
}

impl From<&model::TermScore> for TermScore {
    fn from(of: &model::TermScore) -> Self {
        Self {
            term: of.term.clone(),
            document_frequency: of.document_frequency,
            term_frequency: of.term_frequency,
            weight: of.weight,
            score: of.score,
        }
    }
}

#[pymethods]
impl TermScore {
    fn __repr__(&self) -> String {
        format!("TermScore({:?}, score={:.4})", self.term, self.score)
    }
}

/// The keywords of `Bank.search`.
pub struct Keywords<'py> {
    pub types: Option<Vec<String>>,
    pub limit: i64,
    pub method: Option<&'py str>,
    pub embeddings: Option<Bound<'py, PyAny>>,
    pub fusion: &'py str,
    pub vector_weight: Option<f64>,
    pub rrf_k: Option<i64>,
    pub scoring: &'py str,
    pub k1: Option<f64>,
    pub b: Option<f64>,
    pub context_weight: Option<f64>,
    pub date_weight: Option<f64>,
    pub create_time_from: Option<i64>,
    pub create_time_before: Option<i64>,
    pub event_time_from: &'py str,
    pub event_time_before: &'py str,
    pub metadata: Option<Metadata>,
    pub source: &'py str,
    pub min_score: Option<f64>,
    pub exact: bool,
    pub explain: bool,
}

impl Keywords<'_> {
    pub fn queries(self, texts: Vec<String>) -> PyResult<Vec<Query>> {
        let like = self.query()?;
        let embeddings = self.embeddings.map(|array| rows("embeddings", &array, texts.len())).transpose()?;
        let mut embeddings = embeddings.into_iter().flatten();
        let query = |text| Query { text, embedding: embeddings.next(), ..like.clone() };
        Ok(texts.into_iter().map(query).collect())
    }

    fn query(&self) -> PyResult<Query> {
        Ok(Query {
            text: String::new(),
            types: memory_types(self.types.as_deref().unwrap_or_default())?,
            limit: count("limit", self.limit, 1..=limits::HITS)?,
            include_pending: false,
            method: self.method.map(method).transpose()?,
            embedding: None,
            fusion: self.fusion()?,
            scoring: self.scoring()?,
            context_weight: self.context_weight,
            date_weight: self.date_weight,
            filter: SearchFilter {
                create_time_from: self.create_time_from,
                create_time_before: self.create_time_before,
                event_time_from: self.event_time_from.to_owned(),
                event_time_before: self.event_time_before.to_owned(),
                metadata: self.metadata.clone().unwrap_or_default(),
                source: self.source.to_owned(),
            },
            min_score: self.min_score,
            exact: self.exact,
            explain: self.explain,
        })
    }

    fn fusion(&self) -> PyResult<Fusion> {
        match self.fusion {
            "convex" => {
                let vector_weight = self.vector_weight.unwrap_or(model::DEFAULT_VECTOR_WEIGHT);
                Ok(Fusion::Convex { vector_weight })
            }
            "rrf" => {
                let most = limits::RECIPROCAL_RANK_K as usize;
                let k = count("rrf_k", self.rrf_k.unwrap_or(RECIPROCAL_RANK_K), 1..=most)?;
                Ok(Fusion::ReciprocalRank { k })
            }
            name => Err(refuse("INVALID_FUSION", format!("fusion must be convex or rrf, got {name:?}"))),
        }
    }

    fn scoring(&self) -> PyResult<WordScoring> {
        let b = self.b.unwrap_or(0.75);
        match self.scoring {
            "bm25" => Ok(WordScoring::Bm25 { k1: self.k1.unwrap_or(1.2), b }),
            "okapi" => Ok(WordScoring::Okapi { k1: self.k1.unwrap_or(1.5), b }),
            name => Err(refuse("INVALID_FORMULA", format!("scoring must be bm25 or okapi, got {name:?}"))),
        }
    }
}

fn method(name: &str) -> PyResult<Method> {
    match name {
        "words" => Ok(Method::Words),
        "vector" => Ok(Method::Vector),
        "hybrid" => Ok(Method::Hybrid),
        _ => Err(refuse("INVALID_METHOD", format!("method must be words, vector or hybrid, got {name:?}"))),
    }
}
