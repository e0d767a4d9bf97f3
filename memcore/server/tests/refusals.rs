//! What is refused, with which code and reason.

mod support;

use memcore_engine::{ErrorKind, Store};
use memcore_server::{ServeOptions, api, serve};
use support::{append, apply, chunk, create_bank, insert, query, refused, served};

use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Code, Request};
use tonic_prost::ProstCodec;

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_error_has_its_code_and_a_reason() {
    let mut served = served().await;
    let client = &mut served.client;
    create_bank(client, "b1").await;
    client.append_chunks(append("b1", &[chunk("c1", "tea")])).await.unwrap();

    let missing = api::GetBankRequest { bank_id: "b2".into() };
    let (code, info) = refused(client.get_bank(missing).await);
    assert_eq!((code, info.reason.as_str()), (Code::NotFound, "BANK_NOT_FOUND"));
    assert_eq!((info.domain.as_str(), info.metadata["bank_id"].as_str()), ("memalpha", "b2"));

    let other =
        api::CreateBankRequest { bank_id: "b1".into(), request_id: "another".into(), ..Default::default() };
    let (code, info) = refused(client.create_bank(other).await);
    assert_eq!((code, info.reason.as_str()), (Code::AlreadyExists, "BANK_ALREADY_EXISTS"));

    let (code, info) = refused(client.append_chunks(append("b1", &[chunk("c1", "coffee")])).await);
    assert_eq!((code, info.reason.as_str()), (Code::Aborted, "CHUNK_ID_REUSED"));

    let stale =
        api::ApplyOperationsRequest { cursor_token: Some("stale".into()), ..apply("b1", &[insert("one")]) };
    let (code, info) = refused(client.apply_operations(stale).await);
    assert_eq!((code, info.reason.as_str()), (Code::Aborted, "CURSOR_MOVED"));

    served.store.close();
    let (code, info) = refused(client.append_chunks(append("b1", &[chunk("c2", "tea")])).await);
    assert_eq!((code, info.reason.as_str()), (Code::Unavailable, "STORE_CLOSED"));
}

#[tokio::test(flavor = "multi_thread")]
async fn negative_numbers_are_refused_with_parameter_rule_and_value() {
    let mut served = served().await;
    let client = &mut served.client;
    create_bank(client, "b1").await;
    let list = api::ListBanksRequest { page_size: -1, ..Default::default() };
    let status = client.list_banks(list).await.unwrap_err();
    assert_eq!(status.message(), "page_size must be 0 or more, got -1");
    assert_eq!(refused::<()>(Err(status)).1.reason, "INVALID_PAGE_SIZE");

    let search = api::SearchMemoriesRequest {
        bank_id: "b1".into(),
        queries: vec![api::SearchQuery { limit: Some(-5), ..query("tea") }],
    };
    let status = client.search_memories(search).await.unwrap_err();
    assert_eq!(status.message(), "queries[0].limit must be between 1 and 1000, got -5");

    let view = api::GetWriterViewRequest {
        bank_id: "b1".into(),
        view: Some(api::get_writer_view_request::View::Recent(api::RecentView {
            semantic: Some(-1),
            episodic: None,
        })),
        ..Default::default()
    };
    let status = client.get_writer_view(view).await.unwrap_err();
    assert_eq!(status.message(), "semantic must be between 0 and 1000, got -1");

    let create = api::CreateBankRequest {
        bank_id: "b2".into(),
        settings: Some(api::BankSettings { core_token_limit: Some(-512), ..Default::default() }),
        ..Default::default()
    };
    let (code, info) = refused(client.create_bank(create).await);
    assert_eq!((code, info.reason.as_str()), (Code::InvalidArgument, "OUT_OF_BOUNDS"));
    assert_eq!(info.metadata["actual"], "-512");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_unset_or_unknown_where_a_value_is_needed_is_refused() {
    let mut served = served().await;
    let client = &mut served.client;
    create_bank(client, "b1").await;

    let resolve = api::ResolveParkedChunkRequest { bank_id: "b1".into(), ..Default::default() };
    assert_eq!(refused(client.resolve_parked_chunk(resolve).await).1.reason, "INVALID_ACTION");

    let nothing = apply("b1", &[insert("one"), api::Operation::default()]);
    let (code, info) = refused(client.apply_operations(nothing).await);
    assert_eq!((code, info.reason.as_str()), (Code::InvalidArgument, "INVALID_OPERATION"));
    assert_eq!(info.metadata["parameter"], "operations[1]");

    let typeless = api::Operation {
        operation: Some(api::operation::Operation::Insert(api::InsertOperation::default())),
    };
    let (_, info) = refused(client.apply_operations(apply("b1", &[typeless])).await);
    assert_eq!(info.reason, "INVALID_MEMORY_TYPE");
    assert_eq!(info.metadata["parameter"], "operations[0].insert.type");

    let list = api::ListMemoriesRequest { bank_id: "b1".into(), r#type: 17, ..Default::default() };
    let (_, info) = refused(client.list_memories(list).await);
    assert_eq!((info.reason.as_str(), info.metadata["value"].as_str()), ("INVALID_MEMORY_TYPE", "17"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_token_of_another_listing_is_refused() {
    let mut served = served().await;
    let client = &mut served.client;
    create_bank(client, "b1").await;
    create_bank(client, "b2").await;
    let page = client.list_banks(api::ListBanksRequest { page_size: 1, ..Default::default() }).await;
    let foreign = api::ListPendingBanksRequest {
        page_token: page.unwrap().into_inner().next_page_token,
        ..Default::default()
    };
    let (code, info) = refused(client.list_pending_banks(foreign).await);
    assert_eq!((code, info.reason.as_str()), (Code::InvalidArgument, "INVALID_PAGE_TOKEN"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_over_the_message_limit_is_refused_and_the_connection_lives_on() {
    let mut served = served().await;
    let client = &mut served.client;
    create_bank(client, "b1").await;
    let text = "x".repeat(memcore_server::MAX_MESSAGE_BYTES);
    let (code, info) = refused(client.append_chunks(append("b1", &[chunk("c1", &text)])).await);
    assert_eq!((code, info.reason.as_str()), (Code::OutOfRange, "MESSAGE_TOO_LARGE"));
    client.append_chunks(append("b1", &[chunk("c1", "short")])).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_over_the_message_limit_is_refused_with_advice() {
    let mut served = served().await;
    let client = &mut served.client;
    create_bank(client, "b1").await;
    // 60 queries find the same 5 memories of 60,000 bytes: 18 MB, where 16 MiB is the most.
    let contents: Vec<_> = (0..5).map(|i| insert(&format!("tea {i} {}", "x".repeat(60_000)))).collect();
    client.apply_operations(apply("b1", &contents)).await.unwrap();
    let search = api::SearchMemoriesRequest { bank_id: "b1".into(), queries: vec![query("tea"); 60] };
    let (code, info) = refused(client.search_memories(search).await);
    assert_eq!((code, info.reason.as_str()), (Code::OutOfRange, "MESSAGE_TOO_LARGE"));
}

#[tokio::test(flavor = "multi_thread")]
async fn garbled_bytes_and_unknown_methods_are_the_callers_fault_on_the_wire_too() {
    let served = served().await;
    let address = format!("http://{}", served.handle.address());
    let channel = tonic::transport::Endpoint::from_shared(address).unwrap().connect().await.unwrap();
    let mut raw = tonic::client::Grpc::new(channel);
    for (method, code, reason) in [
        // A Chunk's event time stands where AppendChunks has its chunks, and is none.
        ("AppendChunks", Code::InvalidArgument, "MALFORMED_REQUEST"),
        ("DropEverything", Code::Unimplemented, "UNKNOWN_METHOD"),
    ] {
        raw.ready().await.unwrap();
        let path = format!("/memalpha.api.memory.v1alpha1.MemoryService/{method}");
        let request = Request::new(api::Chunk { event_time: "\u{7f}".into(), ..Default::default() });
        let codec = ProstCodec::<api::Chunk, api::AppendChunksResponse>::default();
        let reply = raw.unary(request, PathAndQuery::try_from(path).unwrap(), codec).await;
        let (found, info) = refused(reply);
        assert_eq!((found, info.reason.as_str()), (code, reason));
    }
}

fn cannot_serve(options: ServeOptions) -> memcore_engine::Error {
    match serve(Store::in_memory(), &options) {
        Err(error) => error,
        Ok(handle) => panic!("{} must not be served", handle.address()),
    }
}

#[test]
fn an_address_that_cannot_be_served_says_why() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().unwrap().to_string();
    for (address, kind, reason) in [
        (taken.as_str(), ErrorKind::Busy, "ADDRESS_IN_USE"),
        ("0.0.0.0:0", ErrorKind::InvalidInput, "NON_LOOPBACK_ADDRESS"),
        ("[::]:0", ErrorKind::InvalidInput, "NON_LOOPBACK_ADDRESS"),
        ("127.0.0.1", ErrorKind::InvalidInput, "INVALID_ADDRESS"),
        ("127.0.0.1:70000", ErrorKind::InvalidInput, "INVALID_ADDRESS"),
    ] {
        let error = cannot_serve(ServeOptions { address: address.into(), ..ServeOptions::default() });
        assert_eq!((error.kind, error.reason), (kind, reason), "{address}");
        assert!(error.message.contains(address), "{}", error.message);
    }
}

#[test]
fn limits_that_make_no_sense_are_refused() {
    let error = cannot_serve(ServeOptions { max_in_flight: 0, ..ServeOptions::default() });
    assert_eq!(error.message, "max_in_flight must be between 1 and 4096, got 0");
}

#[test]
fn other_machines_may_connect_where_that_is_allowed() {
    let options = ServeOptions { address: "0.0.0.0:0".into(), allow_remote: true, ..ServeOptions::default() };
    let handle = serve(Store::in_memory(), &options).unwrap();
    assert_ne!(handle.address().port(), 0);
}
