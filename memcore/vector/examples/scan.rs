//! What a search costs, by shape of data, number of vectors, instruction set and mode.
//!
//! `cargo run --release -p memcore-vector --example scan -- [--dim 384] [--graph] [--repeat 5] [--path avx2] 1000 10000 100000`

use std::hint::black_box;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Instant;

use memcore_vector::{Found, Kernels, Mode, Part, Query, SealOptions, SealedVectors, Vectors, normalized};

#[path = "../tests/data/mod.rs"]
mod data;
use data::{SHAPES, Shape};

const K: usize = 10;
const QUERIES: usize = 100;

struct Args {
    dim: usize,
    graph: bool,
    repeat: usize,
    path: Option<String>,
    sizes: Vec<usize>,
}

impl Args {
    fn read() -> Option<Self> {
        let mut args = Self { dim: 384, graph: false, repeat: 5, path: None, sizes: Vec::new() };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            match word.as_str() {
                "--dim" => args.dim = words.next()?.parse().ok()?,
                "--repeat" => args.repeat = words.next()?.parse().ok()?,
                "--path" => args.path = Some(words.next()?),
                "--graph" => args.graph = true,
                size => args.sizes.push(size.parse().ok()?),
            }
        }
        if args.sizes.is_empty() {
            args.sizes = vec![1_000, 10_000, 100_000];
        }
        Some(args)
    }
}

fn main() -> io::Result<()> {
    let args = Args::read().ok_or(io::Error::other("see the head of this file for the arguments"))?;
    let mut out = io::stdout().lock();
    writeln!(out, "top {K} of unit vectors, {} dimensions, one thread, microseconds", args.dim)?;
    writeln!(out, "shape     vectors  path    mode          best  median  recall@{K}")?;
    for shape in SHAPES {
        for size in &args.sizes {
            measure(&mut out, &args, shape, *size)?;
        }
    }
    Ok(())
}

fn measure(out: &mut impl Write, args: &Args, shape: Shape, size: usize) -> io::Result<()> {
    let (vectors, queries) = data::vectors(shape, size, QUERIES, args.dim, 7);
    let mut growing = Vectors::new(args.dim).map_err(io::Error::other)?;
    for vector in &vectors {
        let vector = normalized(vector, args.dim).map_err(io::Error::other)?;
        growing.push(Some(&vector)).map_err(io::Error::other)?;
    }
    let row = |out: &mut dyn Write, path: &str, mode: &str, timing: &Timing| {
        let Timing { best, median, recall } = timing;
        writeln!(out, "{shape:8?} {size:8}  {path:7} {mode:11} {best:6.1}  {median:6.1}  {recall:.4}")
    };
    let chosen = |kernels: &&Kernels| args.path.as_ref().is_none_or(|path| path == kernels.name);
    for kernels in Kernels::available().into_iter().filter(chosen) {
        let prepare =
            |query: &Vec<f32>| Query::with_kernels(query, args.dim, kernels).map_err(io::Error::other);
        let queries = queries.iter().map(prepare).collect::<io::Result<Vec<_>>>()?;
        for mode in [Mode::Exact, Mode::Auto] {
            let timing = time(&growing.part(), &queries, mode, args.repeat);
            row(out, kernels.name, &format!("{mode:?}"), &timing)?;
        }
    }
    if args.graph {
        let start = Instant::now();
        let options = SealOptions { graph_from: 0, ..SealOptions::default() };
        let bytes = growing.seal(options).map_err(io::Error::other)?;
        let built = start.elapsed().as_secs_f64();
        let start = Instant::now();
        let sealed = SealedVectors::open(Arc::new(bytes)).map_err(io::Error::other)?;
        let opened = start.elapsed().as_secs_f64() * 1e3;
        let prepare = |query: &Vec<f32>| Query::new(query, args.dim).map_err(io::Error::other);
        let queries = queries.iter().map(prepare).collect::<io::Result<Vec<_>>>()?;
        row(out, "best", "Auto, graph", &time(&sealed.part(), &queries, Mode::Auto, args.repeat))?;
        writeln!(out, "          sealed in {built:.1} s, opened in {opened:.1} ms")?;
    }
    Ok(())
}

struct Timing {
    best: f64,
    median: f64,
    recall: f64,
}

/// Each query's best time of `repeat`, to leave out what other work on the machine costs; then best and median.
fn time(part: &Part, queries: &[Query], mode: Mode, repeat: usize) -> Timing {
    let search = |query: &Query, mode: Mode| part.search(query, K, None, mode, u64::from);
    let mut times = vec![f64::INFINITY; queries.len()];
    for _ in 0..repeat {
        for (query, time) in queries.iter().zip(&mut times) {
            let start = Instant::now();
            black_box(search(query, mode));
            *time = time.min(start.elapsed().as_secs_f64() * 1e6);
        }
    }
    times.sort_by(f64::total_cmp);
    let found = |query: &Query| same(&search(query, mode), &search(query, Mode::Exact));
    let recall = queries.iter().map(found).sum::<f64>() / queries.len() as f64;
    Timing { best: times[0], median: times[times.len() / 2], recall }
}

fn same(found: &Found, exact: &Found) -> f64 {
    let hits = exact.hits.iter().filter(|hit| found.hits.contains(hit)).count();
    hits as f64 / exact.hits.len().max(1) as f64
}
