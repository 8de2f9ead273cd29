//! Hostile answers of a replica: the client gets a clean 502 or a cut connection, never somebody else's answer, and never
//! a message that can be read two ways.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use support::strict::{Message, Next, Wire};
use support::*;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// What the client has to get.
#[derive(Debug, Clone, Copy)]
enum Expect {
    /// The gateway's own answer.
    Failed(u16),
    /// This body, whole.
    Body(&'static str),
    /// Its own answer, or one with this body: the standard leaves it open.
    Either(&'static str),
    /// The end before the body is whole, if not before its head.
    Cut,
}

use Expect::{Body, Cut, Either, Failed};

/// The method of the request, what the replica answers, and what becomes of it. The replica keeps its connection open
/// unless the answer ends with `<EOF>`.
const ANSWERS: &[(&str, &str, &str, Expect)] = &[
    ("plain", "GET", "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc", Body("abc")),
    (
        "chunked",
        "GET",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\n\r\n",
        Body("abc"),
    ),
    ("until the end", "GET", "HTTP/1.1 200 OK\r\n\r\nabc<EOF>", Body("abc")),
    ("HTTP/1.0 until the end", "GET", "HTTP/1.0 200 OK\r\n\r\nabc<EOF>", Body("abc")),
    (
        "two framings",
        "GET",
        "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        Failed(502),
    ),
    (
        "two framings, the other way",
        "GET",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 40\r\n\r\n3\r\nabc\r\n0\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil",
        Failed(502),
    ),
    (
        "two lengths",
        "GET",
        "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd",
        Failed(502),
    ),
    ("two lengths in a list", "GET", "HTTP/1.1 200 OK\r\ncontent-length: 3, 4\r\n\r\nabcd", Failed(502)),
    (
        "twice the same length",
        "GET",
        "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 3\r\n\r\nabc",
        Either("abc"),
    ),
    ("negative length", "GET", "HTTP/1.1 200 OK\r\ncontent-length: -3\r\n\r\nabc<EOF>", Failed(502)),
    ("plus length", "GET", "HTTP/1.1 200 OK\r\ncontent-length: +3\r\n\r\nabc<EOF>", Failed(502)),
    (
        "length above 64 bits",
        "GET",
        "HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551619\r\n\r\nabc<EOF>",
        Failed(502),
    ),
    (
        "unknown encoding",
        "GET",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: xchunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n<EOF>",
        Failed(502),
    ),
    (
        "gzip, chunked",
        "GET",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n<EOF>",
        Failed(502),
    ),
    (
        "chunked, gzip",
        "GET",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked, gzip\r\n\r\n3\r\nabc\r\n0\r\n\r\n<EOF>",
        Failed(502),
    ),
    (
        "chunked twice",
        "GET",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n<EOF>",
        Failed(502),
    ),
    (
        "chunked in HTTP/1.0",
        "GET",
        "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n<EOF>",
        Failed(502),
    ),
    (
        "bad chunk size",
        "GET",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\nabc\r\n0\r\n\r\n",
        Cut,
    ),
    (
        "bad second chunk",
        "GET",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n-1\r\nx\r\n0\r\n\r\n",
        Cut,
    ),
    (
        "a chunk longer than its size",
        "GET",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
        Cut,
    ),
    (
        "LF in a chunk's extension",
        "GET",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3;x\nabc\r\n0\r\n\r\n",
        Cut,
    ),
    (
        "a chunk of more than 64 bits",
        "GET",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n10000000000000003\r\nabc\r\n0\r\n\r\n",
        Cut,
    ),
    ("ends within a body", "GET", "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc<EOF>", Cut),
    ("ends within a chunk", "GET", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nabc<EOF>", Cut),
    (
        "ends before the last chunk",
        "GET",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n<EOF>",
        Cut,
    ),
    (
        "ends within the trailers",
        "GET",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx: <EOF>",
        Cut,
    ),
    ("ends within the head", "GET", "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n<EOF>", Failed(502)),
    ("ends at once", "GET", "<EOF>", Failed(502)),
    ("not HTTP", "GET", "SSH-2.0-OpenSSH_9.2\r\n\r\n", Failed(502)),
    ("HTTP/0.9", "GET", "<html>hello</html>\r\n\r\n<EOF>", Failed(502)),
    ("HTTP/2.0", "GET", "HTTP/2.0 200 OK\r\ncontent-length: 3\r\n\r\nabc", Failed(502)),
    ("no status", "GET", "HTTP/1.1 OK\r\ncontent-length: 3\r\n\r\nabc", Failed(502)),
    ("status of two digits", "GET", "HTTP/1.1 20 OK\r\ncontent-length: 3\r\n\r\nabc", Failed(502)),
    ("status of four digits", "GET", "HTTP/1.1 2000 OK\r\ncontent-length: 3\r\n\r\nabc", Failed(502)),
    ("status 000", "GET", "HTTP/1.1 000 OK\r\ncontent-length: 3\r\n\r\nabc", Failed(502)),
    ("folded line", "GET", "HTTP/1.1 200 OK\r\nx: y\r\n z\r\ncontent-length: 3\r\n\r\nabc", Failed(502)),
    ("space before the colon", "GET", "HTTP/1.1 200 OK\r\ncontent-length : 3\r\n\r\nabc<EOF>", Failed(502)),
    ("NUL in a value", "GET", "HTTP/1.1 200 OK\r\nx: \0\r\ncontent-length: 3\r\n\r\nabc", Failed(502)),
    ("bare CR in a value", "GET", "HTTP/1.1 200 OK\r\nx: y\rz\r\ncontent-length: 3\r\n\r\nabc", Failed(502)),
    ("a control in the reason", "GET", "HTTP/1.1 200 \0\r\ncontent-length: 3\r\n\r\nabc", Failed(502)),
    ("no reason", "GET", "HTTP/1.1 200\r\ncontent-length: 3\r\n\r\nabc", Body("abc")),
    (
        "a second answer behind",
        "GET",
        "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabcHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil",
        Body("abc"),
    ),
    (
        "a second answer behind chunks",
        "GET",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil",
        Body("abc"),
    ),
    (
        "a second answer behind no body",
        "GET",
        "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil",
        Body(""),
    ),
    (
        "HEAD with a body",
        "HEAD",
        "HTTP/1.1 200 OK\r\ncontent-length: 42\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil",
        Body(""),
    ),
    ("HEAD in chunks", "HEAD", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", Body("")),
    (
        "204 with a length",
        "GET",
        "HTTP/1.1 204 No Content\r\ncontent-length: 41\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil",
        Either(""),
    ),
    (
        "204 in chunks",
        "GET",
        "HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n",
        Either(""),
    ),
    ("304 with a length", "GET", "HTTP/1.1 304 Not Modified\r\ncontent-length: 4\r\n\r\nevil", Body("")),
    (
        "a notice before",
        "GET",
        "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc",
        Body("abc"),
    ),
    (
        "100 Continue unasked",
        "GET",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc",
        Body("abc"),
    ),
    (
        "a notice with a length",
        "GET",
        "HTTP/1.1 102 Processing\r\ncontent-length: 40\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc",
        Either("abc"),
    ),
    (
        "101 unasked",
        "GET",
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nevil",
        Failed(502),
    ),
    (
        "trailers that lie",
        "GET",
        "HTTP/1.1 200 OK\r\ntrailer: content-length\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\ncontent-length: 9\r\n\r\n",
        Body("abc"),
    ),
    (
        "Connection names the length",
        "GET",
        "HTTP/1.1 200 OK\r\nconnection: content-length\r\ncontent-length: 3\r\n\r\nabc",
        Body("abc"),
    ),
];

/// The first answer of each connection is the row's; later ones tell which request they answer.
async fn replica(answer: Arc<Mutex<Vec<u8>>>) -> std::net::SocketAddr {
    let (addr, _) = raw(move |_, mut socket| {
        let answer = answer.clone();
        async move {
            while let Some(target) = read_head(&mut socket).await.split(' ').nth(1).map(str::to_owned) {
                let hostile = answer.lock().unwrap().clone();
                let text = if target == "/row" {
                    String::from_utf8(hostile).unwrap()
                } else {
                    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{target}", target.len())
                };
                let last = text.strip_suffix("<EOF>");
                if socket.write_all(last.unwrap_or(&text).as_bytes()).await.is_err() || last.is_some() {
                    return;
                }
            }
        }
    })
    .await;
    addr
}

async fn exchange(gateway: &proxy::Gateway, method: &str, expect: Expect) -> Result<(), String> {
    let mut wire = Wire::new(TcpStream::connect(gateway.listen_address()).await.unwrap());
    wire.send(format!("{method} /row HTTP/1.1\r\nhost: s\r\n\r\n").as_bytes()).await;
    match (wire.next(method).await?, expect) {
        (Next::Cut | Next::End, Cut) => return Ok(()),
        (Next::Answer(answer), Failed(status)) => failed(&answer, status)?,
        (Next::Answer(answer), Either(_)) if answer.status() >= 500 => failed(&answer, 502)?,
        (Next::Answer(answer), Body(body) | Either(body))
            if answer.text() == body && answer.status() < 400 => {}
        // The backend's mistake may be found before the head has left.
        (Next::Answer(answer), Cut) => failed(&answer, 502)?,
        (other, _) => return Err(format!("the client got {other:?}")),
    }
    // In step on the same connection, several times: a hidden answer would surface.
    for number in 0..3 {
        wire.send(format!("GET /{number} HTTP/1.1\r\nhost: s\r\n\r\n").as_bytes()).await;
        match wire.next("GET").await? {
            Next::Answer(answer) if answer.text() == format!("/{number}") => {}
            Next::End => return Ok(()),
            other @ (Next::Answer(_) | Next::Cut) => return Err(format!("out of step: {other:?}")),
        }
    }
    Ok(())
}

fn failed(answer: &Message, status: u16) -> Result<(), String> {
    let code = answer.all("shipshape-error");
    if answer.status() == status
        && code.len() == 1
        && ["SHP-GW-BACKEND-INVALID", "SHP-GW-BACKEND-CLOSED"].contains(&code[0])
    {
        return Ok(());
    }
    Err(format!("the client got {answer:?}"))
}

#[tokio::test]
async fn a_hostile_answer_is_cut_or_replaced_and_the_next_is_in_step() {
    let gateway = gateway_with(|config| config.workers = 1);
    let answer: Arc<Mutex<Vec<u8>>> = Arc::default();
    Shop::only(replica(answer.clone()).await).on(&gateway);
    let mut wrong = Vec::new();
    for (name, method, text, expect) in ANSWERS {
        *answer.lock().unwrap() = text.as_bytes().to_vec();
        if let Err(why) = exchange(&gateway, method, *expect).await {
            wrong.push(format!("{name}: {why}"));
        }
        let after = get(&gateway, "/after").await;
        if after.body != "/after" {
            wrong.push(format!("{name}: another client got {after:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), ANSWERS.len(), wrong.join("\n"));
}

/// Serves one connection with an endless stream; counts the bytes that were taken.
async fn endless(start: &'static str, piece: &'static str) -> (std::net::SocketAddr, Arc<AtomicUsize>) {
    let taken = Arc::new(AtomicUsize::new(0));
    let count = taken.clone();
    let (addr, _) = raw(move |_, mut socket| {
        let count = count.clone();
        async move {
            read_head(&mut socket).await;
            let piece = piece.repeat(1 + 10_000 / piece.len().max(1));
            let mut next = start.as_bytes();
            while let Ok(()) = socket.write_all(next).await {
                count.fetch_add(next.len(), Ordering::SeqCst);
                next = piece.as_bytes();
            }
        }
    })
    .await;
    (addr, taken)
}

#[tokio::test]
async fn a_head_without_end_is_a_502() {
    for (start, piece) in [
        ("HTTP/1.1 200 OK\r\n", "x: y\r\n"),
        ("HTTP/1.1 200 OK\r\nx: ", "y"),
        ("HTTP/1.1 200 ", "y"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nx: ", "y"),
    ] {
        let gateway = gateway();
        let (addr, taken) = endless(start, piece).await;
        Shop::only(addr).on(&gateway);
        let answer = get(&gateway, "/").await;
        assert_eq!((answer.status, answer.header("shipshape-error")), (502, Some("SHP-GW-BACKEND-INVALID")));
        // Our buffer and the kernel's on both sides.
        assert!(taken.load(Ordering::SeqCst) < 32 << 20, "{start:?}");
    }
}

#[tokio::test]
async fn notices_without_end_are_given_up() {
    let gateway = gateway();
    let (addr, _) = raw(|_, mut socket| async move {
        read_head(&mut socket).await;
        while socket.write_all(b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    Shop::only(addr).route(|route| route.timeouts.response = Duration::from_millis(200)).on(&gateway);
    let mut client = Client::to(&gateway).await;
    let mut answer = client.get("/").await;
    // Some notices pass, as they must (RFC 9110, 15.2).
    while answer.status == 103 {
        answer = client.answer().await;
    }
    assert!([502, 504].contains(&answer.status), "{answer:?}");
    let drained = gateway.drained(&place(), model::ReleaseNumber(1), 0);
    tokio::time::timeout(PATIENCE, drained).await.unwrap();
}
