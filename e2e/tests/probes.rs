//! Probes from outside with the real binary: one of the service through the gateway, and one of an endpoint that breaks.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use e2e::server::serve;
use e2e::{Stage, eventually};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);

/// An endpoint that answers with the status that is in force, to whom it knows.
fn endpoint(status: &Arc<AtomicU16>) -> String {
    let status = Arc::clone(status);
    let address = serve(move |asked| {
        let known = asked.head.contains("authorization: Bearer hush-hush");
        (if known { status.load(Ordering::SeqCst) } else { 401 }, "well".to_owned())
    });
    format!("http://{address}/health")
}

fn asked(stage: &Stage, expression: &str) -> Vec<f64> {
    let ran = stage.run(&["query", "--output", "json", expression]).ok();
    let answer: Value = serde_json::from_str(&ran.stdout).unwrap();
    let samples = answer["data"]["result"].as_array().cloned().unwrap_or_default();
    samples.iter().map(|sample| sample["value"][1].as_str().unwrap().parse().unwrap()).collect()
}

fn until(stage: &Stage, expression: &str, expected: &[f64]) {
    eventually(expression, PATIENCE, || (asked(stage, expression) == expected).then_some(()));
}

fn manifest(url: &str) -> String {
    format!(
        "probes:
  - {{name: home, http: {{path: /healthz/ready}}, interval: 1s}}
  - name: foreign
    http: {{url: \"{url}\", bearerToken: {{environment: FOREIGN_TOKEN}}}}
    expect: {{status: [200], bodyContains: well}}
    interval: 1s
"
    )
}

#[test]
fn a_probe_of_the_gateway_and_of_another_endpoint_are_metrics_and_say_what_is_wrong() {
    let status = Arc::new(AtomicU16::new(200));
    let url = endpoint(&status);
    let mut stage = Stage::with(&manifest(&url));
    stage.set("FOREIGN_TOKEN", "hush-hush");
    stage.up();
    let first = stage.build("one", &serde_json::json!({"version": "1"}));
    let _ = stage.run(&["deploy", &first]).ok();

    until(&stage, "probe_success{app=\"shop\",environment=\"production\",probe=\"home\"}", &[1.0]);
    until(&stage, "probe_success{probe=\"foreign\"}", &[1.0]);
    until(&stage, "probe_http_status_code{probe=\"home\",instance=\"/healthz/ready\"}", &[200.0]);
    until(&stage, "sum(probe_failures_total{probe=\"foreign\"})", &[0.0]);

    status.store(500, Ordering::SeqCst);
    until(&stage, "probe_success{probe=\"foreign\"}", &[0.0]);
    until(&stage, "probe_failures_total{probe=\"foreign\",reason=\"status\"} > bool 1", &[1.0]);
    until(&stage, "probe_success{probe=\"home\"}", &[1.0]);
    let shown = stage.run(&["probes"]).ok();
    assert!(shown.stdout.contains("answered 500, expected 200"), "{shown:?}");
    let status_shown = stage.run(&["status"]).ok();
    let warning = "warning: probe foreign of shop/production fails: answered 500, expected 200";
    assert!(status_shown.stdout.contains(warning), "{status_shown:?}");
    let found: Value = serde_json::from_str(&stage.run(&["probes", "--output", "json"]).ok().stdout).unwrap();
    let one = |name: &str| {
        let all = found["probes"].as_array().unwrap();
        all.iter().find(|it| it["probe"] == name).unwrap().clone()
    };
    assert_eq!(
        (&one("home")["last"]["result"], &one("foreign")["last"]["reason"]),
        (&"good".into(), &"status".into())
    );
    status.store(200, Ordering::SeqCst);
    until(&stage, "probe_success{probe=\"foreign\"}", &[1.0]);
    // Said when it changes, not whenever it is looked at; and the token nowhere.
    let log = std::fs::read_to_string(stage.home().join("control.log")).unwrap();
    let said =
        |what: &str| log.lines().filter(|line| line.contains(what) && line.contains("foreign")).count();
    assert_eq!((said("a probe fails"), said("a probe succeeds again")), (1, 1), "{log}");
    assert!(!log.contains("hush-hush") && !shown.stdout.contains("hush-hush"), "{log}");

    // Another release without them: their series end.
    stage.manifest("");
    let second = stage.build("two", &serde_json::json!({"version": "2"}));
    let _ = stage.run(&["deploy", &second]).ok();
    until(&stage, "count(probe_success) or vector(0)", &[0.0]);
    assert_eq!(stage.run(&["probes"]).ok().stdout, "");
}
