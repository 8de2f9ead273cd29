//! Hostile requests over raw sockets: each row of the corpus is refused or served as it must be, what the backend sees has
//! one reading only, and no connection on either side is out of step afterwards.
#![allow(clippy::unwrap_used)]

mod corpus;
#[path = "../support/mod.rs"]
mod support;

use corpus::{Expect, Row};
use support::strict::{Message, Next, Recorder, Wire};
use support::*;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

type Asked = (&'static str, &'static str, &'static str);

async fn check(rows: &[Row]) {
    check_in_pieces(rows, usize::MAX).await;
}

async fn check_in_pieces(rows: &[Row], piece: usize) {
    let gateway = gateway_with(|config| config.workers = 1);
    let backend = Recorder::start().await;
    Shop::only(backend.addr).on(&gateway);
    let mut wrong = Vec::new();
    for row in rows {
        if let Err(why) = check_row(&gateway, &backend, row, piece).await {
            wrong.push(format!("{}: {why}", row.name));
        }
    }
    assert!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}

async fn check_row(
    gateway: &proxy::Gateway,
    backend: &Recorder,
    row: &Row,
    piece: usize,
) -> Result<(), String> {
    let mut wire = Wire::new(TcpStream::connect(gateway.listen_address()).await.unwrap());
    // Best effort: else the kernel puts the pieces together again.
    let _ = wire.socket.set_nodelay(true);
    for bytes in row.bytes.as_bytes().chunks(piece) {
        wire.send(bytes).await;
        tokio::task::yield_now().await;
    }
    let served = talk(&mut wire, row).await;
    drop(wire);
    // Whatever the row left on the way to the backend would come before this.
    let after = Wire::new(TcpStream::connect(gateway.listen_address()).await.unwrap());
    let after = sentinel(after, "/after").await;
    let seen = backend.take();
    expect_seen(&seen, served?, &["/next", "/after"])?;
    after
}

/// What the client saw; the requests that must have reached the backend.
async fn talk(wire: &mut Wire, row: &Row) -> Result<&'static [Asked], String> {
    match row.expect {
        Expect::Served(asked) => served(wire, asked).await,
        Expect::ServedThenRefused(asked) | Expect::ServedThenEnded(asked) => {
            let answers = answers(wire, asked).await?;
            if answers.iter().any(|answer| answer.status() != 200) {
                return Err(format!("answers {answers:?}"));
            }
            match (wire.next("GET").await?, row.expect) {
                (Next::Answer(answer), _) => refused(wire, &answer, &[400, 505], "").await?,
                (Next::End, Expect::ServedThenEnded(_)) => {}
                (other, _) => return Err(format!("instead of a refusal: {other:?}")),
            }
            Ok(asked)
        }
        Expect::Refused(statuses, code) => {
            let answer = one(wire, "POST").await?;
            refused(wire, &answer, statuses, code).await?;
            Ok(&[])
        }
        Expect::Either(asked) => {
            let answer = one(wire, "POST").await?;
            if answer.status() == 200 {
                going_on(wire, &answer).await?;
                return Ok(asked);
            }
            if answer.status() == 404 {
                going_on(wire, &answer).await?;
            } else {
                refused(wire, &answer, &[400, 501], "").await?;
            }
            Ok(&[])
        }
        Expect::Broken => {
            match wire.next("POST").await? {
                Next::Answer(answer) => refused(wire, &answer, &[400], "").await?,
                Next::End | Next::Cut => {}
            }
            Ok(&[])
        }
        Expect::Left => {
            wire.socket.shutdown().await.map_err(|error| error.to_string())?;
            match wire.next("POST").await? {
                Next::Answer(answer) if answer.status() < 400 => Err(format!("answered {}", answer.start)),
                Next::Answer(_) | Next::End | Next::Cut => Ok(&[]),
            }
        }
    }
}

async fn one(wire: &mut Wire, method: &str) -> Result<Message, String> {
    match wire.next(method).await? {
        Next::Answer(answer) => Ok(answer),
        end @ (Next::End | Next::Cut) => Err(format!("no answer: {end:?}")),
    }
}

async fn answers(wire: &mut Wire, asked: &[Asked]) -> Result<Vec<Message>, String> {
    let mut answers = Vec::new();
    for (start, ..) in asked {
        answers.push(one(wire, start.split(' ').next().unwrap_or("")).await?);
    }
    Ok(answers)
}

async fn served(wire: &mut Wire, asked: &'static [Asked]) -> Result<&'static [Asked], String> {
    let answers = answers(wire, asked).await?;
    for (answer, (start, ..)) in answers.iter().zip(asked) {
        if answer.status() != 200 || answer.text() != *start {
            return Err(format!("{start} is answered {:?} {:?}", answer.start, answer.text()));
        }
    }
    if let Some(last) = answers.last() {
        going_on(wire, last).await?;
    }
    Ok(asked)
}

/// The connection closes when the answer said so, and else is in step: the next request gets its own answer.
async fn going_on(wire: &mut Wire, last: &Message) -> Result<(), String> {
    if last.closes() {
        return match wire.next("GET").await? {
            Next::End => Ok(()),
            more @ (Next::Answer(_) | Next::Cut) => Err(format!("after the last answer: {more:?}")),
        };
    }
    wire.send(b"GET /next HTTP/1.1\r\nhost: s\r\n\r\n").await;
    match wire.next("GET").await? {
        Next::Answer(answer) if answer.text() == "GET /next" => Ok(()),
        Next::End => Ok(()),
        other @ (Next::Answer(_) | Next::Cut) => Err(format!("the connection is out of step: {other:?}")),
    }
}

/// An answer with a fitting code, and after it nothing.
async fn refused(wire: &mut Wire, answer: &Message, statuses: &[u16], code: &str) -> Result<(), String> {
    if !statuses.contains(&answer.status()) {
        return Err(format!("answered {:?} {:?} instead of {statuses:?}", answer.start, answer.text()));
    }
    match answer.all("shipshape-error").as_slice() {
        [] => {}
        [given] if code.is_empty() || *given == code => {}
        given => return Err(format!("code {given:?} instead of {code}")),
    }
    match wire.next("GET").await? {
        Next::End => Ok(()),
        more @ (Next::Answer(_) | Next::Cut) => {
            Err(format!("the connection goes on after a refusal: {more:?}"))
        }
    }
}

async fn sentinel(mut wire: Wire, path: &str) -> Result<(), String> {
    wire.send(format!("GET {path} HTTP/1.1\r\nhost: s\r\n\r\n").as_bytes()).await;
    match wire.next("GET").await? {
        Next::Answer(answer) if answer.text() == format!("GET {path}") => Ok(()),
        other @ (Next::Answer(_) | Next::End | Next::Cut) => Err(format!("others are hit: {other:?}")),
    }
}

fn expect_seen(seen: &[Result<Message, String>], expected: &[Asked], own: &[&str]) -> Result<(), String> {
    let mut left = expected.iter();
    for message in seen {
        let message = message.as_ref().map_err(|bad| format!("the backend saw {bad}"))?;
        once(message)?;
        let asked = message.asked();
        if own.iter().any(|path| asked == format!("GET {path}")) {
            continue;
        }
        let host = *message.all("host").first().unwrap_or(&"");
        match left.next() {
            Some((start, wanted, body))
                if asked == *start && message.text() == *body && (wanted.is_empty() || host == *wanted) => {}
            other => {
                return Err(format!("the backend saw {asked} {host} {:?}, not {other:?}", message.text()));
            }
        }
    }
    match left.next() {
        None => Ok(()),
        Some(missing) => Err(format!("the backend never saw {missing:?}")),
    }
}

/// What the gateway says of itself is there once, and the client has no say in it.
fn once(message: &Message) -> Result<(), String> {
    for name in ["x-forwarded-for", "x-forwarded-proto", "forwarded", "x-request-id", "traceparent"] {
        if message.all(name).len() != 1 {
            return Err(format!("{name} is there {} times", message.all(name).len()));
        }
    }
    if message.all("x-forwarded-host").contains(&"admin") {
        return Err("the client's x-forwarded-host got through".to_owned());
    }
    Ok(())
}

#[tokio::test]
async fn two_framings_at_once_are_refused() {
    check(corpus::BOTH).await;
}

#[tokio::test]
async fn only_plain_chunked_is_an_encoding() {
    check(corpus::ENCODINGS).await;
}

#[tokio::test]
async fn only_a_plain_number_is_a_length() {
    check(corpus::LENGTHS).await;
}

#[tokio::test]
async fn a_head_that_is_none_is_refused() {
    check(corpus::HEADS).await;
}

#[tokio::test]
async fn a_request_is_for_exactly_one_host() {
    check(corpus::HOSTS).await;
}

#[tokio::test]
async fn chunks_are_read_to_the_letter() {
    check(corpus::CHUNKS).await;
}

#[tokio::test]
async fn requests_in_sequence_stay_in_step() {
    check(corpus::SEQUENCES).await;
}

/// Every boundary falls between two reads.
#[tokio::test]
async fn what_arrives_byte_by_byte_is_read_the_same() {
    for rows in [corpus::BOTH, corpus::CHUNKS, corpus::SEQUENCES] {
        check_in_pieces(rows, 1).await;
    }
}

/// What is too large, in each of the ways a head can be.
#[tokio::test]
async fn what_is_too_large_is_refused_and_never_reaches_a_replica() {
    let gateway = gateway_with(|config| config.workers = 1);
    let backend = Recorder::start().await;
    Shop::only(backend.addr).route(|route| route.limits.body_bytes = 10_000).on(&gateway);
    let y = |size: usize| "y".repeat(size);
    let large = [
        ("target", format!("GET /{} HTTP/1.1\r\nhost: s\r\n\r\n", y(70_000))),
        ("method", format!("{} / HTTP/1.1\r\nhost: s\r\n\r\n", y(70_000))),
        ("value", format!("GET / HTTP/1.1\r\nhost: s\r\nx: {}\r\n\r\n", y(70_000))),
        ("name", format!("GET / HTTP/1.1\r\nhost: s\r\n{}: x\r\n\r\n", y(70_000))),
        ("lines", format!("GET / HTTP/1.1\r\nhost: s\r\n{}\r\n", "x: y\r\n".repeat(101))),
        ("lines and bytes", format!("GET / HTTP/1.1\r\nhost: s\r\n{}\r\n", "x: y\r\n".repeat(20_000))),
        ("a head without end", format!("GET / HTTP/1.1\r\nhost: s\r\nx: {}", y(200_000))),
        ("white space", format!("GET / HTTP/1.1\r\nhost: s\r\nx:{}y\r\n\r\n", " ".repeat(70_000))),
        ("empty lines", "\r\n".repeat(100_000)),
        (
            "a chunk's extension",
            format!(
                "POST / HTTP/1.1\r\nhost: s\r\ntransfer-encoding: chunked\r\n\r\n3;{}\r\nabc\r\n0\r\n\r\n",
                y(70_000)
            ),
        ),
        (
            "trailers",
            format!(
                "POST / HTTP/1.1\r\nhost: s\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n{}\r\n",
                "x: y\r\n".repeat(20_000)
            ),
        ),
        (
            "a chunked body",
            format!(
                "POST / HTTP/1.1\r\nhost: s\r\ntransfer-encoding: chunked\r\n\r\n{}0\r\n\r\n",
                format!("400\r\n{}\r\n", y(1_024)).repeat(10)
            ),
        ),
        (
            "a body within chunks of one byte",
            format!(
                "POST / HTTP/1.1\r\nhost: s\r\ntransfer-encoding: chunked\r\n\r\n{}0\r\n\r\n",
                "1\r\ny\r\n".repeat(10_001)
            ),
        ),
    ];
    for (name, bytes) in large {
        let mut wire = Wire::new(TcpStream::connect(gateway.listen_address()).await.unwrap());
        wire.send(bytes.as_bytes()).await;
        // What was not read resets the connection, and may take the answer with it.
        let _ = wire.socket.shutdown().await;
        match wire.next("POST").await {
            Ok(Next::Answer(answer)) => {
                assert!([400, 413, 414, 431].contains(&answer.status()), "{name}: {answer:?}");
            }
            Ok(Next::End | Next::Cut) => {}
            Err(why) => panic!("{name}: {why}"),
        }
        assert!(backend.take().is_empty(), "{name} reached the backend");
        let after = Wire::new(TcpStream::connect(gateway.listen_address()).await.unwrap());
        sentinel(after, "/after").await.unwrap();
        backend.take();
    }
}
