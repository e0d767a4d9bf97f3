//! A search: which lists it reads, what their terms weigh, and how documents get their scores.
//!
//! Statistics first, over all parts, then the parts one after the other into one [`Top`]. A document's score is the
//! sum of its terms' gains in the order of the query, however it is reached, so that it has the same bits in a small
//! bank, a pruned list or an explanation.

use std::cell::RefCell;

use memcore_vector::Kernels;

use super::list::List;
use super::okapi::average_idf;
use super::part::Part;
use super::prune;
use super::scorer::{KINDS, Scorer, Scoring};
use super::top::{Scored, Top};
use super::{Index, Query, Slot};

/// Documents whose scores are summed together, so that they stay in the nearest cache.
const WINDOW: usize = if cfg!(test) { 16 } else { 2048 };

/// Sums that are compared with the bar together.
const STRIDE: usize = if cfg!(test) { 4 } else { 64 };

/// Documents below which reading everything is faster than choosing.
const FEW: usize = if cfg!(test) { 8 } else { 2048 };

/// What one term of a query adds to a document's score.
#[derive(Debug, Clone, PartialEq)]
pub struct TermScore {
    pub term: Box<str>,
    /// Visible documents that hold the term.
    pub holders: usize,
    /// Its occurrences in this document.
    pub frequency: u32,
    /// What the term weighs before the document's frequency and length.
    pub weight: f64,
    pub score: f64,
}

/// A query prepared for one state of an index.
pub(super) struct Plan<'a> {
    query: &'a Query<'a>,
    pub(super) scorer: Scorer,
    terms: Vec<TermPlan>,
    shelves: Vec<Shelf<'a>>,
}

#[derive(Clone, Copy, Default)]
struct TermPlan {
    holders: usize,
    weight: f64,
}

/// The query's lists of one kind in one part.
pub(super) struct Shelf<'a> {
    pub(super) part: &'a Part,
    kind: u8,
    pub(super) entries: Vec<Entry<'a>>,
}

/// A list that the part has, in order of the query's terms.
pub(super) struct Entry<'a> {
    term: usize,
    pub(super) weight: f64,
    pub(super) list: List<'a>,
}

impl<'a> Plan<'a> {
    /// `None` if nothing can be found.
    pub(super) fn new(index: &'a Index, query: &'a Query<'a>) -> Option<Self> {
        let scorer = Scorer::new(query.scoring, query.stats, query.filter.kinds)?;
        let terms = vec![TermPlan::default(); query.terms.len()];
        let mut plan = Self { query, scorer, terms, shelves: Vec::new() };
        for part in &index.parts {
            for kind in (0..KINDS as u8).filter(|kind| query.filter.kinds & (1 << kind) != 0) {
                plan.add_shelf(part, kind);
            }
        }
        plan.weigh(index);
        (!plan.shelves.is_empty()).then_some(plan)
    }

    fn add_shelf(&mut self, part: &'a Part, kind: u8) {
        let mut entries = Vec::new();
        for (place, (term, _)) in self.query.terms.iter().enumerate() {
            let Some(list) = part.list(kind, term) else { continue };
            let holders = part.holders(kind, term, &list, self.query.filter.revision);
            if holders > 0 {
                self.terms[place].holders += holders;
                entries.push(Entry { term: place, weight: 0.0, list });
            }
        }
        if !entries.is_empty() {
            self.shelves.push(Shelf { part, kind, entries });
        }
    }

    fn weigh(&mut self, index: &Index) {
        for place in 0..self.terms.len() {
            let holders = self.terms[place].holders;
            let weight = match self.query.scoring {
                Scoring::Bm25 { .. } => self.scorer.weight(holders),
                Scoring::Okapi { epsilon, .. } => {
                    let idf = self.scorer.signed_idf(holders);
                    let floored = || epsilon * average_idf(index, self.query, &self.scorer);
                    let idf = if idf < 0.0 { floored() } else { idf };
                    self.scorer.repeated(idf, self.query.terms[place].1)
                }
            };
            self.terms[place].weight = weight;
        }
        let entries = self.shelves.iter_mut().flat_map(|shelf| &mut shelf.entries);
        entries.for_each(|entry| entry.weight = self.terms[entry.term].weight);
    }

    /// The best `k` documents.
    pub(super) fn search(&self, k: usize) -> Vec<Scored> {
        let mut top = Top::new(k);
        for shelf in &self.shelves {
            if shelf.entries.iter().any(|entry| entry.weight <= 0.0) {
                self.read_unbounded(shelf, &mut top);
            } else if shelf.part.facts().len() < FEW || !prune::search(self, shelf, &mut top) {
                self.read_all(shelf, &mut top);
            }
        }
        top.into_sorted()
    }

    /// A document's score, if it is of the shelf and holds a term.
    pub(super) fn total(&self, shelf: &Shelf, document: u32) -> Option<f64> {
        let length = shelf.part.facts().lengths[document as usize];
        shelf.entries.iter().fold(None, |sum, entry| match entry.list.frequency(document) {
            0 => sum,
            frequency => Some(sum.unwrap_or(0.0) + self.scorer.gain(entry.weight, frequency, length)),
        })
    }

    /// Offers a document that has earned its place, if the search sees it.
    pub(super) fn offer(&self, shelf: &Shelf, document: u32, score: f64, top: &mut Top) {
        if score >= top.bar()
            && let Some(slot) = shelf.part.shows(document, &self.query.filter)
        {
            top.offer(Scored { key: shelf.part.facts().keys[document as usize], slot, score });
        }
    }

    /// Where weights may be zero or below, a score says nothing about whether a document was met.
    fn read_unbounded(&self, shelf: &Shelf, top: &mut Top) {
        let lists = shelf.entries.iter().map(|entry| entry.list.columns());
        let mut met: Vec<u32> = lists.flat_map(|columns| columns.documents.iter().copied()).collect();
        met.sort_unstable();
        met.dedup();
        for document in met {
            if let Some(score) = self.total(shelf, document) {
                self.offer(shelf, document, score, top);
            }
        }
    }

    /// Sums all documents' scores in single precision, a window at a time; those that may be among the best get their
    /// exact scores.
    fn read_all(&self, shelf: &Shelf, top: &mut Top) {
        let lengths = &shelf.part.facts().lengths;
        let mut rough = Rough::new(shelf.entries.len(), top);
        let mut cursors = vec![0; shelf.entries.len()];
        let mut scratch = SCRATCH.take();
        for start in (0..lengths.len()).step_by(WINDOW) {
            let lengths = &lengths[start..lengths.len().min(start + WINDOW)];
            scratch.start(&self.scorer, lengths);
            for (entry, cursor) in shelf.entries.iter().zip(&mut cursors) {
                match entry.list.dense.filter(|_| self.scorer.norms_are_positive()) {
                    Some(dense) => scratch.add_dense(entry.weight, dense.get(start..).unwrap_or_default()),
                    None => *cursor += scratch.add_columns(entry, *cursor, start),
                }
            }
            for (nth, sums) in scratch.sums.chunks(STRIDE).enumerate() {
                if reaches(sums, rough.bar()) {
                    self.offer_rough(shelf, start + nth * STRIDE, sums, &mut rough);
                }
            }
        }
        SCRATCH.set(scratch);
        for slot in rough.finish() {
            if let Some(score) = self.total(shelf, slot.document()) {
                top.offer(Scored { key: shelf.part.facts().keys[slot.document() as usize], slot, score });
            }
        }
    }

    fn offer_rough(&self, shelf: &Shelf, first: usize, sums: &[f32], rough: &mut Rough) {
        let mut bar = rough.bar();
        for (place, sum) in sums.iter().enumerate() {
            let document = (first + place) as u32;
            if *sum >= bar
                && let Some(slot) = shelf.part.shows(document, &self.query.filter)
            {
                rough.offer(shelf.part.facts().keys[document as usize], slot, *sum);
                bar = rough.bar();
            }
        }
    }

    /// The scores of documents, each where a search with this query would find it.
    pub(super) fn score_of(&self, slots: &[Slot]) -> Vec<Option<f64>> {
        slots.iter().map(|slot| self.total(self.shelf(*slot)?, slot.document())).collect()
    }

    /// What each term adds, in the order of the query.
    pub(super) fn explain(&self, slot: Slot) -> Vec<TermScore> {
        let Some(shelf) = self.shelf(slot) else { return Vec::new() };
        let length = shelf.part.facts().lengths[slot.document() as usize];
        let explain = |(place, ((term, _), plan)): (usize, (&(Box<str>, u32), &TermPlan))| {
            let entry = shelf.entries.iter().find(|entry| entry.term == place);
            let frequency = entry.map_or(0, |entry| entry.list.frequency(slot.document()));
            let score = match frequency {
                0 => 0.0,
                _ => self.scorer.gain(plan.weight, frequency, length),
            };
            let (holders, weight) = (plan.holders, plan.weight);
            TermScore { term: term.clone(), holders, frequency, weight, score }
        };
        self.query.terms.iter().zip(&self.terms).enumerate().map(explain).collect()
    }

    /// The lists a visible document would be in.
    fn shelf(&self, slot: Slot) -> Option<&Shelf<'a>> {
        let document = slot.document() as usize;
        let shelf = self.shelves.iter().find(|shelf| {
            shelf.part.number == slot.part() && shelf.part.facts().kinds.get(document) == Some(&shelf.kind)
        })?;
        shelf.part.shows(slot.document(), &self.query.filter)?;
        Some(shelf)
    }
}

/// Documents that may be among the best, by sums in single precision.
///
/// With u = 2^-24, a gain is off by at most 7u of itself (weight, norm, and three operations; the norm has three
/// roundings), and adding n of them by at most n u more: together less than half of [`Self::slack`].
struct Rough {
    /// The best by what their scores are at least.
    least: Top,
    /// With what their scores are at most.
    candidates: Vec<(Slot, f64)>,
    slack: f64,
}

impl Rough {
    fn new(terms: usize, top: &Top) -> Self {
        let slack = (terms as f64 + 8.0) * f64::from(f32::EPSILON);
        Self { least: top.clone(), candidates: Vec::new(), slack }
    }

    /// A sum below this cannot enter. Above zero, which is the sum of a document without any of the terms.
    fn bar(&self) -> f32 {
        ((self.least.bar() * (1.0 - 2.0 * self.slack)) as f32).max(f32::MIN_POSITIVE)
    }

    fn offer(&mut self, key: u64, slot: Slot, sum: f32) {
        let sum = f64::from(sum);
        let most = sum * (1.0 + self.slack);
        if most >= self.least.bar() {
            self.candidates.push((slot, most));
            self.least.offer(Scored { key, slot, score: sum * (1.0 - self.slack) });
        }
    }

    fn finish(self) -> impl Iterator<Item = Slot> {
        let bar = self.least.bar();
        self.candidates.into_iter().filter(move |(_, most)| *most >= bar).map(|(slot, _)| slot)
    }
}

/// Working memory of a thread's searches.
#[derive(Default)]
struct Scratch {
    sums: Vec<f32>,
    norms: Vec<f32>,
}

impl Scratch {
    fn start(&mut self, scorer: &Scorer, lengths: &[u32]) {
        self.sums.clear();
        self.sums.resize(lengths.len(), 0.0);
        self.norms.clear();
        self.norms.extend(scorer.norms(lengths));
    }

    /// Absent terms add a zero, which costs less than to ask.
    fn add_dense(&mut self, weight: f64, dense: &[u8]) {
        let count = dense.len().min(self.sums.len());
        let (sums, norms) = (&mut self.sums[..count], &self.norms[..count]);
        (Kernels::best().saturate)(sums, &dense[..count], norms, weight as f32);
    }

    /// Adds what a list has from `cursor` on in the window that begins at `start`; returns how many postings.
    fn add_columns(&mut self, entry: &Entry, cursor: usize, start: usize) -> usize {
        let columns = entry.list.columns();
        let postings = columns.documents[cursor..].iter().zip(&columns.frequencies[cursor..]);
        let weight = entry.weight as f32;
        let mut read = 0;
        for (document, frequency) in postings {
            let place = *document as usize - start;
            let Some(sum) = self.sums.get_mut(place) else { break };
            let frequency = *frequency as f32;
            *sum += weight * frequency / (frequency + self.norms[place]);
            read += 1;
        }
        read
    }
}

/// Whether any sum reaches the bar; all are compared, as vector units do it.
fn reaches(sums: &[f32], bar: f32) -> bool {
    sums.iter().fold(false, |any, sum| any | (*sum >= bar))
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}
