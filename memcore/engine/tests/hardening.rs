//! What must hold when things happen at once, or go wrong, or come in great numbers.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use memcore_engine::model::*;
use memcore_engine::{Clock, Error, ErrorKind, OpenOptions, Store, limits};

fn open(dir: &Path) -> Store {
    Store::open(dir, OpenOptions::default()).unwrap()
}

fn with_bank(store: Store) -> Store {
    store.create_bank("b", BankSettings::default(), "").unwrap();
    store
}

fn insert(content: &str) -> Operation {
    let (event_time, metadata) = (String::new(), Metadata::new());
    Operation::Insert {
        kind: MemoryType::Semantic,
        content: content.into(),
        event_time,
        metadata,
        embedding: None,
    }
}

fn batch(operations: Vec<Operation>) -> Batch {
    Batch { operations, ..Batch::default() }
}

fn chunk(id: &str, text: &str) -> NewChunk {
    NewChunk { chunk_id: id.into(), text: text.into(), ..NewChunk::default() }
}

fn kind_of<T: std::fmt::Debug>(result: Result<T, Error>) -> (ErrorKind, &'static str) {
    let error = result.unwrap_err();
    (error.kind, error.reason)
}

/// A clock that lets a set number of writes pass; the rest wait, and with them the writer.
#[derive(Clone, Default)]
struct Turnstile(Arc<(Mutex<Passes>, Condvar)>);

#[derive(Default)]
struct Passes {
    allowed: usize,
    arrived: usize,
}

impl Turnstile {
    fn options(&self) -> OpenOptions {
        let (this, micros) = (self.clone(), AtomicI64::new(1));
        let clock = Clock::from_fn(move || {
            this.pass();
            micros.fetch_add(1, Ordering::Relaxed)
        });
        OpenOptions { clock, ..OpenOptions::default() }
    }

    fn pass(&self) {
        let (passes, changed) = &*self.0;
        let mut passes = passes.lock().unwrap();
        passes.arrived += 1;
        let turn = passes.arrived;
        changed.notify_all();
        drop(changed.wait_while(passes, |passes| passes.allowed < turn).unwrap());
    }

    fn allow(&self, count: usize) {
        self.0.0.lock().unwrap().allowed += count;
        self.0.1.notify_all();
    }

    fn wait_for(&self, arrived: usize) {
        let (passes, changed) = &*self.0;
        drop(changed.wait_while(passes.lock().unwrap(), |passes| passes.arrived < arrived).unwrap());
    }
}

/// Calls from another thread, and gives the call time to get in line.
fn queued<T: Send + 'static>(
    store: &Store,
    call: impl FnOnce(&Store) -> T + Send + 'static,
) -> thread::JoinHandle<T> {
    let store = store.clone();
    let queued = thread::spawn(move || call(&store));
    thread::sleep(Duration::from_millis(50));
    queued
}

#[test]
fn a_poisoned_store_says_why_and_goes_on_reading() {
    let dir = tempfile::tempdir().unwrap();
    let store = with_bank(open(dir.path()));
    let other = rusqlite::Connection::open(dir.path().join("memory.db")).unwrap();
    other.execute_batch("CREATE TRIGGER no BEFORE INSERT ON records BEGIN SELECT nonsense(); END").unwrap();
    let first = store.apply("b", None, batch(vec![insert("lost")]));
    assert_eq!(kind_of(first), (ErrorKind::Internal, "STORE_IO"));
    let second = store.apply("b", None, batch(vec![insert("lost")]));
    assert_eq!(kind_of(second), (ErrorKind::Internal, "STORE_POISONED"));
    assert_eq!(kind_of(store.create_bank("c", BankSettings::default(), "")).1, "STORE_POISONED");
    assert_eq!(kind_of(store.delete_bank("b", None)).1, "STORE_POISONED");
    assert_eq!(store.bank("b", None).unwrap().revision, 1);
}

#[test]
fn a_repeated_creation_in_the_same_group_gets_the_same_bank() {
    let (dir, gate) = (tempfile::tempdir().unwrap(), Turnstile::default());
    let store = Store::open(dir.path(), gate.options()).unwrap();
    let first = queued(&store, |store| store.create_bank("other", BankSettings::default(), "").unwrap());
    gate.wait_for(1);
    let create = |store: &Store| store.create_bank("b", BankSettings::default(), "r1");
    let twice = [queued(&store, create), queued(&store, create)];
    gate.allow(9);
    first.join().unwrap();
    let [one, two] = twice.map(|call| call.join().unwrap().unwrap().bank_uid);
    assert_eq!(one, two);
}

#[test]
fn a_deletion_is_seen_once_it_is_durable_and_not_before() {
    let (dir, gate) = (tempfile::tempdir().unwrap(), Turnstile::default());
    let store = Store::open(dir.path(), gate.options()).unwrap();
    gate.allow(2);
    store.create_bank("b", BankSettings::default(), "").unwrap();
    store.create_bank("c", BankSettings::default(), "").unwrap();
    let write = |store: &Store| store.apply("c", None, batch(vec![insert("x")])).map(drop);
    let first = queued(&store, write);
    gate.wait_for(3);
    // The group after the one that waits: the deletion, then a write that stops at the clock.
    let deletion = queued(&store, |store| store.delete_bank("b", None));
    let second = queued(&store, |store| store.apply("c", None, batch(vec![insert("y")])).map(drop));
    gate.allow(1);
    gate.wait_for(4);
    assert!(store.bank("b", None).is_ok(), "staged is not durable");
    gate.allow(1);
    for call in [first, deletion, second] {
        call.join().unwrap().unwrap();
    }
    assert_eq!(kind_of(store.bank("b", None)), (ErrorKind::NotFound, "BANK_NOT_FOUND"));
}

#[test]
fn a_dropped_store_lets_go_of_its_directory() {
    let dir = tempfile::tempdir().unwrap();
    for i in 0..50 {
        let store = open(dir.path());
        store.create_bank(&format!("b{i}"), BankSettings::default(), "").unwrap();
    }
}

#[test]
fn a_closed_store_lets_go_of_its_directory_though_a_forked_child_lives() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    // SAFETY: the child calls only pause(), which is safe after fork() in a program with threads.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: waits for the signal that ends the child.
        unsafe { libc::pause() };
    }
    store.close();
    let reopened = Store::open(dir.path(), OpenOptions::default()).map(drop);
    // SAFETY: the pid is that of our own child, which is waited for once.
    unsafe {
        libc::kill(child, libc::SIGKILL);
        libc::waitpid(child, std::ptr::null_mut(), 0);
    }
    assert_eq!(reopened, Ok(()));
}

#[test]
fn whoever_reads_a_bank_while_it_is_deleted_finds_it_or_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..60).map(|i| format!("b{i}")).collect();
    let store = open(dir.path());
    for name in &names {
        store.create_bank(name, BankSettings::default(), "").unwrap();
        let chunks = (0..20).map(|i| chunk(&format!("c{i}"), "text")).collect();
        store.append_chunks(name, None, chunks).unwrap();
    }
    store.close();
    // Opened anew, every bank is replayed by its first reader.
    let store = open(dir.path());
    for name in &names {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let (store, name) = (store.clone(), name.clone());
                thread::spawn(move || {
                    loop {
                        if let Err(error) = store.chunks(&name, 0, false, 10) {
                            return error.kind;
                        }
                    }
                })
            })
            .collect();
        store.delete_bank(name, None).unwrap();
        for reader in readers {
            assert_eq!(reader.join().unwrap(), ErrorKind::NotFound);
        }
    }
}

#[test]
fn emptied_core_memory_says_when_and_by_what() {
    let store = with_bank(Store::in_memory());
    let core = |content: &str| Operation::Update {
        kind: MemoryType::Core,
        memory_id: 0,
        content: content.into(),
        event_time: None,
        embedding: None,
    };
    store.apply("b", None, batch(vec![core("Ada")])).unwrap();
    let delete = Operation::Delete { kind: MemoryType::Core, memory_id: 0 };
    store.apply("b", None, batch(vec![insert("x"), delete])).unwrap();
    let bank = store.bank("b", None).unwrap();
    let (page, _) = store.memories("b", Some(MemoryType::Core), None, None, false, 1).unwrap();
    let core = &page.items[0];
    assert_eq!((core.content.as_str(), core.update_revision, core.update_time), ("", 3, bank.update_time));
    assert_eq!((core.provenance.revision, core.provenance.operation_index), (3, 1));
}

#[test]
fn a_history_can_be_asked_for_after_any_place() {
    let store = with_bank(Store::in_memory());
    let filter = EventFilter::default();
    for (after, found) in [((0, 0), 1), ((1, 0), 0), ((u64::MAX, u32::MAX), 0)] {
        assert_eq!(store.events("b", &filter, Some(after), 10).unwrap().items.len(), found);
    }
}

#[test]
fn a_request_id_is_forgotten_after_its_window() {
    let dir = tempfile::tempdir().unwrap();
    let now = Arc::new(AtomicI64::new(0));
    let options = || {
        let now = Arc::clone(&now);
        OpenOptions { clock: Clock::from_fn(move || now.load(Ordering::Relaxed)), ..OpenOptions::default() }
    };
    let store = with_bank(Store::open(dir.path(), options()).unwrap());
    let asked = |content: &str| Batch { request_id: "r1".into(), ..batch(vec![insert(content)]) };
    let first = store.apply("b", None, asked("one")).unwrap();
    now.store(first.revision as i64 + limits::REQUEST_WINDOW_MICROS - 1_000, Ordering::Relaxed);
    assert_eq!(store.apply("b", None, asked("one")).unwrap(), first);
    assert_eq!(kind_of(store.apply("b", None, asked("two"))).1, "REQUEST_ID_REUSED");
    now.fetch_add(2_000, Ordering::Relaxed);
    let second = store.apply("b", None, asked("two")).unwrap();
    assert_eq!(second.revision, 3);
    assert_eq!(store.apply("b", None, asked("two")).unwrap(), second);
    store.close();
    let store = Store::open(dir.path(), options()).unwrap();
    assert_eq!(store.apply("b", None, asked("two")).unwrap(), second, "also after a restart");
}

#[test]
fn a_write_has_a_size_beyond_which_it_is_refused_whole() {
    let store = with_bank(Store::in_memory());
    let big = |i: usize| chunk(&format!("c{i}"), &"x".repeat(limits::CHUNK_TEXT_BYTES));
    let error = store.append_chunks("b", None, (0..17).map(big).collect()).unwrap_err();
    assert_eq!((error.kind, error.reason), (ErrorKind::InvalidInput, "TOO_LONG"));
    assert!(error.message.contains("17825792"), "{}", error.message);
    let rejected = |text: usize, message: usize| {
        let error =
            OperationError { reason: OperationErrorReason::MalformedCall, message: "m".repeat(message) };
        batch(vec![Operation::Rejected { text: "t".repeat(text), error }])
    };
    store.apply("b", None, rejected(limits::CONTENT_BYTES, limits::FAILURE_MESSAGE_BYTES)).unwrap();
    assert_eq!(kind_of(store.apply("b", None, rejected(limits::CONTENT_BYTES + 1, 1))).1, "TOO_LONG");
    assert_eq!(kind_of(store.apply("b", None, rejected(1, limits::FAILURE_MESSAGE_BYTES + 1))).1, "TOO_LONG");
}

#[test]
fn deleting_many_large_memories_takes_several_batches() {
    let store = with_bank(Store::in_memory());
    let metadata = Metadata::from([("key".into(), "x".repeat(16_000))]);
    let large = |i: usize| Operation::Insert {
        kind: MemoryType::Semantic,
        content: format!("fact {i}"),
        event_time: String::new(),
        metadata: metadata.clone(),
        embedding: None,
    };
    for half in [0..300, 300..600] {
        store.apply("b", None, batch(half.map(large).collect())).unwrap();
    }
    let delete = |id| Operation::Delete { kind: MemoryType::Semantic, memory_id: id };
    // 600 memories of 16 kB are more than 8 MiB, 500 are not.
    let all = store.apply("b", None, batch((1..=600).map(delete).collect()));
    assert_eq!(kind_of(all), (ErrorKind::InvalidInput, "BATCH_TOO_LARGE"));
    assert_eq!(store.bank("b", None).unwrap().stats.semantic_count, 600, "nothing changed");
    store.apply("b", None, batch((1..=500).map(delete).collect())).unwrap();
    assert_eq!(store.bank("b", None).unwrap().stats.semantic_count, 100);
}

#[test]
fn more_types_than_there_are_cannot_be_switched_off() {
    let disabled_types = vec![MemoryType::Core; 4];
    let settings = BankSettings { disabled_types, ..BankSettings::default() };
    assert_eq!(kind_of(Store::in_memory().create_bank("b", settings, "")).0, ErrorKind::InvalidInput);
}

#[test]
fn a_page_of_large_chunks_is_cut_short_and_leads_on() {
    let dir = tempfile::tempdir().unwrap();
    for store in [Store::in_memory(), open(dir.path())].map(with_bank) {
        for i in 0..5 {
            let text = "x".repeat(limits::CHUNK_TEXT_BYTES);
            store.append_chunks("b", None, vec![chunk(&format!("c{i}"), &text)]).unwrap();
        }
        let (page, _) = store.chunks("b", 0, false, 1000).unwrap();
        // Four of 1 MiB fill a page.
        assert_eq!((page.items.len(), page.next), (4, Some(4)));
        let events = store.events("b", &EventFilter::default(), None, 1000).unwrap();
        // The bank's creation comes first.
        assert_eq!((events.items.len(), events.next), (5, Some((5, 0))));
        let rest = store.events("b", &EventFilter::default(), events.next, 1000).unwrap();
        assert_eq!(rest.items[0].revision, 6);
    }
}

#[test]
fn the_log_stays_short_though_writes_never_pause() {
    let dir = tempfile::tempdir().unwrap();
    let options = OpenOptions { checkpoint_bytes: 1 << 16, ..OpenOptions::default() };
    let store = with_bank(Store::open(dir.path(), options).unwrap());
    let metadata = Metadata::from([("key".into(), "x".repeat(16_000))]);
    let append = move |store: &Store, thread: usize| {
        for i in 0..40 {
            let large =
                |j| NewChunk { metadata: metadata.clone(), ..chunk(&format!("{thread}/{i}/{j}"), "x") };
            store.append_chunks("b", None, (0..10).map(large).collect()).unwrap();
        }
    };
    let threads: Vec<_> = (0..8)
        .map(|thread| {
            let (store, append) = (store.clone(), append.clone());
            thread::spawn(move || append(&store, thread))
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    // 320 records of 160 kB were written: 51 MB.
    let log = std::fs::metadata(dir.path().join("memory.db-wal")).unwrap().len();
    assert!(log < 16 << 20, "{log} bytes");
}

#[test]
fn the_hits_of_one_search_have_a_bound() {
    let store = with_bank(Store::in_memory());
    let content = |i: usize| format!("word {i} {}", "!".repeat(limits::CONTENT_BYTES - 100));
    store.apply("b", None, batch((0..100).map(|i| insert(&content(i))).collect())).unwrap();
    let query = Query { text: "word".into(), limit: 100, method: Some(Method::Words), ..Query::default() };
    // Ten queries find 100 memories of 64 KiB each: 62 MiB.
    assert_eq!(store.search("b", &vec![query.clone(); 10]).unwrap().results.len(), 10);
    assert_eq!(kind_of(store.search("b", &vec![query; 11])), (ErrorKind::OutOfRange, "TOO_MANY_HITS"),);
}

#[test]
fn the_queries_of_one_search_see_one_revision_whatever_is_written_and_compacted_between_them() {
    let store = with_bank(Store::in_memory());
    store.apply("b", None, batch(vec![insert("alpha")])).unwrap();
    // Enough other memories and queries that many writes come about during one search.
    let others = (0..200).map(|i| insert(&format!("beta {i}"))).collect();
    store.apply("b", None, batch(others)).unwrap();
    let query =
        Query { text: "alpha beta".into(), limit: 10, method: Some(Method::Words), ..Query::default() };
    let queries = vec![query; 1000];
    // Five hundred words a version: some ten updates are enough dead postings for a compaction.
    let words: Vec<String> = (0..500).map(|i| format!("word{i}")).collect();
    let text = words.join(" ");
    let writer = thread::spawn({
        let store = store.clone();
        move || {
            for i in 0..400 {
                let content = format!("alpha {i} {text}");
                let kind = MemoryType::Semantic;
                let update =
                    Operation::Update { kind, memory_id: 1, content, event_time: None, embedding: None };
                store.apply("b", None, batch(vec![update])).unwrap();
            }
        }
    });
    let mut revisions = Vec::new();
    while !writer.is_finished() {
        let reply = store.search("b", &queries).unwrap();
        let first = &reply.results[0].memories;
        assert_eq!((first.len(), first[0].memory.id), (10, 1));
        assert!(first[0].memory.update_revision <= reply.revision);
        assert!(reply.results.iter().all(|hits| hits.memories == *first));
        revisions.push(reply.revision);
    }
    writer.join().unwrap();
    revisions.dedup();
    assert!(revisions.len() > 1, "writes must have come between searches");
}
