//! Traits for everything outside the rules, and the data that crosses them.
//!
//! Lives here: the seam between deciding and doing. Does not live here: an implementation (those are `adapters/`,
//! and `sim/` for tests), and anything a face shows.

pub mod artifacts;
pub mod authorization;
pub mod checks;
pub mod clock;
pub mod fleet;
pub mod journal;
pub mod metrics;
pub mod probes;
pub mod secrets;

pub use artifacts::Artifacts;
pub use checks::Checks;
pub use clock::Clock;
pub use fleet::Fleet;
pub use journal::Journal;
pub use metrics::Metrics;
pub use probes::Probes;
pub use secrets::{Secret, Secrets};
