//! How long a search takes inside the engine, by size, where the documents lie, and how frequent the terms are.
//!
//! The workload is that of `memcore/benches/workload.py`: memories of 30 words from a Zipf vocabulary of 8,000,
//! queries of six words as they occur in a memory. `LAYOUT=tail cargo run --release --example words -- 1000 10000`; without
//! LAYOUT, all layouts.

use std::io::Write;
use std::sync::Arc;
use std::time::Instant;

use memcore_engine::index::bundle::{Bundle, OwnedBytes};
use memcore_engine::index::{Filter, Index, Query, Scored, Scoring, Sealed, Stats};
use memcore_engine::text::Terms;

const VOCABULARY: usize = 8_000;
const WORDS_PER_MEMORY: usize = 30;
const TERMS_PER_QUERY: usize = 6;
const QUERIES: usize = 300;
const ROUNDS: usize = 7;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let wanted = std::env::var("LAYOUT").unwrap_or_default();
    let sizes: Vec<usize> = std::env::args().skip(1).map(|size| size.parse()).collect::<Result<_, _>>()?;
    let mut out = std::io::stdout();
    writeln!(out, "memories  parts        p50 us  mean us   p95 us   max us  insert us")?;
    for size in sizes {
        let memories = Workload::new(size);
        let layouts: [(&str, &[usize]); 3] =
            [("tail", &[]), ("one sealed", &[100]), ("mixed", &[60, 85, 95])];
        for (name, seals) in
            layouts.into_iter().filter(|(name, _)| wanted.is_empty() || wanted.contains(name))
        {
            let start = Instant::now();
            let (index, stats) = memories.index(seals)?;
            let insert = start.elapsed().as_secs_f64() * 1e6 / size as f64;
            let mut times = memories.times(&index, &stats);
            times.sort_by(f64::total_cmp);
            let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
            let mean = times.iter().sum::<f64>() / times.len() as f64;
            let (p50, p95, max) = (at(0.5), at(0.95), at(1.0));
            writeln!(out, "{size:8}  {name:10} {p50:8.1} {mean:8.1} {p95:8.1} {max:8.1}   {insert:8.1}")?;
        }
    }
    Ok(())
}

struct Workload {
    memories: Vec<Terms>,
    queries: Vec<Vec<(Box<str>, u32)>>,
}

impl Workload {
    fn new(size: usize) -> Self {
        let mut random = Random(1);
        let mut sums = Vec::with_capacity(VOCABULARY);
        let mut sum = 0.0;
        for rank in 0..VOCABULARY {
            sum += 1.0 / (rank + 1) as f64;
            sums.push(sum);
        }
        let word = |random: &mut Random| {
            let point = random.below(1 << 30) as f64 / (1u64 << 30) as f64 * sum;
            sums.partition_point(|sum| *sum <= point).min(VOCABULARY - 1)
        };
        let texts: Vec<Vec<usize>> =
            (0..size).map(|_| (0..WORDS_PER_MEMORY).map(|_| word(&mut random)).collect()).collect();
        let mut queries = Vec::new();
        for _ in 0..QUERIES {
            let mut text = texts[random.below(size as u64) as usize].clone();
            for place in 0..TERMS_PER_QUERY {
                let other = place + random.below((WORDS_PER_MEMORY - place) as u64) as usize;
                text.swap(place, other);
            }
            queries.push(terms(&text[..TERMS_PER_QUERY]).counts);
        }
        Self { memories: texts.iter().map(|text| terms(text)).collect(), queries }
    }

    /// Seals the tail whenever one of these percentages is in.
    fn index(&self, seals: &[usize]) -> Result<(Index, Stats), Box<dyn std::error::Error>> {
        let (mut index, mut stats) = (Index::default(), Stats::default());
        for (key, terms) in self.memories.iter().enumerate() {
            index.insert(key as u64, 1, terms, 1);
            stats.add(1, terms.length);
            let sealed = seals.iter().any(|share| self.memories.len() * share / 100 == key + 1);
            if let Some(frozen) = sealed.then(|| index.freeze()).flatten() {
                let bundle = Bundle::open(OwnedBytes::new(frozen.seal("words/1")?.finish()))?;
                index.install(frozen.number, Arc::new(Sealed::open(&bundle, "words/1")?));
            }
        }
        Ok((index, stats))
    }

    /// Microseconds of each query, the best of several rounds: what it costs on a machine that does nothing else.
    fn times(&self, index: &Index, stats: &Stats) -> Vec<f64> {
        let filter = Filter { kinds: 0b0110, revision: 2, allowed: None };
        let search = |terms| -> Vec<Scored> {
            index.search(&Query { terms, filter, scoring: Scoring::default(), stats }, 10)
        };
        let timed = |terms| {
            let mut rounds = [(); ROUNDS].map(|()| {
                let start = Instant::now();
                std::hint::black_box(search(terms));
                start.elapsed().as_secs_f64() * 1e6
            });
            rounds.sort_by(f64::total_cmp);
            rounds[0]
        };
        self.queries.iter().for_each(|query| drop(search(query)));
        self.queries.iter().map(|query| timed(query)).collect()
    }
}

fn terms(words: &[usize]) -> Terms {
    let mut terms = Terms { length: words.len() as u32, ..Terms::default() };
    for word in words {
        let word: Box<str> = format!("w{word}").into();
        match terms.counts.iter_mut().find(|(other, _)| *other == word) {
            Some((_, count)) => *count += 1,
            None => terms.counts.push((word, 1)),
        }
    }
    terms
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}
