//! Queries out of Python's keywords, and hits.

use memcore_engine::limits;
use memcore_engine::model::{self, Fusion, Metadata, Method, Query, SearchFilter, WordScoring};
use pyo3::prelude::*;
use pyo3::types::{PyIterator, PyTuple};

use crate::error::{count, refuse};
use crate::operation::memory_types;
use crate::result::Memory;
use crate::vector::rows;

const RECIPROCAL_RANK_K: i64 = 60;

/// Hits of one query, best first. A sequence of `Hit`.
#[pyclass(frozen, sequence, module = "memcore")]
pub struct Hits {
    hits: Py<PyTuple>,
    method: &'static str,
    approximate: bool,
}

impl Hits {
    pub fn new(py: Python<'_>, hits: model::Hits) -> PyResult<Self> {
        let method = match hits.method {
            Method::Words => "words",
            Method::Vector => "vector",
            Method::Hybrid => "hybrid",
        };
        let memories: PyResult<Vec<Hit>> = hits.memories.into_iter().map(|hit| Hit::new(py, hit)).collect();
        Ok(Self { hits: PyTuple::new(py, memories?)?.unbind(), method, approximate: hits.approximate })
    }
}

#[pymethods]
impl Hits {
    /// How memories were ranked.
    #[getter]
    fn method(&self) -> &'static str {
        self.method
    }

    /// Whether an approximate index chose the candidates.
    #[getter]
    fn approximate(&self) -> bool {
        self.approximate
    }

    fn __len__(&self, py: Python<'_>) -> usize {
        self.hits.bind(py).len()
    }

    fn __getitem__<'py>(&self, py: Python<'py>, index: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.hits.bind(py).as_any().get_item(index)
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        self.hits.bind(py).try_iter()
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let hits = self.hits.bind(py).repr()?;
        Ok(format!("Hits(method={:?}, approximate={}, {hits})", self.method, self.approximate))
    }
}

/// A memory that a query finds. Scores are comparable within one query only.
#[pyclass(frozen, get_all, module = "memcore")]
pub struct Hit {
    memory: Py<Memory>,
    score: f64,
    /// Ranks among the candidates, from 1.
    words_rank: Option<u32>,
    vector_rank: Option<u32>,
    has_vector: bool,
    explanation: Option<Py<Explanation>>,
}

impl Hit {
    fn new(py: Python<'_>, hit: model::Hit) -> PyResult<Self> {
        Ok(Self {
            memory: Py::new(py, Memory(hit.memory))?,
            score: hit.score,
            words_rank: hit.words_rank,
            vector_rank: hit.vector_rank,
            has_vector: hit.has_vector,
            explanation: hit.explanation.map(|of| Explanation::new(py, of)).transpose()?,
        })
    }
}

#[pymethods]
impl Hit {
    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!("Hit(score={:.4}, memory={})", self.score, self.memory.bind(py).repr()?))
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
    fn new(py: Python<'_>, of: model::Explanation) -> PyResult<Py<Self>> {
        let terms: PyResult<_> =
            of.terms.into_iter().map(|term| Py::new(py, TermScore::from(term))).collect();
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

impl From<model::TermScore> for TermScore {
    fn from(of: model::TermScore) -> Self {
        Self {
            term: of.term,
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
