//! The group-commit writer: one thread, one transaction, one sync for all writes that wait.
//!
//! Order of things for a group: stage every write, commit, publish, reply. Nothing is visible and nothing is
//! answered before the commit; a refusal is held back too, since it may rest on a write of the same group. If the
//! commit fails, what was staged is forgotten and every write of the group gets the error. After an I/O error other
//! than a full disk the writer refuses all further work: what the disk holds is no longer known.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use parking_lot::Mutex;
use rusqlite::{Connection, params};

use super::Inner;
use super::checkpoint::checkpoint;
use super::database::{Database, bundle_files, packed, to_json};
use super::{creation, existing, new_uid};
use crate::bank::{Body, Cell, Head, Intent, Planned, PutVectors, Reply, Vector, VectorChanges};
use crate::crash::reach;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{BankSettings, Durability, Revision, VectorResult};

/// Most writes in one transaction.
const GROUP: usize = 1024;
/// Writes that may wait; more block their callers.
const QUEUE: usize = 4096;

pub(crate) enum Command {
    Create { bank_id: String, settings: BankSettings, request_id: String },
    Write { cell: Arc<Cell>, bank_uid: Option<String>, intent: Intent },
    Delete { cell: Arc<Cell>, bank_uid: Option<String> },
    PutVectors { cell: Arc<Cell>, bank_uid: Option<String>, put: PutVectors },
    Evict { cell: Arc<Cell> },
    Install { cell: Arc<Cell>, file: SealedFile, number: u32, apply: Install },
}

/// A bundle that is written and synced.
pub(crate) struct SealedFile {
    pub name: String,
    pub bytes: u64,
}

/// Puts a sealed part into a body; the numbers of all parts that are sealed then, or `None` if it fits no more.
pub(crate) type Install = Box<dyn FnOnce(&mut Body) -> Option<Vec<u32>> + Send>;

/// A command that was carried out.
pub(crate) enum Done {
    Bank(Arc<Cell>),
    Written(Reply),
    Deleted,
    /// Results, and how many memories still lack a vector.
    Vectors(Vec<VectorResult>, u64),
    /// Whether the bank had use for it.
    Installed(bool),
    Evicted,
}

struct Job {
    command: Command,
    answer: SyncSender<Result<Done>>,
}

/// The caller's end of the writer.
pub(crate) struct Writer {
    jobs: Mutex<Option<SyncSender<Job>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    pub fn start(inner: &Arc<Inner>, connection: Connection) -> Result<Self> {
        let (sender, receiver) = sync_channel(QUEUE);
        let weak = Arc::downgrade(inner);
        let thread = std::thread::Builder::new()
            .name("memcore-writer".into())
            .spawn(move || {
                let mut thread = WriterThread { connection, log_bytes: 0 };
                while let Some(group) = next_group(&receiver) {
                    let Some(inner) = weak.upgrade() else { return };
                    thread.commit(&inner, group);
                }
            })
            .map_err(|error| Error::internal(format!("cannot start the writer: {error}")))?;
        Ok(Self { jobs: Mutex::new(Some(sender)), thread: Mutex::new(Some(thread)) })
    }

    /// Hands a command over and waits until it is durable.
    pub fn submit(&self, command: Command) -> Result<Done> {
        let jobs = self.jobs.lock().clone().ok_or_else(closed)?;
        let (answer, result) = sync_channel(1);
        reach("before_enqueue");
        jobs.send(Job { command, answer }).map_err(|_| died())?;
        drop(jobs);
        reach("after_enqueue");
        result.recv().map_err(|_| died())?
    }

    /// Lets the waiting writes finish, and ends the thread.
    pub fn stop(&self) {
        self.jobs.lock().take();
        if let Some(thread) = self.thread.lock().take() {
            // A panic in the writer has been reported by its hook already.
            let _ = thread.join();
        }
    }
}

pub(crate) fn closed() -> Error {
    Error::new(ErrorKind::Busy, "STORE_CLOSED", "the store is closed")
}

/// Closing waits for the calls under way, so that only a panic ends the writer before it has answered.
fn died() -> Error {
    Error::internal("the writer has ended unexpectedly; restart to write again, reads go on")
}

fn next_group(jobs: &Receiver<Job>) -> Option<Vec<Job>> {
    let first = jobs.recv().ok()?;
    let mut group = vec![first];
    group.extend(jobs.try_iter().take(GROUP - 1));
    Some(group)
}

/// A row dirties about three pages beside its own bytes.
const ROW_LOG_BYTES: u64 = 3 * 4096;

struct WriterThread {
    connection: Connection,
    /// About what was added to the write-ahead log since the last checkpoint was asked for.
    log_bytes: u64,
}

/// What a group has done so far, in RAM.
#[derive(Default)]
struct Staged {
    written: Vec<Arc<Cell>>,
    created: Vec<Arc<Cell>>,
    deleted: Vec<Arc<Cell>>,
    moves_cursor: bool,
    evicted: Vec<Arc<Cell>>,
    /// Bundles that nothing names after the commit.
    unnamed: Vec<String>,
    /// Bundles that the commit names.
    named: Vec<String>,
}

/// A command's answer: what was done, or why it was refused.
type Answer = Result<Done>;

impl WriterThread {
    fn commit(&mut self, inner: &Inner, group: Vec<Job>) {
        reach("before_transaction");
        let mut staged = Staged::default();
        let mut answers = Vec::with_capacity(group.len());
        let result = self.transact(inner, group, &mut staged, &mut answers);
        match &result {
            Ok(()) => staged.publish(inner),
            Err(error) => {
                staged.forget(inner);
                inner.poison_by(error);
            }
        }
        reach("after_publish");
        for (caller, answer) in answers {
            // A caller that went away does not undo its write.
            let _ = caller.send(result.clone().and(answer));
        }
        reach("after_reply");
        if self.log_bytes >= inner.checkpoint_bytes() {
            self.log_bytes = 0;
            inner.ask_checkpoint();
        }
        if inner.log_runs_away() {
            checkpoint(inner, &self.connection);
            inner.note_log(0);
        }
    }

    /// Stages and commits a group. An error is the disk's and fails all of it.
    fn transact(
        &mut self,
        inner: &Inner,
        group: Vec<Job>,
        staged: &mut Staged,
        answers: &mut Vec<(SyncSender<Answer>, Answer)>,
    ) -> Result<()> {
        let database = inner.database()?;
        let mut result = inner.check_sound().and_then(|()| self.execute(database, "BEGIN IMMEDIATE"));
        reach("after_begin");
        for job in group {
            let answer = match result {
                Ok(()) => self.run(inner, database, job.command, staged),
                Err(_) => Ok(Err(closed())),
            };
            let answer = answer.unwrap_or_else(|fault| {
                result = Err(fault.clone());
                Err(fault)
            });
            if crate::crash::replies_early() {
                let _ = job.answer.send(answer);
            } else {
                answers.push((job.answer, answer));
            }
        }
        let result = result.and_then(|()| self.keep_heads(database, staged));
        reach("after_insert");
        if staged.moves_cursor {
            reach("before_cursor_commit");
        }
        reach("before_commit");
        let result = result.and_then(|()| self.execute(database, "COMMIT"));
        if result.is_err() {
            // Nothing was committed, and a failing rollback leaves that so.
            let _ = self.execute(database, "ROLLBACK");
            return result;
        }
        reach("after_commit");
        if staged.moves_cursor {
            reach("after_cursor_commit");
        }
        Ok(())
    }

    fn execute(&self, database: &Database, sql: &str) -> Result<()> {
        self.connection.execute_batch(sql).map_err(|error| database.error(&error))
    }

    /// Outer error: the disk's. Inner error: a refusal, which harms nobody else in the group.
    fn run(
        &mut self,
        inner: &Inner,
        database: &Database,
        command: Command,
        staged: &mut Staged,
    ) -> Result<Answer> {
        match command {
            Command::Create { bank_id, settings, request_id } => {
                self.create(inner, database, bank_id, settings, request_id, staged)
            }
            Command::Write { cell, bank_uid, intent } => {
                if let Err(gone) = cell.check_staying(bank_uid.as_deref()) {
                    return Ok(Err(gone));
                }
                let reply = self.write(inner, database, &cell, intent, staged)?;
                Ok(reply.map(Done::Written))
            }
            Command::Delete { cell, bank_uid } => {
                if let Err(gone) = cell.check_staying(bank_uid.as_deref()) {
                    return Ok(Err(gone));
                }
                cell.mark_leaving(true);
                staged.deleted.push(Arc::clone(&cell));
                let files =
                    bundle_files(&self.connection, cell.key).map_err(|error| database.error(&error))?;
                staged.unnamed.extend(files.into_iter().map(|(_, file)| file));
                self.delete(database, &cell)?;
                Ok(Ok(Done::Deleted))
            }
            Command::PutVectors { cell, bank_uid, put } => {
                if let Err(gone) = cell.check_staying(bank_uid.as_deref()).and_then(|()| cell.open(database))
                {
                    return Ok(Err(gone));
                }
                self.put_vectors(database, &cell, put, staged)
            }
            Command::Evict { cell } => {
                staged.evicted.push(cell);
                Ok(Ok(Done::Evicted))
            }
            Command::Install { cell, file, number, apply } => {
                let installed = self.install(database, &cell, file, number, apply, staged)?;
                Ok(Ok(Done::Installed(installed)))
            }
        }
    }

    fn put_vectors(
        &mut self,
        database: &Database,
        cell: &Arc<Cell>,
        put: PutVectors,
        staged: &mut Staged,
    ) -> Result<Answer> {
        let Some(outcome) = cell.put_vectors(&put) else {
            return Ok(Err(Error::internal("a bank was closed while it was written")));
        };
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(refusal) => return Ok(Err(refusal)),
        };
        staged.written.push(Arc::clone(cell));
        if !cell.is_volatile() {
            let kept = outcome.kept.iter().map(|(id, at, vector)| (*id, *at, vector));
            self.keep_vectors(cell.key, kept).map_err(|error| database.error(&error))?;
        }
        Ok(Ok(Done::Vectors(outcome.results, outcome.unembedded)))
    }

    fn keep_vectors<'a>(
        &mut self,
        key: i64,
        vectors: impl Iterator<Item = (u64, Revision, &'a Vector)>,
    ) -> rusqlite::Result<()> {
        let sql =
            "INSERT OR REPLACE INTO vectors(bank_key, memory_id, revision, vector) VALUES (?1, ?2, ?3, ?4)";
        let mut insert = self.connection.prepare_cached(sql)?;
        for (id, revision, vector) in vectors {
            self.log_bytes += ROW_LOG_BYTES + size_of_val(&**vector) as u64;
            insert.execute(params![key, id as i64, revision as i64, packed(vector)])?;
        }
        Ok(())
    }

    /// One head for each bank that the group has written, however often it did.
    fn keep_heads(&mut self, database: &Database, staged: &mut Staged) -> Result<()> {
        let written = &mut staged.written;
        written.sort_unstable_by_key(|cell| Arc::as_ptr(cell) as usize);
        written.dedup_by_key(|cell| Arc::as_ptr(cell) as usize);
        for cell in written.iter().filter(|cell| !cell.is_volatile()) {
            if let Some(head) = cell.staged_head() {
                let head = to_json(&head)?;
                self.log_bytes += ROW_LOG_BYTES;
                self.update_head(cell.key, &head).map_err(|error| database.error(&error))?;
            }
        }
        Ok(())
    }

    fn update_head(&self, key: i64, head: &str) -> rusqlite::Result<()> {
        let mut update = self.connection.prepare_cached("UPDATE banks SET head = ?1 WHERE bank_key = ?2")?;
        update.execute(params![head, key]).map(|_| ())
    }

    /// Names a bundle, if the bank still has use for it, and no more those that the bank has no use for.
    fn install(
        &mut self,
        database: &Database,
        cell: &Arc<Cell>,
        file: SealedFile,
        number: u32,
        apply: Install,
        staged: &mut Staged,
    ) -> Result<bool> {
        let staying = cell.check_staying(None).is_ok();
        let Some(sealed) = staying.then(|| cell.amend(apply)).flatten().flatten() else {
            staged.unnamed.push(file.name);
            return Ok(false);
        };
        staged.named.push(file.name.clone());
        staged.written.push(Arc::clone(cell));
        self.log_bytes += ROW_LOG_BYTES;
        let mut name = || -> rusqlite::Result<()> {
            for (part, old) in bundle_files(&self.connection, cell.key)? {
                if part == number || !sealed.contains(&part) {
                    let sql = "DELETE FROM bundles WHERE bank_key = ?1 AND part = ?2";
                    self.connection.execute(sql, params![cell.key, part])?;
                    staged.unnamed.push(old);
                }
            }
            let sql = "INSERT INTO bundles(bank_key, part, file, bytes) VALUES (?1, ?2, ?3, ?4)";
            self.connection.execute(sql, params![cell.key, number, file.name, file.bytes as i64]).map(|_| ())
        };
        name().map_err(|error| database.error(&error))?;
        Ok(true)
    }

    fn create(
        &mut self,
        inner: &Inner,
        database: &Database,
        bank_id: String,
        settings: BankSettings,
        request_id: String,
        staged: &mut Staged,
    ) -> Result<Answer> {
        let namesake = |cell: &Arc<Cell>| cell.bank_id == bank_id && cell.check_staying(None).is_ok();
        let staged_one = staged.created.iter().find(|cell| namesake(cell)).cloned();
        if let Some(cell) = staged_one.or_else(|| inner.find(&bank_id).filter(namesake)) {
            return Ok(existing(cell, &settings, &request_id).map(Done::Bank));
        }
        let uid = new_uid()?;
        let key = match settings.durability {
            Durability::Volatile => 0,
            Durability::Synced => self.insert_bank(database, &bank_id, &uid, &settings)?,
        };
        let body = Body::new(&settings)?;
        let cell = Arc::new(Cell::new(key, bank_id, uid, settings, Head::default(), Some(body))?);
        let reply = self.write(inner, database, &cell, creation(&cell, request_id), staged)?;
        staged.created.push(Arc::clone(&cell));
        Ok(reply.map(|_| Done::Bank(cell)))
    }

    fn insert_bank(&self, database: &Database, id: &str, uid: &str, settings: &BankSettings) -> Result<i64> {
        self.connection
            .execute(
                "INSERT INTO banks(bank_id, bank_uid, settings, head) VALUES (?1, ?2, ?3, '')",
                params![id, uid, to_json(settings)?],
            )
            .map_err(|error| database.error(&error))?;
        Ok(self.connection.last_insert_rowid())
    }

    fn write(
        &mut self,
        inner: &Inner,
        database: &Database,
        cell: &Arc<Cell>,
        intent: Intent,
        staged: &mut Staged,
    ) -> Result<Result<Reply>> {
        if let Err(damaged) = cell.open(database) {
            return Ok(Err(damaged));
        }
        // Before the outcome is known: whatever is staged must be published or forgotten.
        staged.written.push(Arc::clone(cell));
        let planned = cell.stage(intent, inner.clock.now(), |planned| {
            if cell.is_volatile() { Ok(()) } else { self.keep(database, cell.key, planned) }
        })?;
        Ok(planned.map(|planned| {
            let moves = planned.stamped.as_ref().is_some_and(|stamped| stamped.record.moves_cursor());
            staged.moves_cursor |= moves;
            planned.reply
        }))
    }

    fn keep(&mut self, database: &Database, key: i64, planned: &Planned) -> Result<()> {
        let Some(stamped) = &planned.stamped else { return Ok(()) };
        let (payload, crc) = stamped.record.encode()?;
        self.log_bytes += payload.len() as u64 + ROW_LOG_BYTES;
        let revision = stamped.revision as i64;
        let kind = stamped.record.kind();
        let insert = "INSERT INTO records(bank_key, revision, time, kind, payload, crc)
                      VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        let mut keep = || -> rusqlite::Result<()> {
            self.connection.prepare_cached(insert)?.execute(params![
                key,
                revision,
                stamped.time,
                kind,
                payload,
                crc
            ])?;
            self.change_vectors(key, stamped.revision, &planned.vectors)
        };
        keep().map_err(|error| database.error(&error))
    }

    fn change_vectors(
        &mut self,
        key: i64,
        revision: Revision,
        changes: &VectorChanges,
    ) -> rusqlite::Result<()> {
        if changes.forget_all {
            self.connection.execute("DELETE FROM vectors WHERE bank_key = ?1", [key])?;
        }
        for id in &changes.forget {
            let sql = "DELETE FROM vectors WHERE bank_key = ?1 AND memory_id = ?2";
            self.connection.prepare_cached(sql)?.execute(params![key, *id as i64])?;
        }
        self.keep_vectors(key, changes.put.iter().map(|(id, vector)| (*id, revision, vector)))
    }

    fn delete(&self, database: &Database, cell: &Cell) -> Result<()> {
        for table in ["records", "vectors", "bundles", "banks"] {
            let sql = format!("DELETE FROM {table} WHERE bank_key = ?1");
            self.connection.execute(&sql, params![cell.key]).map_err(|error| database.error(&error))?;
        }
        Ok(())
    }
}

fn remove_bundles(inner: &Inner, files: &[String]) {
    if let Some(bundles) = inner.bundles() {
        files.iter().for_each(|file| bundles.remove(file));
    }
}

impl Staged {
    fn publish(self, inner: &Inner) {
        // Each once, since the heads were kept.
        let written = self.written;
        written.iter().for_each(|cell| cell.publish());
        inner.change_catalogue(&self.created, &self.deleted);
        remove_bundles(inner, &self.unnamed);
        self.evicted.iter().for_each(|cell| cell.forget_staged());
        written.iter().for_each(|cell| inner.ask_upkeep(cell));
    }

    fn forget(&self, inner: &Inner) {
        remove_bundles(inner, &self.named);
        for cell in self.written.iter().filter(|cell| !cell.is_volatile()) {
            cell.forget_staged();
        }
        for cell in &self.deleted {
            cell.mark_leaving(false);
        }
    }
}
