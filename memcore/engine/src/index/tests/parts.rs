//! What freezing, sealing, merging and compaction promise, one promise a test.

use super::*;
use crate::error::ErrorKind;
use crate::index::bundle::Builder;

fn moves(moved: &[crate::index::Moved]) -> Vec<(u64, Slot, Slot)> {
    moved.iter().map(|moved| (moved.key, moved.old_slot, moved.new_slot)).collect()
}

#[test]
fn compaction_is_due_when_the_dead_outweigh_the_living_and_the_floor() {
    let wide = |from: usize, count: usize| {
        terms(&(from..from + count).map(|number| format!("w{number} ")).collect::<String>())
    };
    let mut index = Index::default();
    let small = index.insert(1, 0, &wide(0, 4096), 1);
    index.kill(small, 2, never);
    assert!(!index.needs_compaction());
    let living = index.insert(2, 0, &wide(0, 4097), 1);
    let one = index.insert(3, 0, &wide(0, 1), 1);
    index.kill(one, 2, never);
    assert!(!index.needs_compaction());
    index.kill(living, 2, never);
    assert!(index.needs_compaction());
}

#[test]
fn compaction_forgets_dead_documents_and_their_terms_but_keeps_what_is_still_seen() {
    let mut index = Index::default();
    let gone = index.insert(1, 0, &terms("old tea"), 1);
    let leaving = index.insert(2, 0, &terms("tea"), 1);
    index.insert(3, 0, &terms("milk"), 1);
    index.kill(gone, 4, never);
    index.kill(leaving, 6, never);
    let stats = Stats { docs: [2, 0, 0, 0], tokens: [2, 0, 0, 0] };
    let at_five = Filter { kinds: 1, revision: 5, allowed: None };
    let before = ask(&index, "old tea milk", at_five, &stats, 10);
    let moved = index.compact(5);
    let slot = |document| Slot::new(0, document);
    assert_eq!(moves(&moved), [(2, slot(1), slot(0)), (3, slot(2), slot(1))]);
    assert_eq!(index.parts[0].forward().names.len(), 2);
    assert_eq!(keys(&before), [2, 3]);
    let after = ask(&index, "old tea milk", at_five, &stats, 10);
    assert_eq!(keys(&after), [2, 3]);
    assert_eq!(after[0].score, before[0].score);
}

#[test]
fn a_sealed_document_keeps_its_slot_and_its_score() {
    let (mut index, stats) = index_of(&[(1, "tea tea"), (2, "tea"), (3, "milk")]);
    let before = ask(&index, "tea milk", NOW, &stats, 10);
    let frozen = index.freeze().unwrap();
    assert_eq!(ask(&index, "tea milk", NOW, &stats, 10), before);
    let sealed = open(sealed_bytes(&frozen));
    index.kill(Slot::new(0, 1), 8, never);
    assert!(index.install(frozen.number, sealed));
    let eight = Stats { docs: [2, 0, 0, 0], tokens: [3, 0, 0, 0] };
    // N = 2, average length 1.5, both terms in one: 2/(2 + 1.5) is more than 1/(1 + 0.9).
    assert_eq!(keys(&ask(&index, "tea milk", NOW, &eight, 10)), [1, 3]);
    let seven = Filter { revision: 7, ..NOW };
    assert_eq!(ask(&index, "tea milk", seven, &stats, 10), before);
}

#[test]
fn an_empty_tail_is_not_frozen_and_other_documents_are_not_installed() {
    let mut index = Index::default();
    assert!(index.freeze().is_none());
    index.insert(1, 0, &terms("tea"), 1);
    let frozen = index.freeze().unwrap();
    let (mut other, _) = index_of(&[(2, "tea")]);
    let foreign = open(sealed_bytes(&other.freeze().unwrap()));
    assert!(!index.install(frozen.number, Arc::clone(&foreign)));
    assert!(!index.install(frozen.number + 1, foreign));
}

#[test]
fn four_parts_of_a_size_are_merged_and_one_more_is_left_alone() {
    let mut index = Index::default();
    for key in 0..4 {
        assert!(index.merge_due().is_none());
        index.insert(key, 0, &terms("tea"), 1);
        seal(&mut index);
    }
    let dead = Slot::new(1, 0);
    index.kill(dead, 5, || terms("tea"));
    let merge = index.merge_due().unwrap();
    index.insert(4, 0, &terms("tea"), 5);
    seal(&mut index);
    let (merged, bundle) = merge.run(5, ANALYZER).unwrap();
    let died_meanwhile = Slot::new(2, 0);
    index.kill(died_meanwhile, 6, || terms("tea"));
    let number = index.reserve_number();
    let moved = index.install_merged(&merged, number, open(bundle.finish())).unwrap();
    // Parts 0 to 3, the tail behind them was 4 and became a part, 5 is the tail: the merged one is 6.
    let to = |document| Slot::new(6, document);
    let from = |part| Slot::new(part, 0);
    assert_eq!(moves(&moved), [(0, from(0), to(0)), (2, from(2), to(1)), (3, from(3), to(2))]);
    let stats = Stats { docs: [3, 0, 0, 0], tokens: [3, 0, 0, 0] };
    assert_eq!(keys(&ask(&index, "tea", NOW, &stats, 10)), [0, 3, 4]);
    assert!(index.merge_due().is_none());
    assert_eq!(index.install_merged(&merged, number, open(sealed_bytes(&frozen_of("tea")))), None);
}

fn frozen_of(text: &str) -> Frozen {
    index_of(&[(1, text)]).0.freeze().unwrap()
}

#[test]
fn a_sealed_part_whose_dead_outweigh_its_living_is_written_anew() {
    let wide = terms(&(0..4097).map(|number| format!("w{number} ")).collect::<String>());
    let mut index = Index::default();
    index.insert(1, 0, &wide, 1);
    index.insert(2, 0, &terms("tea"), 1);
    seal(&mut index);
    index.kill(Slot::new(0, 0), 2, || wide.clone());
    let (merged, bundle) = index.merge_due().unwrap().run(2, ANALYZER).unwrap();
    let number = index.reserve_number();
    let moved = index.install_merged(&merged, number, open(bundle.finish())).unwrap();
    assert_eq!(moves(&moved), [(2, Slot::new(0, 1), Slot::new(2, 0))]);
    assert!(index.merge_due().is_none());
}

#[test]
fn a_clone_of_deaths_goes_its_own_way() {
    let (mut index, _) = index_of(&[(1, "tea"), (2, "tea")]);
    index.kill(Slot::new(0, 0), 2, never);
    let before = index.parts[0].deaths.clone();
    index.kill(Slot::new(0, 1), 3, never);
    let deaths = &index.parts[0].deaths;
    assert_eq!([before.of(0), before.of(1)], [2, u64::MAX]);
    assert_eq!([deaths.of(0), deaths.of(1)], [2, 3]);
    assert_eq!([before.holders(0, "tea"), deaths.holders(0, "tea")], [1, 2]);
}

#[test]
fn a_bundle_of_another_analyzer_or_without_words_is_refused() {
    let bytes = sealed_bytes(&frozen_of("tea"));
    let bundle = Bundle::open(OwnedBytes::new(bytes)).unwrap();
    let error = Sealed::open(&bundle, "test/2").err().unwrap();
    assert_eq!(error.kind, ErrorKind::Corruption);
    assert_eq!(error.message, "search bundle of analyzer \"test/1\", not \"test/2\"");
    let empty = Bundle::open(OwnedBytes::new(Builder::default().finish())).unwrap();
    assert_eq!(Sealed::open(&empty, ANALYZER).err().unwrap().kind, ErrorKind::Corruption);
}

#[test]
fn a_sealed_part_lists_its_documents() {
    let mut index = Index::default();
    index.insert(7, 2, &terms("tea milk"), 3);
    let sealed = open(sealed_bytes(&index.freeze().unwrap()));
    let expected = crate::index::Document { key: 7, birth: 3, length: 2, kind: 2 };
    assert_eq!(sealed.documents().collect::<Vec<_>>(), [expected]);
}
