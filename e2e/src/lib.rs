//! A stage for the real binary: a home, a gateway on a free port, a shop to deploy, and a ledger of who got what.
//!
//! Lives here: what every end-to-end test needs, so that a test reads as its story. Does not live here: any
//! shortcut into the product. Everything goes through the command line and the gateway's port.

pub mod clients;
mod crash;
pub mod figures;
mod prometheus;
pub mod server;
mod stage;
mod watch;

pub use crash::Gap;
pub use prometheus::{Prometheus, skipped};
pub use stage::{Ran, Stage};
pub use watch::{answered, eventually, processes_with};
