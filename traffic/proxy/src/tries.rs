//! Who is asked next to serve a request, and when to stop asking: the same for all ways that requests come in.
//!
//! Tried again is: what never left (a connection that could not be opened, or that took no byte), on another replica, at
//! most [`TRIES`] times in all; and a bodiless idempotent request that met a closing pooled connection, once, on a fresh
//! one. Each try claims anew under the table then in force, with the same draw
//! and for the same user.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use crate::error::Code;
use crate::live::{Ask, Newcomer, Unclaimed};
use crate::record::Record;
use crate::replica::Replica;
use crate::trace::trail::{End, Told, Trail};
use crate::upstream::SharedClaim;
use crate::worker::Worker;

/// How many replicas a request is offered to.
const TRIES: usize = 3;

/// The tries of one request so far.
pub(crate) struct Tries {
    draw: u16,
    luck: u64,
    newcomer: Newcomer,
    excluded: Vec<Arc<Replica>>,
    handed_back: usize,
    /// Whether only a new connection will do.
    pub(crate) fresh: bool,
    failed: Option<(Record, Code)>,
    method: usize,
    start: Instant,
}

impl Tries {
    pub(crate) fn new(method: usize, start: Instant, fresh: bool) -> Self {
        Self {
            draw: fastrand::u16(..routes::DRAWS),
            luck: fastrand::u64(..),
            newcomer: Newcomer::default(),
            excluded: Vec::new(),
            handed_back: 0,
            fresh,
            failed: None,
            method,
            start,
        }
    }

    /// Claims a replica for the next try. An error is final, and booked.
    pub(crate) fn claim(
        &mut self,
        worker: &Arc<Worker>,
        told: Told<'_>,
        headers: &dyn routes::Headers,
    ) -> Result<(SharedClaim, Record), Code> {
        let Self { draw, luck, newcomer, excluded, .. } = self;
        let Told { host, path, .. } = told;
        let ask = Ask { host, path, headers, draw: *draw, luck: *luck, newcomer, excluded };
        let claim = match worker.claim(&ask) {
            Ok(claim) => Arc::new(claim),
            Err(unclaimed) => return Err(self.give_up(worker, unclaimed, told, headers)),
        };
        let trail = match self.failed.take() {
            Some((earlier, code)) => {
                worker.counts.retries.fetch_add(1, Ordering::Relaxed);
                earlier.discard(code)
            }
            None => claim.tracing().map(|tracing| Trail::begin(tracing, told, headers, self.start)),
        };
        let record = Record::open(worker.clone(), claim.clone(), self.method, self.start, trail);
        Ok((claim, record))
    }

    /// No byte of the request has left. An error is final, and booked.
    pub(crate) fn unsent(
        &mut self,
        mut record: Record,
        replica: &Arc<Replica>,
        code: Code,
    ) -> Result<(), Code> {
        record.unsent();
        if code == Code::BackendClosed {
            self.fresh = true;
            self.handed_back += 1;
        } else {
            self.excluded.push(replica.clone());
        }
        if self.excluded.len() + self.handed_back >= TRIES {
            record.failed(code);
            return Err(code);
        }
        self.failed = Some((record, code));
        Ok(())
    }

    /// A pooled connection turned out closed, and the request may be sent again.
    pub(crate) fn stale(&mut self, record: Record) {
        self.fresh = true;
        self.failed = Some((record, Code::BackendClosed));
    }

    /// No replica took the request: the failure of the last one tried, if one was, says more than that no other is left.
    fn give_up(
        &mut self,
        worker: &Worker,
        unclaimed: Unclaimed,
        told: Told<'_>,
        headers: &dyn routes::Headers,
    ) -> Code {
        if let Some((record, code)) = self.failed.take() {
            record.failed(code);
            return code;
        }
        if let Some(label) = &unclaimed.label {
            let (status, latency) = (unclaimed.code.status().as_u16(), self.start.elapsed());
            label.observe(worker.index, self.method, status, latency);
            if let Some((place, tracing)) = unclaimed.traced {
                let end = End { status: Some(status), latency, code: Some(unclaimed.code), aborted: false };
                let trail = Trail::begin(&tracing, told, headers, self.start);
                if let Some(ids) = trail.unclaimed(place, label.route.clone(), end) {
                    label.exemplify(self.method, latency, ids);
                }
            }
        }
        unclaimed.code
    }
}
