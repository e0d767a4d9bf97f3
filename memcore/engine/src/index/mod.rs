//! Exact BM25 over documents that come and go, as of any revision that is still kept.
//!
//! A document is never changed: it is born at one revision and dies at another, and a search at revision R sees
//! those with `birth <= R < death`. Document frequencies are counted while the lists are read, over visible
//! documents only, so ranking never depends on what is dead, not yet published, or of another kind.
//!
//! One writer at a time (`&mut`), any number of readers (`&`); the caller's lock sees to it.

mod postings;
mod scorer;
#[cfg(test)]
mod tests;
mod top;

use std::cell::RefCell;

use crate::text::Terms;
use postings::{Posting, Postings};
use scorer::Bm25;
pub use scorer::{KINDS, Stats};
pub use top::Scored;
use top::Top;

/// Death of what lives.
const NEVER: u64 = u64::MAX;

/// Dead postings that are not worth a compaction.
const COMPACTION_FLOOR: usize = 4096;

/// Which documents a search may see.
#[derive(Debug, Clone, Copy)]
pub struct Filter {
    /// Bit k is set if kind k is searched.
    pub kinds: u8,
    pub revision: u64,
}

struct Document {
    key: u64,
    birth: u64,
    death: u64,
    postings: u32,
    kind: u8,
}

/// Where a document went when an index was compacted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moved {
    pub key: u64,
    pub old_slot: u32,
    pub new_slot: u32,
}

/// The index of one bank.
#[derive(Default)]
pub struct Index {
    postings: Postings,
    documents: Vec<Document>,
    /// Terms per document, apart from the rest because scoring reads nothing else.
    lengths: Vec<u32>,
    /// Revision of the youngest document, and the kinds that ever were: with no deaths they tell when a search
    /// sees everything.
    last_birth: u64,
    kinds: u8,
    deaths: usize,
    live_postings: usize,
    dead_postings: usize,
}

/// Working memory of a thread's searches. `scores` is all zeros between them.
#[derive(Default)]
struct Scratch {
    scores: Vec<f64>,
    touched: Vec<u32>,
    visible: Vec<Posting>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl Index {
    /// Adds a document, visible from revision `birth` on; returns its slot, by which it is killed.
    pub fn insert(&mut self, key: u64, kind: u8, terms: &Terms, birth: u64) -> u32 {
        assert!(usize::from(kind) < KINDS, "kind must be below {KINDS}, not {kind}");
        let slot = self.documents.len() as u32;
        let postings = terms.counts.len() as u32;
        self.postings.insert(slot, terms);
        self.documents.push(Document { key, birth, death: NEVER, postings, kind });
        self.lengths.push(terms.length);
        self.last_birth = self.last_birth.max(birth);
        self.kinds |= 1 << kind;
        self.live_postings += terms.counts.len();
        slot
    }

    /// Hides a living document from revision `death` on.
    pub fn kill(&mut self, slot: u32, death: u64) {
        let document = &mut self.documents[slot as usize];
        debug_assert_eq!(document.death, NEVER, "slot {slot} is dead already");
        document.death = death;
        self.deaths += 1;
        self.live_postings -= document.postings as usize;
        self.dead_postings += document.postings as usize;
    }

    /// The best `k` documents that hold at least one of `terms`, best first, equal scores in order of keys.
    ///
    /// `terms` are distinct. `stats` are those of the documents visible at `filter.revision`.
    pub fn search(&self, terms: &[Box<str>], filter: Filter, stats: &Stats, k: usize) -> Vec<Scored> {
        let Some(bm25) = Bm25::new(stats, filter.kinds) else {
            return Vec::new();
        };
        SCRATCH.with_borrow_mut(|scratch| {
            if scratch.scores.len() < self.documents.len() {
                scratch.scores.resize(self.documents.len(), 0.0);
            }
            for term in terms {
                self.add_term(term, filter, &bm25, scratch);
            }
            self.take_top(scratch, k)
        })
    }

    /// Whether dead documents take more room than living ones, and enough to matter.
    pub fn needs_compaction(&self) -> bool {
        self.dead_postings > self.live_postings.max(COMPACTION_FLOOR)
    }

    /// Drops what no search at revision `visible_from` or later can see; returns where every other document went.
    ///
    /// Documents keep their order. Searches before `visible_from` are wrong from then on.
    pub fn compact(&mut self, visible_from: u64) -> Vec<Moved> {
        let old = std::mem::take(self);
        let mut new_slots = vec![None; old.documents.len()];
        let mut moved = Vec::new();
        for (old_slot, (document, length)) in old.documents.into_iter().zip(old.lengths).enumerate() {
            if document.death <= visible_from {
                continue;
            }
            let new_slot = self.documents.len() as u32;
            new_slots[old_slot] = Some(new_slot);
            moved.push(Moved { key: document.key, old_slot: old_slot as u32, new_slot });
            self.keep(document, length);
        }
        self.postings = old.postings;
        self.postings.renumber(|slot| new_slots[slot as usize]);
        moved
    }

    fn keep(&mut self, document: Document, length: u32) {
        let dead = document.death != NEVER;
        self.deaths += usize::from(dead);
        *(if dead { &mut self.dead_postings } else { &mut self.live_postings }) += document.postings as usize;
        self.last_birth = self.last_birth.max(document.birth);
        self.kinds |= 1 << document.kind;
        self.documents.push(document);
        self.lengths.push(length);
    }

    fn add_term(&self, term: &str, filter: Filter, bm25: &Bm25, scratch: &mut Scratch) {
        let Scratch { scores, touched, visible } = scratch;
        let list = self.postings.list(term);
        let list = if self.sees_all(filter) {
            list
        } else {
            visible.clear();
            visible.extend(list.iter().filter(|posting| self.sees(posting.slot, filter)));
            visible
        };
        let weight = bm25.weight(list.len());
        for posting in list {
            let score = &mut scores[posting.slot as usize];
            if *score == 0.0 {
                touched.push(posting.slot);
            }
            *score += bm25.score(weight, posting.frequency, self.lengths[posting.slot as usize]);
        }
    }

    fn take_top(&self, scratch: &mut Scratch, k: usize) -> Vec<Scored> {
        let mut top = Top::new(k);
        for slot in scratch.touched.drain(..) {
            let score = std::mem::take(&mut scratch.scores[slot as usize]);
            if top.admits(score) {
                let key = self.documents[slot as usize].key;
                top.offer(Scored { key, score });
            }
        }
        top.into_sorted()
    }

    fn sees_all(&self, filter: Filter) -> bool {
        self.deaths == 0 && filter.revision >= self.last_birth && self.kinds & !filter.kinds == 0
    }

    fn sees(&self, slot: u32, filter: Filter) -> bool {
        let document = &self.documents[slot as usize];
        document.birth <= filter.revision
            && filter.revision < document.death
            && filter.kinds & (1 << document.kind) != 0
    }
}
