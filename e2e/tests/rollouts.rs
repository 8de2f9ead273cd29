//! Rollouts of a real service under keep-alive load, with a ledger on both sides: nothing may be lost.
#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

use e2e::{Stage, eventually};
use serde_json::json;
use std::time::Duration;

const CANARY: &str = "
rollout:
  strategy: canary
  canary:
    steps:
      - setWeight: 20
      - pause: {duration: 2s}
      - setWeight: 50
      - pause: {duration: 1s}
  scaleDownDelay: 1s
";

/// A canary that waits for ever at 20 %.
const PATIENT_CANARY: &str = "
rollout:
  strategy: canary
  canary: {steps: [{setWeight: 20}, {pause: {}}]}
  scaleDownDelay: 30s
";

fn deployed(more: &str) -> (Stage, String) {
    let stage = Stage::with(more);
    stage.up();
    let first = stage.build("one", &json!({"version": "1"}));
    let _ = stage.run(&["deploy", &first]).ok();
    (stage, first)
}

#[test]
fn a_good_canary_loses_nothing() {
    let (stage, _) = deployed(CANARY);
    let load = stage.load(200.0);
    let second = stage.build("two", &json!({"version": "2"}));
    let ran = stage.run(&["deploy", &second]).ok();
    assert!(ran.stdout.contains("release 2"), "{ran:?}");
    let report = stage.nothing_lost(load);
    assert!(report.releases["1"].answered > 0 && report.releases["2"].answered > 0, "{:?}", report.releases);
    assert_eq!(report.errors(), 0);
    assert_eq!(stage.place("production")["serving"], 2);
}

#[test]
fn a_rolling_update_loses_nothing() {
    let (stage, _) = deployed("replicas: 3\n");
    let load = stage.load(200.0);
    let second = stage.build("two", &json!({"version": "2"}));
    let _ = stage.run(&["deploy", &second]).ok();
    let _ = stage.wait_for_phase("production", "completed");
    let report = stage.nothing_lost(load);
    assert!(report.releases["2"].answered > 0, "{:?}", report.releases);
}

#[test]
fn a_release_that_fails_some_requests_is_judged_and_taken_back() {
    let (stage, _) = deployed(&CANARY.replace("2s", "60s"));
    let load = stage.load(300.0);
    let bad = stage.build("bad", &json!({"version": "2", "failureRate": 0.2}));
    let ran = stage.run(&["deploy", &bad]).exits(1);
    assert!(format!("{}{}", ran.stdout, ran.stderr).contains("judge"), "{ran:?}");
    let acknowledged = std::time::Instant::now();
    let place = stage.wait_for_phase("production", "rolledBack");
    assert_eq!(place["serving"], 1);
    // The old release answers on, long after the bad one was taken back.
    let before = load.snapshot().finished;
    eventually("more requests are answered", Duration::from_secs(20), || {
        (load.snapshot().finished > before + 200).then_some(())
    });
    let report = stage.nothing_lost(load);
    assert!(report.errors() > 0);
    assert!(
        report.started_after(acknowledged, "2").is_empty(),
        "a request reached a release that was taken back"
    );
}

#[test]
fn an_abort_brings_the_old_release_back_without_a_loss() {
    let (stage, _) = deployed(PATIENT_CANARY);
    let load = stage.load(200.0);
    let second = stage.build("two", &json!({"version": "2"}));
    let _ = stage.run(&["deploy", &second, "--detach"]).ok();
    let _ = stage.wait_for_phase("production", "paused");
    eventually("the new release answers", Duration::from_secs(20), || {
        load.snapshot().releases.get("2").filter(|counts| counts.answered > 20).map(|_| ())
    });
    let _ = stage.run(&["abort", "--reason", "second thoughts"]).ok();
    let acknowledged = std::time::Instant::now();
    let report = {
        let _ = stage.wait_for_phase("production", "rolledBack");
        stage.nothing_lost(load)
    };
    assert!(report.started_after(acknowledged, "2").is_empty());
    let journal = stage.run(&["journal", "list", "--limit", "1000"]).ok();
    assert!(journal.stdout.contains("second thoughts"), "{}", journal.stdout);
}

#[test]
fn a_rollback_restores_the_old_artifact_and_configuration_without_a_loss() {
    let (stage, first) = deployed("rollout: {scaleDownDelay: 0s}\n");
    stage.manifest("  SHOP_VERSION: changed\nrollout: {scaleDownDelay: 0s}\n");
    let _ = stage.run(&["deploy", &first]).ok();
    let _ = stage.wait_for_phase("production", "completed");
    assert_eq!(stage.place("production")["serving"], 2);
    let load = stage.load(200.0);
    let _ = stage.run(&["rollback"]).ok();
    let acknowledged = std::time::Instant::now();
    let _ = stage.wait_for_phase("production", "completed");
    let place = stage.place("production");
    assert_eq!(place["serving"], 1);
    assert_eq!(place["history"], json!([1]));
    let report = stage.nothing_lost(load);
    assert!(report.started_after(acknowledged, "2").is_empty());
    let refused = stage.run(&["rollback"]).exits(1);
    assert!(refused.stderr.contains("no earlier release"), "{refused:?}");
}

#[test]
fn a_paused_canary_goes_on_when_it_is_promoted() {
    let (stage, _) = deployed(PATIENT_CANARY);
    let second = stage.build("two", &json!({"version": "2"}));
    let ran = stage.run(&["deploy", &second]).ok();
    assert!(format!("{}{}", ran.stdout, ran.stderr).contains("shipshape promote"), "{ran:?}");
    let _ = stage.run(&["promote"]).ok();
    assert_eq!(stage.place("production")["serving"], 2);
}

#[test]
fn a_canary_without_requests_is_inconclusive_and_pauses() {
    let (stage, _) = deployed(CANARY);
    let second = stage.build("two", &json!({"version": "2"}));
    let ran = stage.run(&["deploy", &second]).exits(1);
    assert!(format!("{}{}", ran.stdout, ran.stderr).contains("no data is no success"), "{ran:?}");
    assert_eq!(stage.place("production")["rollout"]["phase"], "paused");
}

#[test]
fn control_killed_in_the_middle_loses_nothing_and_goes_on() {
    let (stage, _) = deployed(&CANARY.replace("2s", "4s"));
    let load = stage.load(200.0);
    let second = stage.build("two", &json!({"version": "2"}));
    let _ = stage.run(&["deploy", &second, "--detach"]).ok();
    eventually("the canary gets traffic", Duration::from_secs(20), || {
        load.snapshot().releases.contains_key("2").then_some(())
    });
    for _ in 0..2 {
        let _ = stage.kill(stage.pid_of("control"));
        let dead = stage.run(&["status"]).exits(1);
        assert!(dead.stderr.contains("shipshape up"), "{dead:?}");
        let before = load.snapshot().finished;
        eventually("requests are answered without control", Duration::from_secs(20), || {
            (load.snapshot().finished > before + 50).then_some(())
        });
        stage.up();
    }
    eventually("the rollout ends", Duration::from_secs(60), || {
        let place = stage.place("production");
        (place["serving"] == 2).then_some(())
    });
    let _ = stage.nothing_lost(load);
    let _ = stage.run(&["journal", "verify"]).ok();
}

#[test]
fn promote_ships_the_same_digest_to_the_next_environment() {
    let stage = Stage::with("environments:\n  staging: {replicas: 1}\n  production: {}\n");
    stage.up();
    let first = stage.build("one", &json!({"version": "1"}));
    let ambiguous = stage.run(&["deploy", &first]).exits(1);
    assert!(ambiguous.stderr.contains("production") && ambiguous.stderr.contains("staging"), "{ambiguous:?}");
    let _ = stage.run(&["deploy", &first, "-e", "staging"]).ok();
    let _ = stage.run(&["promote", "--from", "staging", "--to", "production"]).ok();
    let (staging, production) = (stage.place("staging"), stage.place("production"));
    assert_eq!(staging["releases"][0]["artifact"], production["releases"][0]["artifact"]);
    assert_eq!((&staging["serving"], &production["serving"]), (&json!(1), &json!(1)));
    assert_eq!(staging["releases"][0]["wanted"], 1);
    assert_eq!(production["releases"][0]["wanted"], 2);
}

#[test]
fn a_second_rollout_is_refused_with_the_way_out() {
    let (stage, _) = deployed(PATIENT_CANARY);
    let second = stage.build("two", &json!({"version": "2"}));
    let third = stage.build("three", &json!({"version": "3"}));
    let _ = stage.run(&["deploy", &second, "--detach"]).ok();
    let refused = stage.run(&["deploy", &third]).exits(1);
    assert!(refused.stderr.contains("shipshape abort"), "{refused:?}");
}

/// A preview of one replica that waits for a promotion.
const BLUE_GREEN: &str = "
replicas: 2
rollout:
  strategy: blueGreen
  blueGreen: {autoPromotionEnabled: false, previewReplicaCount: 1}
  scaleDownDelay: 20s
";

/// Which version of the shop answers a request for `host`, and with which status.
fn asked(gateway: std::net::SocketAddr, host: &str) -> String {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(gateway).unwrap();
    write!(stream, "GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_blue_green_rollout_is_previewed_switched_and_taken_back_without_a_loss() {
    const VERSION_2: &str = r#""version":"2""#;
    const PREVIEW: &str = "preview.shop.production.localhost";
    let (stage, _) = deployed(BLUE_GREEN);
    let gateway = stage.gateway();
    assert!(asked(gateway, PREVIEW).starts_with("HTTP/1.1 404"), "nothing is previewed yet");
    let load = stage.load(200.0);
    let second = stage.build("two", &json!({"version": "2"}));
    let ran = stage.run(&["deploy", &second]).ok();
    assert!(format!("{}{}", ran.stdout, ran.stderr).contains(PREVIEW), "{ran:?}");
    let place = stage.place("production");
    assert_eq!((&place["rollout"]["phase"], &place["previewHosts"][0]), (&json!("paused"), &json!(PREVIEW)));
    assert!(asked(gateway, PREVIEW).contains(VERSION_2), "{}", asked(gateway, PREVIEW));
    assert!(!asked(gateway, "shop.test").contains(VERSION_2));
    assert!(!load.snapshot().releases.contains_key("2"), "a preview gets no share of the requests");

    let _ = stage.run(&["promote"]).ok();
    assert_eq!(stage.place("production")["serving"], 2);
    eventually("the new release answers all", Duration::from_secs(20), || {
        load.snapshot().releases.get("2").filter(|counts| counts.answered > 100).map(|_| ())
    });
    let _ = stage.run(&["rollback"]).ok();
    let acknowledged = std::time::Instant::now();
    assert_eq!(stage.place("production")["serving"], 1);
    assert!(asked(gateway, PREVIEW).starts_with("HTTP/1.1 404"), "what was taken back is shown to nobody");
    let before = load.snapshot().finished;
    eventually("more requests are answered", Duration::from_secs(20), || {
        (load.snapshot().finished > before + 100).then_some(())
    });
    let report = stage.nothing_lost(load);
    assert_eq!(report.errors(), 0);
    assert!(report.started_after(acknowledged, "2").is_empty());
}

/// A canary that waits for a rule of its step; another rule only tells. The judge is off.
const ANALYSED: &str = "
rollout:
  strategy: canary
  canary:
    steps:
      - setWeight: 50
      - analysis:
          metrics:
            - {name: errors, source: errorRate, interval: 1s, count: 2, successCondition: result < 0.05}
            - {name: never, source: requestRate, interval: 1s, count: 1, successCondition: result < 0, dryRun: true}
  scaleDownDelay: 1s
  analysis: {judge: false}
";

#[test]
fn an_analysis_step_lets_a_good_release_pass_and_takes_a_bad_one_back() {
    let (stage, _) = deployed(ANALYSED);
    let load = stage.load(200.0);
    let good = stage.build("good", &json!({"version": "2"}));
    let _ = stage.run(&["deploy", &good]).ok();
    let _ = stage.wait_for_phase("production", "completed");
    let bad = stage.build("bad", &json!({"version": "3", "failureRate": 0.3}));
    let ran = stage.run(&["deploy", &bad]).exits(1);
    assert!(format!("{}{}", ran.stdout, ran.stderr).contains("failureLimit"), "{ran:?}");
    let acknowledged = std::time::Instant::now();
    assert_eq!(stage.wait_for_phase("production", "rolledBack")["serving"], 2);
    let report = stage.nothing_lost(load);
    assert!(report.errors() > 0);
    assert!(report.started_after(acknowledged, "3").is_empty());
}

#[test]
fn a_switch_that_fails_its_analysis_is_switched_back_without_a_loss() {
    let analysis = "
rollout:
  strategy: blueGreen
  blueGreen:
    postPromotionAnalysis:
      metrics: [{name: errors, source: errorRate, interval: 1s, count: 3, successCondition: result < 0.05}]
  scaleDownDelay: 0s
";
    let (stage, _) = deployed(analysis);
    let load = stage.load(200.0);
    let good = stage.build("good", &json!({"version": "2"}));
    let _ = stage.run(&["deploy", &good]).ok();
    let _ = stage.wait_for_phase("production", "completed");
    let bad = stage.build("bad", &json!({"version": "3", "failureRate": 0.3}));
    let ran = stage.run(&["deploy", &bad]).exits(1);
    assert!(format!("{}{}", ran.stdout, ran.stderr).contains("failureLimit"), "{ran:?}");
    let acknowledged = std::time::Instant::now();
    assert_eq!(stage.place("production")["serving"], 2);
    let report = stage.nothing_lost(load);
    assert!(report.started_after(acknowledged, "3").is_empty());
}
