//! Whether so many bad events of so few can be chance. The test of Clopper and Pearson (1934): bad events are surely more
//! than a share `p` of all when so many or more would come with a probability below 1 % if `p` were the truth. It is
//! exact at every number of events; Wilson's interval is not, and errs towards false alarms just where events are few.

/// How improbable chance has to be.
pub(crate) const CHANCE: f64 = 0.01;

/// Whether more than the share `p` of events is bad, with 99 % confidence: `P(X >= bad) < 1 %` for `X` binomial with
/// `total` trials of probability `p`.
pub(crate) fn surely_above(bad: u64, total: u64, p: f64) -> bool {
    if bad == 0 || total == 0 || p >= 1.0 {
        return false;
    }
    if p <= 0.0 {
        return true;
    }
    let bad = bad.min(total);
    let (k, n) = (bad as f64, total as f64);
    if k <= n * p {
        return false;
    }
    // Chernoff's bound is above the tail, and enough wherever many events say the same.
    let share = k / n;
    let rest = if bad == total { 0.0 } else { (1.0 - share) * ((1.0 - share) / (1.0 - p)).ln() };
    if -n * (share * (share / p).ln() + rest) < CHANCE.ln() {
        return true;
    }
    let ln_choose = ln_factorial(n) - ln_factorial(k) - ln_factorial(n - k);
    let mut term = (ln_choose + k * p.ln() + (n - k) * (-p).ln_1p()).exp();
    let (mut sum, mut next) = (0.0, bad);
    loop {
        sum += term;
        if sum >= CHANCE {
            return false;
        }
        if next >= total {
            return true;
        }
        let ratio = (n - next as f64) / (next as f64 + 1.0) * p / (1.0 - p);
        // What follows falls faster than a geometric series of this ratio, which is below one beyond the mean.
        let rest = term * ratio / (1.0 - ratio);
        if ratio < 1.0 && sum + rest < CHANCE {
            return true;
        }
        term *= ratio;
        next += 1;
    }
}

/// `ln x!` by Stirling's series (Abramowitz and Stegun 6.1.41), exact enough from 16 on; below it by multiplication.
fn ln_factorial(x: f64) -> f64 {
    if x < 16.0 {
        return (2..=(x as u32)).map(|each| f64::from(each).ln()).sum();
    }
    let z = x + 1.0;
    let series = 1.0 / (12.0 * z) - 1.0 / (360.0 * z.powi(3)) + 1.0 / (1_260.0 * z.powi(5));
    (z - 0.5) * z.ln() - z + 0.5 * std::f64::consts::TAU.ln() + series
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The tail as it stands in every textbook: one minus the sum of what is below.
    fn tail(bad: u64, total: u64, p: f64) -> f64 {
        let mut term = (1.0 - p).powf(total as f64);
        let mut below = 0.0;
        for k in 0..bad {
            below += term;
            term *= (total - k) as f64 / (k + 1) as f64 * p / (1.0 - p);
        }
        1.0 - below
    }

    #[test]
    fn the_test_agrees_with_published_limits() {
        // Lower limits of Clopper and Pearson at 99 %, one-sided: 1 of 1 is above 0.01; 5 of 5 above 0.01^(1/5) = 0.398;
        // 10 of 10 above 0.631.
        assert!(surely_above(5, 5, 0.397) && !surely_above(5, 5, 0.399));
        assert!(surely_above(10, 10, 0.630) && !surely_above(10, 10, 0.632));
        assert!(surely_above(1, 1, 0.009) && !surely_above(1, 1, 0.011));
        // 5 of 10: the 98 % interval of the tables begins at 0.1504.
        assert!(surely_above(5, 10, 0.1503) && !surely_above(5, 10, 0.1506));
    }

    #[test]
    fn nothing_bad_and_nothing_at_all_say_nothing() {
        assert!(!surely_above(0, 10, 0.0) && !surely_above(0, 0, 0.5) && !surely_above(9, 9, 1.0));
        assert!(surely_above(1, 1_000_000, 0.0));
    }

    #[test]
    fn large_numbers_take_no_time_and_stay_exact() {
        // Two and a third standard deviations are the border of 1 %.
        let (n, p) = (1_000_000_000u64, 0.001);
        let sigma = (n as f64 * p * (1.0 - p)).sqrt();
        let at = |z: f64| surely_above((n as f64 * p + z * sigma) as u64, n, p);
        assert!(!at(2.2) && at(2.5) && !at(0.1) && at(50.0));
    }

    proptest! {
        #[test]
        fn the_test_equals_the_tail(total in 1u64..200, share in 0.0f64..=1.0, p in 0.001f64..0.7) {
            let bad = (share * total as f64) as u64;
            let exact = tail(bad, total, p);
            prop_assume!((exact - CHANCE).abs() > 1e-9);
            prop_assert_eq!(surely_above(bad, total, p), exact < CHANCE, "{} of {} at {}: {}", bad, total, p, exact);
        }
    }
}
