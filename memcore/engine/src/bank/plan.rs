//! What a write comes to. Planning reads a body and makes a record; it changes nothing.

use std::collections::HashMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::body::{Body, Indexed, text_digest};
use super::draft::Draft;
use super::embedding::{embedded, given};
use super::vectors::Vector;
use crate::check;
use crate::error::{Error, Result};
use crate::limits;
use crate::model::{
    AppendResult, Applied, BankSettings, Batch, Chunk, ChunkFailures, Embedder, FailureReport, Micros,
    NewChunk, Operation, OperationError, OperationErrorReason, OperationResult, ParkedChunkAction, RawOutput,
    Revision,
};
use crate::record::{Advance, Done, Record, Request, Stamped};
use crate::text::{Analyzer, Terms, tokens};

/// A write, with everything computed that needs no bank state.
pub(crate) enum Intent {
    Create { bank_id: String, settings: BankSettings, request_id: String },
    Append(Vec<PreparedChunk>),
    Apply(Box<PreparedBatch>),
    Fail(FailureReport),
    Resolve(ParkedChunkAction),
    SetEmbedder(Embedder),
}

pub(crate) struct PreparedChunk {
    chunk: NewChunk,
    token_count: u32,
    terms: Terms,
}

pub(crate) struct PreparedBatch {
    batch: Batch,
    /// Token count of each operation's content, and what it is found by; `None` where there is none.
    contents: Vec<Option<(u32, Indexed)>>,
    /// Whose vectors those are.
    embedder: Embedder,
    digest: String,
}

/// What the caller of a write gets.
#[derive(Debug)]
pub(crate) enum Reply {
    Created,
    /// One for each chunk, and the bank's revision afterwards.
    Appended(Vec<AppendResult>, Revision),
    Applied(Applied),
    /// The request was answered before, by the record of this revision.
    Repeated(Revision),
    Failed(ChunkFailures, Revision),
    Resolved,
    EmbedderSet,
}

/// A record to keep, if anything is to be kept, and the reply once it is.
pub(crate) struct Planned {
    pub stamped: Option<Arc<Stamped>>,
    pub indexed: Vec<Option<Indexed>>,
    /// What becomes of vectors that are kept beside the records.
    pub vectors: VectorChanges,
    pub reply: Reply,
}

/// Changes of the vectors that an external embedder made.
#[derive(Default)]
pub(crate) struct VectorChanges {
    pub forget_all: bool,
    /// Memories whose content changed or went.
    pub forget: Vec<u64>,
    pub put: Vec<(u64, Vector)>,
}

impl Intent {
    pub fn append(chunks: Vec<NewChunk>, analyzer: &Analyzer) -> Self {
        let prepare = |chunk: NewChunk| PreparedChunk {
            token_count: tokens::count_tokens(&chunk.text) as u32,
            terms: analyzer.analyze(&chunk.text),
            chunk,
        };
        Self::Append(chunks.into_iter().map(prepare).collect())
    }

    /// # Errors
    /// InvalidInput for a vector that is not one of `embedder`, which is the bank's.
    pub fn apply(batch: Batch, analyzer: &Analyzer, embedder: &Embedder) -> Result<Self> {
        let prepare = |(index, operation): (usize, &Operation)| {
            let (Operation::Insert { content, embedding, .. } | Operation::Update { content, embedding, .. }) =
                operation
            else {
                return Ok(None);
            };
            let parameter = || format!("operations[{index}].embedding");
            let vector =
                embedding.as_ref().map(|embedding| given(&parameter(), embedding, embedder)).transpose()?;
            let index = || {
                let vector = vector.or_else(|| embedded(embedder, content));
                (tokens::count_tokens(content) as u32, Indexed { terms: analyzer.analyze(content), vector })
            };
            Ok((content.len() <= limits::CONTENT_BYTES).then(index))
        };
        let contents = batch.operations.iter().enumerate().map(prepare).collect::<Result<_>>()?;
        let embedder = embedder.clone();
        let digest =
            if batch.request_id.is_empty() { String::new() } else { hex_sha256(asked(&batch).as_bytes()) };
        Ok(Self::Apply(Box::new(PreparedBatch { batch, contents, embedder, digest })))
    }

    /// Decides the write on `body`; `now` is the clock's time.
    pub fn plan(self, body: &Body, bank_uid: &str, settings: &BankSettings, now: Micros) -> Result<Planned> {
        let next = Next { revision: body.head.revision + 1, time: now.max(body.head.time + 1) };
        match self {
            Self::Create { bank_id, settings, request_id } => Ok(next.record(
                Record::BankCreated {
                    bank_id,
                    settings,
                    request_id,
                    cursor_token: cursor_token(bank_uid, next.revision),
                },
                Vec::new(),
                Reply::Created,
            )),
            Self::Append(chunks) => plan_append(chunks, body, next),
            Self::Apply(prepared) => plan_apply(*prepared, body, bank_uid, settings, next),
            Self::Fail(report) => plan_failure(report, body, settings, next),
            Self::Resolve(action) => plan_resolve(action, body, bank_uid, next),
            Self::SetEmbedder(embedder) => Ok(plan_embedder(embedder, body, next)),
        }
    }
}

/// Revision and time of the record being planned.
#[derive(Clone, Copy)]
pub(super) struct Next {
    pub revision: Revision,
    pub time: Micros,
}

impl Next {
    fn record(self, record: Record, indexed: Vec<Option<Indexed>>, reply: Reply) -> Planned {
        let stamped = Arc::new(Stamped { revision: self.revision, time: self.time, record });
        Planned { stamped: Some(stamped), indexed, vectors: VectorChanges::default(), reply }
    }
}

fn unrecorded(reply: Reply) -> Planned {
    Planned { stamped: None, indexed: Vec::new(), vectors: VectorChanges::default(), reply }
}

/// Opaque, and new at each movement since revisions are never reused in a bank.
fn cursor_token(bank_uid: &str, revision: Revision) -> String {
    let check = crc32fast::hash(format!("{bank_uid}/{revision}").as_bytes());
    format!("{revision:x}.{check:08x}")
}

fn plan_append(chunks: Vec<PreparedChunk>, body: &Body, next: Next) -> Result<Planned> {
    let mut results = Vec::with_capacity(chunks.len());
    let mut fresh: Vec<Chunk> = Vec::new();
    let mut indexed = Vec::new();
    let mut placed: HashMap<String, u64> = HashMap::new();
    for prepared in chunks {
        let chunk = prepared.chunk;
        let earlier = body.chunk_ids.get(chunk.chunk_id.as_str()).copied();
        let known = earlier.or_else(|| placed.get(&chunk.chunk_id).copied());
        if let Some(position) = known {
            let digest = match body.chunks.get(position as usize) {
                Some(place) => place.digest,
                None => text_digest(&fresh[position as usize - body.chunks.len()].text),
            };
            same_text(&chunk, digest)?;
            results.push(AppendResult { position, already_stored: true });
            continue;
        }
        let position = (body.chunks.len() + fresh.len()) as u64;
        placed.insert(chunk.chunk_id.clone(), position);
        results.push(AppendResult { position, already_stored: false });
        indexed.push(Some(Indexed { terms: prepared.terms, vector: None }));
        fresh.push(Chunk {
            chunk_id: chunk.chunk_id,
            position,
            text: chunk.text,
            token_count: prepared.token_count,
            event_time: chunk.event_time,
            source: chunk.source,
            metadata: chunk.metadata,
            create_time: next.time,
        });
    }
    if fresh.is_empty() {
        return Ok(unrecorded(Reply::Appended(results, body.head.revision)));
    }
    let reply = Reply::Appended(results, next.revision);
    Ok(next.record(Record::ChunksAppended { chunks: fresh }, indexed, reply))
}

fn same_text(chunk: &NewChunk, digest: [u8; 16]) -> Result<()> {
    if text_digest(&chunk.text) == digest {
        return Ok(());
    }
    Err(Error::conflict(
        "CHUNK_ID_REUSED",
        format!(
            "chunk_id {:?} is already stored with another text; a chunk_id names one text for ever",
            chunk.chunk_id
        ),
    )
    .with("chunk_id", &chunk.chunk_id))
}

fn plan_apply(
    prepared: PreparedBatch,
    body: &Body,
    bank_uid: &str,
    settings: &BankSettings,
    next: Next,
) -> Result<Planned> {
    let PreparedBatch { batch, contents, embedder, digest } = prepared;
    if let Some(answered) = body.requests.get(&batch.request_id, next.time) {
        return repeat(&batch.request_id, &digest, &answered.digest, answered.revision);
    }
    expect_cursor(batch.cursor_token.as_deref(), body)?;
    expect_memories(batch.memory_revision, body)?;
    let advance = plan_advance(batch.advance_to, body)?;
    let mut draft = Draft::new(body, settings, next, &batch.writer, advance.as_ref());
    let mut indexed = Vec::with_capacity(contents.len());
    let mut operations = Vec::with_capacity(contents.len());
    for (index, (operation, content)) in batch.operations.into_iter().zip(contents).enumerate() {
        let (token_count, found_by) = content.map_or((0, None), |(tokens, indexed)| (tokens, Some(indexed)));
        operations.push(draft.run(index as u32, operation, token_count));
        // Vectors of an embedder that was exchanged meanwhile are worth nothing.
        indexed.push(found_by.filter(|_| embedder == body.head.embedder));
    }
    check::changed_bytes(operations.iter().filter_map(|done| done.result.outcome.as_ref().ok()))?;
    let failed = |done: &Done| done.result.outcome.is_err();
    if batch.atomic && operations.iter().any(failed) {
        return Ok(unrecorded(Reply::Applied(aborted(operations, body))));
    }
    let changed = !operations.iter().all(failed);
    let memory_revision = if changed { next.revision } else { body.head.memory_revision };
    let (cursor, cursor_token) = match &advance {
        Some(advance) => (advance.to, cursor_token(bank_uid, next.revision)),
        None => (body.head.cursor, body.head.cursor_token.clone()),
    };
    let reply = Reply::Applied(Applied {
        results: operations.iter().map(|done| done.result.clone()).collect(),
        revision: next.revision,
        memory_revision,
        cursor,
        cursor_token: cursor_token.clone(),
    });
    let vectors = vector_changes(&operations, &indexed, &body.head.embedder);
    let record = Record::OperationsApplied {
        operations,
        advance,
        raw_output: kept_output(&batch.raw_output),
        request: (!batch.request_id.is_empty()).then_some(Request { id: batch.request_id, digest }),
        writer: batch.writer,
        memory_revision,
        cursor,
        cursor_token,
    };
    Ok(Planned { vectors, ..next.record(record, indexed, reply) })
}

/// What the operations that were carried out do to kept vectors; the last one on a memory counts.
fn vector_changes(operations: &[Done], indexed: &[Option<Indexed>], embedder: &Embedder) -> VectorChanges {
    let mut changes = VectorChanges::default();
    if !matches!(embedder, Embedder::External { .. }) {
        return changes;
    }
    for (done, indexed) in operations.iter().zip(indexed) {
        let Ok(memory) = &done.result.outcome else { continue };
        changes.put.retain(|(id, _)| *id != memory.id);
        changes.forget.extend(done.before.as_ref().map(|before| before.id));
        let vector =
            indexed.as_ref().filter(|_| !done.result.truncated).and_then(|found| found.vector.clone());
        changes.put.extend(vector.map(|vector| (memory.id, vector)));
    }
    changes
}

fn plan_embedder(embedder: Embedder, body: &Body, next: Next) -> Planned {
    if embedder == body.head.embedder {
        return unrecorded(Reply::EmbedderSet);
    }
    let planned = next.record(Record::EmbedderSet { embedder }, Vec::new(), Reply::EmbedderSet);
    Planned { vectors: VectorChanges { forget_all: true, ..VectorChanges::default() }, ..planned }
}

fn repeat(id: &str, asked: &str, before: &str, revision: Revision) -> Result<Planned> {
    if asked == before {
        return Ok(unrecorded(Reply::Repeated(revision)));
    }
    Err(Error::conflict("REQUEST_ID_REUSED", format!("request_id {id:?} was used for another request"))
        .with("request_id", id))
}

fn expect_cursor(token: Option<&str>, body: &Body) -> Result<()> {
    match token {
        Some(token) if token != body.head.cursor_token => Err(Error::conflict(
            "CURSOR_MOVED",
            format!(
                "the cursor has moved since cursor_token {token:?} was read; it is at {} now",
                body.head.cursor
            ),
        )
        .with("cursor", body.head.cursor)),
        _ => Ok(()),
    }
}

fn expect_memories(revision: Option<Revision>, body: &Body) -> Result<()> {
    match revision {
        Some(revision) if revision != body.head.memory_revision => Err(Error::conflict(
            "MEMORY_CHANGED",
            format!(
                "memory_revision is {}, but the request was decided on {revision}",
                body.head.memory_revision
            ),
        )
        .with("expected", revision)
        .with("actual", body.head.memory_revision)),
        _ => Ok(()),
    }
}

fn plan_advance(to: Option<u64>, body: &Body) -> Result<Option<Advance>> {
    let Some(to) = to else {
        return Ok(None);
    };
    let (from, end) = (body.head.cursor, body.chunks.len() as u64);
    expect_unparked(body)?;
    match body.pending.get(&from) {
        Some(pending) if from < to && to <= end => {
            Ok(Some(Advance { from, to, chunk_id: pending.chunk.chunk_id.clone() }))
        }
        _ => Err(Error::invalid(
            "INVALID_ADVANCE",
            format!("advance_to must be above the cursor {from} and at most {end}, got {to}"),
        )
        .with("cursor", from)
        .with("chunks", end)
        .with("actual", to)),
    }
}

fn expect_unparked(body: &Body) -> Result<()> {
    let position = body.head.cursor;
    if !body.head.parked() {
        return Ok(());
    }
    let message = format!("the chunk at position {position} is parked; retry or skip it first");
    Err(Error::conflict("CHUNK_PARKED", message).with("position", position))
}

fn aborted(operations: Vec<Done>, body: &Body) -> Applied {
    let abort = |done: Done| match done.result.outcome {
        Ok(_) => OperationResult {
            outcome: Err(OperationError {
                reason: OperationErrorReason::BatchAborted,
                message: "another operation of this atomic batch failed".into(),
            }),
            truncated: false,
        },
        Err(_) => done.result,
    };
    Applied {
        results: operations.into_iter().map(abort).collect(),
        revision: body.head.revision,
        memory_revision: body.head.memory_revision,
        cursor: body.head.cursor,
        cursor_token: body.head.cursor_token.clone(),
    }
}

fn plan_failure(report: FailureReport, body: &Body, settings: &BankSettings, next: Next) -> Result<Planned> {
    expect_cursor(Some(&report.cursor_token), body)?;
    expect_unparked(body)?;
    let (position, chunk_id) = chunk_at_cursor(body)?;
    let count = body.head.failures.as_ref().map_or(0, |f| f.count) + 1;
    let failures =
        ChunkFailures { count, message: report.message, parked: count >= settings.max_chunk_failures };
    let record = Record::ChunkFailed {
        position,
        chunk_id,
        failures: failures.clone(),
        raw_output: kept_output(&report.raw_output),
    };
    Ok(next.record(record, Vec::new(), Reply::Failed(failures, next.revision)))
}

fn plan_resolve(action: ParkedChunkAction, body: &Body, bank_uid: &str, next: Next) -> Result<Planned> {
    let (position, chunk_id) = chunk_at_cursor(body)?;
    if !body.head.parked() {
        return Err(Error::conflict("NOT_PARKED", format!("the chunk at position {position} is not parked"))
            .with("position", position));
    }
    let record = match action {
        ParkedChunkAction::Retry => Record::ChunkRetried { position, chunk_id },
        ParkedChunkAction::Skip => Record::ChunkSkipped {
            advance: Advance { from: position, to: position + 1, chunk_id },
            cursor_token: cursor_token(bank_uid, next.revision),
        },
    };
    Ok(next.record(record, Vec::new(), Reply::Resolved))
}

fn chunk_at_cursor(body: &Body) -> Result<(u64, String)> {
    let position = body.head.cursor;
    match body.pending.get(&position) {
        Some(pending) => Ok((position, pending.chunk.chunk_id.clone())),
        None => Err(Error::conflict(
            "NOTHING_PENDING",
            format!("all {position} chunks of the bank are memorized"),
        )),
    }
}

fn kept_output(raw: &str) -> Option<RawOutput> {
    if raw.is_empty() {
        return None;
    }
    let end = raw.floor_char_boundary(limits::RAW_OUTPUT_KEPT_BYTES);
    Some(RawOutput {
        text: raw[..end].to_owned(),
        sha256: hex_sha256(raw.as_bytes()),
        size_bytes: raw.len() as u64,
    })
}

/// A batch as stable text: equal for equal requests, also after an upgrade.
fn asked(batch: &Batch) -> String {
    let Batch { operations, cursor_token, memory_revision, advance_to, atomic, writer, raw_output, .. } =
        batch;
    serde_json::json!([operations, cursor_token, memory_revision, advance_to, atomic, writer, raw_output])
        .to_string()
}

fn hex_sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
