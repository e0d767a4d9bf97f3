//! The versioned contents of a bank, and the one function that changes them.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hashbrown::HashMap;
use sha2::{Digest, Sha256};

use super::embedding::embedded;
use super::requests::{Answered, Requests};
use super::vectors::{Vector, VectorIndex};
use super::{Head, index_kind, known_analyzer};
use crate::error::Result;
use crate::index::{Index, Moved, Slot};
use crate::model::{
    BankSettings, Chunk, Durability, Embedder, Memory, MemoryType, Micros, Operation, Provenance, Revision,
    Writer,
};
use crate::record::{Advance, Done, Record, Request, Stamped, provenance};
use crate::text::{Analyzer, Terms};

/// Dead contents that are not worth a compaction.
const DEAD_BYTES_FLOOR: usize = 1 << 20;

/// One version of a memory: visible at revision r iff `birth <= r < death`.
pub(crate) struct Version {
    pub birth: Revision,
    pub death: Revision,
    /// `None` only while records are replayed.
    pub(super) slot: Option<Slot>,
    /// Terms in the index.
    pub(super) length: u32,
    pub(super) coverage: Coverage,
    pub memory: Arc<Memory>,
}

impl Version {
    pub fn is_seen(&self, revision: Revision) -> bool {
        self.birth <= revision && revision < self.death
    }
}

/// Whether a memory has a vector of the bank's embedder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coverage {
    /// It never will: the bank has no embedder, or the text nothing to embed.
    Never,
    NotYet,
    Present,
}

/// What the index needs of a text.
#[derive(Debug)]
pub(crate) struct Indexed {
    pub terms: Terms,
    pub vector: Option<Vector>,
}

/// Where a chunk's record is, and what is asked of a chunk without its text.
pub(crate) struct ChunkPlace {
    pub revision: Revision,
    pub index: u32,
    pub digest: [u8; 16],
    pub source: Arc<str>,
}

pub(crate) struct PendingChunk {
    pub birth: Revision,
    pub death: Revision,
    /// `None` only while records are replayed.
    pub(super) slot: Option<Slot>,
    pub(super) length: u32,
    pub chunk: Arc<Chunk>,
}

pub(crate) struct Body {
    /// The newest state, staged writes included. Readers use the published head instead.
    pub head: Head,
    pub analyzer: Arc<Analyzer>,
    pub memories: BTreeMap<u64, Vec<Version>>,
    pub memory_index: Index,
    /// `None` if the bank has no embedder.
    pub vectors: Option<VectorIndex>,
    pub pending: BTreeMap<u64, PendingChunk>,
    pub pending_index: Index,
    pub chunks: Vec<ChunkPlace>,
    pub chunk_ids: HashMap<Box<str>, u64>,
    pub requests: Requests,
    contents: HashMap<(MemoryType, u64), Vec<u64>>,
    /// Whether a memory ever had an event time.
    pub dated: bool,
    /// Bytes of the memories' contents, of all versions that live and of those that do not.
    live_bytes: usize,
    dead_bytes: usize,
    /// Records of a volatile bank; a durable bank's are on disk.
    volatile: Option<Vec<Arc<Stamped>>>,
    /// Records are replayed: nothing is indexed until they all are.
    pub(super) replaying: bool,
    /// Tells this body from one that is replayed later.
    pub(super) serial: u64,
    /// The last job came to nothing, so that the next is tried when the tail is full again, and not before.
    pub upkeep_failed: bool,
}

static SERIAL: AtomicU64 = AtomicU64::new(0);

impl Body {
    /// A bank without records.
    pub fn new(settings: &BankSettings) -> Result<Self> {
        Ok(Self {
            head: Head { embedder: settings.embedder.clone(), ..Head::default() },
            analyzer: known_analyzer(settings)?,
            memories: BTreeMap::new(),
            memory_index: Index::default(),
            vectors: vectors_of(&settings.embedder),
            pending: BTreeMap::new(),
            pending_index: Index::default(),
            chunks: Vec::new(),
            chunk_ids: HashMap::new(),
            requests: Requests::default(),
            contents: HashMap::new(),
            dated: false,
            live_bytes: 0,
            dead_bytes: 0,
            volatile: (settings.durability == Durability::Volatile).then(Vec::new),
            replaying: false,
            serial: SERIAL.fetch_add(1, Ordering::Relaxed),
            upkeep_failed: false,
        })
    }

    /// Stores a record's outcome. `indexed` is what its texts are found by, in order, where the caller has it
    /// already; `readable` is the oldest revision that readers may still ask for.
    pub fn apply(&mut self, stamped: &Arc<Stamped>, indexed: Vec<Option<Indexed>>, readable: Revision) {
        let mut indexed = indexed.into_iter();
        let mut next_indexed = move || indexed.next().flatten();
        match &stamped.record {
            Record::BankCreated { cursor_token, request_id, .. } => {
                self.start(stamped);
                self.head.cursor_token = cursor_token.clone();
                self.head.create_request = request_id.clone();
            }
            Record::ChunksAppended { chunks } => {
                for (index, chunk) in chunks.iter().enumerate() {
                    self.append(chunk, stamped.revision, index as u32, next_indexed());
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
                    self.store(done, stamped, provenance, next_indexed());
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
            Record::EmbedderSet { embedder } => self.set_embedder(embedder, stamped.revision),
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
        self.add_version(Arc::new(core), stamped.revision, None);
    }

    fn append(&mut self, chunk: &Chunk, revision: Revision, index: u32, indexed: Option<Indexed>) {
        let (slot, length) = match self.replaying {
            true => (None, 0),
            false => {
                let terms =
                    indexed.map_or_else(|| self.analyzer.analyze(&chunk.text), |indexed| indexed.terms);
                self.head.pending_index.add(0, terms.length);
                let slot = self.pending_index.insert(chunk.position, 0, &terms, revision);
                (Some(slot), terms.length)
            }
        };
        // Neighbours mostly share their source.
        let shared =
            self.chunks.last().map(|place| &place.source).filter(|source| ***source == *chunk.source);
        let source = shared.cloned().unwrap_or_else(|| chunk.source.as_str().into());
        self.chunks.push(ChunkPlace { revision, index, digest: text_digest(&chunk.text), source });
        self.chunk_ids.insert(chunk.chunk_id.as_str().into(), chunk.position);
        self.pending.insert(
            chunk.position,
            PendingChunk {
                birth: revision,
                death: Revision::MAX,
                slot,
                length,
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
        indexed: Option<Indexed>,
    ) {
        let Ok(memory) = &done.result.outcome else {
            return;
        };
        if done.before.is_some() {
            self.end_version(memory.id, stamped.revision);
        }
        let indexed = if done.result.truncated { None } else { indexed };
        if !matches!(done.operation, Operation::Delete { .. }) {
            self.add_version(Arc::clone(memory), stamped.revision, indexed);
        } else if memory.kind == MemoryType::Core {
            let empty = emptied(memory, stamped.revision, stamped.time, provenance());
            self.add_version(Arc::new(empty), stamped.revision, None);
        }
        self.head.next_id = self.head.next_id.max(memory.id + 1);
    }

    fn add_version(&mut self, memory: Arc<Memory>, revision: Revision, indexed: Option<Indexed>) {
        self.count(&memory, 1);
        self.dated |= !memory.event_time.is_empty();
        self.live_bytes += memory.content.len();
        self.contents.entry((memory.kind, content_hash(&memory.content))).or_default().push(memory.id);
        let mut version = Version {
            birth: revision,
            death: Revision::MAX,
            slot: None,
            length: 0,
            coverage: Coverage::Never,
            memory,
        };
        if !self.replaying {
            self.index(&mut version, indexed);
        }
        self.memories.entry(version.memory.id).or_default().push(version);
    }

    /// Makes a version findable.
    pub(super) fn index(&mut self, version: &mut Version, indexed: Option<Indexed>) {
        let memory = &version.memory;
        let indexed = indexed.unwrap_or_else(|| Indexed {
            terms: self.analyzer.analyze(&memory.content),
            vector: embedded(&self.head.embedder, &memory.content),
        });
        let kind = index_kind(memory.kind);
        let slot = self.memory_index.insert(memory.id, kind, &indexed.terms, version.birth);
        self.head.memory_index.add(kind, indexed.terms.length);
        if let Some(vectors) = &mut self.vectors {
            vectors.insert(slot, kind, indexed.vector.as_deref(), version.birth);
        }
        version.slot = Some(slot);
        version.length = indexed.terms.length;
        version.coverage = self.coverage(&memory.content, slot);
        self.cover(version.coverage, 1);
    }

    pub(super) fn coverage(&self, content: &str, slot: Slot) -> Coverage {
        match &self.vectors {
            Some(vectors) if vectors.has(slot) => Coverage::Present,
            // What the built-in embedder left without a vector has no word that it knows.
            Some(_) if !content.trim().is_empty() && self.head.embedder != Embedder::Builtin => {
                Coverage::NotYet
            }
            _ => Coverage::Never,
        }
    }

    pub(super) fn cover(&mut self, coverage: Coverage, sign: i64) {
        let stats = &mut self.head.stats;
        let count = match coverage {
            Coverage::Never => return,
            Coverage::NotYet => &mut stats.unembedded_count,
            Coverage::Present => &mut stats.embedded_count,
        };
        *count = count.saturating_add_signed(sign);
    }

    fn end_version(&mut self, id: u64, revision: Revision) {
        let Some(version) = self.memories.get_mut(&id).and_then(|v| v.last_mut()) else {
            return;
        };
        version.death = revision;
        let (slot, length, coverage) = (version.slot, version.length, version.coverage);
        let memory = Arc::clone(&version.memory);
        if let Some(slot) = slot {
            let analyzer = &self.analyzer;
            self.memory_index.kill(slot, revision, || analyzer.analyze(&memory.content));
            if let Some(vectors) = &mut self.vectors {
                vectors.kill(slot, revision);
            }
            self.head.memory_index.remove(index_kind(memory.kind), length);
            self.cover(coverage, -1);
        }
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

    /// Drops all vectors; what makes new ones is another matter.
    fn set_embedder(&mut self, embedder: &Embedder, revision: Revision) {
        self.head.embedder = embedder.clone();
        self.head.embedder_revision = revision;
        self.vectors = vectors_of(embedder);
        self.head.stats.embedded_count = 0;
        self.head.stats.unembedded_count = 0;
        for version in self.memories.values_mut().flatten() {
            let blank = version.memory.content.trim().is_empty();
            let (Some(vectors), Some(slot), Revision::MAX, false) =
                (&mut self.vectors, version.slot, version.death, blank)
            else {
                version.coverage = Coverage::Never;
                continue;
            };
            vectors.make_live(slot, index_kind(version.memory.kind), version.birth);
            version.coverage = Coverage::NotYet;
            self.head.stats.unembedded_count += 1;
        }
    }

    /// Whether a living memory waits for its vector.
    pub fn lacks_vector(&self, id: u64) -> bool {
        let version = self.memories.get(&id).and_then(|versions| versions.last());
        version.is_some_and(|v| v.death == Revision::MAX && v.coverage == Coverage::NotYet)
    }

    /// Gives the living version that was born at `birth` its vector, `None` if the text has nothing to embed; false
    /// if it lives no more or has nothing to embed. A vector that is there already stays.
    pub fn put_vector(&mut self, id: u64, birth: Revision, vector: Option<&[f32]>) -> bool {
        let version = self.memories.get_mut(&id).and_then(|versions| versions.last_mut());
        let Some(version) = version.filter(|v| v.birth == birth && v.death == Revision::MAX) else {
            return false;
        };
        let before = version.coverage;
        if before != Coverage::NotYet {
            return before == Coverage::Present;
        }
        version.coverage = match (vector, version.slot, &mut self.vectors) {
            (Some(vector), Some(slot), Some(vectors)) => {
                vectors.set(slot, vector);
                Coverage::Present
            }
            (None, ..) => Coverage::Never,
            _ => before,
        };
        let after = version.coverage;
        self.cover(before, -1);
        self.cover(after, 1);
        true
    }

    /// Living memories without a vector, in order of ids.
    pub fn unembedded(&self, limit: usize) -> Vec<Arc<Memory>> {
        let living = self.memories.values().filter_map(|versions| versions.last());
        let lacking = living.filter(|v| v.death == Revision::MAX && v.coverage == Coverage::NotYet);
        lacking.take(limit).map(|version| Arc::clone(&version.memory)).collect()
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
            if let Some(slot) = pending.slot {
                let (analyzer, chunk) = (&self.analyzer, &pending.chunk);
                self.pending_index.kill(slot, revision, || analyzer.analyze(&chunk.text));
                self.head.pending_index.remove(0, pending.length);
            }
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
                    pending.slot = Some(moved.new_slot);
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
        let tail = self.memory_index.tail_number();
        let moved = self.memory_index.compact(readable);
        self.follow(&[tail], &moved);
    }

    /// Follows documents that left the parts `gone`.
    pub fn follow(&mut self, gone: &[u32], moved: &[Moved]) {
        for moved in moved {
            let versions = self.memories.get_mut(&moved.key).into_iter().flatten();
            for version in versions.filter(|version| version.slot == Some(moved.old_slot)) {
                version.slot = Some(moved.new_slot);
            }
        }
        if let Some(vectors) = &mut self.vectors {
            vectors.follow(gone, moved);
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

fn vectors_of(embedder: &Embedder) -> Option<VectorIndex> {
    (*embedder != Embedder::None).then(|| VectorIndex::new(embedder.dimensions()))
}

pub(crate) fn visible(versions: &[Version], revision: Revision) -> Option<&Arc<Memory>> {
    versions.iter().rev().find(|version| version.is_seen(revision)).map(|version| &version.memory)
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
