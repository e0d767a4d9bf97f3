//! The door for callers on the network: each RPC runs its function of `service` on a thread that may block.
//!
//! A call that has begun runs to its end, whatever becomes of its caller; its turn ends with it.

use std::time::Duration;

use memcore_engine::{Result as EngineResult, Store};
use prost::Message;
use tonic::{Request, Response, Status};

use crate::api::memory_service_server::MemoryService;
use crate::gate::Gate;
use crate::{MAX_MESSAGE_BYTES, api, deadline, service, status};

pub struct Door {
    store: Store,
    gate: Gate,
}

impl Door {
    pub fn new(store: Store, gate: Gate) -> Self {
        Self { store, gate }
    }

    async fn run<Q, R>(
        &self,
        request: Request<Q>,
        function: fn(&Store, Q) -> EngineResult<R>,
    ) -> Result<Response<R>, Status>
    where
        Q: Send + 'static,
        R: Message + 'static,
    {
        let budget = deadline::budget(request.metadata());
        let work = self.work(request.into_inner(), function);
        let reply = match budget {
            None => work.await?,
            Some(budget) => within(budget, work).await?,
        };
        match reply.encoded_len() {
            bytes if bytes > MAX_MESSAGE_BYTES => Err(status::reply_too_large(bytes)),
            _ => Ok(Response::new(reply)),
        }
    }

    async fn work<Q, R>(&self, request: Q, function: fn(&Store, Q) -> EngineResult<R>) -> Result<R, Status>
    where
        Q: Send + 'static,
        R: Send + 'static,
    {
        let turn = self.gate.enter().await.map_err(|error| status::status(&error))?;
        let store = self.store.clone();
        let work = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            function(&store, request)
        });
        match work.await {
            Ok(reply) => reply.map_err(|error| status::status(&error)),
            Err(_) => Err(status::panicked()),
        }
    }
}

async fn within<R>(budget: Duration, work: impl Future<Output = Result<R, Status>>) -> Result<R, Status> {
    match tokio::time::timeout(budget, work).await {
        Ok(reply) => reply,
        Err(_) => Err(status::too_late(budget)),
    }
}

macro_rules! rpcs {
    ($($name:ident: $request:ident => $response:ident,)*) => {
        #[tonic::async_trait]
        impl MemoryService for Door {
            $(async fn $name(
                &self,
                request: Request<api::$request>,
            ) -> Result<Response<api::$response>, Status> {
                self.run(request, service::$name).await
            })*
        }
    };
}

rpcs! {
    create_bank: CreateBankRequest => CreateBankResponse,
    get_bank: GetBankRequest => GetBankResponse,
    list_banks: ListBanksRequest => ListBanksResponse,
    delete_bank: DeleteBankRequest => DeleteBankResponse,
    append_chunks: AppendChunksRequest => AppendChunksResponse,
    list_chunks: ListChunksRequest => ListChunksResponse,
    list_pending_banks: ListPendingBanksRequest => ListPendingBanksResponse,
    get_writer_view: GetWriterViewRequest => GetWriterViewResponse,
    apply_operations: ApplyOperationsRequest => ApplyOperationsResponse,
    report_chunk_failure: ReportChunkFailureRequest => ReportChunkFailureResponse,
    resolve_parked_chunk: ResolveParkedChunkRequest => ResolveParkedChunkResponse,
    list_memories: ListMemoriesRequest => ListMemoriesResponse,
    search_memories: SearchMemoriesRequest => SearchMemoriesResponse,
    put_vectors: PutVectorsRequest => PutVectorsResponse,
    set_embedder: SetEmbedderRequest => SetEmbedderResponse,
    list_bank_events: ListBankEventsRequest => ListBankEventsResponse,
}

#[cfg(test)]
mod tests {
    use std::thread::sleep;

    use tonic::Code;
    use tonic_types::StatusExt;

    use super::*;

    fn door() -> Door {
        Door::new(Store::in_memory(), Gate::new(1, 0))
    }

    fn slow(_: &Store, request: api::GetBankRequest) -> EngineResult<api::GetBankRequest> {
        sleep(Duration::from_millis(300));
        Ok(request)
    }

    fn faulty(_: &Store, request: api::GetBankRequest) -> EngineResult<api::GetBankRequest> {
        panic!("no bank {}", request.bank_id);
    }

    #[tokio::test]
    async fn a_reply_after_the_callers_deadline_is_refused_with_a_reason() {
        let mut request = Request::new(api::GetBankRequest::default());
        request.set_timeout(Duration::from_millis(50));
        let status = door().run(request, slow).await.unwrap_err();
        assert_eq!(status.code(), Code::DeadlineExceeded);
        assert_eq!(status.get_details_error_info().unwrap().reason, "DEADLINE_EXCEEDED");
    }

    #[tokio::test]
    async fn a_turn_lasts_until_the_work_is_done_whatever_becomes_of_the_caller() {
        let door = door();
        let mut request = Request::new(api::GetBankRequest::default());
        request.set_timeout(Duration::from_millis(50));
        let late = door.run(request, slow).await.unwrap_err();
        assert_eq!(late.code(), Code::DeadlineExceeded);
        let second = door.run(Request::new(api::GetBankRequest::default()), slow).await.unwrap_err();
        assert_eq!(second.get_details_error_info().unwrap().reason, "OVERLOADED");
    }

    #[tokio::test]
    async fn a_bug_is_an_internal_error_without_its_words_and_the_next_call_works() {
        let door = door();
        let request = || Request::new(api::GetBankRequest { bank_id: "secret".into() });
        let status = door.run(request(), faulty).await.unwrap_err();
        assert_eq!(status.code(), Code::Internal);
        assert!(!status.message().contains("secret"), "{}", status.message());
        assert!(door.run(request(), slow).await.is_ok());
    }
}
