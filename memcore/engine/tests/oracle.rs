//! Random histories against a model that fits on a page: whatever the order of verbs and reopenings, the store
//! holds what the model holds.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use memcore_engine::model::*;
use memcore_engine::{OpenOptions, Store};
use proptest::prelude::*;

const WORDS: [&str; 6] = ["ant", "bee", "cat", "dog", "elk", "fox"];

#[derive(Debug, Clone)]
enum Verb {
    Append { id: u8, word: usize },
    Apply { operations: Vec<Op>, advance: bool, atomic: bool },
    Fail,
    Skip,
    Reopen,
}

#[derive(Debug, Clone)]
enum Op {
    Insert { episodic: bool, word: usize, other: usize },
    Update { target: u8, word: usize },
    Core { word: usize },
    Delete { target: u8 },
}

fn op() -> impl Strategy<Value = Op> {
    let word = 0..WORDS.len();
    prop_oneof![
        4 => (any::<bool>(), word.clone(), word.clone())
            .prop_map(|(episodic, word, other)| Op::Insert { episodic, word, other }),
        2 => (0..12u8, word.clone()).prop_map(|(target, word)| Op::Update { target, word }),
        1 => word.prop_map(|word| Op::Core { word }),
        1 => (0..12u8).prop_map(|target| Op::Delete { target }),
    ]
}

fn verb() -> impl Strategy<Value = Verb> {
    prop_oneof![
        3 => (0..10u8, 0..WORDS.len()).prop_map(|(id, word)| Verb::Append { id, word }),
        4 => (prop::collection::vec(op(), 0..5), any::<bool>(), any::<bool>())
            .prop_map(|(operations, advance, atomic)| Verb::Apply { operations, advance, atomic }),
        1 => Just(Verb::Fail),
        1 => Just(Verb::Skip),
        1 => Just(Verb::Reopen),
    ]
}

/// What a bank should hold. Ids map to (is episodic, content).
#[derive(Debug, Clone, Default, PartialEq)]
struct Model {
    core: String,
    memories: BTreeMap<u64, (bool, String)>,
    chunks: Vec<(String, String)>,
    cursor: usize,
    failures: u32,
    next_id: u64,
}

impl Model {
    /// The content that an operation would write, or `None` if it must fail.
    fn run(&mut self, op: &Op) -> bool {
        match op {
            Op::Insert { episodic, word, other } => {
                let entry = (*episodic, format!("{} {}", WORDS[*word], WORDS[*other]));
                if self.memories.values().any(|held| *held == entry) {
                    return false;
                }
                self.memories.insert(self.next_id, entry);
                self.next_id += 1;
                true
            }
            Op::Update { target, word } => {
                let content = format!("changed {}", WORDS[*word]);
                let id = u64::from(*target);
                let Some((episodic, _)) = self.memories.get(&id).cloned() else { return false };
                if episodic || self.memories.values().any(|held| *held == (false, content.clone())) {
                    return false;
                }
                self.memories.insert(id, (false, content));
                true
            }
            Op::Core { word } => {
                let content = format!("core {}", WORDS[*word]);
                let changed = self.core != content;
                self.core = content;
                changed
            }
            Op::Delete { target } => {
                let id = u64::from(*target);
                let semantic = self.memories.get(&id).is_some_and(|(episodic, _)| !episodic);
                semantic && self.memories.remove(&id).is_some()
            }
        }
    }
}

fn operation(op: &Op) -> Operation {
    match op {
        Op::Insert { episodic, word, other } => Operation::Insert {
            kind: if *episodic { MemoryType::Episodic } else { MemoryType::Semantic },
            content: format!("{} {}", WORDS[*word], WORDS[*other]),
            event_time: String::new(),
            metadata: Metadata::new(),
            embedding: None,
        },
        Op::Update { target, word } => Operation::Update {
            kind: MemoryType::Semantic,
            memory_id: u64::from(*target),
            content: format!("changed {}", WORDS[*word]),
            event_time: None,
            embedding: None,
        },
        Op::Core { word } => Operation::Update {
            kind: MemoryType::Core,
            memory_id: 0,
            content: format!("core {}", WORDS[*word]),
            event_time: None,
            embedding: None,
        },
        Op::Delete { target } => {
            Operation::Delete { kind: MemoryType::Semantic, memory_id: u64::from(*target) }
        }
    }
}

fn apply(store: &Store, model: &mut Model, operations: &[Op], advance: bool, atomic: bool) {
    let bank = store.bank("b", None).unwrap();
    let pending = model.cursor < model.chunks.len() && model.failures < 2;
    let advance = advance && pending;
    let atomic = atomic && !advance;
    if operations.is_empty() && !advance {
        return;
    }
    let batch = Batch {
        operations: operations.iter().map(operation).collect(),
        cursor_token: Some(bank.cursor_token),
        memory_revision: Some(bank.memory_revision),
        advance_to: advance.then_some(model.cursor as u64 + 1),
        atomic,
        ..Batch::default()
    };
    let applied = store.apply("b", None, batch).unwrap();
    let before = model.clone();
    let expected: Vec<bool> = operations.iter().map(|op| model.run(op)).collect();
    if atomic && expected.contains(&false) {
        *model = before;
        assert!(applied.results.iter().all(|result| result.outcome.is_err()));
        return;
    }
    let actual: Vec<bool> = applied.results.iter().map(|result| result.outcome.is_ok()).collect();
    assert_eq!(actual, expected);
    if advance {
        model.cursor += 1;
        model.failures = 0;
    }
}

fn append(store: &Store, model: &mut Model, id: u8, word: usize) {
    let chunk_id = format!("c{id}");
    let text = WORDS[word].to_owned();
    let chunk = NewChunk { chunk_id: chunk_id.clone(), text: text.clone(), ..NewChunk::default() };
    let result = store.append_chunks("b", None, vec![chunk]);
    match model.chunks.iter().find(|(held, _)| *held == chunk_id) {
        None => {
            assert_eq!(result.unwrap().results[0].position, model.chunks.len() as u64);
            model.chunks.push((chunk_id, text));
        }
        Some((_, held)) => assert_eq!(result.is_ok(), *held == text),
    }
}

fn fail(store: &Store, model: &mut Model) {
    let cursor_token = store.bank("b", None).unwrap().cursor_token;
    let report = FailureReport { cursor_token, message: "m".into(), raw_output: String::new() };
    let result = store.report_failure("b", None, report);
    assert_eq!(result.is_ok(), model.cursor < model.chunks.len() && model.failures < 2);
    model.failures += u32::from(result.is_ok());
}

fn skip(store: &Store, model: &mut Model) {
    let parked = model.failures >= 2;
    assert_eq!(store.resolve_parked("b", None, ParkedChunkAction::Skip).is_ok(), parked);
    if parked {
        model.cursor += 1;
        model.failures = 0;
    }
}

fn compare(store: &Store, model: &Model) {
    let (page, _) = store.memories("b", None, None, None, false, 1000).unwrap();
    let mut held =
        page.items.into_iter().map(|m| (m.id, (m.kind == MemoryType::Episodic, m.content.clone())));
    assert_eq!(held.next().map(|(_, (_, core))| core), Some(model.core.clone()));
    assert_eq!(held.collect::<BTreeMap<_, _>>(), model.memories);

    let (page, cursor) = store.chunks("b", 0, false, 1000).unwrap();
    let chunks: Vec<_> = page.items.into_iter().map(|chunk| (chunk.chunk_id, chunk.text)).collect();
    assert_eq!((&chunks, cursor as usize), (&model.chunks, model.cursor));

    let bank = store.bank("b", None).unwrap();
    assert_eq!(bank.stats.semantic_count + bank.stats.episodic_count, model.memories.len() as u64);
    assert_eq!(bank.stats.pending_chunks as usize, model.chunks.len() - model.cursor);
    assert_eq!(bank.failures.map_or(0, |failures| failures.count), model.failures);
    for word in WORDS {
        compare_search(store, model, word);
    }
}

/// A word finds exactly the memories and pending chunks that hold it.
fn compare_search(store: &Store, model: &Model, word: &str) {
    let query = Query {
        text: word.into(),
        limit: 1000,
        include_pending: true,
        method: Some(Method::Words),
        ..Query::default()
    };
    let hits = store.search("b", &[query]).unwrap().results.remove(0);
    let mut found: Vec<u64> = hits.memories.iter().map(|hit| hit.memory.id).collect();
    found.sort_unstable();
    let holding = model.memories.iter().filter(|(_, (_, text))| text.split(' ').any(|w| w == word));
    assert_eq!(found, holding.map(|(id, _)| *id).collect::<Vec<_>>());
    let pending = model.chunks[model.cursor..].iter().filter(|(_, text)| text == word).count();
    assert_eq!(hits.pending.len(), pending);
}

fn settings() -> BankSettings {
    BankSettings { language: "none".into(), max_chunk_failures: 2, ..BankSettings::default() }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_history_leaves_what_the_model_holds(verbs in prop::collection::vec(verb(), 1..25)) {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(dir.path(), OpenOptions::default()).unwrap();
        store.create_bank("b", settings(), "").unwrap();
        let mut model = Model { next_id: 1, ..Model::default() };
        for verb in &verbs {
            match verb {
                Verb::Append { id, word } => append(&store, &mut model, *id, *word),
                Verb::Apply { operations, advance, atomic } => {
                    apply(&store, &mut model, operations, *advance, *atomic);
                }
                Verb::Fail => fail(&store, &mut model),
                Verb::Skip => skip(&store, &mut model),
                Verb::Reopen => {
                    store.close();
                    store = Store::open(dir.path(), OpenOptions::default()).unwrap();
                }
            }
            compare(&store, &model);
        }
    }
}
