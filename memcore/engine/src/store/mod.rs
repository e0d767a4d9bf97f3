//! The store: a catalogue of banks, over one data directory or over nothing.
//!
//! Writes to durable banks go through the group-commit [`writer`]; volatile banks are written by their callers.
//! Reads never wait for a write: they take a bank's published head and what its body holds for it.

mod bundles;
mod checkpoint;
mod database;
mod lock;
mod options;
mod reads;
mod upkeep;
mod writer;

use std::collections::BTreeMap;
use std::mem::ManuallyDrop;
use std::ops::{Bound, ControlFlow, Deref};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, RwLock};

use crate::bank::{Body, Cell, Head, Intent, PutVectors, Records, Reply, SealedPart, StoredVector, given};
use crate::check;
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{
    Appended, Applied, Bank, BankSettings, Batch, ChunkFailures, Durability, Embedder, FailureReport,
    MemoryVector, NewChunk, ParkedChunkAction, Revision, VectorResult,
};
use crate::record::{Record, Stamped};
use bundles::Bundles;
use checkpoint::Checkpointer;
use database::Database;
use lock::DirectoryLock;
pub use options::OpenOptions;
use upkeep::Upkeep;
use writer::{Command, Done, Writer};

/// Bytes of a database page.
const PAGE_BYTES: u64 = 4096;
/// How many times the length at which it is moved the log may grow before the writer helps.
const LONG_LOG: u64 = 4;

/// A store of banks. Clones share it.
///
/// After `fork()` every call in the child fails with Unsupported `STORE_AFTER_FORK`: threads and locks stay with
/// the parent.
#[derive(Clone)]
pub struct Store(Arc<Owned>);

/// Closes the store with its last clone, before that clone's drop returns. The store's own threads hold `Inner` for
/// moments, and must not be the last to let go.
struct Owned(Arc<Inner>);

impl Deref for Owned {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.0.close();
    }
}

pub(crate) struct Inner {
    banks: RwLock<BTreeMap<String, Arc<Cell>>>,
    /// Serialises creation and deletion where no writer does.
    admin: Mutex<()>,
    disk: RwLock<Option<ManuallyDrop<Disk>>>,
    database: Option<ManuallyDrop<Arc<Database>>>,
    directory: Option<PathBuf>,
    poison: Mutex<Option<Error>>,
    pid: u32,
    closed: AtomicBool,
    clock: Clock,
    checkpoint_bytes: u64,
    log_runs_away: AtomicBool,
    /// SQLite turns a second checkpoint away; the writer's has to wait instead.
    checkpointing: Mutex<()>,
    upkeep: Upkeep,
    /// Documents at which a tail is sealed.
    seal_from: usize,
    graph_from: usize,
    /// The last upkeep that failed, and why.
    upkeep_fault: Mutex<Option<Error>>,
    myself: Weak<Inner>,
}

/// What a store over a directory runs on.
struct Disk {
    writer: Writer,
    checkpointer: Checkpointer,
    lock: DirectoryLock,
}

impl Store {
    /// Opens the store in `directory`, making it if there is none.
    ///
    /// # Errors
    /// Conflict `STORE_LOCKED` with the holder's pid and note; Unsupported `NOT_WRITABLE`, `NOT_A_STORE` or
    /// `SCHEMA_TOO_NEW`; Corruption if the database is damaged.
    pub fn open(directory: &Path, options: OpenOptions) -> Result<Self> {
        database::make_directory(directory)?;
        let lock = DirectoryLock::take(directory, &options.note)?;
        let database = Arc::new(Database::open(directory, &options)?);
        let cells = database.cells()?;
        let banks = cells.into_iter().map(|cell| (cell.bank_id.clone(), Arc::new(cell))).collect();
        database.sweep()?;
        let inner = Arc::new_cyclic(|myself| {
            let mut inner = Inner::over_nothing(options, Weak::clone(myself));
            inner.banks = RwLock::new(banks);
            inner.database = Some(ManuallyDrop::new(Arc::clone(&database)));
            inner.directory = Some(directory.to_owned());
            inner
        });
        let disk = Disk {
            writer: Writer::start(&inner, database.connect()?)?,
            checkpointer: Checkpointer::start(&inner, database.connect()?)?,
            lock,
        };
        *inner.disk.write() = Some(ManuallyDrop::new(disk));
        Ok(Self(Arc::new(Owned(inner))))
    }

    /// A store whose banks are all volatile.
    pub fn in_memory() -> Self {
        Self::in_memory_with(OpenOptions::default())
    }

    /// A store whose banks are all volatile, with settings.
    pub fn in_memory_with(options: OpenOptions) -> Self {
        let inner = Arc::new_cyclic(|myself| Inner::over_nothing(options, Weak::clone(myself)));
        Self(Arc::new(Owned(inner)))
    }

    /// Lets go of what a bank takes in RAM; the next access reads it from the directory again. Nothing happens to a
    /// volatile bank.
    pub fn evict(&self, bank_id: &str) -> Result<()> {
        let cell = self.0.cell(bank_id, None)?;
        if cell.is_volatile() {
            return Ok(());
        }
        self.0.submit(Command::Evict { cell }).map(|_| ())
    }

    /// Waits until indexes are in shape: tails sealed, parts merged, vectors of the built-in embedder made.
    ///
    /// # Errors
    /// Why the last piece of that work failed. It is tried again when more is written.
    pub fn wait_for_upkeep(&self) -> Result<()> {
        self.0.check_usable()?;
        let opened: Vec<Arc<Cell>> =
            self.0.banks.read().values().filter(|cell| cell.take_fresh()).cloned().collect();
        opened.iter().for_each(|cell| self.0.ask_upkeep(cell));
        self.0.upkeep.wait();
        self.0.upkeep_fault.lock().clone().map_or(Ok(()), Err)
    }

    /// The data directory; `None` for a store in memory.
    pub fn dir(&self) -> Option<&Path> {
        self.0.directory.as_deref()
    }

    /// What a second opener of the directory is told, such as the address of the service that holds it.
    pub fn set_note(&self, note: &str) -> Result<()> {
        self.0.check_usable()?;
        match self.0.disk.read().as_ref() {
            Some(disk) => disk.lock.set_note(note),
            None => Ok(()),
        }
    }

    /// Finishes the writes that wait, and lets go of the directory. Later calls get Busy `STORE_CLOSED`.
    pub fn close(&self) {
        self.0.close();
    }

    /// Makes an empty bank. A repeated `request_id` returns the bank it made before.
    pub fn create_bank(&self, bank_id: &str, settings: BankSettings, request_id: &str) -> Result<Bank> {
        self.0.check_usable()?;
        check::bank_id(bank_id)?;
        check::settings(&settings)?;
        check::request_id(request_id)?;
        if self.dir().is_none() {
            return self.0.create_volatile(bank_id, settings, request_id).map(|cell| cell.bank());
        }
        let command = Command::Create { bank_id: bank_id.into(), settings, request_id: request_id.into() };
        match self.0.submit(command)? {
            Done::Bank(cell) => Ok(cell.bank()),
            _ => Err(unexpected()),
        }
    }

    /// Deletes a bank and all its records.
    pub fn delete_bank(&self, bank_id: &str, bank_uid: Option<&str>) -> Result<()> {
        let cell = self.0.cell(bank_id, bank_uid)?;
        if self.dir().is_some() {
            let bank_uid = bank_uid.map(str::to_owned);
            return self.0.submit(Command::Delete { cell, bank_uid }).map(|_| ());
        }
        let _admin = self.0.admin.lock();
        cell.check_staying(bank_uid)?;
        cell.mark_leaving(true);
        self.0.change_catalogue(&[], &[cell]);
        Ok(())
    }

    /// Appends chunks; a chunk id that the bank has with the same text stores nothing.
    pub fn append_chunks(
        &self,
        bank_id: &str,
        bank_uid: Option<&str>,
        chunks: Vec<NewChunk>,
    ) -> Result<Appended> {
        let cell = self.0.cell(bank_id, bank_uid)?;
        check::chunks(&chunks)?;
        let intent = Intent::append(chunks, &cell.analyzer);
        match self.0.write(&cell, bank_uid, intent)? {
            Reply::Appended(results, revision) => {
                Ok(Appended { results, revision, bank_uid: cell.bank_uid.clone() })
            }
            _ => Err(unexpected()),
        }
    }

    /// Applies operations in order, and moves the cursor, in one record.
    ///
    /// # Errors
    /// Conflict `CURSOR_MOVED` or `MEMORY_CHANGED` if the state the batch was decided on is gone; nothing changed.
    pub fn apply(&self, bank_id: &str, bank_uid: Option<&str>, batch: Batch) -> Result<Applied> {
        let cell = self.0.cell(bank_id, bank_uid)?;
        check::batch(&batch)?;
        let intent = Intent::apply(batch, &cell.analyzer, &cell.head().embedder)?;
        match self.0.write(&cell, bank_uid, intent)? {
            Reply::Applied(applied) => Ok(applied),
            Reply::Repeated(revision) => self.0.answered(&cell, revision),
            _ => Err(unexpected()),
        }
    }

    /// Counts a failure of the chunk at the cursor, and parks it at the bank's limit.
    pub fn report_failure(
        &self,
        bank_id: &str,
        bank_uid: Option<&str>,
        report: FailureReport,
    ) -> Result<(ChunkFailures, Revision)> {
        let cell = self.0.cell(bank_id, bank_uid)?;
        check::failure(&report)?;
        match self.0.write(&cell, bank_uid, Intent::Fail(report))? {
            Reply::Failed(failures, revision) => Ok((failures, revision)),
            _ => Err(unexpected()),
        }
    }

    /// Changes what makes a bank's vectors; the present embedder changes nothing.
    pub fn set_embedder(&self, bank_id: &str, bank_uid: Option<&str>, embedder: Embedder) -> Result<Bank> {
        let cell = self.0.cell(bank_id, bank_uid)?;
        check::embedder(&embedder)?;
        match self.0.write(&cell, bank_uid, Intent::SetEmbedder(embedder))? {
            Reply::EmbedderSet => Ok(cell.bank()),
            _ => Err(unexpected()),
        }
    }

    /// Takes vectors that the bank's external embedder made; returns what became of each, and how many memories
    /// still lack one. Safe to repeat.
    ///
    /// # Errors
    /// Conflict `EMBEDDER_CHANGED` if the bank has another embedder than `embedder_id`.
    pub fn put_vectors(
        &self,
        bank_id: &str,
        bank_uid: Option<&str>,
        embedder_id: &str,
        vectors: &[MemoryVector],
    ) -> Result<(Vec<VectorResult>, u64)> {
        let cell = self.0.cell(bank_id, bank_uid)?;
        check::vectors(vectors)?;
        let embedder = cell.head().embedder.clone();
        embedder.expect_id(embedder_id)?;
        let prepare = |(index, vector): (usize, &MemoryVector)| {
            let unit = given(&format!("vectors[{index}].embedding"), &vector.embedding, &embedder)?;
            Ok((vector.memory_id, vector.update_revision, Some(unit)))
        };
        let vectors = vectors.iter().enumerate().map(prepare).collect::<Result<_>>()?;
        self.0.put_vectors(&cell, bank_uid, PutVectors { embedder_id: embedder_id.into(), vectors })
    }

    /// Releases a parked chunk.
    pub fn resolve_parked(
        &self,
        bank_id: &str,
        bank_uid: Option<&str>,
        action: ParkedChunkAction,
    ) -> Result<Bank> {
        let cell = self.0.cell(bank_id, bank_uid)?;
        match self.0.write(&cell, bank_uid, Intent::Resolve(action))? {
            Reply::Resolved => Ok(cell.bank()),
            _ => Err(unexpected()),
        }
    }
}

impl Inner {
    fn over_nothing(options: OpenOptions, myself: Weak<Self>) -> Self {
        Self {
            banks: RwLock::new(BTreeMap::new()),
            admin: Mutex::new(()),
            disk: RwLock::new(None),
            database: None,
            directory: None,
            poison: Mutex::new(None),
            pid: std::process::id(),
            closed: AtomicBool::new(false),
            clock: options.clock,
            checkpoint_bytes: options.checkpoint_bytes,
            log_runs_away: AtomicBool::new(false),
            checkpointing: Mutex::new(()),
            upkeep: Upkeep::new(),
            seal_from: options.seal_from,
            graph_from: options.graph_from,
            upkeep_fault: Mutex::new(None),
            myself,
        }
    }

    fn bundles(&self) -> Option<&Bundles> {
        self.database.as_ref().map(|database| database.bundles())
    }

    /// Has the bank looked after if there is something to do.
    fn ask_upkeep(&self, cell: &Arc<Cell>) {
        if cell.job_due(self.seal_from) {
            self.upkeep.ask(&self.myself, cell);
        }
    }

    fn note_upkeep(&self, cell: &Cell, result: Result<()>) {
        *self.upkeep_fault.lock() = result.err().map(|error| cell.named(error));
    }

    fn put_vectors(
        &self,
        cell: &Arc<Cell>,
        bank_uid: Option<&str>,
        put: PutVectors,
    ) -> Result<(Vec<VectorResult>, u64)> {
        cell.open(self)?;
        if cell.is_volatile() {
            let closed = || Error::internal("a volatile bank has no body");
            let outcome = cell.put_vectors(&put).ok_or_else(closed)??;
            cell.publish();
            self.ask_upkeep(cell);
            return Ok((outcome.results, outcome.unembedded));
        }
        let bank_uid = bank_uid.map(str::to_owned);
        match self.submit(Command::PutVectors { cell: Arc::clone(cell), bank_uid, put })? {
            Done::Vectors(results, unembedded) => Ok((results, unembedded)),
            _ => Err(unexpected()),
        }
    }

    /// The store is open, and this is the process that opened it.
    fn check_usable(&self) -> Result<()> {
        if !self.is_own_process() {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "STORE_AFTER_FORK",
                format!("the store was opened by process {}; open it anew after fork()", self.pid),
            ));
        }
        if self.closed.load(Ordering::Acquire) { Err(writer::closed()) } else { Ok(()) }
    }

    fn is_own_process(&self) -> bool {
        std::process::id() == self.pid
    }

    fn find(&self, bank_id: &str) -> Option<Arc<Cell>> {
        self.banks.read().get(bank_id).cloned()
    }

    /// The bank of that id, and of that uid if one is given.
    fn cell(&self, bank_id: &str, bank_uid: Option<&str>) -> Result<Arc<Cell>> {
        self.check_usable()?;
        check::bank_id(bank_id)?;
        let cell = self.find(bank_id).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "BANK_NOT_FOUND", format!("there is no bank {bank_id:?}"))
                .with("bank_id", bank_id)
        })?;
        cell.check_alive(bank_uid)?;
        if cell.take_fresh() {
            self.ask_upkeep(&cell);
        }
        Ok(cell)
    }

    /// What `wanted` makes of the cells after one, in order of ids, at most `limit`.
    fn cells_after<T>(
        &self,
        after: Option<&str>,
        limit: usize,
        wanted: impl Fn(&Cell) -> Option<T>,
    ) -> Vec<T> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let banks = self.banks.read();
        let cells = banks.range::<str, _>((start, Bound::Unbounded));
        cells.filter_map(|(_, cell)| wanted(cell)).take(limit).collect()
    }

    fn change_catalogue(&self, created: &[Arc<Cell>], deleted: &[Arc<Cell>]) {
        if created.is_empty() && deleted.is_empty() {
            return;
        }
        let mut banks = self.banks.write();
        for cell in deleted {
            cell.mark_deleted();
            banks.remove(&cell.bank_id);
        }
        for cell in created {
            banks.insert(cell.bank_id.clone(), Arc::clone(cell));
        }
    }

    fn write(&self, cell: &Arc<Cell>, bank_uid: Option<&str>, intent: Intent) -> Result<Reply> {
        if cell.is_volatile() {
            let planned = cell.stage(intent, self.clock.now(), |_| Ok(()))??;
            cell.publish();
            self.ask_upkeep(cell);
            return Ok(planned.reply);
        }
        // Here, so that a long replay holds up this caller and not the writer.
        cell.open(self)?;
        let bank_uid = bank_uid.map(str::to_owned);
        match self.submit(Command::Write { cell: Arc::clone(cell), bank_uid, intent })? {
            Done::Written(reply) => Ok(reply),
            _ => Err(unexpected()),
        }
    }

    fn submit(&self, command: Command) -> Result<Done> {
        let disk = self.disk.read();
        let disk = disk.as_ref().ok_or_else(writer::closed)?;
        disk.writer.submit(command)
    }

    fn create_volatile(&self, bank_id: &str, settings: BankSettings, request_id: &str) -> Result<Arc<Cell>> {
        let _admin = self.admin.lock();
        let settings = BankSettings { durability: Durability::Volatile, ..settings };
        if let Some(cell) = self.find(bank_id) {
            return existing(cell, &settings, request_id);
        }
        let body = Body::new(&settings)?;
        let cell = Arc::new(Cell::new(0, bank_id.into(), new_uid()?, settings, Head::default(), Some(body))?);
        cell.stage(creation(&cell, request_id.into()), self.clock.now(), |_| Ok(()))??;
        cell.publish();
        self.change_catalogue(&[Arc::clone(&cell)], &[]);
        Ok(cell)
    }

    /// The reply that the record of `revision` gave.
    fn answered(&self, cell: &Cell, revision: Revision) -> Result<Applied> {
        let stamped = self.record(cell, revision)?;
        match stamped.record.clone() {
            Record::OperationsApplied { operations, memory_revision, cursor, cursor_token, .. } => {
                Ok(Applied {
                    results: operations.into_iter().map(|done| done.result).collect(),
                    revision,
                    memory_revision,
                    cursor,
                    cursor_token,
                })
            }
            _ => Err(unexpected()),
        }
    }

    /// Hands a bank's records after one revision and up to another to `each`, in order, until it breaks.
    fn history(
        &self,
        cell: &Cell,
        after: Revision,
        last: Revision,
        each: &mut dyn FnMut(Arc<Stamped>) -> ControlFlow<()>,
    ) -> Result<()> {
        if !cell.is_volatile() {
            let read =
                self.database()?.records(cell.key, after, last, &mut |stamped| each(Arc::new(stamped)));
            return read.map_err(|error| cell.named(error));
        }
        let records = cell.read(self, |body, _| body.kept_records(after, last).to_vec())?;
        // That `each` has enough is no failure.
        let _ = records.into_iter().try_for_each(each);
        Ok(())
    }

    /// The record that made a bank's revision.
    fn record(&self, cell: &Cell, revision: Revision) -> Result<Arc<Stamped>> {
        let mut found = None;
        self.history(cell, revision.saturating_sub(1), revision, &mut |stamped| {
            found = Some(stamped);
            ControlFlow::Break(())
        })?;
        found.ok_or_else(|| cell.missing(format!("record {revision} of bank {:?} is missing", cell.bank_id)))
    }

    fn database(&self) -> Result<&Database> {
        self.database.as_deref().map(|database| &**database).ok_or_else(unexpected)
    }

    fn check_sound(&self) -> Result<()> {
        self.poison.lock().clone().map_or(Ok(()), Err)
    }

    /// A full disk or a locked one loses nothing and passes; after any other failure nothing more is written.
    fn poison_by(&self, error: &Error) {
        let mut poison = self.poison.lock();
        if poison.is_none() && error.kind != ErrorKind::Busy {
            let message = format!(
                "writing has stopped after an error ({}); restart once the disk is sound, reads go on",
                error.message
            );
            *poison = Some(Error::new(ErrorKind::Internal, "STORE_POISONED", message));
        }
    }

    fn checkpoint_bytes(&self) -> u64 {
        self.checkpoint_bytes
    }

    /// Takes note of the pages in the log; -1 means that nobody could count them.
    fn note_log(&self, pages: i64) {
        let bytes = u64::try_from(pages).unwrap_or(0) * PAGE_BYTES;
        let too_long = bytes > self.checkpoint_bytes.saturating_mul(LONG_LOG);
        self.log_runs_away.store(too_long, Ordering::Release);
    }

    fn log_runs_away(&self) -> bool {
        self.log_runs_away.load(Ordering::Acquire)
    }

    fn ask_checkpoint(&self) {
        // Closing takes the lock for writing and waits for the writer, so the writer must not wait for the lock.
        if let Some(disk) = self.disk.try_read()
            && let Some(disk) = disk.as_ref()
        {
            disk.checkpointer.ask();
        }
    }

    fn close(&self) {
        if !self.is_own_process() {
            return;
        }
        self.closed.store(true, Ordering::Release);
        self.upkeep.stop();
        let disk = self.disk.write().take();
        if let Some(disk) = disk {
            let disk = ManuallyDrop::into_inner(disk);
            disk.writer.stop();
            disk.checkpointer.stop();
            if let Some(database) = &self.database {
                database.release();
            }
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // After fork() the child has neither the threads nor the locks; it must not touch files or connections.
        if !self.is_own_process() {
            return;
        }
        if let Some(database) = self.database.take() {
            drop(ManuallyDrop::into_inner(database));
        }
    }
}

impl Records for Inner {
    fn replay(&self, key: i64, last: Revision, each: &mut dyn FnMut(Stamped)) -> Result<()> {
        self.database()?.replay(key, last, each)
    }

    fn sealed_parts(&self, key: i64, language: &str, vectors_tag: &str) -> Result<Vec<SealedPart>> {
        self.database()?.sealed_parts(key, language, vectors_tag)
    }

    fn vectors(&self, key: i64, each: &mut dyn FnMut(StoredVector)) -> Result<()> {
        self.database()?.vectors(key, each)
    }
}

/// A bank that is there already: fine for the request that made it, AlreadyExists for any other.
fn existing(cell: Arc<Cell>, settings: &BankSettings, request_id: &str) -> Result<Arc<Cell>> {
    let made_by_this = !request_id.is_empty() && cell.made_by(request_id);
    if made_by_this && cell.settings == *settings {
        return Ok(cell);
    }
    let bank_id = &cell.bank_id;
    let message = format!("there is a bank {bank_id:?} already");
    Err(Error::new(ErrorKind::AlreadyExists, "BANK_ALREADY_EXISTS", message).with("bank_id", bank_id))
}

fn creation(cell: &Cell, request_id: String) -> Intent {
    Intent::Create { bank_id: cell.bank_id.clone(), settings: cell.settings.clone(), request_id }
}

/// 128 random bits, as hex.
fn new_uid() -> Result<String> {
    let mut bytes = [0u8; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| Error::internal(format!("the system gives no random bytes: {error}")))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn unexpected() -> Error {
    Error::internal("the store answered another question than was asked")
}
