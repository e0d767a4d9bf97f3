//! The nouns of the engine, as its callers see them and as records keep them.
//!
//! Everything here is plain data. Times are microseconds since the Unix epoch; token counts are o200k tokens;
//! revisions count a bank's records from 1.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::Error;

pub type Revision = u64;
pub type Micros = i64;
pub type Metadata = BTreeMap<String, String>;

/// The three parts of a memory (Mem-alpha, arXiv 2509.25911, section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemoryType {
    Core,
    Semantic,
    Episodic,
}

/// What an acknowledged write survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// Nothing: RAM only.
    Volatile,
    /// Loss of power: the record was synced before the reply.
    Synced,
}

/// What makes a bank's vectors.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Embedder {
    /// Nothing: search by words alone.
    None,
    /// The static embedder in the engine.
    #[default]
    Builtin,
    /// A model elsewhere, whose vectors are handed over.
    External {
        /// The model's name and version.
        id: String,
        /// Numbers in a vector, 1 to 4096.
        dimensions: u32,
    },
}

impl Embedder {
    /// The model's name; empty if there is none.
    pub fn id(&self) -> &str {
        match self {
            Self::None => "",
            Self::Builtin => memcore_embed::builtin().id(),
            Self::External { id, .. } => id,
        }
    }

    /// Conflict if the model's name is another one.
    pub(crate) fn expect_id(&self, id: &str) -> Result<(), Error> {
        if self.id() == id {
            return Ok(());
        }
        let message = format!("the bank's embedder is {:?}, not {id:?}", self.id());
        Err(Error::conflict("EMBEDDER_CHANGED", message).with("embedder_id", self.id()))
    }

    /// Numbers in a vector; 0 if there is none.
    pub fn dimensions(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Builtin => memcore_embed::builtin().dimensions(),
            Self::External { dimensions, .. } => *dimensions as usize,
        }
    }
}

/// A vector as its caller hands it over: 32-bit floats, little-endian, packed. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Embedding(pub Arc<[u8]>);

impl fmt::Debug for Embedding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Embedding({} bytes)", self.0.len())
    }
}

/// Choices that are fixed when a bank is created, but for the embedder, which can be set anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BankSettings {
    pub durability: Durability,
    /// Most tokens of core memory, 1 to 8192.
    pub core_token_limit: u32,
    /// ISO 639-1 code of stemmer and stop list, or `none`.
    pub language: String,
    /// Types the policy may not write.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disabled_types: Vec<MemoryType>,
    /// Failures of one chunk before it is parked, 1 to 100.
    pub max_chunk_failures: u32,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: Metadata,
    #[serde(default)]
    pub embedder: Embedder,
}

impl Default for BankSettings {
    fn default() -> Self {
        Self {
            durability: Durability::Synced,
            core_token_limit: 512,
            language: "en".into(),
            disabled_types: Vec::new(),
            max_chunk_failures: 3,
            labels: Metadata::new(),
            embedder: Embedder::default(),
        }
    }
}

/// Who chose an operation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Writer {
    pub policy_id: String,
    #[serde(default)]
    pub policy_version: i64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prompt_digest: String,
}

/// Where a memory's present content comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    pub revision: Revision,
    pub operation_index: u32,
    /// Id and position of the chunk that was read; `None` for an edit without a chunk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chunk: Option<(String, u64)>,
    pub writer: Writer,
}

/// One item that a bank remembers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Counted from 1 and never reused; 0 for core memory.
    pub id: u64,
    #[serde(rename = "type")]
    pub kind: MemoryType,
    pub content: String,
    pub token_count: u32,
    /// ISO 8601 as given; empty if unknown.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub event_time: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: Metadata,
    pub create_revision: Revision,
    pub update_revision: Revision,
    pub create_time: Micros,
    pub update_time: Micros,
    pub provenance: Provenance,
}

/// A chunk as its caller hands it over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewChunk {
    pub chunk_id: String,
    pub text: String,
    pub event_time: String,
    pub source: String,
    pub metadata: Metadata,
}

/// A chunk as the bank holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    pub chunk_id: String,
    pub position: u64,
    pub text: String,
    pub token_count: u32,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub event_time: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: Metadata,
    pub create_time: Micros,
}

/// One write, as a policy's tool call states it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    Insert {
        #[serde(rename = "type")]
        kind: MemoryType,
        content: String,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        event_time: String,
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        metadata: Metadata,
        /// Vector of `content`, for a bank with an external embedder. Not part of the record.
        #[serde(skip)]
        embedding: Option<Embedding>,
    },
    Update {
        #[serde(rename = "type")]
        kind: MemoryType,
        /// Ignored for core memory.
        memory_id: u64,
        content: String,
        /// `None` keeps what is there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        event_time: Option<String>,
        #[serde(skip)]
        embedding: Option<Embedding>,
    },
    Delete {
        #[serde(rename = "type")]
        kind: MemoryType,
        memory_id: u64,
    },
    /// A call the agent could not turn into one of the above; kept in the history.
    Rejected { text: String, error: OperationError },
}

/// Stable reasons why an operation was not applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperationErrorReason {
    MemoryNotFound,
    NotInView,
    DuplicateContent,
    CoreNotInsertable,
    InvalidContent,
    ContentTooLong,
    TypeDisabled,
    MalformedCall,
    BatchAborted,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationError {
    pub reason: OperationErrorReason,
    pub message: String,
}

/// What one operation did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationResult {
    /// The memory after the operation (before it, for a delete), or why nothing changed.
    pub outcome: Result<Arc<Memory>, OperationError>,
    /// Core memory was over its limit and was cut, with a visible marker.
    pub truncated: bool,
}

/// What a model wrote: its beginning, and the digest of the whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawOutput {
    pub text: String,
    /// Hex.
    pub sha256: String,
    pub size_bytes: u64,
}

/// Failures of the chunk at the cursor.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkFailures {
    pub count: u32,
    pub message: String,
    pub parked: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BankStats {
    pub core_tokens: u64,
    pub semantic_count: u64,
    pub semantic_tokens: u64,
    pub episodic_count: u64,
    pub episodic_tokens: u64,
    pub chunk_count: u64,
    pub chunk_tokens: u64,
    pub pending_chunks: u64,
    pub pending_tokens: u64,
    /// Memories with a vector of the bank's embedder, and those that ought to have one.
    #[serde(default)]
    pub embedded_count: u64,
    #[serde(default)]
    pub unembedded_count: u64,
}

/// A bank at one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bank {
    pub bank_id: String,
    pub bank_uid: String,
    pub settings: BankSettings,
    pub revision: Revision,
    pub memory_revision: Revision,
    pub cursor: u64,
    pub cursor_token: String,
    pub stats: BankStats,
    pub failures: Option<ChunkFailures>,
    pub create_time: Micros,
    pub update_time: Micros,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingBank {
    pub bank_id: String,
    pub bank_uid: String,
    pub pending_chunks: u64,
    pub pending_tokens: u64,
    pub oldest_time: Micros,
    pub parked: bool,
}

/// What became of one appended chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppendResult {
    pub position: u64,
    pub already_stored: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    pub results: Vec<AppendResult>,
    pub revision: Revision,
    pub bank_uid: String,
}

/// A batch of operations with the state it was decided on. All `None` means "whatever the state is".
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    pub operations: Vec<Operation>,
    /// Conflict unless the cursor is where this token was read. Needed with `advance_to`.
    pub cursor_token: Option<String>,
    /// Conflict if a memory changed since.
    pub memory_revision: Option<Revision>,
    /// Moves the cursor in the same record.
    pub advance_to: Option<u64>,
    /// One bad operation leaves the bank untouched. Not with `advance_to`.
    pub atomic: bool,
    pub writer: Writer,
    /// What the model wrote; empty if nothing is to be kept.
    pub raw_output: String,
    /// Empty, or a repeated call returns the first reply.
    pub request_id: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    pub results: Vec<OperationResult>,
    pub revision: Revision,
    pub memory_revision: Revision,
    pub cursor: u64,
    pub cursor_token: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailureReport {
    pub cursor_token: String,
    pub message: String,
    pub raw_output: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParkedChunkAction {
    Retry,
    Skip,
}

/// Which memories a policy is shown beside core memory and the next chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// The newest, as in the paper.
    Recent { semantic: usize, episodic: usize },
    /// The ones that match the next chunk best.
    Relevant { semantic: usize, episodic: usize },
}

/// What a policy needs for the next chunk, all read at `bank.revision`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriterView {
    pub bank: Bank,
    pub core: Arc<Memory>,
    /// In order of ids.
    pub semantic: Vec<Arc<Memory>>,
    /// In order of ids.
    pub episodic: Vec<Arc<Memory>>,
    pub next_chunk: Option<Chunk>,
}

/// How memories are ranked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Words,
    Vector,
    Hybrid,
}

/// How ranks by words and by vectors become one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fusion {
    /// Weighted sum of scaled scores; words weigh what vectors leave of 1.
    Convex { vector_weight: f64 },
    /// Sum of 1 / (k + rank).
    ReciprocalRank { k: u32 },
}

impl Default for Fusion {
    fn default() -> Self {
        Self::Convex { vector_weight: DEFAULT_VECTOR_WEIGHT }
    }
}

/// Chosen on LoCoMo, BEAM and pools of question-answering passages together (`evals store fusion`).
pub const DEFAULT_VECTOR_WEIGHT: f64 = 0.35;

/// What the better of a memory's neighbours adds to a hybrid score, as a share of its own. Half would find a little
/// more in conversations, and lose where neighbours of one date are strangers.
pub const DEFAULT_CONTEXT_WEIGHT: f64 = 0.3;

/// What a date that fits the query adds to a hybrid score, which is at most 1 without.
pub const DEFAULT_DATE_WEIGHT: f64 = 0.2;

/// Which BM25.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum WordScoring {
    Bm25 {
        k1: f64,
        b: f64,
    },
    /// As the rank_bm25 library computes it.
    Okapi {
        k1: f64,
        b: f64,
    },
}

impl WordScoring {
    /// BM25 as most engines set it.
    pub const BM25: Self = Self::Bm25 { k1: 1.2, b: 0.75 };
    /// rank_bm25's own settings.
    pub const OKAPI: Self = Self::Okapi { k1: 1.5, b: 0.75 };
}

impl Default for WordScoring {
    fn default() -> Self {
        Self::BM25
    }
}

/// Which memories a query may find. Empty fields pass everything; what is set must hold together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SearchFilter {
    pub create_time_from: Option<Micros>,
    pub create_time_before: Option<Micros>,
    /// ISO 8601; a memory without event time does not pass.
    pub event_time_from: String,
    pub event_time_before: String,
    pub metadata: Metadata,
    /// Source of the chunk that the content was made from.
    pub source: String,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Query {
    pub text: String,
    /// Ranked together; empty means semantic and episodic.
    pub types: Vec<MemoryType>,
    pub limit: usize,
    /// Also rank chunks not yet memorized, by words, in a list of their own.
    pub include_pending: bool,
    /// `None`: hybrid if there is a vector to compare, else words.
    pub method: Option<Method>,
    /// Vector of `text` by the bank's external embedder.
    pub embedding: Option<Embedding>,
    pub fusion: Fusion,
    pub scoring: WordScoring,
    /// Share of the better neighbour's score that is added; `None` is the default for hybrid, 0 for the rest.
    pub context_weight: Option<f64>,
    /// Added for an event time that fits a date in `text`; `None` likewise.
    pub date_weight: Option<f64>,
    pub filter: SearchFilter,
    pub min_score: Option<f64>,
    /// Compare with every vector, however many there are.
    pub exact: bool,
    pub explain: bool,
}

/// What one term adds to a memory's BM25.
#[derive(Debug, Clone, PartialEq)]
pub struct TermScore {
    pub term: String,
    pub document_frequency: u64,
    pub term_frequency: u32,
    pub weight: f64,
    pub score: f64,
}

/// How a score came about.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Explanation {
    /// BM25, the sum of `terms`.
    pub words_score: Option<f64>,
    /// Cosine.
    pub vector_score: Option<f64>,
    /// What each came to in the sum that is the score.
    pub words_part: f64,
    pub vector_part: f64,
    pub terms: Vec<TermScore>,
    /// What neighbouring memories added.
    pub context_part: f64,
    /// What a fitting date added.
    pub date_part: f64,
}

/// A memory that a query finds.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    pub memory: Arc<Memory>,
    pub score: f64,
    /// Ranks among the candidates, from 1.
    pub words_rank: Option<u32>,
    pub vector_rank: Option<u32>,
    pub has_vector: bool,
    pub explanation: Option<Explanation>,
}

/// Hits of one query, best first; equal scores in order of ids or positions.
#[derive(Debug, Clone, PartialEq)]
pub struct Hits {
    pub memories: Vec<Hit>,
    pub pending: Vec<(Chunk, f64)>,
    pub method: Method,
    /// An approximate index chose the candidates.
    pub approximate: bool,
}

/// A vector for a memory that is there already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryVector {
    pub memory_id: u64,
    /// `update_revision` of the content that was embedded; 0 means whatever is there.
    pub update_revision: Revision,
    pub embedding: Embedding,
}

/// What became of one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VectorResult {
    Stored,
    /// The content changed since, or the memory is gone.
    Stale,
}

#[derive(Debug, Clone, PartialEq)]
pub struct SearchReply {
    pub results: Vec<Hits>,
    pub revision: Revision,
}

/// One page of a listing, and where the next one starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T, P> {
    pub items: Vec<T>,
    pub next: Option<P>,
}

/// One entry of a bank's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub revision: Revision,
    pub index: u32,
    pub time: Micros,
    pub what: EventKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventKind {
    BankCreated {
        settings: BankSettings,
    },
    ChunkAppended {
        chunk: Chunk,
    },
    OperationApplied {
        operation: Operation,
        result: OperationResult,
        before: Option<Arc<Memory>>,
        provenance: Provenance,
    },
    CursorMoved {
        from: u64,
        to: u64,
        chunk_id: String,
        skipped: bool,
        raw_output: Option<RawOutput>,
        writer: Writer,
    },
    ChunkFailed {
        position: u64,
        chunk_id: String,
        failures: ChunkFailures,
        raw_output: Option<RawOutput>,
    },
    ChunkRetried {
        position: u64,
        chunk_id: String,
    },
    EmbedderSet {
        embedder: Embedder,
    },
}

/// Which part of a history to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Only operations on this memory (0 is core memory).
    pub memory_id: Option<u64>,
    /// Only what concerns the chunk at this position.
    pub chunk_position: Option<u64>,
}
