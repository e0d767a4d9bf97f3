//! The operations of one batch, each decided on what the ones before it leave.

use std::sync::Arc;

use hashbrown::HashMap;

use super::body::{Body, emptied};
use super::plan::Next;
use super::type_name;
use crate::check;
use crate::model::{
    BankSettings, Memory, MemoryType, Metadata, Operation, OperationError, OperationErrorReason,
    OperationResult, Provenance, Writer,
};
use crate::record::{Advance, Done, provenance};
use crate::text::tokens;

/// The memories as the operations so far leave them.
pub(super) struct Draft<'a> {
    body: &'a Body,
    settings: &'a BankSettings,
    next: Next,
    writer: &'a Writer,
    advance: Option<&'a Advance>,
    next_id: u64,
    touched: HashMap<u64, Option<Arc<Memory>>>,
}

type Refusal = (OperationErrorReason, String);

impl<'a> Draft<'a> {
    pub fn new(
        body: &'a Body,
        settings: &'a BankSettings,
        next: Next,
        writer: &'a Writer,
        advance: Option<&'a Advance>,
    ) -> Self {
        Self { body, settings, next, writer, advance, next_id: body.head.next_id, touched: HashMap::new() }
    }

    /// What one operation comes to, after those before it.
    pub fn run(&mut self, index: u32, mut operation: Operation, token_count: u32) -> Done {
        let outcome = match &operation {
            Operation::Insert { kind, content, event_time, metadata, .. } => {
                self.insert(index, *kind, content, token_count, event_time, metadata)
            }
            Operation::Update { kind, memory_id, content, event_time, .. } => {
                self.update(index, *kind, *memory_id, content, token_count, event_time.as_deref())
            }
            Operation::Delete { kind, memory_id } => self.delete(index, *kind, *memory_id),
            Operation::Rejected { error, .. } => Err((error.reason, error.message.clone())),
        };
        let (outcome, before, truncated) = match outcome {
            Ok(changed) => (Ok(changed.memory), changed.before, changed.truncated),
            Err((reason, message)) => (Err(OperationError { reason, message }), None, false),
        };
        // Its vector is kept beside the records, if at all.
        if let Operation::Insert { embedding, .. } | Operation::Update { embedding, .. } = &mut operation {
            *embedding = None;
        }
        Done { operation, result: OperationResult { outcome, truncated }, before }
    }

    fn insert(
        &mut self,
        index: u32,
        kind: MemoryType,
        content: &str,
        token_count: u32,
        event_time: &str,
        metadata: &Metadata,
    ) -> std::result::Result<Changed, Refusal> {
        if kind == MemoryType::Core {
            let message = "core memory cannot be inserted, only updated".to_owned();
            return Err((OperationErrorReason::CoreNotInsertable, message));
        }
        self.check(kind, content, event_time)?;
        check::operation_metadata(metadata).map_err(|m| (OperationErrorReason::InvalidContent, m))?;
        self.unique(kind, content)?;
        let memory = Memory {
            id: self.next_id,
            kind,
            content: content.to_owned(),
            token_count,
            event_time: event_time.to_owned(),
            metadata: metadata.clone(),
            create_revision: self.next.revision,
            update_revision: self.next.revision,
            create_time: self.next.time,
            update_time: self.next.time,
            provenance: self.provenance(index),
        };
        self.next_id += 1;
        let memory = Arc::new(memory);
        self.touched.insert(memory.id, Some(Arc::clone(&memory)));
        Ok(Changed { memory, before: None, truncated: false })
    }

    fn update(
        &mut self,
        index: u32,
        kind: MemoryType,
        memory_id: u64,
        content: &str,
        token_count: u32,
        event_time: Option<&str>,
    ) -> std::result::Result<Changed, Refusal> {
        let id = if kind == MemoryType::Core { 0 } else { memory_id };
        let before = self.find(kind, id)?;
        let event_time = event_time.unwrap_or(&before.event_time);
        self.check(kind, content, event_time)?;
        let (content, token_count, truncated) = self.fit(kind, content, token_count);
        if content == before.content && event_time == before.event_time {
            let message = format!("{} already holds this text", described(kind, id));
            return Err((OperationErrorReason::DuplicateContent, message));
        }
        if content != before.content && kind != MemoryType::Core {
            self.unique(kind, &content)?;
        }
        let memory = Memory {
            content,
            token_count,
            event_time: event_time.to_owned(),
            update_revision: self.next.revision,
            update_time: self.next.time,
            provenance: self.provenance(index),
            ..Memory::clone(&before)
        };
        let memory = Arc::new(memory);
        self.touched.insert(id, Some(Arc::clone(&memory)));
        Ok(Changed { memory, before: Some(before), truncated })
    }

    fn delete(
        &mut self,
        index: u32,
        kind: MemoryType,
        memory_id: u64,
    ) -> std::result::Result<Changed, Refusal> {
        let id = if kind == MemoryType::Core { 0 } else { memory_id };
        let before = self.find(kind, id)?;
        self.check(kind, "-", "")?;
        let after = (kind == MemoryType::Core)
            .then(|| emptied(&before, self.next.revision, self.next.time, self.provenance(index)))
            .map(Arc::new);
        self.touched.insert(id, after);
        Ok(Changed { memory: Arc::clone(&before), before: Some(before), truncated: false })
    }

    fn check(&self, kind: MemoryType, content: &str, event_time: &str) -> std::result::Result<(), Refusal> {
        if self.settings.disabled_types.contains(&kind) {
            let message = format!("{} memory is switched off in this bank", type_name(kind));
            return Err((OperationErrorReason::TypeDisabled, message));
        }
        check::content(content, kind).map_err(|(too_long, message)| {
            let reason = if too_long {
                OperationErrorReason::ContentTooLong
            } else {
                OperationErrorReason::InvalidContent
            };
            (reason, message)
        })?;
        check::event_time(event_time)
            .map_err(|rule| (OperationErrorReason::InvalidContent, format!("event_time {rule}")))
    }

    /// Core memory is cut at its token limit, visibly.
    fn fit(&self, kind: MemoryType, content: &str, token_count: u32) -> (String, u32, bool) {
        let limit = self.settings.core_token_limit;
        if kind == MemoryType::Core
            && let Some(cut) = tokens::cut_core(content, limit as usize)
        {
            let token_count = tokens::count_tokens(&cut) as u32;
            return (cut, token_count, true);
        }
        (content.to_owned(), token_count, false)
    }

    fn find(&self, kind: MemoryType, id: u64) -> std::result::Result<Arc<Memory>, Refusal> {
        let memory = match self.touched.get(&id) {
            Some(touched) => touched.clone(),
            None => self.body.live(id).cloned(),
        };
        memory.filter(|memory| memory.kind == kind).ok_or_else(|| not_found(kind, id))
    }

    fn unique(&self, kind: MemoryType, content: &str) -> std::result::Result<(), Refusal> {
        let same = |memory: &&Arc<Memory>| memory.kind == kind && memory.content == content;
        let drafted = self.touched.values().flatten().find(same).map(|memory| memory.id);
        let stored = self.body.holder_of(kind, content).filter(|id| !self.touched.contains_key(id));
        match drafted.or(stored) {
            None => Ok(()),
            Some(id) => Err((
                OperationErrorReason::DuplicateContent,
                format!("{} already holds this text", described(kind, id)),
            )),
        }
    }

    fn provenance(&self, operation_index: u32) -> Provenance {
        provenance(self.next.revision, operation_index, self.advance, self.writer)
    }
}

struct Changed {
    /// After the operation; before it, for a delete.
    memory: Arc<Memory>,
    before: Option<Arc<Memory>>,
    truncated: bool,
}

fn described(kind: MemoryType, id: u64) -> String {
    match kind {
        MemoryType::Core => "core memory".into(),
        _ => format!("{} memory {id}", type_name(kind)),
    }
}

fn not_found(kind: MemoryType, id: u64) -> Refusal {
    (OperationErrorReason::MemoryNotFound, format!("there is no {} memory with id {id}", type_name(kind)))
}
