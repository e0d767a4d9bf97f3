//! What readers ask of a body, at a published head.

use std::sync::Arc;

use super::body::visible;
use super::{Body, Head, index_kind};
use crate::index::{Filter, Scored};
use crate::model::{Chunk, Hits, Memory, MemoryType, Page, Query, Revision, View};

/// Memories that a writer's view shows, of one type and in order of ids.
type Shown = Vec<Memory>;

impl Body {
    /// Core memory.
    pub fn core(&self, head: &Head) -> Option<Memory> {
        self.at(0, head.revision).map(|memory| Memory::clone(memory))
    }

    /// The chunk at the cursor.
    pub fn next_chunk(&self, head: &Head) -> Option<Arc<Chunk>> {
        let pending = self.pending.get(&head.cursor)?;
        (pending.birth <= head.revision).then(|| Arc::clone(&pending.chunk))
    }

    /// Semantic and episodic memories for the next chunk.
    pub fn view(&self, view: View, head: &Head) -> (Shown, Shown) {
        match view {
            View::Recent { semantic, episodic } => (
                self.newest(MemoryType::Semantic, semantic, head),
                self.newest(MemoryType::Episodic, episodic, head),
            ),
            View::Relevant { semantic, episodic } => {
                let text = self.next_chunk(head).map_or(String::new(), |chunk| chunk.text.clone());
                let terms = self.analyzer.query_terms(&text);
                (
                    self.matching(MemoryType::Semantic, &terms, semantic, head),
                    self.matching(MemoryType::Episodic, &terms, episodic, head),
                )
            }
        }
    }

    fn newest(&self, kind: MemoryType, count: usize, head: &Head) -> Shown {
        let mut shown: Shown = self
            .memories
            .values()
            .rev()
            .filter_map(|versions| visible(versions, head.revision))
            .filter(|memory| memory.kind == kind)
            .take(count)
            .map(|memory| Memory::clone(memory))
            .collect();
        shown.reverse();
        shown
    }

    fn matching(&self, kind: MemoryType, terms: &[Box<str>], count: usize, head: &Head) -> Shown {
        let mut ids: Vec<u64> = self
            .rank(terms, 1 << index_kind(kind), count, head)
            .into_iter()
            .map(|scored| scored.key)
            .collect();
        ids.sort_unstable();
        ids.into_iter()
            .filter_map(|id| self.at(id, head.revision))
            .map(|memory| Memory::clone(memory))
            .collect()
    }

    fn rank(&self, terms: &[Box<str>], kinds: u8, count: usize, head: &Head) -> Vec<Scored> {
        if count == 0 {
            return Vec::new();
        }
        let filter = Filter { kinds, revision: head.revision };
        self.memory_index.search(terms, filter, &head.memory_index, count)
    }

    /// Ranks memories and, if asked, pending chunks.
    pub fn search(&self, query: &Query, head: &Head) -> Hits {
        let terms = self.analyzer.query_terms(&query.text);
        let default = [MemoryType::Semantic, MemoryType::Episodic];
        let types = if query.types.is_empty() { &default[..] } else { &query.types };
        let kinds = types.iter().fold(0, |mask, kind| mask | 1 << index_kind(*kind));
        let memories = self
            .rank(&terms, kinds, query.limit, head)
            .into_iter()
            .filter_map(|hit| Some((Memory::clone(self.at(hit.key, head.revision)?), hit.score)))
            .collect();
        let pending =
            if query.include_pending { self.search_pending(&terms, query.limit, head) } else { Vec::new() };
        Hits { memories, pending }
    }

    fn search_pending(&self, terms: &[Box<str>], limit: usize, head: &Head) -> Vec<(Chunk, f64)> {
        let filter = Filter { kinds: 1, revision: head.revision };
        self.pending_index
            .search(terms, filter, &head.pending_index, limit)
            .into_iter()
            .filter_map(|hit| Some((Chunk::clone(&self.pending.get(&hit.key)?.chunk), hit.score)))
            .collect()
    }

    /// Memories in order of ids, core memory first.
    pub fn list(
        &self,
        kind: Option<MemoryType>,
        after: Option<u64>,
        created_by: Option<Revision>,
        limit: usize,
        head: &Head,
    ) -> Page<Memory, u64> {
        let first = after.map_or(0, |id| id.saturating_add(1));
        let newest = created_by.unwrap_or(Revision::MAX);
        let mut items: Vec<Memory> = self
            .memories
            .range(first..)
            .filter_map(|(_, versions)| visible(versions, head.revision))
            .filter(|memory| kind.is_none_or(|kind| kind == memory.kind))
            .filter(|memory| memory.create_revision <= newest)
            .take(limit + 1)
            .map(|memory| Memory::clone(memory))
            .collect();
        let more = items.len() > limit;
        items.truncate(limit);
        let next = if more { items.last().map(|memory| memory.id) } else { None };
        Page { items, next }
    }
}
