//! A client's socket, watched while hyper reads it. Two things hyper keeps to itself are noticed here: a head with both
//! Content-Length and Transfer-Encoding (hyper drops the former and serves the request), and since when the connection
//! rests, sends a head, or takes nothing.
//!
//! The watch follows the framing of HTTP/1.1 far enough to tell heads from bodies. It decides nothing about framing:
//! where it and hyper disagree the worst is that a doubly framed request is served as RFC 9112 says, re-framed by us,
//! on a connection that hyper then closes.

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
/// The bytes of a header line that are looked at.
const LINE_BYTES: usize = 64;

/// The kernel's last tick, in milliseconds. Patiences are seconds, and a read of the exact clock for each read and write
/// is dear.
fn coarse_ms() -> u64 {
    let now = rustix::time::clock_gettime(ClockId::MonotonicCoarse);
    now.tv_sec.unsigned_abs() * 1000 + now.tv_nsec.unsigned_abs() / 1_000_000
}

/// What the watch tells: shared by the socket, the service and the connection's watchdog.
pub(crate) struct Signs {
    start_ms: u64,
    /// Requests handed to the service so far.
    served: AtomicU64,
    /// Which head (counted from zero) was the first with two lengths.
    ambiguous: AtomicU64,
    /// Since when a head is incomplete, in milliseconds after `start`.
    head_since: AtomicU64,
    /// Since when a write is blocked.
    write_since: AtomicU64,
    /// Since when no request is in progress.
    rest_since: AtomicU64,
    in_progress: AtomicU64,
    /// HTTP/2: since when each answer in progress has a piece that its client does not take. The socket does not tell,
    /// because a client can close a single stream's window, and take everything else.
    untaken: Option<Mutex<Vec<Arc<AtomicU64>>>>,
}

impl Signs {
    pub(crate) fn new(http2: bool) -> Self {
        Self {
            untaken: http2.then(Mutex::default),
            start_ms: coarse_ms(),
            served: AtomicU64::new(0),
            ambiguous: AtomicU64::new(NEVER),
            head_since: AtomicU64::new(0),
            write_since: AtomicU64::new(NEVER),
            rest_since: AtomicU64::new(0),
            in_progress: AtomicU64::new(0),
        }
    }

    fn now(&self) -> u64 {
        coarse_ms().saturating_sub(self.start_ms)
    }

    /// A request begins; whether its head had two lengths.
    pub(crate) fn begin(self: &Arc<Self>) -> (Busy, bool) {
        self.in_progress.fetch_add(1, Ordering::Relaxed);
        let ambiguous = self.served.fetch_add(1, Ordering::Relaxed) >= self.ambiguous.load(Ordering::Relaxed);
        let untaken = self.untaken.as_ref().map(|all| {
            let one = Arc::new(AtomicU64::new(NEVER));
            lock(all).push(one.clone());
            one
        });
        (Busy { signs: self.clone(), untaken }, ambiguous)
    }

    /// Something passed on the connection: it does not rest.
    fn stir(&self) {
        self.rest_since.store(self.now(), Ordering::Relaxed);
    }

    /// How long until one of the three patiences is over; zero when one is.
    pub(crate) fn patience(&self, head: Duration, rest: Duration, write: Duration) -> Duration {
        let now = Duration::from_millis(self.now());
        let left = |since: &AtomicU64, limit: Duration| match since.load(Ordering::Relaxed) {
            NEVER => limit,
            since => (Duration::from_millis(since) + limit).saturating_sub(now),
        };
        let busy = self.in_progress.load(Ordering::Relaxed) > 0;
        let resting = if busy { rest } else { left(&self.rest_since, rest) };
        let reading = if busy { head } else { left(&self.head_since, head) };
        let untaken = self.untaken.iter().flat_map(|all| lock(all).clone());
        let untaken = untaken.map(|since| left(&since, write)).min().unwrap_or(write);
        resting.min(reading).min(left(&self.write_since, write)).min(untaken)
    }
}

/// A request in progress on a connection, until its answer's body is done with.
pub(crate) struct Busy {
    signs: Arc<Signs>,
    untaken: Option<Arc<AtomicU64>>,
}

impl Busy {
    /// Whether the client has taken the last piece of the answer, or is to be waited for.
    pub(crate) fn taken(&self, taken: bool) {
        if let Some(since) = &self.untaken {
            since.store(if taken { NEVER } else { self.signs.now() }, Ordering::Relaxed);
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        if let (Some(own), Some(all)) = (&self.untaken, &self.signs.untaken) {
            lock(all).retain(|one| !Arc::ptr_eq(one, own));
        }
        if self.signs.in_progress.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.signs.stir();
        }
    }
}

/// A socket with its signs. HTTP/2 has one way to say a length, so there only the writes are watched.
pub(crate) struct Sniffed {
    socket: Socket,
    signs: Arc<Signs>,
    watch: Option<Watch>,
}

impl Sniffed {
    pub(crate) fn new(socket: TcpStream, signs: Arc<Signs>, http1: bool) -> Self {
        if !http1 {
            signs.head_since.store(NEVER, Ordering::Relaxed);
        }
        Self { socket: Socket(socket), signs, watch: http1.then(Watch::default) }
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
            let Self { signs, watch, .. } = &mut *self;
            signs.stir();
            if let Some(watch) = watch {
                watch.read(&buf.filled()[before..], signs);
            }
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

/// Where in a message the stream of bytes is.
#[derive(Clone, Copy)]
enum At {
    Head,
    Body(u64),
    ChunkSize,
    Chunk(u64),
    ChunkEnd,
    Trailers,
}

struct Watch {
    at: At,
    line: Vec<u8>,
    /// Whether a byte of the head has come, if only of the empty lines before it.
    begun: bool,
    /// Whether the head has had its request line.
    started: bool,
    length: Option<u64>,
    chunked: bool,
    heads: u64,
}

impl Default for Watch {
    fn default() -> Self {
        let line = Vec::with_capacity(LINE_BYTES);
        Self { at: At::Head, line, begun: false, started: false, length: None, chunked: false, heads: 0 }
    }
}

impl Watch {
    fn read(&mut self, mut bytes: &[u8], signs: &Signs) {
        while !bytes.is_empty() {
            let used = match self.at {
                At::Body(left) => self.skip(left, bytes.len(), At::Body, At::Head),
                At::Chunk(left) => self.skip(left, bytes.len(), At::Chunk, At::ChunkEnd),
                At::Head | At::ChunkSize | At::ChunkEnd | At::Trailers => self.line(bytes, signs),
            };
            bytes = &bytes[used..];
        }
    }

    fn skip(&mut self, left: u64, there: usize, on: fn(u64) -> At, done: At) -> usize {
        let used = usize::try_from(left).unwrap_or(usize::MAX).min(there);
        let left = left - used as u64;
        self.at = if left == 0 { done } else { on(left) };
        used
    }

    /// Takes bytes up to the end of the line, and the line once it is whole.
    fn line(&mut self, bytes: &[u8], signs: &Signs) -> usize {
        if matches!(self.at, At::Head) && !self.begun {
            self.begun = true;
            signs.head_since.store(signs.now(), Ordering::Relaxed);
        }
        let (used, whole) = match bytes.iter().position(|byte| *byte == b'\n') {
            Some(end) => (end + 1, true),
            None => (bytes.len(), false),
        };
        let room = LINE_BYTES - self.line.len();
        self.line.extend_from_slice(&bytes[..used.min(room)]);
        if whole {
            let line = std::mem::take(&mut self.line);
            self.whole_line(line.trim_ascii(), signs);
            self.line = line;
            self.line.clear();
        }
        used
    }

    fn whole_line(&mut self, line: &[u8], signs: &Signs) {
        match self.at {
            At::Head if line.is_empty() && self.started => self.head_ends(signs),
            At::Head if !self.started => self.started = !line.is_empty(),
            At::Head => self.header(line),
            At::ChunkSize => {
                let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
                let text = std::str::from_utf8(&line[..digits]).unwrap_or("");
                self.at = match u64::from_str_radix(text, 16) {
                    Ok(0) | Err(_) => At::Trailers,
                    Ok(size) => At::Chunk(size),
                };
            }
            At::ChunkEnd => self.at = At::ChunkSize,
            At::Trailers if line.is_empty() => self.at = At::Head,
            At::Trailers | At::Body(_) | At::Chunk(_) => {}
        }
    }

    fn header(&mut self, line: &[u8]) {
        let named = |name: &[u8]| {
            let (given, rest) = line.split_at_checked(name.len())?;
            let value = rest.strip_prefix(b":")?;
            given.eq_ignore_ascii_case(name).then_some(value.trim_ascii())
        };
        if let Some(value) = named(b"content-length") {
            let text = std::str::from_utf8(value).unwrap_or("");
            self.length = Some(text.parse().unwrap_or(0));
        } else if named(b"transfer-encoding").is_some() {
            self.chunked = true;
        }
    }

    fn head_ends(&mut self, signs: &Signs) {
        if self.chunked && self.length.is_some() && signs.ambiguous.load(Ordering::Relaxed) == NEVER {
            signs.ambiguous.store(self.heads, Ordering::Relaxed);
        }
        self.at = match (self.chunked, self.length) {
            (true, _) => At::ChunkSize,
            (false, Some(length)) if length > 0 => At::Body(length),
            (false, Some(_) | None) => At::Head,
        };
        self.heads += 1;
        (self.begun, self.started, self.chunked, self.length) = (false, false, false, None);
        signs.head_since.store(NEVER, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first_ambiguous(stream: &[u8], piece: usize) -> u64 {
        let (signs, mut watch) = (Signs::new(false), Watch::default());
        stream.chunks(piece).for_each(|bytes| watch.read(bytes, &signs));
        signs.ambiguous.load(Ordering::Relaxed)
    }

    #[test]
    fn two_lengths_are_noticed_in_the_right_head_however_the_bytes_arrive() {
        let decoy = "POST / HTTP/1.1\r\nContent-Length: 46\r\n\r\nContent-Length: 1\r\nTransfer-Encoding: x\r\n\r\n123";
        let chunks = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nab\r\n\n\r\n0\r\nContent-Length: 3\r\n\r\n";
        let bad = "\r\nPOST / HTTP/1.1\r\nTRANSFER-ENCODING: chunked\r\nhost: x\r\ncontent-length: 3\r\n\r\n0\r\n\r\n";
        let body = decoy.find("\r\n\r\n").unwrap() + 4;
        assert_eq!(decoy.len() - body, 46);
        let stream = format!("{decoy}{chunks}GET / HTTP/1.1\r\n\r\n{bad}");
        for piece in [1, 2, 7, 4096] {
            assert_eq!(first_ambiguous(stream.as_bytes(), piece), 3, "{piece}");
            assert_eq!(first_ambiguous(format!("{decoy}{chunks}").as_bytes(), piece), NEVER, "{piece}");
        }
    }
}
