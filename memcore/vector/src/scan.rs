//! Exact search: all codes are read, and the few rows that may matter are scored.

use crate::bits::ones;
use crate::candidates::Candidates;
use crate::kernels::LANES;
use crate::part::{Part, Wanted};
use crate::query::Query;

/// Rows of a block that are worth reading all 64.
const DENSE: u32 = 24;

/// Leaves in `candidates` what may be among the best of the wanted documents.
pub(crate) fn scan(part: &Part, query: &Query, wanted: &Wanted, candidates: &mut Candidates) {
    for (block, word) in wanted.blocks() {
        if word.count_ones() >= DENSE {
            scan_block(part, query, block, word, candidates);
        } else {
            offer_each(part, query, ones(word).map(|lane| (block * LANES + lane) as u32), candidates);
        }
    }
}

/// Offers documents by their codes, one by one.
pub(crate) fn offer_each(
    part: &Part,
    query: &Query,
    docs: impl Iterator<Item = u32>,
    candidates: &mut Candidates,
) {
    let (bound, kernels) = (query.bound(), query.kernels());
    for doc in docs {
        let dot = (kernels.dot_i8)(part.codes_of(doc), query.codes());
        candidates.offer(doc, bound.around(dot, part.quantized[doc as usize]));
    }
}

fn scan_block(part: &Part, query: &Query, block: usize, word: u64, candidates: &mut Candidates) {
    let first = block * LANES;
    let lanes = LANES.min(part.quantized.len() - first);
    let mut dots = [0i32; LANES];
    let rows = &part.codes[first * part.stride..][..lanes * part.stride];
    (query.kernels().dots_i8)(rows, query.codes(), &mut dots[..lanes]);
    let (bound, quantized) = (query.bound(), &part.quantized[first..][..lanes]);
    let reach = (query.kernels().reach_bound)(&dots[..lanes], quantized, &bound, candidates.bar());
    for lane in ones(reach & word) {
        candidates.offer((first + lane) as u32, bound.around(dots[lane], quantized[lane]));
    }
}
