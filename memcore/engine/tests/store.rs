//! The store's promises, through its public face.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;

use memcore_engine::model::*;
use memcore_engine::{Clock, Error, ErrorKind, OpenOptions, Store};

/// A clock that stands still: record times must grow all the same.
fn frozen() -> OpenOptions {
    OpenOptions { clock: Clock::from_fn(|| 1_000), ..OpenOptions::default() }
}

fn open(dir: &Path) -> Store {
    Store::open(dir, frozen()).unwrap()
}

fn with_bank(dir: &Path) -> Store {
    let store = open(dir);
    store.create_bank("b", BankSettings::default(), "").unwrap();
    store
}

fn chunk(id: &str, text: &str) -> NewChunk {
    NewChunk { chunk_id: id.into(), text: text.into(), ..NewChunk::default() }
}

fn insert(kind: MemoryType, content: &str) -> Operation {
    Operation::Insert {
        kind,
        content: content.into(),
        event_time: String::new(),
        metadata: Metadata::new(),
        embedding: None,
    }
}

fn update(kind: MemoryType, memory_id: u64, content: &str) -> Operation {
    Operation::Update { kind, memory_id, content: content.into(), event_time: None, embedding: None }
}

fn batch(operations: Vec<Operation>) -> Batch {
    Batch { operations, ..Batch::default() }
}

fn reason(result: &OperationResult) -> Option<OperationErrorReason> {
    result.outcome.as_ref().err().map(|error| error.reason)
}

fn query(text: &str) -> Query {
    Query {
        text: text.into(),
        limit: 10,
        include_pending: true,
        method: Some(Method::Words),
        ..Query::default()
    }
}

fn contents(store: &Store) -> Vec<String> {
    let (page, _) = store.memories("b", None, None, None, false, 1000).unwrap();
    page.items.into_iter().map(|memory| memory.content.clone()).collect()
}

fn kind_of<T: std::fmt::Debug>(result: Result<T, Error>) -> (ErrorKind, &'static str) {
    let error = result.unwrap_err();
    (error.kind, error.reason)
}

#[test]
fn what_was_acknowledged_is_there_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let store = with_bank(dir.path());
    store.append_chunks("b", None, vec![chunk("c0", "Ada moved to Rome"), chunk("c1", "Hello")]).unwrap();
    let view = store.writer_view("b", View::Recent { semantic: 5, episodic: 5 }, None).unwrap();
    let applied = store
        .apply(
            "b",
            Some(&view.bank.bank_uid),
            Batch {
                operations: vec![
                    insert(MemoryType::Semantic, "Ada lives in Rome"),
                    update(MemoryType::Core, 0, "The user is Ada."),
                ],
                cursor_token: Some(view.bank.cursor_token),
                memory_revision: Some(view.bank.memory_revision),
                advance_to: Some(1),
                raw_output: "raw".into(),
                ..Batch::default()
            },
        )
        .unwrap();
    // Record 1 made the bank, 2 the chunks, 3 the operations.
    assert_eq!((applied.revision, applied.memory_revision, applied.cursor), (3, 3, 1));
    let before = (store.bank("b", None).unwrap(), contents(&store));
    let events = store.events("b", &EventFilter::default(), None, 100).unwrap();
    store.close();

    let store = open(dir.path());
    assert_eq!((store.bank("b", None).unwrap(), contents(&store)), before);
    assert_eq!(before.1, ["The user is Ada.", "Ada lives in Rome"]);
    assert_eq!(store.events("b", &EventFilter::default(), None, 100).unwrap(), events);
    // BankCreated, two chunks, two operations, the cursor.
    assert_eq!(events.items.len(), 6);
    let (memories, _) = store.memories("b", Some(MemoryType::Semantic), None, None, false, 10).unwrap();
    assert_eq!(memories.items[0].provenance.chunk, Some(("c0".into(), 0)));
    let (chunks, cursor) = store.chunks("b", 0, true, 10).unwrap();
    assert_eq!((chunks.items[0].chunk_id.as_str(), chunks.items[0].position, cursor), ("c1", 1, 1));
}

#[test]
fn a_chunk_id_stores_its_text_once_and_refuses_another() {
    let dir = tempfile::tempdir().unwrap();
    let store = with_bank(dir.path());
    let twice = vec![chunk("c0", "one"), chunk("c0", "one")];
    let appended = store.append_chunks("b", None, twice.clone()).unwrap();
    let stored: Vec<_> = appended.results.iter().map(|r| (r.position, r.already_stored)).collect();
    assert_eq!(stored, [(0, false), (0, true)]);
    let again = store.append_chunks("b", None, twice).unwrap();
    assert!(again.results.iter().all(|r| r.already_stored));
    assert_eq!(again.revision, appended.revision, "a repeat leaves no record");
    let other = store.append_chunks("b", None, vec![chunk("c1", "two"), chunk("c0", "other")]);
    assert_eq!(kind_of(other), (ErrorKind::Conflict, "CHUNK_ID_REUSED"));
    assert_eq!(store.bank("b", None).unwrap().stats.chunk_count, 1, "all or none");
}

#[test]
fn a_batch_decided_on_another_state_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = with_bank(dir.path());
    store.append_chunks("b", None, vec![chunk("c0", "x"), chunk("c1", "y")]).unwrap();
    let read = store.bank("b", None).unwrap();
    let memorize = |memory: &str, advance_to| Batch {
        operations: vec![insert(MemoryType::Semantic, memory)],
        cursor_token: Some(read.cursor_token.clone()),
        memory_revision: Some(read.memory_revision),
        advance_to,
        ..Batch::default()
    };
    store.append_chunks("b", None, vec![chunk("c2", "z")]).unwrap();
    store.apply("b", None, memorize("first", Some(1))).expect("appended chunks do not count as change");
    assert_eq!(kind_of(store.apply("b", None, memorize("second", Some(1)))).1, "CURSOR_MOVED");
    let stale = Batch { cursor_token: None, ..memorize("third", None) };
    assert_eq!(kind_of(store.apply("b", None, stale)), (ErrorKind::Conflict, "MEMORY_CHANGED"));
    let uid = Some("0123456789abcdef");
    assert_eq!(kind_of(store.apply("b", uid, batch(vec![]))).1, "BANK_RECREATED");
    assert_eq!(contents(&store), ["", "first"]);
}

#[test]
fn each_operation_has_its_own_result() {
    let store = Store::in_memory();
    let settings = BankSettings { disabled_types: vec![MemoryType::Episodic], ..BankSettings::default() };
    store.create_bank("b", settings, "").unwrap();
    let big = "x".repeat(70_000);
    let applied = store
        .apply(
            "b",
            None,
            batch(vec![
                insert(MemoryType::Semantic, "fact"),
                insert(MemoryType::Semantic, "fact"),
                insert(MemoryType::Core, "core"),
                insert(MemoryType::Semantic, "  "),
                insert(MemoryType::Semantic, &big),
                insert(MemoryType::Episodic, "event"),
                update(MemoryType::Semantic, 9, "nothing"),
                update(MemoryType::Semantic, 1, "fact 2"),
                Operation::Delete { kind: MemoryType::Semantic, memory_id: 1 },
                insert(MemoryType::Semantic, "fact"),
            ]),
        )
        .unwrap();
    use OperationErrorReason::*;
    let reasons: Vec<_> = applied.results.iter().map(reason).collect();
    let expected = [
        None,
        Some(DuplicateContent),
        Some(CoreNotInsertable),
        Some(InvalidContent),
        Some(ContentTooLong),
        Some(TypeDisabled),
        Some(MemoryNotFound),
        None,
        None,
        None,
    ];
    assert_eq!(reasons, expected);
    let (page, _) = store.memories("b", Some(MemoryType::Semantic), None, None, false, 10).unwrap();
    let ids: Vec<u64> = page.items.iter().map(|memory| memory.id).collect();
    assert_eq!(ids, [2], "ids are never reused, not even in one batch");
}

#[test]
fn an_atomic_batch_with_one_bad_operation_leaves_the_bank_untouched() {
    let store = Store::in_memory();
    store.create_bank("b", BankSettings::default(), "").unwrap();
    let operations = vec![insert(MemoryType::Semantic, "good"), update(MemoryType::Semantic, 7, "bad")];
    let applied = store.apply("b", None, Batch { atomic: true, ..batch(operations) }).unwrap();
    let reasons: Vec<_> = applied.results.iter().map(reason).collect();
    use OperationErrorReason::*;
    assert_eq!(reasons, [Some(BatchAborted), Some(MemoryNotFound)]);
    assert_eq!((applied.revision, contents(&store)), (1, vec![String::new()]));
}

#[test]
fn core_memory_over_its_limit_is_cut_and_says_so() {
    let store = Store::in_memory();
    store.create_bank("b", BankSettings { core_token_limit: 20, ..BankSettings::default() }, "").unwrap();
    let long = "word ".repeat(100);
    let applied = store.apply("b", None, batch(vec![update(MemoryType::Core, 0, &long)])).unwrap();
    let memory = applied.results[0].outcome.as_ref().unwrap();
    assert!(applied.results[0].truncated && memory.token_count <= 20, "{memory:?}");
    assert!(long.starts_with(memory.content.split(" [").next().unwrap()));
}

#[test]
fn a_repeated_request_gets_the_first_reply_and_another_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = with_bank(dir.path());
    let asked = |content: &str| Batch {
        request_id: "r1".into(),
        ..batch(vec![insert(MemoryType::Semantic, content)])
    };
    let first = store.apply("b", None, asked("fact")).unwrap();
    store.apply("b", None, batch(vec![insert(MemoryType::Semantic, "later")])).unwrap();
    assert_eq!(store.apply("b", None, asked("fact")).unwrap(), first);
    assert_eq!(kind_of(store.apply("b", None, asked("other"))).1, "REQUEST_ID_REUSED");
    store.close();
    let store = open(dir.path());
    assert_eq!(store.apply("b", None, asked("fact")).unwrap(), first, "also after a restart");
    assert_eq!(contents(&store), ["", "fact", "later"]);
}

#[test]
fn a_chunk_that_fails_too_often_is_parked_until_someone_decides() {
    let dir = tempfile::tempdir().unwrap();
    let store = with_bank(dir.path());
    store.append_chunks("b", None, vec![chunk("c0", "x"), chunk("c1", "y")]).unwrap();
    let report = || FailureReport {
        cursor_token: store.bank("b", None).unwrap().cursor_token,
        message: "no".into(),
        raw_output: String::new(),
    };
    let parked: Vec<bool> =
        (0..3).map(|_| store.report_failure("b", None, report()).unwrap().0.parked).collect();
    assert_eq!(parked, [false, false, true]);
    let bank = store.bank("b", None).unwrap();
    let advance = Batch { advance_to: Some(1), cursor_token: Some(bank.cursor_token), ..Batch::default() };
    assert_eq!(kind_of(store.apply("b", None, advance)).1, "CHUNK_PARKED");
    assert_eq!(kind_of(store.report_failure("b", None, report())).1, "CHUNK_PARKED");
    assert!(store.pending_banks(None, 10).unwrap().items[0].parked);
    let bank = store.resolve_parked("b", None, ParkedChunkAction::Skip).unwrap();
    assert_eq!((bank.cursor, bank.failures), (1, None));
    let again = store.resolve_parked("b", None, ParkedChunkAction::Retry);
    assert_eq!(kind_of(again), (ErrorKind::Conflict, "NOT_PARKED"));
}

#[test]
fn pending_chunks_are_found_until_they_are_memorized() {
    let store = Store::in_memory();
    store.create_bank("b", BankSettings::default(), "").unwrap();
    store.append_chunks("b", None, vec![chunk("c0", "the parrot sleeps")]).unwrap();
    let found = store.search("b", &[query("parrots")]).unwrap();
    assert_eq!((found.results[0].memories.len(), found.results[0].pending.len()), (0, 1));
    let cursor_token = Some(store.bank("b", None).unwrap().cursor_token);
    let operations = vec![insert(MemoryType::Episodic, "The parrot slept")];
    let memorize = Batch { advance_to: Some(1), cursor_token, ..batch(operations) };
    store.apply("b", None, memorize).unwrap();
    let found = store.search("b", &[query("parrots")]).unwrap();
    assert_eq!((found.results[0].memories.len(), found.results[0].pending.len()), (1, 0));
}

#[test]
fn a_deleted_bank_is_gone_and_its_namesake_is_another() {
    let dir = tempfile::tempdir().unwrap();
    let store = with_bank(dir.path());
    let old = store.bank("b", None).unwrap().bank_uid;
    let refused = store.create_bank("b", BankSettings::default(), "");
    assert_eq!(kind_of(refused), (ErrorKind::AlreadyExists, "BANK_ALREADY_EXISTS"));
    store.apply("b", None, batch(vec![insert(MemoryType::Semantic, "old")])).unwrap();
    store.delete_bank("b", Some(&old)).unwrap();
    assert_eq!(kind_of(store.bank("b", None)), (ErrorKind::NotFound, "BANK_NOT_FOUND"));
    store.create_bank("b", BankSettings::default(), "").unwrap();
    assert_eq!(kind_of(store.delete_bank("b", Some(&old))).1, "BANK_RECREATED");
    assert_eq!(contents(&store), [""]);
    store.close();
    assert_eq!(contents(&open(dir.path())), [""]);
}

#[test]
fn a_second_opener_learns_who_holds_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let store = with_bank(dir.path());
    store.set_note("127.0.0.1:50051").unwrap();
    let error = Store::open(dir.path(), frozen()).err().unwrap();
    assert_eq!(error.reason, "STORE_LOCKED");
    let pid = std::process::id().to_string();
    assert!(error.message.contains(&pid) && error.message.contains("127.0.0.1:50051"), "{}", error.message);
    store.close();
    open(dir.path());
}

#[test]
fn a_closed_store_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let store = with_bank(dir.path());
    store.close();
    let late = store.apply("b", None, batch(vec![insert(MemoryType::Semantic, "late")]));
    assert_eq!(kind_of(late), (ErrorKind::Busy, "STORE_CLOSED"));
    assert_eq!(kind_of(store.search("b", &[query("late")])).1, "STORE_CLOSED");
    let memory = Store::in_memory();
    memory.close();
    assert_eq!(kind_of(memory.banks(None, false, 10)).1, "STORE_CLOSED");
}

#[test]
fn writers_of_one_bank_and_of_many_all_get_their_place() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(with_bank(dir.path()));
    let threads: Vec<_> = (0..8)
        .map(|thread| {
            let store = Arc::clone(&store);
            std::thread::spawn(move || {
                let own = format!("own-{thread}");
                store.create_bank(&own, BankSettings::default(), "").unwrap();
                for i in 0..50 {
                    let text = format!("fact {thread} {i}");
                    store.apply("b", None, batch(vec![insert(MemoryType::Semantic, &text)])).unwrap();
                    store.append_chunks(&own, None, vec![chunk(&format!("c{i}"), &text)]).unwrap();
                    // What was acknowledged is found at once, whatever else is being written.
                    let hits = &store.search("b", &[query(&text)]).unwrap().results[0];
                    assert!(hits.memories.iter().any(|hit| hit.memory.content == text));
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let bank = store.bank("b", None).unwrap();
    assert_eq!((bank.stats.semantic_count, bank.revision), (400, 401));
    let (page, _) = store.memories("b", Some(MemoryType::Semantic), None, None, false, 1000).unwrap();
    assert!(page.items.windows(2).all(|pair| pair[0].create_time < pair[1].create_time), "times grow");
    store.close();
    let store = open(dir.path());
    assert_eq!(store.bank("b", None).unwrap(), bank);
    assert_eq!(store.bank("own-3", None).unwrap().stats.chunk_count, 50);
}

#[test]
fn updates_without_end_keep_the_index_small_and_right() {
    let store = Store::in_memory();
    store.create_bank("b", BankSettings::default(), "").unwrap();
    let words = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu";
    store.apply("b", None, batch(vec![insert(MemoryType::Semantic, "start")])).unwrap();
    for i in 0..2_000 {
        let text = format!("{words} number{i}");
        store.apply("b", None, batch(vec![update(MemoryType::Semantic, 1, &text)])).unwrap();
    }
    let hits = &store.search("b", &[query("number1999 alpha"), query("number1998")]).unwrap().results;
    assert_eq!((hits[0].memories.len(), hits[1].memories.len()), (1, 0));
}

#[test]
fn pages_of_banks_memories_chunks_and_events_follow_one_another_without_gap() {
    let store = Store::in_memory();
    for i in 0..5 {
        store.create_bank(&format!("bank{i}"), BankSettings::default(), "").unwrap();
    }
    let mut seen = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = store.banks(after.as_deref(), false, 2).unwrap();
        seen.extend(page.items.into_iter().map(|bank| bank.bank_id));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, ["bank0", "bank1", "bank2", "bank3", "bank4"]);

    let texts: Vec<NewChunk> = (0..7).map(|i| chunk(&format!("c{i}"), "text")).collect();
    store.append_chunks("bank0", None, texts).unwrap();
    let (page, _) = store.chunks("bank0", 0, false, 3).unwrap();
    assert_eq!((page.items.len(), page.next), (3, Some(3)));
    let (page, _) = store.chunks("bank0", 6, false, 3).unwrap();
    assert_eq!((page.items.len(), page.next), (1, None));

    let all = store.events("bank0", &EventFilter::default(), None, 100).unwrap().items;
    let mut paged = Vec::new();
    let mut after = None;
    loop {
        let page = store.events("bank0", &EventFilter::default(), after, 3).unwrap();
        paged.extend(page.items);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!((paged.len(), paged), (8, all));
}

#[test]
fn a_damaged_record_is_corruption_of_that_bank_alone() {
    let dir = tempfile::tempdir().unwrap();
    let store = with_bank(dir.path());
    store.create_bank("other", BankSettings::default(), "").unwrap();
    store.apply("b", None, batch(vec![insert(MemoryType::Semantic, "fact")])).unwrap();
    store.close();
    let connection = rusqlite::Connection::open(dir.path().join("memory.db")).unwrap();
    connection.execute("UPDATE records SET payload = replace(payload, 'fact', 'fake')", []).unwrap();
    drop(connection);
    let store = open(dir.path());
    assert_eq!(kind_of(store.search("b", &[query("fact")])), (ErrorKind::Corruption, "STORE_CORRUPTED"));
    let write = store.apply("b", None, batch(vec![insert(MemoryType::Semantic, "x")]));
    assert_eq!(kind_of(write).0, ErrorKind::Corruption);
    store.apply("other", None, batch(vec![insert(MemoryType::Semantic, "fine")])).unwrap();
}

#[test]
fn foreign_and_newer_databases_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    with_bank(dir.path()).close();
    let connection = rusqlite::Connection::open(dir.path().join("memory.db")).unwrap();
    connection.execute_batch("PRAGMA user_version=99").unwrap();
    let newer = Store::open(dir.path(), frozen()).err().unwrap();
    assert_eq!((newer.reason, newer.message.contains("99")), ("SCHEMA_TOO_NEW", true));
    connection.execute_batch("PRAGMA application_id=1").unwrap();
    assert_eq!(Store::open(dir.path(), frozen()).err().unwrap().reason, "NOT_A_STORE");
    drop(connection);
    std::fs::write(dir.path().join("memory.db"), "this is no database at all, whatever it says").unwrap();
    let _ = std::fs::remove_file(dir.path().join("memory.db-wal"));
    assert_eq!(Store::open(dir.path(), frozen()).err().unwrap().kind, ErrorKind::Corruption);
}
