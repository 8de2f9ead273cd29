//! How soon a replica is started again, and when its group is said to be in a crash loop. Pure.

use std::time::Duration;

use crate::supervisor::Pace;

impl Pace {
    /// How long to wait after so many failures in a row.
    pub(crate) fn wait(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(16);
        self.backoff_first.saturating_mul(1 << doublings).min(self.backoff_longest)
    }
}

/// The crash-loop verdict of one group.
#[derive(Debug, Default)]
pub(crate) struct CrashLoop {
    failures: u32,
    verdict: Option<String>,
}

impl CrashLoop {
    /// A process of the group ended, or did not start, unasked.
    pub(crate) fn failed(&mut self, pace: &Pace, ready_for: Duration, reason: &str) {
        if ready_for >= pace.stable {
            self.failures = 0;
            return;
        }
        self.failures = self.failures.saturating_add(1);
        if self.failures >= pace.deaths {
            let stable = model::time::format_duration(pace.stable);
            let failures = self.failures;
            self.verdict = Some(format!(
                "{failures} failures in a row, none was ready for {stable}; the last: {reason}"
            ));
        }
    }

    /// It cannot be started at all: no second try is needed to know.
    pub(crate) fn hopeless(&mut self, reason: &str) {
        self.failures = self.failures.saturating_add(1);
        self.verdict = Some(reason.to_owned());
    }

    /// A replica of the group has been ready for long enough.
    pub(crate) fn stable(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn verdict(&self) -> Option<&str> {
        self.verdict.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let pace = Pace::default();
        let waits: Vec<u64> = (1..=8).map(|n| u64::try_from(pace.wait(n).as_millis()).unwrap()).collect();
        assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
        assert_eq!(pace.wait(u32::MAX), Duration::from_secs(30));
    }

    #[test]
    fn three_short_lives_are_a_crash_loop_and_a_long_one_ends_it() {
        let pace = Pace::default();
        let mut group = CrashLoop::default();
        group.failed(&pace, Duration::from_secs(9), "exit status 1");
        group.failed(&pace, Duration::ZERO, "exit status 1");
        assert_eq!(group.verdict(), None);
        group.failed(&pace, Duration::from_secs(10), "exit status 1");
        group.failed(&pace, Duration::ZERO, "exit status 1");
        group.failed(&pace, Duration::ZERO, "exit status 1");
        assert_eq!(group.verdict(), None);
        group.failed(&pace, Duration::ZERO, "exit status 2");
        let verdict = group.verdict().unwrap().to_owned();
        assert_eq!(verdict, "3 failures in a row, none was ready for 10s; the last: exit status 2");
        group.stable();
        assert_eq!(group.verdict(), None);
        group.hopeless("no such file");
        assert_eq!(group.verdict(), Some("no such file"));
    }
}
