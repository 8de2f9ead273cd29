//! Alerts: what fails is pending, fires and is resolved, whoever is killed meanwhile, and two lines of manifest are enough.
#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use e2e::server::serve;
use e2e::{Prometheus, Stage, eventually};
use serde_json::{Value, json};

/// Longer than rules take to be looked at, many times.
const PATIENCE: Duration = Duration::from_secs(120);

fn alert(stage: &Stage, name: &str, phase: &str) -> Option<Value> {
    let told = stage.run(&["alerts", "--output", "json"]).ok().stdout;
    let all: Value = serde_json::from_str(&told).unwrap();
    let mut found = all["alerts"].as_array().unwrap().iter();
    found.find(|alert| alert["name"] == name && alert["phase"] == phase).cloned()
}

/// What became of an alert, in order.
fn history(stage: &Stage, name: &str) -> Vec<String> {
    let told = stage.run(&["journal", "list", "--kind", "alert", "--output", "json"]).ok().stdout;
    let events = told.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let of_it = events.filter(|event| event["body"]["labels"]["alertname"] == name);
    of_it.map(|event| event["kind"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_fails_is_pending_fires_and_is_resolved_though_control_is_killed_meanwhile() {
    let stage = Stage::with(
        "alerts:\n  Failing:\n    expr: sum by (app) (rate(http_requests_total{status_class=\"5xx\"}[20s])) > 0.1\n    \
         for: 20s\n    severity: P1\n    runbook: failing\n    annotations: {summary: '{{ $labels.app }} fails'}\n",
    );
    stage.up();
    let broken = stage.path("broken");
    let build = stage.build("one", &json!({"version": "1", "failWhile": broken}));
    let _ = stage.run(&["deploy", &build]).ok();
    let _ = stage.wait_for_phase("production", "completed");
    let load = stage.load(20.0);
    std::fs::write(&broken, "").unwrap();
    let pending = eventually("it is pending", PATIENCE, || alert(&stage, "Failing", "pending"));
    let _ = stage.kill(stage.pid_of("control"));
    stage.up();
    let firing = eventually("it fires", PATIENCE, || alert(&stage, "Failing", "firing"));
    assert_eq!(firing["activeSince"], pending["since"], "it is the alert that was pending before");
    assert_eq!(firing["fingerprint"], pending["fingerprint"]);
    assert_eq!((&firing["summary"], &firing["runbook"]), (&json!("shop fails"), &json!("failing")));
    let status = stage.run(&["status"]).ok().stdout;
    assert!(status.contains("P1 Failing fires for") && status.contains("shop fails"), "{status}");
    let series = stage.run(&["query", "ALERTS{alertname=\"Failing\",alertstate=\"firing\"}"]).ok().stdout;
    assert!(series.contains("severity=\"P1\""), "{series}");
    let _ = stage.kill(stage.pid_of("control"));
    std::fs::remove_file(&broken).unwrap();
    stage.up();
    eventually("it is resolved", PATIENCE, || history(&stage, "Failing").get(2).cloned());
    assert_eq!(history(&stage, "Failing"), ["alert.pending", "alert.firing", "alert.resolved"]);
    drop(load);
}

#[test]
fn two_lines_of_manifest_tell_of_a_deployment_that_failed() {
    let stage = Stage::with("");
    stage.up();
    let good = stage.build("good", &json!({"version": "1"}));
    let _ = stage.run(&["deploy", &good]).ok();
    let _ = stage.wait_for_phase("production", "completed");
    let bad = stage.build("bad", &json!({"version": "2", "exitAfterMs": 200}));
    let _ = stage.run(&["deploy", &bad]).exits(1);
    let alert = eventually("the failure is told", PATIENCE, || alert(&stage, "DeploymentFailed", "firing"));
    assert_eq!((&alert["severity"], &alert["runbook"]), (&json!("P2"), &json!("deployment-failed")));
    assert_eq!(alert["labels"]["version"], "2");
    assert!(alert["annotations"]["reason"].as_str().unwrap().contains("crash loop"), "{alert}");
    let rules = stage.run(&["alerts", "rules"]).ok().stdout;
    for name in
        ["HighErrorRate", "HighLatency", "OutOfMemory", "TooManyRequests", "CrashLoop", "DiskFull", "NoData"]
    {
        assert!(rules.contains(name), "{name}: {rules}");
    }
    // The next one that goes well is the end of it.
    let better = stage.build("better", &json!({"version": "3"}));
    let _ = stage.run(&["deploy", &better]).ok();
    eventually("it is over", PATIENCE, || {
        (history(&stage, "DeploymentFailed").last()? == "alert.resolved").then_some(())
    });
}

/// What is known of a rule.
fn rule(stage: &Stage, name: &str) -> Value {
    let told = stage.run(&["alerts", "rules", "--output", "json"]).ok().stdout;
    let all: Value = serde_json::from_str(&told).unwrap();
    all["rules"].as_array().unwrap().iter().find(|rule| rule["name"] == name).cloned().unwrap_or_default()
}

#[test]
fn a_rule_that_asks_a_server_fires_goes_on_while_the_server_is_dead_and_is_resolved_by_its_answer() {
    let length = Arc::new(AtomicU32::new(3));
    let page = Arc::clone(&length);
    let page =
        serve(move |_| (200, format!("queue_length{{queue=\"mails\"}} {}\n", page.load(Ordering::SeqCst))));
    let stage = Stage::with("");
    let Some(server) = Prometheus::scraping(&stage, &page.to_string(), None) else { return };
    let address = server.address.clone();
    stage.manifest(&format!(
        "metrics: {{provider: prometheus, address: 'http://{address}'}}\nalerts:\n  QueueTooLong:\n    \
         expr: max by (queue) (queue_length) > 100\n    for: 10s\n    \
         annotations: {{summary: '{{{{ $labels.queue }}}} has {{{{ $value }}}} jobs'}}\n"
    ));
    stage.up();
    let build = stage.build("one", &json!({"version": "1"}));
    let _ = stage.run(&["deploy", &build]).ok();
    eventually("the server answers that all is well", PATIENCE, || {
        let rule = rule(&stage, "QueueTooLong");
        (rule["health"] == "ok" && rule["state"] == "inactive").then_some(())
    });
    length.store(250, Ordering::SeqCst);
    let pending = eventually("it is pending", PATIENCE, || alert(&stage, "QueueTooLong", "pending"));
    assert_eq!(pending["labels"]["queue"], "mails");
    let firing = eventually("it fires", PATIENCE, || alert(&stage, "QueueTooLong", "firing"));
    assert_eq!(firing["summary"], "mails has 250 jobs");

    // The queue is short again, and nobody is there to say so.
    drop(server);
    length.store(3, Ordering::SeqCst);
    let unknown = eventually("nobody knows", PATIENCE, || {
        let rule = rule(&stage, "QueueTooLong");
        (rule["health"] == "err").then_some(rule)
    });
    assert_eq!(unknown["state"], "firing", "{unknown}");
    assert!(unknown["lastError"].as_str().unwrap().contains("cannot connect"), "{unknown}");
    let shown = stage.run(&["alerts", "rules"]).ok().stdout;
    let line = shown.lines().find(|line| line.contains("QueueTooLong")).unwrap();
    assert!(line.contains("unknown") && shown.contains("cannot connect"), "{shown}");
    eventually("it was looked at again", PATIENCE, || {
        (rule(&stage, "QueueTooLong")["lastEvaluation"] != unknown["lastEvaluation"]).then_some(())
    });
    assert_eq!(history(&stage, "QueueTooLong"), ["alert.pending", "alert.firing"]);

    let _again = Prometheus::scraping(&stage, &page.to_string(), Some(&address)).unwrap();
    eventually("it is resolved", PATIENCE, || history(&stage, "QueueTooLong").get(2).cloned());
    assert_eq!(history(&stage, "QueueTooLong"), ["alert.pending", "alert.firing", "alert.resolved"]);
}
