//! Moves the write-ahead log into the database, on a thread and a connection of its own.

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
        if let Some(thread) = self.thread.lock().take()
            && thread.thread().id() != std::thread::current().id()
        {
            // A panic in the thread has been reported by its hook already.
            let _ = thread.join();
        }
    }
}

fn checkpoint(inner: &Inner, connection: &Connection) {
    reach("before_checkpoint");
    let result = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
    reach("after_checkpoint");
    if let (Err(error), Ok(database)) = (result, inner.database()) {
        inner.poison_by(&database.error(&error));
    }
}
