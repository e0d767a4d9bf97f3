//! The tools of crash tests are tested themselves: a point that nothing reaches, or a disk that forgets nothing,
//! would prove nothing.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::*;
use crate::model::{BankSettings, Batch, NewChunk, View};
use crate::{OpenOptions, Store};

/// Makes a bank, appends a chunk, moves the cursor over it, and has the index sealed.
fn small_workload(directory: &Path) -> Store {
    register().unwrap();
    let vfs = Some(UNSYNCED.into());
    // Core memory is enough to seal.
    let options = OpenOptions { checkpoint_bytes: 1, vfs, seal_from: 1, ..OpenOptions::default() };
    let store = Store::open(directory, options).unwrap();
    store.create_bank("b", BankSettings::default(), "").unwrap();
    let chunk = NewChunk { chunk_id: "c0".into(), text: "Ada moved to Rome".into(), ..NewChunk::default() };
    store.append_chunks("b", None, vec![chunk]).unwrap();
    let view = store.writer_view("b", View::Recent { semantic: 1, episodic: 1 }, None).unwrap();
    let batch = Batch { cursor_token: Some(view.bank.cursor_token), advance_to: Some(1), ..Batch::default() };
    store.apply("b", None, batch).unwrap();
    store.wait_for_upkeep().unwrap();
    store
}

/// What a crash at this moment would leave: the files of the directory as the disk has them.
fn survivors(directory: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for name in ["memory.db", "memory.db-wal", "memory.db-journal"] {
        let from = directory.join(name);
        if from.exists() {
            std::fs::copy(&from, copy.path().join(name)).unwrap();
        }
    }
    copy
}

fn rows_left(synchronous: &str) -> rusqlite::Result<i64> {
    register().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("memory.db");
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
    let database = Connection::open_with_flags_and_vfs(&path, flags, UNSYNCED).unwrap();
    database
        .execute_batch(&format!(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE t(x);
             PRAGMA synchronous={synchronous}; INSERT INTO t VALUES (1); INSERT INTO t VALUES (2);"
        ))
        .unwrap();
    let seen: i64 = database.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap();
    assert_eq!(seen, 2, "a live database sees its own writes");
    let copy = survivors(directory.path());
    let after = Connection::open(copy.path().join("memory.db")).unwrap();
    after.query_row("SELECT count(*) FROM t", [], |row| row.get(0))
}

#[test]
fn a_small_workload_reaches_every_point() {
    let before: BTreeMap<&str, u64> = POINTS.map(|point| (point, reached(point))).into();
    let directory = tempfile::tempdir().unwrap();
    small_workload(directory.path()).close();
    let unreached: Vec<_> = POINTS.into_iter().filter(|point| reached(point) == before[point]).collect();
    assert_eq!(unreached, [""; 0]);
    assert_eq!(reached("after_lunch"), 0);
}

#[test]
fn a_crash_is_written_as_a_point_and_a_count() {
    let crash: Crash = "before_commit:3".parse().unwrap();
    assert_eq!(crash.to_string(), "before_commit:3");
    for wrong in ["before_commit", "before_commit:0", "before_commit:-1", "before_commit:x"] {
        let error = wrong.parse::<Crash>().unwrap_err();
        assert!(error.message.contains("n from 1") && error.message.contains(wrong), "{error}");
    }
    let error = "after_lunch:1".parse::<Crash>().unwrap_err();
    assert!(POINTS.iter().all(|point| error.message.contains(point)), "{error}");
    assert!(error.message.contains("after_lunch"), "{error}");
}

#[test]
fn synced_commits_survive_on_a_forgetful_disk_and_unsynced_ones_do_not() {
    assert_eq!(rows_left("FULL").unwrap(), 2);
    assert_eq!(rows_left("OFF").unwrap(), 0);
}

#[test]
fn a_store_on_a_forgetful_disk_leaves_all_it_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let store = small_workload(directory.path());
    let copy = survivors(directory.path());
    let left = Store::open(copy.path(), OpenOptions::default()).unwrap();
    assert_eq!(left.bank("b", None).unwrap(), store.bank("b", None).unwrap());
    assert_eq!(left.bank("b", None).unwrap().cursor, 1);
}
