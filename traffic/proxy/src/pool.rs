//! Connections to one replica that rest between requests. How they are opened and what they carry is not known here.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;

use crate::config::Limits;
use crate::replica::lock;
use crate::upstream::Line;

/// A connection that can rest.
pub(crate) trait Rests {
    /// Whether it could serve a request now, as far as is known without asking the other side.
    fn is_ready(&self) -> bool;
}

impl Rests for Line {
    fn is_ready(&self) -> bool {
        Self::is_ready(self) && !self.is_closed()
    }
}

impl Rests for TcpStream {
    fn is_ready(&self) -> bool {
        // Nothing may come on a connection that rests: neither bytes nor its end. Costs no system call while the event
        // loop has seen nothing.
        self.try_read(&mut [0]).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    }
}

/// One stack for each worker, so that its lock is never waited for.
pub(crate) struct Pool<C>(Box<[Mutex<Vec<Resting<C>>>]>);

struct Resting<C> {
    connection: C,
    since: Instant,
}

impl<C: Rests> Pool<C> {
    pub(crate) fn new(workers: usize) -> Self {
        Self((0..workers).map(|_| Mutex::default()).collect())
    }

    /// The connection that rested last, if it rested no longer than `rest` and is open.
    pub(crate) fn take(&self, worker: usize, rest: Duration) -> Option<C> {
        let mut pool = lock(&self.0[worker]);
        while let Some(resting) = pool.pop() {
            if resting.since.elapsed() > rest {
                pool.push(resting);
                return None;
            }
            if resting.connection.is_ready() {
                return Some(resting.connection);
            }
        }
        None
    }

    /// Keeps a connection whose response is complete; closes it when there are enough.
    pub(crate) fn put(&self, worker: usize, connection: C, limits: &Limits) {
        let mut pool = lock(&self.0[worker]);
        if pool.len() < limits.pooled {
            pool.push(Resting { connection, since: Instant::now() });
        }
    }

    /// Closes the connections that rested too long or were closed by the replica.
    pub(crate) fn sweep(&self, limits: &Limits) {
        for pool in &self.0 {
            lock(pool).retain(|resting| {
                resting.connection.is_ready() && resting.since.elapsed() <= limits.pool_idle
            });
        }
    }

    pub(crate) fn clear(&self) {
        self.0.iter().for_each(|pool| lock(pool).clear());
    }
}
