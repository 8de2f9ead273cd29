//! How long a bad release keeps getting requests after an operator has said no: from the moment that the journal has of
//! the command to the last request that the client wrote to the gateway and the bad release answered, at 2,000 requests
//! a second and with the old release warm; and how long `shipshape rollback` takes as a whole process. Half of the
//! rollbacks meet a canary at 50 %, half a blue-green switch at 100 %. Not here: how it is decided.
//!
//! `bench_rollback [TIMES]`: how often each of the two is done.
#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use e2e::figures::{Clocks, p99_is_within, quantiles};
use e2e::{Stage, eventually};
use load::{Outcome, Report, Running};
use serde_json::json;

const RATE_PER_SECOND: f64 = 2_000.0;
const TIMES: usize = 30;
/// Answers of the bad release before it is taken back.
const ENOUGH: u64 = 200;
const PATIENCE: Duration = Duration::from_secs(60);
const LAST_REQUEST_BAR: Duration = Duration::from_millis(10);
const PROCESS_BAR: Duration = Duration::from_millis(150);

const CANARY: &str = "
replicas: 2
rollout:
  strategy: canary
  canary: {steps: [{setWeight: 50}, {pause: {}}]}
  analysis: {judge: false}
";
const BLUE_GREEN: &str = "
replicas: 2
rollout:
  strategy: blueGreen
  scaleDownDelay: 60s
  analysis: {judge: false}
";

/// One rollback.
struct Rollback {
    /// The number of the bad release.
    release: String,
    /// Of the whole process.
    took: Duration,
}

fn main() -> ExitCode {
    let times = std::env::args().nth(1).and_then(|word| word.parse().ok()).unwrap_or(TIMES);
    let stage = Stage::with(CANARY);
    stage.up();
    let good = stage.build("good", &json!({"version": "good"}));
    let _ = stage.run(&["deploy", &good]).ok();
    let _ = stage.wait_for_phase("production", "completed");
    let bad = stage.build("bad", &json!({"version": "bad", "failureRate": 0.05}));
    let clocks = Clocks::read();
    let load = stage.load_of(RATE_PER_SECOND, Duration::from_secs(900));
    let mut rollbacks = Vec::new();
    for manifest in [CANARY, BLUE_GREEN] {
        for _ in 0..times {
            // Another configuration makes another release.
            let more = format!("  SHOP_VERSION: bad-{}{manifest}", rollbacks.len());
            stage.manifest(&more);
            rollbacks.push(rollback(&stage, &load, &bad));
        }
    }
    let report = stage.nothing_lost(load);
    let (canaries, switches) = rollbacks.split_at(times);
    let accepted = stage.times_of("rollout.rollbackBegun");
    assert_eq!(accepted.len(), rollbacks.len(), "every rollback is in the journal, and no other");
    let accepted: Vec<Instant> = accepted.into_iter().filter_map(|at| clocks.steady(at)).collect();
    let last: Vec<Last> =
        rollbacks.iter().zip(&accepted).map(|(rollback, at)| last(&report, *at, &rollback.release)).collect();
    let started: Vec<Duration> = last.iter().map(|last| last.started).collect();
    let answered: Vec<Duration> = last.iter().map(|last| last.answered).collect();
    let took: Vec<Duration> = rollbacks.iter().map(|rollback| rollback.took).collect();
    println!("{:>32}  {:>5}  {:>9}  {:>9}  {:>9}", "", "count", "median ms", "p99 ms", "max ms");
    for (what, durations) in [
        ("canary: last request started", &started[..canaries.len()]),
        ("blue-green: last request started", &started[canaries.len()..]),
        ("both: last request started", &started),
        ("both: last answer", &answered),
        ("shipshape rollback, the process", &took),
    ] {
        let found = quantiles(durations);
        let of = |name: &str| found[name].as_f64().unwrap_or_default();
        println!(
            "{what:>32}  {:>5}  {:>9.2}  {:>9.2}  {:>9.2}",
            durations.len(),
            of("p50Ms"),
            of("p99Ms"),
            of("maxMs")
        );
    }
    let met = (p99_is_within(&started, LAST_REQUEST_BAR), p99_is_within(&took, PROCESS_BAR));
    let lost = json!({"sent": report.sent, "lost": report.lost, "switches": switches.len()});
    println!(
        "{}",
        json!({"bench": "rollback", "figure": "accepted command to the last request started on the bad release",
            "bar": "p99 at most 10 ms", "met": met.0, "requests": lost, "started": quantiles(&started),
            "answered": quantiles(&answered)})
    );
    println!(
        "{}",
        json!({"bench": "rollback", "figure": "shipshape rollback as a whole process", "bar": "p99 at most 150 ms",
            "met": met.1, "process": quantiles(&took)})
    );
    ExitCode::SUCCESS
}

/// Lets the bad release serve, and takes it back.
fn rollback(stage: &Stage, load: &Running, bad: &str) -> Rollback {
    let _ = stage.run(&["deploy", bad, "--detach"]).ok();
    let release = stage.place("production")["rollout"]["to"].to_string();
    eventually("the bad release serves", PATIENCE, || {
        let served = load.snapshot().releases.get(&release).map_or(0, |counts| counts.answered);
        (served >= ENOUGH).then_some(())
    });
    let begun = Instant::now();
    let _ = stage.run(&["rollback"]).ok();
    let took = begun.elapsed();
    let _ = stage.wait_for_phase("production", "rolledBack");
    Rollback { release, took }
}

/// The last that a release had of the requests, since it was told to go back.
struct Last {
    started: Duration,
    answered: Duration,
}

fn last(report: &Report, since: Instant, release: &str) -> Last {
    let offset = since.saturating_duration_since(report.start());
    let mut last = Last { started: Duration::ZERO, answered: Duration::ZERO };
    let by = |outcome: Outcome<'_>| matches!(outcome, Outcome::Answered { release: by, .. } if by == release);
    for entry in report.entries().filter(|entry| by(entry.outcome)) {
        let Some(sent) = entry.sent else { continue };
        last.started = last.started.max(sent.saturating_sub(offset));
        let ended = sent + entry.service.unwrap_or_default();
        last.answered = last.answered.max(ended.saturating_sub(offset));
    }
    last
}
