//! What each RPC does: one function each, synchronous, without a word about transport.

use std::mem::take;

use memcore_engine::model::{EventFilter, FailureReport};
use memcore_engine::{Result, Store};

use crate::api;
use crate::convert::{refusal, request as from};
use crate::page::{Listing, Position, Tokens, cut, page_size};

pub fn create_bank(store: &Store, request: api::CreateBankRequest) -> Result<api::CreateBankResponse> {
    let settings = from::settings(request.settings)?;
    let bank = store.create_bank(&request.bank_id, settings, &request.request_id)?;
    Ok(api::CreateBankResponse { bank: Some(bank.into()) })
}

pub fn get_bank(store: &Store, request: api::GetBankRequest) -> Result<api::GetBankResponse> {
    let bank = store.bank(&request.bank_id, None)?;
    Ok(api::GetBankResponse { bank: Some(bank.into()) })
}

pub fn list_banks(store: &Store, mut request: api::ListBanksRequest) -> Result<api::ListBanksResponse> {
    let size = page_size(take(&mut request.page_size))?;
    let token = take(&mut request.page_token);
    let tokens = Tokens::new(Listing::Banks, &request);
    let after = tokens.read(&token)?.map(|position| position.name);
    let page = store.banks(after.as_deref(), request.unembedded_only, size)?;
    let mut banks: Vec<api::Bank> = page.items.into_iter().map(Into::into).collect();
    let last = match cut(&mut banks) {
        true => banks.last().map(|bank| bank.bank_id.clone()),
        false => page.next,
    };
    Ok(api::ListBanksResponse { banks, next_page_token: next(last, &tokens, at_name) })
}

pub fn delete_bank(store: &Store, request: api::DeleteBankRequest) -> Result<api::DeleteBankResponse> {
    store.delete_bank(&request.bank_id, from::bank_uid(&request.bank_uid))?;
    Ok(api::DeleteBankResponse {})
}

pub fn append_chunks(store: &Store, request: api::AppendChunksRequest) -> Result<api::AppendChunksResponse> {
    let chunks = request.chunks.into_iter().map(from::chunk).collect();
    let uid = from::bank_uid(&request.bank_uid);
    Ok(store.append_chunks(&request.bank_id, uid, chunks)?.into())
}

pub fn list_chunks(store: &Store, mut request: api::ListChunksRequest) -> Result<api::ListChunksResponse> {
    let size = page_size(take(&mut request.page_size))?;
    let token = take(&mut request.page_token);
    let tokens = Tokens::new(Listing::Chunks, &request);
    let start = tokens.read(&token)?.map_or(request.start_position, |position| position.number);
    let (page, cursor) = store.chunks(&request.bank_id, start, request.pending_only, size)?;
    let mut chunks: Vec<api::Chunk> = page.items.into_iter().map(Into::into).collect();
    let start = match cut(&mut chunks) {
        true => chunks.last().map(|chunk| chunk.position + 1),
        false => page.next,
    };
    Ok(api::ListChunksResponse {
        chunks,
        next_page_token: next(start, &tokens, |number| Position { number, ..Position::default() }),
        cursor,
    })
}

pub fn list_pending_banks(
    store: &Store,
    mut request: api::ListPendingBanksRequest,
) -> Result<api::ListPendingBanksResponse> {
    let size = page_size(take(&mut request.page_size))?;
    let token = take(&mut request.page_token);
    let tokens = Tokens::new(Listing::PendingBanks, &request);
    let after = tokens.read(&token)?.map(|position| position.name);
    let page = store.pending_banks(after.as_deref(), size)?;
    Ok(api::ListPendingBanksResponse {
        banks: page.items.into_iter().map(Into::into).collect(),
        next_page_token: next(page.next, &tokens, at_name),
    })
}

pub fn get_writer_view(
    store: &Store,
    request: api::GetWriterViewRequest,
) -> Result<api::GetWriterViewResponse> {
    let view = from::view(request.view)?;
    let embedding = from::embedding(request.embedding_f32_le);
    Ok(store.writer_view(&request.bank_id, view, embedding)?.into())
}

pub fn apply_operations(
    store: &Store,
    mut request: api::ApplyOperationsRequest,
) -> Result<api::ApplyOperationsResponse> {
    let bank_id = take(&mut request.bank_id);
    let uid = take(&mut request.bank_uid);
    let batch = from::batch(request)?;
    Ok(store.apply(&bank_id, from::bank_uid(&uid), batch)?.into())
}

pub fn report_chunk_failure(
    store: &Store,
    request: api::ReportChunkFailureRequest,
) -> Result<api::ReportChunkFailureResponse> {
    let report = FailureReport {
        cursor_token: request.cursor_token,
        message: request.message,
        raw_output: request.raw_output,
    };
    let uid = from::bank_uid(&request.bank_uid);
    let (failures, revision) = store.report_failure(&request.bank_id, uid, report)?;
    Ok(api::ReportChunkFailureResponse { failures: Some(failures.into()), revision })
}

pub fn resolve_parked_chunk(
    store: &Store,
    request: api::ResolveParkedChunkRequest,
) -> Result<api::ResolveParkedChunkResponse> {
    let action = from::parked_action(request.action)?;
    let uid = from::bank_uid(&request.bank_uid);
    let bank = store.resolve_parked(&request.bank_id, uid, action)?;
    Ok(api::ResolveParkedChunkResponse { bank: Some(bank.into()) })
}

pub fn list_memories(
    store: &Store,
    mut request: api::ListMemoriesRequest,
) -> Result<api::ListMemoriesResponse> {
    let size = page_size(take(&mut request.page_size))?;
    let token = take(&mut request.page_token);
    let kind = from::optional_type("type", request.r#type)?;
    let tokens = Tokens::new(Listing::Memories, &request);
    let start = tokens.read(&token)?;
    let after = start.as_ref().map(|position| position.number);
    let created_by = start.as_ref().map(|position| position.pin);
    let unembedded_only = request.unembedded_only;
    let (page, revision) =
        store.memories(&request.bank_id, kind, after, created_by, unembedded_only, size)?;
    let mut memories: Vec<api::Memory> = page.items.into_iter().map(Into::into).collect();
    let last = match cut(&mut memories) {
        true => memories.last().map(|memory| memory.id),
        false => page.next,
    };
    Ok(api::ListMemoriesResponse {
        memories,
        next_page_token: next(last, &tokens, |number| Position {
            number,
            pin: created_by.unwrap_or(revision),
            ..Position::default()
        }),
        revision,
    })
}

pub fn search_memories(
    store: &Store,
    request: api::SearchMemoriesRequest,
) -> Result<api::SearchMemoriesResponse> {
    let queries = from::queries(request.queries)?;
    let reply = store.search(&request.bank_id, &queries)?;
    Ok(api::SearchMemoriesResponse {
        results: reply.results.into_iter().map(Into::into).collect(),
        revision: reply.revision,
    })
}

pub fn put_vectors(store: &Store, request: api::PutVectorsRequest) -> Result<api::PutVectorsResponse> {
    let vectors: Vec<_> = request.vectors.into_iter().map(from::vector).collect();
    let uid = from::bank_uid(&request.bank_uid);
    let (results, unembedded_count) =
        store.put_vectors(&request.bank_id, uid, &request.embedder_id, &vectors)?;
    let result = |result| api::put_vectors_response::Result::from(result).into();
    Ok(api::PutVectorsResponse { results: results.into_iter().map(result).collect(), unembedded_count })
}

pub fn set_embedder(store: &Store, request: api::SetEmbedderRequest) -> Result<api::SetEmbedderResponse> {
    let missing = || refusal("INVALID_EMBEDDER", "embedder", "set", "nothing");
    let embedder = from::embedder(request.embedder.ok_or_else(missing)?)?;
    let uid = from::bank_uid(&request.bank_uid);
    let bank = store.set_embedder(&request.bank_id, uid, embedder)?;
    Ok(api::SetEmbedderResponse { bank: Some(bank.into()) })
}

pub fn list_bank_events(
    store: &Store,
    mut request: api::ListBankEventsRequest,
) -> Result<api::ListBankEventsResponse> {
    let size = page_size(take(&mut request.page_size))?;
    let token = take(&mut request.page_token);
    let tokens = Tokens::new(Listing::BankEvents, &request);
    let filter = EventFilter { memory_id: request.memory_id, chunk_position: request.chunk_position };
    let after = tokens
        .read(&token)?
        .map(|position| (position.number, u32::try_from(position.pin).unwrap_or(u32::MAX)));
    let page = store.events(&request.bank_id, &filter, after, size)?;
    let mut events: Vec<api::BankEvent> = page.items.into_iter().map(Into::into).collect();
    let last = match cut(&mut events) {
        true => events.last().map(|event| (event.revision, event.index)),
        false => page.next,
    };
    Ok(api::ListBankEventsResponse {
        events,
        next_page_token: next(last, &tokens, |(number, index)| Position {
            number,
            pin: index.into(),
            ..Position::default()
        }),
    })
}

fn at_name(name: String) -> Position {
    Position { name, ..Position::default() }
}

/// The next page's token; empty on the last page.
fn next<P>(start: Option<P>, tokens: &Tokens, position: impl FnOnce(P) -> Position) -> String {
    start.map_or_else(String::new, |start| tokens.write(&position(start)))
}
