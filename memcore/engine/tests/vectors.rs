//! Vectors: where they come from, what becomes of them, and how they are told about.

#![allow(clippy::unwrap_used)]

use memcore_engine::model::{
    BankSettings, Batch, Embedder, Embedding, Memory, MemoryType, MemoryVector, Metadata, Method, Operation,
    Query, SearchFilter, VectorResult,
};
use memcore_engine::{ErrorKind, OpenOptions, Store};

fn external() -> Embedder {
    Embedder::External { id: "tiny@1".into(), dimensions: 2 }
}

fn packed(vector: [f32; 2]) -> Embedding {
    Embedding(vector.iter().flat_map(|number| number.to_le_bytes()).collect())
}

fn insert(content: &str, embedding: Option<[f32; 2]>) -> Operation {
    Operation::Insert {
        kind: MemoryType::Semantic,
        content: content.into(),
        event_time: String::new(),
        metadata: Metadata::new(),
        embedding: embedding.map(packed),
    }
}

fn update(memory_id: u64, content: &str, embedding: Option<[f32; 2]>) -> Operation {
    Operation::Update {
        kind: MemoryType::Semantic,
        memory_id,
        content: content.into(),
        event_time: None,
        embedding: embedding.map(packed),
    }
}

fn apply(store: &Store, operations: Vec<Operation>) {
    let applied = store.apply("b", None, Batch { operations, ..Batch::default() }).unwrap();
    assert!(applied.results.iter().all(|result| result.outcome.is_ok()), "{applied:?}");
}

fn with_bank(store: Store, embedder: Embedder) -> Store {
    store.create_bank("b", BankSettings { embedder, ..BankSettings::default() }, "").unwrap();
    store
}

fn by_vector(vector: [f32; 2]) -> Query {
    Query { limit: 10, method: Some(Method::Vector), embedding: Some(packed(vector)), ..Query::default() }
}

fn ids(store: &Store, query: &Query) -> Vec<u64> {
    let hits = store.search("b", std::slice::from_ref(query)).unwrap().results.remove(0);
    hits.memories.iter().map(|hit| hit.memory.id).collect()
}

fn coverage(store: &Store) -> (u64, u64) {
    let stats = store.bank("b", None).unwrap().stats;
    (stats.embedded_count, stats.unembedded_count)
}

fn put(store: &Store, id: u64, update_revision: u64, vector: [f32; 2]) -> VectorResult {
    let vector = MemoryVector { memory_id: id, update_revision, embedding: packed(vector) };
    store.put_vectors("b", None, "tiny@1", &[vector]).unwrap().0[0]
}

fn memory(store: &Store, id: u64) -> std::sync::Arc<Memory> {
    let (page, _) = store.memories("b", None, Some(id - 1), None, false, 1).unwrap();
    page.items.into_iter().next().unwrap()
}

#[test]
fn a_vector_comes_with_its_memory_or_later() {
    let store = with_bank(Store::in_memory(), external());
    apply(&store, vec![insert("east", Some([2.0, 0.0])), insert("north", None)]);
    assert_eq!((ids(&store, &by_vector([1.0, 0.0])), coverage(&store)), (vec![1], (1, 1)));
    let (page, _) = store.memories("b", None, None, None, true, 10).unwrap();
    assert_eq!(page.items.iter().map(|memory| memory.id).collect::<Vec<_>>(), [2]);
    assert_eq!(store.banks(None, true, 10).unwrap().items.len(), 1);
    assert_eq!(put(&store, 2, memory(&store, 2).update_revision, [0.1, 1.0]), VectorResult::Stored);
    // Cosines with east: 1 and 0.1 / sqrt(1.01).
    assert_eq!((ids(&store, &by_vector([1.0, 0.0])), coverage(&store)), (vec![1, 2], (2, 0)));
    assert!(store.banks(None, true, 10).unwrap().items.is_empty());
}

#[test]
fn a_vector_of_an_older_content_is_stale_and_a_changed_memory_loses_its_vector() {
    let store = with_bank(Store::in_memory(), external());
    apply(&store, vec![insert("east", Some([1.0, 0.0]))]);
    let before = memory(&store, 1).update_revision;
    apply(&store, vec![update(1, "north now", None)]);
    assert_eq!((ids(&store, &by_vector([1.0, 0.0])), coverage(&store)), (vec![], (0, 1)));
    assert_eq!(put(&store, 1, before, [1.0, 0.0]), VectorResult::Stale);
    assert_eq!(put(&store, 7, 0, [1.0, 0.0]), VectorResult::Stale);
    assert_eq!(put(&store, 1, 0, [0.0, 1.0]), VectorResult::Stored);
    apply(&store, vec![update(1, "west at last", Some([-1.0, 0.0]))]);
    assert_eq!(ids(&store, &by_vector([-1.0, 0.0])), [1]);
}

#[test]
fn vectors_survive_a_restart_with_their_memories() {
    let directory = tempfile::tempdir().unwrap();
    let open =
        || Store::open(directory.path(), OpenOptions { seal_from: 3, ..OpenOptions::default() }).unwrap();
    let store = with_bank(open(), external());
    apply(&store, vec![insert("a", Some([1.0, 0.0])), insert("b", None), insert("c", Some([1.0, 1.0]))]);
    put(&store, 2, 0, [0.0, 1.0]);
    apply(&store, vec![update(3, "c again", Some([1.0, 2.0])), insert("d", None)]);
    let found = ids(&store, &by_vector([0.0, 1.0]));
    assert_eq!((&found[..], coverage(&store)), (&[2, 3, 1][..], (3, 1)));
    store.wait_for_upkeep().unwrap();
    store.close();
    let store = open();
    // A closed bank tells its coverage without being opened.
    assert_eq!(coverage(&store), (3, 1));
    assert_eq!((ids(&store, &by_vector([0.0, 1.0])), coverage(&store)), (found, (3, 1)));
}

#[test]
fn another_embedder_drops_the_vectors_and_words_are_found_all_the_while() {
    let store = with_bank(Store::in_memory(), external());
    apply(&store, vec![insert("the tea is green", Some([1.0, 0.0]))]);
    let bank = store.set_embedder("b", None, Embedder::Builtin).unwrap();
    assert_eq!((bank.settings.embedder, bank.revision), (Embedder::Builtin, 3));
    let tea = Query { text: "tea".into(), limit: 5, ..Query::default() };
    assert_eq!(ids(&store, &tea), [1]);
    store.wait_for_upkeep().unwrap();
    let hits = store.search("b", std::slice::from_ref(&tea)).unwrap().results.remove(0);
    assert!(hits.method == Method::Hybrid && hits.memories[0].has_vector);
    // The same embedder again is no change.
    assert_eq!(store.set_embedder("b", None, Embedder::Builtin).unwrap().revision, 3);
    let old = MemoryVector { memory_id: 1, update_revision: 0, embedding: packed([1.0, 0.0]) };
    let error = store.put_vectors("b", None, "tiny@1", &[old]).unwrap_err();
    assert_eq!((error.kind, error.reason), (ErrorKind::Conflict, "EMBEDDER_CHANGED"));
}

#[test]
fn what_is_no_vector_of_the_bank_is_refused_with_rule_and_value() {
    let store = with_bank(Store::in_memory(), external());
    let refused = |embedding: Embedding| {
        let query = Query { embedding: Some(embedding), limit: 1, ..Query::default() };
        let error = store.search("b", &[query]).unwrap_err();
        assert_eq!((error.kind, error.reason), (ErrorKind::InvalidInput, "INVALID_EMBEDDING"));
        error.message
    };
    let three = Embedding([0u8; 12].to_vec().into());
    assert!(refused(three).contains("must hold 2 32-bit floats, as embedder \"tiny@1\" makes, got 3"));
    for bad in [[0.0, 0.0], [f32::NAN, 1.0], [f32::INFINITY, 1.0]] {
        refused(packed(bad));
    }
    let operation = insert("x", Some([0.0, 0.0]));
    let error =
        store.apply("b", None, Batch { operations: vec![operation], ..Batch::default() }).unwrap_err();
    assert!(error.message.starts_with("operations[0].embedding"), "{}", error.message);
    let missing = Query { text: "x".into(), limit: 1, method: Some(Method::Hybrid), ..Query::default() };
    assert_eq!(store.search("b", &[missing]).unwrap_err().reason, "EMBEDDING_MISSING");
    let store = with_bank(Store::in_memory(), Embedder::None);
    assert_eq!(store.search("b", &[by_vector([1.0, 0.0])]).unwrap_err().reason, "NO_EXTERNAL_EMBEDDER");
    let vector = Query { text: "x".into(), limit: 1, method: Some(Method::Vector), ..Query::default() };
    assert_eq!(store.search("b", &[vector]).unwrap_err().reason, "NO_EMBEDDER");
}

#[test]
fn a_text_without_a_known_word_has_no_vector_and_none_is_waited_for() {
    let store = with_bank(Store::in_memory(), Embedder::Builtin);
    apply(&store, vec![insert("\u{e000}\u{e001}", None), insert("tea", None)]);
    assert_eq!(coverage(&store), (1, 0));
    // The query has no vector either: words alone are compared, and nothing is found.
    let query = Query { text: "\u{e000}".into(), limit: 5, method: Some(Method::Vector), ..Query::default() };
    assert_eq!(ids(&store, &query), [0; 0]);
}

#[test]
fn an_explanation_adds_up_to_the_score() {
    let store = with_bank(Store::in_memory(), Embedder::Builtin);
    let dated = |content: &str, event_time: &str| Operation::Insert {
        kind: MemoryType::Episodic,
        content: content.into(),
        event_time: event_time.into(),
        metadata: Metadata::new(),
        embedding: None,
    };
    apply(
        &store,
        vec![
            dated("What did you plant in the garden?", "2024-05-07"),
            dated("Roses, and a pear tree", "2024-05-07"),
            dated("The train to the harbour was late", "2024-06-01"),
        ],
    );
    let text = "What was planted in the garden in May 2024?".into();
    let query = Query { text, limit: 5, explain: true, ..Query::default() };
    let hits = store.search("b", &[query]).unwrap().results.remove(0).memories;
    assert_eq!(hits[..2].iter().map(|hit| hit.memory.id).collect::<Vec<_>>(), [1, 2]);
    for hit in &hits {
        let parts = hit.explanation.clone().unwrap();
        let sum = parts.words_part + parts.vector_part + parts.context_part + parts.date_part;
        assert_eq!(sum, hit.score);
        let terms: f64 = parts.terms.iter().map(|term| term.score).sum();
        assert_eq!(terms, parts.words_score.unwrap_or(0.0));
    }
    // The answer says nothing of a garden: its question, told at the same time, and the month lead to it.
    let answer = hits[1].explanation.clone().unwrap();
    assert!(answer.context_part > 0.0 && answer.date_part == 0.2);
    assert_eq!(hits[2].explanation.clone().unwrap().date_part, 0.0);
}

#[test]
fn filters_choose_and_never_change_a_score() {
    let store = with_bank(Store::in_memory(), Embedder::Builtin);
    for (number, event_time) in ["2024-05-07", "2024-05-08T09:00", "", "2024-06-01"].into_iter().enumerate() {
        apply(
            &store,
            vec![Operation::Insert {
                kind: MemoryType::Semantic,
                content: format!("tea number {number}"),
                event_time: event_time.into(),
                metadata: [("shop".to_owned(), (number % 2).to_string())].into(),
                embedding: None,
            }],
        );
    }
    let query = |filter| Query {
        text: "tea".into(),
        limit: 10,
        method: Some(Method::Words),
        filter,
        ..Query::default()
    };
    let scores = |filter| {
        let hits = store.search("b", &[query(filter)]).unwrap().results.remove(0).memories;
        hits.iter().map(|hit| (hit.memory.id, hit.score)).collect::<Vec<_>>()
    };
    let all = scores(SearchFilter::default());
    let only = |ids: &[u64]| all.iter().copied().filter(|(id, _)| ids.contains(id)).collect::<Vec<_>>();
    let event = |from: &str, before: &str| SearchFilter {
        event_time_from: from.into(),
        event_time_before: before.into(),
        ..SearchFilter::default()
    };
    assert_eq!(scores(event("2024-05-08", "")), only(&[2, 4]));
    assert_eq!(scores(event("2024-05-07", "2024-06-01")), only(&[1, 2]));
    let shop =
        SearchFilter { metadata: [("shop".to_owned(), "1".to_owned())].into(), ..SearchFilter::default() };
    assert_eq!(scores(shop), only(&[2, 4]));
    let created = memory(&store, 3).create_time;
    let later = SearchFilter { create_time_from: Some(created), ..SearchFilter::default() };
    assert_eq!(scores(later), only(&[3, 4]));
    let nowhere = SearchFilter { source: "letters".into(), ..SearchFilter::default() };
    assert_eq!(scores(nowhere), []);
    let least = Query { min_score: Some(all[1].1), ..query(SearchFilter::default()) };
    assert!(ids(&store, &least).len() >= 2);
    let none = Query { min_score: Some(all[0].1 + 1.0), ..query(SearchFilter::default()) };
    assert_eq!(ids(&store, &none), [0; 0]);
}
