//! The end of a replay: what the records left is made findable.
//!
//! Records are replayed without indexing anything; then sealed parts are taken over as they are, and only what they
//! do not hold is indexed. So opening a bank costs the analysis of its tail, not of its history.

use std::sync::Arc;

use memcore_vector::SealedVectors;

use super::body::{Body, Coverage, Version};
use super::index_kind;
use super::upkeep::embed;
use super::vectors::Vector;
use crate::error::Result;
use crate::index::{Sealed, Slot};
use crate::model::{Embedder, Revision};

/// Memories that may be embedded while somebody waits: some tens of milliseconds.
const EMBEDDED_AT_ONCE: usize = 2048;

/// A part of a bank's index as it was sealed.
pub(crate) struct SealedPart {
    pub number: u32,
    pub words: Arc<Sealed>,
    /// Of the bank's present embedder, if they were complete.
    pub vectors: Option<Arc<SealedVectors>>,
}

/// A vector of an external embedder, and the content it belongs to.
pub(crate) struct StoredVector {
    pub memory_id: u64,
    pub update_revision: Revision,
    pub vector: Vector,
}

impl Body {
    /// Indexes what was replayed. `readable` is the oldest revision that readers may still ask for; `vectors` hands
    /// over what an external embedder made.
    pub fn finish_replay(
        &mut self,
        parts: Vec<SealedPart>,
        vectors: impl FnOnce(&mut dyn FnMut(StoredVector)) -> Result<()>,
        readable: Revision,
    ) -> Result<()> {
        self.replaying = false;
        self.forget_dead(readable);
        parts.into_iter().for_each(|part| self.adopt(part));
        self.index_rest();
        vectors(&mut |stored: StoredVector| {
            self.put_vector(stored.memory_id, stored.update_revision, Some(&stored.vector));
        })?;
        if self.head.embedder == Embedder::Builtin {
            self.embed_rest();
        }
        self.index_pending();
        Ok(())
    }

    /// Parts that were sealed under another embedder lack their vectors. The background does the rest.
    fn embed_rest(&mut self) {
        for (id, birth, vector) in embed(&self.unembedded(EMBEDDED_AT_ONCE)) {
            self.put_vector(id, birth, vector.as_deref());
        }
    }

    fn forget_dead(&mut self, readable: Revision) {
        self.memories.retain(|_, versions| {
            // What a record made and ended itself was never seen.
            versions.retain(|version| version.death > readable.max(version.birth));
            !versions.is_empty()
        });
        self.pending.retain(|_, chunk| chunk.death > readable);
    }

    /// Finds each document's version; a document without one died before anybody can see it.
    fn adopt(&mut self, part: SealedPart) {
        let SealedPart { number, words, vectors } = part;
        let mut deaths = Vec::new();
        for (document, facts) in words.documents().enumerate() {
            let document = document as u32;
            let versions = self.memories.get_mut(&facts.key).into_iter().flatten();
            match versions.into_iter().find(|version| version.birth == facts.birth) {
                Some(version) => {
                    // Of several in one record the last one stays.
                    if let Some(earlier) = version.slot.replace(Slot::new(number, document)) {
                        debug_assert_eq!(earlier.part(), number, "a version lies in one part");
                        deaths.push((earlier.document(), facts.birth));
                    }
                    version.length = facts.length;
                    if version.death != Revision::MAX {
                        deaths.push((document, version.death));
                    }
                }
                None => deaths.push((document, facts.birth)),
            }
        }
        self.memory_index.adopt(number, words, &deaths);
        if let (Some(index), Some(vectors)) = (&mut self.vectors, vectors) {
            index.install(number, vectors);
        }
    }

    fn index_rest(&mut self) {
        let mut memories = std::mem::take(&mut self.memories);
        let mut versions: Vec<&mut Version> = memories.values_mut().flatten().collect();
        versions.sort_by_key(|version| (version.birth, version.memory.id));
        let mut deaths = Vec::new();
        for version in versions {
            let tail = version.slot.is_none();
            match version.slot {
                None => self.index(version, None),
                Some(slot) => self.count_in(version, slot),
            }
            if version.death != Revision::MAX {
                self.head.memory_index.remove(index_kind(version.memory.kind), version.length);
                self.cover(version.coverage, -1);
                if let (Some(vectors), Some(slot)) = (&mut self.vectors, version.slot) {
                    vectors.kill(slot, version.death);
                }
                deaths.extend(version.slot.filter(|_| tail).map(|slot| (version.death, slot)));
            }
        }
        deaths.sort_unstable();
        for (death, slot) in deaths {
            self.memory_index.kill(slot, death, Default::default);
        }
        self.memories = memories;
    }

    /// Counts a sealed version as [`Body::index`] counts a new one.
    fn count_in(&mut self, version: &mut Version, slot: Slot) {
        let kind = index_kind(version.memory.kind);
        self.head.memory_index.add(kind, version.length);
        if let Some(vectors) = &mut self.vectors {
            vectors.make_live(slot, kind, version.birth);
        }
        version.coverage = match self.coverage(&version.memory.content, slot) {
            // The part was sealed under another embedder; the background makes up for it.
            Coverage::Never
                if self.head.embedder == Embedder::Builtin && !version.memory.content.is_empty() =>
            {
                let complete = self.vectors.as_ref().is_some_and(|vectors| vectors.is_sealed(slot.part()));
                if complete { Coverage::Never } else { Coverage::NotYet }
            }
            coverage => coverage,
        };
        self.cover(version.coverage, 1);
    }

    fn index_pending(&mut self) {
        let mut pending = std::mem::take(&mut self.pending);
        let mut deaths = Vec::new();
        for chunk in pending.values_mut() {
            let terms = self.analyzer.analyze(&chunk.chunk.text);
            let slot = self.pending_index.insert(chunk.chunk.position, 0, &terms, chunk.birth);
            chunk.slot = Some(slot);
            chunk.length = terms.length;
            match chunk.death {
                Revision::MAX => self.head.pending_index.add(0, terms.length),
                death => deaths.push((death, slot)),
            }
        }
        deaths.sort_unstable();
        for (death, slot) in deaths {
            self.pending_index.kill(slot, death, Default::default);
        }
        self.pending = pending;
    }
}
