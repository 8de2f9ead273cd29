//! Collecting this machine's metrics: who is asked follows from what runs, and what is heard goes into the store, which is
//! made durable every few seconds and tidied every minute. Does not live here: asking and understanding (`scrape`,
//! `exposition`), keeping (`store`), and answering questions (`prometheus`).

mod fetch;
mod page;
mod probes;
mod targets;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rules::Group;
use scrape::{Target, Told};
use store::Store;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use fetch::{AgentPage, Fetcher, ProbePage, RecordsPage};
pub use probes::{Probing, probes};
pub use targets::{exports, groups, targets};

/// What a crash may lose at most.
const FLUSH: Duration = Duration::from_secs(5);
/// How often finished stretches of time become blocks, and old ones go.
const TIDY: Duration = Duration::from_secs(60);

/// The metrics of this machine, collected as long as this lives.
pub struct Collector {
    store: Arc<Store>,
    told: Arc<Told>,
    targets: watch::Sender<Vec<Target>>,
    asking: JoinHandle<()>,
    ruled: Arc<rules::Told>,
    groups: watch::Sender<Vec<Group>>,
    ruling: JoinHandle<()>,
    keeping: [JoinHandle<()>; 2],
}

impl Collector {
    /// Opens the store in this folder and begins to ask.
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub fn open(
        folder: &Path,
        config: store::Config,
        fetcher: Fetcher,
        now: fn() -> i64,
    ) -> Result<Self, store::Error> {
        let store = Arc::new(Store::open(folder, config)?);
        let told = Arc::new(Told::default());
        let (targets, wanted) = watch::channel(Vec::new());
        let asking = tokio::spawn(scrape::run(
            wanted,
            Arc::new(fetcher.with(Arc::clone(&store))),
            Arc::clone(&store),
            Arc::clone(&told),
            now,
        ));
        let ruled = Arc::new(rules::Told::default());
        let (groups, in_force) = watch::channel(Vec::new());
        let ruling = tokio::spawn(rules::run(in_force, Arc::clone(&store), Arc::clone(&ruled), now));
        // Apart, because tidying may take longer than a crash may lose.
        let keeping = [
            tokio::spawn(keep(Arc::clone(&store), FLUSH, Store::flush)),
            tokio::spawn(keep(Arc::clone(&store), TIDY, move |store| store.tidy(now()))),
        ];
        Ok(Self { store, told, targets, asking, ruled, groups, ruling, keeping })
    }

    /// The samples.
    pub fn store(&self) -> Arc<Store> {
        Arc::clone(&self.store)
    }

    /// How each target's last asking went, and what its metrics mean.
    pub fn told(&self) -> Arc<Told> {
        Arc::clone(&self.told)
    }

    /// How each group of rules was evaluated last.
    pub fn ruled(&self) -> Arc<rules::Told> {
        Arc::clone(&self.ruled)
    }

    /// Evaluates these from now on. The series of those that are not among them any more end.
    pub fn rule(&self, groups: Vec<Group>) {
        self.groups.send_if_modified(|known| {
            let changed = *known != groups;
            *known = groups;
            changed
        });
    }

    /// Asks these from now on. The series of those that are not among them any more end.
    pub fn ask(&self, targets: Vec<Target>) {
        self.targets.send_if_modified(|asked| {
            let changed = *asked != targets;
            *asked = targets;
            changed
        });
    }

    /// Asks nobody any more, and makes everything durable.
    ///
    /// # Errors
    /// When the disk refuses.
    pub async fn close(self) -> Result<(), store::Error> {
        let Self { store, told: _, targets, asking, ruled: _, groups, ruling, keeping } = self;
        drop((targets, groups));
        keeping.iter().for_each(JoinHandle::abort);
        // One that panicked has said so.
        let _ = asking.await;
        let _ = ruling.await;
        for task in keeping {
            let _ = task.await;
        }
        store.close()
    }
}

/// Does something with the store again and again, for ever. What the disk refuses is said once, until it takes it again.
async fn keep(
    store: Arc<Store>,
    every: Duration,
    act: impl Fn(&Store) -> Result<(), store::Error> + Clone + Send + 'static,
) {
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + every, every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut troubled = false;
    loop {
        ticks.tick().await;
        let (store, act) = (Arc::clone(&store), act.clone());
        let kept = tokio::task::spawn_blocking(move || act(&store)).await;
        match kept {
            Ok(Ok(())) if troubled => {
                tracing::info!(event = "metrics.recovered", "metrics can be kept again");
                troubled = false;
            }
            Ok(Err(error)) if !troubled => {
                tracing::error!(event = "metrics.stuck", %error, "metrics cannot be kept; they stay in memory and are tried again");
                troubled = true;
            }
            Ok(_) | Err(_) => {}
        }
    }
}
