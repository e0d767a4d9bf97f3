//! A server's life: bind, serve, stop.
//!
//! It runs on threads of its own, so any program can start one. Stopping says NOT_SERVING first, then lets
//! running calls finish until the grace is over.

use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use memcore_engine::{Error, ErrorKind, Result, Store};
use parking_lot::{Condvar, Mutex};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tower::util::MapResponseLayer;

use crate::api::memory_service_server::{MemoryServiceServer, SERVICE_NAME};
use crate::gate::Gate;
use crate::grpc::Door;
use crate::{MAX_MESSAGE_BYTES, convert, status};

const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_STREAMS_PER_CONNECTION: u32 = 1024;
/// Threads that may block at once; a machine has no more to give.
pub const MAX_IN_FLIGHT: usize = 4096;
/// Each may hold a request of `MAX_MESSAGE_BYTES`.
pub const MAX_WAITING: usize = 65_536;
/// More than a person would wait; keeps arithmetic with instants from overflowing.
const MAX_GRACE: Duration = Duration::from_secs(24 * 3600);

/// Where and how to serve.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// `host:port`; port 0 takes a free one.
    pub address: String,
    /// Let other machines connect, although nothing here asks who they are.
    pub allow_remote: bool,
    /// Calls that work at once, 1 to 4096.
    pub max_in_flight: usize,
    /// Calls that wait for their turn, 0 to 65536; one more is refused as OVERLOADED.
    pub max_waiting: usize,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self { address: "127.0.0.1:0".into(), allow_remote: false, max_in_flight: 256, max_waiting: 1024 }
    }
}

/// A running server. Dropping the handle stops it without grace.
pub struct ServerHandle {
    address: SocketAddr,
    stop: watch::Sender<Option<Instant>>,
    ended: Arc<Ended>,
}

impl ServerHandle {
    /// Where it listens, with the port that was taken.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Begins to stop and returns at once. Calls still running after `grace` lose their connection, though what
    /// they write is completed. A second stop can only shorten the grace.
    pub fn stop(&self, grace: Duration) {
        let end = Instant::now() + grace.min(MAX_GRACE);
        self.stop.send_modify(|present| *present = Some(present.map_or(end, |set| set.min(end))));
    }

    /// Waits until it has stopped, at most for `timeout`; true if it has.
    pub fn wait(&self, timeout: Duration) -> bool {
        self.ended.wait(timeout)
    }
}

#[derive(Default)]
struct Ended {
    flag: Mutex<bool>,
    changed: Condvar,
}

impl Ended {
    fn wait(&self, timeout: Duration) -> bool {
        let mut flag = self.flag.lock();
        self.changed.wait_while_for(&mut flag, |ended| !*ended, timeout);
        *flag
    }
}

/// Marks the end even if the server's thread panics.
struct EndMark(Arc<Ended>);

impl Drop for EndMark {
    fn drop(&mut self) {
        *self.0.flag.lock() = true;
        self.0.changed.notify_all();
    }
}

/// Serves `store` until the handle is stopped or dropped. The address is bound when this returns, and whoever
/// tries to open the store's directory is told it.
///
/// # Errors
/// `INVALID_ADDRESS`, `OUT_OF_BOUNDS`, `NON_LOOPBACK_ADDRESS` for an address that other machines reach,
/// `ADDRESS_IN_USE`, and `ADDRESS_UNAVAILABLE` with the system's reason.
pub fn serve(store: Store, options: &ServeOptions) -> Result<ServerHandle> {
    within("max_in_flight", options.max_in_flight, 1, MAX_IN_FLIGHT)?;
    within("max_waiting", options.max_waiting, 0, MAX_WAITING)?;
    let listener = bind(options)?;
    let address = listener.local_addr().map_err(|error| unavailable(&options.address, &error))?;
    store.set_note(&address.to_string())?;
    let runtime = runtime(options.max_in_flight)?;
    let door = Door::new(store, Gate::new(options.max_in_flight, options.max_waiting));
    let (stop, stopping) = watch::channel(None);
    let ended = Arc::<Ended>::default();
    let mark = EndMark(Arc::clone(&ended));
    thread::Builder::new()
        .name("memcore-serve".into())
        .spawn(move || {
            let _mark = mark;
            runtime.block_on(live(listener, door, stopping));
            runtime.shutdown_background();
        })
        .map_err(|error| no_threads(&error))?;
    Ok(ServerHandle { address, stop, ended })
}

fn within(parameter: &str, value: usize, least: usize, most: usize) -> Result<()> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    let rule = format!("between {least} and {most}");
    Err(convert::refusal("OUT_OF_BOUNDS", parameter, &rule, value))
}

fn bind(options: &ServeOptions) -> Result<TcpListener> {
    let addresses = resolve(&options.address)?;
    let remote = addresses.iter().find(|address| !address.ip().is_loopback());
    if let (Some(address), false) = (remote, options.allow_remote) {
        return Err(Error::new(
            ErrorKind::InvalidInput,
            "NON_LOOPBACK_ADDRESS",
            format!("address must be a loopback address unless remote callers are allowed, got {address}"),
        )
        .with("address", address));
    }
    let listener = TcpListener::bind(addresses.as_slice());
    let bound = listener.and_then(|listener| listener.set_nonblocking(true).map(|()| listener));
    bound.map_err(|error| unavailable(&options.address, &error))
}

fn resolve(address: &str) -> Result<Vec<SocketAddr>> {
    match address.to_socket_addrs() {
        Ok(addresses) => Ok(addresses.collect()),
        Err(error) => Err(convert::refusal(
            "INVALID_ADDRESS",
            "address",
            "host:port, such as 127.0.0.1:50051",
            format!("{address:?} ({error})"),
        )),
    }
}

fn unavailable(address: &str, error: &std::io::Error) -> Error {
    let (kind, reason) = match error.kind() {
        std::io::ErrorKind::AddrInUse => (ErrorKind::Busy, "ADDRESS_IN_USE"),
        _ => (ErrorKind::Unsupported, "ADDRESS_UNAVAILABLE"),
    };
    Error::new(kind, reason, format!("cannot listen on {address}: {error}"))
        .with("address", address)
        .with("cause", error)
}

fn no_threads(error: &std::io::Error) -> Error {
    let message = format!("cannot start the server's threads: {error}");
    Error::new(ErrorKind::Busy, "NO_THREADS", message).with("cause", error)
}

/// One thread per call in flight may block on the disk; they exist only while needed.
fn runtime(max_in_flight: usize) -> Result<Runtime> {
    Builder::new_multi_thread()
        .thread_name("memcore-grpc")
        .max_blocking_threads(max_in_flight)
        .enable_all()
        .build()
        .map_err(|error| no_threads(&error))
}

async fn live(listener: TcpListener, door: Door, mut stopping: watch::Receiver<Option<Instant>>) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else {
        return;
    };
    let incoming =
        TcpIncoming::from(listener).with_nodelay(Some(true)).with_keepalive(Some(KEEPALIVE_INTERVAL));
    let (reporter, health) = tonic_health::server::health_reporter();
    report(&reporter, ServingStatus::Serving).await;
    let (drain, draining) = oneshot::channel::<()>();
    let server = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .max_concurrent_streams(MAX_STREAMS_PER_CONNECTION)
        .layer(MapResponseLayer::new(status::explain))
        .add_service(health)
        .add_service(
            MemoryServiceServer::new(door)
                .max_decoding_message_size(MAX_MESSAGE_BYTES)
                .max_encoding_message_size(MAX_MESSAGE_BYTES),
        )
        .serve_with_incoming_shutdown(incoming, async {
            let _ = draining.await;
        });
    let server = tokio::spawn(server);
    let _ = stopping.wait_for(Option::is_some).await;
    report(&reporter, ServingStatus::NotServing).await;
    drop(drain);
    end_watches(reporter).await;
    tokio::select! {
        _ = server => {}
        () = grace_over(stopping) => {}
    }
}

async fn report(reporter: &HealthReporter, status: ServingStatus) {
    for name in ["", SERVICE_NAME] {
        reporter.set_service_status(name, status).await;
    }
}

/// A health watch is a call without an end; it gets its last status and lets the connection go.
async fn end_watches(mut reporter: HealthReporter) {
    for name in ["", SERVICE_NAME] {
        reporter.clear_service_status(name).await;
    }
}

async fn grace_over(mut stopping: watch::Receiver<Option<Instant>>) {
    loop {
        let end = stopping.borrow_and_update().unwrap_or_else(Instant::now);
        tokio::select! {
            () = tokio::time::sleep_until(end) => return,
            changed = stopping.changed() => if changed.is_err() {
                return;
            }
        }
    }
}
