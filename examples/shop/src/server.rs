//! Connections and the end of life: accept, SIGTERM, finish what was begun, close.
//!
//! A stop has three steps. Readiness fails and responses ask for their connection to be closed, while new
//! connections are still taken; when every request that was in flight at the signal is done, the listener closes;
//! then each connection closes after its current request, idle ones at once.

use std::convert::Infallible;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::service::Shop;
use crate::{Error, Settings, log};

/// The most connections at once; further ones wait in the listener's backlog.
const MAX_CONNECTIONS: usize = 4_096;
/// How long a connection may be idle. Longer than any proxy in front should keep it, so that the proxy closes first.
const IDLE: Duration = Duration::from_secs(120);
/// How long to wait after accepting failed (no file descriptors left, mostly).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How far the stop is, and who still works.
#[derive(Clone)]
pub(crate) struct Stop {
    phase: watch::Sender<Phase>,
    /// Requests (and tunnels) that began before the stop.
    early: watch::Sender<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Serving,
    Stopping,
    Closing,
}

/// A request or tunnel at work; ends when it is dropped.
pub(crate) struct InFlight(Option<watch::Sender<usize>>);

impl Stop {
    fn new() -> Self {
        Self { phase: watch::Sender::new(Phase::Serving), early: watch::Sender::new(0) }
    }

    pub(crate) fn is_stopping(&self) -> bool {
        *self.phase.borrow() >= Phase::Stopping
    }

    /// Returns once the stop has begun.
    pub(crate) async fn stopping(&self) {
        self.reached(Phase::Stopping).await;
    }

    async fn reached(&self, phase: Phase) {
        // An error would mean that no sender is left, and this is one.
        let _ = self.phase.subscribe().wait_for(|now| *now >= phase).await;
    }

    /// Counts a request. Those that begin after the stop are not waited for: a busy client must not delay it.
    pub(crate) fn begin(&self) -> InFlight {
        if self.is_stopping() {
            return InFlight(None);
        }
        self.early.send_modify(|n| *n += 1);
        InFlight(Some(self.early.clone()))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if let Some(early) = &self.0 {
            early.send_modify(|n| *n -= 1);
        }
    }
}

pub(crate) fn run(settings: Settings) -> Result<ExitCode, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(settings))
}

async fn serve(settings: Settings) -> Result<ExitCode, Error> {
    let stop = Stop::new();
    let shop = Arc::new(Shop::new(settings.clone(), stop.clone())?);
    let (mut term, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let port = settings.port;
    let listener =
        TcpListener::bind(("127.0.0.1", port)).await.map_err(|source| Error::Listen { port, source })?;
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut crash = pin!(async {
        match settings.exit_after {
            Some(after) => tokio::time::sleep(after).await,
            None => std::future::pending().await,
        }
    });
    let address = listener.local_addr()?;
    log::info(
        "start",
        &json!({ "port": address.port(), "version": settings.version, "release": settings.release,
            "replica": settings.replica, "pid": std::process::id() }),
    );
    loop {
        tokio::select! {
            (stream, slot) = accept(&listener, &slots) => converse(&shop, &stop, stream, slot),
            _ = term.recv() => {
                if !settings.ignore_sigterm {
                    break;
                }
                log::info("sigterm", &json!({ "ignored": true }));
            }
            _ = interrupt.recv() => break,
            () = &mut crash => {
                log::error("crash", "exitAfterMs is over");
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    let begun = Instant::now();
    stop.phase.send_replace(Phase::Stopping);
    log::info("stopping", &json!({ "inFlight": *stop.early.borrow() }));
    let finish = finish(listener, &slots, &shop, &stop);
    let in_time = tokio::time::timeout(settings.stop_limit, finish).await.is_ok();
    log::info("stop", &json!({ "finished": in_time, "afterMs": begun.elapsed().as_millis() as u64 }));
    Ok(if in_time { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The second and third step of the stop.
async fn finish(listener: TcpListener, slots: &Arc<Semaphore>, shop: &Arc<Shop>, stop: &Stop) {
    let mut early = stop.early.subscribe();
    loop {
        tokio::select! {
            biased;
            _ = early.wait_for(|n| *n == 0) => break,
            (stream, slot) = accept(&listener, slots) => converse(shop, stop, stream, slot),
        }
    }
    drop(listener);
    stop.phase.send_replace(Phase::Closing);
    // Every connection holds a slot until it is closed.
    let _ = slots.acquire_many(MAX_CONNECTIONS as u32).await;
}

async fn accept(listener: &TcpListener, slots: &Arc<Semaphore>) -> (TcpStream, Option<OwnedSemaphorePermit>) {
    // The semaphore is never closed, so there is always a slot to wait for.
    let slot = Arc::clone(slots).acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, slot),
            Err(error) => {
                log::error("accept", &error.to_string());
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn converse(shop: &Arc<Shop>, stop: &Stop, stream: TcpStream, slot: Option<OwnedSemaphorePermit>) {
    let (shop, stop) = (Arc::clone(shop), stop.clone());
    tokio::spawn(async move {
        let _slot = slot;
        // Without it responses are only slower.
        let _ = stream.set_nodelay(true);
        let service = service_fn(move |request| {
            let shop = Arc::clone(&shop);
            async move { Ok::<_, Infallible>(shop.answer(request).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(IDLE)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        let mut connection = pin!(connection);
        // A broken connection is the client's business: the request that was on it is told by its own response.
        tokio::select! {
            _ = connection.as_mut() => return,
            () = stop.reached(Phase::Closing) => {}
        }
        connection.as_mut().graceful_shutdown();
        let _ = connection.await;
    });
}
