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

use crate::pace;
use crate::replica::lock;
use crate::socket::Socket;

const NEVER: u64 = u64::MAX;

/// The kernel's last tick, in milliseconds. Patiences are seconds, and a read of the exact clock for each read and write
/// is dear.
fn coarse_ms() -> u64 {
    let now = rustix::time::clock_gettime(ClockId::MonotonicCoarse);
    now.tv_sec.unsigned_abs() * 1000 + now.tv_nsec.unsigned_abs() / 1_000_000
}

/// A client that is waited for, again and again; times in milliseconds.
struct Wait {
    /// Since when it is: earlier by what it was behind already.
    since: AtomicU64,
    /// How far behind it was when it was last waited for.
    behind: AtomicU64,
}

impl Wait {
    fn new() -> Self {
        Self { since: AtomicU64::new(NEVER), behind: AtomicU64::new(0) }
    }

    fn begins(&self, now: u64) {
        if self.since.load(Ordering::Relaxed) == NEVER {
            self.since.store(now.saturating_sub(self.behind.load(Ordering::Relaxed)), Ordering::Relaxed);
        }
    }

    /// It moved so many bytes, of which it owes `rate` a second.
    fn ends(&self, now: u64, bytes: u64, rate: u64) {
        let since = self.since.load(Ordering::Relaxed);
        if since != NEVER {
            let late = Duration::from_millis(now.saturating_sub(since));
            let behind = u64::try_from(pace::behind(late, bytes, rate).as_millis()).unwrap_or(u64::MAX);
            self.behind.store(behind, Ordering::Relaxed);
            self.since.store(NEVER, Ordering::Relaxed);
        }
    }

    /// How long until it is `limit` behind.
    fn left(&self, now: u64, limit: Duration) -> Duration {
        match self.since.load(Ordering::Relaxed) {
            NEVER => limit,
            since => limit.saturating_sub(Duration::from_millis(now.saturating_sub(since))),
        }
    }
}

/// What the watch tells: shared by the socket, the service and the connection's watchdog.
pub(crate) struct Signs {
    start_ms: u64,
    /// What the client owes when it is waited for, in bytes a second.
    rate: u64,
    /// The client takes no more of what is written.
    writing: Wait,
    /// Since when no request is in progress.
    rest_since: AtomicU64,
    in_progress: AtomicU64,
    /// The client does not take the last piece of an answer, for each in progress. The socket does not tell, because a
    /// client can close a single stream's window, and take everything else.
    untaken: Mutex<Vec<Arc<Wait>>>,
}

impl Signs {
    pub(crate) fn new(rate: u64) -> Self {
        Self {
            start_ms: coarse_ms(),
            rate,
            writing: Wait::new(),
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
        let untaken = Arc::new(Wait::new());
        lock(&self.untaken).push(untaken.clone());
        Busy { signs: self.clone(), untaken, given: 0 }
    }

    /// Something passed on the connection: it does not rest.
    fn stir(&self) {
        self.rest_since.store(self.now(), Ordering::Relaxed);
    }

    /// How long until one of the patiences is over; zero when one is.
    pub(crate) fn patience(&self, rest: Duration, write: Duration) -> Duration {
        let now = self.now();
        let rested = Duration::from_millis(now.saturating_sub(self.rest_since.load(Ordering::Relaxed)));
        let busy = self.in_progress.load(Ordering::Relaxed) > 0;
        let resting = if busy { rest } else { rest.saturating_sub(rested) };
        let untaken = lock(&self.untaken).iter().map(|wait| wait.left(now, write)).min().unwrap_or(write);
        resting.min(self.writing.left(now, write)).min(untaken)
    }
}

/// A request in progress on a connection, until its answer's body is done with.
pub(crate) struct Busy {
    signs: Arc<Signs>,
    untaken: Arc<Wait>,
    /// The size of the last piece of the answer, in bytes.
    given: u64,
}

impl Busy {
    /// The client has a piece to take.
    pub(crate) fn gave(&mut self, bytes: u64) {
        self.given = bytes;
        self.untaken.begins(self.signs.now());
    }

    /// It has taken it, and wants the next.
    pub(crate) fn took(&mut self) {
        self.untaken.ends(self.signs.now(), self.given, self.signs.rate);
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
    fn wrote(&self, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let now = self.signs.now();
        if let Poll::Ready(wrote) = &polled {
            let bytes = wrote.as_ref().map_or(0, |bytes| *bytes as u64);
            self.signs.writing.ends(now, bytes, self.signs.rate);
            self.signs.rest_since.store(now, Ordering::Relaxed);
        } else {
            self.signs.writing.begins(now);
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
