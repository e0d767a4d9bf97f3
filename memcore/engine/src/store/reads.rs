//! What readers ask of a store.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::Store;
use crate::bank::{Asked, Cell, Head};
use crate::check;
use crate::error::{Error, ErrorKind, Result};
use crate::limits;
use crate::model::{
    Bank, Chunk, Embedder, Embedding, Event, EventFilter, EventKind, Hit, Hits, Memory, MemoryType, Page,
    PendingBank, Query, Revision, SearchReply, View, WriterView,
};
use crate::record::{Record, Stamped};

impl Store {
    /// One bank; NotFound if there is none of that id, or of that uid.
    pub fn bank(&self, bank_id: &str, bank_uid: Option<&str>) -> Result<Bank> {
        Ok(self.0.cell(bank_id, bank_uid)?.bank())
    }

    /// Banks in order of ids; with `unembedded_only` those that wait for vectors of an external embedder.
    pub fn banks(
        &self,
        after: Option<&str>,
        unembedded_only: bool,
        limit: usize,
    ) -> Result<Page<Bank, String>> {
        self.0.check_usable()?;
        let wanted = |bank: &Bank| {
            let external = matches!(bank.settings.embedder, Embedder::External { .. });
            !unembedded_only || (external && bank.stats.unembedded_count > 0)
        };
        let items = self.0.cells_after(after, limit + 1, |cell| Some(cell.bank()).filter(wanted));
        Ok(page(items, limit, |bank| bank.bank_id.clone()))
    }

    /// Banks with chunks to memorize, in order of ids.
    pub fn pending_banks(&self, after: Option<&str>, limit: usize) -> Result<Page<PendingBank, String>> {
        self.0.check_usable()?;
        let items = self.0.cells_after(after, limit + 1, |cell| pending(cell, &cell.head()));
        Ok(page(items, limit, |bank| bank.bank_id.clone()))
    }

    /// Chunks in order of positions, and the cursor.
    pub fn chunks(
        &self,
        bank_id: &str,
        start: u64,
        pending_only: bool,
        limit: usize,
    ) -> Result<(Page<Chunk, u64>, u64)> {
        let cell = self.0.cell(bank_id, None)?;
        let (first, places, end, cursor) = cell.read(&**self.0, |body, head| {
            let first = if pending_only { start.max(head.cursor) } else { start };
            let end = head.stats.chunk_count;
            let count = end.saturating_sub(first).min(limit as u64) as usize;
            let places = body.chunks.iter().skip(first as usize).take(count);
            let places: Vec<(Revision, u32)> = places.map(|place| (place.revision, place.index)).collect();
            (first, places, end, head.cursor)
        })?;
        let items = self.chunks_at(&cell, &places)?;
        let next = first + items.len() as u64;
        Ok((Page { items, next: (next < end).then_some(next) }, cursor))
    }

    /// The chunks at these places, as many as fit into a page.
    fn chunks_at(&self, cell: &Cell, places: &[(Revision, u32)]) -> Result<Vec<Chunk>> {
        let mut items = Vec::with_capacity(places.len());
        let mut bytes = 0;
        let mut record: Option<Arc<Stamped>> = None;
        for (revision, index) in places {
            let stamped = match record.take().filter(|stamped| stamped.revision == *revision) {
                Some(stamped) => stamped,
                None => self.0.record(cell, *revision)?,
            };
            let chunk = match &record.insert(stamped).record {
                Record::ChunksAppended { chunks } => chunks.get(*index as usize).cloned(),
                _ => None,
            };
            let chunk = chunk.ok_or_else(|| {
                Error::corruption(format!("record {revision} of bank {:?} holds no such chunk", cell.bank_id))
            })?;
            bytes += chunk.text.len();
            items.push(chunk);
            if bytes >= limits::PAGE_BYTES {
                break;
            }
        }
        Ok(items)
    }

    /// What a policy needs for the next chunk, all read at one revision.
    ///
    /// `embedding` is the next chunk's vector by the bank's external embedder, if its caller has it.
    pub fn writer_view(&self, bank_id: &str, view: View, embedding: Option<Embedding>) -> Result<WriterView> {
        let (View::Recent { semantic, episodic } | View::Relevant { semantic, episodic }) = view;
        check::view_size("semantic", semantic)?;
        check::view_size("episodic", episodic)?;
        let cell = self.0.cell(bank_id, None)?;
        let shown = cell.read(&**self.0, |body, head| {
            let (semantic, episodic) = body.view(view, embedding, head)?;
            let next_chunk = body.next_chunk(head).map(|chunk| Chunk::clone(&chunk));
            Ok(body.core(head).map(|core| WriterView {
                bank: cell.bank_at(head),
                core,
                semantic,
                episodic,
                next_chunk,
            }))
        })??;
        shown.ok_or_else(|| Error::corruption(format!("bank {bank_id:?} has no core memory")))
    }

    /// Memories in order of ids, core memory first (id 0), and the revision that was read. `created_by` leaves out
    /// memories created after that revision, `unembedded_only` those with a vector.
    pub fn memories(
        &self,
        bank_id: &str,
        kind: Option<MemoryType>,
        after: Option<u64>,
        created_by: Option<Revision>,
        unembedded_only: bool,
        limit: usize,
    ) -> Result<(Page<Arc<Memory>, u64>, Revision)> {
        let cell = self.0.cell(bank_id, None)?;
        cell.read(&**self.0, |body, head| {
            (body.list(kind, after, created_by, unembedded_only, limit, head), head.revision)
        })
    }

    /// Ranks memories, and pending chunks where asked, against each query, all at one revision. Writers wait for one
    /// query at most.
    pub fn search(&self, bank_id: &str, queries: &[Query]) -> Result<SearchReply> {
        let cell = self.0.cell(bank_id, None)?;
        check::queries(queries)?;
        let pin = cell.pin(&**self.0)?;
        let mut bytes = 0;
        let search = |query: &Query| {
            let asked = Asked::new(query, &cell.analyzer, pin.embedder())?;
            let hits = pin.read(&**self.0, |body, head| body.search(&asked, head))?;
            bytes += size(&hits);
            if bytes > limits::SEARCH_BYTES { Err(too_many_hits()) } else { Ok(hits) }
        };
        let results = queries.iter().map(search).collect::<Result<_>>()?;
        Ok(SearchReply { results, revision: pin.revision() })
    }

    /// A bank's history after one event, oldest first.
    pub fn events(
        &self,
        bank_id: &str,
        filter: &EventFilter,
        after: Option<(Revision, u32)>,
        limit: usize,
    ) -> Result<Page<Event, (Revision, u32)>> {
        let cell = self.0.cell(bank_id, None)?;
        let last = cell.head().revision;
        let place = |event: &Event| (event.revision, event.index);
        let wanted = |event: &Event| after.is_none_or(|seen| place(event) > seen) && matches(filter, event);
        let (mut items, mut bytes, mut next) = (Vec::new(), 0, None);
        // Events of the record that the last page ended in may be left over.
        let mut read = after.map_or(0, |(revision, _)| revision.saturating_sub(1));
        self.0.history(&cell, read, last, &mut |stamped| {
            read = stamped.revision;
            for event in stamped.events().into_iter().filter(wanted) {
                if items.len() == limit || bytes >= limits::PAGE_BYTES {
                    next = items.last().map(place);
                    return ControlFlow::Break(());
                }
                bytes += text_bytes(&event.what);
                items.push(event);
            }
            ControlFlow::Continue(())
        })?;
        if read < last && next.is_none() {
            let message = format!("bank {bank_id:?} has {last} records, but they end after revision {read}");
            return Err(cell.missing(message));
        }
        Ok(Page { items, next })
    }
}

/// The page of `items`, which are one more than `limit` if there is another page.
fn page<T, P>(mut items: Vec<T>, limit: usize, place: impl Fn(&T) -> P) -> Page<T, P> {
    let more = items.len() > limit;
    items.truncate(limit);
    let next = if more { items.last().map(place) } else { None };
    Page { items, next }
}

/// About the bytes that hits take.
fn size(hits: &Hits) -> usize {
    let memories = hits.memories.iter().map(|hit| {
        let terms = hit.explanation.iter().flat_map(|explanation| &explanation.terms);
        let explained: usize = terms.map(|term| size_of_val(term) + term.term.len()).sum();
        let metadata = check::metadata_bytes(&hit.memory.metadata);
        size_of::<Hit>() + size_of::<Memory>() + hit.memory.content.len() + metadata + explained
    });
    let chunks = hits.pending.iter().map(|(chunk, _)| size_of::<Chunk>() + chunk.text.len());
    memories.chain(chunks).sum()
}

fn too_many_hits() -> Error {
    let limit = limits::SEARCH_BYTES;
    let message =
        format!("hits must take at most {limit} bytes in all; send fewer queries or lower their limit");
    Error::new(ErrorKind::OutOfRange, "TOO_MANY_HITS", message).with("limit", limit)
}

/// Bytes of the texts that make an event large.
fn text_bytes(event: &EventKind) -> usize {
    let content = |memory: Option<&Arc<Memory>>| memory.map_or(0, |memory| memory.content.len());
    match event {
        EventKind::ChunkAppended { chunk } => chunk.text.len(),
        EventKind::OperationApplied { result, before, .. } => {
            content(result.outcome.as_ref().ok()) + content(before.as_ref())
        }
        EventKind::CursorMoved { raw_output, .. } | EventKind::ChunkFailed { raw_output, .. } => {
            raw_output.as_ref().map_or(0, |raw| raw.text.len())
        }
        EventKind::BankCreated { .. } | EventKind::ChunkRetried { .. } | EventKind::EmbedderSet { .. } => 0,
    }
}

fn pending(cell: &Cell, head: &Head) -> Option<PendingBank> {
    (head.stats.pending_chunks > 0).then(|| PendingBank {
        bank_id: cell.bank_id.clone(),
        bank_uid: cell.bank_uid.clone(),
        pending_chunks: head.stats.pending_chunks,
        pending_tokens: head.stats.pending_tokens,
        oldest_time: head.oldest_pending,
        parked: head.parked(),
    })
}

fn matches(filter: &EventFilter, event: &Event) -> bool {
    let memory_fits = filter.memory_id.is_none_or(|id| memory_of(&event.what) == Some(id));
    let chunk_fits = filter.chunk_position.is_none_or(|position| concerns_chunk(&event.what, position));
    memory_fits && chunk_fits
}

fn memory_of(event: &EventKind) -> Option<u64> {
    match event {
        EventKind::OperationApplied { result, .. } => result.outcome.as_ref().ok().map(|memory| memory.id),
        _ => None,
    }
}

fn concerns_chunk(event: &EventKind, wanted: u64) -> bool {
    match event {
        EventKind::BankCreated { .. } | EventKind::EmbedderSet { .. } => false,
        EventKind::ChunkAppended { chunk } => chunk.position == wanted,
        EventKind::OperationApplied { provenance, .. } => {
            provenance.chunk.as_ref().is_some_and(|(_, position)| *position == wanted)
        }
        EventKind::CursorMoved { from, to, .. } => (*from..*to).contains(&wanted),
        EventKind::ChunkFailed { position, .. } | EventKind::ChunkRetried { position, .. } => {
            *position == wanted
        }
    }
}
