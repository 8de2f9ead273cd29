//! Metrics on one machine: series of samples, compressed, on disk, with limits. Who measures, and how queries are written,
//! is not here; [`Store`] is a source of samples for PromQL.
//!
//! A folder holds the list of series, a log of the newest samples, and a block for each finished stretch of time.

mod bits;
mod block;
mod chunk;
mod folder;
mod frame;
mod head;
mod log;
mod numbers;
mod order;
mod query;
mod registry;
mod store;

pub use head::CLOCK_STEP;
pub use registry::SeriesRef;
pub use store::{Appended, Config, Error, Refused, Stats, Store};
