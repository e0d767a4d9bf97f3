//! The truth: one record per write, kept as JSON that people can read with the tools they know.
//!
//! A record holds what was asked *and* what came of it, so that replaying it needs no decision: replay only
//! stores outcomes. The cursor's movement is part of the record whose operations it pays for.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::model::{
    BankSettings, Chunk, ChunkFailures, Embedder, Event, EventKind, Memory, Micros, Operation,
    OperationResult, Provenance, RawOutput, Revision, Writer,
};

/// A record with its place in the bank's history.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Stamped {
    pub revision: Revision,
    pub time: Micros,
    pub record: Record,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Record {
    BankCreated {
        bank_id: String,
        settings: BankSettings,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        request_id: String,
        cursor_token: String,
    },
    ChunksAppended {
        chunks: Vec<Chunk>,
    },
    OperationsApplied {
        operations: Vec<Done>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        advance: Option<Advance>,
        writer: Writer,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        raw_output: Option<RawOutput>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request: Option<Request>,
        memory_revision: Revision,
        cursor: u64,
        cursor_token: String,
    },
    ChunkFailed {
        position: u64,
        chunk_id: String,
        failures: ChunkFailures,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        raw_output: Option<RawOutput>,
    },
    ChunkRetried {
        position: u64,
        chunk_id: String,
    },
    ChunkSkipped {
        advance: Advance,
        cursor_token: String,
    },
    EmbedderSet {
        embedder: Embedder,
    },
}

/// An operation and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Done {
    pub operation: Operation,
    pub result: OperationResult,
    /// The memory before; `None` for an insert or a refused operation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Arc<Memory>>,
}

/// A movement of the cursor, and the chunk it started from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Advance {
    pub from: u64,
    pub to: u64,
    pub chunk_id: String,
}

/// A caller's id for a write, with the digest of what was asked under it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Request {
    pub id: String,
    pub digest: String,
}

impl Record {
    pub fn kind(&self) -> &'static str {
        match self {
            Self::BankCreated { .. } => "bank_created",
            Self::ChunksAppended { .. } => "chunks_appended",
            Self::OperationsApplied { .. } => "operations_applied",
            Self::ChunkFailed { .. } => "chunk_failed",
            Self::ChunkRetried { .. } => "chunk_retried",
            Self::ChunkSkipped { .. } => "chunk_skipped",
            Self::EmbedderSet { .. } => "embedder_set",
        }
    }

    pub fn moves_cursor(&self) -> bool {
        matches!(self, Self::ChunkSkipped { .. } | Self::OperationsApplied { advance: Some(_), .. })
    }

    /// JSON text and its CRC-32.
    pub fn encode(&self) -> Result<(String, u32)> {
        let payload = serde_json::to_string(self)
            .map_err(|error| Error::internal(format!("a record cannot be encoded: {error}")))?;
        let crc = crc32fast::hash(payload.as_bytes());
        Ok((payload, crc))
    }

    /// The record back from its text; Corruption if it is not what was written.
    pub fn decode(payload: &str, crc: u32) -> Result<Self> {
        let actual = crc32fast::hash(payload.as_bytes());
        if actual != crc {
            return Err(Error::corruption(format!(
                "a record's checksum is {actual:08x}, but {crc:08x} was written"
            )));
        }
        serde_json::from_str(payload)
            .map_err(|error| Error::corruption(format!("a record cannot be decoded: {error}")))
    }
}

impl Stamped {
    /// The entries of the history that this record stands for, in order.
    pub fn events(&self) -> Vec<Event> {
        let kinds = match &self.record {
            Record::BankCreated { settings, .. } => {
                vec![EventKind::BankCreated { settings: settings.clone() }]
            }
            Record::ChunksAppended { chunks } => {
                chunks.iter().map(|chunk| EventKind::ChunkAppended { chunk: chunk.clone() }).collect()
            }
            Record::OperationsApplied { .. } => self.operation_events(),
            Record::ChunkFailed { position, chunk_id, failures, raw_output } => {
                vec![EventKind::ChunkFailed {
                    position: *position,
                    chunk_id: chunk_id.clone(),
                    failures: failures.clone(),
                    raw_output: raw_output.clone(),
                }]
            }
            Record::ChunkRetried { position, chunk_id } => {
                vec![EventKind::ChunkRetried { position: *position, chunk_id: chunk_id.clone() }]
            }
            Record::ChunkSkipped { advance, .. } => {
                vec![cursor_moved(advance, true, None, &Writer::default())]
            }
            Record::EmbedderSet { embedder } => vec![EventKind::EmbedderSet { embedder: embedder.clone() }],
        };
        kinds
            .into_iter()
            .enumerate()
            .map(|(index, what)| Event {
                revision: self.revision,
                index: index as u32,
                time: self.time,
                what,
            })
            .collect()
    }

    fn operation_events(&self) -> Vec<EventKind> {
        let Record::OperationsApplied { operations, advance, writer, raw_output, .. } = &self.record else {
            return Vec::new();
        };
        let mut events: Vec<EventKind> = operations
            .iter()
            .enumerate()
            .map(|(index, done)| EventKind::OperationApplied {
                operation: done.operation.clone(),
                result: done.result.clone(),
                before: done.before.clone(),
                provenance: provenance(self.revision, index as u32, advance.as_ref(), writer),
            })
            .collect();
        if let Some(advance) = advance {
            events.push(cursor_moved(advance, false, raw_output.clone(), writer));
        }
        events
    }
}

/// Where the content that an operation makes comes from.
pub(crate) fn provenance(
    revision: Revision,
    operation_index: u32,
    advance: Option<&Advance>,
    writer: &Writer,
) -> Provenance {
    let chunk = advance.map(|advance| (advance.chunk_id.clone(), advance.from));
    Provenance { revision, operation_index, chunk, writer: writer.clone() }
}

fn cursor_moved(
    advance: &Advance,
    skipped: bool,
    raw_output: Option<RawOutput>,
    writer: &Writer,
) -> EventKind {
    EventKind::CursorMoved {
        from: advance.from,
        to: advance.to,
        chunk_id: advance.chunk_id.clone(),
        skipped,
        raw_output,
        writer: writer.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_with_one_changed_byte_is_corruption() {
        let record = Record::ChunkRetried { position: 3, chunk_id: "c".into() };
        let (payload, crc) = record.encode().unwrap();
        assert_eq!(Record::decode(&payload, crc), Ok(record));
        let error = Record::decode(&payload.replace('3', "4"), crc).unwrap_err();
        assert_eq!(error.reason, "STORE_CORRUPTED");
    }
}
