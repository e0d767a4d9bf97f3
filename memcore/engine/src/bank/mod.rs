//! A bank in RAM, derived from its records.
//!
//! Three parts keep writers and readers apart:
//! * [`Head`] is everything about a bank at one revision that is small: counters, cursor, sizes.
//! * [`Body`] holds the memories, the pending chunks and the search index, *with versions*: a write stamps birth
//!   and death revisions, so a body that is ahead (staged, not yet durable) still answers for the head that was
//!   published. Nothing staged is ever visible.
//! * [`plan`] decides what a write comes to, as a record; [`Body::apply`] stores a record's outcome. Live writes and
//!   replay go through the same `apply`.

mod body;
mod cell;
mod context;
mod dates;
mod draft;
mod embedding;
mod filter;
mod fusion;
mod plan;
mod read;
mod replay;
mod requests;
mod search;
mod upkeep;
mod vectors;

pub(crate) use body::Body;
pub(crate) use cell::{Cell, Records};
pub(crate) use embedding::given;
pub(crate) use plan::{Intent, Planned, Reply, VectorChanges};
pub(crate) use replay::{SealedPart, StoredVector};
pub(crate) use search::Asked;
pub(crate) use upkeep::{Common, Job, Sealable, embed};
pub(crate) use vectors::{PutVectors, Vector};

use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::index::Stats;
use crate::model::{BankSettings, BankStats, ChunkFailures, Embedder, MemoryType, Micros, Revision};
use crate::text::{Analyzer, LANGUAGES};

/// A bank's counters at one revision. Also the catalogue's row, so that listing opens no bank.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Head {
    pub revision: Revision,
    pub memory_revision: Revision,
    pub create_time: Micros,
    pub time: Micros,
    pub cursor: u64,
    pub cursor_token: String,
    pub next_id: u64,
    pub stats: BankStats,
    pub failures: Option<ChunkFailures>,
    /// Arrival of the chunk at the cursor; 0 if nothing is pending.
    pub oldest_pending: Micros,
    /// Request id that created the bank; empty if none was given.
    pub create_request: String,
    #[serde(default)]
    pub embedder: Embedder,
    /// Revision since which that is the embedder.
    #[serde(default)]
    pub embedder_revision: Revision,
    /// Live documents of the memory index. Derived with the body, so not kept.
    #[serde(skip)]
    pub memory_index: Stats,
    /// Live documents of the pending index.
    #[serde(skip)]
    pub pending_index: Stats,
}

impl Head {
    /// Tells the vectors of the present embedder from all others that the bank ever had.
    pub fn vectors_tag(&self) -> String {
        format!("{}/{}/{}", self.embedder_revision, self.embedder.dimensions(), self.embedder.id())
    }

    pub fn parked(&self) -> bool {
        self.failures.as_ref().is_some_and(|f| f.parked)
    }
}

/// The analyzer of a language, which all banks share; `None` for a language without one.
pub(crate) fn analyzer(language: &str) -> Option<Arc<Analyzer>> {
    static MADE: [OnceLock<Option<Arc<Analyzer>>>; LANGUAGES.len()] =
        [const { OnceLock::new() }; LANGUAGES.len()];
    let place = LANGUAGES.iter().position(|(code, _)| *code == language)?;
    MADE[place].get_or_init(|| Analyzer::new(language).map(Arc::new)).clone()
}

fn known_analyzer(settings: &BankSettings) -> Result<Arc<Analyzer>> {
    analyzer(&settings.language)
        .ok_or_else(|| Error::corruption(format!("unknown language {:?}", settings.language)))
}

/// A memory type as the index's document kind.
pub(crate) fn index_kind(kind: MemoryType) -> u8 {
    match kind {
        MemoryType::Core => 0,
        MemoryType::Semantic => 1,
        MemoryType::Episodic => 2,
    }
}

pub(crate) fn type_name(kind: MemoryType) -> &'static str {
    match kind {
        MemoryType::Core => "core",
        MemoryType::Semantic => "semantic",
        MemoryType::Episodic => "episodic",
    }
}
