//! Measures the judge: requests until a bad release is rolled back beside the least that any judge needs, and how often
//! a healthy one is rolled back beside a threshold rule and a z-test that is peeked at, on the same requests. Seeded:
//! the figures are the same on every machine. Not here: time (the evidence of a look is 24 logarithms).
//!
//! `cargo run --release -q -p ship --example bench_judge` prints one JSON line for each figure, then a table.

#![allow(clippy::print_stdout, reason = "a benchmark's result is what it prints")]

use std::time::Duration;

use model::strategy::{Comparison, Condition, Metric, Source};
use ship::judge::{Stretch, ln_evidence_against, ln_together};
use ship::latency::Trial;
use ship::rules::{Reading, Run, State, Verdict, measure};
use ship::{Counts, bound};

const ALPHA: f64 = 0.01;
/// Weight and error rates, old and new: the cases that the judge was designed against.
const CASES: [(f64, f64, f64); 6] = [
    (0.1, 0.001, 0.05),
    (0.1, 0.001, 0.01),
    (0.1, 0.01, 0.02),
    (0.1, 0.01, 0.05),
    (0.5, 0.001, 0.01),
    (0.1, 0.05, 0.10),
];
/// What is judged of the latency where the manifest does not say.
const QUANTILES: [f64; 3] = [0.5, 0.9, 0.99];
const TOLERANCE: f64 = 1.5;
const REQUESTS_PER_SECOND: u64 = 1_000;
const DETECTION_RUNS: u64 = 4_000;
const HEALTHY_RUNS: u64 = 20_000;
/// Nobody waits longer for a verdict; no case comes near it.
const MOST_REQUESTS: u64 = 100_000_000;

fn main() {
    let mut table = String::from("requests until rollback, alpha 0.01, a look at each request\n");
    table.push_str("      w   old    new    bound      mean  ratio       p95\n");
    for (index, (w, old, new)) in CASES.into_iter().enumerate() {
        let seed = index as u64 + 1;
        table.push_str(&detection(seed, w, old, new));
    }
    table.push_str(&format!(
        "\nfalse rollbacks of a healthy release, both at 1 %, w 0.1, {HEALTHY_RUNS} runs\n"
    ));
    let long = always_valid(100, 1_000_000);
    report("false_rollback_rate_1e6_requests", long, "share");
    table.push_str(&format!("  this judge, a look at each of 1,000,000 requests       {long:.4}\n"));
    table.push_str(&side_by_side(101));
    table.push_str(&with_latency());
    println!("\n{table}");
}

fn report(figure: &str, value: f64, unit: &str) {
    println!("{{\"bench\":\"judge\",\"figure\":\"{figure}\",\"value\":{value},\"unit\":\"{unit}\"}}");
}

fn detection(seed: u64, w: f64, old: f64, new: f64) -> String {
    let mut random = Random(seed);
    let mut needed: Vec<u64> = (0..DETECTION_RUNS)
        .map(|_| verdict_at(&mut random, w, old, new, MOST_REQUESTS).unwrap_or(MOST_REQUESTS))
        .collect();
    needed.sort_unstable();
    let mean = needed.iter().sum::<u64>() as f64 / needed.len() as f64;
    let p95 = needed[needed.len() * 95 / 100];
    let least = bound::requests_to_verdict(w, old, new, ALPHA);
    let case = format!("w{w}_{old}_to_{new}");
    report(&format!("mean_requests_{case}"), mean.round(), "requests");
    report(&format!("bound_{case}"), least.round(), "requests");
    report(&format!("ratio_to_bound_{case}"), (mean / least * 100.0).round() / 100.0, "ratio");
    report(&format!("p95_requests_{case}"), p95 as f64, "requests");
    format!(
        "{w:>7} {:>5} {:>6} {least:>8.0} {mean:>9.0} {:>6.2} {p95:>9}\n",
        percent(old),
        percent(new),
        mean / least
    )
}

fn percent(rate: f64) -> String {
    format!("{}%", (rate * 1_000.0).round() / 10.0)
}

/// At which request the judge rolls back, looked at after each. Only errors are drawn, and the evidence is computed at
/// errors of the new release alone: between them it cannot rise.
fn verdict_at(random: &mut Random, w: f64, old: f64, new: f64, most: u64) -> Option<u64> {
    let rate = w * new + (1.0 - w) * old;
    let from_new = w * new / rate;
    let mut stretch = Stretch { weight: w, candidate: Counts::default(), stable: Counts::default() };
    let mut at = random.trials_until(rate);
    while at <= most {
        if random.unit() < from_new {
            stretch.candidate.errors += 1;
            if convicts(&stretch) {
                return Some(at);
            }
        } else {
            stretch.stable.errors += 1;
        }
        at += random.trials_until(rate);
    }
    None
}

fn convicts(stretch: &Stretch) -> bool {
    ln_evidence_against(std::slice::from_ref(stretch), 1.0) >= (1.0 / ALPHA).ln()
}

/// As a manifest without a word about the judge has it: errors and three quantiles of the latency, which the new release leaves
/// as it is. The latency is heard once a second.
fn with_latency() -> String {
    let mut text = format!(
        "\nthe same with latency judged, {REQUESTS_PER_SECOND} requests/s\n      w   old    new    bound      mean  ratio\n"
    );
    for (index, (w, old, new)) in CASES.into_iter().enumerate() {
        let mut random = Random(index as u64 + 201);
        let sum: u64 = (0..DETECTION_RUNS)
            .map(|_| verdict_with_latency(&mut random, w, old, new, MOST_REQUESTS).unwrap_or(MOST_REQUESTS))
            .sum();
        let mean = sum as f64 / DETECTION_RUNS as f64;
        let least = bound::requests_to_verdict(w, old, new, ALPHA);
        report(&format!("mean_requests_with_latency_w{w}_{old}_to_{new}"), mean.round(), "requests");
        let (old, new, ratio) = (percent(old), percent(new), mean / least);
        text.push_str(&format!("{w:>7} {old:>5} {new:>6} {least:>8.0} {mean:>9.0} {ratio:>6.2}\n"));
    }
    let mut random = Random(301);
    let back = (0..DETECTION_RUNS)
        .filter(|_| verdict_with_latency(&mut random, 0.1, 0.01, 0.01, 100_000).is_some())
        .count();
    let share = back as f64 / DETECTION_RUNS as f64;
    report("false_rollback_rate_with_latency_1e5_requests", share, "share");
    text.push_str(&format!("  false rollbacks, 100,000 requests, {DETECTION_RUNS} runs {share:>26.4}\n"));
    text
}

fn verdict_with_latency(random: &mut Random, w: f64, old: f64, new: f64, most: u64) -> Option<u64> {
    let none = || Stretch { weight: w, candidate: Counts::default(), stable: Counts::default() };
    let (mut stretch, mut windows) = (none(), QUANTILES.map(|_| none()));
    let (mut trials, mut ln_errors, mut ln_latency) = (QUANTILES.map(|_| Trial::default()), 0.0, [0.0; 3]);
    for at in 1..=most {
        let is_new = random.unit() < w;
        let error = random.unit() < if is_new { new } else { old };
        count(&mut stretch, is_new, error);
        let slowness = random.unit();
        for (window, quantile) in windows.iter_mut().zip(QUANTILES) {
            count(window, is_new, slowness > quantile);
        }
        let second_is_over = at % REQUESTS_PER_SECOND == 0;
        if second_is_over {
            for (index, (trial, window)) in trials.iter_mut().zip(&mut windows).enumerate() {
                trial.hear(std::slice::from_ref(window), Duration::from_secs(1), TOLERANCE);
                *window = none();
                ln_latency[index] = trial.ln_evidence(QUANTILES[index], TOLERANCE);
            }
        }
        if error {
            ln_errors = ln_evidence_against(std::slice::from_ref(&stretch), 1.0);
        }
        if (error || second_is_over) && ln_together(ln_errors, &ln_latency) >= (1.0 / ALPHA).ln() {
            return Some(at);
        }
    }
    None
}

fn count(stretch: &mut Stretch, is_new: bool, error: bool) {
    let side = if is_new { &mut stretch.candidate } else { &mut stretch.stable };
    side.requests += 1;
    side.errors += u64::from(error);
}

fn always_valid(seed: u64, requests: u64) -> f64 {
    let mut random = Random(seed);
    let back =
        (0..HEALTHY_RUNS).filter(|_| verdict_at(&mut random, 0.1, 0.01, 0.01, requests).is_some()).count();
    back as f64 / HEALTHY_RUNS as f64
}

/// The judge, a z-test peeked at every 100 requests, and a threshold rule (error rate below 5 %, 20 requests of the new
/// release a measurement, 15 measurements), all on the same requests.
fn side_by_side(seed: u64) -> String {
    let mut random = Random(seed);
    let mut back = [0u64; 4];
    for _ in 0..HEALTHY_RUNS {
        for (count, rolled_back) in back.iter_mut().zip(one_healthy_rollout(&mut random)) {
            *count += u64::from(rolled_back);
        }
    }
    let names = [
        ("false_rollback_rate_1e5_requests", "this judge, a look at each of 100,000 requests".to_owned()),
        ("false_rollback_rate_z_test_peeked", "a z-test at 0.01, the same, every 100 requests".to_owned()),
        ("false_rollback_rate_threshold_limit_0", "the threshold rule, failureLimit 0".to_owned()),
        ("false_rollback_rate_threshold_limit_3", "the threshold rule, failureLimit 3".to_owned()),
    ];
    let mut text = String::new();
    for ((figure, words), count) in names.iter().zip(back) {
        let share = count as f64 / HEALTHY_RUNS as f64;
        report(figure, share, "share");
        text.push_str(&format!("  {words:<54} {share:.4}\n"));
    }
    text
}

fn one_healthy_rollout(random: &mut Random) -> [bool; 4] {
    let mut stretch = Stretch { weight: 0.1, candidate: Counts::default(), stable: Counts::default() };
    let mut rules = [threshold(0), threshold(3)].map(|metric| {
        let mut state = State::default();
        state.begin(model::Timestamp::default());
        (metric, state)
    });
    let mut back = [false; 4];
    for request in 1..=100_000_u64 {
        let new = random.unit() < stretch.weight;
        let error = random.unit() < 0.01;
        let side = if new { &mut stretch.candidate } else { &mut stretch.stable };
        side.requests += 1;
        side.errors += u64::from(error);
        back[0] |= new && error && !back[0] && convicts(&stretch);
        back[1] |= request % 100 == 0 && z_test_rejects(&stretch);
        if new && stretch.candidate.requests.is_multiple_of(20) && stretch.candidate.requests <= 300 {
            for (index, (metric, state)) in rules.iter_mut().enumerate() {
                back[2 + index] |= threshold_fails(metric, state, stretch.candidate);
            }
        }
    }
    back
}

fn threshold(failure_limit: u32) -> Metric {
    Metric {
        name: "errors".to_owned(),
        source: Source::ErrorRate,
        interval: Duration::from_secs(60),
        count: Some(15),
        success_condition: Some(Condition { comparison: Comparison::Less, value: 0.05 }),
        failure_condition: None,
        failure_limit: Some(failure_limit),
        inconclusive_limit: Some(0),
        consecutive_error_limit: Some(4),
        dry_run: false,
    }
}

/// Our own rules, which have the meaning of Argo Rollouts' analysis metrics.
fn threshold_fails(metric: &Metric, state: &mut State, counts: Counts) -> bool {
    let reading = Reading { counts, ..Reading::default() };
    let measurement = measure((Run::Background, 0), metric, state, Some(&reading), 60.0);
    state.apply(&measurement, model::Timestamp::default());
    matches!(state.verdict(metric), Verdict::Failed(_))
}

/// One-sided, two proportions, pooled, at a nominal 1 %.
fn z_test_rejects(stretch: &Stretch) -> bool {
    const Z: f64 = 2.326_348;
    let (new, old) = (stretch.candidate, stretch.stable);
    let (n, m) = (new.requests as f64, old.requests as f64);
    let pooled = (new.errors + old.errors) as f64 / (n + m);
    let spread = (pooled * (1.0 - pooled) * (1.0 / n + 1.0 / m)).sqrt();
    let difference = new.errors as f64 / n - old.errors as f64 / m;
    spread > 0.0 && difference / spread >= Z
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        (z >> 11) as f64 / (1u64 << 53) as f64
    }

    /// How many trials until the first success, that one included.
    fn trials_until(&mut self, probability: f64) -> u64 {
        ((-self.unit()).ln_1p() / (-probability).ln_1p()).floor() as u64 + 1
    }
}
