//! The thread that keeps banks' indexes in shape: it seals full tails, merges small parts, and embeds what lacks a
//! vector. Searches and writes go on meanwhile; nothing that it makes is needed to be right, only to be fast.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use memcore_vector::SealOptions;
use parking_lot::{Condvar, Mutex};

use super::bundles::{add_vectors, open_part};
use super::writer::{Command, Done, SealedFile};
use super::{Inner, new_uid};
use crate::bank::{Body, Cell, Common, Job, PutVectors, Sealable, embed};
use crate::crash::reach;
use crate::error::{Error, ErrorKind, Result};
use crate::index::bundle::OwnedBytes;
use crate::text::analyzer_id;

/// How long closing a store waits for a job.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Default)]
struct Waiting {
    banks: VecDeque<Weak<Cell>>,
    working: bool,
    stopped: bool,
}

/// Shared by the thread and those who ask.
#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

pub(crate) struct Upkeep {
    queue: Arc<Queue>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Upkeep {
    pub fn new() -> Self {
        Self { queue: Arc::default(), thread: Mutex::new(None) }
    }

    /// Asks for a look at a bank. The first to ask starts the thread.
    pub fn ask(&self, inner: &Weak<Inner>, cell: &Arc<Cell>) {
        if !cell.enter_queue() {
            return;
        }
        self.queue.waiting.lock().banks.push_back(Arc::downgrade(cell));
        self.queue.changed.notify_all();
        let mut thread = self.thread.lock();
        if thread.is_none() {
            let (inner, queue) = (Weak::clone(inner), Arc::clone(&self.queue));
            let run = move || while work(&inner, &queue) {};
            // Without the thread searches stay right and grow slower; the next one to ask tries again.
            *thread = std::thread::Builder::new().name("memcore-upkeep".into()).spawn(run).ok();
        }
    }

    /// Waits until nothing is left to do.
    pub fn wait(&self) {
        let mut waiting = self.queue.waiting.lock();
        while (waiting.working || !waiting.banks.is_empty()) && !waiting.stopped {
            self.queue.changed.wait(&mut waiting);
        }
    }

    /// Ends the thread. A job under way that takes longer than [`PATIENCE`] is left to come to nothing.
    pub fn stop(&self) {
        let mut waiting = self.queue.waiting.lock();
        waiting.stopped = true;
        self.queue.changed.notify_all();
        while waiting.working && !self.queue.changed.wait_for(&mut waiting, PATIENCE).timed_out() {}
        let done = !waiting.working;
        drop(waiting);
        let thread = self.thread.lock().take();
        if let Some(thread) =
            thread.filter(|thread| done && thread.thread().id() != std::thread::current().id())
        {
            // A panic in the thread has been reported by its hook already.
            let _ = thread.join();
        }
    }
}

/// Looks after one bank; false when it is time to end.
fn work(inner: &Weak<Inner>, queue: &Queue) -> bool {
    let mut waiting = queue.waiting.lock();
    waiting.working = false;
    queue.changed.notify_all();
    while waiting.banks.is_empty() && !waiting.stopped {
        queue.changed.wait(&mut waiting);
    }
    if waiting.stopped {
        waiting.banks.clear();
        return false;
    }
    waiting.working = true;
    let cell = waiting.banks.pop_front().and_then(|cell| cell.upgrade());
    drop(waiting);
    let Some(inner) = inner.upgrade() else { return false };
    if let Some(cell) = cell {
        cell.leave_queue();
        let stopped = || queue.waiting.lock().stopped;
        let result = catch_unwind(AssertUnwindSafe(|| look_after(&inner, &cell, stopped)));
        let result = result.unwrap_or_else(|_| {
            // The panic was reported by its hook; a body that it left half changed is read anew.
            let _ = inner.submit(Command::Evict { cell: Arc::clone(&cell) });
            Err(Error::internal("upkeep of the index has failed by a bug; searches go on without"))
        });
        cell.amend(|body| body.upkeep_failed = result.is_err());
        inner.note_upkeep(&cell, result);
    }
    true
}

fn look_after(inner: &Inner, cell: &Arc<Cell>, stopped: impl Fn() -> bool) -> Result<()> {
    let analyzer = analyzer_id(&cell.settings.language);
    let options = SealOptions { graph_from: inner.graph_from, ..SealOptions::default() };
    while !stopped() && cell.check_staying(None).is_ok() {
        match cell.next_job(inner.seal_from) {
            None => return Ok(()),
            Some(Job::Embed(memories)) => {
                let embedder_id = memcore_embed::builtin().id().to_owned();
                let put = PutVectors { embedder_id, vectors: embed(&memories) };
                match inner.put_vectors(cell, None, put) {
                    // Another embedder, or a deleted bank: there is nothing left to embed.
                    Err(gone) if matches!(gone.kind, ErrorKind::Conflict | ErrorKind::NotFound) => {
                        return Ok(());
                    }
                    put => put?,
                };
            }
            Some(Job::Seal(job)) => {
                let sealable = job.run(&analyzer, options)?;
                if !install(inner, cell, &analyzer, job.common, sealable)? {
                    return Ok(());
                }
            }
            Some(Job::Merge(job)) => {
                let (sealable, common) = job.run(&analyzer, options)?;
                if !install(inner, cell, &analyzer, common, sealable)? {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

/// Whether the bank had use for what a job made.
fn install(
    inner: &Inner,
    cell: &Arc<Cell>,
    analyzer: &str,
    common: Common,
    sealable: Sealable,
) -> Result<bool> {
    let Sealable { mut bundle, vectors, merged } = sealable;
    let with_vectors = vectors.is_some();
    if let Some(vectors) = vectors {
        add_vectors(&mut bundle, &common.vectors_tag, vectors);
    }
    let bytes = bundle.finish();
    let open = |bytes| {
        let part = open_part(common.number, bytes, analyzer, &common.vectors_tag)?;
        match with_vectors && part.vectors.is_none() {
            true => Err(Error::internal("vectors that were just sealed cannot be read")),
            false => Ok(part),
        }
    };
    let bundles = match inner.bundles() {
        Some(bundles) if !cell.is_volatile() => bundles,
        _ => {
            let part = open(OwnedBytes::new(bytes))?;
            let installed = cell.amend(|body| body.install(&common, merged.as_ref(), &part));
            return Ok(installed.flatten().is_some());
        }
    };
    let file = SealedFile { name: format!("{}.bundle", new_uid()?), bytes: bytes.len() as u64 };
    reach("before_bundle");
    bundles.write(&file.name, &bytes)?;
    reach("after_bundle");
    let name = file.name.clone();
    let read = bundles
        .read(&name)
        .map_err(|error| Error::internal(format!("a bundle that was just written cannot be read: {error}")));
    let installed = read.and_then(open).and_then(|part| {
        let number = common.number;
        let apply = Box::new(move |body: &mut Body| body.install(&common, merged.as_ref(), &part));
        inner.submit(Command::Install { cell: Arc::clone(cell), file, number, apply })
    });
    match installed {
        Ok(done) => Ok(matches!(done, Done::Installed(true))),
        Err(error) => {
            bundles.remove(&name);
            Err(error)
        }
    }
}
