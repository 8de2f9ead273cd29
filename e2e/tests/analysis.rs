//! Rollouts of the real binary that are judged by rules in PromQL.
#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

use e2e::{Stage, answered};
use serde_json::json;

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
