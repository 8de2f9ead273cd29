//! The judge: an always-valid sequential comparison of errors.
//!
//! The gateway sends each request to the new release with a known probability `w`, fixed before the request. Given
//! that an error happened, it came from the new release with probability `theta(r, w) = w r / (w r + 1 - w)`, where `r`
//! is the ratio of the two error rates, *whatever those rates are at that moment*: an incident that both share cancels
//! out. The hypothesis "the new release is no worse than `tolerance` times the old one" is tested by the weighted average,
//! over a grid of ratios, of the likelihood ratio of all errors seen. The weights fall off like a Cauchy density around
//! the ratios that bad releases have: a light-tailed choice would never convict a rare ratio, an even one is slow on all. Under the hypothesis that average is a nonnegative
//! supermartingale, so by Ville's inequality it ever reaches `1/alpha` with probability at most `alpha`, at any
//! schedule of looks and across changes of weight (Howard and Ramdas on confidence sequences; Lindon and Malek; Turner,
//! Ly and Grunwald, arXiv:2106.02693).
//!
//! What it assumes, and the gateway provides: assignment is independent from request to request, and `w` is the drawn
//! probability, not the share that happened.

use serde::{Deserialize, Serialize};

use crate::observation::Counts;

/// The number of alternative ratios that the evidence is averaged over.
pub const GRID: usize = 24;
/// The smallest alternative ratio, in multiples of the tolerance.
pub const SMALLEST_RATIO: f64 = 1.2;
/// The largest alternative ratio, in multiples of the tolerance.
pub const LARGEST_RATIO: f64 = 200.0;
/// The centre of the weights on the logarithm of the ratio, in multiples of the tolerance: 3.3 times as many errors.
const LIKELY_LN_RATIO: f64 = 1.2;
/// How far from the centre, in nats, a ratio has half the centre's weight.
const LN_RATIO_SPREAD: f64 = 1.0;
/// How much of the evidence is that on latency, where it is judged. A release that fails is found a little later for it
/// (`ln(1 / 0.8) = 0.22` of the `ln(1 / 0.01) = 4.6` that alpha asks for).
pub const LATENCY_SHARE: f64 = 0.2;
/// The error rates tried as alternatives to the promised one, as fractions of it.
const PROMOTION_GRID: [f64; 4] = [0.5, 0.25, 0.1, 0.01];

/// What was counted while the new release had one weight.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Stretch {
    /// The probability with which a request went to the new release.
    pub weight: f64,
    /// Of the new release.
    pub candidate: Counts,
    /// Of the old release.
    pub stable: Counts,
}

/// The natural logarithm of the evidence that the new release fails more than `tolerance` times as often as the old
/// one. Roll back when it reaches `ln(1/alpha)`. Zero without errors.
pub fn ln_evidence_against(stretches: &[Stretch], tolerance: f64) -> f64 {
    let ln = grid().map(|times| {
        let ratio = tolerance * times;
        stretches.iter().map(|stretch| ln_likelihood_ratio(stretch, ratio, tolerance)).sum()
    });
    ln_average(&ln)
}

/// The alternative ratios, in multiples of the tolerance.
pub(crate) fn grid() -> [f64; GRID] {
    std::array::from_fn(|i| {
        let step = i as f64 / (GRID - 1) as f64;
        SMALLEST_RATIO * (LARGEST_RATIO / SMALLEST_RATIO).powf(step)
    })
}

/// `ln` of the weighted average of likelihood ratios, given by their logarithms in the order of the grid.
pub(crate) fn ln_average(ln: &[f64; GRID]) -> f64 {
    let mut terms = grid().map(|times| (weight(times), 0.0));
    for (term, ln) in terms.iter_mut().zip(ln) {
        term.1 = *ln;
    }
    ln_mean_exp(&terms)
}

/// How much a ratio counts, which is `times` the tolerated one; not normalized.
fn weight(times: f64) -> f64 {
    1.0 / (1.0 + ((times.ln() - LIKELY_LN_RATIO) / LN_RATIO_SPREAD).powi(2))
}

/// `ln` of: likelihood of who erred under `ratio`, over the same under `tolerance`.
pub(crate) fn ln_likelihood_ratio(stretch: &Stretch, ratio: f64, tolerance: f64) -> f64 {
    let w = stretch.weight;
    if w <= 0.0 || w >= 1.0 {
        return 0.0;
    }
    let (new, old) = (stretch.candidate.errors as f64, stretch.stable.errors as f64);
    // ln theta(r, w) = ln r + ln w - ln(w r + 1 - w), and ln(1 - theta(r, w)) = ln(1 - w) - ln(w r + 1 - w).
    let mixed = |r: f64| (w * r + 1.0 - w).ln();
    new * (ratio.ln() - tolerance.ln()) - (new + old) * (mixed(ratio) - mixed(tolerance))
}

/// The natural logarithm of the evidence on errors and on latencies together, given theirs: the weighted average of
/// e-values is one, whatever they have to do with each other. Errors weigh most, because they hurt most.
pub fn ln_together(errors: f64, latencies: &[f64]) -> f64 {
    let share = if latencies.is_empty() { 0.0 } else { LATENCY_SHARE };
    let each = latencies.iter().map(|ln| (share / latencies.len() as f64, *ln));
    let all: Vec<(f64, f64)> = each.chain([(1.0 - share, errors)]).collect();
    ln_mean_exp(&all)
}

/// The evidence itself. JSON has no infinity; e^700 is far beyond any threshold.
pub fn e(ln: f64) -> f64 {
    ln.min(700.0).exp()
}

/// The natural logarithm of the evidence that the new release's error rate is below `max_error_rate`. Promote when it
/// reaches `ln(1/beta)`. Zero without requests.
pub fn ln_evidence_for(candidate: Counts, max_error_rate: f64) -> f64 {
    let errors = candidate.errors as f64;
    let fine = candidate.requests.saturating_sub(candidate.errors) as f64;
    let terms = PROMOTION_GRID.map(|fraction| {
        let rate = max_error_rate * fraction;
        let ln_ratio =
            errors * (rate / max_error_rate).ln() + fine * ((1.0 - rate) / (1.0 - max_error_rate)).ln();
        (1.0, ln_ratio)
    });
    ln_mean_exp(&terms)
}

/// `ln` of the average of `exp(x)` over pairs of a weight and `x`.
pub(crate) fn ln_mean_exp(terms: &[(f64, f64)]) -> f64 {
    let largest = terms.iter().map(|(_, term)| *term).fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = terms.iter().map(|(weight, term)| weight * (term - largest).exp()).sum();
    let weights: f64 = terms.iter().map(|(weight, _)| weight).sum();
    largest + (sum / weights).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(requests: u64, errors: u64) -> Counts {
        Counts { requests, errors }
    }

    /// The formula as it stands in the literature: a product, error by error, without logarithms.
    fn direct(stretches: &[Stretch], tolerance: f64) -> f64 {
        let theta = |r: f64, w: f64| w * r / (w * r + 1.0 - w);
        let (mut sum, mut weights) = (0.0, 0.0);
        for i in 0..GRID {
            let times = SMALLEST_RATIO * (LARGEST_RATIO / SMALLEST_RATIO).powf(i as f64 / 23.0);
            let r = tolerance * times;
            let weight = 1.0 / (1.0 + (times.ln() - 1.2) * (times.ln() - 1.2));
            let mut product = 1.0;
            for s in stretches {
                for _ in 0..s.candidate.errors {
                    product *= theta(r, s.weight) / theta(tolerance, s.weight);
                }
                for _ in 0..s.stable.errors {
                    product *= (1.0 - theta(r, s.weight)) / (1.0 - theta(tolerance, s.weight));
                }
            }
            sum += weight * product;
            weights += weight;
        }
        sum / weights
    }

    #[test]
    fn the_formula_equals_a_direct_computation() {
        for tolerance in [1.0, 1.5, 3.0] {
            for (a, b, c, d) in [(0, 0, 0, 0), (3, 0, 0, 0), (0, 7, 0, 1), (12, 5, 4, 40), (1, 1, 30, 2)] {
                let stretches = [
                    Stretch { weight: 0.1, candidate: counts(100, a), stable: counts(900, b) },
                    Stretch { weight: 0.5, candidate: counts(500, c), stable: counts(500, d) },
                ];
                let (fast, slow) =
                    (ln_evidence_against(&stretches, tolerance).exp(), direct(&stretches, tolerance));
                assert!((fast - slow).abs() <= 1e-9 * slow.max(1.0), "{fast} {slow}");
            }
        }
    }

    #[test]
    fn promotion_evidence_equals_a_direct_computation() {
        let p: f64 = 0.01;
        let direct: f64 = PROMOTION_GRID
            .iter()
            .map(|f| (f * p / p).powi(2) * ((1.0 - f * p) / (1.0 - p)).powi(798))
            .sum::<f64>()
            / 4.0;
        assert!((ln_evidence_for(counts(800, 2), p).exp() - direct).abs() < 1e-9 * direct);
    }

    #[test]
    fn no_data_is_no_evidence_either_way() {
        let empty = Stretch { weight: 0.1, candidate: counts(0, 0), stable: counts(0, 0) };
        assert_eq!(ln_evidence_against(&[], 1.0), 0.0);
        assert!(ln_evidence_against(&[empty], 1.0).abs() < 1e-12);
        assert!(ln_evidence_for(counts(0, 0), 0.01).abs() < 1e-12);
    }

    #[test]
    fn a_shared_incident_does_not_blame_the_new_release() {
        let shared = Stretch { weight: 0.1, candidate: counts(1_000, 300), stable: counts(9_000, 2_700) };
        assert!(ln_evidence_against(&[shared], 1.0) < 0.0);
    }

    #[test]
    fn traffic_without_a_choice_says_nothing() {
        let all = Stretch { weight: 1.0, candidate: counts(100, 100), stable: counts(0, 0) };
        assert_eq!(ln_evidence_against(&[all], 1.0), 0.0);
    }
}
