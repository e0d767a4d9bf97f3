//! Any history is ranked as if every document were read, to the last bit.

use proptest::prelude::*;

use super::oracle::{Asked, Oracle, words};
use super::*;

#[derive(Debug, Clone)]
enum Step {
    Insert { kind: u8, words: Vec<u8> },
    Update { pick: usize, words: Vec<u8> },
    Kill { pick: usize },
    Publish,
    Compact { back: u64 },
    Freeze,
    Seal,
    StartMerge { first: usize, count: usize, back: u64 },
    FinishMerge,
    Reopen,
    Search { words: Vec<u8>, kinds: u8, back: u64, but: u64, scoring: Scoring, k: usize },
}

fn scoring() -> impl Strategy<Value = Scoring> {
    prop_oneof![
        4 => Just(Scoring::default()),
        1 => (0.0..3.0, 0.0..=1.0).prop_map(|(k1, b)| Scoring::Bm25 { k1, b }),
        1 => prop_oneof![Just((0.0, 0.75)), Just((1.2, 1.0))].prop_map(|(k1, b)| Scoring::Bm25 { k1, b }),
        1 => Just(Scoring::OKAPI),
    ]
}

/// Low words are frequent.
fn word() -> impl Strategy<Value = u8> {
    (1u8..=13, 1u8..=13).prop_map(|(left, right)| left.min(right) - 1)
}

fn step() -> impl Strategy<Value = Step> {
    let document = || prop::collection::vec(word(), 0..10);
    let query = prop::collection::vec(word(), 0..6);
    let but = prop_oneof![3 => Just(0u64), 1 => 1u64..4];
    prop_oneof![
        8 => (0u8..4, document()).prop_map(|(kind, words)| Step::Insert { kind, words }),
        3 => (any::<usize>(), document()).prop_map(|(pick, words)| Step::Update { pick, words }),
        3 => any::<usize>().prop_map(|pick| Step::Kill { pick }),
        4 => Just(Step::Publish),
        1 => (0u64..4).prop_map(|back| Step::Compact { back }),
        2 => Just(Step::Freeze),
        2 => Just(Step::Seal),
        1 => (0usize..4, 1usize..4, 0u64..4)
            .prop_map(|(first, count, back)| Step::StartMerge { first, count, back }),
        1 => Just(Step::FinishMerge),
        1 => Just(Step::Reopen),
        8 => (query, 0u8..16, 0u64..6, but, scoring(), 0usize..8).prop_map(
            |(words, kinds, back, but, scoring, k)| Step::Search { words, kinds, back, but, scoring, k }
        ),
    ]
}

fn run(oracle: &mut Oracle, step: Step, number: u64) {
    let back_to = |oracle: &Oracle, back| oracle.revision.saturating_sub(back).max(oracle.oldest);
    match step {
        // Keys that do not rise with the slots.
        Step::Insert { kind, words: text } => oracle.insert(number * 37 % 101, kind, words(&text)),
        Step::Update { pick, words: text } => {
            if let Some((key, kind)) = oracle.kill(pick) {
                oracle.insert(key, kind, words(&text));
            }
        }
        Step::Kill { pick } => drop(oracle.kill(pick)),
        Step::Publish => oracle.revision += 1,
        Step::Compact { back } => oracle.compact(back_to(oracle, back)),
        Step::Freeze => oracle.freeze(),
        Step::Seal => oracle.seal_oldest(),
        Step::StartMerge { first, count, back } => {
            let visible_from = back_to(oracle, back);
            oracle.start_merge(first, count, visible_from);
        }
        Step::FinishMerge => oracle.finish_merge(),
        Step::Reopen => oracle.reopen(),
        Step::Search { words: text, kinds, back, but, scoring, k } => {
            let (terms, revision) = (words(&text).counts, back_to(oracle, back));
            oracle.check(&Asked { terms: &terms, kinds, revision, scoring, but_multiples_of: but, k });
        }
    }
}

proptest! {
    #[test]
    fn any_history_is_ranked_as_if_every_document_were_read(steps in prop::collection::vec(step(), 1..120)) {
        let mut oracle = Oracle::default();
        for (number, step) in steps.into_iter().enumerate() {
            run(&mut oracle, step, number as u64);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.div_ceil(8)))]

    #[test]
    fn long_lists_are_pruned_without_a_trace(
        texts in prop::collection::vec(prop::collection::vec(word(), 0..9), 300..900),
        kills in prop::collection::vec(any::<usize>(), 0..40),
        queries in prop::collection::vec((prop::collection::vec(word(), 1..6), 1usize..12), 1..12),
        seal_at in prop::collection::btree_set(0usize..900, 0..3),
    ) {
        let mut oracle = Oracle::default();
        for (number, text) in texts.iter().enumerate() {
            let repeats = if number % 97 == 0 { 300 } else { 1 };
            oracle.insert(number as u64 * 613 % 997, (number % 7 == 0) as u8, words(&text.repeat(repeats)));
            if seal_at.contains(&number) {
                oracle.freeze();
                oracle.seal_oldest();
            }
        }
        oracle.revision += 1;
        for pick in kills {
            oracle.kill(pick);
        }
        for (text, k) in queries {
            let terms = words(&text).counts;
            let scoring = Scoring::default();
            for revision in [0, 1] {
                let kinds = 0b11;
                oracle.check(&Asked { terms: &terms, kinds, revision, scoring, but_multiples_of: 0, k });
            }
        }
    }
}
