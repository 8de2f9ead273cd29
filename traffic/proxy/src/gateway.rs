//! The gateway's face: start, swap, ask, stop.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use model::{Place, ReleaseNumber};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::admin::{self, Admin};
use crate::config::Config;
use crate::counts::WorkerCounts;
use crate::ejection::{self, Ejected};
use crate::error::Error;
use crate::listen::Listeners;
use crate::live::{Live, Routing};
use crate::metrics;
use crate::registry::{Page, Registry, Tally};
use crate::replica::lock;
use crate::worker::{self, Doors, Phase, Worker};

/// A running gateway. Dropping it closes everything at once; [`Gateway::shutdown`] finishes what is in flight.
pub struct Gateway {
    workers: Vec<Arc<Worker>>,
    registry: Arc<Registry>,
    phase: watch::Sender<Phase>,
    /// Closed when all worker threads are through.
    running: watch::Receiver<()>,
    listen: SocketAddr,
    admin: Option<SocketAddr>,
    /// Once more what the workers have, for a successor; empty once there is one.
    listeners: Mutex<Listeners>,
    /// Two swaps at once would take the workers' locks in turn, and neither would be atomic.
    swapping: Mutex<()>,
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway")
            .field("listen", &self.listen)
            .field("admin", &self.admin)
            .finish_non_exhaustive()
    }
}

impl Gateway {
    /// Listens and serves, from the first request on by this table.
    ///
    /// # Errors
    /// When the configuration makes no sense, the table contradicts itself, an address is not to be had, or threads are
    /// not.
    pub fn start(config: Config, routing: &Routing) -> Result<Self, Error> {
        check(&config)?;
        let listeners = Listeners::bind(&config)?;
        Self::start_on(config, listeners, routing, &[])
    }

    /// Serves on sockets that exist already, with this table from the first request on, and without the replicas that a
    /// predecessor had ejected. The addresses of the configuration do not matter then. There are at least as many workers
    /// as sockets.
    ///
    /// # Errors
    /// When the configuration makes no sense, a socket does not listen, the table contradicts itself, or threads are
    /// not to be had.
    pub fn start_on(
        mut config: Config,
        listeners: Listeners,
        routing: &Routing,
        ejected: &[Ejected],
    ) -> Result<Self, Error> {
        config.workers = config.workers.max(listeners.traffic.len());
        check(&config)?;
        let address = |listener: &std::net::TcpListener, wanted| {
            listener.local_addr().map_err(|source| Error::Listen { address: wanted, source })
        };
        let first = listeners.traffic.first().ok_or(Error::Config("there is no socket to listen on"))?;
        let listen = address(first, config.listen)?;
        let admin = listeners.admin.as_ref().map(|admin| address(admin, config.listen)).transpose()?;
        let dealt = listeners.deal(config.workers);
        let (each, admin_listener) = dealt.map_err(|source| Error::Listen { address: listen, source })?;
        let registry = Arc::new(Registry::new(config.workers, config.limits.series));
        let (live, open) = (Arc::new(registry.bind(routing)?), Doors::default());
        for ejected in ejected {
            let replicas = registry.replicas(&ejected.place, ejected.release, ejected.ordinal);
            replicas.iter().for_each(|replica| replica.repute.inherit(ejected));
        }
        let worker = |index| {
            Arc::new(Worker {
                index,
                limits: config.limits.clone(),
                shard: Mutex::new(live.clone()),
                counts: WorkerCounts::default(),
                open: open.clone(),
                yielding: AtomicBool::new(false),
            })
        };
        let workers: Vec<Arc<Worker>> = (0..config.workers).map(worker).collect();
        let (phase, seen) = watch::channel(Phase::Serving);
        let (alive, running) = watch::channel(());
        let alive = Arc::new(alive);
        let listeners = Mutex::new(listeners);
        let gateway =
            Self { workers, registry, phase, running, listen, admin, listeners, swapping: Mutex::default() };
        for (worker, listener) in gateway.workers.iter().zip(each) {
            let (worker, seen, alive) = (worker.clone(), seen.clone(), alive.clone());
            thread(format!("gateway-{}", worker.index), move || async move {
                if let Some(listener) = register(listener) {
                    worker::run(worker, listener, seen).await;
                }
                drop(alive);
            })?;
        }
        let keeper = Arc::new(Admin {
            registry: gateway.registry.clone(),
            workers: gateway.workers.clone(),
            limits: config.limits,
        });
        thread("gateway-admin".to_owned(), move || async move {
            admin::run(keeper, admin_listener.and_then(register), seen).await;
        })?;
        Ok(gateway)
    }

    /// Where requests come in, with the real port.
    pub fn listen_address(&self) -> SocketAddr {
        self.listen
    }

    /// Where `/metrics` and `/healthz` are served, with the real port.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// Puts a table in force for all workers at once: when this returns, no request starts on the old one, and retries
    /// of old requests use the new one. Never waits for a request, so it may be called from async code.
    ///
    /// # Errors
    /// When the table contradicts itself; the old one then stays in force.
    pub fn swap(&self, routing: Routing) -> Result<(), Error> {
        let _one_at_a_time = lock(&self.swapping);
        let live = Arc::new(self.registry.bind(&routing)?);
        let mut shards: Vec<_> = self.workers.iter().map(|worker| lock(&worker.shard)).collect();
        let old: Vec<Arc<Live>> =
            shards.iter_mut().map(|shard| std::mem::replace(&mut **shard, live.clone())).collect();
        drop(shards);
        drop(old);
        self.registry.settle(&live);
        Ok(())
    }

    /// How many requests a replica has in flight, upgraded connections included; zero for one that is not known.
    pub fn in_flight(&self, place: &Place, release: ReleaseNumber, ordinal: u32) -> u32 {
        self.registry.replicas(place, release, ordinal).iter().map(|replica| replica.in_flight()).sum()
    }

    /// The requests in flight of each replica that has any.
    pub fn all_in_flight(&self) -> Vec<(Place, ReleaseNumber, u32, u32)> {
        let all = self.registry.all_replicas();
        let counts = all.iter().map(|replica| {
            let id = &replica.identity;
            (id.place.clone(), id.release, id.ordinal, replica.in_flight())
        });
        counts.filter(|(_, _, _, count)| *count > 0).collect()
    }

    /// The replicas that get no requests because they failed those they got.
    pub fn ejected(&self) -> Vec<Ejected> {
        self.registry.all_replicas().iter().filter_map(|replica| ejection::told(replica)).collect()
    }

    /// Takes a replica back that was ejected. Whoever calls this has asked it, and it answered.
    pub fn readmit(&self, place: &Place, release: ReleaseNumber, ordinal: u32) {
        let now = std::time::Instant::now();
        let replicas = self.registry.replicas(place, release, ordinal);
        replicas.iter().for_each(|replica| replica.repute.readmit(now));
    }

    /// Tells the clients of a replica's WebSockets that it goes, each between two of its messages: a Close frame with status
    /// 1001. It must be out of the table. Other upgraded connections have no words for it, and go on.
    pub fn dismiss(&self, place: &Place, release: ReleaseNumber, ordinal: u32) {
        self.registry.replicas(place, release, ordinal).iter().for_each(|replica| replica.dismiss());
    }

    /// Resolves when a replica has nothing in flight. For one that is out of the table this is final.
    pub fn drained(
        &self,
        place: &Place,
        release: ReleaseNumber,
        ordinal: u32,
    ) -> impl Future<Output = ()> + Send + use<> {
        let replicas = self.registry.replicas(place, release, ordinal);
        async move {
            for replica in replicas {
                replica.drained().await;
            }
        }
    }

    /// The counts of each place, epoch and release: the current epoch and those before it (80 in all for each place).
    pub fn tallies(&self) -> Vec<Tally> {
        self.registry.tallies()
    }

    /// All metrics in Prometheus' text format 0.0.4.
    pub fn metrics_text(&self) -> String {
        metrics::text(&self.registry, &self.workers)
    }

    /// The same in OpenMetrics 1.0, where buckets of latencies name a trace that was kept.
    pub fn open_metrics(&self) -> String {
        metrics::open_metrics(&self.registry, &self.workers)
    }

    /// Tells of this, too, wherever metrics are told of; the first that is given stays.
    pub fn also_tell(&self, page: Page) {
        let _ = self.registry.also.set(page);
    }

    /// The sockets once more, for a successor in this process or another; none once [`Gateway::yields`] was called.
    ///
    /// # Errors
    /// When file descriptors are not to be had.
    pub fn listeners(&self) -> std::io::Result<Listeners> {
        lock(&self.listeners).try_clone()
    }

    /// Leaves new connections to a successor that has the same sockets. Those there are go on: each HTTP/1 connection
    /// gets its next answer with `Connection: close`, resting ones are not closed under a request that is on its way,
    /// HTTP/2 clients get GOAWAY, those of WebSockets a Close frame, each at a moment of its own within
    /// [`Limits::handover_spread`](crate::Limits::handover_spread), and other upgraded ones are left alone. The table can
    /// still be swapped.
    pub fn yields(&self) {
        self.workers.iter().for_each(|worker| worker.yielding.store(true, Ordering::Release));
        drop(std::mem::take(&mut *lock(&self.listeners)));
        self.phase.send_if_modified(|phase| {
            let serving = *phase == Phase::Serving;
            if serving {
                *phase = Phase::Yielding;
            }
            serving
        });
    }

    /// Resolves when the last connection has ended after [`Gateway::yields`].
    pub fn ended(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut running = self.running.clone();
        // The channel is never written: this waits until the last worker drops its end.
        async move { while running.changed().await.is_ok() {} }
    }

    /// Open client connections, upgraded ones included.
    pub fn connections(&self) -> usize {
        self.workers.first().map_or(0, |worker| worker.open.count())
    }

    /// Accepts no more connections, tells clients to go (`Connection: close`, GOAWAY, a WebSocket's Close), lets requests in flight finish for
    /// as long as `patience`, then closes what is left.
    pub async fn shutdown(self, patience: Duration) {
        drop(std::mem::take(&mut *lock(&self.listeners)));
        self.phase.send_replace(Phase::Draining);
        let _ = tokio::time::timeout(patience, self.ended()).await;
        self.phase.send_replace(Phase::Closed);
        self.ended().await;
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.phase.send_replace(Phase::Closed);
    }
}

fn check(config: &Config) -> Result<(), Error> {
    if (1..=256).contains(&config.workers) {
        return Ok(());
    }
    Err(Error::Config("workers must be 1 to 256"))
}

/// A thread with an event loop of its own.
fn thread<F: Future<Output = ()>>(
    name: String,
    main: impl FnOnce() -> F + Send + 'static,
) -> Result<(), Error> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Worker)?;
    let body = move || runtime.block_on(main());
    std::thread::Builder::new().name(name).spawn(body).map_err(Error::Worker)?;
    Ok(())
}

fn register(listener: std::net::TcpListener) -> Option<TcpListener> {
    TcpListener::from_std(listener)
        .inspect_err(|error| tracing::error!(%error, "a listener cannot join its event loop"))
        .ok()
}
