//! Moves the write-ahead log into the database, on a thread and a connection of its own.
//!
//! The log starts anew once all of it is moved. While writes never pause, each checkpoint leaves a rest: what was
//! written meanwhile. When the log has grown far too long, the writer moves that rest itself, between two groups.

use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;

use parking_lot::Mutex;
use rusqlite::Connection;

use super::Inner;
use crate::crash::reach;
use crate::error::{Error, Result};

pub(crate) struct Checkpointer {
    asks: Mutex<Option<SyncSender<()>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Checkpointer {
    pub fn start(inner: &Arc<Inner>, connection: Connection) -> Result<Self> {
        let (asks, asked) = sync_channel::<()>(1);
        let weak: Weak<Inner> = Arc::downgrade(inner);
        let thread = std::thread::Builder::new()
            .name("memcore-checkpoint".into())
            .spawn(move || {
                while asked.recv().is_ok() {
                    let Some(inner) = weak.upgrade() else { return };
                    checkpoint(&inner, &connection);
                }
            })
            .map_err(|error| Error::internal(format!("cannot start the checkpointer: {error}")))?;
        Ok(Self { asks: Mutex::new(Some(asks)), thread: Mutex::new(Some(thread)) })
    }

    /// Asks for a checkpoint; one that is asked for already is enough.
    pub fn ask(&self) {
        if let Some(asks) = self.asks.lock().as_ref() {
            match asks.try_send(()) {
                Ok(()) | Err(TrySendError::Full(()) | TrySendError::Disconnected(())) => {}
            }
        }
    }

    pub fn stop(&self) {
        self.asks.lock().take();
        if let Some(thread) = self.thread.lock().take() {
            // A panic in the thread has been reported by its hook already.
            let _ = thread.join();
        }
    }
}

/// Moves what the log holds by now, and notes how long it is.
pub(crate) fn checkpoint(inner: &Inner, connection: &Connection) {
    let _alone = inner.checkpointing.lock();
    reach("before_checkpoint");
    let result = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get(1));
    reach("after_checkpoint");
    match (result, inner.database()) {
        (Ok(pages), _) => inner.note_log(pages),
        (Err(error), Ok(database)) => inner.poison_by(&database.error(&error)),
        (Err(_), Err(_)) => {}
    }
}
