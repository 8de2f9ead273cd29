//! The stored form of events: a versioned envelope ([`Record`]) and the hash chain that ties them ([`Chain`]).
//!
//! The body's conversion to and from events is [`event`]. Does not live here: what an event means (that is
//! `lifecycle`), and where the stored form is kept (an adapter).
//! The envelope stays readable when its kind or version is unknown, so that an older binary can still list,
//! export and verify a journal that a newer one wrote.

mod chain;
mod envelope;
pub mod event;

pub use chain::{Broken, Chain, What};
pub use envelope::{Draft, Error, GENESIS, MAX_BYTES, Record};
