//! A bank's place in the catalogue: its identity, its published head, and its body if it is open.
//!
//! Readers take the published head *inside* the body's read lock, so that a body's clean-up, which keeps all that
//! the published head can see, never runs between the two.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, RwLock, RwLockReadGuard, RwLockUpgradableReadGuard};

use super::replay::{SealedPart, StoredVector};
use super::upkeep::Job;
use super::vectors::Vector;
use super::{Body, Head, Intent, Planned, PutVectors, known_analyzer};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Bank, BankSettings, Embedder, Micros, Revision, VectorResult};
use crate::record::Stamped;
use crate::text::Analyzer;

/// Where a closed bank is read from.
pub(crate) trait Records {
    /// The bank's records in order of revisions, up to and including `last`.
    fn replay(&self, key: i64, last: Revision, each: &mut dyn FnMut(Stamped)) -> Result<()>;

    /// The bank's sealed parts, oldest first; none of them if one cannot be read, since they can be made anew.
    /// `vectors_tag` tells the vectors of the present embedder from others'.
    fn sealed_parts(&self, key: i64, language: &str, vectors_tag: &str) -> Result<Vec<SealedPart>>;

    /// Vectors that an external embedder made, one at a time.
    fn vectors(&self, key: i64, each: &mut dyn FnMut(StoredVector)) -> Result<()>;
}

pub(crate) struct Cell {
    /// Key of the bank's rows; 0 for a volatile bank.
    pub key: i64,
    pub bank_id: String,
    pub bank_uid: String,
    pub settings: BankSettings,
    /// For preparing writes outside all locks.
    pub analyzer: Arc<Analyzer>,
    published: RwLock<Arc<Head>>,
    body: RwLock<Option<Body>>,
    /// Revisions that readers hold on to, in no order.
    pins: Mutex<Vec<Revision>>,
    /// A deletion is staged; nothing more is written.
    leaving: AtomicBool,
    deleted: AtomicBool,
    /// Waits for upkeep.
    queued: AtomicBool,
    /// Was opened, and nobody has asked for upkeep since.
    fresh: AtomicBool,
}

/// What became of handed-over vectors.
pub(crate) struct VectorsPut {
    pub results: Vec<VectorResult>,
    /// Those to be kept; the built-in embedder can make its own again.
    pub kept: Vec<(u64, Revision, Vector)>,
    pub unembedded: u64,
}

impl Cell {
    /// A bank with that head whose body is `body`, or closed.
    pub fn new(
        key: i64,
        bank_id: String,
        bank_uid: String,
        settings: BankSettings,
        head: Head,
        body: Option<Body>,
    ) -> Result<Self> {
        Ok(Self {
            key,
            bank_id,
            bank_uid,
            analyzer: known_analyzer(&settings)?,
            settings,
            published: RwLock::new(Arc::new(head)),
            body: RwLock::new(body),
            pins: Mutex::new(Vec::new()),
            leaving: AtomicBool::new(false),
            deleted: AtomicBool::new(false),
            queued: AtomicBool::new(false),
            fresh: AtomicBool::new(false),
        })
    }

    pub fn head(&self) -> Arc<Head> {
        Arc::clone(&self.published.read())
    }

    pub fn is_volatile(&self) -> bool {
        self.key == 0
    }

    /// Begins a deletion, or takes back one that did not become durable.
    pub fn mark_leaving(&self, leaving: bool) {
        self.leaving.store(leaving, Ordering::Release);
    }

    pub fn mark_deleted(&self) {
        self.deleted.store(true, Ordering::Release);
    }

    /// NotFound once the bank is deleted, or if `bank_uid` names a namesake.
    pub fn check_alive(&self, bank_uid: Option<&str>) -> Result<()> {
        let gone = self.deleted.load(Ordering::Acquire);
        if gone { Err(self.recreated(bank_uid)) } else { self.check_uid(bank_uid) }
    }

    /// NotFound as soon as a deletion is staged, for the writer.
    pub fn check_staying(&self, bank_uid: Option<&str>) -> Result<()> {
        let leaving = self.leaving.load(Ordering::Acquire);
        if leaving { Err(self.recreated(bank_uid)) } else { self.check_uid(bank_uid) }
    }

    fn check_uid(&self, bank_uid: Option<&str>) -> Result<()> {
        match bank_uid {
            Some(uid) if uid != self.bank_uid => Err(self.recreated(bank_uid)),
            _ => Ok(()),
        }
    }

    fn recreated(&self, bank_uid: Option<&str>) -> Error {
        let uid = bank_uid.unwrap_or(&self.bank_uid);
        let message =
            format!("bank {:?} was deleted or re-created; its uid is no longer {uid:?}", self.bank_id);
        Error::new(ErrorKind::NotFound, "BANK_RECREATED", message)
            .with("bank_id", &self.bank_id)
            .with("bank_uid", uid)
    }

    /// Records that should be there are not: they are damaged, unless the bank was deleted meanwhile.
    pub fn missing(&self, message: impl Into<String>) -> Error {
        let damaged = Error::corruption(message).with("bank_id", &self.bank_id);
        self.check_staying(None).err().unwrap_or(damaged)
    }

    /// An error of the bank's records, with the bank's name.
    pub fn named(&self, error: Error) -> Error {
        let message = format!("bank {:?}: {}", self.bank_id, error.message);
        Error { message, ..error }.with("bank_id", &self.bank_id)
    }

    /// Whether that request made the bank, be it durable yet or not.
    pub fn made_by(&self, request_id: &str) -> bool {
        match self.body.read().as_ref() {
            Some(body) => body.head.create_request == request_id,
            None => self.head().create_request == request_id,
        }
    }

    pub fn bank(&self) -> Bank {
        self.bank_at(&self.head())
    }

    pub fn bank_at(&self, head: &Head) -> Bank {
        Bank {
            bank_id: self.bank_id.clone(),
            bank_uid: self.bank_uid.clone(),
            settings: BankSettings { embedder: head.embedder.clone(), ..self.settings.clone() },
            revision: head.revision,
            memory_revision: head.memory_revision,
            cursor: head.cursor,
            cursor_token: head.cursor_token.clone(),
            stats: head.stats,
            failures: head.failures.clone(),
            create_time: head.create_time,
            update_time: head.time,
        }
    }

    /// Opens the body if it is closed.
    pub fn open(&self, records: &dyn Records) -> Result<()> {
        if self.body.read().is_some() {
            return Ok(());
        }
        let mut body = self.body.write();
        if body.is_none() {
            let opened = self.replay(records)?;
            *self.published.write() = Arc::new(opened.head.clone());
            *body = Some(opened);
        }
        Ok(())
    }

    fn replay(&self, records: &dyn Records) -> Result<Body> {
        let mut body = Body::new(&self.settings)?;
        body.replaying = true;
        let head = self.head();
        let readable = self.oldest_readable();
        let mut gap = None;
        let replayed = records.replay(self.key, head.revision, &mut |stamped| {
            if stamped.revision == body.head.revision + 1 {
                body.apply(&Arc::new(stamped), Vec::new(), readable);
            } else {
                gap.get_or_insert(stamped.revision);
            }
        });
        replayed.map_err(|error| self.named(error))?;
        if gap.is_some() || body.head.revision != head.revision {
            return Err(self.missing(format!(
                "bank {:?} should have {} records without a gap, but its history breaks after revision {}",
                self.bank_id, head.revision, body.head.revision
            )));
        }
        let parts = records.sealed_parts(self.key, &self.settings.language, &body.head.vectors_tag())?;
        let external = matches!(body.head.embedder, Embedder::External { .. });
        let vectors = |each: &mut dyn FnMut(StoredVector)| match external {
            true => records.vectors(self.key, each),
            false => Ok(()),
        };
        body.finish_replay(parts, vectors, readable)?;
        self.fresh.store(true, Ordering::Release);
        Ok(body)
    }

    /// Reads the body at the published head.
    pub fn read<T>(&self, records: &dyn Records, read: impl FnOnce(&Body, &Head) -> T) -> Result<T> {
        self.with_body(records, |body| read(body, &self.head()))
    }

    /// Holds on to the published head, so that several reads see the same and a writer gets in between them.
    pub fn pin(&self, records: &dyn Records) -> Result<Pin<'_>> {
        self.with_body(records, |_| {
            let head = self.head();
            self.pins.lock().push(head.revision);
            Pin { cell: self, head }
        })
    }

    fn with_body<T>(&self, records: &dyn Records, read: impl FnOnce(&Body) -> T) -> Result<T> {
        loop {
            let guard = self.body.read();
            if let Some(body) = guard.as_ref() {
                return Ok(read(body));
            }
            RwLockReadGuard::unlock_fair(guard);
            self.open(records)?;
        }
    }

    /// The oldest revision that a reader may still ask for. Whoever holds the body for writing may rely on it.
    fn oldest_readable(&self) -> Revision {
        let published = self.head().revision;
        self.pins.lock().iter().copied().min().unwrap_or(published).min(published)
    }

    /// Plans a write and stages it in the open body; `keep` stores the record. One thread at a time writes a bank.
    ///
    /// Outer error: `keep`'s, with the body ahead of the records until [`Self::forget_staged`]. Inner error: the
    /// write is refused and nothing was staged.
    pub fn stage(
        &self,
        intent: Intent,
        now: Micros,
        keep: impl FnOnce(&Planned) -> Result<()>,
    ) -> Result<Result<Planned>> {
        let guard = self.body.upgradable_read();
        let Some(body) = guard.as_ref() else {
            return Ok(Err(Error::internal("a bank was closed while it was written")));
        };
        let mut planned = match intent.plan(body, &self.bank_uid, &self.settings, now) {
            Ok(planned) => planned,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if let Some(stamped) = &planned.stamped {
            let indexed = std::mem::take(&mut planned.indexed);
            let mut guard = RwLockUpgradableReadGuard::upgrade(guard);
            if let Some(body) = guard.as_mut() {
                body.apply(stamped, indexed, self.oldest_readable());
                keep(&planned)?;
            }
        }
        Ok(Ok(planned))
    }

    /// Changes an open body in a way that no record tells: how things are found, never what is there.
    pub fn amend<T>(&self, amend: impl FnOnce(&mut Body) -> T) -> Option<T> {
        self.body.write().as_mut().map(amend)
    }

    /// The most useful piece of upkeep; `None` also for a closed bank.
    pub fn next_job(&self, seal_from: usize) -> Option<Job> {
        self.amend(|body| body.next_job(seal_from, self.oldest_readable())).flatten()
    }

    pub fn job_due(&self, seal_from: usize) -> bool {
        self.body.read().as_ref().is_some_and(|body| body.job_due(seal_from))
    }

    /// Whether the bank was not queued for upkeep yet.
    pub fn enter_queue(&self) -> bool {
        !self.queued.swap(true, Ordering::AcqRel)
    }

    /// Whether the bank was opened since this was last asked.
    pub fn take_fresh(&self) -> bool {
        self.fresh.load(Ordering::Acquire) && self.fresh.swap(false, Ordering::AcqRel)
    }

    pub fn leave_queue(&self) {
        self.queued.store(false, Ordering::Release);
    }

    /// Gives living memories their vectors; `None` for a closed bank.
    ///
    /// Readers may see them before they are durable. That harms nobody: a vector is no news, only a way to find.
    pub fn put_vectors(&self, put: &PutVectors) -> Option<Result<VectorsPut>> {
        self.amend(|body| {
            let embedder = &body.head.embedder;
            embedder.expect_id(&put.embedder_id)?;
            let keep = matches!(embedder, Embedder::External { .. });
            let mut put_vectors = VectorsPut { results: Vec::new(), kept: Vec::new(), unembedded: 0 };
            for (id, revision, vector) in &put.vectors {
                let birth = body.live(*id).map(|memory| memory.update_revision).unwrap_or_default();
                let revision = if *revision == 0 { birth } else { *revision };
                let fresh = keep && body.lacks_vector(*id);
                let stored = birth > 0 && body.put_vector(*id, revision, vector.as_deref());
                put_vectors.results.push(if stored { VectorResult::Stored } else { VectorResult::Stale });
                if let (true, true, Some(vector)) = (stored, fresh, vector) {
                    put_vectors.kept.push((*id, revision, Vector::clone(vector)));
                }
            }
            put_vectors.unembedded = body.head.stats.unembedded_count;
            Ok(put_vectors)
        })
    }

    /// The head that staged writes leave; `None` for a closed bank.
    pub fn staged_head(&self) -> Option<Head> {
        self.body.read().as_ref().map(|body| body.head.clone())
    }

    /// Shows staged writes to readers.
    pub fn publish(&self) {
        let body = self.body.read();
        if let Some(body) = body.as_ref() {
            *self.published.write() = Arc::new(body.head.clone());
        }
    }

    /// Closes the body, and with it forgets staged writes that did not become durable; the next access replays what
    /// did.
    pub fn forget_staged(&self) {
        *self.body.write() = None;
    }
}

/// A published head that stays readable for as long as this lives.
pub(crate) struct Pin<'a> {
    cell: &'a Cell,
    head: Arc<Head>,
}

impl Pin<'_> {
    pub fn revision(&self) -> Revision {
        self.head.revision
    }

    pub fn embedder(&self) -> &Embedder {
        &self.head.embedder
    }

    /// Reads the body at the pinned head.
    pub fn read<T>(&self, records: &dyn Records, read: impl FnOnce(&Body, &Head) -> T) -> Result<T> {
        self.cell.with_body(records, |body| read(body, &self.head))
    }
}

impl Drop for Pin<'_> {
    fn drop(&mut self) {
        let mut pins = self.cell.pins.lock();
        if let Some(place) = pins.iter().position(|revision| *revision == self.head.revision) {
            pins.swap_remove(place);
        }
    }
}
