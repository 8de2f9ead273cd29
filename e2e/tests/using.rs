//! Using it: wrong inputs, secrets, logs, the journal, going down and up again.
#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

use std::fs;
use std::path::Path;

use e2e::{Stage, processes_with};
use serde_json::json;

#[test]
fn wrong_inputs_get_an_answer_with_the_next_step() {
    let stage = Stage::with("replicsa: 3\n");
    let ran = stage.run(&["check"]).exits(1);
    let said = format!("{}{}", ran.stdout, ran.stderr);
    assert!(said.contains("shipshape.yaml:8:1") && said.contains("replicas"), "{said}");

    let ran = stage.run(&["status"]).exits(1);
    assert!(ran.stderr.contains("shipshape up"), "{ran:?}");
    let ran = stage.run(&["--file", "nowhere.yaml", "check"]).exits(1);
    assert!(ran.stderr.contains("nowhere.yaml"), "{ran:?}");
    let _ = stage.run(&["dploy"]).exits(2);

    stage.manifest("");
    stage.up();
    let ran = stage.run(&["deploy"]).exits(1);
    assert!(ran.stderr.contains("artifact"), "{ran:?}");
    let ran = stage.run(&["deploy", "./no-such-thing"]).exits(1);
    assert!(ran.stderr.contains("no-such-thing"), "{ran:?}");
    let ran = stage.run(&["deploy", ".", "-e", "qa"]).exits(1);
    assert!(ran.stderr.contains("production"), "{ran:?}");
    let ran = stage.run(&["rollback"]).exits(1);
    assert!(ran.stderr.contains("deploy"), "{ran:?}");
}

#[test]
fn secrets_reach_the_replica_and_nothing_else() {
    let mut stage = Stage::with("secrets:\n  TOKEN: {environment: SHOP_TOKEN}\n  KEY: {file: KEYFILE}\n");
    let key = stage.path("key");
    fs::write(&key, "file-secret-bd81\n").unwrap();
    let manifest = fs::read_to_string(stage.path("shipshape.yaml")).unwrap();
    fs::write(stage.path("shipshape.yaml"), manifest.replace("KEYFILE", &key.display().to_string())).unwrap();
    let first = stage.build("one", &json!({"version": "1"}));

    stage.up();
    let ran = stage.run(&["deploy", &first]).exits(1);
    assert!(ran.stderr.contains("SHOP_TOKEN"), "{ran:?}");
    let _ = stage.run(&["down"]).ok();

    stage.set("SHOP_TOKEN", "environment-secret-77aa");
    stage.up();
    let _ = stage.run(&["deploy", &first]).ok();
    let pid = stage.place("production")["releases"][0]["replicas"][0]["pid"].as_u64().unwrap();
    let environment = fs::read_to_string(format!("/proc/{pid}/environ")).unwrap();
    assert!(
        environment.contains("TOKEN=environment-secret-77aa") && environment.contains("KEY=file-secret-bd81")
    );
    let found = files_with(&stage.home(), &["environment-secret-77aa", "file-secret-bd81"]);
    assert!(found.is_empty(), "{found:?}");
    let exported = stage.run(&["journal", "export"]).ok();
    assert!(!exported.stdout.contains("secret-bd81") && exported.stdout.contains("SHOP_TOKEN"));
}

fn files_with(folder: &Path, words: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files_with(&path, words));
        } else if let Ok(bytes) = fs::read(&path) {
            let text = String::from_utf8_lossy(&bytes);
            found.extend(
                words.iter().filter(|word| text.contains(**word)).map(|_| path.display().to_string()),
            );
        }
    }
    found
}

#[test]
fn the_two_line_manifest_is_enough() {
    let stage = Stage::with("");
    fs::write(stage.path("shipshape.yaml"), "service: shop\nrun: ./shop\n").unwrap();
    stage.up();
    let first = stage.build("one", &json!({"version": "1"}));
    let _ = stage.run(&["deploy", &first]).ok();
    let again = stage.run(&["deploy", &first]).ok();
    assert!(format!("{}{}", again.stdout, again.stderr).contains("already"), "{again:?}");
    let logs = stage.run(&["logs"]).ok();
    assert!(logs.stdout.contains("start"), "{logs:?}");
    let metrics = stage.load(100.0);
    e2e::eventually("requests are answered", std::time::Duration::from_secs(20), || {
        (metrics.snapshot().finished > 50).then_some(())
    });
}

#[test]
fn down_stops_everything_and_up_brings_it_back() {
    let stage = Stage::with("");
    stage.up();
    let first = stage.build("one", &json!({"version": "1"}));
    let _ = stage.run(&["deploy", &first]).ok();
    stage.up();
    let _ = stage.run(&["down"]).ok();
    let left = processes_with(&[&stage.home().display().to_string()]);
    assert!(left.is_empty(), "{left:?}");
    let _ = stage.run(&["down"]).ok();
    stage.up();
    e2e::eventually("both replicas are back", std::time::Duration::from_secs(30), || {
        (stage.place("production")["releases"][0]["ready"] == 2).then_some(())
    });
}

#[test]
fn the_journal_is_verified_shown_and_exported_and_a_damaged_one_is_told() {
    let stage = Stage::with("");
    stage.up();
    let first = stage.build("one", &json!({"version": "1"}));
    let _ = stage.run(&["deploy", &first]).ok();
    let shown = stage.run(&["journal", "show", "2"]).ok();
    assert!(shown.stdout.contains("release.registered"), "{shown:?}");
    let exported = stage.run(&["journal", "export"]).ok();
    assert!(exported.stdout.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()));
    let _ = stage.run(&["journal", "verify"]).ok();
    let _ = stage.run(&["down"]).ok();
    let journal = stage.home().join("journal.db");
    let length = fs::metadata(&journal).unwrap().len();
    fs::OpenOptions::new().write(true).open(&journal).unwrap().set_len(length / 2).unwrap();
    let ran = stage.run(&["journal", "verify"]).exits(1);
    assert!(!format!("{}{}", ran.stdout, ran.stderr).is_empty());
    let ran = stage.run(&["up", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]).exits(1);
    assert!(ran.stderr.contains("journal"), "{ran:?}");
}

#[test]
fn the_effective_configuration_is_shown_and_compared() {
    let stage = Stage::with("environments:\n  staging: {replicas: 1}\n  production: {}\n");
    let shown = stage.run(&["env", "show", "staging"]).ok();
    assert!(shown.stdout.contains("replicas: 1"), "{shown:?}");
    let diff = stage.run(&["env", "diff", "staging", "production"]).ok();
    assert!(diff.stdout.contains("replicas"), "{diff:?}");
    let schema = stage.run(&["schema"]).ok();
    let schema: serde_json::Value = serde_json::from_str(&schema.stdout).unwrap();
    assert!(schema["properties"]["service"].is_object());
}
