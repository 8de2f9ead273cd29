//! Clients and replicas that take their time: each kind of patience ends, with a word where a word is possible, and nobody
//! else waits for it.
#![allow(clippy::unwrap_used)]

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use model::ReleaseNumber;
use proxy::Gateway;
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const SHORT: Duration = Duration::from_millis(150);
const BEAT: Duration = Duration::from_millis(10);

fn brief(shop: Shop) -> Shop {
    shop.route(|route| {
        route.timeouts.connect = SHORT;
        route.timeouts.response = SHORT;
        route.timeouts.idle = SHORT;
    })
}

async fn is_free(gateway: &Gateway) {
    let drained = gateway.drained(&place(), ReleaseNumber(1), 0);
    tokio::time::timeout(PATIENCE, drained).await.unwrap();
}

/// Sends a piece with each beat until the gateway hangs up; what it said before.
async fn dribble(client: &mut Client, piece: &[u8]) -> String {
    let mut said = Vec::new();
    let talk = async {
        loop {
            let (mut from, mut to) = client.0.split();
            tokio::select! {
                read = from.read_buf(&mut said) => match read {
                    Ok(0) | Err(_) => return,
                    Ok(_) => {}
                },
                // Pace, not a wait: a slow client is one that sends a little every now and then.
                () = tokio::time::sleep(BEAT) => { let _ = to.write_all(piece).await; }
            }
        }
    };
    tokio::time::timeout(PATIENCE, talk).await.unwrap();
    String::from_utf8_lossy(&said).into_owned()
}

#[tokio::test]
async fn a_dribbled_head_is_cut_off_on_a_fresh_connection_and_on_a_used_one() {
    let gateway = gateway_with(|config| config.limits.header_read = SHORT);
    Shop::only(named("x").await).on(&gateway);
    let mut fresh = Client::to(&gateway).await;
    fresh.send("GET / HTTP/1.1\r\nhost: s\r\nx: ").await;
    dribble(&mut fresh, b"y").await;
    let mut used = Client::to(&gateway).await;
    assert_eq!(used.get("/").await.status, 200);
    used.send("GET / HTTP/1.1\r\nhost: s\r\n").await;
    dribble(&mut used, b"x: y\r\n").await;
    let mut nothing = Client::to(&gateway).await;
    dribble(&mut nothing, b"\r\n").await;
    assert_eq!(get(&gateway, "/").await.status, 200);
}

#[tokio::test]
async fn a_dribbled_body_is_408_and_frees_the_replica() {
    let gateway = gateway_with(|config| config.limits.upload_rate = 100_000);
    brief(Shop::only(mirror().await)).on(&gateway);
    for head in ["content-length: 1000000", "transfer-encoding: chunked"] {
        let mut client = Client::to(&gateway).await;
        client.send(&format!("POST / HTTP/1.1\r\nhost: s\r\n{head}\r\n\r\n")).await;
        let piece = if head.starts_with('c') { "y" } else { "1\r\ny\r\n" };
        let said = dribble(&mut client, piece.as_bytes()).await;
        assert!(said.starts_with("HTTP/1.1 408") && said.contains("SHP-GW-CLIENT-STALLED"), "{said}");
        is_free(&gateway).await;
    }
    assert_eq!(gateway.tallies()[0].errors, 0);
}

/// Answers at once, and reads no byte of a body.
async fn hasty() -> SocketAddr {
    let (addr, _) = raw(|_, mut socket| async move {
        read_head(&mut socket).await;
        let _ = socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
        std::future::pending::<()>().await;
    })
    .await;
    addr
}

#[tokio::test]
async fn a_body_that_dribbles_on_behind_its_answer_frees_the_replica() {
    let gateway = gateway();
    brief(Shop::only(hasty().await)).on(&gateway);
    let mut client = Client::to(&gateway).await;
    client.send("POST / HTTP/1.1\r\nhost: s\r\ncontent-length: 1000000\r\n\r\n").await;
    let said = dribble(&mut client, b"y").await;
    assert!(said.starts_with("HTTP/1.1 200"), "{said}");
    is_free(&gateway).await;
}

#[tokio::test]
async fn a_replica_that_stops_taking_a_body_is_a_504() {
    let gateway = gateway();
    let (deaf, _) = raw(|_, mut socket| async move {
        read_head(&mut socket).await;
        std::future::pending::<()>().await;
    })
    .await;
    let patient = |route: &mut model::route::Route| {
        route.limits.body_bytes = 100 << 20;
        // Long enough for this test to keep sending on a busy machine.
        route.timeouts.idle = Duration::from_secs(2);
    };
    Shop::only(deaf).route(patient).on(&gateway);
    let mut client = Client::to(&gateway).await;
    client.send(&format!("POST / HTTP/1.1\r\nhost: s\r\ncontent-length: {}\r\n\r\n", 100 << 20)).await;
    let (mut from, mut to) = client.0.split();
    let upload = async {
        let piece = vec![b'y'; 1 << 20];
        while to.write_all(&piece).await.is_ok() {}
        std::future::pending::<()>().await;
    };
    let mut said = vec![0; 12];
    tokio::select! {
        read = from.read_exact(&mut said) => { read.unwrap(); }
        () = upload => {}
    }
    assert_eq!(said, b"HTTP/1.1 504");
    is_free(&gateway).await;
    assert_eq!(gateway.tallies()[0].errors, 1);
    assert!(gateway.metrics_text().contains("code=\"SHP-GW-UPLOAD-STALLED\",fault=\"backend\"} 1"));
}

#[tokio::test]
async fn an_answer_that_stops_coming_is_cut_and_booked() {
    let gateway = gateway();
    let (stalling, _) = raw(|_, mut socket| async move {
        read_head(&mut socket).await;
        let _ = socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc").await;
        std::future::pending::<()>().await;
    })
    .await;
    brief(Shop::only(stalling)).on(&gateway);
    let mut client = Client::to(&gateway).await;
    client.send("GET / HTTP/1.1\r\nhost: s\r\n\r\n").await;
    let mut said = String::new();
    let _ = tokio::time::timeout(PATIENCE, client.0.read_to_string(&mut said)).await.unwrap();
    assert!(said.starts_with("HTTP/1.1 200") && said.ends_with("abc"), "{said}");
    is_free(&gateway).await;
    assert_eq!(gateway.tallies()[0].errors, 1);
    assert!(gateway.metrics_text().contains("code=\"SHP-GW-RESPONSE-STALLED\",fault=\"backend\"} 1"));
}

/// A listener whose queue is full: the kernel answers no further connection.
fn crowded() -> (socket2::Socket, Vec<socket2::Socket>) {
    let address: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let socket = || socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let listener = socket();
    listener.bind(&address.into()).unwrap();
    listener.listen(0).unwrap();
    let queue = (0..8).map(|_| {
        let client = socket();
        client.set_nonblocking(true).unwrap();
        let _ = client.connect(&listener.local_addr().unwrap());
        client
    });
    let queue = queue.collect();
    (listener, queue)
}

#[tokio::test]
async fn a_replica_that_does_not_accept_is_a_504_and_another_one_is_tried() {
    let gateway = gateway();
    let (listener, _queue) = crowded();
    let addr = listener.local_addr().unwrap().as_socket().unwrap();
    brief(Shop::only(addr)).on(&gateway);
    let answer = get(&gateway, "/").await;
    assert_eq!((answer.status, answer.header("shipshape-error")), (504, Some("SHP-GW-CONNECT-TIMEOUT")));
    assert_eq!((gateway.tallies()[0].requests, gateway.tallies()[0].errors), (1, 1));
    brief(shop().epoch(2).share(1, 10_000).ready(1, 0, addr).ready(1, 1, named("other").await)).on(&gateway);
    for _ in 0..5 {
        assert_eq!(get(&gateway, "/").await.body, "other");
    }
}

#[tokio::test]
async fn a_malformed_body_is_told_to_the_client_and_not_blamed_on_the_release() {
    let gateway = gateway();
    Shop::only(mirror().await).on(&gateway);
    let broken = "POST / HTTP/1.1\r\nhost: s\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\nxyz\r\n";
    let mut client = Client::to(&gateway).await;
    let answer = client.send(broken).await.answer().await;
    assert_eq!((answer.status, answer.header("shipshape-error")), (400, Some("SHP-GW-CLIENT-BROKEN")));
    assert!(client.is_closed().await);
    is_free(&gateway).await;
    assert_eq!(gateway.tallies()[0].requests, 0);
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_frees_the_replica_and_blames_nobody() {
    let gateway = gateway();
    let (addr, _) = raw(|_, mut socket| async move {
        read_head(&mut socket).await;
        let _ = socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc").await;
        std::future::pending::<()>().await;
    })
    .await;
    Shop::only(addr).on(&gateway);
    for sent in
        ["POST / HTTP/1.1\r\nhost: s\r\ncontent-length: 10\r\n\r\nabc", "GET / HTTP/1.1\r\nhost: s\r\n\r\n"]
    {
        let mut client = Client::to(&gateway).await;
        client.send(sent).await;
        until("it is in flight", || gateway.in_flight(&place(), ReleaseNumber(1), 0) == 1).await;
        drop(client);
        is_free(&gateway).await;
    }
    assert_eq!((gateway.tallies()[0].requests, gateway.tallies()[0].errors), (0, 0));
}

/// Answers with more than any buffer holds.
async fn endless() -> SocketAddr {
    let (addr, _) = raw(|_, mut socket| async move {
        read_head(&mut socket).await;
        let _ = socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10000000000\r\n\r\n").await;
        let piece = vec![b'x'; 1 << 20];
        while socket.write_all(&piece).await.is_ok() {}
    })
    .await;
    addr
}

#[tokio::test]
async fn a_client_that_never_reads_is_cut_off_and_frees_the_replica() {
    let gateway = gateway_with(|config| config.limits.client_write = SHORT);
    Shop::only(endless().await).on(&gateway);
    let mut client = Client::to(&gateway).await;
    client.send("GET / HTTP/1.1\r\nhost: s\r\n\r\n").await;
    until("it is in flight", || gateway.in_flight(&place(), ReleaseNumber(1), 0) == 1).await;
    is_free(&gateway).await;
}

/// Reads a little with each beat until the gateway hangs up.
async fn sip(client: &mut Client) {
    // As much as makes room behind full buffers in far less than a second.
    let mut little = vec![0; 128 * 1024];
    let sipping = async {
        while matches!(client.0.read(&mut little).await, Ok(1..)) {
            // Pace, not a wait: a slow client is one that takes a little every now and then.
            tokio::time::sleep(BEAT).await;
        }
    };
    tokio::time::timeout(PATIENCE, sipping).await.unwrap();
}

#[tokio::test]
async fn a_client_that_takes_a_little_every_now_and_then_is_cut_off() {
    let gateway = gateway_with(|config| {
        // Longer than any pause of this client, so that only its pace can be the reason.
        config.limits.client_write = Duration::from_secs(1);
        config.limits.download_rate = 1 << 30;
    });
    Shop::only(endless().await).on(&gateway);
    let mut client = Client::to(&gateway).await;
    client.send("GET / HTTP/1.1\r\nhost: s\r\n\r\n").await;
    sip(&mut client).await;
    is_free(&gateway).await;
}

#[tokio::test]
async fn an_http2_client_that_takes_a_little_every_now_and_then_is_cut_off() {
    let gateway = gateway_with(|config| {
        config.limits.client_write = Duration::from_secs(1);
        config.limits.download_rate = 1 << 30;
    });
    Shop::only(endless().await).on(&gateway);
    let mut client = Client::to(&gateway).await;
    // SETTINGS; GET http://s/ on stream 1; and windows that are opened by 64 KiB with each beat.
    let mut hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    hello.extend(b"\0\0\x06\x01\x05\0\0\0\x01\x82\x86\x84\x41\x01s");
    client.0.write_all(&hello).await.unwrap();
    until("it is in flight", || gateway.in_flight(&place(), ReleaseNumber(1), 0) == 1).await;
    let windows = b"\0\0\x04\x08\0\0\0\0\0\0\x01\0\0\0\0\x04\x08\0\0\0\0\x01\0\x01\0\0";
    dribble(&mut client, windows).await;
    is_free(&gateway).await;
}

#[tokio::test]
async fn a_body_that_dribbles_over_http2_is_given_up_and_frees_the_replica() {
    let gateway = gateway_with(|config| config.limits.upload_rate = 1 << 30);
    // Longer than any pause of this client, so that only its pace can be the reason.
    Shop::only(mirror().await).route(|route| route.timeouts.idle = Duration::from_secs(1)).on(&gateway);
    let mut client = Client::to(&gateway).await;
    // SETTINGS; POST http://s/ on stream 1; and a byte of its body with each beat.
    let mut hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    hello.extend(b"\0\0\x06\x01\x04\0\0\0\x01\x83\x86\x84\x41\x01s");
    client.0.write_all(&hello).await.unwrap();
    until("it is in flight", || gateway.in_flight(&place(), ReleaseNumber(1), 0) == 1).await;
    tokio::select! {
        () = is_free(&gateway) => {}
        _ = dribble(&mut client, b"\0\0\x01\0\0\0\0\0\x01y") => {}
    }
    assert!(gateway.metrics_text().contains("code=\"SHP-GW-CLIENT-STALLED\",fault=\"client\"} 1"));
}

#[tokio::test]
async fn a_client_is_not_blamed_for_the_silence_of_its_replica() {
    let gateway = gateway_with(|config| {
        config.limits.client_write = SHORT;
        config.limits.download_rate = 1 << 30;
    });
    let (events, _) = raw(|_, mut socket| async move {
        read_head(&mut socket).await;
        let _ = socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n").await;
        for _ in 0..4 {
            // Silence is what is tested.
            tokio::time::sleep(SHORT * 2).await;
            let _ = socket.write_all(b"x\n").await;
        }
        std::future::pending::<()>().await;
    })
    .await;
    Shop::only(events).on(&gateway);
    assert_eq!(get(&gateway, "/").await.body, "x\nx\nx\nx\n");
    let socket = tokio::net::TcpStream::connect(gateway.listen_address()).await.unwrap();
    let (mut sender, connection) =
        http2::handshake::<_, _, Empty<Bytes>>(TokioExecutor::new(), TokioIo::new(socket)).await.unwrap();
    tokio::spawn(connection);
    let response = sender.send_request(http::Request::get("http://s/").body(Empty::new()).unwrap()).await;
    let body = response.unwrap().into_body().collect().await.unwrap().to_bytes();
    assert_eq!(&body[..], b"x\nx\nx\nx\n");
}

#[tokio::test]
async fn a_client_that_asks_and_never_reads_is_cut_off() {
    let gateway = gateway_with(|config| config.limits.client_write = SHORT);
    let large =
        backend(|_| async { http::Response::new(bytes::Bytes::from(vec![b'x'; 100_000]).into()) }).await;
    Shop::only(large).on(&gateway);
    let mut client = Client::to(&gateway).await;
    let asking = async { while client.0.write_all(b"GET / HTTP/1.1\r\nhost: s\r\n\r\n").await.is_ok() {} };
    tokio::time::timeout(PATIENCE, asking).await.unwrap();
    is_free(&gateway).await;
}

#[tokio::test]
async fn an_http2_client_that_opens_no_window_is_cut_off_and_frees_the_replica() {
    let gateway = gateway_with(|config| config.limits.client_write = SHORT);
    Shop::only(endless().await).on(&gateway);
    let mut client = Client::to(&gateway).await;
    // SETTINGS_INITIAL_WINDOW_SIZE 0; then GET http://s/ on stream 1, and no word more.
    let mut hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x06\x04\0\0\0\0\0\0\x04\0\0\0\0".to_vec();
    hello.extend(b"\0\0\x06\x01\x05\0\0\0\x01\x82\x86\x84\x41\x01s");
    client.0.write_all(&hello).await.unwrap();
    until("it is in flight", || gateway.in_flight(&place(), ReleaseNumber(1), 0) == 1).await;
    is_free(&gateway).await;
    dribble(&mut client, b"\0\0\x08\x06\0\0\0\0\0pingpong").await;
}

#[tokio::test]
async fn a_resting_connection_is_closed_and_a_working_one_is_not() {
    let gateway = gateway_with(|config| config.limits.keep_alive = SHORT);
    Shop::only(named("x").await).on(&gateway);
    let mut resting = Client::to(&gateway).await;
    assert_eq!(resting.get("/").await.status, 200);
    assert!(resting.is_closed().await);
    let slow = backend(|_| async {
        tokio::time::sleep(SHORT * 4).await;
        text(200, "late")
    })
    .await;
    Shop::only(slow).on(&gateway);
    assert_eq!(get(&gateway, "/").await.body, "late");
}

#[tokio::test]
async fn connections_beyond_the_limit_are_told_and_a_place_is_free_again_when_one_ends() {
    let gateway = gateway_with(|config| config.limits.connections = 3);
    Shop::only(named("x").await).on(&gateway);
    let mut resting = Vec::new();
    for _ in 0..3 {
        let mut client = Client::to(&gateway).await;
        assert_eq!(client.get("/").await.status, 200);
        resting.push(client);
    }
    let refused = Client::to(&gateway).await.answer().await;
    assert_eq!((refused.status, refused.header("shipshape-error")), (503, Some("SHP-GW-CONNECTION-LIMIT")));
    drop(resting);
    let served = async {
        while !try_get(&gateway).await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, served).await.unwrap();
}

async fn try_get(gateway: &Gateway) -> bool {
    let mut client = Client::to(gateway).await;
    // One that is turned away may be closed before it has asked.
    let _ = client.0.write_all(b"GET / HTTP/1.1\r\nhost: s\r\n\r\n").await;
    read_head(&mut client.0).await.starts_with("HTTP/1.1 200")
}

/// Slow clients of every kind at once, and one worker for all.
#[tokio::test]
async fn slow_clients_hold_nobody_else_up() {
    let gateway = gateway_with(|config| config.workers = 1);
    shop().share(1, 10_000).ready(1, 0, endless().await).on(&gateway);
    let mut slow = Vec::new();
    for text in [
        "",
        "GET / HTTP/1.1\r\nhost: s",
        "POST / HTTP/1.1\r\nhost: s\r\ncontent-length: 1000\r\n\r\nabc",
        "POST / HTTP/1.1\r\nhost: s\r\ntransfer-encoding: chunked\r\n\r\n3\r\nab",
        "GET / HTTP/1.1\r\nhost: s\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM",
        "PR",
    ] {
        for _ in 0..10 {
            let mut client = Client::to(&gateway).await;
            client.send(text).await;
            slow.push(client);
        }
    }
    until("those that can be are in flight", || gateway.in_flight(&place(), ReleaseNumber(1), 0) >= 30).await;
    Shop::only(named("quick").await).epoch(2).on(&gateway);
    for _ in 0..20 {
        assert_eq!(get(&gateway, "/").await.body, "quick");
    }
    drop(slow);
}
