//! What crash tests need and no wheel has: named points at which the process kills itself, a planted fault, and a
//! disk that forgets whatever was not synced.
//!
//! All of it is armed once per process, from outside, before a store is opened. Unarmed, a point only counts how
//! often it was reached.

mod image;
mod points;
mod vfs;

pub use points::{Crash, POINTS, POINTS_ON_ANY_DISK, arm, plant_early_replies, reached};
pub(crate) use points::{reach, replies_early};
pub use vfs::{UNSYNCED, register, tear};

#[cfg(test)]
mod tests;
