//! Services as they really are: never ready, dying, deaf to SIGTERM.
#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

use e2e::{Stage, eventually};
use serde_json::json;
use std::time::Duration;

#[test]
fn a_release_that_never_becomes_ready_is_given_up_and_nobody_noticed() {
    let stage = Stage::deployed("rollout: {progressDeadline: 3s}\n");
    let load = stage.load(100.0);
    let deaf = stage.build("deaf", &json!({"version": "2", "neverReady": true}));
    let ran = stage.run(&["deploy", &deaf]).exits(1);
    let said = format!("{}{}", ran.stdout, ran.stderr);
    assert!(said.contains("progress deadline") && said.contains("0 of 2 replicas"), "{said}");
    let report = stage.nothing_lost(load);
    assert_eq!(report.errors(), 0);
    assert!(!report.releases.contains_key("2"), "{:?}", report.releases);
}

#[test]
fn a_release_that_keeps_dying_is_a_verdict() {
    let stage = Stage::deployed("");
    let load = stage.load(100.0);
    let dying = stage.build("dying", &json!({"version": "2", "exitAfterMs": 100}));
    let ran = stage.run(&["deploy", &dying]).exits(1);
    assert!(format!("{}{}", ran.stdout, ran.stderr).contains("crash loop"), "{ran:?}");
    let _ = stage.wait_for_phase("production", "rolledBack");
    assert_eq!(stage.place("production")["serving"], 1);
    let _ = stage.run(&["down"]).ok();
    drop(load);
}

#[test]
fn a_command_that_does_not_exist_is_told_as_such() {
    let stage = Stage::with("");
    std::fs::write(stage.path("shipshape.yaml"), "service: shop\nrun: ./nothing-here\n").unwrap();
    stage.up();
    let first = stage.build("one", &json!({"version": "1"}));
    let ran = stage.run(&["deploy", &first]).exits(1);
    assert!(format!("{}{}", ran.stdout, ran.stderr).contains("nothing-here"), "{ran:?}");
}

#[test]
fn a_replica_that_ignores_sigterm_is_killed_after_its_grace_period() {
    let stage =
        Stage::deployed("shutdown: {drainTimeout: 1s, gracePeriod: 1s}\nrollout: {scaleDownDelay: 0s}\n");
    let deaf = stage.build("deaf", &json!({"version": "2", "ignoreSigterm": true}));
    let _ = stage.run(&["deploy", &deaf]).ok();
    let _ = stage.wait_for_phase("production", "completed");
    let pid = stage.place("production")["releases"][0]["replicas"][0]["pid"].as_u64().unwrap();
    let third = stage.build("three", &json!({"version": "3"}));
    let _ = stage.run(&["deploy", &third]).ok();
    eventually("the deaf replica is gone", Duration::from_secs(30), || {
        (!std::path::Path::new(&format!("/proc/{pid}")).exists()).then_some(())
    });
}

#[test]
fn a_replica_that_dies_is_started_again() {
    let stage = Stage::deployed("");
    let pid = stage.place("production")["releases"][0]["replicas"][0]["pid"].as_u64().unwrap();
    let _ = stage.kill(u32::try_from(pid).unwrap());
    eventually("another one is ready", Duration::from_secs(30), || {
        let release = stage.place("production")["releases"][0].clone();
        let restarted = release["replicas"][0]["restarts"].as_u64() == Some(1);
        (restarted && release["ready"] == 2).then_some(())
    });
    let replica = stage.place("production")["releases"][0]["replicas"][0].clone();
    assert!(replica["lastExit"].as_str().unwrap().contains("signal 9"), "{replica}");
}
