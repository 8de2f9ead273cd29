//! Hooks of a rollout with the real binary: a migration that passes, one that fails, and one that dies with control.
#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use e2e::{Stage, eventually};
use serde_json::json;

const MINUTE: Duration = Duration::from_secs(60);

/// A stage on which each release has to migrate first, with release 1 serving.
fn migrated(after: &str) -> Stage {
    let mut stage = Stage::with(&format!(
        "  LEVEL: high\nsecrets: {{TOKEN: {{environment: SHOP_TOKEN}}}}\n\
         rollout: {{scaleDownDelay: 1s, hooks: {{before: [{{name: migrate, run: ./migrate}}]{after}}}}}\n",
    ));
    stage.set("SHOP_TOKEN", "hush-hush");
    stage.up();
    let first = with_migration(&stage, "one", "1", "exit 0");
    let _ = stage.run(&["deploy", &first]).ok();
    stage
}

/// A build whose migration is this script.
fn with_migration(stage: &Stage, name: &str, version: &str, script: &str) -> String {
    let build = stage.build(name, &json!({"version": version}));
    let path = Path::new(&build).join("migrate");
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    build
}

fn answered_by(report: &load::Report, release: &str) -> u64 {
    report.releases.get(release).map_or(0, |counts| counts.answered)
}

#[test]
fn a_migration_runs_before_the_release_and_one_that_fails_keeps_it_away() {
    let stage = migrated("");
    let load = stage.load(100.0);
    let note = stage.path("note");
    let said = "$LEVEL $TOKEN $SHIPSHAPE_RELEASE $SHIPSHAPE_ROLLOUT $SHIPSHAPE_HOOK $SHIPSHAPE_ATTEMPT";
    let second = with_migration(&stage, "two", "2", &format!("echo {said} >> {}", note.display()));
    let _ = stage.run(&["deploy", &second]).ok();
    assert_eq!(std::fs::read_to_string(&note).unwrap(), "high hush-hush 2 2 migrate 1\n");
    let third = with_migration(&stage, "three", "3", "echo no table orders, said $TOKEN >&2; exit 1");
    let ran = stage.run(&["deploy", &third]).exits(1);
    let why = "migrate: exit status 1: no table orders, said (secret)";
    assert!(ran.stderr.contains(&format!("hook {why}")), "{ran:?}");
    let _ = stage.wait_for_phase("production", "rolledBack");
    let _ = stage.run(&["rollback"]).ok();
    assert_eq!(std::fs::read_to_string(&note).unwrap().lines().count(), 1, "a return runs no hook");
    let report = stage.nothing_lost(load);
    assert!(answered_by(&report, "2") > 0, "{:?}", report.releases);
    assert_eq!((answered_by(&report, "3"), report.errors()), (0, 0), "{:?}", report.releases);
    let journal = stage.run(&["journal", "list", "--limit", "1000", "--output", "json"]).ok().stdout;
    assert!(journal.contains(why) && !journal.contains("hush-hush"), "{journal}");
}

#[test]
fn a_migration_that_died_with_control_is_run_again_as_the_second_attempt() {
    let stage = migrated("");
    let load = stage.load(50.0);
    let (begun, may_end) = (stage.path("begun"), stage.path("may-end"));
    let script = format!(
        "echo $$ $SHIPSHAPE_ATTEMPT >> {}\nwhile [ ! -e {} ]; do sleep 0.1; done",
        begun.display(),
        may_end.display()
    );
    let second = with_migration(&stage, "two", "2", &script);
    let _ = stage.run(&["deploy", &second, "--detach"]).ok();
    let runs = || std::fs::read_to_string(&begun).unwrap_or_default();
    eventually("the migration runs, and the status says so", MINUTE, || {
        let place = stage.place("production");
        let what = place["rollout"]["report"]["wait"]["what"].as_str().unwrap_or_default().to_owned();
        (runs().ends_with(" 1\n") && what.contains("hook migrate is running (for ")).then_some(())
    });
    let first = runs().split(' ').next().unwrap().to_owned();
    let _ = stage.kill(stage.pid_of("control"));
    eventually("it has died with control", MINUTE, || {
        (!Path::new("/proc").join(&first).exists()).then_some(())
    });
    stage.up();
    eventually("it runs again", MINUTE, || runs().ends_with(" 2\n").then_some(()));
    std::fs::write(&may_end, "").unwrap();
    let _ = stage.wait_for_phase("production", "completed");
    assert_eq!((runs().lines().count(), &stage.place("production")["serving"]), (2, &json!(2)));
    let report = stage.nothing_lost(load);
    assert_eq!(report.errors(), 0, "{:?}", report.releases);
}

#[test]
fn a_hook_that_fails_after_the_rollout_takes_nothing_back_and_is_told() {
    let stage = migrated(", after: [{name: announce, run: [./migrate, late]}]");
    let script = "[ \"$1\" != late ] || { echo nobody listens; exit 3; }";
    let second = with_migration(&stage, "two", "2", script);
    let ran = stage.run(&["deploy", &second]).exits(1);
    let why = "announce: exit status 3: nobody listens";
    assert!(ran.stderr.contains(&format!("but hook {why}")), "{ran:?}");
    let _ = stage.wait_for_phase("production", "completed");
    assert_eq!(stage.place("production")["serving"], 2);
    let status = stage.run(&["status"]).ok().stdout;
    assert!(status.contains(&format!("but its hook {why}")), "{status}");
}
