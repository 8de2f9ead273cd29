//! The heir's end: it has a predecessor, which for a while still finishes connections on the same replicas. So its table
//! must follow every swap, and its requests count as in flight.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use process::ReplicaId;
use routes::Table;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::{Ask, Entry, Estate, InFlight, Offer, PATIENCE, Released, VERSION, carry};
use crate::Error;

/// How often its counts are asked for.
const LOOK: Duration = Duration::from_millis(50);

/// The agent before, as long as it lives.
pub(crate) struct Predecessor {
    asks: mpsc::Sender<(Ask, oneshot::Sender<()>)>,
    seen: Arc<Mutex<InFlight>>,
    gone: watch::Receiver<bool>,
}

/// Takes over from the agent that has this directory; `None` when there is none. From then on it does nothing but wait.
///
/// # Errors
/// When it refuses.
pub(crate) async fn receive(
    hand: &Path,
) -> Result<Option<(Estate, Released, tokio::net::UnixStream)>, Error> {
    let path = hand.to_owned();
    let received = spawn_blocking(move || {
        let Ok(mut stream) = UnixStream::connect(&path) else { return Ok(None) };
        let (estate, released) = ask(&mut stream)?;
        stream.set_nonblocking(true)?;
        Ok::<_, io::Error>(Some((estate, released, stream)))
    });
    let failed = |error: io::Error| Error::Succession(error.to_string());
    let Some((estate, released, stream)) =
        received.await.map_err(io::Error::other).flatten().map_err(failed)?
    else {
        return Ok(None);
    };
    Ok(Some((estate, released, tokio::net::UnixStream::from_std(stream).map_err(failed)?)))
}

fn ask(stream: &mut UnixStream) -> io::Result<(Estate, Released)> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let offer: Offer = carry::hear(stream)?;
    if offer.version != VERSION {
        let it = offer.version;
        return Err(io::Error::other(format!("it speaks version {it} of this, not {VERSION}")));
    }
    let traffic = (0..offer.traffic).map(|_| Ok(carry::get(stream)?.into())).collect::<io::Result<_>>()?;
    let admin = if offer.admin { Some(carry::get(stream)?.into()) } else { None };
    let estate = Estate {
        listeners: proxy::Listeners { traffic, admin },
        socket: carry::get(stream)?.into(),
        hand: carry::get(stream)?.into(),
        lock: carry::get(stream)?.into(),
    };
    carry::say(stream, &Ask::Take { version: VERSION })?;
    Ok((estate, carry::hear(stream)?))
}

impl Predecessor {
    /// Tells it that its heir serves.
    ///
    /// # Errors
    /// When it is gone, or has taken everything back.
    pub(crate) async fn serving(mut stream: tokio::net::UnixStream) -> Result<Self, Error> {
        let told = carry::say_later(&mut stream, &Ask::Serving).await;
        told.map_err(|error| Error::Succession(error.to_string()))?;
        let (asks, queue) = mpsc::channel(64);
        let (left, gone) = watch::channel(false);
        let seen = Arc::default();
        tokio::spawn(talk(stream, queue, Arc::clone(&seen), left));
        Ok(Self { asks, seen, gone })
    }

    /// Puts a table in force there too. When this returns, it starts no request on the one before.
    pub(crate) async fn swap(&self, table: &Table) {
        self.ask(Ask::Swap(table.entries().iter().map(Entry::from).collect())).await;
    }

    /// Its requests in flight to a replica, as of a moment ago.
    pub(crate) fn in_flight(&self, id: &ReplicaId) -> u32 {
        self.all().get(id).copied().unwrap_or(0)
    }

    pub(crate) fn all(&self) -> InFlight {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns when it has no request in flight to a replica that has left the table.
    pub(crate) async fn drained(&self, id: &ReplicaId) {
        loop {
            self.ask(Ask::InFlight).await;
            if *self.gone.borrow() || self.in_flight(id) == 0 {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until it has finished, as long as there is patience; then ends it.
    pub(crate) async fn finish(&self, patience: Duration) {
        let mut gone = self.gone.clone();
        let mut wait = async |patience| timeout(patience, gone.wait_for(|gone| *gone)).await.is_ok();
        if !wait(patience).await {
            self.ask(Ask::End).await;
            wait(PATIENCE).await;
        }
    }

    async fn ask(&self, ask: Ask) {
        let (done, answered) = oneshot::channel();
        if self.asks.send((ask, done)).await.is_ok() {
            let _ = answered.await;
        }
    }
}

/// In a task of its own: an exchange that was cancelled half-way would spoil the next.
async fn talk(
    mut stream: tokio::net::UnixStream,
    mut queue: mpsc::Receiver<(Ask, oneshot::Sender<()>)>,
    seen: Arc<Mutex<InFlight>>,
    left: watch::Sender<bool>,
) {
    let keep = |now: InFlight| *seen.lock().unwrap_or_else(PoisonError::into_inner) = now;
    loop {
        let (ask, done) = match timeout(LOOK, queue.recv()).await {
            Ok(Some((ask, done))) => (ask, Some(done)),
            Ok(None) => return,
            Err(_) => (Ask::InFlight, None),
        };
        let exchange = async {
            carry::say_later(&mut stream, &ask).await?;
            carry::hear_later::<Vec<(ReplicaId, u32)>>(&mut stream).await
        };
        match timeout(PATIENCE, exchange).await {
            Ok(Ok(counts)) => keep(counts.into_iter().collect()),
            Ok(Err(_)) | Err(_) => {
                keep(InFlight::new());
                left.send_replace(true);
                tracing::info!("the agent before has ended");
                return;
            }
        }
        if let Some(done) = done {
            let _ = done.send(());
        }
    }
}
