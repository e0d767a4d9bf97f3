//! Every RPC over a real socket, on its ordinary way.

mod support;

use memcore_server::api;
use support::{append, apply, chunk, create_bank, insert, query, served};

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_is_created_once_read_listed_and_deleted() {
    let mut served = served().await;
    let client = &mut served.client;
    let bank = create_bank(client, "b1").await;
    assert_eq!(bank.bank_id, "b1");
    let settings = bank.settings.clone().unwrap();
    assert_eq!(settings.durability(), api::Durability::Synced);
    assert_eq!(
        (settings.core_token_limit, settings.max_chunk_failures, settings.language.as_str()),
        (Some(512), Some(3), "en")
    );
    assert_eq!(create_bank(client, "b1").await, bank, "the same request makes the same bank");
    let got = client.get_bank(api::GetBankRequest { bank_id: "b1".into() }).await;
    assert_eq!(got.unwrap().into_inner().bank, Some(bank.clone()));
    let delete = api::DeleteBankRequest { bank_id: "b1".into(), bank_uid: bank.bank_uid };
    client.delete_bank(delete).await.unwrap();
    let listed = client.list_banks(api::ListBanksRequest::default()).await;
    assert!(listed.unwrap().into_inner().banks.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_are_set_are_kept() {
    let mut served = served().await;
    let settings = api::BankSettings {
        durability: api::Durability::Volatile.into(),
        core_token_limit: Some(64),
        language: "none".into(),
        disabled_types: vec![api::MemoryType::Episodic.into()],
        max_chunk_failures: Some(7),
        labels: [("team".to_owned(), "a".to_owned())].into(),
        embedder: Some(api::Embedder { kind: api::EmbedderKind::None.into(), ..Default::default() }),
    };
    let request = api::CreateBankRequest {
        bank_id: "b1".into(),
        settings: Some(settings.clone()),
        ..Default::default()
    };
    let bank = served.client.create_bank(request).await.unwrap().into_inner().bank;
    assert_eq!(bank.unwrap().settings, Some(settings));
}

#[tokio::test(flavor = "multi_thread")]
async fn banks_come_in_pages_in_order_of_ids() {
    let mut served = served().await;
    for bank_id in ["c", "a", "b"] {
        create_bank(&mut served.client, bank_id).await;
    }
    let mut request = api::ListBanksRequest { page_size: 2, ..Default::default() };
    let first = served.client.list_banks(request.clone()).await.unwrap().into_inner();
    request.page_token = first.next_page_token;
    let second = served.client.list_banks(request).await.unwrap().into_inner();
    let ids = |banks: &[api::Bank]| banks.iter().map(|bank| bank.bank_id.clone()).collect::<Vec<_>>();
    assert_eq!((ids(&first.banks), ids(&second.banks)), (vec!["a".into(), "b".into()], vec!["c".into()]));
    assert_eq!(second.next_page_token, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_is_stored_once_listed_and_waits_to_be_memorized() {
    let mut served = served().await;
    let bank = create_bank(&mut served.client, "b1").await;
    let request = append("b1", &[chunk("c1", "Ada likes tea."), chunk("c2", "Ada moved to Bern.")]);
    let reply = served.client.append_chunks(request.clone()).await.unwrap().into_inner();
    assert_eq!(reply.bank_uid, bank.bank_uid);
    assert_eq!(places(&reply), [(0, false), (1, false)]);
    let again = served.client.append_chunks(request).await.unwrap().into_inner();
    assert_eq!(places(&again), [(0, true), (1, true)]);

    let mut list = api::ListChunksRequest { bank_id: "b1".into(), start_position: 1, ..Default::default() };
    let listed = served.client.list_chunks(list.clone()).await.unwrap().into_inner();
    assert_eq!((listed.cursor, listed.chunks.len()), (0, 1));
    assert_eq!((listed.chunks[0].position, listed.chunks[0].text.as_str()), (1, "Ada moved to Bern."));
    assert_eq!(listed.next_page_token, "");
    (list.start_position, list.page_size) = (0, 1);
    let first = served.client.list_chunks(list.clone()).await.unwrap().into_inner();
    list.page_token = first.next_page_token;
    let second = served.client.list_chunks(list).await.unwrap().into_inner();
    assert_eq!((first.chunks[0].chunk_id.as_str(), second.chunks[0].chunk_id.as_str()), ("c1", "c2"));

    let pending = served.client.list_pending_banks(api::ListPendingBanksRequest::default()).await;
    let pending = pending.unwrap().into_inner().banks;
    assert_eq!((pending.len(), pending[0].pending_chunks, pending[0].parked), (1, 2, false));
}

fn places(reply: &api::AppendChunksResponse) -> Vec<(u64, bool)> {
    let place = |result: &api::AppendResult| (result.position, result.already_stored);
    reply.results.iter().map(place).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_is_read_memorized_and_its_memory_found() {
    let mut served = served().await;
    let client = &mut served.client;
    create_bank(client, "b1").await;
    client.append_chunks(append("b1", &[chunk("c1", "Ada likes tea.")])).await.unwrap();
    let view = api::GetWriterViewRequest { bank_id: "b1".into(), ..Default::default() };
    let view = client.get_writer_view(view).await.unwrap().into_inner();
    assert_eq!(view.next_chunk.unwrap().chunk_id, "c1");
    assert_eq!(view.core.unwrap().id, 0);
    let bank = view.bank.unwrap();

    let request = api::ApplyOperationsRequest {
        bank_uid: bank.bank_uid,
        cursor_token: Some(bank.cursor_token.clone()),
        memory_revision: Some(bank.memory_revision),
        advance_to: Some(1),
        writer: Some(api::Writer { policy_id: "p".into(), policy_version: 4, prompt_digest: String::new() }),
        raw_output: "insert".into(),
        request_id: "r1".into(),
        ..apply("b1", &[insert("Ada drinks tea"), api::Operation::from_delete(9)])
    };
    let reply = client.apply_operations(request.clone()).await.unwrap().into_inner();
    assert_eq!(reply.cursor, 1);
    assert_ne!(reply.cursor_token, bank.cursor_token);
    let repeated = client.apply_operations(request).await.unwrap().into_inner();
    assert_eq!(repeated, reply, "the same request id gives the first reply");
    let [inserted, missing] = reply.results.try_into().unwrap();
    let memory = memory_of(inserted);
    let provenance = memory.provenance.clone().unwrap();
    assert_eq!((provenance.chunk_id.as_str(), provenance.chunk_position), ("c1", Some(0)));
    assert_eq!(provenance.writer.unwrap().policy_version, 4);
    let Some(api::operation_result::Result::Error(error)) = missing.result else {
        panic!("there is no memory 9");
    };
    assert_eq!(error.reason(), api::operation_error::Reason::MemoryNotFound);

    let zebra = api::SearchQuery { method: api::SearchMethod::Words.into(), ..query("zebra") };
    let queries = vec![query("who drinks tea?"), zebra];
    let search = api::SearchMemoriesRequest { bank_id: "b1".into(), queries };
    let found = client.search_memories(search).await.unwrap().into_inner().results;
    assert_eq!(found[0].memories[0].memory, Some(memory));
    assert!(found[1].memories.is_empty());
}

trait FromDelete {
    fn from_delete(memory_id: u64) -> Self;
}

impl FromDelete for api::Operation {
    fn from_delete(memory_id: u64) -> Self {
        let delete = api::DeleteOperation { r#type: api::MemoryType::Semantic.into(), memory_id };
        Self { operation: Some(api::operation::Operation::Delete(delete)) }
    }
}

fn memory_of(result: api::OperationResult) -> api::Memory {
    match result.result {
        Some(api::operation_result::Result::Memory(memory)) => memory,
        other => panic!("a memory, not {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn later_pages_of_memories_leave_out_what_came_after_the_first() {
    let mut served = served().await;
    let client = &mut served.client;
    create_bank(client, "b1").await;
    client.apply_operations(apply("b1", &[insert("one"), insert("two")])).await.unwrap();
    let mut list = api::ListMemoriesRequest { bank_id: "b1".into(), page_size: 2, ..Default::default() };
    let first = client.list_memories(list.clone()).await.unwrap().into_inner();
    client.apply_operations(apply("b1", &[insert("three")])).await.unwrap();
    list.page_token = first.next_page_token;
    let second = client.list_memories(list).await.unwrap().into_inner();
    let ids = |memories: &[api::Memory]| memories.iter().map(|memory| memory.id).collect::<Vec<_>>();
    // Core memory has id 0, so the first page holds it and the first insert.
    assert_eq!((ids(&first.memories), ids(&second.memories)), (vec![0, 1], vec![2]));
    assert_eq!(second.next_page_token, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_long_chunks_stays_below_what_clients_accept() {
    let mut served = served().await;
    let client = &mut served.client;
    create_bank(client, "b1").await;
    // Nine hundred thousand bytes each: two fit into 2 MiB, three do not.
    for chunk_id in ["c1", "c2", "c3"] {
        let text = "tea ".repeat(225_000);
        client.append_chunks(append("b1", &[chunk(chunk_id, &text)])).await.unwrap();
    }
    let mut list = api::ListChunksRequest { bank_id: "b1".into(), ..Default::default() };
    let first = client.list_chunks(list.clone()).await.unwrap().into_inner();
    list.page_token = first.next_page_token;
    let second = client.list_chunks(list).await.unwrap().into_inner();
    let ids = |chunks: &[api::Chunk]| chunks.iter().map(|c| c.chunk_id.clone()).collect::<Vec<_>>();
    assert_eq!(
        (ids(&first.chunks), ids(&second.chunks)),
        (vec!["c1".into(), "c2".into()], vec!["c3".into()])
    );
    assert_eq!(second.next_page_token, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_that_fails_too_often_is_parked_and_skipped_by_hand() {
    let mut served = served().await;
    let client = &mut served.client;
    let bank = create_bank(client, "b1").await;
    client.append_chunks(append("b1", &[chunk("c1", "???")])).await.unwrap();
    let report = api::ReportChunkFailureRequest {
        bank_id: "b1".into(),
        cursor_token: bank.cursor_token,
        message: "no tool call".into(),
        ..Default::default()
    };
    // Three failures park a chunk by default.
    for count in 1..=3 {
        let reply = client.report_chunk_failure(report.clone()).await.unwrap().into_inner();
        let failures = reply.failures.unwrap();
        assert_eq!((failures.count, failures.parked), (count, count == 3));
    }
    let resolve = api::ResolveParkedChunkRequest {
        bank_id: "b1".into(),
        action: api::ParkedChunkAction::Skip.into(),
        ..Default::default()
    };
    let bank = client.resolve_parked_chunk(resolve).await.unwrap().into_inner().bank.unwrap();
    assert_eq!((bank.cursor, bank.failures), (1, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_tells_in_pages_what_happened_in_order() {
    use api::bank_event::Event;
    let mut served = served().await;
    let client = &mut served.client;
    create_bank(client, "b1").await;
    client.append_chunks(append("b1", &[chunk("c1", "Ada likes tea.")])).await.unwrap();
    client.apply_operations(apply("b1", &[insert("one"), insert("two")])).await.unwrap();
    let mut list = api::ListBankEventsRequest { bank_id: "b1".into(), page_size: 3, ..Default::default() };
    let first = client.list_bank_events(list.clone()).await.unwrap().into_inner();
    list.page_token = first.next_page_token;
    let second = client.list_bank_events(list).await.unwrap().into_inner();
    let events: Vec<Event> = first.events.into_iter().map(|event| event.event.unwrap()).collect();
    assert!(matches!(
        events.as_slice(),
        [Event::BankCreated(_), Event::ChunkAppended(_), Event::OperationApplied(_)]
    ));
    // The second operation of the batch is the second event of its revision.
    assert_eq!((second.events.len(), second.events[0].index), (1, 1));
    let filtered =
        api::ListBankEventsRequest { bank_id: "b1".into(), memory_id: Some(2), ..Default::default() };
    let filtered = client.list_bank_events(filtered).await.unwrap().into_inner();
    assert_eq!(filtered.events, second.events);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_banks_with_large_labels_is_cut_short_and_leads_on() {
    let mut served = served().await;
    let names: Vec<String> = (0..200).map(|i| format!("b{i:03}")).collect();
    for name in &names {
        let labels = [("label".to_owned(), "x".repeat(16_000))].into();
        let settings = memcore_engine::model::BankSettings { labels, ..Default::default() };
        served.store.create_bank(name, settings, "").unwrap();
    }
    let mut listed = Vec::new();
    let mut request = api::ListBanksRequest { page_size: 1000, ..Default::default() };
    loop {
        let page = served.client.list_banks(request.clone()).await.unwrap().into_inner();
        // 200 times 16 kB are more than the 2 MiB of a page.
        assert!(page.banks.len() < 200);
        listed.extend(page.banks.into_iter().map(|bank| bank.bank_id));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(listed, names);
}
