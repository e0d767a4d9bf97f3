//! The in-process door and the socket answer with the same bytes.

mod support;

use memcore_engine::{ErrorKind, Store};
use memcore_server::{api, call};
use proptest::prelude::*;
use prost::Message;
use support::{append, apply, chunk, create_bank, insert, query, served};

/// Calls both doors with one request and compares. Writes carry what makes their repetition harmless.
macro_rules! assert_same {
    ($served:expr, $method:literal, $rpc:ident, $request:expr) => {{
        let request = $request;
        let remote = $served.client.$rpc(request.clone()).await.unwrap().into_inner();
        let local = call(&$served.store, $method, &request.encode_to_vec()).unwrap();
        assert_eq!(local, remote.encode_to_vec(), $method);
        assert!(!local.is_empty(), $method);
    }};
}

#[tokio::test(flavor = "multi_thread")]
async fn both_doors_give_the_same_bytes() {
    let mut served = served().await;
    let bank = create_bank(&mut served.client, "b1").await;
    let b1 = || "b1".to_owned();
    served
        .client
        .append_chunks(append("b1", &[chunk("c1", "Ada likes tea."), chunk("c2", "Bern.")]))
        .await
        .unwrap();
    assert_same!(
        served,
        "CreateBank",
        create_bank,
        api::CreateBankRequest { bank_id: b1(), request_id: "create-b1".into(), ..Default::default() }
    );
    assert_same!(served, "AppendChunks", append_chunks, append("b1", &[chunk("c2", "Bern.")]));
    assert_same!(
        served,
        "ApplyOperations",
        apply_operations,
        api::ApplyOperationsRequest {
            request_id: "r1".into(),
            cursor_token: Some(bank.cursor_token.clone()),
            advance_to: Some(1),
            ..apply("b1", &[insert("Ada drinks tea"), insert("Ada drinks tea")])
        }
    );
    assert_same!(served, "GetBank", get_bank, api::GetBankRequest { bank_id: b1() });
    assert_same!(served, "ListBanks", list_banks, api::ListBanksRequest::default());
    assert_same!(
        served,
        "ListChunks",
        list_chunks,
        api::ListChunksRequest { bank_id: b1(), page_size: 1, ..Default::default() }
    );
    assert_same!(served, "ListPendingBanks", list_pending_banks, api::ListPendingBanksRequest::default());
    assert_same!(
        served,
        "GetWriterView",
        get_writer_view,
        api::GetWriterViewRequest { bank_id: b1(), ..Default::default() }
    );
    assert_same!(
        served,
        "ListMemories",
        list_memories,
        api::ListMemoriesRequest { bank_id: b1(), page_size: 1, ..Default::default() }
    );
    assert_same!(
        served,
        "SearchMemories",
        search_memories,
        api::SearchMemoriesRequest { bank_id: b1(), queries: vec![query("tea")] }
    );
    assert_same!(
        served,
        "ListBankEvents",
        list_bank_events,
        api::ListBankEventsRequest { bank_id: b1(), page_size: 2, ..Default::default() }
    );
}

#[test]
fn failures_are_reported_and_parked_chunks_resolved_in_process_too() {
    let store = Store::in_memory();
    let run = |method, request: Vec<u8>| call(&store, method, &request).unwrap();
    let create = api::CreateBankRequest {
        bank_id: "b1".into(),
        settings: Some(api::BankSettings { max_chunk_failures: Some(1), ..Default::default() }),
        ..Default::default()
    };
    let bank = api::CreateBankResponse::decode(&*run("CreateBank", create.encode_to_vec())).unwrap();
    run("AppendChunks", append("b1", &[chunk("c1", "text")]).encode_to_vec());
    let report = api::ReportChunkFailureRequest {
        bank_id: "b1".into(),
        cursor_token: bank.bank.unwrap().cursor_token,
        message: "why".into(),
        ..Default::default()
    };
    let reply = run("ReportChunkFailure", report.encode_to_vec());
    let failures = api::ReportChunkFailureResponse::decode(&*reply).unwrap().failures;
    assert!(failures.unwrap().parked);
    let resolve = api::ResolveParkedChunkRequest {
        bank_id: "b1".into(),
        action: api::ParkedChunkAction::Retry.into(),
        ..Default::default()
    };
    let reply = run("ResolveParkedChunk", resolve.encode_to_vec());
    let bank = api::ResolveParkedChunkResponse::decode(&*reply).unwrap().bank.unwrap();
    assert_eq!((bank.cursor, bank.failures), (0, None));
    let delete = api::DeleteBankRequest { bank_id: "b1".into(), ..Default::default() };
    assert!(run("DeleteBank", delete.encode_to_vec()).is_empty());
}

#[test]
fn an_unknown_method_and_garbled_bytes_are_refused() {
    let store = Store::in_memory();
    let unknown = call(&store, "DropEverything", b"").unwrap_err();
    assert_eq!((unknown.kind, unknown.reason), (ErrorKind::InvalidInput, "UNKNOWN_METHOD"));
    assert!(unknown.message.contains("DropEverything"), "{}", unknown.message);
    // Field 1 with a length of 127 bytes, and no bytes.
    let garbled = call(&store, "GetBank", &[0x0a, 0x7f]).unwrap_err();
    assert_eq!((garbled.kind, garbled.reason), (ErrorKind::InvalidInput, "MALFORMED_REQUEST"));
}

const METHODS: [&str; 14] = [
    "CreateBank",
    "GetBank",
    "ListBanks",
    "DeleteBank",
    "AppendChunks",
    "ListChunks",
    "ListPendingBanks",
    "GetWriterView",
    "ApplyOperations",
    "ReportChunkFailure",
    "ResolveParkedChunk",
    "ListMemories",
    "SearchMemories",
    "ListBankEvents",
];

proptest! {
    /// Any bytes are answered or refused: a panic would fail this test.
    #[test]
    fn no_bytes_break_a_method(tail in proptest::collection::vec(any::<u8>(), 0..64), named in any::<bool>()) {
        let store = Store::in_memory();
        store.create_bank("b1", Default::default(), "").unwrap();
        // Field 1, the bank's id, so that half of the cases get past it.
        let head: &[u8] = if named { b"\x0a\x02b1" } else { b"" };
        let request = [head, &tail].concat();
        for method in METHODS {
            if let Err(error) = call(&store, method, &request) {
                prop_assert!(error.kind != ErrorKind::Internal, "{method}: {error}");
            }
        }
    }
}
