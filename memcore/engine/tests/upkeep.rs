//! Work on indexes that nobody waits for: whatever happens meanwhile, it ends, and finds stay right.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::time::Duration;

use memcore_engine::model::{
    BankSettings, Batch, Embedder, Embedding, MemoryType, Metadata, Method, Operation, Query,
};
use memcore_engine::{OpenOptions, Store};

fn open(directory: &Path) -> Store {
    Store::open(directory, OpenOptions { seal_from: 4, ..OpenOptions::default() }).unwrap()
}

fn packed(vector: &[f32]) -> Embedding {
    Embedding(vector.iter().flat_map(|number| number.to_le_bytes()).collect())
}

fn insert(content: &str) -> Operation {
    with_vector(content, None)
}

fn with_vector(content: &str, vector: Option<&[f32]>) -> Operation {
    Operation::Insert {
        kind: MemoryType::Semantic,
        content: content.into(),
        event_time: String::new(),
        metadata: Metadata::new(),
        embedding: vector.map(packed),
    }
}

fn update(kind: MemoryType, memory_id: u64, content: &str) -> Operation {
    Operation::Update { kind, memory_id, content: content.into(), event_time: None, embedding: None }
}

fn apply(store: &Store, operations: Vec<Operation>) {
    let applied = store.apply("b", None, Batch { operations, ..Batch::default() }).unwrap();
    assert!(applied.results.iter().all(|result| result.outcome.is_ok()), "{applied:?}");
}

/// One write at a time, each with the work that it causes.
fn write_numbers(store: &Store, numbers: std::ops::Range<usize>) {
    for number in numbers {
        apply(store, vec![insert(&format!("tea number {number}"))]);
        wait(store).unwrap();
    }
}

/// The work's outcome, unless it does not end.
fn wait(store: &Store) -> memcore_engine::Result<()> {
    let (waiting, (tell, told)) = (store.clone(), channel());
    std::thread::spawn(move || tell.send(waiting.wait_for_upkeep()));
    told.recv_timeout(Duration::from_secs(60)).expect("upkeep does not end")
}

fn create(store: &Store, embedder: Embedder) {
    store.create_bank("b", BankSettings { embedder, ..BankSettings::default() }, "").unwrap();
}

fn found(store: &Store, text: &str) -> Vec<(u64, String)> {
    let types = vec![MemoryType::Core, MemoryType::Semantic];
    let query =
        Query { text: text.into(), limit: 100, types, method: Some(Method::Words), ..Query::default() };
    let hits = store.search("b", &[query]).unwrap().results.remove(0).memories;
    hits.into_iter().map(|hit| (hit.memory.id, hit.memory.content.clone())).collect()
}

/// Oldest first.
fn bundles(directory: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(directory.join("bundles")).unwrap();
    let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    files.sort_by_key(|file| file.metadata().unwrap().modified().unwrap());
    files
}

#[test]
fn what_one_batch_changes_twice_is_found_by_its_last_text_after_a_restart_too() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    create(&store, Embedder::None);
    let semantic = MemoryType::Semantic;
    apply(&store, vec![insert("alpha"), update(semantic, 1, "beta"), insert("gamma"), insert("delta")]);
    let core = MemoryType::Core;
    apply(&store, vec![update(core, 0, "likes tea"), update(core, 0, "likes coffee"), insert("epsilon")]);
    wait(&store).unwrap();
    for _ in 0..2 {
        assert_eq!(found(&store, "alpha tea"), []);
        assert_eq!(found(&store, "beta"), [(1, "beta".to_owned())]);
        assert_eq!(found(&store, "coffee"), [(0, "likes coffee".to_owned())]);
        store.evict("b").unwrap();
    }
}

#[test]
fn a_tail_that_ends_without_a_vector_is_sealed_all_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    create(&store, Embedder::Builtin);
    apply(&store, vec![insert("red house"), insert("blue sea"), insert("\u{e000}\u{e001}")]);
    wait(&store).unwrap();
    assert_eq!(bundles(directory.path()).len(), 1);
}

#[test]
fn an_embedder_of_the_same_name_and_other_dimensions_starts_anew() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let named = |dimensions| Embedder::External { id: "m".into(), dimensions };
    create(&store, named(2));
    apply(&store, ["a", "b", "c"].map(|text| with_vector(text, Some(&[1.0, 0.0]))).to_vec());
    wait(&store).unwrap();
    store.set_embedder("b", None, named(3)).unwrap();
    store.evict("b").unwrap();
    let embedding = Some(packed(&[1.0, 0.0, 0.0]));
    let query = Query { limit: 10, method: Some(Method::Vector), embedding, ..Query::default() };
    assert!(store.search("b", &[query]).unwrap().results[0].memories.is_empty());
}

#[test]
fn a_bank_that_is_deleted_while_it_is_sealed_leaves_nothing_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    for round in 0..20 {
        create(&store, Embedder::None);
        let insert = |number| insert(&format!("tea number {number} of round {round}"));
        apply(&store, (0..200).map(insert).collect());
        std::thread::sleep(Duration::from_millis(round % 6));
        store.delete_bank("b", None).unwrap();
        wait(&store).unwrap();
    }
    assert_eq!(bundles(directory.path()), [""; 0].map(PathBuf::from));
}

#[test]
fn a_bundle_that_cannot_be_read_for_a_while_doubles_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    create(&store, Embedder::None);
    write_numbers(&store, 0..7);
    store.evict("b").unwrap();
    let [first, _] = &bundles(directory.path())[..] else { panic!("seven and core make two parts") };
    let away = directory.path().join("away");
    std::fs::rename(first, &away).unwrap();
    assert_eq!(found(&store, "tea").len(), 7);
    write_numbers(&store, 7..8);
    store.evict("b").unwrap();
    std::fs::rename(&away, first).unwrap();
    assert_eq!(found(&store, "tea").len(), 8);
}

#[test]
fn parts_are_merged_after_one_was_lost() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    create(&store, Embedder::None);
    write_numbers(&store, 0..11);
    store.evict("b").unwrap();
    std::fs::remove_file(&bundles(directory.path())[0]).unwrap();
    for number in 11..40 {
        write_numbers(&store, number..number + 1);
        if number % 7 == 0 {
            store.evict("b").unwrap();
        }
    }
    assert_eq!(found(&store, "tea").len(), 40);
}

#[test]
fn embedding_that_was_cut_short_goes_on_after_opening() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    create(&store, Embedder::None);
    for batch in 0..4 {
        apply(&store, (0..1000).map(|number| insert(&format!("tea number {number} of {batch}"))).collect());
    }
    wait(&store).unwrap();
    store.set_embedder("b", None, Embedder::Builtin).unwrap();
    store.close();
    let store = open(directory.path());
    found(&store, "tea");
    wait(&store).unwrap();
    let stats = store.bank("b", None).unwrap().stats;
    assert_eq!((stats.embedded_count, stats.unembedded_count), (4000, 0));
}
