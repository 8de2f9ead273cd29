//! The judge after all requests were shifted, for as long as the release bakes: no request reaches the old release any
//! more, so the new one is measured against what the old one was like before.
//!
//! The hypothesis is "each request fails with a probability of at most `p*`", where `p*` is well above the old release's
//! own rate ([`allowed_errors`]). For a worse rate `p1`, the likelihood ratio of `k` errors in `n` requests is
//! `(p1/p*)^k ((1-p1)/(1-p*))^(n-k)`. The requests between two measurements are one window. Errors come in bursts, so a
//! window is heard as one error: its ratio is raised to the power `1/(n p1)`, which depends on nothing that is tested, and
//! so leaves the mean at most 1 under the hypothesis (Jensen's inequality); to `1/k` where that is less and the ratio
//! above 1, which only makes it smaller. The product over the windows is a supermartingale. A release that turns bad late must not be saved by its good hours: a new product begins
//! with each of [`SEGMENTS`] parts of the time, and the average of all is evidence as well, each being 1 until it begins.
//! Slow requests are judged in the same way, against the frozen thresholds.
//!
//! What it cannot tell is whose fault it is: an incident that the old release would suffer from, too, looks the same.
//! Does not live here: the comparison with a release that serves at the same time (`judge`).

use std::time::Duration;

use model::strategy::Judge;

use crate::judge;
use crate::latency::Baseline;
use crate::observation::Counts;

/// In how many parts of the time a product of its own begins.
pub const SEGMENTS: usize = 32;
/// How much of the judge's evidence is this, where both releases served at the same time before.
pub const SHARE: f64 = 0.05;
/// The old release's rates must be known from so many requests.
pub const NEEDED: u64 = 100;
/// How many times the old release's rate is allowed, beside the judge's tolerance.
const MARGIN: f64 = 2.0;
/// Fewer errors than this are never a reason to go back.
const LEAST_ALLOWED: f64 = 0.01;
/// A rate above which nothing worse can be found.
const MOST_ALLOWED: f64 = 0.5;
/// How sure the upper bound of the old release's rate is, in standard deviations.
const SURE: f64 = 3.0;
/// The worse rates that are tried lie on the way from `p*` to this one, in equal steps of the logarithm.
const WORST: f64 = 0.9;
const ALTERNATIVES: usize = 4;

/// One thing that is measured against a rate: errors, or requests slower than a threshold.
#[derive(Debug, Clone, PartialEq)]
struct Trial {
    allowed: f64,
    /// For each segment that has begun and each alternative, the logarithm of the product.
    ln: Vec<[f64; ALTERNATIVES]>,
}

/// What was found since the release takes all requests.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Bake {
    /// On errors first, then on each threshold that can be found worse.
    trials: Vec<(Option<usize>, Trial)>,
}

/// The error rate that is allowed (`p*`): a margin above the upper bound of the old release's rate (the score interval of
/// a Poisson mean). `None` when too little is known of it.
pub fn allowed_errors(baseline: &Baseline, judge: &Judge) -> Option<f64> {
    let Counts { requests, errors } = baseline.counts;
    let rate = upper(errors, requests)? * MARGIN * judge.tolerance;
    Some(rate.max(LEAST_ALLOWED)).filter(|rate| *rate <= MOST_ALLOWED)
}

/// Whether requests fail more often than is allowed, as surely as the old release's rate was known (the lower bound of the same
/// interval), so that a few errors of few requests say nothing.
pub fn surely_above(counts: Counts, allowed: f64) -> bool {
    let (k, half) = (counts.errors as f64, SURE * SURE / 2.0);
    let lower = k + half - SURE * (k + half / 2.0).sqrt();
    counts.requests > 0 && lower > allowed * counts.requests as f64
}

fn upper(events: u64, requests: u64) -> Option<f64> {
    let (k, half) = (events as f64, SURE * SURE / 2.0);
    (requests >= NEEDED).then(|| (k + half + SURE * (k + half / 2.0).sqrt()) / requests as f64)
}

impl Bake {
    /// Begins when the release takes all requests.
    pub fn begin(baseline: &Baseline, judge: &Judge) -> Self {
        let errors = allowed_errors(baseline, judge).map(|allowed| (None, Trial { allowed, ln: vec![] }));
        let tolerance = judge.latency.as_ref().map_or(1.0, |latency| latency.tolerance);
        let slow = baseline.thresholds.iter().enumerate().filter_map(|(index, threshold)| {
            let known = upper(threshold.slow, baseline.counts.requests)?.max(1.0 - threshold.quantile);
            let allowed = known * MARGIN * tolerance;
            (allowed <= MOST_ALLOWED).then(|| (Some(index), Trial { allowed, ln: vec![] }))
        });
        Self { trials: errors.into_iter().chain(slow).collect() }
    }

    /// Whether anything is judged.
    pub fn judges(&self) -> bool {
        !self.trials.is_empty()
    }

    /// Hears what the new release did in one window, `into` the time that it bakes for; `slow` by threshold.
    pub fn hear(&mut self, window: Counts, slow: &[u64], into: Duration, bake_time: Duration) {
        if self.trials.is_empty() {
            return;
        }
        let part = bake_time.as_secs_f64() / SEGMENTS as f64;
        let begun = ((into.as_secs_f64() / part) as usize).min(SEGMENTS - 1) + 1;
        for (index, trial) in &mut self.trials {
            let events = match index {
                None => window.errors,
                Some(index) => slow.get(*index).copied().unwrap_or_default(),
            };
            trial.ln.resize(begun.max(trial.ln.len()), [0.0; ALTERNATIVES]);
            trial.hear(Counts { requests: window.requests, errors: events.min(window.requests) });
        }
    }

    /// The natural logarithm of the evidence against the release.
    pub fn ln_evidence(&self) -> f64 {
        let of = |on_errors: bool| {
            let trials = self.trials.iter().filter(move |(index, _)| index.is_none() == on_errors);
            trials.map(|(_, trial)| trial.ln_evidence())
        };
        judge::ln_together(of(true).next().unwrap_or(0.0), &of(false).collect::<Vec<_>>())
    }
}

impl Trial {
    fn hear(&mut self, window: Counts) {
        let (events, rest) = (window.errors as f64, (window.requests - window.errors) as f64);
        let alternatives: [f64; ALTERNATIVES] = std::array::from_fn(|index| {
            let share = (index + 1) as f64 / ALTERNATIVES as f64;
            let worse = self.allowed * (WORST / self.allowed).powf(share);
            let ln =
                events * (worse / self.allowed).ln() + rest * ((1.0 - worse) / (1.0 - self.allowed)).ln();
            let expected = worse * window.requests as f64;
            let heard_as = if ln > 0.0 { expected.max(events) } else { expected };
            ln / heard_as.max(1.0)
        });
        for product in &mut self.ln {
            for (ln, heard) in product.iter_mut().zip(alternatives) {
                *ln += heard;
            }
        }
    }

    fn ln_evidence(&self) -> f64 {
        let begun = self.ln.iter().flatten().map(|ln| (1.0, *ln));
        let waiting = (SEGMENTS - self.ln.len()) * ALTERNATIVES;
        let all: Vec<(f64, f64)> = begun.chain(std::iter::repeat_n((1.0, 0.0), waiting)).collect();
        judge::ln_mean_exp(&all)
    }
}
