//! The wall clock. Does not live here: anything that waits.

use std::time::{SystemTime, UNIX_EPOCH};

use model::Timestamp;

/// The machine's clock, to the microsecond.
#[derive(Debug)]
pub(crate) struct SystemClock;

impl ports::Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }
}
