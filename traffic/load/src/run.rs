//! The run: a thread of its own with a current-thread runtime, so that nobody else's work makes the dispatcher late;
//! the dispatcher on it; and the handle. Does not live here: single exchanges, and what is computed afterwards.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use crate::client::{self, Shared};
use crate::config::{self, Config, Plan};
use crate::schedule::Schedule;
use crate::{Error, Report, Snapshot};

/// Starts runs.
#[derive(Debug)]
pub struct Load;

/// A run in progress. Dropping it ends the run.
#[derive(Debug)]
pub struct Running {
    shared: Arc<Shared>,
    wanted: watch::Sender<Wanted>,
    done: oneshot::Receiver<bool>,
}

#[derive(Debug, Clone, Copy)]
struct Wanted {
    rate_per_second: f64,
    stop: bool,
}

impl Load {
    /// Starts sending at once.
    ///
    /// # Errors
    /// A setting is out of range, the target is not on this machine, or the thread cannot be made.
    pub fn start(config: Config) -> Result<Running, Error> {
        let plan = Plan::new(config)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let first = Wanted { rate_per_second: plan.config.rate_per_second, stop: false };
        let shared = Shared::new(plan);
        let (wanted, inbox) = watch::channel(first);
        let (tell, done) = oneshot::channel();
        let theirs = Arc::clone(&shared);
        std::thread::Builder::new().name("load".into()).spawn(move || {
            let limited = runtime.block_on(run(theirs, inbox));
            // Nobody may be left to hear it: the handle was dropped.
            let _ = tell.send(limited);
        })?;
        Ok(Running { shared, wanted, done })
    }
}

impl Running {
    /// The counts so far.
    pub fn snapshot(&self) -> Snapshot {
        self.shared.ledger().snapshot()
    }

    /// The random part of this run's sequence numbers.
    pub fn run(&self) -> &str {
        &self.shared.plan.run
    }

    /// From now on another rate. What is already due stays due.
    ///
    /// # Errors
    /// The rate is out of range, or the run is over.
    pub fn set_rate(&self, rate_per_second: f64) -> Result<(), Error> {
        config::check_rate(rate_per_second)?;
        if self.wanted.is_closed() {
            return Err(Error::Over);
        }
        self.wanted.send_modify(|wanted| wanted.rate_per_second = rate_per_second);
        Ok(())
    }

    /// Ends the schedule now, waits for what is queued and in flight (up to the drain time), and reports.
    ///
    /// # Errors
    /// The thread died.
    pub async fn stop(self) -> Result<Report, Error> {
        self.wanted.send_modify(|wanted| wanted.stop = true);
        self.wait().await
    }

    /// Waits until the schedule has ended by itself, then as [`Running::stop`].
    ///
    /// # Errors
    /// The thread died.
    pub async fn wait(self) -> Result<Report, Error> {
        let limited = self.done.await.map_err(|_| Error::Died)?;
        let ledger = std::mem::take(&mut *self.shared.ledger());
        Ok(Report::new(self.shared.plan.run.clone(), self.shared.start, ledger, limited))
    }
}

/// Dispatches, then drains. Says whether the limit of requests ended it.
async fn run(shared: Arc<Shared>, inbox: watch::Receiver<Wanted>) -> bool {
    let mut workers = JoinSet::new();
    for _ in 0..shared.plan.config.connections {
        workers.spawn(client::work(Arc::clone(&shared)));
    }
    let limited = dispatch(&shared, inbox).await;
    shared.close();
    let drained = async { while workers.join_next().await.is_some() {} };
    let in_time = tokio::time::timeout(shared.plan.config.drain, drained).await.is_ok();
    if !in_time {
        workers.shutdown().await;
    }
    // After a full drain nothing is open, unless a worker panicked with its request.
    shared.ledger().end_all(shared.start.elapsed());
    limited
}

async fn dispatch(shared: &Shared, mut inbox: watch::Receiver<Wanted>) -> bool {
    let config = &shared.plan.config;
    let mut schedule = Schedule::new(config.rate_per_second);
    let mut given = 0u64;
    loop {
        // The whole backlog at once if the thread was late: requests are never skipped, and their lag is on record.
        while schedule.due() <= shared.start.elapsed() && schedule.due() < config.duration {
            if given >= config.max_requests {
                return true;
            }
            let due = schedule.due();
            let number = schedule.take();
            given += 1;
            shared.ledger().open(due, shared.start.elapsed().saturating_sub(due));
            shared.push(number);
        }
        if schedule.due() >= config.duration {
            return false;
        }
        tokio::select! {
            biased;
            changed = inbox.changed() => {
                let wanted = *inbox.borrow_and_update();
                // An error means that the handle was dropped.
                if changed.is_err() || wanted.stop {
                    return false;
                }
                schedule.set_rate(wanted.rate_per_second, shared.start.elapsed());
            }
            () = sleep_until(shared, schedule.due()) => {}
        }
    }
}

async fn sleep_until(shared: &Shared, offset: Duration) {
    tokio::time::sleep_until((shared.start + offset).into()).await;
}
