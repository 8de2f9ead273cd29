//! The agent's wiring. Does not live here: what it does (`agent`).

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::{activation, resources};
use process::{Pace, ShimCommand};

/// How long requests in flight may go on when the agent is asked to end by a signal.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long the connections of an agent that was upgraded may go on: a download or a chat is nobody's fault.
const FAREWELL: Duration = Duration::from_secs(60 * 60);
/// The gateway has threads of its own; these supervise.
const THREADS: usize = 2;

pub(crate) fn run(
    home: PathBuf,
    listen: SocketAddr,
    admin: SocketAddr,
    succeeds: bool,
) -> Result<(), String> {
    let looks = resources::watch(home.clone(), &resources::OWN);
    let config = agent::Config {
        home,
        gateway: proxy::Config { admin: Some(admin), ..proxy::Config::new(listen) },
        // The very program that runs, even when an upgrade has put another in its place.
        shim: ShimCommand { program: "/proc/self/exe".into(), args: vec!["shim".into()] },
        pace: Pace::default(),
        patience: PATIENCE,
        farewell: FAREWELL,
    };
    let start = match (succeeds, activation::listeners()?) {
        (true, _) => agent::Start::Succeed,
        (false, Some(listeners)) => agent::Start::Activated(listeners),
        (false, None) => agent::Start::Fresh,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build();
    let runtime = runtime.map_err(|error| format!("the agent cannot start its threads: {error}"))?;
    // Ends with the threads.
    runtime.spawn(looks);
    let ended = runtime.block_on(agent::run(config, start)).map_err(|error| error.to_string());
    runtime.shutdown_timeout(Duration::from_secs(1));
    ended
}
