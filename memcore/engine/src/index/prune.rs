//! The best documents of long lists without reading all of them: Turtle and Flood's MaxScore, "Query Evaluation:
//! Strategies and Optimizations" (1995), a list at a time.
//!
//! Lists go in falling order of the most a document can gain from them. A document met first in list j can gain
//! nothing from the lists before, so its score is at most its gain there plus the bounds of the lists behind; once
//! that is below the worst of the best, the rest of the lists is not read. What passes gets its exact score.

use super::search::{Entry, Plan, Shelf};
use super::top::Top;

/// Of the sum of all bounds: what rounding may take from a bound.
const ROUNDING: f64 = 1e-9;

/// Of a part's documents: postings that may be read or looked up before reading everything is the faster way.
const SHARE: usize = if cfg!(test) { 1 } else { 64 };

/// A list in its place by bounds.
struct Ranked<'a, 'i> {
    /// Place in the query.
    place: usize,
    entry: &'a Entry<'i>,
    bound: f64,
    /// Sum of the bounds of the lists behind.
    rest: f64,
    cursor: usize,
}

/// Offers the shelf's best documents; false, with `top` as it was, if reading everything is the faster way.
pub(super) fn search<'i>(plan: &Plan<'i>, shelf: &Shelf<'i>, top: &mut Top) -> bool {
    let mut walk = Walk::new(plan, shelf);
    let before = top.clone();
    for current in 0..walk.lists.len() {
        if walk.falls_short(walk.lists[current].bound + walk.lists[current].rest, top) {
            break;
        }
        walk.lists.iter_mut().for_each(|list| list.cursor = 0);
        if walk.spend(walk.lists[current].entry.list.postings) || !walk.read(current, top) {
            *top = before;
            return false;
        }
    }
    true
}

struct Walk<'a, 'i> {
    plan: &'a Plan<'i>,
    shelf: &'a Shelf<'i>,
    lengths: &'a [u32],
    lists: Vec<Ranked<'a, 'i>>,
    slack: f64,
    /// Postings left to read or look up.
    budget: usize,
    /// The document's frequencies, in the order of the query.
    found: Vec<u32>,
}

impl<'a, 'i> Walk<'a, 'i> {
    fn new(plan: &'a Plan<'i>, shelf: &'a Shelf<'i>) -> Self {
        let lengths = &shelf.part.facts().lengths[..];
        let ranked = shelf.entries.iter().enumerate().map(|(place, entry)| {
            let bound = entry.list.bound(&plan.scorer, entry.weight);
            Ranked { place, entry, bound, rest: 0.0, cursor: 0 }
        });
        let mut lists: Vec<Ranked> = ranked.collect();
        lists.sort_by(|left, right| right.bound.total_cmp(&left.bound));
        let total = lists.iter_mut().rev().fold(0.0, |rest, list| {
            list.rest = rest;
            rest + list.bound
        });
        let found = vec![0; lists.len()];
        let budget = lengths.len() / SHARE;
        Self { plan, shelf, lengths, lists, slack: total * ROUNDING, budget, found }
    }

    fn falls_short(&self, bound: f64, top: &Top) -> bool {
        bound + self.slack < top.bar()
    }

    /// Whether that is more than is left.
    fn spend(&mut self, postings: usize) -> bool {
        let left = self.budget.checked_sub(postings);
        self.budget = left.unwrap_or(0);
        left.is_none()
    }

    /// Meets the documents of one list; false if the budget is spent.
    fn read(&mut self, current: usize, top: &mut Top) -> bool {
        let (entry, rest) = (self.lists[current].entry, self.lists[current].rest);
        let columns = entry.list.columns();
        for (document, frequency) in columns.iter() {
            let length = self.lengths[document as usize];
            let gain = self.plan.scorer.gain(entry.weight, frequency, length);
            if self.falls_short(gain + rest, top) {
                continue;
            }
            self.meet(current, document, (frequency, gain), top);
            if self.budget == 0 {
                return false;
            }
        }
        true
    }

    /// Scores a document unless it falls short on the way or was met before.
    fn meet(&mut self, current: usize, document: u32, (frequency, gain): (u32, f64), top: &mut Top) {
        let length = self.lengths[document as usize];
        let mut bound = gain + self.lists[current].rest;
        self.found[self.lists[current].place] = frequency;
        for next in current + 1..self.lists.len() {
            let frequency = self.look_up(next, document);
            let list = &self.lists[next];
            bound -= list.bound;
            if frequency > 0 {
                bound += self.plan.scorer.gain(list.entry.weight, frequency, length);
            }
            if self.falls_short(bound, top) {
                return;
            }
        }
        for previous in 0..current {
            if self.look_up(previous, document) > 0 {
                return;
            }
        }
        let entries = self.shelf.entries.iter().zip(&self.found).filter(|(_, found)| **found > 0);
        let score = entries
            .fold(0.0, |sum, (entry, found)| sum + self.plan.scorer.gain(entry.weight, *found, length));
        self.plan.offer(self.shelf, document, score, top);
    }

    /// Frequency of a list's term in a document; documents come in ascending order.
    fn look_up(&mut self, place: usize, document: u32) -> u32 {
        self.spend(1);
        let list = &mut self.lists[place];
        let frequency = match list.entry.list.dense {
            Some(dense) => dense.get(document as usize).copied().map_or(0, u32::from),
            None => {
                let columns = list.entry.list.columns();
                list.cursor = gallop(&columns.documents, list.cursor, document);
                let met = columns.documents.get(list.cursor) == Some(&document);
                if met { columns.frequencies[list.cursor] } else { 0 }
            }
        };
        self.found[list.place] = frequency;
        frequency
    }
}

/// First place from `start` on whose document is not below `document`.
fn gallop(documents: &[u32], start: usize, document: u32) -> usize {
    let mut step = 1;
    let mut low = start;
    while low + step < documents.len() && documents[low + step] < document {
        low += step;
        step *= 2;
    }
    let high = documents.len().min(low + step + 1);
    low + documents[low..high].partition_point(|other| *other < document)
}
