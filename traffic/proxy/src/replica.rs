//! A replica as the gateway knows it: its identity, its requests in flight, its resting connections. All three outlive
//! the routing table that named it first.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use model::{Place, ReleaseNumber};
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};

use crate::config::Limits;
use crate::ejection::Repute;
use crate::pool::Pool;
use crate::upstream::Line;

/// Who a replica is. A replica that comes back at another address is another one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Identity {
    pub(crate) place: Place,
    pub(crate) release: ReleaseNumber,
    pub(crate) ordinal: u32,
    pub(crate) addr: SocketAddr,
}

pub(crate) struct Replica {
    pub(crate) identity: Identity,
    pub(crate) repute: Repute,
    in_flight: AtomicU32,
    idle: Notify,
    retired: AtomicBool,
    /// Out of the table for good: who has an upgraded connection to it shall go.
    dismissed: watch::Sender<bool>,
    /// Resting connections that carried requests of HTTP/2 clients.
    pub(crate) lines: Pool<Line>,
    /// Resting connections that carried plain requests.
    pub(crate) plain: Pool<TcpStream>,
}

/// The requests of one place that are in flight, over all its replicas.
#[derive(Default)]
pub(crate) struct Crowd(AtomicU32);

impl Replica {
    pub(crate) fn new(identity: Identity, workers: usize) -> Self {
        Self {
            identity,
            repute: Repute::default(),
            in_flight: AtomicU32::new(0),
            idle: Notify::new(),
            retired: AtomicBool::new(false),
            dismissed: watch::Sender::new(false),
            lines: Pool::new(workers),
            plain: Pool::new(workers),
        }
    }

    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Acquire)
    }

    /// Resolves when nothing is in flight.
    pub(crate) async fn drained(&self) {
        loop {
            let mut idle = std::pin::pin!(self.idle.notified());
            idle.as_mut().enable();
            if self.in_flight() == 0 {
                return;
            }
            idle.await;
        }
    }

    /// Tells its upgraded connections to go.
    pub(crate) fn dismiss(&self) {
        self.dismissed.send_replace(true);
    }

    /// Resolves when its upgraded connections are to go.
    pub(crate) async fn dismissed(&self) {
        // This holds the sender, so the wait ends in no other way.
        _ = self.dismissed.subscribe().wait_for(|dismissed| *dismissed).await;
    }

    /// In the table or out of it; out of it, no connection is kept. One that comes back has answered whoever lists it.
    pub(crate) fn set_retired(&self, retired: bool) {
        let before = self.retired.swap(retired, Ordering::AcqRel);
        if before && !retired {
            self.dismissed.send_replace(false);
            self.repute.readmit(std::time::Instant::now());
        }
        if retired {
            self.lines.clear();
            self.plain.clear();
        }
    }

    /// Keeps a connection whose answer is complete; closes it when it is of no more use.
    pub(crate) fn keep_line(&self, worker: usize, line: Line, limits: &Limits) {
        if line.is_ready() && !self.retired.load(Ordering::Acquire) {
            self.lines.put(worker, line, limits);
        }
    }

    /// The same for a plain connection.
    pub(crate) fn keep_plain(&self, worker: usize, socket: TcpStream, limits: &Limits) {
        if !self.retired.load(Ordering::Acquire) {
            self.plain.put(worker, socket, limits);
        }
    }

    /// Closes the connections that rested too long or were closed by the replica, and all of one out of the table.
    pub(crate) fn sweep(&self, limits: &Limits) {
        if self.retired.load(Ordering::Acquire) {
            self.lines.clear();
            self.plain.clear();
        }
        self.lines.sweep(limits);
        self.plain.sweep(limits);
    }
}

/// A request in flight, counted until this is dropped: to its replica, and to its place.
pub(crate) struct InFlight {
    replica: Arc<Replica>,
    crowd: Arc<Crowd>,
}

impl InFlight {
    /// Counts one more, unless the place has `limit` already.
    pub(crate) fn enter(replica: Arc<Replica>, crowd: Arc<Crowd>, limit: u32) -> Option<Self> {
        if crowd.0.fetch_add(1, Ordering::AcqRel) >= limit {
            crowd.0.fetch_sub(1, Ordering::AcqRel);
            return None;
        }
        replica.in_flight.fetch_add(1, Ordering::AcqRel);
        Some(Self { replica, crowd })
    }

    pub(crate) fn replica(&self) -> &Arc<Replica> {
        &self.replica
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.crowd.0.fetch_sub(1, Ordering::AcqRel);
        if self.replica.in_flight.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.replica.idle.notify_waiters();
        }
    }
}

impl Crowd {
    pub(crate) fn size(&self) -> u32 {
        self.0.load(Ordering::Acquire)
    }
}

/// Locks; a panic elsewhere leaves these structures whole, so poison is no reason to stop serving.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
