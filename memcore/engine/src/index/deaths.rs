//! Which documents of a part are dead since when, apart from the part itself: parts are shared between banks and
//! never change, deaths belong to one bank.
//!
//! A clone takes constant time and shares everything; what is written after it is copied in small blocks.

use std::sync::Arc;

use hashbrown::HashMap;

use super::KINDS;
use super::part::Facts;

/// Death of what lives.
pub(super) const NEVER: u64 = u64::MAX;

/// Values that are copied together.
const BLOCK: usize = if cfg!(test) { 4 } else { 256 };

/// Changed counts that are kept apart from the rest, so that a clone's first writes copy little.
const FRESH: usize = if cfg!(test) { 4 } else { 256 };

/// A sparse vector that clones in constant time.
#[derive(Clone)]
struct Blocks<T> {
    absent: T,
    blocks: Arc<Vec<Option<Arc<[T; BLOCK]>>>>,
}

impl<T: Copy> Blocks<T> {
    fn new(absent: T) -> Self {
        Self { absent, blocks: Arc::default() }
    }

    #[inline]
    fn get(&self, place: usize) -> T {
        match self.blocks.get(place / BLOCK) {
            Some(Some(block)) => block[place % BLOCK],
            _ => self.absent,
        }
    }

    fn set(&mut self, place: usize, value: T) {
        let blocks = Arc::make_mut(&mut self.blocks);
        if blocks.len() <= place / BLOCK {
            blocks.resize(place / BLOCK + 1, None);
        }
        let block = blocks[place / BLOCK].get_or_insert_with(|| Arc::new([self.absent; BLOCK]));
        Arc::make_mut(block)[place % BLOCK] = value;
    }
}

/// How many dead documents hold a term, of terms that at least one holds.
type Counts = HashMap<Box<str>, u32>;

/// [`Counts`] in two layers: `fresh` adds to `base` and is folded into it when it has grown.
#[derive(Clone, Default)]
struct DeadTerms {
    base: Arc<Counts>,
    fresh: Arc<Counts>,
}

impl DeadTerms {
    fn get(&self, term: &str) -> u32 {
        let of = |counts: &Counts| if counts.is_empty() { 0 } else { counts.get(term).copied().unwrap_or(0) };
        of(&self.base) + of(&self.fresh)
    }

    fn add(&mut self, term: &str, count: u32) {
        let fresh = Arc::make_mut(&mut self.fresh);
        match fresh.get_mut(term) {
            Some(already) => *already += count,
            None => drop(fresh.insert(term.into(), count)),
        }
        if fresh.len() > FRESH.max(self.base.len() / 8) {
            let base = Arc::make_mut(&mut self.base);
            for (term, count) in std::mem::take(fresh) {
                *base.entry(term).or_default() += count;
            }
        }
    }

    fn each(&self) -> impl Iterator<Item = (&str, u32)> {
        self.base.iter().chain(self.fresh.iter()).map(|(term, count)| (&**term, *count))
    }
}

/// The deaths in one part.
#[derive(Clone)]
pub(super) struct Deaths {
    of: Blocks<u64>,
    /// (death, document), in order of deaths.
    log: Blocks<(u64, u32)>,
    count: usize,
    postings: usize,
    terms: [DeadTerms; KINDS],
}

impl Default for Deaths {
    fn default() -> Self {
        Self {
            of: Blocks::new(NEVER),
            log: Blocks::new((NEVER, 0)),
            count: 0,
            postings: 0,
            terms: Default::default(),
        }
    }
}

impl Deaths {
    /// Death of a document.
    #[inline]
    pub(super) fn of(&self, document: u32) -> u64 {
        if self.count == 0 { NEVER } else { self.of.get(document as usize) }
    }

    /// Dead documents.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Postings of dead documents.
    pub(super) fn postings(&self) -> usize {
        self.postings
    }

    /// Documents that hold the term and are dead at the newest revision.
    pub(super) fn holders(&self, kind: u8, term: &str) -> usize {
        self.terms[usize::from(kind)].get(term) as usize
    }

    /// Records a death that is no older than the others, without its terms.
    pub(super) fn stamp(&mut self, document: u32, death: u64) {
        debug_assert_eq!(self.of(document), NEVER, "document {document} is dead already");
        debug_assert!(self.newest().is_none_or(|(newest, _)| newest <= death), "deaths come in order");
        self.of.set(document as usize, death);
        self.log.set(self.count, (death, document));
        self.count += 1;
    }

    /// Counts dead postings of a term.
    pub(super) fn bury(&mut self, kind: u8, term: &str, holders: u32) {
        self.terms[usize::from(kind)].add(term, holders);
        self.postings += holders as usize;
    }

    /// Documents that died after `revision`, newest death first.
    pub(super) fn after(&self, revision: u64) -> impl Iterator<Item = u32> {
        let newest_first = (0..self.count).rev().map(|place| self.log.get(place));
        newest_first.take_while(move |(death, _)| *death > revision).map(|(_, document)| document)
    }

    /// (death, document), in order of deaths.
    pub(super) fn log(&self) -> impl Iterator<Item = (u64, u32)> {
        (0..self.count).map(|place| self.log.get(place))
    }

    /// Dead postings as (kind, term, holders); a term may come in two pieces.
    pub(super) fn terms(&self) -> impl Iterator<Item = (u8, &str, u32)> {
        let kinds = self.terms.iter().enumerate();
        kinds.flat_map(|(kind, terms)| terms.each().map(move |(term, count)| (kind as u8, term, count)))
    }

    /// Whether a search at `revision` sees the document, as far as births and deaths go.
    #[inline]
    pub(super) fn spare(&self, facts: &Facts, document: u32, revision: u64) -> bool {
        facts.births[document as usize] <= revision && revision < self.of(document)
    }

    fn newest(&self) -> Option<(u64, u32)> {
        self.count.checked_sub(1).map(|place| self.log.get(place))
    }
}
