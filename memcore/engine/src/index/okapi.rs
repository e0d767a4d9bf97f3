//! The average idf that `BM25Okapi` of rank_bm25 0.2.2 falls back on: over all terms that visible documents of the
//! searched kinds hold, with `idf = ln(N - n + 0.5) - ln(n + 0.5)`.
//!
//! There are few different document frequencies, so terms are counted by them first. The last average is kept.

use std::collections::{BTreeMap, HashMap};

use super::scorer::{KINDS, Scorer};
use super::{Index, Query};

/// State of an index and kinds, and the average they have.
pub(super) type Known = Option<((u64, u64, u8), f64)>;

/// Average idf of what the query sees.
pub(super) fn average_idf(index: &Index, query: &Query, scorer: &Scorer) -> f64 {
    let state = (index.changes, query.filter.revision, query.filter.kinds);
    if let Some((_, average)) = index.average_idf.lock().filter(|(known, _)| *known == state) {
        return average;
    }
    let (mut sum, mut terms) = (0.0, 0);
    for (holders, count) in histogram(index, query) {
        sum += scorer.signed_idf(holders) * f64::from(count);
        terms += count;
    }
    let average = if terms == 0 { 0.0 } else { sum / f64::from(terms) };
    *index.average_idf.lock() = Some((state, average));
    average
}

/// How many terms have how many visible holders.
fn histogram(index: &Index, query: &Query) -> BTreeMap<usize, u32> {
    let mut terms: HashMap<Box<str>, usize> = HashMap::new();
    for part in &index.parts {
        for kind in (0..KINDS as u8).filter(|kind| query.filter.kinds & (1 << kind) != 0) {
            part.each(kind, |term, list| {
                let holders = part.holders(kind, term, &list, query.filter.revision);
                match terms.get_mut(term) {
                    Some(sum) => *sum += holders,
                    None => drop(terms.insert(term.into(), holders)),
                }
            });
        }
    }
    let mut histogram = BTreeMap::new();
    for holders in terms.into_values().filter(|holders| *holders > 0) {
        *histogram.entry(holders).or_default() += 1;
    }
    histogram
}
