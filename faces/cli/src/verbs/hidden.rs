//! The two processes that `up` starts, as hidden verbs. Does not live here: what they do; the binary brings that.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::Process;

/// The agent.
#[derive(Debug, clap::Args)]
pub(crate) struct Agent {
    #[arg(long)]
    listen: SocketAddr,
    #[arg(long)]
    admin: SocketAddr,
    /// Take over from the agent that runs
    #[arg(long)]
    succeed: bool,
}

impl Agent {
    pub(crate) fn process(&self, home: PathBuf) -> Process {
        Process::Agent { home, listen: self.listen, admin: self.admin, succeeds: self.succeed }
    }
}

/// Control.
#[derive(Debug, clap::Args)]
pub(crate) struct Control {
    /// Where the API listens beside the socket
    #[arg(long, value_name = "ADDRESS")]
    listen_api: Option<SocketAddr>,
}

impl Control {
    pub(crate) fn process(&self, home: PathBuf) -> Process {
        Process::Control { home, api: self.listen_api }
    }
}
