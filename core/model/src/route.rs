//! Which requests a service answers, and within which bounds.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The requests that belong to a service, and how the gateway treats them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Route {
    /// Host names without port, lower case. `*` alone is any host; `*.example.org` is any name below it.
    pub hosts: Vec<String>,
    /// Path prefixes by whole segments: `/api` holds `/api` and `/api/x`, not `/apix`. The longest match wins.
    pub path_prefixes: Vec<String>,
    /// Templates for the metrics' `route` label: `/orders/{id}` (one segment), `/static/{rest...}` (the rest).
    /// A request that matches none is labelled with the path prefix it came in by.
    pub templates: Vec<String>,
    /// How long the gateway waits for what.
    pub timeouts: Timeouts,
    /// What a request may cost.
    pub limits: Limits,
}

/// How long the gateway waits before it answers 504 for a replica.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Timeouts {
    /// To open a connection to a replica.
    #[serde(with = "crate::time::words")]
    pub connect: Duration,
    /// From the last byte of the request sent to the first byte of the response.
    #[serde(with = "crate::time::words")]
    pub response: Duration,
    /// Between two pieces of a body, and on an upgraded connection, in either direction.
    #[serde(with = "crate::time::words")]
    pub idle: Duration,
}

/// What a request may cost before the gateway refuses it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// The largest request body in bytes; more is 413.
    pub body_bytes: u64,
    /// The most requests in flight for this service in this environment; more is 503.
    pub in_flight: u32,
}
