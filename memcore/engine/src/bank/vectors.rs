//! A bank's vectors, part by part beside the words: a memory has one slot in both.
//!
//! Vectors of growing and frozen parts lie in RAM and may still lack some; a sealed part's are complete, so that
//! nothing is ever added to it. Which documents live is noted per kind, as of the newest write: a search that sees
//! just that needs no look at any single document.

use std::collections::BTreeMap;
use std::sync::Arc;

use memcore_vector::{BitSet, Mode, Query, SealedVectors, Vectors};

use crate::index::{KINDS, Moved, Slot};
use crate::model::Revision;

/// A unit vector.
pub(crate) type Vector = Arc<[f32]>;

/// Vectors by memory and the revision of its content; `None` for a text that has nothing to embed.
pub(crate) struct PutVectors {
    pub embedder_id: String,
    pub vectors: Vec<(u64, Revision, Option<Vector>)>,
}

/// Vectors of one part, to work on beside searches and writes.
#[derive(Clone)]
pub(crate) enum Rows {
    Open(Arc<Vectors>),
    Sealed(Arc<SealedVectors>),
}

impl Rows {
    pub fn get(&self, document: u32) -> Option<&[f32]> {
        match self {
            Self::Open(vectors) => vectors.get(document),
            Self::Sealed(vectors) => vectors.get(document),
        }
    }

    /// Documents with a vector.
    pub fn count(&self) -> usize {
        self.part().count()
    }

    fn part(&self) -> memcore_vector::Part<'_> {
        match self {
            Self::Open(vectors) => vectors.part(),
            Self::Sealed(vectors) => vectors.part(),
        }
    }
}

struct Part {
    rows: Rows,
    living: [BitSet; KINDS],
}

/// A memory near to a query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Near {
    pub key: u64,
    pub slot: Slot,
    pub cosine: f64,
}

/// What a search may find.
pub(crate) struct Wanted<'a> {
    pub kinds: u8,
    pub revision: Revision,
    /// Whether the searched revision sees a slot, for one that is not the newest.
    pub sees: &'a dyn Fn(Slot) -> bool,
    pub allowed: Option<&'a dyn Fn(Slot) -> bool>,
}

pub(crate) struct VectorIndex {
    dimensions: usize,
    parts: BTreeMap<u32, Part>,
    /// Newest birth or death.
    changed: Revision,
}

impl VectorIndex {
    pub fn new(dimensions: usize) -> Self {
        Self { dimensions, parts: BTreeMap::new(), changed: 0 }
    }

    /// Adds a document.
    pub fn insert(&mut self, slot: Slot, kind: u8, vector: Option<&[f32]>, birth: Revision) {
        self.make_live(slot, kind, birth);
        if let Some(vector) = vector {
            self.set(slot, vector);
        }
    }

    /// Notes that a document lives since `birth`.
    pub fn make_live(&mut self, slot: Slot, kind: u8, birth: Revision) {
        self.changed = self.changed.max(birth);
        let part = self.part_mut(slot.part());
        let living = &mut part.living[usize::from(kind)];
        while living.len() <= slot.document() as usize {
            living.push(false);
        }
        living.set(slot.document(), true);
    }

    pub fn kill(&mut self, slot: Slot, death: Revision) {
        self.changed = self.changed.max(death);
        let Some(part) = self.parts.get_mut(&slot.part()) else { return };
        for living in part.living.iter_mut().filter(|living| living.contains(slot.document())) {
            living.set(slot.document(), false);
        }
    }

    /// Gives a document its vector; one that is there already stays.
    pub fn set(&mut self, slot: Slot, vector: &[f32]) {
        let Rows::Open(vectors) = &mut self.part_mut(slot.part()).rows else { return };
        if vectors.has(slot.document()) {
            return;
        }
        let vectors = Arc::make_mut(vectors);
        let mut result = Ok(());
        while result.is_ok() && vectors.len() <= slot.document() as usize {
            result = vectors.push(None).map(|_| ());
        }
        let result = result.and_then(|()| vectors.set(slot.document(), vector));
        debug_assert!(result.is_ok(), "vectors were checked at the door: {result:?}");
    }

    pub fn has(&self, slot: Slot) -> bool {
        self.parts.get(&slot.part()).is_some_and(|part| part.rows.part().has(slot.document()))
    }

    /// The best `k`, best first, equal ones in order of keys; and whether an approximate index chose them.
    pub fn search(
        &self,
        query: &Query,
        k: usize,
        wanted: &Wanted,
        key: impl Fn(Slot) -> u64,
        mode: Mode,
    ) -> (Vec<Near>, bool) {
        let (mut found, mut approximate): (Vec<Near>, bool) = (Vec::new(), false);
        for (number, part) in &self.parts {
            let slot = |document| Slot::new(*number, document);
            let allowed = self.allowed(*number, part, wanted);
            // The parts before have `k` hits of this score or more.
            let floor = if found.len() < k { f32::NEG_INFINITY } else { found[k - 1].cosine as f32 };
            let key_of = |document| key(slot(document));
            let hits = part.rows.part().search_above(query, (k, floor), Some(&allowed), mode, key_of);
            approximate |= hits.approximate;
            found.extend(hits.hits.into_iter().map(|hit| Near {
                key: key(slot(hit.doc)),
                slot: slot(hit.doc),
                cosine: f64::from(hit.score),
            }));
            // Runs that are in order already.
            found.sort_by(|a, b| b.cosine.total_cmp(&a.cosine).then(a.key.cmp(&b.key)));
            found.truncate(k);
        }
        (found, approximate)
    }

    fn allowed(&self, number: u32, part: &Part, wanted: &Wanted) -> BitSet {
        let newest = wanted.revision >= self.changed;
        if !newest {
            return BitSet::from_fn(part.rows.part().len(), |document| {
                let slot = Slot::new(number, document);
                (wanted.sees)(slot) && wanted.allowed.is_none_or(|allowed| allowed(slot))
            });
        }
        let mut set = BitSet::default();
        for kind in (0..KINDS).filter(|kind| wanted.kinds & (1 << kind) != 0) {
            set.add_all(&part.living[kind]);
        }
        if let Some(allowed) = wanted.allowed {
            set.retain(|document| allowed(Slot::new(number, document)));
        }
        set
    }

    /// The cosine that a search would find a document with.
    pub fn score(&self, slot: Slot, query: &Query) -> Option<f64> {
        self.parts.get(&slot.part())?.rows.part().score(slot.document(), query).map(f64::from)
    }

    /// A part's vectors as they are now.
    pub fn rows(&self, part: u32) -> Option<Rows> {
        self.parts.get(&part).map(|part| part.rows.clone())
    }

    /// Whether a part's vectors are complete.
    pub fn is_sealed(&self, part: u32) -> bool {
        matches!(self.parts.get(&part), Some(Part { rows: Rows::Sealed(_), .. }))
    }

    /// Whether every living document of a part has its vector, but for `blank`, which never will.
    pub fn is_complete(&self, part: u32, blank: Option<Slot>) -> bool {
        let Some(found) = self.parts.get(&part) else { return true };
        let mut lacking = BitSet::default();
        found.living.iter().for_each(|living| lacking.add_all(living));
        let rows = found.rows.part();
        lacking.retain(|document| !rows.has(document) && blank != Some(Slot::new(part, document)));
        lacking.count() == 0
    }

    /// Takes over a part's sealed vectors.
    pub fn install(&mut self, part: u32, sealed: Arc<SealedVectors>) {
        self.part_mut(part).rows = Rows::Sealed(sealed);
    }

    /// Follows documents that left the parts `gone`; a part that is sealed already keeps its vectors.
    pub fn follow(&mut self, gone: &[u32], moved: &[Moved]) {
        let old: BTreeMap<u32, Part> =
            gone.iter().filter_map(|number| Some((*number, self.parts.remove(number)?))).collect();
        for Moved { old_slot, new_slot, .. } in moved {
            let Some(part) = old.get(&old_slot.part()) else { continue };
            let kind = part.living.iter().position(|living| living.contains(old_slot.document()));
            if let Some(kind) = kind {
                self.make_live(*new_slot, kind as u8, 0);
            }
            if let Some(vector) = part.rows.get(old_slot.document()) {
                self.set(*new_slot, vector);
            }
        }
    }

    fn part_mut(&mut self, number: u32) -> &mut Part {
        self.parts.entry(number).or_insert_with(|| {
            let vectors = Vectors::new(self.dimensions).expect("dimensions were checked at the door");
            Part { rows: Rows::Open(Arc::new(vectors)), living: Default::default() }
        })
    }
}
