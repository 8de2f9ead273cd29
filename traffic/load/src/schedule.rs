//! When each request is due: `start + number / rate`, fixed beforehand. Pure; it never learns what came back, so no
//! response can move it. Does not live here: waiting.

use std::time::Duration;

/// The due times of a run, as offsets from its start.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    rate_per_second: f64,
    /// The number that was due at `base` (or would have been).
    base_number: u64,
    base: Duration,
    next: u64,
}

impl Schedule {
    pub(crate) fn new(rate_per_second: f64) -> Self {
        Self { rate_per_second, base_number: 0, base: Duration::ZERO, next: 0 }
    }

    /// When the next request is due.
    pub(crate) fn due(&self) -> Duration {
        // From the number, not by adding up intervals: rounding must not drift over millions of requests.
        self.base + Duration::from_secs_f64((self.next - self.base_number) as f64 / self.rate_per_second)
    }

    /// Takes the next number off the schedule.
    pub(crate) fn take(&mut self) -> u64 {
        let number = self.next;
        self.next += 1;
        number
    }

    /// From `now` on another rate: the next request is due one new interval later. A request that is already owed
    /// keeps its time, and the new rate counts from there.
    pub(crate) fn set_rate(&mut self, rate_per_second: f64, now: Duration) {
        let due = self.due();
        self.base = if due <= now { due } else { now + Duration::from_secs_f64(1.0 / rate_per_second) };
        self.base_number = self.next;
        self.rate_per_second = rate_per_second;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_times_do_not_drift() {
        let mut schedule = Schedule::new(3.0);
        for _ in 0..3_000_000 {
            schedule.take();
        }
        assert_eq!(schedule.due(), Duration::from_secs(1_000_000));
    }

    #[test]
    fn a_new_rate_counts_from_its_moment() {
        let mut schedule = Schedule::new(10.0);
        assert_eq!((schedule.take(), schedule.take()), (0, 1));
        schedule.set_rate(2.0, Duration::from_millis(150));
        assert_eq!(schedule.due(), Duration::from_millis(650));
        assert_eq!(schedule.take(), 2);
        assert_eq!(schedule.due(), Duration::from_millis(1_150));
    }

    #[test]
    fn a_new_rate_never_forgives_what_is_owed() {
        let mut schedule = Schedule::new(10.0);
        schedule.take();
        schedule.set_rate(1.0, Duration::from_millis(250));
        assert_eq!(schedule.due(), Duration::from_millis(100));
    }
}
