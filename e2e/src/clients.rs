//! Clients that stay: long answers, uploads in pieces, tunnels, and HTTP/2. Does not live here: the open-loop load with its
//! ledger (`load`).

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Version};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};

/// How long a client waits for any one thing.
const PATIENCE: Duration = Duration::from_secs(60);
/// HTTP/2 requests at once on one connection.
const STREAMS: usize = 4;

fn connect(gateway: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(gateway).expect("the gateway takes a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    stream
}

/// What came until the connection ended, however it did.
fn rest(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    // A broken connection ends it too; whoever asks looks at what came before.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// A GET whose whole answer is read in a thread of its own.
pub fn long(gateway: SocketAddr, path: &str) -> JoinHandle<String> {
    let mut stream = connect(gateway);
    let head = format!("GET {path} HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).expect("a request can be sent");
    std::thread::spawn(move || rest(stream))
}

/// An upload of so many chunks of ten bytes, one with each beat; the answer tells how many bytes arrived.
pub fn upload(gateway: SocketAddr, chunks: usize, beat: Duration) -> JoinHandle<String> {
    let mut stream = connect(gateway);
    let head =
        "POST /upload HTTP/1.1\r\nhost: shop\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).expect("a request can be sent");
    std::thread::spawn(move || {
        for _ in 0..chunks {
            // Pace: the upload is to last.
            std::thread::park_timeout(beat);
            if stream.write_all(b"a\r\n0123456789\r\n").is_err() {
                break;
            }
        }
        let _ = stream.write_all(b"0\r\n\r\n");
        rest(stream)
    })
}

/// An upgraded connection that sends back what it gets.
#[derive(Debug)]
pub struct Tunnel(BufReader<TcpStream>);

impl Tunnel {
    /// Opens one.
    ///
    /// # Panics
    /// When the protocol is not changed.
    #[must_use]
    pub fn open(gateway: SocketAddr) -> Self {
        let mut stream = BufReader::new(connect(gateway));
        let ask = "GET /echo HTTP/1.1\r\nhost: shop\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
        stream.get_mut().write_all(ask.as_bytes()).expect("a request can be sent");
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let read = stream.read_line(&mut head);
            assert!(read.is_ok_and(|read| read > 0), "the connection ended after {head:?}");
        }
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        Self(stream)
    }

    /// Whether a line comes back.
    pub fn works(&mut self) -> bool {
        let mut line = String::new();
        let sent = self.0.get_mut().write_all(b"hello\n").is_ok();
        sent && self.0.read_line(&mut line).is_ok() && line == "hello\n"
    }

    /// Waits for the other side's orderly end; false when it broke off, or nothing came in a minute.
    pub fn ends(&mut self) -> bool {
        matches!(self.0.read(&mut [0]), Ok(0))
    }
}

/// A client that asks over one HTTP/2 connection, several streams at a time, until it is stopped.
#[derive(Debug)]
pub struct Http2 {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    thread: JoinHandle<Result<(), String>>,
}

impl Http2 {
    /// Starts to ask.
    ///
    /// # Panics
    /// When no thread can be made.
    #[must_use]
    pub fn start(gateway: SocketAddr) -> Self {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (over, count) = (stop.clone(), answered.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.map_err(|error| error.to_string())?.block_on(ask(gateway, &over, &count))
        });
        Self { stop, answered, thread }
    }

    /// Ends it: how many requests were answered by a shop.
    ///
    /// # Errors
    /// Why one was not.
    ///
    /// # Panics
    /// When its thread has.
    pub fn stop(self) -> Result<u64, String> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the client's thread ends")?;
        Ok(self.answered.load(Ordering::Relaxed))
    }
}

async fn ask(gateway: SocketAddr, over: &AtomicBool, answered: &AtomicU64) -> Result<(), String> {
    let socket = tokio::net::TcpStream::connect(gateway).await.map_err(|error| error.to_string())?;
    let opened = http2::handshake::<_, _, Empty<Bytes>>(TokioExecutor::new(), TokioIo::new(socket)).await;
    let (sender, connection) = opened.map_err(|error| error.to_string())?;
    // It ends with the last sender; what goes wrong reaches the requests on it.
    tokio::spawn(connection);
    let mut asking = tokio::task::JoinSet::new();
    while !over.load(Ordering::Relaxed) {
        while asking.len() < STREAMS {
            asking.spawn(one(sender.clone()));
        }
        if let Some(done) = asking.join_next().await {
            done.map_err(|error| error.to_string())??;
            answered.fetch_add(1, Ordering::Relaxed);
        }
    }
    while let Some(done) = asking.join_next().await {
        done.map_err(|error| error.to_string())??;
        answered.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

async fn one(mut sender: SendRequest<Empty<Bytes>>) -> Result<(), String> {
    let request = Request::get("http://shop/slow?ms=20").version(Version::HTTP_2).body(Empty::new());
    let request = request.map_err(|error| error.to_string())?;
    let response = sender.send_request(request).await.map_err(|error| format!("{error:?}"))?;
    let told = format!("{} {:?}", response.status(), response.headers());
    if response.headers().contains_key(load::GATEWAY_ERROR_HEADER) {
        return Err(told);
    }
    response.into_body().collect().await.map(|_| ()).map_err(|error| format!("{told}: {error:?}"))
}
