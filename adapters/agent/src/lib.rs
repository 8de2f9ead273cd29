//! The agent: the one process on a machine that acts. It runs the gateway and the replicas under one wanted state, which
//! it keeps on disk, so that it needs nobody to go on serving.
//!
//! Lives here: the executor (wanted against seen), the directory it owns, the REST interface on its Unix socket, and the
//! [`Client`] for it, which is the [`ports::Fleet`] of control. Does not live here: policy. The agent decides nothing
//! about releases, weights or rollbacks.
//!
//! # How it ends
//! - SIGTERM or SIGINT: the gateway takes no more requests and finishes those in flight; the replicas go on running for
//!   the next agent, which adopts them.
//! - `POST /stop`: the gateway finishes what is in flight, then every replica is stopped, then the agent ends.
//! - SIGKILL, or a crash: the replicas go on running for the next agent.

mod client;
mod executor;
mod gateway;
mod home;
mod plan;
mod seen;
mod server;
mod wire;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ports::fleet::ReplicaPhase;
use process::{Pace, Settings, ShimCommand, Supervisor};
use routes::Table;

use crate::executor::Executor;
use crate::gateway::{Gateway, Real};
use crate::home::Home;

pub use client::{Client, HealthReport};

/// How long adopted replicas may take to tell that they are ready before the gateway opens without them.
const ADOPTION_PATIENCE: Duration = Duration::from_secs(2);

/// What the agent needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// The directory that holds everything it writes; only one agent may use it at a time.
    pub home: PathBuf,
    /// Where and how the gateway listens.
    pub gateway: proxy::Config,
    /// How a replica's shim is started; it ends up in [`process::shim::main`].
    pub shim: ShimCommand,
    /// How failing replicas are treated.
    pub pace: Pace,
    /// How long requests in flight may go on when the agent is asked to end by a signal.
    pub patience: Duration,
}

/// Why the agent could not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another one has the directory.
    #[error("another agent (pid {pid}) is at work in {}: `shipshape down` stops it", home.display())]
    Busy {
        /// The directory.
        home: PathBuf,
        /// Who has it.
        pid: String,
    },
    /// The directory lies too deep for a Unix socket.
    #[error("the socket path {} has {length} bytes, the system allows {most}: choose a shorter home directory", path.display())]
    SocketPath {
        /// The path.
        path: PathBuf,
        /// Its length.
        length: usize,
        /// The longest that works.
        most: usize,
    },
    /// A file could not be used.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried, as in "read".
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The replicas' directory could not be used.
    #[error(transparent)]
    Replicas(#[from] process::Error),
    /// The gateway could not be started.
    #[error("the gateway cannot start: {0}")]
    Gateway(String),
}

/// The path of the agent's socket in its home directory.
pub fn socket(home: &std::path::Path) -> PathBuf {
    home.join(home::SOCKET)
}

/// Runs the agent until it is asked to end, by SIGTERM, SIGINT or its socket (see the crate's documentation).
///
/// # Errors
/// When it cannot start: another agent is alive, its directory or socket cannot be used, the gateway cannot listen.
pub async fn run(config: Config) -> Result<(), Error> {
    use tokio::signal::unix::{SignalKind, signal};
    let signals =
        signal(SignalKind::terminate()).and_then(|term| Ok((term, signal(SignalKind::interrupt())?)));
    let (mut term, mut interrupt) = signals.map_err(|source| Error::File {
        action: "listen for signals in",
        path: config.home.clone(),
        source,
    })?;
    run_until(config, async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
    .await
}

/// Runs the agent until it is asked to end by its socket, or `leave` is done, which means the same as SIGTERM.
///
/// # Errors
/// Those of [`run`].
pub async fn run_until(config: Config, leave: impl Future<Output = ()> + Send) -> Result<(), Error> {
    let prepared = Prepared::new(&config.home, config.shim, config.pace).await?;
    let gateway = Real::start(config.gateway, &prepared.table()).map_err(Error::Gateway)?;
    prepared.serve(gateway, config.patience, leave).await
}

/// All but the gateway, which opens last.
struct Prepared {
    home: Home,
    supervisor: Supervisor,
    wanted: Option<ports::fleet::Wanted>,
}

impl Prepared {
    async fn new(home: &std::path::Path, shim: ShimCommand, pace: Pace) -> Result<Self, Error> {
        let settings = Settings { home: home.to_owned(), shim, pace };
        let home = Home::take(home)?;
        let supervisor = Supervisor::open(settings).await?;
        let wanted = home.load_wanted()?;
        settle(&supervisor).await;
        Ok(Self { home, supervisor, wanted })
    }

    /// The table of the stored wanted state and the adopted replicas: the gateway opens with it, so that no request
    /// finds a place unknown that the former agent served.
    fn table(&self) -> Table {
        let Some(wanted) = &self.wanted else { return Table::default() };
        let replicas = self.supervisor.replicas();
        let leaving = plan::surplus(wanted, &replicas, &BTreeSet::new());
        Table::build(plan::entries(wanted, &replicas, &leaving)).unwrap_or_else(|error| {
            // The executor's first pass meets the same error, and warns of it until control sends another state.
            tracing::error!(%error, "the stored wanted state has no routing table");
            Table::default()
        })
    }

    async fn serve<G: Gateway>(
        self,
        gateway: G,
        patience: Duration,
        leave: impl Future<Output = ()> + Send,
    ) -> Result<(), Error> {
        let listener = self.home.listen()?;
        let executor = Arc::new(Executor::new(self.home, self.supervisor, gateway));
        executor.resume(self.wanted).await;
        let acting = tokio::spawn(Arc::clone(&executor).act());
        let serving = tokio::spawn(server::serve(listener, Arc::clone(&executor)));
        tracing::info!(gateway = executor.gateway().listen_address(), "agent started");
        let mut stopping = executor.stopping();
        tokio::select! {
            () = leave => {
                tracing::info!("leaving the replicas to the next agent");
                // Nothing is started or let go any more; what is on its way out may still finish.
                acting.abort();
                executor.gateway().shutdown(patience).await;
            }
            () = async { drop(stopping.wait_for(|stopping| *stopping).await) } => {
                tracing::info!("stopping everything");
                executor.stop_all().await;
            }
        }
        acting.abort();
        let _ = acting.await;
        executor.close();
        let _ = tokio::time::timeout(Duration::from_secs(2), serving).await;
        executor.home().leave();
        Ok(())
    }
}

/// Waits until adopted replicas have told whether they are ready, so that the gateway does not open to refuse.
async fn settle(supervisor: &Supervisor) {
    let mut changes = supervisor.changes();
    let _ = tokio::time::timeout(ADOPTION_PATIENCE, async {
        loop {
            changes.borrow_and_update();
            let groups = supervisor.replicas();
            let starting = groups.values().flatten().any(|replica| replica.phase == ReplicaPhase::Starting);
            if !starting || changes.changed().await.is_err() {
                return;
            }
        }
    })
    .await;
}
