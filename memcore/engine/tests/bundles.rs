//! Sealed parts on disk: derived from the records, so that whatever happens to them, nothing is lost.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use memcore_engine::model::{BankSettings, Batch, Embedder, MemoryType, Metadata, Operation, Query};
use memcore_engine::{OpenOptions, Store};

fn open(directory: &Path) -> Store {
    Store::open(directory, OpenOptions { seal_from: 4, ..OpenOptions::default() }).unwrap()
}

fn write(store: &Store, bank: &str, contents: impl Iterator<Item = String>) {
    for content in contents {
        let operation = Operation::Insert {
            kind: MemoryType::Semantic,
            content,
            event_time: String::new(),
            metadata: Metadata::new(),
            embedding: None,
        };
        store.apply(bank, None, Batch { operations: vec![operation], ..Batch::default() }).unwrap();
    }
    store.wait_for_upkeep().unwrap();
}

fn numbers(range: std::ops::Range<usize>) -> impl Iterator<Item = String> {
    range.map(|number| format!("tea number {number}"))
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(directory.join("bundles")).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    files
}

fn ranking(store: &Store, bank: &str) -> Vec<(u64, f64)> {
    let query = Query { text: "tea 7".into(), limit: 1000, ..Query::default() };
    let hits = store.search(bank, &[query]).unwrap().results.remove(0).memories;
    hits.iter().map(|hit| (hit.memory.id, hit.score)).collect()
}

#[test]
fn a_full_tail_is_sealed_and_small_parts_become_one() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    store.create_bank("b", BankSettings::default(), "").unwrap();
    // Core memory is a document too: the fourth is the third insert, the eighth the seventh, and so on.
    write(&store, "b", numbers(0..3));
    assert_eq!(files(directory.path()).len(), 1);
    write(&store, "b", numbers(3..40));
    // Ten seals; four of one size are merged whenever there are four.
    assert!((1..=4).contains(&files(directory.path()).len()), "{:?}", files(directory.path()));
    assert_eq!(ranking(&store, "b").len(), 40);
}

#[test]
fn what_is_found_is_the_same_before_and_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    store.create_bank("b", BankSettings::default(), "").unwrap();
    write(&store, "b", numbers(0..23));
    let before = ranking(&store, "b");
    store.close();
    assert_eq!(ranking(&open(directory.path()), "b"), before);
}

#[test]
fn a_damaged_or_missing_bundle_is_made_up_for_from_the_records() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    store.create_bank("b", BankSettings::default(), "").unwrap();
    write(&store, "b", numbers(0..3));
    write(&store, "b", numbers(3..7));
    let before = ranking(&store, "b");
    store.close();
    let all = files(directory.path());
    assert_eq!(all.len(), 2, "{all:?}");
    let mut bytes = fs::read(&all[0]).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(&all[0], bytes).unwrap();
    fs::remove_file(&all[1]).unwrap();
    let store = open(directory.path());
    assert_eq!(ranking(&store, "b"), before);
    write(&store, "b", numbers(7..40));
    assert_eq!(ranking(&store, "b").len(), 40);
}

#[test]
fn files_that_the_catalogue_does_not_name_are_swept_and_no_others() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    store.create_bank("b", BankSettings::default(), "").unwrap();
    write(&store, "b", numbers(0..8));
    let named = files(directory.path());
    store.close();
    let orphan = directory.path().join("bundles/0123456789abcdef.bundle");
    let stranger = directory.path().join("bundles/notes.txt");
    fs::write(&orphan, "cut short").unwrap();
    fs::write(&stranger, "not ours").unwrap();
    drop(open(directory.path()));
    assert!(!orphan.exists() && stranger.exists());
    assert!(named.iter().all(|file| file.exists()));
}

#[test]
fn a_deleted_bank_takes_its_bundles_along_and_no_others() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    store.create_bank("a", BankSettings::default(), "").unwrap();
    write(&store, "a", numbers(0..8));
    let of_a = files(directory.path());
    store.create_bank("b", BankSettings::default(), "").unwrap();
    write(&store, "b", numbers(0..8));
    let both = files(directory.path());
    assert!(!of_a.is_empty() && of_a.len() < both.len());
    store.delete_bank("a", None).unwrap();
    let of_b: Vec<_> = both.into_iter().filter(|file| !of_a.contains(file)).collect();
    assert_eq!(files(directory.path()), of_b);
    assert_eq!(ranking(&store, "b").len(), 8);
}

#[test]
fn parts_sealed_without_vectors_get_them_for_good() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    store.create_bank("b", BankSettings { embedder: Embedder::None, ..BankSettings::default() }, "").unwrap();
    write(&store, "b", numbers(0..8));
    let without: u64 = files(directory.path()).iter().map(|file| file.metadata().unwrap().len()).sum();
    store.set_embedder("b", None, Embedder::Builtin).unwrap();
    store.wait_for_upkeep().unwrap();
    let with: u64 = files(directory.path()).iter().map(|file| file.metadata().unwrap().len()).sum();
    // Seven memories or more of 256 floats each.
    assert!(with > without + 7 * 1024, "{without} {with}");
    let before = ranking(&store, "b");
    store.close();
    assert_eq!(ranking(&open(directory.path()), "b"), before);
}

#[test]
fn a_volatile_bank_is_sealed_in_ram_and_evicting_it_does_nothing() {
    let store = Store::in_memory_with(OpenOptions { seal_from: 4, ..OpenOptions::default() });
    store.create_bank("b", BankSettings::default(), "").unwrap();
    write(&store, "b", numbers(0..23));
    store.evict("b").unwrap();
    assert_eq!(ranking(&store, "b").len(), 23);
}
