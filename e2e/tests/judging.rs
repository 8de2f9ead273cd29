//! Releases that fail no request before they take all of them, and are taken back all the same: one that is slow, one that
//! turns bad later, and one that must not go back by itself.
#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

use e2e::{Stage, eventually};
use load::Running;
use serde_json::json;
use std::time::Duration;

/// A release that answered enough requests to be a measure, under load.
fn measured(more: &str) -> (Stage, Running) {
    let stage = Stage::with(more);
    stage.up();
    let first = stage.build("one", &json!({"version": "1"}));
    let _ = stage.run(&["deploy", &first]).ok();
    let _ = stage.wait_for_phase("production", "completed");
    let load = stage.load(300.0);
    eventually("the old release is known", Duration::from_secs(60), || {
        (load.snapshot().finished > 1_500).then_some(())
    });
    (stage, load)
}

#[test]
fn a_release_that_is_slow_and_nothing_else_is_taken_back() {
    let (stage, load) = measured(
        "rollout:\n  strategy: canary\n  canary: {steps: [{setWeight: 20}, {pause: {duration: 100s}}]}\n  \
         scaleDownDelay: 0s\n  analysis: {judge: {latency: {initialDelay: 1s}}}\n",
    );
    let slow = stage.build("slow", &json!({"version": "2", "latencyMs": 400}));
    let ran = stage.run(&["deploy", &slow]).exits(1);
    let told = format!("{}{}", ran.stdout, ran.stderr);
    assert!(told.contains("judge: new release") && told.contains("slower than"), "{told}");
    assert_eq!(stage.place("production")["serving"], 1);
    let report = stage.nothing_lost(load);
    assert_eq!(report.errors(), 0, "latency alone spoke against it");
}

#[test]
fn a_release_that_is_bad_once_it_takes_all_requests_goes_back_while_it_bakes() {
    let (stage, load) = measured("rollout: {strategy: blueGreen, scaleDownDelay: 0s, bakeTime: 100s}\n");
    let bad = stage.build("bad", &json!({"version": "2", "failureRate": 0.4}));
    let _ = stage.run(&["deploy", &bad, "--detach"]).ok();
    let place = stage.wait_for_phase("production", "rolledBack");
    let why = place["rollout"]["reason"].as_str().unwrap().to_owned();
    assert!(why.contains("since it takes all requests"), "{why}");
    assert_eq!(place["serving"], 1);
    let acknowledged = std::time::Instant::now();
    let before = load.snapshot().finished;
    eventually("the old release answers", Duration::from_secs(20), || {
        (load.snapshot().finished > before + 200).then_some(())
    });
    let report = stage.nothing_lost(load);
    assert!(report.errors() > 0 && report.started_after(acknowledged, "2").is_empty());
}

#[test]
fn a_release_that_must_not_go_back_stands_still_until_somebody_decides() {
    let (stage, load) = measured(
        "rollout:\n  strategy: canary\n  canary: {steps: [{setWeight: 20}, {pause: {duration: 100s}}]}\n  \
         scaleDownDelay: 0s\n  onFailure: freeze\n",
    );
    let bad = stage.build("bad", &json!({"version": "2", "failureRate": 0.4}));
    let ran = stage.run(&["deploy", &bad]).exits(1);
    assert!(format!("{}{}", ran.stdout, ran.stderr).contains("frozen: judge"), "{ran:?}");
    let status = stage.status();
    let warnings = status["warnings"].to_string();
    assert!(warnings.contains("waits for a decision: frozen"), "{warnings}");
    assert_eq!(stage.place("production")["rollout"]["phase"], "paused");
    let _ = stage.run(&["promote", "--full", "--reason", "the data is migrated"]).ok();
    assert_eq!(stage.place("production")["serving"], 2);
    let _ = stage.nothing_lost(load);
    let journal = stage.run(&["journal", "list", "--limit", "1000"]).ok();
    assert!(journal.stdout.contains("the data is migrated"), "{}", journal.stdout);
}
