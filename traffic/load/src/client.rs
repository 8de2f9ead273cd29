//! One connection's worth of client: takes the oldest queued request, writes it, reads the whole response, notes the
//! outcome. Does not live here: when requests are due.
//!
//! A request is written once. If a kept-alive connection turns out to be closed *before* anything was written, the
//! request goes out on a fresh connection; once written, whatever happens to the connection is the request's outcome.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::config::Plan;
use crate::ledger::{End, Ledger};
use crate::{GATEWAY_ERROR_HEADER, RELEASE_HEADER};

/// How many closed connections one request may meet before it is written; each was closed by the target.
const MAX_CLOSED: usize = 3;

/// What the dispatcher, the connections and the handle share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) plan: Plan,
    /// The start of the run.
    pub(crate) start: Instant,
    ledger: Mutex<Ledger>,
    queue: Mutex<Queue>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    numbers: VecDeque<u64>,
    closed: bool,
}

impl Shared {
    pub(crate) fn new(plan: Plan) -> Arc<Self> {
        Arc::new(Self {
            plan,
            start: Instant::now(),
            ledger: Mutex::default(),
            queue: Mutex::default(),
            filled: Notify::new(),
        })
    }

    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a request. The queue is limited by the run's number of requests.
    pub(crate) fn push(&self, number: u64) {
        self.queue().numbers.push_back(number);
        self.filled.notify_one();
    }

    /// Nothing more will be queued: workers end when the queue is empty.
    pub(crate) fn close(&self) {
        self.queue().closed = true;
        self.filled.notify_waiters();
    }

    async fn take(&self) -> Option<u64> {
        loop {
            let filled = self.filled.notified();
            {
                let mut queue = self.queue();
                if let Some(number) = queue.numbers.pop_front() {
                    return Some(number);
                }
                if queue.closed {
                    return None;
                }
            }
            filled.await;
        }
    }
}

type Connection = SendRequest<Full<Bytes>>;

/// Works off the queue over one connection at a time until the queue is closed and empty.
pub(crate) async fn work(shared: Arc<Shared>) {
    let mut connection = None;
    while let Some(number) = shared.take().await {
        let exchange = exchange(&shared, &mut connection, number);
        let end = match tokio::time::timeout(shared.plan.config.timeout, exchange).await {
            Ok(Ok(end)) => end,
            Ok(Err(error)) => {
                connection = None;
                End::Connection { error }
            }
            Err(_) => {
                connection = None;
                End::TimedOut
            }
        };
        shared.ledger().end(number, shared.start.elapsed(), end);
    }
}

async fn exchange(shared: &Shared, kept: &mut Option<Connection>, number: u64) -> Result<End, String> {
    let mut request = shared.plan.request(number).map_err(|error| explain(&error))?;
    for _ in 0..MAX_CLOSED {
        let mut connection = match kept.take() {
            Some(connection) if connection.is_ready() => connection,
            Some(_) | None => connect(shared).await?,
        };
        shared.ledger().sent(number, shared.start.elapsed());
        match connection.try_send_request(request).await {
            Ok(response) => {
                let end = read(response).await?;
                // Not ready means that the target closes it after this response.
                *kept = connection.ready().await.is_ok().then_some(connection);
                return Ok(end);
            }
            Err(mut error) => match error.take_message() {
                Some(unwritten) => request = unwritten,
                None => return Err(explain(&error.into_error())),
            },
        }
    }
    Err(format!("{MAX_CLOSED} connections were closed before the request could be written"))
}

async fn connect(shared: &Shared) -> Result<Connection, String> {
    let stream = TcpStream::connect(shared.plan.config.target).await.map_err(|e| format!("connect: {e}"))?;
    stream.set_nodelay(true).map_err(|e| format!("connect: {e}"))?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|e| format!("connect: {}", explain(&e)))?;
    // The task ends with the connection; what went wrong reaches the request that was on it.
    tokio::spawn(connection);
    sender.ready().await.map_err(|e| format!("connect: {}", explain(&e)))?;
    Ok(sender)
}

/// Reads the response to its end, keeping nothing of its body.
async fn read(response: Response<Incoming>) -> Result<End, String> {
    let status = response.status().as_u16();
    let release = header(response.headers(), RELEASE_HEADER);
    let gateway = header(response.headers(), GATEWAY_ERROR_HEADER);
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        frame.map_err(|error| format!("response {status} broke off: {}", explain(&error)))?;
    }
    Ok(match gateway {
        Some(code) => End::Gateway { status, code },
        None => End::Answered { status, release },
    })
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// The error and its causes in one line.
fn explain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}
