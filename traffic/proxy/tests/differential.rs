//! Plain HTTP/1.1 beside hyper, which serves HTTP/2 here and is the more common reader of HTTP/1.1 elsewhere: generated
//! messages, cut into pieces anywhere, come to the same by both ways; and no bytes are read more leniently than hyper
//! reads them.
#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::TestRunner;
use proxy::Gateway;
use support::strict::{self, Message, Next, Read, Wire};
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

type Fields = Vec<(&'static str, &'static str)>;

/// A message without its framing's details.
#[derive(Debug, Clone)]
struct Said {
    fields: Fields,
    body: Body,
}

#[derive(Debug, Clone)]
enum Body {
    None,
    Length(usize),
    /// The sizes of the chunks, and whether there is a trailer.
    Chunked(Vec<usize>, bool),
}

/// Where a stream of bytes is cut.
type Cuts = Vec<Index>;

fn fields(names: &'static [(&'static str, &'static str)]) -> impl Strategy<Value = Fields> {
    vec(select(names), 0..6)
}

fn body() -> impl Strategy<Value = Body> {
    let size = prop_oneof![0_usize..40, 4_000_usize..5_000, 20_000_usize..90_000];
    prop_oneof![
        3 => Just(Body::None),
        3 => size.clone().prop_map(Body::Length),
        3 => (vec(size.prop_map(|size| size.max(1)), 0..5), any::<bool>()).prop_map(|(sizes, trailer)| Body::Chunked(sizes, trailer)),
    ]
}

fn said(names: &'static [(&'static str, &'static str)]) -> impl Strategy<Value = Said> {
    (fields(names), body()).prop_map(|(fields, body)| Said { fields, body })
}

const ASKED: &[(&str, &str)] = &[
    ("accept", "*/*"),
    ("authorization", "x"),
    ("te", "trailers"),
    ("X-Custom", "one"),
    ("x-custom", "two, three"),
    ("x-empty", ""),
    ("x-forwarded-for", "10.0.0.1"),
    ("x-forwarded-for", "10.0.0.2, 10.0.0.3"),
    ("x-forwarded-host", "evil"),
    ("x-forwarded-proto", "https"),
    ("forwarded", "for=10.0.0.1"),
    ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"),
    ("traceparent", "nonsense"),
    ("tracestate", "a=b"),
    ("x-request-id", "given-1"),
    ("x-request-id", "no good"),
    ("shipshape-error", "fake"),
    ("proxy-authorization", "secret"),
    ("user-agent", "caf\u{e9}"),
];

const ANSWERED: &[(&str, &str)] = &[
    ("content-type", "text/plain"),
    ("Set-Cookie", "a=b"),
    ("set-cookie", "c=d"),
    ("etag", "\"x\""),
    ("shipshape-error", "fake"),
    ("x-request-id", "theirs"),
    ("proxy-authenticate", "x"),
    ("keep-alive", "timeout=5"),
    ("x-empty", ""),
    ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
];

fn data(size: usize) -> Vec<u8> {
    (0..size).map(|at| b'a' + (at % 23) as u8).collect()
}

impl Said {
    fn whole(&self) -> Vec<u8> {
        match &self.body {
            Body::None => Vec::new(),
            Body::Length(size) => data(*size),
            Body::Chunked(sizes, _) => sizes.iter().flat_map(|size| data(*size)).collect(),
        }
    }

    /// As HTTP/1.1 says it.
    fn wire(&self, start: &str) -> Vec<u8> {
        let mut out = format!("{start}\r\n");
        for (name, value) in &self.fields {
            out.push_str(&format!("{name}: {value}\r\n"));
        }
        match &self.body {
            Body::None => out.push_str("\r\n"),
            Body::Length(size) => out.push_str(&format!("Content-Length: {size}\r\n\r\n")),
            Body::Chunked(_, trailer) => {
                let names = if *trailer { "trailer: x-sum\r\n" } else { "" };
                out.push_str(&format!("{names}Transfer-Encoding: chunked\r\n\r\n"));
            }
        }
        let mut out = out.into_bytes();
        match &self.body {
            Body::None => {}
            Body::Length(size) => out.extend(data(*size)),
            Body::Chunked(sizes, trailer) => {
                for size in sizes {
                    out.extend(format!("{size:X}\r\n").into_bytes());
                    out.extend(data(*size));
                    out.extend(b"\r\n");
                }
                out.extend(if *trailer { b"0\r\nX-Sum: 7\r\n\r\n".as_slice() } else { b"0\r\n\r\n" });
            }
        }
        out
    }

    /// As HTTP/2 says it.
    fn frames(&self) -> Vec<Result<Frame<Bytes>, Infallible>> {
        let frame = |bytes: Vec<u8>| Ok(Frame::data(Bytes::from(bytes)));
        match &self.body {
            Body::None => Vec::new(),
            Body::Length(size) => vec![frame(data(*size))],
            Body::Chunked(sizes, trailer) => {
                let mut frames: Vec<_> = sizes.iter().map(|size| frame(data(*size))).collect();
                if *trailer {
                    let trailers = HeaderMap::from_iter([("x-sum".parse().unwrap(), "7".parse().unwrap())]);
                    frames.push(Ok(Frame::trailers(trailers)));
                }
                frames
            }
        }
    }
}

/// Sends bytes in pieces.
async fn send_cut(socket: &mut TcpStream, bytes: &[u8], cuts: &Cuts) {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
    ends.push(bytes.len());
    ends.sort_unstable();
    let mut start = 0;
    for end in ends {
        if socket.write_all(&bytes[start..end]).await.is_err() {
            return;
        }
        start = end;
        tokio::task::yield_now().await;
    }
}

/// A backend that notes what it is asked, and answers as it is told, in pieces.
#[derive(Default)]
struct Script {
    answer: Mutex<(Vec<u8>, Cuts)>,
    seen: Mutex<Vec<Message>>,
}

async fn play(script: Arc<Script>) -> SocketAddr {
    let talk = move |_, mut socket: TcpStream| {
        let script = script.clone();
        async move {
            let mut bytes = Vec::new();
            let _ = socket.set_nodelay(true);
            loop {
                match strict::request(&bytes) {
                    Read::Whole(message, used) => {
                        bytes.drain(..used);
                        script.seen.lock().unwrap().push(message);
                        let (answer, cuts) = script.answer.lock().unwrap().clone();
                        send_cut(&mut socket, &answer, &cuts).await;
                    }
                    Read::Partial => match socket.read_buf(&mut bytes).await {
                        Ok(0) | Err(_) => return,
                        Ok(_) => {}
                    },
                    Read::Bad(bad) => panic!("the gateway sent {bad}: {:?}", String::from_utf8_lossy(&bytes)),
                }
            }
        }
    };
    raw(talk).await.0
}

/// What differs with the way, or from one telling to the next.
const OWN: [&str; 6] = ["connection", "content-length", "date", "te", "trailer", "transfer-encoding"];

/// What was said, whatever the way.
fn comparable(mut message: Message) -> Message {
    for (name, value) in &mut message.headers {
        let given = match name.as_str() {
            "x-request-id" => *value == "given-1",
            "traceparent" => {
                value.replace_range(36..52, "");
                value.contains("0af7651916cd43dd8448eb211c80319c")
            }
            _ => true,
        };
        if !given {
            *value = format!("{} bytes", value.len());
        }
    }
    message.headers.retain(|(name, _)| !OWN.contains(&name.as_str()));
    message.headers.sort_by(|a, b| a.0.cmp(&b.0));
    message
}

struct World {
    gateway: Gateway,
    script: Arc<Script>,
}

impl World {
    async fn new(patience: Duration) -> Self {
        let script = Arc::new(Script::default());
        let gateway = gateway_with(|config| {
            config.workers = 1;
            config.limits.header_read = patience;
            config.limits.keep_alive = patience;
        });
        Shop::only(play(script.clone()).await).route(|route| route.timeouts.idle = patience).on(&gateway);
        Self { gateway, script }
    }

    fn seen(&self) -> Message {
        let mut seen = self.script.seen.lock().unwrap();
        assert_eq!(seen.len(), 1, "{seen:?}");
        seen.remove(0)
    }

    /// Asks over HTTP/1.1. The answer, and what the backend saw.
    async fn plain(&self, method: &str, target: &str, said: &Said, cuts: &Cuts) -> (Message, Message) {
        let mut wire = Wire::new(TcpStream::connect(self.gateway.listen_address()).await.unwrap());
        wire.socket.set_nodelay(true).unwrap();
        let bytes = said.wire(&format!("{method} {target} HTTP/1.1\r\nHost: shop"));
        send_cut(&mut wire.socket, &bytes, cuts).await;
        let Next::Answer(answer) = wire.next(method).await.unwrap() else { panic!("no answer") };
        (answer, self.seen())
    }

    /// Asks over HTTP/2.
    async fn hyper(&self, method: &str, target: &str, said: &Said) -> (Message, Message) {
        let socket = TcpStream::connect(self.gateway.listen_address()).await.unwrap();
        let (mut sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(socket)).await.unwrap();
        tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(format!("http://shop{target}"));
        for (name, value) in &said.fields {
            request = request.header(*name, http::HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        match &said.body {
            Body::None => {}
            Body::Length(size) => request = request.header("content-length", *size),
            Body::Chunked(_, true) => request = request.header("trailer", "x-sum"),
            Body::Chunked(_, false) => {}
        }
        let body = match said.body {
            Body::None => Full::new(Bytes::new()).boxed(),
            Body::Length(_) | Body::Chunked(..) => {
                StreamBody::new(futures_util::stream::iter(said.frames())).boxed()
            }
        };
        let response = sender.send_request(request.body(body).unwrap());
        let (parts, body) = response.await.unwrap().into_parts();
        let body = body.collect().await.unwrap();
        let listed = |map: &HeaderMap| {
            let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
            map.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
        };
        let answer = Message {
            start: format!("HTTP/1.1 {} ", parts.status.as_u16()),
            headers: listed(&parts.headers),
            trailers: body.trailers().map(listed).unwrap_or_default(),
            body: body.to_bytes().to_vec(),
        };
        (answer, self.seen())
    }
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn messages_come_to_the_same_by_both_ways() {
    let runtime = runtime();
    let world = runtime.block_on(World::new(PATIENCE));
    let methods = select(vec!["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW"]);
    let targets = select(vec!["/", "/a?b=%2f", "/orders/7", "//x//", "/?", "/a%20b;c?d?e", "/{x}|\"y\""]);
    let statuses = select(vec![200_u16, 201, 204, 304, 404, 503]);
    let cuts = || vec(any::<Index>(), 0..6);
    let cases = (methods, targets, said(ASKED), cuts(), statuses, said(ANSWERED), cuts());
    let outcome = TestRunner::new(config(150)).run(
        &cases,
        |(method, target, asked, ask_cuts, status, mut told, tell_cuts)| {
            if method == "HEAD" || [204, 304].contains(&status) {
                told.body = Body::None;
            } else if matches!(told.body, Body::None) {
                told.body = Body::Length(0);
            }
            let answer = told.wire(&format!("HTTP/1.1 {status} Fine"));
            *world.script.answer.lock().unwrap() = (answer, tell_cuts);
            let (plain, hyper) = runtime.block_on(async {
                let plain = world.plain(method, target, &asked, &ask_cuts).await;
                (plain, world.hyper(method, target, &asked).await)
            });
            prop_assert_eq!(&plain.1.start, &hyper.1.start);
            prop_assert_eq!(comparable(plain.1.clone()), comparable(hyper.1));
            prop_assert_eq!(plain.0.status(), status);
            prop_assert_eq!(&plain.1.body, &asked.whole());
            prop_assert_eq!(&plain.0.body, &told.whole());
            let (mut plain, mut hyper) = (comparable(plain.0), comparable(hyper.0));
            // Only who asks for trailers gets them in HTTP/1.1, and no reason has a place in HTTP/2.
            if !asked.fields.contains(&("te", "trailers")) {
                prop_assert!(plain.trailers.is_empty());
                hyper.trailers.clear();
            }
            plain.start.clear();
            hyper.start.clear();
            prop_assert_eq!(plain, hyper);
            Ok(())
        },
    );
    outcome.unwrap();
}

/// What hyper makes of a stream of requests: method, path and body of each.
async fn read_by_hyper(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let (mut ours, theirs) = tokio::io::duplex(1 << 20);
    let seen: Arc<Mutex<Vec<_>>> = Arc::default();
    let notes = seen.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let notes = notes.clone();
        async move {
            let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
            let asked = format!("{} {path}", request.method());
            if let Ok(body) = request.into_body().collect().await {
                notes.lock().unwrap().push((asked, body.to_bytes().to_vec()));
            }
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::new())))
        }
    });
    ours.write_all(bytes).await.unwrap();
    ours.shutdown().await.unwrap();
    let served = async {
        let _ = http1::Builder::new().half_close(true).serve_connection(TokioIo::new(theirs), service).await;
    };
    let drain = async { _ = ours.read_to_end(&mut Vec::new()).await };
    tokio::join!(served, drain);
    Arc::into_inner(seen).unwrap().into_inner().unwrap()
}

#[derive(Debug, Clone)]
enum Damage {
    Put(Index, &'static str),
    /// At the start of a line.
    PutLine(Index, &'static str),
    Take(Index, usize),
    Replace(Index, u8),
}

fn damage() -> impl Strategy<Value = Damage> {
    let pieces =
        vec!["\r\n", "\n", "\r", " ", "\t", ":", ",", ";", "\0", "+", "0", "1", "f", "chunked", "HTTP/1.0"];
    let lines = vec![
        "0\r\n\r\n",
        " folded\r\n",
        "\r\n",
        "Content-Length: 3\r\n",
        "Content-Length: 4\r\n",
        "Content-Length: 4, 4\r\n",
        "Content-Length : 3\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding: x\r\n",
        "Connection: close\r\n",
        "Connection: content-length\r\n",
        "Connection: upgrade\r\nUpgrade: x\r\n",
        "Expect: 100-continue\r\n",
        "Host: c\r\n",
        "GET /smuggled HTTP/1.1\r\nHost: b\r\n\r\n",
    ];
    prop_oneof![
        3 => (any::<Index>(), select(pieces)).prop_map(|(at, piece)| Damage::Put(at, piece)),
        6 => (any::<Index>(), select(lines)).prop_map(|(at, line)| Damage::PutLine(at, line)),
        2 => (any::<Index>(), 1_usize..9).prop_map(|(at, size)| Damage::Take(at, size)),
        1 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Damage::Replace(at, byte)),
    ]
}

fn damaged(mut bytes: Vec<u8>, all: &[Damage]) -> Vec<u8> {
    for one in all {
        match one {
            Damage::Put(at, piece) => {
                let at = at.index(bytes.len() + 1);
                bytes.splice(at..at, piece.bytes());
            }
            Damage::PutLine(at, piece) => {
                let starts: Vec<usize> =
                    (2..=bytes.len()).filter(|at| bytes[..*at].ends_with(b"\r\n")).collect();
                let at = if starts.is_empty() { 0 } else { *at.get(&starts) };
                bytes.splice(at..at, piece.bytes());
            }
            Damage::Take(at, size) => {
                let at = at.index(bytes.len());
                bytes.drain(at..(at + size).min(bytes.len()));
            }
            Damage::Replace(at, byte) => {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
        }
    }
    bytes
}

#[test]
fn nothing_is_read_more_leniently_than_hyper_reads_it() {
    let runtime = runtime();
    let world = runtime.block_on(World::new(Duration::from_millis(10)));
    *world.script.answer.lock().unwrap() =
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_vec(), Vec::new());
    let first = "POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nabcd";
    let second = "PUT /2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1;x=y\r\nd\r\n0\r\nA: b\r\n\r\n";
    let third = "GET /3 HTTP/1.1\r\nHost: a\r\nA: b\r\n\r\n";
    let order = Just(vec![first, second, third]).prop_shuffle();
    let cases = (order, vec(damage(), 1..4), vec(any::<Index>(), 0..4));
    let understood = std::cell::Cell::new(0);
    let outcome = TestRunner::new(config(400)).run(&cases, |(order, damage, cuts)| {
        let bytes = damaged(order.concat().into_bytes(), &damage);
        if bytes.is_empty() {
            return Ok(());
        }
        let (ours, theirs) = runtime.block_on(async {
            let mut socket = TcpStream::connect(world.gateway.listen_address()).await.unwrap();
            send_cut(&mut socket, &bytes, &cuts).await;
            let theirs = read_by_hyper(&bytes).await;
            // The gateway waits briefly for what is missing, and hangs up.
            let mut answers = vec![0; 1 << 16];
            let end = async { while !matches!(socket.read(&mut answers).await, Ok(0) | Err(_)) {} };
            tokio::time::timeout(PATIENCE, end).await.unwrap();
            (std::mem::take(&mut *world.script.seen.lock().unwrap()), theirs)
        });
        let ours: Vec<_> = ours.into_iter().map(|message| (message.asked(), message.body)).collect();
        prop_assert!(ours.len() <= theirs.len(), "{ours:?} {theirs:?}");
        prop_assert_eq!(&ours[..], &theirs[..ours.len()]);
        understood.set(understood.get() + ours.len());
        Ok(())
    });
    outcome.unwrap();
    assert!(understood.get() > 100, "only {} requests were understood at all", understood.get());
}
