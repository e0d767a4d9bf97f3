//! A store behind a real socket, and a clock that a test can hold.

#![allow(dead_code, reason = "each test file uses its part")]

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use memcore_engine::{Clock, OpenOptions, Store};
use memcore_server::api::memory_service_client::MemoryServiceClient;
use memcore_server::{ServeOptions, ServerHandle, api, serve};
use parking_lot::{Condvar, Mutex};
use tempfile::TempDir;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::{ErrorInfo, StatusExt};

pub type Client = MemoryServiceClient<Channel>;

/// A served store in a directory that goes away with it.
pub struct Served {
    pub client: Client,
    pub handle: ServerHandle,
    pub store: Store,
    _directory: TempDir,
}

pub async fn served() -> Served {
    served_with(ServeOptions::default(), Clock::default()).await
}

pub async fn served_with(options: ServeOptions, clock: Clock) -> Served {
    let directory = TempDir::new().expect("a temporary directory");
    let open = OpenOptions { clock, ..OpenOptions::default() };
    let store = Store::open(directory.path(), open).expect("an empty directory opens");
    let handle = serve(store.clone(), &options).expect("a free port is served");
    let client = connect(&handle).await;
    Served { client, handle, store, _directory: directory }
}

pub async fn connect(handle: &ServerHandle) -> Client {
    let client = Client::connect(format!("http://{}", handle.address()));
    client.await.expect("the server is bound").max_decoding_message_size(memcore_server::MAX_MESSAGE_BYTES)
}

pub async fn create_bank(client: &mut Client, bank_id: &str) -> api::Bank {
    let request = api::CreateBankRequest {
        bank_id: bank_id.into(),
        request_id: format!("create-{bank_id}"),
        ..Default::default()
    };
    let reply = client.create_bank(request).await.expect("a new bank");
    reply.into_inner().bank.expect("a bank in the reply")
}

pub fn chunk(chunk_id: &str, text: &str) -> api::Chunk {
    api::Chunk { chunk_id: chunk_id.into(), text: text.into(), ..Default::default() }
}

pub fn append(bank_id: &str, chunks: &[api::Chunk]) -> api::AppendChunksRequest {
    api::AppendChunksRequest { bank_id: bank_id.into(), chunks: chunks.to_vec(), ..Default::default() }
}

pub fn insert(content: &str) -> api::Operation {
    let insert = api::InsertOperation {
        r#type: api::MemoryType::Semantic.into(),
        content: content.into(),
        ..Default::default()
    };
    api::Operation { operation: Some(api::operation::Operation::Insert(insert)) }
}

pub fn apply(bank_id: &str, operations: &[api::Operation]) -> api::ApplyOperationsRequest {
    api::ApplyOperationsRequest {
        bank_id: bank_id.into(),
        operations: operations.to_vec(),
        ..Default::default()
    }
}

pub fn query(text: &str) -> api::SearchQuery {
    api::SearchQuery { text: text.into(), ..Default::default() }
}

/// The code and the ErrorInfo of a refused call.
pub fn refused<T>(reply: Result<T, Status>) -> (Code, ErrorInfo) {
    let status = reply.err().expect("the call is refused");
    let info = status.get_details_error_info();
    (status.code(), info.unwrap_or_else(|| panic!("an ErrorInfo in {status:?}")))
}

/// A clock that stands still while it is held: whoever asks for the time waits.
#[derive(Clone, Default)]
pub struct HeldClock(Arc<(Mutex<Gate>, Condvar)>);

#[derive(Default)]
struct Gate {
    held: bool,
    waiting: usize,
}

impl HeldClock {
    pub fn clock(&self) -> Clock {
        let this = self.clone();
        let micros = AtomicI64::new(1);
        Clock::from_fn(move || {
            this.pass();
            micros.fetch_add(1, Ordering::Relaxed)
        })
    }

    fn pass(&self) {
        let (gate, changed) = &*self.0;
        let mut gate = gate.lock();
        gate.waiting += 1;
        changed.wait_while(&mut gate, |gate| gate.held);
        gate.waiting -= 1;
    }

    pub fn hold(&self) {
        self.0.0.lock().held = true;
    }

    pub fn release(&self) {
        self.0.0.lock().held = false;
        self.0.1.notify_all();
    }

    /// Returns once a write stands before the held clock.
    pub async fn reached(&self) {
        while self.0.0.lock().waiting == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}
