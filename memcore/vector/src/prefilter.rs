//! Approximate search over many documents: all sign codes are read, then the eight-bit codes of those that look
//! best, then the rows of the few that may matter.
//!
//! How many look best depends on the data. A sum of levels is off from the score by a known spread, so all documents
//! are taken whose sum is within a margin of the k-th best sum: a few hundred where documents differ, and many where
//! signs can hardly tell them apart.

use crate::bits::ones;
use crate::bytes::bytes_of;
use crate::candidates::{Best, Candidates};
use crate::kernels::LANES;
use crate::part::{Part, Wanted};
use crate::query::Query;
use crate::scan::offer_each;
use crate::signs::{Signs, block_size};

/// How far below the k-th best sum documents are taken, in spreads of the error. On noise, which is the hardest, it
/// finds 99 of 100 neighbours.
pub(crate) const MARGIN: f32 = 3.0;

/// Rows asked for ahead of the one that is read.
const AHEAD: usize = 4;

/// Working memory.
#[derive(Debug, Default)]
pub(crate) struct Prefilter {
    table: Vec<u8>,
    /// Per block of wanted documents, 64 sums of levels.
    sums: Vec<[u16; LANES]>,
    best: Best,
    chosen: Vec<u32>,
}

impl Prefilter {
    /// Offers the documents whose sign codes are within `margin` of the k-th best.
    pub(crate) fn offer(
        &mut self,
        part: &Part,
        signs: &Signs,
        (query, k, margin): (&Query, usize, f32),
        wanted: &Wanted,
        candidates: &mut Candidates,
    ) {
        let spread = signs.table(query.rotated(), &mut self.table);
        self.best.reset(k, f32::NEG_INFINITY);
        self.sum(signs, query, wanted);
        self.choose(query, wanted, self.best.bar() - margin * spread);
        let (chosen, kernels) = (&self.chosen, query.kernels());
        let docs = chosen.iter().enumerate().map(|(nth, doc)| {
            if let Some(later) = chosen.get(nth + AHEAD) {
                (kernels.prefetch)(bytes_of(part.codes_of(*later)));
            }
            *doc
        });
        offer_each(part, query, docs, candidates);
    }

    fn sum(&mut self, signs: &Signs, query: &Query, wanted: &Wanted) {
        let (size, kernels) = (block_size(query.row().len()), query.kernels());
        self.sums.clear();
        let mut sums = [0; LANES];
        for (block, word) in wanted.blocks() {
            (kernels.signs)(&signs.blocks[block * size..][..size], &self.table, &mut sums);
            for lane in ones((kernels.reach_sum)(&sums, floor(self.best.bar())) & word) {
                self.best.offer(f32::from(sums[lane]));
            }
            self.sums.push(sums);
        }
    }

    fn choose(&mut self, query: &Query, wanted: &Wanted, bar: f32) {
        self.chosen.clear();
        for ((block, word), sums) in wanted.blocks().zip(&self.sums) {
            let reach = (query.kernels().reach_sum)(sums, floor(bar));
            self.chosen.extend(ones(reach & word).map(|lane| (block * LANES + lane) as u32));
        }
    }
}

fn floor(bar: f32) -> u16 {
    bar.max(0.0) as u16
}

#[cfg(test)]
mod tests {
    use super::{MARGIN, Prefilter};
    use crate::candidates::Candidates;
    use crate::data::{self, Shape};
    use crate::part::Wanted;
    use crate::signs::SignCodes;
    use crate::{Mode, Query, Vectors, normalized};

    /// The share of the ten nearest that are among the candidates, and the share of all that are.
    fn recall(vectors: &Vectors, queries: &[Query], margin: f32) -> (f64, f64) {
        let part = vectors.part();
        let codes = SignCodes::of(&part);
        let (mut prefilter, mut candidates) = (Prefilter::default(), Candidates::default());
        let (mut found, mut read) = (0, 0);
        for query in queries {
            candidates.reset(10, f32::NEG_INFINITY);
            let wanted = Wanted::new(part.present, None);
            prefilter.offer(&part, &codes.view(), (query, 10, margin), &wanted, &mut candidates);
            let exact = vectors.search(query, 10, None, Mode::Exact, u64::from);
            found += exact.hits.iter().filter(|hit| prefilter.chosen.contains(&hit.doc)).count();
            read += prefilter.chosen.len();
        }
        let all = queries.len() as f64;
        (found as f64 / (10.0 * all), read as f64 / (vectors.len() as f64 * all))
    }

    #[test]
    fn the_margin_is_what_finds_99_of_100_neighbours_of_noise() {
        let (rows, queries) = data::vectors(Shape::Noise, 4_000, 60, 128, 11);
        let mut vectors = Vectors::new(128).unwrap();
        for row in rows {
            vectors.push(Some(&normalized(&row, 128).unwrap())).unwrap();
        }
        let queries: Vec<_> = queries.iter().map(|query| Query::new(query, 128).unwrap()).collect();
        let (found, read) = recall(&vectors, &queries, MARGIN);
        assert!(found >= 0.99 && read < 0.35, "{found} by reading {read}");
        // Half of it is not enough, so the test can fail.
        assert!(recall(&vectors, &queries, MARGIN / 2.0).0 < 0.97);
    }
}
