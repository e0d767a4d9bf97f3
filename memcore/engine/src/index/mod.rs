//! Exact BM25 over documents that come and go, as of any revision that is still kept.
//!
//! A document is never changed: it is born at one revision and dies at another, and a search at revision R sees
//! those with `birth <= R < death`. Statistics are always those of the visible documents, so ranking never depends
//! on what is dead, not yet published, of another kind or filtered out, nor on where a document lies.
//!
//! Documents lie in parts: a tail in RAM that takes every write, and behind it sealed parts that never change and
//! may be shared. Deaths are kept apart from both. One writer at a time (`&mut`), any number of readers (`&`); the
//! caller's lock sees to it, and is not held while a part is sealed or merged ([`Frozen`], [`Merge`]).

pub mod bundle;
mod deaths;
mod list;
mod merge;
mod okapi;
mod part;
mod prune;
mod scorer;
mod sealed;
mod search;
mod tail;
#[cfg(test)]
mod tests;
mod top;

use std::sync::Arc;

use parking_lot::Mutex;

use crate::text::Terms;
pub use merge::{Frozen, Merge, Merged};
use part::{Part, Words};
pub use scorer::{KINDS, Scoring, Stats};
pub use sealed::{Document, Sealed};
use search::Plan;
pub use search::TermScore;
use tail::Tail;
pub use top::Scored;

/// Dead postings that are not worth a compaction.
const COMPACTION_FLOOR: usize = 4096;

/// Where a document is: a part's number, and the document's number in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u64);

impl Slot {
    pub fn new(part: u32, document: u32) -> Self {
        Self(u64::from(part) << 32 | u64::from(document))
    }

    pub fn part(self) -> u32 {
        (self.0 >> 32) as u32
    }

    pub fn document(self) -> u32 {
        self.0 as u32
    }
}

/// Which documents a search may find.
#[derive(Clone, Copy)]
pub struct Filter<'a> {
    /// Bit k is set if kind k is searched.
    pub kinds: u8,
    pub revision: u64,
    /// What else a document must pass; asked only for documents that would be found. Changes no score.
    pub allowed: Option<&'a dyn Fn(Slot) -> bool>,
}

/// What is searched for.
#[derive(Clone, Copy)]
pub struct Query<'a> {
    /// Distinct terms, with their numbers of occurrences.
    pub terms: &'a [(Box<str>, u32)],
    pub filter: Filter<'a>,
    pub scoring: Scoring,
    /// Of the documents visible at the filter's revision.
    pub stats: &'a Stats,
}

/// Where a document went when parts were compacted or merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moved {
    pub key: u64,
    pub old_slot: Slot,
    pub new_slot: Slot,
}

/// The index of one bank.
pub struct Index {
    /// Oldest first; the last is the tail.
    parts: Vec<Part>,
    next_number: u32,
    /// Inserts and deaths so far.
    changes: u64,
    average_idf: Mutex<okapi::Known>,
}

impl Default for Index {
    fn default() -> Self {
        let mut index = Self { parts: Vec::new(), next_number: 0, changes: 0, average_idf: Mutex::default() };
        index.start_tail();
        index
    }
}

impl Index {
    /// Adds a document, visible from revision `birth` on; returns its slot, by which it is killed.
    ///
    /// Births and deaths never go back.
    pub fn insert(&mut self, key: u64, kind: u8, terms: &Terms, birth: u64) -> Slot {
        assert!(usize::from(kind) < KINDS, "kind must be below {KINDS}, not {kind}");
        self.changes += 1;
        let part = self.tail();
        let document = growing(part).insert(key, kind, birth, terms);
        Slot::new(part.number, document)
    }

    /// Hides a living document from revision `death` on. `terms` is asked for the document's terms if it is sealed.
    pub fn kill(&mut self, slot: Slot, death: u64, terms: impl FnOnce() -> Terms) {
        self.changes += 1;
        // The youngest are killed most.
        let part = self.parts.iter_mut().rev().find(|part| part.number == slot.part());
        debug_assert!(part.is_some(), "no part has {slot:?}");
        if let Some(part) = part {
            part.kill(slot.document(), death, terms);
        }
    }

    /// The best `k` documents that hold at least one of the terms, best first, equal scores in order of keys.
    pub fn search(&self, query: &Query, k: usize) -> Vec<Scored> {
        Plan::new(self, query).map_or_else(Vec::new, |plan| plan.search(k))
    }

    /// What a search would find documents with: `None` for one that it would not find.
    pub fn score_of(&self, query: &Query, slots: &[Slot]) -> Vec<Option<f64>> {
        Plan::new(self, query).map_or_else(|| vec![None; slots.len()], |plan| plan.score_of(slots))
    }

    /// What each term adds to a document's score, which is their sum in this order; empty for a document that no
    /// search could find.
    pub fn explain(&self, query: &Query, slot: Slot) -> Vec<TermScore> {
        Plan::new(self, query).map_or_else(Vec::new, |plan| plan.explain(slot))
    }

    /// A document's key.
    pub fn key(&self, slot: Slot) -> u64 {
        self.part(slot.part()).map_or(u64::MAX, |part| part.facts().keys[slot.document() as usize])
    }

    /// Whether a search with that filter could find a document.
    pub fn sees(&self, slot: Slot, filter: &Filter) -> bool {
        self.part(slot.part()).is_some_and(|part| {
            let kind = part.facts().kinds[slot.document() as usize];
            filter.kinds & (1 << kind) != 0 && part.shows(slot.document(), filter).is_some()
        })
    }

    fn part(&self, number: u32) -> Option<&Part> {
        self.parts.iter().rev().find(|part| part.number == number)
    }

    /// The tail's part number.
    pub fn tail_number(&self) -> u32 {
        self.parts.last().map_or(0, |tail| tail.number)
    }

    /// Documents in the tail, dead ones among them.
    pub fn tail_documents(&self) -> usize {
        self.parts.last().map_or(0, |tail| tail.facts().len())
    }

    /// Whether the tail's dead documents take more room than its living ones, and enough to matter.
    pub fn needs_compaction(&self) -> bool {
        self.parts
            .last()
            .is_some_and(|tail| tail.deaths.postings() > tail.living_postings().max(COMPACTION_FLOOR))
    }

    /// Drops what no search at revision `visible_from` or later can see from the tail; returns where its other
    /// documents went.
    ///
    /// Documents keep their order. Searches before `visible_from` are wrong from then on.
    pub fn compact(&mut self, visible_from: u64) -> Vec<Moved> {
        let mut moved = Vec::new();
        let new = Part::new(self.tail().number, Words::Tail(Arc::default()));
        let old = std::mem::replace(self.tail(), new);
        let (facts, forward) = (old.facts(), old.forward());
        let mut places = vec![None; facts.len()];
        for (document, place) in places.iter_mut().enumerate() {
            if old.deaths.of(document as u32) <= visible_from {
                continue;
            }
            let (key, kind, birth) = (facts.keys[document], facts.kinds[document], facts.births[document]);
            let (length, terms) = (facts.lengths[document], forward.terms(document));
            let new = growing(self.tail()).add(key, kind, birth, length, terms);
            let number = old.number;
            let (old_slot, new_slot) = (Slot::new(number, document as u32), Slot::new(number, new));
            moved.push(Moved { key, old_slot, new_slot });
            *place = Some(new);
        }
        for (death, document) in old.deaths.log() {
            if let Some(place) = places[document as usize] {
                self.tail().kill(place, death, Terms::default);
            }
        }
        moved
    }

    /// Takes over a sealed part from a bundle with the deaths in it, as (document, death). Parts come oldest first,
    /// under the numbers they had, before anything is inserted.
    pub fn adopt(&mut self, number: u32, sealed: Arc<Sealed>, deaths: &[(u32, u64)]) {
        assert_eq!(self.tail_documents(), 0, "parts are adopted before anything is inserted");
        self.next_number = self.next_number.max(number + 1);
        self.parts.pop();
        let mut part = Part::new(number, Words::Sealed(sealed));
        part.bury_all(deaths);
        self.parts.push(part);
        self.start_tail();
    }

    fn tail(&mut self) -> &mut Part {
        let last = self.parts.len() - 1;
        &mut self.parts[last]
    }

    fn start_tail(&mut self) {
        let number = self.take_number();
        self.parts.push(Part::new(number, Words::Tail(Arc::default())));
    }

    fn take_number(&mut self) -> u32 {
        self.next_number += 1;
        self.next_number - 1
    }
}

/// The tail behind the last part.
fn growing(part: &mut Part) -> &mut Tail {
    match &mut part.words {
        Words::Tail(tail) => Arc::make_mut(tail),
        Words::Sealed(_) => unreachable!("the last part is the tail"),
    }
}
