//! What is noted of a request on its way, where its place is traced, and made a [`Trace`] at its end if it is kept. Where
//! no place is traced there is no trail, and nothing of this runs.

use std::time::{Duration, Instant, SystemTime};

use model::Place;

use crate::error::{Code, Fault};
use crate::live::Claim;
use crate::trace::context::{LENGTH, Position};
use crate::trace::{Attempt, Served, Trace, Tracing};

/// A longer path is cut.
const PATH_BYTES: usize = 1024;
const STATE_BYTES: usize = 512;

/// What a request says of itself, beside where it goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Told<'a> {
    pub(crate) position: Position,
    pub(crate) host: &'a str,
    pub(crate) path: &'a str,
    pub(crate) method: &'static str,
    pub(crate) protocol: &'static str,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct End {
    pub(crate) status: Option<u16>,
    /// How long the head of the answer took.
    pub(crate) latency: Duration,
    pub(crate) code: Option<Code>,
    pub(crate) aborted: bool,
}

/// The notes on one request.
pub(crate) struct Trail {
    tracing: Tracing,
    position: Position,
    span_id: u64,
    start: Instant,
    wall: SystemTime,
    state: String,
    host: String,
    path: String,
    method: &'static str,
    protocol: &'static str,
    /// The attempt under way: since when.
    begun: Option<Instant>,
    /// Whether its span's id has not left the gateway, so that the next attempt goes by it.
    unsent: bool,
    attempts: Vec<Attempt>,
    /// Whether an attempt failed, and not by the client's fault.
    troubled: bool,
}

impl Trail {
    pub(crate) fn begin(
        tracing: &Tracing,
        told: Told<'_>,
        headers: &dyn routes::Headers,
        start: Instant,
    ) -> Box<Self> {
        let mut position = told.position;
        let mut state = String::new();
        if position.parent.is_none() {
            position.sample(tracing.draws(position.trace_id));
        } else {
            headers.any("tracestate", &mut |line| {
                let text = std::str::from_utf8(line).unwrap_or_default();
                if state.len() + text.len() < STATE_BYTES {
                    let comma = if state.is_empty() { "" } else { "," };
                    state.push_str(comma);
                    state.push_str(text);
                }
                false
            });
        }
        let end = told.path.floor_char_boundary(PATH_BYTES);
        Box::new(Self {
            tracing: tracing.clone(),
            position,
            span_id: fastrand::u64(1..),
            start,
            wall: SystemTime::now().checked_sub(start.elapsed()).unwrap_or(SystemTime::UNIX_EPOCH),
            state,
            host: told.host.to_owned(),
            path: told.path[..end].to_owned(),
            method: told.method,
            protocol: told.protocol,
            begun: None,
            unsent: false,
            attempts: Vec::new(),
            troubled: false,
        })
    }

    /// An attempt begins: what its replica is told.
    pub(crate) fn attempt(&mut self) -> [u8; LENGTH] {
        if !std::mem::take(&mut self.unsent) && !self.attempts.is_empty() {
            self.position.span_id = fastrand::u64(1..);
        }
        self.begun = Some(Instant::now());
        self.position.write()
    }

    /// No byte of the attempt has left. What was to be sent may still be sent to another replica, with the same words in it:
    /// so the next attempt keeps the span's id, and this one gets one that nobody has seen.
    pub(crate) fn unsent(&mut self) {
        self.unsent = true;
    }

    /// The attempt is over.
    pub(crate) fn attempted(&mut self, claim: &Claim, status: Option<u16>, code: Option<Code>) {
        let Some(begun) = self.begun.take() else { return };
        // That a resting connection was closed says nothing.
        self.troubled |=
            code.is_some_and(|code| code.fault() != Fault::Client && code != Code::BackendClosed);
        let identity = &claim.replica().identity;
        self.attempts.push(Attempt {
            span_id: if self.unsent { fastrand::u64(1..) } else { self.position.span_id },
            start: self.at(begun),
            duration: begun.elapsed(),
            release: identity.release,
            ordinal: identity.ordinal,
            addr: identity.addr,
            status,
            error: code.map(Code::text),
        });
    }

    fn at(&self, instant: Instant) -> SystemTime {
        self.wall + instant.saturating_duration_since(self.start)
    }

    /// The request is over. The ids of its trace and span, if it is kept.
    pub(crate) fn claimed(self: Box<Self>, claim: &Claim, end: End) -> Option<(u128, u64)> {
        let (entry, share) = (claim.entry(), claim.share);
        let served = Served {
            release: entry.shares[share].release,
            weight: entry.shares[share].weight,
            epoch: entry.epoch,
            aimed: claim.aimed,
            preview: claim.found.preview,
            fallback: claim.fallback,
        };
        let route = claim.live.table.labels(claim.found.entry)[claim.found.label].clone();
        self.end(entry.place.clone(), route, Some(served), end)
    }

    /// The same for one that no replica could be claimed for.
    pub(crate) fn unclaimed(self: Box<Self>, place: Place, route: String, end: End) -> Option<(u128, u64)> {
        self.end(place, route, None, end)
    }

    fn end(
        self: Box<Self>,
        place: Place,
        route: String,
        served: Option<Served>,
        end: End,
    ) -> Option<(u128, u64)> {
        let ours = end.code.is_some_and(|code| code.fault() != Fault::Client);
        let answered = end.status.is_some_and(|status| status >= 500);
        let failed = answered || ours || self.troubled;
        let kept = self.tracing.keeps(self.position, failed, end.latency)?;
        let ids = (self.position.trace_id, self.span_id);
        let Self {
            tracing,
            position,
            span_id,
            start,
            wall,
            state,
            host,
            path,
            method,
            protocol,
            attempts,
            ..
        } = *self;
        tracing.tell(Trace {
            place,
            trace_id: position.trace_id,
            span_id,
            parent: position.parent,
            state,
            flags: position.flags,
            start: wall,
            duration: start.elapsed(),
            method,
            path,
            host,
            route,
            protocol,
            served,
            status: end.status,
            error: end.code.map(Code::text),
            aborted: end.aborted,
            kept,
            attempts,
        });
        Some(ids)
    }
}
