//! memcore's engine: banks of chunks and memories, searchable the moment a write is acknowledged.
//!
//! One ordered record per write is the truth ([`record`]); a bank's state in RAM ([`bank`]) and its search index
//! ([`index`]) are derived from the records by the very function that live writes go through. [`store`] keeps the
//! records in SQLite behind a group-commit writer. The engine knows no Python and no network.

mod bank;
mod check;
mod clock;
mod error;
pub mod index;
pub mod limits;
pub mod model;
mod record;
#[cfg(feature = "sim")]
pub mod sim;
mod store;
pub mod text;
mod time;

pub use clock::Clock;
pub use error::{Error, ErrorKind, Result};
pub use store::{OpenOptions, Store};
pub use text::tokens::{count_tokens, split_tokens};

/// Crash points of `memcore/sim`; nothing in a build without the feature.
mod crash {
    #[cfg(feature = "sim")]
    pub(crate) use crate::sim::{reach, replies_early};

    #[cfg(not(feature = "sim"))]
    #[inline(always)]
    pub(crate) fn reach(_point: &'static str) {}

    #[cfg(not(feature = "sim"))]
    #[inline(always)]
    pub(crate) fn replies_early() -> bool {
        false
    }
}
