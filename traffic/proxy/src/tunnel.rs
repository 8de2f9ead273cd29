//! An upgraded connection: bytes both ways until one side ends, nothing moves for too long, or the gateway stops. A
//! WebSocket has notice before: its client gets a Close frame, and goes in its own order. When that is, `notice` says.
//!
//! Only the client is told. From then on it gets nothing more, because nothing may follow a Close frame; what it still
//! sends goes on to the replica, and so does its answer, the Close frame that ends the conversation there too. To tell the
//! replica first, or both at once, would drop what a client sends before it knows.

use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::notice::Notice;
use crate::plain::Buffer;
use crate::websocket::{self, Frames, Gap};

/// What one direction reads at once, in bytes.
const BUFFER: usize = 16 * 1024;
/// How long a message under way may go on before the notice, as far as it comes in several frames.
const LAST_MESSAGE: Duration = Duration::from_secs(2);
/// How long a client that has notice may send nothing.
const SILENCE: Duration = Duration::from_secs(10);

/// A side's socket, and what goes to it before all else.
type Side<'a> = (&'a mut TcpStream, &'a mut Buffer);

/// What is known of a WebSocket when it begins.
pub(crate) struct WebSocket {
    /// From the replica to the client.
    pub(crate) down: Frames,
    /// From the client to the replica.
    pub(crate) up: Frames,
    pub(crate) notice: Notice,
}

/// Joins both sides once both have changed protocol, until this ends.
pub(crate) async fn join(client: Side<'_>, replica: Side<'_>, idle: Duration, websocket: Option<WebSocket>) {
    let (client_in, client_out) = client.0.split();
    let (replica_in, replica_out) = replica.0.split();
    let (to_replica, to_client) = (std::mem::take(replica.1), std::mem::take(client.1));
    let talk = Talk { clock: Clock::new(), told: Notify::new(), answered: Notify::new() };
    let both = async {
        let clock = &talk.clock;
        match websocket {
            None => {
                let up = pump(to_replica, client_in, replica_out, clock);
                tokio::join!(up, pump(to_client, replica_in, client_out, clock))
            }
            Some(WebSocket { down: frames, up, notice }) => {
                let up = self::up(to_replica, client_in, replica_out, up, &talk);
                tokio::join!(up, down(to_client, replica_in, client_out, frames, notice, &talk))
            }
        }
    };
    let silent = async {
        talk.told.notified().await;
        talk.clock.idle(idle.min(SILENCE)).await;
    };
    tokio::select! {
        _ = both => {}
        () = talk.clock.idle(idle) => {}
        () = silent => {}
    }
}

/// How far a conversation is.
struct Talk {
    clock: Clock,
    /// The client has notice.
    told: Notify,
    /// The client has said goodbye, and the replica has been told.
    answered: Notify,
}

/// When something last moved; once a client has notice, when it last sent something.
struct Clock {
    start: Instant,
    moved_ms: AtomicU64,
}

impl Clock {
    fn new() -> Self {
        Self { start: Instant::now(), moved_ms: AtomicU64::new(0) }
    }

    fn moved(&self) {
        let ms = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.moved_ms.store(ms, Ordering::Relaxed);
    }

    /// Resolves when nothing has moved for `patience`.
    async fn idle(&self, patience: Duration) {
        loop {
            let deadline =
                self.start + Duration::from_millis(self.moved_ms.load(Ordering::Relaxed)) + patience;
            if Instant::now() >= deadline {
                return;
            }
            tokio::time::sleep_until(deadline).await;
        }
    }
}

/// One direction. Its end is passed on, and the other direction goes on; a broken side ends its own direction only.
async fn pump(
    first: Buffer,
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    clock: &Clock,
) {
    let begun = to.write_all(first.bytes()).await.is_ok();
    drop(first);
    let mut buffer = vec![0; BUFFER];
    while begun && let Ok(size) = from.read(&mut buffer).await {
        clock.moved();
        if size == 0 || to.write_all(&buffer[..size]).await.is_err() {
            break;
        }
        clock.moved();
    }
    // The peer may be gone already, which is what we want.
    let _ = to.shutdown().await;
}

/// A WebSocket's way to the replica: all that the client sends, up to its own goodbye and beyond.
async fn up(
    first: Buffer,
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut frames: Frames,
    talk: &Talk,
) {
    let begun = to.write_all(first.bytes()).await.is_ok();
    drop(first);
    let mut buffer = vec![0; BUFFER];
    while begun && let Ok(size) = from.read(&mut buffer).await {
        talk.clock.moved();
        if size == 0 || to.write_all(&buffer[..size]).await.is_err() {
            break;
        }
        frames.pass(&buffer[..size]);
        if frames.is_closed() {
            talk.answered.notify_one();
        }
    }
    let _ = to.shutdown().await;
}

/// A WebSocket's way to the client: all that the replica sends until there is notice, and a gap to put it in.
async fn down(
    first: Buffer,
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut frames: Frames,
    notice: Notice,
    talk: &Talk,
) {
    if to.write_all(first.bytes()).await.is_err() {
        return;
    }
    drop(first);
    let mut buffer = vec![0; BUFFER];
    let (mut notice, mut hurry) = (pin!(notice.given()), pin!(sleep(LAST_MESSAGE)));
    // The gap that is looked for, once there is notice.
    let mut wanted = None;
    loop {
        if wanted.is_some_and(|wanted| frames.gap() >= wanted && !frames.is_closed()) {
            leave(&mut from, &mut to, &mut buffer, talk).await;
            break;
        }
        tokio::select! {
            biased;
            () = &mut notice, if wanted.is_none() => {
                wanted = Some(Gap::Messages);
                hurry.as_mut().reset(Instant::now() + LAST_MESSAGE);
            }
            () = &mut hurry, if wanted == Some(Gap::Messages) => wanted = Some(Gap::Frames),
            read = from.read(&mut buffer) => {
                let size = read.unwrap_or(0);
                talk.clock.moved();
                let upto = match wanted {
                    Some(gap) => frames.pass_to(gap, &buffer[..size]),
                    None => {
                        frames.pass(&buffer[..size]);
                        size
                    }
                };
                if size == 0 || to.write_all(&buffer[..upto]).await.is_err() {
                    break;
                }
                talk.clock.moved();
            }
        }
    }
    let _ = to.shutdown().await;
}

/// Tells the client to go, and waits until it has said goodbye or the replica is gone. What the replica still sends is read,
/// so that it is not held up, and ends here.
async fn leave(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    buffer: &mut [u8],
    talk: &Talk,
) {
    if to.write_all(&websocket::going_away()).await.is_err() {
        return;
    }
    talk.clock.moved();
    talk.told.notify_one();
    tokio::select! {
        () = talk.answered.notified() => {}
        () = drain(from, buffer) => {}
    }
    // The server is the first to close (RFC 6455, 7.1.1).
    let _ = to.shutdown().await;
    drain(from, buffer).await;
}

async fn drain(from: &mut (impl AsyncRead + Unpin), buffer: &mut [u8]) {
    while matches!(from.read(buffer).await, Ok(1..)) {}
}
