//! Hostile HTTP/2, frame by frame: what HTTP/2 can say and HTTP/1.1 cannot never becomes a second request, another
//! framing or another head on the way to a replica.
#![allow(clippy::unwrap_used)]

mod support;

use support::strict::{Message, Recorder};
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

type Fields = &'static [(&'static str, &'static str)];

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Literal fields without indexing (RFC 7541, 6.2.2), each string shorter than 127 bytes.
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            assert!(text.len() < 127);
            block.push(u8::try_from(text.len()).unwrap());
            block.extend(text.bytes());
        }
    }
    block
}

/// What became of stream 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Status(u16),
    /// The stream or the connection was ended without an answer.
    Ended,
}

struct H2(TcpStream);

impl H2 {
    async fn to(gateway: &proxy::Gateway) -> Self {
        let mut socket = TcpStream::connect(gateway.listen_address()).await.unwrap();
        socket.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        let mut h2 = Self(socket);
        h2.send(&frame(SETTINGS, 0, 0, &[])).await;
        h2
    }

    async fn send(&mut self, bytes: &[u8]) {
        // A gateway that has closed already is what some of these tests want.
        let _ = self.0.write_all(bytes).await;
    }

    async fn outcome(&mut self) -> Outcome {
        tokio::time::timeout(PATIENCE, async {
            let mut head = [0; 9];
            while self.0.read_exact(&mut head).await.is_ok() {
                let size = u32::from_be_bytes([0, head[0], head[1], head[2]]);
                let mut payload = vec![0; size as usize];
                if self.0.read_exact(&mut payload).await.is_err() {
                    break;
                }
                let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
                match (head[3], stream) {
                    (HEADERS, 1) => return Outcome::Status(status(&payload)),
                    (RESET, 1) | (GOAWAY, _) => return Outcome::Ended,
                    _ => {}
                }
            }
            Outcome::Ended
        })
        .await
        .unwrap()
    }
}

/// The status of an answer's head: indexed in HPACK's static table, or a literal that we do not need to read.
fn status(block: &[u8]) -> u16 {
    let known = [200, 204, 206, 304, 400, 404, 500];
    block.iter().find_map(|byte| known.get(usize::from(byte.wrapping_sub(0x88))).copied()).unwrap_or(1)
}

const BASE: Fields = &[(":method", "POST"), (":scheme", "http"), (":authority", "s"), (":path", "/p")];

/// Name, fields that come instead of or behind [`BASE`], the body.
const REFUSED: &[(&str, Fields, &str)] = &[
    ("chunked", &[("transfer-encoding", "chunked")], "0\r\n\r\nGET /admin HTTP/1.1\r\nhost: s\r\n\r\n"),
    ("identity", &[("transfer-encoding", "identity")], "abc"),
    ("length 0, and a body", &[("content-length", "0")], "GET /admin HTTP/1.1\r\nhost: s\r\n\r\n"),
    ("length too small", &[("content-length", "1")], "abc"),
    ("length too large", &[("content-length", "9")], "abc"),
    ("no number", &[("content-length", "+3")], "abc"),
    ("two lengths", &[("content-length", "3"), ("content-length", "4")], "abc"),
    ("line break in a value", &[("x", "y\r\ntransfer-encoding: chunked")], "abc"),
    ("request in a value", &[("x", "y\r\n\r\nGET /admin HTTP/1.1\r\nhost: s\r\n\r\n")], "abc"),
    ("LF in a value", &[("x", "y\nz: 1")], "abc"),
    ("CR in a value", &[("x", "y\rz: 1")], "abc"),
    ("NUL in a value", &[("x", "y\0")], "abc"),
    ("line break in a name", &[("x: y\r\nz", "1")], "abc"),
    ("colon in a name", &[("transfer-encoding: chunked\r\nx", "1")], "abc"),
    ("space in a name", &[("content-length ", "3")], "abc"),
    ("capitals in a name", &[("X-Up", "1")], "abc"),
    ("no name", &[("", "1")], "abc"),
    ("Connection", &[("connection", "close")], "abc"),
    ("Keep-Alive", &[("keep-alive", "1")], "abc"),
    ("Upgrade", &[("upgrade", "websocket")], "abc"),
    ("another host", &[("host", "admin")], "abc"),
    ("a field of its own behind", &[("x", "y"), (":path", "/admin")], "abc"),
    ("two paths", &[(":path", "/admin")], "abc"),
    ("unknown pseudo field", &[(":x", "y")], "abc"),
    ("status", &[(":status", "200")], "abc"),
];

/// The same, with heads of their own.
const REFUSED_HEADS: &[(&str, Fields)] = &[
    (
        "a request in the path",
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":authority", "s"),
            (":path", "/p HTTP/1.1\r\nhost: s\r\n\r\nGET /admin"),
        ],
    ),
    (
        "a space in the path",
        &[(":method", "GET"), (":scheme", "http"), (":authority", "s"), (":path", "/a b")],
    ),
    ("no slash", &[(":method", "GET"), (":scheme", "http"), (":authority", "s"), (":path", "a")]),
    ("empty path", &[(":method", "GET"), (":scheme", "http"), (":authority", "s"), (":path", "")]),
    ("no path", &[(":method", "GET"), (":scheme", "http"), (":authority", "s")]),
    ("no method", &[(":scheme", "http"), (":authority", "s"), (":path", "/")]),
    (
        "a request in the method",
        &[(":method", "GET /admin HTTP/1.1\r\nx:"), (":scheme", "http"), (":authority", "s"), (":path", "/")],
    ),
    (
        "a space in the method",
        &[(":method", "GET /admin"), (":scheme", "http"), (":authority", "s"), (":path", "/")],
    ),
    (
        "a line break in the authority",
        &[(":method", "GET"), (":scheme", "http"), (":authority", "s\r\nx: y"), (":path", "/")],
    ),
    (
        "a user in the authority",
        &[(":method", "GET"), (":scheme", "http"), (":authority", "u@s"), (":path", "/")],
    ),
    (
        "a path in the authority",
        &[(":method", "GET"), (":scheme", "http"), (":authority", "s/x"), (":path", "/")],
    ),
    (
        "a URL for a scheme",
        &[(":method", "GET"), (":scheme", "http://s/x?"), (":authority", "s"), (":path", "/")],
    ),
    ("no host at all", &[(":method", "GET"), (":scheme", "http"), (":path", "/")]),
    ("CONNECT", &[(":method", "CONNECT"), (":authority", "s:80")]),
    ("TRACE", &[(":method", "TRACE"), (":scheme", "http"), (":authority", "s"), (":path", "/")]),
];

async fn outcome(gateway: &proxy::Gateway, fields: &[(&str, &str)], body: Option<&str>) -> Outcome {
    let mut h2 = H2::to(gateway).await;
    let end = if body.is_none() { END_STREAM } else { 0 };
    h2.send(&frame(HEADERS, END_HEADERS | end, 1, &block(fields))).await;
    if let Some(body) = body {
        h2.send(&frame(DATA, END_STREAM, 1, body.as_bytes())).await;
    }
    h2.outcome().await
}

/// Whole requests that came since the last look, those of [`get`] put aside.
fn seen(backend: &Recorder) -> Vec<Message> {
    let all = backend.take().into_iter().map(|seen| seen.unwrap());
    all.filter(|message| message.asked() != "GET /after").collect()
}

#[tokio::test]
async fn what_http1_cannot_say_never_reaches_a_replica() {
    let gateway = gateway_with(|config| config.workers = 1);
    let backend = Recorder::start().await;
    Shop::only(backend.addr).on(&gateway);
    let with_base = REFUSED.iter().map(|(name, more, body)| (*name, [BASE, more].concat(), Some(*body)));
    let whole = REFUSED_HEADS.iter().map(|(name, fields)| (*name, fields.to_vec(), None));
    for (name, fields, body) in with_base.chain(whole) {
        let outcome = outcome(&gateway, &fields, body).await;
        assert_ne!(outcome, Outcome::Status(200), "{name}");
        assert_eq!(get(&gateway, "/after").await.body, "GET /after", "{name}");
        let seen = seen(&backend);
        assert!(seen.is_empty(), "{name}: {seen:?}");
    }
}

#[tokio::test]
async fn what_http1_can_say_is_said_in_its_words() {
    let gateway = gateway_with(|config| config.workers = 1);
    let backend = Recorder::start().await;
    Shop::only(backend.addr).on(&gateway);
    let fields =
        [BASE, &[("content-length", "3"), ("cookie", "a=1"), ("cookie", "b=2"), ("te", "trailers")]].concat();
    assert_eq!(outcome(&gateway, &fields, Some("abc")).await, Outcome::Status(200));
    assert_eq!(outcome(&gateway, BASE, Some("abc")).await, Outcome::Status(200));
    assert_eq!(outcome(&gateway, BASE, None).await, Outcome::Status(200));
    let host = [(":method", "GET"), (":scheme", "http"), ("host", "t"), (":path", "/p?q")];
    let host = [host[0], host[1], host[3], host[2]];
    assert_eq!(outcome(&gateway, &host, Some("")).await, Outcome::Status(200));
    let seen = seen(&backend);
    let told: Vec<_> = seen.iter().map(|m| (m.asked(), m.all("host").concat(), m.text())).collect();
    let expected =
        [("POST /p", "s", "abc"), ("POST /p", "s", "abc"), ("POST /p", "s", ""), ("GET /p?q", "t", "")];
    let expected: Vec<_> =
        expected.iter().map(|(a, b, c)| ((*a).to_owned(), (*b).to_owned(), (*c).to_owned())).collect();
    assert_eq!(told, expected);
    // RFC 9113, 8.2.3: one header for an HTTP/1.1 backend.
    assert_eq!(seen[0].all("cookie"), ["a=1; b=2"]);
}

#[tokio::test]
async fn trailers_that_reframe_are_not_passed_on() {
    let gateway = gateway_with(|config| config.workers = 1);
    let backend = Recorder::start().await;
    Shop::only(backend.addr).on(&gateway);
    for trailer in
        [("content-length", "9"), ("transfer-encoding", "chunked"), ("host", "t"), (":path", "/admin")]
    {
        let mut h2 = H2::to(&gateway).await;
        let fields = [BASE, &[("trailer", trailer.0)]].concat();
        h2.send(&frame(HEADERS, END_HEADERS, 1, &block(&fields))).await;
        h2.send(&frame(DATA, 0, 1, b"abc")).await;
        h2.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&[trailer]))).await;
        h2.outcome().await;
        assert_eq!(get(&gateway, "/after").await.body, "GET /after", "{trailer:?}");
        for message in seen(&backend) {
            assert_eq!(
                (message.asked().as_str(), message.text().as_str()),
                ("POST /p", "abc"),
                "{trailer:?}"
            );
            assert!(message.trailers.is_empty(), "{trailer:?}: {message:?}");
        }
    }
}

#[tokio::test]
async fn floods_of_frames_end_the_connection_and_hurt_nobody_else() {
    let gateway = gateway_with(|config| config.workers = 1);
    let backend = Recorder::start().await;
    Shop::only(backend.addr).on(&gateway);
    let head = frame(HEADERS, 0, 1, &block(BASE));
    let more = frame(CONTINUATION, 0, 1, &block(&[("x", "y")]).repeat(1_000));
    let reset = |stream: u32| {
        let ask = frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(BASE));
        [ask, frame(RESET, 0, stream, &8_u32.to_be_bytes())].concat()
    };
    let resets: Vec<u8> = (0..5_000).flat_map(|n| reset(n * 2 + 1)).collect();
    let floods = [
        ("continuations", [head, more.repeat(200)].concat()),
        ("resets", resets),
        ("settings", frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]).repeat(50_000)),
        (
            "empty data",
            [frame(HEADERS, END_HEADERS, 1, &block(BASE)), frame(DATA, 0, 1, b"").repeat(50_000)].concat(),
        ),
    ];
    for (name, flood) in floods {
        let mut h2 = H2::to(&gateway).await;
        h2.send(&flood).await;
        let _ = h2.0.shutdown().await;
        h2.outcome().await;
        assert_eq!(get(&gateway, "/after").await.body, "GET /after", "{name}");
    }
    until("nothing is left in flight", || gateway.in_flight(&place(), model::ReleaseNumber(1), 0) == 0).await;
}
