//! What callers send, as the engine's nouns.
//!
//! Limits are the engine's; here stand only the defaults of unset fields and the refusal of what has no
//! counterpart there.

use memcore_engine::model as engine;
use memcore_engine::model::{MemoryType, OperationErrorReason};
use memcore_engine::{Error, Result, limits};

use super::refusal;
use crate::api;

const DEFAULT_SEARCH_LIMIT: i32 = 20;
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
    })
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
        }),
        Some(Kind::Update(update)) => Ok(engine::Operation::Update {
            kind: memory_type(&format!("{parameter}.update.type"), update.r#type)?,
            memory_id: update.memory_id,
            content: update.content,
            event_time: update.event_time,
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
    queries
        .into_iter()
        .enumerate()
        .map(|(index, query)| {
            let limit = query.limit.unwrap_or(DEFAULT_SEARCH_LIMIT);
            Ok::<_, Error>(engine::Query {
                types: types(&format!("queries[{index}].types"), &query.types)?,
                limit: count(&format!("queries[{index}].limit"), limit, 1, limits::HITS)? as usize,
                text: query.text,
                include_pending: query.include_pending,
            })
        })
        .collect()
}
