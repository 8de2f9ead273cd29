//! What a team agrees on, with the real binary: locks.
#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

use e2e::Stage;
use serde_json::json;

#[test]
fn a_locked_place_says_so_until_it_is_unlocked_passed_or_over() {
    let stage = Stage::with("rollout: {scaleDownDelay: 0s}\n");
    stage.up();
    let first = stage.build("one", &json!({"version": "1"}));
    let second = stage.build("two", &json!({"version": "2"}));
    let refused = stage.run(&["lock", "--reason", "too early"]).exits(1);
    assert!(refused.stderr.contains("there is no shop/production to lock"), "{refused:?}");
    let _ = stage.run(&["deploy", &first]).ok();
    let locked = stage.run(&["lock", "--reason", "the database moves", "--for", "2h"]).ok();
    assert!(locked.stdout.contains("shop/production is locked by"), "{locked:?}");
    let shown = stage.run(&["status"]).ok();
    assert!(shown.stdout.contains("the database moves"), "{shown:?}");
    let refused = stage.run(&["deploy", &second]).exits(1);
    for part in
        ["is locked by", "since", "until", "the database moves", "shipshape unlock", "--override-lock"]
    {
        assert!(refused.stderr.contains(part), "{part}: {refused:?}");
    }
    // A lock outlives control.
    let pid = stage.pid_of("control");
    assert!(std::process::Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap().success());
    stage.up();
    let _ = stage.run(&["deploy", &second]).exits(1);
    let misuse = stage.run(&["deploy", &second, "--override-lock"]).exits(2);
    assert!(misuse.stderr.contains("--reason"), "{misuse:?}");
    let _ = stage.run(&["deploy", &second, "--override-lock", "--reason", "the fix"]).ok();
    assert_eq!(stage.place("production")["serving"], 2);
    let journal = stage.run(&["journal", "list", "--limit", "1000"]).ok();
    assert!(journal.stdout.contains("lock.overridden") && journal.stdout.contains("the fix"), "{journal:?}");
    let _ = stage.run(&["rollback"]).exits(1);
    let _ = stage.run(&["unlock"]).ok();
    let _ = stage.run(&["rollback"]).ok();
    let refused = stage.run(&["unlock"]).exits(1);
    assert!(refused.stderr.contains("is not locked"), "{refused:?}");
}
