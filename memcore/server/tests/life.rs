//! Overload, deadlines, health and stopping.

mod support;

use std::time::{Duration, Instant};

use memcore_engine::Clock;
use memcore_server::{ServeOptions, api};
use support::{HeldClock, append, chunk, connect, create_bank, served, served_with};
use tonic::transport::Endpoint;
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt;

const SERVICE: &str = "memalpha.api.memory.v1alpha1.MemoryService";
const LONG: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn a_call_beyond_the_queue_is_refused_at_once_and_the_others_succeed() {
    let held = HeldClock::default();
    let options = ServeOptions { max_in_flight: 1, max_waiting: 1, ..ServeOptions::default() };
    let mut served = served_with(options, held.clock()).await;
    create_bank(&mut served.client, "b1").await;
    held.hold();
    let mut calls = tokio::task::JoinSet::new();
    for chunk_id in ["c1", "c2", "c3"] {
        let mut client = served.client.clone();
        calls.spawn(async move { client.append_chunks(append("b1", &[chunk(chunk_id, "tea")])).await });
    }
    // One works, one waits; the clock stands, so only the third can have an answer.
    let first = tokio::time::timeout(LONG, calls.join_next()).await.unwrap().unwrap().unwrap();
    let status = first.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(status.get_details_error_info().unwrap().reason, "OVERLOADED");
    assert!(status.get_details_retry_info().unwrap().retry_delay.is_some());
    held.release();
    while let Some(reply) = calls.join_next().await {
        reply.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_caller_gave_up_is_completed() {
    let held = HeldClock::default();
    let mut served = served_with(ServeOptions::default(), held.clock()).await;
    create_bank(&mut served.client, "b1").await;
    held.hold();
    let mut request = Request::new(append("b1", &[chunk("c1", "tea")]));
    request.set_timeout(Duration::from_millis(200));
    let status = served.client.append_chunks(request).await.unwrap_err();
    // The client's own timer answers CANCELLED if it happens to be first.
    assert!(matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled), "{status:?}");
    held.release();
    let again = served.client.append_chunks(append("b1", &[chunk("c1", "tea")])).await.unwrap();
    assert!(again.into_inner().results[0].already_stored);
}

fn about(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.into() }
}

#[tokio::test(flavor = "multi_thread")]
async fn health_says_serving_until_the_server_stops() {
    let served = served().await;
    let address = format!("http://{}", served.handle.address());
    let mut health = HealthClient::new(Endpoint::from_shared(address).unwrap().connect().await.unwrap());
    for service in ["", SERVICE] {
        let reply = health.check(about(service)).await.unwrap().into_inner();
        assert_eq!(reply.status(), ServingStatus::Serving, "{service:?}");
    }
    let mut watch = health.watch(about(SERVICE)).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    served.handle.stop(LONG);
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    assert_eq!(watch.message().await.unwrap(), None);
    let handle = served.handle;
    assert!(tokio::task::spawn_blocking(move || handle.wait(LONG)).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_graceful_stop_finishes_a_running_call_and_takes_no_new_ones() {
    let held = HeldClock::default();
    let mut served = served_with(ServeOptions::default(), held.clock()).await;
    create_bank(&mut served.client, "b1").await;
    held.hold();
    let mut client = served.client.clone();
    let running =
        tokio::spawn(async move { client.append_chunks(append("b1", &[chunk("c1", "tea")])).await });
    held.reached().await;
    served.handle.stop(LONG);
    assert!(!served.handle.wait(Duration::from_millis(100)), "a call is still running");
    let refused = std::net::TcpStream::connect(served.handle.address());
    assert!(refused.is_err(), "the port is closed");
    held.release();
    let reply = running.await.unwrap().unwrap().into_inner();
    assert_eq!(reply.results[0].position, 0);
    let handle = served.handle;
    assert!(tokio::task::spawn_blocking(move || handle.wait(LONG)).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_stop_shortens_the_grace() {
    let held = HeldClock::default();
    let mut served = served_with(ServeOptions::default(), held.clock()).await;
    create_bank(&mut served.client, "b1").await;
    held.hold();
    let mut client = served.client.clone();
    let running =
        tokio::spawn(async move { client.append_chunks(append("b1", &[chunk("c1", "tea")])).await });
    held.reached().await;
    let start = Instant::now();
    served.handle.stop(Duration::from_secs(3600));
    served.handle.stop(Duration::ZERO);
    served.handle.stop(Duration::from_secs(3600));
    let handle = served.handle;
    assert!(tokio::task::spawn_blocking(move || handle.wait(LONG)).await.unwrap());
    assert!(start.elapsed() < LONG);
    assert!(running.await.unwrap().is_err(), "its connection is gone");
    held.release();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_server_stops_although_clients_are_connected() {
    let mut served = served_with(ServeOptions::default(), Clock::default()).await;
    let mut second = connect(&served.handle).await;
    create_bank(&mut second, "b1").await;
    served.handle.stop(LONG);
    let start = Instant::now();
    assert!(served.handle.wait(LONG));
    assert!(start.elapsed() < Duration::from_secs(10), "the grace was not needed");
    let gone = served.client.list_banks(api::ListBanksRequest::default()).await;
    assert_eq!(gone.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_opener_of_the_directory_is_told_the_servers_address() {
    let served = served().await;
    let directory = served.store.dir().unwrap().to_owned();
    let error = memcore_engine::Store::open(&directory, Default::default()).err().unwrap();
    assert_eq!(error.reason, "STORE_LOCKED");
    let address = served.handle.address().to_string();
    assert!(error.message.contains(&address), "{}", error.message);
}
