//! Somebody who takes OTLP, over HTTP and by gRPC, and answers as it is told to. It decodes with the protocol's own messages.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::header::{HeaderMap, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use tokio::net::TcpListener;

/// What it does with one request.
#[derive(Debug, Clone)]
pub(crate) enum Say {
    /// HTTP: this status, with a `retry-after` and a body.
    Http(u16, Option<&'static str>, Vec<u8>),
    /// gRPC: this status, with details.
    Grpc(u32, Option<String>),
    /// gRPC: a success with this message.
    Partial(Vec<u8>),
    /// Never answers.
    Nothing,
}

/// One that was asked.
#[derive(Debug, Clone)]
pub(crate) struct Got {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) spans: Vec<String>,
}

#[derive(Clone, Default)]
pub(crate) struct Receiver {
    says: Arc<Mutex<VecDeque<Say>>>,
    got: Arc<Mutex<Vec<Got>>>,
    connections: Arc<Mutex<usize>>,
}

impl Receiver {
    /// Answers with these, in order, and takes everything from then on.
    pub(crate) async fn start(says: impl IntoIterator<Item = Say>, grpc: bool) -> (Self, SocketAddr) {
        let receiver = Self { says: Arc::new(Mutex::new(says.into_iter().collect())), ..Self::default() };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, taker) = (listener.local_addr().unwrap(), receiver.clone());
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                *taker.connections.lock().unwrap() += 1;
                let taker = taker.clone();
                tokio::spawn(async move { taker.serve(stream, grpc).await });
            }
        });
        (receiver, address)
    }

    pub(crate) async fn serve<S>(self, stream: S, grpc: bool)
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let service = service_fn(move |request| {
            let taker = self.clone();
            async move { Ok::<_, std::convert::Infallible>(taker.answer(request, grpc).await) }
        });
        let io = TokioIo::new(stream);
        // A client that goes away is no concern of ours.
        if grpc {
            let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            let _ = builder.serve_connection(io, service).await;
        } else {
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(io, service).await;
        }
    }

    async fn answer(&self, request: Request<Incoming>, grpc: bool) -> Response<Reply> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let message = if grpc {
            let length = u32::from_be_bytes(body[1..5].try_into().unwrap()) as usize;
            assert_eq!((body[0], length), (0, body.len() - 5));
            body.slice(5..)
        } else {
            body
        };
        let decoded = ExportTraceServiceRequest::decode(message).unwrap();
        let scopes = decoded.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
        let spans = scopes.flat_map(|scope| scope.spans).map(|span| span.name).collect();
        let got = Got { path: parts.uri.path().to_owned(), headers: parts.headers, spans };
        self.got.lock().unwrap().push(got);
        let said = self.says.lock().unwrap().pop_front();
        match said {
            None if grpc => reply(200, framed(&[]), Some((0, None))),
            None => reply(200, Bytes::new(), None),
            Some(Say::Partial(message)) if grpc => reply(200, framed(&message), Some((0, None))),
            Some(Say::Partial(message)) => reply(200, message.into(), None),
            Some(Say::Grpc(code, details)) => reply(200, Bytes::new(), Some((code, details))),
            Some(Say::Http(status, after, body)) => {
                let mut response = reply(status, body.into(), None);
                if let Some(after) = after {
                    response.headers_mut().insert("retry-after", HeaderValue::from_static(after));
                }
                response
            }
            Some(Say::Nothing) => std::future::pending().await,
        }
    }

    pub(crate) fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }

    pub(crate) fn connections(&self) -> usize {
        *self.connections.lock().unwrap()
    }

    /// Waits until it was asked so often.
    pub(crate) async fn until(&self, count: usize) -> Vec<Got> {
        let asked = async {
            while self.got().len() < count {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), asked).await.unwrap();
        self.got()
    }
}

fn framed(message: &[u8]) -> Bytes {
    let mut framed = vec![0];
    framed.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
    framed.extend_from_slice(message);
    framed.into()
}

fn reply(status: u16, body: Bytes, grpc: Option<(u32, Option<String>)>) -> Response<Reply> {
    let trailers = grpc.map(|(code, details)| {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", code.into());
        trailers.insert("grpc-message", HeaderValue::from_static("not%20now"));
        if let Some(details) = details {
            trailers.insert("grpc-status-details-bin", HeaderValue::try_from(details).unwrap());
        }
        trailers
    });
    let mut response = Response::new(Reply { body: Some(body).filter(|body| !body.is_empty()), trailers });
    *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap();
    response
}

/// A body, and trailers.
pub(crate) struct Reply {
    body: Option<Bytes>,
    trailers: Option<HeaderMap>,
}

impl Body for Reply {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let data = self.body.take().map(Frame::data);
        Poll::Ready(data.or_else(|| self.trailers.take().map(Frame::trailers)).map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_none() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.body, &self.trailers) {
            (body, None) => SizeHint::with_exact(body.as_ref().map_or(0, |body| body.len() as u64)),
            (_, Some(_)) => SizeHint::default(),
        }
    }
}
