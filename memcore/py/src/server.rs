//! The gRPC server's class. Waiting lets Python handle signals.

use std::time::{Duration, Instant};

use memcore_server::{MAX_IN_FLIGHT, MAX_WAITING, ServeOptions, ServerHandle};
use pyo3::prelude::*;

use crate::error::{count, raise, refuse};
use crate::store::Store;

/// How long a wait goes on before signals are looked at.
const SLICE: Duration = Duration::from_millis(100);
const EXIT_GRACE_SECONDS: f64 = 5.0;

/// A running server of MemoryService. It stops when it is stopped or no longer referred to.
#[pyclass(frozen, module = "memcore")]
pub struct Server(ServerHandle);

/// Serves a store over gRPC; the address is bound when this returns. Port 0 takes a free one.
#[pyfunction]
#[pyo3(signature = (
    store, address="127.0.0.1:0", *, allow_remote=false, max_in_flight=256, max_waiting=1024,
))]
pub fn serve(
    py: Python<'_>,
    store: &Bound<'_, Store>,
    address: &str,
    allow_remote: bool,
    max_in_flight: i64,
    max_waiting: i64,
) -> PyResult<Server> {
    let options = ServeOptions {
        address: address.to_owned(),
        allow_remote,
        max_in_flight: count("max_in_flight", max_in_flight, 1..=MAX_IN_FLIGHT)?,
        max_waiting: count("max_waiting", max_waiting, 0..=MAX_WAITING)?,
    };
    let store = store.get().0.clone();
    py.detach(|| memcore_server::serve(store, &options)).map(Server).map_err(raise)
}

#[pymethods]
impl Server {
    /// `host:port`, with the port that was taken.
    #[getter]
    fn address(&self) -> String {
        self.0.address().to_string()
    }

    /// Begins to stop and returns at once: health says NOT_SERVING, running calls get `grace_seconds`.
    #[pyo3(signature = (grace_seconds=5.0))]
    fn stop(&self, grace_seconds: f64) -> PyResult<()> {
        self.0.stop(seconds("grace_seconds", grace_seconds)?);
        Ok(())
    }

    /// Waits until the server has stopped; True if it has, False if `timeout` seconds passed before.
    #[pyo3(signature = (timeout=None))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        let limit = timeout.map(|timeout| seconds("timeout", timeout)).transpose()?;
        let start = Instant::now();
        loop {
            let left = limit.map_or(SLICE, |limit| limit.saturating_sub(start.elapsed()));
            if py.detach(|| self.0.wait(left.min(SLICE))) {
                return Ok(true);
            }
            py.check_signals()?;
            if left.is_zero() {
                return Ok(false);
            }
        }
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyAny>) -> PyResult<()> {
        self.stop(EXIT_GRACE_SECONDS)?;
        self.wait(py, None).map(drop)
    }

    fn __repr__(&self) -> String {
        format!("Server(address={:?})", self.address())
    }
}

fn seconds(parameter: &str, value: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(value).map_err(|_| {
        let message = format!("{parameter} must be 0 or more seconds, got {value}");
        refuse("OUT_OF_BOUNDS", message)
    })
}
