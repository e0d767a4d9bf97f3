//! What callers send, as the engine's nouns.
//!
//! Limits are the engine's; here stand only the defaults of unset fields and the refusal of what has no
//! counterpart there.

use memcore_engine::model as engine;
use memcore_engine::model::{MemoryType, OperationErrorReason};
use memcore_engine::{Error, Result, limits};
use prost_types::Timestamp;

use super::refusal;
use crate::api;

const DEFAULT_SEARCH_LIMIT: i32 = 20;
const DEFAULT_RECIPROCAL_RANK_K: i32 = 60;
const DEFAULT_RECENT: i32 = 5;
const DEFAULT_RELEVANT: i32 = 10;
const TYPE_RULE: &str = "MEMORY_TYPE_CORE, MEMORY_TYPE_SEMANTIC or MEMORY_TYPE_EPISODIC";

/// An empty uid means "whichever bank has this id".
pub fn bank_uid(uid: &str) -> Option<&str> {
    (!uid.is_empty()).then_some(uid)
}

/// Reads a count that protocol buffers carry as a signed number; the engine checks its upper bound.
fn count(parameter: &str, value: i32, least: u32, most: usize) -> Result<u32> {
    u32::try_from(value).map_err(|_| {
        let rule = format!("between {least} and {most}");
        Error::invalid("OUT_OF_BOUNDS", format!("{parameter} must be {rule}, got {value}"))
            .with("parameter", parameter)
            .with("limit", most)
            .with("actual", value)
    })
}

/// Reads a type that must be set.
pub fn memory_type(parameter: &str, value: i32) -> Result<MemoryType> {
    optional_type(parameter, value)?
        .ok_or_else(|| refusal("INVALID_MEMORY_TYPE", parameter, TYPE_RULE, value))
}

/// Reads a type whose unset value means "all".
pub fn optional_type(parameter: &str, value: i32) -> Result<Option<MemoryType>> {
    match api::MemoryType::try_from(value) {
        Ok(api::MemoryType::Unspecified) => Ok(None),
        Ok(api::MemoryType::Core) => Ok(Some(MemoryType::Core)),
        Ok(api::MemoryType::Semantic) => Ok(Some(MemoryType::Semantic)),
        Ok(api::MemoryType::Episodic) => Ok(Some(MemoryType::Episodic)),
        Err(_) => Err(refusal("INVALID_MEMORY_TYPE", parameter, TYPE_RULE, value)),
    }
}

fn types(parameter: &str, values: &[i32]) -> Result<Vec<MemoryType>> {
    values.iter().map(|value| memory_type(parameter, *value)).collect()
}

pub fn settings(settings: Option<api::BankSettings>) -> Result<engine::BankSettings> {
    let defaults = engine::BankSettings::default();
    let Some(settings) = settings else {
        return Ok(defaults);
    };
    let number = |parameter, value: Option<i32>, default, most: u32| match value {
        None => Ok(default),
        Some(value) => count(parameter, value, 1, most as usize),
    };
    Ok(engine::BankSettings {
        durability: durability(settings.durability)?,
        core_token_limit: number(
            "core_token_limit",
            settings.core_token_limit,
            defaults.core_token_limit,
            limits::CORE_TOKENS,
        )?,
        language: if settings.language.is_empty() { defaults.language } else { settings.language },
        disabled_types: types("disabled_types", &settings.disabled_types)?,
        max_chunk_failures: number(
            "max_chunk_failures",
            settings.max_chunk_failures,
            defaults.max_chunk_failures,
            limits::CHUNK_FAILURES,
        )?,
        labels: settings.labels.into_iter().collect(),
        embedder: settings.embedder.map_or(Ok(defaults.embedder), embedder)?,
    })
}

/// An embedder as this service told it is taken back, too.
pub fn embedder(embedder: api::Embedder) -> Result<engine::Embedder> {
    let own = |kind: engine::Embedder| {
        let told = |id: &str| id.is_empty() || id == kind.id();
        let width = usize::try_from(embedder.dimensions).unwrap_or(usize::MAX);
        if told(&embedder.id) && (width == 0 || width == kind.dimensions()) {
            return Ok(kind);
        }
        let rule = "unset unless embedder.kind is EMBEDDER_KIND_EXTERNAL";
        let value = format!("{:?} and {}", embedder.id, embedder.dimensions);
        Err(refusal("INVALID_EMBEDDER", "embedder.id and embedder.dimensions", rule, value))
    };
    match api::EmbedderKind::try_from(embedder.kind) {
        Ok(api::EmbedderKind::None) => own(engine::Embedder::None),
        Ok(api::EmbedderKind::Builtin | api::EmbedderKind::Unspecified) => own(engine::Embedder::Builtin),
        Ok(api::EmbedderKind::External) => Ok(engine::Embedder::External {
            id: embedder.id,
            dimensions: count("embedder.dimensions", embedder.dimensions, 1, limits::DIMENSIONS as usize)?,
        }),
        Err(_) => Err(refusal(
            "INVALID_EMBEDDER",
            "embedder.kind",
            "EMBEDDER_KIND_NONE, EMBEDDER_KIND_BUILTIN or EMBEDDER_KIND_EXTERNAL",
            embedder.kind,
        )),
    }
}

/// Empty bytes mean that there is no vector.
pub fn embedding(bytes: Vec<u8>) -> Option<engine::Embedding> {
    (!bytes.is_empty()).then(|| engine::Embedding(bytes.into()))
}

pub fn vector(vector: api::MemoryVector) -> engine::MemoryVector {
    engine::MemoryVector {
        memory_id: vector.memory_id,
        update_revision: vector.update_revision,
        embedding: engine::Embedding(vector.embedding_f32_le.into()),
    }
}

fn durability(value: i32) -> Result<engine::Durability> {
    match api::Durability::try_from(value) {
        Ok(api::Durability::Volatile) => Ok(engine::Durability::Volatile),
        Ok(api::Durability::Synced | api::Durability::Unspecified) => Ok(engine::Durability::Synced),
        Err(_) => Err(refusal(
            "INVALID_DURABILITY",
            "durability",
            "DURABILITY_VOLATILE or DURABILITY_SYNCED",
            value,
        )),
    }
}

pub fn chunk(chunk: api::Chunk) -> engine::NewChunk {
    engine::NewChunk {
        chunk_id: chunk.chunk_id,
        text: chunk.text,
        event_time: chunk.event_time,
        source: chunk.source,
        metadata: chunk.metadata.into_iter().collect(),
    }
}

pub fn writer(writer: Option<api::Writer>) -> engine::Writer {
    writer.map_or_else(engine::Writer::default, |writer| engine::Writer {
        policy_id: writer.policy_id,
        policy_version: writer.policy_version,
        prompt_digest: writer.prompt_digest,
    })
}

pub fn operations(operations: Vec<api::Operation>) -> Result<Vec<engine::Operation>> {
    operations
        .into_iter()
        .enumerate()
        .map(|(index, each)| operation(&format!("operations[{index}]"), each))
        .collect()
}

fn operation(parameter: &str, operation: api::Operation) -> Result<engine::Operation> {
    use api::operation::Operation as Kind;
    match operation.operation {
        None => {
            Err(refusal("INVALID_OPERATION", parameter, "one of insert, update, delete, rejected", "none"))
        }
        Some(Kind::Insert(insert)) => Ok(engine::Operation::Insert {
            kind: memory_type(&format!("{parameter}.insert.type"), insert.r#type)?,
            content: insert.content,
            event_time: insert.event_time,
            metadata: insert.metadata.into_iter().collect(),
            embedding: embedding(insert.embedding_f32_le),
        }),
        Some(Kind::Update(update)) => Ok(engine::Operation::Update {
            kind: memory_type(&format!("{parameter}.update.type"), update.r#type)?,
            memory_id: update.memory_id,
            content: update.content,
            event_time: update.event_time,
            embedding: embedding(update.embedding_f32_le),
        }),
        Some(Kind::Delete(delete)) => Ok(engine::Operation::Delete {
            kind: memory_type(&format!("{parameter}.delete.type"), delete.r#type)?,
            memory_id: delete.memory_id,
        }),
        Some(Kind::Rejected(rejected)) => Ok(engine::Operation::Rejected {
            error: operation_error(&format!("{parameter}.rejected.error"), rejected.error)?,
            text: rejected.text,
        }),
    }
}

fn operation_error(parameter: &str, error: Option<api::OperationError>) -> Result<engine::OperationError> {
    use api::operation_error::Reason;
    let error = error.unwrap_or_default();
    let reason = match Reason::try_from(error.reason) {
        Ok(Reason::MemoryNotFound) => OperationErrorReason::MemoryNotFound,
        Ok(Reason::NotInView) => OperationErrorReason::NotInView,
        Ok(Reason::DuplicateContent) => OperationErrorReason::DuplicateContent,
        Ok(Reason::CoreNotInsertable) => OperationErrorReason::CoreNotInsertable,
        Ok(Reason::InvalidContent) => OperationErrorReason::InvalidContent,
        Ok(Reason::ContentTooLong) => OperationErrorReason::ContentTooLong,
        Ok(Reason::TypeDisabled) => OperationErrorReason::TypeDisabled,
        Ok(Reason::MalformedCall) => OperationErrorReason::MalformedCall,
        Ok(Reason::BatchAborted) => OperationErrorReason::BatchAborted,
        Ok(Reason::Unspecified) | Err(_) => {
            return Err(refusal(
                "INVALID_OPERATION",
                &format!("{parameter}.reason"),
                "a known reason",
                error.reason,
            ));
        }
    };
    Ok(engine::OperationError { reason, message: error.message })
}

pub fn batch(request: api::ApplyOperationsRequest) -> Result<engine::Batch> {
    Ok(engine::Batch {
        operations: operations(request.operations)?,
        cursor_token: request.cursor_token,
        memory_revision: request.memory_revision,
        advance_to: request.advance_to,
        atomic: request.atomic,
        writer: writer(request.writer),
        raw_output: request.raw_output,
        request_id: request.request_id,
    })
}

pub fn parked_action(value: i32) -> Result<engine::ParkedChunkAction> {
    match api::ParkedChunkAction::try_from(value) {
        Ok(api::ParkedChunkAction::Retry) => Ok(engine::ParkedChunkAction::Retry),
        Ok(api::ParkedChunkAction::Skip) => Ok(engine::ParkedChunkAction::Skip),
        Ok(api::ParkedChunkAction::Unspecified) | Err(_) => Err(refusal(
            "INVALID_ACTION",
            "action",
            "PARKED_CHUNK_ACTION_RETRY or PARKED_CHUNK_ACTION_SKIP",
            value,
        )),
    }
}

pub fn view(view: Option<api::get_writer_view_request::View>) -> Result<engine::View> {
    use api::get_writer_view_request::View as Kind;
    match view.unwrap_or_else(|| Kind::Relevant(api::RelevantView::default())) {
        Kind::Recent(recent) => Ok(engine::View::Recent {
            semantic: shown("semantic", recent.semantic.unwrap_or(DEFAULT_RECENT))?,
            episodic: shown("episodic", recent.episodic.unwrap_or(DEFAULT_RECENT))?,
        }),
        Kind::Relevant(relevant) => Ok(engine::View::Relevant {
            semantic: shown("semantic", relevant.semantic.unwrap_or(DEFAULT_RELEVANT))?,
            episodic: shown("episodic", relevant.episodic.unwrap_or(DEFAULT_RELEVANT))?,
        }),
    }
}

fn shown(parameter: &str, value: i32) -> Result<usize> {
    Ok(count(parameter, value, 0, limits::HITS)? as usize)
}

pub fn queries(queries: Vec<api::SearchQuery>) -> Result<Vec<engine::Query>> {
    let numbered = queries.into_iter().enumerate();
    numbered.map(|(index, each)| query(&format!("queries[{index}]"), each)).collect()
}

fn query(parameter: &str, query: api::SearchQuery) -> Result<engine::Query> {
    let limit = query.limit.unwrap_or(DEFAULT_SEARCH_LIMIT);
    Ok(engine::Query {
        types: types(&format!("{parameter}.types"), &query.types)?,
        limit: count(&format!("{parameter}.limit"), limit, 1, limits::HITS)? as usize,
        text: query.text,
        include_pending: query.include_pending,
        method: method(&format!("{parameter}.method"), query.method)?,
        embedding: embedding(query.embedding_f32_le),
        fusion: fusion(&format!("{parameter}.fusion"), query.fusion)?,
        scoring: scoring(&format!("{parameter}.word_scoring.formula"), query.word_scoring)?,
        filter: filter(&format!("{parameter}.filter"), query.filter.unwrap_or_default())?,
        context_weight: query.context_weight,
        date_weight: query.date_weight,
        min_score: query.min_score,
        exact: query.exact,
        explain: query.explain,
    })
}

fn method(parameter: &str, value: i32) -> Result<Option<engine::Method>> {
    match api::SearchMethod::try_from(value) {
        Ok(api::SearchMethod::Unspecified) => Ok(None),
        Ok(api::SearchMethod::Words) => Ok(Some(engine::Method::Words)),
        Ok(api::SearchMethod::Vector) => Ok(Some(engine::Method::Vector)),
        Ok(api::SearchMethod::Hybrid) => Ok(Some(engine::Method::Hybrid)),
        Err(_) => {
            let rule = "SEARCH_METHOD_WORDS, SEARCH_METHOD_VECTOR or SEARCH_METHOD_HYBRID";
            Err(refusal("INVALID_METHOD", parameter, rule, value))
        }
    }
}

fn fusion(parameter: &str, fusion: Option<api::Fusion>) -> Result<engine::Fusion> {
    use api::fusion::Fusion as Kind;
    match fusion.and_then(|fusion| fusion.fusion) {
        None => Ok(engine::Fusion::default()),
        Some(Kind::Convex(convex)) => Ok(engine::Fusion::Convex {
            vector_weight: convex.vector_weight.unwrap_or(engine::DEFAULT_VECTOR_WEIGHT),
        }),
        Some(Kind::ReciprocalRank(ranks)) => {
            let k = ranks.k.unwrap_or(DEFAULT_RECIPROCAL_RANK_K);
            let most = limits::RECIPROCAL_RANK_K as usize;
            Ok(engine::Fusion::ReciprocalRank {
                k: count(&format!("{parameter}.reciprocal_rank.k"), k, 1, most)?,
            })
        }
    }
}

fn scoring(parameter: &str, scoring: Option<api::WordScoring>) -> Result<engine::WordScoring> {
    use api::word_scoring::Formula;
    let scoring = scoring.unwrap_or_default();
    match Formula::try_from(scoring.formula) {
        Ok(Formula::Unspecified | Formula::Bm25) => {
            Ok(engine::WordScoring::Bm25 { k1: scoring.k1.unwrap_or(1.2), b: scoring.b.unwrap_or(0.75) })
        }
        Ok(Formula::Okapi) => {
            Ok(engine::WordScoring::Okapi { k1: scoring.k1.unwrap_or(1.5), b: scoring.b.unwrap_or(0.75) })
        }
        Err(_) => {
            let rule = "FORMULA_BM25 or FORMULA_OKAPI";
            Err(refusal("INVALID_FORMULA", parameter, rule, scoring.formula))
        }
    }
}

fn filter(parameter: &str, filter: api::SearchFilter) -> Result<engine::SearchFilter> {
    let micros = |name: &str, time: Option<Timestamp>| {
        time.map(|time| micros(&format!("{parameter}.{name}"), time)).transpose()
    };
    Ok(engine::SearchFilter {
        create_time_from: micros("create_time_from", filter.create_time_from)?,
        create_time_before: micros("create_time_before", filter.create_time_before)?,
        event_time_from: filter.event_time_from,
        event_time_before: filter.event_time_before,
        metadata: filter.metadata.into_iter().collect(),
        source: filter.source,
    })
}

/// A bound between two microseconds is the later one, which lets the same memories pass.
fn micros(parameter: &str, time: Timestamp) -> Result<engine::Micros> {
    let nanos = i64::from(time.nanos);
    let within = (0..1_000_000_000).contains(&nanos);
    let seconds = time.seconds.checked_mul(1_000_000).filter(|_| within);
    seconds.and_then(|seconds| seconds.checked_add((nanos + 999) / 1000)).ok_or_else(|| {
        let rule = "a time within 292,000 years of 1970, with nanos from 0 to 999,999,999";
        refusal("INVALID_TIME", parameter, rule, format!("{}s {}ns", time.seconds, time.nanos))
    })
}
