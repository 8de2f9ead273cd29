//! Checks of the real binary: a smoke test and a request against the preview, before anybody else gets the new release.
#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use e2e::{Stage, eventually};
use load::Report;
use serde_json::json;

const BLUE_GREEN: &str = "
replicas: 2
rollout:
  strategy: blueGreen
  scaleDownDelay: 1s
  blueGreen:
    prePromotionAnalysis:
      metrics:
";

/// The shop has to pass this rule before each switch; release 1 serves.
fn checked(rule: &str) -> Stage {
    let stage = Stage::with(&format!("{BLUE_GREEN}        - {rule}\n"));
    stage.up();
    let first = stage.build("one", &json!({"version": "1"}));
    let _ = stage.run(&["deploy", &first]).ok();
    stage
}

/// A build with a smoke test in it.
fn build(stage: &Stage, name: &str, settings: &serde_json::Value, smoke: &str) -> String {
    let build = stage.build(name, settings);
    let script = Path::new(&build).join("smoke");
    std::fs::write(&script, format!("#!/bin/sh\n{smoke}\n")).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    build
}

/// Asks the preview for its version, by a name that no resolver knows.
const ASKS: &str = "exec python3 -c '
import os, urllib.request
at = \"http://\" + os.environ[\"SHIPSHAPE_GATEWAY\"] + \"/\"
ask = urllib.request.Request(at, headers={\"Host\": os.environ[\"SHIPSHAPE_PREVIEW_HOST\"]})
print(\"it says\", urllib.request.urlopen(ask, timeout=20).read().decode()[:200])
'";

fn answered_by(report: &Report, release: &str) -> u64 {
    report.releases.get(release).map_or(0, |counts| counts.answered)
}

fn journal(stage: &Stage) -> String {
    stage.run(&["journal", "list", "--all", "--limit", "1000", "--output", "json"]).ok().stdout
}

#[test]
fn a_preview_that_fails_its_smoke_test_never_gets_a_request() {
    let stage = checked("{name: smoke, command: {run: ./smoke}}");
    let load = stage.load(200.0);
    let bad = build(&stage, "bad", &json!({"version": "2"}), "echo the cart is empty >&2; exit 3");
    let ran = stage.run(&["deploy", &bad]).exits(1);
    assert!(ran.stderr.contains("exit status 3: the cart is empty"), "{ran:?}");
    let _ = stage.wait_for_phase("production", "rolledBack");
    let report = stage.nothing_lost(load);
    assert!(answered_by(&report, "1") > 0);
    assert_eq!(answered_by(&report, "2"), 0, "{:?}", report.releases);
    assert_eq!(report.errors(), 0);
}

#[test]
fn a_preview_that_passes_its_smoke_test_is_switched_to() {
    let stage = checked("{name: smoke, command: {run: ./smoke, timeout: 30s}}");
    let load = stage.load(200.0);
    let good = build(&stage, "good", &json!({"version": "2"}), ASKS);
    let _ = stage.run(&["deploy", &good]).ok();
    let report = stage.nothing_lost(load);
    assert!(answered_by(&report, "2") > 0, "{:?}", report.releases);
    let told = journal(&stage);
    assert!(told.contains("exit status 0: it says"), "{told}");
}

#[test]
fn a_request_checks_the_preview() {
    let stage = checked("{name: answers, http: {path: /, timeout: 20s}, count: 2, interval: 1s}");
    let load = stage.load(100.0);
    let bad = stage.build("bad", &json!({"version": "2", "failureRate": 1.0}));
    let ran = stage.run(&["deploy", &bad]).exits(1);
    assert!(ran.stderr.contains("answered 500, expected 200 to 299"), "{ran:?}");
    let _ = stage.wait_for_phase("production", "rolledBack");
    let good = stage.build("good", &json!({"version": "3"}));
    let _ = stage.run(&["deploy", &good]).ok();
    let report = stage.nothing_lost(load);
    assert_eq!(answered_by(&report, "2"), 0, "{:?}", report.releases);
    assert!(answered_by(&report, "3") > 0, "{:?}", report.releases);
}

#[test]
fn a_check_is_begun_again_by_the_next_control() {
    let stage = checked("{name: smoke, command: {run: ./smoke, timeout: 5m}}");
    let (begun, may_end) = (stage.path("begun"), stage.path("may-end"));
    let load = stage.load(100.0);
    let smoke = format!(
        "echo $$ >> {}\nwhile [ ! -e {} ]; do sleep 0.1; done\necho too bad; exit 1",
        begun.display(),
        may_end.display()
    );
    let bad = build(&stage, "bad", &json!({"version": "2"}), &smoke);
    let _ = stage.run(&["deploy", &bad, "--detach"]).ok();
    let runs = || std::fs::read_to_string(&begun).map_or(0, |pids| pids.lines().count());
    let minute = Duration::from_secs(60);
    eventually("the check runs", minute, || (runs() == 1).then_some(()));
    let status = eventually("the status says so", minute, || {
        let place = stage.place("production");
        let what = place["rollout"]["report"]["wait"]["what"].as_str().unwrap_or_default().to_owned();
        what.contains("smoke: command under way, measurement 1 of 1 (for ").then_some(place)
    });
    assert!(status["rollout"]["report"]["evidence"]["rules"][0]["runningSince"].is_string(), "{status}");
    let first = std::fs::read_to_string(&begun).unwrap().trim().to_owned();
    let _ = stage.kill(stage.pid_of("control"));
    eventually("the check has died with control", minute, || {
        (!Path::new("/proc").join(&first).exists()).then_some(())
    });
    stage.up();
    eventually("the check runs again", minute, || (runs() == 2).then_some(()));
    std::fs::write(&may_end, "").unwrap();
    let _ = stage.wait_for_phase("production", "rolledBack");
    let report = stage.nothing_lost(load);
    assert_eq!(answered_by(&report, "2"), 0, "{:?}", report.releases);
    let told = journal(&stage);
    assert_eq!(
        told.matches("exit status 1: too bad").count(),
        2,
        "once measured, once as the reason: {told}"
    );
}
