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
//! - A successor takes over ([`Start::Succeed`]): it gets the sockets and the replicas, and this one ends when the last of
//!   its connections has, or [`Config::farewell`] is over.
//! - SIGKILL, or a crash: the replicas go on running for the next agent.

mod client;
mod drift;
mod executor;
mod gateway;
mod home;
mod plan;
mod seen;
mod server;
mod succession;
mod traces;
mod wire;

#[cfg(test)]
mod tests;

mod life;

use std::path::PathBuf;
use std::time::Duration;

use process::{Pace, ShimCommand};

use crate::gateway::Real;
use crate::life::Prepared;

pub use client::{Client, HealthReport};

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
    /// How long connections may go on once a successor has taken over.
    pub farewell: Duration,
}

/// Where an agent's gateway gets its sockets from.
#[derive(Debug)]
pub enum Start {
    /// It opens them, as its configuration says.
    Fresh,
    /// From a service manager, which keeps them open while no agent runs: requests wait in them meanwhile.
    Activated(proxy::Listeners),
    /// From the agent that runs in the same directory, together with the replicas. If there is none this is a fresh
    /// start.
    Succeed,
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
    /// The agent before did not hand over. It goes on.
    #[error("the agent that runs did not hand over: {0}; it goes on as before, agent.log has its view, too")]
    Succession(String),
    /// The gateway could not be started.
    #[error("the gateway cannot start: {0}")]
    Gateway(String),
}

/// How many replicas run in a home directory, though no agent may.
pub fn left(home: &std::path::Path) -> u64 {
    process::left(home)
}

/// The path of the agent's socket in its home directory.
pub fn socket(home: &std::path::Path) -> PathBuf {
    home.join(home::SOCKET)
}

/// Runs the agent until it is asked to end, by SIGTERM, SIGINT or its socket (see the crate's documentation).
///
/// # Errors
/// When it cannot start: another agent is alive, its directory or socket cannot be used, the gateway cannot listen.
pub async fn run(config: Config, start: Start) -> Result<(), Error> {
    use tokio::signal::unix::{SignalKind, signal};
    let signals =
        signal(SignalKind::terminate()).and_then(|term| Ok((term, signal(SignalKind::interrupt())?)));
    let (mut term, mut interrupt) = signals.map_err(|source| Error::File {
        action: "listen for signals in",
        path: config.home.clone(),
        source,
    })?;
    run_until(config, start, async move {
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
pub async fn run_until(
    config: Config,
    start: Start,
    leave: impl Future<Output = ()> + Send,
) -> Result<(), Error> {
    let (patience, farewell) = (config.patience, config.farewell);
    let (prepared, listeners) = match start {
        Start::Fresh => (Prepared::new(&config.home, config.shim, config.pace).await?, None),
        Start::Activated(sockets) => {
            let sockets =
                sockets.complete(&config.gateway).map_err(|error| Error::Gateway(error.to_string()))?;
            (Prepared::new(&config.home, config.shim, config.pace).await?, Some(sockets))
        }
        Start::Succeed => Prepared::after(&config.home, config.shim, config.pace).await?,
    };
    let gateway = Real::new(config.gateway, listeners).map_err(Error::Gateway)?;
    prepared.serve(gateway, patience, farewell, leave).await
}
