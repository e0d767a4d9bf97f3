//! What readers ask of a body, at a published head.

use std::sync::Arc;

use super::body::{Coverage, Version, visible};
use super::search::Asked;
use super::{Body, Head};
use crate::error::Result;
use crate::model::{Chunk, Embedding, Memory, MemoryType, Page, Query, Revision, View};

/// Memories that a writer's view shows, of one type and in order of ids.
type Shown = Vec<Arc<Memory>>;

impl Body {
    /// Core memory.
    pub fn core(&self, head: &Head) -> Option<Arc<Memory>> {
        self.at(0, head.revision).cloned()
    }

    /// The chunk at the cursor.
    pub fn next_chunk(&self, head: &Head) -> Option<Arc<Chunk>> {
        let pending = self.pending.get(&head.cursor)?;
        (pending.birth <= head.revision).then(|| Arc::clone(&pending.chunk))
    }

    /// Semantic and episodic memories for the next chunk.
    pub fn view(&self, view: View, embedding: Option<Embedding>, head: &Head) -> Result<(Shown, Shown)> {
        match view {
            View::Recent { semantic, episodic } => Ok((
                self.newest(MemoryType::Semantic, semantic, head),
                self.newest(MemoryType::Episodic, episodic, head),
            )),
            View::Relevant { semantic, episodic } => {
                let text = self.next_chunk(head).map_or(String::new(), |chunk| chunk.text.clone());
                let query = Query { text, embedding, ..Query::default() };
                let mut asked = Asked::new(&query, &self.analyzer, &head.embedder)?;
                Ok((
                    self.matching(MemoryType::Semantic, semantic, &mut asked, head),
                    self.matching(MemoryType::Episodic, episodic, &mut asked, head),
                ))
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
            .cloned()
            .collect();
        shown.reverse();
        shown
    }

    fn matching(&self, kind: MemoryType, count: usize, asked: &mut Asked, head: &Head) -> Shown {
        if count == 0 {
            return Vec::new();
        }
        asked.narrow(kind, count);
        let mut shown: Shown = self.search(asked, head).memories.into_iter().map(|hit| hit.memory).collect();
        shown.sort_unstable_by_key(|memory| memory.id);
        shown
    }

    /// Memories in order of ids, core memory first.
    pub fn list(
        &self,
        kind: Option<MemoryType>,
        after: Option<u64>,
        created_by: Option<Revision>,
        unembedded_only: bool,
        limit: usize,
        head: &Head,
    ) -> Page<Arc<Memory>, u64> {
        let first = after.map_or(0, |id| id.saturating_add(1));
        let newest = created_by.unwrap_or(Revision::MAX);
        let mut items: Vec<Arc<Memory>> = self
            .memories
            .range(first..)
            .filter(|(_, versions)| !unembedded_only || lacks_vector(versions))
            .filter_map(|(_, versions)| visible(versions, head.revision))
            .filter(|memory| kind.is_none_or(|kind| kind == memory.kind))
            .filter(|memory| memory.create_revision <= newest)
            .take(limit + 1)
            .cloned()
            .collect();
        let more = items.len() > limit;
        items.truncate(limit);
        let next = if more { items.last().map(|memory| memory.id) } else { None };
        Page { items, next }
    }
}

fn lacks_vector(versions: &[Version]) -> bool {
    versions.last().is_some_and(|version| version.coverage == Coverage::NotYet)
}
