//! How many appends come at once, and how long it is worth to wait for them before a commit. Where 64 writers wait for
//! each answer, a commit that begins with the first of them leaves the others to the next one: twice the commits.
//! Pure: time is an argument. Does not live here: the waiting itself.

use std::time::Duration;

/// The longest wait, however slow the disk is.
const LONGEST: Duration = Duration::from_millis(2);

/// What the last commit says about the next one.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Crowd {
    /// Those that were just answered, and those that waited by then.
    size: usize,
    /// How long that commit took.
    took: Duration,
}

impl Crowd {
    /// After a commit: so many appends were answered, so many more were waiting.
    pub(crate) fn after(answered: usize, waiting: usize, took: Duration) -> Self {
        Self { size: answered + waiting, took }
    }

    /// How long to wait for more when `gathered` are there: no longer than the commit that the wait may save. One writer
    /// alone, whose next append comes when it has its answer, never waits.
    pub(crate) fn patience(self, gathered: usize) -> Duration {
        if gathered >= self.size { Duration::ZERO } else { self.took.min(LONGEST) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: Duration = Duration::from_millis(1);

    #[test]
    fn one_writer_alone_never_waits() {
        assert_eq!(Crowd::default().patience(1), Duration::ZERO);
        assert_eq!(Crowd::after(1, 0, COMMIT).patience(1), Duration::ZERO);
    }

    #[test]
    fn those_that_were_answered_are_waited_for_as_long_as_a_commit_takes() {
        let crowd = Crowd::after(40, 24, COMMIT);
        assert_eq!(crowd.patience(24), COMMIT);
        assert_eq!(crowd.patience(63), COMMIT);
        assert_eq!(crowd.patience(64), Duration::ZERO);
    }

    #[test]
    fn a_slow_disk_is_no_reason_to_wait_long() {
        assert_eq!(Crowd::after(2, 0, Duration::from_secs(9)).patience(1), LONGEST);
    }
}
