//! The seam between the executor and the gateway, and the gateway behind it, with that of the agent before as long as it
//! has requests in flight. Does not live here: serving requests, which is all [`proxy`]'s.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use ports::fleet::{Aimed, GroupId, Tally, UserTally};
use process::ReplicaId;
use proxy::{Ejected, Listeners, Page};
use routes::Table;
use tokio::sync::OnceCell;

use crate::succession::{InFlight, Predecessor};
use crate::traces::{Orders, Traces};

/// What the executor needs of a gateway.
pub(crate) trait Gateway: Send + Sync + 'static {
    /// What it shall leave out when it opens, as the gateway before did.
    fn inherit(&self, ejected: Vec<Ejected>);
    /// Takes requests from now on, with the table that was swapped in, if one was.
    fn open(&self) -> Result<(), String>;
    /// Traces what these orders name, from the next table on.
    fn trace(&self, orders: Orders);
    /// Puts a table in force. When this returns, no request starts on the one before. An error leaves that one in force.
    fn swap(&self, table: &Table) -> impl Future<Output = Result<(), String>> + Send;
    /// Requests in flight to a replica.
    fn in_flight(&self, id: &ReplicaId) -> u32;
    /// Requests in flight to each replica that has any.
    fn all_in_flight(&self) -> InFlight;
    /// The replicas that are left out because they failed their requests.
    fn ejected(&self) -> Vec<Ejected>;
    /// Takes such a replica back.
    fn readmit(&self, id: &ReplicaId);
    /// Tells the clients of a replica that has left the table for good to go, as far as there are words for it.
    fn dismiss(&self, id: &ReplicaId);
    /// Returns when a replica that has left the table has no request in flight.
    fn drained(&self, id: &ReplicaId) -> impl Future<Output = ()> + Send;
    /// Finished requests by place, epoch and release.
    fn tallies(&self) -> Vec<Tally>;
    /// Metrics in Prometheus' text format.
    fn metrics_text(&self) -> String;
    /// The same in OpenMetrics, with traces that stand for buckets.
    fn open_metrics(&self) -> String;
    /// Tells of this, too, wherever metrics are told of; the first that is given stays.
    fn also_tell(&self, page: Page);
    /// Where it listens.
    fn listen_address(&self) -> Option<String>;
    /// Where it serves `/metrics` and `/healthz`, if anywhere.
    fn admin_address(&self) -> Option<String>;
    /// The agent before, whose last requests are this gateway's concern too.
    fn follow(&self, predecessor: Predecessor);
    /// Its sockets once more, for a successor.
    fn listeners(&self) -> Result<Listeners, String>;
    /// Leaves new connections to a successor; those there are told to go with their next answer.
    fn yields(&self);
    /// Returns when the last connection has ended after that, with how many there are still when patience is over.
    fn ended(&self, patience: Duration) -> impl Future<Output = usize> + Send;
    /// Takes no more requests, and waits for those in flight.
    fn shutdown(&self, patience: Duration) -> impl Future<Output = ()> + Send;
}

/// The gateway itself, in this process. Once it is shut down it has no request in flight, and its last counts stay.
pub(crate) struct Real {
    config: proxy::Config,
    /// Until it opens. Connections wait in their queues meanwhile.
    closed: Mutex<Option<Listeners>>,
    inherited: Mutex<Vec<Ejected>>,
    proxy: RwLock<Option<proxy::Gateway>>,
    listen: Option<SocketAddr>,
    also: OnceLock<Page>,
    predecessor: OnceCell<Predecessor>,
    last: Mutex<Vec<Tally>>,
    traces: Arc<Traces>,
}

impl Real {
    /// A gateway that will serve on these sockets, or on its own.
    pub(crate) fn new(config: proxy::Config, listeners: Option<Listeners>) -> Result<Self, String> {
        let bound = listeners.map_or_else(|| Listeners::bind(&config), Ok);
        let listeners = bound.map_err(|error| match error {
            proxy::Error::Listen { .. } => {
                format!("{error}: `shipshape up --listen HOST:PORT`, or `--admin HOST:PORT` for the metrics")
            }
            proxy::Error::Config(_)
            | proxy::Error::Worker(_)
            | proxy::Error::Table(_)
            | proxy::Error::Backend { .. } => error.to_string(),
        })?;
        let listen = listeners.traffic.first().and_then(|listener| listener.local_addr().ok());
        Ok(Self {
            config,
            closed: Mutex::new(Some(listeners)),
            inherited: Mutex::default(),
            proxy: RwLock::default(),
            listen,
            also: OnceLock::new(),
            predecessor: OnceCell::new(),
            last: Mutex::default(),
            traces: Arc::default(),
        })
    }

    /// Opens with this table; `None` when it is open already, or shut down.
    fn open_with(&self, routing: proxy::Routing) -> Option<Result<(), String>> {
        let mut closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        let listeners = closed.as_ref()?.try_clone().map_err(|error| error.to_string());
        let started = listeners.and_then(|listeners| {
            let ejected = self.inherited.lock().unwrap_or_else(PoisonError::into_inner);
            proxy::Gateway::start_on(self.config.clone(), listeners, &routing, &ejected)
                .map_err(|error| error.to_string())
        });
        Some(started.map(|proxy| {
            if let Some(also) = self.also.get() {
                proxy.also_tell(self.and_traces(also));
            }
            *self.proxy.write().unwrap_or_else(PoisonError::into_inner) = Some(proxy);
            *closed = None;
        }))
    }

    /// A page, and what became of the traces.
    fn and_traces(&self, page: &Page) -> Page {
        let (page, traces) = (Arc::clone(page), Arc::clone(&self.traces));
        Arc::new(move || page() + &traces.page())
    }

    fn routing(&self, table: &Table) -> proxy::Routing {
        let place = |entry: &routes::Entry| place(entry, self.traces.tracing(&entry.place));
        proxy::Routing { places: table.entries().iter().map(place).collect() }
    }

    fn ask<T>(&self, question: impl FnOnce(&proxy::Gateway) -> T) -> Option<T> {
        self.proxy.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(question)
    }
}

fn tally(tally: proxy::Tally) -> Tally {
    let proxy::Aimed { requests, errors, latency } = tally.aimed;
    let proxy::UserTally { seen, erred, first_erred } = tally.users;
    Tally {
        place: tally.place,
        epoch: tally.epoch,
        release: tally.release,
        requests: tally.requests,
        errors: tally.errors,
        latency: tally.latency,
        aimed: Aimed { requests, errors, latency },
        users: UserTally { seen, erred, first_erred },
    }
}

fn place(entry: &routes::Entry, tracing: Option<proxy::Tracing>) -> proxy::PlaceRouting {
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
        aim: entry.aim.clone(),
        affinity: entry.affinity.clone(),
        tracing,
    }
}

impl Gateway for Real {
    fn inherit(&self, ejected: Vec<Ejected>) {
        *self.inherited.lock().unwrap_or_else(PoisonError::into_inner) = ejected;
    }

    fn open(&self) -> Result<(), String> {
        self.open_with(proxy::Routing::default()).unwrap_or(Ok(()))
    }

    fn trace(&self, orders: Orders) {
        self.traces.follow(orders);
    }

    async fn swap(&self, table: &Table) -> Result<(), String> {
        let routing = self.routing(table);
        if let Some(opened) = self.open_with(routing.clone()) {
            return opened;
        }
        let swapped = self.ask(|proxy| proxy.swap(routing).map_err(|error| error.to_string()));
        swapped.unwrap_or_else(|| Err("the gateway is shut down".to_owned()))?;
        if let Some(predecessor) = self.predecessor.get() {
            predecessor.swap(table).await;
        }
        Ok(())
    }

    fn in_flight(&self, id: &ReplicaId) -> u32 {
        let own =
            self.ask(|proxy| proxy.in_flight(&id.group.place, id.group.release, id.ordinal)).unwrap_or(0);
        own + self.predecessor.get().map_or(0, |predecessor| predecessor.in_flight(id))
    }

    fn all_in_flight(&self) -> InFlight {
        let mut all = self.predecessor.get().map(Predecessor::all).unwrap_or_default();
        for (place, release, ordinal, count) in self.ask(proxy::Gateway::all_in_flight).unwrap_or_default() {
            let group = GroupId { place, release };
            *all.entry(ReplicaId { group, ordinal }).or_default() += count;
        }
        all
    }

    fn ejected(&self) -> Vec<Ejected> {
        self.ask(proxy::Gateway::ejected).unwrap_or_default()
    }

    fn readmit(&self, id: &ReplicaId) {
        self.ask(|proxy| proxy.readmit(&id.group.place, id.group.release, id.ordinal));
    }

    fn dismiss(&self, id: &ReplicaId) {
        // The clients of the agent before have been told by its yielding.
        self.ask(|proxy| proxy.dismiss(&id.group.place, id.group.release, id.ordinal));
    }

    async fn drained(&self, id: &ReplicaId) {
        let drained = self.ask(|proxy| proxy.drained(&id.group.place, id.group.release, id.ordinal));
        if let Some(drained) = drained {
            drained.await;
        }
        if let Some(predecessor) = self.predecessor.get() {
            predecessor.drained(id).await;
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

    fn open_metrics(&self) -> String {
        self.ask(proxy::Gateway::open_metrics).unwrap_or_default()
    }

    fn also_tell(&self, page: Page) {
        let page = self.also.get_or_init(|| page);
        self.ask(|proxy| proxy.also_tell(self.and_traces(page)));
    }

    fn listen_address(&self) -> Option<String> {
        self.ask(|_| self.listen)?.map(|listen| listen.to_string())
    }

    fn admin_address(&self) -> Option<String> {
        self.ask(proxy::Gateway::admin_address).flatten().map(|address| address.to_string())
    }

    fn follow(&self, predecessor: Predecessor) {
        // There is one at most.
        let _ = self.predecessor.set(predecessor);
    }

    fn listeners(&self) -> Result<Listeners, String> {
        let listeners = self.ask(|proxy| proxy.listeners().map_err(|error| error.to_string()));
        listeners.unwrap_or_else(|| Err("the gateway is shut down".to_owned()))
    }

    fn yields(&self) {
        self.ask(proxy::Gateway::yields);
    }

    async fn ended(&self, patience: Duration) -> usize {
        let own = self.ask(proxy::Gateway::ended);
        let ended = async {
            if let Some(own) = own {
                own.await;
            }
            if let Some(predecessor) = self.predecessor.get() {
                predecessor.finish(Duration::MAX).await;
            }
        };
        match tokio::time::timeout(patience, ended).await {
            Ok(()) => 0,
            Err(_) => self.ask(proxy::Gateway::connections).unwrap_or(0),
        }
    }

    async fn shutdown(&self, patience: Duration) {
        drop(self.closed.lock().unwrap_or_else(PoisonError::into_inner).take());
        let proxy = self.proxy.write().unwrap_or_else(PoisonError::into_inner).take();
        let own = async {
            if let Some(proxy) = proxy {
                proxy.shutdown(patience).await;
            }
        };
        let earlier = async {
            if let Some(predecessor) = self.predecessor.get() {
                predecessor.finish(patience).await;
            }
        };
        tokio::join!(own, earlier);
        self.traces.close().await;
    }
}
