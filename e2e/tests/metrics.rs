//! Metrics with the real binary: what is collected while a service runs, asked for in PromQL.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::time::Duration;

use e2e::{Stage, answered, eventually};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);

/// The series and values that an expression gives now.
fn asked(stage: &Stage, expression: &str) -> Vec<(Value, f64)> {
    let ran = stage.run(&["query", "--output", "json", expression]).ok();
    let answer: Value = serde_json::from_str(&ran.stdout).unwrap();
    let samples = answer["data"]["result"].as_array().cloned().unwrap_or_default();
    let value = |sample: &Value| sample["value"][1].as_str().unwrap().parse().unwrap();
    samples.iter().map(|sample| (sample["metric"].clone(), value(sample))).collect()
}

/// The only value, once there is one that is right.
fn until(stage: &Stage, expression: &str, is: impl Fn(f64) -> bool) -> f64 {
    eventually(expression, PATIENCE, || match asked(stage, expression).as_slice() {
        [(_, value)] if is(*value) => Some(*value),
        _ => None,
    })
}

#[test]
fn what_a_service_does_and_takes_can_be_asked_for_and_outlives_control() {
    let stage = Stage::deployed(
        "metrics:
  scrape: {path: /metrics, interval: 1s, timeout: 1s}
  rules: [{record: shop:served:sum, expr: sum(shop_requests_total), labels: {team: shop}}]
  evaluationInterval: 1s
",
    );
    let load = stage.load(100.0);
    answered(&load, 200);
    let place = "app=\"shop\",environment=\"production\"";
    let _ = until(
        &stage,
        &format!("sum(http_requests_total{{{place},version=\"1\",status_class=\"2xx\"}})"),
        |it| it >= 200.0,
    );
    let _ = until(&stage, &format!("sum(rate(http_requests_total{{{place}}}[30s]))"), |it| it > 0.0);
    let _ = until(&stage, &format!("count(process_resident_memory_bytes{{{place}}} > 0)"), |it| it == 2.0);
    let _ = until(&stage, "node_memory_MemAvailable_bytes", |it| it > 0.0);
    let _ = until(&stage, "sum(up{job=\"shop\"})", |it| it == 2.0);
    let own = until(&stage, "sum(shop_requests_total{app=\"shop\"})", |it| it >= 200.0);

    let _ = until(&stage, "shop:served:sum{team=\"shop\"}", |it| it >= 200.0);

    // What is durable is there again, and counting goes on.
    eventually("the samples are durable", PATIENCE, || {
        let log = std::fs::read_dir(stage.home().join("metrics")).unwrap().flatten();
        let log = log.filter(|entry| entry.file_name().to_string_lossy().starts_with("log-"));
        (log.map(|entry| entry.metadata().unwrap().len()).sum::<u64>() > 1000).then_some(())
    });
    let _ = stage.kill(stage.pid_of("control"));
    stage.up();
    let before =
        until(&stage, "sum(max_over_time(shop_requests_total{app=\"shop\"}[10m]))", |it| it >= 100.0);
    let _ = until(&stage, "sum(shop_requests_total{app=\"shop\"})", |it| it > before.max(own));
    let _ = stage.nothing_lost(load);

    let refused = stage.run(&["query", "sum(rate("]).exits(1);
    assert!(refused.stderr.contains("unclosed left parenthesis"), "{refused:?}");
    let shown = stage.run(&["query", "--over", "1m", "sum(up{job=\"shop\"})"]).ok();
    assert!(shown.stdout.contains("most 2"), "{shown:?}");
}
