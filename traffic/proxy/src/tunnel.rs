//! An upgraded connection: bytes both ways until one side ends, nothing moves for too long, or the gateway stops.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;

use crate::replica::InFlight;
use crate::worker::Open;

/// What one direction reads at once, in bytes.
const BUFFER: usize = 16 * 1024;

/// Joins both sides once both have changed protocol. The replica's request is in flight, and the gateway has a
/// connection open, until this ends.
pub(crate) async fn join(
    client: OnUpgrade,
    replica: OnUpgrade,
    idle: Duration,
    in_flight: Arc<InFlight>,
    open: Open,
) {
    let both = async { tokio::try_join!(client, replica) };
    if let Ok(Ok((client, replica))) = tokio::time::timeout(idle, both).await {
        let (client_in, client_out) = tokio::io::split(TokioIo::new(client));
        let (replica_in, replica_out) = tokio::io::split(TokioIo::new(replica));
        let clock = Clock { start: Instant::now(), moved_ms: AtomicU64::new(0) };
        let up = pump(client_in, replica_out, &clock);
        let down = pump(replica_in, client_out, &clock);
        tokio::select! {
            _ = async { tokio::join!(up, down) } => {}
            () = clock.idle(idle) => {}
        }
    }
    drop((in_flight, open));
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
async fn pump(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, clock: &Clock) {
    let mut buffer = vec![0; BUFFER];
    while let Ok(size) = from.read(&mut buffer).await {
        clock.moved();
        if size == 0 || to.write_all(&buffer[..size]).await.is_err() || to.flush().await.is_err() {
            break;
        }
        clock.moved();
    }
    // The peer may be gone already, which is what we want.
    let _ = to.shutdown().await;
}
