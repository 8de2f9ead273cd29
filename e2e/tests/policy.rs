//! What a team agrees on, with the real binary: locks; and what is put right and said when
//! something changes behind our back.
#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

use std::time::Duration;

use e2e::{Stage, eventually};
use serde_json::{Value, json};

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
    let _ = stage.kill(stage.pid_of("control"));
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

/// The processes of the ready replicas.
fn ready(stage: &Stage) -> Vec<u32> {
    let place = stage.place("production");
    let replicas = place["releases"][0]["replicas"].as_array().cloned().unwrap_or_default();
    let ready = replicas.iter().filter(|replica| replica["phase"] == "ready");
    ready.filter_map(|replica| u32::try_from(replica["pid"].as_u64()?).ok()).collect()
}

fn two_ready(stage: &Stage) -> Vec<u32> {
    eventually("two replicas are ready", Duration::from_secs(60), || {
        Some(ready(stage)).filter(|pids| pids.len() == 2)
    })
}

/// Waits until the journal tells of drift of this kind, and the status warns of it.
fn told(stage: &Stage, kind: &str, words: &str) -> Value {
    eventually(&format!("drift: {kind}: {words}"), Duration::from_secs(90), || {
        let journal = stage.run(&["journal", "list", "--limit", "1000", "--output", "json"]).ok().stdout;
        let events = journal.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let is_it = |event: &Value| {
            let found = event["body"]["found"].as_str().unwrap_or_default();
            event["kind"] == "drift.corrected" && event["body"]["kind"] == kind && found.contains(words)
        };
        let event = events.into_iter().find(is_it)?;
        let warnings = stage.status()["warnings"].to_string();
        warnings.contains(words).then_some(event)
    })
}

#[test]
fn what_changes_behind_our_back_is_put_right_and_said() {
    let stage = Stage::with("replicas: 2\n");
    stage.up();
    let first = stage.build("one", &json!({"version": "1"}));
    let _ = stage.run(&["deploy", &first]).ok();

    let before = two_ready(&stage);
    let _ = stage.kill(before[0]);
    let event = told(&stage, "replica", "ended by itself: killed by signal 9");
    assert_eq!(event["body"]["place"]["service"], "shop");
    assert!(!two_ready(&stage).contains(&before[0]));

    stage.signal(two_ready(&stage)[0], "STOP");
    let _ = told(&stage, "stopped", "was stopped");
    let serving = two_ready(&stage);

    let wanted = stage.home().join("wanted.json");
    let text = std::fs::read_to_string(&wanted).unwrap();
    std::fs::write(&wanted, text.replace("\"replicas\": 2", "\"replicas\": 0")).unwrap();
    let _ = told(&stage, "stored", "changed by somebody");
    assert_eq!(std::fs::read_to_string(&wanted).unwrap(), text);
    std::fs::remove_file(&wanted).unwrap();
    eventually("it is written again", Duration::from_secs(20), || {
        (std::fs::read_to_string(&wanted).ok()? == text).then_some(())
    });

    let shims = e2e::processes_with(&["shim", &stage.home().display().to_string()]);
    assert_eq!(shims.len(), 2, "{shims:?}");
    let _ = stage.kill(shims[0]);
    let _ = told(&stage, "shim", "the shim of replica");
    eventually("another replica stands in", Duration::from_secs(60), || {
        let now = ready(&stage);
        (now.len() == 2 && now != serving).then_some(())
    });
    assert_eq!(stage.place("production")["serving"], 1);
}

/// A second service on the stage, in a directory of its own.
fn cart(stage: &Stage, rollout: &str) {
    std::fs::create_dir_all(stage.path("cart")).unwrap();
    let manifest = format!(
        "service: cart\nrun: ./shop\nroute: {{hosts: [cart.test]}}\nhealth:\n  ready: {{http: /healthz/ready, period: 1s}}\n{rollout}"
    );
    std::fs::write(stage.path("cart/shipshape.yaml"), manifest).unwrap();
}

const TWO_STEPS: &str =
    "rollout: {strategy: canary, canary: {steps: [{setWeight: 20}]}, scaleDownDelay: 5s}\n";
const PATIENT: &str =
    "rollout: {strategy: canary, canary: {steps: [{setWeight: 20}, {pause: {}}]}, scaleDownDelay: 5s}\n";

fn phase_of(stage: &Stage, service: &str, phase: &str) -> Value {
    eventually(&format!("{service} is {phase}"), Duration::from_secs(60), || {
        let status = stage.status();
        let places = status["places"].as_array().cloned().unwrap_or_default();
        places.into_iter().find(|place| place["service"] == service && place["rollout"]["phase"] == phase)
    })
}

#[test]
fn a_group_waits_for_all_and_goes_back_or_on_together() {
    let stage = Stage::with(&format!("route: {{hosts: [shop.test]}}\n{TWO_STEPS}"));
    cart(&stage, PATIENT);
    stage.up();
    let [one, two, three] = ["one", "two", "three"].map(|name| stage.build(name, &json!({"version": name})));
    let together = |build: &str, more: &[&str]| {
        let members = [format!("shipshape.yaml={build}"), format!("cart/shipshape.yaml={build}")];
        let group = ["deploy", "-e", "production", "--group", "checkout", &members[0], &members[1]];
        stage.run(&[&group, more].concat())
    };
    let _ = together(&one, &[]).ok();
    for service in ["shop", "cart"] {
        assert_eq!(phase_of(&stage, service, "completed")["serving"], 1);
    }
    let _ = together(&two, &["--detach"]).ok();
    let _ = phase_of(&stage, "cart", "paused");
    let shop = eventually("the shop stands at its gate", Duration::from_secs(60), || {
        let place = phase_of(&stage, "shop", "progressing");
        let waits = place["rollout"]["report"]["wait"]["what"].as_str().unwrap_or_default().to_owned();
        waits.contains("waits for cart/production").then_some(place)
    });
    assert_eq!(shop["group"]["name"], "checkout");
    let shown = stage.run(&["status"]).ok();
    assert!(shown.stdout.contains("shop/production (one move from all requests)"), "{shown:?}");
    // Control killed meanwhile: the group is in the journal.
    let _ = stage.kill(stage.pid_of("control"));
    stage.up();
    let _ = stage.run(&["abort", "--service", "cart", "-e", "production"]).ok();
    for service in ["shop", "cart"] {
        let place = phase_of(&stage, service, "rolledBack");
        assert_eq!(place["serving"], 1);
    }
    let shop = phase_of(&stage, "shop", "rolledBack");
    let reason = shop["rollout"]["reason"].as_str().unwrap_or_default().to_owned();
    assert!(reason.contains("its group goes back: cart/production: an operator asked for it"), "{reason}");

    let _ = together(&three, &["--detach"]).ok();
    let _ = phase_of(&stage, "cart", "paused");
    let _ = stage.run(&["promote", "--service", "cart", "-e", "production"]).ok();
    for service in ["shop", "cart"] {
        assert_eq!(phase_of(&stage, service, "completed")["serving"], 3);
    }
    let alone = format!("shipshape.yaml={one}");
    let refused = stage.run(&["deploy", "-e", "production", "--group", "checkout", &alone]).exits(1);
    assert!(refused.stderr.contains("it needs 2 to 32"), "{refused:?}");
}

#[test]
fn a_second_control_on_the_same_home_is_refused_while_one_lives() {
    let stage = Stage::with("rollout: {scaleDownDelay: 0s}\n");
    stage.up();
    let first = stage.build("one", &json!({"version": "1"}));
    let _ = stage.run(&["deploy", &first]).ok();
    let living = stage.pid_of("control");
    let is_refused = || {
        let refused = stage.run(&["control"]).exits(1);
        for part in [&format!("in use by process {living}"), "shipshape down"] {
            assert!(refused.stderr.contains(part), "{part}: {refused:?}");
        }
    };
    is_refused();
    assert_eq!(stage.place("production")["serving"], 1, "the first goes on");
    // Also where somebody removed its socket.
    std::fs::remove_file(stage.home().join("control.sock")).unwrap();
    is_refused();
    let _ = stage.kill(living);
    stage.up();
    assert_eq!(stage.place("production")["serving"], 1);
}

#[test]
fn a_freeze_refuses_until_somebody_passes_it_and_going_back_stays_free() {
    let stage = Stage::with(
        "rollout: {strategy: rolling, scaleDownDelay: 0s}\nchanges:\n  freeze:\n    - {name: fair, from: 2020-01-01, to: 2090-01-01T08:00, timeZone: Europe/Vienna, reason: the fair}\n",
    );
    stage.up();
    let first = stage.build("one", &json!({"version": "1"}));
    let refused = stage.run(&["deploy", &first]).exits(1);
    assert!(
        refused.stderr.contains("until Sun 2090-01-01 08:00 CET (freeze fair: the fair)"),
        "{}",
        refused.stderr
    );
    let passes = ["--override-freeze", "--reason", "the fair needs it"];
    let _ = stage.run(&[&["deploy", first.as_str()][..], &passes].concat()).ok();
    let second = stage.build("two", &json!({"version": "2"}));
    let _ = stage.run(&["deploy", &second]).exits(1);
    let _ = stage.run(&[&["deploy", second.as_str()][..], &passes].concat()).ok();
    let journal = stage.run(&["journal", "list", "--kind", "freeze"]).ok().stdout;
    assert!(journal.contains("freeze.overridden") && journal.contains("the fair needs it"), "{journal}");
    let calendar = stage.run(&["calendar", "-e", "production"]).ok().stdout;
    assert!(calendar.contains("is closed until Sun 2090-01-01 08:00 CET"), "{calendar}");
    let _ = stage.run(&["rollback", "-e", "production"]).ok();
    assert_eq!(stage.place("production")["serving"], 1);
}

#[test]
fn what_a_second_person_approved_begins_by_itself_though_control_was_killed() {
    let stage = Stage::with(
        "rollout: {strategy: rolling, scaleDownDelay: 0s}\nchanges: {approvals: {required: 1}}\n",
    );
    stage.up();
    let as_user = |name: &str, arguments: &[&str]| {
        let output = stage.command(arguments).env("USER", name).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let first = stage.build("one", &json!({"version": "1"}));
    // Whoever asks waits, like a job that waits for its reviewers.
    let asks = ["deploy", &first, "--outcome", "the shop opens", "--risk", "none yet"];
    let mut waiting = stage.command(&asks).env("USER", "ada").spawn().unwrap();
    let listed = || as_user("ben", &["requests", "--output", "json"]).1;
    let request: Value = eventually("it is asked for", Duration::from_secs(30), || {
        serde_json::from_str::<Vec<Value>>(&listed()).ok()?.first().cloned()
    });
    assert_eq!((&request["by"], &request["outcome"]), (&json!("ada"), &json!("the shop opens")));
    let members: Vec<&str> = request.as_object().unwrap().keys().map(String::as_str).collect();
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/output.md")).unwrap();
    let page = page.split("```json requests").nth(1).unwrap();
    assert!(members.iter().all(|member| page.contains(&format!("\"{member}"))), "{members:?}");
    let (status, _, said) = as_user("ada", &["approve", "1"]);
    assert!(status == Some(1) && said.contains("somebody else has to look at it"), "{said}");
    let _ = stage.kill(stage.pid_of("control"));
    stage.up();
    let (status, told, said) = as_user("ben", &["approve", "1", "--reason", "looked at it"]);
    assert!(status == Some(0) && told.contains("rollout 1 of release 1"), "{told}{said}");
    assert_eq!(stage.wait_for_phase("production", "completed")["rollout"]["to"], 1);
    let _ = waiting.wait().unwrap();
    // In need it begins at once, and is shown until somebody else has looked at it.
    let second = stage.build("two", &json!({"version": "2"}));
    let (status, ..) = as_user("ada", &["deploy", &second, "--emergency", "--reason", "the shop is down"]);
    assert_eq!(status, Some(0));
    assert_eq!(stage.place("production")["serving"], 2);
    assert!(as_user("ben", &["status"]).1.contains("nobody has reviewed it"));
    assert_eq!(as_user("ada", &["review", "2", "--reason", "fine"]).0, Some(1));
    assert_eq!(as_user("ben", &["review", "2", "--reason", "was right"]).0, Some(0));
    let journal = stage.run(&["journal", "list", "--kind", "change"]).ok().stdout;
    for kind in ["change.requested", "change.approved", "change.begun", "change.emergency", "change.reviewed"]
    {
        assert!(journal.contains(kind), "{kind}: {journal}");
    }
    // What is rejected ends for whoever waits, and going back waits for nobody.
    let third = stage.build("three", &json!({"version": "3"}));
    assert_eq!(as_user("ada", &["deploy", &third, "--detach"]).0, Some(0));
    assert_eq!(as_user("ben", &["reject", "3", "--reason", "not today"]).0, Some(0));
    let _ = stage.run(&["rollback", "-e", "production"]).ok();
    assert_eq!(stage.place("production")["serving"], 1);
}

#[test]
fn what_was_approved_behind_a_lock_begins_exactly_once_though_control_is_killed_on_the_way() {
    let quick = "rollout: {strategy: rolling, scaleDownDelay: 0s}\n";
    let stage = Stage::deployed(quick);
    stage.manifest(&format!("{quick}changes: {{approvals: {{required: 1}}}}\n"));
    let as_user = |name: &str, arguments: &[&str]| {
        let output = stage.command(arguments).env("USER", name).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    let recorded = |kind: &str| -> Vec<Value> {
        let journal = stage.run(&["journal", "list", "--kind", kind, "--output", "json"]).ok().stdout;
        journal.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let killed = || {
        let _ = stage.kill(stage.pid_of("control"));
        stage.up();
    };
    let _ = stage.run(&["lock", "--reason", "the database moves"]).ok();
    let second = stage.build("two", &json!({"version": "2"}));
    as_user("ada", &["deploy", &second, "--detach"]);
    as_user("ben", &["approve", "1"]);
    for _ in 0..2 {
        killed();
        let warnings = stage.status()["warnings"].to_string();
        assert!(warnings.contains("is approved and waits to begin"), "{warnings}");
    }
    assert_eq!((recorded("change.approved").len(), recorded("change.begun").len()), (1, 0));
    let _ = stage.run(&["unlock"]).ok();
    killed();
    assert_eq!(stage.wait_for_phase("production", "completed")["serving"], 2);
    killed();
    assert_eq!(stage.place("production")["serving"], 2);
    assert_eq!(recorded("change.begun").len(), 1);
    let started: Vec<Value> =
        recorded("rollout.started").into_iter().filter(|event| event["body"]["to"] == 2).collect();
    assert_eq!(started.len(), 1, "{started:?}");
    assert_eq!(started[0]["actor"], "ada");
}
