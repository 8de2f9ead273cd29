//! Replicas as processes on this machine.
//!
//! Lives here: the shim that outlives its agent ([`shim`]), the supervision of replicas ([`Supervisor`]: ports, probes,
//! restarts, crash-loop verdicts, stopping, adoption), their limits (cgroup v2) and their captured output ([`logs`]).
//! Does not live here: how many replicas there should be, when one leaves the routing table, and the gateway; that is
//! the agent's.
//!
//! Linux only: processes are watched by pidfd and told apart by `/proc`.

pub mod shim;

mod actor;
mod backoff;
mod capture;
mod cgroup;
mod exit;
mod files;
mod health;
mod identity;
mod inspect;
pub mod launch;
mod listening;
pub mod logs;
mod port;
mod probe;
pub mod resume;
mod running;
mod supervisor;

use std::path::{Path, PathBuf};

pub use exit::Exit;
pub use files::left;
pub use supervisor::{Pace, ReplicaId, Settings, ShimCommand, Supervisor};

/// Why something could not be done to replicas or their files.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or directory could not be used.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried, as in "read".
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The command of a replica is nowhere to be found.
    #[error("{0}")]
    Command(String),
    /// Every port that replicas may have is taken.
    #[error("no port of the loopback interface is free for another replica: {0}")]
    NoPort(std::io::Error),
    /// The shim did not do its work.
    #[error("{0}")]
    Shim(String),
}

impl Error {
    pub(crate) fn file(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { action, path, source }
    }
}
