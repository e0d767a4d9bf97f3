mod bundle;
mod history;
mod oracle;
mod parts;
mod peer;

use std::sync::Arc;

use super::bundle::{Bundle, OwnedBytes};
use super::{Filter, Frozen, Index, Query, Scored, Scoring, Sealed, Slot, Stats};
use crate::text::{Analyzer, Terms};

const ANALYZER: &str = "test/1";

const NOW: Filter = Filter { kinds: 0b1111, revision: 9, allowed: None };

fn terms(text: &str) -> Terms {
    Analyzer::new("none").unwrap().analyze(text)
}

/// An index with its statistics, all documents of kind 0 and born at revision 1.
fn index_of(documents: &[(u64, &str)]) -> (Index, Stats) {
    let (mut index, mut stats) = (Index::default(), Stats::default());
    for (key, text) in documents {
        index.insert(*key, 0, &terms(text), 1);
        stats.add(0, terms(text).length);
    }
    (index, stats)
}

fn ask(index: &Index, text: &str, filter: Filter, stats: &Stats, k: usize) -> Vec<Scored> {
    let terms = terms(text).counts;
    index.search(&Query { terms: &terms, filter, scoring: Scoring::default(), stats }, k)
}

fn keys(hits: &[Scored]) -> Vec<u64> {
    hits.iter().map(|hit| hit.key).collect()
}

fn never() -> Terms {
    panic!("the tail knows its terms")
}

fn open(bytes: Vec<u8>) -> Arc<Sealed> {
    Arc::new(Sealed::open(&Bundle::open(OwnedBytes::new(bytes)).unwrap(), ANALYZER).unwrap())
}

fn sealed_bytes(frozen: &Frozen) -> Vec<u8> {
    frozen.seal(ANALYZER).unwrap().finish()
}

/// Moves the tail into a sealed part.
fn seal(index: &mut Index) {
    let frozen = index.freeze().unwrap();
    assert!(index.install(frozen.number, open(sealed_bytes(&frozen))));
}

#[test]
fn scores_are_those_of_the_formula() {
    let (index, stats) = index_of(&[(1, "apple apple pear"), (2, "pear"), (3, "plum plum")]);
    // N = 3, average length 2. Norm of length 3: 1.2 (0.25 + 0.75 * 3/2) = 1.65; of length 1: 0.75.
    // apple is in one: ln(1 + 2.5/1.5) * 2.2 * 2/(2 + 1.65) = 0.98083 * 1.20548
    let apple = ask(&index, "apple", NOW, &stats, 10);
    assert_eq!(keys(&apple), [1]);
    assert!((apple[0].score - 1.18237).abs() < 1e-5);
    // pear is in two: ln(1 + 1.5/2.5) * 2.2/(1 + norm) = 0.47000 * 2.2/1.75 and 0.47000 * 2.2/2.65
    let pear = ask(&index, "pear", NOW, &stats, 10);
    assert_eq!(keys(&pear), [2, 1]);
    assert!((pear[0].score - 0.59086).abs() < 1e-5);
    assert!((pear[1].score - 0.39019).abs() < 1e-5);
}

#[test]
fn okapi_scores_are_those_of_its_formula_and_floor() {
    let (index, stats) = index_of(&[(1, "pear pear"), (2, "pear plum"), (3, "pear fig")]);
    // N = 3, all of average length 2, so every norm is 1.5. pear is in three: ln(0.5) - ln(3.5) = -1.94591;
    // plum and fig in one: ln(2.5) - ln(1.5) = 0.51083. Average (-1.94591 + 2 * 0.51083) / 3 = -0.30809,
    // so pear weighs -0.07702. Two pears: 2 * 2.5/3.5 * -0.07702 = -0.11003; one pear: -0.07702.
    // plum adds 0.51083 for each time that the query has it.
    let query = terms("pear plum plum").counts;
    let query = Query { terms: &query, filter: NOW, scoring: Scoring::OKAPI, stats: &stats };
    let hits = index.search(&query, 10);
    assert_eq!(keys(&hits), [2, 3, 1]);
    let expected = [2.0 * 0.51083 - 0.07702, -0.07702, -0.11003];
    for (hit, expected) in hits.iter().zip(expected) {
        assert!((hit.score - expected).abs() < 1e-4, "{} is not {expected}", hit.score);
    }
}

#[test]
fn a_norm_that_single_precision_cannot_hold_loses_nobody() {
    // Enough documents for the frequent word's list to be dense; every eighth holds the rare one.
    let text = |n: u64| {
        ["", "common "][n as usize % 2].to_owned() + ["", "rare"][usize::from(n.is_multiple_of(8))] + " x"
    };
    let texts: Vec<String> = (0..64).map(text).collect();
    let documents: Vec<(u64, &str)> = (0..64).zip(texts.iter().map(String::as_str)).collect();
    let (index, stats) = index_of(&documents);
    let terms = terms("rare common");
    for k1 in [0.0, 5e-324, 1e-50, 2e-46, 1e-44] {
        let scoring = Scoring::Bm25 { k1, b: 0.75 };
        let query = Query { terms: &terms.counts, filter: NOW, scoring, stats: &stats };
        // So many that pruning gives up.
        let found: Vec<u64> = (0..64).step_by(8).chain((1..64).step_by(2)).take(20).collect();
        assert_eq!(keys(&index.search(&query, 20)), found, "{k1}");
    }
}

#[test]
fn equal_scores_are_in_order_of_keys_also_at_the_cut() {
    let (index, stats) = index_of(&[(9, "tea"), (3, "tea"), (5, "tea"), (7, "tea"), (4, "milk")]);
    assert_eq!(keys(&ask(&index, "tea", NOW, &stats, 2)), [3, 5]);
    assert_eq!(keys(&ask(&index, "tea", NOW, &stats, 10)), [3, 5, 7, 9]);
}

#[test]
fn what_matches_nothing_finds_nothing() {
    let (index, stats) = index_of(&[(1, "tea")]);
    assert_eq!(ask(&index, "", NOW, &stats, 10), []);
    assert_eq!(ask(&index, "coffee", NOW, &stats, 10), []);
    assert_eq!(ask(&index, "tea", NOW, &stats, 0), []);
    assert_eq!(ask(&Index::default(), "tea", NOW, &Stats::default(), 10), []);
}

#[test]
fn an_unknown_word_beside_a_known_one_changes_nothing() {
    let (index, stats) = index_of(&[(1, "tea"), (2, "milk")]);
    assert_eq!(ask(&index, "coffee tea", NOW, &stats, 10), ask(&index, "tea", NOW, &stats, 10));
}

#[test]
fn a_document_is_seen_from_its_birth_until_before_its_death() {
    let (mut index, mut stats) = (Index::default(), Stats::default());
    let slot = index.insert(1, 0, &terms("tea"), 3);
    stats.add(0, 1);
    index.kill(slot, 5, never);
    let at = |revision| Filter { revision, ..NOW };
    let seen = |revision| !ask(&index, "tea", at(revision), &stats, 10).is_empty();
    assert_eq!([2, 3, 4, 5].map(seen), [false, true, true, false]);
}

#[test]
fn only_searched_kinds_count_in_document_frequencies() {
    let (alone, stats) = index_of(&[(1, "tea"), (2, "milk milk")]);
    let (mut mixed, _) = index_of(&[(1, "tea"), (2, "milk milk")]);
    mixed.insert(3, 2, &terms("tea tea milk"), 1);
    let mut mixed_stats = stats;
    mixed_stats.add(2, 3);
    let first_kind = Filter { kinds: 0b0001, ..NOW };
    assert_eq!(ask(&mixed, "tea", first_kind, &mixed_stats, 10), ask(&alone, "tea", first_kind, &stats, 10));
    assert_eq!(keys(&ask(&mixed, "tea", NOW, &mixed_stats, 10)), [1, 3]);
}

#[test]
fn a_filter_leaves_out_documents_and_changes_no_score() {
    let (index, stats) = index_of(&[(1, "tea tea"), (2, "tea"), (3, "milk")]);
    let all = ask(&index, "tea", NOW, &stats, 10);
    let second = Slot::new(0, 1);
    let allowed = |slot| slot == second;
    let one = ask(&index, "tea", Filter { allowed: Some(&allowed), ..NOW }, &stats, 10);
    assert_eq!(one, [*all.iter().find(|hit| hit.slot == second).unwrap()]);
}

#[test]
fn an_explanation_adds_up_to_the_score() {
    let (index, stats) = index_of(&[(1, "tea tea milk"), (2, "tea"), (3, "milk"), (4, "jam")]);
    let terms = terms("milk coffee tea").counts;
    let query = Query { terms: &terms, filter: NOW, scoring: Scoring::default(), stats: &stats };
    let parts = index.explain(&query, Slot::new(0, 0));
    let told: Vec<_> = parts.iter().map(|part| (&*part.term, part.holders, part.frequency)).collect();
    assert_eq!(told, [("milk", 2, 1), ("coffee", 0, 0), ("tea", 2, 2)]);
    let sum = parts.iter().fold(0.0, |sum, part| sum + part.score);
    assert_eq!(Some(sum), index.search(&query, 1).first().map(|hit| hit.score));
    assert_eq!(index.score_of(&query, &[Slot::new(0, 3), Slot::new(0, 0)]), [None, Some(sum)]);
}

#[test]
fn the_okapi_floor_follows_a_write_of_the_same_revision() {
    let documents = [(1, "pear"), (2, "pear plum"), (3, "pear fig fig")];
    let terms = terms("pear").counts;
    let ranked = |index: &Index, stats: &Stats| {
        let query = Query { terms: &terms, filter: NOW, scoring: Scoring::OKAPI, stats };
        index.search(&query, 10)
    };
    let (mut index, stats) = index_of(&documents[..2]);
    let (whole, whole_stats) = index_of(&documents);
    ranked(&index, &stats);
    index.insert(3, 0, &super::tests::terms("pear fig fig"), 1);
    assert_eq!(ranked(&index, &whole_stats), ranked(&whole, &whole_stats));
}
