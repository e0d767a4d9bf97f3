//! Every bound that a request can run into. Messages quote these numbers.

/// Bytes of a bank id.
pub const BANK_ID_BYTES: usize = 128;
/// Bytes of a chunk id.
pub const CHUNK_ID_BYTES: usize = 256;
/// Bytes of one chunk's text.
pub const CHUNK_TEXT_BYTES: usize = 1 << 20;
/// Chunks in one append.
pub const CHUNKS_PER_APPEND: usize = 1000;
/// Bytes of the texts and metadata of all chunks in one append.
pub const APPEND_BYTES: usize = 16 << 20;
/// Bytes of a chunk's source.
pub const SOURCE_BYTES: usize = 1024;
/// Bytes of all keys and values of one metadata map.
pub const METADATA_BYTES: usize = 16 << 10;
/// Bytes of one memory's content.
pub const CONTENT_BYTES: usize = 64 << 10;
/// Operations in one batch.
pub const OPERATIONS_PER_BATCH: usize = 1000;
/// Bytes of all memories that one batch changes, so that its reply fits into one message.
pub const BATCH_BYTES: usize = 8 << 20;
/// Bytes of a model's raw output that a request may carry.
pub const RAW_OUTPUT_BYTES: usize = 1 << 20;
/// Bytes of it that are kept.
pub const RAW_OUTPUT_KEPT_BYTES: usize = 64 << 10;
/// Bytes of a failure's message.
pub const FAILURE_MESSAGE_BYTES: usize = 4 << 10;
/// Bytes of a request id.
pub const REQUEST_ID_BYTES: usize = 128;
/// Bytes of a policy id, a prompt digest or a label map's text.
pub const WRITER_FIELD_BYTES: usize = 256;
/// How long a request id is remembered, in microseconds: 24 hours.
pub const REQUEST_WINDOW_MICROS: i64 = 24 * 3600 * 1_000_000;
/// Bytes of one query.
pub const QUERY_BYTES: usize = 64 << 10;
/// Queries in one search.
pub const QUERIES_PER_SEARCH: usize = 1000;
/// Hits of one query, and memories of one type in a view.
pub const HITS: usize = 1000;
/// Bytes of all hits of one search.
pub const SEARCH_BYTES: usize = 64 << 20;
/// Bytes of texts at which a page of chunks or events ends.
pub const PAGE_BYTES: usize = 4 << 20;
/// Tokens of core memory.
pub const CORE_TOKENS: u32 = 8192;
/// Failures before a chunk is parked.
pub const CHUNK_FAILURES: u32 = 100;
/// Bytes of an external embedder's id.
pub const EMBEDDER_ID_BYTES: usize = 128;
/// Numbers in a vector.
pub const DIMENSIONS: u32 = 4096;
/// Vectors in one put.
pub const VECTORS_PER_PUT: usize = 1000;
/// Constant of reciprocal rank fusion.
pub const RECIPROCAL_RANK_K: u32 = 10_000;
