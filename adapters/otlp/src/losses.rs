//! What a queue lost since that was last said: in the own log, in a line a minute at most, however much it is. Does not live here:
//! counting.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use crate::Counts;

/// The least time between two lines.
const EVERY: Duration = Duration::from_secs(60);

/// So many were lost because too much waited, because they were refused, because they could not be delivered.
pub(crate) type Lost = [u64; 3];

/// What was said of the losses.
#[derive(Debug)]
pub(crate) struct Losses {
    counts: Arc<Counts>,
    said: Lost,
    at: Option<Instant>,
}

impl Losses {
    /// Nothing is to be said of what was lost before.
    pub(crate) fn new(counts: Arc<Counts>) -> Self {
        let said = lost(&counts);
        Self { counts, said, at: None }
    }

    /// What was lost since, when it is time to say so.
    pub(crate) fn due(&mut self, now: Instant) -> Option<Lost> {
        let lost = lost(&self.counts);
        let is_early = self.at.is_some_and(|at| now.duration_since(at) < EVERY);
        if lost == self.said || is_early {
            return None;
        }
        let before = std::mem::replace(&mut self.said, lost);
        self.at = Some(now);
        Some(std::array::from_fn(|index| lost[index].saturating_sub(before[index])))
    }

    /// Until when something that was lost may stay unsaid.
    pub(crate) fn wait(&self) -> Option<Instant> {
        self.at.filter(|_| lost(&self.counts) != self.said).map(|at| at + EVERY)
    }
}

fn lost(counts: &Counts) -> Lost {
    [&counts.overflowed, &counts.refused, &counts.undelivered].map(|count| count.load(Ordering::Relaxed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_is_said_once_a_minute_with_all_that_was_lost_meanwhile() {
        let counts = Arc::new(Counts::default());
        counts.refused.store(7, Ordering::Relaxed);
        let mut losses = Losses::new(Arc::clone(&counts));
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!((losses.due(at(0)), losses.wait()), (None, None), "another queue lost these");
        counts.overflowed.store(3, Ordering::Relaxed);
        assert_eq!(losses.due(at(1)), Some([3, 0, 0]));
        assert_eq!((losses.due(at(2)), losses.wait()), (None, None));
        counts.overflowed.store(10, Ordering::Relaxed);
        counts.undelivered.store(2, Ordering::Relaxed);
        assert_eq!((losses.due(at(60)), losses.wait()), (None, Some(at(61))));
        assert_eq!(losses.due(at(61)), Some([7, 0, 2]));
    }
}
