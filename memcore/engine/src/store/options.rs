//! How a store is opened.

use crate::clock::Clock;

/// Settings of one opening. The defaults are right for production.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    /// Shown to a second opener, such as the address of the service that holds the directory.
    pub note: String,
    pub clock: Clock,
    /// Size of the write-ahead log, in bytes, at which it is moved into the database.
    pub checkpoint_bytes: u64,
    /// Memories in the newest part of a bank's index at which it is sealed: no longer held in RAM, faster to search
    /// and to open.
    pub seal_from: usize,
    /// Vectors in a sealed part from which a graph over them is built, one vector at a time. Never by default: codes of
    /// one bit were faster at every size measured (see memcore/vector).
    pub graph_from: usize,
    /// Name of the SQLite VFS to use.
    #[cfg(feature = "sim")]
    pub vfs: Option<String>,
    /// Planted fault: commits are not synced.
    #[cfg(feature = "sim")]
    pub never_sync: bool,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            note: String::new(),
            clock: Clock::system(),
            checkpoint_bytes: 4 << 20,
            seal_from: 4096,
            graph_from: usize::MAX,
            #[cfg(feature = "sim")]
            vfs: None,
            #[cfg(feature = "sim")]
            never_sync: false,
        }
    }
}

#[cfg(not(feature = "sim"))]
impl OpenOptions {
    pub(crate) fn vfs(&self) -> Option<&str> {
        None
    }

    pub(crate) fn synchronous(&self) -> &'static str {
        "FULL"
    }
}

#[cfg(feature = "sim")]
impl OpenOptions {
    pub(crate) fn vfs(&self) -> Option<&str> {
        self.vfs.as_deref()
    }

    pub(crate) fn synchronous(&self) -> &'static str {
        if self.never_sync { "OFF" } else { "FULL" }
    }
}
