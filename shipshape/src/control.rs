//! Control's wiring: journal, artifacts, fleet, secrets and clock around the runtime, and the API in front of it. Does
//! not live here: what control does (`runtime`), and what it is asked (`api`).

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use checks::{Checks, GuardCommand};
use prober::Prober;
use runtime::Ports;
use tokio::signal::unix::{SignalKind, signal};

use crate::GUARD;
use crate::alerts::Alerts;
use crate::answers::Answers;
use crate::clock::SystemClock;
use crate::exports::Following;
use crate::looks;
use crate::metrics;
use crate::objectives::Objectives;
use crate::output::Output;
use crate::records::{self, Intake};
use crate::resources;
use crate::secrets::FromHere;
use crate::telling::{self, Telling};

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// How long the journal may take to close.
const PATIENCE: Duration = Duration::from_secs(10);
/// One decides, the other answers.
const THREADS: usize = 2;

/// Runs control until it is told to end: by SIGTERM or SIGINT, which leave the fleet as it is, or by its socket, which
/// stops the fleet first.
pub(crate) fn run(home: &Path, api: Option<SocketAddr>) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build();
    let runtime = runtime.map_err(|error| format!("control cannot start its threads: {error}"))?;
    let ended = runtime.block_on(serve(home, api));
    runtime.shutdown_timeout(Duration::from_secs(1));
    ended
}

async fn serve(home: &Path, door: Option<SocketAddr>) -> Result<(), String> {
    let mut term = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| error.to_string())?;
    private(home)?;
    let (journal, store) = stores(home)?;
    let agent = Arc::new(::agent::Client::new(home));
    // The journal's lock says that nobody else has the store open.
    let (secrets, known) = records::remembering(FromHere);
    let prober = Arc::new(Prober::new(Arc::clone(&secrets), Arc::new(SystemClock)));
    let records = records::open(home)?;
    let board = Arc::<export::Board>::default();
    let notifier = telling::open(home, Arc::clone(&secrets) as Arc<dyn ports::Secrets>)?;
    let told = metrics::Told::new(&records, &board, &notifier);
    let collector = metrics::open(home, Arc::clone(&agent), &prober, told)?;
    let ports = Ports {
        journal,
        fleet: Arc::clone(&agent),
        artifacts: Arc::new(store),
        checks: Arc::new(Checks::new(guard()).asking(Arc::new(Answers::from(collector.store())))),
        secrets: Arc::clone(&secrets),
        clock: Arc::new(SystemClock),
    };
    let config = runtime::Config { version: VERSION.to_owned(), ..runtime::Config::default() };
    let (handle, mut deciding) = runtime::start(ports, config).await?;
    let (socket, door) = doors(home, door).await.map_err(|error| error.to_string())?;
    tracing::info!(event = "control.started", home = %home.display(), version = VERSION, pid = std::process::id(), "control started");
    let snapshots = handle.snapshots();
    let objectives = Objectives::open(home, handle.clone(), Arc::clone(&secrets) as Arc<dyn ports::Secrets>)?;
    let alerts = Alerts::new(handle.clone(), Arc::clone(&secrets) as Arc<dyn ports::Secrets>);
    records::learn(&snapshots.borrow(), &*secrets);
    let telling = Telling::new(notifier, handle.clone());
    let url = door.as_ref().map_or_else(String::new, |door| format!("http://{}", door.address()));
    known.follow(snapshots.clone());
    let faces = api::Config {
        control: handle,
        logs: Arc::new(Output::new(home.to_owned(), Arc::clone(&known))),
        records: Arc::clone(&records),
        objectives: Arc::clone(&objectives) as Arc<dyn api::objectives::Objectives>,
        rules: Arc::clone(&alerts) as Arc<dyn api::alerts::Rules>,
        receivers: Arc::clone(&telling) as Arc<dyn api::paging::Receivers>,
        version: VERSION.to_owned(),
        probes: Arc::clone(&prober) as Arc<dyn ports::Probes>,
        beside: metrics::router(&collector, &prober, Arc::clone(&alerts), VERSION)
            .merge(telling.router(VERSION)),
    };
    let exports = Following::new(&collector, Arc::clone(&records), cli::home::records(home), board);
    let intake = Intake::new(home, records, known).run();
    let mut ended = None;
    api::serve(socket, door, faces, async {
        tokio::select! {
            _ = term.recv() => {}
            _ = interrupt.recv() => {}
            result = &mut deciding => ended = Some(result),
            never = metrics::follow(&collector, &prober, exports, snapshots) => match never {},
            never = looks::collecting(&collector) => match never {},
            never = intake => match never {},
            never = resources::watch(home.to_owned(), &resources::ALL) => match never {},
            never = objectives.follow(collector.store()) => match never {},
            never = alerts.follow(collector.store()) => match never {},
            never = Box::pin(telling.follow(url)) => match never {},
        }
    })
    .await;
    if let Err(error) = collector.close().await {
        tracing::error!(%error, "the last seconds of metrics are lost");
    }
    tracing::info!(event = "control.ended", version = VERSION, "control ends");
    let ended = if let Some(ended) = ended { ended } else { closed(deciding).await? };
    ended.map_err(|error| format!("control broke down: {error}; `shipshape up` starts it again"))
}

/// The journal, and what was shipped.
fn stores(home: &Path) -> Result<(sqlite::Store, artifacts::Store), String> {
    let journal = sqlite::Store::open(&cli::home::journal(home), sqlite::Config::default())
        .map_err(|error| error.to_string())?;
    let store = artifacts::Store::open(&cli::home::artifacts(home), artifacts::Limits::default())
        .map_err(|error| error.to_string())?;
    Ok((journal, store))
}

/// The very program that runs, even when an upgrade has put another in its place.
fn guard() -> GuardCommand {
    GuardCommand { program: "/proc/self/exe".into(), args: vec![GUARD.into()] }
}

/// Where control is asked. The journal's lock says that no other control lives: what is left of its socket may go.
async fn doors(
    home: &Path,
    door: Option<SocketAddr>,
) -> Result<(api::Socket, Option<api::Door>), api::Error> {
    let socket = api::Socket::open(home).await?;
    let door = match door {
        Some(address) => Some(api::Door::open(home, address).await?),
        None => None,
    };
    Ok((socket, door))
}

/// How deciding ended. Nobody can ask any more, so it ends, and the journal is closed with it.
async fn closed<T>(deciding: impl Future<Output = T>) -> Result<T, String> {
    let late = |_| "the journal did not close in time; nothing that was acknowledged is lost".to_owned();
    tokio::time::timeout(PATIENCE, deciding).await.map_err(late)
}

fn private(home: &Path) -> Result<(), String> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(home)
        .map_err(|error| format!("cannot make the home directory {}: {error}", home.display()))
}
