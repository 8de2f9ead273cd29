//! Counts by the minute, and sums of them. Integers only: nothing here can be poisoned by a division by zero, and a sum of
//! sums is the sum. Does not live here: where minutes come from.

use std::ops::{Add, Sub};

use model::Timestamp;
use serde::{Deserialize, Serialize};

/// Seconds in a minute.
pub(crate) const SECONDS: u64 = 60;

/// The minute that an instant is in, counted from the Unix epoch in UTC; zero before it.
pub fn minute_of(at: Timestamp) -> u64 {
    u64::try_from(at.as_micros()).unwrap_or(0) / (SECONDS * 1_000_000)
}

/// When a minute begins.
pub fn begin_of(minute: u64) -> Timestamp {
    let micros = minute.saturating_mul(SECONDS * 1_000_000);
    Timestamp::from_micros(i64::try_from(micros).unwrap_or(i64::MAX))
}

/// What was counted in one minute.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Minute {
    /// Good events; never more than all.
    pub good: u64,
    /// All events.
    pub total: u64,
    /// How many of its seconds were measured, 0 to 60. Without a measurement, no events mean nothing.
    pub measured: u8,
}

impl Minute {
    /// What was counted. More good ones than all are as many as all: a metric that says so is broken, and a budget that
    /// grows by it would hide that.
    pub fn new(good: u64, total: u64, measured: u8) -> Self {
        Self { good: good.min(total), total, measured: measured.min(60) }
    }

    /// The bad ones.
    pub const fn bad(self) -> u64 {
        self.total.saturating_sub(self.good)
    }
}

/// Sums over a range of minutes, in the unit of the objective's method: events, or seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sums {
    /// Good events, or good seconds.
    pub good: u64,
    /// All events, or all measured seconds.
    pub total: u64,
    /// Bad events, whatever the unit.
    pub failed: u64,
    /// Measured seconds.
    pub measured: u64,
    /// Minutes that are taken out by corrections.
    pub excluded: u64,
}

impl Sums {
    /// Events alone, all of them measured somewhere else.
    pub fn events(good: u64, total: u64) -> Self {
        let good = good.min(total);
        Self { good, total, failed: total - good, ..Self::default() }
    }

    /// Bad events, or bad seconds.
    pub const fn bad(self) -> u64 {
        self.total.saturating_sub(self.good)
    }
}

impl Add for Sums {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            good: self.good.saturating_add(other.good),
            total: self.total.saturating_add(other.total),
            failed: self.failed.saturating_add(other.failed),
            measured: self.measured.saturating_add(other.measured),
            excluded: self.excluded.saturating_add(other.excluded),
        }
    }
}

impl Sub for Sums {
    type Output = Self;

    /// What came on top of an earlier sum; never below zero.
    fn sub(self, earlier: Self) -> Self {
        Self {
            good: self.good.saturating_sub(earlier.good),
            total: self.total.saturating_sub(earlier.total),
            failed: self.failed.saturating_sub(earlier.failed),
            measured: self.measured.saturating_sub(earlier.measured),
            excluded: self.excluded.saturating_sub(earlier.excluded),
        }
    }
}

/// Minutes from one to before another, counted from the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Range {
    /// The first minute.
    pub from: u64,
    /// The first minute that is no longer in it.
    pub to: u64,
}

impl Range {
    /// The last so many minutes before `to`.
    pub const fn last(minutes: u64, to: u64) -> Self {
        Self { from: to.saturating_sub(minutes), to }
    }

    /// How many minutes.
    pub const fn len(self) -> u64 {
        self.to.saturating_sub(self.from)
    }

    /// Whether it holds no minute.
    pub const fn is_empty(self) -> bool {
        self.to <= self.from
    }

    /// Whether it holds a minute.
    pub const fn holds(self, minute: u64) -> bool {
        self.from <= minute && minute < self.to
    }

    /// What both hold.
    #[must_use]
    pub fn both(self, other: Self) -> Self {
        Self { from: self.from.max(other.from), to: self.to.min(other.to) }
    }
}

/// Whoever can say sums over any range, corrections taken out, in the unit of the objective's method. Asked often, so the
/// answer should cost the same for a minute and for a month.
pub trait Counts {
    /// The sums over a range; minutes that nobody knows of are nothing.
    fn sums(&self, range: Range) -> Sums;

    /// The first minute that was measured at all: a service has no past before it. `u64::MAX` while none was.
    fn since(&self) -> u64;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_good_than_all_is_no_credit() {
        let minute = Minute::new(12, 10, 99);
        assert_eq!((minute.good, minute.bad(), minute.measured), (10, 0, 60));
    }

    #[test]
    fn minutes_are_counted_from_the_epoch() {
        assert_eq!(minute_of(Timestamp::from_micros(119_999_999)), 1);
        assert_eq!(minute_of(Timestamp::from_micros(-1)), 0);
        assert_eq!(begin_of(2), Timestamp::from_micros(120_000_000));
        let range = Range { from: 3, to: 5 };
        assert!(range.holds(4) && !range.holds(5) && range.both(Range { from: 5, to: 9 }).is_empty());
    }
}
