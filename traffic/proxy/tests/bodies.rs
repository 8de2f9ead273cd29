//! Bodies on their way: streaming, limits, upgrades, HTTP/2, the end.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Version};
use http_body_util::{BodyExt, Empty, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
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

#[tokio::test]
async fn a_download_arrives_piece_by_piece() {
    let gateway = gateway();
    let go = Arc::new(Notify::new());
    let wait = go.clone();
    let (addr, _) = raw(move |_, mut socket| {
        let wait = wait.clone();
        async move {
            read_head(&mut socket).await;
            socket
                .write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n")
                .await
                .unwrap();
            wait.notified().await;
            socket.write_all(b"3\r\ndef\r\n0\r\n\r\n").await.unwrap();
            read_head(&mut socket).await;
        }
    })
    .await;
    Shop::only(addr).on(&gateway);
    let mut client = Client::to(&gateway).await;
    client.send("GET / HTTP/1.1\r\nhost: s\r\n\r\n").await;
    assert!(read_head(&mut client.0).await.contains("transfer-encoding: chunked"));
    expect(&mut client.0, "3\r\nabc\r\n").await;
    go.notify_one();
    expect(&mut client.0, "3\r\ndef\r\n0\r\n\r\n").await;
    assert_eq!(gateway.in_flight(&place(), ReleaseNumber(1), 0), 0);
}

#[tokio::test]
async fn an_upload_arrives_piece_by_piece() {
    let gateway = gateway();
    let first = Arc::new(Notify::new());
    let tell = first.clone();
    let (addr, _) = raw(move |_, mut socket| {
        let tell = tell.clone();
        async move {
            read_head(&mut socket).await;
            expect(&mut socket, "3\r\nabc\r\n").await;
            tell.notify_one();
            expect(&mut socket, "3\r\ndef\r\n0\r\n\r\n").await;
            socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
            read_head(&mut socket).await;
        }
    })
    .await;
    Shop::only(addr).on(&gateway);
    let mut client = Client::to(&gateway).await;
    client.send("POST / HTTP/1.1\r\nhost: s\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n").await;
    tokio::time::timeout(PATIENCE, first.notified()).await.unwrap();
    assert_eq!(client.send("3\r\ndef\r\n0\r\n\r\n").await.answer().await.body, "ok");
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_the_replica_back() {
    let gateway = gateway();
    let (addr, _) = raw(|_, mut socket| async move {
        read_head(&mut socket).await;
        let _ = socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n").await;
        let piece = vec![b'x'; 100_000];
        for _ in 0..1_000 {
            if socket.write_all(&piece).await.is_err() {
                return;
            }
        }
    })
    .await;
    Shop::only(addr).on(&gateway);
    let mut client = Client::to(&gateway).await;
    client.send("GET / HTTP/1.1\r\nhost: s\r\n\r\n").await;
    read_head(&mut client.0).await;
    // All of it would be done in no time; what the kernel's buffers do not hold has to wait for us.
    let mut taken = 0;
    let mut buffer = vec![0; 65_536];
    while taken < 100_000_000 {
        if taken < 1_000_000 {
            assert_eq!(gateway.in_flight(&place(), ReleaseNumber(1), 0), 1);
            tokio::task::yield_now().await;
        }
        taken += tokio::time::timeout(PATIENCE, client.0.read(&mut buffer)).await.unwrap().unwrap();
    }
    assert_eq!(taken, 100_000_000);
    until("it is booked", || gateway.tallies()[0].requests == 1).await;
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_early_or_in_the_middle() {
    let gateway = gateway();
    Shop::only(mirror().await).route(|route| route.limits.body_bytes = 5).on(&gateway);
    for rest in [
        "content-length: 6\r\nexpect: 100-continue\r\n\r\n",
        "transfer-encoding: chunked\r\n\r\n6\r\nabcdef\r\n0\r\n\r\n",
    ] {
        let answer = ask(&gateway, &format!("POST / HTTP/1.1\r\nhost: s\r\n{rest}")).await;
        assert_eq!(
            (answer.status, answer.header("shipshape-error")),
            (413, Some("SHP-GW-BODY-TOO-LARGE")),
            "{rest}"
        );
    }
    let fits = ask(&gateway, "POST / HTTP/1.1\r\nhost: s\r\ncontent-length: 5\r\n\r\nabcde").await;
    assert_eq!(fits.seen("body"), Some("5"));
    assert_eq!(gateway.tallies()[0].requests, 1);
}

#[tokio::test]
async fn a_client_that_expects_100_is_told_to_continue() {
    let gateway = gateway();
    Shop::only(mirror().await).on(&gateway);
    let mut client = Client::to(&gateway).await;
    client.send("POST / HTTP/1.1\r\nhost: s\r\ncontent-length: 3\r\nexpect: 100-continue\r\n\r\n").await;
    expect(&mut client.0, "HTTP/1.1 100 Continue\r\n\r\n").await;
    assert_eq!(client.send("abc").await.answer().await.seen("body"), Some("3"));
}

#[tokio::test]
async fn answers_without_body_leave_the_connection_in_use() {
    let gateway = gateway();
    let (addr, connections) = raw(|_, mut socket| async move {
        loop {
            let head = read_head(&mut socket).await;
            let answer: &[u8] = match head.split(' ').next() {
                Some("HEAD") => b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n",
                Some("PUT") => b"HTTP/1.1 204 No Content\r\n\r\n",
                Some("GET") => b"HTTP/1.1 304 Not Modified\r\netag: \"x\"\r\n\r\n",
                Some(_) | None => return,
            };
            let _ = socket.write_all(answer).await;
        }
    })
    .await;
    Shop::only(addr).on(&gateway);
    let mut client = Client::to(&gateway).await;
    for (method, status) in [("HEAD", "200"), ("PUT", "204"), ("GET", "304"), ("HEAD", "200")] {
        client.send(&format!("{method} / HTTP/1.1\r\nhost: s\r\n\r\n")).await;
        let head = tokio::time::timeout(PATIENCE, read_head(&mut client.0)).await.unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{head}");
        assert_eq!(head.contains("content-length: 7"), method == "HEAD", "{head}");
    }
    assert_eq!(connections.load(std::sync::atomic::Ordering::SeqCst), 1);
    assert_eq!(gateway.tallies()[0].requests, 4);
}

#[tokio::test]
async fn an_upgraded_connection_carries_bytes_both_ways_and_is_in_flight() {
    let gateway = gateway();
    let (addr, _) = raw(|_, mut socket| async move {
        let head = read_head(&mut socket).await;
        assert!(
            head.contains("upgrade: websocket\r\n") && head.contains("connection: upgrade\r\n"),
            "{head}"
        );
        let answer =
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\nhello";
        socket.write_all(answer.as_bytes()).await.unwrap();
        let (mut from, mut to) = socket.split();
        let _ = tokio::io::copy(&mut from, &mut to).await;
    })
    .await;
    Shop::only(addr).on(&gateway);
    let mut client = Client::to(&gateway).await;
    client.send("GET /chat HTTP/1.1\r\nhost: s\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\r\n").await;
    let head = read_head(&mut client.0).await;
    assert!(head.starts_with("HTTP/1.1 101") && head.contains("upgrade: websocket"), "{head}");
    expect(&mut client.0, "hello").await;
    client.send("ping").await;
    expect(&mut client.0, "ping").await;
    assert_eq!(gateway.in_flight(&place(), ReleaseNumber(1), 0), 1);
    client.0.shutdown().await.unwrap();
    assert!(client.is_closed().await);
    let drained = gateway.drained(&place(), ReleaseNumber(1), 0);
    tokio::time::timeout(PATIENCE, drained).await.unwrap();
}

#[tokio::test]
async fn an_idle_upgraded_connection_is_closed() {
    let gateway = gateway();
    let (addr, _) = raw(|_, mut socket| async move {
        read_head(&mut socket).await;
        let answer = "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n";
        socket.write_all(answer.as_bytes()).await.unwrap();
        read_head(&mut socket).await;
    })
    .await;
    Shop::only(addr).route(|route| route.timeouts.idle = Duration::from_millis(50)).on(&gateway);
    let mut client = Client::to(&gateway).await;
    client.send("GET / HTTP/1.1\r\nhost: s\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n").await;
    assert!(read_head(&mut client.0).await.starts_with("HTTP/1.1 101"));
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn http2_requests_are_served_at_once_over_one_connection() {
    let gateway = gateway();
    Shop::only(mirror().await).on(&gateway);
    let socket = TcpStream::connect(gateway.listen_address()).await.unwrap();
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(socket)).await.unwrap();
    tokio::spawn(connection);
    let asks = (0..20).map(|n| {
        let mut sender = sender.clone();
        async move {
            let body = Full::new(Bytes::from(vec![b'x'; n * 1_000]));
            let request = Request::post(format!("http://shop/{n}")).body(body).unwrap();
            let response = sender.send_request(request).await.unwrap();
            assert_eq!((response.status().as_u16(), response.version()), (200, Version::HTTP_2));
            let text = response.into_body().collect().await.unwrap().to_bytes();
            let answer = Answer { body: String::from_utf8(text.to_vec()).unwrap(), ..Answer::default() };
            assert!(answer.body.starts_with(&format!("POST /{n} HTTP/1.1\n")), "{}", answer.body);
            assert_eq!(answer.seen("host"), Some("shop"));
            assert_eq!(answer.seen("body"), Some((n * 1_000).to_string().as_str()));
        }
    });
    tokio::time::timeout(PATIENCE, futures_util::future::join_all(asks)).await.unwrap();
}

#[tokio::test]
async fn trailers_pass_both_ways() {
    let gateway = gateway();
    let (addr, _) = raw(|_, mut socket| async move {
        let head = read_head(&mut socket).await;
        assert!(head.contains("trailer: x-sum"), "{head}");
        expect(&mut socket, "1\r\na\r\n0\r\nx-sum: 1\r\n\r\n").await;
        let answer = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n1\r\nb\r\n0\r\nx-sum: 2\r\n\r\n";
        socket.write_all(answer.as_bytes()).await.unwrap();
        read_head(&mut socket).await;
    })
    .await;
    Shop::only(addr).on(&gateway);
    let mut client = Client::to(&gateway).await;
    client
        .send("POST / HTTP/1.1\r\nhost: s\r\nte: trailers\r\ntrailer: x-sum\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\nx-sum: 1\r\n\r\n")
        .await;
    read_head(&mut client.0).await;
    expect(&mut client.0, "1\r\nb\r\n0\r\nx-sum: 2\r\n\r\n").await;
}

#[tokio::test]
async fn shutdown_finishes_what_is_in_flight_and_closes_what_rests() {
    let gateway = gateway();
    let (release, busy) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (hold, tell) = (release.clone(), busy.clone());
    let addr = backend(move |_| {
        let (hold, tell) = (hold.clone(), tell.clone());
        async move {
            tell.notify_one();
            hold.notified().await;
            text(200, "done")
        }
    })
    .await;
    Shop::only(addr).on(&gateway);
    let mut working = Client::to(&gateway).await;
    working.send("GET / HTTP/1.1\r\nhost: s\r\n\r\n").await;
    busy.notified().await;
    let address = gateway.listen_address();
    let stopping = tokio::spawn(gateway.shutdown(PATIENCE));
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    release.notify_one();
    let answer = working.answer().await;
    assert_eq!((answer.body.as_str(), answer.header("connection")), ("done", Some("close")));
    assert!(working.is_closed().await);
    tokio::time::timeout(PATIENCE, stopping).await.unwrap().unwrap();
}

#[tokio::test]
async fn shutdown_sends_http2_clients_away_and_ends_when_its_patience_does() {
    let gateway = gateway();
    let (silent, _) = raw(|_, mut socket| async move {
        read_head(&mut socket).await;
        read_head(&mut socket).await;
    })
    .await;
    Shop::only(silent).on(&gateway);
    let socket = TcpStream::connect(gateway.listen_address()).await.unwrap();
    let (mut sender, connection) =
        http2::handshake::<_, _, Empty<Bytes>>(TokioExecutor::new(), TokioIo::new(socket)).await.unwrap();
    let connection = tokio::spawn(connection);
    let asked = sender.send_request(Request::get("http://shop/").body(Empty::new()).unwrap());
    let asked = tokio::spawn(asked);
    until("it is in flight", || gateway.in_flight(&place(), ReleaseNumber(1), 0) == 1).await;
    tokio::time::timeout(PATIENCE, gateway.shutdown(Duration::from_millis(50))).await.unwrap();
    assert!(asked.await.unwrap().is_err());
    let _ = tokio::time::timeout(PATIENCE, connection).await.unwrap();
}
