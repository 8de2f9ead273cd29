//! A small world to test the gateway in: backends that say who they are, and a client that speaks bytes.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "each test file uses a part")]

pub mod strict;

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use model::assignment::{HeaderMatch, HeaderRoute, Pattern, SessionAffinity};
use model::route::{Limits, Route, Timeouts};
use model::{Epoch, Place, ReleaseNumber, Weight};
use proxy::{Affinity, Aim, Backend, Config, Gateway, PlaceRouting, Preview, Routing};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub const PATIENCE: Duration = Duration::from_secs(10);

pub fn place() -> Place {
    Place { service: "shop".parse().unwrap(), environment: "production".parse().unwrap() }
}

pub fn gateway() -> Gateway {
    gateway_with(|_| {})
}

pub fn gateway_with(change: impl FnOnce(&mut Config)) -> Gateway {
    let mut config = Config::new(SocketAddr::from(([127, 0, 0, 1], 0)));
    config.workers = 2;
    change(&mut config);
    Gateway::start(config, &Routing::default()).unwrap()
}

/// A routing that reads aloud: `shop().share(1, 9_000).share(2, 1_000).ready(1, 0, addr)`.
pub struct Shop(pub PlaceRouting);

pub fn shop() -> Shop {
    let route = Route {
        hosts: Vec::new(),
        path_prefixes: Vec::new(),
        templates: vec!["/orders/{id}".to_owned()],
        timeouts: Timeouts {
            connect: Duration::from_secs(5),
            response: Duration::from_secs(20),
            idle: Duration::from_secs(20),
        },
        limits: Limits { body_bytes: 1 << 20, in_flight: 1_000 },
    };
    Shop(PlaceRouting {
        place: place(),
        route,
        epoch: Epoch(1),
        shares: Vec::new(),
        backends: Vec::new(),
        preview: None,
        aim: None,
        affinity: None,
        tracing: None,
    })
}

impl Shop {
    pub fn share(mut self, release: u64, points: u16) -> Self {
        self.0.shares.push((ReleaseNumber(release), Weight::from_basis_points(points).unwrap()));
        self
    }

    pub fn ready(mut self, release: u64, ordinal: u32, addr: SocketAddr) -> Self {
        self.0.backends.push(Backend { release: ReleaseNumber(release), ordinal, addr });
        self
    }

    pub fn epoch(mut self, epoch: u64) -> Self {
        self.0.epoch = Epoch(epoch);
        self
    }

    pub fn route(mut self, change: impl FnOnce(&mut Route)) -> Self {
        change(&mut self.0.route);
        self
    }

    /// Requests for this host go to `release`, or to nobody.
    pub fn preview(mut self, host: &str, release: Option<u64>) -> Self {
        let route = Route { hosts: vec![host.to_owned()], ..self.0.route.clone() };
        self.0.preview = Some(Preview { route, release: release.map(ReleaseNumber) });
        self
    }

    /// Users keep their release; the one that grows stands last.
    pub fn keeping(mut self, by: SessionAffinity, salt: &str) -> Self {
        self.0.affinity = Some(Affinity { by, salt: salt.to_owned() });
        self
    }

    /// Requests with this header go to `release`.
    pub fn led(mut self, release: u64, name: &str, value: &str) -> Self {
        let one =
            HeaderMatch { header_name: name.to_owned(), header_value: Pattern::Exact(value.to_owned()) };
        let route = HeaderRoute { name: "led".to_owned(), matches: vec![one] };
        self.0.aim = Some(Aim { release: ReleaseNumber(release), routes: vec![route] });
        self
    }

    pub fn only(addr: SocketAddr) -> Self {
        shop().share(1, 10_000).ready(1, 0, addr)
    }

    pub fn on(self, gateway: &Gateway) {
        gateway.swap(Routing { places: vec![self.0] }).unwrap();
    }
}

/// An HTTP backend whose answers a closure makes.
pub async fn backend<F, R>(answer: F) -> SocketAddr
where
    F: Fn(Request<Incoming>) -> R + Clone + Send + 'static,
    R: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let (listener, addr) = listener().await;
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let answer = answer.clone();
            let service = service_fn(move |request| {
                let answer = answer(request);
                async move { Ok::<_, Infallible>(answer.await) }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), service));
        }
    });
    addr
}

/// A backend that answers with its name.
pub async fn named(name: &'static str) -> SocketAddr {
    backend(move |_| async move { text(200, name) }).await
}

/// A backend that answers with the status given.
pub async fn status(status: u16) -> SocketAddr {
    backend(move |_| async move { text(status, "x") }).await
}

/// A backend that answers with the head it got, a header a line.
pub async fn mirror() -> SocketAddr {
    backend(|request: Request<Incoming>| async move {
        let mut lines = format!("{} {} {:?}\n", request.method(), request.uri(), request.version());
        for (name, value) in request.headers() {
            lines.push_str(&format!("{name}: {}\n", value.to_str().unwrap_or("?")));
        }
        let body = request.into_body().collect().await.map(|body| body.to_bytes().len()).unwrap_or(0);
        Response::new(Full::new(Bytes::from(format!("{lines}body: {body}\n"))))
    })
    .await
}

/// A backend of raw connections; the closure gets each with its number, counted from zero.
pub async fn raw<F, R>(talk: F) -> (SocketAddr, Arc<AtomicUsize>)
where
    F: Fn(usize, TcpStream) -> R + Send + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let (listener, addr) = listener().await;
    let count = Arc::new(AtomicUsize::new(0));
    let seen = count.clone();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(talk(seen.fetch_add(1, Ordering::SeqCst), socket));
        }
    });
    (addr, count)
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

/// An address where nobody listens.
pub async fn nobody() -> SocketAddr {
    listener().await.1
}

pub fn text(status: u16, body: &'static str) -> Response<Full<Bytes>> {
    Response::builder().status(status).body(Full::new(Bytes::from_static(body.as_bytes()))).unwrap()
}

/// Reads up to and with an empty line.
pub async fn read_head(socket: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        match socket.read(&mut byte).await {
            Ok(1) => head.push(byte[0]),
            Ok(_) | Err(_) => break,
        }
    }
    String::from_utf8(head).unwrap()
}

/// An answer in full.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (given, value) = line.split_once(':')?;
            given.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    /// A line of a [`mirror`]'s answer.
    pub fn seen(&self, name: &str) -> Option<&str> {
        self.body.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// A client connection that speaks HTTP/1.1 as written.
pub struct Client(pub TcpStream);

impl Client {
    pub async fn to(gateway: &Gateway) -> Self {
        Self(TcpStream::connect(gateway.listen_address()).await.unwrap())
    }

    pub async fn send(&mut self, text: &str) -> &mut Self {
        self.0.write_all(text.as_bytes()).await.unwrap();
        self
    }

    /// Reads an answer with a Content-Length, or without body.
    pub async fn answer(&mut self) -> Answer {
        tokio::time::timeout(PATIENCE, async {
            let head = read_head(&mut self.0).await;
            let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
            let mut answer = Answer { status, head, body: String::new() };
            let length = answer.header("content-length").and_then(|v| v.parse().ok()).unwrap_or(0);
            let mut body = vec![0; length];
            self.0.read_exact(&mut body).await.unwrap();
            answer.body = String::from_utf8(body).unwrap();
            answer
        })
        .await
        .unwrap()
    }

    pub async fn get(&mut self, path: &str) -> Answer {
        self.send(&format!("GET {path} HTTP/1.1\r\nhost: shop\r\n\r\n")).await.answer().await
    }

    /// Whether the gateway has closed the connection, with nothing more to read.
    pub async fn is_closed(&mut self) -> bool {
        let read = tokio::time::timeout(PATIENCE, self.0.read(&mut [0])).await.unwrap();
        matches!(read, Ok(0) | Err(_))
    }
}

/// One request on a connection of its own.
pub async fn ask(gateway: &Gateway, text: &str) -> Answer {
    Client::to(gateway).await.send(text).await.answer().await
}

pub async fn get(gateway: &Gateway, path: &str) -> Answer {
    Client::to(gateway).await.get(path).await
}

/// The same, from another host.
pub async fn get_from(gateway: &Gateway, host: &str, path: &str) -> Answer {
    ask(gateway, &format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n")).await
}

/// Waits until a condition holds.
pub async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "never came true: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
