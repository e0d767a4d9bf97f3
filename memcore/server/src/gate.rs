//! How many calls run and wait at once.
//!
//! A full gate answers at once instead of letting latency grow; a caller that goes away leaves the queue.

use std::sync::Arc;

use memcore_engine::{Error, ErrorKind, Result};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub struct Gate {
    running: Arc<Semaphore>,
    waiting: Semaphore,
    max_in_flight: usize,
    max_waiting: usize,
}

impl Gate {
    pub fn new(max_in_flight: usize, max_waiting: usize) -> Self {
        Self {
            running: Arc::new(Semaphore::new(max_in_flight)),
            waiting: Semaphore::new(max_waiting),
            max_in_flight,
            max_waiting,
        }
    }

    /// Waits for a turn, which lasts as long as the permit.
    ///
    /// # Errors
    /// `OVERLOADED` if as many calls as allowed are waiting already.
    pub async fn enter(&self) -> Result<OwnedSemaphorePermit> {
        if let Ok(permit) = Arc::clone(&self.running).try_acquire_owned() {
            return Ok(permit);
        }
        let _place = self.waiting.try_acquire().map_err(|_| self.overloaded())?;
        Arc::clone(&self.running).acquire_owned().await.map_err(|_| self.overloaded())
    }

    fn overloaded(&self) -> Error {
        let (running, waiting) = (self.max_in_flight, self.max_waiting);
        let message =
            format!("{running} calls are running and {waiting} waiting, which is the most; try again");
        Error::new(ErrorKind::Busy, "OVERLOADED", message)
            .with("max_in_flight", running)
            .with("max_waiting", waiting)
    }
}
