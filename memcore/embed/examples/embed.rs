//! Times the built-in embedder: start-up, then texts of 40 and of 1,000 tokens.
//!
//!     cargo run --release -p memcore-embed --example embed

use std::hint::black_box;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use memcore_embed::{StaticEmbedder, builtin};

/// Forty tokens, the punctuation among them.
const TEXT: &str = "Alice moved to Berlin in March and works as a nurse at the old hospital. \
    She adopted two cats from the shelter, and on Sunday she goes to the lake with her sister and her old brother.";

fn main() -> io::Result<()> {
    let mut out = io::stdout().lock();
    let start = Instant::now();
    let embedder = builtin();
    writeln!(out, "{}: opened in {:?}", embedder.id(), start.elapsed())?;
    let unlike = "北京的天气很好, naïve café, Привет мир! ".repeat(2);
    for (name, text) in [("40 tokens", TEXT), ("1,000 tokens", &TEXT.repeat(25)), ("other scripts", &unlike)]
    {
        let (median, least) = times(embedder, text);
        writeln!(out, "{name} ({} bytes): median {median:?}, least {least:?}", text.len())?;
    }
    Ok(())
}

/// Median and least of many short rounds, which another process seldom interrupts.
fn times(embedder: &StaticEmbedder, text: &str) -> (Duration, Duration) {
    let calls = (20_000 / text.len() as u32).max(1);
    let mut vector = vec![0.0; embedder.dimensions()];
    let mut rounds: Vec<Duration> = (0..501)
        .map(|_| {
            let start = Instant::now();
            (0..calls).for_each(|_| assert!(embedder.embed(black_box(text), &mut vector)));
            start.elapsed() / calls
        })
        .collect();
    rounds.sort();
    (rounds[250], rounds[0])
}
