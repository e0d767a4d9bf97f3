//! One part of a bank, growing or sealed, and the search over it.

use std::cell::RefCell;

use crate::bits::{BitSet, holds};
use crate::bytes::bytes_of;
use crate::candidates::Candidates;
use crate::graph::Graph;
use crate::prefilter::{MARGIN, Prefilter};
use crate::quantize::Quantized;
use crate::query::Query;
use crate::scan::{offer_each, scan};
use crate::signs::Signs;

/// Documents up to which a search reads all their codes: some 25 µs at 384 dimensions.
const EXACT_UP_TO: usize = 2_048;

/// A graph is walked if at least one in this many documents is wanted.
const GRAPH_SHARE: usize = 10;

/// More neighbours than this are searched exactly.
const MANY: usize = 1_000;

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    pub doc: u32,
    /// The cosine.
    pub score: f32,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Best first.
    pub hits: Vec<Hit>,
    /// Whether a better document may have been missed. The scores are exact in any case.
    pub approximate: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Equal to brute force, however long it takes.
    Exact,
    /// Exact over few documents; over many by sign codes or a graph, which find at least 99 of 100 neighbours.
    Auto,
}

/// A view of the vectors of one part.
#[derive(Clone, Copy)]
pub struct Part<'a> {
    pub(crate) dim: usize,
    /// Length of a row, padded.
    pub(crate) stride: usize,
    pub(crate) len: usize,
    /// Which documents have a vector. The others' rows, codes and quantization may be missing at the end.
    pub(crate) present: &'a [u64],
    pub(crate) rows: &'a [f32],
    pub(crate) codes: &'a [i8],
    pub(crate) quantized: &'a [Quantized],
    pub(crate) signs: Option<Signs<'a>>,
    pub(crate) graph: Option<&'a Graph>,
}

/// Documents that have a vector and are allowed.
pub(crate) struct Wanted<'a> {
    present: &'a [u64],
    allowed: Option<&'a [u64]>,
    pub(crate) count: usize,
}

impl<'a> Wanted<'a> {
    pub(crate) fn new(present: &'a [u64], allowed: Option<&'a BitSet>) -> Self {
        let mut wanted = Self { present, allowed: allowed.map(BitSet::words), count: 0 };
        wanted.count = wanted.blocks().map(|(_, word)| word.count_ones() as usize).sum();
        wanted
    }

    fn word(&self, block: usize) -> u64 {
        let allowed = self.allowed.map_or(!0, |words| words.get(block).copied().unwrap_or(0));
        self.present[block] & allowed
    }

    /// Blocks of 64 documents of which at least one is wanted.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = (usize, u64)> {
        (0..self.present.len()).map(|block| (block, self.word(block))).filter(|(_, word)| *word != 0)
    }

    /// What tells wanted documents from others among those that have a vector, if anything does.
    fn filter(&self) -> Option<impl Fn(u32) -> bool + use<'a>> {
        self.allowed.map(|words| move |doc| holds(words, doc))
    }
}

/// Working memory of a thread's searches.
#[derive(Default)]
struct Scratch {
    candidates: Candidates,
    prefilter: Prefilter,
    ranked: Vec<(f32, u64, u32)>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl<'a> Part<'a> {
    /// How many documents there are, with a vector or without.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many documents have a vector.
    pub fn count(&self) -> usize {
        self.present.iter().map(|word| word.count_ones() as usize).sum()
    }

    pub fn has(&self, doc: u32) -> bool {
        holds(self.present, doc)
    }

    pub fn get(&self, doc: u32) -> Option<&'a [f32]> {
        self.has(doc).then(|| &self.row(doc)[..self.dim])
    }

    /// The score that a hit would have.
    ///
    /// # Panics
    /// If the query's dimension is not this part's.
    pub fn score(&self, doc: u32, query: &Query) -> Option<f32> {
        self.check(query);
        self.has(doc).then(|| (query.kernels().dot_f32)(self.row(doc), query.row()))
    }

    /// The best `k` of the documents that have a vector and are in `allowed`, best first, equal scores in order of
    /// `key`, which is asked for a few documents only.
    ///
    /// # Panics
    /// If the query's dimension is not this part's, or `key` searches.
    pub fn search(
        &self,
        query: &Query,
        k: usize,
        allowed: Option<&BitSet>,
        mode: Mode,
        key: impl Fn(u32) -> u64,
    ) -> Found {
        self.search_above(query, (k, f32::NEG_INFINITY), allowed, mode, key)
    }

    /// [`Self::search`], less the hits whose score is below a floor, which cost less the higher it is.
    pub fn search_above(
        &self,
        query: &Query,
        (k, floor): (usize, f32),
        allowed: Option<&BitSet>,
        mode: Mode,
        key: impl Fn(u32) -> u64,
    ) -> Found {
        self.check(query);
        let wanted = Wanted::new(self.present, allowed);
        let k = k.min(wanted.count);
        if k == 0 {
            return Found { hits: Vec::new(), approximate: false };
        }
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.candidates.reset(k, floor);
            let approximate = mode == Mode::Auto && self.approximate(query, (k, floor), &wanted, scratch);
            if !approximate {
                scan(self, query, &wanted, &mut scratch.candidates);
            }
            Found { hits: self.rank(query, (k, floor), scratch, key), approximate }
        })
    }

    /// Fills the candidates without reading everything, where that is worth it.
    fn approximate(
        &self,
        query: &Query,
        (k, floor): (usize, f32),
        wanted: &Wanted,
        scratch: &mut Scratch,
    ) -> bool {
        if wanted.count <= EXACT_UP_TO || k > MANY {
            return false;
        }
        if let Some(graph) = self.graph
            && wanted.count * GRAPH_SHARE >= self.len
            && let Some(docs) = graph.near(query, k, wanted.filter())
        {
            offer_each(self, query, docs, &mut scratch.candidates);
            if scratch.candidates.len() >= k {
                return true;
            }
            scratch.candidates.reset(k, floor);
        }
        let Some(signs) = &self.signs else {
            return false;
        };
        scratch.prefilter.offer(self, signs, (query, k, MARGIN), wanted, &mut scratch.candidates);
        true
    }

    /// Scores what is left by its rows, the most promising first, until no other can be among the best.
    fn rank(
        &self,
        query: &Query,
        (k, floor): (usize, f32),
        scratch: &mut Scratch,
        key: impl Fn(u32) -> u64,
    ) -> Vec<Hit> {
        let (candidates, best) = scratch.candidates.finish(k, floor);
        let (ranked, kernels) = (&mut scratch.ranked, query.kernels());
        ranked.clear();
        for (nth, candidate) in candidates.iter().enumerate() {
            if candidate.upper < best.bar() {
                break;
            }
            if let Some(next) = candidates.get(nth + 1) {
                (kernels.prefetch)(bytes_of(self.row(next.doc)));
            }
            let score = (kernels.dot_f32)(self.row(candidate.doc), query.row());
            if score >= best.bar() {
                best.offer(score);
                ranked.push((score, key(candidate.doc), candidate.doc));
            }
        }
        ranked.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)).then(a.2.cmp(&b.2)));
        ranked.iter().take(k).map(|(score, _, doc)| Hit { doc: *doc, score: *score }).collect()
    }

    fn check(&self, query: &Query) {
        assert_eq!(query.dim(), self.dim, "the query's dimension must be the part's");
    }

    pub(crate) fn row(&self, doc: u32) -> &'a [f32] {
        &self.rows[doc as usize * self.stride..][..self.stride]
    }

    pub(crate) fn codes_of(&self, doc: u32) -> &'a [i8] {
        &self.codes[doc as usize * self.stride..][..self.stride]
    }
}
