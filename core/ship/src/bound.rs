//! The least number of requests that any judge needs: what ours is measured against.

/// The Kullback-Leibler divergence between two coins, in nats.
pub fn divergence(a: f64, b: f64) -> f64 {
    let term = |x: f64, y: f64| if x == 0.0 { 0.0 } else { x * (x / y).ln() };
    term(a, b) + term(1.0 - a, 1.0 - b)
}

/// The lower bound on the mean number of requests, of both releases together, until a test that wrongly rolls back
/// with probability at most `alpha` and never misses detects error rates `stable` and `candidate` at weight `w`
/// (Wald's inequality: `ln(1/alpha) / D`). Infinite when the rates are equal.
pub fn requests_to_verdict(w: f64, stable: f64, candidate: f64, alpha: f64) -> f64 {
    let mixed = w * candidate + (1.0 - w) * stable;
    let distance = w * divergence(candidate, mixed) + (1.0 - w) * divergence(stable, mixed);
    (1.0 / alpha).ln() / distance
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_cases_agree() {
        let cases = [
            (0.1, 0.001, 0.05, 501.0),
            (0.1, 0.001, 0.01, 4_238.0),
            (0.1, 0.01, 0.02, 13_448.0),
            (0.1, 0.01, 0.05, 1_350.0),
            (0.5, 0.001, 0.01, 2_145.0),
            (0.1, 0.05, 0.10, 2_544.0),
        ];
        for (w, stable, candidate, expected) in cases {
            let bound = requests_to_verdict(w, stable, candidate, 0.01);
            assert!((bound - expected).abs() < 1.0, "{w} {stable} {candidate}: {bound}");
        }
    }

    #[test]
    fn a_faultless_old_release_is_no_division_by_zero() {
        let bound = requests_to_verdict(0.1, 0.0, 0.05, 0.01);
        assert!(bound.is_finite() && bound > 0.0);
    }
}
