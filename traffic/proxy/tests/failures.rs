//! Replicas that fail, and what clients see of it.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::atomic::Ordering;
use std::time::Duration;

use support::*;
use tokio::io::AsyncWriteExt;

fn brief(shop: Shop) -> Shop {
    shop.route(|route| {
        route.timeouts.response = Duration::from_millis(80);
        route.timeouts.idle = Duration::from_millis(80);
    })
}

fn assert_fails(answer: &Answer, status: u16, code: &str, fault: &str) {
    assert_eq!((answer.status, answer.header("shipshape-error")), (status, Some(code)));
    let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!((body["code"].as_str(), body["fault"].as_str()), (Some(code), Some(fault)));
    assert_eq!(body["requestId"].as_str(), answer.header("x-request-id"));
}

#[tokio::test]
async fn no_route_and_no_replica_have_answers_of_their_own() {
    let gateway = gateway();
    assert_fails(&get(&gateway, "/").await, 404, "SHP-GW-NO-ROUTE", "client");
    shop().share(1, 10_000).on(&gateway);
    let answer = get(&gateway, "/").await;
    assert_fails(&answer, 503, "SHP-GW-NO-REPLICA", "backend");
    assert_eq!(answer.header("retry-after"), Some("1"));
}

#[tokio::test]
async fn a_refused_connection_is_retried_on_another_replica_even_with_a_body() {
    let gateway = gateway();
    shop()
        .share(1, 10_000)
        .ready(1, 0, nobody().await)
        .ready(1, 1, nobody().await)
        .ready(1, 2, mirror().await)
        .on(&gateway);
    for _ in 0..20 {
        let answer = ask(&gateway, "POST / HTTP/1.1\r\nhost: s\r\ncontent-length: 3\r\n\r\nabc").await;
        assert_eq!((answer.status, answer.seen("body")), (200, Some("3")));
    }
    assert_eq!((gateway.tallies()[0].requests, gateway.tallies()[0].errors), (20, 0));
}

#[tokio::test]
async fn a_release_that_refuses_connections_is_a_502_by_its_fault() {
    let gateway = gateway();
    Shop::only(nobody().await).on(&gateway);
    assert_fails(&get(&gateway, "/").await, 502, "SHP-GW-CONNECT-FAILED", "backend");
    assert_eq!((gateway.tallies()[0].requests, gateway.tallies()[0].errors), (1, 1));
}

#[tokio::test]
async fn a_connection_closed_or_garbled_before_the_answer_is_a_502() {
    let gateway = gateway();
    let (closing, _) = raw(|_, mut socket| async move { _ = read_head(&mut socket).await }).await;
    Shop::only(closing).on(&gateway);
    assert_fails(&get(&gateway, "/").await, 502, "SHP-GW-BACKEND-CLOSED", "backend");
    let (garbling, _) = raw(|_, mut socket| async move {
        read_head(&mut socket).await;
        let _ = socket.write_all(b"NOT HTTP AT ALL\r\n\r\n").await;
        read_head(&mut socket).await;
    })
    .await;
    Shop::only(garbling).on(&gateway);
    assert_fails(&get(&gateway, "/").await, 502, "SHP-GW-BACKEND-INVALID", "backend");
}

#[tokio::test]
async fn no_answer_in_time_is_a_504_and_frees_the_replica() {
    let gateway = gateway();
    let (silent, _) = raw(|_, mut socket| async move {
        read_head(&mut socket).await;
        read_head(&mut socket).await;
    })
    .await;
    brief(Shop::only(silent)).on(&gateway);
    assert_fails(&get(&gateway, "/").await, 504, "SHP-GW-RESPONSE-TIMEOUT", "backend");
    let release = model::ReleaseNumber(1);
    tokio::time::timeout(PATIENCE, gateway.drained(&place(), release, 0)).await.unwrap();
    assert_eq!(gateway.tallies()[0].errors, 1);
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_an_error_in_the_tally() {
    let gateway = gateway();
    let (breaking, _) = raw(|_, mut socket| async move {
        read_head(&mut socket).await;
        let _ = socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc").await;
    })
    .await;
    Shop::only(breaking).on(&gateway);
    let mut client = Client::to(&gateway).await;
    client.send("GET / HTTP/1.1\r\nhost: s\r\n\r\n").await;
    assert!(read_head(&mut client.0).await.starts_with("HTTP/1.1 200"));
    until("it is booked", || gateway.tallies()[0].errors == 1).await;
    assert!(gateway.metrics_text().contains("code=\"SHP-GW-RESPONSE-BROKEN\",fault=\"backend\"} 1"));
}

#[tokio::test]
async fn a_client_that_stalls_its_body_gets_408_and_the_release_no_blame() {
    let gateway = gateway();
    brief(Shop::only(mirror().await)).on(&gateway);
    let answer = ask(&gateway, "POST / HTTP/1.1\r\nhost: s\r\ncontent-length: 9\r\n\r\nabc").await;
    assert_fails(&answer, 408, "SHP-GW-CLIENT-STALLED", "client");
    assert_eq!(gateway.tallies()[0].requests, 0);
}

/// Answers the first request of each connection and closes the first connection on its second request, unanswered.
async fn forgetful() -> (std::net::SocketAddr, std::sync::Arc<std::sync::atomic::AtomicUsize>) {
    raw(|number, mut socket| async move {
        let mut served = 0;
        while read_head(&mut socket).await.ends_with("\r\n\r\n") {
            if number == 0 && served == 1 {
                return;
            }
            served += 1;
            let _ = socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
        }
    })
    .await
}

#[tokio::test]
async fn a_stale_pooled_connection_is_retried_for_a_get() {
    let gateway = gateway_with(|config| config.workers = 1);
    let (addr, connections) = forgetful().await;
    Shop::only(addr).on(&gateway);
    let mut client = Client::to(&gateway).await;
    assert_eq!(client.get("/").await.status, 200);
    assert_eq!(client.get("/").await.status, 200);
    assert_eq!(connections.load(Ordering::SeqCst), 2);
    assert!(gateway.metrics_text().contains("shipshape_gateway_retries_total 1"));
    assert_eq!((gateway.tallies()[0].requests, gateway.tallies()[0].errors), (2, 0));
}

#[tokio::test]
async fn a_post_that_may_have_been_acted_on_is_not_sent_twice() {
    let gateway = gateway_with(|config| config.workers = 1);
    let (addr, connections) = forgetful().await;
    Shop::only(addr).on(&gateway);
    let mut client = Client::to(&gateway).await;
    assert_eq!(client.get("/").await.status, 200);
    let post = "POST / HTTP/1.1\r\nhost: s\r\ncontent-length: 0\r\n\r\n";
    assert_fails(&client.send(post).await.answer().await, 502, "SHP-GW-BACKEND-CLOSED", "backend");
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_post_takes_a_new_connection_rather_than_a_rested_one() {
    let gateway = gateway_with(|config| {
        config.workers = 1;
        config.limits.pool_fresh = Duration::ZERO;
    });
    let (addr, connections) = forgetful().await;
    Shop::only(addr).on(&gateway);
    let mut client = Client::to(&gateway).await;
    assert_eq!(client.get("/").await.status, 200);
    let post = "POST / HTTP/1.1\r\nhost: s\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(client.send(post).await.answer().await.status, 200);
    assert_eq!(connections.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn more_connections_than_allowed_are_turned_away() {
    let gateway = gateway_with(|config| config.limits.connections = 1);
    Shop::only(named("x").await).on(&gateway);
    let mut first = Client::to(&gateway).await;
    assert_eq!(first.get("/").await.status, 200);
    let refused = Client::to(&gateway).await.answer().await;
    assert_eq!((refused.status, refused.header("shipshape-error")), (503, Some("SHP-GW-CONNECTION-LIMIT")));
}

#[tokio::test]
async fn a_gateway_opens_with_the_table_it_is_given_or_not_at_all() {
    let config = || proxy::Config::new(std::net::SocketAddr::from(([127, 0, 0, 1], 0)));
    let given = proxy::Routing { places: vec![Shop::only(named("x").await).0] };
    let gateway = proxy::Gateway::start(config(), &given).unwrap();
    assert_eq!(Client::to(&gateway).await.get("/").await.status, 200);
    let twice = proxy::Routing { places: [given.places.clone(), given.places].concat() };
    assert!(proxy::Gateway::start(config(), &twice).is_err());
}

#[tokio::test]
async fn an_address_in_use_is_refused() {
    let gateway = gateway();
    let config = proxy::Config::new(gateway.listen_address());
    assert!(matches!(
        proxy::Gateway::start(config, &proxy::Routing::default()),
        Err(proxy::Error::Listen { .. })
    ));
}
