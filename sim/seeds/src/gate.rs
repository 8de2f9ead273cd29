//! One order for what runs on two threads: work that may block begins when nothing else can go on, never beside it. Without,
//! the same seed would now and then take another turn.

use std::collections::BTreeSet;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use model::Digest;
use model::release::Artifact;
use model::spec::SecretSource;
use ports::{Secret, artifacts, secrets};

/// Opens while the simulated world has nothing else to do.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gate {
    shared: Arc<(Mutex<bool>, Condvar)>,
}

impl Gate {
    fn set(&self, open: bool) {
        *self.shared.0.lock().unwrap_or_else(PoisonError::into_inner) = open;
        self.shared.1.notify_all();
    }

    /// Waits, on a thread of its own, until it is open.
    pub(crate) fn pass(&self) {
        let open = self.shared.0.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.shared.1.wait_while(open, |open| !*open));
    }
}

/// Runs a life in time that stands still while something can be done.
pub(crate) fn simulate<T>(life: impl FnOnce(Gate) -> T) -> std::io::Result<T::Output>
where
    T: Future,
{
    let gate = Gate::default();
    let (opens, closes) = (gate.clone(), gate.clone());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .max_blocking_threads(1)
        // What comes back from the other thread waits until nothing else can go on.
        .global_queue_interval(u32::MAX)
        .on_thread_park(move || opens.set(true))
        .on_thread_unpark(move || closes.set(false))
        .build()?;
    let outcome = runtime.block_on(life(gate.clone()));
    gate.set(true);
    Ok(outcome)
}

/// The store, behind the gate.
pub(crate) struct Artifacts(pub(crate) sim::Artifacts, pub(crate) Gate);

impl ports::Artifacts for Artifacts {
    fn put(&self, path: &Path) -> Result<Artifact, artifacts::Error> {
        self.1.pass();
        self.0.put(path)
    }

    fn directory(&self, artifact: &Artifact) -> Result<PathBuf, artifacts::Error> {
        self.1.pass();
        self.0.directory(artifact)
    }

    fn retain(&self, keep: &BTreeSet<Digest>) -> Result<usize, artifacts::Error> {
        self.1.pass();
        self.0.retain(keep)
    }
}

/// The secrets, behind the gate.
pub(crate) struct Secrets(pub(crate) sim::Secrets, pub(crate) Gate);

impl ports::Secrets for Secrets {
    fn resolve(&self, source: &SecretSource) -> Result<Secret, secrets::Error> {
        self.1.pass();
        self.0.resolve(source)
    }
}
