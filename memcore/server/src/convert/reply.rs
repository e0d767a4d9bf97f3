//! The engine's nouns, as callers get them.

use std::sync::Arc;

use memcore_engine::model as engine;
use memcore_engine::model::{EventKind, Micros, OperationErrorReason};
use prost_types::Timestamp;

use crate::api;
use crate::api::bank_event::Event as ApiEvent;

const MICROS_PER_SECOND: i64 = 1_000_000;

fn timestamp(time: Micros) -> Option<Timestamp> {
    let micros = i32::try_from(time.rem_euclid(MICROS_PER_SECOND)).unwrap_or_default();
    Some(Timestamp { seconds: time.div_euclid(MICROS_PER_SECOND), nanos: micros * 1000 })
}

impl From<engine::MemoryType> for api::MemoryType {
    fn from(kind: engine::MemoryType) -> Self {
        match kind {
            engine::MemoryType::Core => Self::Core,
            engine::MemoryType::Semantic => Self::Semantic,
            engine::MemoryType::Episodic => Self::Episodic,
        }
    }
}

impl From<engine::BankSettings> for api::BankSettings {
    fn from(settings: engine::BankSettings) -> Self {
        let durability = match settings.durability {
            engine::Durability::Volatile => api::Durability::Volatile,
            engine::Durability::Synced => api::Durability::Synced,
        };
        Self {
            durability: durability.into(),
            core_token_limit: i32::try_from(settings.core_token_limit).ok(),
            language: settings.language,
            disabled_types: settings
                .disabled_types
                .into_iter()
                .map(|kind| api::MemoryType::from(kind).into())
                .collect(),
            max_chunk_failures: i32::try_from(settings.max_chunk_failures).ok(),
            labels: settings.labels.into_iter().collect(),
            embedder: Some(settings.embedder.into()),
        }
    }
}

impl From<engine::Embedder> for api::Embedder {
    fn from(embedder: engine::Embedder) -> Self {
        let kind = match embedder {
            engine::Embedder::None => api::EmbedderKind::None,
            engine::Embedder::Builtin => api::EmbedderKind::Builtin,
            engine::Embedder::External { .. } => api::EmbedderKind::External,
        };
        let dimensions = i32::try_from(embedder.dimensions()).unwrap_or(i32::MAX);
        Self { kind: kind.into(), id: embedder.id().to_owned(), dimensions }
    }
}

impl From<engine::Writer> for api::Writer {
    fn from(writer: engine::Writer) -> Self {
        Self {
            policy_id: writer.policy_id,
            policy_version: writer.policy_version,
            prompt_digest: writer.prompt_digest,
        }
    }
}

impl From<engine::Provenance> for api::Provenance {
    fn from(provenance: engine::Provenance) -> Self {
        let (chunk_id, chunk_position) = match provenance.chunk {
            Some((id, position)) => (id, Some(position)),
            None => (String::new(), None),
        };
        Self {
            revision: provenance.revision,
            operation_index: provenance.operation_index,
            chunk_id,
            chunk_position,
            writer: Some(provenance.writer.into()),
        }
    }
}

impl From<Arc<engine::Memory>> for api::Memory {
    fn from(memory: Arc<engine::Memory>) -> Self {
        Self {
            id: memory.id,
            r#type: api::MemoryType::from(memory.kind).into(),
            content: memory.content.clone(),
            token_count: memory.token_count,
            event_time: memory.event_time.clone(),
            metadata: memory.metadata.clone().into_iter().collect(),
            create_revision: memory.create_revision,
            update_revision: memory.update_revision,
            create_time: timestamp(memory.create_time),
            update_time: timestamp(memory.update_time),
            provenance: Some(memory.provenance.clone().into()),
        }
    }
}

impl From<engine::Chunk> for api::Chunk {
    fn from(chunk: engine::Chunk) -> Self {
        Self {
            chunk_id: chunk.chunk_id,
            text: chunk.text,
            event_time: chunk.event_time,
            source: chunk.source,
            metadata: chunk.metadata.into_iter().collect(),
            position: chunk.position,
            token_count: chunk.token_count,
            create_time: timestamp(chunk.create_time),
        }
    }
}

impl From<engine::BankStats> for api::BankStats {
    fn from(stats: engine::BankStats) -> Self {
        Self {
            core_tokens: stats.core_tokens,
            semantic_count: stats.semantic_count,
            semantic_tokens: stats.semantic_tokens,
            episodic_count: stats.episodic_count,
            episodic_tokens: stats.episodic_tokens,
            chunk_count: stats.chunk_count,
            chunk_tokens: stats.chunk_tokens,
            pending_chunks: stats.pending_chunks,
            pending_tokens: stats.pending_tokens,
            embedded_count: stats.embedded_count,
            unembedded_count: stats.unembedded_count,
        }
    }
}

impl From<engine::ChunkFailures> for api::ChunkFailures {
    fn from(failures: engine::ChunkFailures) -> Self {
        Self { count: failures.count, message: failures.message, parked: failures.parked }
    }
}

impl From<engine::Bank> for api::Bank {
    fn from(bank: engine::Bank) -> Self {
        Self {
            bank_id: bank.bank_id,
            bank_uid: bank.bank_uid,
            settings: Some(bank.settings.into()),
            revision: bank.revision,
            memory_revision: bank.memory_revision,
            cursor: bank.cursor,
            cursor_token: bank.cursor_token,
            stats: Some(bank.stats.into()),
            failures: bank.failures.map(Into::into),
            create_time: timestamp(bank.create_time),
            update_time: timestamp(bank.update_time),
        }
    }
}

impl From<engine::PendingBank> for api::PendingBank {
    fn from(bank: engine::PendingBank) -> Self {
        Self {
            bank_id: bank.bank_id,
            bank_uid: bank.bank_uid,
            pending_chunks: bank.pending_chunks,
            pending_tokens: bank.pending_tokens,
            oldest_time: timestamp(bank.oldest_time),
            parked: bank.parked,
        }
    }
}

impl From<engine::Appended> for api::AppendChunksResponse {
    fn from(appended: engine::Appended) -> Self {
        let results = appended.results.into_iter().map(|result| api::AppendResult {
            position: result.position,
            already_stored: result.already_stored,
        });
        Self { results: results.collect(), revision: appended.revision, bank_uid: appended.bank_uid }
    }
}

impl From<engine::OperationError> for api::OperationError {
    fn from(error: engine::OperationError) -> Self {
        use api::operation_error::Reason;
        let reason = match error.reason {
            OperationErrorReason::MemoryNotFound => Reason::MemoryNotFound,
            OperationErrorReason::NotInView => Reason::NotInView,
            OperationErrorReason::DuplicateContent => Reason::DuplicateContent,
            OperationErrorReason::CoreNotInsertable => Reason::CoreNotInsertable,
            OperationErrorReason::InvalidContent => Reason::InvalidContent,
            OperationErrorReason::ContentTooLong => Reason::ContentTooLong,
            OperationErrorReason::TypeDisabled => Reason::TypeDisabled,
            OperationErrorReason::MalformedCall => Reason::MalformedCall,
            OperationErrorReason::BatchAborted => Reason::BatchAborted,
        };
        Self { reason: reason.into(), message: error.message }
    }
}

impl From<engine::Operation> for api::Operation {
    fn from(operation: engine::Operation) -> Self {
        use api::operation::Operation as Kind;
        let kind = match operation {
            engine::Operation::Insert { kind, content, event_time, metadata, .. } => {
                Kind::Insert(api::InsertOperation {
                    r#type: api::MemoryType::from(kind).into(),
                    content,
                    event_time,
                    metadata: metadata.into_iter().collect(),
                    embedding_f32_le: Vec::new(),
                })
            }
            engine::Operation::Update { kind, memory_id, content, event_time, .. } => {
                Kind::Update(api::UpdateOperation {
                    r#type: api::MemoryType::from(kind).into(),
                    memory_id,
                    content,
                    event_time,
                    embedding_f32_le: Vec::new(),
                })
            }
            engine::Operation::Delete { kind, memory_id } => {
                Kind::Delete(api::DeleteOperation { r#type: api::MemoryType::from(kind).into(), memory_id })
            }
            engine::Operation::Rejected { text, error } => {
                Kind::Rejected(api::RejectedCall { text, error: Some(error.into()) })
            }
        };
        Self { operation: Some(kind) }
    }
}

impl From<engine::OperationResult> for api::OperationResult {
    fn from(result: engine::OperationResult) -> Self {
        use api::operation_result::Result as Outcome;
        Self {
            result: Some(match result.outcome {
                Ok(memory) => Outcome::Memory(memory.into()),
                Err(error) => Outcome::Error(error.into()),
            }),
            truncated: result.truncated,
        }
    }
}

impl From<engine::Applied> for api::ApplyOperationsResponse {
    fn from(applied: engine::Applied) -> Self {
        Self {
            results: applied.results.into_iter().map(Into::into).collect(),
            revision: applied.revision,
            memory_revision: applied.memory_revision,
            cursor: applied.cursor,
            cursor_token: applied.cursor_token,
        }
    }
}

impl From<engine::WriterView> for api::GetWriterViewResponse {
    fn from(view: engine::WriterView) -> Self {
        Self {
            bank: Some(view.bank.into()),
            core: Some(view.core.into()),
            semantic: view.semantic.into_iter().map(Into::into).collect(),
            episodic: view.episodic.into_iter().map(Into::into).collect(),
            next_chunk: view.next_chunk.map(Into::into),
        }
    }
}

impl From<engine::Hits> for api::SearchHits {
    fn from(hits: engine::Hits) -> Self {
        let method = match hits.method {
            engine::Method::Words => api::SearchMethod::Words,
            engine::Method::Vector => api::SearchMethod::Vector,
            engine::Method::Hybrid => api::SearchMethod::Hybrid,
        };
        let pending = hits
            .pending
            .into_iter()
            .map(|(chunk, score)| api::PendingHit { chunk: Some(chunk.into()), score });
        Self {
            memories: hits.memories.into_iter().map(Into::into).collect(),
            pending: pending.collect(),
            method: method.into(),
            approximate: hits.approximate,
        }
    }
}

impl From<engine::Hit> for api::MemoryHit {
    fn from(hit: engine::Hit) -> Self {
        let rank = |rank: Option<u32>| rank.and_then(|rank| i32::try_from(rank).ok());
        Self {
            memory: Some(hit.memory.into()),
            score: hit.score,
            words_rank: rank(hit.words_rank),
            vector_rank: rank(hit.vector_rank),
            has_vector: hit.has_vector,
            explanation: hit.explanation.map(Into::into),
        }
    }
}

impl From<engine::Explanation> for api::Explanation {
    fn from(explanation: engine::Explanation) -> Self {
        let term = |term: engine::TermScore| api::TermScore {
            term: term.term,
            document_frequency: term.document_frequency,
            term_frequency: term.term_frequency,
            weight: term.weight,
            score: term.score,
        };
        Self {
            words_score: explanation.words_score,
            vector_score: explanation.vector_score,
            words_part: explanation.words_part,
            vector_part: explanation.vector_part,
            context_part: explanation.context_part,
            date_part: explanation.date_part,
            terms: explanation.terms.into_iter().map(term).collect(),
        }
    }
}

impl From<engine::VectorResult> for api::put_vectors_response::Result {
    fn from(result: engine::VectorResult) -> Self {
        match result {
            engine::VectorResult::Stored => Self::Stored,
            engine::VectorResult::Stale => Self::Stale,
        }
    }
}

impl From<engine::RawOutput> for api::RawOutput {
    fn from(raw: engine::RawOutput) -> Self {
        Self { text: raw.text, sha256: raw.sha256, size_bytes: raw.size_bytes }
    }
}

impl From<engine::Event> for api::BankEvent {
    fn from(event: engine::Event) -> Self {
        Self {
            revision: event.revision,
            index: event.index,
            time: timestamp(event.time),
            event: Some(event.what.into()),
        }
    }
}

impl From<EventKind> for ApiEvent {
    fn from(kind: EventKind) -> Self {
        match kind {
            EventKind::BankCreated { settings } => {
                Self::BankCreated(api::BankCreated { settings: Some(settings.into()) })
            }
            EventKind::ChunkAppended { chunk } => {
                Self::ChunkAppended(api::ChunkAppended { chunk: Some(chunk.into()) })
            }
            EventKind::OperationApplied { operation, result, before, provenance } => {
                Self::OperationApplied(api::OperationApplied {
                    operation: Some(operation.into()),
                    result: Some(result.into()),
                    before: before.map(Into::into),
                    provenance: Some(provenance.into()),
                })
            }
            EventKind::CursorMoved { from, to, chunk_id, skipped, raw_output, writer } => {
                Self::CursorMoved(api::CursorMoved {
                    from_position: from,
                    to_position: to,
                    chunk_id,
                    skipped,
                    raw_output: raw_output.map(Into::into),
                    writer: Some(writer.into()),
                })
            }
            EventKind::ChunkFailed { position, chunk_id, failures, raw_output } => {
                Self::ChunkFailed(api::ChunkFailed {
                    position,
                    chunk_id,
                    failures: Some(failures.into()),
                    raw_output: raw_output.map(Into::into),
                })
            }
            EventKind::ChunkRetried { position, chunk_id } => {
                Self::ChunkRetried(api::ChunkRetried { position, chunk_id })
            }
            EventKind::EmbedderSet { embedder } => {
                Self::EmbedderSet(api::EmbedderSet { embedder: Some(embedder.into()) })
            }
        }
    }
}
