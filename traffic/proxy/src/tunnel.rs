//! An upgraded connection: bytes both ways until one side ends, nothing moves for too long, or the gateway stops.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::plain::Buffer;

/// What one direction reads at once, in bytes.
const BUFFER: usize = 16 * 1024;

/// A side's socket, and what goes to it before all else.
type Side<'a> = (&'a mut TcpStream, &'a mut Buffer);

/// Joins both sides once both have changed protocol, until this ends.
pub(crate) async fn join(client: Side<'_>, replica: Side<'_>, idle: Duration) {
    let (client_in, client_out) = client.0.split();
    let (replica_in, replica_out) = replica.0.split();
    let clock = Clock { start: Instant::now(), moved_ms: AtomicU64::new(0) };
    let up = pump(std::mem::take(replica.1), client_in, replica_out, &clock);
    let down = pump(std::mem::take(client.1), replica_in, client_out, &clock);
    tokio::select! {
        _ = async { tokio::join!(up, down) } => {}
        () = clock.idle(idle) => {}
    }
}

struct Clock {
    start: Instant,
    moved_ms: AtomicU64,
}

impl Clock {
    fn moved(&self) {
        let ms = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.moved_ms.store(ms, Ordering::Relaxed);
    }

    /// Resolves when nothing has moved for `patience` in either direction.
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
