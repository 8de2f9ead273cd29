//! What plain HTTP/1.1 clients and replicas may do beyond a request and its answer: old versions, early answers, notices,
//! pipelines, ends of connections.
#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use model::ReleaseNumber;
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;

async fn expect(socket: &mut TcpStream, text: &str) {
    let mut bytes = vec![0; text.len()];
    tokio::time::timeout(PATIENCE, socket.read_exact(&mut bytes)).await.unwrap().unwrap();
    assert_eq!(String::from_utf8_lossy(&bytes), text);
}

/// All that comes up to the end of the connection.
async fn rest(client: &mut Client) -> String {
    let mut text = String::new();
    tokio::time::timeout(PATIENCE, client.0.read_to_string(&mut text)).await.unwrap().unwrap();
    text
}

/// Answers each request with these bytes; closes after them if told to.
async fn saying(answer: &'static str, close: bool) -> std::net::SocketAddr {
    let (addr, _) = raw(move |_, mut socket| async move {
        while read_head(&mut socket).await.ends_with("\r\n\r\n") {
            if socket.write_all(answer.as_bytes()).await.is_err() || close {
                return;
            }
        }
    })
    .await;
    addr
}

#[tokio::test]
async fn an_old_client_gets_a_body_it_can_read() {
    let gateway = gateway();
    let chunked =
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\nx: y\r\n\r\n";
    Shop::only(saying(chunked, false).await).on(&gateway);
    let mut client = Client::to(&gateway).await;
    client.send("GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n").await;
    let text = rest(&mut client).await;
    assert!(text.contains("connection: close\r\n") && text.ends_with("\r\n\r\nabc"), "{text}");
    let sized = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc";
    Shop::only(saying(sized, false).await).on(&gateway);
    let mut client = Client::to(&gateway).await;
    for _ in 0..2 {
        client.send("GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n").await;
        let answer = client.answer().await;
        assert_eq!((answer.header("connection"), answer.body.as_str()), (Some("keep-alive"), "abc"));
    }
    client.send("GET / HTTP/1.0\r\n\r\n").await;
    assert!(rest(&mut client).await.ends_with("\r\n\r\nabc"));
}

#[tokio::test]
async fn a_body_that_ends_with_its_connection_leaves_the_clients_in_use() {
    let gateway = gateway();
    Shop::only(saying("HTTP/1.0 200 OK\r\n\r\nabc", true).await).on(&gateway);
    let mut client = Client::to(&gateway).await;
    for _ in 0..2 {
        client.send("GET / HTTP/1.1\r\nhost: s\r\n\r\n").await;
        assert!(read_head(&mut client.0).await.contains("transfer-encoding: chunked\r\n"));
        expect(&mut client.0, "3\r\nabc\r\n0\r\n\r\n").await;
    }
}

#[tokio::test]
async fn notices_pass_and_the_gateways_own_100_is_not_said_twice() {
    let gateway = gateway();
    let answer = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n";
    Shop::only(saying(answer, false).await).on(&gateway);
    let mut client = Client::to(&gateway).await;
    client.send("GET / HTTP/1.1\r\nhost: s\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 103);
    assert_eq!(client.answer().await.status, 204);
    client.send("GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 204, "an old client knows no notices");
}

#[tokio::test]
async fn an_upload_goes_on_behind_its_answer_and_both_connections_serve_again() {
    let gateway = gateway_with(|config| config.workers = 1);
    let whole = Arc::new(Notify::new());
    let tell = whole.clone();
    let (addr, connections) = raw(move |_, mut socket| {
        let tell = tell.clone();
        async move {
            read_head(&mut socket).await;
            socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
            expect(&mut socket, "abcdef").await;
            tell.notify_one();
            read_head(&mut socket).await;
            socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nnext").await.unwrap();
            read_head(&mut socket).await;
        }
    })
    .await;
    Shop::only(addr).on(&gateway);
    let mut client = Client::to(&gateway).await;
    client.send("POST / HTTP/1.1\r\nhost: s\r\ncontent-length: 6\r\n\r\nabc").await;
    let early = client.answer().await;
    assert_eq!((early.body.as_str(), early.header("connection")), ("ok", None));
    assert_eq!(gateway.in_flight(&place(), ReleaseNumber(1), 0), 1, "the replica still takes the body");
    client.send("def").await;
    tokio::time::timeout(PATIENCE, whole.notified()).await.unwrap();
    assert_eq!(client.get("/").await.body, "next");
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_client_in_the_middle_of_its_upload_gets_to_read_why_it_is_refused() {
    let gateway = gateway();
    Shop::only(mirror().await).route(|route| route.limits.body_bytes = 100_000).on(&gateway);
    for (head, piece) in [
        ("content-length: 90000000", "y".repeat(50_000)),
        ("transfer-encoding: chunked", format!("c350\r\n{}\r\n", "y".repeat(50_000))),
    ] {
        let mut client = Client::to(&gateway).await;
        client.send(&format!("POST / HTTP/1.1\r\nhost: s\r\n{head}\r\n\r\n")).await;
        let (mut from, mut to) = client.0.split();
        let sending = async {
            // More than the kernel's buffers hold: without somebody who reads, this would be reset with the answer unread.
            for _ in 0..200 {
                if to.write_all(piece.as_bytes()).await.is_err() {
                    return;
                }
            }
        };
        let mut text = Vec::new();
        let reading = async { from.read_to_end(&mut text).await.unwrap() };
        tokio::time::timeout(PATIENCE, async { tokio::join!(sending, reading) }).await.unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(text.starts_with("HTTP/1.1 413") && text.contains("connection: close\r\n"), "{text}");
    }
}

#[tokio::test]
async fn an_early_refusal_by_the_replica_reaches_the_client() {
    let gateway = gateway();
    let (addr, _) = raw(|_, mut socket| async move {
        read_head(&mut socket).await;
        let answer = "HTTP/1.1 403 Forbidden\r\nconnection: close\r\ncontent-length: 2\r\n\r\nno";
        socket.write_all(answer.as_bytes()).await.unwrap();
        // Closed with the body unread, as many servers do.
    })
    .await;
    Shop::only(addr).on(&gateway);
    let mut client = Client::to(&gateway).await;
    client.send("POST / HTTP/1.1\r\nhost: s\r\ncontent-length: 500000\r\nexpect: 100-continue\r\n\r\n").await;
    let first = client.answer().await;
    let answer = if first.status == 100 { client.answer().await } else { first };
    assert_eq!((answer.status, answer.header("connection")), (403, Some("close")));
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn requests_sent_ahead_wait_their_turn() {
    let gateway = gateway();
    let go = Arc::new(Notify::new());
    let wait = go.clone();
    let addr = backend(move |request| {
        let wait = wait.clone();
        async move {
            if request.uri() == "/slow" {
                wait.notified().await;
                return text(200, "slow");
            }
            text(200, "quick")
        }
    })
    .await;
    Shop::only(addr).on(&gateway);
    let mut client = Client::to(&gateway).await;
    let quick = "GET /quick HTTP/1.1\r\nhost: s\r\n\r\n";
    client.send("GET /slow HTTP/1.1\r\nhost: s\r\n\r\n").await;
    until("it is in flight", || gateway.in_flight(&place(), ReleaseNumber(1), 0) == 1).await;
    client.send(&quick.repeat(400)).await;
    client.send("GET /last HTTP/1.1\r\nhost: s\r\nconnection: close\r\n\r\n").await;
    go.notify_one();
    assert_eq!(client.answer().await.body, "slow");
    for _ in 0..401 {
        assert_eq!(client.answer().await.body, "quick");
    }
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn bytes_behind_an_answer_are_given_to_nobody() {
    let gateway = gateway_with(|config| config.workers = 1);
    let (addr, connections) = raw(|_, mut socket| async move {
        while read_head(&mut socket).await.ends_with("\r\n\r\n") {
            let _ =
                socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n").await;
        }
    })
    .await;
    Shop::only(addr).on(&gateway);
    let mut client = Client::to(&gateway).await;
    for served in 1..4 {
        assert_eq!(client.get("/").await.body, "ok");
        assert_eq!(connections.load(Ordering::SeqCst), served, "each connection serves once");
    }
}

#[tokio::test]
async fn a_head_begun_on_a_used_connection_has_the_time_of_a_head() {
    let gateway = gateway_with(|config| config.limits.header_read = Duration::from_millis(50));
    Shop::only(named("x").await).on(&gateway);
    let mut client = Client::to(&gateway).await;
    assert_eq!(client.get("/").await.status, 200);
    // Not even a line's end: the connection's rest is over all the same.
    client.send("GET /").await;
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn a_connection_without_keep_alive_ends_with_its_answer() {
    let gateway = gateway();
    Shop::only(named("x").await).on(&gateway);
    let mut client = Client::to(&gateway).await;
    client.send("GET / HTTP/1.1\r\nhost: s\r\nconnection: keep-alive, Close\r\n\r\n").await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn a_shutdown_serves_what_has_arrived_on_a_resting_connection() {
    let gateway = gateway_with(|config| config.workers = 1);
    Shop::only(named("x").await).on(&gateway);
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = Client::to(&gateway).await;
        assert_eq!(client.get("/").await.status, 200);
        clients.push(client);
    }
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nhost: s\r\n\r\n").await;
    }
    let stopping = tokio::spawn(gateway.shutdown(PATIENCE));
    for client in &mut clients {
        assert_eq!(client.answer().await.body, "x");
        assert!(client.is_closed().await);
    }
    tokio::time::timeout(PATIENCE, stopping).await.unwrap().unwrap();
}

#[tokio::test]
async fn an_answer_may_wait_for_the_rest_of_its_request() {
    // Slow, but that is not what this is about.
    let gateway = gateway_with(|config| config.limits.upload_rate = 0);
    let (addr, _) = raw(|_, mut socket| async move {
        read_head(&mut socket).await;
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        socket.write_all(head.as_bytes()).await.unwrap();
        let mut body = [0; 12];
        socket.read_exact(&mut body).await.unwrap();
        socket.write_all(b"4\r\ndone\r\n0\r\n\r\n").await.unwrap();
        read_head(&mut socket).await;
    })
    .await;
    Shop::only(addr).route(|route| route.timeouts.idle = Duration::from_secs(1)).on(&gateway);
    let mut client = Client::to(&gateway).await;
    client.send("POST / HTTP/1.1\r\nhost: s\r\ncontent-length: 12\r\n\r\n").await;
    assert!(read_head(&mut client.0).await.starts_with("HTTP/1.1 200"));
    for _ in 0..12 {
        // Pace, not a wait: all in all this takes longer than the replica may be silent.
        tokio::time::sleep(Duration::from_millis(100)).await;
        client.send("y").await;
    }
    expect(&mut client.0, "4\r\ndone\r\n0\r\n\r\n").await;
}
