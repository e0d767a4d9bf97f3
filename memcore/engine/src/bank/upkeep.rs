//! Work on a bank's index that nobody waits for: sealing, merging, embedding. A job is taken from a body in an
//! instant, runs without it, and is handed back in an instant.

use std::sync::Arc;

use memcore_vector::{SealOptions, Vectors};

use super::body::{Body, Coverage};
use super::embedding::embedded;
use super::replay::SealedPart;
use super::vectors::{Rows, Vector};
use crate::error::{Error, Result};
use crate::index::bundle::Builder;
use crate::index::{Frozen, Merge, Merged};
use crate::model::{Embedder, Memory, Revision};

/// Memories that are embedded at a time.
const BATCH: usize = 256;

pub(crate) enum Job {
    Seal(SealJob),
    Merge(MergeJob),
    Embed(Vec<Arc<Memory>>),
}

pub(crate) struct SealJob {
    frozen: Frozen,
    pub common: Common,
    /// If they are complete.
    rows: Option<Rows>,
}

pub(crate) struct MergeJob {
    merge: Merge,
    pub common: Common,
    rows: Option<Vec<Rows>>,
    visible_from: Revision,
}

/// What a job carries along to tell whether its result still fits.
#[derive(Clone)]
pub(crate) struct Common {
    body: u64,
    pub number: u32,
    /// Parts that the result takes the place of.
    pub gone: Vec<u32>,
    dimensions: usize,
    /// [`super::Head::vectors_tag`].
    pub vectors_tag: String,
}

/// A job's result, before it is opened as a part.
pub(crate) struct Sealable {
    pub bundle: Builder,
    /// To be added to the bundle.
    pub vectors: Option<Vec<u8>>,
    pub merged: Option<Merged>,
}

impl Body {
    /// The most useful job, if there is one. `seal_from` is the number of documents at which a tail is sealed.
    pub fn next_job(&mut self, seal_from: usize, visible_from: Revision) -> Option<Job> {
        if self.memory_index.tail_documents() >= seal_from {
            self.memory_index.freeze();
        }
        if let Some(frozen) = self.memory_index.frozen() {
            let common = self.common(frozen.number, vec![frozen.number]);
            let rows = self.complete_rows(frozen.number);
            return Some(Job::Seal(SealJob { frozen, common, rows }));
        }
        if let Some(merge) = self.memory_index.merge_due() {
            let gone = merge.numbers();
            let rows = gone.iter().map(|part| self.complete_rows(*part)).collect();
            let number = self.memory_index.reserve_number();
            let common = self.common(number, gone);
            return Some(Job::Merge(MergeJob { merge, common, rows, visible_from }));
        }
        if let Some(part) = self.unsealed_vectors() {
            return self.reseal(part, visible_from);
        }
        let lacking = if self.embeds_itself() { self.unembedded(BATCH) } else { Vec::new() };
        (!lacking.is_empty()).then_some(Job::Embed(lacking))
    }

    /// Whether [`Self::next_job`] has one.
    pub fn job_due(&self, seal_from: usize) -> bool {
        self.memory_index.tail_documents() >= seal_from || (!self.upkeep_failed && self.small_job_due())
    }

    /// Parts are looked at only if no memory waits for its vector, which would be one of theirs.
    fn small_job_due(&self) -> bool {
        let waiting = self.head.stats.unembedded_count > 0;
        (waiting && self.embeds_itself())
            || self.memory_index.merge_due().is_some()
            || (!waiting && self.unsealed_vectors().is_some())
    }

    /// A sealed part whose vectors came later and are complete by now.
    fn unsealed_vectors(&self) -> Option<u32> {
        let vectors = self.vectors.as_ref()?;
        let sealed = self.memory_index.sealed_numbers();
        let mut open = sealed.filter(|part| !vectors.is_sealed(*part));
        open.find(|part| self.complete_rows(*part).is_some_and(|rows| rows.count() > 0))
    }

    fn reseal(&mut self, part: u32, visible_from: Revision) -> Option<Job> {
        let merge = self.memory_index.rewrite(part)?;
        let rows = self.complete_rows(part).map(|rows| vec![rows]);
        let number = self.memory_index.reserve_number();
        let common = self.common(number, vec![part]);
        Some(Job::Merge(MergeJob { merge, common, rows, visible_from }))
    }

    /// Takes over what a job made; the numbers of all sealed parts, or `None` if the body is another one by now.
    pub fn install(
        &mut self,
        common: &Common,
        merged: Option<&Merged>,
        part: &SealedPart,
    ) -> Option<Vec<u32>> {
        let fits = common.body == self.serial && self.exchange(common, merged, part);
        fits.then(|| self.memory_index.sealed_numbers().collect())
    }

    fn exchange(&mut self, common: &Common, merged: Option<&Merged>, part: &SealedPart) -> bool {
        let words = Arc::clone(&part.words);
        let moved = match merged {
            None => self.memory_index.install(common.number, words).then(Vec::new),
            Some(merged) => self.memory_index.install_merged(merged, common.number, words),
        };
        let Some(moved) = moved else { return false };
        // Before the documents follow: what is sealed already they need not bring along.
        self.install_vectors(common, part);
        if merged.is_some() {
            self.follow(&common.gone, &moved);
        }
        true
    }

    fn install_vectors(&mut self, common: &Common, part: &SealedPart) {
        let same = common.vectors_tag == self.head.vectors_tag();
        if let (true, Some(index), Some(vectors)) = (same, &mut self.vectors, &part.vectors) {
            index.install(common.number, Arc::clone(vectors));
        }
    }

    fn common(&self, number: u32, gone: Vec<u32>) -> Common {
        let (dimensions, vectors_tag) = (self.head.embedder.dimensions(), self.head.vectors_tag());
        Common { body: self.serial, number, gone, dimensions, vectors_tag }
    }

    fn embeds_itself(&self) -> bool {
        self.head.embedder == Embedder::Builtin
    }

    /// A part's vectors if no living memory of it can get one later.
    fn complete_rows(&self, part: u32) -> Option<Rows> {
        let vectors = self.vectors.as_ref()?;
        let core = self.memories.get(&0).and_then(|versions| versions.last());
        let blank_core = core.filter(|core| core.coverage == Coverage::Never).and_then(|core| core.slot);
        let complete = match self.embeds_itself() {
            true => self.head.stats.unembedded_count == 0,
            false => vectors.is_complete(part, blank_core),
        };
        if complete { vectors.rows(part) } else { None }
    }
}

impl SealJob {
    pub fn run(&self, analyzer: &str, options: SealOptions) -> Result<Sealable> {
        let bundle = self.frozen.seal(analyzer)?;
        let vectors = match &self.rows {
            Some(Rows::Open(vectors)) => {
                Some(padded(vectors, self.frozen.documents())?.seal(options).map_err(bug)?)
            }
            Some(Rows::Sealed(_)) | None => None,
        };
        Ok(Sealable { bundle, vectors, merged: None })
    }
}

impl MergeJob {
    pub fn run(self, analyzer: &str, options: SealOptions) -> Result<(Sealable, Common)> {
        let (merged, bundle) = self.merge.run(self.visible_from, analyzer)?;
        let vectors = self.rows.map(|rows| gathered(&rows, &merged, self.common.dimensions));
        let seal = |vectors: Vectors| vectors.seal(options).map_err(bug);
        let vectors = vectors.transpose()?.map(seal).transpose()?;
        Ok((Sealable { bundle, vectors, merged: Some(merged) }, self.common))
    }
}

/// The vectors of the merged part, in its order.
fn gathered(rows: &[Rows], merged: &Merged, dimensions: usize) -> Result<Vectors> {
    let mut vectors = Vectors::new(dimensions).map_err(bug)?;
    for (part, document) in merged.origins() {
        vectors.push(rows[part].get(document)).map_err(bug)?;
    }
    Ok(vectors)
}

/// Documents behind the last vector have none.
fn padded(vectors: &Arc<Vectors>, documents: usize) -> Result<Arc<Vectors>> {
    let mut vectors = Arc::clone(vectors);
    while vectors.len() < documents {
        Arc::make_mut(&mut vectors).push(None).map_err(bug)?;
    }
    Ok(vectors)
}

fn bug(error: memcore_vector::VectorError) -> Error {
    Error::internal(format!("vectors that were checked are refused: {error}"))
}

/// The built-in embedder's vectors of memories, as [`Body::put_vector`] takes them.
pub(crate) fn embed(memories: &[Arc<Memory>]) -> Vec<(u64, Revision, Option<Vector>)> {
    let vector = |memory: &Memory| embedded(&Embedder::Builtin, &memory.content);
    memories.iter().map(|memory| (memory.id, memory.update_revision, vector(memory))).collect()
}
