//! What objectives count: good events, all events and the time that was measured, minute by minute. Lives here: counting
//! them from the samples of counters without losing or inventing one ([`Meter`]), and keeping them ([`Ledger`]). Does not
//! live here: what an objective is, and what its counts mean.

mod answers;
mod count;
mod day;
mod ledger;
mod line;
mod meter;
mod provider;

pub use count::{Counted, Part, Question, What};
pub use day::Sums;
pub use ledger::{Error, Ledger};
pub use meter::{Meter, Trouble};
pub use provider::{Embedded, Provider, Providers};

/// Milliseconds of a minute.
pub(crate) const MINUTE: i64 = 60_000;

/// The minute, since 1970, that a time in milliseconds falls into.
pub fn minute_of(at: i64) -> i64 {
    at.div_euclid(MINUTE)
}
