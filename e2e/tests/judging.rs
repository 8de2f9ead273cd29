//! Releases that fail no request before they take all of them, and are taken back all the same: one that is slow, one that
//! turns bad later, and one that must not go back by itself. And the two ways on: evidence for a release, and a retry.
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

#[test]
fn a_wave_of_a_rolling_update_waits_for_evidence_and_goes_on_with_it() {
    let stage = Stage::deployed(
        "replicas: 2\nrollout:\n  strategy: rolling\n  rolling: {maxSurge: 1, maxUnavailable: 0}\n  \
         analysis: {judge: {promotion: evidence, maxErrorRate: 0.05, beta: 0.1, latency: false}}\n",
    );
    let second = stage.build("two", &json!({"version": "2"}));
    let _ = stage.run(&["deploy", &second, "--detach"]).ok();
    let waits = |place: &serde_json::Value| {
        let what = place["rollout"]["report"]["wait"]["what"].as_str().unwrap_or_default().to_owned();
        what.contains("evidence for the release: 0 requests").then_some(what)
    };
    let what =
        eventually("the second wave waits", Duration::from_secs(60), || waits(&stage.place("production")));
    assert!(what.contains("at least 45 without any are needed"), "{what}");
    let load = stage.load(300.0);
    let _ = stage.wait_for_phase("production", "completed");
    let report = stage.nothing_lost(load);
    assert_eq!(report.errors(), 0);
    assert_eq!(stage.place("production")["serving"], 2);
}

#[test]
fn a_release_that_went_back_is_tried_again_once_its_cause_is_gone() {
    let stage = Stage::with("");
    let cause = stage.path("the-database-is-back");
    stage.manifest(&format!(
        "rollout:\n  strategy: blueGreen\n  scaleDownDelay: 0s\n  blueGreen:\n    prePromotionAnalysis:\n      metrics:\n        \
         - {{name: database, command: {{run: test -e {}}}}}\n",
        cause.display()
    ));
    stage.up();
    let refused = stage.run(&["retry", "--reason", "let us see"]).exits(1);
    assert!(refused.stderr.contains("nothing was ever deployed at shop/production"), "{refused:?}");
    let first = stage.build("one", &json!({"version": "1"}));
    let _ = stage.run(&["deploy", &first]).ok();
    let refused = stage.run(&["retry", "--reason", "let us see"]).exits(1);
    for part in ["was not rolled back: release 1 serves", "there is nothing to try again"] {
        assert!(refused.stderr.contains(part), "{part}: {refused:?}");
    }
    let misuse = stage.run(&["retry"]).exits(2);
    assert!(misuse.stderr.contains("--reason"), "{misuse:?}");

    let second = stage.build("two", &json!({"version": "2"}));
    let _ = stage.run(&["deploy", &second]).exits(1);
    assert_eq!(stage.place("production")["serving"], 1);
    let again = stage.run(&["retry", "--reason", "perhaps now"]).exits(1);
    assert!(again.stderr.contains("database"), "{again:?}");
    std::fs::write(&cause, "").unwrap();
    let done = stage.run(&["retry", "--reason", "the database is back", "--output", "json"]).ok();
    assert!(done.stdout.lines().last().unwrap().contains(r#""outcome":"serves""#), "{done:?}");
    assert_eq!(stage.place("production")["serving"], 2);
    let journal = stage.run(&["journal", "list", "--limit", "1000"]).ok();
    assert!(journal.stdout.contains("the database is back"), "{}", journal.stdout);
    let _ = stage.run(&["retry", "--reason", "once more"]).exits(1);
}
