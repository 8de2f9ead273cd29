//! The judge's promise: a healthy release is rolled back with probability at most alpha over the whole rollout, however
//! often it is looked at. Simulated with a fixed seed; the formula itself is tested beside it.

use std::time::Duration;

use ship::judge::{Stretch, ln_evidence_against, ln_evidence_for};
use ship::latency::Trial;
use ship::{Counts, bound};

use super::support::Random;

const RUNS: u64 = 20_000;
const ALPHA: f64 = 0.01;
const LOOK_EVERY: u64 = 100;

/// So many requests at this weight.
type Leg = (f64, u64);

/// One rollout of error rates `candidate` and `stable`; at which request it is rolled back, if it is.
///
/// Only errors are drawn: the evidence does not depend on anything else. And it is computed only at looks before which
/// the new release erred: every other error lowers it, whatever the ratio, so no first crossing is missed.
fn rolled_back_at(random: &mut Random, legs: &[Leg], candidate: f64, stable: f64) -> Option<u64> {
    let mut stretches: Vec<Stretch> = Vec::new();
    let mut passed = 0;
    for (weight, requests) in legs {
        stretches.push(Stretch { weight: *weight, candidate: Counts::default(), stable: Counts::default() });
        let rate = weight * candidate + (1.0 - weight) * stable;
        let from_candidate = weight * candidate / rate;
        let mut at = random.trials_until(rate);
        let mut look = LOOK_EVERY;
        while look <= *requests {
            let here = stretches.last_mut().unwrap();
            let before = here.candidate.errors;
            while at <= look {
                let errors =
                    if random.unit() < from_candidate { &mut here.candidate } else { &mut here.stable };
                errors.errors += 1;
                at += random.trials_until(rate);
            }
            let news = here.candidate.errors > before;
            if news && ln_evidence_against(&stretches, 1.0) >= (1.0 / ALPHA).ln() {
                return Some(passed + look);
            }
            look += LOOK_EVERY;
        }
        passed += requests;
    }
    None
}

fn rolled_back(seed: u64, runs: u64, legs: &[Leg], candidate: f64, stable: f64) -> f64 {
    let mut random = Random::new(seed);
    let back = (0..runs).filter(|_| rolled_back_at(&mut random, legs, candidate, stable).is_some()).count();
    back as f64 / runs as f64
}

#[test]
fn a_healthy_release_is_rolled_back_at_most_in_one_percent_of_all_rollouts() {
    let share = rolled_back(1, RUNS, &[(0.1, 20_000)], 0.01, 0.01);
    assert!(share <= ALPHA, "{share}");
    assert!(share > 0.0, "a judge that never errs at 1 % does not look");
}

#[test]
fn a_change_of_weight_does_not_weaken_the_promise() {
    let legs = [(0.05, 4_000), (0.2, 4_000), (0.5, 6_000), (0.1, 6_000)];
    let share = rolled_back(2, RUNS, &legs, 0.01, 0.01);
    assert!(share <= ALPHA, "{share}");
    assert!(share > 0.0, "a judge that never errs at 1 % does not look");
}

#[test]
fn a_better_release_is_rolled_back_even_less() {
    let share = rolled_back(3, RUNS, &[(0.1, 20_000)], 0.005, 0.01);
    assert!(share <= 0.001, "{share}");
}

#[test]
fn a_bad_release_is_always_caught() {
    assert_eq!(rolled_back(4, 2_000, &[(0.1, 20_000)], 0.05, 0.01), 1.0);
    let legs = [(0.05, 4_000), (0.2, 8_000), (0.5, 8_000)];
    assert_eq!(rolled_back(5, 2_000, &legs, 0.05, 0.01), 1.0);
}

#[test]
fn a_bad_release_is_caught_within_twice_the_least_possible_number_of_requests() {
    let mut random = Random::new(6);
    let runs = 2_000;
    let requests: u64 =
        (0..runs).filter_map(|_| rolled_back_at(&mut random, &[(0.1, 1_000_000)], 0.05, 0.001)).sum();
    let ratio = requests as f64 / f64::from(runs) / bound::requests_to_verdict(0.1, 0.001, 0.05, ALPHA);
    assert!((1.0..2.0).contains(&ratio), "{ratio}");
}

/// What makes requests slow in one second, of 100 requests at a weight of 10 %: the chance for each alone, and the chance
/// for each of ten replicas, one of them new, that it pauses and slows its ten.
struct Slowness {
    new: f64,
    old: f64,
    pause: f64,
}

/// After how many seconds it is rolled back on one quantile alone.
fn slow_at(random: &mut Random, quantile: f64, slowness: &Slowness, seconds: u64) -> Option<u64> {
    let mut trial = Trial::default();
    for second in 1..=seconds {
        let mut side = |replicas: u64, rate: f64| {
            let mut counts = Counts { requests: replicas * 10, errors: 0 };
            for _ in 0..replicas {
                let paused = random.unit() < slowness.pause;
                let slow = (0..10).filter(|_| random.unit() < rate).count();
                counts.errors += if paused { 10 } else { slow as u64 };
            }
            counts
        };
        let (candidate, stable) = (side(1, slowness.new), side(9, slowness.old));
        trial.hear(&[Stretch { weight: 0.1, candidate, stable }], Duration::from_secs(1), 1.5);
        if trial.ln_evidence(quantile, 1.5) >= (1.0 / ALPHA).ln() {
            return Some(second);
        }
    }
    None
}

#[test]
fn a_release_as_slow_as_the_old_one_is_blamed_at_most_in_one_percent_of_all_rollouts() {
    let mut random = Random::new(9);
    let healthy = [
        (0.99, Slowness { new: 0.01, old: 0.01, pause: 0.0 }),
        (0.5, Slowness { new: 0.5, old: 0.5, pause: 0.0 }),
        // All in bursts, which are no independent witnesses.
        (0.99, Slowness { new: 0.0, old: 0.0, pause: 0.02 }),
        // A tolerated difference.
        (0.9, Slowness { new: 0.14, old: 0.1, pause: 0.0 }),
    ];
    for (quantile, slowness) in healthy {
        let blamed = (0..1_000).filter(|_| slow_at(&mut random, quantile, &slowness, 200).is_some()).count();
        assert!(blamed as f64 / 1_000.0 <= ALPHA, "p{quantile}: {blamed} of 1,000");
    }
}

#[test]
fn a_slow_release_is_found_within_a_minute() {
    let mut random = Random::new(10);
    let slow = Slowness { new: 0.3, old: 0.01, pause: 0.0 };
    let found: Vec<u64> = (0..200).filter_map(|_| slow_at(&mut random, 0.99, &slow, 60)).collect();
    assert!(found.len() >= 195, "{} of 200", found.len());
}

#[test]
fn a_tolerated_ratio_is_tolerated() {
    let mut random = Random::new(7);
    let mut back = 0;
    for _ in 0..2_000 {
        let mut stretch = Stretch { weight: 0.5, candidate: Counts::default(), stable: Counts::default() };
        for _ in 0..300 {
            // An error rate twice the old one's, where twice is tolerated.
            let errors = if random.unit() < 2.0 / 3.0 { &mut stretch.candidate } else { &mut stretch.stable };
            errors.errors += 1;
            if ln_evidence_against(&[stretch], 2.0) >= (1.0 / ALPHA).ln() {
                back += 1;
                break;
            }
        }
    }
    assert!(f64::from(back) / 2_000.0 <= ALPHA, "{back}");
}

#[test]
fn a_release_at_the_forbidden_rate_is_promoted_on_evidence_at_most_with_probability_beta() {
    let (beta, rate): (f64, f64) = (0.05, 0.01);
    let mut random = Random::new(8);
    let mut promoted = 0;
    for _ in 0..RUNS {
        let (mut counts, mut error_at) = (Counts::default(), random.trials_until(rate));
        while counts.requests < 5_000 {
            counts.requests += 50;
            while error_at <= counts.requests {
                counts.errors += 1;
                error_at += random.trials_until(rate);
            }
            if ln_evidence_for(counts, rate) >= (1.0 / beta).ln() {
                promoted += 1;
                break;
            }
        }
    }
    let share = f64::from(promoted) / RUNS as f64;
    assert!(share <= beta && share > 0.0, "{share}");
}

#[test]
fn a_faultless_release_is_promoted_on_evidence_soon() {
    let needed = (1..).find(|requests| {
        ln_evidence_for(Counts { requests: *requests, errors: 0 }, 0.01) >= (1.0_f64 / 0.05).ln()
    });
    assert!(needed.unwrap() < 450, "{needed:?}");
}
