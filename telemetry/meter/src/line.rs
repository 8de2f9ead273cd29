//! One counter over time: whole events between its samples, dealt to the minutes in which they must have happened.

use promql::{Point, is_stale};

use crate::MINUTE;

/// A counter as it was read last.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line {
    at: i64,
    value: f64,
    /// What has been counted and is not a whole event yet.
    rest: f64,
}

/// A stretch of time with the whole events in it, by minutes.
pub(crate) type Dealt = Vec<(i64, u64)>;

impl Line {
    /// A counter that starts to be followed: what it has now is none of ours.
    pub(crate) fn from(point: Point) -> Self {
        Self { at: point.at, value: point.value, rest: 0.0 }
    }

    /// A counter that was not there at a time, and has counted from nothing since.
    pub(crate) fn since(at: i64) -> Self {
        Self { at, value: 0.0, rest: 0.0 }
    }

    /// When it was read last.
    pub(crate) fn at(&self) -> i64 {
        self.at
    }

    /// The next sample: what happened since the last one, dealt evenly over the time between them. A counter that fell has
    /// begun anew, as in PromQL. A marker of its end is no sample: the counter may go on after it. Samples out of order
    /// are passed over, and so are values that are no count.
    pub(crate) fn next(&mut self, point: Point, deal: &mut impl FnMut(i64, u64)) {
        if is_stale(point.value) || point.at <= self.at || !point.value.is_finite() || point.value < 0.0 {
            return;
        }
        let more = if point.value < self.value { point.value } else { point.value - self.value };
        let lasted = (point.at - self.at) as f64;
        let begun = self.at;
        let before = self.rest;
        let mut told = 0u64;
        for minute in begun.div_euclid(MINUTE)..=(point.at - 1).div_euclid(MINUTE) {
            let until = ((minute + 1) * MINUTE).min(point.at);
            let share = if until == point.at { more } else { more * ((until - begun) as f64 / lasted) };
            // Counts stay far below where a float leaves out whole numbers.
            let whole = (before + share).floor() as u64;
            if whole > told {
                deal(minute, whole - told);
                told = whole;
            }
        }
        self.rest = (before + more - told as f64).clamp(0.0, 1.0);
        (self.at, self.value) = (point.at, point.value);
    }
}

/// The seconds of each minute between two times.
pub(crate) fn seconds(from: i64, until: i64) -> Dealt {
    // Whole seconds since 1970 are dealt, so that neighbouring stretches add up.
    let (from, until) = (from.div_euclid(1_000), until.div_euclid(1_000));
    let minutes = from.div_euclid(60)..=(until - 1).div_euclid(60);
    let within = |minute: i64| until.min((minute + 1) * 60) - from.max(minute * 60);
    minutes
        .map(|minute| (minute, u64::try_from(within(minute)).unwrap_or(0)))
        .filter(|(_, seconds)| *seconds > 0)
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn count(line: &mut Line, at: i64, value: f64) -> Dealt {
        let mut dealt = Vec::new();
        line.next(Point { at, value }, &mut |minute, events| dealt.push((minute, events)));
        dealt
    }

    #[test]
    fn events_between_two_samples_are_dealt_to_the_minutes_between_them() {
        let mut line = Line::from(Point { at: 30_000, value: 100.0 });
        assert_eq!(count(&mut line, 150_000, 112.0), [(0, 3), (1, 6), (2, 3)]);
    }

    #[test]
    fn a_counter_that_fell_has_begun_anew_and_a_marker_ends_nothing() {
        let mut line = Line::from(Point { at: 0, value: 100.0 });
        assert_eq!(count(&mut line, 5_000, 4.0), [(0, 4)]);
        assert_eq!(count(&mut line, 10_000, promql::STALE), []);
        assert_eq!(count(&mut line, 15_000, f64::NAN), []);
        assert_eq!(count(&mut line, 15_000, f64::INFINITY), []);
        assert_eq!(count(&mut line, 20_000, 7.0), [(0, 3)]);
    }

    #[test]
    fn a_sample_a_second_time_or_from_before_counts_nothing() {
        let mut line = Line::from(Point { at: 10_000, value: 1.0 });
        assert_eq!(count(&mut line, 10_000, 9.0), []);
        assert_eq!(count(&mut line, 9_000, 9.0), []);
    }

    #[test]
    fn seconds_of_neighbours_add_up() {
        assert_eq!(seconds(58_500, 61_500), [(0, 2), (1, 1)]);
        assert_eq!(seconds(61_500, 62_000), [(1, 1)]);
        assert_eq!(seconds(5_000, 5_000), []);
        assert_eq!(seconds(5_000, 4_000), []);
    }

    proptest! {
        #[test]
        fn no_event_is_lost_or_invented(steps in proptest::collection::vec((1i64..200_000, 0u64..5_000), 1..40)) {
            let mut line = Line::since(0);
            let (mut at, mut value, mut dealt) = (0, 0u64, 0);
            for (later, more) in steps {
                at += later;
                value += more;
                dealt += count(&mut line, at, value as f64).iter().map(|(_, events)| events).sum::<u64>();
                prop_assert_eq!(dealt, value);
            }
        }

        #[test]
        fn a_counter_of_fractions_loses_less_than_one(steps in proptest::collection::vec((1i64..200_000, 0.0f64..9.0), 1..40)) {
            let mut line = Line::since(0);
            let (mut at, mut value, mut dealt) = (0, 0.0, 0);
            for (later, more) in steps {
                at += later;
                value += more;
                dealt += count(&mut line, at, value).iter().map(|(_, events)| events).sum::<u64>();
                let off = value - dealt as f64;
                prop_assert!((-1e-6..=1.000_001).contains(&off), "{off}");
            }
        }
    }
}
