//! Plain HTTP/1.1: a client's connection from its first head to its end, without HTTP/2's and hyper's generality. A
//! connection that rests holds a socket, a timer and the little that is kept of its last heads; buffers go from hand to
//! hand (`buffer`). Heads are read strictly and written anew (`request`, `response`), bodies framed anew (`flow`,
//! `chunked`). Who serves a request, and what is booked, is decided where HTTP/2 has it decided too (`tries`, `record`).

mod answer;
mod buffer;
mod chunked;
mod clock;
mod edge;
mod exchange;
mod fields;
mod flow;
mod request;
mod response;

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::error::Code;
pub(crate) use crate::plain::buffer::Buffer;
use crate::plain::clock::{Alarm, Bell};
use crate::plain::edge::Edge;
use crate::plain::request::{Body, Head};
use crate::worker::{Phase, Worker};

/// How long a client may still send what nobody reads, so that it gets to read the answer before the connection breaks.
const LINGER: Duration = Duration::from_secs(1);

/// A client's connection.
struct Connection {
    worker: Arc<Worker>,
    socket: TcpStream,
    /// What the client has sent and nobody has read yet.
    inbox: Buffer,
    head: Head,
    edge: Edge,
    /// The head of the answer, as it goes to the client.
    reply: Vec<u8>,
    alarm: Alarm,
    bell: Bell,
    /// How far behind the client is with taking its answers.
    behind: Duration,
}

/// What becomes of a connection after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Keep,
    Close,
    /// Close, but the client may be sending still.
    Linger,
}

/// What a wait for a head came to.
enum Came {
    Bytes,
    Draining,
    /// The client is gone, or its patience used up.
    Nothing,
}

/// Serves a client's connection until it ends.
pub(crate) async fn serve(
    worker: Arc<Worker>,
    socket: TcpStream,
    client: SocketAddr,
    phase: watch::Receiver<Phase>,
) {
    let mut connection = Connection {
        worker,
        socket,
        inbox: Buffer::default(),
        head: Head::default(),
        edge: Edge::new(client.ip()),
        reply: Vec::new(),
        alarm: Alarm::default(),
        bell: Bell::new(phase),
        behind: Duration::ZERO,
    };
    let mut first = true;
    loop {
        let next = match connection.next_head(first).await {
            Ok(true) => connection.exchange().await,
            Ok(false) => Next::Close,
            Err(code) => connection.refuse_head(code).await,
        };
        first = false;
        match next {
            Next::Keep => {}
            Next::Close => return,
            Next::Linger => return connection.linger().await,
        }
    }
}

impl Connection {
    /// Whether the next answer is the connection's last. A connection that goes because of a successor goes with an answer,
    /// never while it rests: a request may be on its way.
    fn is_leaving(&mut self) -> bool {
        self.bell.rings() || self.worker.yielding.load(Ordering::Acquire)
    }

    /// Waits for a head; false when none will come.
    async fn next_head(&mut self, first: bool) -> Result<bool, Code> {
        let worker = self.worker.clone();
        let limits = &worker.limits;
        let rests_since = Instant::now();
        let mut begun = first.then_some(rests_since);
        let mut read = !self.inbox.is_empty();
        loop {
            if read && let Some(size) = self.head.read(self.inbox.bytes(), limits, &mut self.edge)? {
                self.inbox.consume(size);
                return Ok(true);
            }
            if !self.inbox.is_empty() {
                begun = begun.or_else(|| Some(Instant::now()));
                self.inbox.settle();
            }
            let deadline = match begun {
                Some(begun) => begun + limits.header_read,
                None => rests_since + limits.keep_alive,
            };
            let known = self.inbox.len();
            let (inbox, bell, alarm) = (&mut self.inbox, &mut self.bell, &mut self.alarm);
            let socket = &mut self.socket;
            let came = poll_fn(|cx| {
                match inbox.poll_fill(cx, socket) {
                    Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Came::Nothing),
                    Poll::Ready(Ok(_)) => return Poll::Ready(Came::Bytes),
                    Poll::Pending => {}
                }
                if inbox.is_empty() && bell.poll(cx).is_ready() {
                    return Poll::Ready(Came::Draining);
                }
                alarm.poll(cx, deadline).map(|()| Came::Nothing)
            });
            match came.await {
                Came::Bytes => {}
                Came::Draining if self.has_more().await => {}
                Came::Draining | Came::Nothing => return Ok(false),
            }
            // Without a line's end among them, no bytes can complete a head.
            read = self.inbox.bytes()[known..].contains(&b'\n') || self.inbox.len() >= limits.header_bytes;
        }
    }

    /// Whether a request has arrived that nobody has told us of yet.
    async fn has_more(&mut self) -> bool {
        // The event loop asks the system before it runs this again.
        tokio::task::yield_now().await;
        let (inbox, socket) = (&mut self.inbox, &mut self.socket);
        poll_fn(|cx| Poll::Ready(matches!(inbox.poll_fill(cx, socket), Poll::Ready(Ok(1..))))).await
    }

    /// Answers what is no request.
    async fn refuse_head(&mut self, code: Code) -> Next {
        if self.head.id.is_empty() {
            self.head.make_id();
        }
        // Whoever sends what is no request may not agree with us on where the next one starts.
        let trusted = code == Code::DotSegments && self.head.body == Body::None;
        if trusted {
            self.inbox.consume(self.head.size);
        }
        self.refuse(code, !trusted).await
    }

    /// Answers with an error of the gateway's own. `leftover`: the request had a body that nobody will read, so that the
    /// connection cannot go on.
    async fn refuse(&mut self, code: Code, leftover: bool) -> Next {
        self.worker.counts.error(code);
        let close = leftover || !self.head.keep || self.is_leaving();
        response::refusal(code, &self.head.id, close, !self.head.head_only, &mut self.reply);
        let text = std::mem::take(&mut self.reply);
        let wrote = self.write(&text).await;
        self.reply = text;
        match (wrote, close) {
            (false, _) => Next::Close,
            (true, true) => Next::Linger,
            (true, false) => Next::Keep,
        }
    }

    /// Writes to the client; false when it took nothing for too long, or is gone.
    async fn write(&mut self, text: &[u8]) -> bool {
        let mut rest = Buffer::default();
        rest.push(text);
        let patience = self.worker.limits.client_write;
        let mut deadline = Instant::now() + patience;
        let (socket, alarm) = (&mut self.socket, &mut self.alarm);
        poll_fn(|cx| {
            while !rest.is_empty() {
                match rest.poll_drain(cx, socket, usize::MAX) {
                    Poll::Ready(Ok(_)) => deadline = Instant::now() + patience,
                    Poll::Ready(Err(_)) => return Poll::Ready(false),
                    Poll::Pending => return alarm.poll(cx, deadline).map(|()| false),
                }
            }
            Poll::Ready(true)
        })
        .await
    }

    /// Ends the connection so that the client gets to read the last answer: closing it with bytes unread resets it.
    async fn linger(mut self) {
        self.inbox.clear();
        if self.socket.shutdown().await.is_err() {
            return;
        }
        let deadline = Instant::now() + LINGER;
        let Self { inbox, socket, alarm, .. } = &mut self;
        poll_fn(|cx| {
            loop {
                match inbox.poll_fill(cx, socket) {
                    Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(()),
                    Poll::Ready(Ok(_)) => inbox.clear(),
                    Poll::Pending => return alarm.poll(cx, deadline),
                }
                // A client that never stops sending is never waited for, so the clock has to be looked at.
                if Instant::now() >= deadline {
                    return Poll::Ready(());
                }
            }
        })
        .await;
    }
}
