//! A connection to the destination, opened for either protocol. Does not live here: what is said on it.

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::{http1, http2};
use hyper::rt::{Read, Write};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use model::otlp::Protocol;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;

use crate::destination::{Address, Destination};

/// An open connection; it ends when this is dropped.
pub(crate) struct Connection {
    sender: Sender,
    task: AbortHandle,
}

enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Connection {
    pub(crate) async fn open(destination: &Destination, address: &Address) -> Result<Self, String> {
        let stream = TcpStream::connect((address.host.as_str(), address.port))
            .await
            .map_err(|error| format!("cannot connect: {}", plain(&error.to_string())))?;
        // Best effort: without it a request is late, not wrong.
        let _ = stream.set_nodelay(true);
        if !address.is_secure {
            return Self::shake(destination.protocol, TokioIo::new(stream)).await;
        }
        let inside = match destination.protocol {
            Protocol::Http => "http/1.1",
            Protocol::Grpc => "h2",
        };
        let stream = tls::wrap(stream, &address.host, destination.ca_file.as_deref(), &[inside]).await?;
        Self::shake(destination.protocol, TokioIo::new(stream)).await
    }

    async fn shake<S: Read + Write + Unpin + Send + 'static>(
        protocol: Protocol,
        io: S,
    ) -> Result<Self, String> {
        let broken = |error: hyper::Error| format!("the connection broke: {error}");
        match protocol {
            Protocol::Http => {
                let (sender, connection) = http1::handshake(io).await.map_err(broken)?;
                let task = tokio::spawn(async move { _ = connection.await }).abort_handle();
                Ok(Self { sender: Sender::Http1(sender), task })
            }
            Protocol::Grpc => {
                let mut builder = http2::Builder::new(TokioExecutor::new());
                builder.timer(TokioTimer::new());
                let (sender, connection) = builder.handshake(io).await.map_err(broken)?;
                let task = tokio::spawn(async move { _ = connection.await }).abort_handle();
                Ok(Self { sender: Sender::Http2(sender), task })
            }
        }
    }

    pub(crate) async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, String> {
        let broken = |error: hyper::Error| format!("the connection broke: {error}");
        match &mut self.sender {
            Sender::Http1(sender) => {
                sender.ready().await.map_err(broken)?;
                sender.send_request(request).await.map_err(broken)
            }
            Sender::Http2(sender) => {
                sender.ready().await.map_err(broken)?;
                sender.send_request(request).await.map_err(broken)
            }
        }
    }
}

/// Without "(os error N)", which says nothing to people.
fn plain(error: &str) -> String {
    error.split(" (os error").next().unwrap_or(error).to_lowercase()
}
