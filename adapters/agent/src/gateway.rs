//! The seam between the executor and the gateway. Does not live here: the gateway.

use std::time::Duration;

use ports::fleet::Tally;
use process::ReplicaId;
use routes::Table;

/// What the executor needs of a gateway.
pub(crate) trait Gateway: Send + Sync + 'static {
    /// Puts a table in force. When this returns, no request starts on the one before.
    fn swap(&self, table: Table) -> impl Future<Output = ()> + Send;
    /// Requests in flight to a replica.
    fn in_flight(&self, id: &ReplicaId) -> u32;
    /// Returns when a replica that has left the table has no request in flight.
    fn drained(&self, id: &ReplicaId) -> impl Future<Output = ()> + Send;
    /// Finished requests by place, epoch and release.
    fn tallies(&self) -> Vec<Tally>;
    /// Metrics in Prometheus' text format.
    fn metrics_text(&self) -> String;
    /// Where it listens.
    fn listen_address(&self) -> Option<String>;
    /// Takes no more requests, and waits for those in flight.
    fn shutdown(&self, patience: Duration) -> impl Future<Output = ()> + Send;
}

pub(crate) struct Real;
