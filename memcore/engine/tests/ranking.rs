//! Whatever happened to a bank, a search ranks as if every memory were read: words, vectors and both.

#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use memcore_engine::model::{
    BankSettings, Batch, DEFAULT_CONTEXT_WEIGHT, DEFAULT_VECTOR_WEIGHT, Embedder, Memory, MemoryType, Method,
    Operation, Query, SearchFilter,
};
use memcore_engine::text::Analyzer;
use memcore_engine::{OpenOptions, Store};
use memcore_vector::{Query as VectorQuery, Vectors};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

const WORDS: [&str; 14] = [
    "tea", "coffee", "river", "mountain", "train", "garden", "violin", "winter", "market", "letter",
    "doctor", "painting", "bread", "harbour",
];

#[derive(Debug, Clone)]
enum Step {
    Insert { episodic: bool, words: Vec<usize>, day: Option<u32> },
    Update { pick: usize, words: Vec<usize> },
    Core { words: Vec<usize> },
    Delete { pick: usize },
    Upkeep,
    Reopen,
    Evict,
    Embed { builtin: bool },
    Search { words: Vec<usize>, kinds: usize, limit: usize, label: Option<u32> },
}

fn words(least: usize) -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(0..WORDS.len(), least..7)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (any::<bool>(), words(1), prop::option::of(1u32..3))
            .prop_map(|(episodic, words, day)| Step::Insert { episodic, words, day }),
        3 => (any::<usize>(), words(1)).prop_map(|(pick, words)| Step::Update { pick, words }),
        1 => words(0).prop_map(|words| Step::Core { words }),
        2 => any::<usize>().prop_map(|pick| Step::Delete { pick }),
        2 => Just(Step::Upkeep),
        1 => Just(Step::Reopen),
        1 => Just(Step::Evict),
        1 => any::<bool>().prop_map(|builtin| Step::Embed { builtin }),
        6 => (words(0), 0usize..4, 1usize..9, prop::option::of(0u32..3))
            .prop_map(|(words, kinds, limit, label)| Step::Search { words, kinds, limit, label }),
    ]
}

fn text(words: &[usize]) -> String {
    words.iter().map(|word| WORDS[*word]).collect::<Vec<_>>().join(" ")
}

struct World {
    directory: tempfile::TempDir,
    store: Store,
    inserted: u32,
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = open(&directory);
        let settings = BankSettings { language: "en".into(), ..BankSettings::default() };
        store.create_bank("b", settings, "").unwrap();
        Self { directory, store, inserted: 0 }
    }

    fn apply(&self, operation: Operation) {
        let batch = Batch { operations: vec![operation], ..Batch::default() };
        self.store.apply("b", None, batch).unwrap();
    }

    fn memories(&self) -> Vec<Arc<Memory>> {
        self.store.memories("b", None, None, None, false, 1000).unwrap().0.items
    }

    fn pick(&self, pick: usize) -> Option<Arc<Memory>> {
        let others: Vec<Arc<Memory>> = self.memories().into_iter().filter(|memory| memory.id > 0).collect();
        (!others.is_empty()).then(|| others[pick % others.len()].clone())
    }

    fn run(&mut self, step: &Step) {
        match step {
            Step::Insert { episodic, words, day } => {
                self.inserted += 1;
                let label = (self.inserted % 3).to_string();
                self.apply(Operation::Insert {
                    kind: if *episodic { MemoryType::Episodic } else { MemoryType::Semantic },
                    content: format!("{} {}", text(words), self.inserted),
                    event_time: day.map_or(String::new(), |day| format!("2024-05-{day:02}")),
                    metadata: [("label".to_owned(), label)].into(),
                    embedding: None,
                });
            }
            Step::Update { pick, words } => {
                if let Some(memory) = self.pick(*pick) {
                    let content = format!("{} again", text(words));
                    let (kind, memory_id) = (memory.kind, memory.id);
                    self.apply(Operation::Update {
                        kind,
                        memory_id,
                        content,
                        event_time: None,
                        embedding: None,
                    });
                }
            }
            Step::Core { words } => {
                let (kind, content) = (MemoryType::Core, text(words));
                self.apply(Operation::Update {
                    kind,
                    memory_id: 0,
                    content,
                    event_time: None,
                    embedding: None,
                });
            }
            Step::Delete { pick } => {
                if let Some(memory) = self.pick(*pick) {
                    self.apply(Operation::Delete { kind: memory.kind, memory_id: memory.id });
                }
            }
            Step::Upkeep => self.store.wait_for_upkeep().unwrap(),
            Step::Reopen => {
                self.store.close();
                self.store = open(&self.directory);
            }
            Step::Evict => self.store.evict("b").unwrap(),
            Step::Embed { builtin } => {
                let embedder = if *builtin { Embedder::Builtin } else { Embedder::None };
                self.store.set_embedder("b", None, embedder).unwrap();
                self.store.wait_for_upkeep().unwrap();
            }
            Step::Search { words, kinds, limit, label } => self.compare(&text(words), *kinds, *limit, *label),
        }
    }

    fn compare(&self, asked: &str, kinds: usize, limit: usize, label: Option<u32>) {
        let types = [
            vec![],
            vec![MemoryType::Semantic],
            vec![MemoryType::Core, MemoryType::Episodic],
            vec![MemoryType::Core, MemoryType::Semantic, MemoryType::Episodic],
        ][kinds]
            .clone();
        let embeds = self.store.bank("b", None).unwrap().settings.embedder == Embedder::Builtin;
        let oracle = Oracle::new(self.memories(), asked, &types, label);
        for method in [Method::Words, Method::Vector, Method::Hybrid] {
            if !embeds && method != Method::Words {
                continue;
            }
            let metadata = label.map(|label| ("label".to_owned(), label.to_string())).into_iter().collect();
            let query = Query {
                text: asked.to_owned(),
                types: types.clone(),
                limit,
                method: Some(method),
                filter: SearchFilter { metadata, ..SearchFilter::default() },
                ..Query::default()
            };
            let hits = self.store.search("b", &[query]).unwrap().results.remove(0);
            let found: Vec<(u64, f64)> = hits.memories.iter().map(|hit| (hit.memory.id, hit.score)).collect();
            assert_eq!(found, oracle.ranked(method, limit), "{method:?} of {asked:?}");
            assert!(!hits.approximate);
        }
    }
}

fn open(directory: &tempfile::TempDir) -> Store {
    let options = OpenOptions { seal_from: 5, ..OpenOptions::default() };
    Store::open(directory.path(), options).unwrap()
}

/// Every memory, scored by reading all of them.
struct Oracle {
    /// Those that may be found, with BM25 and cosine.
    scored: Vec<(Arc<Memory>, Option<f64>, Option<f64>)>,
}

impl Oracle {
    fn new(memories: Vec<Arc<Memory>>, asked: &str, types: &[MemoryType], label: Option<u32>) -> Self {
        let default = [MemoryType::Semantic, MemoryType::Episodic];
        let types = if types.is_empty() { &default[..] } else { types };
        let searched: Vec<Arc<Memory>> =
            memories.into_iter().filter(|memory| types.contains(&memory.kind)).collect();
        let analyzer = Analyzer::new("en").unwrap();
        let words = bm25(&searched, &analyzer, asked);
        let cosines = cosines(&searched, asked);
        let passes = |memory: &Memory| {
            label.is_none_or(|label| memory.metadata.get("label") == Some(&label.to_string()))
        };
        let scored = searched.into_iter().zip(words).zip(cosines).map(|((memory, w), v)| (memory, w, v));
        Self { scored: scored.filter(|(memory, ..)| passes(memory)).collect() }
    }

    fn ranked(&self, method: Method, limit: usize) -> Vec<(u64, f64)> {
        let mut ranked: Vec<(u64, f64)> = match method {
            Method::Words => self.scored.iter().filter_map(|(m, words, _)| Some((m.id, (*words)?))).collect(),
            Method::Vector => {
                self.scored.iter().filter_map(|(m, _, cosine)| Some((m.id, (*cosine)?))).collect()
            }
            Method::Hybrid => self.hybrid(),
        };
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        ranked.truncate(limit);
        ranked
    }

    /// With fewer memories than candidates, all that have a score are candidates.
    fn hybrid(&self) -> Vec<(u64, f64)> {
        if self.scored.iter().all(|(.., cosine)| cosine.is_none()) {
            return self.scored.iter().filter_map(|(m, words, _)| Some((m.id, (*words)?))).collect();
        }
        let most = |scores: Vec<f64>| scores.into_iter().fold(f64::NEG_INFINITY, f64::max);
        let top_words = most(self.scored.iter().filter_map(|(_, words, _)| *words).collect());
        let top = most(self.scored.iter().filter_map(|(.., cosine)| *cosine).collect());
        let low = -most(self.scored.iter().filter_map(|(.., cosine)| Some(-(*cosine)?)).collect());
        let fused = |words: &Option<f64>, cosine: &Option<f64>| {
            let words = words.map_or(0.0, |words| words / top_words);
            let cosine = cosine.filter(|_| top > low).map_or(0.0, |cosine| (cosine - low) / (top - low));
            (1.0 - DEFAULT_VECTOR_WEIGHT) * words + DEFAULT_VECTOR_WEIGHT * cosine
        };
        let candidate =
            |(_, words, cosine): &&(Arc<Memory>, Option<f64>, Option<f64>)| words.or(*cosine).is_some();
        let candidates: Vec<_> = self.scored.iter().filter(candidate).collect();
        let scores: HashMap<u64, f64> =
            candidates.iter().map(|(m, words, cosine)| (m.id, fused(words, cosine))).collect();
        // Neighbours by id among what may be found, of the same event time, help with a share of their score.
        let place = |id: u64| self.scored.iter().position(|(m, ..)| m.id == id).unwrap();
        let help = |memory: &Memory, other: Option<usize>| {
            let other = other.and_then(|place| self.scored.get(place)).map(|(other, ..)| other);
            let same =
                other.filter(|other| !memory.event_time.is_empty() && other.event_time == memory.event_time);
            same.and_then(|other| scores.get(&other.id)).copied().unwrap_or(0.0)
        };
        let total = |(memory, ..): &&(Arc<Memory>, Option<f64>, Option<f64>)| {
            let at = place(memory.id);
            let context = help(memory, at.checked_sub(1)).max(help(memory, Some(at + 1)));
            (memory.id, scores[&memory.id] + DEFAULT_CONTEXT_WEIGHT * context)
        };
        candidates.iter().map(total).collect()
    }
}

/// BM25 with k1 1.2 and b 0.75, summed in the query's order.
fn bm25(memories: &[Arc<Memory>], analyzer: &Analyzer, asked: &str) -> Vec<Option<f64>> {
    let terms: Vec<_> = memories.iter().map(|memory| analyzer.analyze(&memory.content)).collect();
    let (count, total) = (terms.len() as f64, terms.iter().map(|t| u64::from(t.length)).sum::<u64>() as f64);
    let frequency = |place: usize, term: &str| {
        terms[place]
            .counts
            .iter()
            .find(|(other, _)| **other == *term)
            .map(|(_, frequency)| f64::from(*frequency))
    };
    let query = analyzer.query_terms(asked);
    let score = |place: usize| {
        query.iter().fold(None, |sum: Option<f64>, term| {
            let Some(tf) = frequency(place, term) else { return sum };
            let holders = (0..terms.len()).filter(|other| frequency(*other, term).is_some()).count() as f64;
            let weight = (1.0 + (count - holders + 0.5) / (holders + 0.5)).ln() * 2.2;
            let norm = 1.2 * (1.0 - 0.75) + 1.2 * 0.75 * count / total * f64::from(terms[place].length);
            Some(sum.unwrap_or(0.0) + weight * tf / (tf + norm))
        })
    };
    (0..memories.len()).map(score).collect()
}

/// Cosines of the built-in embedder, one by one.
fn cosines(memories: &[Arc<Memory>], asked: &str) -> Vec<Option<f64>> {
    let builtin = memcore_embed::builtin();
    let embed = |text: &str| {
        let mut vector = vec![0.0; builtin.dimensions()];
        builtin.embed(text, &mut vector).then_some(vector)
    };
    let mut vectors = Vectors::new(builtin.dimensions()).unwrap();
    for memory in memories {
        vectors.push(embed(&memory.content).as_deref()).unwrap();
    }
    let query = embed(asked).map(|vector| VectorQuery::new(&vector, builtin.dimensions()).unwrap());
    let score =
        |place: usize| query.as_ref().and_then(|query| vectors.score(place as u32, query)).map(f64::from);
    (0..memories.len()).map(score).collect()
}

/// Histories until the time is up, or as many as proptest makes unless told.
#[test]
fn any_history_is_ranked_as_if_every_memory_were_read() {
    let seconds = std::env::var("MEMALPHA_TEST_SECONDS").ok().and_then(|text| text.parse().ok());
    let until = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    loop {
        let mut runner = TestRunner::new(ProptestConfig { cases: 48, ..ProptestConfig::default() });
        let histories = prop::collection::vec(step(), 1..60);
        let result = runner.run(&histories, |steps| {
            let mut world = World::new();
            steps.iter().for_each(|step| world.run(step));
            Ok(())
        });
        if let Err(failure) = result {
            panic!("{failure}");
        }
        if until.is_none_or(|until| Instant::now() >= until) {
            return;
        }
    }
}
