//! The judge on latency: requests slower than a threshold that was frozen before the rollout, new release against old.
//!
//! The test is the judge's own, with "slower than the old release's p99 was" in the place of "failed". What is
//! different comes from what slow requests are like:
//!
//! - **They come in bursts.** One pause of one process slows all who wait, so they are no independent witnesses. What is
//!   counted between two measurements is one window, and all its slow requests together testify as one (as up to three
//!   in a long window). Given how many there were, the likelihood ratio has the mean 1 under the hypothesis, and so has
//!   at most the mean 1 when it is raised to a power below 1 (Jensen's inequality): the product over the windows stays
//!   a supermartingale.
//! - **New replicas are cold.** Windows that begin before `initialDelay` after the last shift are left out.
//! - **A little slower is no fault.** The hypothesis allows `tolerance` times as many slow requests as the old release
//!   has beside it, and evidence counts only while the new one has more of them than `tolerance` times the share that
//!   the quantile promises (where the old release had no slow request at all, any would be infinitely many times more).
//!   Leaving evidence out never makes a wrong rollback likelier.
//!
//! Thresholds are edges of the gateway's histogram: how many requests were slower is then counted, not estimated.
//! Does not live here: the evidence on errors and how all is averaged (`judge`).

use std::time::Duration;

use model::latency::Histogram;
use model::strategy::{Latency, MAX_QUANTILES};
use serde::{Deserialize, Serialize};

use crate::judge::{self, GRID, Stretch};
use crate::observation::Counts;

/// A quantile is frozen when the old release had at least so many requests beyond it.
pub const BEYOND: f64 = 10.0;
/// A window testifies as one more slow request for each of these that it lasts ...
const TESTIMONY_EVERY: Duration = Duration::from_secs(10);
/// ... up to so many.
const MOST_TESTIMONY: f64 = 3.0;

/// What the old release was like while it took all requests, before the new one got any.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Baseline {
    /// Its requests and errors.
    pub counts: Counts,
    /// The quantiles that can be judged.
    pub thresholds: Vec<Threshold>,
}

/// A quantile of the old release's latency.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Threshold {
    /// Which, 0 to 1.
    pub quantile: f64,
    /// Its latency in microseconds, rounded up to an edge of the histogram: whoever takes longer is slow.
    pub above_us: u64,
    /// How many of the old release's requests were slow.
    pub slow: u64,
}

/// How many requests were slower than each threshold, in the thresholds' order; cumulative.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slow {
    /// Of the new release.
    pub candidate: [u64; MAX_QUANTILES],
    /// Of the old release.
    pub stable: [u64; MAX_QUANTILES],
}

impl Slow {
    /// Whether nothing was slow, or nothing is compared.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        self.with(other, |a, b| a + b)
    }

    /// What came on top of an earlier reading.
    pub(crate) fn since(self, earlier: Self) -> Self {
        self.with(earlier, u64::saturating_sub)
    }

    fn with(self, other: Self, both: impl Fn(u64, u64) -> u64) -> Self {
        let each = |mine: [u64; MAX_QUANTILES], theirs: [u64; MAX_QUANTILES]| {
            std::array::from_fn(|i| both(mine[i], theirs[i]))
        };
        Self { candidate: each(self.candidate, other.candidate), stable: each(self.stable, other.stable) }
    }
}

impl Baseline {
    /// What is known from the old release's counts; `latency` says which quantiles are asked for.
    pub fn freeze(counts: Counts, histogram: &Histogram, latency: Option<&Latency>) -> Self {
        let total = histogram.total();
        let asked = latency.map_or(&[][..], |latency| &latency.quantiles);
        let enough = |quantile: &&f64| total >= needed(**quantile);
        let threshold = |quantile: &f64| {
            let above_us = histogram.edge(*quantile)?;
            Some(Threshold { quantile: *quantile, above_us, slow: histogram.above(above_us) })
        };
        Self { counts, thresholds: asked.iter().filter(enough).filter_map(threshold).collect() }
    }

    /// How many requests were slower than each threshold.
    pub fn slow(&self, histogram: &Histogram) -> [u64; MAX_QUANTILES] {
        let mut slow = [0; MAX_QUANTILES];
        for (slow, threshold) in slow.iter_mut().zip(&self.thresholds) {
            *slow = histogram.above(threshold.above_us);
        }
        slow
    }

    /// Why some of the quantiles that are asked for are not judged, in words.
    pub fn missing(&self, latency: &Latency) -> Option<String> {
        let judged = |quantile: &&f64| self.thresholds.iter().any(|it| it.quantile == **quantile);
        let missing: Vec<&f64> = latency.quantiles.iter().filter(|quantile| !judged(quantile)).collect();
        let least = missing.iter().map(|quantile| needed(**quantile)).max()?;
        let names: Vec<String> = missing.iter().map(|quantile| name(**quantile)).collect();
        let requests = self.counts.requests;
        Some(if requests < least {
            format!(
                "{} of the latency is not judged: the old release had {requests} requests before the rollout, \
                 {least} are needed",
                names.join(", ")
            )
        } else {
            format!("{} of the latency is not judged: the old release's was over a minute", names.join(", "))
        })
    }
}

/// How many requests the old release must have had.
fn needed(quantile: f64) -> u64 {
    (BEYOND / (1.0 - quantile)).round() as u64
}

/// `p99`, `p99.9`.
pub fn name(quantile: f64) -> String {
    format!("p{}", (quantile * 1e6).round() / 1e4)
}

/// The evidence about one threshold so far.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial {
    /// The logarithm of the likelihood ratio, for each ratio of the judge's grid.
    ln: [f64; GRID],
    /// Of the new release, in the windows that count: requests, and as errors those that were slow.
    pub candidate: Counts,
    /// The same of the old release.
    pub stable: Counts,
}

impl Default for Trial {
    fn default() -> Self {
        Self { ln: [0.0; GRID], candidate: Counts::default(), stable: Counts::default() }
    }
}

impl Trial {
    /// Hears what was counted in one window that lasted so long, by weight; errors are slow requests.
    pub fn hear(&mut self, window: &[Stretch], lasted: Duration, tolerance: f64) {
        for stretch in window {
            self.candidate = self.candidate.plus(stretch.candidate);
            self.stable = self.stable.plus(stretch.stable);
        }
        let slow: u64 = window.iter().map(|it| it.candidate.errors + it.stable.errors).sum();
        if slow == 0 {
            return;
        }
        let testimony = (lasted.as_secs_f64() / TESTIMONY_EVERY.as_secs_f64()).clamp(1.0, MOST_TESTIMONY);
        let power = (testimony / slow as f64).min(1.0);
        for (ln, times) in self.ln.iter_mut().zip(judge::grid()) {
            let ratio = tolerance * times;
            let heard: f64 = window.iter().map(|it| judge::ln_likelihood_ratio(it, ratio, tolerance)).sum();
            *ln += power * heard;
        }
    }

    /// The natural logarithm of the evidence that the new release is slow more than `tolerance` times as often as the
    /// old one. None of it counts while it is slow no more often than `tolerance` times what the quantile promises.
    pub fn ln_evidence(&self, quantile: f64, tolerance: f64) -> f64 {
        let ln = judge::ln_average(&self.ln);
        let promised = tolerance * (1.0 - quantile) * self.candidate.requests as f64;
        if self.candidate.errors as f64 > promised { ln } else { ln.min(0.0) }
    }
}
