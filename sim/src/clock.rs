//! Wall-clock time that follows tokio's clock, so that it stands still when a test pauses time.

use model::Timestamp;
use tokio::time::Instant;

/// When every simulation begins: 2023-11-14T22:13:20Z.
const BEGINNING: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

/// The simulated wall clock.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    started: Instant,
}

impl Clock {
    /// A clock that starts now.
    pub fn start() -> Self {
        Self { started: Instant::now() }
    }
}

impl ports::Clock for Clock {
    fn now(&self) -> Timestamp {
        BEGINNING.after(self.started.elapsed())
    }
}
