//! Validation of what callers hand in, once, at the door. Each message names the parameter, the rule and the value.

use std::sync::Arc;

use crate::bank::analyzer;
use crate::error::{Error, Result};
use crate::limits;
use crate::model::{
    BankSettings, Batch, Embedder, FailureReport, Fusion, Memory, MemoryType, MemoryVector, Metadata,
    NewChunk, Operation, Query, SearchFilter, WordScoring,
};
use crate::time::EventTime;

const MEMORY_TYPES: usize = 3;

/// A value as an error message shows it: quoted, escaped and short.
fn shown(value: &str) -> String {
    let head: String = value.chars().take(60).collect();
    let dots = if head.len() < value.len() { "…" } else { "" };
    format!("{head:?}{dots}")
}

fn at_most(parameter: &'static str, bytes: usize, limit: usize) -> Result<()> {
    if bytes <= limit {
        return Ok(());
    }
    Err(Error::invalid("TOO_LONG", format!("{parameter} must be at most {limit} bytes, got {bytes}"))
        .with("parameter", parameter)
        .with("limit", limit)
        .with("actual", bytes))
}

fn at_most_items(parameter: &'static str, count: usize, limit: usize) -> Result<()> {
    if (1..=limit).contains(&count) {
        return Ok(());
    }
    Err(Error::invalid("INVALID_COUNT", format!("{parameter} must hold 1 to {limit} items, got {count}"))
        .with("parameter", parameter)
        .with("limit", limit)
        .with("actual", count))
}

fn within(parameter: &'static str, value: u32, most: u32) -> Result<()> {
    if (1..=most).contains(&value) {
        return Ok(());
    }
    Err(Error::invalid("OUT_OF_BOUNDS", format!("{parameter} must be between 1 and {most}, got {value}"))
        .with("parameter", parameter)
        .with("limit", most)
        .with("actual", value))
}

fn no_nul(parameter: &'static str, text: &str) -> Result<()> {
    match text.find('\0') {
        None => Ok(()),
        Some(offset) => Err(Error::invalid(
            "NUL_IN_TEXT",
            format!("{parameter} must not hold a NUL character, found one at byte {offset}"),
        )
        .with("parameter", parameter)
        .with("offset", offset)),
    }
}

fn no_control(parameter: &'static str, text: &str) -> Result<()> {
    if text.chars().any(char::is_control) {
        return Err(Error::invalid(
            "CONTROL_CHARACTER",
            format!("{parameter} must not hold control characters, got {}", shown(text)),
        )
        .with("parameter", parameter));
    }
    Ok(())
}

pub(crate) fn bank_id(bank_id: &str) -> Result<()> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._:@-".contains(c);
    let fits = (1..=limits::BANK_ID_BYTES).contains(&bank_id.len());
    if fits && bank_id.chars().all(allowed) && bank_id.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Ok(());
    }
    Err(Error::invalid(
        "INVALID_BANK_ID",
        format!(
            "bank_id must be 1 to {} characters of A-Z a-z 0-9 . _ : @ -, the first a letter or digit, got {}",
            limits::BANK_ID_BYTES,
            shown(bank_id)
        ),
    ))
}

pub(crate) fn settings(settings: &BankSettings) -> Result<()> {
    within("core_token_limit", settings.core_token_limit, limits::CORE_TOKENS)?;
    within("max_chunk_failures", settings.max_chunk_failures, limits::CHUNK_FAILURES)?;
    metadata("labels", &settings.labels)?;
    if settings.disabled_types.len() > MEMORY_TYPES {
        at_most_items("disabled_types", settings.disabled_types.len(), MEMORY_TYPES)?;
    }
    embedder(&settings.embedder)?;
    if analyzer(&settings.language).is_none() {
        return Err(Error::invalid(
            "UNKNOWN_LANGUAGE",
            format!(
                "language must be `none` or an ISO 639-1 code with a stemmer, got {}",
                shown(&settings.language)
            ),
        ));
    }
    Ok(())
}

pub(crate) fn embedder(embedder: &Embedder) -> Result<()> {
    let Embedder::External { id, dimensions } = embedder else {
        return Ok(());
    };
    if id.is_empty() {
        return Err(Error::invalid(
            "EMPTY_EMBEDDER_ID",
            "embedder.id must name the external model, got none",
        ));
    }
    at_most("embedder.id", id.len(), limits::EMBEDDER_ID_BYTES)?;
    no_control("embedder.id", id)?;
    within("embedder.dimensions", *dimensions, limits::DIMENSIONS)
}

pub(crate) fn request_id(request_id: &str) -> Result<()> {
    at_most("request_id", request_id.len(), limits::REQUEST_ID_BYTES)?;
    no_control("request_id", request_id)
}

fn metadata(parameter: &'static str, metadata: &Metadata) -> Result<()> {
    at_most(parameter, metadata_bytes(metadata), limits::METADATA_BYTES)
}

pub(crate) fn metadata_bytes(metadata: &Metadata) -> usize {
    metadata.iter().map(|(key, value)| key.len() + value.len()).sum()
}

pub(crate) fn chunks(chunks: &[NewChunk]) -> Result<()> {
    at_most_items("chunks", chunks.len(), limits::CHUNKS_PER_APPEND)?;
    chunks.iter().try_for_each(chunk)?;
    let bytes = chunks.iter().map(|chunk| chunk.text.len() + metadata_bytes(&chunk.metadata)).sum();
    at_most("chunks", bytes, limits::APPEND_BYTES)
}

fn chunk(chunk: &NewChunk) -> Result<()> {
    if chunk.chunk_id.is_empty() {
        return Err(Error::invalid(
            "EMPTY_CHUNK_ID",
            format!("chunk_id must be 1 to {} bytes, got none", limits::CHUNK_ID_BYTES),
        ));
    }
    at_most("chunk_id", chunk.chunk_id.len(), limits::CHUNK_ID_BYTES)?;
    no_control("chunk_id", &chunk.chunk_id)?;
    if chunk.text.trim().is_empty() {
        return Err(Error::invalid(
            "EMPTY_TEXT",
            format!(
                "text of chunk {} must not be empty or blank, got {}",
                shown(&chunk.chunk_id),
                shown(&chunk.text)
            ),
        ));
    }
    at_most("text", chunk.text.len(), limits::CHUNK_TEXT_BYTES)?;
    no_nul("text", &chunk.text)?;
    at_most("source", chunk.source.len(), limits::SOURCE_BYTES)?;
    no_control("source", &chunk.source)?;
    metadata("metadata", &chunk.metadata)?;
    event_time(&chunk.event_time)
        .map_err(|rule| Error::invalid("INVALID_EVENT_TIME", format!("event_time {rule}")))
}

pub(crate) fn batch(batch: &Batch) -> Result<()> {
    if batch.operations.is_empty() && batch.advance_to.is_none() {
        return Err(Error::invalid("NOTHING_TO_APPLY", "operations must not be empty without advance_to"));
    }
    if batch.operations.len() > limits::OPERATIONS_PER_BATCH {
        at_most_items("operations", batch.operations.len(), limits::OPERATIONS_PER_BATCH)?;
    }
    if batch.advance_to.is_some() && batch.atomic {
        return Err(Error::invalid("ATOMIC_WITH_ADVANCE", "atomic=true cannot be combined with advance_to"));
    }
    if batch.advance_to.is_some() && batch.cursor_token.is_none() {
        return Err(Error::invalid(
            "CURSOR_TOKEN_MISSING",
            "advance_to needs the cursor_token that was read",
        ));
    }
    batch.operations.iter().try_for_each(operation)?;
    at_most("raw_output", batch.raw_output.len(), limits::RAW_OUTPUT_BYTES)?;
    at_most("policy_id", batch.writer.policy_id.len(), limits::WRITER_FIELD_BYTES)?;
    at_most("prompt_digest", batch.writer.prompt_digest.len(), limits::WRITER_FIELD_BYTES)?;
    request_id(&batch.request_id)
}

/// A rejected call cannot be refused on its own, since refusing is all that is done with it.
fn operation(operation: &Operation) -> Result<()> {
    let Operation::Rejected { text, error } = operation else {
        return Ok(());
    };
    at_most("rejected.text", text.len(), limits::CONTENT_BYTES)?;
    at_most("rejected.error.message", error.message.len(), limits::FAILURE_MESSAGE_BYTES)
}

/// The memories that a batch changes, as its reply shows them.
pub(crate) fn changed_bytes<'a>(memories: impl Iterator<Item = &'a Arc<Memory>>) -> Result<()> {
    let bytes: usize = memories.map(|memory| memory.content.len() + metadata_bytes(&memory.metadata)).sum();
    if bytes <= limits::BATCH_BYTES {
        return Ok(());
    }
    let limit = limits::BATCH_BYTES;
    let message = format!(
        "operations must change at most {limit} bytes of memory in one batch, got {bytes}; split them"
    );
    Err(Error::invalid("BATCH_TOO_LARGE", message).with("limit", limit).with("actual", bytes))
}

pub(crate) fn failure(report: &FailureReport) -> Result<()> {
    at_most("message", report.message.len(), limits::FAILURE_MESSAGE_BYTES)?;
    at_most("raw_output", report.raw_output.len(), limits::RAW_OUTPUT_BYTES)
}

pub(crate) fn queries(queries: &[Query]) -> Result<()> {
    at_most_items("queries", queries.len(), limits::QUERIES_PER_SEARCH)?;
    queries.iter().try_for_each(|query| {
        at_most("text", query.text.len(), limits::QUERY_BYTES)?;
        within("limit", u32::try_from(query.limit).unwrap_or(u32::MAX), limits::HITS as u32)?;
        let (WordScoring::Bm25 { k1, b } | WordScoring::Okapi { k1, b }) = query.scoring;
        number("k1", k1, 0.0, 10.0)?;
        number("b", b, 0.0, 1.0)?;
        match query.fusion {
            Fusion::Convex { vector_weight } => number("vector_weight", vector_weight, 0.0, 1.0)?,
            Fusion::ReciprocalRank { k } => within("k", k, limits::RECIPROCAL_RANK_K)?,
        }
        number("context_weight", query.context_weight.unwrap_or(0.0), 0.0, 1.0)?;
        number("date_weight", query.date_weight.unwrap_or(0.0), 0.0, 10.0)?;
        number("min_score", query.min_score.unwrap_or(0.0), f64::MIN, f64::MAX)?;
        search_filter(&query.filter)
    })
}

fn search_filter(filter: &SearchFilter) -> Result<()> {
    for (parameter, value) in
        [("event_time_from", &filter.event_time_from), ("event_time_before", &filter.event_time_before)]
    {
        event_time(value)
            .map_err(|rule| Error::invalid("INVALID_EVENT_TIME", format!("{parameter} {rule}")))?;
    }
    metadata("filter.metadata", &filter.metadata)?;
    at_most("filter.source", filter.source.len(), limits::SOURCE_BYTES)
}

fn number(parameter: &'static str, value: f64, least: f64, most: f64) -> Result<()> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    let rule =
        if least == f64::MIN { "a finite number".into() } else { format!("between {least} and {most}") };
    Err(Error::invalid("OUT_OF_BOUNDS", format!("{parameter} must be {rule}, got {value}"))
        .with("parameter", parameter)
        .with("actual", value))
}

pub(crate) fn vectors(vectors: &[MemoryVector]) -> Result<()> {
    at_most_items("vectors", vectors.len(), limits::VECTORS_PER_PUT)
}

pub(crate) fn view_size(parameter: &'static str, size: usize) -> Result<()> {
    if size <= limits::HITS {
        return Ok(());
    }
    Err(Error::invalid(
        "OUT_OF_BOUNDS",
        format!("{parameter} must be between 0 and {}, got {size}", limits::HITS),
    )
    .with("parameter", parameter)
    .with("limit", limits::HITS)
    .with("actual", size))
}

/// Rules of one operation's text, as the message of a per-operation error; the flag says "too long".
pub(crate) fn content(content: &str, kind: MemoryType) -> std::result::Result<(), (bool, String)> {
    if content.len() > limits::CONTENT_BYTES {
        let message =
            format!("content must be at most {} bytes, got {}", limits::CONTENT_BYTES, content.len());
        return Err((true, message));
    }
    if content.trim().is_empty() && kind != MemoryType::Core {
        return Err((false, "content must not be empty or blank".into()));
    }
    if content.contains('\0') {
        return Err((false, "content must not hold a NUL character".into()));
    }
    Ok(())
}

pub(crate) fn operation_metadata(map: &Metadata) -> std::result::Result<(), String> {
    metadata("metadata", map).map_err(|error| error.message)
}

/// ISO 8601 date `YYYY-MM-DD` or date-time `YYYY-MM-DDTHH:MM[:SS[.f]]` with an optional zone `Z` or `±HH:MM`.
pub(crate) fn event_time(value: &str) -> std::result::Result<(), String> {
    if value.is_empty() || EventTime::parse(value).is_some() {
        return Ok(());
    }
    Err(format!(
        "must be an ISO 8601 date or date-time such as 2023-05-08 or 2023-05-08T13:56, got {}",
        shown(value)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_times_are_iso_8601_with_or_without_clock_and_zone() {
        for good in [
            "",
            "2024-02-29",
            "2023-05-08T13:56",
            "2023-05-08T13:56:07.25",
            "2023-05-08T13:56Z",
            "2023-05-08T13:56:07-08:00",
        ] {
            assert_eq!(event_time(good), Ok(()), "{good}");
        }
        for bad in [
            "2023-02-29",
            "2023-13-01",
            "8 May 2023",
            "2023-05-08 13:56",
            "2023-05-08T24:00",
            "2023-05-08T13",
            "2023-05-08T13:56+8",
            "2023-05-08T13:56:07.",
            "23-05-08",
            "T",
        ] {
            assert!(event_time(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn strange_bank_ids_are_refused_with_rule_and_value() {
        for good in ["a", "user:42", "Alice.B@example-1_x"] {
            assert_eq!(bank_id(good), Ok(()), "{good}");
        }
        for bad in ["", "-a", "a/b", "a b", "ä", "a\0b", "..", &"x".repeat(129)] {
            let error = bank_id(bad).unwrap_err();
            assert_eq!(error.reason, "INVALID_BANK_ID");
            assert!(error.message.contains("1 to 128"), "{}", error.message);
        }
    }
}
