//! Accepting connections, so many at a time and no more, and giving up on those that take nothing. Does not live here:
//! what is said on them.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream, unix};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

use crate::door::Door;
use crate::socket::Socket;

/// How many connections may be open, for each way in; more wait until one closes.
pub(crate) const MOST_CONNECTIONS: usize = 256;
/// How long to wait when the system has no room for another connection.
const FULL: Duration = Duration::from_millis(100);
/// How long nothing more is said of that.
const SAID: Duration = Duration::from_secs(60);
/// How long a connection may take nothing of what is sent on it: longer than a slow reader of events is waited for.
const STALLED: Duration = Duration::from_secs(60);

/// A connection and its place among [`MOST_CONNECTIONS`].
#[derive(Debug)]
pub struct Connection<S> {
    stream: S,
    /// Runs while the other side takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
    _place: Option<OwnedSemaphorePermit>,
}

impl<S> Connection<S> {
    fn new(stream: S, place: Option<OwnedSemaphorePermit>) -> Self {
        Self { stream, stalled: None, _place: place }
    }
}

impl Connection<UnixStream> {
    /// The user at the other end.
    pub(crate) fn uid(&self) -> Option<u32> {
        self.stream.peer_cred().ok().map(|peer| peer.uid())
    }
}

impl axum::serve::Listener for Socket {
    type Io = Connection<UnixStream>;
    type Addr = unix::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        next(&self.places, || self.listener.accept()).await
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

impl axum::serve::Listener for Door {
    type Io = Connection<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        next(&self.places, || self.listener.accept()).await
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// The next connection, once there is a place for it.
async fn next<S, A, F: Future<Output = io::Result<(S, A)>>>(
    places: &Arc<Semaphore>,
    accept: impl Fn() -> F,
) -> (Connection<S>, A) {
    // Never closed, so there is always a place in the end.
    let place = places.clone().acquire_owned().await.ok();
    let mut said: Option<Instant> = None;
    loop {
        match accept().await {
            Ok((stream, address)) => return (Connection::new(stream, place), address),
            Err(error) => {
                if said.is_none_or(|said| said.elapsed() >= SAID) {
                    said = Some(Instant::now());
                    tracing::warn!(%error, "control cannot accept a connection");
                }
                tokio::time::sleep(FULL).await;
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Connection<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Connection<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(written) = Pin::new(&mut self.stream).poll_write(context, bytes) {
            self.stalled = None;
            return Poll::Ready(written);
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(STALLED)));
        stalled.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_takes_nothing_is_given_up() {
        let (mut reader, writer) = tokio::io::duplex(8);
        let mut connection = Connection::new(writer, None);
        connection.write_all(b"12345678").await.unwrap();
        assert_eq!(connection.write_all(b"9").await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        let mut taken = [0; 8];
        reader.read_exact(&mut taken).await.unwrap();
        connection.write_all(b"9").await.unwrap();
    }
}
