//! One ladder of latency buckets for the whole product, so that counts from anywhere can be added and compared.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Upper bounds of the buckets in microseconds, ascending; the last bucket is unbounded. They include Prometheus'
/// customary bounds (5 ms ... 10 s) and are denser where HTTP services live.
pub const BOUNDS_US: [u64; 32] = [
    250, 500, 750, 1_000, 1_500, 2_000, 2_500, 3_500, 5_000, 7_500, 10_000, 15_000, 20_000, 25_000, 35_000,
    50_000, 75_000, 100_000, 150_000, 200_000, 250_000, 350_000, 500_000, 750_000, 1_000_000, 1_500_000,
    2_500_000, 5_000_000, 7_500_000, 10_000_000, 30_000_000, 60_000_000,
];

/// The number of buckets, the unbounded one included.
pub const BUCKETS: usize = BOUNDS_US.len() + 1;

/// The bucket that a latency falls into: the first whose bound is not below it (Prometheus' `le`).
pub fn bucket(latency: Duration) -> usize {
    let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
    BOUNDS_US.partition_point(|bound| *bound < us)
}

/// Counts per bucket (not cumulative) and the sum of all latencies. Trailing empty buckets may be left out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Histogram {
    /// Observations per bucket of [`BOUNDS_US`], then the unbounded one.
    pub counts: Vec<u64>,
    /// The sum of all observations in microseconds.
    pub sum_us: u64,
}

impl Histogram {
    /// Adds one observation.
    pub fn observe(&mut self, latency: Duration) {
        let index = bucket(latency);
        if self.counts.len() <= index {
            self.counts.resize(index + 1, 0);
        }
        self.counts[index] += 1;
        self.sum_us = self.sum_us.saturating_add(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
    }

    /// How many observations.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Adds another's counts.
    pub fn add(&mut self, other: &Self) {
        if self.counts.len() < other.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.sum_us = self.sum_us.saturating_add(other.sum_us);
    }

    /// What was observed since an earlier reading of the same histogram (never below zero).
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let before = |index: usize| earlier.counts.get(index).copied().unwrap_or(0);
        Self {
            counts: self.counts.iter().enumerate().map(|(i, n)| n.saturating_sub(before(i))).collect(),
            sum_us: self.sum_us.saturating_sub(earlier.sum_us),
        }
    }

    /// The smallest bound in microseconds that at least the share `q` (0 to 1) of all observations is not above; `None`
    /// without observations, or when that takes the unbounded bucket.
    pub fn edge(&self, q: f64) -> Option<u64> {
        let total = self.total();
        let mut seen = 0u64;
        self.counts.iter().zip(BOUNDS_US).filter(|_| total > 0).find_map(|(count, bound)| {
            seen += count;
            (seen as f64 >= q * total as f64).then_some(bound)
        })
    }

    /// How many observations are above a bound; exact when it is one of [`BOUNDS_US`].
    pub fn above(&self, bound_us: u64) -> u64 {
        let edge = BOUNDS_US.partition_point(|bound| *bound < bound_us);
        self.counts.iter().skip(edge + 1).sum()
    }

    /// The `q` quantile (0 to 1) by linear interpolation inside its bucket, as Prometheus' `histogram_quantile` does;
    /// in the unbounded bucket the highest bound. `None` without observations.
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        let total = self.total();
        if total == 0 {
            return None;
        }
        let rank = q.clamp(0.0, 1.0) * total as f64;
        let mut seen = 0u64;
        for (index, count) in self.counts.iter().enumerate() {
            let below = seen;
            seen += count;
            if *count > 0 && seen as f64 >= rank {
                let lower = if index == 0 { 0 } else { BOUNDS_US[index - 1] };
                let Some(upper) = BOUNDS_US.get(index) else {
                    return Some(Duration::from_micros(lower));
                };
                let inside = ((rank - below as f64) / *count as f64).clamp(0.0, 1.0);
                return Some(Duration::from_micros(lower + ((upper - lower) as f64 * inside) as u64));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_inclusive_above() {
        assert_eq!(bucket(Duration::from_micros(250)), 0);
        assert_eq!(bucket(Duration::from_micros(251)), 1);
        assert_eq!(bucket(Duration::from_secs(61)), BUCKETS - 1);
        assert!(BOUNDS_US.is_sorted());
    }

    #[test]
    fn an_edge_leaves_no_more_above_it_than_was_asked_for() {
        let mut h = Histogram::default();
        assert_eq!(h.edge(0.5), None);
        for ms in 1..=100 {
            h.observe(Duration::from_millis(ms));
        }
        assert_eq!((h.edge(0.5), h.above(50_000)), (Some(50_000), 50));
        assert_eq!((h.edge(0.51), h.above(75_000)), (Some(75_000), 25));
        assert_eq!((h.edge(1.0), h.above(100_000)), (Some(100_000), 0));
        h.observe(Duration::from_secs(100));
        assert_eq!((h.edge(1.0), h.above(60_000_000)), (None, 1));
    }

    #[test]
    fn quantiles_interpolate_and_differences_subtract() {
        let mut h = Histogram::default();
        assert_eq!(h.quantile(0.5), None);
        for _ in 0..100 {
            h.observe(Duration::from_micros(800));
        }
        let before = h.clone();
        assert_eq!(h.quantile(0.5), Some(Duration::from_micros(875)));
        h.observe(Duration::from_secs(100));
        assert_eq!(h.quantile(1.0), Some(Duration::from_secs(60)));
        assert_eq!(h.since(&before).total(), 1);
        let mut sum = before.clone();
        sum.add(&h.since(&before));
        assert_eq!(sum, h);
    }
}
