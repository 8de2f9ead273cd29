//! A deterministic world for tests: every port in memory, with behaviour and faults on demand.
//!
//! Lives here: what stands outside of control, simulated. Time is tokio's (paused in tests), chance comes from a seed, and
//! nothing opens a file or a socket: the same seed and the same orders give the same world. Does not live here: the
//! control that is tested, and what a test expects.

mod artifacts;
pub mod checks;
mod clock;
mod fleet;
mod journal;
mod machine;
pub mod orders;
mod secrets;

pub use artifacts::Artifacts;
pub use checks::Checks;
pub use clock::Clock;
pub use fleet::Fleet;
pub use journal::{Crash, Journal};
pub use machine::{Behaviour, Machine, Served, Start};
pub use secrets::Secrets;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// A test that panicked while it held the world must not hide behind a second panic.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
