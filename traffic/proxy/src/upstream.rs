//! One attempt to have a replica answer: find or open a connection, send, wait for the head. Whether to try again is
//! not decided here.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::{HeaderValue, Request, Response, header};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use crate::body::{Phase, Progress, RequestBody};
use crate::config::Limits;
use crate::error::Code;
use crate::head;
use crate::live::Claim;
use crate::socket::Socket;
use crate::worker::{HYPERS_HEADERS, Worker};

/// How an attempt ended.
pub(crate) enum Attempt {
    /// The head of an answer came; the connection is in use until its body is complete.
    Answered(Box<Response<Incoming>>, Line),
    /// No byte of the request has left: any replica may have it.
    Unsent(Box<Request<RequestBody>>, Code),
    /// A pooled connection turned out closed before anything came back; the request has no body and may be sent twice.
    Stale(Box<Request<RequestBody>>),
    /// The request was sent, and is lost.
    Lost(Code),
}

/// A connection to a replica. Its timer stays where it is from one request to the next, and is moved only when it rings
/// too early: nearly all requests are answered long before, and moving a timer twice for each is dear.
pub(crate) struct Line {
    sender: SendRequest<RequestBody>,
    timer: Option<Pin<Box<Sleep>>>,
    /// The task that holds the socket. It ends with this: left alone it would go on writing a body to a replica that
    /// takes nothing, and that request would be in flight for ever.
    task: AbortHandle,
}

impl Drop for Line {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Line {
    pub(crate) fn is_ready(&self) -> bool {
        self.sender.is_ready()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// The answer's head, or `None` when it did not come in time.
    async fn ask(&mut self, request: Request<RequestBody>, patience: Duration) -> Option<Sent> {
        let deadline = Instant::now() + patience;
        let mut sent = pin!(self.sender.try_send_request(request));
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if timer.deadline() > deadline {
            timer.as_mut().reset(deadline);
        }
        poll_fn(|cx| {
            if let Poll::Ready(answered) = sent.as_mut().poll(cx) {
                return Poll::Ready(Some(answered));
            }
            while timer.as_mut().poll(cx).is_ready() {
                if Instant::now() >= deadline {
                    return Poll::Ready(None);
                }
                timer.as_mut().reset(deadline);
            }
            Poll::Pending
        })
        .await
    }
}

type Sent = Result<Response<Incoming>, TrySendError<Request<RequestBody>>>;

pub(crate) async fn attempt(
    worker: &Worker,
    claim: &Claim,
    mut request: Request<RequestBody>,
    fresh: bool,
) -> Attempt {
    let route = claim.route();
    request.body_mut().hold(&claim.in_flight, route.limits.body_bytes);
    let replayable = request.body().is_empty() && head::is_idempotent(request.method().as_str());
    let rest = if replayable { worker.limits.pool_idle } else { worker.limits.pool_fresh };
    let pooled = if fresh { None } else { claim.replica().lines.take(worker.index, rest) };
    let again = (pooled.is_some() && replayable).then(|| Box::new(copy(&request)));
    let mut line = match pooled {
        Some(line) => line,
        None => match timeout(route.timeouts.connect, Box::pin(connect(claim, &worker.limits))).await {
            Ok(Ok(line)) => line,
            Ok(Err(code)) => return Attempt::Unsent(Box::new(request), code),
            Err(_) => return Attempt::Unsent(Box::new(request), Code::ConnectTimeout),
        },
    };
    if !request.headers().contains_key(header::HOST)
        && let Ok(host) = HeaderValue::from_str(&claim.replica().identity.addr.to_string())
    {
        request.headers_mut().insert(header::HOST, host);
    }
    let progress = request.body().progress();
    let (response, idle) = (route.timeouts.response, route.timeouts.idle);
    let answered = match progress.as_deref() {
        None => line.ask(request, response).await.ok_or(Code::ResponseTimeout),
        Some(progress) => tokio::select! {
            biased;
            answered = line.sender.try_send_request(request) => Ok(answered),
            code = too_late(progress, response, idle) => Err(code),
        },
    };
    let answered = match answered {
        Ok(answered) => answered,
        Err(code) => return Attempt::Lost(code),
    };
    match answered {
        Ok(response) => Attempt::Answered(Box::new(response), line),
        Err(mut error) => match (error.take_message(), again) {
            (Some(request), _) => Attempt::Unsent(Box::new(request), Code::BackendClosed),
            (None, Some(again)) if !error.error().is_parse() => Attempt::Stale(again),
            (None, _) => Attempt::Lost(explain(error.error(), progress.as_deref())),
        },
    }
}

fn explain(error: &hyper::Error, progress: Option<&Progress>) -> Code {
    if let Some(code) = progress.and_then(Progress::failure) {
        return code;
    }
    if error.is_parse() { Code::BackendInvalid } else { Code::BackendClosed }
}

fn copy(request: &Request<RequestBody>) -> Request<RequestBody> {
    let mut copy = Request::new(RequestBody::Empty);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    copy
}

/// A new connection to the claimed replica.
pub(crate) async fn open(claim: &Claim) -> Result<TcpStream, Code> {
    let socket = TcpStream::connect(claim.replica().identity.addr).await.map_err(|error| blame(&error))?;
    // Best effort: without it small answers are late, not wrong.
    let _ = socket.set_nodelay(true);
    Ok(socket)
}

async fn connect(claim: &Claim, limits: &Limits) -> Result<Line, Code> {
    let socket = open(claim).await?;
    let mut builder = http1::Builder::new();
    builder.max_buf_size(limits.buffer());
    if limits.headers != HYPERS_HEADERS {
        builder.max_headers(limits.headers);
    }
    let (sender, connection) =
        builder.handshake(TokioIo::new(Socket(socket))).await.map_err(|_| Code::ConnectFailed)?;
    // The connection's errors reach whoever has a request on it.
    let task = tokio::spawn(async move { _ = connection.await }).abort_handle();
    Ok(Line { sender, timer: None, task })
}

/// What the gateway itself lacks is no fault of the replica: it must not count against its release.
fn blame(error: &std::io::Error) -> Code {
    let ours = [lack::EMFILE, lack::ENFILE, lack::ENOBUFS];
    if error.raw_os_error().is_some_and(|code| ours.contains(&code)) {
        tracing::warn!(%error, "cannot open a connection to a replica");
        return Code::NoDescriptors;
    }
    Code::ConnectFailed
}

/// Linux' numbers: the standard library has no names for these.
mod lack {
    pub(super) const ENFILE: i32 = 23;
    pub(super) const EMFILE: i32 = 24;
    pub(super) const ENOBUFS: i32 = 105;
}

/// Resolves when the wait for a head has lasted too long: `response` after the last byte of the request, or `idle` after
/// the last piece of its body that moved, less what its client is behind.
async fn too_late(progress: &Progress, response: Duration, idle: Duration) -> Code {
    loop {
        let (deadline, code) = match progress.phase() {
            Phase::Sent => (progress.since() + response, Code::ResponseTimeout),
            Phase::ClientBusy => {
                (progress.since() + idle.saturating_sub(progress.behind()), Code::ClientStalled)
            }
            Phase::ReplicaBusy => (progress.since() + idle, Code::UploadStalled),
        };
        if Instant::now() >= deadline {
            return code;
        }
        // The phase may change while we sleep, so never sleep longer than either patience.
        tokio::time::sleep_until(deadline.min(Instant::now() + response.min(idle))).await;
    }
}

/// A claim shared by the books, the body and the tunnel of one request.
pub(crate) type SharedClaim = Arc<Claim>;
