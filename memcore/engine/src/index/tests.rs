use std::collections::HashMap;

use proptest::prelude::*;

use super::{Filter, Index, Scored, Stats};
use crate::text::{Analyzer, Terms};

fn terms(text: &str) -> Terms {
    Analyzer::new("none").unwrap().analyze(text)
}

fn query(text: &str) -> Vec<Box<str>> {
    Analyzer::new("none").unwrap().query_terms(text)
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

fn keys(hits: &[Scored]) -> Vec<u64> {
    hits.iter().map(|hit| hit.key).collect()
}

const NOW: Filter = Filter { kinds: 0b1111, revision: 9 };

#[test]
fn scores_are_those_of_the_formula() {
    let (index, stats) = index_of(&[(1, "apple apple pear"), (2, "pear"), (3, "plum plum")]);
    // N = 3, average length 2. Norm of length 3: 1.2 (0.25 + 0.75 * 3/2) = 1.65; of length 1: 0.75.
    // apple is in one: ln(1 + 2.5/1.5) * 2.2 * 2/(2 + 1.65) = 0.98083 * 1.20548
    let apple = index.search(&query("apple"), NOW, &stats, 10);
    assert_eq!(keys(&apple), [1]);
    assert!((apple[0].score - 1.18237).abs() < 1e-5);
    // pear is in two: ln(1 + 1.5/2.5) * 2.2/(1 + norm) = 0.47000 * 2.2/1.75 and 0.47000 * 2.2/2.65
    let pear = index.search(&query("pear"), NOW, &stats, 10);
    assert_eq!(keys(&pear), [2, 1]);
    assert!((pear[0].score - 0.59086).abs() < 1e-5);
    assert!((pear[1].score - 0.39019).abs() < 1e-5);
}

#[test]
fn equal_scores_are_in_order_of_keys_also_at_the_cut() {
    let (index, stats) = index_of(&[(9, "tea"), (3, "tea"), (5, "tea"), (7, "tea"), (4, "milk")]);
    assert_eq!(keys(&index.search(&query("tea"), NOW, &stats, 2)), [3, 5]);
    assert_eq!(keys(&index.search(&query("tea"), NOW, &stats, 10)), [3, 5, 7, 9]);
}

#[test]
fn what_matches_nothing_finds_nothing() {
    let (index, stats) = index_of(&[(1, "tea")]);
    assert_eq!(index.search(&query(""), NOW, &stats, 10), []);
    assert_eq!(index.search(&query("coffee"), NOW, &stats, 10), []);
    assert_eq!(index.search(&query("tea"), NOW, &stats, 0), []);
    assert_eq!(Index::default().search(&query("tea"), NOW, &Stats::default(), 10), []);
}

#[test]
fn an_unknown_word_beside_a_known_one_changes_nothing() {
    let (index, stats) = index_of(&[(1, "tea"), (2, "milk")]);
    assert_eq!(
        index.search(&query("coffee tea"), NOW, &stats, 10),
        index.search(&query("tea"), NOW, &stats, 10)
    );
}

#[test]
fn a_document_is_seen_from_its_birth_until_before_its_death() {
    let (mut index, mut stats) = (Index::default(), Stats::default());
    let slot = index.insert(1, 0, &terms("tea"), 3);
    stats.add(0, 1);
    index.kill(slot, 5);
    let seen = |revision| !index.search(&query("tea"), Filter { kinds: 1, revision }, &stats, 10).is_empty();
    assert_eq!([2, 3, 4, 5].map(seen), [false, true, true, false]);
}

#[test]
fn only_searched_kinds_count_in_document_frequencies() {
    let (alone, stats) = index_of(&[(1, "tea"), (2, "milk milk")]);
    let (mut mixed, _) = index_of(&[(1, "tea"), (2, "milk milk")]);
    mixed.insert(3, 2, &terms("tea tea milk"), 1);
    let mut mixed_stats = stats;
    mixed_stats.add(2, 3);
    let first_kind = Filter { kinds: 0b0001, revision: 9 };
    assert_eq!(
        mixed.search(&query("tea"), first_kind, &mixed_stats, 10),
        alone.search(&query("tea"), first_kind, &stats, 10)
    );
    assert_eq!(keys(&mixed.search(&query("tea"), NOW, &mixed_stats, 10)), [1, 3]);
}

#[test]
fn compaction_is_due_when_the_dead_outweigh_the_living_and_the_floor() {
    let wide = |from: usize, count: usize| {
        terms(&(from..from + count).map(|number| format!("w{number} ")).collect::<String>())
    };
    let mut index = Index::default();
    let small = index.insert(1, 0, &wide(0, 4096), 1);
    index.kill(small, 2);
    assert!(!index.needs_compaction());
    let living = index.insert(2, 0, &wide(0, 4097), 1);
    let one = index.insert(3, 0, &wide(0, 1), 1);
    index.kill(one, 2);
    assert!(!index.needs_compaction());
    index.kill(living, 2);
    assert!(index.needs_compaction());
}

#[test]
fn compaction_forgets_dead_documents_and_their_terms_but_keeps_what_is_still_seen() {
    let mut index = Index::default();
    let gone = index.insert(1, 0, &terms("old tea"), 1);
    let leaving = index.insert(2, 0, &terms("tea"), 1);
    index.insert(3, 0, &terms("milk"), 1);
    index.kill(gone, 4);
    index.kill(leaving, 6);
    let stats = Stats { docs: [2, 0, 0, 0], tokens: [2, 0, 0, 0] };
    let at_five = Filter { kinds: 1, revision: 5 };
    let before = index.search(&query("old tea milk"), at_five, &stats, 10);
    let moved = index.compact(5);
    let slots: Vec<_> = moved.iter().map(|moved| (moved.key, moved.old_slot, moved.new_slot)).collect();
    assert_eq!(slots, [(2, 1, 0), (3, 2, 1)]);
    assert_eq!(index.postings.terms(), 2);
    assert_eq!(keys(&before), [2, 3]);
    assert_eq!(index.search(&query("old tea milk"), at_five, &stats, 10), before);
}

/// One version of a document, as plainly as it can be kept.
struct Version {
    key: u64,
    kind: u8,
    terms: Terms,
    slot: Option<u32>,
    birth: u64,
    death: u64,
}

/// Every version there ever was, searched by reading all of them.
#[derive(Default)]
struct Oracle {
    versions: Vec<Version>,
    index: Index,
    revision: u64,
    oldest: u64,
}

impl Oracle {
    fn insert(&mut self, key: u64, kind: u8, words: &[u8]) {
        let text: String = words.iter().map(|word| format!("w{word} ")).collect();
        let (terms, birth) = (terms(&text), self.revision);
        let slot = Some(self.index.insert(key, kind, &terms, birth));
        self.versions.push(Version { key, kind, terms, slot, birth, death: u64::MAX });
    }

    fn kill(&mut self, pick: usize) -> Option<(u64, u8)> {
        let living: Vec<usize> =
            (0..self.versions.len()).filter(|&v| self.versions[v].death == u64::MAX).collect();
        let version = &mut self.versions[*living.get(pick % living.len().max(1))?];
        version.death = self.revision;
        self.index.kill(version.slot.unwrap(), self.revision);
        Some((version.key, version.kind))
    }

    fn compact(&mut self, visible_from: u64) {
        self.oldest = visible_from;
        let moved = self.index.compact(visible_from);
        let new_slots: HashMap<u32, u32> =
            moved.iter().map(|moved| (moved.old_slot, moved.new_slot)).collect();
        for version in &mut self.versions {
            version.slot = version.slot.and_then(|slot| new_slots.get(&slot).copied());
        }
    }

    fn check(&self, words: &[u8], filter: Filter, k: usize) {
        let (visible, stats) = self.visible(filter);
        let terms: Vec<Box<str>> = words.iter().map(|word| format!("w{word}").into()).collect();
        let mut expected = score(&visible, &terms);
        expected.sort_by(|left, right| right.score.total_cmp(&left.score).then(left.key.cmp(&right.key)));
        expected.truncate(k);
        assert_eq!(self.index.search(&terms, filter, &stats, k), expected);
    }

    fn visible(&self, filter: Filter) -> (Vec<&Version>, Stats) {
        let mut stats = Stats::default();
        let at_revision =
            self.versions.iter().filter(|v| v.birth <= filter.revision && filter.revision < v.death);
        let visible = at_revision
            .inspect(|v| stats.add(v.kind, v.terms.length))
            .filter(|v| filter.kinds >> v.kind & 1 == 1)
            .collect();
        (visible, stats)
    }
}

fn frequency(version: &Version, term: &str) -> Option<f64> {
    let found = version.terms.counts.iter().find(|(other, _)| &**other == term);
    found.map(|(_, count)| f64::from(*count))
}

fn score(visible: &[&Version], terms: &[Box<str>]) -> Vec<Scored> {
    let documents = visible.len() as f64;
    let tokens: f64 = visible.iter().map(|v| f64::from(v.terms.length)).sum();
    let holders = |term: &str| visible.iter().filter(|v| frequency(v, term).is_some()).count() as f64;
    let add = |sum: Option<f64>, version: &Version, term: &str| {
        let Some(tf) = frequency(version, term) else { return sum };
        let n = holders(term);
        let idf = (1.0 + (documents - n + 0.5) / (n + 0.5)).ln();
        let norm_slope = 1.2 * 0.75 * documents / tokens;
        let gain = idf * 2.2 * tf / (tf + 0.3 + norm_slope * f64::from(version.terms.length));
        Some(sum.unwrap_or(0.0) + gain)
    };
    let total = |version: &&&Version| terms.iter().fold(None, |sum, term| add(sum, version, term));
    visible.iter().filter_map(|version| Some(Scored { key: version.key, score: total(&version)? })).collect()
}

#[derive(Debug, Clone)]
enum Step {
    Insert { kind: u8, words: Vec<u8> },
    Update { pick: usize, words: Vec<u8> },
    Kill { pick: usize },
    Publish,
    Compact { back: u64 },
    Search { words: Vec<u8>, kinds: u8, back: u64, k: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let words = || prop::collection::vec(0u8..12, 0..8);
    let distinct = prop::sample::subsequence((0u8..13).collect::<Vec<_>>(), 0..5).prop_shuffle();
    prop_oneof![
        4 => (0u8..4, words()).prop_map(|(kind, words)| Step::Insert { kind, words }),
        2 => (any::<usize>(), words()).prop_map(|(pick, words)| Step::Update { pick, words }),
        2 => any::<usize>().prop_map(|pick| Step::Kill { pick }),
        3 => Just(Step::Publish),
        1 => (0u64..4).prop_map(|back| Step::Compact { back }),
        5 => (distinct, 0u8..16, 0u64..6, 0usize..8)
            .prop_map(|(words, kinds, back, k)| Step::Search { words, kinds, back, k }),
    ]
}

fn run(oracle: &mut Oracle, step: Step, number: u64) {
    match step {
        // Keys that do not rise with the slots.
        Step::Insert { kind, words } => oracle.insert(number * 37 % 101, kind, &words),
        Step::Update { pick, words } => {
            if let Some((key, kind)) = oracle.kill(pick) {
                oracle.insert(key, kind, &words);
            }
        }
        Step::Kill { pick } => drop(oracle.kill(pick)),
        Step::Publish => oracle.revision += 1,
        Step::Compact { back } => oracle.compact(oracle.revision.saturating_sub(back).max(oracle.oldest)),
        Step::Search { words, kinds, back, k } => {
            let revision = oracle.revision.saturating_sub(back).max(oracle.oldest);
            oracle.check(&words, Filter { kinds, revision }, k);
        }
    }
}

proptest! {
    #[test]
    fn any_history_is_ranked_as_if_every_document_were_read(steps in prop::collection::vec(step(), 1..80)) {
        let mut oracle = Oracle::default();
        for (number, step) in steps.into_iter().enumerate() {
            run(&mut oracle, step, number as u64);
        }
    }
}
