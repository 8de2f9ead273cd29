//! Open-loop load with a ledger: what was asked, when it should have been asked, and what came back.
//!
//! Lives here: a fixed schedule that no response can move, a bounded set of keep-alive connections, one record for
//! each sequence number, and the comparison of that ledger with what the services say they received. A release
//! process loses no request only if the two agree, so nothing is inferred from averages.
//!
//! Deliberately absent: any retry of a request that was written to a connection, any skipped request when the target
//! is slow (it queues, and the wait counts), and any target outside this machine.

mod client;
mod config;
mod ledger;
mod reconcile;
mod report;
mod run;
mod schedule;

pub use config::{Config, Mix, Shape};
pub use ledger::{Entry, Outcome, ReleaseCounts, Snapshot};
pub use reconcile::{Received, ReceivedLine, Reconciliation, reconcile};
pub use report::{Lost, Quantiles, Report};
pub use run::{Load, Running};

/// The request header that carries `<run>-<number>`.
pub const SEQUENCE_HEADER: &str = "x-sequence";
/// The response header by which a service names the release that answered.
pub const RELEASE_HEADER: &str = "x-release";
/// The response header by which the gateway says that it made the response itself, and why.
pub const GATEWAY_ERROR_HEADER: &str = "shipshape-error";

/// Why load could not be put on, or not be accounted for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The target is another machine.
    #[error(
        "load is sent only to this machine, and {target} is not on it: give a loopback address (127.0.0.0/8 or ::1)"
    )]
    NotLoopback {
        /// The address that was asked for.
        target: std::net::SocketAddr,
    },
    /// A setting is out of its range.
    #[error("{setting} is {found}, but must be {allowed}")]
    Setting {
        /// Which setting.
        setting: &'static str,
        /// What was given.
        found: String,
        /// What would be accepted.
        allowed: &'static str,
    },
    /// The ledger would grow past its limit.
    #[error(
        "{wanted} requests (rate times duration) are more than the ledger's limit of {limit}: \
         lower the rate or the duration, or raise max_requests"
    )]
    TooMany {
        /// How many the rate and the duration ask for.
        wanted: u64,
        /// `max_requests`.
        limit: u64,
    },
    /// The thread or its runtime could not be made.
    #[error("cannot start the load thread: {0}")]
    Start(#[from] std::io::Error),
    /// The load thread ended without a report.
    #[error("the load thread died before it could report; its panic message is on stderr")]
    Died,
    /// The run has ended, so its rate cannot change any more.
    #[error("the run is over: its rate cannot be changed any more")]
    Over,
    /// A line of a service's ledger is not one.
    #[error("{text:?} is not a ledger line: want `<sequence> <release> <replica> <method> <path>`")]
    Line {
        /// The line, cut to 200 characters.
        text: String,
    },
}
