//! A worker: one thread, one listener, its shard of the table, the client connections it accepted.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};

use crate::body::ResponseBody;
use crate::config::Limits;
use crate::counts::WorkerCounts;
use crate::error::Code;
use crate::forward;
use crate::head::Edge;
use crate::live::{Ask, Claim, Live, Unclaimed};
use crate::plain;
use crate::replica::lock;
use crate::sniff::{Signs, Sniffed};

/// hyper's own limit on header lines.
pub(crate) const HYPERS_HEADERS: usize = 100;
const PREFACE: &[u8] = b"PRI ";
/// How long a worker that got no connection for want of file descriptors leaves those it has to finish.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What the gateway is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    Serving,
    /// New connections are a successor's; those there are get one more answer each, which tells them to go.
    Yielding,
    /// No new connections; those there are finish what they do.
    Draining,
    /// Everything is dropped.
    Closed,
}

pub(crate) struct Worker {
    pub(crate) index: usize,
    pub(crate) limits: Limits,
    pub(crate) shard: Mutex<Arc<Live>>,
    pub(crate) counts: WorkerCounts,
    pub(crate) open: Doors,
    /// Whether answers tell their HTTP/1 connections to go.
    pub(crate) yielding: AtomicBool,
}

/// The open client connections of all workers, upgraded ones included.
#[derive(Clone, Default)]
pub(crate) struct Doors(Arc<(AtomicUsize, Notify)>);

/// One open connection, until this is dropped.
pub(crate) struct Open(Doors);

impl Doors {
    pub(crate) fn enter(&self) -> Open {
        self.0.0.fetch_add(1, Ordering::AcqRel);
        Open(self.clone())
    }

    pub(crate) fn count(&self) -> usize {
        self.0.0.load(Ordering::Acquire)
    }

    async fn empty(&self) {
        loop {
            let mut left = std::pin::pin!(self.0.1.notified());
            left.as_mut().enable();
            if self.count() == 0 {
                return;
            }
            left.await;
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let (count, left) = &*self.0.0;
        if count.fetch_sub(1, Ordering::AcqRel) == 1 {
            left.notify_waiters();
        }
    }
}

impl Worker {
    pub(crate) fn claim(&self, ask: &Ask<'_>) -> Result<Claim, Unclaimed> {
        lock(&self.shard).claim(ask)
    }
}

/// Accepts and serves until the gateway closes.
pub(crate) async fn run(worker: Arc<Worker>, listener: TcpListener, mut phase: watch::Receiver<Phase>) {
    while *phase.borrow_and_update() == Phase::Serving {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((socket, client)) => welcome(&worker, socket, client, &phase),
                Err(error) => trouble(&worker, &error).await,
            },
            changed = phase.changed() => if changed.is_err() { return },
        }
    }
    let orphaned = *phase.borrow() != Phase::Yielding;
    // Whoever is in the queue already has connected: closing the listener would reset them, unless a successor has it too.
    if let Ok(listener) = listener.into_std()
        && orphaned
    {
        while let Ok((socket, client)) = listener.accept() {
            if socket.set_nonblocking(true).is_ok()
                && let Ok(socket) = TcpStream::from_std(socket)
            {
                welcome(&worker, socket, client, &phase);
            }
        }
    }
    tokio::select! {
        () = worker.open.empty() => {}
        _ = phase.wait_for(|phase| *phase == Phase::Closed) => {}
    }
}

async fn trouble(worker: &Worker, error: &std::io::Error) {
    let transient = [std::io::ErrorKind::ConnectionAborted, std::io::ErrorKind::ConnectionReset];
    if !transient.contains(&error.kind()) {
        worker.counts.accept_errors.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(%error, worker = worker.index, "cannot accept a connection; trying again");
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}

fn welcome(worker: &Arc<Worker>, socket: TcpStream, client: SocketAddr, phase: &watch::Receiver<Phase>) {
    let open = worker.open.enter();
    if worker.open.count() > worker.limits.connections {
        worker.counts.error(Code::ConnectionLimit);
        turn_away(&socket);
        return;
    }
    let (worker, phase) = (worker.clone(), phase.clone());
    tokio::spawn(async move {
        connection(worker, socket, client, phase).await;
        drop(open);
    });
}

fn turn_away(socket: &TcpStream) {
    let code = Code::ConnectionLimit;
    let text = format!(
        "HTTP/1.1 503 Service Unavailable\r\nshipshape-error: {}\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
        code.text()
    );
    // Best effort: a fresh socket has room for this, and if not there is nothing better to do.
    let _ = socket.try_write(text.as_bytes());
}

async fn connection(
    worker: Arc<Worker>,
    socket: TcpStream,
    client: SocketAddr,
    mut phase: watch::Receiver<Phase>,
) {
    // Best effort: without it small answers are late, not wrong.
    let _ = socket.set_nodelay(true);
    let preface = tokio::time::timeout(worker.limits.header_read, is_http2(&socket));
    let http2 = tokio::select! {
        biased;
        preface = preface => match preface {
            Ok(Some(http2)) => http2,
            Ok(None) | Err(_) => return,
        },
        // Under a successor's eyes a client that has just connected still gets its answer here.
        _ = phase.wait_for(|phase| *phase >= Phase::Draining) => return,
    };
    if !http2 {
        return plain::serve(worker, socket, client, phase).await;
    }
    let signs = Arc::new(Signs::new(worker.limits.download_rate));
    let io = TokioIo::new(Sniffed::new(socket, signs.clone()));
    let service = {
        let (worker, signs) = (worker.clone(), signs.clone());
        let edge = Arc::new(Edge::new(client.ip()));
        service_fn(move |request: Request<Incoming>| {
            let (worker, edge) = (worker.clone(), edge.clone());
            let busy = signs.begin();
            async move {
                let mut response = Box::pin(forward::serve(worker, edge, request)).await;
                if let ResponseBody::Stream(download) = response.body_mut() {
                    download.busy = Some(busy);
                }
                Ok::<_, Infallible>(response)
            }
        })
    };
    let served = http2_builder(&worker.limits).serve_connection(io, service);
    drive(served, &signs, &worker.limits, phase).await;
}

/// Whether the client's first bytes are HTTP/2's. No HTTP/1 method of use starts like its preface.
async fn is_http2(socket: &TcpStream) -> Option<bool> {
    let mut first = [0; PREFACE.len()];
    loop {
        let seen = socket.peek(&mut first).await.ok()?;
        if seen == 0 {
            return None;
        }
        if !PREFACE.starts_with(&first[..seen]) {
            return Some(false);
        }
        if seen == PREFACE.len() {
            return Some(true);
        }
        // Peeking again would return at once with the same bytes.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn http2_builder(limits: &Limits) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .max_send_buf_size(limits.buffer());
    builder
}

/// Serves the connection until it ends, its client has used up a patience, or the gateway closes.
async fn drive<S, F>(
    connection: http2::Connection<TokioIo<Sniffed>, S, TokioExecutor>,
    signs: &Signs,
    limits: &Limits,
    mut phase: watch::Receiver<Phase>,
) where
    S: Service<Request<Incoming>, Response = http::Response<ResponseBody>, Error = Infallible, Future = F>,
    F: Future<Output = Result<http::Response<ResponseBody>, Infallible>> + Send + 'static,
{
    let mut connection = std::pin::pin!(connection);
    let mut finishing = false;
    loop {
        if !finishing && *phase.borrow_and_update() != Phase::Serving {
            finishing = true;
            connection.as_mut().graceful_shutdown();
        }
        let patience = signs.patience(limits.keep_alive, limits.client_write);
        if patience.is_zero() {
            return;
        }
        let mut wake = phase.clone();
        let mut changed = std::pin::pin!(async move { wake.changed().await.is_ok() });
        let mut sleep = std::pin::pin!(tokio::time::sleep(patience));
        let mut registered = finishing;
        let ended = std::future::poll_fn(|cx| {
            // Before the connection, so that an answer made after the draining began says that the connection closes.
            // The flag is looked at each time and the channel asked once, for the waker: asking takes a lock that all
            // connections share.
            match phase.has_changed() {
                Ok(false) => {}
                Ok(true) if finishing => {}
                Ok(true) => return Poll::Ready(false),
                Err(_) => return Poll::Ready(true),
            }
            if !registered {
                registered = true;
                if let Poll::Ready(alive) = changed.as_mut().poll(cx) {
                    return Poll::Ready(!alive);
                }
            }
            // The answer's errors are in the books already; the rest is the client's doing.
            if connection.as_mut().poll(cx).is_ready() {
                return Poll::Ready(true);
            }
            sleep.as_mut().poll(cx).map(|()| false)
        });
        if ended.await {
            return;
        }
    }
}
