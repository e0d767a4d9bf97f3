//! Load for `just bench`: queries to a server, or durable writes from many threads.
//!
//! `load search ADDRESS BANK BATCH CALLS` sends the lines of standard input as queries and prints the microseconds
//! of each call. `load write DIRECTORY BANK WRITERS EACH` prints the microseconds that one write of every writer
//! takes: writers do not wait for each other.

use std::error::Error;
use std::io::{self, BufRead, Write};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use memcore_engine::{OpenOptions, Store};
use memcore_server::api::memory_service_client::MemoryServiceClient;
use memcore_server::{MAX_MESSAGE_BYTES, api, call};
use prost::Message;

/// One connection's streams share a lock, so that there are several connections.
const CONNECTIONS: usize = 4;
const CALLS_IN_FLIGHT: usize = 32;
const HITS: i32 = 10;
const USAGE: &str = "load search ADDRESS BANK BATCH CALLS | load write DIRECTORY BANK WRITERS EACH";

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let times = match arguments[..] {
        ["search", address, bank, batch, calls] => search(address, bank, batch.parse()?, calls.parse()?)?,
        ["write", directory, bank, writers, each] => {
            vec![write(Path::new(directory), bank, writers.parse()?, each.parse()?)?]
        }
        _ => return Err(USAGE.into()),
    };
    let mut out = io::stdout().lock();
    times.iter().try_for_each(|time| writeln!(out, "{:.3}", time.as_secs_f64() * 1e6))?;
    Ok(())
}

#[tokio::main]
async fn search(address: &str, bank: &str, batch: usize, calls: usize) -> Outcome<Vec<Duration>> {
    let requests = Arc::new(requests(bank, batch)?);
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        let client = MemoryServiceClient::connect(format!("http://{address}")).await?;
        clients.push(client.max_decoding_message_size(MAX_MESSAGE_BYTES));
    }
    let tasks = (0..CALLS_IN_FLIGHT).map(|task| {
        let mut client = clients[task % CONNECTIONS].clone();
        let requests = requests.clone();
        tokio::spawn(async move {
            let mut times = Vec::new();
            for n in (task..calls).step_by(CALLS_IN_FLIGHT) {
                let request = requests[n % requests.len()].clone();
                let start = Instant::now();
                let reply = client.search_memories(request).await?.into_inner();
                times.push(start.elapsed());
                if reply.results.len() != batch || reply.results.iter().any(|hits| hits.memories.is_empty()) {
                    return Err("each query finds something".into());
                }
            }
            Outcome::Ok(times)
        })
    });
    let mut times = Vec::new();
    for task in tasks.collect::<Vec<_>>() {
        times.extend(task.await??);
    }
    Ok(times)
}

fn requests(bank: &str, batch: usize) -> Outcome<Vec<api::SearchMemoriesRequest>> {
    let texts = io::stdin().lock().lines().collect::<io::Result<Vec<_>>>()?;
    let query =
        |text: &String| api::SearchQuery { text: text.clone(), limit: Some(HITS), ..Default::default() };
    let request = |texts: &[String]| api::SearchMemoriesRequest {
        bank_id: bank.into(),
        queries: texts.iter().map(query).collect(),
    };
    Ok(texts.chunks_exact(batch).map(request).collect())
}

fn write(directory: &Path, bank: &str, writers: usize, each: usize) -> Outcome<Duration> {
    let store = Store::open(directory, OpenOptions::default())?;
    let run = std::process::id();
    let start = Instant::now();
    thread::scope(|scope| {
        let writer = |writer: usize| {
            let store = &store;
            scope.spawn(move || -> Outcome<()> {
                for n in 0..each {
                    let request = insert(bank, format!("{MEMORY} {run} {writer} {n}"));
                    call(store, "ApplyOperations", &request.encode_to_vec())?;
                }
                Ok(())
            })
        };
        let threads: Vec<_> = (0..writers).map(writer).collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a writer panicked")?)
    })?;
    Ok(start.elapsed() / u32::try_from(each)?)
}

const MEMORY: &str = "Ada moved from Bern to Lisbon in the spring of 2024 because her sister lives there, and she now \
                      teaches the cello at a small school near the river on most weekday afternoons";

fn insert(bank: &str, content: String) -> api::ApplyOperationsRequest {
    let insert =
        api::InsertOperation { r#type: api::MemoryType::Semantic.into(), content, ..Default::default() };
    api::ApplyOperationsRequest {
        bank_id: bank.into(),
        operations: vec![api::Operation { operation: Some(api::operation::Operation::Insert(insert)) }],
        ..Default::default()
    }
}
