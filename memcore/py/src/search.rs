//! Queries out of Python's keywords, and hits.

use std::sync::Arc;

use memcore_engine::limits;
use memcore_engine::model::{self, Fusion, Metadata, Method, Query, SearchFilter, WordScoring};
use pyo3::prelude::*;
use pyo3::types::{PyIterator, PyTuple};

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

    fn __getitem__<'py>(&self, py: Python<'py>, index: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let place = index.extract::<isize>().ok().and_then(|place| match place {
            ..0 => self.hits.len().checked_add_signed(place),
            _ => Some(place as usize),
        });
        match place.and_then(|place| self.hits.get(place)) {
            Some(hit) => Ok(Bound::new(py, Hit(hit.clone()))?.into_any()),
            // A slice, or what a tuple refuses in its own words.
            None => self.tuple(py)?.as_any().get_item(index),
        }
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
#[pyclass(frozen, eq, module = "memcore")]
#[derive(PartialEq)]
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
    fn explanation(&self) -> Option<Explanation> {
        self.0.explanation.clone().map(Explanation)
    }

    fn __repr__(&self) -> String {
        format!("Hit(score={:.4}, memory={})", self.0.score, self.memory().__repr__())
    }
}

/// How a score came about: it is the sum of the parts.
#[pyclass(frozen, eq, module = "memcore")]
#[derive(PartialEq)]
pub struct Explanation(model::Explanation);

#[pymethods]
impl Explanation {
    /// BM25, the sum of `terms`.
    #[getter]
    fn words_score(&self) -> Option<f64> {
        self.0.words_score
    }

    /// Cosine.
    #[getter]
    fn vector_score(&self) -> Option<f64> {
        self.0.vector_score
    }

    #[getter]
    fn words_part(&self) -> f64 {
        self.0.words_part
    }

    #[getter]
    fn vector_part(&self) -> f64 {
        self.0.vector_part
    }

    #[getter]
    fn context_part(&self) -> f64 {
        self.0.context_part
    }

    #[getter]
    fn date_part(&self) -> f64 {
        self.0.date_part
    }

    #[getter]
    fn terms(&self) -> Vec<TermScore> {
        self.0.terms.iter().cloned().map(TermScore).collect()
    }

    fn __repr__(&self) -> String {
        let model::Explanation { words_part, vector_part, context_part, date_part, .. } = &self.0;
        format!(
            "Explanation(words={words_part:.4}, vector={vector_part:.4}, context={context_part:.4}, \
             date={date_part:.4})"
        )
    }
}

/// What one term of a query adds to a memory's BM25.
#[pyclass(frozen, eq, module = "memcore")]
#[derive(PartialEq)]
pub struct TermScore(model::TermScore);

#[pymethods]
impl TermScore {
    #[getter]
    fn term(&self) -> &str {
        &self.0.term
    }

    #[getter]
    fn document_frequency(&self) -> u64 {
        self.0.document_frequency
    }

    #[getter]
    fn term_frequency(&self) -> u32 {
        self.0.term_frequency
    }

    #[getter]
    fn weight(&self) -> f64 {
        self.0.weight
    }

    #[getter]
    fn score(&self) -> f64 {
        self.0.score
    }

    fn __repr__(&self) -> String {
        format!("TermScore({:?}, score={:.4})", self.0.term, self.0.score)
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
            "convex" if self.rrf_k.is_some() => {
                Err(refuse("INVALID_FUSION", "rrf_k must not be given unless fusion is rrf"))
            }
            "rrf" if self.vector_weight.is_some() => {
                Err(refuse("INVALID_FUSION", "vector_weight must not be given unless fusion is convex"))
            }
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
