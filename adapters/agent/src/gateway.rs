//! The seam between the executor and the gateway, and the gateway behind it. Does not live here: serving requests, which
//! is all [`proxy`]'s.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Duration;

use ports::fleet::Tally;
use process::ReplicaId;
use routes::Table;

/// What the executor needs of a gateway.
pub(crate) trait Gateway: Send + Sync + 'static {
    /// Puts a table in force. When this returns, no request starts on the one before. An error leaves that one in force.
    fn swap(&self, table: &Table) -> impl Future<Output = Result<(), String>> + Send;
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
    /// Where it serves `/metrics` and `/healthz`, if anywhere.
    fn admin_address(&self) -> Option<String>;
    /// Takes no more requests, and waits for those in flight.
    fn shutdown(&self, patience: Duration) -> impl Future<Output = ()> + Send;
}

/// The gateway itself, in this process. Once it is shut down it has no request in flight, and its last counts stay.
pub(crate) struct Real {
    proxy: RwLock<Option<proxy::Gateway>>,
    listen: SocketAddr,
    last: Mutex<Vec<Tally>>,
}

impl Real {
    pub(crate) fn start(config: proxy::Config, table: &Table) -> Result<Self, String> {
        let proxy = proxy::Gateway::start(config, &routing(table)).map_err(|error| error.to_string())?;
        let listen = proxy.listen_address();
        Ok(Self { proxy: RwLock::new(Some(proxy)), listen, last: Mutex::default() })
    }

    fn ask<T>(&self, question: impl FnOnce(&proxy::Gateway) -> T) -> Option<T> {
        self.proxy.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(question)
    }
}

fn tally(tally: proxy::Tally) -> Tally {
    Tally {
        place: tally.place,
        epoch: tally.epoch,
        release: tally.release,
        requests: tally.requests,
        errors: tally.errors,
        latency: tally.latency,
    }
}

fn place(entry: &routes::Entry) -> proxy::PlaceRouting {
    let backends = entry.shares.iter().flat_map(|share| {
        share.replicas.iter().map(|replica| proxy::Backend {
            release: share.release,
            ordinal: replica.ordinal,
            addr: replica.addr,
        })
    });
    proxy::PlaceRouting {
        place: entry.place.clone(),
        route: entry.route.clone(),
        epoch: entry.epoch,
        shares: entry.shares.iter().map(|share| (share.release, share.weight)).collect(),
        backends: backends.collect(),
        preview: entry.preview.clone(),
    }
}

fn routing(table: &Table) -> proxy::Routing {
    proxy::Routing { places: table.entries().iter().map(place).collect() }
}

impl Gateway for Real {
    async fn swap(&self, table: &Table) -> Result<(), String> {
        let swapped = self.ask(|proxy| proxy.swap(routing(table)).map_err(|error| error.to_string()));
        swapped.unwrap_or_else(|| Err("the gateway is shut down".to_owned()))
    }

    fn in_flight(&self, id: &ReplicaId) -> u32 {
        self.ask(|proxy| proxy.in_flight(&id.group.place, id.group.release, id.ordinal)).unwrap_or(0)
    }

    async fn drained(&self, id: &ReplicaId) {
        let drained = self.ask(|proxy| proxy.drained(&id.group.place, id.group.release, id.ordinal));
        if let Some(drained) = drained {
            drained.await;
        }
    }

    fn tallies(&self) -> Vec<Tally> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(now) = self.ask(proxy::Gateway::tallies) {
            *last = now.into_iter().map(tally).collect();
        }
        last.clone()
    }

    fn metrics_text(&self) -> String {
        self.ask(proxy::Gateway::metrics_text).unwrap_or_default()
    }

    fn listen_address(&self) -> Option<String> {
        self.ask(|_| self.listen.to_string())
    }

    fn admin_address(&self) -> Option<String> {
        self.ask(proxy::Gateway::admin_address).flatten().map(|address| address.to_string())
    }

    async fn shutdown(&self, patience: Duration) {
        let proxy = self.proxy.write().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(proxy) = proxy {
            proxy.shutdown(patience).await;
        }
    }
}
