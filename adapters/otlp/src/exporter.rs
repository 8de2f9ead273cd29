//! The queue and the one task behind it: batches, retries, the end. Whoever gives something never waits: a full queue loses
//! the newest, and what is lost is counted. Does not live here: the protocol's words (`http`, `grpc`, `answer`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::body::Bytes;
use model::otlp::Protocol;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::answer::{Refusal, Taken};
use crate::connection::Connection;
use crate::destination::{Address, Destination};
use crate::losses::Losses;
use crate::{Signal, grpc, http};

/// How things are sent. The defaults are those of OpenTelemetry's own exporters, but for the delay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pace {
    /// How many items wait at most; more are lost. Default 2,048.
    pub queue: usize,
    /// How many items one request holds at most. Default 512.
    pub batch: usize,
    /// How long an item waits for others. Default 1 s.
    pub delay: Duration,
    /// The wait before the first retry; it doubles with each. Default 1 s.
    pub first_retry: Duration,
    /// The longest wait before a retry, but for one that the server asks for. Default 30 s.
    pub longest_retry: Duration,
    /// How long a batch is tried. Then it is lost. Default 1 min.
    pub patience: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            queue: 2_048,
            batch: 512,
            delay: Duration::from_secs(1),
            first_retry: Duration::from_secs(1),
            longest_retry: Duration::from_secs(30),
            patience: Duration::from_secs(60),
        }
    }
}

/// What became of all that was given, in the signal's units.
#[derive(Debug, Default)]
pub struct Counts {
    /// Taken by the destination.
    pub sent: AtomicU64,
    /// Lost because too much waited.
    pub overflowed: AtomicU64,
    /// Lost because the destination would not have it.
    pub refused: AtomicU64,
    /// Lost because the destination could not be reached, or was too busy, for too long.
    pub undelivered: AtomicU64,
}

/// How often a trouble with the destination is told of at most.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// A queue to one destination. Dropping it sends nothing more; [`Exporter::close`] sends what waits.
#[derive(Debug)]
pub struct Exporter<S: Signal> {
    offer: Offer<S>,
    closing: watch::Sender<Option<Instant>>,
    task: JoinHandle<()>,
}

/// The end of a queue where things are given.
#[derive(Debug)]
pub struct Offer<S: Signal> {
    queue: mpsc::Sender<S::Item>,
    counts: Arc<Counts>,
}

impl<S: Signal> Clone for Offer<S> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone(), counts: Arc::clone(&self.counts) }
    }
}

impl<S: Signal> Offer<S> {
    /// Gives an item to be sent; never waits. Whether there was room.
    pub fn give(&self, item: S::Item) -> bool {
        let Err(error) = self.queue.try_send(item) else { return true };
        let (mpsc::error::TrySendError::Full(item) | mpsc::error::TrySendError::Closed(item)) = error;
        self.counts.overflowed.fetch_add(S::size(&item) as u64, Ordering::Relaxed);
        false
    }

    /// What became of all that was given.
    pub fn counts(&self) -> &Arc<Counts> {
        &self.counts
    }
}

impl<S: Signal> Exporter<S> {
    /// A queue to this destination. It counts on where `counts` stands. Must be called within a runtime.
    pub fn start(destination: Destination, pace: Pace, counts: Arc<Counts>) -> Self {
        let (queue, inbox) = mpsc::channel(pace.queue.max(1));
        let (closing, closed) = watch::channel(None);
        let carrier = Carrier::<S> {
            destination,
            pace,
            losses: Losses::new(Arc::clone(&counts)),
            counts: Arc::clone(&counts),
            closed,
            connection: None,
            told: None,
            signal: std::marker::PhantomData,
        };
        let task = tokio::spawn(carrier.run(inbox));
        Self { offer: Offer { queue, counts }, closing, task }
    }

    /// Where things are given to it.
    pub fn offer(&self) -> Offer<S> {
        self.offer.clone()
    }

    /// Sends what waits, for as long as `patience`; the rest is lost, and counted.
    pub async fn close(mut self, patience: Duration) {
        self.closing.send_replace(Some(Instant::now() + patience));
        // A moment more, so that it counts what it gives up itself.
        if timeout(patience + Duration::from_millis(200), &mut self.task).await.is_err() {
            self.task.abort();
        }
    }
}

impl<S: Signal> Drop for Exporter<S> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Sends one request at a time, and says what became of it: for whoever keeps what was not taken.
pub struct Courier<S: Signal>(Carrier<S>);

impl<S: Signal> Courier<S> {
    /// To this destination; it counts on where `counts` stands.
    pub fn new(destination: Destination, counts: Arc<Counts>) -> Self {
        let (_, closed) = watch::channel(None);
        Self(Carrier {
            destination,
            pace: Pace::default(),
            losses: Losses::new(Arc::clone(&counts)),
            counts,
            closed,
            connection: None,
            told: None,
            signal: std::marker::PhantomData,
        })
    }

    /// Sends these in one request. What was taken, or will never be, is counted and done with.
    ///
    /// # Errors
    /// How long to wait before they are sent again, when the destination asks for a wait: it cannot be reached, or is too busy.
    pub async fn send(&mut self, items: Vec<S::Item>) -> Result<(), Option<Duration>> {
        let size = items.iter().map(S::size).sum::<usize>() as u64;
        let body = Bytes::from(S::encode(items));
        match self.0.send(&body).await {
            Ok(taken) => self.0.taken(&taken, size),
            Err(Refusal::Never(what)) => {
                self.0.counts.refused.fetch_add(size, Ordering::Relaxed);
                self.0.tell("does not take what is sent", &what);
            }
            Err(Refusal::Later(what, asked)) => {
                self.0.tell("cannot be reached; what is to be sent waits", &what);
                return Err(asked);
            }
        }
        self.0.say_losses();
        Ok(())
    }
}

/// The task behind a queue.
struct Carrier<S> {
    destination: Destination,
    pace: Pace,
    counts: Arc<Counts>,
    losses: Losses,
    /// Until when, once it is to end.
    closed: watch::Receiver<Option<Instant>>,
    connection: Option<Connection>,
    /// When a trouble was last told of.
    told: Option<Instant>,
    signal: std::marker::PhantomData<fn() -> S>,
}

impl<S: Signal> Carrier<S> {
    async fn run(mut self, mut inbox: mpsc::Receiver<S::Item>) {
        loop {
            let batch = self.gather(&mut inbox).await;
            if batch.is_empty() {
                return;
            }
            let size = batch.iter().map(S::size).sum::<usize>() as u64;
            let body = Bytes::from(S::encode(batch));
            self.deliver(body, size).await;
            self.say_losses();
        }
    }

    /// The next batch; an empty one when nothing waits and it is to end.
    async fn gather(&mut self, inbox: &mut mpsc::Receiver<S::Item>) -> Vec<S::Item> {
        let mut batch = Vec::new();
        let most = self.pace.batch.max(1);
        let mut full_at = None;
        while batch.len() < most {
            let closing = self.closed.borrow().is_some();
            if closing {
                // Nobody is waited for any more.
                match inbox.try_recv() {
                    Ok(item) => batch.push(item),
                    Err(_) => break,
                }
                continue;
            }
            let until = async |at: Option<Instant>| match at {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            };
            tokio::select! {
                biased;
                _ = self.closed.changed() => {}
                item = inbox.recv() => match item {
                    Some(item) => {
                        full_at = full_at.or_else(|| Some(Instant::now() + self.pace.delay));
                        batch.push(item);
                    }
                    None => break,
                },
                () = until(full_at) => break,
                () = until(self.losses.wait()) => self.say_losses(),
            }
        }
        batch
    }

    /// Sends a batch, as often as the protocol allows.
    async fn deliver(&mut self, body: Bytes, size: u64) {
        let begun = Instant::now();
        let mut retry = self.pace.first_retry;
        loop {
            let (what, asked) = match self.send(&body).await {
                Ok(taken) => return self.taken(&taken, size),
                Err(Refusal::Never(what)) => {
                    self.counts.refused.fetch_add(size, Ordering::Relaxed);
                    return self.tell("does not take what is sent", &what);
                }
                Err(Refusal::Later(what, asked)) => (what, asked),
            };
            let spread = retry.mul_f64(0.8 + 0.4 * fastrand::f64());
            let wait = asked.unwrap_or(spread).max(spread.min(self.pace.first_retry));
            let give_up =
                (begun + self.pace.patience).min(self.closed.borrow().unwrap_or(begun + self.pace.patience));
            if Instant::now() + wait >= give_up {
                self.counts.undelivered.fetch_add(size, Ordering::Relaxed);
                return self.tell("cannot be reached; what was to be sent is lost", &what);
            }
            self.tell("is tried again", &what);
            tokio::select! {
                () = sleep(wait) => {}
                // The end comes nearer: whether there is time to wait is asked anew.
                _ = self.closed.changed() => {}
            }
            retry = (retry * 2).min(self.pace.longest_retry);
        }
    }

    fn taken(&mut self, taken: &Taken, size: u64) {
        let rejected = taken.rejected.min(size);
        self.counts.sent.fetch_add(size - rejected, Ordering::Relaxed);
        self.counts.refused.fetch_add(rejected, Ordering::Relaxed);
        if rejected > 0 || !taken.message.is_empty() {
            let what = format!("{rejected} of {size} rejected: {}", taken.message);
            self.tell("has something to say of what it took", &what);
        }
    }

    async fn send(&mut self, body: &Bytes) -> Result<Taken, Refusal> {
        let address = self.destination.address().map_err(Refusal::Never)?;
        // A connection that rested may have been closed meanwhile, which says nothing.
        let rested = self.connection.take();
        let patience = self.destination.timeout;
        let late =
            || Refusal::Later(format!("no answer within {}", model::time::format_duration(patience)), None);
        if let Some(connection) = rested
            && let Ok(answer) =
                timeout(patience, self.once(connection, &address, body)).await.map_err(|_| late())?
        {
            return answer;
        }
        let fresh = async {
            let opened = Connection::open(&self.destination, &address).await;
            let connection = opened.map_err(|what| Refusal::Later(what, None))?;
            self.once(connection, &address, body).await.map_err(|what| Refusal::Later(what, None))?
        };
        timeout(patience, fresh).await.unwrap_or_else(|_| Err(late()))
    }

    /// One request on a connection, which is kept when it may serve again. An error is the connection's.
    async fn once(
        &mut self,
        mut connection: Connection,
        address: &Address,
        body: &Bytes,
    ) -> Result<Result<Taken, Refusal>, String> {
        let request = match self.destination.protocol {
            Protocol::Http => http::request(&self.destination, address, S::PATH, body.clone()),
            Protocol::Grpc => grpc::request(&self.destination, address, S::METHOD, body),
        };
        let request = match request {
            Ok(request) => request,
            Err(what) => return Ok(Err(Refusal::Never(what))),
        };
        let response = connection.send(request).await?;
        let answer = match self.destination.protocol {
            Protocol::Http => http::read(response).await,
            Protocol::Grpc => grpc::read(response).await,
        };
        self.connection = Some(connection);
        Ok(answer)
    }

    /// Says what was lost, once in a while.
    fn say_losses(&mut self) {
        let Some([overflowed, refused, undelivered]) = self.losses.due(Instant::now()) else { return };
        let Destination { endpoint, .. } = &self.destination;
        let signal = S::PATH;
        tracing::warn!(event = "export.dropped", signal, %endpoint, overflowed, refused, undelivered, "what was to be sent on is lost");
    }

    /// Tells of a trouble, once in a while.
    fn tell(&mut self, trouble: &str, what: &str) {
        let now = Instant::now();
        if self.told.is_some_and(|told| now - told < TELL_EVERY) {
            return;
        }
        self.told = Some(now);
        let Destination { endpoint, .. } = &self.destination;
        tracing::warn!(%endpoint, what = self.destination.clean(what), "{} {trouble}", S::PATH);
    }
}
