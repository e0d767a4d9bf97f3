//! What a memory's neighbours and its date add to its score.
//!
//! A memory that says little by itself is often found by the one before or after it: an answer by its question. A
//! neighbour is the nearest memory by id that the query may find, if both happened at the same time; without that
//! rule strangers would help each other. Measured by `evals store`.

use super::dates::Dates;
use super::fusion::Candidate;
use crate::index::Slot;

/// The memories before and after a candidate, as a search sees them.
pub(super) type Neighbours = [Option<(u64, Slot)>; 2];

/// Adds to each candidate `weight` times the better of its neighbours' scores. `neighbours` are the candidates' own,
/// in their order; a neighbour that is no candidate adds nothing.
pub(super) fn add_context(candidates: &mut [Candidate], neighbours: &[Neighbours], weight: f64) {
    let mut scores: Vec<(Slot, f64)> =
        candidates.iter().map(|candidate| (candidate.slot, candidate.score)).collect();
    scores.sort_unstable_by_key(|(slot, _)| *slot);
    let score =
        |slot: Slot| scores.binary_search_by_key(&slot, |(slot, _)| *slot).map_or(0.0, |at| scores[at].1);
    for (candidate, neighbours) in candidates.iter_mut().zip(neighbours) {
        let best = neighbours.iter().flatten().map(|(_, slot)| score(*slot)).fold(0.0, f64::max);
        candidate.context_part = weight * best;
        candidate.score += candidate.context_part;
    }
}

/// Adds `weight` for each candidate whose event time fits the query's dates. `unit` is what a good score is.
pub(super) fn add_dates<'a>(
    candidates: &mut [Candidate],
    dates: &Dates,
    event_time: impl Fn(&Candidate) -> &'a str,
    weight: f64,
    unit: f64,
) {
    for candidate in candidates {
        candidate.date_part = weight * unit * dates.fit(event_time(candidate));
        candidate.score += candidate.date_part;
    }
}
