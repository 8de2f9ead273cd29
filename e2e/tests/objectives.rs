//! Objectives: every request counts once, whatever dies meanwhile, and the release that burns the budget is charged for it.
#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

use std::time::Duration;

use e2e::{Stage, eventually};
use serde_json::{Value, json};

/// Longer than objectives take to be looked at, thrice.
const PATIENCE: Duration = Duration::from_secs(60);

fn objective(stage: &Stage, name: &str) -> Option<Value> {
    let told = stage.run(&["slo", "-e", "production", "--output", "json"]).ok().stdout;
    let all: Vec<Value> = serde_json::from_str(&told).unwrap();
    all.into_iter().find(|it| it["objective"] == name && !it["promise"]["budget"].is_null())
}

fn counted(stage: &Stage, name: &str) -> Option<(u64, u64)> {
    let budget = &objective(stage, name)?["promise"]["budget"];
    Some((budget["bad"].as_u64()?, budget["total"].as_u64()?))
}

#[test]
fn every_request_counts_once_though_control_is_killed_and_the_bad_release_is_charged() {
    let stage = Stage::with(
        "rollout: {strategy: canary, canary: {steps: [{setWeight: 30}, {pause: {duration: 100s}}]}}\n",
    );
    stage.up();
    let first = stage.build("one", &json!({"version": "1"}));
    let _ = stage.run(&["deploy", &first]).ok();
    let _ = stage.wait_for_phase("production", "completed");
    // From the first look on everything counts: what the gateway had before is nobody's.
    eventually("objectives are looked at", PATIENCE, || counted(&stage, "availability"));
    let load = stage.load(200.0);
    eventually("requests are counted", PATIENCE, || {
        counted(&stage, "availability").filter(|(_, total)| *total > 500)
    });
    let _ = stage.kill(stage.pid_of("control"));
    eventually("the gateway serves on alone", PATIENCE, || (load.snapshot().finished > 3_000).then_some(()));
    stage.up();
    let bad = stage.build("bad", &json!({"version": "2", "failureRate": 0.5}));
    let _ = stage.run(&["deploy", &bad]).exits(1);
    let report = stage.nothing_lost(load);
    let all = (report.errors(), report.answered);
    assert!(all.0 > 0);
    eventually("every request is counted", PATIENCE, || {
        counted(&stage, "availability").filter(|counted| *counted == all)
    });
    assert_eq!(counted(&stage, "latency").map(|(_, total)| total), Some(all.1));
    let charge = eventually("the rollout is charged", PATIENCE, || {
        objective(&stage, "availability")?["charges"].get(0).cloned()
    });
    assert_eq!(charge["rollout"], 2);
    assert_eq!(charge["bad"].as_u64(), Some(all.0), "{charge}");
    assert!(charge["budgetPercent"].as_f64().unwrap() > 100.0, "{charge}");
    let told = stage.run(&["slo", "-e", "production"]).ok().stdout;
    assert!(told.contains("overspent by") && told.contains("rollout 2 burned"), "{told}");
    let found = stage.run(&["slo", "backtest", "availability", "--target", "99.5%", "-e", "production"]).ok();
    assert!(found.stdout.contains("with a target of 99.5%"), "{}", found.stdout);
    let month = stage.run(&["slo", "report", "-e", "production"]).ok().stdout;
    assert!(month.contains("| availability | 99.9% |") && month.contains("**no**"), "{month}");
}

#[test]
fn a_spent_budget_refuses_the_next_deploy_until_somebody_takes_it_upon_himself() {
    let stage =
        Stage::with("objectives: {availability: 99%}\nrollout: {strategy: rolling, scaleDownDelay: 0s}\n");
    stage.up();
    let broken = stage.build("broken", &json!({"version": "1", "failureRate": 0.4}));
    let _ = stage.run(&["deploy", &broken]).ok();
    let _ = stage.wait_for_phase("production", "completed");
    eventually("objectives are looked at", PATIENCE, || counted(&stage, "availability"));
    let load = stage.load(100.0);
    eventually("the budget is spent", PATIENCE, || {
        objective(&stage, "availability").filter(|it| it["level"] == "freeze")
    });
    let mended = stage.build("mended", &json!({"version": "2"}));
    let refused = stage.run(&["deploy", &mended]).exits(1);
    assert!(refused.stderr.contains("production is frozen since"), "{}", refused.stderr);
    assert!(refused.stderr.contains("--override-budget --reason"), "{}", refused.stderr);
    assert!(stage.run(&["deploy", &mended, "--override-budget"]).status != Some(0), "not without a reason");
    let reason = ["--override-budget", "--reason", "this is what mends it"];
    let _ = stage.run(&[&["deploy", mended.as_str()][..], &reason].concat()).ok();
    assert_eq!(stage.place("production")["serving"], 2);
    let journal = stage.run(&["journal", "list", "--kind", "budget"]).ok().stdout;
    assert!(journal.contains("budget.overridden") && journal.contains("this is what mends it"), "{journal}");
    let _ = stage.nothing_lost(load);
    let missing = stage.run(&[
        "slo",
        "exclude",
        "nothing",
        "--from",
        "2026-01-01T00:00:00Z",
        "--lasts",
        "1m",
        "--reason",
        "x",
    ]);
    assert!(missing.exits(1).stderr.contains("there is no objective nothing"));
    // The outage was a drill: once its minutes are taken out, the budget is whole and the next deploy is free again.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let hour_ago =
        model::Timestamp::from_micros(i64::try_from((now - Duration::from_secs(3_600)).as_micros()).unwrap());
    let hour_ago = hour_ago.to_string();
    let exclude =
        ["slo", "exclude", "availability", "-e", "production", "--from", &hour_ago, "--lasts", "1h"];
    let _ = stage.run(&[&exclude[..], &["--reason", "a drill"]].concat()).ok();
    eventually("the budget is whole again", PATIENCE, || {
        objective(&stage, "availability").filter(|it| it["level"] != "freeze")
    });
    let third = stage.build("third", &json!({"version": "3"}));
    let _ = stage.run(&["deploy", &third]).ok();
}

#[test]
fn a_release_that_burns_after_its_rollout_is_taken_back_once_by_itself() {
    let stage = Stage::with("rollout: {strategy: rolling, scaleDownDelay: 0s, analysis: {judge: false}}\n");
    stage.up();
    let first = stage.build("one", &json!({"version": "1"}));
    let _ = stage.run(&["deploy", &first]).ok();
    let _ = stage.wait_for_phase("production", "completed");
    eventually("objectives are looked at", PATIENCE, || counted(&stage, "availability"));
    let load = stage.load(60.0);
    // What a release is compared with are the minutes before the one in which its rollout begins.
    let minute =
        || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() / 60;
    let (enough, known) = (
        300,
        eventually("requests are counted", PATIENCE, || {
            counted(&stage, "availability").filter(|(_, total)| *total > 300).map(|_| minute())
        }),
    );
    eventually("a minute is over", PATIENCE * 2, || (minute() > known).then_some(()));
    let bad = stage.build("bad", &json!({"version": "2", "failureRate": 0.5}));
    let _ = stage.run(&["deploy", &bad]).ok();
    eventually("the first release serves again", PATIENCE * 2, || {
        let place = stage.place("production");
        let reason = place["rollout"]["reason"].as_str().unwrap_or_default().to_owned();
        (place["serving"] == 1 && reason.contains("it burns the error budget of availability")).then_some(())
    });
    let journal = stage.run(&["journal", "list", "--kind", "release.takenBack"]).ok().stdout;
    assert!(journal.contains("availability: ") && journal.contains("before its rollout"), "{journal}");
    let told = stage.run(&["slo", "-e", "production"]).ok().stdout;
    assert!(told.contains("availability"), "{told}");
    // It ends there: the page goes on for a while, and the release that serves now stays.
    let report = stage.nothing_lost(load);
    assert!(report.errors() > 0 && report.answered > enough);
    let _ = stage.kill(stage.pid_of("control"));
    stage.up();
    eventually("objectives are looked at again", PATIENCE, || counted(&stage, "availability"));
    assert_eq!(stage.run(&["journal", "list", "--kind", "release.takenBack"]).ok().stdout, journal);
    assert_eq!(stage.place("production")["serving"], 1);
}
