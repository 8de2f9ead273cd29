//! An agent's life: what it takes over, what it waits for, and its four ends. Does not live here: acting (`executor`),
//! and what predecessor and heir say to each other (`succession`).

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use ports::fleet::{ReplicaPhase, Wanted};
use process::{Pace, Settings, ShimCommand, Supervisor};
use proxy::Listeners;
use tokio::net::{UnixListener, UnixStream};

use crate::executor::Executor;
use crate::gateway::Gateway;
use crate::home::{self, Home, Sockets};
use crate::seen::{self, Board};
use crate::succession::{self, Estate, Heir, Predecessor, Released, Wish};
use crate::{Error, server};

/// How long adopted replicas may take to tell that they are ready before the gateway opens without them.
const ADOPTION_PATIENCE: Duration = Duration::from_secs(2);
/// How long the socket's last answers may take.
const LAST_ANSWERS: Duration = Duration::from_secs(2);
/// After a succession that failed, or no connection for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(200);

/// All but the gateway, which opens last.
pub(crate) struct Prepared {
    home: Home,
    settings: Settings,
    sockets: Option<Sockets>,
    supervisor: Supervisor,
    wanted: Option<Wanted>,
    released: Released,
    predecessor: Option<UnixStream>,
}

/// Why one stretch of acting ended.
enum Turn {
    Leave,
    Stop,
    Heir(Heir),
}

impl Prepared {
    pub(crate) async fn new(home: &Path, shim: ShimCommand, pace: Pace) -> Result<Self, Error> {
        let settings = Settings { home: home.to_owned(), shim, pace };
        let home = Home::take(home)?;
        let supervisor = Supervisor::open(settings.clone()).await?;
        let wanted = home.load_wanted()?;
        settle(&supervisor).await;
        let released = Released::default();
        Ok(Self { home, settings, sockets: None, supervisor, wanted, released, predecessor: None })
    }

    /// As the heir of the agent that runs, or anew if none does.
    pub(crate) async fn after(
        home: &Path,
        shim: ShimCommand,
        pace: Pace,
    ) -> Result<(Self, Option<Listeners>), Error> {
        let Some((estate, released, predecessor)) = succession::receive(&home.join(home::HAND)).await? else {
            return Ok((Self::new(home, shim, pace).await?, None));
        };
        tracing::info!(replicas = released.ready.len(), "taking over");
        let settings = Settings { home: home.to_owned(), shim, pace };
        let home = Home::inherit(home, estate.lock)?;
        let supervisor = Supervisor::open_after(settings.clone(), &released.ready).await?;
        let wanted = home.load_wanted()?;
        settle(&supervisor).await;
        let sockets = Some(Sockets { socket: estate.socket, hand: estate.hand });
        let predecessor = Some(predecessor);
        let prepared = Self { home, settings, sockets, supervisor, wanted, released, predecessor };
        Ok((prepared, Some(estate.listeners)))
    }

    pub(crate) async fn serve<G: Gateway>(
        self,
        gateway: G,
        patience: Duration,
        farewell: Duration,
        leave: impl Future<Output = ()> + Send,
    ) -> Result<(), Error> {
        let Self { home, settings, sockets, mut supervisor, mut wanted, mut released, mut predecessor } =
            self;
        let (home, gateway) = (Arc::new(home), Arc::new(gateway));
        let sockets = sockets.map_or_else(|| home.listen(), Ok)?;
        let mut leave = std::pin::pin!(leave);
        let board = Arc::new(Board::of_this_process());
        gateway.also_tell(seen::page(&board));
        loop {
            let executor = Arc::new(Executor::new(
                Arc::clone(&home),
                supervisor,
                Arc::clone(&gateway),
                Arc::clone(&board),
            ));
            executor.resume(wanted, released).await.map_err(Error::Gateway)?;
            if let Some(stream) = predecessor.take() {
                gateway.follow(Predecessor::serving(stream).await?);
            }
            let turn = act(&executor, &home, &sockets, patience, leave.as_mut()).await?;
            let Turn::Heir(mut heir) = turn else {
                home.leave();
                say_end();
                return Ok(());
            };
            (wanted, released) = (executor.wanted().await, executor.release().await);
            drop(executor);
            let failed = match heir.take_over(&released).await {
                Ok(()) => {
                    gateway.yields();
                    drop((home, sockets));
                    farewells(&*gateway, heir, patience, farewell, leave).await;
                    return Ok(());
                }
                Err(error) => error,
            };
            tracing::error!(error = %failed, "the successor did not get there; everything is taken back");
            home.sign()?;
            supervisor = Supervisor::open_after(settings.clone(), &released.ready).await?;
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Acts, answers and waits for the end of it. When this returns the socket is silent, and no pass is under way.
async fn act<G: Gateway>(
    executor: &Arc<Executor<G>>,
    home: &Home,
    sockets: &Sockets,
    patience: Duration,
    leave: Pin<&mut (impl Future<Output = ()> + Send)>,
) -> Result<Turn, Error> {
    let own = sockets
        .try_clone()
        .and_then(|own| Ok((UnixListener::from_std(own.socket)?, UnixListener::from_std(own.hand)?)));
    let (socket, hand) = own.map_err(|error| Error::Succession(error.to_string()))?;
    let acting = tokio::spawn(Arc::clone(executor).act());
    let mut serving = tokio::spawn(server::serve(socket, Arc::clone(executor)));
    tracing::info!(
        event = "agent.started",
        gateway = executor.gateway().listen_address(),
        version = env!("CARGO_PKG_VERSION"),
        pid = std::process::id(),
        "agent started"
    );
    let mut stopping = executor.stopping();
    let turn = tokio::select! {
        () = leave => {
            tracing::info!("leaving the replicas to the next agent");
            // Nothing is started or let go any more; what is on its way out may still finish.
            acting.abort();
            executor.gateway().shutdown(patience).await;
            Turn::Leave
        }
        () = async { drop(stopping.wait_for(|stopping| *stopping).await) } => {
            tracing::info!("stopping everything");
            executor.stop_all().await;
            Turn::Stop
        }
        heir = heirs(&hand, executor.gateway(), home, sockets) => Turn::Heir(heir),
    };
    executor.close();
    if tokio::time::timeout(LAST_ANSWERS, &mut serving).await.is_err() {
        serving.abort();
        let _ = serving.await;
    }
    acting.abort();
    let _ = acting.await;
    Ok(turn)
}

/// Waits for an heir that takes what it is offered.
async fn heirs<G: Gateway>(hand: &UnixListener, gateway: &G, home: &Home, sockets: &Sockets) -> Heir {
    loop {
        let met = async {
            let (stream, _) = hand.accept().await?;
            let own = sockets.try_clone()?;
            let listeners = gateway.listeners().map_err(std::io::Error::other)?;
            let estate = Estate { listeners, socket: own.socket, hand: own.hand, lock: home.lock()? };
            Heir::meet(stream, estate).await
        };
        match met.await {
            Ok(heir) => return heir,
            Err(error) => {
                tracing::warn!(%error, "somebody wanted to take over, and did not");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Finishes the connections there are, on the replicas that are the heir's now.
async fn farewells<G: Gateway>(
    gateway: &G,
    heir: Heir,
    patience: Duration,
    farewell: Duration,
    leave: Pin<&mut (impl Future<Output = ()> + Send)>,
) {
    tracing::info!("a successor has taken over; finishing what is under way");
    let ended = async {
        let left = gateway.ended(farewell).await;
        if left > 0 {
            tracing::warn!(connections = left, "their time is over: closing connections");
        }
    };
    tokio::select! {
        () = ended => gateway.shutdown(Duration::ZERO).await,
        () = wishes(gateway, heir) => gateway.shutdown(Duration::ZERO).await,
        () = leave => gateway.shutdown(patience).await,
    }
    say_end();
}

fn say_end() {
    tracing::info!(event = "agent.ended", "agent ends");
}

/// Does what the heir wishes, until that is to end at once. One that dies is no reason to break off.
async fn wishes<G: Gateway>(gateway: &G, mut heir: Heir) {
    loop {
        match heir.wish().await {
            Some(Wish::Swap(table)) => {
                if let Err(error) = gateway.swap(&table).await {
                    tracing::error!(error, "the successor's table could not be put in force");
                }
            }
            Some(Wish::InFlight) => {}
            Some(Wish::End) => return,
            None => return std::future::pending().await,
        }
        heir.answer(gateway.all_in_flight()).await;
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
