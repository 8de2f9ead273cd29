//! What is told of a request that is kept as a trace: one span for the client's side of it, one for each attempt to have a
//! replica answer. Which are kept is decided when the request is over (`keep`), from what was noted on the way (`trail`).
//! Does not live here: OpenTelemetry's words for it, and sending.

pub(crate) mod context;
mod keep;
pub(crate) mod trail;

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use model::{Epoch, Place, ReleaseNumber, Weight};

pub use keep::{Sink, Tracing};

/// A request that is over, and kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    /// Where it was served.
    pub place: Place,
    /// The trace that it belongs to: the client's, or one that began here.
    pub trace_id: u128,
    /// The span of the request itself.
    pub span_id: u64,
    /// The client's own span, if it named one.
    pub parent: Option<u64>,
    /// The client's `tracestate`, when it continues a trace.
    pub state: String,
    /// The flags that the replica was given.
    pub flags: u8,
    /// When the request's head had come.
    pub start: SystemTime,
    /// From then to the end of the replica's answer.
    pub duration: Duration,
    /// The method; `other` for one without a label of its own.
    pub method: &'static str,
    /// The path, without its query, cut where it is too long.
    pub path: String,
    /// The host that was asked for, with a port if one was named.
    pub host: String,
    /// The declared route that it came in by.
    pub route: String,
    /// `1.0`, `1.1` or `2`.
    pub protocol: &'static str,
    /// Where it went in the end.
    pub served: Option<Served>,
    /// The answer's status; `None` when the client went away before there was one.
    pub status: Option<u16>,
    /// What went wrong, as the gateway's errors are called.
    pub error: Option<&'static str>,
    /// The client went away.
    pub aborted: bool,
    /// Why it is kept.
    pub kept: Kept,
    /// Whom it was offered to, in order.
    pub attempts: Vec<Attempt>,
}

/// Where a request went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// The release that answered, or was asked last.
    pub release: ReleaseNumber,
    /// That release's share of the requests then.
    pub weight: Weight,
    /// The stretch of time with these shares.
    pub epoch: Epoch,
    /// It was led there by a header route.
    pub aimed: bool,
    /// It was led there by a host of the preview's.
    pub preview: bool,
    /// Another release had been drawn, and had no ready replica.
    pub fallback: bool,
}

/// One attempt to have a replica answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// Its span: what the replica saw as its parent, if it saw anything.
    pub span_id: u64,
    /// When it began.
    pub start: SystemTime,
    /// How long it lasted.
    pub duration: Duration,
    /// The replica's release.
    pub release: ReleaseNumber,
    /// Which replica of it.
    pub ordinal: u32,
    /// Where that listens.
    pub addr: SocketAddr,
    /// What it answered.
    pub status: Option<u16>,
    /// What went wrong.
    pub error: Option<&'static str>,
}

/// Why a trace is kept. The first that holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// The answer was 5xx, or an attempt failed by the fault of the gateway or a replica.
    Failed,
    /// The head of the answer took longer than was declared.
    Slow,
    /// The client's trace is kept elsewhere, too: its `sampled` flag says so.
    Parent,
    /// Its id fell into the declared ratio.
    Ratio,
}
