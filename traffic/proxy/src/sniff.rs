//! The socket of an HTTP/2 client, watched while hyper uses it: since when the connection rests, or takes nothing.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::time::ClockId;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::replica::lock;
use crate::socket::Socket;

const NEVER: u64 = u64::MAX;

/// The kernel's last tick, in milliseconds. Patiences are seconds, and a read of the exact clock for each read and write
/// is dear.
fn coarse_ms() -> u64 {
    let now = rustix::time::clock_gettime(ClockId::MonotonicCoarse);
    now.tv_sec.unsigned_abs() * 1000 + now.tv_nsec.unsigned_abs() / 1_000_000
}

/// What the watch tells: shared by the socket, the service and the connection's watchdog.
pub(crate) struct Signs {
    start_ms: u64,
    /// Since when a write is blocked, in milliseconds after `start`.
    write_since: AtomicU64,
    /// Since when no request is in progress.
    rest_since: AtomicU64,
    in_progress: AtomicU64,
    /// Since when each answer in progress has a piece that its client does not take. The socket does not tell, because a
    /// client can close a single stream's window, and take everything else.
    untaken: Mutex<Vec<Arc<AtomicU64>>>,
}

impl Signs {
    pub(crate) fn new() -> Self {
        Self {
            start_ms: coarse_ms(),
            write_since: AtomicU64::new(NEVER),
            rest_since: AtomicU64::new(0),
            in_progress: AtomicU64::new(0),
            untaken: Mutex::default(),
        }
    }

    fn now(&self) -> u64 {
        coarse_ms().saturating_sub(self.start_ms)
    }

    /// A request begins.
    pub(crate) fn begin(self: &Arc<Self>) -> Busy {
        self.in_progress.fetch_add(1, Ordering::Relaxed);
        let untaken = Arc::new(AtomicU64::new(NEVER));
        lock(&self.untaken).push(untaken.clone());
        Busy { signs: self.clone(), untaken }
    }

    /// Something passed on the connection: it does not rest.
    fn stir(&self) {
        self.rest_since.store(self.now(), Ordering::Relaxed);
    }

    /// How long until one of the patiences is over; zero when one is.
    pub(crate) fn patience(&self, rest: Duration, write: Duration) -> Duration {
        let now = Duration::from_millis(self.now());
        let left = |since: &AtomicU64, limit: Duration| match since.load(Ordering::Relaxed) {
            NEVER => limit,
            since => (Duration::from_millis(since) + limit).saturating_sub(now),
        };
        let busy = self.in_progress.load(Ordering::Relaxed) > 0;
        let resting = if busy { rest } else { left(&self.rest_since, rest) };
        let untaken = lock(&self.untaken).iter().map(|since| left(since, write)).min().unwrap_or(write);
        resting.min(left(&self.write_since, write)).min(untaken)
    }
}

/// A request in progress on a connection, until its answer's body is done with.
pub(crate) struct Busy {
    signs: Arc<Signs>,
    untaken: Arc<AtomicU64>,
}

impl Busy {
    /// Whether the client has taken the last piece of the answer, or is to be waited for.
    pub(crate) fn taken(&self, taken: bool) {
        self.untaken.store(if taken { NEVER } else { self.signs.now() }, Ordering::Relaxed);
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        lock(&self.signs.untaken).retain(|one| !Arc::ptr_eq(one, &self.untaken));
        if self.signs.in_progress.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.signs.stir();
        }
    }
}

/// A socket with its signs.
pub(crate) struct Sniffed {
    socket: Socket,
    signs: Arc<Signs>,
}

impl Sniffed {
    pub(crate) fn new(socket: TcpStream, signs: Arc<Signs>) -> Self {
        Self { socket: Socket(socket), signs }
    }
}

impl AsyncRead for Sniffed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.socket).poll_read(cx, buf);
        if polled.is_ready() && buf.filled().len() > before {
            self.signs.stir();
        }
        polled
    }
}

impl Sniffed {
    fn wrote<T>(&self, polled: Poll<T>) -> Poll<T> {
        if polled.is_ready() {
            self.signs.write_since.store(NEVER, Ordering::Relaxed);
            self.signs.stir();
        } else if self.signs.write_since.load(Ordering::Relaxed) == NEVER {
            self.signs.write_since.store(self.signs.now(), Ordering::Relaxed);
        }
        polled
    }
}

impl AsyncWrite for Sniffed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.socket).poll_write(cx, buf);
        self.wrote(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.socket).poll_write_vectored(cx, bufs);
        self.wrote(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
