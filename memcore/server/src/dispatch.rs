//! The door for callers in the same process: an RPC's name and its encoded request in, its encoded reply out.

use memcore_engine::{Error, Result, Store};
use prost::Message;

use crate::service;

/// Most characters of an unknown method's name that its error repeats.
const SHOWN_CHARS: usize = 64;

/// Calls one RPC of MemoryService, such as `AppendChunks`.
///
/// # Errors
/// `UNKNOWN_METHOD`, `MALFORMED_REQUEST` for bytes that are no such request, and whatever the RPC refuses.
pub fn call(store: &Store, method: &str, request: &[u8]) -> Result<Vec<u8>> {
    match method {
        "CreateBank" => run(store, request, service::create_bank),
        "GetBank" => run(store, request, service::get_bank),
        "ListBanks" => run(store, request, service::list_banks),
        "DeleteBank" => run(store, request, service::delete_bank),
        "AppendChunks" => run(store, request, service::append_chunks),
        "ListChunks" => run(store, request, service::list_chunks),
        "ListPendingBanks" => run(store, request, service::list_pending_banks),
        "GetWriterView" => run(store, request, service::get_writer_view),
        "ApplyOperations" => run(store, request, service::apply_operations),
        "ReportChunkFailure" => run(store, request, service::report_chunk_failure),
        "ResolveParkedChunk" => run(store, request, service::resolve_parked_chunk),
        "ListMemories" => run(store, request, service::list_memories),
        "SearchMemories" => run(store, request, service::search_memories),
        "PutVectors" => run(store, request, service::put_vectors),
        "SetEmbedder" => run(store, request, service::set_embedder),
        "ListBankEvents" => run(store, request, service::list_bank_events),
        _ => Err(unknown(method)),
    }
}

fn run<Q: Message + Default, R: Message>(
    store: &Store,
    request: &[u8],
    function: fn(&Store, Q) -> Result<R>,
) -> Result<Vec<u8>> {
    let request = Q::decode(request).map_err(|error| {
        Error::invalid("MALFORMED_REQUEST", format!("request must be a valid message: {error}"))
            .with("parameter", "request")
    })?;
    Ok(function(store, request)?.encode_to_vec())
}

fn unknown(method: &str) -> Error {
    let shown: String = method.chars().take(SHOWN_CHARS).collect();
    Error::invalid("UNKNOWN_METHOD", format!("method must be an RPC of MemoryService, got {shown:?}"))
        .with("parameter", "method")
        .with("value", shown)
}
