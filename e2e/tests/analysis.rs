//! Rollouts of the real binary that are judged by rules in PromQL.
#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

use std::time::Duration;

use e2e::{Prometheus, Stage, answered, eventually};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

/// A canary at a half that asks the metrics before it goes on; the judge is off, so that nobody else decides.
fn canary(metrics: &str, rules: &str) -> String {
    format!(
        "
metrics:
{metrics}
rollout:
  strategy: canary
  scaleDownDelay: 1s
  canary:
    steps:
      - setWeight: 50
      - pause: {{duration: 3s}}
      - analysis:
          args:
            - {{name: code, value: \"5..\"}}
          metrics:
{rules}
  analysis: {{judge: false}}
"
    )
}

const SCRAPED: &str = "  scrape: {interval: 1s, timeout: 1s}";

/// The share of answers that are errors, of the release's own counts.
const ERRORS: &str = r#"
            - name: errors
              promql: |
                (sum(rate(shop_requests_total{app="{{args.service}}",version="{{args.version}}",code=~"{{args.code}}"}[20s])) or vector(0))
                  / sum(rate(shop_requests_total{app="{{args.service}}",version="{{args.version}}"}[20s]))
              successCondition: result[0] < 0.05
              interval: 1s
              count: 3
              inconclusiveLimit: 20
"#;

fn journal(stage: &Stage) -> String {
    stage.run(&["journal", "list", "--all", "--limit", "1000", "--output", "json"]).ok().stdout
}

#[test]
fn a_bad_release_is_rolled_back_by_a_question_to_the_store_and_a_good_one_passes() {
    let stage = Stage::deployed(&canary(SCRAPED, ERRORS));
    let load = stage.load(200.0);
    answered(&load, 200);
    let bad = stage.build("bad", &json!({"version": "2", "failureRate": 0.5}));
    let ran = stage.run(&["deploy", &bad]).exits(1);
    assert!(ran.stderr.contains("errors: 1 of "), "{ran:?}");
    assert!(ran.stderr.contains("success is result[0] < 0.05"), "{ran:?}");
    let _ = stage.wait_for_phase("production", "rolledBack");
    let good = stage.build("good", &json!({"version": "3"}));
    let _ = stage.run(&["deploy", &good]).ok();
    let told = journal(&stage);
    assert!(told.contains("result is [0]"), "{told}");
    let report = stage.nothing_lost(load);
    assert!(report.releases.get("3").is_some_and(|counts| counts.answered > 0), "{:?}", report.releases);
}

/// The share of answers that are errors, of the gateway's counts: they are read every 5 s, and what was counted before a
/// series was read first is in no rate, so the rule looks for longer than two readings.
const BY_THE_GATEWAY: &str = r#"
            - name: errors
              promql: |
                (sum(rate(http_requests_total{app="{{args.service}}",environment="{{args.environment}}",version="{{args.version}}",status_class="5xx"}[15s])) or vector(0))
                  / sum(rate(http_requests_total{app="{{args.service}}",environment="{{args.environment}}",version="{{args.version}}"}[15s]))
              successCondition: result[0] < 0.05
              interval: 4s
              count: 3
              inconclusiveLimit: 60
"#;

/// A bad release comes back, and a good one passes; returns how many requests failed, of how many.
fn judged(stage: &Stage) -> (u64, u64) {
    let load = stage.load(200.0);
    answered(&load, 200);
    let bad = stage.build("bad", &json!({"version": "2", "failureRate": 0.5}));
    let ran = stage.run(&["deploy", &bad]).exits(1);
    assert!(ran.stderr.contains("errors: 1 of "), "{ran:?}");
    let _ = stage.wait_for_phase("production", "rolledBack");
    let good = stage.build("good", &json!({"version": "3"}));
    let _ = stage.run(&["deploy", &good]).ok();
    let report = stage.nothing_lost(load);
    assert!(report.releases.get("3").is_some_and(|counts| counts.answered > 0), "{:?}", report.releases);
    (report.errors(), report.answered)
}

#[test]
fn the_gateways_counts_in_the_store_decide() {
    let _ = judged(&Stage::deployed(&canary(SCRAPED, BY_THE_GATEWAY)));
}

/// The same events from the same counters, but on the server.
const OBJECTIVE: &str = "
objectives:
  theirs:
    target: 99%
    bad: sum(rate(http_requests_total{app=\"shop\",status_class=\"5xx\"}[$__window]))
    total: http_requests_total{app=\"shop\"}
    budget: [{remaining: 10%, then: warn}]
";

/// The bad events and all events of [`OBJECTIVE`].
fn counted(stage: &Stage) -> Option<(u64, u64)> {
    let told = stage.run(&["slo", "-e", "production", "--output", "json"]).ok().stdout;
    let all: Value = serde_json::from_str(&told).unwrap();
    let budget = &all[0]["promise"]["budget"];
    Some((budget["bad"].as_u64()?, budget["total"].as_u64()?))
}

#[test]
fn the_same_rule_decides_on_a_prometheus_server_and_objectives_count_its_counters() {
    let stage = Stage::with("");
    stage.up();
    let addresses: Value = serde_json::from_str(&stage.run(&["up", "--output", "json"]).ok().stdout).unwrap();
    let Some(server) = Prometheus::scraping(&stage, addresses["admin"].as_str().unwrap(), None) else {
        return;
    };
    let provider = format!("  provider: prometheus\n  address: http://{}", server.address);
    stage.manifest(&format!("{}{OBJECTIVE}", canary(&provider, BY_THE_GATEWAY)));
    let first = stage.build("one", &json!({"version": "1"}));
    let _ = stage.run(&["deploy", &first]).ok();
    // What counters had when the server first read them is nobody's.
    let load = stage.load(100.0);
    eventually("the server's counters are followed", PATIENCE, || {
        counted(&stage).filter(|(_, total)| *total > 0)
    });
    let before = stage.nothing_lost(load);
    let (errors, answered) = judged(&stage);
    let all = eventually("every request is counted", PATIENCE, || {
        counted(&stage).filter(|(bad, total)| *bad == errors && *total >= answered)
    });
    assert!(all.1 <= answered + before.answered, "{all:?} of {answered}");
}

#[test]
fn a_server_that_is_down_pauses_and_never_takes_a_release_back() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let provider = format!("  provider: prometheus\n  address: http://{nobody}");
    let rule = "            - {name: errors, promql: up, successCondition: 'result[0] > 0', interval: 1s, count: 1, \
                consecutiveErrorLimit: 1}";
    let stage = Stage::deployed(&canary(&provider, rule));
    let load = stage.load(100.0);
    answered(&load, 50);
    let next = stage.build("next", &json!({"version": "2"}));
    let _ = stage.run(&["deploy", &next, "--detach"]).ok();
    let place = stage.wait_for_phase("production", "paused");
    let text = place.to_string();
    assert!(text.contains("could not be taken") && text.contains("cannot connect"), "{text}");
    eventually("the measurements are in the journal", PATIENCE, || {
        journal(&stage).contains("cannot connect: connection refused").then_some(())
    });
    let _ = stage.run(&["promote", "--full"]);
    let _ = stage.nothing_lost(load);
    assert!(!journal(&stage).contains("rollbackBegun"));
}
