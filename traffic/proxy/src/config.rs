//! What the gateway can be told, and what it does when it is told nothing. Bounds of a single route live in its
//! `model::route::Route`.

use std::net::SocketAddr;
use std::time::Duration;

use crate::ejection::Ejection;

/// How a gateway runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where requests come in; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Where `/metrics` and `/healthz` are served, if anywhere.
    pub admin: Option<SocketAddr>,
    /// How many worker threads, each with its own listener and connections (1 to 256). Default: the available cores.
    pub workers: usize,
    /// What clients may cost.
    pub limits: Limits,
}

impl Config {
    /// The defaults, listening at `listen`, without an admin address.
    pub fn new(listen: SocketAddr) -> Self {
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        Self { listen, admin: None, workers: workers.min(256), limits: Limits::default() }
    }
}

/// What clients and replicas may cost the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Client connections at once, over all workers; more are answered 503 and closed. Default 10,000.
    pub connections: usize,
    /// The size of a request's head in bytes; more is 431. Default 32 KiB.
    pub header_bytes: usize,
    /// The number of header lines; more is 431. Default 100.
    pub headers: usize,
    /// From the first byte of a head to its last; and from the opening of a connection to its first byte. Default 10 s.
    pub header_read: Duration,
    /// How long a client's connection may rest between requests. Default 75 s.
    pub keep_alive: Duration,
    /// How long a client may take nothing of what is ready for it; over HTTP/2, on any one stream. Then its connection
    /// is closed. Default 60 s.
    pub client_write: Duration,
    /// What a client has to take of an answer, in bytes a second, over the time that it is waited for: each byte makes up for
    /// its share of that time, and one that is behind by more than `client_write` is cut off. A replica that is silent costs
    /// its client nothing. Zero is no limit. Default 240.
    pub download_rate: u64,
    /// What a client has to send of a body, in the same way; one that is behind by more than the route's idle timeout gets
    /// 408. Zero is no limit, and gRPC has none. Default 240.
    pub upload_rate: u64,
    /// Over how long the clients of WebSockets are told to go once a successor has taken over, so that not all of them come
    /// back at once. Default 5 s.
    pub handover_spread: Duration,
    /// The largest head of an answer, and the write buffer of an HTTP/2 connection, in bytes. Default 64 KiB.
    pub buffer_bytes: usize,
    /// HTTP/2 streams at once on one connection. Default 128.
    pub streams: u32,
    /// Resting connections kept for each replica by each worker. Fewer than there are requests at once means a new
    /// connection for each of the others. Default 1,024.
    pub pooled: usize,
    /// How long a connection to a replica may rest before it is closed. Below the 5 s after which some servers close
    /// theirs, so that a request seldom meets a closing one. Default 4 s.
    pub pool_idle: Duration,
    /// A request that cannot be sent twice uses a pooled connection only when that rested less than this, and opens a
    /// new one otherwise. Default 1 s.
    pub pool_fresh: Duration,
    /// Distinct (service, environment, version, route, method) label sets in the metrics; beyond it the route is
    /// `other`. Default 10,000.
    pub series: usize,
    /// When a replica that fails its requests is left out.
    pub ejection: Ejection,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            header_bytes: 32 * 1024,
            headers: 100,
            header_read: Duration::from_secs(10),
            keep_alive: Duration::from_secs(75),
            client_write: Duration::from_secs(60),
            download_rate: 240,
            upload_rate: 240,
            handover_spread: Duration::from_secs(5),
            buffer_bytes: 64 * 1024,
            streams: 128,
            pooled: 1_024,
            pool_idle: Duration::from_secs(4),
            pool_fresh: Duration::from_secs(1),
            series: 10_000,
            ejection: Ejection::default(),
        }
    }
}

impl Limits {
    /// hyper refuses buffers below 8 KiB; a head must fit into one.
    pub(crate) fn buffer(&self) -> usize {
        self.buffer_bytes.max(self.header_bytes).max(8 * 1024)
    }
}
