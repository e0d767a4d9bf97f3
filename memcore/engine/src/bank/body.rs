//! The versioned contents of a bank, and the one function that changes them.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::requests::{Answered, Requests};
use super::{Head, index_kind, known_analyzer};
use crate::error::Result;
use crate::index::Index;
use crate::model::{
    BankSettings, Chunk, Durability, Memory, MemoryType, Micros, Operation, Provenance, Revision, Writer,
};
use crate::record::{Advance, Done, Record, Request, Stamped, provenance};
use crate::text::{Analyzer, Terms};

/// Dead contents that are not worth a compaction.
const DEAD_BYTES_FLOOR: usize = 1 << 20;

/// One version of a memory: visible at revision r iff `birth <= r < death`.
pub(crate) struct Version {
    pub birth: Revision,
    pub death: Revision,
    slot: u32,
    /// Terms in the index.
    length: u32,
    pub memory: Arc<Memory>,
}

/// Where a chunk's record is, and a digest of its text.
pub(crate) struct ChunkPlace {
    pub revision: Revision,
    pub index: u32,
    pub digest: [u8; 16],
}

pub(crate) struct PendingChunk {
    pub birth: Revision,
    pub death: Revision,
    slot: u32,
    length: u32,
    pub chunk: Arc<Chunk>,
}

pub(crate) struct Body {
    /// The newest state, staged writes included. Readers use the published head instead.
    pub head: Head,
    pub analyzer: Arc<Analyzer>,
    pub memories: BTreeMap<u64, Vec<Version>>,
    pub memory_index: Index,
    pub pending: BTreeMap<u64, PendingChunk>,
    pub pending_index: Index,
    pub chunks: Vec<ChunkPlace>,
    pub chunk_ids: HashMap<Box<str>, u64>,
    pub requests: Requests,
    contents: HashMap<(MemoryType, u64), Vec<u64>>,
    /// Bytes of the memories' contents, of all versions that live and of those that do not.
    live_bytes: usize,
    dead_bytes: usize,
    /// Records of a volatile bank; a durable bank's are on disk.
    volatile: Option<Vec<Arc<Stamped>>>,
}

impl Body {
    /// A bank without records.
    pub fn new(settings: &BankSettings) -> Result<Self> {
        Ok(Self {
            head: Head::default(),
            analyzer: known_analyzer(settings)?,
            memories: BTreeMap::new(),
            memory_index: Index::default(),
            pending: BTreeMap::new(),
            pending_index: Index::default(),
            chunks: Vec::new(),
            chunk_ids: HashMap::new(),
            requests: Requests::default(),
            contents: HashMap::new(),
            live_bytes: 0,
            dead_bytes: 0,
            volatile: (settings.durability == Durability::Volatile).then(Vec::new),
        })
    }

    /// Stores a record's outcome. `terms` are its texts' terms in order where the caller has them already;
    /// `readable` is the oldest revision that readers may still ask for.
    pub fn apply(&mut self, stamped: &Arc<Stamped>, terms: Vec<Option<Terms>>, readable: Revision) {
        let mut terms = terms.into_iter();
        let mut next_terms = move || terms.next().flatten();
        match &stamped.record {
            Record::BankCreated { cursor_token, request_id, .. } => {
                self.start(stamped);
                self.head.cursor_token = cursor_token.clone();
                self.head.create_request = request_id.clone();
            }
            Record::ChunksAppended { chunks } => {
                for (index, chunk) in chunks.iter().enumerate() {
                    self.append(chunk, stamped.revision, index as u32, next_terms());
                }
            }
            Record::OperationsApplied {
                operations,
                advance,
                writer,
                request,
                memory_revision,
                cursor_token,
                ..
            } => {
                for (index, done) in operations.iter().enumerate() {
                    let provenance = || provenance(stamped.revision, index as u32, advance.as_ref(), writer);
                    self.store(done, stamped, provenance, next_terms());
                }
                self.head.memory_revision = *memory_revision;
                self.advance(advance.as_ref(), cursor_token, stamped.revision);
                self.remember(request.as_ref(), stamped);
            }
            Record::ChunkFailed { failures, .. } => self.head.failures = Some(failures.clone()),
            Record::ChunkRetried { .. } => self.head.failures = None,
            Record::ChunkSkipped { advance, cursor_token } => {
                self.advance(Some(advance), cursor_token, stamped.revision)
            }
        }
        self.head.revision = stamped.revision;
        self.head.time = stamped.time;
        if let Some(records) = &mut self.volatile {
            records.push(Arc::clone(stamped));
        }
        self.tidy(readable);
    }

    fn start(&mut self, stamped: &Stamped) {
        self.head.create_time = stamped.time;
        self.head.next_id = 1;
        self.head.memory_revision = stamped.revision;
        let core = Memory {
            id: 0,
            kind: MemoryType::Core,
            content: String::new(),
            token_count: 0,
            event_time: String::new(),
            metadata: BTreeMap::new(),
            create_revision: stamped.revision,
            update_revision: stamped.revision,
            create_time: stamped.time,
            update_time: stamped.time,
            provenance: Provenance {
                revision: stamped.revision,
                operation_index: 0,
                chunk: None,
                writer: Writer::default(),
            },
        };
        self.add_version(core, stamped.revision, None);
    }

    fn append(&mut self, chunk: &Chunk, revision: Revision, index: u32, terms: Option<Terms>) {
        let terms = terms.unwrap_or_else(|| self.analyzer.analyze(&chunk.text));
        let slot = self.pending_index.insert(chunk.position, 0, &terms, revision);
        self.head.pending_index.add(0, terms.length);
        self.chunks.push(ChunkPlace { revision, index, digest: text_digest(&chunk.text) });
        self.chunk_ids.insert(chunk.chunk_id.as_str().into(), chunk.position);
        self.pending.insert(
            chunk.position,
            PendingChunk {
                birth: revision,
                death: Revision::MAX,
                slot,
                length: terms.length,
                chunk: Arc::new(chunk.clone()),
            },
        );
        let stats = &mut self.head.stats;
        stats.chunk_count += 1;
        stats.chunk_tokens += u64::from(chunk.token_count);
        stats.pending_chunks += 1;
        stats.pending_tokens += u64::from(chunk.token_count);
        self.head.oldest_pending = self.oldest_pending();
    }

    fn store(
        &mut self,
        done: &Done,
        stamped: &Stamped,
        provenance: impl FnOnce() -> Provenance,
        terms: Option<Terms>,
    ) {
        let Ok(memory) = &done.result.outcome else {
            return;
        };
        if done.before.is_some() {
            self.end_version(memory.id, stamped.revision);
        }
        let terms = if done.result.truncated { None } else { terms };
        if !matches!(done.operation, Operation::Delete { .. }) {
            self.add_version(memory.clone(), stamped.revision, terms);
        } else if memory.kind == MemoryType::Core {
            let empty = emptied(memory, stamped.revision, stamped.time, provenance());
            self.add_version(empty, stamped.revision, None);
        }
        self.head.next_id = self.head.next_id.max(memory.id + 1);
    }

    fn add_version(&mut self, memory: Memory, revision: Revision, terms: Option<Terms>) {
        let terms = terms.unwrap_or_else(|| self.analyzer.analyze(&memory.content));
        let kind = index_kind(memory.kind);
        let slot = self.memory_index.insert(memory.id, kind, &terms, revision);
        self.head.memory_index.add(kind, terms.length);
        self.count(&memory, 1);
        self.live_bytes += memory.content.len();
        self.contents.entry((memory.kind, content_hash(&memory.content))).or_default().push(memory.id);
        self.memories.entry(memory.id).or_default().push(Version {
            birth: revision,
            death: Revision::MAX,
            slot,
            length: terms.length,
            memory: Arc::new(memory),
        });
    }

    fn end_version(&mut self, id: u64, revision: Revision) {
        let Some(version) = self.memories.get_mut(&id).and_then(|v| v.last_mut()) else {
            return;
        };
        version.death = revision;
        let (slot, length, memory) = (version.slot, version.length, Arc::clone(&version.memory));
        self.memory_index.kill(slot, revision);
        self.head.memory_index.remove(index_kind(memory.kind), length);
        self.count(&memory, -1);
        self.live_bytes -= memory.content.len();
        self.dead_bytes += memory.content.len();
        let key = (memory.kind, content_hash(&memory.content));
        if let Some(ids) = self.contents.get_mut(&key) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.contents.remove(&key);
            }
        }
    }

    fn count(&mut self, memory: &Memory, sign: i64) {
        let tokens = i64::from(memory.token_count) * sign;
        let stats = &mut self.head.stats;
        let (count, total) = match memory.kind {
            MemoryType::Core => {
                stats.core_tokens = stats.core_tokens.saturating_add_signed(tokens);
                return;
            }
            MemoryType::Semantic => (&mut stats.semantic_count, &mut stats.semantic_tokens),
            MemoryType::Episodic => (&mut stats.episodic_count, &mut stats.episodic_tokens),
        };
        *count = count.saturating_add_signed(sign);
        *total = total.saturating_add_signed(tokens);
    }

    fn advance(&mut self, advance: Option<&Advance>, cursor_token: &str, revision: Revision) {
        let Some(advance) = advance else {
            return;
        };
        for (_, pending) in self.pending.range_mut(advance.from..advance.to) {
            pending.death = revision;
            self.pending_index.kill(pending.slot, revision);
            self.head.pending_index.remove(0, pending.length);
            self.head.stats.pending_chunks -= 1;
            self.head.stats.pending_tokens -= u64::from(pending.chunk.token_count);
        }
        self.head.cursor = advance.to;
        self.head.cursor_token = cursor_token.to_owned();
        self.head.failures = None;
        self.head.oldest_pending = self.oldest_pending();
    }

    fn oldest_pending(&self) -> Micros {
        self.pending.get(&self.head.cursor).map_or(0, |pending| pending.chunk.create_time)
    }

    fn remember(&mut self, request: Option<&Request>, stamped: &Stamped) {
        if let Some(request) = request {
            let (digest, revision) = (request.digest.clone(), stamped.revision);
            self.requests.remember(&request.id, Answered { digest, revision, time: stamped.time });
        }
    }

    /// Lets go of what no reader can ask for any more.
    fn tidy(&mut self, readable: Revision) {
        if self.head.stats.pending_chunks + 64 < self.pending.len() as u64 {
            self.pending.retain(|_, chunk| chunk.death > readable);
        }
        if self.pending_index.needs_compaction() {
            self.pending.retain(|_, chunk| chunk.death > readable);
            for moved in self.pending_index.compact(readable) {
                if let Some(pending) = self.pending.get_mut(&moved.key) {
                    pending.slot = moved.new_slot;
                }
            }
        }
        // Texts without terms weigh nothing in the index.
        let too_much_is_dead = self.dead_bytes > self.live_bytes.max(DEAD_BYTES_FLOOR);
        if too_much_is_dead || self.memory_index.needs_compaction() {
            self.compact_memories(readable);
        }
    }

    fn compact_memories(&mut self, readable: Revision) {
        self.dead_bytes = 0;
        self.memories.retain(|_, versions| {
            versions.retain(|version| version.death > readable);
            let dead = versions.iter().filter(|version| version.death != Revision::MAX);
            self.dead_bytes += dead.map(|version| version.memory.content.len()).sum::<usize>();
            !versions.is_empty()
        });
        for moved in self.memory_index.compact(readable) {
            let versions = self.memories.get_mut(&moved.key).into_iter().flatten();
            for version in versions.filter(|version| version.slot == moved.old_slot) {
                version.slot = moved.new_slot;
            }
        }
    }

    /// Records of a volatile bank after one revision and up to another; they stand in order, without a gap.
    pub fn kept_records(&self, after: Revision, last: Revision) -> &[Arc<Stamped>] {
        let records = self.volatile.as_deref().unwrap_or_default();
        let end = records.len().min(last as usize);
        &records[end.min(after as usize)..end]
    }

    /// The memory as staged writes leave it.
    pub fn live(&self, id: u64) -> Option<&Arc<Memory>> {
        let version = self.memories.get(&id)?.last()?;
        (version.death == Revision::MAX).then_some(&version.memory)
    }

    /// The memory as it was at `revision`.
    pub fn at(&self, id: u64, revision: Revision) -> Option<&Arc<Memory>> {
        visible(self.memories.get(&id)?, revision)
    }

    /// A live memory of that type with exactly that text.
    pub fn holder_of(&self, kind: MemoryType, content: &str) -> Option<u64> {
        let ids = self.contents.get(&(kind, content_hash(content)))?;
        ids.iter().copied().find(|id| self.live(*id).is_some_and(|memory| memory.content == content))
    }
}

pub(crate) fn visible(versions: &[Version], revision: Revision) -> Option<&Arc<Memory>> {
    versions
        .iter()
        .rev()
        .find(|version| version.birth <= revision && revision < version.death)
        .map(|version| &version.memory)
}

/// Core memory after a delete: it is never gone, only empty.
pub(crate) fn emptied(core: &Memory, revision: Revision, time: Micros, provenance: Provenance) -> Memory {
    Memory {
        content: String::new(),
        token_count: 0,
        event_time: String::new(),
        update_revision: revision,
        update_time: time,
        provenance,
        ..core.clone()
    }
}

pub(crate) fn text_digest(text: &str) -> [u8; 16] {
    let mut digest = [0; 16];
    digest.copy_from_slice(&Sha256::digest(text.as_bytes())[..16]);
    digest
}

fn content_hash(content: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    hasher.finish()
}
